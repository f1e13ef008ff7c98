/* What every other header uses: fixed-width types, checked arithmetic, mixing of bits.
 *
 * House rules of src/: C11, header only, `static inline`, prefix lc_, no Python.h, no malloc, no
 * mutable static data. Memory belongs to the caller. All state is little-endian, as it is on disk.
 */
#ifndef LC_BASE_H
#define LC_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the journal is little-endian");

#define LC_LIKELY(x) __builtin_expect(!!(x), 1)
#define LC_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define LC_CACHE_LINE 64
/* For what is rarely called: kept out of the hot path's instructions. */
#define LC_COLD static __attribute__((noinline, unused))

/* Asserts cost nothing in a release build; LEDGERCORE_DEBUG=1 turns them on. */
#ifdef LC_DEBUG
#define LC_ASSERT(x) assert(x)
#else
#define LC_ASSERT(x) ((void)0)
#endif

#define LC_ACCOUNT_ID_BYTES_MAX 64
#define LC_ASSET_BYTES_MAX 19
#define LC_MEMO_BYTES_MAX 256
#define LC_ASSETS_MAX 65535
#define LC_SLOT_NONE UINT32_MAX

/* An account without a floor or ceiling holds the end of the range there. */
#define LC_FLOOR_NONE INT64_MIN
#define LC_CEILING_NONE INT64_MAX

static inline bool lc_add_overflows(int64_t a, int64_t b, int64_t *sum)
{
    return __builtin_add_overflow(a, b, sum);
}

static inline bool lc_subtract_overflows(int64_t a, int64_t b, int64_t *difference)
{
    return __builtin_sub_overflow(a, b, difference);
}

/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit. */
static inline uint64_t lc_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ULL;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

static inline uint64_t lc_round_up(uint64_t n, uint64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

#endif

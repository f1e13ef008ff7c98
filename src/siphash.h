/* SipHash-2-4 with a 128-bit result (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * 2012; the 128-bit variant is the authors' reference). Keyed, so that nobody outside can choose
 * keys or account ids that collide.
 */
#ifndef LC_SIPHASH_H
#define LC_SIPHASH_H

#include "base.h"

typedef struct lc_hash_key {
    uint64_t k0;
    uint64_t k1;
} lc_hash_key;

typedef struct lc_hash128 {
    uint64_t low;
    uint64_t high;
} lc_hash128;

static inline uint64_t lc_rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void lc_sip_round(uint64_t v[4])
{
    v[0] += v[1]; v[1] = lc_rotate(v[1], 13); v[1] ^= v[0]; v[0] = lc_rotate(v[0], 32);
    v[2] += v[3]; v[3] = lc_rotate(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = lc_rotate(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = lc_rotate(v[1], 17); v[1] ^= v[2]; v[2] = lc_rotate(v[2], 32);
}

static inline void lc_sip_absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    lc_sip_round(v);
    lc_sip_round(v);
    v[0] ^= word;
}

static inline lc_hash128 lc_siphash(lc_hash_key key, const void *data, size_t length)
{
    uint64_t v[4] = {
        key.k0 ^ 0x736f6d6570736575ULL,
        key.k1 ^ 0x646f72616e646f6dULL ^ 0xee,
        key.k0 ^ 0x6c7967656e657261ULL,
        key.k1 ^ 0x7465646279746573ULL,
    };
    const uint8_t *bytes = (const uint8_t *)data;
    size_t whole = length / 8 * 8;
    uint64_t word;
    for (size_t i = 0; i < whole; i += 8) {
        memcpy(&word, bytes + i, 8);
        lc_sip_absorb(v, word);
    }
    word = 0;
    if (length > whole)
        memcpy(&word, bytes + whole, length - whole);
    lc_sip_absorb(v, word | ((uint64_t)length << 56));

    lc_hash128 hash;
    v[2] ^= 0xee;
    for (int i = 0; i < 4; i++)
        lc_sip_round(v);
    hash.low = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for (int i = 0; i < 4; i++)
        lc_sip_round(v);
    hash.high = v[0] ^ v[1] ^ v[2] ^ v[3];
    return hash;
}

#endif

/* A token bucket in one atomic word: who takes `count` tokens has leave to do `count` things.
 *
 * The generic cell rate algorithm in its virtual scheduling form (ITU-T I.371, annex A), with the
 * axis of time scaled by the rate: all times are told in tokens. So a take adds a whole number, no
 * take rounds anything, and a change of clock or rate loses nothing.
 *
 *     unit         2^-shift tokens, with the greatest shift that lets at most one unit accrue in a
 *                  nanosecond: between half a unit and one; shift is at most 30
 *     R(now)       now * per_ns / 2^62, the units that ever accrued; per_ns is rounded down
 *     arrival      the word: up to where they are spent, the theoretical arrival time
 *     level(now)   burst - (arrival - floor R(now)), at most burst; below zero it is a debt
 *     take         where level >= min(count, burst): arrival = max(arrival, floor R(now)) + count
 *
 * So what is taken from `a` to `b` is never more than rate * (b - a) + burst and a part of a unit,
 * but for the debt: more than the burst is given to who finds the bucket full, or a large request
 * would wait for ever. It leaves the bucket below zero, and the long run at its rate.
 *
 * Errors: a token comes at most a unit early or late: 2 ns, or up to 1 us where the rate is below
 * one a second; they do not add up. The rate is never above what was asked for, and short of it by
 * less than one part in 10^15 from one token a second on, and by less than one in 10^12 below.
 *
 * Bounds: rate 0.001 to 1e9 a second, in thousandths; burst 1 to 1e9; count up to 1e6 (more counts
 * as that); now 0 to 2^62 ns. Within them nothing overflows: R is at most 2^62, and `arrival` at
 * most 2^60 + 2^50 above it.
 *
 * Threads: take, wait, left and give back may be called by any number of threads at once, each with
 * a time as it read it; one that is older than another's only makes it poorer. To change the
 * settings, the caller keeps all others out. Zeroed memory, once it has settings, is a full bucket.
 */
#ifndef LC_TOKEN_BUCKET_H
#define LC_TOKEN_BUCKET_H

#include "base.h"

#define LC_BURST_MAX 1000000000u
#define LC_TAKE_MAX 1000000u /* the most that one take counts */
#define LC_RATE_MAX INT64_C(1000000000000) /* in thousandths of a token a second */

enum { LC_BUCKET_SHIFT_MAX = 30, LC_RATE_BITS = 62 };

typedef struct lc_bucket {
    int64_t arrival;  /* units; the only word that a take writes */
    uint64_t per_ns;  /* units that accrue in a nanosecond, in 2^-62 */
    int64_t burst;    /* units */
    int64_t rate;     /* thousandths of a token a second; 0: off, and never asked */
    uint32_t shift;   /* a token is 1 << shift units */
} lc_bucket;

static inline uint32_t lc_rate_shift(int64_t rate)
{
    uint32_t shift = 0;
    while (shift < LC_BUCKET_SHIFT_MAX && rate << (shift + 1) <= LC_RATE_MAX)
        shift++;
    return shift;
}

/* The units of 2^-shift tokens that accrue in a nanosecond, in 2^-62, for 1/`parts` of a rate. */
static inline uint64_t lc_rate_per_ns(int64_t rate, uint32_t shift, uint32_t parts)
{
    unsigned __int128 units = (unsigned __int128)((uint64_t)rate << shift) << LC_RATE_BITS;
    return (uint64_t)(units / ((unsigned __int128)LC_RATE_MAX * parts));
}

static inline int64_t lc_accrued(uint64_t per_ns, int64_t ns)
{
    return (int64_t)((unsigned __int128)per_ns * (uint64_t)ns >> LC_RATE_BITS);
}

static inline int64_t lc_bucket_units(const lc_bucket *bucket, uint32_t count)
{
    return (int64_t)(count < LC_TAKE_MAX ? count : LC_TAKE_MAX) << bucket->shift;
}

/* Units there now: at most the burst, and below zero what is owed. */
static inline int64_t lc_bucket_level(const lc_bucket *bucket, int64_t now_ns)
{
    int64_t arrival = __atomic_load_n(&bucket->arrival, __ATOMIC_RELAXED);
    int64_t level = bucket->burst - (arrival - lc_accrued(bucket->per_ns, now_ns));
    return level < bucket->burst ? level : bucket->burst;
}

/* Give a bucket its settings; it is full. */
static inline void lc_bucket_start(lc_bucket *bucket, int64_t rate, uint32_t burst)
{
    bucket->arrival = 0;
    bucket->rate = rate;
    bucket->shift = lc_rate_shift(rate);
    bucket->per_ns = lc_rate_per_ns(rate, bucket->shift, 1);
    bucket->burst = (int64_t)burst << bucket->shift;
}

/* Change the settings. What was full to some part is so still, and a debt is the same tokens. */
LC_COLD void lc_bucket_change(lc_bucket *bucket, int64_t now_ns, int64_t rate, uint32_t burst)
{
    lc_bucket old = *bucket;
    lc_bucket_start(bucket, rate, burst);
    if (old.rate == 0 || rate == 0)
        return;
    int64_t level = lc_bucket_level(&old, now_ns);
    __int128 share = level >= 0 ? (__int128)level * bucket->burst / old.burst
                                : -(((__int128)-level << bucket->shift) >> old.shift);
    bucket->arrival = lc_accrued(bucket->per_ns, now_ns) + bucket->burst - (int64_t)share;
}

/* Take `units`, all or nothing, where the level is at least `level_min` (at most the burst). */
static inline bool lc_bucket_take_at(lc_bucket *bucket, int64_t now_ns, int64_t units,
                                     int64_t level_min)
{
    int64_t accrued = lc_accrued(bucket->per_ns, now_ns);
    int64_t latest = accrued + bucket->burst - level_min;
    int64_t arrival = __atomic_load_n(&bucket->arrival, __ATOMIC_RELAXED);
    int64_t next;
    do {
        if (arrival > latest)
            return false;
        next = (arrival > accrued ? arrival : accrued) + units;
    } while (LC_UNLIKELY(!__atomic_compare_exchange_n(&bucket->arrival, &arrival, next, true,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)));
    return true;
}

/* Take `count` tokens, all or none. */
static inline bool lc_bucket_take(lc_bucket *bucket, int64_t now_ns, uint32_t count)
{
    int64_t units = lc_bucket_units(bucket, count);
    return lc_bucket_take_at(bucket, now_ns, units,
                             units < bucket->burst ? units : bucket->burst);
}

/* Nanoseconds until the level is `level_min`, if nobody takes; 0 where it is. At most 1e6 tokens or
 * the burst, whichever is more, have to accrue; what would take longer than 2^62 ns is told as
 * that. */
static inline int64_t lc_bucket_wait_at(const lc_bucket *bucket, int64_t now_ns, int64_t level_min)
{
    int64_t arrival = __atomic_load_n(&bucket->arrival, __ATOMIC_RELAXED);
    int64_t wanted = arrival - (bucket->burst - level_min);
    if (wanted <= lc_accrued(bucket->per_ns, now_ns))
        return 0;
    /* The first moment t with t * per_ns >= wanted << 62. */
    unsigned __int128 product = (unsigned __int128)(uint64_t)wanted << LC_RATE_BITS;
    unsigned __int128 at_ns = (product + bucket->per_ns - 1) / bucket->per_ns;
    unsigned __int128 wait_ns = at_ns - (uint64_t)now_ns;
    return wait_ns < (unsigned __int128)1 << 62 ? (int64_t)wait_ns : (int64_t)1 << 62;
}

/* Nanoseconds until `count` tokens would be given, if nobody else takes. */
static inline int64_t lc_bucket_wait_ns(const lc_bucket *bucket, int64_t now_ns, uint32_t count)
{
    int64_t units = lc_bucket_units(bucket, count);
    return lc_bucket_wait_at(bucket, now_ns, units < bucket->burst ? units : bucket->burst);
}

/* Whole tokens there now. */
static inline uint32_t lc_bucket_left(const lc_bucket *bucket, int64_t now_ns)
{
    int64_t level = lc_bucket_level(bucket, now_ns);
    return level > 0 ? (uint32_t)(level >> bucket->shift) : 0;
}

/* Undo a take. What the bucket would have lost over its brim meanwhile stays lost. */
static inline void lc_bucket_give_back(lc_bucket *bucket, uint32_t count)
{
    __atomic_fetch_sub(&bucket->arrival, lc_bucket_units(bucket, count), __ATOMIC_RELAXED);
}

#endif

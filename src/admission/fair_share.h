/* Fair shares of one token bucket: who stays within his share of the rate finds tokens there,
 * however much the others ask for; and what nobody claims is for whoever wants more.
 *
 * Each client has a token bucket of rate `rate / active`. They all fill at one rate, so their
 * common clock is kept once: the virtual time of generalized processor sharing (Parekh and
 * Gallager, 1993), told in units of tokens as in token_bucket.h.
 *
 *     V(now)       runs at rate / active; active: who asked within the last second
 *     within       where arrival - V(now) <= share_burst - count, or is at most 0
 *     take         within: from the bucket, then arrival = max(arrival, V(now)) + count
 *                  beyond: only what leaves the bucket half full, or from a full one
 *
 * The bursts of all shares are half of the bucket's burst. So as long as the active ones are the
 * same, those within their shares find their tokens in the half that the others must leave; this
 * needs a burst of at least two tokens for each that is active.
 *
 * A request within its share that is larger than half of the burst is served from a bucket that is
 * half full, and leaves a debt: beside somebody who takes all he gets, the bucket is never full.
 *
 * `active` and the rate of V change when a slice of 100 ms ends, by the time that is passed in. All
 * is under the caller's lock.
 */
#ifndef LC_FAIR_SHARE_H
#define LC_FAIR_SHARE_H

#include "admission/token_bucket.h"

#define LC_SLICE_NS 100000000
#define LC_SLICE_NEVER (-1000) /* the slice of who was never seen */

enum { LC_SLICES = 11 }; /* the present one, and ten that are a second */

typedef struct lc_share {
    int64_t slice;   /* when this client asked last */
    int64_t arrival; /* on the scale of V */
    uint64_t era;    /* the settings that `arrival` was counted by */
} lc_share;

typedef struct lc_fair {
    int64_t slice;
    int64_t slice_end_ns;
    uint32_t counts[LC_SLICES]; /* of clients, by the slice in which they asked last */
    uint32_t active;            /* the sum of them */
    uint64_t era;
    int64_t virtual_units; /* V at `since_ns` */
    int64_t since_ns;
    uint64_t per_ns; /* units that V gains in a nanosecond, in 2^-62 */
    int64_t share_burst;
} lc_fair;

static inline void lc_fair_divide(lc_fair *fair, const lc_bucket *bucket)
{
    uint32_t parts = fair->active > 0 ? fair->active : 1;
    int64_t token = (int64_t)1 << bucket->shift;
    int64_t burst = bucket->burst / 2 / parts;
    fair->per_ns = lc_rate_per_ns(bucket->rate, bucket->shift, parts);
    fair->share_burst = burst > token ? burst : token;
}

/* Begin anew for a bucket whose settings have changed. All shares are full; who is active stays. */
static inline void lc_fair_start(lc_fair *fair, const lc_bucket *bucket, int64_t now_ns)
{
    fair->era++;
    fair->virtual_units = 0;
    fair->since_ns = now_ns;
    lc_fair_divide(fair, bucket);
}

static inline int64_t lc_fair_time(const lc_fair *fair, int64_t now_ns)
{
    int64_t ns = now_ns > fair->since_ns ? now_ns - fair->since_ns : 0;
    return fair->virtual_units + lc_accrued(fair->per_ns, ns);
}

/* Close the slices that are over: forget who asked too long ago, and divide the rate anew. */
LC_COLD void lc_fair_advance(lc_fair *fair, const lc_bucket *bucket, int64_t now_ns)
{
    int64_t slice = now_ns / LC_SLICE_NS;
    for (int64_t i = fair->slice + 1; i <= slice && i <= fair->slice + LC_SLICES; i++) {
        fair->active -= fair->counts[i % LC_SLICES];
        fair->counts[i % LC_SLICES] = 0;
    }
    fair->slice = slice;
    fair->slice_end_ns = (slice + 1) * LC_SLICE_NS;
    fair->virtual_units = lc_fair_time(fair, now_ns);
    fair->since_ns = now_ns;
    lc_fair_divide(fair, bucket);
}

/* Whether a client was counted as active when the latest slice began, or since. */
static inline bool lc_fair_is_active(const lc_fair *fair, const lc_share *share)
{
    return fair->slice - share->slice < LC_SLICES;
}

/* Note that a client asks now. */
static inline void lc_fair_see(lc_fair *fair, lc_share *share, const lc_bucket *bucket,
                               int64_t now_ns)
{
    if (LC_UNLIKELY(now_ns >= fair->slice_end_ns))
        lc_fair_advance(fair, bucket, now_ns);
    if (LC_UNLIKELY(share->slice != fair->slice)) {
        if (lc_fair_is_active(fair, share))
            fair->counts[share->slice % LC_SLICES]--;
        else
            fair->active++;
        fair->counts[fair->slice % LC_SLICES]++;
        share->slice = fair->slice;
    }
    if (LC_UNLIKELY(share->era != fair->era)) {
        share->era = fair->era;
        share->arrival = 0;
    }
}

/* How full the bucket has to be for `units` of somebody within his share, or beyond it. */
static inline int64_t lc_fair_level_min(const lc_bucket *bucket, int64_t units, bool is_within)
{
    int64_t token = (int64_t)1 << bucket->shift;
    int64_t half = bucket->burst / 2;
    if (!is_within)
        return half + units < bucket->burst ? half + units : bucket->burst;
    int64_t half_up = (half + token - 1) & -token;
    return units < half_up ? units : half_up;
}

/* The point of V from which `units` are within a share. */
static inline int64_t lc_fair_turn(const lc_fair *fair, const lc_share *share, int64_t units)
{
    int64_t room = fair->share_burst - units;
    return share->arrival - (room > 0 ? room : 0);
}

/* Take `count` tokens from the bucket for a client, all or none. */
static inline bool lc_fair_take(lc_fair *fair, lc_share *share, lc_bucket *bucket, int64_t now_ns,
                                uint32_t count)
{
    lc_fair_see(fair, share, bucket, now_ns);
    int64_t units = lc_bucket_units(bucket, count);
    int64_t now = lc_fair_time(fair, now_ns);
    bool is_within = lc_fair_turn(fair, share, units) <= now;
    int64_t level_min = lc_fair_level_min(bucket, units, is_within);
    if (!lc_bucket_take_at(bucket, now_ns, units, level_min))
        return false;
    if (is_within)
        share->arrival = (share->arrival > now ? share->arrival : now) + units;
    return true;
}

/* Nanoseconds until `count` tokens would be given to a client, if nobody else takes. */
static inline int64_t lc_fair_wait_ns(const lc_fair *fair, const lc_share *share,
                                      const lc_bucket *bucket, int64_t now_ns, uint32_t count)
{
    int64_t units = lc_bucket_units(bucket, count);
    int64_t arrival = share->era == fair->era ? lc_fair_turn(fair, share, units) : 0;
    int64_t missing = arrival - lc_fair_time(fair, now_ns);
    int64_t within_ns = lc_bucket_wait_at(bucket, now_ns, lc_fair_level_min(bucket, units, true));
    int64_t beyond_ns = lc_bucket_wait_at(bucket, now_ns, lc_fair_level_min(bucket, units, false));
    if (missing > 0) {
        unsigned __int128 product = (unsigned __int128)(uint64_t)missing << LC_RATE_BITS;
        unsigned __int128 wait_ns = (product + fair->per_ns - 1) / fair->per_ns;
        if (wait_ns > (uint64_t)within_ns)
            within_ns = wait_ns < (uint64_t)beyond_ns ? (int64_t)wait_ns : beyond_ns;
    }
    return within_ns < beyond_ns ? within_ns : beyond_ns;
}

#endif

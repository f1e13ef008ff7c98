/* A histogram of whole numbers from 0 on: how often each size was seen, and their sum.
 *
 * The buckets are log-linear, as those of HdrHistogram (G. Tene, https://hdrhistogram.org): every
 * power of two is parted into 2^LC_HISTOGRAM_STEP_BITS buckets of one width. So a percentile is
 * told too high by one 32nd at most, whatever its size, and to record a value costs a shift and two
 * additions. Every power of two is where a bucket begins.
 *
 * Any thread may record and any may read at the same time, without a lock: each number is exact,
 * and numbers that are read one after the other may be some values apart.
 */
#ifndef LC_HISTOGRAM_H
#define LC_HISTOGRAM_H

#include "base.h"

#define LC_HISTOGRAM_STEP_BITS 5
#define LC_HISTOGRAM_VALUE_BITS 40 /* Larger ones (18 minutes in ns) count as the largest. */
#define LC_HISTOGRAM_BUCKETS                                                                       \
    ((LC_HISTOGRAM_VALUE_BITS - LC_HISTOGRAM_STEP_BITS + 1) << LC_HISTOGRAM_STEP_BITS)

typedef struct lc_histogram {
    uint64_t counts[LC_HISTOGRAM_BUCKETS];
    uint64_t sum;
} lc_histogram;

/* The bucket of a value; a negative one, from clocks of two processors, counts as 0. */
static inline uint32_t lc_histogram_bucket(int64_t value)
{
    const int64_t highest = ((int64_t)1 << LC_HISTOGRAM_VALUE_BITS) - 1;
    value = value < 0 ? 0 : value > highest ? highest : value;
    if (value < 1 << LC_HISTOGRAM_STEP_BITS)
        return (uint32_t)value;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll((uint64_t)value) - LC_HISTOGRAM_STEP_BITS;
    return (shift << LC_HISTOGRAM_STEP_BITS) + (uint32_t)(value >> shift);
}

/* Count a value so many times. */
static inline void lc_histogram_record(lc_histogram *histogram, int64_t value, uint64_t times)
{
    uint64_t total = value > 0 ? (uint64_t)value * times : 0;
    __atomic_fetch_add(&histogram->counts[lc_histogram_bucket(value)], times, __ATOMIC_RELAXED);
    __atomic_fetch_add(&histogram->sum, total, __ATOMIC_RELAXED);
}

/* Copy the counts, and return the sum. */
static inline uint64_t lc_histogram_read(const lc_histogram *histogram, uint64_t *counts)
{
    for (uint32_t i = 0; i < LC_HISTOGRAM_BUCKETS; i++)
        counts[i] = __atomic_load_n(&histogram->counts[i], __ATOMIC_RELAXED);
    return __atomic_load_n(&histogram->sum, __ATOMIC_RELAXED);
}

#endif

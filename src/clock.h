/* The clock of deadlines, limits and load, the one that Python calls time.monotonic_ns(); and the
 * one on the wall, for the Date of an answer, which decides nothing. */
#ifndef LC_CLOCK_H
#define LC_CLOCK_H

#include <time.h>

#include "base.h"

static inline int64_t lc_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Whole seconds since 1970, as they were at the last tick of the kernel. */
static inline int64_t lc_wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now.tv_sec;
}

#endif

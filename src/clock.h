/* The clock of deadlines, limits and load: the one that Python calls time.monotonic_ns(). */
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

#endif

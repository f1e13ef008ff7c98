/* Mutexes and conditions between threads: waits with a bound, and a check of who holds what.
 *
 * A bound is by the clock that nobody sets, so that a wait ends in its time whatever becomes of the
 * wall clock. In a debug build a mutex knows its owner, so that a call which may take as long as a
 * disk does can assert that it is made without one.
 */
#ifndef LC_WAIT_H
#define LC_WAIT_H

#include <errno.h>
#include <pthread.h>

#include "clock.h"

static inline void lc_mutex_start(pthread_mutex_t *mutex)
{
#ifdef LC_DEBUG
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
#else
    pthread_mutex_init(mutex, NULL);
#endif
}

/* Assert that this thread does not hold a mutex of lc_mutex_start; others may. */
static inline void lc_mutex_assert_not_held(pthread_mutex_t *mutex)
{
#ifdef LC_DEBUG
    LC_ASSERT(pthread_mutex_lock(mutex) != EDEADLK);
    pthread_mutex_unlock(mutex);
#else
    (void)mutex;
#endif
}

static inline void lc_condition_start(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Wait on a condition of lc_condition_start, for so long at most; 0 is for ever. False once the
 * time is over. As with any wait on a condition, who wakes looks again at what it waits for. */
static inline bool lc_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                     uint32_t timeout_ms)
{
    if (timeout_ms == 0)
        return pthread_cond_wait(condition, mutex) == 0;
    int64_t due_ns = lc_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    struct timespec due = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000};
    return pthread_cond_timedwait(condition, mutex, &due) == 0;
}

#endif

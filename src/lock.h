/* A stripe lock: four bytes of state in a cache line of its own.
 *
 * The mutex of Ulrich Drepper's "Futexes are tricky" (2011), section 5: 0 free, 1 held, 2 held with
 * sleepers. Free to taken is one compare-and-swap; a held lock is spun on briefly, then slept on,
 * so that no core is spent on waiting for a holder that lost its own.
 */
#ifndef LC_LOCK_H
#define LC_LOCK_H

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base.h"

typedef struct lc_lock {
    uint32_t state;
} lc_lock;

typedef struct lc_stripe {
    lc_lock lock;
    uint8_t padding[LC_CACHE_LINE - sizeof(lc_lock)];
} lc_stripe;

_Static_assert(sizeof(lc_stripe) == LC_CACHE_LINE, "no two stripes share a line");

enum { LC_SPINS_MAX = 64 };

static inline bool lc_lock_try(lc_lock *lock)
{
    uint32_t free = 0;
    return __atomic_compare_exchange_n(&lock->state, &free, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

LC_COLD void lc_lock_wait(lc_lock *lock)
{
    for (int i = 0; i < LC_SPINS_MAX; i++) {
        if (lc_lock_try(lock))
            return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    while (__atomic_exchange_n(&lock->state, 2, __ATOMIC_ACQUIRE) != 0)
        syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static inline void lc_lock_acquire(lc_lock *lock)
{
    if (LC_UNLIKELY(!lc_lock_try(lock)))
        lc_lock_wait(lock);
}

static inline void lc_lock_release(lc_lock *lock)
{
    if (LC_UNLIKELY(__atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE) == 2))
        syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Two stripes in ascending order, once where they are one: the order that excludes deadlock. */
static inline void lc_stripes_acquire(lc_stripe *stripes, uint32_t a, uint32_t b)
{
    lc_lock_acquire(&stripes[a < b ? a : b].lock);
    if (a != b)
        lc_lock_acquire(&stripes[a < b ? b : a].lock);
}

static inline void lc_stripes_release(lc_stripe *stripes, uint32_t a, uint32_t b)
{
    if (a != b)
        lc_lock_release(&stripes[a < b ? b : a].lock);
    lc_lock_release(&stripes[a < b ? a : b].lock);
}

#endif

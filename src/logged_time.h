/* The time that is logged: an anchor, and the time that has passed since.
 *
 * What passes is measured by CLOCK_BOOTTIME, which nobody sets and which goes on while the machine
 * sleeps; the wall clock gives the anchor at the first start after a boot, and nothing else. So a
 * step of the wall clock, forward or back, neither ages nor freezes a key. Invariants:
 *
 *   - logged time never goes back, over restarts neither;
 *   - between two moments of one boot no more logged time passes than time;
 *   - where it is ahead of the wall clock (its lead), nine tenths pass, until the wall clock has
 *     caught up. Where it is behind, it stays behind: to hurry would age keys.
 *
 * How the lead is worked off is part of the anchor: nine tenths for `slow_ns`, then all of it. So
 * logged time is a function of the anchor and of CLOCK_BOOTTIME, in whatever process.
 *
 * The wall clock is looked at once a second while there is work, and the anchor is set anew where
 * the lead is another one than the anchor says. Any number of threads may ask for the time; one of
 * them looks.
 */
#ifndef LC_LOGGED_TIME_H
#define LC_LOGGED_TIME_H

#include <time.h>

#include "lock.h"

#define LC_LOOK_NS 1000000000LL     /* between two looks at the wall clock */
#define LC_LEAD_NS_MIN 100000000LL  /* a smaller change of the lead is let be */

enum { LC_LEAD_SHARE = 10 }; /* one tenth of the time is held back while there is a lead */

typedef struct lc_time_anchor {
    int64_t boot_ns;   /* CLOCK_BOOTTIME at the anchor */
    int64_t logged_ns; /* logged time there, ns since 1970 */
    int64_t slow_ns;   /* how long from there on nine tenths pass */
} lc_time_anchor;

typedef struct lc_logged_time {
    uint64_t version; /* of the anchor, odd while it is written */
    lc_time_anchor anchor;
    int64_t looked_ns; /* CLOCK_BOOTTIME of the newest look at the wall clock */
    int64_t lead_ns;   /* of logged time over the wall clock, as it was then */
    lc_lock lock;      /* of who looks */
} lc_logged_time;

static inline int64_t lc_clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Logged time at a moment of CLOCK_BOOTTIME. */
static inline int64_t lc_logged_at(const lc_time_anchor *anchor, int64_t boot_ns)
{
    int64_t passed_ns = boot_ns > anchor->boot_ns ? boot_ns - anchor->boot_ns : 0;
    int64_t slow_ns = passed_ns < anchor->slow_ns ? passed_ns : anchor->slow_ns;
    return anchor->logged_ns + passed_ns - slow_ns / LC_LEAD_SHARE;
}

/* The anchor from a moment on, at which logged time and the wall clock say so much. */
static inline lc_time_anchor lc_time_anchor_at(int64_t boot_ns, int64_t logged_ns, int64_t wall_ns)
{
    lc_time_anchor anchor = {boot_ns, logged_ns, 0};
    if (logged_ns > wall_ns)
        if (__builtin_sub_overflow(logged_ns, wall_ns, &anchor.slow_ns)
            || __builtin_mul_overflow(anchor.slow_ns, LC_LEAD_SHARE, &anchor.slow_ns))
            anchor.slow_ns = INT64_MAX;
    return anchor;
}

/* Which anchor it is: another number for each that is set. */
static inline uint64_t lc_logged_time_version(const lc_logged_time *time)
{
    return __atomic_load_n(&time->version, __ATOMIC_ACQUIRE);
}

static inline lc_time_anchor lc_logged_time_anchor(const lc_logged_time *time)
{
    lc_time_anchor anchor;
    uint64_t version;
    do {
        version = __atomic_load_n(&time->version, __ATOMIC_ACQUIRE);
        anchor.boot_ns = __atomic_load_n(&time->anchor.boot_ns, __ATOMIC_ACQUIRE);
        anchor.logged_ns = __atomic_load_n(&time->anchor.logged_ns, __ATOMIC_ACQUIRE);
        anchor.slow_ns = __atomic_load_n(&time->anchor.slow_ns, __ATOMIC_ACQUIRE);
    } while (LC_UNLIKELY(version & 1
                         || version != __atomic_load_n(&time->version, __ATOMIC_RELAXED)));
    return anchor;
}

/* Set the anchor. The lock is held, or nobody else is there yet. */
static inline void lc_logged_time_set(lc_logged_time *time, lc_time_anchor anchor)
{
    uint64_t version = time->version;
    __atomic_store_n(&time->version, version + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&time->anchor.boot_ns, anchor.boot_ns, __ATOMIC_RELEASE);
    __atomic_store_n(&time->anchor.logged_ns, anchor.logged_ns, __ATOMIC_RELEASE);
    __atomic_store_n(&time->anchor.slow_ns, anchor.slow_ns, __ATOMIC_RELEASE);
    __atomic_store_n(&time->version, version + 2, __ATOMIC_RELEASE);
}

/* Compare with the wall clock, and set the anchor anew where that has been set. */
LC_COLD void lc_logged_time_look(lc_logged_time *time)
{
    lc_lock_acquire(&time->lock);
    int64_t boot_ns = lc_clock_ns(CLOCK_BOOTTIME), wall_ns = lc_clock_ns(CLOCK_REALTIME);
    lc_time_anchor now = lc_logged_time_anchor(time);
    int64_t logged_ns = lc_logged_at(&now, boot_ns);
    int64_t left_ns = now.slow_ns - (boot_ns - now.boot_ns);
    lc_time_anchor next = lc_time_anchor_at(boot_ns, logged_ns, wall_ns);
    int64_t change_ns = next.slow_ns - (left_ns > 0 ? left_ns : 0);
    if (change_ns < -LC_LEAD_NS_MIN * LC_LEAD_SHARE || change_ns > LC_LEAD_NS_MIN * LC_LEAD_SHARE)
        lc_logged_time_set(time, next);
    __atomic_store_n(&time->lead_ns, logged_ns - wall_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&time->looked_ns, boot_ns, __ATOMIC_RELAXED);
    lc_lock_release(&time->lock);
}

/* Anchor logged time at the wall clock. */
static inline void lc_logged_time_begin(lc_logged_time *time)
{
    int64_t boot_ns = lc_clock_ns(CLOCK_BOOTTIME), wall_ns = lc_clock_ns(CLOCK_REALTIME);
    lc_logged_time_set(time, lc_time_anchor_at(boot_ns, wall_ns, wall_ns));
}

/* The time to log now. */
static inline int64_t lc_logged_time_now(lc_logged_time *time)
{
    int64_t boot_ns = lc_clock_ns(CLOCK_BOOTTIME);
    if (LC_UNLIKELY(boot_ns - __atomic_load_n(&time->looked_ns, __ATOMIC_RELAXED) >= LC_LOOK_NS))
        lc_logged_time_look(time);
    lc_time_anchor anchor = lc_logged_time_anchor(time);
    return lc_logged_at(&anchor, boot_ns);
}

#endif

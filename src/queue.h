/* The bounded queue of a segment: submissions wait here for a worker. Many producers, many
 * consumers, a mutex and a condition variable: a hand-over is a batch, so it is rare, and a worker
 * that waits costs nothing.
 *
 * The bound is on weight (transfers), not on items. `items` is caller-owned and holds at least
 * `weight_max` pointers, for no item weighs less than one.
 *
 * The number of consumers changes while it is used: who shall go takes no item, so nothing has to
 * be given back, and it goes between two items.
 */
#ifndef LC_QUEUE_H
#define LC_QUEUE_H

#include <pthread.h>

#include "clock.h"

typedef struct lc_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    void **items;
    uint64_t head;
    uint64_t tail;
    uint64_t capacity;
    uint64_t weight;
    uint64_t weight_max;
    /* How long workers have worked, summed over them, up to `counted_ns`; then `working` go on. */
    uint64_t busy_ns;
    uint64_t instead_ns; /* how long producers have, in their stead; without the mutex */
    uint64_t counted_ns;
    uint32_t working;
    uint32_t retiring;
    bool stalled;
    bool closed;
} lc_queue;

enum lc_queue_result { LC_QUEUE_TAKEN = 0, LC_QUEUE_FULL = 1, LC_QUEUE_CLOSED = 2 };

static inline void lc_queue_start(lc_queue *queue, void **items, uint64_t weight_max)
{
    memset(queue, 0, sizeof(*queue));
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->filled, NULL);
    queue->items = items;
    queue->capacity = weight_max;
    queue->weight_max = weight_max;
}

static inline void lc_queue_stop(lc_queue *queue)
{
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->mutex);
}

static inline enum lc_queue_result lc_queue_push(lc_queue *queue, void *item, uint64_t weight)
{
    enum lc_queue_result result = LC_QUEUE_TAKEN;
    pthread_mutex_lock(&queue->mutex);
    if (queue->closed) {
        result = LC_QUEUE_CLOSED;
    } else if (queue->weight + weight > queue->weight_max) {
        result = LC_QUEUE_FULL;
    } else {
        queue->items[queue->tail++ % queue->capacity] = item;
        queue->weight += weight;
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->mutex);
    return result;
}

/* Bring `busy_ns` up to now. The mutex is held, and before `working` changes this is called. */
static inline void lc_queue_count_busy(lc_queue *queue)
{
    uint64_t now_ns = (uint64_t)lc_monotonic_ns();
    queue->busy_ns += queue->working * (now_ns - queue->counted_ns);
    queue->counted_ns = now_ns;
}

/* Whether a worker has to wait. Closing ends a stall, for what was taken must be finished. */
static inline bool lc_queue_must_wait(const lc_queue *queue)
{
    if (queue->closed)
        return false;
    return queue->retiring == 0 && (queue->stalled || queue->head == queue->tail);
}

/* The next item, waiting for one; NULL for a worker that shall go: one for each that was retired,
 * and all once the queue is closed and empty. A closed queue retires nobody before that. The weight
 * is given back by lc_queue_done, so that the bound covers what is being worked on as well. */
static inline void *lc_queue_pop(lc_queue *queue)
{
    void *item = NULL;
    pthread_mutex_lock(&queue->mutex);
    while (lc_queue_must_wait(queue))
        pthread_cond_wait(&queue->filled, &queue->mutex);
    if (queue->retiring > 0 && !queue->closed) {
        queue->retiring--;
    } else if (queue->head != queue->tail) {
        item = queue->items[queue->head++ % queue->capacity];
        lc_queue_count_busy(queue);
        queue->working++;
    }
    pthread_mutex_unlock(&queue->mutex);
    return item;
}

/* The end of what lc_queue_pop has begun. */
static inline void lc_queue_done(lc_queue *queue, uint64_t weight)
{
    pthread_mutex_lock(&queue->mutex);
    queue->weight -= weight;
    lc_queue_count_busy(queue);
    queue->working--;
    pthread_mutex_unlock(&queue->mutex);
}

/* Let so many workers go, each as soon as it has finished its item. All are woken: one signal might
 * meet a worker that was woken for an item, and the item would wait for the next. */
static inline void lc_queue_retire(lc_queue *queue, uint32_t count)
{
    pthread_mutex_lock(&queue->mutex);
    queue->retiring += count;
    pthread_mutex_unlock(&queue->mutex);
    pthread_cond_broadcast(&queue->filled);
}

/* While stalled, nothing is taken out, and what comes in waits. */
static inline void lc_queue_stall(lc_queue *queue, bool stalled)
{
    pthread_mutex_lock(&queue->mutex);
    queue->stalled = stalled;
    pthread_mutex_unlock(&queue->mutex);
    pthread_cond_broadcast(&queue->filled);
}

/* Whether a producer may do a worker's part: nothing is before it, and nothing holds it up. */
static inline bool lc_queue_is_free(lc_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    bool is_free = queue->weight == 0 && !queue->stalled;
    pthread_mutex_unlock(&queue->mutex);
    return is_free;
}

/* Count what a producer has done in a worker's stead. */
static inline void lc_queue_add_busy(lc_queue *queue, int64_t busy_ns)
{
    __atomic_fetch_add(&queue->instead_ns, (uint64_t)busy_ns, __ATOMIC_RELAXED);
}

/* How long workers, and producers in their stead, have worked so far, summed over them. */
static inline uint64_t lc_queue_busy_ns(lc_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    lc_queue_count_busy(queue);
    uint64_t busy_ns = queue->busy_ns;
    pthread_mutex_unlock(&queue->mutex);
    return busy_ns + __atomic_load_n(&queue->instead_ns, __ATOMIC_RELAXED);
}

static inline uint64_t lc_queue_depth(lc_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    uint64_t weight = queue->weight;
    pthread_mutex_unlock(&queue->mutex);
    return weight;
}

static inline void lc_queue_close(lc_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->mutex);
}

#endif

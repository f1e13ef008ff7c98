/* The bounded queue of a segment: submissions wait here for a worker. Many producers, many
 * consumers, a mutex and a condition variable: a hand-over is a batch, so it is rare, and a worker
 * that waits costs nothing.
 *
 * The bound is on weight (transfers), not on items. `items` is caller-owned and holds at least
 * `weight_max` pointers, for no item weighs less than one.
 */
#ifndef LC_QUEUE_H
#define LC_QUEUE_H

#include <pthread.h>

#include "base.h"

typedef struct lc_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    void **items;
    uint64_t head;
    uint64_t tail;
    uint64_t capacity;
    uint64_t weight;
    uint64_t weight_max;
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

/* The next item, waiting for one; NULL once the queue is closed and empty. The weight is given back
 * by lc_queue_done, so that the bound covers what is being worked on as well. */
static inline void *lc_queue_pop(lc_queue *queue)
{
    void *item = NULL;
    pthread_mutex_lock(&queue->mutex);
    while (queue->head == queue->tail && !queue->closed)
        pthread_cond_wait(&queue->filled, &queue->mutex);
    if (queue->head != queue->tail)
        item = queue->items[queue->head++ % queue->capacity];
    pthread_mutex_unlock(&queue->mutex);
    return item;
}

static inline void lc_queue_done(lc_queue *queue, uint64_t weight)
{
    pthread_mutex_lock(&queue->mutex);
    queue->weight -= weight;
    pthread_mutex_unlock(&queue->mutex);
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

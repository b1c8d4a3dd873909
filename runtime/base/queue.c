#include "runtime/base/queue.h"

#include "runtime/base/size.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct pith_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    size_t capacity;
    size_t head; /* index of the oldest item */
    size_t len;
    bool shut;
    bool kicked;
    void *items[];
};

pith_status pith_queue_open(pith_queue **queue, size_t capacity, pith_err *err) {
    *queue = NULL;
    size_t bytes;
    if (!pith_size_mul(capacity, sizeof(void *), &bytes) ||
        !pith_size_add(bytes, sizeof(pith_queue), &bytes)) {
        return pith_fail(err, PITH_INVALID, "queue capacity %zu is too large", capacity);
    }
    pith_queue *made = calloc(1, bytes);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for a queue of %zu items", capacity);
    }
    made->capacity = capacity;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_cond_init(&made->filled, &attr);
    (void)pthread_condattr_destroy(&attr);
    *queue = made;
    return PITH_OK;
}

void pith_queue_close(pith_queue *queue) {
    if (queue == NULL) {
        return;
    }
    (void)pthread_cond_destroy(&queue->filled);
    (void)pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

bool pith_queue_push(pith_queue *queue, void *item) {
    (void)pthread_mutex_lock(&queue->mutex);
    bool room = !queue->shut && queue->len < queue->capacity;
    if (room) {
        queue->items[(queue->head + queue->len) % queue->capacity] = item;
        queue->len++;
        (void)pthread_cond_signal(&queue->filled);
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    return room;
}

static struct timespec absolute(int64_t wait_ns) {
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += wait_ns / 1000000000;
    at.tv_nsec += wait_ns % 1000000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

void *pith_queue_pop(pith_queue *queue, int64_t wait_ns) {
    (void)pthread_mutex_lock(&queue->mutex);
    if (wait_ns == INT64_MAX) {
        while (queue->len == 0 && !queue->shut) {
            (void)pthread_cond_wait(&queue->filled, &queue->mutex);
        }
    } else if (wait_ns > 0) {
        struct timespec until = absolute(wait_ns);
        int rc = 0;
        while (queue->len == 0 && !queue->shut && !queue->kicked && rc == 0) {
            rc = pthread_cond_timedwait(&queue->filled, &queue->mutex, &until);
        }
        queue->kicked = false;
    }
    void *item = NULL;
    if (queue->len > 0) {
        item = queue->items[queue->head];
        queue->head = (queue->head + 1) % queue->capacity;
        queue->len--;
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    return item;
}

void pith_queue_kick(pith_queue *queue) {
    (void)pthread_mutex_lock(&queue->mutex);
    queue->kicked = true;
    (void)pthread_cond_signal(&queue->filled);
    (void)pthread_mutex_unlock(&queue->mutex);
}

void pith_queue_shut(pith_queue *queue) {
    (void)pthread_mutex_lock(&queue->mutex);
    queue->shut = true;
    (void)pthread_cond_broadcast(&queue->filled);
    (void)pthread_mutex_unlock(&queue->mutex);
}

bool pith_queue_is_shut(pith_queue *queue) {
    (void)pthread_mutex_lock(&queue->mutex);
    bool shut = queue->shut;
    (void)pthread_mutex_unlock(&queue->mutex);
    return shut;
}

size_t pith_queue_len(pith_queue *queue) {
    (void)pthread_mutex_lock(&queue->mutex);
    size_t len = queue->len;
    (void)pthread_mutex_unlock(&queue->mutex);
    return len;
}

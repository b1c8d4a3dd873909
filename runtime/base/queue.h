/* Bounded queue of pointers: many producers, many consumers, FIFO.
 *
 * Owns its slots, not what they point to. A full queue is an answer, never a wait: push returns
 * false. pop waits until an item, a close, or the time limit. Any thread. */
#ifndef PITH_BASE_QUEUE_H
#define PITH_BASE_QUEUE_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_queue pith_queue;

PITH_MUST_USE pith_status pith_queue_open(pith_queue **queue, size_t capacity, pith_err *err);
void pith_queue_close(pith_queue *queue); /* frees; nobody may wait on it any more */

/* False when full or shut. */
bool pith_queue_push(pith_queue *queue, void *item);

/* The oldest item. Waits at most `wait_ns` (0: not at all; INT64_MAX: until shut). NULL when
 * nothing came, or when the queue is shut and empty. */
void *pith_queue_pop(pith_queue *queue, int64_t wait_ns);

/* A pop that waits for a time, or the next one that would, ends with what there is. */
void pith_queue_kick(pith_queue *queue);

/* Refuses new items and wakes every waiter; items already in can still be popped. */
void pith_queue_shut(pith_queue *queue);
bool pith_queue_is_shut(pith_queue *queue);
size_t pith_queue_len(pith_queue *queue);

#endif

/* SPDX-License-Identifier: MIT */
/* base/queue: an unbounded queue of intrusive nodes, many producers, one consumer (liburcu's wfcqueue, hidden).
 *
 * A push is two steps: it takes the tail, then links the node to the one before. A producer that stops in between hides
 * what was pushed after it: pop then says "not now" at once, and never waits for that producer. */
#ifndef TORCI_QUEUE_H
#define TORCI_QUEUE_H

#include <stdbool.h>

#include "base/atomic.h"

/* Embedded in what is queued. In one queue at a time; free for anything again once popped. */
struct torci_queue_node {
    void *private_word;
};

struct torci_queue {
    _Alignas(TORCI_CACHE_LINE) void *head;      /* Consumer's. */
    _Alignas(TORCI_CACHE_LINE) void *tail;      /* Producers'. */
};

/* What torci_queue_pop() found. */
enum torci_queue_state {
    TORCI_QUEUE_TAKEN,       /* A node. */
    TORCI_QUEUE_EMPTY,       /* Nothing was there at some moment of the call. */
    TORCI_QUEUE_PENDING,     /* A producer stands between its two steps: come back later. */
};

/* The queue must not move afterwards. There is nothing to undo: an empty queue may be forgotten. */
void torci_queue_init(struct torci_queue *queue);

/* Append `node`.
 *
 * Threads    Any number at once, beside one consumer.
 * Progress   Wait-free.
 * Ordering   All that this thread did before is visible to the consumer that pops `node`.
 * Returns    Whether the queue was empty: of the producers since it last was, exactly one is told so (and may wake the
 *            consumer). */
bool torci_queue_push(struct torci_queue *queue, struct torci_queue_node *node);

/* Take the oldest node into `*node`; NULL unless TORCI_QUEUE_TAKEN.
 *
 * Threads    One at a time.
 * Progress   Wait-free.
 * Ordering   See push. Nodes of one producer come in the order of their pushes. */
enum torci_queue_state torci_queue_pop(struct torci_queue *queue, struct torci_queue_node **node);

/* Whether nothing is queued, pending pushes included. Any thread; stale as soon as it returns. */
bool torci_queue_empty_racy(struct torci_queue *queue);

#endif

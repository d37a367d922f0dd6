/* SPDX-License-Identifier: MIT */
/* base/queue: the border to liburcu's wfcqueue.
 *
 *   head --> n1 --> n2     n3 <-- tail      n3's producer has taken the tail and not linked it yet: pop gives n1, then
 *                                           TORCI_QUEUE_PENDING (n2 leaves only when its successor is known)
 *
 * Only the non-blocking dequeue is used; the blocking one would sleep until n3 is linked.
 *
 * Ordering     R1 torci_queue_push(), the full barrier of the tail's exchange -> A1 torci_queue_pop(), the dependent
 *                 load of the node: all that the producer wrote before
 *              wfcqueue is not instrumented, so both are told to a race checker here.
 * Progress     Push: one exchange, one store. Pop: no loop.
 * Reclamation  None: nodes are the caller's. */
#include "base/queue.h"

#include <urcu/wfcqueue.h>

#include "base/annotate.h"
#include "base/assert.h"

_Static_assert(sizeof(struct cds_wfcq_node) == sizeof(struct torci_queue_node), "the private word must hold it");
_Static_assert(sizeof(struct __cds_wfcq_head) == sizeof(void *), "`head` must hold it");
_Static_assert(sizeof(struct cds_wfcq_tail) == sizeof(void *), "`tail` must hold it");

static struct __cds_wfcq_head *
head_of(struct torci_queue *queue)
{
    return (struct __cds_wfcq_head *)&queue->head;
}

static struct cds_wfcq_tail *
tail_of(struct torci_queue *queue)
{
    return (struct cds_wfcq_tail *)&queue->tail;
}

void
torci_queue_init(struct torci_queue *queue)
{
    torc_assert(queue != NULL);
    __cds_wfcq_init(head_of(queue), tail_of(queue));
}

bool
torci_queue_push(struct torci_queue *queue, struct torci_queue_node *node)
{
    struct cds_wfcq_node *inner = (struct cds_wfcq_node *)node;

    torc_assert(queue != NULL && node != NULL);

    cds_wfcq_node_init(inner);
    torci_annotate_release(node);
    torci_race_window();
    return !cds_wfcq_enqueue(head_of(queue), tail_of(queue), inner);    /* R1 */
}

enum torci_queue_state
torci_queue_pop(struct torci_queue *queue, struct torci_queue_node **node)
{
    torc_assert(queue != NULL && node != NULL);

    torci_race_window();
    struct cds_wfcq_node *inner = __cds_wfcq_dequeue_nonblocking(head_of(queue), tail_of(queue));      /* A1 */

    *node = NULL;
    if (inner == NULL)
        return TORCI_QUEUE_EMPTY;
    if (inner == CDS_WFCQ_WOULDBLOCK)
        return TORCI_QUEUE_PENDING;
    torci_annotate_acquire(inner);
    *node = (struct torci_queue_node *)inner;
    return TORCI_QUEUE_TAKEN;
}

bool
torci_queue_empty_racy(struct torci_queue *queue)
{
    torci_race_window();
    return cds_wfcq_empty(head_of(queue), tail_of(queue));
}

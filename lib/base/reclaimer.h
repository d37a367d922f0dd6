/* SPDX-License-Identifier: MIT */
/* base/reclaimer: grace periods driven by callers. What is retired waits on a stack until somebody polls; who polls
 * waits for the grace period and calls the free_fns. No thread is ever started.
 *
 *   torci_reclaimer_retire() --> waiting stack --(poll: a grace period)--> free_fn
 *
 * A reclaimer that is NULL stands for the library's reclaiming thread (base/epoch.h), so that callers write one line
 * for both. Invariants, ordering and progress: reclaimer.c. */
#ifndef TORCI_RECLAIMER_H
#define TORCI_RECLAIMER_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/epoch.h"

struct torci_reclaimer {
    _Alignas(TORCI_CACHE_LINE) _Atomic(struct torci_retired *) waiting;
    _Atomic(uint64_t) bytes;        /* Retired, and free_fn has not returned yet. */
    _Atomic(uint64_t) begun;        /* Grace periods that polls have begun, */
    _Atomic(uint64_t) ended;        /* and the latest of them that is known to be over. */
};

/* There is nothing to undo: a reclaimer may be forgotten when torci_reclaimer_bytes() is 0. */
void torci_reclaimer_init(struct torci_reclaimer *reclaimer);

/* Call free_fn(retired), in a later poll by any thread, after every section that is open now has ended. The object
 * must be unreachable for new sections. `bytes`, more than 0, is what waits with it.
 *
 * Threads    Any number at once, inside or outside a section, also from a free_fn.
 * Progress   Lock-free. NULL: as torci_epoch_retire().
 * Ordering   free_fn sees all that this thread did before, and what all sections did that could hold the object.
 * Ownership  free_fn runs inside a section of the thread that polls. It must not block, and may reuse or free what
 *            `retired` lies in. The order in which objects are freed is not promised. */
void torci_reclaimer_retire(struct torci_reclaimer *reclaimer, struct torci_retired *retired, size_t bytes,
                            void (*free_fn)(struct torci_retired *retired));

/* Free what waited when the call began. Returns the bytes that wait now: what was retired meanwhile, and what other
 * threads that poll have in their hands. 0: nothing waits, so there is nothing to call again for.
 *
 * Threads    Any number at once. Not inside a section, nor in a free_fn.
 * Progress   Blocking: waits until all sections that are open now have ended. Nothing waits, or NULL: one load.
 * Cost       One grace period; threads that poll at once share theirs. Then the free_fns. */
uint64_t torci_reclaimer_poll(struct torci_reclaimer *reclaimer);

/* Wait until all that was retired before this call has been freed, by this thread or by others that poll. What a
 * free_fn retires in its turn is not waited for: call again.
 *
 * Threads    Any number at once. Not inside a section, nor in a free_fn.
 * Progress   Blocking, as poll: up to three grace periods, one if nobody else polls. Nothing waits: one load. NULL: as
 *            torci_epoch_barrier().
 * Ordering   Sees what the free_fns did. */
void torci_reclaimer_barrier(struct torci_reclaimer *reclaimer);

/* Bytes that wait. Any thread; approximate while others run. NULL: 0. */
uint64_t torci_reclaimer_bytes(const struct torci_reclaimer *reclaimer);

#endif

/* SPDX-License-Identifier: MIT */
/* base/limbo: per-owner bags of retired objects, so that one grace period serves many objects, no object carries a
 * retire header, and memory is freed by the thread that will allocate again (large memory: by the reclaiming thread).
 *
 *   owner: torci_limbo_add() -> open bag --(full, flush, settle)--> reclaimer --(grace period)--> ready list --> freed
 *
 * "The reclaiming thread" below: the library's, or whichever thread polls if the limbo has a reclaimer of its own
 * (base/reclaimer.h).
 *
 * A limbo belongs to one owner at a time (a thread index of one store). Shared are `ready`, which anybody may empty
 * (torci_limbo_relieve()), and the figures. */
#ifndef TORCI_LIMBO_H
#define TORCI_LIMBO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/alloc.h"
#include "base/reclaimer.h"

struct torci_limbo;
struct torci_slab;

/* Called for each object after its grace period: by the owner, by the caller of torci_limbo_relieve() or of
 * torci_limbo_destroy(), or by the reclaiming thread. Several may be at it at once, each with objects of its own. */
typedef void torci_limbo_free_fn(void *context, void *object, size_t size, unsigned kind);

/* NULL: no memory. Bags are allocated from `heap`. `reclaimer` is borrowed until the limbo is destroyed; NULL: the
 * library's reclaiming thread. */
struct torci_limbo *torci_limbo_create(struct torci_heap *heap, struct torci_reclaimer *reclaimer,
                                       torci_limbo_free_fn *free_fn, void *context);

/* Have the owner's slab found by whoever is given the limbo and must allocate what will be retired. Borrowed; before
 * the limbo is used. The slab: NULL if it was never set. */
void torci_limbo_set_slab(struct torci_limbo *limbo, struct torci_slab *slab);
struct torci_slab *torci_limbo_slab(const struct torci_limbo *limbo);

/* Free everything at once, open bag included. No section may be open that could see it, and
 * torci_reclaimer_barrier() of the limbo's reclaimer (or NULL) has been called after the last add. */
void torci_limbo_destroy(struct torci_limbo *limbo);

/* Make sure that `count` adds will succeed. TORC_NO_MEMORY if it cannot; then no room was lost. Frees ready bags on
 * the way (that is where the owner's memory comes back). Call it before the critical part of an operation. */
TORC_MUST_CHECK enum torc_status torci_limbo_reserve(struct torci_limbo *limbo, size_t count);

/* How many adds will succeed without a reserve. */
size_t torci_limbo_room(const struct torci_limbo *limbo);

/* Retire one object, already unreachable for new sections. Room must be there (torci_limbo_reserve()). `size` is
 * counted as retired bytes; `kind` is the owner's. Full bags are handed over here. */
void torci_limbo_add(struct torci_limbo *limbo, void *object, size_t size, unsigned kind);

/* Hand the open bag, if any, over although it is not full; its room is lost, so reserve afterwards. */
void torci_limbo_flush(struct torci_limbo *limbo);

/* Hand the open bag over if it holds many bytes. Call it when an operation is over and needs no more room:
 * the rest of the bag's room is lost, as with flush. */
void torci_limbo_settle(struct torci_limbo *limbo);

/* Free what is ready; returns the number of objects freed. */
size_t torci_limbo_drain(struct torci_limbo *limbo);

/* The same by any thread, while the owner may be at work: what an idle owner left lying. Lock-free. */
size_t torci_limbo_relieve(struct torci_limbo *limbo);

/* Bytes retired and not yet freed. Any thread; approximate while the owner runs. */
uint64_t torci_limbo_bytes(const struct torci_limbo *limbo);

#endif

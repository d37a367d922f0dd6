/* SPDX-License-Identifier: MIT */
/* mvcc/snapshot: announcing and looking. Invariants and ordering: snapshot.h. */
#include "mvcc/snapshot.h"

#include "base/assert.h"
#include "base/time.h"

/* announced: 0 free; else the stamp shifted by one, low bit: PENDING. */
static uint64_t
announce_pending(uint64_t stamp)
{
    return stamp << 1 | 1;
}

static uint64_t
announce_exact(uint64_t stamp)
{
    return stamp << 1;
}

uint64_t
torci_snapshot_begin(struct torci_slot *slot, struct torci_clock *clock)
{
    torc_assert(torci_load(&slot->announced, memory_order_relaxed) == 0); /* Relaxed: ours. */

    /* R1, and seq_cst: in S before the clock is read below (I2). */
    torci_exchange(&slot->announced, announce_pending(torci_clock_now(clock)), memory_order_seq_cst);
    torci_race_window();
    slot->snapshot = torci_clock_read_stamp(clock);
    /* R1. Until it shows, PENDING covers it. */
    torci_store(&slot->announced, announce_exact(slot->snapshot), memory_order_release);
    return slot->snapshot;
}

void
torci_snapshot_end(struct torci_slot *slot)
{
    torci_store(&slot->announced, 0, memory_order_release); /* R1 */
}

/* Insert `snapshot` into the ascending, distinct list. When it is full, the oldest are kept and the others are given
 * up: `limit` falls below it, so that nothing in doubt is pruned. */
static void
view_add(struct torci_view *view, uint64_t snapshot)
{
    unsigned at = view->count;

    while (at > 0 && view->snapshots[at - 1] > snapshot)
        at--;
    if (at > 0 && view->snapshots[at - 1] == snapshot)
        return;
    if (view->count == TORCI_VIEW_SNAPSHOTS_MAX) {
        /* Keep the oldest ones: they are what blocks. Everything from the first one left out on is in doubt. */
        uint64_t left_out = at == view->count ? snapshot : view->snapshots[view->count - 1];

        if (left_out < view->limit)
            view->limit = left_out;
        if (at == view->count)
            return;
        view->count--;
    }
    for (unsigned i = view->count; i > at; i--)
        view->snapshots[i] = view->snapshots[i - 1];
    view->snapshots[at] = snapshot;
    view->count++;
}

void
torci_view_refresh(struct torci_view *view, struct torc_mvcc *store)
{
    struct torc_txn *txn;

    view->count = 0;
    view->walked = 0;
    view->limit = torci_clock_now(&store->clock); /* Before the slots (I2). */
    torci_race_window();
    for (txn = torci_load(&store->transactions, memory_order_seq_cst); txn != NULL; /* A2 */
         txn = ((struct torci_slot *)txn)->next_all) {
        uint64_t announced = torci_load(&((struct torci_slot *)txn)->announced, memory_order_seq_cst); /* A1 */

        view->walked++;
        if (announced == 0)
            continue;
        if (announced & 1) {
            /* It may become any stamp from there upwards. */
            if (announced >> 1 < view->limit)
                view->limit = announced >> 1;
            continue;
        }
        view_add(view, announced >> 1);
    }
    view->watermark = view->limit;
    if (view->count > 0 && view->snapshots[0] < view->watermark)
        view->watermark = view->snapshots[0];
}

bool
torci_view_dead(const struct torci_view *view, uint64_t older, uint64_t newer)
{
    unsigned low = 0;
    unsigned high = view->count;

    torc_assert(older <= newer);
    if (newer > view->limit)
        return false;
    /* The first snapshot >= older: it, or none, lies in [older, newer). */
    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (view->snapshots[middle] < older)
            low = middle + 1;
        else
            high = middle;
    }
    return low == view->count || view->snapshots[low] >= newer;
}

void
torci_slot_publish(struct torci_slot *slot, struct torc_mvcc *store)
{
    struct torc_txn *first = torci_load(&store->transactions, memory_order_relaxed); /* Relaxed: the CAS decides. */

    do {
        slot->next_all = first;
        torci_race_window();
        /* R2. Fails when another struct was published: that one progressed. */
    } while (
        !torci_cas(&store->transactions, &first, (struct torc_txn *)slot, memory_order_seq_cst, memory_order_relaxed));
}

void
torci_spares_push(struct torc_mvcc *store, struct torci_slot *first, struct torci_slot *last)
{
    struct torc_txn *top = torci_load(&store->spares, memory_order_relaxed); /* Relaxed: the CAS decides. */

    do {
        last->next_spare = top;
        torci_race_window();
        /* R3. No ABA: `top` is only ever linked to, and taking takes all. Failure: another push or take progressed. */
    } while (!torci_cas(&store->spares, &top, (struct torc_txn *)first, memory_order_release, memory_order_relaxed));
}

struct torc_txn *
torci_spares_take(struct torc_mvcc *store)
{
    if (torci_load(&store->spares, memory_order_relaxed) == NULL) /* Relaxed: a hint that saves the exchange. */
        return NULL;
    return torci_exchange(&store->spares, NULL, memory_order_acquire); /* A3 */
}

/* SPDX-License-Identifier: MIT */
/* mvcc/snapshot: announcing and looking. Invariants and ordering: snapshot.h. */
#include "mvcc/snapshot.h"

#include "base/assert.h"
#include "base/time.h"

static uint64_t
announce_pending(uint64_t stamp)
{
    return stamp << 1 | TORCI_ANNOUNCED_PENDING;
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
torci_snapshot_begin_past(struct torci_slot *slot, uint64_t snapshot)
{
    torc_assert(torci_load(&slot->announced, memory_order_relaxed) == 0); /* Relaxed: ours. */
    torc_assert(snapshot % 2 == 0);

    slot->snapshot = snapshot;
    /* R1, and seq_cst: in S before the floor is read (history.h I2). */
    torci_exchange(&slot->announced, announce_exact(snapshot), memory_order_seq_cst);
}

bool
torci_snapshot_begin_kept(struct torci_slot *slot, struct torc_mvcc *store, uint64_t snapshot)
{
    torci_snapshot_begin_past(slot, snapshot);
    torci_race_window();
    if (torci_history_floor(store) <= snapshot) /* After announcing: history.h I2. */
        return true;
    torci_snapshot_end(slot);
    return false;
}

bool
torci_snapshot_hold(struct torci_slot *slot)
{
    uint64_t expected = announce_exact(slot->snapshot);

    /* R1. Failure: expired; relaxed, because that is all there is to know. */
    return torci_cas(&slot->announced, &expected, expected | TORCI_ANNOUNCED_HELD, memory_order_seq_cst,
                     memory_order_relaxed);
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

/* Expire the snapshot of `slot`, announced as `announced`, if it is older than it may be. */
static bool
expire(struct torci_slot *slot, uint64_t announced, uint64_t age_max_ns, uint64_t now_ns)
{
    if ((announced & (TORCI_ANNOUNCED_PENDING | TORCI_ANNOUNCED_HELD)) != 0)
        return false;
    /* Relaxed: set before it was announced, or of a later user of the slot, whose announcement the CAS tells apart but
     * for the same stamp: then that one is expired early. */
    if (torci_load(&slot->traits, memory_order_relaxed) & TORCI_SLOT_LASTING)
        return false;
    if (torci_load(&slot->began_ns, memory_order_relaxed) + age_max_ns >= now_ns) /* Relaxed: as above. */
        return false;
    torci_race_window();
    /* R1: what pruning does without this snapshot comes after it, in S (I3). Failure: it ended, or is held. */
    return torci_cas(&slot->announced, &announced, TORCI_ANNOUNCED_EXPIRED, memory_order_seq_cst, memory_order_relaxed);
}

void
torci_view_refresh(struct torci_view *view, struct torc_mvcc *store)
{
    uint64_t age_max_ns = store->options.max_snapshot_age_ns;
    uint64_t now_ns = age_max_ns > 0 || store->options.history_ns > 0 ? torci_now_coarse_ns() : 0;
    uint64_t floor = torci_history_advance(store, now_ns);
    struct torci_slot *slot;

    view->count = 0;
    view->walked = 0;
    view->limit = torci_clock_now(&store->clock); /* Before the slots (I2), as is the floor (history.h I1). */
    if (floor < view->limit)
        view->limit = floor;
    torci_race_window();
    for (slot = (struct torci_slot *)torci_load(&store->transactions, memory_order_seq_cst); slot != NULL; /* A2 */
         slot = (struct torci_slot *)slot->next_all) {
        uint64_t announced = torci_load(&slot->announced, memory_order_seq_cst); /* A1 */
        uint64_t stamp = torci_announced_stamp(announced);

        view->walked++;
        if (stamp == 0 || (age_max_ns > 0 && expire(slot, announced, age_max_ns, now_ns)))
            continue;
        if ((announced & TORCI_ANNOUNCED_PENDING) == 0)
            view_add(view, stamp);
        else if (stamp < view->limit)
            view->limit = stamp; /* It may become any stamp from there upwards. */
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

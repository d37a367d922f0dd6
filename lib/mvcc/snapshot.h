/* SPDX-License-Identifier: MIT */
/* mvcc/snapshot: open snapshots announce themselves, and garbage collection looks at all of them: no lock on either
 * side.
 *
 *   store.transactions --> txn --> txn --> txn --> NULL       append-only: a transaction struct is made when no ended
 *                          | announced                        one is at hand, reused, and freed at close
 *                          0 free | PENDING(c) | s | s, held | EXPIRED
 *
 * begin   announced = PENDING(clock); s = read stamp; announced = s          end   announced = 0
 *         in the past: announced = s; s >= floor? (history.h)
 * look    w = clock, floor; then every announcement: s itself, PENDING(c) as "any value from c upwards"
 * expire  a look finds s older than max_snapshot_age_ns: CAS s -> EXPIRED, and s is no snapshot any more. Whoever reads
 *         at s looks at its announcement after it has read, in the same section: what it found counts only if it was
 *         not expired by then. A commit CASes s -> held first, which no look expires.
 *
 * Invariants
 *   I1  A begin that a look does not see (its slot was still free, or not yet in the list) takes its stamp after the
 *       look read the clock: s >= w. So nothing that only snapshots below w could see is needed by it.
 *   I2  Announcing comes before stamping, and the look reads the clock before the slots. Either order turned round,
 *       or a PENDING(c) taken for the point c, loses versions that a live snapshot needs (snapshot_fiber_test.c kills
 *       all three).
 *   I3  A value read at s and an announcement still s afterwards: pruning without s began later, in S, than the reads.
 * Ordering   All accesses but the two stores below are seq_cst, in the order S of clock.h.
 *   R1 exchange announced = PENDING, store announced = s, store announced = 0 (end) -> A1 the look's load of
 *      announced: all that the ended transaction read, so that it may be freed
 *   R2 CAS of store.transactions -> A2 load of it: the new struct and its `next_all`
 *   R3 CAS of store.spares -> A3 exchange of it: the struct as its last user left it
 * Progress   begin and end are wait-free but for making a struct and for passing spares on (both lock-free). A look is
 *            wait-free in the number of structs.
 * Papers     Announce-then-read: hazard pointers (Michael, TPDS 2004); PENDING as a range: Wei et al., PPoPP 2021. */
#ifndef TORCI_MVCC_SNAPSHOT_H
#define TORCI_MVCC_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mvcc/history.h"
#include "mvcc/store.h"

/* The part of a transaction that the others see; it is the first member of struct torc_txn. */
struct torci_slot {
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) announced;
    _Atomic(uint64_t) began_ns;           /* Coarse clock; for statistics, relaxed. */
    _Atomic(uint32_t) traits;             /* enum torci_slot_traits; for statistics, relaxed. */
    struct torc_txn *next_all;            /* Immutable after R2. */
    struct torc_txn *next_spare;          /* Of whoever holds the spare list. */
    uint64_t snapshot;                    /* Of the transaction's user. */
};

enum torci_slot_traits {
    TORCI_SLOT_READ_ONLY = 1u << 0,
    TORCI_SLOT_SERIALIZABLE = 1u << 1,
    TORCI_SLOT_LASTING = 1u << 2,         /* Never expires. Set before announcing. */
    TORCI_SLOT_NAMED = 1u << 3,           /* Holds a named snapshot. */
};

/* Flags beside the stamp, which is shifted by one. */
#define TORCI_ANNOUNCED_PENDING UINT64_C(1)
#define TORCI_ANNOUNCED_EXPIRED (UINT64_C(1) << 62)    /* Alone. */
#define TORCI_ANNOUNCED_HELD (UINT64_C(1) << 63)

/* The stamp of an announcement: what it is, or the least it can become; 0: there is no snapshot. */
static inline uint64_t
torci_announced_stamp(uint64_t announced)
{
    return announced == TORCI_ANNOUNCED_EXPIRED ? 0 : (announced & ~TORCI_ANNOUNCED_HELD) >> 1;
}

/* Take a snapshot in `slot`, which was free: sets and returns slot->snapshot. */
uint64_t torci_snapshot_begin(struct torci_slot *slot, struct torci_clock *clock);

/* Take `snapshot`, a stamp that the clock has reached, in `slot`, which was free, and let slot->snapshot be it. */
void torci_snapshot_begin_past(struct torci_slot *slot, uint64_t snapshot);

/* The same for a stamp that only history_ns keeps. False: it is not kept any more, and the slot is free. */
bool torci_snapshot_begin_kept(struct torci_slot *slot, struct torc_mvcc *store, uint64_t snapshot);

/* Whether it has been expired. */
static inline bool
torci_snapshot_expired(const struct torci_slot *slot)
{
    return torci_load(&slot->announced, memory_order_seq_cst) == TORCI_ANNOUNCED_EXPIRED; /* A1 */
}

/* From now on it cannot be expired. False: it has been. */
bool torci_snapshot_hold(struct torci_slot *slot);

/* Let go of it. Everything that was read under it may vanish from now on. */
void torci_snapshot_end(struct torci_slot *slot);

/* Look at all snapshots of the store. */
void torci_view_refresh(struct torci_view *view, struct torc_mvcc *store);

/* Whether no snapshot, now or ever, sees the version stamped `older` of which the next newer one is stamped `newer`. */
bool torci_view_dead(const struct torci_view *view, uint64_t older, uint64_t newer);

/* ---- Transaction structs ---- */

/* Put a new struct into the list of all. */
void torci_slot_publish(struct torci_slot *slot, struct torc_mvcc *store);

/* Give an ended one to the store's spare list; take the whole list (NULL: none). */
void torci_spares_push(struct torc_mvcc *store, struct torci_slot *first, struct torci_slot *last);
struct torc_txn *torci_spares_take(struct torc_mvcc *store);

#endif

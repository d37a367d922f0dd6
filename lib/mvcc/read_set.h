/* SPDX-License-Identifier: MIT */
/* mvcc/read_set: what a serializable transaction has read, and whether it still holds at its commit stamp.
 *
 * Invariants
 *   I1  A transaction that commits at stamp t has read what a reader of stamp t would read, but for its own writes. So
 *       commits are serialized in the order of their stamps, those of one stamp in the order in which they validated,
 *       and read-only transactions where their snapshots stand: none of these needs validation.
 *   I2  Absence is validated by looking the key up again, a range by walking it again and comparing exactly the
 *       versions seen: no phantom passes. A tombstone younger than the snapshot refuses too, although the key is absent
 *       again: it may share our stamp and stand after us in the order, and hide a put that stands before us.
 *   I3  A version owned by another transaction, met while validating at t:
 *         INSTALLING        ignored: it will validate after this moment, see our writes, and its stamp is >= t
 *         DECIDING          decided or given a stamp first: its owner may hold one that is older than t
 *         VALIDATING(t2)    t2 > t ignored; else one of the two must go: the lower rank, for ever (version.h's order)
 *         COMMITTED(t2)     what counts, if t2 <= t
 *       Without validation, ignoring DECIDING, and ignoring VALIDATING each let an anomaly pass
 *       (txn_fiber_test.c kills these mutants).
 *   I4  A newer version that committed after t refuses too, although order by stamp would allow it: nothing protects
 *       the versions between our snapshot and t, so one that counts may have been pruned from under it.
 * Helping    A reader whose snapshot is >= t runs the same validation. So the set is immutable once the descriptor has
 *            left INSTALLING, lives in an arena that is retired after the descriptor, and points only to records and
 *            versions that the transaction's snapshot protected while it was VALIDATING. */
#ifndef TORCI_MVCC_READ_SET_H
#define TORCI_MVCC_READ_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "mvcc/store.h"

/* One key. Present: record and version. Absent: the key. */
struct torci_read {
    struct torci_read *next;
    struct torci_record *record;      /* NULL: was absent. */
    struct torci_version *version;
    struct torc_keyspace *keyspace;
    struct torc_slice key;            /* Absent only; in the arena. */
    uint64_t order;
};

/* One record that a range showed. */
struct torci_range_item {
    struct torci_range_item *next;
    struct torci_record *record;
    struct torci_version *version;
};

/* The part of a range that has been seen. */
struct torci_range {
    struct torci_range *next;
    struct torc_keyspace *keyspace;
    struct torc_slice from;           /* Inclusive; in the arena. Empty: open. */
    struct torc_slice to;             /* Exclusive; in the arena. Empty: open. */
    struct torc_slice last;           /* The last key shown; borrowed until sealed. Empty: none yet. */
    struct torci_range_item *items;   /* In the order shown. */
    struct torci_range_item **items_end;
    size_t count;                     /* Of items: so many a validation will fetch. */
    bool descending;
    bool complete;                    /* The end has been shown. */
};

struct torci_read_set {
    struct torci_arena *arena;        /* NULL until something is read. */
    struct torci_read *reads;
    struct torci_range *ranges;
};

/* Each returns TORC_NO_MEMORY with the set unchanged, or TORC_OK. */
TORC_MUST_CHECK enum torc_status torci_read_set_note(struct torci_read_set *set, struct torc_keyspace *keyspace,
                                                     struct torci_record *record, struct torci_version *version,
                                                     struct torc_slice key, uint64_t order);
TORC_MUST_CHECK enum torc_status
torci_read_set_range(struct torci_read_set *set, struct torc_keyspace *keyspace, struct torc_slice from,
                     struct torc_slice to, bool descending, struct torci_range **range);
TORC_MUST_CHECK enum torc_status
torci_read_set_item(struct torci_read_set *set, struct torci_range *range, struct torci_record *record,
                    struct torci_version *version);

/* Copy what is still borrowed, before the set is shown to others. */
TORC_MUST_CHECK enum torc_status torci_read_set_seal(struct torci_read_set *set);

/* The descriptor's `validate`: its `reads` is a sealed set. Inside a section. */
bool torci_read_set_valid(struct torci_descriptor *descriptor, uint64_t stamp);

/* Note (torci_conflict_note) a key whose newest state differs from what was read, if there is one. Inside a section. */
void torci_read_set_blame(struct torci_descriptor *descriptor);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/write_set: what a transaction is going to write, in the order of keyspaces (by number) and keys: a skip list of
 * its own, in its own arena.
 *
 *   lane 1   head ------------> m -----------> NULL      Nothing here is shared: one thread at a time. The versions
 *   lane 0   head --> c ------> m --> x -----> NULL      are ready to be linked, so that commit copies nothing.
 *
 * Papers  Pugh, CACM 1990. */
#ifndef TORCI_MVCC_WRITE_SET_H
#define TORCI_MVCC_WRITE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "mvcc/record.h"

enum { TORCI_WRITE_LANES_MAX = 12 };    /* 4^12 writes before searches get longer. */

/* An operand that waits for the newest value. */
struct torci_merge {
    struct torci_merge *next;
    const struct torc_merge_operator *operation;
    struct torc_slice operand;          /* In the arena, or the caller's for the time of the call. */
};

struct torci_write {
    struct torc_keyspace *keyspace;
    struct torc_slice key;              /* In the arena, in `fresh`, or in a record the snapshot protects. */
    uint64_t order;                     /* The index's word for `key`. */
    struct torci_version *version;      /* Private until installed. NULL: to be merged when it is installed. */
    struct torci_merge *merges;         /* What to merge then, first to last; NULL: nothing, the version is whole. */
    struct torci_merge *merges_last;
    struct torci_record *record;        /* The record, if known: live in the snapshot, or found in this section. */
    struct torci_record *fresh;         /* A private record made for `key`, or NULL. */
    uint64_t noted;                     /* The savepoint whose note was taken last (savepoint.h I1); 0: none. */
    bool installed;                     /* `version` is reachable. */
    bool was_live;                      /* What `version` replaced was no tombstone. Valid if installed. */
    bool was_shown;                     /* And had not expired. */
    bool kept;                          /* `key` is in the arena. */
    uint64_t was_due;                   /* When it expires; UINT64_MAX: never, or it was none. */
    struct torci_write *next[];         /* Lanes. */
};

struct torci_write_set {
    struct torci_write *heads[TORCI_WRITE_LANES_MAX];
    unsigned lanes;                     /* In use. */
    size_t count;
    uint64_t random;                    /* For lane heights. */
};

/* The write of exactly `key`, or NULL. */
struct torci_write *torci_write_set_find(const struct torci_write_set *set, const struct torc_keyspace *keyspace,
                                         struct torc_slice key);

/* The first write in the keyspace after `key` (at or after it, if inclusive), or NULL. An empty key: the very first. */
struct torci_write *torci_write_set_after(const struct torci_write_set *set, const struct torc_keyspace *keyspace,
                                          struct torc_slice key, bool inclusive);

/* The last write in the keyspace before `key` (at or before it, if inclusive), or NULL. An empty key: the very last. */
struct torci_write *torci_write_set_before(const struct torci_write_set *set, const struct torc_keyspace *keyspace,
                                           struct torc_slice key, bool inclusive);

/* Add a write of `key`, which has none yet; the slice is kept as it is, other fields are zero. NULL: no memory. */
struct torci_write *torci_write_set_add(struct torci_write_set *set, struct torci_arena *arena,
                                        struct torc_keyspace *keyspace, struct torc_slice key);

/* Take a write of the set out. Its memory stays as it is. */
void torci_write_set_remove(struct torci_write_set *set, struct torci_write *write);

/* The first, and the one after. */
static inline struct torci_write *
torci_write_set_first(const struct torci_write_set *set)
{
    return set->heads[0];
}

static inline struct torci_write *
torci_write_next(const struct torci_write *write)
{
    return write->next[0];
}

#endif

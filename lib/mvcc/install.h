/* SPDX-License-Identifier: MIT */
/* mvcc/install: how one version gets onto its key's chain. Used by commits of several keys and by writes of one.
 *
 *   find the record, or publish a fresh one --> in both indexes? --> look at the head --> CAS head: base -> version
 *
 *   head is            frozen        help it out, look again
 *                      aborted       go under it: it leaves the chain by our CAS, and we retire it
 *                      INSTALLING    a blind write, or who has lost far more attempts, aborts its owner; others give up
 *                                    (and try again: commit.c)
 *                      DECIDING      decided on the way, by whoever looks; VALIDATING likewise
 *                      committed     newer than our snapshot: somebody else was first, unless we merge; else it is
 *                                    what we replace
 *
 * Ordering   R1 CAS of record.head, publication of a fresh record (index) -> version.h A1. seq_cst, before the
 *            descriptor leaves INSTALLING, or the version PENDING, in S.
 * Progress   Lock-free. A retry means that somebody installed, decided, or was aborted for us. Of transactions that
 *            meet, the one at the greatest key goes on (all install in key order), unless another overtakes it, which
 *            it can a few times only, each after more than twice as many lost attempts as the other had (version.h).
 *            So a thread that died while INSTALLING is aborted in the end. */
#ifndef TORCI_MVCC_INSTALL_H
#define TORCI_MVCC_INSTALL_H

#include <stdbool.h>
#include <stdint.h>

#include "mvcc/journal.h"
#include "mvcc/merge.h"
#include "mvcc/store.h"
#include "mvcc/write_set.h"

/* What a write wants of the value that it replaces. */
enum torci_demand_kind {
    TORCI_DEMAND_NOTHING,
    TORCI_DEMAND_PRESENT,                    /* TORC_NOT_FOUND otherwise. */
    TORCI_DEMAND_ABSENT,                     /* TORC_EXISTS otherwise. */
    TORCI_DEMAND_EQUAL,                      /* TORC_NOT_FOUND, TORC_MISMATCH otherwise. */
    TORCI_DEMAND_EXPIRED,                    /* A value whose time has come; TORC_NOT_FOUND otherwise. */
};

struct torci_demand {
    enum torci_demand_kind kind;
    struct torc_slice expected;              /* EQUAL. */
};

/* Whether `base` (NULL: nothing) is as demanded; TORC_OK, or why not. */
TORC_MUST_CHECK enum torc_status torci_demand_check(const struct torci_demand *demand, const struct torci_version *base,
                                                    struct torci_moment *moment);

struct torci_install {
    struct torc_mvcc *store;
    struct torci_shard *shard;
    struct torci_epoch_guard guard;
    uint64_t stamp;                          /* What the version carries: a descriptor, or TORCI_STAMP_PENDING. */
    const struct torci_descriptor *rank;     /* Snapshot and rank of who writes; NULL: blind, conflicts with nobody. */
    const struct torci_demand *demand;       /* NULL: nothing. */
    struct torci_moment *moment;             /* By which values expire. */
    bool outranked;                          /* Set with TORC_CONFLICT: it met a higher rank that is not decided. */
    uint64_t *floor;                         /* NULL, or the descriptor's: grows to the stamps that are replaced. */
    bool single;                             /* A journaled write of one key: `stamp` is that of its entry. */
    struct torci_redo *redo;                 /* The entry, once there is one: published, and to be settled. */
    size_t retires_kept;                     /* So many adds to the limbo must still succeed after it. */
};

/* Retires that one attempt may need: into both indexes, and an aborted head. */
enum { TORCI_INSTALL_RETIRES_MAX = 2 * TORCI_INDEX_RETIRES_MAX + 1 };

/* Put write->version onto its chain, merged before if it is to be; sets record, installed, was_live, was_shown; `fresh`
 * is NULL if it was used. TORC_CONFLICT (noted), what the demand or a merge operator said, TORC_NO_MEMORY: `installed`
 * tells whether it is on the chain all the same. */
TORC_MUST_CHECK enum torc_status torci_install(struct torci_install *install, struct torci_write *write);

/* What the journal is to hold of a write whose version is made. Borrowed from both. */
struct torci_op torci_write_op(const struct torci_write *write);

/* Take write->version, whose owner is aborted, off the chain again, unless somebody did. Returns whether it was
 * there. */
bool torci_uninstall(const struct torci_install *install, struct torci_write *write);

/* By how much a committed write changes the number of keys with a value. */
static inline int
torci_write_keys_change(const struct torci_write *write)
{
    return (torci_version_live(write->version) ? 1 : 0) - (write->was_live ? 1 : 0);
}

/* Whether a committed write may have left something to reclaim: a hint, so relaxed. */
static inline bool
torci_write_leaves_garbage(const struct torci_write *write)
{
    return torci_load(&write->version->older, memory_order_relaxed) != NULL || !torci_version_live(write->version);
}

/* A private record for `key` with no version; NULL: no memory. */
struct torci_record *torci_record_create(struct torci_shard *shard, const struct torc_keyspace *keyspace,
                                         struct torc_slice key, uint64_t order);
void torci_record_destroy(struct torc_mvcc *store, struct torci_record *record);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/install: how one version gets onto its key's chain. Used by commits of several keys and by writes of one.
 *
 *   find the record, or publish a fresh one --> in both indexes? --> look at the head --> CAS head: base -> version
 *
 *   head is            frozen        help it out, look again
 *                      aborted       go under it: it leaves the chain by our CAS, and we retire it
 *                      INSTALLING    a blind write, or the higher rank, aborts its owner; the lower rank gives up
 *                      DECIDING      decided on the way, by whoever looks; VALIDATING likewise
 *                      committed     newer than our snapshot: somebody else was first; else it is what we replace
 *
 * Ordering   R1 CAS of record.head, publication of a fresh record (index) -> version.h A1. seq_cst, before the
 *            descriptor leaves INSTALLING, or the version PENDING, in S.
 * Progress   Lock-free. A retry means that somebody installed, decided, or was aborted for us. Of transactions that
 *            meet, the highest rank is aborted by no other transaction; a thread that died while INSTALLING is
 *            outranked after as many lost attempts as it had, and aborted. */
#ifndef TORCI_MVCC_INSTALL_H
#define TORCI_MVCC_INSTALL_H

#include <stdbool.h>
#include <stdint.h>

#include "mvcc/store.h"
#include "mvcc/write_set.h"

struct torci_install {
    struct torc_mvcc *store;
    struct torci_shard *shard;
    struct torci_epoch_guard guard;
    uint64_t stamp;                          /* What the version carries: a descriptor, or TORCI_STAMP_PENDING. */
    const struct torci_descriptor *rank;     /* Snapshot and rank of who writes; NULL: blind, conflicts with nobody. */
    bool only_live;                          /* TORC_NOT_FOUND if there is nothing to replace. */
    size_t retires_kept;                     /* So many adds to the limbo must still succeed after it. */
};

/* Retires that one attempt may need: into both indexes, and an aborted head. */
enum { TORCI_INSTALL_RETIRES_MAX = 2 * TORCI_INDEX_RETIRES_MAX + 1 };

/* Put write->version onto its chain; sets record, installed, was_live; `fresh` is NULL if it was used.
 * TORC_CONFLICT (noted), TORC_NOT_FOUND, TORC_NO_MEMORY: `installed` tells whether it is on the chain all the same. */
TORC_MUST_CHECK enum torc_status torci_install(const struct torci_install *install, struct torci_write *write);

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
struct torci_record *torci_record_create(struct torc_mvcc *store, struct torc_slice key, uint64_t order);
void torci_record_destroy(struct torc_mvcc *store, struct torci_record *record);

/* A private version; `value` is copied. NULL: no memory. */
struct torci_version *torci_version_create(struct torci_shard *shard, struct torc_slice value, uint32_t flags);
void torci_version_destroy(struct torci_shard *shard, struct torci_version *version);

#endif

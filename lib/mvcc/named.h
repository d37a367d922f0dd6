/* SPDX-License-Identifier: MIT */
/* mvcc/named: snapshots that have a name: a list of open transactions that nobody uses.
 *
 *   store.named --> [backup | report | ...]      immutable, replaced by one CAS
 *                       |
 *                       v users: 1 for the list, 1 for each transaction that reads at it; 0: the holder ends
 *
 * Invariants
 *   I1  While users > 0 the holder announces the snapshot: so a transaction that counts as a user needs nothing more.
 *   I2  users never grows again once it is 0: who finds 0 has found an entry that is on its way out of the list.
 * Ordering   R1 CAS of store.named, exchange of journal.snapshot -> A1 load of it: the list and its entries; the entry
 *            R2 CAS and decrement of users -> A2 the same: what the user read, so that it may be freed
 * Progress   Lock-free: a CAS fails when another name or user came or went.
 * Reclaim    Lists and entries through the limbo. An entry that there was no memory to retire for is kept until the
 *            store closes. */
#ifndef TORCI_MVCC_NAMED_H
#define TORCI_MVCC_NAMED_H

#include "mvcc/reclaim.h"
#include "mvcc/store.h"

/* 1 to TORC_NAME_SIZE_MAX bytes? */
TORC_MUST_CHECK enum torc_status torci_check_name(struct torc_slice name);

/* The snapshot of that name, with the caller as one more user; NULL: there is none. */
struct torci_named *torci_named_acquire(struct torc_mvcc *store, struct torc_slice name);

/* The snapshot that stands in a place, where another one may take its turn before it is released; never NULL. */
struct torci_named *torci_named_acquire_at(_Atomic(struct torci_named *) *place);

/* One user less. The holder, if that was the last one: it is the caller's to end. `shard` is the calling thread's, or
 * NULL if it has none for want of memory. Outside of a section. */
struct torc_txn *torci_named_release(struct torc_mvcc *store, struct torci_shard *shard, struct torci_named *named);

/* Put an entry into the list, or take one out (*taken; the list's use of it goes to the caller). TORC_EXISTS,
 * TORC_NOT_FOUND, TORC_NO_MEMORY. */
TORC_MUST_CHECK enum torc_status torci_named_enter(struct torci_shard *shard, struct torci_named *named);
TORC_MUST_CHECK enum torc_status torci_named_leave(struct torci_shard *shard, struct torc_slice name,
                                                   struct torci_named **taken);

/* Free the list with all its entries, whose holders are then the caller's: `visit` gets them. Exclusive. */
void torci_named_fini(struct torc_mvcc *store, void (*visit)(struct torc_txn *holder));

#endif

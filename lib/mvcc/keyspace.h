/* SPDX-License-Identifier: MIT */
/* mvcc/keyspace: making, finding and dropping keyspaces.
 *
 *   catalogue --> [orders | users | ...]     names; an immutable array, replaced by one CAS
 *   numbers   --> [0: default | 1 | 2 ...]   every keyspace ever made; records carry the number
 *
 *   free --create--> in the catalogue, dropped = 0 --drop--> out of it, dropped = stamp --> emptied, bit by bit --> free
 *
 * Invariants
 *   I1  No two keyspaces of one catalogue have the same name: who adds one has looked at the very array it replaces.
 *   I2  keyspace.dropped is 0 exactly while it stands in the catalogue, but for the moments of create and drop.
 * Ordering
 *   R1 CAS of store.catalogue -> A1 load of it: the array, and its keyspaces
 *   R2 CAS of store.keyspaces_free -> A2 exchange of it: the keyspace as its last user left it
 *   store.h R1, R2
 * Progress   Lock-free: a CAS fails when another keyspace was made or dropped.
 * Reclaim    Catalogues through the limbo; keyspaces are kept until the store closes, and used again. */
#ifndef TORCI_MVCC_KEYSPACE_H
#define TORCI_MVCC_KEYSPACE_H

#include "mvcc/reclaim.h"
#include "mvcc/store.h"

/* Make the default keyspace; free all keyspaces. Exclusive. `take` gets each record. */
TORC_MUST_CHECK enum torc_status torci_keyspaces_init(struct torc_mvcc *store);
void torci_keyspaces_fini(struct torc_mvcc *store, void (*take)(void *context, struct torci_record *record));

/* Keys of all keyspaces. Figures of all their indexes together. */
uint64_t torci_keyspaces_keys(struct torc_mvcc *store);
void torci_keyspaces_index_stats(struct torc_mvcc *store, struct torci_index_stats *stats);

/* torci_walk() over every keyspace that is in use. */
TORC_MUST_CHECK enum torc_status torci_walk_all(struct torc_mvcc *store, torci_visit_fn *visit, void *context);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/keyspace: making, finding and dropping keyspaces.
 *
 *   catalogue --> [orders | users | ...]     names; an immutable array, replaced by one CAS
 *   numbers   --> [0: default | 1 | 2 ...]   every keyspace ever made; records carry the number
 *
 *   free --create--> in the catalogue, dropped = 0 --drop--> dropped = stamp, out of the catalogue --(grace period)-->
 *   dropped list --(watermark)--> dismantled, bit by bit --(grace period)--> free
 *
 * Invariants
 *   I1  No two keyspaces of one catalogue have the same name: who adds one has looked at the very array it replaces.
 *   I2  keyspace.dropped is 0 only while it stands in the catalogue, but for a moment of create. One that is dropped
 *       may stand there a little longer, and counts for nothing; who makes a new catalogue leaves it out.
 *   I3  Whoever looks into a keyspace, or at one of its records, has seen dropped = 0 in the same section, or since its
 *       snapshot began, which was before `gone`. So after a grace period, and once the watermark has reached `gone`,
 *       its index and chains are exclusively of who holds the keyspace; records are known to garbage queues and to the
 *       timing wheel, which look at their flags alone while it is dropped, and later find them frozen (reclaim.h I4,
 *       I5).
 *   I4  It is used again after another grace period: a section that saw it dropped, sees it dropped until its end; one
 *       that has pointers from before (a validation that is helped) cannot take the new one for the old one.
 *   I5  A dropped keyspace is held by one: its dropper, a grace period, the list, or who took the list. Nobody waits
 *       for who holds it: others go on with what is dropped later.
 *   I6  In a store with a journal a keyspace's CREATE is decided (it has a stamp) before its name becomes visible, and
 *       its DROP before `dropped` is set, each in one section with that. A CREATE whose name does not become visible is
 *       taken back by a later entry.
 * Ordering
 *   R1 CAS of store.catalogue -> A1 load of it: the array, and its keyspaces
 *   R2 CAS of store.keyspaces_free -> A2 exchange of it: the keyspace as its last user left it
 *   R3 CAS of store.keyspaces_dropped -> A3 exchange of it: the same, and that a grace period is over
 *   store.h R1, R2
 * Progress   Lock-free: a CAS fails when another keyspace was made or dropped. In a store with a journal both may wait
 *            for the disk, before they begin and after they are done.
 *            Dropping cannot fail once it has begun: a name that cannot leave for want of memory leaves later.
 * Reclaim    Catalogues through the limbo; keyspaces are kept until the store closes, and used again. What is in a
 *            dropped one is freed without any further grace period, and needs no memory for that. */
#ifndef TORCI_MVCC_KEYSPACE_H
#define TORCI_MVCC_KEYSPACE_H

#include "mvcc/reclaim.h"
#include "mvcc/store.h"

/* Make the default keyspace; free all keyspaces. Exclusive. `take` gets each record. */
TORC_MUST_CHECK enum torc_status torci_keyspaces_init(struct torc_mvcc *store);
void torci_keyspaces_fini(struct torc_mvcc *store, void (*take)(void *context, struct torci_record *record));

/* Make a keyspace as recovery found it, in an exclusive store; nothing is journaled. TORC_EXISTS, TORC_BUSY,
 * TORC_NO_MEMORY: `*keyspace` is NULL then. */
TORC_MUST_CHECK enum torc_status torci_keyspace_restore(struct torci_shard *shard, uint64_t id, struct torc_slice name,
                                                        uint64_t created, struct torc_keyspace **keyspace);

/* Keys of all keyspaces. Figures of all their indexes together. */
uint64_t torci_keyspaces_keys(struct torc_mvcc *store);
void torci_keyspaces_index_stats(struct torc_mvcc *store, struct torci_index_stats *stats);

/* Work on dropped keyspaces, at most `budget` nodes of their indexes. True: it would be useful to call again soon.
 * Outside of a section. */
bool torci_keyspaces_step(struct torci_shard *shard, size_t budget);

/* torci_walk() over every keyspace that is in use. */
TORC_MUST_CHECK enum torc_status torci_walk_all(struct torc_mvcc *store, torci_visit_fn *visit, void *context);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/txn: transactions: begin, read, write (write.c), commit (commit.c).
 *
 *   begin --> ACTIVE: reads at the snapshot, writes collected --> commit --> FINISHED --> spare --> begin ...
 *                                                             '-> abort --'
 * Commit of several keys (one RCU section)
 *   1  install every version, in key order, stamped with the descriptor          INSTALLING
 *   2  CAS the descriptor to DECIDING; it fails if somebody aborted us
 *   3  read the clock, CAS to COMMITTED(ts), or VALIDATING(ts) and validate      by us or by whoever needs to know
 *   4  committed: stamp every version with ts, prune what they replaced          aborted: take every version off again
 * A snapshot-isolation commit of one key needs no descriptor: its version is PENDING until it has a stamp.
 *
 * Invariants
 *   I1  A transaction struct, once made, lives until the store closes: the garbage collector walks all of them, and a
 *       finished handle can be told (TORC_FINISHED) until it is handed out again.
 *   I2  A record that is live in the snapshot cannot leave before the transaction ends: writes keep a pointer to it,
 *       and values and keys are borrowed from it.
 * Progress   begin, get, commit: see snapshot.h, version.h, install.h.
 * Reclaim    The descriptor is retired after step 4, when no version points to it any more; with it the read set. */
#ifndef TORCI_MVCC_TXN_H
#define TORCI_MVCC_TXN_H

#include <stdbool.h>
#include <stdint.h>

#include <torc/mvcc.h>

#include "base/arena.h"
#include "mvcc/read_set.h"
#include "mvcc/snapshot.h"
#include "mvcc/store.h"
#include "mvcc/write_set.h"

enum { TORCI_COMMIT_ATTEMPTS = 8 };    /* Of one torc_txn_commit(); see commit.c. */

enum torci_txn_phase { TORCI_TXN_FINISHED = 0, TORCI_TXN_ACTIVE };

struct torc_txn {
    struct torci_slot slot;               /* First: snapshot.h casts. */
    struct torc_mvcc *store;              /* Immutable. The rest is of the thread that uses the transaction. */
    enum torci_txn_phase phase;
    enum torc_isolation isolation;
    bool read_only;
    uint64_t attempts;                    /* Attempts lost before this one: its rank. */
    struct torc_keyspace *keyspace;       /* Which the calls mean. */
    struct torci_moment moment;           /* By which values expire. */
    size_t version_bytes;                 /* Of the versions that `writes` own. */
    struct torci_arena *arena;            /* Of the writes; NULL until the first. */
    struct torci_write_set writes;
    struct torci_read_set reads;
    struct torc_cursor *cursors;          /* Every cursor ever opened on this struct; see cursor.c. */
#if defined(TORC_ASSERTIONS)
    _Atomic(uint32_t) users;              /* Threads inside a call, to tell two at once. */
#endif
};

/* TORC_OK if `txn` can be used; marks it in use in builds with assertions. Pair with torci_txn_leave(). */
TORC_MUST_CHECK enum torc_status torci_txn_enter(struct torc_txn *txn);
void torci_txn_leave(struct torc_txn *txn);

/* Free a finished one and all that it keeps. Exclusive. */
void torci_txn_destroy(struct torc_txn *txn);

/* Key and value within their limits? */
TORC_MUST_CHECK enum torc_status torci_check_key(struct torc_slice key);
TORC_MUST_CHECK enum torc_status torci_check_value(struct torc_slice value);

/* Serializable and able to write: its reads have to be noted. */
static inline bool
torci_txn_notes_reads(const struct torc_txn *txn)
{
    return txn->isolation == TORC_SERIALIZABLE && !txn->read_only;
}

/* The frame of a read or a write of one key: torci_txn_enter(), and the key and the current keyspace are looked at. */
TORC_MUST_CHECK enum torc_status torci_txn_enter_key(struct torc_txn *txn, struct torc_slice key);

/* The frame of a write: and the transaction may write. */
TORC_MUST_CHECK enum torc_status torci_txn_enter_write(struct torc_txn *txn, struct torc_slice key,
                                                       struct torc_slice value);

/* Note a read if it has to be: of what the snapshot has in `record` (NULL: nothing). */
TORC_MUST_CHECK enum torc_status torci_txn_note_read(struct torc_txn *txn, struct torc_keyspace *keyspace,
                                                     struct torci_record *record, struct torci_version *version,
                                                     struct torc_slice key, uint64_t order);

/* What the snapshot has under `key` of a keyspace: a version that is no tombstone (it may have expired), and its record;
 * NULL: nothing. */
struct torci_version *torci_txn_look_up(struct torc_txn *txn, struct torc_keyspace *keyspace, struct torc_slice key,
                                        uint64_t order, struct torci_record **record);

/* End it: nothing of it is visible to others any more but its slot, which is free if that was done before. `shard` is
 * the calling thread's, or NULL. */
void torci_txn_finish(struct torc_txn *txn, struct torci_shard *shard);

/* write.c: make a write that still has to be merged a whole one, by the snapshot. A status of its operators. */
TORC_MUST_CHECK enum torc_status torci_txn_resolve(struct torc_txn *txn, struct torci_write *write);

/* write.c: copy the write's key out of the record that holds it. False: no memory. Inside a section. */
bool torci_txn_keep_key(struct torc_txn *txn, struct torci_write *write);

/* cursor.c: mark all of them finished; free them. */
void torci_cursors_finish(struct torc_txn *txn);
void torci_cursors_destroy(struct torc_txn *txn);

/* Set what torc_last_commit() tells. */
void torci_last_commit_note(uint64_t stamp);

#endif

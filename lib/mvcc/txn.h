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
#include "mvcc/install.h"
#include "mvcc/read_set.h"
#include "mvcc/snapshot.h"
#include "mvcc/store.h"
#include "mvcc/write_set.h"

enum { TORCI_AHEAD_STEPS = 3 };

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
    size_t version_bytes;                 /* Of the versions and fresh records that `writes` and savepoints own. */
    struct torci_arena *arena;            /* Of the writes; NULL until the first. */
    struct torci_write_set writes;
    struct torci_savepoint *savepoints;   /* The newest one; see savepoint.h. */
    uint64_t savepoints_made;
    struct torci_write *undone;           /* Writes that were taken back; kept for what was lent of them. */
    struct torci_write *ahead[TORCI_AHEAD_STEPS]; /* See ahead.h. */
    struct torci_read_set reads;
    struct torci_named *named;            /* The snapshot it reads is this one's; NULL: its own. */
    bool expirable;                       /* max_snapshot_age_ns may end its snapshot: all is copied, not lent. */
    struct torc_cursor *cursors;          /* Every cursor ever opened on this struct; see cursor.c. */
#if defined(TORC_ASSERTIONS)
    _Atomic(uint32_t) users;              /* Threads inside a call, to tell two at once. */
#endif
};

/* TORC_OK if `txn` can be used; marks it in use in builds with assertions. Pair with torci_txn_leave(). The second one
 * lets pass what has expired, too: to end it. */
TORC_MUST_CHECK enum torc_status torci_txn_enter(struct torc_txn *txn);
TORC_MUST_CHECK enum torc_status torci_txn_enter_any(struct torc_txn *txn);

/* Whether what was just read at txn's snapshot counts; else TORC_EXPIRED. In the section of the reads, after them. */
TORC_MUST_CHECK enum torc_status torci_txn_check_age(const struct torc_txn *txn);
void torci_txn_leave(struct torc_txn *txn);

/* Free a finished one and all that it keeps. Exclusive. */
void torci_txn_destroy(struct torc_txn *txn);

/* Key, value and bound of a range (which may be empty) within their limits? */
TORC_MUST_CHECK enum torc_status torci_check_key(struct torc_slice key);
TORC_MUST_CHECK enum torc_status torci_check_value(struct torc_slice value);
TORC_MUST_CHECK enum torc_status torci_check_bound(struct torc_slice bound);

/* What compare_and_set demands: `*expected`, or that there is no value (NULL). TORC_INVALID, TORC_TOO_LARGE. */
TORC_MUST_CHECK enum torc_status torci_demand_expect(struct torci_demand *demand, const struct torc_slice *expected);

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

/* What a snapshot has of a key. */
struct torci_sight {
    struct torci_record *record;          /* NULL: nothing. */
    struct torci_version *version;        /* No tombstone; its time may have come. NULL: nothing. */
    struct torci_version *lent;           /* `version`, or a copy in txn's arena if txn is expirable. */
};

/* Look `key` up. TORC_OK also if there is nothing; TORC_EXPIRED, TORC_NO_MEMORY (expirable only). */
TORC_MUST_CHECK enum torc_status torci_txn_look_up(struct torc_txn *txn, struct torc_keyspace *keyspace,
                                                   struct torc_slice key, uint64_t order, struct torci_sight *sight);

/* `version`, or for an expirable transaction its copy. Inside the section that read it. */
TORC_MUST_CHECK enum torc_status torci_txn_lend(struct torc_txn *txn, struct torci_version *version,
                                                struct torci_version **lent);

/* The arena of the writes and of what is copied, made if need be; NULL: no memory. */
struct torci_arena *torci_txn_arena(struct torc_txn *txn);

/* End it: nothing of it is visible to others any more but its slot, which is free if that was done before. `shard` is
 * the calling thread's, or NULL. */
void torci_txn_finish(struct torc_txn *txn, struct torci_shard *shard);

/* Begin a read-only transaction that never expires: behind a named snapshot, or what is written to disk. Ended by
 * torci_txn_end_holder(). TORC_NO_MEMORY. */
TORC_MUST_CHECK enum torc_status torci_txn_begin_lasting(struct torc_mvcc *store, struct torc_txn **txn);

/* End the transaction behind a snapshot, which nobody uses any more. Exclusive, or the last user. */
void torci_txn_end_holder(struct torc_txn *holder);

/* write.c: make a write that still has to be merged a whole one, by the snapshot. A status of its operators. */
TORC_MUST_CHECK enum torc_status torci_txn_resolve(struct torc_txn *txn, struct torci_write *write);

/* write.c: commit could only fail, because of `key`: notes it. Returns TORC_CONFLICT. */
enum torc_status torci_txn_lost_already(struct torc_txn *txn, struct torc_slice key);

/* write.c: copy the write's key out of the record that holds it. False: no memory. Inside a section. */
bool torci_txn_keep_key(struct torc_txn *txn, struct torci_write *write);

/* Whether `more` bytes may be collected: TORC_TOO_LARGE past txn_limit_bytes. */
TORC_MUST_CHECK enum torc_status torci_txn_admit(const struct torc_txn *txn, size_t more);

/* savepoint.c: forget all savepoints, and free what is kept for them. `shard` may be NULL. */
void torci_savepoints_end(struct torc_txn *txn, struct torci_shard *shard);

/* Forget what is on its way (ahead.h): the writes are about to go, or to be committed. */
static inline void
torci_ahead_clear(struct torc_txn *txn)
{
    for (unsigned i = 0; i < TORCI_AHEAD_STEPS; i++)
        txn->ahead[i] = NULL;
}

/* cursor.c: mark all of them finished; free them. */
void torci_cursors_finish(struct torc_txn *txn);
void torci_cursors_destroy(struct torc_txn *txn);

/* Set what torc_last_commit() tells. */
void torci_last_commit_note(uint64_t stamp);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/reclaim: versions that no snapshot can see, and records that hold nothing, go back to the heap.
 *
 *   commit --> touch(record): prune its chain now --> still garbage? note it in the shard's queue
 *                                                          | watermark reaches its stamp
 *   step (a few entries with each commit) <----------------'   prune, remove dead records
 *
 * Invariants
 *   I1  Only the holder of a record's PRUNING bit changes `older` of its published versions, and never cuts off or
 *       takes out the newest committed version. Nobody waits for the bit: who finds it taken goes on and leaves the
 *       work noted.
 *   I2  n committed with stamp <= watermark: all below n is dead, cut off as a whole. Else a version is taken out of
 *       the middle if no snapshot lies between its stamp and the next newer one (interval pruning). A version taken
 *       out keeps its `older`: a reader that stands on it walks on; whatever it can reach is freed no earlier than a
 *       later grace period.
 *   I3  A record leaves when its head is NULL, or a committed tombstone <= watermark with nothing below: the head is
 *       frozen by one CAS, then the record is taken out of the index. Who meets a frozen head helps to take it out.
 *   I4  A record's memory is retired once: by whoever comes last of "taken out of the index" (REMOVED is set), "dropped
 *       from the queue" (QUEUED is cleared) and "fired" (an entry of the timing wheel, TIMED), read-modify-writes of
 *       one word. Nothing of this is begun once REMOVED is set, so the last one is the last for ever.
 *   I5  Of a keyspace that was dropped, records are not pruned, nor taken out one by one: keyspace.h I3.
 * Ordering
 *   R1 store of older             -> version.h A4: NULL, or a version that was reachable before
 *   R2 CAS of head to frozen      -> version.h A1: nothing; who sees it dereferences nothing
 *   R3 fetch_and/or of flags      -> A3 the same: what the other of the two did to the record
 *   R4 CAS of a place for a block of shards -> A4 load of it: the block, empty
 *   R5 store of a shard           -> A5 load of it: the whole shard
 * Progress   touch and step are wait-free in the length of the chain plus the index's lock-free removal.
 * Reclaim    Everything goes through the shard's limbo; what cannot be retired for want of memory stays where it is.
 * Papers     Interval pruning: Böttcher et al., Scalable Garbage Collection for In-Memory MVCC Systems, VLDB 2019. */
#ifndef TORCI_MVCC_RECLAIM_H
#define TORCI_MVCC_RECLAIM_H

#include <stddef.h>
#include <stdint.h>

#include "mvcc/store.h"

/* The calling thread's shard, made if need be; NULL: no memory. The other one tells TORC_NO_MEMORY with its detail. */
struct torci_shard *torci_shard_own(struct torc_mvcc *store);
TORC_MUST_CHECK enum torc_status torci_shard_obtain(struct torc_mvcc *store, struct torci_shard **shard);

/* The shard of a thread index, or NULL. The caller only reads counters, or has adopted the index. */
struct torci_shard *torci_shard_at(struct torc_mvcc *store, uint32_t index);

/* Free a shard and all it retired. Exclusive. */
void torci_shard_destroy(struct torci_shard *shard);

/* After a commit stamped `stamp` wrote `record`: prune its chain; note what is left to do. Inside a section. */
void torci_reclaim_touch(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record,
                         uint64_t stamp);

/* Take a frozen record out of the index and see to its memory. Inside a section. TORC_NO_MEMORY: it is still there. */
TORC_MUST_CHECK enum torc_status
torci_reclaim_frozen(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record);

/* End one hold on a record (TORCI_RECORD_QUEUED, or one TORCI_RECORD_TIMED); retire it if that was the last and it has
 * left. Needs one retire's room. Inside a section. True: it has left, and must not be looked at any more. */
bool torci_reclaim_release(struct torci_shard *shard, struct torci_record *record, uint32_t hold);

/* Free a record and its versions; nobody can reach it any more but by holds, which are left to end. */
void torci_reclaim_take_down(struct torci_shard *shard, struct torci_record *record);

/* Work on at most `budget` entries of the queue, and look at the snapshots anew when it is time: true if it was.
 * Outside of a section. */
bool torci_reclaim_step(struct torci_shard *shard, size_t budget);

/* Look at the snapshots now, and work through the whole queue once. Returns whether anything was achieved. */
bool torci_reclaim_sweep(struct torci_shard *shard);

/* Whether the queue has an entry that can be worked on now. */
bool torci_reclaim_due(const struct torci_shard *shard);

/* For torci_walk(): prune a record, noted or not. The context is a shard, of the caller. */
void torci_reclaim_visit(void *context, struct torci_epoch_guard guard, struct torci_record *record);

/* Whether the store's limits admit a value of `value_size` bytes, with its key if that is new; else TORC_BUSY with its
 * detail. Tries to give some memory back before that. Outside of a section. */
TORC_MUST_CHECK enum torc_status torci_reclaim_admit(struct torci_shard *shard, size_t value_size);

/* Free what is past its grace period and was left lying by any thread. Returns the number of objects freed. */
size_t torci_reclaim_relieve(struct torc_mvcc *store);

/* Show every record of a keyspace to `visit`, in key order, each batch in a section of its own; none once it is
 * dropped. TORC_NO_MEMORY: none was shown. */
typedef void torci_visit_fn(void *context, struct torci_epoch_guard guard, struct torci_record *record);
TORC_MUST_CHECK enum torc_status torci_walk(struct torc_keyspace *keyspace, torci_visit_fn *visit, void *context);

#endif

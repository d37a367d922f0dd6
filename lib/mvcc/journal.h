/* SPDX-License-Identifier: MIT */
/* mvcc/journal: what makes commits durable: each thread queues what it commits, whoever flushes writes all queues out.
 *
 *   commit   redo entry in the thread's queue --> DECIDING --> stamp --> settle(entry, stamp)      never waits
 *   flush    C = a snapshot's stamp --> drain each queue up to C, helping what is not decided --> write, sync
 *            --> durable = C --> wake who waits
 *
 *   queue    chunk --> chunk --> chunk      one thread appends, one flusher takes: {outcome | descriptor | size | ops}
 *
 * A write of one key has its descriptor in the entry itself (`own`).
 *
 * Invariants
 *   I1  An entry is published before its commit can be decided (before the descriptor leaves INSTALLING; for a write of
 *       one key, before it is installed). So whoever reads the clock as C and then the queues finds every commit with a
 *       stamp up to C: the cut is a snapshot, closed under what its commits have read.
 *   I2  Of the published entries of a queue only the last one can be open, and its descriptor is not yet retired: the
 *       owner settles first. A flusher that finds it open, in a section, may look at the descriptor.
 *   I3  A descriptor that is INSTALLING when the flusher looks gets a stamp greater than C: its owner, or who helps it,
 *       reads the clock later, in S.
 *   I4  The owner leaves a chunk only when every entry in it is settled, and no version carries a descriptor in it any
 *       more. A chunk that was left is retired by the flusher: who met such a version may still look at it.
 *   I5  Stamps of one queue ascend, and of one key they ascend strictly (version.h, `floor`): recovery needs no order.
 *   I6  After a write or a sync has failed nothing is written, and durable does not grow, until torci_journal_mended().
 * Ordering
 *   R1 store of chunk.published, seq_cst -> A1 load of it, seq_cst: the entry; in S with clock and descriptors, for I1
 *   R2 store of redo.outcome     -> A2 load of it: nothing but itself
 *   R3 store of chunk.next, CAS of journal.queues, both seq_cst -> A3 load of it, seq_cst: the chunk, and that the one
 *      before it is complete; the shard with its first chunk. In S, for I1
 *   R4 store of durable          -> A4 load of it: nothing but itself
 *   R5 exchange, store of flushing -> A5 exchange of it: the writer's fields and the flusher's end of each queue
 *   R6 exchange of queue.spare -> A6 exchange of it: the chunk
 *   R7 store of failed           -> A7 load of it: that nothing more will be written
 *   R8 CAS of event, durable.c   -> A8 load of it: the descriptor
 *   Sleeping: `idle`, `flushes` and what they announce are seq_cst.
 * Progress   Appending is wait-free but for allocation. A flush is blocking (the disk), and waits for no thread: what
 *            is not decided is helped or left. Waiting: one leads, the others sleep until its flush is over.
 * Papers     The cut is a snapshot of the clock of Wei et al. (PPoPP 2021). Silo (Tu et al., SOSP 2013) has epochs
 *            instead. */
#ifndef TORCI_MVCC_JOURNAL_H
#define TORCI_MVCC_JOURNAL_H

#include <torc/mvcc.h>

#include "mvcc/segment.h"
#include "mvcc/store.h"

#define TORCI_REDO_VOID UINT64_C(2)             /* Even: no commit's stamp. */

struct torci_redo {
    _Atomic(uint64_t) outcome;                  /* 0: open. TORCI_REDO_VOID: nothing became of it. Else its stamp. */
    struct torci_descriptor *descriptor;        /* See I2. */
    uint32_t size;                              /* Of `ops`. */
    uint32_t room;                              /* Of the entry, a multiple of 8. */
    struct torci_descriptor own;                /* Of a write of one key. */
    unsigned char ops[];
};

/* What a store with a journal keeps of it. */
struct torci_journal {
    struct torc_mvcc *store;
    enum torc_durability durability;            /* Immutable, as the next three. */
    uint64_t limit;
    /* Take the snapshot that is the cut, and its stamp; let it go, or let it be the durable one. By who flushes. */
    uint64_t (*cut_begin)(struct torc_mvcc *store);
    void (*cut_end)(struct torc_mvcc *store, bool durable);
    struct torci_segment_writer writer;         /* Of who has `flushing`. */
    _Atomic(struct torci_shard *) queues;       /* Shards that have ever had an entry. */
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint32_t) flushing;   /* A try-lock. */
    _Atomic(uint32_t) flushes;                  /* Completed or failed; a flush ends by moving it on. Slept on. */
    _Atomic(uint64_t) cutting;                  /* The cut of the last flush that began. */
    _Atomic(uint32_t) idle;                     /* 1: the background thread sleeps, or is about to. Slept on. */
    _Atomic(uint32_t) wanted;                   /* Somebody waits for a flush: no rest before it. Slept on. */
    _Atomic(uint32_t) stop;
    _Atomic(uint64_t) durable;
    _Atomic(struct torci_named *) snapshot;     /* Of what is durable, see named.h. NULL: without durable_snapshots. */
    _Atomic(uint64_t) waiting;                  /* Bytes in chunks that their owners have left. */
    _Atomic(uint32_t) failed;                   /* enum torc_status */
    _Atomic(int) event;                         /* An eventfd that is written when durable grows; -1: none yet. */
    /* Figures, relaxed. */
    _Atomic(uint64_t) flush_count;
    _Atomic(uint64_t) flushed_commits;
    _Atomic(uint64_t) flushed_bytes;
    _Atomic(uint64_t) flush_ns;
    _Atomic(uint64_t) waits;
    _Atomic(uint64_t) bytes_since_checkpoint;
};

/* ---- The owner's side: the calling thread's shard ---- */

/* Whether commits of this store are journaled. */
static inline bool
torci_journaled(const struct torc_mvcc *store)
{
    return store->journal != NULL;
}

/* Before a commit, outside of a section: TORC_READ_ONLY after a failure; waits while too much waits to be written. */
TORC_MUST_CHECK enum torc_status torci_journal_admit(struct torc_mvcc *store);

/* The greatest size of a commit's operations. */
#define TORCI_REDO_SIZE_MAX ((size_t)1 << 31)

/* A private entry with room for `size` bytes of operations; the caller fills it, and publishes it before it begins
 * another one. `descriptor` NULL: its own, which whoever meets it may decide (version.h: `single`). NULL: no memory. */
struct torci_redo *torci_redo_begin(struct torci_shard *shard, struct torci_descriptor *descriptor, size_t size);

/* Let flushers see it: before `descriptor` can be decided. Wait-free. */
void torci_redo_publish(struct torci_shard *shard, struct torci_redo *redo);

/* The outcome of a published entry: a stamp, or TORCI_REDO_VOID. When no version carries its own descriptor any more;
 * or before the other one is retired. Wait-free. */
void torci_redo_settle(struct torci_redo *redo, uint64_t outcome);

/* After a commit, outside of a section: see that it is flushed. Does not wait. */
void torci_journal_nudge(struct torci_journal *journal);

/* As torci_journal_nudge(), and without a rest before. */
void torci_journal_want(struct torci_journal *journal);

/* Wait until `stamp` is durable. TORC_INDETERMINATE. Outside of a section. */
TORC_MUST_CHECK enum torc_status torci_journal_wait(struct torci_journal *journal, uint64_t stamp);

/* Both: after a write that succeeded with `stamp`, outside of a section: as the store's durability wants it. */
TORC_MUST_CHECK enum torc_status torci_journal_after(struct torc_mvcc *store, uint64_t stamp);

/* After a commit that is settled: if its entry took a chunk of its own, leave that, so that it is freed when it is
 * written, and not when this thread commits again. For want of memory it stays. Wait-free but for allocation. */
void torci_redo_leave_large(struct torci_shard *shard);

/* Free what the shard's queue holds. Exclusive. */
void torci_redo_queue_fini(struct torci_shard *shard);

/* A commit of its own with one operation, on a keyspace: its stamp. Inside a section; torci_journal_admit() before. */
TORC_MUST_CHECK enum torc_status torci_journal_keyspace(struct torci_shard *shard, const struct torci_op *op,
                                                        uint64_t *stamp);

/* ---- The flusher's side ---- */

/* Drain, write and sync once, unless somebody else is at it (*led: false). Outside of a section. */
TORC_MUST_CHECK enum torc_status torci_journal_flush(struct torci_journal *journal, bool *led);

/* Wait for `flushing` and take it; and let go. For who changes the writer otherwise. */
void torci_journal_lock(struct torci_journal *journal);
void torci_journal_unlock(struct torci_journal *journal);

/* For the background thread: sleep until there is something to flush, `journal->stop` is set, or `nanoseconds` are over
 * (0: no limit). */
void torci_journal_sleep(struct torci_journal *journal, uint64_t nanoseconds);

/* For the background thread: sleep until somebody wants a flush since the last one began, or `nanoseconds` are over. */
void torci_journal_rest(struct torci_journal *journal, uint64_t nanoseconds);

/* With `flushing` taken: end the current segment, so that what comes is in another one. */
TORC_MUST_CHECK enum torc_status torci_journal_rotate(struct torci_journal *journal);

/* For the background thread: a part of making the next segment ready, unless somebody flushes. */
void torci_journal_prepare(struct torci_journal *journal);

/* After a failure, with `flushing` taken: begin a new segment. The journal stays failed until all up to `stamp` is
 * durable otherwise. */
TORC_MUST_CHECK enum torc_status torci_journal_restart(struct torci_journal *journal);
void torci_journal_mended(struct torci_journal *journal, uint64_t stamp);

static inline uint64_t
torci_journal_durable(struct torci_journal *journal)
{
    return torci_load(&journal->durable, memory_order_acquire); /* A4 */
}

static inline enum torc_status
torci_journal_failed(struct torci_journal *journal)
{
    return (enum torc_status)torci_load(&journal->failed, memory_order_acquire); /* A7 */
}

#endif

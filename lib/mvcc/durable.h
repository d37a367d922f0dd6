/* SPDX-License-Identifier: MIT */
/* mvcc/durable: a store with a directory: opening and closing it, its two background threads, checkpoints, backup,
 * going on after a failure. The public calls of torc/mvcc.h's durability section are here.
 *
 *   open    directory --> recovery --> journal's writer --> threads
 *   flusher     flush --> prepare the next segment --> checkpoint due? --> sleep while nothing is committed
 *   checkpoint  a segment begins --> snapshot C --> all keys --> durable >= C --> install --> older segments go
 *   close   threads end --> last flush, and an empty one that tells that all is durable (NONE: a checkpoint) --> unlock
 *
 * Invariants
 *   I1  One checkpoint or resume runs at a time: who has `checkpointing`. Backups share nothing with them.
 *   I2  The segment that begins before the checkpoint's snapshot is taken is `journal_from`: all before it holds stamps
 *       below the snapshot only.
 *   I3  journal.snapshot is the cut of a flush that succeeded, or the one at open. It is replaced, then released.
 * Ordering   R1 exchange, store of checkpointing -> A1 exchange of it: the fields of who had it
 *            Words that are slept on are seq_cst. Figures are relaxed.
 * Progress   Blocking, all of it. Nothing here is called inside a section. */
#ifndef TORCI_MVCC_DURABLE_H
#define TORCI_MVCC_DURABLE_H

#include <pthread.h>

#include <torc/mvcc.h>

#include "mvcc/checkpoint.h"
#include "mvcc/directory.h"
#include "mvcc/journal.h"
#include "mvcc/recovery.h"

struct torci_durable {
    struct torc_mvcc *store;
    struct torci_directory directory;
    struct torci_journal journal;               /* Used unless TORC_DURABILITY_NONE. */
    struct torc_recovery found;                 /* Immutable. */
    uint64_t checkpoint_bytes_min;              /* Immutable: options.checkpoint_bytes. */
    struct torci_named *cutting;                /* The snapshot of the flush that runs; of who flushes. NULL: none. */
    pthread_t flusher;
    pthread_t checkpointer;
    bool has_flusher;
    bool has_checkpointer;
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint32_t) checkpointing;    /* A lock. Slept on. */
    _Atomic(uint32_t) checkpoint_wanted;        /* In the background. Slept on. */
    _Atomic(uint32_t) stop;
    struct torci_checkpoint *running;           /* A checkpoint in steps (caller_driven); of who has `checkpointing`. */
    uint64_t kept_from;                         /* Immutable: without a journal, the journal_from of checkpoints: the
                                                   last segment of a journal that there was stays; 0: none was. */
    uint64_t running_from;                      /* Its journal_from, and the journal's bytes when it began. */
    uint64_t running_bytes;
    /* Figures. */
    _Atomic(uint64_t) checkpoints;
    _Atomic(uint64_t) checkpoint_stamp;
    _Atomic(uint64_t) checkpoint_ms;
    _Atomic(uint64_t) checkpoint_bytes;
    _Atomic(uint64_t) checkpoint_again;         /* The last one failed: the journal's bytes from which on it is tried
                                                   again by itself, each attempt begins a segment. 0: it did not. */
    _Atomic(uint32_t) checkpoint_running;
    _Atomic(uint32_t) checkpoint_status;
};

/* torc_mvcc_open(), on another file layer. */
TORC_MUST_CHECK enum torc_status torci_mvcc_open_on(const struct torc_mvcc_options *options, struct torci_vfs *vfs,
                                                    struct torc_mvcc **store);

/* torc_mvcc_verify(), likewise. */
TORC_MUST_CHECK enum torc_status torci_mvcc_verify_on(const char *path, struct torci_vfs *vfs,
                                                      struct torc_recovery *recovery);

/* Recover from options.directory, and begin to be durable. The store is fresh and exclusive. After an error all is as
 * before. */
TORC_MUST_CHECK enum torc_status torci_durable_open(struct torc_mvcc *store, struct torci_vfs *vfs);

/* Make all durable, end the threads, let go of the directory. Exclusive. TORC_INDETERMINATE: it is all gone, too. */
TORC_MUST_CHECK enum torc_status torci_durable_close(struct torc_mvcc *store);

/* Free the rest: nothing of the store runs any more, its heap is still there. */
void torci_durable_free(struct torc_mvcc *store);

/* The part of torc_mvcc_poll() in a store that is driven by its caller. */
void torci_durable_poll(struct torc_mvcc *store, bool *more);

#endif

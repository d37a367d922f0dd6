/* SPDX-License-Identifier: MIT */
/* mvcc/store: the one struct behind `struct torc_mvcc`, and the part of it that belongs to each thread.
 *
 *   torc_mvcc --- clock, index, list of all transactions (= the snapshots' slots), spare transactions
 *      '--------- shards by thread index: limbo, garbage queue, spare transactions, counters
 *
 * A shard is used by the thread that owns its index, and by nobody else but for
 *   counters   read by anybody; written by the owner only, versions_freed by whoever frees (relaxed)
 *   limbo      torci_limbo_relieve() and torci_limbo_bytes(), by anybody; the reclaiming thread frees large bags
 * When a thread exits, the next owner of its index inherits the shard; torc_mvcc_collect() adopts orphans. What a
 * living thread has retired and not handed over, less than a large bag, waits until that thread comes by again. */
#ifndef TORCI_MVCC_STORE_H
#define TORCI_MVCC_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <torc/mvcc.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/epoch.h"
#include "base/limbo.h"
#include "mvcc/clock.h"
#include "mvcc/index.h"
#include "mvcc/version.h"

/* Each but versions_freed is written by the shard's owner only, all are read by anybody: relaxed, approximate while
 * threads run. */
struct torci_counters {
    _Atomic(int64_t) keys;
    _Atomic(uint64_t) versions_created;
    _Atomic(uint64_t) versions_freed;
    _Atomic(uint64_t) commits;
    _Atomic(uint64_t) conflicts;
    _Atomic(uint64_t) aborts;
    _Atomic(uint64_t) wounds;
};

/* A record whose chain may be cut, or which may leave, once the watermark reaches `stamp`. */
struct torci_garbage {
    struct torci_record *record;
    uint64_t stamp;
};

enum {
#if defined(TORC_TINY)
    TORCI_GARBAGE_BLOCK = 4,
    TORCI_VIEW_COMMITS = 3,
    TORCI_SPARES_MAX = 2,
#else
    TORCI_GARBAGE_BLOCK = 254,      /* Entries of one block: 4 KiB. */
    TORCI_VIEW_COMMITS = 64,        /* Commits between two looks at all snapshots. */
    TORCI_SPARES_MAX = 16,          /* Ended transactions a shard keeps for its own next begin. */
#endif
    TORCI_VIEW_SNAPSHOTS_MAX = 128, /* Distinct snapshots a view tells apart; see snapshot.c. */
};

struct torci_garbage_block {
    struct torci_garbage_block *next;
    unsigned first;                 /* Next to pop. */
    unsigned end;                   /* Next to push. */
    struct torci_garbage entries[TORCI_GARBAGE_BLOCK];
};

/* What a thread knows of the open snapshots; stays true for ever, only less useful (snapshot.h). */
struct torci_view {
    uint64_t limit;                 /* Nothing newer may be pruned by this view. */
    uint64_t watermark;             /* No snapshot is older. */
    unsigned walked;                /* Slots that were looked at. */
    unsigned count;                 /* Of `snapshots`, ascending and distinct. */
    uint64_t snapshots[TORCI_VIEW_SNAPSHOTS_MAX];
};

struct torci_shard {
    struct torc_mvcc *store;        /* Immutable. */
    struct torci_limbo *limbo;
    struct torci_garbage_block *queue_head;
    struct torci_garbage_block *queue_tail;
    size_t queue_count;
    struct torc_txn *spares;
    unsigned spares_count;
    unsigned commits_until_view;    /* 1 or less: look at the snapshots anew. */
    uint64_t lost_attempts;         /* Conflicts since this thread's last commit: its next priority. */
    bool retired_over;              /* The retired limit was exceeded when last looked at. */
    struct torci_view view;
    _Alignas(TORCI_CACHE_LINE) struct torci_counters counters;
};

enum {
    TORCI_SHARD_BLOCK = 1024,       /* Shards of one block, and blocks: together every thread index there is (2^20). */
};

struct torci_shard_block {
    _Atomic(struct torci_shard *) shards[TORCI_SHARD_BLOCK];
};

struct torc_mvcc {
    struct torci_clock clock;
    struct torci_index *index;                          /* Immutable. */
    uint64_t retired_limit_bytes;                       /* Immutable. */
    struct torci_heap heap;
    _Alignas(TORCI_CACHE_LINE) _Atomic(struct torc_txn *) transactions;   /* Every one ever made; see snapshot.h. */
    _Atomic(struct torc_txn *) spares;                  /* Ended ones that overflowed from the shards. */
    _Atomic(struct torci_shard_block *) blocks[TORCI_SHARD_BLOCK];
};

/* A single writer's increment: relaxed, because only the owner writes and readers want no more than a figure. */
static inline void
torci_count(_Atomic(uint64_t) *counter, uint64_t more)
{
    torci_store(counter, torci_load(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

static inline void
torci_count_signed(_Atomic(int64_t) *counter, int64_t more)
{
    torci_store(counter, torci_load(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

/* As torci_count(), for a counter that others than the shard's owner change as well. */
static inline void
torci_count_shared(_Atomic(uint64_t) *counter, uint64_t more)
{
    torci_fetch_add(counter, more, memory_order_relaxed); /* Relaxed: a figure. */
}

#endif

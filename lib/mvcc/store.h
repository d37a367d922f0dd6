/* SPDX-License-Identifier: MIT */
/* mvcc/store: the one struct behind `struct torc_mvcc`, and the part of it that belongs to each thread.
 *
 *   torc_mvcc --- clock, list of all transactions (= the snapshots' slots), spare transactions
 *      |--------- keyspaces by number: an index each
 *      '--------- shards by thread index: limbo, garbage queue, spare transactions, counters
 *
 * A shard is used by the thread that owns its index, and by nobody else but for
 *   counters   read by anybody; written by the owner only, versions_freed by whoever frees (relaxed)
 *   limbo      torci_limbo_relieve() and torci_limbo_bytes(), by anybody; the reclaiming thread frees large bags
 * Ordering
 *   R1 CAS of a place in the tables of keyspaces (keyspace.c) -> A1 loads of it: the block, the keyspace
 *   R2 store and CAS of keyspace.dropped (keyspace.c) -> A2 load of it: 0: the keyspace with its index; it stays for
 *   the
 *      section. seq_cst: who takes a snapshot after the stamp `gone` was drawn does not read 0 any more.
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
#include "base/reclaimer.h"
#include "base/slab.h"
#include "base/time.h"
#include "mvcc/clock.h"
#include "mvcc/index.h"
#include "mvcc/version.h"

/* Each but versions_freed is written by the shard's owner only, all are read by anybody: relaxed, approximate while
 * threads run. */
struct torci_counters {
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
    TORCI_VIEWS_RETIRED = 2,
    TORCI_SPARES_MAX = 2,
#else
    TORCI_GARBAGE_BLOCK = 254,      /* Entries of one block: 4 KiB. */
    TORCI_VIEW_COMMITS = 8,         /* Commits between two looks at all snapshots. */
    TORCI_VIEWS_RETIRED = 8,        /* Looks between two sums of all that is retired. */
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

/* What a thread has committed and nobody has written to the journal yet. See journal.h. */
struct torci_redo_queue {
    struct torci_redo_chunk *tail;                  /* Owner's. NULL: there has never been an entry. */
    uint32_t used;                                  /* Owner's: of the tail. */
    struct torci_shard *next_queue;                 /* Of journal.queues; immutable once it is there. */
    _Alignas(TORCI_CACHE_LINE) struct torci_redo_chunk *head;      /* The flusher's, and the next. */
    uint32_t taken;                                 /* Of the head. */
    _Atomic(struct torci_redo_chunk *) spare;       /* An empty chunk for the owner, or NULL. */
};

struct torci_shard {
    struct torc_mvcc *store;        /* Immutable. */
    struct torci_limbo *limbo;
    struct torci_slab slab;         /* Of records, versions and the ordered indexes' nodes. */
    struct torci_garbage_block *queue_head;
    struct torci_garbage_block *queue_tail;
    size_t queue_count;
    struct torc_txn *spares;
    unsigned spares_count;
    unsigned commits_until_view;    /* 1 or less: look at the snapshots anew. */
    uint64_t lost_attempts;         /* Conflicts since this thread's last commit: its next priority. */
    size_t expiry_credit;           /* Entries that this thread gave the timing wheel: it works on as many. */
    size_t expiry_debt;             /* Entries whose record has left: it looks through as many. */
    struct torci_wake *wakes;       /* Of watches that a commit has fired; none between calls. See watch.h. */
    unsigned views_until_sum;       /* 0: sum up all that is retired with the next look. */
    bool retired_over;              /* The retired limit was exceeded when last looked at. */
    uint64_t pause_ns;              /* Where the pauses of torc_txn_run() begin, as the last one left it. */
    struct torci_view view;
    struct torci_redo_queue redo;
    _Alignas(TORCI_CACHE_LINE) struct torci_counters counters;
};

enum {
    TORCI_KEY_STRIPES = 16,             /* Counters of a keyspace's keys, by thread index. */
    TORCI_KEYSPACE_BLOCK = 256,         /* Keyspaces of one block, and blocks: 2^16 numbers. */
};

/* A set of keys. Kept until the store closes, and used again for a later keyspace: a handle that was dropped can be
 * told (`dropped`) until then. */
struct torc_keyspace {
    struct torc_mvcc *store;            /* Immutable. */
    uint16_t number;                    /* Immutable: its place in the table, and in its records. 0: the default one. */
    struct torci_index *index;          /* Immutable while `dropped` is 0, and in sections that saw it so. */
    _Atomic(uint64_t) dropped;          /* 0: in use; else the stamp at which it was dropped, or 1: free. */
    struct torc_keyspace *next;         /* Of the list of those that wait, or are free: keyspace.c. */
    uint64_t id;                        /* Never used twice in the store's directory; 0: the default one. Immutable
                                           while `dropped` is 0. */
    uint64_t created;                   /* The stamp at which it was made; by recovery, perhaps later. Likewise. */
    uint64_t gone;                      /* Dropped: a stamp drawn after `dropped` was set. Of who holds it. */
    bool listed;                        /* Dropped, and may still stand in the catalogue. Of who holds it. */
    struct torci_retired retired;       /* While it waits for a grace period. */
    uint8_t name_size;
    unsigned char name[TORC_NAME_SIZE_MAX];
    struct {
        _Alignas(TORCI_CACHE_LINE) _Atomic(int64_t) count;      /* Relaxed: a figure. */
    } keys[TORCI_KEY_STRIPES];
};

/* The keyspaces that have names, in the order of their creation. Immutable; replaced as a whole. */
struct torci_catalogue {
    size_t count;
    size_t room;                        /* It was allocated for so many. */
    struct torc_keyspace *keyspaces[];
};

/* A snapshot that has a name: an open transaction that nobody uses, and who counts on it. */
struct torci_named {
    _Atomic(uint64_t) users;            /* The list counts as one; 0: it is ending. */
    struct torc_txn *holder;            /* Immutable. */
    uint64_t snapshot;                  /* Immutable. */
    struct torci_named *next;           /* Of store.named_kept. */
    uint8_t name_size;
    unsigned char name[TORC_NAME_SIZE_MAX];
};

/* Immutable; replaced as a whole. */
struct torci_named_list {
    size_t count;
    struct torci_named *entries[];
};

enum { TORCI_HISTORY_SAMPLES = 16 };

/* From which stamp on superseded versions are kept, history_ns back. `claimed` guards the rest: a try-lock, nobody
 * waits for it. */
struct torci_history {
    _Atomic(uint64_t) floor;            /* UINT64_MAX: nothing is kept. Only grows. */
    _Atomic(uint32_t) claimed;
    unsigned first;                     /* The oldest sample. */
    unsigned count;
    struct {
        uint64_t at_ns;
        uint64_t stamp;
    } samples[TORCI_HISTORY_SAMPLES];
};

struct torci_keyspace_block {
    _Atomic(struct torc_keyspace *) keyspaces[TORCI_KEYSPACE_BLOCK];
};

enum {
    TORCI_SHARD_BLOCK = 1024,       /* Shards of one block, and blocks: together every thread index there is (2^20). */
};

struct torci_shard_block {
    _Atomic(struct torci_shard *) shards[TORCI_SHARD_BLOCK];
};

struct torc_mvcc {
    struct torci_clock clock;
    struct torc_keyspace *main;                         /* Immutable: the default keyspace. */
    struct torc_mvcc_options options;                   /* Immutable, `allocator` apart: the heap has it. */
    uint64_t hash_seed;                                 /* Immutable. */
    struct torci_heap heap;
    struct torci_slab_pool objects;                     /* Records, versions, the ordered indexes' nodes. */
    struct torci_reclaimer *reclaimer;                  /* Immutable. NULL: the library's thread; else the next. */
    struct torci_reclaimer own_reclaimer;               /* Of a store that is driven by its caller. */
    _Alignas(TORCI_CACHE_LINE) _Atomic(struct torc_txn *) transactions;   /* Every one ever made; see snapshot.h. */
    _Atomic(struct torc_txn *) spares;                  /* Ended ones that overflowed from the shards. */
    _Atomic(struct torci_shard_block *) blocks[TORCI_SHARD_BLOCK];
    struct torci_history history;
    _Atomic(struct torci_watches *) watches;            /* NULL: none was ever opened. */
    _Atomic(struct torci_named_list *) named;           /* NULL: no snapshot has a name. */
    _Atomic(struct torci_named *) named_kept;           /* Out of the list, not freed for want of memory. */
    _Atomic(struct torci_catalogue *) catalogue;        /* NULL: no keyspace has a name. */
    _Atomic(struct torc_keyspace *) keyspaces_free;     /* To be used again. */
    _Atomic(struct torc_keyspace *) keyspaces_dropped;  /* To be emptied. */
    _Atomic(uint64_t) keyspaces_held_until;             /* None of them can go before the watermark is there. Relaxed:
                                                           whoever reads it late, or an old one, looks in vain. */
    _Atomic(int64_t) keyspaces_leaving;                 /* Dropped, and not free yet: a figure. */
    _Atomic(struct torci_expiry *) expiry;              /* NULL: no value has ever been given a time. */
    _Atomic(uint32_t) keyspaces_made;                   /* Numbers given out. */
    _Atomic(uint64_t) keyspace_ids;                     /* The next id. */
    struct torci_journal *journal;                      /* Immutable. NULL: none. See journal.h. */
    _Atomic(uint64_t) chunks_retired;                   /* Bytes of what the journal has retired. A figure, relaxed. */
    struct torci_durable *durable;                      /* Immutable. NULL: no directory. See durable.h. */
    _Atomic(struct torci_keyspace_block *) keyspace_blocks[TORCI_KEYSPACE_BLOCK];
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) watches_open;     /* Looked at by every commit. See watch.h. */
};

/* ---- Keyspaces ---- */

/* The keyspace of a record: it is there as long as the record. */
static inline struct torc_keyspace *
torci_keyspace_of(struct torc_mvcc *store, const struct torci_record *record)
{
    struct torci_keyspace_block *block;

    if (record->keyspace == 0)
        return store->main;
    block = torci_load(&store->keyspace_blocks[record->keyspace / TORCI_KEYSPACE_BLOCK], memory_order_acquire); /* A1 */
    return torci_load(&block->keyspaces[record->keyspace % TORCI_KEYSPACE_BLOCK], memory_order_acquire);        /* A1 */
}

/* The index's word for a key, in whichever keyspace. */
uint64_t torci_key_order(const struct torc_mvcc *store, struct torc_slice key);

/* Whether calls may use it. Inside a section: it stays so until the section ends, as far as memory goes. */
static inline bool
torci_keyspace_usable(struct torc_keyspace *keyspace)
{
    return torci_load(&keyspace->dropped, memory_order_seq_cst) == 0; /* A2 */
}

static inline void
torci_keyspace_count(struct torc_keyspace *keyspace, int64_t more)
{
    /* Relaxed: a figure. */
    if (more != 0)
        torci_fetch_add(&keyspace->keys[torci_self()->index % TORCI_KEY_STRIPES].count, more, memory_order_relaxed);
}

/* ---- Time, for values that expire ---- */

/* A moment that is looked at when it first matters, and stays. */
struct torci_moment {
    struct torc_mvcc *store;
    uint64_t ms;                        /* 0: not looked at yet. */
};

static inline uint64_t
torci_moment_ms(struct torci_moment *moment)
{
    const struct torc_mvcc_options *options = &moment->store->options;

    if (moment->ms == 0)
        moment->ms = options->now_ms != NULL ? options->now_ms(options->now_context) : torci_wall_ms();
    return moment->ms;
}

/* Whether `version`, which may be NULL, is a value at that moment. */
static inline bool
torci_version_shows(const struct torci_version *version, struct torci_moment *moment)
{
    if (!torci_version_live(version))
        return false;
    return version->flags != TORCI_VERSION_EXPIRES ||
           torci_version_expires(version) > torci_moment_ms(moment);
}

/* ---- Counters ---- */

/* A single writer's increment: relaxed, because only the owner writes and readers want no more than a figure. */
static inline void
torci_count(_Atomic(uint64_t) *counter, uint64_t more)
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

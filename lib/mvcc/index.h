/* SPDX-License-Identifier: MIT */
/* mvcc/index: from a key to its record, by hash (one point) and in order (ranges). Two structures over the same
 * records: a split-ordered hash list (index_hash.c) and a copy-on-write B-link tree (index_tree.c).
 *
 * Life of a record: torci_index_insert() makes it reachable by hash; torci_index_order() in order; whoever relies on it
 * being in scans calls torci_index_order() first (idempotent). torci_index_remove() takes it out of both; only a record
 * whose head is frozen may be removed, and it is never inserted again. */
#ifndef TORCI_MVCC_INDEX_H
#define TORCI_MVCC_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/alloc.h"
#include "base/epoch.h"
#include "base/limbo.h"
#include "mvcc/record.h"

/* Kinds of retired objects, the `kind` of torci_limbo_add() in this chapter. */
enum torci_retired_kind {
    TORCI_RETIRED_VERSION,       /* One version. */
    TORCI_RETIRED_CHAIN,         /* A version and all that are reachable through `older`. */
    TORCI_RETIRED_RECORD,
    TORCI_RETIRED_DESCRIPTOR,
    TORCI_RETIRED_ARENA,         /* A struct torci_arena with all that is in it. */
    TORCI_RETIRED_INDEX,         /* What was allocated from the heap: freed with its size, nothing else to do. */
    TORCI_RETIRED_NODE,          /* A node of an ordered index: the same from where its nodes come from. */
    TORCI_RETIRED_WATCH,         /* A struct torc_watch; see mvcc/watch.h. */
};

/* Retires that one insert, order or remove may need; reserve as many for each before calling. */
enum { TORCI_INDEX_RETIRES_MAX = 16 };

struct torci_index;

/* NULL: no memory. `expected_keys` sizes the first bucket segment. If `limbo` has a slab, nodes of the ordered index
 * come from there, here and later: each limbo given has one of the same pool; else from `heap`, and none has. */
struct torci_index *torci_index_create(struct torci_heap *heap, struct torci_limbo *limbo, uint64_t expected_keys,
                                       uint64_t hash_seed);

/* Exclusive. Records are the caller's: take them out with torci_index_drain() before. */
void torci_index_destroy(struct torci_index *index);

/* Exclusive: hand every record to `take`, in no order, and leave the index empty of them. */
void torci_index_drain(struct torci_index *index, void (*take)(void *context, struct torci_record *record),
                       void *context);

/* Exclusive: destroy an index that nobody will look into again, and all that is in it, some nodes at a time; each
 * record goes to `take`. `*budget` is what is left of it afterwards. True: the index is gone. */
bool torci_index_dismantle(struct torci_index *index, size_t *budget,
                           void (*take)(void *context, struct torci_record *record), void *context);

/* The `order` word of a key: seeded XXH3, low bit 1 (its topmost bits choose the bucket). Pure. */
uint64_t torci_index_order_word(const struct torci_index *index, struct torc_slice key);

/* The record of `key`, or NULL. `order` is torci_index_order_word(key). Lock-free, writes nothing shared on the common
 * path. A frozen record may be returned: the caller looks at its head. */
struct torci_record *torci_index_find(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice key,
                                      uint64_t order);

/* Publish `record` (order, key, head, flags set; private until now) under its key by hash. Lock-free.
 * TORC_EXISTS: another record (perhaps frozen) stands there: `*existing`; ours is still the caller's.
 * TORC_NO_MEMORY: unchanged. */
TORC_MUST_CHECK enum torc_status
torci_index_insert(struct torci_index *index, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                   struct torci_record *record, struct torci_record **existing);

/* Make sure that `record`, found by hash or inserted in this section, is in the ordered index: sets
 * TORCI_RECORD_ORDERED. One acquire load when it is. A frozen record is not put in, and one that freezes while this
 * runs is in or not; its remover takes it out for good. A frozen record of the same key that stands in its place makes
 * way for it. Lock-free. TORC_NO_MEMORY: not inserted (call again). */
TORC_MUST_CHECK enum torc_status
torci_index_order(struct torci_index *index, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                  struct torci_record *record);

/* Take a frozen record out of the ordered index and then out of the hash index, helping or being helped. True for
 * exactly one caller per record: that one retires it, and nobody who enters a section from here on can meet it. False
 * with `*status` TORC_NO_MEMORY: could not finish; somebody has to call again (the record stays frozen and harmless).
 * Lock-free. */
bool torci_index_remove(struct torci_index *index, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                        struct torci_record *record, enum torc_status *status);

/* Have the place where torci_index_find() begins for `order` fetched into the cache: before the lookups of a batch,
 * once for each. A hint: changes nothing. Wait-free. */
void torci_index_prefetch(const struct torci_index *index, uint64_t order);

/* The next step, when that has come: have the first record there fetched. Inside a section. A hint, as above. */
void torci_index_prefetch_record(const struct torci_index *index, uint64_t order);

/* torci_index_order() for many records, in ascending order of their keys, no key twice: a leaf is replaced once for all
 * that it takes. TORC_NO_MEMORY: some are in, some are not (call again, for all). Reserve as for one. Lock-free. */
TORC_MUST_CHECK enum torc_status
torci_index_order_many(struct torci_index *index, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                       struct torci_record *const *records, size_t count);

/* ---- Ordered access ---- */

#if defined(TORC_TINY)
enum { TORCI_BATCH_MAX = 16, TORCI_BATCH_FIRST = 3 };
#else
/* FIRST: about a leaf. MAX: more are not fetched faster, and are more to throw away when the walk ends early. */
enum { TORCI_BATCH_MAX = 128, TORCI_BATCH_FIRST = 32 };
#endif

/* Where in the tree a walk stood, so that its next section need not search from the root. It holds nothing back: when
 * any node has left the tree since, it is not looked at. All zero: nowhere. The tree's. */
struct torci_bookmark {
    void *leaf;
    void *above;
    uint64_t burials;
};

/* Records in the direction of the walk. They are on their way into the cache, but need not have come. Valid inside the
 * section that filled it. */
struct torci_batch {
    struct torci_record *records[TORCI_BATCH_MAX];
    unsigned count;            /* 0 only at the end. */
    unsigned wanted;           /* So many, unless the end comes first. Each next batch: twice as many, up to MAX. */
    bool end;                  /* Nothing follows this batch. */
    struct torci_bookmark mark;
    const void *content;       /* The tree's, as is the rest: where to go on in this section. */
    unsigned slot;
};

/* Have the newest versions of a batch's records fetched, all at once. */
static inline void
torci_batch_prefetch_versions(const struct torci_batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++) {
        /* Relaxed: fetched, not followed. */
        const struct torci_version *head = torci_load(&batch->records[i]->head, memory_order_relaxed);

        __builtin_prefetch(head);
        __builtin_prefetch((const unsigned char *)head + TORCI_CACHE_LINE);
    }
}

/* The first batch: ascending: the least keys >= key (or > key if !inclusive); descending: the greatest keys <= key
 * (or < key). An empty key means: from the very start (ascending) or the very end (descending). Lock-free.
 * Sees every record whose torci_index_order() returned before; for others, either. Sorted, no duplicates. */
void torci_index_seek(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice key, bool inclusive,
                      bool descending, struct torci_batch *batch);

/* The same for a walk that had a section before: batch->wanted (1 to TORCI_BATCH_MAX) and batch->mark are given: what
 * was found in `mark` after that section. `key` is the last one looked at, or near it. */
void torci_index_seek_on(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice key,
                         bool inclusive, bool descending, struct torci_batch *batch);

/* The batch after `batch`, in the same section. Never repeats a key, never goes back. */
void torci_index_next(struct torci_index *index, struct torci_epoch_guard guard, bool descending,
                      struct torci_batch *batch);

/* About how many records lie in [from, to), and what their keys and newest values take; an empty bound is open. */
struct torci_index_estimate {
    uint64_t records;          /* Exact if the bounds fall into one leaf or two neighbours, and nothing runs. */
    uint64_t bytes;
};

/* Two searches, and a look at some leaves and some dozen records. Lock-free. */
void torci_index_estimate(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice from,
                          struct torc_slice to, struct torci_index_estimate *estimate);

/* Figures (approximate while threads run). */
struct torci_index_stats {
    uint64_t records;
    uint64_t buckets;
    uint64_t leaves;
    uint64_t tree_levels;
};
void torci_index_stats(const struct torci_index *index, struct torci_index_stats *stats);

#endif

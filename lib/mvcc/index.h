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
    TORCI_RETIRED_INDEX,         /* A node of an index: freed with its size, nothing else to do. */
};

/* Retires that one insert, order or remove may need; reserve as many for each before calling. */
enum { TORCI_INDEX_RETIRES_MAX = 16 };

struct torci_index;

/* NULL: no memory. `expected_keys` sizes the first bucket segment. */
struct torci_index *torci_index_create(struct torci_heap *heap, uint64_t expected_keys, uint64_t hash_seed);

/* Exclusive. Records are the caller's: take them out with torci_index_drain() before. */
void torci_index_destroy(struct torci_index *index);

/* Exclusive: hand every record to `take`, in no order, and leave the index empty of them. */
void torci_index_drain(struct torci_index *index, void (*take)(void *context, struct torci_record *record),
                       void *context);

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

/* ---- Ordered access: one leaf at a time ---- */

enum { TORCI_BATCH_MAX = 64 };

/* Records of one leaf, in the direction of the walk. Valid inside the section that filled it. */
struct torci_batch {
    struct torci_record *records[TORCI_BATCH_MAX];
    unsigned count;            /* 0 only at the end. */
    bool end;                  /* Nothing follows this batch. */
    void *position[2];         /* The tree's: where to go on. */
};

/* The first batch: ascending: the least keys >= key (or > key if !inclusive); descending: the greatest keys <= key
 * (or < key). An empty key means: from the very start (ascending) or the very end (descending). Lock-free.
 * Sees every record whose torci_index_order() returned before; for others, either. Sorted, no duplicates. */
void torci_index_seek(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice key, bool inclusive,
                      bool descending, struct torci_batch *batch);

/* The batch after `batch`, in the same section. Never repeats a key, never goes back. */
void torci_index_next(struct torci_index *index, struct torci_epoch_guard guard, bool descending,
                      struct torci_batch *batch);

/* Figures (approximate while threads run). */
struct torci_index_stats {
    uint64_t records;
    uint64_t buckets;
    uint64_t leaves;
    uint64_t tree_levels;
};
void torci_index_stats(const struct torci_index *index, struct torci_index_stats *stats);

#endif

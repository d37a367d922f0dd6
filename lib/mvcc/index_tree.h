/* SPDX-License-Identifier: MIT */
/* mvcc/index_tree: records in key order: a B-link tree whose nodes are replaced, never changed. A part of mvcc/index.
 *
 * The mvcc/index.h functions say what order, seek and next do; here they are without the hash index. */
#ifndef TORCI_MVCC_INDEX_TREE_H
#define TORCI_MVCC_INDEX_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/epoch.h"
#include "base/limbo.h"
#include "base/slab.h"
#include "mvcc/index.h"

struct torci_tree_anchor;

struct torci_tree_index {
    struct torci_heap *heap;                        /* Immutable, as is the next. */
    struct torci_slab_pool *pool;                   /* Where nodes come from; NULL: the heap. */
    _Atomic(struct torci_tree_anchor *) root;       /* The leftmost anchor of the highest level. */
    struct torci_tree_anchor *below;                /* While it is dismantled: the leftmost of the next level. */
    _Atomic(uint64_t) leaves;                       /* A figure. */
    _Atomic(uint64_t) burials;                      /* Anchors that have left the tree, of all levels. */
};

/* In the caller's memory. If `limbo` has a slab, nodes come from there, here and later: each limbo given has one of the
 * same pool; else from `heap`, and none has. TORC_NO_MEMORY: nothing to undo. */
TORC_MUST_CHECK enum torc_status
torci_tree_index_init(struct torci_tree_index *tree, struct torci_heap *heap, struct torci_limbo *limbo);

/* Exclusive. The records are the caller's. */
void torci_tree_index_fini(struct torci_tree_index *tree);

/* Exclusive: forget all records. */
void torci_tree_index_clear_exclusive(struct torci_tree_index *tree);

/* Exclusive: the same for a tree that nobody will look into again, some nodes at a time: `*budget` is what is left of
 * it afterwards. True: there is nothing left, and fini must not be called. */
bool torci_tree_index_dismantle_exclusive(struct torci_tree_index *tree, size_t *budget);

/* Put `record` under its key unless it is frozen. TORC_NO_MEMORY: not done. Lock-free. */
TORC_MUST_CHECK enum torc_status
torci_tree_index_insert(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                        struct torci_record *record);

/* The same for `count` records in ascending order. TORC_NO_MEMORY: some may be in. Lock-free. */
TORC_MUST_CHECK enum torc_status
torci_tree_index_insert_many(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                             struct torci_record *const *records, size_t count);

/* Take the frozen `record` out. After TORC_OK it is not in the tree and no insert that is still under way can put it
 * there. TORC_NO_MEMORY: not done. Lock-free. */
TORC_MUST_CHECK enum torc_status
torci_tree_index_remove(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                        struct torci_record *record);

/* torci_index_seek_on(). */
void torci_tree_index_seek(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torc_slice key,
                           bool inclusive, bool descending, struct torci_batch *batch);
void torci_tree_index_next(struct torci_tree_index *tree, struct torci_epoch_guard guard, bool descending,
                           struct torci_batch *batch);

void torci_tree_index_estimate(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torc_slice from,
                               struct torc_slice to, struct torci_index_estimate *estimate);

/* Approximate while threads run. */
uint64_t torci_tree_index_leaves(const struct torci_tree_index *tree);
uint64_t torci_tree_index_levels(const struct torci_tree_index *tree);

#if defined(TORC_ASSERTIONS)
/* Exclusive, for tests: NULL if the tree is sound (order, bounds, links, hints), else a sentence about what is not. */
const char *torci_tree_index_fault_exclusive(const struct torci_tree_index *tree);
#endif

#endif

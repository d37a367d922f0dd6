/* SPDX-License-Identifier: MIT */
/* mvcc/index: the two indexes as one.
 *
 *   insert: hash           order: tree, then ORDERED           remove: tree, then hash, then true to one caller
 *
 * Invariants   I1  a record that is reachable in the tree and not frozen is reachable by hash
 *              I2  a record is put into the tree only by who found it by hash or inserted it in the same section, so
 *                  nobody can begin to do so once remove() has returned true
 * Ordering     index_tree.c R4 -> A1 torci_index_order(): the record is in the tree */
#include "mvcc/index.h"

#include "base/assert.h"
#include "base/hash.h"
#include "mvcc/index_hash.h"
#include "mvcc/index_tree.h"

struct torci_index {
    struct torci_heap *heap;            /* Immutable, as is the next. */
    uint64_t hash_seed;
    struct torci_tree_index tree;
    struct torci_hash_index hash;       /* Aligned to a cache line. */
};

struct torci_index *
torci_index_create(struct torci_heap *heap, struct torci_limbo *limbo, uint64_t expected_keys, uint64_t hash_seed)
{
    struct torci_index *index = torci_alloc_line(heap, sizeof(*index));

    if (index == NULL)
        return NULL;
    index->heap = heap;
    index->hash_seed = hash_seed;
    if (torci_hash_index_init(&index->hash, heap, expected_keys) != TORC_OK)
        goto free_index;
    if (torci_tree_index_init(&index->tree, heap, limbo) != TORC_OK)
        goto fini_hash;
    return index;

fini_hash:
    torci_hash_index_fini(&index->hash);
free_index:
    torci_free_line(heap, index, sizeof(*index));
    return NULL;
}

void
torci_index_destroy(struct torci_index *index)
{
    if (index == NULL)
        return;
    torci_tree_index_fini(&index->tree);
    torci_hash_index_fini(&index->hash);
    torci_free_line(index->heap, index, sizeof(*index));
}

void
torci_index_drain(struct torci_index *index, void (*take)(void *context, struct torci_record *record), void *context)
{
    torci_tree_index_clear_exclusive(&index->tree);
    torci_hash_index_drain_exclusive(&index->hash, take, context);
}

bool
torci_index_dismantle(struct torci_index *index, size_t *budget,
                      void (*take)(void *context, struct torci_record *record), void *context)
{
    if (!torci_tree_index_dismantle_exclusive(&index->tree, budget) ||
        !torci_hash_index_dismantle_exclusive(&index->hash, budget, take, context))
        return false;
    torci_hash_index_fini(&index->hash);
    torci_free_line(index->heap, index, sizeof(*index));
    return true;
}

uint64_t
torci_index_order_word(const struct torci_index *index, struct torc_slice key)
{
    return torci_hash(index->hash_seed, key) | 1;
}

struct torci_record *
torci_index_find(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice key, uint64_t order)
{
    torc_assert(order == torci_index_order_word(index, key));

    return torci_hash_index_find(&index->hash, guard, key, order);
}

void
torci_index_prefetch_record(const struct torci_index *index, uint64_t order)
{
    torci_hash_index_prefetch_record(&index->hash, order);
}

void
torci_index_prefetch(const struct torci_index *index, uint64_t order)
{
    torci_hash_index_prefetch(&index->hash, order);
}

enum torc_status
torci_index_insert(struct torci_index *index, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                   struct torci_record *record, struct torci_record **existing)
{
    (void)limbo;        /* Nothing is retired here today. */
    torc_assert(record->order == torci_index_order_word(index, torci_record_key(record)));

    return torci_hash_index_insert(&index->hash, guard, record, existing) ? TORC_OK : TORC_EXISTS;
}

enum torc_status
torci_index_order(struct torci_index *index, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                  struct torci_record *record)
{
    if ((torci_load(&record->flags, memory_order_acquire) & TORCI_RECORD_ORDERED) != 0)      /* A1 */
        return TORC_OK;
    return torci_tree_index_insert(&index->tree, guard, limbo, record);
}

enum torc_status
torci_index_order_many(struct torci_index *index, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                       struct torci_record *const *records, size_t count)
{
    return torci_tree_index_insert_many(&index->tree, guard, limbo, records, count);
}

bool
torci_index_remove(struct torci_index *index, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                   struct torci_record *record, enum torc_status *status)
{
    *status = torci_tree_index_remove(&index->tree, guard, limbo, record);
    if (*status != TORC_OK)
        return false;
    return torci_hash_index_remove(&index->hash, guard, record);
}

void
torci_index_seek(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice key, bool inclusive,
                 bool descending, struct torci_batch *batch)
{
    batch->wanted = TORCI_BATCH_FIRST;
    batch->mark = (struct torci_bookmark){NULL, NULL, 0};
    torci_tree_index_seek(&index->tree, guard, key, inclusive, descending, batch);
}

void
torci_index_seek_on(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice key, bool inclusive,
                    bool descending, struct torci_batch *batch)
{
    torci_tree_index_seek(&index->tree, guard, key, inclusive, descending, batch);
}

void
torci_index_next(struct torci_index *index, struct torci_epoch_guard guard, bool descending, struct torci_batch *batch)
{
    torci_tree_index_next(&index->tree, guard, descending, batch);
}

void
torci_index_estimate(struct torci_index *index, struct torci_epoch_guard guard, struct torc_slice from,
                     struct torc_slice to, struct torci_index_estimate *estimate)
{
    torci_tree_index_estimate(&index->tree, guard, from, to, estimate);
}

void
torci_index_stats(const struct torci_index *index, struct torci_index_stats *stats)
{
    stats->records = torci_hash_index_records(&index->hash);
    stats->buckets = torci_hash_index_buckets(&index->hash);
    stats->leaves = torci_tree_index_leaves(&index->tree);
    stats->tree_levels = torci_tree_index_levels(&index->tree);
}

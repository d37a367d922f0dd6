/* SPDX-License-Identifier: MIT */
/* mvcc/index_hash: records by hash: a split-ordered list whose buckets double. A part of mvcc/index. */
#ifndef TORCI_MVCC_INDEX_HASH_H
#define TORCI_MVCC_INDEX_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/epoch.h"
#include "mvcc/record.h"

enum {
    TORCI_HASH_SEGMENTS_MAX = 64,
    TORCI_HASH_SHARDS = 32,
};

/* What records and bucket heads have in common: their first two words, as in struct torci_record. */
struct torci_hash_node {
    _Atomic(uintptr_t) chain;
    uint64_t order;
};

struct torci_hash_index {
    struct torci_heap *heap;                                        /* Immutable, as is the next. */
    uint32_t first_bits;                                            /* 2^first_bits bucket heads in segment 0. */
    _Atomic(uint32_t) bits;                                         /* 2^bits buckets are in use. */
    struct torci_hash_node tail;                                    /* The end of the list. Immutable. */
    _Atomic(struct torci_hash_node *) segments[TORCI_HASH_SEGMENTS_MAX];
    struct {
        _Alignas(TORCI_CACHE_LINE) _Atomic(int64_t) records;        /* Linked minus unlinked, by thread index. */
    } shards[TORCI_HASH_SHARDS];
};

/* In the caller's memory, aligned to a cache line. TORC_NO_MEMORY: nothing to undo. */
TORC_MUST_CHECK enum torc_status
torci_hash_index_init(struct torci_hash_index *hash, struct torci_heap *heap, uint64_t expected_keys);

/* Exclusive. The records are the caller's. */
void torci_hash_index_fini(struct torci_hash_index *hash);

/* Exclusive: hand every record to `take`, which may free it, and leave the list empty. */
void torci_hash_index_drain_exclusive(struct torci_hash_index *hash,
                                      void (*take)(void *context, struct torci_record *record), void *context);

/* Exclusive: the same for a list that nobody will look into again, some nodes at a time: `*budget` is what is left of
 * it afterwards. True: there is nothing left. */
bool torci_hash_index_dismantle_exclusive(struct torci_hash_index *hash, size_t *budget,
                                          void (*take)(void *context, struct torci_record *record), void *context);

/* The record of `key`, or NULL. Lock-free; writes only when it is the first to look into a bucket. */
struct torci_record *torci_hash_index_find(struct torci_hash_index *hash, struct torci_epoch_guard guard,
                                           struct torc_slice key, uint64_t order);

/* Have the head of the bucket of `order` fetched; or what it points to, once it is there. Wait-free. */
void torci_hash_index_prefetch(const struct torci_hash_index *hash, uint64_t order);
void torci_hash_index_prefetch_record(const struct torci_hash_index *hash, uint64_t order);

/* Link `record` under its key. False: another one stands there, `*existing`. Lock-free, never fails. */
bool torci_hash_index_insert(struct torci_hash_index *hash, struct torci_epoch_guard guard,
                             struct torci_record *record, struct torci_record **existing);

/* Unlink `record`. True for exactly one caller, once nobody new can reach the record through the list. Lock-free. */
bool torci_hash_index_remove(struct torci_hash_index *hash, struct torci_epoch_guard guard,
                             struct torci_record *record);

/* Approximate while threads run. */
uint64_t torci_hash_index_records(const struct torci_hash_index *hash);
uint64_t torci_hash_index_buckets(const struct torci_hash_index *hash);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc: the store: opening, closing, giving memory back. The contract: torc/mvcc.h. */
#include <torc/mvcc.h>

#include "base/assert.h"
#include "base/random.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/durable.h"
#include "mvcc/expiry.h"
#include "mvcc/install.h"
#include "mvcc/keyspace.h"
#include "mvcc/named.h"
#include "mvcc/reclaim.h"
#include "mvcc/snapshot.h"
#include "mvcc/store.h"
#include "mvcc/txn.h"
#include "mvcc/upkeep.h"
#include "mvcc/watch.h"

#include <unistd.h>

enum {
    /* A thread that is descheduled inside a call may hold back this much. */
    RETIRED_LIMIT_DEFAULT = 256 * 1024 * 1024,
    EXPECTED_KEYS_DEFAULT = 1024,
    JOURNAL_LIMIT_DEFAULT = 64 * 1024 * 1024,
    JOURNAL_LIMIT_MIN = 1024 * 1024,
    CHECKPOINT_BYTES_DEFAULT = 256 * 1024 * 1024,
    COLLECT_ROUNDS_MAX = 8,                     /* Garbage of garbage: versions, then their record, then index nodes. */
};

#define EXPECTED_KEYS_MAX (UINT64_C(1) << 40)

/* ---- Opening and closing ---- */

void
torc_mvcc_options_init(struct torc_mvcc_options *options)
{
    if (options == NULL)
        return;
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->retired_limit_bytes = RETIRED_LIMIT_DEFAULT;
    options->expected_keys = EXPECTED_KEYS_DEFAULT;
    options->durability = TORC_DURABILITY_ASYNC;
    options->journal_limit_bytes = JOURNAL_LIMIT_DEFAULT;
    options->checkpoint_bytes = CHECKPOINT_BYTES_DEFAULT;
}

static enum torc_status
check_options(const struct torc_mvcc_options *options)
{
    if (options->struct_size != sizeof *options)
        return torci_fail(TORC_INVALID, "struct_size is %zu, not %zu: use torc_mvcc_options_init()",
                          options->struct_size, sizeof *options);
    if (options->allocator != NULL && (options->allocator->allocate == NULL || options->allocator->release == NULL))
        return torci_fail(TORC_INVALID, "the allocator lacks a function");
    if (options->expected_keys > EXPECTED_KEYS_MAX)
        return torci_fail(TORC_INVALID, "expected_keys is out of range");
    if (options->directory == NULL)
        return TORC_OK;
    if (options->directory[0] == '\0')
        return torci_fail(TORC_INVALID, "the directory's name is empty");
    if (options->durability != TORC_DURABILITY_NONE && options->durability != TORC_DURABILITY_ASYNC &&
        options->durability != TORC_DURABILITY_SYNC)
        return torci_fail(TORC_INVALID, "durability %d is not known", (int)options->durability);
    if (options->journal_limit_bytes < JOURNAL_LIMIT_MIN)
        return torci_fail(TORC_INVALID, "journal_limit_bytes is less than 1 MiB");
    return TORC_OK;
}

/* Keys cannot be chosen to collide by who does not know it. Where the system has no random numbers, time and address
 * have to do. */
static uint64_t
draw_seed(const void *address)
{
    uint64_t state = torci_now_ns() ^ (uint64_t)(uintptr_t)address;
    uint64_t seed;

    return getentropy(&seed, sizeof seed) == 0 && seed != 0 ? seed : torci_splitmix64(&state);
}

/* Exclusive: a record and its chain go back to the heap. */
static void
take_record(void *context, struct torci_record *record)
{
    struct torc_mvcc *store = context;
    /* Relaxed, here and below: nobody else is left. */
    struct torci_version *version = torci_load(&record->head, memory_order_relaxed);

    if (version == torci_frozen())
        version = NULL;
    while (version != NULL) {
        struct torci_version *older = torci_load(&version->older, memory_order_relaxed);

        torci_object_free(&store->objects, version, torci_version_bytes(version->size));
        version = older;
    }
    torci_record_destroy(store, record);
}

static void
destroy_shards(struct torc_mvcc *store)
{
    for (uint32_t b = 0; b < TORCI_SHARD_BLOCK; b++) {
        struct torci_shard_block *block = torci_load(&store->blocks[b], memory_order_acquire); /* reclaim.c A4 */

        if (block == NULL)
            continue;
        for (uint32_t i = 0; i < TORCI_SHARD_BLOCK; i++) {
            struct torci_shard *shard = torci_load(&block->shards[i], memory_order_acquire); /* reclaim.c A5 */

            if (shard != NULL) {
                torci_redo_queue_fini(shard);
                torci_shard_destroy(shard);
            }
        }
        torci_free(&store->heap, block, sizeof *block);
    }
}

/* Free all that the store holds, and the store. Nothing of it runs any more, and nobody uses it. */
static void
destroy(struct torc_mvcc *store)
{
    struct torci_heap heap;
    struct torc_txn *txn = torci_load(&store->transactions, memory_order_seq_cst); /* snapshot.h A2 */

    torci_reclaimer_barrier(store->reclaimer);
    torci_slab_pool_ending(&store->objects);
    torci_reclaimer_barrier(store->reclaimer); /* Of what was retired by what the first one freed. */
    torci_named_fini(store, torci_txn_end_holder);
    destroy_shards(store);
    torci_durable_free(store);
    torci_expiry_fini(store);
    torci_watches_fini(store);
    torci_keyspaces_fini(store, take_record);
    while (txn != NULL) {
        struct torc_txn *next = txn->slot.next_all;

        torci_txn_destroy(txn);
        txn = next;
    }
    torci_slab_pool_fini(&store->objects);
    torc_assert(torci_heap_bytes(&store->heap) == 0);
    /* It lives in memory of its own allocator, outside of its own accounts. */
    torci_heap_init(&heap, &store->heap.allocator, 0);
    torci_free_line(&heap, store, sizeof *store);
}

enum torc_status
torci_mvcc_open_on(const struct torc_mvcc_options *options, struct torci_vfs *vfs, struct torc_mvcc **store)
{
    struct torc_mvcc_options defaults;
    enum torc_status status;
    struct torci_heap heap;
    struct torc_mvcc *fresh;

    if (store == NULL)
        return torci_fail(TORC_INVALID, "the place for the store is NULL");
    *store = NULL;
    torc_mvcc_options_init(&defaults);
    if (options == NULL)
        options = &defaults;
    status = check_options(options);
    if (status != TORC_OK)
        return status;
    /* See destroy(). */
    torci_heap_init(&heap, options->allocator, 0);
    fresh = torci_alloc_line_zeroed(&heap, sizeof *fresh);
    if (fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a store");
    torci_heap_init(&fresh->heap, options->allocator, options->memory_limit_bytes);
    torci_clock_init(&fresh->clock, TORCI_CLOCK_START);
    fresh->options = *options;
    fresh->options.allocator = NULL; /* The heap has a copy. */
    torci_reclaimer_init(&fresh->own_reclaimer);
    fresh->reclaimer = options->caller_driven ? &fresh->own_reclaimer : NULL;
    torci_slab_pool_init(&fresh->objects, &fresh->heap, fresh->reclaimer);
    torci_history_init(fresh, torci_now_coarse_ns());
    fresh->hash_seed = options->hash_seed != 0 ? options->hash_seed : draw_seed(fresh);
    status = torci_keyspaces_init(fresh) == TORC_OK ? TORC_OK : torci_fail(TORC_NO_MEMORY, "no memory for the index");
    if (status == TORC_OK && options->directory != NULL)
        status = torci_durable_open(fresh, vfs);
    if (status != TORC_OK) {
        destroy(fresh);
        return status;
    }
    fresh->options.directory = NULL; /* The directory has a copy. */
    *store = fresh;
    return TORC_OK;
}

enum torc_status
torc_mvcc_open(const struct torc_mvcc_options *options, struct torc_mvcc **store)
{
    return torci_mvcc_open_on(options, torci_vfs_posix(), store);
}

enum torc_status
torc_mvcc_close(struct torc_mvcc *store)
{
    enum torc_status status;

    if (store == NULL)
        return TORC_OK;
    for (struct torc_txn *open = torci_load(&store->transactions, memory_order_seq_cst); /* snapshot.h A2 */
         open != NULL; open = open->slot.next_all) {
        /* Relaxed: nobody begins any more. */
        bool named = (torci_load(&open->slot.traits, memory_order_relaxed) & TORCI_SLOT_NAMED) != 0;

        if (!named && torci_load(&open->slot.announced, memory_order_seq_cst) != 0) /* snapshot.h A1 */
            return torci_fail(TORC_BUSY, "transactions are still open");
    }
    if (torci_load(&store->watches_open, memory_order_seq_cst) != 0)
        return torci_fail(TORC_BUSY, "watches are still open");
    status = torci_durable_close(store);
    destroy(store);
    return status;
}

/* ---- Giving memory back ---- */

enum torc_status
torc_mvcc_poll(struct torc_mvcc *store, bool *more)
{
    struct torci_shard *shard;
    enum torc_status status;
    uint64_t waiting;
    bool durable_more;
    bool again;

    if (more != NULL)
        *more = false;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    status = torci_shard_obtain(store, &shard);
    if (status != TORC_OK)
        return status;
    torci_durable_poll(store, &durable_more);
    again = torci_upkeep_poll(shard) || durable_more;
    torci_limbo_flush(shard->limbo);
    waiting = torci_reclaimer_poll(store->reclaimer);
    torci_reclaim_relieve(store);
    if (more != NULL)
        *more = again || waiting > 0 || torci_limbo_bytes(shard->limbo) > 0;
    return TORC_OK;
}

/* Sweep what threads that are gone left behind. */
static bool
sweep_orphans(struct torc_mvcc *store)
{
    uint32_t bound = torci_thread_index_bound();
    bool achieved = false;

    for (uint32_t index = 0; index < bound; index++) {
        struct torci_shard *shard = torci_shard_at(store, index);

        if (shard == NULL || !torci_thread_adopt(index))
            continue;
        torci_limbo_drain(shard->limbo);
        achieved |= torci_reclaim_sweep(shard);
        torci_slab_fini(&shard->slab);
        torci_thread_release_adopted(index);
    }
    return achieved;
}

/* A walk of torc_mvcc_collect(). */
struct visit {
    struct torci_shard *shard;
    bool achieved;
};

static void
visit_record(void *context, struct torci_epoch_guard guard, struct torci_record *record)
{
    struct visit *visit = context;

    visit->achieved |= torci_expiry_visit(visit->shard, guard, record);
    torci_reclaim_visit(visit->shard, guard, record);
}

enum torc_status
torc_mvcc_collect(struct torc_mvcc *store)
{
    struct torci_shard *shard;
    enum torc_status status;
    bool achieved = true;

    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    shard = torci_shard_own(store);
    if (shard == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for this thread's part of the store");
    for (unsigned round = 0; achieved && round < COLLECT_ROUNDS_MAX; round++) {
        struct visit visit = {shard, false};

        visit.achieved |= torci_reclaim_sweep(shard);
        visit.achieved |= torci_upkeep_all(shard);
        status = torci_walk_all(store, visit_record, &visit);
        torci_watch_wake(shard);
        if (status != TORC_OK)
            return status;
        achieved = visit.achieved;
        achieved |= sweep_orphans(store);
        torci_limbo_flush(shard->limbo);
        torci_reclaimer_barrier(store->reclaimer);
        achieved |= torci_limbo_drain(shard->limbo) > 0;
        achieved |= torci_reclaim_relieve(store) > 0;
    }
    torci_slab_fini(&shard->slab);
    torci_slab_trim(&store->objects);
    /* For the regions that left: by this trim, or by one that the frees before it have set off. */
    torci_reclaimer_barrier(store->reclaimer);
    return TORC_OK;
}


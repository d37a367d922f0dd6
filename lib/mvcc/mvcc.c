/* SPDX-License-Identifier: MIT */
/* mvcc: the store: opening and closing, calls on one key, and what it tells of itself. The contract: torc/mvcc.h.
 *
 * A call on one key is a commit of its own without a snapshot: get reads the newest committed version, put and delete
 * install a PENDING one, which gets its stamp from whoever meets it first (version.h). */
#include <torc/mvcc.h>

#include "base/assert.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/install.h"
#include "mvcc/reclaim.h"
#include "mvcc/snapshot.h"
#include "mvcc/store.h"
#include "mvcc/txn.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    /* A thread that is descheduled inside a call may hold back this much. */
    RETIRED_LIMIT_DEFAULT = 256 * 1024 * 1024,
    EXPECTED_KEYS_DEFAULT = 1024,
    COLLECT_ROUNDS_MAX = 8,                     /* Garbage of garbage: versions, then their record, then index nodes. */
    STEP_BUDGET = 4,                            /* Queue entries that a write of one key works on. */
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

enum torc_status
torc_mvcc_open(const struct torc_mvcc_options *options, struct torc_mvcc **store)
{
    struct torc_mvcc_options defaults;
    enum torc_status status;
    struct torci_heap heap;
    struct torc_mvcc *fresh;
    uint64_t seed;

    if (store == NULL)
        return torci_fail(TORC_INVALID, "the place for the store is NULL");
    *store = NULL;
    torc_mvcc_options_init(&defaults);
    if (options == NULL)
        options = &defaults;
    status = check_options(options);
    if (status != TORC_OK)
        return status;
    /* The store lives in memory of its own allocator, outside of its own accounts. */
    torci_heap_init(&heap, options->allocator, 0);
    fresh = torci_alloc_line_zeroed(&heap, sizeof *fresh);
    if (fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a store");
    torci_heap_init(&fresh->heap, options->allocator, options->memory_limit_bytes);
    torci_clock_init(&fresh->clock, TORCI_CLOCK_START);
    fresh->retired_limit_bytes = options->retired_limit_bytes;
    seed = options->hash_seed != 0 ? options->hash_seed : draw_seed(fresh);
    fresh->index = torci_index_create(&fresh->heap, options->expected_keys, seed);
    if (fresh->index == NULL) {
        torci_free_line(&heap, fresh, sizeof *fresh);
        return torci_fail(TORC_NO_MEMORY, "no memory for the index");
    }
    *store = fresh;
    return TORC_OK;
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

        torci_free(&store->heap, version, torci_version_bytes(version->size));
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

            if (shard != NULL)
                torci_shard_destroy(shard);
        }
        torci_free(&store->heap, block, sizeof *block);
    }
}

enum torc_status
torc_mvcc_close(struct torc_mvcc *store)
{
    struct torci_heap heap;
    struct torc_txn *txn;

    if (store == NULL)
        return TORC_OK;
    txn = torci_load(&store->transactions, memory_order_seq_cst); /* snapshot.h A2 */
    for (struct torc_txn *open = txn; open != NULL; open = open->slot.next_all) {
        if (torci_load(&open->slot.announced, memory_order_seq_cst) != 0) /* snapshot.h A1 */
            return torci_fail(TORC_BUSY, "transactions are still open");
    }
    torci_epoch_barrier();
    destroy_shards(store);
    torci_index_drain(store->index, take_record, store);
    torci_index_destroy(store->index);
    while (txn != NULL) {
        struct torc_txn *next = txn->slot.next_all;

        torci_txn_destroy(txn);
        txn = next;
    }
    torc_assert(torci_heap_bytes(&store->heap) == 0);
    torci_heap_init(&heap, &store->heap.allocator, 0);
    torci_free_line(&heap, store, sizeof *store);
    return TORC_OK;
}

/* ---- One key, one step ---- */

enum torc_status
torc_mvcc_get(struct torc_mvcc *store, struct torc_slice key, void *buffer, size_t capacity, size_t *size)
{
    struct torci_epoch_guard guard;
    struct torci_version *version = NULL;
    struct torci_record *record;
    enum torc_status status;
    uint64_t order;

    if (size == NULL)
        return torci_fail(TORC_INVALID, "the place for the size is NULL");
    *size = 0;
    if (store == NULL || (buffer == NULL && capacity > 0))
        return torci_fail(TORC_INVALID, "the store or the buffer is NULL");
    status = torci_check_key(key);
    if (status != TORC_OK)
        return status;

    order = torci_index_order_word(store->index, key);
    guard = torci_epoch_enter();
    record = torci_index_find(store->index, guard, key, order);
    if (record != NULL)
        version = torci_record_newest(record, &store->clock);
    if (torci_version_live(version)) {
        *size = version->size;
        if (capacity > 0 && version->size > 0)
            memcpy(buffer, version->bytes, version->size < capacity ? version->size : capacity);
    } else {
        status = TORC_NOT_FOUND;
    }
    torci_epoch_exit(guard);
    if (status == TORC_OK && *size > capacity)
        return torci_fail(TORC_TOO_LARGE, "a value of %zu bytes does not fit into %zu", *size, capacity);
    return status;
}

/* Install `version` and stamp it. The version is consumed if that succeeds. */
static enum torc_status
write_one(struct torci_shard *shard, struct torci_write *write, bool only_live)
{
    struct torc_mvcc *store = shard->store;
    struct torci_install install = {.store = store,
                                    .shard = shard,
                                    .guard = torci_epoch_enter(),
                                    .stamp = TORCI_STAMP_PENDING,
                                    .only_live = only_live};
    enum torc_status status = torci_install(&install, write);

    if (status == TORC_OK) {
        uint64_t stamp = torci_version_verdict(write->version, &store->clock).stamp;

        torci_last_commit_note(stamp);
        torci_count_signed(&shard->counters.keys, torci_write_keys_change(write));
        torci_count(&shard->counters.commits, 1);
        if (torci_write_leaves_garbage(write))
            torci_reclaim_touch(shard, install.guard, write->record, stamp);
    } else if (write->record != NULL && status == TORC_NO_MEMORY) {
        /* An empty record of ours may stand in the index. */
        torci_reclaim_touch(shard, install.guard, write->record, torci_clock_now(&store->clock));
    }
    torci_epoch_exit(install.guard);
    if (write->fresh != NULL)
        torci_record_destroy(store, write->fresh);
    return status;
}

/* The frame of put and delete. */
static enum torc_status
autocommit(struct torc_mvcc *store, struct torc_slice key, struct torc_slice value, bool delete, bool *replaced)
{
    struct torci_write write = {.key = key};
    struct torci_shard *shard;
    enum torc_status status;

    if (replaced != NULL)
        *replaced = false;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    status = torci_check_key(key);
    if (status == TORC_OK)
        status = torci_check_value(value);
    if (status != TORC_OK)
        return status;
    shard = torci_shard_own(store);
    if (shard == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for this thread's part of the store");
    if (!delete)
        status = torci_reclaim_admit(shard, value.size);
    if (status != TORC_OK)
        return status;
    write.order = torci_index_order_word(store->index, key);
    write.version = torci_version_create(shard, value, delete ? TORCI_VERSION_TOMBSTONE : 0);
    if (write.version == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a value");
    status = write_one(shard, &write, delete);
    if (!write.installed)
        torci_version_destroy(shard, write.version);
    if (replaced != NULL)
        *replaced = status == TORC_OK && write.was_live;
    torci_reclaim_step(shard, STEP_BUDGET);
    return status;
}

enum torc_status
torc_mvcc_put(struct torc_mvcc *store, struct torc_slice key, struct torc_slice value, bool *replaced)
{
    return autocommit(store, key, value, false, replaced);
}

enum torc_status
torc_mvcc_delete(struct torc_mvcc *store, struct torc_slice key)
{
    return autocommit(store, key, torc_slice(NULL, 0), true, NULL);
}

/* ---- What the store tells of itself ---- */

/* Relaxed throughout: figures. */
static void
add_shard(struct torc_mvcc_stats *stats, const struct torci_shard *shard, int64_t *keys)
{
    const struct torci_counters *counters = &shard->counters;

    *keys += torci_load(&counters->keys, memory_order_relaxed);
    stats->versions_created += torci_load(&counters->versions_created, memory_order_relaxed);
    stats->versions_freed += torci_load(&counters->versions_freed, memory_order_relaxed);
    stats->commits += torci_load(&counters->commits, memory_order_relaxed);
    stats->conflicts += torci_load(&counters->conflicts, memory_order_relaxed);
    stats->aborts += torci_load(&counters->aborts, memory_order_relaxed);
    stats->wounds += torci_load(&counters->wounds, memory_order_relaxed);
    stats->retired_bytes += torci_limbo_bytes(shard->limbo);
}

enum torc_status
torc_mvcc_stats(struct torc_mvcc *store, struct torc_mvcc_stats *stats)
{
    uint32_t bound = torci_thread_index_bound();
    struct torci_view view;
    int64_t keys = 0;

    if (store == NULL || stats == NULL)
        return torci_fail(TORC_INVALID, "the store or the place for the figures is NULL");
    memset(stats, 0, sizeof *stats);
    for (uint32_t index = 0; index < bound; index++) {
        struct torci_shard *shard = torci_shard_at(store, index);

        if (shard != NULL)
            add_shard(stats, shard, &keys);
    }
    stats->keys = keys > 0 ? (uint64_t)keys : 0;
    stats->memory_bytes = torci_heap_bytes(&store->heap) + sizeof *store;
    stats->clock = torci_clock_now(&store->clock);
    torci_view_refresh(&view, store);
    stats->watermark = view.watermark;
    for (struct torc_txn *txn = torci_load(&store->transactions, memory_order_seq_cst); txn != NULL; /* snapshot.h A2 */
         txn = txn->slot.next_all)
        stats->open_transactions += torci_load(&txn->slot.announced, memory_order_seq_cst) != 0; /* snapshot.h A1 */
    return TORC_OK;
}

static int
compare_infos(const void *a, const void *b)
{
    const struct torc_snapshot_info *left = a;
    const struct torc_snapshot_info *right = b;

    return (left->snapshot > right->snapshot) - (left->snapshot < right->snapshot);
}

/* The snapshots that a walk attributes versions to. */
struct pinning {
    struct torc_mvcc *store;
    struct torc_snapshot_info *infos;
    size_t count;
};

/* Attribute each superseded version of `record` to the oldest snapshot that sees it. */
static void
visit_pinned(void *context, struct torci_epoch_guard guard, struct torci_record *record)
{
    struct pinning *pinning = context;
    struct torci_clock *clock = &pinning->store->clock;
    struct torci_version *newer = torci_record_newest(record, clock);
    struct torci_version *version;

    (void)guard;
    for (; newer != NULL; newer = version) {
        uint64_t newer_stamp = torci_version_verdict(newer, clock).stamp;
        uint64_t stamp;
        size_t i = 0;

        version = torci_load(&newer->older, memory_order_acquire); /* version.h A4 */
        if (version == NULL)
            return;
        stamp = torci_version_verdict(version, clock).stamp;
        while (i < pinning->count && pinning->infos[i].snapshot < stamp)
            i++;
        if (i < pinning->count && pinning->infos[i].snapshot < newer_stamp)
            pinning->infos[i].bytes_pinned += torci_version_bytes(version->size);
    }
}

/* The snapshot announced in a slot, or 0. One that is just being taken counts as the least it can become. */
static uint64_t
announced_snapshot(const struct torci_slot *slot)
{
    uint64_t stamp = torci_load(&slot->announced, memory_order_seq_cst) >> 1; /* snapshot.h A1 */

    return stamp + stamp % 2;
}

enum torc_status
torc_mvcc_snapshots(struct torc_mvcc *store, bool measure_pinned, struct torc_snapshot_info *infos, size_t capacity,
                    size_t *count)
{
    struct pinning pinning = {store, infos, 0};
    uint64_t now;
    size_t open = 0;

    if (count == NULL)
        return torci_fail(TORC_INVALID, "the place for the count is NULL");
    *count = 0;
    if (store == NULL || (infos == NULL && capacity > 0))
        return torci_fail(TORC_INVALID, "the store or the place for the list is NULL");
    now = torci_now_coarse_ns();
    for (struct torc_txn *txn = torci_load(&store->transactions, memory_order_seq_cst); txn != NULL; /* snapshot.h A2 */
         txn = txn->slot.next_all) {
        uint64_t snapshot = announced_snapshot(&txn->slot);
        struct torc_snapshot_info info = {.snapshot = snapshot};
        uint64_t began = torci_load(&txn->slot.began_ns, memory_order_relaxed);    /* Relaxed: a figure. */
        uint32_t traits = torci_load(&txn->slot.traits, memory_order_relaxed);     /* Relaxed: a figure. */

        if (snapshot == 0)
            continue;
        open++;
        info.age_ns = now > began ? now - began : 0;
        info.read_only = (traits & TORCI_SLOT_READ_ONLY) != 0;
        info.serializable = (traits & TORCI_SLOT_SERIALIZABLE) != 0;
        if (pinning.count < capacity) {
            infos[pinning.count++] = info;
        } else if (capacity > 0) {
            /* Keep the oldest ones: the newest of those kept gives way. */
            size_t newest = 0;

            for (size_t i = 1; i < capacity; i++)
                newest = infos[i].snapshot > infos[newest].snapshot ? i : newest;
            if (infos[newest].snapshot > snapshot)
                infos[newest] = info;
        }
    }
    *count = open;
    if (pinning.count > 0)
        qsort(infos, pinning.count, sizeof *infos, compare_infos);
    return measure_pinned && pinning.count > 0 ? torci_walk(store, visit_pinned, &pinning) : TORC_OK;
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
        torci_thread_release_adopted(index);
    }
    return achieved;
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
        achieved = torci_reclaim_sweep(shard);
        status = torci_reclaim_walk(shard);
        if (status != TORC_OK)
            return status;
        achieved |= sweep_orphans(store);
        torci_limbo_flush(shard->limbo);
        torci_epoch_barrier();
        achieved |= torci_limbo_drain(shard->limbo) > 0;
        achieved |= torci_reclaim_relieve(store) > 0;
    }
    return TORC_OK;
}

static void
write_metrics(struct torci_metrics *metrics, const struct torc_mvcc_stats *stats, const struct torci_index_stats *index)
{
    torci_metrics_gauge(metrics, "torc_mvcc_keys", "Keys with a value.", NULL, NULL, stats->keys);
    torci_metrics_gauge(metrics, "torc_mvcc_memory_bytes", "Memory the store holds.", NULL, NULL, stats->memory_bytes);
    torci_metrics_gauge(metrics, "torc_mvcc_retired_bytes", "Memory waiting for a grace period.", NULL, NULL,
                        stats->retired_bytes);
    torci_metrics_counter(metrics, "torc_mvcc_versions_created_total", "Versions made.", NULL, NULL,
                          stats->versions_created);
    torci_metrics_counter(metrics, "torc_mvcc_versions_freed_total", "Versions freed.", NULL, NULL,
                          stats->versions_freed);
    torci_metrics_counter(metrics, "torc_mvcc_commits_total", "Commits that wrote.", NULL, NULL, stats->commits);
    torci_metrics_counter(metrics, "torc_mvcc_conflicts_total", "Commits refused.", NULL, NULL, stats->conflicts);
    torci_metrics_counter(metrics, "torc_mvcc_aborts_total", "Transactions aborted by their user.", NULL, NULL,
                          stats->aborts);
    torci_metrics_counter(metrics, "torc_mvcc_wounds_total", "Transactions aborted by another.", NULL, NULL,
                          stats->wounds);
    torci_metrics_gauge(metrics, "torc_mvcc_open_transactions", "Transactions open.", NULL, NULL,
                        stats->open_transactions);
    torci_metrics_gauge(metrics, "torc_mvcc_clock", "Newest stamp.", NULL, NULL, stats->clock);
    torci_metrics_gauge(metrics, "torc_mvcc_watermark", "No open snapshot is older.", NULL, NULL, stats->watermark);
    torci_metrics_gauge(metrics, "torc_mvcc_index_buckets", "Buckets of the hash index.", NULL, NULL, index->buckets);
    torci_metrics_gauge(metrics, "torc_mvcc_index_leaves", "Leaves of the ordered index.", NULL, NULL, index->leaves);
    torci_metrics_gauge(metrics, "torc_mvcc_index_levels", "Levels of the ordered index.", NULL, NULL,
                        index->tree_levels);
}

enum torc_status
torc_mvcc_metrics(struct torc_mvcc *store, char *buffer, size_t capacity, size_t *size)
{
    struct torci_index_stats index;
    struct torci_metrics metrics;
    struct torc_mvcc_stats stats;
    enum torc_status status;

    if (size == NULL)
        return torci_fail(TORC_INVALID, "the place for the size is NULL");
    *size = 0;
    if (buffer == NULL && capacity > 0)
        return torci_fail(TORC_INVALID, "the buffer is NULL");
    status = torc_mvcc_stats(store, &stats);
    if (status != TORC_OK)
        return status;
    torci_index_stats(store->index, &index);
    torci_metrics_begin(&metrics, buffer, capacity);
    write_metrics(&metrics, &stats, &index);
    *size = torci_metrics_finish(&metrics);
    return *size < capacity ? TORC_OK
                            : torci_fail(TORC_TOO_LARGE, "%zu bytes of text do not fit into %zu", *size, capacity);
}

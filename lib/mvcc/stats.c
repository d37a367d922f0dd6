/* SPDX-License-Identifier: MIT */
/* mvcc/stats: what a store tells of itself: figures, open snapshots, metrics. The contract: torc/mvcc.h. */
#include "base/metrics.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/keyspace.h"
#include "mvcc/named.h"
#include "mvcc/reclaim.h"
#include "mvcc/snapshot.h"
#include "mvcc/store.h"
#include "mvcc/txn.h"

#include <stdlib.h>

/* Relaxed throughout: figures. */
static void
add_shard(struct torc_mvcc_stats *stats, const struct torci_shard *shard)
{
    const struct torci_counters *counters = &shard->counters;

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

    if (store == NULL || stats == NULL)
        return torci_fail(TORC_INVALID, "the store or the place for the figures is NULL");
    memset(stats, 0, sizeof *stats);
    for (uint32_t index = 0; index < bound; index++) {
        struct torci_shard *shard = torci_shard_at(store, index);

        if (shard != NULL)
            add_shard(stats, shard);
    }
    stats->retired_bytes += torci_load(&store->chunks_retired, memory_order_relaxed); /* A figure. */
    stats->keys = torci_keyspaces_keys(store);
    stats->memory_bytes = torci_heap_bytes(&store->heap) + sizeof *store;
    stats->clock = torci_clock_now(&store->clock);
    torci_view_refresh(&view, store);
    stats->watermark = view.watermark;
    for (struct torc_txn *txn = torci_load(&store->transactions, memory_order_seq_cst); txn != NULL; /* snapshot.h A2 */
         txn = txn->slot.next_all)
        stats->open_transactions +=
            torci_load(&txn->slot.announced, memory_order_seq_cst) != 0 && /* snapshot.h A1 */
            (torci_load(&txn->slot.traits, memory_order_relaxed) & TORCI_SLOT_NAMED) == 0; /* Relaxed: a figure. */
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
    uint64_t stamp = torci_announced_stamp(torci_load(&slot->announced, memory_order_seq_cst)); /* snapshot.h A1 */

    return stamp + stamp % 2;
}

/* The name of the snapshot that `txn` holds. */
static void
copy_name(struct torc_mvcc *store, const struct torc_txn *txn, char *name)
{
    static const char of_the_store[] = "(durability)";
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_named_list *list = torci_load(&store->named, memory_order_acquire); /* named.h A1 */

    memcpy(name, of_the_store, sizeof of_the_store);
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        if (list->entries[i]->holder == txn) {
            memset(name, 0, sizeof of_the_store);
            memcpy(name, list->entries[i]->name, list->entries[i]->name_size);
        }
    }
    torci_epoch_exit(guard);
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
        if ((traits & TORCI_SLOT_NAMED) != 0)
            copy_name(store, txn, info.name);
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
    return measure_pinned && pinning.count > 0 ? torci_walk_all(store, visit_pinned, &pinning) : TORC_OK;
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

static void
write_durability(struct torci_metrics *metrics, const struct torc_durability_stats *stats)
{
    torci_metrics_gauge(metrics, "torc_mvcc_durable", "All commits up to this stamp are durable.", NULL, NULL,
                        stats->durable);
    torci_metrics_gauge(metrics, "torc_mvcc_journal_bytes", "Journaled since the last checkpoint.", NULL, NULL,
                        stats->journal_bytes);
    torci_metrics_gauge(metrics, "torc_mvcc_journal_waiting_bytes", "Committed and not written yet.", NULL, NULL,
                        stats->waiting_bytes);
    torci_metrics_gauge(metrics, "torc_mvcc_journal_failed", "1: the journal has failed, writes are refused.", NULL,
                        NULL, stats->failed != TORC_OK);
    torci_metrics_counter(metrics, "torc_mvcc_journal_flushes_total", "Flushes.", NULL, NULL, stats->flushes);
    torci_metrics_counter(metrics, "torc_mvcc_journal_commits_total", "Commits flushed.", NULL, NULL,
                          stats->flushed_commits);
    torci_metrics_counter(metrics, "torc_mvcc_journal_written_bytes_total", "Bytes of commits flushed.", NULL, NULL,
                          stats->flushed_bytes);
    torci_metrics_counter(metrics, "torc_mvcc_journal_flush_nanoseconds_total", "Time that flushes took.", NULL, NULL,
                          stats->flush_ns);
    torci_metrics_counter(metrics, "torc_mvcc_journal_waits_total", "Writers that waited for the disk.", NULL, NULL,
                          stats->waits);
    torci_metrics_counter(metrics, "torc_mvcc_checkpoints_total", "Checkpoints written.", NULL, NULL,
                          stats->checkpoints);
    torci_metrics_gauge(metrics, "torc_mvcc_checkpoint_failed", "1: the last checkpoint failed.", NULL, NULL,
                        stats->checkpoint_status != TORC_OK);
}

enum torc_status
torc_mvcc_metrics(struct torc_mvcc *store, char *buffer, size_t capacity, size_t *size)
{
    struct torci_index_stats index;
    struct torc_durability_stats durability;
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
    torci_keyspaces_index_stats(store, &index);
    torci_metrics_begin(&metrics, buffer, capacity);
    write_metrics(&metrics, &stats, &index);
    if (store->durable != NULL && torc_mvcc_durability(store, &durability) == TORC_OK)
        write_durability(&metrics, &durability);
    *size = torci_metrics_finish(&metrics);
    return *size < capacity ? TORC_OK
                            : torci_fail(TORC_TOO_LARGE, "%zu bytes of text do not fit into %zu", *size, capacity);
}

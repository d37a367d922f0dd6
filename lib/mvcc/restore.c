/* SPDX-License-Identifier: MIT */
/* mvcc/restore: filling a store from its files. Invariants and ordering: restore.h. */
#include "mvcc/restore.h"

#include "base/assert.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/expiry.h"
#include "mvcc/history.h"
#include "mvcc/install.h"
#include "mvcc/keyspace.h"
#include "mvcc/merge.h"
#include "mvcc/reclaim.h"
#include "mvcc/snapshot.h"

enum {
#if defined(TORC_TINY)
    TOGETHER = 8,
    RETIRED_MAX = 16 * 1024,
#else
    TOGETHER = 64,                      /* Restored in one section: so many misses overlap, and fill a leaf or two. */
    RETIRED_MAX = 16 * 1024 * 1024,     /* Of replaced versions, per thread: then their grace period is waited for. */
#endif
};

/* What is restored together. */
struct chunk {
    struct torci_shard *shard;
    struct torc_keyspace *keyspace;
    const struct torci_restored *what;
    size_t count;
    size_t bytes;                               /* What they take, about. */
    int64_t keys;                               /* So many more keys have a value. */
    size_t fresh_count;
    struct torci_record *fresh[TOGETHER];       /* Not in the ordered index yet. */
    uint64_t orders[TOGETHER];
};

static enum torc_status
no_memory(void)
{
    return torci_fail(TORC_NO_MEMORY, "no memory to restore a key");
}

/* ---- Memory ---- */

/* Free all that can be freed now. */
static void
give_back(struct torci_shard *shard)
{
    torci_limbo_flush(shard->limbo);
    torci_reclaimer_barrier(shard->store->reclaimer);
    torci_reclaim_relieve(shard->store);
}

static bool
fits(const struct torci_shard *shard, size_t bytes)
{
    return !torci_heap_full(&shard->store->heap, bytes) || torci_object_has_room(&shard->slab, bytes);
}

static enum torc_status
admit(struct torci_shard *shard, size_t bytes)
{
    if (torci_limbo_bytes(shard->limbo) > RETIRED_MAX)
        give_back(shard);
    if (fits(shard, bytes))
        return TORC_OK;
    give_back(shard);
    if (torci_slab_trim(&shard->store->objects) > 0)
        torci_reclaimer_barrier(shard->store->reclaimer);
    return fits(shard, bytes) ? TORC_OK : torci_fail(TORC_BUSY, "memory_limit_bytes does not hold what is restored");
}

static bool
reserve(struct torci_shard *shard, size_t retires)
{
    return torci_limbo_room(shard->limbo) >= retires || torci_limbo_reserve(shard->limbo, retires) == TORC_OK;
}

/* ---- One key ---- */

static struct torci_version *
make_version(struct torci_shard *shard, const struct torci_restored *what)
{
    struct torci_version *version =
        what->deleted ? torci_version_create(shard, torc_slice(NULL, 0), UINT64_MAX, TORCI_VERSION_TOMBSTONE)
                      : torci_version_create(shard, what->value, what->expires, 0);

    if (version == NULL)
        return NULL;
    torci_init(&version->older, NULL);
    torci_init(&version->stamp, torci_stamp_committed(what->stamp));
    return version;
}

/* The stamp of a head: it is committed (I1). */
static uint64_t
stamp_of(const struct torci_version *head)
{
    uint64_t stamp = torci_load(&head->stamp, memory_order_relaxed); /* Relaxed: immutable after R1. */

    torc_assert(torci_stamp_tag(stamp) == TORCI_STAMP_COMMITTED);
    return stamp >> 2;
}

/* `version` has become the head of `record`, in place of `before` (NULL: none). */
static void
settle(struct chunk *chunk, struct torci_epoch_guard guard, struct torci_record *record,
       struct torci_version *version, const struct torci_version *before)
{
    struct torci_write write = {.keyspace = chunk->keyspace,
                                .record = record,
                                .version = version,
                                .was_due = before == NULL ? UINT64_MAX : torci_version_expires(before)};

    chunk->keys += (torci_version_live(version) ? 1 : 0) - (torci_version_live(before) ? 1 : 0);
    torci_expiry_note(chunk->shard, guard, &write);
}

/* Put a version over the head, if that is older. `version` may be made already, or NULL; it is consumed. */
static enum torc_status
supersede(struct chunk *chunk, struct torci_epoch_guard guard, struct torci_record *record,
          const struct torci_restored *what, struct torci_version *version)
{
    struct torci_version *head = torci_load(&record->head, memory_order_seq_cst); /* version.h A1 */

    torc_assert(head != NULL && head != torci_frozen());
    while (stamp_of(head) < what->stamp) {
        if (version == NULL)
            version = make_version(chunk->shard, what);
        if (version == NULL)
            return no_memory();
        torci_race_window();
        /* R1. Failure: another thread restored the key; what it put there is looked at (version.h A1). */
        if (torci_cas(&record->head, &head, version, memory_order_seq_cst, memory_order_seq_cst)) {
            settle(chunk, guard, record, version, head);
            torci_limbo_add(chunk->shard->limbo, head, torci_version_bytes(head->size), TORCI_RETIRED_VERSION);
            return TORC_OK;
        }
    }
    if (version != NULL)
        torci_version_destroy(chunk->shard, version);
    return TORC_OK;
}

/* Publish a record of our own, or go over what another thread has put there meanwhile. */
static enum torc_status
publish(struct chunk *chunk, struct torci_epoch_guard guard, const struct torci_restored *what, uint64_t order)
{
    struct torci_shard *shard = chunk->shard;
    struct torci_version *version = make_version(shard, what);
    struct torci_record *record =
        version == NULL ? NULL : torci_record_create(shard, chunk->keyspace, what->key, order);
    struct torci_record *existing = NULL;
    enum torc_status status;

    if (record == NULL) {
        if (version != NULL)
            torci_version_destroy(shard, version);
        return no_memory();
    }
    torci_init(&record->head, version);
    status = torci_index_insert(chunk->keyspace->index, guard, shard->limbo, record, &existing); /* R1 */
    if (status == TORC_OK) {
        chunk->fresh[chunk->fresh_count++] = record;
        settle(chunk, guard, record, version, NULL);
        return TORC_OK;
    }
    torci_record_destroy(shard->store, record);
    if (status == TORC_EXISTS)
        return supersede(chunk, guard, existing, what, version);
    torci_version_destroy(shard, version);
    return no_memory();
}

static enum torc_status
restore_one(struct chunk *chunk, struct torci_epoch_guard guard, const struct torci_restored *what, uint64_t order)
{
    struct torci_record *record;

    torc_assert(what->stamp % 2 == 1 && what->key.size > 0 && what->key.size <= TORC_KEY_SIZE_MAX);
    if (!reserve(chunk->shard, TORCI_INDEX_RETIRES_MAX + 1))
        return no_memory();
    record = torci_index_find(chunk->keyspace->index, guard, what->key, order);
    return record == NULL ? publish(chunk, guard, what, order) : supersede(chunk, guard, record, what, NULL);
}

/* ---- Many ---- */

/* Put what is fresh into the ordered index. */
static enum torc_status
order_fresh(struct chunk *chunk, struct torci_epoch_guard guard)
{
    struct torci_index *index = chunk->keyspace->index;
    struct torci_limbo *limbo = chunk->shard->limbo;
    enum torc_status status = TORC_OK;
    bool ascending = true;

    for (size_t i = 1; i < chunk->fresh_count && ascending; i++)
        ascending = torci_key_compare(torci_record_key(chunk->fresh[i - 1]), torci_record_key(chunk->fresh[i])) < 0;
    if (ascending) {
        if (!reserve(chunk->shard, 2 * TORCI_INDEX_RETIRES_MAX))
            return no_memory();
        status = torci_index_order_many(index, guard, limbo, chunk->fresh, chunk->fresh_count);
        return status == TORC_OK ? TORC_OK : no_memory();
    }
    for (size_t i = 0; i < chunk->fresh_count && status == TORC_OK; i++) {
        if (!reserve(chunk->shard, TORCI_INDEX_RETIRES_MAX))
            return no_memory();
        status = torci_index_order(index, guard, limbo, chunk->fresh[i]);
    }
    return status == TORC_OK ? TORC_OK : no_memory();
}

/* One section. */
static enum torc_status
restore_chunk(struct chunk *chunk)
{
    struct torci_index *index = chunk->keyspace->index;
    struct torci_epoch_guard guard = torci_epoch_enter();
    enum torc_status status = TORC_OK;
    enum torc_status ordered;

    chunk->keys = 0;
    chunk->fresh_count = 0;
    for (size_t i = 0; i < chunk->count; i++)
        torci_index_prefetch(index, chunk->orders[i]);
    for (size_t i = 0; i < chunk->count; i++)
        torci_index_prefetch_record(index, chunk->orders[i]);
    for (size_t i = 0; i < chunk->count && status == TORC_OK; i++)
        status = restore_one(chunk, guard, &chunk->what[i], chunk->orders[i]);
    ordered = order_fresh(chunk, guard);
    torci_epoch_exit(guard);
    torci_keyspace_count(chunk->keyspace, chunk->keys);
    return status == TORC_OK ? ordered : status;
}

static void
fill_chunk(struct chunk *chunk, const struct torci_restored *what, size_t count)
{
    chunk->what = what;
    chunk->count = count;
    chunk->bytes = 0;
    for (size_t i = 0; i < chunk->count; i++) {
        chunk->orders[i] = torci_key_order(chunk->shard->store, what[i].key);
        chunk->bytes += sizeof(struct torci_record) + what[i].key.size +
                        torci_version_bytes((uint32_t)what[i].value.size);
    }
}

enum torc_status
torci_restore_many(struct torci_shard *shard, struct torc_keyspace *keyspace, const struct torci_restored *what,
                   size_t count)
{
    struct chunk chunk = {.shard = shard, .keyspace = keyspace};
    enum torc_status status = TORC_OK;

    torc_assert(keyspace->store == shard->store && torci_keyspace_usable(keyspace));
    while (count > 0 && status == TORC_OK) {
        fill_chunk(&chunk, what, count < TOGETHER ? count : TOGETHER);
        /* Close to the limit, one by one: each may find a place in memory that the store holds already. */
        if (chunk.count > 1 && !fits(shard, chunk.bytes))
            fill_chunk(&chunk, what, 1);
        status = admit(shard, chunk.bytes);
        if (status == TORC_OK)
            status = restore_chunk(&chunk);
        what += chunk.count;
        count -= chunk.count;
    }
    return status;
}

enum torc_status
torci_restore(struct torci_shard *shard, struct torc_keyspace *keyspace, const struct torci_restored *what)
{
    return torci_restore_many(shard, keyspace, what, 1);
}

/* ---- The end ---- */

/* Whether the keyspace has records without a value: all of them are tombstones. */
static bool
has_tombstones(const struct torc_keyspace *keyspace)
{
    struct torci_index_stats stats;

    torci_index_stats(keyspace->index, &stats);
    return stats.records != torc_keyspace_keys(keyspace);
}

/* Take the tombstones out of all keyspaces that have any. */
static enum torc_status
bury(struct torci_shard *shard, struct torc_keyspace *const *keyspaces, size_t count)
{
    enum torc_status status = TORC_OK;
    bool found = false;

    for (size_t i = 0; i < count && status == TORC_OK; i++) {
        if (!has_tombstones(keyspaces[i]))
            continue;
        found = true;
        status = torci_walk(keyspaces[i], torci_reclaim_visit, shard);
    }
    if (found)
        give_back(shard);
    return status;
}

enum torc_status
torci_restore_end(struct torci_shard *shard, uint64_t cut)
{
    struct torc_mvcc *store = shard->store;
    struct torc_keyspace **keyspaces;
    enum torc_status status;
    size_t room;
    size_t count;

    torc_assert(cut % 2 == 0 && cut < TORCI_COMMIT_STAMP_MAX);
    torci_clock_init(&store->clock, cut + 2);
    torci_history_init(store, torci_now_coarse_ns());
    torci_view_refresh(&shard->view, store);
    status = torc_mvcc_keyspaces(store, NULL, 0, &room);
    if (status != TORC_OK)
        return status;
    keyspaces = torci_alloc(&store->heap, room * sizeof(struct torc_keyspace *));
    if (keyspaces == NULL)
        return no_memory();
    status = torc_mvcc_keyspaces(store, keyspaces, room, &count);
    if (status == TORC_OK)
        status = bury(shard, keyspaces, count < room ? count : room);
    torci_free(&store->heap, keyspaces, room * sizeof(struct torc_keyspace *));
    return status;
}

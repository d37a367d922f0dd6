/* SPDX-License-Identifier: MIT */
/* mvcc/txn: transactions: begin, read, end. Shape and invariants: txn.h. */
#include "mvcc/txn.h"

#include "base/assert.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/install.h"
#include "mvcc/journal.h"
#include "mvcc/named.h"
#include "mvcc/reclaim.h"

enum {
    ARENA_FIRST_BYTES = 1024,
    GET_TOGETHER = 16,      /* As many misses as a core overlaps, or so. */
};

void
torci_last_commit_note(uint64_t stamp)
{
    torci_self()->last_commit = stamp;
}

/* ---- Checks ---- */

enum torc_status
torci_check_key(struct torc_slice key)
{
    if (key.size == 0 || key.data == NULL)
        return torci_fail(TORC_INVALID, "a key needs at least one byte");
    if (key.size > TORC_KEY_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a key of %zu bytes exceeds %u", key.size, TORC_KEY_SIZE_MAX);
    return TORC_OK;
}

enum torc_status
torci_check_value(struct torc_slice value)
{
    if (value.data == NULL && value.size > 0)
        return torci_fail(TORC_INVALID, "a value of %zu bytes without data", value.size);
    if (value.size > TORC_VALUE_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a value of %zu bytes exceeds %u", value.size, TORC_VALUE_SIZE_MAX);
    return TORC_OK;
}

enum torc_status
torci_check_bound(struct torc_slice bound)
{
    if (bound.data == NULL && bound.size > 0)
        return torci_fail(TORC_INVALID, "a bound of %zu bytes without data", bound.size);
    if (bound.size > TORC_KEY_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a bound of %zu bytes exceeds %u", bound.size, TORC_KEY_SIZE_MAX);
    return TORC_OK;
}

enum torc_status
torci_demand_expect(struct torci_demand *demand, const struct torc_slice *expected)
{
    *demand = (struct torci_demand){TORCI_DEMAND_ABSENT, {NULL, 0}};
    if (expected == NULL)
        return TORC_OK;
    *demand = (struct torci_demand){TORCI_DEMAND_EQUAL, *expected};
    return torci_check_value(*expected);
}

enum torc_status
torci_txn_enter_any(struct torc_txn *txn)
{
    if (txn == NULL)
        return torci_fail(TORC_INVALID, "the transaction is NULL");
    if (txn->phase != TORCI_TXN_ACTIVE)
        return torci_fail(TORC_FINISHED, "the transaction has ended");
#if defined(TORC_ASSERTIONS)
    /* Relaxed: a detector of misuse, which must not order what the misuse left unordered. */
    if (torci_fetch_add(&txn->users, 1u, memory_order_relaxed) > 0) {
        torci_fetch_sub(&txn->users, 1u, memory_order_relaxed);
        return torci_fail(TORC_INVALID, "the transaction is used by two threads at once");
    }
#endif
    return TORC_OK;
}

void
torci_txn_leave(struct torc_txn *txn)
{
#if defined(TORC_ASSERTIONS)
    torci_fetch_sub(&txn->users, 1u, memory_order_relaxed); /* Relaxed: as above. */
#else
    (void)txn;
#endif
}

enum torc_status
torci_txn_check_age(const struct torc_txn *txn)
{
    if (txn->expirable && torci_snapshot_expired(&txn->slot))
        return torci_fail(TORC_EXPIRED, "the transaction is older than max_snapshot_age_ns");
    return TORC_OK;
}

enum torc_status
torci_txn_enter(struct torc_txn *txn)
{
    enum torc_status status = torci_txn_enter_any(txn);

    if (status != TORC_OK)
        return status;
    status = torci_txn_check_age(txn);
    if (status != TORC_OK)
        torci_txn_leave(txn);
    return status;
}

enum torc_status
torci_txn_enter_key(struct torc_txn *txn, struct torc_slice key)
{
    enum torc_status status = torci_txn_enter(txn);

    if (status != TORC_OK)
        return status;
    status = torci_check_key(key);
    if (status == TORC_OK && !torci_keyspace_usable(txn->keyspace))
        status = torci_fail(TORC_NOT_FOUND, "the keyspace was dropped");
    if (status != TORC_OK)
        torci_txn_leave(txn);
    return status;
}

enum torc_status
torci_txn_enter_write(struct torc_txn *txn, struct torc_slice key, struct torc_slice value)
{
    enum torc_status status = torci_txn_enter_key(txn, key);

    if (status != TORC_OK)
        return status;
    status = torci_check_value(value);
    if (status == TORC_OK && txn->read_only)
        status = torci_fail(TORC_READ_ONLY, "the transaction was begun read-only");
    if (status != TORC_OK)
        torci_txn_leave(txn);
    return status;
}

/* ---- Making, beginning, ending ---- */

/* A finished struct: the shard's own, one that overflowed from another's, or a new one. NULL: no memory. */
static struct torc_txn *
obtain(struct torc_mvcc *store, struct torci_shard *shard)
{
    struct torc_txn *txn = shard->spares;

    if (txn == NULL) {
        shard->spares = txn = torci_spares_take(store);
        for (struct torc_txn *spare = txn; spare != NULL; spare = spare->slot.next_spare)
            shard->spares_count++;
    }
    if (txn != NULL) {
        shard->spares = txn->slot.next_spare;
        shard->spares_count--;
        return txn;
    }
    txn = torci_alloc_line_zeroed(&store->heap, sizeof *txn);
    if (txn == NULL)
        return NULL;
    txn->store = store;
    torci_slot_publish(&txn->slot, store);
    return txn;
}

static void
give_back(struct torc_txn *txn, struct torci_shard *shard)
{
    if (shard == NULL || shard->spares_count >= TORCI_SPARES_MAX) {
        torci_spares_push(txn->store, &txn->slot, &txn->slot);
        return;
    }
    txn->slot.next_spare = shard->spares;
    shard->spares = txn;
    shard->spares_count++;
}

/* A transaction that is active but has no snapshot yet. */
static void
prepare(struct torc_txn *txn, const struct torci_shard *shard, const struct torc_txn_options *options, bool lasting)
{
    struct torc_mvcc *store = txn->store;

    torc_assert(txn->phase == TORCI_TXN_FINISHED && txn->writes.count == 0 && txn->named == NULL);
    txn->phase = TORCI_TXN_ACTIVE;
    txn->isolation = options->isolation;
    txn->read_only = options->read_only;
    txn->attempts = shard->lost_attempts;
    txn->keyspace = store->main;
    txn->moment.store = store;
    txn->moment.ms = 0;
    txn->expirable =
        store->options.max_snapshot_age_ns > 0 && !lasting && options->snapshot.size == 0 &&
        !(options->durable && store->options.durable_snapshots);
    /* Relaxed: for statistics, and for expiry, which sees them no later than the announcement. */
    torci_store(&txn->slot.began_ns, torci_now_coarse_ns(), memory_order_relaxed);
    torci_store(&txn->slot.traits,
                (options->read_only ? TORCI_SLOT_READ_ONLY : 0u) |
                    (options->isolation == TORC_SERIALIZABLE ? TORCI_SLOT_SERIALIZABLE : 0u) |
                    (!txn->expirable ? TORCI_SLOT_LASTING : 0u) | (lasting ? TORCI_SLOT_NAMED : 0u),
                memory_order_relaxed);
}

/* Read the store as of a stamp: what the stamp's phase left. */
static enum torc_status
begin_at(struct torc_txn *txn, uint64_t at)
{
    struct torc_mvcc *store = txn->store;
    uint64_t snapshot = at + at % 2;

    if (snapshot > torci_clock_read_stamp(&store->clock))
        return torci_fail(TORC_INVALID, "the stamp is not past");
    if (!torci_snapshot_begin_kept(&txn->slot, store, snapshot))
        return torci_fail(TORC_EXPIRED, "what the stamp saw is not kept any more");
    return TORC_OK;
}

static enum torc_status
begin_named(struct torc_txn *txn, struct torc_slice name)
{
    txn->named = torci_named_acquire(txn->store, name);
    if (txn->named == NULL)
        return TORC_NOT_FOUND;
    torci_snapshot_begin_past(&txn->slot, txn->named->snapshot); /* named.h I1 protects it; this is for the figures. */
    return TORC_OK;
}

/* The same for what is durable. */
static enum torc_status
begin_durable(struct torc_txn *txn)
{
    if (!torci_journaled(txn->store))
        return torci_fail(TORC_UNSUPPORTED, "the store has no journal");
    if (!txn->store->options.durable_snapshots)
        return torci_journal_wait(txn->store->journal, torci_snapshot_begin(&txn->slot, &txn->store->clock));
    txn->named = torci_named_acquire_at(&txn->store->journal->snapshot);
    torci_snapshot_begin_past(&txn->slot, txn->named->snapshot); /* As above. */
    return TORC_OK;
}

static enum torc_status
take_snapshot(struct torc_txn *txn, const struct torc_txn_options *options)
{
    if (options->durable)
        return begin_durable(txn);
    if (options->snapshot.size > 0)
        return begin_named(txn, options->snapshot);
    if (options->at > 0)
        return begin_at(txn, options->at);
    torci_snapshot_begin(&txn->slot, &txn->store->clock);
    return TORC_OK;
}

static enum torc_status
check_options(const struct torc_txn_options *options)
{
    if (options->isolation != TORC_SNAPSHOT && options->isolation != TORC_SERIALIZABLE)
        return torci_fail(TORC_INVALID, "isolation %d is not known", (int)options->isolation);
    if ((options->snapshot.size > 0) + (options->at > 0) + options->durable > 1)
        return torci_fail(TORC_INVALID, "more than one of snapshot, at and durable is given");
    if (options->at > TORCI_COMMIT_STAMP_MAX)
        return torci_fail(TORC_INVALID, "the stamp is not past");
    return options->snapshot.size > 0 ? torci_check_name(options->snapshot) : TORC_OK;
}

/* Begin; `lasting`: as torci_txn_begin_lasting(). */
static enum torc_status
begin(struct torc_mvcc *store, const struct torc_txn_options *options, bool lasting, struct torc_txn **txn)
{
    struct torci_shard *shard = torci_shard_own(store);
    struct torc_txn *fresh = shard == NULL ? NULL : obtain(store, shard);
    enum torc_status status;

    if (fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a transaction");
    prepare(fresh, shard, options, lasting);
    status = take_snapshot(fresh, options);
    if (status == TORC_OK) {
        *txn = fresh;
    } else {
        enum torc_status entered = torci_txn_enter_any(fresh);

        torc_assert(entered == TORC_OK);
        (void)entered;
        torci_txn_finish(fresh, shard);
    }
    return status;
}

enum torc_status
torc_txn_begin(struct torc_mvcc *store, const struct torc_txn_options *options, struct torc_txn **txn)
{
    static const struct torc_txn_options defaults;
    enum torc_status status;

    if (txn == NULL)
        return torci_fail(TORC_INVALID, "the place for the transaction is NULL");
    *txn = NULL;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    if (options == NULL)
        options = &defaults;
    status = check_options(options);
    return status == TORC_OK ? begin(store, options, false, txn) : status;
}

enum torc_status
torci_txn_begin_lasting(struct torc_mvcc *store, struct torc_txn **txn)
{
    static const struct torc_txn_options options = {.read_only = true};

    return begin(store, &options, true, txn);
}

/* Free what the writes still own, and make the set empty. */
static void
drop_writes(struct torc_txn *txn, struct torci_shard *shard)
{
    for (struct torci_write *write = torci_write_set_first(&txn->writes); write != NULL;
         write = torci_write_next(write)) {
        if (!write->installed && write->version != NULL)
            torci_version_drop(txn->store, shard, write->version);
        if (write->fresh != NULL)
            torci_record_destroy(txn->store, write->fresh);
    }
    torci_savepoints_end(txn, shard);
    memset(txn->writes.heads, 0, sizeof txn->writes.heads);
    txn->writes.lanes = 0;
    txn->writes.count = 0;
    txn->version_bytes = 0;
    if (txn->arena != NULL)
        torci_arena_reset(txn->arena);
}

static void
drop_reads(struct torc_txn *txn)
{
    txn->reads.reads = NULL;
    txn->reads.ranges = NULL;
    if (txn->reads.arena != NULL)
        torci_arena_reset(txn->reads.arena);
}

void
torci_txn_end_holder(struct torc_txn *holder)
{
    enum torc_status status = torci_txn_enter_any(holder);

    torc_assert(status == TORC_OK && holder->named == NULL);
    (void)status;
    /* Relaxed: nobody but a look reads it; see prepare(). */
    torci_store(&holder->slot.traits, 0u, memory_order_relaxed);
    torci_txn_finish(holder, torci_shard_own(holder->store));
}

void
torci_txn_finish(struct torc_txn *txn, struct torci_shard *shard)
{
    struct torc_txn *holder = txn->named == NULL ? NULL : torci_named_release(txn->store, shard, txn->named);

    txn->named = NULL;
    if (torci_load(&txn->slot.announced, memory_order_relaxed) != 0) /* Relaxed: ours. */
        torci_snapshot_end(&txn->slot);
    torci_ahead_clear(txn);
    if (txn->writes.count > 0 || (txn->arena != NULL && torci_arena_used(txn->arena) > 0))
        drop_writes(txn, shard);
    if (txn->reads.arena != NULL)
        drop_reads(txn);
    if (txn->cursors != NULL)
        torci_cursors_finish(txn);
    txn->phase = TORCI_TXN_FINISHED;
    torci_txn_leave(txn);
    give_back(txn, shard);
    if (holder != NULL)
        torci_txn_end_holder(holder);
}

void
torci_txn_destroy(struct torc_txn *txn)
{
    struct torci_heap *heap = &txn->store->heap;

    torc_assert(txn->phase == TORCI_TXN_FINISHED);
    torci_cursors_destroy(txn);
    torci_arena_destroy(txn->arena);
    torci_arena_destroy(txn->reads.arena);
    torci_free_line(heap, txn, sizeof *txn);
}

void
torc_txn_abort(struct torc_txn *txn)
{
    struct torci_shard *shard;

    if (txn == NULL || torci_txn_enter_any(txn) != TORC_OK)
        return;
    shard = torci_shard_own(txn->store);
    if (shard != NULL)
        torci_count(&shard->counters.aborts, 1);
    torci_txn_finish(txn, shard);
}

uint64_t
torc_txn_snapshot(const struct torc_txn *txn)
{
    return txn == NULL ? 0 : txn->slot.snapshot;
}

uint64_t
torc_last_commit(void)
{
    return torci_self()->last_commit;
}

/* ---- Snapshots with names ---- */

enum torc_status
torc_snapshot_create(struct torc_mvcc *store, struct torc_slice name, uint64_t *stamp)
{
    struct torci_named *named;
    struct torci_shard *shard;
    enum torc_status status;

    if (stamp != NULL)
        *stamp = 0;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    status = torci_check_name(name);
    if (status == TORC_OK)
        status = torci_shard_obtain(store, &shard);
    if (status != TORC_OK)
        return status;
    named = torci_alloc_zeroed(&store->heap, sizeof *named);
    if (named == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a named snapshot");
    torci_init(&named->users, UINT64_C(1));
    named->name_size = (uint8_t)name.size;
    memcpy(named->name, name.data, name.size);
    status = torci_txn_begin_lasting(store, &named->holder);
    if (status != TORC_OK)
        goto free_named;
    named->snapshot = named->holder->slot.snapshot;
    if (stamp != NULL)
        *stamp = named->snapshot;
    status = torci_named_enter(shard, named);
    if (status != TORC_OK)
        goto end_snapshot;
    return TORC_OK;

end_snapshot:
    torci_txn_end_holder(named->holder);
    if (stamp != NULL)
        *stamp = 0;
free_named:
    torci_free(&store->heap, named, sizeof *named);
    return status;
}

enum torc_status
torc_snapshot_drop(struct torc_mvcc *store, struct torc_slice name)
{
    struct torci_named *named;
    struct torci_shard *shard;
    struct torc_txn *holder;
    enum torc_status status;

    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    status = torci_check_name(name);
    if (status == TORC_OK)
        status = torci_shard_obtain(store, &shard);
    if (status == TORC_OK)
        status = torci_named_leave(shard, name, &named);
    if (status != TORC_OK)
        return status;
    holder = torci_named_release(store, shard, named);
    if (holder != NULL)
        torci_txn_end_holder(holder);
    return TORC_OK;
}

/* ---- Reading ---- */

struct torci_arena *
torci_txn_arena(struct torc_txn *txn)
{
    if (txn->arena == NULL)
        txn->arena = torci_arena_create(&txn->store->heap, ARENA_FIRST_BYTES);
    return txn->arena;
}

enum torc_status
torci_txn_lend(struct torc_txn *txn, struct torci_version *version, struct torci_version **lent)
{
    struct torci_arena *arena;
    struct torci_version *copy;
    size_t bytes;

    *lent = version;
    if (!txn->expirable || version == NULL)
        return TORC_OK;
    bytes = torci_version_bytes(version->size);
    arena = torci_txn_arena(txn);
    copy = arena == NULL ? NULL : torci_arena_alloc(arena, bytes);
    *lent = copy;
    if (copy == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to copy what is read");
    torci_init(&copy->stamp, (uint64_t)TORCI_STAMP_PENDING);
    torci_init(&copy->older, NULL);
    copy->size = version->size;
    copy->flags = version->flags;
    memcpy(copy->bytes, version->bytes, version->size);
    return TORC_OK;
}

/* A tombstone is not protected by the snapshot as a value is: it must not be looked at outside of the section. */
enum torc_status
torci_txn_look_up(struct torc_txn *txn, struct torc_keyspace *keyspace, struct torc_slice key, uint64_t order,
                  struct torci_sight *sight)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *record = NULL;
    struct torci_version *version = NULL;
    enum torc_status status;

    if (torci_keyspace_usable(keyspace))
        record = torci_index_find(keyspace->index, guard, key, order);
    if (record != NULL)
        version = torci_record_visible(record, txn->slot.snapshot, &txn->store->clock);
    if (!torci_version_live(version)) {
        version = NULL;
        record = NULL;
    }
    sight->record = record;
    sight->version = version;
    status = torci_txn_lend(txn, version, &sight->lent);
    if (status == TORC_OK)
        status = torci_txn_check_age(txn);
    torci_epoch_exit(guard);
    return status;
}

enum torc_status
torci_txn_note_read(struct torc_txn *txn, struct torc_keyspace *keyspace, struct torci_record *record,
                    struct torci_version *version, struct torc_slice key, uint64_t order)
{
    enum torc_status status;

    if (!torci_txn_notes_reads(txn))
        return TORC_OK;
    status = torci_txn_admit(txn, sizeof(struct torci_read) + (record == NULL ? key.size : 0));
    if (status != TORC_OK)
        return status;
    return torci_read_set_note(&txn->reads, keyspace, record, version, key, order);
}

/* The version that the transaction sees, its own write first; TORC_NOT_FOUND: no value. */
static enum torc_status
find(struct torc_txn *txn, struct torc_slice key, struct torci_version **version)
{
    struct torci_write *write = torci_write_set_find(&txn->writes, txn->keyspace, key);
    struct torci_sight sight;
    enum torc_status status;
    uint64_t order;

    if (write != NULL) {
        status = torci_txn_resolve(txn, write);
        *version = write->version;
    } else {
        order = torci_key_order(txn->store, key);
        status = torci_txn_look_up(txn, txn->keyspace, key, order, &sight);
        if (status == TORC_OK)
            status = torci_txn_note_read(txn, txn->keyspace, sight.record, sight.version, key, order);
        *version = sight.lent;
    }
    if (status != TORC_OK)
        return status;
    return torci_version_shows(*version, &txn->moment) ? TORC_OK : TORC_NOT_FOUND;
}

enum torc_status
torc_txn_get(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value)
{
    struct torci_version *version;
    enum torc_status status;

    if (value == NULL)
        return torci_fail(TORC_INVALID, "the place for the value is NULL");
    *value = torc_slice(NULL, 0);
    status = torci_txn_enter_key(txn, key);
    if (status != TORC_OK)
        return status;
    status = find(txn, key, &version);
    if (status == TORC_OK)
        *value = torci_version_value(version);
    torci_txn_leave(txn);
    return status;
}

/* Bring what `count` look-ups will touch into the cache, one step of all keys after the other. */
static void
look_ahead(struct torc_txn *txn, const struct torc_slice *keys, size_t count)
{
    struct torci_epoch_guard guard;
    struct torci_index *index;
    uint64_t orders[GET_TOGETHER];

    torc_assert(count <= GET_TOGETHER);
    for (size_t i = 0; i < count; i++)
        orders[i] = torci_key_order(txn->store, keys[i]);
    guard = torci_epoch_enter();
    if (torci_keyspace_usable(txn->keyspace)) {
        index = txn->keyspace->index;
        for (size_t i = 0; i < count; i++)
            torci_index_prefetch(index, orders[i]);
        for (size_t i = 0; i < count; i++)
            torci_index_prefetch_record(index, orders[i]);
        for (size_t i = 0; i < count; i++) {
            struct torci_record *record = torci_index_find(index, guard, keys[i], orders[i]);

            if (record != NULL)
                __builtin_prefetch(torci_load(&record->head, memory_order_relaxed)); /* Relaxed: not followed. */
        }
    }
    torci_epoch_exit(guard);
}

static enum torc_status
get_together(struct torc_txn *txn, const struct torc_slice *keys, size_t count, struct torc_slice *values)
{
    enum torc_status status = TORC_OK;

    for (size_t i = 0; i < count && status == TORC_OK; i++)
        status = torci_check_key(keys[i]);
    if (status == TORC_OK && count > 1)
        look_ahead(txn, keys, count);
    for (size_t i = 0; i < count && status == TORC_OK; i++) {
        struct torci_version *version;

        status = find(txn, keys[i], &version);
        if (status == TORC_OK)
            values[i] = torci_version_value(version);
        else if (status == TORC_NOT_FOUND)
            status = TORC_OK;
    }
    return status;
}

enum torc_status
torc_txn_get_many(struct torc_txn *txn, const struct torc_slice *keys, size_t count, struct torc_slice *values)
{
    enum torc_status status;

    if ((keys == NULL || values == NULL) && count > 0)
        return torci_fail(TORC_INVALID, "the keys or the places for the values are NULL");
    for (size_t i = 0; i < count; i++)
        values[i] = torc_slice(NULL, 0);
    status = torci_txn_enter_key(txn, count > 0 ? keys[0] : torc_slice("-", 1));
    if (status != TORC_OK)
        return status;
    for (size_t done = 0; done < count && status == TORC_OK; done += GET_TOGETHER)
        status = get_together(txn, keys + done, count - done < GET_TOGETHER ? count - done : GET_TOGETHER,
                              values + done);
    for (size_t i = 0; i < count && status != TORC_OK; i++)
        values[i] = torc_slice(NULL, 0);
    torci_txn_leave(txn);
    return status;
}

enum torc_status
torc_txn_expiry(struct torc_txn *txn, struct torc_slice key, uint64_t *expires_ms)
{
    struct torci_version *version;
    enum torc_status status;

    if (expires_ms == NULL)
        return torci_fail(TORC_INVALID, "the place for the time is NULL");
    *expires_ms = TORC_NEVER;
    status = torci_txn_enter_key(txn, key);
    if (status != TORC_OK)
        return status;
    status = find(txn, key, &version);
    if (status == TORC_OK && version->flags == TORCI_VERSION_EXPIRES)
        *expires_ms = torci_version_expires(version);
    torci_txn_leave(txn);
    return status;
}

enum torc_status
torc_txn_use(struct torc_txn *txn, struct torc_keyspace *keyspace)
{
    enum torc_status status = torci_txn_enter(txn);

    if (status != TORC_OK)
        return status;
    if (keyspace == NULL)
        keyspace = txn->store->main;
    if (keyspace->store != txn->store)
        status = torci_fail(TORC_INVALID, "the keyspace is another store's");
    else if (!torci_keyspace_usable(keyspace))
        status = torci_fail(TORC_NOT_FOUND, "the keyspace was dropped");
    else
        txn->keyspace = keyspace;
    torci_txn_leave(txn);
    return status;
}

struct torc_keyspace *
torc_txn_keyspace(const struct torc_txn *txn)
{
    return txn == NULL ? NULL : txn->keyspace;
}

uint64_t
torc_txn_bytes(const struct torc_txn *txn)
{
    return txn == NULL ? 0
                       : txn->version_bytes + (txn->arena == NULL ? 0 : torci_arena_used(txn->arena)) +
                             (txn->reads.arena == NULL ? 0 : torci_arena_used(txn->reads.arena));
}

enum torc_status
torci_txn_admit(const struct torc_txn *txn, size_t more)
{
    uint64_t limit = txn->store->options.txn_limit_bytes;

    if (limit > 0 && torc_txn_bytes(txn) + more > limit)
        return torci_fail(TORC_TOO_LARGE, "txn_limit_bytes is reached");
    return TORC_OK;
}

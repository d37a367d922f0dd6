/* SPDX-License-Identifier: MIT */
/* mvcc/txn: transactions: begin, read, end. Shape and invariants: txn.h. */
#include "mvcc/txn.h"

#include "base/assert.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/install.h"
#include "mvcc/reclaim.h"

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
torci_txn_enter(struct torc_txn *txn)
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

enum torc_status
torc_txn_begin(struct torc_mvcc *store, const struct torc_txn_options *options, struct torc_txn **txn)
{
    static const struct torc_txn_options defaults;
    struct torci_shard *shard;
    struct torc_txn *fresh;

    if (txn == NULL)
        return torci_fail(TORC_INVALID, "the place for the transaction is NULL");
    *txn = NULL;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    if (options == NULL)
        options = &defaults;
    if (options->isolation != TORC_SNAPSHOT && options->isolation != TORC_SERIALIZABLE)
        return torci_fail(TORC_INVALID, "isolation %d is not known", (int)options->isolation);
    shard = torci_shard_own(store);
    fresh = shard == NULL ? NULL : obtain(store, shard);
    if (fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a transaction");

    torc_assert(fresh->phase == TORCI_TXN_FINISHED && fresh->writes.count == 0);
    fresh->phase = TORCI_TXN_ACTIVE;
    fresh->isolation = options->isolation;
    fresh->read_only = options->read_only;
    fresh->attempts = shard->lost_attempts;
    fresh->keyspace = store->main;
    fresh->moment.store = store;
    fresh->moment.ms = 0;
    torci_snapshot_begin(&fresh->slot, &store->clock);
    /* Relaxed: for statistics. */
    torci_store(&fresh->slot.began_ns, torci_now_coarse_ns(), memory_order_relaxed);
    torci_store(&fresh->slot.traits,
                (options->read_only ? TORCI_SLOT_READ_ONLY : 0u) |
                    (options->isolation == TORC_SERIALIZABLE ? TORCI_SLOT_SERIALIZABLE : 0u),
                memory_order_relaxed);
    *txn = fresh;
    return TORC_OK;
}

/* Free what the writes still own, and make the set empty. */
static void
drop_writes(struct torc_txn *txn, struct torci_shard *shard)
{
    for (struct torci_write *write = torci_write_set_first(&txn->writes); write != NULL;
         write = torci_write_next(write)) {
        if (!write->installed && write->version != NULL) {
            if (shard != NULL)
                torci_version_destroy(shard, write->version);
            else
                torci_free(&txn->store->heap, write->version, torci_version_bytes(write->version->size));
        }
        if (write->fresh != NULL)
            torci_record_destroy(txn->store, write->fresh);
    }
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
torci_txn_finish(struct torc_txn *txn, struct torci_shard *shard)
{
    if (torci_load(&txn->slot.announced, memory_order_relaxed) != 0) /* Relaxed: ours. */
        torci_snapshot_end(&txn->slot);
    if (txn->writes.count > 0)
        drop_writes(txn, shard);
    if (txn->reads.arena != NULL)
        drop_reads(txn);
    if (txn->cursors != NULL)
        torci_cursors_finish(txn);
    txn->phase = TORCI_TXN_FINISHED;
    torci_txn_leave(txn);
    give_back(txn, shard);
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

    if (txn == NULL || torci_txn_enter(txn) != TORC_OK)
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

/* ---- Reading ---- */

/* A tombstone is not protected by the snapshot as a value is: it must not be looked at outside of the section. */
struct torci_version *
torci_txn_look_up(struct torc_txn *txn, struct torc_keyspace *keyspace, struct torc_slice key, uint64_t order,
                  struct torci_record **record)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_version *version = NULL;

    *record = NULL;
    if (torci_keyspace_usable(keyspace))
        *record = torci_index_find(keyspace->index, guard, key, order);
    if (*record != NULL)
        version = torci_record_visible(*record, txn->slot.snapshot, &txn->store->clock);
    if (!torci_version_live(version)) {
        version = NULL;
        *record = NULL;
    }
    torci_epoch_exit(guard);
    return version;
}

enum torc_status
torci_txn_note_read(struct torc_txn *txn, struct torc_keyspace *keyspace, struct torci_record *record,
                    struct torci_version *version, struct torc_slice key, uint64_t order)
{
    if (!torci_txn_notes_reads(txn))
        return TORC_OK;
    return torci_read_set_note(&txn->reads, keyspace, record, version, key, order);
}

/* The version that the transaction sees, its own write first; TORC_NOT_FOUND: no value. */
static enum torc_status
find(struct torc_txn *txn, struct torc_slice key, struct torci_version **version)
{
    struct torci_write *write = torci_write_set_find(&txn->writes, txn->keyspace, key);
    struct torci_record *record;
    enum torc_status status;
    uint64_t order;

    if (write != NULL) {
        status = torci_txn_resolve(txn, write);
        *version = write->version;
    } else {
        order = torci_key_order(txn->store, key);
        *version = torci_txn_look_up(txn, txn->keyspace, key, order, &record);
        status = torci_txn_note_read(txn, txn->keyspace, record, *version, key, order);
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
    if (status == TORC_OK && (version->flags & TORCI_VERSION_EXPIRES) != 0)
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
                       : txn->version_bytes + (txn->arena == NULL ? 0 : torci_arena_bytes(txn->arena)) +
                             (txn->reads.arena == NULL ? 0 : torci_arena_bytes(txn->reads.arena));
}

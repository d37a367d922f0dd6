/* SPDX-License-Identifier: MIT */
/* mvcc/write: the writes of a transaction, collected until it commits.
 *
 *   find_for_write(): what the snapshot has, conflict at once if it is not the newest --> demand --> version
 *   --> set_version() or add_merge(): the only two places where a write changes
 *
 * A write is whole (a version of its own) or waits for merging (operands only, see merge.h). Once txn reads what it
 * wanted to merge, torci_txn_resolve() makes it whole. */
#include "base/assert.h"
#include "base/status.h"
#include "mvcc/ahead.h"
#include "mvcc/install.h"
#include "mvcc/reclaim.h"
#include "mvcc/savepoint.h"
#include "mvcc/txn.h"

static const struct torci_demand NO_DEMAND = {TORCI_DEMAND_NOTHING, {NULL, 0}};

/* What a call wants to write. */
struct intent {
    struct torc_slice key;
    struct torc_slice value;
    uint64_t expires;                     /* UINT64_MAX: never. */
    uint32_t flags;                       /* enum torci_version_flags */
    bool seen;                            /* The key was just looked at: to look once more costs little. */
    const struct torci_demand *demand;    /* Never NULL. */
};

/* What was found of a key that has no write yet. */
struct finding {
    uint64_t order;
    struct torci_record *record;      /* If the snapshot has a version that is no tombstone. */
    struct torci_version *version;    /* That one. */
    struct torci_version *lent;       /* See struct torci_sight. */
    bool exists;                      /* There is some record: a new one will hardly be needed. */
};

/* ---- Looking ---- */

/* Commit could only fail: say so now. It counts as an attempt, whose loss raises the rank of this thread's next one. */
enum torc_status
torci_txn_lost_already(struct torc_txn *txn, struct torc_slice key)
{
    struct torci_shard *shard = torci_shard_own(txn->store);

    if (shard != NULL) {
        torci_count(&shard->counters.conflicts, 1);
        shard->lost_attempts++;
    }
    torci_conflict_note(key);
    return torci_fail(TORC_CONFLICT, "another transaction wrote the key first");
}

/* Look a key up for writing: conflict at once if its newest commit is past the snapshot, unless `merging`. */
static enum torc_status
find_for_write(struct torc_txn *txn, struct torc_keyspace *keyspace, struct torc_slice key, bool merging,
               struct finding *finding)
{
    struct torci_clock *clock = &txn->store->clock;
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *record = NULL;
    struct torci_version *newest;
    enum torc_status status = TORC_OK;

    memset(finding, 0, sizeof *finding);
    finding->order = torci_key_order(txn->store, key);
    if (torci_keyspace_usable(keyspace))
        record = torci_index_find(keyspace->index, guard, key, finding->order);
    if (record != NULL) {
        finding->exists = true;
        newest = merging ? NULL : torci_record_newest(record, clock);
        if (newest != NULL &&
            torci_version_written(newest, torci_version_verdict(newest, clock).stamp) > txn->slot.snapshot) {
            status = torci_txn_lost_already(txn, key);
        } else {
            finding->version = torci_record_visible(record, txn->slot.snapshot, clock);
            if (torci_version_live(finding->version))
                finding->record = record;
            else
                finding->version = NULL;
            status = torci_txn_lend(txn, finding->version, &finding->lent);
        }
    }
    if (status == TORC_OK)
        status = torci_txn_check_age(txn);
    torci_epoch_exit(guard);
    return status;
}

/* ---- Noting ---- */

static bool
has_arena(struct torc_txn *txn)
{
    return torci_txn_arena(txn) != NULL;
}

/* A copy that lives as long as the transaction; data NULL: no memory. */
static struct torc_slice
keep(struct torc_txn *txn, struct torc_slice slice)
{
    void *copy = has_arena(txn) ? torci_arena_alloc(txn->arena, slice.size > 0 ? slice.size : 1) : NULL;

    if (copy != NULL && slice.size > 0)
        memcpy(copy, slice.data, slice.size);
    return torc_slice(copy, slice.size);
}

bool
torci_txn_keep_key(struct torc_txn *txn, struct torci_write *write)
{
    struct torc_slice copy;

    if (write->kept)
        return true;
    copy = keep(txn, write->key);
    if (copy.data == NULL)
        return false;
    write->key = copy;
    write->kept = true;
    return true;
}

/* A write for `key`, with a key slice that lives as long. NULL: no memory. */
static struct torci_write *
add_write(struct torc_txn *txn, struct torci_shard *shard, struct torc_slice key, const struct finding *finding)
{
    struct torci_record *fresh = NULL;
    struct torci_write *write;
    bool kept = false;

    if (!has_arena(txn))
        return NULL;
    if (finding->record != NULL && !txn->expirable) {
        key = torci_record_key(finding->record);
    } else if (!finding->exists) {
        fresh = torci_record_create(shard, txn->keyspace, key, finding->order);
        if (fresh == NULL)
            return NULL;
        key = torci_record_key(fresh);
    } else {
        key = keep(txn, key);
        if (key.data == NULL)
            return NULL;
        kept = true;
    }
    write = torci_write_set_add(&txn->writes, txn->arena, txn->keyspace, key);
    if (write == NULL) {
        if (fresh != NULL)
            torci_record_destroy(txn->store, fresh);
        return NULL;
    }
    write->order = finding->order;
    write->record = txn->expirable ? NULL : finding->record;
    write->fresh = fresh;
    write->kept = kept;
    if (fresh != NULL)
        txn->version_bytes += sizeof *fresh + key.size;
    return write;
}

/* The write of `key`, added if there is none. */
static enum torc_status
obtain_write(struct torc_txn *txn, struct torci_shard *shard, struct torc_slice key, const struct finding *finding,
             struct torci_write **write)
{
    if (*write == NULL)
        *write = add_write(txn, shard, key, finding);
    return *write != NULL ? TORC_OK : torci_fail(TORC_NO_MEMORY, "no memory to note a write");
}

/* Give a write a version of its own, which it takes over, in place of what it was. */
static void
set_version(struct torc_txn *txn, struct torci_shard *shard, struct torci_write *write, struct torci_version *version,
            struct torci_undo *undo)
{
    torci_undo_note(txn, undo, write);
    if (write->version != NULL) {
        txn->version_bytes -= torci_version_bytes(write->version->size);
        torci_version_destroy(shard, write->version);
    }
    txn->version_bytes += torci_version_bytes(version->size);
    write->version = version;
    write->merges = NULL;
    write->merges_last = NULL;
}

/* Append an operand to a write that waits for merging. */
static void
add_merge(struct torc_txn *txn, struct torci_write *write, struct torci_merge *merge, struct torci_undo *undo)
{
    torc_assert(write->version == NULL);
    torci_undo_note(txn, undo, write);
    if (write->merges_last != NULL)
        write->merges_last->next = merge;
    else
        write->merges = merge;
    write->merges_last = merge;
}

/* ---- Limits ---- */

/* What noting the first write of `key` takes, about. */
static size_t
write_bytes(const struct torci_write *write, struct torc_slice key)
{
    return write != NULL ? 0 : sizeof *write + sizeof(struct torci_record) + key.size;
}

/* Whether a value of `size` bytes may be written, `more` beside it. The memory limit counts never against a delete; the
 * transaction's own limit always. */
static enum torc_status
admit(struct torc_txn *txn, struct torci_shard *shard, size_t size, size_t more, uint32_t flags)
{
    enum torc_status status = torci_txn_admit(txn, torci_version_bytes((uint32_t)size) + more);

    if (status != TORC_OK || (flags & TORCI_VERSION_TOMBSTONE) != 0)
        return status;
    return torci_reclaim_admit(shard, size);
}

/* ---- Writing a whole value ---- */

static enum torc_status
make_version(struct torc_txn *txn, const struct intent *intent, struct torci_shard *shard,
             const struct torci_write *write, struct torci_version **version)
{
    enum torc_status status =
        admit(txn, shard, intent->value.size, write_bytes(write, intent->key), intent->flags);

    *version = NULL;
    if (status != TORC_OK)
        return status;
    *version = torci_version_create(shard, intent->value, intent->expires, intent->flags);
    return *version == NULL ? torci_fail(TORC_NO_MEMORY, "no memory for a value") : TORC_OK;
}

/* Look, and check the demand, on a key that has no write yet. */
static enum torc_status
find_as_demanded(struct torc_txn *txn, const struct intent *intent, struct finding *finding)
{
    enum torc_status status = find_for_write(txn, txn->keyspace, intent->key, false, finding);
    enum torc_status refused;

    if (status != TORC_OK)
        return status;
    refused = torci_demand_check(intent->demand, finding->lent, &txn->moment);
    /* The write that follows stands for what was learnt, unless a rollback takes it back. */
    if (refused == TORC_OK && (txn->savepoints == NULL || intent->demand->kind == TORCI_DEMAND_NOTHING))
        return TORC_OK;
    /* If nothing is written, what was learnt is a read. */
    status = torci_txn_note_read(txn, txn->keyspace, finding->record, finding->version, intent->key,
                                 finding->order);
    return status != TORC_OK ? status : refused;
}

/* Write a key that has no write yet, whatever it is now: it need not be found at once. */
static enum torc_status
write_blindly(struct torc_txn *txn, struct torci_shard *shard, const struct intent *intent)
{
    struct finding finding = {.order = torci_key_order(txn->store, intent->key), .exists = true};
    struct torci_write *write = NULL;
    struct torci_version *version;
    struct torci_undo *undo;
    enum torc_status status = torci_ahead_step(txn, finding.order);

    if (status == TORC_OK)
        status = make_version(txn, intent, shard, NULL, &version);
    if (status != TORC_OK)
        return status;
    status = torci_undo_prepare(txn, NULL, &undo);
    if (status == TORC_OK)
        status = obtain_write(txn, shard, intent->key, &finding, &write);
    if (status == TORC_OK) {
        set_version(txn, shard, write, version, undo);
        torci_ahead_enter(txn, write);
    } else {
        torci_version_destroy(shard, version);
    }
    return status;
}

static enum torc_status
write_key(struct torc_txn *txn, const struct intent *intent)
{
    struct torci_write *write = torci_write_set_find(&txn->writes, txn->keyspace, intent->key);
    struct torci_version *version;
    struct torci_shard *shard;
    struct torci_undo *undo;
    struct finding finding;
    enum torc_status status = torci_shard_obtain(txn->store, &shard);

    if (status == TORC_OK && write == NULL && intent->demand->kind == TORCI_DEMAND_NOTHING && !intent->seen)
        return write_blindly(txn, shard, intent);
    if (status == TORC_OK && write != NULL && intent->demand->kind != TORCI_DEMAND_NOTHING)
        status = torci_txn_resolve(txn, write);
    if (status != TORC_OK)
        return status;
    /* A merge asked for no conflict check; a put in its place does. */
    if (write == NULL || write->version == NULL)
        status = find_as_demanded(txn, intent, &finding);
    else
        status = torci_demand_check(intent->demand, write->version, &txn->moment);
    if (status == TORC_OK)
        status = make_version(txn, intent, shard, write, &version);
    if (status != TORC_OK)
        return status;
    status = torci_undo_prepare(txn, write, &undo);
    if (status == TORC_OK)
        status = obtain_write(txn, shard, intent->key, &finding, &write);
    if (status == TORC_OK)
        set_version(txn, shard, write, version, undo);
    else
        torci_version_destroy(shard, version);
    return status;
}

static enum torc_status
checked_write(struct torc_txn *txn, const struct intent *intent)
{
    enum torc_status status = torci_txn_enter_write(txn, intent->key, intent->value);

    if (status != TORC_OK)
        return status;
    status = write_key(txn, intent);
    torci_txn_leave(txn);
    return status;
}

enum torc_status
torc_txn_put(struct torc_txn *txn, struct torc_slice key, struct torc_slice value)
{
    struct intent intent = {key, value, UINT64_MAX, 0, false, &NO_DEMAND};

    return checked_write(txn, &intent);
}

enum torc_status
torc_txn_put_if_absent(struct torc_txn *txn, struct torc_slice key, struct torc_slice value)
{
    struct torci_demand demand = {TORCI_DEMAND_ABSENT, {NULL, 0}};
    struct intent intent = {key, value, UINT64_MAX, 0, false, &demand};

    return checked_write(txn, &intent);
}

enum torc_status
torc_txn_put_expiring(struct torc_txn *txn, struct torc_slice key, struct torc_slice value, uint64_t expires_ms)
{
    struct intent intent = {key, value, expires_ms == TORC_NEVER ? UINT64_MAX : expires_ms, 0, false, &NO_DEMAND};

    return checked_write(txn, &intent);
}

enum torc_status
torc_txn_delete(struct torc_txn *txn, struct torc_slice key)
{
    struct torci_demand demand = {TORCI_DEMAND_PRESENT, {NULL, 0}};
    struct intent intent = {key, {NULL, 0}, UINT64_MAX, TORCI_VERSION_TOMBSTONE, false, &demand};

    return checked_write(txn, &intent);
}

enum torc_status
torc_txn_compare_and_set(struct torc_txn *txn, struct torc_slice key, const struct torc_slice *expected,
                         const struct torc_slice *desired)
{
    struct torci_demand demand;
    struct intent intent = {key, {NULL, 0}, UINT64_MAX, desired == NULL ? TORCI_VERSION_TOMBSTONE : 0, false, &demand};
    enum torc_status status = torci_demand_expect(&demand, expected);

    if (desired != NULL)
        intent.value = *desired;
    return status == TORC_OK ? checked_write(txn, &intent) : status;
}

enum torc_status
torc_txn_get_for_update(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value)
{
    struct intent intent = {key, {NULL, 0}, UINT64_MAX, 0, true, &NO_DEMAND};
    enum torc_status status;
    enum torc_status marked;
    uint64_t expires;

    status = torc_txn_get(txn, key, value);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        return status;
    if (torci_write_set_find(&txn->writes, txn->keyspace, key) != NULL)
        return status;
    intent.value = *value;
    intent.flags = status == TORC_OK ? 0 : TORCI_VERSION_TOMBSTONE;
    marked = status == TORC_OK ? torc_txn_expiry(txn, key, &expires) : TORC_OK;
    if (status == TORC_OK && marked == TORC_OK && expires != TORC_NEVER)
        intent.expires = expires;
    if (marked == TORC_OK)
        marked = checked_write(txn, &intent);
    if (marked != TORC_OK)
        *value = torc_slice(NULL, 0);
    return marked != TORC_OK ? marked : status;
}

enum torc_status
torc_txn_expire(struct torc_txn *txn, struct torc_slice key, uint64_t expires_ms)
{
    struct intent intent = {key, {NULL, 0}, expires_ms == TORC_NEVER ? UINT64_MAX : expires_ms, 0, true, &NO_DEMAND};
    enum torc_status status = torc_txn_get(txn, key, &intent.value);

    return status == TORC_OK ? checked_write(txn, &intent) : status;
}

/* ---- Merging ---- */

/* Merge into a version of txn's own, at once. */
static enum torc_status
merge_into(struct torc_txn *txn, struct torci_shard *shard, struct torci_write *write, const struct torci_merge *merges,
           const struct torci_version *base)
{
    struct torci_version *version;
    struct torci_undo *undo;
    enum torc_status status = torci_undo_prepare(txn, write, &undo);

    if (status == TORC_OK)
        status = torci_merge_apply(shard, merges, base, &txn->moment, &version);
    if (status == TORC_CONFLICT)
        torci_conflict_note(write->key);
    if (status != TORC_OK)
        return status;
    status = torci_txn_admit(txn, torci_version_bytes(version->size));
    if (status == TORC_OK)
        set_version(txn, shard, write, version, undo);
    else
        torci_version_destroy(shard, version);
    return status;
}

enum torc_status
torci_txn_resolve(struct torc_txn *txn, struct torci_write *write)
{
    struct torci_sight sight;
    struct torci_shard *shard;
    enum torc_status status;

    if (write->version != NULL)
        return TORC_OK;
    status = torci_shard_obtain(txn->store, &shard);
    if (status == TORC_OK)
        status = torci_txn_look_up(txn, write->keyspace, write->key, write->order, &sight);
    if (status == TORC_OK)
        status = torci_txn_note_read(txn, write->keyspace, sight.record, sight.version, write->key, write->order);
    return status == TORC_OK ? merge_into(txn, shard, write, write->merges, sight.lent) : status;
}

/* Note an operand for the commit to merge. */
static enum torc_status
defer_merge(struct torc_txn *txn, struct torci_shard *shard, struct torc_slice key, const struct torci_merge *merge,
            struct torci_write *write)
{
    struct torci_merge *copy;
    struct torci_undo *undo;
    struct finding finding;
    enum torc_status status = TORC_OK;

    copy = has_arena(txn) ? torci_arena_alloc(txn->arena, sizeof *copy) : NULL;
    if (copy == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to note a merge");
    *copy = *merge;
    copy->operand = keep(txn, merge->operand);
    if (copy->operand.data == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to note a merge");
    if (write == NULL)
        status = find_for_write(txn, txn->keyspace, key, true, &finding);
    if (status == TORC_OK)
        status = torci_undo_prepare(txn, write, &undo);
    if (status == TORC_OK)
        status = obtain_write(txn, shard, key, &finding, &write);
    if (status == TORC_OK)
        add_merge(txn, write, copy, undo);
    return status;
}

enum torc_status
torc_txn_merge(struct torc_txn *txn, struct torc_slice key, const struct torc_merge_operator *operation,
               struct torc_slice operand)
{
    struct torci_merge merge = {NULL, operation, operand};
    struct torci_write *write;
    struct torci_shard *shard;
    enum torc_status status;

    if (operation == NULL || operation->merge == NULL)
        return torci_fail(TORC_INVALID, "the merge operator is NULL");
    status = torci_txn_enter_write(txn, key, operand);
    if (status != TORC_OK)
        return status;
    write = torci_write_set_find(&txn->writes, txn->keyspace, key);
    status = torci_shard_obtain(txn->store, &shard);
    if (status == TORC_OK)
        status = admit(txn, shard, operand.size, write_bytes(write, key), 0);
    if (status == TORC_OK && write != NULL && write->version != NULL)
        status = merge_into(txn, shard, write, &merge, write->version);
    else if (status == TORC_OK)
        status = defer_merge(txn, shard, key, &merge, write);
    torci_txn_leave(txn);
    return status;
}

/* ---- Ranges ---- */

enum torc_status
torc_txn_delete_range(struct torc_txn *txn, struct torc_slice from, struct torc_slice to, uint64_t *deleted)
{
    struct torc_scan_options options = {.from = from, .to = to};
    struct torc_cursor *cursor;
    struct torc_slice key;
    enum torc_status status;
    uint64_t count = 0;

    if (deleted != NULL)
        *deleted = 0;
    if (txn != NULL && txn->phase == TORCI_TXN_ACTIVE && txn->read_only)
        return torci_fail(TORC_READ_ONLY, "the transaction was begun read-only");
    status = torc_txn_scan(txn, &options, &cursor);
    if (status != TORC_OK)
        return status;
    while ((status = torc_cursor_next(cursor, &key, NULL)) == TORC_OK) {
        status = torc_txn_delete(txn, key);
        if (status != TORC_OK)
            break;
        count++;
    }
    torc_cursor_close(cursor);
    if (deleted != NULL)
        *deleted = count;
    return status == TORC_END ? TORC_OK : status;
}

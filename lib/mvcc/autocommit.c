/* SPDX-License-Identifier: MIT */
/* mvcc/autocommit: calls on one key. The contract: torc/mvcc.h.
 *
 * A call on one key is a commit of its own without a snapshot: get reads the newest committed version, the others
 * install a PENDING one, which gets its stamp from whoever meets it first (version.h). */
#include "base/assert.h"
#include "base/status.h"
#include "mvcc/expiry.h"
#include "mvcc/install.h"
#include "mvcc/journal.h"
#include "mvcc/notify.h"
#include "mvcc/reclaim.h"
#include "mvcc/txn.h"
#include "mvcc/upkeep.h"

enum {
    STEP_BUDGET = 4,                        /* Queue entries that a write of one key works on. */
    LOAD_TOGETHER = 32,                     /* Pairs loaded in one section: what fits into a leaf, about. */
};

/* What is wanted of one key. */
struct wish {
    struct torc_keyspace *keyspace;
    struct torc_slice key;
    const struct torci_demand *demand;
    struct torci_merge *merge;              /* NULL: `value` is written. */
    struct torc_slice value;
    uint64_t expires;                       /* UINT64_MAX: never. */
    uint32_t flags;
    bool *replaced;                         /* NULL: not asked for. */
    void *buffer;                           /* Where the result is copied to, if `size` is given. */
    size_t capacity;
    size_t *size;
};

static enum torc_status
check_keyspace(const struct torc_keyspace *keyspace)
{
    return keyspace != NULL ? TORC_OK : torci_fail(TORC_INVALID, "the keyspace is NULL");
}

static enum torc_status
dropped(void)
{
    return torci_fail(TORC_NOT_FOUND, "the keyspace was dropped");
}

static void
copy_out(struct torc_slice value, void *buffer, size_t capacity, size_t *size)
{
    *size = value.size;
    if (capacity > 0 && value.size > 0)
        memcpy(buffer, value.data, value.size < capacity ? value.size : capacity);
}

enum torc_status
torc_keyspace_get(struct torc_keyspace *keyspace, struct torc_slice key, void *buffer, size_t capacity, size_t *size)
{
    struct torci_epoch_guard guard;
    struct torci_version *version = NULL;
    struct torci_record *record = NULL;
    struct torci_moment moment;
    enum torc_status status;
    uint64_t order;

    if (size == NULL)
        return torci_fail(TORC_INVALID, "the place for the size is NULL");
    *size = 0;
    if (keyspace == NULL || (buffer == NULL && capacity > 0))
        return torci_fail(TORC_INVALID, "the store, the keyspace or the buffer is NULL");
    status = torci_check_key(key);
    if (status != TORC_OK)
        return status;

    moment = (struct torci_moment){keyspace->store, 0};
    order = torci_key_order(keyspace->store, key);
    guard = torci_epoch_enter();
    if (torci_keyspace_usable(keyspace))
        record = torci_index_find(keyspace->index, guard, key, order);
    if (record != NULL)
        version = torci_record_newest(record, &keyspace->store->clock);
    if (torci_version_shows(version, &moment))
        copy_out(torci_version_value(version), buffer, capacity, size);
    else
        status = TORC_NOT_FOUND;
    torci_epoch_exit(guard);
    if (status == TORC_OK && *size > capacity)
        return torci_fail(TORC_TOO_LARGE, "a value of %zu bytes does not fit into %zu", *size, capacity);
    return status;
}

/* It is done: what others learn of it, and what is left to do. Inside its section. */
static void
settle(const struct torci_install *install, const struct wish *wish, struct torci_write *write)
{
    struct torci_shard *shard = install->shard;
    uint64_t stamp = torci_version_verdict(write->version, &install->store->clock).stamp;

    if (install->single) {
        /* version.h R3 */
        torci_store(&write->version->stamp, torci_stamp_committed(stamp), memory_order_release);
        torci_redo_settle(install->redo, stamp);
    }
    torci_last_commit_note(stamp);
    torci_keyspace_count(wish->keyspace, torci_write_keys_change(write));
    torci_count(&shard->counters.commits, 1);
    torci_notify(shard, &(struct torc_commit){stamp, write, true});
    if (wish->size != NULL)
        copy_out(torci_version_value(write->version), wish->buffer, wish->capacity, wish->size);
    torci_expiry_note(shard, install->guard, write);
    if (torci_write_leaves_garbage(write))
        torci_reclaim_touch(shard, install->guard, write->record, stamp);
}

/* Install and stamp. The version is consumed if that succeeds. */
static enum torc_status
write_one(struct torci_shard *shard, const struct wish *wish, struct torci_write *write)
{
    struct torc_mvcc *store = shard->store;
    struct torci_moment moment = {store, 0};
    struct torci_install install = {.store = store,
                                    .shard = shard,
                                    .guard = torci_epoch_enter(),
                                    .stamp = TORCI_STAMP_PENDING,
                                    .demand = wish->demand,
                                    .moment = &moment,
                                    .single = torci_journaled(store)};
    enum torc_status status = torci_keyspace_usable(wish->keyspace) ? torci_install(&install, write) : dropped();

    if (status == TORC_OK)
        settle(&install, wish, write);
    else if (write->record != NULL && (status == TORC_NO_MEMORY || write->merges != NULL))
        /* An empty record of ours may stand in the index. */
        torci_reclaim_touch(shard, install.guard, write->record, torci_clock_now(&store->clock));
    if (status != TORC_OK && install.redo != NULL)
        torci_redo_settle(install.redo, TORCI_REDO_VOID);
    torci_epoch_exit(install.guard);
    torci_watch_wake(shard);
    if (write->fresh != NULL)
        torci_record_destroy(store, write->fresh);
    return status;
}

static enum torc_status
make_version(struct torci_shard *shard, const struct wish *wish, struct torci_version **version)
{
    enum torc_status status = TORC_OK;

    *version = NULL;
    if ((wish->flags & TORCI_VERSION_TOMBSTONE) == 0)
        status = torci_reclaim_admit(shard, wish->value.size);
    if (status != TORC_OK || wish->merge != NULL)
        return status;
    *version = torci_version_create(shard, wish->value, wish->expires, wish->flags);
    return *version == NULL ? torci_fail(TORC_NO_MEMORY, "no memory for a value") : TORC_OK;
}

/* The frame of every writing call on one key. */
static enum torc_status
autocommit(const struct wish *wish)
{
    struct torci_write write = {.keyspace = wish->keyspace,
                                .key = wish->key,
                                .merges = wish->merge,
                                .merges_last = wish->merge};
    struct torci_shard *shard;
    enum torc_status status = check_keyspace(wish->keyspace);

    if (wish->replaced != NULL)
        *wish->replaced = false;
    if (status == TORC_OK)
        status = torci_check_key(wish->key);
    if (status == TORC_OK)
        status = torci_check_value(wish->value);
    if (status == TORC_OK)
        status = torci_shard_obtain(wish->keyspace->store, &shard);
    if (status == TORC_OK)
        status = torci_journal_admit(shard->store);
    if (status == TORC_OK)
        status = make_version(shard, wish, &write.version);
    if (status != TORC_OK)
        return status;
    write.order = torci_key_order(shard->store, wish->key);
    status = write_one(shard, wish, &write);
    if (!write.installed && write.version != NULL)
        torci_version_destroy(shard, write.version);
    if (wish->replaced != NULL)
        *wish->replaced = status == TORC_OK && write.was_shown;
    torci_redo_leave_large(shard);
    torci_upkeep_step(shard, STEP_BUDGET);
    if (status == TORC_OK && torci_journaled(shard->store))
        status = torci_journal_after(shard->store, torc_last_commit());
    return status;
}

enum torc_status
torc_keyspace_put(struct torc_keyspace *keyspace, struct torc_slice key, struct torc_slice value, uint64_t expires_ms,
                  bool *replaced)
{
    struct wish wish = {.keyspace = keyspace,
                        .key = key,
                        .value = value,
                        .expires = expires_ms == TORC_NEVER ? UINT64_MAX : expires_ms,
                        .replaced = replaced};

    return autocommit(&wish);
}

enum torc_status
torc_keyspace_delete(struct torc_keyspace *keyspace, struct torc_slice key)
{
    struct torci_demand demand = {TORCI_DEMAND_PRESENT, {NULL, 0}};
    struct wish wish = {.keyspace = keyspace,
                        .key = key,
                        .demand = &demand,
                        .expires = UINT64_MAX,
                        .flags = TORCI_VERSION_TOMBSTONE};

    return autocommit(&wish);
}

enum torc_status
torc_keyspace_compare_and_set(struct torc_keyspace *keyspace, struct torc_slice key, const struct torc_slice *expected,
                              const struct torc_slice *desired)
{
    struct torci_demand demand;
    struct wish wish = {.keyspace = keyspace,
                        .key = key,
                        .demand = &demand,
                        .expires = UINT64_MAX,
                        .flags = desired == NULL ? TORCI_VERSION_TOMBSTONE : 0};
    enum torc_status status = torci_demand_expect(&demand, expected);

    if (desired != NULL)
        wish.value = *desired;
    return status == TORC_OK ? autocommit(&wish) : status;
}

enum torc_status
torc_keyspace_merge(struct torc_keyspace *keyspace, struct torc_slice key, const struct torc_merge_operator *operation,
                    struct torc_slice operand, void *buffer, size_t capacity, size_t *size)
{
    struct torci_merge merge = {NULL, operation, operand};
    struct wish wish = {.keyspace = keyspace,
                        .key = key,
                        .merge = &merge,
                        .value = operand,
                        .expires = UINT64_MAX,
                        .buffer = buffer,
                        .capacity = capacity,
                        .size = size};

    if (size != NULL)
        *size = 0;
    if (operation == NULL || operation->merge == NULL)
        return torci_fail(TORC_INVALID, "the merge operator is NULL");
    if (buffer == NULL && capacity > 0)
        return torci_fail(TORC_INVALID, "the buffer is NULL");
    return autocommit(&wish);
}

/* ---- Many keys ---- */

/* Pairs that are loaded together, and where each is to go. */
struct load {
    struct torc_keyspace *keyspace;
    struct torci_shard *shard;
    const struct torc_pair *pairs;
    size_t count;
    size_t bytes;                                    /* What they take, about. */
    uint64_t orders[LOAD_TOGETHER];
    struct torci_record *records[LOAD_TOGETHER];     /* NULL: to be found by the put itself. */
};

/* Find the record of pair `i`, or publish an empty one. NULL: no memory. */
static struct torci_record *
load_record(struct load *load, struct torci_epoch_guard guard, size_t i, bool *fresh)
{
    struct torci_index *index = load->keyspace->index;
    struct torc_slice key = load->pairs[i].key;
    struct torci_record *record = torci_index_find(index, guard, key, load->orders[i]);
    struct torci_record *existing = NULL;
    enum torc_status status;

    *fresh = false;
    if (record != NULL)
        return record;
    record = torci_record_create(load->shard, load->keyspace, key, load->orders[i]);
    if (record == NULL)
        return NULL;
    status = torci_index_insert(index, guard, load->shard->limbo, record, &existing);
    *fresh = status == TORC_OK;
    if (*fresh)
        return record;
    torci_record_destroy(load->shard->store, record);
    return status == TORC_EXISTS ? existing : NULL;
}

/* Look up all of them, and put the new ones into the tree together if they ascend. What cannot be done here for want of
 * memory is left to the puts. */
static void
load_prepare(struct load *load, struct torci_epoch_guard guard)
{
    struct torci_record *fresh[LOAD_TOGETHER];
    struct torci_index *index = load->keyspace->index;
    bool ascending = true;
    size_t fresh_count = 0;

    for (size_t i = 0; i < load->count; i++)
        torci_index_prefetch(index, load->orders[i]);
    for (size_t i = 0; i < load->count; i++)
        torci_index_prefetch_record(index, load->orders[i]);
    if (torci_limbo_reserve(load->shard->limbo, 2 * TORCI_INDEX_RETIRES_MAX) != TORC_OK)
        return;
    for (size_t i = 0; i < load->count; i++) {
        bool is_fresh;

        load->records[i] = load_record(load, guard, i, &is_fresh);
        if (is_fresh)
            fresh[fresh_count++] = load->records[i];
        ascending &= i == 0 || torci_key_compare(load->pairs[i - 1].key, load->pairs[i].key) < 0;
    }
    if (ascending && fresh_count > 1)
        (void)(torci_index_order_many(index, guard, load->shard->limbo, fresh, fresh_count) == TORC_OK);
}

/* Put pair `i`, whose record is known. */
static enum torc_status
load_put(struct load *load, size_t i)
{
    struct wish wish = {.keyspace = load->keyspace,
                        .key = load->pairs[i].key,
                        .value = load->pairs[i].value,
                        .expires = UINT64_MAX};
    struct torci_write write = {.keyspace = load->keyspace,
                                .key = wish.key,
                                .order = load->orders[i],
                                .record = load->records[i]};
    enum torc_status status;

    write.version = torci_version_create(load->shard, wish.value, wish.expires, 0);
    if (write.version == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a value");
    status = write_one(load->shard, &wish, &write);
    if (!write.installed)
        torci_version_destroy(load->shard, write.version);
    return status;
}

/* One batch in one section, so that its empty records stay. */
static enum torc_status
load_batch(struct load *load, size_t *done)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    enum torc_status status = TORC_OK;
    size_t put = 0;

    memset(load->records, 0, sizeof load->records);
    if (torci_keyspace_usable(load->keyspace))
        load_prepare(load, guard);
    while (put < load->count && status == TORC_OK) {
        status = load_put(load, put);
        put += status == TORC_OK ? 1 : 0;
    }
    *done += put;
    for (; put < load->count; put++) {
        if (load->records[put] != NULL) /* It may be an empty one of ours. */
            torci_reclaim_touch(load->shard, guard, load->records[put], torci_clock_now(&load->shard->store->clock));
    }
    torci_epoch_exit(guard);
    torci_redo_leave_large(load->shard);
    torci_upkeep_step(load->shard, STEP_BUDGET * load->count);
    return status;
}

/* The same when there is not memory enough for all: as far as it goes. */
static enum torc_status
load_singly(struct load *load, size_t *done)
{
    enum torc_status status = TORC_OK;

    for (size_t i = 0; i < load->count && status == TORC_OK; i++) {
        status = torc_keyspace_put(load->keyspace, load->pairs[i].key, load->pairs[i].value, TORC_NEVER, NULL);
        *done += status == TORC_OK ? 1 : 0;
    }
    return status;
}

/* The next pairs, as far as they are valid; TORC_OK if there is one at least. */
static enum torc_status
load_next(struct load *load, const struct torc_pair *pairs, size_t count)
{
    enum torc_status status = TORC_OK;

    load->pairs = pairs;
    load->count = 0;
    load->bytes = 0;
    while (load->count < LOAD_TOGETHER && load->count < count && status == TORC_OK) {
        status = torci_check_key(pairs[load->count].key);
        if (status == TORC_OK)
            status = torci_check_value(pairs[load->count].value);
        if (status == TORC_OK) {
            load->bytes += sizeof(struct torci_record) + pairs[load->count].key.size +
                           torci_version_bytes((uint32_t)pairs[load->count].value.size);
            load->orders[load->count] = torci_key_order(load->keyspace->store, pairs[load->count].key);
            load->count++;
        }
    }
    return load->count > 0 ? TORC_OK : status;
}

enum torc_status
torc_keyspace_load(struct torc_keyspace *keyspace, const struct torc_pair *pairs, size_t count, size_t *loaded)
{
    struct load load = {.keyspace = keyspace};
    enum torc_status status = check_keyspace(keyspace);
    size_t done = 0;

    if (status == TORC_OK && pairs == NULL && count > 0)
        status = torci_fail(TORC_INVALID, "the pairs are NULL");
    if (status == TORC_OK)
        status = torci_shard_obtain(keyspace->store, &load.shard);
    while (status == TORC_OK && done < count) {
        status = load_next(&load, pairs + done, count - done);
        if (status != TORC_OK)
            break;
        status = torci_journal_admit(keyspace->store);
        if (status != TORC_OK)
            break;
        status = torci_reclaim_admit(load.shard, load.bytes);
        status = status == TORC_OK ? load_batch(&load, &done) : load_singly(&load, &done);
        if (torci_journaled(keyspace->store))
            torci_journal_nudge(keyspace->store->journal);
    }
    if (loaded != NULL)
        *loaded = done;
    /* What was put is put, however it ended. */
    if (done > 0 && torci_journaled(keyspace->store)) {
        enum torc_status waited = torci_journal_after(keyspace->store, torc_last_commit());

        status = waited != TORC_OK ? waited : status;
    }
    return status;
}

enum torc_status
torc_keyspace_estimate(struct torc_keyspace *keyspace, struct torc_slice from, struct torc_slice to,
                       struct torc_estimate *estimate)
{
    struct torci_index_estimate found = {0, 0};
    struct torci_epoch_guard guard;
    enum torc_status status = check_keyspace(keyspace);

    if (estimate == NULL)
        return torci_fail(TORC_INVALID, "the place for the estimate is NULL");
    *estimate = (struct torc_estimate){0, 0};
    if (status == TORC_OK)
        status = torci_check_bound(from);
    if (status == TORC_OK)
        status = torci_check_bound(to);
    if (status != TORC_OK)
        return status;
    guard = torci_epoch_enter();
    if (torci_keyspace_usable(keyspace))
        torci_index_estimate(keyspace->index, guard, from, to, &found);
    else
        status = dropped();
    torci_epoch_exit(guard);
    *estimate = (struct torc_estimate){found.records, found.bytes};
    return status;
}

/* ---- The same in the default keyspace ---- */

enum torc_status
torc_mvcc_get(struct torc_mvcc *store, struct torc_slice key, void *buffer, size_t capacity, size_t *size)
{
    return torc_keyspace_get(torc_mvcc_default(store), key, buffer, capacity, size);
}

enum torc_status
torc_mvcc_put(struct torc_mvcc *store, struct torc_slice key, struct torc_slice value, bool *replaced)
{
    return torc_keyspace_put(torc_mvcc_default(store), key, value, TORC_NEVER, replaced);
}

enum torc_status
torc_mvcc_delete(struct torc_mvcc *store, struct torc_slice key)
{
    return torc_keyspace_delete(torc_mvcc_default(store), key);
}

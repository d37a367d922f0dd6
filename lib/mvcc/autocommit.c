/* SPDX-License-Identifier: MIT */
/* mvcc/autocommit: calls on one key. The contract: torc/mvcc.h.
 *
 * A call on one key is a commit of its own without a snapshot: get reads the newest committed version, the others
 * install a PENDING one, which gets its stamp from whoever meets it first (version.h). */
#include "base/assert.h"
#include "base/status.h"
#include "mvcc/expiry.h"
#include "mvcc/install.h"
#include "mvcc/notify.h"
#include "mvcc/reclaim.h"
#include "mvcc/txn.h"
#include "mvcc/upkeep.h"

enum { STEP_BUDGET = 4 };                   /* Queue entries that a write of one key works on. */

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
                                    .moment = &moment};
    enum torc_status status = torci_keyspace_usable(wish->keyspace) ? torci_install(&install, write) : dropped();

    if (status == TORC_OK)
        settle(&install, wish, write);
    else if (write->record != NULL && status == TORC_NO_MEMORY)
        /* An empty record of ours may stand in the index. */
        torci_reclaim_touch(shard, install.guard, write->record, torci_clock_now(&store->clock));
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
        status = make_version(shard, wish, &write.version);
    if (status != TORC_OK)
        return status;
    write.order = torci_key_order(shard->store, wish->key);
    status = write_one(shard, wish, &write);
    if (!write.installed && write.version != NULL)
        torci_version_destroy(shard, write.version);
    if (wish->replaced != NULL)
        *wish->replaced = status == TORC_OK && write.was_shown;
    torci_upkeep_step(shard, STEP_BUDGET);
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
    struct torci_demand demand = {expected == NULL ? TORCI_DEMAND_ABSENT : TORCI_DEMAND_EQUAL, {NULL, 0}};
    struct wish wish = {.keyspace = keyspace,
                        .key = key,
                        .demand = &demand,
                        .expires = UINT64_MAX,
                        .flags = desired == NULL ? TORCI_VERSION_TOMBSTONE : 0};
    enum torc_status status;

    if (expected != NULL) {
        status = torci_check_value(*expected);
        if (status != TORC_OK)
            return status;
        demand.expected = *expected;
    }
    if (desired != NULL)
        wish.value = *desired;
    return autocommit(&wish);
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

enum torc_status
torc_keyspace_load(struct torc_keyspace *keyspace, const struct torc_pair *pairs, size_t count, size_t *loaded)
{
    enum torc_status status = check_keyspace(keyspace);
    size_t done = 0;

    if (status == TORC_OK && pairs == NULL && count > 0)
        status = torci_fail(TORC_INVALID, "the pairs are NULL");
    while (status == TORC_OK && done < count) {
        status = torc_keyspace_put(keyspace, pairs[done].key, pairs[done].value, TORC_NEVER, NULL);
        done += status == TORC_OK ? 1 : 0;
    }
    if (loaded != NULL)
        *loaded = done;
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

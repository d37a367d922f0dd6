/* SPDX-License-Identifier: MIT */
/* mvcc/notify: telling of commits. See notify.h. */
#include "mvcc/notify.h"

#include "base/status.h"
#include "mvcc/reclaim.h"

/* The write after `write`, or NULL. */
static const struct torci_write *
next_of(const struct torc_commit *commit, const struct torci_write *write)
{
    return commit->single ? NULL : torci_write_next(write);
}

void
torci_notify_slow(struct torci_shard *shard, const struct torc_commit *commit)
{
    struct torc_mvcc *store = shard->store;

    if (store->options.on_commit != NULL)
        store->options.on_commit(store->options.on_commit_context, commit);
    if (torci_load(&store->watches_open, memory_order_seq_cst) == 0)
        return;
    for (const struct torci_write *write = commit->first; write != NULL; write = next_of(commit, write))
        torci_watch_fire(shard, write->keyspace, write->key, write->order, commit->stamp);
}

void
torci_notify_drop(struct torci_shard *shard, struct torc_keyspace *keyspace)
{
    struct torci_epoch_guard guard;

    if (torci_load(&shard->store->watches_open, memory_order_seq_cst) == 0)
        return;
    guard = torci_epoch_enter();
    torci_watch_drop(shard, keyspace, torci_load(&keyspace->dropped, memory_order_relaxed)); /* Relaxed: ours. */
    torci_epoch_exit(guard);
    torci_watch_wake(shard);
}

/* ---- on_commit ---- */

uint64_t
torc_commit_stamp(const struct torc_commit *commit)
{
    return commit == NULL ? 0 : commit->stamp;
}

_Static_assert(sizeof(size_t) >= sizeof(uintptr_t), "a position holds an address");

bool
torc_commit_next(const struct torc_commit *commit, size_t *position, struct torc_change *change)
{
    const struct torci_write *write;

    if (change != NULL)
        memset(change, 0, sizeof *change);
    if (commit == NULL || position == NULL || change == NULL)
        return false;
    /* The address of the write that was shown last. */
    write = *position == 0 ? commit->first : next_of(commit, (const struct torci_write *)(uintptr_t)*position);
    if (write == NULL)
        return false;
    *position = (size_t)(uintptr_t)write;
    change->keyspace = write->keyspace;
    change->key = write->key;
    change->deleted = !torci_version_live(write->version);
    change->expired = write->version->flags == TORCI_VERSION_EXPIRED;
    if (!change->deleted)
        change->value = torci_version_value(write->version);
    if (write->version->flags == TORCI_VERSION_EXPIRES)
        change->expires_ms = torci_version_expires(write->version);
    return true;
}

/* ---- Watches ---- */

static enum torc_status
check_key(struct torc_slice key, bool prefix)
{
    if (key.data == NULL && key.size > 0)
        return torci_fail(TORC_INVALID, "a key of %zu bytes without data", key.size);
    if (key.size == 0 && !prefix)
        return torci_fail(TORC_INVALID, "a key needs at least one byte");
    if (key.size > TORC_KEY_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a key of %zu bytes exceeds %u", key.size, TORC_KEY_SIZE_MAX);
    return TORC_OK;
}

static bool
is_dropped(struct torc_keyspace *keyspace)
{
    return torci_load(&keyspace->dropped, memory_order_seq_cst) != 0; /* store.h A2 */
}

enum torc_status
torc_keyspace_watch(struct torc_keyspace *keyspace, struct torc_slice key, bool prefix, struct torc_watch **watch)
{
    struct torci_epoch_guard guard;
    struct torc_watch *fresh;
    struct torci_shard *shard;
    enum torc_status status;

    if (watch == NULL)
        return torci_fail(TORC_INVALID, "the place for the watch is NULL");
    *watch = NULL;
    if (keyspace == NULL)
        return torci_fail(TORC_INVALID, "the keyspace is NULL");
    status = check_key(key, prefix);
    if (status == TORC_OK)
        status = torci_shard_obtain(keyspace->store, &shard);
    if (status != TORC_OK)
        return status;
    fresh = torci_watch_create(keyspace, key, prefix);
    if (fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a watch");
    /* One section: the keyspace cannot be dropped and made anew within it. */
    guard = torci_epoch_enter();
    status = is_dropped(keyspace) ? TORC_NOT_FOUND : torci_watch_arm(shard, fresh);
    if (status != TORC_OK) {
        torci_watch_destroy(fresh);
    } else if (is_dropped(keyspace)) { /* Who drops it later finds the watch. */
        torci_watch_disarm(shard, fresh);
        status = TORC_NOT_FOUND;
    } else {
        *watch = fresh;
    }
    torci_epoch_exit(guard);
    if (status == TORC_NOT_FOUND)
        return torci_fail(TORC_NOT_FOUND, "the keyspace was dropped");
    return status == TORC_OK ? TORC_OK : torci_fail(status, "no memory for the table of watches");
}

bool
torc_watch_fired(struct torc_watch *watch, uint64_t *stamp)
{
    uint64_t newest = 0;
    bool fired = watch != NULL && torci_watch_take(watch, &newest);

    if (stamp != NULL)
        *stamp = newest;
    return fired;
}

int
torc_watch_fd(struct torc_watch *watch)
{
    return watch == NULL ? -1 : torci_watch_descriptor(watch);
}

void
torc_watch_close(struct torc_watch *watch)
{
    if (watch != NULL)
        torci_watch_disarm(torci_shard_own(torci_watch_store(watch)), watch);
}

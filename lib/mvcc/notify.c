/* SPDX-License-Identifier: MIT */
/* mvcc/notify: telling of commits. See notify.h. */
#include "mvcc/notify.h"

void
torci_notify_slow(struct torci_shard *shard, const struct torc_commit *commit)
{
    struct torc_mvcc *store = shard->store;

    store->options.on_commit(store->options.on_commit_context, commit);
}

uint64_t
torc_commit_stamp(const struct torc_commit *commit)
{
    return commit == NULL ? 0 : commit->stamp;
}

bool
torc_commit_next(const struct torc_commit *commit, size_t *position, struct torc_change *change)
{
    const struct torci_write *write;

    if (commit == NULL || position == NULL || change == NULL)
        return false;
    /* *position is the number of the next change; walking from it is quick because a write set is a list. */
    write = commit->first;
    for (size_t i = 0; i < *position && write != NULL; i++)
        write = commit->single ? NULL : torci_write_next(write);
    memset(change, 0, sizeof *change);
    if (write == NULL)
        return false;
    ++*position;
    change->keyspace = write->keyspace;
    change->key = write->key;
    change->deleted = !torci_version_live(write->version);
    change->expired = (write->version->flags & TORCI_VERSION_EXPIRED) != 0;
    if (!change->deleted)
        change->value = torci_version_value(write->version);
    if ((write->version->flags & TORCI_VERSION_EXPIRES) != 0)
        change->expires_ms = torci_version_expires(write->version);
    return true;
}

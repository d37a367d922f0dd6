/* SPDX-License-Identifier: MIT */
/* mvcc/notify: who is told of a commit: the store's on_commit, and watches.
 *
 *   commit: decided --> keys counted --> torci_notify(): on_commit, then the watches of each key --> snapshot ends
 *
 * Inside the commit's section, so that its versions stay while they are shown. */
#ifndef TORCI_MVCC_NOTIFY_H
#define TORCI_MVCC_NOTIFY_H

#include <torc/mvcc.h>

#include "mvcc/store.h"
#include "mvcc/write_set.h"

struct torc_commit {
    uint64_t stamp;
    const struct torci_write *first;
    bool single;                /* `first` is all: it stands in no write set. */
};

void torci_notify_slow(struct torci_shard *shard, const struct torc_commit *commit);

/* A commit is decided. Inside its section. */
static inline void
torci_notify(struct torci_shard *shard, const struct torc_commit *commit)
{
    if (shard->store->options.on_commit != NULL)
        torci_notify_slow(shard, commit);
}

#endif

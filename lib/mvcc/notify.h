/* SPDX-License-Identifier: MIT */
/* mvcc/notify: who is told of a commit: the store's on_commit, and watches.
 *
 *   commit: decided --> keys counted --> torci_notify(): on_commit, then the watches of each key --> snapshot ends
 *           --> section ends --> torci_watch_wake(): descriptors of what was fired
 *
 * Inside the commit's section, so that its versions stay while they are shown. Neither costs more than two loads while
 * nobody wants to be told. */
#ifndef TORCI_MVCC_NOTIFY_H
#define TORCI_MVCC_NOTIFY_H

#include <torc/mvcc.h>

#include "mvcc/store.h"
#include "mvcc/watch.h"
#include "mvcc/write_set.h"

struct torc_commit {
    uint64_t stamp;
    const struct torci_write *first;
    bool single;                /* `first` is all: it stands in no write set. */
};

void torci_notify_slow(struct torci_shard *shard, const struct torc_commit *commit);

/* A keyspace was dropped (keyspace.dropped is set, seq_cst), and cannot be used again yet: its watches fire. Outside of
 * a section. */
void torci_notify_drop(struct torci_shard *shard, struct torc_keyspace *keyspace);

/* A commit is decided. Inside its section. */
static inline void
torci_notify(struct torci_shard *shard, const struct torc_commit *commit)
{
    struct torc_mvcc *store = shard->store;

    /* The count before all slots: watch.h. */
    if (store->options.on_commit != NULL || torci_load(&store->watches_open, memory_order_seq_cst) > 0)
        torci_notify_slow(shard, commit);
}

#endif

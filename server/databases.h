/* SPDX-License-Identifier: MIT */
/* server/databases.h: which keyspace of the store each database is.
 *
 * The map stands in the store itself, in its default keyspace: a row for each database, whose value is the name of its
 * keyspace. So it is part of every transaction: FLUSHDB is a row that is written anew and SWAPDB two of them, both as
 * atomic as any other write, inside of EXEC as outside, and what a transaction did with the former keyspace is a
 * conflict; and it is as durable as all other writes. A copy of the map, of handles, serves commands on one key.
 *
 * A keyspace that was replaced is dropped when every worker has ended the request that it ran: a handle that a request
 * has read is valid until its end. */
#ifndef TORCD_DATABASES_H
#define TORCD_DATABASES_H

#include <torc/mvcc.h>

#include "session.h"

struct torcd_databases;

/* What a store holds. */
enum torcd_layout {
    TORCD_LAYOUT_EMPTY,         /* Nothing. */
    TORCD_LAYOUT_KNOWN,         /* The databases of a torcd. */
    TORCD_LAYOUT_FOREIGN,       /* What another program, or a later torcd, has put there. */
    TORCD_LAYOUT_BROKEN         /* A database's keyspace is not there, or the store does not tell. */
};

enum torcd_layout torcd_databases_layout(struct torc_mvcc *store);

/* Find the keyspaces of the databases, and create those that are missing; in a store that is empty or of a known
 * layout. Databases from `count` on that an earlier start has served are left as they are. NULL: no memory, or the
 * store has another layout, or refused a write. */
struct torcd_databases *torcd_databases_open(struct torc_mvcc *store, unsigned count);

/* The keyspaces stay with the store. NULL is accepted. */
void torcd_databases_destroy(struct torcd_databases *databases);

/* The keyspace that database `number` is now; NULL if the store failed to tell. For a request, until its end. */
struct torc_keyspace *torcd_databases_now(struct torcd_databases *databases, unsigned number);

/* The same if it can be had without a look at the store, else NULL. */
struct torc_keyspace *torcd_databases_cached(struct torcd_databases *databases, unsigned number);

/* The same as `txn` sees it, which means the default keyspace afterwards. TORC_NOT_FOUND: an older request began `txn`,
 * and the keyspace that it sees is gone. */
enum torc_status
torcd_databases_find(struct torcd_databases *databases, struct torc_txn *txn, unsigned number,
                     struct torc_keyspace **keyspace);

/* Which database `keyspace` is; false if none. The handle is only compared. A worker's thread. */
bool torcd_databases_number(struct torcd_databases *databases, const struct torc_keyspace *keyspace, unsigned *number);

/* How many keys a database has. Any thread. */
uint64_t torcd_databases_keys(struct torcd_databases *databases, unsigned number);

/* ---- Changes, in the transaction that runs on `worker` -------------------------------------------------------- */

/* Let database `number` be an empty keyspace from the commit of `txn` on. */
enum torc_status torcd_databases_flush(struct torcd_worker *worker, struct torc_txn *txn, unsigned number);

/* Let two databases be each other's keyspace. */
enum torc_status
torcd_databases_swap(struct torcd_worker *worker, struct torc_txn *txn, unsigned first, unsigned second);

/* The transaction that changed the map has committed, or has not. Cheap if it changed nothing. */
void torcd_databases_finish(struct torcd_worker *worker, bool committed);

#endif

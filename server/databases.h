/* SPDX-License-Identifier: MIT */
/* server/databases.h: which keyspace of the store each database is.
 *
 * The map stands in the store itself, in its default keyspace: a row for each database, whose value is the handle of
 * its keyspace. So it is part of every transaction: FLUSHDB is a row that is written anew and SWAPDB two of them, both
 * as atomic as any other write, inside of EXEC as outside, and what a transaction did with the former keyspace is a
 * conflict. A copy of the map serves commands on one key.
 *
 * A keyspace that was replaced is dropped when every worker has ended the request that it ran: a handle that a request
 * has read is valid until its end. */
#ifndef TORCD_DATABASES_H
#define TORCD_DATABASES_H

#include <torc/mvcc.h>

#include "session.h"

struct torcd_databases;

/* Create the keyspaces, in an empty store. NULL: no memory. */
struct torcd_databases *torcd_databases_create(struct torc_mvcc *store, unsigned count);

/* The keyspaces stay with the store. NULL is accepted. */
void torcd_databases_destroy(struct torcd_databases *databases);

/* The keyspace that database `number` is now; NULL if the store failed to tell. For a request, until its end. */
struct torc_keyspace *torcd_databases_now(struct torcd_databases *databases, unsigned number);

/* The same if it can be had without a look at the store, else NULL. */
struct torc_keyspace *torcd_databases_cached(struct torcd_databases *databases, unsigned number);

/* The same as `txn` sees it, which means the default keyspace afterwards. */
enum torc_status torcd_databases_find(struct torc_txn *txn, unsigned number, struct torc_keyspace **keyspace);

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

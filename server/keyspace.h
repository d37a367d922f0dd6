/* SPDX-License-Identifier: MIT */
/* server/keyspace.h: databases and keys of clients, laid over the keys of the store.
 *
 *   store key = database number (one byte) | client's key
 *
 * so that a database is a range of the store, and the empty key of Redis is a key of one byte. Every function here runs
 * on the session's own thread. Between EXEC's begin and end session->txn is set, and everything happens in it. */
#ifndef TORCD_KEYSPACE_H
#define TORCD_KEYSPACE_H

#include "session.h"

#define TORCD_KEY_MAX (TORC_KEY_SIZE_MAX - 1u)

/* How torcd_keyspace_run() runs its body. */
enum torcd_isolation {
    TORCD_READ,         /* Reads only: one snapshot, free of conflicts. */
    TORCD_ONE_KEY,      /* Writes what it reads: snapshot isolation is serializable then. */
    TORCD_ALL_KEYS,     /* As TORCD_ONE_KEY, for work so long that it is not repeated often. */
    TORCD_MANY_KEYS     /* Serializable. */
};

/* What a command does in a transaction. It writes its reply too; both may happen several times, the last one counts.
 * TORC_OK commits, which includes refusals that the client is told of; anything else is undone and repeated or told. */
typedef enum torc_status torcd_body(struct torc_txn *txn, struct torcd_session *session, void *context);

/* Run `body` in a transaction of its own, or in that of the EXEC that runs. When it cannot succeed, the client is told
 * (or, within EXEC, session->txn_status set). True if it did. */
bool
torcd_keyspace_run(struct torcd_session *session, enum torcd_isolation isolation, torcd_body *body, void *context);

/* The store key of `key`, which torcd_keyspace_check() let pass, in the session's database. Borrowed until the next
 * call of any function here. */
struct torc_slice torcd_keyspace_key(struct torcd_session *session, struct torc_slice key);

/* Whether `key` is not too long for the store; else the client is told. */
bool torcd_keyspace_check(struct torcd_session *session, struct torc_slice key);

/* ---- Inside a transaction ------------------------------------------------------------------------------------- */

/* The value of a key of the session's database. TORC_OK also if there is none: then `*present` is false. */
enum torc_status
torcd_keyspace_get(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, struct torc_slice *value,
                   bool *present);

/* Set a key that torcd_keyspace_get() saw `present` or absent, and keep count of the keys. */
enum torc_status
torcd_keyspace_put(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, struct torc_slice value,
                   bool present);

/* Set a key whatever it was. */
enum torc_status
torcd_keyspace_overwrite(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key,
                         struct torc_slice value);

/* Remove a key; `*existed` says whether it was there. */
enum torc_status
torcd_keyspace_delete(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, bool *existed);

/* Remove all keys of databases [first, end). */
enum torc_status
torcd_keyspace_flush(struct torcd_session *session, struct torc_txn *txn, unsigned first, unsigned end);

/* ---- One key at a time ---------------------------------------------------------------------------------------- */

/* TORC_OK and the size of the value, or TORC_NOT_FOUND, or a fault. */
enum torc_status torcd_keyspace_size(struct torcd_session *session, struct torc_slice key, size_t *size);

/* Reply with the value of `key`, or nil: one copy, from the store into the reply. */
void torcd_keyspace_reply_value(struct torcd_session *session, struct torc_slice key);

/* Set a key whatever it was, or remove it; false if the client was told of an error. */
bool torcd_keyspace_set(struct torcd_session *session, struct torc_slice key, struct torc_slice value);
bool torcd_keyspace_unset(struct torcd_session *session, struct torc_slice key, bool *existed);

#endif

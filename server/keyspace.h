/* SPDX-License-Identifier: MIT */
/* server/keyspace.h: databases and keys of clients, laid over the keyspaces and keys of the store.
 *
 *   database   a keyspace of the store: see databases.h
 *   store key  the client's key; one that is empty or begins with a zero byte has a zero byte before it, since the
 *              store knows no empty key. Their order is the same
 *
 * Every function here runs on the session's own thread and means the session's database. Between EXEC's begin and end
 * session->txn is set, and everything happens in it. */
#ifndef TORCD_KEYSPACE_H
#define TORCD_KEYSPACE_H

#include "session.h"

#define TORCD_KEY_MAX (TORC_KEY_SIZE_MAX - 1u)
#define TORCD_KEYS_AT_ONCE 64u      /* That are worth looking up together. */
#define TORCD_KEY_OVERHEAD 128u     /* What a key takes beside its bytes and those of its value, about. */

/* How torcd_keyspace_run() runs its body. */
enum torcd_isolation {
    TORCD_READ,         /* Reads only: one snapshot, free of conflicts. */
    TORCD_ONE_KEY,      /* Writes what it reads: snapshot isolation is serializable then. */
    TORCD_MANY_KEYS     /* Serializable. */
};

/* What a command does in a transaction. It writes its reply too, and notes its effects; all may happen several times,
 * the last one counts. TORC_OK commits, which includes refusals that the client is told of; anything else is undone and
 * repeated or told. */
typedef enum torc_status torcd_body(struct torc_txn *txn, struct torcd_session *session, void *context);

/* Run `body` in a transaction of its own, or in that of the EXEC that runs. When it cannot succeed, the client is told
 * (or, within EXEC, session->txn_status set). True if it did. */
bool
torcd_keyspace_run(struct torcd_session *session, enum torcd_isolation isolation, torcd_body *body, void *context);

/* Whether `key` is not too long for the store; else the client is told. */
bool torcd_keyspace_check(struct torcd_session *session, struct torc_slice key);

/* The store key of `key`, which torcd_keyspace_check() let pass: `key` itself, or built in worker->key and borrowed
 * until the next call of any function here; and the way back. */
struct torc_slice torcd_keyspace_key(struct torcd_session *session, struct torc_slice key);
struct torc_slice torcd_keyspace_client_key(struct torc_slice store_key);

/* ---- Inside a transaction ------------------------------------------------------------------------------------- */

/* Let `txn` mean the session's database. Each function below does that first; scans must do it themselves. */
enum torc_status torcd_keyspace_use(struct torcd_session *session, struct torc_txn *txn);

/* The value of a key. TORC_OK also if there is none: then `*present` is false, `*value` empty. */
enum torc_status
torcd_keyspace_get(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, struct torc_slice *value,
                   bool *present);

/* The values of many keys; values[i].data is NULL where there is none. */
enum torc_status
torcd_keyspace_get_many(struct torcd_session *session, struct torc_txn *txn, const struct torc_slice *keys,
                        size_t count, struct torc_slice *values);

/* When the value of a key expires: TORC_NEVER also if there is none. */
enum torc_status
torcd_keyspace_expiry(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, uint64_t *expires_ms);

/* Set a key that torcd_keyspace_get() saw `present` or absent, and keep count of the keys. */
enum torc_status
torcd_keyspace_put(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, struct torc_slice value,
                   uint64_t expires_ms, bool present);

/* The same; the time at which it expires stays as it was. */
enum torc_status
torcd_keyspace_replace(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key,
                       struct torc_slice value, bool present);

/* Set a key whatever it was; it does not expire then. `*present`: it was there. */
enum torc_status
torcd_keyspace_overwrite(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key,
                         struct torc_slice value, bool *present);

/* Remove a key; `*existed` says whether it was there. */
enum torc_status
torcd_keyspace_delete(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, bool *existed);

/* ---- One key at a time ---------------------------------------------------------------------------------------- */

/* TORC_OK and the size of the value, or TORC_NOT_FOUND, or a fault. */
enum torc_status torcd_keyspace_size(struct torcd_session *session, struct torc_slice key, size_t *size);

/* Reply with the value of `key`, or nil: one copy, from the store into the reply. */
void torcd_keyspace_reply_value(struct torcd_session *session, struct torc_slice key);

/* Set a key whatever it was, or remove it; false if the client was told of an error. */
bool torcd_keyspace_set(struct torcd_session *session, struct torc_slice key, struct torc_slice value,
                        uint64_t expires_ms, bool *replaced);
bool torcd_keyspace_unset(struct torcd_session *session, struct torc_slice key, bool *existed);

/* Apply `operation`, outside of EXEC. The beginning of the result is in `buffer`, its size in `*size`. TORC_MISMATCH:
 * the operator refused, by returning that. After any other status but TORC_OK the client was told. */
enum torc_status
torcd_keyspace_merge(struct torcd_session *session, struct torc_slice key, const struct torc_merge_operator *operation,
                     struct torc_slice operand, void *buffer, size_t capacity, size_t *size);

#endif

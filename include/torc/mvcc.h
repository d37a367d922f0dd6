/* SPDX-License-Identifier: MIT */
/* include/torc/mvcc.h: a transactional key-value store of many versions, in memory.
 *
 * A transaction reads the store as it was when it began and sees its own writes. Commit publishes all of them at
 * one instant, or none. It refuses (TORC_CONFLICT) if another transaction committed one of its written keys since
 * then: first committer wins. A TORC_SERIALIZABLE transaction is also refused if something it read, or a range it
 * scanned, has changed. Versions that no open transaction can see are freed after a grace period.
 *
 * Readers never wait: a thread that stops in the middle of a commit, for ever, delays no reader and no other key.
 *
 * Threads register themselves with the library on first use and leave it when they exit. After fork() only the
 * parent may go on using its stores; the child may only exec or _exit (see docs/production.md). Nothing here may be
 * called from a signal handler. */
#ifndef TORC_MVCC_H
#define TORC_MVCC_H

#include <torc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct torc_mvcc;   /* A store. Shared by any number of threads. */
struct torc_txn;    /* A transaction. Used by one thread at a time; may be handed from thread to thread. */
struct torc_cursor; /* A scan inside a transaction. Used by the transaction's thread. */

#define TORC_KEY_SIZE_MAX 65535u                       /* Bytes. The least is 1. */
#define TORC_VALUE_SIZE_MAX (512u * 1024u * 1024u)     /* Bytes. The least is 0. */

/* ---- The store ---------------------------------------------------------------------------------------------- */

/* How to open a store. Fill with torc_mvcc_options_init(), then change what you need. */
struct torc_mvcc_options {
    size_t struct_size;                       /* Set by init; lets the struct grow. */
    const struct torc_allocator *allocator;   /* NULL: malloc and free. Copied. */
    uint64_t memory_limit_bytes;              /* 0: none. Past it, writes return TORC_BUSY. */
    uint64_t retired_limit_bytes;             /* Freed but still in their grace period; past it, TORC_BUSY. */
    uint64_t expected_keys;                   /* A hint that saves growing. */
    uint64_t hash_seed;                       /* 0: drawn at open. */
};

/* Fill `options` with the defaults. Does nothing if it is NULL. */
TORC_API void torc_mvcc_options_init(struct torc_mvcc_options *options);

/* Open an empty store in memory.
 *
 * Threads    Any.
 * Progress   Blocking (allocates).
 * Ownership  `*store` is the caller's until torc_mvcc_close().
 * Errors     TORC_INVALID    `store` is NULL, or an option is out of range; `torc_detail()` names it.
 *            TORC_NO_MEMORY  nothing was opened. `*store` is NULL after every error. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_open(const struct torc_mvcc_options *options, struct torc_mvcc **store);

/* Close a store and free everything in it. NULL is accepted.
 *
 * Threads    No other call on this store may run or follow.
 * Progress   Blocking: waits for a grace period.
 * Errors     TORC_BUSY  transactions are still open: nothing was closed. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_close(struct torc_mvcc *store);

/* ---- One key, one step (autocommit) -------------------------------------------------------------------------- */

/* Copy the newest committed value of `key` into `buffer`.
 *
 * Threads    Any number at once.
 * Progress   Lock-free; never waits for a writer.
 * Ordering   Linearizable: sees every commit that returned before this call.
 * Ownership  Copies min(value size, capacity) bytes; `*size` is the whole size of the value.
 * Errors     TORC_NOT_FOUND  no such key. `*size` is 0.
 *            TORC_TOO_LARGE  the value is longer than `capacity`: the buffer holds its beginning, `*size` tells.
 *            TORC_INVALID    NULL argument, key size 0;  TORC_TOO_LARGE also for a key past its maximum (*size 0).
 * Cost       One hash lookup and one copy; no allocation, no system call. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_get(struct torc_mvcc *store, struct torc_slice key, void *buffer, size_t capacity, size_t *size);

/* Set `key` to `value`, blindly: no conflict is possible, the last one wins.
 *
 * Threads    Any number at once.
 * Progress   Lock-free. Aborts (wounds) a transaction that is just installing the same key.
 * Ordering   Linearizable: visible to every call that begins after this one returned.
 * Ownership  Key and value are copied.
 * Errors     TORC_INVALID, TORC_TOO_LARGE, TORC_BUSY (memory limit), TORC_NO_MEMORY; the store is unchanged.
 * Out        `*replaced`, if not NULL: whether the key had a value before. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_put(struct torc_mvcc *store, struct torc_slice key, struct torc_slice value, bool *replaced);

/* Remove `key`, blindly.
 *
 * As torc_mvcc_put(); TORC_NOT_FOUND if there was no value (nothing changed). */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_delete(struct torc_mvcc *store, struct torc_slice key);

/* ---- Transactions -------------------------------------------------------------------------------------------- */

enum torc_isolation {
    TORC_SNAPSHOT = 0,     /* Write skew is possible; nothing weaker is. */
    TORC_SERIALIZABLE = 1  /* As if one after another, ranges included (among serializable transactions). */
};

/* How to begin a transaction. All zero is a read-write transaction at TORC_SNAPSHOT. */
struct torc_txn_options {
    enum torc_isolation isolation;
    bool read_only;        /* Refuses writes, costs less; serializable for free. */
};

/* Begin a transaction: take a snapshot.
 *
 * Threads    Any number at once.
 * Progress   Lock-free, O(1), however many are open. Allocates only when more are open than ever before.
 * Ordering   The snapshot holds every commit that returned before this call, and none that begins after it returned.
 * Ownership  `*txn` is the caller's until torc_txn_commit() or torc_txn_abort().
 * Errors     TORC_INVALID (NULL store or txn, unknown isolation), TORC_NO_MEMORY. `*txn` is NULL then. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_begin(struct torc_mvcc *store, const struct torc_txn_options *options, struct torc_txn **txn);

/* Find the value of `key` visible to `txn`.
 *
 * Threads    Any number at once on one store; one at a time on one `txn`.
 * Progress   Lock-free. Never waits for a writer; an extra step is paid for by a commit that succeeded.
 * Ordering   Sees every commit that returned before torc_txn_begin(), none that began after, and txn's own writes.
 * Ownership  `*value` is borrowed from the store and valid until txn ends; a value that txn itself wrote, until
 *            txn writes that key again or ends. While some transaction borrows a stored value, every transaction that
 *            sees the same version gets the same address: equal addresses mean that nobody wrote the key.
 * Errors     TORC_NOT_FOUND  no visible value; `*value` is empty.
 *            TORC_INVALID, TORC_TOO_LARGE (key), TORC_FINISHED, TORC_NO_MEMORY (serializable: the read could not
 *            be noted; the read did not happen). `*value` is empty after each.
 * Cost       One hash lookup plus the versions of this key that are newer than the snapshot. No allocation unless
 *            serializable. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_get(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value);

/* As torc_txn_get(), and treat the key as written with the value it has (or as deleted, if it has none): at commit,
 * another transaction that wrote it or also read it for update since then is a conflict. The cure for write skew.
 *
 * Ownership  As torc_txn_get(). The key counts as txn's own write from here on, for later reads too.
 * Errors     As torc_txn_get() and torc_txn_put(). TORC_NOT_FOUND marks the absent key as well. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_get_for_update(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value);

/* Set `key` to `value` when txn commits.
 *
 * Ownership  Key and value are copied.
 * Errors     TORC_CONFLICT   somebody committed this key after txn began: commit could only fail. The write was not
 *                            noted; abort and begin again.
 *            TORC_READ_ONLY, TORC_FINISHED, TORC_INVALID, TORC_TOO_LARGE, TORC_BUSY (memory limit), TORC_NO_MEMORY.
 *            After each of them txn is as before the call.
 * Cost       One lookup, one allocation of the value's size, one more if the key is new. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_put(struct torc_txn *txn, struct torc_slice key, struct torc_slice value);

/* As torc_txn_put(), but TORC_EXISTS (and no write) if `key` is visible to txn. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_put_if_absent(struct torc_txn *txn, struct torc_slice key, struct torc_slice value);

/* Remove `key` when txn commits; TORC_NOT_FOUND (and no write) if it is not visible to txn.
 * Errors otherwise as torc_txn_put(). */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_delete(struct torc_txn *txn, struct torc_slice key);

/* Publish all writes of `txn` at one instant and end it. The handle is consumed, whatever is returned.
 *
 * Progress   Lock-free: of transactions that meet, one wins; a stopped thread delays nobody for ever.
 * Ordering   A commit that returned is in every snapshot that begins afterwards.
 * Errors     TORC_CONFLICT   nothing was written; torc_conflict_key() names the key.
 *            TORC_FINISHED   `txn` had ended before.
 *            TORC_BUSY, TORC_NO_MEMORY   nothing was written.
 * Cost       One CAS per written key and two for the whole; read-only transactions: none. Serializable: reads and
 *            ranges are looked at once more. */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_commit(struct torc_txn *txn);

/* Forget all writes of `txn` and end it. The handle is consumed. NULL and a finished handle are ignored. */
TORC_API void torc_txn_abort(struct torc_txn *txn);

/* The stamp of txn's snapshot: it sees exactly the commits whose stamp is not greater. Stamps order one store's
 * commits; several that no snapshot can tell apart may share one. 0 for NULL. */
TORC_API uint64_t torc_txn_snapshot(const struct torc_txn *txn);

/* The stamp of the calling thread's last successful commit, put or delete, of any store; 0 if it wrote nothing. */
TORC_API uint64_t torc_last_commit(void);

/* The key over which the calling thread's last TORC_CONFLICT arose (its first 256 bytes). Empty if it cannot be told: a
 * transaction of higher rank went first and has left no trace yet.
 *
 * Ownership  Borrowed; overwritten by the next conflict of this thread. */
TORC_API struct torc_slice torc_conflict_key(void);

/* How torc_txn_run() retries. All zero: the defaults. */
struct torc_run_options {
    struct torc_txn_options txn;
    unsigned attempts_max;      /* 0: 64. */
    uint64_t backoff_max_ns;    /* 0: 1 ms. The pause is random, doubles from 1 us and never exceeds this. */
};

/* Run `body` in a transaction and commit it; on TORC_CONFLICT, TORC_BUSY or TORC_EXPIRED (from `body` or from the
 * commit) try again, with a random pause that grows, and with a priority that grows.
 *
 * body       gets a fresh transaction and must not end it; may run several times, so it must not have effects
 *            outside it. Returns TORC_OK to commit, anything else to abort.
 * Errors     What the last attempt returned: TORC_CONFLICT after attempts_max of them; any other status of `body` at
 *            once; TORC_INVALID if `body` is NULL. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_run(struct torc_mvcc *store, const struct torc_run_options *options,
             enum torc_status (*body)(struct torc_txn *txn, void *context), void *context);

/* ---- Scans --------------------------------------------------------------------------------------------------- */

/* Which keys, in which direction. All zero: every key, ascending. An empty bound is open. */
struct torc_scan_options {
    struct torc_slice from;      /* Least key, inclusive. */
    struct torc_slice to;        /* Greatest key, exclusive. */
    struct torc_slice prefix;    /* If not empty, only keys that begin so (combined with the bounds). */
    bool reverse;                /* Greatest key first. */
};

/* Begin a scan of the keys visible to `txn`, its own writes included, in bytewise order.
 *
 * Progress   Lock-free. Holds no RCU section between calls: it never stops reclamation.
 * Ordering   Shows the snapshot; own writes as they are when the cursor comes to them.
 * Ownership  Bounds are copied. `*cursor` is the caller's until torc_cursor_close(), or until `txn` ends.
 * Errors     TORC_INVALID, TORC_TOO_LARGE (a bound), TORC_FINISHED, TORC_NO_MEMORY; `*cursor` is NULL then.
 *            `from` past `to` is an empty range, not an error. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_scan(struct torc_txn *txn, const struct torc_scan_options *options, struct torc_cursor **cursor);

/* The next key and value.
 *
 * Ownership  Borrowed as from torc_txn_get(). `value` may be NULL.
 * Errors     TORC_END  no more keys; both are empty. Also TORC_FINISHED, TORC_NO_MEMORY (serializable). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_cursor_next(struct torc_cursor *cursor, struct torc_slice *key, struct torc_slice *value);

/* End a scan. NULL is accepted. */
TORC_API void torc_cursor_close(struct torc_cursor *cursor);

/* ---- What the store tells of itself -------------------------------------------------------------------------- */

struct torc_mvcc_stats {
    uint64_t keys;                 /* With a value, by the newest commits. Exact when nothing runs. */
    uint64_t memory_bytes;         /* All that the store holds, retired bytes included. */
    uint64_t retired_bytes;        /* In their grace period. */
    uint64_t versions_created;
    uint64_t versions_freed;       /* created - freed = versions in memory. */
    uint64_t commits;
    uint64_t conflicts;            /* Writes and commits refused by TORC_CONFLICT. */
    uint64_t aborts;               /* By the user. */
    uint64_t wounds;               /* Transactions aborted by another one's commit. */
    uint64_t open_transactions;
    uint64_t clock;                /* The newest stamp. */
    uint64_t watermark;            /* No open transaction reads below this stamp. */
};

/* Read the counters; those of running threads may lag. Threads: any. Progress: wait-free in the number of threads. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_stats(struct torc_mvcc *store, struct torc_mvcc_stats *stats);

struct torc_snapshot_info {
    uint64_t snapshot;             /* Its stamp. */
    uint64_t age_ns;               /* Since begin; resolution 4 ms. */
    uint64_t bytes_pinned;         /* Versions that only this snapshot, or it and newer ones, keep alive; see below. */
    bool read_only;
    bool serializable;
};

/* List the open transactions, oldest snapshot first.
 *
 * Threads    Any. Progress: lock-free; each is seen as it was at some moment of the call.
 * Out        `*count` is how many are open; min(count, capacity) entries are filled, the oldest ones.
 * Cost       O(open); with `measure_pinned`, a walk over all keys that attributes each superseded version to the
 *            oldest open snapshot that sees it (else bytes_pinned is 0). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_snapshots(struct torc_mvcc *store, bool measure_pinned, struct torc_snapshot_info *infos, size_t capacity,
                    size_t *count);

/* Prune and free all that can be freed now, on the calling thread. Commits do this a little at a time; call it
 * when the store goes idle and memory should go back.
 *
 * Progress   Blocking: waits for grace periods. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_collect(struct torc_mvcc *store);

/* Write the store's figures as Prometheus text into `buffer`, always terminated if capacity > 0.
 * Out: `*size` is the whole length; TORC_TOO_LARGE if it did not fit. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_metrics(struct torc_mvcc *store, char *buffer, size_t capacity, size_t *size);

#ifdef __cplusplus
}
#endif
#endif

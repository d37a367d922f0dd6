/* SPDX-License-Identifier: MIT */
/* include/torc/mvcc.h: a transactional key-value store of many versions, in memory.
 *
 * A transaction reads the store as it was when it began and sees its own writes. Commit publishes all of them at
 * one instant, or none. It refuses (TORC_CONFLICT) if another transaction committed one of its written keys since
 * then: first committer wins. A TORC_SERIALIZABLE transaction is also refused if something it read, or a range it
 * scanned, has changed. Versions that no open transaction can see are freed after a grace period.
 *
 * Readers never wait: a thread that stops in the middle of a commit, for ever, delays no reader and no other key.
 * What it does hold back is memory: nothing retired is freed while it stands inside a call (docs/production.md).
 *
 * Threads register themselves with the library on first use and leave it when they exit. After fork() only the
 * parent may go on using its stores; the child may only exec or _exit (docs/production.md). Nothing here may be
 * called from a signal handler.
 *
 * What holds for every function below
 *   - "Lock-free" speaks of torc's own steps. A thread's first call registers it under a short lock, and a call that
 *     says it allocates does so through the store's allocator, which may lock.
 *   - `options` may be NULL: the defaults. Any other pointer that is NULL without leave is TORC_INVALID, and so is a
 *     slice that has a size and no data.
 *   - torc_detail() tells more of each status but TORC_NOT_FOUND, TORC_EXISTS and TORC_END. */
#ifndef TORC_MVCC_H
#define TORC_MVCC_H

#include <torc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct torc_mvcc;   /* A store. Shared by any number of threads. */
struct torc_cursor; /* A scan inside a transaction. Used by the transaction's thread. */

/* A transaction. Used by one thread at a time; may be handed from thread to thread. In builds with assertions, a call
 * that finds another thread inside the same transaction returns TORC_INVALID and changes nothing.
 *
 * The handle must not be used after commit or abort. Until a later torc_txn_begin() hands it out again, such a use
 * returns TORC_FINISHED; from then on it is that later transaction's. So the status helps to find a mistake; it is
 * nothing to rely on. */
struct torc_txn;

#define TORC_KEY_SIZE_MAX 65535u                       /* Bytes. The least is 1: an empty key is TORC_INVALID. */
#define TORC_VALUE_SIZE_MAX (512u * 1024u * 1024u)     /* Bytes. The least is 0. Past either: TORC_TOO_LARGE. */

/* ---- The store ---------------------------------------------------------------------------------------------- */

/* How to open a store. Fill with torc_mvcc_options_init(), then change what you need. */
struct torc_mvcc_options {
    size_t struct_size;                       /* Set by init; any other size is TORC_INVALID. */
    const struct torc_allocator *allocator;   /* NULL (the default): malloc and free. Copied. */
    uint64_t memory_limit_bytes;              /* Of all that the store holds. 0 (the default): none. See below. */
    uint64_t retired_limit_bytes;             /* Of what is superseded or deleted and not freed yet. 0: none. The
                                                 default is 256 MiB. See below. */
    uint64_t expected_keys;                   /* A hint that saves growing: takes 16 bytes for each at open, rounded
                                                 up to a power of two. The default is 1024, the greatest 2^40. */
    uint64_t hash_seed;                       /* 0 (the default): drawn at open. */
};
/* Past a limit a put, and a torc_txn_get_for_update() of a key that is there, returns TORC_BUSY; torc_detail() names
 * the limit. Reads, deletes, commits and aborts go on, and so does what they allocate. memory_limit_bytes is kept to
 * within 16 KiB per thread, 512 KiB altogether (a limit below 1 MiB: to within half of it). retired_limit_bytes is
 * looked at every 64 writes of a thread (less often if thousands of transactions were open at once), and before a
 * write is refused. An idle thread may hold back up to 64 KiB of retired bytes: leave room for that. */

/* Fill `options` with the defaults. Does nothing if it is NULL. */
TORC_API void torc_mvcc_options_init(struct torc_mvcc_options *options);

/* Open an empty store in memory.
 *
 * Threads    Any.
 * Progress   Blocking (allocates).
 * Ownership  `*store` is the caller's until torc_mvcc_close().
 * Errors     TORC_INVALID    `store` is NULL, or an option is out of range; torc_detail() names it.
 *            TORC_NO_MEMORY  nothing was opened. `*store` is NULL after every error. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_open(const struct torc_mvcc_options *options, struct torc_mvcc **store);

/* Close a store and free everything in it. NULL is accepted.
 *
 * Threads    No other call on this store may run, nor follow if it returns TORC_OK. Threads that used the store need
 *            not have ended.
 * Progress   Blocking: waits until every call into torc that is running now, on any store, has returned.
 * Ownership  All handles and borrowed slices of the store are dead afterwards.
 * Errors     TORC_BUSY  transactions are still open: nothing was closed. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_close(struct torc_mvcc *store);

/* ---- One key, one step (autocommit) -------------------------------------------------------------------------- */

/* Copy the newest committed value of `key` into `buffer`.
 *
 * Threads    Any number at once.
 * Progress   Lock-free; never waits for a writer.
 * Ordering   Linearizable: sees every commit that returned before this call.
 * Ownership  Copies min(value size, capacity) bytes; `*size` is the whole size of the value. `buffer` may be NULL if
 *            `capacity` is 0.
 * Errors     TORC_NOT_FOUND  no such key. `*size` is 0.
 *            TORC_TOO_LARGE  the value is longer than `capacity`: the buffer holds its beginning, `*size` tells.
 *            TORC_INVALID; TORC_TOO_LARGE also for a key past its maximum. `*size` is 0.
 * Cost       One hash lookup and one copy; no allocation; no system call, but for rare wake-ups of the library's
 *            thread. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_get(struct torc_mvcc *store, struct torc_slice key, void *buffer, size_t capacity, size_t *size);

/* Set `key` to `value`, blindly: no conflict is possible, the last one wins. `*replaced`, if not NULL, tells whether
 * the key had a value before (false after an error).
 *
 * Threads    Any number at once.
 * Progress   Lock-free. Aborts (wounds) a transaction that is just installing the same key, whatever its priority: a
 *            key that is put without pause can keep transactions from writing it.
 * Ordering   Linearizable: visible to every call that begins after this one returned.
 * Ownership  Key and value are copied.
 * Errors     TORC_INVALID, TORC_TOO_LARGE, TORC_BUSY (a limit), TORC_NO_MEMORY; the store is unchanged.
 * Cost       One hash lookup and one allocation of the value's size; a new key takes another, and enters both
 *            indexes. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_put(struct torc_mvcc *store, struct torc_slice key, struct torc_slice value, bool *replaced);

/* Remove `key`, blindly. As torc_mvcc_put() but for
 *
 * Errors     TORC_NOT_FOUND (there was no value), TORC_INVALID, TORC_TOO_LARGE, TORC_NO_MEMORY (a delete is a version
 *            without a value, and takes memory until it can leave); the store is unchanged. Never TORC_BUSY. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_delete(struct torc_mvcc *store, struct torc_slice key);

/* ---- Transactions -------------------------------------------------------------------------------------------- */

enum torc_isolation {
    TORC_SNAPSHOT = 0,     /* Snapshot isolation: of the known anomalies, those of write skew only are possible. */
    TORC_SERIALIZABLE = 1  /* As if one after another, ranges included; holds among serializable transactions,
                              read-only ones and calls on one key. */
};

/* How to begin a transaction. All zero is a read-write transaction at TORC_SNAPSHOT. */
struct torc_txn_options {
    enum torc_isolation isolation;
    bool read_only;        /* Refuses writes (TORC_READ_ONLY), costs less; serializable for free. */
};

/* Begin a transaction: take a snapshot.
 *
 * Threads    Any number at once.
 * Progress   Lock-free, however many are open.
 * Ordering   The snapshot holds every commit that returned before this call, and none that begins after it returned.
 * Ownership  `*txn` is the caller's until torc_txn_commit() or torc_txn_abort(). `options` is copied.
 * Errors     TORC_INVALID (also an unknown isolation), TORC_NO_MEMORY. `*txn` is NULL then.
 * Cost       O(1), amortized. Takes an ended transaction that the thread or the store keeps; allocates if there is
 *            none. What was allocated is kept for later ones until the store closes. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_begin(struct torc_mvcc *store, const struct torc_txn_options *options, struct torc_txn **txn);

/* Find the value of `key` visible to `txn`.
 *
 * Threads    Any number at once on one store; one at a time on one `txn`.
 * Progress   Lock-free. Never waits for a writer: goes past a write that is not decided, or helps to decide it (one
 *            CAS, or the validation of a serializable transaction). Each version newer than the snapshot is one step.
 * Ordering   Sees every commit that returned before torc_txn_begin(), none that began after, and txn's own writes.
 * Ownership  `*value` is borrowed from the store and valid until txn ends, by commit or by abort; a value that txn
 *            itself wrote, until txn writes that key again or ends. While some transaction borrows a stored value,
 *            every transaction that sees the same version gets the same address: equal addresses mean that nobody
 *            wrote the key.
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
 * Errors     As torc_txn_get() and torc_txn_put(), TORC_READ_ONLY included; `*value` is empty after each.
 *            TORC_NOT_FOUND marks the absent key as well.
 * Cost       Of a get and of a put of the same value: it is copied. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_get_for_update(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value);

/* Set `key` to `value` when txn commits.
 *
 * Progress   Lock-free. Other threads see nothing of it before the commit.
 * Ownership  Key and value are copied; they may be slices that txn lent.
 * Errors     TORC_CONFLICT   somebody committed this key after txn began, so a commit of this write would be refused.
 *                            The write was not noted: abort and begin again (a commit without it may succeed).
 *            TORC_READ_ONLY, TORC_FINISHED, TORC_INVALID, TORC_TOO_LARGE, TORC_BUSY (a limit), TORC_NO_MEMORY.
 *            After each of them txn is open and its writes are as before the call.
 * Cost       One lookup, one allocation of the value's size, one more if the key is new. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_put(struct torc_txn *txn, struct torc_slice key, struct torc_slice value);

/* As torc_txn_put(), but TORC_EXISTS (and no write) if `key` is visible to txn. TORC_CONFLICT is looked for first. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_put_if_absent(struct torc_txn *txn, struct torc_slice key, struct torc_slice value);

/* Remove `key` when txn commits; TORC_NOT_FOUND (and no write) if it is not visible to txn. TORC_CONFLICT is looked
 * for first. Errors otherwise as torc_txn_put(), but never TORC_BUSY. */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_delete(struct torc_txn *txn, struct torc_slice key);

/* Publish all writes of `txn` at one instant and end it. A transaction that wrote nothing always commits.
 *
 * Progress   Lock-free: of transactions that meet, one wins; a stopped thread delays nobody for ever.
 * Ordering   A commit that returned is in every snapshot that begins afterwards.
 * Ownership  The handle is consumed whatever is returned, but for TORC_INVALID; with it its cursors, and all that it
 *            lent.
 * Errors     TORC_CONFLICT   nothing was written; torc_conflict_key() names the key.
 *            TORC_NO_MEMORY  nothing was written.
 *            TORC_FINISHED   `txn` had ended before (see struct torc_txn).
 *            TORC_INVALID    `txn` is NULL, or (builds with assertions) in use by another thread: it is still open.
 * Cost       One CAS per written key and up to three for the whole, one allocation (none for a single key at
 *            TORC_SNAPSHOT); new keys enter both indexes. Nothing of this without writes. Serializable: reads and
 *            ranges are looked at once more. A few entries of the thread's garbage are worked on afterwards. */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_commit(struct torc_txn *txn);

/* Forget all writes of `txn` and end it. The handle is consumed, with its cursors and all that it lent. NULL is
 * accepted, and a finished handle is ignored (see struct torc_txn). */
TORC_API void torc_txn_abort(struct torc_txn *txn);

/* The stamp of txn's snapshot: it sees exactly the commits whose stamp is not greater. Stamps order one store's
 * commits; several that no snapshot can tell apart may share one. 0 for NULL; `txn` must be open otherwise. */
TORC_API uint64_t torc_txn_snapshot(const struct torc_txn *txn);

/* The stamp of the calling thread's last torc_txn_commit() or successful torc_mvcc_put() or torc_mvcc_delete(), of
 * any store; 0 if that commit failed or wrote nothing, or there was none. */
TORC_API uint64_t torc_last_commit(void);

/* The key over which the calling thread's last TORC_CONFLICT arose (its first 256 bytes). Empty if it cannot be told:
 * a transaction of higher rank went first and has left no trace yet.
 *
 * Ownership  Borrowed; overwritten by the next conflict of this thread. */
TORC_API struct torc_slice torc_conflict_key(void);

/* How torc_txn_run() retries. All zero: the defaults. */
struct torc_run_options {
    struct torc_txn_options txn;
    unsigned attempts_max;      /* The first included. 0: 64. */
    uint64_t backoff_max_ns;    /* 0: 1 ms. Of the pauses that sleep: random, with a bound that doubles from 1 us
                                   up to this. */
};

/* Run `body` in a transaction and commit it; on TORC_CONFLICT, TORC_BUSY or TORC_EXPIRED (from `body` or from the
 * commit) try again, with a random pause that grows, and with a priority that grows.
 *
 * `body` gets a fresh transaction and must not end it; it may run several times, so it must not have effects outside
 * of it. It returns TORC_OK to commit, anything else to abort. What the transaction lent is dead when it returns.
 *
 * Threads    Any number at once.
 * Progress   Each attempt is lock-free. Before the first three retries the thread stays awake and pauses for some
 *            microseconds at most; before later ones it sleeps.
 * Errors     What the last attempt returned: TORC_CONFLICT, TORC_BUSY or TORC_EXPIRED after attempts_max of them; any
 *            other status of `body`, of torc_txn_begin() or of the commit at once; TORC_INVALID if `body` is NULL. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_run(struct torc_mvcc *store, const struct torc_run_options *options,
             enum torc_status (*body)(struct torc_txn *txn, void *context), void *context);

/* ---- Scans --------------------------------------------------------------------------------------------------- */

/* Which keys, in which direction. All zero: every key, ascending. An empty bound is open. */
struct torc_scan_options {
    struct torc_slice from;      /* Least key, inclusive. */
    struct torc_slice to;        /* Only keys less than this. */
    struct torc_slice prefix;    /* If not empty, only keys that begin so (combined with the bounds). */
    bool reverse;                /* Greatest key first; `from` and `to` mean the same. */
};

/* Begin a scan of the keys visible to `txn`, its own writes included, in bytewise order.
 *
 * Threads    As torc_txn_get(). A transaction may have any number of cursors open.
 * Progress   Lock-free. Between calls it holds back no memory but what the snapshot sees.
 * Ordering   Shows the snapshot; own writes as they are when the cursor comes to them.
 * Ownership  Bounds are copied. `*cursor` is the caller's until torc_cursor_close(), or until `txn` ends, which
 *            closes it. It must not be used afterwards, nor closed again: it may have been handed out anew.
 * Errors     TORC_INVALID, TORC_TOO_LARGE (a bound), TORC_FINISHED, TORC_NO_MEMORY; `*cursor` is NULL then.
 *            `from` past `to` is an empty range, not an error. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_scan(struct torc_txn *txn, const struct torc_scan_options *options, struct torc_cursor **cursor);

/* The next key and value.
 *
 * Progress   As torc_txn_get().
 * Ownership  Both are borrowed as from torc_txn_get(), and outlive the cursor. `value` may be NULL.
 * Errors     TORC_END        no more keys; both are empty.
 *            TORC_NO_MEMORY  the cursor stands where it stood: the call may be repeated.
 *            TORC_FINISHED, TORC_INVALID. Both are empty after each.
 * Cost       A step per key, and a search of the ordered index per leaf of about 32. Deleted keys that are still held
 *            back are steps, too. Allocates if serializable, or after a long run of deleted keys. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_cursor_next(struct torc_cursor *cursor, struct torc_slice *key, struct torc_slice *value);

/* End a scan. NULL is accepted. What the cursor lent stays valid until its transaction ends. */
TORC_API void torc_cursor_close(struct torc_cursor *cursor);

/* ---- What the store tells of itself -------------------------------------------------------------------------- */

struct torc_mvcc_stats {
    uint64_t keys;                 /* With a value, by the newest commits. Exact when nothing runs. */
    uint64_t memory_bytes;         /* All that the store holds, retired bytes included. */
    uint64_t retired_bytes;        /* Superseded or deleted, unreachable, and not freed yet. */
    uint64_t versions_created;
    uint64_t versions_freed;       /* created - freed = versions in memory. */
    uint64_t commits;              /* That wrote; calls on one key included. */
    uint64_t conflicts;            /* Writes and commits refused by TORC_CONFLICT. */
    uint64_t aborts;               /* By torc_txn_abort(), or by torc_txn_run() because its body said so. */
    uint64_t wounds;               /* Transactions aborted by another one's commit. */
    uint64_t open_transactions;
    uint64_t clock;                /* The newest stamp. */
    uint64_t watermark;            /* No open transaction reads below this stamp. */
};

/* Read the counters; those of running threads may lag.
 *
 * Threads    Any.
 * Progress   Wait-free in the number of threads and of transactions ever open at once.
 * Errors     TORC_INVALID. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_stats(struct torc_mvcc *store, struct torc_mvcc_stats *stats);

struct torc_snapshot_info {
    uint64_t snapshot;             /* Its stamp. */
    uint64_t age_ns;               /* Since begin; exact to a few milliseconds. */
    uint64_t bytes_pinned;         /* Versions of which this is the oldest open snapshot that sees them; see below. */
    bool read_only;
    bool serializable;
};

/* List the open transactions, oldest snapshot first. `*count` is how many are open; min(count, capacity) entries are
 * filled, the oldest ones. `infos` may be NULL if `capacity` is 0.
 *
 * Threads    Any. Each transaction is seen as it was at some moment of the call.
 * Progress   Lock-free, but for qsort(), which may allocate when the list is long.
 * Errors     TORC_INVALID (`*count` is 0), TORC_NO_MEMORY (with `measure_pinned` only: bytes_pinned is not filled).
 * Cost       O(transactions ever open at once); with `measure_pinned`, a walk over all keys that attributes each
 *            superseded version to the oldest open snapshot that sees it (else bytes_pinned is 0). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_snapshots(struct torc_mvcc *store, bool measure_pinned, struct torc_snapshot_info *infos, size_t capacity,
                    size_t *count);

/* Prune and free all that can be freed now, on the calling thread. Commits do this a little at a time; call it
 * when the store goes idle and memory should go back. Each other living thread may go on holding back what it
 * retired last, less than 64 KiB: until it writes, calls this, or has exited.
 *
 * Threads    Any number at once. The caller may have transactions open.
 * Progress   Blocking: waits for grace periods.
 * Errors     TORC_INVALID, TORC_NO_MEMORY (something is left; nothing is lost).
 * Cost       A walk over all keys, several times at most. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_collect(struct torc_mvcc *store);

/* Write the store's figures as Prometheus text into `buffer`, always terminated if capacity > 0. `*size` is the
 * length of the whole text without its terminator.
 *
 * Threads    Any.
 * Errors     TORC_TOO_LARGE (the buffer holds the beginning), TORC_INVALID (`*size` is 0).
 * Cost       As torc_mvcc_stats(). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_metrics(struct torc_mvcc *store, char *buffer, size_t capacity, size_t *size);

#ifdef __cplusplus
}
#endif
#endif

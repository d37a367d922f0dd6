/* SPDX-License-Identifier: MIT */
/* include/torc/mvcc.h: a transactional key-value store of many versions, in memory, and durable if it has a directory.
 *
 * A transaction reads the store as it was when it began and sees its own writes. Commit publishes all of them at
 * one instant, or none. It refuses (TORC_CONFLICT) if another transaction committed one of its written keys since
 * then: first committer wins. A TORC_SERIALIZABLE transaction is also refused if something it read, or a range it
 * scanned, has changed. Versions that no open transaction can see are freed after a grace period.
 *
 * Readers never wait: a thread that stops in the middle of a commit, for ever, delays no reader and no other key.
 * What it does hold back is memory: nothing retired is freed while it stands inside a call (docs/production.md).
 * Only what waits for the disk waits for who writes to it, one thread at a time.
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
 *   - torc_detail() tells more of each status but TORC_NOT_FOUND, TORC_EXISTS, TORC_MISMATCH and TORC_END.
 *   - In a store with a journal (a directory, and not TORC_DURABILITY_NONE) a write of one key, a commit that wrote,
 *     and making or dropping a keyspace may wait for the disk (options.journal_limit_bytes, TORC_DURABILITY_SYNC), and
 *     return, also where Errors does not say so, TORC_READ_ONLY (the journal has failed; nothing was written) and with
 *     TORC_DURABILITY_SYNC TORC_INDETERMINATE: the journal failed while the call waited. Then the write has happened,
 *     is visible, and has a stamp; whether it survives the end of the process is open until torc_mvcc_resume()
 *     succeeds. Do not write it again blindly: torc_status_maybe_committed() tells this status from the others.
 *   - Also where Errors does not say so, a call on a dropped keyspace, or on a transaction that uses it, may return
 *     TORC_NOT_FOUND, and with max_snapshot_age_ns any call on a transaction may return TORC_EXPIRED. */
#ifndef TORC_MVCC_H
#define TORC_MVCC_H

#include <torc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct torc_mvcc;     /* A store. Shared by any number of threads. */
struct torc_keyspace; /* A set of keys of its own inside a store. Shared by any number of threads. */
struct torc_cursor;   /* A scan inside a transaction. Used by the transaction's thread. */
struct torc_watch;    /* What tells that keys have changed. Used by one thread at a time. */
struct torc_commit;   /* The changes of one commit, as on_commit sees them. */

/* A transaction. Used by one thread at a time; may be handed from thread to thread. In builds with assertions, a call
 * that finds another thread inside the same transaction returns TORC_INVALID and changes nothing.
 *
 * The handle must not be used after commit or abort. Until a later torc_txn_begin() hands it out again, such a use
 * returns TORC_FINISHED; from then on it is that later transaction's. So the status helps to find a mistake; it is
 * nothing to rely on. */
struct torc_txn;

#define TORC_KEY_SIZE_MAX 65535u                       /* Bytes. The least is 1: an empty key is TORC_INVALID. */
#define TORC_VALUE_SIZE_MAX (512u * 1024u * 1024u)     /* Bytes. The least is 0. Past either: TORC_TOO_LARGE. */
#define TORC_NAME_SIZE_MAX 63u                         /* Bytes of a name: of a keyspace, a snapshot, a savepoint. */
#define TORC_KEYSPACES_MAX 65535u                      /* Of one store at a time, its default one included,
                                                      and dropped ones that a snapshot still holds back. */

/* ---- The store --------------------------------------------------------------------------------------------------- */

/* When a commit is durable: it survives the end of the process, and of the machine's power. */
enum torc_durability {
    TORC_DURABILITY_NONE = 0,   /* By torc_mvcc_checkpoint(), torc_mvcc_sync() and torc_mvcc_close(), and by nothing
                                   else: there is no journal, and no checkpoint begins by itself. */
    TORC_DURABILITY_ASYNC = 1,  /* Soon after: torc_mvcc_wait_durable(), torc_mvcc_durable(). */
    TORC_DURABILITY_SYNC = 2    /* When its call returns. Others see it a little earlier. */
};

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
    uint64_t txn_limit_bytes;                 /* Of what one transaction collects: its writes, and if serializable its
                                                 reads. 0 (the default): none. Past it: TORC_TOO_LARGE. */
    uint64_t max_snapshot_age_ns;             /* 0 (the default): none. An older transaction may be expired, so that
                                                 it holds back nothing. See below. */
    uint64_t history_ns;                      /* So long every superseded version is kept, for torc_txn_options.at.
                                                 0 (the default): not at all. */
    bool caller_driven;                       /* Start no thread: the caller calls torc_mvcc_poll() now and then. */
    uint64_t (*now_ms)(void *context);        /* The time by which keys expire, in ms since 1970. NULL (the default):
                                                 the system's clock. Called by all threads; must not call torc. */
    void *now_context;
    void (*on_commit)(void *context, const struct torc_commit *commit);     /* NULL (the default): none. See below. */
    void *on_commit_context;
    const char *directory;                    /* Where its files are; made, its parents too, if it is not there. NULL
                                                 (the default): in memory only, and what follows means nothing.
                                                 Copied; a relative one is made absolute. */
    enum torc_durability durability;          /* The default is TORC_DURABILITY_ASYNC. May change from open to open. */
    uint64_t journal_limit_bytes;             /* Of commits that wait to be written; past it, writers wait for the
                                                 disk. The default is 64 MiB, the least 1 MiB. */
    uint64_t checkpoint_bytes;                /* A checkpoint begins by itself when the journal has grown by so much,
                                                 and by as much as the last checkpoint has. 0: never. The default
                                                 is 256 MiB. Nothing with TORC_DURABILITY_NONE. */
    bool durable_snapshots;                   /* Keep the newest durable snapshot at hand, so that a transaction begun
                                                 with `durable` need not wait. Costs a version, for some milliseconds,
                                                 of each key that is written. The default is false. */
    unsigned recovery_threads;                /* That load at open. 0 (the default): one per processor, 8 at most. */
};
/* No option is kept in the directory: each open chooses anew, and may choose otherwise.
 *
 * Past a limit a put or merge, and a torc_txn_get_for_update() of a key that is there, returns TORC_BUSY; torc_detail()
 * names the limit. Reads, deletes, commits and aborts go on, and so does what they allocate. memory_limit_bytes is kept
 * to within 16 KiB per thread, 512 KiB altogether (a limit below 1 MiB: to within half of it), and one step by which
 * the store grows: 1/64 of the limit, at least 64 KiB, at most 2 MiB. Past it, keys and values go on to be put as long
 * as what was deleted or replaced left room for them in the memory that the store holds. retired_limit_bytes is looked
 * at every 64 writes of a thread (less often if thousands of transactions were open at once), and before a write is
 * refused. An idle thread may hold back up to 64 KiB of retired bytes: leave room for that. */

/* With max_snapshot_age_ns a transaction that is older (a named snapshot is none) may be expired by the garbage
 * collector: each of its calls returns TORC_EXPIRED from then on, the commit included, and it holds back nothing. It
 * must still be ended. In such a store reads are copied, and may find no memory (TORC_NO_MEMORY). What a get lends
 * stays valid until the transaction ends, expired or not; what a cursor lends, until its next call. The copies that
 * gets have made count in torc_txn_bytes().
 *
 * With history_ns every superseded version is kept for that time, by whatever is written: a key that is put 1,000 times
 * in a second has 1,000 versions more for each second of history. */

/* Fill `options` with the defaults. Does nothing if it is NULL. */
TORC_API void torc_mvcc_options_init(struct torc_mvcc_options *options);

/* Open a store: an empty one in memory, or with options.directory what was committed there, as far as it was durable.
 * torc_mvcc_recovery() tells what was found.
 *
 * Threads    Any.
 * Progress   Blocking (allocates, reads files).
 * Ownership  `*store` is the caller's until torc_mvcc_close().
 * Errors     TORC_INVALID    `store` is NULL, or an option is out of range; torc_detail() names it.
 *            TORC_NO_MEMORY  (also memory_limit_bytes, which does not hold what was found; no thread can be started).
 *            With a directory:
 *            TORC_LOCKED     it is open already, in this process or another one, or torc_mvcc_verify() reads it.
 *            TORC_FOREIGN    it is of another kind (torc_detail() says which), or of a later version.
 *            TORC_MISSING    a file that belongs to it is not there.
 *            TORC_CORRUPT    what was durable once is damaged; torc_detail() names file and place. A last frame that
 *                            was being written when the power went is not: the store ends before it.
 *            TORC_NO_SPACE, TORC_IO (errno tells), TORC_TOO_LARGE (the path).
 *            `*store` is NULL after every error, and no data in the directory was changed.
 * Cost       Reads the newest checkpoint once and the journal after it twice. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_open(const struct torc_mvcc_options *options, struct torc_mvcc **store);

/* Close a store and free everything in it. NULL is accepted.
 *
 * Threads    No other call on this store may run, nor follow if it returns TORC_OK. Threads that used the store need
 *            not have ended.
 * Progress   Blocking: waits until every call into torc that is running now, on any store, has returned.
 * Ownership  All handles and borrowed slices of the store are dead afterwards.
 *            Named snapshots and keyspaces need not have been dropped.
 * Errors     TORC_BUSY  transactions or watches are still open: nothing was closed.
 *            With a directory, everything is made durable first. If that fails the store is closed all the same:
 *            TORC_INDETERMINATE, and torc_detail() tells why. torc_mvcc_sync() before it leaves the choice. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_close(struct torc_mvcc *store);

/* Work that waits: free what is past its grace period, prune, take expired keys and dropped keyspaces away, a bounded
 * part of it; if caller_driven, also one flush of the journal, and a part of a checkpoint. Commits do the same (but for
 * flushes and checkpoints) a little at a time; call it from a timer when the store may be idle, and often (say, every
 * millisecond under load) if it was opened caller_driven: nothing is freed there otherwise, nor made durable. `*more`,
 * if not NULL, tells whether it would be useful to call again soon. That is in a millisecond or so, not at once: it is
 * true as long as something waits for a grace period.
 *
 * Threads    Any number at once. The caller may have transactions open.
 * Progress   Blocking if caller_driven: waits for a grace period, that is for calls into torc that run now. Lock-free
 *            otherwise.
 * Errors     TORC_INVALID, TORC_NO_MEMORY (something is left; nothing is lost). A flush or a checkpoint that failed is
 *            not told here, but to who writes or waits, and by torc_mvcc_durability(). */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_poll(struct torc_mvcc *store, bool *more);

/* Prune and free all that can be freed now, on the calling thread. Commits do this a little at a time; call it
 * when the store goes idle and memory should go back. Each other living thread may go on holding back what it
 * retired last, less than 64 KiB: until it writes, calls this, or has exited.
 *
 * Threads    Any number at once. The caller may have transactions open.
 * Progress   Blocking: waits for grace periods.
 * Errors     TORC_INVALID, TORC_NO_MEMORY (something is left; nothing is lost).
 * Cost       A walk over all keys, several times at most. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_collect(struct torc_mvcc *store);

/* ---- Durability -------------------------------------------------------------------------------------------------- */

/* A store with a directory keeps a journal of its commits there, and now and then a checkpoint of all keys, after
 * which older parts of the journal are used again. What survives is always a prefix of history: all commits up to one
 * stamp, and that stamp only grows (torc_mvcc_durable()). A commit is visible before it is durable, also with
 * TORC_DURABILITY_SYNC; who must not act on what may yet be lost reads at a durable snapshot (`durable` in
 * torc_txn_options).
 * Keyspaces and the times at which values expire are durable as commits are; named snapshots and history are not.
 * on_commit and watches tell of a commit when it is visible, not when it is durable.
 *
 * Stamps go on from open to open. But a commit that was lost leaves its stamp to others: after a crash stamps above
 * torc_recovery.cut may be given out a second time. So keep a stamp outside of the store only if it was durable.
 *
 * If a write or a sync of the journal fails, what became of it cannot be known. Commits that wait for it return
 * TORC_INDETERMINATE, later writes TORC_READ_ONLY, and nothing is written any more until torc_mvcc_resume(); reads go
 * on. Without a directory, the calls below return TORC_UNSUPPORTED, or 0. */

/* The greatest stamp up to which all commits are durable; with TORC_DURABILITY_NONE that of the last checkpoint. Never
 * decreases while the store is open. 0 for NULL. Wait-free. */
TORC_API uint64_t torc_mvcc_durable(struct torc_mvcc *store);

/* Wait until the commit with `stamp` (torc_last_commit() tells it) is durable, and all before it.
 *
 * Threads    Any number at once.
 * Progress   Blocking: waits for the disk, or writes and syncs itself, for the others that wait too.
 * Errors     TORC_INDETERMINATE  the journal has failed: it may or may not survive.
 *            TORC_INVALID (NULL; a stamp that no commit has yet; TORC_DURABILITY_NONE), TORC_UNSUPPORTED. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_wait_durable(struct torc_mvcc *store, uint64_t stamp);

/* Wait until all that was committed before this call is durable: by the journal, or with TORC_DURABILITY_NONE by a
 * checkpoint. Errors as torc_mvcc_wait_durable(), but with TORC_DURABILITY_NONE as torc_mvcc_checkpoint(). */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_sync(struct torc_mvcc *store);

/* Have what is committed flushed soon, without waiting: for an event loop that holds answers back until they are
 * durable. With TORC_DURABILITY_ASYNC the background thread rests between two flushes otherwise, some milliseconds at
 * most. If caller_driven, torc_mvcc_poll() flushes. Lock-free, but for a wake-up. NULL is accepted. */
TORC_API void torc_mvcc_flush(struct torc_mvcc *store);

/* A descriptor that is readable when torc_mvcc_durable() has grown, or the journal has failed, since its counter was
 * last read (8 bytes, as of an eventfd): for poll(), epoll, libuv. One per store, made by the first call, the store's;
 * the caller reads it, and does not close it. -1 if the system has none left, or there is no journal. */
TORC_API int torc_mvcc_durable_fd(struct torc_mvcc *store);

/* Write a checkpoint, on the calling thread; or with `wait` false ask for one in the background (if caller_driven: by
 * torc_mvcc_poll()). Commits go on meanwhile.
 *
 * Threads    Any number at once; one is written at a time, and the others wait for it and then write theirs.
 * Progress   Blocking.
 * Errors     TORC_UNSUPPORTED, TORC_INVALID, TORC_NO_MEMORY, TORC_NO_SPACE, TORC_IO: the checkpoint before stays, and
 *            the journal goes on. TORC_INDETERMINATE: the journal has failed, and no checkpoint is written.
 *            With `wait` false only the first two; torc_durability_stats.checkpoint_status tells the rest later. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_checkpoint(struct torc_mvcc *store, bool wait);

/* Write all that is committed now into another directory, which must be empty or not there: it can be opened as a
 * store. Works for stores without a directory, and after the journal has failed, too. All that is visible is in it,
 * also what is not durable in `store` yet.
 *
 * Threads    Any number at once, into different directories; a checkpoint may run beside it.
 * Progress   Blocking: returns when the copy is durable.
 * Errors     TORC_EXISTS (something is there: take an empty directory, also after a backup that failed), TORC_LOCKED,
 *            TORC_INVALID, TORC_TOO_LARGE (the path), TORC_NO_MEMORY, TORC_NO_SPACE, TORC_IO. What is there after an
 *            error does not open (TORC_MISSING); remove it. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_backup(struct torc_mvcc *store, const char *directory);

/* After the journal has failed, and its cause is gone: begin a new one, and write a checkpoint of all that is visible:
 * commits that returned TORC_INDETERMINATE are durable then. TORC_OK at once if nothing has failed.
 *
 * Threads    Any number at once.
 * Progress   Blocking.
 * Errors     As torc_mvcc_checkpoint(); the store is still read-only then. */
TORC_API TORC_MUST_CHECK enum torc_status torc_mvcc_resume(struct torc_mvcc *store);

/* What a directory holds, as open found it or as verify reads it. */
struct torc_recovery {
    uint64_t checkpoint_stamp;     /* 0: there is none. */
    uint64_t checkpoint_entries;
    uint64_t checkpoint_bytes;
    uint64_t segments;             /* Of the journal. */
    uint64_t commits;              /* In the journal, after the checkpoint and up to the cut. */
    uint64_t journal_bytes;        /* Of their frames. */
    uint64_t torn_bytes;           /* Written behind the last complete flush, and dropped. 0 after an orderly close. */
    uint64_t cut;                  /* All commits up to this stamp are there, and no other. */
    uint64_t keys;                 /* 0 from verify, which does not put them together. */
    uint64_t keyspaces;            /* The default one included. */
    uint64_t duration_ns;
};

/* What torc_mvcc_open() found. TORC_INVALID, TORC_UNSUPPORTED. Wait-free. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_recovery(struct torc_mvcc *store, struct torc_recovery *recovery);

/* Read every byte of a store that is not open and check it, as open would and without changing anything. (`LOCK` is
 * locked meanwhile, so it must be writable, and is made if it is not there.) `recovery` may be NULL; after
 * an error all but `duration_ns` is 0.
 *
 * Threads    Any.
 * Progress   Blocking.
 * Errors     As torc_mvcc_open(); TORC_MISSING also if there is no store. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_verify(const char *directory, struct torc_recovery *recovery);

struct torc_durability_stats {
    uint64_t durable;              /* torc_mvcc_durable() */
    uint64_t journal_bytes;        /* Since the last checkpoint: about what recovery has to read. This and the next
                                      seven are 0 with TORC_DURABILITY_NONE. */
    uint64_t waiting_bytes;        /* Of commits that are not written yet, but for up to 64 KiB of each thread. */
    uint64_t flushes;
    uint64_t flushed_commits;
    uint64_t flushed_bytes;
    uint64_t flush_ns;             /* All of them together. */
    uint64_t waits;                /* Writers that had to wait because of journal_limit_bytes. */
    uint64_t checkpoints;          /* Since open. */
    uint64_t checkpoint_stamp;     /* Of the last one. 0: there is none. */
    uint64_t checkpoint_ms;        /* When it was completed, in ms since 1970; 0: before open. */
    bool checkpoint_running;
    enum torc_status checkpoint_status; /* Of the last attempt; TORC_OK if there was none. */
    enum torc_status failed;       /* TORC_OK, or why the journal accepts nothing. */
};

/* TORC_INVALID, TORC_UNSUPPORTED. Wait-free. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_durability(struct torc_mvcc *store, struct torc_durability_stats *stats);

/* ---- Keyspaces --------------------------------------------------------------------------------------------------- */

/* A store begins with one keyspace, the default one, which the torc_mvcc_ calls below mean; transactions use it unless
 * torc_txn_use() said otherwise. A transaction may use any number of keyspaces, and its commit is one instant in all of
 * them.
 *
 * The handle of a keyspace must not be used after it was dropped. Until another one gets its memory, such a use returns
 * TORC_NOT_FOUND and changes nothing: that helps to find a mistake; it is nothing to rely on. */

/* The default keyspace. Never NULL for a store; cannot be dropped. */
TORC_API struct torc_keyspace *torc_mvcc_default(struct torc_mvcc *store);

/* Create an empty keyspace. `name` has 1 to TORC_NAME_SIZE_MAX bytes, any bytes.
 *
 * Threads    Any number at once.
 * Progress   Lock-free. In a store with a directory it may wait for the disk, as any write.
 * Ownership  The name is copied. `*keyspace` is valid until it is dropped, or the store closed.
 * Errors     TORC_EXISTS (`*keyspace` is the one that has the name), TORC_INDETERMINATE (`*keyspace` is new, can be
 *            used, and may survive or not), TORC_INVALID, TORC_TOO_LARGE (the name), TORC_BUSY (TORC_KEYSPACES_MAX),
 *            TORC_READ_ONLY, TORC_NO_MEMORY. `*keyspace` is NULL after all others.
 * Cost       Allocates some KiB; takes time in proportion to the number of keyspaces. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_create(struct torc_mvcc *store, struct torc_slice name, struct torc_keyspace **keyspace);

/* Find a keyspace by its name. TORC_NOT_FOUND, TORC_INVALID; `*keyspace` is NULL then. Lock-free. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_find(struct torc_mvcc *store, struct torc_slice name, struct torc_keyspace **keyspace);

/* Take a keyspace and all of its keys away, at once for everybody, also for transactions that began before: calls on
 * it return TORC_NOT_FOUND, and a commit that wrote into it TORC_CONFLICT. What transactions have borrowed from it
 * stays valid. Its memory is freed bit by bit afterwards.
 *
 * Threads    Any number at once. Nobody may use the handle after this returned TORC_OK or TORC_INDETERMINATE.
 * Progress   Lock-free. In a store with a directory it may wait for the disk, as any write.
 * Errors     TORC_NOT_FOUND (was dropped already), TORC_INDETERMINATE (it is gone; after a crash it may be there
 *            again), TORC_INVALID (NULL, or the default one), TORC_READ_ONLY, TORC_NO_MEMORY (it is still there). */
TORC_API TORC_MUST_CHECK enum torc_status torc_keyspace_drop(struct torc_keyspace *keyspace);

/* The name of a keyspace, empty for the default one. Borrowed from the keyspace. Wait-free. */
TORC_API struct torc_slice torc_keyspace_name(const struct torc_keyspace *keyspace);

/* How many keys it has, by the newest commits; expired ones that are still there count. Exact when nothing runs.
 * 0 for NULL. Wait-free. */
TORC_API uint64_t torc_keyspace_keys(const struct torc_keyspace *keyspace);

/* List the keyspaces, the default one first, the others in the order of their creation. `*count` is how many there are;
 * min(count, capacity) are filled. `keyspaces` may be NULL if `capacity` is 0. Lock-free. TORC_INVALID. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_keyspaces(struct torc_mvcc *store, struct torc_keyspace **keyspaces, size_t capacity, size_t *count);

/* About how many keys lie in [from, to), and how many bytes they and their values have. */
struct torc_estimate {
    uint64_t keys;
    uint64_t bytes;
};

/* Estimate a range; an empty bound is open. Exact to a few leaves of the ordered index for small ranges, and within
 * some 20 % for large ones; keys that are deleted or expired but not gone yet count.
 *
 * Threads    Any number at once.
 * Progress   Lock-free.
 * Errors     TORC_INVALID, TORC_TOO_LARGE (a bound), TORC_NOT_FOUND (dropped). The estimate is 0 then.
 * Cost       Two searches of the ordered index, and a look at some hundred keys. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_estimate(struct torc_keyspace *keyspace, struct torc_slice from, struct torc_slice to,
                       struct torc_estimate *estimate);

/* ---- Values that expire, and merges ------------------------------------------------------------------------------ */

/* Times at which a value expires are in milliseconds since 1970, by torc_mvcc_options.now_ms; this one: never. A value
 * that has expired is absent for everybody, at once, in older snapshots too; it is taken away later (torc_mvcc_poll()).
 * A put or compare_and_set sets the time anew: where none is given, the value does not expire. A merge keeps it. */
#define TORC_NEVER UINT64_C(0)

/* What a merge operator writes its result into. */
struct torc_merge_output;

/* Memory for a result of `size` bytes, uninitialised; the last call counts. NULL: no memory, or too large: return
 * TORC_NO_MEMORY or TORC_TOO_LARGE then. */
TORC_API void *torc_merge_output(struct torc_merge_output *output, size_t size);

/* How a value and an operand become a new value.
 *
 * merge      `current` is NULL if the key has no value. Returns TORC_OK after it has filled torc_merge_output(), or any
 *            other status, which refuses the write. Runs inside a call into torc, on the newest committed value, and
 *            again if another commit comes first; so it must be quick, must depend on its arguments alone, and must
 *            not call torc (but for torc_merge_output()), nor wait. */
struct torc_merge_operator {
    const char *name;
    enum torc_status (*merge)(void *context, const struct torc_slice *current, struct torc_slice operand,
                              struct torc_merge_output *output);
    void *context;
};

/* add, min and max work on integers of 8 bytes, little-endian, two's complement. Where there is no value, the result is
 * the operand. A value or an operand of another size refuses with TORC_INVALID; a sum that does not fit wraps around.
 * append puts the operand's bytes behind the value's. */
TORC_API extern const struct torc_merge_operator torc_merge_add;
TORC_API extern const struct torc_merge_operator torc_merge_min;
TORC_API extern const struct torc_merge_operator torc_merge_max;
TORC_API extern const struct torc_merge_operator torc_merge_append;

/* ---- One key, one step (autocommit) ------------------------------------------------------------------------------ */

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

/* The calls on one key, in a keyspace. torc_keyspace_get() is torc_mvcc_get(); put is torc_mvcc_put() with a time at
 * which the value expires (TORC_NEVER: never); delete is torc_mvcc_delete().
 *
 * Errors     As there, and TORC_NOT_FOUND if the keyspace was dropped, by put also; TORC_INVALID if it is NULL. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_get(struct torc_keyspace *keyspace, struct torc_slice key, void *buffer, size_t capacity, size_t *size);
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_put(struct torc_keyspace *keyspace, struct torc_slice key, struct torc_slice value, uint64_t expires_ms,
                  bool *replaced);
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_delete(struct torc_keyspace *keyspace, struct torc_slice key);

/* Replace the value of `key` by `*desired` (NULL: delete it) if it is `*expected` (NULL: if the key has no value). The
 * new value does not expire.
 *
 * Threads    Any number at once.
 * Progress   Lock-free, as torc_mvcc_put().
 * Ordering   Linearizable, also when it refuses.
 * Errors     TORC_MISMATCH   the value is another one.
 *            TORC_NOT_FOUND  there is none, and one was expected; or the keyspace was dropped.
 *            TORC_EXISTS     there is one, and none was expected.
 *            TORC_INVALID, TORC_TOO_LARGE, TORC_BUSY (not for a delete), TORC_NO_MEMORY. The store is unchanged.
 * Cost       As torc_mvcc_put(). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_compare_and_set(struct torc_keyspace *keyspace, struct torc_slice key, const struct torc_slice *expected,
                              const struct torc_slice *desired);

/* Apply `operation` to the newest value of `key`. The time at which it expires stays as it was.
 *
 * Threads    Any number at once; none can conflict.
 * Progress   Lock-free, as torc_mvcc_put().
 * Ordering   Linearizable.
 * Ownership  The operand is copied; the result is copied into `buffer` as by torc_mvcc_get() if `size` is not NULL.
 * Errors     What the operator returned; TORC_INVALID, TORC_TOO_LARGE, TORC_BUSY, TORC_NO_MEMORY, TORC_NOT_FOUND (the
 *            keyspace was dropped): the store is unchanged. A result that does not fit into `buffer` is no error: its
 *            beginning is there, and `*size` tells.
 * Cost       As torc_mvcc_put(), and the operator. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_merge(struct torc_keyspace *keyspace, struct torc_slice key, const struct torc_merge_operator *operation,
                    struct torc_slice operand, void *buffer, size_t capacity, size_t *size);

/* What torc_keyspace_load() puts. */
struct torc_pair {
    struct torc_slice key;
    struct torc_slice value;
};

/* Put many keys, each as by torc_mvcc_put(), faster than one by one, fastest in ascending order; not atomic: each pair
 * is a commit of its own. A key may come several times; the last pair wins.
 *
 * Threads    Any number at once.
 * Progress   Lock-free, as torc_mvcc_put().
 * Ownership  Keys and values are copied.
 * Errors     As torc_keyspace_put(). `*loaded`, if not NULL, tells how many of the first pairs were put. With
 *            TORC_DURABILITY_SYNC it waits once, at the end; after an error the pairs that were put need not be durable
 *            yet (torc_mvcc_sync()). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_load(struct torc_keyspace *keyspace, const struct torc_pair *pairs, size_t count, size_t *loaded);

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

enum torc_isolation {
    TORC_SNAPSHOT = 0,     /* Snapshot isolation: of the known anomalies, those of write skew only are possible. */
    TORC_SERIALIZABLE = 1  /* As if one after another, ranges included; holds among serializable transactions,
                              read-only ones and calls on one key. */
};

/* How to begin a transaction. All zero is a read-write transaction at TORC_SNAPSHOT. */
struct torc_txn_options {
    enum torc_isolation isolation;
    bool read_only;             /* Refuses writes (TORC_READ_ONLY), costs less; serializable for free. */
    struct torc_slice snapshot; /* Not empty: read the named snapshot instead of the newest one. */
    uint64_t at;                /* Not 0: read the store as of this stamp, of torc_last_commit() or torc_txn_snapshot(),
                                   if it is within history_ns. */
    bool durable;               /* Read only what is durable, of a store with a journal: the snapshot is the newest one,
                                   and is waited for; with durable_snapshots it is the newest durable one. */
};
/* A transaction that reads the past may write: TORC_CONFLICT if somebody has written the key since. Keyspaces that were
 * dropped since, and values that have expired since, are absent in the past, too. */

/* Begin a transaction: take a snapshot.
 *
 * Threads    Any number at once.
 * Progress   Lock-free, however many are open. With `durable` it waits for the disk, unless durable_snapshots.
 * Ordering   The snapshot holds every commit that returned before this call, and none that begins after it returned;
 *            with `durable` and durable_snapshots, or in the past, only those up to its stamp.
 * Ownership  `*txn` is the caller's until torc_txn_commit() or torc_txn_abort(). `options` is copied.
 * Errors     TORC_INVALID (also an unknown isolation; a stamp that is not past; both a name and a stamp),
 *            TORC_NOT_FOUND (no snapshot has the name), TORC_EXPIRED (what the stamp saw is not kept, as always
 *            without history_ns), TORC_NO_MEMORY; with `durable` TORC_UNSUPPORTED (no journal), TORC_INDETERMINATE (the
 *            journal has failed). `*txn` is NULL then.
 * Cost       O(1), amortized. Takes an ended transaction that the thread or the store keeps; allocates if there is
 *            none. What was allocated is kept for later ones until the store closes. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_begin(struct torc_mvcc *store, const struct torc_txn_options *options, struct torc_txn **txn);

/* From here on `txn` means the keys of `keyspace` (NULL: the default one). Cursors stay where they were opened.
 * TORC_NOT_FOUND (dropped), TORC_INVALID (of another store), TORC_FINISHED: nothing has changed. Wait-free. */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_use(struct torc_txn *txn, struct torc_keyspace *keyspace);

/* The keyspace that `txn` means now. NULL for NULL; `txn` must be open otherwise. Wait-free. */
TORC_API struct torc_keyspace *torc_txn_keyspace(const struct torc_txn *txn);

/* The stamp of txn's snapshot: it sees exactly the commits whose stamp is not greater. Stamps order one store's
 * commits; several that no snapshot can tell apart may share one. 0 for NULL; `txn` must be open otherwise. */
TORC_API uint64_t torc_txn_snapshot(const struct torc_txn *txn);

/* ---- Transactions: reading --------------------------------------------------------------------------------------- */

/* Find the value of `key` visible to `txn`.
 *
 * Threads    Any number at once on one store; one at a time on one `txn`.
 * Progress   Lock-free. Never waits for a writer: goes past a write that is not decided, or helps to decide it (one
 *            CAS, or the validation of a serializable transaction). Each version newer than the snapshot is one step.
 * Ordering   Sees every commit that returned before torc_txn_begin(), none that began after, and txn's own writes.
 * Ownership  `*value` is borrowed from the store and valid until txn ends, by commit or by abort; a value that txn
 *            itself wrote, until txn writes that key again or ends. While some transaction borrows a stored value,
 *            every transaction that sees the same version gets the same address: equal addresses mean that nobody
 *            wrote the key (but not with max_snapshot_age_ns, where reads are copied).
 * Errors     TORC_NOT_FOUND  no visible value; `*value` is empty.
 *            TORC_INVALID, TORC_TOO_LARGE (key), TORC_FINISHED; serializable: TORC_NO_MEMORY, TORC_TOO_LARGE
 *            (txn_limit_bytes): the read could not be noted, and did not happen. `*value` is empty after each.
 * Cost       One hash lookup plus the versions of this key that are newer than the snapshot. No allocation unless
 *            serializable, or with max_snapshot_age_ns. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_get(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value);

/* torc_txn_get() of `count` keys: values[i] is that of keys[i]; its `data` is NULL if there is none. Faster than one by
 * one: the cache misses of several keys overlap.
 *
 * Errors     As torc_txn_get(), but TORC_NOT_FOUND only if the keyspace was dropped. All values are empty then; what
 *            was read counts as read. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_get_many(struct torc_txn *txn, const struct torc_slice *keys, size_t count, struct torc_slice *values);

/* When the value of `key` visible to `txn` expires: `*expires_ms`, or TORC_NEVER. Otherwise as torc_txn_get().
 *
 * A value that has expired is absent. A transaction judges that by the time of its first look at a value that expires,
 * for all of its life. Expiring is not a commit: it conflicts with nothing. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_expiry(struct torc_txn *txn, struct torc_slice key, uint64_t *expires_ms);

/* As torc_txn_get(), and treat the key as written with the value it has (or as deleted, if it has none): at commit,
 * another transaction that wrote it or also read it for update since then is a conflict. The cure for write skew.
 * on_commit and watches are told of the key like of any other that was written.
 *
 * Ownership  As torc_txn_get(). The key counts as txn's own write from here on, for later reads too.
 * Errors     As torc_txn_get() and torc_txn_put(), TORC_READ_ONLY included; `*value` is empty after each.
 *            TORC_NOT_FOUND marks the absent key as well.
 * Cost       Of a get and of a put of the same value: it is copied. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_get_for_update(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value);

/* ---- Transactions: writing --------------------------------------------------------------------------------------- */

/* Set `key` to `value` when txn commits.
 *
 * Progress   Lock-free. Other threads see nothing of it before the commit.
 * Ownership  Key and value are copied; they may be slices that txn lent.
 * Errors     TORC_CONFLICT   somebody committed this key, or one of the last few that txn put before, after txn began:
 *                            a commit would be refused. torc_conflict_key() names the key. The write was not noted:
 *                            abort and begin again. (Not every conflict is seen that early; the commit sees all.)
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

/* As torc_txn_put(), with a time at which the value expires; one that is past is as good as a delete. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_put_expiring(struct torc_txn *txn, struct torc_slice key, struct torc_slice value, uint64_t expires_ms);

/* Set when the value of `key` expires (TORC_NEVER: never); TORC_NOT_FOUND if it is not visible to txn. The value is
 * written again. Errors otherwise as torc_txn_put(). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_expire(struct torc_txn *txn, struct torc_slice key, uint64_t expires_ms);

/* Replace the value of `key` by `*desired` (NULL: delete it) if the value visible to txn is `*expected` (NULL: if there
 * is none). Errors as torc_txn_put(), with TORC_MISMATCH, TORC_NOT_FOUND and TORC_EXISTS as of
 * torc_keyspace_compare_and_set(); TORC_CONFLICT is looked for first. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_compare_and_set(struct torc_txn *txn, struct torc_slice key, const struct torc_slice *expected,
                         const struct torc_slice *desired);

/* Apply `operation` to `key` when txn commits, to the value that is newest then. Merges of the same key by any number
 * of transactions never conflict with one another: each finds the other's result, or is found by it.
 *
 * A later read of the key by txn (get, a scan, get_for_update, compare_and_set, expire) applies the operator to the
 * value of its snapshot, and makes the merge a put of that result, which may conflict.
 *
 * Progress   Lock-free. A commit that merges tries again, with a rank that grows, until it is done, an operator
 *            refuses, or another key's write is a conflict.
 * Ownership  `operation` is borrowed until txn ends; the operand is copied.
 * Errors     As torc_txn_put(), but never TORC_CONFLICT. What the operator returns is returned by the commit, which
 *            writes nothing then; at once, if txn wrote the key before; or by a read that applies it. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_merge(struct torc_txn *txn, struct torc_slice key, const struct torc_merge_operator *operation,
               struct torc_slice operand);

/* Delete every key in [from, to) that is visible to txn; an empty bound is open. `*deleted`, if not NULL, tells how
 * many. At TORC_SNAPSHOT, a key that another transaction inserts meanwhile stays.
 *
 * Errors     As torc_txn_scan() and torc_txn_put(); some keys may be deleted in txn then: set a savepoint before, or
 *            abort. Never TORC_BUSY.
 * Cost       A scan, and a write per key. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_delete_range(struct torc_txn *txn, struct torc_slice from, struct torc_slice to, uint64_t *deleted);

/* Bytes that txn has collected, as txn_limit_bytes counts them. 0 for NULL; `txn` must be open otherwise. Wait-free. */
TORC_API uint64_t torc_txn_bytes(const struct torc_txn *txn);

/* ---- Transactions: savepoints ------------------------------------------------------------------------------------ */

/* Mark this place in txn. `name` has 0 to TORC_NAME_SIZE_MAX bytes, any bytes, and may stand for several places: the
 * last one is meant. Savepoints nest.
 *
 * Ownership  The name is copied. Savepoints end with txn.
 * Errors     TORC_INVALID, TORC_TOO_LARGE (the name; txn_limit_bytes), TORC_READ_ONLY, TORC_FINISHED, TORC_NO_MEMORY.
 * Cost       One small allocation. The first write of each key after it notes what was there; a former value of txn's
 *            own is kept. */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_savepoint(struct torc_txn *txn, struct torc_slice name);

/* Undo every write since the savepoint `name`; the savepoint stays, later ones are gone. Values that txn lent of its
 * own writes since then are dead; cursors stay open, and stand where they stood. What was read since then still counts
 * as read (serializable). Needs no memory; gives values back, but notes and keys only when txn ends.
 *
 * Errors     TORC_NOT_FOUND (no such savepoint: nothing has changed), TORC_INVALID, TORC_FINISHED. */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_rollback_to(struct torc_txn *txn, struct torc_slice name);

/* Forget the savepoint `name` and later ones, and keep what was written. Errors as torc_txn_rollback_to(). */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_release(struct torc_txn *txn, struct torc_slice name);

/* ---- Transactions: the end --------------------------------------------------------------------------------------- */

/* Publish all writes of `txn` at one instant and end it. A transaction that wrote nothing always commits, unless it has
 * expired.
 *
 * Progress   Lock-free: of transactions that meet, one wins; a stopped thread delays nobody for ever.
 * Ordering   A commit that returned is in every snapshot that begins afterwards.
 * Ownership  The handle is consumed whatever is returned, but for TORC_INVALID; with it its cursors, and all that it
 *            lent.
 * Errors     TORC_CONFLICT   nothing was written; torc_conflict_key() names the key.
 *            TORC_NO_MEMORY  nothing was written.
 *            TORC_READ_ONLY  nothing was written: the journal has failed (torc_mvcc_resume()).
 *            TORC_TOO_LARGE  nothing was written: more than 2 GiB at once, for the journal.
 *            TORC_INDETERMINATE  all was written, and is visible: the journal failed before it was durable
 *                            (TORC_DURABILITY_SYNC).
 *            TORC_EXPIRED    nothing was written (max_snapshot_age_ns).
 *            What a merge operator returned: nothing was written.
 *            TORC_FINISHED   `txn` had ended before (see struct torc_txn).
 *            TORC_INVALID    `txn` is NULL, or (builds with assertions) in use by another thread: it is still open.
 * Cost       One CAS per written key and up to three for the whole, one allocation (none for a single key at
 *            TORC_SNAPSHOT); new keys enter both indexes. Nothing of this without writes. Serializable: reads and
 *            ranges are looked at once more. A few entries of the thread's garbage are worked on afterwards. */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_commit(struct torc_txn *txn);

/* torc_txn_commit(), without waiting until it is durable: of use with TORC_DURABILITY_SYNC. torc_mvcc_wait_durable(),
 * with torc_last_commit(), waits then. Errors as torc_txn_commit(), but never TORC_INDETERMINATE. */
TORC_API TORC_MUST_CHECK enum torc_status torc_txn_commit_async(struct torc_txn *txn);

/* Forget all writes of `txn` and end it. The handle is consumed, with its cursors and all that it lent. NULL is
 * accepted, and a finished handle is ignored (see struct torc_txn). */
TORC_API void torc_txn_abort(struct torc_txn *txn);

/* The stamp of the calling thread's last torc_txn_commit() or successful write of one key (torc_mvcc_, torc_keyspace_),
 * of any store; 0 if that commit failed or wrote nothing, or there was none. After TORC_INDETERMINATE it is the stamp
 * of that write. */
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
    uint64_t backoff_max_ns;    /* 0: 1 ms. Of the pauses that sleep: random, with a bound that doubles up to this,
                                   from 1 us, or from half of what this thread came to the last time. */
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
 *            other status of `body`, of torc_txn_begin() or of the commit at once, TORC_INDETERMINATE included;
 *            TORC_INVALID if `body` is NULL. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_run(struct torc_mvcc *store, const struct torc_run_options *options,
             enum torc_status (*body)(struct torc_txn *txn, void *context), void *context);

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

/* Which keys, in which direction. All zero: every key, ascending. An empty bound is open. */
struct torc_scan_options {
    struct torc_slice from;      /* Least key, inclusive. */
    struct torc_slice to;        /* Only keys less than this. */
    struct torc_slice prefix;    /* If not empty, only keys that begin so (combined with the bounds). */
    bool reverse;                /* Greatest key first; `from` and `to` mean the same. */
};

/* Begin a scan of the keys visible to `txn` in the keyspace that it uses now, its own writes included, in bytewise
 * order.
 *
 * Threads    As torc_txn_get(). A transaction may have any number of cursors open.
 * Progress   Lock-free. Between calls it holds back no memory but what the snapshot sees.
 * Ordering   Shows the snapshot; own writes as they are when the cursor comes to them.
 * Ownership  Bounds are copied. `*cursor` is the caller's until torc_cursor_close(), or until `txn` ends, which
 *            closes it. It must not be used afterwards, nor closed again: it may have been handed out anew.
 * Errors     TORC_INVALID, TORC_TOO_LARGE (a bound; txn_limit_bytes), TORC_FINISHED, TORC_NO_MEMORY; `*cursor` is NULL
 *            then. `from` past `to` is an empty range, not an error. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_txn_scan(struct torc_txn *txn, const struct torc_scan_options *options, struct torc_cursor **cursor);

/* The next key and value.
 *
 * Progress   As torc_txn_get().
 * Ownership  Both are borrowed as from torc_txn_get(), and outlive the cursor. `value` may be NULL.
 * Errors     TORC_END        no more keys; both are empty.
 *            TORC_NO_MEMORY  the cursor stands where it stood: the call may be repeated. Serializable: TORC_TOO_LARGE
 *                            (txn_limit_bytes) likewise.
 *            TORC_FINISHED, TORC_INVALID. Both are empty after each.
 * Cost       A step per key, and a search of the ordered index per leaf of about 32. Deleted keys that are still held
 *            back are steps, too. Allocates if serializable, or after a long run of deleted keys. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_cursor_next(struct torc_cursor *cursor, struct torc_slice *key, struct torc_slice *value);

/* End a scan. NULL is accepted. What the cursor lent stays valid until its transaction ends. */
TORC_API void torc_cursor_close(struct torc_cursor *cursor);

/* ---- Named snapshots --------------------------------------------------------------------------------------------- */

/* Keep the store as it is now under a name, for torc_txn_options.snapshot. `name` has 1 to TORC_NAME_SIZE_MAX bytes.
 * `*stamp`, if not NULL, is its stamp. A named snapshot holds back what it sees, as an open transaction does, but it
 * never expires, and lasts until it is dropped or the store closed. torc_mvcc_snapshots() lists them.
 *
 * Threads    Any number at once.
 * Progress   Lock-free.
 * Ordering   As torc_txn_begin().
 * Errors     TORC_EXISTS, TORC_INVALID, TORC_TOO_LARGE (the name), TORC_NO_MEMORY. `*stamp` is 0 then.
 * Cost       Allocates; takes time in proportion to the number of named snapshots. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_snapshot_create(struct torc_mvcc *store, struct torc_slice name, uint64_t *stamp);

/* Let go of a named snapshot. Transactions that read it go on; what it sees may go when they have ended.
 * TORC_NOT_FOUND, TORC_INVALID, TORC_NO_MEMORY (it is still there). Lock-free. */
TORC_API TORC_MUST_CHECK enum torc_status torc_snapshot_drop(struct torc_mvcc *store, struct torc_slice name);

/* ---- What the store tells of itself ------------------------------------------------------------------------------ */

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
    uint64_t open_transactions;    /* Without the named snapshots. */
    uint64_t clock;                /* The newest stamp. */
    uint64_t watermark;            /* Nobody reads below this stamp: no open transaction, no named snapshot, and no
                                      transaction with `at` that could still begin. */
};

/* Read the counters; those of running threads may lag.
 *
 * Threads    Any.
 * Progress   Wait-free in the number of threads and of transactions ever open at once.
 * Errors     TORC_INVALID. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_stats(struct torc_mvcc *store, struct torc_mvcc_stats *stats);

struct torc_snapshot_info {
    char name[TORC_NAME_SIZE_MAX + 1]; /* Of a named snapshot, terminated; "(durability)" of one that the store holds
                                          for its journal or a checkpoint; "" of a transaction. */
    uint64_t snapshot;             /* Its stamp. */
    uint64_t age_ns;               /* Since begin; exact to a few milliseconds. */
    uint64_t bytes_pinned;         /* Versions of which this is the oldest open snapshot that sees them; see below. */
    bool read_only;
    bool serializable;
};

/* List the open transactions and the named snapshots, oldest snapshot first. `*count` is how many there are;
 * min(count, capacity) entries are filled, the oldest ones. `infos` may be NULL if `capacity` is 0.
 *
 * Threads    Any. Each transaction is seen as it was at some moment of the call.
 * Progress   Lock-free, but for qsort(), which may allocate when the list is long.
 * Errors     TORC_INVALID (`*count` is 0), TORC_NO_MEMORY (with `measure_pinned` only: bytes_pinned is not filled).
 * Cost       O(transactions ever open at once); with `measure_pinned`, a walk over all keys that attributes each
 *            superseded version to the oldest open snapshot that sees it (else bytes_pinned is 0). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_snapshots(struct torc_mvcc *store, bool measure_pinned, struct torc_snapshot_info *infos, size_t capacity,
                    size_t *count);

/* Write the store's figures as Prometheus text into `buffer`, always terminated if capacity > 0. `*size` is the
 * length of the whole text without its terminator.
 *
 * Threads    Any.
 * Errors     TORC_TOO_LARGE (the buffer holds the beginning), TORC_INVALID (`*size` is 0).
 * Cost       As torc_mvcc_stats(). */
TORC_API TORC_MUST_CHECK enum torc_status
torc_mvcc_metrics(struct torc_mvcc *store, char *buffer, size_t capacity, size_t *size);

/* ---- Being told of changes --------------------------------------------------------------------------------------- */

/* One key that a commit changed. Slices are borrowed until on_commit returns. */
struct torc_change {
    struct torc_keyspace *keyspace;
    struct torc_slice key;
    struct torc_slice value;       /* The new one, of a merge the result. Empty if deleted. */
    uint64_t expires_ms;           /* TORC_NEVER: never. */
    bool deleted;
    bool expired;                  /* Deleted because it had expired. */
};

/* The stamp of a commit, and its changes one after another, from `*position` 0: false when there are no more. Only
 * inside of torc_mvcc_options.on_commit, which is called once for each commit that wrote, calls on one key included:
 * after its instant, before the call that committed returns, on the thread that committed; so by many threads at once,
 * and not in the order of the stamps. It is also called for each value that is taken away because it has expired, by
 * the thread that happens to do so, but not for what goes with a dropped keyspace. It must be quick, must not wait, and
 * must not call torc but for these two. */
TORC_API uint64_t torc_commit_stamp(const struct torc_commit *commit);
TORC_API bool torc_commit_next(const struct torc_commit *commit, size_t *position, struct torc_change *change);

/* Watch one key, or (with `prefix`) every key that begins with `key`, which may be empty then.
 *
 * Threads    Any number at once on one store; one at a time on one watch.
 * Progress   Lock-free.
 * Ordering   Every commit that changes a watched key, and that a get or a transaction which begins after this returned
 *            does not see, fires the watch; it does so after its instant, before its call returns. A commit may fire it
 *            although it is seen already. A thread that is stopped between the two fires late. Dropping the keyspace
 *            fires it once; it does not fire any more then.
 * Ownership  `*watch` is the caller's until torc_watch_close(). The key is copied.
 * Errors     TORC_INVALID, TORC_TOO_LARGE, TORC_NOT_FOUND (dropped keyspace), TORC_NO_MEMORY. `*watch` is NULL then.
 * Cost       Allocates. Commits pay a lookup per written key while any watch is open, and a comparison per prefix. */
TORC_API TORC_MUST_CHECK enum torc_status
torc_keyspace_watch(struct torc_keyspace *keyspace, struct torc_slice key, bool prefix, struct torc_watch **watch);

/* Whether the watch has fired since this was last asked, and forget it. `*stamp`, if not NULL, is the greatest stamp of
 * a commit that fired it, ever (0: none). Wait-free. */
TORC_API bool torc_watch_fired(struct torc_watch *watch, uint64_t *stamp);

/* A descriptor that is readable while the watch has fired and torc_watch_fired() has not been asked since: for poll(),
 * epoll, libuv. Now and then it is readable once more without need: torc_watch_fired() tells. -1 if the system has none
 * left. Owned by the watch, made by the first call. It must not be read, written or closed by others. */
TORC_API int torc_watch_fd(struct torc_watch *watch);

/* Close a watch, and its descriptor. NULL is accepted. All of a store's watches must be closed before the store.
 * Lock-free. */
TORC_API void torc_watch_close(struct torc_watch *watch);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: MIT */
/* bench/engine_rocksdb.c: RocksDB's OptimisticTransactionDB through its C interface.
 *
 * Settings   Write-ahead log off, files on the driver's tmpfs; or on, files on a disk, each commit synced or none. No
 *            compression. The write buffer is so large that all keys and all updates of a workload stay in the
 *            memtable; for a long run of updates (`churn`) it is the default 64 MB, so that old versions can be
 *            compacted away. Memtable skip list, as by default.
 * Reads      Autocommit: rocksdb_get_pinned, then a copy. Read-only transaction: a snapshot and pinned gets, which is
 *            its
 *            cheapest form (no transaction object).
 * Writes     Read-write transactions are optimistic ones with a snapshot; handles are reused; "Resource busy" and "Try
 *            again" at commit are conflicts. Autocommit puts go to the base database.
 * Isolation  Snapshot (reads at the snapshot; first committer wins, as keys are validated against the snapshot). */
#include <stdio.h>
#include <stdlib.h>

#include <rocksdb/c.h>

#include "bench.h"

enum { MEMTABLE_BYTES_CHURN = 64 << 20 };
#define MEMTABLE_BYTES ((size_t)6 << 30)

struct database {
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write_options;
    rocksdb_optimistictransaction_options_t *transaction_options;
    rocksdb_optimistictransactiondb_t *transactions;
    rocksdb_t *base;
    bool keep;                              /* The files, at close. */
    char path[512];
};

struct database_thread {
    struct database *database;
    rocksdb_readoptions_t *latest;
    rocksdb_readoptions_t *at_snapshot;
    rocksdb_transaction_t *transaction;     /* Kept for reuse. */
    rocksdb_pinnableslice_t *pinned;        /* Lent to the driver until the next call. */
    const rocksdb_snapshot_t *snapshot;
    bool snapshot_of_transaction;           /* How `snapshot` must be given back. */
};

static enum bench_outcome
outcome_of(char *error)
{
    enum bench_outcome outcome = BENCH_ERROR;

    if (error == NULL)
        return BENCH_OK;
    if (strncmp(error, "Resource busy", 13) == 0 || strstr(error, "ry again") != NULL)
        outcome = BENCH_CONFLICT;
    else
        fprintf(stderr, "rocksdb: %s\n", error);
    rocksdb_free(error);
    return outcome;
}

static void *
database_open(const char *directory, const struct bench_spec *spec)
{
    struct database *database = calloc(1, sizeof *database);
    char *error = NULL;

    snprintf(database->path, sizeof database->path, "%s/rocksdb", directory);
    database->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(database->options, 1);
    rocksdb_options_set_compression(database->options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(database->options,
                                          spec->churn ? (size_t)MEMTABLE_BYTES_CHURN : MEMTABLE_BYTES);
    rocksdb_options_set_max_write_buffer_number(database->options, 4);
    rocksdb_options_set_uint64add_merge_operator(database->options);
    database->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(database->write_options, spec->durability == BENCH_IN_MEMORY);
    rocksdb_writeoptions_set_sync(database->write_options, spec->durability == BENCH_DURABLE_SYNC);
    database->keep = spec->durability != BENCH_IN_MEMORY;
    database->transaction_options = rocksdb_optimistictransaction_options_create();
    rocksdb_optimistictransaction_options_set_set_snapshot(database->transaction_options, 1);
    database->transactions = rocksdb_optimistictransactiondb_open(database->options, database->path, &error);
    if (outcome_of(error) != BENCH_OK)
        return NULL;
    database->base = rocksdb_optimistictransactiondb_get_base_db(database->transactions);
    return database;
}

static void
database_close(void *context)
{
    struct database *database = context;
    char *error = NULL;

    rocksdb_optimistictransactiondb_close_base_db(database->base);
    rocksdb_optimistictransactiondb_close(database->transactions);
    if (!database->keep)
        rocksdb_destroy_db(database->options, database->path, &error);
    (void)outcome_of(error);
    rocksdb_optimistictransaction_options_destroy(database->transaction_options);
    rocksdb_writeoptions_destroy(database->write_options);
    rocksdb_options_destroy(database->options);
    free(database);
}

static void *
thread_begin(void *context)
{
    struct database_thread *thread = calloc(1, sizeof *thread);

    thread->database = context;
    thread->latest = rocksdb_readoptions_create();
    thread->at_snapshot = rocksdb_readoptions_create();
    return thread;
}

static void
thread_end(void *context)
{
    struct database_thread *thread = context;

    if (thread->pinned != NULL)
        rocksdb_pinnableslice_destroy(thread->pinned);
    if (thread->transaction != NULL)
        rocksdb_transaction_destroy(thread->transaction);
    rocksdb_readoptions_destroy(thread->latest);
    rocksdb_readoptions_destroy(thread->at_snapshot);
    free(thread);
}

static void
unpin(struct database_thread *thread)
{
    if (thread->pinned != NULL)
        rocksdb_pinnableslice_destroy(thread->pinned);
    thread->pinned = NULL;
}

static enum bench_outcome
get(void *context, const uint8_t *key, uint8_t *buffer, size_t capacity, size_t *size)
{
    struct database_thread *thread = context;
    char *error = NULL;
    rocksdb_pinnableslice_t *pinned =
        rocksdb_get_pinned(thread->database->base, thread->latest, (const char *)key, BENCH_KEY_SIZE, &error);
    const char *data;

    if (error != NULL)
        return outcome_of(error);
    if (pinned == NULL)
        return BENCH_MISSING;
    data = rocksdb_pinnableslice_value(pinned, size);
    memcpy(buffer, data, *size < capacity ? *size : capacity);
    rocksdb_pinnableslice_destroy(pinned);
    return BENCH_OK;
}

static enum bench_outcome
put(void *context, const uint8_t *key, struct bench_value value)
{
    struct database_thread *thread = context;
    char *error = NULL;

    rocksdb_put(thread->database->base, thread->database->write_options, (const char *)key, BENCH_KEY_SIZE,
                (const char *)value.data, value.size, &error);
    return outcome_of(error);
}

static enum bench_outcome
add(void *context, const uint8_t *key, uint64_t delta)
{
    struct database_thread *thread = context;
    char *error = NULL;

    rocksdb_merge(thread->database->base, thread->database->write_options, (const char *)key, BENCH_KEY_SIZE,
                  (const char *)&delta, sizeof delta, &error);
    return outcome_of(error);
}

static enum bench_outcome
begin(void *context, enum bench_mode mode)
{
    struct database_thread *thread = context;
    struct database *database = thread->database;

    thread->snapshot_of_transaction = mode != BENCH_READ_ONLY;
    if (thread->snapshot_of_transaction) {
        thread->transaction = rocksdb_optimistictransaction_begin(
            database->transactions, database->write_options, database->transaction_options, thread->transaction);
        thread->snapshot = rocksdb_transaction_get_snapshot(thread->transaction);
    } else {
        thread->snapshot = rocksdb_create_snapshot(database->base);
    }
    rocksdb_readoptions_set_snapshot(thread->at_snapshot, thread->snapshot);
    return BENCH_OK;
}

static enum bench_outcome
read_key(void *context, const uint8_t *key, struct bench_value *value)
{
    struct database_thread *thread = context;
    char *error = NULL;

    unpin(thread);
    if (thread->snapshot_of_transaction)
        thread->pinned = rocksdb_transaction_get_pinned(thread->transaction, thread->at_snapshot, (const char *)key,
                                                        BENCH_KEY_SIZE, &error);
    else
        thread->pinned = rocksdb_get_pinned(thread->database->base, thread->at_snapshot, (const char *)key,
                                            BENCH_KEY_SIZE, &error);
    if (error != NULL)
        return outcome_of(error);
    if (thread->pinned == NULL)
        return BENCH_MISSING;
    value->data = (const uint8_t *)rocksdb_pinnableslice_value(thread->pinned, &value->size);
    return value->data == NULL ? BENCH_MISSING : BENCH_OK;
}

static enum bench_outcome
write_key(void *context, const uint8_t *key, struct bench_value value)
{
    struct database_thread *thread = context;
    char *error = NULL;

    rocksdb_transaction_put(thread->transaction, (const char *)key, BENCH_KEY_SIZE, (const char *)value.data,
                            value.size, &error);
    return outcome_of(error);
}

static void
drop_snapshot(struct database_thread *thread)
{
    unpin(thread);
    if (thread->snapshot == NULL)
        return;
    if (thread->snapshot_of_transaction)
        rocksdb_free((void *)(uintptr_t)thread->snapshot);
    else
        rocksdb_release_snapshot(thread->database->base, thread->snapshot);
    thread->snapshot = NULL;
}

static enum bench_outcome
commit(void *context)
{
    struct database_thread *thread = context;
    char *error = NULL;

    drop_snapshot(thread);
    if (!thread->snapshot_of_transaction)
        return BENCH_OK;
    rocksdb_transaction_commit(thread->transaction, &error);
    return outcome_of(error);
}

static void
abort_txn(void *context)
{
    struct database_thread *thread = context;
    char *error = NULL;

    drop_snapshot(thread);
    if (thread->transaction != NULL) {
        rocksdb_transaction_rollback(thread->transaction, &error);
        (void)outcome_of(error);
    }
}

static uint64_t
scan(void *context, const uint8_t *from, uint64_t limit, bench_visit *visit, void *visit_context)
{
    struct database_thread *thread = context;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(thread->database->base, thread->latest);
    uint64_t count = 0;

    if (from == NULL)
        rocksdb_iter_seek_to_first(iterator);
    else
        rocksdb_iter_seek(iterator, (const char *)from, BENCH_KEY_SIZE);
    for (; count < limit && rocksdb_iter_valid(iterator); count++) {
        struct bench_value value;
        size_t key_size;
        const char *key = rocksdb_iter_key(iterator, &key_size);

        value.data = (const uint8_t *)rocksdb_iter_value(iterator, &value.size);
        visit(visit_context, (const uint8_t *)key, key_size, value);
        rocksdb_iter_next(iterator);
    }
    rocksdb_iter_destroy(iterator);
    return count;
}

static uint64_t
memory_bytes(void *context)
{
    struct database *database = context;
    uint64_t bytes = 0;

    (void)rocksdb_optimistictransactiondb_property_int(database->transactions, "rocksdb.cur-size-all-mem-tables",
                                                       &bytes);
    return bytes;
}

static bool
sync_database(void *context)
{
    struct database *database = context;
    char *error = NULL;

    rocksdb_flush_wal(database->base, 1, &error);
    return outcome_of(error) == BENCH_OK;
}

/* Its checkpoint is a flush of the memtable into a sorted file: the log before it is not needed any more. */
static bool
flush(void *context)
{
    struct database *database = context;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    char *error = NULL;

    rocksdb_flushoptions_set_wait(options, 1);
    rocksdb_flush(database->base, options, &error);
    rocksdb_flushoptions_destroy(options);
    return outcome_of(error) == BENCH_OK;
}

enum { ABILITIES = BENCH_CAN_TRANSACT | BENCH_CAN_SCAN | BENCH_CAN_ADD };

#define ENGINE(words, ...)                                                                                             \
    {                                                                                                                  \
        .name = words, .version = BENCH_ROCKSDB_VERSION, .open = database_open, .close = database_close,               \
        .thread_begin = thread_begin, .thread_end = thread_end, .get = get, .put = put, .add = add, .begin = begin,    \
        .read = read_key, .write = write_key, .commit = commit, .abort = abort_txn, .scan = scan,                      \
        .memory_bytes = memory_bytes, __VA_ARGS__                                                                      \
    }

extern const struct bench_engine bench_engine_rocksdb;
const struct bench_engine bench_engine_rocksdb = ENGINE(
    "rocksdb",
    .settings =
        "OptimisticTransactionDB, snapshot isolation; WAL off; 6 GB memtable (64 MB beside the long reader), no "
        "compression, files on tmpfs; pinned gets; read-only transactions are plain snapshots",
    .abilities = ABILITIES);

extern const struct bench_engine bench_engine_rocksdb_async;
const struct bench_engine bench_engine_rocksdb_async = ENGINE(
    "rocksdb-async",
    .settings = "OptimisticTransactionDB; WAL on, written and not synced; 6 GB memtable, so nothing is flushed "
                "meanwhile; no compression; otherwise defaults",
    .abilities = ABILITIES | BENCH_IS_LAZY | BENCH_CAN_RECOVER | BENCH_CAN_REPLAY | BENCH_CAN_CHECKPOINT,
    .durability = BENCH_DURABLE_ASYNC,
    .sync = sync_database,
    .checkpoint = flush);

extern const struct bench_engine bench_engine_rocksdb_sync;
const struct bench_engine bench_engine_rocksdb_sync = ENGINE(
    "rocksdb-sync",
    .settings = "the same, every commit with sync",
    .abilities = ABILITIES | BENCH_IS_SYNC,
    .durability = BENCH_DURABLE_SYNC,
    .sync = sync_database,
    .checkpoint = flush);

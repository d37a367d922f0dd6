/* SPDX-License-Identifier: MIT */
/* bench/engine_lmdb.c: LMDB on the driver's tmpfs, or on a disk.
 *
 * Settings   MDB_NOSYNC | MDB_NOMETASYNC | MDB_WRITEMAP | MDB_NOTLS | MDB_NORDAHEAD: no durability, the map itself in
 *            RAM. 4 GB map. On a disk MDB_NOTLS | MDB_NORDAHEAD only: every commit is synced, as by default.
 * Reads      Autocommit: renew the thread's read transaction, get, copy, reset. In a transaction values are lent from
 *            the map.
 * Writes     One writer at a time: a read-write transaction takes LMDB's writer mutex at begin and never conflicts
 *            (it is serializable). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#include "bench.h"

#define MAP_BYTES ((size_t)4 << 30)

struct environment {
    MDB_env *env;
    MDB_dbi dbi;
    bool keep;                  /* The files, at close. */
    char path[512];
};

struct environment_thread {
    struct environment *environment;
    MDB_txn *reader;            /* Reset between uses. */
    MDB_cursor *cursor;         /* Of `reader`. */
    MDB_txn *writer;            /* While a read-write transaction is open. */
    MDB_txn *current;           /* The one in use, or NULL. */
};

static enum bench_outcome
outcome_of(int result)
{
    switch (result) {
    case MDB_SUCCESS:
        return BENCH_OK;
    case MDB_NOTFOUND:
        return BENCH_MISSING;
    case MDB_MAP_FULL:
        return BENCH_BUSY;
    default:
        fprintf(stderr, "lmdb: %s\n", mdb_strerror(result));
        return BENCH_ERROR;
    }
}

static void *
environment_open(const char *directory, const struct bench_spec *spec)
{
    struct environment *environment = calloc(1, sizeof *environment);
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
    MDB_txn *txn;
    int result;

    environment->keep = spec->durability != BENCH_IN_MEMORY;
    if (!environment->keep)
        flags |= MDB_NOSYNC | MDB_NOMETASYNC | MDB_WRITEMAP;

    snprintf(environment->path, sizeof environment->path, "%s/lmdb", directory);
    (void)mkdir(environment->path, 0700);
    result = mdb_env_create(&environment->env);
    if (result == 0)
        result = mdb_env_set_mapsize(environment->env, MAP_BYTES);
    if (result == 0)
        result = mdb_env_set_maxreaders(environment->env, spec->threads_max + 8);
    if (result == 0)
        result = mdb_env_open(environment->env, environment->path, flags, 0600);
    if (result == 0)
        result = mdb_txn_begin(environment->env, NULL, 0, &txn);
    if (result == 0)
        result = mdb_dbi_open(txn, NULL, 0, &environment->dbi);
    if (result == 0)
        result = mdb_txn_commit(txn);
    return outcome_of(result) == BENCH_OK ? environment : NULL;
}

static void
environment_close(void *context)
{
    struct environment *environment = context;
    char file[600];

    mdb_env_close(environment->env);
    if (environment->keep) {
        free(environment);
        return;
    }
    snprintf(file, sizeof file, "%s/data.mdb", environment->path);
    (void)unlink(file);
    snprintf(file, sizeof file, "%s/lock.mdb", environment->path);
    (void)unlink(file);
    (void)rmdir(environment->path);
    free(environment);
}

static void *
thread_begin(void *context)
{
    struct environment_thread *thread = calloc(1, sizeof *thread);
    int result;

    thread->environment = context;
    result = mdb_txn_begin(thread->environment->env, NULL, MDB_RDONLY, &thread->reader);
    if (result == 0)
        result = mdb_cursor_open(thread->reader, thread->environment->dbi, &thread->cursor);
    if (outcome_of(result) != BENCH_OK) {
        free(thread);
        return NULL;
    }
    mdb_txn_reset(thread->reader);
    return thread;
}

static void
thread_end(void *context)
{
    struct environment_thread *thread = context;

    mdb_cursor_close(thread->cursor);
    mdb_txn_abort(thread->reader);
    free(thread);
}

static MDB_val
key_of(const uint8_t *key)
{
    return (MDB_val){ .mv_size = BENCH_KEY_SIZE, .mv_data = (void *)(uintptr_t)key };
}

static enum bench_outcome
read_key(void *context, const uint8_t *key, struct bench_value *value)
{
    struct environment_thread *thread = context;
    MDB_val name = key_of(key);
    MDB_val found = { 0, NULL };
    int result = mdb_get(thread->current, thread->environment->dbi, &name, &found);

    value->data = found.mv_data;
    value->size = found.mv_size;
    return outcome_of(result);
}

static enum bench_outcome
write_key(void *context, const uint8_t *key, struct bench_value value)
{
    struct environment_thread *thread = context;
    MDB_val name = key_of(key);
    MDB_val bytes = { .mv_size = value.size, .mv_data = (void *)(uintptr_t)value.data };

    return outcome_of(mdb_put(thread->current, thread->environment->dbi, &name, &bytes, 0));
}

static enum bench_outcome
begin(void *context, enum bench_mode mode)
{
    struct environment_thread *thread = context;
    int result;

    if (mode == BENCH_READ_ONLY) {
        result = mdb_txn_renew(thread->reader);
        thread->current = thread->reader;
    } else {
        result = mdb_txn_begin(thread->environment->env, NULL, 0, &thread->writer);
        thread->current = thread->writer;
    }
    if (result != 0)
        thread->current = NULL;
    return outcome_of(result);
}

static enum bench_outcome
commit(void *context)
{
    struct environment_thread *thread = context;
    MDB_txn *current = thread->current;

    thread->current = NULL;
    if (current != thread->reader)
        return outcome_of(mdb_txn_commit(current));
    mdb_txn_reset(current);
    return BENCH_OK;
}

static void
abort_txn(void *context)
{
    struct environment_thread *thread = context;

    if (thread->current == thread->reader)
        mdb_txn_reset(thread->reader);
    else if (thread->current != NULL)
        mdb_txn_abort(thread->current);
    thread->current = NULL;
}

static enum bench_outcome
get(void *context, const uint8_t *key, uint8_t *buffer, size_t capacity, size_t *size)
{
    struct bench_value value;
    enum bench_outcome outcome = begin(context, BENCH_READ_ONLY);

    if (outcome != BENCH_OK)
        return outcome;
    outcome = read_key(context, key, &value);
    if (outcome == BENCH_OK) {
        *size = value.size;
        memcpy(buffer, value.data, value.size < capacity ? value.size : capacity);
    }
    (void)commit(context);
    return outcome;
}

static enum bench_outcome
put(void *context, const uint8_t *key, struct bench_value value)
{
    enum bench_outcome outcome = begin(context, BENCH_READ_WRITE);

    if (outcome == BENCH_OK)
        outcome = write_key(context, key, value);
    if (outcome == BENCH_OK)
        return commit(context);
    abort_txn(context);
    return outcome;
}

static uint64_t
scan(void *context, const uint8_t *from, uint64_t limit, bench_visit *visit, void *visit_context)
{
    struct environment_thread *thread = context;
    MDB_val key = { 0, NULL };
    MDB_val value;
    uint64_t count = 0;
    int result;

    if (begin(thread, BENCH_READ_ONLY) != BENCH_OK)
        return UINT64_MAX;
    result = mdb_cursor_renew(thread->reader, thread->cursor);
    if (from != NULL)
        key = key_of(from);
    if (result == 0)
        result = mdb_cursor_get(thread->cursor, &key, &value, from == NULL ? MDB_FIRST : MDB_SET_RANGE);
    for (; result == 0 && count < limit; count++) {
        visit(visit_context, key.mv_data, key.mv_size, (struct bench_value){ value.mv_data, value.mv_size });
        result = mdb_cursor_get(thread->cursor, &key, &value, MDB_NEXT);
    }
    (void)commit(thread);
    return result == 0 || result == MDB_NOTFOUND ? count : UINT64_MAX;
}

static uint64_t
memory_bytes(void *context)
{
    struct environment *environment = context;
    MDB_envinfo info;
    MDB_stat stat;

    if (mdb_env_info(environment->env, &info) != 0 || mdb_env_stat(environment->env, &stat) != 0)
        return 0;
    return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

static bool
sync_environment(void *context)
{
    struct environment *environment = context;

    return outcome_of(mdb_env_sync(environment->env, 1)) == BENCH_OK;
}

/* Each commit syncs for itself alone. */
static uint64_t
commits(void *context)
{
    struct environment *environment = context;
    MDB_envinfo info;

    return mdb_env_info(environment->env, &info) == 0 ? info.me_last_txnid : 0;
}

enum { ABILITIES = BENCH_CAN_TRANSACT | BENCH_CAN_SCAN };

#define ENGINE(words, ...)                                                                                             \
    {                                                                                                                  \
        .name = words, .version = BENCH_LMDB_VERSION, .open = environment_open, .close = environment_close,            \
        .thread_begin = thread_begin, .thread_end = thread_end, .get = get, .put = put, .begin = begin,                \
        .read = read_key, .write = write_key, .commit = commit, .abort = abort_txn, .scan = scan,                      \
        .memory_bytes = memory_bytes, __VA_ARGS__                                                                      \
    }

extern const struct bench_engine bench_engine_lmdb;
const struct bench_engine bench_engine_lmdb = ENGINE(
    "lmdb",
    .settings = "MDB_NOSYNC, MDB_WRITEMAP, 4 GB map on tmpfs; one writer at a time, so transactions never "
                "conflict and are serializable",
    .abilities = ABILITIES);

extern const struct bench_engine bench_engine_lmdb_sync;
const struct bench_engine bench_engine_lmdb_sync = ENGINE(
    "lmdb-sync",
    .settings = "fully synchronous: neither MDB_NOSYNC nor MDB_NOMETASYNC nor MDB_WRITEMAP; 4 GB map; one writer at a "
                "time, one sync per commit",
    .abilities = ABILITIES | BENCH_IS_SYNC | BENCH_CAN_RECOVER,
    .durability = BENCH_DURABLE_SYNC,
    .sync = sync_environment,
    .checkpoint = sync_environment,
    .syncs = commits);

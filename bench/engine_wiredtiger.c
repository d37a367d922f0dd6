/* SPDX-License-Identifier: MIT */
/* bench/engine_wiredtiger.c: WiredTiger, wholly in memory, or on a disk with its log.
 *
 * Settings   in_memory, no log, a cache larger than all data, row-store B-tree; one session and one cursor per thread.
 *            On a disk the same cache, log on, each commit synced (transaction_sync, method fsync) or none; no
 *            checkpoints but those that are asked for.
 * Reads      Autocommit: search and copy. In a transaction the cursor lends the value until its next use.
 * Isolation  Snapshot for every session; a write to a key somebody else wrote meanwhile rolls back at once
 *            (WT_ROLLBACK). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <wiredtiger.h>

#include "bench.h"

struct connection {
    WT_CONNECTION *connection;
};

struct session {
    WT_SESSION *session;
    WT_CURSOR *cursor;
    bool open;                  /* A transaction is. */
};

static enum bench_outcome
outcome_of(int result)
{
    switch (result) {
    case 0:
        return BENCH_OK;
    case WT_NOTFOUND:
        return BENCH_MISSING;
    case WT_ROLLBACK:
        return BENCH_CONFLICT;
    case WT_CACHE_FULL:
        return BENCH_BUSY;
    default:
        fprintf(stderr, "wiredtiger: %s\n", wiredtiger_strerror(result));
        return BENCH_ERROR;
    }
}

static void *
connection_open(const char *directory, const struct bench_spec *spec)
{
    struct connection *connection = calloc(1, sizeof *connection);
    char path[512];
    char config[320];
    WT_SESSION *session;
    int result;

    snprintf(path, sizeof path, "%s/wiredtiger", directory);
    (void)mkdir(path, 0700);
    snprintf(config, sizeof config, "create,cache_size=%uGB,session_max=%u,%s%s", spec->churn ? 4u : 8u,
             spec->threads_max + 32,
             spec->durability == BENCH_IN_MEMORY ? "in_memory=true,eviction_dirty_target=80,eviction_dirty_trigger=95"
                                                 : "statistics=(fast),log=(enabled=true),transaction_sync=",
             spec->durability == BENCH_DURABLE_SYNC    ? "(enabled=true,method=fsync)"
             : spec->durability == BENCH_DURABLE_ASYNC ? "(enabled=false)"
                                                       : "");
    result = wiredtiger_open(path, NULL, config, &connection->connection);
    if (outcome_of(result) != BENCH_OK)
        return NULL;
    result = connection->connection->open_session(connection->connection, NULL, NULL, &session);
    if (result == 0)
        result = session->create(session, "table:bench", "key_format=u,value_format=u");
    if (result == 0)
        result = session->close(session, NULL);
    return outcome_of(result) == BENCH_OK ? connection : NULL;
}

static void
connection_close(void *context)
{
    struct connection *connection = context;

    (void)outcome_of(connection->connection->close(connection->connection, "leak_memory=false"));
    free(connection);
}

static void *
thread_begin(void *context)
{
    struct connection *connection = context;
    struct session *thread = calloc(1, sizeof *thread);
    int result = connection->connection->open_session(connection->connection, NULL, "isolation=snapshot",
                                                      &thread->session);

    if (result == 0)
        result = thread->session->open_cursor(thread->session, "table:bench", NULL, "overwrite=true", &thread->cursor);
    if (outcome_of(result) == BENCH_OK)
        return thread;
    free(thread);
    return NULL;
}

static void
thread_end(void *context)
{
    struct session *thread = context;

    (void)thread->session->close(thread->session, NULL);
    free(thread);
}

static void
point_at(WT_CURSOR *cursor, const uint8_t *key)
{
    WT_ITEM item = { .data = key, .size = BENCH_KEY_SIZE };

    cursor->set_key(cursor, &item);
}

static enum bench_outcome
read_key(void *context, const uint8_t *key, struct bench_value *value)
{
    struct session *thread = context;
    WT_ITEM item = { .data = NULL, .size = 0 };
    int result;

    point_at(thread->cursor, key);
    result = thread->cursor->search(thread->cursor);
    if (result == 0)
        result = thread->cursor->get_value(thread->cursor, &item);
    value->data = item.data;
    value->size = item.size;
    return outcome_of(result);
}

static enum bench_outcome
get(void *context, const uint8_t *key, uint8_t *buffer, size_t capacity, size_t *size)
{
    struct session *thread = context;
    struct bench_value value;
    enum bench_outcome outcome = read_key(context, key, &value);

    if (outcome == BENCH_OK) {
        *size = value.size;
        memcpy(buffer, value.data, value.size < capacity ? value.size : capacity);
        (void)thread->cursor->reset(thread->cursor);
    }
    return outcome;
}

static enum bench_outcome
write_key(void *context, const uint8_t *key, struct bench_value value)
{
    struct session *thread = context;
    WT_ITEM item = { .data = value.data, .size = value.size };

    point_at(thread->cursor, key);
    thread->cursor->set_value(thread->cursor, &item);
    return outcome_of(thread->cursor->insert(thread->cursor));
}

static enum bench_outcome
begin(void *context, enum bench_mode mode)
{
    struct session *thread = context;
    enum bench_outcome outcome = outcome_of(thread->session->begin_transaction(thread->session, NULL));

    (void)mode;
    thread->open = outcome == BENCH_OK;
    return outcome;
}

static enum bench_outcome
commit(void *context)
{
    struct session *thread = context;

    thread->open = false;
    return outcome_of(thread->session->commit_transaction(thread->session, NULL));
}

static void
abort_txn(void *context)
{
    struct session *thread = context;

    if (thread->open)
        (void)outcome_of(thread->session->rollback_transaction(thread->session, NULL));
    thread->open = false;
}

/* Position the cursor on the first key not below `from`. */
static int
seek(WT_CURSOR *cursor, const uint8_t *from)
{
    int order;
    int result;

    if (from == NULL)
        return cursor->next(cursor);
    point_at(cursor, from);
    result = cursor->search_near(cursor, &order);
    return result == 0 && order < 0 ? cursor->next(cursor) : result;
}

static uint64_t
scan(void *context, const uint8_t *from, uint64_t limit, bench_visit *visit, void *visit_context)
{
    struct session *thread = context;
    WT_CURSOR *cursor = thread->cursor;
    uint64_t count = 0;
    int result;

    if (begin(thread, BENCH_READ_ONLY) != BENCH_OK)
        return UINT64_MAX;
    for (result = seek(cursor, from); result == 0 && count < limit; count++) {
        WT_ITEM key;
        WT_ITEM value;

        result = cursor->get_key(cursor, &key);
        if (result == 0)
            result = cursor->get_value(cursor, &value);
        if (result != 0)
            break;
        visit(visit_context, key.data, key.size, (struct bench_value){ value.data, value.size });
        result = cursor->next(cursor);
    }
    (void)cursor->reset(cursor);
    if (commit(thread) != BENCH_OK || (result != 0 && result != WT_NOTFOUND))
        return UINT64_MAX;
    return count;
}

/* Run `act` in a session of its own. */
static bool
in_session(void *context, int (*act)(WT_SESSION *session))
{
    struct connection *connection = context;
    WT_SESSION *session;
    int result = connection->connection->open_session(connection->connection, NULL, NULL, &session);

    if (outcome_of(result) != BENCH_OK)
        return false;
    result = act(session);
    (void)session->close(session, NULL);
    return outcome_of(result) == BENCH_OK;
}

static int
flush_log(WT_SESSION *session)
{
    return session->log_flush(session, "sync=on");
}

static int
write_checkpoint(WT_SESSION *session)
{
    return session->checkpoint(session, NULL);
}

static bool
sync_connection(void *context)
{
    return in_session(context, flush_log);
}

static bool
checkpoint(void *context)
{
    return in_session(context, write_checkpoint);
}

static uint64_t
syncs(void *context)
{
    struct connection *connection = context;
    WT_SESSION *session;
    WT_CURSOR *cursor;
    const char *name;
    const char *text;
    uint64_t count = 0;

    if (connection->connection->open_session(connection->connection, NULL, NULL, &session) != 0)
        return 0;
    if (session->open_cursor(session, "statistics:", NULL, NULL, &cursor) == 0) {
        cursor->set_key(cursor, WT_STAT_CONN_LOG_SYNC);
        if (cursor->search(cursor) != 0 || cursor->get_value(cursor, &name, &text, &count) != 0)
            count = 0;
    }
    (void)session->close(session, NULL);
    return count;
}

enum { ABILITIES = BENCH_CAN_TRANSACT | BENCH_CAN_SCAN };

#define ENGINE(words, ...)                                                                                             \
    {                                                                                                                  \
        .name = words, .version = BENCH_WIREDTIGER_VERSION, .open = connection_open, .close = connection_close,        \
        .thread_begin = thread_begin, .thread_end = thread_end, .get = get, .put = write_key, .begin = begin,          \
        .read = read_key, .write = write_key, .commit = commit, .abort = abort_txn, .scan = scan, __VA_ARGS__          \
    }

extern const struct bench_engine bench_engine_wiredtiger;
const struct bench_engine bench_engine_wiredtiger = ENGINE(
    "wiredtiger",
    .settings =
        "in_memory=true, no log; snapshot isolation; 8 GB cache (4 GB beside the long reader); one session and cursor "
        "per thread",
    .abilities = ABILITIES);

extern const struct bench_engine bench_engine_wiredtiger_async;
const struct bench_engine bench_engine_wiredtiger_async = ENGINE(
    "wiredtiger-async",
    .settings = "log on, transaction_sync off; 8 GB cache; no checkpoint but when asked and at close",
    .abilities = ABILITIES | BENCH_IS_LAZY | BENCH_CAN_RECOVER | BENCH_CAN_REPLAY | BENCH_CAN_CHECKPOINT,
    .durability = BENCH_DURABLE_ASYNC,
    .sync = sync_connection,
    .checkpoint = checkpoint,
    .syncs = syncs);

extern const struct bench_engine bench_engine_wiredtiger_sync;
const struct bench_engine bench_engine_wiredtiger_sync = ENGINE(
    "wiredtiger-sync",
    .settings = "the same, transaction_sync on with method=fsync",
    .abilities = ABILITIES | BENCH_IS_SYNC,
    .durability = BENCH_DURABLE_SYNC,
    .sync = sync_connection,
    .checkpoint = checkpoint,
    .syncs = syncs);

/* SPDX-License-Identifier: MIT */
/* bench/engine_torc.c: torc's own store.
 *
 * Settings   Defaults, plus the hint how many keys will come. In memory, or with a directory in each of the store's
 *            three ways to be durable.
 * Reads      torc_mvcc_get copies; torc_txn_get lends.
 * Retries    torc_txn_run, with attempts_max and back-off as by default; begin, commit and abort by hand where the
 *            driver counts on one attempt. */
#include <stdio.h>
#include <stdlib.h>

#include <torc/torc.h>

#include "bench.h"

struct torc_thread {
    struct torc_mvcc *store;
    struct torc_txn *txn;
    bench_body *body;           /* While run() runs. */
    void *context;
    enum bench_outcome outcome; /* Of the body's last run. */
};

static enum bench_outcome
outcome_of(enum torc_status status)
{
    switch (status) {
    case TORC_OK:
        return BENCH_OK;
    case TORC_NOT_FOUND:
        return BENCH_MISSING;
    case TORC_CONFLICT:
        return BENCH_CONFLICT;
    case TORC_BUSY:
        return BENCH_BUSY;
    default:
        return BENCH_ERROR;
    }
}

static enum torc_status
status_of(enum bench_outcome outcome)
{
    switch (outcome) {
    case BENCH_OK:
        return TORC_OK;
    case BENCH_MISSING:
        return TORC_NOT_FOUND;
    case BENCH_CONFLICT:
        return TORC_CONFLICT;
    case BENCH_BUSY:
        return TORC_BUSY;
    default:
        return TORC_INVALID;
    }
}

static struct torc_slice
key_slice(const uint8_t *key)
{
    return torc_slice(key, BENCH_KEY_SIZE);
}

static void *
store_open(const char *directory, const struct bench_spec *spec)
{
    static const enum torc_durability modes[] = { [BENCH_DURABLE_LATER] = TORC_DURABILITY_NONE,
                                                  [BENCH_DURABLE_ASYNC] = TORC_DURABILITY_ASYNC,
                                                  [BENCH_DURABLE_SYNC] = TORC_DURABILITY_SYNC };
    struct torc_mvcc_options options;
    struct torc_mvcc *store;
    char path[512];

    torc_mvcc_options_init(&options);
    options.expected_keys = spec->keys;
    if (spec->durability != BENCH_IN_MEMORY) {
        snprintf(path, sizeof path, "%s/torc", directory);
        options.directory = path;
        options.durability = modes[spec->durability];
    }
    if (torc_mvcc_open(&options, &store) != TORC_OK) {
        fprintf(stderr, "torc: %s\n", torc_detail());
        return NULL;
    }
    return store;
}

static void
store_close(void *store)
{
    if (torc_mvcc_close(store) != TORC_OK)
        fprintf(stderr, "torc: close: %s\n", torc_detail());
}

static void *
thread_begin(void *store)
{
    struct torc_thread *thread = calloc(1, sizeof *thread);

    if (thread != NULL)
        thread->store = store;
    return thread;
}

static enum bench_outcome
get(void *context, const uint8_t *key, uint8_t *buffer, size_t capacity, size_t *size)
{
    struct torc_thread *thread = context;

    return outcome_of(torc_mvcc_get(thread->store, key_slice(key), buffer, capacity, size));
}

static enum bench_outcome
put(void *context, const uint8_t *key, struct bench_value value)
{
    struct torc_thread *thread = context;

    return outcome_of(torc_mvcc_put(thread->store, key_slice(key), torc_slice(value.data, value.size), NULL));
}

static enum bench_outcome
add(void *context, const uint8_t *key, uint64_t delta)
{
    struct torc_thread *thread = context;
    uint64_t operand = htole64(delta);

    return outcome_of(torc_keyspace_merge(torc_mvcc_default(thread->store), key_slice(key), &torc_merge_add,
                                          torc_slice(&operand, sizeof operand), NULL, 0, NULL));
}

static struct torc_txn_options
options_of(enum bench_mode mode)
{
    struct torc_txn_options options = { .isolation = TORC_SNAPSHOT, .read_only = mode == BENCH_READ_ONLY };

    if (mode == BENCH_SERIALIZABLE)
        options.isolation = TORC_SERIALIZABLE;
    return options;
}

static enum bench_outcome
begin(void *context, enum bench_mode mode)
{
    struct torc_thread *thread = context;
    struct torc_txn_options options = options_of(mode);

    return outcome_of(torc_txn_begin(thread->store, &options, &thread->txn));
}

static enum bench_outcome
read_key(void *context, const uint8_t *key, struct bench_value *value)
{
    struct torc_thread *thread = context;
    struct torc_slice slice;
    enum torc_status status = torc_txn_get(thread->txn, key_slice(key), &slice);

    value->data = slice.data;
    value->size = slice.size;
    return outcome_of(status);
}

static enum bench_outcome
write_key(void *context, const uint8_t *key, struct bench_value value)
{
    struct torc_thread *thread = context;

    return outcome_of(torc_txn_put(thread->txn, key_slice(key), torc_slice(value.data, value.size)));
}

static enum bench_outcome
commit(void *context)
{
    struct torc_thread *thread = context;
    enum torc_status status = torc_txn_commit(thread->txn);

    thread->txn = NULL;
    return outcome_of(status);
}

static void
abort_txn(void *context)
{
    struct torc_thread *thread = context;

    torc_txn_abort(thread->txn);
    thread->txn = NULL;
}

static enum torc_status
run_body(struct torc_txn *txn, void *context)
{
    struct torc_thread *thread = context;

    thread->txn = txn;
    thread->outcome = thread->body(thread, thread->context);
    thread->txn = NULL;
    return status_of(thread->outcome);
}

static enum bench_outcome
run(void *context, enum bench_mode mode, bench_body *body, void *body_context)
{
    struct torc_thread *thread = context;
    struct torc_run_options options = { .txn = options_of(mode) };

    thread->body = body;
    thread->context = body_context;
    return outcome_of(torc_txn_run(thread->store, &options, run_body, thread));
}

static uint64_t
scan(void *context, const uint8_t *from, uint64_t limit, bench_visit *visit, void *visit_context)
{
    struct torc_thread *thread = context;
    struct torc_scan_options options = { .reverse = false };
    struct torc_cursor *cursor = NULL;
    struct torc_slice key;
    struct torc_slice value;
    uint64_t count = 0;
    enum torc_status status = TORC_OK;

    if (from != NULL)
        options.from = key_slice(from);
    if (begin(thread, BENCH_READ_ONLY) != BENCH_OK)
        return UINT64_MAX;
    if (torc_txn_scan(thread->txn, &options, &cursor) != TORC_OK) {
        abort_txn(thread);
        return UINT64_MAX;
    }
    while (count < limit && (status = torc_cursor_next(cursor, &key, &value)) == TORC_OK) {
        visit(visit_context, key.data, key.size, (struct bench_value){ value.data, value.size });
        count++;
    }
    torc_cursor_close(cursor);
    if (commit(thread) != BENCH_OK || (status != TORC_OK && status != TORC_END))
        return UINT64_MAX;
    return count;
}

static uint64_t
memory_bytes(void *store)
{
    struct torc_mvcc_stats stats;

    return torc_mvcc_stats(store, &stats) == TORC_OK ? stats.memory_bytes : 0;
}

static void
settle(void *store)
{
    if (torc_mvcc_collect(store) != TORC_OK)
        fprintf(stderr, "torc: collect: %s\n", torc_detail());
}

static bool
sync_store(void *store)
{
    return torc_mvcc_sync(store) == TORC_OK;
}

static bool
checkpoint(void *store)
{
    return torc_mvcc_checkpoint(store, true) == TORC_OK;
}

static uint64_t
syncs(void *store)
{
    struct torc_durability_stats stats;

    return torc_mvcc_durability(store, &stats) == TORC_OK ? stats.flushes : 0;
}

enum { ABILITIES = BENCH_CAN_TRANSACT | BENCH_CAN_SCAN | BENCH_CAN_SERIALIZE | BENCH_CAN_ADD };

#define ENGINE(words, ...)                                                                                             \
    {                                                                                                                  \
        .name = words, .version = TORC_VERSION, .open = store_open, .close = store_close,                              \
        .thread_begin = thread_begin, .thread_end = free, .get = get, .put = put, .add = add, .begin = begin,          \
        .read = read_key, .write = write_key, .commit = commit, .abort = abort_txn, .run = run, .scan = scan,          \
        .memory_bytes = memory_bytes, .settle = settle, __VA_ARGS__                                                    \
    }

extern const struct bench_engine bench_engine_torc;
const struct bench_engine bench_engine_torc = ENGINE(
    "torc",
    .settings = "snapshot isolation; in memory; default options with the number of keys as a hint; reads in a "
                "transaction lend the value",
    .abilities = ABILITIES);

extern const struct bench_engine bench_engine_torc_none;
const struct bench_engine bench_engine_torc_none = ENGINE(
    "torc-none",
    .settings = "a directory, TORC_DURABILITY_NONE: no journal, a checkpoint when asked and at close; otherwise "
                "default options with the number of keys as a hint",
    .abilities = ABILITIES | BENCH_IS_LAZY | BENCH_CAN_CHECKPOINT,
    .durability = BENCH_DURABLE_LATER,
    .checkpoint = checkpoint);

extern const struct bench_engine bench_engine_torc_async;
const struct bench_engine bench_engine_torc_async = ENGINE(
    "torc-async",
    .settings = "TORC_DURABILITY_ASYNC: every flush of the journal is synced, no commit waits for it; a checkpoint by "
                "itself after 256 MiB of journal, as by default",
    .abilities = ABILITIES | BENCH_IS_LAZY | BENCH_CAN_RECOVER | BENCH_CAN_REPLAY | BENCH_CAN_CHECKPOINT,
    .durability = BENCH_DURABLE_ASYNC,
    .sync = sync_store,
    .checkpoint = checkpoint,
    .syncs = syncs);

extern const struct bench_engine bench_engine_torc_sync;
const struct bench_engine bench_engine_torc_sync = ENGINE(
    "torc-sync",
    .settings = "TORC_DURABILITY_SYNC: a commit returns when it is on the disk",
    .abilities = ABILITIES | BENCH_IS_SYNC,
    .durability = BENCH_DURABLE_SYNC,
    .sync = sync_store,
    .checkpoint = checkpoint,
    .syncs = syncs);

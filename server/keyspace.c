/* SPDX-License-Identifier: MIT */
/* server/keyspace.c: databases and keys over the store.
 *
 * Counting keys  A transaction notes in worker->delta what it adds and removes; only when it has committed is that
 *                added to worker->keys. What a key was before is known exactly: had another one changed it, the
 *                commit would have been refused. Blind writes learn it from the store.
 * A full store   TORC_BUSY has two causes: the memory limit, and freed memory whose grace period is not over. Only the
 *                second is worth a retry, so a full store is found out by its figures, asked to collect at most
 *                every COLLECT_EVERY_NS, and else refused at once: a client must not stop its loop by writing to it. */
#include "keyspace.h"

#include <assert.h>

/* Values up to this size are fetched at the first attempt. */
#define VALUE_GUESS (16u * 1024u)

/* Room for the header and trailer of a bulk string. */
#define BULK_FRAME 32u

#define COLLECT_EVERY_NS UINT64_C(100000000)

/* A conflict means that another transaction succeeded, and priority grows with each attempt; these bound the time for
 * which an unlucky transaction may hold up its loop: well below a second. */
#define ATTEMPTS_MAX 1000u
#define LONG_ATTEMPTS_MAX 20u
#define BACKOFF_MAX_NS UINT64_C(200000)

struct attempt {
    struct torcd_session *session;
    torcd_body *body;
    void *context;
    size_t mark;            /* Where the reply begins. */
    bool full;              /* The memory limit refused a write. */
};

static bool
is_full(const struct torcd_server *server)
{
    uint64_t limit = torcd_setting(server, TORCD_MEMORY_MAX);
    struct torc_mvcc_stats stats;

    if (limit == 0 || torc_mvcc_stats(server->store, &stats) != TORC_OK)
        return false;
    return stats.memory_bytes >= limit - limit / 16;
}

/* After TORC_BUSY: free what can be freed, and say whether the caller should try again. */
static bool
collect(struct torcd_server *server)
{
    if (!is_full(server))
        return torc_mvcc_collect(server->store) == TORC_OK;

    uint64_t now = torcd_now_ns();
    uint_fast64_t last = atomic_load_explicit(&server->collected_ns, memory_order_relaxed);

    /* Relaxed: the exchange only chooses who collects. */
    if (now - last < COLLECT_EVERY_NS
        || !atomic_compare_exchange_strong_explicit(&server->collected_ns, &last, now, memory_order_relaxed,
                                                    memory_order_relaxed))
        return false;
    return torc_mvcc_collect(server->store) == TORC_OK;
}

static enum torc_status
fault_status(const struct torcd_buffer *out)
{
    switch (out->fault) {
    case TORCD_FAULT_NONE: return TORC_OK;
    case TORCD_FAULT_LIMIT: return TORC_TOO_LARGE;
    case TORCD_FAULT_MEMORY: break;
    }
    return TORC_NO_MEMORY;
}

static enum torc_status
run_attempt(struct torc_txn *txn, void *context)
{
    struct attempt *attempt = context;
    struct torcd_session *session = attempt->session;
    struct torcd_worker *worker = session->worker;

    torcd_buffer_truncate(&session->out, attempt->mark);
    memset(worker->delta, 0, worker->databases * sizeof *worker->delta);
    enum torc_status status = attempt->body(txn, session, attempt->context);
    if (status == TORC_OK)
        status = fault_status(&session->out);
    if (status == TORC_BUSY && is_full(worker->server)) {
        /* Not to be retried by torc_txn_run(), so under another name. */
        attempt->full = true;
        return TORC_READ_ONLY;
    }
    return status;
}

static void
apply_delta(struct torcd_worker *worker)
{
    for (unsigned i = 0; i < worker->databases; i++) {
        if (worker->delta[i] == 0)
            continue;
        /* Relaxed: a counter with one writer. */
        int64_t keys = atomic_load_explicit(&worker->keys[i], memory_order_relaxed);
        atomic_store_explicit(&worker->keys[i], keys + worker->delta[i], memory_order_relaxed);
        worker->delta[i] = 0;
    }
}

static void
reply_failure(struct torcd_session *session, enum torc_status status, bool reply_too_long)
{
    if (reply_too_long)
        torcd_resp_error(&session->out, "ERR the reply would exceed output-buffer-limit");
    else
        torcd_reply_status(session, status);
}

bool
torcd_keyspace_run(struct torcd_session *session, enum torcd_isolation isolation, torcd_body *body, void *context)
{
    if (session->txn != NULL) {
        session->txn_status = body(session->txn, session, context);
        return session->txn_status == TORC_OK;
    }

    struct torcd_worker *worker = session->worker;
    struct attempt attempt = {session, body, context, session->out.size, false};
    struct torc_run_options options = {
        .txn = {isolation == TORCD_MANY_KEYS ? TORC_SERIALIZABLE : TORC_SNAPSHOT, isolation == TORCD_READ},
        .attempts_max = isolation == TORCD_ALL_KEYS ? LONG_ATTEMPTS_MAX : ATTEMPTS_MAX,
        .backoff_max_ns = BACKOFF_MAX_NS,
    };
    enum torc_status status = torc_txn_run(worker->server->store, &options, run_attempt, &attempt);
    if (attempt.full && status == TORC_READ_ONLY) {
        if (collect(worker->server)) {
            attempt.full = false;
            status = torc_txn_run(worker->server->store, &options, run_attempt, &attempt);
        }
        if (attempt.full && status == TORC_READ_ONLY)
            status = TORC_BUSY;
    }
    if (status == TORC_OK) {
        apply_delta(worker);
        return true;
    }

    bool reply_too_long = session->out.fault == TORCD_FAULT_LIMIT;
    memset(worker->delta, 0, worker->databases * sizeof *worker->delta);
    torcd_buffer_truncate(&session->out, attempt.mark);
    reply_failure(session, status, reply_too_long);
    return false;
}

struct torc_slice
torcd_keyspace_key(struct torcd_session *session, struct torc_slice key)
{
    struct torcd_worker *worker = session->worker;

    assert(key.size <= TORCD_KEY_MAX);
    worker->key[0] = (char)(unsigned char)session->database;
    if (key.size > 0)
        memcpy(worker->key + 1, key.data, key.size);
    return torc_slice(worker->key, key.size + 1);
}

bool
torcd_keyspace_check(struct torcd_session *session, struct torc_slice key)
{
    if (key.size <= TORCD_KEY_MAX)
        return true;
    torcd_resp_error(&session->out, "ERR key is too long: %zu bytes, the greatest is %u", key.size, TORCD_KEY_MAX);
    return false;
}

/* ---- Inside a transaction ------------------------------------------------------------------------------------- */

enum torc_status
torcd_keyspace_get(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, struct torc_slice *value,
                   bool *present)
{
    enum torc_status status = torc_txn_get(txn, torcd_keyspace_key(session, key), value);

    *present = status == TORC_OK;
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

enum torc_status
torcd_keyspace_put(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, struct torc_slice value,
                   bool present)
{
    enum torc_status status = torc_txn_put(txn, torcd_keyspace_key(session, key), value);

    if (status == TORC_OK && !present)
        session->worker->delta[session->database]++;
    return status;
}

enum torc_status
torcd_keyspace_overwrite(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key,
                         struct torc_slice value)
{
    struct torc_slice before;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &before, &present);

    return status != TORC_OK ? status : torcd_keyspace_put(session, txn, key, value, present);
}

enum torc_status
torcd_keyspace_delete(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, bool *existed)
{
    enum torc_status status = torc_txn_delete(txn, torcd_keyspace_key(session, key));

    *existed = status == TORC_OK;
    if (status == TORC_OK)
        session->worker->delta[session->database]--;
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

enum torc_status
torcd_keyspace_flush(struct torcd_session *session, struct torc_txn *txn, unsigned first, unsigned end)
{
    struct torcd_worker *worker = session->worker;
    char from = (char)(unsigned char)first, to = (char)(unsigned char)end;
    struct torc_scan_options options = {.from = torc_slice(&from, 1)};
    struct torc_cursor *cursor = NULL;

    assert(first < end && end <= 256);
    if (end < 256)
        options.to = torc_slice(&to, 1);
    enum torc_status status = torc_txn_scan(txn, &options, &cursor);
    while (status == TORC_OK) {
        struct torc_slice key;
        status = torc_cursor_next(cursor, &key, NULL);
        if (status != TORC_OK)
            break;
        unsigned database = *(const unsigned char *)key.data;
        memcpy(worker->bound, key.data, key.size);
        status = torc_txn_delete(txn, torc_slice(worker->bound, key.size));
        if (status == TORC_OK)
            worker->delta[database]--;
    }
    torc_cursor_close(cursor);
    return status == TORC_END ? TORC_OK : status;
}

/* ---- One key at a time ---------------------------------------------------------------------------------------- */

enum torc_status
torcd_keyspace_size(struct torcd_session *session, struct torc_slice key, size_t *size)
{
    struct torc_slice store_key = torcd_keyspace_key(session, key), value;
    char none;

    if (session->txn == NULL) {
        enum torc_status status = torc_mvcc_get(session->worker->server->store, store_key, &none, 0, size);
        return status == TORC_TOO_LARGE ? TORC_OK : status;
    }
    enum torc_status status = torc_txn_get(session->txn, store_key, &value);
    *size = value.size;
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        session->txn_status = status;
    return status;
}

/* The value of `size` bytes lies `gap` bytes behind the end of `out`: put it into its frame. */
static void
frame_value(struct torcd_worker *worker, struct torcd_buffer *out, size_t gap, size_t size)
{
    char digits[TORCD_INTEGER_DIGITS];
    size_t digits_count = torcd_print_integer(digits, (int64_t)size);
    size_t header = digits_count + 3;
    char *at = out->data + out->size;

    if (header != gap)
        memmove(at + header, at + gap, size);
    at[0] = '$';
    memcpy(at + 1, digits, digits_count);
    memcpy(at + 1 + digits_count, "\r\n", 2);
    memcpy(at + header + size, "\r\n", 2);
    out->size += header + size + 2;
    worker->header_guess = header;
}

void
torcd_keyspace_reply_value(struct torcd_session *session, struct torc_slice key)
{
    struct torcd_worker *worker = session->worker;
    struct torcd_buffer *out = &session->out;
    struct torc_slice store_key = torcd_keyspace_key(session, key), value;
    size_t size = 0, capacity = VALUE_GUESS, gap = worker->header_guess;
    enum torc_status status;

    if (session->txn != NULL) {
        status = torc_txn_get(session->txn, store_key, &value);
        if (status == TORC_OK)
            torcd_reply_bulk(session, value);
        else if (status != TORC_NOT_FOUND)
            session->txn_status = status;
    } else {
        assert(gap + 2 < BULK_FRAME);
        do {
            /* A value may have grown between two attempts, so this is a loop; each turn, somebody wrote it. */
            if (!torcd_buffer_reserve(out, capacity + BULK_FRAME))
                return;
            status = torc_mvcc_get(worker->server->store, store_key, out->data + out->size + gap, capacity, &size);
            capacity = size;
        } while (status == TORC_TOO_LARGE);
        if (status == TORC_OK)
            frame_value(worker, out, gap, size);
    }
    torcd_count(status == TORC_OK ? &worker->counters.hits : &worker->counters.misses, 1);
    if (status == TORC_NOT_FOUND)
        torcd_reply_null(session);
    else if (status != TORC_OK)
        torcd_reply_status(session, status);
}

/* After a refused blind write: whether to try once more. */
static bool
worth_retrying(struct torcd_session *session, enum torc_status status)
{
    return status == TORC_BUSY && collect(session->worker->server);
}

static void
count_key(struct torcd_session *session, int change)
{
    atomic_int_fast64_t *keys = &session->worker->keys[session->database];

    /* Relaxed: a counter with one writer. */
    atomic_store_explicit(keys, atomic_load_explicit(keys, memory_order_relaxed) + change, memory_order_relaxed);
}

bool
torcd_keyspace_set(struct torcd_session *session, struct torc_slice key, struct torc_slice value)
{
    if (session->txn != NULL) {
        session->txn_status = torcd_keyspace_overwrite(session, session->txn, key, value);
        return session->txn_status == TORC_OK;
    }

    struct torc_mvcc *store = session->worker->server->store;
    struct torc_slice store_key = torcd_keyspace_key(session, key);
    bool replaced = false;
    enum torc_status status = torc_mvcc_put(store, store_key, value, &replaced);

    if (worth_retrying(session, status))
        status = torc_mvcc_put(store, store_key, value, &replaced);
    if (status != TORC_OK) {
        torcd_reply_status(session, status);
        return false;
    }
    if (!replaced)
        count_key(session, 1);
    return true;
}

bool
torcd_keyspace_unset(struct torcd_session *session, struct torc_slice key, bool *existed)
{
    if (session->txn != NULL) {
        session->txn_status = torcd_keyspace_delete(session, session->txn, key, existed);
        return session->txn_status == TORC_OK;
    }

    struct torc_mvcc *store = session->worker->server->store;
    struct torc_slice store_key = torcd_keyspace_key(session, key);
    enum torc_status status = torc_mvcc_delete(store, store_key);

    if (worth_retrying(session, status))
        status = torc_mvcc_delete(store, store_key);
    *existed = status == TORC_OK;
    if (status != TORC_OK && status != TORC_NOT_FOUND) {
        torcd_reply_status(session, status);
        return false;
    }
    if (*existed)
        count_key(session, -1);
    return true;
}

/* SPDX-License-Identifier: MIT */
/* server/keyspace.c: databases and keys over the store.
 *
 * Counting keys  The store counts them. What an EXEC has added and removed so far stands in worker->delta, so that its
 *                own DBSIZE can tell.
 * A full store   TORC_BUSY has two causes: the memory limit, and freed memory whose grace period is not over. Only the
 *                second is worth a retry, so a full store is found out by its figures, asked to collect at most
 *                every COLLECT_EVERY_NS, and else refused at once. To collect takes long: a client that has a
 *                connection is held meanwhile (session.h), so that it does not stop its loop by writing. */
#include "keyspace.h"

#include <assert.h>

#include "databases.h"
#include "effects.h"

/* Values up to this size are fetched at the first attempt. */
#define VALUE_GUESS (16u * 1024u)

/* Room for the header and trailer of a bulk string. */
#define BULK_FRAME 32u

#define COLLECT_EVERY_NS UINT64_C(100000000)

/* A conflict means that another transaction succeeded, and priority grows with each attempt; these bound the time for
 * which an unlucky transaction may hold up its loop: well below a second. */
#define ATTEMPTS_MAX 1000u
#define BACKOFF_MAX_NS UINT64_C(200000)
#define REFUSALS_MAX 3u         /* For want of memory: then the loop goes on with other clients. */

struct attempt {
    struct torcd_session *session;
    torcd_body *body;
    void *context;
    size_t mark;                /* Where the reply begins. */
    size_t effects_mark;
    struct torc_keyspace *keyspace;     /* Of the session's database, if the body may take it from the copy. */
    unsigned refused;           /* How often a limit refused a write. */
    bool full;                  /* The memory limit did, or the request is to be held. */
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

/* Free what can be freed: at once, or on another thread while the request is held. Whether it was at once. */
static bool
free_memory(struct torcd_session *session)
{
    if (torcd_session_ask_hold(session))
        return false;
    return !session->can_hold && torc_mvcc_collect(session->worker->server->store) == TORC_OK;
}

/* After TORC_BUSY: whether the caller should try again. */
static bool
collect(struct torcd_session *session)
{
    struct torcd_server *server = session->worker->server;

    if (!is_full(server))
        return free_memory(session);

    uint64_t now = torcd_now_ns();
    uint_fast64_t last = atomic_load_explicit(&server->collected_ns, memory_order_relaxed);

    /* Relaxed: the exchange only chooses who collects. */
    if (now - last < COLLECT_EVERY_NS
        || !atomic_compare_exchange_strong_explicit(&server->collected_ns, &last, now, memory_order_relaxed,
                                                    memory_order_relaxed))
        return false;
    return free_memory(session);
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

/* A transaction, or a write of one key, has succeeded: the replies of this client tell of it from now on. What it meant
 * to write and did not has no stamp; that of the thread would be another client's. */
static void
note_commit(struct torcd_session *session)
{
    uint64_t stamp = torc_last_commit();

    if (stamp > session->stamp)
        session->stamp = stamp;
}

/* Before an attempt, and after the last one if that failed: forget what it left. */
static void
clear_attempt(const struct attempt *attempt)
{
    struct torcd_session *session = attempt->session;
    struct torcd_worker *worker = session->worker;

    torcd_buffer_truncate(&session->out, attempt->mark);
    torcd_buffer_truncate(&worker->effects, attempt->effects_mark);
    memset(worker->delta, 0, worker->databases * sizeof *worker->delta);
    memset(worker->map, 0, worker->databases * sizeof(struct torc_keyspace *));
    torcd_databases_finish(worker, false);
}

static enum torc_status
run_attempt(struct torc_txn *txn, void *context)
{
    struct attempt *attempt = context;
    struct torcd_session *session = attempt->session;

    clear_attempt(attempt);
    session->worker->map[session->database] = attempt->keyspace;
    enum torc_status status = attempt->body(txn, session, attempt->context);
    if (status == TORC_OK)
        status = fault_status(&session->out);
    if (status == TORC_BUSY
        && ((session->may_hold && ++attempt->refused == REFUSALS_MAX) || is_full(session->worker->server))) {
        /* Not to be retried by torc_txn_run(), so under another name. */
        attempt->full = true;
        return TORC_READ_ONLY;
    }
    return status;
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
    struct attempt attempt = {
        session, body, context, session->out.size, worker->effects.size, NULL, 0, false,
    };
    struct torc_run_options options = {
        .txn = {.isolation = isolation == TORCD_MANY_KEYS ? TORC_SERIALIZABLE : TORC_SNAPSHOT,
                .read_only = isolation == TORCD_READ},
        .attempts_max = ATTEMPTS_MAX,
        .backoff_max_ns = BACKOFF_MAX_NS,
    };
    /* What is done to one key may come before a change of the map that has just happened. */
    if (isolation == TORCD_ONE_KEY)
        attempt.keyspace = torcd_databases_cached(worker->server->databases, session->database);
    enum torc_status status = torc_txn_run(worker->server->store, &options, run_attempt, &attempt);
    if (attempt.full && status == TORC_READ_ONLY) {
        if (collect(session)) {
            attempt.full = false;
            status = torc_txn_run(worker->server->store, &options, run_attempt, &attempt);
        }
        if (attempt.full && status == TORC_READ_ONLY)
            status = TORC_BUSY;
    }
    if (status == TORC_OK) {
        note_commit(session);
        torcd_databases_finish(worker, true);
        return true;
    }

    bool reply_too_long = session->out.fault == TORCD_FAULT_LIMIT;
    clear_attempt(&attempt);
    reply_failure(session, status, reply_too_long);
    return false;
}

bool
torcd_keyspace_check(struct torcd_session *session, struct torc_slice key)
{
    if (key.size <= TORCD_KEY_MAX)
        return true;
    torcd_resp_error(&session->out, "ERR key is too long: %zu bytes, the greatest is %u", key.size, TORCD_KEY_MAX);
    return false;
}

struct torc_slice
torcd_keyspace_key(struct torcd_session *session, struct torc_slice key)
{
    char *built = session->worker->key;

    assert(key.size <= TORCD_KEY_MAX);
    if (key.size > 0 && *(const char *)key.data != '\0')
        return key;
    built[0] = '\0';
    if (key.size > 0)
        memcpy(built + 1, key.data, key.size);
    return torc_slice(built, key.size + 1);
}

struct torc_slice
torcd_keyspace_client_key(struct torc_slice store_key)
{
    const char *bytes = store_key.data;

    assert(store_key.size >= 1);
    return bytes[0] == '\0' ? torc_slice(bytes + 1, store_key.size - 1) : store_key;
}

/* ---- Inside a transaction ------------------------------------------------------------------------------------- */

enum torc_status
torcd_keyspace_use(struct torcd_session *session, struct torc_txn *txn)
{
    struct torc_keyspace **keyspace = &session->worker->map[session->database];

    if (*keyspace == NULL) {
        enum torc_status status =
            torcd_databases_find(session->worker->server->databases, txn, session->database, keyspace);
        if (status != TORC_OK)
            return status;
    }
    return torc_txn_keyspace(txn) == *keyspace ? TORC_OK : torc_txn_use(txn, *keyspace);
}

enum torc_status
torcd_keyspace_get(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, struct torc_slice *value,
                   bool *present)
{
    enum torc_status status = torcd_keyspace_use(session, txn);

    *value = torc_slice(NULL, 0);
    if (status == TORC_OK)
        status = torc_txn_get(txn, torcd_keyspace_key(session, key), value);
    *present = status == TORC_OK;
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

/* How many of the first keys are store keys as they are. */
static size_t
count_plain(const struct torc_slice *keys, size_t count)
{
    size_t plain = 0;

    while (plain < count && keys[plain].size > 0 && *(const char *)keys[plain].data != '\0')
        plain++;
    return plain;
}

enum torc_status
torcd_keyspace_get_many(struct torcd_session *session, struct torc_txn *txn, const struct torc_slice *keys,
                        size_t count, struct torc_slice *values)
{
    enum torc_status status = torcd_keyspace_use(session, txn);

    for (size_t i = 0; i < count && status == TORC_OK;) {
        size_t plain = count_plain(keys + i, count - i);
        bool present;
        if (plain > 0) {
            status = torc_txn_get_many(txn, keys + i, plain, values + i);
            i += plain;
            continue;
        }
        status = torcd_keyspace_get(session, txn, keys[i], &values[i], &present);
        if (present && values[i].data == NULL)
            values[i] = torc_slice("", 0);
        i++;
    }
    return status;
}

enum torc_status
torcd_keyspace_expiry(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, uint64_t *expires_ms)
{
    enum torc_status status = torcd_keyspace_use(session, txn);

    *expires_ms = TORC_NEVER;
    if (status == TORC_OK)
        status = torc_txn_expiry(txn, torcd_keyspace_key(session, key), expires_ms);
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

enum torc_status
torcd_keyspace_put(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, struct torc_slice value,
                   uint64_t expires_ms, bool present)
{
    enum torc_status status = torcd_keyspace_use(session, txn);
    struct torc_slice store_key = torcd_keyspace_key(session, key);

    if (status == TORC_OK)
        status = expires_ms == TORC_NEVER ? torc_txn_put(txn, store_key, value)
                                          : torc_txn_put_expiring(txn, store_key, value, expires_ms);
    if (status == TORC_OK && !present) {
        session->worker->delta[session->database]++;
        torcd_effect_event(session, TORCD_EVENT_NEW, "new", key);
    }
    return status;
}

enum torc_status
torcd_keyspace_replace(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key,
                       struct torc_slice value, bool present)
{
    uint64_t expires_ms = TORC_NEVER;
    enum torc_status status = present ? torcd_keyspace_expiry(session, txn, key, &expires_ms) : TORC_OK;

    return status != TORC_OK ? status : torcd_keyspace_put(session, txn, key, value, expires_ms, present);
}

enum torc_status
torcd_keyspace_overwrite(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key,
                         struct torc_slice value, bool *present)
{
    struct torc_slice before;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &before, present);

    return status != TORC_OK ? status : torcd_keyspace_put(session, txn, key, value, TORC_NEVER, *present);
}

enum torc_status
torcd_keyspace_delete(struct torcd_session *session, struct torc_txn *txn, struct torc_slice key, bool *existed)
{
    enum torc_status status = torcd_keyspace_use(session, txn);

    if (status == TORC_OK)
        status = torc_txn_delete(txn, torcd_keyspace_key(session, key));
    *existed = status == TORC_OK;
    if (status == TORC_OK)
        session->worker->delta[session->database]--;
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

/* ---- One key at a time ---------------------------------------------------------------------------------------- */

static struct torc_keyspace *
current(const struct torcd_session *session)
{
    return torcd_databases_now(session->worker->server->databases, session->database);
}

enum torc_status
torcd_keyspace_size(struct torcd_session *session, struct torc_slice key, size_t *size)
{
    struct torc_slice value;
    bool present;
    char none;

    if (session->txn == NULL) {
        enum torc_status status =
            torc_keyspace_get(current(session), torcd_keyspace_key(session, key), &none, 0, size);
        return status == TORC_TOO_LARGE ? TORC_OK : status;
    }
    enum torc_status status = torcd_keyspace_get(session, session->txn, key, &value, &present);
    *size = value.size;
    if (status != TORC_OK)
        session->txn_status = status;
    return status == TORC_OK && !present ? TORC_NOT_FOUND : status;
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

/* Outside of EXEC: the value straight from the store into the reply. */
static enum torc_status
copy_value(struct torcd_session *session, struct torc_slice key)
{
    struct torcd_worker *worker = session->worker;
    struct torcd_buffer *out = &session->out;
    struct torc_keyspace *keyspace = current(session);
    struct torc_slice store_key = torcd_keyspace_key(session, key);
    size_t size = 0, capacity = VALUE_GUESS, gap = worker->header_guess;
    enum torc_status status;

    assert(gap + 2 < BULK_FRAME);
    do {
        /* A value may have grown between two attempts, so this is a loop; each turn, somebody wrote it. */
        if (!torcd_buffer_reserve(out, capacity + BULK_FRAME))
            return TORC_NO_MEMORY;
        status = torc_keyspace_get(keyspace, store_key, out->data + out->size + gap, capacity, &size);
        capacity = size;
    } while (status == TORC_TOO_LARGE);
    if (status == TORC_OK)
        frame_value(worker, out, gap, size);
    return status;
}

void
torcd_keyspace_reply_value(struct torcd_session *session, struct torc_slice key)
{
    struct torcd_counters *counters = &session->worker->counters;
    struct torc_slice value;
    bool present;
    enum torc_status status;

    if (session->txn != NULL) {
        status = torcd_keyspace_get(session, session->txn, key, &value, &present);
        if (status != TORC_OK)
            session->txn_status = status;
        else if (present)
            torcd_reply_bulk(session, value);
        else
            status = TORC_NOT_FOUND;
    } else
        status = copy_value(session, key);
    torcd_count(status == TORC_OK ? &counters->hits : &counters->misses, 1);
    if (status == TORC_NOT_FOUND) {
        torcd_reply_null(session);
        torcd_effect_event(session, TORCD_EVENT_MISS, "keymiss", key);
    } else if (status != TORC_OK)
        torcd_reply_status(session, status);
}

/* After a refused blind write: whether to try once more. */
static bool
worth_retrying(struct torcd_session *session, enum torc_status status)
{
    return status == TORC_BUSY && collect(session);
}

bool
torcd_keyspace_set(struct torcd_session *session, struct torc_slice key, struct torc_slice value, uint64_t expires_ms,
                   bool *replaced)
{
    *replaced = false;
    if (session->txn != NULL) {
        struct torc_slice before;
        enum torc_status status = torcd_keyspace_get(session, session->txn, key, &before, replaced);
        if (status == TORC_OK)
            status = torcd_keyspace_put(session, session->txn, key, value, expires_ms, *replaced);
        session->txn_status = status;
        return status == TORC_OK;
    }

    struct torc_keyspace *keyspace = current(session);
    struct torc_slice store_key = torcd_keyspace_key(session, key);
    enum torc_status status = torc_keyspace_put(keyspace, store_key, value, expires_ms, replaced);

    if (worth_retrying(session, status))
        status = torc_keyspace_put(keyspace, store_key, value, expires_ms, replaced);
    if (status != TORC_OK) {
        torcd_reply_status(session, status);
        return false;
    }
    note_commit(session);
    if (!*replaced)
        torcd_effect_event(session, TORCD_EVENT_NEW, "new", key);
    return true;
}

bool
torcd_keyspace_unset(struct torcd_session *session, struct torc_slice key, bool *existed)
{
    if (session->txn != NULL) {
        session->txn_status = torcd_keyspace_delete(session, session->txn, key, existed);
        return session->txn_status == TORC_OK;
    }

    struct torc_keyspace *keyspace = current(session);
    struct torc_slice store_key = torcd_keyspace_key(session, key);
    enum torc_status status = torc_keyspace_delete(keyspace, store_key);

    if (worth_retrying(session, status))
        status = torc_keyspace_delete(keyspace, store_key);
    *existed = status == TORC_OK;
    if (*existed)
        note_commit(session);
    else if (status != TORC_NOT_FOUND)
        torcd_reply_status(session, status);
    return status == TORC_OK || status == TORC_NOT_FOUND;
}

enum torc_status
torcd_keyspace_merge(struct torcd_session *session, struct torc_slice key, const struct torc_merge_operator *operation,
                     struct torc_slice operand, void *buffer, size_t capacity, size_t *size)
{
    struct torc_keyspace *keyspace = current(session);
    struct torc_slice store_key = torcd_keyspace_key(session, key);
    enum torc_status status = torc_keyspace_merge(keyspace, store_key, operation, operand, buffer, capacity, size);

    assert(session->txn == NULL);
    if (worth_retrying(session, status))
        status = torc_keyspace_merge(keyspace, store_key, operation, operand, buffer, capacity, size);
    if (status == TORC_OK)
        note_commit(session);
    else if (status != TORC_MISMATCH)
        torcd_reply_status(session, status);
    return status;
}

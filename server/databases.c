/* SPDX-License-Identifier: MIT */
/* server/databases.c: the map from databases to keyspaces, its copy, and the end of keyspaces that were replaced.
 *
 *   changing[n]++ -> commit of the row -> refresh() copies the row -> changing[n]--
 *                                      -> a message visits every worker -> drop
 *
 * While changing[n] is not 0 nobody uses the copy: a client that has seen the new map by a transaction must not meet
 * the old one in its next command. The store's row is always right.
 *
 * Ordering    R1 torcd_databases_finish(), sub of changing -> A1 torcd_databases_cached(): the copy made before it.
 *             Who reads changing[n] = 0 from before a change has not seen that change, and may come before it.
 * Guard       `mutex` orders refreshes, so that the last one copies the newest row; and it keeps figures, which other
 *             threads than workers ask for, apart from drops. */
#include "databases.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

struct database {
    _Atomic(struct torc_keyspace *) keyspace;
    atomic_uint changing;
};

struct torcd_databases {
    struct torc_mvcc *store;
    pthread_mutex_t mutex;
    struct drop *waiting;               /* Drops for which there was no memory. Under `mutex`. */
    atomic_uint_fast64_t created;       /* Keyspaces so far: their names. */
    unsigned count;
    struct database all[];
};

/* A keyspace on its way out: at the worker of that number. */
struct drop {
    struct torcd_message message;
    struct torc_keyspace *keyspace;
    unsigned at;
    struct drop *next;
};

/* What a transaction does to the map. */
struct torcd_map_change {
    struct torcd_map_change *next;
    unsigned number;
    struct torc_keyspace *created;      /* For database `number`; NULL: it is a swap. */
    struct torc_keyspace *replaced;     /* NULL until its row is written. */
    struct drop *drop;                  /* Memory for the end of `replaced`, or of `created`. */
};

static struct torc_slice
row(unsigned char *byte, unsigned number)
{
    *byte = (unsigned char)number;
    return torc_slice(byte, 1);
}

static enum torc_status
create_keyspace(struct torcd_databases *databases, unsigned number, struct torc_keyspace **keyspace)
{
    char name[TORC_NAME_SIZE_MAX + 1];
    /* Relaxed: the number must only be unique. */
    uint64_t serial = atomic_fetch_add_explicit(&databases->created, 1, memory_order_relaxed);

    (void)snprintf(name, sizeof name, "db%u-%" PRIu64, number, serial);
    return torc_keyspace_create(databases->store, torc_slice_from_string(name), keyspace);
}

/* ---- Reading the map ------------------------------------------------------------------------------------------ */

struct torc_keyspace *
torcd_databases_cached(struct torcd_databases *databases, unsigned number)
{
    struct database *database = &databases->all[number];

    assert(number < databases->count);
    if (atomic_load_explicit(&database->changing, memory_order_acquire) != 0)                   /* A1 */
        return NULL;
    return atomic_load_explicit(&database->keyspace, memory_order_acquire);
}

/* The newest row of the store. */
static struct torc_keyspace *
read_row(struct torcd_databases *databases, unsigned number)
{
    struct torc_keyspace *keyspace = NULL;
    unsigned char byte;
    size_t size;

    enum torc_status status =
        torc_mvcc_get(databases->store, row(&byte, number), &keyspace, sizeof(struct torc_keyspace *), &size);
    if (status != TORC_OK)
        return NULL;
    assert(size == sizeof(struct torc_keyspace *));
    return keyspace;
}

struct torc_keyspace *
torcd_databases_now(struct torcd_databases *databases, unsigned number)
{
    struct torc_keyspace *keyspace = torcd_databases_cached(databases, number);

    return keyspace != NULL ? keyspace : read_row(databases, number);
}

enum torc_status
torcd_databases_find(struct torc_txn *txn, unsigned number, struct torc_keyspace **keyspace)
{
    struct torc_slice value;
    unsigned char byte;
    enum torc_status status = torc_txn_use(txn, NULL);

    if (status == TORC_OK)
        status = torc_txn_get(txn, row(&byte, number), &value);
    if (status != TORC_OK)
        return status;
    assert(value.size == sizeof(struct torc_keyspace *));
    memcpy(keyspace, value.data, sizeof(struct torc_keyspace *));
    return TORC_OK;
}

uint64_t
torcd_databases_keys(struct torcd_databases *databases, unsigned number)
{
    assert(number < databases->count);
    (void)pthread_mutex_lock(&databases->mutex);
    /* A keyspace is dropped under the mutex, and not before refresh() has put another one here. */
    uint64_t keys = torc_keyspace_keys(atomic_load_explicit(&databases->all[number].keyspace, memory_order_acquire));
    (void)pthread_mutex_unlock(&databases->mutex);
    return keys;
}

bool
torcd_databases_number(struct torcd_databases *databases, const struct torc_keyspace *keyspace, unsigned *number)
{
    for (unsigned i = 0; i < databases->count; i++)
        if (atomic_load_explicit(&databases->all[i].keyspace, memory_order_acquire) == keyspace) {
            *number = i;
            return true;
        }
    return false;
}

/* Copy the newest row. */
static void
refresh(struct torcd_databases *databases, unsigned number)
{
    (void)pthread_mutex_lock(&databases->mutex);
    struct torc_keyspace *keyspace = read_row(databases, number);
    if (keyspace != NULL)
        atomic_store_explicit(&databases->all[number].keyspace, keyspace, memory_order_release);
    (void)pthread_mutex_unlock(&databases->mutex);
}

/* ---- Changes -------------------------------------------------------------------------------------------------- */

static struct torcd_map_change *
note_change(struct torcd_worker *worker, unsigned number)
{
    struct torcd_map_change *change = torcd_allocate(1, sizeof *change);

    if (change == NULL)
        return NULL;
    change->number = number;
    change->next = worker->map_changes;
    worker->map_changes = change;
    /* Relaxed: the commit that follows publishes it. */
    atomic_fetch_add_explicit(&worker->server->databases->all[number].changing, 1, memory_order_relaxed);
    return change;
}

static enum torc_status
write_row(struct torc_txn *txn, unsigned number, struct torc_keyspace *keyspace)
{
    unsigned char byte;
    enum torc_status status = torc_txn_use(txn, NULL);

    if (status != TORC_OK)
        return status;
    return torc_txn_put(txn, row(&byte, number), torc_slice(&keyspace, sizeof(struct torc_keyspace *)));
}

enum torc_status
torcd_databases_flush(struct torcd_worker *worker, struct torc_txn *txn, unsigned number)
{
    struct torc_keyspace *former;
    enum torc_status status = torcd_databases_find(txn, number, &former);

    if (status != TORC_OK)
        return status;
    struct torcd_map_change *change = note_change(worker, number);
    if (change == NULL)
        return TORC_NO_MEMORY;
    change->drop = torcd_allocate(1, sizeof *change->drop);
    if (change->drop == NULL)
        return TORC_NO_MEMORY;
    status = create_keyspace(worker->server->databases, number, &change->created);
    if (status == TORC_OK)
        status = write_row(txn, number, change->created);
    if (status != TORC_OK)
        return status;
    change->replaced = former;
    worker->map[number] = change->created;
    worker->delta[number] = 0;
    return TORC_OK;
}

enum torc_status
torcd_databases_swap(struct torcd_worker *worker, struct torc_txn *txn, unsigned first, unsigned second)
{
    struct torc_keyspace *one, *other;
    enum torc_status status = torcd_databases_find(txn, first, &one);

    if (status == TORC_OK)
        status = torcd_databases_find(txn, second, &other);
    if (status != TORC_OK || one == other)
        return status;
    if (note_change(worker, first) == NULL || note_change(worker, second) == NULL)
        return TORC_NO_MEMORY;
    status = write_row(txn, first, other);
    if (status == TORC_OK)
        status = write_row(txn, second, one);
    if (status != TORC_OK)
        return status;
    int64_t delta = worker->delta[first];
    worker->delta[first] = worker->delta[second];
    worker->delta[second] = delta;
    worker->map[first] = other;
    worker->map[second] = one;
    return TORC_OK;
}

/* ---- The end of a keyspace ------------------------------------------------------------------------------------ */

/* Drop it, and those that had to wait. */
static void
end_keyspace(struct torcd_databases *databases, struct drop *drop)
{
    (void)pthread_mutex_lock(&databases->mutex);
    struct drop *waiting = databases->waiting;
    drop->next = waiting;
    databases->waiting = NULL;
    while (drop != NULL) {
        struct drop *next = drop->next;
        if (torc_keyspace_drop(drop->keyspace) == TORC_NO_MEMORY) {
            drop->next = databases->waiting;
            databases->waiting = drop;
        } else
            torcd_release(drop);
        drop = next;
    }
    (void)pthread_mutex_unlock(&databases->mutex);
}

/* Between two requests of `worker`: on to the next one; behind the last one nobody has the handle. */
static void
visit(struct torcd_worker *worker, struct torcd_message *message)
{
    struct drop *drop = (struct drop *)message;
    struct torcd_server *server = worker->server;

    if (++drop->at < server->workers_count) {
        torcd_worker_post(server->workers[drop->at], message);
        return;
    }
    end_keyspace(server->databases, drop);
    torcd_server_expect_room(server);
}

/* End `keyspace` when no request uses it any more. */
static void
retire(struct torcd_server *server, struct drop *drop, struct torc_keyspace *keyspace)
{
    drop->message.run = visit;
    drop->keyspace = keyspace;
    drop->at = 0;
    torcd_worker_post(server->workers[0], &drop->message);
}

void
torcd_databases_finish(struct torcd_worker *worker, bool committed)
{
    struct torcd_server *server = worker->server;

    while (worker->map_changes != NULL) {
        struct torcd_map_change *change = worker->map_changes;
        worker->map_changes = change->next;
        if (committed)
            refresh(server->databases, change->number);
        atomic_fetch_sub_explicit(&server->databases->all[change->number].changing, 1, memory_order_release); /* R1 */
        struct torc_keyspace *end = committed && change->replaced != NULL ? change->replaced : change->created;
        if (end != NULL)
            retire(server, change->drop, end);
        else
            torcd_release(change->drop);
        torcd_release(change);
    }
}

/* ---- Life ----------------------------------------------------------------------------------------------------- */

static enum torc_status
put_row(struct torc_mvcc *store, unsigned number, struct torc_keyspace *keyspace)
{
    struct torc_slice value = torc_slice(&keyspace, sizeof(struct torc_keyspace *));
    unsigned char byte;
    enum torc_status status = torc_mvcc_put(store, row(&byte, number), value, NULL);

    /* What the store retired while it grew may be over its limit for a moment. */
    if (status == TORC_BUSY && torc_mvcc_collect(store) == TORC_OK)
        status = torc_mvcc_put(store, row(&byte, number), value, NULL);
    return status;
}

static bool
create_all(struct torcd_databases *databases)
{
    for (unsigned i = 0; i < databases->count; i++) {
        struct torc_keyspace *keyspace;

        if (create_keyspace(databases, i, &keyspace) != TORC_OK
            || put_row(databases->store, i, keyspace) != TORC_OK)
            return false;
        /* Relaxed: no other thread knows it yet. */
        atomic_init(&databases->all[i].keyspace, keyspace);
    }
    return true;
}

struct torcd_databases *
torcd_databases_create(struct torc_mvcc *store, unsigned count)
{
    assert(count > 0 && count <= 256);
    struct torcd_databases *databases =
        torcd_allocate(1, sizeof *databases + count * sizeof(struct database));

    if (databases == NULL)
        return NULL;
    databases->store = store;
    databases->count = count;
    if (pthread_mutex_init(&databases->mutex, NULL) != 0) {
        torcd_release(databases);
        return NULL;
    }
    if (create_all(databases))
        return databases;
    torcd_databases_destroy(databases);
    return NULL;
}

void
torcd_databases_destroy(struct torcd_databases *databases)
{
    if (databases == NULL)
        return;
    while (databases->waiting != NULL) {
        struct drop *drop = databases->waiting;
        databases->waiting = drop->next;
        torcd_release(drop);
    }
    (void)pthread_mutex_destroy(&databases->mutex);
    torcd_release(databases);
}

/* SPDX-License-Identifier: MIT */
/* server/databases.c: the map from databases to keyspaces, its copy, and the end of keyspaces that were replaced.
 *
 * The default keyspace holds
 *   "torcd"              "1": the store is torcd's, and laid out like this. Written before all else
 *   one byte, number n   the name of the keyspace that database n is
 * and every database has a keyspace "db<number it was made for>-<serial>". What survives a crash is a prefix of what
 * was committed: a keyspace is created before its name stands in a row, and dropped after another name does. So each
 * row names a keyspace that is there; what no row names is left over, and dropped at the next start.
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

#define MARK "torcd"
#define LAYOUT "1"
#define ROWS 256u                       /* --databases may have been greater at an earlier start. */

struct database {
    _Atomic(struct torc_keyspace *) keyspace;
    atomic_uint changing;
};

struct torcd_databases {
    struct torc_mvcc *store;
    pthread_mutex_t mutex;
    struct drop *waiting;               /* Drops for which there was no memory, or no journal. Under `mutex`. */
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

/* The keyspace called `name`, which a row has as that of database `number`: mostly the one that the copy has. */
static enum torc_status
resolve(struct torcd_databases *databases, unsigned number, struct torc_slice name, struct torc_keyspace **keyspace)
{
    struct torc_keyspace *copy = atomic_load_explicit(&databases->all[number].keyspace, memory_order_acquire);
    struct torc_slice has = torc_keyspace_name(copy);

    *keyspace = copy;
    if (has.size == name.size && memcmp(has.data, name.data, name.size) == 0)
        return TORC_OK;
    return torc_keyspace_find(databases->store, name, keyspace);
}

/* The newest row of the store: the name of a keyspace, in `name`. */
static enum torc_status
read_name(struct torc_mvcc *store, unsigned number, char name[TORC_NAME_SIZE_MAX], struct torc_slice *read)
{
    unsigned char byte;
    size_t size;
    enum torc_status status = torc_mvcc_get(store, row(&byte, number), name, TORC_NAME_SIZE_MAX, &size);

    *read = torc_slice(name, status == TORC_OK ? size : 0);
    return status;
}

static struct torc_keyspace *
read_row(struct torcd_databases *databases, unsigned number)
{
    struct torc_keyspace *keyspace;
    char bytes[TORC_NAME_SIZE_MAX];
    struct torc_slice name;

    if (read_name(databases->store, number, bytes, &name) != TORC_OK
        || resolve(databases, number, name, &keyspace) != TORC_OK)
        return NULL;
    return keyspace;
}

struct torc_keyspace *
torcd_databases_now(struct torcd_databases *databases, unsigned number)
{
    struct torc_keyspace *keyspace = torcd_databases_cached(databases, number);

    return keyspace != NULL ? keyspace : read_row(databases, number);
}

enum torc_status
torcd_databases_find(struct torcd_databases *databases, struct torc_txn *txn, unsigned number,
                     struct torc_keyspace **keyspace)
{
    struct torc_slice name;
    unsigned char byte;
    enum torc_status status = torc_txn_use(txn, NULL);

    if (status == TORC_OK)
        status = torc_txn_get(txn, row(&byte, number), &name);
    return status != TORC_OK ? status : resolve(databases, number, name, keyspace);
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
    return torc_txn_put(txn, row(&byte, number), torc_keyspace_name(keyspace));
}

enum torc_status
torcd_databases_flush(struct torcd_worker *worker, struct torc_txn *txn, unsigned number)
{
    struct torcd_databases *databases = worker->server->databases;
    struct torc_keyspace *former;
    enum torc_status status = torcd_databases_find(databases, txn, number, &former);

    if (status != TORC_OK)
        return status;
    struct torcd_map_change *change = note_change(worker, number);
    if (change == NULL)
        return TORC_NO_MEMORY;
    change->drop = torcd_allocate(1, sizeof *change->drop);
    if (change->drop == NULL)
        return TORC_NO_MEMORY;
    status = create_keyspace(databases, number, &change->created);
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
    struct torcd_databases *databases = worker->server->databases;
    struct torc_keyspace *one, *other;
    enum torc_status status = torcd_databases_find(databases, txn, first, &one);

    if (status == TORC_OK)
        status = torcd_databases_find(databases, txn, second, &other);
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
        enum torc_status status = torc_keyspace_drop(drop->keyspace);
        if (status == TORC_NO_MEMORY || status == TORC_READ_ONLY) {
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
put(struct torc_mvcc *store, struct torc_slice key, struct torc_slice value)
{
    enum torc_status status = torc_mvcc_put(store, key, value, NULL);

    /* What the store retired while it grew may be over its limit for a moment. */
    if (status == TORC_BUSY && torc_mvcc_collect(store) == TORC_OK)
        status = torc_mvcc_put(store, key, value, NULL);
    return status;
}

/* The serial number of a keyspace that torcd made, by its name; false if it made it not. */
static bool
parse_serial(struct torc_slice name, uint64_t *serial)
{
    char text[TORC_NAME_SIZE_MAX + 1], again[TORC_NAME_SIZE_MAX + 1];
    unsigned number;

    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    if (sscanf(text, "db%u-%" SCNu64, &number, serial) != 2)
        return false;
    (void)snprintf(again, sizeof again, "db%u-%" PRIu64, number, *serial);
    return strcmp(text, again) == 0;
}

/* Whether a row of the store, also of a database that is not served now, has the name. */
static bool
is_named(struct torc_mvcc *store, struct torc_slice name)
{
    char bytes[TORC_NAME_SIZE_MAX];
    struct torc_slice read;

    for (unsigned i = 0; i < ROWS; i++)
        if (read_name(store, i, bytes, &read) == TORC_OK && read.size == name.size
            && memcmp(read.data, name.data, name.size) == 0)
            return true;
    return false;
}

/* Drop what a crash has left over, and number new keyspaces behind all that are there. */
static bool
sweep_keyspaces(struct torcd_databases *databases)
{
    struct torc_keyspace **keyspaces = torcd_allocate(TORC_KEYSPACES_MAX, sizeof(struct torc_keyspace *));
    uint64_t serial, next = 0;
    size_t count = 0;

    if (keyspaces == NULL || torc_mvcc_keyspaces(databases->store, keyspaces, TORC_KEYSPACES_MAX, &count) != TORC_OK) {
        torcd_release(keyspaces);
        return false;
    }
    for (size_t i = 0; i < count && i < TORC_KEYSPACES_MAX; i++) {
        struct torc_slice name = torc_keyspace_name(keyspaces[i]);
        if (name.size == 0 || !parse_serial(name, &serial))
            continue;
        next = serial >= next ? serial + 1 : next;
        /* What cannot be dropped now stays until the next start. */
        if (!is_named(databases->store, name))
            (void)!torc_keyspace_drop(keyspaces[i]);
    }
    /* Relaxed: no other thread knows it yet. */
    atomic_store_explicit(&databases->created, next, memory_order_relaxed);
    torcd_release(keyspaces);
    return true;
}

/* Find the keyspace of each database, or create it. */
static bool
open_all(struct torcd_databases *databases)
{
    for (unsigned i = 0; i < databases->count; i++) {
        struct torc_keyspace *keyspace = NULL;
        char bytes[TORC_NAME_SIZE_MAX];
        struct torc_slice name;
        unsigned char byte;
        enum torc_status status = read_name(databases->store, i, bytes, &name);

        if (status == TORC_OK)
            status = torc_keyspace_find(databases->store, name, &keyspace);
        else if (status == TORC_NOT_FOUND) {
            status = create_keyspace(databases, i, &keyspace);
            if (status == TORC_OK)
                status = put(databases->store, row(&byte, i), torc_keyspace_name(keyspace));
        }
        if (status != TORC_OK)
            return false;
        atomic_init(&databases->all[i].keyspace, keyspace);
    }
    return true;
}

enum torcd_layout
torcd_databases_layout(struct torc_mvcc *store)
{
    char bytes[TORC_NAME_SIZE_MAX];
    size_t size, keyspaces;
    struct torc_keyspace *keyspace;
    struct torc_slice name;
    enum torc_status status = torc_mvcc_get(store, torc_slice_from_string(MARK), bytes, sizeof bytes, &size);

    if (status == TORC_NOT_FOUND)
        return torc_mvcc_keyspaces(store, NULL, 0, &keyspaces) == TORC_OK && keyspaces == 1
                       && torc_keyspace_keys(torc_mvcc_default(store)) == 0
                   ? TORCD_LAYOUT_EMPTY : TORCD_LAYOUT_FOREIGN;
    if (status != TORC_OK || size != strlen(LAYOUT) || memcmp(bytes, LAYOUT, size) != 0)
        return TORCD_LAYOUT_FOREIGN;
    for (unsigned i = 0; i < ROWS; i++) {
        status = read_name(store, i, bytes, &name);
        if (status == TORC_OK)
            status = torc_keyspace_find(store, name, &keyspace);
        else if (status == TORC_NOT_FOUND)
            status = TORC_OK;
        if (status != TORC_OK)
            return TORCD_LAYOUT_BROKEN;
    }
    return TORCD_LAYOUT_KNOWN;
}

static bool
open_databases(struct torcd_databases *databases)
{
    enum torcd_layout layout = torcd_databases_layout(databases->store);

    if (layout == TORCD_LAYOUT_EMPTY
        && put(databases->store, torc_slice_from_string(MARK), torc_slice_from_string(LAYOUT)) != TORC_OK)
        return false;
    return (layout == TORCD_LAYOUT_EMPTY || (layout == TORCD_LAYOUT_KNOWN && sweep_keyspaces(databases)))
           && open_all(databases);
}

struct torcd_databases *
torcd_databases_open(struct torc_mvcc *store, unsigned count)
{
    assert(count > 0 && count <= ROWS);
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
    if (open_databases(databases))
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

/* SPDX-License-Identifier: MIT */
/* stress/mvcc_watches: no wake-up is lost. Each key has one writer, which raises a number in it and publishes the
 * number after its commit has returned. A watcher reads what is published, then asks the descriptor: if it is
 * silent, the watcher must have seen that number already, or a greater one. Watches of a key and of a prefix come
 * and go; half of the keys are in a keyspace that is not the default one. Watchers also sleep on the descriptor: how
 * long decides nothing. */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

enum {
    SLEEP_MAX_MS = 20,
    LOOKS_PER_WATCH = 40,       /* Then it is closed, and another one opened. */
    WRITES_PER_TURN = 4,
};

struct published {
    _Alignas(TORCI_CACHE_LINE) _Atomic(int64_t) number;     /* Release: the commit has returned. */
};

static struct published *published;                 /* Per writer. */
static unsigned writers;
static _Atomic(uint64_t) changes;                   /* Committed. Relaxed: a counter. */

static struct torc_slice
writer_name(char name[STRESS_NAME_MAX], unsigned writer)
{
    return torc_slice(name, (size_t)snprintf(name, STRESS_NAME_MAX, "w%03u", writer));
}

static struct torc_keyspace *
keyspace_of(struct torct_stress *stress, unsigned writer)
{
    struct torc_keyspace *keyspace = NULL;

    if (writer % 2 == 0)
        return torc_mvcc_default(stress->store);
    torct_must(torc_keyspace_find(stress->store, torc_slice("watched", 7), &keyspace));
    return keyspace;
}

/* Write, all ways in turn. */
static enum torc_status
write_number(struct torct_worker *worker, struct torc_keyspace *keyspace, struct torc_slice key, int64_t number)
{
    struct torc_slice value = torct_bytes_of(&number);
    enum torc_status status;
    struct torc_txn *txn;

    switch (torci_random_below(&worker->random, 3)) {
    case 0:
        return torc_keyspace_put(keyspace, key, value, TORC_NEVER, NULL);
    case 1:
        return torc_keyspace_merge(keyspace, key, &torc_merge_max, value, NULL, 0, NULL);
    default:
        torct_must(torc_txn_begin(worker->stress->store, NULL, &txn));
        torct_must(torc_txn_use(txn, keyspace));
        status = torc_txn_put(txn, key, value);
        if (status == TORC_OK)
            return torc_txn_commit(txn);
        torc_txn_abort(txn);
        return status;
    }
}

static void
write_on(struct torct_worker *worker)
{
    struct torc_keyspace *keyspace = keyspace_of(worker->stress, worker->number);
    struct published *own = &published[worker->number];
    char name[STRESS_NAME_MAX];

    torct_step(worker, "write");
    for (unsigned i = 0; i < WRITES_PER_TURN; i++) {
        int64_t number = torci_load(&own->number, memory_order_relaxed) + 1;    /* Relaxed: ours. */
        enum torc_status status = write_number(worker, keyspace, writer_name(name, worker->number), number);

        if (status != TORC_OK) {
            torct_complain(worker, "a write of one's own key returned %s (%s)", torc_status_name(status),
                           torc_detail());
            return;
        }
        torci_store(&own->number, number, memory_order_release);
        torci_fetch_add(&changes, 1u, memory_order_relaxed);
        worker->commits++;
    }
}

/* A watch, and what was seen of the keys under it: writers first, first + step, ... */
struct watcher {
    struct torct_worker *worker;
    struct torc_watch *watch;
    struct torc_keyspace *keyspace;
    int fd;
    unsigned first, step;
    int64_t *seen;              /* Per writer. */
};

static void
see(struct watcher *watcher, unsigned writer)
{
    char name[STRESS_NAME_MAX];
    int64_t number = 0;
    size_t size;
    enum torc_status status = torc_keyspace_get(watcher->keyspace, writer_name(name, writer), &number, sizeof(number),
                                                &size);

    if (status != TORC_OK && status != TORC_NOT_FOUND)
        torct_complain(watcher->worker, "get returned %s (%s)", torc_status_name(status), torc_detail());
    if (number < watcher->seen[writer])
        torct_complain(watcher->worker, "writer %u went back from %" PRId64 " to %" PRId64, writer,
                       watcher->seen[writer], number);
    watcher->seen[writer] = number;
    watcher->worker->reads++;
}

static bool
is_readable(struct watcher *watcher, int timeout_ms)
{
    struct pollfd polled = {.fd = watcher->fd, .events = POLLIN};

    return poll(&polled, 1, timeout_ms) > 0;
}

/* Ask once. What was published before the descriptor was silent has been seen. */
static void
ask(struct watcher *watcher, int64_t *expected)
{
    struct torct_worker *worker = watcher->worker;
    uint64_t stamp = 0;

    torct_step(worker, "watch");
    for (unsigned i = watcher->first; i < writers; i += watcher->step)
        expected[i] = torci_load(&published[i].number, memory_order_acquire);
    if (!is_readable(watcher, 0)) {
        for (unsigned i = watcher->first; i < writers; i += watcher->step)
            if (watcher->seen[i] < expected[i])
                torct_complain(worker, "a silent watch has seen %" PRId64 " of writer %u, not %" PRId64,
                               watcher->seen[i], i, expected[i]);
        if (torci_random_one_in(&worker->random, 8))
            (void)is_readable(watcher, 1 + (int)torci_random_below(&worker->random, SLEEP_MAX_MS));
        return;
    }
    if (torc_watch_fired(watcher->watch, &stamp) && stamp == 0)
        torct_complain(worker, "a watch that has fired tells no stamp");
    if (worker->stress->plant && torci_random_one_in(&worker->random, 2))
        return;                         /* The planted mistake: it does not look. */
    for (unsigned i = watcher->first; i < writers; i += watcher->step)
        see(watcher, i);
}

/* Open a watch of one key, or of all keys of a keyspace; ask it for a while. */
static void
watch_on(struct torct_worker *worker, int64_t *seen, int64_t *expected)
{
    struct watcher watcher = {.worker = worker, .seen = seen};
    unsigned writer = (unsigned)torci_random_below(&worker->random, writers);
    bool prefix = torci_random_one_in(&worker->random, 3);
    char name[STRESS_NAME_MAX];
    struct torc_slice key = writer_name(name, writer);

    memset(seen, 0, writers * sizeof(*seen));
    watcher.keyspace = keyspace_of(worker->stress, writer);
    watcher.first = prefix ? writer % 2 : writer;
    watcher.step = prefix ? 2 : writers;
    if (prefix)
        key.size = torci_random_below(&worker->random, 2);
    torct_step(worker, "open a watch");
    torct_must(torc_keyspace_watch(watcher.keyspace, key, prefix, &watcher.watch));
    watcher.fd = torc_watch_fd(watcher.watch);
    if (watcher.fd < 0)
        torct_complain(worker, "a watch has no descriptor");
    for (unsigned i = watcher.first; i < writers; i += watcher.step)
        see(&watcher, i);
    for (unsigned i = 0; i < LOOKS_PER_WATCH && torct_goes_on(worker, torci_now_ns()); i++)
        ask(&watcher, expected);
    torc_watch_close(watcher.watch);
}

void
torct_watches_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    struct torc_keyspace *keyspace;
    enum torc_status status;
    char name[STRESS_NAME_MAX];

    (void)workload;
    writers = (stress->threads + 1) / 2;
    published = aligned_alloc(TORCI_CACHE_LINE, writers * sizeof(*published));
    if (published == NULL)
        torct_give_up("no memory for %u writers", writers);
    memset(published, 0, writers * sizeof(*published));
    status = torc_keyspace_create(stress->store, torc_slice("watched", 7), &keyspace);
    if (status != TORC_EXISTS)
        torct_must(status);
    for (unsigned i = 0; i < writers; i++) {
        status = torc_keyspace_delete(keyspace_of(stress, i), writer_name(name, i));
        if (status != TORC_NOT_FOUND)
            torct_must(status);
    }
    /* The threads start after it. */
    torci_store(&stress->told, (uint64_t)0, memory_order_relaxed);
    torci_store(&changes, (uint64_t)0, memory_order_relaxed);
}

void
torct_watches_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    int64_t *seen = calloc(2 * writers, sizeof(*seen));

    (void)stress;
    (void)workload;
    if (seen == NULL)
        torct_give_up("no memory for what a watcher saw");
    while (torct_goes_on(worker, torci_now_ns())) {
        if (worker->number < writers && (worker->number > 0 || !torci_random_one_in(&worker->random, 4)))
            write_on(worker);
        else
            watch_on(worker, seen, seen + writers);
    }
    free(seen);
}

void
torct_watches_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    /* Relaxed: the threads are joined. */
    uint64_t told = torci_load(&stress->told, memory_order_relaxed);
    uint64_t committed = torci_load(&changes, memory_order_relaxed);

    (void)workload;
    if (told != committed)
        torct_complain(&stress->workers[0], "on_commit was told of %" PRIu64 " changes, not of %" PRIu64, told,
                       committed);
    free(published);
    published = NULL;
}

/* SPDX-License-Identifier: MIT */
/* Watching, in every interleaving the scheduler can draw: arming, asking, reading and closing beside commits, and
 * beside neighbours that come and go, so that leaves are replaced and split under everybody.
 *
 * Oracle: whoever armed or asked, and then read what is not the last value, will find the watch fired; so will
 * poll(). */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "mvcc/history_testing.h"

TestSuite(watch_schedules, .timeout = 3000);

enum { FIBERS = 4, SIZE = 16, NEIGHBOURS = 3 };

struct world {
    struct torc_mvcc *store;
    struct torc_keyspace *keyspace;
    struct torct_pool *pool;            /* For runs in which a fiber is frozen. */
    struct torc_watch *neighbours[NEIGHBOURS];
    struct torc_watch *watch;           /* Of fiber 0. */
    char read[SIZE];                    /* What it read last. */
    uint64_t stamp;
    int fd;
};

static struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

static struct torc_watch *
watch_key(struct world *world, const char *key, bool prefix)
{
    struct torc_watch *watch;

    if (torc_keyspace_watch(world->keyspace, text(key), prefix, &watch) != TORC_OK)
        torci_fail_here("no watch");
    return watch;
}

/* As it is now, by a call of its own or in a transaction. */
static void
read_now(struct world *world, char value[SIZE], bool plain)
{
    struct torc_txn_options options = {.read_only = torci_fiber_random() % 2 == 0};
    struct torc_slice slice;
    struct torc_txn *txn;
    size_t size;

    memset(value, 0, SIZE);
    if (plain || torci_fiber_random() % 2 == 0) {
        (void)!torc_mvcc_get(world->store, text("k"), value, SIZE - 1, &size);
        return;
    }
    if (torc_txn_begin(world->store, &options, &txn) != TORC_OK)
        torci_fail_here("no transaction");
    if (torc_txn_get(txn, text("k"), &slice) == TORC_OK)
        memcpy(value, slice.data, slice.size);
    torc_txn_abort(txn);
}

/* ---- The fibers ---- */

static void
watcher(struct world *world)
{
    struct torc_watch *watch;
    uint64_t stamp;

    /* One that is closed, maybe while it is fired. */
    watch = watch_key(world, "k", torci_fiber_random() % 4 == 0);
    if (torci_fiber_random() % 2 == 0)
        (void)torc_watch_fd(watch);
    torc_watch_close(watch);

    world->watch = watch_key(world, torci_fiber_random() % 4 == 0 ? "" : "k", true);
    if (torci_fiber_random() % 2 == 0) {
        torc_watch_close(world->watch);
        world->watch = watch_key(world, "k", false);
    }
    if (torci_fiber_random() % 2 == 0)
        world->fd = torc_watch_fd(world->watch);
    read_now(world, world->read, false);
    if (torc_watch_fired(world->watch, &stamp)) {
        if (stamp == 0)
            torci_fail_here("fired by nobody");
        read_now(world, world->read, false);
    }
    world->fd = torc_watch_fd(world->watch);
    world->stamp = stamp;
}

static void
committer(struct world *world, unsigned number)
{
    const char value[3] = {(char)('a' + number), (char)('0' + torci_fiber_random() % 10), '\0'};
    struct torc_txn *txn;

    switch (torci_fiber_random() % 4) {
    case 0:
        (void)!torc_mvcc_put(world->store, text("k"), text(value), NULL);
        break;
    case 1:
        (void)!torc_mvcc_delete(world->store, text("k"));
        break;
    case 2:
        (void)!torc_keyspace_merge(world->keyspace, text("k"), &torc_merge_append, text(value), NULL, 0, NULL);
        break;
    default:
        if (torc_txn_begin(world->store, NULL, &txn) != TORC_OK)
            torci_fail_here("no transaction");
        (void)!torc_txn_put(txn, text("k"), text(value));
        if (torci_fiber_random() % 2 == 0)
            (void)!torc_txn_put(txn, text("other"), text(value));
        (void)!torc_txn_commit(txn);
    }
}

static void
neighbour(struct world *world)
{
    static const char *const keys[NEIGHBOURS] = {"k", "l", "m"};

    for (unsigned i = 0; i < NEIGHBOURS; i++)
        world->neighbours[i] = watch_key(world, keys[i], false);
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        torc_watch_close(world->neighbours[i]);
}

static void
body(void *context, unsigned number)
{
    struct world *world = context;

    if (number == 0)
        watcher(world);
    else if (number < 3)
        committer(world, number);
    else
        neighbour(world);
}

/* ---- The frame ---- */

static void
setup(void *context)
{
    struct world *world = context;

    world->store = torct_open_in_pool(world->pool);
    world->keyspace = torc_mvcc_default(world->store);
    world->watch = NULL;
    world->fd = -1;
    if (torc_mvcc_put(world->store, text("k"), text("first"), NULL) != TORC_OK)
        torci_fail_here("no value");
}

static bool
woken(struct world *world)
{
    struct pollfd entry = {.fd = world->fd, .events = POLLIN};
    char last[SIZE];
    bool readable = false;
    bool fired;

    if (torci_fiber_is_frozen(1) || torci_fiber_is_frozen(2) || torci_fiber_is_frozen(0))
        return true; /* Who stopped fires late. */
    read_now(world, last, true);
    if (world->fd >= 0 && poll(&entry, 1, 0) == 1)
        readable = entry.revents == POLLIN; /* Not that it was closed. */
    fired = torc_watch_fired(world->watch, NULL);
    if (world->fd >= 0 && fcntl(world->fd, F_GETFD) == -1)
        return false;
    if (world->fd >= 0 && fired && !readable)
        return false;
    return strcmp(last, world->read) == 0 || fired;
}

static bool
check_world(void *context)
{
    return woken(context);
}

static void
teardown(void *context)
{
    struct world *world = context;

    if (world->pool != NULL) {
        if (world->watch != NULL && !torci_fiber_is_frozen(0))
            torc_watch_close(world->watch);
        return;
    }
    torc_watch_close(world->watch);
    if (torc_mvcc_close(world->store) != TORC_OK)
        torci_fail_here("the store does not close");
}

static struct torci_run
run_of(struct world *world, uint64_t schedules)
{
    return (struct torci_run){.fibers = FIBERS, .setup = setup, .body = body, .check = check_world,
                              .teardown = teardown, .context = world, .seed = torct_seed(),
                              .schedules = torct_schedules(schedules)};
}

Test(watch_schedules, no_change_is_missed)
{
    struct world world = {.store = NULL};
    struct torci_run run = run_of(&world, 60000);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

Test(watch_schedules, a_stopped_commit_or_watcher_stops_nobody)
{
    static struct torct_pool pool;
    struct world world = {.pool = &pool};
    struct torci_run run = run_of(&world, 4);
    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_log_info("%llu schedules, %llu frozen", (unsigned long long)result.schedules,
                (unsigned long long)result.frozen);
    cr_assert_not(result.failed, "%s", result.reason);
}

/* SPDX-License-Identifier: MIT */
/* Watches: what fires them, what does not, descriptors, many of them, want of memory, races. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "mvcc/mvcc_testing.h"
#include "mvcc/watch.h"

static struct torct_store store;
static struct torc_keyspace *keyspace;

static void
create(void)
{
    torct_store_open(&store);
    keyspace = torc_mvcc_default(store.mvcc);
}

static void
destroy(void)
{
    torct_store_close(&store);
}

TestSuite(watch, .init = create, .fini = destroy, .timeout = 120);

static struct torc_watch *
watch_in(struct torc_keyspace *where, const char *key, bool prefix)
{
    struct torc_watch *watch;

    cr_assert_eq(torc_keyspace_watch(where, torct_text(key), prefix, &watch), TORC_OK);
    cr_assert_not_null(watch);
    return watch;
}

static struct torc_watch *
watch_key(const char *key)
{
    return watch_in(keyspace, key, false);
}

static bool
fired(struct torc_watch *watch)
{
    return torc_watch_fired(watch, NULL);
}

static bool
readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};

    return poll(&entry, 1, 0) == 1;
}

static void
commit_put(const char *key, const char *other)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);

    torct_txn_put(txn, key, "t");
    if (other != NULL)
        torct_txn_put(txn, other, "t");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
}

/* ---- What fires ---- */

Test(watch, fires_for_every_way_to_change_its_key)
{
    struct torc_watch *watch = watch_key("k");
    struct torc_slice value = torct_text("v");
    uint64_t stamp;

    cr_expect_not(torc_watch_fired(watch, &stamp));
    cr_expect_eq(stamp, 0u);
    torct_put(store.mvcc, "k", "1");
    cr_expect(torc_watch_fired(watch, &stamp), "a put");
    cr_expect_eq(stamp, torc_last_commit());
    cr_expect_not(torc_watch_fired(watch, &stamp), "it forgets");
    cr_expect_eq(stamp, torc_last_commit(), "but not the stamp");

    torct_delete(store.mvcc, "k");
    cr_expect(torc_watch_fired(watch, &stamp), "a delete");
    cr_expect_eq(stamp, torc_last_commit());
    commit_put("k", NULL);
    cr_expect(torc_watch_fired(watch, &stamp), "a commit of one key");
    cr_expect_eq(stamp, torc_last_commit());
    commit_put("a", "k");
    cr_expect(torc_watch_fired(watch, &stamp), "a commit of many");
    cr_expect_eq(stamp, torc_last_commit());
    cr_assert_eq(torc_keyspace_merge(keyspace, torct_text("k"), &torc_merge_append, value, NULL, 0, NULL), TORC_OK);
    cr_expect(fired(watch), "a merge");
    cr_assert_eq(torc_keyspace_compare_and_set(keyspace, torct_text("k"), NULL, &value), TORC_EXISTS);
    cr_expect_not(fired(watch), "nothing was written");
    value = torct_text("tv");
    cr_assert_eq(torc_keyspace_compare_and_set(keyspace, torct_text("k"), &value, &value), TORC_OK);
    cr_expect(fired(watch), "a comparison that held");
    torc_watch_close(watch);
}

Test(watch, does_not_fire_for_what_did_not_happen)
{
    struct torc_watch *watch = watch_key("k");
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);

    torct_txn_put(txn, "k", "1");
    cr_expect_not(fired(watch));
    torc_txn_abort(txn);
    cr_expect_not(fired(watch), "aborted");

    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_txn_put(txn, "k", "1");
    torct_txn_put(txn, "l", "1");
    torct_put(store.mvcc, "l", "2");
    cr_assert_eq(torc_txn_commit(txn), TORC_CONFLICT);
    cr_expect_not(fired(watch), "refused");
    cr_assert_eq(torc_mvcc_delete(store.mvcc, torct_text("k")), TORC_NOT_FOUND);
    cr_expect_not(fired(watch));

    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_savepoint(txn, torct_text("s")), TORC_OK);
    torct_txn_put(txn, "k", "1");
    cr_assert_eq(torc_txn_rollback_to(txn, torct_text("s")), TORC_OK);
    torct_txn_put(txn, "m", "1");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_not(fired(watch), "taken back");
    torc_watch_close(watch);
}

Test(watch, means_one_key_of_one_keyspace)
{
    struct torc_keyspace *other;
    struct torc_watch *here = watch_key("k");
    struct torc_watch *there;
    struct torc_watch *all;

    cr_assert_eq(torc_keyspace_create(store.mvcc, torct_text("other"), &other), TORC_OK);
    there = watch_in(other, "k", false);
    all = watch_in(other, "", true);
    torct_put(store.mvcc, "kk", "1");
    torct_put(store.mvcc, "K", "1");
    torct_put(store.mvcc, "j", "1");
    cr_expect_not(fired(here));
    torct_put(store.mvcc, "k", "1");
    cr_expect(fired(here));
    cr_expect_not(fired(there));
    cr_expect_not(fired(all));
    cr_assert_eq(torc_keyspace_put(other, torct_text("k"), torct_text("1"), TORC_NEVER, NULL), TORC_OK);
    cr_expect_not(fired(here));
    cr_expect(fired(there));
    cr_expect(fired(all));
    torc_watch_close(all);
    torc_watch_close(here);
    torc_watch_close(there);
}

Test(watch, of_a_prefix_fires_for_all_that_begin_so)
{
    struct torc_watch *some = watch_in(keyspace, "ab", true);
    struct torc_watch *all = watch_in(keyspace, "", true);

    torct_put(store.mvcc, "a", "1");
    cr_expect_not(fired(some));
    cr_expect(fired(all));
    torct_put(store.mvcc, "ab", "1");
    cr_expect(fired(some));
    torct_put(store.mvcc, "abc", "1");
    cr_expect(fired(some));
    torct_put(store.mvcc, "ac", "1");
    cr_expect_not(fired(some));
    cr_expect(fired(all));
    cr_expect_not(fired(all));
    torc_watch_close(some);
    torc_watch_close(all);
}

Test(watch, tells_bad_input)
{
    static const char big[TORC_KEY_SIZE_MAX + 1];
    struct torc_watch *watch = (struct torc_watch *)(void *)&store;
    uint64_t stamp = 1;

    cr_expect_eq(torc_keyspace_watch(keyspace, torct_text("k"), false, NULL), TORC_INVALID);
    cr_expect_eq(torc_keyspace_watch(NULL, torct_text("k"), false, &watch), TORC_INVALID);
    cr_expect_null(watch);
    watch = (struct torc_watch *)(void *)&store;
    cr_expect_eq(torc_keyspace_watch(keyspace, torc_slice(NULL, 0), false, &watch), TORC_INVALID);
    cr_expect_null(watch);
    cr_expect_eq(torc_keyspace_watch(keyspace, torc_slice(NULL, 1), true, &watch), TORC_INVALID);
    cr_expect_eq(torc_keyspace_watch(keyspace, torc_slice(big, sizeof big), true, &watch), TORC_TOO_LARGE);
    cr_expect_eq(torc_keyspace_watch(keyspace, torc_slice(big, sizeof big - 1), true, &watch), TORC_OK);
    torc_watch_close(watch);
    cr_expect_not(torc_watch_fired(NULL, &stamp));
    cr_expect_eq(stamp, 0u);
    cr_expect_eq(torc_watch_fd(NULL), -1);
    torc_watch_close(NULL);
}

Test(watch, must_be_closed_before_the_store)
{
    struct torc_watch *watch = watch_key("k");

    cr_expect_eq(torc_mvcc_close(store.mvcc), TORC_BUSY);
    torct_put(store.mvcc, "k", "1");
    cr_expect(fired(watch), "nothing was closed");
    torc_watch_close(watch);
}

Test(watch, of_a_dropped_keyspace_fires_once)
{
    struct torc_watch *beside = watch_key("k");
    struct torc_keyspace *other;
    struct torc_keyspace *again;
    struct torc_watch *prefix;
    struct torc_watch *watch;
    struct torc_watch *late;
    uint64_t stamp;
    int fd;

    cr_assert_eq(torc_keyspace_create(store.mvcc, torct_text("other"), &other), TORC_OK);
    watch = watch_in(other, "k", false);
    prefix = watch_in(other, "", true);
    fd = torc_watch_fd(watch);
    cr_assert_eq(torc_keyspace_drop(other), TORC_OK);
    cr_expect_eq(torc_keyspace_watch(other, torct_text("k"), false, &late), TORC_NOT_FOUND);
    cr_expect_null(late);
    cr_expect(readable(fd));
    cr_expect(torc_watch_fired(watch, &stamp));
    cr_expect_gt(stamp, 0u);
    cr_expect(fired(prefix));
    cr_expect_not(fired(beside));
    /* Another keyspace in its place is none of their business. */
    torct_collect(store.mvcc);
    torct_collect(store.mvcc);
    cr_assert_eq(torc_keyspace_create(store.mvcc, torct_text("other"), &again), TORC_OK);
    cr_assert_eq(torc_keyspace_put(again, torct_text("k"), torct_text("1"), TORC_NEVER, NULL), TORC_OK);
    cr_expect_not(fired(watch));
    cr_expect_not(fired(prefix));
    torc_watch_close(watch);
    torc_watch_close(prefix);
    torc_watch_close(beside);
}

/* ---- Descriptors ---- */

Test(watch, descriptor_is_readable_until_it_is_asked)
{
    struct torc_watch *watch = watch_key("k");
    int fd = torc_watch_fd(watch);

    cr_assert_geq(fd, 0);
    cr_expect_eq(torc_watch_fd(watch), fd);
    cr_expect_not(readable(fd));
    torct_put(store.mvcc, "k", "1");
    torct_put(store.mvcc, "k", "2");
    cr_expect(readable(fd));
    cr_expect(fired(watch));
    cr_expect_not(readable(fd));
    commit_put("k", "l");
    cr_expect(readable(fd));
    torc_watch_close(watch);
    cr_expect(fcntl(fd, F_GETFD) == -1, "closed with its watch");
}

Test(watch, descriptor_made_after_it_fired_is_readable)
{
    struct torc_watch *watch = watch_key("k");
    int fd;

    torct_put(store.mvcc, "k", "1");
    fd = torc_watch_fd(watch);
    cr_expect(readable(fd));
    cr_expect(fired(watch));
    cr_expect_not(readable(fd));
    torc_watch_close(watch);
}

Test(watch, goes_on_when_the_system_has_no_descriptor_left)
{
    struct torc_watch *watch = watch_key("k");
    struct rlimit before;
    struct rlimit none;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cr_expect_eq(torc_watch_fd(watch), -1);
    torct_put(store.mvcc, "k", "1");
    cr_expect(fired(watch));
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_expect_geq(torc_watch_fd(watch), 0, "tried again");
    torc_watch_close(watch);
}

/* ---- Many ---- */

enum { MANY = 3000 };

static void
name_of(char name[16], unsigned number)
{
    snprintf(name, 16, "key%u", number);
}

Test(watch, many_fire_each_for_its_own_key)
{
    static struct torc_watch *watches[MANY];
    char name[16];

    for (unsigned i = 0; i < MANY; i++) {
        name_of(name, i);
        watches[i] = watch_key(name);
    }
    for (unsigned i = 0; i < MANY; i += 3) {
        name_of(name, i);
        torct_put(store.mvcc, name, "v");
    }
    for (unsigned i = 0; i < MANY; i++)
        cr_assert_eq(fired(watches[i]), i % 3 == 0, "%u", i);
    /* What is closed leaves the others as they were. */
    for (unsigned i = 0; i < MANY; i += 2)
        torc_watch_close(watches[i]);
    for (unsigned i = 0; i < MANY; i++) {
        name_of(name, i);
        torct_put(store.mvcc, name, "w");
    }
    for (unsigned i = 1; i < MANY; i += 2)
        cr_assert(fired(watches[i]), "%u", i);
    for (unsigned i = 1; i < MANY; i += 2)
        torc_watch_close(watches[i]);
    cr_expect_eq(torci_load(&store.mvcc->watches_open, memory_order_seq_cst), 0u);
}

Test(watch, many_of_one_key_fire_together)
{
    static struct torc_watch *watches[200];

    for (unsigned i = 0; i < 200; i++)
        watches[i] = watch_key("k");
    commit_put("k", "j");
    for (unsigned i = 0; i < 200; i++)
        cr_assert(fired(watches[i]));
    for (unsigned i = 0; i < 200; i++)
        torc_watch_close(watches[i]);
}

/* ---- Want of memory ---- */

Test(watch, is_not_opened_without_memory)
{
    struct torc_watch *others[8];
    struct torc_watch *watch;
    char name[16];

    for (unsigned i = 0; i < 8; i++) {
        name_of(name, i);
        others[i] = watch_key(name);
    }
    for (uint64_t n = 1;; n++) {
        enum torc_status status;

        torci_alloc_fail_at(n, true);
        status = torc_keyspace_watch(keyspace, torct_text("k"), false, &watch);
        torci_alloc_fail_at(0, false);
        if (status == TORC_OK)
            break;
        cr_assert_eq(status, TORC_NO_MEMORY);
        cr_assert_null(watch);
        cr_assert_eq(torci_load(&store.mvcc->watches_open, memory_order_seq_cst), 8u);
    }
    torct_put(store.mvcc, "k", "1");
    cr_expect(fired(watch));
    torc_watch_close(watch);
    for (unsigned i = 0; i < 8; i++)
        torc_watch_close(others[i]);
}

Test(watch, closes_without_memory)
{
    struct torc_watch *first = watch_key("k");
    struct torc_watch *second = watch_key("k");
    int fd = torc_watch_fd(first);

    torci_alloc_fail_at(1, true);
    torc_watch_close(first);
    torci_alloc_fail_at(0, false);
    cr_expect(fcntl(fd, F_GETFD) == -1);
    torct_put(store.mvcc, "k", "1");
    cr_expect(fired(second));
    first = watch_key("k"); /* Takes away what could not leave. */
    torct_put(store.mvcc, "k", "1");
    cr_expect(fired(first));
    torc_watch_close(first);
    torci_alloc_fail_at(1, true);
    torc_watch_close(second); /* Stays in the table until the store closes. */
    torci_alloc_fail_at(0, false);
}

#if defined(TORC_FAULTS)
/* Fired by hand, so that the failing allocation is the one that remembers the wake-up. */
Test(watch, wakes_without_memory)
{
    struct torci_shard *shard = torct_shard(store.mvcc);
    struct torc_watch *watch = watch_key("k");
    int fd = torc_watch_fd(watch);
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_alloc_fail_at(1, true);
    torci_watch_fire(shard, keyspace, torct_text("k"), torci_key_order(store.mvcc, torct_text("k")), 9);
    torci_alloc_fail_at(0, false);
    torci_epoch_exit(guard);
    cr_expect_null(shard->wakes);
    cr_expect(readable(fd));
    torc_watch_close(watch);
}
#endif

/* A commit that was stopped before it wrote to the descriptor: the watch waits for it, and nothing else does. */
Test(watch, outlives_its_owner_while_a_commit_is_about_to_wake_it)
{
    struct torci_shard *shard = torct_shard(store.mvcc);
    struct torc_watch *watch = watch_key("k");
    int fd = torc_watch_fd(watch);
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_wake *wakes;

    torci_watch_fire(shard, keyspace, torct_text("k"), torci_key_order(store.mvcc, torct_text("k")), 9);
    torci_epoch_exit(guard);
    cr_assert_not_null(shard->wakes);
    torc_watch_close(watch);
    cr_expect(fcntl(fd, F_GETFD) != -1, "somebody is going to write to it");
    wakes = shard->wakes;
    shard->wakes = NULL; /* Or collecting would do it. */
    torct_collect(store.mvcc);
    cr_expect(fcntl(fd, F_GETFD) != -1, "somebody is still going to");
    shard->wakes = wakes;
    torci_watch_wake(shard);
    cr_expect(fcntl(fd, F_GETFD) == -1);
}

/* ---- Races ---- */

enum { WRITERS = 3, ADDS = 1000 };

static uint64_t
counter_now(void)
{
    unsigned char bytes[8];
    uint64_t value = 0;
    size_t size;

    if (torc_mvcc_get(store.mvcc, torct_text("counter"), bytes, sizeof bytes, &size) == TORC_OK)
        memcpy(&value, bytes, sizeof value);
    return value;
}

static void
add_once(unsigned way)
{
    static const uint64_t one = 1;
    struct torc_slice operand = torc_slice(&one, sizeof one);
    struct torc_txn *txn;

    if (way % 2 == 0) {
        cr_assert_eq(torc_keyspace_merge(keyspace, torct_text("counter"), &torc_merge_add, operand, NULL, 0, NULL),
                     TORC_OK);
        return;
    }
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_merge(txn, torct_text("counter"), &torc_merge_add, operand), TORC_OK);
    if (way % 4 == 1)
        cr_assert_eq(torc_txn_put(txn, torct_text(way % 8 == 1 ? "x" : "y"), operand), TORC_OK);
    if (torc_txn_commit(txn) != TORC_OK)
        add_once(0); /* The other key was in dispute. */
}

/* Sleep until the watch has fired; a wake-up that is lost is a sleep for ever. */
static void
await(struct torc_watch *watch)
{
    while (!fired(watch)) {
        struct pollfd entry = {.fd = torc_watch_fd(watch), .events = POLLIN};

        cr_assert_geq(poll(&entry, 1, -1), 0);
    }
}

/* Waiters see the counter only when they are woken; they end when it has reached its end. */
static void
wait_or_add(void *context, unsigned number)
{
    struct torc_watch *watch = NULL;

    (void)context;
    if (number < WRITERS) {
        for (unsigned i = 0; i < ADDS; i++)
            add_once(i + number);
        return;
    }
    for (;;) {
        /* One waiter keeps its watch, the others open a new one for each sleep. */
        if (watch == NULL)
            watch = number == WRITERS + 1 ? watch_in(keyspace, "coun", true) : watch_key("counter");
        if (counter_now() == WRITERS * ADDS)
            break;
        await(watch);
        if (number > WRITERS) {
            torc_watch_close(watch);
            watch = NULL;
        }
    }
    torc_watch_close(watch);
}

Test(watch, loses_no_wake_up)
{
    torct_race(WRITERS + 3, wait_or_add, NULL);
    cr_expect_eq(counter_now(), (uint64_t)(WRITERS * ADDS));
}

/* Openers and closers of neighbouring watches, among commits: each sees its own writes fire, and memory balances. */
static void
open_and_close(void *context, unsigned number)
{
    struct torci_random random = torci_random_seed(number + 1);
    struct torc_watch *mine[8] = {NULL};
    char name[16];

    (void)context;
    for (unsigned i = 0; i < 2000; i++) {
        unsigned slot = (unsigned)torci_random_below(&random, 8);

        name_of(name, slot + (number % 2) * 4);
        if (mine[slot] == NULL) {
            mine[slot] = watch_in(keyspace, name, torci_random_below(&random, 8) == 0);
            if (torci_random_below(&random, 2) == 0)
                (void)torc_watch_fd(mine[slot]);
        } else if (torci_random_below(&random, 2) == 0) {
            torct_put(store.mvcc, name, "v");
            cr_assert(fired(mine[slot]), "its own write fires it, or another's did before");
        } else {
            torc_watch_close(mine[slot]);
            mine[slot] = NULL;
        }
    }
    for (unsigned i = 0; i < 8; i++)
        torc_watch_close(mine[i]);
}

/* Descriptors of this process. */
static unsigned
descriptors(void)
{
    unsigned open = 0;

    for (int fd = 0; fd < 1024; fd++)
        open += fcntl(fd, F_GETFD) != -1 ? 1 : 0;
    return open;
}

Test(watch, opening_and_closing_disturb_nobody)
{
    unsigned before = descriptors();

    torct_race(4, open_and_close, NULL);
    cr_expect_eq(descriptors(), before);
    cr_expect_eq(torci_load(&store.mvcc->watches_open, memory_order_seq_cst), 0u);
}

/* SPDX-License-Identifier: MIT */
/* on_commit: what it is shown, and when. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "base/codec.h"
#include "mvcc/mvcc_testing.h"
#include "mvcc/notify.h"

enum { CHANGES_MAX = 64, SIZE_MAX_KEPT = 32 };

struct seen {
    struct torc_keyspace *keyspace;
    char key[SIZE_MAX_KEPT];
    char value[SIZE_MAX_KEPT];
    uint64_t expires_ms;
    bool deleted;
    bool expired;
};

static struct torct_ledger ledger;
static struct torc_mvcc *store;
static struct torc_keyspace *keyspace;
static _Atomic(uint64_t) now;

/* What the last commit showed. */
static unsigned calls;
static unsigned count;
static uint64_t stamp;
static struct seen changes[CHANGES_MAX];

static uint64_t
now_ms(void *context)
{
    (void)context;
    return torci_load(&now, memory_order_relaxed); /* Relaxed: a test's clock. */
}

static void
keep(char *place, struct torc_slice slice)
{
    size_t size = slice.size < SIZE_MAX_KEPT - 1 ? slice.size : SIZE_MAX_KEPT - 1;

    memcpy(place, slice.data != NULL ? slice.data : "", slice.data != NULL ? size : 0);
    place[slice.data != NULL ? size : 0] = '\0';
}

static void
see(void *context, const struct torc_commit *commit)
{
    struct torc_change change;
    size_t position = 0;

    cr_assert_eq(context, &calls);
    calls++;
    count = 0;
    stamp = torc_commit_stamp(commit);
    while (torc_commit_next(commit, &position, &change)) {
        struct seen *place = &changes[count++ % CHANGES_MAX];

        place->keyspace = change.keyspace;
        keep(place->key, change.key);
        keep(place->value, change.value);
        place->expires_ms = change.expires_ms;
        place->deleted = change.deleted;
        place->expired = change.expired;
    }
    cr_expect_null(change.keyspace, "empty at the end");
    cr_expect_not(torc_commit_next(commit, &position, &change), "and so it stays");
}

static void
create(void)
{
    struct torc_mvcc_options options;
    struct torc_allocator allocator;

    torct_ledger_init(&ledger);
    allocator = torct_ledger_allocator(&ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    options.now_ms = now_ms;
    options.on_commit = see;
    options.on_commit_context = &calls;
    torci_store(&now, 1000, memory_order_relaxed); /* Relaxed: as above. */
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK);
    keyspace = torc_mvcc_default(store);
}

static void
destroy(void)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    cr_assert(torct_ledger_balanced(&ledger));
}

TestSuite(on_commit, .init = create, .fini = destroy, .timeout = 60);

/* The last commit's i-th change; NULL for a value: deleted. */
static void
expect_change(unsigned i, const char *key, const char *value)
{
    cr_assert_lt(i, count);
    cr_expect_str_eq(changes[i].key, key);
    cr_expect_eq(changes[i].deleted, value == NULL);
    cr_expect_str_eq(changes[i].value, value == NULL ? "" : value);
}

Test(on_commit, is_called_once_for_each_commit_that_wrote)
{
    struct torc_txn *txn;

    torct_put(store, "k", "v");
    cr_expect_eq(calls, 1u);
    cr_expect_eq(stamp, torc_last_commit());
    cr_expect_eq(count, 1u);
    expect_change(0, "k", "v");
    cr_expect_eq(changes[0].keyspace, keyspace);
    cr_expect_eq(changes[0].expires_ms, TORC_NEVER);
    cr_assert_eq(torc_keyspace_put(keyspace, torct_text("t"), torct_text("v"), 5000, NULL), TORC_OK);
    expect_change(0, "t", "v");
    cr_expect_eq(changes[0].expires_ms, 5000u);
    torct_delete(store, "k");
    cr_expect_eq(calls, 3u);
    expect_change(0, "k", NULL);
    cr_expect_not(changes[0].expired);
    cr_assert_eq(torc_keyspace_merge(keyspace, torct_text("t"), &torc_merge_append, torct_text("w"), NULL, 0, NULL),
                 TORC_OK);
    expect_change(0, "t", "vw");
    cr_expect_eq(changes[0].expires_ms, 5000u);
    cr_expect_eq(calls, 4u);

    cr_expect_eq(torc_mvcc_delete(store, torct_text("none")), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_compare_and_set(keyspace, torct_text("t"), NULL, NULL), TORC_EXISTS);
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_expect(torct_txn_reads(txn, "t", "vw"));
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = torct_begin(store, TORC_SNAPSHOT);
    torct_txn_put(txn, "k", "v");
    torc_txn_abort(txn);
    cr_expect_eq(calls, 4u, "nothing was written");
    txn = torct_begin(store, TORC_SNAPSHOT);
    torct_txn_put(txn, "t", "x");
    torct_put(store, "t", "y");
    cr_assert_eq(torc_txn_commit(txn), TORC_CONFLICT);
    cr_expect_eq(calls, 5u);
    expect_change(0, "t", "y");
}

Test(on_commit, shows_all_changes_of_a_transaction_in_order)
{
    struct torc_keyspace *other;
    struct torc_txn *txn;

    cr_assert_eq(torc_keyspace_create(store, torct_text("other"), &other), TORC_OK);
    torct_put(store, "b", "v");
    calls = 0;
    txn = torct_begin(store, TORC_SERIALIZABLE);
    cr_assert_eq(torc_txn_use(txn, other), TORC_OK);
    torct_txn_put(txn, "a", "other's");
    cr_assert_eq(torc_txn_use(txn, NULL), TORC_OK);
    torct_txn_put(txn, "c", "1");
    cr_assert_eq(torc_txn_delete(txn, torct_text("b")), TORC_OK);
    cr_assert_eq(torc_txn_put_expiring(txn, torct_text("a"), torct_text("2"), 7000), TORC_OK);
    cr_assert_eq(torc_txn_merge(txn, torct_text("d"), &torc_merge_append, torct_text("m")), TORC_OK);
    cr_assert_eq(torc_txn_savepoint(txn, torct_text("s")), TORC_OK);
    torct_txn_put(txn, "e", "taken back");
    cr_assert_eq(torc_txn_rollback_to(txn, torct_text("s")), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(calls, 1u);
    cr_expect_eq(stamp, torc_last_commit());
    cr_assert_eq(count, 5u);
    expect_change(0, "a", "2");
    cr_expect_eq(changes[0].expires_ms, 7000u);
    expect_change(1, "b", NULL);
    expect_change(2, "c", "1");
    expect_change(3, "d", "m");
    expect_change(4, "a", "other's");
    cr_expect_eq(changes[3].keyspace, keyspace);
    cr_expect_eq(changes[4].keyspace, other);
}

Test(on_commit, sees_a_transaction_of_one_key)
{
    struct torc_txn *txn = torct_begin(store, TORC_SNAPSHOT);

    torct_txn_put(txn, "only", "1");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(calls, 1u);
    cr_expect_eq(count, 1u);
    cr_expect_eq(stamp, torc_last_commit());
    expect_change(0, "only", "1");
}

/* What is taken away because its time has come is told as such. */
Test(on_commit, tells_what_has_expired)
{
    struct torc_watch *watch;
    bool more = true;

    cr_assert_eq(torc_keyspace_put(keyspace, torct_text("t"), torct_text("v"), 2000, NULL), TORC_OK);
    cr_assert_eq(torc_keyspace_watch(keyspace, torct_text("t"), false, &watch), TORC_OK);
    calls = 0;
    torci_store(&now, 60 * 60 * 1000, memory_order_relaxed); /* Relaxed: as above. */
    for (unsigned i = 0; i < 1000 && calls == 0; i++)
        cr_assert_eq(torc_mvcc_poll(store, &more), TORC_OK);
    cr_assert_eq(calls, 1u);
    expect_change(0, "t", NULL);
    cr_expect(changes[0].expired);
    cr_expect_eq(changes[0].expires_ms, TORC_NEVER);
    cr_expect(torc_watch_fired(watch, NULL));
    torc_watch_close(watch);
}

Test(on_commit, its_functions_accept_nothing)
{
    struct torc_change change = {.deleted = true};
    struct torc_commit commit = {0};
    size_t position = 0;

    cr_expect_eq(torc_commit_stamp(NULL), 0u);
    cr_expect_not(torc_commit_next(NULL, &position, &change));
    cr_expect_not(change.deleted);
    cr_expect_not(torc_commit_next(&commit, NULL, &change));
    cr_expect_not(torc_commit_next(&commit, &position, NULL));
    cr_expect_not(torc_commit_next(&commit, &position, &change));
}

/* Many changes take a step each: with a walk from the start this would be 10^9 steps. */
static void
count_only(void *context, const struct torc_commit *commit)
{
    struct torc_change change;
    size_t position = 0;
    unsigned *total = context;

    while (torc_commit_next(commit, &position, &change))
        ++*total;
}

Test(on_commit, goes_through_many_changes_in_one_walk)
{
    enum { MANY = 50000 };
    struct torc_mvcc_options options;
    struct torc_mvcc *counted;
    struct torc_txn *txn;
    unsigned total = 0;

    torc_mvcc_options_init(&options);
    options.on_commit = count_only;
    options.on_commit_context = &total;
    cr_assert_eq(torc_mvcc_open(&options, &counted), TORC_OK);
    txn = torct_begin(counted, TORC_SNAPSHOT);
    for (unsigned i = 0; i < MANY; i++) {
        char key[16];

        snprintf(key, sizeof key, "%08u", i);
        torct_txn_put(txn, key, "v");
    }
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(total, (unsigned)MANY);
    cr_assert_eq(torc_mvcc_close(counted), TORC_OK);
}

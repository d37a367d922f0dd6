/* SPDX-License-Identifier: MIT */
/* Keyspaces, by the public interface: making, finding, listing, dropping, and that what was dropped gives its memory
 * back. Oracles: the allocator's ledger, and the store's own figures. */
#include "base/alloc.h"
#include "mvcc/keyspace.h"
/* Behind the headers above, whose parameters it would shadow. */
#include "mvcc/mvcc_fixture_testing.h"

TestSuite(keyspace_create, .init = create, .fini = destroy, .timeout = 60);
TestSuite(keyspace_find, .init = create, .fini = destroy, .timeout = 60);
TestSuite(keyspace_list, .init = create, .fini = destroy, .timeout = 60);
TestSuite(keyspace_drop, .init = create, .fini = destroy, .timeout = 60);
TestSuite(keyspace_txn, .init = create, .fini = destroy, .timeout = 60);
TestSuite(keyspace_memory, .init = create, .timeout = 120);
TestSuite(keyspace_faults, .timeout = 300);
TestSuite(keyspace_race, .init = create, .fini = destroy, .timeout = 120);

static struct torc_keyspace *
make(const char *name)
{
    struct torc_keyspace *keyspace;

    cr_assert_eq(torc_keyspace_create(store, text(name), &keyspace), TORC_OK);
    cr_assert_not_null(keyspace);
    return keyspace;
}

static void
put_in(struct torc_keyspace *keyspace, const char *key, const char *value)
{
    cr_assert_eq(torc_keyspace_put(keyspace, text(key), text(value), TORC_NEVER, NULL), TORC_OK);
}

static enum torc_status
look(struct torc_keyspace *keyspace, const char *key)
{
    char buffer[64];
    size_t size;

    return torc_keyspace_get(keyspace, text(key), buffer, sizeof buffer, &size);
}

static void
fill(struct torc_keyspace *keyspace, unsigned keys)
{
    for (unsigned i = 0; i < keys; i++) {
        char name[NAME_MAX_SIZE];

        cr_assert_eq(torc_keyspace_put(keyspace, name_of(name, "k", i), text("value"), TORC_NEVER, NULL), TORC_OK);
    }
}

static bool
same(struct torc_slice a, struct torc_slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static struct torc_txn *
begin_in(struct torc_keyspace *keyspace)
{
    struct torc_txn *txn = begin(TORC_SNAPSHOT, false);

    cr_assert_eq(torc_txn_use(txn, keyspace), TORC_OK);
    return txn;
}

/* ---- Making ---- */

Test(keyspace_create, keeps_its_keys_to_itself)
{
    struct torc_keyspace *a = make("a");
    struct torc_keyspace *b = make("b");

    put_in(a, "key", "in a");
    cr_expect_eq(look(a, "key"), TORC_OK);
    cr_expect_eq(look(b, "key"), TORC_NOT_FOUND);
    cr_expect_eq(look(torc_mvcc_default(store), "key"), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_keys(a), 1u);
    cr_expect_eq(torc_keyspace_keys(b), 0u);
}

Test(keyspace_create, says_which_one_has_the_name)
{
    struct torc_keyspace *a = make("a");
    struct torc_keyspace *again;

    cr_expect_eq(torc_keyspace_create(store, text("a"), &again), TORC_EXISTS);
    cr_expect_eq(again, a);
}

Test(keyspace_create, refuses_bad_input)
{
    static char long_name[TORC_NAME_SIZE_MAX + 1];
    struct torc_keyspace *keyspace = torc_mvcc_default(store);

    cr_expect_eq(torc_keyspace_create(NULL, text("a"), &keyspace), TORC_INVALID);
    cr_expect_null(keyspace);
    cr_expect_eq(torc_keyspace_create(store, text("a"), NULL), TORC_INVALID);
    cr_expect_eq(torc_keyspace_create(store, text(""), &keyspace), TORC_INVALID);
    cr_expect_eq(torc_keyspace_create(store, torc_slice(NULL, 3), &keyspace), TORC_INVALID);
    cr_expect_eq(torc_keyspace_create(store, torc_slice(long_name, sizeof long_name), &keyspace), TORC_TOO_LARGE);
    cr_expect_null(keyspace);
    cr_expect_eq(torc_keyspace_create(store, torc_slice(long_name, TORC_NAME_SIZE_MAX), &keyspace), TORC_OK);
    cr_expect_eq(torc_keyspace_name(keyspace).size, TORC_NAME_SIZE_MAX);
}

/* The table of numbers and the catalogue grow; all of it is freed at close. A keyspace that was dropped makes room. */
Test(keyspace_create, takes_so_many_and_no_more, .timeout = 300)
{
    struct torc_keyspace *some = make("some");
    struct torc_keyspace *keyspace = NULL;
    enum torc_status status = TORC_OK;

    /* As if all numbers but the last had been given out. Relaxed: alone. */
    torci_store(&store->keyspaces_made, TORC_KEYSPACES_MAX - 1u, memory_order_relaxed);
    make("last");
    status = torc_keyspace_create(store, text("one more"), &keyspace);
    cr_expect_eq(status, TORC_BUSY);
    cr_expect_null(keyspace);
    cr_expect_eq(torc_keyspace_drop(some), TORC_OK);
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_expect_eq(torc_keyspace_create(store, text("one more"), &keyspace), TORC_OK);
    cr_expect_eq(keyspace, some);
}

/* ---- Finding and listing ---- */

Test(keyspace_find, finds_what_was_made_and_nothing_else)
{
    struct torc_keyspace *a = make("a");
    struct torc_keyspace *found;

    cr_expect_eq(torc_keyspace_find(store, text("a"), &found), TORC_OK);
    cr_expect_eq(found, a);
    cr_expect_eq(torc_keyspace_find(store, text("ab"), &found), TORC_NOT_FOUND);
    cr_expect_null(found);
    cr_expect_eq(torc_keyspace_find(store, text(""), &found), TORC_INVALID);
    cr_expect_eq(torc_keyspace_find(NULL, text("a"), &found), TORC_INVALID);
    cr_expect_eq(torc_keyspace_find(store, text("a"), NULL), TORC_INVALID);
}

Test(keyspace_find, tells_names_and_keys)
{
    struct torc_keyspace *a = make("a\0b");

    cr_expect_eq(torc_keyspace_name(a).size, 1u);
    cr_expect_eq(torc_keyspace_name(torc_mvcc_default(store)).size, 0u);
    cr_expect_eq(torc_keyspace_name(NULL).size, 0u);
    cr_expect_eq(torc_keyspace_keys(NULL), 0u);
    cr_expect_null(torc_mvcc_default(NULL));
}

Test(keyspace_list, shows_them_in_the_order_of_their_making)
{
    struct torc_keyspace *shown[4] = {0};
    struct torc_keyspace *made[3];
    size_t count;

    made[0] = make("c");
    made[1] = make("a");
    made[2] = make("b");
    cr_expect_eq(torc_mvcc_keyspaces(store, shown, 4, &count), TORC_OK);
    cr_expect_eq(count, 4u);
    cr_expect_eq(shown[0], torc_mvcc_default(store));
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(shown[i + 1], made[i]);
    cr_expect_eq(torc_keyspace_drop(made[1]), TORC_OK);
    cr_expect_eq(torc_mvcc_keyspaces(store, shown, 4, &count), TORC_OK);
    cr_expect_eq(count, 3u);
    cr_expect_eq(shown[2], made[2]);
    shown[1] = NULL;
    cr_expect_eq(torc_mvcc_keyspaces(store, shown, 1, &count), TORC_OK);
    cr_expect_eq(count, 3u);
    cr_expect_null(shown[1]);
    cr_expect_eq(torc_mvcc_keyspaces(store, NULL, 0, &count), TORC_OK);
    cr_expect_eq(count, 3u);
}

Test(keyspace_list, refuses_bad_input)
{
    size_t count = 7;

    cr_expect_eq(torc_mvcc_keyspaces(store, NULL, 1, &count), TORC_INVALID);
    cr_expect_eq(count, 0u);
    cr_expect_eq(torc_mvcc_keyspaces(NULL, NULL, 0, &count), TORC_INVALID);
    cr_expect_eq(torc_mvcc_keyspaces(store, NULL, 0, NULL), TORC_INVALID);
}

/* ---- Dropping ---- */

Test(keyspace_drop, takes_name_and_keys_away_at_once)
{
    struct torc_merge_operator add = torc_merge_add;
    struct torc_keyspace *a = make("a");
    struct torc_keyspace *found;
    struct torc_slice value = text("v");

    put_in(a, "key", "value");
    cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
    cr_expect_eq(torc_keyspace_find(store, text("a"), &found), TORC_NOT_FOUND);
    cr_expect_eq(look(a, "key"), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_put(a, text("key"), value, TORC_NEVER, NULL), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_delete(a, text("key")), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_compare_and_set(a, text("key"), NULL, &value), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_merge(a, text("key"), &add, torc_slice("12345678", 8), NULL, 0, NULL), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_drop(a), TORC_NOT_FOUND);
    cr_expect_eq(stats_now().keys, 0u);
}

Test(keyspace_drop, refuses_bad_input)
{
    cr_expect_eq(torc_keyspace_drop(NULL), TORC_INVALID);
    cr_expect_eq(torc_keyspace_drop(torc_mvcc_default(store)), TORC_INVALID);
    cr_expect_eq(look(torc_mvcc_default(store), "key"), TORC_NOT_FOUND);
}

Test(keyspace_drop, lets_the_name_be_used_again)
{
    struct torc_keyspace *a = make("a");
    struct torc_keyspace *again;

    put_in(a, "key", "value");
    cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
    again = make("a");
    cr_expect_neq(again, a, "it is still to be emptied");
    cr_expect_eq(look(again, "key"), TORC_NOT_FOUND);
    put_in(again, "key", "other");
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_expect_eq(look(again, "key"), TORC_OK);
    cr_expect_eq(torc_keyspace_keys(again), 1u);
}

Test(keyspace_drop, is_found_out_by_transactions_that_began_before)
{
    struct torc_keyspace *a = make("a");
    struct torc_keyspace *b = make("b");
    struct torc_cursor *cursor;
    struct torc_slice value;
    struct torc_slice key;
    struct torc_txn *txn;

    put_in(a, "key", "value");
    txn = begin_in(a);
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
    cr_expect_eq(torc_txn_get(txn, text("key"), &value), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_put(txn, text("key"), text("v")), TORC_NOT_FOUND);
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_scan(txn, NULL, &cursor), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_use(txn, a), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_keyspace(txn), a);
    cr_expect_eq(torc_txn_use(txn, b), TORC_OK);
    cr_expect_eq(torc_txn_put(txn, text("key"), text("v")), TORC_OK);
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(look(b, "key"), TORC_OK);
}

Test(keyspace_drop, refuses_commits_that_wrote_into_it)
{
    struct torc_keyspace *a = make("a");
    struct torc_txn *txn = begin_in(a);

    cr_assert_eq(torc_txn_put(txn, text("key"), text("v")), TORC_OK);
    cr_assert_eq(torc_txn_use(txn, NULL), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("other"), text("v")), TORC_OK);
    cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
    cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
    cr_expect_eq(look(torc_mvcc_default(store), "other"), TORC_NOT_FOUND, "all or nothing");
}

Test(keyspace_drop, refuses_serializable_commits_that_read_it)
{
    struct torc_keyspace *a = make("a");
    struct torc_txn *txn = begin(TORC_SERIALIZABLE, false);
    struct torc_slice value;

    put_in(a, "key", "value");
    cr_assert_eq(torc_txn_use(txn, a), TORC_OK);
    cr_assert_eq(torc_txn_get(txn, text("nothing"), &value), TORC_NOT_FOUND);
    cr_assert_eq(torc_txn_use(txn, NULL), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("other"), text("v")), TORC_OK);
    cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
    cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
}

Test(keyspace_drop, leaves_what_was_borrowed)
{
    struct torc_keyspace *a = make("a");
    struct torc_slice value;
    struct torc_txn *txn;

    fill(a, 100);
    put_in(a, "key", "value");
    txn = begin_in(a);
    cr_assert_eq(torc_txn_get(txn, text("key"), &value), TORC_OK);
    cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_expect(same(value, text("value")));
    cr_expect_gt(stats_now().versions_created - stats_now().versions_freed, 0u);
    torc_txn_abort(txn);
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_expect_eq(stats_now().versions_created - stats_now().versions_freed, 0u);
}

/* ---- Transactions over several ---- */

Test(keyspace_txn, commits_into_all_at_one_instant)
{
    struct torc_keyspace *a = make("a");
    struct torc_keyspace *b = make("b");
    struct torc_txn *reader;
    struct torc_txn *txn;
    struct torc_slice value;

    txn = begin_in(a);
    cr_assert_eq(torc_txn_put(txn, text("key"), text("1")), TORC_OK);
    cr_assert_eq(torc_txn_use(txn, b), TORC_OK);
    cr_expect_eq(torc_txn_get(txn, text("key"), &value), TORC_NOT_FOUND, "the same key elsewhere is another");
    cr_assert_eq(torc_txn_put(txn, text("key"), text("2")), TORC_OK);
    reader = begin_in(a);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(torc_txn_get(reader, text("key"), &value), TORC_NOT_FOUND);
    cr_assert_eq(torc_txn_use(reader, b), TORC_OK);
    cr_expect_eq(torc_txn_get(reader, text("key"), &value), TORC_NOT_FOUND);
    torc_txn_abort(reader);
    cr_expect_eq(look(a, "key"), TORC_OK);
    cr_expect_eq(look(b, "key"), TORC_OK);
}

Test(keyspace_txn, refuses_keyspaces_of_other_stores)
{
    struct torc_txn *txn = begin(TORC_SNAPSHOT, false);
    struct torc_mvcc *other;

    cr_assert_eq(torc_mvcc_open(NULL, &other), TORC_OK);
    cr_expect_eq(torc_txn_use(txn, torc_mvcc_default(other)), TORC_INVALID);
    cr_expect_eq(torc_txn_use(NULL, torc_mvcc_default(store)), TORC_INVALID);
    cr_expect_eq(torc_txn_keyspace(txn), torc_mvcc_default(store));
    cr_expect_null(torc_txn_keyspace(NULL));
    torc_txn_abort(txn);
    cr_assert_eq(torc_mvcc_close(other), TORC_OK);
}

/* ---- Memory ---- */

Test(keyspace_memory, comes_back_by_polling)
{
    struct torc_keyspace *a = make("a");
    uint64_t before;
    bool more = true;

    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    before = stats_now().memory_bytes;
    fill(a, 3000);
    cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
    for (unsigned i = 0; more; i++) {
        cr_assert_lt(i, 10000000u, "there is always more");
        cr_assert_eq(torc_mvcc_poll(store, &more), TORC_OK);
    }
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_expect_leq(stats_now().memory_bytes, before + 32768, "3000 keys took ten times as much");
    cr_expect_eq(stats_now().versions_created, stats_now().versions_freed);
    destroy();
    cr_expect(torct_ledger_balanced(&ledger));
}

Test(keyspace_memory, comes_back_by_commits)
{
    struct torc_keyspace *a = make("a");

    fill(a, 500);
    cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
    /* The grace period is the library's thread's affair: until it has come, commits go on. */
    while (stats_now().versions_created - stats_now().versions_freed > 20)
        cr_assert_eq(torc_mvcc_put(store, text("key"), text("value"), NULL), TORC_OK);
    destroy();
    cr_expect(torct_ledger_balanced(&ledger));
}

Test(keyspace_memory, does_not_grow_by_making_and_dropping)
{
    uint64_t most = 0;

    for (unsigned round = 0; round < 50; round++) {
        struct torc_keyspace *a = make("a");

        cr_expect_eq(torc_keyspace_keys(a), 0u);
        fill(a, 40);
        cr_assert_eq(torc_keyspace_delete(a, text("k00007")), TORC_OK);
        cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
        cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
        /* A round that stayed would be some 10 KiB; what is kept for later use varies by less than a keyspace. */
        if (round < 25 && stats_now().memory_bytes > most)
            most = stats_now().memory_bytes;
        if (round >= 25)
            cr_expect_leq(stats_now().memory_bytes, most + 16384, "%" PRIu64 " after %" PRIu64 " at most",
                          stats_now().memory_bytes, most);
    }
    /* Relaxed: alone. */
    cr_expect_leq(torci_load(&store->keyspaces_made, memory_order_relaxed), 3u);
    destroy();
    cr_expect(torct_ledger_balanced(&ledger));
}

Test(keyspace_memory, is_freed_by_close_however_far_it_was)
{
    struct torc_keyspace *a;

    for (unsigned polls = 0; polls < 40; polls += 7) {
        a = make("a");
        fill(a, 200);
        cr_assert_eq(torc_keyspace_delete(a, text("k00007")), TORC_OK);
        cr_assert_eq(torc_keyspace_drop(a), TORC_OK);
        torci_epoch_barrier();
        for (unsigned i = 0; i < polls; i++)
            cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
        destroy();
        cr_expect(torct_ledger_balanced(&ledger));
        create();
    }
    destroy();
}

/* ---- Faults ---- */

/* Create, fill, delete, drop, create again, with the n-th allocation failing: each call works, or has changed nothing.
 * */
Test(keyspace_faults, every_allocation_may_fail)
{
    for (int sticky = 0; sticky < 2; sticky++) {
        bool failed = true;

        for (uint64_t n = 1; failed; n++) {
            struct torc_keyspace *keyspaces[3] = {0};
            enum torc_status status;
            size_t count;

            create();
            (void)torci_alloc_fail_at(n, sticky);
            for (unsigned i = 0; i < 3; i++) {
                char name[NAME_MAX_SIZE];
                struct torc_slice slice = name_of(name, "space", i);

                status = torc_keyspace_create(store, slice, &keyspaces[i]);
                cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
                cr_assert_eq(status == TORC_OK, keyspaces[i] != NULL);
                for (unsigned k = 0; keyspaces[i] != NULL && k < 12; k++) {
                    status = torc_keyspace_put(keyspaces[i], name_of(name, "k", k), text("v"), TORC_NEVER, NULL);
                    cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
                }
            }
            for (unsigned i = 0; i < 2; i++) {
                if (keyspaces[i] == NULL)
                    continue;
                status = torc_keyspace_drop(keyspaces[i]);
                cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
                cr_assert_eq(look(keyspaces[i], "k00000") == TORC_NOT_FOUND || status != TORC_OK, true);
                if (status == TORC_OK)
                    keyspaces[i] = NULL;
            }
            status = torc_mvcc_poll(store, NULL);
            cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
            failed = torci_alloc_fail_at(0, false) >= n;
            cr_assert_eq(torc_mvcc_keyspaces(store, NULL, 0, &count), TORC_OK);
            cr_expect_eq(count, 1u + (keyspaces[0] != NULL) + (keyspaces[1] != NULL) + (keyspaces[2] != NULL));
            cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
            cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
            /* Relaxed: alone. */
            cr_expect_eq(torci_load(&store->keyspaces_leaving, memory_order_relaxed), 0, "n = %d", (int)n);
            destroy();
            cr_assert(torct_ledger_balanced(&ledger));
        }
    }
}

/* ---- Races ---- */

enum { RACERS = 4, ROUNDS = 150, NAMES = 3 };

static struct torc_keyspace *
some_keyspace(struct torci_random *random)
{
    static const char *const names[NAMES] = {"one", "two", "three"};
    struct torc_keyspace *keyspace = NULL;
    enum torc_status status = torc_keyspace_create(store, text(names[torci_random_below(random, NAMES)]), &keyspace);

    cr_assert(status == TORC_OK || status == TORC_EXISTS);
    return keyspace;
}

/* Handles may be used after the drop as long as nobody can have been given the memory: here, inside of a transaction
 * that began while the keyspace was there. Values tell the name they were written under. */
static void
make_use_drop(void *context, unsigned number)
{
    struct torci_random random = torci_random_seed(torct_seed() + number);

    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct torc_txn *txn = begin(TORC_SNAPSHOT, false);
        struct torc_keyspace *keyspace = some_keyspace(&random);
        struct torc_slice value;
        enum torc_status status;
        char name[NAME_MAX_SIZE];

        status = torc_txn_use(txn, keyspace);
        for (unsigned i = 0; status == TORC_OK && i < 8; i++) {
            struct torc_slice key = name_of(name, "k", (unsigned)torci_random_below(&random, 30));

            status = torc_txn_get(txn, key, &value);
            if (status == TORC_OK)
                cr_assert(same(value, key), "a value of another key");
            if (i % 2 == 0)
                (void)(torc_keyspace_put(keyspace, key, key, TORC_NEVER, NULL) == TORC_OK);
            if (i % 3 == 0)
                (void)(torc_keyspace_delete(keyspace, key) == TORC_OK);
            status = torc_txn_put(txn, key, key);
            if (status == TORC_CONFLICT)
                status = TORC_OK;
        }
        if (torci_random_one_in(&random, 4)) {
            status = torc_keyspace_drop(keyspace);
            cr_assert(status == TORC_OK || status == TORC_NOT_FOUND);
        }
        status = torc_txn_commit(txn);
        cr_assert(status == TORC_OK || status == TORC_CONFLICT);
        (void)(torc_mvcc_poll(store, NULL) == TORC_OK);
    }
}

Test(keyspace_race, making_using_and_dropping_at_once)
{
    struct torc_keyspace *keyspaces[1 + NAMES];
    size_t count;

    torct_race(RACERS, make_use_drop, NULL);
    cr_assert_eq(torc_mvcc_keyspaces(store, keyspaces, 1 + NAMES, &count), TORC_OK);
    cr_assert_leq(count, 1u + NAMES);
    for (size_t i = 1; i < count; i++)
        cr_assert_eq(torc_keyspace_drop(keyspaces[i]), TORC_OK);
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_expect_eq(stats_now().versions_created, stats_now().versions_freed);
    cr_expect_eq(torci_load(&store->keyspaces_leaving, memory_order_relaxed), 0); /* Relaxed: alone. */
}

/* SPDX-License-Identifier: MIT */
/* mvcc/restore: tests. */
#include "mvcc/mvcc_testing.h"

#include <stdlib.h>

#include "mvcc/keyspace.h"
#include "mvcc/restore.h"

static struct torct_store store;
static uint64_t wall_ms;

static uint64_t
now_ms(void *context)
{
    (void)context;
    return wall_ms;
}

static void
create(void)
{
    torct_store_open(&store);
    wall_ms = 1000;
    store.mvcc->options.now_ms = now_ms;
}

static void
destroy(void)
{
    torct_store_close(&store);
}

static struct torci_restored
value_at(const char *key, const char *value, uint64_t stamp)
{
    return (struct torci_restored){torct_text(key), torct_text(value), stamp, UINT64_MAX, false};
}

static struct torci_restored
tombstone_at(const char *key, uint64_t stamp)
{
    return (struct torci_restored){torct_text(key), torc_slice(NULL, 0), stamp, UINT64_MAX, true};
}

static void
restore(struct torci_restored what)
{
    cr_assert_eq(torci_restore(torct_shard(store.mvcc), store.mvcc->main, &what), TORC_OK);
}

static void
end(uint64_t cut)
{
    cr_assert_eq(torci_restore_end(torct_shard(store.mvcc), cut), TORC_OK);
}

static uint64_t
records(void)
{
    struct torci_index_stats stats;

    torci_index_stats(store.mvcc->main->index, &stats);
    return stats.records;
}

/* Keys that a scan shows; they must ascend. */
static size_t
scanned(void)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    unsigned char before[64];
    struct torc_slice last = torc_slice(before, 0);
    struct torc_cursor *cursor;
    struct torc_slice key;
    size_t count = 0;

    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    while (torc_cursor_next(cursor, &key, NULL) == TORC_OK) {
        cr_assert_lt(torci_key_compare(last, key), 0);
        cr_assert_leq(key.size, sizeof before);
        memcpy(before, key.data, key.size);
        last.size = key.size;
        count++;
    }
    torc_txn_abort(txn);
    return count;
}

#if defined(TORC_TINY)
enum { WAITING_MAX = 0 };
#else
enum { WAITING_MAX = 16 * 1024 * 1024 };    /* Replaced versions whose grace period is not waited for. */
#endif

TestSuite(restore, .init = create, .fini = destroy, .timeout = 60);

Test(restore, brings_back_values_with_their_stamps)
{
    restore(value_at("a", "1", 5));
    restore(value_at("b", "", 7));
    end(8);
    cr_expect(torct_reads(store.mvcc, "a", "1"));
    cr_expect(torct_reads(store.mvcc, "b", ""));
    cr_expect_eq(torci_version_verdict(torct_head(store.mvcc, "a"), &store.mvcc->clock).stamp, 5u);
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), 2u);
    cr_expect_eq(scanned(), 2u);
}

Test(restore, lets_the_greatest_stamp_win_in_any_order)
{
    static const uint64_t orders[6][3] = {{3, 5, 7}, {3, 7, 5}, {5, 3, 7}, {5, 7, 3}, {7, 3, 5}, {7, 5, 3}};

    for (unsigned i = 0; i < 6; i++) {
        char key[8];

        snprintf(key, sizeof key, "k%u", i);
        for (unsigned j = 0; j < 3; j++) {
            char value[8];

            snprintf(value, sizeof value, "v%u", (unsigned)orders[i][j]);
            restore(value_at(key, value, orders[i][j]));
        }
        cr_expect_eq(torct_chain_length(store.mvcc, key), 1u);
    }
    end(8);
    for (unsigned i = 0; i < 6; i++) {
        char key[8];

        snprintf(key, sizeof key, "k%u", i);
        cr_expect(torct_reads(store.mvcc, key, "v7"), "%s", key);
    }
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), 6u);
}

Test(restore, keeps_tombstones_until_the_end_and_no_longer)
{
    restore(value_at("gone", "old", 3));
    restore(tombstone_at("gone", 5));
    restore(tombstone_at("never", 5));
    restore(tombstone_at("back", 3));
    restore(value_at("back", "new", 5));
    restore(value_at("never", "older than its delete", 3));
    cr_expect_eq(records(), 3u);
    end(6);
    cr_expect_eq(records(), 1u);
    cr_expect(torct_reads(store.mvcc, "gone", NULL));
    cr_expect(torct_reads(store.mvcc, "never", NULL));
    cr_expect(torct_reads(store.mvcc, "back", "new"));
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), 1u);
}

Test(restore, takes_tombstones_away_also_with_a_history)
{
    store.mvcc->options.history_ns = UINT64_C(1) << 60;
    restore(tombstone_at("gone", 5));
    restore(value_at("kept", "1", 5));
    end(100);
    cr_expect_eq(records(), 1u);
    cr_expect_eq(torci_load(&store.mvcc->history.floor, memory_order_seq_cst), 102u, "nothing older can be read");
}

Test(restore, sets_the_clock_behind_all_that_was)
{
    restore(value_at("a", "1", 1001));
    end(1002);
    cr_expect_eq(torci_clock_now(&store.mvcc->clock), 1004u);
    torct_put(store.mvcc, "a", "2");
    cr_expect_eq(torc_last_commit(), 1005u);
    cr_expect(torct_reads(store.mvcc, "a", "2"));
}

Test(restore, of_nothing_leaves_the_store_as_it_was)
{
    end(0);
    cr_expect_eq(torci_clock_now(&store.mvcc->clock), (uint64_t)TORCI_CLOCK_START);
    torct_put(store.mvcc, "a", "1");
    cr_expect(torct_reads(store.mvcc, "a", "1"));
}

Test(restore, notes_what_expires)
{
    struct torci_restored soon = value_at("soon", "1", 3);
    struct torci_restored late = value_at("late", "1", 3);
    bool more = true;

    soon.expires = 2000;
    late.expires = 3000;
    restore(soon);
    restore(late);
    end(4);
    cr_expect(torct_reads(store.mvcc, "soon", "1"));
    wall_ms = 2000;
    cr_expect(torct_reads(store.mvcc, "soon", NULL));
    for (unsigned i = 0; i < 10; i++)
        cr_assert_eq(torc_mvcc_poll(store.mvcc, &more), TORC_OK);
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), 1u);
    cr_expect(torct_reads(store.mvcc, "late", "1"));
}

Test(restore, of_a_value_that_expires_over_another)
{
    struct torci_restored first = value_at("k", "first", 3);
    struct torci_restored second = value_at("k", "second", 5);

    first.expires = 5000;
    second.expires = 2000;
    restore(first);
    restore(second);
    end(6);
    cr_expect(torct_reads(store.mvcc, "k", "second"));
    wall_ms = 2000;
    torct_collect(store.mvcc);
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), 0u);
}

Test(restore, fills_each_keyspace)
{
    struct torci_restored what[] = {value_at("a", "1", 3), value_at("b", "2", 3), tombstone_at("c", 3)};
    struct torc_keyspace *keyspace;

    cr_assert_eq(torc_keyspace_create(store.mvcc, torct_text("orders"), &keyspace), TORC_OK);
    cr_assert_eq(torci_restore_many(torct_shard(store.mvcc), keyspace, what, 3), TORC_OK);
    restore(value_at("a", "of the default one", 5));
    end(6);
    cr_expect_eq(torc_keyspace_keys(keyspace), 2u);
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), 1u);
    cr_expect(torct_reads(store.mvcc, "a", "of the default one"));
}

/* ---- Many ---- */

enum { MANY = 3000, KEY_SIZE = 8 };

static char many_keys[MANY][KEY_SIZE + 1];
static struct torci_restored many[MANY];

static void
make_many(uint64_t stamp, unsigned step)
{
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(many_keys[i], sizeof many_keys[i], "%08u", i * step % MANY);
        many[i] = (struct torci_restored){torc_slice(many_keys[i], KEY_SIZE), torc_slice(many_keys[i], KEY_SIZE), stamp,
                                          UINT64_MAX, false};
    }
}

static void
expect_many(void)
{
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), (uint64_t)MANY);
    cr_expect_eq(scanned(), (size_t)MANY);
    for (unsigned i = 0; i < MANY; i += 97)
        cr_expect(torct_reads(store.mvcc, many_keys[i], many_keys[i]), "%s", many_keys[i]);
}

Test(restore, of_many_that_ascend)
{
    make_many(3, 1);
    cr_assert_eq(torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, many, MANY), TORC_OK);
    end(4);
    expect_many();
}

Test(restore, of_many_in_any_order)
{
    make_many(3, 1009);
    cr_assert_eq(torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, many, MANY), TORC_OK);
    end(4);
    expect_many();
}

Test(restore, of_many_versions_of_a_key_at_once)
{
    struct torci_restored what[100];
    char values[100][8];

    for (unsigned i = 0; i < 100; i++) {
        snprintf(values[i], sizeof values[i], "v%u", i * 37 % 100);
        what[i] = value_at("k", values[i], 2 * (uint64_t)(i * 37 % 100) + 1);
    }
    cr_assert_eq(torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, what, 100), TORC_OK);
    end(200);
    cr_expect(torct_reads(store.mvcc, "k", "v99"));
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 1u);
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), 1u);
}

Test(restore, frees_what_is_replaced)
{
    uint64_t once, often;

    make_many(3, 1);
    cr_assert_eq(torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, many, MANY), TORC_OK);
    once = torci_heap_bytes(&store.mvcc->heap);
    for (uint64_t stamp = 5; stamp < 25; stamp += 2) {
        make_many(stamp, 1);
        cr_assert_eq(torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, many, MANY), TORC_OK);
    }
    often = torci_heap_bytes(&store.mvcc->heap);
    cr_expect_lt(often, 2 * once + WAITING_MAX, "%ju, after one round %ju", (uintmax_t)often, (uintmax_t)once);
    end(26);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_stats(store.mvcc).versions_created - torct_stats(store.mvcc).versions_freed, (uint64_t)MANY);
}

Test(restore, frees_what_is_replaced_also_where_nobody_polls)
{
    struct torc_mvcc_options options;
    uint64_t once;

    torct_store_close(&store);
    torc_mvcc_options_init(&options);
    options.caller_driven = true;
    cr_assert_eq(torc_mvcc_open(&options, &store.mvcc), TORC_OK);
    make_many(3, 1);
    cr_assert_eq(torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, many, MANY), TORC_OK);
    once = torci_heap_bytes(&store.mvcc->heap);
    for (uint64_t stamp = 5; stamp < 15; stamp += 2) {
        make_many(stamp, 1);
        cr_assert_eq(torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, many, MANY), TORC_OK);
    }
    cr_expect_lt(torci_heap_bytes(&store.mvcc->heap), 2 * once);
    end(16);
    expect_many();
    cr_assert_eq(torc_mvcc_close(store.mvcc), TORC_OK);
    create();
}

Test(restore, refuses_more_than_the_memory_limit_holds)
{
    store.mvcc->heap.limit_bytes = torci_heap_bytes(&store.mvcc->heap) + 16 * 1024;
    store.mvcc->heap.batch_bytes = 256;
    make_many(3, 1);
    cr_expect_eq(torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, many, MANY), TORC_BUSY);
    cr_expect_neq(strstr(torc_detail(), "memory_limit_bytes"), NULL);
    cr_expect_gt(torc_keyspace_keys(store.mvcc->main), 0u);
    store.mvcc->heap.limit_bytes = 0;
}

Test(restore, survives_want_of_memory_at_each_allocation)
{
    struct torci_restored what[20];
    bool done = false;

    make_many(5, 7);
    memcpy(what, many, sizeof what);
    what[3].expires = 5000;
    what[4].deleted = true;
    for (uint64_t n = 1; !done; n++) {
        enum torc_status status;

        torci_alloc_fail_at(n, true);
        status = torci_restore_many(torct_shard(store.mvcc), store.mvcc->main, what, 20);
        if (status == TORC_OK)
            status = torci_restore_end(torct_shard(store.mvcc), 6);
        torci_alloc_fail_at(0, false);
        cr_assert(status == TORC_OK || status == TORC_NO_MEMORY, "%s", torc_status_name(status));
        done = status == TORC_OK;
        torct_store_close(&store);
        create();
        cr_assert_lt(n, 10000u);
    }
}

/* ---- Threads ---- */

enum { RESTORERS = 4, STAMPS = 50, RACED_KEYS = 40 };

/* Every thread restores every key with stamps of its own, in an order of its own. Oracle by construction: of each key
 * the value of the greatest stamp there is. Conservation: what was made and not freed is one version for each key. */
static void
restore_all(void *context, unsigned number)
{
    struct torci_random random = torci_random_seed(torct_seed() + number);
    struct torci_shard *shard = torci_shard_own(store.mvcc);

    (void)context;
    for (unsigned i = 0; i < STAMPS * RACED_KEYS; i++) {
        char key[8], value[24];
        uint64_t stamp = 2 * (torci_random_below(&random, STAMPS) * RESTORERS + number) + 1;
        struct torci_restored what;

        snprintf(key, sizeof key, "k%u", (unsigned)torci_random_below(&random, RACED_KEYS));
        snprintf(value, sizeof value, "%ju", (uintmax_t)stamp);
        what = stamp % 5 == 0 ? tombstone_at(key, stamp) : value_at(key, value, stamp);
        if (torci_restore(shard, store.mvcc->main, &what) != TORC_OK)
            abort();
    }
    /* The greatest of this thread, so that what must win is known. */
    for (unsigned i = 0; i < RACED_KEYS; i++) {
        char key[8], value[24];
        uint64_t stamp = 2 * (uint64_t)(STAMPS * RESTORERS + number * RACED_KEYS + i) + 1;
        struct torci_restored what;

        snprintf(key, sizeof key, "k%u", i);
        snprintf(value, sizeof value, "%ju", (uintmax_t)stamp);
        what = i % 4 == 0 ? tombstone_at(key, stamp) : value_at(key, value, stamp);
        if (torci_restore(shard, store.mvcc->main, &what) != TORC_OK)
            abort();
    }
}

Test(restore, by_several_threads_lets_the_greatest_stamp_win)
{
    unsigned kept = 0;

    torct_race(RESTORERS, restore_all, NULL);
    end(2 * (STAMPS * RESTORERS + RESTORERS * RACED_KEYS) + 2);
    for (unsigned i = 0; i < RACED_KEYS; i++) {
        char key[8], value[24];

        snprintf(key, sizeof key, "k%u", i);
        snprintf(value, sizeof value, "%ju",
                 (uintmax_t)(2 * (STAMPS * RESTORERS + (RESTORERS - 1) * RACED_KEYS + i) + 1));
        cr_expect(torct_reads(store.mvcc, key, i % 4 == 0 ? NULL : value), "%s", key);
        kept += i % 4 == 0 ? 0 : 1;
    }
    cr_expect_eq(torc_keyspace_keys(store.mvcc->main), (uint64_t)kept);
    cr_expect_eq(scanned(), (size_t)kept);
    cr_expect_eq(records(), (uint64_t)kept);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_stats(store.mvcc).versions_created - torct_stats(store.mvcc).versions_freed, (uint64_t)kept);
}

/* SPDX-License-Identifier: MIT */
/* Counters that could wrap, and what happens there:
 *   clock, stamps         61 bits; the top is a programmer's error (clock_test.c). 2^32 is passed below.
 *   figures of the store  64 bits each, summed modulo 2^64: differences stay right. Below.
 *   keys of one thread    signed: who deletes what others put goes below zero; the sum does not. Below.
 *   lost_attempts         64 bits, one per conflict: not within reach.
 *   commits_until_view    stops at 0 (reclaim_test.c).
 *   garbage block first, end, queue_count, spares_count: bounded by what they count.
 *   users of a transaction  bounded by the number of threads.
 *   thread indexes        2^20, reused; a thousand threads one after another stay within a few. Below. */
#include <torc/mvcc.h>

#include <pthread.h>
#include <stdlib.h>

#include "mvcc/mvcc_testing.h"

static struct torct_store store;

static void
create(void)
{
    torct_store_open(&store);
}

static void
destroy(void)
{
    torct_store_close(&store);
}

TestSuite(mvcc_open, .timeout = 30);
TestSuite(mvcc_one_key, .init = create, .fini = destroy, .timeout = 30);
TestSuite(mvcc_stats, .init = create, .fini = destroy, .timeout = 30);
TestSuite(mvcc_snapshots, .init = create, .fini = destroy, .timeout = 30);
TestSuite(mvcc_metrics, .init = create, .fini = destroy, .timeout = 30);
TestSuite(mvcc_collect, .init = create, .fini = destroy, .timeout = 30);
TestSuite(mvcc_stores, .timeout = 60);
TestSuite(mvcc_threads, .init = create, .fini = destroy, .timeout = 120);
TestSuite(mvcc_wrap, .init = create, .fini = destroy, .timeout = 60);

/* ---- Opening and closing ---- */

Test(mvcc_open, defaults_are_valid_and_say_so)
{
    struct torc_mvcc_options options;
    struct torc_mvcc *opened;

    memset(&options, 0xee, sizeof options);
    torc_mvcc_options_init(&options);
    torc_mvcc_options_init(NULL);
    cr_expect_eq(options.struct_size, sizeof options);
    cr_expect_null(options.allocator);
    cr_expect_eq(options.memory_limit_bytes, 0u);
    cr_assert_eq(torc_mvcc_open(&options, &opened), TORC_OK);
    cr_assert_eq(torc_mvcc_close(opened), TORC_OK);
    cr_assert_eq(torc_mvcc_open(NULL, &opened), TORC_OK);
    cr_assert_eq(torc_mvcc_close(opened), TORC_OK);
}

static void
expect_refused(const struct torc_mvcc_options *options, const char *named)
{
    struct torc_mvcc *opened = (struct torc_mvcc *)&opened;

    cr_expect_eq(torc_mvcc_open(options, &opened), TORC_INVALID);
    cr_expect_null(opened);
    cr_expect_not_null(strstr(torc_detail(), named), "\"%s\" does not name %s", torc_detail(), named);
}

Test(mvcc_open, refuses_options_out_of_range_and_names_them)
{
    struct torc_allocator half = {0};
    struct torc_mvcc_options options;

    cr_expect_eq(torc_mvcc_open(NULL, NULL), TORC_INVALID);
    torc_mvcc_options_init(&options);
    options.struct_size = 0;
    expect_refused(&options, "struct_size");
    torc_mvcc_options_init(&options);
    options.struct_size++;
    expect_refused(&options, "struct_size");
    torc_mvcc_options_init(&options);
    options.allocator = &half;
    expect_refused(&options, "allocator");
    torc_mvcc_options_init(&options);
    options.expected_keys = UINT64_MAX;
    expect_refused(&options, "expected_keys");
}

Test(mvcc_open, takes_extreme_hints)
{
    static const uint64_t hints[] = {0, 1, 100000};

    for (unsigned i = 0; i < 3; i++) {
        struct torc_mvcc_options options;
        struct torc_mvcc *opened;

        torc_mvcc_options_init(&options);
        options.expected_keys = hints[i];
        options.hash_seed = i;
        cr_assert_eq(torc_mvcc_open(&options, &opened), TORC_OK);
        torct_put(opened, "k", "v");
        cr_expect(torct_reads(opened, "k", "v"));
        cr_assert_eq(torc_mvcc_close(opened), TORC_OK);
    }
}

Test(mvcc_open, gives_everything_back_when_closed_with_garbage)
{
    struct torc_txn *reader;

    torct_store_open(&store);
    torct_put(store.mvcc, "a", "1");
    reader = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned i = 0; i < 50; i++) {
        torct_put(store.mvcc, "a", "2");
        torct_put(store.mvcc, "b", "2");
        torct_delete(store.mvcc, "b");
    }
    torc_txn_abort(reader);
    torct_store_close(&store);
}

Test(mvcc_open, is_not_closed_while_transactions_are_open)
{
    struct torc_txn *txn;

    torct_store_open(&store);
    cr_expect_eq(torc_mvcc_close(NULL), TORC_OK);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_expect_eq(torc_mvcc_close(store.mvcc), TORC_BUSY);
    torct_txn_put(txn, "k", "v");
    cr_expect_eq(torc_txn_commit(txn), TORC_OK, "nothing was closed");
    cr_expect(torct_reads(store.mvcc, "k", "v"));
    torct_store_close(&store);
}

/* ---- One key, one step ---- */

Test(mvcc_one_key, get_tells_the_size_and_copies_what_fits)
{
    char buffer[8] = "........";
    size_t size = 99;

    cr_expect_eq(torc_mvcc_get(store.mvcc, torct_text("k"), buffer, 8, &size), TORC_NOT_FOUND);
    cr_expect_eq(size, 0u);
    torct_put(store.mvcc, "k", "12345");
    cr_expect_eq(torc_mvcc_get(store.mvcc, torct_text("k"), buffer, 8, &size), TORC_OK);
    cr_expect(size == 5 && memcmp(buffer, "12345...", 8) == 0);
    memset(buffer, '.', 8);
    cr_expect_eq(torc_mvcc_get(store.mvcc, torct_text("k"), buffer, 3, &size), TORC_TOO_LARGE);
    cr_expect(size == 5 && memcmp(buffer, "123.....", 8) == 0);
    cr_expect_eq(torc_mvcc_get(store.mvcc, torct_text("k"), NULL, 0, &size), TORC_TOO_LARGE);
    cr_expect_eq(size, 5u);
    torct_put(store.mvcc, "k", "");
    cr_expect_eq(torc_mvcc_get(store.mvcc, torct_text("k"), NULL, 0, &size), TORC_OK);
    cr_expect_eq(size, 0u);
}

Test(mvcc_one_key, put_tells_whether_it_replaced)
{
    bool replaced = true;

    cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text("k"), torct_text("1"), &replaced), TORC_OK);
    cr_expect_not(replaced);
    cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text("k"), torct_text("2"), &replaced), TORC_OK);
    cr_expect(replaced);
    torct_delete(store.mvcc, "k");
    cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text("k"), torct_text("3"), &replaced), TORC_OK);
    cr_expect_not(replaced);
    cr_assert_eq(torc_mvcc_put(NULL, torct_text("k"), torct_text("3"), &replaced), TORC_INVALID);
    cr_expect_not(replaced);
}

Test(mvcc_one_key, delete_of_nothing_changes_nothing)
{
    uint64_t clock = torct_stats(store.mvcc).clock;

    cr_expect_eq(torc_mvcc_delete(store.mvcc, torct_text("k")), TORC_NOT_FOUND);
    cr_expect_null(torct_record(store.mvcc, "k"));
    cr_expect_eq(torct_stats(store.mvcc).clock, clock);
    torct_put(store.mvcc, "k", "v");
    torct_delete(store.mvcc, "k");
    cr_expect_eq(torc_mvcc_delete(store.mvcc, torct_text("k")), TORC_NOT_FOUND);
}

Test(mvcc_one_key, each_write_tells_its_stamp)
{
    uint64_t first;

    torct_put(store.mvcc, "k", "1");
    first = torc_last_commit();
    cr_expect_eq(first % 2, 1u);
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_expect_gt(torc_txn_snapshot(txn), first);
    torct_delete(store.mvcc, "k");
    cr_expect_gt(torc_last_commit(), torc_txn_snapshot(txn));
    torc_txn_abort(txn);
}

Test(mvcc_one_key, refuses_bad_arguments_and_is_unchanged)
{
    static char huge[TORC_KEY_SIZE_MAX + 1];
    struct torc_slice good = torct_text("k"), none = torc_slice(NULL, 0), long_key = torc_slice(huge, sizeof huge);
    char buffer[4];
    size_t size = 99;

    cr_expect_eq(torc_mvcc_get(store.mvcc, good, buffer, 4, NULL), TORC_INVALID);
    cr_expect_eq(torc_mvcc_get(NULL, good, buffer, 4, &size), TORC_INVALID);
    cr_expect_eq(torc_mvcc_get(store.mvcc, good, NULL, 4, &size), TORC_INVALID);
    cr_expect_eq(torc_mvcc_get(store.mvcc, none, buffer, 4, &size), TORC_INVALID);
    cr_expect_eq(torc_mvcc_get(store.mvcc, long_key, buffer, 4, &size), TORC_TOO_LARGE);
    cr_expect_eq(size, 0u);
    cr_expect_eq(torc_mvcc_put(store.mvcc, none, good, NULL), TORC_INVALID);
    cr_expect_eq(torc_mvcc_put(store.mvcc, long_key, good, NULL), TORC_TOO_LARGE);
    cr_expect_eq(torc_mvcc_put(store.mvcc, good, torc_slice(NULL, 3), NULL), TORC_INVALID);
    cr_expect_eq(torc_mvcc_delete(NULL, good), TORC_INVALID);
    cr_expect_eq(torc_mvcc_delete(store.mvcc, none), TORC_INVALID);
    cr_expect_eq(torc_mvcc_delete(store.mvcc, long_key), TORC_TOO_LARGE);
    cr_expect_eq(torct_stats(store.mvcc).versions_created, 0u);
}

/* ---- Figures ---- */

Test(mvcc_stats, count_what_happened)
{
    struct torc_mvcc_stats stats;
    struct torc_txn *txn;

    torct_put(store.mvcc, "a", "1");
    torct_put(store.mvcc, "a", "2");
    torct_put(store.mvcc, "b", "1");
    torct_delete(store.mvcc, "b");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_txn_put(txn, "c", "1");
    torct_txn_put(txn, "d", "1");
    stats = torct_stats(store.mvcc);
    cr_expect_eq(stats.open_transactions, 1u);
    cr_expect_eq(stats.keys, 1u);
    cr_expect_eq(stats.watermark, torc_txn_snapshot(txn));
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    torc_txn_abort(torct_begin(store.mvcc, TORC_SNAPSHOT));
    torct_collect(store.mvcc);
    stats = torct_stats(store.mvcc);
    cr_expect_eq(stats.keys, 3u);
    cr_expect_eq(stats.commits, 5u);
    cr_expect_eq(stats.aborts, 1u);
    cr_expect_eq(stats.conflicts, 0u);
    cr_expect_eq(stats.wounds, 0u);
    cr_expect_eq(stats.open_transactions, 0u);
    cr_expect_eq(stats.versions_created, 6u);
    cr_expect_eq(stats.versions_freed, 3u);
    cr_expect_eq(stats.retired_bytes, 0u);
    cr_expect_gt(stats.memory_bytes, torci_heap_bytes(&store.mvcc->heap));
    cr_expect_eq(stats.watermark, stats.clock);
    cr_expect_eq(torc_mvcc_stats(NULL, &stats), TORC_INVALID);
    cr_expect_eq(torc_mvcc_stats(store.mvcc, NULL), TORC_INVALID);
}

/* ---- Snapshots ---- */

static uint64_t
pinned(size_t value_size)
{
    return offsetof(struct torci_version, bytes) + value_size;
}

static void
put_sized(const char *key, size_t size)
{
    static const char bytes[1000];

    cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text(key), torc_slice(bytes, size), NULL), TORC_OK);
}

/* k: 100 | 200 300 | 400 | 500      m: | 10 | | (deleted)      the bars are the snapshots 0, 1 and 2. */
Test(mvcc_snapshots, attribute_each_superseded_version_to_the_oldest_that_sees_it)
{
    struct torc_snapshot_info infos[5];
    struct torc_txn *txns[4];
    size_t count;

    put_sized("k", 100);
    txns[0] = torct_begin(store.mvcc, TORC_SNAPSHOT);
    put_sized("k", 200);
    put_sized("k", 300);
    put_sized("m", 10);
    txns[1] = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    put_sized("k", 400);
    txns[2] = torct_begin(store.mvcc, TORC_SNAPSHOT);
    put_sized("k", 500);
    torct_delete(store.mvcc, "m");
    txns[3] = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_assert_eq(torc_mvcc_snapshots(store.mvcc, true, infos, 5, &count), TORC_OK);
    cr_assert_eq(count, 4u);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(infos[i].snapshot, torc_txn_snapshot(txns[i]), "the oldest first");
    cr_expect_eq(infos[0].bytes_pinned, pinned(100));
    cr_expect_eq(infos[1].bytes_pinned, pinned(300) + pinned(10));
    cr_expect_eq(infos[2].bytes_pinned, pinned(400));
    cr_expect_eq(infos[3].bytes_pinned, 0u);
    cr_expect(!infos[0].serializable && infos[1].serializable && !infos[1].read_only);

    cr_assert_eq(torc_mvcc_snapshots(store.mvcc, true, infos, 2, &count), TORC_OK);
    cr_expect_eq(count, 4u, "how many there are, not how many fit");
    cr_expect_eq(infos[0].snapshot, torc_txn_snapshot(txns[0]));
    cr_expect_eq(infos[1].snapshot, torc_txn_snapshot(txns[1]));
    cr_expect_eq(infos[1].bytes_pinned, pinned(300) + pinned(10));
    cr_assert_eq(torc_mvcc_snapshots(store.mvcc, false, infos, 5, &count), TORC_OK);
    for (unsigned i = 0; i < 4; i++) {
        cr_expect_eq(infos[i].bytes_pinned, 0u, "not measured");
        torc_txn_abort(txns[i]);
    }
}

Test(mvcc_snapshots, list_the_oldest_when_not_all_fit)
{
    enum { OPEN = 30, FIT = 7 };
    struct torc_snapshot_info infos[FIT];
    struct torc_txn *txns[OPEN];
    size_t count;

    for (unsigned i = 0; i < OPEN; i++) {
        txns[i] = torct_begin(store.mvcc, TORC_SNAPSHOT);
        torct_put(store.mvcc, "k", "v");
    }
    cr_assert_eq(torc_mvcc_snapshots(store.mvcc, false, infos, FIT, &count), TORC_OK);
    cr_expect_eq(count, (size_t)OPEN);
    for (unsigned i = 0; i < FIT; i++)
        cr_expect_eq(infos[i].snapshot, torc_txn_snapshot(txns[i]));
    for (unsigned i = 0; i < OPEN; i++)
        torc_txn_abort(txns[i]);
}

Test(mvcc_snapshots, can_be_counted_without_a_list)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_snapshot_info info;
    struct torc_txn *txn;
    size_t count = 99;

    cr_assert_eq(torc_mvcc_snapshots(store.mvcc, true, NULL, 0, &count), TORC_OK);
    cr_expect_eq(count, 0u);
    cr_assert_eq(torc_txn_begin(store.mvcc, &options, &txn), TORC_OK);
    cr_assert_eq(torc_mvcc_snapshots(store.mvcc, true, NULL, 0, &count), TORC_OK);
    cr_expect_eq(count, 1u);
    cr_assert_eq(torc_mvcc_snapshots(store.mvcc, true, &info, 1, &count), TORC_OK);
    cr_expect(info.read_only);
    cr_expect_eq(torc_mvcc_snapshots(store.mvcc, true, NULL, 1, &count), TORC_INVALID);
    cr_expect_eq(torc_mvcc_snapshots(NULL, true, &info, 1, &count), TORC_INVALID);
    cr_expect_eq(torc_mvcc_snapshots(store.mvcc, true, &info, 1, NULL), TORC_INVALID);
    torc_txn_abort(txn);
}

/* ---- Metrics ---- */

/* The value of the sample `name`, which must be there once, after its HELP and TYPE. */
static uint64_t
sample(const char *text, const char *name)
{
    const char *found = NULL;
    char start[80];

    snprintf(start, sizeof start, "\n%s ", name);
    found = strstr(text, start);
    cr_assert_not_null(found, "no sample of %s", name);
    cr_assert_null(strstr(found + 1, start), "%s twice", name);
    snprintf(start, sizeof start, "# TYPE %s ", name);
    cr_assert_not_null(strstr(text, start));
    cr_assert_lt(strstr(text, start), found);
    return strtoull(found + strlen(name) + 2, NULL, 10);
}

Test(mvcc_metrics, are_text_that_can_be_parsed_and_agree_with_the_stats)
{
    struct torc_mvcc_stats stats;
    char text[8192];
    size_t size;

    for (unsigned i = 0; i < 20; i++)
        torct_put(store.mvcc, i % 2 == 0 ? "a" : "b", "v");
    torct_collect(store.mvcc);
    cr_assert_eq(torc_mvcc_metrics(store.mvcc, text, sizeof text, &size), TORC_OK);
    stats = torct_stats(store.mvcc);
    cr_expect_eq(size, strlen(text));
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        cr_assert_not_null(strchr(line, '\n'), "the last line ends too");
        cr_assert(strncmp(line, "# HELP torc_mvcc_", 17) == 0 || strncmp(line, "# TYPE torc_mvcc_", 17) == 0 ||
                  strncmp(line, "torc_mvcc_", 10) == 0);
        if (*line != '#') {
            char *end = line + strcspn(line, " ");

            cr_assert_eq(*end, ' ');
            (void)strtoull(end, &end, 10);
            cr_assert_eq(*end, '\n');
        }
    }
    cr_expect_eq(sample(text, "torc_mvcc_keys"), stats.keys);
    cr_expect_eq(sample(text, "torc_mvcc_commits_total"), 20u);
    cr_expect_eq(sample(text, "torc_mvcc_memory_bytes"), stats.memory_bytes);
    cr_expect_eq(sample(text, "torc_mvcc_versions_created_total"), stats.versions_created);
    cr_expect_eq(sample(text, "torc_mvcc_versions_freed_total"), stats.versions_freed);
    cr_expect_eq(sample(text, "torc_mvcc_clock"), stats.clock);
    cr_expect_eq(sample(text, "torc_mvcc_watermark"), stats.watermark);
    cr_expect_eq(sample(text, "torc_mvcc_open_transactions"), 0u);
}

Test(mvcc_metrics, tell_their_size_when_they_do_not_fit)
{
    char text[8192];
    size_t whole, size;

    cr_assert_eq(torc_mvcc_metrics(store.mvcc, text, sizeof text, &whole), TORC_OK);
    cr_expect_eq(torc_mvcc_metrics(store.mvcc, NULL, 0, &size), TORC_TOO_LARGE);
    cr_expect_eq(size, whole);
    memset(text, 'x', sizeof text);
    cr_expect_eq(torc_mvcc_metrics(store.mvcc, text, 100, &size), TORC_TOO_LARGE);
    cr_expect_eq(size, whole);
    cr_expect_eq(strnlen(text, 101), 99u);
    cr_expect_eq(torc_mvcc_metrics(store.mvcc, text, whole, &size), TORC_TOO_LARGE, "no room for the terminator");
    cr_expect_eq(torc_mvcc_metrics(store.mvcc, text, whole + 1, &size), TORC_OK);
    cr_expect_eq(torc_mvcc_metrics(NULL, text, 100, &size), TORC_INVALID);
    cr_expect_eq(torc_mvcc_metrics(store.mvcc, NULL, 100, &size), TORC_INVALID);
    cr_expect_eq(torc_mvcc_metrics(store.mvcc, text, 100, NULL), TORC_INVALID);
}

/* ---- Collecting ---- */

Test(mvcc_collect, gives_back_what_nobody_needs)
{
    uint64_t before;

    cr_expect_eq(torc_mvcc_collect(NULL), TORC_INVALID);
    torct_collect(store.mvcc);
    before = torct_stats(store.mvcc).memory_bytes;
    for (unsigned i = 0; i < 100; i++)
        put_sized("k", 1000);
    torct_delete(store.mvcc, "k");
    torct_collect(store.mvcc);
    cr_expect_lt(torct_stats(store.mvcc).memory_bytes, before + 20000, "a fifth of what was written");
    cr_expect_eq(torct_stats(store.mvcc).versions_freed, torct_stats(store.mvcc).versions_created);
}

Test(mvcc_collect, of_a_clean_store_does_nothing)
{
    torct_put(store.mvcc, "k", "v");
    torct_collect(store.mvcc);
    uint64_t allocations = torci_load(&store.ledger.releases, memory_order_relaxed);
    uint64_t bytes = torci_heap_bytes(&store.mvcc->heap);
    torct_collect(store.mvcc);
    cr_expect_eq(torci_heap_bytes(&store.mvcc->heap), bytes);
    cr_expect_leq(torci_load(&store.ledger.releases, memory_order_relaxed), allocations + 4);
    cr_expect(torct_reads(store.mvcc, "k", "v"));
}

/* ---- Several stores ---- */

enum { STORES = 4 };
static struct torct_store stores[STORES];

static void
use_all_stores(void *context, unsigned number)
{
    char key[32];

    (void)context;
    for (unsigned i = 0; i < 200; i++) {
        struct torc_mvcc *one = stores[(number + i) % STORES].mvcc, *two = stores[(number + i + 1) % STORES].mvcc;
        struct torc_txn *left = torct_begin(one, TORC_SERIALIZABLE), *right = torct_begin(two, TORC_SNAPSHOT);

        snprintf(key, sizeof key, "%u.%u", number, i % 10);
        torct_txn_put(left, key, "left");
        torct_txn_put(right, key, "right");
        cr_assert_eq(torc_txn_commit(left), TORC_OK);
        cr_assert(torct_txn_reads(right, key, "right"));
        if (i % 2 == 0)
            cr_assert_eq(torc_txn_commit(right), TORC_OK);
        else
            torc_txn_abort(right);
        cr_assert(torct_reads(one, key, "left"));
    }
}

Test(mvcc_stores, at_once_know_nothing_of_one_another)
{
    for (unsigned i = 0; i < STORES; i++)
        torct_store_open(&stores[i]);
    torct_put(stores[0].mvcc, "k", "0");
    torct_put(stores[1].mvcc, "k", "1");
    cr_expect(torct_reads(stores[0].mvcc, "k", "0"));
    cr_expect(torct_reads(stores[1].mvcc, "k", "1"));
    cr_expect(torct_reads(stores[2].mvcc, "k", NULL));
    torct_race(4, use_all_stores, NULL);
    for (unsigned i = 0; i < STORES; i++)
        torct_store_close(&stores[i * 3 % STORES]);
}

Test(mvcc_stores, one_after_another_leave_nothing)
{
    for (unsigned i = 0; i < 50; i++) {
        torct_store_open(&store);
        torct_put(store.mvcc, "k", "v");
        torct_store_close(&store);
    }
}

/* ---- Threads that come and go ---- */

enum { SHORT_LIVES = 25, AT_ONCE = 8, WARM_UP = 5 };

static pthread_barrier_t all_open;

static void
live_shortly(void *context, unsigned number)
{
    struct torc_txn *txn = torct_begin(store.mvcc, number % 2 == 0 ? TORC_SNAPSHOT : TORC_SERIALIZABLE);
    char key[16];

    (void)context;
    pthread_barrier_wait(&all_open); /* So that as many are alive at once in every round. */
    snprintf(key, sizeof key, "k%u", number);
    cr_assert(torct_txn_reads(txn, "none", NULL));
    torct_txn_put(txn, key, "v");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    torct_put(store.mvcc, "shared", "v");
    enum torc_status status = torc_mvcc_delete(store.mvcc, torct_text("shared"));
    cr_assert(status == TORC_OK || status == TORC_NOT_FOUND);
}

/* 25 x 8 threads one after another: the store holds afterwards what it held after the first few. */
Test(mvcc_threads, that_come_and_go_leave_no_growth)
{
    uint64_t bytes = 0;
    uint32_t indexes = 0;

    pthread_barrier_init(&all_open, NULL, AT_ONCE);
    for (unsigned life = 0; life < SHORT_LIVES; life++) {
        torct_race(AT_ONCE, live_shortly, NULL);
        torct_collect(store.mvcc);
        if (life == WARM_UP) {
            bytes = torci_heap_bytes(&store.mvcc->heap);
            indexes = torci_thread_index_bound();
        }
    }
    pthread_barrier_destroy(&all_open);
    cr_expect_eq(torci_thread_index_bound(), indexes);
    /* Spare bags and leaves differ a little from round to round. */
    cr_expect_leq(torci_heap_bytes(&store.mvcc->heap), bytes + AT_ONCE * 2048);
    cr_expect_eq(torct_stats(store.mvcc).keys, (uint64_t)AT_ONCE);
    cr_expect_eq(torct_stats(store.mvcc).open_transactions, 0u);
}

static void
do_nothing(void *context, unsigned number)
{
    (void)number;
    cr_assert_lt(torci_self()->index, *(uint32_t *)context);
}

Test(mvcc_threads, a_thousand_in_turn_share_a_few_indexes)
{
    uint32_t most = 4;

    for (unsigned i = 0; i < 1000; i++)
        torct_race(1, do_nothing, &most);
}

/* ---- Counters that wrap, or pass a power of two ---- */

static void
count_to(uint64_t target)
{
    char value[32];
    unsigned rounds = 0;

    while (torct_stats(store.mvcc).clock < target) {
        struct torc_txn *reader = torct_begin(store.mvcc, TORC_SNAPSHOT), *writer;

        snprintf(value, sizeof value, "%u", ++rounds);
        writer = torct_begin(store.mvcc, rounds % 2 == 0 ? TORC_SNAPSHOT : TORC_SERIALIZABLE);
        if (rounds > 1)
            cr_assert_not(torct_txn_reads(writer, "a", NULL));
        torct_txn_put(writer, "a", value);
        torct_txn_put(writer, "b", value);
        cr_assert_eq(torc_txn_commit(writer), TORC_OK);
        cr_assert_not(torct_txn_reads(reader, "a", value), "from before");
        torct_put(store.mvcc, "c", value);
        cr_assert(torct_reads(store.mvcc, "c", value));
        torc_txn_abort(reader);
        reader = torct_begin(store.mvcc, TORC_SNAPSHOT);
        cr_assert(torct_txn_reads(reader, "a", value) && torct_txn_reads(reader, "b", value) &&
                  torct_txn_reads(reader, "c", value));
        torc_txn_abort(reader);
    }
}

Test(mvcc_wrap, the_clock_passes_two_to_the_32)
{
    torci_clock_init(&store.mvcc->clock, (UINT64_C(1) << 32) - 100);
    count_to((UINT64_C(1) << 32) + 100);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "a"), 1u, "garbage is known on both sides");
}

Test(mvcc_wrap, the_clock_is_good_up_to_its_last_stamps)
{
    torci_clock_init(&store.mvcc->clock, TORCI_COMMIT_STAMP_MAX - 201);
    count_to(TORCI_COMMIT_STAMP_MAX - 20);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "a"), 1u);
}

Test(mvcc_wrap, differences_of_figures_stay_right_when_the_figures_wrap)
{
    struct torci_shard *shard = torct_shard(store.mvcc);
    struct torc_mvcc_stats stats;

    torci_store(&shard->counters.versions_created, UINT64_MAX - 3, memory_order_relaxed);
    torci_store(&shard->counters.versions_freed, UINT64_MAX - 3, memory_order_relaxed);
    torci_store(&shard->counters.commits, UINT64_MAX - 3, memory_order_relaxed);
    for (unsigned i = 0; i < 10; i++)
        torct_put(store.mvcc, "k", "v");
    torct_collect(store.mvcc);
    stats = torct_stats(store.mvcc);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 1u);
    cr_expect_eq(stats.versions_created, 6u);
    cr_expect_eq(stats.commits, 6u);
}

enum { DELETED_BY_ANOTHER = 20 };

static void
delete_what_others_put(void *context, unsigned number)
{
    char key[16];

    (void)number;
    for (unsigned i = 0; i < DELETED_BY_ANOTHER; i++) {
        snprintf(key, sizeof key, "k%u", i);
        torct_delete(store.mvcc, key);
    }
    *(int64_t *)context =
        torci_load(&store.mvcc->main->keys[torci_self()->index % TORCI_KEY_STRIPES].count, memory_order_relaxed);
}

Test(mvcc_wrap, a_threads_share_of_the_keys_may_be_negative)
{
    int64_t share = 0;
    char key[16];

    for (unsigned i = 0; i < DELETED_BY_ANOTHER; i++) {
        snprintf(key, sizeof key, "k%u", i);
        torct_put(store.mvcc, key, "v");
    }
    torct_put(store.mvcc, "stays", "v");
    torct_race(1, delete_what_others_put, &share);
    cr_expect_eq(share, -(int64_t)DELETED_BY_ANOTHER);
    cr_expect_eq(torct_stats(store.mvcc).keys, 1u);
}

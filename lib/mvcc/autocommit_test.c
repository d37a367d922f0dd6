/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/random.h"
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

TestSuite(load, .init = create, .fini = destroy, .timeout = 60);
TestSuite(estimate, .init = create, .fini = destroy, .timeout = 60);

enum { PAIRS = 500 };

static char names[PAIRS][8];
static struct torc_pair pairs[PAIRS];

static struct torc_keyspace *
main_keyspace(void)
{
    return torc_mvcc_default(store.mvcc);
}

static void
make_pairs(void)
{
    for (unsigned i = 0; i < PAIRS; i++) {
        snprintf(names[i], sizeof names[i], "k%04u", i);
        pairs[i] = (struct torc_pair){torct_text(names[i]), torct_text(names[i])};
    }
}

static void
expect_loaded(unsigned count)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    struct torc_slice key, value;
    struct torc_cursor *cursor;

    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
        cr_assert(torct_slice_is(key, names[i]) && torct_slice_is(value, names[i]), "%u", i);
        cr_assert(torct_reads(store.mvcc, names[i], names[i]));
    }
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_END);
    torc_txn_abort(txn);
    cr_expect_eq(torct_stats(store.mvcc).keys, count);
}

Test(load, puts_ascending_pairs)
{
    size_t loaded = 0;

    make_pairs();
    cr_expect_eq(torc_keyspace_load(main_keyspace(), pairs, PAIRS, &loaded), TORC_OK);
    cr_expect_eq(loaded, (size_t)PAIRS);
    expect_loaded(PAIRS);
}

Test(load, puts_pairs_in_any_order_and_twice_and_over_what_is_there)
{
    struct torci_random random = torci_random_seed(7);
    struct torc_pair shuffled[2 * PAIRS];
    size_t loaded = 0;

    make_pairs();
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        shuffled[i] = pairs[i % PAIRS];
    for (unsigned i = 2 * PAIRS; i > 1; i--) {
        unsigned j = (unsigned)torci_random_below(&random, i);
        struct torc_pair kept = shuffled[i - 1];

        shuffled[i - 1] = shuffled[j];
        shuffled[j] = kept;
    }
    for (unsigned i = 0; i < PAIRS; i += 3)
        torct_put(store.mvcc, names[i], "old");
    cr_expect_eq(torc_keyspace_load(main_keyspace(), shuffled, 2 * PAIRS, &loaded), TORC_OK);
    cr_expect_eq(loaded, (size_t)(2 * PAIRS));
    expect_loaded(PAIRS);
}

Test(load, stops_at_a_pair_that_is_not_valid)
{
    size_t loaded = 0;

    make_pairs();
    pairs[40].key = torc_slice(NULL, 0);
    cr_expect_eq(torc_keyspace_load(main_keyspace(), pairs, PAIRS, &loaded), TORC_INVALID);
    cr_expect_eq(loaded, 40u);
    expect_loaded(40);
    pairs[0].value = torc_slice(NULL, 3);
    cr_expect_eq(torc_keyspace_load(main_keyspace(), pairs, 1, NULL), TORC_INVALID);
    cr_expect_eq(torc_keyspace_load(NULL, pairs, 1, &loaded), TORC_INVALID);
    cr_expect_eq(loaded, 0u);
    cr_expect_eq(torc_keyspace_load(main_keyspace(), NULL, 1, NULL), TORC_INVALID);
    cr_expect_eq(torc_keyspace_load(main_keyspace(), NULL, 0, &loaded), TORC_OK);
}

#if defined(TORC_FAULTS)
Test(load, want_of_memory_leaves_the_first_pairs_and_no_others)
{
    make_pairs();
    for (uint64_t n = 1;; n++) {
        enum torc_status status;
        size_t loaded = 99;
        uint64_t seen;

        (void)torci_alloc_fail_at(n, false);
        status = torc_keyspace_load(main_keyspace(), pairs, 80, &loaded);
        seen = torci_alloc_fail_at(0, false);
        cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
        cr_assert_eq(status == TORC_OK, loaded == 80);
        expect_loaded((unsigned)loaded);
        if (seen < n)
            break;
        for (size_t i = 0; i < loaded; i++)
            torct_delete(store.mvcc, names[i]);
        torct_collect(store.mvcc);
        cr_assert_eq(torct_stats(store.mvcc).keys, 0u);
        cr_assert_null(torct_record(store.mvcc, names[79]), "an empty record is left");
    }
}
#endif

static void
load_all(void *context, unsigned number)
{
    unsigned first = number % 2 == 0 ? 0 : PAIRS / 3;

    (void)context;
    for (unsigned round = 0; round < 20; round++) {
        cr_assert_eq(torc_keyspace_load(main_keyspace(), pairs + first, PAIRS - first, NULL), TORC_OK);
        if (number == 3) {
            for (unsigned i = 0; i < PAIRS; i += 7)
                (void)(torc_mvcc_delete(store.mvcc, pairs[i].key) == TORC_OK);
            torct_collect(store.mvcc);
        }
    }
}

Test(load, races_with_itself_and_with_records_that_leave)
{
    make_pairs();
    torct_race(4, load_all, NULL);
    cr_assert_eq(torc_keyspace_load(main_keyspace(), pairs, PAIRS, NULL), TORC_OK);
    expect_loaded(PAIRS);
}

Test(estimate, of_a_small_range_is_exact)
{
    struct torc_estimate estimate;

    make_pairs();
    cr_assert_eq(torc_keyspace_load(main_keyspace(), pairs, 3, NULL), TORC_OK);
    cr_assert_eq(torc_keyspace_estimate(main_keyspace(), torct_text("k0001"), torct_text("k0003"), &estimate), TORC_OK);
    cr_expect_eq(estimate.keys, 2u);
    cr_expect_geq(estimate.bytes, 20u);
    cr_assert_eq(torc_keyspace_estimate(main_keyspace(), torc_slice(NULL, 0), torc_slice(NULL, 0), &estimate), TORC_OK);
    cr_expect_eq(estimate.keys, 3u);
    cr_assert_eq(torc_keyspace_estimate(main_keyspace(), torct_text("x"), torct_text("a"), &estimate), TORC_OK);
    cr_expect_eq(estimate.keys, 0u);
}

Test(estimate, of_a_large_range_is_about_right)
{
    struct torc_estimate estimate;

    make_pairs();
    cr_assert_eq(torc_keyspace_load(main_keyspace(), pairs, PAIRS, NULL), TORC_OK);
    cr_assert_eq(torc_keyspace_estimate(main_keyspace(), torc_slice(NULL, 0), torc_slice(NULL, 0), &estimate), TORC_OK);
    cr_expect_geq(estimate.keys, PAIRS / 2u);
    cr_expect_leq(estimate.keys, PAIRS * 2u);
    cr_expect_geq(estimate.bytes, estimate.keys * 5u);
}

Test(estimate, refuses_bad_arguments)
{
    struct torc_estimate estimate = {7, 7};
    static char large[TORC_KEY_SIZE_MAX + 1];
    struct torc_slice none = {NULL, 0};

    cr_expect_eq(torc_keyspace_estimate(NULL, none, none, &estimate), TORC_INVALID);
    cr_expect_eq(estimate.keys, 0u);
    cr_expect_eq(torc_keyspace_estimate(main_keyspace(), none, none, NULL), TORC_INVALID);
    cr_expect_eq(torc_keyspace_estimate(main_keyspace(), torc_slice(NULL, 1), none, &estimate), TORC_INVALID);
    cr_expect_eq(torc_keyspace_estimate(main_keyspace(), none, torc_slice(large, sizeof large), &estimate),
                 TORC_TOO_LARGE);
}

/* SPDX-License-Identifier: MIT */
#include "mvcc/index_tree.h"

#include <criterion/criterion.h>

#include "base/testing.h"
#include "mvcc/index_testing.h"

static struct torci_heap heap;
static struct torci_limbo *limbo;
static struct torci_tree_index tree;

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    limbo = torct_limbo_create(&heap);
    cr_assert_eq(torci_tree_index_init(&tree, &heap), TORC_OK);
}

/* To be called in the test: what fails in a destructor is not counted. Records that were not retired are freed here. */
static void
expect_all_given_back(struct torci_record *const *records, unsigned count)
{
    torci_tree_index_fini(&tree);
    torci_limbo_flush(limbo);
    torci_epoch_barrier();
    torci_limbo_destroy(limbo);
    for (unsigned i = 0; i < count; i++)
        if (records[i] != NULL)
            torct_record_free(&heap, records[i]);
    cr_assert_eq(torci_heap_bytes(&heap), 0u);
}

TestSuite(index_tree, .init = create, .timeout = 120);

static void
expect_sound(void)
{
#if defined(TORC_ASSERTIONS)
    const char *fault = torci_tree_index_fault_exclusive(&tree);

    cr_assert_null(fault, "%s", fault);
#endif
}

static void
insert(struct torci_record *record)
{
    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(torci_tree_index_insert(&tree, guard, limbo, record), TORC_OK);
    torci_epoch_exit(guard);
}

/* Freeze and take out; the caller retires. */
static void
take_out(struct torci_record *record)
{
    cr_assert(torct_record_freeze(record));
    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX + 1);
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(torci_tree_index_remove(&tree, guard, limbo, record), TORC_OK);
    torci_epoch_exit(guard);
}

static void
retire(struct torci_record *record)
{
    torct_limbo_reserve(limbo, 1);
    torci_limbo_add(limbo, record, torct_record_size(record->key_size), TORCI_RETIRED_RECORD);
}

/* ---- Against a model: an array of records by the rank of their keys ---- */

enum { KEYS = 700 };
static struct torct_key keys[KEYS];
static struct torci_record *model[KEYS];

/* The rank of the next record from `rank` on in the direction of the walk, or -1. */
static int
model_next(int rank, bool descending)
{
    while (rank >= 0 && rank < KEYS && model[rank] == NULL)
        rank += descending ? -1 : 1;
    return rank < KEYS ? rank : -1;
}

/* Walk over at most `most` records from keys[rank] on; compare each with the model. */
static void
expect_walk_as_model(int rank, bool inclusive, bool descending, unsigned most)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_batch batch;
    int step = descending ? -1 : 1, expected = model_next(inclusive ? rank : rank + step, descending);
    unsigned seen = 0;

    torci_tree_index_seek(&tree, guard, torct_key_slice(&keys[rank]), inclusive, descending, &batch);
    while (batch.count > 0 && seen < most) {
        for (unsigned i = 0; i < batch.count; i++) {
            cr_assert_neq(expected, -1, "more than there is");
            cr_assert_eq(batch.records[i], model[expected]);
            expected = model_next(expected + step, descending);
        }
        seen += batch.count;
        torci_tree_index_next(&tree, guard, descending, &batch);
    }
    if (batch.count == 0) {
        cr_assert(batch.end);
        cr_assert_eq(expected, -1, "less than there is");
    }
    torci_epoch_exit(guard);
}

static void
expect_whole_walks_as_model(void)
{
    struct torci_epoch_guard guard = torci_epoch_enter();

    for (int descending = 0; descending < 2; descending++) {
        struct torci_batch batch;
        int step = descending ? -1 : 1, expected = model_next(descending ? KEYS - 1 : 0, descending);

        for (torci_tree_index_seek(&tree, guard, torc_slice(NULL, 0), true, descending, &batch); batch.count > 0;
             torci_tree_index_next(&tree, guard, descending, &batch))
            for (unsigned i = 0; i < batch.count; i++) {
                cr_assert_neq(expected, -1);
                cr_assert_eq(batch.records[i], model[expected]);
                expected = model_next(expected + step, descending);
            }
        cr_assert(batch.end);
        cr_assert_eq(expected, -1);
    }
    torci_epoch_exit(guard);
}

Test(index_tree, agrees_with_a_sorted_array)
{
    enum { OPERATIONS = 200000 };
    struct torci_random random = torci_random_seed(torct_seed());

    torct_keys_fill(keys, KEYS, &random);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        int rank = (int)torci_random_below(&random, KEYS);
        /* Phases of growth and of decay, down to nothing. */
        bool decays = i / 5000 % 2 == 1;

        switch (torci_random_below(&random, 4)) {
        case 0:
        case 1:
            if (model[rank] == NULL && (!decays || torci_random_one_in(&random, 8))) {
                model[rank] = torct_record_create(&heap, torct_key_slice(&keys[rank]), 1);
                insert(model[rank]);
            } else if (model[rank] != NULL && (decays || torci_random_one_in(&random, 8))) {
                take_out(model[rank]);
                retire(model[rank]);
                model[rank] = NULL;
            }
            break;
        default:
            expect_walk_as_model(rank, torci_random_one_in(&random, 2), torci_random_one_in(&random, 2),
                                 (unsigned)torci_random_below(&random, 30));
        }
        if (i % 2500 == 0) {
            expect_sound();
            expect_whole_walks_as_model();
        }
        torci_limbo_drain(limbo);
    }
    expect_all_given_back(model, KEYS);
}

Test(index_tree, shrinks_to_one_leaf_when_everything_is_taken_out)
{
    struct torci_random random = torci_random_seed(torct_seed());

    torct_keys_fill(keys, KEYS, &random);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            unsigned rank = round % 2 == 0 ? i : i * 211 % KEYS;

            model[rank] = torct_record_create(&heap, torct_key_slice(&keys[rank]), 1);
            insert(model[rank]);
        }
        expect_sound();
        cr_expect_gt(torci_tree_index_leaves(&tree), 20u);
        expect_whole_walks_as_model();
        for (unsigned i = 0; i < KEYS; i++) {
            unsigned rank = round < 2 ? i * 211 % KEYS : KEYS - 1 - i;

            take_out(model[rank]);
            retire(model[rank]);
            model[rank] = NULL;
        }
        expect_sound();
        cr_expect_eq(torci_tree_index_leaves(&tree), 1u);
        expect_whole_walks_as_model();
    }
    expect_all_given_back(model, KEYS);
}

Test(index_tree, sorts_keys_of_65535_bytes)
{
    enum { LONG_KEYS = 40, LONG_SIZE = 65535 };
    static unsigned char bytes[LONG_SIZE];
    static struct torci_record *records[LONG_KEYS];
    struct torci_batch batch;
    unsigned seen = 0;

    memset(bytes, 'x', sizeof(bytes));
    for (unsigned i = 0; i < LONG_KEYS; i++) {
        unsigned number = i * 17 % LONG_KEYS;

        /* Half of them differ in the last byte only; the others are prefixes. */
        bytes[LONG_SIZE - 1] = (unsigned char)(number + 1);
        records[number] = torct_record_create(
            &heap, torc_slice(bytes, number < LONG_KEYS / 2 ? LONG_SIZE - LONG_KEYS + number : LONG_SIZE), 1);
        insert(records[number]);
    }
    expect_sound();
    struct torci_epoch_guard guard = torci_epoch_enter();

    for (torci_tree_index_seek(&tree, guard, torc_slice(NULL, 0), true, false, &batch); batch.count > 0;
         torci_tree_index_next(&tree, guard, false, &batch))
        for (unsigned i = 0; i < batch.count; i++)
            cr_assert_eq(batch.records[i], records[seen++]);
    cr_expect_eq(seen, (unsigned)LONG_KEYS);
    torci_epoch_exit(guard);
    expect_all_given_back(records, LONG_KEYS);
}

/* ---- Frozen records ---- */

Test(index_tree, does_not_take_a_frozen_record)
{
    struct torci_record *record = torct_record_create(&heap, torc_slice("a", 1), 1);
    struct torci_batch batch;

    cr_assert(torct_record_freeze(record));
    insert(record);
    cr_expect_eq(torci_load(&record->flags, memory_order_relaxed) & TORCI_RECORD_ORDERED, 0u);
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_tree_index_seek(&tree, guard, torc_slice(NULL, 0), true, false, &batch);
    cr_expect_eq(batch.count, 0u);
    cr_expect(batch.end);
    torci_epoch_exit(guard);
    expect_all_given_back(&record, 1);
}

Test(index_tree, replaces_a_frozen_record_of_the_same_key)
{
    struct torci_record *records[2];
    struct torci_batch batch;

    for (unsigned i = 0; i < 2; i++)
        records[i] = torct_record_create(&heap, torc_slice("a", 1), 1);
    insert(records[0]);
    cr_assert(torct_record_freeze(records[0]));
    insert(records[1]);
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_tree_index_seek(&tree, guard, torc_slice("a", 1), true, true, &batch);
    cr_assert_eq(batch.count, 1u);
    cr_expect_eq(batch.records[0], records[1]);
    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
    cr_expect_eq(torci_tree_index_remove(&tree, guard, limbo, records[0]), TORC_OK);
    torci_tree_index_seek(&tree, guard, torc_slice("a", 1), true, false, &batch);
    cr_assert_eq(batch.count, 1u, "the remover of the first must leave the second alone");
    cr_expect_eq(batch.records[0], records[1]);
    torci_epoch_exit(guard);
    expect_all_given_back(records, 2);
}

/* ---- Every allocation failing in turn ---- */

#if defined(TORC_FAULTS)
/* Do it again with the n-th allocation failing, n = 1, 2 ..., until it succeeds; if `sticky`, all from the n-th on
 * fail. Between the attempts the tree must be sound. */
static void
insert_with_failures(struct torci_record *record, bool sticky)
{
    enum torc_status status = TORC_NO_MEMORY;

    for (uint64_t n = 1; status != TORC_OK; n++) {
        torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
        struct torci_epoch_guard guard = torci_epoch_enter();

        torci_alloc_fail_at(n, sticky);
        status = torci_tree_index_insert(&tree, guard, limbo, record);
        torci_alloc_fail_at(0, false);
        torci_epoch_exit(guard);
        expect_sound();
    }
}

static void
take_out_with_failures(struct torci_record *record, bool sticky)
{
    enum torc_status status = TORC_NO_MEMORY;

    cr_assert(torct_record_freeze(record));
    for (uint64_t n = 1; status != TORC_OK; n++) {
        torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
        struct torci_epoch_guard guard = torci_epoch_enter();

        torci_alloc_fail_at(n, sticky);
        status = torci_tree_index_remove(&tree, guard, limbo, record);
        torci_alloc_fail_at(0, false);
        torci_epoch_exit(guard);
        expect_sound();
    }
}

Test(index_tree, stays_sound_when_any_allocation_fails)
{
    struct torci_random random = torci_random_seed(torct_seed());

    torct_keys_fill(keys, KEYS, &random);
    for (int sticky = 0; sticky < 2; sticky++) {
        for (unsigned i = 0; i < KEYS; i++) {
            unsigned rank = i * 211 % KEYS;

            model[rank] = torct_record_create(&heap, torct_key_slice(&keys[rank]), 1);
            insert_with_failures(model[rank], sticky);
        }
        expect_whole_walks_as_model();
        for (unsigned i = 0; i < KEYS; i++) {
            unsigned rank = i * 97 % KEYS;

            take_out_with_failures(model[rank], sticky);
            retire(model[rank]);
            model[rank] = NULL;
            if (i % 50 == 0)
                expect_whole_walks_as_model();
        }
    }
    expect_all_given_back(model, KEYS);
}

Test(index_tree, reports_that_it_could_not_begin)
{
    struct torci_tree_index other;

    for (uint64_t n = 1; n <= 2; n++) {
        torci_alloc_fail_at(n, false);
        cr_expect_eq(torci_tree_index_init(&other, &heap), TORC_NO_MEMORY);
        torci_alloc_fail_at(0, false);
    }
    expect_all_given_back(NULL, 0);
}
#endif

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
    cr_assert_eq(torci_tree_index_init(&tree, &heap, limbo), TORC_OK);
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

/* torci_tree_index_seek() of a walk that begins here. */
static void
seek(struct torci_epoch_guard guard, struct torc_slice key, bool inclusive, bool descending, unsigned wanted,
     struct torci_batch *batch)
{
    batch->wanted = wanted;
    batch->mark = (struct torci_bookmark){NULL, NULL, 0};
    torci_tree_index_seek(&tree, guard, key, inclusive, descending, batch);
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

    seek(guard, torct_key_slice(&keys[rank]), inclusive, descending, 1 + most % TORCI_BATCH_MAX, &batch);
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

        for (seek(guard, torc_slice(NULL, 0), true, descending, 5, &batch); batch.count > 0;
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

static void
model_insert(int rank)
{
    model[rank] = torct_record_create(&heap, torct_key_slice(&keys[rank]), 1);
    insert(model[rank]);
}

static void
model_take_out(int rank)
{
    take_out(model[rank]);
    retire(model[rank]);
    model[rank] = NULL;
}

/* Turn some keys near `rank` on or off, one more often than the other. */
static void
model_disturb(struct torci_random *random, int rank, bool decays)
{
    for (unsigned i = 0; i < 12; i++) {
        int near = (rank + KEYS - 15 + (int)torci_random_below(random, 30)) % KEYS;

        if (model[near] != NULL && (decays || torci_random_one_in(random, 8)))
            model_take_out(near);
        else if (model[near] == NULL && (!decays || torci_random_one_in(random, 8)))
            model_insert(near);
    }
}

/* Each batch in a section of its own; between them the tree changes around the place, and what it has retired is freed
 * (and spoilt, where allocations are checked). */
Test(index_tree, goes_on_from_a_bookmark_whatever_came_and_went)
{
    enum { WALKS = 200 };
    struct torci_random random = torci_random_seed(torct_seed());

    torct_keys_fill(keys, KEYS, &random);
    for (unsigned walk = 0; walk < WALKS; walk++) {
        bool descending = torci_random_one_in(&random, 2), decays = walk / 5 % 2 == 1;
        int rank = (int)torci_random_below(&random, KEYS), step = descending ? -1 : 1;
        struct torci_batch batch = {.mark = {NULL, NULL, 0}};

        for (unsigned i = 0; i < 20 && !decays; i++)
            model_disturb(&random, (int)torci_random_below(&random, KEYS), false);
        for (bool begun = false; rank >= 0 && rank < KEYS; begun = true) {
            struct torci_epoch_guard guard = torci_epoch_enter();
            int last = rank, expected = model_next(begun ? rank + step : rank, descending);

            batch.wanted = 1 + (unsigned)torci_random_below(&random, TORCI_BATCH_MAX);
            torci_tree_index_seek(&tree, guard, torct_key_slice(&keys[rank]), !begun, descending, &batch);
            for (unsigned i = 0; i < batch.count; i++, expected = model_next(expected + step, descending)) {
                cr_assert_neq(expected, -1, "more than there is");
                cr_assert_eq(batch.records[i], model[expected]);
                last = expected;
            }
            cr_assert(batch.count == batch.wanted || expected == -1, "less than there is");
            torci_epoch_exit(guard);
            if (batch.count == 0)
                break;
            rank = last;
            if (torci_random_one_in(&random, 2))
                model_disturb(&random, rank, decays);
            if (torci_random_one_in(&random, 8)) {
                torci_limbo_flush(limbo);
                torci_epoch_barrier();
                torci_limbo_drain(limbo);
            }
        }
        expect_sound();
    }
    expect_all_given_back(model, KEYS);
}

/* Keys in ascending order of their numbers, `size` bytes. */
static struct torci_record *
numbered_create(uint64_t number)
{
    unsigned char bytes[8];

    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> (56 - 8 * i));
    return torct_record_create(&heap, torc_slice(bytes, sizeof(bytes)), 1);
}

static void
insert_many(struct torci_record *const *records, size_t count)
{
    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(torci_tree_index_insert_many(&tree, guard, limbo, records, count), TORC_OK);
    torci_epoch_exit(guard);
}

Test(index_tree, takes_many_records_at_once_as_one_by_one)
{
    enum { ROUNDS = 600 };
    struct torci_random random = torci_random_seed(torct_seed());

    torct_keys_fill(keys, KEYS, &random);
    for (unsigned round = 0; round < ROUNDS; round++) {
        static struct torci_record *records[KEYS];
        static struct torci_record *refused[KEYS];
        unsigned count = 0, refusals = 0;
        int from = (int)torci_random_below(&random, KEYS), span = 1 + (int)torci_random_below(&random, 200);

        /* New ones, some that are there already, some that froze before. */
        for (int rank = from; rank < KEYS && rank < from + span; rank++) {
            if (torci_random_one_in(&random, 3))
                continue;
            if (model[rank] == NULL && torci_random_one_in(&random, 10)) {
                struct torci_record *frozen = torct_record_create(&heap, torct_key_slice(&keys[rank]), 1);

                cr_assert(torct_record_freeze(frozen));
                refused[refusals++] = records[count++] = frozen;
                continue;
            }
            if (model[rank] == NULL)
                model[rank] = torct_record_create(&heap, torct_key_slice(&keys[rank]), 1);
            records[count++] = model[rank];
        }
        insert_many(records, count);
        for (unsigned i = 0; i < count; i++)
            cr_assert_eq((torci_load(&records[i]->flags, memory_order_relaxed) & TORCI_RECORD_ORDERED) != 0,
                         !torct_record_is_frozen(records[i]));
        for (unsigned i = 0; i < refusals; i++)
            torct_record_free(&heap, refused[i]);
        for (int rank = 0; rank < KEYS; rank++)
            if (model[rank] != NULL && torci_random_one_in(&random, 6))
                model_take_out(rank);
        expect_sound();
        expect_whole_walks_as_model();
        torci_limbo_drain(limbo);
    }
    expect_all_given_back(model, KEYS);
}

Test(index_tree, replaces_frozen_records_when_many_come)
{
    struct torci_record *records[2][5];
    struct torci_batch batch;

    for (unsigned i = 0; i < 5; i++) {
        records[0][i] = numbered_create(i);
        records[1][i] = numbered_create(i);
        insert(records[0][i]);
        if (i % 2 == 0) {
            cr_assert(torct_record_freeze(records[0][i]));
        } else {
            torct_record_free(&heap, records[1][i]);
            records[1][i] = records[0][i];
        }
    }
    insert_many(records[1], 5);
    expect_sound();
    struct torci_epoch_guard guard = torci_epoch_enter();

    seek(guard, torc_slice(NULL, 0), true, false, TORCI_BATCH_MAX, &batch);
    cr_assert_eq(batch.count, 5u);
    for (unsigned i = 0; i < 5; i++)
        cr_expect_eq(batch.records[i], records[1][i]);
    torci_epoch_exit(guard);
    for (unsigned i = 1; i < 5; i += 2)
        records[1][i] = NULL;
    expect_all_given_back(&records[0][0], 10);
}

Test(index_tree, fills_its_leaves_when_many_come_in_order)
{
    enum { MANY = 1000 };
    static struct torci_record *records[MANY];

    for (unsigned i = 0; i < MANY; i++)
        records[i] = numbered_create(i);
    insert_many(records, MANY);
    expect_sound();
    uint64_t filled = torci_tree_index_leaves(&tree);

    torci_tree_index_clear_exclusive(&tree);
    for (unsigned i = 0; i < MANY; i++)
        insert(records[i]);
    cr_expect_eq(torci_tree_index_leaves(&tree), filled, "as full as one by one");
    expect_all_given_back(records, MANY);
}

/* ---- Estimates ---- */

enum { NUMBERS = 12000 };
static struct torci_record *numbered[NUMBERS];

static struct torci_index_estimate
estimate_between(unsigned from, unsigned to)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_index_estimate estimate;

    torci_tree_index_estimate(&tree, guard, torci_record_key(numbered[from]),
                              to < NUMBERS ? torci_record_key(numbered[to]) : torc_slice(NULL, 0), &estimate);
    torci_epoch_exit(guard);
    return estimate;
}

/* Numbers that the tree has got in [from, to). */
static uint64_t
numbers_between(unsigned from, unsigned to)
{
    uint64_t count = 0;

    for (unsigned i = from; i < to; i++)
        count += (torci_load(&numbered[i]->flags, memory_order_relaxed) & TORCI_RECORD_ORDERED) != 0;
    return count;
}

/* How far a single estimate may be off. A tiny tree has three times as many levels, of nodes more unequal. */
#if defined(TORC_TINY)
enum { OFF_PER_CENT = 200 };
#else
enum { OFF_PER_CENT = 35 };
#endif

/* Ranges of all sizes: each to a few leaves or within OFF_PER_CENT, and all together within 20 %. */
static void
expect_good_estimates(struct torci_random *random)
{
    enum { RANGES = 400 };
    uint64_t estimated = 0, there = 0;

    for (unsigned i = 0; i < RANGES; i++) {
        unsigned span = 1u << torci_random_below(random, 15), from = (unsigned)torci_random_below(random, NUMBERS);
        unsigned to = from + span < NUMBERS ? from + span : NUMBERS;
        struct torci_index_estimate estimate = estimate_between(from, to);
        uint64_t real = numbers_between(from, to), slack = 60 + real * OFF_PER_CENT / 100;

        cr_expect(estimate.records <= real + slack && (estimate.records + slack) >= real,
                  "%llu estimated, %llu real, %u to %u", (unsigned long long)estimate.records,
                  (unsigned long long)real, from, to);
        cr_expect_eq(estimate.bytes, estimate.records * 8, "keys of 8 bytes, no values");
        estimated += estimate.records;
        there += real;
    }
    cr_expect(estimated * 10 < there * 12 && estimated * 12 > there * 10, "all in all %llu estimated, %llu real",
              (unsigned long long)estimated, (unsigned long long)there);
}

Test(index_tree, estimates_ranges_of_random_keys)
{
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned i = 0; i < NUMBERS; i++)
        numbered[i] = numbered_create(i);
    for (unsigned i = 0; i < NUMBERS; i++)
        insert(numbered[(uint64_t)i * 17761 % NUMBERS]);
    expect_good_estimates(&random);
    expect_all_given_back(numbered, NUMBERS);
}

/* One half came in order and has full leaves, the other at random, and most of it has left. */
Test(index_tree, estimates_ranges_of_unequal_density)
{
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned i = 0; i < NUMBERS; i++)
        numbered[i] = numbered_create(i);
    for (unsigned i = 0; i < NUMBERS / 2; i++)
        insert(numbered[i]);
    for (unsigned i = 0; i < NUMBERS; i++) {
        unsigned number = (unsigned)((uint64_t)i * 17761 % NUMBERS);

        if (number >= NUMBERS / 2)
            insert(numbered[number]);
    }
    for (unsigned i = NUMBERS / 2; i < NUMBERS; i++)
        if (!torci_random_one_in(&random, 5)) {
            take_out(numbered[i]);
            torci_fetch_and(&numbered[i]->flags, ~TORCI_RECORD_ORDERED, memory_order_relaxed);
        }
    expect_sound();
    expect_good_estimates(&random);
    expect_all_given_back(numbered, NUMBERS);
}

/* As long as the tree has two levels, every leaf between the bounds is looked at. */
Test(index_tree, counts_small_trees_exactly)
{
    enum { FEW = 14, ROUNDS = 40 };
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < FEW; i++)
            numbered[i] = numbered_create(i);
        for (unsigned count = 0; count <= 2 * FEW && torci_tree_index_levels(&tree) <= 2; count++) {
            struct torci_record *record = numbered[torci_random_below(&random, FEW)];

            for (unsigned from = 0; from < FEW; from++)
                for (unsigned to = 0; to < FEW; to++)
                    cr_expect_eq(estimate_between(from, to).records, numbers_between(from, to), "%u to %u", from, to);
            if ((torci_load(&record->flags, memory_order_relaxed) & TORCI_RECORD_ORDERED) == 0)
                insert(record);
        }
        torci_tree_index_clear_exclusive(&tree);
        for (unsigned i = 0; i < FEW; i++)
            torct_record_free(&heap, numbered[i]);
    }
    expect_all_given_back(NULL, 0);
}

Test(index_tree, counts_the_bytes_of_newest_values)
{
    struct torci_version *version = torci_alloc(&heap, sizeof(*version) + 100);
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_index_estimate estimate;

    memset(version, 0, sizeof(*version));
    version->size = 100;
    numbered[0] = numbered_create(7);
    torci_init(&numbered[0]->head, version);
    insert(numbered[0]);
    torci_tree_index_estimate(&tree, guard, torc_slice(NULL, 0), torc_slice(NULL, 0), &estimate);
    cr_expect_eq(estimate.records, 1u);
    cr_expect_eq(estimate.bytes, 108u);
    torci_epoch_exit(guard);
    torci_free(&heap, version, sizeof(*version) + 100);
    expect_all_given_back(numbered, 1);
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

    for (seek(guard, torc_slice(NULL, 0), true, false, TORCI_BATCH_FIRST, &batch); batch.count > 0;
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

    seek(guard, torc_slice(NULL, 0), true, false, TORCI_BATCH_FIRST, &batch);
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

    seek(guard, torc_slice("a", 1), true, true, TORCI_BATCH_FIRST, &batch);
    cr_assert_eq(batch.count, 1u);
    cr_expect_eq(batch.records[0], records[1]);
    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
    cr_expect_eq(torci_tree_index_remove(&tree, guard, limbo, records[0]), TORC_OK);
    seek(guard, torc_slice("a", 1), true, false, TORCI_BATCH_FIRST, &batch);
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

Test(index_tree, takes_many_records_when_any_allocation_fails)
{
    enum { STEP = 50 };
    struct torci_random random = torci_random_seed(torct_seed());

    torct_keys_fill(keys, KEYS, &random);
    for (int sticky = 0; sticky < 2; sticky++) {
        for (unsigned from = 0; from < STEP; from++) {
            struct torci_record *records[KEYS / STEP];
            unsigned count = 0;
            enum torc_status status = TORC_NO_MEMORY;

            for (unsigned rank = from; rank < KEYS; rank += STEP) {
                model[rank] = torct_record_create(&heap, torct_key_slice(&keys[rank]), 1);
                records[count++] = model[rank];
            }
            for (uint64_t n = 1; status != TORC_OK; n++) {
                torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
                struct torci_epoch_guard guard = torci_epoch_enter();

                torci_alloc_fail_at(n, sticky);
                status = torci_tree_index_insert_many(&tree, guard, limbo, records, count);
                torci_alloc_fail_at(0, false);
                torci_epoch_exit(guard);
                expect_sound();
            }
        }
        expect_whole_walks_as_model();
        for (int rank = 0; rank < KEYS; rank++)
            model_take_out(rank);
    }
    expect_all_given_back(model, KEYS);
}

Test(index_tree, reports_that_it_could_not_begin)
{
    struct torci_tree_index other;

    for (uint64_t n = 1; n <= 2; n++) {
        torci_alloc_fail_at(n, false);
        cr_expect_eq(torci_tree_index_init(&other, &heap, limbo), TORC_NO_MEMORY);
        torci_alloc_fail_at(0, false);
    }
    expect_all_given_back(NULL, 0);
}
#endif

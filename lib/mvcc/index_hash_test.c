/* SPDX-License-Identifier: MIT */
#include "mvcc/index_hash.h"

#include <criterion/criterion.h>

#include "base/testing.h"
#include "mvcc/index_testing.h"

static struct torci_heap heap;
static struct torci_hash_index hash;

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    cr_assert_eq(torci_hash_index_init(&hash, &heap, 0), TORC_OK);
}

static void
destroy(void)
{
    torci_hash_index_fini(&hash);
    cr_assert_eq(torci_heap_bytes(&heap), 0u);
}

TestSuite(index_hash, .init = create, .fini = destroy, .timeout = 60);

/* An order word that spreads. */
static uint64_t
order_of_number(uint64_t number)
{
    return ((number + 1) * UINT64_C(0x9e3779b97f4a7c15)) | 1;
}

static struct torci_record *
record_of_number(uint64_t number)
{
    return torct_record_create(&heap, torc_slice(&number, sizeof(number)), order_of_number(number));
}

static struct torci_record *
find_number(struct torci_epoch_guard guard, uint64_t number)
{
    return torci_hash_index_find(&hash, guard, torc_slice(&number, sizeof(number)), order_of_number(number));
}

static void
free_taken(void *context, struct torci_record *record)
{
    unsigned *taken = context;

    (*taken)++;
    torct_record_free(&heap, record);
}

static unsigned
drain(void)
{
    unsigned taken = 0;

    torci_epoch_barrier();
    torci_hash_index_drain_exclusive(&hash, free_taken, &taken);
    return taken;
}

Test(index_hash, finds_what_was_inserted_and_nothing_else)
{
    enum { KEYS = 3000, OPERATIONS = 200000 };
    static struct torci_record *model[KEYS];
    struct torci_random random = torci_random_seed(torct_seed());
    struct torci_epoch_guard guard = torci_epoch_enter();
    unsigned present = 0;

    for (unsigned i = 0; i < OPERATIONS; i++) {
        uint64_t number = torci_random_below(&random, KEYS);

        cr_assert_eq(find_number(guard, number), model[number]);
        if (model[number] == NULL) {
            struct torci_record *existing;

            model[number] = record_of_number(number);
            cr_assert(torci_hash_index_insert(&hash, guard, model[number], &existing));
            cr_assert_null(existing);
            present++;
        } else if (torci_random_one_in(&random, 3)) {
            cr_assert(torci_hash_index_remove(&hash, guard, model[number]));
            cr_assert_not(torci_hash_index_remove(&hash, guard, model[number]), "it is out already");
            cr_assert_null(find_number(guard, number));
            torct_record_free(&heap, model[number]);
            model[number] = NULL;
            present--;
        }
        cr_assert_eq(torci_hash_index_records(&hash), present);
    }
    torci_epoch_exit(guard);
    cr_expect_eq(drain(), present);
}

Test(index_hash, refuses_a_key_already_present)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *first = record_of_number(7), *second = record_of_number(7), *existing = NULL;

    cr_assert(torci_hash_index_insert(&hash, guard, first, &existing));
    cr_assert_not(torci_hash_index_insert(&hash, guard, second, &existing));
    cr_expect_eq(existing, first);
    cr_expect_eq(torci_hash_index_records(&hash), 1u, "the loser must leave no trace");
    torct_record_free(&heap, second);
    torci_epoch_exit(guard);
    cr_expect_eq(drain(), 1u);
}

/* The extremes are the words next to the heads of the first bucket and to the end of the list. */
Test(index_hash, tells_keys_apart_whose_order_words_are_equal)
{
    static const uint64_t orders[] = {1, UINT64_C(1) << 63 | 1, UINT64_MAX};
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *existing;

    for (unsigned i = 0; i < 3; i++)
        for (unsigned char k = 0; k < 20; k++) {
            struct torc_slice key = torc_slice(&k, 1);

            cr_assert_null(torci_hash_index_find(&hash, guard, key, orders[i]));
            cr_assert(torci_hash_index_insert(&hash, guard, torct_record_create(&heap, key, orders[i]), &existing));
        }
    for (unsigned i = 0; i < 3; i++)
        for (unsigned char k = 0; k < 22; k++) {
            struct torci_record *record = torci_hash_index_find(&hash, guard, torc_slice(&k, 1), orders[i]);

            cr_assert_eq(record != NULL, k < 20);
            cr_assert(record == NULL || (record->order == orders[i] && record->key[0] == k));
        }
    torci_epoch_exit(guard);
    cr_expect_eq(drain(), 60u);
}

Test(index_hash, doubles_its_buckets_as_records_come)
{
    enum { KEYS = 100000 };
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *existing;

    for (uint64_t i = 0; i < KEYS; i++)
        cr_assert(torci_hash_index_insert(&hash, guard, record_of_number(i), &existing));
    cr_expect_geq(torci_hash_index_buckets(&hash), (uint64_t)KEYS / 2);
    cr_expect_leq(torci_hash_index_buckets(&hash), (uint64_t)KEYS * 4);
    for (uint64_t i = 0; i < KEYS; i++)
        cr_assert_not_null(find_number(guard, i));
    torci_epoch_exit(guard);
    cr_expect_eq(drain(), (unsigned)KEYS);
}

Test(index_hash, starts_with_as_many_buckets_as_keys_are_expected)
{
    struct torci_hash_index *expecting = torci_alloc_line(&heap, sizeof(*expecting));

    cr_assert_not_null(expecting);
    cr_assert_eq(torci_hash_index_init(expecting, &heap, 5000), TORC_OK);
    cr_expect_geq(torci_hash_index_buckets(expecting), 5000u);
    torci_hash_index_fini(expecting);
    torci_free_line(&heap, expecting, sizeof(*expecting));
}

Test(index_hash, takes_new_records_after_a_drain)
{
    for (unsigned round = 0; round < 3; round++) {
        struct torci_epoch_guard guard = torci_epoch_enter();
        struct torci_record *existing;

        for (uint64_t i = 0; i < 1000; i++)
            cr_assert(torci_hash_index_insert(&hash, guard, record_of_number(i), &existing));
        torci_epoch_exit(guard);
        cr_assert_eq(drain(), 1000u);
        cr_assert_eq(torci_hash_index_records(&hash), 0u);
        guard = torci_epoch_enter();
        for (uint64_t i = 0; i < 1000; i++)
            cr_assert_null(find_number(guard, i));
        torci_epoch_exit(guard);
    }
}

#if defined(TORC_FAULTS)
Test(index_hash, goes_on_without_memory_for_more_buckets)
{
    enum { KEYS = 1000 };
    static struct torci_record *records[KEYS];
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *existing;
    uint64_t buckets = torci_hash_index_buckets(&hash);

    for (uint64_t i = 0; i < KEYS; i++)
        records[i] = record_of_number(i);
    torci_alloc_fail_at(1, true);
    for (uint64_t i = 0; i < KEYS; i++)
        cr_assert(torci_hash_index_insert(&hash, guard, records[i], &existing));
    for (uint64_t i = 0; i < KEYS; i++)
        cr_assert_eq(find_number(guard, i), records[i]);
    cr_expect_gt(torci_alloc_fail_at(0, false), 0u, "it must have tried");
    cr_expect_eq(torci_hash_index_buckets(&hash), buckets);
    torci_epoch_exit(guard);
    cr_expect_eq(drain(), (unsigned)KEYS);
}

Test(index_hash, reports_that_it_could_not_begin)
{
    struct torci_hash_index *other = torci_alloc_line(&heap, sizeof(*other));

    cr_assert_not_null(other);
    torci_alloc_fail_at(1, false);
    cr_expect_eq(torci_hash_index_init(other, &heap, 0), TORC_NO_MEMORY);
    torci_alloc_fail_at(0, false);
    torci_free_line(&heap, other, sizeof(*other));
}
#endif

/* ---- Races: the same keys at the same time, so that all meet in every gap and in every new bucket ---- */

enum { RACERS = 8, RACE_KEYS = 2000 };
static _Atomic(uint64_t) inserted, removed;

static void
insert_and_remove_every_key(void *context, unsigned number)
{
    struct torci_limbo *limbo = ((struct torci_limbo **)context)[number];

    for (uint64_t key = 0; key < RACE_KEYS; key++) {
        struct torci_record *ours = record_of_number(key), *existing;

        torct_limbo_reserve(limbo, 1);
        struct torci_epoch_guard guard = torci_epoch_enter();

        if (torci_hash_index_insert(&hash, guard, ours, &existing))
            torci_fetch_add(&inserted, 1, memory_order_relaxed);    /* Counter: read after join. */
        else
            torct_record_free(&heap, ours);
        /* Every third key goes again, by whoever gets hold of it. */
        struct torci_record *seen = find_number(guard, key / 3 * 3);

        if (seen != NULL && torci_hash_index_remove(&hash, guard, seen)) {
            torci_fetch_add(&removed, 1, memory_order_relaxed);     /* Likewise. */
            torci_limbo_add(limbo, seen, torct_record_size(sizeof(key)), TORCI_RETIRED_RECORD);
        }
        torci_epoch_exit(guard);
    }
}

/* Oracle: conservation. What was inserted was removed or is still there, each once. */
Test(index_hash, lets_exactly_one_racer_win_each_insert_and_each_removal)
{
    struct torci_limbo *limbos[RACERS];
    unsigned left;

    for (unsigned i = 0; i < RACERS; i++)
        limbos[i] = torct_limbo_create(&heap);
    torct_race(RACERS, insert_and_remove_every_key, limbos);
    cr_expect_geq(inserted, (uint64_t)RACE_KEYS);
    cr_expect_gt(removed, 0u);
    for (unsigned i = 0; i < RACERS; i++)
        torci_limbo_flush(limbos[i]);
    left = drain();
    cr_expect_eq(left, inserted - removed);
    for (unsigned i = 0; i < RACERS; i++)
        torci_limbo_destroy(limbos[i]);
}

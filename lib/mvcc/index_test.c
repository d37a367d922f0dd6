/* SPDX-License-Identifier: MIT */
#include "mvcc/index.h"

#include <criterion/criterion.h>

#include "base/testing.h"
#include "mvcc/index_testing.h"

static struct torci_heap heap;
static struct torci_limbo *limbo;
static struct torci_index *tested;

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    limbo = torct_limbo_create(&heap);
    tested = torci_index_create(&heap, limbo, 0, 42);
    cr_assert_not_null(tested);
}

static void
free_taken(void *context, struct torci_record *record)
{
    unsigned *taken = context;

    (*taken)++;
    torct_record_free(&heap, record);
}

/* Drain and destroy all; returns the number of records that were still there. */
static unsigned
expect_all_given_back(struct torci_limbo **others, unsigned count)
{
    unsigned taken = 0;

    torci_index_drain(tested, free_taken, &taken);
    torci_index_destroy(tested);
    torci_limbo_flush(limbo);
    for (unsigned i = 0; i < count; i++)
        torci_limbo_flush(others[i]);
    torci_epoch_barrier();
    torci_limbo_destroy(limbo);
    for (unsigned i = 0; i < count; i++)
        torci_limbo_destroy(others[i]);
    cr_assert_eq(torci_heap_bytes(&heap), 0u);
    return taken;
}

TestSuite(index, .init = create, .timeout = 200);

static struct torci_record *
record_create(struct torc_slice key)
{
    return torct_record_create(&heap, key, torci_index_order_word(tested, key));
}

static struct torci_record *
find(struct torci_epoch_guard guard, struct torc_slice key)
{
    return torci_index_find(tested, guard, key, torci_index_order_word(tested, key));
}

Test(index, finds_by_hash_at_once_and_in_order_when_asked)
{
    struct torc_slice key = torc_slice_from_string("key");
    struct torci_record *record = record_create(key), *existing;
    struct torci_index_stats stats;
    struct torci_batch batch;
    enum torc_status status;

    torct_limbo_reserve(limbo, 3 * TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_null(find(guard, key));
    cr_assert_eq(torci_index_insert(tested, guard, limbo, record, &existing), TORC_OK);
    cr_expect_eq(find(guard, key), record);
    torci_index_seek(tested, guard, key, true, false, &batch);
    cr_expect_eq(batch.count, 0u);

    cr_assert_eq(torci_index_order(tested, guard, limbo, record), TORC_OK);
    cr_assert_eq(torci_index_order(tested, guard, limbo, record), TORC_OK, "again: nothing happens");
    for (int descending = 0; descending < 2; descending++) {
        torci_index_seek(tested, guard, key, true, descending, &batch);
        cr_assert_eq(batch.count, 1u);
        cr_expect_eq(batch.records[0], record);
        torci_index_seek(tested, guard, key, false, descending, &batch);
        cr_expect_eq(batch.count, 0u);
        cr_expect(batch.end);
        torci_index_next(tested, guard, descending, &batch);
        cr_expect_eq(batch.count, 0u);
    }
    torci_index_stats(tested, &stats);
    cr_expect_eq(stats.records, 1u);
    cr_expect_eq(stats.leaves, 1u);
    cr_expect_eq(stats.tree_levels, 1u);

    cr_assert(torct_record_freeze(record));
    cr_expect(torci_index_remove(tested, guard, limbo, record, &status));
    cr_expect_eq(status, TORC_OK);
    cr_expect_not(torci_index_remove(tested, guard, limbo, record, &status), "for one caller only");
    cr_expect_eq(status, TORC_OK);
    cr_expect_null(find(guard, key));
    torci_index_seek(tested, guard, key, true, false, &batch);
    cr_expect_eq(batch.count, 0u);
    torci_epoch_exit(guard);
    torct_record_free(&heap, record);
    cr_expect_eq(expect_all_given_back(NULL, 0), 0u);
}

Test(index, removes_a_record_that_was_never_ordered)
{
    struct torc_slice key = torc_slice_from_string("key");
    struct torci_record *record = record_create(key), *existing;
    enum torc_status status;

    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(torci_index_insert(tested, guard, limbo, record, &existing), TORC_OK);
    cr_assert(torct_record_freeze(record));
    cr_expect(torci_index_remove(tested, guard, limbo, record, &status));
    torci_epoch_exit(guard);
    torct_record_free(&heap, record);
    cr_expect_eq(expect_all_given_back(NULL, 0), 0u);
}

Test(index, refuses_a_key_already_present_even_if_frozen)
{
    struct torc_slice key = torc_slice_from_string("key");
    struct torci_record *first = record_create(key), *second = record_create(key), *existing;

    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(torci_index_insert(tested, guard, limbo, first, &existing), TORC_OK);
    cr_assert(torct_record_freeze(first));
    cr_assert_eq(torci_index_insert(tested, guard, limbo, second, &existing), TORC_EXISTS);
    cr_expect_eq(existing, first);
    cr_expect_eq(find(guard, key), first);
    torci_epoch_exit(guard);
    torct_record_free(&heap, second);
    cr_expect_eq(expect_all_given_back(NULL, 0), 1u);
}

Test(index, hands_over_every_record_when_drained)
{
    enum { RECORDS = 2000 };
    struct torci_batch batch;

    for (unsigned round = 0; round < 2; round++) {
        unsigned taken = 0;
        struct torci_epoch_guard guard = torci_epoch_enter();

        for (uint64_t i = 0; i < RECORDS; i++) {
            struct torci_record *record = record_create(torc_slice(&i, sizeof(i))), *existing;

            torct_limbo_reserve(limbo, 2 * TORCI_INDEX_RETIRES_MAX);
            cr_assert_eq(torci_index_insert(tested, guard, limbo, record, &existing), TORC_OK);
            if (i % 3 != 0)
                cr_assert_eq(torci_index_order(tested, guard, limbo, record), TORC_OK);
            if (i % 5 == 0)
                cr_assert(torct_record_freeze(record));
        }
        torci_epoch_exit(guard);
        torci_index_drain(tested, free_taken, &taken);
        cr_assert_eq(taken, (unsigned)RECORDS);
        guard = torci_epoch_enter();
        torci_index_seek(tested, guard, torc_slice(NULL, 0), true, false, &batch);
        cr_assert_eq(batch.count, 0u);
        torci_epoch_exit(guard);
    }
    cr_expect_eq(expect_all_given_back(NULL, 0), 0u);
}

Test(index, orders_many_and_estimates_them)
{
    enum { RECORDS = 40 };
    struct torci_record *records[RECORDS], *existing;
    struct torci_index_estimate estimate;
    struct torci_batch batch;
    unsigned seen = 0;

    torct_limbo_reserve(limbo, 2 * TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    for (unsigned char i = 0; i < RECORDS; i++) {
        records[i] = record_create(torc_slice(&i, 1));
        torci_index_prefetch(tested, records[i]->order);
        cr_assert_eq(torci_index_insert(tested, guard, limbo, records[i], &existing), TORC_OK);
    }
    cr_assert_eq(torci_index_order_many(tested, guard, limbo, records, RECORDS), TORC_OK);
    for (torci_index_seek(tested, guard, torc_slice(NULL, 0), true, false, &batch); batch.count > 0;
         torci_index_next(tested, guard, false, &batch))
        for (unsigned i = 0; i < batch.count; i++)
            cr_assert_eq(batch.records[i], records[seen++]);
    cr_expect_eq(seen, (unsigned)RECORDS);
    torci_index_estimate(tested, guard, torci_record_key(records[3]), torci_record_key(records[5]), &estimate);
    cr_expect_eq(estimate.records, 2u);
    cr_expect_eq(estimate.bytes, 2u);
    torci_epoch_exit(guard);
    cr_expect_eq(expect_all_given_back(NULL, 0), (uint64_t)RECORDS);
}

#if defined(TORC_FAULTS)
/* Out of the tree first: what could not be done for want of memory must not have taken the record out of the hash
 * index, or nobody would be told that it is out. */
Test(index, removes_a_record_once_however_often_memory_was_missing)
{
    struct torci_record *record = record_create(torc_slice_from_string("key")), *existing;
    enum torc_status status = TORC_NO_MEMORY;
    bool out = false;

    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(torci_index_insert(tested, guard, limbo, record, &existing), TORC_OK);
    cr_assert_eq(torci_index_order(tested, guard, limbo, record), TORC_OK);
    cr_assert(torct_record_freeze(record));
    for (uint64_t n = 1; status != TORC_OK; n++) {
        cr_assert_not(out);
        torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
        torci_alloc_fail_at(n, true);
        out = torci_index_remove(tested, guard, limbo, record, &status);
        torci_alloc_fail_at(0, false);
    }
    cr_expect(out, "nobody was told that it is out");
    cr_expect_not(torci_index_remove(tested, guard, limbo, record, &status), "told twice");
    cr_expect_eq(status, TORC_OK);
    torci_epoch_exit(guard);
    torct_record_free(&heap, record);
    cr_expect_eq(expect_all_given_back(NULL, 0), 0u);
}

Test(index, reports_that_it_could_not_begin)
{
    for (uint64_t n = 1;; n++) {
        struct torci_index *index;

        torci_alloc_fail_at(n, false);
        index = torci_index_create(&heap, limbo, 0, 1);
        torci_alloc_fail_at(0, false);
        if (index != NULL) {
            cr_expect_gt(n, 1u);
            torci_index_destroy(index);
            break;
        }
    }
    cr_expect_eq(expect_all_given_back(NULL, 0), 0u);
}
#endif

/* ---- Races ---- */

#if defined(TORC_ATOMIC_NOISE)
enum { RACERS = 8, RACE_KEYS = 300, CHURN_KEYS = 120, CHURN_ROUNDS = 1500 };
#else
enum { RACERS = 8, RACE_KEYS = 5000, CHURN_KEYS = 600, CHURN_ROUNDS = 30000 };
#endif

static struct torct_key race_keys[RACE_KEYS > CHURN_KEYS ? RACE_KEYS : CHURN_KEYS];
static struct torci_limbo *limbos[RACERS];
static struct torci_random randoms[RACERS];
static _Atomic(uint64_t) inserted, removed;        /* Counters: read after join. */

static void
prepare_race(unsigned key_count)
{
    struct torci_random random = torci_random_seed(torct_seed());

    torct_keys_fill(race_keys, key_count, &random);
    for (unsigned i = 0; i < RACERS; i++) {
        limbos[i] = torct_limbo_create(&heap);
        randoms[i] = torci_random_split(&random);
    }
}

/* Insert and order race_keys[i], unless it is there. */
static void
put_key(unsigned i, struct torci_limbo *own)
{
    struct torci_record *ours = record_create(torct_key_slice(&race_keys[i])), *existing;

    torct_limbo_reserve(own, TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    if (torci_index_insert(tested, guard, own, ours, &existing) == TORC_OK) {
        torci_fetch_add(&inserted, 1, memory_order_relaxed);
        cr_assert_eq(torci_index_order(tested, guard, own, ours), TORC_OK);
    } else {
        torct_record_free(&heap, ours);
        cr_assert_eq(torci_index_order(tested, guard, own, existing), TORC_OK);
    }
    torci_epoch_exit(guard);
}

/* Freeze race_keys[i]'s record, if there is one, and take it out; helping others who do so. */
static void
remove_key(unsigned i, struct torci_limbo *own)
{
    enum torc_status status;

    torct_limbo_reserve(own, TORCI_INDEX_RETIRES_MAX + 1);
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *record = find(guard, torct_key_slice(&race_keys[i]));

    if (record != NULL) {
        (void)torct_record_freeze(record);
        if (torci_index_remove(tested, guard, own, record, &status)) {
            torci_fetch_add(&removed, 1, memory_order_relaxed);
            torct_limbo_reserve(own, 1);
            torci_limbo_add(own, record, torct_record_size(record->key_size), TORCI_RETIRED_RECORD);
        }
        cr_assert_eq(status, TORC_OK);
    }
    torci_epoch_exit(guard);
}

static void
put_every_key(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < RACE_KEYS; i++)
        put_key((i * 211 + number % 2) % RACE_KEYS, limbos[number]);
}

/* Every thread inserts the same keys at the same time. Each is won once, and all are in both indexes. */
Test(index, lets_exactly_one_racer_win_each_key)
{
    struct torci_batch batch;
    unsigned seen = 0;

    prepare_race(RACE_KEYS);
    torct_race(RACERS, put_every_key, NULL);
    cr_expect_eq(inserted, (uint64_t)RACE_KEYS);
    struct torci_epoch_guard guard = torci_epoch_enter();

    for (torci_index_seek(tested, guard, torc_slice(NULL, 0), true, false, &batch); batch.count > 0;
         torci_index_next(tested, guard, false, &batch))
        for (unsigned i = 0; i < batch.count; i++, seen++) {
            cr_assert_eq(torci_key_compare(torci_record_key(batch.records[i]), torct_key_slice(&race_keys[seen])), 0);
            cr_assert_eq(find(guard, torct_key_slice(&race_keys[seen])), batch.records[i]);
        }
    cr_expect_eq(seen, (unsigned)RACE_KEYS);
    torci_epoch_exit(guard);
    cr_expect_eq(expect_all_given_back(limbos, RACERS), (unsigned)RACE_KEYS);
}

/* A whole walk: strictly sorted, and every key that is never removed is met. Those are the multiples of 10. */
static void
expect_sound_walk(bool descending)
{
    int step = descending ? -10 : 10, permanent = descending ? (CHURN_KEYS - 1) / 10 * 10 : 0;
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *last = NULL;
    struct torci_batch batch;

    for (torci_index_seek(tested, guard, torc_slice(NULL, 0), true, descending, &batch); batch.count > 0;
         torci_index_next(tested, guard, descending, &batch))
        for (unsigned i = 0; i < batch.count; i++) {
            struct torc_slice key = torci_record_key(batch.records[i]);
            int order = last == NULL ? 1 : torci_key_compare(key, torci_record_key(last));

            cr_assert(last == NULL || (descending ? order < 0 : order > 0), "out of order");
            last = batch.records[i];
            if (permanent >= 0 && permanent < CHURN_KEYS &&
                torci_key_compare(key, torct_key_slice(&race_keys[permanent])) == 0)
                permanent += step;
        }
    cr_assert(permanent < 0 || permanent >= CHURN_KEYS, "key %d of %d was not met", permanent, CHURN_KEYS);
    torci_epoch_exit(guard);
}

static void
churn(void *context, unsigned number)
{
    (void)context;
    struct torci_random *random = &randoms[number];

    for (unsigned i = 0; i < CHURN_ROUNDS; i++) {
        /* Neighbouring keys, so that leaves become empty. */
        unsigned at = (unsigned)torci_random_below(random, CHURN_KEYS);
        unsigned count = 1 + (unsigned)torci_random_below(random, 12);
        bool removes = torci_random_one_in(random, 2);

        for (unsigned k = at; k < at + count && k < CHURN_KEYS; k++)
            if (k % 10 != 0 && removes)
                remove_key(k, limbos[number]);
            else if (k % 10 != 0)
                put_key(k, limbos[number]);
        if (i % 8 == number % 8)
            expect_sound_walk(torci_random_one_in(random, 2));
    }
}

Test(index, keeps_order_and_permanent_keys_while_others_come_and_go)
{
    prepare_race(CHURN_KEYS);
    for (unsigned i = 0; i < CHURN_KEYS; i += 10)
        put_key(i, limbo);
    torct_race(RACERS, churn, NULL);
    expect_sound_walk(false);
    expect_sound_walk(true);
    for (unsigned i = 0; i < CHURN_KEYS; i++)
        remove_key(i, limbo);
    cr_expect_eq(inserted, removed);
    cr_expect_eq(expect_all_given_back(limbos, RACERS), 0u);
}

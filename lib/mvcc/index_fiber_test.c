/* SPDX-License-Identifier: MIT */
/* Every interleaving the scheduler can draw, on an index so small that all rare paths lie next to each other. */
#include <criterion/criterion.h>

#include "mvcc/index_world_testing.h"

TestSuite(index_fiber, .timeout = 280);

Test(index_fiber, keeps_every_key_once_while_keys_come_and_go)
{
    struct world world = {.puts = 7, .removes = 7};
    struct torci_run run = run_of(&world, 100000);

    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed);
}

Test(index_fiber, meets_permanent_keys_in_every_walk)
{
    struct world world = {.puts = 5, .removes = 5, .quiet_keys = true};
    struct torci_run run = run_of(&world, 60000);

    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed);
}

/* ---- A walk that ends in the range of a leaf that has just died ---- */

enum { LEAF_KEYS = 11 };

/* Ends as [a0 a1] [abw abx aby] [abz5] [c1 ...]: the keys of the second leaf begin with "ab", and its words leave
 * that out. */
static const char *const leaf_keys[LEAF_KEYS] = {"a0", "abw", "abx", "aby", "abz5", "c1", "c2", "c3", "c4", "c0", "a1"};

struct dying {
    struct torci_heap heap;
    struct pool *pool;                  /* As in struct world. */
    struct torci_index *index;
    struct torci_limbo *limbos[2];
    _Atomic(int) put;                   /* abz7 is in. */
};

static struct torci_record *
dying_find(struct dying *dying, struct torci_epoch_guard guard, const char *key)
{
    struct torc_slice slice = torc_slice_from_string(key);

    return torci_index_find(dying->index, guard, slice, torci_index_order_word(dying->index, slice));
}

static void
dying_remove(struct dying *dying, struct torci_limbo *limbo, const char *key)
{
    enum torc_status status;

    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX + 1);
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *record = dying_find(dying, guard, key);

    (void)torct_record_freeze(record);
    if (!torci_index_remove(dying->index, guard, limbo, record, &status))
        torci_fail_here("not removed");
    torct_limbo_reserve(limbo, 1);
    torci_limbo_add(limbo, record, torct_record_size(record->key_size), TORCI_RETIRED_RECORD);
    torci_epoch_exit(guard);
}

static void
dying_put(struct dying *dying, struct torci_limbo *limbo, const char *key)
{
    struct torc_slice slice = torc_slice_from_string(key);
    struct torci_record *record =
        torct_record_create(&dying->heap, slice, torci_index_order_word(dying->index, slice)), *existing;

    torct_limbo_reserve(limbo, 2 * TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    if (torci_index_insert(dying->index, guard, limbo, record, &existing) != TORC_OK ||
        torci_index_order(dying->index, guard, limbo, record) != TORC_OK)
        torci_fail_here("not inserted");
    torci_epoch_exit(guard);
}

static void
dying_setup(void *context)
{
    struct dying *dying = context;
    struct torc_allocator allocator = {pool_allocate, pool_release, dying->pool};

    torci_init(&dying->put, 0);
    if (dying->pool != NULL)
        dying->pool->used = 0;
    torci_heap_init(&dying->heap, dying->pool != NULL ? &allocator : NULL, 0);
    for (unsigned i = 0; i < 2; i++)
        dying->limbos[i] = torct_limbo_create(&dying->heap);
    dying->index = torci_index_create(&dying->heap, dying->limbos[0], 0, torci_fiber_random());
    for (unsigned i = 0; i < LEAF_KEYS; i++)
        dying_put(dying, dying->limbos[0], leaf_keys[i]);
    dying_remove(dying, dying->limbos[0], "c0");
}

/* One takes the only record of [abz5] out, the other looks for the last key up to "b". */
static void
dying_body(void *context, unsigned number)
{
    struct dying *dying = context;
    struct torci_batch batch;

    if (number == 0) {
        dying_remove(dying, dying->limbos[0], "abz5");
        return;
    }
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_index_seek(dying->index, guard, torc_slice_from_string("b"), true, true, &batch);
    if (batch.records[0] != dying_find(dying, guard, "aby") &&
        torci_key_compare(torci_record_key(batch.records[0]), torc_slice_from_string("abz5")) != 0)
        torci_fail_here("a key before the last one");
    torci_epoch_exit(guard);
}

/* One takes the only record of [abz5] out; one puts abz7, into that range; one has met abz5 and goes on from there by
 * its bookmark, after the put if it sees that it is done. */
static void
dying_body_put(void *context, unsigned number)
{
    struct dying *dying = context;
    struct torci_batch batch = {.wanted = 1};

    if (number == 0) {
        dying_remove(dying, dying->limbos[0], "abz5");
        return;
    }
    if (number == 1) {
        dying_put(dying, dying->limbos[1], "abz7");
        torci_store(&dying->put, 1, memory_order_seq_cst);
        return;
    }
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_index_seek_on(dying->index, guard, torc_slice_from_string("abz5"), true, false, &batch);
    torci_epoch_exit(guard);

    bool put = torci_load(&dying->put, memory_order_seq_cst) == 1;

    guard = torci_epoch_enter();
    batch.wanted = 1;
    torci_index_seek_on(dying->index, guard, torc_slice_from_string("abz5"), false, false, &batch);
    if (put && torci_key_compare(torci_record_key(batch.records[0]), torc_slice_from_string("abz7")) != 0)
        torci_fail_here("the bookmark led past a key");
    torci_epoch_exit(guard);
}

static bool
dying_holds(void *context)
{
    (void)context;
    return true;
}

static void
dying_teardown(void *context)
{
    struct dying *dying = context;

    if (dying->pool != NULL)
        return;
    torci_index_drain(dying->index, free_taken, &dying->heap);
    torci_index_destroy(dying->index);
    for (unsigned i = 0; i < 2; i++)
        torci_limbo_flush(dying->limbos[i]);
    torci_epoch_barrier();
    for (unsigned i = 0; i < 2; i++)
        torci_limbo_destroy(dying->limbos[i]);
    if (torci_heap_bytes(&dying->heap) != 0)
        torci_fail_here("memory is lost");
}

Test(index_fiber, finds_the_last_key_before_a_dying_leaf)
{
    struct dying dying = {.pool = NULL};
    struct torci_run run = {.fibers = 2,
                            .setup = dying_setup,
                            .body = dying_body,
                            .check = dying_holds,
                            .teardown = dying_teardown,
                            .context = &dying,
                            .seed = torct_seed(),
                            .schedules = 5000};

    cr_assert_not(torci_fiber_run(&run).failed);
}

Test(index_fiber, goes_on_from_a_dying_leaf_without_missing_a_key)
{
    static struct pool pool;
    struct dying dying = {.pool = &pool};
    struct torci_run run = {.fibers = 3,
                            .setup = dying_setup,
                            .body = dying_body_put,
                            .check = dying_holds,
                            .teardown = dying_teardown,
                            .context = &dying,
                            .seed = torct_seed(),
                            .schedules = 200};

    /* Above all the remover that stands still between killing the leaf and counting it. */
    cr_assert_not(torci_fiber_run_frozen(&run).failed);
}

/* Freeze each fiber at each of its points: the others must finish. */
Test(index_fiber, goes_on_whoever_stops_wherever)
{
    static struct pool pool;
    struct world world = {.pool = &pool, .puts = 7, .removes = 7};
    struct torci_run run = run_of(&world, 20);

    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_log_info("%llu schedules, %llu frozen, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.frozen, (unsigned long long)result.steps);
    cr_assert_not(result.failed);
}

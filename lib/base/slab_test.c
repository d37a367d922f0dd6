/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <signal.h>

#include "base/assert.h"
#include "base/epoch.h"
#include "base/random.h"
#include "base/slab.h"
#include "base/testing.h"

enum { MANY = 4000 };

static struct torci_heap heap;
static struct torci_slab_pool pool;
static struct torci_slab slab;
static struct torci_slab other;
static void *objects[MANY];

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    torci_slab_pool_init(&pool, &heap, NULL);
    torci_slab_init(&slab, &pool);
    torci_slab_init(&other, &pool);
}

static void
destroy(void)
{
    torci_slab_fini(&slab);
    torci_slab_fini(&other);
    torci_epoch_barrier();
    torci_slab_pool_fini(&pool);
    cr_assert_eq(torci_heap_bytes(&heap), UINT64_C(0), "every byte must come back");
}

TestSuite(slab, .init = create, .fini = destroy, .timeout = 60);

/* What an object of `size` with this number holds. */
static unsigned char
mark_of(unsigned number, size_t size)
{
    return (unsigned char)(number * 31u + size);
}

static void *
make(struct torci_slab *from, unsigned number, size_t size)
{
    void *object = torci_slab_alloc(from, size);

    cr_assert_not_null(object);
    cr_assert_eq((uintptr_t)object % 8, (uintptr_t)0);
    memset(object, mark_of(number, size), size);
    return object;
}

static void
unmake(void *object, unsigned number, size_t size)
{
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(((unsigned char *)object)[i], mark_of(number, size), "byte %zu of %zu was overwritten", i, size);
    torci_slab_free(&pool, object, size);
}

static void
make_many(struct torci_slab *from, unsigned count, size_t size)
{
    for (unsigned i = 0; i < count; i++)
        objects[i] = make(from, i, size);
}

static void
unmake_many(unsigned count, size_t size)
{
    for (unsigned i = 0; i < count; i++)
        unmake(objects[i], i, size);
}

Test(slab, gives_objects_of_every_size_that_do_not_overlap)
{
    enum { SIZES = TORCI_SLAB_BYTES_MAX + 16, EACH = 3 };
    static void *made[SIZES + 1][EACH];

    for (unsigned round = 0; round < EACH; round++)
        for (size_t size = 1; size <= SIZES; size++) {
            made[size][round] = make(&slab, round, size);
            if (size % 16 == 0)
                cr_assert_eq((uintptr_t)made[size][round] % 16, (uintptr_t)0);
        }
    for (size_t size = 1; size <= SIZES; size++)
        for (unsigned round = 0; round < EACH; round++)
            unmake(made[size][round], round, size);
}

Test(slab, ignores_null)
{
    torci_slab_free(&pool, NULL, 8);
    torci_slab_free(&pool, NULL, TORCI_SLAB_BYTES_MAX + 1);
}

Test(slab, takes_what_is_large_from_the_heap)
{
    void *large = make(&slab, 1, TORCI_SLAB_BYTES_MAX + 1);

    cr_expect_eq(torci_heap_bytes(&heap), (uint64_t)TORCI_SLAB_BYTES_MAX + 1);
    unmake(large, 1, TORCI_SLAB_BYTES_MAX + 1);
    cr_expect_eq(torci_heap_bytes(&heap), UINT64_C(0));
}

Test(slab, takes_little_for_the_first_objects)
{
    make_many(&slab, 3, 48);
    cr_expect_leq(torci_heap_bytes(&heap), UINT64_C(100) * 1024);
    unmake_many(3, 48);
}

Test(slab, packs_objects_without_a_header_each)
{
    size_t size = TORCI_SLAB_BYTES_MAX / 8;

    make_many(&slab, MANY, size);
    cr_expect_leq(torci_heap_bytes(&heap), (uint64_t)MANY * size * 3 / 2 + 100 * 1024);
    unmake_many(MANY, size);
}

Test(slab, grows_in_proportion_to_what_it_holds)
{
    uint64_t before = 0;

    for (unsigned i = 0; i < MANY; i++) {
        uint64_t now = torci_heap_bytes(&heap);

        cr_assert_leq(now, before + before / 4 + 100 * 1024, "object %u", i);
        before = now;
        objects[i] = make(&slab, i, TORCI_SLAB_BYTES_MAX);
    }
    unmake_many(MANY, TORCI_SLAB_BYTES_MAX);
}

Test(slab, uses_again_what_was_freed)
{
    uint64_t held;

    make_many(&slab, MANY, 40);
    held = torci_heap_bytes(&heap);
    for (unsigned round = 0; round < 5; round++) {
        unmake_many(MANY / 2, 40);
        make_many(&slab, MANY / 2, 40);
    }
    cr_expect_eq(torci_heap_bytes(&heap), held);
    unmake_many(MANY, 40);
}

Test(slab, uses_pages_again_for_other_sizes)
{
    uint64_t held;

    make_many(&slab, MANY, 40);
    held = torci_heap_bytes(&heap);
    unmake_many(MANY, 40);
    torci_slab_fini(&slab);
    torci_slab_trim(&pool);
    torci_epoch_barrier();
    make_many(&slab, MANY / 4, 80);
    cr_expect_leq(torci_heap_bytes(&heap), held);
    unmake_many(MANY / 4, 80);
}

/* Without a trim: too little is idle for that. */
Test(slab, takes_empty_pages_of_other_sizes_before_it_grows)
{
    static void *larger[MANY];
    uint64_t held;

    make_many(&slab, MANY, 40);
    for (unsigned i = 0; i < MANY; i++)
        larger[i] = make(&slab, i, 80);
    unmake_many(MANY, 40);
    held = torci_heap_bytes(&heap);
    make_many(&other, MANY / 5, 160);
    cr_expect_leq(torci_heap_bytes(&heap), held);
    unmake_many(MANY / 5, 160);
    for (unsigned i = 0; i < MANY; i++)
        unmake(larger[i], i, 80);
}

/* What one owner's objects leave free serves all, whether that owner comes by again or not. */
Test(slab, lets_every_owner_use_what_was_freed)
{
    uint64_t held;

    make_many(&slab, MANY, 48);
    held = torci_heap_bytes(&heap);
    for (unsigned i = 0; i < MANY; i += 2)
        unmake(objects[i], i, 48);
    for (unsigned i = 0; i < MANY / 2; i += 2)
        objects[i] = make(&other, i, 48);
    cr_expect_eq(torci_heap_bytes(&heap), held);
    unmake_many(MANY / 2, 48);
    for (unsigned i = MANY / 2 + 1; i < MANY; i += 2)
        unmake(objects[i], i, 48);
}

Test(slab, can_be_used_after_fini)
{
    make_many(&slab, 10, 24);
    torci_slab_fini(&slab);
    torci_slab_fini(&slab);
    unmake_many(10, 24);
    make_many(&slab, 10, 24);
    unmake_many(10, 24);
}

Test(slab, lets_go_of_empty_pages_for_every_size)
{
    enum { LAST = TORCI_SLAB_BYTES_MAX };
    unsigned sizes = 0;

    /* A page for each size, until the region is used up. */
    do {
        objects[sizes] = make(&slab, sizes, 8 + 8 * sizes);
        sizes++;
    } while (torci_slab_has_room(&other, LAST));
    unmake(objects[0], 0, 8);
    cr_expect_not(torci_slab_has_room(&other, LAST), "the page is held");
    torci_slab_fini(&slab);
    cr_expect(torci_slab_has_room(&other, LAST));
    while (--sizes > 0)
        unmake(objects[sizes], sizes, 8 + 8 * sizes);
}

Test(slab, knows_whether_it_has_room)
{
    uint64_t held;

    cr_expect_not(torci_slab_has_room(&slab, 64), "there is no memory yet");
    void *object = make(&slab, 0, 64);

    held = torci_heap_bytes(&heap);
    cr_expect(torci_slab_has_room(&slab, 64));
    cr_expect(torci_slab_has_room(&slab, 128), "there are pages never used");
    cr_expect_not(torci_slab_has_room(&slab, TORCI_SLAB_BYTES_MAX + 1));
    for (objects[0] = NULL; torci_slab_has_room(&slab, 64);) {
        void **link = torci_slab_alloc(&slab, 64);

        cr_assert_not_null(link);
        *link = objects[0];
        objects[0] = link;
        cr_assert_eq(torci_heap_bytes(&heap), held);
    }
    void *one_more = make(&slab, 1, 64);

    cr_expect_gt(torci_heap_bytes(&heap), held);
    unmake(one_more, 1, 64);
    unmake(object, 0, 64);
    while (objects[0] != NULL) {
        void *next = *(void **)objects[0];

        torci_slab_free(&pool, objects[0], 64);
        objects[0] = next;
    }
    cr_expect(torci_slab_has_room(&other, 64), "freed objects are room for every owner");
}

Test(slab, can_end_without_a_trim)
{
    make_many(&slab, MANY, TORCI_SLAB_BYTES_MAX);
    uint64_t held = torci_heap_bytes(&heap);

    torci_slab_pool_ending(&pool);
    unmake_many(MANY, TORCI_SLAB_BYTES_MAX);
    torci_epoch_barrier();
    cr_expect_eq(torci_heap_bytes(&heap), held);
    cr_expect_eq(torci_slab_trim(&pool), (size_t)0);
}

/* ---- Memory that goes back ---- */

Test(slab_trim, gives_back_what_is_idle, .init = create, .fini = destroy, .timeout = 60)
{
    make_many(&slab, MANY, 64);
    uint64_t held = torci_heap_bytes(&heap);

    unmake_many(MANY, 64);
    torci_slab_fini(&slab);
    torci_slab_trim(&pool);
    torci_epoch_barrier();
    cr_expect_lt(torci_heap_bytes(&heap), held / 4);
}

Test(slab_trim, keeps_regions_that_hold_an_object, .init = create, .fini = destroy, .timeout = 60)
{
    enum { KEPT = 500 };

    make_many(&slab, MANY, 64);
    uint64_t held = torci_heap_bytes(&heap);

    for (unsigned i = 0; i < MANY; i++)
        if (i % KEPT != 0)
            unmake(objects[i], i, 64);
    torci_slab_trim(&pool);
    torci_epoch_barrier();
    cr_expect_leq(torci_heap_bytes(&heap), held);
    for (unsigned i = 0; i < MANY; i += KEPT)
        unmake(objects[i], i, 64);
}

Test(slab_trim, waits_for_a_poll_if_there_is_no_thread_for_it, .timeout = 60)
{
    struct torci_reclaimer reclaimer;

    torci_reclaimer_init(&reclaimer);
    torci_heap_init(&heap, NULL, 0);
    torci_slab_pool_init(&pool, &heap, &reclaimer);
    torci_slab_init(&slab, &pool);
    void *object = make(&slab, 0, 8);

    unmake(object, 0, 8);
    torci_slab_fini(&slab);
    cr_expect_eq(torci_slab_trim(&pool), (size_t)1);
    cr_expect_gt(torci_heap_bytes(&heap), UINT64_C(0));
    cr_expect_geq(torci_reclaimer_bytes(&reclaimer), (uint64_t)TORCI_SLAB_PAGE_BYTES);
    cr_expect_eq(torci_reclaimer_poll(&reclaimer), UINT64_C(0));
    cr_expect_eq(torci_heap_bytes(&heap), UINT64_C(0));
    torci_slab_pool_fini(&pool);
}

Test(slab_trim, of_an_empty_pool_gives_nothing_back, .init = create, .fini = destroy, .timeout = 60)
{
    cr_expect_eq(torci_slab_trim(&pool), (size_t)0);
    void *object = make(&slab, 0, 8);

    cr_expect_eq(torci_slab_trim(&pool), (size_t)0);
    unmake(object, 0, 8);
}

Test(slab_trim, takes_a_region_that_is_not_used_up_yet, .init = create, .fini = destroy, .timeout = 60)
{
    void *object = make(&slab, 0, 8);

    unmake(object, 0, 8);
    torci_slab_fini(&slab);
    cr_expect_eq(torci_slab_trim(&pool), (size_t)1);
    torci_epoch_barrier();
    cr_expect_eq(torci_heap_bytes(&heap), UINT64_C(0));
    object = make(&slab, 0, 8);
    unmake(object, 0, 8);
}

/* Sizes large enough for more pages than a trim is worth. */
Test(slab_trim, happens_when_most_memory_is_idle, .init = create, .fini = destroy, .timeout = 60)
{
    for (unsigned round = 0; round < 3; round++) {
        make_many(&slab, MANY, TORCI_SLAB_BYTES_MAX);
        uint64_t held = torci_heap_bytes(&heap);

        unmake_many(MANY, TORCI_SLAB_BYTES_MAX);
        torci_epoch_barrier();
        if (MANY * (size_t)TORCI_SLAB_BYTES_MAX > 512 * TORCI_SLAB_PAGE_BYTES)
            cr_expect_leq(torci_heap_bytes(&heap), held * 3 / 4);
    }
}

/* ---- Limits and failures ---- */

Test(slab_limits, regions_stay_small_beside_a_limit, .timeout = 60)
{
    enum { LIMIT = 4 * 1024 * 1024, KEPT = 20 };    /* One object in so many: one at least in a region. */
    static void *made[3 * LIMIT / TORCI_SLAB_BYTES_MAX];
    unsigned count = 0;

    torci_heap_init(&heap, NULL, LIMIT);
    torci_slab_pool_init(&pool, &heap, NULL);
    torci_slab_init(&slab, &pool);
    while (!torci_heap_full(&heap, 1))
        made[count++] = make(&slab, 0, TORCI_SLAB_BYTES_MAX);
    cr_expect_leq(torci_heap_bytes(&heap), (uint64_t)LIMIT + LIMIT / 32);
    torci_slab_free(&pool, made[--count], TORCI_SLAB_BYTES_MAX);
    cr_expect(torci_slab_has_room(&slab, TORCI_SLAB_BYTES_MAX), "in place of what was freed");
    while (torci_heap_bytes(&heap) <= (uint64_t)LIMIT + LIMIT / 16)
        made[count++] = make(&slab, 0, TORCI_SLAB_BYTES_MAX);
    torci_slab_free(&pool, made[--count], TORCI_SLAB_BYTES_MAX);
    cr_expect_not(torci_slab_has_room(&slab, TORCI_SLAB_BYTES_MAX), "not so far past the limit");
    for (unsigned i = 0; i < count; i++)
        if (i % KEPT != 0)
            unmake(made[i], 0, TORCI_SLAB_BYTES_MAX);
    torci_slab_trim(&pool);
    torci_epoch_barrier();
    cr_expect_gt(torci_heap_bytes(&heap), (uint64_t)LIMIT + LIMIT / 32, "regions that hold an object stay");
    cr_expect(torci_slab_has_room(&slab, TORCI_SLAB_BYTES_MAX), "in pages without an object");
    for (unsigned i = 0; i < count; i += KEPT)
        unmake(made[i], 0, TORCI_SLAB_BYTES_MAX);
    torci_slab_fini(&slab);
    torci_epoch_barrier();
    torci_slab_pool_fini(&pool);
    cr_expect_eq(torci_heap_bytes(&heap), UINT64_C(0));
}

Test(slab_limits, honours_the_callers_allocator, .timeout = 60)
{
    struct torct_ledger ledger;
    struct torc_allocator allocator = torct_ledger_allocator(&ledger);

    torct_ledger_init(&ledger);
    torci_heap_init(&heap, &allocator, 0);
    torci_slab_pool_init(&pool, &heap, NULL);
    torci_slab_init(&slab, &pool);
    make_many(&slab, MANY, 72);
    unmake_many(MANY, 72);
    torci_slab_fini(&slab);
    torci_epoch_barrier();
    torci_slab_pool_fini(&pool);
    cr_expect(torct_ledger_balanced(&ledger));
}

Test(slab_limits, tells_that_there_is_no_memory, .timeout = 60)
{
    struct torct_ledger ledger;
    struct torc_allocator allocator = torct_ledger_allocator(&ledger);
    unsigned count = 0;

    torct_ledger_init(&ledger);
    torci_heap_init(&heap, &allocator, 0);
    torci_slab_pool_init(&pool, &heap, NULL);
    torci_slab_init(&slab, &pool);
    /* A region takes two allocations: each of them is refused once. */
    for (uint64_t refused = 1; refused <= 2; refused++) {
        torct_ledger_init(&ledger);
        atomic_store_explicit(&ledger.refuse_from, refused, memory_order_relaxed);
        cr_expect_null(torci_slab_alloc(&slab, 64));
        cr_expect_eq(torci_heap_bytes(&heap), UINT64_C(0));
    }
    torct_ledger_init(&ledger);
    objects[count] = make(&slab, count, TORCI_SLAB_BYTES_MAX);
    count++;
    atomic_store_explicit(&ledger.refuse_from, 1, memory_order_relaxed);
    while (count < MANY && (objects[count] = torci_slab_alloc(&slab, TORCI_SLAB_BYTES_MAX)) != NULL) {
        memset(objects[count], mark_of(count, TORCI_SLAB_BYTES_MAX), TORCI_SLAB_BYTES_MAX);
        count++;
    }
    cr_expect_lt(count, (unsigned)MANY);
    cr_expect_null(torci_slab_alloc(&slab, TORCI_SLAB_BYTES_MAX), "and again");
    count--;
    unmake(objects[count], count, TORCI_SLAB_BYTES_MAX);
    atomic_store_explicit(&ledger.refuse_from, 0, memory_order_relaxed);
    objects[count] = make(&slab, count, TORCI_SLAB_BYTES_MAX);
    count++;
    unmake_many(count, TORCI_SLAB_BYTES_MAX);
    torci_slab_fini(&slab);
    torci_epoch_barrier();
    torci_slab_pool_fini(&pool);
    cr_expect(torct_ledger_balanced(&ledger));
}

#if defined(TORC_FAULTS)
Test(slab, counts_each_object_as_an_allocation)
{
    void *warm = make(&slab, 0, 32);

    (void)torci_alloc_fail_at(3, false);
    for (unsigned n = 1; n <= 4; n++) {
        void *object = torci_slab_alloc(&slab, 32);

        cr_expect_eq(object == NULL, n == 3, "allocation %u", n);
        torci_slab_free(&pool, object, 32);
    }
    cr_expect_eq(torci_alloc_fail_at(0, false), UINT64_C(4));
    unmake(warm, 0, 32);
}
#endif

#if defined(TORC_ASSERTIONS)
TestSuite(slab_asserts, .init = create, .timeout = 60);

Test(slab_asserts, stop_at_a_second_free, .signal = SIGABRT)
{
    void *object = make(&slab, 0, 32);

    torci_slab_free(&pool, object, 32);
    for (unsigned i = 0; i <= TORCI_SLAB_PAGE_BYTES; i++)
        torci_slab_free(&pool, object, 32);
}

Test(slab_asserts, stop_at_a_wrong_size, .signal = SIGABRT)
{
    torci_slab_free(&pool, make(&slab, 0, 32), 40);
}

Test(slab_asserts, stop_at_an_object_that_was_not_freed, .signal = SIGABRT)
{
    (void)make(&slab, 0, 32);
    torci_slab_fini(&slab);
    torci_slab_pool_fini(&pool);
}

#if defined(TORC_FAULTS)
Test(slab_asserts, stop_at_a_write_after_free, .signal = SIGABRT)
{
    unsigned char *object = make(&slab, 0, 32);

    (void)make(&slab, 1, 32);   /* Keeps the page. */
    torci_slab_free(&pool, object, 32);
    object[31] = 0;
    torci_slab_fini(&slab);
    for (unsigned i = 0; i < TORCI_SLAB_PAGE_BYTES; i++)
        (void)make(&slab, i, 32);
}
#endif
#endif

/* ---- Threads ---- */

enum { THREADS = 4, CELLS = 64, STEPS = 6000 };

struct value {
    size_t size;
    uint64_t check;
    unsigned char more[];
};

static _Atomic(struct value *) cells[CELLS];
static struct torci_slab slabs[THREADS];

static void
unmake_value(struct value *value)
{
    if (value == NULL)
        return;
    cr_assert_eq(value->check, ~(uint64_t)value->size, "two objects share memory");
    for (size_t i = 0; i < value->size - sizeof(*value); i++)
        cr_assert_eq(value->more[i], (unsigned char)value->size, "two objects share memory");
    torci_slab_free(&pool, value, value->size);
}

/* Objects go through the cells from thread to thread, so most are freed by another than who made them. */
static void
exchange(void *context, unsigned number)
{
    struct torci_random random = torci_random_seed(*(uint64_t *)context + number);

    for (unsigned i = 0; i < STEPS; i++) {
        size_t size = sizeof(struct value) + torci_random_below(&random, 4) * 40;
        struct value *value = torci_slab_alloc(&slabs[number], size);

        cr_assert_not_null(value);
        value->size = size;
        value->check = ~(uint64_t)size;
        memset(value->more, (int)size, size - sizeof(*value));
        unmake_value(torci_exchange(&cells[torci_random_below(&random, CELLS)], value, memory_order_acq_rel));
        if (i % 512 == 0)
            torci_slab_trim(&pool);
        if (i % 1000 == 0)
            torci_slab_fini(&slabs[number]);
    }
}

Test(slab_race, passes_objects_from_thread_to_thread, .init = create, .fini = destroy, .timeout = 120)
{
    uint64_t seed = torct_seed();

    for (unsigned i = 0; i < THREADS; i++)
        torci_slab_init(&slabs[i], &pool);
    torct_race(THREADS, exchange, &seed);
    for (unsigned i = 0; i < CELLS; i++)
        unmake_value(atomic_exchange_explicit(&cells[i], NULL, memory_order_relaxed));  /* After the join. */
    for (unsigned i = 0; i < THREADS; i++)
        torci_slab_fini(&slabs[i]);
}

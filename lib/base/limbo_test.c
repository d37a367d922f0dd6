/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <pthread.h>

#include "base/atomic.h"
#include "base/limbo.h"
#include "base/testing.h"

enum { KINDS = 3 };

/* What free_fn has been given. Read when nothing can be freed at that moment. */
struct ledger {
    pthread_mutex_t mutex;      /* Owner and reclaiming thread free at once. */
    size_t objects;
    uint64_t bytes;
    uint64_t sum;               /* Of the objects' values. */
    size_t of_kind[KINDS];
    uint32_t freed_by;          /* The thread that freed the last one, by its index. */
};

/* Who waits for grace periods: limbo_polled_test.c compiles this file for a reclaimer that callers drive. */
#if defined(TORCT_LIMBO_POLLED)
static struct torci_reclaimer polled;
static struct torci_reclaimer *const reclaimer = &polled;
#else
static struct torci_reclaimer *const reclaimer = NULL;
#endif

static struct torci_heap heap;
static struct torci_limbo *limbo;
static struct ledger freed;

static void
free_object(void *context, void *object, size_t size, unsigned kind)
{
    struct ledger *ledger = context;

    (void)pthread_mutex_lock(&ledger->mutex);
    ledger->objects++;
    ledger->bytes += size;
    ledger->sum += *(uint64_t *)object;
    ledger->of_kind[kind]++;
    ledger->freed_by = torci_self()->index;
    (void)pthread_mutex_unlock(&ledger->mutex);
    torci_free(&heap, object, size);
}

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    freed = (struct ledger){.mutex = PTHREAD_MUTEX_INITIALIZER};
    if (reclaimer != NULL)
        torci_reclaimer_init(reclaimer);
    limbo = torci_limbo_create(&heap, reclaimer, free_object, &freed);
    cr_assert_not_null(limbo);
}

static void
destroy(void)
{
    torci_reclaimer_barrier(reclaimer);
    torci_limbo_destroy(limbo);
    cr_assert_eq(torci_heap_bytes(&heap), UINT64_C(0), "every byte must come back");
}

TestSuite(limbo, .init = create, .fini = destroy, .timeout = 60);

static void
add(uint64_t value, size_t size, unsigned kind)
{
    uint64_t *object = torci_alloc(&heap, size);

    cr_assert_not_null(object);
    *object = value;
    torci_limbo_add(limbo, object, size, kind);
}

Test(limbo, has_no_room_before_a_reserve)
{
    cr_expect_eq(torci_limbo_room(limbo), (size_t)0);
    cr_expect_eq(torci_limbo_drain(limbo), (size_t)0);
    torci_limbo_flush(limbo);
}

Test(limbo, reserves_at_least_what_was_asked)
{
    for (size_t count = 0; count < 300; count += 7) {
        cr_assert_eq(torci_limbo_reserve(limbo, count), TORC_OK);
        cr_expect_geq(torci_limbo_room(limbo), count);
    }
}

Test(limbo, each_add_takes_one_of_the_room)
{
    cr_assert_eq(torci_limbo_reserve(limbo, 100), TORC_OK);
    for (size_t i = 0; i < 100; i++) {
        size_t room = torci_limbo_room(limbo);

        add(i, 16, 0);
        cr_expect_eq(torci_limbo_room(limbo), room - 1);
    }
}

Test(limbo, frees_nothing_while_a_section_is_open)
{
    struct torci_epoch_guard guard = torci_epoch_enter();

    for (size_t i = 0; i < 200; i++) {
        cr_assert_eq(torci_limbo_reserve(limbo, 1), TORC_OK);
        add(i, 16, 0);
    }
    torci_limbo_flush(limbo);
    cr_expect_eq(torci_limbo_drain(limbo), (size_t)0);
    cr_expect_eq(freed.objects, (size_t)0);
    cr_expect_eq(torci_limbo_bytes(limbo), UINT64_C(200) * 16);
    torci_epoch_exit(guard);
}

Test(limbo, frees_each_object_once_with_its_size_and_kind)
{
    enum { OBJECTS = 1000 };
    uint64_t bytes = 0, sum = 0;

    for (uint64_t i = 0; i < OBJECTS; i++) {
        size_t size = 16 + 8 * (i % 5);

        cr_assert_eq(torci_limbo_reserve(limbo, 1), TORC_OK);
        add(i, size, (unsigned)(i % KINDS));
        bytes += size;
        sum += i;
        cr_expect_eq(torci_limbo_bytes(limbo), bytes - freed.bytes);
    }
    torci_limbo_flush(limbo);
    torci_reclaimer_barrier(reclaimer);
    torci_limbo_drain(limbo);
    cr_expect_eq(freed.objects, (size_t)OBJECTS);
    cr_expect_eq(freed.bytes, bytes);
    cr_expect_eq(freed.sum, sum);
    cr_expect_eq(freed.of_kind[1], (size_t)(OBJECTS + 1) / KINDS);
    cr_expect_eq(torci_limbo_bytes(limbo), UINT64_C(0));
}

Test(limbo, frees_an_open_bag_when_it_is_destroyed)
{
    struct ledger ledger = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct torci_limbo *other = torci_limbo_create(&heap, reclaimer, free_object, &ledger);
    uint64_t *object = torci_alloc(&heap, 24);

    cr_assert_not_null(other);
    cr_assert_not_null(object);
    *object = 7;
    cr_assert_eq(torci_limbo_reserve(other, 5), TORC_OK);
    torci_limbo_add(other, object, 24, 2);
    torci_reclaimer_barrier(reclaimer);
    torci_limbo_destroy(other);
    cr_expect_eq(ledger.objects, (size_t)1);
    cr_expect_eq(ledger.of_kind[2], (size_t)1);
}

Test(limbo, ignores_the_destruction_of_null)
{
    torci_limbo_destroy(NULL);
}

Test(limbo, flushing_loses_the_rest_of_the_open_bag_only)
{
    cr_assert_eq(torci_limbo_reserve(limbo, 50), TORC_OK);
    add(1, 16, 0);
    torci_limbo_flush(limbo);
    torci_limbo_flush(limbo);
    cr_assert_eq(torci_limbo_reserve(limbo, 50), TORC_OK);
    cr_expect_geq(torci_limbo_room(limbo), (size_t)50);
}

Test(limbo, has_the_room_it_says_after_a_flush)
{
    for (unsigned round = 0; round < 20; round++) {
        cr_assert_eq(torci_limbo_reserve(limbo, 10), TORC_OK);
        add(round, 16, 0);
        torci_limbo_flush(limbo);
        for (size_t room = torci_limbo_room(limbo); room > 0; room--)
            add(room, 16, 0);
        cr_expect_eq(torci_limbo_room(limbo), (size_t)0);
    }
}

/* Frees, and retires one more object until none is left: as freeing a record retires its last version. */
struct chain {
    struct torci_limbo *limbo;
    unsigned left;
    unsigned freed;
};

static void
free_and_add(void *context, void *object, size_t size, unsigned kind)
{
    struct chain *chain = context;

    torci_free(&heap, object, size);
    chain->freed++;
    if (chain->left == 0)
        return;

    void *next = torci_alloc(&heap, size);
    cr_assert_not_null(next);
    chain->left--;
    torci_limbo_add(chain->limbo, next, size, kind);
}

Test(limbo, lets_free_fn_add_to_the_same_limbo)
{
    struct chain chain = {.left = 100};
    struct torci_limbo *other = torci_limbo_create(&heap, reclaimer, free_and_add, &chain);

    cr_assert_not_null(other);
    chain.limbo = other;
    cr_assert_eq(torci_limbo_reserve(other, 200), TORC_OK);
    torci_limbo_add(other, torci_alloc(&heap, 16), 16, 0);
    while (chain.freed <= 100) {
        torci_limbo_flush(other);
        torci_reclaimer_barrier(reclaimer);
        torci_limbo_drain(other);
        cr_assert_eq(torci_limbo_reserve(other, 8), TORC_OK);
    }
    cr_expect_eq(chain.freed, 101u);
    torci_limbo_destroy(other);
}

/* ---- Idle owners ---------------------------------------------------------------------------------------------- */

enum {
    FEW_BYTES = 16,
    MANY_BYTES = 64 * 1024,     /* In every build. */
    BIG_BAG_ROOM = 10,          /* With so much room in a fresh limbo, the bag that opens first has room for several. */
};

Test(limbo, settling_closes_no_bag_of_few_bytes)
{
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(1, FEW_BYTES, 0);
    size_t room = torci_limbo_room(limbo);

    torci_limbo_settle(limbo);
    torci_limbo_settle(limbo);
    cr_expect_eq(torci_limbo_room(limbo), room, "the bag is still open");
    torci_reclaimer_barrier(reclaimer);
    cr_expect_eq(torci_limbo_drain(limbo), (size_t)0);
    cr_expect_eq(freed.objects, (size_t)0);
}

Test(limbo, settling_with_nothing_open_does_nothing)
{
    torci_limbo_settle(limbo);
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    size_t room = torci_limbo_room(limbo);

    torci_limbo_settle(limbo);
    cr_expect_eq(torci_limbo_room(limbo), room);
}

Test(limbo, frees_a_settled_bag_of_many_bytes_without_its_owner)
{
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(1, FEW_BYTES, 0);
    add(2, MANY_BYTES, 1);
    torci_limbo_settle(limbo);
    torci_reclaimer_barrier(reclaimer);
    cr_expect_eq(freed.objects, (size_t)2);
    cr_expect_eq(freed.sum, UINT64_C(3));
    cr_expect_eq(freed.freed_by == torci_self()->index, reclaimer != NULL, "by who waited for the grace period");
    cr_expect_eq(torci_limbo_bytes(limbo), UINT64_C(0));
    cr_expect_eq(torci_limbo_drain(limbo), (size_t)0, "nothing is left for the owner");
}

Test(limbo, counts_the_bytes_of_each_bag_anew)
{
    for (unsigned round = 0; round < 20; round++) {
        cr_assert_eq(torci_limbo_reserve(limbo, 1), TORC_OK);
        add(round, MANY_BYTES - FEW_BYTES, 0);
        torci_limbo_flush(limbo);
        torci_reclaimer_barrier(reclaimer);
        torci_limbo_drain(limbo);
        cr_expect_eq(torci_limbo_bytes(limbo), UINT64_C(0));
    }
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(1, FEW_BYTES, 0);
    torci_limbo_settle(limbo);
    torci_reclaimer_barrier(reclaimer);
    torci_limbo_drain(limbo);
    cr_expect_leq(torci_limbo_bytes(limbo), (uint64_t)FEW_BYTES);
    cr_expect_geq(freed.objects, (size_t)20);
}

Test(limbo, has_the_room_it_says_after_settling)
{
    for (unsigned round = 0; round < 20; round++) {
        cr_assert_eq(torci_limbo_reserve(limbo, 10), TORC_OK);
        add(round, round % 2 ? MANY_BYTES : FEW_BYTES, 0);
        torci_limbo_settle(limbo);
        for (size_t room = torci_limbo_room(limbo); room > 0; room--)
            add(room, FEW_BYTES, 0);
        cr_expect_eq(torci_limbo_room(limbo), (size_t)0);
    }
}

/* By a thread of its own, which ends. */
static void
relieve(void *context, unsigned number)
{
    (void)number;
    *(size_t *)context = torci_limbo_relieve(limbo);
}

static size_t
relieve_elsewhere(void)
{
    size_t count = 0;

    torct_race(1, relieve, &count);
    return count;
}

Test(limbo, another_thread_frees_what_is_ready)
{
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    for (uint64_t i = 0; i < 5; i++)
        add(i, FEW_BYTES, 0);
    torci_limbo_flush(limbo);
    torci_reclaimer_barrier(reclaimer);
    cr_expect_eq(freed.objects, (size_t)0, "it waits for its owner");
    cr_expect_eq(torci_limbo_bytes(limbo), UINT64_C(5) * FEW_BYTES);

    cr_expect_eq(relieve_elsewhere(), (size_t)5);
    cr_expect_eq(freed.objects, (size_t)5);
    cr_expect_eq(freed.sum, UINT64_C(10));
    cr_expect_neq(freed.freed_by, torci_self()->index);
    cr_expect_eq(torci_limbo_bytes(limbo), UINT64_C(0));
    cr_expect_eq(relieve_elsewhere(), (size_t)0);
    cr_expect_eq(torci_limbo_drain(limbo), (size_t)0);
}

Test(limbo, another_thread_leaves_alone_what_is_open_or_has_readers)
{
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(1, FEW_BYTES, 0);
    torci_limbo_flush(limbo);
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(2, FEW_BYTES, 0);
    cr_expect_eq(relieve_elsewhere(), (size_t)0);
    cr_expect_eq(torci_limbo_bytes(limbo), UINT64_C(2) * FEW_BYTES);
    torci_epoch_exit(guard);
}

/* Oracle: bytes added less bytes freed, whoever freed them. */
Test(limbo, says_how_many_bytes_are_left_whoever_freed_the_others)
{
    uint64_t bytes = 0;

    for (uint64_t i = 0; i < 300; i++) {
        size_t size = i % 7 == 0 ? MANY_BYTES : 16 + 8 * (i % 5);

        cr_assert_eq(torci_limbo_reserve(limbo, 1), TORC_OK);
        add(i, size, 0);
        bytes += size;
        torci_limbo_settle(limbo);
        if (i % 3 != 0)
            continue;
        if (i % 2 == 0)
            torci_limbo_flush(limbo);
        torci_reclaimer_barrier(reclaimer);
        if (i % 4 < 2)
            (void)relieve_elsewhere();
        else
            torci_limbo_drain(limbo);
        cr_expect_eq(torci_limbo_bytes(limbo), bytes - freed.bytes, "after object %u", (unsigned)i);
    }
    torci_limbo_flush(limbo);
    torci_reclaimer_barrier(reclaimer);
    (void)relieve_elsewhere();
    cr_expect_eq(freed.objects, (size_t)300);
    cr_expect_eq(torci_limbo_bytes(limbo), UINT64_C(0));
}

Test(limbo, can_be_destroyed_after_others_freed_for_it)
{
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(1, MANY_BYTES, 0);
    torci_limbo_settle(limbo);
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(2, FEW_BYTES, 0);
    torci_limbo_flush(limbo);
    torci_reclaimer_barrier(reclaimer);
    cr_expect_eq(relieve_elsewhere(), (size_t)1);
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(3, FEW_BYTES, 0);
    torci_limbo_flush(limbo);
    cr_assert_eq(torci_limbo_reserve(limbo, BIG_BAG_ROOM), TORC_OK);
    add(4, FEW_BYTES, 0);
}

#if defined(TORC_FAULTS)
Test(limbo, reports_no_memory_and_keeps_its_room)
{
    cr_assert_eq(torci_limbo_reserve(limbo, 3), TORC_OK);
    size_t room = torci_limbo_room(limbo);

    for (uint64_t n = 1; n <= 3; n++) {
        (void)torci_alloc_fail_at(n, true);
        cr_expect_eq(torci_limbo_reserve(limbo, 10000), TORC_NO_MEMORY);
        cr_expect_geq(torci_limbo_room(limbo), room);
        (void)torci_alloc_fail_at(1, true);
        cr_expect_null(torci_limbo_create(&heap, reclaimer, free_object, &freed));
        (void)torci_alloc_fail_at(0, false);
    }
    cr_expect_eq(torci_limbo_reserve(limbo, 100), TORC_OK);
}
#endif

/* ---- Many owners, shared cells -------------------------------------------------------------------------------- */

enum { RACERS = 6, CELLS = 8, ROUNDS = 3000 };

struct cell_value {
    uint64_t a;
    uint64_t b;                 /* Always ~a: a freed or torn value shows. */
};

static _Atomic(struct cell_value *) cells[CELLS];
static _Atomic(uint64_t) replaced;
static _Atomic(uint64_t) freed_by_owners;

static void
free_value(void *context, void *object, size_t size, unsigned kind)
{
    struct cell_value *value = object;

    (void)context;
    cr_assert_eq(kind, 1u);
    cr_assert_eq(value->b, ~value->a);
    value->b = value->a;
    torci_free(&heap, value, size);
    torci_fetch_add(&freed_by_owners, 1, memory_order_relaxed);     /* Counter: read after the join. */
}

static void
replace_and_read(void *context, unsigned number)
{
    struct torci_limbo *own = torci_limbo_create(&heap, reclaimer, free_value, NULL);
    uint64_t state = number + 1;

    (void)context;
    cr_assert_not_null(own);
    for (unsigned i = 0; i < ROUNDS; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        _Atomic(struct cell_value *) *cell = &cells[(state >> 33) % CELLS];
        struct torci_epoch_guard guard;

        cr_assert_eq(torci_limbo_reserve(own, 1), TORC_OK);
        guard = torci_epoch_enter();
        struct cell_value *seen = torci_load(cell, memory_order_acquire);
        if (seen != NULL)
            cr_assert_eq(seen->b, ~seen->a);
        if (i % 4 == 0) {
            struct cell_value *mine = torci_alloc(&heap, sizeof(*mine));

            mine->a = state;
            mine->b = ~state;
            seen = torci_exchange(cell, mine, memory_order_acq_rel);
            if (seen != NULL) {
                torci_limbo_add(own, seen, sizeof(*seen), 1);
                torci_fetch_add(&replaced, 1, memory_order_relaxed);
            }
        }
        torci_epoch_exit(guard);
    }
    torci_reclaimer_barrier(reclaimer);
    torci_limbo_destroy(own);
}

/* Oracle: values that check themselves, and conservation: freed = replaced. */
Test(limbo, frees_what_readers_have_left_and_nothing_else)
{
    torct_race(RACERS, replace_and_read, NULL);
    cr_expect_eq(torci_load(&freed_by_owners, memory_order_relaxed), torci_load(&replaced, memory_order_relaxed));
    for (unsigned i = 0; i < CELLS; i++)
        torci_free(&heap, torci_load(&cells[i], memory_order_relaxed), sizeof(struct cell_value));
}

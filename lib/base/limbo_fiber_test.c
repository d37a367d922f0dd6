/* SPDX-License-Identifier: MIT */
/* Limbos of several owners under the deterministic scheduler: readers never see freed memory, every object is freed
 * once, and a frozen owner or reader stops nobody. */
#include <criterion/criterion.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/fiber.h"
#include "base/limbo.h"
#include "base/testing.h"

TestSuite(limbo_schedules, .timeout = 60);

enum { FIBERS = 3, CELLS = 2, ROUNDS = 4, KIND = 5 };

struct value {
    uint64_t value;
    uint64_t check;             /* ~value while it lives. */
};

struct fixture {
    _Alignas(TORCI_CACHE_LINE) struct torci_heap heap;
    _Atomic(struct value *) cells[CELLS];
    struct torci_reclaimer reclaimer;
    struct torci_limbo *limbos[FIBERS];
    _Atomic(unsigned) created;          /* Relaxed counters. */
    _Atomic(unsigned) freed;
};

static struct fixture fixture;
static bool polled;                     /* Whether callers drive the grace periods. */

static void
destroy_value(struct value *value)
{
    if (value->check != ~value->value)
        torci_fail_here("freed twice");
    value->check = value->value;
    torci_fetch_add(&fixture.freed, 1, memory_order_relaxed);
    torci_free(&fixture.heap, value, sizeof(*value));
}

static void
free_value(void *context, void *object, size_t size, unsigned kind)
{
    if (context != &fixture || size != sizeof(struct value) || kind != KIND)
        torci_fail_here("not what was added");
    destroy_value(object);
}

static struct value *
create_value(uint64_t number)
{
    struct value *value = torci_alloc(&fixture.heap, sizeof(*value));

    *value = (struct value){number, ~number};
    torci_fetch_add(&fixture.created, 1, memory_order_relaxed);
    return value;
}

static void
create(void *context)
{
    (void)context;
    torci_heap_init(&fixture.heap, NULL, 0);
    torci_init(&fixture.created, 0);
    torci_init(&fixture.freed, 0);
    for (unsigned i = 0; i < CELLS; i++)
        torci_init(&fixture.cells[i], create_value(i));
    torci_reclaimer_init(&fixture.reclaimer);
    for (unsigned i = 0; i < FIBERS; i++)
        fixture.limbos[i] = torci_limbo_create(&fixture.heap, polled ? &fixture.reclaimer : NULL, free_value, &fixture);
}

static void
replace_and_read(void *context, unsigned number)
{
    struct torci_limbo *limbo = fixture.limbos[number];

    (void)context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        _Atomic(struct value *) *cell = &fixture.cells[torci_fiber_random() % CELLS];

        if (torci_limbo_reserve(limbo, 1) != TORC_OK)
            torci_fail_here("no room");
        struct torci_epoch_guard guard = torci_epoch_enter();
        struct value *seen = torci_load(cell, memory_order_acquire);
        struct value *old = torci_exchange(cell, create_value(i), memory_order_acq_rel);

        torci_limbo_add(limbo, old, sizeof(*old), KIND);
        torci_race_window();
        if (seen->check != ~seen->value)
            torci_fail_here("a reader holds freed memory");
        torci_epoch_exit(guard);
        if (polled && torci_fiber_random() % 2 == 0)
            (void)torci_reclaimer_poll(&fixture.reclaimer);
    }
    torci_limbo_flush(limbo);
}

/* Exact if nobody was frozen; a frozen fiber may hold one value that is in no limbo yet. */
static bool
everything_is_accounted_for(void *context)
{
    unsigned frozen = 0;

    (void)context;
    torci_reclaimer_barrier(polled ? &fixture.reclaimer : NULL);
    for (unsigned i = 0; i < FIBERS; i++) {
        frozen += torci_fiber_is_frozen(i);
        if (!torci_fiber_is_frozen(i)) {
            torci_limbo_drain(fixture.limbos[i]);
            if (torci_limbo_bytes(fixture.limbos[i]) != 0)
                return false;
        }
    }
    unsigned left = torci_load(&fixture.created, memory_order_relaxed)
                  - torci_load(&fixture.freed, memory_order_relaxed);

    return frozen == 0 ? left == CELLS : left >= CELLS;
}

static void
destroy(void *context)
{
    (void)context;
    torci_reclaimer_barrier(polled ? &fixture.reclaimer : NULL);
    for (unsigned i = 0; i < FIBERS; i++)
        if (!torci_fiber_is_frozen(i))
            torci_limbo_destroy(fixture.limbos[i]);
    for (unsigned i = 0; i < CELLS; i++)
        destroy_value(torci_load(&fixture.cells[i], memory_order_relaxed));
}

static struct torci_run
limbo_run(uint64_t schedules)
{
    return (struct torci_run){.fibers = FIBERS, .setup = create, .body = replace_and_read,
                              .check = everything_is_accounted_for, .teardown = destroy, .seed = torct_seed(),
                              .schedules = schedules};
}

Test(limbo_schedules, free_each_object_once_and_none_too_early)
{
    struct torci_run run = limbo_run(2000);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_eq(torci_heap_bytes(&fixture.heap), UINT64_C(0));
}

Test(limbo_schedules, free_each_object_once_when_callers_poll)
{
    struct torci_run run = limbo_run(2000);

    polled = true;
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_eq(torci_heap_bytes(&fixture.heap), UINT64_C(0));
}

Test(limbo_schedules, let_others_finish_when_one_is_frozen)
{
    struct torci_run run = limbo_run(3);
    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_gt(result.frozen, UINT64_C(100));
}

/* ---- An owner and those who relieve it ------------------------------------------------------------------------- */

enum { OWNER = 0, ADDS = 8, RELIEFS = 3 };

/* In one bag with any other value it is too much to wait for its owner. */
struct big_value {
    struct value value;
    unsigned char more[256];
};

static struct fixture idle;
static bool big[ADDS];                  /* Drawn by the owner. */

static void
free_either(void *context, void *object, size_t size, unsigned kind)
{
    struct value *value = object;

    if (context != &idle || kind != KIND || value->check != ~value->value || value->value >= ADDS)
        torci_fail_here("freed twice, or not what was added");
    if (size != (big[value->value] ? sizeof(struct big_value) : sizeof(struct value)))
        torci_fail_here("not the size that was added");
    value->check = value->value;
    torci_fetch_add(&idle.freed, 1, memory_order_relaxed);
    torci_free(&idle.heap, object, size);
}

static void
create_idle(void *context)
{
    (void)context;
    torci_heap_init(&idle.heap, NULL, 0);
    torci_init(&idle.created, 0);
    torci_init(&idle.freed, 0);
    torci_reclaimer_init(&idle.reclaimer);
    idle.limbos[OWNER] = torci_limbo_create(&idle.heap, polled ? &idle.reclaimer : NULL, free_either, &idle);
}

static void
retire_and_go_idle(struct torci_limbo *limbo)
{
    for (unsigned i = 0; i < ADDS; i++) {
        big[i] = torci_fiber_random() % 4 == 0;
        size_t size = big[i] ? sizeof(struct big_value) : sizeof(struct value);
        struct value *value = torci_alloc(&idle.heap, size);

        *value = (struct value){i, ~(uint64_t)i};
        if (torci_limbo_reserve(limbo, 1) != TORC_OK)
            torci_fail_here("no room");
        torci_limbo_add(limbo, value, size, KIND);
        torci_fetch_add(&idle.created, 1, memory_order_relaxed);
        torci_limbo_settle(limbo);
        if (torci_fiber_random() % 4 == 0)
            torci_limbo_flush(limbo);
        if (torci_fiber_random() % 4 == 0)
            torci_limbo_drain(limbo);
    }
    torci_limbo_flush(limbo);
}

static void
retire_or_relieve(void *context, unsigned number)
{
    (void)context;
    if (number == OWNER) {
        retire_and_go_idle(idle.limbos[OWNER]);
        return;
    }
    for (unsigned i = 0; i < RELIEFS; i++) {
        (void)torci_reclaimer_poll(polled ? &idle.reclaimer : NULL);
        torci_limbo_relieve(idle.limbos[OWNER]);
        torci_race_window();
    }
}

/* The owner does nothing any more: what is left is for others to free. A frozen one may hold bags. */
static bool
nothing_is_left(void *context)
{
    (void)context;
    torci_reclaimer_barrier(polled ? &idle.reclaimer : NULL);
    torci_limbo_relieve(idle.limbos[OWNER]);
    for (unsigned i = 0; i < FIBERS; i++)
        if (torci_fiber_is_frozen(i))
            return torci_load(&idle.freed, memory_order_relaxed) <= ADDS;
    return torci_load(&idle.created, memory_order_relaxed) == ADDS
        && torci_load(&idle.freed, memory_order_relaxed) == ADDS && torci_limbo_bytes(idle.limbos[OWNER]) == 0;
}

static void
destroy_idle(void *context)
{
    (void)context;
    for (unsigned i = 0; i < FIBERS; i++)
        if (torci_fiber_is_frozen(i))
            return;
    torci_limbo_destroy(idle.limbos[OWNER]);
}

static struct torci_run
relief_run(uint64_t schedules)
{
    return (struct torci_run){.fibers = FIBERS, .setup = create_idle, .body = retire_or_relieve,
                              .check = nothing_is_left, .teardown = destroy_idle, .seed = torct_seed(),
                              .schedules = schedules};
}

Test(limbo_schedules, free_each_object_once_whoever_relieves_the_owner)
{
    struct torci_run run = relief_run(2000);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_eq(torci_heap_bytes(&idle.heap), UINT64_C(0));
}

Test(limbo_schedules, free_each_object_once_when_who_relieves_the_owner_polls)
{
    struct torci_run run = relief_run(2000);

    polled = true;
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_eq(torci_heap_bytes(&idle.heap), UINT64_C(0));
}

Test(limbo_schedules, let_others_finish_when_who_relieves_is_frozen)
{
    struct torci_run run = relief_run(2);
    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_gt(result.frozen, UINT64_C(50));
}

/* SPDX-License-Identifier: MIT */
/* A reclaimer under the deterministic scheduler: whoever polls, and however many at once, no reader sees freed memory,
 * everything is freed once, and the barrier waits for what others have in their hands. */
#include <criterion/criterion.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/fiber.h"
#include "base/reclaimer.h"
#include "base/testing.h"

TestSuite(reclaimer_schedules, .timeout = 100);

enum { FIBERS = 4, CELLS = 2, ROUNDS = 3, OBJECT_BYTES = 16 };

struct object {
    struct torci_retired retired;       /* First. */
    uint64_t value;
    uint64_t check;                     /* ~value while it lives. */
    uint64_t *freed;                    /* Told, if not NULL. */
};

struct fixture {
    struct torci_reclaimer reclaimer;
    struct torci_heap heap;
    _Atomic(struct object *) cells[CELLS];
    _Atomic(unsigned) created;          /* Relaxed counters. */
    _Atomic(unsigned) freed;
    unsigned pollers;                   /* Fibers from 0 poll as well; the rest only retire. */
    bool in_section;                    /* Whether objects are replaced in sections. */
};

static struct fixture fixture;

static struct object *
create_object(uint64_t value)
{
    struct object *object = torci_alloc(&fixture.heap, sizeof(*object));

    object->value = value;
    object->check = ~value;
    object->freed = NULL;
    torci_fetch_add(&fixture.created, 1, memory_order_relaxed);
    return object;
}

static void
destroy_object(struct object *object)
{
    if (object->check != ~object->value)
        torci_fail_here("freed twice");
    object->check = object->value;
    if (object->freed != NULL)
        *object->freed = 1;
    torci_fetch_add(&fixture.freed, 1, memory_order_relaxed);
    torci_free(&fixture.heap, object, sizeof(*object));
}

static void
free_object(struct torci_retired *retired)
{
    destroy_object((struct object *)retired);
}

static void
create(void *context)
{
    (void)context;
    torci_reclaimer_init(&fixture.reclaimer);
    torci_heap_init(&fixture.heap, NULL, 0);
    torci_init(&fixture.created, 0);
    torci_init(&fixture.freed, 0);
    for (unsigned i = 0; i < CELLS; i++)
        torci_init(&fixture.cells[i], create_object(i));
}

static void
replace(_Atomic(struct object *) *cell, uint64_t value)
{
    struct object *old = torci_exchange(cell, create_object(value), memory_order_acq_rel);

    torci_reclaimer_retire(&fixture.reclaimer, &old->retired, OBJECT_BYTES, free_object);
}

static void
read_and_replace(_Atomic(struct object *) *cell, uint64_t value)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct object *seen = torci_load(cell, memory_order_acquire);

    replace(cell, value);
    torci_race_window();
    if (seen->check != ~seen->value)
        torci_fail_here("a reader holds freed memory");
    torci_epoch_exit(guard);
}

static void
retire_and_poll(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        _Atomic(struct object *) *cell = &fixture.cells[torci_fiber_random() % CELLS];

        if (fixture.in_section)
            read_and_replace(cell, i);
        else
            replace(cell, i);
        if (number < fixture.pollers && torci_fiber_random() % 2 == 0)
            (void)torci_reclaimer_poll(&fixture.reclaimer);
    }
}

/* Exact if nobody was frozen; a frozen fiber may hold all that there was. */
static bool
everything_is_accounted_for(void *context)
{
    bool frozen = false;

    (void)context;
    torci_reclaimer_barrier(&fixture.reclaimer);
    for (unsigned i = 0; i < FIBERS; i++)
        frozen |= torci_fiber_is_frozen(i);

    unsigned left = torci_load(&fixture.created, memory_order_relaxed)
                  - torci_load(&fixture.freed, memory_order_relaxed);

    if (frozen)
        return left >= CELLS;
    return left == CELLS && torci_reclaimer_bytes(&fixture.reclaimer) == 0;
}

static void
destroy(void *context)
{
    (void)context;
    for (unsigned i = 0; i < CELLS; i++)
        destroy_object(torci_load(&fixture.cells[i], memory_order_relaxed));
}

static struct torci_run
run_of(void (*body)(void *context, unsigned number), uint64_t schedules)
{
    return (struct torci_run){.fibers = FIBERS, .setup = create, .body = body, .check = everything_is_accounted_for,
                              .teardown = destroy, .seed = torct_seed(), .schedules = schedules};
}

static void
expect_success(const struct torci_run *run)
{
    struct torci_run_result result = torci_fiber_run(run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_eq(torci_heap_bytes(&fixture.heap), UINT64_C(0));
}

Test(reclaimer_schedules, free_each_object_once_and_none_too_early)
{
    struct torci_run run = run_of(retire_and_poll, 2000);

    fixture.pollers = FIBERS;
    fixture.in_section = true;
    expect_success(&run);
}

Test(reclaimer_schedules, free_nothing_for_who_does_not_poll)
{
    struct torci_run run = run_of(retire_and_poll, 500);

    fixture.pollers = 0;
    fixture.in_section = true;
    expect_success(&run);
}

/* ---- The barrier ----------------------------------------------------------------------------------------------- */

static uint64_t own_is_freed[FIBERS];

/* Every object has one writer, its free_fn, and is read by the fiber that waited: the explorer finds a missing edge. */
static void
retire_and_wait(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct object *own = create_object(number);

        if (torci_fiber_random() % 2 == 0)
            read_and_replace(&fixture.cells[i % CELLS], i);
        own_is_freed[number] = 0;
        own->freed = &own_is_freed[number];
        torci_reclaimer_retire(&fixture.reclaimer, &own->retired, OBJECT_BYTES, free_object);
        if (number % 2 == 0)
            (void)torci_reclaimer_poll(&fixture.reclaimer);
        torci_reclaimer_barrier(&fixture.reclaimer);
        if (own_is_freed[number] != 1)
            torci_fail_here("the barrier came back too early");
    }
}

Test(reclaimer_schedules, have_a_barrier_that_waits_for_what_others_hold)
{
    struct torci_run run = run_of(retire_and_wait, 2000);

    expect_success(&run);
}

/* ---- Who stops nobody ------------------------------------------------------------------------------------------ */

/* Freeze this fiber at each of its points; all others must finish. */
static uint64_t
freeze(unsigned number, uint64_t schedules)
{
    uint64_t frozen = 0;

    for (uint64_t point = 1;; point++) {
        struct torci_run run = run_of(retire_and_poll, schedules);
        struct torci_run_result result;

        run.frozen_fiber = number;
        run.freeze_at = point;
        result = torci_fiber_run(&run);
        cr_assert_not(result.failed, "%s", result.reason);
        if (result.frozen == 0)
            return frozen;
        frozen += result.frozen;
    }
}

/* No grace period ends any more if it stands in a section of its own, but retiring needs none. */
Test(reclaimer_schedules, let_others_retire_when_who_polls_is_frozen)
{
    fixture.pollers = 1;
    fixture.in_section = true;
    cr_expect_gt(freeze(0, 5), UINT64_C(100));
}

Test(reclaimer_schedules, let_others_poll_when_who_retires_outside_of_a_section_is_frozen)
{
    fixture.pollers = FIBERS - 1;
    fixture.in_section = false;
    cr_expect_gt(freeze(FIBERS - 1, 20), UINT64_C(100));
}

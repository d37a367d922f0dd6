/* SPDX-License-Identifier: MIT */
/* The simulated epoch: it must hold what readers may see, free the rest, and let a missing section be found. */
#include <criterion/criterion.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/epoch.h"
#include "base/fiber.h"
#include "base/testing.h"

TestSuite(epoch_simulated, .timeout = 60);

enum { FIBERS = 4, CELLS = 2, ROUNDS = 3 };

struct object {
    struct torci_retired retired;       /* First. */
    uint64_t value;
    uint64_t check;                     /* ~value while it lives. */
};

struct fixture {
    _Alignas(TORCI_CACHE_LINE) struct torci_heap heap;
    _Atomic(struct object *) cells[CELLS];
    unsigned created;
    unsigned freed;
    bool without_section;
    uint32_t adopted;
};

static struct fixture fixture;

static struct object *
create_object(uint64_t value)
{
    struct object *object = torci_alloc(&fixture.heap, sizeof(*object));

    object->value = value;
    object->check = ~value;
    fixture.created++;
    return object;
}

static void
destroy_object(struct object *object)
{
    object->check = object->value;
    fixture.freed++;
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
    torci_heap_init(&fixture.heap, NULL, 0);
    fixture.created = 0;
    fixture.freed = 0;
    for (unsigned i = 0; i < CELLS; i++)
        torci_init(&fixture.cells[i], create_object(i));
}

static void
check_object(const struct object *object)
{
    if (object->check != ~object->value)
        torci_fail_here("a reader holds freed memory");
}

static void
read_and_replace(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        _Atomic(struct object *) *cell = &fixture.cells[torci_fiber_random() % CELLS];
        struct torci_epoch_guard guard = torci_epoch_enter();

        if (fixture.without_section)
            torci_epoch_exit(guard);
        struct object *seen = torci_load(cell, memory_order_acquire);
        torci_race_window();
        check_object(seen);
        if (!fixture.without_section)
            torci_epoch_exit(guard);
        if (number % 2 == 0) {
            struct object *old = torci_exchange(cell, create_object(i), memory_order_acq_rel);
            torci_epoch_retire(&old->retired, free_object);
        }
    }
}

static bool
only_cells_are_left(void *context)
{
    (void)context;
    torci_epoch_barrier();
    unsigned in_hand = torci_fiber_is_frozen(0) || torci_fiber_is_frozen(2) ? 1 : 0;

    return fixture.created - fixture.freed <= CELLS + in_hand;
}

static void
destroy(void *context)
{
    (void)context;
    torci_epoch_barrier();
    for (unsigned i = 0; i < CELLS; i++)
        destroy_object(torci_load(&fixture.cells[i], memory_order_relaxed));
}

static struct torci_run
run_of(void (*body)(void *context, unsigned number))
{
    return (struct torci_run){.fibers = FIBERS, .setup = create, .body = body, .check = only_cells_are_left,
                              .teardown = destroy, .seed = torct_seed(), .schedules = 3000};
}

Test(epoch_simulated, frees_what_readers_have_left_and_nothing_else)
{
    struct torci_run run = run_of(read_and_replace);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
}

Test(epoch_simulated, lets_all_others_go_on_when_one_is_frozen)
{
    struct torci_run run = run_of(read_and_replace);

    run.schedules = 30;
    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_gt(result.frozen, UINT64_C(1000));
}

/* AddressSanitizer finds it too, and then the process is over. */
#if !defined(TORCI_ASAN)
Test(epoch_simulated, canary_finds_a_reader_without_section)
{
    struct torci_run run = run_of(read_and_replace);

    fixture.without_section = true;
    run.quiet = true;
    cr_expect(torci_fiber_run(&run).failed);
}
#endif

static void
wait_for_the_barrier(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        struct object *old = torci_exchange(&fixture.cells[0], create_object(9), memory_order_acq_rel);

        torci_epoch_retire(&old->retired, free_object);
        torci_epoch_barrier();
        if (fixture.freed < 1)
            torci_fail_here("the barrier came back too early");
        return;
    }
    struct torci_epoch_guard guard = torci_epoch_enter();

    check_object(torci_load(&fixture.cells[0], memory_order_acquire));
    torci_epoch_exit(guard);
}

Test(epoch_simulated, has_a_barrier_that_waits_for_what_was_retired_before)
{
    struct torci_run run = run_of(wait_for_the_barrier);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
}

/* ---- Indexes -------------------------------------------------------------------------------------------------- */

enum { NOBODY = FIBERS + TORCI_FIBER_SLOTS };

static unsigned owner_of[TORCI_FIBER_SLOTS];

static void
forget_owners(void *context)
{
    (void)context;
    for (unsigned i = 0; i < TORCI_FIBER_SLOTS; i++)
        owner_of[i] = NOBODY;
    fixture.adopted = 0;
}

static void
own_and_adopt(void *context, unsigned number)
{
    uint32_t index = torci_self()->index;

    (void)context;
    torci_race_window();
    owner_of[index] = number;
    for (uint32_t other = 0; other < torci_thread_index_bound(); other++) {
        if (!torci_thread_adopt(other))
            continue;
        if (other == index)
            torci_fail_here("adopted a living fiber's index");
        owner_of[other] = number;
        torci_race_window();
        if (owner_of[other] != number)
            torci_fail_here("adopted twice at a time");
        torci_thread_release_adopted(other);
        fixture.adopted++;
    }
    if (owner_of[index] != number)
        torci_fail_here("a living fiber's index was taken");
}

Test(epoch_simulated, hands_indexes_on_as_threads_do)
{
    struct torci_run run = {.fibers = FIBERS, .setup = forget_owners, .body = own_and_adopt, .seed = torct_seed(),
                            .schedules = 2000};
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
}

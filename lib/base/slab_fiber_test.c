/* SPDX-License-Identifier: MIT */
/* Owners that free each other's objects, change pages and trim, under every kind of schedule. */
#include <criterion/criterion.h>

#include "base/atomic.h"
#include "base/epoch.h"
#include "base/fiber.h"
#include "base/slab.h"
#include "base/testing.h"

enum { FIBERS = 3, CELLS = 6, STEPS = 10, SIZES = 2 };

struct value {
    uint64_t size;
    uint64_t check;
};

struct fixture {
    struct torci_heap heap;
    struct torci_slab_pool pool;
    struct torci_slab slabs[FIBERS];
    _Atomic(struct value *) cells[CELLS];
};

static struct fixture fixture;

/* Few to a page, so that pages fill up and empty. */
static size_t
draw_size(void)
{
    return TORCI_SLAB_BYTES_MAX - 16 * (torci_fiber_random() % SIZES);
}

static struct value *
create_value(struct torci_slab *slab, size_t size)
{
    struct value *value = torci_slab_alloc(slab, size);

    if (value == NULL)
        torci_fail_here("no memory");
    *value = (struct value){size, ~(uint64_t)size};
    return value;
}

static void
destroy_value(struct value *value)
{
    uint64_t size;

    if (value == NULL)
        return;
    size = value->size;
    if (value->check != ~size)
        torci_fail_here("two objects share memory");
    *value = (struct value){size, 0};
    torci_slab_free(&fixture.pool, value, size);
}

static void
create(void *context)
{
    (void)context;
    torci_heap_init(&fixture.heap, NULL, 0);
    torci_slab_pool_init(&fixture.pool, &fixture.heap, NULL);
    for (unsigned i = 0; i < FIBERS; i++)
        torci_slab_init(&fixture.slabs[i], &fixture.pool);
    for (unsigned i = 0; i < CELLS; i++)
        torci_init(&fixture.cells[i], NULL);
}

static void
exchange_and_trim(void *context, unsigned number)
{
    struct torci_slab *slab = &fixture.slabs[number];

    (void)context;
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned draw = torci_fiber_random() % 16;
        struct value *value = draw < 3 ? NULL : create_value(slab, draw_size());

        destroy_value(torci_exchange(&fixture.cells[torci_fiber_random() % CELLS], value, memory_order_acq_rel));
        if (draw == 0)
            torci_slab_trim(&fixture.pool);
        if (draw == 1)
            torci_slab_fini(slab);
    }
}

/* Whoever was frozen: what is left can be freed by others, and memory that nobody holds goes back. */
static bool
everything_comes_back(void *context)
{
    bool frozen = false;

    (void)context;
    for (unsigned i = 0; i < CELLS; i++)
        destroy_value(torci_exchange(&fixture.cells[i], NULL, memory_order_acquire));
    for (unsigned i = 0; i < FIBERS; i++) {
        frozen |= torci_fiber_is_frozen(i);
        if (!torci_fiber_is_frozen(i))
            torci_slab_fini(&fixture.slabs[i]);
    }
    if (frozen)
        return true;
    while (torci_slab_trim(&fixture.pool) > 0)
        continue;
    torci_epoch_barrier();
    return torci_heap_bytes(&fixture.heap) == 0;
}

static void
destroy(void *context)
{
    (void)context;
    for (unsigned i = 0; i < FIBERS; i++)
        if (torci_fiber_is_frozen(i))
            return;
    torci_slab_pool_fini(&fixture.pool);
}

static struct torci_run
slab_run(uint64_t schedules)
{
    return (struct torci_run){.fibers = FIBERS, .setup = create, .body = exchange_and_trim,
                              .check = everything_comes_back, .teardown = destroy, .seed = torct_seed(),
                              .schedules = schedules};
}

/* ---- Trims that meet -------------------------------------------------------------------------------------------- */

enum { IDLE_PAGES = 10 };

/* Pages without an object, in several regions. */
static void
create_idle(void *context)
{
    struct value *values[IDLE_PAGES * 3];
    unsigned count = 0;

    create(context);
    while (count < IDLE_PAGES * 3)
        values[count++] = create_value(&fixture.slabs[0], TORCI_SLAB_BYTES_MAX);
    while (count > 0)
        destroy_value(values[--count]);
    torci_slab_fini(&fixture.slabs[0]);
}

static void
trim_and_use(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < 4; i++) {
        struct value *value = NULL;

        if (torci_fiber_random() % 2 == 0)
            value = create_value(&fixture.slabs[number], draw_size());
        torci_slab_trim(&fixture.pool);
        destroy_value(value);
        if (torci_fiber_random() % 2 == 0)
            torci_slab_fini(&fixture.slabs[number]);
    }
}

Test(slab_trim_schedules, give_each_region_back_once, .timeout = 120)
{
    struct torci_run run = {.fibers = FIBERS, .setup = create_idle, .body = trim_and_use,
                            .check = everything_comes_back, .teardown = destroy, .seed = torct_seed(),
                            .schedules = 4000};
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_eq(torci_heap_bytes(&fixture.heap), UINT64_C(0));
}

TestSuite(slab_schedules, .timeout = 120);

Test(slab_schedules, give_no_memory_to_two_at_once_and_lose_none)
{
    struct torci_run run = slab_run(4000);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_eq(torci_heap_bytes(&fixture.heap), UINT64_C(0));
}

Test(slab_schedules, let_others_finish_when_one_is_frozen)
{
    struct torci_run run = slab_run(2);
    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_gt(result.frozen, UINT64_C(100));
}

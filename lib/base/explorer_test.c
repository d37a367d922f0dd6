/* SPDX-License-Identifier: MIT */
/* Litmus programs, each in a correct form that must be quiet and in a broken form that must be found: the canaries of
 * the explorer. All of the broken ones run without a visible fault on x86. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/epoch.h"
#include "base/explorer.h"
#include "base/fiber.h"
#include "base/limbo.h"
#include "base/queue.h"
#include "base/testing.h"

TestSuite(explorer_litmus, .timeout = 120);
TestSuite(explorer_race, .timeout = 120);
TestSuite(explorer_epoch, .timeout = 120);

enum { FOUND_WITHIN = 2000, QUIET_FOR = 100000, QUIET_FOR_LONGER_PROGRAMS = 5000 };

/* The orders are the programs' parameters: no compiler may take them for constants. */
struct litmus {
    int store_order;
    int load_order;
    uint64_t payload;
    _Atomic(uint64_t) atomic_payload;
    _Atomic(uint64_t) x;
    _Atomic(uint64_t) y;
    uint64_t seen[3];
};

static struct litmus litmus;

static void
reset(void *context)
{
    (void)context;
    litmus.payload = 0;
    torci_init(&litmus.atomic_payload, 0);
    torci_init(&litmus.x, 0);
    torci_init(&litmus.y, 0);
    litmus.seen[0] = litmus.seen[1] = litmus.seen[2] = 1;
}

static struct torci_run
run_of(unsigned fibers, void (*body)(void *context, unsigned number), bool (*check)(void *context))
{
    return (struct torci_run){.fibers = fibers, .setup = reset, .body = body, .check = check, .seed = torct_seed(),
                              .strategy = TORCI_RANDOM_WALK};
}

static void
expect_quiet(struct torci_run run, uint64_t schedules)
{
    run.schedules = schedules;
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed, "%s", result.reason);
}

static void
expect_found(struct torci_run run, const char *reason)
{
    run.schedules = FOUND_WITHIN;
    run.quiet = true;
    struct torci_run_result result = torci_fiber_run(&run);

    cr_assert(result.failed);
    cr_expect_not_null(strstr(result.reason, reason), "%s", result.reason);
}

#define STORE(p, value)                                                                             \
    (litmus.store_order == memory_order_release ? torci_store(p, value, memory_order_release)       \
     : litmus.store_order == memory_order_seq_cst ? torci_store(p, value, memory_order_seq_cst)     \
                                                  : torci_store(p, value, memory_order_relaxed))
#define LOAD(p)                                                                                     \
    (litmus.load_order == memory_order_acquire ? torci_load(p, memory_order_acquire)                \
     : litmus.load_order == memory_order_seq_cst ? torci_load(p, memory_order_seq_cst)              \
                                                 : torci_load(p, memory_order_relaxed))

static void
with_orders(int store_order, int load_order)
{
    litmus.store_order = store_order;
    litmus.load_order = load_order;
}

/* ---- Message passing, plain payload --------------------------------------------------------------------------- */

static void
pass_message(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        litmus.payload = 42;
        STORE(&litmus.x, 1);
    } else if (LOAD(&litmus.x) != 0 && litmus.payload != 42) {
        torci_fail_here("payload not visible");
    }
}

Test(explorer_litmus, is_quiet_about_a_message_released_and_acquired)
{
    with_orders(memory_order_release, memory_order_acquire);
    expect_quiet(run_of(2, pass_message, NULL), QUIET_FOR);
}

Test(explorer_litmus, canary_finds_a_message_published_relaxed)
{
    with_orders(memory_order_relaxed, memory_order_acquire);
    expect_found(run_of(2, pass_message, NULL), "data race");
}

Test(explorer_litmus, canary_finds_a_message_taken_relaxed)
{
    with_orders(memory_order_release, memory_order_relaxed);
    expect_found(run_of(2, pass_message, NULL), "data race");
}

static void
write_after_release(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        torci_store(&litmus.x, 1, memory_order_release);
        litmus.payload = 42;
    } else if (torci_load(&litmus.x, memory_order_acquire) != 0) {
        litmus.seen[0] = litmus.payload;
    }
}

Test(explorer_litmus, canary_finds_a_payload_written_after_its_release)
{
    expect_found(run_of(2, write_after_release, NULL), "data race");
}

/* ---- Message passing, atomic payload: no race, so ThreadSanitizer is silent ----------------------------------- */

static void
pass_atomic_message(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        torci_store(&litmus.atomic_payload, 7, memory_order_relaxed);
        STORE(&litmus.x, 1);
    } else if (LOAD(&litmus.x) != 0 && torci_load(&litmus.atomic_payload, memory_order_relaxed) != 7) {
        torci_fail_here("payload not visible");
    }
}

Test(explorer_litmus, is_quiet_about_an_atomic_payload_released_and_acquired)
{
    with_orders(memory_order_release, memory_order_acquire);
    expect_quiet(run_of(2, pass_atomic_message, NULL), QUIET_FOR);
}

Test(explorer_litmus, canary_finds_an_atomic_payload_published_relaxed)
{
    with_orders(memory_order_relaxed, memory_order_acquire);
    expect_found(run_of(2, pass_atomic_message, NULL), "payload not visible");
}

/* ---- Store buffering ------------------------------------------------------------------------------------------ */

static void
store_then_load(void *context, unsigned number)
{
    (void)context;
    STORE(number == 0 ? &litmus.x : &litmus.y, 1);
    litmus.seen[number] = LOAD(number == 0 ? &litmus.y : &litmus.x);
}

static bool
one_saw_the_other(void *context)
{
    (void)context;
    return litmus.seen[0] != 0 || litmus.seen[1] != 0;
}

Test(explorer_litmus, is_quiet_about_store_buffering_with_seq_cst)
{
    with_orders(memory_order_seq_cst, memory_order_seq_cst);
    expect_quiet(run_of(2, store_then_load, one_saw_the_other), QUIET_FOR);
}

Test(explorer_litmus, canary_finds_store_buffering_without_seq_cst)
{
    with_orders(memory_order_release, memory_order_acquire);
    expect_found(run_of(2, store_then_load, one_saw_the_other), "check");
}

/* ---- The epoch's entry: announce, then read; unlink, then look for announcements ------------------------------ */

static void
announce_or_unlink(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        STORE(&litmus.x, 1);
        bool linked = LOAD(&litmus.y) == 0;

        if (linked && torci_load(&litmus.atomic_payload, memory_order_relaxed) != 0)
            torci_fail_here("use after free");
        torci_store(&litmus.x, 0, memory_order_release);
    } else {
        torci_store(&litmus.y, 1, memory_order_seq_cst);
        if (torci_load(&litmus.x, memory_order_seq_cst) == 0)
            torci_store(&litmus.atomic_payload, 1, memory_order_relaxed);
    }
}

Test(explorer_litmus, is_quiet_about_an_epoch_entry_with_seq_cst)
{
    with_orders(memory_order_seq_cst, memory_order_seq_cst);
    expect_quiet(run_of(2, announce_or_unlink, NULL), QUIET_FOR);
}

Test(explorer_litmus, canary_finds_an_epoch_entry_without_seq_cst)
{
    with_orders(memory_order_release, memory_order_acquire);
    expect_found(run_of(2, announce_or_unlink, NULL), "use after free");
}

/* ---- Release sequences: an update in between carries the release on, a store does not ------------------------- */

static bool by_update;

static void
pass_through_a_third(void *context, unsigned number)
{
    uint64_t expected = 1;

    (void)context;
    if (number == 0) {
        litmus.payload = 42;
        torci_store(&litmus.x, 1, memory_order_release);
    } else if (number == 1) {
        if (by_update)
            (void)torci_cas(&litmus.x, &expected, 2, memory_order_relaxed, memory_order_relaxed);
        else if (torci_load(&litmus.x, memory_order_relaxed) == 1)
            torci_store(&litmus.x, 2, memory_order_relaxed);
    } else if (torci_load(&litmus.x, memory_order_acquire) == 2 && litmus.payload != 42) {
        torci_fail_here("payload not visible");
    }
}

Test(explorer_litmus, is_quiet_about_a_release_sequence)
{
    by_update = true;
    expect_quiet(run_of(3, pass_through_a_third, NULL), QUIET_FOR);
}

Test(explorer_litmus, canary_finds_a_broken_release_sequence)
{
    by_update = false;
    expect_found(run_of(3, pass_through_a_third, NULL), "data race");
}

/* ---- Coherence ------------------------------------------------------------------------------------------------ */

static void
read_twice(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        for (uint64_t i = 1; i <= 4; i++)
            torci_store(&litmus.x, i, memory_order_relaxed);
        return;
    }
    uint64_t first = torci_load(&litmus.x, memory_order_relaxed);

    if (torci_load(&litmus.x, memory_order_relaxed) < first)
        torci_fail_here("one location went back in time");
}

Test(explorer_litmus, never_goes_back_at_one_location)
{
    expect_quiet(run_of(3, read_twice, NULL), QUIET_FOR);
}

static void
count_up(void *context, unsigned number)
{
    uint64_t value = torci_load(&litmus.x, memory_order_relaxed);

    (void)context;
    (void)number;
    while (!torci_cas(&litmus.x, &value, value + 1, memory_order_relaxed, memory_order_relaxed))
        ;
    torci_fetch_add(&litmus.y, 1, memory_order_relaxed);
}

static bool
counted_to_three(void *context)
{
    (void)context;
    return torci_load(&litmus.x, memory_order_relaxed) == 3 && torci_load(&litmus.y, memory_order_relaxed) == 3;
}

Test(explorer_litmus, loses_no_update)
{
    expect_quiet(run_of(3, count_up, counted_to_three), QUIET_FOR);
}

/* ---- Plain data ----------------------------------------------------------------------------------------------- */

static struct {
    uint32_t left;
    uint32_t right;
    unsigned char bytes[16];
    unsigned char copy[16];
} shared;

/* Reads it all, or a compiler would leave the writes out. */
static bool
read_shared(void *context)
{
    (void)context;
    return shared.left + shared.right + shared.bytes[3] + shared.copy[3] < 100;
}

static void
write_apart_or_together(void *context, unsigned number)
{
    (void)context;
    torci_race_window();
    if (number == 0 || litmus.store_order == memory_order_seq_cst)
        shared.left = number;
    else
        shared.right = number;
}

Test(explorer_race, is_quiet_about_neighbours_in_one_word)
{
    with_orders(memory_order_relaxed, memory_order_relaxed);
    expect_quiet(run_of(2, write_apart_or_together, read_shared), QUIET_FOR);
}

Test(explorer_race, canary_finds_two_writes)
{
    with_orders(memory_order_seq_cst, memory_order_relaxed);
    expect_found(run_of(2, write_apart_or_together, read_shared), "data race");
}

static void
copy_unordered(void *context, unsigned number)
{
    volatile size_t size = sizeof(shared.copy);     /* Not known to the compiler: a call of memcpy. */

    (void)context;
    torci_race_window();
    if (number == 0)
        memset(shared.bytes, 1, size);
    else
        memcpy(shared.copy, shared.bytes, size);
}

Test(explorer_race, canary_finds_copies_that_race)
{
    expect_found(run_of(2, copy_unordered, read_shared), "data race");
}

/* ---- Memory: reused by another fiber, freed while another reads ----------------------------------------------- */

static _Alignas(TORCI_CACHE_LINE) struct torci_heap heap;

static void
allocate_write_free(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < 3; i++) {
        struct litmus *own = torci_alloc(&heap, sizeof(*own));

        own->payload = number;
        torci_store(&own->x, number, memory_order_relaxed);
        if (own->payload != number || torci_load(&own->x, memory_order_relaxed) != number)
            torci_fail_here("not what was written");
        torci_free(&heap, own, sizeof(*own));
    }
}

Test(explorer_race, is_quiet_about_memory_that_is_used_again)
{
    torci_heap_init(&heap, NULL, 0);
    expect_quiet(run_of(3, allocate_write_free, NULL), QUIET_FOR_LONGER_PROGRAMS);
}

/* ---- Epoch: objects, sections, grace periods ------------------------------------------------------------------ */

struct object {
    struct torci_retired retired;       /* First. */
    uint64_t value;
};

enum { LINKED, IN_SECTION, BEFORE_SECTION };

static _Atomic(struct object *) cell;
static int reading;                     /* One of the three above. */
static bool by_limbo;
static struct torci_limbo *limbo;

static void
free_object(struct torci_retired *retired)
{
    torci_free(&heap, retired, sizeof(struct object));
}

static void
free_from_limbo(void *context, void *object, size_t size, unsigned kind)
{
    (void)context;
    (void)kind;
    torci_free(&heap, object, size);
}

static struct object *
create_object(uint64_t value)
{
    struct object *object = torci_alloc(&heap, sizeof(*object));

    object->value = value;
    return object;
}

static void
create_cell(void *context)
{
    reset(context);
    torci_heap_init(&heap, NULL, 0);
    torci_init(&cell, create_object(0));
    limbo = torci_limbo_create(&heap, NULL, free_from_limbo, NULL);
}

static void
destroy_cell(void *context)
{
    (void)context;
    torci_epoch_barrier();
    torci_limbo_destroy(limbo);
    free_object(&torci_load(&cell, memory_order_relaxed)->retired);
}

static void
retire(struct object *object)
{
    if (by_limbo) {
        if (torci_limbo_reserve(limbo, 1) != TORC_OK)
            torci_fail_here("no memory");
        torci_limbo_add(limbo, object, sizeof(*object), 0);
    } else {
        torci_epoch_retire(&object->retired, free_object);
    }
}

static void
replace_or_read(void *context, unsigned number)
{
    (void)context;
    for (uint64_t i = 1; i <= 3; i++) {
        if (number == 0) {
            struct object *old = litmus.store_order == memory_order_release
                                     ? torci_exchange(&cell, create_object(i), memory_order_acq_rel)
                                     : torci_exchange(&cell, create_object(i), memory_order_relaxed);

            retire(old);
            if (by_limbo)
                torci_limbo_flush(limbo);
            continue;
        }
        struct object *early = reading == BEFORE_SECTION ? torci_load(&cell, memory_order_acquire) : NULL;
        struct torci_epoch_guard guard = torci_epoch_enter();
        struct object *object = early != NULL ? early : torci_load(&cell, memory_order_acquire);

        if (object->value > 3)
            torci_fail_here("freed memory");
        if (reading == IN_SECTION) {
            torci_epoch_exit(guard);
            continue;
        }
        torci_epoch_exit(guard);
        if (reading == LINKED && object->value > 3)
            torci_fail_here("freed memory");
    }
}

static struct torci_run
epoch_run(int how)
{
    struct torci_run run = run_of(3, replace_or_read, NULL);

    reading = how;
    run.setup = create_cell;
    run.teardown = destroy_cell;
    run.strategy = TORCI_MIXED;
    return run;
}

Test(explorer_epoch, is_quiet_about_readers_in_sections)
{
    with_orders(memory_order_release, memory_order_relaxed);
    expect_quiet(epoch_run(IN_SECTION), QUIET_FOR_LONGER_PROGRAMS);
}

Test(explorer_epoch, is_quiet_about_readers_of_what_goes_through_a_limbo)
{
    by_limbo = true;
    with_orders(memory_order_release, memory_order_relaxed);
    expect_quiet(epoch_run(IN_SECTION), QUIET_FOR_LONGER_PROGRAMS);
}

Test(explorer_epoch, canary_finds_a_use_after_exit)
{
    with_orders(memory_order_release, memory_order_relaxed);
    expect_found(epoch_run(LINKED), "");
    by_limbo = true;
    expect_found(epoch_run(LINKED), "");
}

Test(explorer_epoch, canary_finds_a_pointer_taken_before_the_section)
{
    with_orders(memory_order_release, memory_order_relaxed);
    expect_found(epoch_run(BEFORE_SECTION), "");
}

Test(explorer_epoch, canary_finds_an_object_published_relaxed)
{
    with_orders(memory_order_relaxed, memory_order_relaxed);
    expect_found(epoch_run(IN_SECTION), "");
}

/* ---- The queue, whose inside is a library's ------------------------------------------------------------------- */

static struct torci_queue queue;

struct item {
    struct torci_queue_node node;       /* First. */
    uint64_t payload;
};

static struct item items[2];

static void
create_queue(void *context)
{
    reset(context);
    torci_queue_init(&queue);
}

static void
push_or_pop(void *context, unsigned number)
{
    struct torci_queue_node *node;

    (void)context;
    if (number < 2) {
        items[number].payload = 42 + number;
        torci_queue_push(&queue, &items[number].node);
        return;
    }
    for (unsigned i = 0; i < 3; i++)
        if (torci_queue_pop(&queue, &node) == TORCI_QUEUE_TAKEN && ((struct item *)node)->payload < 42)
            torci_fail_here("payload not visible");
}

Test(explorer_race, is_quiet_about_what_goes_through_a_queue)
{
    struct torci_run run = run_of(3, push_or_pop, NULL);

    run.setup = create_queue;
    expect_quiet(run, QUIET_FOR_LONGER_PROGRAMS);
}

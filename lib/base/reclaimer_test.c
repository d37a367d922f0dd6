/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/limbo.h"
#include "base/reclaimer.h"
#include "base/testing.h"

static struct torci_reclaimer reclaimer;

static void
create(void)
{
    torci_reclaimer_init(&reclaimer);
}

static void
destroy(void)
{
    torci_reclaimer_barrier(&reclaimer);
    cr_assert_eq(torci_reclaimer_bytes(&reclaimer), UINT64_C(0));
}

TestSuite(reclaimer, .init = create, .fini = destroy, .timeout = 60);

struct object {
    struct torci_retired retired;       /* First. */
    struct torci_reclaimer *reclaimer;  /* Of retire_again(). */
    uint64_t value;
    uint64_t check;                     /* ~value while it lives. */
    unsigned lives;
    uint32_t *freed_by;                 /* Told the thread's index, if not NULL. */
};

static _Atomic(uint64_t) freed;

static void
free_object(struct torci_retired *retired)
{
    struct object *object = (struct object *)retired;

    cr_assert_eq(object->check, ~object->value);
    object->check = object->value;
    if (object->freed_by != NULL)
        *object->freed_by = torci_self()->index;
    free(object);
    torci_fetch_add(&freed, 1, memory_order_relaxed);
}

static struct object *
create_object(uint64_t value)
{
    struct object *object = malloc(sizeof(*object));

    cr_assert_not_null(object);
    *object = (struct object){.reclaimer = &reclaimer, .value = value, .check = ~value};
    return object;
}

static uint64_t
freed_objects(void)
{
    return torci_load(&freed, memory_order_relaxed);
}

/* ---- Polls ----------------------------------------------------------------------------------------------------- */

Test(reclaimer, has_nothing_to_do_at_first)
{
    cr_expect_eq(torci_reclaimer_bytes(&reclaimer), UINT64_C(0));
    cr_expect_eq(torci_reclaimer_poll(&reclaimer), UINT64_C(0));
    torci_reclaimer_barrier(&reclaimer);
}

Test(reclaimer, waits_for_no_grace_period_when_nothing_was_retired)
{
    (void)torci_reclaimer_poll(&reclaimer);
    torci_reclaimer_barrier(&reclaimer);
    cr_expect_eq(torci_load(&reclaimer.begun, memory_order_relaxed), UINT64_C(0));
}

Test(reclaimer, frees_in_a_poll_what_was_retired_before)
{
    for (uint64_t round = 1; round <= 20; round++) {
        for (uint64_t i = 1; i <= 10; i++) {
            torci_reclaimer_retire(&reclaimer, &create_object(i)->retired, i, free_object);
            cr_expect_eq(torci_reclaimer_bytes(&reclaimer), i * (i + 1) / 2);
        }
        cr_expect_eq(freed_objects(), (round - 1) * 10, "nothing is freed before somebody polls");
        cr_expect_eq(torci_reclaimer_poll(&reclaimer), UINT64_C(0));
        cr_expect_eq(freed_objects(), round * 10);
    }
    cr_expect_eq(torci_load(&reclaimer.begun, memory_order_relaxed), UINT64_C(20), "one grace period for each poll");
}

Test(reclaimer, frees_on_the_thread_that_polls)
{
    struct object *object = create_object(1);
    uint32_t freed_by = 0;

    object->freed_by = &freed_by;
    torci_reclaimer_retire(&reclaimer, &object->retired, 1, free_object);
    cr_expect_eq(torci_reclaimer_poll(&reclaimer), UINT64_C(0));
    cr_expect_eq(freed_by, torci_self()->index);
}

Test(reclaimer, takes_what_is_retired_inside_of_a_section)
{
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_reclaimer_retire(&reclaimer, &create_object(1)->retired, 8, free_object);
    cr_expect_eq(torci_reclaimer_bytes(&reclaimer), UINT64_C(8));
    torci_epoch_exit(guard);
    cr_expect_eq(torci_reclaimer_poll(&reclaimer), UINT64_C(0));
    cr_expect_eq(freed_objects(), UINT64_C(1));
}

static void
retire_again(struct torci_retired *retired)
{
    struct object *object = (struct object *)retired;
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(object->check, ~object->value);
    torci_epoch_exit(guard);
    torci_reclaimer_retire(object->reclaimer, retired, 8, object->lives-- > 0 ? retire_again : free_object);
}

Test(reclaimer, lets_a_free_fn_retire_for_the_next_poll)
{
    struct object *object = create_object(5);

    object->lives = 3;
    torci_reclaimer_retire(&reclaimer, &object->retired, 8, retire_again);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(torci_reclaimer_poll(&reclaimer), UINT64_C(8));
    cr_expect_eq(freed_objects(), UINT64_C(0));
    cr_expect_eq(torci_reclaimer_poll(&reclaimer), UINT64_C(0));
    cr_expect_eq(freed_objects(), UINT64_C(1));
}

Test(reclaimer, keeps_apart_what_others_retired)
{
    static struct torci_reclaimer other;

    torci_reclaimer_init(&other);
    torci_reclaimer_retire(&other, &create_object(1)->retired, 8, free_object);
    torci_reclaimer_retire(&reclaimer, &create_object(2)->retired, 16, free_object);
    cr_expect_eq(torci_reclaimer_poll(&reclaimer), UINT64_C(0));
    cr_expect_eq(freed_objects(), UINT64_C(1));
    cr_expect_eq(torci_reclaimer_bytes(&other), UINT64_C(8));
    torci_reclaimer_barrier(&other);
    cr_expect_eq(freed_objects(), UINT64_C(2));
}

static pthread_barrier_t together;
static _Atomic(bool) leaving;

static void
read_or_poll(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        struct torci_epoch_guard guard = torci_epoch_enter();

        (void)pthread_barrier_wait(&together);
        for (unsigned i = 0; i < 1000; i++) {
            torci_race_window();
            cr_expect_eq(freed_objects(), UINT64_C(0));
        }
        torci_store(&leaving, true, memory_order_relaxed);      /* The grace period orders it. */
        torci_epoch_exit(guard);
        return;
    }
    (void)pthread_barrier_wait(&together);
    torci_reclaimer_retire(&reclaimer, &create_object(number)->retired, 8, free_object);
    if (number == 1)
        (void)torci_reclaimer_poll(&reclaimer);
    else
        torci_reclaimer_barrier(&reclaimer);
    cr_expect(torci_load(&leaving, memory_order_relaxed), "a section that was open is still open");
}

Test(reclaimer, frees_nothing_while_a_section_is_open)
{
    cr_assert_eq(pthread_barrier_init(&together, NULL, 3), 0);
    torct_race(3, read_or_poll, NULL);
    torci_reclaimer_barrier(&reclaimer);
    cr_expect_eq(freed_objects(), UINT64_C(2));
    cr_assert_eq(pthread_barrier_destroy(&together), 0);
}

#if defined(TORC_ASSERTIONS)
Test(reclaimer, is_not_polled_inside_of_a_section, .signal = SIGABRT)
{
    (void)torci_epoch_enter();
    (void)torci_reclaimer_poll(&reclaimer);
}

Test(reclaimer, has_no_barrier_inside_of_a_section, .signal = SIGABRT)
{
    (void)torci_epoch_enter();
    torci_reclaimer_barrier(&reclaimer);
}
#endif

/* ---- NULL: the library's reclaiming thread --------------------------------------------------------------------- */

Test(reclaimer, that_is_null_is_the_librarys_thread)
{
    struct object *object = create_object(1);
    uint32_t freed_by = UINT32_MAX;

    object->freed_by = &freed_by;
    torci_reclaimer_retire(NULL, &object->retired, 8, free_object);
    cr_expect_eq(torci_reclaimer_poll(NULL), UINT64_C(0));
    torci_reclaimer_barrier(NULL);
    cr_expect_eq(freed_objects(), UINT64_C(1));
    cr_expect_eq(freed_by, 0u);
    cr_expect_eq(torci_reclaimer_bytes(NULL), UINT64_C(0));
}

/* ---- No thread ------------------------------------------------------------------------------------------------- */

static unsigned
threads_of_process(void)
{
    DIR *directory = opendir("/proc/self/task");
    unsigned count = 0;

    cr_assert_not_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        count += entry->d_name[0] != '.';
    cr_assert_eq(closedir(directory), 0);
    return count;
}

static void
free_memory(void *context, void *object, size_t size, unsigned kind)
{
    (void)kind;
    torci_free(context, object, size);
}

static void
fill_limbo(struct torci_heap *heap, struct torci_limbo *limbo)
{
    for (unsigned i = 0; i < 500; i++) {
        size_t size = i % 50 == 0 ? 64 * 1024 : 16;
        void *object = torci_alloc(heap, size);

        cr_assert_not_null(object);
        cr_assert_eq(torci_limbo_reserve(limbo, 1), TORC_OK);
        torci_limbo_add(limbo, object, size, 0);
        torci_limbo_settle(limbo);
        if (i % 100 == 0)
            (void)torci_reclaimer_poll(&reclaimer);
    }
}

static void
use_everything(void)
{
    static struct torci_heap heap;
    struct torci_limbo *limbo;
    struct torci_epoch_guard guard;

    torci_heap_init(&heap, NULL, 0);
    limbo = torci_limbo_create(&heap, &reclaimer, free_memory, &heap);
    cr_assert_not_null(limbo);
    guard = torci_epoch_enter();
    torci_epoch_exit(guard);
    fill_limbo(&heap, limbo);
    torci_limbo_flush(limbo);
    torci_reclaimer_barrier(&reclaimer);
    torci_limbo_relieve(limbo);
    torci_epoch_barrier();
    torci_limbo_destroy(limbo);
    cr_expect_eq(torci_heap_bytes(&heap), UINT64_C(0));
}

/* The last lines show that a thread would have been seen. */
Test(reclaimer, starts_no_thread)
{
    unsigned before = threads_of_process();

    use_everything();
    cr_expect_eq(threads_of_process(), before);

    torci_epoch_retire(&create_object(1)->retired, free_object);
    cr_expect_eq(threads_of_process(), before + 1);
    torci_epoch_barrier();
}

/* ---- Many threads ---------------------------------------------------------------------------------------------- */

enum { RACERS = 6, CELLS = 16, ROUNDS = 1000, GENERATIONS = 4 };

static _Atomic(struct object *) cells[CELLS];
static _Atomic(uint64_t) retired_count;

static void
check(const struct object *object)
{
    if (object != NULL)
        cr_assert_eq(object->check, ~object->value);
}

static void
replace(_Atomic(struct object *) *cell, uint64_t state)
{
    struct object *fresh = create_object(state);
    struct object *old;

    fresh->lives = (unsigned)(state >> 45) % 3;
    old = torci_exchange(cell, fresh, memory_order_acq_rel);
    if (old == NULL)
        return;
    torci_reclaimer_retire(&reclaimer, &old->retired, 8, retire_again);
    torci_fetch_add(&retired_count, 1, memory_order_relaxed);
}

/* Threads come and go, read, retire and poll; some wait for what they retired themselves. */
static void
read_replace_and_poll(void *context, unsigned number)
{
    uint64_t state = number + *(uint64_t *)context;

    for (unsigned i = 0; i < ROUNDS; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned cell = (unsigned)(state >> 33) % CELLS;
        struct torci_epoch_guard guard = torci_epoch_enter();
        struct object *seen = torci_load(&cells[cell], memory_order_acquire);

        check(torci_load(&cells[(cell + 1) % CELLS], memory_order_acquire));
        check(seen);
        torci_epoch_exit(guard);
        if ((state >> 40 & 7) == 0)
            replace(&cells[cell], state);
        if ((state >> 50 & 15) == 0)
            (void)torci_reclaimer_poll(&reclaimer);
    }
    struct object *own = create_object(state);
    uint32_t freed_by = UINT32_MAX;

    own->freed_by = &freed_by;
    torci_reclaimer_retire(&reclaimer, &own->retired, 8, free_object);
    torci_fetch_add(&retired_count, 1, memory_order_relaxed);
    torci_reclaimer_barrier(&reclaimer);
    cr_expect_neq(freed_by, UINT32_MAX, "the barrier came back too early");
}

/* Oracle: objects that check themselves, and conservation: freed = retired. */
Test(reclaimer, frees_what_readers_have_left_and_nothing_else)
{
    for (uint64_t generation = 0; generation < GENERATIONS; generation++)
        torct_race(RACERS, read_replace_and_poll, &generation);
    while (torci_reclaimer_poll(&reclaimer) > 0)
        continue;
    cr_expect_eq(freed_objects(), torci_load(&retired_count, memory_order_relaxed));
    for (unsigned i = 0; i < CELLS; i++)
        free(torci_load(&cells[i], memory_order_relaxed));
}

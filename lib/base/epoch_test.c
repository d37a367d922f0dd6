/* SPDX-License-Identifier: MIT */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/epoch.h"
#include "base/testing.h"

TestSuite(epoch_thread, .timeout = 60);
TestSuite(epoch_section, .timeout = 60);
TestSuite(epoch_retire, .timeout = 60);
TestSuite(epoch_fork, .timeout = 60);

/* ---- Threads -------------------------------------------------------------------------------------------------- */

Test(epoch_thread, is_registered_by_its_first_use)
{
    struct torci_thread *self = torci_self();

    cr_assert_not_null(self);
    cr_expect(self->registered);
    cr_expect_eq(torci_self(), self);
    cr_expect_lt(self->index, torci_thread_index_bound());
    cr_expect_neq(torci_thread_random(self), torci_thread_random(self));
}

enum { RACERS = 8, GENERATIONS = 20 };

static _Atomic(unsigned) owners_of[1024];
static uint32_t index_of[RACERS];

static void
own_an_index(void *context, unsigned number)
{
    struct torci_thread *self = torci_self();

    (void)context;
    cr_assert_lt(self->index, 1024u);
    /* Relaxed: the order comes with the index. */
    cr_expect_eq(torci_fetch_add(&owners_of[self->index], 1, memory_order_relaxed), 0u, "an index has one owner");
    index_of[number] = self->index;
    for (unsigned i = 0; i < 100; i++)
        torci_race_window();
    torci_fetch_sub(&owners_of[self->index], 1, memory_order_relaxed);
}

/* Oracle: owners are counted by index; indexes stay dense although many threads come and go. */
Test(epoch_thread, has_an_index_of_its_own_that_is_reused_after_its_exit)
{
    for (unsigned generation = 0; generation < GENERATIONS; generation++)
        torct_race(RACERS, own_an_index, NULL);
    cr_expect_leq(torci_thread_index_bound(), RACERS + 2u);
}

static uint64_t left_behind;

static void *
leave_something_behind(void *index)
{
    left_behind = 42;
    *(uint32_t *)index = torci_self()->index;
    return NULL;
}

Test(epoch_thread, leaves_an_index_that_can_be_adopted)
{
    pthread_t thread;
    uint32_t index = 0;

    cr_expect_not(torci_thread_adopt(torci_self()->index), "a living thread owns it");
    cr_assert_eq(pthread_create(&thread, NULL, leave_something_behind, &index), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);

    cr_assert(torci_thread_adopt(index));
    cr_expect_eq(left_behind, UINT64_C(42));
    cr_expect_not(torci_thread_adopt(index), "adopted once at a time");

    uint32_t other;
    cr_assert_eq(pthread_create(&thread, NULL, leave_something_behind, &other), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_neq(other, index, "an adopted index is not given to a new thread");

    torci_thread_release_adopted(index);
    cr_expect(torci_thread_adopt(index));
    torci_thread_release_adopted(index);
}

static uint64_t handed_on;      /* Plain: written by whoever owns the index. */

static void
adopt_and_count(void *context, unsigned number)
{
    uint32_t index = *(uint32_t *)context;

    (void)number;
    for (unsigned won = 0; won < 200;) {
        if (!torci_thread_adopt(index))
            continue;
        handed_on++;
        torci_thread_release_adopted(index);
        won++;
    }
}

/* Oracle: a plain counter loses nothing, and a race checker is quiet: adoption excludes, and passes memory on. */
Test(epoch_thread, passes_on_what_the_last_owner_of_an_index_wrote)
{
    pthread_t thread;
    uint32_t index;

    (void)torci_self();
    cr_assert_eq(pthread_create(&thread, NULL, leave_something_behind, &index), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    /* More threads would take the free index: hold it while they start. */
    cr_assert(torci_thread_adopt(index));
    torci_thread_release_adopted(index);
    torct_race(4, adopt_and_count, &index);
    cr_expect_eq(handed_on, UINT64_C(800));
}

static pthread_key_t late_key;
static _Atomic(unsigned) late_uses;

static void
use_in_destructor(void *rounds)
{
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_fetch_add(&late_uses, 1, memory_order_relaxed);
    torci_epoch_exit(guard);
    if ((uintptr_t)rounds > 1)
        (void)pthread_setspecific(late_key, (void *)((uintptr_t)rounds - 1));
}

static void *
use_until_the_end(void *rounds)
{
    cr_assert_eq(pthread_setspecific(late_key, rounds), 0);
    (void)torci_self();
    return NULL;
}

/* The destructor of another key runs before or after ours, and again in a later round. */
Test(epoch_thread, can_be_used_from_destructors_of_thread_local_data)
{
    cr_assert_eq(pthread_key_create(&late_key, use_in_destructor), 0);
    for (unsigned i = 0; i < 50; i++) {
        pthread_t thread;

        cr_assert_eq(pthread_create(&thread, NULL, use_until_the_end, (void *)(uintptr_t)(1 + i % 3)), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    cr_expect_eq(torci_load(&late_uses, memory_order_relaxed), 17u * 1 + 17u * 2 + 16u * 3);
    torci_epoch_barrier();
    cr_expect_leq(torci_thread_index_bound(), 4u);
}

/* ---- Sections and retirement ---------------------------------------------------------------------------------- */

Test(epoch_section, nests)
{
    cr_expect_not(torci_epoch_in_section());
    struct torci_epoch_guard outer = torci_epoch_enter();
    struct torci_epoch_guard inner = torci_epoch_enter();

    cr_expect(torci_epoch_in_section());
    torci_epoch_exit(inner);
    cr_expect(torci_epoch_in_section());
    torci_epoch_exit(outer);
    cr_expect_not(torci_epoch_in_section());
}

struct object {
    struct torci_retired retired;       /* First. */
    uint64_t value;
    uint64_t check;                     /* ~value while it lives. */
    unsigned lives;
};

static _Atomic(uint64_t) freed;

static void
free_object(struct torci_retired *retired)
{
    struct object *object = (struct object *)retired;

    cr_assert_eq(object->check, ~object->value);
    object->check = object->value;
    free(object);
    torci_fetch_add(&freed, 1, memory_order_relaxed);
}

static struct object *
create_object(uint64_t value)
{
    struct object *object = malloc(sizeof(*object));

    cr_assert_not_null(object);
    object->value = value;
    object->check = ~value;
    object->lives = 0;
    return object;
}

Test(epoch_retire, frees_after_the_barrier)
{
    for (uint64_t i = 1; i <= 100; i++) {
        torci_epoch_retire(&create_object(i)->retired, free_object);
        if (i % 10 == 0) {
            torci_epoch_barrier();
            cr_expect_eq(torci_load(&freed, memory_order_relaxed), i);
        }
    }
}

Test(epoch_retire, frees_nothing_while_a_section_is_open)
{
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_epoch_retire(&create_object(1)->retired, free_object);
    for (unsigned i = 0; i < 1000; i++) {
        struct torci_epoch_guard inner = torci_epoch_enter();

        torci_race_window();
        torci_epoch_exit(inner);
        cr_expect_eq(torci_load(&freed, memory_order_relaxed), UINT64_C(0));
    }
    torci_epoch_exit(guard);
    torci_epoch_barrier();
    cr_expect_eq(torci_load(&freed, memory_order_relaxed), UINT64_C(1));
}

static void
retire_again(struct torci_retired *retired)
{
    struct object *object = (struct object *)retired;
    struct torci_epoch_guard guard = torci_epoch_enter();

    cr_assert_eq(object->check, ~object->value);
    torci_epoch_exit(guard);
    torci_epoch_retire(retired, object->lives-- > 0 ? retire_again : free_object);
}

Test(epoch_retire, can_be_called_by_a_free_fn_which_may_also_enter_sections)
{
    struct object *object = create_object(5);

    object->lives = 3;
    torci_epoch_retire(&object->retired, retire_again);
    for (unsigned i = 0; i < 6; i++)
        torci_epoch_barrier();
    cr_expect_eq(torci_load(&freed, memory_order_relaxed), UINT64_C(1));
}

/* ---- The reclaiming thread ------------------------------------------------------------------------------------- */

struct witness {
    struct torci_retired retired;       /* First. */
    uint32_t index;                     /* Of the thread that ran free_fn; read after the barrier. */
    sigset_t blocked;                   /* There. */
};

static void
look_around(struct torci_retired *retired)
{
    struct witness *witness = (struct witness *)retired;

    witness->index = torci_self()->index;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &witness->blocked);
}

static void
retire_and_leave(void *context, unsigned number)
{
    struct witness *witness = (struct witness *)context + number;

    cr_expect_neq(torci_self()->index, 0u);
    torci_epoch_retire(&witness->retired, look_around);
}

/* Threads of every generation take the lowest index that is free: were 0 free, it would be theirs. */
Test(epoch_retire, is_done_by_a_thread_whose_index_is_0_and_nobody_elses)
{
    static struct witness witnesses[RACERS];

    cr_expect_neq(torci_self()->index, 0u, "not even the first thread");
    for (unsigned generation = 0; generation < GENERATIONS; generation++) {
        torct_race(RACERS, retire_and_leave, witnesses);
        torci_epoch_barrier();
        for (unsigned i = 0; i < RACERS; i++)
            cr_expect_eq(witnesses[i].index, 0u);
        cr_expect_not(torci_thread_adopt(0), "nor can it be adopted");
    }
}

Test(epoch_retire, is_done_by_a_thread_that_takes_no_signals)
{
    static struct witness witness;
    sigset_t before, after;

    cr_assert_eq(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    torci_epoch_retire(&witness.retired, look_around);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    torci_epoch_barrier();
    for (int number = 1; number < 32; number++) {
        cr_expect_eq(sigismember(&after, number), sigismember(&before, number), "the caller keeps its mask");
        if (number != SIGKILL && number != SIGSTOP)
            cr_expect_eq(sigismember(&witness.blocked, number), 1, "signal %d would be delivered there", number);
    }
}

/* ---- Many threads ---------------------------------------------------------------------------------------------- */

enum { CELLS = 16, ROUNDS = 1000 };

static _Atomic(struct object *) cells[CELLS];
static _Atomic(uint64_t) retired_count;

static void
check(const struct object *object)
{
    if (object != NULL)
        cr_assert_eq(object->check, ~object->value);
}

/* Threads come and go, sections nest, free_fns read and retire again. */
static void
read_and_replace(void *context, unsigned number)
{
    uint64_t state = number + *(uint64_t *)context;

    for (unsigned i = 0; i < ROUNDS; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned cell = (unsigned)(state >> 33) % CELLS;
        struct torci_epoch_guard outer = torci_epoch_enter();
        struct object *seen = torci_load(&cells[cell], memory_order_acquire);
        struct torci_epoch_guard inner = torci_epoch_enter();

        check(torci_load(&cells[(cell + 1) % CELLS], memory_order_acquire));
        torci_epoch_exit(inner);
        check(seen);
        torci_epoch_exit(outer);

        if (state >> 40 & 7)
            continue;
        struct object *fresh = create_object(state);
        fresh->lives = (unsigned)(state >> 45) % 3;
        struct object *old = torci_exchange(&cells[cell], fresh, memory_order_acq_rel);
        if (old != NULL) {
            torci_epoch_retire(&old->retired, retire_again);
            torci_fetch_add(&retired_count, 1, memory_order_relaxed);
        }
    }
}

/* Oracle: objects that check themselves, and conservation: freed = retired. */
Test(epoch_retire, frees_what_readers_have_left_and_nothing_else)
{
    for (uint64_t generation = 0; generation < 5; generation++)
        torct_race(RACERS, read_and_replace, &generation);
    for (unsigned i = 0; i < 5; i++)
        torci_epoch_barrier();
    cr_expect_eq(torci_load(&freed, memory_order_relaxed), torci_load(&retired_count, memory_order_relaxed));
    for (unsigned i = 0; i < CELLS; i++)
        free(torci_load(&cells[i], memory_order_relaxed));
}

/* ---- fork ----------------------------------------------------------------------------------------------------- */

#if !defined(TORCI_TSAN)
Test(epoch_fork, does_not_hang_the_child)
{
    torci_epoch_retire(&create_object(1)->retired, free_object);
    torci_epoch_barrier();
    for (unsigned i = 0; i < 5; i++) {
        torci_epoch_retire(&create_object(2)->retired, free_object);
        pid_t child = fork();

        cr_assert_neq(child, -1);
        if (child == 0) {
            torci_epoch_retire(&create_object(3)->retired, free_object);
            torci_epoch_barrier();
            _exit(0);
        }
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    torci_epoch_barrier();
    cr_expect_eq(torci_load(&freed, memory_order_relaxed), UINT64_C(6));
}
#endif

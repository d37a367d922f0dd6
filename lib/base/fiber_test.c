/* SPDX-License-Identifier: MIT */
/* The scheduler itself: what it must find, what it must not report, that it replays, and the canaries of the fiber
 * build (a lost update, an ABA): if these are no longer found, the harness has gone blind. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/fiber.h"
#include "base/testing.h"

TestSuite(fiber_run, .timeout = 60);
TestSuite(fiber_freeze, .timeout = 60);
TestSuite(fiber_canary, .timeout = 60);

enum { FIBERS = 4, ROUNDS = 2 };

/* ---- A counter, incremented well or badly --------------------------------------------------------------------- */

struct counter {
    _Atomic(uint64_t) value;
    _Atomic(bool) held;
    bool atomically;
    unsigned bodies;
};

static void
reset_counter(void *context)
{
    struct counter *counter = context;

    torci_init(&counter->value, 0);
    torci_init(&counter->held, false);
    counter->bodies = 0;
}

static void
increment(void *context, unsigned number)
{
    struct counter *counter = context;

    (void)number;
    counter->bodies++;
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (counter->atomically) {
            torci_fetch_add(&counter->value, 1, memory_order_relaxed);
        } else {
            uint64_t value = torci_load(&counter->value, memory_order_relaxed);
            torci_store(&counter->value, value + 1, memory_order_relaxed);
        }
    }
}

static bool
counter_is_exact(void *context)
{
    struct counter *counter = context;

    return torci_load(&counter->value, memory_order_relaxed) == (uint64_t)counter->bodies * ROUNDS;
}

static struct torci_run
counter_run(struct counter *counter)
{
    return (struct torci_run){
        .fibers = FIBERS,
        .setup = reset_counter,
        .body = increment,
        .check = counter_is_exact,
        .context = counter,
        .seed = torct_seed(),
        .schedules = 5000,
    };
}

Test(fiber_run, is_quiet_about_a_correct_program)
{
    struct counter counter = {.atomically = true};
    struct torci_run run = counter_run(&counter);

    for (int strategy = TORCI_MIXED; strategy <= TORCI_PCT; strategy++) {
        run.strategy = (enum torci_strategy)strategy;
        struct torci_run_result result = torci_fiber_run(&run);

        cr_expect_not(result.failed, "%s", result.reason);
        cr_expect_eq(result.steps, (uint64_t)FIBERS * ROUNDS);
        cr_expect_geq(result.schedules, run.schedules);
    }
}

Test(fiber_canary, finds_a_lost_update)
{
    struct counter counter = {.atomically = false};
    struct torci_run run = counter_run(&counter);

    run.quiet = true;
    for (int strategy = TORCI_MIXED; strategy <= TORCI_PCT; strategy++) {
        run.strategy = (enum torci_strategy)strategy;
        struct torci_run_result result = torci_fiber_run(&run);

        cr_expect(result.failed, "strategy %d", strategy);
        cr_expect_lt(result.schedules, UINT64_C(100));
    }
}

Test(fiber_run, replays_a_failure_from_its_seed)
{
    struct counter counter = {.atomically = false};
    struct torci_run run = counter_run(&counter);

    run.quiet = true;
    for (int strategy = TORCI_RANDOM_WALK; strategy <= TORCI_PCT; strategy++) {
        run.strategy = (enum torci_strategy)strategy;
        run.schedules = 5000;
        struct torci_run_result first = torci_fiber_run(&run);

        cr_assert(first.failed);
        uint64_t wrong_value = torci_load(&counter.value, memory_order_relaxed);

        run.seed = first.failing_seed;
        run.schedules = 1;
        struct torci_run_result again = torci_fiber_run(&run);

        cr_expect(again.failed);
        cr_expect_eq(again.failing_seed, first.failing_seed);
        cr_expect_eq(torci_load(&counter.value, memory_order_relaxed), wrong_value);
    }
}

static void
fail_in_body(void *context, unsigned number)
{
    (void)context;
    torci_race_window();
    if (number == 1)
        torci_fail_here("as planned");
    torci_race_window();
}

Test(fiber_run, reports_what_a_body_says_of_its_failure)
{
    struct torci_run run = {.fibers = 3, .body = fail_in_body, .seed = 1, .schedules = 10, .quiet = true};
    struct torci_run_result result = torci_fiber_run(&run);

    cr_assert(result.failed);
    cr_expect_str_eq(result.reason, "as planned");
    cr_expect_not(torci_fiber_run(&(struct torci_run){.fibers = 1, .body = fail_in_body, .schedules = 10}).failed,
                  "a run after a failed one starts afresh");
}

static bool
never(void *argument)
{
    (void)argument;
    return false;
}

static void
wait_for_ever(void *context, unsigned number)
{
    (void)context;
    if (number == 0)
        torci_fiber_wait(never, NULL);
}

Test(fiber_run, reports_fibers_that_wait_for_ever)
{
    struct torci_run run = {.fibers = 2, .body = wait_for_ever, .seed = 1, .schedules = 10, .quiet = true};

    cr_expect(torci_fiber_run(&run).failed);
}

/* ---- A spin lock: correct, but a stopped holder stops everybody -------------------------------------------------- */

static void
increment_locked(void *context, unsigned number)
{
    struct counter *counter = context;

    (void)number;
    while (torci_exchange(&counter->held, true, memory_order_acquire))
        ;
    uint64_t value = torci_load(&counter->value, memory_order_relaxed);
    torci_store(&counter->value, value + 1, memory_order_relaxed);
    torci_store(&counter->held, false, memory_order_release);
}

Test(fiber_freeze, shows_that_a_lock_is_not_lock_free)
{
    struct counter counter = {0};
    struct torci_run run = {.fibers = 3, .setup = reset_counter, .body = increment_locked, .context = &counter,
                            .seed = torct_seed(), .schedules = 50, .strategy = TORCI_RANDOM_WALK, .steps_max = 10000,
                            .quiet = true};
    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_assert(result.failed);
    cr_expect_not_null(strstr(result.reason, "livelock"));

    run.freeze_at = 0;
    cr_expect_not(torci_fiber_run(&run).failed, "without freezing it only takes longer");
}

static void
increment_by_cas(void *context, unsigned number)
{
    struct counter *counter = context;
    uint64_t value = torci_load(&counter->value, memory_order_relaxed);

    (void)number;
    while (!torci_cas(&counter->value, &value, value + 1, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* All but the frozen one have counted; the frozen one may have. */
static bool
others_have_counted(void *context)
{
    struct counter *counter = context;
    uint64_t value = torci_load(&counter->value, memory_order_relaxed);
    unsigned frozen = 0;

    for (unsigned number = 0; number < FIBERS; number++)
        frozen += torci_fiber_is_frozen(number);
    return value >= FIBERS - frozen && value <= FIBERS;
}

Test(fiber_freeze, passes_a_lock_free_counter)
{
    struct counter counter = {0};
    struct torci_run run = {.fibers = FIBERS, .setup = reset_counter, .body = increment_by_cas,
                            .check = others_have_counted, .context = &counter, .seed = torct_seed(), .schedules = 200};
    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_expect_not(result.failed, "%s", result.reason);
    cr_expect_gt(result.frozen, (uint64_t)FIBERS * run.schedules, "each fiber has at least two points to freeze at");
}

/* ---- A stack whose nodes are pushed again at once: ABA --------------------------------------------------------- */

enum { NODES = 3 };

struct node {
    _Atomic(struct node *) next;
    _Atomic(int) owners;
};

struct stack {
    struct node nodes[NODES];
    _Atomic(struct node *) top;
};

static void
fill(void *context)
{
    struct stack *stack = context;

    for (unsigned i = 0; i < NODES; i++) {
        torci_init(&stack->nodes[i].next, i + 1 < NODES ? &stack->nodes[i + 1] : NULL);
        torci_init(&stack->nodes[i].owners, 0);
    }
    torci_init(&stack->top, &stack->nodes[0]);
}

static struct node *
pop(struct stack *stack)
{
    struct node *top = torci_load(&stack->top, memory_order_acquire);

    while (top != NULL) {
        struct node *next = torci_load(&top->next, memory_order_relaxed);

        if (torci_cas(&stack->top, &top, next, memory_order_acq_rel, memory_order_acquire))
            break;
    }
    return top;
}

static void
push(struct stack *stack, struct node *node)
{
    struct node *top = torci_load(&stack->top, memory_order_relaxed);

    do
        torci_store(&node->next, top, memory_order_relaxed);
    while (!torci_cas(&stack->top, &top, node, memory_order_release, memory_order_relaxed));
}

static void
own(struct node *node)
{
    if (node != NULL && torci_fetch_add(&node->owners, 1, memory_order_relaxed) != 0)
        torci_fail_here("two fibers own one node");
}

static void
give_back(struct stack *stack, struct node *node)
{
    if (node == NULL)
        return;
    torci_fetch_sub(&node->owners, 1, memory_order_relaxed);
    push(stack, node);
}

static void
pop_two_and_push_back(void *context, unsigned number)
{
    struct stack *stack = context;

    (void)number;
    for (unsigned i = 0; i < 2; i++) {
        struct node *first = pop(stack);
        struct node *second = i == 0 ? pop(stack) : NULL;

        own(first);
        own(second);
        give_back(stack, first);
        give_back(stack, second);
    }
}

Test(fiber_canary, finds_an_aba)
{
    struct stack stack;
    struct torci_run run = {.fibers = 4, .setup = fill, .body = pop_two_and_push_back, .context = &stack,
                            .seed = torct_seed(), .schedules = 20000, .quiet = true};

    for (int strategy = TORCI_MIXED; strategy <= TORCI_PCT; strategy++) {
        run.strategy = (enum torci_strategy)strategy;
        cr_expect(torci_fiber_run(&run).failed, "strategy %d", strategy);
    }
}

static void
pass_many_points(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (unsigned i = 0; i < 10000; i++)
        torci_race_window();
}

Test(fiber_run, stops_a_schedule_at_its_limit_of_steps)
{
    struct torci_run run = {.fibers = 2, .body = pass_many_points, .seed = 1, .schedules = 1, .steps_max = 15000,
                            .quiet = true};

    cr_expect(torci_fiber_run(&run).failed);
    run.steps_max = 20000;
    struct torci_run_result result = torci_fiber_run(&run);

    cr_expect_not(result.failed);
    cr_expect_eq(result.steps, UINT64_C(20000));
}

static void
keep_numbers(void *context, unsigned number)
{
    uint64_t *numbers = context;

    torci_race_window();
    numbers[number] = torci_fiber_random();
}

Test(fiber_run, gives_bodies_the_same_random_numbers_again)
{
    uint64_t first[2], second[2];
    struct torci_run run = {.fibers = 2, .body = keep_numbers, .context = first, .seed = 7, .schedules = 1};

    (void)torci_fiber_run(&run);
    run.context = second;
    (void)torci_fiber_run(&run);
    cr_expect_arr_eq(first, second, sizeof(first));
    cr_expect_neq(first[0], first[1]);
}

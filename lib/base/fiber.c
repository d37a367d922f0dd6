/* SPDX-License-Identifier: MIT */
/* base/fiber: the deterministic scheduler.
 *
 *   main ----> fiber --(point)--> fiber --(point)--> ... --(all done, or failed)--> main
 *
 * Shape        Each fiber has a stack of its own; a switch saves the callee-saved registers on it and swaps the stack
 *              pointer. One more fiber runs what the simulated epoch has to reclaim; it is idle unless there is such.
 * Invariants   I1  a fiber is left only in choose_and_switch(), so between two points a fiber runs alone
 *              I2  every choice comes from `choices`, seeded per schedule: the same seed, the same schedule
 *              I3  a frozen fiber is never chosen again
 * Replay       Schedule k of a run is seeded with run->seed + k * STRIDE, so the failing one is the first schedule of
 *              a run that starts there. PCT needs to know how many points a schedule has: that is measured by one
 *              schedule with a fixed seed at the start of each run, which depends on nothing else.
 * Failure      The failing fiber jumps out to main; all stacks are abandoned where they stand. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE     /* MAP_ANONYMOUS, sigaltstack() */
#endif
#include "base/fiber.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/annotate.h"
#include "base/assert.h"
#include "base/explorer.h"

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

#define STRIDE UINT64_C(0x9e3779b97f4a7c15)
#define CALIBRATION_SEED UINT64_C(0x63616c6962726174)

enum {
    STACK_BYTES = TORCI_FIBER_STACK_BYTES,
    GUARD_BYTES = 64 * 1024,        /* At least a page everywhere. */
    STEPS_MAX_DEFAULT = 100000,
    DEPTH_MAX = 8,
    FATAL_SIGNALS = 5,
};

enum state {
    IDLE,           /* The reclaimer without work. */
    RUNNABLE,
    WAITING,        /* For ready(argument). */
    FROZEN,
    DONE,
};

struct fiber {
    enum state state;
    int64_t priority;               /* PCT: the greatest runs. */
    uint64_t points;                /* Passed so far. */
    bool (*ready)(void *argument);
    void *argument;
    unsigned char *stack;           /* Lowest byte; above a guard. */
    void *fake_stack;               /* AddressSanitizer's. */
#if defined(__x86_64__) || defined(__aarch64__)
    void *stack_pointer;
#else
    ucontext_t machine;
#endif
};

/* Slots: fibers, the reclaimer, main. */
static struct fiber fibers[TORCI_FIBER_SLOTS];

struct torci_fiber_running torci_fiber_running = {TORCI_FIBER_NONE, 0};
#define current torci_fiber_running.number

static const struct torci_run *run;
static struct torci_run_result *result;
static uint64_t choices;                    /* State: what runs next. */
static uint64_t bodies;                     /* State: torci_fiber_random(). */
static uint64_t steps;
static uint64_t steps_limit;
static uint64_t steps_expected;             /* PCT: points of the calibrating schedule. */
static uint64_t change_points[DEPTH_MAX];
static unsigned changes;
static bool by_priority;                    /* This schedule is PCT. */
static bool failed;                         /* This schedule. */
static bool froze;                          /* This schedule. */
static uint64_t seed_of_schedule;

static _Noreturn void
give_up(const char *what)
{
    fprintf(stderr, "torci_fiber: %s\n", what);
    abort();
}

/* ---- Random -------------------------------------------------------------------------------------------------- */

static uint64_t
mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static uint64_t
draw(uint64_t *state)
{
    *state += STRIDE;
    return mix(*state);
}

/* Below `bound`, which is small: by multiplication, a division would show in the switch. */
static uint64_t
draw_below(uint64_t bound)
{
    return (draw(&choices) >> 32) * bound >> 32;
}

/* ---- The machine's part --------------------------------------------------------------------------------------- */

static void run_fiber(void);

#if defined(__x86_64__)

/* Save what a call must preserve, swap stacks, restore. */
void torci_fiber_swap(void **save, void *load);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl torci_fiber_swap\n"
        ".hidden torci_fiber_swap\n"
        ".type torci_fiber_swap, @function\n"
        "torci_fiber_swap:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size torci_fiber_swap, . - torci_fiber_swap\n");

enum { SAVED_REGISTERS = 6 };

/* As if run_fiber() had been called (with a return address of 0) and had called torci_fiber_swap() at its start. */
static void
prepare(struct fiber *fiber)
{
    void **top = (void **)(void *)(fiber->stack + STACK_BYTES);

    memset(top - 2 - SAVED_REGISTERS, 0, (2 + SAVED_REGISTERS) * sizeof(*top));
    *(void (**)(void))(void *)(top - 2) = run_fiber;
    fiber->stack_pointer = top - 2 - SAVED_REGISTERS;
}

static void
swap(struct fiber *from, struct fiber *to)
{
    torci_fiber_swap(&from->stack_pointer, to->stack_pointer);
}

#elif defined(__aarch64__)

void torci_fiber_swap(void **save, void *load);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl torci_fiber_swap\n"
        ".hidden torci_fiber_swap\n"
        ".type torci_fiber_swap, %function\n"
        "torci_fiber_swap:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size torci_fiber_swap, . - torci_fiber_swap\n");

enum { SAVED_WORDS = 20, LINK_REGISTER = 11 };

static void
prepare(struct fiber *fiber)
{
    void **frame = (void **)(void *)(fiber->stack + STACK_BYTES) - SAVED_WORDS;

    memset(frame, 0, SAVED_WORDS * sizeof(*frame));
    *(void (**)(void))(void *)(frame + LINK_REGISTER) = run_fiber;
    fiber->stack_pointer = frame;
}

static void
swap(struct fiber *from, struct fiber *to)
{
    torci_fiber_swap(&from->stack_pointer, to->stack_pointer);
}

#else

/* Slower: each switch sets the signal mask. */
static void
prepare(struct fiber *fiber)
{
    if (getcontext(&fiber->machine) != 0)
        give_up("getcontext failed");
    fiber->machine.uc_stack.ss_sp = fiber->stack;
    fiber->machine.uc_stack.ss_size = STACK_BYTES;
    fiber->machine.uc_link = NULL;
    makecontext(&fiber->machine, run_fiber, 0);
}

static void
swap(struct fiber *from, struct fiber *to)
{
    if (swapcontext(&from->machine, &to->machine) != 0)
        give_up("swapcontext failed");
}

#endif

#if defined(TORCI_ASAN)

static const void *main_stack;
static size_t main_stack_bytes;

/* `from` NULL in finish: a fiber's first instruction. `leaving` for good: its fake frames are given up. */
static void
start_switch(struct fiber *from, const struct fiber *to, bool leaving)
{
    bool home = to == &fibers[TORCI_FIBER_NONE];

    __sanitizer_start_switch_fiber(leaving ? NULL : &from->fake_stack, home ? main_stack : to->stack,
                                   home ? main_stack_bytes : (size_t)STACK_BYTES);
}

static void
finish_switch(struct fiber *self)
{
    const void *bottom;
    size_t bytes;

    __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &bytes);
    self->fake_stack = NULL;
    if (main_stack == NULL) {       /* The first switch ever came from main. */
        main_stack = bottom;
        main_stack_bytes = bytes;
    }
}

#else
#define start_switch(from, to, leaving) ((void)(leaving))
#define finish_switch(self) ((void)(self))
#endif

static void
switch_to(unsigned next, bool leaving)
{
    struct fiber *from = &fibers[current];
    struct fiber *to = &fibers[next];

    (void)leaving;
    current = next;
    torci_fiber_running.stack = (uintptr_t)to->stack;
    start_switch(from, to, leaving);
    swap(from, to);
    finish_switch(from);
}

static void
create_stacks(void)
{
    if (fibers[0].stack != NULL)
        return;
    for (unsigned number = 0; number < TORCI_FIBER_NONE; number++) {
        void *area = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (area == MAP_FAILED || mprotect(area, GUARD_BYTES, PROT_NONE) != 0)
            give_up("no memory for stacks");
        fibers[number].stack = (unsigned char *)area + GUARD_BYTES;
    }
}

/* ---- Choosing ------------------------------------------------------------------------------------------------- */

static bool
is_runnable(struct fiber *fiber)
{
    if (fiber->state == WAITING && fiber->ready(fiber->argument))
        fiber->state = RUNNABLE;
    return fiber->state == RUNNABLE;
}

/* The fibers that may run now. */
static unsigned
collect_runnable(unsigned candidates[TORCI_FIBER_SLOTS])
{
    struct fiber *reclaimer = &fibers[TORCI_FIBER_RECLAIMER];
    unsigned count = 0;

    for (unsigned number = 0; number < run->fibers; number++)
        if (is_runnable(&fibers[number]))
            candidates[count++] = number;

    /* With nobody else left to run, what can be reclaimed is reclaimed. */
    if (reclaimer->state == IDLE && torci_sim_ready(count == 0))
        reclaimer->state = RUNNABLE;
    if (is_runnable(reclaimer))
        candidates[count++] = TORCI_FIBER_RECLAIMER;
    return count;
}

static unsigned
choose(const unsigned *candidates, unsigned count)
{
    unsigned best = candidates[0];

    if (count == 1)
        return best;
    if (!by_priority)
        return candidates[draw_below(count)];
    for (unsigned i = 1; i < count; i++)
        if (fibers[candidates[i]].priority > fibers[best].priority)
            best = candidates[i];
    return best;
}

static void
record_failure(const char *reason)
{
    if (failed)
        return;
    failed = true;
    snprintf(result->reason, sizeof(result->reason), "%s", reason);
}

/* No fiber can run: the schedule is over, well unless somebody still waits. */
static unsigned
end_of_schedule(void)
{
    for (unsigned number = 0; number < run->fibers; number++)
        if (fibers[number].state == WAITING)
            record_failure("every fiber that is left waits");
    return TORCI_FIBER_NONE;
}

/* I1. */
static void
choose_and_switch(void)
{
    unsigned candidates[TORCI_FIBER_SLOTS];
    unsigned count = collect_runnable(candidates);
    unsigned next = count > 0 ? choose(candidates, count) : end_of_schedule();

    if (next != current)
        switch_to(next, fibers[current].state == DONE || next == TORCI_FIBER_NONE);
}

static void
freeze_if_due(void)
{
    if (run->freeze_at == 0 || current != run->frozen_fiber || fibers[current].points != run->freeze_at)
        return;
    fibers[current].state = FROZEN;
    froze = true;
}

static void
lower_priority_if_due(void)
{
    for (unsigned i = 0; i < changes; i++)
        if (change_points[i] == steps)
            fibers[current].priority = -(int64_t)i - 1;
}

void
torci_fiber_point(void)
{
    if (current == TORCI_FIBER_NONE)
        return;

    steps++;
    fibers[current].points++;
    if (steps > steps_limit)
        torci_fail_here("livelock: the limit of steps is reached");
    if (by_priority)
        lower_priority_if_due();
    freeze_if_due();
    choose_and_switch();
}

void
torci_fiber_wait(bool (*ready)(void *argument), void *argument)
{
    if (ready(argument))
        return;
    torc_assert(current < TORCI_FIBERS_MAX);    /* Out of fibers, nobody could make it ready. */

    fibers[current].ready = ready;
    fibers[current].argument = argument;
    fibers[current].state = WAITING;
    choose_and_switch();
}

/* ---- Fibers --------------------------------------------------------------------------------------------------- */

static void
reclaim(void)
{
    for (;;) {
        torci_sim_reclaim_one();
        fibers[TORCI_FIBER_RECLAIMER].state = IDLE;
        choose_and_switch();
    }
}

/* The first function of each stack. */
static void
run_fiber(void)
{
    finish_switch(&fibers[current]);
    if (current == TORCI_FIBER_RECLAIMER)
        reclaim();
    run->body(run->context, current);
    torci_sim_fiber_ended(current);
    fibers[current].state = DONE;
    choose_and_switch();
    give_up("a fiber that has ended was chosen");
}

static void
prepare_fiber(unsigned number, enum state state)
{
    struct fiber *fiber = &fibers[number];

    fiber->state = state;
    fiber->points = 0;
    fiber->fake_stack = NULL;
    fiber->priority = 0;
#if defined(TORCI_ASAN)
    __asan_unpoison_memory_region(fiber->stack, STACK_BYTES);   /* An abandoned fiber left its frames' marks. */
#endif
    prepare(fiber);
}

/* A random order of priorities for the fibers and the reclaimer, all above those that change points give. */
static void
draw_priorities(void)
{
    for (unsigned number = 0; number < TORCI_FIBER_NONE; number++)
        fibers[number].priority = (int64_t)(draw(&choices) >> 2) + 1;

    unsigned depth = run->depth != 0 ? run->depth : 2 + (unsigned)draw_below(3);

    changes = depth - 1 < DEPTH_MAX ? depth - 1 : DEPTH_MAX;
    for (unsigned i = 0; i < changes; i++)
        change_points[i] = 1 + draw_below(steps_expected);
}

static void
begin_schedule(uint64_t seed, enum torci_strategy strategy)
{
    choices = mix(seed);
    bodies = mix(seed + 1);
    steps = 0;
    failed = false;
    froze = false;
    seed_of_schedule = seed;

    torci_sim_begin(draw(&choices));
    torci_explorer_begin(draw(&choices));
    for (unsigned number = 0; number < run->fibers; number++)
        prepare_fiber(number, RUNNABLE);
    prepare_fiber(TORCI_FIBER_RECLAIMER, IDLE);

    by_priority = strategy == TORCI_PCT || (strategy == TORCI_MIXED && draw_below(2) == 0);
    if (by_priority)
        draw_priorities();
}

/* One schedule, from setup to teardown. True if nothing failed. */
static bool
run_schedule(uint64_t seed, enum torci_strategy strategy)
{
    begin_schedule(seed, strategy);
    if (run->setup != NULL)
        run->setup(run->context);

    choose_and_switch();
    torc_assert(current == TORCI_FIBER_NONE);
    bool abandoned = failed;

    if (!abandoned && run->check != NULL && !run->check(run->context))
        record_failure("the check does not hold");
    if (!abandoned && run->teardown != NULL)
        run->teardown(run->context);

    result->schedules++;
    result->frozen += froze;
    if (steps > result->steps)
        result->steps = steps;
    if (failed) {
        result->failed = true;
        result->failing_seed = seed;
    }
    return !failed;
}

void
torci_fail_here(const char *reason)
{
    if (result == NULL)
        give_up(reason);
    record_failure(reason);
    if (current != TORCI_FIBER_NONE)
        switch_to(TORCI_FIBER_NONE, true);
}

bool
torci_fiber_is_frozen(unsigned number)
{
    torc_assert(number < TORCI_FIBERS_MAX);
    return fibers[number].state == FROZEN;
}

uint64_t
torci_fiber_random(void)
{
    return draw(&bodies);
}

/* ---- Death ---------------------------------------------------------------------------------------------------- */

static const int fatal_signals[FATAL_SIGNALS] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction actions_before[FATAL_SIGNALS];

/* Async-signal-safe: the process is dying, perhaps inside printf. */
static void
print_seed(void)
{
    char line[] = "torci_fiber: died in the schedule of seed 0x0000000000000000\n";
    char *digit = line + sizeof(line) - 3;

    for (uint64_t rest = seed_of_schedule; rest != 0; rest >>= 4)
        *digit-- = "0123456789abcdef"[rest & 15];
    if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
        return;     /* Nothing else can be done. */
}

static void
on_fatal_signal(int number)
{
    print_seed();
    (void)raise(number);    /* SA_RESETHAND: the default action now. */
}

static void
watch_for_death(void)
{
    static unsigned char signal_stack[64 * 1024];
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
    struct sigaction action = {.sa_handler = on_fatal_signal,
                               .sa_flags = (int)(SA_RESETHAND | SA_ONSTACK | SA_NODEFER)};

    sigemptyset(&action.sa_mask);
#if defined(TORCI_ASAN)
    __sanitizer_set_death_callback(print_seed);
    unsigned watched = 1;       /* The sanitizer reports the others. */
#else
    unsigned watched = FATAL_SIGNALS;
#endif
    if (sigaltstack(&stack, NULL) != 0)
        give_up("sigaltstack failed");
    for (unsigned i = 0; i < FATAL_SIGNALS; i++)
        if (sigaction(fatal_signals[i], i < watched ? &action : NULL, &actions_before[i]) != 0)
            give_up("sigaction failed");
}

static void
stop_watching(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    for (unsigned i = 0; i < FATAL_SIGNALS; i++)
        (void)sigaction(fatal_signals[i], &actions_before[i], NULL);     /* As it was: cannot fail. */
    (void)sigaltstack(&none, NULL);
#if defined(TORCI_ASAN)
    __sanitizer_set_death_callback(NULL);
#endif
}

/* ---- Runs ----------------------------------------------------------------------------------------------------- */

static void
print_failure(void)
{
    fprintf(stderr,
            "torci_fiber: %s\n"
            "torci_fiber: schedule %llu; replay: .seed = 0x%016llx, .schedules = 1, .strategy = %d, .depth = %u, "
            ".frozen_fiber = %u, .freeze_at = %llu\n",
            result->reason, (unsigned long long)result->schedules, (unsigned long long)result->failing_seed,
            (int)run->strategy, run->depth, run->frozen_fiber, (unsigned long long)run->freeze_at);
}

struct torci_run_result
torci_fiber_run(const struct torci_run *wanted)
{
    struct torci_run_result outcome = {0};

    torc_assert(wanted->fibers >= 1 && wanted->fibers <= TORCI_FIBERS_MAX && wanted->body != NULL);
    torc_assert(run == NULL && wanted->depth <= DEPTH_MAX);

    run = wanted;
    result = &outcome;
    steps_limit = run->steps_max != 0 ? run->steps_max : STEPS_MAX_DEFAULT;
    create_stacks();
    watch_for_death();

    bool good = true;
    if (run->strategy != TORCI_RANDOM_WALK) {
        good = run_schedule(CALIBRATION_SEED, TORCI_RANDOM_WALK);
        steps_expected = steps > 0 ? steps : 1;
    }
    for (uint64_t k = 0; good && k < run->schedules; k++)
        good = run_schedule(run->seed + k * STRIDE, run->strategy);

    if (!good && !run->quiet)
        print_failure();
    stop_watching();
    run = NULL;
    result = NULL;
    return outcome;
}

static void
add_result(struct torci_run_result *sum, const struct torci_run_result *part)
{
    uint64_t schedules = sum->schedules + part->schedules;
    uint64_t frozen = sum->frozen + part->frozen;
    uint64_t longest = sum->steps > part->steps ? sum->steps : part->steps;

    if (part->failed)
        *sum = *part;
    sum->schedules = schedules;
    sum->frozen = frozen;
    sum->steps = longest;
}

struct torci_run_result
torci_fiber_run_frozen(const struct torci_run *wanted)
{
    struct torci_run_result sum = {0};
    struct torci_run part = *wanted;

    for (part.frozen_fiber = 0; part.frozen_fiber < wanted->fibers; part.frozen_fiber++) {
        for (part.freeze_at = 1;; part.freeze_at++) {
            struct torci_run_result outcome = torci_fiber_run(&part);

            add_result(&sum, &outcome);
            if (outcome.failed)
                return sum;
            if (outcome.frozen == 0)
                break;
            part.seed += wanted->schedules * STRIDE;
        }
    }
    return sum;
}

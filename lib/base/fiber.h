/* SPDX-License-Identifier: MIT */
/* base/fiber: a deterministic scheduler for tests of the lock-free core (builds with TORC_ATOMIC_FIBER or _EXPLORER).
 *
 * torci_fiber_run() runs some fibers on one thread, switching only at scheduling points: each torci_* access of
 * base/atomic.h, enter and exit of sections, torci_race_window(). Many schedules, each drawn from one seed, so each can
 * be replayed. In the explorer build the same call explores weak memory as well (base/explorer.h).
 *
 *     struct torci_run run = {.fibers = 3, .setup = create, .body = work, .check = holds, .teardown = destroy,
 *                             .context = &fixture, .seed = torct_seed(), .schedules = 10000};
 *     cr_assert(!torci_fiber_run(&run).failed);
 *
 * The process must have no second thread that uses the library. Out of a run, scheduling points do nothing. */
#ifndef TORCI_FIBER_H
#define TORCI_FIBER_H

#include <stdbool.h>
#include <stdint.h>

enum { TORCI_FIBERS_MAX = 8 };

enum torci_strategy {
    TORCI_MIXED,            /* Each schedule draws one of the next two. */
    TORCI_RANDOM_WALK,      /* At each point any fiber may go on. */
    TORCI_PCT,              /* Fibers have priorities, changed at depth - 1 random points: finds a bug that needs
                               `depth` ordered events with probability >= 1 / (fibers * points^(depth - 1)). */
};

struct torci_run {
    unsigned fibers;                                    /* 1 .. TORCI_FIBERS_MAX */
    void (*setup)(void *context);                       /* Before each schedule. May be NULL, as the two below. */
    void (*body)(void *context, unsigned number);       /* Each fiber, number from 0. */
    bool (*check)(void *context);                       /* After each schedule: whether the outcome is right. */
    void (*teardown)(void *context);                    /* After the check; skipped if a body failed. */
    void *context;
    uint64_t seed;                                      /* Of the first schedule. */
    uint64_t schedules;
    enum torci_strategy strategy;
    unsigned depth;                                     /* PCT; 0: 2, 3 or 4, drawn for each schedule. */
    uint64_t steps_max;                                 /* Points per schedule, then it is a livelock. 0: 100,000. */
    unsigned frozen_fiber;                              /* If freeze_at > 0: this fiber stops for ever */
    uint64_t freeze_at;                                 /* at its so many-th point (1 is the first). */
    bool quiet;                                         /* Do not print failures: a failure is expected. */
};

struct torci_run_result {
    uint64_t schedules;         /* Done, the failing one included. */
    uint64_t steps;             /* Of the longest schedule. */
    uint64_t frozen;            /* Schedules in which the fiber to be frozen came to its point. */
    uint64_t failing_seed;      /* As .seed, with .schedules = 1, it replays the failure. */
    bool failed;
    char reason[256];           /* Of the failure. */
};

/* Run up to run->schedules schedules; stop at the first that fails: a torci_fail_here(), a check that returns false, a
 * race (explorer), a livelock, or fibers that all wait. The failure and how to replay it go to standard error, and so
 * does the seed if the process dies inside. */
struct torci_run_result torci_fiber_run(const struct torci_run *run);

/* Freeze each fiber at each of its points in turn (run->schedules schedules for each), until no schedule reaches the
 * point: all others must finish, and the check must hold. The executable definition of lock-freedom. */
struct torci_run_result torci_fiber_run_frozen(const struct torci_run *run);

/* In a body: the schedule has failed; does not return. In a check or teardown: it has failed; returns. */
void torci_fail_here(const char *reason);

/* In a check or teardown: whether this fiber was frozen in this schedule, so that what it held is not missed. */
bool torci_fiber_is_frozen(unsigned number);

/* A random number of this schedule: the same when it is replayed. For setups, bodies and checks. */
uint64_t torci_fiber_random(void);

/* Let others run until ready(argument) holds. For what blocks by its contract; out of a fiber it must hold at once. */
void torci_fiber_wait(bool (*ready)(void *argument), void *argument);

/* The fiber that runs: 0 .. fibers - 1, TORCI_FIBER_RECLAIMER, or TORCI_FIBER_NONE out of fibers. */
enum { TORCI_FIBER_RECLAIMER = TORCI_FIBERS_MAX, TORCI_FIBER_NONE = TORCI_FIBERS_MAX + 1, TORCI_FIBER_SLOTS };
enum { TORCI_FIBER_STACK_BYTES = 256 * 1024 };

struct torci_fiber_running {
    unsigned number;
    uintptr_t stack;            /* The lowest byte of its stack. */
};
extern struct torci_fiber_running torci_fiber_running;      /* Written by the scheduler. */

static inline unsigned
torci_fiber_current(void)
{
    return torci_fiber_running.number;
}

/* A scheduling point. */
void torci_fiber_point(void);

/* ---- What the scheduler asks of the simulated epoch (epoch_sim.c) -------------------------------------------- */

void torci_sim_begin(uint64_t seed);            /* A schedule begins: forget what the last one left. */
void torci_sim_fiber_ended(unsigned number);    /* The thread that this fiber stands for exits. */
bool torci_sim_ready(bool hurry);               /* Whether the reclaimer has something to do (now, if in a hurry). */
void torci_sim_reclaim_one(void);               /* In the reclaimer's fiber, after torci_sim_ready(). */

#endif

/* SPDX-License-Identifier: MIT */
/* Stamps in every interleaving the scheduler can draw: what was taken later is not smaller, and a snapshot lies between
 * the commits before it and those after it. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "mvcc/clock.h"
#include "mvcc/history_testing.h"

TestSuite(clock_schedules, .timeout = 3000);

enum { FIBERS = 3, TAKEN_MAX = 4 };

struct taken {
    bool read;              /* Else a commit's stamp. */
    uint64_t begins, ended; /* Ticks. */
    uint64_t stamp;
};

struct world {
    struct torci_clock clock;
    struct taken taken[FIBERS][TAKEN_MAX];
};

static void
setup(void *context)
{
    struct world *world = context;

    torct_ticks = 0;
    torci_clock_init(&world->clock, TORCI_CLOCK_START);
    for (unsigned f = 0; f < FIBERS; f++)
        for (unsigned i = 0; i < TAKEN_MAX; i++)
            world->taken[f][i].read = torci_fiber_random() % 2 == 0;
}

static void
take_stamps(void *context, unsigned number)
{
    struct world *world = context;

    for (unsigned i = 0; i < TAKEN_MAX; i++) {
        struct taken *taken = &world->taken[number][i];

        taken->begins = torct_tick();
        taken->stamp = taken->read ? torci_clock_read_stamp(&world->clock) : torci_clock_write_stamp(&world->clock);
        taken->ended = torct_tick();
    }
}

static bool
in_order(const struct taken *a, const struct taken *b)
{
    if (a->stamp % 2 != (a->read ? 0 : 1))
        return false;
    if (a->ended > b->begins)
        return true;
    return a->read == b->read ? a->stamp <= b->stamp : a->stamp < b->stamp;
}

static bool
all_in_order(void *context)
{
    const struct world *world = context;
    bool holds = true;

    for (unsigned i = 0; i < FIBERS * TAKEN_MAX; i++)
        for (unsigned j = 0; j < FIBERS * TAKEN_MAX; j++)
            holds &= in_order(&world->taken[i / TAKEN_MAX][i % TAKEN_MAX], &world->taken[j / TAKEN_MAX][j % TAKEN_MAX]);
    return holds;
}

Test(clock_schedules, a_snapshot_lies_between_the_commits_before_and_after_it)
{
    static struct world world;
    struct torci_run run = {.fibers = FIBERS, .setup = setup, .body = take_stamps, .check = all_in_order,
                            .context = &world, .seed = torct_seed(), .schedules = torct_schedules(100000)};
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

/* SPDX-License-Identifier: MIT */
/* Every interleaving the scheduler can draw, on an index so small that all rare paths lie next to each other. */
#include <criterion/criterion.h>

#include "mvcc/index_world_testing.h"

TestSuite(index_fiber, .timeout = 280);

Test(index_fiber, keeps_every_key_once_while_keys_come_and_go)
{
    struct world world = {.puts = 7, .removes = 7};
    struct torci_run run = run_of(&world, 100000);

    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed);
}

Test(index_fiber, meets_permanent_keys_in_every_walk)
{
    struct world world = {.puts = 5, .removes = 5, .quiet_keys = true};
    struct torci_run run = run_of(&world, 60000);

    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed);
}

/* Freeze each fiber at each of its points: the others must finish. */
Test(index_fiber, goes_on_whoever_stops_wherever)
{
    static struct pool pool;
    struct world world = {.pool = &pool, .puts = 7, .removes = 7};
    struct torci_run run = run_of(&world, 20);

    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_log_info("%llu schedules, %llu frozen, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.frozen, (unsigned long long)result.steps);
    cr_assert_not(result.failed);
}

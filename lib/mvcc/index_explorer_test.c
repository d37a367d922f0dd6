/* SPDX-License-Identifier: MIT */
/* The same worlds under weak memory: a missing release or acquire shows as a race or as a wrong outcome. */
#include <criterion/criterion.h>

#include "mvcc/index_world_testing.h"

TestSuite(index_explorer, .timeout = 280);

Test(index_explorer, keeps_every_key_once_while_keys_come_and_go)
{
    static struct world world = {.puts = 7, .removes = 7};
    struct torci_run run = run_of(&world, 20000);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed);
}

Test(index_explorer, meets_permanent_keys_in_every_walk)
{
    static struct world world = {.puts = 5, .removes = 5, .quiet_keys = true};
    struct torci_run run = run_of(&world, 10000);

    cr_assert_not(torci_fiber_run(&run).failed);
}

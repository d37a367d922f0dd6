/* SPDX-License-Identifier: MIT */
/* Pruning, leaving records and the hand-over between queues, in every interleaving the scheduler can draw: nothing that
 * is needed goes, and everything else does. Freed memory is filled, and values check themselves, so a use after free
 * shows as a torn value. The axioms: history_testing.h. */
#include <criterion/criterion.h>

#include "mvcc/history_testing.h"

TestSuite(reclaim_schedules, .timeout = 3000);

enum { A = 1, B = 2 };

static void
check(void (*plan)(struct torct_world *world), unsigned present, uint64_t schedules)
{
    struct torct_world world = {.plan = plan, .present = present, .collect_one_in = 4};
    struct torci_run run = torct_run_of(&world, schedules);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

static void
readers_among_updates(struct torct_world *world)
{
    torct_add(world, 0, TORCT_READ_ONLY, TORCT_ONE_OF("ga gb ga gb", "s ga gb", "gb ga z"));
    torct_add(world, 0, TORCT_READ_ONLY, TORCT_ONE_OF("ga gb ga gb", "s ga gb", "gb ga z"));
    torct_add(world, 1, TORCT_SINGLE, TORCT_ONE_OF("pa pa w pa", "pa pb w pa", "pb pa pb w"));
    torct_add(world, 1, TORCT_READ_ONLY, "ga gb ga");
    torct_add(world, 2, TORCT_SNAPSHOT, TORCT_ONE_OF("pa pb", "ga pa", "pb pa gb"));
    torct_add(world, 2, TORCT_SNAPSHOT, TORCT_ONE_OF("pa pb", "gb pb", "pb pa gb"));
    torct_add(world, 2, TORCT_SINGLE, TORCT_ONE_OF("w", "w pa w", "x"));
}

Test(reclaim_schedules, what_a_snapshot_sees_stays)
{
    check(readers_among_updates, A | B, 20000);
}

/* An old snapshot keeps the oldest version, so that the middle of the chain goes while a call walks along it. Few
 * steps, so that the windows are wide. */
static void
gets_among_pruning(struct torct_world *world)
{
    torct_add(world, TORCT_FIBERS, TORCT_READ_ONLY, "ga ga");
    world->early[TORCT_FIBERS] = 1;
    torct_add(world, TORCT_FIBERS, TORCT_SINGLE, "pa");
    torct_add(world, 0, TORCT_SINGLE, "ga");
    torct_add(world, 1, TORCT_SNAPSHOT, "pa pb");
    world->early[1] = 2;
    torct_add(world, 1, TORCT_SINGLE, "ra");
}

Test(reclaim_schedules, a_key_that_is_always_there_is_always_found_and_never_goes_back)
{
    check(gets_among_pruning, A | B, 200000);
}

static void
keys_that_come_and_go(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SINGLE, TORCT_ONE_OF("da pa da pa", "pa da", "da w pa", "da ga w"));
    torct_add(world, 0, TORCT_SNAPSHOT, TORCT_ONE_OF("da pb", "pa db", "da", "ga pa"));
    torct_add(world, 1, TORCT_SNAPSHOT, TORCT_ONE_OF("da db", "pa pb", "db pa", "da pb"));
    torct_add(world, 1, TORCT_SINGLE, TORCT_ONE_OF("w da w", "w pa", "x ga", "da w pa w"));
    torct_add(world, 1, TORCT_SNAPSHOT, TORCT_ONE_OF("pa pb", "da db", "s pa"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("ga s ga", "z gb", "gb ga gb"));
    torct_add(world, 2, TORCT_SINGLE, TORCT_ONE_OF("w ga w", "x", "da w", "pa da w", "ga ga"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("ga s ga", "z gb", "gb ga gb"));
}

Test(reclaim_schedules, keys_that_come_and_go_leave_nothing_behind)
{
    check(keys_that_come_and_go, A, 30000);
    check(keys_that_come_and_go, A | B, 30000);
}

/* One key, so that the queue's hand-over, freezing and inserting anew meet all the time. */
static void
one_key(struct torct_world *world)
{
    for (unsigned fiber = 0; fiber < TORCT_FIBERS; fiber++) {
        torct_add(world, fiber, TORCT_SINGLE, TORCT_ONE_OF("pa da w", "da pa", "w pa w", "da w x", "ga da", "w w"));
        torct_add(world, fiber, TORCT_SINGLE, TORCT_ONE_OF("pa", "da", "w", "x", "ga", "da w"));
        torct_add(world, fiber, TORCT_SNAPSHOT, TORCT_ONE_OF("ga", "pa", "da", "pa da", "s"));
    }
}

Test(reclaim_schedules, one_key_is_freed_once_however_often_it_returns)
{
    check(one_key, A, 30000);
    check(one_key, 0, 30000);
}

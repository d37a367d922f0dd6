/* SPDX-License-Identifier: MIT */
/* Who sees which version, in every interleaving the scheduler can draw: commits of two keys, helped and wounded, next
 * to blind writes and readers. The axioms: history_testing.h. */
#include <criterion/criterion.h>

#include "mvcc/history_testing.h"

TestSuite(version_schedules, .timeout = 3000);

enum { A = 1, B = 2, ALL = 7 };

static void
check(void (*plan)(struct torct_world *world), unsigned present, uint64_t schedules)
{
    struct torct_world world = {.plan = plan, .present = present, .collect_one_in = 16};
    struct torci_run run = torct_run_of(&world, schedules);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

static const char *
a_reader(void)
{
    return TORCT_ONE_OF("ga gb ga", "gb ga gb", "s ga", "ga z", "gb s");
}

static void
one_writer(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SNAPSHOT, TORCT_ONE_OF("pa pb", "pb pa"));
    torct_add(world, 0, TORCT_SNAPSHOT, "pa pb");
    torct_add(world, 1, TORCT_READ_ONLY, a_reader());
    torct_add(world, 1, TORCT_READ_ONLY, a_reader());
    torct_add(world, 2, TORCT_SNAPSHOT, a_reader());
    torct_add(world, 2, TORCT_SNAPSHOT, a_reader());
}

Test(version_schedules, a_commit_is_seen_whole_or_not_at_all)
{
    check(one_writer, A | B, 20000);
}

static void
two_writers(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SNAPSHOT, "pa pb");
    torct_add(world, 1, TORCT_SNAPSHOT, TORCT_ONE_OF("pb pa", "ga gb pb pa", "pb pc pa"));
    torct_add(world, 1, TORCT_SNAPSHOT, TORCT_ONE_OF("pb pa", "pa", "pb pc"));
    torct_add(world, 2, TORCT_READ_ONLY, a_reader());
    torct_add(world, 2, TORCT_READ_ONLY, a_reader());
}

Test(version_schedules, two_commits_of_the_same_keys_never_mix)
{
    check(two_writers, A | B, 20000);
}

static void
updates(struct torct_world *world)
{
    for (unsigned fiber = 0; fiber < TORCT_FIBERS; fiber++) {
        torct_add(world, fiber, TORCT_SNAPSHOT, TORCT_ONE_OF("ga pa", "ga gb pa pb", "gb ga pb pa", "gb pb pa"));
        torct_add(world, fiber, TORCT_SNAPSHOT, TORCT_ONE_OF("ga pa", "gb pb", "gb ga pa pb"));
    }
}

Test(version_schedules, no_update_is_lost)
{
    check(updates, A | B, 20000);
}

static void
blind_writes(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SNAPSHOT, "pa pb");
    torct_add(world, 0, TORCT_SNAPSHOT, TORCT_ONE_OF("pb pa", "ga pa", "pb pc"));
    torct_add(world, 1, TORCT_SINGLE, TORCT_ONE_OF("pa pb", "pb ga pa gb", "pa pa", "pa da"));
    torct_add(world, 2, TORCT_READ_ONLY, a_reader());
    torct_add(world, 2, TORCT_SINGLE, TORCT_ONE_OF("ga gb", "gb ga", "ga pa", "pb"));
    torct_add(world, 2, TORCT_READ_ONLY, a_reader());
}

Test(version_schedules, blind_writes_take_their_place_among_commits)
{
    check(blind_writes, A | B, 20000);
}

static void
single_keys(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SNAPSHOT, TORCT_ONE_OF("pa", "ga pa", "pb"));
    torct_add(world, 0, TORCT_SNAPSHOT, TORCT_ONE_OF("pa", "ga pa"));
    torct_add(world, 1, TORCT_SINGLE, TORCT_ONE_OF("pa ga", "ga pa", "ga ga ga", "pa pb"));
    torct_add(world, 1, TORCT_SNAPSHOT, TORCT_ONE_OF("pa", "ga pa", "ga gb ga"));
    torct_add(world, 2, TORCT_READ_ONLY, a_reader());
    torct_add(world, 2, TORCT_SINGLE, TORCT_ONE_OF("ga ga", "ga pa ga", "gb ga"));
    torct_add(world, 2, TORCT_READ_ONLY, a_reader());
}

Test(version_schedules, a_write_of_one_key_is_stamped_by_whoever_meets_it)
{
    check(single_keys, A | B, 20000);
}

static void
fresh_keys(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SNAPSHOT, TORCT_ONE_OF("pa pb", "pb pa", "pa pb pc"));
    torct_add(world, 1, TORCT_READ_ONLY, a_reader());
    torct_add(world, 1, TORCT_SINGLE, TORCT_ONE_OF("pb", "pa pb", "ga gb", "pc"));
    torct_add(world, 1, TORCT_READ_ONLY, TORCT_ONE_OF("s", "z", "ga gb gc s"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("s ga gb", "ga gb s", "z gb", "gc z"));
    torct_add(world, 2, TORCT_SINGLE, TORCT_ONE_OF("ga gb", "pa", "pc gb", "gc"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("s", "z", "ga gb gc s"));
}

Test(version_schedules, fresh_keys_come_to_gets_and_scans_at_once)
{
    check(fresh_keys, 0, 20000);
    check(fresh_keys, ALL & ~(unsigned)B, 10000);
}

/* The commit finds the clock in a writing phase, so that it moves on no word but its own state: who takes a snapshot
 * next must see that one, however late the rest. */
static void
a_stamp_in_hand(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SNAPSHOT, "pa pb");
    world->early[0] = 2;
    torct_add(world, TORCT_FIBERS, TORCT_SINGLE, "pc");
    torct_add(world, 1, TORCT_READ_ONLY, "ga gb");
    torct_add(world, 2, TORCT_READ_ONLY, "gb ga");
}

Test(version_schedules, a_stamp_in_hand_is_not_skipped)
{
    check(a_stamp_in_hand, A | B, 100000);
}

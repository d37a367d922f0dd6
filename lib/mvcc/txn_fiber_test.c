/* SPDX-License-Identifier: MIT */
/* Transactions in every interleaving the scheduler can draw: the anomalies that a serializable store must not show,
 * mixtures of everything, and a thread that stops at any point for ever. The axioms: history_testing.h. */
#include <criterion/criterion.h>

#include "mvcc/history_testing.h"

TestSuite(txn_schedules, .timeout = 3000);

enum { A = 1, B = 2, C = 4 };

static void
check(void (*plan)(struct torct_world *world), unsigned present, bool serial, uint64_t schedules)
{
    struct torct_world world = {.plan = plan, .present = present, .collect_one_in = 16, .serial = serial};
    struct torci_run run = torct_run_of(&world, schedules);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

/* ---- Serializable ------------------------------------------------------------------------------------------------ */

static void
write_skew(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, TORCT_ONE_OF("ga gb pa", "s pa"));
    torct_add(world, 1, TORCT_SERIALIZABLE, TORCT_ONE_OF("gb ga pb", "ga gb pb"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("ga gb", "gb ga", "s"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("ga gb", "gb ga", "s"));
}

Test(txn_schedules, no_write_skew)
{
    check(write_skew, A | B, true, 30000);
}

static void
cycle_of_three(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, "ga pb");
    torct_add(world, 1, TORCT_SERIALIZABLE, "gb pc");
    torct_add(world, 2, TORCT_SERIALIZABLE, "gc pa");
}

Test(txn_schedules, no_cycle_of_three)
{
    check(cycle_of_three, A | B | C, true, 30000);
}

/* Fekete, O'Neil, O'Neil, SIGMOD Record 2004. */
static void
read_only_anomaly(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, "ga gb pa");
    torct_add(world, 1, TORCT_SERIALIZABLE, TORCT_ONE_OF("gb pb", "gb pb pc"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("ga gb", "gb ga", "s"));
    torct_add(world, 2, TORCT_SERIALIZABLE, TORCT_ONE_OF("ga gb", "gb ga", "z"));
}

Test(txn_schedules, no_anomaly_of_a_reader)
{
    check(read_only_anomaly, A | B, true, 30000);
}

static void
phantoms(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, TORCT_ONE_OF("s pb", "z pb", "s db pb", "z pa"));
    torct_add(world, 1, TORCT_SERIALIZABLE, TORCT_ONE_OF("s pc", "z pc", "s pc dc", "z dc pc"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("s", "gb gc", "z"));
    torct_add(world, 2, TORCT_SERIALIZABLE, TORCT_ONE_OF("s pa", "da", "z pb", "gb pc"));
}

Test(txn_schedules, no_phantom)
{
    check(phantoms, A, true, 20000);
    check(phantoms, 0, true, 10000);
}

static void
absent_keys(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, TORCT_ONE_OF("ga pb", "ga gb pb", "da pb"));
    torct_add(world, 1, TORCT_SERIALIZABLE, TORCT_ONE_OF("gb pa", "gb ga pa", "db pa"));
    torct_add(world, 2, TORCT_SERIALIZABLE, TORCT_ONE_OF("ga gb pc", "gc pa", "s", "db da"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("ga gb", "gb ga", "s"));
}

Test(txn_schedules, what_was_absent_is_validated_too)
{
    check(absent_keys, 0, true, 20000);
    check(absent_keys, B, true, 10000);
}

/* What was absent was put, and deleted again at the stamp of the commit that is validated, but after it in order. */
static void
absence_at_the_same_stamp(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, TORCT_ONE_OF("ga gc pb", "gc ga pb", "s pb"));
    world->early[0] = 2;
    torct_add(world, TORCT_FIBERS, TORCT_SERIALIZABLE, "gb pa");
    torct_add(world, 1, TORCT_SERIALIZABLE, "da pc");
}

Test(txn_schedules, absence_is_judged_at_its_place_in_the_order)
{
    check(absence_at_the_same_stamp, B | C, true, 100000);
}

/* A version that a commit has to know of is pruned while it validates: only the commit's own, older snapshot is left.
 * Few steps, so that the windows are wide. */
static void
validation_among_pruning(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, "ga pb");
    world->early[0] = 2;
    torct_add(world, TORCT_FIBERS, TORCT_SERIALIZABLE, "gb pa");
    torct_add(world, 1, TORCT_SNAPSHOT, "pa pc");
    torct_add(world, 1, TORCT_SINGLE, "ra");
    if (torci_fiber_random() % 8 == 0)
        torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("gc", "ga"));
}

Test(txn_schedules, validation_is_exact_while_versions_are_pruned)
{
    check(validation_among_pruning, A | B | C, true, 300000);
}

/* A call of its own that skipped a commit under validation would contradict the snapshot that decides it. */
static void
single_reads(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, TORCT_ONE_OF("gc pa", "ga pa", "gb pa"));
    torct_add(world, 1, TORCT_SERIALIZABLE, TORCT_ONE_OF("ga pb", "gb pb", "gc pb"));
    torct_add(world, 1, TORCT_SINGLE, TORCT_ONE_OF("gb ga", "ga gb", "ga"));
    torct_add(world, 2, TORCT_READ_ONLY, TORCT_ONE_OF("ga gb", "gb ga"));
    torct_add(world, 2, TORCT_SINGLE, TORCT_ONE_OF("gb ga", "ga gb"));
    world->early[2] = (unsigned)(torci_fiber_random() % 2);
}

Test(txn_schedules, single_reads_fit_into_the_serial_order)
{
    check(single_reads, A | B | C, true, 60000);
}

static void
serializable_mixture(struct torct_world *world)
{
    for (unsigned fiber = 0; fiber < TORCT_FIBERS; fiber++) {
        torct_add(world, fiber, TORCT_SERIALIZABLE,
                  TORCT_ONE_OF("ga pb", "gb pa", "s pa", "ga gb pa pb", "da pb", "z db", "gc pc pa"));
        torct_add(world, fiber, TORCT_SERIALIZABLE,
                  TORCT_ONE_OF("ga pb", "gb pa", "s pc", "ga da", "pb ga", "gb", "dc"));
        if (torci_fiber_random() % 2 == 0)
            torct_add(world, fiber, TORCT_SINGLE, TORCT_ONE_OF("pa", "pb", "da", "ga gb", "gb ga", "db w", "pc w"));
        if (torci_fiber_random() % 2 == 0)
            torct_add(world, fiber, TORCT_READ_ONLY, TORCT_ONE_OF("s", "ga gb", "z", "gb gc ga"));
    }
}

Test(txn_schedules, a_serial_order_explains_every_mixture)
{
    check(serializable_mixture, A | B, true, 30000);
    check(serializable_mixture, C, true, 20000);
}

/* ---- Everything -------------------------------------------------------------------------------------------------- */

static const char *
anything(void)
{
    return TORCT_ONE_OF("ga pa", "pa pb", "pb pa", "gb pb pa", "da pb", "s pa", "z", "ga gb ga", "db da", "pc da gb",
                        "gc pc ga pa", "pa da", "da pa gb");
}

static void
mixture(struct torct_world *world)
{
    for (unsigned fiber = 0; fiber < TORCT_FIBERS; fiber++)
        for (unsigned i = 0; i < 3; i++) {
            enum torct_mode mode = (enum torct_mode)(torci_fiber_random() % 4);

            if (mode == TORCT_SINGLE)
                torct_add(world, fiber, mode, TORCT_ONE_OF("pa", "ga", "da", "w", "pb ga", "gb db", "x", "pc dc"));
            else if (mode == TORCT_READ_ONLY)
                torct_add(world, fiber, mode, TORCT_ONE_OF("s ga", "ga gb ga", "z gb", "gc gb ga"));
            else
                torct_add(world, fiber, mode, anything());
            world->scripts[fiber].plans[i].abort = torci_fiber_random() % 8 == 0;
        }
}

Test(txn_schedules, every_mixture_keeps_snapshots_whole)
{
    check(mixture, A | B, false, 40000);
    check(mixture, 0, false, 20000);
}

/* ---- A thread that stops ----------------------------------------------------------------------------------------- */

/* Freeze each fiber at each of its points: the others must finish, writers of the same keys included. */
static void
check_frozen(void (*plan)(struct torct_world *world), unsigned present, bool serial, uint64_t schedules)
{
    static struct torct_pool pool;
    struct torct_world world = {.plan = plan, .present = present, .serial = serial, .pool = &pool};
    struct torci_run run = torct_run_of(&world, schedules);
    struct torci_run_result result;

    run.schedules = torct_schedules(schedules);
    result = torci_fiber_run_frozen(&run);
    cr_log_info("%llu schedules, %llu frozen, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.frozen, (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

static void
stopped_commit(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SNAPSHOT, "ga pa pb");
    torct_add(world, 1, TORCT_SNAPSHOT, "gb pb pa");
    torct_add(world, 1, TORCT_READ_ONLY, "ga s");
    torct_add(world, 2, TORCT_READ_ONLY, "gb ga");
    torct_add(world, 2, TORCT_SINGLE, "ga pa");
}

Test(txn_schedules, a_stopped_commit_stops_nobody)
{
    check_frozen(stopped_commit, A | B, false, 20);
}

static void
stopped_validation(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SERIALIZABLE, "ga gb pa");
    torct_add(world, 1, TORCT_SERIALIZABLE, "s pb");
    torct_add(world, 1, TORCT_READ_ONLY, "ga gb");
    torct_add(world, 2, TORCT_READ_ONLY, "gb ga");
    torct_add(world, 2, TORCT_SERIALIZABLE, "ga gb pa pb");
}

Test(txn_schedules, a_stopped_validation_stops_nobody)
{
    check_frozen(stopped_validation, A | B, true, 20);
}

static void
stopped_single_calls(struct torct_world *world)
{
    torct_add(world, 0, TORCT_SINGLE, "da pa pa da");
    torct_add(world, 1, TORCT_SNAPSHOT, TORCT_ONE_OF("ga pa", "pa pb"));
    torct_add(world, 1, TORCT_SINGLE, "w da");
    torct_add(world, 2, TORCT_SNAPSHOT, "s pa");
    torct_add(world, 2, TORCT_SINGLE, "w ga");
}

Test(txn_schedules, a_stopped_put_delete_or_sweep_stops_nobody)
{
    check_frozen(stopped_single_calls, A, false, 20);
}

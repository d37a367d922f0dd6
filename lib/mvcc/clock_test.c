/* SPDX-License-Identifier: MIT */
/* The top: TORCI_COMMIT_STAMP_MAX is the last stamp there is; one more is a programmer's error, found where it is
 * packed into a word (73 years of a tick each nanosecond; nothing wraps in silence in builds with assertions). */
#include "mvcc/clock.h"

#include <criterion/criterion.h>

#include <signal.h>

#include "base/testing.h"
#include "mvcc/version.h"

static struct torci_clock tested;

static void
create(void)
{
    torci_clock_init(&tested, TORCI_CLOCK_START);
}

TestSuite(clock, .init = create, .timeout = 30);

Test(clock, begins_in_a_reading_phase_above_zero)
{
    cr_expect_eq(torci_clock_now(&tested) % 2, 0u);
    cr_expect_gt(torci_clock_now(&tested), 0u, "0 means a free slot");
    cr_expect_eq(torci_clock_read_stamp(&tested), TORCI_CLOCK_START);
}

Test(clock, stands_still_while_there_are_only_snapshots)
{
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(torci_clock_read_stamp(&tested), 2u);
    cr_expect_eq(torci_clock_now(&tested), 2u);
}

Test(clock, stands_still_while_there_are_only_commits)
{
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(torci_clock_write_stamp(&tested), 3u);
    cr_expect_eq(torci_clock_now(&tested), 3u);
}

Test(clock, moves_by_one_with_each_change_of_phase)
{
    cr_expect_eq(torci_clock_write_stamp(&tested), 3u);
    cr_expect_eq(torci_clock_read_stamp(&tested), 4u);
    cr_expect_eq(torci_clock_write_stamp(&tested), 5u);
    cr_expect_eq(torci_clock_read_stamp(&tested), 6u);
    cr_expect_eq(torci_clock_now(&tested), 6u);
}

/* I2 and I3 on one thread: any mix of calls. */
static void
mix(uint64_t start, unsigned steps, uint64_t seed)
{
    struct torci_random random = torci_random_seed(seed);
    uint64_t last_snapshot = 0, last_commit = 0;

    torci_clock_init(&tested, start);
    for (unsigned i = 0; i < steps; i++) {
        if (torci_random_one_in(&random, 2)) {
            uint64_t snapshot = torci_clock_read_stamp(&tested);

            cr_assert_eq(snapshot % 2, 0u);
            cr_assert_gt(snapshot, last_commit);
            cr_assert_geq(snapshot, last_snapshot);
            last_snapshot = snapshot;
        } else {
            uint64_t commit = torci_clock_write_stamp(&tested);

            cr_assert_eq(commit % 2, 1u);
            cr_assert_gt(commit, last_snapshot);
            cr_assert_geq(commit, last_commit);
            last_commit = commit;
        }
        cr_assert_leq(torci_clock_now(&tested) - start, i + 1);
    }
}

Test(clock, gives_even_snapshots_and_odd_commits_that_never_tie)
{
    mix(TORCI_CLOCK_START, 10000, torct_seed());
}

Test(clock, passes_two_to_the_32_without_losing_a_bit)
{
    uint64_t start = (UINT64_C(1) << 32) - 50;

    mix(start, 400, torct_seed());
    cr_expect_gt(torci_clock_now(&tested), UINT64_C(1) << 32);
}

Test(clock, stamps_fit_all_their_words_up_to_the_greatest)
{
    uint64_t snapshot, commit;

    torci_clock_init(&tested, TORCI_COMMIT_STAMP_MAX - 1);
    snapshot = torci_clock_read_stamp(&tested);
    commit = torci_clock_write_stamp(&tested);
    cr_assert_eq(snapshot, TORCI_COMMIT_STAMP_MAX - 1);
    cr_assert_eq(commit, TORCI_COMMIT_STAMP_MAX);

    cr_expect_eq(torci_stamp_committed(commit) >> 2, commit, "a version's stamp");
    cr_expect_eq(torci_stamp_tag(torci_stamp_committed(commit)), TORCI_STAMP_COMMITTED);
    cr_expect_eq(torci_state_stamp(torci_state_word(TORCI_VALIDATING, commit)), commit, "a descriptor's state");
    cr_expect_eq(torci_state_of(torci_state_word(TORCI_VALIDATING, commit)), TORCI_VALIDATING);
    cr_expect_eq((snapshot << 1 | 1) >> 1, snapshot, "an announcement");
}

#if defined(TORC_ASSERTIONS)
Test(clock, past_the_greatest_stamp_packing_stops_the_process, .signal = SIGABRT)
{
    torci_clock_init(&tested, TORCI_COMMIT_STAMP_MAX - 1);
    (void)torci_clock_write_stamp(&tested);
    (void)torci_clock_read_stamp(&tested);
    (void)torci_stamp_committed(torci_clock_write_stamp(&tested));
}

Test(clock, refuses_to_start_in_a_writing_phase, .signal = SIGABRT)
{
    torci_clock_init(&tested, 3);
}
#endif

/* ---- Several threads ---- */

enum { RACERS = 6, ROUNDS = 3000 };

static _Atomic(uint64_t) greatest_snapshot;
static _Atomic(uint64_t) greatest_commit;
static _Atomic(unsigned) broken;

static void
raise_to(_Atomic(uint64_t) *greatest, uint64_t value)
{
    uint64_t seen = torci_load(greatest, memory_order_seq_cst);

    while (seen < value && !torci_cas(greatest, &seen, value, memory_order_seq_cst, memory_order_seq_cst))
        continue;
}

/* Half of the threads read, half write; each first looks at what the others have already been given. */
static void
stamp_and_compare(void *context, unsigned number)
{
    uint64_t last = 0;

    (void)context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        bool reads = number % 2 == 0;
        uint64_t other = torci_load(reads ? &greatest_commit : &greatest_snapshot, memory_order_seq_cst);
        uint64_t stamp = reads ? torci_clock_read_stamp(&tested) : torci_clock_write_stamp(&tested);

        if (stamp <= other || stamp < last || stamp % 2 != (reads ? 0u : 1u))
            torci_fetch_add(&broken, 1, memory_order_relaxed); /* Counter: read after join. */
        last = stamp;
        raise_to(reads ? &greatest_snapshot : &greatest_commit, stamp);
    }
}

/* Oracle: a stamp is greater than each of the other kind that was given out before the call, also when both threads
 * met in one change of phase and one of them lost its CAS. */
Test(clock, orders_snapshots_and_commits_of_racing_threads)
{
    torct_race(RACERS, stamp_and_compare, NULL);
    cr_expect_eq(torci_load(&broken, memory_order_relaxed), 0u);
    cr_expect_leq(torci_clock_now(&tested), TORCI_CLOCK_START + (uint64_t)RACERS * ROUNDS);
}

/* SPDX-License-Identifier: MIT */
#include "mvcc/version.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>

#include "base/testing.h"

enum { CHAIN_MAX = 8 };

static struct torci_clock ticking;
static struct torci_descriptor owner;
static struct torci_record *record;
static unsigned validations;
static bool validation_answers;

static bool
validate(struct torci_descriptor *descriptor, uint64_t stamp)
{
    cr_assert_eq(descriptor, &owner);
    cr_assert_eq(stamp % 2, 1u);
    validations++;
    return validation_answers;
}

static void
set_owner(enum torci_state state, uint64_t stamp, bool serializable)
{
    torci_init(&owner.state, torci_state_word(state, stamp));
    owner.validate = serializable ? validate : NULL;
}

static enum torci_state
owner_state(void)
{
    return torci_state_of(torci_load(&owner.state, memory_order_seq_cst));
}

static uint64_t
owner_stamp(void)
{
    return torci_state_stamp(torci_load(&owner.state, memory_order_seq_cst));
}

static struct torci_version *
push(uint64_t stamp, uint32_t flags)
{
    struct torci_version *version = malloc(sizeof *version);

    cr_assert_not_null(version);
    torci_init(&version->stamp, stamp);
    torci_init(&version->older, torci_load(&record->head, memory_order_relaxed));
    torci_version_describe(version, 0, flags);
    torci_init(&record->head, version);
    return version;
}

static struct torci_version *
push_committed(uint64_t stamp)
{
    return push(torci_stamp_committed(stamp), 0);
}

static struct torci_version *
push_owned(void)
{
    return push(torci_stamp_descriptor(&owner), 0);
}

static void
create(void)
{
    torci_clock_init(&ticking, 10);
    record = calloc(1, sizeof *record);
    cr_assert_not_null(record);
    torci_init(&record->head, NULL);
    set_owner(TORCI_INSTALLING, 0, false);
    validations = 0;
    validation_answers = true;
}

static void
empty_record(void)
{
    struct torci_version *version = torci_load(&record->head, memory_order_relaxed);

    while (version != NULL && version != torci_frozen()) {
        struct torci_version *older = torci_load(&version->older, memory_order_relaxed);

        free(version);
        version = older;
    }
    torci_init(&record->head, NULL);
}

static void
destroy(void)
{
    empty_record();
    free(record);
}

TestSuite(version_verdict, .init = create, .fini = destroy, .timeout = 20);
TestSuite(version_decide, .init = create, .fini = destroy, .timeout = 20);
TestSuite(version_wound, .init = create, .fini = destroy, .timeout = 20);
TestSuite(version_rank, .timeout = 20);
TestSuite(version_visible, .init = create, .fini = destroy, .timeout = 20);
TestSuite(version_newest, .init = create, .fini = destroy, .timeout = 20);

/* ---- Verdicts ---- */

static struct torci_verdict
verdict_of(struct torci_version *version, enum torci_fate fate, uint64_t stamp, struct torci_descriptor *by)
{
    struct torci_verdict verdict = torci_version_verdict(version, &ticking);

    cr_expect_eq(verdict.fate, fate);
    cr_expect_eq(verdict.stamp, stamp);
    cr_expect_eq(verdict.owner, by);
    return verdict;
}

Test(version_verdict, a_stamped_version_is_committed)
{
    verdict_of(push_committed(7), TORCI_FATE_COMMITTED, 7, NULL);
    cr_expect_eq(torci_clock_now(&ticking), 10u);
}

Test(version_verdict, a_pending_version_gets_its_stamp_from_whoever_meets_it_first)
{
    struct torci_version *version = push(TORCI_STAMP_PENDING, 0);

    verdict_of(version, TORCI_FATE_COMMITTED, 11, NULL);
    (void)torci_clock_read_stamp(&ticking);
    (void)torci_clock_write_stamp(&ticking);
    cr_assert_eq(torci_clock_now(&ticking), 13u);
    verdict_of(version, TORCI_FATE_COMMITTED, 11, NULL);
}

Test(version_verdict, an_installing_version_is_left_alone)
{
    verdict_of(push_owned(), TORCI_FATE_INSTALLING, 0, &owner);
    cr_expect_eq(owner_state(), TORCI_INSTALLING);
    cr_expect_eq(torci_clock_now(&ticking), 10u, "nobody needs a stamp");
}

Test(version_verdict, a_deciding_owner_is_decided)
{
    set_owner(TORCI_DECIDING, 0, false);
    verdict_of(push_owned(), TORCI_FATE_COMMITTED, 11, NULL);
    cr_expect_eq(owner_state(), TORCI_COMMITTED);
}

Test(version_verdict, a_deciding_serializable_owner_is_stamped_but_not_validated)
{
    set_owner(TORCI_DECIDING, 0, true);
    verdict_of(push_owned(), TORCI_FATE_VALIDATING, 11, &owner);
    cr_expect_eq(owner_state(), TORCI_VALIDATING);
    cr_expect_eq(validations, 0u);
}

Test(version_verdict, a_validating_owner_is_left_alone)
{
    set_owner(TORCI_VALIDATING, 9, true);
    verdict_of(push_owned(), TORCI_FATE_VALIDATING, 9, &owner);
    cr_expect_eq(validations, 0u);
}

Test(version_verdict, what_the_owner_decided_holds_before_it_stamps_its_versions)
{
    struct torci_version *version = push_owned();

    set_owner(TORCI_COMMITTED, 9, false);
    verdict_of(version, TORCI_FATE_COMMITTED, 9, NULL);
    set_owner(TORCI_ABORTED, 0, false);
    verdict_of(version, TORCI_FATE_ABORTED, 0, NULL);
    cr_expect_eq(torci_load(&version->stamp, memory_order_relaxed), torci_stamp_descriptor(&owner));
}

Test(version_verdict, all_versions_of_one_owner_share_one_fate)
{
    struct torci_version *first = push_owned(), *second = push_owned();

    set_owner(TORCI_DECIDING, 0, false);
    verdict_of(second, TORCI_FATE_COMMITTED, 11, NULL);
    (void)torci_clock_read_stamp(&ticking);
    verdict_of(first, TORCI_FATE_COMMITTED, 11, NULL);
}

Test(version_verdict, the_greatest_stamp_survives_every_word)
{
    torci_clock_init(&ticking, TORCI_COMMIT_STAMP_MAX - 1);
    verdict_of(push(TORCI_STAMP_PENDING, 0), TORCI_FATE_COMMITTED, TORCI_COMMIT_STAMP_MAX, NULL);
    set_owner(TORCI_DECIDING, 0, true);
    verdict_of(push_owned(), TORCI_FATE_VALIDATING, TORCI_COMMIT_STAMP_MAX, &owner);
    set_owner(TORCI_DECIDING, 0, false);
    verdict_of(push_owned(), TORCI_FATE_COMMITTED, TORCI_COMMIT_STAMP_MAX, NULL);
}

/* ---- Deciding ---- */

Test(version_decide, commits_what_is_not_serializable_at_once)
{
    set_owner(TORCI_DECIDING, 0, false);
    cr_expect_eq(torci_descriptor_decide(&owner, &ticking), torci_state_word(TORCI_COMMITTED, 11));
}

Test(version_decide, validates_once_and_commits_what_holds)
{
    set_owner(TORCI_DECIDING, 0, true);
    cr_expect_eq(torci_descriptor_decide(&owner, &ticking), torci_state_word(TORCI_COMMITTED, 11));
    cr_expect_eq(validations, 1u);
}

Test(version_decide, validates_once_and_aborts_what_does_not_hold)
{
    validation_answers = false;
    set_owner(TORCI_DECIDING, 0, true);
    cr_expect_eq(torci_descriptor_decide(&owner, &ticking), torci_state_word(TORCI_ABORTED, 0));
    cr_expect_eq(validations, 1u);
}

Test(version_decide, keeps_the_stamp_that_validation_began_with)
{
    set_owner(TORCI_VALIDATING, 9, true);
    cr_expect_eq(torci_descriptor_decide(&owner, &ticking), torci_state_word(TORCI_COMMITTED, 9));
    validation_answers = false;
    set_owner(TORCI_VALIDATING, 9, true);
    cr_expect_eq(torci_descriptor_decide(&owner, &ticking), torci_state_word(TORCI_ABORTED, 0));
}

Test(version_decide, never_changes_a_decision)
{
    set_owner(TORCI_COMMITTED, 9, true);
    cr_expect_eq(torci_descriptor_decide(&owner, &ticking), torci_state_word(TORCI_COMMITTED, 9));
    set_owner(TORCI_ABORTED, 0, true);
    cr_expect_eq(torci_descriptor_decide(&owner, &ticking), torci_state_word(TORCI_ABORTED, 0));
    cr_expect_eq(validations, 0u);
}

static bool
validate_while_another_aborts(struct torci_descriptor *descriptor, uint64_t stamp)
{
    uint64_t expected = torci_state_word(TORCI_VALIDATING, stamp);

    return torci_cas(&descriptor->state, &expected, torci_state_word(TORCI_ABORTED, 0), memory_order_seq_cst,
                     memory_order_seq_cst);
}

Test(version_decide, yields_to_who_decided_during_the_validation)
{
    set_owner(TORCI_DECIDING, 0, false);
    owner.validate = validate_while_another_aborts;
    cr_expect_eq(torci_descriptor_decide(&owner, &ticking), torci_state_word(TORCI_ABORTED, 0));
}

#if defined(TORC_ASSERTIONS)
Test(version_decide, is_not_for_what_is_still_installing, .signal = SIGABRT)
{
    (void)torci_descriptor_decide(&owner, &ticking);
}
#endif

/* ---- Wounding ---- */

Test(version_wound, aborts_what_is_installing_once)
{
    cr_expect(torci_descriptor_wound(&owner));
    cr_expect_eq(owner_state(), TORCI_ABORTED);
    cr_expect_not(torci_descriptor_wound(&owner));
}

Test(version_wound, comes_too_late_for_every_other_state)
{
    static const enum torci_state states[] = {TORCI_DECIDING, TORCI_VALIDATING, TORCI_COMMITTED, TORCI_ABORTED};

    for (unsigned i = 0; i < sizeof states / sizeof states[0]; i++) {
        uint64_t stamp = states[i] == TORCI_VALIDATING || states[i] == TORCI_COMMITTED ? 9 : 0;

        set_owner(states[i], stamp, true);
        cr_expect_not(torci_descriptor_wound(&owner));
        cr_expect_eq(owner_state(), states[i]);
        cr_expect_eq(owner_stamp(), stamp);
    }
}

/* ---- Rank ---- */

Test(version_rank, more_lost_attempts_go_first)
{
    struct torci_descriptor tired = {.attempts = 1, .snapshot = 100}, fresh = {.attempts = 0, .snapshot = 2};

    cr_expect(torci_descriptor_outranks(&tired, &fresh));
    cr_expect_not(torci_descriptor_outranks(&fresh, &tired));
}

Test(version_rank, after_as_many_the_older_snapshot_goes_first)
{
    struct torci_descriptor older = {.attempts = 3, .snapshot = 4}, younger = {.attempts = 3, .snapshot = 6};

    cr_expect(torci_descriptor_outranks(&older, &younger));
    cr_expect_not(torci_descriptor_outranks(&younger, &older));
}

/* Two of equal rank, or of one more, must not abort each other in turn. */
Test(version_rank, overtaking_takes_more_than_twice_as_many)
{
    struct torci_descriptor holder = {.attempts = 0, .snapshot = 100}, other = {.attempts = 0, .snapshot = 2};

    cr_expect_not(torci_descriptor_overtakes(&other, &holder));
    other.attempts = 1;
    cr_expect(torci_descriptor_overtakes(&other, &holder));
    holder.attempts = 1;
    for (; other.attempts <= 2; other.attempts++)
        cr_expect_not(torci_descriptor_overtakes(&other, &holder));
    cr_expect(torci_descriptor_overtakes(&other, &holder));
    cr_expect_not(torci_descriptor_overtakes(&holder, &other));
}

Test(version_rank, is_a_strict_total_order)
{
    static const uint64_t attempts[] = {0, 1, UINT64_C(1) << 40, UINT64_MAX};
    static const uint64_t snapshots[] = {2, 4, UINT64_C(1) << 32, TORCI_COMMIT_STAMP_MAX - 1};
    enum { COUNT = 4 * 4 * 2 };
    struct torci_descriptor all[COUNT];

    for (unsigned i = 0; i < COUNT; i++) {
        all[i].attempts = attempts[i / 8];
        all[i].snapshot = snapshots[i / 2 % 4];
    }
    for (unsigned a = 0; a < COUNT; a++) {
        cr_assert_not(torci_descriptor_outranks(&all[a], &all[a]));
        for (unsigned b = 0; b < COUNT; b++) {
            bool above = torci_descriptor_outranks(&all[a], &all[b]);

            cr_assert(a == b || above != torci_descriptor_outranks(&all[b], &all[a]));
            for (unsigned c = 0; c < COUNT; c++)
                cr_assert(!above || !torci_descriptor_outranks(&all[b], &all[c]) ||
                          torci_descriptor_outranks(&all[a], &all[c]));
        }
    }
}

/* ---- Visibility ---- */

Test(version_visible, nothing_is_seen_of_an_empty_or_a_leaving_record)
{
    cr_expect_null(torci_record_visible(record, 10, &ticking));
    torci_init(&record->head, torci_frozen());
    cr_expect_null(torci_record_visible(record, 10, &ticking));
    cr_expect_null(torci_record_newest(record, &ticking));
}

Test(version_visible, a_snapshot_sees_the_newest_that_is_not_newer)
{
    struct torci_version *five = push_committed(5), *nine = push_committed(9);

    cr_expect_null(torci_record_visible(record, 4, &ticking));
    cr_expect_eq(torci_record_visible(record, 6, &ticking), five);
    cr_expect_eq(torci_record_visible(record, 8, &ticking), five);
    cr_expect_eq(torci_record_visible(record, 10, &ticking), nine);
}

Test(version_visible, of_blind_writes_with_one_stamp_the_upper_is_seen)
{
    struct torci_version *upper;

    push_committed(5);
    upper = push_committed(5);
    cr_expect_eq(torci_record_visible(record, 6, &ticking), upper);
    cr_expect_eq(torci_record_newest(record, &ticking), upper);
}

Test(version_visible, a_tombstone_is_returned_and_is_not_live)
{
    struct torci_version *tombstone;

    push_committed(5);
    tombstone = push(torci_stamp_committed(9), TORCI_VERSION_TOMBSTONE);
    cr_expect_eq(torci_record_visible(record, 10, &ticking), tombstone);
    cr_expect_not(torci_version_live(tombstone));
    cr_expect_not(torci_version_live(NULL));
    cr_expect(torci_version_live(torci_record_visible(record, 8, &ticking)));
}

/* The heads that may stand over a committed chain, and whether a snapshot of now (10), an older one (8) and a get see
 * through to them. Those that are losing will not pass their validation. */
enum head {
    HEAD_NONE, HEAD_PENDING, HEAD_INSTALLING, HEAD_DECIDING, HEAD_DECIDING_SERIALIZABLE, HEAD_DECIDING_LOSING,
    HEAD_VALIDATING_AT_9, HEAD_LOSING_AT_9, HEAD_VALIDATING_AT_11, HEAD_LOSING_AT_11, HEAD_COMMITTED_AT_9, HEAD_ABORTED,
    HEADS
};

static bool
is_losing(enum head head)
{
    return head == HEAD_DECIDING_LOSING || head == HEAD_LOSING_AT_9 || head == HEAD_LOSING_AT_11;
}

static struct torci_version *
push_head(enum head head)
{
    validation_answers = !is_losing(head);
    switch (head) {
    case HEAD_NONE:
        return NULL;
    case HEAD_PENDING:
        return push(TORCI_STAMP_PENDING, 0);
    case HEAD_INSTALLING:
        set_owner(TORCI_INSTALLING, 0, true);
        break;
    case HEAD_DECIDING:
        set_owner(TORCI_DECIDING, 0, false);
        break;
    case HEAD_DECIDING_SERIALIZABLE:
    case HEAD_DECIDING_LOSING:
        set_owner(TORCI_DECIDING, 0, true);
        break;
    case HEAD_VALIDATING_AT_9:
    case HEAD_LOSING_AT_9:
        set_owner(TORCI_VALIDATING, 9, true);
        break;
    case HEAD_VALIDATING_AT_11:
    case HEAD_LOSING_AT_11:
        torci_clock_init(&ticking, 12);
        set_owner(TORCI_VALIDATING, 11, true);
        break;
    case HEAD_COMMITTED_AT_9:
        set_owner(TORCI_COMMITTED, 9, true);
        break;
    default:
        set_owner(TORCI_ABORTED, 0, true);
        break;
    }
    return push_owned();
}

Test(version_visible, a_head_counts_only_if_it_committed_before_the_snapshot)
{
    for (enum head head = HEAD_NONE; head < HEADS; head++) {
        bool counts = head == HEAD_VALIDATING_AT_9 || head == HEAD_COMMITTED_AT_9;
        struct torci_version *below, *above;

        torci_clock_init(&ticking, 10);
        push_committed(3);
        below = push_committed(7);
        above = push_head(head);
        cr_expect_eq(torci_record_visible(record, 8, &ticking), below, "head %d at 8", (int)head);
        cr_expect_eq(torci_record_visible(record, 10, &ticking), counts ? above : below, "head %d at 10", (int)head);
        empty_record();
    }
}

Test(version_visible, a_deciding_head_is_decided_later_than_the_snapshot_that_met_it)
{
    push_committed(7);
    set_owner(TORCI_DECIDING, 0, false);
    push_owned();
    (void)torci_record_visible(record, 10, &ticking);
    cr_expect_eq(owner_state(), TORCI_COMMITTED);
    cr_expect_gt(owner_stamp(), 10u);
    cr_expect_neq(torci_record_visible(record, 12, &ticking), torci_record_visible(record, 10, &ticking));
}

Test(version_visible, a_validation_is_helped_only_by_snapshots_that_need_its_outcome)
{
    push_committed(5);
    set_owner(TORCI_VALIDATING, 9, true);
    push_owned();
    (void)torci_record_visible(record, 8, &ticking);
    cr_expect_eq(validations, 0u);
    cr_expect_eq(owner_state(), TORCI_VALIDATING);
    (void)torci_record_visible(record, 10, &ticking);
    cr_expect_eq(validations, 1u);
    cr_expect_eq(owner_state(), TORCI_COMMITTED);
}

/* Model: a random committed chain, ties among blind writes included, and every snapshot there is. */
Test(version_visible, agrees_with_a_linear_search)
{
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned round = 0; round < 500; round++) {
        struct torci_version *versions[CHAIN_MAX];
        uint64_t stamps[CHAIN_MAX];
        unsigned count = (unsigned)torci_random_below(&random, CHAIN_MAX);
        uint64_t stamp = 1;

        for (unsigned i = 0; i < count; i++) {
            stamp += 2 * torci_random_below(&random, 4);
            stamps[i] = stamp;
            versions[i] = push_committed(stamp);
        }
        torci_clock_init(&ticking, stamp + 1);
        for (uint64_t snapshot = 2; snapshot <= stamp + 1; snapshot += 2) {
            struct torci_version *expected = NULL;

            for (unsigned i = 0; i < count; i++)
                expected = stamps[i] <= snapshot ? versions[i] : expected;
            cr_assert_eq(torci_record_visible(record, snapshot, &ticking), expected);
        }
        empty_record();
    }
}

#if defined(TORC_ASSERTIONS)
Test(version_visible, a_made_up_snapshot_is_a_programmers_error, .signal = SIGABRT)
{
    (void)torci_record_visible(record, 9, &ticking);
}
#endif

/* ---- The newest ---- */

/* Whether the owner of `head` is validated by a get that meets it. */
static bool
is_validated(enum head head)
{
    return is_losing(head) || head == HEAD_DECIDING_SERIALIZABLE || head == HEAD_VALIDATING_AT_9 ||
           head == HEAD_VALIDATING_AT_11;
}

Test(version_newest, is_the_head_if_it_commits_and_else_what_is_below)
{
    for (enum head head = HEAD_NONE; head < HEADS; head++) {
        bool passes_by = head == HEAD_NONE || head == HEAD_INSTALLING || head == HEAD_ABORTED || is_losing(head);
        struct torci_version *below, *above, *expected;

        torci_clock_init(&ticking, 10);
        validations = 0;
        below = push_committed(7);
        above = push_head(head);
        expected = passes_by ? below : above;
        cr_expect_eq(torci_record_newest(record, &ticking), expected, "head %d", (int)head);
        cr_expect_eq(validations, is_validated(head) ? 1u : 0u, "head %d", (int)head);
        cr_expect_eq(torci_record_newest(record, &ticking), expected, "head %d, again", (int)head);
        cr_expect_eq(validations, is_validated(head) ? 1u : 0u, "head %d was decided", (int)head);
        empty_record();
    }
}

Test(version_newest, decides_what_validates_and_leaves_alone_what_is_installing)
{
    push_committed(7);
    push_head(HEAD_INSTALLING);
    (void)torci_record_newest(record, &ticking);
    cr_expect_eq(owner_state(), TORCI_INSTALLING);
    set_owner(TORCI_VALIDATING, 9, true);
    (void)torci_record_newest(record, &ticking);
    cr_expect_eq(owner_state(), TORCI_COMMITTED);
    cr_expect_eq(owner_stamp(), 9u);
    validation_answers = false;
    set_owner(TORCI_VALIDATING, 9, true);
    (void)torci_record_newest(record, &ticking);
    cr_expect_eq(owner_state(), TORCI_ABORTED);
    cr_expect_eq(torci_clock_now(&ticking), 10u, "nobody needs a stamp");
}

/* A snapshot of 10 sees what commits at 9: a get that passed it by would show an older store than that snapshot. */
Test(version_newest, agrees_with_a_snapshot_that_is_open_already)
{
    static const enum head heads[] = {HEAD_VALIDATING_AT_9, HEAD_LOSING_AT_9, HEAD_COMMITTED_AT_9};

    for (unsigned i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        uint64_t snapshot = torci_clock_read_stamp(&ticking);
        struct torci_version *newest;

        push_committed(7);
        push_head(heads[i]);
        newest = torci_record_newest(record, &ticking);
        cr_expect_eq(torci_record_visible(record, snapshot, &ticking), newest, "head %d", (int)heads[i]);
        empty_record();
    }
}

Test(version_newest, is_nothing_under_a_first_version_that_does_not_commit)
{
    struct torci_version *first;

    cr_expect_null(torci_record_newest(record, &ticking));
    first = push_head(HEAD_INSTALLING);
    cr_expect_null(torci_record_newest(record, &ticking));
    set_owner(TORCI_ABORTED, 0, true);
    cr_expect_null(torci_record_newest(record, &ticking));
    validation_answers = false;
    set_owner(TORCI_VALIDATING, 9, true);
    cr_expect_null(torci_record_newest(record, &ticking));
    validation_answers = true;
    set_owner(TORCI_VALIDATING, 9, true);
    cr_expect_eq(torci_record_newest(record, &ticking), first);
}

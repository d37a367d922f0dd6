/* SPDX-License-Identifier: MIT */
/* stress/check: the checkers judge rightly. Histories of a few transactions with one planted violation each, and a
 * simulated store, correct or with a planted bug, whose long histories are accepted or rejected.
 *
 * The simulated store runs sessions on one thread, one random step at a time: so transactions overlap as those of
 * threads do, and everything is known. */
#include <criterion/criterion.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/testing.h"
#include "check_elle.h"
#include "check_si.h"

enum { KEYS = 12, THREADS = 3 };

static struct torct_history histories[THREADS];
static uint64_t baseline[KEYS];
static struct torct_verdict verdict;

static void
create(void)
{
    memset(&verdict, 0, sizeof(verdict));
    memset(baseline, 0, sizeof(baseline));
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert(torct_history_init(&histories[i], i, 100, 1000));
}

static void
destroy(void)
{
    for (unsigned i = 0; i < THREADS; i++)
        torct_history_fini(&histories[i]);
}

TestSuite(check_si, .init = create, .fini = destroy, .timeout = 60);
TestSuite(check_si_simulated, .timeout = 120);
TestSuite(check_elle_simulated, .timeout = 120);

/* ---- Small histories. Moments are stamps times 10, unless a test says otherwise ---- */

static struct torct_entry *
transaction(unsigned thread, bool serializable, uint64_t snapshot, uint64_t stamp)
{
    struct torct_entry *entry = torct_history_begin(&histories[thread]);

    entry->serializable = serializable;
    entry->snapshot = snapshot;
    entry->stamp = stamp;
    entry->begin_called = snapshot * 10 + 5;
    entry->begin_returned = snapshot * 10 + 6;
    entry->commit_called = stamp > 0 ? stamp * 10 : snapshot * 10 + 7;
    entry->commit_returned = entry->commit_called + 1;
    return entry;
}

static struct torct_entry *
autocommit(unsigned thread, uint64_t called, uint64_t stamp)
{
    struct torct_entry *entry = torct_history_begin(&histories[thread]);

    entry->automatic = true;
    entry->stamp = stamp;
    entry->begin_called = called;
    entry->commit_called = called;
    entry->begin_returned = called + 1;
    entry->commit_returned = called + 1;
    return entry;
}

static void
op(unsigned thread, enum torct_op_kind kind, uint32_t key, uint64_t id)
{
    torct_history_add(&histories[thread], kind, key, id);
}

/* Write a new value of `key`; returns its id. */
static uint64_t
write_new(unsigned thread, uint32_t key)
{
    uint64_t id = torct_history_new_id(&histories[thread]);

    op(thread, TORCT_OP_WRITE, key, id);
    return id;
}

static void
check(void)
{
    struct torct_run run = {histories, THREADS, KEYS, baseline, NULL};

    torct_check_si(&run, &verdict);
}

static void
accepts(void)
{
    verdict.words = stderr;
    check();
    cr_expect_eq(verdict.total, 0u);
}

static void
rejects(enum torct_violation violation)
{
    check();
    cr_expect_gt(verdict.found[violation], 0u, "violation %d is not found (%llu others are)", (int)violation,
                 (unsigned long long)verdict.total);
}

Test(check_si, accepts_nothing)
{
    accepts();
}

Test(check_si, accepts_and_remembers_the_last_values)
{
    uint64_t first, second;

    transaction(0, false, 1, 2);
    first = write_new(0, 3);
    transaction(1, true, 2, 3);
    op(1, TORCT_OP_READ, 3, first);
    second = write_new(1, 3);
    op(1, TORCT_OP_READ, 3, second);
    transaction(2, false, 2, 0);
    op(2, TORCT_OP_READ, 3, first);
    op(2, TORCT_OP_SCAN, 0, KEYS);
    op(2, TORCT_OP_ITEM, 3, first);
    accepts();
    cr_expect_eq(baseline[3], second);
    for (unsigned i = 0; i < THREADS; i++)
        torct_history_clear(&histories[i]);
    transaction(0, false, 3, 4);
    op(0, TORCT_OP_LOCK, 3, second);
    op(0, TORCT_OP_READ, 4, TORCT_ID_ABSENT);
    accepts();
    cr_expect_eq(baseline[3], second);
}

Test(check_si, rejects_a_stale_read)
{
    uint64_t first;

    transaction(0, false, 1, 2);
    first = write_new(0, 0);
    transaction(0, false, 2, 3);
    write_new(0, 0);
    transaction(1, false, 3, 0);
    op(1, TORCT_OP_READ, 0, first);
    rejects(TORCT_VIOLATION_READ);
}

Test(check_si, rejects_a_fractured_read)
{
    uint64_t first;

    transaction(1, false, 1, 0);
    transaction(0, false, 1, 2);
    first = write_new(0, 0);
    write_new(0, 1);
    op(1, TORCT_OP_READ, 0, first);
    op(1, TORCT_OP_READ, 1, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_READ);
}

Test(check_si, rejects_a_read_of_an_aborted_write)
{
    uint64_t id;

    transaction(0, false, 1, 0)->outcome = TORCT_ABORTED;
    id = write_new(0, 0);
    transaction(1, false, 2, 0);
    op(1, TORCT_OP_READ, 0, id);
    rejects(TORCT_VIOLATION_ABORTED_READ);
}

Test(check_si, rejects_a_read_of_an_intermediate_write)
{
    uint64_t id;

    transaction(0, false, 1, 2);
    id = write_new(0, 0);
    write_new(0, 0);
    transaction(1, false, 2, 0);
    op(1, TORCT_OP_READ, 0, id);
    rejects(TORCT_VIOLATION_INTERMEDIATE_READ);
}

Test(check_si, rejects_a_damaged_value)
{
    transaction(1, false, 2, 0);
    op(1, TORCT_OP_READ, 0, TORCT_ID_DAMAGED);
    rejects(TORCT_VIOLATION_DAMAGED);
}

Test(check_si, rejects_a_transaction_that_misses_its_own_write)
{
    transaction(0, false, 1, 2);
    write_new(0, 0);
    op(0, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_OWN_WRITE);
}

Test(check_si, rejects_a_scan_that_misses_its_own_delete)
{
    uint64_t id;

    transaction(0, false, 1, 2);
    id = write_new(0, 0);
    op(0, TORCT_OP_WRITE, 0, TORCT_ID_ABSENT);
    op(0, TORCT_OP_SCAN_REVERSE, 0, KEYS);
    op(0, TORCT_OP_ITEM, 0, id);
    rejects(TORCT_VIOLATION_OWN_WRITE);
}

Test(check_si, rejects_a_lost_update)
{
    transaction(0, false, 1, 2);
    write_new(0, 0);
    transaction(1, false, 1, 3);
    write_new(1, 0);
    rejects(TORCT_VIOLATION_LOST_UPDATE);
}

Test(check_si, rejects_a_lost_update_at_one_stamp)
{
    transaction(0, false, 1, 2);
    write_new(0, 0);
    transaction(1, false, 1, 2);
    write_new(1, 0);
    rejects(TORCT_VIOLATION_LOST_UPDATE);
}

Test(check_si, rejects_a_lock_that_did_not_hold)
{
    transaction(0, false, 1, 2);
    write_new(0, 0);
    transaction(1, false, 1, 3);
    op(1, TORCT_OP_LOCK, 0, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_LOST_UPDATE);
}

Test(check_si, rejects_an_autocommit_write_under_a_transaction)
{
    transaction(0, false, 1, 4);
    write_new(0, 0);
    autocommit(1, 25, 3);
    write_new(1, 0);
    rejects(TORCT_VIOLATION_LOST_UPDATE);
}

Test(check_si, accepts_autocommit_writes_that_share_a_stamp)
{
    uint64_t later;

    transaction(0, false, 1, 3);
    write_new(0, 0);
    autocommit(1, 33, 3);
    later = write_new(1, 0);
    autocommit(2, 33, 3);
    write_new(2, 0);
    transaction(0, false, 4, 0);
    op(0, TORCT_OP_READ, 0, later);
    transaction(2, false, 5, 0);
    op(2, TORCT_OP_READ, 0, later);
    accepts();
}

Test(check_si, rejects_snapshots_that_disagree_over_a_shared_stamp)
{
    uint64_t one, other;

    autocommit(1, 33, 3);
    one = write_new(1, 0);
    autocommit(2, 33, 3);
    other = write_new(2, 0);
    transaction(0, false, 4, 0);
    op(0, TORCT_OP_READ, 0, one);
    transaction(2, false, 5, 0);
    op(2, TORCT_OP_READ, 0, other);
    rejects(TORCT_VIOLATION_READ);
}

Test(check_si, rejects_a_scan_with_a_key_too_many)
{
    uint64_t id;

    transaction(1, false, 1, 0);
    transaction(0, false, 1, 2);
    id = write_new(0, 5);
    op(1, TORCT_OP_SCAN, 0, KEYS);
    op(1, TORCT_OP_ITEM, 5, id);
    rejects(TORCT_VIOLATION_PHANTOM);
}

Test(check_si, rejects_a_scan_with_a_key_too_few)
{
    transaction(0, false, 1, 2);
    write_new(0, 5);
    transaction(1, false, 2, 0);
    op(1, TORCT_OP_SCAN_REVERSE, 0, KEYS);
    rejects(TORCT_VIOLATION_PHANTOM);
}

Test(check_si, rejects_a_scan_out_of_order)
{
    uint64_t low, high;

    transaction(0, false, 1, 2);
    low = write_new(0, 5);
    high = write_new(0, 6);
    transaction(1, false, 2, 0);
    op(1, TORCT_OP_SCAN, 0, KEYS);
    op(1, TORCT_OP_ITEM, 6, high);
    op(1, TORCT_OP_ITEM, 5, low);
    rejects(TORCT_VIOLATION_PHANTOM);
}

/* Merge key 0 into a new value, made of `before`; returns its id. */
static uint64_t
merge_new(unsigned thread, uint64_t before)
{
    uint64_t id = torct_history_new_id(&histories[thread]);

    op(thread, TORCT_OP_MERGE, 0, id);
    torct_history_fact(&histories[thread], 0, id, before);
    return id;
}

Test(check_si, accepts_merges_that_overlap)
{
    uint64_t first;

    transaction(0, false, 1, 2);
    first = merge_new(0, TORCT_ID_ABSENT);
    transaction(1, true, 1, 3);
    merge_new(1, first);
    accepts();
}

Test(check_si, rejects_a_lost_merge)
{
    transaction(0, false, 1, 2);
    merge_new(0, TORCT_ID_ABSENT);
    transaction(1, false, 1, 3);
    merge_new(1, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_MERGE);
}

Test(check_si, rejects_two_merges_of_one_value_at_one_stamp)
{
    uint64_t base;

    transaction(2, false, 1, 2);
    base = write_new(2, 0);
    transaction(0, false, 2, 3);
    merge_new(0, base);
    transaction(1, false, 2, 3);
    merge_new(1, base);
    rejects(TORCT_VIOLATION_MERGE);
}

Test(check_si, rejects_a_merge_over_what_a_serializable_transaction_read)
{
    transaction(0, false, 1, 2);
    write_new(0, 0);
    transaction(1, true, 1, 3);
    op(1, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    op(1, TORCT_OP_MERGE, 0, torct_history_new_id(&histories[1]));
    rejects(TORCT_VIOLATION_LOST_UPDATE);
}

/* Write key 0, set a savepoint, write keys 0 and 1, go back. Returns the first id; `undone` are the others. */
static uint64_t
roll_back(uint64_t undone[2])
{
    uint64_t first;

    transaction(0, false, 1, 2);
    first = write_new(0, 0);
    op(0, TORCT_OP_SAVEPOINT, TORCT_KEY_NONE, TORCT_ID_ABSENT);
    undone[0] = write_new(0, 0);
    undone[1] = write_new(0, 1);
    op(0, TORCT_OP_READ, 0, undone[0]);
    torct_history_rollback(&histories[0], 1);
    return first;
}

Test(check_si, accepts_a_rollback)
{
    uint64_t undone[2], first = roll_back(undone);

    op(0, TORCT_OP_READ, 0, first);
    op(0, TORCT_OP_READ, 1, TORCT_ID_ABSENT);
    transaction(1, false, 2, 0);
    op(1, TORCT_OP_SCAN, 0, KEYS);
    op(1, TORCT_OP_ITEM, 0, first);
    accepts();
    cr_expect_eq(baseline[0], first);
}

Test(check_si, rejects_a_read_of_what_was_rolled_back)
{
    uint64_t undone[2];

    roll_back(undone);
    transaction(1, false, 2, 0);
    op(1, TORCT_OP_READ, 1, undone[1]);
    rejects(TORCT_VIOLATION_ABORTED_READ);
}

Test(check_si, rejects_a_rollback_that_leaves_the_own_write)
{
    uint64_t undone[2];

    roll_back(undone);
    op(0, TORCT_OP_READ, 0, undone[0]);
    rejects(TORCT_VIOLATION_OWN_WRITE);
}

Test(check_si, rejects_a_rollback_that_takes_too_much)
{
    uint64_t undone[2];

    roll_back(undone);
    op(0, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_OWN_WRITE);
}

Test(check_si, rejects_a_comparison_that_held_wrongly)
{
    uint64_t old, next;

    autocommit(0, 15, 2);
    old = write_new(0, 0);
    autocommit(0, 25, 3);
    next = write_new(0, 0);
    cr_assert_neq(old, next);
    autocommit(1, 35, 4);
    op(1, TORCT_OP_READ, 0, old);
    write_new(1, 0);
    rejects(TORCT_VIOLATION_READ);
}

Test(check_si, rejects_a_comparison_that_failed_wrongly)
{
    uint64_t id;

    autocommit(0, 15, 2);
    id = write_new(0, 0);
    autocommit(1, 35, 0);
    op(1, TORCT_OP_OTHER, 0, id);
    transaction(2, false, 5, 0);
    op(2, TORCT_OP_OTHER, 0, id);
    rejects(TORCT_VIOLATION_READ);
    cr_expect_geq(verdict.found[TORCT_VIOLATION_READ], 2u);
}

/* A value of key 0 that expires at 100, and a transaction that looks between two times. */
static uint64_t
expiring(uint64_t time_first, uint64_t time_last)
{
    struct torct_entry *reader;
    uint64_t id;

    transaction(0, false, 1, 2);
    id = write_new(0, 0);
    histories[0].ops[histories[0].op_count - 1].expires = 100;
    reader = transaction(1, false, 2, 0);
    reader->time_first = time_first;
    reader->time_last = time_last;
    return id;
}

Test(check_si, accepts_a_value_before_its_time_and_absence_after_it)
{
    uint64_t id = expiring(90, 110);

    op(1, TORCT_OP_READ, 0, id);
    transaction(2, false, 2, 0)->time_last = 100;
    op(2, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    accepts();
}

Test(check_si, rejects_a_value_past_its_time)
{
    op(1, TORCT_OP_READ, 0, expiring(100, 110));
    rejects(TORCT_VIOLATION_TIME);
}

Test(check_si, rejects_absence_before_the_time)
{
    expiring(90, 99);
    op(1, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_TIME);
}

Test(check_si, rejects_a_moment_that_changes)
{
    uint64_t id = expiring(90, 110);

    op(1, TORCT_OP_READ, 0, id);
    op(1, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_TIME);
}

Test(check_si, rejects_a_time_that_is_told_wrongly)
{
    uint64_t id = expiring(90, 90);

    op(1, TORCT_OP_READ, 0, id);
    histories[1].ops[histories[1].op_count - 1].expires = 101;
    rejects(TORCT_VIOLATION_READ);
}

Test(check_si, rejects_an_autocommit_read_past_the_time)
{
    uint64_t id = expiring(90, 90);
    struct torct_entry *late = autocommit(2, 55, 0);

    late->time_first = 100;
    late->time_last = 100;
    op(2, TORCT_OP_READ, 0, id);
    rejects(TORCT_VIOLATION_READ);
}

/* Two commits to key 0, and a later transaction at the stamp of the first. */
static struct torct_entry *
past(uint64_t *first, uint64_t *second)
{
    struct torct_entry *entry;

    transaction(0, false, 1, 2);
    *first = write_new(0, 0);
    transaction(0, false, 3, 4);
    *second = write_new(0, 0);
    entry = transaction(1, false, 2, 0);
    entry->begin_called = 1000;
    entry->begin_returned = 1001;
    entry->commit_called = 1002;
    entry->commit_returned = 1003;
    entry->past = true;
    return entry;
}

Test(check_si, accepts_a_read_of_the_past)
{
    uint64_t first, second;

    past(&first, &second);
    op(1, TORCT_OP_READ, 0, first);
    accepts();
}

Test(check_si, rejects_a_read_of_the_past_that_shows_the_present)
{
    uint64_t first, second;

    past(&first, &second);
    op(1, TORCT_OP_READ, 0, second);
    rejects(TORCT_VIOLATION_READ);
}

Test(check_si, rejects_a_past_that_was_to_be_the_present)
{
    uint64_t first, second;

    past(&first, &second)->past = false;
    op(1, TORCT_OP_READ, 0, first);
    rejects(TORCT_VIOLATION_REAL_TIME);
}

Test(check_si, rejects_a_commit_that_a_later_snapshot_does_not_hold)
{
    transaction(0, false, 1, 5);
    write_new(0, 0);
    transaction(1, false, 3, 0)->begin_called = 1000;
    histories[1].entries[0].begin_returned = 1001;
    rejects(TORCT_VIOLATION_REAL_TIME);
}

Test(check_si, rejects_a_snapshot_with_a_commit_that_came_later)
{
    transaction(0, false, 9, 0);
    transaction(1, false, 1, 5)->commit_called = 2000;
    histories[1].entries[0].commit_returned = 2001;
    write_new(1, 0);
    rejects(TORCT_VIOLATION_REAL_TIME);
}

Test(check_si, rejects_an_autocommit_read_of_the_past)
{
    uint64_t first;

    autocommit(0, 10, 2);
    first = write_new(0, 0);
    autocommit(0, 20, 3);
    write_new(0, 0);
    autocommit(1, 40, 0);
    op(1, TORCT_OP_READ, 0, first);
    /* Another thread's snapshot after the second write, before the read. */
    transaction(2, false, 3, 0);
    rejects(TORCT_VIOLATION_REAL_TIME);
}

Test(check_si, rejects_an_autocommit_read_of_the_future)
{
    uint64_t id;

    autocommit(0, 30, 2);
    id = write_new(0, 0);
    autocommit(1, 10, 0);
    op(1, TORCT_OP_READ, 0, id);
    rejects(TORCT_VIOLATION_REAL_TIME);
}

Test(check_si, rejects_an_autocommit_read_that_finds_nothing_where_a_value_stood)
{
    autocommit(0, 10, 2);
    write_new(0, 0);
    autocommit(1, 40, 0);
    op(1, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    transaction(2, false, 2, 0);
    rejects(TORCT_VIOLATION_READ);
}

Test(check_si, rejects_an_autocommit_put_that_found_nothing_to_replace)
{
    autocommit(0, 10, 2);
    write_new(0, 0);
    autocommit(1, 40, 3);
    op(1, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    write_new(1, 0);
    rejects(TORCT_VIOLATION_READ);
}

Test(check_si, rejects_a_stamp_that_is_not_past_the_snapshot)
{
    transaction(0, false, 5, 5);
    write_new(0, 0);
    rejects(TORCT_VIOLATION_STAMP);
}

Test(check_si, rejects_a_refusal_without_a_rival)
{
    transaction(0, false, 5, 0)->outcome = TORCT_ABORTED;
    op(0, TORCT_OP_REFUSED, 0, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_CAUSELESS);
}

Test(check_si, rejects_a_conflict_over_a_key_that_was_not_written)
{
    struct torct_entry *entry = transaction(0, false, 5, 0);

    entry->outcome = TORCT_CONFLICTED;
    entry->conflict_key = 7;
    write_new(0, 0);
    op(0, TORCT_OP_READ, 7, TORCT_ID_ABSENT);
    rejects(TORCT_VIOLATION_CAUSELESS);
}

/* Two transactions that each read what the other writes. */
static void
skew(bool serializable, bool by_scan, uint64_t second_stamp)
{
    transaction(0, serializable, 1, 2);
    op(0, by_scan ? TORCT_OP_SCAN : TORCT_OP_READ, by_scan ? 0 : 1, by_scan ? 3 : TORCT_ID_ABSENT);
    write_new(0, 0);
    transaction(1, serializable, 1, second_stamp);
    op(1, by_scan ? TORCT_OP_SCAN_REVERSE : TORCT_OP_READ, 0, by_scan ? 3 : TORCT_ID_ABSENT);
    write_new(1, 1);
}

Test(check_si, accepts_write_skew_at_snapshot)
{
    skew(false, false, 3);
    accepts();
}

Test(check_si, rejects_write_skew_at_serializable)
{
    skew(true, false, 3);
    rejects(TORCT_VIOLATION_CYCLE);
}

Test(check_si, rejects_write_skew_at_serializable_and_one_stamp)
{
    skew(true, false, 2);
    rejects(TORCT_VIOLATION_CYCLE);
}

Test(check_si, rejects_write_skew_through_phantoms)
{
    skew(true, true, 3);
    rejects(TORCT_VIOLATION_CYCLE);
}

Test(check_si, tells_the_cycle_in_words)
{
    char *text = NULL;
    size_t size = 0;

    verdict.words = open_memstream(&text, &size);
    cr_assert_not_null(verdict.words);
    skew(true, false, 3);
    check();
    fclose(verdict.words);
    cr_expect_not_null(strstr(text, "rw over key 1"));
    cr_expect_not_null(strstr(text, "#0.0 serializable committed"));
    cr_expect_not_null(strstr(text, "#1.0 serializable committed"));
    free(text);
}

Test(check_si, rejects_the_read_only_anomaly)
{
    uint64_t paid;

    transaction(0, true, 1, 4);                             /* Reads 0 and 1, writes 0. */
    op(0, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    op(0, TORCT_OP_READ, 1, TORCT_ID_ABSENT);
    write_new(0, 0);
    transaction(1, true, 1, 2);                             /* Writes 1. */
    paid = write_new(1, 1);
    transaction(2, true, 3, 0)->read_only = true;           /* Sees the second, not the first. */
    op(2, TORCT_OP_READ, 0, TORCT_ID_ABSENT);
    op(2, TORCT_OP_READ, 1, paid);
    rejects(TORCT_VIOLATION_CYCLE);
}

/* ---- A simulated store ---- */

enum plant {
    PLANT_NONE,
    PLANT_LOST_UPDATE,
    PLANT_FRACTURED_READ,
    PLANT_STALE_SNAPSHOT,
    PLANT_ABORTED_READ,
    PLANT_PHANTOM,
    PLANT_WRITE_SKEW,
    PLANT_RANGE_SKEW,
};

enum {
    SESSIONS = 8,
    SIM_KEYS = 12,
    SIM_STEPS = 60000,
    SIM_OPS_MAX = 6,
    SIM_VERSIONS_MAX = 20000,       /* Of a key. */
};

struct sim_version {
    uint64_t stamp;
    uint64_t id;
};

struct sim_session {
    bool open;
    bool serializable;
    uint64_t snapshot;
    unsigned ops;
    bool written[SIM_KEYS], read[SIM_KEYS], scanned[SIM_KEYS];
    uint64_t own[SIM_KEYS];
    uint64_t appended[SIM_KEYS][SIM_OPS_MAX];
    unsigned appends[SIM_KEYS];
};

/* In the list build a version is an element, and a read is of all of them. */
struct simulation {
    enum plant plant;
    bool lists;
    bool serializable_only;
    struct torci_random random;
    struct sim_version *versions[SIM_KEYS];
    unsigned counts[SIM_KEYS];
    uint64_t clock, moment;
    uint64_t aborted_id;
    struct sim_session sessions[SESSIONS];
    struct torct_history histories[SESSIONS];
    struct torct_list_history list_histories[SESSIONS];
};

static bool
plants(struct simulation *sim, enum plant plant, unsigned one_in)
{
    return sim->plant == plant && torci_random_one_in(&sim->random, one_in);
}

/* How many versions of `key` are visible at `snapshot`. */
static unsigned
sim_visible(const struct simulation *sim, unsigned key, uint64_t snapshot)
{
    unsigned count = sim->counts[key];

    while (count > 0 && sim->versions[key][count - 1].stamp > snapshot)
        count--;
    return count;
}

static uint64_t
sim_value(const struct simulation *sim, const struct sim_session *session, unsigned key, uint64_t snapshot)
{
    unsigned visible = sim_visible(sim, key, snapshot);

    if (session->written[key])
        return session->own[key];
    return visible > 0 ? sim->versions[key][visible - 1].id : TORCT_ID_ABSENT;
}

static uint64_t
sim_read_snapshot(struct simulation *sim, const struct sim_session *session)
{
    return plants(sim, PLANT_FRACTURED_READ, 50) ? sim->clock : session->snapshot;
}

static void
sim_begin(struct simulation *sim, struct sim_session *session)
{
    unsigned thread = (unsigned)(session - sim->sessions);
    struct torct_entry *entry;

    memset(session, 0, sizeof(*session));
    session->open = true;
    session->serializable = sim->serializable_only || (!sim->lists && torci_random_one_in(&sim->random, 2));
    session->snapshot = sim->clock;
    if (sim->clock > 3 && plants(sim, PLANT_STALE_SNAPSHOT, 100))
        session->snapshot = sim->clock - 3;
    session->ops = 1 + (unsigned)torci_random_below(&sim->random, SIM_OPS_MAX);
    if (sim->lists) {
        torct_list_history_begin(&sim->list_histories[thread])->begin_called = sim->moment++;
        return;
    }
    entry = torct_history_begin(&sim->histories[thread]);
    entry->serializable = session->serializable;
    entry->snapshot = session->snapshot;
    entry->begin_called = sim->moment++;
    entry->begin_returned = sim->moment++;
}

static void
sim_read_list(struct simulation *sim, struct sim_session *session, unsigned key)
{
    unsigned visible = sim_visible(sim, key, sim_read_snapshot(sim, session));
    uint64_t digest = TORCT_DIGEST_EMPTY;

    for (unsigned i = 0; i < visible; i++)
        digest = torct_digest_append(digest, sim->versions[key][i].id);
    for (unsigned i = 0; i < session->appends[key]; i++)
        digest = torct_digest_append(digest, session->appended[key][i]);
    torct_list_history_read(&sim->list_histories[session - sim->sessions], key, visible + session->appends[key],
                            digest);
    session->read[key] = true;
}

static void
sim_scan(struct simulation *sim, struct sim_session *session)
{
    struct torct_history *history = &sim->histories[session - sim->sessions];
    unsigned low = (unsigned)torci_random_below(&sim->random, SIM_KEYS);
    unsigned high = low + (unsigned)torci_random_below(&sim->random, SIM_KEYS - low + 1);
    bool reverse = torci_random_one_in(&sim->random, 2);

    torct_history_add(history, reverse ? TORCT_OP_SCAN_REVERSE : TORCT_OP_SCAN, low, high);
    for (unsigned i = low; i < high; i++) {
        unsigned key = reverse ? high - 1 - (i - low) : i;
        uint64_t id = sim_value(sim, session, key, session->snapshot);

        session->scanned[key] = true;
        if (id != TORCT_ID_ABSENT && !plants(sim, PLANT_PHANTOM, 500))
            torct_history_add(history, TORCT_OP_ITEM, key, id);
    }
}

static void
sim_step(struct simulation *sim, struct sim_session *session)
{
    unsigned thread = (unsigned)(session - sim->sessions);
    unsigned key = (unsigned)torci_random_below(&sim->random, SIM_KEYS);
    uint64_t draw = torci_random_below(&sim->random, 10), id;

    session->ops--;
    if (sim->lists) {
        sim_read_list(sim, session, key);
        if (draw < 4)
            session->appended[key][session->appends[key]++]
                = torct_list_history_append(&sim->list_histories[thread], key);
        session->written[key] |= draw < 4;
        return;
    }
    if (draw < 4) {
        id = sim_value(sim, session, key, sim_read_snapshot(sim, session));
        if (sim->aborted_id != 0 && plants(sim, PLANT_ABORTED_READ, 500))
            id = sim->aborted_id;
        torct_history_add(&sim->histories[thread], TORCT_OP_READ, key, id);
        session->read[key] |= !session->written[key];
    } else if (draw < 5) {
        sim_scan(sim, session);
    } else {
        id = draw < 6 ? TORCT_ID_ABSENT : torct_history_new_id(&sim->histories[thread]);
        torct_history_add(&sim->histories[thread], TORCT_OP_WRITE, key, id);
        session->written[key] = true;
        session->own[key] = id;
    }
}

/* The key over which a commit fails, or SIM_KEYS. */
static unsigned
sim_conflict(struct simulation *sim, const struct sim_session *session, bool wrote)
{
    for (unsigned key = 0; key < SIM_KEYS; key++) {
        if (sim->counts[key] == 0 || sim->versions[key][sim->counts[key] - 1].stamp <= session->snapshot)
            continue;
        if (session->written[key] && !plants(sim, PLANT_LOST_UPDATE, 50))
            return key;
        if (wrote && session->serializable && session->read[key] && !plants(sim, PLANT_WRITE_SKEW, 2))
            return key;
        if (wrote && session->serializable && session->scanned[key] && !session->written[key]
            && !plants(sim, PLANT_RANGE_SKEW, 2))
            return key;
    }
    return SIM_KEYS;
}

static void
sim_push(struct simulation *sim, unsigned key, uint64_t id)
{
    cr_assert_lt(sim->counts[key], (unsigned)SIM_VERSIONS_MAX);
    sim->versions[key][sim->counts[key]++] = (struct sim_version){sim->clock, id};
}

static void
sim_install(struct simulation *sim, const struct sim_session *session)
{
    sim->clock++;
    for (unsigned key = 0; key < SIM_KEYS; key++) {
        for (unsigned i = 0; i < session->appends[key]; i++)
            sim_push(sim, key, session->appended[key][i]);
        if (!sim->lists && session->written[key])
            sim_push(sim, key, session->own[key]);
    }
}

static void
sim_end(struct simulation *sim, struct sim_session *session)
{
    unsigned thread = (unsigned)(session - sim->sessions), conflict;
    bool wrote = false, aborts = torci_random_one_in(&sim->random, 20);

    session->open = false;
    for (unsigned key = 0; key < SIM_KEYS; key++)
        wrote |= session->written[key];
    conflict = sim_conflict(sim, session, wrote);
    if (conflict == SIM_KEYS && !aborts && wrote)
        sim_install(sim, session);
    if (sim->lists) {
        struct torct_list_history *history = &sim->list_histories[thread];

        history->entries[history->entry_count - 1].committed = conflict == SIM_KEYS && !aborts;
        history->entries[history->entry_count - 1].commit_returned = sim->moment++;
    } else {
        struct torct_history *history = &sim->histories[thread];
        struct torct_entry *entry = &history->entries[history->entry_count - 1];

        entry->outcome = aborts ? TORCT_ABORTED : conflict < SIM_KEYS ? TORCT_CONFLICTED : TORCT_COMMITTED;
        entry->conflict_key = entry->outcome == TORCT_CONFLICTED ? conflict : TORCT_KEY_NONE;
        entry->stamp = entry->outcome == TORCT_COMMITTED && wrote ? sim->clock : 0;
        entry->commit_called = sim->moment++;
        entry->commit_returned = sim->moment++;
        for (unsigned key = 0; key < SIM_KEYS && aborts; key++)
            if (session->written[key] && session->own[key] != TORCT_ID_ABSENT)
                sim->aborted_id = session->own[key];
    }
}

/* Run a simulated store and check its history. */
static void
simulate(enum plant plant, bool lists, bool serializable)
{
    static struct simulation sim;
    static struct torct_list finals[SIM_KEYS];
    static uint64_t elements[SIM_KEYS][SIM_VERSIONS_MAX], base[SIM_KEYS];

    memset(&verdict, 0, sizeof(verdict));
    sim.plant = plant;
    sim.lists = lists;
    sim.serializable_only = serializable;
    sim.random = torci_random_seed(torct_seed());
    sim.clock = 1;
    for (unsigned i = 0; i < SIM_KEYS; i++)
        cr_assert_not_null(sim.versions[i] = calloc(SIM_VERSIONS_MAX, sizeof(struct sim_version)));
    for (unsigned i = 0; i < SESSIONS; i++)
        cr_assert(torct_history_init(&sim.histories[i], i, SIM_STEPS, SIM_STEPS * SIM_KEYS)
                  && torct_list_history_init(&sim.list_histories[i], i, SIM_STEPS, 2 * SIM_STEPS));
    for (unsigned step = 0; step < SIM_STEPS; step++) {
        struct sim_session *session = &sim.sessions[torci_random_below(&sim.random, SESSIONS)];

        if (!session->open)
            sim_begin(&sim, session);
        else if (session->ops > 0)
            sim_step(&sim, session);
        else
            sim_end(&sim, session);
    }
    for (unsigned i = 0; i < SESSIONS; i++)
        if (sim.sessions[i].open)
            sim_end(&sim, &sim.sessions[i]);
    for (unsigned key = 0; key < SIM_KEYS; key++) {
        for (unsigned i = 0; i < sim.counts[key]; i++)
            elements[key][i] = sim.versions[key][i].id;
        finals[key] = (struct torct_list){elements[key], sim.counts[key]};
    }
    if (plant == PLANT_NONE)
        verdict.words = stderr;
    if (lists)
        torct_check_elle(&(struct torct_list_run){sim.list_histories, SESSIONS, finals, SIM_KEYS, serializable},
                         &verdict);
    else
        torct_check_si(&(struct torct_run){sim.histories, SESSIONS, SIM_KEYS, base, NULL}, &verdict);
    for (unsigned i = 0; i < SESSIONS; i++) {
        torct_history_fini(&sim.histories[i]);
        torct_list_history_fini(&sim.list_histories[i]);
    }
    for (unsigned i = 0; i < SIM_KEYS; i++)
        free(sim.versions[i]);
}

static void
expect_found(enum torct_violation violation)
{
    cr_expect_gt(verdict.found[violation], 0u, "violation %d is not found (%llu others are)", (int)violation,
                 (unsigned long long)verdict.total);
}

#define CORRECT(suite, name, lists, serializable)                                                   \
    Test(suite, name)                                                                               \
    {                                                                                               \
        simulate(PLANT_NONE, lists, serializable);                                                  \
        cr_expect_eq(verdict.total, 0u);                                                            \
    }
#define PLANTED(suite, name, plant, lists, serializable, violation)                                 \
    Test(suite, name)                                                                               \
    {                                                                                               \
        simulate(plant, lists, serializable);                                                       \
        expect_found(violation);                                                                    \
    }

CORRECT(check_si_simulated, accepts_a_correct_store, false, false)
CORRECT(check_si_simulated, accepts_a_correct_serializable_store, false, true)
PLANTED(check_si_simulated, rejects_lost_updates, PLANT_LOST_UPDATE, false, false, TORCT_VIOLATION_LOST_UPDATE)
PLANTED(check_si_simulated, rejects_fractured_reads, PLANT_FRACTURED_READ, false, false, TORCT_VIOLATION_READ)
PLANTED(check_si_simulated, rejects_stale_snapshots, PLANT_STALE_SNAPSHOT, false, false, TORCT_VIOLATION_REAL_TIME)
PLANTED(check_si_simulated, rejects_aborted_reads, PLANT_ABORTED_READ, false, false, TORCT_VIOLATION_ABORTED_READ)
PLANTED(check_si_simulated, rejects_phantoms, PLANT_PHANTOM, false, false, TORCT_VIOLATION_PHANTOM)
PLANTED(check_si_simulated, rejects_write_skew, PLANT_WRITE_SKEW, false, true, TORCT_VIOLATION_CYCLE)
PLANTED(check_si_simulated, rejects_range_skew, PLANT_RANGE_SKEW, false, true, TORCT_VIOLATION_CYCLE)

CORRECT(check_elle_simulated, accepts_a_correct_store, true, false)
CORRECT(check_elle_simulated, accepts_a_correct_serializable_store, true, true)
PLANTED(check_elle_simulated, rejects_fractured_reads, PLANT_FRACTURED_READ, true, false, TORCT_VIOLATION_CYCLE)
PLANTED(check_elle_simulated, rejects_stale_snapshots, PLANT_STALE_SNAPSHOT, true, false, TORCT_VIOLATION_CYCLE)
PLANTED(check_elle_simulated, rejects_lost_updates, PLANT_LOST_UPDATE, true, false, TORCT_VIOLATION_CYCLE)
PLANTED(check_elle_simulated, rejects_write_skew, PLANT_WRITE_SKEW, true, true, TORCT_VIOLATION_CYCLE)

/* A store that permits write skew is right at snapshot isolation, and wrong at serializable. */
Test(check_elle_simulated, forbids_write_skew_at_serializable_only)
{
    simulate(PLANT_WRITE_SKEW, true, false);
    cr_expect_eq(verdict.total, 0u);
}

/* ---- Small list histories ---- */

enum { LISTS = 2 };

struct lists {
    struct torct_list_history histories[THREADS];
    uint64_t elements[LISTS][8];
    struct torct_list finals[LISTS];
};

static void
lists_open(struct lists *lists)
{
    memset(lists, 0, sizeof(*lists));
    memset(&verdict, 0, sizeof(verdict));
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert(torct_list_history_init(&lists->histories[i], i, 10, 100));
}

/* A transaction that appends once to list 0; returns the element. */
static uint64_t
lists_append(struct lists *lists, unsigned thread, bool committed)
{
    struct torct_list_entry *entry = torct_list_history_begin(&lists->histories[thread]);

    entry->committed = committed;
    entry->commit_returned = UINT64_MAX;
    return torct_list_history_append(&lists->histories[thread], 0);
}

static void
lists_final(struct lists *lists, unsigned list, unsigned count, const uint64_t *elements)
{
    if (count > 0)
        memcpy(lists->elements[list], elements, count * sizeof(*elements));
    lists->finals[list] = (struct torct_list){lists->elements[list], count};
}

static void
lists_reject(struct lists *lists, enum torct_violation violation)
{
    torct_check_elle(&(struct torct_list_run){lists->histories, THREADS, lists->finals, LISTS, false}, &verdict);
    expect_found(violation);
    for (unsigned i = 0; i < THREADS; i++)
        torct_list_history_fini(&lists->histories[i]);
}

TestSuite(check_elle, .timeout = 60);

Test(check_elle, rejects_an_element_of_an_aborted_transaction)
{
    struct lists lists;
    uint64_t element;

    lists_open(&lists);
    element = lists_append(&lists, 0, false);
    lists_final(&lists, 0, 1, &element);
    lists_reject(&lists, TORCT_VIOLATION_ABORTED_READ);
}

Test(check_elle, rejects_a_committed_element_that_is_missing)
{
    struct lists lists;

    lists_open(&lists);
    lists_append(&lists, 0, true);
    lists_reject(&lists, TORCT_VIOLATION_LOST_UPDATE);
}

Test(check_elle, rejects_an_element_that_is_there_twice)
{
    struct lists lists;
    uint64_t elements[2];

    lists_open(&lists);
    elements[0] = elements[1] = lists_append(&lists, 0, true);
    lists_final(&lists, 0, 2, elements);
    lists_reject(&lists, TORCT_VIOLATION_INCOMPATIBLE);
}

Test(check_elle, rejects_an_element_that_nobody_appended)
{
    struct lists lists;
    uint64_t element = UINT64_C(77) << TORCT_ID_THREAD_SHIFT;

    lists_open(&lists);
    lists_final(&lists, 0, 1, &element);
    lists_reject(&lists, TORCT_VIOLATION_DAMAGED);
}

Test(check_elle, rejects_a_read_that_is_no_beginning)
{
    struct lists lists;
    uint64_t elements[2];

    lists_open(&lists);
    elements[0] = lists_append(&lists, 0, true);
    elements[1] = lists_append(&lists, 1, true);
    lists_final(&lists, 0, 2, elements);
    torct_list_history_begin(&lists.histories[2])->commit_returned = UINT64_MAX;
    torct_list_history_read(&lists.histories[2], 0, 1, torct_digest_append(TORCT_DIGEST_EMPTY, elements[1]));
    lists_reject(&lists, TORCT_VIOLATION_INCOMPATIBLE);
}

Test(check_elle, rejects_a_read_of_half_a_transaction)
{
    struct lists lists;
    uint64_t elements[2];

    lists_open(&lists);
    elements[0] = lists_append(&lists, 0, true);
    elements[1] = torct_list_history_append(&lists.histories[0], 0);
    lists_final(&lists, 0, 2, elements);
    torct_list_history_begin(&lists.histories[2])->commit_returned = UINT64_MAX;
    torct_list_history_read(&lists.histories[2], 0, 1, torct_digest_append(TORCT_DIGEST_EMPTY, elements[0]));
    lists_reject(&lists, TORCT_VIOLATION_INTERMEDIATE_READ);
}

Test(check_elle, rejects_a_list_that_changes_within_a_transaction)
{
    struct lists lists;
    uint64_t element;

    lists_open(&lists);
    element = lists_append(&lists, 0, true);
    lists_final(&lists, 0, 1, &element);
    torct_list_history_begin(&lists.histories[2])->commit_returned = UINT64_MAX;
    torct_list_history_read(&lists.histories[2], 0, 0, TORCT_DIGEST_EMPTY);
    torct_list_history_read(&lists.histories[2], 0, 1, torct_digest_append(TORCT_DIGEST_EMPTY, element));
    lists_reject(&lists, TORCT_VIOLATION_OWN_WRITE);
}

/* SPDX-License-Identifier: MIT */
#include "mvcc/history.h"

#include <sched.h>

#include "base/time.h"
#include "mvcc/mvcc_testing.h"

#define SECOND TORCI_NS_PER_SECOND

static struct torc_mvcc *store;

static struct torc_mvcc *
open_with(uint64_t history_ns, uint64_t age_ns)
{
    struct torc_mvcc_options options;

    torc_mvcc_options_init(&options);
    options.history_ns = history_ns;
    options.max_snapshot_age_ns = age_ns;
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK);
    return store;
}

static void
close_store(void)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

TestSuite(history, .fini = close_store, .timeout = 60);
TestSuite(history_floor, .fini = close_store, .timeout = 60);
TestSuite(snapshot_age, .fini = close_store, .timeout = 60);

static enum torc_status
begin_at(uint64_t at, struct torc_txn **txn)
{
    struct torc_txn_options options = {.at = at};

    return torc_txn_begin(store, &options, txn);
}

/* ---- Reading the past ---- */

Test(history, each_commit_can_be_read_again)
{
    enum { COMMITS = 50 };
    uint64_t stamps[COMMITS];
    char value[16];

    open_with(1000 * SECOND, 0);
    for (unsigned i = 0; i < COMMITS; i++) {
        snprintf(value, sizeof value, "%u", i);
        torct_put(store, "k", value);
        stamps[i] = torc_last_commit();
        torc_txn_abort(torct_begin(store, TORC_SNAPSHOT)); /* So that no two share a stamp. */
    }
    torct_collect(store);
    for (unsigned i = 0; i < COMMITS; i++) {
        struct torc_txn *txn;

        snprintf(value, sizeof value, "%u", i);
        cr_assert_eq(begin_at(stamps[i], &txn), TORC_OK, "%s", torc_detail());
        cr_expect_eq(torc_txn_snapshot(txn), stamps[i] + 1);
        cr_expect(torct_txn_reads(txn, "k", value));
        torc_txn_abort(txn);
    }
}

Test(history, before_the_first_commit_nothing_is_there)
{
    struct torc_txn *txn;

    open_with(1000 * SECOND, 0);
    torct_put(store, "k", "v");
    torct_delete(store, "k");
    torct_collect(store);
    cr_assert_eq(begin_at(2, &txn), TORC_OK);
    cr_expect(torct_txn_reads(txn, "k", NULL));
    torc_txn_abort(txn);
}

Test(history, a_stamp_that_is_not_past_is_refused)
{
    struct torc_txn *txn = (struct torc_txn *)&store;

    open_with(1000 * SECOND, 0);
    torct_put(store, "k", "v");
    cr_expect_eq(begin_at(torc_last_commit() + 2, &txn), TORC_INVALID);
    cr_expect_null(txn);
    cr_expect_eq(begin_at(UINT64_MAX, &txn), TORC_INVALID);
    cr_expect_eq(begin_at(TORCI_COMMIT_STAMP_MAX, &txn), TORC_INVALID);
}

Test(history, without_the_option_the_past_has_expired)
{
    struct torc_txn *txn = (struct torc_txn *)&store;

    open_with(0, 0);
    torct_put(store, "k", "v");
    cr_expect_eq(begin_at(torc_last_commit(), &txn), TORC_EXPIRED);
    cr_expect_null(txn);
    cr_expect_eq(torct_stats(store).open_transactions, 0u);
}

Test(history, is_freed_when_it_is_older_than_wanted)
{
    struct torc_mvcc_stats stats;
    struct torc_txn *txn;
    uint64_t first, now = torci_now_coarse_ns();

    open_with(1000 * SECOND, 0);
    torct_put(store, "k", "first");
    first = torc_last_commit();
    torc_txn_abort(torct_begin(store, TORC_SNAPSHOT));
    for (unsigned i = 0; i < 1000; i++)
        torct_put(store, "k", "more");
    torct_collect(store);
    stats = torct_stats(store);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 1001u, "all are kept");
    /* As if so much time had passed: two samples, the first of which is then old enough. */
    torci_history_advance(store, now + 2000 * SECOND);
    torci_history_advance(store, now + 4000 * SECOND);
    torct_collect(store);
    stats = torct_stats(store);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 1u);
    cr_expect_eq(begin_at(first, &txn), TORC_EXPIRED);
}

/* ---- The floor ---- */

Test(history_floor, trails_by_the_wanted_time_and_a_little_more)
{
    uint64_t start = torci_now_coarse_ns();
    uint64_t history = 140 * SECOND;
    uint64_t stamps[1000];

    open_with(history, 0);
    cr_expect_eq(torci_history_floor(store), (uint64_t)TORCI_CLOCK_START);
    for (unsigned second = 0; second < 1000; second++) {
        uint64_t floor;

        torct_put(store, "k", "v");
        torc_txn_abort(torct_begin(store, TORC_SNAPSHOT));
        stamps[second] = torci_clock_now(&store->clock);
        floor = torci_history_advance(store, start + (second + 1) * SECOND);
        if (second >= 140)
            cr_assert_leq(floor, stamps[second - 140], "at %u s", second);
        if (second >= 165)
            cr_assert_geq(floor, stamps[second - 165], "at %u s", second);
    }
}

Test(history_floor, stays_when_time_does)
{
    uint64_t now = torci_now_coarse_ns();

    open_with(SECOND, 0);
    for (unsigned i = 0; i < 100; i++) {
        torct_put(store, "k", "v");
        cr_assert_eq(torci_history_advance(store, now), (uint64_t)TORCI_CLOCK_START);
    }
}

Test(history_floor, stays_while_somebody_is_at_it)
{
    uint64_t now = torci_now_coarse_ns();

    open_with(SECOND, 0);
    torci_store(&store->history.claimed, 1u, memory_order_relaxed);
    cr_expect_eq(torci_history_advance(store, now + 10 * SECOND), (uint64_t)TORCI_CLOCK_START);
    cr_expect_eq(torci_history_advance(store, now + 20 * SECOND), (uint64_t)TORCI_CLOCK_START);
    torci_store(&store->history.claimed, 0u, memory_order_relaxed);
}

/* ---- Age ---- */

/* As if `txn` had begun long ago, and somebody looked. */
static void
grow_old(struct torc_txn *txn)
{
    torci_store(&txn->slot.began_ns, UINT64_C(1), memory_order_relaxed);
    torct_collect(store);
}

Test(snapshot_age, an_expired_transaction_says_so_in_every_call)
{
    struct torc_slice value = torct_text("v"), key;
    struct torc_cursor *cursor, *other = (struct torc_cursor *)&key;
    struct torc_txn *txn;
    uint64_t number;

    open_with(0, 1000 * SECOND);
    torct_put(store, "k", "v");
    torct_put(store, "l", "v");
    txn = torct_begin(store, TORC_SNAPSHOT);
    torct_txn_put(txn, "own", "v");
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    grow_old(txn);
    cr_expect_eq(torc_txn_get(txn, torct_text("k"), &value), TORC_EXPIRED);
    cr_expect_eq(value.size, 0u);
    cr_expect_eq(torc_txn_get(txn, torct_text("own"), &value), TORC_EXPIRED);
    cr_expect_eq(torc_txn_get_for_update(txn, torct_text("k"), &value), TORC_EXPIRED);
    cr_expect_eq(torc_txn_expiry(txn, torct_text("k"), &number), TORC_EXPIRED);
    cr_expect_eq(torc_txn_put(txn, torct_text("k"), torct_text("w")), TORC_EXPIRED);
    cr_expect_eq(torc_txn_put_if_absent(txn, torct_text("n"), torct_text("w")), TORC_EXPIRED);
    cr_expect_eq(torc_txn_delete(txn, torct_text("k")), TORC_EXPIRED);
    cr_expect_eq(torc_txn_merge(txn, torct_text("k"), &torc_merge_append, torct_text("w")), TORC_EXPIRED);
    cr_expect_eq(torc_txn_delete_range(txn, torct_text("k"), torct_text("z"), &number), TORC_EXPIRED);
    cr_expect_eq(torc_txn_use(txn, NULL), TORC_EXPIRED);
    cr_expect_eq(torc_txn_scan(txn, NULL, &other), TORC_EXPIRED);
    cr_expect_null(other);
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_EXPIRED);
    cr_expect_eq(torc_txn_commit(txn), TORC_EXPIRED);
    cr_expect(torct_reads(store, "own", NULL));
}

Test(snapshot_age, an_expired_transaction_holds_nothing_back)
{
    struct torc_mvcc_stats stats;
    struct torc_txn *txn;

    open_with(0, 1000 * SECOND);
    torct_put(store, "k", "v");
    txn = torct_begin(store, TORC_SNAPSHOT);
    torct_put(store, "k", "w");
    torct_collect(store);
    stats = torct_stats(store);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 2u);
    grow_old(txn);
    torct_collect(store);
    stats = torct_stats(store);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 1u);
    torc_txn_abort(txn);
}

Test(snapshot_age, what_was_lent_outlives_expiry)
{
    struct torc_slice value;
    struct torc_txn *txn;

    open_with(0, 1000 * SECOND);
    torct_put(store, "k", "a value that will be gone");
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_get(txn, torct_text("k"), &value), TORC_OK);
    torct_put(store, "k", "another");
    grow_old(txn);
    torct_collect(store);
    cr_expect(torct_slice_is(value, "a value that will be gone"));
    torc_txn_abort(txn);
}

/* Longer than the batches of a scan, forwards and backwards, with own writes between. */
static void
scan_copies(enum torc_isolation isolation, bool reverse)
{
    struct torc_scan_options options = {.reverse = reverse};
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    struct torc_txn *txn;
    char name[16], wanted[16];
    unsigned seen = 0;

    open_with(0, 1000 * SECOND);
    for (unsigned i = 0; i < 400; i += 2) {
        snprintf(name, sizeof name, "k%03u", i);
        torct_put(store, name, name);
    }
    txn = torct_begin(store, isolation);
    for (unsigned i = 1; i < 400; i += 10) {
        snprintf(name, sizeof name, "k%03u", i);
        torct_txn_put(txn, name, name);
    }
    cr_assert_eq(torc_txn_scan(txn, &options, &cursor), TORC_OK);
    for (unsigned i = 0; i < 400; i++) {
        unsigned number = reverse ? 399 - i : i;

        if (number % 2 != 0 && number % 10 != 1)
            continue;
        snprintf(wanted, sizeof wanted, "k%03u", number);
        cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK, "%s: %s", wanted, torc_detail());
        cr_assert(torct_slice_is(key, wanted), "%.*s", (int)key.size, (const char *)key.data);
        cr_assert(torct_slice_is(value, wanted));
        if (number % 2 == 0)
            torct_put(store, wanted, "newer");
        seen++;
    }
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_END);
    cr_expect_eq(seen, 240u);
    torc_cursor_close(cursor);
    cr_expect_eq(torc_txn_commit(txn), isolation == TORC_SERIALIZABLE ? TORC_CONFLICT : TORC_OK);
}

Test(snapshot_age, a_scan_shows_copies)
{
    scan_copies(TORC_SNAPSHOT, false);
}

Test(snapshot_age, a_scan_backwards_shows_copies)
{
    scan_copies(TORC_SNAPSHOT, true);
}

Test(snapshot_age, a_serializable_scan_of_copies_is_validated)
{
    scan_copies(TORC_SERIALIZABLE, false);
}

Test(snapshot_age, a_serializable_scan_of_copies_commits_if_nothing_changed)
{
    struct torc_cursor *cursor;
    struct torc_slice key;
    struct torc_txn *txn;
    char name[16];

    open_with(0, 1000 * SECOND);
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "k%03u", i);
        torct_put(store, name, name);
    }
    txn = torct_begin(store, TORC_SERIALIZABLE);
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    for (unsigned i = 0; i < 250; i++)
        cr_assert_eq(torc_cursor_next(cursor, &key, NULL), TORC_OK);
    torct_put(store, "k299", "past what was seen");
    torct_txn_put(txn, "other", "v");
    cr_expect_eq(torc_txn_commit(txn), TORC_OK, "%s", torc_detail());
}

Test(snapshot_age, young_transactions_and_named_snapshots_do_not_expire)
{
    struct torc_txn_options options = {.snapshot = torct_text("s")};
    struct torc_txn *young, *named;

    open_with(0, 1000 * SECOND);
    torct_put(store, "k", "v");
    cr_assert_eq(torc_snapshot_create(store, torct_text("s"), NULL), TORC_OK);
    cr_assert_eq(torc_txn_begin(store, &options, &named), TORC_OK);
    young = torct_begin(store, TORC_SERIALIZABLE);
    torci_store(&named->named->holder->slot.began_ns, UINT64_C(1), memory_order_relaxed);
    torct_put(store, "k", "w");
    grow_old(named);
    torct_collect(store);
    cr_expect(torct_txn_reads(young, "k", "v"));
    cr_expect(torct_txn_reads(named, "k", "v"));
    torct_txn_put(young, "l", "x");
    cr_expect_eq(torc_txn_commit(young), TORC_CONFLICT, "what it read has changed");
    torc_txn_abort(named);
}

Test(snapshot_age, a_commit_that_has_begun_is_not_expired)
{
    struct torc_txn *txn;

    open_with(0, 1000 * SECOND);
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_assert(torci_snapshot_hold(&txn->slot));
    grow_old(txn);
    cr_expect_not(torci_snapshot_expired(&txn->slot));
    cr_expect_eq(torct_stats(store).watermark, torc_txn_snapshot(txn));
    torc_txn_abort(txn);
}

Test(snapshot_age, is_never_reached_without_the_option)
{
    struct torc_txn *txn;

    open_with(0, 0);
    txn = torct_begin(store, TORC_SNAPSHOT);
    grow_old(txn);
    cr_expect(torct_txn_reads(txn, "k", NULL));
    torc_txn_abort(txn);
}

/* Readers whose transactions are expired under their hands must never see a mix: both keys are always equal. */
static void
race(void *context, unsigned number)
{
    char buffer[32];

    (void)context;
    for (unsigned i = 0; i < 400; i++) {
        struct torc_txn *txn = torct_begin(store, TORC_SNAPSHOT);
        struct torc_slice left, right;
        enum torc_status first, second;

        snprintf(buffer, sizeof buffer, "%u:%u", number, i);
        if (number % 2 == 0) {
            if (torc_txn_put(txn, torct_text("x"), torct_text(buffer)) == TORC_OK &&
                torc_txn_put(txn, torct_text("y"), torct_text(buffer)) == TORC_OK)
                (void)(torc_txn_commit(txn) == TORC_OK);
            else
                torc_txn_abort(txn);
            continue;
        }
        torci_store(&txn->slot.began_ns, UINT64_C(1), memory_order_relaxed);
        first = torc_txn_get(txn, torct_text("x"), &left);
        if (torci_thread_random(torci_self()) % 2 == 0)
            sched_yield();
        second = torc_txn_get(txn, torct_text("y"), &right);
        cr_assert(first == TORC_OK || first == TORC_EXPIRED || first == TORC_NOT_FOUND);
        if (first == TORC_OK && second != TORC_EXPIRED) {
            cr_assert_eq(second, TORC_OK);
            cr_assert(left.size == right.size && memcmp(left.data, right.data, left.size) == 0);
        }
        torc_txn_abort(txn);
    }
}

Test(snapshot_age, expires_readers_between_their_reads_and_never_shows_a_mix)
{
    open_with(0, 1000 * SECOND);
    torct_race(4, race, NULL);
}

/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_invariants: what holds on one thread: own writes are read, the store's figures are right, torc_txn_run()
 * tries again as it says, versions are freed. mvcc_model_test.c and mvcc_race_test.c go on from here. */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/atomic.h"
#include "base/testing.h"
#include "mvcc/mvcc_fixture_testing.h"

TestSuite(mvcc_own_writes, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_store, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_run, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_memory, .init = create, .fini = destroy, .timeout = 60);

/* ---- Helpers ---- */

static void
expect_own(struct torc_txn *txn, const char *key, const char *value)
{
    struct torc_slice got;
    enum torc_status status = torc_txn_get(txn, text(key), &got);

    if (value == NULL) {
        cr_expect_eq(status, TORC_NOT_FOUND, "%s", key);
        return;
    }
    cr_assert_eq(status, TORC_OK, "%s", key);
    cr_expect(got.size == strlen(value) && memcmp(got.data, value, got.size) == 0, "%s is not %s", key, value);
}

/* The rest of a scan as "a=1 b=2". */
static void
expect_rest(struct torc_cursor *cursor, const char *expected)
{
    struct torc_slice key, value;
    enum torc_status status;
    char line[512] = "";
    size_t used = 0;

    while ((status = torc_cursor_next(cursor, &key, &value)) == TORC_OK) {
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%.*s=%.*s", used > 0 ? " " : "", (int)key.size,
                                 (const char *)key.data, (int)value.size, (const char *)value.data);
        cr_assert_lt(used, sizeof(line));
    }
    cr_expect_eq(status, TORC_END);
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_END, "the end is not stable");
    cr_expect_eq(key.size + value.size, 0u);
    cr_expect_str_eq(line, expected);
}

static struct torc_cursor *
scan(struct torc_txn *txn, const char *from, const char *to, const char *prefix, bool reverse)
{
    struct torc_scan_options options = {text(from), text(to), text(prefix), reverse};
    struct torc_cursor *cursor;

    cr_assert_eq(torc_txn_scan(txn, &options, &cursor), TORC_OK);
    return cursor;
}

static void
expect_scan(struct torc_txn *txn, const char *from, const char *to, const char *prefix, bool reverse,
            const char *expected)
{
    struct torc_cursor *cursor = scan(txn, from, to, prefix, reverse);

    expect_rest(cursor, expected);
    torc_cursor_close(cursor);
}

static void
put_text(const char *key, const char *value)
{
    cr_assert_eq(torc_mvcc_put(store, text(key), text(value), NULL), TORC_OK);
}

/* ---- Own writes ---- */

Test(mvcc_own_writes, are_read_back_by_get)
{
    struct torc_txn *txn = begin(TORC_SNAPSHOT, false);

    cr_assert_eq(torc_txn_put(txn, text("a"), text("1")), TORC_OK);
    expect_own(txn, "a", "1");
    cr_assert_eq(torc_txn_put(txn, text("a"), text("")), TORC_OK);
    expect_own(txn, "a", "");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = begin(TORC_SNAPSHOT, true);
    expect_own(txn, "a", "");
    torc_txn_abort(txn);
}

Test(mvcc_own_writes, show_the_last_of_many_overwrites)
{
    enum { OVERWRITES = 1000 };
    struct torc_txn *txn = begin(TORC_SNAPSHOT, false);
    char value[NAME_MAX_SIZE];

    for (unsigned i = 0; i < OVERWRITES; i++) {
        struct torc_slice bytes = name_of(value, "v", i);

        bytes.size = 1 + i % bytes.size;
        cr_assert_eq(torc_txn_put(txn, text("a"), bytes), TORC_OK);
        value[bytes.size] = '\0';
        expect_own(txn, "a", value);
    }
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(stats_now().keys, 1u);
    expect_only_live_versions();
}

Test(mvcc_own_writes, hide_what_was_deleted)
{
    struct torc_txn *txn;

    put_text("a", "1");
    put_text("b", "2");
    txn = begin(TORC_SNAPSHOT, false);
    cr_assert_eq(torc_txn_delete(txn, text("a")), TORC_OK);
    expect_own(txn, "a", NULL);
    cr_expect_eq(torc_txn_delete(txn, text("a")), TORC_NOT_FOUND, "it was deleted before");
    expect_scan(txn, "", "", "", false, "b=2");
    expect_scan(txn, "", "", "", true, "b=2");
    cr_assert_eq(torc_txn_put(txn, text("a"), text("3")), TORC_OK);
    expect_own(txn, "a", "3");
    expect_scan(txn, "", "", "", false, "a=3 b=2");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = begin(TORC_SNAPSHOT, true);
    expect_scan(txn, "", "", "", false, "a=3 b=2");
    torc_txn_abort(txn);
}

Test(mvcc_own_writes, of_a_new_key_can_be_deleted_again)
{
    struct torc_txn *txn = begin(TORC_SNAPSHOT, false);

    cr_assert_eq(torc_txn_put(txn, text("a"), text("1")), TORC_OK);
    cr_assert_eq(torc_txn_delete(txn, text("a")), TORC_OK);
    expect_own(txn, "a", NULL);
    expect_scan(txn, "", "", "", false, "");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(stats_now().keys, 0u);
    expect_only_live_versions();
}

Test(mvcc_own_writes, decide_put_if_absent)
{
    struct torc_txn *txn;

    put_text("a", "1");
    txn = begin(TORC_SNAPSHOT, false);
    cr_expect_eq(torc_txn_put_if_absent(txn, text("a"), text("2")), TORC_EXISTS);
    expect_own(txn, "a", "1");
    cr_expect_eq(torc_txn_put_if_absent(txn, text("b"), text("2")), TORC_OK);
    cr_expect_eq(torc_txn_put_if_absent(txn, text("b"), text("3")), TORC_EXISTS);
    expect_own(txn, "b", "2");
    cr_assert_eq(torc_txn_delete(txn, text("a")), TORC_OK);
    cr_expect_eq(torc_txn_put_if_absent(txn, text("a"), text("4")), TORC_OK);
    expect_own(txn, "a", "4");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
}

Test(mvcc_own_writes, stand_in_scans_among_the_snapshot)
{
    struct torc_txn *txn;

    put_text("b", "2");
    put_text("d", "4");
    put_text("f", "6");
    txn = begin(TORC_SNAPSHOT, false);
    cr_assert_eq(torc_txn_put(txn, text("a"), text("A")), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("c"), text("C")), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("d"), text("D")), TORC_OK);
    cr_assert_eq(torc_txn_delete(txn, text("f")), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("g"), text("G")), TORC_OK);
    expect_scan(txn, "", "", "", false, "a=A b=2 c=C d=D g=G");
    expect_scan(txn, "", "", "", true, "g=G d=D c=C b=2 a=A");
    expect_scan(txn, "b", "d", "", false, "b=2 c=C");
    expect_scan(txn, "b", "d", "", true, "c=C b=2");
    expect_scan(txn, "e", "", "", false, "g=G");
    expect_scan(txn, "", "b", "", true, "a=A");
    expect_scan(txn, "d", "b", "", false, "");
    expect_scan(txn, "b", "b", "", true, "");
    torc_txn_abort(txn);
}

Test(mvcc_own_writes, are_met_by_a_cursor_that_comes_to_them)
{
    struct torc_cursor *up, *down;
    struct torc_slice key, value;
    struct torc_txn *txn;

    put_text("c", "3");
    put_text("e", "5");
    put_text("g", "7");
    txn = begin(TORC_SNAPSHOT, false);
    up = scan(txn, "", "", "", false);
    cr_assert_eq(torc_cursor_next(up, &key, &value), TORC_OK);
    cr_assert(key.size == 1 && memcmp(key.data, "c", 1) == 0);
    cr_assert_eq(torc_txn_put(txn, text("b"), text("B")), TORC_OK);     /* Behind: not met. */
    cr_assert_eq(torc_txn_put(txn, text("d"), text("D")), TORC_OK);     /* Ahead: met. */
    cr_assert_eq(torc_txn_put(txn, text("g"), text("G")), TORC_OK);
    cr_assert_eq(torc_txn_delete(txn, text("e")), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("h"), text("H")), TORC_OK);
    expect_rest(up, "d=D g=G h=H");
    down = scan(txn, "", "", "", true);
    cr_assert_eq(torc_cursor_next(down, &key, NULL), TORC_OK);
    cr_assert(key.size == 1 && memcmp(key.data, "h", 1) == 0);
    cr_assert_eq(torc_txn_put(txn, text("i"), text("I")), TORC_OK);     /* Behind, in this direction. */
    cr_assert_eq(torc_txn_put(txn, text("f"), text("F")), TORC_OK);
    expect_rest(down, "g=G f=F d=D c=3 b=B");
    torc_cursor_close(down);
    torc_cursor_close(up);
    torc_txn_abort(txn);
}

Test(mvcc_own_writes, leave_borrowed_values_of_the_snapshot_as_they_are)
{
    struct torc_slice before;
    struct torc_txn *txn;

    put_text("a", "snapshot");
    txn = begin(TORC_SNAPSHOT, false);
    cr_assert_eq(torc_txn_get(txn, text("a"), &before), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("b"), text("own")), TORC_OK);
    put_text("a", "newer");
    cr_assert_eq(torc_mvcc_delete(store, text("a")), TORC_OK);
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_expect(before.size == 8 && memcmp(before.data, "snapshot", 8) == 0);
    expect_own(txn, "a", "snapshot");
    torc_txn_abort(txn);
}

/* ---- The store ---- */

Test(mvcc_store, is_empty_at_first)
{
    struct torc_txn *txn = begin(TORC_SERIALIZABLE, false);
    char buffer[8];
    size_t size = 1;

    expect_own(txn, "a", NULL);
    expect_scan(txn, "", "", "", false, "");
    expect_scan(txn, "", "", "", true, "");
    expect_scan(txn, "a", "b", "", false, "");
    expect_scan(txn, "", "", "a", true, "");
    cr_expect_eq(torc_txn_delete(txn, text("a")), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(torc_mvcc_get(store, text("a"), buffer, sizeof(buffer), &size), TORC_NOT_FOUND);
    cr_expect_eq(size, 0u);
    cr_expect_eq(torc_mvcc_delete(store, text("a")), TORC_NOT_FOUND);
    cr_expect_eq(stats_now().keys, 0u);
    expect_only_live_versions();
}

Test(mvcc_store, of_one_key)
{
    char buffer[8];
    bool replaced = true;
    struct torc_txn *txn;
    size_t size;

    cr_assert_eq(torc_mvcc_put(store, text("a"), text("1"), &replaced), TORC_OK);
    cr_expect_not(replaced);
    cr_assert_eq(torc_mvcc_put(store, text("a"), text("22"), &replaced), TORC_OK);
    cr_expect(replaced);
    cr_assert_eq(torc_mvcc_get(store, text("a"), buffer, sizeof(buffer), &size), TORC_OK);
    cr_expect(size == 2 && memcmp(buffer, "22", 2) == 0);
    cr_expect_eq(torc_mvcc_get(store, text("a"), buffer, 1, &size), TORC_TOO_LARGE);
    cr_expect(size == 2 && buffer[0] == '2');
    cr_expect_eq(torc_mvcc_get(store, text("a"), NULL, 0, &size), TORC_TOO_LARGE);
    cr_expect_eq(size, 2u);
    txn = begin(TORC_SNAPSHOT, true);
    expect_scan(txn, "", "", "", false, "a=22");
    expect_scan(txn, "", "", "", true, "a=22");
    expect_scan(txn, "a", "", "", false, "a=22");
    expect_scan(txn, "", "a", "", false, "");
    expect_scan(txn, "", "", "a", true, "a=22");
    expect_scan(txn, "", "", "aa", true, "");
    torc_txn_abort(txn);
    cr_assert_eq(torc_mvcc_delete(store, text("a")), TORC_OK);
    cr_expect_eq(torc_mvcc_delete(store, text("a")), TORC_NOT_FOUND);
    cr_assert_eq(torc_mvcc_put(store, text("a"), text("3"), &replaced), TORC_OK);
    cr_expect_not(replaced);
    expect_only_live_versions();
}

Test(mvcc_store, orders_keys_bytewise)
{
    static const unsigned char keys[][3] = {{0}, {0, 0}, {0, 1}, {1}, {127}, {128}, {255}, {255, 0}, {255, 255}};
    static const size_t sizes[] = {1, 2, 2, 1, 1, 1, 1, 2, 2};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    struct torc_txn *txn;
    struct torc_cursor *cursor;
    struct torc_slice key;

    for (size_t i = COUNT; i > 0; i--)
        cr_assert_eq(torc_mvcc_put(store, torc_slice(keys[i - 1], sizes[i - 1]), text(""), NULL), TORC_OK);
    txn = begin(TORC_SNAPSHOT, true);
    cursor = scan(txn, "", "", "", false);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(torc_cursor_next(cursor, &key, NULL), TORC_OK);
        cr_expect(key.size == sizes[i] && memcmp(key.data, keys[i], key.size) == 0, "at %zu", i);
    }
    cr_expect_eq(torc_cursor_next(cursor, &key, NULL), TORC_END);
    torc_cursor_close(cursor);
    expect_scan(txn, "\xff", "", "\xff\xff", true, "\xff\xff=");
    torc_txn_abort(txn);
}

Test(mvcc_store, lists_its_snapshots_oldest_first)
{
    struct torc_snapshot_info infos[4];
    struct torc_txn *old, *middle, *new;
    size_t count = 9;

    cr_assert_eq(torc_mvcc_snapshots(store, false, infos, 4, &count), TORC_OK);
    cr_expect_eq(count, 0u);
    put_text("a", "1");
    old = begin(TORC_SERIALIZABLE, false);
    put_text("a", "2");
    middle = begin(TORC_SNAPSHOT, true);
    put_text("a", "3");
    new = begin(TORC_SNAPSHOT, false);
    cr_assert_eq(torc_mvcc_snapshots(store, false, infos, 4, &count), TORC_OK);
    cr_assert_eq(count, 3u);
    cr_expect_eq(infos[0].snapshot, torc_txn_snapshot(old));
    cr_expect_eq(infos[1].snapshot, torc_txn_snapshot(middle));
    cr_expect_eq(infos[2].snapshot, torc_txn_snapshot(new));
    cr_expect(infos[0].serializable && !infos[0].read_only);
    cr_expect(!infos[1].serializable && infos[1].read_only);
    cr_expect(!infos[2].serializable && !infos[2].read_only);
    cr_expect(infos[0].snapshot < infos[1].snapshot && infos[1].snapshot < infos[2].snapshot);
    cr_expect(infos[0].age_ns >= infos[1].age_ns && infos[1].age_ns >= infos[2].age_ns);
    cr_assert_eq(torc_mvcc_snapshots(store, false, infos, 1, &count), TORC_OK);
    cr_expect_eq(count, 3u, "the count is of all, not of those that fit");
    cr_expect_eq(infos[0].snapshot, torc_txn_snapshot(old));
    cr_assert_eq(torc_mvcc_snapshots(store, false, NULL, 0, &count), TORC_OK);
    cr_expect_eq(count, 3u);
    torc_txn_abort(middle);
    cr_assert_eq(torc_mvcc_snapshots(store, false, infos, 4, &count), TORC_OK);
    cr_expect_eq(count, 2u);
    cr_expect_eq(stats_now().open_transactions, 2u);
    cr_expect_eq(infos[1].snapshot, torc_txn_snapshot(new));
    torc_txn_abort(old);
    torc_txn_abort(new);
}

Test(mvcc_store, counts_the_bytes_a_snapshot_pins)
{
    enum { SIZE = 10000 };
    static char value[SIZE];
    struct torc_snapshot_info infos[2];
    struct torc_txn *old, *new;
    size_t count;

    cr_assert_eq(torc_mvcc_put(store, text("a"), torc_slice(value, SIZE), NULL), TORC_OK);
    old = begin(TORC_SNAPSHOT, true);
    cr_assert_eq(torc_mvcc_snapshots(store, true, infos, 2, &count), TORC_OK);
    cr_expect_lt(infos[0].bytes_pinned, (uint64_t)SIZE, "the newest version is not pinned by a snapshot");
    cr_assert_eq(torc_mvcc_put(store, text("a"), text("small"), NULL), TORC_OK);
    new = begin(TORC_SNAPSHOT, true);
    cr_assert_eq(torc_mvcc_snapshots(store, true, infos, 2, &count), TORC_OK);
    cr_assert_eq(count, 2u);
    cr_expect_geq(infos[0].bytes_pinned, (uint64_t)SIZE);
    cr_expect_lt(infos[1].bytes_pinned, (uint64_t)SIZE);
    torc_txn_abort(new);
    torc_txn_abort(old);
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    expect_only_live_versions();
}

Test(mvcc_store, keeps_its_watermark_at_the_oldest_snapshot)
{
    struct torc_txn *old = begin(TORC_SNAPSHOT, true);

    for (unsigned i = 0; i < 10; i++)
        put_text("a", "1");
    torc_txn_abort(begin(TORC_SNAPSHOT, true));
    cr_expect_leq(stats_now().watermark, torc_txn_snapshot(old));
    cr_expect_geq(stats_now().clock, torc_txn_snapshot(old));
    torc_txn_abort(old);
}

Test(mvcc_store, renders_its_metrics)
{
    size_t size = 0, again = 0;
    char tiny[8];
    char *whole;

    cr_expect_eq(torc_mvcc_metrics(store, NULL, 0, &size), TORC_TOO_LARGE);
    cr_assert_gt(size, 0u);
    cr_expect_eq(torc_mvcc_metrics(store, tiny, sizeof(tiny), &again), TORC_TOO_LARGE);
    cr_expect_not_null(memchr(tiny, '\0', sizeof(tiny)), "it is terminated");
    whole = malloc(size + 64);      /* Figures may have grown by a digit. */
    cr_assert_not_null(whole);
    cr_expect_eq(torc_mvcc_metrics(store, whole, size + 64, &size), TORC_OK);
    cr_expect_eq(strlen(whole), size);
    cr_expect_eq(whole[size - 1], '\n');
    free(whole);
}

Test(mvcc_store, several_know_nothing_of_each_other)
{
    struct torc_mvcc *other;
    struct torc_txn *txn;
    struct torc_slice value;

    cr_assert_eq(torc_mvcc_open(NULL, &other), TORC_OK);
    put_text("a", "1");
    cr_assert_eq(torc_txn_begin(other, NULL, &txn), TORC_OK);
    cr_expect_eq(torc_txn_get(txn, text("a"), &value), TORC_NOT_FOUND);
    cr_assert_eq(torc_txn_put(txn, text("a"), text("2")), TORC_OK);
    put_text("a", "3");
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(torc_mvcc_close(other), TORC_OK);
    txn = begin(TORC_SNAPSHOT, true);
    expect_own(txn, "a", "3");
    torc_txn_abort(txn);
}

/* ---- torc_txn_run() ---- */

struct run_count {
    unsigned calls;
    unsigned succeed_at;        /* The call that returns TORC_OK; 0: none. */
    enum torc_status status;    /* Of the others. */
};

static enum torc_status
count_and_put(struct torc_txn *txn, void *context)
{
    struct run_count *count = context;
    enum torc_status status;

    count->calls++;
    status = torc_txn_put(txn, text("a"), text("1"));
    if (status != TORC_OK)
        return status;
    return count->calls == count->succeed_at ? TORC_OK : count->status;
}

static void
expect_run(struct run_count count, unsigned attempts_max, enum torc_status expected, unsigned calls)
{
    struct torc_run_options options = {.attempts_max = attempts_max, .backoff_max_ns = 1000};
    struct torc_mvcc_stats stats;

    cr_expect_eq(torc_txn_run(store, &options, count_and_put, &count), expected);
    cr_expect_eq(count.calls, calls, "%u calls, not %u", count.calls, calls);
    stats = stats_now();
    cr_expect_eq(stats.keys, expected == TORC_OK ? 1u : 0u);
    cr_expect_eq(stats.open_transactions, 0u);
}

Test(mvcc_run, commits_what_the_body_wrote)
{
    expect_run((struct run_count){.succeed_at = 1}, 0, TORC_OK, 1);
}

Test(mvcc_run, tries_again_after_a_conflict)
{
    expect_run((struct run_count){.succeed_at = 3, .status = TORC_CONFLICT}, 10, TORC_OK, 3);
}

Test(mvcc_run, tries_again_after_busy_and_expired)
{
    expect_run((struct run_count){.succeed_at = 2, .status = TORC_BUSY}, 10, TORC_OK, 2);
    cr_assert_eq(torc_mvcc_delete(store, text("a")), TORC_OK);
    expect_run((struct run_count){.succeed_at = 2, .status = TORC_EXPIRED}, 10, TORC_OK, 2);
}

Test(mvcc_run, gives_up_after_attempts_max)
{
    expect_run((struct run_count){.status = TORC_CONFLICT}, 5, TORC_CONFLICT, 5);
    expect_run((struct run_count){.status = TORC_BUSY}, 1, TORC_BUSY, 1);
}

Test(mvcc_run, gives_up_after_64_attempts_by_default)
{
    struct run_count count = {.status = TORC_CONFLICT};

    cr_expect_eq(torc_txn_run(store, NULL, count_and_put, &count), TORC_CONFLICT);
    cr_expect_eq(count.calls, 64u);
}

Test(mvcc_run, hands_on_any_other_status_at_once)
{
    expect_run((struct run_count){.status = TORC_NOT_FOUND}, 5, TORC_NOT_FOUND, 1);
    expect_run((struct run_count){.status = TORC_EXISTS}, 5, TORC_EXISTS, 1);
    expect_run((struct run_count){.status = TORC_INVALID}, 5, TORC_INVALID, 1);
    expect_run((struct run_count){.status = TORC_NO_MEMORY}, 5, TORC_NO_MEMORY, 1);
    expect_run((struct run_count){.status = TORC_INDETERMINATE}, 5, TORC_INDETERMINATE, 1);
}

static enum torc_status
read_then_be_overtaken(struct torc_txn *txn, void *context)
{
    unsigned *calls = context;
    struct torc_slice value;
    enum torc_status status = torc_txn_get(txn, text("a"), &value);

    if (status != TORC_OK)
        return status;
    if (++*calls < 3 && torc_mvcc_put(store, text("a"), text("rival"), NULL) != TORC_OK)
        return TORC_INVALID;
    return torc_txn_put(txn, text("b"), value);
}

Test(mvcc_run, runs_at_the_isolation_asked_for)
{
    struct torc_run_options options = {.txn = {.isolation = TORC_SERIALIZABLE}, .backoff_max_ns = 1000};
    unsigned calls = 0;

    put_text("a", "1");
    cr_expect_eq(torc_txn_run(store, &options, read_then_be_overtaken, &calls), TORC_OK);
    cr_expect_eq(calls, 3u);
    calls = 0;
    cr_expect_eq(torc_txn_run(store, NULL, read_then_be_overtaken, &calls), TORC_OK);
    cr_expect_eq(calls, 1u);
}

static enum torc_status
write_read_only(struct torc_txn *txn, void *context)
{
    (void)context;
    return torc_txn_put(txn, text("a"), text("1"));
}

Test(mvcc_run, of_a_read_only_transaction_refuses_writes)
{
    struct torc_run_options options = {.txn = {.read_only = true}};

    cr_expect_eq(torc_txn_run(store, &options, write_read_only, NULL), TORC_READ_ONLY);
}

/* ---- Memory ---- */

Test(mvcc_memory, a_long_reader_costs_one_version_of_each_key)
{
    enum { OVERWRITES = 1000 };
    struct torc_txn *reader;
    struct torc_mvcc_stats stats;

    put_text("a", "first");
    reader = begin(TORC_SNAPSHOT, true);
    for (unsigned i = 0; i < OVERWRITES; i++)
        put_text("a", "later");
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    stats = stats_now();
    cr_expect_leq(stats.versions_created - stats.versions_freed, 2u, "%" PRIu64 " versions in memory",
                  stats.versions_created - stats.versions_freed);
    expect_own(reader, "a", "first");
    torc_txn_abort(reader);
    expect_only_live_versions();
}

Test(mvcc_memory, deleted_keys_give_everything_back)
{
    enum { KEYS = 1000 };
    char name[NAME_MAX_SIZE];
    struct torc_mvcc_stats stats;

    for (unsigned i = 0; i < KEYS; i++)
        cr_assert_eq(torc_mvcc_put(store, name_of(name, "key", i), text("value"), NULL), TORC_OK);
    for (unsigned i = 0; i < KEYS; i++)
        cr_assert_eq(torc_mvcc_delete(store, name_of(name, "key", i)), TORC_OK);
    expect_only_live_versions();
    stats = stats_now();
    cr_expect_eq(stats.keys, 0u);
    cr_expect_eq(stats.versions_created, stats.versions_freed);
}

Test(mvcc_memory, close_gives_back_what_open_took)
{
    struct torct_ledger own;
    struct torc_allocator from_own;
    struct torc_mvcc_options options;
    struct torc_mvcc *other;
    struct torc_txn *txn;

    torct_ledger_init(&own);
    from_own = torct_ledger_allocator(&own);
    torc_mvcc_options_init(&options);
    options.allocator = &from_own;
    cr_assert_eq(torc_mvcc_open(&options, &other), TORC_OK);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(torc_mvcc_put(other, text("a"), text("value"), NULL), TORC_OK);
    cr_assert_eq(torc_txn_begin(other, NULL, &txn), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("b"), text("value")), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_assert_eq(torc_mvcc_delete(other, text("a")), TORC_OK);
    cr_assert_eq(torc_mvcc_close(other), TORC_OK);
    cr_expect(torct_ledger_balanced(&own));
}

Test(mvcc_memory, counts_what_the_allocator_counts)
{
    struct torc_mvcc_stats stats;
    char name[NAME_MAX_SIZE];

    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(torc_mvcc_put(store, name_of(name, "key", i), text("value"), NULL), TORC_OK);
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    stats = stats_now();
    cr_expect_gt(stats.memory_bytes, 1000u * 5u);
    cr_expect_leq(stats.memory_bytes, 2 * torci_load(&ledger.bytes, memory_order_relaxed));
}

/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_invariants: what holds whatever runs: own writes are read, snapshots are whole, money is conserved, one
 * racer wins, no increment is lost, versions are freed.
 *
 * Oracles: a model (one thread, several open transactions, every answer known beforehand), values that must be equal or
 * add up (threads), conservation (counters and the allocator's ledger). Counts bound every loop, never time. Bodies of
 * threads assert nothing: they count violations, which the test looks at after the join. */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/atomic.h"
#include "base/random.h"
#include "base/testing.h"

enum { RACERS = 8, NAME_MAX_SIZE = 24 };

static struct torct_ledger ledger;
static struct torc_allocator allocator;
static struct torc_mvcc *store;

static void
create(void)
{
    struct torc_mvcc_options options;

    torct_ledger_init(&ledger);
    allocator = torct_ledger_allocator(&ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK);
}

static void
destroy(void)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

TestSuite(mvcc_own_writes, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_store, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_model, .init = create, .fini = destroy, .timeout = 300);
TestSuite(mvcc_run, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_race, .init = create, .fini = destroy, .timeout = 600);
TestSuite(mvcc_memory, .init = create, .fini = destroy, .timeout = 60);

/* ---- Helpers ---- */

static struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

static struct torc_slice
name_of(char name[NAME_MAX_SIZE], const char *prefix, unsigned number)
{
    return torc_slice(name, (size_t)snprintf(name, NAME_MAX_SIZE, "%s%05u", prefix, number));
}

static struct torc_slice
bytes_of(const int64_t *number)
{
    return torc_slice(number, sizeof(*number));
}

/* A number kept as a value. INT64_MIN if the value is not one: no test writes that. */
static int64_t
number_in(struct torc_slice value)
{
    int64_t number = INT64_MIN;

    if (value.size == sizeof(number))
        memcpy(&number, value.data, sizeof(number));
    return number;
}

static struct torc_txn *
begin(enum torc_isolation isolation, bool read_only)
{
    struct torc_txn_options options = {.isolation = isolation, .read_only = read_only};
    struct torc_txn *txn;

    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK);
    return txn;
}

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
expect_scan(struct torc_txn *txn, const char *from, const char *to, const char *prefix, bool reverse, const char *expected)
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

static struct torc_mvcc_stats
stats_now(void)
{
    struct torc_mvcc_stats stats;

    cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
    return stats;
}

/* With nothing open, a collected store holds one version for each key that has a value. */
static void
expect_only_live_versions(void)
{
    struct torc_mvcc_stats stats;

    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    stats = stats_now();
    cr_expect_eq(stats.open_transactions, 0u);
    cr_expect_eq(stats.versions_created - stats.versions_freed, stats.keys, "%" PRIu64 " created, %" PRIu64 " freed, %"
                 PRIu64 " keys", stats.versions_created, stats.versions_freed, stats.keys);
    cr_expect_eq(stats.retired_bytes, 0u);
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

/* ---- Against a model ---- */

enum {
    MODEL_KEYS = 12,
    MODEL_TXNS = 5,
    MODEL_STEPS = 40000,
    ABSENT = 0,
};

/* What one open transaction must see: the store at its begin, and what it wrote. */
struct model_txn {
    struct torc_txn *txn;                   /* NULL: not open. */
    bool serializable;
    bool doomed;                            /* A conflict was returned: only abort may follow. */
    bool wrote;
    int64_t snapshot[MODEL_KEYS];
    uint64_t begun;                         /* Commits before it. */
    bool written[MODEL_KEYS];
    bool locked[MODEL_KEYS];
    int64_t own[MODEL_KEYS];
    bool read[MODEL_KEYS];                  /* From the snapshot, points and ranges. */
};

struct model {
    int64_t newest[MODEL_KEYS];
    uint64_t changed[MODEL_KEYS];           /* By the n-th commit. */
    uint64_t commits;
    int64_t last_value;
    struct model_txn txns[MODEL_TXNS];
    struct torci_random random;
};

static int64_t
model_value(const struct model_txn *txn, unsigned key)
{
    return txn->written[key] ? txn->own[key] : txn->snapshot[key];
}

static bool
model_overtaken(const struct model *model, const struct model_txn *txn, unsigned key)
{
    return model->changed[key] > txn->begun;
}

static struct torc_slice
model_key(char name[NAME_MAX_SIZE], unsigned key)
{
    return name_of(name, key % 2 == 0 ? "even" : "odd", key);
}

/* Even keys come before odd ones. */
static unsigned
model_rank(unsigned rank)
{
    return rank < MODEL_KEYS / 2 ? rank * 2 : (rank - MODEL_KEYS / 2) * 2 + 1;
}

static void
model_begin(struct model *model, struct model_txn *txn)
{
    memset(txn, 0, sizeof(*txn));
    txn->serializable = torci_random_one_in(&model->random, 2);
    txn->txn = begin(txn->serializable ? TORC_SERIALIZABLE : TORC_SNAPSHOT, false);
    memcpy(txn->snapshot, model->newest, sizeof(txn->snapshot));
    txn->begun = model->commits;
}

static void
model_read(struct model_txn *txn, unsigned key, enum torc_status status, struct torc_slice value)
{
    int64_t expected = model_value(txn, key);

    cr_assert_eq(status, expected == ABSENT ? TORC_NOT_FOUND : TORC_OK, "key %u: %s", key, torc_status_name(status));
    if (expected != ABSENT)
        cr_assert_eq(number_in(value), expected, "key %u", key);
    if (!txn->written[key])
        txn->read[key] = true;
}

/* A write of any kind: `status` is what torc said, `wanted` what the model says but for conflicts. */
static bool
model_wrote(struct model *model, struct model_txn *txn, unsigned key, enum torc_status status, enum torc_status wanted)
{
    if (status == TORC_CONFLICT) {
        cr_assert(model_overtaken(model, txn, key), "key %u: a conflict without cause", key);
        txn->doomed = true;
        return false;
    }
    cr_assert_eq(status, wanted, "key %u: %s, not %s", key, torc_status_name(status), torc_status_name(wanted));
    return status == TORC_OK;
}

static void
model_write(struct model *model, struct model_txn *txn, unsigned key)
{
    bool present = model_value(txn, key) != ABSENT;
    int64_t value = ++model->last_value;
    char name[NAME_MAX_SIZE];
    struct torc_slice slice = model_key(name, key);

    switch (torci_random_below(&model->random, 3)) {
    case 0:
        if (!model_wrote(model, txn, key, torc_txn_put(txn->txn, slice, bytes_of(&value)), TORC_OK))
            return;
        break;
    case 1:
        txn->read[key] |= !txn->written[key];
        if (!model_wrote(model, txn, key, torc_txn_put_if_absent(txn->txn, slice, bytes_of(&value)),
                         present ? TORC_EXISTS : TORC_OK))
            return;
        break;
    default:
        txn->read[key] |= !txn->written[key];
        if (!model_wrote(model, txn, key, torc_txn_delete(txn->txn, slice), present ? TORC_OK : TORC_NOT_FOUND))
            return;
        value = ABSENT;
        break;
    }
    txn->written[key] = true;
    txn->own[key] = value;
    txn->wrote = true;
}

static void
model_lock(struct model *model, struct model_txn *txn, unsigned key)
{
    char name[NAME_MAX_SIZE];
    struct torc_slice value;
    enum torc_status status = torc_txn_get_for_update(txn->txn, model_key(name, key), &value);

    if (status == TORC_CONFLICT) {
        cr_assert(model_overtaken(model, txn, key), "key %u: a conflict without cause", key);
        txn->doomed = true;
        return;
    }
    model_read(txn, key, status, value);
    txn->locked[key] = true;
    txn->wrote = true;
}

static void
model_scan(struct model *model, struct model_txn *txn)
{
    unsigned least = (unsigned)torci_random_below(&model->random, MODEL_KEYS);
    unsigned past = (unsigned)torci_random_below(&model->random, MODEL_KEYS + 1);
    unsigned limit = (unsigned)torci_random_below(&model->random, MODEL_KEYS + 1);
    bool reverse = torci_random_one_in(&model->random, 2);
    char from[NAME_MAX_SIZE], to[NAME_MAX_SIZE], name[NAME_MAX_SIZE];
    struct torc_scan_options options = {.from = model_key(from, model_rank(least)), .reverse = reverse};
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    bool ended = false;

    if (past < MODEL_KEYS)
        options.to = model_key(to, model_rank(past));
    cr_assert_eq(torc_txn_scan(txn->txn, &options, &cursor), TORC_OK);
    for (unsigned i = least; i < past && !ended; i++) {
        unsigned number = model_rank(reverse ? past - 1 - (i - least) : i);
        struct torc_slice expected = model_key(name, number);

        if (!txn->written[number])
            txn->read[number] = true;
        if (model_value(txn, number) == ABSENT)
            continue;
        cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
        cr_assert(key.size == expected.size && memcmp(key.data, expected.data, key.size) == 0, "%.*s, not %.*s",
                  (int)key.size, (const char *)key.data, (int)expected.size, (const char *)expected.data);
        cr_assert_eq(number_in(value), model_value(txn, number));
        ended = limit-- == 0;
    }
    if (!ended)
        cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_END);
    torc_cursor_close(cursor);
}

/* Whether the commit must fail, must not, or either: a scan that stopped early may have guarded more than it showed,
 * and a get_for_update counts as a write. */
static bool
model_must_lose(const struct model *model, const struct model_txn *txn)
{
    for (unsigned key = 0; key < MODEL_KEYS; key++)
        if (model_overtaken(model, txn, key)
            && (txn->written[key] || txn->locked[key] || (txn->serializable && txn->wrote && txn->read[key])))
            return true;
    return false;
}

static bool
model_may_lose(const struct model *model, const struct model_txn *txn)
{
    for (unsigned key = 0; key < MODEL_KEYS; key++)
        if (model_overtaken(model, txn, key))
            return txn->serializable && txn->wrote;
    return false;
}

static void
model_commit(struct model *model, struct model_txn *txn)
{
    bool must_lose = model_must_lose(model, txn);
    bool may_lose = must_lose || model_may_lose(model, txn);
    enum torc_status status = torc_txn_commit(txn->txn);

    txn->txn = NULL;
    if (status == TORC_CONFLICT) {
        cr_assert(may_lose, "a commit lost without cause");
        return;
    }
    cr_assert_eq(status, TORC_OK, "%s", torc_status_name(status));
    cr_assert_not(must_lose, "a commit won that had lost a key");
    model->commits++;
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        if (txn->written[key])
            model->newest[key] = txn->own[key];
        if (txn->written[key] || txn->locked[key])
            model->changed[key] = model->commits;
    }
}

static void
model_autocommit(struct model *model, unsigned key)
{
    bool present = model->newest[key] != ABSENT;
    char name[NAME_MAX_SIZE];
    struct torc_slice slice = model_key(name, key);
    int64_t value = ++model->last_value, got = 0;
    bool replaced = !present;
    size_t size;

    switch (torci_random_below(&model->random, 3)) {
    case 0:
        cr_assert_eq(torc_mvcc_get(store, slice, &got, sizeof(got), &size), present ? TORC_OK : TORC_NOT_FOUND);
        cr_assert_eq(got, model->newest[key]);
        return;
    case 1:
        cr_assert_eq(torc_mvcc_put(store, slice, bytes_of(&value), &replaced), TORC_OK);
        cr_assert_eq(replaced, present);
        break;
    default:
        cr_assert_eq(torc_mvcc_delete(store, slice), present ? TORC_OK : TORC_NOT_FOUND);
        if (!present)
            return;
        value = ABSENT;
        break;
    }
    model->newest[key] = value;
    model->changed[key] = ++model->commits;
}

static void
model_step(struct model *model)
{
    struct model_txn *txn = &model->txns[torci_random_below(&model->random, MODEL_TXNS)];
    unsigned key = (unsigned)torci_random_below(&model->random, MODEL_KEYS);
    char name[NAME_MAX_SIZE];
    struct torc_slice value;
    enum torc_status status;

    if (txn->txn == NULL) {
        model_begin(model, txn);
        return;
    }
    switch (txn->doomed ? 15 : torci_random_below(&model->random, 16)) {
    case 0: case 1: case 2: case 3:
        status = torc_txn_get(txn->txn, model_key(name, key), &value);
        model_read(txn, key, status, value);
        break;
    case 4: case 5: case 6: case 7:
        model_write(model, txn, key);
        break;
    case 8:
        model_lock(model, txn, key);
        break;
    case 9: case 10:
        model_scan(model, txn);
        break;
    case 11:
        model_autocommit(model, key);
        break;
    case 12: case 13: case 14:
        model_commit(model, txn);
        break;
    default:
        torc_txn_abort(txn->txn);
        txn->txn = NULL;
        break;
    }
}

/* Several transactions open at once, one thread: every answer is known. */
Test(mvcc_model, agrees_with_every_step)
{
    static struct model model;

    model.random = torci_random_seed(torct_seed());
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        model_step(&model);
        if (step % 1024 == 0)
            cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    }
    for (unsigned i = 0; i < MODEL_TXNS; i++)
        torc_txn_abort(model.txns[i].txn);
    expect_only_live_versions();
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

/* ---- Races ---- */

enum {
    EQUAL_KEYS = 16,
    EQUAL_WRITERS = 3,
    EQUAL_WRITES = 150,
    EQUAL_READS = 300,
};

/* What racers share: the answers, counted. Relaxed counters, read after the join. */
struct race {
    _Atomic(uint64_t) violations;
    _Atomic(uint64_t) failures;         /* A status that no step may return. */
    _Atomic(uint64_t) wins;
    _Atomic(uint64_t) done;             /* Racers that have finished their part. */
    enum torc_isolation isolation;
};

static void
count_one(_Atomic(uint64_t) *counter)
{
    torci_fetch_add(counter, 1, memory_order_relaxed);
}

static void
expect_clean(struct race *race)
{
    cr_expect_eq(torci_load(&race->violations, memory_order_relaxed), 0u, "violations: %" PRIu64,
                 torci_load(&race->violations, memory_order_relaxed));
    cr_expect_eq(torci_load(&race->failures, memory_order_relaxed), 0u, "failures: %" PRIu64,
                 torci_load(&race->failures, memory_order_relaxed));
    expect_only_live_versions();
}

static struct torc_run_options
patient(const struct race *race)
{
    return (struct torc_run_options){.txn = {.isolation = race->isolation}, .attempts_max = 1000000,
                                     .backoff_max_ns = 100000};
}

static enum torc_status
set_all_equal(struct torc_txn *txn, void *context)
{
    enum torc_status status = TORC_OK;
    char name[NAME_MAX_SIZE];

    for (unsigned key = 0; key < EQUAL_KEYS && status == TORC_OK; key++)
        status = torc_txn_put(txn, name_of(name, "equal", key), bytes_of(context));
    return status;
}

/* Read the keys, twice and by a scan: all must be equal, and stay so. */
static void
look_at_all(struct race *race, struct torc_txn *txn)
{
    struct torc_scan_options options = {.prefix = text("equal")};
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    char name[NAME_MAX_SIZE];
    int64_t first = INT64_MIN;
    unsigned count = 0;

    for (unsigned i = 0; i < 2 * EQUAL_KEYS; i++) {
        if (torc_txn_get(txn, name_of(name, "equal", i % EQUAL_KEYS), &value) != TORC_OK)
            count_one(&race->failures);
        else if (i == 0)
            first = number_in(value);
        else if (number_in(value) != first)
            count_one(&race->violations);
    }
    if (torc_txn_scan(txn, &options, &cursor) != TORC_OK) {
        count_one(&race->failures);
        return;
    }
    while (torc_cursor_next(cursor, &key, &value) == TORC_OK) {
        count++;
        if (number_in(value) != first)
            count_one(&race->violations);
    }
    torc_cursor_close(cursor);
    if (count != EQUAL_KEYS)
        count_one(&race->violations);
}

static void
keep_all_equal(void *context, unsigned number)
{
    struct race *race = context;
    struct torc_run_options run = patient(race);
    struct torc_txn_options read_only = {.isolation = race->isolation, .read_only = number % 2 == 0};

    if (number < EQUAL_WRITERS) {
        for (int64_t i = 1; i <= EQUAL_WRITES; i++) {
            int64_t value = i * RACERS + number;

            if (torc_txn_run(store, &run, set_all_equal, &value) != TORC_OK)
                count_one(&race->failures);
        }
        return;
    }
    for (unsigned i = 0; i < EQUAL_READS; i++) {
        struct torc_txn *txn;

        if (torc_txn_begin(store, &read_only, &txn) != TORC_OK) {
            count_one(&race->failures);
            continue;
        }
        look_at_all(race, txn);
        if (torc_txn_commit(txn) != TORC_OK)
            count_one(&race->failures);
    }
}

static void
race_all_equal(enum torc_isolation isolation)
{
    struct race race = {.isolation = isolation};
    struct torc_run_options run = patient(&race);
    int64_t zero = 0;

    cr_assert_eq(torc_txn_run(store, &run, set_all_equal, &zero), TORC_OK);
    torct_race(RACERS, keep_all_equal, &race);
    expect_clean(&race);
}

Test(mvcc_race, sixteen_keys_are_always_all_equal)
{
    race_all_equal(TORC_SNAPSHOT);
}

Test(mvcc_race, sixteen_keys_are_always_all_equal_when_serializable)
{
    race_all_equal(TORC_SERIALIZABLE);
}

enum {
    ACCOUNTS = 8,
    BANK_TOTAL = 100,
    TRANSFERS = 250,
    AUDITS = 250,
    TRANSFER_MAX = 5,
};

/* A bank. Variants: */
struct bank {
    struct race race;
    bool close_empty;       /* An account without money is deleted, and inserted again. */
    bool by_range;          /* Auditors scan, one way and the other. */
    bool long_reader;       /* One auditor keeps its transaction open until the transfers are done. */
    bool autocommit;        /* Accounts have neighbours that are put, got and deleted in one step. */
};

struct transfer {
    unsigned from, to;
    int64_t amount;
    bool close_empty;
    bool negative;
};

static struct torc_slice
account(char name[NAME_MAX_SIZE], unsigned number)
{
    return name_of(name, "account", number);
}

static enum torc_status
balance_of(struct torc_txn *txn, unsigned number, int64_t *balance)
{
    char name[NAME_MAX_SIZE];
    struct torc_slice value;
    enum torc_status status = torc_txn_get(txn, account(name, number), &value);

    *balance = status == TORC_OK ? number_in(value) : 0;
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

static enum torc_status
set_balance(struct torc_txn *txn, unsigned number, int64_t balance, bool close_empty)
{
    char name[NAME_MAX_SIZE];
    enum torc_status status;

    if (balance > 0 || !close_empty)
        return torc_txn_put(txn, account(name, number), bytes_of(&balance));
    status = torc_txn_delete(txn, account(name, number));
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

static enum torc_status
move_money(struct torc_txn *txn, void *context)
{
    struct transfer *transfer = context;
    int64_t from, to;
    enum torc_status status = balance_of(txn, transfer->from, &from);

    if (status == TORC_OK)
        status = balance_of(txn, transfer->to, &to);
    if (status != TORC_OK)
        return status;
    transfer->negative |= from < 0 || to < 0;
    if (from < transfer->amount)
        return TORC_OK;
    status = set_balance(txn, transfer->from, from - transfer->amount, transfer->close_empty);
    if (status == TORC_OK)
        status = set_balance(txn, transfer->to, to + transfer->amount, transfer->close_empty);
    return status;
}

/* What the auditor sees must be the bank's total. Adds up a conflict-free status only. */
static void
audit(struct bank *bank, struct torc_txn *txn, bool reverse)
{
    struct torc_scan_options options = {.prefix = text("account"), .reverse = reverse};
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    int64_t sum = 0, balance;
    enum torc_status status = TORC_OK;

    if (!bank->by_range) {
        for (unsigned i = 0; i < ACCOUNTS && status == TORC_OK; i++) {
            status = balance_of(txn, i, &balance);
            sum += balance;
        }
    } else {
        status = torc_txn_scan(txn, &options, &cursor);
        while (status == TORC_OK && (status = torc_cursor_next(cursor, &key, &value)) == TORC_OK)
            sum += number_in(value);
        torc_cursor_close(cursor);
        status = status == TORC_END ? TORC_OK : status;
    }
    if (status != TORC_OK)
        count_one(&bank->race.failures);
    else if (sum != BANK_TOTAL)
        count_one(&bank->race.violations);
}

static void
audit_once(struct bank *bank, unsigned number, unsigned turn)
{
    struct torc_txn_options options = {.isolation = bank->race.isolation, .read_only = number % 2 == 0};
    struct torc_txn *txn;

    if (torc_txn_begin(store, &options, &txn) != TORC_OK) {
        count_one(&bank->race.failures);
        return;
    }
    audit(bank, txn, turn % 2 == 0);
    if (torc_txn_commit(txn) != TORC_OK)
        count_one(&bank->race.failures);
}

static void
audit_for_long(struct bank *bank)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_txn *txn;
    unsigned turn = 0;

    if (torc_txn_begin(store, &options, &txn) != TORC_OK) {
        count_one(&bank->race.failures);
        return;
    }
    /* Relaxed: only says when to stop. */
    while (turn < AUDITS || torci_load(&bank->race.done, memory_order_relaxed) < RACERS / 2)
        audit(bank, txn, turn++ % 2 == 0);
    torc_txn_abort(txn);
}

static void
transfer_once(struct bank *bank, struct torci_random *random)
{
    struct torc_run_options run = patient(&bank->race);
    struct transfer transfer = {.close_empty = bank->close_empty};

    transfer.from = (unsigned)torci_random_below(random, ACCOUNTS);
    transfer.to = (transfer.from + 1 + (unsigned)torci_random_below(random, ACCOUNTS - 1)) % ACCOUNTS;
    transfer.amount = 1 + (int64_t)torci_random_below(random, TRANSFER_MAX);
    if (torc_txn_run(store, &run, move_money, &transfer) != TORC_OK)
        count_one(&bank->race.failures);
    if (transfer.negative)
        count_one(&bank->race.violations);
}

/* A step beside the accounts, in the same range of keys but not in their prefix. */
static void
autocommit_once(struct bank *bank, struct torci_random *random, unsigned number)
{
    char name[NAME_MAX_SIZE];
    struct torc_slice key;
    int64_t value = number, got = 0;
    enum torc_status status;
    size_t size;

    key = name_of(name, "accoun", (unsigned)torci_random_below(random, ACCOUNTS));
    status = torci_random_one_in(random, 3) ? torc_mvcc_delete(store, key)
                                            : torc_mvcc_put(store, key, bytes_of(&value), NULL);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        count_one(&bank->race.failures);
    key = account(name, (unsigned)torci_random_below(random, ACCOUNTS));
    status = torc_mvcc_get(store, key, &got, sizeof(got), &size);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        count_one(&bank->race.failures);
    if (got < 0 || got > BANK_TOTAL)
        count_one(&bank->race.violations);
}

static void
work_at_the_bank(void *context, unsigned number)
{
    struct bank *bank = context;
    struct torci_random random = torci_random_seed(torct_seed() + number);

    if (number < RACERS / 2) {
        for (unsigned i = 0; i < TRANSFERS; i++) {
            transfer_once(bank, &random);
            if (bank->autocommit)
                autocommit_once(bank, &random, number);
        }
        count_one(&bank->race.done);
    } else if (bank->long_reader && number == RACERS / 2) {
        audit_for_long(bank);
    } else {
        for (unsigned i = 0; i < AUDITS; i++)
            audit_once(bank, number, i);
    }
}

static void
race_bank(struct bank bank)
{
    char name[NAME_MAX_SIZE];
    struct torc_txn *txn;
    int64_t zero = 0, total = BANK_TOTAL;

    for (unsigned i = 0; i < ACCOUNTS; i++)
        if (i == 0 || !bank.close_empty)
            cr_assert_eq(torc_mvcc_put(store, account(name, i), bytes_of(i == 0 ? &total : &zero), NULL), TORC_OK);
    torct_race(RACERS, work_at_the_bank, &bank);
    bank.by_range = true;
    txn = begin(TORC_SNAPSHOT, true);
    audit(&bank, txn, false);
    torc_txn_abort(txn);
    expect_clean(&bank.race);
}

Test(mvcc_race, a_bank_keeps_its_money)
{
    race_bank((struct bank){.race = {.isolation = TORC_SNAPSHOT}});
}

Test(mvcc_race, a_serializable_bank_keeps_its_money)
{
    race_bank((struct bank){.race = {.isolation = TORC_SERIALIZABLE}});
}

Test(mvcc_race, a_bank_that_opens_and_closes_accounts_keeps_its_money)
{
    race_bank((struct bank){.close_empty = true});
}

Test(mvcc_race, a_bank_read_by_ranges_keeps_its_money)
{
    race_bank((struct bank){.close_empty = true, .by_range = true, .race = {.isolation = TORC_SERIALIZABLE}});
}

Test(mvcc_race, a_long_reader_sees_one_state_of_the_bank)
{
    race_bank((struct bank){.close_empty = true, .by_range = true, .long_reader = true});
}

Test(mvcc_race, a_bank_among_autocommits_keeps_its_money)
{
    race_bank((struct bank){.close_empty = true, .by_range = true, .long_reader = true, .autocommit = true});
}

enum { WON_KEYS = 300 };

static enum torc_status
win_key(struct torc_txn *txn, void *context)
{
    char name[NAME_MAX_SIZE];

    return torc_txn_put_if_absent(txn, name_of(name, "won", *(unsigned *)context), text("mine"));
}

/* The same keys in the same order, so that racers meet at every key. */
static void
win_every_key(void *context, unsigned number)
{
    struct race *race = context;
    struct torc_run_options run = patient(race);

    (void)number;
    for (unsigned key = 0; key < WON_KEYS; key++) {
        enum torc_status status = torc_txn_run(store, &run, win_key, &key);

        if (status == TORC_OK)
            count_one(&race->wins);
        else if (status != TORC_EXISTS)
            count_one(&race->failures);
    }
}

Test(mvcc_race, one_racer_wins_each_absent_key)
{
    struct race race = {.isolation = TORC_SNAPSHOT};

    torct_race(RACERS, win_every_key, &race);
    cr_expect_eq(torci_load(&race.wins, memory_order_relaxed), (uint64_t)WON_KEYS);
    cr_expect_eq(stats_now().keys, (uint64_t)WON_KEYS);
    expect_clean(&race);
}

enum { INCREMENTS = 150 };

static enum torc_status
increment(struct torc_txn *txn, void *context)
{
    struct torc_slice value;
    enum torc_status status = torc_txn_get(txn, text("counter"), &value);
    int64_t number = status == TORC_OK ? number_in(value) + 1 : 1;

    (void)context;
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        return status;
    return torc_txn_put(txn, text("counter"), bytes_of(&number));
}

static void
increment_often(void *context, unsigned number)
{
    struct race *race = context;
    struct torc_run_options run = patient(race);

    (void)number;
    for (unsigned i = 0; i < INCREMENTS; i++)
        if (torc_txn_run(store, &run, increment, NULL) != TORC_OK)
            count_one(&race->failures);
}

static void
race_counter(enum torc_isolation isolation)
{
    struct race race = {.isolation = isolation};
    int64_t counter = 0;
    size_t size;

    torct_race(RACERS, increment_often, &race);
    cr_assert_eq(torc_mvcc_get(store, text("counter"), &counter, sizeof(counter), &size), TORC_OK);
    cr_expect_eq(counter, (int64_t)RACERS * INCREMENTS);
    expect_clean(&race);
}

Test(mvcc_race, a_counter_loses_no_increment)
{
    race_counter(TORC_SNAPSHOT);
}

Test(mvcc_race, a_serializable_counter_loses_no_increment)
{
    race_counter(TORC_SERIALIZABLE);
}

enum { CHURN_KEYS = 40, CHURNS = 1000 };

/* Insert and delete the same few keys: records come and go under each other's feet. */
static void
churn(void *context, unsigned number)
{
    struct race *race = context;
    struct torci_random random = torci_random_seed(torct_seed() ^ number);
    char name[NAME_MAX_SIZE], got[NAME_MAX_SIZE];
    size_t size;

    for (unsigned i = 0; i < CHURNS; i++) {
        struct torc_slice key = name_of(name, "churn", (unsigned)torci_random_below(&random, CHURN_KEYS));
        enum torc_status status;

        switch (torci_random_below(&random, 3)) {
        case 0:
            status = torc_mvcc_put(store, key, key, NULL);
            break;
        case 1:
            status = torc_mvcc_delete(store, key);
            break;
        default:
            status = torc_mvcc_get(store, key, got, sizeof(got), &size);
            if (status == TORC_OK && (size != key.size || memcmp(got, key.data, size) != 0))
                count_one(&race->violations);
            break;
        }
        if (status != TORC_OK && status != TORC_NOT_FOUND)
            count_one(&race->failures);
    }
}

Test(mvcc_race, keys_that_come_and_go_keep_their_values)
{
    struct race race = {.isolation = TORC_SNAPSHOT};
    struct torc_txn *txn;
    struct torc_cursor *cursor;
    struct torc_slice key;
    uint64_t count = 0;

    torct_race(RACERS, churn, &race);
    txn = begin(TORC_SNAPSHOT, true);
    cursor = scan(txn, "", "", "", false);
    while (torc_cursor_next(cursor, &key, NULL) == TORC_OK)
        count++;
    torc_cursor_close(cursor);
    torc_txn_abort(txn);
    cr_expect_eq(count, stats_now().keys);
    expect_clean(&race);
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

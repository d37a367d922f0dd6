/* SPDX-License-Identifier: MIT */
/* Values that expire, by the public interface and by what the timing wheel does. Time is a number that the tests set.
 * */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/testing.h"
#include "mvcc/reclaim.h"

enum { NAME_SIZE = 24 };

static struct torct_ledger ledger;
static struct torc_allocator allocator;
static struct torc_mvcc *db;
static struct torc_keyspace *all;
static _Atomic(uint64_t) now;

/* What on_commit was told. Relaxed counters; read when nothing runs. */
static _Atomic(uint64_t) told_expired;
static _Atomic(uint64_t) told_other;

static uint64_t
tell_time(void *context)
{
    (void)context;
    return torci_load(&now, memory_order_relaxed); /* Relaxed: a clock. */
}

static void
set_time(uint64_t ms)
{
    torci_store(&now, ms, memory_order_relaxed); /* Relaxed: a clock. */
}

static void
on_commit(void *context, const struct torc_commit *commit)
{
    struct torc_change change;
    size_t position = 0;

    (void)context;
    cr_assert_neq(torc_commit_stamp(commit), 0u);
    while (torc_commit_next(commit, &position, &change)) {
        if (change.expired)
            cr_assert(change.deleted);
        torci_fetch_add(change.expired ? &told_expired : &told_other, 1, memory_order_relaxed);
    }
}

static void
create(void)
{
    struct torc_mvcc_options options;

    set_time(1000000);
    torct_ledger_init(&ledger);
    allocator = torct_ledger_allocator(&ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    options.now_ms = tell_time;
    options.on_commit = on_commit;
    torci_store(&told_expired, 0, memory_order_relaxed);
    torci_store(&told_other, 0, memory_order_relaxed);
    cr_assert_eq(torc_mvcc_open(&options, &db), TORC_OK);
    all = torc_mvcc_default(db);
}

static void
destroy(void)
{
    cr_assert_eq(torc_mvcc_close(db), TORC_OK);
    cr_assert(torct_ledger_balanced(&ledger));
}

TestSuite(expiry_put, .init = create, .fini = destroy, .timeout = 60);
TestSuite(expiry_write, .init = create, .fini = destroy, .timeout = 60);
TestSuite(expiry_txn, .init = create, .fini = destroy, .timeout = 60);
TestSuite(expiry_serializable, .init = create, .fini = destroy, .timeout = 60);
TestSuite(expiry_leave, .init = create, .fini = destroy, .timeout = 60);
TestSuite(expiry_poll, .init = create, .fini = destroy, .timeout = 60);
TestSuite(expiry_faults, .timeout = 300);
TestSuite(expiry_race, .init = create, .fini = destroy, .timeout = 120);

static struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

static struct torc_slice
name_of(char name[NAME_SIZE], unsigned number)
{
    return torc_slice(name, (size_t)snprintf(name, NAME_SIZE, "key%06u", number));
}

static bool
same(struct torc_slice a, struct torc_slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static enum torc_status
look(const char *key)
{
    char buffer[64];
    size_t size;

    return torc_mvcc_get(db, text(key), buffer, sizeof buffer, &size);
}

static bool
put(const char *key, const char *value, uint64_t expires_ms)
{
    bool replaced;

    cr_assert_eq(torc_keyspace_put(all, text(key), text(value), expires_ms, &replaced), TORC_OK);
    return replaced;
}

static struct torc_txn *
begin(enum torc_isolation isolation)
{
    struct torc_txn_options options = {.isolation = isolation};
    struct torc_txn *txn;

    cr_assert_eq(torc_txn_begin(db, &options, &txn), TORC_OK);
    return txn;
}

static unsigned
count_keys(struct torc_txn *txn)
{
    struct torc_cursor *cursor;
    struct torc_slice key;
    unsigned keys = 0;

    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    while (torc_cursor_next(cursor, &key, NULL) == TORC_OK)
        keys++;
    torc_cursor_close(cursor);
    return keys;
}

static struct torc_mvcc_stats
stats_now(void)
{
    struct torc_mvcc_stats stats;

    cr_assert_eq(torc_mvcc_stats(db, &stats), TORC_OK);
    return stats;
}

static void
poll_until_idle(void)
{
    bool more = true;

    for (unsigned i = 0; more; i++) {
        cr_assert_lt(i, 10000000u, "there is always more");
        cr_assert_eq(torc_mvcc_poll(db, &more), TORC_OK);
    }
}

/* ---- One key ---- */

Test(expiry_put, shows_a_value_until_its_time_and_not_at_it)
{
    put("key", "value", 1000100);
    cr_expect_eq(look("key"), TORC_OK);
    set_time(1000099);
    cr_expect_eq(look("key"), TORC_OK);
    set_time(1000100);
    cr_expect_eq(look("key"), TORC_NOT_FOUND);
}

Test(expiry_put, with_a_time_that_is_past_shows_nothing)
{
    put("key", "value", 5);
    cr_expect_eq(look("key"), TORC_NOT_FOUND);
    cr_expect_not(put("key", "again", TORC_NEVER));
    cr_expect_eq(look("key"), TORC_OK);
}

Test(expiry_put, tells_whether_a_value_was_replaced_that_had_not_expired)
{
    cr_expect_not(put("key", "1", 1000100));
    cr_expect(put("key", "2", 1000200));
    set_time(1000300);
    cr_expect_not(put("key", "3", TORC_NEVER));
    set_time(9000000);
    cr_expect(put("key", "4", TORC_NEVER));
}

Test(expiry_put, without_a_time_makes_the_value_stay)
{
    put("key", "1", 1000100);
    put("key", "2", TORC_NEVER);
    set_time(2000000);
    poll_until_idle();
    cr_expect_eq(look("key"), TORC_OK);
}

Test(expiry_write, an_expired_value_cannot_be_deleted)
{
    put("key", "value", 1000100);
    set_time(1000100);
    cr_expect_eq(torc_mvcc_delete(db, text("key")), TORC_NOT_FOUND);
}

Test(expiry_write, compare_and_set_takes_an_expired_value_for_none)
{
    struct torc_slice value = text("value");
    struct torc_slice other = text("other");

    put("key", "value", 1000100);
    cr_expect_eq(torc_keyspace_compare_and_set(all, text("key"), NULL, &other), TORC_EXISTS);
    cr_expect_eq(torc_keyspace_compare_and_set(all, text("key"), &other, &value), TORC_MISMATCH);
    set_time(1000100);
    cr_expect_eq(torc_keyspace_compare_and_set(all, text("key"), &value, &other), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_compare_and_set(all, text("key"), NULL, &other), TORC_OK);
    set_time(9000000);
    cr_expect_eq(look("key"), TORC_OK, "the new value does not expire");
}

static enum torc_status
add_to(const char *key, const int64_t *operand, int64_t *result)
{
    size_t size;

    return torc_keyspace_merge(all, text(key), &torc_merge_add, torc_slice(operand, sizeof *operand), result,
                               sizeof *result, &size);
}

Test(expiry_write, merge_keeps_the_time_and_takes_an_expired_value_for_none)
{
    const int64_t five = 5;
    int64_t result = 0;

    cr_assert_eq(torc_keyspace_put(all, text("key"), torc_slice(&five, 8), 1000100, NULL), TORC_OK);
    cr_assert_eq(add_to("key", &five, &result), TORC_OK);
    cr_expect_eq(result, 10);
    set_time(1000100);
    cr_expect_eq(look("key"), TORC_NOT_FOUND, "the result expires as the value did");
    cr_assert_eq(add_to("key", &five, &result), TORC_OK);
    cr_expect_eq(result, 5);
    set_time(9000000);
    cr_expect_eq(look("key"), TORC_OK, "the result of none does not expire");
}

/* ---- Transactions ---- */

Test(expiry_txn, judges_by_one_moment_for_all_of_its_life)
{
    struct torc_txn *txn = begin(TORC_SNAPSHOT);
    struct torc_slice value;
    uint64_t expires;

    torc_txn_abort(txn);
    put("a", "value", 1000100);
    put("b", "value", 1000200);
    txn = begin(TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_get(txn, text("a"), &value), TORC_OK);
    set_time(1000300);
    poll_until_idle();
    cr_expect_eq(torc_txn_get(txn, text("a"), &value), TORC_OK);
    cr_expect_eq(torc_txn_get(txn, text("b"), &value), TORC_OK);
    cr_expect_eq(torc_txn_expiry(txn, text("b"), &expires), TORC_OK);
    cr_expect_eq(expires, 1000200u);
    cr_expect_eq(count_keys(txn), 2u);
    cr_expect_eq(look("a"), TORC_NOT_FOUND);
    torc_txn_abort(txn);
}

Test(expiry_txn, takes_its_moment_at_its_first_look_at_a_value_that_expires)
{
    struct torc_txn *txn;
    struct torc_slice value;

    put("a", "value", 1000100);
    put("b", "value", TORC_NEVER);
    txn = begin(TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_get(txn, text("b"), &value), TORC_OK);
    set_time(1000100);
    cr_expect_eq(torc_txn_get(txn, text("a"), &value), TORC_NOT_FOUND);
    set_time(1000000);
    cr_expect_eq(torc_txn_get(txn, text("a"), &value), TORC_NOT_FOUND);
    cr_expect_eq(count_keys(txn), 1u);
    torc_txn_abort(txn);
}

Test(expiry_txn, puts_what_expires_and_sees_it_expired_itself)
{
    struct torc_txn *txn = begin(TORC_SNAPSHOT);
    struct torc_slice value;
    uint64_t expires;

    cr_assert_eq(torc_txn_put_expiring(txn, text("key"), text("value"), 1000100), TORC_OK);
    cr_assert_eq(torc_txn_put_expiring(txn, text("past"), text("value"), 10), TORC_OK);
    cr_assert_eq(torc_txn_put_expiring(txn, text("never"), text("value"), TORC_NEVER), TORC_OK);
    cr_expect_eq(torc_txn_expiry(txn, text("key"), &expires), TORC_OK);
    cr_expect_eq(expires, 1000100u);
    cr_expect_eq(torc_txn_expiry(txn, text("never"), &expires), TORC_OK);
    cr_expect_eq(expires, TORC_NEVER);
    cr_expect_eq(torc_txn_expiry(txn, text("past"), &expires), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_get(txn, text("past"), &value), TORC_NOT_FOUND);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(look("key"), TORC_OK);
    cr_expect_eq(look("past"), TORC_NOT_FOUND);
    set_time(1000100);
    cr_expect_eq(look("key"), TORC_NOT_FOUND);
    cr_expect_eq(look("never"), TORC_OK);
}

Test(expiry_txn, sets_and_takes_away_the_time_of_a_value)
{
    struct torc_txn *txn;
    struct torc_slice value;

    put("a", "value", 1000100);
    put("b", "value", TORC_NEVER);
    txn = begin(TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_expire(txn, text("a"), TORC_NEVER), TORC_OK);
    cr_expect_eq(torc_txn_expire(txn, text("b"), 1000050), TORC_OK);
    cr_expect_eq(torc_txn_expire(txn, text("c"), 1000050), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_get(txn, text("b"), &value), TORC_OK);
    cr_expect(same(value, text("value")));
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    set_time(2000000);
    cr_expect_eq(look("a"), TORC_OK);
    cr_expect_eq(look("b"), TORC_NOT_FOUND);
}

Test(expiry_txn, put_if_absent_compare_and_set_and_delete_take_an_expired_value_for_none)
{
    struct torc_slice value = text("value");
    struct torc_txn *txn;

    put("a", "value", 1000100);
    put("b", "value", 1000100);
    put("c", "value", 1000100);
    put("d", "value", 1000100);
    txn = begin(TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_put_if_absent(txn, text("a"), text("new")), TORC_EXISTS);
    torc_txn_abort(txn);
    set_time(1000100);
    txn = begin(TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_put_if_absent(txn, text("a"), text("new")), TORC_OK);
    cr_expect_eq(torc_txn_compare_and_set(txn, text("b"), &value, &value), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_compare_and_set(txn, text("b"), NULL, &value), TORC_OK);
    cr_expect_eq(torc_txn_delete(txn, text("c")), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_get_for_update(txn, text("d"), &value), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(look("a"), TORC_OK);
    cr_expect_eq(look("b"), TORC_OK);
    cr_expect_eq(look("d"), TORC_NOT_FOUND);
}

Test(expiry_txn, get_for_update_keeps_the_time)
{
    struct torc_slice value;
    struct torc_txn *txn;

    put("key", "value", 1000100);
    txn = begin(TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_get_for_update(txn, text("key"), &value), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(look("key"), TORC_OK);
    set_time(1000100);
    cr_expect_eq(look("key"), TORC_NOT_FOUND);
}

Test(expiry_txn, expiry_refuses_bad_input)
{
    struct torc_txn *txn = begin(TORC_SNAPSHOT);
    static char long_key[TORC_KEY_SIZE_MAX + 1];
    uint64_t expires = 7;

    cr_expect_eq(torc_txn_expiry(NULL, text("key"), &expires), TORC_INVALID);
    cr_expect_eq(torc_txn_expiry(txn, text("key"), NULL), TORC_INVALID);
    cr_expect_eq(torc_txn_expiry(txn, text(""), &expires), TORC_INVALID);
    cr_expect_eq(torc_txn_expiry(txn, torc_slice(long_key, sizeof long_key), &expires), TORC_TOO_LARGE);
    cr_expect_eq(torc_txn_expiry(txn, text("key"), &expires), TORC_NOT_FOUND);
    cr_expect_eq(expires, TORC_NEVER);
    cr_expect_eq(torc_txn_put_expiring(NULL, text("key"), text("v"), 1), TORC_INVALID);
    cr_expect_eq(torc_txn_put_expiring(txn, text(""), text("v"), 1), TORC_INVALID);
    cr_expect_eq(torc_txn_expire(NULL, text("key"), 1), TORC_INVALID);
    cr_expect_eq(torc_txn_expire(txn, text(""), 1), TORC_INVALID);
    cr_expect_eq(torc_keyspace_put(NULL, text("key"), text("v"), 1, NULL), TORC_INVALID);
    torc_txn_abort(txn);
    cr_expect_eq(torc_txn_expiry(txn, text("key"), &expires), TORC_FINISHED);
    cr_expect_eq(torc_txn_put_expiring(txn, text("key"), text("v"), 1), TORC_FINISHED);
    cr_expect_eq(torc_txn_expire(txn, text("key"), 1), TORC_FINISHED);
}

/* Expiring is no commit: it conflicts with nothing. */
Test(expiry_txn, writes_over_a_value_that_expired_meanwhile)
{
    struct torc_slice value;
    struct torc_txn *early;
    struct torc_txn *late;

    put("key", "value", 1000100);
    put("other", "value", 1000100);
    early = begin(TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_put(early, text("key"), text("early")), TORC_OK);
    late = begin(TORC_SNAPSHOT);
    set_time(1000100);
    poll_until_idle();
    cr_expect_eq(torci_load(&told_expired, memory_order_relaxed), 2u); /* Relaxed: alone. */
    cr_expect_eq(torc_txn_put(late, text("other"), text("late")), TORC_OK);
    cr_expect_eq(torc_txn_commit(early), TORC_OK);
    cr_expect_eq(torc_txn_commit(late), TORC_OK);
    late = begin(TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_get(late, text("key"), &value), TORC_OK);
    cr_expect(same(value, text("early")));
    torc_txn_abort(late);
}

Test(expiry_txn, conflicts_with_a_put_although_that_has_expired_again)
{
    struct torc_txn *txn;

    put("key", "value", TORC_NEVER);
    txn = begin(TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_put(txn, text("key"), text("mine")), TORC_OK);
    put("key", "theirs", 1000100);
    set_time(1000100);
    poll_until_idle();
    cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
    txn = begin(TORC_SNAPSHOT);
    put("other", "theirs", 1000200);
    set_time(1000200);
    poll_until_idle();
    if (torc_txn_put(txn, text("other"), text("mine")) == TORC_OK)
        cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
    else
        torc_txn_abort(txn);
}

/* ---- Serializable ---- */

Test(expiry_serializable, reads_of_what_expires_meanwhile_hold)
{
    struct torc_slice value;
    struct torc_txn *txn;

    put("key", "value", 1000100);
    txn = begin(TORC_SERIALIZABLE);
    cr_expect_eq(torc_txn_get(txn, text("key"), &value), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("result"), text("seen")), TORC_OK);
    set_time(1000100);
    poll_until_idle();
    cr_expect_eq(torci_load(&told_expired, memory_order_relaxed), 1u); /* Relaxed: alone. */
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
}

Test(expiry_serializable, scans_of_what_expires_meanwhile_hold)
{
    struct torc_txn *txn;

    put("a", "value", TORC_NEVER);
    put("b", "value", 1000100);
    put("c", "value", TORC_NEVER);
    put("d", "value", 1000200);
    txn = begin(TORC_SERIALIZABLE);
    cr_expect_eq(count_keys(txn), 4u);
    cr_assert_eq(torc_txn_put(txn, text("result"), text("seen")), TORC_OK);
    set_time(1000200);
    poll_until_idle();
    cr_expect_eq(torci_load(&told_expired, memory_order_relaxed), 2u); /* Relaxed: alone. */
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
}

Test(expiry_serializable, reads_of_what_had_expired_hold)
{
    struct torc_slice value;
    struct torc_txn *txn;

    put("key", "value", 1000100);
    set_time(1000100);
    txn = begin(TORC_SERIALIZABLE);
    cr_expect_eq(torc_txn_get(txn, text("key"), &value), TORC_NOT_FOUND);
    cr_expect_eq(count_keys(txn), 0u);
    cr_assert_eq(torc_txn_put(txn, text("result"), text("not seen")), TORC_OK);
    poll_until_idle();
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
}

Test(expiry_serializable, reads_of_what_was_written_meanwhile_do_not_hold)
{
    struct torc_slice value;
    struct torc_txn *reader;
    struct torc_txn *scanner;

    put("key", "value", 1000100);
    reader = begin(TORC_SERIALIZABLE);
    scanner = begin(TORC_SERIALIZABLE);
    cr_expect_eq(torc_txn_get(reader, text("key"), &value), TORC_OK);
    cr_expect_eq(count_keys(scanner), 1u);
    put("key", "other", 1000200);
    set_time(1000200);
    poll_until_idle();
    cr_assert_eq(torc_txn_put(reader, text("result"), text("seen")), TORC_OK);
    cr_assert_eq(torc_txn_put(scanner, text("result of a scan"), text("seen")), TORC_OK);
    cr_expect_eq(torc_txn_commit(reader), TORC_CONFLICT);
    cr_expect_eq(torc_txn_commit(scanner), TORC_CONFLICT);
}

/* ---- Leaving ---- */

/* A store whose values have all expired is as small as it was. */
Test(expiry_leave, takes_keys_and_memory_away_by_polling)
{
    uint64_t before;

    put("first", "value", 1000001);
    set_time(1000001);
    poll_until_idle();
    cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
    before = stats_now().memory_bytes;
    for (unsigned i = 0; i < 2000; i++) {
        char name[NAME_SIZE];

        cr_assert_eq(torc_keyspace_put(all, name_of(name, i), text("value"), 1000010 + i * i, NULL), TORC_OK);
    }
    cr_expect_eq(stats_now().keys, 2000u);
    for (uint64_t time = 1000000; stats_now().keys > 0; time += 50000) {
        cr_assert_lt(time, 6000000u);
        set_time(time);
        poll_until_idle();
    }
    cr_expect_eq(torci_load(&told_expired, memory_order_relaxed), 2001u); /* Relaxed: alone. */
    cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
    cr_expect_eq(stats_now().versions_created, stats_now().versions_freed);
    /* The hash index keeps its 2048 buckets, the slabs a page for each size; the keys took 300 KiB. */
    cr_expect_leq(stats_now().memory_bytes, before + 131072 + 16 * TORCI_SLAB_PAGE_BYTES, "%" PRIu64 ", was %" PRIu64,
                  stats_now().memory_bytes, before);
}

/* Each value leaves at its time, whatever the distance: every level of the wheel, in steps of every size. */
Test(expiry_leave, at_every_distance)
{
    for (unsigned bits = 0; bits < 63; bits++) {
        uint64_t start = tell_time(NULL);
        uint64_t due = start + (UINT64_C(1) << bits);
        uint64_t steps[] = {start + 1, start + ((due - start) >> 1), due - 1, due};

        if (due < start || due > UINT64_MAX / 2)
            break;
        put("key", "value", due);
        for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            if (steps[i] < tell_time(NULL))
                continue;
            set_time(steps[i]);
            poll_until_idle();
            cr_expect_eq(stats_now().keys, steps[i] < due ? 1u : 0u, "2^%u ms, step %u", bits, i);
        }
    }
}

Test(expiry_leave, by_commits_of_others)
{
    put("key", "value", 1000100);
    set_time(1000100);
    for (unsigned i = 0; i < 200; i++)
        cr_assert_eq(torc_mvcc_put(db, text("other"), text("value"), NULL), TORC_OK);
    cr_expect_eq(torci_load(&told_expired, memory_order_relaxed), 1u); /* Relaxed: alone. */
    cr_expect_eq(stats_now().keys, 1u);
}

Test(expiry_leave, leaves_no_trace_in_what_the_thread_is_told)
{
    uint64_t mine;

    put("key", "value", 1000100);
    mine = torc_last_commit();
    set_time(1000100);
    poll_until_idle();
    cr_expect_eq(torc_last_commit(), mine);
    cr_expect_eq(stats_now().commits, 1u, "expiring is no commit");
}

Test(expiry_leave, goes_by_the_newest_value)
{
    put("later", "1", 1000100);
    put("later", "2", 1000300);
    put("sooner", "1", 1000300);
    put("sooner", "2", 1000100);
    put("never", "1", 1000100);
    put("never", "2", TORC_NEVER);
    set_time(1000100);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 2u);
    cr_expect_eq(look("later"), TORC_OK);
    set_time(1000299);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 2u);
    set_time(1000300);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 1u);
    cr_expect_eq(look("never"), TORC_OK);
}

/* The entries of one record are bounded: renewing a value's time costs one, however often. */
Test(expiry_leave, renewing_does_not_grow_memory)
{
    uint64_t halfway = 0;

    for (unsigned i = 0; i < 5000; i++) {
        put("key", "value", 1001000 + i);
        if (i == 2500) {
            cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
            halfway = stats_now().memory_bytes;
        }
    }
    cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
    cr_expect_leq(stats_now().memory_bytes, halfway + 16384, "%" PRIu64 " halfway, now %" PRIu64, halfway,
                  stats_now().memory_bytes);
    set_time(1001000);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 1u);
    set_time(1001000 + 4999);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 0u);
}

/* Shortening takes an entry each time, up to a number; after that the value leaves with one of these. */
Test(expiry_leave, shortening_does_not_grow_memory)
{
    uint64_t halfway = 0;

    for (unsigned i = 0; i < 4000; i++) {
        put("key", "value", 1010000 - i);
        if (i % 2000 != 1999)
            continue;
        cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
        if (halfway == 0)
            halfway = stats_now().memory_bytes;
        else
            cr_expect_leq(stats_now().memory_bytes, halfway + 16384);
    }
    set_time(1006001);
    poll_until_idle();
    cr_expect_eq(look("key"), TORC_NOT_FOUND);
    set_time(1009997);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 0u);
    put("other", "value", 1012000);
    put("other", "value", 1011500);
    set_time(1011500);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 0u);
}

/* Entries of keys that were deleted long before their time are found and freed. */
Test(expiry_leave, what_is_deleted_before_its_time_is_not_kept_until_then)
{
    uint64_t early = 0;

    for (unsigned i = 0; i < 4000; i++) {
        char name[NAME_SIZE];

        cr_assert_eq(torc_keyspace_put(all, name_of(name, i), text("value"), 1000000000 + i, NULL), TORC_OK);
        cr_assert_eq(torc_mvcc_delete(db, name_of(name, i)), TORC_OK);
        if (i % 100 == 99)
            poll_until_idle();
        if (i == 999)
            early = stats_now().memory_bytes;
    }
    cr_expect_leq(stats_now().memory_bytes, 2 * early);
}

Test(expiry_leave, collect_takes_away_what_no_entry_is_there_for)
{
    put("key", "value", 1001000);
    for (unsigned i = 0; i < 10; i++)
        put("key", "value", 1000900 - i);
    set_time(1000893);
    cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
    cr_expect_eq(stats_now().keys, 0u);
    cr_expect_eq(stats_now().versions_created, stats_now().versions_freed);
}

Test(expiry_leave, time_may_be_set_back)
{
    for (unsigned i = 0; i < 50; i++) {
        char name[NAME_SIZE];

        cr_assert_eq(torc_keyspace_put(all, name_of(name, i), text("value"), 2000000 + i * 1000, NULL), TORC_OK);
    }
    set_time(1990000);
    poll_until_idle();
    put("x", "value", 1500000);
    put("y", "value", 1999999);
    set_time(1200000);
    poll_until_idle();
    cr_expect_eq(look("x"), TORC_OK);
    put("z", "value", 1300000);
    set_time(1300000);
    poll_until_idle();
    cr_expect_eq(look("z"), TORC_NOT_FOUND);
    cr_expect_eq(stats_now().keys, 52u);
    set_time(2000000 + 24 * 1000);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 25u);
    set_time(3000000);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 0u);
}

Test(expiry_leave, an_open_snapshot_holds_the_value_not_the_news)
{
    struct torc_slice value;
    struct torc_txn *txn;

    put("key", "value", 1000100);
    txn = begin(TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_get(txn, text("key"), &value), TORC_OK);
    set_time(1000100);
    poll_until_idle();
    cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
    cr_expect_eq(stats_now().keys, 0u);
    cr_expect(same(value, text("value")));
    torc_txn_abort(txn);
    cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
    cr_expect_eq(stats_now().versions_created, stats_now().versions_freed);
}

/* Dropping a keyspace full of values with a time: its entries are found out. */
Test(expiry_leave, entries_of_a_dropped_keyspace_go_with_it)
{
    struct torc_keyspace *keyspace;
    uint64_t before = 0;

    for (unsigned round = 0; round < 20; round++) {
        cr_assert_eq(torc_keyspace_create(db, text("sessions"), &keyspace), TORC_OK);
        for (unsigned i = 0; i < 50; i++) {
            char name[NAME_SIZE];

            cr_assert_eq(torc_keyspace_put(keyspace, name_of(name, i), text("v"), 2000000 + i * 100000, NULL), TORC_OK);
        }
        cr_assert_eq(torc_keyspace_drop(keyspace), TORC_OK);
        set_time(1000120);
        poll_until_idle();
        cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
        if (round == 5)
            before = stats_now().memory_bytes;
    }
    cr_expect_leq(stats_now().memory_bytes, 2 * before);
    cr_expect_eq(stats_now().keys, 0u);
    set_time(9000000);
    poll_until_idle();
    cr_expect_eq(torci_load(&told_expired, memory_order_relaxed), 0u); /* Relaxed: alone. */
}

/* ---- Poll ---- */

Test(expiry_poll, says_when_there_is_no_more)
{
    struct torc_txn *txn;
    bool more = true;

    poll_until_idle();
    put("key", "value", 1000100);
    txn = begin(TORC_SNAPSHOT);
    put("key", "other", TORC_NEVER);
    cr_assert_eq(torc_mvcc_delete(db, text("key")), TORC_OK);
    poll_until_idle();
    cr_assert_eq(torc_mvcc_poll(db, &more), TORC_OK);
    cr_expect_not(more, "an open snapshot holds it back: calling again does not help");
    torc_txn_abort(txn);
    poll_until_idle();
    cr_expect_eq(stats_now().versions_created, stats_now().versions_freed);
}

Test(expiry_poll, refuses_bad_input)
{
    bool more = true;

    cr_expect_eq(torc_mvcc_poll(NULL, &more), TORC_INVALID);
    cr_expect_not(more);
    cr_expect_eq(torc_mvcc_poll(db, NULL), TORC_OK);
}

/* ---- Faults ---- */

Test(expiry_faults, every_allocation_may_fail)
{
    for (int sticky = 0; sticky < 2; sticky++) {
        bool failed = true;

        for (uint64_t n = 1; failed; n++) {
            enum torc_status status;
            struct torc_txn *txn;

            create();
            (void)torci_alloc_fail_at(n, sticky);
            for (unsigned i = 0; i < 12; i++) {
                char name[NAME_SIZE];

                status = torc_keyspace_put(all, name_of(name, i), text("value"), 1000100 + i, NULL);
                cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
            }
            if (torc_txn_begin(db, NULL, &txn) == TORC_OK) {
                (void)(torc_txn_put_expiring(txn, text("one"), text("1"), 1000103) == TORC_OK);
                (void)(torc_txn_put_expiring(txn, text("two"), text("2"), 1000104) == TORC_OK);
                status = torc_txn_commit(txn);
                cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
            }
            set_time(1000106);
            for (unsigned i = 0; i < 10; i++) {
                status = torc_mvcc_poll(db, NULL);
                cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
            }
            cr_expect_eq(look("key000003"), TORC_NOT_FOUND);
            failed = torci_alloc_fail_at(0, false) >= n;
            cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
            cr_expect_leq(stats_now().keys, 5u, "n = %" PRIu64, n);
            destroy();
        }
    }
}

/* ---- Races ---- */

enum { RACERS = 4, ROUNDS = 400, KEYS = 24 };

static void
write_and_let_time_pass(void *context, unsigned number)
{
    struct torci_random random = torci_random_seed(torct_seed() + number);

    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct torc_slice key;
        char name[NAME_SIZE];
        uint64_t span = torci_random_one_in(&random, 4) ? 5000 : 40;
        uint64_t expires = tell_time(NULL) + 1 + torci_random_below(&random, span);
        enum torc_status status = TORC_OK;
        struct torc_txn *txn;

        key = name_of(name, (unsigned)torci_random_below(&random, KEYS));
        switch (torci_random_below(&random, 6)) {
        case 0:
            status = torc_mvcc_delete(db, key);
            break;
        case 1:
            txn = begin(torci_random_one_in(&random, 2) ? TORC_SERIALIZABLE : TORC_SNAPSHOT);
            (void)(torc_txn_put_expiring(txn, key, key, expires) == TORC_OK);
            key = name_of(name, (unsigned)torci_random_below(&random, KEYS));
            (void)(torc_txn_put_expiring(txn, key, key, expires + 3) == TORC_OK);
            status = torc_txn_commit(txn);
            break;
        case 2:
            /* Relaxed: a clock. */
            torci_fetch_add(&now, torci_random_below(&random, 30), memory_order_relaxed);
            status = torc_mvcc_poll(db, NULL);
            break;
        default:
            status = torc_keyspace_put(all, key, key, expires, NULL);
            break;
        }
        cr_assert(status == TORC_OK || status == TORC_NOT_FOUND || status == TORC_CONFLICT);
    }
}

/* Conservation: in the end every value has left, was told of once, and its memory is back. */
Test(expiry_race, everything_leaves_once)
{
    torct_race(RACERS, write_and_let_time_pass, NULL);
    set_time(tell_time(NULL) + 10000);
    poll_until_idle();
    cr_expect_eq(stats_now().keys, 0u);
    cr_assert_eq(torc_mvcc_collect(db), TORC_OK);
    cr_expect_eq(stats_now().keys, 0u);
    cr_expect_eq(stats_now().versions_created, stats_now().versions_freed);
}

/* SPDX-License-Identifier: MIT */
/* Writes that ask first, writes with a time, ranges, the limit of a transaction: every answer of the header. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "base/alloc.h"
#include "base/codec.h"
#include "mvcc/mvcc_testing.h"

enum {
    LIMIT = 16384,
    SLACK = 256,            /* What an arena loses between its blocks. */
};

static struct torct_ledger ledger;
static struct torc_allocator allocator;
static struct torc_mvcc *store;
static struct torc_keyspace *keyspace;
static struct torc_txn *txn;
static _Atomic(uint64_t) now;

static uint64_t
now_ms(void *context)
{
    (void)context;
    return torci_load(&now, memory_order_relaxed); /* Relaxed: a test's clock. */
}

static void
set_time(uint64_t ms)
{
    torci_store(&now, ms, memory_order_relaxed); /* Relaxed: as above. */
}

static void
open_store(uint64_t limit)
{
    struct torc_mvcc_options options;

    torct_ledger_init(&ledger);
    allocator = torct_ledger_allocator(&ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    options.now_ms = now_ms;
    options.txn_limit_bytes = limit;
    set_time(1000);
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK);
    keyspace = torc_mvcc_default(store);
    txn = NULL;
}

static void
create(void)
{
    open_store(0);
    torct_put(store, "k", "v");
    txn = torct_begin(store, TORC_SNAPSHOT);
}

static void
create_limited(void)
{
    open_store(LIMIT);
    txn = torct_begin(store, TORC_SNAPSHOT);
}

static void
destroy(void)
{
    torc_txn_abort(txn);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    cr_assert(torct_ledger_balanced(&ledger));
}

TestSuite(write, .init = create, .fini = destroy, .timeout = 120);
TestSuite(txn_limit, .init = create_limited, .fini = destroy, .timeout = 120);

static const struct torc_slice BAD = {NULL, 1};

/* NULL stands for no value. */
static enum torc_status
compare_and_set(const char *key, const char *expected, const char *desired)
{
    struct torc_slice before = expected == NULL ? torc_slice(NULL, 0) : torct_text(expected);
    struct torc_slice after = desired == NULL ? torc_slice(NULL, 0) : torct_text(desired);

    return torc_keyspace_compare_and_set(keyspace, torct_text(key), expected == NULL ? NULL : &before,
                                         desired == NULL ? NULL : &after);
}

static enum torc_status
txn_compare_and_set(const char *key, const char *expected, const char *desired)
{
    struct torc_slice before = expected == NULL ? torc_slice(NULL, 0) : torct_text(expected);
    struct torc_slice after = desired == NULL ? torc_slice(NULL, 0) : torct_text(desired);

    return torc_txn_compare_and_set(txn, torct_text(key), expected == NULL ? NULL : &before,
                                    desired == NULL ? NULL : &after);
}

static void
put_until(const char *key, uint64_t expires_ms)
{
    cr_assert_eq(torc_keyspace_put(keyspace, torct_text(key), torct_text("timed"), expires_ms, NULL), TORC_OK);
}

static void
anew(void)
{
    torc_txn_abort(txn);
    txn = torct_begin(store, TORC_SNAPSHOT);
}

/* ---- Comparing, on its own ---- */

Test(write, compare_and_set_gives_every_answer)
{
    cr_expect_eq(compare_and_set("k", "w", "x"), TORC_MISMATCH);
    cr_expect_eq(compare_and_set("k", "", "x"), TORC_MISMATCH);
    cr_expect_eq(compare_and_set("k", "vv", "x"), TORC_MISMATCH);
    cr_expect_eq(compare_and_set("k", NULL, "x"), TORC_EXISTS);
    cr_expect_eq(compare_and_set("new", "v", "x"), TORC_NOT_FOUND);
    cr_expect_eq(compare_and_set("new", "v", NULL), TORC_NOT_FOUND);
    cr_expect(torct_reads(store, "k", "v"));
    cr_expect(torct_reads(store, "new", NULL));
    cr_expect_eq(compare_and_set("k", "v", "x"), TORC_OK);
    cr_expect(torct_reads(store, "k", "x"));
    cr_expect_eq(compare_and_set("k", "x", ""), TORC_OK);
    cr_expect_eq(compare_and_set("k", "", NULL), TORC_OK, "an empty value is a value");
    cr_expect(torct_reads(store, "k", NULL));
    cr_expect_eq(compare_and_set("k", "", "x"), TORC_NOT_FOUND);
    cr_expect_eq(compare_and_set("k", NULL, NULL), TORC_OK);
    cr_expect(torct_reads(store, "k", NULL));
    cr_expect_eq(compare_and_set("k", NULL, "y"), TORC_OK);
    cr_expect(torct_reads(store, "k", "y"));
}

Test(write, compare_and_set_tells_bad_input)
{
    struct torc_slice value = torct_text("v");
    struct torc_slice large = torc_slice("", (size_t)TORC_VALUE_SIZE_MAX + 1);
    struct torc_slice key = torct_text("k");

    cr_expect_eq(torc_keyspace_compare_and_set(NULL, key, &value, &value), TORC_INVALID);
    cr_expect_eq(torc_keyspace_compare_and_set(keyspace, BAD, &value, &value), TORC_INVALID);
    cr_expect_eq(torc_keyspace_compare_and_set(keyspace, torct_text(""), &value, &value), TORC_INVALID);
    cr_expect_eq(torc_keyspace_compare_and_set(keyspace, key, &BAD, &value), TORC_INVALID);
    cr_expect_eq(torc_keyspace_compare_and_set(keyspace, key, &value, &BAD), TORC_INVALID);
    cr_expect_eq(torc_keyspace_compare_and_set(keyspace, key, &large, &value), TORC_TOO_LARGE);
    cr_expect_eq(torc_keyspace_compare_and_set(keyspace, key, &value, &large), TORC_TOO_LARGE);
    cr_expect_eq(torc_keyspace_compare_and_set(keyspace, torc_slice("", TORC_KEY_SIZE_MAX + 1), &value, &value),
                 TORC_TOO_LARGE);
    cr_expect_eq(torc_txn_compare_and_set(NULL, key, &value, &value), TORC_INVALID);
    cr_expect_eq(torc_txn_compare_and_set(txn, BAD, &value, &value), TORC_INVALID);
    cr_expect_eq(torc_txn_compare_and_set(txn, key, &BAD, &value), TORC_INVALID);
    cr_expect_eq(torc_txn_compare_and_set(txn, key, &value, &BAD), TORC_INVALID);
    cr_expect_eq(torc_txn_compare_and_set(txn, key, &large, &value), TORC_TOO_LARGE);
    cr_expect_eq(torc_txn_compare_and_set(txn, key, &value, &large), TORC_TOO_LARGE);
    cr_expect(torct_reads(store, "k", "v"));
}

Test(write, compare_and_set_without_memory_changes_nothing)
{
    for (uint64_t n = 1;; n++) {
        enum torc_status status;

        torci_alloc_fail_at(n, true);
        status = compare_and_set("fresh", NULL, "x");
        torci_alloc_fail_at(0, false);
        if (status == TORC_OK)
            break;
        cr_assert_eq(status, TORC_NO_MEMORY);
        cr_assert(torct_reads(store, "fresh", NULL));
    }
    cr_expect(torct_reads(store, "fresh", "x"));
}

Test(write, comparing_sees_what_has_expired_as_absent)
{
    put_until("t", 2000);
    cr_expect_eq(compare_and_set("t", NULL, "x"), TORC_EXISTS);
    set_time(2000);
    cr_expect_eq(compare_and_set("t", "timed", "x"), TORC_NOT_FOUND);
    cr_expect_eq(compare_and_set("t", NULL, "x"), TORC_OK);
    set_time(9000);
    cr_expect(torct_reads(store, "t", "x"), "the new value has no time");
    put_until("t", 10000);
    cr_expect_eq(compare_and_set("t", "timed", "x"), TORC_OK);
    set_time(11000);
    cr_expect(torct_reads(store, "t", "x"));
}

/* ---- Comparing, in a transaction ---- */

Test(write, txn_compare_and_set_looks_at_the_snapshot_and_at_own_writes)
{
    cr_expect_eq(txn_compare_and_set("k", "w", "x"), TORC_MISMATCH);
    cr_expect_eq(txn_compare_and_set("k", NULL, "x"), TORC_EXISTS);
    cr_expect_eq(txn_compare_and_set("new", "v", "x"), TORC_NOT_FOUND);
    cr_expect_eq(txn->writes.count, 0u, "a refusal is no write");
    cr_expect_eq(txn_compare_and_set("k", "v", "x"), TORC_OK);
    cr_expect_eq(txn_compare_and_set("k", "v", "y"), TORC_MISMATCH);
    cr_expect_eq(txn_compare_and_set("k", "x", NULL), TORC_OK);
    cr_expect_eq(txn_compare_and_set("k", "x", "y"), TORC_NOT_FOUND);
    cr_expect_eq(txn_compare_and_set("k", NULL, "y"), TORC_OK);
    cr_expect_eq(txn_compare_and_set("new", NULL, NULL), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store, "k", "y"));
    cr_expect(torct_reads(store, "new", NULL));
    cr_expect_eq(txn_compare_and_set("k", "y", "z"), TORC_FINISHED);
    txn = NULL;
}

Test(write, what_a_transaction_writes_conflicts_first)
{
    cr_assert_not(torct_txn_reads(txn, "new", "v"));
    torct_put(store, "k", "9");
    torct_put(store, "new", "9");
    cr_expect_eq(txn_compare_and_set("k", "nothing like it", "x"), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "k"));
    cr_expect_eq(torc_txn_put_if_absent(txn, torct_text("k"), torct_text("x")), TORC_CONFLICT);
    cr_expect_eq(torc_txn_put_if_absent(txn, torct_text("new"), torct_text("x")), TORC_CONFLICT);
    cr_expect_eq(torc_txn_delete(txn, torct_text("new")), TORC_CONFLICT);
    cr_expect_eq(txn->writes.count, 0u);
    /* What asks for nothing may be refused later. */
    for (unsigned i = 0; i < 2; i++) {
        enum torc_status status;

        anew();
        torct_put(store, "k", "10");
        status = i == 0 ? torc_txn_put_expiring(txn, torct_text("k"), torct_text("x"), 5000)
                        : torc_txn_expire(txn, torct_text("k"), 5000);
        cr_expect(status == TORC_OK || status == TORC_CONFLICT);
        if (status == TORC_OK) {
            cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
            txn = torct_begin(store, TORC_SNAPSHOT);
        }
    }
}

Test(write, a_read_only_transaction_refuses_every_write)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_slice value;
    uint64_t deleted = 9;

    torc_txn_abort(txn);
    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK);
    cr_expect_eq(txn_compare_and_set("k", "v", "x"), TORC_READ_ONLY);
    cr_expect_eq(torc_txn_put_if_absent(txn, torct_text("n"), torct_text("x")), TORC_READ_ONLY);
    cr_expect_eq(torc_txn_put_expiring(txn, torct_text("k"), torct_text("x"), 5000), TORC_READ_ONLY);
    cr_expect_eq(torc_txn_expire(txn, torct_text("k"), 5000), TORC_READ_ONLY);
    cr_expect_eq(torc_txn_get_for_update(txn, torct_text("k"), &value), TORC_READ_ONLY);
    cr_expect_eq(value.size, 0u);
    cr_expect_eq(torc_txn_delete_range(txn, BAD, BAD, &deleted), TORC_READ_ONLY);
    cr_expect_eq(deleted, 0u);
}

/* What a refused comparison has learnt is a read. */
Test(write, serializable_refusals_are_validated)
{
    torc_txn_abort(txn);
    txn = torct_begin(store, TORC_SERIALIZABLE);
    cr_expect_eq(txn_compare_and_set("k", "w", "x"), TORC_MISMATCH);
    torct_txn_put(txn, "other", "1");
    torct_put(store, "k", "w");
    cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
    txn = torct_begin(store, TORC_SERIALIZABLE);
    cr_expect_eq(txn_compare_and_set("none", "w", "x"), TORC_NOT_FOUND);
    torct_txn_put(txn, "other", "1");
    torct_put(store, "none", "w");
    cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
    txn = NULL;
}

/* ---- Times ---- */

Test(write, values_expire_for_transactions_by_one_moment)
{
    uint64_t expires;

    torct_put(store, "u", "v");
    put_until("t", 2000);
    anew();
    cr_expect(torct_txn_reads(txn, "u", "v"));
    set_time(1999);
    cr_expect(torct_txn_reads(txn, "t", "timed"), "the first look at a value that expires");
    set_time(3000);
    cr_expect(torct_txn_reads(txn, "t", "timed"), "decides for all of its life");
    cr_expect_eq(torc_txn_expiry(txn, torct_text("t"), &expires), TORC_OK);
    cr_expect_eq(expires, 2000u);
    cr_expect_eq(torc_txn_expiry(txn, torct_text("u"), &expires), TORC_OK);
    cr_expect_eq(expires, TORC_NEVER);
    anew();
    cr_expect(torct_txn_reads(txn, "t", NULL));
    expires = 1;
    cr_expect_eq(torc_txn_expiry(txn, torct_text("t"), &expires), TORC_NOT_FOUND);
    cr_expect_eq(expires, TORC_NEVER);
    cr_expect_eq(torc_txn_expire(txn, torct_text("t"), 9000), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_delete(txn, torct_text("t")), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_put_if_absent(txn, torct_text("t"), torct_text("x")), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store, "t", "x"));
    txn = NULL;
}

Test(write, put_expiring_and_expire_set_the_time)
{
    struct torc_slice value;

    cr_assert_eq(torc_txn_put_expiring(txn, torct_text("a"), torct_text("1"), 2000), TORC_OK);
    cr_assert_eq(torc_txn_put_expiring(txn, torct_text("b"), torct_text("2"), TORC_NEVER), TORC_OK);
    cr_assert_eq(torc_txn_put_expiring(txn, torct_text("c"), torct_text(""), 2000), TORC_OK);
    cr_assert_eq(torc_txn_put_expiring(txn, torct_text("past"), torct_text("3"), 999), TORC_OK);
    cr_expect(torct_txn_reads(txn, "past", NULL), "as good as a delete");
    cr_assert_eq(torc_txn_expire(txn, torct_text("k"), 3000), TORC_OK);
    cr_assert_eq(torc_txn_expire(txn, torct_text("b"), 3000), TORC_OK);
    cr_expect_eq(torc_txn_expire(txn, torct_text("none"), 3000), TORC_NOT_FOUND);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = NULL;
    cr_expect(torct_reads(store, "a", "1"));
    cr_expect(torct_reads(store, "c", ""));
    cr_expect(torct_reads(store, "past", NULL));
    set_time(2000);
    cr_expect(torct_reads(store, "a", NULL));
    cr_expect(torct_reads(store, "k", "v"));
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_expire(txn, torct_text("k"), TORC_NEVER), TORC_OK);
    cr_assert_eq(torc_txn_get_for_update(txn, torct_text("b"), &value), TORC_OK);
    cr_expect(torct_slice_is(value, "2"));
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = NULL;
    set_time(3000);
    cr_expect(torct_reads(store, "k", "v"));
    cr_expect(torct_reads(store, "b", NULL), "read for update, it kept its time");
}

Test(write, times_of_bad_input)
{
    uint64_t expires = 1;

    cr_expect_eq(torc_txn_expiry(NULL, torct_text("k"), &expires), TORC_INVALID);
    cr_expect_eq(torc_txn_expiry(txn, BAD, &expires), TORC_INVALID);
    cr_expect_eq(torc_txn_expiry(txn, torct_text("k"), NULL), TORC_INVALID);
    cr_expect_eq(torc_txn_expire(NULL, torct_text("k"), 1), TORC_INVALID);
    cr_expect_eq(torc_txn_expire(txn, BAD, 1), TORC_INVALID);
    cr_expect_eq(torc_txn_put_expiring(NULL, torct_text("k"), torct_text("v"), 1), TORC_INVALID);
    cr_expect_eq(torc_txn_put_expiring(txn, torct_text("k"), BAD, 1), TORC_INVALID);
    cr_expect_eq(torc_keyspace_put(keyspace, torct_text("k"), BAD, 1, NULL), TORC_INVALID);
}

Test(write, get_for_update_of_an_absent_key_guards_it)
{
    struct torc_slice value;

    put_until("t", 500);
    anew();
    cr_expect_eq(torc_txn_get_for_update(txn, torct_text("t"), &value), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_get_for_update(txn, torct_text("none"), &value), TORC_NOT_FOUND);
    cr_expect_eq(txn->writes.count, 2u);
    torct_put(store, "none", "1");
    cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
    txn = NULL;
}

/* ---- Ranges ---- */

Test(write, delete_range_deletes_what_is_visible)
{
    struct torc_cursor *cursor;
    struct torc_slice key;
    uint64_t deleted;

    put_until("e", 500);
    torct_put(store, "a", "1");
    torct_put(store, "b", "1");
    torct_put(store, "c", "1");
    anew();
    torct_txn_put(txn, "bb", "own");
    cr_assert_eq(torc_txn_delete(txn, torct_text("c")), TORC_OK);
    torct_put(store, "ba", "later");
    cr_expect_eq(torc_txn_delete_range(txn, torct_text("b"), torct_text("l"), &deleted), TORC_OK);
    cr_expect_eq(deleted, 3u, "b, bb and k; c was deleted, e has expired, ba came later");
    cr_expect_eq(torc_txn_delete_range(txn, torct_text("x"), torct_text("b"), &deleted), TORC_OK);
    cr_expect_eq(deleted, 0u, "an empty range");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store, "a", "1"));
    cr_expect(torct_reads(store, "b", NULL));
    cr_expect(torct_reads(store, "ba", "later"));
    cr_expect(torct_reads(store, "k", NULL));
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_delete_range(txn, torc_slice(NULL, 0), torc_slice(NULL, 0), NULL), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    cr_expect_eq(torc_cursor_next(cursor, &key, NULL), TORC_END);
}

Test(write, delete_range_tells_bad_input_and_conflicts)
{
    uint64_t deleted = 9;

    cr_expect_eq(torc_txn_delete_range(NULL, torct_text("a"), torct_text("b"), &deleted), TORC_INVALID);
    cr_expect_eq(deleted, 0u);
    cr_expect_eq(torc_txn_delete_range(txn, BAD, torct_text("b"), &deleted), TORC_INVALID);
    cr_expect_eq(torc_txn_delete_range(txn, torct_text("a"), torc_slice("", TORC_KEY_SIZE_MAX + 1), &deleted),
                 TORC_TOO_LARGE);
    torct_put(store, "a", "1");
    anew();
    torct_put(store, "k", "9");
    cr_expect_eq(torc_txn_delete_range(txn, torct_text("a"), torc_slice(NULL, 0), &deleted), TORC_CONFLICT);
    cr_expect_eq(deleted, 1u, "some may be deleted");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store, "a", NULL));
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(torc_txn_delete_range(txn, torct_text("a"), torct_text("b"), &deleted), TORC_FINISHED);
    txn = NULL;
}

/* ---- What a transaction may collect ---- */

Test(txn_limit, counts_what_is_written)
{
    static char big[LIMIT / 4];
    char key[16];
    unsigned written = 0;

    cr_expect_eq(torc_txn_bytes(NULL), 0u);
    cr_expect_eq(torc_txn_bytes(txn), 0u);
    for (;;) {
        uint64_t before = torc_txn_bytes(txn);
        size_t count = txn->writes.count;

        snprintf(key, sizeof key, "k%u", written);
        if (torc_txn_put(txn, torct_text(key), torc_slice(big, sizeof big)) != TORC_OK)
            break;
        written++;
        cr_expect_geq(torc_txn_bytes(txn), before + sizeof big);
        cr_expect_eq(txn->writes.count, count + 1);
    }
    cr_expect_eq(written, 3u);
    cr_expect_eq(torc_txn_put(txn, torct_text(key), torc_slice(big, sizeof big)), TORC_TOO_LARGE);
    cr_expect_leq(torc_txn_bytes(txn), (uint64_t)LIMIT);
    cr_expect_eq(torc_txn_put(txn, torct_text("small"), torct_text("v")), TORC_OK, "what fits goes on");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_bytes(txn), 0u, "of a later transaction nothing is counted yet");
}

Test(txn_limit, counts_merges_and_their_results)
{
    static char big[LIMIT / 4];
    struct torc_slice operand = torc_slice(big, sizeof big);
    struct torc_slice value;
    unsigned merges = 0;

    cr_assert_eq(torc_mvcc_put(store, torct_text("k"), torc_slice(big, sizeof big), NULL), TORC_OK);
    anew();
    while (torc_txn_merge(txn, torct_text("k"), &torc_merge_append, operand) == TORC_OK)
        merges++;
    cr_expect_eq(merges, 3u);
    cr_expect_eq(torc_txn_get(txn, torct_text("k"), &value), TORC_TOO_LARGE, "its result does not fit beside them");
    cr_expect_eq(value.size, 0u);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = NULL;
}

Test(txn_limit, counts_savepoints_and_what_they_keep)
{
    static char big[LIMIT / 4];
    struct torc_slice value = torc_slice(big, sizeof big);
    enum torc_status status = TORC_OK;
    unsigned made = 0;

    cr_assert_eq(torc_txn_put(txn, torct_text("k"), value), TORC_OK);
    while ((status = torc_txn_savepoint(txn, torct_text("s"))) == TORC_OK &&
           (status = torc_txn_put(txn, torct_text("k"), value)) == TORC_OK)
        made++;
    cr_expect_eq(status, TORC_TOO_LARGE);
    cr_expect_eq(made, 2u);
    while ((status = torc_txn_savepoint(txn, torct_text("s"))) == TORC_OK)
        continue;
    cr_expect_eq(status, TORC_TOO_LARGE);
    cr_expect_leq(torc_txn_bytes(txn), (uint64_t)LIMIT);
    cr_expect_eq(torc_txn_rollback_to(txn, torct_text("s")), TORC_OK);
}

Test(txn_limit, counts_the_reads_of_serializable_transactions)
{
    enum torc_status status = TORC_OK;
    struct torc_cursor *cursor;
    struct torc_slice value;
    struct torc_slice key;
    char name[16];

    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "k%04u", i);
        torct_put(store, name, "v");
    }
    torc_txn_abort(txn);
    txn = torct_begin(store, TORC_SERIALIZABLE);
    for (unsigned i = 0; status == TORC_OK; i++) {
        snprintf(name, sizeof name, "k%04u", i);
        status = torc_txn_get(txn, torct_text(name), &value);
    }
    cr_expect_eq(status, TORC_TOO_LARGE);
    cr_expect_eq(value.size, 0u, "the read did not happen");
    cr_expect_leq(torc_txn_bytes(txn), (uint64_t)LIMIT + SLACK);
    cr_expect_eq(torc_txn_scan(txn, NULL, &cursor), TORC_TOO_LARGE);
    cr_expect_null(cursor);

    torc_txn_abort(txn);
    txn = torct_begin(store, TORC_SERIALIZABLE);
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    do {
        status = torc_cursor_next(cursor, &key, &value);
    } while (status == TORC_OK);
    cr_expect_eq(status, TORC_TOO_LARGE);
    cr_expect_eq(key.size, 0u);
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_TOO_LARGE, "it stands where it stood");
    cr_expect_leq(torc_txn_bytes(txn), (uint64_t)LIMIT + SLACK);

    torc_txn_abort(txn);
    txn = torct_begin(store, TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    while ((status = torc_cursor_next(cursor, &key, &value)) == TORC_OK)
        continue;
    cr_expect_eq(status, TORC_END, "others note nothing");
}

/* ---- A counter ---- */

enum { RACERS = 4, INCREMENTS = 800 };

static void
count_up(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (unsigned i = 0; i < INCREMENTS;) {
        unsigned char bytes[8];
        unsigned char after[8];
        struct torc_slice desired = torc_slice(after, sizeof after);
        struct torc_slice expected;
        enum torc_status status;
        uint64_t value = 0;
        size_t size;

        status = torc_mvcc_get(store, torct_text("counter"), bytes, sizeof bytes, &size);
        expected = torc_slice(bytes, size);
        if (status == TORC_OK)
            value = torci_fixed64_get(bytes);
        torci_fixed64_put(after, value + 1);
        status = torc_keyspace_compare_and_set(keyspace, torct_text("counter"), status == TORC_OK ? &expected : NULL,
                                               &desired);
        cr_assert(status == TORC_OK || status == TORC_MISMATCH || status == TORC_EXISTS);
        i += status == TORC_OK ? 1 : 0;
    }
}

Test(write, compare_and_set_loses_no_increment)
{
    unsigned char bytes[8];
    size_t size;

    torct_race(RACERS, count_up, NULL);
    cr_assert_eq(torc_mvcc_get(store, torct_text("counter"), bytes, sizeof bytes, &size), TORC_OK);
    cr_expect_eq(torci_fixed64_get(bytes), (uint64_t)(RACERS * INCREMENTS));
}

/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_isolation: which anomalies can happen, and which cannot, at each isolation level.
 *
 * The Hermitage scripts as key-value steps, and torc's own additions: absent keys, reverse and prefix scans,
 * get_for_update, autocommit between the steps. One thread runs several open transactions step by step, so each
 * script is one fixed interleaving. Every script starts from 1=10, 2=20 and runs at TORC_SNAPSHOT and at
 * TORC_SERIALIZABLE, in the suites mvcc_at_snapshot and mvcc_at_serializable.
 *
 * A loser gets TORC_CONFLICT at a write (the eager check) or at its commit: a script accepts either where it says
 * may_put(), may_delete() or loses(), and nowhere else. A loser is aborted at once; its later steps are skipped. */
#include <criterion/criterion.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/mvcc.h>

enum party { T1, T2, T3, PARTIES };

enum { SCAN_TEXT_MAX = 512, VALUE_TEXT_MAX = 24 };

/* Which values a scan's caller looks at: the store returns every key, the client filters. */
struct where {
    int divisor;            /* 0: any. */
    int equal;              /* 0: any. */
};

static const struct where every = {0, 0};

static struct torc_mvcc *store;
static struct torc_txn *parties[PARTIES];
static bool lost[PARTIES];

static struct where
divisible_by(int divisor)
{
    return (struct where){divisor, 0};
}

static struct where
equal_to(int value)
{
    return (struct where){0, value};
}

static bool
matches(struct where where, int value)
{
    return (where.divisor == 0 || value % where.divisor == 0) && (where.equal == 0 || value == where.equal);
}

static struct torc_slice
number(int value, char text[VALUE_TEXT_MAX])
{
    return torc_slice(text, (size_t)snprintf(text, VALUE_TEXT_MAX, "%d", value));
}

static int
number_in(struct torc_slice value)
{
    char text[VALUE_TEXT_MAX];

    cr_assert_lt(value.size, sizeof(text));
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    return atoi(text);
}

/* ---- Steps. Each is a macro that hands on its line, so that a failure names the step of the script. ---- */

#define begin(party, level) begin_at(__LINE__, party, level, false)
#define begin_read_only(party, level) begin_at(__LINE__, party, level, true)
#define put(party, key, value) write_at(__LINE__, party, key, value, false)
#define may_put(party, key, value) write_at(__LINE__, party, key, value, true)
#define delete(party, key) delete_at(__LINE__, party, key, false)
#define may_delete(party, key) delete_at(__LINE__, party, key, true)
#define expect_get(party, key, value) expect_get_at(__LINE__, party, key, value)
#define expect_absent(party, key) expect_get_at(__LINE__, party, key, 0)
#define lock(party, key, value) lock_at(__LINE__, party, key, value, false)
#define may_lock(party, key, value) lock_at(__LINE__, party, key, value, true)
#define expect_scan(party, where, text) expect_scan_at(__LINE__, party, (struct torc_scan_options){0}, where, text)
#define expect_reverse(party, where, text)                                                          \
    expect_scan_at(__LINE__, party, (struct torc_scan_options){.reverse = true}, where, text)
#define expect_prefix(party, start, text)                                                           \
    expect_scan_at(__LINE__, party, (struct torc_scan_options){.prefix = torc_slice_from_string(start)}, every, text)
#define expect_range(party, least, past, text)                                                      \
    expect_scan_at(__LINE__, party,                                                                 \
                   (struct torc_scan_options){.from = torc_slice_from_string(least),                \
                                              .to = torc_slice_from_string(past)}, every, text)
#define commit(party) commit_at(__LINE__, party)
#define loses(party) loses_at(__LINE__, party, NULL)
#define loses_over(party, key) loses_at(__LINE__, party, key)
#define expect_store(text) expect_store_at(__LINE__, text)

static void
begin_at(int line, enum party party, enum torc_isolation level, bool read_only)
{
    struct torc_txn_options options = {.isolation = level, .read_only = read_only};

    cr_assert_null(parties[party], "line %d: T%d is still open", line, party + 1);
    lost[party] = false;
    cr_assert_eq(torc_txn_begin(store, &options, &parties[party]), TORC_OK, "line %d: begin", line);
}

static void
abort_party(enum party party)
{
    torc_txn_abort(parties[party]);
    parties[party] = NULL;
}

/* What a write may return. A conflict makes `party` the loser, where the script allows one. */
static void
settle(int line, enum party party, enum torc_status status, bool may_lose)
{
    if (status == TORC_CONFLICT && may_lose) {
        lost[party] = true;
        abort_party(party);
        return;
    }
    cr_assert_eq(status, TORC_OK, "line %d: T%d got %s", line, party + 1, torc_status_name(status));
}

static void
write_at(int line, enum party party, const char *key, int value, bool may_lose)
{
    char text[VALUE_TEXT_MAX];

    if (!lost[party])
        settle(line, party, torc_txn_put(parties[party], torc_slice_from_string(key), number(value, text)), may_lose);
}

static void
delete_at(int line, enum party party, const char *key, bool may_lose)
{
    if (!lost[party])
        settle(line, party, torc_txn_delete(parties[party], torc_slice_from_string(key)), may_lose);
}

/* `value` 0: the key must be absent. */
static void
expect_value(int line, const char *key, enum torc_status status, struct torc_slice got, int value)
{
    if (value == 0) {
        cr_assert_eq(status, TORC_NOT_FOUND, "line %d: %s got %s", line, key, torc_status_name(status));
        cr_assert_eq(got.size, 0u, "line %d: %s left a value", line, key);
        return;
    }
    cr_assert_eq(status, TORC_OK, "line %d: %s got %s", line, key, torc_status_name(status));
    cr_assert_eq(number_in(got), value, "line %d: %s is %d, not %d", line, key, number_in(got), value);
}

static void
expect_get_at(int line, enum party party, const char *key, int value)
{
    struct torc_slice got;
    enum torc_status status;

    if (lost[party])
        return;
    status = torc_txn_get(parties[party], torc_slice_from_string(key), &got);
    expect_value(line, key, status, got, value);
}

static void
lock_at(int line, enum party party, const char *key, int value, bool may_lose)
{
    struct torc_slice got;
    enum torc_status status;

    if (lost[party])
        return;
    status = torc_txn_get_for_update(parties[party], torc_slice_from_string(key), &got);
    if (status == TORC_CONFLICT)
        settle(line, party, status, may_lose);
    else
        expect_value(line, key, status, got, value);
}

/* Run a scan to its end and write the keys that match as "1=10 2=20". */
static void
scan_to_text(int line, struct torc_txn *txn, const struct torc_scan_options *options, struct where where,
             char text[SCAN_TEXT_MAX])
{
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    enum torc_status status;
    size_t used = 0;

    text[0] = '\0';
    cr_assert_eq(torc_txn_scan(txn, options, &cursor), TORC_OK, "line %d: scan", line);
    while ((status = torc_cursor_next(cursor, &key, &value)) == TORC_OK) {
        if (!matches(where, number_in(value)))
            continue;
        used += (size_t)snprintf(text + used, SCAN_TEXT_MAX - used, "%s%.*s=%d", used > 0 ? " " : "", (int)key.size,
                                 (const char *)key.data, number_in(value));
        cr_assert_lt(used, (size_t)SCAN_TEXT_MAX);
    }
    cr_assert_eq(status, TORC_END, "line %d: next got %s", line, torc_status_name(status));
    torc_cursor_close(cursor);
}

static void
expect_scan_at(int line, enum party party, struct torc_scan_options options, struct where where, const char *expected)
{
    char text[SCAN_TEXT_MAX];

    if (lost[party])
        return;
    scan_to_text(line, parties[party], &options, where, text);
    cr_assert_str_eq(text, expected, "line %d: T%d scans \"%s\", not \"%s\"", line, party + 1, text, expected);
}

static void
commit_at(int line, enum party party)
{
    enum torc_status status;

    cr_assert_not(lost[party], "line %d: T%d lost before", line, party + 1);
    status = torc_txn_commit(parties[party]);
    parties[party] = NULL;
    cr_assert_eq(status, TORC_OK, "line %d: T%d's commit got %s", line, party + 1, torc_status_name(status));
}

/* `party` loses here unless it lost at a write. `key`, if given, is the one that the conflict must name. */
static void
loses_at(int line, enum party party, const char *key)
{
    struct torc_slice named;

    if (!lost[party]) {
        enum torc_status status = torc_txn_commit(parties[party]);

        parties[party] = NULL;
        cr_assert_eq(status, TORC_CONFLICT, "line %d: T%d's commit got %s", line, party + 1, torc_status_name(status));
    }
    named = torc_conflict_key();
    cr_assert_gt(named.size, 0u, "line %d: the conflict names no key", line);
    if (key != NULL)
        cr_assert(named.size == strlen(key) && memcmp(named.data, key, named.size) == 0,
                  "line %d: the conflict names \"%.*s\", not \"%s\"", line, (int)named.size, (const char *)named.data,
                  key);
}

static void
expect_store_at(int line, const char *expected)
{
    struct torc_txn_options options = {.read_only = true};
    char text[SCAN_TEXT_MAX];
    struct torc_txn *txn;

    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK, "line %d: begin", line);
    scan_to_text(line, txn, NULL, every, text);
    torc_txn_abort(txn);
    cr_assert_str_eq(text, expected, "line %d: the store holds \"%s\", not \"%s\"", line, text, expected);
}

static void
store_put(const char *key, int value)
{
    char text[VALUE_TEXT_MAX];

    cr_assert_eq(torc_mvcc_put(store, torc_slice_from_string(key), number(value, text), NULL), TORC_OK);
}

static void
store_delete(const char *key)
{
    cr_assert_eq(torc_mvcc_delete(store, torc_slice_from_string(key)), TORC_OK);
}

static void
create(void)
{
    cr_assert_eq(torc_mvcc_open(NULL, &store), TORC_OK);
    store_put("1", 10);
    store_put("2", 20);
}

static void
destroy(void)
{
    for (enum party party = T1; party < PARTIES; party++)
        if (parties[party] != NULL)
            abort_party(party);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

TestSuite(mvcc_at_snapshot, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_at_serializable, .init = create, .fini = destroy, .timeout = 60);

/* A script, run at both levels. */
#define SCRIPT(name)                                                                                \
    static void name(enum torc_isolation level);                                                    \
    Test(mvcc_at_snapshot, name) { name(TORC_SNAPSHOT); }                                           \
    Test(mvcc_at_serializable, name) { name(TORC_SERIALIZABLE); }                                   \
    static void name(enum torc_isolation level)

/* ---- Hermitage ---- */

SCRIPT(g0_write_cycles_are_impossible)
{
    begin(T1, level);
    begin(T2, level);
    put(T1, "1", 11);
    put(T2, "1", 12);
    put(T1, "2", 21);
    commit(T1);
    expect_store("1=11 2=21");
    may_put(T2, "2", 22);
    loses(T2);
    expect_store("1=11 2=21");
}

SCRIPT(g1a_an_aborted_write_is_never_read)
{
    begin(T1, level);
    begin(T2, level);
    put(T1, "1", 101);
    expect_scan(T2, every, "1=10 2=20");
    abort_party(T1);
    expect_scan(T2, every, "1=10 2=20");
    commit(T2);
    expect_store("1=10 2=20");
}

SCRIPT(g1b_an_intermediate_write_is_never_read)
{
    begin(T1, level);
    begin(T2, level);
    put(T1, "1", 101);
    expect_scan(T2, every, "1=10 2=20");
    put(T1, "1", 11);
    commit(T1);
    expect_scan(T2, every, "1=10 2=20");
    commit(T2);
    expect_store("1=11 2=20");
}

SCRIPT(g1c_circular_information_flow)
{
    begin(T1, level);
    begin(T2, level);
    put(T1, "1", 11);
    put(T2, "2", 22);
    expect_get(T1, "2", 20);
    expect_get(T2, "1", 10);
    commit(T1);
    if (level == TORC_SNAPSHOT) {
        commit(T2);
        expect_store("1=11 2=22");
    } else {
        loses_over(T2, "1");
        expect_store("1=11 2=20");
    }
}

SCRIPT(otv_an_observed_transaction_stays_for_who_began_after_it)
{
    begin(T1, level);
    begin(T2, level);
    put(T1, "1", 11);
    put(T1, "2", 19);
    put(T2, "1", 12);
    commit(T1);
    begin(T3, level);
    expect_get(T3, "1", 11);
    may_put(T2, "2", 18);
    expect_get(T3, "2", 19);
    loses(T2);
    expect_get(T3, "2", 19);
    expect_get(T3, "1", 11);
    commit(T3);
    expect_store("1=11 2=19");
}

SCRIPT(otv_an_observed_transaction_is_unseen_by_who_began_before_it)
{
    begin(T3, level);
    begin(T1, level);
    begin(T2, level);
    put(T1, "1", 11);
    put(T1, "2", 19);
    put(T2, "1", 12);
    commit(T1);
    expect_get(T3, "1", 10);
    may_put(T2, "2", 18);
    expect_get(T3, "2", 20);
    loses(T2);
    expect_get(T3, "2", 20);
    expect_get(T3, "1", 10);
    commit(T3);
}

SCRIPT(pmp_a_predicate_read_gains_no_rows)
{
    begin(T1, level);
    begin(T2, level);
    expect_scan(T1, equal_to(30), "");
    put(T2, "3", 30);
    commit(T2);
    expect_scan(T1, divisible_by(3), "");
    commit(T1);
    expect_store("1=10 2=20 3=30");
}

SCRIPT(pmp_a_predicate_write_hits_no_rows_that_have_moved)
{
    begin(T1, level);
    begin(T2, level);
    put(T1, "1", 20);
    put(T1, "2", 30);
    expect_scan(T2, equal_to(20), "2=20");
    delete(T2, "2");
    commit(T1);
    loses_over(T2, "2");
    expect_store("1=20 2=30");
}

SCRIPT(p4_no_update_is_lost)
{
    begin(T1, level);
    begin(T2, level);
    expect_get(T1, "1", 10);
    expect_get(T2, "1", 10);
    put(T1, "1", 11);
    put(T2, "1", 11);
    commit(T1);
    loses_over(T2, "1");
    expect_store("1=11 2=20");
}

SCRIPT(g_single_reads_are_not_skewed)
{
    begin(T1, level);
    begin(T2, level);
    expect_get(T1, "1", 10);
    expect_get(T2, "1", 10);
    expect_get(T2, "2", 20);
    put(T2, "1", 12);
    put(T2, "2", 18);
    commit(T2);
    expect_get(T1, "2", 20);
    commit(T1);
    expect_store("1=12 2=18");
}

SCRIPT(g_single_predicate_reads_are_not_skewed)
{
    begin(T1, level);
    begin(T2, level);
    expect_scan(T1, divisible_by(5), "1=10 2=20");
    expect_scan(T2, equal_to(10), "1=10");
    put(T2, "1", 12);
    commit(T2);
    expect_scan(T1, divisible_by(3), "");
    commit(T1);
    expect_store("1=12 2=20");
}

SCRIPT(g_single_a_write_after_a_skewed_read_loses)
{
    begin(T1, level);
    begin(T2, level);
    expect_get(T1, "1", 10);
    expect_scan(T2, every, "1=10 2=20");
    put(T2, "1", 12);
    put(T2, "2", 18);
    commit(T2);
    expect_scan(T1, equal_to(20), "2=20");
    may_delete(T1, "2");
    loses_over(T1, "2");
    expect_store("1=12 2=18");
}

SCRIPT(g_single_a_writer_survives_a_rival_that_aborts)
{
    begin(T1, level);
    begin(T2, level);
    expect_get(T1, "1", 10);
    expect_scan(T2, every, "1=10 2=20");
    put(T2, "1", 12);
    expect_scan(T1, equal_to(20), "2=20");
    delete(T1, "2");
    put(T2, "2", 18);
    abort_party(T1);
    commit(T2);
    expect_store("1=12 2=18");
}

SCRIPT(g2_item_write_skew_needs_serializable)
{
    begin(T1, level);
    begin(T2, level);
    expect_get(T1, "1", 10);
    expect_get(T1, "2", 20);
    expect_get(T2, "1", 10);
    expect_get(T2, "2", 20);
    put(T1, "1", 11);
    put(T2, "2", 21);
    commit(T1);
    if (level == TORC_SNAPSHOT) {
        commit(T2);
        expect_store("1=11 2=21");
    } else {
        loses_over(T2, "1");
        expect_store("1=11 2=20");
    }
}

SCRIPT(g2_an_anti_dependency_cycle_through_predicates_needs_serializable)
{
    begin(T1, level);
    begin(T2, level);
    expect_scan(T1, divisible_by(3), "");
    expect_scan(T2, divisible_by(3), "");
    put(T1, "3", 30);
    put(T2, "4", 42);
    commit(T1);
    if (level == TORC_SNAPSHOT) {
        commit(T2);
        expect_store("1=10 2=20 3=30 4=42");
    } else {
        loses_over(T2, "3");
        expect_store("1=10 2=20 3=30");
    }
}

SCRIPT(g2_two_edges_with_a_reader_between_need_serializable)
{
    begin(T1, level);
    expect_scan(T1, every, "1=10 2=20");
    begin(T2, level);
    put(T2, "2", 25);
    commit(T2);
    begin(T3, level);
    expect_scan(T3, every, "1=10 2=25");
    commit(T3);
    put(T1, "1", 0);
    if (level == TORC_SNAPSHOT) {
        commit(T1);
        expect_store("1=0 2=25");
    } else {
        loses_over(T1, "2");
        expect_store("1=10 2=25");
    }
}

/* ---- The same with get_for_update ---- */

SCRIPT(get_for_update_turns_write_skew_into_a_conflict)
{
    begin(T1, level);
    begin(T2, level);
    lock(T1, "1", 10);
    lock(T1, "2", 20);
    lock(T2, "1", 10);
    lock(T2, "2", 20);
    put(T1, "1", 11);
    put(T2, "2", 21);
    commit(T1);
    loses(T2);
    expect_store("1=11 2=20");
}

SCRIPT(get_for_update_alone_conflicts_with_a_write)
{
    begin(T1, level);
    begin(T2, level);
    lock(T1, "1", 10);
    put(T2, "1", 12);
    commit(T2);
    loses_over(T1, "1");
    expect_store("1=12 2=20");
}

SCRIPT(get_for_update_alone_conflicts_with_another)
{
    begin(T1, level);
    begin(T2, level);
    lock(T1, "1", 10);
    lock(T2, "1", 10);
    commit(T1);
    loses_over(T2, "1");
    expect_store("1=10 2=20");
}

SCRIPT(get_for_update_refuses_a_key_committed_since)
{
    begin(T1, level);
    begin(T2, level);
    put(T2, "1", 12);
    commit(T2);
    may_lock(T1, "1", 10);
    loses_over(T1, "1");
    expect_store("1=12 2=20");
}

SCRIPT(get_for_update_of_an_absent_key_conflicts_with_its_insert)
{
    begin(T1, level);
    begin(T2, level);
    lock(T1, "3", 0);
    put(T1, "4", 42);
    lock(T2, "4", 0);
    put(T2, "3", 30);
    commit(T1);
    loses(T2);
    expect_store("1=10 2=20 4=42");
}

SCRIPT(get_for_update_leaves_the_value_as_it_is)
{
    begin(T1, level);
    lock(T1, "1", 10);
    lock(T1, "3", 0);
    expect_scan(T1, every, "1=10 2=20");
    put(T1, "2", 21);
    lock(T1, "2", 21);
    commit(T1);
    expect_store("1=10 2=21");
}

/* ---- The same with keys that are not there ---- */

SCRIPT(absent_keys_two_inserts_of_one_key_conflict)
{
    begin(T1, level);
    begin(T2, level);
    expect_absent(T1, "3");
    expect_absent(T2, "3");
    put(T1, "3", 30);
    put(T2, "3", 31);
    commit(T1);
    loses_over(T2, "3");
    expect_store("1=10 2=20 3=30");
}

SCRIPT(absent_keys_write_skew_needs_serializable)
{
    begin(T1, level);
    begin(T2, level);
    expect_absent(T1, "3");
    expect_absent(T2, "4");
    put(T1, "4", 40);
    put(T2, "3", 30);
    commit(T1);
    if (level == TORC_SNAPSHOT) {
        commit(T2);
        expect_store("1=10 2=20 3=30 4=40");
    } else {
        loses_over(T2, "4");
        expect_store("1=10 2=20 4=40");
    }
}

SCRIPT(absent_keys_stay_absent_in_a_snapshot)
{
    begin(T1, level);
    expect_absent(T1, "3");
    store_put("3", 30);
    expect_absent(T1, "3");
    expect_scan(T1, every, "1=10 2=20");
    commit(T1);
    expect_store("1=10 2=20 3=30");
}

SCRIPT(absent_keys_deleted_after_begin_stay_present_in_a_snapshot)
{
    begin(T1, level);
    store_delete("1");
    expect_get(T1, "1", 10);
    expect_scan(T1, every, "1=10 2=20");
    commit(T1);
    expect_store("2=20");
}

SCRIPT(absent_keys_a_delete_and_a_write_of_one_key_conflict)
{
    begin(T1, level);
    begin(T2, level);
    delete(T1, "1");
    put(T2, "1", 12);
    commit(T1);
    loses_over(T2, "1");
    expect_store("2=20");
}

SCRIPT(absent_keys_two_deletes_of_one_key_conflict)
{
    begin(T1, level);
    begin(T2, level);
    delete(T1, "1");
    delete(T2, "1");
    commit(T1);
    loses_over(T2, "1");
    expect_store("2=20");
}

SCRIPT(absent_keys_a_delete_seen_by_another_needs_serializable)
{
    begin(T1, level);
    begin(T2, level);
    expect_get(T1, "1", 10);
    put(T1, "3", 30);
    delete(T2, "1");
    commit(T2);
    if (level == TORC_SNAPSHOT) {
        commit(T1);
        expect_store("2=20 3=30");
    } else {
        loses_over(T1, "1");
        expect_store("2=20");
    }
}

SCRIPT(absent_keys_deleted_and_put_again_conflict_all_the_same)
{
    begin(T1, level);
    expect_get(T1, "1", 10);
    store_delete("1");
    store_put("1", 10);
    may_put(T1, "1", 11);
    loses_over(T1, "1");
    expect_store("1=10 2=20");
}

/* ---- The same with other scans ---- */

SCRIPT(reverse_scans_gain_no_rows)
{
    begin(T1, level);
    begin(T2, level);
    expect_reverse(T1, every, "2=20 1=10");
    put(T2, "3", 30);
    put(T2, "1", 12);
    commit(T2);
    expect_reverse(T1, every, "2=20 1=10");
    commit(T1);
    expect_store("1=12 2=20 3=30");
}

SCRIPT(reverse_scans_protect_their_range_when_serializable)
{
    begin(T1, level);
    begin(T2, level);
    expect_reverse(T1, divisible_by(3), "");
    expect_reverse(T2, divisible_by(3), "");
    put(T1, "3", 30);
    put(T2, "0", 42);
    commit(T1);
    if (level == TORC_SNAPSHOT) {
        commit(T2);
        expect_store("0=42 1=10 2=20 3=30");
    } else {
        loses_over(T2, "3");
        expect_store("1=10 2=20 3=30");
    }
}

SCRIPT(prefix_scans_protect_their_range_when_serializable)
{
    begin(T1, level);
    begin(T2, level);
    expect_prefix(T1, "a/", "");
    expect_prefix(T2, "b/", "");
    put(T1, "b/1", 31);
    put(T2, "a/1", 32);
    commit(T1);
    if (level == TORC_SNAPSHOT) {
        commit(T2);
        expect_store("1=10 2=20 a/1=32 b/1=31");
    } else {
        loses_over(T2, "b/1");
        expect_store("1=10 2=20 b/1=31");
    }
}

SCRIPT(bounded_scans_protect_their_range_when_serializable)
{
    store_put("6", 60);
    begin(T1, level);
    begin(T2, level);
    expect_range(T1, "3", "7", "6=60");
    put(T1, "9", 90);
    delete(T2, "6");
    commit(T2);
    if (level == TORC_SNAPSHOT) {
        commit(T1);
        expect_store("1=10 2=20 9=90");
    } else {
        loses_over(T1, "6");
        expect_store("1=10 2=20");
    }
}

SCRIPT(bounded_scans_are_not_troubled_by_what_lies_outside)
{
    begin(T1, level);
    begin(T2, level);
    expect_range(T1, "1", "3", "1=10 2=20");
    expect_prefix(T1, "a/", "");
    put(T1, "9", 90);
    put(T2, "3", 30);
    put(T2, "0", 1);
    put(T2, "b/1", 31);
    put(T2, "a", 5);
    put(T2, "a0", 6);
    commit(T2);
    commit(T1);
    expect_store("0=1 1=10 2=20 3=30 9=90 a=5 a0=6 b/1=31");
}

SCRIPT(open_scans_protect_what_they_have_passed_when_serializable)
{
    struct torc_cursor *cursor;
    struct torc_slice key, value;

    begin(T1, level);
    begin(T2, level);
    cr_assert_eq(torc_txn_scan(parties[T1], NULL, &cursor), TORC_OK);
    cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
    put(T1, "9", 90);
    put(T2, "0", 1);
    commit(T2);
    if (level == TORC_SNAPSHOT) {
        commit(T1);
        expect_store("0=1 1=10 2=20 9=90");
    } else {
        loses_over(T1, "0");
        expect_store("0=1 1=10 2=20");
    }
}

SCRIPT(own_writes_in_a_scanned_range_are_no_conflict)
{
    begin(T1, level);
    expect_scan(T1, every, "1=10 2=20");
    put(T1, "3", 30);
    delete(T1, "1");
    expect_scan(T1, every, "2=20 3=30");
    expect_reverse(T1, every, "3=30 2=20");
    expect_absent(T1, "1");
    commit(T1);
    expect_store("2=20 3=30");
}

/* ---- Between transactions and autocommit ---- */

SCRIPT(autocommit_put_beats_an_open_transaction)
{
    begin(T1, level);
    put(T1, "1", 11);
    store_put("1", 12);
    loses_over(T1, "1");
    expect_store("1=12 2=20");
}

SCRIPT(autocommit_put_under_a_read_needs_serializable)
{
    begin(T1, level);
    expect_get(T1, "1", 10);
    put(T1, "2", 21);
    store_put("1", 12);
    if (level == TORC_SNAPSHOT) {
        commit(T1);
        expect_store("1=12 2=21");
    } else {
        loses_over(T1, "1");
        expect_store("1=12 2=20");
    }
}

SCRIPT(autocommit_put_overwrites_a_transaction_that_committed)
{
    begin(T1, level);
    put(T1, "1", 11);
    commit(T1);
    store_put("1", 12);
    expect_store("1=12 2=20");
}

/* ---- What costs nothing ---- */

SCRIPT(read_only_transactions_never_lose)
{
    begin_read_only(T1, level);
    expect_scan(T1, every, "1=10 2=20");
    store_put("1", 12);
    store_put("3", 30);
    expect_get(T1, "1", 10);
    expect_absent(T1, "3");
    commit(T1);
    expect_store("1=12 2=20 3=30");
}

SCRIPT(disjoint_transactions_both_commit)
{
    begin(T1, level);
    begin(T2, level);
    expect_get(T1, "1", 10);
    expect_get(T2, "2", 20);
    put(T1, "1", 11);
    put(T2, "2", 21);
    commit(T2);
    commit(T1);
    expect_store("1=11 2=21");
}

SCRIPT(a_reader_of_a_key_written_after_its_commit_does_not_lose)
{
    begin(T1, level);
    begin(T2, level);
    expect_get(T1, "1", 10);
    put(T1, "3", 30);
    put(T2, "1", 11);
    commit(T1);
    commit(T2);
    expect_store("1=11 2=20 3=30");
}

/* Three in a ring: each reads what the next one writes. */
SCRIPT(a_ring_of_three_needs_serializable)
{
    store_put("3", 30);
    begin(T1, level);
    begin(T2, level);
    begin(T3, level);
    expect_get(T1, "2", 20);
    expect_get(T2, "3", 30);
    expect_get(T3, "1", 10);
    put(T1, "1", 11);
    put(T2, "2", 22);
    put(T3, "3", 33);
    commit(T1);
    if (level == TORC_SNAPSHOT) {
        commit(T2);
        commit(T3);
        expect_store("1=11 2=22 3=33");
    } else {
        commit(T2);
        loses_over(T3, "1");
        expect_store("1=11 2=22 3=30");
    }
}

/* SPDX-License-Identifier: MIT */
/* Merging: the operators, what operators may do wrong, merges in transactions, and that merges never conflict. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "base/alloc.h"
#include "base/codec.h"
#include "mvcc/mvcc_testing.h"

static struct torct_store store;
static struct torc_keyspace *keyspace;

static void
create(void)
{
    torct_store_open(&store);
    keyspace = torc_mvcc_default(store.mvcc);
}

static void
destroy(void)
{
    torct_store_close(&store);
}

TestSuite(merge, .init = create, .fini = destroy, .timeout = 120);

static struct torc_slice
number(int64_t value)
{
    static _Thread_local unsigned char bytes[4][8];
    static _Thread_local unsigned next;
    unsigned char *place = bytes[next++ % 4];

    torci_fixed64_put(place, (uint64_t)value);
    return torc_slice(place, 8);
}

static int64_t
number_at(const char *key)
{
    unsigned char bytes[8];
    size_t size;

    cr_assert_eq(torc_mvcc_get(store.mvcc, torct_text(key), bytes, sizeof bytes, &size), TORC_OK);
    cr_assert_eq(size, 8u);
    return (int64_t)torci_fixed64_get(bytes);
}

/* Merge on its own. */
static enum torc_status
merge(const char *key, const struct torc_merge_operator *operation, struct torc_slice operand)
{
    return torc_keyspace_merge(keyspace, torct_text(key), operation, operand, NULL, 0, NULL);
}

static void
txn_append(struct torc_txn *txn, const char *key, const char *operand)
{
    cr_assert_eq(torc_txn_merge(txn, torct_text(key), &torc_merge_append, torct_text(operand)), TORC_OK);
}

/* ---- The operators of the library ---- */

Test(merge, add_min_and_max_of_every_edge)
{
    static const int64_t edges[] = {INT64_MIN, INT64_MIN + 1, -2, -1, 0, 1, 2, INT64_MAX - 1, INT64_MAX};
    size_t count = sizeof edges / sizeof edges[0];

    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(merge("new", &torc_merge_add, number(edges[i])), TORC_OK);
        cr_expect_eq(number_at("new"), edges[i], "absent counts as 0");
        torct_delete(store.mvcc, "new");
        cr_assert_eq(merge("new", &torc_merge_min, number(edges[i])), TORC_OK);
        cr_expect_eq(number_at("new"), edges[i], "of absent and an operand the operand is least");
        torct_delete(store.mvcc, "new");
        cr_assert_eq(merge("new", &torc_merge_max, number(edges[i])), TORC_OK);
        cr_expect_eq(number_at("new"), edges[i]);
        torct_delete(store.mvcc, "new");
        for (size_t j = 0; j < count; j++) {
            int64_t a = edges[i];
            int64_t b = edges[j];

            cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text("k"), number(a), NULL), TORC_OK);
            cr_assert_eq(merge("k", &torc_merge_add, number(b)), TORC_OK);
            cr_expect_eq(number_at("k"), (int64_t)((uint64_t)a + (uint64_t)b), "wraps around");
            cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text("k"), number(a), NULL), TORC_OK);
            cr_assert_eq(merge("k", &torc_merge_min, number(b)), TORC_OK);
            cr_expect_eq(number_at("k"), a < b ? a : b);
            cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text("k"), number(a), NULL), TORC_OK);
            cr_assert_eq(merge("k", &torc_merge_max, number(b)), TORC_OK);
            cr_expect_eq(number_at("k"), a > b ? a : b);
        }
    }
}

Test(merge, numbers_are_little_endian)
{
    unsigned char bytes[8];
    size_t size;

    cr_assert_eq(torc_keyspace_merge(keyspace, torct_text("k"), &torc_merge_add, number(0x0102030405060708), bytes, 8,
                                     &size),
                 TORC_OK);
    cr_expect_eq(bytes[0], 8u);
    cr_expect_eq(bytes[7], 1u);
}

Test(merge, refuses_what_is_no_number)
{
    const struct torc_merge_operator *operators[] = {&torc_merge_add, &torc_merge_min, &torc_merge_max};

    torct_put(store.mvcc, "text", "seven77");
    torct_put(store.mvcc, "empty", "");
    cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text("number"), number(5), NULL), TORC_OK);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(merge("text", operators[i], number(1)), TORC_INVALID);
        cr_expect_neq(strstr(torc_detail(), "8 bytes"), NULL, "%s", torc_detail());
        cr_expect_eq(merge("empty", operators[i], number(1)), TORC_INVALID);
        cr_expect_eq(merge("number", operators[i], torct_text("seven77")), TORC_INVALID);
        cr_expect_eq(merge("number", operators[i], torct_text("ninebytes")), TORC_INVALID);
        cr_expect_eq(merge("number", operators[i], torc_slice(NULL, 0)), TORC_INVALID);
        cr_expect_eq(merge("new", operators[i], torct_text("")), TORC_INVALID);
    }
    cr_expect(torct_reads(store.mvcc, "text", "seven77"));
    cr_expect(torct_reads(store.mvcc, "new", NULL));
    cr_expect_eq(number_at("number"), 5);
}

Test(merge, append_puts_the_operand_behind_the_value)
{
    char buffer[4];
    size_t size;

    cr_assert_eq(merge("k", &torc_merge_append, torct_text("")), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "k", ""), "an empty value is a value");
    cr_assert_eq(merge("k", &torc_merge_append, torct_text("abc")), TORC_OK);
    cr_assert_eq(merge("k", &torc_merge_append, torct_text("")), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "k", "abc"));
    cr_assert_eq(torc_keyspace_merge(keyspace, torct_text("k"), &torc_merge_append, torct_text("def"), buffer, 4,
                                     &size),
                 TORC_OK, "a result that does not fit is no error");
    cr_expect_eq(size, 6u);
    cr_expect_eq(memcmp(buffer, "abcd", 4), 0);
    cr_expect(torct_reads(store.mvcc, "k", "abcdef"));
}

Test(merge, append_past_the_greatest_value_is_refused)
{
    static char dummy;
    struct torc_slice huge = torc_slice(&dummy, TORC_VALUE_SIZE_MAX);
    struct torc_slice small = torct_text("x");
    struct torci_merge merges = {NULL, &torc_merge_append, huge};
    struct torci_moment moment = {store.mvcc, 0};
    struct torci_shard *shard = torct_shard(store.mvcc);
    struct torci_version *base = torci_version_create(shard, small, UINT64_MAX, 0);
    struct torci_version *result;

    cr_assert_not_null(base);
    cr_expect_eq(torci_merge_apply(shard, &merges, base, &moment, &result), TORC_TOO_LARGE);
    cr_expect_null(result);
    torci_version_destroy(shard, base);
}

/* ---- Operators of the user ---- */

static enum torc_status
act(void *context, const struct torc_slice *current, struct torc_slice operand, struct torc_merge_output *output)
{
    const char *what = context;
    void *place;

    (void)operand;
    if (strcmp(what, "fails") == 0)
        return TORC_MISMATCH;
    if (strcmp(what, "fails after output") == 0)
        return torc_merge_output(output, 8) != NULL ? TORC_READ_ONLY : TORC_NO_MEMORY;
    if (strcmp(what, "gives nothing") == 0)
        return TORC_OK;
    if (strcmp(what, "is odd") == 0)
        return (enum torc_status)127;
    if (strcmp(what, "is negative") == 0)
        return (enum torc_status)-1;
    if (strcmp(what, "conflicts") == 0)
        return TORC_CONFLICT;
    if (strcmp(what, "is too large") == 0)
        return torc_merge_output(output, (size_t)TORC_VALUE_SIZE_MAX + 1) == NULL ? TORC_TOO_LARGE : TORC_OK;
    if (strcmp(what, "goes on after too large") == 0) {
        (void)torc_merge_output(output, 4);
        (void)torc_merge_output(output, SIZE_MAX);
        return TORC_OK;
    }
    /* "asks twice": the last call counts. */
    place = torc_merge_output(output, 5);
    if (place == NULL)
        return TORC_NO_MEMORY;
    memcpy(place, "first", 5);
    place = torc_merge_output(output, current == NULL ? 4 : 5);
    if (place == NULL)
        return TORC_NO_MEMORY;
    memcpy(place, current == NULL ? "last" : "again", current == NULL ? 4 : 5);
    return TORC_OK;
}

static struct torc_merge_operator
acting(const char *what)
{
    struct torc_merge_operator operation = {"act", act, NULL};

    operation.context = (void *)(uintptr_t)what;
    return operation;
}

static const struct {
    const char *what;
    enum torc_status status;
} REFUSALS[] = {
    {"fails", TORC_MISMATCH},
    {"fails after output", TORC_READ_ONLY},
    {"gives nothing", TORC_INVALID},
    {"is odd", TORC_INVALID},
    {"is negative", TORC_INVALID},
    {"conflicts", TORC_CONFLICT},
    {"is too large", TORC_TOO_LARGE},
    {"goes on after too large", TORC_INVALID},
};

Test(merge, what_an_operator_refuses_changes_nothing)
{
    torct_put(store.mvcc, "k", "v");
    for (size_t i = 0; i < sizeof REFUSALS / sizeof REFUSALS[0]; i++) {
        struct torc_merge_operator operation = acting(REFUSALS[i].what);
        struct torc_txn *txn;
        char buffer[4];
        size_t size = 7;

        cr_expect_eq(torc_keyspace_merge(keyspace, torct_text("k"), &operation, torct_text("o"), buffer, 4, &size),
                     REFUSALS[i].status, "%s", REFUSALS[i].what);
        cr_expect_eq(size, 0u);
        if (REFUSALS[i].status == TORC_CONFLICT)
            cr_expect(torct_slice_is(torc_conflict_key(), "k"));
        if (REFUSALS[i].status == TORC_INVALID)
            cr_expect_neq(strstr(torc_detail(), "act"), NULL, "%s", torc_detail());
        cr_expect_eq(merge("new", &operation, torct_text("o")), REFUSALS[i].status, "%s", REFUSALS[i].what);

        /* By the commit, which writes nothing. */
        txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
        torct_txn_put(txn, "other", "v");
        cr_expect_eq(torc_txn_merge(txn, torct_text("k"), &operation, torct_text("o")), TORC_OK);
        cr_expect_eq(torc_txn_commit(txn), REFUSALS[i].status, "%s", REFUSALS[i].what);
        cr_expect(torct_reads(store.mvcc, "other", NULL));

        /* At once. */
        txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
        torct_txn_put(txn, "k", "own");
        cr_expect_eq(torc_txn_merge(txn, torct_text("k"), &operation, torct_text("o")), REFUSALS[i].status);
        cr_expect(torct_txn_reads(txn, "k", "own"));
        torc_txn_abort(txn);

        /* When it is read. */
        txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
        cr_expect_eq(torc_txn_merge(txn, torct_text("k"), &operation, torct_text("o")), TORC_OK);
        {
            struct torc_slice value;

            cr_expect_eq(torc_txn_get(txn, torct_text("k"), &value), REFUSALS[i].status);
            cr_expect_eq(value.size, 0u);
        }
        torc_txn_abort(txn);
        cr_expect(torct_reads(store.mvcc, "k", "v"));
        cr_expect(torct_reads(store.mvcc, "new", NULL));
    }
}

/* The record that a refused merge published for an absent key goes again. */
Test(merge, what_is_refused_leaves_no_key)
{
    struct torc_merge_operator operation = acting("conflicts");
    struct torci_index_stats stats;
    char key[16];

    for (unsigned i = 0; i < 40; i++) {
        struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);

        (void)snprintf(key, sizeof key, "key%u", i);
        if (i % 2 == 0)
            cr_expect_eq(merge(key, &torc_merge_add, torct_text("no number")), TORC_INVALID);
        else
            cr_expect_eq(torc_txn_merge(txn, torct_text(key), i % 4 == 1 ? &torc_merge_add : &operation,
                                        torct_text("no number")), TORC_OK);
        cr_expect_eq(torc_txn_commit(txn), i % 2 == 0 ? TORC_OK : i % 4 == 1 ? TORC_INVALID : TORC_CONFLICT);
    }
    cr_assert_eq(torc_mvcc_collect(store.mvcc), TORC_OK);
    torci_index_stats(keyspace->index, &stats);
    cr_expect_eq(stats.records, 0u);
}

Test(merge, an_operator_may_ask_for_its_output_twice)
{
    struct torc_merge_operator operation = acting("asks twice");

    cr_assert_eq(merge("k", &operation, torct_text("o")), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "k", "last"));
    cr_assert_eq(merge("k", &operation, torct_text("o")), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "k", "again"));
}

Test(merge, tells_bad_input)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_merge_operator nothing = {"nothing", NULL, NULL};
    struct torc_slice bad = {NULL, 1};
    struct torc_txn *txn;
    size_t size = 1;

    cr_expect_eq(merge("k", NULL, torct_text("o")), TORC_INVALID);
    cr_expect_eq(merge("k", &nothing, torct_text("o")), TORC_INVALID);
    cr_expect_eq(merge("", &torc_merge_append, torct_text("o")), TORC_INVALID);
    cr_expect_eq(merge("k", &torc_merge_append, bad), TORC_INVALID);
    cr_expect_eq(torc_keyspace_merge(keyspace, bad, &torc_merge_append, torct_text("o"), NULL, 0, NULL), TORC_INVALID);
    cr_expect_eq(torc_keyspace_merge(NULL, torct_text("k"), &torc_merge_append, torct_text("o"), NULL, 0, &size),
                 TORC_INVALID);
    cr_expect_eq(size, 0u);
    cr_expect_eq(torc_keyspace_merge(keyspace, torct_text("k"), &torc_merge_append, torct_text("o"), NULL, 1, &size),
                 TORC_INVALID);
    cr_expect_eq(torc_keyspace_merge(keyspace, torct_text("k"), &torc_merge_append,
                                     torc_slice("", (size_t)TORC_VALUE_SIZE_MAX + 1), NULL, 0, NULL),
                 TORC_TOO_LARGE);
    cr_expect_null(torc_merge_output(NULL, 1));

    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_merge(txn, torct_text("k"), NULL, torct_text("o")), TORC_INVALID);
    cr_expect_eq(torc_txn_merge(txn, torct_text("k"), &nothing, torct_text("o")), TORC_INVALID);
    cr_expect_eq(torc_txn_merge(txn, torct_text(""), &torc_merge_append, torct_text("o")), TORC_INVALID);
    cr_expect_eq(torc_txn_merge(txn, torct_text("k"), &torc_merge_append, bad), TORC_INVALID);
    cr_expect_eq(torc_txn_merge(NULL, torct_text("k"), &torc_merge_append, torct_text("o")), TORC_INVALID);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(torc_txn_merge(txn, torct_text("k"), &torc_merge_append, torct_text("o")), TORC_FINISHED);
    cr_assert_eq(torc_txn_begin(store.mvcc, &options, &txn), TORC_OK);
    cr_expect_eq(torc_txn_merge(txn, torct_text("k"), &torc_merge_append, torct_text("o")), TORC_READ_ONLY);
    torc_txn_abort(txn);
    cr_expect(torct_reads(store.mvcc, "k", NULL));
}

/* ---- In transactions ---- */

Test(merge, chains_apply_in_order_to_the_newest_value)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);

    txn_append(txn, "k", "1");
    txn_append(txn, "k", "2");
    txn_append(txn, "k", "3");
    torct_put(store.mvcc, "k", "0"); /* After the snapshot: no conflict. */
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "k", "0123"));
}

Test(merge, of_what_the_transaction_wrote_is_applied_at_once)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);

    torct_txn_put(txn, "k", "p");
    txn_append(txn, "k", "1");
    cr_expect(torct_txn_reads(txn, "k", "p1"));
    cr_assert_eq(torc_txn_delete(txn, torct_text("k")), TORC_OK);
    txn_append(txn, "k", "2");
    txn_append(txn, "k", "3");
    cr_expect(torct_txn_reads(txn, "k", "23"));
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "k", "23"));
}

Test(merge, a_put_or_a_delete_takes_the_place_of_what_was_to_be_merged)
{
    struct torc_txn *txn;

    torct_put(store.mvcc, "k", "0");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    txn_append(txn, "k", "1");
    torct_txn_put(txn, "k", "2");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "k", "2"));
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    txn_append(txn, "k", "1");
    txn_append(txn, "new", "1");
    cr_assert_eq(torc_txn_delete(txn, torct_text("k")), TORC_OK);
    cr_assert_eq(torc_txn_delete(txn, torct_text("new")), TORC_OK, "it is visible to txn");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "k", NULL));
    cr_expect(torct_reads(store.mvcc, "new", NULL));
}

/* A put asks for what a merge does not: that nobody came first. */
Test(merge, a_put_over_a_merge_may_conflict)
{
    struct torc_txn *txn;

    torct_put(store.mvcc, "k", "0");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    txn_append(txn, "k", "1");
    torct_put(store.mvcc, "k", "9");
    cr_expect_eq(torc_txn_put(txn, torct_text("k"), torct_text("2")), TORC_CONFLICT);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK, "the merge stands");
    cr_expect(torct_reads(store.mvcc, "k", "91"));
}

Test(merge, every_read_sees_the_result_and_may_conflict)
{
    static const char *const reads[] = {"get", "scan", "get_for_update", "compare_and_set", "expire", "put_if_absent"};

    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        struct torc_slice expected = torct_text("01");
        struct torc_slice desired = torct_text("x");
        struct torc_cursor *cursor;
        struct torc_slice key;
        struct torc_slice value;
        struct torc_txn *txn;

        torct_put(store.mvcc, "k", "0");
        txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
        txn_append(txn, "k", "1");
        if (i == 0) {
            cr_expect(torct_txn_reads(txn, "k", "01"));
        } else if (i == 1) {
            cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
            cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
            cr_expect(torct_slice_is(value, "01"));
        } else if (i == 2) {
            cr_assert_eq(torc_txn_get_for_update(txn, torct_text("k"), &value), TORC_OK);
            cr_expect(torct_slice_is(value, "01"));
        } else if (i == 3) {
            cr_expect_eq(torc_txn_compare_and_set(txn, torct_text("k"), NULL, &desired), TORC_EXISTS);
            cr_expect_eq(torc_txn_compare_and_set(txn, torct_text("k"), &desired, &desired), TORC_MISMATCH);
            cr_expect_eq(torc_txn_compare_and_set(txn, torct_text("k"), &expected, &desired), TORC_OK);
        } else if (i == 4) {
            cr_assert_eq(torc_txn_expire(txn, torct_text("k"), UINT64_MAX / 2), TORC_OK);
        } else {
            cr_expect_eq(torc_txn_put_if_absent(txn, torct_text("k"), torct_text("y")), TORC_EXISTS);
        }
        torct_put(store.mvcc, "k", "9");
        cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT, "%s", reads[i]);
        cr_expect(torct_reads(store.mvcc, "k", "9"));
    }
}

/* ---- Time ---- */

static _Atomic(uint64_t) now;

static uint64_t
now_ms(void *context)
{
    (void)context;
    return torci_load(&now, memory_order_relaxed); /* Relaxed: a test's clock. */
}

Test(merge, keeps_the_time_at_which_the_value_expires)
{
    struct torc_mvcc_options options;
    struct torc_keyspace *main;
    struct torc_mvcc *timed;
    struct torc_txn *txn;
    uint64_t expires;

    torc_mvcc_options_init(&options);
    options.now_ms = now_ms;
    now = 1000;
    cr_assert_eq(torc_mvcc_open(&options, &timed), TORC_OK);
    main = torc_mvcc_default(timed);
    cr_assert_eq(torc_keyspace_put(main, torct_text("k"), torct_text("v"), 2000, NULL), TORC_OK);
    cr_assert_eq(torc_keyspace_merge(main, torct_text("k"), &torc_merge_append, torct_text("1"), NULL, 0, NULL),
                 TORC_OK);
    txn = torct_begin(timed, TORC_SNAPSHOT);
    txn_append(txn, "k", "2");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = torct_begin(timed, TORC_SNAPSHOT);
    txn_append(txn, "k", "3");
    cr_assert_eq(torc_txn_expiry(txn, torct_text("k"), &expires), TORC_OK);
    cr_expect_eq(expires, 2000u);
    cr_expect(torct_txn_reads(txn, "k", "v123"));
    torc_txn_abort(txn);
    now = 2000;
    cr_expect(torct_reads(timed, "k", NULL), "its time has come");
    cr_assert_eq(torc_keyspace_merge(main, torct_text("k"), &torc_merge_append, torct_text("new"), NULL, 0, NULL),
                 TORC_OK);
    cr_expect(torct_reads(timed, "k", "new"), "what has expired is absent");
    now = 3000;
    cr_expect(torct_reads(timed, "k", "new"), "and has no time any more");
    cr_assert_eq(torc_mvcc_close(timed), TORC_OK);
}

/* ---- Want of memory ---- */

Test(merge, without_memory_writes_nothing)
{
    for (uint64_t n = 1;; n++) {
        enum torc_status status;
        struct torc_txn *txn;

        torct_put(store.mvcc, "k", "0");
        txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
        torct_txn_put(txn, "a", "1");
        torci_alloc_fail_at(n, true);
        status = torc_txn_merge(txn, torct_text("k"), &torc_merge_append, torct_text("1"));
        if (status == TORC_OK)
            status = torc_txn_merge(txn, torct_text("new"), &torc_merge_append, torct_text("1"));
        if (status == TORC_OK) {
            status = torc_txn_commit(txn);
            torci_alloc_fail_at(0, false);
        } else {
            torci_alloc_fail_at(0, false);
            torc_txn_abort(txn);
        }
        if (status == TORC_OK)
            break;
        cr_assert_eq(status, TORC_NO_MEMORY);
        cr_assert(torct_reads(store.mvcc, "k", "0"));
        cr_assert(torct_reads(store.mvcc, "new", NULL));
        cr_assert(torct_reads(store.mvcc, "a", NULL));
    }
    cr_expect(torct_reads(store.mvcc, "k", "01"));
    cr_expect(torct_reads(store.mvcc, "new", "1"));
    for (uint64_t n = 1;; n++) {
        enum torc_status status;

        torct_put(store.mvcc, "k", "0");
        torci_alloc_fail_at(n, true);
        status = merge("k", &torc_merge_append, torct_text("1"));
        torci_alloc_fail_at(0, false);
        if (status == TORC_OK)
            break;
        cr_assert_eq(status, TORC_NO_MEMORY);
        cr_assert(torct_reads(store.mvcc, "k", "0"));
    }
    cr_expect(torct_reads(store.mvcc, "k", "01"));
}

/* ---- No conflict ---- */

enum { THREADS = 6, ROUNDS = 600, SHARED = 3 };

static _Atomic(uint64_t) refused;

static const char *const SHARED_KEYS[SHARED] = {"a", "b", "c"};

static void
add_to(struct torc_txn *txn, const char *key)
{
    cr_assert_eq(torc_txn_merge(txn, torct_text(key), &torc_merge_add, number(1)), TORC_OK);
}

/* Transactions of merges of one key, of all keys, of two, and single merges, at both levels. */
static void
merge_only(void *context, unsigned thread)
{
    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned way = (round + thread) % 4;
        struct torc_txn *txn;

        if (way == 0) {
            for (unsigned i = 0; i < SHARED; i++)
                cr_assert_eq(merge(SHARED_KEYS[i], &torc_merge_add, number(1)), TORC_OK);
            continue;
        }
        txn = torct_begin(store.mvcc, round % 8 < 4 ? TORC_SNAPSHOT : TORC_SERIALIZABLE);
        for (unsigned i = 0; i < SHARED; i++) {
            if (way == 1 && i > 0) {
                if (torc_txn_commit(txn) != TORC_OK)
                    torci_fetch_add(&refused, UINT64_C(1), memory_order_relaxed); /* Relaxed: read after the join. */
                txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
            }
            add_to(txn, SHARED_KEYS[way == 2 ? i : SHARED - 1 - i]);
        }
        if (torc_txn_commit(txn) != TORC_OK)
            torci_fetch_add(&refused, UINT64_C(1), memory_order_relaxed); /* Relaxed: as above. */
    }
}

Test(merge, transactions_of_merges_never_conflict)
{
    torct_race(THREADS, merge_only, NULL);
    cr_expect_eq(refused, 0u);
    for (unsigned i = 0; i < SHARED; i++)
        cr_expect_eq(number_at(SHARED_KEYS[i]), THREADS * ROUNDS, "%s", SHARED_KEYS[i]);
}

/* Blind puts in between abort what is being installed, again and again: merges go on all the same. */
static void
merge_or_put(void *context, unsigned thread)
{
    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct torc_txn *txn;

        if (thread == 0) {
            cr_assert_eq(torc_mvcc_put(store.mvcc, torct_text("b"), number(0), NULL), TORC_OK);
            continue;
        }
        txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
        for (unsigned i = 0; i < SHARED; i++)
            add_to(txn, SHARED_KEYS[i]);
        /* A key of its own beside: what is written as a whole is in nobody's way. */
        cr_assert_eq(torc_txn_put(txn, torct_text(thread == 1 ? "x" : "y"), number(round)), TORC_OK);
        if (thread > 2) {
            torc_txn_abort(txn);
            continue;
        }
        if (torc_txn_commit(txn) != TORC_OK)
            torci_fetch_add(&refused, UINT64_C(1), memory_order_relaxed); /* Relaxed: as above. */
    }
}

Test(merge, goes_on_beside_blind_puts)
{
    torct_race(4, merge_or_put, NULL);
    cr_expect_eq(refused, 0u);
    cr_expect_eq(number_at("a"), 2 * ROUNDS);
    cr_expect_eq(number_at("c"), 2 * ROUNDS);
    cr_expect_eq(number_at("x"), ROUNDS - 1);
}

/* A thread that stopped in the middle of a commit, for ever: its rank is passed in the end. */
Test(merge, passes_a_thread_that_stopped)
{
    struct torc_txn *stopped = torct_begin(store.mvcc, TORC_SNAPSHOT);
    struct torct_commit commit;
    struct torc_txn *txn;

    stopped->attempts = 3 * TORCI_COMMIT_ATTEMPTS;
    torct_txn_put(stopped, "a", "stopped");
    commit = torct_commit_install(stopped);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    add_to(txn, "a");
    add_to(txn, "b");
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect_eq(torct_commit_state(&commit), TORCI_ABORTED);
    cr_expect_not(torct_commit_finish(&commit));
    cr_expect_eq(number_at("a"), 1);
}

/* Serializable transactions that only merge have read nothing, so that no reader may refuse them. */
static void
merge_or_read(void *context, unsigned thread)
{
    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct torc_txn *txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
        struct torc_slice value;

        if (thread < 2) {
            add_to(txn, "a");
            add_to(txn, "b");
            if (torc_txn_commit(txn) != TORC_OK)
                torci_fetch_add(&refused, UINT64_C(1), memory_order_relaxed); /* Relaxed: as above. */
            continue;
        }
        (void)!torc_txn_get(txn, torct_text("a"), &value);
        cr_assert_eq(torc_txn_put(txn, torct_text(thread == 2 ? "x" : "y"), number(round)), TORC_OK);
        (void)!torc_txn_commit(txn);
    }
}

Test(merge, is_never_refused_for_a_reader)
{
    torct_race(4, merge_or_read, NULL);
    cr_expect_eq(refused, 0u);
    cr_expect_eq(number_at("a"), 2 * ROUNDS);
}

/* ---- Serializable ---- */

enum { TURNS = 400 };

static int64_t
number_seen(struct torc_txn *txn, const char *key)
{
    struct torc_slice value;

    return torc_txn_get(txn, torct_text(key), &value) == TORC_OK ? (int64_t)torci_fixed64_get(value.data) : 0;
}

/* x and y begin at 0. Each round reads one and, if it is even, adds to the other what makes it odd; a serial order lets
 * at most one of the two be odd. (Write skew, with merges for writes.) */
static void
skew(void *context, unsigned thread)
{
    const char *mine = thread % 2 == 0 ? "x" : "y";
    const char *others = thread % 2 == 0 ? "y" : "x";

    (void)context;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        struct torc_txn *txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
        int64_t x;
        int64_t y;

        if (number_seen(txn, others) % 2 == 0) {
            cr_assert_eq(torc_txn_merge(txn, torct_text(mine), &torc_merge_add, number(1)), TORC_OK);
            (void)!torc_txn_commit(txn);
        } else {
            torc_txn_abort(txn);
        }
        txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
        x = number_seen(txn, "x");
        y = number_seen(txn, "y");
        cr_assert(x % 2 == 0 || y % 2 == 0, "both are odd");
        if (x % 2 != 0 || y % 2 != 0) {
            cr_assert_eq(torc_txn_merge(txn, torct_text(x % 2 != 0 ? "x" : "y"), &torc_merge_add, number(1)), TORC_OK);
            (void)!torc_txn_commit(txn);
        } else {
            torc_txn_abort(txn);
        }
    }
}

Test(merge, of_serializable_transactions_shows_no_write_skew)
{
    torct_race(4, skew, NULL);
}

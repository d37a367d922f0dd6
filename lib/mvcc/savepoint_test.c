/* SPDX-License-Identifier: MIT */
/* Savepoints: what comes back, what stays, what is freed. */
#include <criterion/criterion.h>

#include <limits.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "mvcc/mvcc_testing.h"

static struct torct_store store;
static struct torc_txn *txn;

static void
create(void)
{
    torct_store_open(&store);
    torct_put(store.mvcc, "old", "o");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
}

static void
destroy(void)
{
    torc_txn_abort(txn);
    torct_store_close(&store);
}

TestSuite(savepoint, .init = create, .fini = destroy, .timeout = 60);

static void
mark(const char *name)
{
    cr_assert_eq(torc_txn_savepoint(txn, torct_text(name)), TORC_OK);
}

static void
back_to(const char *name)
{
    cr_assert_eq(torc_txn_rollback_to(txn, torct_text(name)), TORC_OK, "rollback to %s", name);
}

static void
release(const char *name)
{
    cr_assert_eq(torc_txn_release(txn, torct_text(name)), TORC_OK, "release %s", name);
}

static void
append(const char *key, const char *operand)
{
    cr_assert_eq(torc_txn_merge(txn, torct_text(key), &torc_merge_append, torct_text(operand)), TORC_OK);
}

/* Commit, and begin anew for destroy(). */
static void
commit(void)
{
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
}

Test(savepoint, rollback_takes_back_what_was_written_since)
{
    torct_txn_put(txn, "a", "1");
    mark("s");
    torct_txn_put(txn, "a", "2");
    torct_txn_put(txn, "b", "2");
    cr_assert_eq(torc_txn_delete(txn, torct_text("old")), TORC_OK);
    back_to("s");
    cr_expect(torct_txn_reads(txn, "a", "1"));
    cr_expect(torct_txn_reads(txn, "b", NULL));
    cr_expect(torct_txn_reads(txn, "old", "o"));
    commit();
    cr_expect(torct_reads(store.mvcc, "a", "1"));
    cr_expect(torct_reads(store.mvcc, "b", NULL));
    cr_expect(torct_reads(store.mvcc, "old", "o"));
}

Test(savepoint, stays_after_a_rollback)
{
    mark("s");
    for (unsigned i = 0; i < 3; i++) {
        torct_txn_put(txn, "a", "1");
        torct_txn_put(txn, "a", "2");
        back_to("s");
        cr_expect(torct_txn_reads(txn, "a", NULL));
    }
    cr_expect_eq(txn->writes.count, 0u);
}

Test(savepoint, release_keeps_what_was_written)
{
    mark("s");
    torct_txn_put(txn, "a", "1");
    release("s");
    cr_expect_eq(torc_txn_rollback_to(txn, torct_text("s")), TORC_NOT_FOUND);
    cr_expect(torct_txn_reads(txn, "a", "1"));
    commit();
    cr_expect(torct_reads(store.mvcc, "a", "1"));
}

Test(savepoint, nest)
{
    torct_txn_put(txn, "k", "0");
    mark("a");
    torct_txn_put(txn, "k", "1");
    mark("b");
    torct_txn_put(txn, "k", "2");
    mark("c");
    torct_txn_put(txn, "k", "3");
    torct_txn_put(txn, "l", "3");
    release("c");
    cr_expect(torct_txn_reads(txn, "k", "3"));
    back_to("b");
    cr_expect(torct_txn_reads(txn, "k", "1"));
    cr_expect(torct_txn_reads(txn, "l", NULL));
    torct_txn_put(txn, "k", "4");
    back_to("a");
    cr_expect(torct_txn_reads(txn, "k", "0"));
    cr_expect_eq(torc_txn_rollback_to(txn, torct_text("b")), TORC_NOT_FOUND, "gone with the rollback to a");
    torct_txn_put(txn, "k", "5");
    mark("b");
    torct_txn_put(txn, "k", "6");
    release("a");
    cr_expect_eq(torc_txn_release(txn, torct_text("b")), TORC_NOT_FOUND, "gone with the release of a");
    cr_expect(torct_txn_reads(txn, "k", "6"));
}

/* A number that was given to a savepoint that is gone must not be taken for the one that is there. */
Test(savepoint, made_after_others_were_released_keeps_its_own_notes)
{
    mark("a");
    torct_txn_put(txn, "k", "1");
    mark("b");
    torct_txn_put(txn, "k", "2");
    release("b");
    mark("c");
    torct_txn_put(txn, "k", "3");
    back_to("c");
    cr_expect(torct_txn_reads(txn, "k", "2"));
    back_to("a");
    cr_expect(torct_txn_reads(txn, "k", NULL));
}

Test(savepoint, of_one_name_the_last_is_meant)
{
    mark("s");
    torct_txn_put(txn, "k", "1");
    mark("s");
    torct_txn_put(txn, "k", "2");
    back_to("s");
    cr_expect(torct_txn_reads(txn, "k", "1"));
    release("s");
    back_to("s");
    cr_expect(torct_txn_reads(txn, "k", NULL));
    release("s");
    cr_expect_eq(torc_txn_release(txn, torct_text("s")), TORC_NOT_FOUND);
}

Test(savepoint, names_may_be_empty_and_have_any_bytes)
{
    char name[TORC_NAME_SIZE_MAX + 1] = {0};

    cr_expect_eq(torc_txn_savepoint(txn, torc_slice(NULL, 0)), TORC_OK);
    cr_expect_eq(torc_txn_savepoint(txn, torc_slice(name, 1)), TORC_OK);
    cr_expect_eq(torc_txn_savepoint(txn, torc_slice(name, TORC_NAME_SIZE_MAX)), TORC_OK);
    cr_expect_eq(torc_txn_savepoint(txn, torc_slice(name, TORC_NAME_SIZE_MAX + 1)), TORC_TOO_LARGE);
    cr_expect_eq(torc_txn_release(txn, torc_slice(name, TORC_NAME_SIZE_MAX)), TORC_OK);
    cr_expect_eq(torc_txn_release(txn, torc_slice(name, 1)), TORC_OK);
    cr_expect_eq(torc_txn_release(txn, torc_slice(name, 0)), TORC_OK);
    cr_expect_eq(torc_txn_release(txn, torc_slice(name, 0)), TORC_NOT_FOUND);
}

Test(savepoint, bad_input_changes_nothing)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_txn *reader;
    struct torc_slice bad = {NULL, 1};

    mark("s");
    torct_txn_put(txn, "k", "1");
    cr_expect_eq(torc_txn_savepoint(NULL, torct_text("s")), TORC_INVALID);
    cr_expect_eq(torc_txn_rollback_to(NULL, torct_text("s")), TORC_INVALID);
    cr_expect_eq(torc_txn_release(NULL, torct_text("s")), TORC_INVALID);
    cr_expect_eq(torc_txn_savepoint(txn, bad), TORC_INVALID);
    cr_expect_eq(torc_txn_rollback_to(txn, bad), TORC_INVALID);
    cr_expect_eq(torc_txn_release(txn, bad), TORC_INVALID);
    cr_expect_eq(torc_txn_rollback_to(txn, torct_text("S")), TORC_NOT_FOUND);
    cr_expect(torct_txn_reads(txn, "k", "1"));

    cr_assert_eq(torc_txn_begin(store.mvcc, &options, &reader), TORC_OK);
    cr_expect_eq(torc_txn_savepoint(reader, torct_text("s")), TORC_READ_ONLY);
    cr_expect_eq(torc_txn_rollback_to(reader, torct_text("s")), TORC_NOT_FOUND);
    cr_assert_eq(torc_txn_commit(reader), TORC_OK);
    cr_expect_eq(torc_txn_savepoint(reader, torct_text("s")), TORC_FINISHED);
    cr_expect_eq(torc_txn_rollback_to(reader, torct_text("s")), TORC_FINISHED);
    cr_expect_eq(torc_txn_release(reader, torct_text("s")), TORC_FINISHED);
}

Test(savepoint, ends_with_its_transaction)
{
    mark("s");
    torct_txn_put(txn, "k", "1");
    commit();
    cr_expect_eq(torc_txn_rollback_to(txn, torct_text("s")), TORC_NOT_FOUND);
    mark("s");
    torc_txn_abort(txn);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_rollback_to(txn, torct_text("s")), TORC_NOT_FOUND);
}

Test(savepoint, restores_operands_that_wait_for_merging)
{
    append("old", "1");
    append("new", "1");
    mark("a");
    append("old", "2");
    append("new", "2");
    append("other", "2");
    mark("b");
    append("old", "3");
    cr_expect(torct_txn_reads(txn, "old", "o123"), "the read makes the merge a put");
    append("old", "4");
    cr_expect(torct_txn_reads(txn, "old", "o1234"));
    back_to("b");
    append("old", "5");
    cr_expect(torct_txn_reads(txn, "old", "o125"));
    back_to("a");
    torct_put(store.mvcc, "old", "p"); /* No conflict: what is left is a merge again. */
    commit();
    cr_expect(torct_reads(store.mvcc, "old", "p1"));
    cr_expect(torct_reads(store.mvcc, "new", "1"));
    cr_expect(torct_reads(store.mvcc, "other", NULL));
}

Test(savepoint, a_key_that_was_taken_back_can_be_written_again)
{
    mark("s");
    torct_txn_put(txn, "k", "1");
    back_to("s");
    torct_txn_put(txn, "k", "2");
    mark("t");
    cr_assert_eq(torc_txn_delete(txn, torct_text("k")), TORC_OK);
    back_to("t");
    commit();
    cr_expect(torct_reads(store.mvcc, "k", "2"));
}

Test(savepoint, rollback_of_everything_commits_as_nothing)
{
    mark("s");
    torct_txn_put(txn, "k", "1");
    torct_txn_put(txn, "old", "1");
    back_to("s");
    torct_put(store.mvcc, "old", "2");
    commit();
    cr_expect_eq(torc_last_commit(), 0u, "nothing was written");
    cr_expect(torct_reads(store.mvcc, "old", "2"));
}

Test(savepoint, cursors_stay_where_they_stood)
{
    struct torc_cursor *cursor;
    struct torc_slice key;
    struct torc_slice first;
    struct torc_slice value;

    mark("s");
    torct_txn_put(txn, "a", "1");
    torct_txn_put(txn, "b", "1");
    torct_txn_put(txn, "c", "1");
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    cr_assert_eq(torc_cursor_next(cursor, &first, &value), TORC_OK);
    cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
    cr_assert(torct_slice_is(key, "b"));
    back_to("s");
    cr_expect(torct_slice_is(first, "a"), "the key is lent until the transaction ends");
    torct_txn_put(txn, "bb", "2");
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
    cr_expect(torct_slice_is(key, "bb"));
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
    cr_expect(torct_slice_is(key, "old"));
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_END);
}

Test(savepoint, reads_since_then_still_count)
{
    struct torc_txn *serial = torct_begin(store.mvcc, TORC_SERIALIZABLE);

    cr_assert_eq(torc_txn_savepoint(serial, torct_text("s")), TORC_OK);
    cr_expect(torct_txn_reads(serial, "old", "o"));
    cr_assert_eq(torc_txn_rollback_to(serial, torct_text("s")), TORC_OK);
    torct_put(store.mvcc, "old", "p");
    torct_txn_put(serial, "k", "1");
    cr_expect_eq(torc_txn_commit(serial), TORC_CONFLICT);
}

/* Versions that a savepoint keeps are counted, and go when nobody can go back to them. */
/* The write stood for what was found; when it is taken back, what was found must still be right. */
Test(savepoint, what_a_condition_found_counts_as_read_after_a_rollback)
{
    struct torc_slice old = torct_text("o"), next = torct_text("n"), value;

    for (unsigned i = 0; i < 4; i++) {
        torc_txn_abort(txn);
        torct_put(store.mvcc, "old", "o");
        txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
        mark("a");
        if (i == 0)
            cr_assert_eq(torc_txn_put_if_absent(txn, torct_text("absent"), next), TORC_OK);
        else if (i == 1)
            cr_assert_eq(torc_txn_delete(txn, torct_text("old")), TORC_OK);
        else if (i == 2)
            cr_assert_eq(torc_txn_compare_and_set(txn, torct_text("old"), &old, &next), TORC_OK);
        else
            cr_assert_eq(torc_txn_get_for_update(txn, torct_text("old"), &value), TORC_OK);
        back_to("a");
        cr_assert_eq(torc_txn_put(txn, torct_text("other"), next), TORC_OK);
        torct_put(store.mvcc, "absent", "x");
        torct_put(store.mvcc, "old", "x");
        cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT, "kind %u", i);
        cr_assert_eq(torc_mvcc_delete(store.mvcc, torct_text("absent")), TORC_OK);
        txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    }
}

Test(savepoint, keeps_one_former_value_of_each_key)
{
    static char big[4096];
    uint64_t before;

    cr_assert_eq(torc_txn_put(txn, torct_text("k"), torc_slice(big, sizeof big)), TORC_OK);
    mark("s");
    before = torc_txn_bytes(txn);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(torc_txn_put(txn, torct_text("k"), torc_slice(big, sizeof big)), TORC_OK);
    cr_expect_geq(torc_txn_bytes(txn), before + sizeof big);
    cr_expect_lt(torc_txn_bytes(txn), before + 2 * sizeof big);
    release("s");
    cr_expect_lt(torc_txn_bytes(txn), before + sizeof big);
    mark("s");
    cr_assert_eq(torc_txn_put(txn, torct_text("k"), torc_slice(big, sizeof big)), TORC_OK);
    back_to("s");
    cr_expect_lt(torc_txn_bytes(txn), before + sizeof big);
    mark("t");
    cr_assert_eq(torc_txn_put(txn, torct_text("k"), torc_slice(big, sizeof big)), TORC_OK);
    release("s");
    cr_expect_lt(torc_txn_bytes(txn), before + sizeof big);
    mark("a");
    cr_assert_eq(torc_txn_put(txn, torct_text("k"), torc_slice(big, sizeof big)), TORC_OK);
    mark("b");
    cr_assert_eq(torc_txn_put(txn, torct_text("k"), torc_slice(big, sizeof big)), TORC_OK);
    cr_expect_geq(torc_txn_bytes(txn), before + 2 * sizeof big);
    release("b");
    cr_expect_lt(torc_txn_bytes(txn), before + 2 * sizeof big, "a's note is the older one");
}

/* ---- Want of memory ---- */

/* Every step with the n-th allocation failing: either it is done, or nothing has changed. */
Test(savepoint, survives_a_failure_at_every_allocation)
{
    for (uint64_t n = 1; n <= 12; n++) {
        char name[8];
        enum torc_status status;
        bool had;

        snprintf(name, sizeof name, "n%u", (unsigned)n);
        mark("s");
        had = torct_txn_reads(txn, "k", "1");
        torci_alloc_fail_at(n, true);
        status = torc_txn_savepoint(txn, torct_text(name));
        if (status == TORC_OK)
            status = torc_txn_put(txn, torct_text("k"), torct_text("1"));
        else
            cr_expect_eq(torc_txn_release(txn, torct_text(name)), TORC_NOT_FOUND);
        if (status == TORC_OK)
            status = torc_txn_merge(txn, torct_text("m"), &torc_merge_append, torct_text("x"));
        cr_expect(status == TORC_OK || status == TORC_NO_MEMORY);
        /* Going back never needs memory. */
        cr_expect_eq(torc_txn_rollback_to(txn, torct_text("s")), TORC_OK);
        torci_alloc_fail_at(0, false);
        cr_expect_eq(torct_txn_reads(txn, "k", "1"), had);
        cr_expect(torct_txn_reads(txn, "m", NULL));
    }
}

/* ---- A model ---- */

enum { KEYS = 9, DEPTH = 10, VALUE = 400, STEPS = 3000 };

struct model {
    char values[KEYS][VALUE];       /* "": none. */
};

static void
key_of(char key[8], unsigned number)
{
    snprintf(key, 8, "k%u", number);
}

static void
expect_model(const struct model *model)
{
    struct torc_scan_options options = {.prefix = torct_text("k")};
    struct torc_cursor *cursor;
    struct torc_slice found;
    struct torc_slice value;
    char key[8];

    cr_assert_eq(torc_txn_scan(txn, &options, &cursor), TORC_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        if (model->values[i][0] == '\0')
            continue;
        key_of(key, i);
        cr_assert_eq(torc_cursor_next(cursor, &found, &value), TORC_OK);
        cr_assert(torct_slice_is(found, key));
        cr_assert(torct_slice_is(value, model->values[i]), "%s is %.*s, not %s", key, (int)value.size,
                  (const char *)value.data, model->values[i]);
    }
    cr_assert_eq(torc_cursor_next(cursor, &found, &value), TORC_END);
    torc_cursor_close(cursor);
}

static void
change(struct model *model, struct torci_random *random)
{
    unsigned number = (unsigned)torci_random_below(random, KEYS);
    char *value = model->values[number];
    char operand[4] = {(char)('a' + torci_random_below(random, 26)), '\0'};
    enum torc_status status;
    char key[8];

    key_of(key, number);
    switch (torci_random_below(random, 5)) {
    case 0:
        cr_assert_eq(torc_txn_put(txn, torct_text(key), torct_text(operand)), TORC_OK);
        strcpy(value, operand);
        break;
    case 1:
        status = torc_txn_delete(txn, torct_text(key));
        cr_assert_eq(status, value[0] != '\0' ? TORC_OK : TORC_NOT_FOUND);
        value[0] = '\0';
        break;
    case 2:
        status = torc_txn_put_if_absent(txn, torct_text(key), torct_text(operand));
        cr_assert_eq(status, value[0] == '\0' ? TORC_OK : TORC_EXISTS);
        if (status == TORC_OK)
            strcpy(value, operand);
        break;
    default:
        if (strlen(value) + 2 > VALUE)
            break;
        cr_assert_eq(torc_txn_merge(txn, torct_text(key), &torc_merge_append, torct_text(operand)), TORC_OK);
        strcat(value, operand);
    }
}

Test(savepoint, agrees_with_a_stack_of_copies)
{
    static struct model now;
    static struct model saved[DEPTH];
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned depth = 0;
    unsigned name;
    char names[DEPTH][8];

    for (unsigned step = 0; step < STEPS; step++) {
        switch (torci_random_below(&random, 16)) {
        case 0:
        case 1:
            if (depth == DEPTH)
                break;
            snprintf(names[depth], 8, "s%u", depth);
            mark(names[depth]);
            saved[depth++] = now;
            break;
        case 2:
            if (depth == 0)
                break;
            name = (unsigned)torci_random_below(&random, depth);
            back_to(names[name]);
            now = saved[name];
            depth = name + 1;
            break;
        case 3:
            if (depth == 0)
                break;
            name = (unsigned)torci_random_below(&random, depth);
            release(names[name]);
            depth = name;
            break;
        case 4:
            expect_model(&now);
            break;
        case 5:
            if (torci_random_below(&random, 4) > 0)
                break;
            commit();
            depth = 0;
            expect_model(&now);
            break;
        default:
            change(&now, &random);
        }
    }
    expect_model(&now);
}

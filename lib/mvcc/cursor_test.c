/* SPDX-License-Identifier: MIT */
#include <torc/mvcc.h>

#include "mvcc/index_testing.h"
#include "mvcc/mvcc_testing.h"

static struct torct_store store;
static struct torc_txn *txn;

static void
create(void)
{
    torct_store_open(&store);
    txn = NULL;
}

static void
destroy(void)
{
    torc_txn_abort(txn);
    torct_store_close(&store);
}

TestSuite(cursor, .init = create, .fini = destroy, .timeout = 60);
TestSuite(cursor_model, .init = create, .fini = destroy, .timeout = 120);

static struct torc_cursor *
scan(const char *from, const char *to, const char *prefix, bool reverse)
{
    struct torc_scan_options options = {
        .from = torct_text(from), .to = torct_text(to), .prefix = torct_text(prefix), .reverse = reverse};
    struct torc_cursor *cursor;

    cr_assert_eq(torc_txn_scan(txn, &options, &cursor), TORC_OK);
    return cursor;
}

static void
expect_next(struct torc_cursor *cursor, const char *key, const char *value)
{
    struct torc_slice shown_key, shown_value;

    cr_assert_eq(torc_cursor_next(cursor, &shown_key, &shown_value), TORC_OK, "%s", key);
    cr_assert(torct_slice_is(shown_key, key), "%.*s, not %s", (int)shown_key.size, (const char *)shown_key.data, key);
    cr_assert(torct_slice_is(shown_value, value), "%s: %.*s", key, (int)shown_value.size,
              (const char *)shown_value.data);
}

static void
expect_end(struct torc_cursor *cursor)
{
    struct torc_slice key = torct_text("x"), value = key;

    cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_END);
    cr_assert(key.size == 0 && value.size == 0);
}

/* ---- Model: bounds, prefixes and directions over keys that are hard to sort ---- */

enum { KEYS = 60, SCANS = 40 };

/* Which of `keys` have a value, and which: by generation; 0: none. */
static struct torct_key keys[KEYS];
static unsigned committed[KEYS];
static unsigned visible[KEYS];

static struct torc_slice
value_of(const unsigned *generation)
{
    return torc_slice(generation, sizeof *generation);
}

static struct torc_slice
some_bound(struct torci_random *random, struct torct_key *memory)
{
    if (torci_random_one_in(random, 3))
        return torc_slice(NULL, 0);
    *memory = torci_random_one_in(random, 2) ? keys[torci_random_below(random, KEYS)] : torct_key_random(random);
    return torct_key_slice(memory);
}

static struct torc_slice
some_prefix(struct torci_random *random, struct torct_key *memory)
{
    struct torc_slice prefix = some_bound(random, memory);

    if (torci_random_one_in(random, 4)) {
        memset(memory->bytes, 0xff, sizeof memory->bytes);
        return torc_slice(memory->bytes, 1 + torci_random_below(random, 2));
    }
    if (prefix.size > 1)
        prefix.size = 1 + (size_t)torci_random_below(random, prefix.size);
    if (prefix.size > 1 && torci_random_one_in(random, 4))
        memory->bytes[prefix.size - 1] = 0xff;
    return prefix;
}

static bool
within(struct torc_slice key, const struct torc_scan_options *options)
{
    if (options->from.size > 0 && torci_key_compare(key, options->from) < 0)
        return false;
    if (options->to.size > 0 && torci_key_compare(key, options->to) >= 0)
        return false;
    return key.size >= options->prefix.size &&
           (options->prefix.size == 0 || memcmp(key.data, options->prefix.data, options->prefix.size) == 0);
}

/* Compare one whole scan with the sorted array. */
static void
compare_scan(const struct torc_scan_options *options)
{
    struct torc_cursor *cursor;
    struct torc_slice key, value;

    cr_assert_eq(torc_txn_scan(txn, options, &cursor), TORC_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned at = options->reverse ? KEYS - 1 - i : i;

        if (visible[at] == 0 || !within(torct_key_slice(&keys[at]), options))
            continue;
        cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
        cr_assert_eq(torci_key_compare(key, torct_key_slice(&keys[at])), 0);
        cr_assert_eq(torci_key_compare(value, value_of(&visible[at])), 0);
    }
    expect_end(cursor);
    expect_end(cursor);
    torc_cursor_close(cursor);
}

static void
scan_at_random(struct torci_random *random)
{
    for (unsigned i = 0; i < SCANS; i++) {
        struct torct_key from, to, prefix;
        struct torc_scan_options options = {.reverse = torci_random_one_in(random, 2)};

        options.from = some_bound(random, &from);
        options.to = some_bound(random, &to);
        if (torci_random_one_in(random, 2))
            options.prefix = some_prefix(random, &prefix);
        compare_scan(&options);
    }
}

/* Put or delete keys of the store. */
static void
change_store(struct torci_random *random, unsigned *generation)
{
    for (unsigned i = 0; i < KEYS; i++) {
        if (torci_random_one_in(random, 3)) {
            committed[i] = ++*generation;
            cr_assert_eq(torc_mvcc_put(store.mvcc, torct_key_slice(&keys[i]), value_of(&committed[i]), NULL), TORC_OK);
        } else if (torci_random_one_in(random, 3)) {
            cr_assert_eq(torc_mvcc_delete(store.mvcc, torct_key_slice(&keys[i])),
                         committed[i] != 0 ? TORC_OK : TORC_NOT_FOUND);
            committed[i] = 0;
        }
    }
}

/* The same inside the transaction. */
static void
change_own(struct torci_random *random, unsigned *generation)
{
    for (unsigned i = 0; i < KEYS; i++) {
        if (torci_random_one_in(random, 5)) {
            visible[i] = ++*generation;
            cr_assert_eq(torc_txn_put(txn, torct_key_slice(&keys[i]), value_of(&visible[i])), TORC_OK);
        } else if (torci_random_one_in(random, 5)) {
            cr_assert_eq(torc_txn_delete(txn, torct_key_slice(&keys[i])), visible[i] != 0 ? TORC_OK : TORC_NOT_FOUND);
            visible[i] = 0;
        }
    }
}

static void
run_model(enum torc_isolation isolation, bool writes)
{
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned generation = 0;

    for (unsigned round = 0; round < 12; round++) {
        if (round % 4 == 0) {
            for (unsigned i = 0; i < KEYS; i++)
                if (committed[i] != 0)
                    cr_assert_eq(torc_mvcc_delete(store.mvcc, torct_key_slice(&keys[i])), TORC_OK);
            memset(committed, 0, sizeof committed);
            torct_keys_fill(keys, KEYS, &random);
        }
        change_store(&random, &generation);
        txn = torct_begin(store.mvcc, isolation);
        memcpy(visible, committed, sizeof visible);
        if (writes)
            change_own(&random, &generation);
        else
            change_store(&random, &generation); /* After the snapshot: not to be seen. */
        scan_at_random(&random);
        if (writes) {
            cr_assert_eq(torc_txn_commit(txn), TORC_OK);
            memcpy(committed, visible, sizeof committed);
        } else {
            torc_txn_abort(txn);
        }
        txn = NULL;
    }
}

Test(cursor_model, shows_a_snapshot_within_bounds_and_prefix_in_both_directions)
{
    run_model(TORC_SNAPSHOT, false);
}

Test(cursor_model, merges_own_writes)
{
    run_model(TORC_SNAPSHOT, true);
}

Test(cursor_model, merges_own_writes_of_a_serializable_transaction)
{
    run_model(TORC_SERIALIZABLE, true);
}

/* ---- Bounds by hand ---- */

Test(cursor, a_prefix_of_the_greatest_bytes_has_no_upper_bound)
{
    torct_put(store.mvcc, "\xfe\xff", "1");
    torct_put(store.mvcc, "\xff", "2");
    torct_put(store.mvcc, "\xff\xff", "3");
    torct_put(store.mvcc, "\xff\xff\x01", "4");
    torct_put(store.mvcc, "\xff\xff\xff", "5");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned reverse = 0; reverse < 2; reverse++) {
        struct torc_cursor *cursor = scan("", "", "\xff\xff", reverse == 1);

        expect_next(cursor, reverse ? "\xff\xff\xff" : "\xff\xff", reverse ? "5" : "3");
        expect_next(cursor, "\xff\xff\x01", "4");
        expect_next(cursor, reverse ? "\xff\xff" : "\xff\xff\xff", reverse ? "3" : "5");
        expect_end(cursor);
    }
}

Test(cursor, a_prefix_ends_where_its_last_byte_is_carried_over)
{
    torct_put(store.mvcc, "a\xff", "1");
    torct_put(store.mvcc, "a\xff\xff", "2");
    torct_put(store.mvcc, "b", "3");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    struct torc_cursor *cursor = scan("", "", "a\xff", true);
    expect_next(cursor, "a\xff\xff", "2");
    expect_next(cursor, "a\xff", "1");
    expect_end(cursor);
}

Test(cursor, zero_bytes_order_keys_that_begin_with_one_another)
{
    struct torc_slice key;
    struct torc_cursor *cursor;

    for (size_t size = 1; size <= 5; size++)
        cr_assert_eq(torc_mvcc_put(store.mvcc, torc_slice("k\0\0\0\0", size), torct_text("v"), NULL), TORC_OK);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cursor = scan("", "", "", true);
    for (size_t size = 5; size > 0; size--) {
        cr_assert_eq(torc_cursor_next(cursor, &key, NULL), TORC_OK);
        cr_expect_eq(key.size, size);
    }
    expect_end(cursor);
}

Test(cursor, bounds_that_cross_or_meet_are_an_empty_range)
{
    torct_put(store.mvcc, "b", "1");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_txn_put(txn, "bb", "own");
    for (unsigned reverse = 0; reverse < 2; reverse++) {
        expect_end(scan("c", "a", "", reverse == 1));
        expect_end(scan("b", "b", "", reverse == 1));
        expect_end(scan("bbb", "", "bb", reverse == 1));
        expect_end(scan("", "b", "b", reverse == 1));
        expect_end(scan("", "a", "b", reverse == 1));
    }
}

Test(cursor, refuses_bounds_that_are_none)
{
    static char huge[TORC_KEY_SIZE_MAX + 1];
    struct torc_scan_options options = {.from = torc_slice(huge, sizeof huge)};
    struct torc_cursor *cursor;
    struct torc_slice key;

    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_expect_eq(torc_txn_scan(txn, &options, &cursor), TORC_TOO_LARGE);
    cr_expect_null(cursor);
    options = (struct torc_scan_options){.prefix = torc_slice(NULL, 1)};
    cr_expect_eq(torc_txn_scan(txn, &options, &cursor), TORC_INVALID);
    cr_expect_null(cursor);
    cr_expect_eq(torc_txn_scan(txn, NULL, NULL), TORC_INVALID);
    cr_expect_eq(torc_txn_scan(NULL, NULL, &cursor), TORC_INVALID);
    cr_expect_eq(torc_cursor_next(NULL, &key, NULL), TORC_INVALID);
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    cr_expect_eq(torc_cursor_next(cursor, NULL, NULL), TORC_INVALID);
    torc_cursor_close(NULL);
}

Test(cursor, copies_its_bounds)
{
    char from[] = "b", to[] = "d", prefix[] = "c";
    struct torc_scan_options options = {.from = torct_text(from), .to = torct_text(to), .prefix = torct_text(prefix)};
    struct torc_cursor *cursor;

    torct_put(store.mvcc, "c", "1");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_assert_eq(torc_txn_scan(txn, &options, &cursor), TORC_OK);
    from[0] = to[0] = prefix[0] = 'z';
    expect_next(cursor, "c", "1");
    expect_end(cursor);
}

/* ---- Changing what is being scanned ---- */

Test(cursor, shows_own_writes_as_they_are_when_it_comes_to_them)
{
    struct torc_cursor *cursor;

    torct_put(store.mvcc, "b", "1");
    torct_put(store.mvcc, "d", "1");
    torct_put(store.mvcc, "f", "1");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cursor = scan("", "", "", false);
    expect_next(cursor, "b", "1");
    torct_txn_put(txn, "a", "behind");
    torct_txn_put(txn, "b", "behind");
    torct_txn_put(txn, "c", "ahead");
    torct_txn_put(txn, "d", "ahead");
    expect_next(cursor, "c", "ahead");
    expect_next(cursor, "d", "ahead");
    cr_assert_eq(torc_txn_delete(txn, torct_text("f")), TORC_OK);
    cr_assert_eq(torc_txn_delete(txn, torct_text("d")), TORC_OK);
    torct_txn_put(txn, "g", "1");
    torct_txn_put(txn, "g", "2");
    expect_next(cursor, "g", "2");
    expect_end(cursor);
    cursor = scan("", "", "", true);
    expect_next(cursor, "g", "2");
    cr_assert_eq(torc_txn_delete(txn, torct_text("c")), TORC_OK);
    expect_next(cursor, "b", "behind");
    expect_next(cursor, "a", "behind");
    expect_end(cursor);
}

/* Delete each key when it is shown and put one behind it: the scan ends all the same. */
Test(cursor, comes_to_an_end_although_each_key_shown_is_changed)
{
    struct torc_cursor *cursor;
    struct torc_slice key;
    unsigned shown = 0;
    char name[16];

    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "k%03u", i);
        torct_put(store.mvcc, name, "v");
    }
    txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    cursor = scan("", "", "", false);
    while (torc_cursor_next(cursor, &key, NULL) == TORC_OK) {
        snprintf(name, sizeof name, "j%03u", shown++);
        cr_assert_eq(torc_txn_delete(txn, key), TORC_OK);
        torct_txn_put(txn, name, "moved");
    }
    cr_expect_eq(shown, 50u);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cursor = scan("", "", "", true);
    for (unsigned i = 50; i-- > 0;) {
        snprintf(name, sizeof name, "j%03u", i);
        expect_next(cursor, name, "moved");
    }
    expect_end(cursor);
}

/* Keys lent by the cursor are still good after the store dropped them. */
Test(cursor, lends_keys_and_values_until_the_transaction_ends)
{
    struct torc_slice shown_keys[40], shown_values[40];
    struct torc_cursor *cursor;
    char name[16];

    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "k%03u", i);
        torct_put(store.mvcc, name, name);
    }
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cursor = scan("", "", "", false);
    for (unsigned i = 0; i < 40; i++) {
        cr_assert_eq(torc_cursor_next(cursor, &shown_keys[i], &shown_values[i]), TORC_OK);
        cr_assert_eq(torc_mvcc_delete(store.mvcc, shown_keys[i]), TORC_OK);
    }
    torc_cursor_close(cursor);
    torct_collect(store.mvcc);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "k%03u", i);
        cr_expect(torct_slice_is(shown_keys[i], name));
        cr_expect(torct_slice_is(shown_values[i], name));
    }
}

/* ---- Dead keys ---- */

/* Thousands of records that the snapshot does not see lie between two it sees: more than one section examines. */
static void
scan_over_dead_keys(bool reverse)
{
    enum { DEAD = 1500 };
    struct torc_cursor *cursor;
    char name[16];

    torct_put(store.mvcc, "a", "1");
    torct_put(store.mvcc, "z", "2");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned i = 0; i < DEAD; i++) {
        snprintf(name, sizeof name, "k%05u", i);
        torct_put(store.mvcc, name, "later");
    }
    cursor = scan("", "", "", reverse);
    expect_next(cursor, reverse ? "z" : "a", reverse ? "2" : "1");
    expect_next(cursor, reverse ? "a" : "z", reverse ? "1" : "2");
    expect_end(cursor);

    torct_txn_put(txn, "k00700x", "own");
    cursor = scan("", "", "k", reverse);
    expect_next(cursor, "k00700x", "own");
    expect_end(cursor);
    torc_txn_abort(txn);

    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned i = 0; i < DEAD; i++) {
        snprintf(name, sizeof name, "k%05u", i);
        torct_delete(store.mvcc, name);
    }
    struct torc_txn *after = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    struct torc_txn *before = txn;
    txn = after;
    cursor = scan("", "", "", reverse);
    expect_next(cursor, reverse ? "z" : "a", reverse ? "2" : "1");
    expect_next(cursor, reverse ? "a" : "z", reverse ? "1" : "2");
    expect_end(cursor);
    torc_txn_abort(before);
}

Test(cursor, walks_over_many_dead_keys)
{
    scan_over_dead_keys(false);
}

Test(cursor, walks_backwards_over_many_dead_keys)
{
    scan_over_dead_keys(true);
}

/* The place to go on from is a copy: its record leaves while nothing is held. */
Test(cursor, goes_on_from_a_key_that_has_left_the_store)
{
    enum { DEAD = 1200 };
    struct torc_cursor *cursor;
    struct torc_txn *keeper;
    char name[16];

    torct_put(store.mvcc, "a", "1");
    for (unsigned i = 0; i < DEAD; i++) {
        snprintf(name, sizeof name, "k%05u", i);
        torct_put(store.mvcc, name, "v");
    }
    keeper = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned i = 0; i < DEAD; i++) {
        snprintf(name, sizeof name, "k%05u", i);
        torct_delete(store.mvcc, name);
    }
    torct_put(store.mvcc, "z", "2");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cursor = scan("", "", "", false);
    expect_next(cursor, "a", "1");
    torc_txn_abort(keeper);
    torct_collect(store.mvcc);
    cr_assert_null(torct_record(store.mvcc, "k00600"));
    expect_next(cursor, "z", "2");
    expect_end(cursor);
}

/* ---- Several, and too late ---- */

Test(cursor, several_of_one_transaction_do_not_disturb_one_another)
{
    enum { CURSORS = 12, COUNT = 30 };
    struct torc_cursor *cursors[CURSORS];
    char name[16];

    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "k%03u", i);
        torct_put(store.mvcc, name, "v");
    }
    txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    for (unsigned i = 0; i < CURSORS; i++)
        cursors[i] = scan("", "", "", i % 2 == 1);
    for (unsigned i = 0; i < COUNT; i++) {
        for (unsigned c = 0; c < CURSORS; c++) {
            if (c % 3 == 2 && i > c)
                continue; /* Some stop half-way. */
            snprintf(name, sizeof name, "k%03u", c % 2 == 1 ? COUNT - 1 - i : i);
            expect_next(cursors[c], name, "v");
        }
    }
    for (unsigned c = 0; c < CURSORS; c += 2)
        torc_cursor_close(cursors[c]);
    expect_end(cursors[1]);
}

Test(cursor, structs_are_used_again)
{
    struct torc_cursor *first;

    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    first = scan("", "", "", false);
    for (unsigned i = 0; i < 100; i++) {
        torc_cursor_close(first);
        torc_cursor_close(first);
        cr_assert_eq(scan("a", "b", "", i % 2 == 0), first);
    }
}

Test(cursor, of_a_closed_scan_or_an_ended_transaction_is_finished)
{
    struct torc_cursor *closed, *open;
    struct torc_slice key, value;

    torct_put(store.mvcc, "a", "1");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    closed = scan("", "", "", false);
    open = scan("", "", "", false);
    expect_next(open, "a", "1");
    torc_cursor_close(closed);
    cr_expect_eq(torc_cursor_next(closed, &key, &value), TORC_FINISHED);
    cr_expect(key.size == 0 && value.size == 0);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    txn = NULL;
    cr_expect_eq(torc_cursor_next(open, &key, &value), TORC_FINISHED);
    torc_cursor_close(open);
}

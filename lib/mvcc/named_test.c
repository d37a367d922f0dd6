/* SPDX-License-Identifier: MIT */
#include "mvcc/named.h"

#include "base/random.h"
#include "mvcc/mvcc_testing.h"

static struct torct_store store;

static void
create(void)
{
    torct_store_open(&store);
}

static void
destroy(void)
{
    torct_store_close(&store);
}

TestSuite(named, .init = create, .fini = destroy, .timeout = 60);

static struct torc_txn *
begin_named(const char *name)
{
    struct torc_txn_options options = {.snapshot = torct_text(name)};
    struct torc_txn *txn;

    cr_assert_eq(torc_txn_begin(store.mvcc, &options, &txn), TORC_OK, "%s: %s", name, torc_detail());
    return txn;
}

static enum torc_status
begins(struct torc_slice name, uint64_t at)
{
    struct torc_txn_options options = {.snapshot = name, .at = at};
    struct torc_txn *txn = (struct torc_txn *)&options;
    enum torc_status status = torc_txn_begin(store.mvcc, &options, &txn);

    cr_assert_eq(txn == NULL, status != TORC_OK);
    torc_txn_abort(txn);
    return status;
}

static void
snapshot_create(const char *name)
{
    cr_assert_eq(torc_snapshot_create(store.mvcc, torct_text(name), NULL), TORC_OK);
}

static void
snapshot_drop(const char *name)
{
    cr_assert_eq(torc_snapshot_drop(store.mvcc, torct_text(name)), TORC_OK);
}

Test(named, is_read_as_it_was_however_often_the_store_changed)
{
    struct torc_txn *txn;
    uint64_t stamp = 0;

    torct_put(store.mvcc, "k", "then");
    cr_assert_eq(torc_snapshot_create(store.mvcc, torct_text("s"), &stamp), TORC_OK);
    for (unsigned i = 0; i < 100; i++)
        torct_put(store.mvcc, "k", "now");
    torct_put(store.mvcc, "new", "now");
    torct_delete(store.mvcc, "k");
    torct_collect(store.mvcc);
    for (unsigned round = 0; round < 3; round++) {
        txn = begin_named("s");
        cr_expect_eq(torc_txn_snapshot(txn), stamp);
        cr_expect(torct_txn_reads(txn, "k", "then"));
        cr_expect(torct_txn_reads(txn, "new", NULL));
        torc_txn_abort(txn);
    }
    cr_expect(torct_reads(store.mvcc, "k", NULL));
}

Test(named, may_be_written_on_and_conflicts_with_what_came_since)
{
    struct torc_txn *txn;

    torct_put(store.mvcc, "a", "then");
    torct_put(store.mvcc, "b", "then");
    snapshot_create("s");
    torct_put(store.mvcc, "a", "now");
    txn = begin_named("s");
    cr_expect_eq(torc_txn_delete(txn, torct_text("a")), TORC_CONFLICT);
    torct_txn_put(txn, "b", "x");
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "b", "x"));
}

Test(named, that_is_dropped_stays_for_those_who_read_it)
{
    struct torc_txn *first, *second;

    torct_put(store.mvcc, "k", "then");
    snapshot_create("s");
    first = begin_named("s");
    second = begin_named("s");
    snapshot_drop("s");
    cr_expect_eq(begins(torct_text("s"), 0), TORC_NOT_FOUND);
    torct_put(store.mvcc, "k", "now");
    torct_collect(store.mvcc);
    torc_txn_abort(first);
    torct_collect(store.mvcc);
    cr_expect(torct_txn_reads(second, "k", "then"));
    torc_txn_abort(second);
    torct_put(store.mvcc, "k", "later");
    torct_collect(store.mvcc);
    cr_expect_eq(torct_stats(store.mvcc).versions_created - torct_stats(store.mvcc).versions_freed, 1u);
}

Test(named, holds_back_versions_until_it_is_dropped)
{
    struct torc_mvcc_stats stats;

    torct_put(store.mvcc, "k", "then");
    snapshot_create("s");
    torct_put(store.mvcc, "k", "now");
    torct_collect(store.mvcc);
    stats = torct_stats(store.mvcc);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 2u);
    snapshot_drop("s");
    torct_put(store.mvcc, "k", "later");
    torct_collect(store.mvcc);
    stats = torct_stats(store.mvcc);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 1u);
}

Test(named, names_are_unique_and_may_be_used_again)
{
    uint64_t stamp = 77;
    uint64_t first = 0;

    cr_assert_eq(torc_snapshot_create(store.mvcc, torct_text("s"), &first), TORC_OK);
    torct_put(store.mvcc, "k", "v");
    cr_expect_eq(torc_snapshot_create(store.mvcc, torct_text("s"), &stamp), TORC_EXISTS);
    cr_expect_eq(stamp, 0u);
    snapshot_create("s\1");
    snapshot_drop("s");
    cr_expect_eq(torc_snapshot_drop(store.mvcc, torct_text("s")), TORC_NOT_FOUND);
    cr_assert_eq(torc_snapshot_create(store.mvcc, torct_text("s"), &stamp), TORC_OK);
    cr_expect_gt(stamp, first);
}

Test(named, are_listed_and_are_no_open_transactions)
{
    struct torc_snapshot_info infos[4];
    struct torc_txn *txn;
    size_t count;

    snapshot_create("oldest");
    torct_put(store.mvcc, "k", "v");
    snapshot_create("newest");
    cr_expect_eq(torct_stats(store.mvcc).open_transactions, 0u);
    txn = begin_named("oldest");
    cr_expect_eq(torct_stats(store.mvcc).open_transactions, 1u);
    cr_assert_eq(torc_mvcc_snapshots(store.mvcc, false, infos, 4, &count), TORC_OK);
    cr_assert_eq(count, 3u);
    cr_expect_eq(infos[0].snapshot, infos[1].snapshot);
    cr_expect(strcmp(infos[0].name, "oldest") == 0 || strcmp(infos[1].name, "oldest") == 0);
    cr_expect(strcmp(infos[0].name, "") == 0 || strcmp(infos[1].name, "") == 0);
    cr_expect_str_eq(infos[2].name, "newest");
    torc_txn_abort(txn);
}

Test(named, do_not_keep_a_store_from_closing_but_their_readers_do)
{
    struct torc_txn *txn;

    torct_put(store.mvcc, "k", "v");
    snapshot_create("a");
    snapshot_create("b");
    txn = begin_named("a");
    snapshot_drop("a");
    cr_expect_eq(torc_mvcc_close(store.mvcc), TORC_BUSY);
    torc_txn_abort(txn);
}

Test(named, refuse_what_is_no_name)
{
    static char text[TORC_NAME_SIZE_MAX + 1];
    struct torc_slice largest = torc_slice(text, TORC_NAME_SIZE_MAX), larger = torc_slice(text, sizeof text);
    uint64_t stamp = 5;

    cr_expect_eq(torc_snapshot_create(NULL, torct_text("s"), NULL), TORC_INVALID);
    cr_expect_eq(torc_snapshot_create(store.mvcc, torc_slice("", 0), &stamp), TORC_INVALID);
    cr_expect_eq(stamp, 0u);
    cr_expect_eq(torc_snapshot_create(store.mvcc, torc_slice(NULL, 3), NULL), TORC_INVALID);
    cr_expect_eq(torc_snapshot_create(store.mvcc, larger, NULL), TORC_TOO_LARGE);
    cr_expect_eq(torc_snapshot_create(store.mvcc, largest, NULL), TORC_OK);
    cr_expect_eq(begins(largest, 0), TORC_OK);
    cr_expect_eq(begins(larger, 0), TORC_TOO_LARGE);
    cr_expect_eq(begins(torc_slice(NULL, 3), 0), TORC_INVALID);
    cr_expect_eq(begins(largest, 2), TORC_INVALID, "a name and a stamp");
    cr_expect_eq(torc_snapshot_drop(NULL, largest), TORC_INVALID);
    cr_expect_eq(torc_snapshot_drop(store.mvcc, torc_slice(NULL, 1)), TORC_INVALID);
    cr_expect_eq(torc_snapshot_drop(store.mvcc, larger), TORC_TOO_LARGE);
    cr_expect_eq(torc_snapshot_drop(store.mvcc, torct_text("unknown")), TORC_NOT_FOUND);
}

#if defined(TORC_FAULTS)
static bool
create_and_drop_with_fault(uint64_t n)
{
    enum torc_status made, dropped;
    uint64_t seen;

    (void)torci_alloc_fail_at(n, false);
    made = torc_snapshot_create(store.mvcc, torct_text("s"), NULL);
    dropped = made == TORC_OK ? torc_snapshot_drop(store.mvcc, torct_text("s")) : TORC_OK;
    seen = torci_alloc_fail_at(0, false);
    cr_assert(made == TORC_OK || made == TORC_NO_MEMORY, "%s", torc_status_name(made));
    cr_assert(dropped == TORC_OK || dropped == TORC_NO_MEMORY, "%s", torc_status_name(dropped));
    if (dropped == TORC_NO_MEMORY) {
        cr_expect_eq(begins(torct_text("s"), 0), TORC_OK, "it is still there");
        snapshot_drop("s");
    }
    cr_expect_eq(begins(torct_text("s"), 0), TORC_NOT_FOUND);
    return seen >= n;
}

Test(named, want_of_memory_changes_nothing)
{
    uint64_t n = 1;

    snapshot_create("other");
    while (create_and_drop_with_fault(n))
        n++;
    cr_expect_gt(n, 3u);
}
#endif

/* ---- Races ---- */

enum { RACERS = 4, ROUNDS = 300 };

/* Each thread makes, reads and drops the same few names. The invariant: both keys are always equal. */
static void
race(void *context, unsigned number)
{
    static const char *const names[] = {"a", "b", "c"};
    struct torci_random random = torci_random_seed(number + 1);

    (void)context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const char *name = names[torci_random_below(&random, 3)];
        struct torc_txn_options options = {.snapshot = torct_text(name)};
        struct torc_slice left, right;
        struct torc_txn *txn;

        switch (torci_random_below(&random, 4)) {
        case 0:
            cr_assert(torc_snapshot_create(store.mvcc, torct_text(name), NULL) != TORC_NO_MEMORY);
            break;
        case 1:
            cr_assert(torc_snapshot_drop(store.mvcc, torct_text(name)) != TORC_NO_MEMORY);
            break;
        case 2:
            txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
            if (torc_txn_put(txn, torct_text("x"), torc_slice(&i, sizeof i)) == TORC_OK &&
                torc_txn_put(txn, torct_text("y"), torc_slice(&i, sizeof i)) == TORC_OK)
                (void)(torc_txn_commit(txn) == TORC_OK);
            else
                torc_txn_abort(txn);
            break;
        default:
            if (torc_txn_begin(store.mvcc, &options, &txn) != TORC_OK)
                break;
            cr_assert_eq(torc_txn_get(txn, torct_text("x"), &left), torc_txn_get(txn, torct_text("y"), &right));
            cr_assert(left.size == right.size && (left.size == 0 || memcmp(left.data, right.data, left.size) == 0));
            torc_txn_abort(txn);
        }
    }
}

Test(named, come_and_go_while_others_read_and_write)
{
    torct_race(RACERS, race, NULL);
    for (unsigned i = 0; i < 3; i++)
        (void)(torc_snapshot_drop(store.mvcc, torc_slice(&"abc"[i], 1)) == TORC_OK);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_stats(store.mvcc).open_transactions, 0u);
}

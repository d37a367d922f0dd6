/* SPDX-License-Identifier: MIT */
#include "mvcc/txn.h"

#include <semaphore.h>

#include "mvcc/mvcc_testing.h"

static struct torct_store store;
static struct torc_txn *txn;

static void
create(void)
{
    torct_store_open(&store);
    torct_put(store.mvcc, "a", "1");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torci_conflict_note(torc_slice(NULL, 0));
}

static void
destroy(void)
{
    torc_txn_abort(txn);
    torct_store_close(&store);
}

TestSuite(txn_life, .init = create, .fini = destroy, .timeout = 30);
TestSuite(txn_read, .init = create, .fini = destroy, .timeout = 30);
TestSuite(txn_write, .init = create, .fini = destroy, .timeout = 30);
TestSuite(txn_commit, .init = create, .fini = destroy, .timeout = 30);
TestSuite(txn_conflict, .init = create, .fini = destroy, .timeout = 30);
TestSuite(txn_get_many, .init = create, .fini = destroy, .timeout = 30);
TestSuite(txn_rank, .init = create, .fini = destroy, .timeout = 30);
TestSuite(txn_run, .init = create, .fini = destroy, .timeout = 30);
TestSuite(txn_threads, .init = create, .fini = destroy, .timeout = 60);

/* Commit the test's transaction, which destroy() then leaves alone. */
static enum torc_status
commit(void)
{
    struct torc_txn *ended = txn;

    txn = NULL;
    return torc_txn_commit(ended);
}

static enum torc_status
get(const char *key, struct torc_slice *value)
{
    return torc_txn_get(txn, torct_text(key), value);
}

static enum torc_status
put(const char *key, const char *value)
{
    return torc_txn_put(txn, torct_text(key), torct_text(value));
}

static enum torc_status
put_if_absent(const char *key, const char *value)
{
    return torc_txn_put_if_absent(txn, torct_text(key), torct_text(value));
}

static enum torc_status
delete(const char *key)
{
    return torc_txn_delete(txn, torct_text(key));
}

static bool
reads(const char *key, const char *expected)
{
    return torct_txn_reads(txn, key, expected);
}

/* ---- Life ---- */

Test(txn_life, begins_active_and_empty_with_an_even_snapshot)
{
    cr_expect_eq(txn->phase, TORCI_TXN_ACTIVE);
    cr_expect_eq(txn->writes.count, 0u);
    cr_expect_null(txn->cursors);
    cr_expect_eq(torc_txn_snapshot(txn) % 2, 0u);
    cr_expect_gt(torc_txn_snapshot(txn), torc_last_commit());
    cr_expect_eq(torc_txn_snapshot(NULL), 0u);
}

Test(txn_life, refuses_what_cannot_begin)
{
    struct torc_txn_options options = {.isolation = (enum torc_isolation)7};
    struct torc_txn *place = txn;

    cr_expect_eq(torc_txn_begin(store.mvcc, NULL, NULL), TORC_INVALID);
    cr_expect_eq(torc_txn_begin(NULL, NULL, &place), TORC_INVALID);
    cr_expect_null(place);
    place = txn;
    cr_expect_eq(torc_txn_begin(store.mvcc, &options, &place), TORC_INVALID);
    cr_expect_null(place);
}

/* Every call on a handle that has ended. */
static void
expect_finished(struct torc_txn *ended)
{
    struct torc_slice key = torct_text("a"), value = key;
    struct torc_cursor *cursor;

    cr_expect_eq(ended->phase, TORCI_TXN_FINISHED);
    cr_expect_eq(torc_txn_get(ended, key, &value), TORC_FINISHED);
    cr_expect(value.data == NULL && value.size == 0);
    cr_expect_eq(torc_txn_get_for_update(ended, key, &value), TORC_FINISHED);
    cr_expect_eq(torc_txn_put(ended, key, key), TORC_FINISHED);
    cr_expect_eq(torc_txn_put_if_absent(ended, key, key), TORC_FINISHED);
    cr_expect_eq(torc_txn_delete(ended, key), TORC_FINISHED);
    cr_expect_eq(torc_txn_scan(ended, NULL, &cursor), TORC_FINISHED);
    cr_expect_null(cursor);
    cr_expect_eq(torc_txn_commit(ended), TORC_FINISHED);
    torc_txn_abort(ended);
    cr_expect_eq(torct_stats(store.mvcc).open_transactions, 0u);
}

Test(txn_life, is_finished_by_commit)
{
    struct torc_txn *ended = txn;

    cr_assert_eq(put("b", "2"), TORC_OK);
    cr_assert_eq(commit(), TORC_OK);
    expect_finished(ended);
    cr_expect_eq(torct_stats(store.mvcc).aborts, 0u, "an abort of a finished handle is none");
}

Test(txn_life, is_finished_by_abort)
{
    struct torc_txn *ended = txn;

    cr_assert_eq(put("b", "2"), TORC_OK);
    torc_txn_abort(ended);
    txn = NULL;
    expect_finished(ended);
    cr_expect(torct_reads(store.mvcc, "b", NULL));
    cr_expect_eq(torct_stats(store.mvcc).aborts, 1u);
}

Test(txn_life, is_finished_by_a_refused_commit)
{
    struct torc_txn *ended = txn;

    cr_assert_eq(put("a", "2"), TORC_OK);
    torct_put(store.mvcc, "a", "3");
    cr_assert_eq(commit(), TORC_CONFLICT);
    expect_finished(ended);
}

Test(txn_life, a_struct_is_used_again_and_remembers_nothing)
{
    struct torc_txn *first = txn;

    cr_assert_eq(put("b", "2"), TORC_OK);
    cr_assert_eq(delete("a"), TORC_OK);
    torc_txn_abort(txn);
    txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    cr_expect_eq(txn, first);
    cr_expect(reads("a", "1"));
    cr_expect(reads("b", NULL));
    cr_assert_eq(commit(), TORC_OK);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_expect_null(txn->reads.reads);
    cr_expect(torct_reads(store.mvcc, "b", NULL));
}

Test(txn_life, makes_structs_only_when_more_are_open_than_ever_before)
{
    enum { OPEN = 20, TURNS = 50 };
    struct torc_txn *open[OPEN];
    unsigned made = 0;

    for (unsigned turn = 0; turn < TURNS; turn++) {
        for (unsigned i = 0; i < OPEN; i++)
            open[i] = torct_begin(store.mvcc, TORC_SNAPSHOT);
        for (unsigned i = 0; i < OPEN; i++)
            torc_txn_abort(open[i]);
    }
    for (struct torc_txn *each = torci_load(&store.mvcc->transactions, memory_order_seq_cst); each != NULL;
         each = each->slot.next_all)
        made++;
    cr_expect_eq(made, OPEN + 1u);
}

Test(txn_life, arguments_out_of_range_change_nothing)
{
    static char huge[TORC_KEY_SIZE_MAX + 1];
    struct torc_slice value, good = torct_text("a"), none = torc_slice(NULL, 0);

    cr_expect_eq(torc_txn_get(txn, good, NULL), TORC_INVALID);
    cr_expect_eq(torc_txn_get(NULL, good, &value), TORC_INVALID);
    cr_expect_eq(torc_txn_get(txn, none, &value), TORC_INVALID);
    cr_expect_eq(torc_txn_get(txn, torc_slice("a", 0), &value), TORC_INVALID);
    cr_expect_eq(torc_txn_get(txn, torc_slice(huge, sizeof huge), &value), TORC_TOO_LARGE);
    cr_expect_eq(value.size, 0u);
    cr_expect_eq(torc_txn_put(txn, none, good), TORC_INVALID);
    cr_expect_eq(torc_txn_put(txn, torc_slice(huge, sizeof huge), good), TORC_TOO_LARGE);
    cr_expect_eq(torc_txn_put(txn, good, torc_slice(NULL, 1)), TORC_INVALID);
    cr_expect_eq(torc_txn_put(txn, good, torc_slice(huge, (size_t)TORC_VALUE_SIZE_MAX + 1)), TORC_TOO_LARGE);
    cr_expect_eq(torc_txn_delete(txn, none), TORC_INVALID);
    cr_expect_eq(torc_txn_get_for_update(txn, none, &value), TORC_INVALID);
    cr_expect_eq(torc_txn_commit(NULL), TORC_INVALID);
    torc_txn_abort(NULL);
    cr_expect_eq(txn->writes.count, 0u);
    cr_expect_eq(torc_txn_put(txn, torc_slice(huge, TORC_KEY_SIZE_MAX), none), TORC_OK, "the greatest and the least");
    cr_expect_eq(commit(), TORC_OK);
}

/* ---- Reading ---- */

Test(txn_read, shows_the_snapshot_and_not_what_came_later)
{
    torct_put(store.mvcc, "a", "2");
    torct_put(store.mvcc, "b", "2");
    cr_expect(reads("a", "1"));
    cr_expect(reads("b", NULL));
    torct_delete(store.mvcc, "a");
    torct_collect(store.mvcc);
    cr_expect(reads("a", "1"));
}

Test(txn_read, lends_values_until_the_end)
{
    struct torc_slice value;

    cr_assert_eq(get("a", &value), TORC_OK);
    torct_delete(store.mvcc, "a");
    for (unsigned i = 0; i < 200; i++)
        torct_put(store.mvcc, "a", "x");
    torct_collect(store.mvcc);
    cr_expect(torct_slice_is(value, "1"));
}

Test(txn_read, shows_own_writes)
{
    cr_assert_eq(put("a", "own"), TORC_OK);
    cr_assert_eq(put("b", ""), TORC_OK);
    cr_expect(reads("a", "own"));
    cr_expect(reads("b", ""));
    cr_assert_eq(delete("a"), TORC_OK);
    cr_expect(reads("a", NULL));
    cr_expect(torct_reads(store.mvcc, "a", "1"), "nobody else sees them");
}

Test(txn_read, notes_reads_only_when_they_will_be_validated)
{
    struct torc_txn_options options = {.isolation = TORC_SERIALIZABLE, .read_only = true};
    struct torc_txn *others[2];

    cr_expect(reads("a", "1"));
    cr_expect_null(txn->reads.reads);
    cr_assert_eq(torc_txn_begin(store.mvcc, &options, &others[0]), TORC_OK);
    cr_expect(torct_txn_reads(others[0], "a", "1"));
    cr_expect_null(others[0]->reads.reads);
    others[1] = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    cr_expect(torct_txn_reads(others[1], "a", "1"));
    cr_expect_not_null(others[1]->reads.reads);
    torc_txn_abort(others[0]);
    torc_txn_abort(others[1]);
}

/* ---- Writing ---- */

Test(txn_write, put_if_absent_looks_at_the_snapshot_and_at_own_writes)
{
    cr_expect_eq(put_if_absent("a", "x"), TORC_EXISTS);
    cr_expect_eq(txn->writes.count, 0u);
    cr_expect_eq(put_if_absent("b", "x"), TORC_OK);
    cr_expect_eq(put_if_absent("b", "y"), TORC_EXISTS);
    cr_expect(reads("b", "x"));
    cr_expect_eq(delete("b"), TORC_OK);
    cr_expect_eq(put_if_absent("b", "z"), TORC_OK);
    cr_expect_eq(delete("a"), TORC_OK);
    cr_expect_eq(put_if_absent("a", "z"), TORC_OK);
    cr_assert_eq(commit(), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "a", "z"));
    cr_expect(torct_reads(store.mvcc, "b", "z"));
}

Test(txn_write, delete_looks_at_the_snapshot_and_at_own_writes)
{
    cr_expect_eq(delete("b"), TORC_NOT_FOUND);
    cr_expect_eq(txn->writes.count, 0u);
    cr_expect_eq(delete("a"), TORC_OK);
    cr_expect_eq(delete("a"), TORC_NOT_FOUND);
    cr_expect_eq(put("b", "x"), TORC_OK);
    cr_expect_eq(delete("b"), TORC_OK);
    cr_expect_eq(delete("b"), TORC_NOT_FOUND);
    cr_assert_eq(commit(), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "a", NULL));
    cr_expect(torct_reads(store.mvcc, "b", NULL));
    cr_expect_eq(torct_stats(store.mvcc).keys, 0u);
    torct_collect(store.mvcc);
    cr_expect_null(torct_record(store.mvcc, "a"));
    cr_expect_null(torct_record(store.mvcc, "b"));
}

Test(txn_write, the_last_write_of_a_key_counts)
{
    for (unsigned i = 0; i < 10; i++)
        cr_assert_eq(put("b", i % 2 == 0 ? "even" : "odd"), TORC_OK);
    cr_expect_eq(txn->writes.count, 1u);
    cr_assert_eq(commit(), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "b", "odd"));
    cr_expect_eq(torct_chain_length(store.mvcc, "b"), 1u);
}

Test(txn_write, copies_key_and_value)
{
    char key[] = "key", value[] = "value";

    cr_assert_eq(torc_txn_put(txn, torct_text(key), torct_text(value)), TORC_OK);
    memset(key, 'x', 3);
    memset(value, 'x', 5);
    cr_expect(reads("key", "value"));
    cr_assert_eq(commit(), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "key", "value"));
}

Test(txn_write, that_looks_at_the_key_is_refused_at_once_if_it_could_not_commit)
{
    struct torc_slice value;

    torct_put(store.mvcc, "a", "2");
    cr_expect_eq(put_if_absent("a", "3"), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "a"));
    cr_expect_eq(delete("a"), TORC_CONFLICT);
    cr_expect_eq(torc_txn_get_for_update(txn, torct_text("a"), &value), TORC_CONFLICT);
    cr_expect_eq(value.size, 0u);
    cr_expect_eq(txn->writes.count, 0u);
    cr_expect(reads("a", "1"), "it goes on as before");
}

Test(txn_write, is_refused_soon_after_one_that_could_not_commit)
{
    torct_put(store.mvcc, "a", "2");
    cr_expect_eq(put("a", "3"), TORC_OK, "a blind put need not look at once");
    cr_expect_eq(put("x", "3"), TORC_OK);
    cr_expect_eq(put("y", "3"), TORC_OK);
    for (unsigned i = 0; i < 2; i++) {
        torci_conflict_note(torct_text("earlier"));
        cr_expect_eq(put("z", "3"), TORC_CONFLICT);
        cr_expect(torct_slice_is(torc_conflict_key(), "a"));
    }
    cr_expect_eq(txn->writes.count, 3u, "it was not noted");
    cr_expect_eq(commit(), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "a"));
    cr_expect(torct_reads(store.mvcc, "a", "2"));
    cr_expect(torct_reads(store.mvcc, "x", NULL));
}

Test(txn_write, is_refused_if_the_key_came_and_went_since)
{
    torct_put(store.mvcc, "b", "2");
    torct_delete(store.mvcc, "b");
    torct_collect(store.mvcc);
    cr_expect_eq(put_if_absent("b", "3"), TORC_CONFLICT);
    cr_expect_eq(put("b", "3"), TORC_OK);
    cr_expect_eq(commit(), TORC_CONFLICT);
}

Test(txn_write, is_refused_to_a_reader)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_slice value;

    torc_txn_abort(txn);
    cr_assert_eq(torc_txn_begin(store.mvcc, &options, &txn), TORC_OK);
    cr_expect_eq(put("b", "2"), TORC_READ_ONLY);
    cr_expect_eq(put_if_absent("b", "2"), TORC_READ_ONLY);
    cr_expect_eq(delete("a"), TORC_READ_ONLY);
    cr_expect_eq(torc_txn_get_for_update(txn, torct_text("a"), &value), TORC_READ_ONLY);
    cr_expect_eq(value.size, 0u);
    cr_expect(reads("a", "1"));
    cr_expect_eq(commit(), TORC_OK);
}

/* ---- get_for_update ---- */

static enum torc_status
get_for_update(const char *key, struct torc_slice *value)
{
    return torc_txn_get_for_update(txn, torct_text(key), value);
}

Test(txn_write, get_for_update_writes_the_value_there_is)
{
    struct torc_slice value;

    cr_assert_eq(get_for_update("a", &value), TORC_OK);
    cr_expect(torct_slice_is(value, "1"));
    cr_expect_eq(txn->writes.count, 1u);
    cr_assert_eq(commit(), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "a", "1"));
}

Test(txn_write, get_for_update_guards_an_absent_key)
{
    struct torc_slice value;
    struct torc_txn *rival = torct_begin(store.mvcc, TORC_SNAPSHOT);

    cr_assert_eq(get_for_update("b", &value), TORC_NOT_FOUND);
    cr_expect_eq(value.size, 0u);
    torct_txn_put(rival, "b", "rival");
    cr_assert_eq(torc_txn_commit(rival), TORC_OK);
    cr_expect_eq(commit(), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "b"));
    cr_expect(torct_reads(store.mvcc, "b", "rival"));
}

Test(txn_write, get_for_update_of_an_absent_key_leaves_nothing_behind)
{
    struct torc_slice value;

    cr_assert_eq(get_for_update("b", &value), TORC_NOT_FOUND);
    cr_assert_eq(commit(), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "b", NULL));
    cr_expect_eq(torct_stats(store.mvcc).keys, 1u);
    torct_collect(store.mvcc);
    cr_expect_null(torct_record(store.mvcc, "b"));
}

Test(txn_write, get_for_update_by_two_is_a_conflict)
{
    struct torc_slice value;
    struct torc_txn *rival = torct_begin(store.mvcc, TORC_SNAPSHOT);

    cr_assert_eq(get_for_update("a", &value), TORC_OK);
    cr_assert_eq(torc_txn_get_for_update(rival, torct_text("a"), &value), TORC_OK);
    cr_assert_eq(torc_txn_commit(rival), TORC_OK);
    cr_expect_eq(commit(), TORC_CONFLICT);
}

Test(txn_write, get_for_update_of_an_own_write_changes_nothing)
{
    struct torc_slice value;

    cr_assert_eq(put("a", "own"), TORC_OK);
    cr_assert_eq(get_for_update("a", &value), TORC_OK);
    cr_expect(torct_slice_is(value, "own"));
    cr_assert_eq(delete("a"), TORC_OK);
    cr_expect_eq(get_for_update("a", &value), TORC_NOT_FOUND);
    cr_assert_eq(commit(), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "a", NULL));
}

Test(txn_write, get_for_update_cures_write_skew)
{
    struct torc_slice value;
    struct torc_txn *rival = torct_begin(store.mvcc, TORC_SNAPSHOT);

    torc_txn_abort(txn);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_assert_eq(get_for_update("a", &value), TORC_OK);
    cr_assert_eq(torc_txn_get_for_update(rival, torct_text("b"), &value), TORC_NOT_FOUND);
    cr_assert_eq(put("b", "skew"), TORC_OK);
    torct_txn_put(rival, "a", "skew");
    cr_expect_eq(torc_txn_commit(rival), TORC_OK);
    cr_expect_eq(commit(), TORC_CONFLICT);
}

/* ---- Commit ---- */

Test(txn_commit, of_nothing_takes_no_stamp)
{
    uint64_t before = torct_stats(store.mvcc).clock;

    cr_expect_eq(commit(), TORC_OK);
    cr_expect_eq(torc_last_commit(), 0u);
    cr_expect_eq(torct_stats(store.mvcc).clock, before);
    cr_expect_eq(torct_stats(store.mvcc).commits, 1u, "the put of the fixture");
}

Test(txn_commit, of_one_key_and_of_several_tell_a_stamp_after_the_snapshot)
{
    uint64_t first;

    cr_assert_eq(put("b", "1"), TORC_OK);
    uint64_t snapshot = torc_txn_snapshot(txn);
    cr_assert_eq(commit(), TORC_OK);
    first = torc_last_commit();
    cr_expect(first % 2 == 1 && first > snapshot);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_expect_gt(torc_txn_snapshot(txn), first);
    cr_assert(put("b", "2") == TORC_OK && put("c", "2") == TORC_OK);
    cr_assert_eq(commit(), TORC_OK);
    cr_expect_gt(torc_last_commit(), first);
    cr_expect_eq(torci_load(&torct_head(store.mvcc, "b")->stamp, memory_order_relaxed),
                 torci_stamp_committed(torc_last_commit()), "stamped for good");
    cr_expect_eq(torci_load(&torct_head(store.mvcc, "c")->stamp, memory_order_relaxed),
                 torci_stamp_committed(torc_last_commit()));
}

Test(txn_commit, refused_writes_none_of_its_keys)
{
    cr_assert(put("a", "2") == TORC_OK && put("b", "2") == TORC_OK && put("z", "2") == TORC_OK);
    torct_put(store.mvcc, "b", "rival");
    cr_expect_eq(commit(), TORC_CONFLICT);
    cr_expect_eq(torc_last_commit(), 0u);
    cr_expect(torct_reads(store.mvcc, "a", "1"));
    cr_expect(torct_reads(store.mvcc, "b", "rival"));
    cr_expect(torct_reads(store.mvcc, "z", NULL));
    torct_collect(store.mvcc);
    cr_expect_null(torct_record(store.mvcc, "z"), "nor leaves it in the index");
    cr_expect_eq(torct_chain_length(store.mvcc, "a"), 1u);
}

Test(txn_commit, counts_keys_commits_and_conflicts)
{
    struct torc_mvcc_stats stats;

    cr_assert(put("a", "2") == TORC_OK && put("b", "2") == TORC_OK && put("c", "2") == TORC_OK);
    cr_assert_eq(delete("c"), TORC_OK);
    cr_assert_eq(commit(), TORC_OK);
    stats = torct_stats(store.mvcc);
    cr_expect_eq(stats.keys, 2u);
    cr_expect_eq(stats.commits, 2u);
    cr_expect_eq(stats.conflicts, 0u);
    cr_expect_eq(stats.open_transactions, 0u);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_assert_eq(put("a", "3"), TORC_OK);
    torct_delete(store.mvcc, "a");
    cr_assert_eq(commit(), TORC_CONFLICT);
    stats = torct_stats(store.mvcc);
    cr_expect_eq(stats.keys, 1u);
    cr_expect_eq(stats.conflicts, 1u);
}

/* ---- Whose key it was ---- */

Test(txn_conflict, names_the_key_that_was_committed_first)
{
    cr_assert(put("a", "2") == TORC_OK && put("b", "2") == TORC_OK);
    torct_put(store.mvcc, "b", "rival");
    cr_assert_eq(commit(), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "b"));
}

/* A hook into the middle of a commit: as soon as the version of "a" stands on its chain, its owner is aborted, as if
 * by a writer of higher rank that has not yet gone over it. */
static void
wound_owner_of_a(void *context)
{
    struct torci_version *head = torct_head(store.mvcc, "a");
    uint64_t stamp = head == NULL ? TORCI_STAMP_PENDING : torci_load(&head->stamp, memory_order_seq_cst);
    unsigned *wounded = context;

    if (torci_stamp_tag(stamp) == TORCI_STAMP_DESCRIPTOR && torci_descriptor_wound(torci_stamp_owner(stamp)))
        (*wounded)++;
}

Test(txn_conflict, names_no_key_of_an_earlier_conflict)
{
    unsigned wounded = 0;
    char key[8];

    torci_conflict_note(torct_text("earlier"));
    cr_assert_eq(put("a", "2"), TORC_OK);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "n%04u", i);
        cr_assert_eq(put(key, "2"), TORC_OK);
    }
    store.context = &wounded;
    store.interrupt = wound_owner_of_a;
    cr_assert_eq(commit(), TORC_CONFLICT);
    store.interrupt = NULL;
    cr_assert_eq(wounded, (unsigned)TORCI_COMMIT_ATTEMPTS, "it gives up only after so many");
    cr_expect_eq(torc_conflict_key().size, 0u, "nobody went over a key: %.*s", (int)torc_conflict_key().size,
                 (const char *)torc_conflict_key().data);
    cr_expect(torct_reads(store.mvcc, "a", "1"));
    cr_expect(torct_reads(store.mvcc, "n0000", NULL));
}

Test(txn_conflict, keeps_the_first_256_bytes_of_a_long_key)
{
    static char key[1000];

    memset(key, 'k', sizeof key);
    cr_assert_eq(torc_txn_put(txn, torc_slice(key, sizeof key), torct_text("v")), TORC_OK);
    cr_assert_eq(torc_mvcc_put(store.mvcc, torc_slice(key, sizeof key), torct_text("v"), NULL), TORC_OK);
    cr_assert_eq(commit(), TORC_CONFLICT);
    cr_expect_eq(torc_conflict_key().size, 256u);
}

/* ---- Many at once ---- */

Test(txn_get_many, reads_as_one_by_one)
{
    enum { COUNT = 40 };
    struct torc_slice keys[COUNT], values[COUNT];
    char names[COUNT][8];

    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "m%02u", i);
        keys[i] = torct_text(names[i]);
        if (i % 3 != 0)
            torct_put(store.mvcc, names[i], i % 3 == 1 ? names[i] : "");
    }
    torc_txn_abort(txn);
    txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    torct_put(store.mvcc, names[0], "later");
    torct_txn_put(txn, names[3], "own");
    cr_assert_eq(torc_txn_delete(txn, keys[4]), TORC_OK);
    cr_assert_eq(torc_txn_get_many(txn, keys, COUNT, values), TORC_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        struct torc_slice value;
        enum torc_status status = torc_txn_get(txn, keys[i], &value);

        cr_expect_eq(values[i].data == NULL, status == TORC_NOT_FOUND, "key %u", i);
        cr_expect(values[i].data == value.data && values[i].size == value.size, "key %u", i);
    }
    cr_expect(torct_slice_is(values[3], "own"));
    cr_expect_null(values[4].data);
    cr_expect(values[5].data != NULL && values[5].size == 0);
    cr_expect_eq(commit(), TORC_CONFLICT, "what was read counts as read");
}

Test(txn_get_many, refuses_bad_keys_and_gives_nothing_then)
{
    struct torc_slice keys[2] = {torct_text("a"), {NULL, 0}}, values[2];

    cr_expect_eq(torc_txn_get_many(txn, keys, 2, values), TORC_INVALID);
    cr_expect_null(values[0].data);
    cr_expect_eq(torc_txn_get_many(txn, NULL, 1, values), TORC_INVALID);
    cr_expect_eq(torc_txn_get_many(txn, keys, 1, NULL), TORC_INVALID);
    cr_expect_eq(torc_txn_get_many(NULL, keys, 1, values), TORC_INVALID);
    cr_expect_eq(torc_txn_get_many(txn, NULL, 0, NULL), TORC_OK);
    cr_expect_eq(torc_txn_get_many(txn, keys, 1, values), TORC_OK);
    cr_expect(torct_slice_is(values[0], "1"));
}

/* ---- Rank ---- */

static void
wound_once(void *context)
{
    unsigned *wounded = context;

    if (*wounded == 0)
        wound_owner_of_a(context);
}

Test(txn_rank, grows_with_each_lost_attempt_and_starts_anew_with_a_commit)
{
    for (uint64_t lost = 0; lost < 4; lost++) {
        cr_assert_eq(txn->attempts, lost);
        cr_assert_eq(put("a", "2"), TORC_OK);
        torct_put(store.mvcc, "a", "rival");
        /* A write of one key is a commit too, but not a transaction's: it leaves the count alone. */
        cr_assert_eq(commit(), TORC_CONFLICT);
        txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    }
    cr_assert_eq(txn->attempts, 4u);
    cr_assert_eq(put("a", "2"), TORC_OK);
    cr_assert_eq(commit(), TORC_OK);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_expect_eq(txn->attempts, 0u);
}

Test(txn_rank, a_commit_that_is_wounded_once_tries_again_and_commits)
{
    unsigned wounded = 0;
    char key[8];

    cr_assert_eq(put("a", "2"), TORC_OK);
    cr_assert_eq(put("b", "2"), TORC_OK);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "n%04u", i);
        cr_assert_eq(put(key, "2"), TORC_OK);
    }
    store.context = &wounded;
    store.interrupt = wound_once;
    cr_assert_eq(commit(), TORC_OK);
    store.interrupt = NULL;
    cr_assert_eq(wounded, 1u);
    cr_expect(torct_reads(store.mvcc, "a", "2"));
    cr_expect(torct_reads(store.mvcc, "b", "2"));
    cr_expect(torct_reads(store.mvcc, "n0099", "2"));
}

Test(txn_rank, an_owner_that_never_goes_on_is_aborted_after_twice_as_many_losses_as_it_had)
{
    struct torct_commit stopped;
    unsigned lost = 0;

    txn->attempts = 2 * TORCI_COMMIT_ATTEMPTS + 3;
    cr_assert_eq(put("a", "stopped"), TORC_OK);
    stopped = torct_commit_install(txn);
    torct_put(store.mvcc, "c", "later"); /* The rivals' snapshots are younger. */
    for (;;) {
        struct torc_txn *rival = torct_begin(store.mvcc, TORC_SNAPSHOT);
        enum torc_status status;

        torct_txn_put(rival, "a", "rival");
        torct_txn_put(rival, "b", "rival");
        status = torc_txn_commit(rival);
        if (status == TORC_OK)
            break;
        cr_assert_eq(status, TORC_CONFLICT);
        cr_assert_lt(++lost, 10u);
    }
    cr_expect_eq(lost, 4u, "a commit tries several times, each with a higher rank");
    txn = NULL;
    cr_expect_not(torct_commit_finish(&stopped));
    cr_expect(torct_reads(store.mvcc, "a", "rival"));
}

/* ---- Running ---- */

struct run {
    unsigned calls;
    unsigned conflicts;     /* So many of the calls meet a rival. */
    uint64_t attempts[8];
    enum torc_status answer;
};

static enum torc_status
run_body(struct torc_txn *running, void *context)
{
    struct run *run = context;

    run->attempts[run->calls++ % 8] = running->attempts;
    cr_assert_eq(torc_txn_put(running, torct_text("a"), torct_text("run")), TORC_OK);
    if (run->calls <= run->conflicts)
        torct_put(store.mvcc, "a", "rival");
    return run->answer;
}

Test(txn_run, commits_what_the_body_wrote)
{
    struct run run = {.answer = TORC_OK};

    cr_expect_eq(torc_txn_run(store.mvcc, NULL, run_body, &run), TORC_OK);
    cr_expect_eq(run.calls, 1u);
    cr_expect(torct_reads(store.mvcc, "a", "run"));
}

Test(txn_run, tries_again_after_a_conflict_with_a_rank_that_grows)
{
    struct run run = {.answer = TORC_OK, .conflicts = 3};

    cr_expect_eq(torc_txn_run(store.mvcc, NULL, run_body, &run), TORC_OK);
    cr_expect_eq(run.calls, 4u);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_geq(run.attempts[i], i);
    cr_expect(torct_reads(store.mvcc, "a", "run"));
}

Test(txn_run, gives_up_after_as_many_attempts_as_were_allowed)
{
    struct torc_run_options options = {.attempts_max = 3, .backoff_max_ns = 1};
    struct run run = {.answer = TORC_OK, .conflicts = 100};

    cr_expect_eq(torc_txn_run(store.mvcc, &options, run_body, &run), TORC_CONFLICT);
    cr_expect_eq(run.calls, 3u);
    cr_expect(torct_reads(store.mvcc, "a", "rival"));
    options.attempts_max = 0;
    run.calls = 0;
    cr_expect_eq(torc_txn_run(store.mvcc, &options, run_body, &run), TORC_CONFLICT);
    cr_expect_eq(run.calls, 64u, "the default");
}

Test(txn_run, aborts_and_returns_what_the_body_says)
{
    struct run run = {.answer = TORC_NOT_FOUND};

    cr_expect_eq(torc_txn_run(store.mvcc, NULL, run_body, &run), TORC_NOT_FOUND);
    cr_expect_eq(run.calls, 1u);
    cr_expect(torct_reads(store.mvcc, "a", "1"));
    run = (struct run){.answer = TORC_BUSY};
    struct torc_run_options options = {.attempts_max = 5, .backoff_max_ns = 1};
    cr_expect_eq(torc_txn_run(store.mvcc, &options, run_body, &run), TORC_BUSY);
    cr_expect_eq(run.calls, 5u, "worth another try");
    cr_expect_eq(torct_stats(store.mvcc).open_transactions, 1u, "the fixture's");
}

Test(txn_run, refuses_what_it_cannot_run)
{
    struct torc_run_options options = {.txn.isolation = (enum torc_isolation)9};
    struct run run = {.answer = TORC_OK};

    cr_expect_eq(torc_txn_run(store.mvcc, NULL, NULL, NULL), TORC_INVALID);
    cr_expect_eq(torc_txn_run(NULL, NULL, run_body, &run), TORC_INVALID);
    cr_expect_eq(torc_txn_run(store.mvcc, &options, run_body, &run), TORC_INVALID);
    cr_expect_eq(run.calls, 0u);
}

/* ---- Threads ---- */

static sem_t turns[2];

static void
hand_over(unsigned from)
{
    sem_post(&turns[from ^ 1]);
}

static void
await(unsigned number)
{
    while (sem_wait(&turns[number]) != 0)
        continue;
}

enum { HAND_OVERS = 40 };

static void
use_in_turns(void *context, unsigned number)
{
    char key[16];

    (void)context;
    for (unsigned i = 0; i < HAND_OVERS; i++) {
        await(number);
        snprintf(key, sizeof key, "key%u.%u", number, i);
        cr_assert_eq(put(key, "v"), TORC_OK);
        if (i > 0) {
            snprintf(key, sizeof key, "key%u.%u", number ^ 1, i - 1);
            cr_assert(reads(key, "v"));
        }
        if (number == 1 && i % 8 == 7) {
            cr_assert_eq(commit(), TORC_OK);
            txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
        }
        hand_over(number);
    }
}

Test(txn_threads, may_be_handed_from_thread_to_thread_between_calls)
{
    sem_init(&turns[0], 0, 1);
    sem_init(&turns[1], 0, 0);
    torct_race(2, use_in_turns, NULL);
    cr_expect(torct_reads(store.mvcc, "key0.39", "v"));
    cr_expect_eq(torct_stats(store.mvcc).keys, 2u * HAND_OVERS + 1);
}

/* One thread begins, another ends: structs come back through the spare list, and there are not many. */
enum { PIPED = 300 };
static struct torc_txn *_Atomic piped;

static void
begin_or_end(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < PIPED; i++) {
        await(number);
        if (number == 0)
            torci_store(&piped, torct_begin(store.mvcc, TORC_SNAPSHOT), memory_order_relaxed); /* The turn orders. */
        else
            torc_txn_abort(torci_load(&piped, memory_order_relaxed));
        hand_over(number);
    }
}

Test(txn_threads, begun_by_one_and_ended_by_another_come_back_to_be_used_again)
{
    unsigned made = 0;

    sem_init(&turns[0], 0, 1);
    sem_init(&turns[1], 0, 0);
    torct_race(2, begin_or_end, NULL);
    for (struct torc_txn *each = torci_load(&store.mvcc->transactions, memory_order_seq_cst); each != NULL;
         each = each->slot.next_all)
        made++;
    cr_expect_leq(made, 2u * TORCI_SPARES_MAX + 4u);
}

#if defined(TORC_ASSERTIONS)
static _Atomic(bool) inside;

/* In the middle of the first user's call: let the second one try, and wait for it. */
static void
let_the_second_try(void *context)
{
    (void)context;
    if (!torci_exchange(&inside, true, memory_order_seq_cst)) {
        hand_over(0);
        await(0);
    }
}

static void
use_at_once(void *context, unsigned number)
{
    struct torc_slice value;

    (void)context;
    if (number == 0) {
        store.interrupt = let_the_second_try;
        cr_assert_eq(put("b", "first"), TORC_OK);
        return;
    }
    await(1);
    cr_expect_eq(get("a", &value), TORC_INVALID);
    cr_expect_not_null(strstr(torc_detail(), "two threads"));
    cr_expect_eq(put("b", "second"), TORC_INVALID);
    cr_expect_eq(torc_txn_commit(txn), TORC_INVALID);
    torc_txn_abort(txn);
    hand_over(1);
}

Test(txn_threads, two_at_once_in_one_transaction_are_told)
{
    sem_init(&turns[0], 0, 0);
    sem_init(&turns[1], 0, 0);
    torct_race(2, use_at_once, NULL);
    store.interrupt = NULL;
    cr_expect(reads("b", "first"), "the first one noticed nothing");
    cr_expect_eq(commit(), TORC_OK);
}
#endif

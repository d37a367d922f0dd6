/* SPDX-License-Identifier: MIT */
/* Reads are noted by a transaction as its user makes them, and validated at a stamp of the test's choice through a
 * descriptor made by hand; own writes go through a real commit. */
#include "mvcc/read_set.h"

#include "mvcc/mvcc_testing.h"

static struct torct_store store;
static struct torc_txn *reader;
static struct torci_descriptor descriptor;

/* Keys b d f h are there; a c e g i are not. */
static void
create(void)
{
    torct_store_open(&store);
    torct_put(store.mvcc, "b", "1");
    torct_put(store.mvcc, "d", "2");
    torct_put(store.mvcc, "f", "3");
    torct_put(store.mvcc, "h", "4");
    reader = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    torci_conflict_note(torc_slice(NULL, 0));
}

static void
destroy(void)
{
    torc_txn_abort(reader);
    torct_store_close(&store);
}

TestSuite(read_set_key, .init = create, .fini = destroy, .timeout = 30);
TestSuite(read_set_range, .init = create, .fini = destroy, .timeout = 30);
TestSuite(read_set_own_writes, .init = create, .fini = destroy, .timeout = 30);
TestSuite(read_set_undecided, .init = create, .fini = destroy, .timeout = 30);
TestSuite(read_set_blame, .init = create, .fini = destroy, .timeout = 30);

static void
describe(uint64_t stamp)
{
    cr_assert_eq(torci_read_set_seal(&reader->reads), TORC_OK);
    torci_init(&descriptor.state, torci_state_word(TORCI_VALIDATING, stamp));
    descriptor.snapshot = reader->slot.snapshot;
    descriptor.attempts = reader->attempts;
    descriptor.validate = torci_read_set_valid;
    descriptor.store = store.mvcc;
    descriptor.reads = &reader->reads;
}

static bool
holds_at(uint64_t stamp)
{
    struct torci_epoch_guard guard;
    bool holds;

    describe(stamp);
    guard = torci_epoch_enter();
    holds = torci_read_set_valid(&descriptor, stamp);
    cr_assert_eq(torci_read_set_valid(&descriptor, stamp), holds, "helpers come to the same result");
    torci_epoch_exit(guard);
    return holds;
}

/* Whether what `reader` has read holds at this moment. */
static bool
holds(void)
{
    return holds_at(torci_clock_write_stamp(&store.mvcc->clock));
}

static void
read_key(const char *key, const char *expected)
{
    cr_assert(torct_txn_reads(reader, key, expected));
}

/* ---- Keys ---- */

Test(read_set_key, nothing_read_always_holds)
{
    torct_put(store.mvcc, "b", "new");
    cr_expect(holds());
}

Test(read_set_key, present_and_unchanged_holds)
{
    read_key("b", "1");
    read_key("d", "2");
    torct_put(store.mvcc, "c", "new");
    torct_put(store.mvcc, "f", "new");
    torct_delete(store.mvcc, "h");
    cr_expect(holds());
}

Test(read_set_key, present_and_overwritten_does_not)
{
    read_key("b", "1");
    read_key("d", "2");
    torct_put(store.mvcc, "b", "new");
    cr_expect_not(holds());
}

Test(read_set_key, present_and_written_with_the_same_bytes_does_not)
{
    read_key("d", "2");
    torct_put(store.mvcc, "d", "2");
    cr_expect_not(holds(), "versions are compared, not values");
}

Test(read_set_key, present_and_deleted_does_not)
{
    read_key("d", "2");
    torct_delete(store.mvcc, "d");
    cr_expect_not(holds());
    torct_put(store.mvcc, "d", "2");
    cr_expect_not(holds(), "nor after it was put back");
}

Test(read_set_key, absent_and_still_absent_holds)
{
    read_key("a", NULL);
    read_key("bb", NULL);
    cr_expect(holds());
}

Test(read_set_key, absent_and_put_does_not)
{
    read_key("c", NULL);
    torct_put(store.mvcc, "c", "new");
    cr_expect_not(holds());
}

Test(read_set_key, absent_put_and_deleted_again_holds)
{
    read_key("c", NULL);
    torct_put(store.mvcc, "c", "new");
    torct_delete(store.mvcc, "c");
    cr_expect(holds(), "nobody can tell");
}

Test(read_set_key, a_write_refused_for_what_the_key_is_counts_as_a_read)
{
    cr_assert_eq(torc_txn_put_if_absent(reader, torct_text("b"), torct_text("x")), TORC_EXISTS);
    cr_assert_eq(torc_txn_delete(reader, torct_text("c")), TORC_NOT_FOUND);
    cr_assert(holds());
    torct_delete(store.mvcc, "b");
    cr_expect_not(holds());
}

Test(read_set_key, a_deletion_refused_for_want_of_the_key_counts_as_a_read)
{
    cr_assert_eq(torc_txn_delete(reader, torct_text("c")), TORC_NOT_FOUND);
    torct_put(store.mvcc, "c", "new");
    cr_expect_not(holds());
}

/* I4: order by stamp would allow it, but the version that counts at the stamp may have been pruned. */
Test(read_set_key, a_change_after_the_stamp_refuses_too)
{
    uint64_t stamp = torci_clock_write_stamp(&store.mvcc->clock);

    read_key("b", "1");
    (void)torci_clock_read_stamp(&store.mvcc->clock);
    torct_put(store.mvcc, "b", "new");
    cr_assert_gt(torc_last_commit(), stamp);
    cr_expect_not(holds_at(stamp));
}

/* And here order by stamp would forbid it, but only what came after the stamp is left to be seen. */
Test(read_set_key, absent_but_there_at_the_stamp_and_gone_after_it_does_not_hold)
{
    uint64_t stamp;

    read_key("c", NULL);
    torct_put(store.mvcc, "c", "new");
    stamp = torci_clock_write_stamp(&store.mvcc->clock);
    (void)torci_clock_read_stamp(&store.mvcc->clock);
    torct_delete(store.mvcc, "c");
    cr_assert_gt(torc_last_commit(), stamp);
    cr_expect_not(holds_at(stamp));
}

Test(read_set_key, a_key_that_left_and_came_back_is_told_by_its_version)
{
    read_key("c", NULL);
    torct_put(store.mvcc, "c", "new");
    torct_delete(store.mvcc, "c");
    torct_collect(store.mvcc);
    cr_assert(holds());
    torct_put(store.mvcc, "c", "again");
    cr_expect_not(holds());
}

/* ---- Ranges ---- */

/* Scan `limit` keys of [from, to); 0: to the end. Returns the keys shown, each of one byte, as one string. */
static const char *
scan(const char *from, const char *to, bool reverse, unsigned limit)
{
    struct torc_scan_options options = {.from = torct_text(from), .to = torct_text(to), .reverse = reverse};
    static char shown[32];
    struct torc_cursor *cursor;
    struct torc_slice key;
    unsigned count = 0;

    cr_assert_eq(torc_txn_scan(reader, &options, &cursor), TORC_OK);
    while ((limit == 0 || count < limit) && torc_cursor_next(cursor, &key, NULL) == TORC_OK)
        shown[count++] = *(const char *)key.data;
    shown[count] = '\0';
    torc_cursor_close(cursor);
    return shown;
}

/* One thing done to the store, and whether a scan noted before holds afterwards. */
struct change {
    char key;
    char what; /* '+' put, '-' delete, '~' put and delete. */
    bool holds;
};

static void
expect_after(const struct change *change, const char *from, const char *to, bool reverse, unsigned limit,
             const char *shown)
{
    char key[2] = {change->key, '\0'};
    bool is_there = strchr("bdfh", change->key) != NULL;

    torc_txn_abort(reader);
    reader = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    cr_assert_str_eq(scan(from, to, reverse, limit), shown);
    cr_assert(holds(), "[%s, %s) before any change", from, to);
    if (change->what != '-')
        torct_put(store.mvcc, key, "new");
    if (change->what != '+')
        torct_delete(store.mvcc, key);
    cr_expect_eq(holds(), change->holds, "[%s, %s)%s %u: %c%s", from, to, reverse ? " reverse" : "", limit,
                 change->what, key);
    /* As it was. */
    if (is_there)
        torct_put(store.mvcc, key, "old");
    else if (change->what == '+')
        torct_delete(store.mvcc, key);
}

#define EXPECT_AFTER(changes, from, to, reverse, limit, shown)                                      \
    for (unsigned at = 0; at < sizeof(changes) / sizeof(changes)[0]; at++)                          \
    expect_after(&(changes)[at], from, to, reverse, limit, shown)

Test(read_set_range, complete_is_spoiled_by_changes_within_and_by_no_others)
{
    static const struct change changes[] = {
        {'a', '+', true}, {'b', '+', true}, {'b', '-', true}, {'c', '+', false}, {'c', '~', true}, {'d', '+', false},
        {'d', '-', false}, {'e', '+', false}, {'e', '~', true}, {'f', '-', false}, {'g', '+', false},
        {'h', '+', true}, {'h', '-', true}, {'i', '+', true},
    };

    EXPECT_AFTER(changes, "c", "h", false, 0, "df");
    EXPECT_AFTER(changes, "c", "h", true, 0, "fd");
}

Test(read_set_range, complete_without_bounds_is_spoiled_by_every_change)
{
    static const struct change changes[] = {
        {'a', '+', false}, {'b', '-', false}, {'c', '+', false},
        {'c', '~', true},  {'h', '+', false}, {'i', '+', false},
    };

    EXPECT_AFTER(changes, "", "", false, 0, "bdfh");
    EXPECT_AFTER(changes, "", "", true, 0, "hfdb");
}

Test(read_set_range, without_keys_is_spoiled_by_a_phantom)
{
    static const struct change changes[] = {{'d', '+', true}, {'e', '+', false}, {'e', '~', true}, {'f', '+', true}};

    EXPECT_AFTER(changes, "e", "f", false, 0, "");
    EXPECT_AFTER(changes, "e", "f", true, 0, "");
}

Test(read_set_range, ascending_counts_as_far_as_it_was_shown)
{
    static const struct change changes[] = {
        {'a', '+', true}, {'c', '+', false}, {'d', '+', false}, {'d', '-', false}, {'e', '+', true}, {'f', '+', true},
        {'f', '-', true}, {'g', '+', true}, {'h', '-', true},
    };

    EXPECT_AFTER(changes, "b", "", false, 2, "bd");
    EXPECT_AFTER(changes, "b", "h", false, 2, "bd");
}

Test(read_set_range, descending_counts_as_far_as_it_was_shown)
{
    static const struct change changes[] = {
        {'b', '+', true}, {'c', '+', true}, {'d', '-', true}, {'e', '+', true}, {'f', '+', false}, {'f', '-', false},
        {'g', '+', false}, {'h', '-', false}, {'i', '+', false},
    };

    EXPECT_AFTER(changes, "", "", true, 2, "hf");
    EXPECT_AFTER(changes, "b", "", true, 2, "hf");
}

Test(read_set_range, without_what_was_there_at_the_stamp_does_not_hold)
{
    uint64_t stamp;

    cr_assert_str_eq(scan("c", "g", false, 0), "df");
    torct_put(store.mvcc, "e", "new");
    stamp = torci_clock_write_stamp(&store.mvcc->clock);
    (void)torci_clock_read_stamp(&store.mvcc->clock);
    torct_delete(store.mvcc, "e");
    cr_expect_not(holds_at(stamp));
}

Test(read_set_range, of_which_nothing_was_shown_holds_whatever_happens)
{
    struct torc_cursor *cursor;

    cr_assert_eq(torc_txn_scan(reader, NULL, &cursor), TORC_OK);
    torct_put(store.mvcc, "a", "new");
    torct_delete(store.mvcc, "d");
    cr_expect(holds());
    torc_cursor_close(cursor);
    cr_expect(holds());
}

Test(read_set_range, the_last_key_shown_is_copied_before_others_see_it)
{
    struct torc_slice key;
    struct torc_cursor *cursor;
    char own[300] = "e";

    /* An own key in the write set's memory, which the end of the transaction would overwrite. */
    memset(own + 1, 'e', sizeof own - 1);
    cr_assert_eq(torc_txn_put(reader, torc_slice(own, sizeof own), torct_text("own")), TORC_OK);
    cr_assert_eq(torc_txn_scan(reader, NULL, &cursor), TORC_OK);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(torc_cursor_next(cursor, &key, NULL), TORC_OK);
    cr_assert_eq(key.size, sizeof own);
    cr_assert(holds());
    cr_assert_neq(reader->reads.ranges->last.data, key.data);
    cr_expect(reader->reads.ranges->last.size == sizeof own && memcmp(reader->reads.ranges->last.data, own, 300) == 0);
    torct_put(store.mvcc, "f", "new");
    cr_expect(holds());
    torct_put(store.mvcc, "e", "new");
    cr_expect_not(holds());
}

Test(read_set_range, spans_many_leaves)
{
    char key[8];
    struct torc_cursor *cursor;
    struct torc_slice shown;

    for (unsigned i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%05u", i);
        torct_put(store.mvcc, key, "v");
    }
    torc_txn_abort(reader);
    reader = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    cr_assert_eq(torc_txn_scan(reader, NULL, &cursor), TORC_OK);
    while (torc_cursor_next(cursor, &shown, NULL) == TORC_OK)
        continue;
    cr_assert(holds());
    torct_put(store.mvcc, "k00321x", "phantom");
    cr_expect_not(holds());
    torct_delete(store.mvcc, "k00321x");
    cr_expect(holds());
    torct_put(store.mvcc, "k00499", "new");
    cr_expect_not(holds());
}

/* ---- Own writes ---- */

static enum torc_status
commit(void)
{
    enum torc_status status = torc_txn_commit(reader);

    reader = NULL;
    return status;
}

Test(read_set_own_writes, do_not_spoil_what_was_read)
{
    read_key("b", "1");
    read_key("c", NULL);
    cr_assert_str_eq(scan("", "", false, 0), "bdfh");
    torct_txn_put(reader, "b", "own");
    torct_txn_put(reader, "c", "own");
    cr_assert_eq(torc_txn_delete(reader, torct_text("d")), TORC_OK);
    cr_expect_eq(commit(), TORC_OK);
    cr_expect(torct_reads(store.mvcc, "c", "own"));
    cr_expect(torct_reads(store.mvcc, "d", NULL));
}

Test(read_set_own_writes, made_before_reading_do_not_spoil_it_either)
{
    torct_txn_put(reader, "a", "own");
    torct_txn_put(reader, "d", "own");
    cr_assert_eq(torc_txn_delete(reader, torct_text("f")), TORC_OK);
    cr_assert_str_eq(scan("", "", true, 0), "hdba");
    cr_assert_str_eq(scan("", "", false, 1), "a");
    read_key("a", "own");
    cr_expect_eq(commit(), TORC_OK);
}

Test(read_set_own_writes, hide_no_change_of_another_key)
{
    cr_assert_str_eq(scan("c", "g", false, 0), "df");
    torct_txn_put(reader, "e", "own");
    torct_put(store.mvcc, "ee", "phantom");
    cr_expect_eq(commit(), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "ee"));
    cr_expect(torct_reads(store.mvcc, "e", NULL), "nothing was written");
}

Test(read_set_own_writes, of_an_unseen_part_do_not_hide_what_was_seen)
{
    cr_assert_str_eq(scan("", "", false, 2), "bd");
    torct_txn_put(reader, "z", "own");
    torct_put(store.mvcc, "c", "phantom");
    cr_expect_eq(commit(), TORC_CONFLICT);
}

/* ---- Versions of others that are not decided (I3) ---- */

static struct torct_commit other;

/* Another transaction that writes `key`, stopped after its installation. */
static void
other_installs(const char *key, enum torc_isolation isolation)
{
    struct torc_txn *txn = torct_begin(store.mvcc, isolation);

    torct_txn_put(txn, key, "other");
    other = torct_commit_install(txn);
}

Test(read_set_undecided, an_installing_one_is_ignored_and_left_alone)
{
    read_key("d", "2");
    read_key("e", NULL);
    other_installs("d", TORC_SNAPSHOT);
    cr_expect(holds());
    cr_expect_eq(torct_commit_state(&other), TORCI_INSTALLING);
    torct_commit_finish(&other);
    cr_expect_not(holds());
}

Test(read_set_undecided, a_deciding_one_is_decided)
{
    read_key("d", "2");
    other_installs("d", TORC_SNAPSHOT);
    torct_commit_decide(&other);
    cr_expect_not(holds(), "it may hold a stamp from before ours");
    cr_expect_eq(torct_commit_state(&other), TORCI_COMMITTED);
    torct_commit_finish(&other);
}

Test(read_set_undecided, a_validating_one_with_a_later_stamp_is_ignored)
{
    uint64_t stamp = torci_clock_write_stamp(&store.mvcc->clock);

    read_key("d", "2");
    (void)torci_clock_read_stamp(&store.mvcc->clock);
    other_installs("d", TORC_SERIALIZABLE);
    torct_commit_decide(&other);
    cr_assert_gt(torct_commit_validate(&other), stamp);
    cr_expect(holds_at(stamp));
    cr_expect_eq(torct_commit_state(&other), TORCI_VALIDATING);
    torct_commit_finish(&other);
}

Test(read_set_undecided, a_validating_one_of_lower_rank_gives_way)
{
    read_key("d", "2");
    other_installs("d", TORC_SERIALIZABLE);
    torct_commit_decide(&other);
    torct_commit_validate(&other);
    reader->attempts = other.descriptor->attempts + 1;
    cr_expect(holds());
    cr_expect_eq(torct_commit_state(&other), TORCI_ABORTED);
    cr_expect_not(torct_commit_finish(&other));
    cr_expect(torct_reads(store.mvcc, "d", "2"));
}

Test(read_set_undecided, to_a_validating_one_of_higher_rank_we_give_way)
{
    struct torci_epoch_guard guard;

    read_key("d", "2");
    other_installs("d", TORC_SERIALIZABLE);
    other.descriptor->attempts = reader->attempts + 1;
    torct_commit_decide(&other);
    torct_commit_validate(&other);
    cr_expect_not(holds());
    cr_expect_eq(torct_commit_state(&other), TORCI_VALIDATING, "it is not for us to decide");
    guard = torci_epoch_enter();
    torci_read_set_blame(&descriptor);
    torci_epoch_exit(guard);
    cr_expect_eq(torct_commit_state(&other), TORCI_VALIDATING, "nor to look for whom to blame");
    cr_expect(torct_slice_is(torc_conflict_key(), "d"));
    cr_expect(torct_commit_finish(&other));
    cr_expect(torct_reads(store.mvcc, "d", "other"));
}

Test(read_set_undecided, a_phantom_that_validates_counts_like_a_key)
{
    cr_assert_str_eq(scan("c", "g", false, 0), "df");
    other_installs("e", TORC_SERIALIZABLE);
    other.descriptor->attempts = reader->attempts + 1;
    torct_commit_decide(&other);
    torct_commit_validate(&other);
    cr_expect_not(holds());
    torct_commit_finish(&other);
}

Test(read_set_undecided, an_aborted_one_is_ignored)
{
    read_key("d", "2");
    cr_assert_str_eq(scan("", "", false, 0), "bdfh");
    other_installs("d", TORC_SNAPSHOT);
    cr_assert(torci_descriptor_wound(other.descriptor));
    cr_expect(holds());
    cr_expect_not(torct_commit_finish(&other));
    cr_expect(holds());
}

/* Write skew: two that read what the other writes, both validating. One must go, whoever validates first. */
Test(read_set_undecided, of_two_that_refute_each_other_one_commits)
{
    for (unsigned first = 0; first < 2; first++) {
        struct torc_txn *left = torct_begin(store.mvcc, TORC_SERIALIZABLE);
        struct torc_txn *right = torct_begin(store.mvcc, TORC_SERIALIZABLE);
        struct torct_commit commits[2];
        bool won[2];

        cr_assert(torct_txn_reads(left, "b", "1") && torct_txn_reads(right, "d", "2"));
        torct_txn_put(left, "d", "2");
        torct_txn_put(right, "b", "1");
        commits[0] = torct_commit_install(left);
        commits[1] = torct_commit_install(right);
        for (unsigned i = 0; i < 2; i++)
            torct_commit_decide(&commits[i]);
        for (unsigned i = 0; i < 2; i++)
            torct_commit_validate(&commits[i]);
        for (unsigned i = 0; i < 2; i++)
            (void)torci_descriptor_decide(commits[i ^ first].descriptor, &store.mvcc->clock);
        for (unsigned i = 0; i < 2; i++)
            won[i] = torct_commit_finish(&commits[i]);
        cr_expect_neq(won[0], won[1]);
    }
}

/* ---- Blame ---- */

Test(read_set_blame, names_the_key_that_changed)
{
    struct torci_epoch_guard guard;

    read_key("b", "1");
    read_key("c", NULL);
    torct_put(store.mvcc, "c", "new");
    cr_assert_not(holds());
    guard = torci_epoch_enter();
    torci_read_set_blame(&descriptor);
    torci_epoch_exit(guard);
    cr_expect(torct_slice_is(torc_conflict_key(), "c"));
}

Test(read_set_blame, names_nothing_if_nothing_changed)
{
    struct torci_epoch_guard guard;

    read_key("b", "1");
    cr_assert(holds());
    guard = torci_epoch_enter();
    torci_read_set_blame(&descriptor);
    torci_epoch_exit(guard);
    cr_expect_eq(torc_conflict_key().size, 0u);
}

Test(read_set_blame, aborts_nobody_whatever_our_rank)
{
    struct torci_epoch_guard guard;

    read_key("d", "2");
    other_installs("d", TORC_SERIALIZABLE);
    torct_commit_decide(&other);
    describe(torct_commit_validate(&other));
    descriptor.attempts = other.descriptor->attempts + 1;
    guard = torci_epoch_enter();
    torci_read_set_blame(&descriptor);
    torci_epoch_exit(guard);
    cr_expect_eq(torct_commit_state(&other), TORCI_VALIDATING);
    cr_expect(torct_slice_is(torc_conflict_key(), "d"));
    cr_expect(torct_commit_finish(&other));
}

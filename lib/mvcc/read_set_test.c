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
TestSuite(read_set_tie, .init = create, .fini = destroy, .timeout = 30);
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

/* Another reader instead, with a snapshot of now. */
static void
begin_again(void)
{
    torc_txn_abort(reader);
    reader = torct_begin(store.mvcc, TORC_SERIALIZABLE);
}

/* The stamp of the tombstone that is the newest version of `key`. */
static uint64_t
tombstone_stamp(const char *key)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_version *head = torct_head(store.mvcc, key);
    uint64_t stamp;

    cr_assert(head != NULL && head != torci_frozen());
    cr_assert_not(torci_version_live(head));
    stamp = torci_version_verdict(head, &store.mvcc->clock).stamp;
    torci_epoch_exit(guard);
    return stamp;
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

/* I2: the tombstone may hide a put that stands before us. The oldest one that counts, at its stamp and at a later. */
Test(read_set_key, absent_put_and_deleted_again_does_not)
{
    read_key("c", NULL);
    torct_put(store.mvcc, "c", "new");
    torct_delete(store.mvcc, "c");
    cr_assert_eq(tombstone_stamp("c"), reader->slot.snapshot + 1);
    cr_expect_not(holds_at(tombstone_stamp("c")));
    (void)torci_clock_read_stamp(&store.mvcc->clock);
    cr_assert_gt(torci_clock_write_stamp(&store.mvcc->clock), tombstone_stamp("c"));
    cr_expect_not(holds());
}

/* The youngest that does not count. It stays on its chain because an older snapshot is open. */
Test(read_set_key, absent_under_a_tombstone_that_the_snapshot_saw_holds)
{
    struct torc_txn *older = torct_begin(store.mvcc, TORC_SNAPSHOT);

    torct_put(store.mvcc, "c", "new");
    torct_delete(store.mvcc, "c");
    begin_again();
    read_key("c", NULL);
    cr_assert_eq(tombstone_stamp("c") + 1, reader->slot.snapshot);
    cr_expect(holds());
    (void)torci_clock_read_stamp(&store.mvcc->clock);
    cr_expect(holds());
    cr_assert_lt(tombstone_stamp("c"), reader->slot.snapshot, "it was there all the time");
    torc_txn_abort(older);
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
    torct_delete(store.mvcc, "c");
    cr_expect_not(holds(), "of its absence");
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

Test(read_set_key, a_young_tombstone_is_kept_for_as_long_as_it_counts)
{
    read_key("c", NULL);
    torct_put(store.mvcc, "c", "new");
    torct_delete(store.mvcc, "c");
    torct_collect(store.mvcc);
    cr_assert_gt(tombstone_stamp("c"), reader->slot.snapshot);
    cr_expect_not(holds());
    torct_put(store.mvcc, "c", "again");
    cr_expect_not(holds());
}

Test(read_set_key, a_key_that_left_is_absent_and_one_that_came_back_is_not)
{
    struct torc_txn *older = torct_begin(store.mvcc, TORC_SNAPSHOT);

    torct_put(store.mvcc, "c", "new");
    torct_delete(store.mvcc, "c");
    begin_again();
    read_key("c", NULL);
    cr_assert_lt(tombstone_stamp("c"), reader->slot.snapshot);
    torc_txn_abort(older);
    torct_collect(store.mvcc);
    cr_assert_null(torct_record(store.mvcc, "c"));
    cr_expect(holds());
    torct_put(store.mvcc, "c", "again");
    cr_expect_not(holds());
    torct_delete(store.mvcc, "c");
    torct_collect(store.mvcc);
    cr_expect_not(holds(), "nor after it left again");
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

/* What may happen to a key, step by step: '+' put, '-' delete. Those that begin with '-' need a key that is there. */
static const char *const changes[] = {"+", "+-", "-", "-+"};

static void
change(const char *key, const char *what)
{
    for (; *what != '\0'; what++) {
        if (*what == '+')
            torct_put(store.mvcc, key, "new");
        else
            torct_delete(store.mvcc, key);
    }
}

/* A scan holds before `what` happens to `key`, and if `key` is none of `seen`, afterwards too. */
static void
expect_after(const char *key, const char *what, const char *from, const char *to, bool reverse, unsigned limit,
             const char *shown, const char *seen)
{
    begin_again();
    cr_assert_str_eq(scan(from, to, reverse, limit), shown);
    cr_assert(holds(), "[%s, %s)%s %u before any change", from, to, reverse ? " reverse" : "", limit);
    change(key, what);
    cr_expect_eq(holds(), strstr(seen, key) == NULL, "[%s, %s)%s %u: %s %s", from, to, reverse ? " reverse" : "",
                 limit, what, key);
    /* As it was. */
    if (strstr("bdfh", key) != NULL)
        torct_put(store.mvcc, key, "old");
    else if (strcmp(what, "+") == 0)
        torct_delete(store.mvcc, key);
}

/* A scan is spoiled by whatever happens to one of the keys `seen`, there or not, and by nothing that happens to
 * another. The tombstones of the rounds before stay, as an older snapshot is open: none of them spoils anything. */
static void
expect_spoiled_within(const char *seen, const char *from, const char *to, bool reverse, unsigned limit,
                      const char *shown)
{
    struct torc_txn *older = torct_begin(store.mvcc, TORC_SNAPSHOT);
    char key[2] = "a";

    for (; key[0] <= 'i'; key[0]++) {
        for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
            if (changes[i][0] == '+' || strstr("bdfh", key) != NULL)
                expect_after(key, changes[i], from, to, reverse, limit, shown, seen);
        }
        cr_assert(strstr("bdfh", key) != NULL || tombstone_stamp(key) > older->slot.snapshot);
    }
    torc_txn_abort(older);
}

Test(read_set_range, complete_is_spoiled_by_changes_within_and_by_no_others)
{
    expect_spoiled_within("cdefg", "c", "h", false, 0, "df");
    expect_spoiled_within("cdefg", "c", "h", true, 0, "fd");
}

Test(read_set_range, complete_without_bounds_is_spoiled_by_every_change)
{
    expect_spoiled_within("abcdefghi", "", "", false, 0, "bdfh");
    expect_spoiled_within("abcdefghi", "", "", true, 0, "hfdb");
}

Test(read_set_range, without_keys_is_spoiled_by_a_phantom_even_if_it_is_gone_again)
{
    expect_spoiled_within("e", "e", "f", false, 0, "");
    expect_spoiled_within("e", "e", "f", true, 0, "");
}

Test(read_set_range, ascending_counts_as_far_as_it_was_shown)
{
    expect_spoiled_within("bcd", "b", "", false, 2, "bd");
    expect_spoiled_within("bcd", "b", "h", false, 2, "bd");
}

Test(read_set_range, descending_counts_as_far_as_it_was_shown)
{
    expect_spoiled_within("fghi", "", "", true, 2, "hf");
    expect_spoiled_within("fghi", "b", "", true, 2, "hf");
}

Test(read_set_range, over_a_tombstone_holds_only_if_the_snapshot_saw_it)
{
    struct torc_txn *older = torct_begin(store.mvcc, TORC_SNAPSHOT);

    change("e", "+-");
    begin_again();
    cr_assert_str_eq(scan("c", "g", false, 0), "df");
    cr_assert_eq(tombstone_stamp("e") + 1, reader->slot.snapshot);
    cr_expect(holds());
    change("e", "+-");
    cr_assert_eq(tombstone_stamp("e"), reader->slot.snapshot + 1);
    cr_expect_not(holds_at(tombstone_stamp("e")));
    (void)torci_clock_read_stamp(&store.mvcc->clock);
    cr_expect_not(holds());
    torc_txn_abort(older);
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
    torct_delete(store.mvcc, "a");
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

/* A reader with a snapshot of now sees every key there is. */
static void
scan_all_again(void)
{
    struct torc_cursor *cursor;
    struct torc_slice key;

    begin_again();
    cr_assert_eq(torc_txn_scan(reader, NULL, &cursor), TORC_OK);
    while (torc_cursor_next(cursor, &key, NULL) == TORC_OK)
        continue;
    cr_assert(holds());
}

Test(read_set_range, spans_many_leaves)
{
    char key[8];

    for (unsigned i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%05u", i);
        torct_put(store.mvcc, key, "v");
    }
    scan_all_again();
    torct_put(store.mvcc, "k00321x", "phantom");
    cr_expect_not(holds());
    torct_delete(store.mvcc, "k00321x");
    cr_expect_not(holds(), "it has been there");
    scan_all_again();
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

/* A get decides it, and so agrees with the snapshot that is open already and sees what commits at that stamp. */
static void
expect_get_agrees_with_an_open_snapshot(bool commits)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    const char *expected = commits ? "other" : "2";
    struct torc_txn *snapshot;
    uint64_t stamp;

    cr_assert(torct_txn_reads(txn, "b", "1"));
    torct_txn_put(txn, "d", "other");
    if (!commits)
        torct_put(store.mvcc, "b", "changed");
    other = torct_commit_install(txn);
    torct_commit_decide(&other);
    stamp = torct_commit_validate(&other);
    snapshot = torct_begin(store.mvcc, TORC_SNAPSHOT);
    cr_assert_gt(snapshot->slot.snapshot, stamp);
    cr_expect(torct_reads(store.mvcc, "d", expected));
    cr_expect_eq(torct_commit_state(&other), commits ? TORCI_COMMITTED : TORCI_ABORTED);
    cr_expect(torct_txn_reads(snapshot, "d", expected));
    cr_expect_eq(torct_commit_finish(&other), commits);
    cr_expect(torct_reads(store.mvcc, "d", expected), "and nothing changed after that");
    torc_txn_abort(snapshot);
}

Test(read_set_undecided, a_get_shows_a_validating_one_that_holds)
{
    expect_get_agrees_with_an_open_snapshot(true);
}

Test(read_set_undecided, a_get_shows_what_is_below_a_validating_one_that_does_not)
{
    expect_get_agrees_with_an_open_snapshot(false);
}

Test(read_set_undecided, over_a_validating_one_that_holds_a_write_conflicts_at_once)
{
    other_installs("d", TORC_SERIALIZABLE);
    torct_commit_decide(&other);
    cr_assert_gt(torct_commit_validate(&other), reader->slot.snapshot);
    cr_expect_eq(torc_txn_delete(reader, torct_text("d")), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "d"));
    cr_expect_eq(torct_commit_state(&other), TORCI_COMMITTED);
    cr_expect(torct_commit_finish(&other));
}

Test(read_set_undecided, a_validating_one_that_does_not_hold_is_no_conflict)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);

    cr_assert(torct_txn_reads(txn, "b", "1"));
    torct_txn_put(txn, "d", "other");
    torct_put(store.mvcc, "b", "changed");
    other = torct_commit_install(txn);
    torct_commit_decide(&other);
    torct_commit_validate(&other);
    cr_expect_eq(torc_txn_delete(reader, torct_text("d")), TORC_OK);
    cr_expect_eq(torct_commit_state(&other), TORCI_ABORTED);
    cr_expect_not(torct_commit_finish(&other));
}

/* ---- A tombstone of our own stamp (docs/decisions/0007) ----
 *
 * T read that c is absent, read d, and writes x. W read that x is absent, and put c at T's stamp or at an older one: W
 * stands before T. So c is absent for T only if its deleter D stands before T too; that D shares T's stamp does not
 * tell. */

static struct torct_commit tied;
static uint64_t tied_stamp;

/* T validates, after W; `reader` is T. */
static void
validate_after_a_put(bool absent_in_a_range, bool put_is_older)
{
    struct torc_txn *before;
    uint64_t put;

    torct_put(store.mvcc, "d", "2");
    begin_again();
    if (absent_in_a_range)
        cr_assert_str_eq(scan("c", "d", false, 0), "");
    else
        read_key("c", NULL);
    read_key("d", "2");
    torct_txn_put(reader, "x", "own");
    tied = torct_commit_install(reader);
    before = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    cr_assert(torct_txn_reads(before, "x", NULL));
    torct_txn_put(before, "c", "before");
    cr_assert_eq(torc_txn_commit(before), TORC_OK);
    put = torc_last_commit();
    cr_assert_gt(put, reader->slot.snapshot);
    if (put_is_older)
        (void)torci_clock_read_stamp(&store.mvcc->clock);
    torct_commit_decide(&tied);
    tied_stamp = torct_commit_validate(&tied);
    cr_assert(put_is_older ? put < tied_stamp : put == tied_stamp);
}

/* T goes on to its end. */
static void
expect_refused(unsigned which)
{
    cr_expect_not(torct_commit_finish(&tied), "case %u", which);
    reader = NULL;
    cr_expect(torct_reads(store.mvcc, "x", NULL));
}

static void
delete_at_the_tied_stamp(void)
{
    torct_delete(store.mvcc, "c");
    cr_assert_eq(tombstone_stamp("c"), tied_stamp);
}

/* Whether T's validation, come no farther than over `part` of its reads, would go on. */
static bool
part_holds(struct torci_read_set *part)
{
    bool holds;

    tied.descriptor->reads = part;
    holds = torci_read_set_valid(tied.descriptor, tied_stamp);
    tied.descriptor->reads = &reader->reads;
    return holds;
}

/* The four cases: c read by itself or in a range, put at the same stamp or at an older one. */
static const struct tie {
    bool in_a_range;
    bool put_is_older;
} ties[] = {{false, false}, {false, true}, {true, false}, {true, true}};

Test(read_set_tie, a_deletion_at_our_stamp_does_not_make_up_for_the_put)
{
    for (unsigned i = 0; i < sizeof ties / sizeof ties[0]; i++) {
        validate_after_a_put(ties[i].in_a_range, ties[i].put_is_older);
        delete_at_the_tied_stamp();
        expect_refused(i);
    }
}

/* The cycle itself: T has looked at d when D's thread overwrites it, and then deletes c. So T stands before D. */
Test(read_set_tie, a_deletion_between_two_looks_at_our_stamp_does_not_either)
{
    for (unsigned i = 0; i < sizeof ties / sizeof ties[0]; i++) {
        struct torci_read_set looked_at, left;
        struct torci_read first;

        validate_after_a_put(ties[i].in_a_range, ties[i].put_is_older);
        first = *reader->reads.reads; /* Looked at in the reverse order of reading, ranges last. */
        cr_assert(first.record != NULL && torct_slice_is(torci_record_key(first.record), "d"));
        left = reader->reads;
        left.reads = first.next;
        first.next = NULL;
        looked_at = (struct torci_read_set){left.arena, &first, NULL};
        cr_assert(left.reads != NULL || left.ranges != NULL);

        cr_assert(part_holds(&looked_at));
        torct_put(store.mvcc, "d", "after");
        cr_assert_eq(torc_last_commit(), tied_stamp);
        delete_at_the_tied_stamp();
        cr_expect_not(part_holds(&left), "case %u", i);
        expect_refused(i);
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

Test(read_set_blame, names_a_key_that_was_put_and_deleted_again)
{
    struct torci_epoch_guard guard;

    read_key("b", "1");
    read_key("c", NULL);
    cr_assert_str_eq(scan("d", "", false, 0), "dfh");
    change("c", "+-");
    cr_assert_not(holds());
    guard = torci_epoch_enter();
    torci_read_set_blame(&descriptor);
    torci_epoch_exit(guard);
    cr_expect(torct_slice_is(torc_conflict_key(), "c"));
    begin_again();
    cr_assert_str_eq(scan("d", "", false, 0), "dfh");
    change("e", "+-");
    cr_assert_not(holds());
    guard = torci_epoch_enter();
    torci_read_set_blame(&descriptor);
    torci_epoch_exit(guard);
    cr_expect(torct_slice_is(torc_conflict_key(), "e"), "in a range, too");
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

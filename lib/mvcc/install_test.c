/* SPDX-License-Identifier: MIT */
/* Each case of the table in install.h, with heads made by hand. */
#include "mvcc/install.h"

#include "mvcc/mvcc_testing.h"

static struct torct_store store;
static struct torci_shard *shard;
static struct torci_descriptor writer;     /* Who installs, where it has a rank. */
static struct torct_commit other;          /* Whose version stands in the way. */

static void
create(void)
{
    torct_store_open(&store);
    shard = torct_shard(store.mvcc);
    memset(&writer, 0, sizeof writer);
    writer.snapshot = TORCI_COMMIT_STAMP_MAX - 1;
    torci_conflict_note(torc_slice(NULL, 0));
}

static void
destroy(void)
{
    torct_store_close(&store);
}

TestSuite(install, .init = create, .fini = destroy, .timeout = 30);
TestSuite(install_only_live, .init = create, .fini = destroy, .timeout = 30);
TestSuite(install_over_undecided, .init = create, .fini = destroy, .timeout = 30);
TestSuite(install_uninstall, .init = create, .fini = destroy, .timeout = 30);

static uint64_t
order_of(const char *key)
{
    return torci_key_order(store.mvcc, torct_text(key));
}

/* A write without lanes; one per test. */
static struct torci_write *
write_of(const char *key, const char *value)
{
    static struct torci_write made;

    made.keyspace = store.mvcc->main;
    made.key = torct_text(key);
    made.order = order_of(key);
    made.version = torci_version_create(shard, torct_text(value), UINT64_MAX, 0);
    cr_assert_not_null(made.version);
    return &made;
}

static enum torc_status
install(struct torci_write *write, const struct torci_descriptor *rank, bool only_live)
{
    static const struct torci_demand present = {TORCI_DEMAND_PRESENT, {NULL, 0}};
    struct torci_moment moment = {store.mvcc, 0};
    struct torci_install how = {.store = store.mvcc, .shard = shard, .guard = torci_epoch_enter(),
                                .stamp = TORCI_STAMP_PENDING, .rank = rank, .moment = &moment,
                                .demand = only_live ? &present : NULL};
    enum torc_status status = torci_install(&how, write);

    torci_epoch_exit(how.guard);
    cr_assert_eq(write->installed, status == TORC_OK);
    if (!write->installed)
        torci_version_destroy(shard, write->version);
    if (write->fresh != NULL)
        torci_record_destroy(store.mvcc, write->fresh);
    return status;
}

static enum torc_status
install_blind(struct torci_write *write)
{
    return install(write, NULL, false);
}

static enum torc_status
install_ranked(struct torci_write *write)
{
    return install(write, &writer, false);
}

/* A record that holds no version, as one stands in the index for a moment before the first write-> */
static struct torci_record *
insert_empty(const char *key)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *record = torci_record_create(shard, store.mvcc->main, torct_text(key), order_of(key));
    struct torci_record *existing;

    cr_assert_not_null(record);
    cr_assert_eq(torci_limbo_reserve(shard->limbo, TORCI_INDEX_RETIRES_MAX), TORC_OK);
    cr_assert_eq(torci_index_insert(store.mvcc->main->index, guard, shard->limbo, record, &existing), TORC_OK);
    torci_epoch_exit(guard);
    return record;
}

static bool
is_ordered(const char *key)
{
    return (torci_load(&torct_record(store.mvcc, key)->flags, memory_order_acquire) & TORCI_RECORD_ORDERED) != 0;
}

static unsigned
keys_in_scan(void)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    struct torc_cursor *cursor;
    struct torc_slice key;
    unsigned count = 0;

    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    while (torc_cursor_next(cursor, &key, NULL) == TORC_OK)
        count++;
    torc_txn_abort(txn);
    return count;
}

/* Another transaction that writes `key`, stopped after its installation. */
static void
other_installs(const char *key, enum torc_isolation isolation)
{
    struct torc_txn *txn = torct_begin(store.mvcc, isolation);

    cr_assert_eq(torc_txn_put(txn, torct_text(key), torct_text("other")), TORC_OK);
    other = torct_commit_install(txn);
}

/* ---- No record, an empty one, a frozen one ---- */

Test(install, publishes_a_record_for_a_new_key_in_both_indexes)
{
    struct torci_write *write = write_of("k", "v");

    cr_assert_eq(install_blind(write), TORC_OK);
    cr_expect_eq(write->record, torct_record(store.mvcc, "k"));
    cr_expect_null(write->fresh);
    cr_expect_not(write->was_live);
    cr_expect(is_ordered("k"));
    cr_expect_eq(torct_head(store.mvcc, "k"), write->version);
    cr_expect(torct_reads(store.mvcc, "k", "v"));
    cr_expect_eq(keys_in_scan(), 1u);
}

Test(install, takes_the_record_it_was_given)
{
    struct torci_write *write = write_of("k", "v");

    write->fresh = torci_record_create(shard, store.mvcc->main, write->key, write->order);
    cr_assert_not_null(write->fresh);
    struct torci_record *given = write->fresh;
    cr_assert_eq(install_blind(write), TORC_OK);
    cr_expect_eq(write->record, given);
}

Test(install, leaves_its_own_record_unused_if_one_is_there)
{
    struct torci_write *write = write_of("k", "new");

    torct_put(store.mvcc, "k", "old");
    write->fresh = torci_record_create(shard, store.mvcc->main, write->key, write->order);
    struct torci_record *given = write->fresh;
    cr_assert_eq(install_blind(write), TORC_OK);
    cr_expect_neq(write->record, given);
    cr_expect(write->was_live);
    cr_expect(torct_reads(store.mvcc, "k", "new"));
}

Test(install, fills_an_empty_record)
{
    struct torci_record *record = insert_empty("k");
    struct torci_write *write = write_of("k", "v");

    cr_assert_eq(install_ranked(write), TORC_OK);
    cr_expect_eq(write->record, record);
    cr_expect_not(write->was_live);
    cr_expect(is_ordered("k"));
    cr_expect(torct_reads(store.mvcc, "k", "v"));
}

Test(install, helps_a_frozen_record_out_and_publishes_another)
{
    struct torci_record *frozen = insert_empty("k");
    struct torci_write *write = write_of("k", "v");
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_store(&frozen->head, torci_frozen(), memory_order_seq_cst);
    cr_assert_eq(install_blind(write), TORC_OK);
    cr_expect_neq(write->record, frozen);
    cr_expect(torci_load(&frozen->flags, memory_order_relaxed) & TORCI_RECORD_REMOVED);
    torci_epoch_exit(guard);
    cr_expect(torct_reads(store.mvcc, "k", "v"));
    cr_expect_eq(keys_in_scan(), 1u);
}

Test(install, does_not_trust_a_record_that_froze_since_it_was_found)
{
    struct torci_write *write = write_of("k", "v");
    struct torci_epoch_guard guard = torci_epoch_enter();

    write->record = insert_empty("k");
    torci_store(&write->record->head, torci_frozen(), memory_order_seq_cst);
    cr_assert_eq(install_blind(write), TORC_OK);
    torci_epoch_exit(guard);
    cr_expect(torct_reads(store.mvcc, "k", "v"));
}

/* ---- Committed heads ---- */

Test(install, replaces_what_is_not_newer_than_the_snapshot)
{
    struct torci_write *write = write_of("k", "new");

    torct_put(store.mvcc, "k", "old");
    writer.snapshot = torci_clock_read_stamp(&store.mvcc->clock);
    cr_assert_eq(install_ranked(write), TORC_OK);
    cr_expect(write->was_live);
    cr_expect(torct_reads(store.mvcc, "k", "new"));
}

Test(install, refuses_over_what_is_newer_than_the_snapshot_and_names_the_key)
{
    struct torci_write *write = write_of("k", "new");

    writer.snapshot = torci_clock_read_stamp(&store.mvcc->clock);
    torct_put(store.mvcc, "k", "old");
    cr_expect_eq(install_ranked(write), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "k"));
    cr_expect(torct_reads(store.mvcc, "k", "old"));
}

Test(install, a_newer_tombstone_refuses_as_well)
{
    struct torci_write *write = write_of("k", "new");

    torct_put(store.mvcc, "k", "old");
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT); /* Keeps the tombstone. */
    writer.snapshot = torc_txn_snapshot(txn);
    torct_delete(store.mvcc, "k");
    cr_expect_eq(install_ranked(write), TORC_CONFLICT);
    torc_txn_abort(txn);
}

Test(install, blindly_replaces_whatever_is_committed)
{
    struct torci_write *write = write_of("k", "new");

    torct_put(store.mvcc, "k", "old");
    cr_expect_eq(install_blind(write), TORC_OK);
    cr_expect(write->was_live);
}

Test(install, over_a_tombstone_finds_nothing_live)
{
    struct torci_write *write = write_of("k", "new");

    torct_put(store.mvcc, "k", "old");
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_delete(store.mvcc, "k");
    cr_expect_eq(install_blind(write), TORC_OK);
    cr_expect_not(write->was_live);
    torc_txn_abort(txn);
}

Test(install, leaves_room_for_the_retires_that_are_still_to_come)
{
    struct torci_write *write = write_of("k", "v");
    struct torci_install how = {.store = store.mvcc, .shard = shard, .guard = torci_epoch_enter(),
                                .stamp = TORCI_STAMP_PENDING, .retires_kept = 1000};

    cr_assert_eq(torci_install(&how, write), TORC_OK);
    torci_epoch_exit(how.guard);
    cr_expect_geq(torci_limbo_room(shard->limbo), 1000u);
}

/* ---- Only over something live ---- */

Test(install_only_live, finds_nothing_without_a_record)
{
    struct torci_write *write = write_of("k", "v");

    cr_expect_eq(install(write, NULL, true), TORC_NOT_FOUND);
    cr_expect_null(torct_record(store.mvcc, "k"), "and makes none");
}

Test(install_only_live, finds_nothing_in_an_empty_record)
{
    struct torci_write *write = write_of("k", "v");

    insert_empty("k");
    cr_expect_eq(install(write, NULL, true), TORC_NOT_FOUND);
    cr_expect_null(torct_head(store.mvcc, "k"));
}

Test(install_only_live, finds_nothing_over_a_tombstone)
{
    struct torci_write *write = write_of("k", "v");

    torct_put(store.mvcc, "k", "old");
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_delete(store.mvcc, "k");
    cr_expect_eq(install(write, NULL, true), TORC_NOT_FOUND);
    torc_txn_abort(txn);
}

Test(install_only_live, finds_nothing_in_a_frozen_record_and_helps_it_out)
{
    struct torci_record *frozen = insert_empty("k");
    struct torci_write *write = write_of("k", "v");

    torci_store(&frozen->head, torci_frozen(), memory_order_seq_cst);
    cr_expect_eq(install(write, NULL, true), TORC_NOT_FOUND);
    cr_expect_null(torct_record(store.mvcc, "k"));
}

Test(install_only_live, replaces_a_value)
{
    struct torci_write *write = write_of("k", "v");

    torct_put(store.mvcc, "k", "old");
    cr_expect_eq(install(write, NULL, true), TORC_OK);
    cr_expect(write->was_live);
}

Test(install_only_live, looks_below_a_commit_that_it_aborts)
{
    struct torci_write *write = write_of("k", "v");

    other_installs("k", TORC_SNAPSHOT);
    cr_expect_eq(install(write, NULL, true), TORC_NOT_FOUND);
    cr_expect_not(torct_commit_finish(&other));
}

/* ---- Undecided and aborted heads ---- */

Test(install_over_undecided, a_blind_write_aborts_what_is_installing)
{
    struct torci_write *write = write_of("k", "blind");

    torct_put(store.mvcc, "k", "old");
    other_installs("k", TORC_SNAPSHOT);
    other.descriptor->attempts = UINT64_MAX;
    cr_assert_eq(install_blind(write), TORC_OK);
    cr_expect_eq(torct_commit_state(&other), TORCI_ABORTED);
    cr_expect_eq(torct_stats(store.mvcc).wounds, 1u);
    cr_expect(write->was_live, "what counts is what was committed below");
    cr_expect_not(torct_commit_finish(&other));
    cr_expect(torct_reads(store.mvcc, "k", "blind"));
}

Test(install_over_undecided, the_higher_rank_aborts_what_is_installing)
{
    struct torci_write *write = write_of("k", "ranked");

    other_installs("k", TORC_SNAPSHOT);
    writer.attempts = other.descriptor->attempts + 1;
    cr_assert_eq(install_ranked(write), TORC_OK);
    cr_expect_eq(torct_commit_state(&other), TORCI_ABORTED);
    cr_expect_not(torct_commit_finish(&other));
    cr_expect(torct_reads(store.mvcc, "k", "ranked"));
}

Test(install_over_undecided, the_lower_rank_gives_up_and_leaves_the_other_alone)
{
    struct torci_write *write = write_of("k", "ranked");

    other_installs("k", TORC_SNAPSHOT);
    other.descriptor->attempts = 1;
    cr_expect_eq(install_ranked(write), TORC_CONFLICT);
    cr_expect(torct_slice_is(torc_conflict_key(), "k"));
    cr_expect_eq(torct_commit_state(&other), TORCI_INSTALLING);
    cr_expect_eq(torct_stats(store.mvcc).wounds, 0u);
    cr_expect(torct_commit_finish(&other));
    cr_expect(torct_reads(store.mvcc, "k", "other"));
}

Test(install_over_undecided, deciding_is_decided_and_then_newer_than_the_snapshot)
{
    struct torci_write *write = write_of("k", "ranked");

    other_installs("k", TORC_SNAPSHOT);
    writer.snapshot = other.descriptor->snapshot;
    writer.attempts = UINT64_MAX;
    torct_commit_decide(&other);
    cr_expect_eq(install_ranked(write), TORC_CONFLICT, "no rank undoes a commit");
    cr_expect_eq(torct_commit_state(&other), TORCI_COMMITTED);
    cr_expect(torct_commit_finish(&other));
}

Test(install_over_undecided, deciding_is_decided_and_blindly_replaced)
{
    struct torci_write *write = write_of("k", "blind");

    other_installs("k", TORC_SNAPSHOT);
    torct_commit_decide(&other);
    cr_expect_eq(install_blind(write), TORC_OK);
    cr_expect(write->was_live);
    cr_expect(torct_commit_finish(&other), "it committed, and was replaced");
    cr_expect(torct_reads(store.mvcc, "k", "blind"));
}

Test(install_over_undecided, validating_is_helped_to_its_commit)
{
    struct torci_write *write = write_of("k", "ranked");

    other_installs("k", TORC_SERIALIZABLE);
    writer.snapshot = other.descriptor->snapshot;
    torct_commit_decide(&other);
    torct_commit_validate(&other);
    cr_expect_eq(install_ranked(write), TORC_CONFLICT);
    cr_expect_eq(torct_commit_state(&other), TORCI_COMMITTED);
    cr_expect(torct_commit_finish(&other));
}

Test(install_over_undecided, validating_is_helped_to_its_refusal_and_gone_under)
{
    struct torci_write *write = write_of("k", "ranked");
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);

    cr_assert(torct_txn_reads(txn, "r", NULL));
    torct_txn_put(txn, "k", "other");
    torct_put(store.mvcc, "r", "changed");
    other = torct_commit_install(txn);
    torct_commit_decide(&other);
    torct_commit_validate(&other);
    cr_assert_eq(install_ranked(write), TORC_OK);
    cr_expect_eq(torct_commit_state(&other), TORCI_ABORTED);
    cr_expect_not(write->was_live);
    cr_expect_not(torct_commit_finish(&other));
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 1u);
}

Test(install_over_undecided, an_aborted_version_leaves_the_chain_and_goes_back)
{
    struct torci_write *write = write_of("k", "new");
    struct torci_version *below;

    torct_put(store.mvcc, "k", "old");
    below = torct_head(store.mvcc, "k");
    other_installs("k", TORC_SNAPSHOT);
    cr_assert(torci_descriptor_wound(other.descriptor));
    cr_assert_eq(install_ranked(write), TORC_OK);
    cr_expect_eq(torci_load(&write->version->older, memory_order_relaxed), below);
    cr_expect_eq(torct_stats(store.mvcc).wounds, 0u, "it was dead already");
    cr_expect_not(torct_commit_finish(&other));
}

Test(install_over_undecided, below_an_aborted_version_the_snapshot_rule_holds_too)
{
    struct torci_write *write = write_of("k", "new");

    writer.snapshot = torci_clock_read_stamp(&store.mvcc->clock);
    torct_put(store.mvcc, "k", "old");
    other_installs("k", TORC_SNAPSHOT);
    cr_assert(torci_descriptor_wound(other.descriptor));
    cr_expect_eq(install_ranked(write), TORC_CONFLICT);
    cr_expect_not(torct_commit_finish(&other));
    cr_expect(torct_reads(store.mvcc, "k", "old"));
}

/* ---- Off again ---- */

Test(install_uninstall, takes_the_version_off_and_shows_what_was_below)
{
    struct torci_install how = {.store = store.mvcc, .shard = shard};
    struct torci_write *write;

    torct_put(store.mvcc, "k", "old");
    other_installs("k", TORC_SNAPSHOT);
    write = torci_write_set_first(&other.txn->writes);
    cr_assert(torci_descriptor_wound(other.descriptor));
    cr_assert_eq(torci_limbo_reserve(shard->limbo, 1), TORC_OK);
    how.guard = torci_epoch_enter();
    cr_expect(torci_uninstall(&how, write));
    cr_expect_not(torci_uninstall(&how, write), "once");
    torci_epoch_exit(how.guard);
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 1u);
    cr_expect(torct_reads(store.mvcc, "k", "old"));
    cr_expect_not(torct_commit_finish(&other));
}

Test(install_uninstall, leaves_it_to_whoever_went_over_it)
{
    struct torci_install how = {.store = store.mvcc, .shard = shard};

    other_installs("k", TORC_SNAPSHOT);
    torct_put(store.mvcc, "k", "blind");
    cr_assert_eq(torci_limbo_reserve(shard->limbo, 1), TORC_OK);
    how.guard = torci_epoch_enter();
    cr_expect_not(torci_uninstall(&how, torci_write_set_first(&other.txn->writes)));
    torci_epoch_exit(how.guard);
    cr_expect(torct_reads(store.mvcc, "k", "blind"));
    cr_expect_not(torct_commit_finish(&other));
}

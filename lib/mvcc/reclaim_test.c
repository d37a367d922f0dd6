/* SPDX-License-Identifier: MIT */
#include "mvcc/reclaim.h"

#include "mvcc/mvcc_testing.h"

static struct torct_store store;
static struct torci_shard *shard;

static void
create(void)
{
    torct_store_open(&store);
    shard = torct_shard(store.mvcc);
}

static void
destroy(void)
{
    torct_store_close(&store);
}

TestSuite(reclaim_chain, .init = create, .fini = destroy, .timeout = 60);
TestSuite(reclaim_record, .init = create, .fini = destroy, .timeout = 60);
TestSuite(reclaim_queue, .init = create, .fini = destroy, .timeout = 60);
TestSuite(reclaim_walk, .init = create, .fini = destroy, .timeout = 60);

static const char *
name_of(unsigned number)
{
    static char name[16];

    snprintf(name, sizeof name, "k%05u", number);
    return name;
}

static uint64_t
records(void)
{
    struct torci_index_stats stats;

    torci_index_stats(store.mvcc->main->index, &stats);
    return stats.records;
}

static uint64_t
versions(void)
{
    struct torc_mvcc_stats stats = torct_stats(store.mvcc);

    return stats.versions_created - stats.versions_freed;
}

/* ---- Chains ---- */

Test(reclaim_chain, is_cut_to_one_version_when_nobody_reads)
{
    unsigned longest = 0;

    for (unsigned i = 0; i < 500; i++) {
        unsigned length;

        torct_put(store.mvcc, "k", "v");
        length = torct_chain_length(store.mvcc, "k");
        longest = length > longest ? length : longest;
    }
    cr_expect_leq(longest, 12u, "commits cut it on their way: %u", longest);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 1u);
    cr_expect_eq(versions(), 1u);
    cr_expect_eq(torct_stats(store.mvcc).retired_bytes, 0u);
}

Test(reclaim_chain, keeps_exactly_what_two_old_snapshots_need)
{
    struct torc_txn *first, *second;

    torct_put(store.mvcc, "k", "1");
    first = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_put(store.mvcc, "k", "2");
    torct_put(store.mvcc, "k", "3");
    second = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned i = 4; i < 40; i++)
        torct_put(store.mvcc, "k", name_of(i));
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 3u);
    cr_expect(torct_txn_reads(first, "k", "1"));
    cr_expect(torct_txn_reads(second, "k", "3"));
    cr_expect(torct_reads(store.mvcc, "k", "k00039"));
    torc_txn_abort(first);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 2u);
    cr_expect(torct_txn_reads(second, "k", "3"));
    torc_txn_abort(second);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 1u);
    cr_expect_eq(versions(), 1u);
}

Test(reclaim_chain, a_long_reader_costs_a_bounded_number_of_versions_per_updated_key)
{
    enum { KEYS = 20, UPDATES = 100 };
    struct torc_txn *reader;

    for (unsigned i = 0; i < KEYS; i++)
        torct_put(store.mvcc, name_of(i), "old");
    reader = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned update = 0; update < UPDATES; update++) {
        for (unsigned i = 0; i < KEYS; i++) {
            torct_put(store.mvcc, name_of(i), "new");
            cr_assert_leq(torct_chain_length(store.mvcc, name_of(i)), 16u);
        }
    }
    torct_collect(store.mvcc);
    cr_expect_eq(versions(), 2u * KEYS, "what it sees, and the newest");
    for (unsigned i = 0; i < KEYS; i++)
        cr_expect(torct_txn_reads(reader, name_of(i), "old"));
    torc_txn_abort(reader);
}

/* A collection without its grace periods. */
static void
prune_all(void)
{
    (void)torci_reclaim_sweep(shard);
    cr_assert_eq(torci_walk(store.mvcc->main, torci_reclaim_visit, shard), TORC_OK);
}

Test(reclaim_chain, is_pruned_under_an_undecided_head)
{
    struct torc_txn *txn, *reader;
    struct torct_commit commit;

    torct_put(store.mvcc, "k", "1");
    reader = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned i = 0; i < 3; i++)
        torct_put(store.mvcc, "k", "2");
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_txn_put(txn, "k", "3");
    commit = torct_commit_install(txn);
    torc_txn_abort(reader);
    prune_all();
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 2u, "the newest committed one stays");
    cr_expect_eq(torct_commit_state(&commit), TORCI_INSTALLING, "nobody decides for the sake of garbage");
    cr_assert(torci_descriptor_wound(commit.descriptor));
    prune_all();
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 1u, "an aborted head is taken off");
    cr_expect_not(torct_commit_finish(&commit));
    cr_expect(torct_reads(store.mvcc, "k", "2"));
}

/* Model: the whole history of each key. Needed is the newest version, and each that an open snapshot sees. */
enum { MODEL_KEYS = 6, MODEL_SNAPSHOTS = 5, HISTORY = 4000 };

static struct {
    unsigned count;
    uint64_t stamps[HISTORY];
    unsigned values[HISTORY]; /* 0: a tombstone. */
} histories[MODEL_KEYS];

/* Where in the history of `key` a snapshot stands: 0 before all, else 1 + the version it sees. */
static unsigned
seen_at(unsigned key, uint64_t snapshot)
{
    unsigned seen = 0;

    while (seen < histories[key].count && histories[key].stamps[seen] <= snapshot)
        seen++;
    return seen;
}

static void
check_chain(unsigned key, struct torc_txn *const open[MODEL_SNAPSHOTS])
{
    unsigned count = histories[key].count, expected = 0, oldest = 0, length;
    bool needed[HISTORY + 1] = {false};

    if (count == 0)
        return;
    needed[count] = true;
    for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++) {
        unsigned seen = open[i] == NULL ? 0 : seen_at(key, torc_txn_snapshot(open[i]));
        char value[16];

        needed[seen] = true;
        if (open[i] == NULL)
            continue;
        snprintf(value, sizeof value, "%u", seen == 0 ? 0 : histories[key].values[seen - 1]);
        cr_assert(torct_txn_reads(open[i], name_of(key), strcmp(value, "0") == 0 ? NULL : value));
    }
    for (unsigned at = count; at > 0; at--) {
        expected += needed[at];
        oldest = needed[at] ? at : oldest;
    }
    length = torct_chain_length(store.mvcc, name_of(key));
    /* The oldest of them may have left with its record, if it is a tombstone, and the key come back since. */
    cr_assert(length == expected || (length == expected - 1 && histories[key].values[oldest - 1] == 0),
              "key %u: %u versions, %u are needed", key, length, expected);
}

static void
change_one(struct torci_random *random, unsigned *value)
{
    unsigned key = (unsigned)torci_random_below(random, MODEL_KEYS);
    unsigned count = histories[key].count;
    char text[16];

    if (count == HISTORY)
        return;
    if (torci_random_one_in(random, 4)) {
        if (torc_mvcc_delete(store.mvcc, torct_text(name_of(key))) == TORC_NOT_FOUND)
            return;
        histories[key].values[count] = 0;
    } else {
        snprintf(text, sizeof text, "%u", ++*value);
        torct_put(store.mvcc, name_of(key), text);
        histories[key].values[count] = *value;
    }
    histories[key].stamps[count] = torc_last_commit();
    histories[key].count++;
}

Test(reclaim_chain, holds_what_the_open_snapshots_see_and_nothing_else)
{
    struct torci_random random = torci_random_seed(torct_seed());
    struct torc_txn *open[MODEL_SNAPSHOTS] = {NULL};
    unsigned value = 0;

    for (unsigned step = 0; step < 3000; step++) {
        unsigned slot = (unsigned)torci_random_below(&random, MODEL_SNAPSHOTS);

        if (torci_random_one_in(&random, 8)) {
            torc_txn_abort(open[slot]);
            open[slot] = torci_random_one_in(&random, 3) ? NULL : torct_begin(store.mvcc, TORC_SNAPSHOT);
        }
        change_one(&random, &value);
        if (step % 30 == 29) {
            torct_collect(store.mvcc);
            for (unsigned key = 0; key < MODEL_KEYS; key++)
                check_chain(key, open);
        }
    }
    for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++)
        torc_txn_abort(open[i]);
}

/* ---- Records ---- */

/* What the store holds, without pages that have no object: a region stays as long as one page of it has any. */
static uint64_t
bytes_in_use(void)
{
    return torci_heap_bytes(&store.mvcc->heap) -
           torci_load(&store.mvcc->objects.idle_pages, memory_order_relaxed) * TORCI_SLAB_PAGE_BYTES;
}

Test(reclaim_record, leaves_when_its_key_was_deleted)
{
    enum { KEYS = 300 };
    uint64_t before, bytes;

    torct_put(store.mvcc, "stays", "v");
    torct_collect(store.mvcc);
    before = records();
    bytes = bytes_in_use();
    for (unsigned i = 0; i < KEYS; i++)
        torct_put(store.mvcc, name_of(i), "v");
    cr_expect_eq(records(), before + KEYS);
    for (unsigned i = 0; i < KEYS; i++)
        torct_delete(store.mvcc, name_of(i));
    torct_collect(store.mvcc);
    cr_expect_eq(records(), before);
    cr_expect_eq(versions(), 1u);
    /* What remains is the index's own: buckets, leaves that merge no further, spare bags; a page for each size. */
    cr_expect_leq(bytes_in_use(), bytes + KEYS * 64 + 16 * TORCI_SLAB_PAGE_BYTES, "%ju, before %ju",
                  (uintmax_t)bytes_in_use(), (uintmax_t)bytes);
}

Test(reclaim_record, leaves_in_the_course_of_other_commits)
{
    enum { KEYS = 100 };

    for (unsigned i = 0; i < KEYS; i++)
        torct_put(store.mvcc, name_of(i), "v");
    for (unsigned i = 0; i < KEYS; i++)
        torct_delete(store.mvcc, name_of(i));
    for (unsigned i = 0; i < 1000; i++)
        torct_put(store.mvcc, "other", "v");
    cr_expect_leq(records(), 5u, "%ju records", (uintmax_t)records());
}

Test(reclaim_record, stays_while_a_snapshot_sees_what_was_deleted)
{
    struct torc_txn *reader;

    torct_put(store.mvcc, "k", "v");
    reader = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_delete(store.mvcc, "k");
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 2u);
    cr_expect(torct_txn_reads(reader, "k", "v"));
    torc_txn_abort(reader);
    torct_collect(store.mvcc);
    cr_expect_null(torct_record(store.mvcc, "k"));
}

Test(reclaim_record, a_tombstone_stays_while_it_refutes_an_older_writer)
{
    struct torc_txn *writer = torct_begin(store.mvcc, TORC_SNAPSHOT);

    torct_put(store.mvcc, "k", "v");
    torct_delete(store.mvcc, "k");
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "k"), 1u);
    cr_expect_eq(torc_txn_put_if_absent(writer, torct_text("k"), torct_text("w")), TORC_CONFLICT);
    torc_txn_abort(writer);
    torct_collect(store.mvcc);
    cr_expect_null(torct_record(store.mvcc, "k"));
}

/* What stays is not the same each time: nodes of the index keep their regions, and a region is the larger the more
 * garbage waited for its grace period when it was made; what was never carved from it counts here. That is less than 16
 * pages, after however many rounds. If each left but a version behind, it would be 72 (as the tiny pages count). */
Test(reclaim_record, a_key_may_come_and_go_for_ever)
{
    enum { ROUNDS = 3000, FIRST_ROUNDS = ROUNDS / 10 };
    uint64_t bytes = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i == FIRST_ROUNDS) {
            torct_collect(store.mvcc);
            bytes = bytes_in_use();
        }
        torct_put(store.mvcc, "k", "v");
        cr_assert(torct_reads(store.mvcc, "k", "v"));
        torct_delete(store.mvcc, "k");
        cr_assert(torct_reads(store.mvcc, "k", NULL));
    }
    torct_collect(store.mvcc);
    cr_expect_eq(records(), 0u);
    cr_expect_eq(versions(), 0u);
    cr_expect_leq(bytes_in_use(), bytes + 16 * TORCI_SLAB_PAGE_BYTES, "%ju, before %ju", (uintmax_t)bytes_in_use(),
                  (uintmax_t)bytes);
}

Test(reclaim_record, of_an_aborted_insert_leaves)
{
    enum { KEYS = 60 };
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);

    for (unsigned i = 0; i < KEYS; i++)
        torct_txn_put(txn, name_of(i), "v");
    torct_txn_put(txn, "z", "mine");
    torct_put(store.mvcc, "z", "first");
    cr_assert_eq(torc_txn_commit(txn), TORC_CONFLICT);
    torct_collect(store.mvcc);
    cr_expect_eq(records(), 1u);
    cr_expect_eq(versions(), 1u);
}

Test(reclaim_record, that_nobody_wrote_to_leaves)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torc_slice key = torct_text("k");
    uint64_t order = torci_key_order(store.mvcc, key);
    struct torci_record *record = torci_record_create(torct_shard(store.mvcc), store.mvcc->main, key, order);
    struct torci_record *existing;

    cr_assert_eq(torci_limbo_reserve(shard->limbo, 2 * TORCI_INDEX_RETIRES_MAX), TORC_OK);
    cr_assert_eq(torci_index_insert(store.mvcc->main->index, guard, shard->limbo, record, &existing), TORC_OK);
    cr_assert_eq(torci_index_order(store.mvcc->main->index, guard, shard->limbo, record), TORC_OK);
    torci_epoch_exit(guard);
    torct_collect(store.mvcc);
    cr_expect_eq(records(), 0u);
}

Test(reclaim_record, left_frozen_in_the_index_is_taken_out_by_the_next_walk)
{
    struct torci_record *record;

    torct_put(store.mvcc, "k", "v");
    record = torct_record(store.mvcc, "k");
    struct torci_version *version = torci_exchange(&record->head, torci_frozen(), memory_order_seq_cst);
    torci_version_destroy(shard, version);
    torci_keyspace_count(store.mvcc->main, -1);
    torct_collect(store.mvcc);
    cr_expect_eq(records(), 0u);
    torct_put(store.mvcc, "k", "again");
    cr_expect(torct_reads(store.mvcc, "k", "again"));
}

/* ---- The queue ---- */

/* With a snapshot open, every overwritten key has garbage that waits. */
static struct torc_txn *
fill_queue(unsigned keys)
{
    struct torc_txn *reader;

    for (unsigned i = 0; i < keys; i++)
        torct_put(store.mvcc, name_of(i), "old");
    torct_collect(store.mvcc);
    reader = torct_begin(store.mvcc, TORC_SNAPSHOT);
    for (unsigned i = 0; i < keys; i++)
        torct_put(store.mvcc, name_of(i), "new");
    return reader;
}

Test(reclaim_queue, notes_a_record_once_however_often_it_is_written)
{
    enum { KEYS = 30 };
    struct torc_txn *reader = fill_queue(KEYS);

    cr_expect_eq(shard->queue_count, (size_t)KEYS);
    for (unsigned round = 0; round < 5; round++)
        for (unsigned i = 0; i < KEYS; i++)
            torct_put(store.mvcc, name_of(i), "newer");
    cr_expect_eq(shard->queue_count, (size_t)KEYS);
    torc_txn_abort(reader);
}

Test(reclaim_queue, spans_blocks_and_is_worked_off_by_commits_when_the_snapshot_ends)
{
    enum { KEYS = 600 };
    struct torc_txn *reader = fill_queue(KEYS);

    cr_assert_eq(shard->queue_count, (size_t)KEYS);
    torc_txn_abort(reader);
    for (unsigned i = 0; i < KEYS; i++)
        torct_put(store.mvcc, "other", "v");
    cr_expect_leq(shard->queue_count, 1u);
    for (unsigned i = 0; i < KEYS; i++)
        cr_assert_eq(torct_chain_length(store.mvcc, name_of(i)), 1u);
}

Test(reclaim_queue, is_left_alone_until_its_time)
{
    enum { KEYS = 30 };
    struct torc_txn *reader = fill_queue(KEYS);

    torci_reclaim_sweep(shard);
    cr_expect_eq(shard->queue_count, (size_t)KEYS);
    for (unsigned i = 0; i < KEYS; i++)
        cr_assert(torct_txn_reads(reader, name_of(i), "old"));
    torc_txn_abort(reader);
    cr_expect(torci_reclaim_sweep(shard));
    cr_expect_eq(shard->queue_count, 0u);
}

Test(reclaim_queue, the_countdown_to_the_next_look_does_not_pass_zero)
{
    shard->commits_until_view = 0;
    torci_reclaim_step(shard, 0);
    cr_expect_eq(shard->commits_until_view, (unsigned)TORCI_VIEW_COMMITS);
    shard->commits_until_view = 1;
    torci_reclaim_step(shard, 0);
    cr_expect_eq(shard->commits_until_view, (unsigned)TORCI_VIEW_COMMITS);
    torci_reclaim_step(shard, 0);
    cr_expect_eq(shard->commits_until_view, (unsigned)TORCI_VIEW_COMMITS - 1);
}

enum { CHURNED = 50 };
static uint32_t gone_index;

static void
overwrite_and_delete(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (unsigned i = 0; i < CHURNED; i++) {
        if (i % 2 == 0)
            torct_put(store.mvcc, name_of(i), "new");
        else
            torct_delete(store.mvcc, name_of(i));
    }
    gone_index = torci_self()->index;
}

Test(reclaim_queue, of_a_thread_that_is_gone_is_worked_off_by_collect)
{
    struct torci_shard *gone;
    struct torc_txn *reader;

    for (unsigned i = 0; i < CHURNED; i++)
        torct_put(store.mvcc, name_of(i), "old");
    reader = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_race(1, overwrite_and_delete, NULL);
    gone = torci_shard_at(store.mvcc, gone_index);
    cr_assert(gone != NULL && gone != shard);
    cr_assert_eq(gone->queue_count, (size_t)CHURNED);
    torc_txn_abort(reader);
    torct_collect(store.mvcc);
    cr_expect_eq(gone->queue_count, 0u);
    cr_expect_eq(torci_limbo_bytes(gone->limbo), 0u);
    cr_expect_eq(records(), CHURNED / 2u);
    cr_expect_eq(versions(), CHURNED / 2u);
}

Test(reclaim_queue, of_a_thread_that_is_gone_is_inherited_with_its_index)
{
    struct torc_txn *reader;
    uint32_t index;

    for (unsigned i = 0; i < CHURNED; i++)
        torct_put(store.mvcc, name_of(i), "old");
    reader = torct_begin(store.mvcc, TORC_SNAPSHOT);
    torct_race(1, overwrite_and_delete, NULL);
    index = gone_index;
    torc_txn_abort(reader);
    for (unsigned i = 0; i < CHURNED; i++)
        torct_put(store.mvcc, name_of(i), "again");
    torct_race(1, overwrite_and_delete, NULL);
    cr_expect_eq(gone_index, index);
    cr_expect_leq(torci_shard_at(store.mvcc, index)->queue_count, CHURNED + 1u, "not both of them");
}

Test(reclaim_queue, there_is_no_shard_of_an_index_that_was_never_used)
{
    cr_expect_null(torci_shard_at(store.mvcc, torci_thread_index_bound() + 3));
    cr_expect_null(torci_shard_at(store.mvcc, TORCI_SHARD_BLOCK));
    cr_expect_null(torci_shard_at(store.mvcc, TORCI_THREADS_MAX - 1));
    cr_expect_eq(torci_shard_at(store.mvcc, torci_self()->index), shard);
}

/* ---- The walk ---- */

struct seen {
    unsigned count;
    char last[16];
};

static void
note_seen(void *context, struct torci_epoch_guard guard, struct torci_record *record)
{
    struct seen *seen = context;

    (void)guard;
    cr_assert_gt(torci_key_compare(torci_record_key(record), torct_text(seen->last)), 0);
    memcpy(seen->last, record->key, record->key_size);
    seen->last[record->key_size] = '\0';
    seen->count++;
}

Test(reclaim_walk, shows_every_record_in_key_order)
{
    struct seen seen = {0, ""};

    cr_assert_eq(torci_walk(store.mvcc->main, note_seen, &seen), TORC_OK);
    cr_expect_eq(seen.count, 0u);
    for (unsigned i = 0; i < 777; i++)
        torct_put(store.mvcc, name_of(i * 389 % 777), "v");
    cr_assert_eq(torci_walk(store.mvcc->main, note_seen, &seen), TORC_OK);
    cr_expect_eq(seen.count, 777u);
}

static void
delete_seen(void *context, struct torci_epoch_guard guard, struct torci_record *record)
{
    unsigned *count = context;

    (void)guard;
    cr_assert_eq(torc_mvcc_delete(store.mvcc, torci_record_key(record)), TORC_OK);
    torct_put(store.mvcc, "zz", "moves the clock");
    ++*count;
}

Test(reclaim_walk, goes_on_although_the_records_it_showed_leave)
{
    unsigned count = 0;

    for (unsigned i = 0; i < 300; i++)
        torct_put(store.mvcc, name_of(i), "v");
    torct_put(store.mvcc, "zz", "v");
    cr_assert_eq(torci_walk(store.mvcc->main, delete_seen, &count), TORC_OK);
    cr_expect_eq(count, 301u);
}

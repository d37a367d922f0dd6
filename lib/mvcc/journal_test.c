/* SPDX-License-Identifier: MIT */
/* The journal's queues and flushes: what a cut holds, what it leaves, who waits and who is woken, what a failure
 * leaves. Oracle: what a power cut at that moment leaves is opened, and looked at. */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>

#include "base/parking.h"
#include "mvcc/durable_testing.h"

static struct torct_disk disk;
static struct torc_mvcc *store;

static void
create(void)
{
    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
}

static void
destroy(void)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    torct_disk_destroy(&disk);
}

/* Of builds without TORC_TINY: chunks and segments are too large for some tests. */
enum { LARGE = TORCI_SEGMENT_SIZE > 1024 * 1024 };

TestSuite(journal_cut, .init = create, .fini = destroy, .timeout = 60);
TestSuite(journal_queue, .init = create, .fini = destroy, .timeout = 60);
TestSuite(journal_limit, .init = create, .fini = destroy, .timeout = 60);
TestSuite(journal_failure, .init = create, .fini = destroy, .timeout = 60);
TestSuite(journal_sleep, .init = create, .fini = destroy, .timeout = 60);
TestSuite(journal_wait, .timeout = 120);

/* Whether a power cut now would leave `expected` (NULL: nothing) under `key`. */
static bool
survives(const char *key, const char *expected)
{
    struct torct_disk after;
    struct torc_mvcc *found;
    bool same;

    torct_disk_crash(&disk, TORCI_CRASH_DROP, 1, &after);
    found = torct_disk_open(&after, TORC_DURABILITY_ASYNC, true);
    same = torct_reads(found, key, expected);
    cr_assert_eq(torc_mvcc_close(found), TORC_OK);
    torct_disk_destroy(&after);
    return same;
}

/* ---- The cut ---- */

Test(journal_cut, what_was_flushed_survives)
{
    torct_put(store, "a", "1");
    cr_expect_lt(torc_mvcc_durable(store), torc_last_commit());
    torct_flush(store);
    cr_expect_geq(torc_mvcc_durable(store), torc_last_commit());
    cr_expect(survives("a", "1"));
}

Test(journal_cut, what_was_not_is_gone_as_if_it_had_never_been)
{
    torct_put(store, "a", "1");
    torct_flush(store);
    torct_put(store, "a", "2");
    torct_put(store, "b", "2");
    cr_expect(survives("a", "1"));
    cr_expect(survives("b", NULL));
}

Test(journal_cut, deletes_survive)
{
    torct_put(store, "a", "1");
    torct_flush(store);
    torct_delete(store, "a");
    torct_flush(store);
    cr_expect(survives("a", NULL));
}

static uint64_t (*begin_cut)(struct torc_mvcc *at);

static uint64_t
commit_after_cut(struct torc_mvcc *at)
{
    uint64_t cut = begin_cut(at);

    torct_put(at, "late", "1");
    return cut;
}

Test(journal_cut, what_is_committed_after_it_is_left_for_the_next_flush)
{
    begin_cut = store->journal->cut_begin;
    store->journal->cut_begin = commit_after_cut;
    torct_put(store, "early", "1");
    torct_flush(store);
    store->journal->cut_begin = begin_cut;
    cr_expect_lt(torc_mvcc_durable(store), torc_last_commit());
    cr_expect(survives("early", "1"));
    cr_expect(survives("late", NULL));
    torct_flush(store);
    cr_expect(survives("late", "1"));
}

Test(journal_cut, an_empty_flush_writes_nothing_and_counts_nothing)
{
    uint64_t calls;
    uint64_t flushes;

    torct_put(store, "a", "1");
    torct_flush(store);
    calls = torci_vfs_memory_calls(disk.memory);
    flushes = torct_durability(store).flushes;
    torct_flush(store);
    cr_expect_eq(torci_vfs_memory_calls(disk.memory), calls);
    cr_expect_eq(torct_durability(store).flushes, flushes);
}

Test(journal_cut, durable_is_never_less_than_before)
{
    uint64_t before = torc_mvcc_durable(store);

    for (unsigned i = 0; i < 100; i++) {
        if (i % 3 != 0)
            torct_put(store, "a", "1");
        torct_flush(store);
        cr_assert_geq(torc_mvcc_durable(store), before);
        before = torc_mvcc_durable(store);
    }
}

/* ---- Stamps ---- */

Test(journal_cut, stamps_of_one_key_ascend_strictly)
{
    uint64_t before = 0;

    for (unsigned i = 0; i < 100; i++) {
        struct torc_txn *txn;

        switch (i % 4) {
        case 0:
            torct_put(store, "a", "1");
            break;
        case 1:
            cr_assert_eq(torc_keyspace_merge(torc_mvcc_default(store), torct_text("a"), &torc_merge_append,
                                             torct_text("x"), NULL, 0, NULL), TORC_OK);
            break;
        case 2:
            txn = torct_begin(store, TORC_SNAPSHOT);
            torct_txn_put(txn, "a", "2");
            torct_txn_put(txn, "b", "2");
            cr_assert_eq(torc_txn_commit(txn), TORC_OK);
            break;
        default:
            torct_delete(store, "a");
        }
        cr_assert_gt(torc_last_commit(), before, "round %u", i);
        before = torc_last_commit();
    }
}

enum { WRITERS = 4, ROUNDS = 400 };
static uint64_t stamps[WRITERS][ROUNDS];

static void
write_one_key(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        torct_put(store, "a", "1");
        stamps[number][i] = torc_last_commit();
    }
}

static int
compare_stamps(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return one < other ? -1 : one > other;
}

Test(journal_cut, no_two_writes_of_a_key_have_one_stamp)
{
    torct_race(WRITERS, write_one_key, NULL);
    qsort(stamps, (size_t)WRITERS * ROUNDS, sizeof stamps[0][0], compare_stamps);
    for (unsigned i = 1; i < WRITERS * ROUNDS; i++)
        cr_assert_lt(stamps[(i - 1) / ROUNDS][(i - 1) % ROUNDS], stamps[i / ROUNDS][i % ROUNDS]);
}

/* ---- Queues ---- */

static void
put_own_key(void *context, unsigned number)
{
    char key[16];

    (void)context;
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "%u-%u", number, i);
        torct_put(store, key, "1");
    }
}

Test(journal_queue, one_flush_takes_what_all_threads_have_committed)
{
    torct_race(WRITERS, put_own_key, NULL);
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, WRITERS * 50u);
    cr_expect_geq(torct_durability(store).flushed_bytes, WRITERS * 50u * (TORCI_RECORD_PREFIX + 5));
    cr_expect_eq(torct_durability(store).flushes, 1u);
    for (unsigned number = 0; number < WRITERS; number++) {
        char key[16];

        (void)snprintf(key, sizeof key, "%u-49", number);
        cr_expect(survives(key, "1"));
    }
}

/* An entry made by hand: a put of `key`. */
static struct torci_redo *
make_entry(const char *key)
{
    struct torci_op op = {.kind = TORCI_OP_PUT, .key = torct_text(key), .value = torct_text("1"),
                          .expires = UINT64_MAX};
    struct torci_redo *redo = torci_redo_begin(torct_shard(store), NULL, torci_op_size(&op));

    cr_assert_not_null(redo);
    (void)torci_op_put(redo->ops, &op);
    return redo;
}

Test(journal_queue, an_entry_that_is_not_published_is_not_there)
{
    struct torci_redo *redo = make_entry("a");

    torct_flush(store);
    torci_redo_settle(redo, TORCI_REDO_VOID);
    torci_redo_publish(torct_shard(store), redo);
    cr_expect_eq(torct_durability(store).flushed_commits, 0u);
}

Test(journal_queue, void_entries_are_passed_over)
{
    struct torci_redo *redo = make_entry("a");

    torci_redo_publish(torct_shard(store), redo);
    torci_redo_settle(redo, TORCI_REDO_VOID);
    torct_put(store, "b", "1");
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, 1u);
    cr_expect(survives("a", NULL));
    cr_expect(survives("b", "1"));
}

Test(journal_queue, an_entry_that_installs_is_left)
{
    struct torci_redo *redo = make_entry("a");

    torci_redo_publish(torct_shard(store), redo);
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, 0u);
    cr_expect_eq(torci_state_of(torci_load(&redo->own.state, memory_order_seq_cst)), TORCI_INSTALLING);
    torci_redo_settle(redo, torci_clock_write_stamp(&store->clock));
    torct_flush(store);
    cr_expect(survives("a", "1"));
}

Test(journal_queue, an_entry_that_is_being_decided_is_helped)
{
    struct torci_redo *redo = make_entry("a");
    uint64_t word;

    torci_redo_publish(torct_shard(store), redo);
    cr_assert(torci_descriptor_begin(&redo->own));
    torct_flush(store);
    word = torci_load(&redo->own.state, memory_order_seq_cst);
    cr_expect_eq(torci_state_of(word), TORCI_COMMITTED);
    /* Helped after the cut was taken, so it is left. */
    cr_expect_eq(torct_durability(store).flushed_commits, 0u);
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, 1u);
    torci_redo_settle(redo, torci_state_stamp(word));
    cr_expect(survives("a", "1"));
}

Test(journal_queue, an_aborted_entry_is_void_before_its_owner_says_so)
{
    struct torci_redo *redo = make_entry("a");

    torci_redo_publish(torct_shard(store), redo);
    cr_assert(torci_descriptor_wound(&redo->own));
    torct_flush(store);
    torci_redo_settle(redo, TORCI_REDO_VOID);
    torct_put(store, "b", "1");
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, 1u);
    cr_expect(survives("a", NULL));
}

Test(journal_queue, a_commit_that_is_refused_leaves_nothing)
{
    struct torc_txn *first = torct_begin(store, TORC_SNAPSHOT);
    struct torc_txn *second = torct_begin(store, TORC_SERIALIZABLE);
    size_t size;

    torct_txn_put(first, "a", "1");
    torct_txn_put(first, "b", "1");
    cr_assert(torct_txn_reads(second, "a", NULL));
    torct_txn_put(second, "c", "2");
    cr_assert_eq(torc_txn_commit(first), TORC_OK);
    cr_assert_eq(torc_txn_commit(second), TORC_CONFLICT);
    cr_assert_eq(torc_mvcc_get(store, torct_text("c"), NULL, 0, &size), TORC_NOT_FOUND);
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, 1u);
    cr_expect(survives("b", "1"));
    cr_expect(survives("c", NULL));
}

Test(journal_queue, a_write_that_is_refused_leaves_nothing)
{
    struct torc_slice expected = torct_text("0"), desired = torct_text("2");

    torct_put(store, "a", "1");
    cr_assert_eq(torc_keyspace_compare_and_set(torc_mvcc_default(store), torct_text("a"), &expected, &desired),
                 TORC_MISMATCH);
    cr_assert_eq(torc_mvcc_delete(store, torct_text("b")), TORC_NOT_FOUND);
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, 1u);
    cr_expect(survives("a", "1"));
}

Test(journal_queue, entries_of_any_size_follow_one_another)
{
    static const size_t sizes[] = {0, 1, 400, 470, 500, 512, 600, 5000, 100000, 3, 40000, 0};
    static char value[100001];
    char key[16];

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(value, 'a' + (int)i, sizeof value);
        (void)snprintf(key, sizeof key, "%zu", i);
        cr_assert_eq(torc_mvcc_put(store, torct_text(key), torc_slice(value, sizes[i]), NULL), TORC_OK);
    }
    torct_flush(store);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size;

        (void)snprintf(key, sizeof key, "%zu", i);
        cr_assert_eq(torc_mvcc_get(store, torct_text(key), value, sizeof value, &size), TORC_OK);
        cr_assert_eq(size, sizes[i]);
        for (size_t at = 0; at < size; at++)
            cr_assert_eq(value[at], 'a' + (int)i);
    }
}

Test(journal_queue, chunks_go_round, .disabled = LARGE)
{
    struct torci_shard *shard = torct_shard(store);
    uint64_t bytes = 0;

    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 100; i++)
            torct_put(store, "a", "0123456789");
        cr_expect_gt(torct_durability(store).waiting_bytes, 0u);
        torct_flush(store);
        cr_expect_eq(torct_durability(store).waiting_bytes, 0u);
        torct_collect(store);
        cr_expect_not_null(torci_load(&shard->redo.spare, memory_order_relaxed));
        if (round == 2)
            bytes = torct_stats(store).memory_bytes;
    }
    cr_expect_leq(torct_stats(store).memory_bytes, bytes + bytes / 8);
}

Test(journal_queue, a_spare_chunk_is_used_next, .disabled = LARGE)
{
    struct torci_shard *shard = torct_shard(store);
    struct torci_redo_chunk *spare;

    for (unsigned i = 0; i < 20; i++)
        torct_put(store, "a", "0123456789");
    torct_flush(store);
    torct_collect(store);
    spare = torci_load(&shard->redo.spare, memory_order_relaxed);
    cr_assert_not_null(spare);
    for (unsigned i = 0; i < 20; i++)
        torct_put(store, "b", "0123456789");
    cr_expect_neq(torci_load(&shard->redo.spare, memory_order_relaxed), spare);
    torct_flush(store);
    cr_expect(survives("b", "0123456789"));
}

/* A queue outlives its thread, and has another owner afterwards. */
Test(journal_queue, threads_come_and_go)
{
    for (unsigned i = 0; i < 10; i++) {
        torct_race(WRITERS, put_own_key, NULL);
        if (i % 3 == 0)
            torct_flush(store);
    }
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, 10u * WRITERS * 50u);
}

/* A value that needs a chunk of its own. */
Test(journal_queue, an_allocation_that_fails_leaves_the_queue_as_it_was, .disabled = LARGE)
{
    static char value[2000];
    unsigned refused = 0;
    uint64_t puts = 1;

    torct_put(store, "a", "0");
    for (uint64_t n = 1;; n++) {
        enum torc_status status;
        uint64_t seen;
        size_t size;

        memset(value, (int)n, sizeof value);
        (void)torci_alloc_fail_at(n, false);
        status = torc_mvcc_put(store, torct_text("a"), torc_slice(value, sizeof value), NULL);
        seen = torci_alloc_fail_at(0, false);
        puts += status == TORC_OK ? 1 : 0;
        refused += status == TORC_NO_MEMORY ? 1 : 0;
        cr_assert(status == TORC_OK || (status == TORC_NO_MEMORY && torc_detail()[0] != '\0'));
        torct_flush(store);
        cr_assert_eq(torct_durability(store).flushed_commits, puts);
        if (seen < n)
            break;
        /* What is refused after the commit, of the store's own work, fails nothing. */
        cr_assert(torc_mvcc_get(store, torct_text("a"), value, sizeof value, &size) == TORC_OK);
        cr_assert(status != TORC_OK || value[0] == (char)n);
    }
    cr_expect_geq(refused, 2u, "the version, the entry");
}

/* ---- The limit ---- */

Test(journal_limit, a_writer_past_it_flushes, .disabled = LARGE)
{
    store->journal->limit = 4096;
    for (unsigned i = 0; i < 2000; i++) {
        torct_put(store, "a", "0123456789");
        cr_assert_leq(torct_durability(store).waiting_bytes, 4096u + 512u);
    }
    cr_expect_gt(torct_durability(store).waits, 0u);
    cr_expect_gt(torct_durability(store).flushes, 1u);
}

static void
write_much(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (unsigned i = 0; i < 2000; i++)
        torct_put(store, number % 2 == 0 ? "a" : "b", "0123456789");
}

Test(journal_limit, all_writers_past_it_go_on)
{
    store->journal->limit = 4096;
    torct_race(WRITERS, write_much, NULL);
    cr_expect_gt(torct_durability(store).waits, 0u);
}

/* ---- Waiting ---- */

struct crowd {
    struct torc_mvcc *store;
    enum torc_status expected;
    _Atomic(uint32_t) refused;
};

static void
commit_and_look(void *context, unsigned number)
{
    struct crowd *crowd = context;
    char key[16];

    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(key, sizeof key, "%u-%u", number, i);
        torct_put(crowd->store, key, "1");
        cr_assert_geq(torc_mvcc_durable(crowd->store), torc_last_commit());
    }
}

Test(journal_wait, whoever_returns_is_durable)
{
    for (unsigned driven = 0; driven < 2; driven++) {
        struct crowd crowd = {.expected = TORC_OK};

        torct_disk_create(&disk);
        crowd.store = store = torct_disk_open(&disk, TORC_DURABILITY_SYNC, driven == 1);
        torct_race(6, commit_and_look, &crowd);
        cr_expect_leq(torct_durability(store).flushes, 6u * 200u);
        cr_expect(survives("5-199", "1"));
        destroy();
    }
}

static void
commit_and_wait(void *context, unsigned number)
{
    struct crowd *crowd = context;

    for (unsigned i = 0; i < 300; i++) {
        torct_put(crowd->store, number % 2 == 0 ? "a" : "b", "1");
        cr_assert_eq(torc_mvcc_wait_durable(crowd->store, torc_last_commit()), TORC_OK);
        cr_assert_geq(torc_mvcc_durable(crowd->store), torc_last_commit());
    }
}

/* Beside a background thread, and writers who do not wait. */
static void
wait_or_write(void *context, unsigned number)
{
    struct crowd *crowd = context;

    if (number < 3) {
        commit_and_wait(context, number);
        return;
    }
    for (unsigned i = 0; i < 3000; i++)
        torct_put(crowd->store, "c", "1");
}

Test(journal_wait, who_waits_is_served_beside_the_background_thread)
{
    struct crowd crowd = {.expected = TORC_OK};

    torct_disk_create(&disk);
    crowd.store = store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, false);
    torct_race(5, wait_or_write, &crowd);
    destroy();
}

/* One flush is held up within its durable write until all others wait; then it fails, or not. Who slept meanwhile is to
 * return, all of them. */
static struct {
    _Atomic(uint32_t) inside;   /* The leader is where it is held up. */
    _Atomic(uint32_t) written;  /* Others whose commit is visible. */
    unsigned others;
} hold;

static void
hold_up(void *context, enum torci_vfs_operation operation)
{
    (void)context;
    if (operation != TORCI_VFS_WRITE_DURABLE || torci_exchange(&hold.inside, 1u, memory_order_seq_cst) != 0)
        return;
    while (torci_load(&hold.written, memory_order_seq_cst) < hold.others)
        (void)sched_yield();
    /* They are about to sleep: most of them will. */
    for (unsigned i = 0; i < 2000; i++)
        (void)sched_yield();
}

static void
note_written(void *context, const struct torc_commit *commit)
{
    (void)context;
    (void)commit;
    if (torci_load(&hold.inside, memory_order_seq_cst) != 0)
        torci_fetch_add(&hold.written, 1u, memory_order_seq_cst);
}

static void
lead_or_follow(void *context, unsigned number)
{
    struct crowd *crowd = context;
    char key[2] = {(char)('a' + number), '\0'};
    enum torc_status status;

    while (number > 0 && torci_load(&hold.inside, memory_order_seq_cst) == 0)
        (void)sched_yield();
    status = torc_mvcc_put(crowd->store, torct_text(key), torct_text("1"), NULL);
    cr_assert_eq(status, crowd->expected, "%u: %s", number, torc_status_name(status));
    if (status == TORC_OK)
        cr_assert_geq(torc_mvcc_durable(crowd->store), torc_last_commit());
}

static void
hold_up_a_flush(enum torc_status expected, bool caller_driven)
{
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_SYNC, caller_driven);
    struct crowd crowd = {.expected = expected};

    torct_disk_create(&disk);
    options.on_commit = note_written;
    cr_assert_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_OK);
    crowd.store = store;
    hold.others = 5;
    torci_store(&hold.inside, 0u, memory_order_seq_cst);
    torci_store(&hold.written, 0u, memory_order_seq_cst);
    /* The background thread touches the disk with `flushing` taken only. */
    torci_journal_lock(store->journal);
    torci_vfs_fault_stop(disk.vfs, hold_up, NULL);
    if (expected != TORC_OK)
        torct_fail_syncs(&disk, TORC_IO, false);
    torci_journal_unlock(store->journal);
    torct_race(1 + hold.others, lead_or_follow, &crowd);
    cr_expect_eq(torc_mvcc_close(store), expected);
    torct_disk_destroy(&disk);
}

Test(journal_wait, all_who_slept_through_a_flush_are_served)
{
    for (unsigned i = 0; i < 20; i++)
        hold_up_a_flush(TORC_OK, i % 2 == 0);
}

Test(journal_wait, all_who_slept_through_a_flush_that_failed_are_told)
{
    for (unsigned i = 0; i < 20; i++)
        hold_up_a_flush(TORC_INDETERMINATE, i % 2 == 0);
}

/* ---- Failures ---- */

Test(journal_failure, who_waits_is_told_that_it_is_not_known)
{
    struct torc_txn_options durable = {.durable = true, .read_only = true};
    struct torc_txn *txn;

    torct_put(store, "a", "1");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_assert_eq(torc_mvcc_wait_durable(store, torc_last_commit()), TORC_INDETERMINATE);
    cr_expect_neq(torc_detail()[0], '\0');
    cr_expect_lt(torc_mvcc_durable(store), torc_last_commit());
    cr_assert_eq(torc_txn_begin(store, &durable, &txn), TORC_OK);
    cr_expect(torct_txn_reads(txn, "a", NULL));
    torc_txn_abort(txn);
    cr_assert_eq(torc_mvcc_resume(store), TORC_OK);
}

Test(journal_failure, then_all_writes_are_refused_and_reads_go_on)
{
    struct torc_pair pair = {torct_text("p"), torct_text("1")};
    struct torc_slice nothing = torct_text("");
    struct torc_keyspace *keyspace, *other;
    struct torc_txn *txn, *reader;
    enum torc_status status;
    size_t loaded = 7;

    cr_assert_eq(torc_keyspace_create(store, torct_text("other"), &other), TORC_OK);
    torct_put(store, "a", "1");
    txn = torct_begin(store, TORC_SNAPSHOT);
    torct_txn_put(txn, "b", "1");
    torct_txn_put(txn, "c", "1");
    torct_fail_syncs(&disk, TORC_NO_SPACE, false);
    cr_assert_eq(torc_mvcc_sync(store), TORC_INDETERMINATE);
    cr_expect_eq(torct_durability(store).failed, TORC_NO_SPACE);

    cr_expect_eq(torc_mvcc_put(store, torct_text("a"), torct_text("2"), NULL), TORC_READ_ONLY);
    cr_expect_neq(torc_detail()[0], '\0');
    cr_expect_eq(torc_mvcc_delete(store, torct_text("a")), TORC_READ_ONLY);
    cr_expect_eq(torc_keyspace_merge(torc_mvcc_default(store), torct_text("a"), &torc_merge_append, torct_text("x"),
                                     NULL, 0, NULL), TORC_READ_ONLY);
    cr_expect_eq(torc_keyspace_compare_and_set(torc_mvcc_default(store), torct_text("a"), &nothing, &nothing),
                 TORC_READ_ONLY);
    cr_expect_eq(torc_keyspace_load(torc_mvcc_default(store), &pair, 1, &loaded), TORC_READ_ONLY);
    cr_expect_eq(loaded, 0u);
    cr_expect_eq(torc_txn_commit(txn), TORC_READ_ONLY);
    txn = torct_begin(store, TORC_SNAPSHOT);
    torct_txn_put(txn, "b", "1");
    cr_expect_eq(torc_txn_commit_async(txn), TORC_READ_ONLY);
    cr_expect_eq(torc_keyspace_create(store, torct_text("new"), &keyspace), TORC_READ_ONLY);
    cr_expect_null(keyspace);
    cr_expect_eq(torc_keyspace_drop(other), TORC_READ_ONLY);
    status = torc_mvcc_checkpoint(store, true);
    cr_expect_eq(status, TORC_INDETERMINATE, "%s", torc_status_name(status));

    cr_expect(torct_reads(store, "a", "1"));
    cr_expect(torct_reads(store, "b", NULL));
    reader = torct_begin(store, TORC_SERIALIZABLE);
    cr_expect(torct_txn_reads(reader, "a", "1"));
    cr_expect_eq(torc_txn_commit(reader), TORC_OK);
    cr_assert_eq(torc_keyspace_find(store, torct_text("other"), &keyspace), TORC_OK);
    cr_assert_eq(torc_mvcc_resume(store), TORC_OK);
}

Test(journal_failure, nothing_is_written_any_more)
{
    uint64_t calls;

    torct_put(store, "a", "1");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_assert_eq(torc_mvcc_sync(store), TORC_INDETERMINATE);
    calls = torci_vfs_memory_calls(disk.memory);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(torc_mvcc_sync(store), TORC_INDETERMINATE);
        cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    }
    cr_expect_eq(torci_vfs_memory_calls(disk.memory), calls);
    cr_assert_eq(torc_mvcc_resume(store), TORC_OK);
    cr_expect_eq(torci_vfs_fault_forbidden(disk.vfs), 0u);
}

Test(journal_failure, resuming_makes_all_durable_that_is_visible)
{
    struct torc_txn_options durable = {.durable = true, .read_only = true};
    struct torc_txn *txn;

    torct_put(store, "a", "1");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_assert_eq(torc_mvcc_sync(store), TORC_INDETERMINATE);
    cr_expect(survives("a", NULL));
    cr_assert_eq(torc_mvcc_resume(store), TORC_OK, "%s", torc_detail());
    cr_expect_eq(torct_durability(store).failed, TORC_OK);
    cr_expect_geq(torc_mvcc_durable(store), torc_last_commit());
    cr_assert_eq(torc_txn_begin(store, &durable, &txn), TORC_OK);
    cr_expect(torct_txn_reads(txn, "a", "1"));
    torc_txn_abort(txn);
    cr_expect(survives("a", "1"));
    torct_put(store, "b", "1");
    torct_flush(store);
    cr_expect(survives("b", "1"));
    cr_expect_eq(torci_vfs_fault_forbidden(disk.vfs), 0u);
}

Test(journal_failure, resuming_where_nothing_has_failed_does_nothing)
{
    uint64_t calls = torci_vfs_memory_calls(disk.memory);

    cr_expect_eq(torc_mvcc_resume(store), TORC_OK);
    cr_expect_eq(torci_vfs_memory_calls(disk.memory), calls);
}

/* Every call that changes the disk fails during a resumption, each in its turn; then it works. */
Test(journal_failure, resuming_may_fail_and_be_tried_again)
{
    for (uint64_t n = 1;; n++) {
        struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL & ~TORCI_VFS_BIT(TORCI_VFS_CLOSE), .at = n,
                                      .status = TORC_NO_SPACE};
        enum torc_status status;
        uint64_t failed;
        char value[16];

        (void)snprintf(value, sizeof value, "%" PRIu64, n);
        torct_put(store, "a", value);
        torct_fail_syncs(&disk, TORC_IO, false);
        cr_assert_eq(torc_mvcc_sync(store), TORC_INDETERMINATE);
        failed = torci_vfs_fault_failed(disk.vfs);
        torci_vfs_fault_plan(disk.vfs, &plan);
        status = torc_mvcc_resume(store);
        torci_vfs_fault_plan(disk.vfs, NULL);
        if (torci_vfs_fault_failed(disk.vfs) == failed) {
            cr_assert_eq(status, TORC_OK);
            break;
        }
        if (status != TORC_OK) {
            cr_assert_neq(torct_durability(store).failed, TORC_OK);
            cr_assert_eq(torc_mvcc_put(store, torct_text("x"), torct_text("1"), NULL), TORC_READ_ONLY);
        }
        cr_assert_eq(torc_mvcc_resume(store), TORC_OK, "%" PRIu64 ": %s", n, torc_detail());
        cr_assert(survives("a", value), "%" PRIu64, n);
    }
    cr_expect_eq(torci_vfs_fault_forbidden(disk.vfs), 0u);
}

Test(journal_failure, closing_tells_of_it)
{
    torct_put(store, "a", "1");
    torct_fail_syncs(&disk, TORC_IO, true);
    cr_expect_eq(torc_mvcc_close(store), TORC_INDETERMINATE);
    cr_expect_neq(torc_detail()[0], '\0');
    torci_vfs_fault_plan(disk.vfs, NULL);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
}

/* ---- The background thread's sleep ---- */

Test(journal_sleep, a_commit_that_waits_lets_nobody_sleep)
{
    torct_put(store, "a", "1");
    torci_journal_sleep(store->journal, 0);
}

Test(journal_sleep, being_told_to_stop_lets_nobody_sleep)
{
    torci_store(&store->journal->stop, 1u, memory_order_seq_cst);
    torci_journal_sleep(store->journal, 0);
}

Test(journal_sleep, where_nothing_waits_it_sleeps_until_the_limit)
{
    torct_flush(store);
    torci_journal_sleep(store->journal, 1000000);
    cr_expect_eq(torci_load(&store->journal->idle, memory_order_relaxed), 0u);
}

Test(journal_sleep, what_still_installs_lets_it_sleep)
{
    struct torci_redo *redo = make_entry("a");

    torci_redo_publish(torct_shard(store), redo);
    torci_journal_sleep(store->journal, 1000000);
    cr_expect_eq(torci_state_of(torci_load(&redo->own.state, memory_order_seq_cst)), TORCI_INSTALLING);
    cr_assert(torci_descriptor_begin(&redo->own));
    torci_journal_sleep(store->journal, 0);
    torci_redo_settle(redo, torci_state_stamp(torci_descriptor_decide(&redo->own, &store->clock)));
    torci_journal_sleep(store->journal, 0);
}

Test(journal_sleep, what_has_failed_lets_it_sleep)
{
    torct_put(store, "a", "1");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_assert_eq(torc_mvcc_sync(store), TORC_INDETERMINATE);
    torci_journal_sleep(store->journal, 1000000);
    cr_assert_eq(torc_mvcc_resume(store), TORC_OK);
}

static void
sleep_or_commit(void *context, unsigned number)
{
    struct torci_journal *journal = store->journal;

    (void)context;
    if (number == 0) {
        for (unsigned i = 0; i < 5000; i++)
            torct_put(store, "a", "1");
        torci_store(&journal->stop, 1u, memory_order_seq_cst);
        torci_journal_nudge(journal);
        return;
    }
    while (torci_load(&journal->stop, memory_order_seq_cst) == 0) {
        bool led;

        cr_assert_eq(torci_journal_flush(journal, &led), TORC_OK);
        torci_journal_sleep(journal, 0);
    }
}

/* Without a limit: a nudge that is lost is a test that hangs. */
Test(journal_sleep, no_nudge_is_lost)
{
    torct_race(2, sleep_or_commit, NULL);
    torct_flush(store);
    cr_expect_eq(torct_durability(store).flushed_commits, 5000u);
}

/* ---- Segments ---- */

Test(journal_cut, goes_on_in_another_segment)
{
    uint64_t number = store->journal->writer.number;

    torct_put(store, "a", "1");
    torct_flush(store);
    torci_journal_lock(store->journal);
    cr_expect_eq(torci_journal_rotate(store->journal), TORC_OK);
    cr_expect_gt(store->journal->writer.number, number);
    torci_journal_unlock(store->journal);
    torct_put(store, "b", "1");
    torct_flush(store);
    cr_expect(survives("a", "1"));
    cr_expect(survives("b", "1"));
}

Test(journal_cut, whoever_comes_while_somebody_flushes_does_not)
{
    bool led = true;

    torci_journal_lock(store->journal);
    cr_expect_eq(torci_journal_flush(store->journal, &led), TORC_OK);
    cr_expect_not(led);
    torci_journal_prepare(store->journal);
    torci_journal_unlock(store->journal);
    torct_flush(store);
}

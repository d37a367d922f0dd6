/* SPDX-License-Identifier: MIT */
/* A thread that stops, in each state it can stop in, and eight others that go on reading and writing the same keys.
 *
 *   stopped by hand   the state is built with the functions of the core, then left alone: INSTALLING, DECIDING,
 *                     VALIDATING, a PENDING version, a held PRUNING bit, a frozen record that is still in the index
 *   stopped for real  a thread blocks inside torc_txn_commit(), in an RCU section, at its n-th allocation
 *
 * Oracles: the eight finish a bounded number of operations (else the suite's time runs out); transactions write one
 * value to all keys of a group, and no reader ever sees two different ones; afterwards the stopped one goes on, the
 * group is whole, chains are cut, and the allocator has everything back. */
#include <semaphore.h>

#include "mvcc/mvcc_testing.h"

enum { WORKERS = 8, ROUNDS = 25, GROUP = 4, ATTEMPTS_MAX = 200 };

static const char *const group[GROUP] = {"g0", "g1", "g2", "g3"};
static const char single[] = "s";

static struct torct_store store;
static _Atomic(unsigned) wins;
static _Atomic(unsigned) torn;

static void
create(void)
{
    torct_store_open(&store);
    for (unsigned i = 0; i < GROUP; i++)
        torct_put(store.mvcc, group[i], "first");
    torct_put(store.mvcc, single, "first");
}

static void
destroy(void)
{
    torct_store_close(&store);
}

TestSuite(mvcc_stopped, .init = create, .fini = destroy, .timeout = 120);
TestSuite(mvcc_stopped_inside, .init = create, .fini = destroy, .timeout = 120);

/* ---- The others ---- */

static void
expect_whole_group(struct torc_txn *txn)
{
    struct torc_slice first, next;

    cr_assert_eq(torc_txn_get(txn, torct_text(group[0]), &first), TORC_OK);
    for (unsigned i = 1; i < GROUP; i++) {
        cr_assert_eq(torc_txn_get(txn, torct_text(group[i]), &next), TORC_OK);
        if (torci_key_compare(first, next) != 0)
            torci_fetch_add(&torn, 1, memory_order_relaxed); /* Counter: read after join. */
    }
}

static void
expect_whole_group_in_scan(struct torc_txn *txn, bool reverse)
{
    struct torc_scan_options options = {.prefix = torct_text("g"), .reverse = reverse};
    struct torc_slice key, value, first = {NULL, 0};
    struct torc_cursor *cursor;
    unsigned shown = 0;

    cr_assert_eq(torc_txn_scan(txn, &options, &cursor), TORC_OK);
    while (torc_cursor_next(cursor, &key, &value) == TORC_OK) {
        if (shown++ == 0)
            first = value;
        else if (torci_key_compare(first, value) != 0)
            torci_fetch_add(&torn, 1, memory_order_relaxed); /* Counter: read after join. */
    }
    if (shown != GROUP)
        torci_fetch_add(&torn, 1, memory_order_relaxed); /* Counter: read after join. */
    torc_cursor_close(cursor);
}

/* Check the group and write one new value to all of it. */
static enum torc_status
rewrite_group(struct torc_txn *txn, void *context)
{
    const struct torc_slice *value = context;
    enum torc_status status = TORC_OK;

    expect_whole_group(txn);
    for (unsigned i = 0; i < GROUP && status == TORC_OK; i++)
        status = torc_txn_put(txn, torct_text(group[i]), *value);
    return status;
}

static void
write_group(unsigned number, unsigned round)
{
    struct torc_run_options options = {.attempts_max = ATTEMPTS_MAX};
    char text[32];
    struct torc_slice value = torc_slice(text, (size_t)snprintf(text, sizeof text, "%u.%u", number, round));
    enum torc_status status;

    options.txn.isolation = number % 2 == 0 ? TORC_SNAPSHOT : TORC_SERIALIZABLE;
    status = torc_txn_run(store.mvcc, &options, rewrite_group, &value);
    cr_assert(status == TORC_OK || status == TORC_CONFLICT, "%s", torc_status_name(status));
    if (status == TORC_OK)
        torci_fetch_add(&wins, 1, memory_order_relaxed); /* Counter: read after join. */
}

static void
read_group(unsigned round)
{
    struct torc_txn *txn = torct_begin(store.mvcc, round % 2 == 0 ? TORC_SNAPSHOT : TORC_SERIALIZABLE);
    char buffer[32];
    size_t size;

    expect_whole_group(txn);
    expect_whole_group_in_scan(txn, round % 3 == 0);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK, "it wrote nothing");
    for (unsigned i = 0; i < GROUP; i++)
        cr_assert_eq(torc_mvcc_get(store.mvcc, torct_text(group[i]), buffer, sizeof buffer, &size), TORC_OK);
}

/* Blind writes and a conditional one to the single key, which comes and goes. */
static void
write_single(unsigned number, unsigned round)
{
    struct torc_txn *txn;
    enum torc_status status;

    torct_put(store.mvcc, single, "blind");
    status = torc_mvcc_delete(store.mvcc, torct_text(single));
    cr_assert(status == TORC_OK || status == TORC_NOT_FOUND);
    txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    status = torc_txn_put_if_absent(txn, torct_text(single), torct_text(round % 2 == number % 2 ? "even" : "odd"));
    cr_assert(status == TORC_OK || status == TORC_EXISTS || status == TORC_CONFLICT);
    status = torc_txn_commit(txn);
    cr_assert(status == TORC_OK || status == TORC_CONFLICT);
}

static void
go_on(void *context, unsigned number)
{
    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (number < WORKERS / 2)
            write_group(number, round);
        read_group(round);
        write_single(number, round);
    }
}

static void
expect_progress(void)
{
    torct_race(WORKERS, go_on, NULL);
    cr_expect_gt(torci_load(&wins, memory_order_relaxed), 0u, "of those that meet, one wins");
    cr_expect_eq(torci_load(&torn, memory_order_relaxed), 0u);
}

/* After the stopped one went on: the store is whole and lean. */
static void
expect_whole_store(void)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    struct torc_mvcc_stats stats;
    uint64_t keys = GROUP;

    expect_whole_group(txn);
    expect_whole_group_in_scan(txn, false);
    cr_expect_eq(torci_load(&torn, memory_order_relaxed), 0u);
    torc_txn_abort(txn);
    keys += torct_reads(store.mvcc, single, NULL) ? 0 : 1;
    torct_collect(store.mvcc);
    stats = torct_stats(store.mvcc);
    cr_expect_eq(stats.keys, keys, "%ju keys counted, %ju are there", (uintmax_t)stats.keys, (uintmax_t)keys);
    cr_expect_eq(stats.open_transactions, 0u);
    cr_expect_eq(stats.versions_created - stats.versions_freed, keys, "one version each, all else has gone back");
    cr_expect_eq(stats.retired_bytes, 0u);
    for (unsigned i = 0; i < GROUP; i++)
        cr_expect_eq(torct_chain_length(store.mvcc, group[i]), 1u);
    torct_put(store.mvcc, single, "after");
    cr_expect(torct_reads(store.mvcc, single, "after"));
}

/* ---- Stopped by hand ---- */

/* A transaction that has read and written the group and the single key, installed and no more. */
static struct torct_commit
stop_installing(enum torc_isolation isolation, uint64_t attempts)
{
    struct torc_txn *txn = torct_begin(store.mvcc, isolation);

    expect_whole_group(txn);
    txn->attempts = attempts;
    for (unsigned i = 0; i < GROUP; i++)
        torct_txn_put(txn, group[i], "stopped");
    torct_txn_put(txn, single, "stopped");
    return torct_commit_install(txn);
}

Test(mvcc_stopped, while_installing_is_aborted_by_those_it_stands_in_the_way_of)
{
    struct torct_commit stopped = stop_installing(TORC_SNAPSHOT, 0);

    expect_progress();
    cr_expect_eq(torct_commit_state(&stopped), TORCI_ABORTED);
    cr_expect_not(torct_commit_finish(&stopped));
    expect_whole_store();
}

Test(mvcc_stopped, while_installing_does_not_stand_there_for_ever_by_a_high_rank)
{
    struct torct_commit stopped = stop_installing(TORC_SERIALIZABLE, 20);

    expect_progress();
    cr_expect_eq(torct_commit_state(&stopped), TORCI_ABORTED);
    cr_expect_not(torct_commit_finish(&stopped));
    expect_whole_store();
}

/* Half of its keys only: what it did not come to is as if it had never begun. */
Test(mvcc_stopped, half_way_through_its_keys_shows_nothing_of_them)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    struct torct_commit stopped;

    torct_txn_put(txn, group[0], "stopped");
    torct_txn_put(txn, group[1], "stopped");
    stopped = torct_commit_install(txn);
    expect_progress();
    cr_expect_eq(torct_commit_state(&stopped), TORCI_ABORTED);
    cr_expect_not(torct_commit_finish(&stopped));
    expect_whole_store();
}

Test(mvcc_stopped, while_deciding_is_committed_by_the_others)
{
    struct torct_commit stopped = stop_installing(TORC_SNAPSHOT, 0);

    torct_commit_decide(&stopped);
    expect_progress();
    cr_expect_eq(torct_commit_state(&stopped), TORCI_COMMITTED);
    cr_expect(torct_commit_finish(&stopped));
    expect_whole_store();
}

Test(mvcc_stopped, while_deciding_a_serializable_commit_is_decided_by_the_others)
{
    struct torct_commit stopped = stop_installing(TORC_SERIALIZABLE, 0);

    torct_commit_decide(&stopped);
    expect_progress();
    cr_expect_eq(torct_commit_state(&stopped), TORCI_COMMITTED);
    cr_expect(torct_commit_finish(&stopped));
    expect_whole_store();
}

Test(mvcc_stopped, while_validating_what_holds_is_committed_by_the_others)
{
    struct torct_commit stopped = stop_installing(TORC_SERIALIZABLE, 0);

    torct_commit_decide(&stopped);
    torct_commit_validate(&stopped);
    expect_progress();
    cr_expect_eq(torct_commit_state(&stopped), TORCI_COMMITTED);
    cr_expect(torct_commit_finish(&stopped));
    expect_whole_store();
}

Test(mvcc_stopped, while_validating_what_does_not_hold_is_aborted_by_the_others)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SERIALIZABLE);
    struct torct_commit stopped;

    cr_assert(torct_txn_reads(txn, single, "first"));
    for (unsigned i = 0; i < GROUP; i++)
        torct_txn_put(txn, group[i], "stopped");
    torct_put(store.mvcc, single, "changed");
    stopped = torct_commit_install(txn);
    torct_commit_decide(&stopped);
    torct_commit_validate(&stopped);
    expect_progress();
    cr_expect_eq(torct_commit_state(&stopped), TORCI_ABORTED);
    cr_expect_not(torct_commit_finish(&stopped));
    expect_whole_store();
}

/* A write of one key, on its chain but not stamped. */
Test(mvcc_stopped, before_stamping_a_write_of_one_key_is_stamped_by_the_others)
{
    struct torci_shard *shard = torct_shard(store.mvcc);
    struct torci_install how = {.store = store.mvcc, .shard = shard, .stamp = TORCI_STAMP_PENDING};
    static struct torci_write write;

    write.keyspace = store.mvcc->main;
    write.key = torct_text(single);
    write.order = torci_key_order(store.mvcc, write.key);
    write.version = torci_version_create(shard, torct_text("stopped"), UINT64_MAX, 0);
    cr_assert_not_null(write.version);
    /* Its section stays open, as the stopped thread's would: what it looks at afterwards is still there. */
    how.guard = torci_epoch_enter();
    cr_assert_eq(torci_install(&how, &write), TORC_OK);
    cr_assert(write.was_live);
    expect_progress();
    cr_expect_eq(torci_stamp_tag(torci_load(&write.version->stamp, memory_order_seq_cst)), TORCI_STAMP_COMMITTED);
    cr_assert_eq(torci_limbo_reserve(shard->limbo, 1), TORC_OK);
    torci_reclaim_touch(shard, how.guard, write.record, torci_clock_now(&store.mvcc->clock));
    torci_epoch_exit(how.guard);
    expect_whole_store();
}

Test(mvcc_stopped, while_pruning_keeps_nobody_from_writing)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *records[GROUP + 1];

    for (unsigned i = 0; i <= GROUP; i++) {
        records[i] = torct_record(store.mvcc, i < GROUP ? group[i] : single);
        cr_assert_not(torci_fetch_or(&records[i]->flags, TORCI_RECORD_PRUNING, memory_order_acquire) &
                      TORCI_RECORD_PRUNING);
    }
    expect_progress();
    for (unsigned i = 0; i <= GROUP; i++) {
        cr_expect(torci_load(&records[i]->flags, memory_order_relaxed) & TORCI_RECORD_PRUNING);
        torci_fetch_and(&records[i]->flags, ~(uint32_t)TORCI_RECORD_PRUNING, memory_order_release);
    }
    torci_epoch_exit(guard);
    expect_whole_store();
}

/* It froze a record and went no further: whoever meets it takes it out. */
Test(mvcc_stopped, before_taking_out_a_frozen_record_keeps_nobody_from_its_key)
{
    struct torci_shard *shard = torct_shard(store.mvcc);
    struct torci_epoch_guard guard;
    struct torci_record *record = torct_record(store.mvcc, single);
    struct torci_version *head;

    torct_delete(store.mvcc, single);
    torct_collect(store.mvcc);
    cr_assert_null(torct_record(store.mvcc, single));
    torct_put(store.mvcc, single, "again");
    guard = torci_epoch_enter();
    record = torct_record(store.mvcc, single);
    head = torci_load(&record->head, memory_order_seq_cst);
    cr_assert(torci_cas(&record->head, &head, torci_frozen(), memory_order_seq_cst, memory_order_seq_cst));
    torci_keyspace_count(store.mvcc->main, -1);
    expect_progress();
    cr_assert_eq(torci_limbo_reserve(shard->limbo, TORCI_INDEX_RETIRES_MAX + 8), TORC_OK);
    cr_expect(torci_load(&record->flags, memory_order_seq_cst) & TORCI_RECORD_REMOVED, "somebody took it out");
    torci_limbo_add(shard->limbo, head, torci_version_bytes(head->size), TORCI_RETIRED_VERSION);
    cr_expect_eq(torci_reclaim_frozen(shard, guard, record), TORC_OK, "nothing is left to do");
    torci_epoch_exit(guard);
    expect_whole_store();
}

/* It took its announcement and no snapshot yet. */
Test(mvcc_stopped, while_beginning_holds_back_garbage_and_nobody)
{
    struct torc_txn *txn = torct_begin(store.mvcc, TORC_SNAPSHOT);
    uint64_t announced = torci_load(&txn->slot.announced, memory_order_seq_cst);

    torci_store(&txn->slot.announced, announced | 1, memory_order_seq_cst);
    expect_progress();
    torci_store(&txn->slot.announced, announced, memory_order_seq_cst);
    for (unsigned i = 0; i < GROUP; i++)
        cr_expect(torct_txn_reads(txn, group[i], "first"), "whatever it may still become is there");
    torc_txn_abort(txn);
    expect_whole_store();
}

/* ---- Stopped for real ---- */

static _Thread_local unsigned allocations_to_stop; /* 0: never. */
static sem_t stopped_inside;
static sem_t others_finished;
static _Atomic(unsigned) others;
static _Atomic(bool) has_stopped;

static void
stop_here(void *context)
{
    (void)context;
    if (allocations_to_stop == 0 || --allocations_to_stop > 0)
        return;
    torci_store(&has_stopped, true, memory_order_seq_cst);
    sem_post(&stopped_inside);
    while (sem_wait(&others_finished) != 0)
        continue;
}

/* The one that stops: a commit of the group and of many new keys, so that it allocates between installations. */
static void
commit_and_stop(unsigned stop_at)
{
    enum { NEW_KEYS = 12 };
    struct torc_txn *txn = torct_begin(store.mvcc, stop_at % 2 == 0 ? TORC_SNAPSHOT : TORC_SERIALIZABLE);
    enum torc_status status;
    char key[16];

    expect_whole_group(txn);
    for (unsigned i = 0; i < GROUP; i++)
        torct_txn_put(txn, group[i], "stopped");
    for (unsigned i = 0; i < NEW_KEYS; i++) {
        snprintf(key, sizeof key, "g%u.new", i % GROUP * 100 + i);
        torct_txn_put(txn, key, "stopped");
        cr_assert_eq(torc_txn_delete(txn, torct_text(key)), TORC_OK);
    }
    allocations_to_stop = stop_at;
    status = torc_txn_commit(txn);
    cr_assert(status == TORC_OK || status == TORC_CONFLICT, "%s", torc_status_name(status));
    allocations_to_stop = 0;
    if (!torci_load(&has_stopped, memory_order_seq_cst))
        sem_post(&stopped_inside);
}

static void
stop_or_go_on(void *context, unsigned number)
{
    if (number == WORKERS) {
        commit_and_stop(*(unsigned *)context);
        return;
    }
    while (sem_wait(&stopped_inside) != 0)
        continue;
    sem_post(&stopped_inside);
    go_on(NULL, number);
    if (torci_fetch_sub(&others, 1, memory_order_seq_cst) == 1)
        sem_post(&others_finished);
}

static void
expect_progress_beside_one_stopped_at(unsigned allocation)
{
    sem_init(&stopped_inside, 0, 0);
    sem_init(&others_finished, 0, 0);
    torci_store(&others, WORKERS, memory_order_seq_cst);
    torci_store(&has_stopped, false, memory_order_seq_cst);
    store.interrupt = stop_here;
    torct_race(WORKERS + 1, stop_or_go_on, &allocation);
    store.interrupt = NULL;
    cr_expect_gt(torci_load(&wins, memory_order_relaxed), 0u);
    expect_whole_store();
    sem_destroy(&stopped_inside);
    sem_destroy(&others_finished);
}

/* With slabs and bags of full size a commit does not ask the embedder's allocator so often. */
static void
expect_stopped_if_tiny(void)
{
#if defined(TORC_TINY)
    cr_expect(torci_load(&has_stopped, memory_order_seq_cst));
#endif
}

Test(mvcc_stopped_inside, a_commit_at_its_first_allocation_delays_nobody)
{
    expect_progress_beside_one_stopped_at(1);
    cr_expect(torci_load(&has_stopped, memory_order_seq_cst));
}

Test(mvcc_stopped_inside, a_commit_between_its_installations_delays_nobody)
{
    expect_progress_beside_one_stopped_at(8);
    expect_stopped_if_tiny();
}

Test(mvcc_stopped_inside, a_serializable_commit_between_its_installations_delays_nobody)
{
    expect_progress_beside_one_stopped_at(11);
    expect_stopped_if_tiny();
}

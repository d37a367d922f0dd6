/* SPDX-License-Identifier: MIT */
/* The journal in every interleaving the scheduler can draw: writers of few keys, whose commits tie, meet and help each
 * other, beside those who flush; the power is cut after each flush, and what is left is opened.
 *
 * Oracle: a value is written once and names its write; each commit notes its stamp.
 *   O1  what is left shows of each key the write with the greatest stamp up to its cut, all of it and nothing else
 *   O2  the cut is no less than what was durable when the power went, and that no less than the stamp of each commit
 *       that had returned before the flush began
 *   O3  of one key no two stamps are the same, and a merge was made of the write before it
 *   O4  a durable snapshot is durable, and shows what O1 would
 * A frozen commit may have happened or not: O1 to O4 must hold for one of all the stamps it may have. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/vfs_fault.h"
#include "base/vfs_memory.h"
#include "mvcc/durable.h"
#include "mvcc/history_testing.h"

TestSuite(journal_schedules, .timeout = 3000);

enum {
    WRITERS = 3,
    FLUSHERS = 2,
    FIBERS = WRITERS + FLUSHERS,
    KEYS = 3,
    WRITES = 4,             /* Of one fiber. */
    FLUSHES = 3,
    CUTS = 4,               /* By one fiber, at most. */
};

struct value {
    uint64_t name;
    uint64_t before;        /* Of a merge: what it was made of; else 0. */
    uint64_t check;
    unsigned char filling[200];     /* So that few entries fill a chunk. */
};

/* A commit, or an attempt at one. */
struct write {
    unsigned keys;          /* Mask. */
    bool deletes;
    bool merges;
    bool ended;             /* `stamp` is known; 0: it did not happen. */
    uint64_t name;
    uint64_t stamp;
    uint64_t returned;      /* Tick. */
};

/* A cut of the power. */
struct cut {
    uint64_t began;         /* Tick at which the flush before it began; 0: somewhere. */
    uint64_t durable;
    struct torci_vfs *left;
};

/* What a durable snapshot showed. */
struct look {
    uint64_t snapshot;
    struct value values[KEYS];
};

struct world {
    bool sync;                          /* TORC_DURABILITY_SYNC, and nobody but writers. */
    bool fails;                         /* And some sync fails. */
    bool sleeps;                        /* One flusher, who sleeps while there is nothing to do. */
    struct torct_pool *pool;            /* For runs in which a fiber is frozen. */
    struct torct_pool *disk_pool;
    struct torci_heap heap;             /* Of the disk. */
    struct torci_vfs *disk;
    struct torci_vfs *faults;           /* Above it. */
    struct torc_mvcc *store;
    struct write writes[WRITERS][WRITES];
    unsigned written[WRITERS];
    struct cut cuts[FIBERS][CUTS];
    unsigned cut[FIBERS];
    struct look looks[FLUSHERS][FLUSHES];
    unsigned looked[FLUSHERS];
    _Atomic(uint32_t) done;             /* Writers, where somebody sleeps. */
};

static struct torc_slice
key_of(unsigned key)
{
    return torc_slice(&"abc"[key], 1);
}

static struct value
value_in(struct torc_slice slice)
{
    struct value value = {.name = 0};

    if (slice.size == 0)
        return value;
    if (slice.size != sizeof value)
        torci_fail_here("a value has the wrong size");
    memcpy(&value, slice.data, sizeof value);
    if (value.check != ~(value.name ^ value.before))
        torci_fail_here("a value is torn or freed");
    return value;
}

/* The operand names the write; the result also what it was made of. */
static enum torc_status
note_before(void *context, const struct torc_slice *current, struct torc_slice operand,
            struct torc_merge_output *output)
{
    struct value value = value_in(operand);
    void *out = torc_merge_output(output, sizeof value);

    (void)context;
    if (out == NULL)
        return TORC_NO_MEMORY;
    value.before = current == NULL ? 0 : value_in(*current).name;
    value.check = ~(value.name ^ value.before);
    memcpy(out, &value, sizeof value);
    return TORC_OK;
}

static const struct torc_merge_operator noting = {"noting", note_before, NULL};

/* ---- Writers ---- */

/* Calls of their own. */
static enum torc_status
write_singly(struct world *world, struct write *write, const struct value *value)
{
    struct torc_keyspace *keyspace = torc_mvcc_default(world->store);
    struct torc_slice slice = torc_slice(value, sizeof *value);
    unsigned key = (unsigned)(torci_fiber_random() % KEYS);

    write->keys = 1u << key;
    switch (torci_fiber_random() % 5) {
    case 0:
        write->deletes = true;
        return torc_keyspace_delete(keyspace, key_of(key));
    case 1:
        write->merges = true;
        return torc_keyspace_merge(keyspace, key_of(key), &noting, slice, NULL, 0, NULL);
    case 2:
        return torc_keyspace_compare_and_set(keyspace, key_of(key), NULL, &slice);
    default:
        return torc_keyspace_put(keyspace, key_of(key), slice, TORC_NEVER, NULL);
    }
}

/* A transaction over some keys, all put, merged or deleted. */
static enum torc_status
write_together(struct world *world, struct write *write, const struct value *value)
{
    struct torc_txn_options options = {.isolation =
                                           torci_fiber_random() % 2 == 0 ? TORC_SNAPSHOT : TORC_SERIALIZABLE};
    uint64_t way = torci_fiber_random() % 4;
    struct torc_slice slice;
    struct torc_txn *txn;
    enum torc_status status = TORC_OK;

    write->keys = 1 + (unsigned)(torci_fiber_random() % ((1u << KEYS) - 1));
    write->merges = way == 0;
    write->deletes = way == 1;
    if (torc_txn_begin(world->store, &options, &txn) != TORC_OK)
        torci_fail_here("no transaction");
    if (options.isolation == TORC_SERIALIZABLE)
        (void)!torc_txn_get(txn, key_of((unsigned)(torci_fiber_random() % KEYS)), &slice);
    for (unsigned key = 0; key < KEYS && status == TORC_OK; key++) {
        if ((write->keys & 1u << key) == 0)
            continue;
        if (write->merges)
            status = torc_txn_merge(txn, key_of(key), &noting, torc_slice(value, sizeof *value));
        else if (write->deletes)
            status = torc_txn_delete(txn, key_of(key));
        else
            status = torc_txn_put(txn, key_of(key), torc_slice(value, sizeof *value));
        if (status == TORC_NOT_FOUND) {
            write->keys &= ~(1u << key);
            status = TORC_OK;
        }
    }
    if (status == TORC_OK && write->keys != 0)
        return torc_txn_commit(txn);
    torc_txn_abort(txn);
    return TORC_CONFLICT;
}

static void
cut_power(struct world *world, unsigned number, uint64_t began)
{
    struct cut *cut = &world->cuts[number][world->cut[number]++];

    cut->began = began;
    cut->durable = torc_mvcc_durable(world->store);
    cut->left = torci_vfs_memory_crash_clone(world->disk, TORCI_CRASH_DROP, 1);
    if (cut->left == NULL)
        torci_fail_here("no memory for a clone");
}

/* Without asking for a flush: the commit's nudge has to do. */
struct awaited {
    struct torci_journal *journal;
    uint64_t stamp;
};

TORCI_THREAD_LOCAL_ONLY
static bool
is_durable(void *argument)
{
    const struct awaited *awaited = argument;

    return atomic_load_explicit(&awaited->journal->durable, memory_order_relaxed) >= awaited->stamp;
}

static void
await_durable(struct world *world, uint64_t stamp)
{
    torci_fiber_wait(is_durable, &(struct awaited){world->store->journal, stamp});
}

static void
write_some(struct world *world, unsigned number)
{
    for (unsigned i = 0; i < WRITES; i++) {
        struct write *write = &world->writes[number][i];
        struct value value = {.name = (uint64_t)(number + 1) << 8 | (i + 1)};
        enum torc_status status;

        value.check = ~value.name;
        *write = (struct write){.name = value.name};
        world->written[number] = i + 1;
        status = torci_fiber_random() % 2 == 0 ? write_singly(world, write, &value)
                                               : write_together(world, write, &value);
        if (status == TORC_NO_MEMORY || (!world->fails && (status == TORC_INDETERMINATE || status == TORC_READ_ONLY)))
            torci_fail_here("a write failed");
        write->stamp = status == TORC_OK || status == TORC_INDETERMINATE ? torc_last_commit() : 0;
        if (world->sync && status == TORC_OK && torc_mvcc_durable(world->store) < write->stamp)
            torci_fail_here("a commit returned before it was durable");
        if (status == TORC_INDETERMINATE && torc_mvcc_durable(world->store) >= write->stamp)
            torci_fail_here("a commit that is durable was called indeterminate");
        write->returned = torct_tick();
        write->ended = true;
        if (world->sleeps)
            await_durable(world, write->stamp);
        if (torci_fiber_random() % 4 == 0 && world->pool == NULL)
            cut_power(world, number, 0);
    }
}

/* ---- Flushers ---- */

static void
look(struct world *world, struct look *look)
{
    struct torc_txn_options options = {.durable = true, .read_only = true};
    struct torc_slice slice;
    struct torc_txn *txn;

    if (torc_txn_begin(world->store, &options, &txn) != TORC_OK)
        torci_fail_here("no durable snapshot");
    look->snapshot = torc_txn_snapshot(txn);
    if (torc_mvcc_durable(world->store) < look->snapshot)
        torci_fail_here("O4: a durable snapshot is not durable");
    for (unsigned key = 0; key < KEYS; key++) {
        slice = torc_slice(NULL, 0);
        (void)!torc_txn_get(txn, key_of(key), &slice);
        look->values[key] = value_in(slice);
    }
    torc_txn_abort(txn);
}

static void
flush_some(struct world *world, unsigned number)
{
    for (unsigned i = 0; i < FLUSHES; i++) {
        uint64_t began = torct_tick();
        bool led;

        if (torci_journal_flush(world->store->journal, &led) != TORC_OK)
            torci_fail_here("a flush failed");
        if (led) {
            cut_power(world, WRITERS + number, began);
            look(world, &world->looks[number][world->looked[number]++]);
        }
        /* Frees what can go; waits for sections, so also for who is stopped in one. */
        if (world->pool == NULL && torc_mvcc_poll(world->store, NULL) != TORC_OK)
            torci_fail_here("a poll failed");
    }
}

/* What the background thread does, until all writers are done. */
static void
flush_and_sleep(struct world *world)
{
    struct torci_journal *journal = world->store->journal;

    while (torci_load(&journal->stop, memory_order_seq_cst) == 0) {
        bool led;

        if (torci_journal_flush(journal, &led) != TORC_OK)
            torci_fail_here("a flush failed");
        torci_journal_sleep(journal, 0);
    }
}

static void
write_and_wake(struct world *world, unsigned number)
{
    write_some(world, number);
    if (torci_fetch_add(&world->done, 1u, memory_order_seq_cst) + 1 < WRITERS)
        return;
    torci_store(&world->store->journal->stop, 1u, memory_order_seq_cst);
    torci_journal_nudge(world->store->journal);
}

/* ---- The oracle ---- */

/* The last write of `key` up to `stamp`; NULL: none. */
static const struct write *
newest(const struct world *world, unsigned key, uint64_t stamp)
{
    const struct write *found = NULL;

    for (unsigned i = 0; i < WRITERS; i++) {
        for (unsigned j = 0; j < world->written[i]; j++) {
            const struct write *write = &world->writes[i][j];

            if (write->stamp != 0 && (write->keys & 1u << key) != 0 && write->stamp <= stamp &&
                (found == NULL || write->stamp > found->stamp))
                found = write;
        }
    }
    return found;
}

static uint64_t
name_of(const struct write *write)
{
    return write == NULL || write->deletes ? 0 : write->name;
}

/* O1, for one key. */
static bool
shows(const struct world *world, unsigned key, uint64_t stamp, const struct value *value)
{
    const struct write *write = newest(world, key, stamp);

    if (value->name != name_of(write))
        return false;
    /* O3 */
    return value->name == 0 || !write->merges || value->before == name_of(newest(world, key, write->stamp - 1));
}

/* O3 */
static const char *
judge_stamps(const struct world *world)
{
    for (unsigned i = 0; i < WRITERS * WRITES; i++) {
        const struct write *one = &world->writes[i / WRITES][i % WRITES];

        for (unsigned j = 0; j < i && i % WRITES < world->written[i / WRITES]; j++) {
            const struct write *other = &world->writes[j / WRITES][j % WRITES];

            if (j % WRITES < world->written[j / WRITES] && one->stamp != 0 && one->stamp == other->stamp &&
                (one->keys & other->keys) != 0)
                return "O3: two writes of a key have one stamp";
        }
    }
    return NULL;
}

/* Of O2 what can be said before it is opened. */
static const char *
judge_cut(const struct world *world, const struct cut *cut)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        for (unsigned j = 0; j < world->written[i]; j++) {
            const struct write *write = &world->writes[i][j];

            if (write->ended && write->stamp != 0 && write->returned < cut->began && write->stamp > cut->durable)
                return "O2: a commit that had returned is not durable";
        }
    }
    return NULL;
}

/* What one cut has left, as it was opened. */
struct found {
    uint64_t cut;
    struct value values[KEYS];
};

static bool
all_show(const struct world *world, uint64_t stamp, const struct value values[KEYS])
{
    bool all = true;

    for (unsigned key = 0; key < KEYS; key++)
        all = all && shows(world, key, stamp, &values[key]);
    return all;
}

static const char *
judge(const struct world *world, struct found found[FIBERS][CUTS])
{
    const char *fault = judge_stamps(world);

    for (unsigned i = 0; i < FIBERS; i++) {
        for (unsigned j = 0; j < world->cut[i] && fault == NULL; j++) {
            fault = judge_cut(world, &world->cuts[i][j]);
            if (fault == NULL && !all_show(world, found[i][j].cut, found[i][j].values))
                fault = "O1: what is left is not the snapshot of its cut";
        }
    }
    for (unsigned i = 0; i < FLUSHERS; i++) {
        for (unsigned j = 0; j < world->looked[i] && fault == NULL; j++) {
            if (!all_show(world, world->looks[i][j].snapshot, world->looks[i][j].values))
                fault = "O4: a durable snapshot does not show what is durable";
        }
    }
    return fault;
}

static struct torc_mvcc *
open_on(struct torci_vfs *vfs, struct torct_pool *pool, enum torc_durability durability)
{
    struct torc_allocator allocator = {torct_pool_allocate, torct_pool_release, pool};
    struct torc_mvcc_options options;
    struct torc_mvcc *store;

    torc_mvcc_options_init(&options);
    options.expected_keys = 1;
    options.hash_seed = 1;
    options.directory = "d";
    options.durability = durability;
    options.durable_snapshots = true;
    options.caller_driven = true;
    options.recovery_threads = 1;
    if (pool != NULL)
        options.allocator = &allocator;
    if (torci_mvcc_open_on(&options, vfs, &store) != TORC_OK) {
        torci_fail_here(torc_detail());
        return NULL;
    }
    return store;
}

/* Open what a cut has left. */
static bool
find(const struct cut *cut, struct found *found)
{
    struct torc_mvcc *store = open_on(cut->left, NULL, TORC_DURABILITY_ASYNC);
    struct torc_recovery recovery;
    unsigned char buffer[sizeof(struct value)];
    size_t size;

    if (store == NULL || torc_mvcc_recovery(store, &recovery) != TORC_OK)
        return false;
    /* A flush that finds nothing writes nothing. */
    found->cut = recovery.cut > cut->durable ? recovery.cut : cut->durable;
    for (unsigned key = 0; key < KEYS; key++) {
        found->values[key] = (struct value){.name = 0};
        if (torc_mvcc_get(store, key_of(key), buffer, sizeof buffer, &size) == TORC_OK)
            found->values[key] = value_in(torc_slice(buffer, size));
    }
    return torc_mvcc_close(store) == TORC_OK;
}

static struct write *
unknown(struct world *world)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        if (world->written[i] > 0 && !world->writes[i][world->written[i] - 1].ended)
            return &world->writes[i][world->written[i] - 1];
    }
    return NULL;
}

static bool
holds(void *context)
{
    struct world *world = context;
    struct found found[FIBERS][CUTS];
    struct write *open = unknown(world);
    const char *fault;

    for (unsigned i = 0; i < FIBERS; i++) {
        for (unsigned j = 0; j < world->cut[i]; j++) {
            if (!find(&world->cuts[i][j], &found[i][j]))
                return torct_fail("what was left does not open or close");
        }
    }
    fault = judge(world, found);
    if (open != NULL) {
        uint64_t last = torci_clock_now(&world->store->clock) + 1;

        for (open->stamp = 3; fault != NULL && open->stamp <= last; open->stamp += 2)
            fault = judge(world, found);
    }
    return fault == NULL || torct_fail(fault);
}

/* ---- The frame ---- */

static void
setup(void *context)
{
    struct world *world = context;
    struct torc_allocator allocator = {torct_pool_allocate, torct_pool_release, world->disk_pool};

    if (world->disk_pool != NULL)
        world->disk_pool->used = world->pool->used = 0;
    memset(world->written, 0, sizeof world->written);
    memset(world->cut, 0, sizeof world->cut);
    memset(world->looked, 0, sizeof world->looked);
    torci_init(&world->done, 0u);
    torci_heap_init(&world->heap, world->disk_pool != NULL ? &allocator : NULL, 0);
    world->disk = torci_vfs_memory_create(&world->heap, true);
    if (world->disk == NULL)
        torci_fail_here("no disk");
    world->faults = torci_vfs_fault_create(&world->heap, world->disk);
    if (world->faults == NULL)
        torci_fail_here("no disk");
    world->store = open_on(world->faults, world->pool, world->sync ? TORC_DURABILITY_SYNC : TORC_DURABILITY_ASYNC);
    if (world->fails) {
        struct torci_vfs_plan plan = {
            .operations = TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE) | TORCI_VFS_BIT(TORCI_VFS_SYNC),
            .at = 1 + torci_fiber_random() % 4,
            .status = TORC_IO,
        };

        torci_vfs_fault_plan(world->faults, &plan);
    }
}

static void
body(void *context, unsigned number)
{
    struct world *world = context;

    if (world->sleeps && number < WRITERS)
        write_and_wake(world, number);
    else if (world->sleeps)
        flush_and_sleep(world);
    else if (number < WRITERS)
        write_some(world, number);
    else
        flush_some(world, number - WRITERS);
}

static void
teardown(void *context)
{
    struct world *world = context;

    if (world->pool != NULL)
        return;
    if (torc_mvcc_close(world->store) != TORC_OK && !world->fails)
        torci_fail_here("the store does not close");
    for (unsigned i = 0; i < FIBERS; i++) {
        for (unsigned j = 0; j < world->cut[i]; j++)
            torci_vfs_memory_destroy(world->cuts[i][j].left);
    }
    torci_vfs_fault_destroy(world->faults);
    torci_vfs_memory_destroy(world->disk);
}

static struct torci_run
run_of(struct world *world, uint64_t schedules)
{
    return (struct torci_run){.fibers = world->sync ? WRITERS : world->sleeps ? WRITERS + 1 : FIBERS,
                              .setup = setup, .body = body, .check = holds,
                              .teardown = teardown, .context = world, .seed = torct_seed(),
                              .schedules = torct_schedules(schedules)};
}

static void
check(struct world *world, uint64_t schedules)
{
    struct torci_run run = run_of(world, schedules);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

Test(journal_schedules, what_a_flush_leaves_is_a_snapshot)
{
    static struct world world;

    check(&world, 10000);
}

/* Fibers that all sleep fail the schedule: a wake that was lost. */
Test(journal_schedules, whoever_waits_is_woken)
{
    static struct world world = {.sync = true};

    check(&world, 10000);
}

Test(journal_schedules, whoever_waits_is_told_of_a_failure)
{
    static struct world world = {.sync = true, .fails = true};

    check(&world, 10000);
}

Test(journal_schedules, whoever_sleeps_is_nudged)
{
    static struct world world = {.sleeps = true};

    check(&world, 10000);
}

/* ---- One queue ---- */

enum { ENTRIES = 4 };

/* Entries of half a chunk, beside flushes, and beside who frees what was retired: an owner that leaves a chunk, or
 * whose descriptor goes, between any two steps of who drains it. */
static void
append_drain_or_free(void *context, unsigned number)
{
    struct world *world = context;
    struct torci_shard *shard;
    char key[150];

    memset(key, 'k', sizeof key);
    if (torci_shard_obtain(world->store, &shard) != TORC_OK)
        torci_fail_here("no shard");
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct torci_op op = {.kind = TORCI_OP_DELETE, .key = torc_slice(key, sizeof key)};
        struct torci_epoch_guard guard;
        enum torc_status status;
        uint64_t stamp;
        bool led;

        if (number == 1) {
            if (torci_journal_flush(world->store->journal, &led) != TORC_OK)
                torci_fail_here("a flush failed");
            continue;
        }
        if (number == 2) {
            (void)torci_reclaimer_poll(world->store->reclaimer);
            continue;
        }
        guard = torci_epoch_enter();
        status = torci_journal_keyspace(shard, &op, &stamp);
        torci_epoch_exit(guard);
        if (status != TORC_OK)
            torci_fail_here("no entry");
        torci_limbo_flush(shard->limbo);
    }
}

static bool
all_were_taken(void *context)
{
    struct world *world = context;
    struct torci_journal *journal = world->store->journal;
    bool led;

    return torci_journal_flush(journal, &led) == TORC_OK &&
           torci_load(&journal->flushed_commits, memory_order_relaxed) == ENTRIES &&
           torci_load(&journal->waiting, memory_order_relaxed) == 0;
}

Test(journal_schedules, every_entry_is_taken_once)
{
    static struct world world;
    struct torci_run run = run_of(&world, 20000);
    struct torci_run_result result;

    run.fibers = 3;
    run.body = append_drain_or_free;
    run.check = all_were_taken;
    result = torci_fiber_run(&run);
    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

/* ---- Frozen writers ---- */

/* A writer stops for ever, at each of its points in turn. */
Test(journal_schedules, a_stopped_writer_holds_up_no_flush)
{
    static struct torct_pool pool, disk_pool;
    static struct world world = {.pool = &pool, .disk_pool = &disk_pool};
    struct torci_run run = run_of(&world, 3);
    uint64_t schedules = 0;

    for (run.freeze_at = 1;; run.freeze_at++) {
        struct torci_run_result result = torci_fiber_run(&run);

        cr_assert_not(result.failed, "frozen at %llu: %s", (unsigned long long)run.freeze_at, result.reason);
        schedules += result.schedules;
        run.seed += result.schedules;
        if (result.frozen == 0)
            break;
    }
    cr_log_info("%llu schedules", (unsigned long long)schedules);
}

/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_crash: the power is cut at every call that a durable store makes to its disk.
 *
 * One thread, driven by its caller, so that a seed tells all: a scripted run and random ones (mvcc_crash_testing.h has
 * the oracle). And real threads: each counts its commits in several keys by one transaction and adds to a sum shared by
 * all; notes the stamp of each. A clone with cut C must show, for each thread, the number of its commits up to C in all
 * of its keys, and their sum.
 *
 * TORC_CRASH_POINTS in the environment: go on with new seeds until so many clones have been opened. */
#include "mvcc/mvcc_crash_testing.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/time.h"

enum { POINTS = 2500 / TORCT_CRASH_EVERY, STEPS = 120, DEEP_EVERY = 97 };

TestSuite(mvcc_crash, .timeout = 3000);

/* Of a random test. */
static uint64_t
points_wanted(void)
{
    const char *text = getenv("TORC_CRASH_POINTS");

    return text == NULL ? POINTS : strtoull(text, NULL, 10);
}

static void
tell(const char *what, uint64_t seed, uint64_t points, uint64_t deep)
{
    fprintf(stderr, "mvcc_crash: %s, seed %" PRIu64 ": %" PRIu64 " crash points, %" PRIu64 " of them in a recovery\n",
            what, seed, points, deep);
}

/* ---- Scripted ---- */

/* Everything once, in each durability. */
static void
script(struct torct_crash *world)
{
    torct_crash_put(world);
    torct_crash_turn(world);
    torct_crash_merge(world);
    torct_crash_transact(world);
    torct_crash_turn(world);
    torct_crash_poll(world);
    torct_crash_transact(world);
    torct_crash_sync(world);
    torct_crash_checkpoint(world);
    torct_crash_delete(world);
    torct_crash_tick(world);
    torct_crash_transact(world);
    torct_crash_turn(world);
    torct_crash_resume(world);
    torct_crash_transact(world);
    torct_crash_turn(world);
    torct_crash_checkpoint(world);
    torct_crash_merge(world);
    torct_crash_poll(world);
}

Test(mvcc_crash, shows_a_prefix_of_history_with_all_that_was_acknowledged)
{
    static const enum torc_durability durabilities[] = {TORC_DURABILITY_ASYNC, TORC_DURABILITY_SYNC,
                                                        TORC_DURABILITY_NONE, TORC_DURABILITY_SYNC};
    struct torct_crash *world = torct_crash_create(1);

    world->deep_every = 31;
    torct_crash_watch(world, true);
    for (unsigned i = 0; i < sizeof(durabilities) / sizeof(durabilities[0]); i++) {
        cr_assert_eq(torct_crash_open(world, durabilities[i]), TORC_OK);
        script(world);
        cr_assert_eq(torct_crash_close(world), TORC_OK);
    }
    tell("scripted", 1, world->points, world->deep_points);
    torct_crash_destroy(world);
}

/* ---- One by one ---- */

#if defined(TORC_TINY) /* Small segments. */
/* Several segments with a journal, then none: its segments go after the first checkpoint, and what is left of them when
 * the power is cut meanwhile must not stand in the way of a journal later. */
Test(mvcc_crash, a_journal_may_begin_again_while_an_earlier_one_is_taken_away)
{
    struct torct_crash *world = torct_crash_create(21);

    cr_assert_eq(torct_crash_open(world, TORC_DURABILITY_SYNC), TORC_OK);
    while (world->store->journal->writer.number < 4)
        torct_crash_put(world);
    cr_assert_eq(torct_crash_close(world), TORC_OK);
    world->deep_every = 11;
    torct_crash_watch(world, true);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(torct_crash_open(world, TORC_DURABILITY_NONE), TORC_OK);
        torct_crash_put(world);
        torct_crash_checkpoint(world);
        torct_crash_put(world);
        cr_assert_eq(torct_crash_close(world), TORC_OK);
        cr_assert_eq(torct_crash_open(world, TORC_DURABILITY_SYNC), TORC_OK);
        torct_crash_put(world);
        torct_crash_reboot(world, TORCI_CRASH_DROP);
        cr_assert_eq(torct_crash_close(world), TORC_OK);
    }
    torct_crash_destroy(world);
}

/* Commits go on while a checkpoint is written in steps, over several segments. */
Test(mvcc_crash, a_checkpoint_needs_the_journal_from_its_beginning_on)
{
    struct torct_crash *world = torct_crash_create(23);
    unsigned char value[TORCT_CRASH_VALUE_MAX] = {0};
    struct torc_durability_stats stats;
    uint64_t segment;
    char name[16];

    cr_assert_eq(torct_crash_open(world, TORC_DURABILITY_SYNC), TORC_OK);
    for (uint64_t i = 0; i < 8; i++) {
        cr_assert_eq(torc_mvcc_put(world->store, torct_crash_key(name, "k", i), torc_slice(value, sizeof(value)), NULL),
                     TORC_OK);
        torct_crash_stepped(world, torc_last_commit());
    }
    cr_assert_eq(torc_mvcc_checkpoint(world->store, false), TORC_OK);
    torct_crash_poll(world);
    segment = world->store->journal->writer.number;
    while (world->store->journal->writer.number < segment + 3)
        torct_crash_put(world);
    stats = torct_durability(world->store);
    cr_assert(stats.checkpoint_running && stats.checkpoints == 0);
    torct_crash_watch(world, true);
    while (torct_durability(world->store).checkpoint_running)
        torct_crash_poll(world);
    torct_crash_put(world);
    torct_crash_reboot(world, TORCI_CRASH_DROP);
    cr_assert_eq(torct_crash_close(world), TORC_OK);
    torct_crash_destroy(world);
}
#endif

static void
make_keyspace(struct torct_crash *world, const char *name)
{
    uint64_t stamp = torct_crash_next_stamp(world);
    struct torc_keyspace *keyspace;

    cr_assert_eq(torc_keyspace_create(world->store, torct_text(name), &keyspace), TORC_OK);
    torct_crash_stepped(world, stamp);
}

/* Their names are not in the order of their making. */
Test(mvcc_crash, lists_keyspaces_in_the_order_in_which_they_were_made)
{
    struct torct_crash *world = torct_crash_create(22);

    cr_assert_eq(torct_crash_open(world, TORC_DURABILITY_SYNC), TORC_OK);
    make_keyspace(world, "gamma");
    make_keyspace(world, "beta");
    torct_crash_reboot(world, TORCI_CRASH_DROP);
    make_keyspace(world, "alpha");
    torct_crash_checkpoint(world);
    torct_crash_reboot(world, TORCI_CRASH_DROP);
    cr_assert_eq(torct_crash_close(world), TORC_OK);
    torct_crash_destroy(world);
}

/* A store whose n-th allocation from now on is when a keyspace is made. */
struct making {
    struct torc_mvcc *store;
    uint64_t countdown;                 /* 0: not to be made any more. */
    struct torc_keyspace *keyspace;
};

static void *
allocate_making(void *context, size_t size)
{
    struct making *making = context;

    if (making->countdown > 0 && --making->countdown == 0)
        cr_assert_eq(torc_keyspace_create(making->store, torct_text("late"), &making->keyspace), TORC_OK);
    return aligned_alloc(16, (size + 15) & ~(size_t)15);
}

static void
release_making(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

/* Whether the checkpoint came to its n-th allocation. */
static bool
make_within_checkpoint(uint64_t n)
{
    struct making making = {NULL, 0, NULL};
    struct torc_allocator allocator = {allocate_making, release_making, &making};
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_NONE, true);
    struct torc_keyspace *found;
    struct torc_recovery report;
    struct torct_disk disk, after;
    uint64_t made;

    torct_disk_create(&disk);
    options.allocator = &allocator;
    cr_assert_eq(torci_mvcc_open_on(&options, disk.vfs, &making.store), TORC_OK);
    cr_assert_eq(torc_mvcc_put(making.store, torct_text("key"), torct_text("value"), NULL), TORC_OK);
    making.countdown = n;
    cr_assert_eq(torc_mvcc_checkpoint(making.store, true), TORC_OK);
    making.countdown = 0;
    made = making.keyspace == NULL ? 0 : making.keyspace->created;
    torct_disk_crash(&disk, TORCI_CRASH_DROP, n, &after);
    cr_assert_eq(torc_mvcc_close(making.store), TORC_OK);
    options.allocator = NULL;
    cr_assert_eq(torci_mvcc_open_on(&options, after.vfs, &making.store), TORC_OK);
    cr_assert_eq(torc_mvcc_recovery(making.store, &report), TORC_OK);
    if (made > 0)
        cr_assert_eq(torc_keyspace_find(making.store, torct_text("late"), &found) == TORC_OK, made <= report.cut,
                     "allocation %" PRIu64 ": made at %" PRIu64 ", cut at %" PRIu64, n, made, report.cut);
    cr_assert_eq(torc_mvcc_close(making.store), TORC_OK);
    torct_disk_destroy(&after);
    torct_disk_destroy(&disk);
    return made > 0;
}

Test(mvcc_crash, a_keyspace_made_while_a_checkpoint_begins_is_in_it_or_after_it)
{
    uint64_t n = 1;

    while (make_within_checkpoint(n))
        n++;
    cr_assert_gt(n, 3u);
}

/* ---- Random ---- */

static void
run_random(uint64_t seed, uint64_t *points, uint64_t *deep)
{
    struct torct_crash *world = torct_crash_create(seed);

    world->deep_every = DEEP_EVERY;
    torct_crash_watch(world, true);
    cr_assert_eq(torct_crash_open(world, seed % 2 == 0 ? TORC_DURABILITY_SYNC : TORC_DURABILITY_ASYNC), TORC_OK);
    for (unsigned i = 0; i < STEPS; i++)
        torct_crash_step(world);
    cr_assert_eq(torct_crash_close(world), TORC_OK);
    *points += world->points;
    *deep += world->deep_points;
    torct_crash_destroy(world);
}

Test(mvcc_crash, shows_a_prefix_of_any_history)
{
    uint64_t seed = torct_seed(), points = 0, deep = 0, wanted = points_wanted();

    for (uint64_t i = 0; points < wanted; i++) {
        if (i > 0)
            fprintf(stderr, "mvcc_crash: goes on with seed %" PRIu64 "\n", seed + i);
        run_random(seed + i, &points, &deep);
    }
    tell("random", seed, points, deep);
}

/* ---- Threads ---- */

enum { WRITERS = 3, COUNTERS = 4, COMMITS = 60, CLONES_MAX = 20000 };

struct finding {
    uint64_t cut;
    uint64_t durable;                   /* When the clone was made. */
    uint64_t acknowledged[WRITERS];
    uint64_t counts[WRITERS];           /* What it shows. UINT64_MAX: the keys differ. */
    uint64_t sum;
};

struct threads {
    struct torct_disk disk;
    struct torc_mvcc *store;
    bool waits;                         /* Each commit is waited for; else one in eight. */
    uint64_t stamps[WRITERS][COMMITS];  /* Of who commits. */
    _Atomic(uint64_t) acknowledged[WRITERS];
    pthread_mutex_t mutex;              /* Of what follows. */
    uint64_t seen_calls;
    uint64_t chances;
    struct finding findings[CLONES_MAX];
    size_t count;
    bool over;
};

static struct threads threads;

static uint64_t
number_of(struct torc_mvcc *store, const char *key)
{
    uint64_t number = 0;
    size_t size;
    enum torc_status status = torc_mvcc_get(store, torct_text(key), &number, sizeof(number), &size);

    cr_assert(status == TORC_NOT_FOUND || (status == TORC_OK && size == sizeof(number)));
    return number;
}

static uint64_t
count_in(struct torc_mvcc *store, unsigned writer)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < COUNTERS; i++) {
        char key[16];
        uint64_t number;

        snprintf(key, sizeof(key), "w%u.%u", writer, i);
        number = number_of(store, key);
        if (i > 0 && number != count)
            return UINT64_MAX;
        count = number;
    }
    return count;
}

static void
look(enum torci_crash mode, struct finding *finding)
{
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_ASYNC, true);
    struct torc_recovery found;
    struct torct_disk after;
    struct torc_mvcc *store;

    torct_disk_crash(&threads.disk, mode, threads.count, &after);
    cr_assert_eq(torci_mvcc_verify_on(TORCT_DIRECTORY, after.vfs, NULL), TORC_OK, "%s", torc_detail());
    cr_assert_eq(torci_mvcc_open_on(&options, after.vfs, &store), TORC_OK, "%s", torc_detail());
    cr_assert_eq(torc_mvcc_recovery(store, &found), TORC_OK);
    finding->cut = found.cut;
    finding->sum = number_of(store, "sum");
    for (unsigned i = 0; i < WRITERS; i++)
        finding->counts[i] = count_in(store, i);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    torct_disk_destroy(&after);
}

/* On whichever thread writes; two may write at once, one of them a checkpoint. */
static void
stop_threads(void *context, enum torci_vfs_operation operation)
{
    uint64_t last_commit = torc_last_commit();
    uint64_t calls;

    (void)context;
    (void)operation;
    pthread_mutex_lock(&threads.mutex);
    calls = torci_vfs_memory_calls(threads.disk.memory);
    if (calls != threads.seen_calls && !threads.over && threads.chances++ % TORCT_CRASH_EVERY == 0) {
        struct finding *finding = &threads.findings[threads.count++];

        cr_assert_lt(threads.count, (size_t)CLONES_MAX);
        threads.seen_calls = calls;
        for (unsigned i = 0; i < WRITERS; i++)
            finding->acknowledged[i] = torci_load(&threads.acknowledged[i], memory_order_acquire);
        finding->durable = torc_mvcc_durable(threads.store);
        look((enum torci_crash)(threads.count % TORCI_CRASH_MODES), finding);
    }
    pthread_mutex_unlock(&threads.mutex);
    torci_last_commit_note(last_commit);
}

/* Count the writer's next commit in all of its keys, and in the sum. */
static uint64_t
commit_number(unsigned writer, uint64_t number)
{
    int64_t one = 1;
    struct torc_txn *txn;
    char key[16];

    cr_assert_eq(torc_txn_begin(threads.store, NULL, &txn), TORC_OK);
    for (unsigned i = 0; i < COUNTERS; i++) {
        snprintf(key, sizeof(key), "w%u.%u", writer, i);
        cr_assert_eq(torc_txn_put(txn, torct_text(key), torc_slice(&number, sizeof(number))), TORC_OK);
    }
    cr_assert_eq(torc_txn_merge(txn, torct_text("sum"), &torc_merge_add, torc_slice(&one, sizeof(one))), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK, "%s", torc_detail());
    return torc_last_commit();
}

static void
write_on(void *context, unsigned writer)
{
    (void)context;
    if (writer == WRITERS) {
        for (unsigned i = 0; i < 3; i++)
            cr_assert_eq(torc_mvcc_checkpoint(threads.store, true), TORC_OK, "%s", torc_detail());
        return;
    }
    for (uint64_t number = 1; number <= COMMITS; number++) {
        uint64_t stamp = commit_number(writer, number);

        threads.stamps[writer][number - 1] = stamp;
        if (!threads.waits && number % 8 == 0)
            cr_assert_eq(torc_mvcc_wait_durable(threads.store, stamp), TORC_OK, "%s", torc_detail());
        if (threads.waits || number % 8 == 0)
            torci_store(&threads.acknowledged[writer], number, memory_order_release);
    }
}

static uint64_t
commits_up_to(unsigned writer, uint64_t cut)
{
    uint64_t count = 0;

    while (count < COMMITS && threads.stamps[writer][count] <= cut)
        count++;
    return count;
}

static void
judge(const struct finding *finding)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < WRITERS; i++) {
        uint64_t count = finding->counts[i];

        cr_assert_neq(count, UINT64_MAX, "half a transaction at cut %" PRIu64, finding->cut);
        cr_assert_eq(count, commits_up_to(i, finding->cut), "not a prefix at cut %" PRIu64 ": writer %u, %" PRIu64,
                     finding->cut, i, count);
        cr_assert_geq(count, finding->acknowledged[i], "lost at cut %" PRIu64, finding->cut);
        cr_assert_geq(count, commits_up_to(i, finding->durable), "lost at cut %" PRIu64, finding->cut);
        sum += count;
    }
    cr_assert_eq(finding->sum, sum, "a sum of %" PRIu64 " at cut %" PRIu64, finding->sum, finding->cut);
}

static void
run_threads(enum torc_durability durability)
{
    memset(&threads, 0, sizeof(threads));
    threads.waits = durability == TORC_DURABILITY_SYNC;
    cr_assert_eq(pthread_mutex_init(&threads.mutex, NULL), 0);
    torct_disk_create(&threads.disk);
    threads.store = torct_disk_open(&threads.disk, durability, false);
    torci_vfs_fault_stop(threads.disk.vfs, stop_threads, NULL);
    torct_race(WRITERS + 1, write_on, NULL);
    cr_assert_eq(torc_mvcc_sync(threads.store), TORC_OK);
    pthread_mutex_lock(&threads.mutex);
    threads.over = true;
    pthread_mutex_unlock(&threads.mutex);
    cr_assert_eq(torc_mvcc_close(threads.store), TORC_OK);
    for (size_t i = 0; i < threads.count; i++)
        judge(&threads.findings[i]);
    tell(threads.waits ? "threads, sync" : "threads, async", 0, threads.count, 0);
    cr_assert_gt(threads.count, (size_t)30 / TORCT_CRASH_EVERY);
    torct_disk_destroy(&threads.disk);
    pthread_mutex_destroy(&threads.mutex);
}

Test(mvcc_crash, keeps_what_threads_committed_when_sync)
{
    run_threads(TORC_DURABILITY_SYNC);
}

Test(mvcc_crash, keeps_what_threads_waited_for_when_async)
{
    run_threads(TORC_DURABILITY_ASYNC);
}

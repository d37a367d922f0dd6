/* SPDX-License-Identifier: MIT */
/* Durable stores by their public calls: what comes back after closing and after a power cut, checkpoints, backups,
 * modes, keyspaces, failures of memory and of the disk, each row of the header's errors. */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "base/time.h"
#include "mvcc/durable_testing.h"

#if defined(TORC_TINY)
enum { STRIDE = 1, IN_STEPS = 1 };
#else
enum { STRIDE = 61, IN_STEPS = 0 };     /* Each run fills segments of 64 MiB; a checkpoint of a few keys is one step. */
#endif

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

TestSuite(durable_open, .timeout = 60);
TestSuite(durable_store, .init = create, .fini = destroy, .timeout = 120);
TestSuite(durable_none, .timeout = 60);
TestSuite(durable_threads, .timeout = 120);
TestSuite(durable_faults, .timeout = 300);
TestSuite(durable_memory, .timeout = 60);

/* Close and open again. */
static void
reopen(void)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK, "%s", torc_detail());
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
}

/* Lose power, and open what is left. */
static void
crash(enum torci_crash mode, uint64_t seed)
{
    struct torci_vfs *left = torci_vfs_memory_crash_clone(disk.memory, mode, seed);

    cr_assert_not_null(left);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    torci_vfs_fault_destroy(disk.vfs);
    torci_vfs_memory_destroy(disk.memory);
    disk.memory = left;
    disk.vfs = torci_vfs_fault_create(&disk.heap, left);
    cr_assert_not_null(disk.vfs);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
}

static struct torc_txn *
begin_durable(void)
{
    struct torc_txn_options options = {.durable = true};
    struct torc_txn *txn;

    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK);
    return txn;
}

/* ---- Opening and closing ---- */

Test(durable_open, refuses_options_that_mean_nothing)
{
    struct torc_mvcc_options options;

    torct_disk_create(&disk);
    options = torct_durable_options(TORC_DURABILITY_ASYNC, true);
    options.directory = "";
    cr_expect_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_INVALID);
    options = torct_durable_options((enum torc_durability)3, true);
    cr_expect_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_INVALID);
    options = torct_durable_options(TORC_DURABILITY_ASYNC, true);
    options.journal_limit_bytes = 1024 * 1024 - 1;
    cr_expect_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_INVALID);
    cr_expect_null(store);
    cr_expect_neq(torc_detail()[0], '\0');
    torct_disk_destroy(&disk);
}

Test(durable_open, has_defaults)
{
    struct torc_mvcc_options options;

    torc_mvcc_options_init(&options);
    cr_expect_null(options.directory);
    cr_expect_eq(options.durability, TORC_DURABILITY_ASYNC);
    cr_expect_eq(options.journal_limit_bytes, UINT64_C(64) << 20);
    cr_expect_eq(options.checkpoint_bytes, UINT64_C(256) << 20);
    cr_expect_eq(options.recovery_threads, 0u);
}

Test(durable_open, one_at_a_time)
{
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_ASYNC, true);
    struct torc_mvcc *second = store;

    create();
    cr_expect_eq(torci_mvcc_open_on(&options, disk.vfs, &second), TORC_LOCKED);
    cr_expect_null(second);
    cr_expect_eq(torci_mvcc_verify_on(TORCT_DIRECTORY, disk.vfs, NULL), TORC_LOCKED);
    torct_put(store, "a", "1");
    reopen();
    cr_expect(torct_reads(store, "a", "1"));
    destroy();
}

Test(durable_open, the_directory_s_name_is_copied)
{
    char name[] = TORCT_DIRECTORY;
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_ASYNC, true);

    torct_disk_create(&disk);
    options.directory = name;
    cr_assert_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_OK);
    memset(name, 'x', sizeof name - 1);
    torct_put(store, "a", "1");
    cr_expect_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
    reopen();
    cr_expect(torct_reads(store, "a", "1"));
    destroy();
}

Test(durable_store, closing_makes_all_durable)
{
    torct_put(store, "a", "1");
    torct_put(store, "b", "1");
    torct_delete(store, "b");
    reopen();
    cr_expect(torct_reads(store, "a", "1"));
    cr_expect(torct_reads(store, "b", NULL));
    crash(TORCI_CRASH_DROP, 1);
    cr_expect(torct_reads(store, "a", "1"));
}

Test(durable_store, what_is_open_is_not_closed)
{
    struct torc_txn *txn = begin_durable();

    cr_expect_eq(torc_mvcc_close(store), TORC_BUSY);
    torc_txn_abort(txn);
    torct_put(store, "a", "1");
    reopen();
    cr_expect(torct_reads(store, "a", "1"));
}

Test(durable_store, stamps_go_on_ascending)
{
    uint64_t before = 0;

    for (unsigned i = 0; i < 20; i++) {
        torct_put(store, "a", "1");
        cr_assert_gt(torc_last_commit(), before);
        before = torc_last_commit();
        if (i % 2 == 0)
            cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
        if (i % 3 == 0)
            reopen();
        cr_assert_geq(torc_mvcc_durable(store), i % 3 == 0 ? before : 0);
    }
}

Test(durable_store, a_thousand_lives)
{
    char key[16], value[16];

    for (unsigned life = 0; life < 1000; life++) {
        (void)snprintf(key, sizeof key, "%u", life % 50);
        (void)snprintf(value, sizeof value, "%u", life);
        torct_put(store, key, value);
        if (life % 97 == 0)
            cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
        if (life % 3 == 0) {
            cr_assert_eq(torc_mvcc_sync(store), TORC_OK);
            torct_put(store, "lost", "1");
            crash((enum torci_crash)(life % TORCI_CRASH_MODES), life);
        } else {
            reopen();
        }
        cr_assert(torct_reads(store, key, value), "life %u", life);
        (void)(torc_mvcc_delete(store, torct_text("lost")) == TORC_OK);
    }
    for (unsigned life = 950; life < 1000; life++) {
        (void)snprintf(key, sizeof key, "%u", life % 50);
        (void)snprintf(value, sizeof value, "%u", life);
        cr_assert(torct_reads(store, key, value));
    }
}

/* ---- What is journaled ---- */

static enum torc_status
replace_with_x(struct torc_txn *txn, void *context)
{
    (void)context;
    return torc_txn_put(txn, torct_text("run"), torct_text("x"));
}

Test(durable_store, every_kind_of_write_comes_back)
{
    struct torc_keyspace *main = torc_mvcc_default(store);
    struct torc_pair pairs[] = {{torct_text("l1"), torct_text("1")}, {torct_text("l2"), torct_text("2")},
                                {torct_text("l1"), torct_text("3")}};
    struct torc_slice desired = torct_text("set"), zero = torct_text("0"), one = torct_text("1");
    uint64_t soon = torci_wall_ms() + 1000000, expires = 0;
    struct torc_txn *txn;
    uint64_t deleted;
    size_t loaded;

    torct_put(store, "put", "1");
    cr_assert_eq(torc_keyspace_compare_and_set(main, torct_text("cas"), NULL, &desired), TORC_OK);
    cr_assert_eq(torc_keyspace_merge(main, torct_text("m"), &torc_merge_append, torct_text("a"), NULL, 0, NULL),
                 TORC_OK);
    cr_assert_eq(torc_keyspace_merge(main, torct_text("m"), &torc_merge_append, torct_text("b"), NULL, 0, NULL),
                 TORC_OK);
    cr_assert_eq(torc_keyspace_put(main, torct_text("e"), torct_text("1"), soon, NULL), TORC_OK);
    cr_assert_eq(torc_keyspace_put(main, torct_text("past"), torct_text("1"), 1, NULL), TORC_OK);
    cr_assert_eq(torc_keyspace_load(main, pairs, 3, &loaded), TORC_OK);
    cr_assert_eq(torc_txn_run(store, NULL, replace_with_x, NULL), TORC_OK);
    torct_put(store, "r1", "1");
    torct_put(store, "r2", "1");
    txn = torct_begin(store, TORC_SERIALIZABLE);
    cr_assert(torct_txn_reads(txn, "put", "1"));
    torct_txn_put(txn, "t1", "1");
    torct_txn_put(txn, "t2", "2");
    cr_assert_eq(torc_txn_merge(txn, torct_text("m"), &torc_merge_append, torct_text("c")), TORC_OK);
    cr_assert_eq(torc_txn_put_expiring(txn, torct_text("te"), torct_text("1"), soon), TORC_OK);
    cr_assert_eq(torc_txn_compare_and_set(txn, torct_text("t1"), &one, &zero), TORC_OK);
    cr_assert_eq(torc_txn_delete_range(txn, torct_text("r"), torct_text("s"), &deleted), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);

    for (unsigned pass = 0; pass < 3; pass++) {
        if (pass == 0)
            reopen();
        else if (pass == 1)
            crash(TORCI_CRASH_DROP, 1);
        else
            cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
        if (pass == 2)
            reopen();
        cr_expect(torct_reads(store, "put", "1"));
        cr_expect(torct_reads(store, "cas", "set"));
        cr_expect(torct_reads(store, "m", "abc"));
        cr_expect(torct_reads(store, "e", "1"));
        cr_expect(torct_reads(store, "past", NULL));
        cr_expect(torct_reads(store, "l1", "3"));
        cr_expect(torct_reads(store, "l2", "2"));
        cr_expect(torct_reads(store, "t1", "0"));
        cr_expect(torct_reads(store, "t2", "2"));
        cr_expect(torct_reads(store, "r1", NULL));
        cr_expect(torct_reads(store, "r2", NULL));
        txn = torct_begin(store, TORC_SNAPSHOT);
        cr_assert_eq(torc_txn_expiry(txn, torct_text("te"), &expires), TORC_OK);
        cr_expect_eq(expires, soon);
        torc_txn_abort(txn);
    }
}

static struct torc_keyspace *
keyspace_named(const char *name)
{
    struct torc_keyspace *keyspace;
    enum torc_status status = torc_keyspace_find(store, torct_text(name), &keyspace);

    cr_assert(status == TORC_OK || status == TORC_NOT_FOUND);
    return keyspace;
}

static bool
keyspace_reads(const char *name, const char *key, const char *expected)
{
    char buffer[32];
    size_t size;
    enum torc_status status = torc_keyspace_get(keyspace_named(name), torct_text(key), buffer, sizeof buffer, &size);

    return status == TORC_NOT_FOUND ? expected == NULL
                                    : status == TORC_OK && torct_slice_is(torc_slice(buffer, size), expected);
}

static void
keyspace_put(const char *name, const char *key, const char *value)
{
    cr_assert_eq(torc_keyspace_put(keyspace_named(name), torct_text(key), torct_text(value), TORC_NEVER, NULL),
                 TORC_OK);
}

Test(durable_store, keyspaces_come_back_as_commits_do)
{
    struct torc_keyspace *one, *two, *again;

    cr_assert_eq(torc_keyspace_create(store, torct_text("one"), &one), TORC_OK);
    cr_assert_eq(torc_keyspace_create(store, torct_text("two"), &two), TORC_OK);
    cr_assert_eq(torc_keyspace_create(store, torct_text("one"), &again), TORC_EXISTS);
    keyspace_put("one", "a", "1");
    keyspace_put("two", "a", "2");
    torct_put(store, "a", "0");
    reopen();
    cr_expect(keyspace_reads("one", "a", "1"));
    cr_expect(keyspace_reads("two", "a", "2"));
    cr_expect(torct_reads(store, "a", "0"));

    cr_assert_eq(torc_keyspace_drop(keyspace_named("one")), TORC_OK);
    cr_assert_eq(torc_keyspace_create(store, torct_text("one"), &one), TORC_OK);
    keyspace_put("one", "b", "3");
    cr_assert_eq(torc_keyspace_drop(keyspace_named("two")), TORC_OK);
    crash(TORCI_CRASH_DROP, 1); /* None of it was flushed. */
    cr_expect(keyspace_reads("one", "a", "1"));
    cr_expect(keyspace_reads("two", "a", "2"));

    cr_assert_eq(torc_keyspace_drop(keyspace_named("one")), TORC_OK);
    cr_assert_eq(torc_keyspace_create(store, torct_text("one"), &one), TORC_OK);
    keyspace_put("one", "b", "3");
    cr_assert_eq(torc_keyspace_drop(keyspace_named("two")), TORC_OK);
    cr_assert_eq(torc_mvcc_sync(store), TORC_OK);
    for (unsigned pass = 0; pass < 3; pass++) {
        if (pass == 1)
            cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
        crash(TORCI_CRASH_DROP, 1);
        cr_expect(keyspace_reads("one", "a", NULL));
        cr_expect(keyspace_reads("one", "b", "3"));
        cr_expect_null(keyspace_named("two"));
    }
}

Test(durable_store, a_commit_over_several_keyspaces_is_whole)
{
    struct torc_keyspace *one;
    struct torc_txn *txn;

    cr_assert_eq(torc_keyspace_create(store, torct_text("one"), &one), TORC_OK);
    txn = torct_begin(store, TORC_SNAPSHOT);
    torct_txn_put(txn, "a", "1");
    cr_assert_eq(torc_txn_use(txn, one), TORC_OK);
    torct_txn_put(txn, "a", "2");
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    reopen();
    cr_expect(torct_reads(store, "a", "1"));
    cr_expect(keyspace_reads("one", "a", "2"));
}

/* ---- Waiting, and what is durable ---- */

Test(durable_store, waiting_needs_a_stamp_that_was_given)
{
    torct_put(store, "a", "1");
    cr_expect_eq(torc_mvcc_wait_durable(store, torc_last_commit() + 2), TORC_INVALID);
    cr_expect_eq(torc_mvcc_wait_durable(NULL, 1), TORC_INVALID);
    cr_expect_eq(torc_mvcc_wait_durable(store, torc_last_commit()), TORC_OK);
    cr_expect_geq(torc_mvcc_durable(store), torc_last_commit());
    crash(TORCI_CRASH_DROP, 1);
    cr_expect(torct_reads(store, "a", "1"));
}

Test(durable_store, sync_makes_all_durable_that_was_committed)
{
    torct_put(store, "a", "1");
    cr_expect_eq(torc_mvcc_sync(store), TORC_OK);
    crash(TORCI_CRASH_DROP, 1);
    cr_expect(torct_reads(store, "a", "1"));
}

Test(durable_store, polling_flushes)
{
    torct_put(store, "a", "1");
    cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    cr_expect_geq(torc_mvcc_durable(store), torc_last_commit());
    crash(TORCI_CRASH_DROP, 1);
    cr_expect(torct_reads(store, "a", "1"));
}

Test(durable_store, a_durable_snapshot_shows_what_would_survive)
{
    struct torc_txn *before = begin_durable(), *txn;

    torct_put(store, "a", "1");
    torct_flush(store);
    torct_put(store, "a", "2");
    txn = begin_durable();
    cr_expect(torct_txn_reads(txn, "a", "1"));
    cr_expect(torct_txn_reads(before, "a", NULL));
    cr_expect_leq(torc_txn_snapshot(txn), torc_mvcc_durable(store));
    torct_flush(store);
    torct_collect(store);
    cr_expect(torct_txn_reads(txn, "a", "1"), "it stays as it was");
    cr_expect(torct_txn_reads(before, "a", NULL));
    torc_txn_abort(before);
    torc_txn_abort(txn);
    txn = begin_durable();
    cr_expect(torct_txn_reads(txn, "a", "2"));
    torct_txn_put(txn, "a", "3");
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
    txn = begin_durable();
    torct_txn_put(txn, "a", "4");
    cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT, "what is not durable yet was written since");
}

Test(durable_store, a_durable_snapshot_is_the_only_choice)
{
    struct torc_txn_options options = {.durable = true, .at = 4};
    struct torc_txn *txn;

    cr_expect_eq(torc_txn_begin(store, &options, &txn), TORC_INVALID);
    options = (struct torc_txn_options){.durable = true, .snapshot = torct_text("x")};
    cr_expect_eq(torc_txn_begin(store, &options, &txn), TORC_INVALID);
    cr_expect_null(txn);
}

static bool
readable(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};

    return poll(&look, 1, 0) == 1;
}

Test(durable_store, a_descriptor_tells_that_durable_has_grown)
{
    int fd = torc_mvcc_durable_fd(store);
    uint64_t count;

    cr_assert_geq(fd, 0);
    cr_expect_eq(torc_mvcc_durable_fd(store), fd);
    cr_expect_not(readable(fd));
    torct_put(store, "a", "1");
    cr_expect_not(readable(fd));
    torct_flush(store);
    cr_expect(readable(fd));
    cr_expect_eq(read(fd, &count, sizeof count), (ssize_t)sizeof count);
    cr_expect_not(readable(fd));
    torct_put(store, "a", "2");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_expect_eq(torc_mvcc_sync(store), TORC_INDETERMINATE);
    cr_expect(readable(fd));
    cr_expect_eq(read(fd, &count, sizeof count), (ssize_t)sizeof count);
    cr_expect_eq(torc_mvcc_resume(store), TORC_OK);
    cr_expect(readable(fd));
}

/* ---- Checkpoints ---- */

Test(durable_store, a_checkpoint_takes_the_journal_s_place)
{
    struct torc_recovery found;
    char key[16];

    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof key, "%u", i % 20);
        torct_put(store, key, "0123456789012345678901234567890123456789");
    }
    torct_flush(store);
    cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
    cr_expect_eq(torct_durability(store).checkpoints, 1u);
    cr_expect_gt(torct_durability(store).checkpoint_stamp, 0u);
    cr_expect_gt(torct_durability(store).checkpoint_ms, 0u);
    cr_expect_not(torct_durability(store).checkpoint_running);
    cr_expect_eq(torct_durability(store).journal_bytes, 0u);
    torct_put(store, "after", "1");
    reopen();
    cr_assert_eq(torc_mvcc_recovery(store, &found), TORC_OK);
    cr_expect_eq(found.checkpoint_entries, 20u);
    cr_expect_gt(found.checkpoint_stamp, 0u);
    cr_expect_gt(found.checkpoint_bytes, 0u);
    cr_expect_eq(found.commits, 1u);
    cr_expect_eq(found.keys, 21u);
    cr_expect_eq(found.keyspaces, 1u);
    cr_expect_eq(found.torn_bytes, 0u);
    cr_expect_geq(found.cut, found.checkpoint_stamp);
    cr_expect(torct_reads(store, "after", "1"));
}

Test(durable_store, polling_writes_a_checkpoint_that_was_asked_for)
{
    bool more = true;
    char key[16];

    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof key, "%u", i);
        torct_put(store, key, "0123456789012345678901234567890123456789");
    }
    cr_assert_eq(torc_mvcc_checkpoint(store, false), TORC_OK);
    cr_expect_eq(torct_durability(store).checkpoints, 0u);
    cr_assert_eq(torc_mvcc_poll(store, &more), TORC_OK);
    cr_expect_eq(torct_durability(store).checkpoint_running, IN_STEPS);
    cr_expect(more || !IN_STEPS);
    for (unsigned i = 0; torct_durability(store).checkpoints == 0; i++) {
        cr_assert_lt(i, 1000u);
        torct_put(store, "b", "1");
        cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    }
    cr_expect_not(torct_durability(store).checkpoint_running);
    crash(TORCI_CRASH_DROP, 1);
    cr_expect(torct_reads(store, "299", "0123456789012345678901234567890123456789"));
}

Test(durable_store, a_checkpoint_in_steps_gives_way_to_a_whole_one_and_to_closing)
{
    char key[16];

    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof key, "%u", i);
        torct_put(store, key, "0123456789012345678901234567890123456789");
    }
    cr_assert_eq(torc_mvcc_checkpoint(store, false), TORC_OK);
    cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    torct_put(store, "a", "1");
    cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
    cr_expect_geq(torct_durability(store).checkpoint_stamp, torc_last_commit());
    cr_assert_eq(torc_mvcc_checkpoint(store, false), TORC_OK);
    cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    cr_expect_eq(torct_durability(store).checkpoint_running, IN_STEPS);
    reopen();
    cr_expect(torct_reads(store, "a", "1"));
}

Test(durable_store, a_journal_that_has_grown_brings_one_about)
{
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_ASYNC, true);

    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    options.checkpoint_bytes = 4096;
    cr_assert_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_OK);
    for (unsigned i = 0; i < 400; i++) {
        torct_put(store, "a", "0123456789");
        cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    }
    cr_expect_gt(torct_durability(store).checkpoints, 1u);
    cr_expect_lt(torct_durability(store).journal_bytes, 3u * 4096u);
}

/* ---- Backups and verifying ---- */

Test(durable_store, a_backup_opens_as_a_store)
{
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_ASYNC, true);
    struct torc_recovery found;
    struct torc_mvcc *copy;
    struct torc_keyspace *one;

    torct_put(store, "a", "1");
    cr_assert_eq(torc_keyspace_create(store, torct_text("one"), &one), TORC_OK);
    keyspace_put("one", "b", "2");
    cr_assert_eq(torc_mvcc_backup(store, "copy"), TORC_OK, "%s", torc_detail());
    cr_expect_eq(torc_mvcc_backup(store, "copy"), TORC_EXISTS);
    torct_put(store, "a", "2");
    cr_expect_eq(torci_mvcc_verify_on("copy", disk.vfs, &found), TORC_OK);
    cr_expect_eq(found.checkpoint_entries, 2u);
    cr_expect_eq(found.keyspaces, 2u);
    options.directory = "copy";
    cr_assert_eq(torci_mvcc_open_on(&options, disk.vfs, &copy), TORC_OK, "%s", torc_detail());
    cr_expect(torct_reads(copy, "a", "1"));
    cr_assert_eq(torc_keyspace_find(copy, torct_text("one"), &one), TORC_OK);
    torct_put(copy, "a", "3");
    cr_expect_eq(torc_mvcc_backup(store, "copy"), TORC_EXISTS);
    cr_assert_eq(torc_mvcc_close(copy), TORC_OK);
    cr_assert_eq(torci_mvcc_open_on(&options, disk.vfs, &copy), TORC_OK);
    cr_expect(torct_reads(copy, "a", "3"));
    cr_assert_eq(torc_mvcc_close(copy), TORC_OK);
    cr_expect_eq(torc_mvcc_backup(store, NULL), TORC_INVALID);
    cr_expect_eq(torc_mvcc_backup(NULL, "copy"), TORC_INVALID);
}

Test(durable_store, verifying_changes_nothing)
{
    struct torc_recovery found;
    uint64_t calls;

    for (unsigned i = 0; i < 50; i++)
        torct_put(store, "a", "1");
    cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
    torct_put(store, "b", "1");
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    calls = torci_vfs_fault_calls(disk.vfs, TORCI_VFS_CHANGES);
    cr_expect_eq(torci_mvcc_verify_on(TORCT_DIRECTORY, disk.vfs, &found), TORC_OK);
    cr_expect_eq(torci_mvcc_verify_on(TORCT_DIRECTORY, disk.vfs, NULL), TORC_OK);
    cr_expect_eq(torci_vfs_fault_calls(disk.vfs, TORCI_VFS_CHANGES), calls);
    cr_expect_eq(found.checkpoint_entries, 1u);
    cr_expect_eq(found.commits, 1u);
    cr_expect_eq(torci_mvcc_verify_on("nowhere", disk.vfs, &found), TORC_MISSING);
    cr_expect_eq(torci_mvcc_verify_on(NULL, disk.vfs, &found), TORC_INVALID);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
}

Test(durable_memory, a_store_in_memory_has_none_of_it)
{
    struct torc_txn_options options = {.durable = true};
    struct torc_durability_stats stats;
    struct torc_recovery found;
    struct torc_txn *txn;

    cr_assert_eq(torc_mvcc_open(NULL, &store), TORC_OK);
    torct_put(store, "a", "1");
    cr_expect_eq(torc_mvcc_durable(store), 0u);
    cr_expect_eq(torc_mvcc_wait_durable(store, torc_last_commit()), TORC_UNSUPPORTED);
    cr_expect_eq(torc_mvcc_sync(store), TORC_UNSUPPORTED);
    cr_expect_eq(torc_mvcc_durable_fd(store), -1);
    cr_expect_eq(torc_mvcc_checkpoint(store, true), TORC_UNSUPPORTED);
    cr_expect_eq(torc_mvcc_checkpoint(store, false), TORC_UNSUPPORTED);
    cr_expect_eq(torc_mvcc_resume(store), TORC_UNSUPPORTED);
    cr_expect_eq(torc_mvcc_recovery(store, &found), TORC_UNSUPPORTED);
    cr_expect_eq(torc_mvcc_durability(store, &stats), TORC_UNSUPPORTED);
    cr_expect_eq(torc_txn_begin(store, &options, &txn), TORC_UNSUPPORTED);
    cr_expect_null(txn);
    txn = torct_begin(store, TORC_SNAPSHOT);
    torct_txn_put(txn, "b", "1");
    cr_expect_eq(torc_txn_commit_async(txn), TORC_OK);
    cr_expect(torct_reads(store, "b", "1"));
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

Test(durable_memory, nothing_is_nobody_s)
{
    struct torc_durability_stats stats;
    struct torc_recovery found;

    cr_expect_eq(torc_mvcc_durable(NULL), 0u);
    cr_expect_eq(torc_mvcc_durable_fd(NULL), -1);
    cr_expect_eq(torc_mvcc_sync(NULL), TORC_INVALID);
    cr_expect_eq(torc_mvcc_checkpoint(NULL, true), TORC_INVALID);
    cr_expect_eq(torc_mvcc_resume(NULL), TORC_INVALID);
    cr_expect_eq(torc_mvcc_recovery(NULL, &found), TORC_INVALID);
    cr_expect_eq(torc_mvcc_recovery(NULL, NULL), TORC_INVALID);
    cr_expect_eq(torc_mvcc_durability(NULL, &stats), TORC_INVALID);
    cr_expect_eq(torc_mvcc_durability(NULL, NULL), TORC_INVALID);
}

Test(durable_memory, a_store_in_memory_can_be_backed_up_to_files)
{
    char path[TORCT_PATH_SIZE], copy[TORCT_PATH_SIZE + 8];
    struct torc_mvcc_options options;

    torct_directory_create(path);
    (void)snprintf(copy, sizeof copy, "%s/copy", path);
    cr_assert_eq(torc_mvcc_open(NULL, &store), TORC_OK);
    torct_put(store, "a", "1");
    cr_assert_eq(torc_mvcc_backup(store, copy), TORC_OK, "%s", torc_detail());
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    cr_expect_eq(torc_mvcc_verify(copy, NULL), TORC_OK);
    torc_mvcc_options_init(&options);
    options.directory = copy;
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK, "%s", torc_detail());
    cr_expect(torct_reads(store, "a", "1"));
    torct_put(store, "a", "2");
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK, "%s", torc_detail());
    cr_expect(torct_reads(store, "a", "2"));
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    torct_directory_destroy(path);
}

/* ---- Without a journal ---- */

Test(durable_none, checkpoints_are_all_that_is_durable)
{
    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_NONE, true);
    torct_put(store, "a", "1");
    cr_expect_eq(torc_mvcc_durable_fd(store), -1);
    cr_expect_eq(torc_mvcc_wait_durable(store, torc_last_commit()), TORC_INVALID);
    cr_expect_lt(torc_mvcc_durable(store), torc_last_commit());
    cr_expect_eq(torc_mvcc_sync(store), TORC_OK);
    cr_expect_geq(torc_mvcc_durable(store), torc_last_commit());
    cr_expect_eq(torct_durability(store).checkpoints, 1u);
    cr_expect_eq(torct_durability(store).flushes, 0u);
    torct_put(store, "a", "2");
    cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    cr_expect_eq(torc_mvcc_resume(store), TORC_OK);
    crash(TORCI_CRASH_DROP, 1); /* Opens it with a journal. */
    cr_expect(torct_reads(store, "a", "1"));
    torct_put(store, "b", "1");
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    store = torct_disk_open(&disk, TORC_DURABILITY_NONE, true);
    cr_expect(torct_reads(store, "b", "1"));
    torct_put(store, "b", "2");
    reopen();
    cr_expect(torct_reads(store, "b", "2"));
    destroy();
}

Test(durable_snapshot, is_waited_for_where_none_is_kept_at_hand)
{
    struct torc_txn_options options = {.durable = true};
    struct torc_mvcc_options how;
    struct torc_txn *txn;

    torct_disk_create(&disk);
    how = torct_durable_options(TORC_DURABILITY_ASYNC, true);
    how.durable_snapshots = false;
    cr_assert_eq(torci_mvcc_open_on(&how, disk.vfs, &store), TORC_OK);
    torct_put(store, "a", "1");
    cr_expect_lt(torc_mvcc_durable(store), torc_last_commit());
    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK);
    cr_expect(torct_txn_reads(txn, "a", "1"));
    cr_expect_geq(torc_mvcc_durable(store), torc_txn_snapshot(txn));
    torc_txn_abort(txn);
    torct_put(store, "a", "2");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_expect_eq(torc_txn_begin(store, &options, &txn), TORC_INDETERMINATE);
    cr_expect_null(txn);
    cr_expect_eq(torc_mvcc_close(store), TORC_INDETERMINATE);
    torct_disk_destroy(&disk);
}

Test(durable_metrics, tell_of_journal_and_checkpoints)
{
    char text[8192];
    size_t size;

    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
    torct_put(store, "a", "1");
    cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
    cr_assert_eq(torc_mvcc_metrics(store, text, sizeof text, &size), TORC_OK);
    cr_expect_not_null(strstr(text, "torc_mvcc_journal_flushes_total 1\n"));
    cr_expect_not_null(strstr(text, "torc_mvcc_checkpoints_total 1\n"));
    cr_expect_not_null(strstr(text, "torc_mvcc_journal_failed 0\n"));
    torct_put(store, "a", "2");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_expect_eq(torc_mvcc_sync(store), TORC_INDETERMINATE);
    cr_assert_eq(torc_mvcc_metrics(store, text, sizeof text, &size), TORC_OK);
    cr_expect_not_null(strstr(text, "torc_mvcc_journal_failed 1\n"));
    cr_expect_eq(torc_mvcc_close(store), TORC_INDETERMINATE);
    torct_disk_destroy(&disk);
}

Test(durable_none, has_no_durable_snapshots)
{
    struct torc_txn_options options = {.durable = true};
    struct torc_txn *txn;

    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_NONE, true);
    cr_expect_eq(torc_txn_begin(store, &options, &txn), TORC_UNSUPPORTED);
    destroy();
}

/* ---- With threads ---- */

Test(durable_threads, the_background_thread_flushes_by_itself)
{
    struct pollfd look;

    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, false);
    look = (struct pollfd){.fd = torc_mvcc_durable_fd(store), .events = POLLIN};
    cr_assert_geq(look.fd, 0);
    for (unsigned i = 0; i < 500; i++) {
        uint64_t stamp;

        torct_put(store, "a", "1");
        stamp = torc_last_commit();
        /* A commit that nobody flushes is a test that hangs. */
        while (torc_mvcc_durable(store) < stamp) {
            uint64_t count;

            cr_assert_eq(poll(&look, 1, -1), 1);
            (void)!read(look.fd, &count, sizeof count);
        }
    }
    destroy();
}

Test(durable_threads, a_commit_that_does_not_wait_is_durable_soon)
{
    struct torc_txn *txn;

    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_SYNC, false);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t stamp;

        txn = torct_begin(store, TORC_SNAPSHOT);
        torct_txn_put(txn, "a", "1");
        cr_assert_eq(torc_txn_commit_async(txn), TORC_OK);
        stamp = torc_last_commit();
        while (torc_mvcc_durable(store) < stamp) /* By the background thread: nobody leads here. */
            (void)sched_yield();
        torct_put(store, "b", "1");
        cr_assert_geq(torc_mvcc_durable(store), torc_last_commit());
    }
    destroy();
}

enum { CROWD = 5, CROWD_ROUNDS = 400 };

static void
write_and_checkpoint(void *context, unsigned number)
{
    char key[16], value[16];

    (void)context;
    for (unsigned i = 0; i < CROWD_ROUNDS; i++) {
        struct torc_txn *txn;

        if (number == 0) {
            if (i % 40 == 0)
                cr_assert_eq(torc_mvcc_checkpoint(store, i % 80 == 0), TORC_OK, "%s", torc_detail());
            txn = begin_durable();
            cr_assert_leq(torc_txn_snapshot(txn), torc_mvcc_durable(store));
            torc_txn_abort(txn);
            continue;
        }
        (void)snprintf(key, sizeof key, "%u-%u", number, i % 30);
        (void)snprintf(value, sizeof value, "%u", i);
        if (i % 3 != 0) {
            torct_put(store, key, value);
            continue;
        }
        txn = torct_begin(store, TORC_SNAPSHOT);
        torct_txn_put(txn, key, value);
        (void)snprintf(key, sizeof key, "%u-last", number);
        torct_txn_put(txn, key, value);
        cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    }
}

Test(durable_threads, checkpoints_are_written_while_others_commit)
{
    for (unsigned pass = 0; pass < 4; pass++) {
        torct_disk_create(&disk);
        store = torct_disk_open(&disk, pass % 2 == 0 ? TORC_DURABILITY_ASYNC : TORC_DURABILITY_SYNC, false);
        torct_race(CROWD, write_and_checkpoint, NULL);
        if (pass < 2) {
            reopen();
        } else {
            cr_assert_eq(torc_mvcc_sync(store), TORC_OK);
            crash(TORCI_CRASH_DROP, pass);
        }
        for (unsigned number = 1; number < CROWD; number++) {
            char key[16];

            (void)snprintf(key, sizeof key, "%u-%u", number, (CROWD_ROUNDS - 1) % 30);
            cr_expect(torct_reads(store, key, "399"));
            (void)snprintf(key, sizeof key, "%u-last", number);
            cr_expect(torct_reads(store, key, "399"));
        }
        destroy();
    }
}

static void
fail_among_writers(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        for (unsigned i = 0; i < 5; i++) {
            while (torc_mvcc_resume(store) != TORC_OK || torct_durability(store).failed != TORC_OK)
                (void)sched_yield();
            for (unsigned yields = 0; yields < 200; yields++)
                (void)sched_yield();
        }
        return;
    }
    for (unsigned i = 0; i < 1500; i++) {
        enum torc_status status = torc_mvcc_put(store, torct_text(number == 1 ? "a" : "b"), torct_text("1"), NULL);

        cr_assert(status == TORC_OK || status == TORC_INDETERMINATE || status == TORC_READ_ONLY, "%s",
                  torc_status_name(status));
        if (status == TORC_READ_ONLY)
            (void)sched_yield();
    }
}

/* A sync fails now and then; somebody resumes. Nobody hangs. */
Test(durable_threads, failures_and_resumptions_among_writers)
{
    const struct torci_vfs_plan plan = {
        .operations = TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE) | TORCI_VFS_BIT(TORCI_VFS_SYNC),
        .one_in = 50,
        .seed = 7,
        .status = TORC_IO,
    };

    for (unsigned pass = 0; pass < 2; pass++) {
        torct_disk_create(&disk);
        store = torct_disk_open(&disk, pass == 0 ? TORC_DURABILITY_ASYNC : TORC_DURABILITY_SYNC, false);
        /* The background thread touches the disk with `flushing` taken only. */
        torci_journal_lock(store->journal);
        torci_vfs_fault_plan(disk.vfs, &plan);
        torci_journal_unlock(store->journal);
        torct_race(4, fail_among_writers, NULL);
        torci_journal_lock(store->journal);
        torci_vfs_fault_plan(disk.vfs, NULL);
        torci_journal_unlock(store->journal);
        cr_assert_eq(torc_mvcc_resume(store), TORC_OK, "%s", torc_detail());
        torct_put(store, "z", "1");
        cr_expect_eq(torci_vfs_fault_forbidden(disk.vfs), 0u);
        reopen();
        cr_expect(torct_reads(store, "z", "1"));
        destroy();
    }
}

/* ---- Every failure of memory, and of the disk ---- */

enum { SCRIPT_KEYS = 6 };

/* What is known of a store that fails: for each key, what was committed for certain, and what may have been since. */
struct model {
    char certain[SCRIPT_KEYS];      /* 0: absent. */
    char perhaps[SCRIPT_KEYS];      /* Equal to `certain`, or what an INDETERMINATE call wrote. */
    bool failed;                    /* The journal has. */
};

static void
note(struct model *model, unsigned key, char value, enum torc_status status)
{
    if (status == TORC_OK || status == TORC_INDETERMINATE)
        model->perhaps[key] = value;
    if (status == TORC_OK)
        model->certain[key] = value;
    model->failed |= status == TORC_INDETERMINATE;
}

static bool
may_fail(enum torc_status status)
{
    return status == TORC_OK || status == TORC_NO_MEMORY || status == TORC_BUSY || status == TORC_IO ||
           status == TORC_NO_SPACE || status == TORC_INDETERMINATE || status == TORC_READ_ONLY;
}

/* Puts of one key, of two at once, a merge, a checkpoint, in a store that waits for each; as far as it goes. */
static void
play(struct model *model)
{
    static const char names[SCRIPT_KEYS][2] = {"a", "b", "c", "d", "e", "f"};

    for (unsigned round = 0; round < 4; round++) {
        char value[2] = {(char)('1' + round), '\0'};
        enum torc_status status = torc_mvcc_put(store, torct_text(names[0]), torct_text(value), NULL);
        struct torc_txn *txn;

        cr_assert(may_fail(status), "%s", torc_status_name(status));
        note(model, 0, value[0], status);
        status = torc_txn_begin(store, NULL, &txn);
        cr_assert(may_fail(status));
        if (status == TORC_OK) {
            bool written = torc_txn_put(txn, torct_text(names[1]), torct_text(value)) == TORC_OK &&
                           torc_txn_put(txn, torct_text(names[2]), torct_text(value)) == TORC_OK;

            status = TORC_NO_MEMORY;
            if (written)
                status = torc_txn_commit(txn);
            else
                torc_txn_abort(txn);
            cr_assert(may_fail(status), "%s", torc_status_name(status));
            note(model, 1, value[0], status);
            note(model, 2, value[0], status);
        }
        if (round % 2 == 1) {
            status = torc_mvcc_checkpoint(store, true);
            cr_assert(may_fail(status), "%s", torc_status_name(status));
        }
        status = torc_keyspace_put(torc_mvcc_default(store), torct_text(names[3]), torct_text(value), TORC_NEVER, NULL);
        cr_assert(may_fail(status), "%s", torc_status_name(status));
        note(model, 3, value[0], status);
        cr_assert(may_fail(torc_mvcc_poll(store, NULL)));
    }
}

/* Whether what is there is what the model allows. */
static void
compare(const struct model *model, uint64_t n)
{
    static const char names[SCRIPT_KEYS][2] = {"a", "b", "c", "d", "e", "f"};
    char found[SCRIPT_KEYS] = {0};

    for (unsigned key = 0; key < SCRIPT_KEYS; key++) {
        size_t size;
        enum torc_status status = torc_mvcc_get(store, torct_text(names[key]), &found[key], 1, &size);

        cr_assert(status == TORC_OK || status == TORC_NOT_FOUND);
        cr_assert(found[key] == model->certain[key] || found[key] == model->perhaps[key],
                  "%" PRIu64 ": %s is %c, was %c or %c", n, names[key], found[key], model->certain[key],
                  model->perhaps[key]);
    }
    cr_assert_eq(found[1], found[2], "half of a commit");
}

/* Open, play, close, with a fault set before each; then the power goes, and all that was certain is there. */
static bool
suffer(uint64_t n, void (*arm)(uint64_t n), bool (*disarm)(uint64_t n))
{
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_SYNC, true);
    struct model model = {.failed = false};
    enum torc_status status;
    bool over;

    torct_disk_create(&disk);
    /* Not the first life: there is something to recover. */
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
    torct_put(store, "e", "e");
    cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
    torct_put(store, "f", "f");
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    model.certain[4] = model.perhaps[4] = 'e';
    model.certain[5] = model.perhaps[5] = 'f';

    arm(n);
    status = torci_mvcc_open_on(&options, disk.vfs, &store);
    cr_assert(may_fail(status), "%" PRIu64 ": %s: %s", n, torc_status_name(status), torc_detail());
    if (status == TORC_OK) {
        play(&model);
        status = torc_mvcc_close(store);
        cr_assert(status == TORC_OK || status == TORC_INDETERMINATE, "%" PRIu64 ": %s", n, torc_status_name(status));
    } else {
        cr_assert_null(store);
    }
    over = disarm(n);
    cr_assert_eq(torci_vfs_fault_forbidden(disk.vfs), 0u, "%" PRIu64, n);

    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
    compare(&model, n);
    crash(TORCI_CRASH_DROP, n);
    compare(&model, n);
    destroy();
    return over;
}

static void
arm_memory(uint64_t n)
{
    (void)torci_alloc_fail_at(n, false);
}

static bool
disarm_memory(uint64_t n)
{
    return torci_alloc_fail_at(0, false) < n;
}

Test(durable_faults, every_allocation_fails_once)
{
    for (uint64_t n = 1; !suffer(n, arm_memory, disarm_memory); n += STRIDE)
        continue;
}

static bool sticky;

static void
arm_disk(uint64_t n)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL & ~TORCI_VFS_BIT(TORCI_VFS_CLOSE), .at = n,
                                  .sticky = sticky, .partly = n % 2 == 0, .seed = n,
                                  .status = n % 3 == 0 ? TORC_NO_SPACE : TORC_IO};

    torci_vfs_fault_plan(disk.vfs, &plan);
}

static bool
disarm_disk(uint64_t n)
{
    (void)n;
    torci_vfs_fault_plan(disk.vfs, NULL);
    return torci_vfs_fault_failed(disk.vfs) == 0;
}

Test(durable_faults, every_call_of_the_disk_fails_once)
{
    for (uint64_t n = 1; !suffer(n, arm_disk, disarm_disk); n += STRIDE)
        continue;
}

Test(durable_faults, the_disk_fails_for_good)
{
    sticky = true;
    for (uint64_t n = 1; !suffer(n, arm_disk, disarm_disk); n += STRIDE)
        continue;
}

Test(durable_faults, a_backup_that_fails_does_not_open)
{
    for (uint64_t n = 1;; n += STRIDE) {
        struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL & ~TORCI_VFS_BIT(TORCI_VFS_CLOSE), .at = n,
                                      .status = TORC_NO_SPACE};
        enum torc_status status;
        bool failed;

        create();
        torct_put(store, "a", "1");
        torci_vfs_fault_plan(disk.vfs, &plan);
        status = torc_mvcc_backup(store, "copy");
        torci_vfs_fault_plan(disk.vfs, NULL);
        failed = torci_vfs_fault_failed(disk.vfs) > 0;
        if (status != TORC_OK) {
            struct torc_recovery found;

            /* Unless nothing was missing but the last sync. */
            cr_assert(torci_mvcc_verify_on("copy", disk.vfs, &found) != TORC_OK || found.checkpoint_entries == 1,
                      "%" PRIu64, n);
            cr_assert_eq(torc_mvcc_backup(store, "another"), TORC_OK);
        } else {
            cr_assert_eq(torci_mvcc_verify_on("copy", disk.vfs, NULL), TORC_OK, "%" PRIu64, n);
        }
        torct_put(store, "a", "2");
        reopen();
        cr_assert(torct_reads(store, "a", "2"));
        destroy();
        if (!failed)
            break;
    }
}

/* A full disk: the checkpoint is refused, the one before stays, the journal goes on while it has room. */
Test(durable_faults, a_checkpoint_without_room_is_refused)
{
    create();
    torct_put(store, "a", "1");
    cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
    torct_put(store, "a", "2");
    torct_flush(store);
    torci_vfs_fault_space(disk.vfs, 0);
    cr_expect_eq(torc_mvcc_checkpoint(store, true), TORC_NO_SPACE);
    cr_expect_eq(torct_durability(store).checkpoint_status, TORC_NO_SPACE);
    cr_expect_eq(torct_durability(store).failed, TORC_OK);
    torct_put(store, "a", "3");
    cr_expect_eq(torc_mvcc_sync(store), TORC_OK, "%s", torc_detail());
    torci_vfs_fault_space(disk.vfs, UINT64_MAX);
    cr_expect_eq(torc_mvcc_checkpoint(store, true), TORC_OK);
    reopen();
    cr_expect(torct_reads(store, "a", "3"));
    destroy();
}

/* ---- Figures ---- */

Test(durable_store, figures_tell_what_was_done)
{
    struct torc_durability_stats stats;

    for (unsigned i = 0; i < 10; i++)
        torct_put(store, "a", "1");
    torct_flush(store);
    stats = torct_durability(store);
    cr_expect_eq(stats.durable, torc_mvcc_durable(store));
    cr_expect_eq(stats.flushes, 1u);
    cr_expect_eq(stats.flushed_commits, 10u);
    cr_expect_eq(stats.journal_bytes, stats.flushed_bytes);
    cr_expect_eq(stats.failed, TORC_OK);
    cr_expect_eq(stats.checkpoint_status, TORC_OK);
    cr_expect_eq(stats.checkpoints, 0u);
    cr_expect_eq(stats.waits, 0u);
    cr_expect_eq(torct_stats(store).open_transactions, 0u);
}

/* SPDX-License-Identifier: MIT */
/* Durable stores by whoever means them ill: paths that stop meaning what they did, a store that has come to its limit
 * of memory, checkpoints that fail again and again, threads that commit something large and then nothing more. */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mvcc/durable_testing.h"

TestSuite(durable_attack, .timeout = 120);

enum {
    LARGE = 1024 * 1024,
    LIMIT = 2 * 1024 * 1024,
};

static struct torct_disk disk;

static struct torc_slice
text(const char *bytes)
{
    return torc_slice(bytes, strlen(bytes));
}

static void
put(struct torc_mvcc *store, const char *key, const void *value, size_t size)
{
    enum torc_status status = torc_mvcc_put(store, text(key), torc_slice(value, size), NULL);

    cr_assert_eq(status, TORC_OK, "%s: %s", torc_status_name(status), torc_detail());
}

static uint64_t
memory_of(struct torc_mvcc *store)
{
    struct torc_mvcc_stats stats;

    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
    return stats.memory_bytes;
}

static void
checkpoints_fail(enum torci_vfs_operation operation)
{
    const struct torci_vfs_plan plan = {
        .operations = TORCI_VFS_BIT(operation), .at = 1, .sticky = true, .status = TORC_IO};

    torci_vfs_fault_plan(disk.vfs, &plan);
}

static void
nothing_fails(void)
{
    torci_vfs_fault_plan(disk.vfs, &(const struct torci_vfs_plan){.operations = 0});
}

/* ---- Paths ---- */

static enum torc_status
remove_file(void *context, const char *name)
{
    char path[192];

    snprintf(path, sizeof path, "%s/%s", (const char *)context, name);
    return torci_vfs_remove(torci_vfs_posix(), path);
}

Test(durable_attack, a_relative_directory_stays_where_it_was)
{
    char base[] = "/tmp/torc-attack-XXXXXX";
    struct torc_mvcc_options options;
    struct torc_mvcc *store;
    char path[128];

    cr_assert_not_null(mkdtemp(base));
    cr_assert_eq(chdir(base), 0);
    torc_mvcc_options_init(&options);
    options.directory = "store";
    options.caller_driven = true;
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK, "%s", torc_detail());
    cr_assert_eq(chdir("/"), 0);
    put(store, "key", "value", 5);
    cr_expect_eq(torc_mvcc_checkpoint(store, true), TORC_OK, "%s", torc_detail());
    cr_expect_eq(torc_mvcc_close(store), TORC_OK, "%s", torc_detail());
    snprintf(path, sizeof path, "%s/store", base);
    cr_expect_eq(torc_mvcc_verify(path, NULL), TORC_OK, "%s", torc_detail());
    cr_expect_eq(torci_vfs_list(torci_vfs_posix(), path, remove_file, path), TORC_OK);
    cr_expect_eq(rmdir(path), 0);
    cr_expect_eq(rmdir(base), 0);
}

Test(durable_attack, an_empty_path_is_refused)
{
    struct torc_mvcc *store;

    cr_assert_eq(torc_mvcc_open(NULL, &store), TORC_OK);
    cr_expect_eq(torc_mvcc_backup(store, ""), TORC_INVALID);
    cr_expect_eq(torc_mvcc_verify("", NULL), TORC_INVALID);
    cr_expect_eq(torc_mvcc_close(store), TORC_OK);
}

Test(durable_attack, a_directory_that_is_gone_is_no_answer)
{
    const struct torci_vfs_plan plan = {
        .operations = TORCI_VFS_BIT(TORCI_VFS_OPEN), .at = 1, .sticky = true, .status = TORC_NOT_FOUND};
    struct torc_mvcc *store;

    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
    put(store, "key", "value", 5);
    torci_vfs_fault_plan(disk.vfs, &plan);
    cr_expect_eq(torc_mvcc_checkpoint(store, true), TORC_IO);
    nothing_fails();
    cr_expect_eq(torc_mvcc_close(store), TORC_OK);
    torct_disk_destroy(&disk);
}

/* ---- Memory ---- */

/* What was put up to the limit is found again with that limit. */
Test(durable_attack, a_full_store_opens_again)
{
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_ASYNC, true);
    enum torc_status status = TORC_OK;
    unsigned char value[100] = {0};
    struct torc_mvcc *store;
    uint64_t keys = 0;

    torct_disk_create(&disk);
    options.memory_limit_bytes = LIMIT;
    options.recovery_threads = 8;
    cr_assert_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_OK);
    for (; status == TORC_OK; keys++) {
        char key[32];

        snprintf(key, sizeof key, "key%08" PRIu64, keys);
        status = torc_mvcc_put(store, text(key), torc_slice(value, sizeof value), NULL);
    }
    keys--;
    cr_assert_eq(status, TORC_BUSY);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    status = torci_mvcc_open_on(&options, disk.vfs, &store);
    cr_assert_eq(status, TORC_OK, "%s: %s", torc_status_name(status), torc_detail());
    cr_expect_eq(torc_keyspace_keys(torc_mvcc_default(store)), keys);
    cr_expect_eq(torc_mvcc_close(store), TORC_OK);

    options.memory_limit_bytes = LIMIT / 8;
    cr_expect_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_NO_MEMORY);
    cr_expect_null(store);
    torct_disk_destroy(&disk);
}

/* The journal's copy goes when it is written, though its thread does nothing more. */
Test(durable_attack, a_large_commit_is_not_kept_twice)
{
    unsigned char *value = calloc(1, LARGE);
    struct torc_mvcc *store;
    struct torc_txn *txn;
    uint64_t before;

    cr_assert_not_null(value);
    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
    put(store, "key", "", 0);
    before = memory_of(store);
    put(store, "key", value, LARGE);
    torct_flush(store);
    cr_expect_lt(memory_of(store), before + LARGE + LARGE / 2);

    cr_assert_eq(torc_txn_begin(store, NULL, &txn), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("key"), torc_slice(value, LARGE)), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_assert_eq(torc_mvcc_sync(store), TORC_OK);
    cr_expect_lt(memory_of(store), before + LARGE + LARGE / 2);
    cr_expect_eq(torc_mvcc_close(store), TORC_OK);
    torct_disk_destroy(&disk);
    free(value);
}

/* ---- Checkpoints that fail ---- */

static enum torc_status
count_segment(void *context, const char *name)
{
    unsigned *segments = context;

    *segments += strncmp(name, "journal-", 8) == 0 ? 1 : 0;
    return TORC_OK;
}

/* Each attempt begins a segment: so it is not tried with each flush, but when the journal has grown as much again. */
Test(durable_attack, a_checkpoint_that_fails_is_not_tried_at_once)
{
    struct torc_mvcc_options options = torct_durable_options(TORC_DURABILITY_ASYNC, true);
    unsigned char value[1024] = {0};
    unsigned segments = 0;
    struct torc_mvcc *store;

    torct_disk_create(&disk);
    options.checkpoint_bytes = sizeof value;
    cr_assert_eq(torci_mvcc_open_on(&options, disk.vfs, &store), TORC_OK);
    checkpoints_fail(TORCI_VFS_RENAME);
    put(store, "key", value, sizeof value);
    cr_expect_eq(torc_mvcc_poll(store, NULL), TORC_OK, "what a checkpoint met is told by torc_mvcc_durability()");
    cr_expect_eq(torct_durability(store).checkpoint_status, TORC_IO);
    nothing_fails();
    for (unsigned i = 0; i < 20; i++) {
        put(store, "key", "x", 1);
        cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    }
    cr_expect_eq(torct_durability(store).checkpoints, 0u);
    cr_assert_eq(torci_vfs_list(disk.vfs, TORCT_DIRECTORY, count_segment, &segments), TORC_OK);
    cr_expect_leq(segments, 2u);

    put(store, "key", value, sizeof value);
    for (unsigned i = 0; i < 1000 && torct_durability(store).checkpoints == 0; i++)
        cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    cr_expect_eq(torct_durability(store).checkpoints, 1u);
    cr_expect_eq(torct_durability(store).checkpoint_status, TORC_OK);
    cr_expect_eq(torc_mvcc_close(store), TORC_OK);
    torct_disk_destroy(&disk);
}

/* torc_detail() of a close tells why, once. */
Test(durable_attack, a_close_that_fails_tells_why)
{
    struct torc_mvcc *store;

    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_NONE, true);
    put(store, "key", "value", 5);
    checkpoints_fail(TORCI_VFS_WRITE);
    cr_expect_eq(torc_mvcc_close(store), TORC_INDETERMINATE);
    cr_expect_null(strstr(torc_detail() + 1, "closed"), "%s", torc_detail());
    nothing_fails();
    torct_disk_destroy(&disk);
}

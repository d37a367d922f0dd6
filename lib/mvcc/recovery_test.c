/* SPDX-License-Identifier: MIT */
/* Recovery: files that a store may have left, made here byte by byte, and what comes of them. Oracles: tables of what
 * must be there; a model of history; that only checking comes to the same end as loading; the heaps' accounts. */
#include "mvcc/recovery.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/testing.h"
#include "base/vfs_fault.h"
#include "base/vfs_memory.h"
#include "mvcc/checkpoint.h"
#include "mvcc/keyspace.h"
#include "mvcc/reclaim.h"
#include "mvcc/restore.h"

enum { OPS_MAX = 256 * 1024, TEXT_MAX = 64, NOW_MS = 1000000 };

static struct torci_heap heap;
static struct torci_vfs *vfs;
static struct torci_directory directory;
static struct torci_segment_writer writer;
static bool writing;
static unsigned char ops[OPS_MAX];
static size_t ops_size;
static struct torc_mvcc *store;
static struct torci_recovered recovered;

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    vfs = torci_vfs_memory_create(&heap, false);
    cr_assert_not_null(vfs);
    cr_assert_eq(torci_directory_open(&directory, &heap, vfs, "store", TORCI_DIRECTORY_OPEN), TORC_OK);
}

static void
forget(void)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    store = NULL;
    torci_journal_scan_fini(&heap, &recovered.scan);
}

static void
end_journal(void)
{
    if (writing)
        torci_segment_writer_fini(&writer);
    writing = false;
}

static void
destroy(void)
{
    end_journal();
    forget();
    torci_directory_close(&directory);
    torci_vfs_memory_destroy(vfs);
    cr_expect_eq(torci_heap_bytes(&heap), 0u);
}

TestSuite(recovery_journal, .init = create, .fini = destroy, .timeout = 60);
TestSuite(recovery_checkpoint, .init = create, .fini = destroy, .timeout = 60);
TestSuite(recovery_keyspaces, .init = create, .fini = destroy, .timeout = 60);
TestSuite(recovery_judgement, .init = create, .fini = destroy, .timeout = 120);
TestSuite(recovery_model, .init = create, .fini = destroy, .timeout = 300);
TestSuite(recovery_faults, .init = create, .fini = destroy, .timeout = 300);

static struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

/* ---- Writing a journal ---- */

static void
begin_journal(void)
{
    memset(&writer, 0, sizeof writer);
    writer.heap = &heap;
    writer.vfs = vfs;
    memcpy(writer.directory, directory.path, sizeof writer.directory);
    memcpy(writer.store_id, directory.id, sizeof writer.store_id);
    writer.life = 1;
    writer.seq = 1;
    cr_assert_eq(torci_segment_writer_init(&writer, 0, 0, 0), TORC_OK, "%s", torc_detail());
    writing = true;
}

static void
add(const struct torci_op *op)
{
    cr_assert_leq(ops_size + torci_op_size(op), (size_t)OPS_MAX);
    ops_size = (size_t)(torci_op_put(ops + ops_size, op) - ops);
}

static void
add_put(uint64_t keyspace, const char *key, const char *value)
{
    struct torci_op op = {.kind = TORCI_OP_PUT, .keyspace = keyspace, .key = text(key), .value = text(value)};

    add(&op);
}

static void
add_delete(uint64_t keyspace, const char *key)
{
    struct torci_op op = {.kind = TORCI_OP_DELETE, .keyspace = keyspace, .key = text(key)};

    add(&op);
}

static void
add_expiring(const char *key, const char *value, uint64_t expires)
{
    struct torci_op op = {.kind = TORCI_OP_PUT_EXPIRING, .key = text(key), .value = text(value), .expires = expires};

    add(&op);
}

static void
add_create(uint64_t keyspace, const char *name)
{
    struct torci_op op = {.kind = TORCI_OP_CREATE, .keyspace = keyspace, .key = text(name)};

    add(&op);
}

static void
add_drop(uint64_t keyspace)
{
    struct torci_op op = {.kind = TORCI_OP_DROP, .keyspace = keyspace};

    add(&op);
}

/* One record of what was added. */
static void
commit(uint64_t stamp)
{
    unsigned char prefix[TORCI_RECORD_PREFIX];

    torci_record_prefix_put(prefix, (uint32_t)ops_size, stamp);
    cr_assert_eq(torci_segment_append(&writer, prefix, sizeof prefix), TORC_OK);
    cr_assert_eq(torci_segment_append(&writer, ops, ops_size), TORC_OK);
    ops_size = 0;
}

static void
cut(uint64_t stamp)
{
    cr_assert_eq(torci_segment_cut(&writer, stamp), TORC_OK);
}

static void
commit_put(uint64_t stamp, const char *key, const char *value)
{
    add_put(0, key, value);
    commit(stamp);
}

static void
remove_file(const char *path)
{
    cr_assert_eq(torci_vfs_remove(vfs, path), TORC_OK);
}

/* ---- Writing a checkpoint ---- */

static struct torc_mvcc *source;

static struct torci_shard *
shard_of(struct torc_mvcc *of)
{
    struct torci_shard *shard = torci_shard_own(of);

    cr_assert_not_null(shard);
    return shard;
}

static void
begin_source(void)
{
    cr_assert_eq(torc_mvcc_open(NULL, &source), TORC_OK);
}

static struct torc_keyspace *
list_keyspace(uint64_t id, const char *name)
{
    struct torc_keyspace *keyspace;

    cr_assert_eq(torci_keyspace_restore(shard_of(source), id, text(name), 1, &keyspace), TORC_OK);
    return keyspace;
}

static void
enter(struct torc_keyspace *keyspace, uint64_t stamp, const char *key, const char *value)
{
    struct torci_restored entry = {text(key), text(value), stamp, UINT64_MAX, false};

    cr_assert_eq(torci_restore(shard_of(source), keyspace == NULL ? source->main : keyspace, &entry), TORC_OK);
}

static void
write_checkpoint(uint64_t stamp, uint64_t journal_from)
{
    struct torci_checkpoint *checkpoint;
    struct torci_checkpoint_info info;
    bool done = false;

    cr_assert_eq(torci_restore_end(shard_of(source), stamp - 2), TORC_OK);
    cr_assert_eq(torci_checkpoint_begin(source, vfs, directory.path, directory.id, &checkpoint), TORC_OK);
    cr_assert_eq(torci_checkpoint_stamp(checkpoint), stamp);
    while (!done)
        cr_assert_eq(torci_checkpoint_step(checkpoint, 4096, &done), TORC_OK);
    cr_assert_eq(torci_checkpoint_install(checkpoint, journal_from, &info), TORC_OK);
    cr_assert_eq(torc_mvcc_close(source), TORC_OK);
}

/* ---- Recovering ---- */

static uint64_t
now_ms(void *context)
{
    (void)context;
    return NOW_MS;
}

static enum torc_status
load(const struct torci_directory *from, unsigned threads, uint64_t memory_limit)
{
    struct torc_mvcc_options options;
    enum torc_status status;

    torc_mvcc_options_init(&options);
    options.now_ms = now_ms;
    options.memory_limit_bytes = memory_limit;
    status = torc_mvcc_open(&options, &store);
    if (status != TORC_OK)
        return status;
    status = torci_recover(store, &heap, from, threads, &recovered);
    if (status == TORC_OK)
        return TORC_OK;
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    store = NULL;
    return status;
}

/* Check, and load: they have to agree. */
static enum torc_status
recover(unsigned threads)
{
    struct torci_recovered checked;
    enum torc_status verified;
    enum torc_status status;
    uint64_t bytes;

    end_journal();
    if (store != NULL)
        forget();
    bytes = torci_heap_bytes(&heap);
    verified = torci_recover(NULL, &heap, &directory, threads, &checked);
    status = load(&directory, threads, 0);
    cr_expect_eq(verified, status, "verify: %s, open: %s", torc_status_name(verified), torc_status_name(status));
    if (verified == TORC_OK && status == TORC_OK) {
        cr_expect_eq(checked.cut, recovered.cut);
        cr_expect_eq(checked.keyspace_id, recovered.keyspace_id);
        cr_expect_eq(checked.report.commits, recovered.report.commits);
        cr_expect_eq(checked.report.keyspaces, recovered.report.keyspaces);
        cr_expect_eq(checked.report.torn_bytes, recovered.report.torn_bytes);
        cr_expect_eq(checked.scan.offset, recovered.scan.offset);
    }
    torci_journal_scan_fini(&heap, &checked.scan);
    if (status != TORC_OK)
        cr_expect_eq(torci_heap_bytes(&heap), bytes, "something was left behind");
    return status;
}

static void
expect_recovered(void)
{
    cr_assert_eq(recover(1), TORC_OK, "%s", torc_detail());
}

static struct torc_keyspace *
keyspace_named(const char *name)
{
    struct torc_keyspace *keyspace = NULL;

    if (name == NULL)
        return torc_mvcc_default(store);
    return torc_keyspace_find(store, text(name), &keyspace) == TORC_OK ? keyspace : NULL;
}

/* `value` NULL: there is none. */
static void
expect_in(const char *keyspace, const char *key, const char *value)
{
    char found[TEXT_MAX];
    size_t size = 0;
    enum torc_status status = torc_keyspace_get(keyspace_named(keyspace), text(key), found, sizeof found, &size);

    if (value == NULL) {
        cr_expect_eq(status, TORC_NOT_FOUND, "%s is there", key);
        return;
    }
    cr_expect_eq(status, TORC_OK, "%s: %s", key, torc_status_name(status));
    cr_expect(size == strlen(value) && memcmp(found, value, size) == 0, "%s is %.*s, not %s", key, (int)size, found,
              value);
}

static void
expect(const char *key, const char *value)
{
    expect_in(NULL, key, value);
}

/* ---- The journal ---- */

Test(recovery_journal, of_nothing_is_an_empty_store)
{
    expect_recovered();
    cr_expect_eq(recovered.cut, 0u);
    cr_expect_eq(recovered.report.keys, 0u);
    cr_expect_eq(recovered.report.keyspaces, 1u);
    cr_expect_eq(recovered.keyspace_id, 1u);
    cr_expect_eq(recovered.scan.number, 0u);
    cr_expect_eq(torc_mvcc_put(store, text("k"), text("v"), NULL), TORC_OK);
}

Test(recovery_journal, puts_back_what_was_committed)
{
    begin_journal();
    commit_put(3, "a", "1");
    commit_put(5, "b", "2");
    cut(6);
    add_put(0, "a", "3");
    add_delete(0, "b");
    add_put(0, "empty", "");
    commit(7);
    cut(8);
    expect_recovered();
    expect("a", "3");
    expect("b", NULL);
    expect("empty", "");
    cr_expect_eq(recovered.cut, 8u);
    cr_expect_eq(recovered.report.cut, 8u);
    cr_expect_eq(recovered.report.commits, 3u);
    cr_expect_eq(recovered.report.keys, 2u);
    cr_expect_eq(recovered.report.segments, 1u);
    cr_expect_gt(recovered.report.journal_bytes, 0u);
    cr_expect_eq(recovered.report.torn_bytes, 0u);
    cr_expect_eq(recovered.scan.number, 1u);
}

Test(recovery_journal, lets_the_clock_stand_behind_the_cut)
{
    begin_journal();
    commit_put(3, "a", "1");
    cut(1000);
    expect_recovered();
    cr_assert_eq(torc_mvcc_put(store, text("a"), text("2"), NULL), TORC_OK);
    cr_expect_gt(torc_last_commit(), 1000u);
    expect("a", "2");
}

/* Queues are written one after another: within a batch a key's records come in any order. */
Test(recovery_journal, takes_the_greatest_stamp_in_any_order)
{
    static const uint64_t stamps[4] = {11, 13, 15, 17};

    begin_journal();
    for (unsigned order = 0; order < 24; order++) {
        unsigned left[4] = {0, 1, 2, 3};
        unsigned rest = order;
        char key[TEXT_MAX];

        (void)snprintf(key, sizeof key, "k%u", order);
        for (unsigned i = 4; i > 0; i--) {
            unsigned at = rest % i;
            unsigned which = left[at];
            char value[TEXT_MAX];

            rest /= i;
            left[at] = left[i - 1];
            (void)snprintf(value, sizeof value, "v%u", which);
            if (which == 3 && order % 2 == 1)
                add_delete(0, key);
            else
                add_put(0, key, value);
            commit(stamps[which]);
        }
    }
    cut(18);
    for (unsigned threads = 1; threads <= 3; threads++) {
        cr_assert_eq(recover(threads), TORC_OK, "%s", torc_detail());
        for (unsigned order = 0; order < 24; order++) {
            char key[TEXT_MAX];

            (void)snprintf(key, sizeof key, "k%u", order);
            expect(key, order % 2 == 1 ? NULL : "v3");
        }
        cr_expect_eq(recovered.report.keys, 12u);
    }
}

Test(recovery_journal, spans_segments_and_holds_large_values)
{
    static char large[100 * 1000];
    struct torci_op op = {.kind = TORCI_OP_PUT, .key = text("large"), .value = {large, sizeof large}};
    size_t size = 0;
    char *found;

    memset(large, 'x', sizeof large);
    begin_journal();
    for (unsigned i = 0; i < 500; i++) {
        char key[TEXT_MAX];

        (void)snprintf(key, sizeof key, "key%u", i);
        commit_put(3 + 2 * i, key, key);
        if (i % 100 == 50) {
            add(&op);
            commit(3 + 2 * i);
        }
        if (i % 7 == 0)
            cut(4 + 2 * i);
    }
    cut(2000);
    found = malloc(sizeof large);
    cr_assert_not_null(found);
    for (unsigned threads = 1; threads <= 4; threads++) {
        cr_assert_eq(recover(threads), TORC_OK, "%s", torc_detail());
        cr_expect_eq(recovered.report.keys, 501u);
        expect("key0", "key0");
        expect("key499", "key499");
        cr_assert_eq(torc_mvcc_get(store, text("large"), found, sizeof large, &size), TORC_OK);
        cr_expect(size == sizeof large && memcmp(found, large, size) == 0);
    }
    free(found);
}

Test(recovery_journal, ends_before_a_batch_that_was_not_completed)
{
    begin_journal();
    commit_put(3, "a", "1");
    cut(4);
    for (unsigned i = 0; i < 100; i++)
        commit_put(5 + 2 * i, "a", "torn");
    expect_recovered();
    expect("a", "1");
    cr_expect_eq(recovered.cut, 4u);
    cr_expect_eq(recovered.report.commits, 1u);
}

Test(recovery_journal, keeps_the_time_at_which_a_value_expires)
{
    struct torc_txn *txn;
    uint64_t expires = 0;

    begin_journal();
    add_expiring("past", "1", NOW_MS - 1);
    add_expiring("future", "2", NOW_MS + 1);
    add_expiring("never", "3", UINT64_MAX);
    commit(3);
    cut(4);
    expect_recovered();
    expect("past", NULL);
    expect("future", "2");
    expect("never", "3");
    cr_assert_eq(torc_txn_begin(store, NULL, &txn), TORC_OK);
    cr_assert_eq(torc_txn_expiry(txn, text("future"), &expires), TORC_OK);
    cr_expect_eq(expires, (uint64_t)NOW_MS + 1);
    cr_assert_eq(torc_txn_expiry(txn, text("never"), &expires), TORC_OK);
    cr_expect_eq(expires, TORC_NEVER);
    torc_txn_abort(txn);
}

Test(recovery_journal, misses_its_first_segment)
{
    begin_journal();
    for (unsigned i = 0; i < 200; i++) {
        commit_put(3 + 2 * i, "key", "a value that takes a little room, so that there are several segments of it");
        cut(4 + 2 * i);
        if (i % 50 == 49)
            cr_assert_eq(torci_segment_rotate(&writer), TORC_OK);
    }
    expect_recovered();
    cr_expect_gt(recovered.report.segments, 3u);
    remove_file("store/journal-0000000000000001");
    cr_expect_eq(recover(1), TORC_MISSING);
    cr_expect_not_null(strstr(torc_detail(), "journal-0000000000000001"), "%s", torc_detail());
}

Test(recovery_journal, misses_a_segment_in_the_middle_or_at_the_end)
{
    char name[TEXT_MAX];
    unsigned segments;

    begin_journal();
    for (unsigned i = 0; i < 4; i++) {
        commit_put(3 + 2 * i, "key", "value");
        cut(4 + 2 * i);
        cr_assert_eq(torci_segment_rotate(&writer), TORC_OK);
    }
    expect_recovered();
    segments = (unsigned)recovered.report.segments;
    cr_assert_gt(segments, 3u);
    (void)snprintf(name, sizeof name, "store/journal-%016x", segments);
    remove_file(name);
    cr_expect_eq(recover(1), TORC_MISSING, "the last one");
    remove_file("store/journal-0000000000000002");
    cr_expect_eq(recover(1), TORC_MISSING);
}

/* ---- Checkpoints ---- */

Test(recovery_checkpoint, is_enough_by_itself)
{
    struct torc_keyspace *users;

    begin_source();
    users = list_keyspace(4, "users");
    enter(NULL, 3, "a", "1");
    enter(users, 5, "a", "2");
    write_checkpoint(10, 0);
    expect_recovered();
    expect("a", "1");
    expect_in("users", "a", "2");
    cr_expect_eq(recovered.cut, 10u);
    cr_expect_eq(recovered.report.checkpoint_stamp, 10u);
    cr_expect_eq(recovered.report.checkpoint_entries, 2u);
    cr_expect_gt(recovered.report.checkpoint_bytes, 0u);
    cr_expect_eq(recovered.report.keyspaces, 2u);
    cr_expect_eq(recovered.keyspace_id, 5u);
    cr_expect_eq(keyspace_named("users")->id, 4u);
}

Test(recovery_checkpoint, covers_what_was_committed_before_it)
{
    begin_journal();
    commit_put(3, "a", "in the journal, and superseded");
    commit_put(5, "gone", "was deleted later");
    cut(6);
    add_delete(0, "gone");
    commit(7);
    commit_put(11, "b", "3");
    commit_put(15, "c", "4");
    cut(16);
    begin_source();
    enter(NULL, 9, "a", "1");
    enter(NULL, 9, "b", "2");
    write_checkpoint(10, 1);
    for (unsigned threads = 1; threads <= 3; threads++) {
        cr_assert_eq(recover(threads), TORC_OK, "%s", torc_detail());
        expect("a", "1");
        expect("b", "3");
        expect("c", "4");
        expect("gone", NULL);
        cr_expect_eq(recovered.cut, 16u);
        cr_expect_eq(recovered.report.commits, 2u);
        cr_expect_eq(recovered.report.keys, 3u);
    }
}

Test(recovery_checkpoint, may_be_newer_than_the_journal)
{
    begin_journal();
    commit_put(3, "a", "1");
    cut(4);
    begin_source();
    enter(NULL, 19, "a", "2");
    write_checkpoint(20, 1);
    expect_recovered();
    expect("a", "2");
    cr_expect_eq(recovered.cut, 20u);
    cr_assert_eq(torc_mvcc_put(store, text("a"), text("3"), NULL), TORC_OK);
    cr_expect_gt(torc_last_commit(), 20u);
}

Test(recovery_checkpoint, counts_if_it_is_the_newest_only)
{
    begin_source();
    enter(NULL, 3, "a", "old");
    enter(NULL, 3, "b", "old");
    write_checkpoint(10, 0);
    begin_source();
    enter(NULL, 13, "a", "new");
    write_checkpoint(20, 0);
    expect_recovered();
    expect("a", "new");
    expect("b", NULL);
}

Test(recovery_checkpoint, that_is_damaged_is_an_error_also_beside_an_older_one)
{
    struct torci_file *file;
    unsigned char byte;
    uint64_t size;
    size_t done;

    begin_source();
    enter(NULL, 3, "a", "old");
    write_checkpoint(10, 0);
    begin_source();
    enter(NULL, 13, "a", "new");
    write_checkpoint(20, 0);
    cr_assert_eq(torci_vfs_open(vfs, "store/checkpoint-0000000000000014", TORCI_OPEN_WRITE, &file), TORC_OK);
    cr_assert_eq(torci_file_size(file, &size), TORC_OK);
    cr_assert_eq(torci_file_read(file, size / 2, &byte, 1, &done), TORC_OK);
    byte ^= 1;
    cr_assert_eq(torci_file_write(file, size / 2, &byte, 1, false), TORC_OK);
    torci_file_drop(file);
    cr_expect_eq(recover(1), TORC_CORRUPT);
}

Test(recovery_checkpoint, misses_the_journal_that_it_needs)
{
    begin_source();
    enter(NULL, 3, "a", "1");
    write_checkpoint(10, 3);
    cr_expect_eq(recover(1), TORC_MISSING);
    begin_journal();
    commit_put(11, "a", "2");
    cut(12);
    cr_expect_eq(recover(1), TORC_MISSING);
    cr_expect_not_null(strstr(torc_detail(), "journal-0000000000000003"), "%s", torc_detail());
}

/* A journal begins with its first segment, unless a checkpoint covers where it begins. */
Test(recovery_checkpoint, of_a_backup_misses_the_first_segment_if_that_may_have_counted)
{
    begin_journal();
    commit_put(3, "a", "1");
    cut(4);
    cr_assert_eq(torci_segment_rotate(&writer), TORC_OK);
    commit_put(5, "a", "2");
    cut(6);
    commit_put(7, "a", "3");
    cut(8);
    begin_source();
    enter(NULL, 3, "a", "1");
    write_checkpoint(4, 0);
    expect_recovered();
    expect("a", "3");
    remove_file("store/journal-0000000000000001");
    cr_expect_eq(recover(1), TORC_MISSING);
    begin_source();
    enter(NULL, 5, "a", "2");
    write_checkpoint(6, 0);
    expect_recovered();
    expect("a", "3");
}

Test(recovery_checkpoint, is_what_a_backup_cannot_be_without)
{
    struct torci_directory backup;
    struct torci_recovered none;

    cr_assert_eq(torci_directory_open(&backup, &heap, vfs, "backup", TORCI_DIRECTORY_FRESH), TORC_OK);
    torci_directory_close(&backup);
    cr_assert_eq(torci_directory_open(&backup, &heap, vfs, "backup", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_expect_eq(torci_recover(NULL, &heap, &backup, 1, &none), TORC_MISSING);
    cr_expect_eq(load(&backup, 1, 0), TORC_MISSING);
    torci_directory_close(&backup);
}

Test(recovery_checkpoint, of_another_store_is_foreign)
{
    struct torci_directory other;
    char name[TORCI_PATH_MAX];
    unsigned char *bytes;
    struct torci_file *file;
    uint64_t size;
    size_t done;

    begin_source();
    enter(NULL, 3, "a", "1");
    write_checkpoint(10, 0);
    cr_assert_eq(torci_directory_open(&other, &heap, vfs, "other", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_assert_eq(torci_directory_path(&other, "checkpoint-000000000000000a", name), TORC_OK);
    cr_assert_eq(torci_vfs_open(vfs, "store/checkpoint-000000000000000a", TORCI_OPEN_READ, &file), TORC_OK);
    cr_assert_eq(torci_file_size(file, &size), TORC_OK);
    bytes = malloc(size);
    cr_assert_not_null(bytes);
    cr_assert_eq(torci_file_read(file, 0, bytes, size, &done), TORC_OK);
    torci_file_drop(file);
    cr_assert_eq(torci_vfs_open(vfs, name, TORCI_OPEN_WRITE | TORCI_OPEN_CREATE, &file), TORC_OK);
    cr_assert_eq(torci_file_write(file, 0, bytes, size, false), TORC_OK);
    torci_file_drop(file);
    free(bytes);
    cr_expect_eq(load(&other, 1, 0), TORC_FOREIGN);
    torci_directory_close(&other);
}

/* ---- Keyspaces ---- */

Test(recovery_keyspaces, come_and_go_with_their_keys)
{
    begin_journal();
    add_create(1, "stays");
    commit(3);
    add_create(2, "goes");
    commit(5);
    add_put(1, "k", "1");
    add_put(2, "k", "2");
    commit(7);
    cut(8);
    add_drop(2);
    commit(9);
    cut(10);
    for (unsigned threads = 1; threads <= 3; threads++) {
        cr_assert_eq(recover(threads), TORC_OK, "%s", torc_detail());
        expect_in("stays", "k", "1");
        cr_expect_null(keyspace_named("goes"));
        cr_expect_eq(recovered.report.keyspaces, 2u);
        cr_expect_eq(recovered.report.keys, 1u);
        cr_expect_eq(recovered.keyspace_id, 3u);
    }
}

/* Where CREATE and DROP stand: not at all, up to the checkpoint (at 10), up to the cut (at 20), behind it. */
enum place { NOWHERE, BEFORE, BETWEEN, BEHIND };

Test(recovery_keyspaces, are_there_if_made_and_not_dropped_up_to_the_cut)
{
    for (enum place made = BEFORE; made <= BEHIND; made++) {
        for (enum place dropped = NOWHERE; dropped <= BEHIND; dropped++) {
            bool listed = made == BEFORE && dropped != BEFORE;
            bool there = made != BEHIND && (dropped == NOWHERE || dropped == BEHIND);

            if (dropped != NOWHERE && dropped < made)
                continue;
            begin_journal();
            for (enum place place = BEFORE; place <= BEHIND; place++) {
                uint64_t stamp = 10 * ((uint64_t)place - BEFORE) + 3;

                commit_put(stamp, "other", "x");
                if (made == place) {
                    add_create(7, "name");
                    commit(stamp + 2);
                    add_put(7, "k", place == BEFORE ? "1" : "2");
                    commit(stamp + 2);
                }
                if (dropped == place) {
                    add_drop(7);
                    commit(stamp + 4);
                }
                if (place != BEHIND)
                    cut(10 * ((uint64_t)place - BEFORE) + 10);
            }
            end_journal();
            begin_source();
            if (listed)
                enter(list_keyspace(7, "name"), 5, "k", "1");
            write_checkpoint(10, 1);
            for (unsigned threads = 1; threads <= 2; threads++) {
                cr_assert_eq(recover(threads), TORC_OK, "%s", torc_detail());
                cr_expect_eq(keyspace_named("name") != NULL, there, "made %d, dropped %d", made, dropped);
                if (there)
                    expect_in("name", "k", made == BEFORE ? "1" : "2");
                cr_expect_eq(recovered.cut, 20u);
            }
            remove_file("store/journal-0000000000000001");
            remove_file("store/checkpoint-000000000000000a");
        }
    }
}

Test(recovery_keyspaces, of_one_name_follow_each_other)
{
    begin_source();
    enter(list_keyspace(1, "name"), 3, "k", "first");
    write_checkpoint(4, 1);
    begin_journal();
    add_put(1, "other", "first");
    commit(5);
    add_drop(1);
    commit(7);
    add_create(2, "name");
    commit(7);
    add_put(2, "k", "second");
    commit(9);
    cut(10);
    add_drop(2);
    commit(11);
    add_create(3, "name");
    commit(13);
    add_put(3, "k", "third");
    commit(13);
    cut(14);
    expect_recovered();
    expect_in("name", "k", "third");
    expect_in("name", "other", NULL);
    cr_expect_eq(recovered.report.keyspaces, 2u);
    cr_expect_eq(keyspace_named("name")->id, 3u);
    cr_expect_eq(keyspace_named("name")->created, 13u);
}

Test(recovery_keyspaces, that_two_dropped_were_dropped_by_the_first)
{
    begin_journal();
    add_create(1, "name");
    commit(3);
    add_drop(1);
    commit(5);
    add_create(2, "name");
    commit(7);
    add_drop(1);
    commit(9);
    cut(10);
    expect_recovered();
    cr_assert_not_null(keyspace_named("name"));
    cr_expect_eq(keyspace_named("name")->id, 2u);
}

Test(recovery_keyspaces, that_lost_their_name_are_not_there)
{
    begin_journal();
    add_create(1, "name");
    commit(3);
    add_create(2, "name");
    commit(5);
    add_create(1, "");
    commit(7);
    cut(8);
    expect_recovered();
    cr_expect_eq(recovered.report.keyspaces, 2u);
    cr_expect_eq(keyspace_named("name")->id, 2u);
}

/* Two were making the name when the power went: the one with keys is meant, or either, if none has any. */
Test(recovery_keyspaces, of_one_name_are_told_by_their_keys)
{
    begin_journal();
    add_create(1, "name");
    commit(3);
    add_create(2, "name");
    commit(3);
    cut(4);
    expect_recovered();
    cr_expect_eq(keyspace_named("name")->id, 1u);
    cr_expect_eq(recovered.report.keyspaces, 2u);
    remove_file("store/journal-0000000000000001");
    begin_journal();
    add_create(1, "name");
    commit(3);
    add_create(2, "name");
    commit(3);
    add_put(2, "k", "v");
    commit(5);
    add_delete(2, "k");
    commit(7);
    cut(8);
    expect_recovered();
    cr_expect_eq(keyspace_named("name")->id, 2u);
}

Test(recovery_keyspaces, that_the_checkpoint_lists_come_before_strays_of_their_name)
{
    begin_source();
    (void)list_keyspace(5, "name");
    write_checkpoint(10, 1);
    begin_journal();
    add_create(2, "name");
    commit(11);
    cut(12);
    expect_recovered();
    cr_expect_eq(keyspace_named("name")->id, 5u);
}

/* A stray whose taking back was lost with the power: it does not come back when the name is dropped. */
Test(recovery_keyspaces, that_are_strays_go_with_those_that_had_the_name)
{
    begin_journal();
    add_create(1, "name");
    commit(3);
    add_create(2, "name");
    commit(5);
    cut(6);
    expect_recovered();
    cr_expect_eq(keyspace_named("name")->id, 1u);
    remove_file("store/journal-0000000000000001");
    begin_journal();
    add_create(1, "name");
    commit(3);
    add_create(2, "name");
    commit(5);
    cut(6);
    add_drop(1);
    commit(9);
    cut(10);
    expect_recovered();
    cr_expect_null(keyspace_named("name"));
    cr_expect_eq(recovered.report.keyspaces, 1u);
}

Test(recovery_keyspaces, that_were_dropped_before_the_checkpoint_may_get_late_records)
{
    begin_source();
    enter(NULL, 3, "k", "1");
    write_checkpoint(10, 1);
    begin_journal();
    add_put(6, "k", "late");
    add_put(0, "l", "2");
    commit(11);
    add_drop(6);
    commit(13);
    cut(14);
    expect_recovered();
    expect("k", "1");
    expect("l", "2");
    cr_expect_eq(recovered.report.keyspaces, 1u);
    cr_expect_eq(recovered.keyspace_id, 7u, "not to be used again");
}

Test(recovery_keyspaces, do_not_take_records_from_before_they_were_made)
{
    begin_source();
    write_checkpoint(10, 1);
    begin_journal();
    add_put(6, "k", "of an earlier one with this id");
    commit(11);
    add_create(6, "name");
    commit(15);
    add_put(6, "l", "v");
    commit(15);
    cut(16);
    expect_recovered();
    expect_in("name", "k", NULL);
    expect_in("name", "l", "v");
}

Test(recovery_keyspaces, have_ids_that_are_not_given_again)
{
    struct torc_keyspace *keyspace;

    begin_journal();
    add_create(40, "name");
    commit(3);
    add_drop(40);
    commit(5);
    cut(6);
    expect_recovered();
    cr_assert_eq(torc_keyspace_create(store, text("next"), &keyspace), TORC_OK);
    cr_expect_eq(keyspace->id, 41u);
}

Test(recovery_keyspaces, may_be_many)
{
    enum { MANY = 1000 };

    begin_journal();
    for (unsigned i = 0; i < MANY; i++) {
        char name[TEXT_MAX];

        (void)snprintf(name, sizeof name, "keyspace %u", (i * 7) % MANY);
        add_create(MANY - i, name);
        commit(3 + 2 * i);
        add_put(MANY - i, "k", name);
        commit(3 + 2 * i);
        if (i % 3 == 1) {
            add_drop(MANY - i + 1);
            commit(3 + 2 * i);
        }
    }
    cut(2 * MANY + 2);
    cr_assert_eq(recover(2), TORC_OK, "%s", torc_detail());
    cr_expect_eq(recovered.report.keyspaces, 1u + MANY - MANY / 3);
    cr_expect_eq(recovered.report.keys, (uint64_t)MANY - MANY / 3);
    expect_in("keyspace 7", "k", "keyspace 7");
    cr_expect_null(keyspace_named("keyspace 0"));
}

/* ---- Bytes that no store writes ---- */

enum wrong {
    EVEN_STAMP,
    STAMP_ABOVE_CUT,
    ODD_CUT,
    DESCENDING_CUT,
    CUT_TOO_GREAT,
    UNKNOWN_KEYSPACE,
    UNKNOWN_DROP,
    UNKNOWN_TAKEN_BACK,
    EMPTY_KEY,
    LONG_KEY,
    LONG_NAME,
    CREATE_DEFAULT,
    DROP_DEFAULT,
    CREATE_TWICE,
    IMPOSSIBLE_ID,
    STRANGE_KIND,
    CUT_OFF_OP,
    CUT_OFF_RECORD,
    WRONGS,
};

static char long_key[TORC_KEY_SIZE_MAX + 2];

/* Adds what is wrong with the record with stamp 5 or with its cut, which is returned. */
static uint64_t
add_wrong(enum wrong wrong, uint64_t *stamp)
{
    memset(long_key, 'x', sizeof long_key - 1);
    *stamp = 5;
    switch (wrong) {
    case EVEN_STAMP:
        *stamp = 6;
        break;
    case STAMP_ABOVE_CUT:
        *stamp = 7;
        break;
    case ODD_CUT:
        return 7;
    case DESCENDING_CUT:
        *stamp = 1;
        return 2;
    case CUT_TOO_GREAT:
        return UINT64_MAX - 1;
    case UNKNOWN_KEYSPACE:
        add_put(9, "k", "v");
        break;
    case UNKNOWN_DROP:
        add_drop(9);
        break;
    case UNKNOWN_TAKEN_BACK:
        add_create(9, "");
        break;
    case EMPTY_KEY:
        add_put(0, "", "v");
        break;
    case LONG_KEY:
        add_put(0, long_key, "v");
        break;
    case LONG_NAME:
        long_key[TORC_NAME_SIZE_MAX + 1] = '\0';
        add_create(1, long_key);
        break;
    case CREATE_DEFAULT:
        add_create(0, "name");
        break;
    case DROP_DEFAULT:
        add_drop(0);
        break;
    case CREATE_TWICE:
        add_create(1, "name");
        add_create(1, "name");
        break;
    case IMPOSSIBLE_ID:
        add_create(UINT64_MAX, "name");
        break;
    case STRANGE_KIND:
        ops[ops_size++] = 9;
        break;
    case CUT_OFF_OP:
        add_put(0, "key", "value");
        ops_size--;
        break;
    case CUT_OFF_RECORD:
    case WRONGS:
        break;
    }
    return 6;
}

Test(recovery_judgement, refuses_what_no_store_writes)
{
    for (enum wrong wrong = 0; wrong < WRONGS; wrong++) {
        uint64_t stamp, at;

        begin_journal();
        commit_put(3, "a", "1");
        cut(4);
        at = add_wrong(wrong, &stamp);
        commit(stamp);
        if (wrong == CUT_OFF_RECORD)
            cr_assert_eq(torci_segment_append(&writer, "\x20\0\0\0\x05", 5), TORC_OK);
        cut(at);
        cr_expect_eq(recover(1), TORC_CORRUPT, "case %d", wrong);
        cr_expect_eq(recover(2), TORC_CORRUPT, "case %d", wrong);
        cr_expect_gt(strlen(torc_detail()), 0u);
        end_journal();
        remove_file("store/journal-0000000000000001");
        /* What a large key has taken. */
        for (unsigned number = 2; number < 20; number++) {
            char name[TEXT_MAX];
            enum torc_status status;

            (void)snprintf(name, sizeof name, "store/journal-%016x", number);
            status = torci_vfs_remove(vfs, name);
            cr_assert(status == TORC_OK || status == TORC_NOT_FOUND);
        }
    }
}

/* The same after a checkpoint, whose stamps it is compared with. */
Test(recovery_judgement, refuses_a_keyspace_that_was_listed_and_is_made_under_another_name)
{
    begin_source();
    (void)list_keyspace(3, "name");
    write_checkpoint(4, 1);
    begin_journal();
    add_create(3, "another");
    commit(5);
    cut(6);
    cr_expect_eq(recover(1), TORC_CORRUPT);
}

Test(recovery_judgement, refuses_a_checkpoint_with_a_stamp_that_is_none)
{
    struct torci_file *file;

    cr_assert_eq(torci_vfs_open(vfs, "store/checkpoint-0000000000000007", TORCI_OPEN_WRITE | TORCI_OPEN_CREATE, &file),
                 TORC_OK);
    torci_file_drop(file);
    cr_expect_eq(recover(1), TORC_CORRUPT);
}

/* Any byte of a journal and a checkpoint, changed: an error, or what was there before the place; nothing else. */
Test(recovery_judgement, never_shows_what_was_not_committed)
{
    static const char *const files[] = {"store/journal-0000000000000001", "store/checkpoint-0000000000000006"};
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned refused = 0, survived = 0;

    begin_journal();
    for (unsigned i = 0; i < 20; i++) {
        char value[TEXT_MAX];

        (void)snprintf(value, sizeof value, "%u", i);
        commit_put(3 + 2 * i, "k", value);
        cut(4 + 2 * i);
    }
    end_journal();
    begin_source();
    enter(NULL, 5, "k", "1");
    enter(list_keyspace(1, "name"), 5, "k", "1");
    write_checkpoint(6, 1);
    for (unsigned round = 0; round < 400; round++) {
        struct torci_file *file;
        unsigned char byte, changed;
        uint64_t size, at;
        size_t done;

        cr_assert_eq(torci_vfs_open(vfs, files[round % 2], TORCI_OPEN_WRITE, &file), TORC_OK);
        cr_assert_eq(torci_file_size(file, &size), TORC_OK);
        at = torci_random_below(&random, round % 2 == 0 && size > 8192 ? 8192 : size);
        cr_assert_eq(torci_file_read(file, at, &byte, 1, &done), TORC_OK);
        changed = byte ^ (unsigned char)(1u << torci_random_below(&random, 8));
        cr_assert_eq(torci_file_write(file, at, &changed, 1, false), TORC_OK);
        if (recover(1) == TORC_OK) {
            char found[TEXT_MAX];
            size_t found_size;

            survived++;
            cr_assert_eq(torc_mvcc_get(store, text("k"), found, sizeof found, &found_size), TORC_OK);
            found[found_size] = '\0';
            cr_expect_eq((uint64_t)atoi(found) * 2 + 4, recovered.cut, "%s at %" PRIu64, found, recovered.cut);
            expect_in("name", "k", "1");
        } else {
            refused++;
        }
        cr_assert_eq(torci_file_write(file, at, &byte, 1, false), TORC_OK);
        torci_file_drop(file);
    }
    cr_expect_gt(refused, 100u);
    cr_expect_gt(survived, 0u, "the last frame may be torn");
}

/* ---- Histories ---- */

enum { MODEL_KEYS = 24, MODEL_NAMES = 3, MODEL_COMMITS = 400 };

/* What a keyspace, or the default one, holds: of each key the stamp of its value; 0: none. */
struct model_keyspace {
    uint64_t id;                        /* 0: it is not there (but the default one). */
    uint64_t values[MODEL_KEYS];
};

struct model {
    struct model_keyspace keyspaces[MODEL_NAMES + 1];
};

static const char *const model_names[MODEL_NAMES + 1] = {NULL, "red", "green", "blue"};

struct pending {
    uint64_t stamp;
    size_t size;
    unsigned char bytes[512];
};

static void
key_of(char key[TEXT_MAX], unsigned number)
{
    (void)snprintf(key, TEXT_MAX, "key %02u", number);
}

static void
expect_model(const struct model *model)
{
    uint64_t keys = 0;

    for (unsigned n = 0; n <= MODEL_NAMES; n++) {
        const struct model_keyspace *keyspace = &model->keyspaces[n];

        if (n > 0)
            cr_assert_eq(keyspace_named(model_names[n]) != NULL, keyspace->id != 0, "%s", model_names[n]);
        if (n > 0 && keyspace->id == 0)
            continue;
        cr_expect_eq(keyspace_named(model_names[n])->id, keyspace->id);
        for (unsigned k = 0; k < MODEL_KEYS; k++) {
            char key[TEXT_MAX], value[TEXT_MAX];

            key_of(key, k);
            (void)snprintf(value, sizeof value, "%" PRIu64, keyspace->values[k]);
            expect_in(model_names[n], key, keyspace->values[k] == 0 ? NULL : value);
            keys += keyspace->values[k] != 0;
        }
    }
    cr_expect_eq(recovered.report.keys, keys);
}

static void
checkpoint_of_model(const struct model *model, uint64_t stamp)
{
    begin_source();
    for (unsigned n = 0; n <= MODEL_NAMES; n++) {
        const struct model_keyspace *keyspace = &model->keyspaces[n];
        struct torc_keyspace *listed = NULL;

        if (n > 0 && keyspace->id == 0)
            continue;
        if (n > 0)
            listed = list_keyspace(keyspace->id, model_names[n]);
        for (unsigned k = 0; k < MODEL_KEYS; k++) {
            char key[TEXT_MAX], value[TEXT_MAX];

            key_of(key, k);
            (void)snprintf(value, sizeof value, "%" PRIu64, keyspace->values[k]);
            if (keyspace->values[k] != 0)
                enter(listed, keyspace->values[k], key, value);
        }
    }
    write_checkpoint(stamp, 1);
}

/* One commit of a few operations, to the model and to `ops`. */
static void
act(struct torci_random *random, struct model *model, uint64_t stamp, uint64_t *next_id)
{
    unsigned count = 1 + (unsigned)torci_random_below(random, 4);
    unsigned n = 1 + (unsigned)torci_random_below(random, MODEL_NAMES);
    struct model_keyspace *named = &model->keyspaces[n];
    uint64_t touched[MODEL_NAMES + 1] = {0};

    if (torci_random_one_in(random, 8)) {
        if (named->id == 0) {
            *named = (struct model_keyspace){.id = (*next_id)++};
            add_create(named->id, model_names[n]);
        } else {
            add_drop(named->id);
            *named = (struct model_keyspace){0};
        }
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned k = (unsigned)torci_random_below(random, MODEL_KEYS);
        unsigned at = (unsigned)torci_random_below(random, MODEL_NAMES + 1);
        struct model_keyspace *keyspace = &model->keyspaces[at];
        char key[TEXT_MAX], value[TEXT_MAX];

        /* One operation for each key: a commit has no order. */
        if ((at > 0 && keyspace->id == 0) || (touched[at] >> k & 1) != 0)
            continue;
        touched[at] |= UINT64_C(1) << k;
        key_of(key, k);
        (void)snprintf(value, sizeof value, "%" PRIu64, stamp);
        if (keyspace->values[k] != 0 && torci_random_one_in(random, 3)) {
            add_delete(keyspace->id, key);
            keyspace->values[k] = 0;
        } else {
            add_put(keyspace->id, key, value);
            keyspace->values[k] = stamp;
        }
    }
}

static void
write_shuffled(struct torci_random *random, struct pending *pending, unsigned count)
{
    for (unsigned i = count; i > 0; i--) {
        unsigned at = (unsigned)torci_random_below(random, i);

        memcpy(ops, pending[at].bytes, pending[at].size);
        ops_size = pending[at].size;
        commit(pending[at].stamp);
        pending[at] = pending[i - 1];
    }
}

/* Commits in batches, each in any order; a checkpoint somewhere; the last batch may be torn. */
Test(recovery_model, puts_back_any_history)
{
    static struct pending pending[MODEL_COMMITS];
    static char path[TEXT_MAX];
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned round = 0; round < 40; round++) {
        struct model model = {0}, durable = {0}, at_checkpoint = {0};
        unsigned commits = (unsigned)torci_random_below(&random, MODEL_COMMITS);
        uint64_t stamp = 2, last_cut = 0, checkpoint = 0, next_id = 1;
        unsigned count = 0;

        (void)snprintf(path, sizeof path, "round%u", round);
        torci_directory_close(&directory);
        cr_assert_eq(torci_directory_open(&directory, &heap, vfs, path, TORCI_DIRECTORY_OPEN), TORC_OK);
        begin_journal();
        for (unsigned i = 0; i < commits; i++) {
            /* A clock that stands still, moves by one phase, or by many. */
            stamp += torci_random_below(&random, 3) * 2;
            act(&random, &model, stamp | 1, &next_id);
            pending[count].stamp = stamp | 1;
            pending[count].size = ops_size;
            memcpy(pending[count].bytes, ops, ops_size);
            ops_size = 0;
            count++;
            stamp += 2;
            if (!torci_random_one_in(&random, 10))
                continue;
            write_shuffled(&random, pending, count);
            count = 0;
            cut(stamp);
            last_cut = stamp;
            durable = model;
            if (torci_random_one_in(&random, 8))
                cr_assert_eq(torci_segment_rotate(&writer), TORC_OK);
            if (torci_random_one_in(&random, 10)) {
                checkpoint = stamp;
                at_checkpoint = model;
            }
        }
        write_shuffled(&random, pending, count);
        end_journal();
        if (checkpoint != 0)
            checkpoint_of_model(&at_checkpoint, checkpoint);
        for (unsigned threads = 1; threads <= 3; threads++) {
            cr_assert_eq(recover(threads), TORC_OK, "round %u: %s", round, torc_detail());
            cr_expect_eq(recovered.cut, last_cut);
            cr_expect_eq(recovered.report.checkpoint_stamp, checkpoint);
            expect_model(&durable);
        }
        forget();
    }
}

/* ---- What fails ---- */

/* A checkpoint and a journal of a bit of everything. */
static void
write_some(void)
{
    begin_source();
    enter(NULL, 3, "a", "1");
    enter(list_keyspace(1, "listed"), 3, "a", "1");
    enter(list_keyspace(2, "dropped"), 3, "a", "1");
    write_checkpoint(4, 1);
    begin_journal();
    for (unsigned i = 0; i < 60; i++) {
        char key[TEXT_MAX];

        key_of(key, i);
        add_put(0, key, "a value of some length, to fill packs");
        add_put(1, key, "v");
        commit(5 + 2 * i);
    }
    add_create(3, "made");
    add_put(3, "k", "v");
    commit(201);
    add_drop(2);
    commit(203);
    cut(204);
    end_journal();
}

static void
expect_some(void)
{
    expect("a", "1");
    expect("key 59", "a value of some length, to fill packs");
    expect_in("listed", "a", "1");
    expect_in("made", "k", "v");
    cr_expect_null(keyspace_named("dropped"));
    cr_expect_eq(recovered.report.keyspaces, 3u);
}

#if defined(TORC_FAULTS)
Test(recovery_faults, tells_that_there_is_no_memory)
{
    write_some();
    for (unsigned threads = 1; threads <= 2; threads++) {
        enum torc_status status = TORC_NO_MEMORY;
        uint64_t bytes = torci_heap_bytes(&heap);
        unsigned failures = 0;

        /* With several threads the n-th is anybody's. */
        for (unsigned at = 1; status != TORC_OK; at += threads == 1 ? 1 : 3) {
            torci_alloc_fail_at(at, true);
            status = load(&directory, threads, 0);
            torci_alloc_fail_at(0, false);
            cr_assert(status == TORC_OK || status == TORC_NO_MEMORY, "%s: %s", torc_status_name(status), torc_detail());
            failures += status != TORC_OK;
            if (status != TORC_OK)
                cr_assert_eq(torci_heap_bytes(&heap), bytes);
        }
        cr_expect_gt(failures, 10u);
        expect_some();
        forget();
    }
}
#endif

Test(recovery_faults, tells_that_the_limit_does_not_hold_it)
{
    write_some();
    cr_expect_eq(load(&directory, 1, 16 * 1024), TORC_BUSY, "%s", torc_detail());
    cr_expect_eq(load(&directory, 2, 16 * 1024), TORC_BUSY, "%s", torc_detail());
    cr_expect_not_null(strstr(torc_detail(), "memory_limit_bytes"), "%s", torc_detail());
}

Test(recovery_faults, tells_each_call_of_the_system_that_fails)
{
    struct torci_vfs *failing = torci_vfs_fault_create(&heap, vfs);
    struct torci_directory on_failing;

    write_some();
    cr_assert_not_null(failing);
    on_failing = directory;
    on_failing.vfs = failing;
    for (unsigned threads = 1; threads <= 2; threads++) {
        unsigned failures = 0;

        for (unsigned at = 1;; at++) {
            struct torci_vfs_plan plan = {
                .operations = TORCI_VFS_ALL & ~TORCI_VFS_BIT(TORCI_VFS_CLOSE), .at = at, .status = TORC_IO};
            uint64_t before = torci_vfs_fault_failed(failing);
            enum torc_status status;

            torci_vfs_fault_plan(failing, &plan);
            status = load(&on_failing, threads, 0);
            torci_vfs_fault_plan(failing, NULL);
            if (torci_vfs_fault_failed(failing) == before) {
                cr_assert_eq(status, TORC_OK);
                break;
            }
            failures++;
            cr_assert_eq(status, TORC_IO, "call %u: %s", at, torc_status_name(status));
        }
        cr_expect_gt(failures, 8u);
        expect_some();
        forget();
    }
    torci_vfs_fault_destroy(failing);
}

/* SPDX-License-Identifier: MIT */
/* mvcc/checkpoint_testing: what tests of checkpoints share: files in memory that can fail, writing a store's
 * checkpoint, reading it into another store, and whether two stores are the same. Tests only. */
#ifndef TORCT_CHECKPOINT_TESTING_H
#define TORCT_CHECKPOINT_TESTING_H

#include "mvcc/mvcc_testing.h"

#include <stdlib.h>

#include "base/vfs_fault.h"
#include "base/vfs_memory.h"
#include "mvcc/checkpoint.h"

#define TORCT_DIRECTORY "d"

enum { TORCT_JOURNAL_FROM = 7 };

static const unsigned char torct_store_id[TORCI_STORE_ID_SIZE] = "a store's own id";

/* A disk: files in memory, and faults above them. */
struct torct_disk {
    struct torci_heap heap;
    struct torci_vfs *memory;
    struct torci_vfs *vfs;
};

static inline void
torct_disk_create(struct torct_disk *disk)
{
    torci_heap_init(&disk->heap, NULL, 0);
    disk->memory = torci_vfs_memory_create(&disk->heap, true);
    cr_assert_not_null(disk->memory);
    disk->vfs = torci_vfs_fault_create(&disk->heap, disk->memory);
    cr_assert_not_null(disk->vfs);
    cr_assert_eq(torci_vfs_make_directory(disk->vfs, TORCT_DIRECTORY), TORC_OK);
}

static inline void
torct_disk_destroy(struct torct_disk *disk)
{
    torci_vfs_fault_destroy(disk->vfs);
    torci_vfs_memory_destroy(disk->memory);
    cr_expect_eq(torci_heap_bytes(&disk->heap), 0u);
}

/* Write a checkpoint of `store`, whole; *stamp is its snapshot. */
static inline enum torc_status
torct_checkpoint_write(struct torc_mvcc *store, struct torci_vfs *vfs, size_t budget, uint64_t *stamp,
                       struct torci_checkpoint_info *info)
{
    struct torci_checkpoint *checkpoint;
    enum torc_status status = torci_checkpoint_begin(store, vfs, TORCT_DIRECTORY, torct_store_id, &checkpoint);
    bool done = false;

    if (status != TORC_OK) {
        cr_assert_null(checkpoint);
        return status;
    }
    *stamp = torci_checkpoint_stamp(checkpoint);
    while (status == TORC_OK && !done)
        status = torci_checkpoint_step(checkpoint, budget, &done);
    if (status == TORC_OK)
        return torci_checkpoint_install(checkpoint, TORCT_JOURNAL_FROM, info);
    torci_checkpoint_abandon(checkpoint);
    return status;
}

/* ---- Reading into a store ---- */

enum { TORCT_KEYSPACES_MAX = 100 };

struct torct_loading {
    struct torc_mvcc *store;
    unsigned keyspaces_count;
    uint64_t ids[TORCT_KEYSPACES_MAX];
    struct torc_keyspace *keyspaces[TORCT_KEYSPACES_MAX];
};

static inline enum torc_status
torct_loading_keyspace(void *context, uint64_t id, struct torc_slice name)
{
    struct torct_loading *loading = context;
    unsigned at = loading->keyspaces_count;

    if (at == TORCT_KEYSPACES_MAX)
        return TORC_BUSY;
    loading->ids[at] = id;
    loading->keyspaces_count++;
    return torc_keyspace_create(loading->store, name, &loading->keyspaces[at]);
}

static inline enum torc_status
torct_loading_entries(void *context, unsigned thread, uint64_t keyspace, const struct torci_restored *entries,
                      size_t count)
{
    struct torct_loading *loading = context;
    struct torci_shard *shard = torci_shard_own(loading->store);

    (void)thread;
    if (shard == NULL)
        return TORC_NO_MEMORY;
    if (keyspace == 0)
        return torci_restore_many(shard, loading->store->main, entries, count);
    for (unsigned i = 0; i < loading->keyspaces_count; i++) {
        if (loading->ids[i] == keyspace)
            return torci_restore_many(shard, loading->keyspaces[i], entries, count);
    }
    return TORC_NOT_FOUND;
}

/* Fill `store`, which is empty, from a checkpoint. */
static inline enum torc_status
torct_checkpoint_load(struct torc_mvcc *store, struct torci_vfs *vfs, uint64_t stamp, unsigned threads,
                      struct torci_checkpoint_info *info)
{
    struct torct_loading loading = {.store = store};
    struct torci_checkpoint_reader reader = {torct_loading_keyspace, torct_loading_entries, &loading};
    enum torc_status status = torci_checkpoint_read(&store->heap, vfs, TORCT_DIRECTORY, stamp, torct_store_id, threads,
                                                    &reader, info);
    struct torci_shard *shard = torci_shard_own(store);

    if (status != TORC_OK)
        return status;
    return shard == NULL ? TORC_NO_MEMORY : torci_restore_end(shard, stamp);
}

/* Check a checkpoint, and show it to nobody. */
static inline enum torc_status
torct_checkpoint_check(struct torci_heap *heap, struct torci_vfs *vfs, uint64_t stamp)
{
    return torci_checkpoint_read(heap, vfs, TORCT_DIRECTORY, stamp, torct_store_id, 2, NULL, NULL);
}

/* ---- Comparing ---- */

/* Whether the current keyspaces of two transactions show the same. */
static inline bool
torct_same_keys(struct torc_txn *one, struct torc_txn *other)
{
    struct torc_cursor *cursors[2];
    struct torc_slice keys[2], values[2];
    enum torc_status statuses[2];
    bool same = true;

    cr_assert_eq(torc_txn_scan(one, NULL, &cursors[0]), TORC_OK);
    cr_assert_eq(torc_txn_scan(other, NULL, &cursors[1]), TORC_OK);
    do {
        for (unsigned i = 0; i < 2; i++)
            statuses[i] = torc_cursor_next(cursors[i], &keys[i], &values[i]);
        same = statuses[0] == statuses[1];
        if (same && statuses[0] == TORC_OK)
            same = torci_key_compare(keys[0], keys[1]) == 0 && torci_key_compare(values[0], values[1]) == 0;
    } while (same && statuses[0] == TORC_OK);
    torc_cursor_close(cursors[0]);
    torc_cursor_close(cursors[1]);
    return same;
}

/* Whether `loaded`, all of it now, is what `store` was at `at` (0: is now), in the default keyspace and in the named
 * ones. */
static inline bool
torct_same_stores(struct torc_mvcc *store, uint64_t at, struct torc_mvcc *loaded, const char *const *names,
                  unsigned names_count)
{
    struct torc_txn_options options = {.read_only = true, .at = at};
    struct torc_txn *one, *other;
    bool same;

    cr_assert_eq(torc_txn_begin(store, &options, &one), TORC_OK, "%s", torc_detail());
    options.at = 0;
    cr_assert_eq(torc_txn_begin(loaded, &options, &other), TORC_OK);
    same = torct_same_keys(one, other);
    for (unsigned i = 0; i < names_count && same; i++) {
        struct torc_keyspace *keyspaces[2];

        same = torc_keyspace_find(store, torct_text(names[i]), &keyspaces[0]) == TORC_OK &&
               torc_keyspace_find(loaded, torct_text(names[i]), &keyspaces[1]) == TORC_OK;
        if (!same)
            break;
        cr_assert_eq(torc_txn_use(one, keyspaces[0]), TORC_OK);
        cr_assert_eq(torc_txn_use(other, keyspaces[1]), TORC_OK);
        same = torct_same_keys(one, other);
    }
    torc_txn_abort(one);
    torc_txn_abort(other);
    return same;
}

/* ---- Bytes of a file ---- */

struct torct_bytes {
    unsigned char *data;
    size_t size;
};

static inline void
torct_checkpoint_path(uint64_t stamp, char path[64])
{
    char name[TORCI_CHECKPOINT_NAME];

    torci_checkpoint_name(stamp, name);
    snprintf(path, 64, TORCT_DIRECTORY "/%s", name);
}

static inline struct torct_bytes
torct_file_bytes(struct torci_vfs *vfs, const char *path)
{
    struct torct_bytes bytes;
    struct torci_file *file;
    uint64_t size;
    size_t done;

    cr_assert_eq(torci_vfs_open(vfs, path, TORCI_OPEN_READ, &file), TORC_OK);
    cr_assert_eq(torci_file_size(file, &size), TORC_OK);
    bytes.size = (size_t)size;
    bytes.data = malloc(bytes.size + 1);
    cr_assert_not_null(bytes.data);
    cr_assert_eq(torci_file_read(file, 0, bytes.data, bytes.size, &done), TORC_OK);
    cr_assert_eq(done, bytes.size);
    cr_assert_eq(torci_file_close(file), TORC_OK);
    return bytes;
}

static inline void
torct_file_set(struct torci_vfs *vfs, const char *path, const void *data, size_t size)
{
    struct torci_file *file;

    cr_assert_eq(torci_vfs_open(vfs, path, TORCI_OPEN_WRITE | TORCI_OPEN_CREATE | TORCI_OPEN_TRUNCATE, &file), TORC_OK);
    if (size > 0)
        cr_assert_eq(torci_file_write(file, 0, data, size, false), TORC_OK);
    cr_assert_eq(torci_file_close(file), TORC_OK);
}

#endif

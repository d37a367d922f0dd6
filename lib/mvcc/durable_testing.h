/* SPDX-License-Identifier: MIT */
/* mvcc/durable_testing: what the tests of journals and of durable stores share: stores on a disk in memory, with faults
 * above it, and the same disk after a power cut. Tests only. */
#ifndef TORCT_DURABLE_TESTING_H
#define TORCT_DURABLE_TESTING_H

#include "mvcc/checkpoint_testing.h"

#include "mvcc/durable.h"

/* By their caller driven: everything is flushed by the test. */
static inline struct torc_mvcc_options
torct_durable_options(enum torc_durability durability, bool caller_driven)
{
    struct torc_mvcc_options options;

    torc_mvcc_options_init(&options);
    options.directory = TORCT_DIRECTORY;
    options.durability = durability;
    options.durable_snapshots = true;
    options.caller_driven = caller_driven;
    options.recovery_threads = 1;
    options.expected_keys = 1;
    return options;
}

static inline struct torc_mvcc *
torct_disk_open(struct torct_disk *disk, enum torc_durability durability, bool caller_driven)
{
    struct torc_mvcc_options options = torct_durable_options(durability, caller_driven);
    struct torc_mvcc *store;
    enum torc_status status = torci_mvcc_open_on(&options, disk->vfs, &store);

    cr_assert_eq(status, TORC_OK, "open: %s: %s", torc_status_name(status), torc_detail());
    return store;
}

/* The disk as a machine finds it that lost power now. */
static inline void
torct_disk_crash(struct torct_disk *disk, enum torci_crash mode, uint64_t seed, struct torct_disk *after)
{
    torci_heap_init(&after->heap, NULL, 0);
    after->memory = torci_vfs_memory_crash_clone(disk->memory, mode, seed);
    cr_assert_not_null(after->memory);
    after->vfs = torci_vfs_fault_create(&after->heap, after->memory);
    cr_assert_not_null(after->vfs);
}

/* One flush, which must work. */
static inline void
torct_flush(struct torc_mvcc *store)
{
    bool led;
    enum torc_status status = torci_journal_flush(store->journal, &led);

    cr_assert_eq(status, TORC_OK, "%s: %s", torc_status_name(status), torc_detail());
    cr_assert(led);
}

static inline struct torc_durability_stats
torct_durability(struct torc_mvcc *store)
{
    struct torc_durability_stats stats;

    cr_assert_eq(torc_mvcc_durability(store, &stats), TORC_OK);
    return stats;
}

/* Let the next sync or durable write fail so, and with `sticky` all later ones. */
static inline void
torct_fail_syncs(struct torct_disk *disk, enum torc_status status, bool sticky)
{
    const struct torci_vfs_plan plan = {
        .operations = TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE) | TORCI_VFS_BIT(TORCI_VFS_SYNC),
        .at = 1,
        .sticky = sticky,
        .status = status,
    };

    torci_vfs_fault_plan(disk->vfs, &plan);
}

#endif

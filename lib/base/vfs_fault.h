/* SPDX-License-Identifier: MIT */
/* base/vfs_fault: a vfs over another one, whose calls fail as they are told to, and which stops at each call so that
 * the power can be cut there. For tests.
 *
 * Threads    As vfs.h says. The plan, the space and the stop are set while nobody calls. */
#ifndef TORCI_VFS_FAULT_H
#define TORCI_VFS_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/vfs.h"

enum torci_vfs_operation {
    TORCI_VFS_OPEN,
    TORCI_VFS_CLOSE,
    TORCI_VFS_READ,
    TORCI_VFS_WRITE,
    TORCI_VFS_WRITE_DURABLE,
    TORCI_VFS_SYNC,
    TORCI_VFS_SIZE,
    TORCI_VFS_TRUNCATE,
    TORCI_VFS_ALLOCATE,
    TORCI_VFS_LOCK,
    TORCI_VFS_RENAME,
    TORCI_VFS_REMOVE,
    TORCI_VFS_LIST,
    TORCI_VFS_MAKE_DIRECTORY,
    TORCI_VFS_SYNC_DIRECTORY,
};
#define TORCI_VFS_OPERATIONS (TORCI_VFS_SYNC_DIRECTORY + 1)

/* For masks of operations. */
#define TORCI_VFS_BIT(operation) (1u << (operation))
#define TORCI_VFS_ALL ((1u << TORCI_VFS_OPERATIONS) - 1)
/* What changes a disk. */
#define TORCI_VFS_CHANGES                                                                           \
    (TORCI_VFS_BIT(TORCI_VFS_WRITE) | TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE) | TORCI_VFS_BIT(TORCI_VFS_SYNC) | \
     TORCI_VFS_BIT(TORCI_VFS_TRUNCATE) | TORCI_VFS_BIT(TORCI_VFS_ALLOCATE) | TORCI_VFS_BIT(TORCI_VFS_RENAME) | \
     TORCI_VFS_BIT(TORCI_VFS_REMOVE) | TORCI_VFS_BIT(TORCI_VFS_MAKE_DIRECTORY) |                      \
     TORCI_VFS_BIT(TORCI_VFS_SYNC_DIRECTORY))

/* Which calls fail, and how. A failing call changes nothing, but for what `partly` and `forget` say; a failing close
 * closes. */
struct torci_vfs_plan {
    unsigned operations;                    /* A mask: only these are counted and fail. */
    uint64_t at;                            /* The n-th of them from now; 1: the next. 0: none. */
    bool sticky;                            /* And every later one. */
    uint64_t one_in;                        /* One in so many, by `seed`. 0: none. */
    uint64_t seed;
    enum torc_status status;                /* What they return: TORC_IO, TORC_NO_SPACE, TORC_LOCKED ... */
    bool partly;                            /* A failing write has written some of its bytes, by `seed`. */
    bool forget;                            /* A failing sync or durable write ends in torci_vfs_memory_forget(): the
                                             * inner vfs is one of base/vfs_memory, made with `crashes`. */
};

/* Borrows `inner`, which outlives it. NULL: no memory. At first nothing fails. */
struct torci_vfs *torci_vfs_fault_create(struct torci_heap *heap, struct torci_vfs *inner);

/* Every file must be closed. NULL is ignored. */
void torci_vfs_fault_destroy(struct torci_vfs *vfs);

/* From now on fail by `plan`, which is copied; NULL: nothing fails. */
void torci_vfs_fault_plan(struct torci_vfs *vfs, const struct torci_vfs_plan *plan);

/* From now on files may grow by `bytes` in all, by writes and allocations; then TORC_NO_SPACE, a write after what there
 * was room for. What is removed gives no room. UINT64_MAX, as at first: any number. */
void torci_vfs_fault_space(struct torci_vfs *vfs, uint64_t bytes);

/* Call `stop` before each call, and within each durable write when its bytes are written and not durable. It may call
 * the inner vfs, crash clones included, and change nothing there. NULL: no more. */
void torci_vfs_fault_stop(struct torci_vfs *vfs, void (*stop)(void *context, enum torci_vfs_operation operation),
                          void *context);

/* Calls so far of the operations of `mask`. */
uint64_t torci_vfs_fault_calls(struct torci_vfs *vfs, unsigned mask);

/* Calls that this layer let fail so far. */
uint64_t torci_vfs_fault_failed(struct torci_vfs *vfs);

/* Writes and syncs of a file that came after one through the same handle had failed: vfs.h forbids them. They are let
 * through, as a careless system would. */
uint64_t torci_vfs_fault_forbidden(struct torci_vfs *vfs);

#endif

/* SPDX-License-Identifier: MIT */
/* base/vfs_memory: files in memory. For stores without a path, and for tests: it knows of each byte and each name
 * whether it was synced, and makes of itself what a power cut would leave.
 *
 * A crash clone is a vfs of its own: the files as a machine would find them that lost power at this moment and started
 * again. What was synced is there; of the rest the mode decides, and where it says "some", the seed:
 *
 *   file     by sectors or pages, each as it was or as it is; or by writes, a prefix or some of them in any order
 *   size     as it was or as it is
 *   name     each creation, removal and rename has happened or not; a rename as a whole
 *
 * A sector of 512 bytes is old or new, never a mixture, if one write made it new. Directories are there at once, as
 * make_directory() promises.
 *
 * Paths      "a//b/" is "a/b" and "/a/b"; ".." is a name like others.
 * Threads    As vfs.h says. One mutex: who waits for it, waits for a copy in memory. */
#ifndef TORCI_VFS_MEMORY_H
#define TORCI_VFS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/vfs.h"

enum torci_crash {
    TORCI_CRASH_DROP,                       /* Nothing that was not synced. */
    TORCI_CRASH_KEEP,                       /* Everything. */
    TORCI_CRASH_TORN_512,                   /* Some sectors; some names. */
    TORCI_CRASH_TORN_4096,                  /* Some pages; some names. */
    TORCI_CRASH_PREFIX,                     /* The first writes to each file; the first changes of names. */
    TORCI_CRASH_REORDERED,                  /* Some writes to each file, in any order; some names. */
};
#define TORCI_CRASH_MODES (TORCI_CRASH_REORDERED + 1)

/* No files. `crashes`: crash clones can be made of it, which takes twice the memory and more. Everything is taken from
 * `heap`. NULL: no memory. */
struct torci_vfs *torci_vfs_memory_create(struct torci_heap *heap, bool crashes);

/* Every file must be closed. NULL is ignored. */
void torci_vfs_memory_destroy(struct torci_vfs *vfs);

/* As above; nothing in it is open or locked, everything is synced, and it has made no calls. It is as independent of
 * `vfs` as another machine's, and so crashes itself. NULL: no memory. `vfs` was made with `crashes`. */
struct torci_vfs *torci_vfs_memory_crash_clone(struct torci_vfs *vfs, enum torci_crash mode, uint64_t seed);

/* Calls so far that change what is there or what is durable: open with CREATE or TRUNCATE, write, sync, truncate,
 * allocate, rename, remove, make_directory, sync_directory. */
uint64_t torci_vfs_memory_calls(struct torci_vfs *vfs);

/* What a system does after a failed sync: what was not durable of the file counts as clean. It is read as before, but
 * no later sync makes it durable, unless it is written again. */
void torci_vfs_memory_forget(struct torci_file *file);

#endif

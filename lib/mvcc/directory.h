/* SPDX-License-Identifier: MIT */
/* mvcc/directory: the directory of a store: its identity, its lock, the names in it. docs/formats.md has the bytes.
 *
 *   LOCK                   empty; locked by who has the store open
 *   IDENTITY               what the directory is, and the store's id
 *   journal-<16 hex>       checkpoint-<16 hex>      spare-<16 hex>
 *   IDENTITY.tmp           and <any of the three>.tmp: what a crash left of an unfinished file
 *
 * Nothing else is ours: other names are neither read nor removed, and do not matter.
 *
 * Invariants
 *   I1  A directory has no file of ours but LOCK and IDENTITY.tmp before its IDENTITY is durable, name included. So
 *       journals or checkpoints without IDENTITY tell that it was lost, and a crash while it is made leaves a directory
 *       that is nothing yet.
 *   I2  IDENTITY never changes.
 *   I3  Whoever changes anything but LOCK has the lock. */
#ifndef TORCI_MVCC_DIRECTORY_H
#define TORCI_MVCC_DIRECTORY_H

#include <torc/base.h>

#include "base/alloc.h"
#include "base/vfs.h"
#include "mvcc/segment.h"

enum torci_directory_mode {
    TORCI_DIRECTORY_OPEN,                /* A store, or nothing yet: then it is made one. */
    TORCI_DIRECTORY_VERIFY,              /* A store; nothing in it is changed. */
    TORCI_DIRECTORY_FRESH,               /* Nothing yet, else TORC_EXISTS: for a backup. */
};

struct torci_directory {
    struct torci_heap *heap;
    struct torci_vfs *vfs;
    char path[TORCI_PATH_MAX];
    unsigned char id[TORCI_STORE_ID_SIZE];
    struct torci_file *lock;
    bool fresh;                          /* It was made a store by this open. */
    bool needs_checkpoint;               /* Made by TORCI_DIRECTORY_FRESH, now or once: it begins with a checkpoint, and
                                            without one it is what is left of a backup that was not completed. */
};

/* Open and lock. The directory is as it was after an error, but perhaps for an empty one that was made, and its lock
 * file. TORCI_DIRECTORY_OPEN removes what is left over of unfinished writes (*.tmp), not more.
 *
 * Errors     TORC_LOCKED   somebody has it open.
 *            TORC_MISSING  VERIFY: it is not there, or no store. Files of a store are there, but its IDENTITY is not.
 *            TORC_FOREIGN  IDENTITY is another program's, of another kind of store, or of a later format.
 *            TORC_CORRUPT  IDENTITY is damaged.
 *            TORC_EXISTS   FRESH: something is there.
 *            TORC_TOO_LARGE (the path), TORC_NO_MEMORY, TORC_NO_SPACE, TORC_IO (also: the path is a file, or what the
 *            system does not allow). */
TORC_MUST_CHECK enum torc_status torci_directory_open(struct torci_directory *directory, struct torci_heap *heap,
                                                      struct torci_vfs *vfs, const char *path,
                                                      enum torci_directory_mode mode);
void torci_directory_close(struct torci_directory *directory);

/* "<path>/<name>"; TORC_TOO_LARGE. `out` has TORCI_PATH_MAX bytes. */
TORC_MUST_CHECK enum torc_status torci_directory_path(const struct torci_directory *directory, const char *name,
                                                      char *out);

/* The greatest number of a checkpoint; 0: there is none. */
TORC_MUST_CHECK enum torc_status torci_directory_checkpoint(const struct torci_directory *directory, uint64_t *stamp);

/* Remove the checkpoints that are older than `stamp`. */
TORC_MUST_CHECK enum torc_status torci_directory_drop_checkpoints(const struct torci_directory *directory,
                                                                  uint64_t stamp);

#endif

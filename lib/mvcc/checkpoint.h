/* SPDX-License-Identifier: MIT */
/* mvcc/checkpoint: all keys at one snapshot, in sorted, checksummed blocks. Written step by step beside the running
 * load, through a read-only transaction that never expires (checkpoint.c); read back by several threads at once
 * (checkpoint_read.c). docs/formats.md has the bytes.
 *
 *   file   header | block | block | ... | index: a place for each block, the keyspaces | footer
 *   block  header | entries of one keyspace       in the order of (keyspace's id, key), over the whole file
 *
 * Invariants
 *   I1  A file has its name only when all of it is durable. So one that has the name and is not whole is damaged.
 *   I2  It holds all that its snapshot shows, also of keyspaces that are dropped while it is written: the snapshot
 *       keeps them from being emptied (keyspace.h I3).
 *   I3  Every byte counts: it stands under a checksum, or under one that another place has of the same number.
 * Progress   Blocking (files); waits for no thread but once, for a grace period. No section spans I/O.
 * Threads    One at a time on one checkpoint, beside any number on its store. */
#ifndef TORCI_MVCC_CHECKPOINT_H
#define TORCI_MVCC_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <torc/mvcc.h>

#include "base/vfs.h"
#include "mvcc/restore.h"
#include "mvcc/segment.h"
#include "mvcc/store.h"

struct torci_checkpoint;

struct torci_checkpoint_info {
    uint64_t stamp;
    uint64_t journal_from;               /* The least segment that recovery needs beside it. */
    uint64_t blocks;
    uint64_t entries;
    uint64_t keyspaces;                  /* The default one included. */
    uint64_t bytes;                      /* Of the file. */
};

/* ---- Writing ---- */

/* Take a snapshot of `store` and begin to write it into `directory`, as a file that does not count yet. Waits for a
 * grace period. Blocking; outside of a section. Errors of the vfs, TORC_NO_MEMORY: `*checkpoint` is NULL. */
TORC_MUST_CHECK enum torc_status torci_checkpoint_begin(struct torc_mvcc *store, struct torci_vfs *vfs,
                                                        const char *directory,
                                                        const unsigned char store_id[TORCI_STORE_ID_SIZE],
                                                        struct torci_checkpoint **checkpoint);

/* The snapshot's stamp. */
uint64_t torci_checkpoint_stamp(const struct torci_checkpoint *checkpoint);

/* In a store with a journal, this must be durable before torci_checkpoint_install(): a stamp a little above the
 * snapshot's. A keyspace that was made before the snapshot and dropped soon after it may be missing in the file; if
 * this stamp is durable, so is its DROP. */
uint64_t torci_checkpoint_settled(const struct torci_checkpoint *checkpoint);

/* Write about `budget` bytes more; `*done`: all keys are written, and the snapshot is let go of. After an error only
 * torci_checkpoint_abandon() may follow. */
TORC_MUST_CHECK enum torc_status torci_checkpoint_step(struct torci_checkpoint *checkpoint, size_t budget, bool *done);

/* All keys are written: complete the file, sync it, give it its name, sync the directory. From then on it counts;
 * `info` (NULL: not asked for) is what it holds. The checkpoint is freed, also after an error. Then its file is
 * removed, but if only the sync of the directory has failed: it is whole, and may count after a power cut, or not. */
TORC_MUST_CHECK enum torc_status torci_checkpoint_install(struct torci_checkpoint *checkpoint, uint64_t journal_from,
                                                          struct torci_checkpoint_info *info);

/* Give up: end the snapshot, remove the file. NULL is ignored. */
void torci_checkpoint_abandon(struct torci_checkpoint *checkpoint);

/* ---- Reading ---- */

/* What is shown of a file. Each function may be NULL. */
struct torci_checkpoint_reader {
    /* A keyspace, before any entry; ids ascend; on the calling thread. Not called for the default one. */
    enum torc_status (*keyspace)(void *context, uint64_t id, struct torc_slice name);
    /* Some entries, one or more, ascending, all of one keyspace; borrowed. By `threads` threads at once, `thread` from
     * 0 (the calling one), each in the order of the file. What is shown may turn out to be part of a damaged file. */
    enum torc_status (*entries)(void *context, unsigned thread, uint64_t keyspace, const struct torci_restored *entries,
                                size_t count);
    void *context;
};

enum { TORCI_CHECKPOINT_THREADS_MAX = 64 };

/* Read `directory`/checkpoint-<stamp>, check every byte, and show what it holds. Takes memory for the file's index, and
 * for each thread for one block. The names of keyspaces are not compared with one another.
 *
 * Errors  TORC_CORRUPT, TORC_FOREIGN (of another store, or a later version's), TORC_MISSING (no such file), TORC_IO,
 *         TORC_NO_MEMORY, or what the reader returned. torc_detail() names file and place. `info` (which may be NULL)
 *         is empty after an error. */
TORC_MUST_CHECK enum torc_status
torci_checkpoint_read(struct torci_heap *heap, struct torci_vfs *vfs, const char *directory, uint64_t stamp,
                      const unsigned char store_id[TORCI_STORE_ID_SIZE], unsigned threads,
                      const struct torci_checkpoint_reader *reader, struct torci_checkpoint_info *info);

/* ---- The file's layout: docs/formats.md ---- */

#define TORCI_CHECKPOINT_MAGIC "torcckpt"

enum {
    TORCI_CHECKPOINT_FORMAT = 1,
    TORCI_CHECKPOINT_HEADER = 4096,      /* magic 8, format 4, crc 4, store id 16, stamp 8, zeros */
    TORCI_CHECKPOINT_CRC = 12,           /* Where the header's is. */
    TORCI_CHECKPOINT_BLOCK = 24,         /* size of the entries 4, crc 4, keyspace 8, count 4, zero 4 */
    TORCI_CHECKPOINT_PLACE = 16,         /* offset 8, size of the entries 4, count 4 */
    TORCI_CHECKPOINT_KEYSPACE = 9,       /* id 8, size of the name 1; the name follows */
    TORCI_CHECKPOINT_FOOTER = 64,        /* magic 4, crc 4, crc of the index 4, keyspaces 4, offset of the index 8, its
                                            size 8, blocks 8, entries 8, stamp 8, journal_from 8 */
    TORCI_CHECKPOINT_EXPIRES = 1,        /* Flag of an entry: a time follows the value. */
    TORCI_CHECKPOINT_NAME = 28,          /* Bytes of a file's name, its terminator included. */
};

#define TORCI_CHECKPOINT_FOOTER_MAGIC UINT32_C(0x746b6374)

/* The name of a checkpoint. */
void torci_checkpoint_name(uint64_t stamp, char name[TORCI_CHECKPOINT_NAME]);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/restore: putting back into a store what was read from its files, before anybody else uses it. Any number of
 * threads at once, each with a shard of its own; in any order: of each key the version with the greatest stamp wins.
 *
 *   fresh record, its version on it --> hash index --> ordered index, many at a time
 *   record that is there            --> its version is older? CAS head: it -> ours, which has nothing below
 *
 * Invariants
 *   I1  Until torci_restore_end() every head is a committed version with nothing below it; none is frozen.
 *   I2  Stamps of a record's head only grow; so the greatest one wins, whoever comes first.
 * Ordering   R1 publication of a fresh record (index), CAS of record.head -> version.h A1
 * Progress   Lock-free: a retry means that another thread restored the same key. Blocking when memory runs out, or much
 *            waits to be freed: then it waits for a grace period.
 * Reclaim    What is replaced goes through the limbo: another thread may just be comparing its stamp. */
#ifndef TORCI_MVCC_RESTORE_H
#define TORCI_MVCC_RESTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <torc/mvcc.h>

#include "mvcc/store.h"

struct torci_restored {
    struct torc_slice key;
    struct torc_slice value;
    uint64_t stamp;                      /* Odd. */
    uint64_t expires;                    /* UINT64_MAX: never. */
    bool deleted;                        /* Stays as a tombstone until torci_restore_end(). */
};

/* Outside of a section. Key and value are within their limits. TORC_NO_MEMORY, TORC_BUSY (memory_limit_bytes): some
 * may be there, some not. */
TORC_MUST_CHECK enum torc_status torci_restore(struct torci_shard *shard, struct torc_keyspace *keyspace,
                                               const struct torci_restored *what);

/* The same for many, faster; fastest if the keys ascend. A key may come more than once. */
TORC_MUST_CHECK enum torc_status torci_restore_many(struct torci_shard *shard, struct torc_keyspace *keyspace,
                                                    const struct torci_restored *what, size_t count);

/* When all is there: the clock stands at the first even stamp after `cut`, so that what follows is newer than all that
 * was; tombstones go, the history begins anew. (Keys were counted, and what expires was noted, on the way.) Exclusive;
 * outside of a section. TORC_NO_MEMORY: some tombstones are left, which harms nothing. */
TORC_MUST_CHECK enum torc_status torci_restore_end(struct torci_shard *shard, uint64_t cut);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/recovery: from the files of a directory to the store as it was at the last durable cut.
 *
 *   newest checkpoint (several threads) --> journal from `journal_from`: 1. all of it is read and judged, the last cut
 *   is found  2. records between the checkpoint's stamp and the cut are applied, several threads
 *
 * Invariants
 *   I1  Nothing is taken from the journal before all of it has been judged.
 *   I2  Of each key the version with the greatest stamp up to the cut is there, whatever the order of the records.
 *   I3  A keyspace is there if its CREATE stands up to the cut and was neither taken back nor dropped, or if the
 *       checkpoint lists it and it was not dropped. No two have one name (recovery.c).
 *   I4  Bytes are never asserted on: what no store can have written is TORC_CORRUPT.
 * Progress   Blocking: reads files, starts threads and waits for them.
 * Cost       The journal is read twice. Beside the store, and one batch, memory is bounded: workers get copies of
 *            records through a queue of a few megabytes. */
#ifndef TORCI_MVCC_RECOVERY_H
#define TORCI_MVCC_RECOVERY_H

#include <torc/mvcc.h>

#include "mvcc/directory.h"
#include "mvcc/segment.h"
#include "mvcc/store.h"

/* What recovery leaves for who goes on. */
struct torci_recovered {
    struct torc_recovery report;         /* `keys` is 0 if it was only checked. */
    struct torci_journal_scan scan;      /* Where the journal goes on; torci_journal_scan_fini(). */
    uint64_t keyspace_id;                /* The next one that has never been used. */
    uint64_t cut;                        /* All that counts is up to here; 0: an empty store. */
};

/* Fill an empty store, exclusive, from an open directory; its clock stands behind the cut then, and its next keyspace
 * gets `keyspace_id`. `store` NULL: check only. The store has no journal yet. Outside of a section.
 *
 * Errors     TORC_MISSING   a segment that the checkpoint needs, or the first one if there is no checkpoint; the
 *                           checkpoint of a backup.
 *            TORC_CORRUPT   torc_detail() names file and place, or the commit.
 *            TORC_FOREIGN, TORC_IO, TORC_NO_MEMORY, TORC_BUSY (memory_limit_bytes).
 *            `*recovered` is all zeros after an error, and the store must be closed: part of it may be there. */
TORC_MUST_CHECK enum torc_status torci_recover(struct torc_mvcc *store, struct torci_heap *heap,
                                               const struct torci_directory *directory, unsigned threads,
                                               struct torci_recovered *recovered);

#endif

/* SPDX-License-Identifier: MIT */
/* stress/check_si: is a recorded history what the store promises? Exact with respect to the recorded stamps.
 *
 * Snapshot isolation, for every transaction, also those that aborted:
 *   S1  a read returns the version with the greatest commit stamp that is not past the snapshot, or the own write
 *   S2  a scan shows exactly the keys that have such a version, in order
 *   S3  what did not commit is never read
 *       nor what was rolled back to a savepoint
 *   S4  of one key's committed transactions, each one's snapshot is not before the stamp of the writer before it. Free
 *       writes (autocommit, merges) may share a transaction's stamp if they came after it, and may share one among each
 *       other: then every snapshot sees the same of them
 *   S5  a commit's stamp is after its snapshot
 *   S6  stamps agree with moments: what returned before something else was called does not come after it; for an
 *       autocommit read, among the writes and reads of its key
 *   S7  a refused write has a committed rival
 *   S9  a merge was made of the version right before it
 *   S10 a value that expires is seen before its time, and as absent from then on, by one moment for all of a
 *       transaction, which lies between its begin and its end
 * A transaction of the past (a named snapshot, a stamp) is held to all of it but S6 at its begin.
 * Serializability, for serializable transactions and autocommit steps:
 *   S8  their dependencies (ww, wr, rw, the latter also from absent keys in scans) have no cycle; versions of other
 *       transactions are passed through
 *
 * Cost near-linear: versions sorted once per key, one pass for each axiom, Kahn's algorithm for S8. */
#ifndef TORCT_CHECK_SI_H
#define TORCT_CHECK_SI_H

#include <stdint.h>
#include <stdio.h>

#include "history.h"
#include "verdict.h"

struct torct_run {
    const struct torct_history *histories;
    unsigned threads;
    uint32_t keys;
    uint64_t *baseline;     /* The id of each key before the run; afterwards, after it. */
    uint64_t *times;        /* When it expires, UINT64_MAX: never. NULL: nothing expires. */
};

/* Check everything and add what is wrong to `verdict`. Ends the process when there is no memory. */
void torct_check_si(const struct torct_run *run, struct torct_verdict *verdict);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/savepoint: places in a transaction that it can go back to.
 *
 *   newest --> "b" --> "a" --> NULL           each savepoint: what writes were when it was made
 *               |       |
 *               |       '--> key 1: had version v1;  key 2: was not there
 *               '----------> key 1: had operands m1, m2
 *
 *   rollback   puts these states back, newest savepoint first
 *   release    hands them to the next older savepoint, which has no note of that key; the others are superfluous
 *
 * Invariants
 *   I1  A savepoint has at most one note of a write, taken before the write's first change after it. write.noted is the
 *       serial number of the savepoint whose note was taken last; serial numbers only grow. So a change needs a note if
 *       write.noted is less than the newest savepoint's number.
 *   I2  A version is owned by one write, or by one note.
 *   I3  Operands are only appended: a note of the last one restores the list.
 *   I4  What is undone stays in memory until the transaction ends, as far as keys go: cursors stand on them, and their
 *       slices were lent.
 * Nothing here is shared: one thread at a time. Notes lie in the transaction's arena. */
#ifndef TORCI_MVCC_SAVEPOINT_H
#define TORCI_MVCC_SAVEPOINT_H

#include "mvcc/txn.h"

struct torci_undo;

/* Room for a note of `write` (NULL: it is about to be added), which is about to change. `*undo` NULL: none is needed.
 * TORC_NO_MEMORY, TORC_TOO_LARGE. */
TORC_MUST_CHECK enum torc_status
torci_undo_prepare(struct torc_txn *txn, const struct torci_write *write, struct torci_undo **undo);

/* Take the note: it owns write->version now, and the write has none. `undo` may be NULL. */
void torci_undo_note(struct torc_txn *txn, struct torci_undo *undo, struct torci_write *write);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/ahead: blind puts look their keys up in steps, so that the cache misses of several puts overlap.
 *
 *   put(k)    bucket of k asked for   |   record of k-1   |   newest version of k-2   |   conflict? of k-3
 *   commit    the same for what is left, some writes at a time, before any of them is installed
 *
 * Why     A look-up is three dependent misses, most of the price of a put. A put that demands nothing of the present
 *         value needs no answer of it, but for an early word of a conflict: that one may come three puts later, or at
 *         the commit. docs/decisions/0011-puts-look-ahead.md has the figures.
 * Why right  Nothing is decided here but to refuse early what the commit would refuse: it finds each record itself, in
 *         its own section, or has it from here if the snapshot protects it (txn.h I2). */
#ifndef TORCI_MVCC_AHEAD_H
#define TORCI_MVCC_AHEAD_H

#include "mvcc/txn.h"

/* Before a blind put of a key whose word is `order`: begin to look it up, and go one step on for each write on its way.
 * TORC_CONFLICT (noted), TORC_EXPIRED: of an earlier put. */
TORC_MUST_CHECK enum torc_status torci_ahead_step(struct torc_txn *txn, uint64_t order);

/* The write of that put: it is on its way from here on. */
static inline void
torci_ahead_enter(struct torc_txn *txn, struct torci_write *write)
{
    txn->ahead[0] = write;
}

/* The same steps for `count` writes from `first` on, all at once: sets `record` where there is one. Inside the section
 * in which they are installed. */
void torci_ahead_of_commit(struct torci_epoch_guard guard, struct torci_write *first, size_t count);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/expiry: values whose time has come leave: a timing wheel of entries (time, record).
 *
 *   commit --> torci_expiry_note() --> entry --> slots[level][digit] --(its time is reached)--> pending --> fired:
 *                                        ^                                                        |
 *                                        '------------ the newest value expires later ------------'
 *
 *   Times are numbers of 11 digits of 6 bits. An entry stands on the level of the highest digit in which it differs
 *   from `reached`, in the slot of its own digit there: level 0 is one millisecond a slot, each level 64 times the one
 *   below. When `reached` comes to a slot, all that stands there goes to `pending` as one chain; from there it is put
 *   anew, on a lower level, or is fired. So moving the time on costs a step per slot that is passed, at most 64 per
 *   level, and what has to be done for each entry is done from `pending`, a budget at a time.
 *
 * Firing puts a tombstone over the value, as a commit of one key would, and tells on_commit and watches. It is no write
 * that anybody could conflict with: the tombstone keeps the value's stamp (record.h torci_version_written()).
 *
 * Invariants
 *   I1  If the newest version of a record expires at t, the record has an entry for t or earlier, or who committed the
 *       version is about to note it, or who fires an entry will look at the record again; but for want of memory, or if
 *       the record has TORCI_RECORD_TIMED_MAX entries. Then the value leaves with the next entry, write or collect.
 *   I2  An entry counts as one TORCI_RECORD_TIMED in its record's flags, from before it is put until after it was
 *       fired: so the record's memory stays (reclaim.h I4).
 *   I3  Whoever puts an entry looks at `reached` afterwards, and whoever moves `reached` looks at the slots afterwards,
 *       in S: one of the two sees the other, so no entry is left behind in a slot that was passed.
 *   I4  What lies between `swept` and `reached` may not have been looked at yet; who finds them different does it.
 *       `setbacks` moved, or swept > reached: the time was set back, and every slot is to be put anew.
 *   I5  Slots and `pending` are taken as a whole: whoever took a chain has it alone, and no entry is freed by another.
 * Ordering
 *   R1 CAS of store.expiry -> A1 load of it: the wheel
 *   R2 CAS of a slot, of `pending` -> A2 exchange of it: the entries
 *   R3 CAS of `reached` -> A3 load of it; all of R2, A2 of slots, R3, A3 are seq_cst (I3)
 *   R4 CAS of `swept`, of the counts of setbacks -> A4 load of them: nothing beyond them
 * Progress   Lock-free: a failed CAS means that another thread put an entry, or moved the time. A thread that stops
 *            while it works on what it took from `pending` holds back these keys' memory, and nothing else.
 * Papers     Varghese, Lauck: Hashed and hierarchical timing wheels (SOSP 1987). Taking chains whole is ours. */
#ifndef TORCI_MVCC_EXPIRY_H
#define TORCI_MVCC_EXPIRY_H

#include <stdbool.h>
#include <stddef.h>

#include "mvcc/reclaim.h"
#include "mvcc/store.h"
#include "mvcc/write_set.h"

void torci_expiry_note_slow(struct torci_shard *shard, struct torci_epoch_guard guard, const struct torci_write *write);

/* `write`, which has committed, gets an entry if its version expires. Inside its section. Lock-free; allocates. */
static inline void
torci_expiry_note(struct torci_shard *shard, struct torci_epoch_guard guard, const struct torci_write *write)
{
    if (write->version->flags == TORCI_VERSION_EXPIRES)
        torci_expiry_note_slow(shard, guard, write);
}

/* Move the time on, and work on at most `budget` entries, and on some that this thread owes. True: it would be useful
 * to call again soon. Outside of a section. */
bool torci_expiry_step(struct torci_shard *shard, size_t budget);

/* If the newest version of a record has expired, put a tombstone over it. Whether that was done. Inside a section;
 * after it, torci_watch_wake(). */
bool torci_expiry_visit(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record);

/* Free the wheel, and records that nothing else holds. Exclusive; the shards are gone. */
void torci_expiry_fini(struct torc_mvcc *store);

#endif

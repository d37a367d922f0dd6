/* SPDX-License-Identifier: MIT */
/* mvcc/watch: who waits for a key to change, and how it is told.
 *
 *   root: 16 slots, by 4 bits of the path       path: hash of keyspace and key
 *    |-- empty
 *    |-- leaf [watch | watch | ...]             immutable, replaced by one CAS; a few, or all of one path
 *    '-- node: 16 slots, by the next 4 bits     made by splitting a leaf; stays until the store closes
 *   prefixes: one leaf, which is looked through for every key
 *
 *   a commit, in its section: decided --> raise the stamp --> fired: 0 -> raised --> queue a wake-up (fd)
 *             after it:       write to the descriptors --> fired: raised -> told
 *   the watcher:              empty the descriptor --> fired: 0 --> read
 *
 * Invariants
 *   I1  A watch that is not CLOSED stands in exactly one leaf that can be reached from the root.
 *   I2  A CLOSED watch leaves with the next replacement of its leaf, by whomever (its closer tries at once, but may
 *       lack the memory for a leaf); who replaced the leaf retires it.
 *   I3  users counts those who write to the descriptor now. It does not grow after CLOSED. Who brings it to 0 after
 *       CLOSED, or sets CLOSED at 0, closes the descriptor; who brings it to 0 after FREED, or sets FREED at 0, frees.
 *   I4  Who fires a watch that is raised, but not told, writes to its descriptor, too: so that a thread that stops
 *       between the two delays nobody else's wake-up. `fired` counts how often it was taken: who raised it says that
 *       it is told only if it was not taken meanwhile, so a descriptor was written to after it was emptied last, if it
 *       is told.
 * Why no change is missed (S is the single total order of seq_cst accesses)
 *   Arming counts itself in store.watches_open, then enters its leaf (R1), both seq_cst, and returns. A commit is
 *   decided (version.h R2 or R3, seq_cst), then loads the count, then the slots on its key's path (A1), all seq_cst. A
 *   slot, once it leads to a node, leads there for ever. So if the commit finds the count 0, or no watch at the end of
 *   the path, that load is earlier in S than arming; so the decision is, and the clock read that gave its stamp. Who
 *   begins after arming returned reads the clock, or the head and its fate, later: he sees the commit.
 *   No wake-up is lost either: the watcher empties the descriptor first, then takes the flag. Who finds it told
 *   leaves it to the watcher, who has not taken it yet and loads the stamp after that.
 *   The first torc_watch_fd() stores the descriptor, then looks at the flag; a commit raises the flag, then looks for a
 *   descriptor: one of the two writes to it.
 * Ordering
 *   R1 CAS of a slot                -> A1 load of it: leaf or node, and the watches in it
 *   R2 CAS of store.watches         -> A2 load of it: the root, empty
 *   R3 CASes of fired               -> A3 exchange of it: the stamp, and that the commit is decided
 *   R4 store of fd                  -> A4 load of it: nothing beyond it
 *   R5 read-modify-writes of users  -> A5 the same: that whoever wrote to the descriptor is done
 *   R1, R3, R4 and the stamp are seq_cst, see above.
 * Progress   Firing is wait-free in the watches of a path and the prefixes (raising a stamp or the flag: lock-free);
 *            arming and closing are lock-free: a CAS of a slot fails when another watch came or went.
 * Reclaim    Leaves and watches through the limbo. No descriptor is written to inside a section, but when there is no
 *            memory to remember it. */
#ifndef TORCI_MVCC_WATCH_H
#define TORCI_MVCC_WATCH_H

#include "mvcc/store.h"

/* A watch that is not armed yet. NULL: no memory. */
struct torc_watch *torci_watch_create(struct torc_keyspace *keyspace, struct torc_slice key, bool prefix);

/* Free one that was never armed. */
void torci_watch_destroy(struct torc_watch *watch);

/* Arm it. TORC_NO_MEMORY: it is not. Inside a section. */
TORC_MUST_CHECK enum torc_status torci_watch_arm(struct torci_shard *shard, struct torc_watch *watch);

/* Close it: its owner must not use it any more. `shard` may be NULL. Outside of a section. */
void torci_watch_disarm(struct torci_shard *shard, struct torc_watch *watch);

/* The limbo's: its grace period is over. */
void torci_watch_free(struct torc_watch *watch);

/* Fire the watches of `key`. Inside the section of the commit, after the decision. */
void torci_watch_fire(struct torci_shard *shard, struct torc_keyspace *keyspace, struct torc_slice key, uint64_t order,
                      uint64_t stamp);

/* Fire all watches of a keyspace, and detach them from it. Inside a section, after keyspace.dropped was set. */
void torci_watch_drop(struct torci_shard *shard, struct torc_keyspace *keyspace, uint64_t stamp);

/* Write to the descriptors of what was fired. Outside of the section. */
void torci_watch_wake_slow(struct torci_shard *shard);

static inline void
torci_watch_wake(struct torci_shard *shard)
{
    if (shard->wakes != NULL)
        torci_watch_wake_slow(shard);
}

/* Whether it has fired; forget it. Its descriptor, or -1. The owner's. */
bool torci_watch_take(struct torc_watch *watch, uint64_t *stamp);
int torci_watch_descriptor(struct torc_watch *watch);

/* Free the table. Exclusive. */
void torci_watches_fini(struct torc_mvcc *store);

/* The store of a watch. */
struct torc_mvcc *torci_watch_store(const struct torc_watch *watch);

#endif

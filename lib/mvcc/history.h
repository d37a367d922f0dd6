/* SPDX-License-Identifier: MIT */
/* mvcc/history: how far back a store can be read: a floor that trails the clock by history_ns.
 *
 *   floor               clock      looks (snapshot.h) prune nothing that is newer than the floor they publish;
 *     |--- history_ns ---|         a transaction may begin at any stamp from the floor upwards
 *
 * Invariants
 *   I1  The floor only grows, and a look has published its floor before it reads the first slot.
 *   I2  So a begin at stamp s that announces s first, and reads a floor <= s then, is safe: a look that did not see the
 *       announcement had published its floor before, so that floor <= s: it prunes nothing that s needs. Reading the
 *       floor before announcing loses versions (history_fiber_test.c kills that mutant).
 *   I3  Each sample's stamp was the clock at its time; a floor is a sample older than history_ns.
 * Ordering   R1 store of floor -> A1 load of it: seq_cst, in the order S of clock.h
 *            R2 store of claimed, 0 -> A2 CAS of claimed: the samples, as the last holder left them
 * Progress   Wait-free: who finds it claimed goes on with the floor as it is. A holder that stops keeps the floor where
 *            it is: memory is held back, nobody waits. */
#ifndef TORCI_MVCC_HISTORY_H
#define TORCI_MVCC_HISTORY_H

#include <stdint.h>

#include "mvcc/store.h"

/* Begin with the clock as it is now. Exclusive. */
void torci_history_init(struct torc_mvcc *store, uint64_t now_ns);

/* Take a sample if it is time, and let the floor follow. `now_ns` is of torci_now_coarse_ns(). Returns the floor:
 * nothing newer may be pruned; UINT64_MAX if no history is kept. */
uint64_t torci_history_advance(struct torc_mvcc *store, uint64_t now_ns);

/* The oldest stamp that can be read; UINT64_MAX: none. */
static inline uint64_t
torci_history_floor(struct torc_mvcc *store)
{
    return torci_load(&store->history.floor, memory_order_seq_cst); /* A1 */
}

#endif

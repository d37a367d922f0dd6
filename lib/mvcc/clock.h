/* SPDX-License-Identifier: MIT */
/* mvcc/clock: the store's version counter, from which snapshots and commits take their stamps.
 *
 *   value   even: a reading phase, snapshots take it as it is     2 --> 3 --> 4 --> 5 ...
 *           odd:  a writing phase, commits take it as it is          w     r     w
 *
 * Purpose    A phase of pure reading or pure writing never writes the clock's cache line: only the first commit after
 *            a snapshot, and the first snapshot after a commit, move it by one.
 * Invariants I1  value only grows.
 *            I2  a snapshot is even, a commit stamp is odd: they never tie.
 *            I3  a snapshot s taken at a moment is smaller than each commit stamp that is read from the clock later,
 *                and greater than each that was read before (the stamp's phase had ended when the clock reached s).
 * Ordering   Every access is seq_cst, in one total order S with the heads of version chains, the descriptors' states,
 *            the snapshots' announcements and the links of the indexes. The arguments in version.h, snapshot.h stand on
 *            S alone: no fence is needed, so ThreadSanitizer sees all of it. R1 the CASes here -> A1 the loads here.
 * Progress   Wait-free: one load and at most one CAS. When the CAS fails, the clock has passed value + 1 during
 *            this very call, so value + 1 is a stamp of this call's interval: nothing is tried again.
 * Wrap       61 bits are stored (version.h); at one tick a nanosecond they last for 73 years.
 * Papers     vCAS: Wei et al., PPoPP 2021. The phases: Blelloch, Wei, VERLIB, PPoPP 2024. */
#ifndef TORCI_MVCC_CLOCK_H
#define TORCI_MVCC_CLOCK_H

#include <stdint.h>

#include "base/assert.h"
#include "base/atomic.h"

/* The first value: even, and greater than 0, which means "free" in an announcement. */
#define TORCI_CLOCK_START 2u

struct torci_clock {
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) value;
    char padding[TORCI_CACHE_LINE - sizeof(uint64_t)];
};

static inline void
torci_clock_init(struct torci_clock *clock, uint64_t start)
{
    torc_assert(start >= TORCI_CLOCK_START && start % 2 == 0);
    torci_init(&clock->value, start);
}

static inline uint64_t
torci_clock_now(struct torci_clock *clock)
{
    return torci_load(&clock->value, memory_order_seq_cst); /* A1 */
}

/* A snapshot: even. */
static inline uint64_t
torci_clock_read_stamp(struct torci_clock *clock)
{
    uint64_t now = torci_clock_now(clock);
    uint64_t seen = now;

    if (now % 2 == 0)
        return now;
    torci_cas(&clock->value, &seen, now + 1, memory_order_seq_cst, memory_order_seq_cst); /* R1 */
    return now + 1;
}

/* A commit's stamp: odd. */
static inline uint64_t
torci_clock_write_stamp(struct torci_clock *clock)
{
    uint64_t now = torci_clock_now(clock);
    uint64_t seen = now;

    if (now % 2 == 1)
        return now;
    torci_cas(&clock->value, &seen, now + 1, memory_order_seq_cst, memory_order_seq_cst); /* R1 */
    return now + 1;
}

#endif

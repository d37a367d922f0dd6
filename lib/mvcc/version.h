/* SPDX-License-Identifier: MIT */
/* mvcc/version: who sees which version of a key: stamps, commit descriptors, and the visibility rule.
 *
 *   record.head --> [stamp: descriptor] --> [stamp: ts 9] --> [stamp: ts 5] --> NULL
 *                        |
 *                        v
 *   descriptor.state  INSTALLING --> DECIDING --> COMMITTED(ts)                   snapshot isolation
 *                         |             '-------> VALIDATING(ts) --> COMMITTED(ts) serializable
 *                         '--> ABORTED <-----------------'
 *
 * Invariants
 *   I1  Only the head of a chain may be undecided or aborted; what is below is committed, newest first. Stamps do not
 *       grow downwards; they tie only between blind writes.
 *   I2  A descriptor's state is one word: all versions of a transaction become visible, or void, by one CAS.
 *   I3  All versions of a transaction are installed before its state leaves INSTALLING, and its stamp is read from the
 *       clock after that.
 *   I4  A decided state never changes; a version's stamp is only ever replaced by the value it already meant.
 * Why a snapshot s never sees half of a commit (S is the single total order of seq_cst accesses)
 *   INSTALLING met: the owner's move to DECIDING, hence its clock read, is later in S than this read of the state,
 *     which is later than the clock read that gave s: its stamp is greater than s. Skipping is right for ever.
 *     (A `single` one that is met on a chain is installed: whoever meets it moves it to DECIDING, as its owner would.)
 *   DECIDING met: its owner may hold a stamp <= s in a register, so skipping would be wrong: the reader decides it with
 *     a stamp of its own. One CAS wins, in the one word all keys share.
 *   COMMITTED(t), t <= s: by I3 every version was installed, in S, before the clock was read as t <= s: a reader that
 *     has s finds them all.
 *   Leaving DECIDING out, or skipping it, tears snapshots: version_fiber_test.c kills both mutants.
 * Ordering (label: edge, what becomes visible)
 *   R1 CAS of record.head (install.c, reclaim.c), publication of a fresh record -> A1 load of record.head: the
 *      version's bytes, older, stamp
 *   R2 CAS of descriptor.state     -> A2 load of it: everything the owner did before, its read set above all
 *   R3 store or CAS of a stamp     -> A3 load of it: nothing beyond the stamp itself
 *   R4 store of older (reclaim.c)  -> A4 load of it: the version below, and that the newer one has committed: who reads
 *      past an undecided version without a snapshot loads its `older` first and looks at its fate after that
 *   R1, R2 and their loads are seq_cst, see above.
 * Progress   Reading is lock-free: a step down the chain is paid for by a commit; a help is one CAS, and a
 *            validation is helped by running it.
 * Reclaim    Versions and descriptors are read inside an epoch section only, or (versions) while an announced snapshot
 *            sees them.
 * Papers     Wei et al., PPoPP 2021 (stamps set by whoever meets them); the third state is ours. */
#ifndef TORCI_MVCC_VERSION_H
#define TORCI_MVCC_VERSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "mvcc/clock.h"
#include "mvcc/record.h"

/* ---- Stamps: the low two bits tell what the rest is ---- */

enum torci_stamp_tag {
    TORCI_STAMP_DESCRIPTOR = 0,  /* A struct torci_descriptor pointer. */
    TORCI_STAMP_COMMITTED = 1,   /* A commit stamp. */
    TORCI_STAMP_PENDING = 2,     /* A write of one key, not stamped yet: whoever meets it stamps it. */
};

#define TORCI_COMMIT_STAMP_MAX ((UINT64_C(1) << 61) - 1)

static inline enum torci_stamp_tag
torci_stamp_tag(uint64_t stamp)
{
    return (enum torci_stamp_tag)(stamp & 3);
}

static inline uint64_t
torci_stamp_committed(uint64_t commit_stamp)
{
    torc_assert(commit_stamp > 0 && commit_stamp <= TORCI_COMMIT_STAMP_MAX);
    return commit_stamp << 2 | TORCI_STAMP_COMMITTED;
}

/* ---- Descriptors ---- */

enum torci_state {
    TORCI_INSTALLING = 0,
    TORCI_DECIDING = 1,
    TORCI_VALIDATING = 2,  /* With the stamp it will have. */
    TORCI_COMMITTED = 3,   /* With its stamp. */
    TORCI_ABORTED = 4,
};

/* What a commit of several keys, or a serializable one, shares with everybody who meets its versions. */
struct torci_descriptor {
    _Atomic(uint64_t) state;        /* Low 3 bits enum torci_state, then the stamp. */
    uint64_t snapshot;              /* Immutable. */
    uint64_t attempts;              /* Immutable: lost attempts before this one; more wins. */
    /* Serializable only, else NULL: whether all that was read is unchanged at `stamp`. Pure but for helping; may be run
     * by many at once; looks only at what is immutable after R2 and outlives the descriptor. */
    bool (*validate)(struct torci_descriptor *descriptor, uint64_t stamp);
    uint64_t floor;                 /* Its stamp shall be greater. Immutable after R2; if `single`, after R1. */
    bool single;                    /* Immutable: it has one version, so who meets that on a chain may decide it. */
    struct torc_mvcc *store;        /* Immutable; for validate. */
    void *reads;                    /* Immutable after R2; for validate. */
};

static inline enum torci_state
torci_state_of(uint64_t word)
{
    return (enum torci_state)(word & 7);
}

static inline uint64_t
torci_state_stamp(uint64_t word)
{
    return word >> 3;
}

static inline uint64_t
torci_state_word(enum torci_state state, uint64_t stamp)
{
    return stamp << 3 | (uint64_t)state;
}

static inline uint64_t
torci_stamp_descriptor(const struct torci_descriptor *descriptor)
{
    return (uint64_t)(uintptr_t)descriptor;
}

static inline struct torci_descriptor *
torci_stamp_owner(uint64_t stamp)
{
    return (struct torci_descriptor *)(uintptr_t)stamp;
}

/* Whether `a` may abort `b`, both validating: it has lost more attempts, or as many and began earlier, or the tie is
 * broken by address. A strict total order among living descriptors, so of those that meet, one is never aborted by the
 * others. */
bool torci_descriptor_outranks(const struct torci_descriptor *a, const struct torci_descriptor *b);

/* Whether `a` may abort `b`, which installs and is in its way: it has lost more than twice as many attempts. No order:
 * of two that meet, the one that came first goes on otherwise. Who was aborted so has to lose twice as many again
 * before it may do the same: two of them cannot abort each other for ever, each leaves the other ever more time. */
bool torci_descriptor_overtakes(const struct torci_descriptor *a, const struct torci_descriptor *b);

/* All is installed: move it to DECIDING; returns whether this call did it. From here on anybody may finish it. */
bool torci_descriptor_begin(struct torci_descriptor *descriptor);

/* Move a descriptor on from DECIDING (or VALIDATING) to its decision, whoever owns it. Returns a decided word. */
uint64_t torci_descriptor_decide(struct torci_descriptor *descriptor, struct torci_clock *clock);

/* Abort it if it is still INSTALLING; returns whether this call did it. */
bool torci_descriptor_wound(struct torci_descriptor *descriptor);

/* ---- Visibility ---- */

/* What is known of a version at this moment. */
enum torci_fate {
    TORCI_FATE_COMMITTED,
    TORCI_FATE_ABORTED,
    TORCI_FATE_INSTALLING,  /* Its stamp, if it ever gets one, is later than any snapshot taken before this call. */
    TORCI_FATE_VALIDATING,  /* Will commit at `stamp`, or abort. */
};

struct torci_verdict {
    enum torci_fate fate;
    uint64_t stamp;                       /* COMMITTED and VALIDATING. */
    struct torci_descriptor *owner;       /* INSTALLING and VALIDATING; NULL otherwise. */
};

/* The fate of `version`; helps PENDING and DECIDING on, not VALIDATING. Inside a section. */
struct torci_verdict torci_version_verdict(struct torci_version *version, struct torci_clock *clock);

/* The version of `record` that snapshot `snapshot` sees, or NULL; a tombstone is returned as such. Inside a section.
 * `snapshot` must have been taken from the clock (not be made up): see the argument above. */
struct torci_version *torci_record_visible(struct torci_record *record, uint64_t snapshot, struct torci_clock *clock);

/* The newest committed version of `record`, or NULL. Inside a section. */
struct torci_version *torci_record_newest(struct torci_record *record, struct torci_clock *clock);

static inline bool
torci_version_live(const struct torci_version *version)
{
    return version != NULL && (version->flags & TORCI_VERSION_TOMBSTONE) == 0;
}

static inline size_t
torci_version_bytes(uint32_t value_size)
{
    return offsetof(struct torci_version, bytes) + value_size;
}

#endif

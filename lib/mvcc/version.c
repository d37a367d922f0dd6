/* SPDX-License-Identifier: MIT */
/* mvcc/version: stamps, descriptors and visibility. Invariants, ordering and proof: version.h. */
#include "mvcc/version.h"

#include "base/assert.h"

bool
torci_descriptor_outranks(const struct torci_descriptor *a, const struct torci_descriptor *b)
{
    torc_assert(a != NULL && b != NULL);
    if (a->attempts != b->attempts)
        return a->attempts > b->attempts;
    if (a->snapshot != b->snapshot)
        return a->snapshot < b->snapshot;
    return (uintptr_t)a < (uintptr_t)b;
}

bool
torci_descriptor_overtakes(const struct torci_descriptor *a, const struct torci_descriptor *b)
{
    torc_assert(a != NULL && b != NULL);
    return a->attempts > 2 * b->attempts;
}

bool
torci_descriptor_wound(struct torci_descriptor *descriptor)
{
    uint64_t expected = torci_state_word(TORCI_INSTALLING, 0);

    /* R2. Linearization point of the abort. Relaxed on failure: the caller looks at the state again. */
    return torci_cas(&descriptor->state, &expected, torci_state_word(TORCI_ABORTED, 0), memory_order_seq_cst,
                     memory_order_relaxed);
}

bool
torci_descriptor_begin(struct torci_descriptor *descriptor)
{
    uint64_t expected = torci_state_word(TORCI_INSTALLING, 0);

    /* R2. Relaxed on failure: the caller looks at the state again, or gives up. */
    return torci_cas(&descriptor->state, &expected, torci_state_word(TORCI_DECIDING, 0), memory_order_seq_cst,
                     memory_order_relaxed);
}

/* From DECIDING: take a stamp and offer the next state. Whoever's CAS wins, the state has left DECIDING. */
static void
stamp_decision(struct torci_descriptor *descriptor, struct torci_clock *clock)
{
    uint64_t expected = torci_state_word(TORCI_DECIDING, 0);
    enum torci_state next = descriptor->validate != NULL ? TORCI_VALIDATING : TORCI_COMMITTED;
    uint64_t stamp = torci_clock_write_stamp(clock);

    /* `floor` is a stamp that was given: once more at most. */
    while (stamp <= descriptor->floor) {
        (void)torci_clock_read_stamp(clock);
        stamp = torci_clock_write_stamp(clock);
    }
    torci_race_window();
    /* R2. For snapshot isolation the linearization point of the commit. */
    torci_cas(&descriptor->state, &expected, torci_state_word(next, stamp), memory_order_seq_cst, memory_order_relaxed);
}

uint64_t
torci_descriptor_decide(struct torci_descriptor *descriptor, struct torci_clock *clock)
{
    for (;;) {
        uint64_t word = torci_load(&descriptor->state, memory_order_seq_cst); /* A2 */
        enum torci_state next;

        switch (torci_state_of(word)) {
        case TORCI_DECIDING:
            stamp_decision(descriptor, clock);
            break;
        case TORCI_VALIDATING:
            next = descriptor->validate(descriptor, torci_state_stamp(word)) ? TORCI_COMMITTED : TORCI_ABORTED;
            torci_race_window();
            /* R2. The linearization point of a serializable commit. Failure: somebody else decided. */
            torci_cas(&descriptor->state, &word,
                      torci_state_word(next, next == TORCI_COMMITTED ? torci_state_stamp(word) : 0),
                      memory_order_seq_cst, memory_order_relaxed);
            break;
        default:
            torc_assert(torci_state_of(word) != TORCI_INSTALLING);
            return word;
        }
    }
}

/* A PENDING version gets its stamp from whoever meets it first. */
static void
stamp_pending(struct torci_version *version, struct torci_clock *clock)
{
    uint64_t expected = TORCI_STAMP_PENDING;
    uint64_t stamp = torci_stamp_committed(torci_clock_write_stamp(clock));

    torci_race_window();
    /* R3. Linearization point of a write of one key. Failure: it has a stamp now. */
    torci_cas(&version->stamp, &expected, stamp, memory_order_seq_cst, memory_order_relaxed);
}

struct torci_verdict
torci_version_verdict(struct torci_version *version, struct torci_clock *clock)
{
    struct torci_verdict verdict = {TORCI_FATE_ABORTED, 0, NULL};

    torc_assert(version != NULL && version != torci_frozen());
    for (;;) {
        uint64_t stamp = torci_load(&version->stamp, memory_order_seq_cst); /* A3 */
        struct torci_descriptor *owner;
        uint64_t word;

        if (torci_stamp_tag(stamp) == TORCI_STAMP_COMMITTED) {
            verdict.fate = TORCI_FATE_COMMITTED;
            verdict.stamp = stamp >> 2;
            return verdict;
        }
        if (torci_stamp_tag(stamp) == TORCI_STAMP_PENDING) {
            stamp_pending(version, clock);
            continue;
        }
        owner = torci_stamp_owner(stamp);
        word = torci_load(&owner->state, memory_order_seq_cst); /* A2 */
        switch (torci_state_of(word)) {
        case TORCI_INSTALLING:
            if (owner->single) {
                (void)torci_descriptor_begin(owner);
                continue;
            }
            verdict.fate = TORCI_FATE_INSTALLING;
            verdict.owner = owner;
            return verdict;
        case TORCI_DECIDING:
            stamp_decision(owner, clock);
            continue;
        case TORCI_VALIDATING:
            verdict.fate = TORCI_FATE_VALIDATING;
            verdict.stamp = torci_state_stamp(word);
            verdict.owner = owner;
            return verdict;
        case TORCI_COMMITTED:
            verdict.fate = TORCI_FATE_COMMITTED;
            verdict.stamp = torci_state_stamp(word);
            return verdict;
        case TORCI_ABORTED:
            return verdict;
        }
    }
}

/* Whether `snapshot` sees `version`, deciding what has to be decided for that. */
static bool
sees(struct torci_version *version, uint64_t snapshot, struct torci_clock *clock)
{
    struct torci_verdict verdict = torci_version_verdict(version, clock);

    if (verdict.fate == TORCI_FATE_VALIDATING && verdict.stamp <= snapshot) {
        uint64_t word = torci_descriptor_decide(verdict.owner, clock);

        return torci_state_of(word) == TORCI_COMMITTED;
    }
    return verdict.fate == TORCI_FATE_COMMITTED && verdict.stamp <= snapshot;
}

struct torci_version *
torci_record_visible(struct torci_record *record, uint64_t snapshot, struct torci_clock *clock)
{
    struct torci_version *version = torci_load(&record->head, memory_order_seq_cst); /* A1 */

    torc_assert(snapshot % 2 == 0);
    if (version == torci_frozen())
        return NULL;
    while (version != NULL && !sees(version, snapshot, clock))
        version = torci_load(&version->older, memory_order_acquire); /* A4 */
    return version;
}

struct torci_version *
torci_record_newest(struct torci_record *record, struct torci_clock *clock)
{
    struct torci_version *version = torci_load(&record->head, memory_order_seq_cst); /* A1 */
    struct torci_version *older;
    struct torci_verdict verdict;

    if (version == NULL || version == torci_frozen())
        return NULL;
    /* Below first, then the fate: no snapshot of ours keeps what is below, and once `version` has committed it may be
     * pruned, down to versions that only older snapshots need. Not committed yet at the second look means that nobody
     * had changed the link at the first. */
    older = torci_load(&version->older, memory_order_acquire); /* A4. By I1 committed. */
    torci_race_window();
    verdict = torci_version_verdict(version, clock);
    if (verdict.fate == TORCI_FATE_COMMITTED)
        return version;
    /* Its stamp may lie below a snapshot that is open already: who reads below it now would contradict that one. */
    if (verdict.fate == TORCI_FATE_VALIDATING &&
        torci_state_of(torci_descriptor_decide(verdict.owner, clock)) == TORCI_COMMITTED)
        return version;
    return older;
}

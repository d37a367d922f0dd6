/* SPDX-License-Identifier: MIT */
/* stress/history: what one thread did to a store, in its own words, for the checkers.
 *
 *   entries [ 0 | 1 | 2 | ... ]        one entry for each transaction attempt or autocommit step, in time order
 *             |   |
 *   ops     [ r w | s e e e | ... ]    what it did, in order
 *
 * One history per thread and no word shared between threads: a shared counter would order the threads and hide bugs.
 * Moments are CLOCK_MONOTONIC, called before a call and returned after it; stamps are the store's own.
 *
 * A value is named by a 64-bit id that no other write has: thread + 1 in the upper 24 bits, a number that grows in the
 * lower 40. Id 0 is absence. Keys are numbers, each of one keyspace; within a keyspace their order is the order of the
 * names that stand for them.
 *
 * Values may expire, by a time that only grows: an entry's looks were between time_first and time_last.
 * A value that a merge made names the value that it was made of: a fact, noted by whoever reads it. */
#ifndef TORCT_HISTORY_H
#define TORCT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TORCT_ID_THREAD_SHIFT = 40,
};
#define TORCT_ID_ABSENT UINT64_C(0)
#define TORCT_ID_DAMAGED UINT64_MAX         /* A value that is not what anybody wrote under this key. */
#define TORCT_ID_PLAIN (UINT64_MAX - 1)     /* In the place of what a value was made of: of nothing. */
#define TORCT_KEY_NONE UINT32_MAX
#define TORCT_TIME_NEVER UINT32_MAX

enum torct_op_kind {
    TORCT_OP_READ,          /* `key` had the value `id`. */
    TORCT_OP_FOUND,         /* `key` had some value. */
    TORCT_OP_WRITE,         /* `key` was given the value `id`; absent: it was deleted. */
    TORCT_OP_LOCK,          /* get_for_update: as a read of `id`, and a write of what was there. */
    TORCT_OP_SCAN,          /* Ascending over keys [key, id), exactly; the items found follow. */
    TORCT_OP_SCAN_REVERSE,
    TORCT_OP_ITEM,          /* `key` with `id`, in a scan. */
    TORCT_OP_REFUSED,       /* A write of `key` was refused: somebody had committed it since. */
    TORCT_OP_OTHER,         /* `key` had some value, but not `id`. */
    TORCT_OP_MERGE,         /* As a write of `id`; what others write meanwhile is no conflict. */
    TORCT_OP_SAVEPOINT,
    TORCT_OP_ROLLBACK,      /* What was written since operation `id` of the entry counts no more. */
};

struct torct_op {
    uint64_t id;
    uint32_t key;
    uint32_t expires;       /* Of a write: when; 0: never. Of a read: what was told; 0: not asked; or TIME_NEVER. */
    uint16_t kind;          /* enum torct_op_kind */
    uint16_t undone_by;     /* Of a write: the operation of its entry that rolled it back; 0: none. */
};

/* The value `id` of `key` was made of the value `before`. */
struct torct_fact {
    uint64_t id;
    uint64_t before;
    uint32_t key;
};

enum torct_outcome {
    TORCT_COMMITTED,
    TORCT_ABORTED,          /* By its user. */
    TORCT_CONFLICTED,
    TORCT_REFUSED,          /* By a limit. */
};

struct torct_entry {
    uint64_t snapshot;
    uint64_t stamp;         /* Of its commit; 0: it wrote nothing. */
    uint64_t begin_called;  /* Moments. For autocommit all four are the step's own. */
    uint64_t begin_returned;
    uint64_t commit_called;
    uint64_t commit_returned;
    uint64_t time_first;    /* By which values expire: before its first look, and after its last. */
    uint64_t time_last;
    uint32_t first_op;
    uint32_t ops;
    uint32_t conflict_key;  /* What torc_conflict_key() said, or TORCT_KEY_NONE. */
    uint8_t outcome;        /* enum torct_outcome */
    bool automatic;         /* An autocommit step. */
    bool serializable;
    bool read_only;
    bool past;              /* A snapshot of the past: it was not taken at begin. */
};

struct torct_history {
    struct torct_entry *entries;
    struct torct_op *ops;
    struct torct_fact *facts;
    uint32_t fact_count, fact_capacity;
    uint32_t entry_count, entry_capacity;
    uint32_t op_count, op_capacity;
    uint64_t id_prefix;     /* Of the ids this thread writes. */
    uint64_t id_first;      /* The number of the first id since the last clear. */
    uint64_t id_next;
};

/* False: no memory. `thread` from 0. */
bool torct_history_init(struct torct_history *history, unsigned thread, uint32_t entry_capacity, uint32_t op_capacity);
void torct_history_fini(struct torct_history *history);

/* Forget the entries, go on with the ids. */
void torct_history_clear(struct torct_history *history);

/* Whether `entries` more entries with `ops` more operations fit. The caller looks before it begins. */
bool torct_history_fits(const struct torct_history *history, uint32_t entries, uint32_t ops);

/* An id that no value has had. */
uint64_t torct_history_new_id(struct torct_history *history);

/* Begin an entry, zeroed but for its place; operations are added to the entry begun last. */
struct torct_entry *torct_history_begin(struct torct_history *history);

/* Add an operation. Returns it, to be amended: a scan learns its bounds at its end. */
struct torct_op *torct_history_add(struct torct_history *history, enum torct_op_kind kind, uint32_t key, uint64_t id);

/* Add a fact; one that finds no room is left out. */
void torct_history_fact(struct torct_history *history, uint32_t key, uint64_t id, uint64_t before);

/* Note that the open entry was rolled back to its operation `savepoint`. */
void torct_history_rollback(struct torct_history *history, uint32_t savepoint);

/* Whether an operation makes a version, if its entry commits. */
static inline bool
torct_op_writes(const struct torct_op *op)
{
    return (op->kind == TORCT_OP_WRITE || op->kind == TORCT_OP_LOCK || op->kind == TORCT_OP_MERGE) &&
           op->undone_by == 0;
}

/* Whether an entry wrote, or (but for `writes_only`) read or scanned `key`. */
bool torct_history_touched(const struct torct_history *history, const struct torct_entry *entry, uint32_t key,
                           bool writes_only);

static inline unsigned
torct_id_thread(uint64_t id)
{
    return (unsigned)(id >> TORCT_ID_THREAD_SHIFT) - 1;
}

static inline uint64_t
torct_id_number(uint64_t id)
{
    return id & ((UINT64_C(1) << TORCT_ID_THREAD_SHIFT) - 1);
}

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/history_testing: what the fiber and explorer tests of this chapter share: scripts played against a small store,
 * a history of what each call saw, and the axioms that every history must keep.
 *
 *   plan(world) --> scripts[fiber] --> torct_play() --> logs[fiber] --> torct_holds(): axioms, conservation
 *
 * Axioms (each value is written once, so a value names its write; stamps are the store's own)
 *   A1  a read at snapshot s shows the newest write with a stamp <= s; a borrowed value stays as it is to the end
 *   A2  of two commits of a key that check for conflicts, one's stamp is not later than the other's snapshot
 *   A3  what returned before something else began has the smaller stamp, or is in its snapshot
 *   A4  a call on one key reads a write no older than any that was seen, or returned, before it began
 *   A5  serializable transactions: some order in real time explains all reads (searched)
 *   A6  at the end get, scan and the axioms agree; versions made = versions freed + keys; closing finds every byte
 * A frozen commit may have happened or not: the axioms must hold for one of all the stamps it may have. */
#ifndef TORCT_HISTORY_TESTING_H
#define TORCT_HISTORY_TESTING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/annotate.h"
#include "base/fiber.h"
#include "base/testing.h"
#include "mvcc/keyspace.h"
#include "mvcc/reclaim.h"
#include "mvcc/txn.h"

enum {
    TORCT_KEYS = 3,
    TORCT_FIBERS = 3,
    TORCT_STEPS = 6,        /* Of one transaction. */
    TORCT_PLANS = 6,        /* Of one fiber. */
    TORCT_LOG = 24,         /* Entries of one fiber. */
    TORCT_SERIAL_MAX = 31,  /* Transactions whose order is searched. */
};

enum torct_step_kind {
    TORCT_GET,
    TORCT_PUT,
    TORCT_DELETE,
    TORCT_SCAN,
    TORCT_SCAN_DOWN,
    TORCT_SWEEP,
    TORCT_WALK,
    TORCT_PRUNE
};

struct torct_step {
    enum torct_step_kind kind;
    unsigned key;
};

enum torct_mode {
    TORCT_SNAPSHOT,
    TORCT_SERIALIZABLE,
    TORCT_READ_ONLY,
    TORCT_SINGLE,       /* Each step is a call of its own. */
};

/* One transaction, tried until it commits. */
struct torct_plan {
    enum torct_mode mode;
    unsigned count;
    struct torct_step steps[TORCT_STEPS];
    bool abort;
};

struct torct_script {
    unsigned count;
    struct torct_plan plans[TORCT_PLANS];
};

struct torct_access {
    unsigned key;
    uint64_t value;     /* 0: absent. */
};

/* What one attempt, or one call, did. Moments are ticks; 0: has not come. */
struct torct_entry {
    enum torct_mode mode;
    uint64_t begins, began;         /* Around begin. A single call: around the call, with the next two. */
    uint64_t commits, committed;    /* Around the commit; `committed` only if it did. */
    bool ended;                     /* Nothing of it is on its way. */
    uint64_t snapshot;
    uint64_t stamp;                 /* 0: unknown, or it wrote nothing. */
    unsigned reads_count, writes_count;
    struct torct_access reads[2 * TORCT_STEPS * TORCT_KEYS];
    struct torct_access writes[TORCT_KEYS];
};

struct torct_log {
    unsigned count;
    struct torct_entry entries[TORCT_LOG];
};

/* Memory that is given back as a whole, for schedules whose frozen fibers never give theirs back. */
struct torct_pool {
    size_t used;
    _Alignas(64) unsigned char bytes[4 << 20];
};

struct torct_open;

struct torct_world {
    void (*plan)(struct torct_world *world);    /* Fills `scripts`; may draw. */
    unsigned present;                           /* Bit mask of keys that have a value at first. */
    unsigned collect_one_in;                    /* Collect and count at the end of one schedule in so many; 0: never. */
    bool serial;                                /* A5. */
    struct torct_pool *pool;
    struct torc_mvcc *store;
    struct torct_script scripts[TORCT_FIBERS + 1];  /* The last one: setup's, played after the early steps. */
    /* Steps of a fiber's first transaction that setup does for it. Setup's own stays open until the last look. */
    unsigned early[TORCT_FIBERS + 1];
    struct torct_open *opened[TORCT_FIBERS + 1];
    struct torct_log logs[TORCT_FIBERS + 1];    /* The last one: setup's. */
    uint64_t failing_seed;
};

/* ---- Hidden from the explorer: the order of real time, which the axioms are about -------------------------------- */

static uint64_t torct_ticks;

TORCI_THREAD_LOCAL_ONLY
static inline uint64_t
torct_tick(void)
{
    return ++torct_ticks;
}

/* How many schedules a test runs: `base`, times TORC_SCHEDULES in percent from the environment. The explorer is slower
 * and gets fewer. */
static inline uint64_t
torct_schedules(uint64_t base)
{
    const char *percent = getenv("TORC_SCHEDULES");

#if defined(TORC_ATOMIC_EXPLORER)
    base = base / 5 + 1;
#endif
    return percent == NULL ? base : base * strtoull(percent, NULL, 10) / 100 + 1;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/* A value checks itself, so that freed memory cannot pass for one. */
struct torct_value {
    uint64_t name;
    uint64_t check;
};

static inline struct torc_slice
torct_key(unsigned key)
{
    static const char names[TORCT_KEYS][2] = {"a", "b", "c"};

    return torc_slice(names[key], 1);
}

static inline uint64_t
torct_value_of(struct torc_slice slice)
{
    struct torct_value value;

    if (slice.size != sizeof value)
        torci_fail_here("a value has the wrong size");
    memcpy(&value, slice.data, sizeof value);
    if (value.check != ~value.name || value.name == 0)
        torci_fail_here("a value is torn or freed");
    return value.name;
}

static inline void
torct_read(struct torct_entry *entry, unsigned key, uint64_t value)
{
    entry->reads[entry->reads_count++] = (struct torct_access){key, value};
}

static inline void
torct_wrote(struct torct_entry *entry, unsigned key, uint64_t value)
{
    for (unsigned i = 0; i < entry->writes_count; i++)
        if (entry->writes[i].key == key) {
            entry->writes[i].value = value;
            return;
        }
    entry->writes[entry->writes_count++] = (struct torct_access){key, value};
}

/* The entry's own write of `key`, or NULL. */
static inline const struct torct_access *
torct_own(const struct torct_entry *entry, unsigned key)
{
    for (unsigned i = 0; i < entry->writes_count; i++)
        if (entry->writes[i].key == key)
            return &entry->writes[i];
    return NULL;
}

/* ---- Playing a script -------------------------------------------------------------------------------------------- */

static inline struct torct_entry *
torct_entry_next(struct torct_log *log, enum torct_mode mode)
{
    struct torct_entry *entry = &log->entries[log->count++];

    if (log->count > TORCT_LOG)
        torci_fail_here("the log is too small");
    memset(entry, 0, sizeof *entry);
    entry->mode = mode;
    return entry;
}

/* Slices that were borrowed, to be looked at again at the end. */
struct torct_borrowed {
    unsigned count;
    struct torc_slice slices[2 * TORCT_STEPS * TORCT_KEYS];
    uint64_t values[2 * TORCT_STEPS * TORCT_KEYS];
};

static inline void
torct_borrow(struct torct_borrowed *borrowed, struct torc_slice slice, uint64_t value)
{
    borrowed->slices[borrowed->count] = slice;
    borrowed->values[borrowed->count++] = value;
}

/* A value that a transaction was shown: its own write, or a read to be checked. */
static inline void
torct_shown(struct torct_entry *entry, struct torct_borrowed *borrowed, unsigned key, struct torc_slice slice)
{
    uint64_t value = slice.data == NULL ? 0 : torct_value_of(slice);
    const struct torct_access *own = torct_own(entry, key);

    if (own != NULL) {
        if (own->value != value)
            torci_fail_here("a transaction does not see its own write");
        return;
    }
    torct_read(entry, key, value);
    if (value != 0)
        torct_borrow(borrowed, slice, value);
}

static inline void
torct_scan(struct torc_txn *txn, struct torct_entry *entry, struct torct_borrowed *borrowed, bool descending)
{
    struct torc_scan_options options = {.reverse = descending};
    struct torc_slice values[TORCT_KEYS] = {{NULL, 0}};
    struct torc_cursor *cursor;
    struct torc_slice key;
    struct torc_slice value;
    int last = descending ? TORCT_KEYS : -1;

    if (torc_txn_scan(txn, &options, &cursor) != TORC_OK)
        torci_fail_here("a scan was refused");
    while (torc_cursor_next(cursor, &key, &value) == TORC_OK) {
        int number = ((const char *)key.data)[0] - 'a';

        if (key.size != 1 || (descending ? number >= last : number <= last))
            torci_fail_here("a scan is out of order");
        values[number] = value;
        last = number;
    }
    torc_cursor_close(cursor);
    for (unsigned i = 0; i < TORCT_KEYS; i++)
        torct_shown(entry, borrowed, i, values[i]);
}

/* One step inside a transaction; false: it is lost already. */
static inline bool
torct_step(struct torc_txn *txn, struct torct_entry *entry, struct torct_borrowed *borrowed,
           const struct torct_step *step, uint64_t name)
{
    struct torct_value value = {name, ~name};
    struct torc_slice slice;
    enum torc_status status = TORC_OK;

    switch (step->kind) {
    case TORCT_GET:
        status = torc_txn_get(txn, torct_key(step->key), &slice);
        if (status == TORC_OK || status == TORC_NOT_FOUND)
            torct_shown(entry, borrowed, step->key, slice);
        break;
    case TORCT_PUT:
        status = torc_txn_put(txn, torct_key(step->key), torc_slice(&value, sizeof value));
        if (status == TORC_OK)
            torct_wrote(entry, step->key, name);
        break;
    case TORCT_DELETE:
        status = torc_txn_delete(txn, torct_key(step->key));
        if (status == TORC_OK)
            torct_wrote(entry, step->key, 0);
        else if (status == TORC_NOT_FOUND)
            torct_shown(entry, borrowed, step->key, torc_slice(NULL, 0));
        break;
    case TORCT_SCAN:
    case TORCT_SCAN_DOWN:
        torct_scan(txn, entry, borrowed, step->kind == TORCT_SCAN_DOWN);
        break;
    default:
        torci_fail_here("no such step in a transaction");
    }
    if (status != TORC_OK && status != TORC_NOT_FOUND && status != TORC_CONFLICT)
        torci_fail_here("a step failed");
    return status != TORC_CONFLICT;
}

static inline uint64_t
torct_name(unsigned number, const struct torct_log *log, unsigned step)
{
    return (uint64_t)(number + 1) << 16 | (uint64_t)log->count << 8 | step;
}

/* A transaction on its way. */
struct torct_open {
    const struct torct_plan *plan;
    struct torct_entry *entry;
    struct torc_txn *txn;
    unsigned done;              /* Steps. */
    bool lost;
    struct torct_borrowed borrowed;
};

static inline void
torct_begin(struct torct_world *world, unsigned number, const struct torct_plan *plan, struct torct_open *open)
{
    struct torc_txn_options options = {.isolation =
                                           plan->mode == TORCT_SERIALIZABLE ? TORC_SERIALIZABLE : TORC_SNAPSHOT,
                                       .read_only = plan->mode == TORCT_READ_ONLY};

    open->plan = plan;
    open->entry = torct_entry_next(&world->logs[number], plan->mode);
    open->done = 0;
    open->lost = false;
    open->borrowed.count = 0;
    open->entry->begins = torct_tick();
    if (torc_txn_begin(world->store, &options, &open->txn) != TORC_OK)
        torci_fail_here("begin failed");
    open->entry->snapshot = torc_txn_snapshot(open->txn);
    open->entry->began = torct_tick();
}

static inline void
torct_proceed(struct torct_world *world, unsigned number, struct torct_open *open, unsigned steps)
{
    for (; open->done < steps && !open->lost; open->done++)
        open->lost = !torct_step(open->txn, open->entry, &open->borrowed, &open->plan->steps[open->done],
                                 torct_name(number, &world->logs[number], open->done));
}

/* Commit it; whether it is over. */
static inline bool
torct_end(struct torct_open *open)
{
    struct torct_entry *entry = open->entry;
    enum torc_status status;

    for (unsigned i = 0; i < open->borrowed.count; i++)
        if (torct_value_of(open->borrowed.slices[i]) != open->borrowed.values[i])
            torci_fail_here("a borrowed value has changed");
    if (open->plan->abort || open->lost) {
        torc_txn_abort(open->txn);
        entry->ended = true;
        return open->plan->abort;
    }
    entry->commits = torct_tick();
    status = torc_txn_commit(open->txn);
    if (status == TORC_OK) {
        entry->stamp = entry->writes_count > 0 ? torc_last_commit() : 0;
        entry->committed = torct_tick();
    } else if (status != TORC_CONFLICT || entry->writes_count == 0) {
        torci_fail_here("a commit failed");
    }
    entry->ended = true;
    return status == TORC_OK;
}

/* One attempt at a transaction; whether it is over. */
static inline bool
torct_attempt(struct torct_world *world, unsigned number, const struct torct_plan *plan)
{
    struct torct_open open;

    torct_begin(world, number, plan, &open);
    torct_proceed(world, number, &open, plan->count);
    return torct_end(&open);
}

/* What a commit of `key` does about its chain, with a fresh look at the snapshots. */
static inline void
torct_prune(struct torc_mvcc *store, unsigned key)
{
    struct torci_shard *shard = torci_shard_own(store);
    uint64_t order = torci_key_order(store, torct_key(key));
    struct torci_epoch_guard guard;
    struct torci_record *record;

    torci_view_refresh(&shard->view, store);
    guard = torci_epoch_enter();
    record = torci_index_find(store->main->index, guard, torct_key(key), order);
    if (record != NULL)
        torci_reclaim_touch(shard, guard, record, torci_clock_now(&store->clock));
    torci_epoch_exit(guard);
}

/* One call of its own. */
static inline void
torct_single(struct torct_world *world, unsigned number, const struct torct_step *step)
{
    struct torct_log *log = &world->logs[number];
    struct torct_entry *entry = torct_entry_next(log, TORCT_SINGLE);
    uint64_t name = torct_name(number, log, 0);
    struct torct_value value = {name, ~name};
    size_t size;
    enum torc_status status = TORC_OK;

    entry->begins = entry->began = entry->commits = torct_tick();
    switch (step->kind) {
    case TORCT_GET:
        status = torc_mvcc_get(world->store, torct_key(step->key), &value, sizeof value, &size);
        torct_read(entry, step->key, status == TORC_OK ? torct_value_of(torc_slice(&value, size)) : 0);
        break;
    case TORCT_PUT:
        torct_wrote(entry, step->key, name);
        status = torc_mvcc_put(world->store, torct_key(step->key), torc_slice(&value, sizeof value), NULL);
        entry->stamp = torc_last_commit();
        break;
    case TORCT_DELETE:
        torct_wrote(entry, step->key, 0);
        status = torc_mvcc_delete(world->store, torct_key(step->key));
        entry->stamp = torc_last_commit();
        if (status == TORC_NOT_FOUND) {
            entry->writes_count = 0;
            entry->stamp = 0;
            torct_read(entry, step->key, 0);
        }
        break;
    case TORCT_SWEEP:
        (void)torci_reclaim_sweep(torci_shard_own(world->store));
        break;
    case TORCT_WALK:
        status = torci_walk_all(world->store, torci_reclaim_visit, torci_shard_own(world->store));
        break;
    case TORCT_PRUNE:
        torct_prune(world->store, step->key);
        break;
    default:
        torci_fail_here("no such single call");
    }
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        torci_fail_here("a single call failed");
    entry->committed = torct_tick();
    entry->ended = true;
}

static inline void
torct_play(void *context, unsigned number)
{
    struct torct_world *world = context;
    const struct torct_script *script = &world->scripts[number];

    for (unsigned p = 0; p < script->count; p++) {
        const struct torct_plan *plan = &script->plans[p];

        if (plan->mode == TORCT_SINGLE) {
            for (unsigned i = 0; i < plan->count; i++)
                torct_single(world, number, &plan->steps[i]);
            continue;
        }
        if (p == 0 && world->early[number] > 0) {
            if (number == TORCT_FIBERS)
                continue;
            torct_proceed(world, number, world->opened[number], plan->count);
            if (torct_end(world->opened[number]))
                continue;
        }
        while (!torct_attempt(world, number, plan)) {
        }
    }
}

/* ---- The axioms -------------------------------------------------------------------------------------------------- */

/* All entries of a schedule, with the stamp that is tried for the one that froze in its commit. */
struct torct_history {
    unsigned count;
    struct torct_entry *entries[(TORCT_FIBERS + 1) * TORCT_LOG];
};

/* Whether its writes happened. */
static inline bool
torct_happened(const struct torct_entry *entry)
{
    return entry->stamp != 0;
}

/* Whether one of the newest writes of `key` up to `limit` was `value` (blind ones may tie). */
static inline bool
torct_newest_is(const struct torct_history *history, unsigned key, uint64_t limit, uint64_t value)
{
    uint64_t newest = 0;
    bool is = value == 0;

    for (unsigned i = 0; i < history->count; i++) {
        const struct torct_entry *entry = history->entries[i];
        const struct torct_access *write = torct_own(entry, key);

        if (!torct_happened(entry) || write == NULL || entry->stamp > limit || entry->stamp < newest)
            continue;
        is = (entry->stamp == newest && is) || write->value == value;
        newest = entry->stamp;
    }
    return is;
}

/* A1, A2, A3 for a pair: `a` wrote. */
static inline const char *
torct_pair(const struct torct_entry *a, const struct torct_entry *b)
{
    if (b->snapshot != 0 && a->committed != 0 && a->committed < b->begins && a->stamp > b->snapshot)
        return "A3: a commit that returned is not in a later snapshot";
    if (b->snapshot != 0 && a->commits > b->began && a->stamp < b->snapshot)
        return "A3: a snapshot holds a commit that began after it";
    if (!torct_happened(b) || a == b)
        return NULL;
    if (a->committed != 0 && a->committed < b->commits && a->stamp > b->stamp)
        return "A3: stamps are not in the order of commits";
    if (b->snapshot == 0)
        return NULL;
    for (unsigned i = 0; i < a->writes_count; i++) {
        if (torct_own(b, a->writes[i].key) == NULL)
            continue;
        if (b->snapshot < a->stamp && a->stamp < b->stamp)
            return "A2: a commit went over one that its snapshot did not hold";
        if (a->snapshot != 0 && a->stamp == b->stamp)
            return "A2: two checked commits of a key share a stamp";
    }
    return NULL;
}

/* The stamp of the write named `value`, 0 for the absence before all writes; UINT64_MAX: nobody committed it. */
static inline uint64_t
torct_stamp_of(const struct torct_history *history, unsigned key, uint64_t value, uint64_t least)
{
    uint64_t best = value == 0 && least == 0 ? 0 : UINT64_MAX;

    for (unsigned i = 0; i < history->count; i++) {
        const struct torct_entry *entry = history->entries[i];
        const struct torct_access *write = torct_own(entry, key);

        if (torct_happened(entry) && write != NULL && write->value == value && entry->stamp >= least &&
            entry->stamp < best)
            best = entry->stamp;
    }
    return best;
}

/* A4 for one single read. Stamps below which it must not read: of what ended before it began. */
static inline const char *
torct_single_read(const struct torct_history *history, const struct torct_entry *reader,
                  const struct torct_access *read)
{
    uint64_t least = 0;
    uint64_t stamp;

    for (unsigned i = 0; i < history->count; i++) {
        const struct torct_entry *entry = history->entries[i];

        if (entry->committed == 0 || entry->committed >= reader->begins)
            continue;
        if (torct_happened(entry) && torct_own(entry, read->key) != NULL && entry->stamp > least)
            least = entry->stamp;
        for (unsigned r = 0; r < entry->reads_count; r++) {
            uint64_t seen;

            if (entry->reads[r].key != read->key || entry->reads[r].value == 0)
                continue;
            seen = torct_stamp_of(history, read->key, entry->reads[r].value, 0);
            if (seen != UINT64_MAX && seen > least)
                least = seen;
        }
    }
    stamp = torct_stamp_of(history, read->key, read->value, least);
    if (stamp == UINT64_MAX)
        return read->value == 0 ? "A4: a key that is there was not found"
                                : "A4: a read of what was not committed, or went back";
    for (unsigned i = 0; i < history->count; i++) {
        const struct torct_entry *entry = history->entries[i];

        if (read->value != 0 && entry->snapshot != 0 && entry->begins > reader->committed && entry->snapshot < stamp)
            return "A4: a value that was read is not in a later snapshot";
    }
    return NULL;
}

/* ---- A5 ---------------------------------------------------------------------------------------------------------- */

struct torct_serial {
    unsigned count;
    const struct torct_entry *entries[TORCT_SERIAL_MAX];
    uint32_t before[TORCT_SERIAL_MAX];      /* Bit mask: must come earlier. */
};

static inline bool
torct_serial_from(const struct torct_serial *serial, uint32_t done, const uint64_t *state)
{
    if (done == (UINT32_C(1) << serial->count) - 1)
        return true;
    for (unsigned i = 0; i < serial->count; i++) {
        const struct torct_entry *entry = serial->entries[i];
        uint64_t next[TORCT_KEYS];
        bool fits = (done & UINT32_C(1) << i) == 0 && (serial->before[i] & ~done) == 0;

        for (unsigned r = 0; fits && r < entry->reads_count; r++)
            fits = state[entry->reads[r].key] == entry->reads[r].value;
        if (!fits)
            continue;
        memcpy(next, state, sizeof next);
        for (unsigned w = 0; w < entry->writes_count; w++)
            next[entry->writes[w].key] = entry->writes[w].value;
        if (torct_serial_from(serial, done | UINT32_C(1) << i, next))
            return true;
    }
    return false;
}

/* Whether one order explains all, single calls included. */
static inline bool
torct_serializable(const struct torct_history *history)
{
    uint64_t state[TORCT_KEYS] = {0};
    struct torct_serial serial = {0};

    for (unsigned i = 0; i < history->count; i++) {
        const struct torct_entry *entry = history->entries[i];

        if (entry->committed == 0 && !torct_happened(entry))
            continue;
        if (serial.count == TORCT_SERIAL_MAX)
            return true;
        serial.entries[serial.count++] = entry;
    }
    for (unsigned i = 0; i < serial.count; i++)
        for (unsigned j = 0; j < serial.count; j++) {
            uint64_t ended = serial.entries[j]->committed;

            if (ended != 0 && ended < serial.entries[i]->begins)
                serial.before[i] |= UINT32_C(1) << j;
        }
    return torct_serial_from(&serial, 0, state);
}

/* The first axiom that does not hold, or NULL. */
static inline const char *
torct_axioms(const struct torct_history *history, bool serial)
{
    const char *fault = NULL;

    for (unsigned i = 0; i < history->count && fault == NULL; i++) {
        const struct torct_entry *entry = history->entries[i];

        if (torct_happened(entry) && (entry->stamp % 2 == 0 || entry->stamp <= entry->snapshot))
            return "A3: a stamp that cannot be";
        for (unsigned r = 0; r < entry->reads_count && fault == NULL; r++) {
            if (entry->mode == TORCT_SINGLE)
                fault = torct_single_read(history, entry, &entry->reads[r]);
            else if (!torct_newest_is(history, entry->reads[r].key, entry->snapshot, entry->reads[r].value))
                fault = "A1: a read is not what its snapshot holds";
        }
        for (unsigned j = 0; torct_happened(entry) && j < history->count && fault == NULL; j++)
            fault = torct_pair(entry, history->entries[j]);
    }
    if (fault == NULL && serial && !torct_serializable(history))
        fault = "A5: no order of the transactions explains what they read";
    return fault;
}

/* ---- The frame of a schedule ------------------------------------------------------------------------------------- */

static inline bool
torct_fail(const char *reason)
{
    torci_fail_here(reason);
    return false;
}

static inline bool
torct_any_frozen(void)
{
    bool any = false;

    for (unsigned i = 0; i < TORCT_FIBERS; i++)
        any |= torci_fiber_is_frozen(i);
    return any;
}

/* A6: the last look, by get and by scan, joins the history. */
static inline void
torct_last_look(struct torct_world *world)
{
    static const struct torct_plan look = {
        TORCT_READ_ONLY, 3, {{TORCT_SCAN, 0}, {TORCT_SCAN_DOWN, 0}, {TORCT_GET, 0}}, false};
    static const struct torct_plan gets = {
        TORCT_SINGLE, 3, {{TORCT_GET, 0}, {TORCT_GET, 1}, {TORCT_GET, 2}}, false};
    unsigned number = TORCT_FIBERS;

    if (!torct_attempt(world, number, &look))
        torci_fail_here("the last look failed");
    for (unsigned i = 0; i < gets.count; i++)
        torct_single(world, number, &gets.steps[i]);
}

/* Work off every shard. Exclusive: so also those whose index a living thread (the reclaimer) has inherited. */
static inline void
torct_sweep_all(struct torc_mvcc *store)
{
    for (unsigned round = 0; round < 6; round++) {
        for (uint32_t index = 0; index < torci_thread_index_bound(); index++) {
            struct torci_shard *shard = torci_shard_at(store, index);

            if (shard == NULL)
                continue;
            (void)torci_limbo_drain(shard->limbo);
            (void)torci_reclaim_sweep(shard);
        }
        torci_epoch_barrier();
    }
}

/* A6: what is made is freed, but for one version of each key. */
static inline const char *
torct_conserved(struct torct_world *world, unsigned keys)
{
    struct torc_mvcc_stats stats;
    struct torci_index_stats index;

    torct_sweep_all(world->store);
    if (torc_mvcc_stats(world->store, &stats) != TORC_OK || stats.versions_created - stats.versions_freed != keys)
        return "A6: the queues do not know of all versions that could go";
    if (torc_mvcc_collect(world->store) != TORC_OK || torc_mvcc_stats(world->store, &stats) != TORC_OK)
        return "A6: collecting failed";
    torci_index_stats(world->store->main->index, &index);
    if (stats.keys != keys)
        return "A6: keys are counted wrong";
    if (stats.versions_created - stats.versions_freed != keys)
        return "A6: versions are lost";
    if (index.records != keys)
        return "A6: records are lost";
    if (stats.open_transactions != 0 || stats.retired_bytes != 0)
        return "A6: something is left open";
    return NULL;
}

static inline bool
torct_holds(void *context)
{
    struct torct_world *world = context;
    struct torct_history history = {0};
    struct torct_entry *unknown = NULL;
    struct torct_log *last = &world->logs[TORCT_FIBERS];
    const char *fault;
    unsigned keys = 0;

    if (world->early[TORCT_FIBERS] > 0) {
        torct_proceed(world, TORCT_FIBERS, world->opened[TORCT_FIBERS], world->opened[TORCT_FIBERS]->plan->count);
        (void)torct_end(world->opened[TORCT_FIBERS]);
    }
    torct_last_look(world);
    for (unsigned i = 0; i < TORCT_KEYS; i++)
        keys += last->entries[last->count - TORCT_KEYS + i].reads[0].value != 0;
    for (unsigned f = 0; f <= TORCT_FIBERS; f++)
        for (unsigned i = 0; i < world->logs[f].count; i++) {
            struct torct_entry *entry = &world->logs[f].entries[i];

            history.entries[history.count++] = entry;
            if (!entry->ended && entry->commits != 0)
                unknown = entry;
        }
    fault = torct_axioms(&history, world->serial);
    if (unknown != NULL && unknown->writes_count > 0) {
        uint64_t newest = torci_clock_now(&world->store->clock) + 1;

        for (unknown->stamp = 3; fault != NULL && unknown->stamp <= newest; unknown->stamp += 2)
            fault = torct_axioms(&history, world->serial);
    }
    if (fault == NULL && !torct_any_frozen() && world->collect_one_in > 0 &&
        torci_fiber_random() % world->collect_one_in == 0)
        fault = torct_conserved(world, keys);
    return fault == NULL || torct_fail(fault);
}

TORCI_THREAD_LOCAL_ONLY /* An allocator synchronizes; this one lives on a single thread. */
static inline void *
torct_pool_allocate(void *context, size_t size)
{
    struct torct_pool *pool = context;
    void *memory = pool->bytes + pool->used;

    size = (size + 15) & ~(size_t)15;
    if (size > sizeof pool->bytes - pool->used)
        return NULL;
    pool->used += size;
    return memory;
}

static inline void
torct_pool_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)memory;
    (void)size;
}

/* A store for one schedule, in `pool` unless that is NULL. */
static inline struct torc_mvcc *
torct_open_in_pool(struct torct_pool *pool)
{
    struct torc_allocator allocator = {torct_pool_allocate, torct_pool_release, pool};
    struct torc_mvcc_options options;
    struct torc_mvcc *store;

    torc_mvcc_options_init(&options);
    options.expected_keys = 1;
    options.hash_seed = 1 + torci_fiber_random() % 8;
    if (pool != NULL) {
        pool->used = 0;
        options.allocator = &allocator;
    }
    if (torc_mvcc_open(&options, &store) != TORC_OK)
        torci_fail_here("no store");
    return store;
}

static inline void
torct_setup(void *context)
{
    struct torct_world *world = context;

    torct_ticks = 0;
    for (unsigned i = 0; i <= TORCT_FIBERS; i++)
        world->logs[i].count = 0;
    world->store = torct_open_in_pool(world->pool);
    for (unsigned key = 0; key < TORCT_KEYS; key++)
        if (world->present & 1u << key)
            torct_single(world, TORCT_FIBERS, &(struct torct_step){TORCT_PUT, key});
    memset(world->scripts, 0, sizeof world->scripts);
    memset(world->early, 0, sizeof world->early);
    world->plan(world);
    for (unsigned i = 0; i <= TORCT_FIBERS; i++) {
        static struct torct_open opened[TORCT_FIBERS + 1];

        if (world->early[i] == 0)
            continue;
        world->opened[i] = &opened[i];
        torct_begin(world, i, &world->scripts[i].plans[0], &opened[i]);
        torct_proceed(world, i, &opened[i], world->early[i]);
    }
    torct_play(world, TORCT_FIBERS);
}

static inline void
torct_teardown(void *context)
{
    struct torct_world *world = context;

    /* What a frozen fiber holds it holds for ever: the pool is emptied instead. */
    if (world->pool == NULL && torc_mvcc_close(world->store) != TORC_OK)
        torci_fail_here("the store does not close");
}

static inline struct torci_run
torct_run_of(struct torct_world *world, uint64_t schedules)
{
    return (struct torci_run){.fibers = TORCT_FIBERS, .setup = torct_setup, .body = torct_play, .check = torct_holds,
                              .teardown = torct_teardown, .context = world, .seed = torct_seed(),
                              .schedules = torct_schedules(schedules)};
}

/* ---- Writing scripts --------------------------------------------------------------------------------------------- */

/* Add a transaction to a fiber's script; `text` is one letter and key per step, in order, with blanks between them:
 * g get, p put, d delete, s scan, z scan downwards, w sweep, x walk, r prune; "ga pb s". */
static inline void
torct_add(struct torct_world *world, unsigned fiber, enum torct_mode mode, const char *text)
{
    static const char letters[] = "gpdszwxr";
    struct torct_script *script = &world->scripts[fiber];
    struct torct_plan *plan = &script->plans[script->count++];

    torc_assert(fiber <= TORCT_FIBERS && script->count <= TORCT_PLANS);
    plan->mode = mode;
    while (*text != '\0') {
        struct torct_step *step = &plan->steps[plan->count++];

        torc_assert(plan->count <= TORCT_STEPS && strchr(letters, *text) != NULL);
        step->kind = (enum torct_step_kind)(strchr(letters, *text++) - letters);
        if (*text >= 'a' && *text < 'a' + TORCT_KEYS)
            step->key = (unsigned)(*text++ - 'a');
        while (*text == ' ')
            text++;
    }
}

/* One of `count` texts, drawn. */
static inline const char *
torct_one_of(const char *const *texts, unsigned count)
{
    return texts[torci_fiber_random() % count];
}

#define TORCT_ONE_OF(...)                                          \
    torct_one_of((const char *const[]){__VA_ARGS__},               \
                 (unsigned)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

#endif

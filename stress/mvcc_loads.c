/* SPDX-License-Identifier: MIT */
/* stress/mvcc_loads: torc_keyspace_load() and torc_keyspace_estimate(), by construction.
 *
 * Loads: each thread has a range of keys of its own, and brings it from one generation to the next: it loads all keys,
 * in an order that the generation's number tells, or deletes them all in one transaction. A load is no transaction, but
 * its pairs are commits one after another. So each snapshot sees of a range, beside the last whole generation, nothing
 * but the next one's first pairs; and the range is whole when the load has returned. Other keys come and go between
 * those keys. And all threads load the same keys, each of them twice in one load: in the end each key must hold the
 * last pair of somebody's last load.
 *
 * Estimates: of ranges in a keyspace that nobody writes to, within what the header promises, each time the same; of a
 * range that is quiet amid busy ones likewise, but for a look that meets a change of the tree above it; of busy ranges
 * nothing absurd. */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

enum {
    PAIRS = 160,                /* Of a thread's range. Several of the batches that a load works on. */
    STRIDE = 7,                 /* No divisor of it. */
    SHARED = 90,                /* Keys that all load. */
    BATCH_MAX = 180,            /* Pairs of one load: of a range, or of the shared keys, twice. */
    PADDING_MAX = 64,
    KEY_MAX = 16,
    CYCLE = 4,                  /* Generations: what number 0 is, nothing, each fourth is. */
};

static struct torc_slice
name_of(char name[KEY_MAX], const char *prefix, unsigned range, unsigned number, const char *suffix)
{
    return torc_slice(name, (size_t)snprintf(name, KEY_MAX, "%s%03u.%05u%s", prefix, range, number, suffix));
}

static bool
is_key(struct torc_slice key, struct torc_slice name)
{
    return key.size == name.size && memcmp(key.data, name.data, name.size) == 0;
}

/* A keyspace without keys. */
static struct torc_keyspace *
renew_keyspace(struct torct_stress *stress, const char *name)
{
    struct torc_slice slice = torc_slice(name, strlen(name));
    struct torc_keyspace *keyspace;

    if (torc_keyspace_find(stress->store, slice, &keyspace) == TORC_OK)
        torct_must(torc_keyspace_drop(keyspace));
    torct_must(torc_keyspace_create(stress->store, slice, &keyspace));
    return keyspace;
}

/* ---- Loads ---- */

_Static_assert((int)BATCH_MAX >= (int)PAIRS && (int)BATCH_MAX >= 2 * (int)SHARED, "what is loaded finds room");

struct payload {
    uint64_t generation;
    uint32_t owner;
    uint32_t number;
    unsigned char padding[PADDING_MAX];
};

/* Pairs with their bytes. */
struct batch {
    struct torc_pair pairs[BATCH_MAX];
    char keys[BATCH_MAX][KEY_MAX];
    struct payload payloads[BATCH_MAX];
    size_t count;
};

struct range {
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) whole;     /* Generation. Release: its load has returned. */
};

static struct torc_keyspace *loads;
static struct range *ranges;                        /* Per thread, as are the next. */
static uint64_t *shared_loads;                      /* Of the shared keys. Its thread's; the check's in the end. */

static bool
is_nothing(uint64_t generation)
{
    return generation % CYCLE == 0;
}

/* Which key the pair `i` of a generation has. */
static unsigned
place_of(uint64_t generation, unsigned i)
{
    switch ((generation + generation / CYCLE) % 3) {
    case 0:
        return i;
    case 1:
        return PAIRS - 1 - i;
    default:
        return i * STRIDE % PAIRS;
    }
}

static size_t
payload_size(uint64_t generation, unsigned number)
{
    return offsetof(struct payload, padding) + (generation + number) % PADDING_MAX;
}

static void
add_pair(struct batch *batch, const char *prefix, unsigned range, unsigned number, struct payload payload)
{
    size_t i = batch->count++;

    batch->payloads[i] = payload;
    memset(batch->payloads[i].padding, (int)payload.generation & 0xff, PADDING_MAX);
    batch->pairs[i].key = name_of(batch->keys[i], prefix, range, number, "");
    batch->pairs[i].value = torc_slice(&batch->payloads[i], payload_size(payload.generation, number));
}

static bool
load_pairs(struct torct_worker *worker, const struct torc_pair *pairs, size_t count)
{
    size_t loaded = 0;
    enum torc_status status = torc_keyspace_load(loads, pairs, count, &loaded);

    worker->commits += loaded;
    while (status == TORC_BUSY) {       /* Too much waits for its grace period. */
        size_t more = 0;

        torct_step(worker, "load on");
        torct_must(torc_mvcc_poll(worker->stress->store, NULL));
        status = torc_keyspace_load(loads, pairs + loaded, count - loaded, &more);
        worker->commits += more;
        loaded += more;
    }
    if (status == TORC_OK && loaded == count)
        return true;
    torct_complain(worker, "a load of %zu pairs put %zu and returned %s (%s)", count, loaded, torc_status_name(status),
                   torc_detail());
    return false;
}

/* The same with a pair in the middle that cannot be put: what stands before it is there, the rest can follow. */
static bool
load_around(struct torct_worker *worker, struct batch *batch)
{
    static const char large[TORC_KEY_SIZE_MAX + 1];
    size_t bad = (size_t)torci_random_below(&worker->random, batch->count), loaded = 0;
    struct torc_slice kept = batch->pairs[bad].key;
    enum torc_status status;

    batch->pairs[bad].key = torc_slice(large, sizeof(large));
    status = torc_keyspace_load(loads, batch->pairs, batch->count, &loaded);
    worker->commits += loaded;
    batch->pairs[bad].key = kept;
    if (status != TORC_BUSY && (status != TORC_TOO_LARGE || loaded != bad)) {
        torct_complain(worker, "a load whose pair %zu is too large put %zu and returned %s", bad, loaded,
                       torc_status_name(status));
        return false;
    }
    return load_pairs(worker, batch->pairs + loaded, batch->count - loaded);
}

static bool
load_generation(struct torct_worker *worker, uint64_t generation)
{
    struct batch batch = {.count = 0};

    for (unsigned i = 0; i < PAIRS; i++) {
        unsigned number = place_of(generation, i);

        add_pair(&batch, "l", worker->number, number, (struct payload){generation, worker->number, number, {0}});
    }
    if (worker->stress->plant && worker->number == 0)
        batch.count--;                  /* The planted mistake: one pair is forgotten. */
    if (torci_random_one_in(&worker->random, 6))
        return load_around(worker, &batch);
    return load_pairs(worker, batch.pairs, batch.count);
}

static struct torc_txn *
begin(struct torct_worker *worker, struct torc_keyspace *keyspace, enum torc_isolation isolation)
{
    struct torc_txn_options options = {.isolation = isolation};
    struct torc_txn *txn;

    torct_must(torc_txn_begin(worker->stress->store, &options, &txn));
    torct_must(torc_txn_use(txn, keyspace));
    return txn;
}

static bool
delete_between(struct torct_worker *worker, struct torc_keyspace *keyspace, struct torc_slice from,
               struct torc_slice to)
{
    struct torc_txn *txn = begin(worker, keyspace, TORC_SNAPSHOT);
    enum torc_status status = torc_txn_delete_range(txn, from, to, NULL);

    if (status == TORC_OK)
        status = torc_txn_commit(txn);
    else
        torc_txn_abort(txn);
    worker->commits += status == TORC_OK;
    return torct_may_come(worker, "deleting a range", status) && status == TORC_OK;
}

/* Bring the own range one generation further. */
static void
go_on(struct torct_worker *worker)
{
    _Atomic(uint64_t) *whole = &ranges[worker->number].whole;
    uint64_t generation = torci_load(whole, memory_order_relaxed) + 1;      /* Relaxed: of this thread. */
    char from[KEY_MAX], to[KEY_MAX];
    bool done;

    torct_step(worker, is_nothing(generation) ? "delete a range" : "load");
    if (is_nothing(generation))
        done = delete_between(worker, loads, name_of(from, "l", worker->number, 0, ""),
                              name_of(to, "l", worker->number, PAIRS, ""));
    else
        done = load_generation(worker, generation);
    if (done)
        torci_store(whole, generation, memory_order_release);
}

static void
load_shared(struct torct_worker *worker)
{
    uint64_t generation = ++shared_loads[worker->number];
    struct batch batch = {.count = 0};

    torct_step(worker, "load what others load");
    for (unsigned i = 0; i < SHARED; i++) {
        add_pair(&batch, "s", 0, i, (struct payload){generation, UINT32_MAX, i, {0}});
        add_pair(&batch, "s", 0, i, (struct payload){generation, worker->number, i, {0}});
    }
    load_pairs(worker, batch.pairs, batch.count);
}

/* A key between those of a range comes or goes. */
static void
disturb(struct torct_worker *worker)
{
    struct torci_random *random = &worker->random;
    unsigned range = (unsigned)torci_random_below(random, worker->stress->threads);
    char name[KEY_MAX];
    struct torc_slice key = name_of(name, "l", range, (unsigned)torci_random_below(random, PAIRS), "+");
    enum torc_status status;

    torct_step(worker, "disturb");
    if (torci_random_one_in(random, 2))
        status = torc_keyspace_delete(loads, key);
    else
        status = torc_keyspace_put(loads, key, torc_slice("between", 7), TORC_NEVER, NULL);
    worker->commits += status == TORC_OK;
    if (status != TORC_NOT_FOUND)
        torct_may_come(worker, "a write between", status);
}

/* Which generation each key of `range` is of, as txn sees it; 0: it is not there. False: something is wrong. */
static bool
see_range(struct torct_worker *worker, struct torc_txn *txn, unsigned range, uint64_t seen[PAIRS])
{
    struct torc_scan_options options = {.reverse = torci_random_one_in(&worker->random, 2)};
    char from[KEY_MAX], to[KEY_MAX], name[KEY_MAX];
    struct torc_slice key, value;
    struct torc_cursor *cursor;
    enum torc_status status;

    memset(seen, 0, PAIRS * sizeof(seen[0]));
    options.from = name_of(from, "l", range, 0, "");
    options.to = name_of(to, "l", range, PAIRS, "");
    torct_must(torc_txn_scan(txn, &options, &cursor));
    while ((status = torc_cursor_next(cursor, &key, &value)) == TORC_OK) {
        struct payload payload;

        if (((const char *)key.data)[key.size - 1] == '+')
            continue;
        memset(&payload, 0xff, sizeof(payload));
        memcpy(&payload, value.data, value.size < sizeof(payload) ? value.size : sizeof(payload));
        if (payload.owner != range || payload.number >= PAIRS || payload.generation == 0
            || !is_key(key, name_of(name, "l", range, payload.number, ""))
            || value.size != payload_size(payload.generation, payload.number)) {
            torct_complain(worker, "%.*s holds what nobody loaded there", (int)key.size, (const char *)key.data);
            torc_cursor_close(cursor);
            return false;
        }
        seen[payload.number] = payload.generation;
        worker->reads++;
    }
    torc_cursor_close(cursor);
    if (status != TORC_END)
        torct_complain(worker, "a scan returned %s (%s)", torc_status_name(status), torc_detail());
    return status == TORC_END;
}

/* A range was as `seen` when its whole generation was one of `least`..`most`, or the next one was being loaded. */
static void
judge_range(struct torct_worker *worker, unsigned range, const uint64_t seen[PAIRS], uint64_t least, uint64_t most)
{
    uint64_t newest = 0, before;
    unsigned first = 0;

    for (unsigned i = 0; i < PAIRS; i++)
        newest = seen[i] > newest ? seen[i] : newest;
    if (newest == 0) {
        if (!is_nothing(least) && most / CYCLE == least / CYCLE)
            torct_complain(worker, "range %u is empty at generation %" PRIu64 "..%" PRIu64, range, least, most);
        return;
    }
    while (first < PAIRS && seen[place_of(newest, first)] == newest)
        first++;
    before = is_nothing(newest - 1) ? 0 : newest - 1;
    for (unsigned i = first; i < PAIRS; i++)
        if (seen[place_of(newest, i)] != before)
            torct_complain(worker, "range %u has %u first pairs of generation %" PRIu64 ", and pair %u of %" PRIu64
                           ", not of %" PRIu64, range, first, newest, i, seen[place_of(newest, i)], before);
    if (is_nothing(newest) || newest < least || newest > most || (newest == least && first < PAIRS))
        torct_complain(worker, "range %u has %u pairs of generation %" PRIu64 " at %" PRIu64 "..%" PRIu64, range,
                       first, newest, least, most);
}

static void
look(struct torct_worker *worker, unsigned range)
{
    uint64_t least = torci_load(&ranges[range].whole, memory_order_acquire), most;
    struct torc_txn *txn = begin(worker, loads, TORC_SNAPSHOT);
    uint64_t seen[PAIRS];

    torct_step(worker, "look");
    /* One more was perhaps under way, or had been done, when the snapshot was taken. */
    most = torci_load(&ranges[range].whole, memory_order_acquire) + 1;
    if (see_range(worker, txn, range, seen))
        judge_range(worker, range, seen, least, most);
    torc_txn_abort(txn);
}

void
torct_loads_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    (void)workload;
    ranges = aligned_alloc(TORCI_CACHE_LINE, stress->threads * sizeof(*ranges));
    shared_loads = calloc(stress->threads, sizeof(*shared_loads));
    if (ranges == NULL || shared_loads == NULL)
        torct_give_up("no memory for %u threads", stress->threads);
    for (unsigned i = 0; i < stress->threads; i++)
        torci_init(&ranges[i].whole, (uint64_t)0);
    loads = renew_keyspace(stress, "loads");
}

void
torct_loads_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    (void)workload;
    while (torct_goes_on(worker, torci_now_ns())) {
        uint64_t draw = torci_random_below(&worker->random, 16);

        if (draw < 3)
            go_on(worker);
        else if (draw < 4)
            load_shared(worker);
        else if (draw < 10)
            disturb(worker);
        else
            look(worker, (unsigned)torci_random_below(&worker->random, stress->threads));
    }
}

static void
check_shared(struct torct_stress *stress, unsigned number)
{
    struct payload payload = {0};
    struct torct_worker *worker = &stress->workers[0];
    char name[KEY_MAX];
    size_t size;
    enum torc_status status = torc_keyspace_get(loads, name_of(name, "s", 0, number, ""), &payload, sizeof(payload),
                                                &size);
    bool any = false;

    for (unsigned i = 0; i < stress->threads; i++)
        any |= shared_loads[i] > 0;
    if (status != (any ? TORC_OK : TORC_NOT_FOUND))
        torct_complain(worker, "%s got %s (%s)", name, torc_status_name(status), torc_detail());
    else if (any && (payload.owner >= stress->threads || payload.generation != shared_loads[payload.owner]))
        torct_complain(worker, "%s holds pair %" PRIu64 " of thread %" PRIu32 ", which is not its last", name,
                       payload.generation, payload.owner);
}

void
torct_loads_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    (void)workload;
    for (unsigned range = 0; range < stress->threads; range++)
        look(&stress->workers[0], range);
    for (unsigned number = 0; number < SHARED; number++)
        check_shared(stress, number);
    torct_must(torc_keyspace_drop(loads));
    free(ranges);
    free(shared_loads);
}

/* ---- Estimates ---- */

enum {
    QUIET = 4000,               /* Keys of the quiet keyspace, */
    QUIET_STRIDE = 1237,        /* in an order in which they meet no neighbour; no divisor of it; */
    MIDDLE = 1000,              /* and of the quiet range amid busy ones. */
    BUSY = 1500,                /* Names of a busy range. */
    VALUE_BYTES = 16,
    KEY_BYTES = 10,             /* As name_of() makes them. */
    LEAVES = 96,                /* Keys of a few leaves: by so many an estimate may be wrong anyway. */
    LOOKS = 8,
    ABSURD = 8,                 /* Times as many keys as there are names. */
    SHARE = 4,                  /* And by such a part of a large range. The header promises a fifth or so. */
};

static struct torc_keyspace *quiet, *busy;
static const unsigned char value_bytes[VALUE_BYTES];

/* The keys first..first+count-1 of a range, some at a time. */
static enum torc_status
load_some(struct torc_keyspace *keyspace, const char *prefix, unsigned first, unsigned count)
{
    enum torc_status status = TORC_OK;

    for (unsigned done = 0; done < count && status == TORC_OK;) {
        struct torc_pair pairs[100];
        char keys[100][KEY_MAX];
        unsigned some = 0;

        for (; some < 100 && done < count; some++, done++) {
            pairs[some].key = name_of(keys[some], prefix, 0, first + done, "");
            pairs[some].value = torc_slice(value_bytes, VALUE_BYTES);
        }
        status = torc_keyspace_load(keyspace, pairs, some, NULL);
    }
    return status;
}

static struct torc_estimate
estimate(struct torct_worker *worker, struct torc_keyspace *keyspace, struct torc_slice from, struct torc_slice to)
{
    struct torc_estimate found = {0, 0};
    enum torc_status status = torc_keyspace_estimate(keyspace, from, to, &found);

    if (status != TORC_OK)
        torct_complain(worker, "an estimate returned %s (%s)", torc_status_name(status), torc_detail());
    worker->reads++;
    return found;
}

/* Whether an estimate of `keys` keys, which are all of one size, is right as far as it has to be. */
static bool
is_about(struct torc_estimate found, uint64_t keys)
{
    return found.keys + LEAVES >= keys - keys / SHARE && found.keys <= keys + keys / SHARE + LEAVES
           && found.bytes == found.keys * (KEY_BYTES + VALUE_BYTES);
}

/* A part of first..first+count-1 in `keyspace`, which is quiet itself if `strict`. */
static void
estimate_quiet(struct torct_worker *worker, struct torc_keyspace *keyspace, const char *prefix, unsigned count,
               bool strict)
{
    unsigned a = (unsigned)torci_random_below(&worker->random, count);
    unsigned b = a + (unsigned)torci_random_below(&worker->random, count - a + 1);
    char from_name[KEY_MAX], to_name[KEY_MAX];
    struct torc_slice from = name_of(from_name, prefix, 0, a, ""), to = name_of(to_name, prefix, 0, b, "");
    struct torc_estimate found = estimate(worker, keyspace, from, to), again;

    torct_step(worker, "estimate what is quiet");
    for (unsigned i = 1; !strict && i < LOOKS && !is_about(found, b - a); i++)
        found = estimate(worker, keyspace, from, to);
    if (!is_about(found, b - a))
        torct_complain(worker, "%u keys from %s are estimated as %" PRIu64 " keys, %" PRIu64 " bytes", b - a,
                       from_name, found.keys, found.bytes);
    again = estimate(worker, keyspace, from, to);
    if (strict && (again.keys != found.keys || again.bytes != found.bytes))
        torct_complain(worker, "%u keys from %s are estimated as %" PRIu64 " keys, then as %" PRIu64, b - a, from_name,
                       found.keys, again.keys);
    again = estimate(worker, keyspace, to, from);
    if (again.keys != 0 || again.bytes != 0)
        torct_complain(worker, "an empty range is estimated as %" PRIu64 " keys", again.keys);
}

static void
estimate_busy(struct torct_worker *worker)
{
    const char *prefix = torci_random_one_in(&worker->random, 2) ? "a" : "z";
    uint64_t names = torci_random_one_in(&worker->random, 3) ? 2 * BUSY + MIDDLE : BUSY;
    char from[KEY_MAX], to[KEY_MAX];
    struct torc_estimate found;

    torct_step(worker, "estimate what is busy");
    if (names == BUSY)
        found = estimate(worker, busy, name_of(from, prefix, 0, 0, ""), name_of(to, prefix, 0, BUSY, ""));
    else
        found = estimate(worker, busy, torc_slice(NULL, 0), torc_slice(NULL, 0));
    if (found.keys > ABSURD * names || found.bytes > found.keys * (KEY_BYTES + VALUE_BYTES))
        torct_complain(worker, "at most %" PRIu64 " keys are estimated as %" PRIu64 " keys, %" PRIu64 " bytes", names,
                       found.keys, found.bytes);
}

static void
change_busy(struct torct_worker *worker)
{
    struct torci_random *random = &worker->random;
    const char *prefix = torci_random_one_in(random, 2) ? "a" : "z";
    unsigned first = (unsigned)torci_random_below(random, BUSY), count = 1 + (unsigned)torci_random_below(random, 60);
    char from[KEY_MAX], to[KEY_MAX];
    enum torc_status status;

    torct_step(worker, "change");
    count = count < BUSY - first ? count : BUSY - first;
    if (torci_random_one_in(random, 3)) {
        (void)delete_between(worker, busy, name_of(from, prefix, 0, first, ""),
                             name_of(to, prefix, 0, first + count, ""));
        return;
    }
    status = torci_random_one_in(random, 2) ? load_some(busy, prefix, first, count)
                                            : torc_keyspace_delete(busy, name_of(from, prefix, 0, first, ""));
    worker->commits += status == TORC_OK;
    if (status != TORC_NOT_FOUND)
        torct_may_come(worker, "a change", status);
}

void
torct_estimates_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    (void)workload;
    quiet = renew_keyspace(stress, "quiet");
    busy = renew_keyspace(stress, "busy");
    for (unsigned i = 0; i < QUIET; i++)
        torct_must(load_some(quiet, "q", i * QUIET_STRIDE % QUIET, 1));
    torct_must(load_some(busy, "m", 0, MIDDLE));
}

void
torct_estimates_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    (void)workload;
    while (torct_goes_on(worker, torci_now_ns())) {
        uint64_t draw = torci_random_below(&worker->random, 8);
        char name[KEY_MAX];

        if (draw < 3)
            change_busy(worker);
        else if (draw < 5)
            estimate_busy(worker);
        else if (draw < 6)
            estimate_quiet(worker, busy, "m", MIDDLE, false);
        else
            estimate_quiet(worker, quiet, "q", QUIET, true);
        /* The planted mistake: it is not quiet. */
        if (stress->plant && worker->number == 0)
            torct_must(torc_keyspace_put(quiet, name_of(name, "q", 0, (unsigned)draw * 300, "+"), torc_slice("", 0),
                                         TORC_NEVER, NULL));
    }
}

void
torct_estimates_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    struct torct_worker *worker = &stress->workers[0];

    (void)workload;
    if (torc_keyspace_keys(quiet) != QUIET)
        torct_complain(worker, "the quiet keyspace has %" PRIu64 " keys", torc_keyspace_keys(quiet));
    estimate_quiet(worker, busy, "m", MIDDLE, true);
    torct_must(torc_keyspace_drop(quiet));
    torct_must(torc_keyspace_drop(busy));
}

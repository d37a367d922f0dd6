/* SPDX-License-Identifier: MIT */
/* stress/mvcc_times: two oracles by construction.
 *
 * Values that expire: the program has the clock, and all threads move it on. Each thread has keys of its own, whose
 * values and times it knows exactly; others look on. A value is there as long as its time has not come, whatever
 * else goes on, and never afterwards. In the end the store's keys are those whose time has not come: the others
 * leave by torc_mvcc_poll() alone.
 *
 * Snapshots of the past: each thread raises a number of its own and logs the stamp of each commit. Readers of the past
 * take a stamp from their own log, or a named snapshot, and note what they see of every thread. In the end all logs are
 * there, and tell what each of them had to see. */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

enum {
    OWN_KEYS = 6,               /* Of each thread. */
    LIFE_MAX_MS = 60,           /* Of a value. */
    LIFE_LONG_MS = 5000,        /* Of a few: they stand on higher levels of the timing wheel. */
    LONG_MAX = 2,               /* Of a key at a time: see any_time(). */
    POLLS_MAX = 20000,
    LOG_MAX = 20000,            /* Of a thread in a round: what ends it early. */
    SIGHTS_MAX = 60000,
    NAMES = 2,                  /* Named snapshots of a thread. */
};

static struct torc_slice
own_name(char name[STRESS_NAME_MAX], const char *prefix, unsigned thread, unsigned number)
{
    return torc_slice(name, (size_t)snprintf(name, STRESS_NAME_MAX, "%s%03u/%u", prefix, thread, number));
}

/* ---- Expiry ---- */

/* What a key of one's own holds. */
struct lease {
    int64_t value;              /* 0: nothing. */
    uint64_t expires_ms;        /* TORC_NEVER: never. */
};

struct leases {
    struct lease of[OWN_KEYS];
    uint64_t long_until[OWN_KEYS][LONG_MAX];    /* When the last long lives end, or would have ended. */
    int64_t next;
};

static struct leases *leases;                       /* Per thread. */

/* Whether a look between two moments may find it, and may miss it. */
static bool
may_be_there(const struct lease *lease, uint64_t before)
{
    return lease->value != 0 && (lease->expires_ms == TORC_NEVER || lease->expires_ms > before);
}

static bool
may_be_gone(const struct lease *lease, uint64_t after)
{
    return lease->value == 0 || (lease->expires_ms != TORC_NEVER && lease->expires_ms <= after);
}

static void
judge_lease(struct torct_worker *worker, const char *step, const struct lease *lease, bool found, int64_t value,
            uint64_t before, uint64_t after)
{
    worker->reads++;
    if (found && (!may_be_there(lease, before) || value != lease->value))
        torct_complain(worker,
                       "%s finds %" PRId64 " at %" PRIu64 "..%" PRIu64 ": it is %" PRId64 " until %" PRIu64, step,
                       value, before, after, lease->value, lease->expires_ms);
    if (!found && !may_be_gone(lease, after))
        torct_complain(worker, "%s finds nothing at %" PRIu64 "..%" PRIu64 ": it is %" PRId64 " until %" PRIu64, step,
                       before, after, lease->value, lease->expires_ms);
}

/* A key may wait in few places of the timing wheel at a time. If its time is set again and again to an earlier one, it
 * may leave as late as the next of those. All may be far away: what has waited there for a short life is put where the
 * key's life ends now. So long lives are noted: see keys_late(). */
static uint64_t
any_time(struct torct_worker *worker, unsigned number)
{
    struct torci_random *random = &worker->random;
    uint64_t now = torct_now_ms(worker->stress), *until = leases[worker->number].long_until[number];

    if (torci_random_one_in(random, 6))
        return TORC_NEVER;
    for (unsigned i = 0; i < LONG_MAX && torci_random_one_in(random, 10); i++)
        if (until[i] < now)
            return until[i] = now + torci_random_below(random, LIFE_LONG_MS);
    return now + torci_random_below(random, LIFE_MAX_MS);
}

static void
look(struct torct_worker *worker, unsigned number)
{
    const struct lease *lease = &leases[worker->number].of[number];
    uint64_t before = torct_now_ms(worker->stress);
    char name[STRESS_NAME_MAX];
    int64_t value = 0;
    size_t size;
    enum torc_status status;

    torct_step(worker, "get");
    status = torc_mvcc_get(worker->stress->store, own_name(name, "x", worker->number, number), &value, sizeof(value),
                           &size);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        torct_complain(worker, "get returned %s (%s)", torc_status_name(status), torc_detail());
    judge_lease(worker, "get", lease, status == TORC_OK, value, before, torct_now_ms(worker->stress));
}

/* Put or delete one key; what the store says of the value before must be right, too. */
static void
renew(struct torct_worker *worker, unsigned number)
{
    struct torc_keyspace *keyspace = torc_mvcc_default(worker->stress->store);
    struct leases *own = &leases[worker->number];
    struct lease *lease = &own->of[number];
    uint64_t before = torct_now_ms(worker->stress);
    struct lease next = {++own->next, any_time(worker, number)};
    bool deletes = torci_random_one_in(&worker->random, 5), found = true;
    char name[STRESS_NAME_MAX];
    struct torc_slice key = own_name(name, "x", worker->number, number);
    enum torc_status status;

    torct_step(worker, "put");
    if (deletes)
        status = torc_keyspace_delete(keyspace, key);
    else
        status = torc_keyspace_put(keyspace, key, torct_bytes_of(&next.value), next.expires_ms, &found);
    if (status != TORC_OK && !(deletes && status == TORC_NOT_FOUND)) {
        torct_complain(worker, "a write returned %s (%s)", torc_status_name(status), torc_detail());
        return;
    }
    found &= status == TORC_OK;
    judge_lease(worker, deletes ? "delete" : "put", lease, found, lease->value, before, torct_now_ms(worker->stress));
    *lease = deletes ? (struct lease){0} : next;
    if (worker->stress->plant && worker->number == 0 && next.expires_ms != TORC_NEVER && !deletes)
        lease->expires_ms += 1;         /* The planted mistake: it lives for a millisecond less. */
    worker->commits++;
}

/* Merges leave the time as it was. */
static void
add_to(struct torct_worker *worker, unsigned number)
{
    struct lease *lease = &leases[worker->number].of[number];
    uint64_t before = torct_now_ms(worker->stress), after;
    int64_t one = 1, result = 0;
    char name[STRESS_NAME_MAX];
    size_t size;
    enum torc_status status;

    torct_step(worker, "merge");
    status = torc_keyspace_merge(torc_mvcc_default(worker->stress->store), own_name(name, "x", worker->number, number),
                                 &torc_merge_add, torct_bytes_of(&one), &result, sizeof(result), &size);
    after = torct_now_ms(worker->stress);
    if (status != TORC_OK)
        torct_complain(worker, "a merge returned %s (%s)", torc_status_name(status), torc_detail());
    judge_lease(worker, "merge", lease, result != 1, result - 1, before, after);
    *lease = (struct lease){result, result == 1 ? TORC_NEVER : lease->expires_ms};
    leases[worker->number].next += 2;   /* Values stay greater than 1, and distinct. */
    worker->commits++;
}

/* A transaction looks at all of one's own keys twice, at one moment, and gives one of them a new time. */
static void
change_time(struct torct_worker *worker, unsigned number)
{
    struct leases *own = &leases[worker->number];
    bool there[OWN_KEYS], kept = false;
    uint64_t before = torct_now_ms(worker->stress), expires = any_time(worker, number), shown;
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    enum torc_status status;
    struct torc_txn *txn;

    torct_step(worker, "transaction");
    torct_must(torc_txn_begin(worker->stress->store, NULL, &txn));
    for (unsigned i = 0; i < 2 * OWN_KEYS; i++) {
        struct torc_slice key = own_name(name, "x", worker->number, i % OWN_KEYS);
        const struct lease *lease = &own->of[i % OWN_KEYS];

        status = torc_txn_get(txn, key, &value);
        if (i >= OWN_KEYS && there[i % OWN_KEYS] != (status == TORC_OK))
            torct_complain(worker, "a transaction's moment has changed");
        there[i % OWN_KEYS] = status == TORC_OK;
        judge_lease(worker, "a transaction", lease, status == TORC_OK, status == TORC_OK ? torct_number_in(value) : 0,
                    before, torct_now_ms(worker->stress));
        if (status == TORC_OK && (torc_txn_expiry(txn, key, &shown) != TORC_OK || (shown != lease->expires_ms
                                                                                  && !worker->stress->plant)))
            torct_complain(worker, "a value that expires at %" PRIu64 " shows %" PRIu64, lease->expires_ms, shown);
        if (i % 4 == 0)
            torct_advance_ms(worker->stress, 1);
    }
    status = torc_txn_expire(txn, own_name(name, "x", worker->number, number), expires);
    if ((status == TORC_OK) != there[number])
        torct_complain(worker, "expire returned %s, where the key was %s", torc_status_name(status),
                       there[number] ? "there" : "absent");
    kept = torc_txn_commit(txn) == TORC_OK;
    if (!kept)
        torct_complain(worker, "a commit of one's own key conflicts");
    else if (there[number])
        own->of[number].expires_ms = expires;
    worker->commits++;
}

/* Others' keys: only that nothing is torn, and that the scan ends. */
static void
look_on(struct torct_worker *worker)
{
    struct torc_scan_options options = {.prefix = torc_slice("x", 1),
                                        .reverse = torci_random_one_in(&worker->random, 2)};
    struct torc_txn_options serializable = {.isolation = TORC_SERIALIZABLE};
    struct torc_slice key, value;
    struct torc_cursor *cursor;
    unsigned counts[2] = {0, 0};
    struct torc_txn *txn;

    torct_step(worker, "scan");
    torct_must(torc_txn_begin(worker->stress->store, &serializable, &txn));
    for (unsigned i = 0; i < 2; i++) {
        torct_must(torc_txn_scan(txn, &options, &cursor));
        while (torc_cursor_next(cursor, &key, &value) == TORC_OK)
            counts[i] += torct_number_in(value) > 0;
        torc_cursor_close(cursor);
        torct_advance_ms(worker->stress, torci_random_below(&worker->random, 3));
    }
    if (counts[0] != counts[1])
        torct_complain(worker, "one transaction sees %u keys, then %u", counts[0], counts[1]);
    worker->reads += counts[0] + counts[1];
    torc_txn_abort(txn);
}

void
torct_expiry_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    struct torc_txn *txn;

    (void)workload;
    leases = calloc(stress->threads, sizeof(*leases));
    if (leases == NULL)
        torct_give_up("no memory for %u threads", stress->threads);
    for (unsigned i = 0; i < stress->threads; i++)
        leases[i].next = 1000;
    torct_must(torc_txn_begin(stress->store, NULL, &txn));
    torct_must(torc_txn_delete_range(txn, torc_slice(NULL, 0), torc_slice(NULL, 0), NULL));
    torct_must(torc_txn_commit(txn));
}

void
torct_expiry_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    (void)workload;
    while (torct_goes_on(worker, torci_now_ns())) {
        unsigned number = (unsigned)torci_random_below(&worker->random, OWN_KEYS);
        uint64_t draw = torci_random_below(&worker->random, 20);
        bool more;

        if (draw < 8)
            look(worker, number);
        else if (draw < 14)
            renew(worker, number);
        else if (draw < 16)
            add_to(worker, number);
        else if (draw < 18)
            change_time(worker, number);
        else if (draw < 19)
            look_on(worker);
        else
            torct_must(torc_mvcc_poll(stress->store, &more));
        if (torci_random_one_in(&worker->random, 8))
            torct_advance_ms(stress, 1 + torci_random_below(&worker->random, LIFE_MAX_MS / 4));
    }
}

static uint64_t
keys_there(struct torct_stress *stress)
{
    uint64_t now = torct_now_ms(stress), keys = 0;

    for (unsigned thread = 0; thread < stress->threads; thread++)
        for (unsigned i = 0; i < OWN_KEYS; i++)
            keys += may_be_there(&leases[thread].of[i], now);
    return keys;
}

/* Keys whose time has come, but not that of a long life they had: they may leave as late as that. */
static uint64_t
keys_late(struct torct_stress *stress)
{
    uint64_t now = torct_now_ms(stress), keys = 0;

    for (unsigned thread = 0; thread < stress->threads; thread++) {
        for (unsigned i = 0; i < OWN_KEYS; i++) {
            const uint64_t *until = leases[thread].long_until[i];
            bool may_wait = false;

            for (unsigned k = 0; k < LONG_MAX; k++)
                may_wait |= until[k] > now;
            keys += may_wait && !may_be_there(&leases[thread].of[i], now);
        }
    }
    return keys;
}

/* Time goes on, in steps of several sizes. Nothing leaves before its time; what has expired leaves by itself, at the
 * latest when the longest of the short lives are over, or that of its own long lives. */
void
torct_expiry_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    static const uint64_t steps[] = {0, 1, 7, LIFE_MAX_MS, 64, LIFE_LONG_MS / 2, LIFE_LONG_MS};
    struct torct_worker *worker = &stress->workers[0];
    uint64_t waited = 0;

    (void)workload;
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        uint64_t least, most, keys;
        bool more = true;

        torct_advance_ms(stress, steps[i]);
        least = keys_there(stress);
        most = least + keys_late(stress);
        for (unsigned polls = 0; polls < POLLS_MAX && torc_keyspace_keys(torc_mvcc_default(stress->store)) > most;
             polls++)
            torct_must(torc_mvcc_poll(stress->store, &more));
        waited += steps[i];
        keys = torc_keyspace_keys(torc_mvcc_default(stress->store));
        if (keys < least || (waited > LIFE_MAX_MS && keys > most))
            torct_complain(worker, "%" PRIu64 " keys are in the store at %" PRIu64 ", %" PRIu64 " to %" PRIu64
                           " should be", keys, torct_now_ms(stress), least, most);
        for (unsigned thread = 0; thread < stress->threads; thread++)
            for (unsigned number = 0; number < OWN_KEYS; number++) {
                struct torct_worker other = {.number = thread, .stress = stress};

                look(&other, number);
                worker->wrong += other.wrong;
            }
    }
    free(leases);
    leases = NULL;
}

/* ---- The past ---- */

/* What a reader of the past saw of one thread. */
struct sight {
    uint64_t stamp;
    unsigned thread;
    int64_t number;
};

struct past {
    uint64_t *stamps;           /* Of the commits of numbers 1, 2, ... */
    struct sight *sights;
    uint32_t count;
    uint32_t sight_count;
    uint64_t named[NAMES];      /* Stamps; 0: it does not exist. */
};

static struct past *pasts;                          /* Per thread. */

static void
raise_number(struct torct_worker *worker)
{
    struct past *own = &pasts[worker->number];
    int64_t number = own->count + 1;
    char name[STRESS_NAME_MAX];
    struct torc_slice key = own_name(name, "p", worker->number, 0);
    enum torc_status status;
    struct torc_txn *txn;

    torct_step(worker, "raise");
    if (torci_random_one_in(&worker->random, 2)) {
        status = torc_mvcc_put(worker->stress->store, key, torct_bytes_of(&number), NULL);
    } else {
        torct_must(torc_txn_begin(worker->stress->store, NULL, &txn));
        status = torc_txn_put(txn, key, torct_bytes_of(&number));
        if (status == TORC_OK)
            status = torc_txn_put(txn, own_name(name, "p", worker->number, 1), torct_bytes_of(&number));
        if (status == TORC_OK)
            status = torc_txn_commit(txn);
        else
            torc_txn_abort(txn);
    }
    if (status != TORC_OK) {
        torct_complain(worker, "a write of one's own key returned %s (%s)", torc_status_name(status), torc_detail());
        return;
    }
    own->stamps[own->count++] = torc_last_commit();
    worker->commits++;
}

static void
see_all(struct torct_worker *worker, struct torc_txn *txn)
{
    struct past *own = &pasts[worker->number];
    char name[STRESS_NAME_MAX];
    struct torc_slice value;

    torct_step(worker, "see the past");
    for (unsigned thread = 0; thread < worker->stress->threads && own->sight_count < SIGHTS_MAX; thread++) {
        enum torc_status status = torc_txn_get(txn, own_name(name, "p", thread, 0), &value);
        struct sight *sight = &own->sights[own->sight_count];

        if (status != TORC_OK && status != TORC_NOT_FOUND) {
            torct_complain(worker, "get returned %s (%s)", torc_status_name(status), torc_detail());
            return;
        }
        *sight = (struct sight){torc_txn_snapshot(txn), thread, status == TORC_OK ? torct_number_in(value) : 0};
        if (worker->stress->plant && worker->number == 0 && sight->number > 1 && own->sight_count % 64 == 0)
            sight->number--;            /* The planted mistake. */
        own->sight_count++;
        worker->reads++;
    }
}

/* Read the store as of a stamp of one's own log. Recent ones are there for certain but for what cannot be helped: that
 * this thread was stopped for long. */
static void
see_stamp(struct torct_worker *worker)
{
    struct past *own = &pasts[worker->number];
    uint64_t back = torci_random_below(&worker->random, own->count < 400 ? own->count : 400);
    struct torc_txn_options options = {.at = own->stamps[own->count - 1 - back], .read_only = true};
    enum torc_status status;
    struct torc_txn *txn;

    torct_step(worker, "begin in the past");
    status = torc_txn_begin(worker->stress->store, &options, &txn);
    if (status == TORC_EXPIRED) {
        worker->conflicts++;
        return;
    }
    if (status != TORC_OK) {
        torct_complain(worker, "begin at %" PRIu64 " returned %s (%s)", options.at, torc_status_name(status),
                       torc_detail());
        return;
    }
    see_all(worker, txn);
    torc_txn_abort(txn);
}

/* Make, read or drop a named snapshot. */
static void
see_named(struct torct_worker *worker)
{
    struct past *own = &pasts[worker->number];
    unsigned number = (unsigned)torci_random_below(&worker->random, NAMES);
    char name[STRESS_NAME_MAX];
    struct torc_txn_options options = {.snapshot = own_name(name, "s", worker->number, number)};
    enum torc_status status;
    struct torc_txn *txn;

    torct_step(worker, "named snapshot");
    if (own->named[number] == 0) {
        torct_must(torc_snapshot_create(worker->stress->store, options.snapshot, &own->named[number]));
        return;
    }
    status = torc_txn_begin(worker->stress->store, &options, &txn);
    if (status != TORC_OK || torc_txn_snapshot(txn) != own->named[number]) {
        torct_complain(worker, "a named snapshot of %" PRIu64 " got %s, snapshot %" PRIu64, own->named[number],
                       torc_status_name(status), torc_txn_snapshot(txn));
        torc_txn_abort(txn);
        return;
    }
    if (torci_random_one_in(&worker->random, 4)) {
        /* What it sees stays while it is open. */
        torct_must(torc_snapshot_drop(worker->stress->store, options.snapshot));
        own->named[number] = 0;
    }
    see_all(worker, txn);
    torc_txn_abort(txn);
}

void
torct_past_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    struct torc_txn *txn;

    (void)workload;
    pasts = calloc(stress->threads, sizeof(*pasts));
    if (pasts == NULL)
        torct_give_up("no memory for %u threads", stress->threads);
    for (unsigned i = 0; i < stress->threads; i++) {
        pasts[i].stamps = malloc(LOG_MAX * sizeof(*pasts[i].stamps));
        pasts[i].sights = malloc(SIGHTS_MAX * sizeof(*pasts[i].sights));
        if (pasts[i].stamps == NULL || pasts[i].sights == NULL)
            torct_give_up("no memory for the log of thread %u", i);
    }
    torct_must(torc_txn_begin(stress->store, NULL, &txn));
    torct_must(torc_txn_delete_range(txn, torc_slice("p", 1), torc_slice("q", 1), NULL));
    torct_must(torc_txn_commit(txn));
}

void
torct_past_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    struct past *own = &pasts[worker->number];

    (void)stress;
    (void)workload;
    raise_number(worker);
    while (torct_goes_on(worker, torci_now_ns()) && own->count < LOG_MAX && own->sight_count < SIGHTS_MAX) {
        uint64_t draw = torci_random_below(&worker->random, 8);

        if (draw < 5)
            raise_number(worker);
        else if (draw < 7)
            see_stamp(worker);
        else
            see_named(worker);
    }
}

/* How many commits of a thread a snapshot holds. */
static int64_t
held_by(const struct past *past, uint64_t snapshot)
{
    uint32_t low = 0, high = past->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (past->stamps[middle] <= snapshot)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void
torct_past_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    (void)workload;
    for (unsigned thread = 0; thread < stress->threads; thread++) {
        struct past *past = &pasts[thread];
        char name[STRESS_NAME_MAX];

        for (uint32_t i = 0; i < past->sight_count; i++) {
            const struct sight *sight = &past->sights[i];
            int64_t expected = held_by(&pasts[sight->thread], sight->stamp);

            if (sight->number != expected)
                torct_complain(&stress->workers[thread], "at %" PRIu64 " thread %u showed %" PRId64 ", not %" PRId64,
                               sight->stamp, sight->thread, sight->number, expected);
        }
        for (unsigned i = 0; i < NAMES; i++)
            if (past->named[i] != 0)
                torct_must(torc_snapshot_drop(stress->store, own_name(name, "s", thread, i)));
    }
    for (unsigned thread = 0; thread < stress->threads; thread++) {
        free(pasts[thread].stamps);
        free(pasts[thread].sights);
    }
    free(pasts);
    pasts = NULL;
}

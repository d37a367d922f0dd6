/* SPDX-License-Identifier: MIT */
/* stress/mvcc_keyspaces: two oracles by construction.
 *
 * Keyspaces are made, filled, used, dropped and made again under four names, by all threads. Each life of a keyspace
 * has a number of its own. One transaction fills it: with its number, a count of 0 and MEMBERS keys, and with the
 * same count in the default keyspace, under the number. Later ones raise both counts. So
 *   - whoever sees a keyspace at all sees all of it: its number, all members, and the count that the default one shows;
 *   - after the drop the default keyspace shows exactly as many as were told that they had committed: a commit that met
 *     the drop left nothing in either.
 * Handles are used inside of transactions that began before they were found: so none is another's yet.
 *
 * Merges: all threads add to numbers, in transactions and without, some of which must add up to nothing for every
 * reader; append to lists; raise greatest and least numbers. In the end all of it must be there, in each thread's
 * order. */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

enum {
    SPACES = 4,
    MEMBERS = 24,
    LIVES_MAX = 20000,          /* Of a round: what ends it early. */
    SUMS = 6,
    LISTS = 3,
    LIST_MAX = 3000,            /* Elements; then nobody appends. */
};

static struct torc_slice
name_of(char name[STRESS_NAME_MAX], const char *prefix, uint64_t number)
{
    return torc_slice(name, (size_t)snprintf(name, STRESS_NAME_MAX, "%s%02" PRIu64, prefix, number));
}

/* ---- Keyspaces ---- */

static _Atomic(uint64_t) lives;                     /* Begun. Relaxed: numbers. */
static _Atomic(uint64_t) counted[LIVES_MAX];        /* Per life: raises that were told to have committed. Relaxed. */

/* What a step of a transaction found. */
enum sight {
    SEEN,
    NOT_THERE,      /* The keyspace is not filled yet, or dropped. */
    FAILED,         /* The transaction cannot go on. */
};

static struct torc_slice
space_name(char name[STRESS_NAME_MAX], unsigned space)
{
    return name_of(name, "space", space);
}

static enum sight
read_number(struct torct_worker *worker, struct torc_txn *txn, struct torc_keyspace *keyspace, struct torc_slice key,
            int64_t *number)
{
    struct torc_slice value;
    enum torc_status status = torc_txn_use(txn, keyspace);

    if (status == TORC_OK)
        status = torc_txn_get(txn, key, &value);
    if (status == TORC_NOT_FOUND)
        return NOT_THERE;
    if (!torct_may_come(worker, "get", status) || status != TORC_OK)
        return FAILED;
    *number = torct_number_in(value);
    return SEEN;
}

/* Fill a keyspace that was just made. */
static enum torc_status
fill(struct torc_txn *txn, struct torc_keyspace *keyspace, int64_t life)
{
    char name[STRESS_NAME_MAX];
    int64_t zero = 0;
    enum torc_status status = torc_txn_put(txn, name_of(name, "r", (uint64_t)life), torct_bytes_of(&zero));

    if (status == TORC_OK)
        status = torc_txn_use(txn, keyspace);
    if (status == TORC_OK)
        status = torc_txn_put(txn, torc_slice("number", 6), torct_bytes_of(&life));
    if (status == TORC_OK)
        status = torc_txn_put(txn, torc_slice("count", 5), torct_bytes_of(&zero));
    for (unsigned i = 0; i < MEMBERS && status == TORC_OK; i++)
        status = torc_txn_put(txn, name_of(name, "member", i), torct_bytes_of(&life));
    return status;
}

static void
make_space(struct torct_worker *worker, unsigned space)
{
    uint64_t life = torci_fetch_add(&lives, 1u, memory_order_relaxed);
    char name[STRESS_NAME_MAX];
    struct torc_keyspace *keyspace;
    enum torc_status status;
    struct torc_txn *txn;

    if (life >= LIVES_MAX) {
        torci_store(&worker->stress->stop, true, memory_order_relaxed);     /* A hint; see its declaration. */
        return;
    }
    torct_step(worker, "create");
    torct_must(torc_txn_begin(worker->stress->store, NULL, &txn));
    status = torc_keyspace_create(worker->stress->store, space_name(name, space), &keyspace);
    if (status == TORC_OK)
        status = fill(txn, keyspace, (int64_t)life);
    if (status == TORC_OK)
        status = torc_txn_commit(txn);
    else
        torc_txn_abort(txn);
    worker->commits += status == TORC_OK;
    if (status != TORC_EXISTS && status != TORC_NOT_FOUND)
        torct_may_come(worker, "filling", status);
}

/* After the drop nothing of it can be seen, by nobody. */
static void
drop_space(struct torct_worker *worker, struct torc_keyspace *keyspace)
{
    int64_t number;
    size_t size;
    enum torc_status status = torc_keyspace_drop(keyspace);

    torct_step(worker, "drop");
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        torct_complain(worker, "drop returned %s (%s)", torc_status_name(status), torc_detail());
    if (torc_keyspace_get(keyspace, torc_slice("count", 5), &number, sizeof(number), &size) != TORC_NOT_FOUND
        || torc_keyspace_put(keyspace, torc_slice("late", 4), torc_slice("", 0), TORC_NEVER, NULL) != TORC_NOT_FOUND)
        torct_complain(worker, "a keyspace that was dropped still answers");
    worker->commits += status == TORC_OK;
}

/* All members, by a scan. */
static enum sight
see_members(struct torct_worker *worker, struct torc_txn *txn, struct torc_keyspace *keyspace, int64_t life)
{
    struct torc_scan_options options = {.prefix = torc_slice("member", 6),
                                        .reverse = torci_random_one_in(&worker->random, 2)};
    enum torc_status status = torc_txn_use(txn, keyspace);
    struct torc_slice key, value;
    struct torc_cursor *cursor;
    unsigned members = 0;

    if (status == TORC_OK)
        status = torc_txn_scan(txn, &options, &cursor);
    if (status == TORC_NOT_FOUND)
        return NOT_THERE;
    if (!torct_may_come(worker, "scan", status) || status != TORC_OK)
        return FAILED;
    while ((status = torc_cursor_next(cursor, &key, &value)) == TORC_OK) {
        members++;
        if (torct_number_in(value) != life)
            torct_complain(worker, "life %" PRId64 " shows a member of life %" PRId64, life, torct_number_in(value));
    }
    torc_cursor_close(cursor);
    worker->reads += members;
    if (status == TORC_NOT_FOUND)
        return NOT_THERE;
    if (status != TORC_END) {
        torct_may_come(worker, "next", status);
        return FAILED;
    }
    if (members != MEMBERS)
        torct_complain(worker, "life %" PRId64 " shows %u members of %d", life, members, MEMBERS);
    return SEEN;
}

/* See both counts. */
static enum sight
see_counts(struct torct_worker *worker, struct torc_txn *txn, struct torc_keyspace *keyspace, int64_t *life,
           int64_t *count)
{
    char name[STRESS_NAME_MAX];
    int64_t registered = -1;
    enum sight sight = read_number(worker, txn, keyspace, torc_slice("number", 6), life);

    if (sight != SEEN)
        return sight;
    if (*life < 0 || *life >= LIVES_MAX) {
        torct_complain(worker, "a keyspace has the number %" PRId64, *life);
        return FAILED;
    }
    sight = read_number(worker, txn, NULL, name_of(name, "r", (uint64_t)*life), &registered);
    if (sight == FAILED)
        return FAILED;
    if (sight == NOT_THERE)
        torct_complain(worker, "life %" PRId64 " is filled, but not registered", *life);
    sight = read_number(worker, txn, keyspace, torc_slice("count", 5), count);
    if (sight == SEEN && *count != registered)
        torct_complain(worker, "life %" PRId64 " counts %" PRId64 ", and %" PRId64 " in the default keyspace", *life,
                       *count, registered);
    worker->reads += 3;
    return sight;
}

/* Raise both counts. */
static enum torc_status
raise_counts(struct torct_worker *worker, struct torc_txn *txn, struct torc_keyspace *keyspace, int64_t life,
             int64_t count)
{
    char name[STRESS_NAME_MAX];
    int64_t raised = count + 1;
    enum torc_status status = torc_txn_use(txn, NULL);

    torct_step(worker, "raise");
    if (status == TORC_OK)
        status = torc_txn_put(txn, name_of(name, "r", (uint64_t)life), torct_bytes_of(&raised));
    if (worker->stress->plant && worker->number == 0)
        return status;                  /* The planted mistake: one count is forgotten. */
    if (status == TORC_OK)
        status = torc_txn_use(txn, keyspace);
    if (status == TORC_OK)
        status = torc_txn_put(txn, torc_slice("count", 5), torct_bytes_of(&raised));
    return status;
}

/* Drop a keyspace, or use it, inside of a transaction. */
static void
use_space(struct torct_worker *worker, unsigned space)
{
    struct torc_txn_options options = {.isolation = torci_random_one_in(&worker->random, 2) ? TORC_SERIALIZABLE
                                                                                           : TORC_SNAPSHOT};
    bool writes = torci_random_one_in(&worker->random, 2);
    enum torc_status status = TORC_OK;
    struct torc_keyspace *keyspace;
    char name[STRESS_NAME_MAX];
    int64_t life = 0, count;
    struct torc_txn *txn;
    enum sight sight;

    torct_step(worker, "use");
    torct_must(torc_txn_begin(worker->stress->store, &options, &txn));
    if (torc_keyspace_find(worker->stress->store, space_name(name, space), &keyspace) != TORC_OK) {
        torc_txn_abort(txn);
        make_space(worker, space);
        return;
    }
    if (torci_random_one_in(&worker->random, 16)) {
        drop_space(worker, keyspace);
        torc_txn_abort(txn);
        return;
    }
    sight = see_counts(worker, txn, keyspace, &life, &count);
    if (sight == SEEN)
        sight = see_members(worker, txn, keyspace, life);
    if (sight == SEEN && writes)
        status = raise_counts(worker, txn, keyspace, life, count);
    if (sight != SEEN || status != TORC_OK) {
        torc_txn_abort(txn);
    } else {
        status = torc_txn_commit(txn);
        if (status == TORC_OK && writes)
            torci_fetch_add(&counted[life], 1u, memory_order_relaxed);
        worker->commits += status == TORC_OK;
    }
    if (status != TORC_NOT_FOUND)
        torct_may_come(worker, "raising", status);
}

void
torct_spaces_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    char name[STRESS_NAME_MAX];
    struct torc_keyspace *keyspace;

    (void)workload;
    /* What the last round left has numbers of that round. */
    for (unsigned space = 0; space < SPACES; space++)
        if (torc_keyspace_find(stress->store, space_name(name, space), &keyspace) == TORC_OK)
            torct_must(torc_keyspace_drop(keyspace));
    /* Relaxed: the threads start after it. */
    torci_store(&lives, (uint64_t)0, memory_order_relaxed);
    for (unsigned i = 0; i < LIVES_MAX; i++)
        torci_store(&counted[i], (uint64_t)0, memory_order_relaxed);
}

void
torct_spaces_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    (void)stress;
    (void)workload;
    while (torct_goes_on(worker, torci_now_ns())) {
        bool more;

        if (torci_random_one_in(&worker->random, 40))
            torct_must(torc_mvcc_poll(stress->store, &more));
        use_space(worker, (unsigned)torci_random_below(&worker->random, SPACES));
    }
}

/* What stayed of each life is what was told. */
void
torct_spaces_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    uint64_t begun = torci_load(&lives, memory_order_relaxed); /* Relaxed, here and below: the threads are joined. */
    struct torct_worker *worker = &stress->workers[0];
    char name[STRESS_NAME_MAX];
    struct torc_txn *txn;

    (void)workload;
    torct_must(torc_txn_begin(stress->store, NULL, &txn));
    for (uint64_t life = 0; life < begun && life < LIVES_MAX; life++) {
        uint64_t told = torci_load(&counted[life], memory_order_relaxed);
        int64_t count = 0;

        (void)read_number(worker, txn, NULL, name_of(name, "r", life), &count);
        if ((uint64_t)count != told)
            torct_complain(worker, "%" PRIu64 " commits into life %" PRIu64 " were told, %" PRId64 " are there", told,
                           life, count);
    }
    torct_must(torc_txn_delete_range(txn, torc_slice("r", 1), torc_slice("s", 1), NULL));
    torct_must(torc_txn_commit(txn));
    for (unsigned space = 0; space < SPACES; space++) {
        struct torc_keyspace *keyspace;

        if (torc_keyspace_find(stress->store, space_name(name, space), &keyspace) != TORC_OK)
            continue;
        if (torc_keyspace_keys(keyspace) != 0 && torc_keyspace_keys(keyspace) != MEMBERS + 2)
            torct_complain(worker, "a keyspace has %" PRIu64 " keys", torc_keyspace_keys(keyspace));
    }
}

/* ---- Merges ---- */

struct element {
    uint32_t thread;
    uint32_t number;            /* From 1. */
};

/* What one thread has merged. */
struct merged {
    int64_t sums[SUMS];
    int64_t least, greatest;
    uint32_t appended[LISTS];
    uint64_t changes;           /* Keys changed by commits: on_commit is told of each. */
};

static struct merged *merged;                       /* Per thread. */

static struct torc_slice
sum_name(char name[STRESS_NAME_MAX], unsigned sum)
{
    return name_of(name, "sum", sum);
}

/* One addition without a transaction: the result is what it made of it. */
static void
add_one(struct torct_worker *worker, unsigned sum, int64_t amount)
{
    struct torc_keyspace *keyspace = torc_mvcc_default(worker->stress->store);
    struct merged *own = &merged[worker->number];
    char name[STRESS_NAME_MAX];
    enum torc_status status;
    int64_t result = 0;
    size_t size;

    torct_step(worker, "merge");
    if (worker->stress->plant && worker->number == 0) {
        /* The planted mistake: additions of others between the two calls are lost. */
        status = torc_keyspace_get(keyspace, sum_name(name, sum), &result, sizeof(result), &size);
        result += amount;
        if (status == TORC_OK || status == TORC_NOT_FOUND)
            status = torc_keyspace_put(keyspace, sum_name(name, sum), torct_bytes_of(&result), TORC_NEVER, NULL);
    } else {
        status = torc_keyspace_merge(keyspace, sum_name(name, sum), &torc_merge_add, torct_bytes_of(&amount), &result,
                                     sizeof(result), &size);
    }
    if (status != TORC_OK) {
        torct_complain(worker, "a merge returned %s (%s)", torc_status_name(status), torc_detail());
        return;
    }
    own->sums[sum] += amount;
    own->changes++;
    worker->commits++;
}

/* Amounts that add up to nothing, and perhaps more, in one transaction: it has nothing to conflict with. */
static void
add_many(struct torct_worker *worker)
{
    struct torci_random *random = &worker->random;
    struct torc_txn_options options = {.isolation = torci_random_one_in(random, 2) ? TORC_SERIALIZABLE : TORC_SNAPSHOT};
    struct merged next = merged[worker->number];
    unsigned from = (unsigned)torci_random_below(random, SUMS / 2);
    unsigned to = (from + 1) % (SUMS / 2);
    unsigned list = (unsigned)torci_random_below(random, LISTS);
    int64_t amount = 1 + (int64_t)torci_random_below(random, 100), minus = -amount;
    struct element element = {worker->number, next.appended[list] + 1};
    bool appends = torci_random_one_in(random, 2) && element.number * worker->stress->threads < LIST_MAX;
    char name[STRESS_NAME_MAX];
    enum torc_status status;
    struct torc_txn *txn;

    torct_step(worker, "merge in a transaction");
    torct_must(torc_txn_begin(worker->stress->store, &options, &txn));
    status = torc_txn_merge(txn, sum_name(name, from), &torc_merge_add, torct_bytes_of(&minus));
    if (status == TORC_OK)
        status = torc_txn_merge(txn, sum_name(name, to), &torc_merge_add, torct_bytes_of(&amount));
    if (status == TORC_OK)
        status = torc_txn_merge(txn, torc_slice("least", 5), &torc_merge_min, torct_bytes_of(&minus));
    if (status == TORC_OK)
        status = torc_txn_merge(txn, torc_slice("greatest", 8), &torc_merge_max, torct_bytes_of(&amount));
    if (status == TORC_OK && appends)
        status = torc_txn_merge(txn, name_of(name, "list", list), &torc_merge_append,
                                torc_slice(&element, sizeof(element)));
    if (status != TORC_OK) {
        torct_complain(worker, "a merge returned %s (%s)", torc_status_name(status), torc_detail());
        torc_txn_abort(txn);
        return;
    }
    torct_step(worker, "commit of merges");
    if (torci_random_one_in(random, 16)) {
        torc_txn_abort(txn);
        return;
    }
    status = torc_txn_commit(txn);
    if (status != TORC_OK) {
        torct_complain(worker, "a commit of merges only returned %s (%s)", torc_status_name(status), torc_detail());
        return;
    }
    next.sums[from] -= amount;
    next.sums[to] += amount;
    next.least = minus < next.least ? minus : next.least;
    next.greatest = amount > next.greatest ? amount : next.greatest;
    next.appended[list] += appends;
    next.changes += 4 + appends;
    merged[worker->number] = next;
    worker->commits++;
}

/* The first half of the sums adds up to nothing, for every reader, also for one that merged before it looked. */
static void
add_up(struct torct_worker *worker)
{
    bool merges = torci_random_one_in(&worker->random, 4);
    int64_t sum = 0, amount = merges ? 7 : 0;
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    struct torc_txn *txn;

    torct_step(worker, "add up");
    torct_must(torc_txn_begin(worker->stress->store, NULL, &txn));
    if (merges)
        torct_must(torc_txn_merge(txn, sum_name(name, 0), &torc_merge_add, torct_bytes_of(&amount)));
    for (unsigned i = 0; i < SUMS / 2; i++) {
        enum torc_status status = torc_txn_get(txn, sum_name(name, i), &value);

        if (status == TORC_OK)
            sum += torct_number_in(value);
        else if (status != TORC_NOT_FOUND)
            torct_complain(worker, "get returned %s (%s)", torc_status_name(status), torc_detail());
    }
    if (sum != amount)
        torct_complain(worker, "the sums add up to %" PRId64 ", not to %" PRId64, sum, amount);
    worker->reads += SUMS / 2;
    torc_txn_abort(txn);
}

void
torct_merges_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    struct torc_txn *txn;

    (void)workload;
    merged = calloc(stress->threads, sizeof(*merged));
    if (merged == NULL)
        torct_give_up("no memory for %u threads", stress->threads);
    torct_must(torc_txn_begin(stress->store, NULL, &txn));
    torct_must(torc_txn_delete_range(txn, torc_slice(NULL, 0), torc_slice(NULL, 0), NULL));
    torct_must(torc_txn_commit(txn));
    torci_store(&stress->told, (uint64_t)0, memory_order_relaxed);      /* The threads start after it. */
}

void
torct_merges_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    (void)stress;
    (void)workload;
    while (torct_goes_on(worker, torci_now_ns())) {
        uint64_t draw = torci_random_below(&worker->random, 8);

        if (draw < 3)
            add_one(worker, SUMS / 2 + (unsigned)torci_random_below(&worker->random, SUMS - SUMS / 2),
                    1 + (int64_t)draw);
        else if (draw < 6)
            add_many(worker);
        else
            add_up(worker);
    }
}

/* Each thread's elements stand in a list in its order, all of them. */
static void
check_list(struct torct_stress *stress, unsigned list)
{
    static struct element elements[LIST_MAX * 2];
    struct torct_worker *worker = &stress->workers[0];
    char name[STRESS_NAME_MAX];
    uint32_t *next = calloc(stress->threads, sizeof(*next));
    size_t size;
    enum torc_status status = torc_mvcc_get(stress->store, name_of(name, "list", list), elements, sizeof(elements),
                                            &size);

    if (next == NULL)
        torct_give_up("no memory for %u threads", stress->threads);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        torct_complain(worker, "a list got %s (%s)", torc_status_name(status), torc_detail());
    for (size_t i = 0; i < size / sizeof(elements[0]) && status == TORC_OK; i++)
        if (elements[i].thread >= stress->threads || elements[i].number != ++next[elements[i].thread])
            torct_complain(worker, "element %" PRIu32 ".%" PRIu32 " stands in the wrong place", elements[i].thread,
                           elements[i].number);
    for (unsigned thread = 0; thread < stress->threads; thread++)
        if (next[thread] != merged[thread].appended[list])
            torct_complain(worker, "thread %u appended %" PRIu32 " elements, %" PRIu32 " are there", thread,
                           merged[thread].appended[list], next[thread]);
    free(next);
}

static void
check_number(struct torct_stress *stress, struct torc_slice key, int64_t expected)
{
    int64_t found = 0;
    size_t size;
    enum torc_status status = torc_mvcc_get(stress->store, key, &found, sizeof(found), &size);

    if ((status != TORC_OK && status != TORC_NOT_FOUND) || found != expected)
        torct_complain(&stress->workers[0], "%.*s is %" PRId64 ", not %" PRId64, (int)key.size, (const char *)key.data,
                       found, expected);
}

void
torct_merges_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    uint64_t told = torci_load(&stress->told, memory_order_relaxed);    /* Relaxed: the threads are joined. */
    struct merged all = {0};
    char name[STRESS_NAME_MAX];

    (void)workload;
    for (unsigned thread = 0; thread < stress->threads; thread++) {
        const struct merged *own = &merged[thread];

        for (unsigned i = 0; i < SUMS; i++)
            all.sums[i] += own->sums[i];
        all.least = own->least < all.least ? own->least : all.least;
        all.greatest = own->greatest > all.greatest ? own->greatest : all.greatest;
        all.changes += own->changes;
    }
    for (unsigned i = 0; i < SUMS; i++)
        check_number(stress, sum_name(name, i), all.sums[i]);
    check_number(stress, torc_slice("least", 5), all.least);
    check_number(stress, torc_slice("greatest", 8), all.greatest);
    for (unsigned list = 0; list < LISTS; list++)
        check_list(stress, list);
    if (told != all.changes)
        torct_complain(&stress->workers[0], "on_commit was told of %" PRIu64 " changes, not of %" PRIu64, told,
                       all.changes);
    free(merged);
    merged = NULL;
}

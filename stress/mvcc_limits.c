/* SPDX-License-Identifier: MIT */
/* stress/mvcc_limits: transactions that collect more than txn_limit_bytes lets them.
 *
 * A transaction replaces all members of a group: it deletes them, and writes new ones in order, with its number, until
 * it is refused or all are written; perhaps then it goes back to a savepoint and writes on. How many stay is noted
 * under its number, outside of the store, before it commits. So whoever sees a group sees the first members of one
 * transaction, exactly as many as were noted: a write that was refused left nothing, and cost nothing of what was
 * written before. Of its own writes a transaction sees the same after the refusal.
 *
 * Serializable ones read keys that nobody writes until they are refused; what they wrote before commits all the same.
 */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

enum {
    GROUPS = 8,
    MEMBERS = 20,
    NUMBERS_MAX = 50000,        /* Transactions of a thread in a round: what ends it early. */
    READ = 4000,                /* Keys that are only read: more than the limit can note. */
    VALUE_MIN = 64,
    VALUE_MAX = 4000,
    /* What a write may count beside its value; what an arena loses between its blocks; both generously. */
    WRITE_BYTES_MAX = 512,
    SLACK = 1024,
};

struct member {
    uint64_t number;            /* Of its transaction. */
    uint32_t member;
    uint32_t size;              /* Of this value. */
};

static struct torc_keyspace *keyspace;
static _Atomic(unsigned char) *noted;   /* Per transaction: members. Relaxed: its commit, if any, publishes it. */
static uint64_t *begun;                 /* Transactions, per thread. Its own. */

static struct torc_slice
name_of(char name[STRESS_NAME_MAX], const char *prefix, unsigned number)
{
    return torc_slice(name, (size_t)snprintf(name, STRESS_NAME_MAX, "%s%05u", prefix, number));
}

static struct torc_slice
member_name(char name[STRESS_NAME_MAX], unsigned group, unsigned member)
{
    return torc_slice(name, (size_t)snprintf(name, STRESS_NAME_MAX, "g%02u.%02u", group, member));
}

static bool
is_member(struct torc_slice value, uint64_t number, unsigned member)
{
    struct member head;

    if (value.size < sizeof(head))
        return false;
    memcpy(&head, value.data, sizeof(head));
    for (size_t i = sizeof(head); i < value.size; i++)
        if (((const unsigned char *)value.data)[i] != (unsigned char)(number + member))
            return false;
    return head.number == number && head.member == member && head.size == value.size;
}

static struct torc_txn *
begin(struct torct_worker *worker, enum torc_isolation isolation)
{
    struct torc_txn_options options = {.isolation = isolation};
    struct torc_txn *txn;

    torct_must(torc_txn_begin(worker->stress->store, &options, &txn));
    torct_must(torc_txn_use(txn, keyspace));
    return txn;
}

/* ---- Writes ---- */

/* One transaction at work on a group. */
struct attempt {
    struct torct_worker *worker;
    struct torc_txn *txn;
    uint64_t number;
    bool serializable;
    unsigned group;
    unsigned written;           /* Members. */
    unsigned marked;            /* Members before the savepoint; MEMBERS: there is none. */
};

static enum torc_status
put_member(struct attempt *attempt, size_t size)
{
    unsigned char value[VALUE_MAX];
    struct member head = {attempt->number, attempt->written, (uint32_t)size};
    char name[STRESS_NAME_MAX];

    memset(value, (unsigned char)(attempt->number + attempt->written), size);
    memcpy(value, &head, sizeof(head));
    return torc_txn_put(attempt->txn, member_name(name, attempt->group, attempt->written), torc_slice(value, size));
}

/* The next member. TORC_TOO_LARGE must come when it does not fit, and not before. */
static enum torc_status
write_member(struct attempt *attempt)
{
    size_t size = VALUE_MIN + (size_t)torci_random_below(&attempt->worker->random, VALUE_MAX - VALUE_MIN);
    uint64_t before = torc_txn_bytes(attempt->txn), after;
    enum torc_status status = put_member(attempt, size);

    after = torc_txn_bytes(attempt->txn);
    if (status == TORC_TOO_LARGE && before + size + WRITE_BYTES_MAX < STRESS_TXN_LIMIT)
        torct_complain(attempt->worker, "%zu bytes are too large beside %" PRIu64, size, before);
    if (status == TORC_OK && after < before + size)
        torct_complain(attempt->worker, "%zu bytes beside %" PRIu64 " make %" PRIu64, size, before, after);
    if (after > STRESS_TXN_LIMIT + SLACK)
        torct_complain(attempt->worker, "a transaction collects %" PRIu64 " bytes", after);
    attempt->written += status == TORC_OK;
    return status;
}

static enum torc_status
write_members(struct attempt *attempt, unsigned mark)
{
    enum torc_status status = TORC_OK;

    while (attempt->written < MEMBERS && status == TORC_OK) {
        if (attempt->written == mark && attempt->marked == MEMBERS) {
            status = torc_txn_savepoint(attempt->txn, torc_slice("mark", 4));
            if (status != TORC_OK)
                break;
            attempt->marked = mark;
        }
        status = write_member(attempt);
    }
    return status;
}

/* It can be used on: it sees what it wrote, and not what was refused. If it is serializable, that a key is not there
 * may be too much to note. */
static void
see_own(struct attempt *attempt)
{
    char name[STRESS_NAME_MAX];
    struct torc_slice value;

    for (unsigned member = 0; member < MEMBERS; member++) {
        enum torc_status status = torc_txn_get(attempt->txn, member_name(name, attempt->group, member), &value);
        bool right = member < attempt->written ? status == TORC_OK && is_member(value, attempt->number, member)
                                               : status == TORC_NOT_FOUND
                                                     || (attempt->serializable && status == TORC_TOO_LARGE);

        if (!right)
            torct_complain(attempt->worker, "a transaction that wrote %u members got %s as its member %u",
                           attempt->written, torc_status_name(status), member);
        attempt->worker->reads++;
    }
}

/* What was written since goes away, and its bytes with it. */
static void
go_back(struct attempt *attempt)
{
    uint64_t before = torc_txn_bytes(attempt->txn), after;
    enum torc_status status = torc_txn_rollback_to(attempt->txn, torc_slice("mark", 4));

    after = torc_txn_bytes(attempt->txn);
    if (status != TORC_OK)
        torct_complain(attempt->worker, "a rollback returned %s (%s)", torc_status_name(status), torc_detail());
    if (after + (uint64_t)VALUE_MIN * (attempt->written - attempt->marked) > before)
        torct_complain(attempt->worker, "%" PRIu64 " bytes are %" PRIu64 " after a rollback of %u members", before,
                       after, attempt->written - attempt->marked);
    attempt->written = attempt->marked;
}

static enum torc_status
replace_members(struct attempt *attempt)
{
    struct torci_random *random = &attempt->worker->random;
    unsigned mark = (unsigned)torci_random_below(random, 2 * MEMBERS);
    char name[STRESS_NAME_MAX];
    enum torc_status status;

    for (unsigned member = 0; member < MEMBERS; member++) {
        status = torc_txn_delete(attempt->txn, member_name(name, attempt->group, member));
        if (status != TORC_OK && status != TORC_NOT_FOUND)
            return status;
    }
    status = write_members(attempt, mark);
    if (status != TORC_OK && status != TORC_TOO_LARGE)
        return status;
    see_own(attempt);
    if (status == TORC_OK || attempt->marked == MEMBERS || torci_random_one_in(random, 2))
        return TORC_OK;
    go_back(attempt);
    status = write_members(attempt, MEMBERS);
    if (status != TORC_OK && status != TORC_TOO_LARGE)
        return status;
    see_own(attempt);
    return TORC_OK;
}

static void
replace_group(struct torct_worker *worker)
{
    struct attempt attempt = {.worker = worker,
                              .marked = MEMBERS,
                              .group = (unsigned)torci_random_below(&worker->random, GROUPS),
                              .serializable = torci_random_one_in(&worker->random, 2)};
    uint64_t own = begun[worker->number]++;
    enum torc_status status;
    unsigned told;

    torct_step(worker, "replace");
    if (own >= NUMBERS_MAX) {
        torci_store(&worker->stress->stop, true, memory_order_relaxed);     /* A hint; see its declaration. */
        return;
    }
    attempt.number = worker->number * (uint64_t)NUMBERS_MAX + own;
    attempt.txn = begin(worker, attempt.serializable ? TORC_SERIALIZABLE : TORC_SNAPSHOT);
    status = replace_members(&attempt);
    if (status != TORC_OK || torci_random_one_in(&worker->random, 8)) {
        torc_txn_abort(attempt.txn);
    } else {
        told = attempt.written;
        if (worker->stress->plant && worker->number == 0)
            told++;                     /* The planted mistake: one write is lost. */
        torci_store(&noted[attempt.number], (unsigned char)told, memory_order_relaxed);
        status = torc_txn_commit(attempt.txn);
        worker->commits += status == TORC_OK;
    }
    torct_may_come(worker, "replacing", status);
}

/* ---- Reads ---- */

/* The members of a group are those of one transaction, as many as it noted. */
static void
look(struct torct_worker *worker, unsigned group)
{
    struct torc_txn *txn = begin(worker, TORC_SNAPSHOT);
    char name[STRESS_NAME_MAX];
    struct torc_scan_options options = {.prefix = torc_slice(name, (size_t)snprintf(name, sizeof(name), "g%02u.",
                                                                                    group))};
    struct member first = {0};
    struct torc_slice key, value;
    struct torc_cursor *cursor;
    enum torc_status status;
    unsigned members = 0, told;

    torct_step(worker, "look");
    torct_must(torc_txn_scan(txn, &options, &cursor));
    while ((status = torc_cursor_next(cursor, &key, &value)) == TORC_OK) {
        if (members == 0 && value.size >= sizeof(first))
            memcpy(&first, value.data, sizeof(first));
        if (!is_member(value, first.number, members))
            torct_complain(worker, "member %u of group %u is not of transaction %" PRIu64, members, group,
                           first.number);
        members++;
    }
    torc_cursor_close(cursor);
    torc_txn_abort(txn);
    worker->reads += members;
    if (status != TORC_END)
        torct_complain(worker, "a scan returned %s (%s)", torc_status_name(status), torc_detail());
    if (members == 0 || first.number >= (uint64_t)worker->stress->threads * NUMBERS_MAX)
        return;                         /* The latter has been told. */
    /* Relaxed: see its declaration. */
    told = torci_load(&noted[first.number], memory_order_relaxed);
    if (told != members)
        torct_complain(worker, "transaction %" PRIu64 " wrote %u members, %u are there", first.number, told, members);
}

/* Read, by key or in order, until that is too much. */
static enum torc_status
read_on(struct torct_worker *worker, struct torc_txn *txn)
{
    enum torc_status status = TORC_OK;
    char name[STRESS_NAME_MAX];
    struct torc_slice key, value = {NULL, 0};
    unsigned reads = 0;

    if (torci_random_one_in(&worker->random, 2)) {
        for (; reads < READ && status == TORC_OK; reads++)
            status = torc_txn_get(txn, name_of(name, "q", reads), &value);
    } else {
        struct torc_scan_options options = {.prefix = torc_slice("q", 1)};
        struct torc_cursor *cursor;

        status = torc_txn_scan(txn, &options, &cursor);
        for (; reads < READ && status == TORC_OK; reads++)
            status = torc_cursor_next(cursor, &key, &value);
        if (status == TORC_TOO_LARGE && torc_cursor_next(cursor, &key, &value) != TORC_TOO_LARGE)
            torct_complain(worker, "a cursor that was refused goes on");
        torc_cursor_close(cursor);
    }
    worker->reads += reads;
    if (status != TORC_TOO_LARGE || value.size != 0)
        torct_complain(worker, "after %u reads came %s, not a refusal", reads, torc_status_name(status));
    return status;
}

/* A transaction that has read too much still commits what it wrote. */
static void
read_too_much(struct torct_worker *worker)
{
    struct torc_txn *txn = begin(worker, TORC_SERIALIZABLE);
    int64_t number = (int64_t)torci_random_next(&worker->random), found = 0;
    char name[STRESS_NAME_MAX];
    struct torc_slice key = name_of(name, "r", worker->number), value = {NULL, 0};
    enum torc_status status = torc_txn_put(txn, key, torct_bytes_of(&number));
    size_t size;

    torct_step(worker, "read too much");
    if (status != TORC_OK) {            /* Say, too much waits for its grace period. */
        torct_may_come(worker, "the first write", status);
        torc_txn_abort(txn);
        return;
    }
    (void)read_on(worker, txn);
    if (torc_txn_bytes(txn) > STRESS_TXN_LIMIT + SLACK)
        torct_complain(worker, "a transaction collects %" PRIu64 " bytes", torc_txn_bytes(txn));
    if (torc_txn_get(txn, key, &value) != TORC_OK || torct_number_in(value) != number)
        torct_complain(worker, "a transaction does not see its own write when it has read too much");
    status = torc_txn_commit(txn);
    worker->commits += status == TORC_OK;
    if (!torct_may_come(worker, "the commit of one that read too much", status) || status != TORC_OK)
        return;
    if (torc_keyspace_get(keyspace, key, &found, sizeof(found), &size) != TORC_OK || found != number)
        torct_complain(worker, "%s is %" PRId64 ", not %" PRId64, name, found, number);
}

/* ---- The workload ---- */

void
torct_limits_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    char name[STRESS_NAME_MAX];

    (void)workload;
    noted = calloc((size_t)stress->threads * NUMBERS_MAX, sizeof(*noted));
    begun = calloc(stress->threads, sizeof(*begun));
    if (noted == NULL || begun == NULL)
        torct_give_up("no memory for %u threads", stress->threads);
    torct_must(torc_keyspace_create(stress->store, torc_slice("limits", 6), &keyspace));
    for (unsigned i = 0; i < READ; i++)
        torct_must(torc_keyspace_put(keyspace, name_of(name, "q", i), torc_slice("read", 4), TORC_NEVER, NULL));
}

void
torct_limits_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    (void)stress;
    (void)workload;
    while (torct_goes_on(worker, torci_now_ns())) {
        uint64_t draw = torci_random_below(&worker->random, 8);

        if (draw < 3)
            replace_group(worker);
        else if (draw < 4)
            read_too_much(worker);
        else
            look(worker, (unsigned)torci_random_below(&worker->random, GROUPS));
    }
}

void
torct_limits_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    (void)workload;
    for (unsigned group = 0; group < GROUPS; group++)
        look(&stress->workers[0], group);
    torct_must(torc_keyspace_drop(keyspace));
    free(noted);
    free(begun);
}

/* SPDX-License-Identifier: MIT */
/* stress/mvcc_sums: two oracles by construction. The bank: transfers between 8 accounts, some of which come and go;
 * every reader must add up 100. All-equal: writers give 16 keys one value; every reader must find them equal. */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/time.h"

enum {
    ACCOUNTS = 8,
    TOTAL = 100,
    TRANSFER_MAX = 5,
    LONG_AUDITS = 50,
    EQUAL_KEYS = 16,
    ATTEMPTS = 1000,
    BACKOFF_MAX_NS = 50000,
};

static struct torc_slice
name_of(char name[STRESS_NAME_MAX], const char *prefix, unsigned number)
{
    return torc_slice(name, (size_t)snprintf(name, STRESS_NAME_MAX, "%s%02u", prefix, number));
}

static enum torc_isolation
any_isolation(struct torct_worker *worker)
{
    return torci_random_one_in(&worker->random, 2) ? TORC_SERIALIZABLE : TORC_SNAPSHOT;
}

/* Run `body` until it commits. Giving up after many conflicts is allowed, anything else is not. */
static void
run_body(struct torct_worker *worker, enum torc_status (*body)(struct torc_txn *txn, void *context), void *context)
{
    struct torc_run_options options = {.txn = {.isolation = any_isolation(worker)}, .attempts_max = ATTEMPTS,
                                       .backoff_max_ns = BACKOFF_MAX_NS};
    enum torc_status status;

    torct_step(worker, "run");
    status = torc_txn_run(worker->stress->store, &options, body, context);
    if (status == TORC_OK)
        worker->commits++;
    else if (status == TORC_CONFLICT || status == TORC_BUSY)
        worker->conflicts++;
    else
        torct_complain(worker, "run returned %s (%s)", torc_status_name(status), torc_detail());
}

/* Open a reader of any kind; NULL after a complaint. */
static struct torc_txn *
begin_reader(struct torct_worker *worker)
{
    struct torc_txn_options options = {.isolation = any_isolation(worker),
                                       .read_only = torci_random_one_in(&worker->random, 2)};
    struct torc_txn *txn;
    enum torc_status status;

    torct_step(worker, "begin");
    status = torc_txn_begin(worker->stress->store, &options, &txn);
    if (status != TORC_OK)
        torct_complain(worker, "begin returned %s (%s)", torc_status_name(status), torc_detail());
    return txn;
}

static void
end_reader(struct torct_worker *worker, struct torc_txn *txn)
{
    enum torc_status status;

    torct_step(worker, "commit");
    status = torc_txn_commit(txn);
    if (status != TORC_OK)
        torct_complain(worker, "a reader's commit returned %s", torc_status_name(status));
    worker->commits += status == TORC_OK;
}

/* ---- The bank ---- */

struct transfer {
    struct torct_worker *worker;
    unsigned from, to;
    int64_t amount;
};

static enum torc_status
balance_of(struct torc_txn *txn, unsigned account, int64_t *balance)
{
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    enum torc_status status = torc_txn_get(txn, name_of(name, "b", account), &value);

    *balance = status == TORC_OK ? torct_number_in(value) : 0;
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

/* Odd accounts are closed when they are empty. */
static enum torc_status
set_balance(struct torc_txn *txn, unsigned account, int64_t balance)
{
    char name[STRESS_NAME_MAX];
    enum torc_status status;

    if (balance > 0 || account % 2 == 0)
        return torc_txn_put(txn, name_of(name, "b", account), torct_bytes_of(&balance));
    status = torc_txn_delete(txn, name_of(name, "b", account));
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

static enum torc_status
move_money(struct torc_txn *txn, void *context)
{
    const struct transfer *transfer = context;
    int64_t from, to;
    enum torc_status status = balance_of(txn, transfer->from, &from);

    torct_step(transfer->worker, "transfer");
    if (status == TORC_OK)
        status = balance_of(txn, transfer->to, &to);
    if (status != TORC_OK)
        return status;
    if (from < 0 || to < 0)
        torct_complain(transfer->worker, "an account holds %" PRId64, from < to ? from : to);
    if (from < transfer->amount)
        return TORC_OK;
    status = set_balance(txn, transfer->from, from - transfer->amount);
    if (status == TORC_OK)
        status = set_balance(txn, transfer->to, to + transfer->amount);
    return status;
}

static enum torc_status
sum_by_range(struct torc_txn *txn, bool reverse, int64_t *sum)
{
    struct torc_scan_options options = {.prefix = torc_slice("b", 1), .reverse = reverse};
    struct torc_slice key, value;
    struct torc_cursor *cursor;
    enum torc_status status = torc_txn_scan(txn, &options, &cursor);

    *sum = 0;
    if (status != TORC_OK)
        return status;
    while ((status = torc_cursor_next(cursor, &key, &value)) == TORC_OK)
        *sum += torct_number_in(value);
    torc_cursor_close(cursor);
    return status == TORC_END ? TORC_OK : status;
}

static enum torc_status
sum_by_key(struct torc_txn *txn, int64_t *sum)
{
    enum torc_status status = TORC_OK;
    int64_t balance;

    *sum = 0;
    for (unsigned account = 0; account < ACCOUNTS && status == TORC_OK; account++) {
        status = balance_of(txn, account, &balance);
        *sum += balance;
    }
    return status;
}

static void
audit(struct torct_worker *worker, unsigned times)
{
    struct torc_txn *txn = begin_reader(worker);
    int64_t sum;

    if (txn == NULL)
        return;
    for (unsigned i = 0; i < times; i++) {
        bool reverse = torci_random_one_in(&worker->random, 2);
        enum torc_status status;

        torct_step(worker, "audit");
        status = torci_random_one_in(&worker->random, 2) ? sum_by_key(txn, &sum) : sum_by_range(txn, reverse, &sum);
        if (status != TORC_OK)
            torct_complain(worker, "an audit got %s (%s)", torc_status_name(status), torc_detail());
        else if (sum != TOTAL)
            torct_complain(worker, "the bank holds %" PRId64 ", not %d, at snapshot %" PRIu64, sum, TOTAL,
                           torc_txn_snapshot(txn));
        worker->reads += ACCOUNTS;
    }
    end_reader(worker, txn);
}

void
torct_bank_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    char name[STRESS_NAME_MAX];
    int64_t total = TOTAL;

    (void)workload;
    for (unsigned account = 1; account < ACCOUNTS; account++) {
        enum torc_status status = torc_mvcc_delete(stress->store, name_of(name, "b", account));

        if (status != TORC_NOT_FOUND)
            torct_must(status);
    }
    torct_must(torc_mvcc_put(stress->store, name_of(name, "b", 0), torct_bytes_of(&total), NULL));
}

void
torct_bank_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    (void)stress;
    (void)workload;
    while (torct_goes_on(worker, torci_now_ns())) {
        struct transfer transfer = {.worker = worker};

        if (torci_random_one_in(&worker->random, 3)) {
            audit(worker, torci_random_one_in(&worker->random, 50) ? LONG_AUDITS : 1);
            continue;
        }
        transfer.from = (unsigned)torci_random_below(&worker->random, ACCOUNTS);
        transfer.to = (transfer.from + 1 + (unsigned)torci_random_below(&worker->random, ACCOUNTS - 1)) % ACCOUNTS;
        transfer.amount = 1 + (int64_t)torci_random_below(&worker->random, TRANSFER_MAX);
        run_body(worker, move_money, &transfer);
    }
}

void
torct_bank_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    struct torct_worker *worker = &stress->workers[0];

    (void)workload;
    audit(worker, 2);
}

/* ---- All-equal ---- */

static enum torc_status
set_all_equal(struct torc_txn *txn, void *context)
{
    enum torc_status status = TORC_OK;
    char name[STRESS_NAME_MAX];

    for (unsigned key = 0; key < EQUAL_KEYS && status == TORC_OK; key++)
        status = torc_txn_put(txn, name_of(name, "e", key), torct_bytes_of(context));
    return status;
}

static void
find_all_equal(struct torct_worker *worker)
{
    struct torc_txn *txn = begin_reader(worker);
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    int64_t first = 0;

    if (txn == NULL)
        return;
    torct_step(worker, "compare");
    for (unsigned i = 0; i < 2 * EQUAL_KEYS; i++) {
        enum torc_status status = torc_txn_get(txn, name_of(name, "e", i % EQUAL_KEYS), &value);

        if (status != TORC_OK) {
            torct_complain(worker, "key %u got %s (%s)", i % EQUAL_KEYS, torc_status_name(status), torc_detail());
            break;
        }
        if (i == 0)
            first = torct_number_in(value);
        else if (torct_number_in(value) != first)
            torct_complain(worker, "key %u is %" PRId64 " where key 0 was %" PRId64 ", at snapshot %" PRIu64,
                           i % EQUAL_KEYS, torct_number_in(value), first, torc_txn_snapshot(txn));
    }
    worker->reads += 2 * EQUAL_KEYS;
    end_reader(worker, txn);
}

void
torct_equal_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    char name[STRESS_NAME_MAX];
    int64_t zero = 0;

    (void)workload;
    for (unsigned key = 0; key < EQUAL_KEYS; key++)
        torct_must(torc_mvcc_put(stress->store, name_of(name, "e", key), torct_bytes_of(&zero), NULL));
}

void
torct_equal_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    int64_t value = worker->number;

    (void)workload;
    while (torct_goes_on(worker, torci_now_ns())) {
        if (worker->number % 3 == 0) {
            value += stress->threads;
            run_body(worker, set_all_equal, &value);
        } else {
            find_all_equal(worker);
        }
    }
}

void
torct_equal_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    (void)workload;
    find_all_equal(&stress->workers[0]);
}

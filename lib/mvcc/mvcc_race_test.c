/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_race: what holds while threads race: snapshots are whole, money is conserved, one racer wins, no increment
 * is lost.
 *
 * Oracles: values that must be equal or add up, and conservation at the end. Counts bound every loop, never time.
 * Bodies of threads assert nothing: they count violations, which the test looks at after the join. */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/atomic.h"
#include "base/random.h"
#include "base/testing.h"
#include "mvcc/mvcc_fixture_testing.h"

enum { RACERS = 8 };

TestSuite(mvcc_race, .init = create, .fini = destroy, .timeout = 600);

/* ---- All equal ---- */

enum {
    EQUAL_KEYS = 16,
    EQUAL_WRITERS = 3,
    EQUAL_WRITES = 150,
    EQUAL_READS = 300,
};

/* What racers share: the answers, counted. Relaxed counters, read after the join. */
struct race {
    _Atomic(uint64_t) violations;
    _Atomic(uint64_t) failures;         /* A status that no step may return. */
    _Atomic(uint64_t) wins;
    _Atomic(uint64_t) done;             /* Racers that have finished their part. */
    enum torc_isolation isolation;
};

static void
count_one(_Atomic(uint64_t) *counter)
{
    torci_fetch_add(counter, 1, memory_order_relaxed);
}

static void
expect_clean(struct race *race)
{
    cr_expect_eq(torci_load(&race->violations, memory_order_relaxed), 0u, "violations: %" PRIu64,
                 torci_load(&race->violations, memory_order_relaxed));
    cr_expect_eq(torci_load(&race->failures, memory_order_relaxed), 0u, "failures: %" PRIu64,
                 torci_load(&race->failures, memory_order_relaxed));
    expect_only_live_versions();
}

static struct torc_run_options
patient(const struct race *race)
{
    return (struct torc_run_options){.txn = {.isolation = race->isolation}, .attempts_max = 1000000,
                                     .backoff_max_ns = 100000};
}

static enum torc_status
set_all_equal(struct torc_txn *txn, void *context)
{
    enum torc_status status = TORC_OK;
    char name[NAME_MAX_SIZE];

    for (unsigned key = 0; key < EQUAL_KEYS && status == TORC_OK; key++)
        status = torc_txn_put(txn, name_of(name, "equal", key), bytes_of(context));
    return status;
}

/* Read the keys, twice and by a scan: all must be equal, and stay so. */
static void
look_at_all(struct race *race, struct torc_txn *txn)
{
    struct torc_scan_options options = {.prefix = text("equal")};
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    char name[NAME_MAX_SIZE];
    int64_t first = INT64_MIN;
    unsigned count = 0;

    for (unsigned i = 0; i < 2 * EQUAL_KEYS; i++) {
        if (torc_txn_get(txn, name_of(name, "equal", i % EQUAL_KEYS), &value) != TORC_OK)
            count_one(&race->failures);
        else if (i == 0)
            first = number_in(value);
        else if (number_in(value) != first)
            count_one(&race->violations);
    }
    if (torc_txn_scan(txn, &options, &cursor) != TORC_OK) {
        count_one(&race->failures);
        return;
    }
    while (torc_cursor_next(cursor, &key, &value) == TORC_OK) {
        count++;
        if (number_in(value) != first)
            count_one(&race->violations);
    }
    torc_cursor_close(cursor);
    if (count != EQUAL_KEYS)
        count_one(&race->violations);
}

static void
keep_all_equal(void *context, unsigned number)
{
    struct race *race = context;
    struct torc_run_options run = patient(race);
    struct torc_txn_options read_only = {.isolation = race->isolation, .read_only = number % 2 == 0};

    if (number < EQUAL_WRITERS) {
        for (int64_t i = 1; i <= EQUAL_WRITES; i++) {
            int64_t value = i * RACERS + number;

            if (torc_txn_run(store, &run, set_all_equal, &value) != TORC_OK)
                count_one(&race->failures);
        }
        return;
    }
    for (unsigned i = 0; i < EQUAL_READS; i++) {
        struct torc_txn *txn;

        if (torc_txn_begin(store, &read_only, &txn) != TORC_OK) {
            count_one(&race->failures);
            continue;
        }
        look_at_all(race, txn);
        if (torc_txn_commit(txn) != TORC_OK)
            count_one(&race->failures);
    }
}

static void
race_all_equal(enum torc_isolation isolation)
{
    struct race race = {.isolation = isolation};
    struct torc_run_options run = patient(&race);
    int64_t zero = 0;

    cr_assert_eq(torc_txn_run(store, &run, set_all_equal, &zero), TORC_OK);
    torct_race(RACERS, keep_all_equal, &race);
    expect_clean(&race);
}

Test(mvcc_race, sixteen_keys_are_always_all_equal)
{
    race_all_equal(TORC_SNAPSHOT);
}

Test(mvcc_race, sixteen_keys_are_always_all_equal_when_serializable)
{
    race_all_equal(TORC_SERIALIZABLE);
}

enum {
    ACCOUNTS = 8,
    BANK_TOTAL = 100,
    TRANSFERS = 250,
    AUDITS = 250,
    TRANSFER_MAX = 5,
};

/* A bank. Variants: */
struct bank {
    struct race race;
    bool close_empty;       /* An account without money is deleted, and inserted again. */
    bool by_range;          /* Auditors scan, one way and the other. */
    bool long_reader;       /* One auditor keeps its transaction open until the transfers are done. */
    bool autocommit;        /* Accounts have neighbours that are put, got and deleted in one step. */
};

struct transfer {
    unsigned from, to;
    int64_t amount;
    bool close_empty;
    bool negative;
};

static struct torc_slice
account(char name[NAME_MAX_SIZE], unsigned number)
{
    return name_of(name, "account", number);
}

static enum torc_status
balance_of(struct torc_txn *txn, unsigned number, int64_t *balance)
{
    char name[NAME_MAX_SIZE];
    struct torc_slice value;
    enum torc_status status = torc_txn_get(txn, account(name, number), &value);

    *balance = status == TORC_OK ? number_in(value) : 0;
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

static enum torc_status
set_balance(struct torc_txn *txn, unsigned number, int64_t balance, bool close_empty)
{
    char name[NAME_MAX_SIZE];
    enum torc_status status;

    if (balance > 0 || !close_empty)
        return torc_txn_put(txn, account(name, number), bytes_of(&balance));
    status = torc_txn_delete(txn, account(name, number));
    return status == TORC_NOT_FOUND ? TORC_OK : status;
}

static enum torc_status
move_money(struct torc_txn *txn, void *context)
{
    struct transfer *transfer = context;
    int64_t from, to;
    enum torc_status status = balance_of(txn, transfer->from, &from);

    if (status == TORC_OK)
        status = balance_of(txn, transfer->to, &to);
    if (status != TORC_OK)
        return status;
    transfer->negative |= from < 0 || to < 0;
    if (from < transfer->amount)
        return TORC_OK;
    status = set_balance(txn, transfer->from, from - transfer->amount, transfer->close_empty);
    if (status == TORC_OK)
        status = set_balance(txn, transfer->to, to + transfer->amount, transfer->close_empty);
    return status;
}

/* What the auditor sees must be the bank's total. Adds up a conflict-free status only. */
static void
audit(struct bank *bank, struct torc_txn *txn, bool reverse)
{
    struct torc_scan_options options = {.prefix = text("account"), .reverse = reverse};
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    int64_t sum = 0, balance;
    enum torc_status status = TORC_OK;

    if (!bank->by_range) {
        for (unsigned i = 0; i < ACCOUNTS && status == TORC_OK; i++) {
            status = balance_of(txn, i, &balance);
            sum += balance;
        }
    } else {
        status = torc_txn_scan(txn, &options, &cursor);
        while (status == TORC_OK && (status = torc_cursor_next(cursor, &key, &value)) == TORC_OK)
            sum += number_in(value);
        torc_cursor_close(cursor);
        status = status == TORC_END ? TORC_OK : status;
    }
    if (status != TORC_OK)
        count_one(&bank->race.failures);
    else if (sum != BANK_TOTAL)
        count_one(&bank->race.violations);
}

static void
audit_once(struct bank *bank, unsigned number, unsigned turn)
{
    struct torc_txn_options options = {.isolation = bank->race.isolation, .read_only = number % 2 == 0};
    struct torc_txn *txn;

    if (torc_txn_begin(store, &options, &txn) != TORC_OK) {
        count_one(&bank->race.failures);
        return;
    }
    audit(bank, txn, turn % 2 == 0);
    if (torc_txn_commit(txn) != TORC_OK)
        count_one(&bank->race.failures);
}

static void
audit_for_long(struct bank *bank)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_txn *txn;
    unsigned turn = 0;

    if (torc_txn_begin(store, &options, &txn) != TORC_OK) {
        count_one(&bank->race.failures);
        return;
    }
    /* Relaxed: only says when to stop. */
    while (turn < AUDITS || torci_load(&bank->race.done, memory_order_relaxed) < RACERS / 2)
        audit(bank, txn, turn++ % 2 == 0);
    torc_txn_abort(txn);
}

static void
transfer_once(struct bank *bank, struct torci_random *random)
{
    struct torc_run_options run = patient(&bank->race);
    struct transfer transfer = {.close_empty = bank->close_empty};

    transfer.from = (unsigned)torci_random_below(random, ACCOUNTS);
    transfer.to = (transfer.from + 1 + (unsigned)torci_random_below(random, ACCOUNTS - 1)) % ACCOUNTS;
    transfer.amount = 1 + (int64_t)torci_random_below(random, TRANSFER_MAX);
    if (torc_txn_run(store, &run, move_money, &transfer) != TORC_OK)
        count_one(&bank->race.failures);
    if (transfer.negative)
        count_one(&bank->race.violations);
}

/* A step beside the accounts, in the same range of keys but not in their prefix. */
static void
autocommit_once(struct bank *bank, struct torci_random *random, unsigned number)
{
    char name[NAME_MAX_SIZE];
    struct torc_slice key;
    int64_t value = number, got = 0;
    enum torc_status status;
    size_t size;

    key = name_of(name, "accoun", (unsigned)torci_random_below(random, ACCOUNTS));
    status = torci_random_one_in(random, 3) ? torc_mvcc_delete(store, key)
                                            : torc_mvcc_put(store, key, bytes_of(&value), NULL);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        count_one(&bank->race.failures);
    key = account(name, (unsigned)torci_random_below(random, ACCOUNTS));
    status = torc_mvcc_get(store, key, &got, sizeof(got), &size);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        count_one(&bank->race.failures);
    if (got < 0 || got > BANK_TOTAL)
        count_one(&bank->race.violations);
}

static void
work_at_the_bank(void *context, unsigned number)
{
    struct bank *bank = context;
    struct torci_random random = torci_random_seed(torct_seed() + number);

    if (number < RACERS / 2) {
        for (unsigned i = 0; i < TRANSFERS; i++) {
            transfer_once(bank, &random);
            if (bank->autocommit)
                autocommit_once(bank, &random, number);
        }
        count_one(&bank->race.done);
    } else if (bank->long_reader && number == RACERS / 2) {
        audit_for_long(bank);
    } else {
        for (unsigned i = 0; i < AUDITS; i++)
            audit_once(bank, number, i);
    }
}

static void
race_bank(struct bank bank)
{
    char name[NAME_MAX_SIZE];
    struct torc_txn *txn;
    int64_t zero = 0, total = BANK_TOTAL;

    for (unsigned i = 0; i < ACCOUNTS; i++)
        if (i == 0 || !bank.close_empty)
            cr_assert_eq(torc_mvcc_put(store, account(name, i), bytes_of(i == 0 ? &total : &zero), NULL), TORC_OK);
    torct_race(RACERS, work_at_the_bank, &bank);
    bank.by_range = true;
    txn = begin(TORC_SNAPSHOT, true);
    audit(&bank, txn, false);
    torc_txn_abort(txn);
    expect_clean(&bank.race);
}

Test(mvcc_race, a_bank_keeps_its_money)
{
    race_bank((struct bank){.race = {.isolation = TORC_SNAPSHOT}});
}

Test(mvcc_race, a_serializable_bank_keeps_its_money)
{
    race_bank((struct bank){.race = {.isolation = TORC_SERIALIZABLE}});
}

Test(mvcc_race, a_bank_that_opens_and_closes_accounts_keeps_its_money)
{
    race_bank((struct bank){.close_empty = true});
}

Test(mvcc_race, a_bank_read_by_ranges_keeps_its_money)
{
    race_bank((struct bank){.close_empty = true, .by_range = true, .race = {.isolation = TORC_SERIALIZABLE}});
}

Test(mvcc_race, a_long_reader_sees_one_state_of_the_bank)
{
    race_bank((struct bank){.close_empty = true, .by_range = true, .long_reader = true});
}

Test(mvcc_race, a_bank_among_autocommits_keeps_its_money)
{
    race_bank((struct bank){.close_empty = true, .by_range = true, .long_reader = true, .autocommit = true});
}

enum { WON_KEYS = 300 };

static enum torc_status
win_key(struct torc_txn *txn, void *context)
{
    char name[NAME_MAX_SIZE];

    return torc_txn_put_if_absent(txn, name_of(name, "won", *(unsigned *)context), text("mine"));
}

/* The same keys in the same order, so that racers meet at every key. */
static void
win_every_key(void *context, unsigned number)
{
    struct race *race = context;
    struct torc_run_options run = patient(race);

    (void)number;
    for (unsigned key = 0; key < WON_KEYS; key++) {
        enum torc_status status = torc_txn_run(store, &run, win_key, &key);

        if (status == TORC_OK)
            count_one(&race->wins);
        else if (status != TORC_EXISTS)
            count_one(&race->failures);
    }
}

Test(mvcc_race, one_racer_wins_each_absent_key)
{
    struct race race = {.isolation = TORC_SNAPSHOT};

    torct_race(RACERS, win_every_key, &race);
    cr_expect_eq(torci_load(&race.wins, memory_order_relaxed), (uint64_t)WON_KEYS);
    cr_expect_eq(stats_now().keys, (uint64_t)WON_KEYS);
    expect_clean(&race);
}

enum { INCREMENTS = 150 };

static enum torc_status
increment(struct torc_txn *txn, void *context)
{
    struct torc_slice value;
    enum torc_status status = torc_txn_get(txn, text("counter"), &value);
    int64_t number = status == TORC_OK ? number_in(value) + 1 : 1;

    (void)context;
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        return status;
    return torc_txn_put(txn, text("counter"), bytes_of(&number));
}

static void
increment_often(void *context, unsigned number)
{
    struct race *race = context;
    struct torc_run_options run = patient(race);

    (void)number;
    for (unsigned i = 0; i < INCREMENTS; i++)
        if (torc_txn_run(store, &run, increment, NULL) != TORC_OK)
            count_one(&race->failures);
}

static void
race_counter(enum torc_isolation isolation)
{
    struct race race = {.isolation = isolation};
    int64_t counter = 0;
    size_t size;

    torct_race(RACERS, increment_often, &race);
    cr_assert_eq(torc_mvcc_get(store, text("counter"), &counter, sizeof(counter), &size), TORC_OK);
    cr_expect_eq(counter, (int64_t)RACERS * INCREMENTS);
    expect_clean(&race);
}

Test(mvcc_race, a_counter_loses_no_increment)
{
    race_counter(TORC_SNAPSHOT);
}

Test(mvcc_race, a_serializable_counter_loses_no_increment)
{
    race_counter(TORC_SERIALIZABLE);
}

enum { CHURN_KEYS = 40, CHURNS = 1000 };

/* Insert and delete the same few keys: records come and go under each other's feet. */
static void
churn(void *context, unsigned number)
{
    struct race *race = context;
    struct torci_random random = torci_random_seed(torct_seed() ^ number);
    char name[NAME_MAX_SIZE], got[NAME_MAX_SIZE];
    size_t size;

    for (unsigned i = 0; i < CHURNS; i++) {
        struct torc_slice key = name_of(name, "churn", (unsigned)torci_random_below(&random, CHURN_KEYS));
        enum torc_status status;

        switch (torci_random_below(&random, 3)) {
        case 0:
            status = torc_mvcc_put(store, key, key, NULL);
            break;
        case 1:
            status = torc_mvcc_delete(store, key);
            break;
        default:
            status = torc_mvcc_get(store, key, got, sizeof(got), &size);
            if (status == TORC_OK && (size != key.size || memcmp(got, key.data, size) != 0))
                count_one(&race->violations);
            break;
        }
        if (status != TORC_OK && status != TORC_NOT_FOUND)
            count_one(&race->failures);
    }
}

Test(mvcc_race, keys_that_come_and_go_keep_their_values)
{
    struct race race = {.isolation = TORC_SNAPSHOT};
    struct torc_txn *txn;
    struct torc_cursor *cursor;
    struct torc_slice key;
    uint64_t count = 0;

    torct_race(RACERS, churn, &race);
    txn = begin(TORC_SNAPSHOT, true);
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    while (torc_cursor_next(cursor, &key, NULL) == TORC_OK)
        count++;
    torc_cursor_close(cursor);
    torc_txn_abort(txn);
    cr_expect_eq(count, stats_now().keys);
    expect_clean(&race);
}

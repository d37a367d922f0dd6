/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_faults: every allocation fails once, and once for good.
 *
 * One script, run for n = 1, 2, ... with its n-th allocation failing, until it passes untouched. Each step either works
 * or returns TORC_NO_MEMORY or TORC_BUSY and has changed nothing. Oracles: a model beside the store, that takes a
 * step's effect only if the step returned TORC_OK, and the allocator's ledger, which must balance after every run. */
#include <criterion/criterion.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/testing.h"

enum {
    KEYS = 40,
    ROUNDS_MAX = 100000,    /* A script that allocates more often would never end. */
    NAME_MAX_SIZE = 16,
    ABSENT = 0,
};

struct script {
    struct torc_mvcc *store;
    struct torct_ledger ledger;
    unsigned char model[KEYS];      /* The value of each key; ABSENT: none. */
    unsigned refused;               /* Steps that did not work. */
};

static struct torc_slice
name_of(char name[NAME_MAX_SIZE], unsigned key)
{
    return torc_slice(name, (size_t)snprintf(name, NAME_MAX_SIZE, "key%04u", key));
}

/* Whether a step worked. Anything but success and the two refusals is a failure of the test. */
static bool
worked(struct script *script, enum torc_status status, const char *step)
{
    if (status == TORC_OK)
        return true;
    cr_assert(status == TORC_NO_MEMORY || status == TORC_BUSY, "%s: %s", step, torc_status_name(status));
    cr_assert_neq(torc_detail()[0], '\0', "%s says nothing", step);
    script->refused++;
    return false;
}

static void
put(struct script *script, unsigned key, unsigned char value)
{
    char name[NAME_MAX_SIZE];
    bool replaced;

    if (!worked(script, torc_mvcc_put(script->store, name_of(name, key), torc_slice(&value, 1), &replaced), "put"))
        return;
    cr_assert_eq(replaced, script->model[key] != ABSENT);
    script->model[key] = value;
}

static void
delete(struct script *script, unsigned key)
{
    char name[NAME_MAX_SIZE];
    enum torc_status status = torc_mvcc_delete(script->store, name_of(name, key));

    if (status == TORC_NOT_FOUND)
        cr_assert_eq(script->model[key], ABSENT);
    else if (worked(script, status, "delete"))
        script->model[key] = ABSENT;
}

/* Check that the keys of `expected` from `least` up are what a scan shows, as far as the scan comes. */
static void
scan(struct script *script, struct torc_txn *txn, const unsigned char expected[KEYS], bool reverse)
{
    struct torc_scan_options options = {.prefix = torc_slice("key", 3), .reverse = reverse};
    struct torc_cursor *cursor = NULL;
    struct torc_slice key, value;
    char name[NAME_MAX_SIZE];

    if (!worked(script, torc_txn_scan(txn, &options, &cursor), "scan")) {
        cr_assert_null(cursor);
        return;
    }
    for (unsigned i = 0; i <= KEYS; i++) {
        unsigned number = reverse ? KEYS - 1 - i : i;
        enum torc_status status;

        if (i < KEYS && expected[number] == ABSENT)
            continue;
        status = torc_cursor_next(cursor, &key, &value);
        if (status != TORC_END && !worked(script, status, "next"))
            break;
        cr_assert_eq(status, i < KEYS ? TORC_OK : TORC_END, "at %u: %s", i, torc_status_name(status));
        if (i == KEYS)
            break;
        cr_assert(key.size == name_of(name, number).size && memcmp(key.data, name, key.size) == 0);
        cr_assert(value.size == 1 && *(const unsigned char *)value.data == expected[number]);
    }
    torc_cursor_close(cursor);
}

static void
get(struct script *script, struct torc_txn *txn, unsigned key, const unsigned char expected[KEYS], bool for_update)
{
    struct torc_slice value;
    char name[NAME_MAX_SIZE];
    enum torc_status status = for_update ? torc_txn_get_for_update(txn, name_of(name, key), &value)
                                         : torc_txn_get(txn, name_of(name, key), &value);

    if (status == TORC_NOT_FOUND) {
        cr_assert_eq(expected[key], ABSENT, "key %u is gone", key);
    } else if (worked(script, status, "get")) {
        cr_assert(value.size == 1 && *(const unsigned char *)value.data == expected[key]);
        return;
    }
    cr_assert_eq(value.size, 0u);
}

static void
transact(struct script *script, enum torc_isolation isolation, unsigned char value)
{
    struct torc_txn_options options = {.isolation = isolation};
    unsigned char own[KEYS];
    struct torc_txn *txn = NULL;
    char name[NAME_MAX_SIZE];

    if (!worked(script, torc_txn_begin(script->store, &options, &txn), "begin")) {
        cr_assert_null(txn);
        return;
    }
    memcpy(own, script->model, sizeof(own));
    for (unsigned key = 0; key < KEYS; key += 3) {
        get(script, txn, key + 1 < KEYS ? key + 1 : key, own, false);
        if (worked(script, torc_txn_put(txn, name_of(name, key), torc_slice(&value, 1)), "txn put"))
            own[key] = value;
    }
    for (unsigned key = 1; key < KEYS; key += 9) {
        enum torc_status status = torc_txn_delete(txn, name_of(name, key));

        if (status == TORC_NOT_FOUND)
            cr_assert_eq(own[key], ABSENT);
        else if (worked(script, status, "txn delete"))
            own[key] = ABSENT;
    }
    for (unsigned key = 2; key < KEYS; key += 9) {
        enum torc_status status = torc_txn_put_if_absent(txn, name_of(name, key), torc_slice(&value, 1));

        if (status == TORC_EXISTS)
            cr_assert_neq(own[key], ABSENT);
        else if (worked(script, status, "txn put_if_absent"))
            own[key] = value;
    }
    get(script, txn, 5, own, true);
    get(script, txn, KEYS - 1, own, true);
    scan(script, txn, own, false);
    scan(script, txn, own, true);
    if (worked(script, torc_txn_commit(txn), "commit"))
        memcpy(script->model, own, sizeof(own));
    else
        cr_assert_eq(torc_last_commit(), 0u, "a commit that failed has no stamp");
}

static enum torc_status
run_body(struct torc_txn *txn, void *context)
{
    return torc_txn_put(txn, torc_slice("key0007", 7), torc_slice(context, 1));
}

static void
run(struct script *script, unsigned char value)
{
    struct torc_run_options options = {.attempts_max = 3, .backoff_max_ns = 1000};

    if (worked(script, torc_txn_run(script->store, &options, run_body, &value), "run"))
        script->model[7] = value;
}

static void
steps(struct script *script)
{
    for (unsigned key = 0; key < KEYS / 2; key++)
        put(script, key, 1);
    transact(script, TORC_SNAPSHOT, 2);
    for (unsigned key = 0; key < KEYS; key += 4)
        delete(script, key);
    transact(script, TORC_SERIALIZABLE, 3);
    run(script, 4);
    (void)worked(script, torc_mvcc_collect(script->store), "collect");
    for (unsigned key = 0; key < KEYS; key += 5)
        put(script, key, 5);
    for (unsigned key = 0; key < KEYS; key += 2)
        delete(script, key);
    (void)worked(script, torc_mvcc_collect(script->store), "collect");
    transact(script, TORC_SNAPSHOT, 6);
}

/* The store holds what the model holds, is usable, and closes without a byte left. */
static void
check(struct script *script)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_mvcc_stats stats;
    struct torc_txn *txn;
    unsigned refused = script->refused;

    cr_assert_eq(torc_txn_begin(script->store, &options, &txn), TORC_OK);
    scan(script, txn, script->model, false);
    for (unsigned key = 0; key < KEYS; key++)
        get(script, txn, key, script->model, false);
    torc_txn_abort(txn);
    put(script, 0, 9);
    cr_assert_eq(script->refused, refused, "the store is not usable afterwards");
    cr_assert_eq(torc_mvcc_collect(script->store), TORC_OK);
    cr_assert_eq(torc_mvcc_stats(script->store, &stats), TORC_OK);
    cr_assert_eq(stats.open_transactions, 0u);
    cr_assert_eq(stats.versions_created - stats.versions_freed, stats.keys);
}

/* Whether allocation `n` was reached. */
static bool
run_with_fault_at(uint64_t n, bool sticky)
{
    struct torc_mvcc_options options;
    struct torc_allocator allocator;
    struct script script = {.store = NULL};
    enum torc_status status;
    uint64_t seen;

    torct_ledger_init(&script.ledger);
    allocator = torct_ledger_allocator(&script.ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    torci_alloc_fail_at(n, sticky);
    status = torc_mvcc_open(&options, &script.store);
    if (worked(&script, status, "open"))
        steps(&script);
    else
        cr_assert_null(script.store);
    seen = torci_alloc_fail_at(0, false);
    if (script.store != NULL)
        check(&script);
    cr_assert_eq(torc_mvcc_close(script.store), TORC_OK);
    cr_assert(torct_ledger_balanced(&script.ledger), "%llu bytes are left after a fault at allocation %llu",
              (unsigned long long)torci_load(&script.ledger.bytes, memory_order_relaxed), (unsigned long long)n);
    cr_assert(seen >= n || script.refused == 0, "a step was refused without a fault");
    return seen >= n;
}

static void
run_until_untouched(bool sticky)
{
    uint64_t n = 1;

    /* One run without a fault first: what the thread itself needs once is there afterwards. */
    cr_assert_not(run_with_fault_at(UINT64_MAX, false));
    while (n < ROUNDS_MAX && run_with_fault_at(n, sticky))
        n++;
    cr_assert_lt(n, (uint64_t)ROUNDS_MAX);
#if defined(TORC_FAULTS)
    cr_assert_gt(n, 10u, "the script hardly allocates: the faults are not injected");
#endif
}

TestSuite(mvcc_faults, .timeout = 600);

Test(mvcc_faults, one_failing_allocation_changes_nothing)
{
    run_until_untouched(false);
}

Test(mvcc_faults, all_allocations_failing_from_some_on_change_nothing)
{
    run_until_untouched(true);
}

static void
expect_open_without_memory(uint64_t refuse_from)
{
    struct torct_ledger ledger;
    struct torc_allocator allocator;
    struct torc_mvcc_options options;
    struct torc_mvcc *store = (struct torc_mvcc *)&ledger;
    enum torc_status status;

    torct_ledger_init(&ledger);
    torci_store(&ledger.refuse_from, refuse_from, memory_order_relaxed);    /* No other thread yet. */
    allocator = torct_ledger_allocator(&ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    status = torc_mvcc_open(&options, &store);
    cr_assert(status == TORC_OK || status == TORC_NO_MEMORY, "%s", torc_status_name(status));
    cr_expect_eq(store != NULL, status == TORC_OK);
    cr_expect_eq(torc_mvcc_close(store), TORC_OK);
    cr_expect(torct_ledger_balanced(&ledger), "refusing from allocation %llu on", (unsigned long long)refuse_from);
    if (refuse_from == 1)
        cr_expect_eq(status, TORC_NO_MEMORY);
}

Test(mvcc_faults, an_embedders_allocator_may_refuse_too)
{
    for (uint64_t n = 1; n <= 64; n++)
        expect_open_without_memory(n);
}

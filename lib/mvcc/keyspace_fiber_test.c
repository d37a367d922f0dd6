/* SPDX-License-Identifier: MIT */
/* Dropping a keyspace, in every interleaving the scheduler can draw: beside puts, commits, scans, pruning and emptying.
 * Values tell their key, and freed memory is filled, so that a use after free shows. At the end everything is back. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/alloc.h"
#include "base/fiber.h"
#include "base/testing.h"
#include "mvcc/keyspace.h"

TestSuite(keyspace_schedules, .timeout = 600);

enum { FIBERS = 3, KEYS = 3, STEPS = 4, SCHEDULES = 60000 };

struct fixture {
    struct torct_ledger ledger;
    struct torc_allocator allocator;
    struct torc_mvcc *store;
    struct torc_keyspace *keyspace;
    struct torc_txn *open;              /* Setup's, which has a value borrowed; ended by fiber 0. */
    struct torc_slice borrowed;
    bool reuse;                         /* The name is used again. */
};

static struct fixture fixture;

static struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

static struct torc_slice
some_key(char name[4])
{
    return torc_slice(name, (size_t)snprintf(name, 4, "k%u", (unsigned)(torci_fiber_random() % KEYS)));
}

static void
expect(bool condition, const char *reason)
{
    if (!condition)
        torci_fail_here(reason);
}

static bool
tells(struct torc_slice value, struct torc_slice key)
{
    return value.size == key.size && memcmp(value.data, key.data, key.size) == 0;
}

static void
setup(void *context)
{
    struct torc_mvcc_options options;
    char name[4];

    (void)context;
    torct_ledger_init(&fixture.ledger);
    fixture.allocator = torct_ledger_allocator(&fixture.ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &fixture.allocator;
    options.hash_seed = 1;
    options.expected_keys = 4;
    expect(torc_mvcc_open(&options, &fixture.store) == TORC_OK, "open");
    expect(torc_keyspace_create(fixture.store, text("name"), &fixture.keyspace) == TORC_OK, "create");
    for (unsigned i = 0; i < 4; i++) {
        struct torc_slice key = some_key(name);

        expect(torc_keyspace_put(fixture.keyspace, key, key, TORC_NEVER, NULL) == TORC_OK, "put");
    }
    fixture.open = NULL;
    fixture.borrowed = torc_slice(NULL, 0);
    if (torci_fiber_random() % 2 == 0) {
        expect(torc_txn_begin(fixture.store, NULL, &fixture.open) == TORC_OK, "begin");
        expect(torc_txn_use(fixture.open, fixture.keyspace) == TORC_OK, "use");
        if (torc_txn_get(fixture.open, text("k1"), &fixture.borrowed) != TORC_OK)
            fixture.borrowed = torc_slice(NULL, 0);
    }
}

static void
in_transaction(void)
{
    enum torc_isolation isolation = torci_fiber_random() % 2 == 0 ? TORC_SNAPSHOT : TORC_SERIALIZABLE;
    struct torc_txn_options options = {.isolation = isolation};
    struct torc_slice borrowed = torc_slice(NULL, 0);
    struct torc_slice key;
    struct torc_slice value;
    struct torc_cursor *cursor;
    struct torc_txn *txn;
    enum torc_status status;
    char name[4];

    expect(torc_txn_begin(fixture.store, &options, &txn) == TORC_OK, "begin");
    status = torc_txn_use(txn, fixture.keyspace);
    for (unsigned i = 0; status == TORC_OK && i < 2; i++) {
        key = some_key(name);
        switch (torci_fiber_random() % 3) {
        case 0:
            status = torc_txn_get(txn, key, &value);
            expect(status != TORC_OK || tells(value, key), "a torn value");
            if (status == TORC_OK && i == 0)
                borrowed = value;
            break;
        case 1:
            status = torc_txn_put(txn, key, key);
            break;
        default:
            status = torc_txn_scan(txn, NULL, &cursor);
            if (status != TORC_OK)
                break;
            while (torc_cursor_next(cursor, &key, &value) == TORC_OK)
                expect(tells(value, key), "a torn value in a scan");
            torc_cursor_close(cursor);
            break;
        }
        if (status == TORC_NOT_FOUND || status == TORC_CONFLICT)
            status = TORC_OK;
    }
    if (torci_fiber_random() % 2 == 0)
        expect(torc_mvcc_poll(fixture.store, NULL) == TORC_OK, "poll");
    expect(borrowed.size == 0 || ((const char *)borrowed.data)[0] == 'k', "a borrowed value has gone");
    status = torc_txn_commit(txn);
    expect(status == TORC_OK || status == TORC_CONFLICT, "commit");
}

static void
one_call(void)
{
    char buffer[8];
    char name[4];
    struct torc_slice key = some_key(name);
    enum torc_status status;
    size_t size;

    switch (torci_fiber_random() % 3) {
    case 0:
        status = torc_keyspace_put(fixture.keyspace, key, key, TORC_NEVER, NULL);
        break;
    case 1:
        status = torc_keyspace_delete(fixture.keyspace, key);
        break;
    default:
        status = torc_keyspace_get(fixture.keyspace, key, buffer, sizeof buffer, &size);
        expect(status != TORC_OK || tells(torc_slice(buffer, size), key), "a torn value");
        break;
    }
    expect(status == TORC_OK || status == TORC_NOT_FOUND, "one call");
}

/* Once, after everything else of fiber 0. */
static void
end_open(void)
{
    if (fixture.open == NULL)
        return;
    expect(fixture.borrowed.size == 0 || tells(fixture.borrowed, text("k1")), "a borrowed value has gone");
    torc_txn_abort(fixture.open);
    fixture.open = NULL;
}

static void
body(void *context, unsigned number)
{
    struct torc_keyspace *again;
    enum torc_status status;

    (void)context;
    for (unsigned step = 0; step < STEPS; step++) {
        switch (torci_fiber_random() % 5) {
        case 0:
            if (number == 0) {
                status = torc_keyspace_drop(fixture.keyspace);
                expect(status == TORC_OK || status == TORC_NOT_FOUND, "drop");
                break;
            }
            one_call();
            break;
        case 1:
            in_transaction();
            break;
        case 2:
            expect(torc_mvcc_poll(fixture.store, NULL) == TORC_OK, "poll");
            break;
        case 3:
            if (number == 2 && fixture.reuse) {
                status = torc_keyspace_create(fixture.store, text("name"), &again);
                expect(status == TORC_OK || status == TORC_EXISTS, "create again");
                break;
            }
            one_call();
            break;
        default:
            one_call();
            break;
        }
    }
    if (number == 0)
        end_open();
}

static bool
check(void *context)
{
    struct torc_keyspace *keyspaces[3];
    struct torc_mvcc_stats stats;
    size_t count;

    (void)context;
    if (torc_mvcc_keyspaces(fixture.store, keyspaces, 3, &count) != TORC_OK || count > 3)
        return false;
    for (size_t i = 1; i < count; i++) {
        if (torc_keyspace_drop(keyspaces[i]) != TORC_OK)
            return false;
    }
    if (torci_fiber_random() % 4 == 0)
        return true; /* Closing frees what is half done. */
    for (unsigned i = 0; i < 3; i++) {
        if (torc_mvcc_collect(fixture.store) != TORC_OK)
            return false;
    }
    /* Relaxed: alone. */
    if (torci_load(&fixture.store->keyspaces_leaving, memory_order_relaxed) != 0)
        return false;
    return torc_mvcc_stats(fixture.store, &stats) == TORC_OK && stats.keys == 0;
}

static void
teardown(void *context)
{
    (void)context;
    expect(torc_mvcc_close(fixture.store) == TORC_OK, "close");
    expect(torct_ledger_balanced(&fixture.ledger), "memory is left");
}

static void
look_at(void *context, struct torci_epoch_guard guard, struct torci_record *record)
{
    unsigned *seen = context;

    (void)guard;
    expect(record->key_size == 2, "a record of nobody");
    ++*seen;
}

/* Who loses a name may have been seen by its number: by who looks at all keyspaces. */
static void
lose_or_look(void *context, unsigned number)
{
    struct torci_index_stats stats;
    struct torc_keyspace *made;
    enum torc_status status;
    unsigned seen = 0;

    (void)context;
    for (unsigned i = 0; i < 2; i++) {
        if (number == 0) {
            expect(torci_walk_all(fixture.store, look_at, &seen) == TORC_OK, "walk");
            torci_keyspaces_index_stats(fixture.store, &stats);
            continue;
        }
        status = torc_keyspace_create(fixture.store, text("other"), &made);
        expect(status == TORC_OK || status == TORC_EXISTS, "create");
        if (status == TORC_OK && torci_fiber_random() % 2 == 0)
            expect(torc_keyspace_drop(made) == TORC_OK, "drop");
    }
    if (number == 0)
        end_open();
}

static void
run(bool reuse, void (*body_of)(void *context, unsigned number), uint64_t schedules)
{
    struct torci_run plan = {.fibers = FIBERS,
                             .setup = setup,
                             .body = body_of,
                             .check = check,
                             .teardown = teardown,
                             .seed = torct_seed(),
                             .schedules = schedules,
                             .strategy = TORCI_MIXED};
    struct torci_run_result result;

    fixture.reuse = reuse;
    result = torci_fiber_run(&plan);
    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

Test(keyspace_schedules, what_is_dropped_is_freed_once_and_not_while_it_is_used)
{
    run(false, body, SCHEDULES);
}

/* A handle that was dropped may mean the next keyspace by then, which is a mistake of the caller; but not one that may
 * corrupt anything. */
Test(keyspace_schedules, a_keyspace_is_used_again_only_when_nobody_can_take_it_for_the_old_one)
{
    run(true, body, SCHEDULES);
}

Test(keyspace_schedules, a_keyspace_that_loses_its_name_is_freed_when_nobody_looks_at_it)
{
    run(false, lose_or_look, SCHEDULES);
}

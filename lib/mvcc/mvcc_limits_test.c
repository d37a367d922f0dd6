/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_limits: bad input and limits. Each gives its status and a detail string and leaves the object as it was.
 *
 * "As it was" is checked the same way everywhere: after the refusal the store still holds a=1 and nothing else, and the
 * transaction at hand still reads it and can commit. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE     /* MAP_ANONYMOUS */
#endif
#include <criterion/criterion.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <torc/mvcc.h>

#include "base/epoch.h"
#include "base/testing.h"

static struct torc_mvcc *store;
static struct torc_txn *txn;
static unsigned char long_key[TORC_KEY_SIZE_MAX + 1];

static struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

static void
create(void)
{
    cr_assert_eq(torc_mvcc_open(NULL, &store), TORC_OK);
    cr_assert_eq(torc_mvcc_put(store, text("a"), text("1"), NULL), TORC_OK);
    cr_assert_eq(torc_txn_begin(store, NULL, &txn), TORC_OK);
}

static void
destroy(void)
{
    torc_txn_abort(txn);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

TestSuite(mvcc_refuses, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_finished, .init = create, .fini = destroy, .timeout = 60);
TestSuite(mvcc_sizes, .init = create, .fini = destroy, .timeout = 120);
TestSuite(mvcc_full, .timeout = 120);
TestSuite(mvcc_retired, .timeout = 120);

/* One refused call: its status, and a detail that this call wrote. */
#define refuses(call, wanted)                                                                       \
    do {                                                                                            \
        enum torc_status refused_status = (call);                                                   \
        cr_expect_eq(refused_status, wanted, "%s gave %s, not " #wanted, #call, torc_status_name(refused_status)); \
        cr_expect_neq(torc_detail()[0], '\0', "%s says nothing", #call);                            \
        cr_expect_null(strchr(torc_detail(), '\n'), "%s says more than a line", #call);             \
    } while (0)

static void
expect_one(struct torc_txn *reader)
{
    struct torc_cursor *cursor;
    struct torc_slice key, value;

    cr_assert_eq(torc_txn_scan(reader, NULL, &cursor), TORC_OK);
    cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
    cr_expect(key.size == 1 && memcmp(key.data, "a", 1) == 0 && value.size == 1 && memcmp(value.data, "1", 1) == 0);
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_END);
    torc_cursor_close(cursor);
}

/* The transaction at hand and the store are as create() left them. */
static void
expect_unchanged(void)
{
    struct torc_txn *other;

    expect_one(txn);
    cr_expect_eq(torc_txn_commit(txn), TORC_OK);
    txn = NULL;
    cr_assert_eq(torc_txn_begin(store, NULL, &other), TORC_OK);
    expect_one(other);
    torc_txn_abort(other);
}

/* ---- Keys and values ---- */

/* Every call that takes a key refuses `key` with `wanted`. */
static void
expect_key_refused(struct torc_slice key, enum torc_status wanted)
{
    struct torc_slice value = text("left");
    char buffer[4];
    bool replaced = false;
    size_t size = 9;

    refuses(torc_mvcc_get(store, key, buffer, sizeof(buffer), &size), wanted);
    cr_expect_eq(size, 0u);
    refuses(torc_mvcc_put(store, key, text("2"), &replaced), wanted);
    refuses(torc_mvcc_delete(store, key), wanted);
    refuses(torc_txn_get(txn, key, &value), wanted);
    cr_expect_eq(value.size, 0u);
    value = text("left");
    refuses(torc_txn_get_for_update(txn, key, &value), wanted);
    cr_expect_eq(value.size, 0u);
    refuses(torc_txn_put(txn, key, text("2")), wanted);
    refuses(torc_txn_put_if_absent(txn, key, text("2")), wanted);
    refuses(torc_txn_delete(txn, key), wanted);
    expect_unchanged();
}

Test(mvcc_refuses, an_empty_key)
{
    expect_key_refused(torc_slice("", 0), TORC_INVALID);
}

Test(mvcc_refuses, a_key_that_is_null)
{
    expect_key_refused(torc_slice(NULL, 0), TORC_INVALID);
}

Test(mvcc_refuses, a_key_without_bytes)
{
    expect_key_refused(torc_slice(NULL, 5), TORC_INVALID);
}

Test(mvcc_refuses, a_key_one_past_the_maximum)
{
    expect_key_refused(torc_slice(long_key, TORC_KEY_SIZE_MAX + 1), TORC_TOO_LARGE);
}

Test(mvcc_refuses, a_key_of_every_byte_there_is)
{
    expect_key_refused(torc_slice(long_key, SIZE_MAX), TORC_TOO_LARGE);
}

/* Refused before a byte is read: the slices claim more than they hold. */
static void
expect_value_refused(struct torc_slice value, enum torc_status wanted)
{
    refuses(torc_mvcc_put(store, text("b"), value, NULL), wanted);
    refuses(torc_mvcc_put(store, text("a"), value, NULL), wanted);
    refuses(torc_txn_put(txn, text("b"), value), wanted);
    refuses(torc_txn_put(txn, text("a"), value), wanted);
    refuses(torc_txn_put_if_absent(txn, text("b"), value), wanted);
    expect_unchanged();
}

Test(mvcc_refuses, a_value_one_past_the_maximum)
{
    expect_value_refused(torc_slice("tiny", (size_t)TORC_VALUE_SIZE_MAX + 1), TORC_TOO_LARGE);
}

Test(mvcc_refuses, a_value_of_every_byte_there_is)
{
    expect_value_refused(torc_slice("tiny", SIZE_MAX), TORC_TOO_LARGE);
}

Test(mvcc_refuses, a_value_without_bytes)
{
    expect_value_refused(torc_slice(NULL, 5), TORC_INVALID);
}

Test(mvcc_refuses, bounds_past_the_maximum)
{
    struct torc_slice too_long = torc_slice(long_key, TORC_KEY_SIZE_MAX + 1), no_bytes = torc_slice(NULL, 5);
    struct torc_scan_options options[] = {
        {.from = too_long}, {.to = too_long}, {.prefix = too_long},
        {.from = no_bytes}, {.to = no_bytes}, {.prefix = no_bytes},
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        struct torc_cursor *cursor = (struct torc_cursor *)&options;

        refuses(torc_txn_scan(txn, &options[i], &cursor), i < 3 ? TORC_TOO_LARGE : TORC_INVALID);
        cr_expect_null(cursor);
    }
    expect_unchanged();
}

Test(mvcc_sizes, a_key_of_one_byte_and_one_of_the_maximum)
{
    struct torc_slice shortest = torc_slice("\xff", 1), longest = torc_slice(long_key, TORC_KEY_SIZE_MAX), key, value;
    struct torc_scan_options options = {.prefix = torc_slice(long_key, TORC_KEY_SIZE_MAX)};
    struct torc_cursor *cursor;
    char buffer[8];
    size_t size;

    memset(long_key, 'k', sizeof(long_key));
    cr_assert_eq(torc_mvcc_put(store, longest, text("long"), NULL), TORC_OK);
    cr_assert_eq(torc_mvcc_put(store, shortest, text("short"), NULL), TORC_OK);
    cr_assert_eq(torc_mvcc_get(store, longest, buffer, sizeof(buffer), &size), TORC_OK);
    cr_expect_eq(size, 4u);
    torc_txn_abort(txn);
    cr_assert_eq(torc_txn_begin(store, NULL, &txn), TORC_OK);
    cr_assert_eq(torc_txn_get(txn, longest, &value), TORC_OK);
    cr_assert_eq(torc_txn_scan(txn, &options, &cursor), TORC_OK);
    cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
    cr_expect(key.size == TORC_KEY_SIZE_MAX && memcmp(key.data, long_key, key.size) == 0);
    cr_expect_eq(torc_cursor_next(cursor, &key, &value), TORC_END);
    torc_cursor_close(cursor);
    cr_assert_eq(torc_txn_put(txn, longest, text("own")), TORC_OK);
    cr_assert_eq(torc_mvcc_put(store, longest, text("rival"), NULL), TORC_OK);
    cr_expect_eq(torc_txn_commit(txn), TORC_CONFLICT);
    txn = NULL;
    key = torc_conflict_key();
    cr_expect(key.size == 256 && memcmp(key.data, long_key, key.size) == 0, "a conflict names the key's beginning");
    cr_assert_eq(torc_mvcc_delete(store, longest), TORC_OK);
    cr_assert_eq(torc_mvcc_delete(store, shortest), TORC_OK);
}

Test(mvcc_sizes, keys_that_differ_in_their_last_byte_only)
{
    struct torc_slice value;

    memset(long_key, 'k', sizeof(long_key));
    for (unsigned char last = 0; last < 4; last++) {
        long_key[TORC_KEY_SIZE_MAX - 1] = last;
        cr_assert_eq(torc_txn_put(txn, torc_slice(long_key, TORC_KEY_SIZE_MAX), torc_slice(&last, 1)), TORC_OK);
    }
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    cr_assert_eq(torc_txn_begin(store, NULL, &txn), TORC_OK);
    for (unsigned char last = 0; last < 4; last++) {
        long_key[TORC_KEY_SIZE_MAX - 1] = last;
        cr_assert_eq(torc_txn_get(txn, torc_slice(long_key, TORC_KEY_SIZE_MAX), &value), TORC_OK);
        cr_expect(value.size == 1 && *(const unsigned char *)value.data == last);
    }
}

Test(mvcc_sizes, an_empty_value_is_not_an_absent_one)
{
    struct torc_slice value;
    char buffer[4];
    size_t size = 9;

    cr_assert_eq(torc_mvcc_put(store, text("b"), torc_slice(NULL, 0), NULL), TORC_OK);
    cr_expect_eq(torc_mvcc_get(store, text("b"), buffer, sizeof(buffer), &size), TORC_OK);
    cr_expect_eq(size, 0u);
    cr_expect_eq(torc_mvcc_get(store, text("b"), NULL, 0, &size), TORC_OK);
    cr_assert_eq(torc_txn_put(txn, text("c"), torc_slice(NULL, 0)), TORC_OK);
    cr_expect_eq(torc_txn_get(txn, text("c"), &value), TORC_OK);
    cr_expect_eq(value.size, 0u);
    cr_expect_eq(torc_txn_put_if_absent(txn, text("c"), text("1")), TORC_EXISTS);
}

/* Sanitizers would shadow half a gigabyte, twice. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define HALF_A_GIGABYTE_IS_TOO_MUCH
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define HALF_A_GIGABYTE_IS_TOO_MUCH
#endif
#endif
#if !defined(HALF_A_GIGABYTE_IS_TOO_MUCH)
Test(mvcc_sizes, a_value_of_the_maximum)
{
    char *bytes = mmap(NULL, TORC_VALUE_SIZE_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct torc_slice value;

    cr_assert_neq(bytes, MAP_FAILED);
    cr_assert_eq(torc_mvcc_put(store, text("b"), torc_slice(bytes, TORC_VALUE_SIZE_MAX), NULL), TORC_OK);
    torc_txn_abort(txn);
    cr_assert_eq(torc_txn_begin(store, NULL, &txn), TORC_OK);
    cr_assert_eq(torc_txn_get(txn, text("b"), &value), TORC_OK);
    cr_expect_eq(value.size, TORC_VALUE_SIZE_MAX);
    cr_expect_eq(((const char *)value.data)[TORC_VALUE_SIZE_MAX - 1], '\0');
    cr_assert_eq(torc_mvcc_delete(store, text("b")), TORC_OK);
    munmap(bytes, TORC_VALUE_SIZE_MAX);
}
#endif

/* ---- NULL and options ---- */

Test(mvcc_refuses, null_where_an_object_belongs)
{
    struct torc_slice value;
    struct torc_txn *begun = txn;
    struct torc_cursor *cursor = (struct torc_cursor *)&value;
    struct torc_mvcc_stats stats;
    struct torc_snapshot_info info;
    char buffer[4];
    size_t size;

    refuses(torc_mvcc_open(NULL, NULL), TORC_INVALID);
    refuses(torc_mvcc_get(NULL, text("a"), buffer, sizeof(buffer), &size), TORC_INVALID);
    refuses(torc_mvcc_get(store, text("a"), NULL, 1, &size), TORC_INVALID);
    refuses(torc_mvcc_get(store, text("a"), buffer, sizeof(buffer), NULL), TORC_INVALID);
    refuses(torc_mvcc_put(NULL, text("a"), text("2"), NULL), TORC_INVALID);
    refuses(torc_mvcc_delete(NULL, text("a")), TORC_INVALID);
    refuses(torc_txn_begin(NULL, NULL, &begun), TORC_INVALID);
    cr_expect_null(begun);
    refuses(torc_txn_begin(store, NULL, NULL), TORC_INVALID);
    refuses(torc_txn_get(NULL, text("a"), &value), TORC_INVALID);
    refuses(torc_txn_get(txn, text("a"), NULL), TORC_INVALID);
    refuses(torc_txn_get_for_update(NULL, text("a"), &value), TORC_INVALID);
    refuses(torc_txn_get_for_update(txn, text("a"), NULL), TORC_INVALID);
    refuses(torc_txn_put(NULL, text("a"), text("2")), TORC_INVALID);
    refuses(torc_txn_put_if_absent(NULL, text("a"), text("2")), TORC_INVALID);
    refuses(torc_txn_delete(NULL, text("a")), TORC_INVALID);
    refuses(torc_txn_commit(NULL), TORC_INVALID);
    refuses(torc_txn_run(NULL, NULL, NULL, NULL), TORC_INVALID);
    refuses(torc_txn_run(store, NULL, NULL, NULL), TORC_INVALID);
    refuses(torc_txn_scan(NULL, NULL, &cursor), TORC_INVALID);
    cr_expect_null(cursor);
    refuses(torc_txn_scan(txn, NULL, NULL), TORC_INVALID);
    refuses(torc_cursor_next(NULL, &value, &value), TORC_INVALID);
    refuses(torc_mvcc_stats(NULL, &stats), TORC_INVALID);
    refuses(torc_mvcc_stats(store, NULL), TORC_INVALID);
    refuses(torc_mvcc_snapshots(NULL, false, &info, 1, &size), TORC_INVALID);
    refuses(torc_mvcc_snapshots(store, false, NULL, 1, &size), TORC_INVALID);
    refuses(torc_mvcc_snapshots(store, false, &info, 1, NULL), TORC_INVALID);
    refuses(torc_mvcc_collect(NULL), TORC_INVALID);
    refuses(torc_mvcc_metrics(NULL, buffer, sizeof(buffer), &size), TORC_INVALID);
    refuses(torc_mvcc_metrics(store, NULL, 1, &size), TORC_INVALID);
    refuses(torc_mvcc_metrics(store, buffer, sizeof(buffer), NULL), TORC_INVALID);
    expect_unchanged();
}

Test(mvcc_refuses, a_cursor_without_a_place_for_the_key)
{
    struct torc_cursor *cursor;
    struct torc_slice key;

    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    refuses(torc_cursor_next(cursor, NULL, NULL), TORC_INVALID);
    cr_expect_eq(torc_cursor_next(cursor, &key, NULL), TORC_OK);
    torc_cursor_close(cursor);
    expect_unchanged();
}

Test(mvcc_refuses, nothing_where_null_is_allowed)
{
    torc_mvcc_options_init(NULL);
    torc_txn_abort(NULL);
    torc_cursor_close(NULL);
    cr_expect_eq(torc_txn_snapshot(NULL), 0u);
    cr_expect_eq(torc_mvcc_close(NULL), TORC_OK);
    expect_unchanged();
}

Test(mvcc_refuses, an_unknown_isolation)
{
    struct torc_txn_options options = {.isolation = (enum torc_isolation)7};
    struct torc_run_options run = {.txn = {.isolation = (enum torc_isolation)7}};
    struct torc_txn *begun = txn;

    refuses(torc_txn_begin(store, &options, &begun), TORC_INVALID);
    cr_expect_null(begun);
    refuses(torc_txn_run(store, &run, (enum torc_status (*)(struct torc_txn *, void *))abort, NULL), TORC_INVALID);
    expect_unchanged();
}

Test(mvcc_refuses, options_that_were_not_initialized)
{
    struct torc_mvcc_options options;
    struct torc_mvcc *opened = store;

    memset(&options, 0, sizeof(options));
    refuses(torc_mvcc_open(&options, &opened), TORC_INVALID);
    cr_expect_null(opened);
    expect_unchanged();
}

Test(mvcc_refuses, an_allocator_without_functions)
{
    static const struct torc_allocator allocator;
    struct torc_mvcc_options options;
    struct torc_mvcc *opened = store;

    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    refuses(torc_mvcc_open(&options, &opened), TORC_INVALID);
    cr_expect_null(opened);
    expect_unchanged();
}

Test(mvcc_refuses, writes_in_a_read_only_transaction)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_slice value;

    torc_txn_abort(txn);
    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK);
    refuses(torc_txn_put(txn, text("b"), text("2")), TORC_READ_ONLY);
    refuses(torc_txn_put_if_absent(txn, text("b"), text("2")), TORC_READ_ONLY);
    refuses(torc_txn_put_if_absent(txn, text("a"), text("2")), TORC_READ_ONLY);
    refuses(torc_txn_delete(txn, text("a")), TORC_READ_ONLY);
    refuses(torc_txn_delete(txn, text("b")), TORC_READ_ONLY);
    refuses(torc_txn_get_for_update(txn, text("a"), &value), TORC_READ_ONLY);
    expect_unchanged();
}

Test(mvcc_refuses, to_close_while_transactions_are_open)
{
    refuses(torc_mvcc_close(store), TORC_BUSY);
    expect_unchanged();
}

Test(mvcc_refuses, metrics_without_room_but_says_how_much)
{
    size_t size = 0;

    refuses(torc_mvcc_metrics(store, NULL, 0, &size), TORC_TOO_LARGE);
    cr_expect_gt(size, 0u);
    expect_unchanged();
}

Test(mvcc_refuses, a_conflicting_write_but_keeps_the_transaction)
{
    cr_assert_eq(torc_mvcc_put(store, text("b"), text("2"), NULL), TORC_OK);
    refuses(torc_txn_put_if_absent(txn, text("b"), text("3")), TORC_CONFLICT);
    expect_one(txn);
    cr_assert_eq(torc_mvcc_delete(store, text("b")), TORC_OK);
    cr_expect_eq(torc_txn_commit(txn), TORC_OK, "the refused write was not noted");
    txn = NULL;
}

/* ---- Finished transactions ---- */

/* Every call refuses `ended` and changes nothing. */
static void
expect_finished(struct torc_txn *ended)
{
    struct torc_slice value = text("left");
    struct torc_cursor *cursor = (struct torc_cursor *)&value;

    refuses(torc_txn_get(ended, text("a"), &value), TORC_FINISHED);
    cr_expect_eq(value.size, 0u);
    refuses(torc_txn_get_for_update(ended, text("a"), &value), TORC_FINISHED);
    refuses(torc_txn_put(ended, text("a"), text("2")), TORC_FINISHED);
    refuses(torc_txn_put_if_absent(ended, text("b"), text("2")), TORC_FINISHED);
    refuses(torc_txn_delete(ended, text("a")), TORC_FINISHED);
    refuses(torc_txn_scan(ended, NULL, &cursor), TORC_FINISHED);
    cr_expect_null(cursor);
    refuses(torc_txn_commit(ended), TORC_FINISHED);
    torc_txn_abort(ended);
    torc_txn_abort(ended);
}

static void
expect_still_one(void)
{
    cr_assert_eq(torc_txn_begin(store, NULL, &txn), TORC_OK);
    expect_unchanged();
}

Test(mvcc_finished, by_a_commit)
{
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    expect_finished(txn);
    expect_still_one();
}

Test(mvcc_finished, by_a_commit_that_wrote)
{
    cr_assert_eq(torc_txn_put(txn, text("a"), text("1")), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    expect_finished(txn);
    expect_still_one();
}

Test(mvcc_finished, by_an_abort)
{
    cr_assert_eq(torc_txn_put(txn, text("b"), text("2")), TORC_OK);
    torc_txn_abort(txn);
    expect_finished(txn);
    expect_still_one();
}

Test(mvcc_finished, by_a_commit_that_lost)
{
    cr_assert_eq(torc_txn_put(txn, text("a"), text("2")), TORC_OK);
    cr_assert_eq(torc_mvcc_put(store, text("a"), text("1"), NULL), TORC_OK);
    refuses(torc_txn_commit(txn), TORC_CONFLICT);
    expect_finished(txn);
    expect_still_one();
}

Test(mvcc_finished, a_serializable_one)
{
    struct torc_txn_options options = {.isolation = TORC_SERIALIZABLE};
    struct torc_slice value;

    torc_txn_abort(txn);
    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK);
    cr_assert_eq(torc_txn_get(txn, text("a"), &value), TORC_OK);
    cr_assert_eq(torc_txn_commit(txn), TORC_OK);
    expect_finished(txn);
    expect_still_one();
}

/* ---- A full store ---- */

enum {
    LIMIT = 1 << 20,
    BULK = 2000,
    BULK_KEYS_MAX = 4 * LIMIT / BULK,
};

struct full {
    struct torct_ledger ledger;
    struct torc_allocator allocator;
    struct torc_mvcc *store;
    unsigned keys;                  /* Written before TORC_BUSY. */
};

static struct torc_slice
bulk_key(char name[16], unsigned number)
{
    return torc_slice(name, (size_t)snprintf(name, 16, "bulk%06u", number));
}

/* Put until the store is full. */
static void
fill(struct full *full)
{
    static char bulk[BULK];
    struct torc_mvcc_options options;
    enum torc_status status = TORC_OK;
    char name[16];

    torct_ledger_init(&full->ledger);
    full->allocator = torct_ledger_allocator(&full->ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &full->allocator;
    options.memory_limit_bytes = LIMIT;
    cr_assert_eq(torc_mvcc_open(&options, &full->store), TORC_OK);
    while (status == TORC_OK && full->keys < BULK_KEYS_MAX) {
        status = torc_mvcc_put(full->store, bulk_key(name, full->keys), torc_slice(bulk, BULK), NULL);
        full->keys += status == TORC_OK;
    }
    cr_assert_eq(status, TORC_BUSY, "%u keys of %d bytes in %d: %s", full->keys, BULK, LIMIT, torc_status_name(status));
    cr_expect_not_null(strstr(torc_detail(), "memory_limit_bytes"), "it is not named: %s", torc_detail());
}

static void
empty(struct full *full)
{
    cr_assert_eq(torc_mvcc_close(full->store), TORC_OK);
    cr_expect(torct_ledger_balanced(&full->ledger));
}

/* Delete every other key and collect: there is room again. */
static void
expect_room_after_deletes(struct full *full)
{
    static char bulk[BULK];
    enum torc_status status;
    char name[16], buffer[4];
    size_t size;

    for (unsigned i = 0; i < full->keys; i += 2)
        cr_assert_eq(torc_mvcc_delete(full->store, bulk_key(name, i)), TORC_OK, "delete %u: %s", i, torc_detail());
    cr_assert_eq(torc_mvcc_collect(full->store), TORC_OK);
    for (unsigned i = 0; i < full->keys / 4; i++) {
        status = torc_mvcc_put(full->store, bulk_key(name, 2 * i), torc_slice(bulk, BULK), NULL);
        cr_assert_eq(status, TORC_OK, "put %u: %s", 2 * i, torc_status_name(status));
    }
    for (unsigned i = 1; i < full->keys; i += 2) {
        cr_expect_eq(torc_mvcc_get(full->store, bulk_key(name, i), buffer, sizeof(buffer), &size), TORC_TOO_LARGE);
        cr_expect_eq(size, (size_t)BULK);
    }
}

Test(mvcc_full, says_busy_and_recovers_after_deletes)
{
    struct full full = {.keys = 0};

    fill(&full);
    cr_expect_gt(full.keys, (unsigned)(LIMIT / BULK / 4), "the limit bites too early");
    cr_expect_leq(full.keys, (unsigned)(LIMIT / BULK), "the limit bites too late");
    expect_room_after_deletes(&full);
    empty(&full);
}

/* Put values of `size` from key `first` on until the store is full. Returns the key that was refused. */
static unsigned
fill_with(struct full *full, unsigned first, size_t size)
{
    static char bytes[BULK];
    enum torc_status status = TORC_OK;
    char name[16];

    while (status == TORC_OK && first < LIMIT / size)
        status = torc_mvcc_put(full->store, bulk_key(name, first++), torc_slice(bytes, size), NULL);
    cr_assert_eq(status, TORC_BUSY, "%u values of %zu bytes: %s", first, size, torc_status_name(status));
    return first - 1;
}

/* Small values share pages: room in these counts, for the same sizes and, once the pages are empty, for all. */
Test(mvcc_full, has_room_for_small_values_again_after_deletes)
{
    enum { SMALL = 30, LARGER = 170 };
    struct full full = {.keys = 0};
    struct torc_mvcc_options options;
    unsigned keys, again;
    char name[16];

    torct_ledger_init(&full.ledger);
    full.allocator = torct_ledger_allocator(&full.ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &full.allocator;
    options.memory_limit_bytes = LIMIT;
    cr_assert_eq(torc_mvcc_open(&options, &full.store), TORC_OK);
    keys = fill_with(&full, 0, SMALL);
    for (unsigned i = 0; i < keys; i += 2)
        cr_assert_eq(torc_mvcc_delete(full.store, bulk_key(name, i)), TORC_OK);
    cr_assert_eq(torc_mvcc_collect(full.store), TORC_OK);
    /* Not more: what waits for its grace period counts too. */
    again = fill_with(&full, keys, SMALL) - keys;
    cr_expect_geq(again, keys / 32, "%u of %u", again, keys);

    for (unsigned i = 0; i < keys + again; i++)
        cr_assert(torc_mvcc_delete(full.store, bulk_key(name, i)) != TORC_BUSY);
    cr_assert_eq(torc_mvcc_collect(full.store), TORC_OK);
    again = fill_with(&full, 0, LARGER);
    cr_expect_geq(again, keys / 8, "%u of %u", again, keys);
    empty(&full);
}

Test(mvcc_full, refuses_writes_of_a_transaction_and_keeps_it)
{
    static char bulk[BULK];
    struct full full = {.keys = 0};
    enum torc_status status = TORC_OK;
    struct torc_slice value;
    struct torc_txn *writer;
    char name[16];
    unsigned own = 0;

    fill(&full);
    cr_assert_eq(torc_txn_begin(full.store, NULL, &writer), TORC_OK);
    while (status == TORC_OK && own < BULK_KEYS_MAX) {
        status = torc_txn_put(writer, bulk_key(name, 500000 + own), torc_slice(bulk, BULK));
        own += status == TORC_OK;
    }
    cr_assert_eq(status, TORC_BUSY);
    cr_expect_eq(torc_txn_get(writer, bulk_key(name, 500000 + own), &value), TORC_NOT_FOUND);
    cr_expect_eq(torc_txn_get(writer, bulk_key(name, 0), &value), TORC_OK);
    cr_expect_eq(value.size, (size_t)BULK);
    cr_expect_eq(torc_txn_delete(writer, bulk_key(name, 0)), TORC_OK, "a delete makes room");
    status = torc_txn_commit(writer);
    cr_expect(status == TORC_OK || status == TORC_BUSY, "%s", torc_status_name(status));
    for (unsigned i = 1; i < full.keys; i++)
        cr_assert_eq(torc_mvcc_delete(full.store, bulk_key(name, i)), TORC_OK);
    cr_assert_eq(torc_mvcc_collect(full.store), TORC_OK);
    cr_expect_eq(torc_mvcc_put(full.store, bulk_key(name, 1), torc_slice(bulk, BULK), NULL), TORC_OK);
    empty(&full);
}

Test(mvcc_full, is_read_as_ever)
{
    struct full full = {.keys = 0};
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    struct torc_txn *reader;
    unsigned count = 0;

    fill(&full);
    cr_assert_eq(torc_txn_begin(full.store, NULL, &reader), TORC_OK);
    cr_assert_eq(torc_txn_scan(reader, NULL, &cursor), TORC_OK);
    while (torc_cursor_next(cursor, &key, &value) == TORC_OK)
        count++;
    torc_cursor_close(cursor);
    cr_expect_eq(torc_txn_commit(reader), TORC_OK);
    cr_expect_eq(count, full.keys);
    empty(&full);
}

/* ---- Retired memory and threads that go idle ---- */

enum {
    COLLECTS_MAX = 4,               /* A few. What the idle thread holds back does not get less by more of them. */
    PUTS = 300,                     /* Several looks at the retired bytes. */
};

/* Another thread, which does `work` and then stays, idle, until it is told to end. */
struct idle_thread {
    void (*work)(void);
    bool in_section;                /* As if it had been stopped in the middle of a call. */
    pthread_t thread;
    pthread_barrier_t idle;
    pthread_barrier_t end;
};

static void *
work_and_stay(void *context)
{
    struct idle_thread *idle = context;
    struct torci_epoch_guard guard;

    idle->work();
    if (idle->in_section)
        guard = torci_epoch_enter();
    (void)pthread_barrier_wait(&idle->idle);
    (void)pthread_barrier_wait(&idle->end);
    if (idle->in_section)
        torci_epoch_exit(guard);
    return NULL;
}

/* Returns when it is idle. */
static void
start_idle(struct idle_thread *idle, void (*work)(void))
{
    idle->work = work;
    cr_assert_eq(pthread_barrier_init(&idle->idle, NULL, 2), 0);
    cr_assert_eq(pthread_barrier_init(&idle->end, NULL, 2), 0);
    cr_assert_eq(pthread_create(&idle->thread, NULL, work_and_stay, idle), 0);
    (void)pthread_barrier_wait(&idle->idle);
}

static void
end_idle(struct idle_thread *idle)
{
    (void)pthread_barrier_wait(&idle->end);
    cr_assert_eq(pthread_join(idle->thread, NULL), 0);
    (void)pthread_barrier_destroy(&idle->idle);
    (void)pthread_barrier_destroy(&idle->end);
}

static void
open_with_retired_limit(uint64_t bytes)
{
    struct torc_mvcc_options options;

    torc_mvcc_options_init(&options);
    options.retired_limit_bytes = bytes;
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK);
}

static char large[512 * 1024];
static unsigned small_puts;

/* A refusal is right while grace periods last. */
static void
put_unless_busy(const char *key, struct torc_slice value)
{
    enum torc_status status = torc_mvcc_put(store, text(key), value, NULL);

    cr_assert(status == TORC_OK || status == TORC_BUSY, "%s", torc_status_name(status));
}

static void
replace_a_large_value(void)
{
    for (unsigned i = 0; i < small_puts; i++)
        put_unless_busy("small", text("value"));
    for (unsigned i = 0; i < 3; i++)
        put_unless_busy("large", torc_slice(large, sizeof(large)));
}

enum { SMALL_KEYS = 1000 };

static void
put_many_small_values(void)
{
    struct torc_txn *writer;
    char name[16];

    cr_assert_eq(torc_txn_begin(store, NULL, &writer), TORC_OK);
    for (unsigned i = 0; i < SMALL_KEYS; i++)
        cr_assert_eq(torc_txn_put(writer, bulk_key(name, i), text("small")), TORC_OK, "%s", torc_detail());
    cr_assert_eq(torc_txn_commit(writer), TORC_OK);
}

static void
do_nothing(void)
{
}

static void
expect_puts_succeed(const char *key)
{
    for (unsigned i = 0; i < PUTS; i++) {
        enum torc_status status = torc_mvcc_put(store, text(key), text("value"), NULL);

        for (unsigned collects = 0; status == TORC_BUSY && collects < COLLECTS_MAX; collects++) {
            cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
            status = torc_mvcc_put(store, text(key), text("value"), NULL);
        }
        cr_assert_eq(status, TORC_OK, "put %u: %s", i, torc_detail());
    }
}

/* However much was in the bag before. A single one of the values is past the limit. */
Test(mvcc_retired, an_idle_thread_does_not_make_others_busy)
{
    open_with_retired_limit(sizeof(large) / 2);
    for (small_puts = 0; small_puts < 12; small_puts++) {
        struct idle_thread idle = {.in_section = false};

        start_idle(&idle, replace_a_large_value);
        expect_puts_succeed("other");
        end_idle(&idle);
    }
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

/* A third thread stands in a call until the writer is idle, so that all of it comes home too late. */
Test(mvcc_retired, what_came_home_to_an_idle_thread_does_not_make_others_busy)
{
    struct idle_thread idle = {.in_section = false}, standing = {.in_section = true};

    open_with_retired_limit(16 * 1024);
    put_many_small_values();
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    start_idle(&standing, do_nothing);
    start_idle(&idle, put_many_small_values);
    end_idle(&standing);
    expect_puts_succeed("other");
    end_idle(&idle);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

/* While a thread stands in a call nothing is freed, so the refusal is certain. */
Test(mvcc_retired, says_busy_while_a_thread_stands_in_a_call_and_recovers)
{
    struct idle_thread standing = {.in_section = true};
    enum torc_status status = TORC_OK;
    unsigned puts = 0;

    open_with_retired_limit(1 << 20);
    start_idle(&standing, do_nothing);
    for (; status == TORC_OK && puts < PUTS; puts++)
        status = torc_mvcc_put(store, text("large"), torc_slice(large, sizeof(large)), NULL);
    cr_expect_eq(status, TORC_BUSY, "after %u puts: %s", puts, torc_status_name(status));
    cr_expect_not_null(strstr(torc_detail(), "retired_limit_bytes"), "it is not named: %s", torc_detail());
    cr_expect_eq(torc_mvcc_delete(store, text("large")), TORC_OK, "deletes go on");
    end_idle(&standing);
    expect_puts_succeed("large");
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

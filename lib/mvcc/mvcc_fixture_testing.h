/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_fixture_testing: what mvcc_invariants, mvcc_model and mvcc_race stand on: a store on a ledger, names,
 * numbers as values, and the look at what is left. Tests only. */
#ifndef TORCT_MVCC_FIXTURE_TESTING_H
#define TORCT_MVCC_FIXTURE_TESTING_H

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/testing.h"

enum { NAME_MAX_SIZE = 24 };

static struct torct_ledger ledger;
static struct torc_allocator allocator;
static struct torc_mvcc *store;

static inline void
create(void)
{
    struct torc_mvcc_options options;

    torct_ledger_init(&ledger);
    allocator = torct_ledger_allocator(&ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK);
}

static inline void
destroy(void)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

static inline struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

static inline struct torc_slice
name_of(char name[NAME_MAX_SIZE], const char *prefix, unsigned number)
{
    return torc_slice(name, (size_t)snprintf(name, NAME_MAX_SIZE, "%s%05u", prefix, number));
}

static inline struct torc_slice
bytes_of(const int64_t *number)
{
    return torc_slice(number, sizeof(*number));
}

/* A number kept as a value. INT64_MIN if the value is not one: no test writes that. */
static inline int64_t
number_in(struct torc_slice value)
{
    int64_t number = INT64_MIN;

    if (value.size == sizeof(number))
        memcpy(&number, value.data, sizeof(number));
    return number;
}

static inline struct torc_txn *
begin(enum torc_isolation isolation, bool read_only)
{
    struct torc_txn_options options = {.isolation = isolation, .read_only = read_only};
    struct torc_txn *txn;

    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK);
    return txn;
}

static inline struct torc_mvcc_stats
stats_now(void)
{
    struct torc_mvcc_stats stats;

    cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
    return stats;
}

/* With nothing open, a collected store holds one version for each key that has a value. */
static inline void
expect_only_live_versions(void)
{
    struct torc_mvcc_stats stats;

    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    stats = stats_now();
    cr_expect_eq(stats.open_transactions, 0u);
    cr_expect_eq(stats.versions_created - stats.versions_freed, stats.keys, "%" PRIu64 " created, %" PRIu64 " freed, %"
                 PRIu64 " keys", stats.versions_created, stats.versions_freed, stats.keys);
    cr_expect_eq(stats.retired_bytes, 0u);
}

#endif

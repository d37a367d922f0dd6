/* SPDX-License-Identifier: MIT */
/* A store that is driven by its caller. One process per test (Criterion forks), so that no thread is left of others. */
#include <dirent.h>

#include "mvcc/mvcc_testing.h"

TestSuite(mvcc_driven, .timeout = 60);

static struct torc_mvcc *
open_driven(uint64_t retired_limit_bytes)
{
    struct torc_mvcc_options options;
    struct torc_mvcc *store;

    torc_mvcc_options_init(&options);
    options.caller_driven = true;
    options.retired_limit_bytes = retired_limit_bytes;
    cr_assert_eq(torc_mvcc_open(&options, &store), TORC_OK);
    return store;
}

static unsigned
threads_of_process(void)
{
    DIR *tasks = opendir("/proc/self/task");
    unsigned count = 0;

    cr_assert_not_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static void
poll_until_done(struct torc_mvcc *store)
{
    bool more = true;

    for (unsigned i = 0; more; i++) {
        cr_assert_lt(i, 1000u, "there is always more to do");
        cr_assert_eq(torc_mvcc_poll(store, &more), TORC_OK);
    }
}

Test(mvcc_driven, starts_no_thread)
{
    unsigned before = threads_of_process();
    struct torc_mvcc *store = open_driven(0);
    char key[16];

    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "k%u", i % 100);
        torct_put(store, key, "value");
        if (i % 7 == 0)
            torct_delete(store, key);
    }
    poll_until_done(store);
    torct_collect(store);
    cr_expect_eq(threads_of_process(), before);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    cr_expect_eq(threads_of_process(), before);
}

Test(mvcc_driven, frees_nothing_until_it_is_polled_and_then_all)
{
    struct torc_mvcc *store = open_driven(0);
    struct torc_mvcc_stats stats;

    for (unsigned i = 0; i < 5000; i++)
        torct_put(store, "k", "value");
    stats = torct_stats(store);
    cr_expect_eq(stats.versions_freed, 0u);
    poll_until_done(store);
    stats = torct_stats(store);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 1u);
    cr_expect_eq(stats.retired_bytes, 0u);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

Test(mvcc_driven, past_the_retired_limit_names_what_to_call)
{
    struct torc_mvcc *store = open_driven(64 * 1024);
    enum torc_status status = TORC_OK;

    for (unsigned i = 0; i < 100000 && status == TORC_OK; i++)
        status = torc_mvcc_put(store, torct_text("k"), torct_text("value"), NULL);
    cr_assert_eq(status, TORC_BUSY);
    cr_expect_not_null(strstr(torc_detail(), "torc_mvcc_poll"), "%s", torc_detail());
    poll_until_done(store);
    torct_put(store, "k", "again");
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

Test(mvcc_driven, poll_refuses_no_store)
{
    bool more = true;

    cr_expect_eq(torc_mvcc_poll(NULL, &more), TORC_INVALID);
    cr_expect_not(more);
}

enum { PUTTERS = 4, PUTS = 3000 };

static void
put_and_poll(void *context, unsigned number)
{
    struct torc_mvcc *store = context;
    char key[16];

    for (unsigned i = 0; i < PUTS; i++) {
        snprintf(key, sizeof key, "k%u", i % 5);
        torct_put(store, key, "value");
        if (i % 64 == number)
            cr_assert_eq(torc_mvcc_poll(store, NULL), TORC_OK);
    }
}

Test(mvcc_driven, any_number_of_threads_may_poll)
{
    struct torc_mvcc *store = open_driven(0);
    struct torc_mvcc_stats stats;

    torct_race(PUTTERS, put_and_poll, store);
    torct_collect(store);
    stats = torct_stats(store);
    cr_expect_eq(stats.versions_created - stats.versions_freed, 5u);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

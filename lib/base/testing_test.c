/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/testing.h"

TestSuite(testing, .timeout = 10);

Test(testing, takes_its_seed_from_the_environment)
{
    cr_assert_eq(setenv("TORC_SEED", "0x1234", 1), 0);
    cr_expect_eq(torct_seed(), 0x1234u);
    cr_assert_eq(setenv("TORC_SEED", "5", 1), 0);
    cr_expect_eq(torct_seed(), 0x1234u, "one seed per run");
}

Test(testing, draws_a_seed_once)
{
    cr_assert_eq(unsetenv("TORC_SEED"), 0);
    uint64_t seed = torct_seed();

    cr_expect_eq(torct_seed(), seed);
}

enum { RACERS = 8 };
static _Atomic(unsigned) arrived;
static unsigned runs[RACERS];

static void
meet_the_others(void *context, unsigned number)
{
    cr_assert_eq(context, (void *)runs);
    runs[number]++;
    torci_fetch_add(&arrived, 1, memory_order_relaxed);     /* A counter. */
    /* Ends only if all run at once. */
    while (torci_load(&arrived, memory_order_relaxed) < RACERS)
        (void)usleep(0);
}

Test(testing, races_all_threads_at_once_and_joins_them)
{
    torct_race(RACERS, meet_the_others, runs);
    for (unsigned number = 0; number < RACERS; number++)
        cr_expect_eq(runs[number], 1u);
}

Test(testing, fills_exactly_the_bytes_asked_for)
{
    struct torci_random random = torci_random_seed(1);
    unsigned char bytes[64];

    for (size_t size = 0; size <= 32; size++) {
        memset(bytes, 0, sizeof(bytes));
        torct_random_bytes(&random, bytes, size);
        for (size_t at = size; at < sizeof(bytes); at++)
            cr_expect_eq(bytes[at], 0);
        if (size >= 16)
            cr_expect_neq(memcmp(bytes, bytes + 32, size), 0);
    }
}

Test(testing, repeats_random_bytes)
{
    struct torci_random first = torci_random_seed(9);
    struct torci_random again = torci_random_seed(9);
    unsigned char a[100];
    unsigned char b[100];

    torct_random_bytes(&first, a, sizeof(a));
    torct_random_bytes(&again, b, sizeof(b));
    cr_expect_eq(memcmp(a, b, sizeof(a)), 0);
}

Test(testing_ledger, balances_when_all_is_given_back)
{
    struct torct_ledger ledger;

    torct_ledger_init(&ledger);
    struct torc_allocator allocator = torct_ledger_allocator(&ledger);
    void *memory = allocator.allocate(allocator.context, 40);
    cr_assert_not_null(memory);
    cr_expect_eq((uintptr_t)memory % 16, 0u);
    cr_expect_not(torct_ledger_balanced(&ledger));
    cr_expect_eq(torci_load(&ledger.bytes, memory_order_relaxed), 40u);
    allocator.release(allocator.context, memory, 40);
    cr_expect(torct_ledger_balanced(&ledger));
}

Test(testing_ledger, refuses_from_the_nth_allocation)
{
    struct torct_ledger ledger;

    torct_ledger_init(&ledger);
    struct torc_allocator allocator = torct_ledger_allocator(&ledger);
    torci_store(&ledger.refuse_from, 2, memory_order_relaxed);
    void *memory = allocator.allocate(allocator.context, 1);
    cr_expect_not_null(memory);
    cr_expect_null(allocator.allocate(allocator.context, 1));
    cr_expect_null(allocator.allocate(allocator.context, 1));
    allocator.release(allocator.context, memory, 1);
    cr_expect(torct_ledger_balanced(&ledger));
}

Test(testing_ledger, stops_at_a_wrong_size, .signal = SIGABRT)
{
    struct torct_ledger ledger;

    torct_ledger_init(&ledger);
    struct torc_allocator allocator = torct_ledger_allocator(&ledger);
    allocator.release(allocator.context, allocator.allocate(allocator.context, 8), 9);
}

TestSuite(testing_ledger, .timeout = 10);

Test(testing_directory, is_empty_and_goes_away_with_its_content)
{
    char path[TORCT_PATH_SIZE];
    char inner[TORCT_PATH_SIZE + 16];
    struct stat status;

    torct_directory_create(path);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect(S_ISDIR(status.st_mode));
    cr_expect_eq(rmdir(path), 0, "it was empty");
    cr_assert_eq(mkdir(path, 0700), 0);

    snprintf(inner, sizeof(inner), "%s/inner", path);
    cr_assert_eq(mkdir(inner, 0700), 0);
    snprintf(inner, sizeof(inner), "%s/inner/file", path);
    int file = open(inner, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(file, 0);
    close(file);

    torct_directory_destroy(path);
    cr_expect_neq(stat(path, &status), 0);
}

TestSuite(testing_directory, .timeout = 10);

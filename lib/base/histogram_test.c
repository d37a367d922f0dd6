/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/histogram.h"
#include "base/testing.h"

static struct torci_histogram histogram;
static struct torci_histogram other;
static struct torci_histogram merged;

static void
create(void)
{
    torci_histogram_init(&histogram);
    torci_histogram_init(&other);
    torci_histogram_init(&merged);
}

TestSuite(histogram, .init = create, .timeout = 30);

enum { VALUES = 20000 };
static uint64_t values[VALUES];

static int
ascending(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* Values of every magnitude: uniform in the logarithm. */
static uint64_t
any_magnitude(struct torci_random *random)
{
    return torci_random_next(random) >> torci_random_below(random, 64);
}

static void
expect_close(uint64_t reported, uint64_t exact)
{
    uint64_t error = reported > exact ? reported - exact : exact - reported;

    cr_expect_leq(error, exact / 64, "reported %llu for %llu", (unsigned long long)reported, (unsigned long long)exact);
}

/* The value of rank ceil(VALUES * parts / whole) in the sorted array. */
static uint64_t
exact_quantile(uint64_t parts, uint64_t whole)
{
    return values[(VALUES * parts + whole - 1) / whole - 1];
}

Test(histogram, is_empty_at_first)
{
    struct torci_histogram_summary summary;

    torci_histogram_summarize(&histogram, &summary);
    cr_expect_eq(summary.count, 0u);
    cr_expect_eq(summary.p50, 0u);
    cr_expect_eq(summary.max, 0u);
    cr_expect(summary.mean >= 0 && summary.mean <= 0);
    cr_expect_eq(torci_histogram_quantile(&histogram, 99, 100), 0u);
}

Test(histogram, reports_one_value_to_a_sixty_fourth)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (unsigned step = 0; step < 3; step++) {
            uint64_t value = (UINT64_C(1) << bit) + step - 1;

            torci_histogram_init(&histogram);
            torci_histogram_record(&histogram, value);
            expect_close(torci_histogram_quantile(&histogram, 1, 1), value);
            torci_histogram_record(&histogram, UINT64_MAX);     /* Now the maximum does not help. */
            expect_close(torci_histogram_quantile(&histogram, 1, 2), value);
        }
    }
}

Test(histogram, is_exact_below_sixty_four)
{
    for (uint64_t value = 0; value < 64; value++)
        torci_histogram_record(&histogram, value);
    for (uint32_t rank = 1; rank <= 64; rank++)
        cr_expect_eq(torci_histogram_quantile(&histogram, rank, 64), rank - 1);
}

Test(histogram, rounds_ranks_up)
{
    for (uint64_t value = 1; value <= 3; value++)
        torci_histogram_record(&histogram, value);
    cr_expect_eq(torci_histogram_quantile(&histogram, 1, 1000), 1u);
    cr_expect_eq(torci_histogram_quantile(&histogram, 1, 3), 1u);
    cr_expect_eq(torci_histogram_quantile(&histogram, 1, 2), 2u);
    cr_expect_eq(torci_histogram_quantile(&histogram, 67, 100), 3u);
    cr_expect_eq(torci_histogram_quantile(&histogram, 1, 1), 3u);
}

Test(histogram, agrees_with_a_sorted_array)
{
    struct torci_random random = torci_random_seed(torct_seed());
    struct torci_histogram_summary summary;
    uint64_t sum = 0;

    for (unsigned i = 0; i < VALUES; i++) {
        values[i] = any_magnitude(&random) >> 16;   /* So that the sum does not saturate. */
        sum += values[i];
        torci_histogram_record(&histogram, values[i]);
    }
    qsort(values, VALUES, sizeof(values[0]), ascending);
    torci_histogram_summarize(&histogram, &summary);
    cr_expect_eq(summary.count, (uint64_t)VALUES);
    cr_expect_eq(summary.sum, sum);
    cr_expect_eq(summary.max, values[VALUES - 1]);
    expect_close(summary.p50, exact_quantile(50, 100));
    expect_close(summary.p99, exact_quantile(99, 100));
    expect_close(summary.p999, exact_quantile(999, 1000));
    for (uint32_t parts = 1; parts <= 1000; parts++)
        expect_close(torci_histogram_quantile(&histogram, parts, 1000), exact_quantile(parts, 1000));
}

Test(histogram, merging_equals_recording_together)
{
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned i = 0; i < VALUES; i++) {
        uint64_t value = any_magnitude(&random);

        torci_histogram_record(torci_random_one_in(&random, 2) ? &histogram : &other, value);
        torci_histogram_record(&merged, value);
    }
    torci_histogram_merge(&histogram, &other);
    for (unsigned bucket = 0; bucket < TORCI_HISTOGRAM_BUCKETS; bucket++)
        cr_assert_eq(torci_load(&histogram.counts[bucket], memory_order_relaxed),
                     torci_load(&merged.counts[bucket], memory_order_relaxed));
    cr_expect_eq(torci_load(&histogram.sum, memory_order_relaxed), torci_load(&merged.sum, memory_order_relaxed));
    cr_expect_eq(torci_load(&histogram.max, memory_order_relaxed), torci_load(&merged.max, memory_order_relaxed));
}

Test(histogram, counts_up_to_a_power_of_two_exactly)
{
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned i = 0; i < VALUES; i++) {
        values[i] = any_magnitude(&random);
        torci_histogram_record(&histogram, values[i]);
    }
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t bound = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
        uint64_t expected = 0;

        for (unsigned i = 0; i < VALUES; i++)
            expected += values[i] <= bound;
        cr_expect_eq(torci_histogram_count_to(&histogram, bound), expected, "%u bits", bits);
    }
}

Test(histogram, sum_stays_at_the_top)
{
    torci_histogram_record(&histogram, UINT64_MAX);
    torci_histogram_record(&histogram, UINT64_MAX);
    cr_expect_eq(torci_load(&histogram.sum, memory_order_relaxed), UINT64_MAX);
    torci_histogram_merge(&other, &histogram);
    torci_histogram_merge(&other, &histogram);
    cr_expect_eq(torci_load(&other.sum, memory_order_relaxed), UINT64_MAX);
    cr_expect_eq(torci_histogram_count(&other), 4u);
}

enum { RECORDED = 20000, GREATEST = 1000 };
static _Atomic(bool) recording;

static void
record_or_read(void *context, unsigned number)
{
    (void)context;
    if (number == 0) {
        for (uint64_t i = 0; i < RECORDED; i++)
            torci_histogram_record(&histogram, 1 + i % GREATEST);
        torci_store(&recording, false, memory_order_relaxed);   /* A flag: the join orders the rest. */
        return;
    }
    uint64_t last = 0;
    do {
        struct torci_histogram_summary summary;

        torci_histogram_summarize(&histogram, &summary);
        cr_assert_geq(summary.count, last);
        cr_assert_leq(summary.count, (uint64_t)RECORDED);
        cr_assert_leq(summary.p999, (uint64_t)GREATEST);
        cr_assert_leq(summary.max, (uint64_t)GREATEST);
        last = summary.count;
    } while (torci_load(&recording, memory_order_relaxed));
}

Test(histogram, can_be_read_while_its_owner_records)
{
    torci_init(&recording, true);
    torct_race(3, record_or_read, NULL);
    cr_expect_eq(torci_histogram_count(&histogram), (uint64_t)RECORDED);
}

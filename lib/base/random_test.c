/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/random.h"

TestSuite(random, .timeout = 10);

/* Published vectors of both generators. */
Test(random, splitmix_gives_the_published_numbers)
{
    uint64_t state = 1234567;

    cr_expect_eq(torci_splitmix64(&state), UINT64_C(6457827717110365317));
    cr_expect_eq(torci_splitmix64(&state), UINT64_C(3203168211198807973));
    cr_expect_eq(torci_splitmix64(&state), UINT64_C(9817491932198370423));
    cr_expect_eq(torci_splitmix64(&state), UINT64_C(4593380528125082431));
    cr_expect_eq(torci_splitmix64(&state), UINT64_C(16408922859458223821));
}

Test(random, xoshiro_gives_the_published_numbers)
{
    struct torci_random random = {{1, 2, 3, 4}};

    cr_expect_eq(torci_random_next(&random), UINT64_C(11520));
    cr_expect_eq(torci_random_next(&random), UINT64_C(0));
    cr_expect_eq(torci_random_next(&random), UINT64_C(1509978240));
    cr_expect_eq(torci_random_next(&random), UINT64_C(1215971899390074240));
    cr_expect_eq(torci_random_next(&random), UINT64_C(1216172134540287360));
}

Test(random, repeats_a_seed_and_differs_between_seeds)
{
    struct torci_random first = torci_random_seed(7);
    struct torci_random again = torci_random_seed(7);
    struct torci_random other = torci_random_seed(8);
    unsigned equal = 0;

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t number = torci_random_next(&first);

        cr_assert_eq(number, torci_random_next(&again));
        equal += number == torci_random_next(&other);
    }
    cr_expect_eq(equal, 0u);
}

Test(random, splits_into_streams_that_differ)
{
    struct torci_random parent = torci_random_seed(0);
    struct torci_random child = torci_random_split(&parent);
    struct torci_random sibling = torci_random_split(&parent);

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t a = torci_random_next(&parent);
        uint64_t b = torci_random_next(&child);
        uint64_t c = torci_random_next(&sibling);

        cr_assert(a != b && b != c && a != c);
    }
}

Test(random, stays_below_its_bound)
{
    struct torci_random random = torci_random_seed(1);

    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t bounds[] = {(UINT64_C(1) << bit), (UINT64_C(1) << bit) + 1};

        for (unsigned i = 0; i < 2; i++)
            for (unsigned round = 0; round < 100; round++)
                cr_assert_lt(torci_random_below(&random, bounds[i]), bounds[i]);
    }
    cr_expect_eq(torci_random_below(&random, 1), 0u);
}

/* A fixed seed makes this a fact, not a chance. The bound is three quarters of 2^64: by modulo, the lower third would
 * come in 5000 and not 3333 of 10000 draws; by the product's high word alone, so would the multiples of 3. */
Test(random, has_no_modulo_bias)
{
    struct torci_random random = torci_random_seed(42);
    uint64_t bound = UINT64_C(3) << 62;
    unsigned lower_third = 0;
    unsigned multiples = 0;

    for (unsigned round = 0; round < 10000; round++) {
        uint64_t number = torci_random_below(&random, bound);

        lower_third += number < UINT64_C(1) << 62;
        multiples += number % 3 == 0;
    }
    cr_expect(lower_third > 3150 && lower_third < 3520, "%u", lower_third);
    cr_expect(multiples > 3150 && multiples < 3520, "%u", multiples);
}

Test(random, draws_each_small_number_about_equally)
{
    struct torci_random random = torci_random_seed(43);
    unsigned counts[10] = {0};

    for (unsigned round = 0; round < 100000; round++)
        counts[torci_random_below(&random, 10)]++;
    for (unsigned i = 0; i < 10; i++)
        cr_expect(counts[i] > 9600 && counts[i] < 10400, "%u: %u", i, counts[i]);
}

Test(random, unit_lies_in_the_half_open_interval)
{
    struct torci_random random = torci_random_seed(44);
    double sum = 0;

    for (unsigned round = 0; round < 10000; round++) {
        double unit = torci_random_unit(&random);

        cr_assert(unit >= 0 && unit < 1);
        sum += unit;
    }
    cr_expect(sum > 4900 && sum < 5100);
}

Test(random, one_in_n_happens_about_so_often)
{
    struct torci_random random = torci_random_seed(45);
    unsigned hits = 0;

    for (unsigned round = 0; round < 10000; round++) {
        hits += torci_random_one_in(&random, 4);
        cr_assert(torci_random_one_in(&random, 1));
    }
    cr_expect(hits > 2350 && hits < 2650, "%u", hits);
}

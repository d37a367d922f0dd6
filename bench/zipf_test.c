/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "base/testing.h"
#include "zipf.h"

TestSuite(zipf, .timeout = 60);

enum { RANKS = 10000, DRAWS = 4000000 };
static uint32_t seen[RANKS];

/* Each rank, alone while it is frequent and in groups of doubling size behind, is drawn as often as the law says:
 * within
 * five standard deviations, plus what one step of the table may displace. */
Test(zipf, draws_each_rank_as_often_as_the_law_says)
{
    static struct bench_zipf zipf;
    struct torci_random random = torci_random_seed(torct_seed());
    double total = 0;

    bench_zipf_init(&zipf, RANKS, 0.99);
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t rank = bench_zipf_next(&zipf, &random);

        cr_assert_lt(rank, RANKS);
        seen[rank]++;
    }
    for (unsigned rank = 0; rank < RANKS; rank++)
        total += pow(rank + 1.0, -0.99);
    for (unsigned first = 0; first < RANKS;) {
        unsigned end = first < 32 ? first + 1 : first * 2 < RANKS ? first * 2 : RANKS;
        double drawn = 0;
        double wanted = 0;

        for (unsigned rank = first; rank < end; rank++) {
            drawn += seen[rank];
            wanted += pow(rank + 1.0, -0.99) / total * DRAWS;
        }
        cr_expect_lt(fabs(drawn - wanted), 5 * sqrt(wanted) + (double)DRAWS / BENCH_ZIPF_STEPS,
                     "ranks %u to %u: %g drawn, %g wanted", first, end, drawn, wanted);
        first = end;
    }
}

Test(zipf, serves_a_single_rank)
{
    static struct bench_zipf zipf;
    struct torci_random random = torci_random_seed(1);

    bench_zipf_init(&zipf, 1, 0.99);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(bench_zipf_next(&zipf, &random), 0u);
}

/* SPDX-License-Identifier: MIT */
/* bench/zipf.c: see zipf.h. */
#include "zipf.h"

#include <math.h>

void
bench_zipf_init(struct bench_zipf *zipf, uint64_t n, double theta)
{
    double total = 0;
    double below = 0;   /* Probability of the ranks before `rank`. */
    uint64_t step = 0;

    for (uint64_t rank = 0; rank < n; rank++)
        total += pow((double)(rank + 1), -theta);
    for (uint64_t rank = 0; rank < n; rank++) {
        double mass = pow((double)(rank + 1), -theta) / total;

        while (step < BENCH_ZIPF_STEPS && (double)step / BENCH_ZIPF_STEPS < below + mass) {
            double real = (double)rank + ((double)step / BENCH_ZIPF_STEPS - below) / mass;

            zipf->quantile[step++] = (uint64_t)(real * (1u << BENCH_ZIPF_FRACTION_BITS));
        }
        below += mass;
    }
    while (step <= BENCH_ZIPF_STEPS)        /* The last point, and what rounding may leave open. */
        zipf->quantile[step++] = n << BENCH_ZIPF_FRACTION_BITS;
}

/* SPDX-License-Identifier: MIT */
/* bench/zipf: Zipf-distributed ranks 0 .. n-1, rank 0 the most frequent.
 *
 * The inverse of the distribution function is tabulated at BENCH_ZIPF_STEPS points as a real rank and taken as linear
 * between them: exact for the hot ranks, off by less than one step of probability for the rest, and 16 KiB in place of
 * a pow() per draw. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <stdint.h>

#include "base/random.h"

enum {
    BENCH_ZIPF_STEPS = 2048,
    BENCH_ZIPF_FRACTION_BITS = 16,
    BENCH_ZIPF_WITHIN_BITS = 22         /* A step is less than 2^41 wide for 2^32 ranks: no product overflows. */
};

struct bench_zipf {
    uint64_t quantile[BENCH_ZIPF_STEPS + 1];    /* Fixed point. Immutable after init. */
};

/* For `n` ranks, 0 < n <= 2^32. Takes some 100 ns per rank. */
void bench_zipf_init(struct bench_zipf *zipf, uint64_t n, double theta);

static inline uint64_t
bench_zipf_next(const struct bench_zipf *zipf, struct torci_random *random)
{
    uint64_t draw = torci_random_next(random);
    uint64_t step = draw >> 53;
    uint64_t within = (draw >> (53 - BENCH_ZIPF_WITHIN_BITS)) & ((1u << BENCH_ZIPF_WITHIN_BITS) - 1);
    uint64_t low = zipf->quantile[step];
    uint64_t width = zipf->quantile[step + 1] - low;

    return (low + ((width * within) >> BENCH_ZIPF_WITHIN_BITS)) >> BENCH_ZIPF_FRACTION_BITS;
}

#endif

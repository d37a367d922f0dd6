/* SPDX-License-Identifier: MIT */
/* bench/random.h: the driver's random numbers: one xoshiro256** per thread, and Zipf ranks by inverse distribution.
 *
 * Paper: Blackman, Vigna, "Scrambled linear pseudorandom number generators" (2019). */
#ifndef BENCH_RANDOM_H
#define BENCH_RANDOM_H

#include <stdint.h>

struct bench_random {
    uint64_t state[4];
};

static inline uint64_t
bench_rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline uint64_t
bench_random_next(struct bench_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = bench_rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = bench_rotate(s[3], 45);
    return result;
}

/* A number below `bound`, 0 < bound <= 2^32, by multiplication. */
static inline uint64_t
bench_random_below(struct bench_random *random, uint64_t bound)
{
    return ((bench_random_next(random) >> 32) * bound) >> 32;
}

void bench_random_seed(struct bench_random *random, uint64_t seed);

/* Zipf-distributed ranks 0..n-1 (rank 0 the most frequent). The inverse of the distribution function is tabulated at
 * BENCH_ZIPF_STEPS points as a real rank and taken as linear between them: exact for the hot ranks, off by less than
 * one step of probability for the rest, and 16 kB instead of a pow() per draw. */
enum { BENCH_ZIPF_STEPS = 2048, BENCH_ZIPF_FRACTION_BITS = 16 };

struct bench_zipf {
    uint64_t quantile[BENCH_ZIPF_STEPS + 1];    /* Fixed point, BENCH_ZIPF_FRACTION_BITS. Immutable after init. */
};

void bench_zipf_init(struct bench_zipf *zipf, uint64_t n, double theta);

static inline uint64_t
bench_zipf_next(const struct bench_zipf *zipf, struct bench_random *random)
{
    uint64_t draw = bench_random_next(random);
    uint64_t step = draw >> 53;
    uint64_t within = (draw >> 31) & 0x3fffff;      /* 22 bits: a step is less than 2^41 wide for 2^32 ranks. */
    uint64_t low = zipf->quantile[step];
    uint64_t width = zipf->quantile[step + 1] - low;

    return (low + ((width * within) >> 22)) >> BENCH_ZIPF_FRACTION_BITS;
}

#endif

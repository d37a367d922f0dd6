/* SPDX-License-Identifier: MIT */
/* bench/histogram.h: latencies in log-linear buckets: 32 per doubling, so a percentile is off by 3 % at most.
 *
 * One writer per histogram; merged after the threads have been joined. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    BENCH_HISTOGRAM_LINEAR_BITS = 5,
    BENCH_HISTOGRAM_LINEAR = 1 << BENCH_HISTOGRAM_LINEAR_BITS,
    BENCH_HISTOGRAM_DOUBLINGS = 36,     /* Up to 2^40 ns, 18 minutes; longer ones are counted there. */
    BENCH_HISTOGRAM_BUCKETS = BENCH_HISTOGRAM_LINEAR * BENCH_HISTOGRAM_DOUBLINGS
};

struct bench_histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[BENCH_HISTOGRAM_BUCKETS];
};

static inline void
bench_histogram_record(struct bench_histogram *histogram, uint64_t ns)
{
    unsigned bucket = (unsigned)ns;

    if (ns >= BENCH_HISTOGRAM_LINEAR) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - BENCH_HISTOGRAM_LINEAR_BITS;

        bucket = (shift + 1) * BENCH_HISTOGRAM_LINEAR + (unsigned)((ns >> shift) & (BENCH_HISTOGRAM_LINEAR - 1));
        if (bucket >= BENCH_HISTOGRAM_BUCKETS)
            bucket = BENCH_HISTOGRAM_BUCKETS - 1;
    }
    histogram->buckets[bucket]++;
    histogram->count++;
    if (ns > histogram->max)
        histogram->max = ns;
}

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from);

/* The value that `fraction` (0..1) of the recorded ones do not exceed; 0 if there are none. */
uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, double fraction);

#endif

/* SPDX-License-Identifier: MIT */
/* bench/histogram.c: see histogram.h. */
#include "histogram.h"

/* The middle of a bucket. */
static uint64_t
bucket_value(unsigned bucket)
{
    unsigned shift;
    uint64_t low;

    if (bucket < BENCH_HISTOGRAM_LINEAR)
        return bucket;
    shift = bucket / BENCH_HISTOGRAM_LINEAR - 1;
    low = (uint64_t)(BENCH_HISTOGRAM_LINEAR + bucket % BENCH_HISTOGRAM_LINEAR) << shift;
    return low + ((1ull << shift) >> 1);
}

void
bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from)
{
    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
}

uint64_t
bench_histogram_quantile(const struct bench_histogram *histogram, double fraction)
{
    uint64_t wanted = (uint64_t)(fraction * (double)histogram->count);
    uint64_t seen = 0;

    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted || (seen == histogram->count && seen != 0)) {
            uint64_t value = bucket_value(i);

            return value < histogram->max ? value : histogram->max;
        }
    }
    return 0;
}

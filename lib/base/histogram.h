/* SPDX-License-Identifier: MIT */
/* base/histogram: how often which value, in constant memory (15 KiB), over all of uint64_t, to 1/64 of the value.
 *
 *   value    0 .. 63   one bucket each
 *           64 .. 127  32 buckets of  2        each power of two is cut into 32 buckets of equal width; a value is
 *          128 .. 255  32 buckets of  4        reported as the middle of its bucket, so at most width / 2 off, which
 *          ...                                 is at most 1/64 of it
 *
 * One writer at a time (its owner), any number of readers meanwhile. A reader sees each counter at some moment; a sum
 * of counters is never more than was recorded when it ended, nor less than when it began. */
#ifndef TORCI_HISTOGRAM_H
#define TORCI_HISTOGRAM_H

#include <stdint.h>

#include <torc/base.h>

#include "base/atomic.h"

enum {
    TORCI_HISTOGRAM_BITS = 5,       /* log2 of the buckets per power of two. */
    TORCI_HISTOGRAM_BUCKETS = (64 - TORCI_HISTOGRAM_BITS + 1) << TORCI_HISTOGRAM_BITS,
};

struct torci_histogram {
    _Atomic(uint64_t) counts[TORCI_HISTOGRAM_BUCKETS];
    _Atomic(uint64_t) sum;          /* Stays at UINT64_MAX when it gets there. */
    _Atomic(uint64_t) max;
};

/* Make it empty. Exclusive. */
void torci_histogram_init(struct torci_histogram *histogram);

/* Count one `value`. Owner only. Wait-free: a few loads and stores, no read-modify-write. */
void torci_histogram_record(struct torci_histogram *histogram, uint64_t value);

/* Add all of `from` to `into`, which the caller owns. As if every value of `from` had been recorded there too. */
void torci_histogram_merge(struct torci_histogram *into, const struct torci_histogram *from);

/* How many values were recorded. Any thread, as all below. */
uint64_t torci_histogram_count(const struct torci_histogram *histogram);

/* How many values are at most `value`, rounded down to whole buckets: exact for values below 64 and for 2^k - 1. */
uint64_t torci_histogram_count_to(const struct torci_histogram *histogram, uint64_t value);

/* The least value such that `parts` in `whole` of the values are not above it (99, 100: p99), to 1/64; 0 if empty.
 * 0 < parts <= whole. */
uint64_t torci_histogram_quantile(const struct torci_histogram *histogram, uint32_t parts, uint32_t whole);

struct torci_histogram_summary {
    uint64_t count;
    uint64_t sum;
    double mean;                    /* 0 if empty, as all below. */
    uint64_t p50;
    uint64_t p99;
    uint64_t p999;
    uint64_t max;                   /* Exact. */
};
void torci_histogram_summarize(const struct torci_histogram *histogram, struct torci_histogram_summary *summary);

#endif

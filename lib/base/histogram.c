/* SPDX-License-Identifier: MIT */
/* base/histogram: log-linear buckets.
 *
 *   index = shift * 32 + (value >> shift)      shift = how many low bits do not count; the second term is 32 to 63,
 *                                              or below 32 where shift is 0
 * Ordering   No edges: counters, all relaxed. A load and a store, no read-modify-write, as only the owner writes.
 * Progress   Wait-free: record takes a fixed number of steps, readers one pass over the buckets. */
#include "base/histogram.h"

#include "base/assert.h"
#include "base/random.h"

enum { PER_POWER = 1 << TORCI_HISTOGRAM_BITS };

_Static_assert(sizeof(struct torci_histogram) < 16 * 1024, "the header promises constant memory");

static unsigned
bucket_of(uint64_t value)
{
    if (value < 2 * PER_POWER)
        return (unsigned)value;

    unsigned top_bit = 63 - (unsigned)__builtin_clzll(value);
    unsigned shift = top_bit - TORCI_HISTOGRAM_BITS;
    unsigned bucket = shift * PER_POWER + (unsigned)(value >> shift);

    torc_assert(bucket < TORCI_HISTOGRAM_BUCKETS);
    return bucket;
}

static unsigned
shift_of(unsigned bucket)
{
    torc_assert(bucket < TORCI_HISTOGRAM_BUCKETS);
    return bucket < 2 * PER_POWER ? 0 : bucket / PER_POWER - 1;
}

static uint64_t
least_of(unsigned bucket)
{
    unsigned shift = shift_of(bucket);

    return (uint64_t)(bucket - shift * PER_POWER) << shift;
}

static uint64_t
greatest_of(unsigned bucket)
{
    return least_of(bucket) + ((UINT64_C(1) << shift_of(bucket)) - 1);
}

static uint64_t
middle_of(unsigned bucket)
{
    return least_of(bucket) + ((UINT64_C(1) << shift_of(bucket)) - 1) / 2;
}

/* Relaxed: a counter. */
static uint64_t
count_in(const struct torci_histogram *histogram, unsigned bucket)
{
    return torci_load(&histogram->counts[bucket], memory_order_relaxed);
}

/* Relaxed: a counter that only its owner, the caller, writes. */
static void
add(_Atomic(uint64_t) *counter, uint64_t change)
{
    torci_store(counter, torci_load(counter, memory_order_relaxed) + change, memory_order_relaxed);
}

/* As add(), without coming back from the top. */
static void
add_saturating(_Atomic(uint64_t) *counter, uint64_t change)
{
    uint64_t old = torci_load(counter, memory_order_relaxed);

    torci_store(counter, change < UINT64_MAX - old ? old + change : UINT64_MAX, memory_order_relaxed);
}

static void
raise_to(_Atomic(uint64_t) *counter, uint64_t value)
{
    if (value > torci_load(counter, memory_order_relaxed))
        torci_store(counter, value, memory_order_relaxed);
}

/* The middle of the bucket that holds the value of rank `rank` (1 is the least), but never above `max`. */
static uint64_t
value_at_rank(const struct torci_histogram *histogram, uint64_t rank, uint64_t max)
{
    uint64_t seen = 0;

    torc_assert(rank > 0);
    for (unsigned bucket = 0; bucket < TORCI_HISTOGRAM_BUCKETS; bucket++) {
        seen += count_in(histogram, bucket);
        if (seen >= rank)
            return middle_of(bucket) < max ? middle_of(bucket) : max;
    }
    return max;
}

/* ceil(count * parts / whole) */
static uint64_t
rank_of(uint64_t count, uint32_t parts, uint32_t whole)
{
    torc_assert(parts > 0 && parts <= whole);
    return (uint64_t)(((torci_uint128)count * parts + whole - 1) / whole);
}

void
torci_histogram_init(struct torci_histogram *histogram)
{
    for (unsigned bucket = 0; bucket < TORCI_HISTOGRAM_BUCKETS; bucket++)
        torci_init(&histogram->counts[bucket], 0);
    torci_init(&histogram->sum, 0);
    torci_init(&histogram->max, 0);
}

void
torci_histogram_record(struct torci_histogram *histogram, uint64_t value)
{
    /* Maximum first, as quantiles are cut off there. Nothing enforces it: a racing reader may be one value behind. */
    raise_to(&histogram->max, value);
    add_saturating(&histogram->sum, value);
    add(&histogram->counts[bucket_of(value)], 1);
}

void
torci_histogram_merge(struct torci_histogram *into, const struct torci_histogram *from)
{
    torc_assert(into != from);

    for (unsigned bucket = 0; bucket < TORCI_HISTOGRAM_BUCKETS; bucket++) {
        uint64_t count = count_in(from, bucket);

        if (count != 0)
            add(&into->counts[bucket], count);
    }
    add_saturating(&into->sum, torci_load(&from->sum, memory_order_relaxed));
    raise_to(&into->max, torci_load(&from->max, memory_order_relaxed));
}

uint64_t
torci_histogram_count(const struct torci_histogram *histogram)
{
    return torci_histogram_count_to(histogram, UINT64_MAX);
}

uint64_t
torci_histogram_count_to(const struct torci_histogram *histogram, uint64_t value)
{
    uint64_t count = 0;

    for (unsigned bucket = 0; bucket < TORCI_HISTOGRAM_BUCKETS && greatest_of(bucket) <= value; bucket++)
        count += count_in(histogram, bucket);
    return count;
}

uint64_t
torci_histogram_quantile(const struct torci_histogram *histogram, uint32_t parts, uint32_t whole)
{
    uint64_t count = torci_histogram_count(histogram);

    if (count == 0)
        return 0;
    return value_at_rank(histogram, rank_of(count, parts, whole), torci_load(&histogram->max, memory_order_relaxed));
}

void
torci_histogram_summarize(const struct torci_histogram *histogram, struct torci_histogram_summary *summary)
{
    *summary = (struct torci_histogram_summary){.count = torci_histogram_count(histogram)};
    if (summary->count == 0)
        return;

    summary->sum = torci_load(&histogram->sum, memory_order_relaxed);
    summary->max = torci_load(&histogram->max, memory_order_relaxed);
    summary->mean = (double)summary->sum / (double)summary->count;
    summary->p50 = value_at_rank(histogram, rank_of(summary->count, 50, 100), summary->max);
    summary->p99 = value_at_rank(histogram, rank_of(summary->count, 99, 100), summary->max);
    summary->p999 = value_at_rank(histogram, rank_of(summary->count, 999, 1000), summary->max);
}

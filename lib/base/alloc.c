/* SPDX-License-Identifier: MIT */
/* base/alloc: heaps, their accounting, and the injection point for failed allocations.
 *
 *   release        | size bytes |                       builds with TORC_FAULTS   | header | size bytes |
 *                  ^ caller's                                                     16 bytes ^ caller's
 *
 * Huge pages   A store of a million keys lies on 60,000 pages of 4 KiB, more than any processor's translation cache
 *              holds; on huge pages it is some 120. So what is large is mapped apart, aligned to huge pages and advised
 *              to be on them. Not with AddressSanitizer, which knows what malloc() gives and nothing else.
 * Accounting   A thread adds to the shard of its index; past batch_bytes it moves the shard's delta to `settled`. So
 *              the shared line is written once per batch, and |settled - truth| < shards x batch. A shard has one
 *              owner, who needs no read-modify-write; all indexes past the shards share the last one and do.
 * Invariants   I1  settled + sum of deltas = bytes allocated - bytes freed, whenever no call is running
 *              I2  a live block's header holds its size and the mark of a live block
 * Ordering     No edges. The counters are relaxed: they publish nothing but themselves. Memory that goes from thread
 *              to thread is ordered by whoever passes it on.
 * Progress     Accounting is wait-free. The rest is what the embedder's allocator is. */
#include "base/alloc.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/annotate.h"
#include "base/assert.h"
#include "base/epoch.h"
#include "base/explorer.h"

/* A shard's delta at which it settles: large enough that `settled` is written rarely. */
#define BATCH_BYTES_MAX (UINT64_C(16) * 1024)

/* A limit holds to about half of it with all shards in use, and to 1/64 with one. */
#define BATCHES_PER_LIMIT 64

/* An aligned block of so many bytes is mapped. */
#define MAP_ALIGNED_BYTES (UINT64_C(64) * 1024)

static void *
system_allocate(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}

static void
system_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

/* Whether the system itself may be asked for memory. */
static bool
may_map(const struct torci_heap *heap)
{
#if defined(TORCI_ASAN)
    (void)heap;
    return false;
#else
    return heap->allocator.allocate == system_allocate;
#endif
}

static size_t
mapped_bytes(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) & ~(page - 1);
}

/* Zeroed memory of `size` bytes from the system, aligned to `alignment`: a larger range, cut to measure. */
static void *
map(size_t size, size_t alignment)
{
    size_t bytes = mapped_bytes(size);
    unsigned char *range;

    if (bytes < size || bytes > SIZE_MAX - alignment)
        return NULL;
    range = mmap(NULL, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (range == MAP_FAILED)
        return NULL;

    size_t before = -(uintptr_t)range & (alignment - 1);
    size_t behind = alignment - before;

    if (before > 0)
        (void)munmap(range, before);
    if (behind > 0)
        (void)munmap(range + before + bytes, behind);
    if (size >= TORCI_HUGE_BYTES)
        (void)madvise(range + before, bytes, MADV_HUGEPAGE);    /* Advice: without it the memory is as good. */
    return range + before;
}

static void
unmap(void *memory, size_t size)
{
    int failed = munmap(memory, mapped_bytes(size));

    torc_assert(failed == 0);
    (void)failed;
}

static void *
obtain(struct torci_heap *heap, size_t size, bool zeroed)
{
    bool huge = size >= TORCI_HUGE_BYTES && may_map(heap);
    /* calloc() knows which pages are zero already; matters for large tables that fill slowly. */
    bool from_calloc = zeroed && heap->allocator.allocate == system_allocate;
    void *memory;

    if (huge)
        memory = map(size, TORCI_HUGE_BYTES);
    else
        memory = from_calloc ? calloc(1, size) : heap->allocator.allocate(heap->allocator.context, size);

    torc_assert((uintptr_t)memory % TORCI_ALLOC_ALIGNMENT == 0);
    torci_explorer_allocated(memory, size);
    if (huge || from_calloc)
        return memory;
    if (zeroed && memory != NULL)
        memset(memory, 0, size);
    return memory;
}

static void
give_back(struct torci_heap *heap, void *memory, size_t size)
{
    if (size >= TORCI_HUGE_BYTES && may_map(heap))
        unmap(memory, size);
    else
        heap->allocator.release(heap->allocator.context, memory, size);
}

/* Whether a shard that holds `delta` has to settle. */
static bool
batch_full(const struct torci_heap *heap, int64_t delta)
{
    int64_t batch = (int64_t)heap->batch_bytes;

    return delta >= batch || delta <= -batch;
}

static void
account_owned(struct torci_heap *heap, _Atomic(int64_t) *delta, int64_t change)
{
    /* Relaxed: a counter only this thread writes. The hand-over of a thread index orders one owner after another. */
    int64_t now = torci_load(delta, memory_order_relaxed) + change;

    if (!batch_full(heap, now)) {
        torci_store(delta, now, memory_order_relaxed);
        return;
    }
    torci_store(delta, 0, memory_order_relaxed);
    torci_fetch_add(&heap->settled, now, memory_order_relaxed);     /* Relaxed: a counter. */
}

static void
account_shared(struct torci_heap *heap, _Atomic(int64_t) *delta, int64_t change)
{
    /* Relaxed throughout: counters. */
    if (!batch_full(heap, torci_fetch_add(delta, change, memory_order_relaxed) + change))
        return;

    /* Taken by exchange, so that two threads which settle at once move each byte once. */
    int64_t taken = torci_exchange(delta, 0, memory_order_relaxed);
    torci_fetch_add(&heap->settled, taken, memory_order_relaxed);
}

static void
account(struct torci_heap *heap, int64_t change)
{
    uint32_t index = torci_self()->index;

    if (index < TORCI_HEAP_SHARDS - 1)
        account_owned(heap, &heap->shards[index].delta, change);
    else
        account_shared(heap, &heap->shards[TORCI_HEAP_SHARDS - 1].delta, change);
}

#if defined(TORC_FAULTS)

#define MARK_LIVE UINT64_C(0x6c69766520746f72)
#define MARK_FREED UINT64_C(0x667265642d746f72)

struct header {
    uint64_t size;
    uint64_t mark;
};
_Static_assert(sizeof(struct header) == TORCI_ALLOC_ALIGNMENT, "what follows the header must stay aligned");

/* Process-wide. Relaxed throughout: a test arms them before its threads start. */
static _Atomic(uint64_t) allocations_seen;
static _Atomic(uint64_t) failing_allocation;
static _Atomic(bool) failing_sticky;

bool
torci_alloc_fault_due(void)
{
    uint64_t seen = torci_fetch_add(&allocations_seen, 1, memory_order_relaxed) + 1;
    uint64_t failing = torci_load(&failing_allocation, memory_order_relaxed);

    if (failing == 0 || seen < failing)
        return false;
    return seen == failing || torci_load(&failing_sticky, memory_order_relaxed);
}

uint64_t
torci_alloc_fail_at(uint64_t n, bool sticky)
{
    torci_store(&failing_allocation, 0, memory_order_relaxed);
    uint64_t seen = torci_exchange(&allocations_seen, 0, memory_order_relaxed);

    torci_store(&failing_sticky, sticky, memory_order_relaxed);
    torci_store(&failing_allocation, n, memory_order_relaxed);
    return seen;
}

static void *
obtain_checked(struct torci_heap *heap, size_t size, bool zeroed)
{
    if (torci_alloc_fault_due() || size > SIZE_MAX - sizeof(struct header))
        return NULL;

    struct header *header = obtain(heap, sizeof(*header) + size, zeroed);
    if (header == NULL)
        return NULL;

    header->size = size;
    header->mark = MARK_LIVE;
    if (!zeroed)
        memset(header + 1, TORCI_FILL_FRESH, size);
    return header + 1;
}

static void
give_back_checked(struct torci_heap *heap, void *memory, size_t size)
{
    struct header *header = (struct header *)memory - 1;

    torc_assert(header->mark == MARK_LIVE);     /* Else: freed twice, or not from here. */
    torc_assert(header->size == size);

    header->mark = MARK_FREED;
    memset(memory, TORCI_FILL_FREED, size);
    torci_explorer_freed(header, sizeof(*header) + size);
    give_back(heap, header, sizeof(*header) + size);
}

#else

uint64_t
torci_alloc_fail_at(uint64_t n, bool sticky)
{
    (void)n;
    (void)sticky;
    return 0;
}

static void *
obtain_checked(struct torci_heap *heap, size_t size, bool zeroed)
{
    return obtain(heap, size, zeroed);
}

static void
give_back_checked(struct torci_heap *heap, void *memory, size_t size)
{
    give_back(heap, memory, size);
}

#endif

static void *
allocate(struct torci_heap *heap, size_t size, bool zeroed)
{
    torc_assert(heap->allocator.allocate != NULL);
    torc_assert(size > 0);

    if (size > PTRDIFF_MAX)
        return NULL;

    void *memory = obtain_checked(heap, size, zeroed);
    if (memory != NULL)
        account(heap, (int64_t)size);
    return memory;
}

/* An aligned block stands in a plain one that is so much longer; the word before it holds the way back:
 *
 *   | ............... shift | size bytes ... |
 *   ^ plain block           ^ caller's; shift is a multiple of 16, at most `alignment` */
static void *
allocate_shifted(struct torci_heap *heap, size_t size, size_t alignment, bool zeroed)
{
    torc_assert(alignment >= TORCI_CACHE_LINE && (alignment & (alignment - 1)) == 0);

    if (size > PTRDIFF_MAX - alignment)
        return NULL;

    unsigned char *block = allocate(heap, size + alignment, zeroed);
    if (block == NULL)
        return NULL;

    size_t shift = alignment - ((uintptr_t)block & (alignment - 1));
    unsigned char *memory = block + shift;

    torc_assert(shift >= sizeof(shift) && ((uintptr_t)memory & (alignment - 1)) == 0);
    memcpy(memory - sizeof(shift), &shift, sizeof(shift));
    return memory;
}

static void
free_shifted(struct torci_heap *heap, void *memory, size_t size, size_t alignment)
{
    size_t shift;

    memcpy(&shift, (unsigned char *)memory - sizeof(shift), sizeof(shift));
    torc_assert(shift > 0 && shift <= alignment && shift % TORCI_ALLOC_ALIGNMENT == 0);
    torci_free(heap, (unsigned char *)memory - shift, size + alignment);
}

/* Whether an aligned block of `size` is mapped: from there on what malloc() would waste on alignment matters. */
static bool
maps_aligned(const struct torci_heap *heap, size_t size)
{
    return size >= MAP_ALIGNED_BYTES && may_map(heap);
}

void
torci_heap_init(struct torci_heap *heap, const struct torc_allocator *allocator, uint64_t limit_bytes)
{
    static const struct torc_allocator system_allocator = {system_allocate, system_release, NULL};

    torc_assert((uintptr_t)heap % TORCI_CACHE_LINE == 0);
    torc_assert(allocator == NULL || (allocator->allocate != NULL && allocator->release != NULL));

    uint64_t batch = limit_bytes / BATCHES_PER_LIMIT;
    if (limit_bytes == 0 || batch > BATCH_BYTES_MAX)
        batch = BATCH_BYTES_MAX;

    heap->allocator = allocator != NULL ? *allocator : system_allocator;
    heap->limit_bytes = limit_bytes;
    heap->batch_bytes = batch > 0 ? batch : 1;
    torci_init(&heap->settled, 0);
    for (unsigned shard = 0; shard < TORCI_HEAP_SHARDS; shard++)
        torci_init(&heap->shards[shard].delta, 0);
}

void *
torci_alloc(struct torci_heap *heap, size_t size)
{
    return allocate(heap, size, false);
}

void *
torci_alloc_zeroed(struct torci_heap *heap, size_t size)
{
    return allocate(heap, size, true);
}

void
torci_free(struct torci_heap *heap, void *memory, size_t size)
{
    if (memory == NULL)
        return;

    torc_assert(size > 0 && size <= PTRDIFF_MAX);
    give_back_checked(heap, memory, size);
    account(heap, -(int64_t)size);
}

void *
torci_alloc_line(struct torci_heap *heap, size_t size)
{
    return allocate_shifted(heap, size, TORCI_CACHE_LINE, false);
}

void *
torci_alloc_line_zeroed(struct torci_heap *heap, size_t size)
{
    return allocate_shifted(heap, size, TORCI_CACHE_LINE, true);
}

void
torci_free_line(struct torci_heap *heap, void *memory, size_t size)
{
    if (memory != NULL)
        free_shifted(heap, memory, size, TORCI_CACHE_LINE);
}

void *
torci_alloc_aligned(struct torci_heap *heap, size_t size, size_t alignment)
{
    void *memory;

    torc_assert(size > 0 && alignment <= TORCI_HUGE_BYTES);
    if (!maps_aligned(heap, size))
        return allocate_shifted(heap, size, alignment, false);
#if defined(TORC_FAULTS)
    if (torci_alloc_fault_due())
        return NULL;
#endif
    memory = map(size, size >= TORCI_HUGE_BYTES ? TORCI_HUGE_BYTES : alignment);
    if (memory == NULL)
        return NULL;
    torci_explorer_allocated(memory, size);
    account(heap, (int64_t)size);
    return memory;
}

void
torci_free_aligned(struct torci_heap *heap, void *memory, size_t size, size_t alignment)
{
    if (memory == NULL)
        return;
    if (!maps_aligned(heap, size)) {
        free_shifted(heap, memory, size, alignment);
        return;
    }
    torci_explorer_freed(memory, size);
    unmap(memory, size);
    account(heap, -(int64_t)size);
}

uint64_t
torci_heap_bytes(const struct torci_heap *heap)
{
    /* Relaxed: counters. Whoever wants them exact has joined the threads that changed them. */
    int64_t bytes = torci_load(&heap->settled, memory_order_relaxed);

    for (unsigned shard = 0; shard < TORCI_HEAP_SHARDS; shard++)
        bytes += torci_load(&heap->shards[shard].delta, memory_order_relaxed);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

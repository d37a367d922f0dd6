/* SPDX-License-Identifier: MIT */
/* base/alloc: the only place where memory comes from. A heap wraps the embedder's allocator, counts bytes, poisons
 * what is freed (not in release) and can be told to fail (tests). */
#ifndef TORCI_ALLOC_H
#define TORCI_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/atomic.h"

enum {
    TORCI_HEAP_SHARDS = 32,
    TORCI_ALLOC_ALIGNMENT = 16,
    TORCI_HUGE_BYTES = 2 * 1024 * 1024,       /* What is as large as this asks for huge pages. */
};

struct torci_heap {
    struct torc_allocator allocator;          /* Immutable after init. */
    uint64_t limit_bytes;                     /* Immutable after init; 0: none. */
    uint64_t batch_bytes;                     /* Immutable after init: a shard settles with `settled` past this. */
    _Alignas(TORCI_CACHE_LINE) _Atomic(int64_t) settled;
    struct {
        _Alignas(TORCI_CACHE_LINE) _Atomic(int64_t) delta;
    } shards[TORCI_HEAP_SHARDS];              /* By thread index; the last: for all indexes past it. */
};

/* `allocator` NULL: malloc and free. `limit_bytes` 0: none. */
void torci_heap_init(struct torci_heap *heap, const struct torc_allocator *allocator, uint64_t limit_bytes);

/* Memory of `size` > 0 bytes, aligned to 16; NULL when there is none (or a test injects the failure). The limit is
 * not looked at here: see torci_heap_full(). With the default allocator, memory of TORCI_HUGE_BYTES or more comes from
 * the system page by page, on huge pages where it has them, and goes back there. */
void *torci_alloc(struct torci_heap *heap, size_t size);
void *torci_alloc_zeroed(struct torci_heap *heap, size_t size);

/* Give back what torci_alloc(heap, size) returned. NULL is ignored. */
void torci_free(struct torci_heap *heap, void *memory, size_t size);

/* As the three above, for objects that hold _Alignas(TORCI_CACHE_LINE) members: aligned to a cache line, counted
 * with one more line. What they return goes back through torci_free_line() only. */
void *torci_alloc_line(struct torci_heap *heap, size_t size);
void *torci_alloc_line_zeroed(struct torci_heap *heap, size_t size);
void torci_free_line(struct torci_heap *heap, void *memory, size_t size);

/* As torci_alloc() and torci_free(), aligned to `alignment`: a power of two, at least a cache line. Where the memory
 * does not come from the system page by page, `alignment` more bytes are taken, and counted. What it returns goes back
 * through torci_free_aligned() only, with the same figures. */
void *torci_alloc_aligned(struct torci_heap *heap, size_t size, size_t alignment);
void torci_free_aligned(struct torci_heap *heap, void *memory, size_t size, size_t alignment);

/* Bytes in use. Approximate by at most shards x batch while threads run; exact when none does. */
uint64_t torci_heap_bytes(const struct torci_heap *heap);

/* As torci_heap_bytes(), by one load. */
static inline uint64_t
torci_heap_settled(const struct torci_heap *heap)
{
    /* Relaxed: a counter, approximate. Below 0 while a shard has settled frees before another its allocations. */
    int64_t settled = torci_load(&heap->settled, memory_order_relaxed);

    return settled > 0 ? (uint64_t)settled : 0;
}

/* Whether `more` bytes would exceed the limit (one relaxed load of `settled`; same precision). */
static inline bool
torci_heap_full(const struct torci_heap *heap, size_t more)
{
    if (heap->limit_bytes == 0)
        return false;

    uint64_t used = torci_heap_settled(heap);

    return used >= heap->limit_bytes ? more > 0 : more > heap->limit_bytes - used;
}

/* Fault injection, process-wide, in builds with TORC_FAULTS (all but release): the n-th torci_alloc() from now (1 is
 * the next) fails, and every later one too if `sticky`; 0 disarms. Returns allocations seen since the last call.
 * Exact while one thread allocates. Elsewhere (release) nothing fails and the answer is 0. */
uint64_t torci_alloc_fail_at(uint64_t n, bool sticky);

#if defined(TORC_FAULTS)
enum {
    TORCI_FILL_FRESH = 0xcd,                  /* Of memory never written. */
    TORCI_FILL_FREED = 0xdd,                  /* Of memory given back. */
};

/* Count one allocation of an allocator that stands on this one; whether it has to fail. */
bool torci_alloc_fault_due(void);
#endif

#endif

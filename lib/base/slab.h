/* SPDX-License-Identifier: MIT */
/* base/slab: small objects without a word of overhead, packed by size on pages of their own.
 *
 *   heap --> pool: regions of pages, 64 KiB to 2 MiB ------------------------- one for each store
 *             '--> page: header, objects of one size ----- of one slab at a time, or of nobody
 *                   '--> slab: the page it allocates from, for each size --------- one for each thread of a store
 *
 * Objects are allocated through a slab by its owner, and freed by anybody. A page that is used up belongs to nobody:
 * who frees enough of its objects offers it to all slabs. So an idle owner holds back nothing but the page it allocates
 * from, at most one for each size.
 *
 * An object is aligned to 8, to 16 if its size is a multiple of 16. What is larger than TORCI_SLAB_BYTES_MAX goes to
 * the heap itself. */
#ifndef TORCI_SLAB_H
#define TORCI_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/annotate.h"
#include "base/atomic.h"
#include "base/reclaimer.h"

enum {
#if defined(TORC_TINY)
    TORCI_SLAB_PAGE_BYTES = 1024,
    TORCI_SLAB_BYTES_MAX = 256,
    TORCI_SLAB_CLASSES = 32,
#else
    TORCI_SLAB_PAGE_BYTES = 16 * 1024,
    TORCI_SLAB_BYTES_MAX = 1024,
    TORCI_SLAB_CLASSES = 64,
#endif
};

struct torci_slab_page;
struct torci_slab_region;

/* A stack of pages: the top one's address, and a tag that each change of the stack moves on. */
struct torci_slab_stack {
    _Atomic(uint64_t) top;
};

/* Shared by any number of threads. */
struct torci_slab_pool {
    struct torci_heap *heap;                    /* Immutable, as is the next. */
    struct torci_reclaimer *reclaimer;
    _Atomic(struct torci_slab_region *) current;    /* Pages never used are taken from here. */
    _Atomic(struct torci_slab_region *) regions;    /* All. */
    _Atomic(uint64_t) region_bytes;             /* Of all regions. A figure. */
    _Atomic(uint64_t) idle_pages;               /* Pages without an object, about. */
    _Atomic(uint64_t) trim_at;                  /* So many of them are worth a trim. */
    _Atomic(bool) trimming;
    _Alignas(TORCI_CACHE_LINE) struct torci_slab_stack unused;      /* Pages without an object, for any size. */
    struct torci_slab_stack offered[TORCI_SLAB_CLASSES];            /* Pages with room, by size. */
};

/* Owner only. */
struct torci_slab {
    struct torci_slab_pool *pool;
    struct torci_slab_bin {
        struct torci_slab_page *page;           /* NULL: none. Places in it, below, are counted by 8 bytes. */
        uint16_t free;                          /* Where the freed object is that is taken next; 0: there is none. */
        uint16_t fresh;                         /* Where the first one is that has never been taken, */
        uint16_t fresh_end;                     /* and behind the last one; equal: there is none. */
        uint16_t units;                         /* Size of an object, likewise. Immutable. */
    } bins[TORCI_SLAB_CLASSES];
};

/* An empty pool. Does not allocate. Regions wait for their grace period in `reclaimer`; NULL: see there. */
void torci_slab_pool_init(struct torci_slab_pool *pool, struct torci_heap *heap, struct torci_reclaimer *reclaimer);

/* Nothing is trimmed from here on, because all is about to go. Nobody else uses the pool; objects can be freed. */
void torci_slab_pool_ending(struct torci_slab_pool *pool);

/* Give all memory back. Nobody else uses the pool; torci_reclaimer_barrier() has been called after the last free, or
 * before torci_slab_pool_ending(); all slabs have been emptied by torci_slab_fini() and all objects freed. */
void torci_slab_pool_fini(struct torci_slab_pool *pool);

/* A slab without a page. Does not allocate. */
void torci_slab_init(struct torci_slab *slab, struct torci_slab_pool *pool);

/* Give the pages back that it allocates from, so that others can use what is free in them. By the owner, or in its
 * stead; the slab can be used on. Lock-free. */
void torci_slab_fini(struct torci_slab *slab);

/* `size` > 0 bytes; NULL: no memory (or a test injects the failure). By the owner. Lock-free, but for what the heap's
 * allocator does when another region is needed. */
void *torci_slab_alloc(struct torci_slab *slab, size_t size);

/* Give back what torci_slab_alloc() returned for `size` from any slab of the pool. NULL is ignored. Any thread.
 * Lock-free. */
void torci_slab_free(struct torci_slab_pool *pool, void *memory, size_t size);

/* Whether an object of `size` would find a place in memory that the pool holds already, and the heap is not further
 * past its limit than one region's growth may bring it, or there are pages without an object for it and a few others.
 * By the owner; approximate. */
bool torci_slab_has_room(const struct torci_slab *slab, size_t size);

/* Give regions without an object back to the heap, after a grace period. Returns how many. Any thread; 0 while another
 * is at it. Not worth calling often: it looks at every page that has room. */
size_t torci_slab_trim(struct torci_slab_pool *pool);

/* ---- What a store allocates ---- */

/* Sanitizers know of objects that come from the heap one by one, and so do the fiber and explorer builds. */
#if defined(TORCI_ASAN) || defined(TORCI_TSAN) || defined(TORC_ATOMIC_FIBER) || defined(TORC_ATOMIC_EXPLORER)
#define TORCI_SLAB_BYPASSED 1
#endif

/* torci_slab_alloc(), _has_room() and _free(), or in the builds named above the heap's. */
static inline void *
torci_object_alloc(struct torci_slab *slab, size_t size)
{
#if defined(TORCI_SLAB_BYPASSED)
    return torci_alloc(slab->pool->heap, size);
#else
    return torci_slab_alloc(slab, size);
#endif
}

static inline bool
torci_object_has_room(const struct torci_slab *slab, size_t size)
{
#if defined(TORCI_SLAB_BYPASSED)
    (void)slab;
    (void)size;
    return false;
#else
    return torci_slab_has_room(slab, size);
#endif
}

static inline void
torci_object_free(struct torci_slab_pool *pool, void *memory, size_t size)
{
#if defined(TORCI_SLAB_BYPASSED)
    torci_free(pool->heap, memory, size);
#else
    torci_slab_free(pool, memory, size);
#endif
}

#endif

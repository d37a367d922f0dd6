/* SPDX-License-Identifier: MIT */
/* base/arena: many small allocations that die together. Owned by one thread at a time; nothing here is atomic.
 *
 *   first block   | arena | used ....... cursor | free ... end |      kept by reset
 *   later blocks  | older, size | used ... | --> | older, size | ...  given back by reset
 *
 * A request too big for a good fit gets a block of its own, and the current block stays current. */
#ifndef TORCI_ARENA_H
#define TORCI_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/alloc.h"
#include "base/assert.h"

struct torci_arena_block;

/* Owner only. Fields are the arena's own; they stand here for the inline path. */
struct torci_arena {
    struct torci_heap *heap;
    unsigned char *cursor;              /* Next free byte of the current block, aligned to 16. */
    unsigned char *end;                 /* End of the current block. */
    struct torci_arena_block *newest;   /* Later blocks, newest first. */
    size_t first_bytes;                 /* Size of the first block, the arena in it. */
    size_t next_bytes;                  /* Size of the next block; grows with use. */
    size_t bytes;                       /* Taken from the heap, all blocks. */
};

/* An empty arena whose first block has about `first_bytes` (at least 256; in builds with TORC_TINY, 256), taken from
 * `heap`. NULL: no memory. */
struct torci_arena *torci_arena_create(struct torci_heap *heap, size_t first_bytes);

/* Give everything back. NULL is ignored. */
void torci_arena_destroy(struct torci_arena *arena);

/* Forget all allocations; keep the first block for the next use, give back the others. */
void torci_arena_reset(struct torci_arena *arena);

/* The slow path of torci_arena_alloc(). */
void *torci_arena_alloc_block(struct torci_arena *arena, size_t size);

/* `size` > 0 bytes, aligned to 16, valid until reset or destroy. NULL: no memory, and the arena is unchanged. */
static inline void *
torci_arena_alloc(struct torci_arena *arena, size_t size)
{
    torc_assert(size > 0);
    torc_assert(arena->cursor <= arena->end);

    /* cursor and end are multiples of 16, so what fits unrounded fits rounded. */
    if (size > (size_t)(arena->end - arena->cursor))
        return torci_arena_alloc_block(arena, size);

    void *memory = arena->cursor;
    arena->cursor += (size + TORCI_ALLOC_ALIGNMENT - 1) & ~(size_t)(TORCI_ALLOC_ALIGNMENT - 1);
    return memory;
}

/* Bytes that have been given out, and lost between blocks; 0 after reset. */
size_t torci_arena_used(const struct torci_arena *arena);

/* Bytes that the arena holds of its heap. */
static inline size_t
torci_arena_bytes(const struct torci_arena *arena)
{
    return arena->bytes;
}

#endif

/* SPDX-License-Identifier: MIT */
/* base/arena: the blocks behind the inline path.
 *
 * Invariants  I1  cursor and end are multiples of 16; cursor <= end
 *             I2  bytes = first block + all later blocks, as asked of the heap */
#include "base/arena.h"

#define FIRST_BYTES_MIN ((size_t)256)

/* Blocks double up to this: few calls for a large transaction, little waste for a small one. */
#define NEXT_BYTES_MAX ((size_t)64 * 1024)

/* A request for more than this part of the next block gets its own: else the rest of the current one is lost. */
#define OWN_BLOCK_PART 4

#define ROUND_UP(size) (((size) + TORCI_ALLOC_ALIGNMENT - 1) & ~(size_t)(TORCI_ALLOC_ALIGNMENT - 1))

struct torci_arena_block {
    struct torci_arena_block *older;
    size_t size;                        /* With this header. */
};

#define ARENA_HEADER ROUND_UP(sizeof(struct torci_arena))
#define BLOCK_HEADER ROUND_UP(sizeof(struct torci_arena_block))
_Static_assert(ARENA_HEADER < FIRST_BYTES_MIN, "the least first block must have room");

static unsigned char *
first_byte(struct torci_arena *arena)
{
    return (unsigned char *)arena + ARENA_HEADER;
}

static void
make_first_current(struct torci_arena *arena)
{
    arena->cursor = first_byte(arena);
    arena->end = (unsigned char *)arena + arena->first_bytes;
    arena->next_bytes = arena->first_bytes;
}

static struct torci_arena_block *
add_block(struct torci_arena *arena, size_t size)
{
    struct torci_arena_block *block = torci_alloc(arena->heap, size);

    if (block == NULL)
        return NULL;
    block->older = arena->newest;
    block->size = size;
    arena->newest = block;
    arena->bytes += size;
    return block;
}

static void
drop_later_blocks(struct torci_arena *arena)
{
    while (arena->newest != NULL) {
        struct torci_arena_block *block = arena->newest;

        torc_assert(arena->bytes > block->size);
        arena->newest = block->older;
        arena->bytes -= block->size;
        torci_free(arena->heap, block, block->size);
    }
    torc_assert(arena->bytes == arena->first_bytes);
}

struct torci_arena *
torci_arena_create(struct torci_heap *heap, size_t first_bytes)
{
#if defined(TORC_TINY)
    first_bytes = FIRST_BYTES_MIN;
#endif
    if (first_bytes > NEXT_BYTES_MAX)
        first_bytes = NEXT_BYTES_MAX;
    if (first_bytes < FIRST_BYTES_MIN)
        first_bytes = FIRST_BYTES_MIN;
    first_bytes = ROUND_UP(first_bytes);

    struct torci_arena *arena = torci_alloc(heap, first_bytes);
    if (arena == NULL)
        return NULL;
    arena->heap = heap;
    arena->newest = NULL;
    arena->first_bytes = first_bytes;
    arena->bytes = first_bytes;
    make_first_current(arena);
    return arena;
}

void
torci_arena_destroy(struct torci_arena *arena)
{
    if (arena == NULL)
        return;
    drop_later_blocks(arena);
    torci_free(arena->heap, arena, arena->first_bytes);
}

void
torci_arena_reset(struct torci_arena *arena)
{
    drop_later_blocks(arena);
    make_first_current(arena);
#if defined(TORC_FAULTS)
    /* As torci_free() would: whoever kept a pointer shall notice. */
    memset(arena->cursor, 0xdd, (size_t)(arena->end - arena->cursor));
#endif
}

void *
torci_arena_alloc_block(struct torci_arena *arena, size_t size)
{
    torc_assert(size > (size_t)(arena->end - arena->cursor));

    if (size > PTRDIFF_MAX - BLOCK_HEADER - TORCI_ALLOC_ALIGNMENT)
        return NULL;

    size_t rounded = ROUND_UP(size);
    if (rounded > arena->next_bytes / OWN_BLOCK_PART) {
        struct torci_arena_block *own = add_block(arena, BLOCK_HEADER + rounded);

        return own != NULL ? (unsigned char *)own + BLOCK_HEADER : NULL;
    }

    struct torci_arena_block *block = add_block(arena, arena->next_bytes);
    if (block == NULL)
        return NULL;
    unsigned char *memory = (unsigned char *)block + BLOCK_HEADER;
    arena->cursor = memory + rounded;
    arena->end = (unsigned char *)block + block->size;
    if (arena->next_bytes <= NEXT_BYTES_MAX / 2)
        arena->next_bytes *= 2;
    torc_assert(arena->cursor <= arena->end);
    return memory;
}

size_t
torci_arena_used(const struct torci_arena *arena)
{
    return arena->bytes - (size_t)(arena->end - arena->cursor) - ARENA_HEADER;
}

/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/arena.h"
#include "base/testing.h"

static struct torci_heap heap;
static struct torct_ledger ledger;
static struct torci_arena *arena;

static void
create(void)
{
    struct torc_allocator allocator = torct_ledger_allocator(&ledger);

    torct_ledger_init(&ledger);
    torci_heap_init(&heap, &allocator, 0);
    arena = torci_arena_create(&heap, 1024);
    cr_assert_not_null(arena);
}

static void
destroy(void)
{
    cr_expect_eq(torci_arena_bytes(arena), torci_heap_bytes(&heap));
    torci_arena_destroy(arena);
    cr_expect_eq(torci_heap_bytes(&heap), 0u);
    cr_expect(torct_ledger_balanced(&ledger));
}

TestSuite(arena, .init = create, .fini = destroy, .timeout = 10);

enum { BLOCKS = 3000 };

static struct {
    unsigned char *memory;
    size_t size;
} blocks[BLOCKS];

/* Oracle by construction: each block is full of its own number until the end. */
static void
fill_and_check(uint64_t seed)
{
    struct torci_random random = torci_random_seed(seed);

    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t size = torci_random_one_in(&random, 50) ? 1 + torci_random_below(&random, 10000)
                                                       : 1 + torci_random_below(&random, 100);

        blocks[i].memory = torci_arena_alloc(arena, size);
        blocks[i].size = size;
        cr_assert_not_null(blocks[i].memory);
        cr_assert_eq((uintptr_t)blocks[i].memory % 16, 0u);
        memset(blocks[i].memory, (int)(i & 0xff), size);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        for (size_t at = 0; at < blocks[i].size; at++)
            cr_assert_eq(blocks[i].memory[at], i & 0xff);
}

Test(arena, keeps_allocations_apart_and_aligned)
{
    fill_and_check(torct_seed());
}

Test(arena, counts_what_its_heap_counts)
{
    cr_expect_eq(torci_arena_bytes(arena), torci_heap_bytes(&heap));
    fill_and_check(1);
    cr_expect_eq(torci_arena_bytes(arena), torci_heap_bytes(&heap));
}

Test(arena, keeps_only_its_first_block_on_reset)
{
    size_t empty = torci_arena_bytes(arena);
    void *first = torci_arena_alloc(arena, 1);

    fill_and_check(2);
    cr_expect_gt(torci_arena_bytes(arena), empty);
    torci_arena_reset(arena);
    cr_expect_eq(torci_arena_bytes(arena), empty);
    cr_expect_eq(torci_arena_alloc(arena, 1), first, "the first block is used again");
    torci_arena_reset(arena);
    fill_and_check(3);
}

Test(arena, needs_no_heap_while_its_first_block_lasts)
{
    uint64_t allocations = torci_load(&ledger.allocations, memory_order_relaxed);

    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 8; i++)
            cr_assert_not_null(torci_arena_alloc(arena, 16));
        torci_arena_reset(arena);
    }
    cr_expect_eq(torci_load(&ledger.allocations, memory_order_relaxed), allocations);
}

Test(arena, serves_many_small_requests_from_few_blocks)
{
    uint64_t allocations = torci_load(&ledger.allocations, memory_order_relaxed);

    for (unsigned i = 0; i < 10000; i++)
        cr_assert_not_null(torci_arena_alloc(arena, 16));
    cr_expect_lt(torci_load(&ledger.allocations, memory_order_relaxed) - allocations, 20u);
}

Test(arena, gives_a_large_request_its_own_block)
{
    unsigned char *before = torci_arena_alloc(arena, 16);
    unsigned char *large = torci_arena_alloc(arena, 1 << 20);
    unsigned char *after = torci_arena_alloc(arena, 16);

    cr_assert_not_null(large);
    memset(large, 0xff, 1 << 20);
    cr_expect_eq(after, before + 16, "the current block stays current");
}

Test(arena, is_unchanged_when_memory_runs_out)
{
    size_t bytes = torci_arena_bytes(arena);
    unsigned char *before = torci_arena_alloc(arena, 16);

    torci_store(&ledger.refuse_from, 1, memory_order_relaxed);
    cr_expect_null(torci_arena_alloc(arena, 100000));
    cr_expect_null(torci_arena_alloc(arena, SIZE_MAX));
    cr_expect_null(torci_arena_alloc(arena, PTRDIFF_MAX));
    cr_expect_eq(torci_arena_bytes(arena), bytes);
    cr_expect_eq(torci_arena_alloc(arena, 16), (void *)(before + 16), "what is left of the block still serves");
    while (torci_arena_alloc(arena, 16) != NULL)
        continue;
    cr_expect_eq(torci_arena_bytes(arena), bytes);
    torci_store(&ledger.refuse_from, 0, memory_order_relaxed);
    cr_expect_not_null(torci_arena_alloc(arena, 16));
}

Test(arena, is_not_created_without_memory)
{
    torci_store(&ledger.refuse_from, 1, memory_order_relaxed);
    cr_expect_null(torci_arena_create(&heap, 1024));
    torci_store(&ledger.refuse_from, 0, memory_order_relaxed);
}

Test(arena, takes_any_size_of_first_block)
{
    static const size_t sizes[] = {0, 1, 255, 257, 4096, SIZE_MAX};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct torci_arena *other = torci_arena_create(&heap, sizes[i]);

        cr_assert_not_null(other);
        cr_expect_not_null(torci_arena_alloc(other, 3));
        torci_arena_destroy(other);
    }
    torci_arena_destroy(NULL);
}

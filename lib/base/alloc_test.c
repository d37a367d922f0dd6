/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>

#include "base/alloc.h"
#include "base/testing.h"

static struct torci_heap heap;
static struct torct_ledger ledger;

static void
create(void)
{
    struct torc_allocator allocator = torct_ledger_allocator(&ledger);

    torct_ledger_init(&ledger);
    torci_heap_init(&heap, &allocator, 0);
}

static void
balance(void)
{
    cr_expect_eq(torci_heap_bytes(&heap), 0u);
    cr_expect(torct_ledger_balanced(&ledger), "something was not given back");
}

TestSuite(alloc, .init = create, .fini = balance, .timeout = 30);

Test(alloc, aligns_every_size_to_sixteen)
{
    for (size_t size = 1; size < 300; size++) {
        void *memory = torci_alloc(&heap, size);

        cr_assert_not_null(memory);
        cr_expect_eq((uintptr_t)memory % 16, 0u);
        memset(memory, 0x5a, size);
        torci_free(&heap, memory, size);
    }
}

Test(alloc, counts_what_was_asked_for)
{
    void *first = torci_alloc(&heap, 100);
    void *second = torci_alloc_zeroed(&heap, 1000000);

    cr_expect_eq(torci_heap_bytes(&heap), 1000100u);
    torci_free(&heap, first, 100);
    cr_expect_eq(torci_heap_bytes(&heap), 1000000u);
    torci_free(&heap, second, 1000000);
    cr_expect_eq(torci_heap_bytes(&heap), 0u);
}

Test(alloc, zeroes_on_request)
{
    static const unsigned char zeros[5000];

    for (size_t size = 1; size <= sizeof(zeros); size = size * 3 + 1) {
        unsigned char *memory = torci_alloc_zeroed(&heap, size);

        cr_assert_not_null(memory);
        cr_expect_eq(memcmp(memory, zeros, size), 0);
        torci_free(&heap, memory, size);
    }
}

Test(alloc, ignores_null)
{
    torci_free(&heap, NULL, 0);
    torci_free_line(&heap, NULL, 0);
}

Test(alloc, aligns_lines_to_cache_lines)
{
    static const unsigned char zeros[300];

    for (size_t size = 1; size < sizeof(zeros); size += 7) {
        unsigned char *memory = torci_alloc_line(&heap, size);
        unsigned char *zeroed = torci_alloc_line_zeroed(&heap, size);

        cr_assert(memory != NULL && zeroed != NULL);
        cr_expect_eq((uintptr_t)memory % TORCI_CACHE_LINE, 0u);
        cr_expect_eq((uintptr_t)zeroed % TORCI_CACHE_LINE, 0u);
        cr_expect_eq(memcmp(zeroed, zeros, size), 0);
        memset(memory, 0xff, size);
        torci_free_line(&heap, memory, size);
        torci_free_line(&heap, zeroed, size);
    }
}

Test(alloc, reports_the_allocator_out_of_memory)
{
    torci_store(&ledger.refuse_from, 1, memory_order_relaxed);
    cr_expect_null(torci_alloc(&heap, 10));
    cr_expect_null(torci_alloc_zeroed(&heap, 10));
    cr_expect_null(torci_alloc_line(&heap, 10));
    cr_expect_eq(torci_heap_bytes(&heap), 0u, "a failure counts nothing");
}

Test(alloc, refuses_sizes_that_would_wrap)
{
    size_t huge = SIZE_MAX;

    cr_expect_null(torci_alloc(&heap, huge));
    cr_expect_null(torci_alloc(&heap, huge - 16));
    cr_expect_null(torci_alloc_zeroed(&heap, huge / 2 + 1));
    cr_expect_null(torci_alloc_line(&heap, huge));
    cr_expect_null(torci_alloc_line(&heap, huge - 63));
}

Test(alloc, serves_malloc_by_default)
{
    struct torci_heap plain;

    torci_heap_init(&plain, NULL, 0);
    unsigned char *memory = torci_alloc(&plain, 33);
    unsigned char *zeroed = torci_alloc_zeroed(&plain, 1 << 20);
    cr_assert(memory != NULL && zeroed != NULL);
    for (size_t at = 0; at < 1 << 20; at++)
        cr_assert_eq(zeroed[at], 0);
    torci_free(&plain, memory, 33);
    torci_free(&plain, zeroed, 1 << 20);
    cr_expect_eq(torci_heap_bytes(&plain), 0u);
}

Test(alloc, is_never_full_without_a_limit)
{
    cr_expect_not(torci_heap_full(&heap, SIZE_MAX));
}

Test(alloc, is_full_past_its_limit)
{
    struct torci_heap limited;

    torci_heap_init(&limited, NULL, 64000);
    cr_expect_eq(limited.batch_bytes, 1000u);
    cr_expect_not(torci_heap_full(&limited, 64000));
    cr_expect(torci_heap_full(&limited, 64001));
    cr_expect(torci_heap_full(&limited, SIZE_MAX));

    void *memory = torci_alloc(&limited, 63000);
    cr_expect_not(torci_heap_full(&limited, 1000));
    cr_expect(torci_heap_full(&limited, 1001));

    void *past = torci_alloc(&limited, 2000);
    cr_expect_not_null(past, "the limit is the caller's to ask for");
    cr_expect_not(torci_heap_full(&limited, 0));
    cr_expect(torci_heap_full(&limited, 1));

    torci_free(&limited, memory, 63000);
    cr_expect_not(torci_heap_full(&limited, 1));
    torci_free(&limited, past, 2000);
}

Test(alloc, settles_at_least_every_batch)
{
    struct torci_heap tiny;

    torci_heap_init(&tiny, NULL, 1);
    cr_expect_eq(tiny.batch_bytes, 1u);
    torci_heap_init(&tiny, NULL, UINT64_MAX);
    cr_expect_eq(tiny.batch_bytes, 16u * 1024u);
    torci_heap_init(&tiny, NULL, 0);
    cr_expect_eq(tiny.batch_bytes, 16u * 1024u);

    void *memory[40];
    for (size_t i = 0; i < 40; i++) {
        memory[i] = torci_alloc(&tiny, 1024);
        int64_t settled = torci_load(&tiny.settled, memory_order_relaxed);
        cr_expect_lt((int64_t)((i + 1) * 1024) - settled, 16 * 1024);
    }
    for (size_t i = 0; i < 40; i++)
        torci_free(&tiny, memory[i], 1024);
    cr_expect_eq(torci_heap_bytes(&tiny), 0u);
}

/* More threads than shards, so that some share one. */
enum { RACERS = TORCI_HEAP_SHARDS + 8, ROUNDS = 500, SLOTS = 64 };

/* Blocks change hands through these slots, so that most are freed by another thread than allocated them. */
static _Atomic(void *) slots[SLOTS];

static void
swap_blocks(void *context, unsigned number)
{
    struct torci_random random = torci_random_seed(torct_seed() + number);

    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t slot = torci_random_below(&random, SLOTS);
        size_t size = 1 + slot * 40;
        unsigned char *memory = torci_alloc(&heap, size);

        memory[0] = memory[size - 1] = (unsigned char)slot;
        /* Acquire and release: the block's bytes go along. */
        unsigned char *old = torci_exchange(&slots[slot], memory, memory_order_acq_rel);
        if (old == NULL)
            continue;
        cr_assert(old[0] == slot && old[size - 1] == slot);
        torci_free(&heap, old, size);
    }
}

/* Oracle: conservation. What is left in the slots is what the heap counts, to the byte. */
static void
race_and_count(void)
{
    uint64_t left = 0;

    torct_race(RACERS, swap_blocks, NULL);
    for (size_t slot = 0; slot < SLOTS; slot++)
        if (torci_load(&slots[slot], memory_order_relaxed) != NULL)
            left += 1 + slot * 40;
    cr_expect_eq(torci_heap_bytes(&heap), left);
    for (size_t slot = 0; slot < SLOTS; slot++)
        torci_free(&heap, torci_exchange(&slots[slot], NULL, memory_order_relaxed), 1 + slot * 40);
}

Test(alloc, counts_exactly_when_threads_have_stopped)
{
    race_and_count();
}

/* With the least batch each change settles, so that threads meet there. */
Test(alloc, counts_exactly_when_threads_settle_at_once)
{
    struct torc_allocator allocator = torct_ledger_allocator(&ledger);

    torci_heap_init(&heap, &allocator, 1);
    race_and_count();
}

static void
take_aligned(struct torci_heap *tested)
{
    for (size_t alignment = TORCI_CACHE_LINE; alignment <= 64 * 1024; alignment *= 4)
        for (size_t size = 1; size <= 256 * 1024; size *= 8) {
            unsigned char *memory = torci_alloc_aligned(tested, size, alignment);

            cr_assert_not_null(memory);
            cr_expect_eq((uintptr_t)memory % alignment, (uintptr_t)0, "%zu bytes to %zu", size, alignment);
            cr_expect_geq(torci_heap_bytes(tested), (uint64_t)size);
            cr_expect_leq(torci_heap_bytes(tested), (uint64_t)size + alignment);
            memset(memory, 1, size);
            torci_free_aligned(tested, memory, size, alignment);
            cr_expect_eq(torci_heap_bytes(tested), UINT64_C(0));
        }
    torci_free_aligned(tested, NULL, 1, TORCI_CACHE_LINE);
}

Test(alloc, aligns_as_asked)
{
    struct torci_heap plain;

    torci_heap_init(&plain, NULL, 0);
    take_aligned(&plain);
    take_aligned(&heap);
}

static void
take_huge(struct torci_heap *tested)
{
    for (size_t size = TORCI_HUGE_BYTES - 16; size <= TORCI_HUGE_BYTES + 16; size += 16) {
        unsigned char *memory = torci_alloc(tested, size);
        unsigned char *zeroed = torci_alloc_zeroed(tested, size);
        unsigned char *aligned = torci_alloc_aligned(tested, size, 16 * 1024);

        cr_assert(memory != NULL && zeroed != NULL && aligned != NULL);
        memset(memory, 1, size);
        memset(aligned, 2, size);
        for (size_t i = 0; i < size; i += 61)
            cr_assert_eq(zeroed[i], 0);
        cr_expect_geq(torci_heap_bytes(tested), 3 * (uint64_t)size);
        torci_free(tested, memory, size);
        torci_free(tested, zeroed, size);
        torci_free_aligned(tested, aligned, size, 16 * 1024);
        cr_expect_eq(torci_heap_bytes(tested), UINT64_C(0));
    }
}

Test(alloc, takes_huge_memory_of_any_size)
{
    struct torci_heap plain;

    torci_heap_init(&plain, NULL, 0);
    take_huge(&plain);
    take_huge(&heap);
}

static void
take_too_much(struct torci_heap *tested)
{
    cr_expect_null(torci_alloc_aligned(tested, SIZE_MAX, TORCI_CACHE_LINE));
    cr_expect_null(torci_alloc_aligned(tested, PTRDIFF_MAX, TORCI_CACHE_LINE));
    cr_expect_null(torci_alloc_aligned(tested, PTRDIFF_MAX - 4096, 16 * 1024));
    cr_expect_eq(torci_heap_bytes(tested), UINT64_C(0));
}

Test(alloc, tells_that_there_is_no_huge_memory)
{
    struct torci_heap plain;

    torci_heap_init(&plain, NULL, 0);
    take_too_much(&plain);
    take_too_much(&heap);
}

#if defined(TORC_FAULTS)
static unsigned char last_released[64];

static void *
plain_allocate(void *context, size_t size)
{
    (void)context;
    return aligned_alloc(16, (size + 15) / 16 * 16);
}

static void
copying_release(void *context, void *memory, size_t size)
{
    (void)context;
    memcpy(last_released, memory, size < sizeof(last_released) ? size : sizeof(last_released));
    free(memory);
}

Test(alloc_faults, poisons_fresh_and_freed_memory)
{
    struct torc_allocator allocator = {plain_allocate, copying_release, NULL};
    struct torci_heap poisoned;

    torci_heap_init(&poisoned, &allocator, 0);
    unsigned char *memory = torci_alloc(&poisoned, 32);
    for (size_t i = 0; i < 32; i++)
        cr_expect_eq(memory[i], 0xcd);
    torci_free(&poisoned, memory, 32);
    for (size_t i = 16; i < 48; i++)
        cr_expect_eq(last_released[i], 0xdd);
}

Test(alloc_faults, fails_the_nth_allocation_once)
{
    (void)torci_alloc_fail_at(3, false);
    for (unsigned n = 1; n <= 6; n++) {
        void *memory = torci_alloc(&heap, 8);

        cr_expect_eq(memory == NULL, n == 3, "allocation %u", n);
        torci_free(&heap, memory, 8);
    }
    cr_expect_eq(torci_alloc_fail_at(0, false), 6u);
}

Test(alloc_faults, keeps_failing_when_sticky)
{
    (void)torci_alloc_fail_at(2, true);
    for (unsigned n = 1; n <= 6; n++) {
        void *memory = n % 2 == 0 ? torci_alloc(&heap, 8) : torci_alloc_zeroed(&heap, 8);

        cr_expect_eq(memory == NULL, n >= 2, "allocation %u", n);
        torci_free(&heap, memory, 8);
    }
    cr_expect_eq(torci_alloc_fail_at(0, false), 6u);
    void *memory = torci_alloc(&heap, 8);
    cr_expect_not_null(memory, "disarmed");
    torci_free(&heap, memory, 8);
    cr_expect_eq(torci_alloc_fail_at(0, false), 1u);
}

TestSuite(alloc_faults, .init = create, .fini = balance, .timeout = 30);

Test(alloc_faults, reach_aligned_memory_too)
{
    struct torci_heap plain;

    torci_heap_init(&plain, NULL, 0);
    for (size_t size = 64; size <= 2 * TORCI_HUGE_BYTES; size *= 32) {
        (void)torci_alloc_fail_at(1, false);
        cr_expect_null(torci_alloc_aligned(&heap, size, 4096), "%zu bytes", size);
        (void)torci_alloc_fail_at(1, false);
        cr_expect_null(torci_alloc_aligned(&plain, size, 4096), "%zu bytes", size);
    }
    cr_expect_eq(torci_alloc_fail_at(0, false), UINT64_C(1));
}

Test(alloc_faults, count_for_allocators_that_stand_on_this_one)
{
    (void)torci_alloc_fail_at(2, false);
    cr_expect_not(torci_alloc_fault_due());
    cr_expect(torci_alloc_fault_due());
    cr_expect_not(torci_alloc_fault_due());
    cr_expect_eq(torci_alloc_fail_at(0, false), UINT64_C(3));
}

#if defined(TORC_ASSERTIONS)
TestSuite(alloc_asserts, .init = create, .timeout = 30);

Test(alloc_asserts, stops_at_a_wrong_size, .signal = SIGABRT)
{
    void *memory = torci_alloc(&heap, 24);

    torci_free(&heap, memory, 25);
}

static void
keeping_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)memory;
    (void)size;
}

Test(alloc_asserts, stops_at_a_second_free, .signal = SIGABRT)
{
    struct torc_allocator allocator = {plain_allocate, keeping_release, NULL};
    struct torci_heap keeping;

    torci_heap_init(&keeping, &allocator, 0);
    void *memory = torci_alloc(&keeping, 24);
    torci_free(&keeping, memory, 24);
    torci_free(&keeping, memory, 24);
}
#endif
#else
Test(alloc, injects_nothing_in_release)
{
    cr_expect_eq(torci_alloc_fail_at(1, true), 0u);
    void *memory = torci_alloc(&heap, 8);
    cr_expect_not_null(memory);
    torci_free(&heap, memory, 8);
    cr_expect_eq(torci_alloc_fail_at(0, false), 0u);
}
#endif

/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <stdbool.h>

#include "base/atomic.h"
#include "base/noise.h"
#include "base/testing.h"

TestSuite(atomic, .timeout = 60);
TestSuite(noise, .timeout = 60);

static _Atomic(uint64_t) word;

Test(atomic, operations_return_what_c11_says)
{
    uint64_t expected = 7;

    torci_init(&word, 5);
    cr_expect_eq(torci_load(&word, memory_order_acquire), UINT64_C(5));
    torci_store(&word, 6, memory_order_release);
    cr_expect_eq(torci_exchange(&word, 8, memory_order_acq_rel), UINT64_C(6));

    cr_expect_not(torci_cas(&word, &expected, 9, memory_order_acq_rel, memory_order_acquire));
    cr_expect_eq(expected, UINT64_C(8), "a failing CAS says what it saw");
    cr_expect(torci_cas(&word, &expected, 9, memory_order_acq_rel, memory_order_acquire));

    cr_expect_eq(torci_fetch_add(&word, 3, memory_order_relaxed), UINT64_C(9));
    cr_expect_eq(torci_fetch_sub(&word, 2, memory_order_relaxed), UINT64_C(12));
    cr_expect_eq(torci_fetch_or(&word, 0x10, memory_order_relaxed), UINT64_C(10));
    cr_expect_eq(torci_fetch_and(&word, 0x12, memory_order_relaxed), UINT64_C(0x1a));
    cr_expect_eq(torci_load(&word, memory_order_seq_cst), UINT64_C(0x12));
    torci_race_window();
}

Test(atomic, operands_are_evaluated_once)
{
    unsigned calls = 0;

    torci_init(&word, 0);
    torci_store((calls++, &word), 1, memory_order_relaxed);
    cr_expect_eq(calls, 1u);
    (void)torci_load((calls++, &word), memory_order_relaxed);
    cr_expect_eq(calls, 2u);
    (void)torci_fetch_add(&word, (calls++, 1u), memory_order_relaxed);
    cr_expect_eq(calls, 3u);
}

enum { RACERS = 6, ROUNDS = 20000 };

static uint64_t plain;              /* Under `held`. */
static _Atomic(bool) held;

static void
count_in_turns(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (unsigned won = 0; won < ROUNDS / RACERS;) {
        torci_fetch_add(&word, 1, memory_order_relaxed);
        if (torci_exchange(&held, true, memory_order_acquire))
            continue;
        plain++;
        torci_store(&held, false, memory_order_release);
        won++;
    }
}

/* A plain counter behind acquire and release: exact, and a race checker has nothing to say. */
Test(atomic, acquire_sees_what_release_published)
{
    torci_init(&word, 0);
    torct_race(RACERS, count_in_turns, NULL);
    cr_expect_eq(plain, (uint64_t)(ROUNDS / RACERS) * RACERS);
    cr_expect_geq(torci_load(&word, memory_order_relaxed), plain);
}

/* Whatever the mood, a call comes back. */
Test(noise, returns_in_every_mood)
{
    for (uint64_t seed = 0; seed < 64; seed++) {
        torci_noise_seed(seed);
        for (unsigned i = 0; i < 4096; i++)
            torci_noise();
    }
}

#if defined(TORC_ATOMIC_NOISE)
static _Atomic(uint64_t) lossy;

static void
lose_updates(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t seen = torci_load(&lossy, memory_order_relaxed);

        torci_store(&lossy, seen + 1, memory_order_relaxed);
    }
}

/* Canary: between a load and its store, noise lets other threads in. */
Test(noise, canary_makes_lost_updates_likely)
{
    torct_race(RACERS, lose_updates, NULL);
    cr_expect_lt(torci_load(&lossy, memory_order_relaxed), (uint64_t)RACERS * ROUNDS);
}
#endif

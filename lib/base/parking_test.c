/* SPDX-License-Identifier: MIT */
/* Sleeping on a word: nobody sleeps past a change, only who is meant is woken. A lost wake is a test that hangs. */
#include <criterion/criterion.h>

#include "base/parking.h"
#include "base/testing.h"

TestSuite(parking, .timeout = 60);

enum { KINDS = 3, ROUNDS = 20000, SHORT_NS = 1000000 };

Test(parking, a_word_that_has_changed_lets_nobody_sleep)
{
    _Atomic(uint32_t) word;

    torci_init(&word, 1u);
    torci_park(&word, 0, 1, 0);
}

Test(parking, a_limit_ends_it)
{
    _Atomic(uint32_t) word;

    torci_init(&word, 1u);
    torci_park(&word, 1, 1, SHORT_NS);
    torci_park(&word, 1, 1, 1);
}

Test(parking, waking_where_nobody_sleeps_does_nothing)
{
    _Atomic(uint32_t) word;

    torci_init(&word, 1u);
    torci_unpark(&word, TORCI_UNPARK_ALL, ~0u);
    torci_park(&word, 1, 1, SHORT_NS);
}

/* ---- Two that take turns ---- */

static _Atomic(uint32_t) turn;

static void
take_turns(void *context, unsigned number)
{
    (void)context;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t seen = torci_load(&turn, memory_order_seq_cst);

        while (seen % 2 != number) {
            torci_park(&turn, seen, 1u << number, 0);
            seen = torci_load(&turn, memory_order_seq_cst);
        }
        torci_store(&turn, seen + 1, memory_order_seq_cst);
        torci_unpark(&turn, 1, 1u << (1 - number));
    }
}

Test(parking, no_wake_is_lost)
{
    torct_race(2, take_turns, NULL);
    cr_expect_eq(torci_load(&turn, memory_order_seq_cst), 2u * ROUNDS);
}

/* ---- Kinds ---- */

/* All sleep on one word, which never changes. Each is woken in turn, by its kind, until it has said so: the others, who
 * would count what woke them, sleep on. */
static struct {
    _Atomic(uint32_t) word;
    _Atomic(uint32_t) meant[KINDS];
    _Atomic(uint32_t) left[KINDS];
    _Atomic(uint32_t) disturbed;
} kinds;

static void
sleep_or_wake(void *context, unsigned number)
{
    (void)context;
    if (number < KINDS) {
        for (;;) {
            torci_park(&kinds.word, 0, 1u << number, 0);
            if (torci_load(&kinds.meant[number], memory_order_seq_cst) != 0)
                break;
            torci_fetch_add(&kinds.disturbed, 1u, memory_order_relaxed); /* Relaxed: read after join. */
        }
        torci_store(&kinds.left[number], 1u, memory_order_seq_cst);
        return;
    }
    for (unsigned kind = KINDS; kind-- > 0;) {
        torci_store(&kinds.meant[kind], 1u, memory_order_seq_cst);
        while (torci_load(&kinds.left[kind], memory_order_seq_cst) == 0)
            torci_unpark(&kinds.word, TORCI_UNPARK_ALL, 1u << kind);
    }
}

Test(parking, only_the_kinds_that_are_meant_are_woken)
{
    torct_race(KINDS + 1, sleep_or_wake, NULL);
    cr_expect_eq(torci_load(&kinds.disturbed, memory_order_relaxed), 0u);
}

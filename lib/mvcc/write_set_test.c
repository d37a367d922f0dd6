/* SPDX-License-Identifier: MIT */
#include "mvcc/write_set.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/testing.h"
#include "mvcc/index_testing.h"
#include "mvcc/store.h"

static struct torci_heap heap;
static struct torci_arena *arena;
static struct torci_write_set tested;
static struct torc_keyspace here = {.number = 5};

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    arena = torci_arena_create(&heap, 1024);
    cr_assert_not_null(arena);
    memset(&tested, 0, sizeof tested);
}

static void
destroy(void)
{
    torci_arena_destroy(arena);
    cr_assert_eq(torci_heap_bytes(&heap), 0u);
}

TestSuite(write_set, .init = create, .fini = destroy, .timeout = 60);

static void
add(struct torc_slice key)
{
    struct torci_write *write = torci_write_set_add(&tested, arena, &here, key);

    cr_assert_not_null(write);
    cr_assert_eq(write->key.data, key.data);
    cr_assert(write->version == NULL && write->record == NULL && write->fresh == NULL && !write->installed);
}

/* Whether `write` is the one of `key` (NULL: none). */
static bool
is(const struct torci_write *write, const struct torct_key *key)
{
    if (key == NULL)
        return write == NULL;
    return write != NULL && torci_key_compare(write->key, torct_key_slice(key)) == 0;
}

Test(write_set, empty_answers_nothing)
{
    struct torc_slice key = torc_slice("k", 1), none = torc_slice(NULL, 0);

    cr_expect_null(torci_write_set_first(&tested));
    cr_expect_null(torci_write_set_find(&tested, &here, key));
    cr_expect_null(torci_write_set_after(&tested, &here, key, true));
    cr_expect_null(torci_write_set_after(&tested, &here, none, false));
    cr_expect_null(torci_write_set_before(&tested, &here, key, true));
    cr_expect_null(torci_write_set_before(&tested, &here, none, false));
}

Test(write_set, of_one_tells_inclusive_from_exclusive)
{
    struct torc_slice key = torc_slice("kk", 2);

    add(key);
    cr_expect_not_null(torci_write_set_find(&tested, &here, key));
    cr_expect_null(torci_write_set_find(&tested, &here, torc_slice("k", 1)), "a prefix is another key");
    cr_expect_null(torci_write_set_find(&tested, &here, torc_slice("kk\0", 3)));
    cr_expect_not_null(torci_write_set_after(&tested, &here, key, true));
    cr_expect_null(torci_write_set_after(&tested, &here, key, false));
    cr_expect_not_null(torci_write_set_before(&tested, &here, key, true));
    cr_expect_null(torci_write_set_before(&tested, &here, key, false));
}

Test(write_set, an_empty_key_means_the_very_first_and_the_very_last)
{
    add(torc_slice("b", 1));
    add(torc_slice("\0", 1));
    add(torc_slice("\xff\xff", 2));
    cr_expect_eq(*(const char *)torci_write_set_after(&tested, &here, torc_slice(NULL, 0), false)->key.data, '\0');
    cr_expect_eq(torci_write_set_after(&tested, &here, torc_slice("", 0), true), torci_write_set_first(&tested));
    cr_expect_eq(torci_write_set_before(&tested, &here, torc_slice(NULL, 0), false)->key.size, 2u);
    cr_expect_eq(torci_write_set_before(&tested, &here, torc_slice("", 0), true)->key.size, 2u);
}

Test(write_set, keeps_keyspaces_apart)
{
    struct torc_keyspace before = {.number = 4}, after = {.number = 6};
    struct torc_slice none = torc_slice(NULL, 0), a = torc_slice("a", 1), z = torc_slice("z", 1);

    cr_assert_not_null(torci_write_set_add(&tested, arena, &after, a));
    cr_assert_not_null(torci_write_set_add(&tested, arena, &before, z));
    cr_expect_null(torci_write_set_find(&tested, &here, a));
    cr_expect_null(torci_write_set_after(&tested, &here, none, false));
    cr_expect_null(torci_write_set_before(&tested, &here, none, false));
    cr_assert_not_null(torci_write_set_add(&tested, arena, &here, a));
    cr_expect_eq(torci_write_set_find(&tested, &here, a)->keyspace, &here);
    cr_expect_eq(torci_write_set_after(&tested, &here, none, false)->keyspace, &here);
    cr_expect_eq(torci_write_set_before(&tested, &here, none, false)->keyspace, &here);
    cr_expect_null(torci_write_set_after(&tested, &here, a, false), "the next one is another keyspace's");
    cr_expect_null(torci_write_set_before(&tested, &here, a, false), "so is the one before");
    cr_expect_eq(torci_write_set_first(&tested)->keyspace, &before);
}

/* How many of the sorted `keys` are below `key` (or equal, if `or_equal`). */
static unsigned
rank(const struct torct_key *keys, unsigned count, const struct torct_key *key, bool or_equal)
{
    unsigned below = 0;

    while (below < count && torct_key_compare(&keys[below], key) < (or_equal ? 1 : 0))
        below++;
    return below;
}

static void
compare_at(const struct torct_key *keys, unsigned count, const struct torct_key *probe)
{
    struct torc_slice key = torct_key_slice(probe);
    unsigned below = rank(keys, count, probe, false), upto = rank(keys, count, probe, true);

    cr_assert(is(torci_write_set_find(&tested, &here, key), upto > below ? probe : NULL));
    cr_assert(is(torci_write_set_after(&tested, &here, key, true), below < count ? &keys[below] : NULL));
    cr_assert(is(torci_write_set_after(&tested, &here, key, false), upto < count ? &keys[upto] : NULL));
    cr_assert(is(torci_write_set_before(&tested, &here, key, true), upto > 0 ? &keys[upto - 1] : NULL));
    cr_assert(is(torci_write_set_before(&tested, &here, key, false), below > 0 ? &keys[below - 1] : NULL));
}

static void
shuffle(struct torct_key *keys, unsigned count, struct torci_random *random)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)torci_random_below(random, i);
        struct torct_key kept = keys[i - 1];

        keys[i - 1] = keys[j];
        keys[j] = kept;
    }
}

/* Model: a sorted array. Keys that begin with one another, zero and 0xff bytes, in random order. */
Test(write_set, agrees_with_a_sorted_array)
{
    enum { KEYS = 300, ROUNDS = 8 };
    static struct torct_key sorted[KEYS], shuffled[KEYS];
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct torci_write *write;

        memset(&tested, 0, sizeof tested);
        tested.random = torci_random_next(&random);
        torci_arena_reset(arena);
        torct_keys_fill(sorted, KEYS, &random);
        memcpy(shuffled, sorted, sizeof sorted);
        shuffle(shuffled, KEYS, &random);
        for (unsigned i = 0; i < KEYS; i++)
            add(torct_key_slice(&shuffled[i]));
        cr_assert_eq(tested.count, (size_t)KEYS);
        write = torci_write_set_first(&tested);
        for (unsigned i = 0; i < KEYS; i++, write = torci_write_next(write)) {
            cr_assert(is(write, &sorted[i]));
            compare_at(sorted, KEYS, &sorted[i]);
        }
        cr_assert_null(write);
        for (unsigned i = 0; i < KEYS; i++) {
            struct torct_key probe = torct_key_random(&random);

            compare_at(sorted, KEYS, &probe);
        }
    }
}

Test(write_set, holds_a_hundred_thousand_keys_in_any_order_of_arrival)
{
    enum { KEYS = 100000 };
    uint32_t *keys = malloc(KEYS * sizeof *keys);
    struct torci_write *write;

    cr_assert_not_null(keys);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t number = (uint32_t)((uint64_t)i * 77777 % KEYS); /* 77777 and 10^5 have no common divisor. */

        keys[i] = __builtin_bswap32(number);
        add(torc_slice(&keys[i], sizeof keys[i]));
    }
    cr_expect_eq(tested.count, (size_t)KEYS);
    cr_expect_leq(tested.lanes, (unsigned)TORCI_WRITE_LANES_MAX);
    cr_expect_gt(tested.lanes, 4u, "searches would take ages");
    write = torci_write_set_first(&tested);
    for (uint32_t i = 0; i < KEYS; i++, write = torci_write_next(write)) {
        uint32_t key;

        memcpy(&key, write->key.data, sizeof key);
        cr_assert_eq(__builtin_bswap32(key), i);
    }
    cr_assert_null(write);
    for (uint32_t i = 0; i < KEYS; i += 97) {
        uint32_t key = __builtin_bswap32(i);

        cr_assert_not_null(torci_write_set_find(&tested, &here, torc_slice(&key, sizeof key)));
    }
    free(keys);
}

#if defined(TORC_FAULTS)
Test(write_set, is_unchanged_when_memory_is_short)
{
    static char keys[200][4];
    unsigned refused = 0;
    size_t count = 0;

    for (unsigned i = 0; i < 200; i++) {
        snprintf(keys[i], sizeof keys[i], "%03u", i);
        torci_alloc_fail_at(1, true);
        if (torci_write_set_add(&tested, arena, &here, torc_slice(keys[i], 3)) == NULL) {
            refused++;
            cr_assert_eq(tested.count, count);
            cr_assert_null(torci_write_set_find(&tested, &here, torc_slice(keys[i], 3)));
            torci_alloc_fail_at(0, false);
            add(torc_slice(keys[i], 3));
        }
        torci_alloc_fail_at(0, false);
        count++;
    }
    cr_expect_gt(refused, 0u);
    cr_expect_eq(tested.count, 200u);
}
#endif

#if defined(TORC_ASSERTIONS)
Test(write_set, a_key_twice_is_a_programmers_error, .signal = SIGABRT)
{
    add(torc_slice("k", 1));
    add(torc_slice("k", 1));
}
#endif

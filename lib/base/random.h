/* SPDX-License-Identifier: MIT */
/* base/random: seeded, repeatable pseudo-random numbers. Not for secrets.
 *
 * splitmix64 (one word of state) seeds, scrambles and drives back-off; xoshiro256** (four words) is the stream for
 * tests, stress and everything that draws much. One owner at a time: nothing here is atomic.
 *
 * Papers  Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
 *         Blackman, Vigna: Scrambled linear pseudorandom number generators (2018).
 *         Lemire: Fast random integer generation in an interval (2019). */
#ifndef TORCI_RANDOM_H
#define TORCI_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

__extension__ typedef unsigned __int128 torci_uint128;

struct torci_random {
    uint64_t state[4];      /* Not all zero. Owner only. */
};

/* The next number of the stream that `*state` is in. Any state will do, also 0. */
static inline uint64_t
torci_splitmix64(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);    /* 2^64 / golden ratio, odd: visits every state. */

    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* A stream of its own for every seed. */
static inline struct torci_random
torci_random_seed(uint64_t seed)
{
    struct torci_random random;

    /* splitmix64 never yields four zeros in a row: it is a bijection of a counter. */
    for (unsigned i = 0; i < 4; i++)
        random.state[i] = torci_splitmix64(&seed);
    return random;
}

static inline uint64_t
torci_rotate_left(uint64_t word, unsigned bits)
{
    torc_assert(bits > 0 && bits < 64);
    return word << bits | word >> (64 - bits);
}

/* 64 uniform bits. */
static inline uint64_t
torci_random_next(struct torci_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = torci_rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = torci_rotate_left(s[3], 45);
    return result;
}

/* A number in [0, bound), `bound` > 0, each equally likely: the product's high word, drawn again in the rare case
 * that its low word falls into the part of 2^64 that `bound` does not divide. */
static inline uint64_t
torci_random_below(struct torci_random *random, uint64_t bound)
{
    torc_assert(bound > 0);

    torci_uint128 product = (torci_uint128)torci_random_next(random) * bound;
    if ((uint64_t)product < bound) {
        uint64_t uneven = (0 - bound) % bound;      /* 2^64 mod bound */

        while ((uint64_t)product < uneven)
            product = (torci_uint128)torci_random_next(random) * bound;
    }
    return (uint64_t)(product >> 64);
}

/* True once in `n` times on average, `n` > 0. */
static inline bool
torci_random_one_in(struct torci_random *random, uint64_t n)
{
    return torci_random_below(random, n) == 0;
}

/* A number in [0, 1), a multiple of 2^-53. */
static inline double
torci_random_unit(struct torci_random *random)
{
    return (double)(torci_random_next(random) >> 11) * 0x1p-53;
}

/* A new stream, to be handed to somebody else; both go on independently. */
static inline struct torci_random
torci_random_split(struct torci_random *random)
{
    uint64_t seed = torci_random_next(random);

    return torci_random_seed(seed ^ torci_rotate_left(torci_random_next(random), 32));
}

#endif

/* SPDX-License-Identifier: MIT */
/* base/hash: the one hash of keys: XXH3, 64 bits, seeded. The same on every machine and in every version of torc:
 * what is placed by it stays where it is. Against keys chosen by an enemy, the seed must be secret. */
#ifndef TORCI_HASH_H
#define TORCI_HASH_H

#include <stdint.h>

/* Inlined, so that the branches on the size and the seed melt into the caller. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <torc/base.h>

static inline uint64_t
torci_hash(uint64_t seed, struct torc_slice bytes)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/index_testing: what the tests of the indexes share: records, limbos, keys hard to sort. Not installed. */
#ifndef TORCT_INDEX_TESTING_H
#define TORCT_INDEX_TESTING_H

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limbo.h"
#include "base/random.h"
#include "mvcc/index.h"

static inline size_t
torct_record_size(size_t key_size)
{
    return sizeof(struct torci_record) + key_size;
}

static inline struct torci_record *
torct_record_create(struct torci_heap *heap, struct torc_slice key, uint64_t order)
{
    struct torci_record *record = torci_alloc(heap, torct_record_size(key.size));

    if (record == NULL)
        abort();
    torci_init(&record->chain, 0);
    record->order = order;
    torci_init(&record->head, NULL);
    torci_init(&record->flags, 0);
    record->key_size = (uint32_t)key.size;
    memcpy(record->key, key.data, key.size);
    return record;
}

static inline void
torct_record_free(struct torci_heap *heap, struct torci_record *record)
{
    torci_free(heap, record, torct_record_size(record->key_size));
}

/* True for the one who froze it. */
static inline bool
torct_record_freeze(struct torci_record *record)
{
    struct torci_version *expected = NULL;

    return torci_cas(&record->head, &expected, torci_frozen(), memory_order_seq_cst, memory_order_seq_cst);
}

static inline bool
torct_record_is_frozen(struct torci_record *record)
{
    return torci_load(&record->head, memory_order_seq_cst) == torci_frozen();
}

/* The free function of the tests' limbos; the context is the heap. */
static inline void
torct_retired_free(void *context, void *object, size_t size, unsigned kind)
{
    (void)kind;
    torci_free(context, object, size);
}

static inline struct torci_limbo *
torct_limbo_create(struct torci_heap *heap)
{
    struct torci_limbo *limbo = torci_limbo_create(heap, NULL, torct_retired_free, heap);

    if (limbo == NULL)
        abort();
    return limbo;
}

static inline void
torct_limbo_reserve(struct torci_limbo *limbo, size_t count)
{
    if (torci_limbo_reserve(limbo, count) != TORC_OK)
        abort();
}

/* Keys that are hard to sort: sizes 1..40, long common prefixes, zero bytes, keys that begin with other keys. */
enum { TORCT_KEY_SIZE_MAX = 40 };

struct torct_key {
    unsigned char size;
    unsigned char bytes[TORCT_KEY_SIZE_MAX];
};

static inline struct torc_slice
torct_key_slice(const struct torct_key *key)
{
    return torc_slice(key->bytes, key->size);
}

static inline int
torct_key_compare(const void *a, const void *b)
{
    return torci_key_compare(torct_key_slice(a), torct_key_slice(b));
}

static inline struct torct_key
torct_key_random(struct torci_random *random)
{
    static const unsigned char alphabet[] = {0, 1, 'p', 0xff};
    static const unsigned char prefixes[] = {0, 0, 7, 8, 16, 33};
    unsigned prefix = prefixes[torci_random_below(random, sizeof(prefixes))];
    struct torct_key key;

    key.size = (unsigned char)(prefix + 1 + torci_random_below(random, TORCT_KEY_SIZE_MAX - prefix));
    memset(key.bytes, torci_random_one_in(random, 2) ? 'p' : 0, prefix);
    for (unsigned i = prefix; i < key.size; i++)
        key.bytes[i] = alphabet[torci_random_below(random, sizeof(alphabet))];
    return key;
}

/* Fill `keys` with `count` different keys in ascending order. Each begins like others before it. */
static inline void
torct_keys_fill(struct torct_key *keys, unsigned count, struct torci_random *random)
{
    unsigned filled = 0;

    while (filled < count) {
        for (unsigned i = filled; i < count; i++)
            keys[i] = torct_key_random(random);
        qsort(keys, count, sizeof(*keys), torct_key_compare);
        filled = 1;
        for (unsigned i = 1; i < count; i++)
            if (torct_key_compare(&keys[i], &keys[filled - 1]) != 0)
                keys[filled++] = keys[i];
    }
}

#endif

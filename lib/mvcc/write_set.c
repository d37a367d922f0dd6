/* SPDX-License-Identifier: MIT */
/* mvcc/write_set: a private skip list. See write_set.h. */
#include "mvcc/write_set.h"

#include "base/assert.h"
#include "base/random.h"
#include "mvcc/store.h"

/* The lanes after `write`, or the set's heads for NULL. */
static struct torci_write *const *
lanes_after(const struct torci_write_set *set, const struct torci_write *write)
{
    return write == NULL ? set->heads : write->next;
}

/* The order of the set; every key of a lesser keyspace comes first. */
static int
compare(const struct torci_write *write, const struct torc_keyspace *keyspace, struct torc_slice key)
{
    if (write->keyspace != keyspace)
        return write->keyspace->number < keyspace->number ? -1 : 1;
    return torci_key_compare(write->key, key);
}

/* The last write that is less than `key` (or equal, if `or_equal`), per lane in `path` if that is given. */
static struct torci_write *
find_before(const struct torci_write_set *set, const struct torc_keyspace *keyspace, struct torc_slice key,
            bool or_equal, struct torci_write **path)
{
    struct torci_write *before = NULL;

    for (unsigned lane = set->lanes; lane-- > 0;) {
        struct torci_write *next;

        while ((next = lanes_after(set, before)[lane]) != NULL) {
            int order = compare(next, keyspace, key);

            if (order > 0 || (order == 0 && !or_equal))
                break;
            before = next;
        }
        if (path != NULL)
            path[lane] = before;
    }
    return before;
}

/* `write` if it is in the keyspace, else NULL. */
static struct torci_write *
within(struct torci_write *write, const struct torc_keyspace *keyspace)
{
    return write != NULL && write->keyspace == keyspace ? write : NULL;
}

struct torci_write *
torci_write_set_find(const struct torci_write_set *set, const struct torc_keyspace *keyspace, struct torc_slice key)
{
    struct torci_write *write;

    if (set->count == 0)
        return NULL;
    write = find_before(set, keyspace, key, true, NULL);
    return write != NULL && compare(write, keyspace, key) == 0 ? write : NULL;
}

struct torci_write *
torci_write_set_after(const struct torci_write_set *set, const struct torc_keyspace *keyspace, struct torc_slice key,
                      bool inclusive)
{
    if (set->count == 0)
        return NULL;
    /* No key is empty, so that nothing equals an empty one. */
    return within(lanes_after(set, find_before(set, keyspace, key, !inclusive, NULL))[0], keyspace);
}

/* The last write in `keyspace` or in a lesser one. */
static struct torci_write *
last_of(const struct torci_write_set *set, const struct torc_keyspace *keyspace)
{
    struct torci_write *last = NULL;

    for (unsigned lane = set->lanes; lane-- > 0;) {
        struct torci_write *next;

        while ((next = lanes_after(set, last)[lane]) != NULL && next->keyspace->number <= keyspace->number)
            last = next;
    }
    return last;
}

struct torci_write *
torci_write_set_before(const struct torci_write_set *set, const struct torc_keyspace *keyspace, struct torc_slice key,
                       bool inclusive)
{
    if (set->count == 0)
        return NULL;
    return within(key.size > 0 ? find_before(set, keyspace, key, inclusive, NULL) : last_of(set, keyspace), keyspace);
}

/* One lane more with probability 1/4 each. */
static unsigned
draw_lanes(struct torci_write_set *set)
{
    uint64_t bits = torci_splitmix64(&set->random);
    unsigned lanes = 1;

    while (lanes < TORCI_WRITE_LANES_MAX && bits % 4 == 0) {
        lanes++;
        bits /= 4;
    }
    return lanes;
}

struct torci_write *
torci_write_set_add(struct torci_write_set *set, struct torci_arena *arena, struct torc_keyspace *keyspace,
                    struct torc_slice key)
{
    struct torci_write *path[TORCI_WRITE_LANES_MAX] = {NULL};
    unsigned lanes = draw_lanes(set);
    struct torci_write *write = torci_arena_alloc(arena, sizeof *write + lanes * sizeof write->next[0]);

    if (write == NULL)
        return NULL;
    memset(write, 0, sizeof *write);
    write->keyspace = keyspace;
    write->key = key;
    if (lanes > set->lanes)
        set->lanes = lanes;
    find_before(set, keyspace, key, false, path);
    for (unsigned lane = 0; lane < lanes; lane++) {
        struct torci_write **place = path[lane] == NULL ? &set->heads[lane] : &path[lane]->next[lane];

        torc_assert(*place == NULL || compare(*place, keyspace, key) > 0);
        write->next[lane] = *place;
        *place = write;
    }
    set->count++;
    return write;
}

void
torci_write_set_remove(struct torci_write_set *set, struct torci_write *write)
{
    struct torci_write *path[TORCI_WRITE_LANES_MAX] = {NULL};

    find_before(set, write->keyspace, write->key, false, path);
    torc_assert(lanes_after(set, path[0])[0] == write);
    for (unsigned lane = 0; lane < set->lanes; lane++) {
        struct torci_write **place = path[lane] == NULL ? &set->heads[lane] : &path[lane]->next[lane];

        if (*place != write)
            break; /* It is in no lane above either. */
        *place = write->next[lane];
    }
    set->count--;
}

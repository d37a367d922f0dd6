/* SPDX-License-Identifier: MIT */
/* mvcc/write_set: a private skip list. See write_set.h. */
#include "mvcc/write_set.h"

#include "base/assert.h"
#include "base/random.h"

/* The lanes after `write`, or the set's heads for NULL. */
static struct torci_write *const *
lanes_after(const struct torci_write_set *set, const struct torci_write *write)
{
    return write == NULL ? set->heads : write->next;
}

/* The last write whose key is less than `key` (or equal, if `or_equal`), per lane in `path` if that is given. */
static struct torci_write *
find_before(const struct torci_write_set *set, struct torc_slice key, bool or_equal, struct torci_write **path)
{
    struct torci_write *before = NULL;

    for (unsigned lane = set->lanes; lane-- > 0;) {
        struct torci_write *next;

        while ((next = lanes_after(set, before)[lane]) != NULL) {
            int order = torci_key_compare(next->key, key);

            if (order > 0 || (order == 0 && !or_equal))
                break;
            before = next;
        }
        if (path != NULL)
            path[lane] = before;
    }
    return before;
}

struct torci_write *
torci_write_set_find(const struct torci_write_set *set, struct torc_slice key)
{
    struct torci_write *write;

    if (set->count == 0)
        return NULL;
    write = find_before(set, key, true, NULL);
    return write != NULL && torci_key_compare(write->key, key) == 0 ? write : NULL;
}

struct torci_write *
torci_write_set_after(const struct torci_write_set *set, struct torc_slice key, bool inclusive)
{
    if (set->count == 0 || key.size == 0)
        return set->heads[0];
    return lanes_after(set, find_before(set, key, !inclusive, NULL))[0];
}

struct torci_write *
torci_write_set_before(const struct torci_write_set *set, struct torc_slice key, bool inclusive)
{
    struct torci_write *last = NULL;

    if (set->count == 0)
        return NULL;
    if (key.size > 0)
        return find_before(set, key, inclusive, NULL);
    for (unsigned lane = set->lanes; lane-- > 0;) {
        while (lanes_after(set, last)[lane] != NULL)
            last = lanes_after(set, last)[lane];
    }
    return last;
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
torci_write_set_add(struct torci_write_set *set, struct torci_arena *arena, struct torc_slice key)
{
    struct torci_write *path[TORCI_WRITE_LANES_MAX] = {NULL};
    unsigned lanes = draw_lanes(set);
    struct torci_write *write = torci_arena_alloc(arena, sizeof *write + lanes * sizeof write->next[0]);

    if (write == NULL)
        return NULL;
    memset(write, 0, sizeof *write);
    write->key = key;
    if (lanes > set->lanes)
        set->lanes = lanes;
    find_before(set, key, false, path);
    for (unsigned lane = 0; lane < lanes; lane++) {
        struct torci_write **place = path[lane] == NULL ? &set->heads[lane] : &path[lane]->next[lane];

        torc_assert(*place == NULL || torci_key_compare((*place)->key, key) > 0);
        write->next[lane] = *place;
        *place = write;
    }
    set->count++;
    return write;
}

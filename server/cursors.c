/* SPDX-License-Identifier: MIT */
/* server/cursors.c: numbers for scan positions.
 *
 *   cursor   generation << bits | entry        a cursor is valid while its entry has its generation
 *   list     oldest <-> ... <-> newest         all entries, free ones at the old end: the next to be taken
 *
 * Invariants  I1  every entry is in the list;  I2  bytes = sum of key sizes;  I3  a free entry has key NULL
 * Guard       everything is under `mutex`. SCAN is not a hot path, and a critical section copies one key. */
#include "cursors.h"

#include <assert.h>
#include <pthread.h>

#include "memory.h"

struct entry {
    uint64_t generation;
    uint64_t previous;      /* The cursor from which the scan came here. */
    char *key;              /* NULL: free. */
    size_t size;
    struct entry *older;
    struct entry *newer;
};

struct torcd_cursors {
    pthread_mutex_t mutex;
    uint64_t generation;
    size_t capacity;
    size_t bytes;
    size_t bytes_max;
    struct entry *oldest;
    struct entry *newest;
    struct entry entries[];
};

static void
unlink_entry(struct torcd_cursors *cursors, struct entry *entry)
{
    *(entry->older != NULL ? &entry->older->newer : &cursors->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &cursors->newest) = entry->older;
}

static void
link_oldest(struct torcd_cursors *cursors, struct entry *entry)
{
    entry->older = NULL;
    entry->newer = cursors->oldest;
    *(cursors->oldest != NULL ? &cursors->oldest->older : &cursors->newest) = entry;
    cursors->oldest = entry;
}

static void
link_newest(struct torcd_cursors *cursors, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cursors->newest;
    *(cursors->newest != NULL ? &cursors->newest->newer : &cursors->oldest) = entry;
    cursors->newest = entry;
}

static void
free_entry(struct torcd_cursors *cursors, struct entry *entry)
{
    if (entry->key == NULL)
        return;
    cursors->bytes -= entry->size;
    torcd_release(entry->key);
    entry->key = NULL;
    entry->size = 0;
    unlink_entry(cursors, entry);
    link_oldest(cursors, entry);
}

static struct entry *
find(struct torcd_cursors *cursors, uint64_t cursor)
{
    struct entry *entry = &cursors->entries[cursor & (cursors->capacity - 1)];
    return entry->key != NULL && entry->generation == cursor / cursors->capacity ? entry : NULL;
}

/* Free old scans, never `kept`, until `size` more bytes are within the limit. */
static void
make_room(struct torcd_cursors *cursors, const struct entry *kept, size_t size)
{
    struct entry *entry = cursors->oldest;

    while (entry != NULL && cursors->bytes + size > cursors->bytes_max) {
        struct entry *newer = entry->newer;
        if (entry != kept)
            free_entry(cursors, entry);
        entry = newer;
    }
}

struct torcd_cursors *
torcd_cursors_create(size_t capacity, size_t bytes_max)
{
    assert(capacity >= 2 && (capacity & (capacity - 1)) == 0);
    struct torcd_cursors *cursors = torcd_allocate(1, sizeof *cursors + capacity * sizeof cursors->entries[0]);

    if (cursors == NULL)
        return NULL;
    if (pthread_mutex_init(&cursors->mutex, NULL) != 0) {
        torcd_release(cursors);
        return NULL;
    }
    cursors->capacity = capacity;
    cursors->bytes_max = bytes_max;
    for (size_t i = 0; i < capacity; i++)
        link_newest(cursors, &cursors->entries[i]);
    return cursors;
}

void
torcd_cursors_destroy(struct torcd_cursors *cursors)
{
    if (cursors == NULL)
        return;
    for (size_t i = 0; i < cursors->capacity; i++)
        torcd_release(cursors->entries[i].key);
    (void)pthread_mutex_destroy(&cursors->mutex);
    torcd_release(cursors);
}

uint64_t
torcd_cursors_put(struct torcd_cursors *cursors, uint64_t from, struct torc_slice key)
{
    uint64_t cursor = 0;
    char *copy = torcd_resize(NULL, key.size == 0 ? 1 : key.size);

    if (copy == NULL)
        return 0;
    memcpy(copy, key.data, key.size);
    (void)pthread_mutex_lock(&cursors->mutex);

    struct entry *last = from == 0 ? NULL : find(cursors, from);
    struct entry *before = last == NULL ? NULL : find(cursors, last->previous);
    if (before != NULL)
        free_entry(cursors, before);
    make_room(cursors, last, key.size);

    struct entry *entry = cursors->oldest == last ? cursors->oldest->newer : cursors->oldest;
    free_entry(cursors, entry);
    unlink_entry(cursors, entry);
    link_newest(cursors, entry);
    cursors->generation = (cursors->generation + 1) & ((UINT64_C(1) << 40) - 1);
    if (cursors->generation == 0)
        cursors->generation = 1;
    entry->generation = cursors->generation;
    entry->previous = last == NULL ? 0 : from;
    entry->key = copy;
    entry->size = key.size;
    cursors->bytes += key.size;
    cursor = entry->generation * cursors->capacity + (uint64_t)(entry - cursors->entries);

    (void)pthread_mutex_unlock(&cursors->mutex);
    return cursor;
}

bool
torcd_cursors_get(struct torcd_cursors *cursors, uint64_t cursor, void *key, size_t *size)
{
    (void)pthread_mutex_lock(&cursors->mutex);
    struct entry *entry = cursor == 0 ? NULL : find(cursors, cursor);
    if (entry != NULL) {
        memcpy(key, entry->key, entry->size);
        *size = entry->size;
        unlink_entry(cursors, entry);
        link_newest(cursors, entry);
    }
    (void)pthread_mutex_unlock(&cursors->mutex);
    return entry != NULL;
}

void
torcd_cursors_end(struct torcd_cursors *cursors, uint64_t cursor)
{
    (void)pthread_mutex_lock(&cursors->mutex);
    struct entry *last = cursor == 0 ? NULL : find(cursors, cursor);
    struct entry *before = last == NULL ? NULL : find(cursors, last->previous);
    if (before != NULL)
        free_entry(cursors, before);
    (void)pthread_mutex_unlock(&cursors->mutex);
}

/* SPDX-License-Identifier: MIT */
/* mvcc/index_world_testing: fibers that put, remove and walk over few keys of a tiny index, and what must hold then.
 * Shared by the fiber and the explorer test. Not installed. */
#ifndef TORCT_INDEX_WORLD_TESTING_H
#define TORCT_INDEX_WORLD_TESTING_H

#include "base/fiber.h"
#include "base/testing.h"
#include "mvcc/index_testing.h"

enum { FIBERS = 3, KEYS = 10, OPERATIONS_MAX = 4, MANY = 4 };

enum kind { PUT, PUT_MANY, REMOVE, WALK_UP, WALK_DOWN, STROLL_UP, STROLL_DOWN };

/* What one fiber does: drawn in setup, so that the bodies draw nothing. */
struct operation {
    enum kind kind;
    unsigned key;
};

/* Memory that is given back as a whole, for schedules whose frozen fibers never give theirs back. */
struct pool {
    size_t used;
    _Alignas(16) unsigned char bytes[1 << 20];
};

struct world {
    struct torci_heap heap;
    struct pool *pool;                              /* NULL: memory comes from malloc, and all must be given back. */
    struct torci_index *index;
    struct torci_limbo *limbos[FIBERS + 1];         /* The last one is the setup's. */
    struct operation operations[FIBERS][OPERATIONS_MAX];
    unsigned puts, removes;                         /* Of 16 operations; the rest are walks. */
    bool quiet_keys;                                /* Key 0 and key 5 are never removed; walks must meet them. */
    _Atomic(int) inserted[KEYS], removed[KEYS];     /* By the winners. Counters: read when all have ended. */
};

static struct torc_slice
key_slice(const unsigned *key, unsigned char bytes[12])
{
    /* Keys that share their first eight bytes or are each other's prefix. */
    memcpy(bytes, "prefix_________", 12);
    bytes[9] = (unsigned char)(*key / 2);
    bytes[10] = 0;
    return torc_slice(bytes, *key % 2 == 0 ? 10 : 11);
}

static void
put_key(struct world *world, unsigned key, struct torci_limbo *limbo)
{
    unsigned char bytes[12];
    struct torc_slice slice = key_slice(&key, bytes);
    struct torci_record *ours =
        torct_record_create(&world->heap, slice, torci_index_order_word(world->index, slice));
    bool linked = false;

    /* As a transaction does: until a record that is not frozen stands there. */
    while (!linked) {
        struct torci_record *record = NULL;
        enum torc_status status;

        torct_limbo_reserve(limbo, 2 * TORCI_INDEX_RETIRES_MAX + 1);
        struct torci_epoch_guard guard = torci_epoch_enter();

        if (torci_index_insert(world->index, guard, limbo, ours, &record) == TORC_OK) {
            torci_fetch_add(&world->inserted[key], 1, memory_order_relaxed);
            record = ours;
            ours = NULL;
        }
        if (torct_record_is_frozen(record)) {
            if (torci_index_remove(world->index, guard, limbo, record, &status)) {
                torci_fetch_add(&world->removed[key], 1, memory_order_relaxed);
                torci_limbo_add(limbo, record, torct_record_size(record->key_size), TORCI_RETIRED_RECORD);
            }
            linked = ours == NULL;
        } else {
            if (torci_index_order(world->index, guard, limbo, record) != TORC_OK)
                torci_fail_here("no memory");
            linked = true;
        }
        torci_epoch_exit(guard);
    }
    if (ours != NULL)
        torct_record_free(&world->heap, ours);
}

/* The keys from `key` on, into the tree all at once. */
static void
put_many(struct world *world, unsigned key, struct torci_limbo *limbo)
{
    struct torci_record *linked[MANY], *unused[MANY];
    unsigned left[MANY], links = 0, unuseds = 0, lefts = 0;

    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX);
    struct torci_epoch_guard guard = torci_epoch_enter();

    for (unsigned end = key + MANY < KEYS ? key + MANY : KEYS; key < end; key++) {
        unsigned char bytes[12];
        struct torc_slice slice = key_slice(&key, bytes);
        struct torci_record *ours =
            torct_record_create(&world->heap, slice, torci_index_order_word(world->index, slice));
        struct torci_record *record;

        if (torci_index_insert(world->index, guard, limbo, ours, &record) == TORC_OK) {
            torci_fetch_add(&world->inserted[key], 1, memory_order_relaxed);
            record = ours;
        } else {
            unused[unuseds++] = ours;
        }
        if (torct_record_is_frozen(record))
            left[lefts++] = key;
        else
            linked[links++] = record;
    }
    if (torci_index_order_many(world->index, guard, limbo, linked, links) != TORC_OK)
        torci_fail_here("no memory");
    torci_epoch_exit(guard);
    for (unsigned i = 0; i < unuseds; i++)
        torct_record_free(&world->heap, unused[i]);
    for (unsigned i = 0; i < lefts; i++)
        put_key(world, left[i], limbo);
}

static void
remove_key(struct world *world, unsigned key, struct torci_limbo *limbo)
{
    unsigned char bytes[12];
    struct torc_slice slice = key_slice(&key, bytes);
    enum torc_status status;

    torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX + 1);
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *record =
        torci_index_find(world->index, guard, slice, torci_index_order_word(world->index, slice));

    if (record != NULL) {
        (void)torct_record_freeze(record);
        torct_limbo_reserve(limbo, TORCI_INDEX_RETIRES_MAX + 1);
        if (torci_index_remove(world->index, guard, limbo, record, &status)) {
            torci_fetch_add(&world->removed[key], 1, memory_order_relaxed);
            torct_limbo_reserve(limbo, 1);
            torci_limbo_add(limbo, record, torct_record_size(record->key_size), TORCI_RETIRED_RECORD);
        }
    }
    torci_epoch_exit(guard);
    /* Sooner freed, more to stumble over. */
    torci_limbo_flush(limbo);
    (void)torci_limbo_drain(limbo);
}

/* Returns what is wrong, or NULL. Counts records that are not frozen per key, if `counts`. */
static const char *
walk(struct world *world, bool descending, unsigned *counts)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *last = NULL;
    struct torci_batch batch;
    unsigned permanent = 0;
    const char *fault = NULL;

    for (torci_index_seek(world->index, guard, torc_slice(NULL, 0), true, descending, &batch); batch.count > 0;
         torci_index_next(world->index, guard, descending, &batch))
        for (unsigned i = 0; i < batch.count; i++) {
            struct torc_slice key = torci_record_key(batch.records[i]);
            unsigned number = ((const unsigned char *)key.data)[9] * 2u + (key.size == 11);
            int order = last == NULL ? 0 : torci_key_compare(key, torci_record_key(last));

            if (last != NULL && (descending ? order >= 0 : order <= 0))
                fault = "a walk is out of order";
            permanent += number % 5 == 0;
            if (counts != NULL && !torct_record_is_frozen(batch.records[i]))
                counts[number]++;
            else if (counts != NULL)
                fault = "a frozen record is left in the tree";
            last = batch.records[i];
        }
    torci_epoch_exit(guard);
    return fault == NULL && world->quiet_keys && permanent != 2 ? "a walk missed a key that is always there" : fault;
}

/* A walk whose batches have a section each, by a bookmark. Returns what is wrong, or NULL. */
static const char *
stroll(struct world *world, bool descending)
{
    struct torci_batch batch = {.mark = {NULL, NULL, 0}};
    unsigned char last[12];
    size_t last_size = 0;
    unsigned permanent = 0;

    do {
        struct torci_epoch_guard guard = torci_epoch_enter();

        batch.wanted = TORCI_BATCH_FIRST;
        torci_index_seek_on(world->index, guard, torc_slice(last, last_size), last_size == 0, descending, &batch);
        for (unsigned i = 0; i < batch.count; i++) {
            struct torc_slice key = torci_record_key(batch.records[i]);
            int order = last_size == 0 ? 0 : torci_key_compare(key, torc_slice(last, last_size));

            if (last_size > 0 && (descending ? order >= 0 : order <= 0)) {
                torci_epoch_exit(guard);
                return "a stroll is out of order";
            }
            permanent += (((const unsigned char *)key.data)[9] * 2u + (key.size == 11)) % 5 == 0;
            memcpy(last, key.data, key.size);
            last_size = key.size;
        }
        torci_epoch_exit(guard);
    } while (batch.count > 0 && !batch.end);
    return world->quiet_keys && permanent != 2 ? "a stroll missed a key that is always there" : NULL;
}

static void *
pool_allocate(void *context, size_t size)
{
    struct pool *pool = context;
    void *memory = pool->bytes + pool->used;

    size = (size + 15) & ~(size_t)15;
    if (size > sizeof(pool->bytes) - pool->used)
        return NULL;
    pool->used += size;
    return memory;
}

static void
pool_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)memory;
    (void)size;
}

static void
setup(void *context)
{
    struct world *world = context;
    struct torc_allocator allocator = {pool_allocate, pool_release, world->pool};

    if (world->pool != NULL)
        world->pool->used = 0;
    torci_heap_init(&world->heap, world->pool != NULL ? &allocator : NULL, 0);
    for (unsigned i = 0; i <= FIBERS; i++)
        world->limbos[i] = torct_limbo_create(&world->heap);
    world->index = torci_index_create(&world->heap, world->limbos[0], 0, torci_fiber_random());
    for (unsigned key = 0; key < KEYS; key++) {
        torci_init(&world->inserted[key], 0);
        torci_init(&world->removed[key], 0);
    }
    for (unsigned key = 0; key < KEYS; key++)
        if ((world->quiet_keys && key % 5 == 0) || torci_fiber_random() % 2 == 0)
            put_key(world, key, world->limbos[FIBERS]);
    /* Few keys, next to each other: all fibers meet in one or two leaves. */
    unsigned base = (unsigned)(torci_fiber_random() % KEYS), spread = 1 + (unsigned)(torci_fiber_random() % KEYS);

    for (unsigned i = 0; i < FIBERS; i++)
        for (unsigned k = 0; k < OPERATIONS_MAX; k++) {
            unsigned drawn = (unsigned)(torci_fiber_random() % 16);
            struct operation *operation = &world->operations[i][k];

            static const enum kind walks[] = {WALK_UP, WALK_DOWN, STROLL_UP, STROLL_DOWN};

            if (drawn < world->puts)
                operation->kind = drawn % 4 == 3 ? PUT_MANY : PUT;
            else if (drawn < world->puts + world->removes)
                operation->kind = REMOVE;
            else
                operation->kind = walks[torci_fiber_random() % 4];
            operation->key = (base + (unsigned)(torci_fiber_random() % spread)) % KEYS;
            if (world->quiet_keys && operation->kind == REMOVE && operation->key % 5 == 0)
                operation->key++;
        }
}

static void
body(void *context, unsigned number)
{
    struct world *world = context;

    for (unsigned i = 0; i < OPERATIONS_MAX; i++) {
        const struct operation *operation = &world->operations[number][i];
        const char *fault = NULL;

        if (operation->kind == PUT)
            put_key(world, operation->key, world->limbos[number]);
        else if (operation->kind == PUT_MANY)
            put_many(world, operation->key, world->limbos[number]);
        else if (operation->kind == REMOVE)
            remove_key(world, operation->key, world->limbos[number]);
        else if (operation->kind == STROLL_UP || operation->kind == STROLL_DOWN)
            fault = stroll(world, operation->kind == STROLL_DOWN);
        else
            fault = walk(world, operation->kind == WALK_DOWN, NULL);
        if (fault != NULL)
            torci_fail_here(fault);
    }
}

static bool
any_frozen(void)
{
    bool any = false;

    for (unsigned i = 0; i < FIBERS; i++)
        any |= torci_fiber_is_frozen(i);
    return any;
}

static bool
fail(const char *reason)
{
    torci_fail_here(reason);
    return false;
}

/* Conservation: a key is there once or not at all, by hash and in order alike, as the winners say. */
static bool
holds(void *context)
{
    struct world *world = context;
    unsigned counts[KEYS] = {0};
    const char *fault = walk(world, false, any_frozen() ? NULL : counts);

    if (fault == NULL)
        fault = walk(world, true, NULL);
    if (fault != NULL)
        return fail(fault);
    if (any_frozen())
        return true;

    struct torci_epoch_guard guard = torci_epoch_enter();
    for (unsigned key = 0; key < KEYS; key++) {
        unsigned char bytes[12];
        struct torc_slice slice = key_slice(&key, bytes);
        int expected = torci_load(&world->inserted[key], memory_order_relaxed) -
                       torci_load(&world->removed[key], memory_order_relaxed);
        struct torci_record *record =
            torci_index_find(world->index, guard, slice, torci_index_order_word(world->index, slice));

        if (expected != 0 && expected != 1)
            fault = "a key was won or removed twice";
        else if ((int)counts[key] != expected)
            fault = "the tree lost a key, or kept one too many";
        else if ((record != NULL) != (expected == 1))
            fault = "the hash index lost a key, or kept one too many";
    }
    torci_epoch_exit(guard);
    return fault == NULL || fail(fault);
}

static void
free_taken(void *context, struct torci_record *record)
{
    torct_record_free(context, record);
}

static void
teardown(void *context)
{
    struct world *world = context;

    /* What a frozen fiber holds it holds for ever: the pool is emptied instead. */
    if (world->pool != NULL)
        return;
    torci_index_drain(world->index, free_taken, &world->heap);
    torci_index_destroy(world->index);
    for (unsigned i = 0; i <= FIBERS; i++)
        torci_limbo_flush(world->limbos[i]);
    torci_epoch_barrier();
    for (unsigned i = 0; i <= FIBERS; i++)
        torci_limbo_destroy(world->limbos[i]);
    if (torci_heap_bytes(&world->heap) != 0)
        torci_fail_here("memory is lost");
}

static struct torci_run
run_of(struct world *world, uint64_t schedules)
{
    return (struct torci_run){.fibers = FIBERS,
                              .setup = setup,
                              .body = body,
                              .check = holds,
                              .teardown = teardown,
                              .context = world,
                              .seed = torct_seed(),
                              .schedules = schedules};
}

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/keyspace: the keyspaces of a store. See keyspace.h. */
#include "mvcc/keyspace.h"

#include "base/assert.h"
#include "base/status.h"

enum {
    EXPECTED_KEYS = 64,         /* Of a keyspace that is made at run time. */
    FREE = 1,                   /* keyspace.dropped, when it is nobody's. */
};

/* ---- Making ---- */

/* The place of a number in the table, made if need be; NULL: no memory. */
static _Atomic(struct torc_keyspace *) *
place_of(struct torc_mvcc *store, uint32_t number)
{
    _Atomic(struct torci_keyspace_block *) *place = &store->keyspace_blocks[number / TORCI_KEYSPACE_BLOCK];
    struct torci_keyspace_block *block = torci_load(place, memory_order_acquire); /* store.h A1 */
    struct torci_keyspace_block *fresh;

    if (block != NULL)
        return &block->keyspaces[number % TORCI_KEYSPACE_BLOCK];
    fresh = torci_alloc_zeroed(&store->heap, sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    /* store.h R1. Acquire on failure (A1): another thread's block stands there. */
    if (torci_cas(place, &block, fresh, memory_order_release, memory_order_acquire))
        block = fresh;
    else
        torci_free(&store->heap, fresh, sizeof *fresh);
    return &block->keyspaces[number % TORCI_KEYSPACE_BLOCK];
}

/* The keyspace of a number, or NULL. */
static struct torc_keyspace *
keyspace_at(struct torc_mvcc *store, uint32_t number)
{
    struct torci_keyspace_block *block =
        torci_load(&store->keyspace_blocks[number / TORCI_KEYSPACE_BLOCK], memory_order_acquire); /* store.h A1 */

    if (block == NULL)
        return NULL;
    return torci_load(&block->keyspaces[number % TORCI_KEYSPACE_BLOCK], memory_order_acquire); /* store.h A1 */
}

static void
give_free(struct torc_mvcc *store, struct torc_keyspace *first, struct torc_keyspace *last)
{
    struct torc_keyspace *top = torci_load(&store->keyspaces_free, memory_order_relaxed); /* Relaxed: the CAS decides. */

    do {
        last->next = top;
        torci_race_window();
        /* R2. No ABA: taking takes all. Failure: another give or take progressed. */
    } while (!torci_cas(&store->keyspaces_free, &top, first, memory_order_release, memory_order_relaxed));
}

static struct torc_keyspace *
take_free(struct torc_mvcc *store)
{
    struct torc_keyspace *first = torci_exchange(&store->keyspaces_free, NULL, memory_order_acquire); /* A2 */
    struct torc_keyspace *last = first == NULL ? NULL : first->next;

    if (last == NULL)
        return first;
    while (last->next != NULL)
        last = last->next;
    give_free(store, first->next, last);
    return first;
}

/* A keyspace of a new number, free. NULL: no memory, or no number left. */
static struct torc_keyspace *
make_keyspace(struct torc_mvcc *store)
{
    struct torc_keyspace *keyspace = torci_alloc_line_zeroed(&store->heap, sizeof *keyspace);
    _Atomic(struct torc_keyspace *) *place;
    uint32_t number;

    if (keyspace == NULL)
        return NULL;
    /* Relaxed: the number is all that is wanted. */
    number = torci_fetch_add(&store->keyspaces_made, 1u, memory_order_relaxed);
    place = number >= TORC_KEYSPACES_MAX ? NULL : place_of(store, number);
    if (place == NULL) {
        /* The number is lost; there are enough. Back from the end, so that the count cannot wrap. */
        if (number >= TORC_KEYSPACES_MAX)
            torci_fetch_sub(&store->keyspaces_made, 1u, memory_order_relaxed); /* Relaxed: as above. */
        torci_free_line(&store->heap, keyspace, sizeof *keyspace);
        return NULL;
    }
    keyspace->store = store;
    keyspace->number = (uint16_t)number;
    torci_init(&keyspace->dropped, (uint64_t)FREE);
    torci_store(place, keyspace, memory_order_release); /* store.h R1 */
    return keyspace;
}

/* A free keyspace with an empty index. NULL: no memory, or too many. */
static struct torc_keyspace *
obtain(struct torc_mvcc *store, uint64_t expected_keys)
{
    struct torc_keyspace *keyspace = take_free(store);

    if (keyspace == NULL)
        keyspace = make_keyspace(store);
    if (keyspace == NULL)
        return NULL;
    keyspace->next = NULL;
    keyspace->index = torci_index_create(&store->heap, expected_keys, store->hash_seed);
    if (keyspace->index != NULL)
        return keyspace;
    give_free(store, keyspace, keyspace);
    return NULL;
}

/* A keyspace that nobody has seen goes back. */
static void
give_back(struct torc_keyspace *keyspace)
{
    torci_index_destroy(keyspace->index);
    keyspace->index = NULL;
    give_free(keyspace->store, keyspace, keyspace);
}

enum torc_status
torci_keyspaces_init(struct torc_mvcc *store)
{
    store->main = obtain(store, store->options.expected_keys);
    if (store->main == NULL)
        return TORC_NO_MEMORY;
    torc_assert(store->main->number == 0);
    torci_store(&store->main->dropped, 0, memory_order_release); /* store.h R2 */
    return TORC_OK;
}

void
torci_keyspaces_fini(struct torc_mvcc *store, void (*take)(void *context, struct torci_record *record))
{
    /* Relaxed: exclusive. */
    uint32_t made = torci_load(&store->keyspaces_made, memory_order_relaxed);
    struct torci_catalogue *catalogue = torci_load(&store->catalogue, memory_order_relaxed);

    for (uint32_t number = 0; number < made; number++) {
        struct torc_keyspace *keyspace = keyspace_at(store, number);

        if (keyspace == NULL)
            continue;
        if (keyspace->index != NULL) {
            torci_index_drain(keyspace->index, take, store);
            torci_index_destroy(keyspace->index);
        }
        torci_free_line(&store->heap, keyspace, sizeof *keyspace);
    }
    for (uint32_t b = 0; b < TORCI_KEYSPACE_BLOCK; b++)
        torci_free(&store->heap, torci_load(&store->keyspace_blocks[b], memory_order_relaxed), /* Relaxed: as above. */
                   sizeof(struct torci_keyspace_block));
    if (catalogue != NULL)
        torci_free(&store->heap, catalogue, sizeof *catalogue + catalogue->count * sizeof catalogue->keyspaces[0]);
}

/* ---- Names ---- */

static size_t
catalogue_bytes(size_t count)
{
    return sizeof(struct torci_catalogue) + count * sizeof(struct torc_keyspace *);
}

static bool
has_name(const struct torc_keyspace *keyspace, struct torc_slice name)
{
    return keyspace->name_size == name.size && memcmp(keyspace->name, name.data, name.size) == 0;
}

static struct torc_keyspace *
find_name(const struct torci_catalogue *catalogue, struct torc_slice name)
{
    for (size_t i = 0; catalogue != NULL && i < catalogue->count; i++) {
        if (has_name(catalogue->keyspaces[i], name))
            return catalogue->keyspaces[i];
    }
    return NULL;
}

static enum torc_status
check_name(struct torc_slice name)
{
    if (name.data == NULL || name.size == 0)
        return torci_fail(TORC_INVALID, "a name needs at least one byte");
    if (name.size > TORC_NAME_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a name of %zu bytes exceeds %u", name.size, TORC_NAME_SIZE_MAX);
    return TORC_OK;
}

/* Put `keyspace` into the catalogue. TORC_EXISTS: `*existing` has the name. */
static enum torc_status
enter_name(struct torci_shard *shard, struct torc_keyspace *keyspace, struct torc_keyspace **existing)
{
    struct torc_mvcc *store = shard->store;
    struct torc_slice name = torc_slice(keyspace->name, keyspace->name_size);
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_catalogue *fresh = NULL;
    enum torc_status status = TORC_OK;

    for (;;) {
        struct torci_catalogue *old = torci_load(&store->catalogue, memory_order_acquire); /* A1 */
        size_t count = old == NULL ? 0 : old->count;

        *existing = find_name(old, name);
        if (*existing != NULL) {
            status = TORC_EXISTS;
            break;
        }
        fresh = torci_alloc(&store->heap, catalogue_bytes(count + 1));
        if (fresh == NULL || torci_limbo_reserve(shard->limbo, 1) != TORC_OK) {
            status = torci_fail(TORC_NO_MEMORY, "no memory for the list of keyspaces");
            break;
        }
        fresh->count = count + 1;
        if (count > 0)
            memcpy(fresh->keyspaces, old->keyspaces, count * sizeof old->keyspaces[0]);
        fresh->keyspaces[count] = keyspace;
        torci_store(&keyspace->dropped, 0, memory_order_release); /* store.h R2; nobody can find it before R1. */
        torci_race_window();
        /* R1. Failure: another keyspace was made or dropped; relaxed, because it is loaded again. */
        if (torci_cas(&store->catalogue, &old, fresh, memory_order_seq_cst, memory_order_relaxed)) {
            if (old != NULL)
                torci_limbo_add(shard->limbo, old, catalogue_bytes(count), TORCI_RETIRED_INDEX);
            fresh = NULL;
            break;
        }
        torci_free(&store->heap, fresh, catalogue_bytes(count + 1));
        fresh = NULL;
    }
    if (status != TORC_OK) {
        torci_store(&keyspace->dropped, (uint64_t)FREE, memory_order_release); /* store.h R2 */
        if (fresh != NULL)
            torci_free(&store->heap, fresh, catalogue_bytes(fresh->count));
    }
    torci_epoch_exit(guard);
    return status;
}

enum torc_status
torc_keyspace_create(struct torc_mvcc *store, struct torc_slice name, struct torc_keyspace **keyspace)
{
    struct torc_keyspace *existing;
    struct torc_keyspace *fresh;
    struct torci_shard *shard;
    enum torc_status status;

    if (keyspace == NULL)
        return torci_fail(TORC_INVALID, "the place for the keyspace is NULL");
    *keyspace = NULL;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    status = check_name(name);
    if (status == TORC_OK)
        status = torci_shard_obtain(store, &shard);
    if (status != TORC_OK)
        return status;
    fresh = obtain(store, EXPECTED_KEYS);
    if (fresh == NULL) {
        /* Relaxed: a figure, for the message. */
        if (torci_load(&store->keyspaces_made, memory_order_relaxed) >= TORC_KEYSPACES_MAX)
            return torci_fail(TORC_BUSY, "there are %u keyspaces already", TORC_KEYSPACES_MAX);
        return torci_fail(TORC_NO_MEMORY, "no memory for a keyspace");
    }
    fresh->name_size = (uint8_t)name.size;
    memcpy(fresh->name, name.data, name.size);
    status = enter_name(shard, fresh, &existing);
    if (status != TORC_OK)
        give_back(fresh);
    *keyspace = status == TORC_OK ? fresh : status == TORC_EXISTS ? existing : NULL;
    return status;
}

enum torc_status
torc_keyspace_find(struct torc_mvcc *store, struct torc_slice name, struct torc_keyspace **keyspace)
{
    struct torci_epoch_guard guard;
    enum torc_status status;

    if (keyspace == NULL)
        return torci_fail(TORC_INVALID, "the place for the keyspace is NULL");
    *keyspace = NULL;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    status = check_name(name);
    if (status != TORC_OK)
        return status;
    guard = torci_epoch_enter();
    *keyspace = find_name(torci_load(&store->catalogue, memory_order_acquire), name); /* A1 */
    torci_epoch_exit(guard);
    return *keyspace != NULL ? TORC_OK : TORC_NOT_FOUND;
}

/* ---- What they tell of themselves ---- */

struct torc_keyspace *
torc_mvcc_default(struct torc_mvcc *store)
{
    return store == NULL ? NULL : store->main;
}

struct torc_slice
torc_keyspace_name(const struct torc_keyspace *keyspace)
{
    return keyspace == NULL ? torc_slice(NULL, 0) : torc_slice(keyspace->name, keyspace->name_size);
}

uint64_t
torc_keyspace_keys(const struct torc_keyspace *keyspace)
{
    int64_t keys = 0;

    /* Relaxed: a figure. */
    for (unsigned i = 0; keyspace != NULL && i < TORCI_KEY_STRIPES; i++)
        keys += torci_load(&keyspace->keys[i].count, memory_order_relaxed);
    return keys > 0 ? (uint64_t)keys : 0;
}

enum torc_status
torc_mvcc_keyspaces(struct torc_mvcc *store, struct torc_keyspace **keyspaces, size_t capacity, size_t *count)
{
    struct torci_epoch_guard guard;
    struct torci_catalogue *catalogue;

    if (count == NULL)
        return torci_fail(TORC_INVALID, "the place for the count is NULL");
    *count = 0;
    if (store == NULL || (keyspaces == NULL && capacity > 0))
        return torci_fail(TORC_INVALID, "the store or the place for the list is NULL");
    guard = torci_epoch_enter();
    catalogue = torci_load(&store->catalogue, memory_order_acquire); /* A1 */
    *count = 1 + (catalogue == NULL ? 0 : catalogue->count);
    for (size_t i = 0; i < capacity && i < *count; i++)
        keyspaces[i] = i == 0 ? store->main : catalogue->keyspaces[i - 1];
    torci_epoch_exit(guard);
    return TORC_OK;
}

uint64_t
torci_keyspaces_keys(struct torc_mvcc *store)
{
    uint32_t made = torci_load(&store->keyspaces_made, memory_order_relaxed); /* Relaxed: a figure. */
    uint64_t keys = 0;

    for (uint32_t number = 0; number < made && number < TORC_KEYSPACES_MAX; number++) {
        struct torc_keyspace *keyspace = keyspace_at(store, number);

        if (keyspace != NULL && torci_keyspace_usable(keyspace))
            keys += torc_keyspace_keys(keyspace);
    }
    return keys;
}

void
torci_keyspaces_index_stats(struct torc_mvcc *store, struct torci_index_stats *stats)
{
    uint32_t made = torci_load(&store->keyspaces_made, memory_order_relaxed); /* Relaxed: a figure. */
    struct torci_epoch_guard guard = torci_epoch_enter();

    memset(stats, 0, sizeof *stats);
    for (uint32_t number = 0; number < made && number < TORC_KEYSPACES_MAX; number++) {
        struct torc_keyspace *keyspace = keyspace_at(store, number);
        struct torci_index_stats one;

        if (keyspace == NULL || !torci_keyspace_usable(keyspace))
            continue;
        torci_index_stats(keyspace->index, &one);
        stats->records += one.records;
        stats->buckets += one.buckets;
        stats->leaves += one.leaves;
        if (one.tree_levels > stats->tree_levels)
            stats->tree_levels = one.tree_levels;
    }
    torci_epoch_exit(guard);
}

enum torc_status
torci_walk_all(struct torc_mvcc *store, torci_visit_fn *visit, void *context)
{
    uint32_t made = torci_load(&store->keyspaces_made, memory_order_relaxed); /* Relaxed: later ones are younger. */
    enum torc_status status = TORC_OK;

    for (uint32_t number = 0; status == TORC_OK && number < made && number < TORC_KEYSPACES_MAX; number++) {
        struct torc_keyspace *keyspace = keyspace_at(store, number);

        if (keyspace != NULL)
            status = torci_walk(keyspace, visit, context);
    }
    return status;
}

/* SPDX-License-Identifier: MIT */
/* mvcc/watch: the table of watches, firing, waking. Invariants, ordering and argument: watch.h. */
#include "mvcc/watch.h"

#include "base/annotate.h"
#include "base/assert.h"
#include "base/status.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BITS = 4,                           /* Of the path, per level. */
    SLOTS = 1 << BITS,
    LEVELS_MAX = 64 / BITS - 1,         /* The last bits of a path are the same for all. */
#if defined(TORC_TINY)
    LEAF_SPLIT = 2,
#else
    LEAF_SPLIT = 8,                     /* Watches of a leaf that is split by the next one. */
#endif
    NONE = -1,                          /* No descriptor. */
};

/* watch.users */
#define CLOSED (UINT32_C(1) << 31)
#define FREED (UINT32_C(1) << 30)
#define COUNT (FREED - 1)

/* watch.fired: how often it was taken, and in the low two bits: */
#define RAISED 1u                       /* Nobody has written to the descriptor yet: whoever fires it does. */
#define TOLD 2u                         /* Somebody has. */
#define FIRED (RAISED | TOLD)
#define TAKEN 4u                        /* One time more. */

struct torc_watch {
    struct torc_mvcc *store;            /* Immutable. */
    _Atomic(struct torc_keyspace *) keyspace; /* NULL: was dropped. */
    uint64_t path;                      /* Immutable. */
    _Atomic(uint64_t) stamp;            /* Of the newest commit that fired it. */
    _Atomic(uint32_t) fired;            /* I4 */
    uint32_t taken;                     /* The owner's: as in `fired`. */
    _Atomic(uint32_t) users;            /* I3 */
    _Atomic(int32_t) fd;                /* Set once. */
    bool prefix;                        /* Immutable, as the rest. */
    size_t key_size;
    unsigned char key[];
};

/* A place for a leaf, or a node with the low bit set; 0: neither. */
struct slot {
    _Atomic(uintptr_t) word;
};

struct leaf {
    size_t room;                        /* As it was allocated. */
    size_t count;
    struct torc_watch *watches[];
};

struct node {
    struct slot slots[SLOTS];
};

struct torci_watches {
    struct node root;
    struct slot prefixes;                      /* A leaf, never a node. */
};

/* A wake-up that waits for the section to end. */
struct torci_wake {
    struct torci_wake *next;
    struct torc_watch *watch;
    uint32_t raised;                    /* watch.fired, as it was found. */
};

/* ---- Slots ---- */

static bool
is_node(uintptr_t word)
{
    return (word & 1) != 0;
}

static struct node *
node_of(uintptr_t word)
{
    torc_assert(is_node(word));
    return (struct node *)(word - 1);
}

static struct leaf *
leaf_of(uintptr_t word)
{
    torc_assert(!is_node(word));
    return (struct leaf *)word;
}

static struct slot *
slot_at(struct node *node, uint64_t path, unsigned level)
{
    torc_assert(level < LEVELS_MAX);
    return &node->slots[path >> (64 - BITS * (level + 1)) & (SLOTS - 1)];
}

static uint64_t
path_of(const struct torc_keyspace *keyspace, uint64_t order)
{
    return order ^ keyspace->number * UINT64_C(0x9e3779b97f4a7c15);
}

static size_t
leaf_bytes(size_t room)
{
    return sizeof(struct leaf) + room * sizeof(struct torc_watch *);
}

static struct leaf *
make_leaf(struct torc_mvcc *store, size_t room)
{
    struct leaf *leaf = torci_alloc(&store->heap, leaf_bytes(room));

    if (leaf == NULL)
        return NULL;
    leaf->room = room;
    leaf->count = 0;
    return leaf;
}

static void
free_leaf(struct torc_mvcc *store, struct leaf *leaf)
{
    if (leaf != NULL)
        torci_free(&store->heap, leaf, leaf_bytes(leaf->room));
}

static size_t
watch_bytes(const struct torc_watch *watch)
{
    return sizeof *watch + watch->key_size;
}

static bool
is_closed(struct torc_watch *watch)
{
    /* Relaxed: who misses it leaves the watch to a later one (I2). */
    return (torci_load(&watch->users, memory_order_relaxed) & CLOSED) != 0;
}

/* ---- Making and freeing ---- */

struct torc_watch *
torci_watch_create(struct torc_keyspace *keyspace, struct torc_slice key, bool prefix)
{
    struct torc_mvcc *store = keyspace->store;
    struct torc_watch *watch = torci_alloc_zeroed(&store->heap, sizeof *watch + key.size);

    if (watch == NULL)
        return NULL;
    watch->store = store;
    torci_init(&watch->keyspace, keyspace);
    torci_init(&watch->fd, (int32_t)NONE);
    watch->path = prefix ? 0 : path_of(keyspace, torci_key_order(store, key));
    watch->prefix = prefix;
    watch->key_size = key.size;
    if (key.size > 0)
        memcpy(watch->key, key.data, key.size);
    return watch;
}

void
torci_watch_destroy(struct torc_watch *watch)
{
    torci_free(&watch->store->heap, watch, watch_bytes(watch));
}

void
torci_watch_free(struct torc_watch *watch)
{
    uint32_t before = torci_fetch_or(&watch->users, FREED, memory_order_acq_rel); /* R5, A5 */

    torc_assert((before & CLOSED) != 0 && (before & FREED) == 0);
    if ((before & COUNT) == 0)
        torci_watch_destroy(watch);
}

struct torc_mvcc *
torci_watch_store(const struct torc_watch *watch)
{
    return watch->store;
}

/* The table, made if need be. NULL: no memory. */
static struct torci_watches *
obtain_table(struct torc_mvcc *store)
{
    struct torci_watches *table = torci_load(&store->watches, memory_order_acquire); /* A2 */
    struct torci_watches *fresh;

    if (table != NULL)
        return table;
    fresh = torci_alloc_zeroed(&store->heap, sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    /* R2. Acquire on failure (A2): another thread's table stands there. */
    if (torci_cas(&store->watches, &table, fresh, memory_order_release, memory_order_acquire))
        return fresh;
    torci_free(&store->heap, fresh, sizeof *fresh);
    return table;
}

static void
free_slot(struct torc_mvcc *store, struct slot *place)
{
    uintptr_t word = torci_load(&place->word, memory_order_relaxed); /* Relaxed: exclusive. */

    if (is_node(word)) {
        for (unsigned i = 0; i < SLOTS; i++)
            free_slot(store, &node_of(word)->slots[i]);
        torci_free(&store->heap, node_of(word), sizeof(struct node));
    } else if (word != 0) {
        for (size_t i = 0; i < leaf_of(word)->count; i++)
            torci_watch_free(leaf_of(word)->watches[i]); /* I2: closed, without memory to leave. */
        free_leaf(store, leaf_of(word));
    }
}

void
torci_watches_fini(struct torc_mvcc *store)
{
    struct torci_watches *table = torci_load(&store->watches, memory_order_relaxed); /* Relaxed: exclusive. */

    if (table == NULL)
        return;
    for (unsigned i = 0; i < SLOTS; i++)
        free_slot(store, &table->root.slots[i]);
    free_slot(store, &table->prefixes);
    torci_free(&store->heap, table, sizeof *table);
}

/* ---- Replacing leaves ---- */

/* Replace the leaf `old` (NULL: none) by what is left of it and `added` (or NULL). *done: the slot held `old`, and does
 * not any more. TORC_NO_MEMORY: nothing has changed. */
static enum torc_status
replace_leaf(struct torci_shard *shard, struct slot *place, struct leaf *old, struct torc_watch *added, bool *done)
{
    struct torc_mvcc *store = shard->store;
    size_t count = old == NULL ? 0 : old->count;
    struct leaf *fresh = make_leaf(store, count + (added != NULL ? 1 : 0));
    uintptr_t expected = (uintptr_t)old;
    size_t next = 0;

    *done = false;
    if (fresh == NULL)
        return TORC_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (!is_closed(old->watches[i]))
            fresh->watches[fresh->count++] = old->watches[i];
    }
    if (torci_limbo_reserve(shard->limbo, count - fresh->count + 1) != TORC_OK) {
        free_leaf(store, fresh);
        return TORC_NO_MEMORY;
    }
    if (added != NULL)
        fresh->watches[fresh->count++] = added;
    if (fresh->count == 0) {
        free_leaf(store, fresh);
        fresh = NULL;
    }
    torci_race_window();
    /* R1. Failure: another watch came or went; relaxed, because the slot is loaded again. */
    *done = torci_cas(&place->word, &expected, (uintptr_t)fresh, memory_order_seq_cst, memory_order_relaxed);
    if (!*done) {
        free_leaf(store, fresh);
        return TORC_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (fresh != NULL && next < fresh->count && fresh->watches[next] == old->watches[i])
            next++;
        else
            torci_limbo_add(shard->limbo, old->watches[i], watch_bytes(old->watches[i]), TORCI_RETIRED_WATCH);
    }
    if (old != NULL)
        torci_limbo_add(shard->limbo, old, leaf_bytes(old->room), TORCI_RETIRED_INDEX);
    return TORC_OK;
}

/* Whether a leaf of this level is to be split: it is full, and its watches part ways. */
static bool
wants_split(const struct leaf *leaf, unsigned level)
{
    if (leaf == NULL || leaf->count < LEAF_SPLIT || level + 1 == LEVELS_MAX)
        return false;
    for (size_t i = 1; i < leaf->count; i++) {
        if (leaf->watches[i]->path != leaf->watches[0]->path)
            return true;
    }
    return false;
}

static void
free_private_node(struct torc_mvcc *store, struct node *node)
{
    for (unsigned i = 0; i < SLOTS; i++)
        free_leaf(store, leaf_of(torci_load(&node->slots[i].word, memory_order_relaxed))); /* Relaxed: private. */
    torci_free(&store->heap, node, sizeof *node);
}

/* A node one level below `leaf`'s, with the same watches. NULL: no memory. */
static struct node *
spread_leaf(struct torc_mvcc *store, const struct leaf *leaf, unsigned level)
{
    struct node *node = torci_alloc_zeroed(&store->heap, sizeof *node);

    for (size_t i = 0; node != NULL && i < leaf->count; i++) {
        struct slot *place = slot_at(node, leaf->watches[i]->path, level + 1);
        uintptr_t word = torci_load(&place->word, memory_order_relaxed); /* Relaxed, twice: private. */
        struct leaf *part = word != 0 ? leaf_of(word) : make_leaf(store, leaf->count);

        if (part == NULL) {
            free_private_node(store, node);
            return NULL;
        }
        part->watches[part->count++] = leaf->watches[i];
        torci_init(&place->word, (uintptr_t)part);
    }
    return node;
}

/* Split the leaf of a slot. False: it could not be done, for want of memory. */
static bool
split_leaf(struct torci_shard *shard, struct slot *place, struct leaf *leaf, unsigned level)
{
    struct torc_mvcc *store = shard->store;
    uintptr_t expected = (uintptr_t)leaf;
    struct node *node;

    if (torci_limbo_reserve(shard->limbo, 1) != TORC_OK)
        return false;
    node = spread_leaf(store, leaf, level);
    if (node == NULL)
        return false;
    torci_race_window();
    /* R1. Failure: another watch came or went; relaxed, because the slot is loaded again. */
    if (torci_cas(&place->word, &expected, (uintptr_t)node + 1, memory_order_seq_cst, memory_order_relaxed))
        torci_limbo_add(shard->limbo, leaf, leaf_bytes(leaf->room), TORCI_RETIRED_INDEX);
    else
        free_private_node(store, node);
    return true;
}

/* The slot at the end of a path, and what it holds: a leaf or nothing. */
static struct slot *
find_slot(struct torci_watches *table, uint64_t path, unsigned *level, struct leaf **leaf)
{
    struct slot *place = slot_at(&table->root, path, 0);
    uintptr_t word = torci_load(&place->word, memory_order_seq_cst); /* A1 */

    *level = 0;
    while (is_node(word)) {
        place = slot_at(node_of(word), path, ++*level);
        word = torci_load(&place->word, memory_order_seq_cst); /* A1 */
    }
    *leaf = leaf_of(word);
    return place;
}

static bool
holds(const struct leaf *leaf, const struct torc_watch *watch)
{
    for (size_t i = 0; leaf != NULL && i < leaf->count; i++) {
        if (leaf->watches[i] == watch)
            return true;
    }
    return false;
}

/* The slot of a watch. */
static struct slot *
find_place(struct torci_watches *table, const struct torc_watch *watch, unsigned *level, struct leaf **leaf)
{
    if (!watch->prefix)
        return find_slot(table, watch->path, level, leaf);
    *level = LEVELS_MAX - 1; /* Never split. */
    *leaf = leaf_of(torci_load(&table->prefixes.word, memory_order_seq_cst)); /* A1 */
    return &table->prefixes;
}

enum torc_status
torci_watch_arm(struct torci_shard *shard, struct torc_watch *watch)
{
    struct torci_watches *table = obtain_table(shard->store);
    enum torc_status status = TORC_OK;
    bool done = false;

    if (table == NULL)
        return TORC_NO_MEMORY;
    /* Before R1: whoever finds it 0 is earlier than that. */
    torci_fetch_add(&shard->store->watches_open, UINT64_C(1), memory_order_seq_cst);
    while (status == TORC_OK && !done) {
        struct leaf *leaf;
        unsigned level;
        struct slot *place = find_place(table, watch, &level, &leaf);

        if (wants_split(leaf, level) && split_leaf(shard, place, leaf, level))
            continue;
        status = replace_leaf(shard, place, leaf, watch, &done);
    }
    if (status != TORC_OK)
        torci_fetch_sub(&shard->store->watches_open, UINT64_C(1), memory_order_seq_cst);
    return status;
}

/* ---- Descriptors ---- */

/* Whether the caller may write to the descriptor, until release_fd(). */
static bool
acquire_fd(struct torc_watch *watch)
{
    uint32_t users = torci_load(&watch->users, memory_order_relaxed); /* Relaxed: the CAS decides. */

    do {
        if ((users & CLOSED) != 0)
            return false;
        torci_race_window();
        /* R5, A5. Failure: another user came or went, or the owner closed it. */
    } while (!torci_cas(&watch->users, &users, users + 1, memory_order_acq_rel, memory_order_relaxed));
    return true;
}

static void
release_fd(struct torc_watch *watch)
{
    int fd = torci_load(&watch->fd, memory_order_acquire); /* A4 */
    uint32_t users = torci_fetch_sub(&watch->users, 1u, memory_order_acq_rel) - 1; /* R5, A5 */

    if ((users & COUNT) > 0 || (users & CLOSED) == 0)
        return;
    close(fd);
    if ((users & FREED) != 0)
        torci_watch_destroy(watch);
}

/* Make it readable. That it cannot take more is as good: then it is. errno is the caller's. */
TORCI_THREAD_LOCAL_ONLY
static void
fill(int fd)
{
    uint64_t one = 1;
    int saved_errno = errno;
    ssize_t written = write(fd, &one, sizeof one);

    (void)written;
    errno = saved_errno;
}

/* Make it not readable. That it was not is as good. */
TORCI_THREAD_LOCAL_ONLY
static void
drain(int fd)
{
    uint64_t count;
    int saved_errno = errno;
    ssize_t taken = read(fd, &count, sizeof count);

    (void)taken;
    errno = saved_errno;
}

/* For who found watch.fired to be `raised`. */
static void
write_fd(struct torc_watch *watch, uint32_t raised)
{
    fill(torci_load(&watch->fd, memory_order_acquire)); /* A4 */
    torci_race_window();
    /* R3, I4. Failure: it was taken meanwhile, or another thread has written, too; relaxed, because nothing is left to
     * do. */
    torci_cas(&watch->fired, &raised, raised ^ FIRED, memory_order_seq_cst, memory_order_relaxed);
}

int
torci_watch_descriptor(struct torc_watch *watch)
{
    int fd = torci_load(&watch->fd, memory_order_relaxed); /* Relaxed: only the owner stores it. */

    if (fd != NONE)
        return fd;
    fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return NONE;
    torci_store(&watch->fd, (int32_t)fd, memory_order_seq_cst); /* R4 */
    torci_race_window();
    if ((torci_load(&watch->fired, memory_order_seq_cst) & FIRED) != 0)
        fill(fd);
    return fd;
}

bool
torci_watch_take(struct torc_watch *watch, uint64_t *stamp)
{
    int fd = torci_load(&watch->fd, memory_order_relaxed); /* Relaxed: only the owner stores it. */
    bool fired;

    if (fd != NONE)
        drain(fd); /* Before the flag: see watch.h. */
    torci_race_window();
    watch->taken += TAKEN;
    fired = (torci_exchange(&watch->fired, watch->taken, memory_order_seq_cst) & FIRED) != 0; /* A3 */
    *stamp = torci_load(&watch->stamp, memory_order_seq_cst);
    return fired;
}

void
torci_watch_disarm(struct torci_shard *shard, struct torc_watch *watch)
{
    struct torc_mvcc *store = watch->store;
    struct torci_watches *table = torci_load(&store->watches, memory_order_acquire); /* A2 */
    int fd = torci_load(&watch->fd, memory_order_relaxed); /* Relaxed: only the owner stores it. */
    struct torci_epoch_guard guard = torci_epoch_enter();
    /* R5, A5. From here on others may retire it. */
    uint32_t users = torci_fetch_or(&watch->users, CLOSED, memory_order_acq_rel);
    enum torc_status status = TORC_OK;
    bool done = shard == NULL;

    torc_assert((users & CLOSED) == 0);
    while (status == TORC_OK && !done) {
        struct leaf *leaf;
        unsigned level;
        struct slot *place = find_place(table, watch, &level, &leaf);

        if (!holds(leaf, watch))
            break; /* I2 */
        status = replace_leaf(shard, place, leaf, NULL, &done);
    }
    torci_epoch_exit(guard);
    if ((users & COUNT) == 0 && fd != NONE)
        close(fd);
    torci_fetch_sub(&store->watches_open, UINT64_C(1), memory_order_seq_cst);
}

/* ---- Firing ---- */

/* Remember to write to the descriptor when the section is over. */
static void
queue_wake(struct torci_shard *shard, struct torc_watch *watch, uint32_t raised)
{
    struct torci_wake *wake;

    if (!acquire_fd(watch))
        return;
    wake = torci_alloc(&shard->store->heap, sizeof *wake);
    if (wake == NULL) {
        write_fd(watch, raised);
        release_fd(watch);
        return;
    }
    wake->watch = watch;
    wake->raised = raised;
    wake->next = shard->wakes;
    shard->wakes = wake;
}

void
torci_watch_wake_slow(struct torci_shard *shard)
{
    while (shard->wakes != NULL) {
        struct torci_wake *wake = shard->wakes;

        shard->wakes = wake->next;
        write_fd(wake->watch, wake->raised);
        release_fd(wake->watch);
        torci_free(&shard->store->heap, wake, sizeof *wake);
    }
}

static void
fire(struct torci_shard *shard, struct torc_watch *watch, uint64_t stamp)
{
    uint64_t seen = torci_load(&watch->stamp, memory_order_relaxed); /* Relaxed: the CAS decides. */
    uint32_t fired;

    /* Failure: it was raised by another commit. */
    while (seen < stamp && !torci_cas(&watch->stamp, &seen, stamp, memory_order_seq_cst, memory_order_relaxed))
        continue;
    torci_race_window();
    fired = torci_load(&watch->fired, memory_order_seq_cst);
    torci_race_window();
    /* R3. Failure: it was raised or taken meanwhile. */
    while ((fired & FIRED) == 0 &&
           !torci_cas(&watch->fired, &fired, fired | RAISED, memory_order_seq_cst, memory_order_seq_cst))
        continue;
    if ((fired & TOLD) != 0)
        return;
    torci_race_window();
    if (torci_load(&watch->fd, memory_order_seq_cst) != NONE) /* A4 */
        queue_wake(shard, watch, fired | RAISED);
}

static bool
matches(struct torc_watch *watch, struct torc_keyspace *keyspace, struct torc_slice key)
{
    /* Relaxed: the keyspace of a store's own memory; NULL only after it was dropped, and fired. */
    if (torci_load(&watch->keyspace, memory_order_relaxed) != keyspace || is_closed(watch))
        return false;
    if (watch->prefix ? key.size < watch->key_size : key.size != watch->key_size)
        return false;
    return watch->key_size == 0 || memcmp(watch->key, key.data, watch->key_size) == 0;
}

static void
fire_leaf(struct torci_shard *shard, const struct leaf *leaf, struct torc_keyspace *keyspace, struct torc_slice key,
          uint64_t stamp)
{
    for (size_t i = 0; leaf != NULL && i < leaf->count; i++) {
        if (matches(leaf->watches[i], keyspace, key))
            fire(shard, leaf->watches[i], stamp);
    }
}

void
torci_watch_fire(struct torci_shard *shard, struct torc_keyspace *keyspace, struct torc_slice key, uint64_t order,
                 uint64_t stamp)
{
    struct torci_watches *table = torci_load(&shard->store->watches, memory_order_acquire); /* A2 */
    struct leaf *leaf;
    unsigned level;

    if (table == NULL)
        return;
    (void)find_slot(table, path_of(keyspace, order), &level, &leaf);
    fire_leaf(shard, leaf, keyspace, key, stamp);
    leaf = leaf_of(torci_load(&table->prefixes.word, memory_order_seq_cst)); /* A1 */
    fire_leaf(shard, leaf, keyspace, key, stamp);
}

/* All of a slot that watch `keyspace`. */
static void
drop_slot(struct torci_shard *shard, struct slot *place, struct torc_keyspace *keyspace, uint64_t stamp)
{
    uintptr_t word = torci_load(&place->word, memory_order_seq_cst); /* A1 */
    struct leaf *leaf;

    if (is_node(word)) {
        for (unsigned i = 0; i < SLOTS; i++)
            drop_slot(shard, &node_of(word)->slots[i], keyspace, stamp);
        return;
    }
    leaf = leaf_of(word);
    for (size_t i = 0; leaf != NULL && i < leaf->count; i++) {
        struct torc_watch *watch = leaf->watches[i];

        /* Relaxed, both: as in matches(). */
        if (torci_load(&watch->keyspace, memory_order_relaxed) != keyspace)
            continue;
        torci_store(&watch->keyspace, NULL, memory_order_relaxed);
        fire(shard, watch, stamp);
    }
}

void
torci_watch_drop(struct torci_shard *shard, struct torc_keyspace *keyspace, uint64_t stamp)
{
    struct torci_watches *table = torci_load(&shard->store->watches, memory_order_acquire); /* A2 */

    if (table == NULL)
        return;
    for (unsigned i = 0; i < SLOTS; i++)
        drop_slot(shard, &table->root.slots[i], keyspace, stamp);
    drop_slot(shard, &table->prefixes, keyspace, stamp);
}

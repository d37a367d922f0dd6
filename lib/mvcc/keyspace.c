/* SPDX-License-Identifier: MIT */
/* mvcc/keyspace: the keyspaces of a store. See keyspace.h. */
#include "mvcc/keyspace.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/status.h"
#include "mvcc/journal.h"
#include "mvcc/named.h"
#include "mvcc/watch.h"
#include "mvcc/notify.h"

enum {
    EXPECTED_KEYS = 64,         /* Of a keyspace that is made at run time. */
    FREE = 1,                   /* keyspace.dropped, when it is nobody's. */
    ENTER_RETIRES = 2,          /* The catalogue, and what a journal's entry stood on. */
};

uint64_t
torci_key_order(const struct torc_mvcc *store, struct torc_slice key)
{
    return torci_hash(store->hash_seed, key) | 1;
}

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
push_list(_Atomic(struct torc_keyspace *) *list, struct torc_keyspace *first, struct torc_keyspace *last)
{
    struct torc_keyspace *top = torci_load(list, memory_order_relaxed); /* Relaxed: the CAS decides. */

    do {
        last->next = top;
        torci_race_window();
        /* R2, R3. No ABA: taking takes all. Failure: another give or take progressed. */
    } while (!torci_cas(list, &top, first, memory_order_release, memory_order_relaxed));
}

static void
give_free(struct torc_mvcc *store, struct torc_keyspace *first, struct torc_keyspace *last)
{
    push_list(&store->keyspaces_free, first, last); /* R2 */
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
obtain(struct torci_shard *shard, uint64_t expected_keys)
{
    struct torc_mvcc *store = shard->store;
    struct torc_keyspace *keyspace = take_free(store);

    if (keyspace == NULL)
        keyspace = make_keyspace(store);
    if (keyspace == NULL)
        return NULL;
    keyspace->next = NULL;
    keyspace->index = torci_index_create(&store->heap, shard->limbo, expected_keys, store->hash_seed);
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

static size_t
catalogue_bytes(size_t count)
{
    return sizeof(struct torci_catalogue) + count * sizeof(struct torc_keyspace *);
}

enum torc_status
torci_keyspaces_init(struct torc_mvcc *store)
{
    struct torci_shard *shard = torci_shard_own(store);

    if (shard == NULL)
        return TORC_NO_MEMORY;
    store->main = obtain(shard, store->options.expected_keys);
    if (store->main == NULL)
        return TORC_NO_MEMORY;
    torc_assert(store->main->number == 0 && store->main->id == 0);
    torci_store(&store->keyspace_ids, (uint64_t)1, memory_order_relaxed); /* Relaxed: exclusive. */
    torci_store(&store->main->dropped, (uint64_t)0, memory_order_seq_cst); /* store.h R2 */
    return TORC_OK;
}

void
torci_keyspaces_fini(struct torc_mvcc *store, void (*take)(void *context, struct torci_record *record))
{
    /* Relaxed: exclusive. */
    uint32_t made = torci_load(&store->keyspaces_made, memory_order_relaxed);
    struct torci_catalogue *catalogue = torci_load(&store->catalogue, memory_order_relaxed);
    size_t unlimited = SIZE_MAX;

    for (uint32_t number = 0; number < made; number++) {
        struct torc_keyspace *keyspace = keyspace_at(store, number);

        if (keyspace == NULL)
            continue;
        /* It may be half dismantled. */
        if (keyspace->index != NULL)
            (void)torci_index_dismantle(keyspace->index, &unlimited, take, store);
        torci_free_line(&store->heap, keyspace, sizeof *keyspace);
    }
    for (uint32_t b = 0; b < TORCI_KEYSPACE_BLOCK; b++)
        torci_free(&store->heap, torci_load(&store->keyspace_blocks[b], memory_order_relaxed), /* Relaxed: as above. */
                   sizeof(struct torci_keyspace_block));
    if (catalogue != NULL)
        torci_free(&store->heap, catalogue, catalogue_bytes(catalogue->room));
}

/* ---- Names ---- */

static bool
has_name(const struct torc_keyspace *keyspace, struct torc_slice name)
{
    return keyspace->name_size == name.size && memcmp(keyspace->name, name.data, name.size) == 0;
}

/* Dropped ones may still stand there: I2. */
static struct torc_keyspace *
find_name(const struct torci_catalogue *catalogue, struct torc_slice name)
{
    for (size_t i = 0; catalogue != NULL && i < catalogue->count; i++) {
        struct torc_keyspace *keyspace = catalogue->keyspaces[i];

        if (torci_keyspace_usable(keyspace) && has_name(keyspace, name))
            return keyspace;
    }
    return NULL;
}

/* A catalogue of what is in use of `old`, and of `more`, if not NULL. NULL if that is none, too. False: no memory. */
static bool
make_catalogue(struct torc_mvcc *store, const struct torci_catalogue *old, struct torc_keyspace *more,
               struct torci_catalogue **fresh)
{
    size_t room = (old == NULL ? 0 : old->count) + (more == NULL ? 0 : 1);
    size_t count = 0;

    *fresh = NULL;
    if (room == 0)
        return true;
    *fresh = torci_alloc(&store->heap, catalogue_bytes(room));
    if (*fresh == NULL)
        return false;
    for (size_t i = 0; old != NULL && i < old->count; i++) {
        if (torci_keyspace_usable(old->keyspaces[i]))
            (*fresh)->keyspaces[count++] = old->keyspaces[i];
    }
    if (more != NULL)
        (*fresh)->keyspaces[count++] = more;
    (*fresh)->count = count;
    (*fresh)->room = room;
    if (count == 0) {
        torci_free(&store->heap, *fresh, catalogue_bytes(room));
        *fresh = NULL;
    }
    return true;
}

static void
free_catalogue(struct torc_mvcc *store, struct torci_catalogue *catalogue)
{
    if (catalogue != NULL)
        torci_free(&store->heap, catalogue, catalogue_bytes(catalogue->room));
}

/* Put `fresh` in the place of `old`; false: another one stands there now, and `fresh` is freed. */
static bool
swap_catalogue(struct torci_shard *shard, struct torci_catalogue *old, struct torci_catalogue *fresh)
{
    torci_race_window();
    /* R1. Failure: another keyspace was made or dropped; relaxed, because it is loaded again. */
    if (!torci_cas(&shard->store->catalogue, &old, fresh, memory_order_seq_cst, memory_order_relaxed)) {
        free_catalogue(shard->store, fresh);
        return false;
    }
    if (old != NULL)
        torci_limbo_add(shard->limbo, old, catalogue_bytes(old->room), TORCI_RETIRED_INDEX);
    return true;
}

/* ---- The journal's part ---- */

/* After all is done, outside of a section: see to the entry with `stamp` as the store's durability wants it. */
static enum torc_status
follow_up(struct torc_mvcc *store, uint64_t stamp)
{
    return torci_journaled(store) ? torci_journal_after(store, stamp) : TORC_OK;
}

/* Give it an id, and decide its CREATE: from that stamp on it counts in recovery, whether or not its name becomes
 * visible. */
static enum torc_status
journal_create(struct torci_shard *shard, struct torc_keyspace *keyspace, uint64_t *stamp)
{
    struct torci_op op = {.kind = TORCI_OP_CREATE, .key = torc_slice(keyspace->name, keyspace->name_size)};
    enum torc_status status = TORC_OK;

    *stamp = 0;
    /* Relaxed: the number is all that is wanted. */
    op.keyspace = torci_fetch_add(&shard->store->keyspace_ids, (uint64_t)1, memory_order_relaxed);
    if (torci_journaled(shard->store))
        status = torci_journal_keyspace(shard, &op, stamp);
    else
        *stamp = torci_clock_write_stamp(&shard->store->clock); /* A checkpoint of an older snapshot has it not. */
    keyspace->id = op.keyspace;
    keyspace->created = *stamp;
    return status;
}

/* A CREATE with an empty name takes the one of this id back. It is no DROP: that speaks of a name that was visible.
 * Returns a stamp of now. If there is no memory for the entry, recovery may find an empty keyspace of this name that
 * nobody has seen; or finds two of that name, and takes the one that was used. */
static uint64_t
journal_take_back(struct torci_shard *shard, const struct torc_keyspace *keyspace)
{
    struct torci_op op = {.kind = TORCI_OP_CREATE, .keyspace = keyspace->id};
    uint64_t stamp;

    if (torci_journaled(shard->store) && torci_journal_keyspace(shard, &op, &stamp) == TORC_OK)
        return stamp;
    return torci_clock_write_stamp(&shard->store->clock);
}

static enum torc_status
journal_drop(struct torci_shard *shard, const struct torc_keyspace *keyspace, uint64_t *stamp)
{
    struct torci_op op = {.kind = TORCI_OP_DROP, .keyspace = keyspace->id};

    return torci_journal_keyspace(shard, &op, stamp);
}

/* Put `keyspace` into the catalogue. `*stamp` is when, if `stamp` is not NULL; in a store with a journal CREATE is
 * decided between the look at the catalogue and the swap, so when a keyspace is dropped, any other of its name with an
 * earlier CREATE never became visible, and recovery can tell (recovery.c).
 * TORC_EXISTS: `*existing` has the name. TORC_CONFLICT: the catalogue has changed meanwhile; the keyspace, which others
 * may have seen by its number, must go the way of one that was dropped: abandon(). After all other errors nobody has
 * seen it. */
static enum torc_status
enter_name(struct torci_shard *shard, struct torc_keyspace *keyspace, uint64_t *stamp, struct torc_keyspace **existing)
{
    struct torc_mvcc *store = shard->store;
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_catalogue *old = torci_load(&store->catalogue, memory_order_acquire); /* A1 */
    struct torci_catalogue *fresh = NULL;
    enum torc_status status = TORC_OK;

    *existing = find_name(old, torc_slice(keyspace->name, keyspace->name_size));
    if (*existing != NULL)
        status = TORC_EXISTS;
    else if (torci_limbo_reserve(shard->limbo, ENTER_RETIRES) != TORC_OK ||
             !make_catalogue(store, old, keyspace, &fresh))
        status = torci_fail(TORC_NO_MEMORY, "no memory for the list of keyspaces");
    else if (stamp != NULL)
        status = journal_create(shard, keyspace, stamp);
    if (status == TORC_OK) {
        /* store.h R2; but by its number nobody can find it before R1. */
        torci_store(&keyspace->dropped, (uint64_t)0, memory_order_seq_cst);
        if (!swap_catalogue(shard, old, fresh))
            status = TORC_CONFLICT;
    } else {
        free_catalogue(store, fresh);
    }
    torci_epoch_exit(guard);
    return status;
}

static bool
is_listed(const struct torci_catalogue *catalogue, const struct torc_keyspace *keyspace)
{
    for (size_t i = 0; catalogue != NULL && i < catalogue->count; i++) {
        if (catalogue->keyspaces[i] == keyspace)
            return true;
    }
    return false;
}

/* Take a dropped keyspace out of the catalogue, if nobody did. False: no memory. */
static bool
leave_name(struct torci_shard *shard, const struct torc_keyspace *keyspace)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    bool done = false;

    while (!done) {
        struct torci_catalogue *old = torci_load(&shard->store->catalogue, memory_order_acquire); /* A1 */
        struct torci_catalogue *fresh;

        done = !is_listed(old, keyspace);
        if (done)
            break;
        if (torci_limbo_reserve(shard->limbo, 1) != TORC_OK || !make_catalogue(shard->store, old, NULL, &fresh))
            break;
        done = swap_catalogue(shard, old, fresh);
    }
    torci_epoch_exit(guard);
    return done;
}

/* ---- Dropping and emptying ---- */

static struct torc_keyspace *
keyspace_of_retired(struct torci_retired *retired)
{
    return (struct torc_keyspace *)((unsigned char *)retired - offsetof(struct torc_keyspace, retired));
}

static void
push_dropped(struct torc_mvcc *store, struct torc_keyspace *first, struct torc_keyspace *last)
{
    push_list(&store->keyspaces_dropped, first, last); /* R3 */
}

/* The first grace period after the drop is over: nobody is inside of it any more. */
static void
begin_emptying(struct torci_retired *retired)
{
    struct torc_keyspace *keyspace = keyspace_of_retired(retired);

    push_dropped(keyspace->store, keyspace, keyspace);
}

/* The grace period after it was emptied is over: nobody who saw it dropped still relies on that. */
static void
become_free(struct torci_retired *retired)
{
    struct torc_keyspace *keyspace = keyspace_of_retired(retired);
    struct torc_mvcc *store = keyspace->store;

    for (unsigned i = 0; i < TORCI_KEY_STRIPES; i++)
        torci_store(&keyspace->keys[i].count, 0, memory_order_relaxed); /* Relaxed: a figure. */
    torci_store(&keyspace->dropped, (uint64_t)FREE, memory_order_seq_cst); /* store.h R2 */
    give_free(store, keyspace, keyspace);
    torci_fetch_sub(&store->keyspaces_leaving, 1, memory_order_relaxed); /* Relaxed: a figure. */
}

static void
await_grace(struct torc_keyspace *keyspace, void (*then)(struct torci_retired *retired))
{
    torci_reclaimer_retire(keyspace->store->reclaimer, &keyspace->retired, sizeof *keyspace, then);
}

/* A keyspace whose name did not become visible: take its CREATE back, and let it go. */
static void
abandon(struct torci_shard *shard, struct torc_keyspace *keyspace)
{
    struct torc_mvcc *store = shard->store;
    struct torci_epoch_guard guard = torci_epoch_enter();

    torci_store(&keyspace->dropped, journal_take_back(shard, keyspace), memory_order_seq_cst); /* store.h R2 */
    torci_epoch_exit(guard);
    torci_fetch_add(&store->keyspaces_leaving, 1, memory_order_relaxed); /* Relaxed: a figure. */
    keyspace->gone = torci_clock_write_stamp(&store->clock); /* I3 */
    keyspace->listed = false;
    await_grace(keyspace, begin_emptying);
}

static void
take_down(void *context, struct torci_record *record)
{
    torci_reclaim_take_down(context, record);
}

/* What a dropped keyspace that is ours needs next. */
enum remains {
    GONE,       /* It waits for a grace period, and is not ours any more. */
    HELD,       /* Open snapshots hold it back, or there is no memory. */
    LEFT,       /* The budget is used up. */
};

static enum remains
work_on(struct torci_shard *shard, struct torc_keyspace *keyspace, size_t *budget)
{
    if (keyspace->listed) {
        if (!leave_name(shard, keyspace))
            return HELD;
        keyspace->listed = false;
        await_grace(keyspace, begin_emptying);
        return GONE;
    }
    if (shard->view.watermark < keyspace->gone)
        return HELD;
    if (!torci_index_dismantle(keyspace->index, budget, take_down, shard))
        return LEFT;
    keyspace->index = NULL;
    await_grace(keyspace, become_free);
    return GONE;
}

/* Let the next looks wait for the watermark to reach `until` (0: for nothing). A bound that still holds is not raised:
 * another thread may be about to put back what it stands for. */
static void
hold_until(const struct torci_shard *shard, uint64_t until)
{
    _Atomic(uint64_t) *bound = &shard->store->keyspaces_held_until;
    uint64_t before = torci_load(bound, memory_order_relaxed); /* Relaxed: see store.h. */

    if (before <= shard->view.watermark || until < before)
        torci_store(bound, until, memory_order_relaxed); /* Relaxed: see store.h. */
}

bool
torci_keyspaces_step(struct torci_shard *shard, size_t budget)
{
    struct torc_mvcc *store = shard->store;
    struct torc_keyspace *keyspace = NULL;
    struct torc_keyspace *kept = NULL;
    struct torc_keyspace *last = NULL;
    uint64_t held_until = UINT64_MAX;
    int64_t held = 0;
    bool left = false;

    /* All of them are held back by snapshots: there may be many, and each step would look at each. Stamps only grow, so
     * that what was dropped since is held back longer. Relaxed: see store.h. */
    if (shard->view.watermark < torci_load(&store->keyspaces_held_until, memory_order_relaxed))
        return false;
    /* Relaxed: the exchange decides. */
    if (torci_load(&store->keyspaces_dropped, memory_order_relaxed) != NULL)
        keyspace = torci_exchange(&store->keyspaces_dropped, NULL, memory_order_acquire); /* A3 */
    while (keyspace != NULL) {
        struct torc_keyspace *next = keyspace->next;
        enum remains remains = budget > 0 ? work_on(shard, keyspace, &budget) : LEFT;

        if (remains != GONE) {
            keyspace->next = kept;
            kept = keyspace;
            if (last == NULL)
                last = keyspace;
        }
        left |= remains == LEFT;
        held += remains == HELD ? 1 : 0;
        if (remains != GONE && (remains == LEFT || keyspace->listed))
            held_until = 0;
        else if (remains == HELD && keyspace->gone < held_until)
            held_until = keyspace->gone;
        keyspace = next;
    }
    hold_until(shard, kept == NULL ? 0 : held_until);
    if (kept != NULL)
        push_dropped(store, kept, last);
    /* Relaxed: a figure. Others than those held back wait for a grace period. */
    return left || torci_load(&store->keyspaces_leaving, memory_order_relaxed) > held;
}

static void
tell_watches(struct torci_shard *shard, struct torc_keyspace *keyspace)
{
    struct torci_epoch_guard guard = torci_epoch_enter();

    /* Relaxed: ours. */
    torci_watch_drop(shard, keyspace, torci_load(&keyspace->dropped, memory_order_relaxed));
    torci_epoch_exit(guard);
    torci_watch_wake(shard);
}

/* The linearization point of a drop; `*stamp` is what `dropped` is from then on. In a store with a journal, the entry
 * is decided before that, in the same section: who waits for a grace period after taking a snapshot knows of every
 * drop that the snapshot stands above. */
static enum torc_status
decide_drop(struct torci_shard *shard, struct torc_keyspace *keyspace, uint64_t *stamp)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    enum torc_status status = TORC_OK;
    uint64_t in_use = 0;

    if (!torci_journaled(shard->store))
        *stamp = torci_clock_write_stamp(&shard->store->clock);
    else if (torci_keyspace_usable(keyspace))
        status = journal_drop(shard, keyspace, stamp);
    else
        status = TORC_NOT_FOUND;
    torci_race_window();
    /* store.h R2. Failure: somebody else dropped it. Two entries of it do no harm. */
    if (status == TORC_OK &&
        !torci_cas(&keyspace->dropped, &in_use, *stamp, memory_order_seq_cst, memory_order_relaxed))
        status = TORC_NOT_FOUND;
    torci_epoch_exit(guard);
    return status == TORC_NOT_FOUND ? torci_fail(TORC_NOT_FOUND, "the keyspace was dropped") : status;
}

enum torc_status
torc_keyspace_drop(struct torc_keyspace *keyspace)
{
    struct torci_shard *shard;
    struct torc_mvcc *store;
    enum torc_status status;
    uint64_t stamp = 0;

    if (keyspace == NULL)
        return torci_fail(TORC_INVALID, "the keyspace is NULL");
    store = keyspace->store;
    if (keyspace == store->main)
        return torci_fail(TORC_INVALID, "the default keyspace cannot be dropped");
    status = torci_shard_obtain(store, &shard);
    if (status == TORC_OK)
        status = torci_journal_admit(store);
    if (status != TORC_OK)
        return status;
    torci_fetch_add(&store->keyspaces_leaving, 1, memory_order_relaxed); /* Relaxed: a figure. */
    torci_race_window();
    status = decide_drop(shard, keyspace, &stamp);
    if (status != TORC_OK) {
        torci_fetch_sub(&store->keyspaces_leaving, 1, memory_order_relaxed); /* Relaxed: a figure. */
        return status;
    }
    torci_race_window();
    torci_notify_drop(shard, keyspace);
    keyspace->gone = torci_clock_write_stamp(&shard->store->clock); /* I3 */
    tell_watches(shard, keyspace);
    keyspace->listed = !leave_name(shard, keyspace);
    if (keyspace->listed)
        push_dropped(store, keyspace, keyspace);
    else
        await_grace(keyspace, begin_emptying);
    return follow_up(store, stamp);
}

/* ---- Making and finding by name ---- */

/* A free keyspace with a name, which nobody has seen. TORC_BUSY, TORC_NO_MEMORY. */
static enum torc_status
prepare(struct torci_shard *shard, struct torc_slice name, struct torc_keyspace **keyspace)
{
    struct torc_keyspace *fresh = obtain(shard, EXPECTED_KEYS);

    *keyspace = fresh;
    if (fresh == NULL) {
        /* Relaxed: a figure, for the message. */
        if (torci_load(&shard->store->keyspaces_made, memory_order_relaxed) >= TORC_KEYSPACES_MAX)
            return torci_fail(TORC_BUSY, "there are %u keyspaces already", TORC_KEYSPACES_MAX);
        return torci_fail(TORC_NO_MEMORY, "no memory for a keyspace");
    }
    fresh->name_size = (uint8_t)name.size;
    memcpy(fresh->name, name.data, name.size);
    return TORC_OK;
}

/* Until nobody comes between: each try has a keyspace and an id of its own. */
static enum torc_status
make_named(struct torci_shard *shard, struct torc_slice name, struct torc_keyspace **keyspace, uint64_t *stamp,
           struct torc_keyspace **existing)
{
    enum torc_status status;

    do {
        status = prepare(shard, name, keyspace);
        if (status != TORC_OK)
            return status;
        status = enter_name(shard, *keyspace, stamp, existing);
        if (status == TORC_CONFLICT)
            abandon(shard, *keyspace);
    } while (status == TORC_CONFLICT);
    if (status != TORC_OK)
        give_back(*keyspace);
    return status;
}

enum torc_status
torc_keyspace_create(struct torc_mvcc *store, struct torc_slice name, struct torc_keyspace **keyspace)
{
    struct torc_keyspace *existing = NULL;
    struct torc_keyspace *fresh = NULL;
    struct torci_shard *shard;
    enum torc_status status;
    uint64_t stamp = 0;

    if (keyspace == NULL)
        return torci_fail(TORC_INVALID, "the place for the keyspace is NULL");
    *keyspace = NULL;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    status = torci_check_name(name);
    if (status == TORC_OK)
        status = torci_shard_obtain(store, &shard);
    if (status == TORC_OK)
        status = torci_journal_admit(store);
    if (status == TORC_OK)
        status = make_named(shard, name, &fresh, &stamp, &existing);
    *keyspace = status == TORC_OK ? fresh : status == TORC_EXISTS ? existing : NULL;
    return status == TORC_OK ? follow_up(store, stamp) : status;
}

enum torc_status
torci_keyspace_restore(struct torci_shard *shard, uint64_t id, struct torc_slice name, uint64_t created,
                       struct torc_keyspace **keyspace)
{
    struct torc_keyspace *existing;
    enum torc_status status;

    torc_assert(id != 0 && name.size > 0 && name.size <= TORC_NAME_SIZE_MAX);
    status = prepare(shard, name, keyspace);
    if (status != TORC_OK)
        return status;
    (*keyspace)->id = id;
    (*keyspace)->created = created;
    status = enter_name(shard, *keyspace, NULL, &existing);
    torc_assert(status != TORC_CONFLICT);
    if (status != TORC_OK) {
        give_back(*keyspace);
        *keyspace = NULL;
    }
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
    status = torci_check_name(name);
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
    if (capacity > 0)
        keyspaces[0] = store->main;
    *count = 1;
    for (size_t i = 0; catalogue != NULL && i < catalogue->count; i++) {
        if (!torci_keyspace_usable(catalogue->keyspaces[i]))
            continue;
        if (*count < capacity)
            keyspaces[*count] = catalogue->keyspaces[i];
        ++*count;
    }
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

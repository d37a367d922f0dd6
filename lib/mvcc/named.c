/* SPDX-License-Identifier: MIT */
/* mvcc/named: the list of named snapshots. See named.h. */
#include "mvcc/named.h"

#include "base/assert.h"
#include "base/status.h"

enum torc_status
torci_check_name(struct torc_slice name)
{
    if (name.data == NULL || name.size == 0)
        return torci_fail(TORC_INVALID, "a name needs at least one byte");
    if (name.size > TORC_NAME_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a name of %zu bytes exceeds %u", name.size, TORC_NAME_SIZE_MAX);
    return TORC_OK;
}

static size_t
list_bytes(size_t count)
{
    return sizeof(struct torci_named_list) + count * sizeof(struct torci_named *);
}

/* The place of `name` in the list; count: none. */
static size_t
place_of(const struct torci_named_list *list, struct torc_slice name)
{
    size_t count = list == NULL ? 0 : list->count;
    size_t i = 0;

    while (i < count && (list->entries[i]->name_size != name.size ||
                         memcmp(list->entries[i]->name, name.data, name.size) != 0))
        i++;
    return i;
}

/* Replace `old` by `fresh` (NULL: an empty list), and retire it. False: the list has changed meanwhile. */
static bool
replace(struct torci_shard *shard, struct torci_named_list *old, struct torci_named_list *fresh)
{
    struct torci_named_list *expected = old;

    torci_race_window();
    /* R1. Relaxed on failure: it is loaded again. */
    if (!torci_cas(&shard->store->named, &expected, fresh, memory_order_seq_cst, memory_order_relaxed))
        return false;
    if (old != NULL)
        torci_limbo_add(shard->limbo, old, list_bytes(old->count), TORCI_RETIRED_INDEX);
    return true;
}

static enum torc_status
no_memory(void)
{
    return torci_fail(TORC_NO_MEMORY, "no memory for the list of snapshots");
}

/* One try; *again: the list has changed meanwhile. */
static enum torc_status
enter_once(struct torci_shard *shard, struct torci_named *named, bool *again)
{
    struct torc_mvcc *store = shard->store;
    struct torci_named_list *old = torci_load(&store->named, memory_order_acquire); /* A1 */
    size_t count = old == NULL ? 0 : old->count;
    struct torci_named_list *fresh;

    *again = false;
    if (place_of(old, torc_slice(named->name, named->name_size)) < count)
        return TORC_EXISTS;
    if (torci_limbo_reserve(shard->limbo, 1) != TORC_OK)
        return no_memory();
    fresh = torci_alloc(&store->heap, list_bytes(count + 1));
    if (fresh == NULL)
        return no_memory();
    fresh->count = count + 1;
    if (count > 0)
        memcpy(fresh->entries, old->entries, count * sizeof old->entries[0]);
    fresh->entries[count] = named;
    if (replace(shard, old, fresh))
        return TORC_OK;
    torci_free(&store->heap, fresh, list_bytes(count + 1));
    *again = true;
    return TORC_OK;
}

enum torc_status
torci_named_enter(struct torci_shard *shard, struct torci_named *named)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    enum torc_status status;
    bool again;

    do
        status = enter_once(shard, named, &again);
    while (again);
    torci_epoch_exit(guard);
    return status;
}

static enum torc_status
leave_once(struct torci_shard *shard, struct torc_slice name, struct torci_named **taken, bool *again)
{
    struct torc_mvcc *store = shard->store;
    struct torci_named_list *old = torci_load(&store->named, memory_order_acquire); /* A1 */
    struct torci_named_list *fresh = NULL;
    size_t place = place_of(old, name);
    size_t rest;

    *again = false;
    if (old == NULL || place == old->count)
        return TORC_NOT_FOUND;
    rest = old->count - 1;
    if (torci_limbo_reserve(shard->limbo, 1) != TORC_OK)
        return no_memory();
    if (rest > 0) {
        fresh = torci_alloc(&store->heap, list_bytes(rest));
        if (fresh == NULL)
            return no_memory();
        fresh->count = rest;
        memcpy(fresh->entries, old->entries, place * sizeof old->entries[0]);
        memcpy(fresh->entries + place, old->entries + place + 1, (rest - place) * sizeof old->entries[0]);
    }
    *taken = old->entries[place];
    if (replace(shard, old, fresh))
        return TORC_OK;
    torci_free(&store->heap, fresh, fresh == NULL ? 0 : list_bytes(rest));
    *again = true;
    return TORC_OK;
}

enum torc_status
torci_named_leave(struct torci_shard *shard, struct torc_slice name, struct torci_named **taken)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    enum torc_status status;
    bool again;

    do
        status = leave_once(shard, name, taken, &again);
    while (again);
    torci_epoch_exit(guard);
    return status;
}

/* One user more, unless nobody uses it any more. Inside a section. */
static bool
join(struct torci_named *named)
{
    uint64_t users = torci_load(&named->users, memory_order_relaxed); /* Relaxed: the CAS decides. */

    /* R2 A2. Failure: another user came or went. */
    while (users > 0 &&
           !torci_cas(&named->users, &users, users + 1, memory_order_seq_cst, memory_order_relaxed))
        continue;
    return users > 0;
}

struct torci_named *
torci_named_acquire(struct torc_mvcc *store, struct torc_slice name)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_named_list *list = torci_load(&store->named, memory_order_acquire); /* A1 */
    size_t place = place_of(list, name);
    struct torci_named *named = list == NULL || place == list->count ? NULL : list->entries[place];

    if (named != NULL && !join(named))
        named = NULL;
    torci_epoch_exit(guard);
    return named;
}

struct torci_named *
torci_named_acquire_at(_Atomic(struct torci_named *) *place)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_named *named;

    /* One that nobody uses any more has been replaced. */
    do
        named = torci_load(place, memory_order_seq_cst); /* A1 */
    while (!join(named));
    torci_epoch_exit(guard);
    return named;
}

/* Keep an entry until the store closes. */
static void
keep(struct torc_mvcc *store, struct torci_named *named)
{
    struct torci_named *top = torci_load(&store->named_kept, memory_order_relaxed); /* Relaxed: the CAS decides. */

    do {
        named->next = top;
        /* Relaxed, also on success: read by close, which is exclusive. Failure: another one was kept. */
    } while (!torci_cas(&store->named_kept, &top, named, memory_order_relaxed, memory_order_relaxed));
}

struct torc_txn *
torci_named_release(struct torc_mvcc *store, struct torci_shard *shard, struct torci_named *named)
{
    struct torc_txn *holder = named->holder;

    if (torci_fetch_sub(&named->users, 1u, memory_order_seq_cst) > 1) /* R2 A2 */
        return NULL;
    /* Who looked it up before it left the list may still be reading it. */
    if (shard != NULL && torci_limbo_reserve(shard->limbo, 1) == TORC_OK)
        torci_limbo_add(shard->limbo, named, sizeof *named, TORCI_RETIRED_INDEX);
    else
        keep(store, named);
    return holder;
}

void
torci_named_fini(struct torc_mvcc *store, void (*visit)(struct torc_txn *holder))
{
    /* Relaxed: exclusive. */
    struct torci_named_list *list = torci_load(&store->named, memory_order_relaxed);
    struct torci_named *kept = torci_load(&store->named_kept, memory_order_relaxed);

    while (kept != NULL) {
        struct torci_named *next = kept->next;

        torci_free(&store->heap, kept, sizeof *kept);
        kept = next;
    }
    if (list == NULL)
        return;
    for (size_t i = 0; i < list->count; i++) {
        visit(list->entries[i]->holder);
        torci_free(&store->heap, list->entries[i], sizeof *list->entries[i]);
    }
    torci_free(&store->heap, list, list_bytes(list->count));
}

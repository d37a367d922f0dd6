/* SPDX-License-Identifier: MIT */
/* mvcc/cursor: scans in key order: the snapshot merged with the transaction's own writes.
 *
 *   tree, one batch per section --> pairs (record, version seen) --.
 *                                                                  merge by key; an own write hides the pair --> user
 *   write set, looked up from the last key shown ------------------'
 *
 * The batches begin small and double: who wants a few entries pays for a few. Of each batch the records are fetched
 * together, then their versions, then what the values end in: three waits for memory, not three for each entry.
 *
 * Invariants
 *   I1  Only pairs whose version is live in the snapshot are kept: their records and versions cannot be freed before
 *       the transaction ends (txn.h I2), so nothing is held between calls but pointers.
 *   I2  A section lasts for at most EXAMINED_MAX records, dead ones included; the place to go on from is a key.
 *   I3  A serializable scan notes each pair when it is passed, not when it is fetched: what the user has not seen is
 *       not validated.
 *   I4  For an expirable transaction I1 does not hold once it has expired: so pairs are copied, each batch into that of
 *       two arenas which the batch before does not use, and what a call lends is valid until the next one.
 * Reclaim  A cursor struct belongs to its transaction struct and is used again; so a finished cursor can be told. */
#include "base/assert.h"
#include "base/status.h"
#include "mvcc/txn.h"

enum {
    COPIES_FIRST_BYTES = 4096,
    EXAMINED_MAX = 512,
    WANTED_FIRST = (TORCI_BATCH_FIRST + 1) / 2,
};

struct pair {
    struct torci_record *record;
    struct torci_version *version;
};

struct torc_cursor {
    struct torc_cursor *next;             /* Of all of the transaction struct. */
    struct torc_txn *txn;                 /* Immutable. */
    struct torc_keyspace *keyspace;
    bool open;
    bool descending;
    bool base_end;                        /* The tree has nothing more within the bounds. */
    unsigned char *bounds;                /* Memory of `from` and `to`. */
    size_t bounds_size;
    struct torc_slice from;               /* Inclusive; empty: open. */
    struct torc_slice to;                 /* Exclusive; empty: open. */
    struct torc_slice position;           /* The last key of the tree that was examined; empty: none. */
    unsigned char *position_copy;         /* Memory of `position` when no live record holds it. */
    size_t position_copy_size;
    struct torc_slice shown;              /* The last key passed; empty: none. */
    struct torci_range *range;            /* Serializable only. */
    struct torci_arena *copies[2];        /* Expirable only. */
    unsigned copies_used;                 /* Which of them holds `pairs`, `position` and `shown`. */
    struct torci_bookmark mark;           /* Where in the tree `position` is. */
    unsigned wanted;                      /* Entries of the next batch. */
    unsigned pair_next;
    unsigned pair_count;
    struct pair pairs[TORCI_BATCH_MAX];
};

/* ---- Opening and closing ---- */

static void
close_cursor(struct torc_cursor *cursor)
{
    struct torci_heap *heap = &cursor->txn->store->heap;

    torci_free(heap, cursor->bounds, cursor->bounds_size);
    torci_free(heap, cursor->position_copy, cursor->position_copy_size);
    for (unsigned i = 0; i < 2; i++) {
        torci_arena_destroy(cursor->copies[i]);
        cursor->copies[i] = NULL;
    }
    cursor->bounds = NULL;
    cursor->bounds_size = 0;
    cursor->position_copy = NULL;
    cursor->position_copy_size = 0;
    cursor->range = NULL;
    cursor->open = false;
}

void
torci_cursors_finish(struct torc_txn *txn)
{
    for (struct torc_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next) {
        if (cursor->open)
            close_cursor(cursor);
    }
}

void
torci_cursors_destroy(struct torc_txn *txn)
{
    while (txn->cursors != NULL) {
        struct torc_cursor *next = txn->cursors->next;

        torc_assert(!txn->cursors->open);
        torci_free(&txn->store->heap, txn->cursors, sizeof *txn->cursors);
        txn->cursors = next;
    }
}

/* A closed cursor of `txn`, made if there is none. NULL: no memory. */
static struct torc_cursor *
obtain(struct torc_txn *txn)
{
    struct torc_cursor *cursor = txn->cursors;

    while (cursor != NULL && cursor->open)
        cursor = cursor->next;
    if (cursor != NULL)
        return cursor;
    cursor = torci_alloc_zeroed(&txn->store->heap, sizeof *cursor);
    if (cursor == NULL)
        return NULL;
    cursor->txn = txn;
    cursor->next = txn->cursors;
    txn->cursors = cursor;
    return cursor;
}

/* The least key greater than every key that begins with `prefix`, as a length of `prefix` whose last byte is to be
 * incremented; 0: there is none. */
static size_t
successor_size(struct torc_slice prefix)
{
    const unsigned char *bytes = prefix.data;
    size_t size = prefix.size;

    while (size > 0 && bytes[size - 1] == 0xff)
        size--;
    return size;
}

/* Turn bounds and prefix into one pair of bounds in the cursor's own memory. */
static enum torc_status
set_bounds(struct torc_cursor *cursor, const struct torc_scan_options *options)
{
    struct torc_slice from = options->from;
    struct torc_slice to = options->to;
    size_t size = successor_size(options->prefix);
    unsigned char *memory;

    if (from.size + to.size + options->prefix.size == 0)
        return TORC_OK;
    if (torci_key_compare(options->prefix, from) > 0)
        from = options->prefix;
    cursor->bounds_size = from.size + (to.size > size ? to.size : size);
    if (cursor->bounds_size == 0)
        return TORC_OK;
    memory = torci_alloc(&cursor->txn->store->heap, cursor->bounds_size);
    if (memory == NULL) {
        cursor->bounds_size = 0;
        return torci_fail(TORC_NO_MEMORY, "no memory for the bounds of a scan");
    }
    cursor->bounds = memory;
    if (from.size > 0)
        memcpy(memory, from.data, from.size);
    cursor->from = torc_slice(memory, from.size);
    memory += from.size;
    if (size > 0) {
        memcpy(memory, options->prefix.data, size);
        memory[size - 1]++;
        cursor->to = torc_slice(memory, size);
    }
    if (to.size > 0 && (size == 0 || torci_key_compare(to, cursor->to) < 0)) {
        memcpy(memory, to.data, to.size);
        cursor->to = torc_slice(memory, to.size);
    }
    return TORC_OK;
}

static enum torc_status
open_cursor(struct torc_txn *txn, const struct torc_scan_options *options, struct torc_cursor **place)
{
    struct torc_cursor *cursor = obtain(txn);
    enum torc_status status;

    if (cursor == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a cursor");
    cursor->keyspace = txn->keyspace;
    cursor->descending = options->reverse;
    cursor->base_end = false;
    cursor->from = cursor->to = cursor->position = cursor->shown = torc_slice(NULL, 0);
    cursor->mark = (struct torci_bookmark){NULL, NULL, 0};
    cursor->wanted = WANTED_FIRST;
    cursor->pair_next = cursor->pair_count = 0;
    status = set_bounds(cursor, options);
    if (status == TORC_OK && torci_txn_notes_reads(txn))
        status = torci_txn_admit(txn, sizeof(struct torci_range) + cursor->from.size + cursor->to.size);
    if (status == TORC_OK && torci_txn_notes_reads(txn))
        status = torci_read_set_range(&txn->reads, cursor->keyspace, cursor->from, cursor->to, cursor->descending,
                                      &cursor->range);
    if (status != TORC_OK) {
        close_cursor(cursor);
        return status;
    }
    cursor->open = true;
    *place = cursor;
    return TORC_OK;
}

enum torc_status
torc_txn_scan(struct torc_txn *txn, const struct torc_scan_options *options, struct torc_cursor **cursor)
{
    static const struct torc_scan_options everything;
    enum torc_status status;

    if (cursor == NULL)
        return torci_fail(TORC_INVALID, "the place for the cursor is NULL");
    *cursor = NULL;
    status = torci_txn_enter(txn);
    if (status != TORC_OK)
        return status;
    if (options == NULL)
        options = &everything;
    status = torci_check_bound(options->from);
    if (status == TORC_OK)
        status = torci_check_bound(options->to);
    if (status == TORC_OK)
        status = torci_check_bound(options->prefix);
    if (status == TORC_OK && !torci_keyspace_usable(txn->keyspace))
        status = torci_fail(TORC_NOT_FOUND, "the keyspace was dropped");
    if (status == TORC_OK)
        status = open_cursor(txn, options, cursor);
    torci_txn_leave(txn);
    return status;
}

void
torc_cursor_close(struct torc_cursor *cursor)
{
    if (cursor != NULL && cursor->open)
        close_cursor(cursor);
}

/* ---- The tree's side ---- */

/* Whether a key lies beyond the far bound of the walk. */
static bool
beyond(const struct torc_cursor *cursor, struct torc_slice key)
{
    if (cursor->descending)
        return cursor->from.size > 0 && torci_key_compare(key, cursor->from) < 0;
    return cursor->to.size > 0 && torci_key_compare(key, cursor->to) >= 0;
}

/* Make room for the copies of one batch. */
static enum torc_status
renew_copies(struct torc_cursor *cursor)
{
    struct torci_arena **arena = &cursor->copies[1 - cursor->copies_used];

    if (*arena != NULL)
        torci_arena_reset(*arena);
    else
        *arena = torci_arena_create(&cursor->txn->store->heap, COPIES_FIRST_BYTES);
    return *arena != NULL ? TORC_OK : torci_fail(TORC_NO_MEMORY, "no memory to copy what is scanned");
}

/* The copied record has a key, and nothing else; before it stands what it is a copy of. */
static enum torc_status
copy_pair(struct torc_cursor *cursor, struct pair *pair)
{
    struct torci_arena *arena = cursor->copies[1 - cursor->copies_used];
    size_t bytes = torci_version_bytes(pair->version->size);
    struct torci_record *record;
    struct pair *origin = torci_arena_alloc(arena, sizeof *origin + sizeof *record + pair->record->key_size);
    struct torci_version *version = origin == NULL ? NULL : torci_arena_alloc(arena, bytes);

    if (version == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to copy what is scanned");
    *origin = *pair;
    record = (struct torci_record *)(origin + 1);
    record->key_size = pair->record->key_size;
    memcpy(record->key, pair->record->key, pair->record->key_size);
    version->size = pair->version->size;
    version->flags = pair->version->flags;
    memcpy(version->bytes, pair->version->bytes, pair->version->size);
    *pair = (struct pair){record, version};
    return TORC_OK;
}

/* What the store has of `pair`. */
static struct pair
origin_of(const struct torc_cursor *cursor, const struct pair *pair)
{
    return cursor->txn->expirable ? ((const struct pair *)pair->record)[-1] : *pair;
}

/* Keep what the snapshot sees of one batch. */
static enum torc_status
keep_visible(struct torc_cursor *cursor, const struct torci_batch *batch)
{
    struct torc_txn *txn = cursor->txn;
    enum torc_status status = TORC_OK;
    bool passes;

    torci_batch_prefetch_versions(batch);
    passes = batch->count > 0 && beyond(cursor, torci_record_key(batch->records[batch->count - 1]));
    for (unsigned i = 0; i < batch->count; i++) {
        struct torci_record *record = batch->records[i];
        struct torci_version *version;

        if (passes && beyond(cursor, torci_record_key(record)))
            break;
        version = torci_record_visible(record, txn->slot.snapshot, &txn->store->clock);
        if (torci_version_live(version)) {
            __builtin_prefetch(version->bytes + version->size);
            cursor->pairs[cursor->pair_count] = (struct pair){record, version};
            if (txn->expirable)
                status = copy_pair(cursor, &cursor->pairs[cursor->pair_count]);
            if (status != TORC_OK)
                return status;
            cursor->pair_count++;
        }
    }
    cursor->base_end = passes || batch->count == 0 || batch->end;
    return TORC_OK;
}

/* Copy the key of a record that may leave, to go on from there in a later section. */
static enum torc_status
keep_position(struct torc_cursor *cursor, const struct torci_record *record)
{
    struct torci_heap *heap = &cursor->txn->store->heap;
    unsigned char *copy = torci_alloc(heap, record->key_size);

    if (copy == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for the place of a scan");
    memcpy(copy, record->key, record->key_size);
    torci_free(heap, cursor->position_copy, cursor->position_copy_size);
    cursor->position_copy = copy;
    cursor->position_copy_size = record->key_size;
    cursor->position = torc_slice(copy, record->key_size);
    return TORC_OK;
}

/* One section: fetch pairs after `position`; none may be found although base_end is not set. */
static enum torc_status
fetch(struct torc_cursor *cursor)
{
    struct torci_index *index;
    struct torci_epoch_guard guard = torci_epoch_enter();
    bool begun = cursor->position.size > 0;
    struct torc_slice start = begun ? cursor->position : cursor->descending ? cursor->to : cursor->from;
    enum torc_status status = TORC_OK;
    struct torci_batch batch;
    unsigned examined = 0;

    cursor->pair_next = cursor->pair_count = 0;
    /* Not expired in this section: so nothing of what the bookmark means has been used for something else. */
    status = torci_txn_check_age(cursor->txn);
    if (status == TORC_OK && !torci_keyspace_usable(cursor->keyspace))
        status = torci_fail(TORC_NOT_FOUND, "the keyspace was dropped");
    if (status == TORC_OK && cursor->txn->expirable)
        status = renew_copies(cursor);
    if (status != TORC_OK) {
        torci_epoch_exit(guard);
        return status;
    }
    index = cursor->keyspace->index;
    batch.wanted = cursor->wanted;
    batch.mark = cursor->mark;
    torci_index_seek_on(index, guard, start, !begun && !cursor->descending, cursor->descending, &batch);
    for (;;) {
        status = keep_visible(cursor, &batch);
        examined += batch.count;
        if (status != TORC_OK || cursor->base_end || cursor->pair_count > 0)
            break;
        if (examined >= EXAMINED_MAX) {
            status = keep_position(cursor, batch.records[batch.count - 1]);
            break;
        }
        torci_index_next(index, guard, cursor->descending, &batch);
    }
    if (status == TORC_OK)
        status = torci_txn_check_age(cursor->txn);
    if (status != TORC_OK) {
        /* As if it had not been tried. */
        cursor->pair_count = 0;
        cursor->base_end = false;
        torci_epoch_exit(guard);
        return status;
    }
    cursor->mark = batch.mark;
    cursor->wanted = batch.wanted * 2 < TORCI_BATCH_MAX ? batch.wanted * 2 : TORCI_BATCH_MAX;
    if (cursor->pair_count > 0) {
        cursor->position = torci_record_key(cursor->pairs[cursor->pair_count - 1].record); /* I1, I4 */
        cursor->copies_used = 1 - cursor->copies_used;
    }
    torci_epoch_exit(guard);
    return status;
}

/* ---- Merging ---- */

/* The own write that comes next, or NULL. */
static struct torci_write *
next_write(const struct torc_cursor *cursor)
{
    const struct torci_write_set *set = &cursor->txn->writes;
    bool begun = cursor->shown.size > 0;
    struct torci_write *write;

    if (set->count == 0)
        return NULL;
    if (cursor->descending)
        write = torci_write_set_before(set, cursor->keyspace, begun ? cursor->shown : cursor->to, false);
    else
        write = torci_write_set_after(set, cursor->keyspace, begun ? cursor->shown : cursor->from, !begun);
    return write == NULL || beyond(cursor, write->key) ? NULL : write;
}

/* Note that a pair was passed (I3). */
static enum torc_status
pass(struct torc_cursor *cursor, const struct pair *pair)
{
    if (cursor->range != NULL) {
        enum torc_status status = torci_txn_admit(cursor->txn, sizeof(struct torci_range_item));

        if (status == TORC_OK)
            status = torci_read_set_item(&cursor->txn->reads, cursor->range, origin_of(cursor, pair).record,
                                         origin_of(cursor, pair).version);
        if (status != TORC_OK)
            return status;
    }
    cursor->pair_next++;
    return TORC_OK;
}

/* `key`, or for a range that will outlive it (I4) a copy. */
static enum torc_status
keep_last(struct torc_cursor *cursor, struct torc_slice key, struct torc_slice *last)
{
    void *copy;

    *last = key;
    if (cursor->range == NULL || !cursor->txn->expirable)
        return TORC_OK;
    copy = torci_arena_alloc(cursor->txn->reads.arena, key.size);
    if (copy == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to note a scanned key");
    memcpy(copy, key.data, key.size);
    last->data = copy;
    return TORC_OK;
}

/* The next step of the merge: *version NULL if it shows nothing (a deleted key, an empty section). TORC_END. */
static enum torc_status
step(struct torc_cursor *cursor, struct torc_slice *key, struct torci_version **version)
{
    const struct pair *pair = NULL;
    struct torci_write *write;
    struct torc_slice last;
    enum torc_status status;
    int order;

    *version = NULL;
    if (cursor->pair_next == cursor->pair_count && !cursor->base_end) {
        status = fetch(cursor);
        if (status != TORC_OK || (cursor->pair_count == 0 && !cursor->base_end))
            return status;
    }
    if (cursor->pair_next < cursor->pair_count)
        pair = &cursor->pairs[cursor->pair_next];
    write = next_write(cursor);
    if (pair == NULL && write == NULL) {
        if (cursor->range != NULL)
            cursor->range->complete = true;
        return TORC_END;
    }
    order = pair == NULL ? 1 : write == NULL ? -1 : torci_key_compare(torci_record_key(pair->record), write->key);
    if (pair != NULL && write != NULL && cursor->descending)
        order = -order;
    if (order >= 0) {
        status = torci_txn_resolve(cursor->txn, write);
        if (status != TORC_OK)
            return status;
    }
    *key = order <= 0 ? torci_record_key(pair->record) : write->key;
    *version = order >= 0 ? write->version : pair->version;
    status = keep_last(cursor, *key, &last);
    if (status == TORC_OK && order <= 0)
        status = pass(cursor, pair);
    if (status != TORC_OK)
        return status;
    if (!torci_version_shows(*version, &cursor->txn->moment))
        *version = NULL;
    cursor->shown = *key;
    if (cursor->range != NULL)
        cursor->range->last = last;
    return TORC_OK;
}

enum torc_status
torc_cursor_next(struct torc_cursor *cursor, struct torc_slice *key, struct torc_slice *value)
{
    struct torci_version *version = NULL;
    enum torc_status status;
    struct torc_slice found;

    if (key != NULL)
        *key = torc_slice(NULL, 0);
    if (value != NULL)
        *value = torc_slice(NULL, 0);
    if (cursor == NULL || key == NULL)
        return torci_fail(TORC_INVALID, "the cursor or the place for the key is NULL");
    if (!cursor->open)
        return torci_fail(TORC_FINISHED, "the cursor, or its transaction, has ended");
    status = torci_txn_enter(cursor->txn);
    if (status != TORC_OK)
        return status;
    do {
        status = step(cursor, &found, &version);
    } while (status == TORC_OK && version == NULL);
    if (status == TORC_OK) {
        *key = found;
        if (value != NULL)
            *value = torci_version_value(version);
    }
    torci_txn_leave(cursor->txn);
    return status;
}

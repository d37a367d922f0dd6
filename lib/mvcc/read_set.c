/* SPDX-License-Identifier: MIT */
/* mvcc/read_set: noting reads and validating them. Rules and argument: read_set.h. */
#include "mvcc/read_set.h"

#include "base/assert.h"
#include "base/status.h"

enum { ARENA_FIRST_BYTES = 1024 };

/* ---- Noting ---- */

static bool
has_arena(struct torci_read_set *set, struct torci_heap *heap)
{
    if (set->arena == NULL)
        set->arena = torci_arena_create(heap, ARENA_FIRST_BYTES);
    return set->arena != NULL;
}

static enum torc_status
copy_slice(struct torci_arena *arena, struct torc_slice *slice)
{
    void *copy;

    if (slice->size == 0)
        return TORC_OK;
    copy = torci_arena_alloc(arena, slice->size);
    if (copy == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to note a read");
    memcpy(copy, slice->data, slice->size);
    slice->data = copy;
    return TORC_OK;
}

enum torc_status
torci_read_set_note(struct torci_read_set *set, struct torc_keyspace *keyspace, struct torci_record *record,
                    struct torci_version *version, struct torc_slice key, uint64_t order)
{
    struct torci_heap *heap = &keyspace->store->heap;
    struct torci_read *read = has_arena(set, heap) ? torci_arena_alloc(set->arena, sizeof *read) : NULL;

    torc_assert((record == NULL) == (version == NULL));
    if (read == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to note a read");
    read->keyspace = keyspace;
    read->record = record;
    read->version = version;
    read->order = order;
    read->key = torc_slice(NULL, 0);
    if (record == NULL) {
        read->key = key;
        if (copy_slice(set->arena, &read->key) != TORC_OK)
            return TORC_NO_MEMORY;
    }
    read->next = set->reads;
    set->reads = read;
    return TORC_OK;
}

enum torc_status
torci_read_set_range(struct torci_read_set *set, struct torc_keyspace *keyspace, struct torc_slice from,
                     struct torc_slice to, bool descending, struct torci_range **range)
{
    struct torci_heap *heap = &keyspace->store->heap;
    struct torci_range *fresh = has_arena(set, heap) ? torci_arena_alloc(set->arena, sizeof *fresh) : NULL;

    *range = NULL;
    if (fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to note a range");
    memset(fresh, 0, sizeof *fresh);
    fresh->keyspace = keyspace;
    fresh->from = from;
    fresh->to = to;
    fresh->descending = descending;
    fresh->items_end = &fresh->items;
    if (copy_slice(set->arena, &fresh->from) != TORC_OK || copy_slice(set->arena, &fresh->to) != TORC_OK)
        return TORC_NO_MEMORY;
    fresh->next = set->ranges;
    set->ranges = fresh;
    *range = fresh;
    return TORC_OK;
}

enum torc_status
torci_read_set_item(struct torci_read_set *set, struct torci_range *range, struct torci_record *record,
                    struct torci_version *version)
{
    struct torci_range_item *item = torci_arena_alloc(set->arena, sizeof *item);

    if (item == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to note a scanned key");
    item->next = NULL;
    item->record = record;
    item->version = version;
    *range->items_end = item;
    range->items_end = &item->next;
    range->count++;
    return TORC_OK;
}

enum torc_status
torci_read_set_seal(struct torci_read_set *set)
{
    for (struct torci_range *range = set->ranges; range != NULL; range = range->next) {
        if (!range->complete && copy_slice(set->arena, &range->last) != TORC_OK)
            return TORC_NO_MEMORY;
    }
    return TORC_OK;
}

/* ---- Validating ---- */

/* One validation: whose, at which stamp, and which key spoiled it. */
struct validation {
    struct torci_descriptor *descriptor;
    uint64_t stamp;
    /* Settle with other validating transactions; not when only looking for whom to blame. */
    bool kill;
    struct torc_slice spoiled;
};

/* Another transaction validates at a stamp <= ours. True: it is out of the way (look again); false: we are to go. */
static bool
settle(struct validation *validation, struct torci_descriptor *other, uint64_t other_stamp)
{
    uint64_t expected = torci_state_word(TORCI_VALIDATING, other_stamp);

    if (!validation->kill || !torci_descriptor_outranks(validation->descriptor, other))
        return false;
    torci_race_window();
    /* version.h R2. Failure: it is decided, which the caller looks at. */
    torci_cas(&other->state, &expected, torci_state_word(TORCI_ABORTED, 0), memory_order_seq_cst, memory_order_relaxed);
    return true;
}

/* What a reader of validation->stamp sees in `record`, our own version aside. False: the validation is lost. */
static bool
seen_at_stamp(struct validation *validation, struct torci_record *record, struct torci_version **seen)
{
    struct torci_clock *clock = &validation->descriptor->store->clock;
    struct torci_version *version = torci_load(&record->head, memory_order_seq_cst); /* version.h A1 */

    *seen = NULL;
    if (version == torci_frozen())
        return true;
    while (version != NULL) {
        /* Below first, then the fate, as in torci_record_newest(): what commits meanwhile may be pruned under us. */
        struct torci_version *older = torci_load(&version->older, memory_order_acquire); /* version.h A4 */
        struct torci_verdict verdict;

        /* version.h A3 */
        if (torci_load(&version->stamp, memory_order_acquire) == torci_stamp_descriptor(validation->descriptor)) {
            version = older;
            continue;
        }
        torci_race_window();
        verdict = torci_version_verdict(version, clock);
        if (verdict.fate == TORCI_FATE_COMMITTED) {
            *seen = version;
            return torci_version_written(version, verdict.stamp) <= validation->stamp; /* I4 */
        }
        if (verdict.fate == TORCI_FATE_VALIDATING && verdict.stamp <= validation->stamp) {
            if (!settle(validation, verdict.owner, verdict.stamp))
                return false;
            continue;
        }
        version = older;
    }
    return true;
}

/* When what a committed version tells was written. */
static uint64_t
written(const struct validation *validation, struct torci_version *version)
{
    uint64_t stamp = torci_version_verdict(version, &validation->descriptor->store->clock).stamp;

    return torci_version_written(version, stamp);
}

/* Nothing, or a tombstone that our snapshot saw already. A younger one may hide a put of an older stamp that our place
 * in the order would have to show: its deleter may share our stamp and stand after us. */
static bool
still_absent(const struct validation *validation, struct torci_version *seen)
{
    if (torci_version_live(seen))
        return false;
    return seen == NULL || written(validation, seen) <= validation->descriptor->snapshot;
}

/* The version that was read, or what is left of it after its time. */
static bool
still_there(const struct validation *validation, struct torci_version *seen, struct torci_version *version)
{
    if (seen == NULL || seen == version)
        return seen != NULL;
    return seen->flags == TORCI_VERSION_EXPIRED && written(validation, seen) == written(validation, version);
}

static bool
read_valid(struct validation *validation, struct torci_epoch_guard guard, const struct torci_read *read)
{
    struct torci_record *record = read->record;
    struct torci_version *seen = NULL;

    validation->spoiled = read->key;
    if (!torci_keyspace_usable(read->keyspace))
        return false;
    if (record == NULL)
        record = torci_index_find(read->keyspace->index, guard, read->key, read->order);
    validation->spoiled = record != NULL ? torci_record_key(record) : read->key;
    if (record != NULL && !seen_at_stamp(validation, record, &seen))
        return false;
    return read->record != NULL ? still_there(validation, seen, read->version) : still_absent(validation, seen);
}

/* Whether `key` lies past the part of the range that has been seen. */
static bool
range_passed(const struct torci_range *range, struct torc_slice key)
{
    if (range->descending) {
        if (range->from.size > 0 && torci_key_compare(key, range->from) < 0)
            return true;
        return !range->complete && torci_key_compare(key, range->last) < 0;
    }
    if (range->to.size > 0 && torci_key_compare(key, range->to) >= 0)
        return true;
    return !range->complete && torci_key_compare(key, range->last) > 0;
}

/* Whether a walk over the range comes to `a` before `b`. */
static bool
range_before(const struct torci_range *range, const struct torci_record *a, const struct torci_record *b)
{
    int order = torci_key_compare(torci_record_key(a), torci_record_key(b));

    return range->descending ? order > 0 : order < 0;
}

/* Compare one batch with the items that are left. True: so far as seen; *more: go on with the next batch. */
static bool
batch_valid(struct validation *validation, const struct torci_range *range, const struct torci_batch *batch,
            const struct torci_range_item **item, bool *more)
{
    torci_batch_prefetch_versions(batch);
    for (unsigned i = 0; i < batch->count; i++) {
        struct torci_record *record = batch->records[i];
        struct torci_version *seen;

        validation->spoiled = torci_record_key(record);
        if (range_passed(range, validation->spoiled)) {
            *more = false;
            return true;
        }
        if (!seen_at_stamp(validation, record, &seen))
            return false;
        if (*item != NULL && (*item)->record == record && still_there(validation, seen, (*item)->version)) {
            *item = (*item)->next;
            continue;
        }
        if (torci_version_live(seen)) {
            if (*item != NULL && !range_before(range, record, (*item)->record))
                validation->spoiled = torci_record_key((*item)->record); /* It should have come first. */
            return false;
        }
        if (!still_absent(validation, seen))
            return false;
    }
    *more = batch->count > 0 && !batch->end;
    return true;
}

static bool
range_valid(struct validation *validation, struct torci_epoch_guard guard, const struct torci_range *range)
{
    struct torci_index *index;
    const struct torci_range_item *item = range->items;
    struct torc_slice start = range->descending ? range->to : range->from;
    struct torci_batch batch = {.mark = {NULL, NULL, 0}};
    bool more = true;

    if (!range->complete && range->last.size == 0)
        return true; /* Nothing has been shown. */
    validation->spoiled = range->from;
    if (!torci_keyspace_usable(range->keyspace))
        return false;
    index = range->keyspace->index;
    /* What was shown, and one behind it. */
    batch.wanted = range->count < TORCI_BATCH_MAX ? (unsigned)range->count + 1 : TORCI_BATCH_MAX;
    torci_index_seek_on(index, guard, start, !range->descending, range->descending, &batch);
    for (;;) {
        if (!batch_valid(validation, range, &batch, &item, &more))
            return false;
        if (!more) {
            if (item != NULL)
                validation->spoiled = torci_record_key(item->record);
            return item == NULL;
        }
        torci_index_next(index, guard, range->descending, &batch);
    }
}

static bool
valid(struct validation *validation)
{
    const struct torci_read_set *set = validation->descriptor->reads;
    struct torci_epoch_guard guard = torci_epoch_enter();
    bool holds = true;

    for (const struct torci_read *read = set->reads; holds && read != NULL; read = read->next)
        holds = read_valid(validation, guard, read);
    for (const struct torci_range *range = set->ranges; holds && range != NULL; range = range->next)
        holds = range_valid(validation, guard, range);
    torci_epoch_exit(guard);
    return holds;
}

bool
torci_read_set_valid(struct torci_descriptor *descriptor, uint64_t stamp)
{
    struct validation validation = {descriptor, stamp, true, {NULL, 0}};

    return valid(&validation);
}

void
torci_read_set_blame(struct torci_descriptor *descriptor)
{
    struct validation validation = {descriptor, TORCI_COMMIT_STAMP_MAX, false, {NULL, 0}};

    if (!valid(&validation))
        torci_conflict_note(validation.spoiled);
}

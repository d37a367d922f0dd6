/* SPDX-License-Identifier: MIT */
/* mvcc/reclaim: pruning, the garbage queues, leaving records. Invariants and ordering: reclaim.h. */
#include "mvcc/reclaim.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/status.h"
#include "mvcc/snapshot.h"
#include "mvcc/watch.h"

enum {
    CHAIN_LONG = 8,     /* Versions left after pruning that make a fresh look at the snapshots worth its price, */
    SLOTS_FEW = 256,    /* if there are not more slots to look at than so many. */
    SLOTS_PER_COMMIT = 4,
    RETIRE_ROOM = 4,    /* Retires of one pruning step. */
    RECORD_ALLOWANCE = 128, /* What a new key costs beside its value, about. */
    ADMIT_BUDGET = 64,  /* Queue entries looked at before a write is refused for want of memory. */
};

/* ---- Shards ---- */

static size_t
record_bytes(const struct torci_record *record)
{
    return sizeof *record + record->key_size;
}

/* Free a version and all below it, which nobody else can reach. By any thread. */
static void
free_chain(struct torci_shard *shard, struct torci_version *version)
{
    while (version != NULL) {
        /* Relaxed: unreachable for everybody else since a grace period ended. */
        struct torci_version *older = torci_load(&version->older, memory_order_relaxed);

        torci_object_free(&shard->store->objects, version, torci_version_bytes(version->size));
        torci_count_shared(&shard->counters.versions_freed, 1);
        version = older;
    }
}

/* The limbo's: an object is past its grace period. By any thread. */
static void
free_retired(void *context, void *object, size_t size, unsigned kind)
{
    struct torci_shard *shard = context;

    if (kind == TORCI_RETIRED_CHAIN) {
        free_chain(shard, object);
        return;
    }
    if (kind == TORCI_RETIRED_ARENA) {
        torci_arena_destroy(object);
        return;
    }
    if (kind == TORCI_RETIRED_WATCH) {
        torci_watch_free(object);
        return;
    }
    if (kind == TORCI_RETIRED_VERSION)
        torci_count_shared(&shard->counters.versions_freed, 1);
    if (kind == TORCI_RETIRED_VERSION || kind == TORCI_RETIRED_RECORD || kind == TORCI_RETIRED_NODE)
        torci_object_free(&shard->store->objects, object, size);
    else
        torci_free(&shard->store->heap, object, size);
}

static struct torci_shard *
create_shard(struct torc_mvcc *store)
{
    struct torci_shard *shard = torci_alloc_line_zeroed(&store->heap, sizeof *shard);

    if (shard == NULL)
        return NULL;
    shard->store = store;
    torci_slab_init(&shard->slab, &store->objects);
    shard->limbo = torci_limbo_create(&store->heap, store->reclaimer, free_retired, shard);
    if (shard->limbo == NULL) {
        torci_free_line(&store->heap, shard, sizeof *shard);
        return NULL;
    }
    torci_limbo_set_slab(shard->limbo, &shard->slab);
    return shard;
}

/* The block of `index`, made if `make`; NULL: none. */
static struct torci_shard_block *
block_at(struct torc_mvcc *store, uint32_t index, bool make)
{
    _Atomic(struct torci_shard_block *) *place = &store->blocks[index / TORCI_SHARD_BLOCK];
    struct torci_shard_block *block = torci_load(place, memory_order_acquire); /* A4 */
    struct torci_shard_block *fresh;

    torc_assert(index / TORCI_SHARD_BLOCK < TORCI_SHARD_BLOCK);
    if (block != NULL || !make)
        return block;
    fresh = torci_alloc_zeroed(&store->heap, sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    /* R4: the empty block. Acquire on failure (A4): another thread's block stands there. */
    if (torci_cas(place, &block, fresh, memory_order_release, memory_order_acquire))
        return fresh;
    torci_free(&store->heap, fresh, sizeof *fresh);
    return block;
}

struct torci_shard *
torci_shard_at(struct torc_mvcc *store, uint32_t index)
{
    struct torci_shard_block *block = block_at(store, index, false);

    return block == NULL ? NULL : torci_load(&block->shards[index % TORCI_SHARD_BLOCK], memory_order_acquire); /* A5 */
}

struct torci_shard *
torci_shard_own(struct torc_mvcc *store)
{
    uint32_t index = torci_self()->index;
    struct torci_shard_block *block = block_at(store, index, true);
    struct torci_shard *shard;

    if (block == NULL)
        return NULL;
    /* Relaxed: only an owner of the index stores here, and the index itself is handed on by release and acquire. */
    shard = torci_load(&block->shards[index % TORCI_SHARD_BLOCK], memory_order_relaxed);
    if (shard != NULL)
        return shard;
    shard = create_shard(store);
    if (shard != NULL)
        torci_store(&block->shards[index % TORCI_SHARD_BLOCK], shard, memory_order_release); /* R5: the whole shard */
    return shard;
}

enum torc_status
torci_shard_obtain(struct torc_mvcc *store, struct torci_shard **shard)
{
    *shard = torci_shard_own(store);
    return *shard != NULL ? TORC_OK : torci_fail(TORC_NO_MEMORY, "no memory for this thread's part of the store");
}

void
torci_shard_destroy(struct torci_shard *shard)
{
    struct torci_heap *heap = &shard->store->heap;

    while (shard->queue_head != NULL) {
        struct torci_garbage_block *next = shard->queue_head->next;

        for (unsigned i = shard->queue_head->first; i < shard->queue_head->end; i++) {
            struct torci_record *record = shard->queue_head->entries[i].record;
            /* Relaxed: exclusive. */
            uint32_t before = torci_fetch_and(&record->flags, ~(uint32_t)TORCI_RECORD_QUEUED, memory_order_relaxed);

            /* Out of the index already, so nobody else will free it (I4). */
            if ((before & TORCI_RECORD_REMOVED) && (before & TORCI_RECORD_HELD) == TORCI_RECORD_QUEUED)
                torci_object_free(&shard->store->objects, record, record_bytes(record));
        }
        torci_free(heap, shard->queue_head, sizeof *shard->queue_head);
        shard->queue_head = next;
    }
    torci_limbo_destroy(shard->limbo);
    torci_slab_fini(&shard->slab);
    torci_free_line(heap, shard, sizeof *shard);
}

/* ---- The queue: first in, first out, of the shard's owner ---- */

static bool
queue_push(struct torci_shard *shard, struct torci_record *record, uint64_t stamp)
{
    struct torci_garbage_block *tail = shard->queue_tail;

    if (tail == NULL || tail->end == TORCI_GARBAGE_BLOCK) {
        struct torci_garbage_block *fresh = torci_alloc(&shard->store->heap, sizeof *fresh);

        if (fresh == NULL)
            return false;
        fresh->next = NULL;
        fresh->first = 0;
        fresh->end = 0;
        if (tail == NULL)
            shard->queue_head = fresh;
        else
            tail->next = fresh;
        shard->queue_tail = fresh;
        tail = fresh;
    }
    tail->entries[tail->end].record = record;
    tail->entries[tail->end].stamp = stamp;
    tail->end++;
    shard->queue_count++;
    return true;
}

/* The oldest entry, or NULL. */
static struct torci_garbage *
queue_front(const struct torci_shard *shard)
{
    struct torci_garbage_block *head = shard->queue_head;

    return head == NULL || head->first == head->end ? NULL : &head->entries[head->first];
}

static void
queue_pop(struct torci_shard *shard)
{
    struct torci_garbage_block *head = shard->queue_head;

    torc_assert(head != NULL && head->first < head->end);
    head->first++;
    shard->queue_count--;
    if (head->first < head->end)
        return;
    if (head->next == NULL && head->end < TORCI_GARBAGE_BLOCK)
        return;
    shard->queue_head = head->next;
    if (head->next == NULL)
        shard->queue_tail = NULL;
    torci_free(&shard->store->heap, head, sizeof *head);
}

static void
retire_record(struct torci_shard *shard, struct torci_record *record)
{
    torci_limbo_add(shard->limbo, record, record_bytes(record), TORCI_RETIRED_RECORD);
}

bool
torci_reclaim_release(struct torci_shard *shard, struct torci_record *record, uint32_t hold)
{
    uint32_t before = torci_fetch_sub(&record->flags, hold, memory_order_seq_cst); /* R3 A3 */

    torc_assert(hold == TORCI_RECORD_QUEUED || hold == TORCI_RECORD_TIMED);
    torc_assert(hold == TORCI_RECORD_QUEUED ? (before & TORCI_RECORD_QUEUED) != 0 : before >= TORCI_RECORD_TIMED);
    if ((before & TORCI_RECORD_REMOVED) == 0)
        return false;
    if ((before & TORCI_RECORD_HELD) == hold)
        retire_record(shard, record);
    return true;
}

/* REMOVED was set on these flags. Whether that is the end of the record; else who holds it ends it. */
static bool
nobody_holds(struct torci_shard *shard, uint32_t before)
{
    torc_assert((before & TORCI_RECORD_REMOVED) == 0);
    /* Its entries in the timing wheel may be due in years: this thread owes a look for such ones, twice as many. */
    shard->expiry_debt += 2 * (before / TORCI_RECORD_TIMED);
    return (before & TORCI_RECORD_HELD) == 0;
}

/* Note `record` in the queue unless it stands in one or has left. Needs one retire's room. */
static void
note(struct torci_shard *shard, struct torci_record *record, uint64_t stamp)
{
    uint32_t flags = torci_load(&record->flags, memory_order_seq_cst); /* A3 */

    do {
        /* REMOVED: nobody may hold it any more. QUEUED: process() looks at the head after it has cleared it, in S. */
        if (flags & (TORCI_RECORD_QUEUED | TORCI_RECORD_REMOVED))
            return;
        torci_race_window();
        /* R3 A3. Failure: somebody else changed the flags, each of a few times. */
    } while (!torci_cas(&record->flags, &flags, flags | TORCI_RECORD_QUEUED, memory_order_seq_cst,
                        memory_order_seq_cst));
    if (!queue_push(shard, record, stamp))
        /* No memory for the note: the next write to this key, or a walk, finds it. */
        (void)torci_reclaim_release(shard, record, TORCI_RECORD_QUEUED);
}

/* ---- Pruning one chain ---- */

/* What a pruned record still needs. */
enum remains {
    CLEAN,   /* One live version. */
    LATER,   /* Garbage that some snapshot, or an undecided commit, still holds. */
    GONE,    /* The record has been frozen and taken out, or is being. */
};

static bool
room(struct torci_shard *shard, size_t retires)
{
    return torci_limbo_room(shard->limbo) >= retires || torci_limbo_reserve(shard->limbo, retires) == TORC_OK;
}

static void
retire_version(struct torci_shard *shard, struct torci_version *version)
{
    torci_limbo_add(shard->limbo, version, torci_version_bytes(version->size), TORCI_RETIRED_VERSION);
}

static void
retire_chain(struct torci_shard *shard, struct torci_version *first)
{
    size_t bytes = 0;

    /* Relaxed, here and below: under PRUNING nobody else changes these links. One version, the common case, is freed
     * by what is noted here: as a chain it would have to be looked at once more, when it is cold. */
    if (torci_load(&first->older, memory_order_relaxed) == NULL) {
        retire_version(shard, first);
        return;
    }
    for (struct torci_version *version = first; version != NULL;
         version = torci_load(&version->older, memory_order_relaxed))
        bytes += torci_version_bytes(version->size);
    torci_limbo_add(shard->limbo, first, bytes, TORCI_RETIRED_CHAIN);
}

/* By version.h I1 everything below the head is committed. */
static uint64_t
committed_stamp(struct torci_version *version, struct torci_clock *clock)
{
    struct torci_verdict verdict = torci_version_verdict(version, clock);

    torc_assert(verdict.fate == TORCI_FATE_COMMITTED);
    return verdict.stamp;
}

/* Cut and splice below `newest`, which is committed. Returns how many versions are left below it. PRUNING is ours. */
static unsigned
prune_below(struct torci_shard *shard, struct torci_version *newest, uint64_t stamp)
{
    struct torci_clock *clock = &shard->store->clock;
    struct torci_version *version;
    unsigned left = 0;

    /* Relaxed here and below: only the holder of PRUNING, who took it by acquire, changes these links. */
    while ((version = torci_load(&newest->older, memory_order_relaxed)) != NULL) {
        uint64_t version_stamp = committed_stamp(version, clock);

        if (!room(shard, RETIRE_ROOM))
            return left + 1;
        if (stamp <= shard->view.watermark) {
            torci_store(&newest->older, NULL, memory_order_release); /* R1, version.h R4 */
            retire_chain(shard, version);
            return left;
        }
        if (torci_view_dead(&shard->view, version_stamp, stamp)) {
            /* R1, version.h R4 */
            torci_store(&newest->older, torci_load(&version->older, memory_order_relaxed), memory_order_release);
            retire_version(shard, version);
            continue;
        }
        newest = version;
        stamp = version_stamp;
        left++;
    }
    return left;
}

/* Freeze a head that holds nothing any snapshot needs, and take the record out. */
static enum remains
leave(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record,
      struct torci_version *head)
{
    if (!room(shard, TORCI_INDEX_RETIRES_MAX + RETIRE_ROOM))
        return LATER;
    torci_race_window();
    /* R2. Failure: somebody is installing a version, which is progress; the record stays. */
    if (!torci_cas(&record->head, &head, torci_frozen(), memory_order_seq_cst, memory_order_relaxed))
        return LATER;
    if (head != NULL)
        retire_version(shard, head);
    /* For want of memory it may stay in the index, frozen and harmless: whoever meets it there goes on. */
    if (torci_reclaim_frozen(shard, guard, record) == TORC_NO_MEMORY)
        shard->commits_until_view = 1;
    return GONE;
}

/* Take an aborted head off the chain. Returns the head to go on with. */
static struct torci_version *
unlink_aborted(struct torci_shard *shard, struct torci_record *record, struct torci_version *head)
{
    struct torci_version *below = torci_load(&head->older, memory_order_acquire); /* version.h A4 */

    if (!room(shard, RETIRE_ROOM))
        return head;
    /* version.h R1: `below` was reachable before. Failure: its owner, or an installer, took it off. */
    if (!torci_cas(&record->head, &head, below, memory_order_seq_cst, memory_order_seq_cst))
        return head;
    retire_version(shard, head);
    return below;
}

/* PRUNING is ours. */
static enum remains
prune_locked(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record, unsigned *left)
{
    struct torci_clock *clock = &shard->store->clock;
    struct torci_version *head = torci_load(&record->head, memory_order_seq_cst); /* version.h A1 */
    struct torci_verdict verdict;

    *left = 0;
    if (head == torci_frozen())
        return GONE;
    if (head == NULL)
        return leave(shard, guard, record, NULL);
    verdict = torci_version_verdict(head, clock);
    if (verdict.fate == TORCI_FATE_ABORTED) {
        unlink_aborted(shard, record, head);
        return LATER;
    }
    if (verdict.fate != TORCI_FATE_COMMITTED) {
        struct torci_version *newest = torci_load(&head->older, memory_order_acquire); /* version.h A4 */

        if (newest != NULL)
            *left = prune_below(shard, newest, committed_stamp(newest, clock));
        return LATER;
    }
    *left = prune_below(shard, head, verdict.stamp);
    if (*left > 0)
        return LATER;
    if (torci_version_live(head))
        return CLEAN;
    return verdict.stamp <= shard->view.watermark ? leave(shard, guard, record, head) : LATER;
}

/* Prune if nobody else is at it. */
static enum remains
prune(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record)
{
    enum remains remains;
    unsigned left;

    /* Acquire: pairs with the release below, so that the links are as the last holder left them. R3 A3 */
    if (torci_fetch_or(&record->flags, TORCI_RECORD_PRUNING, memory_order_acquire) & TORCI_RECORD_PRUNING)
        return LATER;
    remains = prune_locked(shard, guard, record, &left);
    torci_fetch_and(&record->flags, ~(uint32_t)TORCI_RECORD_PRUNING, memory_order_release); /* R3 */
    if (left > CHAIN_LONG + 2 * shard->view.count && shard->commits_until_view > 1 &&
        shard->view.walked <= SLOTS_FEW && shard->store->options.history_ns == 0)
        shard->commits_until_view = 1;
    return remains;
}

/* Whether there is anything to do for a record whose QUEUED bit was just dropped. */
static bool
has_garbage(struct torci_record *record)
{
    struct torci_version *head = torci_load(&record->head, memory_order_seq_cst); /* version.h A1 */

    if (head == torci_frozen())
        return false;
    return head == NULL || !torci_version_live(head) ||
           torci_load(&head->older, memory_order_relaxed) != NULL; /* Relaxed: a hint. */
}

/* Prune the record of an entry that was popped, and pass on or drop its QUEUED bit. */
static enum remains
process(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record)
{
    bool usable = torci_keyspace_usable(torci_keyspace_of(shard->store, record));
    enum remains remains = usable ? prune(shard, guard, record) : GONE; /* I5 */

    if (remains == LATER && queue_push(shard, record, torci_clock_now(&shard->store->clock)))
        return remains;
    if (torci_reclaim_release(shard, record, TORCI_RECORD_QUEUED) || !usable)
        return remains;
    /* A commit that found QUEUED set left its garbage to us; its install is before its look at the bit, in S. */
    if (remains == CLEAN && has_garbage(record))
        note(shard, record, torci_clock_now(&shard->store->clock));
    return remains;
}

/* Pop the oldest entry and process it; false: it is not its time yet, or there is none, or no memory. */
static bool
process_front(struct torci_shard *shard, enum remains *remains)
{
    struct torci_garbage *front = queue_front(shard);
    struct torci_record *record;
    struct torci_epoch_guard guard;

    if (front == NULL || front->stamp > shard->view.watermark || !room(shard, TORCI_INDEX_RETIRES_MAX + RETIRE_ROOM))
        return false;
    record = front->record;
    queue_pop(shard);
    guard = torci_epoch_enter();
    *remains = process(shard, guard, record);
    torci_epoch_exit(guard);
    return true;
}

/* Whether more is retired, by all threads together, than may be. */
static bool
is_retired_over(struct torc_mvcc *store)
{
    uint32_t bound = torci_thread_index_bound();
    uint64_t bytes = torci_load(&store->chunks_retired, memory_order_relaxed); /* A figure. */

    if (store->options.retired_limit_bytes == 0)
        return false;
    for (uint32_t index = 0; index < bound; index++) {
        struct torci_shard *shard = torci_shard_at(store, index);

        bytes += shard == NULL ? 0 : torci_limbo_bytes(shard->limbo);
    }
    return bytes > store->options.retired_limit_bytes;
}

static void
refresh_view(struct torci_shard *shard)
{
    torci_view_refresh(&shard->view, shard->store);
    /* A look takes longer the more transactions were ever open at once: each commit pays for a few slots, not more. */
    shard->commits_until_view = TORCI_VIEW_COMMITS;
    if (shard->view.walked / SLOTS_PER_COMMIT > TORCI_VIEW_COMMITS)
        shard->commits_until_view = shard->view.walked / SLOTS_PER_COMMIT;
    if (shard->views_until_sum > 0 && !shard->retired_over) {
        shard->views_until_sum--;
        return;
    }
    shard->views_until_sum = TORCI_VIEWS_RETIRED - 1;
    shard->retired_over = is_retired_over(shard->store);
}

/* ---- Interface ---- */

void
torci_reclaim_touch(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record,
                    uint64_t stamp)
{
    if (!room(shard, RETIRE_ROOM))
        return;
    /* With a history the chain may be long, and nothing in it is old enough: one walk when the watermark has come. */
    if (shard->store->options.history_ns > 0 || prune(shard, guard, record) == LATER)
        note(shard, record, stamp);
}

enum torc_status
torci_reclaim_frozen(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record)
{
    enum torc_status status = TORC_OK;

    if (!room(shard, TORCI_INDEX_RETIRES_MAX + RETIRE_ROOM))
        return TORC_NO_MEMORY;
    if (torci_index_remove(torci_keyspace_of(shard->store, record)->index, guard, shard->limbo, record, &status)) {
        uint32_t before = torci_fetch_or(&record->flags, TORCI_RECORD_REMOVED, memory_order_seq_cst); /* R3 A3 */

        if (nobody_holds(shard, before))
            retire_record(shard, record);
        return TORC_OK;
    }
    return status;
}

void
torci_reclaim_take_down(struct torci_shard *shard, struct torci_record *record)
{
    /* Relaxed: nobody else looks at it. Seen by who ends a hold, through the flags (R3). */
    struct torci_version *version = torci_load(&record->head, memory_order_relaxed);

    torci_store(&record->head, torci_frozen(), memory_order_relaxed);
    if (version != NULL && version != torci_frozen())
        free_chain(shard, version);
    if (nobody_holds(shard, torci_fetch_or(&record->flags, TORCI_RECORD_REMOVED, memory_order_seq_cst))) /* R3 A3 */
        torci_object_free(&shard->store->objects, record, record_bytes(record));
}

bool
torci_reclaim_due(const struct torci_shard *shard)
{
    const struct torci_garbage *front = queue_front(shard);

    return front != NULL && front->stamp <= shard->view.watermark;
}

bool
torci_reclaim_step(struct torci_shard *shard, size_t budget)
{
    bool looked = shard->commits_until_view <= 1;
    enum remains remains;

    if (looked) {
        refresh_view(shard);
        torci_limbo_drain(shard->limbo);
    } else {
        shard->commits_until_view--;
    }
    while (budget-- > 0 && process_front(shard, &remains))
        continue;
    torci_limbo_settle(shard->limbo);
    return looked;
}

bool
torci_reclaim_sweep(struct torci_shard *shard)
{
    bool achieved = torci_limbo_bytes(shard->limbo) > 0;
    size_t budget = shard->queue_count;

    refresh_view(shard);
    while (budget-- > 0) {
        enum remains remains;

        if (!process_front(shard, &remains))
            break;
        achieved |= remains != LATER;
    }
    torci_limbo_flush(shard->limbo);
    return achieved;
}

size_t
torci_reclaim_relieve(struct torc_mvcc *store)
{
    uint32_t bound = torci_thread_index_bound();
    size_t freed = 0;

    for (uint32_t index = 0; index < bound; index++) {
        struct torci_shard *shard = torci_shard_at(store, index);

        freed += shard == NULL ? 0 : torci_limbo_relieve(shard->limbo);
    }
    return freed;
}

/* Whether a version of so many bytes, and its record, may be made: below the limit, or in place of others. */
static bool
fits(const struct torci_shard *shard, size_t bytes)
{
    return !torci_heap_full(&shard->store->heap, bytes + RECORD_ALLOWANCE) ||
           torci_object_has_room(&shard->slab, bytes);
}

enum torc_status
torci_reclaim_admit(struct torci_shard *shard, size_t value_size)
{
    size_t bytes = torci_version_bytes((uint32_t)value_size);

    if (!shard->retired_over && fits(shard, bytes))
        return TORC_OK;
    /* Give back what can be given back before refusing. */
    torci_limbo_flush(shard->limbo);
    torci_reclaim_relieve(shard->store);
    shard->commits_until_view = 0;
    torci_reclaim_step(shard, ADMIT_BUDGET);
    if (!fits(shard, bytes))
        torci_slab_trim(&shard->store->objects);
    if (!fits(shard, bytes))
        return torci_fail(TORC_BUSY, "memory_limit_bytes is reached");
    if (shard->retired_over)
        return torci_fail(TORC_BUSY, shard->store->reclaimer != NULL
                                         ? "retired_limit_bytes is reached: call torc_mvcc_poll()"
                                         : "retired_limit_bytes is reached: memory waits for its grace period");
    return TORC_OK;
}

enum torc_status
torci_walk(struct torc_keyspace *keyspace, torci_visit_fn *visit, void *context)
{
    struct torc_mvcc *store = keyspace->store;
    /* One leaf per section; the last key of a leaf is kept as a copy to go on from. */
    unsigned char *position = torci_alloc(&store->heap, TORC_KEY_SIZE_MAX);
    size_t position_size = 0;
    struct torci_batch batch;
    bool more = true;

    if (position == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to walk the store");
    while (more) {
        struct torci_epoch_guard guard = torci_epoch_enter();

        if (!torci_keyspace_usable(keyspace)) {
            torci_epoch_exit(guard);
            break;
        }
        torci_index_seek(keyspace->index, guard, torc_slice(position, position_size), false, false, &batch);
        if (batch.count > 0) {
            struct torci_record *last = batch.records[batch.count - 1];

            memcpy(position, last->key, last->key_size);
            position_size = last->key_size;
        }
        more = batch.count > 0 && !batch.end;
        for (unsigned i = 0; i < batch.count; i++)
            visit(context, guard, batch.records[i]);
        torci_epoch_exit(guard);
    }
    torci_free(&store->heap, position, TORC_KEY_SIZE_MAX);
    return TORC_OK;
}

void
torci_reclaim_visit(void *context, struct torci_epoch_guard guard, struct torci_record *record)
{
    struct torci_shard *shard = context;

    if (!room(shard, TORCI_INDEX_RETIRES_MAX + 2 * RETIRE_ROOM))
        return;
    if (torci_load(&record->head, memory_order_seq_cst) == torci_frozen()) /* version.h A1 */
        (void)(torci_reclaim_frozen(shard, guard, record) == TORC_OK); /* No memory: it stays, as it was. */
    else if (has_garbage(record))
        (void)prune(shard, guard, record);
}

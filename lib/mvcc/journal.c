/* SPDX-License-Identifier: MIT */
/* mvcc/journal: the threads' queues, flushing them, waiting for that. Invariants and ordering: journal.h. */
#include "mvcc/journal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/parking.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/reclaim.h"

enum {
#if defined(TORC_TINY)
    CHUNK_BYTES = 512,
#else
    CHUNK_BYTES = 64 * 1024,
#endif
    WAKE_ANY = 3,                   /* Both kinds of torci_journal_wait(). */
};

struct torci_redo_chunk {
    struct torci_retired retired;   /* While it waits for a grace period. */
    struct torci_shard *shard;      /* Whose it is. Immutable. */
    _Atomic(struct torci_redo_chunk *) next;
    _Atomic(uint32_t) published;    /* Bytes of `bytes` that flushers may look at. */
    uint32_t room;                  /* Of `bytes`. Immutable. */
    _Alignas(uint64_t) unsigned char bytes[];
};

/* ---- The owner's side ---- */

static size_t
chunk_bytes(size_t room)
{
    return sizeof(struct torci_redo_chunk) + room;
}

static void
free_chunk(struct torc_mvcc *store, struct torci_redo_chunk *chunk)
{
    if (chunk != NULL)
        torci_free(&store->heap, chunk, chunk_bytes(chunk->room));
}

/* An empty chunk for an entry of `room` bytes. NULL: no memory. */
static struct torci_redo_chunk *
make_chunk(struct torci_shard *shard, size_t room)
{
    struct torci_redo_chunk *chunk = NULL;

    if (room <= CHUNK_BYTES) {
        chunk = torci_exchange(&shard->redo.spare, NULL, memory_order_acq_rel); /* A6 */
        room = CHUNK_BYTES;
    }
    if (chunk == NULL) {
        chunk = torci_alloc(&shard->store->heap, chunk_bytes(room));
        if (chunk == NULL)
            return NULL;
        chunk->room = (uint32_t)room;
        chunk->shard = shard;
    }
    torci_init(&chunk->next, NULL);
    torci_init(&chunk->published, 0u);
    return chunk;
}

/* The shard's first chunk: from here on flushers look at its queue. */
static void
enter_queues(struct torci_shard *shard, struct torci_redo_chunk *chunk)
{
    struct torci_journal *journal = shard->store->journal;
    struct torci_shard *top = torci_load(&journal->queues, memory_order_relaxed); /* Relaxed: the CAS decides. */

    shard->redo.head = chunk;
    shard->redo.taken = 0;
    do {
        shard->redo.next_queue = top;
        torci_race_window();
        /* R3. Failure: another shard entered. */
    } while (!torci_cas(&journal->queues, &top, shard, memory_order_seq_cst, memory_order_relaxed));
}

/* I4: go over to `fresh`. */
static void
leave_chunk(struct torci_shard *shard, struct torci_redo_chunk *fresh)
{
    struct torci_redo_queue *queue = &shard->redo;

    torci_fetch_add(&shard->store->journal->waiting, queue->used, memory_order_relaxed); /* Relaxed: a sum. */
    torci_race_window();
    torci_store(&queue->tail->next, fresh, memory_order_seq_cst); /* R3 */
    queue->tail = fresh;
    queue->used = 0;
}

struct torci_redo *
torci_redo_begin(struct torci_shard *shard, struct torci_descriptor *descriptor, size_t size)
{
    struct torci_redo_queue *queue = &shard->redo;
    size_t room = (sizeof(struct torci_redo) + size + 7) & ~(size_t)7;
    struct torci_redo_chunk *chunk = queue->tail;
    struct torci_redo *redo;

    torc_assert(size <= TORCI_REDO_SIZE_MAX);
    if (chunk == NULL || chunk->room - queue->used < room) {
        struct torci_redo_chunk *fresh = make_chunk(shard, room);

        if (fresh == NULL)
            return NULL;
        if (chunk == NULL) {
            enter_queues(shard, fresh);
            queue->tail = fresh;
            queue->used = 0;
        } else {
            leave_chunk(shard, fresh);
        }
        chunk = fresh;
    }
    redo = (struct torci_redo *)(void *)(chunk->bytes + queue->used);
    torci_init(&redo->outcome, (uint64_t)0);
    redo->descriptor = descriptor != NULL ? descriptor : &redo->own;
    if (descriptor == NULL) {
        memset(&redo->own, 0, sizeof redo->own);
        torci_init(&redo->own.state, torci_state_word(TORCI_INSTALLING, 0));
        redo->own.single = true;
        redo->own.store = shard->store;
    }
    redo->size = (uint32_t)size;
    redo->room = (uint32_t)room;
    return redo;
}

void
torci_redo_publish(struct torci_shard *shard, struct torci_redo *redo)
{
    struct torci_redo_queue *queue = &shard->redo;

    torc_assert((unsigned char *)redo == queue->tail->bytes + queue->used);
    queue->used += redo->room;
    torci_race_window();
    torci_store(&queue->tail->published, queue->used, memory_order_seq_cst); /* R1 */
}

void
torci_redo_settle(struct torci_redo *redo, uint64_t outcome)
{
    torc_assert(outcome != 0);
    torci_store(&redo->outcome, outcome, memory_order_release); /* R2 */
}

void
torci_redo_leave_large(struct torci_shard *shard)
{
    struct torci_redo_queue *queue = &shard->redo;
    struct torci_redo_chunk *fresh;

    if (queue->tail == NULL || queue->tail->room == CHUNK_BYTES || queue->used == 0)
        return;
    fresh = make_chunk(shard, 0);
    if (fresh != NULL)
        leave_chunk(shard, fresh);
}

void
torci_redo_queue_fini(struct torci_shard *shard)
{
    /* Relaxed, all of it: exclusive. */
    struct torci_redo_chunk *chunk = shard->redo.tail == NULL ? NULL : shard->redo.head;

    while (chunk != NULL) {
        struct torci_redo_chunk *next = torci_load(&chunk->next, memory_order_relaxed);

        free_chunk(shard->store, chunk);
        chunk = next;
    }
    free_chunk(shard->store, torci_load(&shard->redo.spare, memory_order_relaxed));
}

enum torc_status
torci_journal_keyspace(struct torci_shard *shard, const struct torci_op *op, uint64_t *stamp)
{
    struct torci_redo *redo = torci_redo_begin(shard, NULL, torci_op_size(op));

    *stamp = 0;
    if (redo == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to journal a keyspace");
    (void)torci_op_put(redo->ops, op);
    torci_redo_publish(shard, redo);
    (void)torci_descriptor_begin(&redo->own);
    *stamp = torci_state_stamp(torci_descriptor_decide(&redo->own, &shard->store->clock));
    torci_redo_settle(redo, *stamp);
    return TORC_OK;
}

/* ---- Draining ---- */

/* The outcome of an entry by its descriptor, helped on if need be; 0 as below. In a section that was entered before the
 * outcome was seen open. */
static uint64_t
decide(struct torc_mvcc *store, struct torci_redo *redo)
{
    uint64_t word = torci_load(&redo->descriptor->state, memory_order_seq_cst); /* version.h A2 */

    if (torci_state_of(word) == TORCI_INSTALLING)
        return 0; /* I3 */
    word = torci_descriptor_decide(redo->descriptor, &store->clock);
    return torci_state_of(word) == TORCI_COMMITTED ? torci_state_stamp(word) : TORCI_REDO_VOID;
}

/* The stamp of an entry, TORCI_REDO_VOID, or 0: it is not decided, and if it ever commits, then after the cut. */
static uint64_t
outcome_of(struct torc_mvcc *store, struct torci_redo *redo)
{
    uint64_t outcome = torci_load(&redo->outcome, memory_order_acquire); /* A2 */
    struct torci_epoch_guard guard;

    if (outcome != 0)
        return outcome;
    guard = torci_epoch_enter();
    outcome = torci_load(&redo->outcome, memory_order_acquire); /* A2 */
    torci_race_window();
    if (outcome == 0)
        outcome = decide(store, redo);
    torci_epoch_exit(guard);
    return outcome;
}

/* A grace period is over. By any thread. */
static void
reuse_chunk(struct torci_retired *retired)
{
    struct torci_redo_chunk *chunk = (struct torci_redo_chunk *)(void *)retired; /* Its first member. */
    struct torci_shard *shard = chunk->shard;

    torci_fetch_sub(&shard->store->chunks_retired, chunk_bytes(chunk->room), memory_order_relaxed); /* A figure. */
    if (chunk->room == CHUNK_BYTES)
        chunk = torci_exchange(&shard->redo.spare, chunk, memory_order_acq_rel); /* R6 A6 */
    free_chunk(shard->store, chunk);
}

/* A chunk whose owner has left it, and that is drained. */
static void
let_go(struct torci_journal *journal, struct torci_redo_chunk *chunk, uint32_t bytes)
{
    torci_fetch_sub(&journal->waiting, bytes, memory_order_relaxed); /* Relaxed: a sum. */
    torci_count_shared(&journal->store->chunks_retired, chunk_bytes(chunk->room));
    torci_reclaimer_retire(journal->store->reclaimer, &chunk->retired, chunk_bytes(chunk->room), reuse_chunk); /* I4 */
}

/* Write one committed entry out. */
static enum torc_status
take_entry(struct torci_journal *journal, const struct torci_redo *redo, uint64_t stamp)
{
    unsigned char prefix[TORCI_RECORD_PREFIX];
    enum torc_status status;

    torci_record_prefix_put(prefix, redo->size, stamp);
    status = torci_segment_append(&journal->writer, prefix, sizeof prefix);
    if (status == TORC_OK)
        status = torci_segment_append(&journal->writer, redo->ops, redo->size);
    return status;
}

/* What one flush has found. */
struct drain {
    struct torci_journal *journal;
    uint64_t cut;
    uint64_t commits;
    uint64_t bytes;
};

/* Take the entries of the head chunk; *end: there are no more up to the cut. */
static enum torc_status
drain_chunk(struct drain *drain, struct torci_shard *shard, bool *end)
{
    struct torci_redo_queue *queue = &shard->redo;
    struct torci_redo_chunk *chunk = queue->head;
    struct torci_redo_chunk *next = torci_load(&chunk->next, memory_order_seq_cst);      /* A3 */
    uint32_t published = torci_load(&chunk->published, memory_order_seq_cst);            /* A1: after A3, all of it */
    enum torc_status status = TORC_OK;

    *end = next == NULL;
    while (queue->taken < published) {
        struct torci_redo *redo = (struct torci_redo *)(void *)(chunk->bytes + queue->taken);
        uint64_t outcome = outcome_of(drain->journal->store, redo);

        if (outcome == 0 || (outcome != TORCI_REDO_VOID && outcome > drain->cut)) {
            *end = true;
            return TORC_OK;
        }
        if (outcome != TORCI_REDO_VOID) {
            status = take_entry(drain->journal, redo, outcome);
            if (status != TORC_OK)
                return status;
            drain->commits++;
            drain->bytes += TORCI_RECORD_PREFIX + redo->size;
        }
        queue->taken += redo->room;
    }
    if (next == NULL)
        return TORC_OK;
    queue->head = next;
    queue->taken = 0;
    let_go(drain->journal, chunk, published);
    return TORC_OK;
}

static enum torc_status
drain_queue(struct drain *drain, struct torci_shard *shard)
{
    enum torc_status status = TORC_OK;
    bool end = false;

    while (!end && status == TORC_OK)
        status = drain_chunk(drain, shard, &end);
    return status;
}

static enum torc_status
drain_all(struct drain *drain)
{
    struct torci_shard *shard = torci_load(&drain->journal->queues, memory_order_seq_cst); /* A3 */
    enum torc_status status = TORC_OK;

    for (; shard != NULL && status == TORC_OK; shard = shard->redo.next_queue)
        status = drain_queue(drain, shard);
    return status;
}

/* ---- Flushing ---- */

/* What others learn of a flush that is over. */
static void
tell(struct torci_journal *journal)
{
    /* Who makes it later looks at durable afterwards. */
    int event = torci_load(&journal->event, memory_order_acquire);                      /* A8 */
    uint64_t one = 1;
    ssize_t written = event < 0 ? (ssize_t)sizeof one : write(event, &one, sizeof one);

    /* It fails only if the counter is full: then it is readable. */
    torc_assert(written == (ssize_t)sizeof one || errno == EAGAIN);
    (void)written;
}

static void
count_flush(struct torci_journal *journal, const struct drain *drain, uint64_t began_ns)
{
    torci_count(&journal->flush_count, 1);
    torci_count(&journal->flushed_commits, drain->commits);
    torci_count(&journal->flushed_bytes, drain->bytes);
    torci_count(&journal->flush_ns, torci_now_ns() - began_ns);
    torci_count_shared(&journal->bytes_since_checkpoint, drain->bytes);
}

static void
fail(struct torci_journal *journal, enum torc_status status)
{
    if (status == TORC_NOT_FOUND || status == TORC_EXISTS) /* Of a file: the directory is not what it was. */
        status = TORC_IO;
    torci_store(&journal->failed, (uint32_t)status, memory_order_release); /* R7 */
}

/* With `flushing` taken. */
static enum torc_status
flush(struct torci_journal *journal)
{
    struct drain drain = {journal, 0, 0, 0};
    uint64_t began_ns = torci_now_ns();
    enum torc_status status = torci_journal_failed(journal);

    if (status != TORC_OK)
        return status;
    /* Who asks for a flush from here on asks for the next one. */
    torci_store(&journal->wanted, 0u, memory_order_seq_cst);
    drain.cut = journal->cut_begin(journal->store);
    torci_store(&journal->cutting, drain.cut, memory_order_seq_cst);
    status = drain_all(&drain);
    if (status == TORC_OK && drain.commits > 0)
        status = torci_segment_cut(&journal->writer, drain.cut);
    if (status == TORC_OK) {
        torci_store(&journal->durable, drain.cut, memory_order_seq_cst); /* R4 */
        if (drain.commits > 0)
            count_flush(journal, &drain, began_ns);
    } else {
        fail(journal, status);
    }
    journal->cut_end(journal->store, status == TORC_OK);
    if (drain.commits > 0 || status != TORC_OK)
        tell(journal);
    return status;
}

/* Which of two kinds of sleepers a flush, by its number, has served. The others need the next one. */
static uint32_t
kind_of(uint32_t flush_number)
{
    return 1u << (flush_number & 1);
}

void
torci_journal_unlock(struct torci_journal *journal)
{
    uint32_t number;

    torci_store(&journal->flushing, 0u, memory_order_release); /* R5 */
    torci_race_window();
    /* The next one may have ended its flush before: each moves it on by one, so that it never goes back, and none is
     * lost. Who sleeps counts on that. */
    number = torci_fetch_add(&journal->flushes, 1u, memory_order_seq_cst) + 1;
    torci_unpark(&journal->flushes, TORCI_UNPARK_ALL, kind_of(number));
    torci_unpark(&journal->flushes, 1, kind_of(number + 1)); /* That one leads the next. */
}

enum torc_status
torci_journal_flush(struct torci_journal *journal, bool *led)
{
    enum torc_status status;

    *led = torci_exchange(&journal->flushing, 1u, memory_order_acq_rel) == 0; /* A5 */
    if (!*led)
        return TORC_OK;
    status = flush(journal);
    torci_journal_unlock(journal);
    return status;
}

void
torci_journal_lock(struct torci_journal *journal)
{
    for (;;) {
        uint32_t seen = torci_load(&journal->flushes, memory_order_seq_cst);

        if (torci_exchange(&journal->flushing, 1u, memory_order_acq_rel) == 0) /* A5 */
            return;
        torci_park(&journal->flushes, seen, WAKE_ANY, 0);
    }
}

enum torc_status
torci_journal_restart(struct torci_journal *journal)
{
    /* An attempt before may have come so far, and no further. */
    return journal->writer.failed == TORC_OK ? TORC_OK : torci_segment_writer_restart(&journal->writer);
}

void
torci_journal_mended(struct torci_journal *journal, uint64_t stamp)
{
    torc_assert(torci_journal_durable(journal) <= stamp);
    torci_store(&journal->durable, stamp, memory_order_seq_cst); /* R4 */
    torci_store(&journal->failed, (uint32_t)TORC_OK, memory_order_release); /* R7 */
    tell(journal);
}

enum torc_status
torci_journal_rotate(struct torci_journal *journal)
{
    /* It fails if the writer has: not after torci_journal_restart(), though the journal still counts as failed. */
    enum torc_status status = torci_segment_rotate(&journal->writer);

    /* Unless there only was no room for another segment: then this one goes on. */
    if (journal->writer.failed != TORC_OK)
        fail(journal, journal->writer.failed);
    return status;
}

void
torci_journal_prepare(struct torci_journal *journal)
{
    if (torci_exchange(&journal->flushing, 1u, memory_order_acq_rel) != 0) /* A5 */
        return;
    if (torci_journal_failed(journal) == TORC_OK)
        torci_segment_prepare(&journal->writer);
    torci_journal_unlock(journal);
}

/* ---- Waiting ---- */

static enum torc_status
indeterminate(enum torc_status failed)
{
    return torci_fail(TORC_INDETERMINATE, "the journal has failed (%s): whether the commit survives is not known",
                      torc_status_name(failed));
}

enum torc_status
torci_journal_wait(struct torci_journal *journal, uint64_t stamp)
{
    for (;;) {
        uint32_t seen = torci_load(&journal->flushes, memory_order_seq_cst);
        enum torc_status failed = torci_journal_failed(journal);
        uint32_t served_by;
        bool led;

        /* After `failed`: once that is set, durable stays as it is (I6). */
        if (torci_load(&journal->durable, memory_order_seq_cst) >= stamp) /* A4 */
            return TORC_OK;
        if (failed != TORC_OK)
            return indeterminate(failed);
        (void)(torci_journal_flush(journal, &led) == TORC_OK); /* The next look tells. */
        if (led)
            continue;
        served_by = seen + (torci_load(&journal->cutting, memory_order_seq_cst) >= stamp ? 1 : 2);
        torci_park(&journal->flushes, seen, kind_of(served_by), 0);
        /* Woken to lead, but served already, or there is nothing to lead any more: then somebody else has to go on. */
        if (served_by == seen + 2 && torci_load(&journal->flushes, memory_order_seq_cst) == seen + 1 &&
            (torci_load(&journal->durable, memory_order_seq_cst) >= stamp || torci_journal_failed(journal) != TORC_OK))
            torci_unpark(&journal->flushes, 1, kind_of(served_by));
    }
}

void
torci_journal_nudge(struct torci_journal *journal)
{
    /* seq_cst: after the entry was published, in S; see torci_journal_sleep(). */
    if (torci_load(&journal->idle, memory_order_seq_cst) != 0 &&
        torci_exchange(&journal->idle, 0u, memory_order_seq_cst) != 0)
        torci_unpark(&journal->idle, 1, WAKE_ANY);
}

void
torci_journal_want(struct torci_journal *journal)
{
    if (torci_exchange(&journal->wanted, 1u, memory_order_seq_cst) == 0)
        torci_unpark(&journal->wanted, 1, WAKE_ANY);
    torci_journal_nudge(journal);
}

void
torci_journal_rest(struct torci_journal *journal, uint64_t nanoseconds)
{
    if (torci_load(&journal->stop, memory_order_seq_cst) == 0)
        torci_park(&journal->wanted, 0, WAKE_ANY, nanoseconds);
}

enum torc_status
torci_journal_after(struct torc_mvcc *store, uint64_t stamp)
{
    struct torci_journal *journal = store->journal;

    if (journal->durability == TORC_DURABILITY_SYNC)
        return torci_journal_wait(journal, stamp);
    torci_journal_nudge(journal);
    return TORC_OK;
}

enum torc_status
torci_journal_admit(struct torc_mvcc *store)
{
    struct torci_journal *journal = store->journal;
    bool counted = false;

    if (journal == NULL)
        return TORC_OK;
    for (;;) {
        uint32_t seen = torci_load(&journal->flushes, memory_order_seq_cst);
        enum torc_status failed = torci_journal_failed(journal);
        bool led;

        if (failed != TORC_OK)
            return torci_fail(TORC_READ_ONLY, "the journal has failed (%s): torc_mvcc_resume()",
                              torc_status_name(failed));
        if (torci_load(&journal->waiting, memory_order_relaxed) <= journal->limit) /* Relaxed: a sum. */
            return TORC_OK;
        if (!counted)
            torci_count_shared(&journal->waits, 1);
        counted = true;
        (void)(torci_journal_flush(journal, &led) == TORC_OK); /* The next look tells. */
        if (!led)
            torci_park(&journal->flushes, seen, WAKE_ANY, 0);
    }
}

/* Whether a flush would find something in this queue. Not an entry whose commit still installs: its owner nudges when
 * it is decided. By its state, which is in S. Its outcome is not: the owner's store of it could come after its look at
 * `idle`. */
static bool
queue_has_work(struct torci_journal *journal, struct torci_shard *shard)
{
    struct torci_redo_queue *queue = &shard->redo;
    struct torci_redo_chunk *next = torci_load(&queue->head->next, memory_order_seq_cst);   /* A3 */
    uint32_t published = torci_load(&queue->head->published, memory_order_seq_cst);         /* A1: after A3 */

    if (queue->taken == published)
        return next != NULL;
    return outcome_of(journal->store, (struct torci_redo *)(void *)(queue->head->bytes + queue->taken)) != 0;
}

/* With `flushing` taken. */
static bool
has_work(struct torci_journal *journal)
{
    struct torci_shard *shard = torci_load(&journal->queues, memory_order_seq_cst); /* A3 */

    while (shard != NULL && !queue_has_work(journal, shard))
        shard = shard->redo.next_queue;
    return shard != NULL;
}

void
torci_journal_sleep(struct torci_journal *journal, uint64_t nanoseconds)
{
    uint32_t seen = torci_load(&journal->flushes, memory_order_seq_cst);
    bool work;

    /* `idle`, then the queues and what their commits have come to; a committer: its entry, its decision, then `idle`.
     * In S one of the two sees the other. */
    torci_store(&journal->idle, 1u, memory_order_seq_cst);
    if (torci_exchange(&journal->flushing, 1u, memory_order_acq_rel) != 0) { /* A5 */
        /* Somebody flushes, which may leave something: when that is over, look again. */
        torci_store(&journal->idle, 0u, memory_order_seq_cst);
        torci_park(&journal->flushes, seen, WAKE_ANY, nanoseconds);
        return;
    }
    work = torci_journal_failed(journal) == TORC_OK && has_work(journal); /* What has failed flushes nothing. */
    torci_journal_unlock(journal);
    if (!work && torci_load(&journal->stop, memory_order_seq_cst) == 0)
        torci_park(&journal->idle, 1, WAKE_ANY, nanoseconds);
    torci_store(&journal->idle, 0u, memory_order_seq_cst);
}

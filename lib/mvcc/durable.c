/* SPDX-License-Identifier: MIT */
/* mvcc/durable: see durable.h. */
#include "mvcc/durable.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/parking.h"
#include "base/random.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/named.h"
#include "mvcc/reclaim.h"
#include "mvcc/txn.h"

enum {
#if defined(TORC_TINY)
    STEP_BYTES = 2048,
#else
    STEP_BYTES = 1024 * 1024,           /* Of a checkpoint, between two looks at `stop`. */
#endif
    REST_NS = 2000000,                  /* Fewer, larger flushes: what they cost is taken from who commits. */
    WAKE_ANY = 1,
    THREADS_MAX = 8,
    LIMIT_PER_THREAD = 64 * 1024 * 1024,    /* Each that loads leaves some memory half used: what a store has come to
                                               within its limit must find room in it again. */
};

/* ---- Cuts ---- */

/* Nobody but readers that have joined uses it from here on. */
static void
release(struct torc_mvcc *store, struct torci_named *named)
{
    struct torc_txn *holder = named == NULL ? NULL : torci_named_release(store, torci_shard_own(store), named);

    if (holder != NULL)
        torci_txn_end_holder(holder);
}

/* A snapshot that readers can join later. NULL: no memory, or it is not wanted: while it is open, what is replaced
 * cannot be freed at once. */
static struct torci_named *
take_snapshot(struct torc_mvcc *store)
{
    struct torci_named *named =
        store->options.durable_snapshots ? torci_alloc_zeroed(&store->heap, sizeof *named) : NULL;

    if (named == NULL)
        return NULL;
    torci_init(&named->users, UINT64_C(1));
    if (torci_txn_begin_lasting(store, &named->holder) != TORC_OK) {
        torci_free(&store->heap, named, sizeof *named);
        return NULL;
    }
    named->snapshot = named->holder->slot.snapshot;
    return named;
}

/* For want of memory, too, a cut is a stamp without a snapshot: readers then join the one before. */
static uint64_t
cut_begin(struct torc_mvcc *store)
{
    struct torci_named *named = take_snapshot(store);

    store->durable->cutting = named;
    return named == NULL ? torci_clock_read_stamp(&store->clock) : named->snapshot;
}

static void
cut_end(struct torc_mvcc *store, bool durable)
{
    struct torci_named *named = store->durable->cutting;

    store->durable->cutting = NULL;
    if (durable && named != NULL)
        named = torci_exchange(&store->journal->snapshot, named, memory_order_seq_cst); /* named.h R1 A1 */
    release(store, named);
}

/* ---- Checkpoints ---- */

static void
lock_checkpoints(struct torci_durable *durable)
{
    /* 1: taken; 2: taken, and somebody sleeps. */
    uint32_t free_word = 0;

    if (torci_cas(&durable->checkpointing, &free_word, 1u, memory_order_seq_cst, memory_order_relaxed)) /* A1 */
        return;
    while (torci_exchange(&durable->checkpointing, 2u, memory_order_seq_cst) != 0) /* A1 */
        torci_park(&durable->checkpointing, 2, WAKE_ANY, 0);
}

static bool
try_lock_checkpoints(struct torci_durable *durable)
{
    uint32_t free_word = 0;

    return torci_cas(&durable->checkpointing, &free_word, 1u, memory_order_seq_cst, memory_order_relaxed); /* A1 */
}

static void
unlock_checkpoints(struct torci_durable *durable)
{
    if (torci_exchange(&durable->checkpointing, 0u, memory_order_seq_cst) == 2) /* R1 */
        torci_unpark(&durable->checkpointing, 1, WAKE_ANY);
}

/* I2: from where on the journal has to be kept. */
static enum torc_status
begin_segment(struct torci_durable *durable, uint64_t *from)
{
    struct torci_journal *journal = durable->store->journal;
    enum torc_status status;

    *from = durable->kept_from;
    if (journal == NULL)
        return TORC_OK;
    torci_journal_lock(journal);
    status = torci_journal_rotate(journal);
    if (journal->writer.failed != TORC_OK)
        status = torci_fail(TORC_INDETERMINATE, "the journal has failed (%s): no checkpoint can be written",
                            torc_status_name(journal->writer.failed));
    *from = journal->writer.number;
    durable->running_bytes = torci_load(&journal->bytes_since_checkpoint, memory_order_relaxed); /* A figure. */
    torci_journal_unlock(journal);
    return status;
}

/* With `checkpointing`. */
static enum torc_status
checkpoint_begin(struct torci_durable *durable)
{
    enum torc_status status = begin_segment(durable, &durable->running_from);

    torc_assert(durable->running == NULL);
    if (status != TORC_OK)
        return status;
    torci_store(&durable->checkpoint_running, 1u, memory_order_relaxed); /* A figure. */
    return torci_checkpoint_begin(durable->store, durable->directory.vfs, durable->directory.path,
                                  durable->directory.id, &durable->running);
}

/* Older files are of no use any more. What cannot be removed now is removed after the next checkpoint. */
static enum torc_status
drop_older(struct torci_durable *durable, uint64_t stamp)
{
    struct torci_journal *journal = durable->store->journal;
    enum torc_status status = torci_directory_drop_checkpoints(&durable->directory, stamp);
    struct torci_segment_writer none = {
        .heap = &durable->store->heap, .vfs = durable->directory.vfs, .number = durable->running_from};

    if (status != TORC_OK)
        return status;
    if (journal == NULL) {
        memcpy(none.directory, durable->directory.path, sizeof none.directory);
        return torci_segments_recycle(&none, durable->running_from);
    }
    torci_journal_lock(journal);
    status = torci_segments_recycle(&journal->writer, durable->running_from);
    torci_journal_unlock(journal);
    return status;
}

/* All keys are written: let it count. */
static enum torc_status
checkpoint_finish(struct torci_durable *durable, bool wait_durable)
{
    struct torci_journal *journal = durable->store->journal;
    struct torci_checkpoint *checkpoint = durable->running;
    struct torci_checkpoint_info info;
    enum torc_status status = TORC_OK;

    durable->running = NULL;
    if (journal != NULL && wait_durable)
        status = torci_journal_wait(journal, torci_checkpoint_settled(checkpoint));
    if (status != TORC_OK) {
        torci_checkpoint_abandon(checkpoint);
        return status;
    }
    status = torci_checkpoint_install(checkpoint, durable->running_from, &info);
    if (status != TORC_OK)
        return status;
    /* Figures, all of them. */
    torci_store(&durable->checkpoint_stamp, info.stamp, memory_order_relaxed);
    torci_store(&durable->checkpoint_bytes, info.bytes, memory_order_relaxed);
    torci_store(&durable->checkpoint_ms, torci_wall_ms(), memory_order_relaxed);
    torci_count(&durable->checkpoints, 1);
    if (journal != NULL)
        torci_fetch_sub(&journal->bytes_since_checkpoint, durable->running_bytes, memory_order_relaxed);
    return drop_older(durable, info.stamp);
}

/* What a caller is told of a file that is gone, or there, where it should not be: NOT_FOUND and EXISTS are answers. */
static enum torc_status
told(const struct torci_directory *directory, enum torc_status status)
{
    if (status != TORC_NOT_FOUND && status != TORC_EXISTS)
        return status;
    return torci_fail(TORC_IO, "the directory, or a file in it, is gone: %s", directory->path);
}

/* However it ended. */
static enum torc_status
checkpoint_over(struct torci_durable *durable, enum torc_status status)
{
    struct torci_journal *journal = durable->store->journal;
    uint64_t again = 0;

    status = told(&durable->directory, status);
    if (status != TORC_OK && journal != NULL) /* Figures. */
        again = torci_load(&journal->bytes_since_checkpoint, memory_order_relaxed) + durable->checkpoint_bytes_min;
    torci_store(&durable->checkpoint_again, again, memory_order_relaxed);
    torci_checkpoint_abandon(durable->running);
    durable->running = NULL;
    torci_store(&durable->checkpoint_running, 0u, memory_order_relaxed); /* A figure, as the next. */
    torci_store(&durable->checkpoint_status, (uint32_t)status, memory_order_relaxed);
    return status;
}

/* A whole one, unless the store closes meanwhile. With `checkpointing`. */
static enum torc_status
checkpoint_whole(struct torci_durable *durable, bool wait_durable, bool stoppable)
{
    enum torc_status status = durable->running == NULL ? checkpoint_begin(durable) : TORC_OK;
    bool done = false;

    while (status == TORC_OK && !done) {
        if (stoppable && torci_load(&durable->stop, memory_order_seq_cst) != 0)
            status = torci_fail(TORC_BUSY, "the store is being closed");
        else
            status = torci_checkpoint_step(durable->running, STEP_BYTES, &done);
    }
    if (status == TORC_OK)
        status = checkpoint_finish(durable, wait_durable);
    return checkpoint_over(durable, status);
}

/* One step of one that is wanted; *more: there are more to do. With `checkpointing`. */
static enum torc_status
checkpoint_piece(struct torci_durable *durable, bool *more)
{
    enum torc_status status = TORC_OK;
    bool done = false;

    *more = false;
    if (durable->running == NULL) {
        if (torci_exchange(&durable->checkpoint_wanted, 0u, memory_order_seq_cst) == 0)
            return TORC_OK;
        status = checkpoint_begin(durable);
    }
    if (status == TORC_OK)
        status = torci_checkpoint_step(durable->running, STEP_BYTES, &done);
    if (status == TORC_OK && !done) {
        *more = true;
        return TORC_OK;
    }
    if (status == TORC_OK)
        status = checkpoint_finish(durable, true);
    return checkpoint_over(durable, status);
}

/* Whether the journal has grown enough for one. */
static bool
checkpoint_due(struct torci_durable *durable)
{
    struct torci_journal *journal = durable->store->journal;
    uint64_t grown;

    if (durable->checkpoint_bytes_min == 0 || torci_journal_failed(journal) != TORC_OK)
        return false;
    grown = torci_load(&journal->bytes_since_checkpoint, memory_order_relaxed); /* Figures. */
    return grown >= durable->checkpoint_bytes_min &&
           grown >= torci_load(&durable->checkpoint_bytes, memory_order_relaxed) &&
           grown >= torci_load(&durable->checkpoint_again, memory_order_relaxed);
}

static void
want_checkpoint(struct torci_durable *durable)
{
    if (torci_exchange(&durable->checkpoint_wanted, 1u, memory_order_seq_cst) == 0)
        torci_unpark(&durable->checkpoint_wanted, 1, WAKE_ANY);
}

/* ---- Threads ---- */

static void *
flush_forever(void *argument)
{
    struct torci_durable *durable = argument;
    struct torci_journal *journal = durable->store->journal;

    while (torci_load(&journal->stop, memory_order_seq_cst) == 0) {
        bool led;

        /* A failure stays, and is told to who writes or waits. */
        (void)(torci_journal_flush(journal, &led) == TORC_OK);
        if (led)
            torci_journal_prepare(journal);
        if (journal->durability == TORC_DURABILITY_ASYNC)
            torci_journal_rest(journal, REST_NS);
        if (checkpoint_due(durable) && torci_load(&durable->checkpoint_running, memory_order_relaxed) == 0)
            want_checkpoint(durable);
        torci_journal_sleep(journal, 0);
    }
    return NULL;
}

static void *
checkpoint_forever(void *argument)
{
    struct torci_durable *durable = argument;

    while (torci_load(&durable->stop, memory_order_seq_cst) == 0) {
        if (torci_load(&durable->checkpoint_wanted, memory_order_seq_cst) == 0) {
            torci_park(&durable->checkpoint_wanted, 0, WAKE_ANY, 0);
            continue;
        }
        lock_checkpoints(durable);
        torci_store(&durable->checkpoint_wanted, 0u, memory_order_seq_cst);
        (void)(checkpoint_whole(durable, true, true) == TORC_OK); /* torc_mvcc_durability() tells. */
        unlock_checkpoints(durable);
    }
    return NULL;
}

/* No signal of the process is for them. */
static enum torc_status
start_thread(pthread_t *thread, void *(*run)(void *argument), struct torci_durable *durable)
{
    sigset_t all;
    sigset_t before;
    int error;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(thread, NULL, run, durable);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? TORC_OK : torci_fail(TORC_NO_MEMORY, "no thread can be started");
}

static enum torc_status
start_threads(struct torci_durable *durable)
{
    enum torc_status status = TORC_OK;

    if (durable->store->options.caller_driven)
        return TORC_OK;
    if (durable->store->journal != NULL) {
        status = start_thread(&durable->flusher, flush_forever, durable);
        durable->has_flusher = status == TORC_OK;
    }
    if (status == TORC_OK) {
        status = start_thread(&durable->checkpointer, checkpoint_forever, durable);
        durable->has_checkpointer = status == TORC_OK;
    }
    return status;
}

static void
stop_threads(struct torci_durable *durable)
{
    torci_store(&durable->stop, 1u, memory_order_seq_cst);
    if (durable->has_checkpointer) {
        want_checkpoint(durable);
        (void)pthread_join(durable->checkpointer, NULL);
        durable->has_checkpointer = false;
    }
    if (durable->has_flusher) {
        torci_store(&durable->journal.stop, 1u, memory_order_seq_cst);
        torci_journal_want(&durable->journal);
        (void)pthread_join(durable->flusher, NULL);
        durable->has_flusher = false;
    }
}

/* ---- Opening and closing ---- */

static unsigned
recovery_threads(const struct torc_mvcc_options *options)
{
    long processors = options->recovery_threads > 0 ? (long)options->recovery_threads : sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t hold = options->memory_limit_bytes / LIMIT_PER_THREAD;

    if (options->memory_limit_bytes > 0 && hold < THREADS_MAX && processors > (long)hold)
        processors = (long)hold;
    return processors < 1 ? 1 : processors > THREADS_MAX ? THREADS_MAX : (unsigned)processors;
}

static void
init_journal(struct torci_durable *durable)
{
    struct torc_mvcc *store = durable->store;
    struct torci_journal *journal = &durable->journal;

    journal->store = store;
    journal->durability = store->options.durability;
    journal->limit = store->options.journal_limit_bytes;
    journal->cut_begin = cut_begin;
    journal->cut_end = cut_end;
    torci_init(&journal->event, -1);
}

/* Where recovery has ended, the journal goes on. */
static enum torc_status
open_journal(struct torci_durable *durable, const struct torci_recovered *recovered)
{
    struct torc_mvcc *store = durable->store;
    struct torci_journal *journal = &durable->journal;
    struct torci_segment_writer *writer = &journal->writer;
    const struct torci_journal_scan *scan = &recovered->scan;
    struct torci_named *snapshot = take_snapshot(store);
    uint64_t number = scan->number > 0 ? scan->number : scan->from > 0 ? scan->from : 1;
    enum torc_status status;

    if (snapshot == NULL && store->options.durable_snapshots)
        return torci_fail(TORC_NO_MEMORY, "no memory for a snapshot");
    writer->heap = &store->heap;
    writer->vfs = durable->directory.vfs;
    memcpy(writer->directory, durable->directory.path, sizeof writer->directory);
    memcpy(writer->store_id, durable->directory.id, sizeof writer->store_id);
    writer->life = scan->life + 1;
    writer->seq = scan->seq > 0 ? scan->seq : 1;
    writer->synced = writer->seq - 1;
    status = torci_segment_writer_init(writer, number, scan->salt, scan->offset);
    if (status != TORC_OK) {
        release(store, snapshot);
        return status;
    }
    torci_init(&journal->snapshot, snapshot);
    torci_init(&journal->durable, snapshot != NULL ? snapshot->snapshot : torci_clock_read_stamp(&store->clock));
    torci_init(&journal->bytes_since_checkpoint, recovered->report.journal_bytes);
    store->journal = journal;
    return TORC_OK;
}

static void
close_journal(struct torci_durable *durable)
{
    struct torc_mvcc *store = durable->store;

    if (store->journal == NULL)
        return;
    release(store, torci_exchange(&durable->journal.snapshot, NULL, memory_order_seq_cst)); /* named.h A1 */
    torci_segment_writer_fini(&durable->journal.writer);
}

enum torc_status
torci_durable_open(struct torc_mvcc *store, struct torci_vfs *vfs)
{
    struct torci_durable *durable = torci_alloc_line_zeroed(&store->heap, sizeof *durable);
    struct torci_recovered recovered;
    uint64_t began_ns = torci_now_ns();
    enum torc_status status;
    struct torci_heap heap;     /* What recovery only reads with does not count: memory_limit_bytes is for the data. */

    if (durable == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a directory");
    memset(&recovered, 0, sizeof recovered);
    torci_heap_init(&heap, &store->heap.allocator, 0);
    durable->store = store;
    durable->checkpoint_bytes_min = store->options.checkpoint_bytes;
    store->durable = durable;
    init_journal(durable);
    status = torci_directory_open(&durable->directory, &store->heap, vfs, store->options.directory,
                                  TORCI_DIRECTORY_OPEN);
    if (status == TORC_NOT_FOUND || status == TORC_EXISTS)
        status = torci_fail(TORC_IO, "the directory cannot be made: %s", store->options.directory);
    if (status != TORC_OK)
        goto free_durable;
    status = torci_recover(store, &heap, &durable->directory, recovery_threads(&store->options), &recovered);
    if (status == TORC_BUSY)
        status = torci_fail(TORC_NO_MEMORY, "memory_limit_bytes does not hold what was found");
    if (status != TORC_OK)
        goto close_directory;
    torci_store(&store->keyspace_ids, recovered.keyspace_id, memory_order_relaxed); /* Relaxed: exclusive. */
    durable->kept_from = recovered.scan.number > 0 ? recovered.scan.number : recovered.scan.from;
    if (store->options.durability != TORC_DURABILITY_NONE)
        status = open_journal(durable, &recovered);
    if (status != TORC_OK)
        goto free_scan;
    durable->found = recovered.report;
    durable->found.duration_ns = torci_now_ns() - began_ns;
    torci_init(&durable->checkpoint_stamp, recovered.report.checkpoint_stamp);
    torci_init(&durable->checkpoint_bytes, recovered.report.checkpoint_bytes);
    status = start_threads(durable);
    if (status != TORC_OK)
        goto close_journal;
    torci_journal_scan_fini(&heap, &recovered.scan);
    return TORC_OK;

close_journal:
    stop_threads(durable);
    close_journal(durable);
free_scan:
    torci_journal_scan_fini(&heap, &recovered.scan);
close_directory:
    torci_directory_close(&durable->directory);
free_durable:
    store->durable = NULL;
    store->journal = NULL;
    torci_free_line(&store->heap, durable, sizeof *durable);
    return status;
}

/* The last flush, and then an empty one: by it later readers know that all before it was durable. */
static enum torc_status
flush_last(struct torci_journal *journal)
{
    enum torc_status status;
    bool led;

    status = torci_journal_flush(journal, &led);
    torc_assert(led);
    if (status == TORC_OK)
        status = torci_segment_cut(&journal->writer, torci_journal_durable(journal));
    return status;
}

enum torc_status
torci_durable_close(struct torc_mvcc *store)
{
    struct torci_durable *durable = store->durable;
    enum torc_status status;

    if (durable == NULL)
        return TORC_OK;
    stop_threads(durable);
    torci_checkpoint_abandon(durable->running);
    durable->running = NULL;
    status = store->journal != NULL ? flush_last(store->journal) : checkpoint_whole(durable, false, false);
    close_journal(durable);
    torci_directory_close(&durable->directory);
    if (status != TORC_OK) {
        char why[TORCI_DETAIL_SIZE_MAX + 1];

        (void)snprintf(why, sizeof why, "%s", torc_detail()); /* The next line takes its place. */
        return torci_fail(TORC_INDETERMINATE, "closed, but not all is durable (%s): %s", torc_status_name(status), why);
    }
    return TORC_OK;
}

void
torci_durable_free(struct torc_mvcc *store)
{
    struct torci_durable *durable = store->durable;
    int event;

    if (durable == NULL)
        return;
    event = torci_load(&durable->journal.event, memory_order_relaxed); /* Relaxed: exclusive. */
    if (event >= 0)
        (void)close(event);
    torci_free_line(&store->heap, durable, sizeof *durable);
    store->durable = NULL;
    store->journal = NULL;
}

void
torci_durable_poll(struct torc_mvcc *store, bool *more)
{
    struct torci_durable *durable = store->durable;
    bool led;

    *more = false;
    if (durable == NULL || !store->options.caller_driven)
        return;
    if (store->journal != NULL) {
        (void)(torci_journal_flush(store->journal, &led) == TORC_OK); /* A failure is told to who writes or waits. */
        torci_journal_prepare(store->journal);
        if (checkpoint_due(durable))
            torci_store(&durable->checkpoint_wanted, 1u, memory_order_seq_cst);
    }
    if (try_lock_checkpoints(durable)) {
        (void)(checkpoint_piece(durable, more) == TORC_OK); /* torc_mvcc_durability() tells. */
        unlock_checkpoints(durable);
    }
}

/* ---- The public calls ---- */

/* TORC_OK if the store has a directory. */
static enum torc_status
check_directory(const struct torc_mvcc *store)
{
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    return store->durable != NULL ? TORC_OK : torci_fail(TORC_UNSUPPORTED, "the store has no directory");
}

uint64_t
torc_mvcc_durable(struct torc_mvcc *store)
{
    if (store == NULL || store->durable == NULL)
        return 0;
    return store->journal != NULL ? torci_journal_durable(store->journal)
                                  : torci_load(&store->durable->checkpoint_stamp, memory_order_relaxed); /* A figure. */
}

enum torc_status
torc_mvcc_wait_durable(struct torc_mvcc *store, uint64_t stamp)
{
    enum torc_status status = check_directory(store);

    if (status != TORC_OK)
        return status;
    if (store->journal == NULL)
        return torci_fail(TORC_INVALID, "without a journal nothing but a checkpoint makes durable");
    if (stamp > torci_clock_now(&store->clock))
        return torci_fail(TORC_INVALID, "no commit has that stamp yet");
    return torci_journal_wait(store->journal, stamp);
}

enum torc_status
torc_mvcc_sync(struct torc_mvcc *store)
{
    enum torc_status status = check_directory(store);

    if (status != TORC_OK)
        return status;
    if (store->journal == NULL)
        return torc_mvcc_checkpoint(store, true);
    return torci_journal_wait(store->journal, torci_clock_now(&store->clock));
}

void
torc_mvcc_flush(struct torc_mvcc *store)
{
    if (store != NULL && store->journal != NULL)
        torci_journal_want(store->journal);
}

int
torc_mvcc_durable_fd(struct torc_mvcc *store)
{
    int none = -1;
    int event;

    if (store == NULL || store->journal == NULL)
        return -1;
    event = torci_load(&store->journal->event, memory_order_acquire);                   /* journal.h A8 */
    if (event >= 0)
        return event;
    event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (event < 0 ||
        torci_cas(&store->journal->event, &none, event, memory_order_release,                    /* journal.h R8, */
                  memory_order_acquire))                                                    /* journal.h A8 */
        return event;
    (void)close(event);
    return none;
}

enum torc_status
torc_mvcc_checkpoint(struct torc_mvcc *store, bool wait)
{
    enum torc_status status = check_directory(store);

    if (status != TORC_OK)
        return status;
    if (!wait) {
        want_checkpoint(store->durable);
        return TORC_OK;
    }
    lock_checkpoints(store->durable);
    /* One that began before this call does not hold all that is committed now. */
    torci_checkpoint_abandon(store->durable->running);
    store->durable->running = NULL;
    status = checkpoint_whole(store->durable, true, false);
    unlock_checkpoints(store->durable);
    return status;
}

/* All keys, as they are now, into a directory that is open and empty. */
static enum torc_status
back_up_into(struct torc_mvcc *store, const struct torci_directory *directory)
{
    struct torci_checkpoint *checkpoint = NULL;
    struct torci_checkpoint_info info;
    enum torc_status status =
        torci_checkpoint_begin(store, directory->vfs, directory->path, directory->id, &checkpoint);
    bool done = false;

    while (status == TORC_OK && !done)
        status = torci_checkpoint_step(checkpoint, STEP_BYTES, &done);
    if (status == TORC_OK)
        return torci_checkpoint_install(checkpoint, 0, &info);
    torci_checkpoint_abandon(checkpoint);
    return status;
}

enum torc_status
torc_mvcc_backup(struct torc_mvcc *store, const char *path)
{
    struct torci_vfs *vfs = store == NULL || store->durable == NULL ? torci_vfs_posix() : store->durable->directory.vfs;
    struct torci_directory *directory;
    enum torc_status status;

    if (store == NULL || path == NULL || path[0] == '\0')
        return torci_fail(TORC_INVALID, "the store or the directory is NULL, or its name is empty");
    directory = torci_alloc_zeroed(&store->heap, sizeof *directory);
    if (directory == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a directory");
    status = torci_directory_open(directory, &store->heap, vfs, path, TORCI_DIRECTORY_FRESH);
    if (status == TORC_OK) {
        status = told(directory, back_up_into(store, directory));
        torci_directory_close(directory);
    }
    torci_free(&store->heap, directory, sizeof *directory);
    return status;
}

/* With `checkpointing`: a new segment, then a checkpoint of all that is visible, which counts with it. */
static enum torc_status
mend(struct torci_durable *durable)
{
    struct torci_journal *journal = durable->store->journal;
    uint64_t stamp;
    enum torc_status status;
    bool led;

    torci_journal_lock(journal);
    status = torci_journal_failed(journal) == TORC_OK ? TORC_OK : torci_journal_restart(journal);
    torci_journal_unlock(journal);
    if (status != TORC_OK || torci_journal_failed(journal) == TORC_OK)
        return told(&durable->directory, status);
    status = checkpoint_whole(durable, false, false);
    if (status != TORC_OK)
        return status;
    stamp = torci_load(&durable->checkpoint_stamp, memory_order_relaxed); /* Relaxed: this thread stored it. */
    torci_journal_lock(journal);
    torci_journal_mended(journal, stamp);
    torci_journal_unlock(journal);
    /* For the durable snapshot, and for what was committed meanwhile. A new failure is told to who writes or waits. */
    (void)(torci_journal_flush(journal, &led) == TORC_OK);
    return TORC_OK;
}

enum torc_status
torc_mvcc_resume(struct torc_mvcc *store)
{
    enum torc_status status = check_directory(store);

    if (status != TORC_OK || store->journal == NULL || torci_journal_failed(store->journal) == TORC_OK)
        return status;
    lock_checkpoints(store->durable);
    torci_checkpoint_abandon(store->durable->running);
    store->durable->running = NULL;
    status = mend(store->durable);
    unlock_checkpoints(store->durable);
    return status;
}

enum torc_status
torc_mvcc_recovery(struct torc_mvcc *store, struct torc_recovery *recovery)
{
    enum torc_status status = check_directory(store);

    if (recovery == NULL)
        return torci_fail(TORC_INVALID, "the place for the report is NULL");
    memset(recovery, 0, sizeof *recovery);
    if (status == TORC_OK)
        *recovery = store->durable->found;
    return status;
}

enum torc_status
torci_mvcc_verify_on(const char *path, struct torci_vfs *vfs, struct torc_recovery *recovery)
{
    struct torci_recovered recovered;
    struct torci_directory *directory;
    uint64_t began_ns = torci_now_ns();
    struct torci_heap heap;
    enum torc_status status;

    if (recovery != NULL)
        memset(recovery, 0, sizeof *recovery);
    if (path == NULL || path[0] == '\0')
        return torci_fail(TORC_INVALID, "the directory is NULL, or its name is empty");
    memset(&recovered, 0, sizeof recovered);
    torci_heap_init(&heap, NULL, 0);
    directory = torci_alloc_zeroed(&heap, sizeof *directory);
    if (directory == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a directory");
    status = torci_directory_open(directory, &heap, vfs, path, TORCI_DIRECTORY_VERIFY);
    if (status == TORC_OK) {
        status = torci_recover(NULL, &heap, directory, 1, &recovered);
        torci_journal_scan_fini(&heap, &recovered.scan);
        torci_directory_close(directory);
    }
    torci_free(&heap, directory, sizeof *directory);
    if (recovery != NULL) {
        *recovery = recovered.report;
        recovery->duration_ns = torci_now_ns() - began_ns;
    }
    return status;
}

enum torc_status
torc_mvcc_verify(const char *directory, struct torc_recovery *recovery)
{
    return torci_mvcc_verify_on(directory, torci_vfs_posix(), recovery);
}

enum torc_status
torc_mvcc_durability(struct torc_mvcc *store, struct torc_durability_stats *stats)
{
    enum torc_status status = check_directory(store);
    struct torci_durable *durable;
    struct torci_journal *journal;

    if (stats == NULL)
        return torci_fail(TORC_INVALID, "the place for the figures is NULL");
    memset(stats, 0, sizeof *stats);
    if (status != TORC_OK)
        return status;
    durable = store->durable;
    journal = &durable->journal;
    stats->durable = torc_mvcc_durable(store);
    /* Relaxed, all of them: figures. */
    stats->journal_bytes = torci_load(&journal->bytes_since_checkpoint, memory_order_relaxed);
    stats->waiting_bytes = torci_load(&journal->waiting, memory_order_relaxed);
    stats->flushes = torci_load(&journal->flush_count, memory_order_relaxed);
    stats->flushed_commits = torci_load(&journal->flushed_commits, memory_order_relaxed);
    stats->flushed_bytes = torci_load(&journal->flushed_bytes, memory_order_relaxed);
    stats->flush_ns = torci_load(&journal->flush_ns, memory_order_relaxed);
    stats->waits = torci_load(&journal->waits, memory_order_relaxed);
    stats->checkpoints = torci_load(&durable->checkpoints, memory_order_relaxed);
    stats->checkpoint_stamp = torci_load(&durable->checkpoint_stamp, memory_order_relaxed);
    stats->checkpoint_ms = torci_load(&durable->checkpoint_ms, memory_order_relaxed);
    stats->checkpoint_running = torci_load(&durable->checkpoint_running, memory_order_relaxed) != 0;
    stats->checkpoint_status = (enum torc_status)torci_load(&durable->checkpoint_status, memory_order_relaxed);
    stats->failed = torci_journal_failed(journal);
    return TORC_OK;
}

/* SPDX-License-Identifier: MIT */
/* bench/durable.c: what is measured of stores with files only: checkpoints beside a load, recovery, what waits for the
 * disk.
 *
 * Recovery   Two processes. The first loads every key and either writes a checkpoint and closes the store, or syncs
 *            its journal and ends without closing, as if killed. The second opens the store: that time is the figure.
 *            Then it scans: every key must be there. Files are in the page cache, as they were just written.
 * Oracles    Those of steps.c; the count of keys after each reopening. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "worker.h"

enum { LOAD_BATCH = 5000 };

void
bench_remove_files(const char *directory)
{
    bench_remove_tree(directory);
    if (mkdir(directory, 0700) != 0)
        perror(directory);
}

void
bench_drain(struct bench_session *session, struct bench_result *result)
{
    uint64_t before = bench_now_ns();

    if (session->engine->sync == NULL)
        return;
    if (!session->engine->sync(session->store))
        result->faults++;
    result->drain_s += (double)(bench_now_ns() - before) / 1e9;
}

void
bench_reopen(struct bench_session *session, uint64_t expected, struct bench_result *result)
{
    bench_session_close(session);
    session->store = session->engine->open(session->directory, &session->spec);
    if (session->store == NULL)
        result->faults++;
    else
        bench_count_keys(session, expected, result);
}

/* ---- Checkpoints beside a load ------------------------------------------------------------------------------- */

struct checkpointer {
    struct bench_session *session;
    unsigned count;                 /* Read after `done`. */
    unsigned failed;
    double seconds;
    _Atomic(bool) stop;             /* Begin no other. */
    _Atomic(bool) done;
    pthread_t handle;
};

static void *
write_checkpoints(void *context)
{
    struct checkpointer *checkpointer = context;
    struct bench_session *session = checkpointer->session;

    /* Relaxed: it only has to arrive. */
    while (!atomic_load_explicit(&checkpointer->stop, memory_order_relaxed)) {
        uint64_t before = bench_now_ns();

        if (!session->engine->checkpoint(session->store))
            checkpointer->failed++;
        checkpointer->count++;
        checkpointer->seconds += (double)(bench_now_ns() - before) / 1e9;
    }
    /* Relaxed: the counts are read after the join. */
    atomic_store_explicit(&checkpointer->done, true, memory_order_relaxed);
    return NULL;
}

/* The part with checkpoints ends with the last one that began in it. */
void
bench_supervise_checkpoints(struct bench_run *run, struct bench_worker **workers, double seconds,
                            struct bench_result *result)
{
    struct checkpointer checkpointer = { .session = run->session };
    struct bench_moment before = bench_moment(run, workers);
    uint64_t start = before.at_ns;

    result->reader_begins = BENCH_POINTS / 4;
    result->reader_ends = BENCH_POINTS;
    for (unsigned i = 0; i < BENCH_POINTS; i++) {
        if (i == result->reader_begins &&
            pthread_create(&checkpointer.handle, NULL, write_checkpoints, &checkpointer) != 0)
            abort();
        if (i == BENCH_POINTS - BENCH_POINTS / 4)
            atomic_store_explicit(&checkpointer.stop, true, memory_order_relaxed);
        /* Relaxed: which point it falls into does not matter. */
        if (result->reader_ends == BENCH_POINTS &&
            atomic_load_explicit(&checkpointer.done, memory_order_relaxed))
            result->reader_ends = i;
        bench_sleep_until(start + (uint64_t)(seconds * 1e9 * (i + 1) / BENCH_POINTS));
        bench_note_point(run, workers, i, start, &before, result);
    }
    pthread_join(checkpointer.handle, NULL);
    result->checkpoints = checkpointer.count;
    result->checkpoint_s = checkpointer.seconds;
    result->faults += checkpointer.failed;
}

/* ---- Recovery ------------------------------------------------------------------------------------------------ */

/* Ends the process without a word to the engine if it is to recover from its journal. */
static void
leave_store(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result)
{
    const struct bench_engine *engine = session->engine;
    bool replay = bench_workloads[cell->workload].replay;
    struct bench_result load = { .ran = false };

    if (!bench_open_empty(session)) {
        result->faults++;
        return;
    }
    bench_load_keys(session, replay ? 1 : LOAD_BATCH, cell->seed, &load);
    result->wrong += load.wrong;
    result->faults += load.faults;
    if (replay) {
        result->faults += !engine->sync(session->store);
        return;
    }
    result->faults += !engine->checkpoint(session->store);
    bench_session_close(session);
}

static void
open_store(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result)
{
    uint64_t before = bench_now_ns();

    (void)cell;
    session->store = session->engine->open(session->directory, &session->spec);
    result->wall_s = (double)(bench_now_ns() - before) / 1e9;
    if (session->store == NULL) {
        result->faults++;
        return;
    }
    result->operations = session->spec.keys;
    bench_count_keys(session, session->spec.keys, result);
    bench_session_close(session);
}

static void
in_child(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result,
         void (*body)(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result))
{
    pid_t parent = getpid();
    pid_t child;
    int status = -1;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            body(session, cell, result);
        fflush(NULL);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        result->faults++;
}

void
bench_run_recovery(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result)
{
    bench_session_close(session);
    in_child(session, cell, result, leave_store);
    if (result->faults == 0)
        in_child(session, cell, result, open_store);
}

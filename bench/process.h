/* SPDX-License-Identifier: MIT */
/* bench/process.h: one process per engine, of which one runs at a time.
 *
 * The driver itself never starts a thread, so it may fork whenever it likes. An engine's process keeps its store from
 * cell to cell and is stopped (SIGSTOP) while others run, so that nothing it does in the background disturbs them and
 * what it owes is done in its own time. A process that dies or hangs costs its own cell: it is replaced by a new one.
 * */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <signal.h>
#include <sys/types.h>

#include "workload.h"

struct bench_process {
    struct bench_session session;   /* As the process begins it; `directory` is below `base`. */
    const char *base;
    char directory[256];            /* A new one for each process. */
    unsigned started;
    pid_t pid;                      /* 0: none. */
    int to_engine;
    int from_engine;
    struct bench_shared *shared;    /* Memory of both. */
};

/* Set by the driver's signal handler: waiting for a result ends, and with it the process waited for. */
extern volatile sig_atomic_t bench_interrupted;

/* Prepare; the process itself starts with the first cell. `session->directory` is where it may make its own
 * directories. Returns 0, or -1 with errno. */
int bench_process_init(struct bench_process *process, const struct bench_session *session);

/* Run one cell and wait for its result, which stays valid until the next call. NULL: the process died or hung. */
const struct bench_result *bench_process_run(struct bench_process *process, const struct bench_cell *cell);

/* End the process in order (its store is closed), so that the next cell begins in a fresh one. */
void bench_process_stop(struct bench_process *process);

/* Remove a directory and what is in it. */
void bench_remove_tree(const char *path);

#endif

/* SPDX-License-Identifier: MIT */
/* bench/process.c: see process.h. One byte each way: "run the cell in shared memory", "its result is there". */
#include "process.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 120000,       /* Beyond the cell's own time: loading, and finishing what was begun. */
    FAREWELL_MS = 30000         /* To close the store. */
};

volatile sig_atomic_t bench_interrupted;

struct bench_shared {
    struct bench_cell cell;
    struct bench_result result;
};

int
bench_process_init(struct bench_process *process, const struct bench_session *session)
{
    *process = (struct bench_process){ .session = *session, .base = session->directory };
    process->shared = mmap(NULL, sizeof *process->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return process->shared == MAP_FAILED ? -1 : 0;
}

static int
remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

void
bench_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A process must not hold the others' pipes open: they end by the driver's closing them. */
static void
close_all_but(int first, int second)
{
    for (int descriptor = 3; descriptor < 1024; descriptor++)
        if (descriptor != first && descriptor != second)
            close(descriptor);
}

/* The engine's side. */
static void
serve(struct bench_process *process, int commands, int answers)
{
    char byte;

    while (read(commands, &byte, 1) == 1) {
        bench_run_cell(&process->session, &process->shared->cell, &process->shared->result);
        if (write(answers, &byte, 1) != 1)
            break;
    }
    bench_session_close(&process->session);
}

static int
start(struct bench_process *process)
{
    int commands[2];
    int answers[2];
    pid_t driver = getpid();

    snprintf(process->directory, sizeof process->directory, "%s/%s-%u", process->base, process->session.engine->name,
             process->started++);
    process->session.directory = process->directory;
    if (mkdir(process->directory, 0700) != 0)
        return -1;
    if (pipe(commands) != 0)
        return -1;
    if (pipe(answers) != 0)
        goto close_commands;
    fflush(NULL);
    process->pid = fork();
    if (process->pid < 0)
        goto close_answers;
    if (process->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != driver)
            _exit(1);
        close_all_but(commands[0], answers[1]);
        serve(process, commands[0], answers[1]);
        fflush(NULL);
        _exit(0);
    }
    close(commands[0]);
    close(answers[1]);
    process->to_engine = commands[1];
    process->from_engine = answers[0];
    return 0;

close_answers:
    close(answers[0]);
    close(answers[1]);
close_commands:
    close(commands[0]);
    close(commands[1]);
    process->pid = 0;
    return -1;
}

/* Wait until the process has something to say or has gone; false if it does neither in time, or the run is
 * interrupted. */
static bool
wait_for(int descriptor, int timeout_ms)
{
    struct pollfd wanted = { .fd = descriptor, .events = POLLIN };
    int ready;

    do
        ready = poll(&wanted, 1, timeout_ms);
    while (ready < 0 && errno == EINTR && bench_interrupted == 0);
    return ready > 0;
}

static void
reap(struct bench_process *process, const char *why)
{
    int status = 0;

    if (why != NULL)
        kill(process->pid, SIGKILL);
    close(process->to_engine);
    close(process->from_engine);
    waitpid(process->pid, &status, 0);
    if (why != NULL)
        fprintf(stderr, "%s: %s (%s %d)\n", process->session.engine->name, why,
                WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    process->pid = 0;
    bench_remove_tree(process->directory);
}

const struct bench_result *
bench_process_run(struct bench_process *process, const struct bench_cell *cell)
{
    char byte = 'r';

    if (process->pid != 0)
        kill(process->pid, SIGCONT);
    else if (start(process) != 0)
        return NULL;
    process->shared->cell = *cell;
    memset(&process->shared->result, 0, sizeof process->shared->result);
    if (write(process->to_engine, &byte, 1) != 1 ||
        !wait_for(process->from_engine, (int)(cell->seconds * 3000) + PATIENCE_MS)) {
        reap(process, "did not finish in time");
        return NULL;
    }
    if (read(process->from_engine, &byte, 1) != 1) {
        reap(process, "ended before its time");
        return NULL;
    }
    kill(process->pid, SIGSTOP);
    return &process->shared->result;
}

void
bench_process_stop(struct bench_process *process)
{
    if (process->pid == 0)
        return;
    kill(process->pid, SIGCONT);
    close(process->to_engine);
    process->to_engine = -1;
    /* Its end of the pipe closes when it ends. */
    reap(process, wait_for(process->from_engine, FAREWELL_MS) ? NULL : "did not close its store");
}

/* SPDX-License-Identifier: MIT */
/* bench/worker.h: one thread of a cell, and what the threads of a cell share. Between steps.c, which says what a thread
 * does, and workload.c, which runs the threads. */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "workload.h"

#define BENCH_COUNTER_ID ((uint64_t)1 << 62)    /* The hot counter; beyond all ids that are loaded or inserted. */
#define BENCH_SUM_ID (BENCH_COUNTER_ID + 1)     /* What the engine itself increments. */

enum {
    BENCH_NOISE_OFFSETS = 4096      /* Values are cut from random bytes at one of so many places. */
};

struct bench_worker;

/* What the threads of a cell share. Immutable while they run, but for `stop`. */
struct bench_run {
    struct bench_session *session;
    const struct bench_engine *engine;
    const struct bench_workload *workload;
    uint64_t (*step)(struct bench_worker *worker);  /* Returns how many operations it was; 0: nothing left to do. */
    uint64_t stride;                            /* A power of two. */
    uint64_t seed;
    uint64_t first_id;                          /* Of those inserted here. */
    unsigned threads;
    unsigned batch;                             /* Loads: keys per transaction; 1: single puts. */
    pthread_barrier_t barrier;
    _Alignas(BENCH_CACHE_LINE) _Atomic(bool) stop;
};

/* One thread of a cell. Owner thread only, but for `published`. */
struct bench_worker {
    struct bench_run *run;
    void *thread;                   /* The engine's. */
    unsigned number;
    struct torci_random random;
    uint64_t operations, attempts, commits, busy, wrong, faults;
    uint64_t inserted;              /* Keys this thread has inserted. */
    uint64_t start_ns, end_ns;
    uint64_t ids[8];                /* Of the transaction under way. */
    uint64_t scan_last;             /* Big-endian head of the last key a scan showed, as a number. */
    uint8_t value[BENCH_VALUE_SIZE_MAX];
    uint8_t copy[BENCH_VALUE_SIZE_MAX];
    uint8_t noise[BENCH_NOISE_OFFSETS + BENCH_VALUE_SIZE_MAX];
    struct torci_histogram latency;
    pthread_t handle;
    _Alignas(BENCH_CACHE_LINE) _Atomic(uint64_t) published;     /* Operations so far. */
};

static inline bool
bench_stopping(const struct bench_worker *worker)
{
    return atomic_load_explicit(&worker->run->stop, memory_order_relaxed);      /* It only has to arrive. */
}

/* The value of key `id` with this generation. Valid until the worker makes the next one. */
struct bench_value bench_make_value(struct bench_worker *worker, uint64_t id, uint64_t generation);

/* Put until it is done. Returns whether it was (not if the cell ends first). */
bool bench_put_key(struct bench_worker *worker, const uint8_t *key, struct bench_value value);

/* Get a key that must be there, and check its value. */
void bench_get_id(struct bench_worker *worker, uint64_t id);

/* Read a key that must be there, in the transaction of the engine's `thread`, and check its value. */
enum bench_outcome bench_read_in(struct bench_worker *worker, void *thread, uint64_t id, struct bench_value *value);

/* Scan up to `limit` entries and check each. `from` NULL: from the first key; else a key that is there. Returns how
 * many. */
uint64_t bench_scan_from(struct bench_worker *worker, const uint8_t *from, uint64_t limit);

/* Set the step of run->workload, and its stride. */
void bench_choose_step(struct bench_run *run);

/* What the calling thread does while the workers run; the workers stop when it returns. */
typedef void bench_supervise(struct bench_run *run, struct bench_worker **workers, double seconds,
                             struct bench_result *result);

void bench_run_threads(struct bench_run *run, bench_supervise *during, double seconds, struct bench_result *result);

/* Sleep until `deadline_ns`; the threads run meanwhile. */
void bench_sleep_until(uint64_t deadline_ns);

/* Note where the run stands, as point number `index` of its series. `before` is the figure of the last one. */
struct bench_moment {
    uint64_t at_ns;
    uint64_t operations;
};
struct bench_moment bench_moment(const struct bench_run *run, struct bench_worker **workers);
void bench_note_point(struct bench_run *run, struct bench_worker **workers, unsigned index, uint64_t start_ns,
                      struct bench_moment *before, struct bench_result *result);

/* Open an empty store in place of the present one. */
bool bench_open_empty(struct bench_session *session);

/* Put every key, `batch` to a transaction (1: by single puts), by two threads. */
void bench_load_keys(struct bench_session *session, unsigned batch, uint64_t seed, struct bench_result *result);

/* Count the keys by a scan that checks each value. */
void bench_count_keys(struct bench_session *session, uint64_t expected, struct bench_result *result);

/* ---- durable.c: what only stores with files do ---- */

/* Writes checkpoints in the middle half of the time. */
bench_supervise bench_supervise_checkpoints;

void bench_run_recovery(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result);

/* Remove what engines left in `directory`. */
void bench_remove_files(const char *directory);

/* Wait until the disk has everything. */
void bench_drain(struct bench_session *session, struct bench_result *result);

/* Close the store, open it again: it must hold so many keys. */
void bench_reopen(struct bench_session *session, uint64_t expected, struct bench_result *result);

/* Put the next key, or run->batch keys in a transaction, of this worker's share of a load. */
uint64_t bench_step_load(struct bench_worker *worker);

#endif

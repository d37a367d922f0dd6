/* SPDX-License-Identifier: MIT */
/* stress/mvcc_stress: what the workloads share. A round is one workload on all threads, then its check, on one thread.
 *
 *   mvcc_stress.c    options, rounds, watchdog, conservation
 *   mvcc_mix.c       everything mixed; the history is checked exactly (check_si)
 *   mvcc_lists.c     list-append; the history is checked as a black box (check_elle)
 *   mvcc_sums.c      bank and all-equal; every reader checks what it sees */
#ifndef TORCT_MVCC_STRESS_H
#define TORCT_MVCC_STRESS_H

#include <stdbool.h>
#include <stdint.h>

#include <torc/mvcc.h>

#include "base/atomic.h"
#include "base/random.h"
#include "history.h"
#include "verdict.h"

enum { STRESS_NAME_MAX = 48 };

/* One thread of the round. Its own but for `steps` and `step`, which the watchdog reads. */
struct torct_worker {
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) steps;
    _Atomic(const char *) step;         /* What it is doing; NULL: it does not run. */
    _Alignas(TORCI_CACHE_LINE) unsigned number;
    struct torct_stress *stress;
    struct torci_random random;
    uint64_t deadline;                  /* Of the round. */
    uint64_t commits;
    uint64_t conflicts;                 /* And refusals by a limit. */
    uint64_t reads;                     /* Values, checked now or later. */
    uint64_t wrong;                     /* Violations that it saw itself. */
};

struct torct_stress {
    struct torc_mvcc *store;
    struct torct_worker *workers;
    unsigned threads;
    uint32_t keys;                      /* Of the mix. */
    uint64_t seed;
    uint64_t round;
    uint64_t round_ns;
    _Atomic(bool) stop;                 /* Relaxed: a hint to end the round early. */
    struct torct_verdict verdict;
};

/* A workload. `prepare` and `check` run on one thread, before and after `run` on all. */
struct torct_workload {
    const char *name;
    enum torc_isolation isolation;      /* Of the whole round, where the workload does not mix them. */
    void (*prepare)(struct torct_stress *stress, const struct torct_workload *workload);
    void (*run)(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
    void (*check)(struct torct_stress *stress, const struct torct_workload *workload);
};

void torct_mix_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_mix_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_mix_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_mix_forget(const struct torct_stress *stress);   /* The store is new: nothing is in it. */
void torct_mix_fini(void);

void torct_lists_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_lists_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_lists_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_lists_fini(void);

void torct_bank_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_bank_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_bank_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_equal_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_equal_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_equal_check(struct torct_stress *stress, const struct torct_workload *workload);

/* Say that the worker is alive, and what it does next. */
static inline void
torct_step(struct torct_worker *worker, const char *step)
{
    /* Relaxed: only the watchdog looks, and only for change. */
    torci_store(&worker->step, step, memory_order_relaxed);
    torci_store(&worker->steps, torci_load(&worker->steps, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Whether the round goes on, at `now`. */
static inline bool
torct_goes_on(const struct torct_worker *worker, uint64_t now)
{
    return now < worker->deadline && !torci_load(&worker->stress->stop, memory_order_relaxed);
}

/* Report a violation that a worker saw itself. */
__attribute__((format(printf, 2, 3))) void torct_complain(struct torct_worker *worker, const char *format, ...);

/* Say why the program cannot go on, and end it. */
__attribute__((format(printf, 1, 2), noreturn)) void torct_give_up(const char *format, ...);

/* For what must succeed when nothing else runs. */
#define torct_must(call)                                                                            \
    do {                                                                                            \
        enum torc_status must_status = (call);                                                      \
        if (must_status != TORC_OK)                                                                 \
            torct_give_up("%s: %s (%s)", #call, torc_status_name(must_status), torc_detail());      \
    } while (0)

#endif

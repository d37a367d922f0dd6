/* SPDX-License-Identifier: MIT */
/* stress/mvcc_stress: what the workloads share. A round is one workload on all threads, then its check, on one thread.
 *
 *   mvcc_stress.c    options, rounds, watchdog, conservation
 *   mvcc_mix.c       everything mixed; the history is checked exactly (check_si)
 *   mvcc_lists.c     list-append; the history is checked as a black box (check_elle)
 *   mvcc_sums.c      bank and all-equal; every reader checks what it sees
 *   mvcc_keyspaces.c keyspaces that come and go; merges that must add up
 *   mvcc_times.c     values that expire; snapshots of the past
 *   mvcc_watches.c   watches, and on_commit
 *   mvcc_loads.c     loads, and estimates
 *   mvcc_limits.c    transactions that come to their limit
 *
 * Each oracle that is no checker of histories can be shown to fail: with --plant one thread of its workload does
 * something wrong, which must be found. */
#ifndef TORCT_MVCC_STRESS_H
#define TORCT_MVCC_STRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/atomic.h"
#include "base/random.h"
#include "history.h"
#include "verdict.h"

enum {
    STRESS_NAME_MAX = 48,
    STRESS_TXN_LIMIT = 32 * 1024,
};

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
    bool plant;                         /* Do something wrong, which the oracle must find. */
    unsigned traits;                    /* Of the store: enum torct_trait. */
    _Atomic(uint64_t) now_ms;           /* The time of the store, by which values expire. Relaxed: what a thread learns
                                           of another orders its reads of one word, too. */
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) told;  /* Changes that on_commit saw. Relaxed: a counter. */
    _Atomic(bool) stop;                 /* Relaxed: a hint to end the round early. */
    struct torct_verdict verdict;
};

/* How a workload wants its store. */
enum torct_trait {
    TORCT_KEEPS_HISTORY = 1,            /* history_ns */
    TORCT_EXPIRES_SNAPSHOTS = 2,        /* max_snapshot_age_ns */
    TORCT_DRIVEN = 4,                   /* caller_driven: the workload polls. */
    TORCT_TELLS = 8,                    /* on_commit counts. */
    TORCT_LIMITS = 16,                  /* txn_limit_bytes */
};

/* A workload. `prepare` and `check` run on one thread, before and after `run` on all. */
struct torct_workload {
    const char *name;
    enum torc_isolation isolation;      /* Of the whole round, where the workload does not mix them. */
    unsigned traits;                    /* Of its store: enum torct_trait. */
    void (*prepare)(struct torct_stress *stress, const struct torct_workload *workload);
    void (*run)(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
    void (*check)(struct torct_stress *stress, const struct torct_workload *workload);
};

void torct_mix_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_mix_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_mix_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_mix_forget(void);    /* The store is new: nothing is in it. */
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

void torct_spaces_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_spaces_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_spaces_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_merges_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_merges_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_merges_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_expiry_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_expiry_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_expiry_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_past_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_past_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_past_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_watches_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_watches_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_watches_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_loads_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_loads_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_loads_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_estimates_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_estimates_run(struct torct_stress *stress, const struct torct_workload *workload,
                         struct torct_worker *worker);
void torct_estimates_check(struct torct_stress *stress, const struct torct_workload *workload);
void torct_limits_prepare(struct torct_stress *stress, const struct torct_workload *workload);
void torct_limits_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker);
void torct_limits_check(struct torct_stress *stress, const struct torct_workload *workload);

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

/* The time of the store. */
static inline uint64_t
torct_now_ms(struct torct_stress *stress)
{
    return torci_load(&stress->now_ms, memory_order_relaxed);   /* Relaxed: see its declaration. */
}

static inline void
torct_advance_ms(struct torct_stress *stress, uint64_t by)
{
    torci_fetch_add(&stress->now_ms, by, memory_order_relaxed);
}

/* A number kept as a value. */
static inline struct torc_slice
torct_bytes_of(const int64_t *number)
{
    return torc_slice(number, sizeof(*number));
}

/* The number that a value holds; one that no oracle accepts if it holds none. */
static inline int64_t
torct_number_in(struct torc_slice value)
{
    int64_t number = INT64_MIN / 2;

    if (value.size == sizeof(number))
        memcpy(&number, value.data, sizeof(number));
    return number;
}

/* Whether a status is one that may come when threads meet; complain of any other. */
bool torct_may_come(struct torct_worker *worker, const char *step, enum torc_status status);

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

/* SPDX-License-Identifier: MIT */
/* bench/workload.h: what is measured: the table of workloads, and one cell of it run on one engine. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bench.h"
#include "base/histogram.h"
#include "zipf.h"

enum bench_kind {
    BENCH_BEGIN_END,        /* A read-only transaction that does nothing. */
    BENCH_READ_TRANSACTION, /* BENCH_READS_PER_TRANSACTION point reads in one snapshot; counted per read. */
    BENCH_GET,              /* One autocommit get. */
    BENCH_MIX,              /* One operation drawn from a YCSB mix. */
    BENCH_READ_WRITE_TXN,   /* Four keys read, four others written, retried until it commits. */
    BENCH_SCAN_SOME,        /* 100 entries from a random key. */
    BENCH_SCAN_ALL,         /* The whole store; counted per entry. */
    BENCH_COUNTER,          /* Read-modify-write of one key, retried until it commits. */
    BENCH_COUNTER_ADD,      /* The same key through the engine's own increment. */
    BENCH_LOAD,             /* Insert every key into an empty store by single puts. */
    BENCH_MEMORY,           /* Bytes per record after a load. */
    BENCH_WRITE_TXN,        /* Four random keys written, retried until it commits. */
    BENCH_CHECKPOINT,       /* A mix; checkpoints are written one after the other in the middle half of the time. */
    BENCH_RECOVERY,         /* Open a store of all keys in a process of its own. */
    BENCH_LONG_READER       /* Updates of 1,000 keys; a reader opens after a quarter of the time, ends after three. */
};

enum {
    BENCH_READS_PER_TRANSACTION = 16,
    BENCH_SCAN_ENTRIES = 100,
    BENCH_HOT_KEYS = 1000,
    BENCH_POINTS = 40       /* Of a time series. */
};

struct bench_workload {
    const char *name;
    const char *title;
    enum bench_kind kind;
    enum bench_mode mode;           /* Of the transactions. */
    unsigned needs;                 /* Abilities. */
    bool zipf;                      /* Keys by Zipf .99, else uniform. */
    bool writes;                    /* Leaves the store changed. */
    bool copies;                    /* BENCH_READ_TRANSACTION: the caller copies what is lent. */
    bool ascending;                 /* BENCH_LOAD. */
    bool latest;                    /* BENCH_MIX: reads prefer what this thread inserted last. */
    bool durable;                   /* Of the durable engines; else of those in memory. */
    bool replay;                    /* BENCH_RECOVERY: from the journal alone, else from a checkpoint. */
    unsigned char threads[4];       /* Only at these numbers of threads; none: at all. */
    struct {
        unsigned char read, update, insert, scan, modify;   /* Per cent. */
    } mix;
};

extern const struct bench_workload bench_workloads[];
extern const unsigned bench_workload_count;

/* One cell to run. */
struct bench_cell {
    unsigned workload;
    unsigned threads;
    double seconds;
    uint64_t seed;
    bool fresh;                     /* Start from a freshly loaded store, if the present one has been changed. */
    bool reopen;                    /* Close and open the store afterwards, and count its keys. */
};

struct bench_point {
    double at_s;
    double operations_per_s;
    uint64_t resident_bytes;
    uint64_t accounted_bytes;
};

struct bench_result {
    bool ran;
    uint64_t operations;            /* Completed (committed), in the workload's unit. */
    uint64_t attempts;              /* Of retried transactions. */
    uint64_t commits;               /* Of retried transactions. */
    uint64_t busy;                  /* Refused for lack of room, tried again. */
    uint64_t wrong;                 /* Answers that were wrong: must be 0. */
    uint64_t faults;                /* Operations that failed: must be 0. */
    uint64_t syncs;                 /* Of the journal; 0: not known. */
    unsigned checkpoints;           /* BENCH_CHECKPOINT. */
    double checkpoint_s;            /* All of them. */
    double drain_s;                 /* Until all that was committed was on the disk, after the cell. */
    double wall_s;
    double cpu_s;                   /* All threads of the engine's process, background ones included. */
    struct torci_histogram latency;
    uint64_t records;               /* BENCH_MEMORY. */
    uint64_t resident_bytes;        /* BENCH_MEMORY: growth. */
    uint64_t accounted_bytes;       /* BENCH_MEMORY. */
    unsigned points;                /* BENCH_LONG_READER, BENCH_CHECKPOINT. */
    unsigned reader_begins;         /* First point with the reader, or with checkpoints. */
    unsigned reader_ends;           /* First point after it. */
    struct bench_point series[BENCH_POINTS];
};

/* One engine with its store, in the process that runs it. */
struct bench_session {
    const struct bench_engine *engine;
    struct bench_spec spec;
    const char *directory;
    const uint32_t *order;          /* A random permutation of the ids: the order of loading. */
    const struct bench_zipf *zipf;
    void *store;                    /* NULL: not open. */
    bool changed;                   /* Since it was loaded. */
    uint64_t ids_used;              /* Every id below may exist. */
    uint64_t counter;               /* What the counter key must hold. */
    uint64_t sum;                   /* What the key of increments must hold. */
    bool sum_exists;
};

/* Run one cell. Blocking. `result` is filled whatever happens; faults are counted in it. It lies in memory that is
 * shared with child processes. */
void bench_run_cell(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result);

/* Close the store, if one is open. */
void bench_session_close(struct bench_session *session);

uint64_t bench_now_ns(void);

#endif

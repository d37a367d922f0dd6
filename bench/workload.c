/* SPDX-License-Identifier: MIT */
/* bench/workload.c: the table of workloads, and the threads and stores that a cell needs.
 *
 * Shape      Threads meet at a barrier, then each repeats its step until the stop flag is seen (a load: until its
 *            share of
 *            the keys is in). Counters and histograms are the thread's own and are added up after the join.
 * Time       CLOCK_MONOTONIC. Throughput is over the span from the first thread's start to the last one's end. Every
 *            stride-th step is timed for the histogram; the stride is 1 where a step takes microseconds anyway.
 * Oracles    Those of steps.c; the counter must hold exactly the commits counted; a long reader must see what it saw
 *            first; a load must leave every key.
 * Ordering   `stop` is relaxed: it only has to arrive; pthread_join orders the counters. `published` is relaxed: a
 *            figure
 *            for a plot. */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

enum {
    LOAD_BATCH = 100,               /* Keys per transaction when a load is not what is measured. */
    LOAD_BATCH_SYNC = 5000,         /* The same if each transaction waits for the disk. */
    LOAD_THREADS = 2
};

#define YCSB(letter, words, ...)                                                                                       \
    { .name = "ycsb-" letter, .title = "YCSB " words, .kind = BENCH_MIX, .mode = BENCH_READ_WRITE, __VA_ARGS__ },      \
    {                                                                                                                  \
        .name = "ycsb-" letter "-zipf", .title = "YCSB " words ", Zipf .99", .kind = BENCH_MIX,                        \
        .mode = BENCH_READ_WRITE, .zipf = true, __VA_ARGS__                                                            \
    }

const struct bench_workload bench_workloads[] = {
    { .name = "memory", .title = "memory per record", .kind = BENCH_MEMORY },
    { .name = "long-reader",
      .title = "updates of 1000 keys beside a long reader",
      .kind = BENCH_LONG_READER,
      .needs = BENCH_CAN_TRANSACT,
      .writes = true },
    { .name = "begin-end", .title = "begin + end, read-only", .kind = BENCH_BEGIN_END, .needs = BENCH_CAN_TRANSACT },
    { .name = "read-snapshot", .title = "point reads in a snapshot, lent", .kind = BENCH_READ_TRANSACTION },
    { .name = "read-snapshot-zipf",
      .title = "point reads in a snapshot, lent, Zipf .99",
      .kind = BENCH_READ_TRANSACTION,
      .zipf = true },
    { .name = "read-snapshot-copy",
      .title = "point reads in a snapshot, copied",
      .kind = BENCH_READ_TRANSACTION,
      .copies = true },
    { .name = "get", .title = "autocommit get", .kind = BENCH_GET },
    { .name = "get-zipf", .title = "autocommit get, Zipf .99", .kind = BENCH_GET, .zipf = true },
    { .name = "scan-100", .title = "scan of 100 entries", .kind = BENCH_SCAN_SOME, .needs = BENCH_CAN_SCAN },
    { .name = "scan-full", .title = "full scan (entries)", .kind = BENCH_SCAN_ALL, .needs = BENCH_CAN_SCAN },
    YCSB("c", "C (read)", .mix = { .read = 100 }),
    YCSB("b", "B (95 % read, 5 % update)", .writes = true, .mix = { .read = 95, .update = 5 }),
    YCSB("a", "A (50 % read, 50 % update)", .writes = true, .mix = { .read = 50, .update = 50 }),
    YCSB("f", "F (50 % read, 50 % read-modify-write)", .writes = true, .needs = BENCH_CAN_TRANSACT,
         .mix = { .read = 50, .modify = 50 }),
    { .name = "ycsb-d",
      .title = "YCSB D (95 % read latest, 5 % insert)",
      .kind = BENCH_MIX,
      .mode = BENCH_READ_WRITE,
      .zipf = true,
      .writes = true,
      .latest = true,
      .mix = { .read = 95, .insert = 5 } },
    YCSB("e", "E (95 % scan of 1..100, 5 % insert)", .writes = true, .needs = BENCH_CAN_SCAN,
         .mix = { .scan = 95, .insert = 5 }),
    { .name = "txn-4r4w",
      .title = "transaction, 4 reads 4 writes",
      .kind = BENCH_READ_WRITE_TXN,
      .mode = BENCH_READ_WRITE,
      .needs = BENCH_CAN_TRANSACT,
      .writes = true },
    { .name = "txn-4r4w-serializable",
      .title = "transaction, 4 reads 4 writes, serializable",
      .kind = BENCH_READ_WRITE_TXN,
      .mode = BENCH_SERIALIZABLE,
      .needs = BENCH_CAN_TRANSACT | BENCH_CAN_SERIALIZE,
      .writes = true },
    { .name = "txn-4r4w-zipf",
      .title = "transaction, 4 reads 4 writes, Zipf .99",
      .kind = BENCH_READ_WRITE_TXN,
      .mode = BENCH_READ_WRITE,
      .needs = BENCH_CAN_TRANSACT,
      .zipf = true,
      .writes = true },
    { .name = "txn-4r4w-zipf-serializable",
      .title = "transaction, 4 reads 4 writes, Zipf .99, serializable",
      .kind = BENCH_READ_WRITE_TXN,
      .mode = BENCH_SERIALIZABLE,
      .needs = BENCH_CAN_TRANSACT | BENCH_CAN_SERIALIZE,
      .zipf = true,
      .writes = true },
    { .name = "counter",
      .title = "one hot counter, read-modify-write",
      .kind = BENCH_COUNTER,
      .mode = BENCH_READ_WRITE,
      .needs = BENCH_CAN_TRANSACT,
      .writes = true },
    { .name = "counter-merge",
      .title = "one hot counter, the engine's own increment",
      .kind = BENCH_COUNTER_ADD,
      .needs = BENCH_CAN_ADD,
      .writes = true },
    { .name = "load-random", .title = "load, random order", .kind = BENCH_LOAD, .writes = true },
    { .name = "load-ascending", .title = "load, ascending", .kind = BENCH_LOAD, .writes = true, .ascending = true },
    { .name = "ycsb-a-durable",
      .title = "YCSB A, the journal not waited for",
      .kind = BENCH_MIX,
      .needs = BENCH_IS_LAZY,
      .writes = true,
      .durable = true,
      .threads = { 1, 2, 8 },
      .mix = { .read = 50, .update = 50 } },
    { .name = "put-sync",
      .title = "one put, on the disk",
      .kind = BENCH_MIX,
      .needs = BENCH_IS_SYNC,
      .writes = true,
      .durable = true,
      .threads = { 1, 8, 64 },
      .mix = { .update = 100 } },
    { .name = "txn-sync",
      .title = "transaction of 4 writes, on the disk",
      .kind = BENCH_WRITE_TXN,
      .mode = BENCH_READ_WRITE,
      .needs = BENCH_IS_SYNC,
      .writes = true,
      .durable = true,
      .threads = { 1, 8, 64 } },
    { .name = "checkpoint",
      .title = "YCSB A while checkpoints are written",
      .kind = BENCH_CHECKPOINT,
      .needs = BENCH_CAN_CHECKPOINT,
      .writes = true,
      .durable = true,
      .mix = { .read = 50, .update = 50 } },
    { .name = "recovery-checkpoint",
      .title = "open, from a checkpoint (keys)",
      .kind = BENCH_RECOVERY,
      .needs = BENCH_CAN_RECOVER,
      .durable = true },
    { .name = "recovery-journal",
      .title = "open, from the journal alone (commits)",
      .kind = BENCH_RECOVERY,
      .needs = BENCH_CAN_REPLAY,
      .durable = true,
      .replay = true }
};

const unsigned bench_workload_count = sizeof bench_workloads / sizeof *bench_workloads;

uint64_t
bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- Threads ------------------------------------------------------------------------------------------------- */

static void *
worker_main(void *context)
{
    struct bench_worker *worker = context;
    struct bench_run *run = worker->run;
    bool counted = run->step == bench_step_load;      /* Ends by itself. */

    worker->thread = run->engine->thread_begin(run->session->store);
    pthread_barrier_wait(&run->barrier);
    worker->start_ns = bench_now_ns();
    if (worker->thread == NULL)
        worker->faults++;
    for (uint64_t i = 0; worker->thread != NULL && !bench_stopping(worker); i++) {
        uint64_t done;

        if (i % run->stride == 0) {
            uint64_t before = bench_now_ns();

            done = run->step(worker);
            if (done != 0)
                torci_histogram_record(&worker->latency, bench_now_ns() - before);
        } else {
            done = run->step(worker);
        }
        worker->operations += done;
        if (done == 0 && (counted || worker->faults > 1000))
            break;
    }
    worker->end_ns = bench_now_ns();
    if (worker->thread != NULL)
        run->engine->thread_end(worker->thread);
    return NULL;
}

static struct bench_worker *
worker_create(struct bench_run *run, unsigned number)
{
    struct bench_worker *worker = aligned_alloc(BENCH_CACHE_LINE, sizeof *worker);

    if (worker == NULL)
        abort();
    memset(worker, 0, sizeof *worker);
    worker->run = run;
    worker->number = number;
    worker->random = torci_random_seed(run->seed + number * 1000003u);
    for (size_t i = 0; i + 8 <= sizeof worker->noise; i += 8)
        bench_store64(worker->noise + i, torci_random_next(&worker->random));
    return worker;
}

static double
cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t
resident_bytes(void)
{
    unsigned long whole = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%lu %lu", &whole, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void
bench_sleep_until(uint64_t deadline_ns)
{
    struct timespec deadline = { .tv_sec = (time_t)(deadline_ns / 1000000000u),
                                 .tv_nsec = (long)(deadline_ns % 1000000000u) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) != 0)
        continue;
}

static void
add_up(struct bench_run *run, struct bench_worker **workers, struct bench_result *result)
{
    uint64_t first = UINT64_MAX;
    uint64_t last = 0;
    uint64_t most_inserted = 0;

    for (unsigned i = 0; i < run->threads; i++) {
        struct bench_worker *worker = workers[i];

        first = worker->start_ns < first ? worker->start_ns : first;
        last = worker->end_ns > last ? worker->end_ns : last;
        most_inserted = worker->inserted > most_inserted ? worker->inserted : most_inserted;
        result->operations += worker->operations;
        result->attempts += worker->attempts;
        result->commits += worker->commits;
        result->busy += worker->busy;
        result->wrong += worker->wrong;
        result->faults += worker->faults;
        torci_histogram_merge(&result->latency, &worker->latency);
    }
    result->wall_s = (double)(last - first) / 1e9;
    if (run->workload->mix.insert != 0)
        run->session->ids_used += most_inserted * run->threads;
}

static void
supervise_plain(struct bench_run *run, struct bench_worker **workers, double seconds, struct bench_result *result)
{
    (void)run;
    (void)workers;
    (void)result;
    bench_sleep_until(bench_now_ns() + (uint64_t)(seconds * 1e9));
}

static void
supervise_load(struct bench_run *run, struct bench_worker **workers, double seconds, struct bench_result *result)
{
    (void)run;
    (void)workers;
    (void)seconds;
    (void)result;
}

void
bench_run_threads(struct bench_run *run, bench_supervise *during, double seconds, struct bench_result *result)
{
    struct bench_worker *workers[BENCH_THREADS_MAX];
    double cpu;

    atomic_init(&run->stop, false);
    pthread_barrier_init(&run->barrier, NULL, run->threads + 1);
    for (unsigned i = 0; i < run->threads; i++) {
        workers[i] = worker_create(run, i);
        if (pthread_create(&workers[i]->handle, NULL, worker_main, workers[i]) != 0)
            abort();
    }
    pthread_barrier_wait(&run->barrier);
    cpu = cpu_seconds();
    during(run, workers, seconds, result);
    if (during != supervise_load)
        atomic_store_explicit(&run->stop, true, memory_order_relaxed);      /* It only has to arrive. */
    for (unsigned i = 0; i < run->threads; i++)
        pthread_join(workers[i]->handle, NULL);
    result->cpu_s = cpu_seconds() - cpu;
    add_up(run, workers, result);
    for (unsigned i = 0; i < run->threads; i++)
        free(workers[i]);
    pthread_barrier_destroy(&run->barrier);
}

/* ---- The long reader ----------------------------------------------------------------------------------------- */

struct long_reader {
    struct bench_worker *worker;
    bool open;
    unsigned keys;
    unsigned next;                  /* Key to look at. */
    uint64_t budget_ns;             /* For one look. */
    uint64_t generations[BENCH_HOT_KEYS];
};

/* Read the hot keys; the first time all of them, to remember them. Later they must be the same, and as many are read as
 * the budget allows: in some engines a read behind many updates takes long. */
static void
look_again(struct long_reader *reader, bool first)
{
    struct bench_worker *worker = reader->worker;
    uint64_t end = bench_now_ns() + reader->budget_ns;

    for (unsigned i = 0; i < reader->keys && (first || bench_now_ns() < end); i++) {
        unsigned id = reader->next;
        struct bench_value value = { NULL, 0 };

        reader->next = (id + 1) % reader->keys;
        if (bench_read_in(worker, worker->thread, id, &value) != BENCH_OK)
            continue;
        if (first)
            reader->generations[id] = bench_load64(value.data + 8);
        else if (reader->generations[id] != bench_load64(value.data + 8))
            worker->wrong++;
    }
}

static void
turn_reader(struct long_reader *reader, bool open)
{
    struct bench_worker *worker = reader->worker;
    const struct bench_engine *engine = worker->run->engine;

    if (open) {
        if (engine->begin(worker->thread, BENCH_READ_ONLY) != BENCH_OK)
            worker->faults++;
        look_again(reader, true);
    } else {
        look_again(reader, false);
        if (engine->commit(worker->thread) != BENCH_OK)
            worker->faults++;
    }
    reader->open = open;
}

/* Of all workers. */
static uint64_t
published_operations(const struct bench_run *run, struct bench_worker **workers)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < run->threads; i++)
        total += atomic_load_explicit(&workers[i]->published, memory_order_relaxed);    /* For a plot. */
    return total;
}

struct bench_moment
bench_moment(const struct bench_run *run, struct bench_worker **workers)
{
    return (struct bench_moment){ .at_ns = bench_now_ns(), .operations = published_operations(run, workers) };
}

void
bench_note_point(struct bench_run *run, struct bench_worker **workers, unsigned index, uint64_t start_ns,
                 struct bench_moment *before, struct bench_result *result)
{
    struct bench_session *session = run->session;
    struct bench_point *point = &result->series[index];
    struct bench_moment now = bench_moment(run, workers);

    point->at_s = (double)(now.at_ns - start_ns) / 1e9;
    point->operations_per_s =
        (double)(now.operations - before->operations) * 1e9 / (double)(now.at_ns - before->at_ns);
    point->resident_bytes = resident_bytes();
    point->accounted_bytes = run->engine->memory_bytes != NULL ? run->engine->memory_bytes(session->store) : 0;
    *before = now;
    result->points = index + 1;
}

static void
supervise_long_reader(struct bench_run *run, struct bench_worker **workers, double seconds, struct bench_result *result)
{
    struct bench_session *session = run->session;
    struct long_reader reader = { .worker = worker_create(run, run->threads) };
    struct bench_moment before = bench_moment(run, workers);
    uint64_t start = before.at_ns;

    reader.keys = session->spec.keys < BENCH_HOT_KEYS ? (unsigned)session->spec.keys : (unsigned)BENCH_HOT_KEYS;
    reader.budget_ns = (uint64_t)(seconds * 1e9 / BENCH_POINTS / 10);
    reader.worker->thread = run->engine->thread_begin(session->store);
    result->reader_begins = BENCH_POINTS / 4;
    result->reader_ends = BENCH_POINTS - BENCH_POINTS / 4;
    for (unsigned i = 0; i < BENCH_POINTS; i++) {
        if (i == result->reader_begins || i == result->reader_ends)
            turn_reader(&reader, i == result->reader_begins);
        bench_sleep_until(start + (uint64_t)(seconds * 1e9 * (i + 1) / BENCH_POINTS));
        if (reader.open)
            look_again(&reader, false);
        bench_note_point(run, workers, i, start, &before, result);
    }
    result->wrong += reader.worker->wrong;
    result->faults += reader.worker->faults;
    run->engine->thread_end(reader.worker->thread);
    free(reader.worker);
}

/* ---- Stores -------------------------------------------------------------------------------------------------- */

void
bench_session_close(struct bench_session *session)
{
    if (session->store != NULL)
        session->engine->close(session->store);
    session->store = NULL;
}

bool
bench_open_empty(struct bench_session *session)
{
    bench_session_close(session);
    if (session->spec.durability != BENCH_IN_MEMORY)
        bench_remove_files(session->directory);
    session->store = session->engine->open(session->directory, &session->spec);
    session->changed = false;
    session->ids_used = session->spec.keys;
    session->counter = 0;
    session->sum = 0;
    session->sum_exists = false;
    return session->store != NULL;
}

static void
load_keys(struct bench_session *session, const struct bench_workload *workload, unsigned threads, unsigned batch,
          uint64_t seed, struct bench_result *result)
{
    struct bench_run run = { .session = session, .engine = session->engine, .workload = workload, .threads = threads,
                       .batch = batch, .seed = seed, .step = bench_step_load, .stride = 8 };

    bench_run_threads(&run, supervise_load, 0, result);
}

void
bench_load_keys(struct bench_session *session, unsigned batch, uint64_t seed, struct bench_result *result)
{
    static const struct bench_workload loading = { .name = "loading", .kind = BENCH_LOAD, .mode = BENCH_READ_WRITE };

    load_keys(session, &loading, LOAD_THREADS, batch, seed, result);
}

/* Run `body` as the only thread of a worker that is no part of any count. */
static struct bench_worker *
single_begin(struct bench_session *session, struct bench_run *run)
{
    struct bench_worker *worker;

    *run = (struct bench_run){
        .session = session, .engine = session->engine, .workload = &bench_workloads[0], .threads = 1
    };
    worker = worker_create(run, 0);
    worker->thread = session->engine->thread_begin(session->store);
    return worker;
}

static void
single_end(struct bench_worker *worker, struct bench_result *result)
{
    worker->run->engine->thread_end(worker->thread);
    result->wrong += worker->wrong;
    result->faults += worker->faults;
    free(worker);
}

static void
put_counter(struct bench_session *session, struct bench_result *result)
{
    struct bench_run run;
    struct bench_worker *worker = single_begin(session, &run);
    uint8_t key[BENCH_KEY_SIZE];

    bench_key(key, BENCH_COUNTER_ID);
    (void)bench_put_key(worker, key, bench_make_value(worker, BENCH_COUNTER_ID, 0));
    single_end(worker, result);
}

/* Open and fill a store for a workload that needs one. How long this takes is not measured. */
static bool
load_store(struct bench_session *session, uint64_t seed, struct bench_result *result)
{
    struct bench_result ignored = { .ran = false };
    unsigned batch = session->spec.durability == BENCH_DURABLE_SYNC ? LOAD_BATCH_SYNC : LOAD_BATCH;

    if (!bench_open_empty(session))
        return false;
    bench_load_keys(session, session->engine->abilities & BENCH_CAN_TRANSACT ? batch : 1, seed, &ignored);
    put_counter(session, &ignored);
    result->wrong += ignored.wrong;
    result->faults += ignored.faults;
    return ignored.faults == 0;
}

void
bench_count_keys(struct bench_session *session, uint64_t expected, struct bench_result *result)
{
    struct bench_run run;
    struct bench_worker *worker = single_begin(session, &run);

    if (bench_scan_from(worker, NULL, UINT64_MAX) != expected)
        worker->wrong++;
    single_end(worker, result);
}

/* Every key must be there: by one scan where there are scans, else by as many gets. */
static void
check_load(struct bench_session *session, const struct bench_workload *workload, struct bench_result *result)
{
    struct bench_run run;
    struct bench_worker *worker = single_begin(session, &run);

    if (session->engine->scan != NULL) {
        if (bench_scan_from(worker, NULL, UINT64_MAX) != session->spec.keys)
            worker->wrong++;
    } else if (!workload->ascending) {
        for (uint64_t id = 0; id < session->spec.keys; id++)
            bench_get_id(worker, id);
    }
    single_end(worker, result);
}

static void
run_load(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result)
{
    const struct bench_workload *workload = &bench_workloads[cell->workload];

    if (!bench_open_empty(session)) {
        result->faults++;
        return;
    }
    load_keys(session, workload, cell->threads, 1, cell->seed, result);
    check_load(session, workload, result);
    bench_session_close(session);
}

static void
run_memory(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result)
{
    uint64_t before;

    bench_session_close(session);
    for (uint64_t i = 0; i < session->spec.keys; i += 256)      /* So that they are resident already. */
        (void)*(const volatile uint32_t *)&session->order[i];
    result->records = session->spec.keys;
    before = resident_bytes();
    if (!bench_open_empty(session)) {
        result->faults++;
        return;
    }
    load_keys(session, &bench_workloads[cell->workload], LOAD_THREADS, 1, cell->seed, result);
    if (session->engine->settle != NULL)
        session->engine->settle(session->store);
    result->resident_bytes = resident_bytes() - before;
    if (session->engine->memory_bytes != NULL)
        result->accounted_bytes = session->engine->memory_bytes(session->store);
    bench_session_close(session);
}

/* ---- Cells --------------------------------------------------------------------------------------------------- */

/* The counter must hold what it held plus the commits; the sum likewise. */
static void
check_counters(struct bench_session *session, const struct bench_workload *workload, struct bench_result *result)
{
    struct bench_run run;
    struct bench_worker *worker;
    struct bench_value value;
    uint8_t key[BENCH_KEY_SIZE];

    if (workload->kind != BENCH_COUNTER && workload->kind != BENCH_COUNTER_ADD)
        return;
    worker = single_begin(session, &run);
    value.data = worker->copy;
    bench_key(key, workload->kind == BENCH_COUNTER ? BENCH_COUNTER_ID : BENCH_SUM_ID);
    if (session->engine->get(worker->thread, key, worker->copy, sizeof worker->copy, &value.size) != BENCH_OK) {
        worker->wrong++;
    } else if (workload->kind == BENCH_COUNTER) {
        session->counter += result->commits;
        if (bench_load64(value.data + 8) != session->counter)
            worker->wrong++;
    } else {
        session->sum += result->operations;
        if (value.size != sizeof session->sum || bench_load64(value.data) != session->sum)
            worker->wrong++;
    }
    single_end(worker, result);
}

static void
put_sum(struct bench_session *session, struct bench_result *result)
{
    static const uint64_t zero;
    struct bench_run run;
    struct bench_worker *worker;
    uint8_t key[BENCH_KEY_SIZE];

    if (session->sum_exists)
        return;
    worker = single_begin(session, &run);
    bench_key(key, BENCH_SUM_ID);
    (void)bench_put_key(worker, key, (struct bench_value){ (const uint8_t *)&zero, sizeof zero });
    session->sum_exists = true;
    single_end(worker, result);
}

static bench_supervise *
supervisor(const struct bench_workload *workload)
{
    switch (workload->kind) {
    case BENCH_LONG_READER:
        return supervise_long_reader;
    case BENCH_CHECKPOINT:
        return bench_supervise_checkpoints;
    default:
        return supervise_plain;
    }
}

static uint64_t
syncs_so_far(const struct bench_session *session)
{
    return session->engine->syncs == NULL ? 0 : session->engine->syncs(session->store);
}

static void
run_timed(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result)
{
    const struct bench_workload *workload = &bench_workloads[cell->workload];
    struct bench_run run = { .session = session,
                             .engine = session->engine,
                             .workload = workload,
                             .threads = cell->threads,
                             .batch = 1,
                             .seed = cell->seed };
    uint64_t syncs;

    session->spec.churn = workload->kind == BENCH_LONG_READER;
    if (session->store == NULL || (cell->fresh && session->changed)) {
        if (!load_store(session, cell->seed, result)) {
            result->faults++;
            return;
        }
    }
    if (workload->kind == BENCH_COUNTER_ADD)
        put_sum(session, result);
    run.first_id = session->ids_used;
    bench_choose_step(&run);
    session->changed |= workload->writes;
    syncs = syncs_so_far(session);
    bench_run_threads(&run, supervisor(workload), cell->seconds, result);
    result->syncs = syncs_so_far(session) - syncs;
    check_counters(session, workload, result);
    if (workload->durable)
        bench_drain(session, result);
    if (cell->reopen)
        bench_reopen(session, session->spec.keys + 1, result);
}

void
bench_run_cell(struct bench_session *session, const struct bench_cell *cell, struct bench_result *result)
{
    memset(result, 0, sizeof *result);
    switch (bench_workloads[cell->workload].kind) {
    case BENCH_LOAD:
        run_load(session, cell, result);
        break;
    case BENCH_MEMORY:
        run_memory(session, cell, result);
        break;
    case BENCH_RECOVERY:
        bench_run_recovery(session, cell, result);
        break;
    default:
        run_timed(session, cell, result);
    }
    result->ran = result->operations != 0;
}

/* SPDX-License-Identifier: MIT */
/* bench/steps.c: what a thread does, over and over: each kind of workload, composed of an engine's functions.
 *
 * Oracles    Values check themselves; keys that were loaded must be there; scans must ascend and be complete. What is
 *            wrong is counted and makes the figure worthless; what fails is counted too. */
#include "worker.h"

#include <time.h>

enum {
    PAUSE_FIRST_NS = 1000,          /* Back-off: as torc_txn_run() documents its own. */
    PAUSE_MAX_NS = 1000000,
    PAUSE_SPIN_NS = 20000           /* Below, a sleep would take longer than asked. */
};

/* ---- Single operations --------------------------------------------------------------------------------------- */

static uint64_t
draw_id(struct bench_worker *worker)
{
    struct bench_session *session = worker->run->session;

    return worker->run->workload->zipf ? bench_zipf_next(session->zipf, &worker->random)
                                       : torci_random_below(&worker->random, session->spec.keys);
}

struct bench_value
bench_make_value(struct bench_worker *worker, uint64_t id, uint64_t generation)
{
    size_t size = worker->run->session->spec.value_size;

    bench_value_fill(worker->value, size, id, generation, worker->noise + generation % BENCH_NOISE_OFFSETS);
    return (struct bench_value){ worker->value, size };
}

static void
check(struct bench_worker *worker, uint64_t id, enum bench_outcome outcome, struct bench_value value)
{
    if (outcome == BENCH_MISSING)
        worker->wrong++;
    else if (outcome != BENCH_OK)
        worker->faults++;
    else if (!bench_value_good(value, worker->run->session->spec.value_size, id))
        worker->wrong++;
}

void
bench_get_id(struct bench_worker *worker, uint64_t id)
{
    uint8_t key[BENCH_KEY_SIZE];
    struct bench_value value = { worker->copy, 0 };
    enum bench_outcome outcome;

    bench_key(key, id);
    outcome = worker->run->engine->get(worker->thread, key, worker->copy, sizeof worker->copy, &value.size);
    check(worker, id, outcome, value);
}

/* Wait before attempt number `attempt` (1 is the first retry): random, doubling, bounded. */
static void
pause_before(struct bench_worker *worker, unsigned attempt)
{
    uint64_t limit = attempt < 10 ? (uint64_t)PAUSE_FIRST_NS << attempt : PAUSE_MAX_NS;
    uint64_t pause = torci_random_below(&worker->random, limit < PAUSE_MAX_NS ? limit : PAUSE_MAX_NS);

    if (pause >= PAUSE_SPIN_NS) {
        struct timespec duration = { .tv_nsec = (long)pause };

        nanosleep(&duration, NULL);
    } else {
        uint64_t end = bench_now_ns() + pause;

        while (bench_now_ns() < end)
            continue;
    }
}

/* What to do after `outcome` of an attempt: true to try again. */
static bool
again(struct bench_worker *worker, enum bench_outcome outcome, unsigned attempt)
{
    if (outcome == BENCH_OK)
        return false;
    if (outcome != BENCH_CONFLICT && outcome != BENCH_BUSY) {
        worker->faults++;
        return false;
    }
    worker->busy += outcome == BENCH_BUSY;
    if (bench_stopping(worker))
        return false;
    pause_before(worker, attempt);
    return true;
}

bool
bench_put_key(struct bench_worker *worker, const uint8_t *key, struct bench_value value)
{
    enum bench_outcome outcome;
    unsigned attempt = 0;

    do
        outcome = worker->run->engine->put(worker->thread, key, value);
    while (again(worker, outcome, ++attempt));
    return outcome == BENCH_OK;
}

static bool
put_id(struct bench_worker *worker, uint64_t id)
{
    uint8_t key[BENCH_KEY_SIZE];

    bench_key(key, id);
    return bench_put_key(worker, key, bench_make_value(worker, id, torci_random_next(&worker->random)));
}

static enum bench_outcome
attempt_once(const struct bench_engine *engine, void *thread, enum bench_mode mode, bench_body *body, void *context)
{
    enum bench_outcome outcome = engine->begin(thread, mode);

    if (outcome != BENCH_OK)
        return outcome;
    outcome = body(thread, context);
    if (outcome == BENCH_OK)
        outcome = engine->commit(thread);
    if (outcome != BENCH_OK)
        engine->abort(thread);
    return outcome;
}

/* Run `body` until it commits. Returns whether it did (not if the cell ends first). */
static bool
transact(struct bench_worker *worker, bench_body *body)
{
    const struct bench_engine *engine = worker->run->engine;
    enum bench_mode mode = worker->run->workload->mode;
    enum bench_outcome outcome;
    unsigned attempt = 0;

    do {
        if (engine->run != NULL)
            outcome = engine->run(worker->thread, mode, body, worker);
        else
            outcome = attempt_once(engine, worker->thread, mode, body, worker);
    } while (again(worker, outcome, ++attempt));
    worker->commits += outcome == BENCH_OK;
    return outcome == BENCH_OK;
}

enum bench_outcome
bench_read_in(struct bench_worker *worker, void *thread, uint64_t id, struct bench_value *value)
{
    uint8_t key[BENCH_KEY_SIZE];
    enum bench_outcome outcome;

    bench_key(key, id);
    outcome = worker->run->engine->read(thread, key, value);
    if (outcome != BENCH_CONFLICT && outcome != BENCH_BUSY)
        check(worker, id, outcome, *value);
    return outcome;
}

static enum bench_outcome
write_in(struct bench_worker *worker, void *thread, uint64_t id, uint64_t generation)
{
    uint8_t key[BENCH_KEY_SIZE];

    bench_key(key, id);
    return worker->run->engine->write(thread, key, bench_make_value(worker, id, generation));
}

/* Read ids[0] and write it with the next generation: an increment, if it is the counter. */
static enum bench_outcome
modify_body(void *thread, void *context)
{
    struct bench_worker *worker = context;
    struct bench_value value;
    enum bench_outcome outcome;

    worker->attempts++;
    outcome = bench_read_in(worker, thread, worker->ids[0], &value);
    if (outcome != BENCH_OK)
        return outcome;
    return write_in(worker, thread, worker->ids[0], bench_load64(value.data + 8) + 1);
}

static enum bench_outcome
read_write_body(void *thread, void *context)
{
    struct bench_worker *worker = context;
    struct bench_value value;
    enum bench_outcome outcome = BENCH_OK;

    worker->attempts++;
    for (unsigned i = 0; i < 4 && outcome == BENCH_OK; i++)
        outcome = bench_read_in(worker, thread, worker->ids[i], &value);
    for (unsigned i = 4; i < 8 && outcome == BENCH_OK; i++)
        outcome = write_in(worker, thread, worker->ids[i], torci_random_next(&worker->random));
    return outcome;
}

static enum bench_outcome
write_body(void *thread, void *context)
{
    struct bench_worker *worker = context;
    enum bench_outcome outcome = BENCH_OK;

    worker->attempts++;
    for (unsigned i = 0; i < 4 && outcome == BENCH_OK; i++)
        outcome = write_in(worker, thread, worker->ids[i], torci_random_next(&worker->random));
    return outcome;
}

static void
visit_entry(void *context, const uint8_t *key, size_t key_size, struct bench_value value)
{
    struct bench_worker *worker = context;
    uint64_t head;
    uint64_t id;

    if (key_size != BENCH_KEY_SIZE) {
        worker->wrong++;
        return;
    }
    head = be64toh(bench_load64(key));
    id = bench_key_id(key);
    if (head <= worker->scan_last && worker->scan_last != 0)
        worker->wrong++;
    worker->scan_last = head;
    if (id != BENCH_SUM_ID && !bench_value_good(value, worker->run->session->spec.value_size, id))
        worker->wrong++;
}

uint64_t
bench_scan_from(struct bench_worker *worker, const uint8_t *from, uint64_t limit)
{
    uint64_t count;

    worker->scan_last = 0;
    count = worker->run->engine->scan(worker->thread, from, limit, visit_entry, worker);
    if (count == UINT64_MAX) {
        worker->faults++;
        return 0;
    }
    if (from != NULL && count == 0)
        worker->wrong++;        /* At least the key it began at is there. */
    return count;
}

/* ---- Steps: one per kind of workload ------------------------------------------------------------------------- */

static uint64_t
step_begin_end(struct bench_worker *worker)
{
    const struct bench_engine *engine = worker->run->engine;

    if (engine->begin(worker->thread, BENCH_READ_ONLY) != BENCH_OK || engine->commit(worker->thread) != BENCH_OK)
        worker->faults++;
    return 1;
}

static uint64_t
step_read_transaction(struct bench_worker *worker)
{
    const struct bench_engine *engine = worker->run->engine;
    bool copies = worker->run->workload->copies;

    if (engine->begin(worker->thread, BENCH_READ_ONLY) != BENCH_OK) {
        worker->faults++;
        return 1;
    }
    for (unsigned i = 0; i < BENCH_READS_PER_TRANSACTION; i++) {
        uint64_t id = draw_id(worker);
        uint8_t key[BENCH_KEY_SIZE];
        struct bench_value value = { worker->copy, 0 };
        enum bench_outcome outcome;

        bench_key(key, id);
        outcome = engine->read(worker->thread, key, &value);
        if (copies && outcome == BENCH_OK && value.size <= sizeof worker->copy) {
            memcpy(worker->copy, value.data, value.size);
            value.data = worker->copy;
        }
        check(worker, id, outcome, value);
    }
    if (engine->commit(worker->thread) != BENCH_OK)
        worker->faults++;
    return BENCH_READS_PER_TRANSACTION;
}

static uint64_t
step_get(struct bench_worker *worker)
{
    bench_get_id(worker, draw_id(worker));
    return 1;
}

/* Ids of different threads never meet: thread t inserts first + t, first + t + threads, ... */
static uint64_t
own_insert_id(const struct bench_worker *worker, uint64_t index)
{
    return worker->run->first_id + index * worker->run->threads + worker->number;
}

/* A key to read that certainly exists: by Zipf over what this thread inserted, newest first, then what was loaded. */
static uint64_t
draw_latest(struct bench_worker *worker)
{
    uint64_t rank = bench_zipf_next(worker->run->session->zipf, &worker->random);

    if (rank < worker->inserted)
        return own_insert_id(worker, worker->inserted - 1 - rank);
    return rank - worker->inserted;
}

static uint64_t
step_mix(struct bench_worker *worker)
{
    const struct bench_workload *workload = worker->run->workload;
    uint64_t draw = torci_random_below(&worker->random, 100);
    uint8_t key[BENCH_KEY_SIZE];

    if (draw < workload->mix.read) {
        bench_get_id(worker, workload->latest ? draw_latest(worker) : draw_id(worker));
        return 1;
    }
    draw -= workload->mix.read;
    if (draw < workload->mix.update)
        return put_id(worker, draw_id(worker));
    draw -= workload->mix.update;
    if (draw < workload->mix.insert) {
        if (!put_id(worker, own_insert_id(worker, worker->inserted)))
            return 0;
        worker->inserted++;
        return 1;
    }
    draw -= workload->mix.insert;
    if (draw < workload->mix.modify) {
        worker->ids[0] = draw_id(worker);
        return transact(worker, modify_body);
    }
    bench_key(key, draw_id(worker));
    (void)bench_scan_from(worker, key, 1 + torci_random_below(&worker->random, BENCH_SCAN_ENTRIES));
    return 1;
}

/* Operations so far, for who looks on. */
static void
publish(struct bench_worker *worker, uint64_t done)
{
    /* Relaxed: owner thread only writes; read for a plot. */
    atomic_store_explicit(&worker->published, worker->operations + done, memory_order_relaxed);
}

static uint64_t
step_mix_watched(struct bench_worker *worker)
{
    uint64_t done = step_mix(worker);

    publish(worker, done);
    return done;
}

/* Draw ids that differ. */
static void
draw_ids(struct bench_worker *worker, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        bool seen;

        do {
            seen = false;
            worker->ids[i] = draw_id(worker);
            for (unsigned j = 0; j < i; j++)
                seen |= worker->ids[j] == worker->ids[i];
        } while (seen);
    }
}

static uint64_t
step_read_write_txn(struct bench_worker *worker)
{
    draw_ids(worker, 8);
    return transact(worker, read_write_body);
}

static uint64_t
step_write_txn(struct bench_worker *worker)
{
    draw_ids(worker, 4);
    return transact(worker, write_body);
}

static uint64_t
step_scan_some(struct bench_worker *worker)
{
    uint8_t key[BENCH_KEY_SIZE];

    bench_key(key, draw_id(worker));
    (void)bench_scan_from(worker, key, BENCH_SCAN_ENTRIES);
    return 1;
}

static uint64_t
step_scan_all(struct bench_worker *worker)
{
    struct bench_session *session = worker->run->session;
    uint64_t count = bench_scan_from(worker, NULL, UINT64_MAX);

    if (count < session->spec.keys + 1 || (!session->changed && count != session->spec.keys + 1))
        worker->wrong++;
    return count;
}

static uint64_t
step_counter(struct bench_worker *worker)
{
    worker->ids[0] = BENCH_COUNTER_ID;
    return transact(worker, modify_body);
}

static uint64_t
step_counter_add(struct bench_worker *worker)
{
    uint8_t key[BENCH_KEY_SIZE];
    enum bench_outcome outcome;
    unsigned attempt = 0;

    bench_key(key, BENCH_SUM_ID);
    do
        outcome = worker->run->engine->add(worker->thread, key, 1);
    while (again(worker, outcome, ++attempt));
    return outcome == BENCH_OK;
}

static enum bench_outcome
load_body(void *thread, void *context)
{
    struct bench_worker *worker = context;
    const struct bench_session *session = worker->run->session;
    enum bench_outcome outcome = BENCH_OK;

    for (unsigned i = 0; i < worker->run->batch && outcome == BENCH_OK; i++) {
        uint64_t index = own_insert_id(worker, worker->inserted + i);

        if (index < session->spec.keys)
            outcome = write_in(worker, thread, session->order[index], torci_random_next(&worker->random));
    }
    return outcome;
}

uint64_t
bench_step_load(struct bench_worker *worker)
{
    const struct bench_session *session = worker->run->session;
    uint64_t index = own_insert_id(worker, worker->inserted);
    bool done;

    if (index >= session->spec.keys)
        return 0;
    if (worker->run->batch > 1) {
        done = transact(worker, load_body);
    } else if (worker->run->workload->ascending) {
        uint8_t key[BENCH_KEY_SIZE];

        bench_key_ascending(key, index);
        done = bench_put_key(worker, key, bench_make_value(worker, index, torci_random_next(&worker->random)));
    } else {
        done = put_id(worker, session->order[index]);
    }
    worker->inserted += worker->run->batch;
    return done ? worker->run->batch : 0;
}

static uint64_t
step_update_hot(struct bench_worker *worker)
{
    uint64_t keys = worker->run->session->spec.keys;
    uint64_t done = put_id(worker, torci_random_below(&worker->random, keys < BENCH_HOT_KEYS ? keys : BENCH_HOT_KEYS));

    publish(worker, done);
    return done;
}

/* What one step of a kind is, and how seldom a step is timed: reading the clock twice takes some 50 ns. */
void
bench_choose_step(struct bench_run *run)
{
    static const struct {
        uint64_t (*step)(struct bench_worker *worker);
        uint64_t stride;
    } steps[] = {
        [BENCH_BEGIN_END] = { step_begin_end, 32 },
        [BENCH_READ_TRANSACTION] = { step_read_transaction, 4 },
        [BENCH_GET] = { step_get, 16 },
        [BENCH_MIX] = { step_mix, 16 },
        [BENCH_READ_WRITE_TXN] = { step_read_write_txn, 1 },
        [BENCH_SCAN_SOME] = { step_scan_some, 1 },
        [BENCH_SCAN_ALL] = { step_scan_all, 1 },
        [BENCH_COUNTER] = { step_counter, 4 },
        [BENCH_COUNTER_ADD] = { step_counter_add, 16 },
        [BENCH_LOAD] = { bench_step_load, 8 },
        [BENCH_MEMORY] = { bench_step_load, 8 },
        [BENCH_WRITE_TXN] = { step_write_txn, 1 },
        [BENCH_CHECKPOINT] = { step_mix_watched, 16 },
        [BENCH_RECOVERY] = { bench_step_load, 8 },
        [BENCH_LONG_READER] = { step_update_hot, 8 }
    };

    run->step = steps[run->workload->kind].step;
    run->stride = (run->workload->needs & BENCH_IS_SYNC) != 0 ? 1 : steps[run->workload->kind].stride;
}

/* SPDX-License-Identifier: MIT */
/* stress/mvcc_mix: snapshot and serializable transactions of 1 to 8 steps, long readers, torc_txn_run(), user aborts
 * and autocommit, on a few hot keys. Everything done is recorded; check_si judges the history.
 *
 * A value says whose it is: id, key and a digest of both, then a filling that follows from the id. So a value under a
 * wrong key, torn or freed under its reader is seen at once; borrowed values are looked at again before their
 * transaction ends. */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "check_si.h"

enum {
    ENTRIES_MAX = 40000,        /* Of a thread in a round: what ends it early. */
    OPS_MAX = 600000,
    STEPS_MAX = 8,
    LONG_STEPS_MIN = 50,
    LONG_STEPS_MAX = 400,
    FILLING_MAX = 97,
    HELD_MAX = 4,
    HOT_KEYS = 4,
    PREFIX_KEYS = 10,           /* Keys that share all digits but the last. */
    RUN_ATTEMPTS = 20,
};

struct value {
    uint64_t id;
    uint64_t key;
    uint64_t digest;
    unsigned char filling[FILLING_MAX];
};

#define VALUE_HEAD offsetof(struct value, filling)

/* A borrowed value, to be looked at again. */
struct held {
    struct torc_slice slice;
    uint32_t key;
    uint64_t id;
};

/* One worker's recording. */
struct recorder {
    struct torct_worker *worker;
    struct torct_history *history;
    struct torct_entry *entry;          /* The open one. */
    struct held held[HELD_MAX];
    unsigned holding;
    uint64_t moment;                    /* The last one taken. */
    unsigned steps_left;
    bool read_only;
    bool serializable;
    bool will_abort;
    uint32_t own[STEPS_MAX];            /* Keys written in this entry: their values are not held. */
    unsigned owns;
};

static struct torct_history *histories;     /* One per thread, and one for the final scan. */
static unsigned history_count;
static uint64_t *baseline;                  /* Per key; NULL until the first round. */

/* ---- Keys and values ---- */

static struct torc_slice
key_name(char name[STRESS_NAME_MAX], uint32_t key)
{
    static const char padding[] = "................";
    int length = snprintf(name, STRESS_NAME_MAX, "k%05" PRIu32 "%.*s", key, (int)(key % 5) * 4, padding);

    return torc_slice(name, (size_t)length);
}

/* The key that a name stands for, or TORCT_KEY_NONE. */
static uint32_t
key_of(struct torc_slice name)
{
    char digits[6] = "";

    if (name.size < 6 || *(const char *)name.data != 'k')
        return TORCT_KEY_NONE;
    memcpy(digits, (const char *)name.data + 1, 5);
    return (uint32_t)strtoul(digits, NULL, 10);
}

static uint64_t
digest_of(uint64_t id, uint64_t key)
{
    uint64_t state = id ^ key << 48;

    return torci_splitmix64(&state);
}

static size_t
value_size(uint64_t id)
{
    return VALUE_HEAD + (size_t)(id % FILLING_MAX);
}

static struct torc_slice
make_value(struct value *value, uint32_t key, uint64_t id)
{
    value->id = id;
    value->key = key;
    value->digest = digest_of(id, key);
    memset(value->filling, (int)(id & 0xff), sizeof(value->filling));
    return torc_slice(value, value_size(id));
}

/* The id of a value read under `key`. */
static uint64_t
id_of(struct torc_slice slice, uint32_t key)
{
    struct value value;

    if (slice.size < VALUE_HEAD || slice.size > sizeof(value))
        return TORCT_ID_DAMAGED;
    memcpy(&value, slice.data, slice.size);
    if (value.key != key || value.digest != digest_of(value.id, key) || slice.size != value_size(value.id))
        return TORCT_ID_DAMAGED;
    for (size_t i = 0; i < slice.size - VALUE_HEAD; i++)
        if (value.filling[i] != (unsigned char)(value.id & 0xff))
            return TORCT_ID_DAMAGED;
    return value.id;
}

static uint32_t
any_key(struct recorder *recorder)
{
    struct torci_random *random = &recorder->worker->random;
    uint32_t keys = recorder->worker->stress->keys;

    if (keys > HOT_KEYS && torci_random_one_in(random, 2))
        return (uint32_t)torci_random_below(random, HOT_KEYS) * (keys / HOT_KEYS);
    return (uint32_t)torci_random_below(random, keys);
}

/* ---- Recording ---- */

static void
begin_entry(struct recorder *recorder, bool automatic)
{
    recorder->entry = torct_history_begin(recorder->history);
    recorder->entry->automatic = automatic;
    recorder->holding = 0;
    recorder->owns = 0;
}

static void
note(struct recorder *recorder, enum torct_op_kind kind, uint32_t key, uint64_t id)
{
    torct_history_add(recorder->history, kind, key, id);
}

/* From here on the transaction reads its own value of `key`, which the next write of it frees. */
static void
note_own(struct recorder *recorder, uint32_t key)
{
    if (recorder->owns < STEPS_MAX)
        recorder->own[recorder->owns++] = key;
}

static void
note_write(struct recorder *recorder, uint32_t key, uint64_t id)
{
    note(recorder, TORCT_OP_WRITE, key, id);
    note_own(recorder, key);
}

/* Keep a value that the snapshot lends, to see that it stays. */
static void
hold(struct recorder *recorder, struct torc_slice slice, uint32_t key, uint64_t id)
{
    for (unsigned i = 0; i < recorder->owns; i++)
        if (recorder->own[i] == key)
            return;
    if (recorder->holding < HELD_MAX)
        recorder->held[recorder->holding++] = (struct held){slice, key, id};
}

static void
look_again(struct recorder *recorder)
{
    for (unsigned i = 0; i < recorder->holding; i++) {
        const struct held *held = &recorder->held[i];

        if (id_of(held->slice, held->key) != held->id)
            torct_complain(recorder->worker, "a borrowed value of key %" PRIu32 " changed before its transaction ended",
                           held->key);
    }
}

/* A status that no step may have. */
static void
unexpected(struct recorder *recorder, const char *step, enum torc_status status)
{
    torct_complain(recorder->worker, "%s returned %s (%s)", step, torc_status_name(status), torc_detail());
}

/* A write that did not happen. */
static enum torc_status
refused(struct recorder *recorder, const char *step, uint32_t key, enum torc_status status)
{
    if (status == TORC_CONFLICT) {
        note(recorder, TORCT_OP_REFUSED, key, TORCT_ID_ABSENT);
        if (key_of(torc_conflict_key()) != key)
            torct_complain(recorder->worker, "%s of key %" PRIu32 " conflicts over another key", step, key);
    } else if (status != TORC_BUSY) {
        unexpected(recorder, step, status);
    }
    return status;
}

/* ---- Steps of a transaction. TORC_OK to go on ---- */

static enum torc_status
step_get(struct recorder *recorder, struct torc_txn *txn)
{
    uint32_t key = any_key(recorder);
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    enum torc_status status;

    torct_step(recorder->worker, "get");
    status = torc_txn_get(txn, key_name(name, key), &value);
    if (status != TORC_OK && status != TORC_NOT_FOUND) {
        unexpected(recorder, "get", status);
        return status;
    }
    note(recorder, TORCT_OP_READ, key, status == TORC_OK ? id_of(value, key) : TORCT_ID_ABSENT);
    if (status == TORC_OK)
        hold(recorder, value, key, id_of(value, key));
    recorder->worker->reads++;
    return TORC_OK;
}

static enum torc_status
step_get_for_update(struct recorder *recorder, struct torc_txn *txn)
{
    uint32_t key = any_key(recorder);
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    enum torc_status status;

    torct_step(recorder->worker, "get_for_update");
    status = torc_txn_get_for_update(txn, key_name(name, key), &value);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        return refused(recorder, "get_for_update", key, status);
    note(recorder, TORCT_OP_LOCK, key, status == TORC_OK ? id_of(value, key) : TORCT_ID_ABSENT);
    note_own(recorder, key);
    recorder->worker->reads++;
    return TORC_OK;
}

static enum torc_status
step_put(struct recorder *recorder, struct torc_txn *txn, bool if_absent)
{
    uint32_t key = any_key(recorder);
    uint64_t id = torct_history_new_id(recorder->history);
    char name[STRESS_NAME_MAX];
    struct value value;
    enum torc_status status;

    torct_step(recorder->worker, if_absent ? "put_if_absent" : "put");
    make_value(&value, key, id);
    status = if_absent ? torc_txn_put_if_absent(txn, key_name(name, key), torc_slice(&value, value_size(id)))
                       : torc_txn_put(txn, key_name(name, key), torc_slice(&value, value_size(id)));
    if (if_absent && status == TORC_EXISTS) {
        note(recorder, TORCT_OP_FOUND, key, TORCT_ID_ABSENT);
        return TORC_OK;
    }
    if (status != TORC_OK)
        return refused(recorder, "put", key, status);
    if (if_absent)
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
    note_write(recorder, key, id);
    return TORC_OK;
}

static enum torc_status
step_delete(struct recorder *recorder, struct torc_txn *txn)
{
    uint32_t key = any_key(recorder);
    char name[STRESS_NAME_MAX];
    enum torc_status status;

    torct_step(recorder->worker, "delete");
    status = torc_txn_delete(txn, key_name(name, key));
    if (status == TORC_NOT_FOUND) {
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
        return TORC_OK;
    }
    if (status != TORC_OK)
        return refused(recorder, "delete", key, status);
    note(recorder, TORCT_OP_FOUND, key, TORCT_ID_ABSENT);
    note_write(recorder, key, TORCT_ID_ABSENT);
    return TORC_OK;
}

/* Read items until the end or `limit`; narrow the recorded range to what was covered. */
static enum torc_status
read_items(struct recorder *recorder, struct torc_cursor *cursor, struct torct_op *scan, uint32_t limit)
{
    struct torc_slice name, value;
    uint32_t key;

    while (limit-- > 0) {
        enum torc_status status = torc_cursor_next(cursor, &name, &value);

        if (status == TORC_END)
            return TORC_OK;
        if (status != TORC_OK) {
            unexpected(recorder, "next", status);
            return status;
        }
        key = key_of(name);
        if (key >= recorder->worker->stress->keys) {
            torct_complain(recorder->worker, "a scan shows a key that nobody writes");
            return TORC_OK;
        }
        note(recorder, TORCT_OP_ITEM, key, id_of(value, key));
        recorder->worker->reads++;
        if (limit == 0 && scan->kind == TORCT_OP_SCAN)
            scan->id = (uint64_t)key + 1;
        else if (limit == 0)
            scan->key = key;
    }
    return TORC_OK;
}

static enum torc_status
step_scan(struct recorder *recorder, struct torc_txn *txn)
{
    struct torci_random *random = &recorder->worker->random;
    uint32_t keys = recorder->worker->stress->keys;
    uint32_t low = any_key(recorder), high = any_key(recorder);
    char from[STRESS_NAME_MAX], to[STRESS_NAME_MAX];
    struct torc_scan_options options = {.prefix = torc_slice("k", 1), .reverse = torci_random_one_in(random, 2)};
    uint32_t limit = torci_random_one_in(random, 3) ? 1 + (uint32_t)torci_random_below(random, 4) : keys + 1;
    struct torc_cursor *cursor;
    struct torct_op *scan;
    enum torc_status status;

    switch (torci_random_below(random, 3)) {
    case 0:
        options.from = key_name(from, low);
        options.to = key_name(to, high);
        break;
    case 1:
        low -= low % PREFIX_KEYS;
        high = low + PREFIX_KEYS;
        options.prefix = torc_slice(from, key_name(from, low).size);
        options.prefix.size = 5;
        break;
    default:
        low = 0;
        high = keys;
        break;
    }
    torct_step(recorder->worker, "scan");
    status = torc_txn_scan(txn, &options, &cursor);
    if (status != TORC_OK) {
        unexpected(recorder, "scan", status);
        return status;
    }
    scan = torct_history_add(recorder->history, options.reverse ? TORCT_OP_SCAN_REVERSE : TORCT_OP_SCAN, low,
                             high < keys ? high : keys);
    status = read_items(recorder, cursor, scan, limit);
    torc_cursor_close(cursor);
    return status;
}

static enum torc_status
step_any(struct recorder *recorder, struct torc_txn *txn)
{
    uint64_t draw = torci_random_below(&recorder->worker->random, recorder->read_only ? 40 : 100);

    if (draw < 30)
        return step_get(recorder, txn);
    if (draw < 40)
        return step_scan(recorder, txn);
    if (draw < 65)
        return step_put(recorder, txn, false);
    if (draw < 75)
        return step_put(recorder, txn, true);
    if (draw < 88)
        return step_delete(recorder, txn);
    return step_get_for_update(recorder, txn);
}

/* All steps. After a conflict the transaction is as before, so sometimes it goes on. */
static enum torc_status
step_all(struct recorder *recorder, struct torc_txn *txn)
{
    struct torct_worker *worker = recorder->worker;
    uint32_t margin = 2 * (worker->stress->keys + 8);

    for (; recorder->steps_left > 0 && torct_history_fits(recorder->history, 2, margin); recorder->steps_left--) {
        enum torc_status status = step_any(recorder, txn);

        if (status != TORC_OK && (status != TORC_CONFLICT || !torci_random_one_in(&worker->random, 4)))
            return status;
    }
    look_again(recorder);
    return TORC_OK;
}

/* ---- Transactions ---- */

static void
draw_transaction(struct recorder *recorder)
{
    struct torci_random *random = &recorder->worker->random;

    recorder->serializable = torci_random_one_in(random, 2);
    recorder->read_only = torci_random_one_in(random, 8);
    recorder->will_abort = torci_random_one_in(random, 16);
    recorder->steps_left = 1 + (unsigned)torci_random_below(random, STEPS_MAX);
}

static void
entry_begun(struct recorder *recorder, const struct torc_txn *txn, uint64_t called)
{
    recorder->entry->begin_called = called;
    recorder->entry->begin_returned = recorder->moment;
    recorder->entry->snapshot = torc_txn_snapshot(txn);
    recorder->entry->serializable = recorder->serializable;
    recorder->entry->read_only = recorder->read_only;
}

/* The entry's end, by a commit that returned `status`. */
static void
entry_ended(struct recorder *recorder, enum torc_status status)
{
    struct torct_entry *entry = recorder->entry;

    entry->commit_returned = recorder->moment;
    if (status == TORC_OK) {
        entry->outcome = TORCT_COMMITTED;
        entry->stamp = torc_last_commit();
        recorder->worker->commits++;
        return;
    }
    recorder->worker->conflicts++;
    if (status == TORC_CONFLICT) {
        entry->outcome = TORCT_CONFLICTED;
        entry->conflict_key = key_of(torc_conflict_key());
        if (entry->conflict_key == TORCT_KEY_NONE && torc_conflict_key().size > 0)
            torct_complain(recorder->worker, "a commit conflicts over a key of others");
    } else {
        entry->outcome = TORCT_REFUSED;
        if (status != TORC_BUSY)
            unexpected(recorder, "commit", status);
    }
}

static void
run_transaction(struct recorder *recorder)
{
    struct torct_worker *worker = recorder->worker;
    struct torc_txn_options options = {.isolation = recorder->serializable ? TORC_SERIALIZABLE : TORC_SNAPSHOT,
                                       .read_only = recorder->read_only};
    uint64_t called = torci_now_ns();
    struct torc_txn *txn;
    enum torc_status status;

    torct_step(worker, "begin");
    status = torc_txn_begin(worker->stress->store, &options, &txn);
    recorder->moment = torci_now_ns();
    if (status != TORC_OK) {
        unexpected(recorder, "begin", status);
        return;
    }
    begin_entry(recorder, false);
    entry_begun(recorder, txn, called);
    status = step_all(recorder, txn);
    recorder->entry->commit_called = torci_now_ns();
    if (status != TORC_OK || recorder->will_abort) {
        torct_step(worker, "abort");
        torc_txn_abort(txn);
        recorder->moment = torci_now_ns();
        recorder->entry->outcome = TORCT_ABORTED;
        recorder->entry->commit_returned = recorder->moment;
        return;
    }
    torct_step(worker, "commit");
    status = torc_txn_commit(txn);
    recorder->moment = torci_now_ns();
    entry_ended(recorder, status);
}

/* One attempt of torc_txn_run(): an entry of its own. The one before it has not committed. */
static enum torc_status
attempt(struct torc_txn *txn, void *context)
{
    struct recorder *recorder = context;
    uint64_t called = recorder->moment;
    enum torc_status status;

    recorder->moment = torci_now_ns();
    if (recorder->entry != NULL) {
        recorder->entry->outcome = TORCT_ABORTED;
        recorder->entry->commit_returned = recorder->moment;
        recorder->worker->conflicts++;
    }
    if (!torct_history_fits(recorder->history, 2, (STEPS_MAX + 2) * (recorder->worker->stress->keys + 8))) {
        recorder->entry = NULL;
        return TORC_INDETERMINATE;      /* No room to record it: end the run. */
    }
    begin_entry(recorder, false);
    entry_begun(recorder, txn, called);
    recorder->steps_left = 1 + (unsigned)torci_random_below(&recorder->worker->random, STEPS_MAX);
    status = step_all(recorder, txn);
    torct_step(recorder->worker, "commit in run");
    recorder->moment = torci_now_ns();
    recorder->entry->commit_called = recorder->moment;
    return status;
}

static void
run_retried(struct recorder *recorder)
{
    struct torct_worker *worker = recorder->worker;
    struct torc_run_options options = {
        .txn = {.isolation = recorder->serializable ? TORC_SERIALIZABLE : TORC_SNAPSHOT,
                .read_only = recorder->read_only},
        .attempts_max = RUN_ATTEMPTS,
        .backoff_max_ns = 20000,
    };
    enum torc_status status;

    torct_step(worker, "run");
    recorder->entry = NULL;
    recorder->moment = torci_now_ns();
    status = torc_txn_run(worker->stress->store, &options, attempt, recorder);
    recorder->moment = torci_now_ns();
    if (recorder->entry == NULL)
        return;
    if (status == TORC_OK) {
        entry_ended(recorder, status);
        return;
    }
    /* Perhaps refused in the body: then no commit says over which key. */
    recorder->entry->outcome = TORCT_ABORTED;
    recorder->entry->commit_returned = recorder->moment;
    worker->conflicts++;
    if (status != TORC_CONFLICT && status != TORC_BUSY)
        unexpected(recorder, "run", status);
}

/* A transaction that stays open while others come and go. */
static void
run_long(struct recorder *recorder)
{
    recorder->read_only = true;
    recorder->will_abort = false;
    recorder->steps_left = LONG_STEPS_MIN
        + (unsigned)torci_random_below(&recorder->worker->random, LONG_STEPS_MAX - LONG_STEPS_MIN);
    run_transaction(recorder);
}

/* ---- Autocommit ---- */

static void
run_auto_get(struct recorder *recorder, uint32_t key)
{
    char name[STRESS_NAME_MAX];
    struct value value;
    enum torc_status status;
    size_t size;

    torct_step(recorder->worker, "autocommit get");
    status = torc_mvcc_get(recorder->worker->stress->store, key_name(name, key), &value, sizeof(value), &size);
    if (status == TORC_OK)
        note(recorder, TORCT_OP_READ, key, id_of(torc_slice(&value, size), key));
    else if (status == TORC_NOT_FOUND)
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
    else
        unexpected(recorder, "autocommit get", status);
    recorder->worker->reads++;
}

static void
run_auto_write(struct recorder *recorder, uint32_t key, bool delete)
{
    uint64_t id = delete ? TORCT_ID_ABSENT : torct_history_new_id(recorder->history);
    struct torc_mvcc *store = recorder->worker->stress->store;
    char name[STRESS_NAME_MAX];
    struct value value;
    enum torc_status status;
    bool found = true;

    torct_step(recorder->worker, delete ? "autocommit delete" : "autocommit put");
    status = delete ? torc_mvcc_delete(store, key_name(name, key))
                    : torc_mvcc_put(store, key_name(name, key), make_value(&value, key, id), &found);
    if (status == TORC_OK) {
        note(recorder, found ? TORCT_OP_FOUND : TORCT_OP_READ, key, TORCT_ID_ABSENT);
        note(recorder, TORCT_OP_WRITE, key, id);
        recorder->entry->stamp = torc_last_commit();
    } else if (status == TORC_NOT_FOUND && delete) {
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
    } else {
        recorder->entry->outcome = TORCT_REFUSED;
        if (status != TORC_BUSY)
            unexpected(recorder, "autocommit write", status);
    }
}

static void
run_auto(struct recorder *recorder)
{
    uint64_t draw = torci_random_below(&recorder->worker->random, 20);
    uint32_t key = any_key(recorder);
    struct torct_entry *entry;

    begin_entry(recorder, true);
    entry = recorder->entry;
    entry->begin_called = torci_now_ns();
    entry->commit_called = entry->begin_called;
    if (draw < 9)
        run_auto_get(recorder, key);
    else
        run_auto_write(recorder, key, draw >= 16);
    recorder->moment = torci_now_ns();
    entry->begin_returned = recorder->moment;
    entry->commit_returned = recorder->moment;
    recorder->worker->commits += entry->outcome == TORCT_COMMITTED;
}

/* ---- The round ---- */

void
torct_mix_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    (void)workload;
    if (histories == NULL) {
        history_count = stress->threads + 1;
        histories = calloc(history_count, sizeof(*histories));
        baseline = calloc(stress->keys, sizeof(*baseline));
        if (histories == NULL || baseline == NULL)
            torct_give_up("no memory for %u histories", history_count);
        for (unsigned i = 0; i < history_count; i++)
            if (!torct_history_init(&histories[i], i, ENTRIES_MAX, OPS_MAX))
                torct_give_up("no memory for history %u", i);
    }
    for (unsigned i = 0; i < history_count; i++)
        torct_history_clear(&histories[i]);
}

void
torct_mix_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    struct recorder recorder = {.worker = worker, .history = &histories[worker->number]};
    uint32_t room = (STEPS_MAX + 2) * (stress->keys + 8);

    (void)workload;
    recorder.moment = torci_now_ns();
    while (torct_goes_on(worker, recorder.moment)) {
        uint64_t draw = torci_random_below(&worker->random, 64);

        if (!torct_history_fits(recorder.history, RUN_ATTEMPTS + 2, room)) {
            torci_store(&stress->stop, true, memory_order_relaxed);     /* A hint; see its declaration. */
            return;
        }
        draw_transaction(&recorder);
        if (draw < 20)
            run_auto(&recorder);
        else if (draw < 52)
            run_transaction(&recorder);
        else if (draw < 63)
            run_retried(&recorder);
        else
            run_long(&recorder);
    }
}

/* All keys as they are now, as the last entry of the history. */
static void
record_final_scan(struct torct_stress *stress)
{
    struct torct_worker worker = {.stress = stress, .number = stress->threads};
    struct recorder recorder = {.worker = &worker, .history = &histories[stress->threads], .read_only = true};
    struct torc_txn_options options = {.read_only = true};
    struct torc_scan_options all = {.prefix = torc_slice("k", 1)};
    struct torc_cursor *cursor;
    struct torct_op *scan;
    struct torc_txn *txn;
    uint64_t called = torci_now_ns();

    torct_must(torc_txn_begin(stress->store, &options, &txn));
    recorder.moment = torci_now_ns();
    begin_entry(&recorder, false);
    entry_begun(&recorder, txn, called);
    torct_must(torc_txn_scan(txn, &all, &cursor));
    scan = torct_history_add(recorder.history, TORCT_OP_SCAN, 0, stress->keys);
    torct_must(read_items(&recorder, cursor, scan, stress->keys + 1));
    torc_cursor_close(cursor);
    torct_must(torc_txn_commit(txn));
    stress->verdict.total += worker.wrong;
}

void
torct_mix_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    struct torct_run run = {.histories = histories, .threads = history_count, .keys = stress->keys,
                            .baseline = baseline};

    (void)workload;
    record_final_scan(stress);
    torct_check_si(&run, &stress->verdict);
}

void
torct_mix_forget(const struct torct_stress *stress)
{
    if (baseline != NULL)
        memset(baseline, 0, stress->keys * sizeof(*baseline));
}

void
torct_mix_fini(void)
{
    for (unsigned i = 0; i < history_count; i++)
        torct_history_fini(&histories[i]);
    free(histories);
    free(baseline);
    histories = NULL;
    baseline = NULL;
    history_count = 0;
}

/* SPDX-License-Identifier: MIT */
/* stress/mvcc_mix: snapshot and serializable transactions of 1 to 8 steps, also on named snapshots and on stamps of the
 * past, long readers, torc_txn_run(), user aborts, savepoints and autocommit, on a few hot keys of several keyspaces.
 * Everything done is recorded; check_si judges the history.
 *
 * A value says whose it is: id, key, what it was merged out of, and a digest of all; then a filling that follows
 * from the id. So a value under a wrong key, torn or freed under its reader is seen at once; borrowed values are
 * looked at again before their transaction ends.
 *
 * Keys are numbered through all keyspaces, which have keys of the same names. Every fourth has values that expire, the
 * others are merged: what a merge of an expired value does is another workload's (mvcc_times.c). */
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
    POLLS_MAX = 100,
    SPACES = 3,                 /* Keyspaces. */
    CLASSES = 4,                /* Of keys; those of the last one expire. */
    LIFE_MAX_MS = 40,           /* Of a value that expires. */
    DELETE_RANGE_MAX = 6,       /* Keys. */
    SAVEPOINTS_MAX = 3,
    NAME_NONE = -1,
    STAMPS_MAX = 16,            /* Of the past, to go back to. */
};

struct value {
    uint64_t id;
    uint64_t key;
    uint64_t before;            /* A merge: the value it was made of. Else TORCT_ID_PLAIN. */
    uint64_t digest;
    unsigned char filling[FILLING_MAX];
};

#define VALUE_HEAD offsetof(struct value, filling)

/* The operand of a merge. */
struct operand {
    uint64_t id;
    uint64_t key;
    uint64_t first;             /* The transaction's first id: what has a later one of its thread is its own. */
    uint64_t plain;             /* Not 0: it is made of an own delete. */
};

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
    int past;                           /* The thread whose named snapshot is read, or NAME_NONE. */
    uint64_t at;                        /* The stamp of the past that is read, or 0. */
    uint32_t serial;                    /* Of the entry. */
    uint32_t *own;                      /* Per key: the entry that wrote it last: its values are not held. */
    uint64_t first_id;                  /* Of this entry. */
    uint32_t savepoints[SAVEPOINTS_MAX];        /* Their operations. */
    uint32_t savepoint_facts[SAVEPOINTS_MAX];   /* How many facts there were. */
    char savepoint_names[SAVEPOINTS_MAX];
    unsigned savepoint_count;
    uint64_t stamps[STAMPS_MAX];        /* That were seen in this round. */
    unsigned stamp_count;
};

static struct torct_history *histories;     /* One per thread, and one for the final scan. */
static unsigned history_count;
static uint64_t *baseline;                  /* Per key; NULL until the first round. */
static uint64_t *times;                     /* Per key: when its baseline expires. */
static uint32_t space_keys, all_keys;       /* Of one keyspace, and of all. */
static struct torc_keyspace *spaces[SPACES];

/* ---- Keys and values ---- */

static struct torc_slice
key_name(char name[STRESS_NAME_MAX], uint32_t key)
{
    static const char padding[] = "................";
    uint32_t local = key % space_keys;
    int length = snprintf(name, STRESS_NAME_MAX, "k%05" PRIu32 "%.*s", local, (int)(local % 5) * 4, padding);

    return torc_slice(name, (size_t)length);
}

static struct torc_keyspace *
space_of(uint32_t key)
{
    return spaces[key / space_keys];
}

static bool
expires(uint32_t key)
{
    return key % space_keys % CLASSES == CLASSES - 1;
}

/* The key of the first keyspace that a name stands for, or TORCT_KEY_NONE. */
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
digest_of(const struct value *value)
{
    uint64_t state = value->id ^ value->key << 48 ^ value->before << 24 ^ value->before >> 40;

    return torci_splitmix64(&state);
}

static size_t
value_size(uint64_t id)
{
    return VALUE_HEAD + (size_t)(id % FILLING_MAX);
}

static struct torc_slice
make_value(struct value *value, uint32_t key, uint64_t id, uint64_t before)
{
    value->id = id;
    value->key = key;
    value->before = before;
    value->digest = digest_of(value);
    memset(value->filling, (int)(id & 0xff), sizeof(value->filling));
    return torc_slice(value, value_size(id));
}

/* The id of a value read under `key`, and what it was made of. */
static uint64_t
look_into(struct torc_slice slice, uint32_t key, uint64_t *before)
{
    struct value value;

    *before = TORCT_ID_PLAIN;
    if (slice.size < VALUE_HEAD || slice.size > sizeof(value))
        return TORCT_ID_DAMAGED;
    memcpy(&value, slice.data, slice.size);
    if (value.key != key || value.digest != digest_of(&value) || slice.size != value_size(value.id))
        return TORCT_ID_DAMAGED;
    for (size_t i = 0; i < slice.size - VALUE_HEAD; i++)
        if (value.filling[i] != (unsigned char)(value.id & 0xff))
            return TORCT_ID_DAMAGED;
    *before = value.before;
    return value.id;
}

/* The merge operator: the result is the operand's value, and tells what it was made of that is not the transaction's
 * own. */
static enum torc_status
merge_value(void *context, const struct torc_slice *current, struct torc_slice bytes, struct torc_merge_output *output)
{
    struct operand operand;
    uint64_t before = TORCT_ID_ABSENT, older, id;
    struct value value;
    struct torc_slice result;
    void *memory;

    (void)context;
    if (bytes.size != sizeof(operand))
        return TORC_INVALID;
    memcpy(&operand, bytes.data, sizeof(operand));
    if (operand.plain != 0) {
        before = TORCT_ID_PLAIN;
    } else if (current != NULL) {
        id = look_into(*current, (uint32_t)operand.key, &older);
        before = id >= operand.first && torct_id_thread(id) == torct_id_thread(operand.first) ? older : id;
    }
    result = make_value(&value, (uint32_t)operand.key, operand.id, before);
    memory = torc_merge_output(output, result.size);
    if (memory == NULL)
        return TORC_NO_MEMORY;
    memcpy(memory, result.data, result.size);
    return TORC_OK;
}

static const struct torc_merge_operator merging = {"value", merge_value, NULL};

static uint32_t
any_key(struct recorder *recorder)
{
    struct torci_random *random = &recorder->worker->random;
    uint32_t hot = (uint32_t)torci_random_below(random, HOT_KEYS);

    if (all_keys > 2 * HOT_KEYS && torci_random_one_in(random, 2))
        return hot * (all_keys / HOT_KEYS) + hot;
    return (uint32_t)torci_random_below(random, all_keys);
}

/* When a value of `key` that is put now shall expire. */
static uint64_t
any_time(struct recorder *recorder, uint32_t key)
{
    if (!expires(key) || torci_random_one_in(&recorder->worker->random, 4))
        return TORC_NEVER;
    return torct_now_ms(recorder->worker->stress) + torci_random_below(&recorder->worker->random, LIFE_MAX_MS);
}

/* ---- Recording ---- */

static void
begin_entry(struct recorder *recorder, bool automatic)
{
    recorder->entry = torct_history_begin(recorder->history);
    recorder->entry->automatic = automatic;
    recorder->entry->time_first = torct_now_ms(recorder->worker->stress);
    recorder->entry->time_last = recorder->entry->time_first;
    recorder->first_id = recorder->history->id_prefix | recorder->history->id_next;
    recorder->holding = 0;
    recorder->savepoint_count = 0;
    recorder->serial++;
}

static struct torct_op *
note(struct recorder *recorder, enum torct_op_kind kind, uint32_t key, uint64_t id)
{
    recorder->entry->time_last = torct_now_ms(recorder->worker->stress);
    return torct_history_add(recorder->history, kind, key, id);
}

/* Note a value that was found; what it was made of is a fact. Returns its id. */
static uint64_t
note_value(struct recorder *recorder, enum torct_op_kind kind, uint32_t key, struct torc_slice slice)
{
    uint64_t before, id = look_into(slice, key, &before);

    note(recorder, kind, key, id);
    if (before != TORCT_ID_PLAIN)
        torct_history_fact(recorder->history, key, id, before);
    recorder->worker->reads++;
    return id;
}

/* From here on the transaction reads its own value of `key`, which the next write of it frees. */
static void
note_own(struct recorder *recorder, uint32_t key)
{
    recorder->own[key] = recorder->serial;
}

static void
note_write(struct recorder *recorder, enum torct_op_kind kind, uint32_t key, uint64_t id, uint64_t expires_ms)
{
    note(recorder, kind, key, id)->expires = (uint32_t)expires_ms;
    note_own(recorder, key);
}

/* The write of `key` in the open entry that stands, or NULL: the last one; a lock changes nothing. */
static const struct torct_op *
standing(const struct recorder *recorder, uint32_t key)
{
    const struct torct_op *op = recorder->history->ops + recorder->entry->first_op, *found = NULL;

    for (uint32_t i = 0; i < recorder->entry->ops; i++)
        if (op[i].key == key && torct_op_writes(&op[i]) && (found == NULL || op[i].kind != TORCT_OP_LOCK))
            found = &op[i];
    return found;
}

/* Keep a value that the snapshot lends, to see that it stays. */
static void
hold(struct recorder *recorder, struct torc_slice slice, uint32_t key, uint64_t id)
{
    if (recorder->own[key] != recorder->serial && recorder->holding < HELD_MAX)
        recorder->held[recorder->holding++] = (struct held){slice, key, id};
}

static void
look_again(struct recorder *recorder)
{
    for (unsigned i = 0; i < recorder->holding; i++) {
        const struct held *held = &recorder->held[i];
        uint64_t before;

        if (look_into(held->slice, held->key, &before) != held->id)
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

/* What a call returned that could not do its work. In a store where snapshots expire it may always be that. */
static enum torc_status
failed(struct recorder *recorder, const char *step, enum torc_status status)
{
    if (status != TORC_EXPIRED || (recorder->worker->stress->traits & TORCT_EXPIRES_SNAPSHOTS) == 0)
        unexpected(recorder, step, status);
    return status;
}

/* A write that did not happen. A conflict may be over a key that was put before; the name of the key does not tell its
 * keyspace, so it is noted if one only can be meant. */
static enum torc_status
refused(struct recorder *recorder, const char *step, uint32_t key, enum torc_status status)
{
    uint32_t local = key_of(torc_conflict_key()), meant = TORCT_KEY_NONE;
    unsigned candidates = 0;

    if (status != TORC_CONFLICT)
        return status == TORC_BUSY ? status : failed(recorder, step, status);
    for (uint32_t space = 0; space < SPACES && local < space_keys; space++) {
        uint32_t candidate = space * space_keys + local;

        if (candidate != key && standing(recorder, candidate) == NULL)
            continue;
        meant = candidate;
        candidates++;
    }
    if (candidates == 0)
        torct_complain(recorder->worker, "%s of key %" PRIu32 " conflicts over another key (%" PRIu32 ")", step, key,
                       local);
    if (candidates == 1)
        note(recorder, TORCT_OP_REFUSED, meant, TORCT_ID_ABSENT);
    return status;
}

/* From here on `txn` means the keyspace of `key`. */
static enum torc_status
use_space(struct recorder *recorder, struct torc_txn *txn, uint32_t key)
{
    enum torc_status status = torc_txn_use(txn, space_of(key));

    return status == TORC_OK ? status : failed(recorder, "use", status);
}

/* ---- Steps of a transaction. TORC_OK to go on ---- */

static enum torc_status
step_get(struct recorder *recorder, struct torc_txn *txn)
{
    uint32_t key = any_key(recorder);
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    enum torc_status status = use_space(recorder, txn, key);
    uint64_t id, expires_ms;

    torct_step(recorder->worker, "get");
    if (status != TORC_OK)
        return status;
    status = torc_txn_get(txn, key_name(name, key), &value);
    if (status == TORC_NOT_FOUND) {
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
        recorder->worker->reads++;
        return TORC_OK;
    }
    if (status != TORC_OK)
        return failed(recorder, "get", status);
    id = note_value(recorder, TORCT_OP_READ, key, value);
    hold(recorder, value, key, id);
    if (!torci_random_one_in(&recorder->worker->random, 4))
        return TORC_OK;
    status = torc_txn_expiry(txn, key_name(name, key), &expires_ms);
    if (status != TORC_OK)
        return failed(recorder, "expiry", status);
    note(recorder, TORCT_OP_READ, key, id)->expires =
        expires_ms == TORC_NEVER ? TORCT_TIME_NEVER : (uint32_t)expires_ms;
    return TORC_OK;
}

static enum torc_status
step_get_for_update(struct recorder *recorder, struct torc_txn *txn)
{
    uint32_t key = any_key(recorder);
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    enum torc_status status = use_space(recorder, txn, key);
    uint64_t expires_ms = TORC_NEVER;

    torct_step(recorder->worker, "get_for_update");
    if (status != TORC_OK)
        return status;
    status = torc_txn_get_for_update(txn, key_name(name, key), &value);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        return refused(recorder, "get_for_update", key, status);
    if (status == TORC_OK)
        note_value(recorder, TORCT_OP_LOCK, key, value);
    else
        note(recorder, TORCT_OP_LOCK, key, TORCT_ID_ABSENT);
    note_own(recorder, key);
    if (status == TORC_OK) {
        struct torct_op *lock = &recorder->history->ops[recorder->history->op_count - 1];

        status = torc_txn_expiry(txn, key_name(name, key), &expires_ms);
        if (status != TORC_OK)
            return failed(recorder, "expiry", status);
        lock->expires = expires_ms == TORC_NEVER ? TORCT_TIME_NEVER : (uint32_t)expires_ms;
    }
    return TORC_OK;
}

static enum torc_status
step_put(struct recorder *recorder, struct torc_txn *txn, bool if_absent)
{
    uint32_t key = any_key(recorder);
    uint64_t id = torct_history_new_id(recorder->history);
    uint64_t expires_ms = if_absent ? TORC_NEVER : any_time(recorder, key);
    enum torc_status status = use_space(recorder, txn, key);
    char name[STRESS_NAME_MAX];
    struct torc_slice bytes;
    struct value value;

    torct_step(recorder->worker, if_absent ? "put_if_absent" : "put");
    if (status != TORC_OK)
        return status;
    bytes = make_value(&value, key, id, TORCT_ID_PLAIN);
    if (if_absent)
        status = torc_txn_put_if_absent(txn, key_name(name, key), bytes);
    else if (expires_ms == TORC_NEVER)
        status = torc_txn_put(txn, key_name(name, key), bytes);
    else
        status = torc_txn_put_expiring(txn, key_name(name, key), bytes, expires_ms);
    if (if_absent && status == TORC_EXISTS) {
        note(recorder, TORCT_OP_FOUND, key, TORCT_ID_ABSENT);
        return TORC_OK;
    }
    if (status != TORC_OK)
        return refused(recorder, "put", key, status);
    if (if_absent)
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
    note_write(recorder, TORCT_OP_WRITE, key, id, expires_ms);
    return TORC_OK;
}

static enum torc_status
step_delete(struct recorder *recorder, struct torc_txn *txn)
{
    uint32_t key = any_key(recorder);
    enum torc_status status = use_space(recorder, txn, key);
    char name[STRESS_NAME_MAX];

    torct_step(recorder->worker, "delete");
    if (status != TORC_OK)
        return status;
    status = torc_txn_delete(txn, key_name(name, key));
    if (status == TORC_NOT_FOUND) {
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
        return TORC_OK;
    }
    if (status != TORC_OK)
        return refused(recorder, "delete", key, status);
    note(recorder, TORCT_OP_FOUND, key, TORCT_ID_ABSENT);
    note_write(recorder, TORCT_OP_WRITE, key, TORCT_ID_ABSENT, TORC_NEVER);
    return TORC_OK;
}

/* A merge of what the transaction itself put, or read for update, is a put. */
static enum torc_status
step_merge(struct recorder *recorder, struct torc_txn *txn)
{
    uint32_t key = any_key(recorder);
    const struct torct_op *own = standing(recorder, key);
    bool put = own != NULL && own->kind != TORCT_OP_MERGE;
    struct operand operand = {.key = key, .first = recorder->first_id,
                              .plain = put && own->kind == TORCT_OP_WRITE && own->id == TORCT_ID_ABSENT};
    enum torc_status status = use_space(recorder, txn, key);
    char name[STRESS_NAME_MAX];

    torct_step(recorder->worker, "merge");
    if (status != TORC_OK || expires(key))
        return status;
    operand.id = torct_history_new_id(recorder->history);
    status = torc_txn_merge(txn, key_name(name, key), &merging, torc_slice(&operand, sizeof(operand)));
    if (status == TORC_CONFLICT)
        unexpected(recorder, "merge", status);
    if (status != TORC_OK)
        return refused(recorder, "merge", key, status);
    note_write(recorder, put ? TORCT_OP_WRITE : TORCT_OP_MERGE, key, operand.id, TORC_NEVER);
    return TORC_OK;
}

/* Expect what is there, or something else, or nothing. */
static enum torc_status
step_compare_and_set(struct recorder *recorder, struct torc_txn *txn)
{
    struct torci_random *random = &recorder->worker->random;
    uint32_t key = any_key(recorder);
    bool expects = !torci_random_one_in(random, 4), deletes = torci_random_one_in(random, 4);
    uint64_t id = deletes ? TORCT_ID_ABSENT : torct_history_new_id(recorder->history), expected_id = TORCT_ID_ABSENT;
    enum torc_status status = use_space(recorder, txn, key);
    char name[STRESS_NAME_MAX];
    struct torc_slice expected, desired;
    struct value there, value;

    torct_step(recorder->worker, "compare_and_set");
    if (status != TORC_OK)
        return status;
    status = torc_txn_get(txn, key_name(name, key), &expected);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        return failed(recorder, "get", status);
    if (status == TORC_OK)
        expected_id = note_value(recorder, TORCT_OP_READ, key, expected);
    else
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
    if (status == TORC_NOT_FOUND || torci_random_one_in(random, 4)) {
        expected_id = torct_history_new_id(recorder->history);      /* Of a value that never was. */
        expected = make_value(&there, key, expected_id, TORCT_ID_PLAIN);
    }
    if (!deletes)
        desired = make_value(&value, key, id, TORCT_ID_PLAIN);
    status = torc_txn_compare_and_set(txn, key_name(name, key), expects ? &expected : NULL, deletes ? NULL : &desired);
    switch (status) {
    case TORC_MISMATCH:
        note(recorder, TORCT_OP_OTHER, key, expected_id);
        return TORC_OK;
    case TORC_NOT_FOUND:
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
        return TORC_OK;
    case TORC_EXISTS:
        note(recorder, TORCT_OP_FOUND, key, TORCT_ID_ABSENT);
        return TORC_OK;
    case TORC_OK:
        note(recorder, TORCT_OP_READ, key, expects ? expected_id : TORCT_ID_ABSENT);
        note_write(recorder, TORCT_OP_WRITE, key, id, TORC_NEVER);
        return TORC_OK;
    default:
        return refused(recorder, "compare_and_set", key, status);
    }
}

/* Read items of keyspace `space` until the end or `limit`; narrow the recorded range to what was covered. */
static enum torc_status
read_items(struct recorder *recorder, struct torc_cursor *cursor, struct torct_op *scan, uint32_t space, uint32_t limit)
{
    struct torc_slice name, value;
    uint32_t key;

    while (limit-- > 0) {
        enum torc_status status = torc_cursor_next(cursor, &name, &value);

        if (status == TORC_END)
            return TORC_OK;
        if (status != TORC_OK)
            return failed(recorder, "next", status);
        key = key_of(name);
        if (key >= space_keys) {
            torct_complain(recorder->worker, "a scan shows a key that nobody writes");
            return TORC_OK;
        }
        key += space * space_keys;
        note_value(recorder, TORCT_OP_ITEM, key, value);
        if (limit == 0 && scan->kind == TORCT_OP_SCAN)
            scan->id = (uint64_t)key + 1;
        else if (limit == 0)
            scan->key = key;
    }
    return TORC_OK;
}

/* Scan keys [low, high) of keyspace `space`, numbered within it, or less: up to `limit`. */
static enum torc_status
scan_range(struct recorder *recorder, struct torc_txn *txn, const struct torc_scan_options *options, uint32_t space,
           uint32_t low, uint32_t high, uint32_t limit)
{
    enum torc_status status = use_space(recorder, txn, space * space_keys);
    struct torc_cursor *cursor;
    struct torct_op *scan;

    torct_step(recorder->worker, "scan");
    if (status != TORC_OK)
        return status;
    status = torc_txn_scan(txn, options, &cursor);
    if (status != TORC_OK)
        return failed(recorder, "scan", status);
    scan = note(recorder, options->reverse ? TORCT_OP_SCAN_REVERSE : TORCT_OP_SCAN, space * space_keys + low,
                space * space_keys + (high < space_keys ? high : space_keys));
    status = read_items(recorder, cursor, scan, space, limit);
    torc_cursor_close(cursor);
    recorder->entry->time_last = torct_now_ms(recorder->worker->stress);
    if (status != TORC_OK) {
        /* It ended early: what it has shown is what it covers. */
        const struct torct_op *item = &recorder->history->ops[recorder->history->op_count - 1];

        if (options->reverse)
            scan->key = item == scan ? (uint32_t)scan->id : item->key;
        else
            scan->id = item == scan ? scan->key : (uint64_t)item->key + 1;
    }
    return status;
}

static enum torc_status
step_scan(struct recorder *recorder, struct torc_txn *txn)
{
    struct torci_random *random = &recorder->worker->random;
    uint32_t low = any_key(recorder), space = low / space_keys, high = any_key(recorder) % space_keys;
    char from[STRESS_NAME_MAX], to[STRESS_NAME_MAX];
    struct torc_scan_options options = {.prefix = torc_slice("k", 1), .reverse = torci_random_one_in(random, 2)};
    uint32_t limit = torci_random_one_in(random, 3) ? 1 + (uint32_t)torci_random_below(random, 4) : space_keys + 1;

    low %= space_keys;
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
        high = space_keys;
        break;
    }
    return scan_range(recorder, txn, &options, space, low, high, limit);
}

/* Delete a range, after a scan of it: so it is known what has to go. A conflict leaves it unknown what was deleted:
 * sometimes a savepoint helps, otherwise the transaction must end. */
static enum torc_status
step_delete_range(struct recorder *recorder, struct torc_txn *txn)
{
    uint32_t key = any_key(recorder), space = key / space_keys, low = key % space_keys;
    uint32_t high = low + 1 + (uint32_t)torci_random_below(&recorder->worker->random, DELETE_RANGE_MAX);
    bool guarded = recorder->savepoint_count == 0 && torci_random_one_in(&recorder->worker->random, 2);
    uint32_t first = recorder->entry->ops, last;
    char from[STRESS_NAME_MAX], to[STRESS_NAME_MAX];
    struct torc_scan_options options = {.from = key_name(from, low)};
    uint64_t deleted = 0;
    enum torc_status status;

    if (high < space_keys)
        options.to = key_name(to, high);
    status = scan_range(recorder, txn, &options, space, low, high, space_keys + 1);
    if (status == TORC_OK && guarded)
        status = torc_txn_savepoint(txn, torc_slice("range", 5));
    if (status != TORC_OK)
        return status == TORC_EXPIRED ? status : failed(recorder, "savepoint", status);
    last = recorder->entry->ops;
    torct_step(recorder->worker, "delete_range");
    status = torc_txn_delete_range(txn, options.from, options.to, &deleted);
    if (status == TORC_OK && deleted != last - first - 1)
        torct_complain(recorder->worker, "delete_range deletes %" PRIu64 " of %" PRIu32 " keys", deleted,
                       last - first - 1);
    for (uint32_t i = first + 1; i < last; i++) {
        uint32_t item = recorder->history->ops[recorder->entry->first_op + i].key;

        if (status == TORC_OK)
            note_write(recorder, TORCT_OP_WRITE, item, TORCT_ID_ABSENT, TORC_NEVER);
        else
            note_own(recorder, item);
    }
    if (status == TORC_OK || status == TORC_EXPIRED)
        return status == TORC_OK ? status : failed(recorder, "delete_range", status);
    if (status != TORC_CONFLICT)
        unexpected(recorder, "delete_range", status);
    if (!guarded)
        return TORC_BUSY;               /* It ends here. */
    status = torc_txn_rollback_to(txn, torc_slice("range", 5));
    return status == TORC_OK ? torc_txn_release(txn, torc_slice("range", 5)) : failed(recorder, "rollback", status);
}

/* The newest savepoint of a name; the count: none. */
static unsigned
find_savepoint(const struct recorder *recorder, char name)
{
    for (unsigned i = recorder->savepoint_count; i-- > 0;)
        if (recorder->savepoint_names[i] == name)
            return i;
    return recorder->savepoint_count;
}

/* Set a savepoint, go back to one, or let go of one; two names, so that one hides another. */
static enum torc_status
step_savepoint(struct recorder *recorder, struct torc_txn *txn)
{
    struct torci_random *random = &recorder->worker->random;
    char name = (char)('a' + torci_random_below(random, 2));
    unsigned found = find_savepoint(recorder, name);
    bool there = found < recorder->savepoint_count;
    enum torc_status status;

    torct_step(recorder->worker, "savepoint");
    if (recorder->savepoint_count < SAVEPOINTS_MAX && torci_random_one_in(random, 2)) {
        status = torc_txn_savepoint(txn, torc_slice(&name, 1));
        if (status != TORC_OK)
            return failed(recorder, "savepoint", status);
        recorder->savepoints[recorder->savepoint_count] = recorder->entry->ops;
        recorder->savepoint_facts[recorder->savepoint_count] = recorder->history->fact_count;
        recorder->savepoint_names[recorder->savepoint_count++] = name;
        note(recorder, TORCT_OP_SAVEPOINT, TORCT_KEY_NONE, TORCT_ID_ABSENT);
        return TORC_OK;
    }
    if (torci_random_one_in(random, 3)) {
        status = torc_txn_release(txn, torc_slice(&name, 1));
        if (there)
            recorder->savepoint_count = found;
    } else {
        status = torc_txn_rollback_to(txn, torc_slice(&name, 1));
        if (there && status == TORC_OK) {
            recorder->savepoint_count = found + 1;
            torct_history_rollback(recorder->history, recorder->savepoints[found]);
            /* A merge that was read since then is a merge again: of which value, is open again, too. */
            recorder->history->fact_count = recorder->savepoint_facts[found];
        }
    }
    if (status == (there ? TORC_OK : TORC_NOT_FOUND))
        return TORC_OK;
    return failed(recorder, "going back to a savepoint", status);
}

static enum torc_status
step_any(struct recorder *recorder, struct torc_txn *txn)
{
    uint64_t draw = torci_random_below(&recorder->worker->random, recorder->read_only ? 40 : 120);

    if (draw < 30)
        return step_get(recorder, txn);
    if (draw < 40)
        return step_scan(recorder, txn);
    if (draw < 60)
        return step_put(recorder, txn, false);
    if (draw < 68)
        return step_put(recorder, txn, true);
    if (draw < 78)
        return step_delete(recorder, txn);
    if (draw < 86)
        return step_get_for_update(recorder, txn);
    if (draw < 98)
        return step_merge(recorder, txn);
    if (draw < 106)
        return step_compare_and_set(recorder, txn);
    if (draw < 117)
        return step_savepoint(recorder, txn);
    return step_delete_range(recorder, txn);
}

/* All steps. After a conflict the transaction is as before, so sometimes it goes on. */
static enum torc_status
step_all(struct recorder *recorder, struct torc_txn *txn)
{
    struct torct_worker *worker = recorder->worker;
    uint32_t margin = 2 * (space_keys + STEPS_MAX);

    for (; recorder->steps_left > 0 && torct_history_fits(recorder->history, 2, margin); recorder->steps_left--) {
        enum torc_status status = step_any(recorder, txn);

        if (status != TORC_OK && (status != TORC_CONFLICT || !torci_random_one_in(&worker->random, 4)))
            return status;
    }
    look_again(recorder);
    return TORC_OK;
}

/* ---- Transactions ---- */

/* Operations of an entry, at most; a long one looks for itself. */
static uint32_t
ops_margin(void)
{
    return (STEPS_MAX + 2) * (space_keys + 2 * STEPS_MAX);
}

static struct torc_slice
snapshot_name(char name[STRESS_NAME_MAX], uint64_t thread)
{
    return torc_slice(name, (size_t)snprintf(name, STRESS_NAME_MAX, "mix%03" PRIu64, thread));
}

static void
draw_transaction(struct recorder *recorder)
{
    struct torci_random *random = &recorder->worker->random;

    recorder->serializable = torci_random_one_in(random, 2);
    recorder->read_only = torci_random_one_in(random, 8);
    recorder->will_abort = torci_random_one_in(random, 16);
    recorder->steps_left = 1 + (unsigned)torci_random_below(random, STEPS_MAX);
    recorder->at = 0;
    recorder->past = NAME_NONE;
    if (torci_random_one_in(random, 12))
        recorder->past = (int)torci_random_below(random, recorder->worker->stress->threads);
    else if ((recorder->worker->stress->traits & TORCT_KEEPS_HISTORY) != 0 && recorder->stamp_count > 0
             && torci_random_one_in(random, 6))
        recorder->at = recorder->stamps[torci_random_below(random, recorder->stamp_count)];
}

/* Remember a stamp, to go back to it later. */
static void
keep_stamp(struct recorder *recorder, uint64_t stamp)
{
    if (recorder->stamp_count < STAMPS_MAX)
        recorder->stamps[recorder->stamp_count++] = stamp;
    else
        recorder->stamps[torci_random_below(&recorder->worker->random, STAMPS_MAX)] = stamp;
}

static void
entry_begun(struct recorder *recorder, const struct torc_txn *txn, uint64_t called)
{
    recorder->entry->begin_called = called;
    recorder->entry->begin_returned = recorder->moment;
    recorder->entry->snapshot = torc_txn_snapshot(txn);
    recorder->entry->serializable = recorder->serializable;
    recorder->entry->read_only = recorder->read_only;
    recorder->entry->past = recorder->past != NAME_NONE || recorder->at > 0;
    keep_stamp(recorder, recorder->entry->snapshot);
}

/* The key that a commit conflicts over: one that the entry wrote, or else read. The name does not tell its keyspace. */
static uint32_t
conflict_key(const struct recorder *recorder)
{
    uint32_t local = key_of(torc_conflict_key());

    for (unsigned writes = 2; local < space_keys && writes-- > 0;)
        for (uint32_t key = local; key < all_keys; key += space_keys)
            if (torct_history_touched(recorder->history, recorder->entry, key, writes > 0))
                return key;
    return TORCT_KEY_NONE;
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
        if (entry->stamp != 0)
            keep_stamp(recorder, entry->stamp);
        recorder->worker->commits++;
        return;
    }
    recorder->worker->conflicts++;
    if (status == TORC_CONFLICT) {
        entry->outcome = TORCT_CONFLICTED;
        entry->conflict_key = conflict_key(recorder);
        if (entry->conflict_key == TORCT_KEY_NONE && torc_conflict_key().size > 0)
            torct_complain(recorder->worker, "a commit conflicts over a key of others");
    } else {
        entry->outcome = TORCT_REFUSED;
        if (status != TORC_BUSY)
            (void)failed(recorder, "commit", status);
    }
}

/* Of which kind the drawn transaction is; `name` is room for a snapshot's. */
static struct torc_txn_options
drawn_options(const struct recorder *recorder, char name[STRESS_NAME_MAX])
{
    struct torc_txn_options options = {.isolation = recorder->serializable ? TORC_SERIALIZABLE : TORC_SNAPSHOT,
                                       .read_only = recorder->read_only, .at = recorder->at};

    if (recorder->past != NAME_NONE)
        options.snapshot = snapshot_name(name, (uint64_t)recorder->past);
    return options;
}

/* Whether the past that was drawn is not there: then there is nothing to do. */
static bool
has_gone(const struct recorder *recorder, enum torc_status status)
{
    return (recorder->past != NAME_NONE && status == TORC_NOT_FOUND) || (recorder->at > 0 && status == TORC_EXPIRED);
}

static void
run_transaction(struct recorder *recorder)
{
    struct torct_worker *worker = recorder->worker;
    char name[STRESS_NAME_MAX];
    struct torc_txn_options options = drawn_options(recorder, name);
    uint64_t called = torci_now_ns();
    struct torc_txn *txn;
    enum torc_status status;

    torct_step(worker, "begin");
    status = torc_txn_begin(worker->stress->store, &options, &txn);
    recorder->moment = torci_now_ns();
    if (status != TORC_OK) {
        if (!has_gone(recorder, status))
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
    if (!torct_history_fits(recorder->history, 2, ops_margin())) {
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
    char name[STRESS_NAME_MAX];
    struct torc_run_options options = {.attempts_max = RUN_ATTEMPTS, .backoff_max_ns = 20000};
    enum torc_status status;

    /* One that reads the past would find the same conflicts again. */
    recorder->past = NAME_NONE;
    recorder->at = 0;
    options.txn = drawn_options(recorder, name);
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
        (void)failed(recorder, "run", status);
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

/* Give the present a name, or take the name back: an entry that does nothing. */
static void
run_named(struct recorder *recorder)
{
    struct torc_mvcc *store = recorder->worker->stress->store;
    struct torct_entry *entry;
    char name[STRESS_NAME_MAX];
    struct torc_slice own = snapshot_name(name, recorder->worker->number);
    enum torc_status status;

    begin_entry(recorder, false);
    entry = recorder->entry;
    entry->begin_called = torci_now_ns();
    torct_step(recorder->worker, "name a snapshot");
    status = torc_snapshot_create(store, own, &entry->snapshot);
    recorder->moment = torci_now_ns();
    entry->begin_returned = recorder->moment;
    entry->commit_called = recorder->moment;
    entry->commit_returned = recorder->moment;
    entry->past = status != TORC_OK;
    entry->outcome = status == TORC_OK ? TORCT_COMMITTED : TORCT_ABORTED;
    if (status == TORC_EXISTS)
        status = torc_snapshot_drop(store, own);
    if (status != TORC_OK)
        unexpected(recorder, "naming a snapshot", status);
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
    status = torc_keyspace_get(space_of(key), key_name(name, key), &value, sizeof(value), &size);
    if (status == TORC_OK)
        note_value(recorder, TORCT_OP_READ, key, torc_slice(&value, size));
    else if (status == TORC_NOT_FOUND)
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
    else
        unexpected(recorder, "autocommit get", status);
}

/* What an autocommit write said of the value before is noted first: then the write. */
static void
run_auto_write(struct recorder *recorder, uint32_t key, bool delete)
{
    uint64_t id = delete ? TORCT_ID_ABSENT : torct_history_new_id(recorder->history);
    uint64_t expires_ms = delete ? TORC_NEVER : any_time(recorder, key);
    char name[STRESS_NAME_MAX];
    struct value value;
    enum torc_status status;
    bool found = true;

    torct_step(recorder->worker, delete ? "autocommit delete" : "autocommit put");
    status = delete ? torc_keyspace_delete(space_of(key), key_name(name, key))
                    : torc_keyspace_put(space_of(key), key_name(name, key), make_value(&value, key, id, TORCT_ID_PLAIN),
                                        expires_ms, &found);
    if (status == TORC_OK) {
        note(recorder, found ? TORCT_OP_FOUND : TORCT_OP_READ, key, TORCT_ID_ABSENT);
        note_write(recorder, TORCT_OP_WRITE, key, id, expires_ms);
        recorder->entry->stamp = torc_last_commit();
    } else if (status == TORC_NOT_FOUND && delete) {
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
    } else {
        recorder->entry->outcome = TORCT_REFUSED;
        if (status != TORC_BUSY)
            unexpected(recorder, "autocommit write", status);
    }
}

/* The result tells what it was made of. */
static void
run_auto_merge(struct recorder *recorder, uint32_t key)
{
    struct operand operand = {.key = key, .first = recorder->first_id};
    char name[STRESS_NAME_MAX];
    struct value value;
    enum torc_status status;
    uint64_t before;
    size_t size;

    operand.id = torct_history_new_id(recorder->history);
    torct_step(recorder->worker, "autocommit merge");
    status = torc_keyspace_merge(space_of(key), key_name(name, key), &merging, torc_slice(&operand, sizeof(operand)),
                                 &value, sizeof(value), &size);
    if (status == TORC_OK) {
        if (look_into(torc_slice(&value, size), key, &before) != operand.id)
            torct_complain(recorder->worker, "a merge returned another result than its own");
        note(recorder, TORCT_OP_READ, key, before);
        note_write(recorder, TORCT_OP_MERGE, key, operand.id, TORC_NEVER);
        torct_history_fact(recorder->history, key, operand.id, before);
        recorder->entry->stamp = torc_last_commit();
    } else {
        recorder->entry->outcome = TORCT_REFUSED;
        if (status != TORC_BUSY)
            unexpected(recorder, "autocommit merge", status);
    }
}

/* Expect what a get has shown, which may be gone, or nothing. */
static void
run_auto_compare_and_set(struct recorder *recorder, uint32_t key)
{
    struct torci_random *random = &recorder->worker->random;
    bool deletes = torci_random_one_in(random, 4);
    uint64_t id = torct_history_new_id(recorder->history), before;
    char name[STRESS_NAME_MAX];
    struct value there, value;
    struct torc_slice expected, desired = make_value(&value, key, id, TORCT_ID_PLAIN);
    enum torc_status status;
    bool expects;
    size_t size;

    torct_step(recorder->worker, "autocommit compare_and_set");
    expects = torc_keyspace_get(space_of(key), key_name(name, key), &there, sizeof(there), &size) == TORC_OK
        && !torci_random_one_in(random, 8);
    expected = torc_slice(&there, size);
    recorder->entry->begin_called = torci_now_ns();     /* The get is not part of it. */
    recorder->entry->commit_called = recorder->entry->begin_called;
    status = torc_keyspace_compare_and_set(space_of(key), key_name(name, key), expects ? &expected : NULL,
                                           deletes ? NULL : &desired);
    switch (status) {
    case TORC_OK:
        note(recorder, TORCT_OP_READ, key, expects ? look_into(expected, key, &before) : TORCT_ID_ABSENT);
        note_write(recorder, TORCT_OP_WRITE, key, deletes ? TORCT_ID_ABSENT : id, TORC_NEVER);
        recorder->entry->stamp = torc_last_commit();
        break;
    case TORC_MISMATCH:
        note(recorder, TORCT_OP_OTHER, key, look_into(expected, key, &before));
        break;
    case TORC_NOT_FOUND:
        note(recorder, TORCT_OP_READ, key, TORCT_ID_ABSENT);
        break;
    case TORC_EXISTS:
        note(recorder, TORCT_OP_FOUND, key, TORCT_ID_ABSENT);
        break;
    default:
        recorder->entry->outcome = TORCT_REFUSED;
        if (status != TORC_BUSY)
            unexpected(recorder, "autocommit compare_and_set", status);
    }
}

static void
run_auto(struct recorder *recorder)
{
    uint64_t draw = torci_random_below(&recorder->worker->random, 28);
    uint32_t key = any_key(recorder);
    struct torct_entry *entry;

    begin_entry(recorder, true);
    entry = recorder->entry;
    entry->begin_called = torci_now_ns();
    entry->commit_called = entry->begin_called;
    if (draw < 9)
        run_auto_get(recorder, key);
    else if (draw < 20)
        run_auto_write(recorder, key, draw >= 16);
    else if (draw < 24 && !expires(key))
        run_auto_merge(recorder, key);
    else
        run_auto_compare_and_set(recorder, key);
    recorder->moment = torci_now_ns();
    entry->begin_returned = recorder->moment;
    entry->commit_returned = recorder->moment;
    recorder->worker->commits += entry->outcome == TORCT_COMMITTED;
}

/* ---- The round ---- */

static void
make_histories(struct torct_stress *stress)
{
    space_keys = (stress->keys + SPACES - 1) / SPACES;
    all_keys = SPACES * space_keys;
    history_count = stress->threads + 1;
    histories = calloc(history_count, sizeof(*histories));
    baseline = calloc(all_keys, sizeof(*baseline));
    times = malloc(all_keys * sizeof(*times));
    if (histories == NULL || baseline == NULL || times == NULL)
        torct_give_up("no memory for %u histories", history_count);
    for (unsigned i = 0; i < history_count; i++)
        if (!torct_history_init(&histories[i], i, ENTRIES_MAX, OPS_MAX))
            torct_give_up("no memory for history %u", i);
    torct_mix_forget();
}

void
torct_mix_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    (void)workload;
    if (histories == NULL)
        make_histories(stress);
    for (unsigned i = 0; i < history_count; i++)
        torct_history_clear(&histories[i]);
    spaces[0] = torc_mvcc_default(stress->store);
    for (unsigned i = 1; i < SPACES; i++) {
        char name[STRESS_NAME_MAX];
        struct torc_slice slice = torc_slice(name, (size_t)snprintf(name, sizeof(name), "mix%u", i));
        enum torc_status status = torc_keyspace_create(stress->store, slice, &spaces[i]);

        if (status != TORC_EXISTS)
            torct_must(status);
    }
}

/* What a store that has no thread of its own needs, and others may have. */
static void
poll_store(struct torct_worker *worker)
{
    bool more = true;

    torct_step(worker, "poll");
    for (unsigned i = 0; i < POLLS_MAX && more; i++)
        torct_must(torc_mvcc_poll(worker->stress->store, &more));
}

/* One step of a worker, of whatever kind. */
static void
run_any(struct recorder *recorder)
{
    struct torct_worker *worker = recorder->worker;
    uint64_t draw = torci_random_below(&worker->random, 66);

    draw_transaction(recorder);
    if (draw < 20)
        run_auto(recorder);
    else if (draw < 52)
        run_transaction(recorder);
    else if (draw < 63)
        run_retried(recorder);
    else if (draw < 64)
        run_long(recorder);
    else if (draw < 65)
        run_named(recorder);
    else
        poll_store(worker);
    if (torci_random_one_in(&worker->random, 16))
        torct_advance_ms(worker->stress, 1 + torci_random_below(&worker->random, LIFE_MAX_MS / 8));
}

void
torct_mix_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    struct recorder recorder = {.worker = worker, .history = &histories[worker->number]};
    bool polls = (stress->traits & TORCT_DRIVEN) != 0 && worker->number == 0 && stress->threads > 1;

    (void)workload;
    recorder.own = calloc(all_keys, sizeof(*recorder.own));
    if (recorder.own == NULL)
        torct_give_up("no memory for a recorder");
    recorder.moment = torci_now_ns();
    while (torct_goes_on(worker, polls ? torci_now_ns() : recorder.moment)) {
        if (!torct_history_fits(recorder.history, RUN_ATTEMPTS + 2, ops_margin())) {
            torci_store(&stress->stop, true, memory_order_relaxed);     /* A hint; see its declaration. */
            break;
        }
        if (polls)
            poll_store(worker);
        else
            run_any(&recorder);
    }
    free(recorder.own);
}

/* All keys as they are now, as the last entry of the history. */
static void
record_final_scan(struct torct_stress *stress)
{
    struct torct_worker worker = {.stress = stress, .number = stress->threads};
    struct recorder recorder = {.worker = &worker, .history = &histories[stress->threads], .past = NAME_NONE,
                                .read_only = true};
    struct torc_scan_options all = {.prefix = torc_slice("k", 1)};
    struct torc_txn_options options = {.read_only = true};
    uint64_t called = torci_now_ns();
    struct torc_txn *txn;

    torct_must(torc_txn_begin(stress->store, &options, &txn));
    recorder.moment = torci_now_ns();
    begin_entry(&recorder, false);
    entry_begun(&recorder, txn, called);
    for (uint32_t space = 0; space < SPACES; space++)
        (void)scan_range(&recorder, txn, &all, space, 0, space_keys, space_keys + 1);
    torc_txn_abort(txn);
    stress->verdict.total += worker.wrong;
}

void
torct_mix_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    struct torct_run run = {.histories = histories, .threads = history_count, .keys = all_keys, .baseline = baseline,
                            .times = times};
    char name[STRESS_NAME_MAX];

    (void)workload;
    for (unsigned i = 0; i < stress->threads; i++) {
        enum torc_status status = torc_snapshot_drop(stress->store, snapshot_name(name, i));

        if (status != TORC_NOT_FOUND)
            torct_must(status);
    }
    record_final_scan(stress);
    torct_check_si(&run, &stress->verdict);
}

void
torct_mix_forget(void)
{
    for (uint32_t key = 0; key < all_keys; key++) {
        baseline[key] = TORCT_ID_ABSENT;
        times[key] = UINT64_MAX;
    }
}

void
torct_mix_fini(void)
{
    for (unsigned i = 0; i < history_count; i++)
        torct_history_fini(&histories[i]);
    free(histories);
    free(baseline);
    free(times);
    histories = NULL;
    baseline = NULL;
    times = NULL;
    history_count = 0;
    all_keys = 0;
}

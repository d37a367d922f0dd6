/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_model: a random script of several open transactions on one thread, beside a model that knows every answer:
 * each value, each conflict, each commit that must fail and each that must not. */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/random.h"
#include "base/testing.h"
#include "mvcc/mvcc_fixture_testing.h"

TestSuite(mvcc_model, .init = create, .fini = destroy, .timeout = 300);

/* ---- The model ---- */

enum {
    MODEL_KEYS = 12,
    MODEL_TXNS = 5,
    MODEL_STEPS = 40000,
    ABSENT = 0,
};

/* What one open transaction must see: the store at its begin, and what it wrote. */
struct model_txn {
    struct torc_txn *txn;                   /* NULL: not open. */
    bool serializable;
    bool doomed;                            /* A conflict was returned: only abort may follow. */
    bool wrote;
    int64_t snapshot[MODEL_KEYS];
    uint64_t begun;                         /* Commits before it. */
    bool written[MODEL_KEYS];
    bool locked[MODEL_KEYS];
    int64_t own[MODEL_KEYS];
    bool read[MODEL_KEYS];                  /* From the snapshot, points and ranges. */
};

struct model {
    int64_t newest[MODEL_KEYS];
    uint64_t changed[MODEL_KEYS];           /* By the n-th commit. */
    uint64_t commits;
    int64_t last_value;
    struct model_txn txns[MODEL_TXNS];
    struct torci_random random;
};

static int64_t
model_value(const struct model_txn *txn, unsigned key)
{
    return txn->written[key] ? txn->own[key] : txn->snapshot[key];
}

static bool
model_overtaken(const struct model *model, const struct model_txn *txn, unsigned key)
{
    return model->changed[key] > txn->begun;
}

static struct torc_slice
model_key(char name[NAME_MAX_SIZE], unsigned key)
{
    return name_of(name, key % 2 == 0 ? "even" : "odd", key);
}

/* Even keys come before odd ones. */
static unsigned
model_rank(unsigned rank)
{
    return rank < MODEL_KEYS / 2 ? rank * 2 : (rank - MODEL_KEYS / 2) * 2 + 1;
}

static void
model_begin(struct model *model, struct model_txn *txn)
{
    memset(txn, 0, sizeof(*txn));
    txn->serializable = torci_random_one_in(&model->random, 2);
    txn->txn = begin(txn->serializable ? TORC_SERIALIZABLE : TORC_SNAPSHOT, false);
    memcpy(txn->snapshot, model->newest, sizeof(txn->snapshot));
    txn->begun = model->commits;
}

static void
model_read(struct model_txn *txn, unsigned key, enum torc_status status, struct torc_slice value)
{
    int64_t expected = model_value(txn, key);

    cr_assert_eq(status, expected == ABSENT ? TORC_NOT_FOUND : TORC_OK, "key %u: %s", key, torc_status_name(status));
    if (expected != ABSENT)
        cr_assert_eq(number_in(value), expected, "key %u", key);
    if (!txn->written[key])
        txn->read[key] = true;
}

/* Whether `key`, or one that the transaction wrote before, was committed by another one since it began. */
static bool
model_lost(struct model *model, struct model_txn *txn, unsigned key)
{
    bool lost = model_overtaken(model, txn, key);

    for (unsigned i = 0; i < MODEL_KEYS; i++)
        lost |= txn->written[i] && model_overtaken(model, txn, i);
    return lost;
}

/* A write of any kind: `status` is what torc said, `wanted` what the model says but for conflicts. */
static bool
model_wrote(struct model *model, struct model_txn *txn, unsigned key, enum torc_status status, enum torc_status wanted)
{
    if (status == TORC_CONFLICT) {
        cr_assert(model_lost(model, txn, key), "key %u: a conflict without cause", key);
        txn->doomed = true;
        return false;
    }
    cr_assert_eq(status, wanted, "key %u: %s, not %s", key, torc_status_name(status), torc_status_name(wanted));
    return status == TORC_OK;
}

static void
model_write(struct model *model, struct model_txn *txn, unsigned key)
{
    bool present = model_value(txn, key) != ABSENT;
    int64_t value = ++model->last_value;
    char name[NAME_MAX_SIZE];
    struct torc_slice slice = model_key(name, key);

    switch (torci_random_below(&model->random, 3)) {
    case 0:
        if (!model_wrote(model, txn, key, torc_txn_put(txn->txn, slice, bytes_of(&value)), TORC_OK))
            return;
        break;
    case 1:
        txn->read[key] |= !txn->written[key];
        if (!model_wrote(model, txn, key, torc_txn_put_if_absent(txn->txn, slice, bytes_of(&value)),
                         present ? TORC_EXISTS : TORC_OK))
            return;
        break;
    default:
        txn->read[key] |= !txn->written[key];
        if (!model_wrote(model, txn, key, torc_txn_delete(txn->txn, slice), present ? TORC_OK : TORC_NOT_FOUND))
            return;
        value = ABSENT;
        break;
    }
    txn->written[key] = true;
    txn->own[key] = value;
    txn->wrote = true;
}

static void
model_lock(struct model *model, struct model_txn *txn, unsigned key)
{
    char name[NAME_MAX_SIZE];
    struct torc_slice value;
    enum torc_status status = torc_txn_get_for_update(txn->txn, model_key(name, key), &value);

    if (status == TORC_CONFLICT) {
        cr_assert(model_overtaken(model, txn, key), "key %u: a conflict without cause", key);
        txn->doomed = true;
        return;
    }
    model_read(txn, key, status, value);
    txn->locked[key] = true;
    txn->wrote = true;
}

static void
model_scan(struct model *model, struct model_txn *txn)
{
    unsigned least = (unsigned)torci_random_below(&model->random, MODEL_KEYS);
    unsigned past = (unsigned)torci_random_below(&model->random, MODEL_KEYS + 1);
    unsigned limit = (unsigned)torci_random_below(&model->random, MODEL_KEYS + 1);
    bool reverse = torci_random_one_in(&model->random, 2);
    char from[NAME_MAX_SIZE], to[NAME_MAX_SIZE], name[NAME_MAX_SIZE];
    struct torc_scan_options options = {.from = model_key(from, model_rank(least)), .reverse = reverse};
    struct torc_cursor *cursor;
    struct torc_slice key, value;
    bool ended = false;

    if (past < MODEL_KEYS)
        options.to = model_key(to, model_rank(past));
    cr_assert_eq(torc_txn_scan(txn->txn, &options, &cursor), TORC_OK);
    for (unsigned i = least; i < past && !ended; i++) {
        unsigned number = model_rank(reverse ? past - 1 - (i - least) : i);
        struct torc_slice expected = model_key(name, number);

        if (!txn->written[number])
            txn->read[number] = true;
        if (model_value(txn, number) == ABSENT)
            continue;
        cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_OK);
        cr_assert(key.size == expected.size && memcmp(key.data, expected.data, key.size) == 0, "%.*s, not %.*s",
                  (int)key.size, (const char *)key.data, (int)expected.size, (const char *)expected.data);
        cr_assert_eq(number_in(value), model_value(txn, number));
        ended = limit-- == 0;
    }
    if (!ended)
        cr_assert_eq(torc_cursor_next(cursor, &key, &value), TORC_END);
    torc_cursor_close(cursor);
}

/* The key over which the commit must fail, or MODEL_KEYS. A key that was read must be as it was: it may have been
 * locked, or put and deleted, in between. */
static unsigned
model_lost_key(const struct model *model, const struct model_txn *txn)
{
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        bool reads = txn->serializable && txn->wrote && txn->read[key];

        if (model_overtaken(model, txn, key) && (txn->written[key] || txn->locked[key]))
            return key;
        if (reads && model->newest[key] != txn->snapshot[key])
            return key;
    }
    return MODEL_KEYS;
}

/* Whether the commit may fail although it need not: a scan that stopped early may have guarded more than it showed. */
static bool
model_may_lose(const struct model *model, const struct model_txn *txn)
{
    for (unsigned key = 0; key < MODEL_KEYS; key++)
        if (model_overtaken(model, txn, key))
            return txn->serializable && txn->wrote;
    return false;
}

static void
model_commit(struct model *model, struct model_txn *txn)
{
    unsigned lost = model_lost_key(model, txn);
    bool may_lose = lost < MODEL_KEYS || model_may_lose(model, txn);
    enum torc_status status = torc_txn_commit(txn->txn);

    txn->txn = NULL;
    if (status == TORC_CONFLICT) {
        cr_assert(may_lose, "a commit lost without cause");
        return;
    }
    cr_assert_eq(status, TORC_OK, "%s", torc_status_name(status));
    cr_assert_eq(lost, (unsigned)MODEL_KEYS, "a %s commit won that had lost key %u (%s%s%s)",
                 txn->serializable ? "serializable" : "snapshot", lost,
                 lost < MODEL_KEYS && txn->written[lost] ? "written " : "",
                 lost < MODEL_KEYS && txn->locked[lost] ? "locked " : "",
                 lost < MODEL_KEYS && txn->read[lost] ? "read" : "");
    model->commits++;
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        if (txn->written[key])
            model->newest[key] = txn->own[key];
        if (txn->written[key] || txn->locked[key])
            model->changed[key] = model->commits;
    }
}

static void
model_autocommit(struct model *model, unsigned key)
{
    bool present = model->newest[key] != ABSENT;
    char name[NAME_MAX_SIZE];
    struct torc_slice slice = model_key(name, key);
    int64_t value = ++model->last_value, got = 0;
    bool replaced = !present;
    size_t size;

    switch (torci_random_below(&model->random, 3)) {
    case 0:
        cr_assert_eq(torc_mvcc_get(store, slice, &got, sizeof(got), &size), present ? TORC_OK : TORC_NOT_FOUND);
        cr_assert_eq(got, model->newest[key]);
        return;
    case 1:
        cr_assert_eq(torc_mvcc_put(store, slice, bytes_of(&value), &replaced), TORC_OK);
        cr_assert_eq(replaced, present);
        break;
    default:
        cr_assert_eq(torc_mvcc_delete(store, slice), present ? TORC_OK : TORC_NOT_FOUND);
        if (!present)
            return;
        value = ABSENT;
        break;
    }
    model->newest[key] = value;
    model->changed[key] = ++model->commits;
}

static void
model_step(struct model *model)
{
    struct model_txn *txn = &model->txns[torci_random_below(&model->random, MODEL_TXNS)];
    unsigned key = (unsigned)torci_random_below(&model->random, MODEL_KEYS);
    char name[NAME_MAX_SIZE];
    struct torc_slice value;
    enum torc_status status;

    if (txn->txn == NULL) {
        model_begin(model, txn);
        return;
    }
    switch (txn->doomed ? 15 : torci_random_below(&model->random, 16)) {
    case 0: case 1: case 2: case 3:
        status = torc_txn_get(txn->txn, model_key(name, key), &value);
        model_read(txn, key, status, value);
        break;
    case 4: case 5: case 6: case 7:
        model_write(model, txn, key);
        break;
    case 8:
        model_lock(model, txn, key);
        break;
    case 9: case 10:
        model_scan(model, txn);
        break;
    case 11:
        model_autocommit(model, key);
        break;
    case 12: case 13: case 14:
        model_commit(model, txn);
        break;
    default:
        torc_txn_abort(txn->txn);
        txn->txn = NULL;
        break;
    }
}

/* Several transactions open at once, one thread: every answer is known. */
Test(mvcc_model, agrees_with_every_step)
{
    static struct model model;

    model.random = torci_random_seed(torct_seed());
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        model_step(&model);
        if (step % 1024 == 0)
            cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
    }
    for (unsigned i = 0; i < MODEL_TXNS; i++)
        torc_txn_abort(model.txns[i].txn);
    expect_only_live_versions();
}

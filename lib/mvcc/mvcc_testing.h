/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_testing: what the tests of the transactional store share: a store on a ledger whose allocator can be
 * interrupted, states of commits built by hand, calls that must succeed. Never installed. Needs Criterion. */
#ifndef TORCT_MVCC_TESTING_H
#define TORCT_MVCC_TESTING_H

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <torc/mvcc.h>

#include "base/status.h"
#include "base/testing.h"
#include "mvcc/install.h"
#include "mvcc/reclaim.h"
#include "mvcc/snapshot.h"
#include "mvcc/store.h"
#include "mvcc/txn.h"

/* A store whose memory is counted. `interrupt`, if set, runs before each allocation, on the allocating thread: a hook
 * into the middle of calls that cannot be stopped otherwise. Set it while nothing runs. */
struct torct_store {
    struct torct_ledger ledger;
    struct torc_allocator below;
    struct torc_mvcc *mvcc;
    void (*interrupt)(void *context);
    void *context;
};

static inline void *
torct_store_allocate(void *context, size_t size)
{
    struct torct_store *store = context;

    if (store->interrupt != NULL)
        store->interrupt(store->context);
    return store->below.allocate(store->below.context, size);
}

static inline void
torct_store_release(void *context, void *memory, size_t size)
{
    struct torct_store *store = context;

    store->below.release(store->below.context, memory, size);
}

static inline void
torct_store_open(struct torct_store *store)
{
    struct torc_allocator allocator = {torct_store_allocate, torct_store_release, store};
    struct torc_mvcc_options options;

    memset(store, 0, sizeof *store);
    torct_ledger_init(&store->ledger);
    store->below = torct_ledger_allocator(&store->ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    cr_assert_eq(torc_mvcc_open(&options, &store->mvcc), TORC_OK);
}

/* Everything must have gone back. */
static inline void
torct_store_close(struct torct_store *store)
{
    store->interrupt = NULL;
    cr_assert_eq(torc_mvcc_close(store->mvcc), TORC_OK);
    cr_assert(torct_ledger_balanced(&store->ledger), "the store kept memory");
}

static inline struct torc_slice
torct_text(const char *text)
{
    return torc_slice_from_string(text);
}

static inline bool
torct_slice_is(struct torc_slice slice, const char *text)
{
    return slice.size == strlen(text) && memcmp(slice.data, text, slice.size) == 0;
}

/* ---- Calls that must succeed ---- */

static inline void
torct_put(struct torc_mvcc *store, const char *key, const char *value)
{
    cr_assert_eq(torc_mvcc_put(store, torct_text(key), torct_text(value), NULL), TORC_OK, "put %s", key);
}

static inline void
torct_delete(struct torc_mvcc *store, const char *key)
{
    cr_assert_eq(torc_mvcc_delete(store, torct_text(key)), TORC_OK, "delete %s", key);
}

static inline struct torc_txn *
torct_begin(struct torc_mvcc *store, enum torc_isolation isolation)
{
    struct torc_txn_options options = {.isolation = isolation};
    struct torc_txn *txn;

    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK);
    return txn;
}

static inline void
torct_txn_put(struct torc_txn *txn, const char *key, const char *value)
{
    cr_assert_eq(torc_txn_put(txn, torct_text(key), torct_text(value)), TORC_OK, "put %s", key);
}

/* Whether `txn` reads `expected` (NULL: nothing) under `key`. */
static inline bool
torct_txn_reads(struct torc_txn *txn, const char *key, const char *expected)
{
    struct torc_slice value;
    enum torc_status status = torc_txn_get(txn, torct_text(key), &value);

    if (status == TORC_NOT_FOUND)
        return expected == NULL && value.size == 0;
    cr_assert_eq(status, TORC_OK, "get %s: %s", key, torc_status_name(status));
    return expected != NULL && torct_slice_is(value, expected);
}

/* Whether the newest committed value of `key` is `expected` (NULL: none). */
static inline bool
torct_reads(struct torc_mvcc *store, const char *key, const char *expected)
{
    char buffer[256];
    size_t size;
    enum torc_status status = torc_mvcc_get(store, torct_text(key), buffer, sizeof buffer, &size);

    if (status == TORC_NOT_FOUND)
        return expected == NULL;
    cr_assert_eq(status, TORC_OK, "get %s: %s", key, torc_status_name(status));
    return expected != NULL && torct_slice_is(torc_slice(buffer, size), expected);
}

static inline struct torc_mvcc_stats
torct_stats(struct torc_mvcc *store)
{
    struct torc_mvcc_stats stats;

    cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
    return stats;
}

static inline void
torct_collect(struct torc_mvcc *store)
{
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
}

/* ---- The inside ---- */

static inline struct torci_shard *
torct_shard(struct torc_mvcc *store)
{
    struct torci_shard *shard = torci_shard_own(store);

    cr_assert_not_null(shard);
    return shard;
}

/* The record of `key`, or NULL. It must not be leaving while the caller uses it. */
static inline struct torci_record *
torct_record(struct torc_mvcc *store, const char *key)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torc_slice slice = torct_text(key);
    uint64_t order = torci_key_order(store, slice);
    struct torci_record *record = torci_index_find(store->main->index, guard, slice, order);

    torci_epoch_exit(guard);
    return record;
}

static inline struct torci_version *
torct_head(struct torc_mvcc *store, const char *key)
{
    struct torci_record *record = torct_record(store, key);

    return record == NULL ? NULL : torci_load(&record->head, memory_order_seq_cst);
}

/* Versions on the chain of `key`. */
static inline unsigned
torct_chain_length(struct torc_mvcc *store, const char *key)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_version *version = torct_head(store, key);
    unsigned length = 0;

    if (version == torci_frozen())
        version = NULL;
    for (; version != NULL; version = torci_load(&version->older, memory_order_acquire))
        length++;
    torci_epoch_exit(guard);
    return length;
}

/* A commit of `txn`, stopped: what torc_txn_commit() does up to the end of step 1 (txn.h), by hand. The section stays
 * open until the end, as the committing thread's does: nothing that waits for a grace period may be called
 * meanwhile. */
struct torct_commit {
    struct torc_txn *txn;
    struct torci_descriptor *descriptor;
    struct torci_epoch_guard guard;
};

static inline struct torct_commit
torct_commit_install(struct torc_txn *txn)
{
    struct torc_mvcc *store = txn->store;
    struct torci_shard *shard = torct_shard(store);
    struct torct_commit commit = {.txn = txn, .guard = torci_epoch_enter()};
    struct torci_install install = {.store = store, .shard = shard, .guard = commit.guard};

    commit.descriptor = torci_alloc(&store->heap, sizeof *commit.descriptor);
    cr_assert_not_null(commit.descriptor);
    torci_init(&commit.descriptor->state, torci_state_word(TORCI_INSTALLING, 0));
    commit.descriptor->snapshot = txn->slot.snapshot;
    commit.descriptor->attempts = txn->attempts;
    commit.descriptor->validate = NULL;
    commit.descriptor->floor = 0;
    commit.descriptor->single = false;
    commit.descriptor->store = store;
    commit.descriptor->reads = NULL;
    if (torci_txn_notes_reads(txn)) {
        cr_assert_eq(torci_read_set_seal(&txn->reads), TORC_OK);
        commit.descriptor->validate = torci_read_set_valid;
        commit.descriptor->reads = &txn->reads;
    }
    install.rank = commit.descriptor;
    install.stamp = torci_stamp_descriptor(commit.descriptor);
    for (struct torci_write *write = torci_write_set_first(&txn->writes); write != NULL;
         write = torci_write_next(write))
        cr_assert_eq(torci_install(&install, write), TORC_OK);
    return commit;
}

static inline enum torci_state
torct_commit_state(const struct torct_commit *commit)
{
    return torci_state_of(torci_load(&commit->descriptor->state, memory_order_seq_cst));
}

/* INSTALLING to DECIDING. */
static inline void
torct_commit_decide(const struct torct_commit *commit)
{
    uint64_t expected = torci_state_word(TORCI_INSTALLING, 0);

    cr_assert(torci_cas(&commit->descriptor->state, &expected, torci_state_word(TORCI_DECIDING, 0),
                        memory_order_seq_cst, memory_order_seq_cst));
}

/* DECIDING to VALIDATING at a stamp of now, which is returned. */
static inline uint64_t
torct_commit_validate(const struct torct_commit *commit)
{
    uint64_t expected = torci_state_word(TORCI_DECIDING, 0);
    uint64_t stamp = torci_clock_write_stamp(&commit->txn->store->clock);

    cr_assert(torci_cas(&commit->descriptor->state, &expected, torci_state_word(TORCI_VALIDATING, stamp),
                        memory_order_seq_cst, memory_order_seq_cst));
    return stamp;
}

/* Go on to the end from any state, as the owner would, and end the transaction. Others are not running any more: the
 * read set is reset without a grace period. Returns whether it committed. */
static inline bool
torct_commit_finish(struct torct_commit *commit)
{
    struct torc_mvcc *store = commit->txn->store;
    struct torci_shard *shard = torct_shard(store);
    struct torci_install install = {.store = store, .shard = shard, .guard = commit->guard};
    uint64_t expected = torci_state_word(TORCI_INSTALLING, 0);
    struct torci_write *write;
    uint64_t word;

    torci_cas(&commit->descriptor->state, &expected, torci_state_word(TORCI_DECIDING, 0), memory_order_seq_cst,
              memory_order_seq_cst);
    word = torci_descriptor_decide(commit->descriptor, &store->clock);
    cr_assert_eq(torci_limbo_reserve(shard->limbo, commit->txn->writes.count + 1), TORC_OK);
    for (write = torci_write_set_first(&commit->txn->writes); write != NULL; write = torci_write_next(write)) {
        if (torci_state_of(word) == TORCI_COMMITTED) {
            torci_store(&write->version->stamp, torci_stamp_committed(torci_state_stamp(word)), memory_order_release);
            torci_keyspace_count(write->keyspace, torci_write_keys_change(write));
        } else {
            (void)torci_uninstall(&install, write);
        }
    }
    torci_limbo_add(shard->limbo, commit->descriptor, sizeof *commit->descriptor, TORCI_RETIRED_DESCRIPTOR);
    for (write = torci_write_set_first(&commit->txn->writes); write != NULL; write = torci_write_next(write))
        torci_reclaim_touch(shard, install.guard, write->record, torci_clock_now(&store->clock));
    torci_epoch_exit(install.guard);
    torc_txn_abort(commit->txn);
    return torci_state_of(word) == TORCI_COMMITTED;
}

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/txn: transactions. Shape and invariants: txn.h. */
#include "mvcc/txn.h"

#include "base/assert.h"
#include "base/ck.h"
#include "base/random.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/install.h"
#include "mvcc/reclaim.h"

enum {
    ARENA_FIRST_BYTES = 1024,
    ATTEMPTS_DEFAULT = 64,
    RETRIES_AWAKE = 3,      /* The first pauses are shorter than putting a thread to sleep takes. */
    BACKOFF_FIRST_NS = 1000,
    BACKOFF_MAX_DEFAULT_NS = 1000000,
};

void
torci_last_commit_note(uint64_t stamp)
{
    torci_self()->last_commit = stamp;
}

/* ---- Checks ---- */

enum torc_status
torci_check_key(struct torc_slice key)
{
    if (key.size == 0 || key.data == NULL)
        return torci_fail(TORC_INVALID, "a key needs at least one byte");
    if (key.size > TORC_KEY_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a key of %zu bytes exceeds %u", key.size, TORC_KEY_SIZE_MAX);
    return TORC_OK;
}

enum torc_status
torci_check_value(struct torc_slice value)
{
    if (value.data == NULL && value.size > 0)
        return torci_fail(TORC_INVALID, "a value of %zu bytes without data", value.size);
    if (value.size > TORC_VALUE_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a value of %zu bytes exceeds %u", value.size, TORC_VALUE_SIZE_MAX);
    return TORC_OK;
}

enum torc_status
torci_txn_enter(struct torc_txn *txn)
{
    if (txn == NULL)
        return torci_fail(TORC_INVALID, "the transaction is NULL");
    if (txn->phase != TORCI_TXN_ACTIVE)
        return torci_fail(TORC_FINISHED, "the transaction has ended");
#if defined(TORC_ASSERTIONS)
    /* Relaxed: a detector of misuse, which must not order what the misuse left unordered. */
    if (torci_fetch_add(&txn->users, 1u, memory_order_relaxed) > 0) {
        torci_fetch_sub(&txn->users, 1u, memory_order_relaxed);
        return torci_fail(TORC_INVALID, "the transaction is used by two threads at once");
    }
#endif
    return TORC_OK;
}

void
torci_txn_leave(struct torc_txn *txn)
{
#if defined(TORC_ASSERTIONS)
    torci_fetch_sub(&txn->users, 1u, memory_order_relaxed); /* Relaxed: as above. */
#else
    (void)txn;
#endif
}

/* ---- Making, beginning, ending ---- */

/* A finished struct: the shard's own, one that overflowed from another's, or a new one. NULL: no memory. */
static struct torc_txn *
obtain(struct torc_mvcc *store, struct torci_shard *shard)
{
    struct torc_txn *txn = shard->spares;

    if (txn == NULL) {
        shard->spares = txn = torci_spares_take(store);
        for (struct torc_txn *spare = txn; spare != NULL; spare = spare->slot.next_spare)
            shard->spares_count++;
    }
    if (txn != NULL) {
        shard->spares = txn->slot.next_spare;
        shard->spares_count--;
        return txn;
    }
    txn = torci_alloc_line_zeroed(&store->heap, sizeof *txn);
    if (txn == NULL)
        return NULL;
    txn->store = store;
    torci_slot_publish(&txn->slot, store);
    return txn;
}

static void
give_back(struct torc_txn *txn, struct torci_shard *shard)
{
    if (shard == NULL || shard->spares_count >= TORCI_SPARES_MAX) {
        torci_spares_push(txn->store, &txn->slot, &txn->slot);
        return;
    }
    txn->slot.next_spare = shard->spares;
    shard->spares = txn;
    shard->spares_count++;
}

enum torc_status
torc_txn_begin(struct torc_mvcc *store, const struct torc_txn_options *options, struct torc_txn **txn)
{
    static const struct torc_txn_options defaults = {TORC_SNAPSHOT, false};
    struct torci_shard *shard;
    struct torc_txn *fresh;

    if (txn == NULL)
        return torci_fail(TORC_INVALID, "the place for the transaction is NULL");
    *txn = NULL;
    if (store == NULL)
        return torci_fail(TORC_INVALID, "the store is NULL");
    if (options == NULL)
        options = &defaults;
    if (options->isolation != TORC_SNAPSHOT && options->isolation != TORC_SERIALIZABLE)
        return torci_fail(TORC_INVALID, "isolation %d is not known", (int)options->isolation);
    shard = torci_shard_own(store);
    fresh = shard == NULL ? NULL : obtain(store, shard);
    if (fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a transaction");

    torc_assert(fresh->phase == TORCI_TXN_FINISHED && fresh->writes.count == 0);
    fresh->phase = TORCI_TXN_ACTIVE;
    fresh->isolation = options->isolation;
    fresh->read_only = options->read_only;
    fresh->attempts = shard->lost_attempts;
    torci_snapshot_begin(&fresh->slot, &store->clock);
    /* Relaxed: for statistics. */
    torci_store(&fresh->slot.began_ns, torci_now_coarse_ns(), memory_order_relaxed);
    torci_store(&fresh->slot.traits,
                (options->read_only ? TORCI_SLOT_READ_ONLY : 0u) |
                    (options->isolation == TORC_SERIALIZABLE ? TORCI_SLOT_SERIALIZABLE : 0u),
                memory_order_relaxed);
    *txn = fresh;
    return TORC_OK;
}

/* Free what the writes still own, and make the set empty. */
static void
drop_writes(struct torc_txn *txn, struct torci_shard *shard)
{
    for (struct torci_write *write = torci_write_set_first(&txn->writes); write != NULL;
         write = torci_write_next(write)) {
        if (!write->installed && write->version != NULL) {
            torci_free(&txn->store->heap, write->version, torci_version_bytes(write->version->size));
            if (shard != NULL)
                torci_count_shared(&shard->counters.versions_freed, 1);
        }
        if (write->fresh != NULL)
            torci_record_destroy(txn->store, write->fresh);
    }
    memset(txn->writes.heads, 0, sizeof txn->writes.heads);
    txn->writes.lanes = 0;
    txn->writes.count = 0;
    if (txn->arena != NULL)
        torci_arena_reset(txn->arena);
}

static void
drop_reads(struct torc_txn *txn)
{
    txn->reads.reads = NULL;
    txn->reads.ranges = NULL;
    if (txn->reads.arena != NULL)
        torci_arena_reset(txn->reads.arena);
}

/* End it: nothing of it is visible to others any more but its slot, which is free if `unannounced` was done before. */
static void
finish(struct torc_txn *txn, struct torci_shard *shard)
{
    if (torci_load(&txn->slot.announced, memory_order_relaxed) != 0) /* Relaxed: ours. */
        torci_snapshot_end(&txn->slot);
    if (txn->writes.count > 0)
        drop_writes(txn, shard);
    if (txn->reads.arena != NULL)
        drop_reads(txn);
    if (txn->cursors != NULL)
        torci_cursors_finish(txn);
    txn->phase = TORCI_TXN_FINISHED;
    torci_txn_leave(txn);
    give_back(txn, shard);
}

void
torci_txn_destroy(struct torc_txn *txn)
{
    struct torci_heap *heap = &txn->store->heap;

    torc_assert(txn->phase == TORCI_TXN_FINISHED);
    torci_cursors_destroy(txn);
    torci_arena_destroy(txn->arena);
    torci_arena_destroy(txn->reads.arena);
    torci_free_line(heap, txn, sizeof *txn);
}

void
torc_txn_abort(struct torc_txn *txn)
{
    struct torci_shard *shard;

    if (txn == NULL || torci_txn_enter(txn) != TORC_OK)
        return;
    shard = torci_shard_own(txn->store);
    if (shard != NULL)
        torci_count(&shard->counters.aborts, 1);
    finish(txn, shard);
}

uint64_t
torc_txn_snapshot(const struct torc_txn *txn)
{
    return txn == NULL ? 0 : txn->slot.snapshot;
}

uint64_t
torc_last_commit(void)
{
    return torci_self()->last_commit;
}

/* ---- Reading ---- */

/* The value that the snapshot sees of `key`; *record is where. A tombstone is no value, and is not protected by the
 * snapshot as a value is: it must not be looked at outside of the section. */
static struct torci_version *
look_up(struct torc_txn *txn, struct torc_slice key, uint64_t order, struct torci_record **record)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_version *version = NULL;

    *record = torci_index_find(txn->store->index, guard, key, order);
    if (*record != NULL)
        version = torci_record_visible(*record, txn->slot.snapshot, &txn->store->clock);
    if (!torci_version_live(version)) {
        version = NULL;
        *record = NULL;
    }
    torci_epoch_exit(guard);
    return version;
}

/* Note a read if it has to be. */
static enum torc_status
note_read(struct torc_txn *txn, struct torci_record *record, struct torci_version *version, struct torc_slice key,
          uint64_t order)
{
    if (!torci_txn_notes_reads(txn))
        return TORC_OK;
    return torci_read_set_note(&txn->reads, &txn->store->heap, record, version, key, order);
}

static enum torc_status
get(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value)
{
    struct torci_write *write = torci_write_set_find(&txn->writes, key);
    struct torci_version *version;
    struct torci_record *record;
    enum torc_status status;
    uint64_t order;

    if (write != NULL) {
        version = torci_version_live(write->version) ? write->version : NULL;
    } else {
        order = torci_index_order_word(txn->store->index, key);
        version = look_up(txn, key, order, &record);
        status = note_read(txn, record, version, key, order);
        if (status != TORC_OK)
            return status;
    }
    if (version == NULL)
        return TORC_NOT_FOUND;
    *value = torc_slice(version->bytes, version->size);
    return TORC_OK;
}

enum torc_status
torc_txn_get(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value)
{
    enum torc_status status;

    if (value == NULL)
        return torci_fail(TORC_INVALID, "the place for the value is NULL");
    *value = torc_slice(NULL, 0);
    status = torci_txn_enter(txn);
    if (status != TORC_OK)
        return status;
    status = torci_check_key(key);
    if (status == TORC_OK)
        status = get(txn, key, value);
    torci_txn_leave(txn);
    return status;
}

/* ---- Writing ---- */

/* What a write wants of the key's present state. */
enum demand {
    ANY,
    ABSENT,    /* TORC_EXISTS otherwise. */
    PRESENT,   /* TORC_NOT_FOUND otherwise. */
};

/* What was found of a key that has no write yet. */
struct finding {
    uint64_t order;
    struct torci_record *record;      /* If live in the snapshot. */
    struct torci_version *version;
    bool exists;                      /* There is some record: a new one will hardly be needed. */
};

/* Commit could only fail: say so now. It counts as an attempt, whose loss raises the rank of this thread's next one. */
static enum torc_status
lost_already(struct torc_txn *txn, struct torc_slice key)
{
    struct torci_shard *shard = torci_shard_own(txn->store);

    if (shard != NULL) {
        torci_count(&shard->counters.conflicts, 1);
        shard->lost_attempts++;
    }
    torci_conflict_note(key);
    return torci_fail(TORC_CONFLICT, "another transaction wrote the key first");
}

/* Look a key up for writing: conflict at once if its newest commit is past the snapshot. */
static enum torc_status
find_for_write(struct torc_txn *txn, struct torc_slice key, struct finding *finding)
{
    struct torci_clock *clock = &txn->store->clock;
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_record *record;
    struct torci_version *newest;
    enum torc_status status = TORC_OK;

    memset(finding, 0, sizeof *finding);
    finding->order = torci_index_order_word(txn->store->index, key);
    record = torci_index_find(txn->store->index, guard, key, finding->order);
    if (record != NULL) {
        finding->exists = true;
        newest = torci_record_newest(record, clock);
        if (newest != NULL && torci_version_verdict(newest, clock).stamp > txn->slot.snapshot) {
            status = lost_already(txn, key);
        } else {
            finding->version = torci_record_visible(record, txn->slot.snapshot, clock);
            if (torci_version_live(finding->version))
                finding->record = record;
            else
                finding->version = NULL;
        }
    }
    torci_epoch_exit(guard);
    return status;
}

/* A write for `key`, with a key slice that lives as long. NULL: no memory. */
static struct torci_write *
add_write(struct torc_txn *txn, struct torc_slice key, const struct finding *finding)
{
    struct torci_record *fresh = NULL;
    struct torci_write *write;
    void *copy;

    if (txn->arena == NULL)
        txn->arena = torci_arena_create(&txn->store->heap, ARENA_FIRST_BYTES);
    if (txn->arena == NULL)
        return NULL;
    if (finding->record != NULL) {
        key = torci_record_key(finding->record);
    } else if (!finding->exists) {
        fresh = torci_record_create(txn->store, key, finding->order);
        if (fresh == NULL)
            return NULL;
        key = torci_record_key(fresh);
    } else {
        copy = torci_arena_alloc(txn->arena, key.size);
        if (copy == NULL)
            return NULL;
        memcpy(copy, key.data, key.size);
        key = torc_slice(copy, key.size);
    }
    write = torci_write_set_add(&txn->writes, txn->arena, key);
    if (write == NULL) {
        if (fresh != NULL)
            torci_record_destroy(txn->store, fresh);
        return NULL;
    }
    write->order = finding->order;
    write->record = finding->record;
    write->fresh = fresh;
    return write;
}

/* A version that may be written now: the memory limit counts, but never against a delete. */
static enum torc_status
make_version(struct torc_txn *txn, struct torc_slice value, uint32_t flags, struct torci_shard **shard,
             struct torci_version **version)
{
    *shard = torci_shard_own(txn->store);
    if (*shard == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for this thread's part of the store");
    if ((flags & TORCI_VERSION_TOMBSTONE) == 0) {
        enum torc_status status = torci_reclaim_admit(*shard, value.size);

        if (status != TORC_OK)
            return status;
    }
    *version = torci_version_create(*shard, value, flags);
    return *version == NULL ? torci_fail(TORC_NO_MEMORY, "no memory for a value") : TORC_OK;
}

/* Replace the version of a write that is already there. */
static enum torc_status
rewrite(struct torc_txn *txn, struct torci_write *write, struct torc_slice value, uint32_t flags, enum demand demand)
{
    bool live = torci_version_live(write->version);
    struct torci_version *version;
    struct torci_shard *shard;
    enum torc_status status;

    if (demand == ABSENT && live)
        return TORC_EXISTS;
    if (demand == PRESENT && !live)
        return TORC_NOT_FOUND;
    status = make_version(txn, value, flags, &shard, &version);
    if (status != TORC_OK)
        return status;
    torci_version_destroy(shard, write->version);
    write->version = version;
    return TORC_OK;
}

static enum torc_status
write_key(struct torc_txn *txn, struct torc_slice key, struct torc_slice value, uint32_t flags, enum demand demand)
{
    struct torci_write *write = torci_write_set_find(&txn->writes, key);
    struct torci_version *version;
    struct torci_shard *shard;
    struct finding finding;
    enum torc_status status;

    if (write != NULL)
        return rewrite(txn, write, value, flags, demand);
    status = find_for_write(txn, key, &finding);
    if (status != TORC_OK)
        return status;
    if ((demand == ABSENT && finding.version != NULL) || (demand == PRESENT && finding.version == NULL)) {
        /* Nothing is written, so what was learnt is a read. */
        status = note_read(txn, finding.record, finding.version, key, finding.order);
        return status != TORC_OK ? status : demand == ABSENT ? TORC_EXISTS : TORC_NOT_FOUND;
    }
    status = make_version(txn, value, flags, &shard, &version);
    if (status != TORC_OK)
        return status;
    write = add_write(txn, key, &finding);
    if (write == NULL) {
        torci_version_destroy(shard, version);
        return torci_fail(TORC_NO_MEMORY, "no memory to note a write");
    }
    write->version = version;
    return TORC_OK;
}

/* The frame of every writing call. */
static enum torc_status
checked_write(struct torc_txn *txn, struct torc_slice key, struct torc_slice value, uint32_t flags, enum demand demand)
{
    enum torc_status status = torci_txn_enter(txn);

    if (status != TORC_OK)
        return status;
    status = torci_check_key(key);
    if (status == TORC_OK)
        status = torci_check_value(value);
    if (status == TORC_OK && txn->read_only)
        status = torci_fail(TORC_READ_ONLY, "the transaction was begun read-only");
    if (status == TORC_OK)
        status = write_key(txn, key, value, flags, demand);
    torci_txn_leave(txn);
    return status;
}

enum torc_status
torc_txn_put(struct torc_txn *txn, struct torc_slice key, struct torc_slice value)
{
    return checked_write(txn, key, value, 0, ANY);
}

enum torc_status
torc_txn_put_if_absent(struct torc_txn *txn, struct torc_slice key, struct torc_slice value)
{
    return checked_write(txn, key, value, 0, ABSENT);
}

enum torc_status
torc_txn_delete(struct torc_txn *txn, struct torc_slice key)
{
    return checked_write(txn, key, torc_slice(NULL, 0), TORCI_VERSION_TOMBSTONE, PRESENT);
}

enum torc_status
torc_txn_get_for_update(struct torc_txn *txn, struct torc_slice key, struct torc_slice *value)
{
    struct torci_write *write;
    enum torc_status status;

    status = torc_txn_get(txn, key, value);
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        return status;
    write = torci_write_set_find(&txn->writes, key);
    if (write == NULL) {
        enum torc_status marked =
            checked_write(txn, key, *value, status == TORC_OK ? 0 : TORCI_VERSION_TOMBSTONE, ANY);

        if (marked != TORC_OK) {
            *value = torc_slice(NULL, 0);
            return marked;
        }
    }
    return status;
}

/* ---- Commit ---- */

/* One commit on its way. */
struct commit {
    struct torc_txn *txn;
    struct torci_shard *shard;
    struct torci_descriptor *descriptor;   /* Shared; NULL for one key at snapshot isolation. */
    struct torci_descriptor rank;          /* What `descriptor` was made of; enough to compare ranks. */
    struct torci_install install;
    size_t installed;
    uint64_t stamp;                        /* 0: not committed. */
};

enum { RETIRES_OF_COMMIT = 2 };            /* The descriptor and the read set. */

static enum torc_status
commit_prepare(struct commit *commit)
{
    struct torc_txn *txn = commit->txn;
    bool validates = torci_txn_notes_reads(txn);

    torci_init(&commit->rank.state, torci_state_word(TORCI_INSTALLING, 0));
    commit->rank.snapshot = txn->slot.snapshot;
    commit->rank.attempts = txn->attempts;
    commit->rank.validate = validates ? torci_read_set_valid : NULL;
    commit->rank.store = txn->store;
    commit->rank.reads = NULL;
    commit->install.store = txn->store;
    commit->install.shard = commit->shard;
    commit->install.rank = &commit->rank;
    commit->install.only_live = false;
    commit->install.stamp = TORCI_STAMP_PENDING;
    if (txn->writes.count == 1 && !validates)
        return TORC_OK;

    commit->descriptor = torci_alloc(&txn->store->heap, sizeof *commit->descriptor + sizeof txn->reads);
    if (commit->descriptor == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a commit");
    memcpy(commit->descriptor, &commit->rank, sizeof commit->rank);
    torci_init(&commit->descriptor->state, torci_state_word(TORCI_INSTALLING, 0));
    commit->install.rank = commit->descriptor;
    commit->install.stamp = torci_stamp_descriptor(commit->descriptor);
    if (!validates)
        return TORC_OK;
    /* The read set goes with the descriptor from here on. */
    commit->descriptor->reads = commit->descriptor + 1;
    if (torci_read_set_seal(&txn->reads) != TORC_OK)
        return TORC_NO_MEMORY;
    memcpy(commit->descriptor->reads, &txn->reads, sizeof txn->reads);
    return TORC_OK;
}

/* Over which key, commit_undo() finds out. */
static enum torc_status
wounded(void)
{
    torci_conflict_note(torc_slice(NULL, 0));
    return torci_fail(TORC_CONFLICT, "a transaction of higher rank, or a blind write, went first");
}

/* Step 1. */
static enum torc_status
commit_install(struct commit *commit)
{
    for (struct torci_write *write = torci_write_set_first(&commit->txn->writes); write != NULL;
         write = torci_write_next(write)) {
        enum torc_status status;

        /* Relaxed: spares work that is lost already; step 2 decides. */
        if (commit->descriptor != NULL &&
            torci_state_of(torci_load(&commit->descriptor->state, memory_order_relaxed)) == TORCI_ABORTED)
            return wounded();
        commit->install.retires_kept = commit->installed + 1 + RETIRES_OF_COMMIT;
        status = torci_install(&commit->install, write);
        commit->installed += write->installed ? 1 : 0;
        if (status != TORC_OK)
            return status;
    }
    return TORC_OK;
}

/* Steps 2 and 3. */
static enum torc_status
commit_decide(struct commit *commit)
{
    struct torci_descriptor *descriptor = commit->descriptor;
    uint64_t expected = torci_state_word(TORCI_INSTALLING, 0);
    uint64_t word;

    if (descriptor == NULL) {
        commit->stamp =
            torci_version_verdict(torci_write_set_first(&commit->txn->writes)->version, &commit->txn->store->clock)
                .stamp;
        return TORC_OK;
    }
    torci_race_window();
    /* version.h R2: from here on anybody may finish it for us. */
    if (!torci_cas(&descriptor->state, &expected, torci_state_word(TORCI_DECIDING, 0), memory_order_seq_cst,
                   memory_order_relaxed))
        return wounded();
    torci_race_window();
    word = torci_descriptor_decide(descriptor, &commit->txn->store->clock);
    if (torci_state_of(word) == TORCI_COMMITTED) {
        commit->stamp = torci_state_stamp(word);
        return TORC_OK;
    }
    torci_conflict_note(torc_slice(NULL, 0));
    torci_read_set_blame(descriptor);
    return torci_fail(TORC_CONFLICT, "something that was read has changed");
}

/* Nobody can reach the descriptor any more: no version on a chain points to it. */
static void
commit_retire(struct commit *commit)
{
    struct torc_txn *txn = commit->txn;

    if (commit->descriptor == NULL)
        return;
    torci_limbo_add(commit->shard->limbo, commit->descriptor, sizeof *commit->descriptor + sizeof txn->reads,
                    TORCI_RETIRED_DESCRIPTOR);
    if (commit->descriptor->reads != NULL && txn->reads.arena != NULL) {
        torci_limbo_add(commit->shard->limbo, txn->reads.arena, torci_arena_bytes(txn->reads.arena),
                        TORCI_RETIRED_ARENA);
        memset(&txn->reads, 0, sizeof txn->reads);
    }
}

/* Step 4, committed. */
static void
commit_settle(struct commit *commit)
{
    struct torci_shard *shard = commit->shard;
    struct torci_write_set *writes = &commit->txn->writes;
    int64_t keys = 0;

    for (struct torci_write *write = torci_write_set_first(writes); write != NULL; write = torci_write_next(write)) {
        if (commit->descriptor != NULL)
            /* version.h R3 */
            torci_store(&write->version->stamp, torci_stamp_committed(commit->stamp), memory_order_release);
        keys += torci_write_keys_change(write);
    }
    commit_retire(commit);
    /* What it read, and lent, may go: values are borrowed until commit, and this is it. */
    torci_snapshot_end(&commit->txn->slot);
    for (struct torci_write *write = torci_write_set_first(writes); write != NULL; write = torci_write_next(write)) {
        if (torci_write_leaves_garbage(write))
            torci_reclaim_touch(shard, commit->install.guard, write->record, commit->stamp);
    }
    torci_count_signed(&shard->counters.keys, keys);
    torci_count(&shard->counters.commits, 1);
    shard->lost_attempts = 0;
}

/* Whether another transaction's write stands, or is about to, where ours was: not if ours was merely pruned away. */
static bool
went_over(struct commit *commit, const struct torci_write *write)
{
    struct torci_version *head = torci_load(&write->record->head, memory_order_seq_cst); /* version.h A1 */
    struct torci_verdict verdict;

    if (head == NULL || head == torci_frozen())
        return false;
    verdict = torci_version_verdict(head, &commit->txn->store->clock);
    return verdict.fate != TORCI_FATE_COMMITTED || verdict.stamp > commit->rank.snapshot;
}

/* Step 4, aborted: `status` tells why. */
static void
commit_undo(struct commit *commit, enum torc_status status)
{
    struct torci_write_set *writes = &commit->txn->writes;
    uint64_t now = torci_clock_now(&commit->txn->store->clock);
    bool blamed = false;

    if (commit->descriptor != NULL)
        (void)torci_descriptor_wound(commit->descriptor); /* If we gave up ourselves, nobody may commit it any more. */
    for (struct torci_write *write = torci_write_set_first(writes); write != NULL; write = torci_write_next(write)) {
        if (write->installed && !torci_uninstall(&commit->install, write) && !blamed && status == TORC_CONFLICT &&
            went_over(commit, write)) {
            torci_conflict_note(write->key); /* That is who went first. */
            blamed = true;
        }
    }
    commit_retire(commit);
    for (struct torci_write *write = torci_write_set_first(writes); write != NULL; write = torci_write_next(write)) {
        /* For want of memory, an empty record of ours may stand in the index without a version. */
        if (write->record != NULL && (write->installed || status == TORC_NO_MEMORY))
            torci_reclaim_touch(commit->shard, commit->install.guard, write->record, now);
    }
    if (status == TORC_CONFLICT) {
        torci_count(&commit->shard->counters.conflicts, 1);
        commit->shard->lost_attempts++;
    }
}

static enum torc_status
commit_writes(struct torc_txn *txn, struct torci_shard *shard)
{
    struct commit commit = {.txn = txn, .shard = shard};
    enum torc_status status = commit_prepare(&commit);

    if (status != TORC_OK || torci_limbo_reserve(shard->limbo, RETIRES_OF_COMMIT) != TORC_OK) {
        if (commit.descriptor != NULL)
            torci_free(&txn->store->heap, commit.descriptor, sizeof *commit.descriptor + sizeof txn->reads);
        return torci_fail(TORC_NO_MEMORY, "no memory for a commit");
    }
    commit.install.guard = torci_epoch_enter();
    status = commit_install(&commit);
    if (status == TORC_OK)
        status = commit_decide(&commit);
    if (status == TORC_OK)
        commit_settle(&commit);
    else
        commit_undo(&commit, status);
    torci_epoch_exit(commit.install.guard);
    torci_last_commit_note(commit.stamp);
    return status;
}

enum torc_status
torc_txn_commit(struct torc_txn *txn)
{
    enum torc_status status = torci_txn_enter(txn);
    struct torci_shard *shard;
    size_t writes;

    if (status != TORC_OK)
        return status;
    shard = torci_shard_own(txn->store);
    writes = txn->writes.count;
    torci_last_commit_note(0);
    if (writes > 0)
        status = shard == NULL ? torci_fail(TORC_NO_MEMORY, "no memory for this thread's part of the store")
                               : commit_writes(txn, shard);
    finish(txn, shard);
    if (writes > 0 && shard != NULL)
        torci_reclaim_step(shard, 2 * writes + 2);
    return status;
}

/* ---- Retrying ---- */

enum torc_status
torc_txn_run(struct torc_mvcc *store, const struct torc_run_options *options,
             enum torc_status (*body)(struct torc_txn *txn, void *context), void *context)
{
    static const struct torc_run_options defaults = {{TORC_SNAPSHOT, false}, 0, 0};
    struct torci_backoff backoff = torci_backoff_begin();
    unsigned attempts_max;
    uint64_t pause_max;
    uint64_t pause;
    enum torc_status status = TORC_OK;

    if (body == NULL)
        return torci_fail(TORC_INVALID, "the body is NULL");
    if (options == NULL)
        options = &defaults;
    attempts_max = options->attempts_max == 0 ? ATTEMPTS_DEFAULT : options->attempts_max;
    pause_max = options->backoff_max_ns == 0 ? BACKOFF_MAX_DEFAULT_NS : options->backoff_max_ns;
    pause = BACKOFF_FIRST_NS < pause_max ? BACKOFF_FIRST_NS : pause_max;
    for (unsigned attempt = 0; attempt < attempts_max; attempt++) {
        struct torc_txn *txn;

        if (attempt > 0 && attempt <= RETRIES_AWAKE) {
            torci_backoff_pause(&backoff);
        } else if (attempt > 0) {
            torci_sleep_ns(torci_splitmix64(&torci_self()->random) % pause + 1);
            pause = pause < pause_max / 2 ? pause * 2 : pause_max;
        }
        status = torc_txn_begin(store, &options->txn, &txn);
        if (status != TORC_OK)
            return status;
        if (txn->attempts < attempt)
            txn->attempts = attempt;
        status = body(txn, context);
        if (status == TORC_OK)
            status = torc_txn_commit(txn);
        else
            torc_txn_abort(txn);
        if (!torc_status_retryable(status))
            return status;
    }
    return status;
}

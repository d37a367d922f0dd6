/* SPDX-License-Identifier: MIT */
/* mvcc/commit: publishing what a transaction wrote, and doing it again. The steps: txn.h.
 *
 * A wounded commit, or one that met a higher rank, is not lost: nobody need have committed what it wrote. It takes its
 * versions off again and begins anew with a higher rank, up to TORCI_COMMIT_ATTEMPTS times; a conflict is only told
 * when a newer version has committed, or when that many attempts were in vain. Who merges never gives up: a newer
 * version is no conflict for a merge, so none may be told. With more lost attempts it overtakes more of the others, and
 * a thread that stopped in the middle in the end; so an attempt is lost only to one that goes on, or to a finished
 * blind write. */
#include "base/assert.h"
#include "base/ck.h"
#include "base/random.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/ahead.h"
#include "mvcc/expiry.h"
#include "mvcc/install.h"
#include "mvcc/journal.h"
#include "mvcc/notify.h"
#include "mvcc/reclaim.h"
#include "mvcc/txn.h"
#include "mvcc/upkeep.h"

enum {
    AHEAD = 16,             /* Writes whose records are looked up together: as many misses as a core overlaps, or so. */
    ATTEMPTS_DEFAULT = 64,
    RETRIES_AWAKE = 3,      /* The first pauses are shorter than putting a thread to sleep takes. */
    BACKOFF_FIRST_NS = 1000,
    BACKOFF_MAX_DEFAULT_NS = 1000000,
};

/* ---- Commit ---- */

/* One commit on its way. */
struct commit {
    struct torc_txn *txn;
    struct torci_shard *shard;
    struct torci_descriptor *descriptor;   /* Of this attempt; shared. NULL for one key at snapshot isolation. */
    struct torci_descriptor rank;          /* What `descriptor` is made of; enough to compare ranks. */
    struct torci_install install;
    size_t installed;
    bool again;                            /* The attempt failed, but nobody has committed what it wrote. */
    uint64_t stamp;                        /* 0: not committed. */
};

enum { RETIRES_OF_COMMIT = 2 };            /* The descriptor and the read set. */

/* What is the same for all attempts. */
static void
commit_begin(struct commit *commit)
{
    struct torc_txn *txn = commit->txn;

    commit->rank.snapshot = txn->slot.snapshot;
    commit->rank.attempts = txn->attempts;
    /* Who has read nothing needs no validation, and should not be refused by another's. */
    if (torci_txn_notes_reads(txn) && (txn->reads.reads != NULL || txn->reads.ranges != NULL))
        commit->rank.validate = torci_read_set_valid;
    commit->rank.store = txn->store;
    commit->rank.reads = NULL;
    commit->install.store = txn->store;
    commit->install.shard = commit->shard;
    commit->install.moment = &txn->moment;
}

/* What each attempt needs anew: a descriptor, unless it is one key at snapshot isolation. */
static enum torc_status
commit_prepare(struct commit *commit)
{
    struct torc_txn *txn = commit->txn;
    bool validates = commit->rank.validate != NULL;
    struct torci_descriptor *descriptor;

    torci_init(&commit->rank.state, torci_state_word(TORCI_INSTALLING, 0));
    commit->descriptor = NULL;
    commit->installed = 0;
    commit->install.rank = &commit->rank;
    commit->install.stamp = TORCI_STAMP_PENDING;
    commit->install.outranked = false;
    commit->install.floor = NULL;
    if (torci_limbo_reserve(commit->shard->limbo, RETIRES_OF_COMMIT) != TORC_OK)
        return torci_fail(TORC_NO_MEMORY, "no memory for a commit");
    if (txn->writes.count == 1 && !validates && !torci_journaled(txn->store))
        return TORC_OK;

    descriptor = torci_alloc(&txn->store->heap, sizeof *descriptor + sizeof txn->reads);
    if (descriptor == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a commit");
    memcpy(descriptor, &commit->rank, sizeof commit->rank);
    torci_init(&descriptor->state, torci_state_word(TORCI_INSTALLING, 0));
    if (validates) {
        if (torci_read_set_seal(&txn->reads) != TORC_OK) {
            torci_free(&txn->store->heap, descriptor, sizeof *descriptor + sizeof txn->reads);
            return TORC_NO_MEMORY;
        }
        descriptor->reads = descriptor + 1;
        memcpy(descriptor->reads, &txn->reads, sizeof txn->reads);
    }
    commit->descriptor = descriptor;
    commit->install.rank = descriptor;
    if (torci_journaled(txn->store))
        commit->install.floor = &descriptor->floor;
    commit->install.stamp = torci_stamp_descriptor(descriptor);
    return TORC_OK;
}

/* Over which key, commit_undo() finds out. */
static enum torc_status
wounded(struct commit *commit)
{
    commit->again = true;
    torci_conflict_note(torc_slice(NULL, 0));
    return torci_fail(TORC_CONFLICT, "a transaction of higher rank, or a blind write, went first");
}

/* A commit that began before a keyspace was dropped stands before the drop; one that began after it is refused. */
static enum torc_status
check_keyspaces(const struct commit *commit)
{
    const struct torc_keyspace *last = NULL;

    for (struct torci_write *write = torci_write_set_first(&commit->txn->writes); write != NULL;
         write = torci_write_next(write)) {
        if (write->keyspace == last)
            continue;
        last = write->keyspace;
        if (!torci_keyspace_usable(write->keyspace)) {
            torci_conflict_note(write->key);
            return torci_fail(TORC_CONFLICT, "a keyspace that was written to has been dropped");
        }
    }
    return TORC_OK;
}

/* Step 1. */
static enum torc_status
commit_install(struct commit *commit)
{
    size_t done = 0;

    for (struct torci_write *write = torci_write_set_first(&commit->txn->writes); write != NULL;
         write = torci_write_next(write)) {
        enum torc_status status;

        if (commit->txn->writes.count > 1 && done++ % AHEAD == 0)
            torci_ahead_of_commit(commit->install.guard, write, AHEAD);
        /* Relaxed: spares work that is lost already; step 2 decides. */
        if (commit->descriptor != NULL &&
            torci_state_of(torci_load(&commit->descriptor->state, memory_order_relaxed)) == TORCI_ABORTED)
            return wounded(commit);
        commit->install.retires_kept = commit->installed + 1 + RETIRES_OF_COMMIT;
        status = torci_install(&commit->install, write);
        commit->installed += write->installed ? 1 : 0;
        if (status != TORC_OK) {
            commit->again = commit->install.outranked;
            return status;
        }
    }
    return TORC_OK;
}

/* The redo entry of all writes, published. */
static enum torc_status
commit_journal(struct commit *commit, struct torci_redo **redo)
{
    struct torci_write_set *writes = &commit->txn->writes;
    unsigned char *out;
    size_t size = 0;

    for (struct torci_write *write = torci_write_set_first(writes); write != NULL; write = torci_write_next(write)) {
        struct torci_op op = torci_write_op(write);

        size += torci_op_size(&op);
    }
    if (size > TORCI_REDO_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a commit of %zu bytes is too large for the journal", size);
    *redo = torci_redo_begin(commit->shard, commit->descriptor, size);
    if (*redo == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for the journal");
    out = (*redo)->ops;
    for (struct torci_write *write = torci_write_set_first(writes); write != NULL; write = torci_write_next(write)) {
        struct torci_op op = torci_write_op(write);

        out = torci_op_put(out, &op);
    }
    torci_redo_publish(commit->shard, *redo);
    return TORC_OK;
}

/* Steps 2 and 3, of a commit that has a descriptor. */
static enum torc_status
decide(struct commit *commit)
{
    struct torci_descriptor *descriptor = commit->descriptor;
    uint64_t word;

    torci_race_window();
    /* version.h R2: from here on anybody may finish it for us. */
    if (!torci_descriptor_begin(descriptor))
        return wounded(commit);
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

/* The redo entry, and steps 2 and 3. */
static enum torc_status
commit_decide(struct commit *commit)
{
    struct torci_redo *redo = NULL;
    enum torc_status status = TORC_OK;

    if (commit->descriptor == NULL) {
        commit->stamp =
            torci_version_verdict(torci_write_set_first(&commit->txn->writes)->version, &commit->txn->store->clock)
                .stamp;
        return TORC_OK;
    }
    if (torci_journaled(commit->txn->store))
        status = commit_journal(commit, &redo);
    if (status == TORC_OK)
        status = decide(commit);
    if (redo != NULL)
        torci_redo_settle(redo, status == TORC_OK ? commit->stamp : TORCI_REDO_VOID);
    return status;
}

/* Nobody can reach the descriptor any more: no version on a chain points to it. The read set goes with the one that
 * may have been seen validating. */
static void
commit_retire(struct commit *commit)
{
    struct torc_txn *txn = commit->txn;

    if (commit->descriptor == NULL)
        return;
    torci_limbo_add(commit->shard->limbo, commit->descriptor, sizeof *commit->descriptor + sizeof txn->reads,
                    TORCI_RETIRED_DESCRIPTOR);
    if (!commit->again && commit->descriptor->reads != NULL && txn->reads.arena != NULL) {
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

    for (struct torci_write *write = torci_write_set_first(writes); write != NULL; write = torci_write_next(write)) {
        if (commit->descriptor != NULL)
            /* version.h R3 */
            torci_store(&write->version->stamp, torci_stamp_committed(commit->stamp), memory_order_release);
        torci_keyspace_count(write->keyspace, torci_write_keys_change(write));
    }
    torci_notify(shard, &(struct torc_commit){commit->stamp, torci_write_set_first(writes), false});
    commit_retire(commit);
    /* What it read, and lent, may go: values are borrowed until commit, and this is it. */
    torci_snapshot_end(&commit->txn->slot);
    for (struct torci_write *write = torci_write_set_first(writes); write != NULL; write = torci_write_next(write)) {
        torci_expiry_note(shard, commit->install.guard, write);
        if (torci_write_leaves_garbage(write))
            torci_reclaim_touch(shard, commit->install.guard, write->record, commit->stamp);
    }
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
        /* For want of memory, or if a single merge was refused, an empty record of ours may stand in the index. */
        if (write->record != NULL && (write->installed || status == TORC_NO_MEMORY || commit->descriptor == NULL))
            torci_reclaim_touch(commit->shard, commit->install.guard, write->record, now);
    }
}

/* After an attempt that is to be repeated: what was installed may still be looked at by others, so the writes get
 * copies. TORC_NO_MEMORY: some have none. */
static enum torc_status
commit_renew(struct commit *commit)
{
    for (struct torci_write *write = torci_write_set_first(&commit->txn->writes); write != NULL;
         write = torci_write_next(write)) {
        struct torci_version *version = write->version;
        bool installed = write->installed;

        /* The record may have left, and the key with it: what was installed, and without a descriptor also what was
         * only published. */
        if ((installed || commit->descriptor == NULL) && !torci_txn_keep_key(commit->txn, write))
            return torci_fail(TORC_NO_MEMORY, "no memory to commit again");
        write->record = NULL;
        if (!installed)
            continue;
        write->version = NULL;
        write->installed = false;
        if (write->merges != NULL)
            continue;
        write->version = torci_version_copy(commit->shard, version);
        if (write->version == NULL)
            return torci_fail(TORC_NO_MEMORY, "no memory to commit again");
    }
    return TORC_OK;
}

/* One attempt, in a section of its own. */
static enum torc_status
commit_attempt(struct commit *commit)
{
    enum torc_status status = commit_prepare(commit);

    commit->again = false;
    if (status != TORC_OK)
        return status;
    commit->install.guard = torci_epoch_enter();
    status = check_keyspaces(commit);
    if (status == TORC_OK)
        status = commit_install(commit);
    if (status == TORC_OK)
        status = commit_decide(commit);
    if (status == TORC_OK) {
        commit_settle(commit);
    } else {
        commit_undo(commit, status);
        if (commit->again && commit_renew(commit) != TORC_OK) {
            commit->again = false;
            status = TORC_NO_MEMORY;
        }
    }
    torci_epoch_exit(commit->install.guard);
    torci_watch_wake(commit->shard);
    return status;
}

static bool
merges(const struct commit *commit)
{
    const struct torci_write *write = torci_write_set_first(&commit->txn->writes);

    while (write != NULL && write->merges == NULL)
        write = torci_write_next(write);
    return write != NULL;
}

static enum torc_status
commit_writes(struct torc_txn *txn, struct torci_shard *shard)
{
    struct torci_backoff backoff = torci_backoff_begin();
    struct commit commit = {.txn = txn, .shard = shard};
    enum torc_status status;

    status = torci_journal_admit(txn->store);
    if (status != TORC_OK)
        return status;
    commit_begin(&commit);
    for (unsigned attempt = 1;; attempt++) {
        status = commit_attempt(&commit);
        if (status != TORC_CONFLICT)
            break;
        shard->lost_attempts++;
        if (!commit.again || (attempt >= TORCI_COMMIT_ATTEMPTS && !merges(&commit))) {
            torci_count(&shard->counters.conflicts, 1);
            break;
        }
        commit.rank.attempts++;
        torci_backoff_pause(&backoff);
    }
    torci_last_commit_note(commit.stamp);
    return status;
}

/* End it; `waits`: as the store's durability wants it. */
static enum torc_status
commit(struct torc_txn *txn, bool waits)
{
    enum torc_status status = torci_txn_enter_any(txn);
    struct torc_mvcc *store;
    struct torci_shard *shard;
    size_t writes;

    if (status != TORC_OK)
        return status;
    store = txn->store;
    shard = torci_shard_own(store);
    writes = txn->writes.count;
    torci_last_commit_note(0);
    /* What it read, and the records it points to, must stay until the commit is over. */
    if (txn->expirable && !torci_snapshot_hold(&txn->slot))
        status = torci_txn_check_age(txn);
    else if (writes > 0)
        status = shard == NULL ? torci_fail(TORC_NO_MEMORY, "no memory for this thread's part of the store")
                               : commit_writes(txn, shard);
    torci_txn_finish(txn, shard);
    if (writes > 0 && shard != NULL) {
        torci_redo_leave_large(shard);
        torci_upkeep_step(shard, 2 * writes + 2);
    }
    if (writes == 0 || status != TORC_OK || !torci_journaled(store))
        return status;
    if (waits)
        return torci_journal_after(store, torc_last_commit());
    torci_journal_nudge(store->journal);
    return TORC_OK;
}

enum torc_status
torc_txn_commit(struct torc_txn *txn)
{
    return commit(txn, true);
}

enum torc_status
torc_txn_commit_async(struct torc_txn *txn)
{
    return commit(txn, false);
}

/* ---- Retrying ---- */

enum torc_status
torc_txn_run(struct torc_mvcc *store, const struct torc_run_options *options,
             enum torc_status (*body)(struct torc_txn *txn, void *context), void *context)
{
    static const struct torc_run_options defaults;
    struct torci_backoff backoff = torci_backoff_begin();
    unsigned attempts_max;
    uint64_t pause_max;
    uint64_t pause;
    struct torci_shard *shard;
    enum torc_status status = TORC_OK;

    if (body == NULL)
        return torci_fail(TORC_INVALID, "the body is NULL");
    if (options == NULL)
        options = &defaults;
    attempts_max = options->attempts_max == 0 ? ATTEMPTS_DEFAULT : options->attempts_max;
    pause_max = options->backoff_max_ns == 0 ? BACKOFF_MAX_DEFAULT_NS : options->backoff_max_ns;
    shard = store == NULL ? NULL : torci_shard_own(store);
    pause = shard == NULL || shard->pause_ns < BACKOFF_FIRST_NS ? BACKOFF_FIRST_NS : shard->pause_ns;
    pause = pause < pause_max ? pause : pause_max;
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
            break;
    }
    /* Adapt: where it had to sleep, the next one begins with about as long a pause; where it had not, with half. */
    if (shard != NULL)
        shard->pause_ns = pause / 2;
    return status;
}

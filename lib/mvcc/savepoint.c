/* SPDX-License-Identifier: MIT */
/* mvcc/savepoint: noting what writes were, and putting it back. Invariants: savepoint.h. */
#include "mvcc/savepoint.h"

#include "base/assert.h"
#include "base/status.h"
#include "mvcc/install.h"
#include "mvcc/reclaim.h"

/* What a write was. Neither a version nor operands: it was not there. */
struct torci_undo {
    struct torci_undo *next;          /* Of the same savepoint. */
    struct torci_write *write;
    struct torci_version *version;    /* Owned. */
    struct torci_merge *merges;
    struct torci_merge *merges_last;
    uint64_t noted;
};

struct torci_savepoint {
    struct torci_savepoint *older;
    struct torci_undo *notes;
    uint64_t number;                  /* From 1. */
    size_t name_size;
    unsigned char name[];
};

/* ---- Noting ---- */

enum torc_status
torci_undo_prepare(struct torc_txn *txn, const struct torci_write *write, struct torci_undo **undo)
{
    struct torci_arena *arena;
    enum torc_status status;

    *undo = NULL;
    if (txn->savepoints == NULL || (write != NULL && write->noted >= txn->savepoints->number))
        return TORC_OK;
    status = torci_txn_admit(txn, sizeof **undo);
    if (status != TORC_OK)
        return status;
    arena = torci_txn_arena(txn);
    *undo = arena == NULL ? NULL : torci_arena_alloc(arena, sizeof **undo);
    return *undo != NULL ? TORC_OK : torci_fail(TORC_NO_MEMORY, "no memory to keep what a savepoint has seen");
}

void
torci_undo_note(struct torc_txn *txn, struct torci_undo *undo, struct torci_write *write)
{
    struct torci_savepoint *newest = txn->savepoints;

    if (undo == NULL)
        return;
    torc_assert(write->noted < newest->number);
    *undo = (struct torci_undo){newest->notes,  write, write->version, write->merges, write->merges_last,
                                write->noted};
    newest->notes = undo;
    write->version = NULL;
    write->noted = newest->number;
}

/* ---- Going back, letting go ---- */

static void
free_version(struct torc_txn *txn, struct torci_shard *shard, struct torci_version *version)
{
    if (version == NULL)
        return;
    txn->version_bytes -= torci_version_bytes(version->size);
    torci_version_drop(txn->store, shard, version);
}

/* Put back what the newest savepoint has noted. */
static void
undo_newest(struct torc_txn *txn, struct torci_shard *shard)
{
    for (struct torci_undo *undo = txn->savepoints->notes; undo != NULL; undo = undo->next) {
        struct torci_write *write = undo->write;

        free_version(txn, shard, write->version);
        write->version = undo->version;
        write->merges = undo->merges;
        write->merges_last = undo->merges_last;
        write->noted = undo->noted;
        if (write->merges_last != NULL)
            write->merges_last->next = NULL; /* I3 */
        if (write->version == NULL && write->merges == NULL) {
            torci_write_set_remove(&txn->writes, write);
            write->next[0] = txn->undone; /* I4 */
            txn->undone = write;
        }
    }
    txn->savepoints->notes = NULL;
}

/* Forget the newest savepoint; the next older one takes over the notes that it lacks. */
static void
fold_newest(struct torc_txn *txn, struct torci_shard *shard)
{
    struct torci_savepoint *newest = txn->savepoints;
    struct torci_savepoint *older = newest->older;
    struct torci_undo *next;

    for (struct torci_undo *undo = newest->notes; undo != NULL; undo = next) {
        next = undo->next;
        if (older == NULL || undo->noted >= older->number) { /* I1 */
            free_version(txn, shard, undo->version);
            continue;
        }
        undo->next = older->notes;
        older->notes = undo;
    }
    txn->savepoints = older;
}

void
torci_savepoints_end(struct torc_txn *txn, struct torci_shard *shard)
{
    struct torci_write *next;

    while (txn->savepoints != NULL)
        fold_newest(txn, shard);
    for (struct torci_write *write = txn->undone; write != NULL; write = next) {
        next = write->next[0];
        if (write->fresh != NULL)
            torci_record_destroy(txn->store, write->fresh);
    }
    txn->undone = NULL;
    txn->savepoints_made = 0;
}

/* ---- The interface ---- */

static enum torc_status
check_name(struct torc_slice name)
{
    if (name.data == NULL && name.size > 0)
        return torci_fail(TORC_INVALID, "a name of %zu bytes without data", name.size);
    if (name.size > TORC_NAME_SIZE_MAX)
        return torci_fail(TORC_TOO_LARGE, "a name of %zu bytes exceeds %u", name.size, TORC_NAME_SIZE_MAX);
    return TORC_OK;
}

/* The newest savepoint of that name, or NULL. */
static struct torci_savepoint *
find(const struct torc_txn *txn, struct torc_slice name)
{
    struct torci_savepoint *savepoint = txn->savepoints;

    while (savepoint != NULL &&
           (savepoint->name_size != name.size || (name.size > 0 && memcmp(savepoint->name, name.data, name.size) != 0)))
        savepoint = savepoint->older;
    return savepoint;
}

static enum torc_status
add_savepoint(struct torc_txn *txn, struct torc_slice name)
{
    size_t bytes = sizeof(struct torci_savepoint) + name.size;
    enum torc_status status = torci_txn_admit(txn, bytes);
    struct torci_savepoint *savepoint;
    struct torci_arena *arena;

    if (status != TORC_OK)
        return status;
    arena = torci_txn_arena(txn);
    savepoint = arena == NULL ? NULL : torci_arena_alloc(arena, bytes);
    if (savepoint == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a savepoint");
    savepoint->older = txn->savepoints;
    savepoint->notes = NULL;
    savepoint->number = ++txn->savepoints_made;
    savepoint->name_size = name.size;
    if (name.size > 0)
        memcpy(savepoint->name, name.data, name.size);
    txn->savepoints = savepoint;
    return TORC_OK;
}

enum torc_status
torc_txn_savepoint(struct torc_txn *txn, struct torc_slice name)
{
    enum torc_status status = torci_txn_enter(txn);

    if (status != TORC_OK)
        return status;
    status = check_name(name);
    if (status == TORC_OK && txn->read_only)
        status = torci_fail(TORC_READ_ONLY, "the transaction was begun read-only");
    if (status == TORC_OK)
        status = add_savepoint(txn, name);
    torci_txn_leave(txn);
    return status;
}

/* The frame of going back and letting go: `keep` tells whether the writes since then stay. */
static enum torc_status
end_since(struct torc_txn *txn, struct torc_slice name, bool keep)
{
    struct torci_savepoint *savepoint = NULL;
    enum torc_status status = torci_txn_enter(txn);
    struct torci_shard *shard;

    if (status != TORC_OK)
        return status;
    status = check_name(name);
    if (status == TORC_OK) {
        savepoint = find(txn, name);
        status = savepoint != NULL ? TORC_OK : TORC_NOT_FOUND;
    }
    if (status == TORC_OK) {
        shard = torci_shard_own(txn->store); /* NULL will do. */
        torci_ahead_clear(txn);
        while (txn->savepoints != savepoint) {
            if (!keep)
                undo_newest(txn, shard);
            fold_newest(txn, shard);
        }
        if (keep)
            fold_newest(txn, shard);
        else
            undo_newest(txn, shard);
    }
    torci_txn_leave(txn);
    return status;
}

enum torc_status
torc_txn_rollback_to(struct torc_txn *txn, struct torc_slice name)
{
    return end_since(txn, name, false);
}

enum torc_status
torc_txn_release(struct torc_txn *txn, struct torc_slice name)
{
    return end_since(txn, name, true);
}

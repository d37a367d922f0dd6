/* SPDX-License-Identifier: MIT */
/* mvcc/recovery: a store from its files. See recovery.h.
 *
 * Which keyspaces there are. The journal tells of each one's CREATE, of CREATEs that were taken back (an empty name),
 * and of DROPs; the checkpoint lists those that were there at its stamp.
 *   1  Dropped is what has a DROP; several count as the first.
 *   2  A crash may have come between a CREATE whose name was taken meanwhile and its taking back. Such a stray has no
 *      records. When a keyspace of that name is dropped, any other one with an earlier CREATE was a stray
 *      (keyspace.c, enter_name()).
 *   3  Of two that are left with one name, one is a stray: the one with the later record is none; else the listed one;
 *      else the lower id is taken. Whichever it is then gets the next records, so that the next recovery decides alike.
 * A record counts for a keyspace from its CREATE on: an id may have been given twice when all that told of the first
 * use but a late record was recycled. Without a checkpoint the journal tells of all keyspaces, and a record of another
 * one is damage; with one, such a record came too late for a keyspace that was dropped before.
 *
 * Threads   The calling thread reads; workers take packs of records from a queue. Everything shared is under `mutex`:
 *           nothing here is lock-free. */
#include "mvcc/recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/checkpoint.h"
#include "mvcc/keyspace.h"
#include "mvcc/reclaim.h"
#include "mvcc/restore.h"

enum {
    THREADS_MAX = 64,
    KNOWN_FIRST = 16,
#if defined(TORC_TINY)
    PACK_SIZE = 512,
    QUEUE_BYTES_MAX = 2048,
    GATHER = 16,
#else
    PACK_SIZE = 256 * 1024,             /* Of records that a worker takes at once, */
    QUEUE_BYTES_MAX = 8 * 1024 * 1024,  /* and of all that wait. A larger record goes alone. */
    GATHER = 256,                       /* Operations that are restored at once. */
#endif
};

#define CUT_MAX (TORCI_COMMIT_STAMP_MAX - 3)    /* The clock goes on behind it. */

/* A keyspace that the files speak of, but the default one. */
struct known {
    uint64_t id;
    uint64_t created;                   /* Its CREATE; 0: none, or not after the checkpoint. */
    uint64_t dropped;                   /* Its first DROP; 0: none. */
    uint64_t last;                      /* Its last record; 0: none. */
    bool listed;                        /* By the checkpoint. */
    bool named;                         /* Listed or created. */
    bool taken_back;
    uint8_t name_size;
    unsigned char name[TORC_NAME_SIZE_MAX];
    struct torc_keyspace *keyspace;     /* NULL: not there, or only checked. Its records are skipped then. */
};

/* Ascending by id. */
struct knowns {
    struct known *entries;
    size_t count;
    size_t room;
};

/* Records on their way to a worker. */
struct pack {
    struct pack *next;
    size_t size;
    size_t room;
    unsigned char bytes[];
};

struct recovery {
    struct torc_mvcc *store;            /* NULL: check only. */
    struct torci_heap *heap;
    const struct torci_directory *directory;
    struct torci_recovered *recovered;
    uint64_t checkpoint;                /* Its stamp; 0: there is none. */
    uint64_t first_cut;                 /* Of the journal, as far as it is there. */
    uint64_t cut;                       /* The last one. */
    uint64_t id_greatest;               /* Of all keyspaces that anything speaks of. */
    struct knowns knowns;
    /* Of the queue, under `mutex` while workers run. `mutex` also guards `knowns` while the checkpoint is read. */
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    pthread_cond_t emptied;
    struct pack *first;
    struct pack *last;
    size_t queued;                      /* Bytes. */
    bool closed;                        /* Nothing more comes. */
    enum torc_status status;            /* Of the first worker that failed, and what it said. */
    int error;
    char detail[TORCI_DETAIL_SIZE_MAX + 1];
    struct pack *filling;               /* Of the reading thread. */
};

/* ---- Keyspaces that the files speak of ---- */

/* The first place whose id is not less. */
static size_t
place_of(const struct knowns *knowns, uint64_t id)
{
    size_t low = 0;
    size_t high = knowns->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (knowns->entries[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct known *
find_known(const struct knowns *knowns, uint64_t id)
{
    size_t place = place_of(knowns, id);

    return place < knowns->count && knowns->entries[place].id == id ? &knowns->entries[place] : NULL;
}

static enum torc_status
grow_knowns(struct recovery *recovery)
{
    struct knowns *knowns = &recovery->knowns;
    size_t room = knowns->room == 0 ? KNOWN_FIRST : knowns->room * 2;
    struct known *entries = torci_alloc(recovery->heap, room * sizeof *entries);

    if (entries == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for the keyspaces of the journal");
    if (knowns->count > 0)
        memcpy(entries, knowns->entries, knowns->count * sizeof *entries);
    torci_free(recovery->heap, knowns->entries, knowns->room * sizeof *entries);
    knowns->entries = entries;
    knowns->room = room;
    return TORC_OK;
}

/* The one with this id, entered if need be. */
static enum torc_status
know(struct recovery *recovery, uint64_t id, struct known **known)
{
    struct knowns *knowns = &recovery->knowns;
    size_t place = place_of(knowns, id);
    enum torc_status status = TORC_OK;

    *known = NULL;
    if (place == knowns->count || knowns->entries[place].id != id) {
        if (knowns->count == knowns->room)
            status = grow_knowns(recovery);
        if (status != TORC_OK)
            return status;
        memmove(&knowns->entries[place + 1], &knowns->entries[place],
                (knowns->count - place) * sizeof *knowns->entries);
        knowns->entries[place] = (struct known){.id = id};
        knowns->count++;
    }
    *known = &knowns->entries[place];
    return TORC_OK;
}

static void
set_name(struct known *known, struct torc_slice name)
{
    torc_assert(name.size > 0 && name.size <= TORC_NAME_SIZE_MAX);
    known->named = true;
    known->name_size = (uint8_t)name.size;
    memcpy(known->name, name.data, name.size);
}

static bool
has_name(const struct known *known, struct torc_slice name)
{
    return known->name_size == name.size && memcmp(known->name, name.data, name.size) == 0;
}

static struct torc_slice
name_of(const struct known *known)
{
    return torc_slice(known->name, known->name_size);
}

static void
note_id(struct recovery *recovery, uint64_t id)
{
    if (id > recovery->id_greatest)
        recovery->id_greatest = id;
}

/* ---- The checkpoint ---- */

static enum torc_status
checkpoint_wrong(const struct recovery *recovery, const char *what)
{
    return torci_fail(TORC_CORRUPT, "checkpoint-%016" PRIx64 ": %s", recovery->checkpoint, what);
}

/* By the calling thread, for each one that the checkpoint lists. */
static enum torc_status
take_keyspace(void *context, uint64_t id, struct torc_slice name)
{
    struct recovery *recovery = context;
    struct torci_shard *shard;
    struct torc_keyspace *keyspace = NULL;
    enum torc_status status = TORC_OK;
    struct known *known;

    if (id == 0 || id == UINT64_MAX || name.size == 0 || name.size > TORC_NAME_SIZE_MAX ||
        find_known(&recovery->knowns, id) != NULL)
        return checkpoint_wrong(recovery, "its list of keyspaces is wrong");
    note_id(recovery, id);
    if (recovery->store != NULL) {
        status = torci_shard_obtain(recovery->store, &shard);
        if (status == TORC_OK)
            status = torci_keyspace_restore(shard, id, name, recovery->checkpoint - 1, &keyspace);
        if (status == TORC_EXISTS)
            return checkpoint_wrong(recovery, "two keyspaces have one name");
    }
    if (status != TORC_OK)
        return status;
    (void)pthread_mutex_lock(&recovery->mutex);
    status = know(recovery, id, &known);
    if (status == TORC_OK) {
        known->listed = true;
        known->keyspace = keyspace;
        set_name(known, name);
    }
    (void)pthread_mutex_unlock(&recovery->mutex);
    return status;
}

/* Whether a store can have written these entries; the greatest of their stamps. */
static bool
judge_entries(const struct recovery *recovery, const struct torci_restored *entries, size_t count, uint64_t *last)
{
    *last = 0;
    for (size_t i = 0; i < count; i++) {
        const struct torci_restored *entry = &entries[i];

        if (entry->stamp % 2 != 1 || entry->stamp > recovery->checkpoint || entry->deleted || entry->key.size == 0 ||
            entry->key.size > TORC_KEY_SIZE_MAX || entry->value.size > TORC_VALUE_SIZE_MAX)
            return false;
        if (entry->stamp > *last)
            *last = entry->stamp;
    }
    return true;
}

/* By several threads at once. */
static enum torc_status
take_entries(void *context, unsigned thread, uint64_t id, const struct torci_restored *entries, size_t count)
{
    struct recovery *recovery = context;
    struct torc_keyspace *keyspace = recovery->store == NULL ? NULL : recovery->store->main;
    struct torci_shard *shard;
    enum torc_status status;
    uint64_t last;

    (void)thread;
    if (!judge_entries(recovery, entries, count, &last))
        return checkpoint_wrong(recovery, "an entry is out of bounds");
    if (id != 0) {
        struct known *known;

        (void)pthread_mutex_lock(&recovery->mutex);
        known = find_known(&recovery->knowns, id);
        if (known != NULL && last > known->last)
            known->last = last;
        keyspace = known == NULL ? NULL : known->keyspace;
        (void)pthread_mutex_unlock(&recovery->mutex);
        if (known == NULL)
            return checkpoint_wrong(recovery, "entries of a keyspace that it does not list");
    }
    if (recovery->store == NULL)
        return TORC_OK;
    status = torci_shard_obtain(recovery->store, &shard);
    return status == TORC_OK ? torci_restore_many(shard, keyspace, entries, count) : status;
}

static enum torc_status
load_checkpoint(struct recovery *recovery, unsigned threads, uint64_t *journal_from)
{
    const struct torci_checkpoint_reader reader = {take_keyspace, take_entries, recovery};
    const struct torci_directory *directory = recovery->directory;
    struct torc_recovery *report = &recovery->recovered->report;
    struct torci_checkpoint_info info;
    enum torc_status status = torci_directory_checkpoint(directory, &recovery->checkpoint);

    *journal_from = 0;
    if (status == TORC_OK && recovery->checkpoint == 0 && directory->needs_checkpoint)
        return torci_fail(TORC_MISSING, "no checkpoint: a backup that was not completed, in %s", directory->path);
    if (status != TORC_OK || recovery->checkpoint == 0)
        return status;
    if (recovery->checkpoint % 2 != 0 || recovery->checkpoint > CUT_MAX)
        return checkpoint_wrong(recovery, "no checkpoint has this stamp");
    status = torci_checkpoint_read(recovery->heap, directory->vfs, directory->path, recovery->checkpoint, directory->id,
                                   threads, &reader, &info);
    if (status != TORC_OK)
        return status;
    if (info.stamp != recovery->checkpoint)
        return checkpoint_wrong(recovery, "it is of another stamp");
    *journal_from = info.journal_from;
    report->checkpoint_stamp = info.stamp;
    report->checkpoint_entries = info.entries;
    report->checkpoint_bytes = info.bytes;
    return TORC_OK;
}

/* ---- The journal, first pass ---- */

static enum torc_status
record_wrong(uint64_t stamp, const char *what)
{
    return torci_fail(TORC_CORRUPT, "journal: the commit with stamp %" PRIu64 ": %s", stamp, what);
}

/* A CREATE, or that it was taken back, after the checkpoint. */
static enum torc_status
note_create(struct recovery *recovery, uint64_t stamp, const struct torci_op *op)
{
    struct known *known;
    enum torc_status status = know(recovery, op->keyspace, &known);

    if (status != TORC_OK)
        return status;
    if (op->key.size == 0) {
        known->taken_back = true;
        return TORC_OK;
    }
    if (known->created != 0 || (known->listed && !has_name(known, op->key)))
        return record_wrong(stamp, "it makes a keyspace that was made already");
    known->created = stamp;
    set_name(known, op->key);
    return TORC_OK;
}

static enum torc_status
note_drop(struct recovery *recovery, uint64_t stamp, uint64_t id)
{
    struct known *known;
    enum torc_status status = know(recovery, id, &known);

    if (status == TORC_OK && (known->dropped == 0 || stamp < known->dropped))
        known->dropped = stamp;
    return status;
}

static enum torc_status
note_write(struct recovery *recovery, uint64_t stamp, uint64_t id)
{
    struct known *known;
    enum torc_status status = id == 0 ? TORC_OK : know(recovery, id, &known);

    if (status == TORC_OK && id != 0 && stamp > known->last)
        known->last = stamp;
    return status;
}

static enum torc_status
judge_op(struct recovery *recovery, uint64_t stamp, const struct torci_op *op)
{
    bool late = stamp > recovery->checkpoint;

    if (op->keyspace == UINT64_MAX)
        return record_wrong(stamp, "no keyspace has this id");
    note_id(recovery, op->keyspace);
    switch (op->kind) {
    case TORCI_OP_PUT:
    case TORCI_OP_PUT_EXPIRING:
    case TORCI_OP_DELETE:
        if (op->key.size == 0 || op->key.size > TORC_KEY_SIZE_MAX || op->value.size > TORC_VALUE_SIZE_MAX)
            return record_wrong(stamp, "a key or a value is too large, or a key is empty");
        return late ? note_write(recovery, stamp, op->keyspace) : TORC_OK;
    case TORCI_OP_CREATE:
        if (op->keyspace == 0 || op->key.size > TORC_NAME_SIZE_MAX)
            return record_wrong(stamp, "it makes a keyspace that cannot be");
        return late ? note_create(recovery, stamp, op) : TORC_OK;
    case TORCI_OP_DROP:
        if (op->keyspace == 0)
            return record_wrong(stamp, "it drops the default keyspace");
        return late ? note_drop(recovery, stamp, op->keyspace) : TORC_OK;
    }
    return record_wrong(stamp, "an operation of no kind");
}

static enum torc_status
judge_record(struct recovery *recovery, uint64_t stamp, struct torc_slice ops, uint64_t cut)
{
    struct torci_op op;
    enum torc_status status;

    /* Greater than its batch's cut: it would count, and be older than what was written later in its place. */
    if (stamp % 2 != 1 || stamp > cut)
        return record_wrong(stamp, "no commit before the cut has this stamp");
    while ((status = torci_op_next(&ops, &op)) == TORC_OK) {
        status = judge_op(recovery, stamp, &op);
        if (status != TORC_OK)
            return status;
    }
    if (status != TORC_END)
        return status;
    if (stamp > recovery->checkpoint)
        recovery->recovered->report.commits++;
    return TORC_OK;
}

static enum torc_status
judge_batch(void *context, struct torc_slice batch, uint64_t cut)
{
    struct recovery *recovery = context;
    struct torc_slice ops;
    enum torc_status status;
    uint64_t stamp;

    if (cut % 2 != 0 || cut > CUT_MAX || cut < recovery->cut)
        return torci_fail(TORC_CORRUPT, "journal: a cut at %" PRIu64 " after one at %" PRIu64, cut, recovery->cut);
    if (recovery->first_cut == 0)
        recovery->first_cut = cut;
    recovery->cut = cut;
    while ((status = torci_batch_next(&batch, &stamp, &ops)) == TORC_OK) {
        status = judge_record(recovery, stamp, ops, cut);
        if (status != TORC_OK)
            return status;
    }
    return status == TORC_END ? TORC_OK : status;
}

static enum torc_status
judge_journal(struct recovery *recovery, uint64_t from)
{
    const struct torci_directory *directory = recovery->directory;
    struct torci_journal_scan *scan = &recovery->recovered->scan;
    struct torc_recovery *report = &recovery->recovered->report;
    enum torc_status status = torci_journal_scan(recovery->heap, directory->vfs, directory->path, directory->id, from,
                                                 judge_batch, recovery, scan);

    if (status != TORC_OK)
        return status;
    torc_assert(scan->cut >= recovery->cut);
    recovery->cut = scan->cut;
    if (recovery->cut % 2 != 0 || recovery->cut > CUT_MAX)
        return torci_fail(TORC_CORRUPT, "journal: a cut at %" PRIu64, recovery->cut);
    /* It begins with the first segment, unless a checkpoint can do without: one that needs none of it, and covers the
     * beginning of what is left. */
    if (from == 0 && scan->segments > 0 && scan->from != 1 &&
        (recovery->checkpoint == 0 || recovery->first_cut > recovery->checkpoint))
        return torci_fail(TORC_MISSING, "journal-%016x is not there", 1u);
    report->segments = scan->segments;
    report->journal_bytes = scan->frame_bytes;
    report->torn_bytes = scan->torn_bytes;
    return TORC_OK;
}

/* ---- Which keyspaces there are ---- */

static int
compare_names(const struct known *a, const struct known *b)
{
    size_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(a->name, b->name, size);

    return order != 0 ? order : (int)a->name_size - (int)b->name_size;
}

/* By name; of one name, in the order in which they lose: who stays comes first (rule 3). */
static int
compare_claims(const void *left, const void *right)
{
    const struct known *a = *(const struct known *const *)left;
    const struct known *b = *(const struct known *const *)right;
    int order = compare_names(a, b);

    if (order != 0)
        return order;
    if (a->last != b->last)
        return a->last > b->last ? -1 : 1;
    if (a->listed != b->listed)
        return a->listed ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Of `count` with one name: which one stays; NULL: none. */
static struct known *
choose(struct known *const *claims, size_t count)
{
    uint64_t dropped = 0;

    for (size_t i = 0; i < count; i++) {
        if (claims[i]->dropped > dropped && !claims[i]->taken_back)
            dropped = claims[i]->dropped;
    }
    for (size_t i = 0; i < count; i++) {
        const struct known *claim = claims[i];

        if (claim->dropped == 0 && !claim->taken_back && (claim->listed || claim->created >= dropped))
            return claims[i];
    }
    return NULL;
}

/* Of `count` with one name: let those go that the checkpoint had and that do not stay. */
static enum torc_status
let_go(struct recovery *recovery, struct known *const *claims, size_t count, const struct known *chosen)
{
    enum torc_status status = TORC_OK;

    if (recovery->store == NULL)
        return TORC_OK;
    for (size_t i = 0; i < count && status == TORC_OK; i++) {
        if (claims[i] == chosen || claims[i]->keyspace == NULL)
            continue;
        status = torc_keyspace_drop(claims[i]->keyspace);
        claims[i]->keyspace = NULL;
    }
    return status;
}

static int
compare_ids(const void *left, const void *right)
{
    const struct known *a = *(const struct known *const *)left;
    const struct known *b = *(const struct known *const *)right;

    return a->id < b->id ? -1 : a->id > b->id;
}

/* Make those that stay and that the checkpoint had not, in the order in which they were made: so they are listed. */
static enum torc_status
establish(struct recovery *recovery, struct known **chosen, size_t count)
{
    struct torci_shard *shard = NULL;
    enum torc_status status = TORC_OK;

    recovery->recovered->report.keyspaces += count;
    if (recovery->store == NULL || count == 0)
        return TORC_OK;
    qsort(chosen, count, sizeof *chosen, compare_ids);
    status = torci_shard_obtain(recovery->store, &shard);
    for (size_t i = 0; i < count && status == TORC_OK; i++) {
        if (chosen[i]->keyspace == NULL)
            status = torci_keyspace_restore(shard, chosen[i]->id, name_of(chosen[i]), chosen[i]->created,
                                            &chosen[i]->keyspace);
    }
    return status;
}

/* All that have a name, sorted. */
static enum torc_status
settle_claims(struct recovery *recovery, struct known **claims, size_t count)
{
    enum torc_status status = TORC_OK;
    size_t stay = 0;
    size_t end;

    qsort(claims, count, sizeof *claims, compare_claims);
    for (size_t i = 0; i < count && status == TORC_OK; i = end) {
        struct known *chosen;
        unsigned listed = 0;

        for (end = i; end < count && compare_names(claims[i], claims[end]) == 0; end++)
            listed += claims[end]->listed;
        if (listed > 1)
            return checkpoint_wrong(recovery, "two keyspaces have one name");
        chosen = choose(&claims[i], end - i);
        status = let_go(recovery, &claims[i], end - i, chosen);
        if (chosen != NULL)
            claims[stay++] = chosen; /* No place that is looked at again. */
    }
    return status == TORC_OK ? establish(recovery, claims, stay) : status;
}

static enum torc_status
settle_keyspaces(struct recovery *recovery)
{
    struct knowns *knowns = &recovery->knowns;
    enum torc_status status = TORC_OK;
    struct known **claims;
    size_t count = 0;

    recovery->recovered->report.keyspaces = 1;
    recovery->recovered->keyspace_id = recovery->id_greatest + 1;
    if (knowns->count == 0)
        return TORC_OK;
    claims = torci_alloc(recovery->heap, knowns->count * sizeof(struct known *));
    if (claims == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for the keyspaces of the journal");
    for (size_t i = 0; i < knowns->count && status == TORC_OK; i++) {
        struct known *known = &knowns->entries[i];

        if (known->named)
            claims[count++] = known;
        else if (recovery->checkpoint == 0)
            status = torci_fail(TORC_CORRUPT, "journal: it speaks of keyspace %" PRIu64 ", which was never made",
                                known->id);
    }
    if (status == TORC_OK)
        status = settle_claims(recovery, claims, count);
    torci_free(recovery->heap, claims, knowns->count * sizeof(struct known *));
    return status;
}

/* ---- Applying records ---- */

/* What a thread restores with. */
struct applier {
    const struct recovery *recovery;
    struct torci_shard *shard;
    const struct known *known;          /* The last one that was looked up; NULL: none. */
    struct torc_keyspace *keyspace;     /* Of what is gathered. */
    size_t count;
    struct torci_restored gathered[GATHER];
};

/* Where an operation goes; NULL: nowhere. */
static struct torc_keyspace *
target_of(struct applier *applier, uint64_t id, uint64_t stamp)
{
    if (id == 0)
        return applier->recovery->store->main;
    if (applier->known == NULL || applier->known->id != id)
        applier->known = find_known(&applier->recovery->knowns, id);
    if (applier->known == NULL || stamp < applier->known->created)
        return NULL;
    return applier->known->keyspace;
}

static enum torc_status
flush(struct applier *applier)
{
    size_t count = applier->count;

    applier->count = 0;
    return count == 0 ? TORC_OK : torci_restore_many(applier->shard, applier->keyspace, applier->gathered, count);
}

static enum torc_status
apply_op(struct applier *applier, uint64_t stamp, const struct torci_op *op)
{
    bool put = op->kind == TORCI_OP_PUT || op->kind == TORCI_OP_PUT_EXPIRING;
    struct torc_keyspace *keyspace;
    enum torc_status status = TORC_OK;

    if (!put && op->kind != TORCI_OP_DELETE)
        return TORC_OK;
    keyspace = target_of(applier, op->keyspace, stamp);
    if (keyspace == NULL)
        return TORC_OK;
    if (applier->count == GATHER || keyspace != applier->keyspace)
        status = flush(applier);
    applier->keyspace = keyspace;
    applier->gathered[applier->count++] =
        (struct torci_restored){.key = op->key,
                                .value = op->value,
                                .stamp = stamp,
                                .expires = op->kind == TORCI_OP_PUT_EXPIRING ? op->expires : UINT64_MAX,
                                .deleted = !put};
    return status;
}

/* Records that were judged before, but may have been read again since. */
static enum torc_status
apply_record(struct applier *applier, uint64_t stamp, struct torc_slice ops)
{
    struct torci_op op;
    enum torc_status status;

    while ((status = torci_op_next(&ops, &op)) == TORC_OK) {
        if (op.key.size > TORC_KEY_SIZE_MAX || op.value.size > TORC_VALUE_SIZE_MAX ||
            (op.key.size == 0 && op.kind < TORCI_OP_CREATE))
            return record_wrong(stamp, "it has changed since it was read");
        status = apply_op(applier, stamp, &op);
        if (status != TORC_OK)
            return status;
    }
    return status == TORC_END ? TORC_OK : status;
}

/* What is gathered is borrowed from `records`: flushed before it returns. */
static enum torc_status
apply_records(struct applier *applier, struct torc_slice records)
{
    const struct recovery *recovery = applier->recovery;
    struct torc_slice ops;
    enum torc_status status;
    uint64_t stamp;

    while ((status = torci_batch_next(&records, &stamp, &ops)) == TORC_OK) {
        if (stamp <= recovery->checkpoint)
            continue;
        if (stamp % 2 != 1 || stamp > recovery->cut)
            return record_wrong(stamp, "it has changed since it was read");
        status = apply_record(applier, stamp, ops);
        if (status != TORC_OK)
            return status;
    }
    return status == TORC_END ? flush(applier) : status;
}

/* ---- Workers ---- */

static void
free_pack(const struct recovery *recovery, struct pack *pack)
{
    if (pack != NULL)
        torci_free(recovery->heap, pack, sizeof *pack + pack->room);
}

/* The next pack; NULL: there will be none. */
static struct pack *
take_pack(struct recovery *recovery)
{
    struct pack *pack;

    (void)pthread_mutex_lock(&recovery->mutex);
    while (recovery->first == NULL && !recovery->closed)
        (void)pthread_cond_wait(&recovery->filled, &recovery->mutex);
    pack = recovery->first;
    if (pack != NULL) {
        recovery->first = pack->next;
        recovery->queued -= pack->size;
        (void)pthread_cond_signal(&recovery->emptied);
    }
    (void)pthread_mutex_unlock(&recovery->mutex);
    return pack;
}

static void
report_failure(struct recovery *recovery, enum torc_status status)
{
    int error = errno;

    (void)pthread_mutex_lock(&recovery->mutex);
    if (recovery->status == TORC_OK) {
        const char *detail = torc_detail();
        size_t size = strlen(detail);

        recovery->status = status;
        recovery->error = error;
        size = size < TORCI_DETAIL_SIZE_MAX ? size : TORCI_DETAIL_SIZE_MAX;
        memcpy(recovery->detail, detail, size);
        recovery->detail[size] = '\0';
    }
    (void)pthread_cond_signal(&recovery->emptied);
    (void)pthread_mutex_unlock(&recovery->mutex);
}

static enum torc_status
worker_status(struct recovery *recovery)
{
    if (recovery->status == TORC_OK)
        return TORC_OK;
    errno = recovery->error;
    return torci_fail(recovery->status, "%s", recovery->detail);
}

/* After a failure packs are taken still, so that the reader need not know. */
static void *
work(void *context)
{
    struct recovery *recovery = context;
    struct applier applier = {.recovery = recovery};
    enum torc_status status = torci_shard_obtain(recovery->store, &applier.shard);
    struct pack *pack;

    if (status != TORC_OK)
        report_failure(recovery, status);
    while ((pack = take_pack(recovery)) != NULL) {
        if (status == TORC_OK) {
            status = apply_records(&applier, torc_slice(pack->bytes, pack->size));
            if (status != TORC_OK)
                report_failure(recovery, status);
        }
        free_pack(recovery, pack);
    }
    if (applier.shard != NULL) {
        /* Nobody may come by this thread's part of the store for long. */
        torci_limbo_flush(applier.shard->limbo);
        torci_slab_fini(&applier.shard->slab);
    }
    return NULL;
}

/* Give `filling` to the workers; waits while they have enough to do. */
static enum torc_status
hand_over(struct recovery *recovery)
{
    struct pack *pack = recovery->filling;
    enum torc_status status;

    recovery->filling = NULL;
    (void)pthread_mutex_lock(&recovery->mutex);
    while (recovery->queued > 0 && recovery->queued + pack->size > QUEUE_BYTES_MAX && recovery->status == TORC_OK)
        (void)pthread_cond_wait(&recovery->emptied, &recovery->mutex);
    status = worker_status(recovery);
    if (status == TORC_OK) {
        if (recovery->first == NULL)
            recovery->first = pack;
        else
            recovery->last->next = pack;
        recovery->last = pack;
        recovery->queued += pack->size;
        (void)pthread_cond_signal(&recovery->filled);
    }
    (void)pthread_mutex_unlock(&recovery->mutex);
    if (status != TORC_OK)
        free_pack(recovery, pack);
    return status;
}

/* Copy one record, its prefix included. */
static enum torc_status
pack_record(struct recovery *recovery, const unsigned char *record, size_t size)
{
    enum torc_status status = TORC_OK;
    struct pack *pack;

    if (recovery->filling != NULL && recovery->filling->room - recovery->filling->size < size)
        status = hand_over(recovery);
    if (status != TORC_OK)
        return status;
    if (recovery->filling == NULL) {
        size_t room = size < PACK_SIZE ? PACK_SIZE : size;

        pack = torci_alloc(recovery->heap, sizeof *pack + room);
        if (pack == NULL)
            return torci_fail(TORC_NO_MEMORY, "no memory for records of the journal");
        pack->next = NULL;
        pack->size = 0;
        pack->room = room;
        recovery->filling = pack;
    }
    pack = recovery->filling;
    memcpy(pack->bytes + pack->size, record, size);
    pack->size += size;
    return TORC_OK;
}

static enum torc_status
pack_batch(void *context, struct torc_slice batch, uint64_t cut)
{
    struct recovery *recovery = context;
    const unsigned char *record = batch.data;
    struct torc_slice ops;
    enum torc_status status;
    uint64_t stamp;

    (void)cut;
    while ((status = torci_batch_next(&batch, &stamp, &ops)) == TORC_OK) {
        if (stamp > recovery->checkpoint)
            status = pack_record(recovery, record, TORCI_RECORD_PREFIX + ops.size);
        if (status != TORC_OK)
            return status;
        record = batch.data;
    }
    return status == TORC_END ? TORC_OK : status;
}

static enum torc_status
apply_batch(void *context, struct torc_slice batch, uint64_t cut)
{
    (void)cut;
    return apply_records(context, batch);
}

/* The second pass over the journal. */
static enum torc_status
read_again(struct recovery *recovery, enum torc_status (*visit)(void *context, struct torc_slice batch, uint64_t cut),
           void *context)
{
    const struct torci_directory *directory = recovery->directory;
    const struct torci_journal_scan *before = &recovery->recovered->scan;
    struct torci_journal_scan scan;
    enum torc_status status = torci_journal_scan(recovery->heap, directory->vfs, directory->path, directory->id,
                                                 before->from, visit, context, &scan);

    if (status != TORC_OK)
        return status;
    if (scan.cut != before->cut || scan.batches != before->batches)
        status = torci_fail(TORC_CORRUPT, "the journal has changed since it was read");
    torci_journal_scan_fini(recovery->heap, &scan);
    return status;
}

/* Read and apply on this thread. */
static enum torc_status
apply_alone(struct recovery *recovery)
{
    struct applier applier = {.recovery = recovery};
    enum torc_status status = torci_shard_obtain(recovery->store, &applier.shard);

    return status == TORC_OK ? read_again(recovery, apply_batch, &applier) : status;
}

static void
close_queue(struct recovery *recovery)
{
    (void)pthread_mutex_lock(&recovery->mutex);
    recovery->closed = true;
    (void)pthread_cond_broadcast(&recovery->filled);
    (void)pthread_mutex_unlock(&recovery->mutex);
}

/* This thread only reads, then; fewer than asked for will do. Returns how many run. */
static unsigned
start_workers(struct recovery *recovery, pthread_t workers[THREADS_MAX], unsigned threads)
{
    unsigned started = 0;
    sigset_t all, before;

    /* Signals are for the program's own threads. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < threads && started < THREADS_MAX &&
           pthread_create(&workers[started], NULL, work, recovery) == 0)
        started++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static enum torc_status
apply_journal(struct recovery *recovery, unsigned threads)
{
    pthread_t workers[THREADS_MAX];
    enum torc_status status;
    unsigned started;

    if (recovery->recovered->report.commits == 0)
        return TORC_OK;
    started = threads > 1 ? start_workers(recovery, workers, threads) : 0;
    if (started == 0)
        return apply_alone(recovery);
    status = read_again(recovery, pack_batch, recovery);
    if (status == TORC_OK && recovery->filling != NULL)
        status = hand_over(recovery);
    free_pack(recovery, recovery->filling);
    close_queue(recovery);
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(workers[i], NULL);
    return status == TORC_OK ? worker_status(recovery) : status;
}

/* ---- All of it ---- */

static enum torc_status
run(struct recovery *recovery, unsigned threads)
{
    struct torci_recovered *recovered = recovery->recovered;
    struct torci_shard *shard;
    uint64_t journal_from;
    enum torc_status status = load_checkpoint(recovery, threads, &journal_from);

    if (status == TORC_OK)
        status = judge_journal(recovery, journal_from);
    if (status == TORC_OK)
        status = settle_keyspaces(recovery);
    if (status != TORC_OK)
        return status;
    recovered->cut = recovery->cut > recovery->checkpoint ? recovery->cut : recovery->checkpoint;
    recovered->report.cut = recovered->cut;
    if (recovery->store == NULL)
        return TORC_OK;
    status = apply_journal(recovery, threads);
    if (status == TORC_OK)
        status = torci_shard_obtain(recovery->store, &shard);
    if (status == TORC_OK)
        status = torci_restore_end(shard, recovered->cut);
    if (status != TORC_OK)
        return status;
    /* Relaxed: exclusive. */
    torci_store(&recovery->store->keyspace_ids, recovered->keyspace_id, memory_order_relaxed);
    recovered->report.keys = torci_keyspaces_keys(recovery->store);
    return TORC_OK;
}

enum torc_status
torci_recover(struct torc_mvcc *store, struct torci_heap *heap, const struct torci_directory *directory,
              unsigned threads, struct torci_recovered *recovered)
{
    struct recovery recovery = {.store = store, .heap = heap, .directory = directory, .recovered = recovered};
    uint64_t begun = torci_now_ns();
    enum torc_status status;

    torc_assert(directory->lock != NULL);
    torc_assert(store == NULL || store->journal == NULL);
    memset(recovered, 0, sizeof *recovered);
    (void)pthread_mutex_init(&recovery.mutex, NULL);
    (void)pthread_cond_init(&recovery.filled, NULL);
    (void)pthread_cond_init(&recovery.emptied, NULL);
    status = run(&recovery, threads == 0 ? 1 : threads);
    (void)pthread_cond_destroy(&recovery.emptied);
    (void)pthread_cond_destroy(&recovery.filled);
    (void)pthread_mutex_destroy(&recovery.mutex);
    torci_free(heap, recovery.knowns.entries, recovery.knowns.room * sizeof *recovery.knowns.entries);
    recovered->report.duration_ns = torci_now_ns() - begun;
    if (status != TORC_OK) {
        torci_journal_scan_fini(heap, &recovered->scan);
        memset(recovered, 0, sizeof *recovered);
    }
    return status;
}

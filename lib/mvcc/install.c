/* SPDX-License-Identifier: MIT */
/* mvcc/install: putting a version onto its chain. The cases and the argument: install.h. */
#include "mvcc/install.h"

#include "base/assert.h"
#include "base/ck.h"
#include "base/status.h"
#include "mvcc/reclaim.h"

/* Not a status of the interface: look again. */
#define AGAIN ((enum torc_status)127)

struct torci_record *
torci_record_create(struct torci_shard *shard, const struct torc_keyspace *keyspace, struct torc_slice key,
                    uint64_t order)
{
    struct torci_record *record = torci_object_alloc(&shard->slab, sizeof *record + key.size);

    torc_assert(key.size > 0 && key.size <= TORC_KEY_SIZE_MAX);
    if (record == NULL)
        return NULL;
    torci_init(&record->chain, (uintptr_t)0);
    record->order = order;
    torci_init(&record->head, NULL);
    torci_init(&record->flags, 0u);
    record->key_size = (uint16_t)key.size;
    record->keyspace = keyspace->number;
    memcpy(record->key, key.data, key.size);
    return record;
}

void
torci_record_destroy(struct torc_mvcc *store, struct torci_record *record)
{
    torci_object_free(&store->objects, record, sizeof *record + record->key_size);
}

enum torc_status
torci_demand_check(const struct torci_demand *demand, const struct torci_version *base, struct torci_moment *moment)
{
    bool shown = torci_version_shows(base, moment);
    struct torc_slice value;

    switch (demand->kind) {
    case TORCI_DEMAND_NOTHING:
        return TORC_OK;
    case TORCI_DEMAND_PRESENT:
        return shown ? TORC_OK : TORC_NOT_FOUND;
    case TORCI_DEMAND_ABSENT:
        return shown ? TORC_EXISTS : TORC_OK;
    case TORCI_DEMAND_EXPIRED:
        return torci_version_live(base) && !shown ? TORC_OK : TORC_NOT_FOUND;
    case TORCI_DEMAND_EQUAL:
        break;
    }
    if (!shown)
        return TORC_NOT_FOUND;
    value = torci_version_value(base);
    if (value.size != demand->expected.size ||
        (value.size > 0 && memcmp(value.data, demand->expected.data, value.size) != 0))
        return TORC_MISMATCH;
    return TORC_OK;
}

static enum torc_status
conflict(const struct torci_write *write)
{
    torci_conflict_note(write->key);
    return torci_fail(TORC_CONFLICT, "another transaction wrote the key first");
}

/* Whether the version stays undecided until its owner says so. */
static bool
is_held(const struct torci_install *install)
{
    return !install->single && torci_stamp_tag(install->stamp) == TORCI_STAMP_DESCRIPTOR;
}

struct torci_op
torci_write_op(const struct torci_write *write)
{
    struct torci_op op = {TORCI_OP_DELETE, write->keyspace->id, write->key, {NULL, 0}, UINT64_MAX};

    if (!torci_version_live(write->version))
        return op;
    op.expires = torci_version_expires(write->version);
    op.kind = op.expires == UINT64_MAX ? TORCI_OP_PUT : TORCI_OP_PUT_EXPIRING;
    op.value = torci_version_value(write->version);
    return op;
}

/* Journal a write of one key, before it can be decided: once, or for each result of a merge anew. */
static enum torc_status
journal(struct torci_install *install, const struct torci_write *write)
{
    struct torci_op op;

    if (!install->single || (install->redo != NULL && write->merges == NULL))
        return TORC_OK;
    if (install->redo != NULL)
        torci_redo_settle(install->redo, TORCI_REDO_VOID);
    op = torci_write_op(write);
    install->redo = torci_redo_begin(install->shard, NULL, torci_op_size(&op));
    if (install->redo == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for the journal");
    (void)torci_op_put(install->redo->ops, &op);
    install->stamp = torci_stamp_descriptor(&install->redo->own);
    install->floor = &install->redo->own.floor;
    torci_redo_publish(install->shard, install->redo);
    return TORC_OK;
}

/* What is checked and made of `base` before anything is published. */
static enum torc_status
prepare(const struct torci_install *install, struct torci_write *write, struct torci_version *base)
{
    struct torci_version *merged;
    enum torc_status status = TORC_OK;

    if (install->demand != NULL)
        status = torci_demand_check(install->demand, base, install->moment);
    if (status != TORC_OK || write->merges == NULL)
        return status;
    status = torci_merge_apply(install->shard, write->merges, base, install->moment, &merged);
    if (status == TORC_CONFLICT)
        torci_conflict_note(write->key);
    if (status != TORC_OK)
        return status;
    if (write->version != NULL)
        torci_version_destroy(install->shard, write->version); /* Of an attempt before: never published. */
    write->version = merged;
    return TORC_OK;
}

/* Publish a record of our own. If it is held, it carries our version at once: nothing can become visible before the
 * owner decides. Another version could be stamped by whoever finds it, before scans can: it has to wait for the
 * tree. */
static enum torc_status
install_fresh(const struct torci_install *install, struct torci_write *write)
{
    struct torci_record *existing = NULL;
    enum torc_status status;

    if (write->fresh == NULL)
        write->fresh = torci_record_create(install->shard, write->keyspace, write->key, write->order);
    if (write->fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a key");
    if (is_held(install)) {
        status = prepare(install, write, NULL);
        if (status != TORC_OK)
            return status;
        torci_init(&write->version->older, NULL);
        torci_init(&write->version->stamp, install->stamp);
        torci_init(&write->fresh->head, write->version);
    }
    /* R1 */
    status = torci_index_insert(write->keyspace->index, install->guard, install->shard->limbo, write->fresh, &existing);
    if (status == TORC_EXISTS) {
        write->record = existing;
        return AGAIN;
    }
    if (status != TORC_OK)
        return torci_fail(status, "no memory for the index");
    write->record = write->fresh;
    write->fresh = NULL;
    if (!is_held(install))
        return AGAIN;
    write->installed = true;
    write->was_live = false;
    write->was_shown = false;
    write->was_due = UINT64_MAX;
    return torci_index_order(write->keyspace->index, install->guard, install->shard->limbo, write->record);
}

/* The version that ours will replace: `*base` (NULL: none). */
static enum torc_status
find_base(struct torci_install *install, const struct torci_write *write, struct torci_version *head,
          struct torci_version **base, uint64_t *base_stamp)
{
    struct torci_clock *clock = &install->store->clock;
    struct torci_verdict verdict = torci_version_verdict(head, clock);
    bool checked = install->rank != NULL && write->merges == NULL;

    *base = head;
    switch (verdict.fate) {
    case TORCI_FATE_VALIDATING:
        (void)torci_descriptor_decide(verdict.owner, clock);
        return AGAIN;
    case TORCI_FATE_INSTALLING:
        if (install->rank != NULL && !torci_descriptor_overtakes(install->rank, verdict.owner)) {
            install->outranked = true;
            return conflict(write);
        }
        if (torci_descriptor_wound(verdict.owner))
            torci_count(&install->shard->counters.wounds, 1);
        return AGAIN;
    case TORCI_FATE_ABORTED:
        *base = torci_load(&head->older, memory_order_acquire); /* version.h A4 */
        if (*base == NULL)
            return TORC_OK;
        verdict = torci_version_verdict(*base, clock);
        break;
    case TORCI_FATE_COMMITTED:
        break;
    }
    torc_assert(verdict.fate == TORCI_FATE_COMMITTED); /* version.h I1 */
    *base_stamp = verdict.stamp;
    if (checked && torci_version_written(*base, verdict.stamp) > install->rank->snapshot)
        return conflict(write);
    return TORC_OK;
}

/* One attempt to go over the head of `record`. */
static enum torc_status
install_over(struct torci_install *install, struct torci_write *write, struct torci_record *record)
{
    struct torci_version *head = torci_load(&record->head, memory_order_seq_cst); /* version.h A1 */
    struct torci_version *base = NULL;
    uint64_t base_stamp = 0;
    enum torc_status status;

    if (head == torci_frozen()) {
        write->record = NULL;
        status = torci_reclaim_frozen(install->shard, install->guard, record);
        return status == TORC_OK ? AGAIN : torci_fail(status, "no memory for the index");
    }
    if (head != NULL) {
        status = find_base(install, write, head, &base, &base_stamp);
        if (status != TORC_OK)
            return status;
    }
    status = prepare(install, write, base);
    if (status != TORC_OK)
        return status;
    status = journal(install, write);
    if (status != TORC_OK)
        return status;
    status = torci_index_order(write->keyspace->index, install->guard, install->shard->limbo, record);
    if (status != TORC_OK)
        return torci_fail(status, "no memory for the index");

    if (install->floor != NULL && *install->floor < base_stamp)
        *install->floor = base_stamp;
    /* Relaxed: private until R1. */
    torci_init(&write->version->older, base);
    torci_init(&write->version->stamp, install->stamp);
    torci_race_window();
    /* R1. Failure: the head moved, so somebody progressed; relaxed, because it is loaded again. */
    if (!torci_cas(&record->head, &head, write->version, memory_order_seq_cst, memory_order_relaxed))
        return AGAIN;
    write->record = record;
    write->installed = true;
    write->was_live = torci_version_live(base);
    write->was_shown = torci_version_shows(base, install->moment);
    write->was_due = base == NULL ? UINT64_MAX : torci_version_expires(base);
    if (head != base)
        torci_limbo_add(install->shard->limbo, head, torci_version_bytes(head->size), TORCI_RETIRED_VERSION);
    return TORC_OK;
}

/* Whether the demand can only be met by a value that is there. */
static bool
wants_value(const struct torci_install *install)
{
    return install->demand != NULL && install->demand->kind != TORCI_DEMAND_NOTHING &&
           install->demand->kind != TORCI_DEMAND_ABSENT;
}

enum torc_status
torci_install(struct torci_install *install, struct torci_write *write)
{
    struct torci_backoff backoff = torci_backoff_begin();
    enum torc_status status;

    torc_assert(!write->installed);
    do {
        if (torci_limbo_reserve(install->shard->limbo, install->retires_kept + TORCI_INSTALL_RETIRES_MAX) != TORC_OK)
            return torci_fail(TORC_NO_MEMORY, "no memory to retire what is replaced");
        if (write->record == NULL)
            write->record = torci_index_find(write->keyspace->index, install->guard, write->key, write->order);
        if (write->record != NULL)
            status = install_over(install, write, write->record);
        else if (wants_value(install))
            status = TORC_NOT_FOUND;
        else
            status = install_fresh(install, write);
        /* Merges meet at hot keys: let the others' caches be. */
        if (status == AGAIN && write->merges != NULL)
            torci_backoff_pause(&backoff);
    } while (status == AGAIN);
    return status;
}

bool
torci_uninstall(const struct torci_install *install, struct torci_write *write)
{
    struct torci_version *version = write->version;
    struct torci_version *head = version;
    /* Relaxed: ours; and while it is the aborted head, nobody changes what is below it. */
    struct torci_version *older = torci_load(&version->older, memory_order_relaxed);

    torc_assert(write->installed);
    /* R1: `older` was reachable before. Failure: another installer went under it, and retired it. */
    if (!torci_cas(&write->record->head, &head, older, memory_order_seq_cst, memory_order_relaxed))
        return false;
    torci_limbo_add(install->shard->limbo, version, torci_version_bytes(version->size), TORCI_RETIRED_VERSION);
    return true;
}

/* SPDX-License-Identifier: MIT */
/* mvcc/install: putting a version onto its chain. The cases and the argument: install.h. */
#include "mvcc/install.h"

#include "base/assert.h"
#include "base/status.h"
#include "mvcc/reclaim.h"

/* Not a status of the interface: look again. */
#define AGAIN TORC_EXISTS

struct torci_record *
torci_record_create(struct torc_mvcc *store, struct torc_slice key, uint64_t order)
{
    struct torci_record *record = torci_alloc(&store->heap, sizeof *record + key.size);

    if (record == NULL)
        return NULL;
    torci_init(&record->chain, (uintptr_t)0);
    record->order = order;
    torci_init(&record->head, NULL);
    torci_init(&record->flags, 0u);
    record->key_size = (uint32_t)key.size;
    memcpy(record->key, key.data, key.size);
    return record;
}

void
torci_record_destroy(struct torc_mvcc *store, struct torci_record *record)
{
    torci_free(&store->heap, record, sizeof *record + record->key_size);
}

struct torci_version *
torci_version_create(struct torci_shard *shard, struct torc_slice value, uint32_t flags)
{
    struct torci_version *version = torci_alloc(&shard->store->heap, torci_version_bytes((uint32_t)value.size));

    if (version == NULL)
        return NULL;
    torci_init(&version->stamp, (uint64_t)TORCI_STAMP_PENDING);
    torci_init(&version->older, NULL);
    version->size = (uint32_t)value.size;
    version->flags = flags;
    if (value.size > 0)
        memcpy(version->bytes, value.data, value.size);
    torci_count(&shard->counters.versions_created, 1);
    return version;
}

void
torci_version_destroy(struct torci_shard *shard, struct torci_version *version)
{
    torci_free(&shard->store->heap, version, torci_version_bytes(version->size));
    torci_count_shared(&shard->counters.versions_freed, 1);
}

static enum torc_status
conflict(const struct torci_write *write)
{
    torci_conflict_note(write->key);
    return torci_fail(TORC_CONFLICT, "another transaction wrote the key first");
}

static bool
has_descriptor(const struct torci_install *install)
{
    return torci_stamp_tag(install->stamp) == TORCI_STAMP_DESCRIPTOR;
}

/* Publish a record of our own. With a descriptor it carries our version at once: nothing can become visible before the
 * owner decides. A PENDING version could be stamped by whoever finds it, before scans can: it has to wait for the
 * tree. */
static enum torc_status
install_fresh(const struct torci_install *install, struct torci_write *write)
{
    struct torci_record *existing = NULL;
    enum torc_status status;

    if (write->fresh == NULL)
        write->fresh = torci_record_create(install->store, write->key, write->order);
    if (write->fresh == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for a key");
    if (has_descriptor(install)) {
        torci_init(&write->version->older, NULL);
        torci_init(&write->version->stamp, install->stamp);
        torci_init(&write->fresh->head, write->version);
    }
    /* R1 */
    status = torci_index_insert(install->store->index, install->guard, install->shard->limbo, write->fresh, &existing);
    if (status == TORC_EXISTS) {
        write->record = existing;
        return AGAIN;
    }
    if (status != TORC_OK)
        return torci_fail(status, "no memory for the index");
    write->record = write->fresh;
    write->fresh = NULL;
    if (!has_descriptor(install))
        return AGAIN;
    write->installed = true;
    write->was_live = false;
    return torci_index_order(install->store->index, install->guard, install->shard->limbo, write->record);
}

/* The version that ours will replace: `*base` (NULL: none). */
static enum torc_status
find_base(const struct torci_install *install, const struct torci_write *write, struct torci_version *head,
          struct torci_version **base)
{
    struct torci_clock *clock = &install->store->clock;
    struct torci_verdict verdict = torci_version_verdict(head, clock);

    *base = head;
    switch (verdict.fate) {
    case TORCI_FATE_VALIDATING:
        (void)torci_descriptor_decide(verdict.owner, clock);
        return AGAIN;
    case TORCI_FATE_INSTALLING:
        if (install->rank != NULL && !torci_descriptor_outranks(install->rank, verdict.owner))
            return conflict(write);
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
    if (install->rank != NULL && verdict.stamp > install->rank->snapshot)
        return conflict(write);
    return TORC_OK;
}

/* One attempt to go over the head of `record`. */
static enum torc_status
install_over(const struct torci_install *install, struct torci_write *write, struct torci_record *record)
{
    struct torci_version *head = torci_load(&record->head, memory_order_seq_cst); /* version.h A1 */
    struct torci_version *base = NULL;
    enum torc_status status;

    if (head == torci_frozen()) {
        write->record = NULL;
        status = torci_reclaim_frozen(install->shard, install->guard, record);
        return status == TORC_OK ? AGAIN : torci_fail(status, "no memory for the index");
    }
    if (head != NULL) {
        status = find_base(install, write, head, &base);
        if (status != TORC_OK)
            return status;
    }
    if (install->only_live && !torci_version_live(base))
        return TORC_NOT_FOUND;
    status = torci_index_order(install->store->index, install->guard, install->shard->limbo, record);
    if (status != TORC_OK)
        return torci_fail(status, "no memory for the index");

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
    if (head != base)
        torci_limbo_add(install->shard->limbo, head, torci_version_bytes(head->size), TORCI_RETIRED_VERSION);
    return TORC_OK;
}

enum torc_status
torci_install(const struct torci_install *install, struct torci_write *write)
{
    enum torc_status status;

    torc_assert(!write->installed);
    do {
        if (torci_limbo_reserve(install->shard->limbo, install->retires_kept + TORCI_INSTALL_RETIRES_MAX) != TORC_OK)
            return torci_fail(TORC_NO_MEMORY, "no memory to retire what is replaced");
        if (write->record == NULL)
            write->record = torci_index_find(install->store->index, install->guard, write->key, write->order);
        if (write->record != NULL)
            status = install_over(install, write, write->record);
        else if (install->only_live)
            status = TORC_NOT_FOUND;
        else
            status = install_fresh(install, write);
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

/* SPDX-License-Identifier: MIT */
/* mvcc/ahead: looking up in steps. See ahead.h. */
#include "mvcc/ahead.h"

#include "base/status.h"
#include "mvcc/reclaim.h"

/* The record is on its way: find it, and have its newest version fetched. */
static void
look_up(struct torci_epoch_guard guard, struct torci_write *write)
{
    struct torci_record *record = torci_index_find(write->keyspace->index, guard, write->key, write->order);

    if (record != NULL)
        __builtin_prefetch(torci_load(&record->head, memory_order_relaxed)); /* Relaxed: fetched, not followed. */
}

/* What find_for_write() of write.c does at once. */
static enum torc_status
check(struct torc_txn *txn, struct torci_epoch_guard guard, struct torci_write *write)
{
    struct torci_clock *clock = &txn->store->clock;
    struct torci_record *record = torci_index_find(write->keyspace->index, guard, write->key, write->order);
    struct torci_version *newest = record == NULL ? NULL : torci_record_newest(record, clock);

    if (newest == NULL)
        return TORC_OK;
    if (torci_version_written(newest, torci_version_verdict(newest, clock).stamp) > txn->slot.snapshot)
        return torci_txn_lost_already(txn, write->key);
    /* The newest is what the snapshot sees, if no younger one was decided since: then the record stays (txn.h I2). */
    if (torci_version_live(newest) && !txn->expirable)
        write->record = record;
    return TORC_OK;
}

enum torc_status
torci_ahead_step(struct torc_txn *txn, uint64_t order)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_write **ahead = txn->ahead;
    enum torc_status status = TORC_OK;

    if (torci_keyspace_usable(txn->keyspace))
        torci_index_prefetch(txn->keyspace->index, order);
    if (ahead[0] != NULL && torci_keyspace_usable(ahead[0]->keyspace))
        torci_index_prefetch_record(ahead[0]->keyspace->index, ahead[0]->order);
    if (ahead[1] != NULL && torci_keyspace_usable(ahead[1]->keyspace))
        look_up(guard, ahead[1]);
    if (ahead[2] != NULL && torci_keyspace_usable(ahead[2]->keyspace))
        status = check(txn, guard, ahead[2]);
    if (status == TORC_OK)
        status = torci_txn_check_age(txn);
    torci_epoch_exit(guard);
    if (status != TORC_OK)
        return status; /* They stay where they are: the next put is refused as well. */
    ahead[2] = ahead[1];
    ahead[1] = ahead[0];
    ahead[0] = NULL;
    return TORC_OK;
}

void
torci_ahead_of_commit(struct torci_epoch_guard guard, struct torci_write *first, size_t count)
{
    struct torci_write *write = first;

    for (size_t i = 0; i < count && write != NULL; i++, write = torci_write_next(write)) {
        if (write->record == NULL)
            torci_index_prefetch_record(write->keyspace->index, write->order);
    }
    write = first;
    for (size_t i = 0; i < count && write != NULL; i++, write = torci_write_next(write)) {
        if (write->record == NULL)
            write->record = torci_index_find(write->keyspace->index, guard, write->key, write->order);
        if (write->record != NULL)
            __builtin_prefetch(torci_load(&write->record->head, memory_order_relaxed)); /* Relaxed: as above. */
    }
}

/* SPDX-License-Identifier: MIT */
/* stress/history: see the header. Everything belongs to one thread until it is joined. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { OPS_PER_FACT = 4 };

bool
torct_history_init(struct torct_history *history, unsigned thread, uint32_t entry_capacity, uint32_t op_capacity)
{
    memset(history, 0, sizeof(*history));
    history->entries = malloc(entry_capacity * sizeof(*history->entries));
    history->ops = malloc(op_capacity * sizeof(*history->ops));
    history->facts = malloc(op_capacity / OPS_PER_FACT * sizeof(*history->facts));
    if (history->entries == NULL || history->ops == NULL || history->facts == NULL) {
        torct_history_fini(history);
        return false;
    }
    history->entry_capacity = entry_capacity;
    history->op_capacity = op_capacity;
    history->fact_capacity = op_capacity / OPS_PER_FACT;
    history->id_prefix = (uint64_t)(thread + 1) << TORCT_ID_THREAD_SHIFT;
    history->id_first = 1;
    history->id_next = 1;
    return true;
}

void
torct_history_fini(struct torct_history *history)
{
    free(history->entries);
    free(history->ops);
    free(history->facts);
    memset(history, 0, sizeof(*history));
}

void
torct_history_clear(struct torct_history *history)
{
    history->entry_count = 0;
    history->op_count = 0;
    history->fact_count = 0;
    history->id_first = history->id_next;
}

bool
torct_history_fits(const struct torct_history *history, uint32_t entries, uint32_t ops)
{
    return history->entry_capacity - history->entry_count >= entries && history->op_capacity - history->op_count >= ops;
}

uint64_t
torct_history_new_id(struct torct_history *history)
{
    return history->id_prefix | history->id_next++;
}

struct torct_entry *
torct_history_begin(struct torct_history *history)
{
    struct torct_entry *entry = &history->entries[history->entry_count];

    torc_assert(history->entry_count < history->entry_capacity);
    memset(entry, 0, sizeof(*entry));
    entry->first_op = history->op_count;
    entry->conflict_key = TORCT_KEY_NONE;
    history->entry_count++;
    return entry;
}

struct torct_op *
torct_history_add(struct torct_history *history, enum torct_op_kind kind, uint32_t key, uint64_t id)
{
    struct torct_entry *entry = &history->entries[history->entry_count - 1];
    struct torct_op *op = &history->ops[history->op_count];

    torc_assert(history->entry_count > 0 && history->op_count < history->op_capacity);
    torc_assert(entry->first_op + entry->ops == history->op_count);
    *op = (struct torct_op){.id = id, .key = key, .kind = (uint16_t)kind};
    history->op_count++;
    entry->ops++;
    return op;
}

void
torct_history_fact(struct torct_history *history, uint32_t key, uint64_t id, uint64_t before)
{
    if (history->fact_count < history->fact_capacity)
        history->facts[history->fact_count++] = (struct torct_fact){id, before, key};
}

void
torct_history_rollback(struct torct_history *history, uint32_t savepoint)
{
    const struct torct_entry *entry = &history->entries[history->entry_count - 1];
    uint32_t rollback = entry->ops;

    torc_assert(history->entry_count > 0 && savepoint < rollback && rollback <= UINT16_MAX);
    for (uint32_t i = savepoint; i < rollback; i++)
        if (torct_op_writes(&history->ops[entry->first_op + i]))
            history->ops[entry->first_op + i].undone_by = (uint16_t)rollback;
    torct_history_add(history, TORCT_OP_ROLLBACK, TORCT_KEY_NONE, savepoint);
}

bool
torct_history_touched(const struct torct_history *history, const struct torct_entry *entry, uint32_t key,
                      bool writes_only)
{
    const struct torct_op *op = history->ops + entry->first_op;

    for (uint32_t i = 0; i < entry->ops; i++) {
        bool scan = op[i].kind == TORCT_OP_SCAN || op[i].kind == TORCT_OP_SCAN_REVERSE;

        if (op[i].key == key && !scan && (!writes_only || torct_op_writes(&op[i]) || op[i].kind == TORCT_OP_REFUSED))
            return true;
        if (scan && !writes_only && op[i].key <= key && key < op[i].id)
            return true;
    }
    return false;
}

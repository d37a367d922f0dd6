/* SPDX-License-Identifier: MIT */
/* stress/history: see the header. Everything belongs to one thread until it is joined. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

bool
torct_history_init(struct torct_history *history, unsigned thread, uint32_t entry_capacity, uint32_t op_capacity)
{
    memset(history, 0, sizeof(*history));
    history->entries = malloc(entry_capacity * sizeof(*history->entries));
    history->ops = malloc(op_capacity * sizeof(*history->ops));
    if (history->entries == NULL || history->ops == NULL) {
        torct_history_fini(history);
        return false;
    }
    history->entry_capacity = entry_capacity;
    history->op_capacity = op_capacity;
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
    memset(history, 0, sizeof(*history));
}

void
torct_history_clear(struct torct_history *history)
{
    history->entry_count = 0;
    history->op_count = 0;
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
    op->kind = kind;
    op->key = key;
    op->id = id;
    history->op_count++;
    entry->ops++;
    return op;
}

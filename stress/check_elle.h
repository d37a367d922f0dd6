/* SPDX-License-Identifier: MIT */
/* stress/check_elle: a black-box check of isolation that trusts no stamp. Each key holds a list, and a transaction
 * reads lists or appends elements that nobody else appends: so the final list tells the order of all its writes.
 *
 * At once wrong: an element of a transaction that did not commit, half of a transaction's elements, a committed element
 * that is missing or there twice, a list that is no beginning of the final one, one that changes within a transaction.
 * Then dependencies (ww, wr, rw) and real time (what returned before another began stands before it) make a graph:
 * serializability forbids every cycle, snapshot isolation every cycle without two rw edges in a row.
 *
 * Papers  Kingsbury, Alvaro: Elle (2020). Cerone, Gotsman: Analysing snapshot isolation (2016). */
#ifndef TORCT_CHECK_ELLE_H
#define TORCT_CHECK_ELLE_H

#include <stdbool.h>
#include <stdint.h>

#include "history.h"
#include "verdict.h"

/* A read or an append. Elements are ids, as in history. A read keeps no list but its length and digest. */
struct torct_list_op {
    uint64_t element;       /* Appended. */
    uint64_t digest;        /* Of the list read. */
    uint32_t key;
    uint32_t length;        /* Of the list read. */
    bool append;
};

struct torct_list_entry {
    uint64_t begin_called;
    uint64_t commit_returned;
    uint32_t first_op;
    uint32_t ops;
    bool committed;
};

struct torct_list_history {
    struct torct_list_entry *entries;
    struct torct_list_op *ops;
    uint32_t entry_count, entry_capacity;
    uint32_t op_count, op_capacity;
    uint64_t id_prefix;
    uint64_t id_next;       /* From 1. */
};

struct torct_list {
    const uint64_t *elements;
    uint32_t length;
};

struct torct_list_run {
    const struct torct_list_history *histories;
    unsigned threads;
    const struct torct_list *lists;     /* Per key: as it is after the run. */
    uint32_t keys;
    bool serializable;                  /* Else snapshot isolation. */
};

#define TORCT_DIGEST_EMPTY UINT64_C(0)

/* The digest of a list with one element more. */
static inline uint64_t
torct_digest_append(uint64_t digest, uint64_t element)
{
    uint64_t mixed = (digest ^ element) + UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* False: no memory. */
bool torct_list_history_init(struct torct_list_history *history, unsigned thread, uint32_t entry_capacity,
                             uint32_t op_capacity);
void torct_list_history_fini(struct torct_list_history *history);
bool torct_list_history_fits(const struct torct_list_history *history, uint32_t entries, uint32_t ops);
struct torct_list_entry *torct_list_history_begin(struct torct_list_history *history);
void torct_list_history_read(struct torct_list_history *history, uint32_t key, uint32_t length, uint64_t digest);

/* The element to append. */
uint64_t torct_list_history_append(struct torct_list_history *history, uint32_t key);

/* An element that no transaction appends: whoever sees it sees what was taken back. */
uint64_t torct_list_history_discard(struct torct_list_history *history);

/* Check everything and add what is wrong to `verdict`. Ends the process when there is no memory. */
void torct_check_elle(const struct torct_list_run *run, struct torct_verdict *verdict);

#endif

/* SPDX-License-Identifier: MIT */
/* stress/mvcc_lists: list-append. A few slots of lists in two keyspaces; a transaction of 1 to 8 steps reads lists or
 * appends to them. All transactions of a round have the round's isolation. check_elle judges the round by the final
 * lists.
 *
 * Serializable rounds append by merges, too, without a look: at snapshot isolation two of those may be concurrent,
 * which is no snapshot isolation any more. Some elements are appended and taken back at once, by a savepoint: they
 * belong to no transaction, so nobody may ever see them.
 *
 * A list that has grown long is left alone: each thread goes on with the slot's next generation when it meets one. */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "check_elle.h"

enum {
    SLOTS = 8,
    GENERATIONS = 512,
    LISTS = SLOTS * GENERATIONS,
    LIST_LONG = 120,            /* Elements. */
    LIST_MAX = 4096,            /* Past it, nobody appends: the last generation would grow for ever. */
    ENTRIES_MAX = 40000,
    OPS_MAX = 400000,
    STEPS_MAX = 8,
};

static struct torct_list_history *histories;    /* One per thread. */
static struct torc_keyspace *spaces[2];
static unsigned history_count;

struct lister {
    struct torct_worker *worker;
    struct torct_list_history *history;
    uint64_t round;
    uint32_t generation[SLOTS];
    uint64_t *buffer;           /* LIST_MAX + 1 elements. */
};

static struct torc_slice
list_name(char name[STRESS_NAME_MAX], uint64_t round, uint32_t list)
{
    return torc_slice(name, (size_t)snprintf(name, STRESS_NAME_MAX, "l%08" PRIu64 "/%05" PRIu32, round, list));
}

static struct torc_keyspace *
space_of(uint32_t list)
{
    return spaces[list % SLOTS % 2];
}

/* Append an element in a way that must leave no trace. */
static enum torc_status
append_and_undo(struct torc_txn *txn, struct torc_slice key, uint64_t element)
{
    enum torc_status status = torc_txn_savepoint(txn, torc_slice("undo", 4));

    if (status == TORC_OK)
        status = torc_txn_merge(txn, key, &torc_merge_append, torc_slice(&element, sizeof(element)));
    return status == TORC_OK ? torc_txn_rollback_to(txn, torc_slice("undo", 4)) : status;
}

/* Read a list and record it. */
static enum torc_status
read_list(struct lister *lister, struct torc_txn *txn, uint32_t list, struct torc_slice *value)
{
    char name[STRESS_NAME_MAX];
    uint64_t digest = TORCT_DIGEST_EMPTY, element;
    enum torc_status status;

    torct_step(lister->worker, "get list");
    torct_must(torc_txn_use(txn, space_of(list)));
    status = torc_txn_get(txn, list_name(name, lister->round, list), value);
    if (status != TORC_OK && status != TORC_NOT_FOUND) {
        torct_complain(lister->worker, "get returned %s (%s)", torc_status_name(status), torc_detail());
        return status;
    }
    for (size_t at = 0; at + sizeof(element) <= value->size; at += sizeof(element)) {
        memcpy(&element, (const char *)value->data + at, sizeof(element));
        digest = torct_digest_append(digest, element);
    }
    torct_list_history_read(lister->history, list, (uint32_t)(value->size / sizeof(element)), digest);
    lister->worker->reads++;
    if (value->size / sizeof(element) >= LIST_LONG && lister->generation[list % SLOTS] == list / SLOTS
        && list / SLOTS + 1 < GENERATIONS)
        lister->generation[list % SLOTS]++;
    return TORC_OK;
}

static enum torc_status
append(struct lister *lister, struct torc_txn *txn, uint32_t list)
{
    char name[STRESS_NAME_MAX];
    struct torc_slice value;
    enum torc_status status = read_list(lister, txn, list, &value);
    size_t length = value.size / sizeof(uint64_t);

    if (status != TORC_OK || length >= LIST_MAX)
        return status;
    if (length > 0)
        memcpy(lister->buffer, value.data, length * sizeof(uint64_t));
    lister->buffer[length] = torct_list_history_append(lister->history, list);
    torct_step(lister->worker, "put list");
    status = torc_txn_put(txn, list_name(name, lister->round, list),
                          torc_slice(lister->buffer, (length + 1) * sizeof(uint64_t)));
    if (status != TORC_OK && status != TORC_CONFLICT && status != TORC_BUSY)
        torct_complain(lister->worker, "put returned %s (%s)", torc_status_name(status), torc_detail());
    return status;
}

/* Append by a merge: nothing is read. */
static enum torc_status
append_blindly(struct lister *lister, struct torc_txn *txn, uint32_t list)
{
    char name[STRESS_NAME_MAX];
    struct torc_slice key = list_name(name, lister->round, list);
    bool undoes = torci_random_one_in(&lister->worker->random, 4);
    enum torc_status status = TORC_OK;
    uint64_t element;

    torct_step(lister->worker, "merge list");
    torct_must(torc_txn_use(txn, space_of(list)));
    if (undoes)
        status = append_and_undo(txn, key, torct_list_history_discard(lister->history));
    if (status == TORC_OK) {
        element = torct_list_history_append(lister->history, list);
        status = torc_txn_merge(txn, key, &torc_merge_append, torc_slice(&element, sizeof(element)));
    }
    if (status != TORC_OK)
        torct_complain(lister->worker, "merge returned %s (%s)", torc_status_name(status), torc_detail());
    return status;
}

static void
run_lists(struct lister *lister, enum torc_isolation isolation)
{
    struct torct_worker *worker = lister->worker;
    struct torci_random *random = &worker->random;
    struct torc_txn_options options = {.isolation = isolation, .read_only = torci_random_one_in(random, 6)};
    unsigned steps = 1 + (unsigned)torci_random_below(random, STEPS_MAX);
    struct torct_list_entry *entry = torct_list_history_begin(lister->history);
    enum torc_status status;
    struct torc_slice value;
    struct torc_txn *txn;

    torct_step(worker, "begin");
    entry->begin_called = torci_now_ns();
    status = torc_txn_begin(worker->stress->store, &options, &txn);
    if (status != TORC_OK) {
        torct_complain(worker, "begin returned %s (%s)", torc_status_name(status), torc_detail());
        return;
    }
    for (unsigned step = 0; step < steps && status == TORC_OK; step++) {
        uint32_t slot = (uint32_t)torci_random_below(random, SLOTS);
        uint32_t list = lister->generation[slot] * SLOTS + slot;

        if (options.read_only || torci_random_one_in(random, 2))
            status = read_list(lister, txn, list, &value);
        else if (isolation == TORC_SERIALIZABLE && list / SLOTS + 1 < GENERATIONS && torci_random_one_in(random, 2))
            status = append_blindly(lister, txn, list);
        else
            status = append(lister, txn, list);
    }
    torct_step(worker, "commit");
    if (status != TORC_OK || torci_random_one_in(random, 20))
        torc_txn_abort(txn);
    else
        entry->committed = (status = torc_txn_commit(txn)) == TORC_OK;
    entry->commit_returned = torci_now_ns();
    worker->commits += entry->committed;
    worker->conflicts += status != TORC_OK;
    if (status != TORC_OK && status != TORC_CONFLICT && status != TORC_BUSY)
        torct_complain(worker, "a list transaction got %s (%s)", torc_status_name(status), torc_detail());
}

void
torct_lists_prepare(struct torct_stress *stress, const struct torct_workload *workload)
{
    enum torc_status status;

    (void)workload;
    history_count = stress->threads;
    histories = calloc(history_count, sizeof(*histories));
    if (histories == NULL)
        torct_give_up("no memory for %u histories", history_count);
    for (unsigned i = 0; i < history_count; i++)
        if (!torct_list_history_init(&histories[i], i, ENTRIES_MAX, OPS_MAX))
            torct_give_up("no memory for history %u", i);
    spaces[0] = torc_mvcc_default(stress->store);
    status = torc_keyspace_create(stress->store, torc_slice("lists", 5), &spaces[1]);
    if (status != TORC_EXISTS)
        torct_must(status);
}

void
torct_lists_run(struct torct_stress *stress, const struct torct_workload *workload, struct torct_worker *worker)
{
    struct lister lister = {.worker = worker, .history = &histories[worker->number], .round = stress->round};

    lister.buffer = malloc((LIST_MAX + 1) * sizeof(*lister.buffer));
    if (lister.buffer == NULL)
        torct_give_up("no memory for a list");
    while (torct_goes_on(worker, torci_now_ns())) {
        if (!torct_list_history_fits(lister.history, 1, 2 * STEPS_MAX)) {
            torci_store(&stress->stop, true, memory_order_relaxed);     /* A hint; see its declaration. */
            break;
        }
        run_lists(&lister, workload->isolation);
    }
    free(lister.buffer);
}

/* Copy the final lists; they leave the store, which would grow for ever otherwise. */
static void
take_lists(struct torct_stress *stress, struct torct_list lists[LISTS], uint64_t *elements[LISTS])
{
    static uint64_t buffer[LIST_MAX + 1];

    for (uint32_t list = 0; list < LISTS; list++) {
        char name[STRESS_NAME_MAX];
        struct torc_slice key = list_name(name, stress->round, list);
        size_t size;
        enum torc_status status = torc_keyspace_get(space_of(list), key, buffer, sizeof(buffer), &size);

        if (status == TORC_NOT_FOUND)
            continue;
        torct_must(status);
        elements[list] = malloc(size);
        if (elements[list] == NULL)
            torct_give_up("no memory for a list of %zu bytes", size);
        memcpy(elements[list], buffer, size);
        lists[list] = (struct torct_list){elements[list], (uint32_t)(size / sizeof(uint64_t))};
        torct_must(torc_keyspace_delete(space_of(list), key));
    }
}

void
torct_lists_check(struct torct_stress *stress, const struct torct_workload *workload)
{
    static struct torct_list lists[LISTS];
    static uint64_t *elements[LISTS];
    struct torct_list_run run = {.histories = histories, .threads = history_count, .lists = lists, .keys = LISTS,
                                 .serializable = workload->isolation == TORC_SERIALIZABLE};

    take_lists(stress, lists, elements);
    torct_check_elle(&run, &stress->verdict);
    for (uint32_t list = 0; list < LISTS; list++)
        free(elements[list]);
    memset(lists, 0, sizeof(lists));
    memset(elements, 0, sizeof(elements));
    torct_lists_fini();
}

void
torct_lists_fini(void)
{
    for (unsigned i = 0; i < history_count; i++)
        torct_list_history_fini(&histories[i]);
    free(histories);
    histories = NULL;
    history_count = 0;
}

/* SPDX-License-Identifier: MIT */
/* stress/mvcc_lists: list-append. A few slots of lists; a transaction of 1 to 8 steps reads lists or appends to them.
 * All transactions of a round have the round's isolation. check_elle judges the round by the final lists.
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

/* Read a list and record it. */
static enum torc_status
read_list(struct lister *lister, struct torc_txn *txn, uint32_t list, struct torc_slice *value)
{
    char name[STRESS_NAME_MAX];
    uint64_t digest = TORCT_DIGEST_EMPTY, element;
    enum torc_status status;

    torct_step(lister->worker, "get list");
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
    (void)workload;
    history_count = stress->threads;
    histories = calloc(history_count, sizeof(*histories));
    if (histories == NULL)
        torct_give_up("no memory for %u histories", history_count);
    for (unsigned i = 0; i < history_count; i++)
        if (!torct_list_history_init(&histories[i], i, ENTRIES_MAX, OPS_MAX))
            torct_give_up("no memory for history %u", i);
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
        enum torc_status status = torc_mvcc_get(stress->store, key, buffer, sizeof(buffer), &size);

        if (status == TORC_NOT_FOUND)
            continue;
        torct_must(status);
        elements[list] = malloc(size);
        if (elements[list] == NULL)
            torct_give_up("no memory for a list of %zu bytes", size);
        memcpy(elements[list], buffer, size);
        lists[list] = (struct torct_list){elements[list], (uint32_t)(size / sizeof(uint64_t))};
        torct_must(torc_mvcc_delete(stress->store, key));
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

/* SPDX-License-Identifier: MIT */
/* Merges in every interleaving the scheduler can draw: beside one another, a blind put and readers; no operand is lost
 * or applied twice, none conflicts, snapshots stay whole, serializable ones are in some order.
 *
 * Each merge appends a letter of its own, so that a value tells its history. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "mvcc/history_testing.h"

TestSuite(merge_schedules, .timeout = 3000);

enum { FIBERS = 4, SIZE = 16 };

struct world {
    struct torc_mvcc *store;
    struct torct_pool *pool;            /* For runs in which a fiber is frozen. */
    void (*body)(struct world *world, unsigned number);
    bool (*holds)(struct world *world);
    bool done[FIBERS];
};

static struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

/* What a transaction (NULL: a call of its own) reads; "" for nothing. */
static void
value_of(struct world *world, struct torc_txn *txn, const char *key, char value[SIZE])
{
    enum torc_status status;
    struct torc_slice slice;
    size_t size = 0;

    memset(value, 0, SIZE);
    if (txn == NULL) {
        status = torc_mvcc_get(world->store, text(key), value, SIZE - 1, &size);
    } else {
        status = torc_txn_get(txn, text(key), &slice);
        if (status == TORC_OK && slice.size < SIZE)
            memcpy(value, slice.data, slice.size);
    }
    if (status != TORC_OK && status != TORC_NOT_FOUND)
        torci_fail_here("a get failed");
}

static struct torc_txn *
begin(struct world *world, enum torc_isolation isolation, bool read_only)
{
    struct torc_txn_options options = {.isolation = isolation, .read_only = read_only};
    struct torc_txn *txn;

    if (torc_txn_begin(world->store, &options, &txn) != TORC_OK)
        torci_fail_here("no transaction");
    return txn;
}

static void
append(struct torc_txn *txn, const char *key, const char *letter)
{
    if (torc_txn_merge(txn, text(key), &torc_merge_append, text(letter)) != TORC_OK)
        torci_fail_here("a merge was refused");
}

/* ---- Merges beside one another ---- */

/* Of both keys, in one transaction; of one key, in one; of each key, on its own. */
static void
merge_both(struct world *world, unsigned number)
{
    const char letter[2] = {(char)('a' + number), '\0'};
    uint64_t way = torci_fiber_random() % 3;
    struct torc_txn *txn;

    if (way == 0) {
        for (unsigned i = 0; i < 2; i++) {
            if (torc_keyspace_merge(torc_mvcc_default(world->store), text(i == 0 ? "b" : "a"), &torc_merge_append,
                                    text(letter), NULL, 0, NULL) != TORC_OK)
                torci_fail_here("a merge failed");
        }
        return;
    }
    txn = begin(world, torci_fiber_random() % 2 == 0 ? TORC_SNAPSHOT : TORC_SERIALIZABLE, false);
    append(txn, "b", letter);
    if (way == 1) {
        if (torc_txn_commit(txn) != TORC_OK)
            torci_fail_here("a merge of one key conflicted");
        txn = begin(world, TORC_SNAPSHOT, false);
    }
    append(txn, "a", letter);
    if (torc_txn_commit(txn) != TORC_OK)
        torci_fail_here("a merge conflicted");
}

/* Every way writes b first or both at once: what a snapshot has in a, and was not put away, it has in b. */
static void
look(struct world *world)
{
    struct torc_txn *txn = begin(world, TORC_SNAPSHOT, true);
    char a[SIZE];
    char b[SIZE];

    value_of(world, txn, "a", a);
    value_of(world, txn, "b", b);
    torc_txn_abort(txn);
    for (const char *letter = a; *letter != '\0'; letter++) {
        if (*letter != 'P' && strchr(b, *letter) == NULL)
            torci_fail_here("half of a commit was seen");
    }
}

static void
merge_put_or_look(struct world *world, unsigned number)
{
    if (number < 2) {
        merge_both(world, number);
    } else if (number == 2) {
        if (torc_mvcc_put(world->store, text("a"), text("P"), NULL) != TORC_OK)
            torci_fail_here("a put failed");
    } else {
        look(world);
        look(world);
    }
}

static unsigned
occurrences(const char *value, char letter)
{
    unsigned count = 0;

    for (; *value != '\0'; value++)
        count += *value == letter ? 1 : 0;
    return count;
}

static bool
nothing_is_lost(struct world *world)
{
    char a[SIZE];
    char b[SIZE];

    value_of(world, NULL, "a", a);
    value_of(world, NULL, "b", b);
    for (unsigned number = 0; number < 2; number++) {
        char letter = (char)('a' + number);
        unsigned in_a = occurrences(a, letter);
        unsigned in_b = occurrences(b, letter);

        if (in_a > 1 || in_b > 1)
            return false;
        if (world->done[number] && in_b == 0)
            return false;
        /* The put took away what came before it. */
        if (world->done[number] && in_a == 0 && a[0] != 'P')
            return false;
    }
    return !world->done[2] || a[0] == 'P';
}

/* ---- Serializable ---- */

/* Whoever sees nothing of the other writes to what the other reads. */
static void
skew(struct world *world, unsigned number)
{
    struct torc_txn *txn = begin(world, TORC_SERIALIZABLE, number > 1);
    char value[SIZE];

    value_of(world, txn, number % 2 == 0 ? "a" : "b", value);
    if (number > 1)
        value_of(world, txn, number % 2 == 0 ? "b" : "a", value);
    else if (value[0] == '\0')
        append(txn, number == 0 ? "b" : "a", "x");
    (void)!torc_txn_commit(txn);
}

static bool
one_at_most(struct world *world)
{
    char a[SIZE];
    char b[SIZE];

    value_of(world, NULL, "a", a);
    value_of(world, NULL, "b", b);
    return a[0] == '\0' || b[0] == '\0';
}

/* Readers that validate while the merges commit: they may be refused, the merges not. */
static void
merge_or_read(struct world *world, unsigned number)
{
    struct torc_txn *txn = begin(world, TORC_SERIALIZABLE, false);
    char value[SIZE];

    if (number < 2) {
        append(txn, "a", number == 0 ? "0" : "1");
        append(txn, "b", number == 0 ? "0" : "1");
        if (torc_txn_commit(txn) != TORC_OK)
            torci_fail_here("a merge was refused for a reader");
        return;
    }
    value_of(world, txn, "a", value);
    if (torc_txn_put(txn, text(number == 2 ? "c" : "d"), text(value)) != TORC_OK)
        torci_fail_here("a put was refused");
    (void)!torc_txn_commit(txn);
}

static bool
all_are_there(struct world *world)
{
    char a[SIZE];
    char b[SIZE];

    value_of(world, NULL, "a", a);
    value_of(world, NULL, "b", b);
    return strlen(a) == 2 && strcmp(a, b) == 0;
}

/* ---- A record that leaves between two attempts ---- */

static enum torc_status
refuse(void *context, const struct torc_slice *current, struct torc_slice operand, struct torc_merge_output *output)
{
    (void)context;
    (void)current;
    (void)operand;
    (void)output;
    return TORC_MISMATCH;
}

/* One key, absent, whose new record the commit publishes before it has installed: others get in its way there, abort,
 * and the record leaves before the next attempt, with the key in it. */
static void
merge_among_aborted(struct world *world, unsigned number)
{
    static const struct torc_merge_operator refusing = {"refusing", refuse, NULL};
    struct torc_txn *txn;

    if (number == 3) {
        for (unsigned i = 0; i < 3; i++)
            (void)!torc_mvcc_collect(world->store);
        return;
    }
    for (unsigned i = 0; i < (number == 0 ? 1 : 2); i++) {
        txn = begin(world, TORC_SNAPSHOT, false);
        append(txn, "a", "0");
        if (number > 0 && torc_txn_merge(txn, text("b"), &refusing, text("")) != TORC_OK)
            torci_fail_here("a merge was refused too early");
        if (torc_txn_commit(txn) != (number > 0 ? TORC_MISMATCH : TORC_OK))
            torci_fail_here("a merge conflicted");
    }
}

static bool
one_was_merged(struct world *world)
{
    char a[SIZE];

    value_of(world, NULL, "a", a);
    return !world->done[0] || strcmp(a, "0") == 0;
}

/* ---- The frame ---- */

static void
setup(void *context)
{
    struct world *world = context;

    memset(world->done, 0, sizeof world->done);
    world->store = torct_open_in_pool(world->pool);
}

static void
body(void *context, unsigned number)
{
    struct world *world = context;

    world->body(world, number);
    world->done[number] = true;
}

static bool
holds(void *context)
{
    struct world *world = context;

    return world->holds(world);
}

static void
teardown(void *context)
{
    struct world *world = context;

    if (world->pool == NULL && torc_mvcc_close(world->store) != TORC_OK)
        torci_fail_here("the store does not close");
}

static struct torci_run
run_of(struct world *world, uint64_t schedules)
{
    return (struct torci_run){.fibers = FIBERS, .setup = setup, .body = body, .check = holds, .teardown = teardown,
                              .context = world, .seed = torct_seed(), .schedules = torct_schedules(schedules)};
}

static void
check(struct world world, uint64_t schedules)
{
    struct torci_run run = run_of(&world, schedules);
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

Test(merge_schedules, no_operand_is_lost_and_none_conflicts)
{
    check((struct world){.body = merge_put_or_look, .holds = nothing_is_lost}, 40000);
}

Test(merge_schedules, serializable_merges_show_no_write_skew)
{
    check((struct world){.body = skew, .holds = one_at_most}, 40000);
}

Test(merge_schedules, no_reader_refuses_a_merge)
{
    check((struct world){.body = merge_or_read, .holds = all_are_there}, 20000);
}

Test(merge_schedules, a_key_outlives_its_record)
{
    check((struct world){.body = merge_among_aborted, .holds = one_was_merged}, 20000);
}

Test(merge_schedules, a_stopped_merge_stops_nobody)
{
    static struct torct_pool pool;
    struct world world = {.body = merge_put_or_look, .holds = nothing_is_lost, .pool = &pool};
    struct torci_run run = run_of(&world, 10);
    struct torci_run_result result = torci_fiber_run_frozen(&run);

    cr_log_info("%llu schedules, %llu frozen", (unsigned long long)result.schedules,
                (unsigned long long)result.frozen);
    cr_assert_not(result.failed, "%s", result.reason);
}

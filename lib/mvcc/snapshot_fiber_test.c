/* SPDX-License-Identifier: MIT */
/* Announcing, looking and judging, in every interleaving the scheduler can draw: one key whose versions are a row of
 * stamps, readers that hold a snapshot, and collectors that spoil what the view calls dead. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "mvcc/history_testing.h"

TestSuite(snapshot_schedules, .timeout = 3000);

enum { FIBERS = 3, VERSIONS = 4, ACTIONS = 4, NOT_STAMPED = 1 };

enum action { WRITE, READ, COLLECT, ACTIONS_KINDS };

struct world {
    struct torc_mvcc store;                     /* Clock and list of transactions only. */
    struct torc_txn txns[FIBERS];
    bool published[FIBERS];
    enum action actions[FIBERS][ACTIONS];
    _Atomic(uint64_t) stamps[VERSIONS + 1];     /* Oldest first; 0: not there; NOT_STAMPED; a stamp. */
    unsigned payload[VERSIONS + 1];             /* Plain: 1 while it may be read. A race here is a fault too. */
    bool spoiled[VERSIONS + 1];                 /* Of the collecting fiber: only fiber 2 collects. */
};

static struct world world;

static void
setup(void *context)
{
    (void)context;
    memset(&world, 0, sizeof world);
    torci_clock_init(&world.store.clock, TORCI_CLOCK_START);
    torci_init(&world.stamps[0], NOT_STAMPED + 2);
    world.payload[0] = 1;
    (void)torci_clock_write_stamp(&world.store.clock);
    if (torci_fiber_random() % 2 == 0)
        (void)torci_clock_read_stamp(&world.store.clock);
    for (unsigned f = 0; f < FIBERS; f++) {
        world.published[f] = torci_fiber_random() % 2 == 0;
        if (world.published[f])
            torci_slot_publish(&world.txns[f].slot, &world.store);
        for (unsigned i = 0; i < ACTIONS; i++)
            world.actions[f][i] = f == 0                              ? WRITE
                                  : f == 2 && torci_fiber_random() % 4 ? COLLECT
                                                                      : READ;
    }
}

/* The stamp of a version that is there, given to it if it has none. */
static uint64_t
stamp_of(unsigned version)
{
    uint64_t stamp = torci_load(&world.stamps[version], memory_order_seq_cst);

    if (stamp == NOT_STAMPED) {
        uint64_t fresh = torci_clock_write_stamp(&world.store.clock);

        if (torci_cas(&world.stamps[version], &stamp, fresh, memory_order_seq_cst, memory_order_seq_cst))
            return fresh;
    }
    return stamp;
}

static void
write_version(unsigned version)
{
    world.payload[version] = 1;
    torci_store(&world.stamps[version], NOT_STAMPED, memory_order_seq_cst);
    (void)stamp_of(version);
}

static void
read_at_snapshot(struct torci_slot *slot)
{
    uint64_t snapshot = torci_snapshot_begin(slot, &world.store.clock);
    unsigned version = VERSIONS;
    uint64_t stamp;

    for (;; version--) {
        stamp = stamp_of(version);
        if (stamp != 0 && stamp <= snapshot)
            break;
        if (version == 0)
            torci_fail_here("a snapshot sees nothing");
    }
    for (unsigned i = 0; i < 3; i++) {
        if (world.payload[version] != 1)
            torci_fail_here("a version that a snapshot sees was judged dead");
        torci_race_window();
    }
    torci_snapshot_end(slot);
}

static void
spoil(unsigned version)
{
    if (!world.spoiled[version])
        world.payload[version] = 0;
    world.spoiled[version] = true;
}

/* As pruning does: below a version that everybody sees all goes; else what lies between two snapshots. */
static void
collect(void)
{
    struct torci_view view;
    uint64_t newer = 0;
    bool all = false;

    torci_view_refresh(&view, &world.store);
    for (unsigned i = VERSIONS + 1; i-- > 0;) {
        uint64_t stamp = torci_load(&world.stamps[i], memory_order_seq_cst);

        if (stamp <= NOT_STAMPED)
            continue;
        if (all || (newer != 0 && torci_view_dead(&view, stamp, newer)))
            spoil(i);
        else
            newer = stamp;
        all |= stamp <= view.watermark;
    }
}

static void
act(void *context, unsigned number)
{
    struct torci_slot *slot = &world.txns[number].slot;

    (void)context;
    for (unsigned i = 0; i < ACTIONS; i++) {
        if (world.actions[number][i] == WRITE) {
            write_version(i + 1);
            continue;
        }
        if (world.actions[number][i] == COLLECT) {
            collect();
            continue;
        }
        if (!world.published[number])
            torci_slot_publish(slot, &world.store);
        world.published[number] = true;
        read_at_snapshot(slot);
    }
}

/* With nobody left, all but the newest goes. */
static bool
all_goes_at_the_end(void *context)
{
    unsigned left = 0;

    (void)context;
    collect();
    for (unsigned i = 0; i <= VERSIONS; i++)
        left += !world.spoiled[i];
    return left == 1;
}

Test(snapshot_schedules, what_a_snapshot_sees_is_never_judged_dead)
{
    struct torci_run run = {.fibers = FIBERS, .setup = setup, .body = act, .check = all_goes_at_the_end,
                            .seed = torct_seed(), .schedules = torct_schedules(300000)};
    struct torci_run_result result = torci_fiber_run(&run);

    cr_log_info("%llu schedules, up to %llu steps", (unsigned long long)result.schedules,
                (unsigned long long)result.steps);
    cr_assert_not(result.failed, "%s", result.reason);
}

/* ---- Spare structs ----------------------------------------------------------------------------------------------- */

/* Take all, use one of them, give back one by one, as shards that overflow do. */
static void
take_and_give_back(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < ACTIONS; i++) {
        struct torc_txn *txn = torci_spares_take(&world.store);

        while (txn != NULL) {
            struct torc_txn *next = txn->slot.next_spare;

            if (txn->attempts != 0)
                torci_fail_here("a spare struct has two owners");
            txn->attempts = number + 1;
            torci_race_window();
            if (txn->attempts != number + 1)
                torci_fail_here("a spare struct got a second owner");
            txn->attempts = 0;
            torci_spares_push(&world.store, &txn->slot, &txn->slot);
            txn = next;
        }
    }
}

static void
setup_spares(void *context)
{
    setup(context);
    for (unsigned i = 0; i < FIBERS; i++)
        torci_spares_push(&world.store, &world.txns[i].slot, &world.txns[i].slot);
}

static bool
none_is_lost(void *context)
{
    unsigned count = 0;

    (void)context;
    for (struct torc_txn *txn = torci_spares_take(&world.store); txn != NULL; txn = txn->slot.next_spare)
        count++;
    return count == FIBERS;
}

Test(snapshot_schedules, a_spare_struct_belongs_to_one_at_a_time)
{
    struct torci_run run = {.fibers = FIBERS, .setup = setup_spares, .body = take_and_give_back, .check = none_is_lost,
                            .seed = torct_seed(), .schedules = torct_schedules(50000)};
    struct torci_run_result result = torci_fiber_run(&run);

    cr_assert_not(result.failed, "%s", result.reason);
}

/* SPDX-License-Identifier: MIT */
/* Snapshots of the past, and snapshots that are expired while they are read, in every interleaving the scheduler can
 * draw: one key whose versions are a row of stamps, readers, and one collector that spoils what the view calls dead. */
#include <criterion/criterion.h>

#include "mvcc/history_testing.h"

TestSuite(history_schedules, .timeout = 3000);

enum { FIBERS = 3, WRITER = 0, READER = 1, COLLECTOR = 2, VERSIONS = 5, ACTIONS = 5, NOT_STAMPED = 1 };

struct world {
    struct torc_mvcc store;                     /* Clock, history and list of transactions only. */
    struct torc_txn reader;
    uint64_t now_ns;                            /* Of the collector: one more with each look. */
    _Atomic(uint64_t) stamps[VERSIONS + 1];     /* Oldest first; 0: not there; NOT_STAMPED; a stamp. */
    unsigned payload[VERSIONS + 1];             /* Plain: 1 while it may be read. */
    bool spoiled[VERSIONS + 1];                 /* Of the collector. */
};

static struct world world;

static void
setup_with(uint64_t history_ns, uint64_t age_ns)
{
    memset(&world, 0, sizeof world);
    world.store.options.history_ns = history_ns;
    world.store.options.max_snapshot_age_ns = age_ns;
    torci_clock_init(&world.store.clock, TORCI_CLOCK_START);
    torci_history_init(&world.store, 0);
    /* Time is the collector's alone: a look finds the history claimed, and takes the floor as it is. */
    torci_init(&world.store.history.claimed, 1u);
    torci_init(&world.stamps[0], NOT_STAMPED + 2);
    world.payload[0] = 1;
    (void)torci_clock_write_stamp(&world.store.clock);
    torci_slot_publish(&world.reader.slot, &world.store);
}

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
write_all(void)
{
    for (unsigned version = 1; version <= VERSIONS; version++) {
        world.payload[version] = 1;
        torci_store(&world.stamps[version], NOT_STAMPED, memory_order_seq_cst);
        (void)stamp_of(version);
        (void)torci_clock_read_stamp(&world.store.clock); /* So that the next one has a stamp of its own. */
    }
}

/* As pruning does, after time has gone on. */
static void
collect(void)
{
    struct torci_view view;
    uint64_t newer = 0;
    bool all = false;

    torci_store(&world.store.history.claimed, 0u, memory_order_seq_cst);
    torci_history_advance(&world.store, ++world.now_ns);
    torci_store(&world.store.history.claimed, 1u, memory_order_seq_cst);
    torci_view_refresh(&view, &world.store);
    for (unsigned i = VERSIONS + 1; i-- > 0;) {
        uint64_t stamp = torci_load(&world.stamps[i], memory_order_seq_cst);

        if (stamp <= NOT_STAMPED)
            continue;
        if (all || (newer != 0 && torci_view_dead(&view, stamp, newer))) {
            world.payload[i] = 0;
            world.spoiled[i] = true;
        } else {
            newer = stamp;
        }
        all |= stamp <= view.watermark;
    }
}

/* Whether what `snapshot` sees may be read. */
static bool
is_whole(uint64_t snapshot)
{
    unsigned version = VERSIONS;

    for (;; version--) {
        uint64_t stamp = stamp_of(version);

        if (stamp != 0 && stamp <= snapshot)
            return world.payload[version] == 1;
        if (version == 0)
            torci_fail_here("a snapshot sees nothing");
    }
}

/* ---- The past ---- */

static void
setup_past(void *context)
{
    (void)context;
    setup_with(1, 0);
}

static void
read_the_past(void)
{
    struct torci_slot *slot = &world.reader.slot;
    uint64_t now = torci_clock_read_stamp(&world.store.clock);
    uint64_t snapshot = now - 2 * (torci_fiber_random() % (now / 2));

    torci_race_window();
    if (snapshot < NOT_STAMPED + 2 || !torci_snapshot_begin_kept(slot, &world.store, snapshot))
        return;
    for (unsigned i = 0; i < 3; i++) {
        if (!is_whole(snapshot))
            torci_fail_here("a version that the past sees was judged dead");
        torci_race_window();
    }
    torci_snapshot_end(slot);
}

static void
act_past(void *context, unsigned number)
{
    (void)context;
    if (number == WRITER)
        write_all();
    for (unsigned i = 0; number != WRITER && i < ACTIONS; i++)
        number == READER ? read_the_past() : collect();
}

/* Once nothing is kept for anybody, all but the newest goes. */
static bool
all_goes_at_the_end(void *context)
{
    unsigned left = 0;

    (void)context;
    for (unsigned i = 0; i < 4; i++)
        collect();
    for (unsigned i = 0; i <= VERSIONS; i++)
        left += !world.spoiled[i];
    return left == 1;
}

Test(history_schedules, what_a_snapshot_of_the_past_sees_is_never_judged_dead)
{
    struct torci_run run = {.fibers = FIBERS, .setup = setup_past, .body = act_past, .check = all_goes_at_the_end,
                            .seed = torct_seed(), .schedules = torct_schedules(200000)};
    struct torci_run_result result = torci_fiber_run(&run);

    cr_assert_not(result.failed, "%s", result.reason);
}

/* ---- Expiry ---- */

static void
setup_expiry(void *context)
{
    (void)context;
    setup_with(0, 1);   /* Whatever time it is: it began at 0, so it is too old for any look. */
}

static void
read_until_expired(void)
{
    struct torci_slot *slot = &world.reader.slot;
    uint64_t snapshot = torci_snapshot_begin(slot, &world.store.clock);
    bool held = torci_fiber_random() % 2 == 0 && torci_snapshot_hold(slot);

    for (unsigned i = 0; i < 3; i++) {
        bool whole = is_whole(snapshot);

        torci_race_window();
        if (torci_snapshot_expired(slot)) {
            if (held)
                torci_fail_here("a snapshot that is held was expired");
            break;
        }
        if (!whole)
            torci_fail_here("a version that a snapshot sees was judged dead before it was expired");
    }
    torci_snapshot_end(slot);
}

static void
act_expiry(void *context, unsigned number)
{
    (void)context;
    if (number == WRITER)
        write_all();
    for (unsigned i = 0; number != WRITER && i < ACTIONS; i++)
        number == READER ? read_until_expired() : collect();
}

Test(history_schedules, what_was_read_before_a_snapshot_expired_is_whole)
{
    struct torci_run run = {.fibers = FIBERS, .setup = setup_expiry, .body = act_expiry, .check = all_goes_at_the_end,
                            .seed = torct_seed(), .schedules = torct_schedules(200000)};
    struct torci_run_result result = torci_fiber_run(&run);

    cr_assert_not(result.failed, "%s", result.reason);
}

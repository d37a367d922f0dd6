/* SPDX-License-Identifier: MIT */
#include "mvcc/snapshot.h"

#include "mvcc/mvcc_testing.h"

enum {
    SLOTS_MAX = 2 * TORCI_VIEW_SNAPSHOTS_MAX + 20,
    CLOCK = 1000,
};

static struct torct_store store;
static struct torci_view view;
static struct torc_txn *slots[SLOTS_MAX];

static void
create(void)
{
    torct_store_open(&store);
}

static void
destroy(void)
{
    torct_store_close(&store);
}

TestSuite(snapshot, .init = create, .fini = destroy, .timeout = 60);
TestSuite(snapshot_view, .init = create, .fini = destroy, .timeout = 60);
TestSuite(snapshot_spares, .init = create, .fini = destroy, .timeout = 60);

static struct torc_txn *
txn_create(void)
{
    struct torc_txn *txn = torci_alloc_line_zeroed(&store.mvcc->heap, sizeof *txn);

    cr_assert_not_null(txn);
    txn->store = store.mvcc;
    return txn;
}

/* ---- Announcing ---- */

Test(snapshot, announces_the_stamp_it_takes_and_is_free_afterwards)
{
    struct torc_txn *txn = txn_create();
    uint64_t snapshot;

    torci_slot_publish(&txn->slot, store.mvcc);
    cr_expect_eq(torci_load(&txn->slot.announced, memory_order_relaxed), 0u);
    (void)torci_clock_write_stamp(&store.mvcc->clock);
    snapshot = torci_snapshot_begin(&txn->slot, &store.mvcc->clock);
    cr_expect_eq(snapshot, 4u);
    cr_expect_eq(txn->slot.snapshot, snapshot);
    cr_expect_eq(torci_load(&txn->slot.announced, memory_order_relaxed), snapshot << 1);
    torci_snapshot_end(&txn->slot);
    cr_expect_eq(torci_load(&txn->slot.announced, memory_order_relaxed), 0u);
}

#if defined(TORC_ASSERTIONS)
Test(snapshot, does_not_take_a_slot_twice, .signal = SIGABRT)
{
    struct torc_txn *txn = txn_create();

    (void)torci_snapshot_begin(&txn->slot, &store.mvcc->clock);
    (void)torci_snapshot_begin(&txn->slot, &store.mvcc->clock);
}
#endif

/* ---- Views ---- */

/* Announcements made by hand: free, exact, or PENDING. */
static void
announce(unsigned slot, uint64_t stamp, bool pending)
{
    torci_store(&slots[slot]->slot.announced, stamp << 1 | (pending ? 1u : 0u), memory_order_seq_cst);
}

static void
make_slots(unsigned count)
{
    torci_clock_init(&store.mvcc->clock, CLOCK);
    for (unsigned i = 0; i < count; i++) {
        slots[i] = txn_create();
        torci_slot_publish(&slots[i]->slot, store.mvcc);
    }
}

static void
free_slots(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        torci_store(&slots[i]->slot.announced, 0, memory_order_seq_cst);
}

Test(snapshot_view, of_no_snapshot_lets_everything_go_up_to_the_clock)
{
    make_slots(3);
    torci_view_refresh(&view, store.mvcc);
    cr_expect_eq(view.count, 0u);
    cr_expect_eq(view.limit, (uint64_t)CLOCK);
    cr_expect_eq(view.watermark, (uint64_t)CLOCK);
    cr_expect(torci_view_dead(&view, 1, 3));
    cr_expect(torci_view_dead(&view, 1, CLOCK));
    cr_expect_not(torci_view_dead(&view, 1, CLOCK + 1), "a snapshot that begins now may take the clock as it is");
}

Test(snapshot_view, keeps_what_lies_on_an_interval_with_a_snapshot_in_it)
{
    make_slots(3);
    announce(0, 500, false);
    torci_view_refresh(&view, store.mvcc);
    cr_expect_eq(view.watermark, 500u);
    cr_expect(torci_view_dead(&view, 301, 399));
    cr_expect(torci_view_dead(&view, 301, 500), "the snapshot sees the newer one");
    cr_expect_not(torci_view_dead(&view, 301, 501));
    cr_expect_not(torci_view_dead(&view, 499, 501));
    cr_expect_not(torci_view_dead(&view, 500, 501));
    cr_expect(torci_view_dead(&view, 501, 503));
    cr_expect(torci_view_dead(&view, 501, 501), "a tie: the upper one hides it");
    free_slots(3);
}

Test(snapshot_view, takes_a_pending_announcement_for_any_stamp_from_there_upwards)
{
    make_slots(3);
    announce(0, 500, false);
    announce(1, 701, true);
    torci_view_refresh(&view, store.mvcc);
    cr_expect_eq(view.limit, 701u);
    cr_expect(torci_view_dead(&view, 501, 701));
    cr_expect_not(torci_view_dead(&view, 501, 703));
    cr_expect_not(torci_view_dead(&view, 801, 803));
    announce(0, 0, false);
    torci_view_refresh(&view, store.mvcc);
    cr_expect_eq(view.watermark, 701u, "and its watermark is not past it");
    free_slots(3);
}

Test(snapshot_view, counts_equal_snapshots_once)
{
    make_slots(5);
    for (unsigned i = 0; i < 5; i++)
        announce(i, i % 2 == 0 ? 500 : 400, false);
    torci_view_refresh(&view, store.mvcc);
    cr_expect_eq(view.count, 2u);
    cr_expect_eq(view.snapshots[0], 400u);
    cr_expect_eq(view.snapshots[1], 500u);
    free_slots(5);
}

/* Brute force: whether some snapshot that is open, is being taken, or may be taken later lies in [older, newer). */
static bool
some_snapshot_in(unsigned count, uint64_t older, uint64_t newer)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t announced = torci_load(&slots[i]->slot.announced, memory_order_relaxed);
        uint64_t stamp = announced >> 1;

        if (announced == 0)
            continue;
        if (announced & 1 ? newer > stamp : older <= stamp && stamp < newer)
            return true;
    }
    return newer > CLOCK;
}

/* Compare with the oracle. A view that had to leave snapshots out may keep more, never less. */
static void
check_against_oracle(struct torci_random *random, unsigned count)
{
    torci_view_refresh(&view, store.mvcc);
    for (unsigned i = 1; i < view.count; i++)
        cr_assert_lt(view.snapshots[i - 1], view.snapshots[i]);
    for (unsigned i = 0; i < count; i++) {
        uint64_t announced = torci_load(&slots[i]->slot.announced, memory_order_relaxed);

        cr_assert(announced == 0 || view.watermark <= announced >> 1);
    }
    for (unsigned probe = 0; probe < 400; probe++) {
        uint64_t older = 1 + torci_random_below(random, CLOCK + 10);
        uint64_t newer = older + 1 + torci_random_below(random, torci_random_one_in(random, 2) ? 8 : CLOCK);
        bool dead = torci_view_dead(&view, older, newer);
        bool needed = some_snapshot_in(count, older, newer);

        cr_assert_not(dead && needed, "[%ju, %ju) is needed", (uintmax_t)older, (uintmax_t)newer);
        if (view.count < TORCI_VIEW_SNAPSHOTS_MAX || newer <= view.limit)
            cr_assert_eq(dead, !needed, "[%ju, %ju) is kept for nothing", (uintmax_t)older, (uintmax_t)newer);
    }
}

static void
compare_with_brute_force(unsigned open, unsigned rounds)
{
    struct torci_random random = torci_random_seed(torct_seed());

    make_slots(open);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < open; i++) {
            uint64_t stamp = 1 + torci_random_below(&random, CLOCK / 2);

            if (torci_random_one_in(&random, 50))
                announce(i, stamp + CLOCK / 2 - 1, true);
            else if (torci_random_one_in(&random, 10))
                announce(i, 0, false);
            else
                announce(i, 2 * stamp, false);
        }
        check_against_oracle(&random, open);
    }
    free_slots(open);
}

Test(snapshot_view, of_few_is_exact)
{
    compare_with_brute_force(5, 300);
}

Test(snapshot_view, of_many_is_exact)
{
    compare_with_brute_force(100, 50);
}

Test(snapshot_view, of_more_than_fit_never_lets_go_what_is_needed)
{
    compare_with_brute_force(SLOTS_MAX, 50);
}

Test(snapshot_view, of_more_than_fit_keeps_the_oldest_exact)
{
    make_slots(SLOTS_MAX);
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        announce(i, 100 + 2 * ((i * 7) % SLOTS_MAX), false);
    torci_view_refresh(&view, store.mvcc);
    cr_assert_eq(view.count, (unsigned)TORCI_VIEW_SNAPSHOTS_MAX);
    for (unsigned i = 0; i < TORCI_VIEW_SNAPSHOTS_MAX; i++)
        cr_assert_eq(view.snapshots[i], 100 + 2 * i);
    cr_expect_eq(view.watermark, 100u);
    cr_expect_eq(view.limit, 100 + 2 * (uint64_t)TORCI_VIEW_SNAPSHOTS_MAX, "the first one left out");
    cr_expect(torci_view_dead(&view, 101, 102));
    cr_expect_not(torci_view_dead(&view, view.limit - 1, view.limit + 1));
    free_slots(SLOTS_MAX);
}

Test(snapshot_view, stays_true_when_it_is_old)
{
    make_slots(2);
    announce(0, 500, false);
    torci_view_refresh(&view, store.mvcc);
    /* Whatever begins now is at the view's clock or later. */
    announce(1, CLOCK, false);
    cr_expect_not(torci_view_dead(&view, CLOCK - 1, CLOCK + 1));
    cr_expect(torci_view_dead(&view, CLOCK - 3, CLOCK - 1));
    free_slots(2);
}

/* ---- Transaction structs ---- */

enum { GIVERS = 4, OWN = 8, TURNS = 2000 };

static _Atomic(unsigned) published;

static void
publish_some(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (unsigned i = 0; i < 50; i++) {
        torci_slot_publish(&txn_create()->slot, store.mvcc);
        torci_fetch_add(&published, 1, memory_order_relaxed); /* Counter: read after join. */
    }
}

Test(snapshot_spares, no_struct_is_lost_when_several_are_published_at_once)
{
    unsigned found = 0;

    torct_race(GIVERS, publish_some, NULL);
    for (struct torc_txn *txn = torci_load(&store.mvcc->transactions, memory_order_seq_cst); txn != NULL;
         txn = txn->slot.next_all)
        found++;
    cr_expect_eq(found, torci_load(&published, memory_order_relaxed));
}

Test(snapshot_spares, one_take_takes_the_whole_list)
{
    struct torc_txn *first, *second;

    make_slots(2);
    cr_expect_null(torci_spares_take(store.mvcc));
    torci_spares_push(store.mvcc, &slots[0]->slot, &slots[0]->slot);
    torci_spares_push(store.mvcc, &slots[1]->slot, &slots[1]->slot);
    first = torci_spares_take(store.mvcc);
    cr_assert_eq(first, slots[1]);
    second = first->slot.next_spare;
    cr_expect_eq(second, slots[0]);
    cr_expect_null(second->slot.next_spare);
    cr_expect_null(torci_spares_take(store.mvcc));
}

Test(snapshot_spares, a_chain_is_pushed_as_it_is)
{
    make_slots(3);
    torci_spares_push(store.mvcc, &slots[0]->slot, &slots[0]->slot);
    slots[1]->slot.next_spare = slots[2];
    torci_spares_push(store.mvcc, &slots[1]->slot, &slots[2]->slot);
    cr_assert_eq(torci_spares_take(store.mvcc), slots[1]);
    cr_expect_eq(slots[1]->slot.next_spare, slots[2]);
    cr_expect_eq(slots[2]->slot.next_spare, slots[0]);
}

/* `attempts` counts how often a struct was owned: plain, so that two owners at once are a race that shows. */
static void
give_and_take(void *context, unsigned number)
{
    struct torc_txn *mine = NULL;

    (void)context;
    for (unsigned i = 0; i < OWN; i++) {
        slots[number * OWN + i]->slot.next_spare = mine;
        mine = slots[number * OWN + i];
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        struct torc_txn *last = mine;

        if (mine == NULL) {
            mine = torci_spares_take(store.mvcc);
            continue;
        }
        mine->attempts++;
        if (turn % 3 == 0 && mine->slot.next_spare != NULL)
            last = mine->slot.next_spare;
        last->attempts++;
        {
            struct torc_txn *rest = last->slot.next_spare;

            torci_spares_push(store.mvcc, &mine->slot, &last->slot);
            mine = rest;
        }
    }
    while (mine != NULL) {
        struct torc_txn *rest = mine->slot.next_spare;

        torci_spares_push(store.mvcc, &mine->slot, &mine->slot);
        mine = rest;
    }
}

/* Conservation: each struct is there once at the end. */
Test(snapshot_spares, are_neither_lost_nor_doubled_between_threads)
{
    unsigned found = 0;

    make_slots(GIVERS * OWN);
    torct_race(GIVERS, give_and_take, NULL);
    for (struct torc_txn *txn = torci_spares_take(store.mvcc); txn != NULL; txn = txn->slot.next_spare) {
        cr_assert_not(txn->read_only, "a struct stands in the list twice");
        txn->read_only = true;
        found++;
    }
    cr_expect_eq(found, (unsigned)(GIVERS * OWN));
}

/* ---- Looking while others begin and end ---- */

enum { BEGINNERS = 4, BEGINS = 1500 };

/* `held` is a snapshot that is open for sure; `turn` tells one holding from the next of the same stamp. */
static struct {
    _Atomic(uint64_t) held;
    _Atomic(uint64_t) turn;
} holders[BEGINNERS];
static _Atomic(unsigned) beginners_left;
static _Atomic(unsigned) broken;

static void
hold_snapshots(unsigned number)
{
    for (unsigned i = 0; i < BEGINS; i++) {
        uint64_t snapshot = torci_snapshot_begin(&slots[number]->slot, &store.mvcc->clock);

        torci_store(&holders[number].held, snapshot, memory_order_seq_cst);
        (void)torci_clock_write_stamp(&store.mvcc->clock);
        torci_store(&holders[number].held, 0, memory_order_seq_cst);
        torci_fetch_add(&holders[number].turn, 1, memory_order_seq_cst);
        torci_snapshot_end(&slots[number]->slot);
    }
    torci_fetch_sub(&beginners_left, 1, memory_order_seq_cst);
}

static void
look_at_snapshots(void)
{
    struct torci_view look;

    while (torci_load(&beginners_left, memory_order_seq_cst) > 0) {
        uint64_t turn[BEGINNERS], held[BEGINNERS];

        for (unsigned i = 0; i < BEGINNERS; i++) {
            turn[i] = torci_load(&holders[i].turn, memory_order_seq_cst);
            held[i] = torci_load(&holders[i].held, memory_order_seq_cst);
        }
        torci_view_refresh(&look, store.mvcc);
        for (unsigned i = 0; i < BEGINNERS; i++) {
            bool open = held[i] != 0 && torci_load(&holders[i].held, memory_order_seq_cst) == held[i] &&
                        torci_load(&holders[i].turn, memory_order_seq_cst) == turn[i];

            if (open && (look.watermark > held[i] || torci_view_dead(&look, held[i] - 1, held[i] + 1)))
                torci_fetch_add(&broken, 1, memory_order_relaxed); /* Counter: read after join. */
        }
    }
}

static void
hold_or_look(void *context, unsigned number)
{
    (void)context;
    if (number < BEGINNERS)
        hold_snapshots(number);
    else
        look_at_snapshots();
}

/* Oracle: a snapshot that was open during the whole look is in the view. */
Test(snapshot_view, misses_no_snapshot_that_is_open_all_the_while)
{
    make_slots(BEGINNERS);
    torci_clock_init(&store.mvcc->clock, TORCI_CLOCK_START + 2);
    torci_store(&beginners_left, BEGINNERS, memory_order_seq_cst);
    torct_race(BEGINNERS + 2, hold_or_look, NULL);
    cr_expect_eq(torci_load(&broken, memory_order_relaxed), 0u);
}

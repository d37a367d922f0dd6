/* SPDX-License-Identifier: MIT */
/* base/epoch_sim: base/epoch.h for the fiber and explorer builds. Fibers stand for threads; one more fiber stands for
 * the reclaiming thread and runs free_fn as any thread would, switched at its points.
 *
 *   clock            drawn by each section's entry and advanced by each retire
 *   section          `entered`: the clock at entry
 *   pending          retired objects, in the order of their stamps
 *
 * An object of stamp s may be freed when no open section entered before s. A frozen fiber keeps its section for ever,
 * as a stopped thread does. How soon it is freed once it may be is drawn for each schedule: at once, late, or when all
 * fibers have ended. Of several objects that may be freed any can be the next.
 *
 * Indexes are taken as threads take them: the lowest free at first use, left when the body ends. So a fiber that starts
 * late may get the index of one that has ended, which is what adoption is about.
 *
 * In the explorer build sections and grace periods also carry clocks (what the fiber has seen):
 *   E1  an exit passes the fiber's clock on to every stamp that is later than the section's entry, drawn already or not
 *   E2  free_fn, and who calls torci_epoch_passed(), sees those and the clock of the fiber that drew the stamp
 *   E3  an entry sees all stamps whose grace period is known to be over. Whether it also sees those still pending is
 *       drawn: if not, it counts as having entered before them. That is how late a real section's entry may be noticed
 *   E4  an index carries the clock of the fiber that left it to the one that takes it
 *   E5  a barrier sees what the free_fns did
 *
 * Out of fibers, the barrier frees everything and the wait returns at once: no fiber will run again, the frozen ones
 * included. */
#include "base/epoch.h"

#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/explorer.h"
#include "base/fiber.h"

enum {
    INDEXES = TORCI_FIBER_SLOTS,
    CLOCKS_MAX = 512,           /* Stamps with clocks of their own; more share the last one. */
    LATE_PART = 16,             /* In late schedules the reclaimer wakes at one point in so many. */
};

enum eagerness { AT_ONCE, LATE, AT_THE_END, EAGERNESSES };

/* The private words of struct torci_retired. */
struct __attribute__((may_alias)) retirement {
    struct retirement *next;
    void (*free_fn)(struct torci_retired *retired);
    uint64_t drawn;             /* The stamp's place on the clock. */
    struct torci_stamp stamp;   /* Index into `passed`. */
    void *spare;
};
_Static_assert(sizeof(struct retirement) <= sizeof(struct torci_retired), "the private words must hold it");

/* One stamp, or several: when the last was drawn, what will be seen after its grace period (E1, E2), and all that had
 * been seen by who drew it or an earlier one (E3). */
struct passed {
    uint64_t drawn;
    struct torci_clock freeing;
    struct torci_clock retires;
};

struct slot {
    struct torci_thread thread;
    uint64_t entered;           /* Of the open section. */
    uint64_t seen;              /* The clock whose retires this slot has seen (E3). */
};

static struct slot slots[TORCI_FIBER_SLOTS];
static bool index_taken[INDEXES];
static struct torci_clock index_clocks[INDEXES];
static uint32_t bound;

static uint64_t section_clock = 1;
static struct retirement *pending;
static struct retirement *pending_last;
static uint64_t stamp_being_freed;          /* 0: none. */
static uint64_t clocks_used;
static struct passed passed[CLOCKS_MAX];
static struct torci_clock all_exits;        /* E1, for objects retired later. */
static struct torci_clock all_retires;
static struct torci_clock freed_retires;    /* E3. */
static uint64_t freed_stamp;                /* The greatest whose grace period is known to be over. */
static struct torci_clock all_freed;        /* E5. */

static enum eagerness eagerness;
static uint64_t randomness;
static unsigned barriers_waiting;

static uint64_t
draw(void)
{
    randomness ^= randomness << 13;
    randomness ^= randomness >> 7;
    randomness ^= randomness << 17;
    return randomness * UINT64_C(0x2545f4914f6cdd1d) >> 32;
}

/* ---- Threads -------------------------------------------------------------------------------------------------- */

static void
take_index(struct torci_thread *self)
{
    uint32_t index = 0;

    while (index_taken[index])
        index++;
    torc_assert(index < INDEXES);       /* As many as there are slots. */
    index_taken[index] = true;
    if (bound <= index)
        bound = index + 1;
    torci_explorer_acquire(&index_clocks[index]);
    self->index = index;
}

static void
leave_index(uint32_t index)
{
    torc_assert(index < INDEXES && index_taken[index]);
    torci_explorer_release(&index_clocks[index]);
    index_taken[index] = false;
}

struct torci_thread *
torci_self(void)
{
    struct torci_thread *self = &slots[torci_fiber_current()].thread;

    if (!self->registered) {
        take_index(self);
        self->random = draw() | 1;
        self->registered = true;
    }
    return self;
}

uint32_t
torci_thread_index_bound(void)
{
    torci_fiber_point();
    return bound;
}

bool
torci_thread_adopt(uint32_t index)
{
    torc_assert(index < bound);

    torci_fiber_point();
    if (index_taken[index])
        return false;
    index_taken[index] = true;
    torci_explorer_acquire(&index_clocks[index]);
    return true;
}

void
torci_thread_release_adopted(uint32_t index)
{
    torci_fiber_point();
    leave_index(index);
}

void
torci_sim_fiber_ended(unsigned number)
{
    struct torci_thread *self = &slots[number].thread;

    torc_assert(self->nesting == 0);
    if (self->registered)
        leave_index(self->index);
    self->registered = false;
}

/* ---- Sections ------------------------------------------------------------------------------------------------- */

/* E3. Without the explorer every load is the newest, so every entry sees everything. */
static void
enter_slot(struct slot *slot)
{
    torci_explorer_acquire(&freed_retires);
    if (slot->seen < freed_stamp)
        slot->seen = freed_stamp;
#if defined(TORC_ATOMIC_EXPLORER)
    if (draw() % 2 == 0) {
        slot->entered = slot->seen;
        return;
    }
#endif
    torci_explorer_acquire(&all_retires);
    slot->seen = section_clock;
    slot->entered = section_clock;
}

struct torci_epoch_guard
torci_epoch_enter(void)
{
    struct torci_thread *self = torci_self();

    torci_fiber_point();
    if (self->nesting++ == 0)
        enter_slot(&slots[torci_fiber_current()]);
    return (struct torci_epoch_guard){self};
}

void
torci_epoch_exit(struct torci_epoch_guard guard)
{
    struct slot *slot = &slots[torci_fiber_current()];

    torc_assert(guard.thread == &slot->thread && slot->thread.nesting > 0);

    torci_fiber_point();
    if (--slot->thread.nesting > 0)
        return;

    /* E1. */
    torci_explorer_release(&all_exits);
#if defined(TORC_ATOMIC_EXPLORER)
    for (uint64_t clocks = clocks_used; clocks > 0 && passed[clocks - 1].drawn > slot->entered; clocks--)
        torci_explorer_release(&passed[clocks - 1].freeing);
#endif
}

/* ---- Grace periods -------------------------------------------------------------------------------------------- */

/* Returns the stamp's place on the clock, which is later than all before. */
static uint64_t
draw_stamp(struct torci_stamp *stamp)
{
    uint64_t clocks = clocks_used < CLOCKS_MAX ? clocks_used++ : CLOCKS_MAX - 1;

    stamp->private_word = clocks;
    passed[clocks].drawn = ++section_clock;
    torci_explorer_release(&all_retires);
    torci_explorer_release(&passed[clocks].freeing);
    torci_explorer_join(&passed[clocks].freeing, &all_exits);
    torci_explorer_join(&passed[clocks].retires, &all_retires);
    return section_clock;
}

/* Its grace period is over: E3. */
static void
note_passed(const struct torci_stamp *stamp, uint64_t drawn)
{
    torci_explorer_join(&freed_retires, &passed[stamp->private_word].retires);
    if (freed_stamp < drawn)
        freed_stamp = drawn;
}

/* Objects with stamps up to this one may be freed. */
static uint64_t
stamp_reached(void)
{
    uint64_t reached = section_clock;

    for (unsigned number = 0; number < TORCI_FIBER_SLOTS; number++)
        if (slots[number].thread.nesting > 0 && slots[number].entered < reached)
            reached = slots[number].entered;
    return reached;
}

static bool
nothing_up_to(void *stamp)
{
    uint64_t limit = *(uint64_t *)stamp;

    return (pending == NULL || pending->drawn > limit) && (stamp_being_freed == 0 || stamp_being_freed > limit);
}

/* Take one of the objects that may be freed out of `pending`: the first, or with luck a later one. */
static struct retirement *
take_pending(uint64_t reached)
{
    struct retirement **link = &pending;
    struct retirement *before = NULL;

    torc_assert(pending != NULL && pending->drawn <= reached);
    while ((*link)->next != NULL && (*link)->next->drawn <= reached && draw() % 4 == 0) {
        before = *link;
        link = &before->next;
    }

    struct retirement *taken = *link;

    *link = taken->next;
    if (pending_last == taken)
        pending_last = before;
    return taken;
}

static void
free_one(struct retirement *object)
{
    stamp_being_freed = object->drawn;      /* The object itself is gone when free_fn returns. */
    torci_explorer_acquire(&passed[object->stamp.private_word].freeing);
    note_passed(&object->stamp, object->drawn);
    object->free_fn((struct torci_retired *)object);
    torc_assert(torci_self()->nesting == 0);
    torci_explorer_release(&all_freed);
    stamp_being_freed = 0;
}

bool
torci_sim_ready(bool hurry)
{
    if (pending == NULL)
        return false;
    if (!hurry && barriers_waiting == 0) {
        if (eagerness == AT_THE_END || (eagerness == LATE && draw() % LATE_PART != 0))
            return false;
    }
    return pending->drawn <= stamp_reached();
}

/* Sections may have been opened since the reclaimer was found ready, and counted as older ones (E3): look again. */
void
torci_sim_reclaim_one(void)
{
    uint64_t reached = stamp_reached();

    if (pending != NULL && pending->drawn <= reached)
        free_one(take_pending(reached));
}

void
torci_epoch_retire(struct torci_retired *retired, void (*free_fn)(struct torci_retired *retired))
{
    struct retirement *object = (struct retirement *)(void *)retired;

    torc_assert(retired != NULL && free_fn != NULL);

    torci_fiber_point();
    object->next = NULL;
    object->free_fn = free_fn;
    object->drawn = draw_stamp(&object->stamp);

    if (pending == NULL)
        pending = object;
    else
        pending_last->next = object;
    pending_last = object;
    torci_fiber_point();
}

void
torci_epoch_barrier(void)
{
    torc_assert(!torci_epoch_in_section());

    if (torci_fiber_current() == TORCI_FIBER_NONE) {
        while (pending != NULL)
            free_one(take_pending(UINT64_MAX));
        return;
    }

    uint64_t limit = section_clock;

    torc_assert(torci_fiber_current() != TORCI_FIBER_RECLAIMER);
    barriers_waiting++;
    torci_fiber_wait(nothing_up_to, &limit);
    barriers_waiting--;
    torci_explorer_acquire(&all_freed);     /* E5. */
}

void
torci_epoch_stamp(struct torci_stamp *stamp)
{
    torc_assert(stamp != NULL);

    torci_fiber_point();
    (void)draw_stamp(stamp);
    torci_fiber_point();
}

static bool
sections_have_ended(void *drawn)
{
    return stamp_reached() >= *(uint64_t *)drawn;
}

void
torci_epoch_wait(void)
{
    struct torci_stamp stamp;
    uint64_t drawn;

    torc_assert(!torci_epoch_in_section());
    torc_assert(torci_fiber_current() != TORCI_FIBER_RECLAIMER);

    torci_fiber_point();
    drawn = draw_stamp(&stamp);
    /* Sections may have been opened since this fiber was found ready, and counted as older ones (E3): look again. */
    while (torci_fiber_current() != TORCI_FIBER_NONE && !sections_have_ended(&drawn))
        torci_fiber_wait(sections_have_ended, &drawn);
    note_passed(&stamp, drawn);
    torci_fiber_point();
}

void
torci_epoch_passed(const struct torci_stamp *stamp)
{
    torc_assert(stamp->private_word < clocks_used);

    /* Out of fibers a frozen one's section does not count; of stamps that share their clocks only the last is known. */
    if (torci_fiber_current() != TORCI_FIBER_NONE && stamp->private_word < CLOCKS_MAX - 1
        && passed[stamp->private_word].drawn > stamp_reached())
        torci_fail_here("no grace period has passed since the stamp");
    torci_explorer_acquire(&passed[stamp->private_word].freeing);
}

void
torci_sim_begin(uint64_t seed)
{
    memset(slots, 0, sizeof(slots));
    memset(index_taken, 0, sizeof(index_taken));
    memset(index_clocks, 0, sizeof(index_clocks));
    memset(passed, 0, clocks_used * sizeof(passed[0]));
    memset(&all_exits, 0, sizeof(all_exits));
    memset(&all_retires, 0, sizeof(all_retires));
    memset(&freed_retires, 0, sizeof(freed_retires));
    memset(&all_freed, 0, sizeof(all_freed));
    bound = 0;
    pending = NULL;
    pending_last = NULL;
    stamp_being_freed = 0;
    clocks_used = 0;
    freed_stamp = 0;
    section_clock = 1;
    barriers_waiting = 0;
    randomness = seed | 1;
    eagerness = (enum eagerness)(draw() % EAGERNESSES);
}

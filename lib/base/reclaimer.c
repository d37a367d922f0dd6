/* SPDX-License-Identifier: MIT */
/* base/reclaimer: a stack of what was retired, and numbered grace periods.
 *
 *   waiting --> object --> object --> object      newest first, each with `begun` as it was when it was retired
 *
 *   poll   1  n = ++begun; wait for a grace period; ended = max(ended, n)
 *          2  in a section: take the whole stack; what was retired before grace period `ended` began is freed, the
 *             rest is pushed back
 *
 * During the wait everything lies on the stack, where any thread that polls finds it; it is in a thread's hands only
 * inside of a section of that thread. So a grace period also tells when hands are empty again, and the barrier needs
 * no other means: it polls, waits for those who took something before its step 2 to free it or to push it back, frees
 * what was pushed back, and waits for those who were faster with that.
 *
 * Invariants   I1  an object is on the stack, or in the hands of one thread, which is in a section
 *              I2  an object of period p may be freed once a grace period of number > p is over
 *              I3  bytes = sum over all objects whose free_fn has not returned
 *              I4  after some step 2 that followed `ended` = n, no object of a period < n is ever pushed back by a take
 *                  that came later (R4)
 * Ordering     R1 torci_reclaimer_retire(), fetch_add of `begun` -> A1 pass_grace_period(), fetch_add: that the object
 *                 was unreachable before the grace period began
 *              R2 pass_grace_period(), CAS of `ended` -> A2 collect(), load: that the grace period is over
 *              R3 push(), CAS of `waiting` -> A3 collect(), exchange: the objects and their links
 *              R4 collect(), exchange of `waiting` -> A4 the same: the `ended` that was stored before
 *              R5 free_one(), fetch_sub of `bytes` -> A5 torci_reclaimer_barrier(), load of 0: what the free_fns did
 *              Base/epoch passes on what the sections did; a release sequence on `waiting` never ends, for all its
 *              changes are read-modify-writes.
 * Progress     Retire is lock-free: its CAS is retried only when another thread has pushed, or taken all. Poll and
 *              barrier block. The CAS of `ended` is retried only when another grace period was noted.
 * Reclamation  Nobody takes single objects from the stack, so a head seen again is no danger (no ABA). */
#include "base/reclaimer.h"

#include "base/assert.h"

/* The private words of struct torci_retired, seen as what they hold: hence may_alias. */
struct __attribute__((may_alias)) waiting {
    struct waiting *next;       /* Immutable after R3. */
    void (*free_fn)(struct torci_retired *retired);
    struct torci_stamp stamp;
    uint64_t period;            /* Of I2. */
    uint64_t bytes;
};
_Static_assert(sizeof(struct waiting) <= sizeof(struct torci_retired), "the private words must hold it");
_Static_assert(_Alignof(struct waiting) <= _Alignof(struct torci_retired), "the private words must hold it");

/* Push a chain of objects. Linearized at R3. */
static void
push(struct torci_reclaimer *reclaimer, struct waiting *first, struct waiting *last)
{
    /* Relaxed: never dereferenced here; R3 decides. */
    struct torci_retired *head = torci_load(&reclaimer->waiting, memory_order_relaxed);

    do {
        last->next = (struct waiting *)(void *)head;
        torci_race_window();
        /* R3. Relaxed on failure: the head is only stored, not followed. */
    } while (!torci_cas(&reclaimer->waiting, &head, (struct torci_retired *)(void *)first, memory_order_release,
                        memory_order_relaxed));
}

static void
free_one(struct torci_reclaimer *reclaimer, struct waiting *object)
{
    uint64_t bytes = object->bytes;         /* The object itself is gone when free_fn returns. */

    torci_epoch_passed(&object->stamp);
    object->free_fn((struct torci_retired *)object);
    torci_fetch_sub(&reclaimer->bytes, bytes, memory_order_release);        /* R5 */
}

/* Step 1. */
static void
pass_grace_period(struct torci_reclaimer *reclaimer)
{
    uint64_t number = torci_fetch_add(&reclaimer->begun, 1, memory_order_acquire) + 1;      /* A1 */
    uint64_t ended;

    torci_epoch_wait();
    ended = torci_load(&reclaimer->ended, memory_order_relaxed);            /* The CAS below decides. */
    while (ended < number &&
           !torci_cas(&reclaimer->ended, &ended, number, memory_order_release, memory_order_relaxed))   /* R2 */
        ;
}

/* Step 2. */
static void
collect(struct torci_reclaimer *reclaimer)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_retired *all = torci_exchange(&reclaimer->waiting, NULL, memory_order_acq_rel);    /* R4 A3 A4 */
    uint64_t ended = torci_load(&reclaimer->ended, memory_order_acquire);   /* A2 */
    struct waiting *object = (struct waiting *)(void *)all;
    struct waiting *due = NULL, *early = NULL, *early_last = NULL;

    while (object != NULL) {
        struct waiting *next = object->next;

        if (object->period < ended) {       /* I2. The oldest comes to stand first. */
            object->next = due;
            due = object;
        } else {
            if (early == NULL)
                early_last = object;
            object->next = early;
            early = object;
        }
        object = next;
    }
    if (early != NULL)
        push(reclaimer, early, early_last);
    while (due != NULL) {
        struct waiting *next = due->next;

        free_one(reclaimer, due);
        due = next;
    }
    torci_epoch_exit(guard);
}

/* Wait until every thread that is in step 2 now has left it. */
static void
wait_for_hands(void)
{
    struct torci_stamp now;

    torci_epoch_stamp(&now);
    torci_epoch_wait();
    torci_epoch_passed(&now);
}

void
torci_reclaimer_init(struct torci_reclaimer *reclaimer)
{
    torc_assert(reclaimer != NULL);

    torci_init(&reclaimer->waiting, NULL);
    torci_init(&reclaimer->bytes, 0);
    torci_init(&reclaimer->begun, 0);
    torci_init(&reclaimer->ended, 0);
}

void
torci_reclaimer_retire(struct torci_reclaimer *reclaimer, struct torci_retired *retired, size_t bytes,
                       void (*free_fn)(struct torci_retired *retired))
{
    struct waiting *object = (struct waiting *)(void *)retired;

    torc_assert(retired != NULL && bytes > 0 && free_fn != NULL);

    if (reclaimer == NULL) {
        torci_epoch_retire(retired, free_fn);
        return;
    }
    object->free_fn = free_fn;
    object->bytes = bytes;
    torci_epoch_stamp(&object->stamp);
    object->period = torci_fetch_add(&reclaimer->begun, 0, memory_order_release);           /* R1 */
    torci_fetch_add(&reclaimer->bytes, bytes, memory_order_relaxed);    /* Relaxed: whom it concerns sees R3, or R5. */
    push(reclaimer, object, object);
}

uint64_t
torci_reclaimer_poll(struct torci_reclaimer *reclaimer)
{
    torc_assert(!torci_epoch_in_section());

    if (reclaimer == NULL)
        return 0;
    /* Relaxed: what this thread, or one it has heard from, retired is seen; the rest may as well come later. */
    if (torci_load(&reclaimer->waiting, memory_order_relaxed) != NULL) {
        pass_grace_period(reclaimer);
        collect(reclaimer);
    }
    return torci_reclaimer_bytes(reclaimer);
}

/* A5 of `bytes`. By I3 it is not 0 while anything waits that this thread knows of. */
static bool
nothing_waits(const struct torci_reclaimer *reclaimer)
{
    return torci_load(&reclaimer->bytes, memory_order_acquire) == 0;        /* A5 */
}

void
torci_reclaimer_barrier(struct torci_reclaimer *reclaimer)
{
    torc_assert(!torci_epoch_in_section());

    if (reclaimer == NULL) {
        torci_epoch_barrier();
        return;
    }
    if (nothing_waits(reclaimer))
        return;
    pass_grace_period(reclaimer);
    collect(reclaimer);
    if (nothing_waits(reclaimer))
        return;
    /* Somebody who took earlier may push back what is due by now: nobody who takes later will (I4). */
    wait_for_hands();
    collect(reclaimer);
    if (!nothing_waits(reclaimer))
        wait_for_hands();
}

uint64_t
torci_reclaimer_bytes(const struct torci_reclaimer *reclaimer)
{
    return reclaimer == NULL ? 0 : torci_load(&reclaimer->bytes, memory_order_relaxed);     /* Relaxed: a gauge. */
}

/* SPDX-License-Identifier: MIT */
/* tsan/canary: a correct program over base/epoch and base/limbo, and the same with one planted bug. ThreadSanitizer
 * must be quiet about the correct one and report each bug: else an annotation, a suppression or a flag has made it
 * blind.
 *
 *   canary 0          correct
 *   canary 1, 5, 9    an object is used after its reader has left the section (one section in 64)
 *   canary 2, 6, 10   an object is freed without a grace period
 *   canary 3, 7, 11   an object is published and found with relaxed accesses
 *   canary 4, 8, 12   an object is published by an exchange that acquires but does not release
 * 1 to 4 retire each object, 5 to 8 go through a limbo, 9 to 12 through a limbo whose owners poll for grace periods.
 * Runs for a second unless it is stopped by a report. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/epoch.h"
#include "base/limbo.h"
#include "base/testing.h"

enum bug { NONE, USE_AFTER_EXIT, NO_GRACE_PERIOD, RELAXED, ACQUIRE_ONLY, KINDS_OF_BUGS = ACQUIRE_ONLY };

enum { READERS = 6, WRITERS = 2, SECONDS = 1, FREED = 0xdddd, BATCH = 64, USED_LATE_PART = 64 };

struct object {
    struct torci_retired retired;       /* First. */
    uint64_t a;
    uint64_t b;                         /* Equal to a. */
};

static _Alignas(TORCI_CACHE_LINE) struct torci_heap heap;
static _Atomic(struct object *) shared;
static _Atomic(bool) stop;
static _Atomic(uint64_t) reads;         /* Relaxed counter: read after the join. */
static enum bug bug;                    /* Immutable after the start. */
static bool by_limbo;                   /* Immutable after the start, as is the next. */
static bool by_polls;
static struct torci_reclaimer reclaimer;

static void
destroy_object(struct object *object)
{
    object->a = object->b = FREED;
    torci_free(&heap, object, sizeof(*object));
}

static void
free_retired(struct torci_retired *retired)
{
    destroy_object((struct object *)retired);
}

static void
free_from_limbo(void *context, void *object, size_t size, unsigned kind)
{
    (void)context;
    (void)size;
    (void)kind;
    destroy_object(object);
}

static struct object *
create_object(uint64_t value)
{
    struct object *object = torci_alloc(&heap, sizeof(*object));

    if (object == NULL)
        abort();
    object->a = object->b = value;
    return object;
}

/* The order of an access must be a constant: hence the branches. */
static struct object *
find(void)
{
    if (bug == RELAXED)
        return torci_load(&shared, memory_order_relaxed);
    return torci_load(&shared, memory_order_acquire);
}

static struct object *
publish(struct object *object)
{
    if (bug == RELAXED)
        return torci_exchange(&shared, object, memory_order_relaxed);
    if (bug == ACQUIRE_ONLY)
        return torci_exchange(&shared, object, memory_order_acquire);
    return torci_exchange(&shared, object, memory_order_acq_rel);
}

static void
retire(struct torci_limbo *limbo, struct object *object)
{
    if (bug == NO_GRACE_PERIOD) {
        destroy_object(object);
    } else if (!by_limbo) {
        torci_epoch_retire(&object->retired, free_retired);
    } else {
        if (torci_limbo_reserve(limbo, 1) != TORC_OK)
            abort();
        torci_limbo_add(limbo, object, sizeof(*object), 0);
    }
}

static void
read_objects(void)
{
    uint64_t sum = 0, count = 0;

    while (!torci_load(&stop, memory_order_relaxed)) {      /* A flag; nothing depends on it. */
        struct torci_epoch_guard guard = torci_epoch_enter();
        struct object *object = find();

        sum += object->a;
        if (object->a != object->b)
            fprintf(stderr, "canary: torn\n");
        torci_epoch_exit(guard);
        if (bug == USE_AFTER_EXIT && count % USED_LATE_PART == 0)
            sum += object->a;
        count++;
    }
    torci_fetch_add(&reads, count + (sum == 1), memory_order_relaxed);
}

static void
replace_objects(void)
{
    struct torci_limbo *limbo = torci_limbo_create(&heap, by_polls ? &reclaimer : NULL, free_from_limbo, NULL);
    struct timespec pause = {0, 200000};

    if (limbo == NULL)
        abort();
    for (uint64_t value = 1; !torci_load(&stop, memory_order_relaxed); value++) {
        retire(limbo, publish(create_object(value)));
        if (value % BATCH == 0)
            (void)nanosleep(&pause, NULL);      /* So that garbage does not outgrow the reclaiming thread. */
        if (by_polls && value % BATCH == 0)
            (void)torci_reclaimer_poll(&reclaimer);
    }
    torci_reclaimer_barrier(by_polls ? &reclaimer : NULL);
    torci_limbo_destroy(limbo);
}

static void
run(void *context, unsigned number)
{
    struct timespec duration = {SECONDS, 0};

    (void)context;
    if (number < READERS) {
        read_objects();
    } else if (number < READERS + WRITERS) {
        replace_objects();
    } else {
        (void)nanosleep(&duration, NULL);
        torci_store(&stop, true, memory_order_relaxed);
    }
}

int
main(int argc, char **argv)
{
    long number = argc > 1 ? strtol(argv[1], NULL, 10) : 0;

    if (number < 0 || number > 3 * KINDS_OF_BUGS)
        return EXIT_FAILURE;
    by_limbo = number > KINDS_OF_BUGS;
    by_polls = number > 2 * KINDS_OF_BUGS;
    bug = (enum bug)(number == 0 ? 0 : 1 + (number - 1) % KINDS_OF_BUGS);
    torci_reclaimer_init(&reclaimer);

    torci_heap_init(&heap, NULL, 0);
    torci_init(&shared, create_object(0));
    torct_race(READERS + WRITERS + 1, run, NULL);
    torci_epoch_barrier();
    destroy_object(torci_load(&shared, memory_order_relaxed));
    printf("canary: %llu reads, %llu bytes left\n", (unsigned long long)torci_load(&reads, memory_order_relaxed),
           (unsigned long long)torci_heap_bytes(&heap));
    return torci_heap_bytes(&heap) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: MIT */
/* base/parking: see parking.h. */
#include "base/parking.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(TORC_ATOMIC_FIBER) || defined(TORC_ATOMIC_EXPLORER)

#include <stdbool.h>

#include "base/annotate.h"
#include "base/fiber.h"

/* Of each fiber, where it sleeps: a wake that is lost leaves fibers that all wait, which the scheduler tells. */
struct sleeper {
    const void *word;
    uint32_t kinds;
    bool asleep;
};
static struct sleeper sleepers[TORCI_FIBER_SLOTS];

TORCI_THREAD_LOCAL_ONLY
static bool
is_awake(void *argument)
{
    const struct sleeper *sleeper = argument;

    return !sleeper->asleep;
}

TORCI_THREAD_LOCAL_ONLY
static struct sleeper *
fall_asleep(const void *word, uint32_t kinds)
{
    struct sleeper *sleeper = &sleepers[torci_fiber_current()];

    *sleeper = (struct sleeper){word, kinds, true};
    return sleeper;
}

TORCI_THREAD_LOCAL_ONLY
static void
wake(const void *word, unsigned count, uint32_t kinds)
{
    for (unsigned i = 0; i < TORCI_FIBER_SLOTS && count > 0; i++) {
        if (sleepers[i].asleep && sleepers[i].word == word && (sleepers[i].kinds & kinds) != 0) {
            sleepers[i].asleep = false;
            count--;
        }
    }
}

/* What has a limit is over at once. Between the look at the word and falling asleep no other fiber runs. */
void
torci_park(_Atomic(uint32_t) *word, uint32_t value, uint32_t kinds, uint64_t nanoseconds)
{
    if (torci_load(word, memory_order_seq_cst) != value || nanoseconds > 0 ||
        torci_fiber_current() == TORCI_FIBER_NONE)
        return;
    torci_fiber_wait(is_awake, fall_asleep(word, kinds));
}

void
torci_unpark(_Atomic(uint32_t) *word, unsigned count, uint32_t kinds)
{
    torci_race_window();
    wake(word, count, kinds);
}

#else

enum { NS_PER_S = 1000000000 };

void
torci_park(_Atomic(uint32_t) *word, uint32_t value, uint32_t kinds, uint64_t nanoseconds)
{
    struct timespec end;

    if (nanoseconds > 0) {
        /* FUTEX_WAIT_BITSET takes the moment, not the time until then. */
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        nanoseconds += (uint64_t)end.tv_nsec;
        end.tv_sec += (time_t)(nanoseconds / NS_PER_S);
        end.tv_nsec = (long)(nanoseconds % NS_PER_S);
    }
    /* Whatever it returns: the caller looks again. */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value, nanoseconds > 0 ? &end : NULL, NULL,
                  kinds);
}

void
torci_unpark(_Atomic(uint32_t) *word, unsigned count, uint32_t kinds)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, count, NULL, NULL, kinds);
}

#endif

/* SPDX-License-Identifier: MIT */
/* base/noise: see the header. All state is the calling thread's, but for one counter that tells threads apart; no
 * access here orders anything: it must not hide a race from a checker. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE     /* nanosleep() with strict C11. */
#endif
#include "base/noise.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
    MOOD_CALLS = 512,           /* Calls until the mood is drawn again. */
    CALM_PERIOD = 256,          /* One call in so many yields. */
    LIVELY_PERIOD = 16,
    LIVELY_PART = 4,            /* One mood in so many is lively, */
    STARVED_PART = 256,         /* and one in so many is starved. */
    STARVED_SLEEPS = 4,
    STARVED_SLEEP_NS_MAX = 500000,
};

struct noise {
    uint64_t state;             /* 0: not seeded. */
    uint32_t calls_left;        /* Of this mood. */
    uint32_t period;
    uint32_t sleeps_left;
};

static _Thread_local struct noise noise;
static atomic_uint_fast64_t threads_seen;

static uint64_t
next_random(void)
{
    uint64_t state = noise.state;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    noise.state = state;
    return state * UINT64_C(0x2545f4914f6cdd1d) >> 32;
}

static void
seed_from_environment(void)
{
    const char *given = getenv("TORC_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 1;

    /* Relaxed: tells threads apart, no more. */
    uint64_t number = atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed) + 1;
    torci_noise_seed(seed ^ number * UINT64_C(0x9e3779b97f4a7c15));
}

static void
draw_mood(void)
{
    uint64_t draw = next_random();

    noise.calls_left = MOOD_CALLS;
    noise.period = draw % LIVELY_PART == 0 ? LIVELY_PERIOD : CALM_PERIOD;
    if (draw / LIVELY_PART % STARVED_PART == 0)
        noise.sleeps_left = STARVED_SLEEPS;
}

static void
starve(void)
{
    struct timespec pause = {0, (long)(next_random() % STARVED_SLEEP_NS_MAX)};

    noise.sleeps_left--;
    (void)nanosleep(&pause, NULL);      /* Cut short by a signal: as good. */
}

void
torci_noise_seed(uint64_t seed)
{
    noise = (struct noise){.state = seed != 0 ? seed : 1};
}

void
torci_noise(void)
{
    if (noise.calls_left-- == 0 || noise.state == 0) {
        if (noise.state == 0)
            seed_from_environment();
        draw_mood();
    }
    if (next_random() % noise.period != 0)
        return;
    if (noise.sleeps_left > 0)
        starve();
    else
        (void)sched_yield();            /* Never fails on this system. */
}

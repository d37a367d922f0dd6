/* SPDX-License-Identifier: MIT */
/* base/time: clock_gettime() and clock_nanosleep() of the monotonic clock, and the wall's. */
#include "base/time.h"

#include <errno.h>
#include <time.h>

#include "base/assert.h"

static uint64_t
read_clock(clockid_t clock)
{
    struct timespec now;
    int failed = clock_gettime(clock, &now);

    torc_assert(failed == 0);   /* All of them exist on every Linux we run on. */
    (void)failed;
    return (uint64_t)now.tv_sec * TORCI_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t
torci_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t
torci_now_coarse_ns(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

uint64_t
torci_wall_ms(void)
{
    return read_clock(CLOCK_REALTIME_COARSE) / 1000000;
}

void
torci_sleep_ns(uint64_t duration_ns)
{
    uint64_t end_ns = torci_now_ns() + duration_ns;
    struct timespec end = {
        .tv_sec = (time_t)(end_ns / TORCI_NS_PER_SECOND),
        .tv_nsec = (long)(end_ns % TORCI_NS_PER_SECOND),
    };

    /* An absolute end, so that signals do not lengthen the sleep. */
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        continue;
}

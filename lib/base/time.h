/* SPDX-License-Identifier: MIT */
/* base/time: the monotonic clock and a sleep. For durations, deadlines and back-off, never for the order of events. */
#ifndef TORCI_TIME_H
#define TORCI_TIME_H

#include <stdint.h>

#define TORCI_NS_PER_SECOND UINT64_C(1000000000)

/* Nanoseconds since a fixed moment; never goes back. About 25 ns. */
uint64_t torci_now_ns(void);

/* The same clock as of the last timer tick (1 to 10 ms behind). About 6 ns. */
uint64_t torci_now_coarse_ns(void);

/* Milliseconds since 1970, by the system's clock, which may be set; as of the last timer tick. */
uint64_t torci_wall_ms(void);

/* Sleep for at least `duration_ns`, signals or not. */
void torci_sleep_ns(uint64_t duration_ns);

#endif

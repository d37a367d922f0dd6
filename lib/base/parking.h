/* SPDX-License-Identifier: MIT */
/* base/parking: sleeping until a word changes (the futex of the system, hidden). For threads that wait for the disk;
 * the lock-free core never waits. */
#ifndef TORCI_PARKING_H
#define TORCI_PARKING_H

#include <stdint.h>

#include "base/atomic.h"

/* Sleep as long as *word is `value`, `nanoseconds` at most (0: no limit). May return early: look again. `kinds`, not
 * 0, are compared with those of the waking. The look at the word and falling asleep are one step for who wakes after
 * it has changed the word. In fiber and explorer builds fibers sleep, and what has a limit returns at once. */
void torci_park(_Atomic(uint32_t) *word, uint32_t value, uint32_t kinds, uint64_t nanoseconds);

/* Wake at most `count` threads that sleep on `word` with one of `kinds`. */
void torci_unpark(_Atomic(uint32_t) *word, unsigned count, uint32_t kinds);

enum { TORCI_UNPARK_ALL = 0x7fffffff };

#endif

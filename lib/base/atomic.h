/* SPDX-License-Identifier: MIT */
/* base/atomic: the one layer under every shared access of the lock-free core.
 *
 * Four builds, chosen by at most one macro:
 *   (none)                 release   the plain C11 call and nothing else
 *   TORC_ATOMIC_NOISE      noise     a seeded yield or rare short sleep before the call (base/noise.h)
 *   TORC_ATOMIC_FIBER      fiber     a scheduling point of the deterministic scheduler (base/fiber.h) before the call
 *   TORC_ATOMIC_EXPLORER   explorer  a scheduling point too, and loads may return any coherent older store: the code
 *                                    is compiled with -fsanitize=thread, whose calls base/explorer.h answers
 *
 * Objects are `_Atomic` of at most 8 bytes. Orders are always written out. There are no fences: ThreadSanitizer does
 * not see them. */
#ifndef TORCI_ATOMIC_H
#define TORCI_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#define TORCI_CACHE_LINE 64

#if defined(TORC_ATOMIC_NOISE)
void torci_noise(void);
#define torci_point() torci_noise()
#elif defined(TORC_ATOMIC_FIBER) || defined(TORC_ATOMIC_EXPLORER)
void torci_fiber_point(void);
#define torci_point() torci_fiber_point()
#else
#define torci_point() ((void)0)
#endif

/* Interface, the same in each build:
 *   torci_load(p, order)                                    the value
 *   torci_store(p, value, order)
 *   torci_exchange(p, value, order)                         the old value
 *   torci_cas(p, expected_pointer, desired, success, failure)   bool; strong
 *   torci_fetch_add / _sub / _or / _and (p, value, order)   the old value
 *   torci_race_window()                                     between a read and its CAS: a chance to lose the race
 *   torci_init(p, value)                                    first store, before anybody else can see the object */
#define torci_init(p, value) atomic_store_explicit((p), (value), memory_order_relaxed)
#define torci_load(p, order) (torci_point(), atomic_load_explicit((p), (order)))
#define torci_store(p, value, order) (torci_point(), atomic_store_explicit((p), (value), (order)))
#define torci_exchange(p, value, order) (torci_point(), atomic_exchange_explicit((p), (value), (order)))
#define torci_cas(p, expected, desired, success, failure)                                           \
    (torci_point(), atomic_compare_exchange_strong_explicit((p), (expected), (desired), (success), (failure)))
#define torci_fetch_add(p, value, order) (torci_point(), atomic_fetch_add_explicit((p), (value), (order)))
#define torci_fetch_sub(p, value, order) (torci_point(), atomic_fetch_sub_explicit((p), (value), (order)))
#define torci_fetch_or(p, value, order) (torci_point(), atomic_fetch_or_explicit((p), (value), (order)))
#define torci_fetch_and(p, value, order) (torci_point(), atomic_fetch_and_explicit((p), (value), (order)))
#define torci_race_window() torci_point()

#endif

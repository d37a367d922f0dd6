/* SPDX-License-Identifier: MIT */
/* base/explorer: weak memory for the fibers of base/fiber.h (builds with TORC_ATOMIC_EXPLORER).
 *
 * The code under test is compiled with -fsanitize=thread, which turns each access to memory that may be shared into a
 * call, and is linked without the sanitizer: the calls are answered here. Within torci_fiber_run():
 *   an atomic load returns any store that C11 allows it to return, drawn at random, not only the newest
 *   plain accesses that no happens-before orders fail the schedule, as a data race
 * So a missing release or acquire is found on any machine, x86 included. Out of fibers everything is as usual.
 *
 * Not explored: load buffering and stores that overtake later loads of other locations in ways only they allow; fences
 * are understood but not used in this library. The total order of seq_cst accesses is the order in which they run: such
 * a load returns no store older than the newest seq_cst one, and they order nothing else. A location remembers its
 * last 8 stores. memcpy, memmove, memset and memcmp are checked if the program is linked with
 * --wrap for each of them. */
#ifndef TORCI_EXPLORER_H
#define TORCI_EXPLORER_H

#include <stddef.h>
#include <stdint.h>

#include "base/fiber.h"

#if defined(TORC_ATOMIC_EXPLORER)

/* What has been seen of each fiber: a vector clock. All zero: nothing. */
struct torci_clock {
    uint32_t at[TORCI_FIBER_SLOTS];
};

/* The running fiber passes on what it has seen to `clock`; sees what `clock` holds; `to` takes in `from`. */
void torci_explorer_release(struct torci_clock *clock);
void torci_explorer_acquire(const struct torci_clock *clock);
void torci_explorer_join(struct torci_clock *to, const struct torci_clock *from);

/* Memory has been allocated: what is known of these addresses is void. Memory is about to be freed: from here on its
 * use is a race, unless it is ordered before. */
void torci_explorer_allocated(const void *memory, size_t size);
void torci_explorer_freed(const void *memory, size_t size);

/* A schedule begins. Called by the scheduler. */
void torci_explorer_begin(uint64_t seed);

#else

/* Nothing to tell in other builds. */
struct torci_clock {
    char nothing;
};
#define torci_explorer_release(clock) ((void)(clock))
#define torci_explorer_acquire(clock) ((void)(clock))
#define torci_explorer_join(to, from) ((void)(to), (void)(from))
#define torci_explorer_allocated(memory, size) ((void)(memory), (void)(size))
#define torci_explorer_freed(memory, size) ((void)(memory), (void)(size))
#define torci_explorer_begin(seed) ((void)(seed))

#endif

#endif

/* SPDX-License-Identifier: MIT */
/* base/ck: concurrencykit's back-off loop. This file is compiled without instrumentation: CK orders memory by inline
 * assembly, which a race detector cannot see. What is called here touches the caller's memory only. */
#include "base/ck.h"

#include <ck_backoff.h>

#include "base/assert.h"

#if defined(TORC_TINY)
enum { TURNS_MIN = 1, TURNS_MAX = 4 };              /* Losers come back at once: more races. */
#else
enum { TURNS_MIN = 1 << 4, TURNS_MAX = 1 << 13 };   /* About 10 ns to 5 us. */
#endif

struct torci_backoff
torci_backoff_begin(void)
{
    return (struct torci_backoff){TURNS_MIN};
}

void
torci_backoff_pause(struct torci_backoff *backoff)
{
    torc_assert(backoff->turns >= TURNS_MIN && backoff->turns <= TURNS_MAX);

    ck_backoff_eb(&backoff->turns);
    if (backoff->turns > TURNS_MAX)
        backoff->turns = TURNS_MAX;
}

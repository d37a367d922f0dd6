/* SPDX-License-Identifier: MIT */
/* mvcc/history: the floor. See history.h. */
#include "mvcc/history.h"

#include "base/assert.h"

void
torci_history_init(struct torc_mvcc *store, uint64_t now_ns)
{
    struct torci_history *history = &store->history;
    uint64_t now = torci_clock_now(&store->clock);

    torci_init(&history->claimed, 0u);
    history->first = 0;
    history->count = 0;
    if (store->options.history_ns == 0) {
        torci_init(&history->floor, UINT64_MAX);
        return;
    }
    torci_init(&history->floor, now);
    history->samples[0].at_ns = now_ns;
    history->samples[0].stamp = now;
    history->count = 1;
}

/* `claimed` is ours. */
static void
sample(struct torci_history *history, uint64_t history_ns, uint64_t now_ns, uint64_t stamp)
{
    unsigned last = (history->first + history->count - 1) % TORCI_HISTORY_SAMPLES;

    torc_assert(history->count > 0);
    if (history->count < TORCI_HISTORY_SAMPLES &&
        now_ns > history->samples[last].at_ns + history_ns / (TORCI_HISTORY_SAMPLES - 2)) {
        last = (last + 1) % TORCI_HISTORY_SAMPLES;
        history->samples[last].at_ns = now_ns;
        history->samples[last].stamp = stamp;
        history->count++;
    }
    /* The oldest sample is the floor; it goes as soon as the next one is old enough. */
    while (history->count > 1) {
        unsigned next = (history->first + 1) % TORCI_HISTORY_SAMPLES;

        if (history->samples[next].at_ns + history_ns > now_ns)
            break;
        history->first = next;
        history->count--;
    }
}

uint64_t
torci_history_advance(struct torc_mvcc *store, uint64_t now_ns)
{
    struct torci_history *history = &store->history;
    uint64_t history_ns = store->options.history_ns;
    uint32_t free = 0;

    if (history_ns == 0)
        return UINT64_MAX;
    /* A2. Failure: another thread is at it; relaxed, because nothing of it is read then. */
    if (torci_cas(&history->claimed, &free, 1u, memory_order_acquire, memory_order_relaxed)) {
        sample(history, history_ns, now_ns, torci_clock_now(&store->clock));
        torci_store(&history->floor, history->samples[history->first].stamp, memory_order_seq_cst); /* R1 */
        torci_store(&history->claimed, 0u, memory_order_release);                                   /* R2 */
    }
    return torci_history_floor(store);
}

/* SPDX-License-Identifier: MIT */
/* mvcc/upkeep: housekeeping. See upkeep.h. */
#include "mvcc/upkeep.h"

#include "base/limbo.h"
#include "mvcc/expiry.h"
#include "mvcc/keyspace.h"
#include "mvcc/reclaim.h"

enum {
#if defined(TORC_TINY)
    NODES_STEP = 5,         /* Nodes of dropped indexes, and entries of the timing wheel, of one step. */
    ENTRIES_STEP = 2,
    POLL_BUDGET = 16,
#else
    NODES_STEP = 128,       /* With 64 commits to a step, these take about a tenth of the time. */
    ENTRIES_STEP = 64,
    POLL_BUDGET = 4096,     /* Of each kind; some hundred microseconds. */
#endif
};

void
torci_upkeep_step(struct torci_shard *shard, size_t budget)
{
    if (!torci_reclaim_step(shard, budget))
        return;
    (void)torci_expiry_step(shard, ENTRIES_STEP);
    (void)torci_keyspaces_step(shard, NODES_STEP);
}

bool
torci_upkeep_poll(struct torci_shard *shard)
{
    bool more;

    shard->commits_until_view = 0;
    more = torci_expiry_step(shard, POLL_BUDGET);
    (void)torci_reclaim_step(shard, POLL_BUDGET);
    more |= torci_keyspaces_step(shard, POLL_BUDGET);
    return more || torci_reclaim_due(shard) || torci_limbo_bytes(shard->limbo) > 0;
}

bool
torci_upkeep_all(struct torci_shard *shard)
{
    bool again = torci_expiry_step(shard, SIZE_MAX / 2);

    return torci_keyspaces_step(shard, SIZE_MAX) || again;
}

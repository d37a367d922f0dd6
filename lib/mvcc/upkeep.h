/* SPDX-License-Identifier: MIT */
/* mvcc/upkeep: the store's housekeeping, a little with each commit, more with a poll: garbage, dropped keyspaces,
 * values whose time has come. */
#ifndef TORCI_MVCC_UPKEEP_H
#define TORCI_MVCC_UPKEEP_H

#include <stdbool.h>
#include <stddef.h>

#include "mvcc/store.h"

/* After a commit: at most `budget` entries of the garbage queue; now and then, a part of the rest. Outside of a
 * section. */
void torci_upkeep_step(struct torci_shard *shard, size_t budget);

/* The part of a poll; returns whether it would be useful to call again soon. Outside of a section. */
bool torci_upkeep_poll(struct torci_shard *shard);

/* All that can be done of expiry and of dropped keyspaces now. Whether there was anything. Outside of a section. */
bool torci_upkeep_all(struct torci_shard *shard);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/merge: values made of the newest value and operands, at the moment at which they are installed.
 *
 *   base (newest committed) --> operation(operand) --> operation(operand) --> version, put on top of that very base
 *
 * Why no conflict   The result depends on `base` alone, and the CAS that installs it fails if `base` is not the newest
 *                   any more: then it is computed anew. So nothing that another transaction wrote is ever lost, and
 *                   there is nothing to refuse. */
#ifndef TORCI_MVCC_MERGE_H
#define TORCI_MVCC_MERGE_H

#include "mvcc/store.h"
#include "mvcc/write_set.h"

/* A private version with room for a value of `size` bytes that expires then (UINT64_MAX: never), and for `flags`.
 * NULL: no memory. */
struct torci_version *torci_version_reserve(struct torci_shard *shard, size_t size, uint64_t expires, uint32_t flags);

/* The same with the bytes of `value`. */
struct torci_version *torci_version_create(struct torci_shard *shard, struct torc_slice value, uint64_t expires,
                                           uint32_t flags);
struct torci_version *torci_version_copy(struct torci_shard *shard, const struct torci_version *version);
void torci_version_destroy(struct torci_shard *shard, struct torci_version *version);

/* The same for who may have no shard (NULL). */
void torci_version_drop(struct torc_mvcc *store, struct torci_shard *shard, struct torci_version *version);

/* Apply `merges` one after another to the value of `base` (NULL, or not shown at the moment: no value): `*version` is
 * the result, private; it expires as `base` does. Anything else than TORC_OK: of an operation, or TORC_NO_MEMORY,
 * TORC_TOO_LARGE; `*version` is NULL then. */
TORC_MUST_CHECK enum torc_status torci_merge_apply(struct torci_shard *shard, const struct torci_merge *merges,
                                                   const struct torci_version *base, struct torci_moment *moment,
                                                   struct torci_version **version);

#endif

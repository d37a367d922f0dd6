/* SPDX-License-Identifier: MIT */
/* mvcc/record: the layout of a key's record and of its versions, shared by all files of this chapter.
 *
 *   index --> record { hash chain | order | flags | head | key }
 *                                            |
 *                                            v  newest first
 *                                         version { stamp | older | size | flags | bytes } --> older ... --> NULL */
#ifndef TORCI_MVCC_RECORD_H
#define TORCI_MVCC_RECORD_H

#include <stdint.h>

#include <torc/base.h>

#include "base/atomic.h"

struct torci_version {
    _Atomic(uint64_t) stamp;                   /* See mvcc/version.h. */
    _Atomic(struct torci_version *) older;
    uint32_t size;                             /* Of `bytes`. Immutable after publication. */
    uint32_t flags;                            /* Immutable after publication. */
    unsigned char bytes[];
};

enum torci_version_flags {
    TORCI_VERSION_TOMBSTONE = 1u << 0,
};

struct torci_record {
    _Atomic(uintptr_t) chain;                  /* Hash index: next in split order; its low bit marks removal. */
    uint64_t order;                            /* Hash index: the hash, low bit 1. Immutable. */
    _Atomic(struct torci_version *) head;      /* Newest version; NULL: none yet; torci_frozen(): record is leaving. */
    _Atomic(uint32_t) flags;                   /* enum torci_record_flags */
    uint32_t key_size;                         /* Immutable. */
    unsigned char key[];                       /* Immutable. */
};

enum torci_record_flags {
    TORCI_RECORD_ORDERED = 1u << 0,            /* Is in the ordered index (set once, after its insertion there). */
    TORCI_RECORD_PRUNING = 1u << 1,            /* Somebody cuts its chain: a try-lock, nobody waits for it. */
    TORCI_RECORD_QUEUED = 1u << 2,             /* Stands in one thread's garbage queue. */
    TORCI_RECORD_REMOVED = 1u << 3,            /* Out of the index. Of QUEUED's end and this, the later retires it. */
};

/* A frozen head: the record is leaving the index. Never dereferenced. */
static inline struct torci_version *
torci_frozen(void)
{
    return (struct torci_version *)(uintptr_t)1;
}

static inline struct torc_slice
torci_record_key(const struct torci_record *record)
{
    return torc_slice(record->key, record->key_size);
}

/* Bytewise order, the shorter first if one is the other's prefix. */
static inline int
torci_key_compare(struct torc_slice a, struct torc_slice b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;

    if (order != 0)
        return order;
    return (a.size > b.size) - (a.size < b.size);
}

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/record: the layout of a key's record and of its versions, shared by all files of this chapter.
 *
 *   index --> record { hash chain | order | flags | head | key }
 *                                            |
 *                                            v  newest first
 *                                         version { stamp | older | size | flags | bytes } --> older ... --> NULL */
#ifndef TORCI_MVCC_RECORD_H
#define TORCI_MVCC_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/atomic.h"

enum { TORCI_VERSION_SIZE_BITS = 30 };         /* A value of the greatest size, and 8 bytes before it. */

struct torci_version {
    _Atomic(uint64_t) stamp;                   /* See mvcc/version.h. */
    _Atomic(struct torci_version *) older;
    uint32_t size : TORCI_VERSION_SIZE_BITS;   /* Of `bytes`, all of it. Immutable after publication, as is the rest. */
    uint32_t flags : 32 - TORCI_VERSION_SIZE_BITS;
    unsigned char bytes[];                     /* At 20: no padding before it. */
};

enum torci_version_flags {
    TORCI_VERSION_TOMBSTONE = 1u << 0,
    TORCI_VERSION_EXPIRES = 1u << 1,           /* `bytes` begins with the time, 8 bytes; the value follows. */
    TORCI_VERSION_EXPIRED = TORCI_VERSION_TOMBSTONE | TORCI_VERSION_EXPIRES,    /* A tombstone, because of the time;
                                                  `bytes`: the value's stamp. */
};

struct torci_record {
    _Atomic(uintptr_t) chain;                  /* Hash index: next in split order; its low bit marks removal. */
    uint64_t order;                            /* Hash index: the hash, low bit 1. Immutable. */
    _Atomic(struct torci_version *) head;      /* Newest version; NULL: none yet; torci_frozen(): record is leaving. */
    _Atomic(uint32_t) flags;                   /* enum torci_record_flags */
    uint16_t key_size;                         /* Immutable. */
    uint16_t keyspace;                         /* Immutable. Its number; see mvcc/keyspace.h. */
    unsigned char key[];                       /* Immutable. */
};

enum torci_record_flags {
    TORCI_RECORD_ORDERED = 1u << 0,            /* Is in the ordered index (set once, after its insertion there). */
    TORCI_RECORD_PRUNING = 1u << 1,            /* Somebody cuts its chain: a try-lock, nobody waits for it. */
    TORCI_RECORD_QUEUED = 1u << 2,             /* Stands in one thread's garbage queue. */
    TORCI_RECORD_REMOVED = 1u << 3,            /* Out of the index. Who ends the last of what is left retires it. */
    TORCI_RECORD_TIMED = 1u << 8,              /* One entry in the expiry wheel; a count, in the bits from here up. */
    TORCI_RECORD_TIMED_MAX = 4,
};

/* Whoever sets REMOVED, or ends one of these, retires the record if REMOVED is set and none of the others is left. None
 * begins once REMOVED is set. */
#define TORCI_RECORD_HELD (TORCI_RECORD_QUEUED | ~(uint32_t)(TORCI_RECORD_TIMED - 1))

_Static_assert(offsetof(struct torci_version, bytes) == 20, "a value follows its header at once");

/* Before publication. */
static inline void
torci_version_describe(struct torci_version *version, size_t size, uint32_t flags)
{
    version->size = size & ((1u << TORCI_VERSION_SIZE_BITS) - 1);
    version->flags = flags & TORCI_VERSION_EXPIRED;
}

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

/* When a version's value expires, in ms since 1970; UINT64_MAX: never. */
static inline uint64_t
torci_version_expires(const struct torci_version *version)
{
    uint64_t expires;

    if (version->flags != TORCI_VERSION_EXPIRES)
        return UINT64_MAX;
    memcpy(&expires, version->bytes, sizeof expires);
    return expires;
}

/* When what `version`, stamped `stamp`, tells was written: a tombstone for an expired value keeps that value's stamp.
 * So expiring is no write that anybody could conflict with. */
static inline uint64_t
torci_version_written(const struct torci_version *version, uint64_t stamp)
{
    if (version->flags == TORCI_VERSION_EXPIRED)
        memcpy(&stamp, version->bytes, sizeof stamp);
    return stamp;
}

/* Of a version that is no tombstone. Borrowed from it. */
static inline struct torc_slice
torci_version_value(const struct torci_version *version)
{
    size_t prefix = version->flags == TORCI_VERSION_EXPIRES ? sizeof(uint64_t) : 0;

    return torc_slice(version->bytes + prefix, version->size - prefix);
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

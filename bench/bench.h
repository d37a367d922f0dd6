/* SPDX-License-Identifier: MIT */
/* bench/bench.h: what the driver and an engine agree on: keys, values that check themselves, one table of functions.
 *
 * Keys      Key number `id` is 16 bytes: mix64(id) and id, both big-endian. mix64 is a bijection, so keys are distinct,
 *           their order is random, and the id can be read back from a key that a scan returns. An ascending load uses
 *           id in place of mix64(id).
 * Values    tag | generation | random bytes | seal. The tag depends on the key alone, the seal on tag and generation:
 *           a value of another key, a torn value and a short value are all told from a good one by two loads.
 *
 * The driver composes each workload of the few functions of `struct bench_engine`, the same way for every engine.
 * A driver process never starts threads; each engine runs in a process of its own (worker.c). */
#ifndef BENCH_H
#define BENCH_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    BENCH_KEY_SIZE = 16,
    BENCH_VALUE_SIZE_MIN = 24,      /* Tag, generation, seal. */
    BENCH_VALUE_SIZE_MAX = 65536,
    BENCH_CACHE_LINE = 64,
    BENCH_THREADS_MAX = 64
};

/* What a commit that has returned survives. */
enum bench_durability {
    BENCH_IN_MEMORY,                /* Nothing: no files, or files in RAM. */
    BENCH_DURABLE_LATER,            /* Nothing yet: files on a disk, no journal. */
    BENCH_DURABLE_ASYNC,            /* A journal, which nobody waits for. */
    BENCH_DURABLE_SYNC              /* The loss of power: it is on the disk. */
};

/* What an engine is opened for. */
struct bench_spec {
    uint64_t keys;              /* How many will be loaded. */
    uint32_t value_size;
    uint32_t threads_max;
    bool churn;                 /* A long run of updates beside a reader: bound what garbage may take. */
    enum bench_durability durability;   /* The engine's. */
};

enum bench_outcome {
    BENCH_OK,
    BENCH_MISSING,              /* No such key. */
    BENCH_CONFLICT,             /* The transaction is over; try again from its start. */
    BENCH_BUSY,                 /* A limit is reached for now (memory, map size, cache). */
    BENCH_ERROR
};

enum bench_mode { BENCH_READ_ONLY, BENCH_READ_WRITE, BENCH_SERIALIZABLE };

enum {
    BENCH_CAN_TRANSACT = 1,     /* Snapshots of many keys, atomic commits of many keys. */
    BENCH_CAN_SCAN = 2,
    BENCH_CAN_SERIALIZE = 4,    /* BENCH_SERIALIZABLE is something else than BENCH_READ_WRITE. */
    BENCH_CAN_ADD = 8,          /* Increment without read-modify-write by the caller. */
    BENCH_IS_BASELINE = 16,     /* Not a store: left out of "best peer". */
    BENCH_IS_LAZY = 32,         /* Commits do not wait for the disk. */
    BENCH_IS_SYNC = 64,         /* Commits are on the disk when they return. */
    BENCH_CAN_RECOVER = 128,    /* Opens what was closed. */
    BENCH_CAN_REPLAY = 256,     /* Opens what was not closed, from its journal. */
    BENCH_CAN_CHECKPOINT = 512  /* Beside running commits. */
};

struct bench_value {
    const uint8_t *data;
    size_t size;
};

/* Called for each entry of a scan. */
typedef void bench_visit(void *context, const uint8_t *key, size_t key_size, struct bench_value value);

/* The body of a transaction: BENCH_OK to commit. `thread` is the engine's. */
typedef enum bench_outcome bench_body(void *thread, void *context);

/* One engine. Functions that an engine cannot serve are NULL. `store` and `thread` are the engine's own. */
struct bench_engine {
    const char *name;
    const char *version;
    const char *settings;       /* One line for the report: isolation, durability, sizes. */
    unsigned abilities;
    enum bench_durability durability;

    /* With BENCH_IN_MEMORY an empty store, of which close leaves nothing; else what is in `directory`, which stays. */
    void *(*open)(const char *directory, const struct bench_spec *spec);       /* NULL: says why on stderr. */
    void (*close)(void *store);
    void *(*thread_begin)(void *store);
    void (*thread_end)(void *thread);

    /* One key, one step. get copies into `buffer` (of value_size bytes); put inserts or overwrites blindly. */
    enum bench_outcome (*get)(void *thread, const uint8_t *key, uint8_t *buffer, size_t capacity, size_t *size);
    enum bench_outcome (*put)(void *thread, const uint8_t *key, struct bench_value value);
    enum bench_outcome (*add)(void *thread, const uint8_t *key, uint64_t delta);

    /* One transaction at a time per thread. After BENCH_CONFLICT, BENCH_BUSY or BENCH_ERROR from read, write or
     * commit the
     * driver calls abort (harmless after commit). `*value` may be borrowed until the next call on this thread. */
    enum bench_outcome (*begin)(void *thread, enum bench_mode mode);
    enum bench_outcome (*read)(void *thread, const uint8_t *key, struct bench_value *value);
    enum bench_outcome (*write)(void *thread, const uint8_t *key, struct bench_value value);
    enum bench_outcome (*commit)(void *thread);
    void (*abort)(void *thread);

    /* The engine's own way to run a body until it commits; NULL: the driver's loop. */
    enum bench_outcome (*run)(void *thread, enum bench_mode mode, bench_body *body, void *context);

    /* Visit up to `limit` entries from `from` (NULL: the first key) in key order, in a snapshot of its own. Returns how
     * many, UINT64_MAX on failure. */
    uint64_t (*scan)(void *thread, const uint8_t *from, uint64_t limit, bench_visit *visit, void *context);

    uint64_t (*memory_bytes)(void *store);      /* By its own accounting; NULL: it has none. */
    void (*settle)(void *store);                /* Finish deferred frees; NULL: nothing to do. */

    /* Of durable engines; each may be NULL. Whether it was done. */
    bool (*sync)(void *store);                  /* All that was committed is on the disk afterwards. */
    bool (*checkpoint)(void *store);            /* From here on the journal before it is not needed. */
    uint64_t (*syncs)(void *store);             /* Syncs of the journal so far. */
};

/* Engines that were compiled in, in report order; torc first. */
extern const struct bench_engine *const bench_engines[];
extern const unsigned bench_engine_count;

/* The same with their files on a disk, each in the ways it can be durable. */
extern const struct bench_engine *const bench_durable_engines[];
extern const unsigned bench_durable_engine_count;

/* ---- Keys and values ----------------------------------------------------------------------------------------- */

static inline uint64_t
bench_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    x ^= x >> 31;
    return x;
}

static inline void
bench_store64(uint8_t *bytes, uint64_t word)
{
    memcpy(bytes, &word, sizeof word);
}

static inline uint64_t
bench_load64(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline void
bench_key(uint8_t *key, uint64_t id)
{
    bench_store64(key, htobe64(bench_mix64(id + 1)));
    bench_store64(key + 8, htobe64(id));
}

static inline void
bench_key_ascending(uint8_t *key, uint64_t id)
{
    bench_store64(key, htobe64(id));
    bench_store64(key + 8, htobe64(id));
}

static inline uint64_t
bench_key_id(const uint8_t *key)
{
    return be64toh(bench_load64(key + 8));
}

static inline uint64_t
bench_tag(uint64_t id)
{
    return bench_mix64(id ^ 0x7463726f74u) | 1u;
}

static inline uint64_t
bench_seal(uint64_t tag, uint64_t generation)
{
    return (tag ^ generation) * 0x9e3779b97f4a7c15u;
}

/* Make a value for key `id` of `size` bytes: `noise` are size random bytes. */
static inline void
bench_value_fill(uint8_t *value, size_t size, uint64_t id, uint64_t generation, const uint8_t *noise)
{
    uint64_t tag = bench_tag(id);

    memcpy(value, noise, size);
    bench_store64(value, tag);
    bench_store64(value + 8, generation);
    bench_store64(value + size - 8, bench_seal(tag, generation));
}

/* Whether `value` is a whole value of key `id`. */
static inline bool
bench_value_good(struct bench_value value, size_t size, uint64_t id)
{
    uint64_t tag = bench_tag(id);

    return value.size == size && bench_load64(value.data) == tag &&
           bench_load64(value.data + size - 8) == bench_seal(tag, bench_load64(value.data + 8));
}

#endif

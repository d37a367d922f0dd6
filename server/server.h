/* SPDX-License-Identifier: MIT */
/* server/server.h: what all clients share (struct torcd_server), and what the clients of one thread share (struct
 * torcd_worker). Nothing here knows sockets or event loops.
 *
 * Ordering  All atomics of the server are counters, settings and flags that publish no other memory: relaxed
 *           throughout. Whatever else threads share stands under a mutex, or is immutable after
 *           torcd_server_create(). */
#ifndef TORCD_SERVER_H
#define TORCD_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include <torc/mvcc.h>

#include "cursors.h"
#include "mailbox.h"
#include "memory.h"
#include "options.h"

#define TORCD_COMMANDS_MAX 192u         /* Commands and subcommands that the table may hold. */
#define TORCD_COMMAND_SLOTS 512u        /* Of the hash table over them: a power of two, mostly empty. */
#define TORCD_LATENCY_BUCKETS 26u       /* Bucket i counts latencies up to 2^(i+9) ns: 512 ns to 8.6 s, then all. */
#define TORCD_REDIS_VERSION "7.0.15"    /* The version whose behaviour torcd shows; clients choose by it. */

struct torcd_command;
struct torcd_databases;
struct torcd_diagnostics;
struct torcd_map_change;
struct torcd_pubsub;
struct torcd_session;
struct torcd_worker;

/* What the commands ask of the thing that drives them. */
struct torcd_callbacks {
    void (*shut_down)(void *context);                       /* End the server soon, cleanly. Any thread. */
    void (*wake)(void *context, unsigned worker);           /* Have that worker look at its sessions. Any thread. */
    void *context;
    uint64_t (*now_ms)(void *context);                      /* The store's clock. Any thread. NULL: the system's. */
    void (*watch)(void *context);                           /* A worker awaits what becomes durable, and is to be told
                                                             * (see `awaits`). Any thread. NULL: it looks itself. */
};

/* Written by the worker's thread only (a plain add, no read-modify-write), read by any. CONFIG RESETSTAT takes a copy
 * as the new zero instead of clearing them, which only their writer could do. */
struct torcd_counters {
    atomic_uint_fast64_t commands;
    atomic_uint_fast64_t errors;
    atomic_uint_fast64_t bytes_in;
    atomic_uint_fast64_t bytes_out;
    atomic_uint_fast64_t hits;
    atomic_uint_fast64_t misses;
    atomic_uint_fast64_t protocol_errors;
    atomic_uint_fast64_t clients_dropped;                   /* By a time or output limit. */
    atomic_uint_fast64_t turns_cut;                         /* Pipelines that had to yield to other clients. */
    atomic_uint_fast64_t calls[TORCD_COMMANDS_MAX];
    atomic_uint_fast64_t nanoseconds[TORCD_COMMANDS_MAX];
    atomic_uint_fast64_t latency[TORCD_LATENCY_BUCKETS];
};

struct torcd_server {
    struct torc_mvcc *store;
    struct torcd_cursors *cursors;
    struct torcd_databases *databases;
    struct torcd_pubsub *pubsub;
    struct torcd_diagnostics *diagnostics;
    struct torcd_callbacks callbacks;
    const struct torcd_command *commands[TORCD_COMMAND_SLOTS];
    struct torcd_worker **workers;
    unsigned workers_count;
    struct torcd_counters zero;                             /* What CONFIG RESETSTAT counts from. */
    bool journaled;                                         /* There is something to wait for. */
    bool holds_replies;                                     /* No reply leaves before its commits are durable. */
    enum torc_durability durability;
    char directory[4096];                                   /* Absolute; "": in memory only. */
    uint64_t started_ms;
    atomic_uint_fast64_t saves_seen;                        /* Checkpoints, as the main thread saw them last; */
    atomic_uint_fast64_t saved_commits;                     /* the store's commits then. */
    atomic_bool save_at_end;                                /* SHUTDOWN SAVE. */
    char run_id[41];
    char binds[256];                                        /* As CONFIG GET bind tells it. */
    uint64_t started_ns;
    atomic_uint_fast64_t settings[TORCD_SETTINGS];
    atomic_uint notifications;                              /* notify-keyspace-events: see effects.h. */
    atomic_uint monitors;                                   /* Sessions in MONITOR. */
    atomic_bool has_password;
    pthread_mutex_t mutex;                                  /* Guards `password`. */
    char password[TORCD_PASSWORD_MAX + 1];
    atomic_uint_fast64_t clients;                           /* Connected now. */
    atomic_uint_fast64_t clients_accepted;
    atomic_uint_fast64_t clients_refused;                   /* By maxclients. */
    atomic_uint_fast64_t next_client;
    atomic_uint_fast64_t collected_ns;                      /* When a full store was last asked to free what it can. */
};

struct torcd_worker {
    struct torcd_server *server;
    unsigned number;
    unsigned databases;
    struct torcd_counters counters;
    /* Of the transaction that runs now, by database. Worker's thread only. */
    struct torc_keyspace **map;         /* Its keyspace; NULL: not looked up yet. */
    int64_t *delta;                     /* Keys added less removed. */
    struct torcd_map_change *map_changes;
    uint64_t random;                    /* State of RANDOMKEY's numbers. */
    uint64_t now_ns;                    /* When the last command ended, or the turn began. */
    struct torcd_buffer effects;        /* What is made known when the request has happened: effects.h. */
    size_t header_guess;                /* Length of the last `$length` line: most replies look like the last one. */
    char key[TORC_KEY_SIZE_MAX + 1];    /* Store keys are built here. Worker's thread only. */
    char bound[TORC_KEY_SIZE_MAX + 1];
    struct torcd_mailbox mailbox;       /* From any thread. */
    atomic_bool awaits;                 /* Clients wait until something is durable: connection.c. */
    pthread_mutex_t mutex;              /* Guards `sessions` and their names: CLIENT LIST comes from other threads. */
    struct torcd_session *sessions;
};

/* Add to a counter that only the calling thread writes. */
static inline void
torcd_count(atomic_uint_fast64_t *counter, uint64_t amount)
{
    /* Relaxed: a counter with one writer, approximate for readers. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount, memory_order_relaxed);
}

static inline uint64_t
torcd_setting(const struct torcd_server *server, enum torcd_setting setting)
{
    /* Relaxed: a limit; whoever reads it a little late obeys the old one. */
    return atomic_load_explicit(&server->settings[setting], memory_order_relaxed);
}

uint64_t torcd_now_ns(void);

/* Milliseconds since 1970: the clock by which keys expire. */
uint64_t torcd_now_ms(const struct torcd_server *server);

static inline bool
torcd_server_has_password(const struct torcd_server *server)
{
    /* Relaxed: a setting; the password itself is read under the mutex. */
    return atomic_load_explicit(&server->has_password, memory_order_relaxed);
}

/* Set the password, an empty one: none is needed. False: it is too long. */
bool torcd_server_set_password(struct torcd_server *server, struct torc_slice password);

/* Whether this is the password; true for any if none is needed. Its time does not tell how much of it is right. */
bool torcd_server_is_password(struct torcd_server *server, struct torc_slice password);

/* Copy the password, terminated. */
void torcd_server_get_password(struct torcd_server *server, char password[TORCD_PASSWORD_MAX + 1]);

/* A server over `store` (borrowed) with workers_count workers, or NULL when there is no memory. */
struct torcd_server *
torcd_server_create(struct torc_mvcc *store, const struct torcd_options *options, unsigned workers_count,
                    const struct torcd_callbacks *callbacks);

/* All sessions must be gone. NULL is accepted. */
void torcd_server_destroy(struct torcd_server *server);

/* Keys of a database: exact when no write runs; those that have expired and are not gone yet count. Any thread. */
uint64_t torcd_server_keys(const struct torcd_server *server, unsigned database);

/* The sum over all workers of the counter at this offset in struct torcd_counters; the second one, since RESETSTAT. */
uint64_t torcd_server_sum(const struct torcd_server *server, size_t counter_offset);
uint64_t torcd_server_sum_since_reset(const struct torcd_server *server, size_t counter_offset);

/* Note how many commits there were when the last checkpoint was written. The main thread, now and then. */
void torcd_server_note_saves(struct torcd_server *server);

/* Much was deleted: the next write that a full store refuses may ask it to free what it can, however recently another
 * one did. Any thread. */
static inline void
torcd_server_expect_room(struct torcd_server *server)
{
    /* Relaxed: it only chooses who collects. */
    atomic_store_explicit(&server->collected_ns, 0, memory_order_relaxed);
}

/* Let torcd_server_sum_since_reset() begin at 0 again. */
void torcd_server_reset_counters(struct torcd_server *server);

/* Note that a command took `ns`. */
void torcd_worker_latency(struct torcd_worker *worker, uint64_t ns);

#endif

/* SPDX-License-Identifier: MIT */
/* server/server.c: the shared state of torcd. */
#define _GNU_SOURCE
#include "server.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "commands.h"
#include "databases.h"
#include "diagnostics.h"
#include "pubsub.h"

_Static_assert(sizeof ((struct torcd_server *)0)->directory >= PATH_MAX, "realpath() writes there");

/* Scans that may be under way at once, two entries each, and the keys they may hold. */
#define CURSORS 16384u
#define CURSOR_BYTES_MAX (32u * 1024u * 1024u)

uint64_t
torcd_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t
torcd_now_ms(const struct torcd_server *server)
{
    const struct torcd_callbacks *callbacks = &server->callbacks;
    struct timespec now;

    if (callbacks->now_ms != NULL)
        return callbacks->now_ms(callbacks->context);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
worker_destroy(struct torcd_worker *worker)
{
    if (worker == NULL)
        return;
    assert(worker->sessions == NULL);
    (void)pthread_mutex_destroy(&worker->mutex);
    torcd_buffer_fini(&worker->effects);
    torcd_release(worker->map);
    torcd_release(worker->delta);
    torcd_release(worker);
}

static struct torcd_worker *
worker_create(struct torcd_server *server, unsigned number, unsigned databases)
{
    struct torcd_worker *worker = torcd_allocate(1, sizeof *worker);

    if (worker == NULL)
        return NULL;
    if (pthread_mutex_init(&worker->mutex, NULL) != 0) {
        torcd_release(worker);
        return NULL;
    }
    worker->server = server;
    worker->number = number;
    worker->databases = databases;
    worker->header_guess = 4;
    worker->random = torcd_now_ns() ^ number;
    worker->map = torcd_allocate(databases, sizeof(struct torc_keyspace *));
    worker->delta = torcd_allocate(databases, sizeof *worker->delta);
    if (worker->map == NULL || worker->delta == NULL) {
        worker_destroy(worker);
        return NULL;
    }
    return worker;
}

static void
draw_run_id(struct torcd_server *server)
{
    unsigned char bytes[20];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        memset(bytes, 0, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(server->run_id + 2 * i, 3, "%02x", bytes[i]);
}

static void
note_directory(struct torcd_server *server, const struct torcd_options *options)
{
    if (options->directory == NULL)
        return;
    if (realpath(options->directory, server->directory) == NULL)
        (void)snprintf(server->directory, sizeof server->directory, "%s", options->directory);
    server->durability = options->durability;
    server->journaled = options->durability != TORC_DURABILITY_NONE;
    server->holds_replies = options->durability == TORC_DURABILITY_SYNC;
}

struct torcd_server *
torcd_server_create(struct torc_mvcc *store, const struct torcd_options *options, unsigned workers_count,
                    const struct torcd_callbacks *callbacks)
{
    assert(store != NULL && workers_count > 0);
    struct torcd_server *server = torcd_allocate(1, sizeof *server);

    if (server == NULL)
        return NULL;
    if (pthread_mutex_init(&server->mutex, NULL) != 0) {
        torcd_release(server);
        return NULL;
    }
    server->store = store;
    server->callbacks = *callbacks;
    server->started_ns = torcd_now_ns();
    server->started_ms = torcd_now_ms(server);
    note_directory(server, options);
    /* Relaxed: no other thread knows the server yet. */
    for (unsigned i = 0; i < TORCD_SETTINGS; i++)
        atomic_store_explicit(&server->settings[i], options->values[i], memory_order_relaxed);
    draw_run_id(server);
    torcd_commands_index(server);
    server->cursors = torcd_cursors_create(CURSORS, CURSOR_BYTES_MAX);
    server->workers = torcd_allocate(workers_count, sizeof *server->workers);
    server->pubsub = torcd_pubsub_create(workers_count);
    server->diagnostics = torcd_diagnostics_create();
    server->databases = torcd_databases_open(store, (unsigned)options->values[TORCD_DATABASES]);
    if (server->cursors == NULL || server->workers == NULL || server->pubsub == NULL || server->diagnostics == NULL
        || server->databases == NULL)
        goto destroy;
    if (options->password != NULL && !torcd_server_set_password(server, torc_slice_from_string(options->password)))
        goto destroy;
    for (; server->workers_count < workers_count; server->workers_count++) {
        unsigned number = server->workers_count;
        server->workers[number] = worker_create(server, number, (unsigned)options->values[TORCD_DATABASES]);
        if (server->workers[number] == NULL)
            goto destroy;
    }
    return server;

destroy:
    torcd_server_destroy(server);
    return NULL;
}

void
torcd_server_destroy(struct torcd_server *server)
{
    if (server == NULL)
        return;
    /* What was posted last gives its memory back; it has nobody to reach. */
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < server->workers_count; i++)
            any = torcd_worker_run_messages(server->workers[i]) || any;
    }
    for (unsigned i = 0; i < server->workers_count; i++)
        worker_destroy(server->workers[i]);
    torcd_release(server->workers);
    torcd_databases_destroy(server->databases);
    torcd_pubsub_destroy(server->pubsub);
    torcd_diagnostics_destroy(server->diagnostics);
    (void)pthread_mutex_destroy(&server->mutex);
    torcd_cursors_destroy(server->cursors);
    torcd_release(server);
}

bool
torcd_server_set_password(struct torcd_server *server, struct torc_slice password)
{
    if (password.size > TORCD_PASSWORD_MAX)
        return false;
    (void)pthread_mutex_lock(&server->mutex);
    memset(server->password, 0, sizeof server->password);
    if (password.size > 0)
        memcpy(server->password, password.data, password.size);
    (void)pthread_mutex_unlock(&server->mutex);
    /* Relaxed: see torcd_server_has_password(). */
    atomic_store_explicit(&server->has_password, password.size > 0, memory_order_relaxed);
    return true;
}

bool
torcd_server_is_password(struct torcd_server *server, struct torc_slice password)
{
    char given[TORCD_PASSWORD_MAX + 1] = {0};
    unsigned char difference = password.size > TORCD_PASSWORD_MAX;

    if (!torcd_server_has_password(server))
        return true;
    if (password.size > 0 && difference == 0)
        memcpy(given, password.data, password.size);
    (void)pthread_mutex_lock(&server->mutex);
    for (size_t i = 0; i < sizeof given; i++)
        difference |= (unsigned char)(given[i] ^ server->password[i]);
    (void)pthread_mutex_unlock(&server->mutex);
    return difference == 0;
}

void
torcd_server_get_password(struct torcd_server *server, char password[TORCD_PASSWORD_MAX + 1])
{
    (void)pthread_mutex_lock(&server->mutex);
    memcpy(password, server->password, sizeof server->password);
    (void)pthread_mutex_unlock(&server->mutex);
}

void
torcd_server_note_saves(struct torcd_server *server)
{
    struct torc_durability_stats durability;
    struct torc_mvcc_stats stats;

    /* Relaxed: figures of one writer. */
    if (server->directory[0] == '\0' || torc_mvcc_durability(server->store, &durability) != TORC_OK
        || durability.checkpoints == atomic_load_explicit(&server->saves_seen, memory_order_relaxed)
        || torc_mvcc_stats(server->store, &stats) != TORC_OK)
        return;
    atomic_store_explicit(&server->saves_seen, durability.checkpoints, memory_order_relaxed);
    atomic_store_explicit(&server->saved_commits, stats.commits, memory_order_relaxed);
}

uint64_t
torcd_server_keys(const struct torcd_server *server, unsigned database)
{
    return torcd_databases_keys(server->databases, database);
}

uint64_t
torcd_server_sum(const struct torcd_server *server, size_t counter_offset)
{
    uint64_t sum = 0;

    assert(counter_offset < sizeof(struct torcd_counters));
    for (unsigned i = 0; i < server->workers_count; i++) {
        const char *counters = (const char *)&server->workers[i]->counters;
        /* Relaxed: a counter. */
        sum += atomic_load_explicit((const atomic_uint_fast64_t *)(const void *)(counters + counter_offset),
                                    memory_order_relaxed);
    }
    return sum;
}

/* The counter at an offset that is a multiple of its size. */
static atomic_uint_fast64_t *
zero_at(const struct torcd_server *server, size_t counter_offset)
{
    return (atomic_uint_fast64_t *)(uintptr_t)((const char *)&server->zero + counter_offset);
}

uint64_t
torcd_server_sum_since_reset(const struct torcd_server *server, size_t counter_offset)
{
    /* Relaxed: a counter. */
    return torcd_server_sum(server, counter_offset)
           - atomic_load_explicit(zero_at(server, counter_offset), memory_order_relaxed);
}

void
torcd_server_reset_counters(struct torcd_server *server)
{
    /* Relaxed: counters. */
    for (size_t offset = 0; offset < sizeof server->zero; offset += sizeof(atomic_uint_fast64_t))
        atomic_store_explicit(zero_at(server, offset), torcd_server_sum(server, offset), memory_order_relaxed);
}

void
torcd_worker_latency(struct torcd_worker *worker, uint64_t ns)
{
    unsigned bits = ns < 2 ? 0 : 64u - (unsigned)__builtin_clzll(ns - 1);
    unsigned bucket = bits <= 9 ? 0 : bits - 9;

    torcd_count(&worker->counters.latency[bucket < TORCD_LATENCY_BUCKETS ? bucket : TORCD_LATENCY_BUCKETS - 1], 1);
}

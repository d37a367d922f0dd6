/* SPDX-License-Identifier: MIT */
/* server/commands_testing.h: a server without sockets, for tests: two workers, three sessions, a clock that stands
 * until it is moved. Requests are typed as inline lines; the raw reply is compared. */
#ifndef TORCD_COMMANDS_TESTING_H
#define TORCD_COMMANDS_TESTING_H

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "effects.h"

enum { WORKERS = 2, SESSIONS = 3 };
#define START_MS UINT64_C(1700000000000)

static struct torc_mvcc *store;
static struct torcd_server *server;
static struct torcd_session *sessions[SESSIONS];    /* 0 and 2 belong to worker 0, 1 to worker 1. */
static unsigned shut_downs;
static unsigned wakes;
static atomic_uint_fast64_t clock_ms;               /* By which keys expire. */

static void
note_shut_down(void *context)
{
    (void)context;
    shut_downs++;
}

static void
note_wake(void *context, unsigned worker)
{
    (void)context;
    cr_assert_lt(worker, (unsigned)WORKERS);
    wakes++;
}

static uint64_t
read_clock(void *context)
{
    (void)context;
    return atomic_load_explicit(&clock_ms, memory_order_relaxed);
}

/* Open a server whose options, and those of its store, are as they are but for the limits, the clock and the like. */
static inline void
open_server_of(struct torc_mvcc_options *store_options, struct torcd_options *options)
{
    const struct torcd_callbacks callbacks = {.shut_down = note_shut_down, .wake = note_wake, .now_ms = read_clock};

    store_options->now_ms = read_clock;
    store_options->on_commit = torcd_effects_on_commit;
    store_options->on_commit_context = &server;
    atomic_store_explicit(&clock_ms, START_MS, memory_order_relaxed);
    cr_assert_eq(torc_mvcc_open(store_options, &store), TORC_OK, "%s", torc_detail());
    server = torcd_server_create(store, options, WORKERS, &callbacks);
    cr_assert_not_null(server);
    for (unsigned i = 0; i < SESSIONS; i++) {
        sessions[i] = torcd_session_create(server->workers[i % WORKERS], "127.0.0.1:1");
        cr_assert_not_null(sessions[i]);
    }
}

static inline void
open_server_with(uint64_t memory_limit, uint64_t retired_limit)
{
    struct torc_mvcc_options store_options;
    struct torcd_options options;

    torc_mvcc_options_init(&store_options);
    store_options.memory_limit_bytes = memory_limit;
    store_options.retired_limit_bytes = retired_limit;
    torcd_options_init(&options);
    options.values[TORCD_MEMORY_MAX] = memory_limit;
    open_server_of(&store_options, &options);
}

static inline void
open_server(uint64_t memory_limit)
{
    open_server_with(memory_limit, 0);
}

static inline void
create(void)
{
    open_server(0);
}

/* Conservation: with all sessions gone no transaction is open, so the store closes. */
static inline void
destroy(void)
{
    for (unsigned i = 0; i < SESSIONS; i++)
        torcd_session_destroy(sessions[i]);
    torcd_server_destroy(server);
    server = NULL;
    cr_expect_eq(torc_mvcc_close(store), TORC_OK, "a transaction was left open");
}

static char reply[1 << 20];

/* The raw reply of session `number` to raw bytes. */
static inline const char *
send_bytes(unsigned number, struct torc_slice bytes)
{
    struct torcd_session *session = sessions[number];
    char *window = malloc(bytes.size == 0 ? 1 : bytes.size);
    size_t begin = 0, consumed = 0;
    enum torcd_feed feed = TORCD_FEED_CUT;

    memcpy(window, bytes.data, bytes.size);
    while (feed == TORCD_FEED_CUT) {
        unsigned budget = 3;
        feed = torcd_commands_feed(session, window + begin, bytes.size - begin, 0, &budget, &consumed);
        begin += consumed;
    }
    cr_assert_lt(session->out.size, sizeof reply);
    if (session->out.size > 0)
        memcpy(reply, session->out.data, session->out.size);
    reply[session->out.size] = '\0';
    torcd_buffer_truncate(&session->out, 0);
    free(window);
    return reply;
}

/* The same for one line. */
static inline const char *
ask(unsigned number, const char *line)
{
    char text[4096];

    (void)snprintf(text, sizeof text, "%s\r\n", line);
    return send_bytes(number, torc_slice_from_string(text));
}

static inline bool
begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

struct exchange {
    const char *line;
    const char *reply;
};

static inline void
converse(unsigned number, const struct exchange *exchanges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect_str_eq(ask(number, exchanges[i].line), exchanges[i].reply, "%s: %s", exchanges[i].line, reply);
}

#define CONVERSE(...)                                                                                                  \
    do {                                                                                                               \
        static const struct exchange exchanges[] = {__VA_ARGS__};                                                      \
        converse(0, exchanges, sizeof exchanges / sizeof exchanges[0]);                                                \
    } while (0)

#define OK "+OK\r\n"
#define NIL "$-1\r\n"
#define QUEUED "+QUEUED\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define NO_INTEGER "-ERR value is not an integer or out of range\r\n"

/* What was pushed to a session since it was last asked, once all messages are delivered. */
static inline const char *
hear(unsigned number)
{
    for (unsigned i = 0; i < WORKERS; i++)
        (void)torcd_worker_run_messages(server->workers[i]);
    return send_bytes(number, torc_slice("", 0));
}

#endif

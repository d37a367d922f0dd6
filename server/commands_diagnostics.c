/* SPDX-License-Identifier: MIT */
/* server/commands_diagnostics.c: SLOWLOG, LATENCY, MEMORY and DEBUG. */
#include "commands.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "diagnostics.h"
#include "keyspace.h"

/* ---- SLOWLOG -------------------------------------------------------------------------------------------------- */

void
torcd_command_slowlog_get(struct torcd_session *session)
{
    int64_t count = 10;

    if (session->arguments_count > 3)
        torcd_reply_bad_subcommand(session);
    else if (session->arguments_count == 3
             && (!torcd_parse_integer(torcd_argument(session, 2), &count) || count < -1))
        torcd_resp_error(&session->out, "ERR count should be greater than or equal to -1");
    else
        torcd_slowlog_reply(session, count < 0 ? UINT64_MAX : (uint64_t)count);
}

void
torcd_command_slowlog_len(struct torcd_session *session)
{
    torcd_reply_integer(session, (int64_t)torcd_slowlog_length(session->worker->server->diagnostics));
}

void
torcd_command_slowlog_reset(struct torcd_session *session)
{
    torcd_slowlog_reset(session->worker->server->diagnostics);
    torcd_reply_ok(session);
}

void
torcd_command_slowlog_help(struct torcd_session *session)
{
    static const char *const help[] = {
        "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET [<count>]", "    Return the newest entries: number, time, microseconds, arguments, address and name.",
        "LEN", "    Return how many entries there are.",
        "RESET", "    Forget all entries.",
        "HELP", "    Print this help.",
        NULL,
    };

    torcd_reply_lines(session, help);
}

/* ---- LATENCY -------------------------------------------------------------------------------------------------- */

void
torcd_command_latency_latest(struct torcd_session *session)
{
    torcd_latency_reply_latest(session);
}

void
torcd_command_latency_history(struct torcd_session *session)
{
    torcd_latency_reply_history(session, torcd_argument(session, 2));
}

void
torcd_command_latency_reset(struct torcd_session *session)
{
    struct torcd_diagnostics *diagnostics = session->worker->server->diagnostics;
    unsigned forgotten = session->arguments_count == 2 ? torcd_latency_reset(diagnostics, NULL) : 0;

    for (size_t i = 2; i < session->arguments_count; i++)
        forgotten += torcd_latency_reset(diagnostics, &session->arguments[i]);
    torcd_reply_integer(session, forgotten);
}

void
torcd_command_latency_doctor(struct torcd_session *session)
{
    const char *text =
        torcd_diagnostics_get(session->worker->server->diagnostics, TORCD_LATENCY_THRESHOLD) == 0
            ? "Latencies are not noted. CONFIG SET latency-monitor-threshold <milliseconds> begins with it.\n"
            : "See LATENCY LATEST for the events, LATENCY HISTORY for their times, and SLOWLOG GET for the commands. "
              "A command that takes long holds up the clients of its thread, not those of the others.\n";

    torcd_resp_verbatim(&session->out, session->protocol, torc_slice_from_string(text));
}

void
torcd_command_latency_help(struct torcd_session *session)
{
    static const char *const help[] = {
        "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR", "    Say what to look at.",
        "HISTORY <event>", "    Return times and latencies of an event: command, fast-command.",
        "LATEST", "    Return the last and the greatest latency of each event.",
        "RESET [<event> ...]", "    Forget the latencies of these events, or of all.",
        "HELP", "    Print this help.",
        NULL,
    };

    torcd_reply_lines(session, help);
}

/* ---- MEMORY --------------------------------------------------------------------------------------------------- */

static enum torc_status
usage_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torc_slice key = torcd_argument(session, 2), value;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &value, &present);

    (void)context;
    if (status == TORC_OK && present)
        torcd_reply_integer(session, (int64_t)(TORCD_KEY_OVERHEAD + key.size + value.size));
    else if (status == TORC_OK)
        torcd_reply_null(session);
    return status;
}

void
torcd_command_memory_usage(struct torcd_session *session)
{
    int64_t samples;

    for (size_t i = 3; i < session->arguments_count; i += 2) {
        if (!torcd_is_word(torcd_argument(session, i), "samples") || i + 1 == session->arguments_count) {
            torcd_reply_syntax_error(session);
            return;
        }
        if (!torcd_parse_integer(torcd_argument(session, i + 1), &samples)) {
            torcd_reply_not_an_integer(session);
            return;
        }
        if (samples < 0) {
            torcd_reply_syntax_error(session);
            return;
        }
    }
    if (torcd_keyspace_check(session, torcd_argument(session, 2)))
        (void)torcd_keyspace_run(session, TORCD_READ, usage_body, NULL);
}

void
torcd_command_memory_doctor(struct torcd_session *session)
{
    torcd_resp_verbatim(&session->out, session->protocol,
                        torc_slice_from_string("See MEMORY STATS, and INFO torc for open transactions: an old one "
                                               "holds back the versions that it sees.\n"));
}

void
torcd_command_memory_stats(struct torcd_session *session)
{
    struct torc_mvcc_stats stats;
    enum torc_status status = torc_mvcc_stats(session->worker->server->store, &stats);

    if (status != TORC_OK) {
        torcd_reply_status(session, status);
        return;
    }
    uint64_t keys = 0;
    for (unsigned i = 0; i < session->worker->databases; i++)
        keys += torcd_server_keys(session->worker->server, i);
    torcd_resp_map(&session->out, session->protocol, 5);
    torcd_reply_string(session, "total.allocated");
    torcd_reply_integer(session, (int64_t)stats.memory_bytes);
    torcd_reply_string(session, "keys.count");
    torcd_reply_integer(session, (int64_t)keys);
    torcd_reply_string(session, "keys.bytes-per-key");
    torcd_reply_integer(session, keys == 0 ? 0 : (int64_t)(stats.memory_bytes / keys));
    torcd_reply_string(session, "versions.count");
    torcd_reply_integer(session, (int64_t)(stats.versions_created - stats.versions_freed));
    torcd_reply_string(session, "retired.bytes");
    torcd_reply_integer(session, (int64_t)stats.retired_bytes);
}

void
torcd_command_memory_malloc_stats(struct torcd_session *session)
{
    size_t size = 0;
    struct torcd_buffer text = {0};

    /* As many figures as fit. */
    if (torcd_buffer_reserve(&text, 16384)
        && torc_mvcc_metrics(session->worker->server->store, text.data, 16384, &size) == TORC_OK)
        text.size = size;
    torcd_resp_verbatim(&session->out, session->protocol, torc_slice(text.data, text.size));
    torcd_buffer_fini(&text);
}

void
torcd_command_memory_purge(struct torcd_session *session)
{
    /* Within EXEC a transaction is open, which may hold back what would be freed; that is no error. */
    enum torc_status status = torc_mvcc_collect(session->worker->server->store);

    if (status == TORC_OK)
        torcd_reply_ok(session);
    else
        torcd_reply_status(session, status);
}

void
torcd_command_memory_help(struct torcd_session *session)
{
    static const char *const help[] = {
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR", "    Say what to look at.",
        "MALLOC-STATS", "    Return the store's figures.",
        "PURGE", "    Free what can be freed.",
        "STATS", "    Return figures.",
        "USAGE <key> [SAMPLES <count>]", "    Estimate the bytes that a key and its value take.",
        "HELP", "    Print this help.",
        NULL,
    };

    torcd_reply_lines(session, help);
}

/* ---- DEBUG ---------------------------------------------------------------------------------------------------- */

/* Greatest sleep: the thread does not answer meanwhile, and the server cannot end. */
#define SLEEP_MAX_S 3600.0

static void
debug_sleep(struct torcd_session *session)
{
    struct torc_slice argument = torcd_argument(session, 2);
    char text[64];
    size_t size = argument.size < sizeof text - 1 ? argument.size : sizeof text - 1;

    if (size > 0)
        memcpy(text, argument.data, size);
    text[size] = '\0';
    double seconds = strtod(text, NULL);
    seconds = !(seconds > 0) ? 0 : seconds > SLEEP_MAX_S ? SLEEP_MAX_S : seconds;
    struct timespec pause = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
        continue;
    torcd_reply_ok(session);
}

void
torcd_command_debug(struct torcd_session *session)
{
    static const char *const help[] = {
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ERROR <text>", "    Answer with this error.",
        "SET-ACTIVE-EXPIRE (0|1)", "    Accepted, without effect.",
        "SLEEP <seconds>", "    Hold up this thread, and all its clients.",
        "HELP", "    Print this help.",
        NULL,
    };
    struct torc_slice word = torcd_argument(session, 1);
    size_t count = session->arguments_count;

    if (torcd_is_word(word, "help") && count == 2)
        torcd_reply_lines(session, help);
    else if (torcd_is_word(word, "sleep") && count == 3)
        debug_sleep(session);
    else if (torcd_is_word(word, "error") && count == 3) {
        struct torc_slice text = torcd_argument(session, 2);
        torcd_resp_error(&session->out, "%.*s", (int)(text.size < 512 ? text.size : 512), (const char *)text.data);
    } else if (torcd_is_word(word, "set-active-expire") && count == 3)
        torcd_reply_ok(session);
    else
        torcd_reply_bad_subcommand(session);
}

/* SPDX-License-Identifier: MIT */
/* server/commands.c: the way from bytes to replies.
 *
 *   bytes -> torcd_resp_next() -> lookup, arity, leave -> queue it (MULTI) or run it -> session->out
 *                                                              its effects -> subscribers
 *
 * Invariants  I1  each request adds exactly one reply, whatever happens; or the session is closing, or it is parked
 *             I2  before a command runs there is room for a short reply, so that what was done can be told
 *             I3  effects are made known after the command, or the whole EXEC, has happened; else they are forgotten */
#include "commands.h"

#include <assert.h>
#include <stdio.h>

#include "diagnostics.h"
#include "effects.h"
#include "keyspace.h"

/* Room that every command finds in `out`. */
#define SHORT_REPLY 1024u

/* The greatest mark of torcd_commands_output_mark(): what a socket takes at once, and some pipelines more. */
#define OUTPUT_MARK_MAX (1024u * 1024u)

/* Greatest memory for effects that is kept for the next command. */
#define EFFECTS_KEPT_MAX (64u * 1024u)

/* ---- Errors --------------------------------------------------------------------------------------------------- */

void
torcd_reply_syntax_error(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR syntax error");
}

void
torcd_reply_not_an_integer(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR value is not an integer or out of range");
}

void
torcd_reply_wrong_arguments(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR wrong number of arguments for '%s' command", session->command->name);
}

void
torcd_reply_out_of_range(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR value is out of range, value must between -2147483648 and 2147483647");
}

/* The error about the second argument. */
static void
reply_subcommand(struct torcd_session *session, const char *format)
{
    struct torc_slice name = torcd_argument(session, 1);
    const char *container = session->command->name;
    char upper[16];
    size_t i = 0;

    for (; container[i] != '\0' && container[i] != '|' && i + 1 < sizeof upper; i++)
        upper[i] = (char)(container[i] & ~0x20);
    upper[i] = '\0';
    torcd_resp_error(&session->out, "ERR %s '%.*s'. Try %s HELP.", format, (int)(name.size < 128 ? name.size : 128),
                     (const char *)name.data, upper);
}

void
torcd_reply_unknown_subcommand(struct torcd_session *session)
{
    reply_subcommand(session, "unknown subcommand");
}

void
torcd_reply_bad_subcommand(struct torcd_session *session)
{
    reply_subcommand(session, "unknown subcommand or wrong number of arguments for");
}

void
torcd_reply_no_memory(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR out of memory");
}

void
torcd_reply_lines(struct torcd_session *session, const char *const *lines)
{
    size_t count = 0;

    while (lines[count] != NULL)
        count++;
    torcd_resp_array(&session->out, count);
    for (size_t i = 0; i < count; i++)
        torcd_resp_simple(&session->out, lines[i]);
}

struct torc_slice
torcd_argument(const struct torcd_session *session, size_t index)
{
    assert(index < session->arguments_count);
    return session->arguments[index];
}

bool
torcd_check_keys(struct torcd_session *session, size_t first, size_t step)
{
    for (size_t i = first; i < session->arguments_count; i += step)
        if (!torcd_keyspace_check(session, session->arguments[i]))
            return false;
    return true;
}

static void
reply_unknown_command(struct torcd_session *session)
{
    char list[160];
    size_t used = 0;
    struct torc_slice name = session->arguments[0];

    list[0] = '\0';
    for (size_t i = 1; i < session->arguments_count && used < 128; i++) {
        struct torc_slice argument = session->arguments[i];
        int size = (int)(argument.size < 128 - used ? argument.size : 128 - used);
        int printed = snprintf(list + used, sizeof list - used, "'%.*s' ", size, (const char *)argument.data);
        used += printed > 0 ? (size_t)printed : 0;
    }
    torcd_resp_error(&session->out, "ERR unknown command '%.*s', with args beginning with: %s",
                     (int)(name.size < 128 ? name.size : 128), (const char *)name.data, list);
}

/* ---- One request ---------------------------------------------------------------------------------------------- */

/* A web page can make a browser send a POST to a local port, with commands in its body. Such a stream ends at once. */
static bool
is_http(struct torc_slice name)
{
    return torcd_is_word(name, "post") || torcd_is_word(name, "host:");
}

static bool
has_arity(const struct torcd_command *command, int count)
{
    return command->arity > 0 ? count == command->arity : count >= -command->arity;
}

/* Find the command of the request, its subcommand too. False: there is none, or not with so many arguments; the client
 * is told. */
static bool
find_command(struct torcd_session *session)
{
    const struct torcd_command *command = torcd_commands_find(session->worker->server, session->arguments[0]);
    int count = (int)(session->arguments_count < 1u << 30 ? session->arguments_count : 1u << 30);

    session->command = command;
    if (command == NULL && is_http(session->arguments[0]))
        session->closing = true;
    else if (command == NULL)
        reply_unknown_command(session);
    if (command == NULL)
        return false;
    if ((command->flags & TORCD_CONTAINER) != 0 && count > 1) {
        command = torcd_commands_find_subcommand(command, session->arguments[1]);
        if (command == NULL) {
            torcd_reply_unknown_subcommand(session);
            return false;
        }
        session->command = command;
    }
    if (has_arity(command, count))
        return true;
    torcd_reply_wrong_arguments(session);
    return false;
}

static bool
must_authenticate(const struct torcd_session *session)
{
    return !session->authenticated && torcd_server_has_password(session->worker->server);
}

/* Whether the session may run its command now; else the client is told. */
static bool
is_allowed(struct torcd_session *session)
{
    const struct torcd_command *command = session->command;

    if ((command->flags & TORCD_NO_AUTH) == 0 && must_authenticate(session))
        torcd_resp_error(&session->out, "NOAUTH Authentication required.");
    else if (session->protocol == 2 && torcd_session_listens(session) && (command->flags & TORCD_LISTENER) == 0)
        torcd_resp_error(&session->out, "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT "
                                        "/ RESET are allowed in this context", command->name);
    else if (session->multi && (command->flags & TORCD_NO_MULTI) != 0)
        torcd_resp_error(&session->out, "ERR Command not allowed inside a transaction");
    else
        return true;
    return false;
}

/* EXEC itself was refused, with the error behind `mark`: discard the transaction at once, as Redis does. */
static void
abort_exec(struct torcd_session *session, size_t mark)
{
    struct torcd_buffer *out = &session->out;
    char error[SHORT_REPLY];
    size_t skip = mark + strlen("-"), size;

    torcd_session_forget_queue(session);
    torcd_session_unwatch(session);
    if (out->fault != TORCD_FAULT_NONE)
        return;
    if (strncmp(out->data + skip, "ERR ", 4) == 0)
        skip += 4;
    size = out->size - strlen("\r\n") - skip;
    assert(size < sizeof error);
    memcpy(error, out->data + skip, size);
    torcd_buffer_truncate(out, mark);
    torcd_resp_error(out, "EXECABORT Transaction discarded because of: %.*s", (int)size, error);
}

/* Whether the request may run. If not, the client is told, and an open MULTI will be discarded. */
static bool
admit(struct torcd_session *session)
{
    size_t mark = session->out.size;

    if (find_command(session) && is_allowed(session))
        return true;
    session->multi_failed = session->multi;
    if (session->command != NULL && session->command->run == torcd_command_exec)
        abort_exec(session, mark);
    return false;
}

static void
queue_request(struct torcd_session *session)
{
    if (torcd_session_enqueue(session)) {
        torcd_resp_simple(&session->out, "QUEUED");
        return;
    }
    session->multi_failed = true;
    torcd_resp_error(&session->out, "ERR the commands queued since MULTI exceed client-query-buffer-limit");
}

/* The reply could not be completed: tell why in its place, or give up the connection. */
static void
replace_reply(struct torcd_session *session, size_t mark)
{
    enum torcd_fault fault = session->out.fault;

    torcd_buffer_truncate(&session->out, mark);
    if (fault == TORCD_FAULT_LIMIT)
        torcd_resp_error(&session->out, "ERR the reply would exceed output-buffer-limit");
    else
        torcd_resp_error(&session->out, "ERR out of memory");
    if (session->out.fault != TORCD_FAULT_NONE) {
        torcd_buffer_truncate(&session->out, mark);
        session->closing = true;
    }
}

void
torcd_commands_run(struct torcd_session *session)
{
    const struct torcd_command *command = session->command;
    struct torcd_worker *worker = session->worker;
    uint64_t began_ns = worker->now_ns;
    size_t number = torcd_command_number(command);

    command->run(session);
    worker->now_ns = torcd_now_ns();
    uint64_t took_ns = worker->now_ns - began_ns;
    torcd_count(&worker->counters.calls[number], 1);
    torcd_count(&worker->counters.nanoseconds[number], took_ns);
    session->command = command;
    torcd_diagnostics_note(session, took_ns);
    torcd_effects_monitor(session);
}

/* The request has undone what it did, and is to run once more: put it aside, without a reply. */
static void
hold_request(struct torcd_session *session, size_t mark)
{
    session->hold = false;
    if (!torcd_session_hold(session)) {
        session->closing = true;        /* Its reply says why. */
        return;
    }
    torcd_buffer_truncate(&session->out, mark);
    torcd_buffer_truncate(&session->worker->effects, 0);
}

/* Run the request in session->arguments. */
static void
run_request(struct torcd_session *session)
{
    struct torcd_counters *counters = &session->worker->counters;
    struct torcd_buffer *effects = &session->worker->effects;
    size_t mark = session->out.size;

    if (!torcd_buffer_reserve(&session->out, SHORT_REPLY)) {                            /* I2 */
        torcd_buffer_truncate(&session->out, mark);
        session->closing = true;
        return;
    }
    session->running = true;
    if (admit(session)) {
        if (session->multi && (session->command->flags & TORCD_IMMEDIATE) == 0)
            queue_request(session);
        else
            torcd_commands_run(session);
    }
    if (session->hold)
        hold_request(session, mark);
    if (session->out.fault != TORCD_FAULT_NONE)
        replace_reply(session, mark);
    if (session->out.size > mark && session->out.data[mark] == '-')
        torcd_count(&counters->errors, 1);
    if (effects->size > 0)
        torcd_effects_fire(session->worker);                                            /* I3 */
    if (effects->capacity > EFFECTS_KEPT_MAX)
        torcd_buffer_fini(effects);
    session->running = false;
    torcd_session_merge_pushed(session);
}

/* ---- A stream of requests ------------------------------------------------------------------------------------- */

static void
reply_broken(struct torcd_session *session, enum torcd_resp_outcome outcome)
{
    if (outcome == TORCD_RESP_BROKEN)
        torcd_resp_error(&session->out, "ERR %s", session->parser.error);
    else
        torcd_resp_error(&session->out, "ERR out of memory");
    torcd_count(&session->worker->counters.protocol_errors, 1);
    session->closing = true;
}

size_t
torcd_commands_output_mark(const struct torcd_session *session)
{
    uint64_t half = torcd_setting(session->worker->server, TORCD_OUTPUT_BUFFER_MAX) / 2;
    return half < OUTPUT_MARK_MAX ? (size_t)half : OUTPUT_MARK_MAX;
}

/* Run the request in session->arguments, and count it unless it was held. */
static void
time_request(struct torcd_session *session)
{
    struct torcd_worker *worker = session->worker;
    uint64_t began_ns = worker->now_ns;

    run_request(session);
    torcd_resp_trim(&session->parser);
    if (session->held != NULL)
        return;
    torcd_count(&worker->counters.commands, 1);
    torcd_worker_latency(worker, worker->now_ns - began_ns);
}

/* Run the request that was held. It is not held again. */
static void
run_held(struct torcd_session *session)
{
    struct torcd_queued *held = session->held;

    session->held = NULL;
    session->may_hold = false;
    session->arguments = held->arguments;
    session->arguments_count = held->arguments_count;
    time_request(session);
    torcd_release(held);
}

enum torcd_feed
torcd_commands_feed(struct torcd_session *session, char *window, size_t size, size_t unsent, unsigned *budget,
                    size_t *consumed)
{
    const struct torcd_server *server = session->worker->server;
    struct torcd_resp_limits limits = {
        .arguments_max = torcd_setting(server, TORCD_ARGUMENTS_MAX),
        .bulk_max = torcd_setting(server, TORCD_BULK_MAX),
        .inline_max = torcd_setting(server, TORCD_INLINE_MAX),
    };
    size_t mark = torcd_commands_output_mark(session), limit = torcd_setting(server, TORCD_QUERY_BUFFER_MAX);
    struct torcd_worker *worker = session->worker;

    worker->now_ns = torcd_now_ns();
    session->out.limit = torcd_setting(server, TORCD_OUTPUT_BUFFER_MAX);
    *consumed = 0;
    if (session->held != NULL && !session->doomed)
        run_held(session);
    session->may_hold = session->can_hold;
    assert(session->parked == TORCD_NOT_PARKED);
    while (!session->closing && !session->doomed && session->held == NULL && session->parked == TORCD_NOT_PARKED) {
        if (*budget == 0 || unsent + session->out.size > mark)
            return TORCD_FEED_CUT;
        limits.stranger = must_authenticate(session);
        enum torcd_resp_outcome outcome =
            torcd_resp_next(&session->parser, &limits, window + *consumed, size - *consumed);
        if (outcome == TORCD_RESP_MORE) {
            if (torcd_resp_wanted(&session->parser) > limit) {
                torcd_resp_error(&session->out, "ERR the request exceeds client-query-buffer-limit");
                session->closing = true;
            }
            break;
        }
        if (outcome != TORCD_RESP_REQUEST) {
            reply_broken(session, outcome);
            break;
        }
        *consumed += session->parser.consumed;
        (*budget)--;
        if (session->parser.count == 0)
            continue;
        session->arguments = session->parser.arguments;
        session->arguments_count = session->parser.count;
        time_request(session);
    }
    torcd_session_publish(session, worker->now_ns);
    if (session->held != NULL)
        return TORCD_FEED_HELD;
    return session->parked != TORCD_NOT_PARKED ? TORCD_FEED_PARKED : TORCD_FEED_MORE;
}

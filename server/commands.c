/* SPDX-License-Identifier: MIT */
/* server/commands.c: the table of commands, and the way from bytes to replies.
 *
 *   bytes -> torcd_resp_next() -> lookup, arity -> queue it (MULTI) or run it -> session->out
 *
 * Invariants  I1  each request adds exactly one reply, whatever happens; or the session is closing
 *             I2  before a command runs there is room for a short reply, so that what was done can be told */
#include "commands.h"

#include <assert.h>
#include <stdio.h>

/* Room that every command finds in `out`. */
#define SHORT_REPLY 1024u

/* The greatest mark of torcd_commands_output_mark(): what a socket takes at once, and some pipelines more. */
#define OUTPUT_MARK_MAX (1024u * 1024u)

#define NAME_MAX_SIZE 16u

/* Flags, short for the table. */
#define W TORCD_WRITES
#define R TORCD_READS
#define F TORCD_FAST
#define C TORCD_CONNECTION
#define I TORCD_IMMEDIATE
static const struct torcd_command commands[] = {
    {"append", 3, W | F, 1, 1, 1, torcd_command_append, "string", "Appends a string to the value of a key."},
    {"auth", -2, C | F, 0, 0, 0, torcd_command_auth, "connection", "Authenticates the connection."},
    {"client", -2, C, 0, 0, 0, torcd_command_client, "connection", "Names and lists connections."},
    {"command", -1, C, 0, 0, 0, torcd_command_command, "server", "Describes the commands."},
    {"config", -2, TORCD_ADMIN, 0, 0, 0, torcd_command_config, "server", "Reads and changes settings."},
    {"dbsize", 1, R | F, 0, 0, 0, torcd_command_dbsize, "server", "Returns the number of keys."},
    {"decr", 2, W | F, 1, 1, 1, torcd_command_decr, "string", "Subtracts one from the integer value of a key."},
    {"decrby", 3, W | F, 1, 1, 1, torcd_command_decrby, "string", "Subtracts from the integer value of a key."},
    {"del", -2, W, 1, -1, 1, torcd_command_del, "generic", "Deletes keys."},
    {"discard", 1, I | F, 0, 0, 0, torcd_command_discard, "transactions", "Discards a transaction."},
    {"echo", 2, C | F, 0, 0, 0, torcd_command_echo, "connection", "Returns the given string."},
    {"exec", 1, I, 0, 0, 0, torcd_command_exec, "transactions", "Executes all commands of a transaction."},
    {"exists", -2, R | F, 1, -1, 1, torcd_command_exists, "generic", "Counts those keys that exist."},
    {"flushall", -1, W, 0, 0, 0, torcd_command_flushall, "server", "Removes all keys of all databases."},
    {"flushdb", -1, W, 0, 0, 0, torcd_command_flushdb, "server", "Removes all keys of the current database."},
    {"get", 2, R | F, 1, 1, 1, torcd_command_get, "string", "Returns the value of a key."},
    {"getdel", 2, W | F, 1, 1, 1, torcd_command_getdel, "string", "Returns the value of a key and deletes it."},
    {"getset", 3, W | F, 1, 1, 1, torcd_command_getset, "string", "Sets a key and returns its old value."},
    {"hello", -1, C | F, 0, 0, 0, torcd_command_hello, "connection", "Chooses the protocol."},
    {"incr", 2, W | F, 1, 1, 1, torcd_command_incr, "string", "Adds one to the integer value of a key."},
    {"incrby", 3, W | F, 1, 1, 1, torcd_command_incrby, "string", "Adds to the integer value of a key."},
    {"info", -1, 0, 0, 0, 0, torcd_command_info, "server", "Tells how the server stands."},
    {"keys", 2, R, 0, 0, 0, torcd_command_keys, "generic", "Returns all keys that match a pattern."},
    {"mget", -2, R | F, 1, -1, 1, torcd_command_mget, "string", "Returns the values of keys, at one instant."},
    {"mset", -3, W, 1, -1, 2, torcd_command_mset, "string", "Sets keys, at one instant."},
    {"msetnx", -3, W, 1, -1, 2, torcd_command_msetnx, "string", "Sets keys if none of them exists."},
    {"multi", 1, I | F, 0, 0, 0, torcd_command_multi, "transactions", "Starts a transaction."},
    {"ping", -1, C | F, 0, 0, 0, torcd_command_ping, "connection", "Says that the server answers."},
    {"quit", -1, C | I, 0, 0, 0, torcd_command_quit, "connection", "Closes the connection."},
    {"range", -3, R, 0, 0, 0, torcd_command_range, "generic", "Returns keys and values in key order."},
    {"reset", 1, C | I, 0, 0, 0, torcd_command_reset, "connection", "Resets the connection."},
    {"scan", -2, R, 0, 0, 0, torcd_command_scan, "generic", "Iterates over the keys."},
    {"select", 2, C | F, 0, 0, 0, torcd_command_select, "connection", "Changes the database."},
    {"set", -3, W, 1, 1, 1, torcd_command_set, "string", "Sets the value of a key."},
    {"setnx", 3, W | F, 1, 1, 1, torcd_command_setnx, "string", "Sets the value of a key that does not exist."},
    {"shutdown", -1, TORCD_ADMIN | TORCD_NO_MULTI, 0, 0, 0, torcd_command_shutdown, "server", "Ends the server."},
    {"strlen", 2, R | F, 1, 1, 1, torcd_command_strlen, "string", "Returns the length of a value."},
    {"time", 1, F, 0, 0, 0, torcd_command_time, "server", "Returns the server's time."},
    {"touch", -2, R | F, 1, -1, 1, torcd_command_exists, "generic", "Counts those keys that exist."},
    {"type", 2, R | F, 1, 1, 1, torcd_command_type, "generic", "Tells the type of a value."},
    {"unlink", -2, W | F, 1, -1, 1, torcd_command_del, "generic", "Deletes keys."},
    {"unwatch", 1, F, 0, 0, 0, torcd_command_unwatch, "transactions", "Forgets the watched keys."},
    {"watch", -2, I | F, 1, -1, 1, torcd_command_watch, "transactions", "Watches keys for changes."},
};
#undef W
#undef R
#undef F
#undef C
#undef I

#define COMMANDS_COUNT (sizeof commands / sizeof commands[0])
_Static_assert(COMMANDS_COUNT <= TORCD_COMMANDS_MAX, "every command has counters");
_Static_assert(COMMANDS_COUNT * 2 <= TORCD_COMMAND_SLOTS, "the hash table stays sparse");

/* ---- Lookup --------------------------------------------------------------------------------------------------- */

static unsigned char
lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static unsigned
hash_name(const char *name, size_t size)
{
    unsigned hash = (unsigned)size;

    for (size_t i = 0; i < size; i++)
        hash = hash * 33u ^ lower(name[i]);
    return (hash ^ hash >> 8) & (TORCD_COMMAND_SLOTS - 1);
}

void
torcd_commands_index(struct torcd_server *server)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        assert(strlen(commands[i].name) <= NAME_MAX_SIZE);
        unsigned slot = hash_name(commands[i].name, strlen(commands[i].name));
        while (server->commands[slot] != NULL)
            slot = (slot + 1) & (TORCD_COMMAND_SLOTS - 1);
        server->commands[slot] = &commands[i];
    }
}

const struct torcd_command *
torcd_commands(size_t *count)
{
    *count = COMMANDS_COUNT;
    return commands;
}

const struct torcd_command *
torcd_commands_find(const struct torcd_server *server, struct torc_slice name)
{
    if (name.size == 0 || name.size > NAME_MAX_SIZE)
        return NULL;
    for (unsigned slot = hash_name(name.data, name.size);; slot = (slot + 1) & (TORCD_COMMAND_SLOTS - 1)) {
        const struct torcd_command *command = server->commands[slot];
        if (command == NULL || torcd_is_word(name, command->name))
            return command;
    }
}

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

/* Whether the request may run. If not, the client is told, and an open MULTI will be discarded. */
static bool
admit(struct torcd_session *session)
{
    const struct torcd_command *command = torcd_commands_find(session->worker->server, session->arguments[0]);
    int count = (int)(session->arguments_count < 1u << 30 ? session->arguments_count : 1u << 30);

    session->command = command;
    if (command == NULL && is_http(session->arguments[0]))
        session->closing = true;
    else if (command == NULL)
        reply_unknown_command(session);
    else if (command->arity > 0 ? count != command->arity : count < -command->arity)
        torcd_reply_wrong_arguments(session);
    else if (session->multi && (command->flags & TORCD_NO_MULTI) != 0)
        torcd_resp_error(&session->out, "ERR Command not allowed inside a transaction");
    else
        return true;
    session->multi_failed = session->multi;
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

/* Run the request in session->arguments. */
static void
run_request(struct torcd_session *session)
{
    struct torcd_counters *counters = &session->worker->counters;
    size_t mark = session->out.size;

    if (!torcd_buffer_reserve(&session->out, SHORT_REPLY)) {                            /* I2 */
        torcd_buffer_truncate(&session->out, mark);
        session->closing = true;
        return;
    }
    if (admit(session)) {
        size_t index = (size_t)(session->command - commands);
        torcd_count(&counters->calls[index], 1);
        if (session->multi && (session->command->flags & TORCD_IMMEDIATE) == 0)
            queue_request(session);
        else
            session->command->run(session);
    }
    if (session->out.fault != TORCD_FAULT_NONE)
        replace_reply(session, mark);
    if (session->out.size > mark && session->out.data[mark] == '-')
        torcd_count(&counters->errors, 1);
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

/* Time the request: the end of one is the beginning of the next, so that the clock is read once for each. */
static uint64_t
time_request(struct torcd_session *session, uint64_t began_ns)
{
    struct torcd_worker *worker = session->worker;
    uint64_t now = torcd_now_ns(), took = now - began_ns;

    torcd_count(&worker->counters.commands, 1);
    torcd_worker_latency(worker, took);
    if (session->command != NULL)
        torcd_count(&worker->counters.nanoseconds[session->command - commands], took);
    return now;
}

enum torcd_feed
torcd_commands_feed(struct torcd_session *session, char *window, size_t size, size_t unsent, unsigned *budget,
                    size_t *consumed)
{
    const struct torcd_server *server = session->worker->server;
    const struct torcd_resp_limits limits = {
        .arguments_max = torcd_setting(server, TORCD_ARGUMENTS_MAX),
        .bulk_max = torcd_setting(server, TORCD_BULK_MAX),
        .inline_max = torcd_setting(server, TORCD_INLINE_MAX),
    };
    size_t mark = torcd_commands_output_mark(session), limit = torcd_setting(server, TORCD_QUERY_BUFFER_MAX);
    uint64_t now = torcd_now_ns();

    session->out.limit = torcd_setting(server, TORCD_OUTPUT_BUFFER_MAX);
    *consumed = 0;
    while (!session->closing) {
        if (*budget == 0 || unsent + session->out.size > mark)
            return TORCD_FEED_CUT;
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
        run_request(session);
        torcd_resp_trim(&session->parser);
        now = time_request(session, now);
    }
    torcd_session_publish(session, now);
    return TORCD_FEED_MORE;
}

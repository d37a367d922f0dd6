/* SPDX-License-Identifier: MIT */
/* server/commands_server.c: commands about the connection and the server that need no file of their own. */
#include "commands.h"

#include <assert.h>
#include <stdio.h>
#include <sys/time.h>

#include <torc/torc.h>

#include "metrics.h"

/* ---- The connection ------------------------------------------------------------------------------------------- */

/* A subscriber in RESP2 gets the form that it can tell from a reply. */
void
torcd_command_ping(struct torcd_session *session)
{
    size_t count = session->arguments_count;

    if (count > 2)
        torcd_reply_wrong_arguments(session);
    else if (session->protocol == 2 && torcd_session_listens(session)) {
        torcd_resp_array(&session->out, 2);
        torcd_reply_string(session, "pong");
        torcd_reply_bulk(session, count == 2 ? torcd_argument(session, 1) : torc_slice(NULL, 0));
    } else if (count == 2)
        torcd_reply_bulk(session, torcd_argument(session, 1));
    else
        torcd_resp_simple(&session->out, "PONG");
}

void
torcd_command_echo(struct torcd_session *session)
{
    torcd_reply_bulk(session, torcd_argument(session, 1));
}

void
torcd_command_quit(struct torcd_session *session)
{
    torcd_reply_ok(session);
    session->closing = true;
}

void
torcd_command_time(struct torcd_session *session)
{
    struct timeval now;
    char text[32];

    (void)gettimeofday(&now, NULL);
    torcd_resp_array(&session->out, 2);
    (void)snprintf(text, sizeof text, "%lld", (long long)now.tv_sec);
    torcd_reply_string(session, text);
    (void)snprintf(text, sizeof text, "%lld", (long long)now.tv_usec);
    torcd_reply_string(session, text);
}

/* There are no replicas, and what was acknowledged is in the store: nothing to wait for. */
void
torcd_command_wait(struct torcd_session *session)
{
    int64_t replicas, timeout_ms;

    if (!torcd_parse_integer(torcd_argument(session, 1), &replicas))
        torcd_reply_not_an_integer(session);
    else if (!torcd_parse_integer(torcd_argument(session, 2), &timeout_ms))
        torcd_resp_error(&session->out, "ERR timeout is not an integer or out of range");
    else if (timeout_ms < 0)
        torcd_resp_error(&session->out, "ERR timeout is negative");
    else
        torcd_reply_integer(session, 0);
}

/* ---- COMMAND -------------------------------------------------------------------------------------------------- */

static void
reply_flags(struct torcd_session *session, unsigned flags)
{
    static const struct { unsigned flag; const char *name; } names[] = {
        {TORCD_WRITES, "write"}, {TORCD_READS, "readonly"}, {TORCD_FAST, "fast"}, {TORCD_ADMIN, "admin"},
        {TORCD_NO_MULTI, "no_multi"}, {TORCD_NO_AUTH, "no_auth"},
    };
    size_t count = 0;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        count += (flags & names[i].flag) != 0;
    torcd_resp_set(&session->out, session->protocol, count);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if ((flags & names[i].flag) != 0)
            torcd_resp_simple(&session->out, names[i].name);
}

static void
reply_attributes(struct torcd_session *session, const struct torcd_command *command)
{
    torcd_reply_string(session, command->name);
    torcd_reply_integer(session, command->arity);
    reply_flags(session, command->flags);
    torcd_reply_integer(session, command->first_key);
    torcd_reply_integer(session, command->last_key);
    torcd_reply_integer(session, command->key_step);
    for (int i = 0; i < 3; i++)             /* ACL categories, tips, key specifications. */
        torcd_resp_array(&session->out, 0);
}

/* One element of COMMAND and COMMAND INFO, as Redis 7 has it: its subcommands are its last attribute. */
static void
reply_command(struct torcd_session *session, const struct torcd_command *command)
{
    const struct torcd_command *at = NULL;
    size_t count = 0;

    while ((at = torcd_commands_next_subcommand(command, at)) != NULL)
        count++;
    torcd_resp_array(&session->out, 10);
    reply_attributes(session, command);
    torcd_resp_array(&session->out, count);
    while ((at = torcd_commands_next_subcommand(command, at)) != NULL) {
        torcd_resp_array(&session->out, 10);
        reply_attributes(session, at);
        torcd_resp_array(&session->out, 0);
    }
}

static void
reply_documentation(struct torcd_session *session, const struct torcd_command *command)
{
    torcd_reply_string(session, command->name);
    torcd_resp_map(&session->out, session->protocol, 4);
    torcd_reply_string(session, "summary");
    torcd_reply_string(session, command->summary);
    torcd_reply_string(session, "since");
    torcd_reply_string(session, TORC_VERSION);
    torcd_reply_string(session, "group");
    torcd_reply_string(session, command->group);
    torcd_reply_string(session, "arguments");
    torcd_resp_array(&session->out, 0);
}

/* The command `name`, or the subcommand "command|subcommand", or NULL. */
static const struct torcd_command *
find_named(const struct torcd_session *session, struct torc_slice name)
{
    const char *bytes = name.data, *bar = name.size == 0 ? NULL : memchr(bytes, '|', name.size);

    if (bar == NULL)
        return torcd_commands_find(session->worker->server, name);
    size_t size = (size_t)(bar - bytes);
    const struct torcd_command *container = torcd_commands_find(session->worker->server, torc_slice(bytes, size));
    if (container == NULL)
        return NULL;
    return torcd_commands_find_subcommand(container, torc_slice(bar + 1, name.size - size - 1));
}

static bool
is_subcommand(const struct torcd_command *command)
{
    return strchr(command->name, '|') != NULL;
}

/* How many commands there are, subcommands not counted. */
static size_t
count_commands(void)
{
    size_t entries, count = 0;
    const struct torcd_command *commands = torcd_commands(&entries);

    for (size_t i = 0; i < entries; i++)
        count += !is_subcommand(&commands[i]);
    return count;
}

void
torcd_command_command_count(struct torcd_session *session)
{
    torcd_reply_integer(session, (int64_t)count_commands());
}

void
torcd_command_command_docs(struct torcd_session *session)
{
    size_t entries, mark = session->out.size, found = 0;
    const struct torcd_command *commands = torcd_commands(&entries);

    for (size_t i = 0; i < entries && session->arguments_count == 2; i++)
        if (!is_subcommand(&commands[i])) {
            reply_documentation(session, &commands[i]);
            found++;
        }
    for (size_t i = 2; i < session->arguments_count; i++) {
        const struct torcd_command *command = find_named(session, torcd_argument(session, i));
        if (command != NULL) {
            reply_documentation(session, command);
            found++;
        }
    }
    torcd_resp_insert_map(&session->out, session->protocol, mark, found);
}

/* All commands: COMMAND, and COMMAND INFO without names. */
void
torcd_command_command(struct torcd_session *session)
{
    size_t entries;
    const struct torcd_command *commands = torcd_commands(&entries);

    torcd_resp_array(&session->out, count_commands());
    for (size_t i = 0; i < entries; i++)
        if (!is_subcommand(&commands[i]))
            reply_command(session, &commands[i]);
}

void
torcd_command_command_info(struct torcd_session *session)
{
    if (session->arguments_count == 2) {
        torcd_command_command(session);
        return;
    }
    torcd_resp_array(&session->out, session->arguments_count - 2);
    for (size_t i = 2; i < session->arguments_count; i++) {
        const struct torcd_command *command = find_named(session, torcd_argument(session, i));
        if (command != NULL)
            reply_command(session, command);
        else
            torcd_reply_null(session);
    }
}

void
torcd_command_command_list(struct torcd_session *session)
{
    size_t entries;
    const struct torcd_command *commands = torcd_commands(&entries);

    if (session->arguments_count > 2) {
        torcd_reply_syntax_error(session);
        return;
    }
    torcd_resp_array(&session->out, count_commands());
    for (size_t i = 0; i < entries; i++)
        if (!is_subcommand(&commands[i]))
            torcd_reply_string(session, commands[i].name);
}

/* The keys among the arguments of the request that begins at argument 2. */
void
torcd_command_command_getkeys(struct torcd_session *session)
{
    const struct torcd_command *command = torcd_commands_find(session->worker->server, torcd_argument(session, 2));
    int64_t count = (int64_t)session->arguments_count - 2;

    if (command != NULL && (command->flags & TORCD_CONTAINER) != 0 && count > 1)
        command = torcd_commands_find_subcommand(command, torcd_argument(session, 3));
    if (command == NULL) {
        torcd_resp_error(&session->out, "ERR Invalid command specified");
        return;
    }
    if (command->first_key == 0) {
        torcd_resp_error(&session->out, "ERR The command has no key arguments");
        return;
    }
    if (command->arity > 0 ? count != command->arity : count < -command->arity) {
        torcd_resp_error(&session->out, "ERR Invalid number of arguments specified for command");
        return;
    }
    int64_t last = command->last_key < 0 ? count + command->last_key : command->last_key;
    size_t mark = session->out.size, found = 0;
    for (int64_t i = command->first_key; i <= last; i += command->key_step, found++)
        torcd_reply_bulk(session, torcd_argument(session, (size_t)i + 2));
    torcd_resp_insert_array(&session->out, mark, found);
}

void
torcd_command_command_help(struct torcd_session *session)
{
    static const char *const help[] = {
        "COMMAND [<subcommand> [<arg> ...]]. Subcommands are:",
        "(no subcommand)", "    Describe all commands.",
        "COUNT", "    Return the number of commands.",
        "DOCS [<command> ...]", "    Return the documentation of commands.",
        "GETKEYS <request>", "    Return the keys of a request.",
        "INFO [<command> ...]", "    Describe commands.",
        "LIST", "    Return the names of all commands.",
        "HELP", "    Print this help.",
        NULL,
    };

    torcd_reply_lines(session, help);
}

/* ---- INFO, SHUTDOWN ------------------------------------------------------------------------------------------- */

/* Whether INFO was asked for this section. Without a name it gives all but commandstats. */
static bool
is_section_asked(const struct torcd_session *session, const char *section)
{
    bool is_default = strcmp(section, "commandstats") != 0;

    if (session->arguments_count == 1)
        return is_default;
    for (size_t i = 1; i < session->arguments_count; i++) {
        struct torc_slice word = torcd_argument(session, i);
        if (torcd_is_word(word, section) || torcd_is_word(word, "all") || torcd_is_word(word, "everything")
            || (is_default && torcd_is_word(word, "default")))
            return true;
    }
    return false;
}

void
torcd_command_info(struct torcd_session *session)
{
    struct torcd_buffer text = {.limit = session->out.limit};

    for (const char *const *section = torcd_metrics_sections; *section != NULL; section++) {
        if (!is_section_asked(session, *section))
            continue;
        if (text.size > 0)
            torcd_buffer_append(&text, "\r\n", 2);
        torcd_metrics_info(session->worker->server, *section, &text);
    }
    if (text.fault == TORCD_FAULT_NONE)
        torcd_resp_verbatim(&session->out, session->protocol, torc_slice(text.data, text.size));
    else
        session->out.fault = text.fault;
    torcd_buffer_fini(&text);
}

void
torcd_command_shutdown(struct torcd_session *session)
{
    const struct torcd_callbacks *callbacks = &session->worker->server->callbacks;
    bool save = false, no_save = false, known = true;

    if (session->arguments_count == 2 && torcd_is_word(torcd_argument(session, 1), "abort")) {
        torcd_resp_error(&session->out, "ERR No shutdown in progress.");
        return;
    }
    for (size_t i = 1; i < session->arguments_count && known; i++) {
        struct torc_slice word = torcd_argument(session, i);
        save = save || torcd_is_word(word, "save");
        no_save = no_save || torcd_is_word(word, "nosave");
        known = torcd_is_word(word, "save") || torcd_is_word(word, "nosave") || torcd_is_word(word, "now")
                || torcd_is_word(word, "force");
    }
    if (!known || (save && no_save)) {
        torcd_reply_syntax_error(session);
        return;
    }
    /* Relaxed: the end of the threads orders it. */
    if (save)
        atomic_store_explicit(&session->worker->server->save_at_end, true, memory_order_relaxed);
    /* No reply, as in Redis: the end of the connection says it. */
    session->closing = true;
    callbacks->shut_down(callbacks->context);
}

/* SPDX-License-Identifier: MIT */
/* server/commands_server.c: the commands about the connection and about the server. */
#include "commands.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/time.h>

#include <torc/torc.h>

#include "glob.h"
#include "metrics.h"

static struct torc_slice
argument(const struct torcd_session *session, size_t index)
{
    assert(index < session->arguments_count);
    return session->arguments[index];
}

/* Whether subcommand `name` was asked for with `least` to `most` arguments in all. Tells the client if only the
 * number is wrong; `*told` is set then. */
static bool
is_subcommand(struct torcd_session *session, const char *name, size_t least, size_t most, bool *told)
{
    if (*told || !torcd_is_word(argument(session, 1), name))
        return false;
    if (session->arguments_count >= least && session->arguments_count <= most)
        return true;
    torcd_resp_error(&session->out, "ERR wrong number of arguments for '%s|%s' command", session->command->name, name);
    *told = true;
    return false;
}

static void
reply_unknown_subcommand(struct torcd_session *session)
{
    struct torc_slice name = argument(session, 1);
    char upper[16];
    size_t i = 0;

    for (; session->command->name[i] != '\0' && i + 1 < sizeof upper; i++)
        upper[i] = (char)(session->command->name[i] & ~0x20);
    upper[i] = '\0';
    torcd_resp_error(&session->out, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                     (int)(name.size < 128 ? name.size : 128), (const char *)name.data, upper);
}

static void
reply_lines(struct torcd_session *session, const char *const *lines)
{
    size_t count = 0;

    while (lines[count] != NULL)
        count++;
    torcd_resp_array(&session->out, count);
    for (size_t i = 0; i < count; i++)
        torcd_resp_simple(&session->out, lines[i]);
}

/* ---- The connection ------------------------------------------------------------------------------------------- */

void
torcd_command_ping(struct torcd_session *session)
{
    if (session->arguments_count > 2)
        torcd_reply_wrong_arguments(session);
    else if (session->arguments_count == 2)
        torcd_reply_bulk(session, argument(session, 1));
    else
        torcd_resp_simple(&session->out, "PONG");
}

void
torcd_command_echo(struct torcd_session *session)
{
    torcd_reply_bulk(session, argument(session, 1));
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

void
torcd_command_select(struct torcd_session *session)
{
    int64_t database;

    if (!torcd_parse_integer(argument(session, 1), &database))
        torcd_reply_not_an_integer(session);
    else if (database < 0 || database >= session->worker->databases)
        torcd_resp_error(&session->out, "ERR DB index is out of range");
    else {
        session->database = (unsigned)database;
        torcd_reply_ok(session);
    }
}

void
torcd_command_quit(struct torcd_session *session)
{
    torcd_reply_ok(session);
    session->closing = true;
}

void
torcd_command_reset(struct torcd_session *session)
{
    torcd_session_forget_queue(session);
    torcd_session_unwatch(session);
    torcd_session_rename(session, torc_slice(NULL, 0));
    session->database = 0;
    session->protocol = 2;
    torcd_resp_simple(&session->out, "RESET");
}

void
torcd_command_auth(struct torcd_session *session)
{
    if (session->arguments_count > 3)
        torcd_reply_syntax_error(session);
    else if (session->arguments_count == 3 && torcd_is_word(argument(session, 1), "default"))
        torcd_reply_ok(session); /* The one user there is has no password: any will do, as in Redis. */
    else if (session->arguments_count == 3)
        torcd_resp_error(&session->out, "WRONGPASS invalid username-password pair or user is disabled.");
    else
        torcd_resp_error(&session->out, "ERR AUTH <password> called without any password configured for the default "
                                        "user. Are you sure your configuration is correct?");
}

/* Whether `name` may name a connection; else the client is told. */
static bool
check_name(struct torcd_session *session, struct torc_slice name)
{
    const char *bytes = name.data;

    for (size_t i = 0; i < name.size; i++)
        if (bytes[i] < '!' || bytes[i] > '~') {
            torcd_resp_error(&session->out, "ERR Client names cannot contain spaces, newlines or special characters.");
            return false;
        }
    if (name.size > TORCD_NAME_MAX)
        torcd_resp_error(&session->out, "ERR Client names cannot be longer than %u bytes.", TORCD_NAME_MAX);
    return name.size <= TORCD_NAME_MAX;
}

static void
reply_hello(struct torcd_session *session)
{
    torcd_resp_map(&session->out, session->protocol, 7);
    torcd_reply_string(session, "server");
    torcd_reply_string(session, "redis");
    torcd_reply_string(session, "version");
    torcd_reply_string(session, TORCD_REDIS_VERSION);
    torcd_reply_string(session, "proto");
    torcd_reply_integer(session, session->protocol);
    torcd_reply_string(session, "id");
    torcd_reply_integer(session, (int64_t)session->id);
    torcd_reply_string(session, "mode");
    torcd_reply_string(session, "standalone");
    torcd_reply_string(session, "role");
    torcd_reply_string(session, "master");
    torcd_reply_string(session, "modules");
    torcd_resp_array(&session->out, 0);
}

void
torcd_command_hello(struct torcd_session *session)
{
    int64_t protocol = session->protocol;
    const struct torc_slice *name = NULL;

    if (session->arguments_count > 1) {
        if (!torcd_parse_integer(argument(session, 1), &protocol)) {
            torcd_resp_error(&session->out, "ERR Protocol version is not an integer or out of range");
            return;
        }
        if (protocol < 2 || protocol > 3) {
            torcd_resp_error(&session->out, "NOPROTO unsupported protocol version");
            return;
        }
    }
    for (size_t i = 2; i < session->arguments_count; i++) {
        struct torc_slice word = argument(session, i);
        size_t left = session->arguments_count - 1 - i;

        if (torcd_is_word(word, "auth") && left >= 2 && torcd_is_word(argument(session, i + 1), "default")) {
            i += 2;
            continue;
        }
        if (torcd_is_word(word, "auth") && left >= 2) {
            torcd_resp_error(&session->out, "WRONGPASS invalid username-password pair or user is disabled.");
            return;
        }
        if (torcd_is_word(word, "setname") && left >= 1) {
            name = &session->arguments[++i];
            if (!check_name(session, *name))
                return;
        } else {
            torcd_resp_error(&session->out, "ERR Syntax error in HELLO option '%.*s'",
                             (int)(word.size < 64 ? word.size : 64), (const char *)word.data);
            return;
        }
    }
    if (name != NULL)
        torcd_session_rename(session, *name);
    session->protocol = (unsigned)protocol;
    reply_hello(session);
}

/* ---- CLIENT --------------------------------------------------------------------------------------------------- */

static void
describe_client(const struct torcd_session *client, uint64_t now_ns, struct torcd_buffer *out)
{
    /* Relaxed: figures of another thread's session, each as it was a moment ago. */
    const struct torcd_command *command = atomic_load_explicit(&client->seen.command, memory_order_relaxed);
    uint64_t active_ns = atomic_load_explicit(&client->seen.active_ns, memory_order_relaxed);
    int queued = atomic_load_explicit(&client->seen.queued, memory_order_relaxed);

    torcd_buffer_format(out, "id=%" PRIu64 " addr=%s name=%s age=%" PRIu64 " idle=%" PRIu64 " flags=%s db=%u "
                             "sub=0 psub=0 multi=%d watch=%u resp=%u thread=%u cmd=%s\n",
                        client->id, client->address, client->name, (now_ns - client->created_ns) / UINT64_C(1000000000),
                        now_ns < active_ns ? 0 : (now_ns - active_ns) / UINT64_C(1000000000), queued >= 0 ? "x" : "N",
                        atomic_load_explicit(&client->seen.database, memory_order_relaxed), queued,
                        atomic_load_explicit(&client->seen.watched, memory_order_relaxed),
                        atomic_load_explicit(&client->seen.protocol, memory_order_relaxed), client->worker->number,
                        command == NULL ? "NULL" : command->name);
}

static void
client_info(struct torcd_session *session)
{
    struct torcd_buffer text = {0};
    uint64_t now = torcd_now_ns();

    torcd_session_publish(session, now);
    describe_client(session, now, &text);
    torcd_resp_verbatim(&session->out, session->protocol, torc_slice(text.data, text.size));
    torcd_buffer_fini(&text);
}

/* Whether CLIENT LIST ID ... names this client. */
static bool
is_listed(const struct torcd_session *session, uint64_t id)
{
    if (session->arguments_count <= 3 || !torcd_is_word(argument(session, 2), "id"))
        return true;
    for (size_t i = 3; i < session->arguments_count; i++) {
        int64_t wanted;
        if (torcd_parse_integer(argument(session, i), &wanted) && wanted >= 0 && (uint64_t)wanted == id)
            return true;
    }
    return false;
}

static void
client_list(struct torcd_session *session)
{
    struct torcd_server *server = session->worker->server;
    struct torcd_buffer text = {.limit = session->out.limit};
    uint64_t now = torcd_now_ns();

    torcd_session_publish(session, now);
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct torcd_worker *worker = server->workers[i];
        (void)pthread_mutex_lock(&worker->mutex);
        for (struct torcd_session *client = worker->sessions; client != NULL; client = client->next)
            if (is_listed(session, client->id))
                describe_client(client, now, &text);
        (void)pthread_mutex_unlock(&worker->mutex);
    }
    if (text.fault == TORCD_FAULT_NONE)
        torcd_resp_verbatim(&session->out, session->protocol, torc_slice(text.data, text.size));
    else
        session->out.fault = text.fault;
    torcd_buffer_fini(&text);
}

/* Which clients CLIENT KILL means. */
struct victims {
    const struct torc_slice *address;
    int64_t id;             /* 0: any. */
    bool myself_too;
};

static bool
parse_kill(struct torcd_session *session, struct victims *victims)
{
    size_t count = session->arguments_count;

    if (count == 3) {
        victims->address = &session->arguments[2];
        victims->myself_too = true;
        return true;
    }
    for (size_t i = 2; i + 1 < count; i += 2) {
        struct torc_slice word = argument(session, i), value = argument(session, i + 1);
        if (torcd_is_word(word, "addr"))
            victims->address = &session->arguments[i + 1];
        else if (torcd_is_word(word, "id") && torcd_parse_integer(value, &victims->id) && victims->id > 0)
            continue;
        else if (torcd_is_word(word, "skipme") && (torcd_is_word(value, "yes") || torcd_is_word(value, "no")))
            victims->myself_too = torcd_is_word(value, "no");
        else
            return false;
    }
    return count % 2 == 0;
}

static bool
is_victim(const struct torcd_session *session, const struct victims *victims, const struct torcd_session *client)
{
    if (client == session && !victims->myself_too)
        return false;
    if (victims->id != 0 && (uint64_t)victims->id != client->id)
        return false;
    return victims->address == NULL
           || (victims->address->size == strlen(client->address)
               && memcmp(victims->address->data, client->address, victims->address->size) == 0);
}

static void
client_kill(struct torcd_session *session)
{
    struct torcd_server *server = session->worker->server;
    struct victims victims = {NULL, 0, false};
    int64_t killed = 0;

    if (!parse_kill(session, &victims)) {
        torcd_reply_syntax_error(session);
        return;
    }
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct torcd_worker *worker = server->workers[i];
        int64_t before = killed;
        (void)pthread_mutex_lock(&worker->mutex);
        for (struct torcd_session *client = worker->sessions; client != NULL; client = client->next)
            if (is_victim(session, &victims, client)) {
                /* Relaxed: a flag; the wake below brings its reader. */
                atomic_store_explicit(&client->seen.killed, true, memory_order_relaxed);
                killed++;
            }
        (void)pthread_mutex_unlock(&worker->mutex);
        if (killed > before)
            server->callbacks.wake(server->callbacks.context, worker->number);
    }
    if (session->arguments_count > 3)
        torcd_reply_integer(session, killed);
    else if (killed > 0)
        torcd_reply_ok(session);
    else
        torcd_resp_error(&session->out, "ERR No such client");
}

void
torcd_command_client(struct torcd_session *session)
{
    static const char *const help[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME", "    Return the name of this connection.",
        "ID", "    Return the number of this connection.",
        "INFO", "    Describe this connection.",
        "KILL <ip:port> | [ID <id>] [ADDR <ip:port>] [SKIPME (yes|no)]", "    Close connections.",
        "LIST [ID <id> ...]", "    Describe connections.",
        "SETNAME <name>", "    Name this connection.",
        "SETINFO <option> <value>, NO-EVICT (on|off), NO-TOUCH (on|off)", "    Accepted, without effect.",
        NULL,
    };
    bool told = false;

    if (is_subcommand(session, "id", 2, 2, &told))
        torcd_reply_integer(session, (int64_t)session->id);
    else if (is_subcommand(session, "getname", 2, 2, &told)) {
        if (session->name[0] == '\0')
            torcd_reply_null(session);
        else
            torcd_reply_string(session, session->name);
    } else if (is_subcommand(session, "setname", 3, 3, &told)) {
        if (check_name(session, argument(session, 2))) {
            torcd_session_rename(session, argument(session, 2));
            torcd_reply_ok(session);
        }
    } else if (is_subcommand(session, "list", 2, SIZE_MAX, &told))
        client_list(session);
    else if (is_subcommand(session, "info", 2, 2, &told))
        client_info(session);
    else if (is_subcommand(session, "kill", 3, SIZE_MAX, &told))
        client_kill(session);
    else if (is_subcommand(session, "setinfo", 4, 4, &told) || is_subcommand(session, "no-evict", 3, 3, &told)
             || is_subcommand(session, "no-touch", 3, 3, &told))
        torcd_reply_ok(session);
    else if (is_subcommand(session, "help", 2, 2, &told))
        reply_lines(session, help);
    else if (!told)
        reply_unknown_subcommand(session);
}

/* ---- COMMAND -------------------------------------------------------------------------------------------------- */

static void
reply_flags(struct torcd_session *session, unsigned flags)
{
    static const struct { unsigned flag; const char *name; } names[] = {
        {TORCD_WRITES, "write"}, {TORCD_READS, "readonly"}, {TORCD_FAST, "fast"}, {TORCD_ADMIN, "admin"},
        {TORCD_NO_MULTI, "no_multi"},
    };
    size_t count = 0;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        count += (flags & names[i].flag) != 0;
    torcd_resp_set(&session->out, session->protocol, count);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if ((flags & names[i].flag) != 0)
            torcd_resp_simple(&session->out, names[i].name);
}

/* One element of COMMAND and COMMAND INFO, as Redis 7 has it. */
static void
reply_command(struct torcd_session *session, const struct torcd_command *command)
{
    torcd_resp_array(&session->out, 10);
    torcd_reply_string(session, command->name);
    torcd_reply_integer(session, command->arity);
    reply_flags(session, command->flags);
    torcd_reply_integer(session, command->first_key);
    torcd_reply_integer(session, command->last_key);
    torcd_reply_integer(session, command->key_step);
    for (int i = 0; i < 4; i++)             /* ACL categories, tips, key specifications, subcommands. */
        torcd_resp_array(&session->out, 0);
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

static void
command_docs(struct torcd_session *session)
{
    const struct torcd_server *server = session->worker->server;
    size_t count, mark = session->out.size, found = 0;
    const struct torcd_command *commands = torcd_commands(&count);

    if (session->arguments_count == 2)
        for (; found < count; found++)
            reply_documentation(session, &commands[found]);
    for (size_t i = 2; i < session->arguments_count; i++) {
        const struct torcd_command *command = torcd_commands_find(server, argument(session, i));
        if (command != NULL) {
            reply_documentation(session, command);
            found++;
        }
    }
    torcd_resp_insert_map(&session->out, session->protocol, mark, found);
}

static void
command_info(struct torcd_session *session)
{
    size_t count;
    const struct torcd_command *commands = torcd_commands(&count);

    if (session->arguments_count <= 2) {
        torcd_resp_array(&session->out, count);
        for (size_t i = 0; i < count; i++)
            reply_command(session, &commands[i]);
        return;
    }
    torcd_resp_array(&session->out, session->arguments_count - 2);
    for (size_t i = 2; i < session->arguments_count; i++) {
        const struct torcd_command *command = torcd_commands_find(session->worker->server, argument(session, i));
        if (command != NULL)
            reply_command(session, command);
        else
            torcd_resp_null_array(&session->out, session->protocol);
    }
}

static void
command_list(struct torcd_session *session)
{
    size_t count;
    const struct torcd_command *commands = torcd_commands(&count);

    torcd_resp_array(&session->out, count);
    for (size_t i = 0; i < count; i++)
        torcd_reply_string(session, commands[i].name);
}

void
torcd_command_command(struct torcd_session *session)
{
    static const char *const help[] = {
        "COMMAND [<subcommand> [<arg> ...]]. Subcommands are:",
        "(no subcommand)", "    Describe all commands.",
        "COUNT", "    Return the number of commands.",
        "DOCS [<command> ...]", "    Return the documentation of commands.",
        "INFO [<command> ...]", "    Describe commands.",
        "LIST", "    Return the names of all commands.",
        NULL,
    };
    bool told = false;
    size_t count;

    if (session->arguments_count == 1)
        command_info(session);
    else if (is_subcommand(session, "count", 2, 2, &told)) {
        (void)torcd_commands(&count);
        torcd_reply_integer(session, (int64_t)count);
    } else if (is_subcommand(session, "docs", 2, SIZE_MAX, &told))
        command_docs(session);
    else if (is_subcommand(session, "info", 2, SIZE_MAX, &told))
        command_info(session);
    else if (is_subcommand(session, "list", 2, 2, &told))
        command_list(session);
    else if (is_subcommand(session, "help", 2, 2, &told))
        reply_lines(session, help);
    else if (!told)
        reply_unknown_subcommand(session);
}

/* ---- CONFIG --------------------------------------------------------------------------------------------------- */

/* What clients ask for though it is no number here, or cannot be other than it is. */
static const struct { const char *name; const char *value; } fixed_settings[] = {
    {"save", ""}, {"appendonly", "no"}, {"maxmemory-policy", "noeviction"}, {"dir", "/"}, {"requirepass", ""},
};

/* Whether a pattern of CONFIG GET matches `name`. */
static bool
is_asked(const struct torcd_session *session, const char *name)
{
    for (size_t i = 2; i < session->arguments_count; i++)
        if (torcd_glob_match_ignoring_case(argument(session, i), torc_slice_from_string(name)))
            return true;
    return false;
}

static void
config_get(struct torcd_session *session)
{
    const struct torcd_server *server = session->worker->server;
    size_t mark = session->out.size, found = 0;

    for (unsigned i = 0; i < TORCD_SETTINGS; i++) {
        const char *name = torcd_setting_info((enum torcd_setting)i)->config;
        uint64_t value = torcd_setting(server, (enum torcd_setting)i);
        char text[TORCD_INTEGER_DIGITS + 1];

        if (!is_asked(session, name))
            continue;
        (void)snprintf(text, sizeof text, "%" PRIu64, value);
        torcd_reply_string(session, name);
        torcd_reply_string(session, value == TORCD_OFF ? "off" : text);
        found++;
    }
    for (size_t i = 0; i < sizeof fixed_settings / sizeof fixed_settings[0]; i++)
        if (is_asked(session, fixed_settings[i].name)) {
            torcd_reply_string(session, fixed_settings[i].name);
            torcd_reply_string(session, fixed_settings[i].value);
            found++;
        }
    if (is_asked(session, "bind")) {
        torcd_reply_string(session, "bind");
        torcd_reply_string(session, server->binds);
        found++;
    }
    torcd_resp_insert_map(&session->out, session->protocol, mark, found);
}

/* Whether `name` is a fixed setting and `value` the one it has. */
static bool
is_fixed_value(struct torc_slice name, struct torc_slice value)
{
    for (size_t i = 0; i < sizeof fixed_settings / sizeof fixed_settings[0]; i++)
        if (torcd_is_word(name, fixed_settings[i].name))
            return torcd_is_word(value, fixed_settings[i].value);
    return false;
}

/* Check one pair of CONFIG SET, or apply it. False if the client was told what is wrong. */
static bool
set_one(struct torcd_session *session, struct torc_slice name, struct torc_slice text, bool apply)
{
    struct torcd_server *server = session->worker->server;
    uint64_t value;
    unsigned i = 0;

    while (i < TORCD_SETTINGS && !torcd_is_word(name, torcd_setting_info((enum torcd_setting)i)->config))
        i++;
    if (i == TORCD_SETTINGS) {
        if (is_fixed_value(name, text))
            return true;
        torcd_resp_error(&session->out, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                         (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
        return false;
    }

    const struct torcd_setting_info *info = torcd_setting_info((enum torcd_setting)i);
    const char *failure = NULL;
    if (!info->can_change)
        failure = "can't set immutable config";
    else if (!torcd_setting_parse((enum torcd_setting)i, text, &value))
        failure = "argument is not a number within its bounds";
    if (failure != NULL) {
        torcd_resp_error(&session->out, "ERR CONFIG SET failed (possibly related to argument '%s') - %s", info->config,
                         failure);
        return false;
    }
    if (apply)
        /* Relaxed: see torcd_setting(). */
        atomic_store_explicit(&server->settings[i], value, memory_order_relaxed);
    return true;
}

static void
config_set(struct torcd_session *session)
{
    if (session->arguments_count % 2 != 0) {
        torcd_resp_error(&session->out, "ERR wrong number of arguments for 'config|set' command");
        return;
    }
    /* All or nothing: first look, then set. */
    for (int apply = 0; apply < 2; apply++)
        for (size_t i = 2; i < session->arguments_count; i += 2)
            if (!set_one(session, argument(session, i), argument(session, i + 1), apply == 1))
                return;
    torcd_reply_ok(session);
}

void
torcd_command_config(struct torcd_session *session)
{
    static const char *const help[] = {
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern> ...", "    Return the settings that match.",
        "SET <setting> <value> ...", "    Change settings until the server ends.",
        "RESETSTAT", "    Let the counters of INFO begin at 0.",
        NULL,
    };
    bool told = false;

    if (is_subcommand(session, "get", 3, SIZE_MAX, &told))
        config_get(session);
    else if (is_subcommand(session, "set", 4, SIZE_MAX, &told))
        config_set(session);
    else if (is_subcommand(session, "resetstat", 2, 2, &told)) {
        torcd_server_reset_counters(session->worker->server);
        torcd_reply_ok(session);
    } else if (is_subcommand(session, "rewrite", 2, 2, &told))
        torcd_resp_error(&session->out, "ERR The server is running without a config file");
    else if (is_subcommand(session, "help", 2, 2, &told))
        reply_lines(session, help);
    else if (!told)
        reply_unknown_subcommand(session);
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
        struct torc_slice word = argument(session, i);
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

    for (size_t i = 1; i < session->arguments_count; i++) {
        struct torc_slice word = argument(session, i);
        if (!torcd_is_word(word, "nosave") && !torcd_is_word(word, "save") && !torcd_is_word(word, "now")
            && !torcd_is_word(word, "force")) {
            torcd_reply_syntax_error(session);
            return;
        }
    }
    /* No reply, as in Redis: the end of the connection says it. */
    session->closing = true;
    callbacks->shut_down(callbacks->context);
}

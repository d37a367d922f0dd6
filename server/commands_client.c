/* SPDX-License-Identifier: MIT */
/* server/commands_client.c: who a client is: AUTH, HELLO, RESET and CLIENT. */
#include "commands.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* ---- AUTH, HELLO, RESET --------------------------------------------------------------------------------------- */

/* Let the session in if this is the password of the one user there is. False: the client is told that it is not. */
static bool
authenticate(struct torcd_session *session, struct torc_slice user, struct torc_slice password)
{
    static const char name[] = "default";
    bool is_default = user.size == sizeof name - 1 && memcmp(user.data, name, sizeof name - 1) == 0;

    if (torcd_server_is_password(session->worker->server, password) && is_default) {
        session->authenticated = true;
        return true;
    }
    torcd_resp_error(&session->out, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

void
torcd_command_auth(struct torcd_session *session)
{
    if (session->arguments_count > 3)
        torcd_reply_syntax_error(session);
    else if (session->arguments_count == 2 && !torcd_server_has_password(session->worker->server))
        torcd_resp_error(&session->out, "ERR AUTH <password> called without any password configured for the default "
                                        "user. Are you sure your configuration is correct?");
    else {
        struct torc_slice user = torc_slice_from_string("default");
        if (session->arguments_count == 3)
            user = torcd_argument(session, 1);
        if (authenticate(session, user, torcd_argument(session, session->arguments_count - 1)))
            torcd_reply_ok(session);
    }
}

bool
torcd_check_name(struct torcd_session *session, struct torc_slice name)
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

/* The version that HELLO asks for. False: the client is told why not. */
static bool
parse_protocol(struct torcd_session *session, int64_t *protocol)
{
    *protocol = session->protocol;
    if (session->arguments_count < 2)
        return true;
    if (!torcd_parse_integer(torcd_argument(session, 1), protocol)) {
        torcd_resp_error(&session->out, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (*protocol < 2 || *protocol > 3)
        torcd_resp_error(&session->out, "NOPROTO unsupported protocol version");
    return *protocol >= 2 && *protocol <= 3;
}

/* The words behind the version. False: the client is told what is wrong. AUTH has its effect even then. */
static bool
parse_hello(struct torcd_session *session, const struct torc_slice **name)
{
    for (size_t i = 2; i < session->arguments_count; i++) {
        struct torc_slice word = torcd_argument(session, i);
        size_t left = session->arguments_count - 1 - i;

        if (torcd_is_word(word, "auth") && left >= 2) {
            if (!authenticate(session, torcd_argument(session, i + 1), torcd_argument(session, i + 2)))
                return false;
            i += 2;
        } else if (torcd_is_word(word, "setname") && left >= 1) {
            *name = &session->arguments[++i];
            if (!torcd_check_name(session, **name))
                return false;
        } else {
            torcd_resp_error(&session->out, "ERR Syntax error in HELLO option '%.*s'",
                             (int)(word.size < 64 ? word.size : 64), (const char *)word.data);
            return false;
        }
    }
    return true;
}

void
torcd_command_hello(struct torcd_session *session)
{
    int64_t protocol;
    const struct torc_slice *name = NULL;

    if (!parse_protocol(session, &protocol) || !parse_hello(session, &name))
        return;
    if (!session->authenticated && torcd_server_has_password(session->worker->server)) {
        torcd_resp_error(&session->out, "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                                        "the HELLO AUTH <user> <pass> option can be used to authenticate the "
                                        "client and select the RESP protocol version at the same time");
        return;
    }
    if (name != NULL)
        torcd_session_rename(session, *name);
    session->protocol = (unsigned)protocol;
    reply_hello(session);
}

void
torcd_command_reset(struct torcd_session *session)
{
    torcd_session_forget_queue(session);
    torcd_session_unwatch(session);
    torcd_pubsub_leave(session);
    torcd_session_rename(session, torc_slice(NULL, 0));
    session->database = 0;
    session->protocol = 2;
    session->authenticated = !torcd_server_has_password(session->worker->server);
    torcd_resp_simple(&session->out, "RESET");
}

/* ---- CLIENT LIST ---------------------------------------------------------------------------------------------- */

/* Which clients CLIENT LIST and CLIENT KILL mean. */
struct filter {
    const struct torc_slice *address;
    const struct torc_slice *ids;       /* Numbers, checked. */
    size_t ids_count;
    bool of_type;
    bool listeners;                     /* With of_type: those that listen, or the others. */
    bool nobody;                        /* A type that no client here has. */
    bool myself_too;
};

/* Relaxed: a figure of another thread's session, as it was a moment ago. */
static unsigned
seen(const atomic_uint *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

static bool
listens(const struct torcd_session *client)
{
    return seen(&client->seen.subscriptions[TORCD_CHANNEL]) + seen(&client->seen.subscriptions[TORCD_PATTERN])
               + seen(&client->seen.subscriptions[TORCD_SHARD]) > 0;
}

static bool
has_id(const struct filter *filter, uint64_t id)
{
    int64_t wanted;

    for (size_t i = 0; i < filter->ids_count; i++)
        if (torcd_parse_integer(filter->ids[i], &wanted) && (uint64_t)wanted == id)
            return true;
    return filter->ids_count == 0;
}

static bool
is_meant(const struct filter *filter, const struct torcd_session *client)
{
    if (filter->nobody || !has_id(filter, client->id) || (filter->of_type && listens(client) != filter->listeners))
        return false;
    return filter->address == NULL
           || (filter->address->size == strlen(client->address)
               && memcmp(filter->address->data, client->address, filter->address->size) == 0);
}

/* False: the client is told that there is no such type. */
static bool
parse_type(struct torcd_session *session, struct torc_slice type, struct filter *filter)
{
    filter->of_type = true;
    filter->listeners = torcd_is_word(type, "pubsub");
    filter->nobody = torcd_is_word(type, "master") || torcd_is_word(type, "replica") || torcd_is_word(type, "slave");
    if (filter->listeners || filter->nobody || torcd_is_word(type, "normal"))
        return true;
    torcd_resp_error(&session->out, "ERR Unknown client type '%.*s'", (int)(type.size < 128 ? type.size : 128),
                     (const char *)type.data);
    return false;
}

static void
describe_client(const struct torcd_session *client, uint64_t now_ns, struct torcd_buffer *out)
{
    /* Relaxed: as seen(). */
    const struct torcd_command *command = atomic_load_explicit(&client->seen.command, memory_order_relaxed);
    uint64_t active_ns = atomic_load_explicit(&client->seen.active_ns, memory_order_relaxed);
    int queued = atomic_load_explicit(&client->seen.queued, memory_order_relaxed);
    bool monitors = seen(&client->seen.subscriptions[TORCD_MONITOR]) > 0;
    const char *flags = monitors ? "O" : listens(client) ? (queued >= 0 ? "Px" : "P") : queued >= 0 ? "x" : "N";

    torcd_buffer_format(out, "id=%" PRIu64 " addr=%s name=%s age=%" PRIu64 " idle=%" PRIu64 " flags=%s db=%u "
                             "sub=%u psub=%u ssub=%u multi=%d watch=%u thread=%u cmd=%s user=default redir=-1 "
                             "resp=%u\n",
                        client->id, client->address, client->name, (now_ns - client->created_ns) / UINT64_C(1000000000),
                        now_ns < active_ns ? 0 : (now_ns - active_ns) / UINT64_C(1000000000), flags,
                        seen(&client->seen.database), seen(&client->seen.subscriptions[TORCD_CHANNEL]),
                        seen(&client->seen.subscriptions[TORCD_PATTERN]),
                        seen(&client->seen.subscriptions[TORCD_SHARD]), queued, seen(&client->seen.watched),
                        client->worker->number, command == NULL ? "NULL" : command->name, seen(&client->seen.protocol));
}

void
torcd_command_client_info(struct torcd_session *session)
{
    struct torcd_buffer text = {0};
    uint64_t now = torcd_now_ns();

    torcd_session_publish(session, now);
    describe_client(session, now, &text);
    torcd_resp_verbatim(&session->out, session->protocol, torc_slice(text.data, text.size));
    torcd_buffer_fini(&text);
}

/* Whether arguments first, ... are numbers of clients; else the client is told. */
static bool
parse_ids(struct torcd_session *session, size_t first, struct filter *filter)
{
    int64_t id;

    for (size_t i = first; i < session->arguments_count; i++)
        if (!torcd_parse_integer(torcd_argument(session, i), &id) || id < 0) {
            torcd_resp_error(&session->out, "ERR Invalid client ID");
            return false;
        }
    filter->ids = session->arguments + first;
    filter->ids_count = session->arguments_count - first;
    return true;
}

static bool
parse_list(struct torcd_session *session, struct filter *filter)
{
    if (session->arguments_count == 2)
        return true;
    if (session->arguments_count == 4 && torcd_is_word(torcd_argument(session, 2), "type"))
        return parse_type(session, torcd_argument(session, 3), filter);
    if (session->arguments_count > 3 && torcd_is_word(torcd_argument(session, 2), "id"))
        return parse_ids(session, 3, filter);
    torcd_reply_syntax_error(session);
    return false;
}

void
torcd_command_client_list(struct torcd_session *session)
{
    struct torcd_server *server = session->worker->server;
    struct torcd_buffer text = {.limit = session->out.limit};
    struct filter filter = {0};
    uint64_t now = torcd_now_ns();

    if (!parse_list(session, &filter))
        return;
    torcd_session_publish(session, now);
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct torcd_worker *worker = server->workers[i];
        (void)pthread_mutex_lock(&worker->mutex);
        for (struct torcd_session *client = worker->sessions; client != NULL; client = client->next)
            if (is_meant(&filter, client))
                describe_client(client, now, &text);
        (void)pthread_mutex_unlock(&worker->mutex);
    }
    if (text.fault == TORCD_FAULT_NONE)
        torcd_resp_verbatim(&session->out, session->protocol, torc_slice(text.data, text.size));
    else
        session->out.fault = text.fault;
    torcd_buffer_fini(&text);
}

/* ---- CLIENT KILL ---------------------------------------------------------------------------------------------- */

/* One pair of words of CLIENT KILL. False: the client is told what is wrong. */
static bool
parse_victim(struct torcd_session *session, size_t at, struct filter *filter)
{
    struct torc_slice word = torcd_argument(session, at), value = torcd_argument(session, at + 1);
    int64_t id;

    if (torcd_is_word(word, "addr"))
        filter->address = &session->arguments[at + 1];
    else if (torcd_is_word(word, "laddr"))
        filter->nobody = true;          /* Which of its own addresses a client came to is not noted. */
    else if (torcd_is_word(word, "id")) {
        if (!torcd_parse_integer(value, &id) || id < 1) {
            torcd_resp_error(&session->out, "ERR client-id should be greater than 0");
            return false;
        }
        filter->ids = &session->arguments[at + 1];
        filter->ids_count = 1;
    } else if (torcd_is_word(word, "type"))
        return parse_type(session, value, filter);
    else if (torcd_is_word(word, "user")) {
        if (torcd_is_word(value, "default"))
            return true;
        torcd_resp_error(&session->out, "ERR No such user '%.*s'", (int)(value.size < 128 ? value.size : 128),
                         (const char *)value.data);
        return false;
    } else if (torcd_is_word(word, "skipme") && (torcd_is_word(value, "yes") || torcd_is_word(value, "no")))
        filter->myself_too = torcd_is_word(value, "no");
    else {
        torcd_reply_syntax_error(session);
        return false;
    }
    return true;
}

static bool
parse_kill(struct torcd_session *session, struct filter *filter)
{
    size_t count = session->arguments_count;

    if (count == 3) {
        filter->address = &session->arguments[2];
        filter->myself_too = true;
        return true;
    }
    if (count % 2 != 0) {
        torcd_reply_syntax_error(session);
        return false;
    }
    for (size_t i = 2; i < count; i += 2)
        if (!parse_victim(session, i, filter))
            return false;
    return true;
}

/* Mark the clients that are meant, and have their workers look. Returns how many. */
static int64_t
kill_clients(struct torcd_session *session, const struct filter *filter)
{
    struct torcd_server *server = session->worker->server;
    int64_t killed = 0;

    for (unsigned i = 0; i < server->workers_count; i++) {
        struct torcd_worker *worker = server->workers[i];
        int64_t before = killed;
        (void)pthread_mutex_lock(&worker->mutex);
        for (struct torcd_session *client = worker->sessions; client != NULL; client = client->next)
            if (is_meant(filter, client) && (client != session || filter->myself_too)) {
                if (client == session)
                    session->closing = true;        /* Once it has its reply. */
                else
                    /* Relaxed: a flag; the wake below brings its reader. */
                    atomic_store_explicit(&client->seen.killed, true, memory_order_relaxed);
                killed++;
            }
        (void)pthread_mutex_unlock(&worker->mutex);
        if (killed > before)
            server->callbacks.wake(server->callbacks.context, worker->number);
    }
    return killed;
}

void
torcd_command_client_kill(struct torcd_session *session)
{
    struct filter filter = {0};

    torcd_session_publish(session, session->worker->now_ns);
    if (!parse_kill(session, &filter))
        return;
    int64_t killed = kill_clients(session, &filter);
    if (session->arguments_count > 3)
        torcd_reply_integer(session, killed);
    else if (killed > 0)
        torcd_reply_ok(session);
    else
        torcd_resp_error(&session->out, "ERR No such client");
}

/* ---- The rest of CLIENT --------------------------------------------------------------------------------------- */

void
torcd_command_client_id(struct torcd_session *session)
{
    torcd_reply_integer(session, (int64_t)session->id);
}

void
torcd_command_client_getname(struct torcd_session *session)
{
    if (session->name[0] == '\0')
        torcd_reply_null(session);
    else
        torcd_reply_string(session, session->name);
}

void
torcd_command_client_setname(struct torcd_session *session)
{
    if (!torcd_check_name(session, torcd_argument(session, 2)))
        return;
    torcd_session_rename(session, torcd_argument(session, 2));
    torcd_reply_ok(session);
}

void
torcd_command_client_getredir(struct torcd_session *session)
{
    torcd_reply_integer(session, -1);
}

static void
accept_switch(struct torcd_session *session)
{
    struct torc_slice word = torcd_argument(session, 2);

    if (torcd_is_word(word, "on") || torcd_is_word(word, "off"))
        torcd_reply_ok(session);
    else
        torcd_reply_syntax_error(session);
}

void
torcd_command_client_no_evict(struct torcd_session *session)
{
    accept_switch(session);
}

void
torcd_command_client_no_touch(struct torcd_session *session)
{
    accept_switch(session);
}

void
torcd_command_client_setinfo(struct torcd_session *session)
{
    torcd_reply_ok(session);
}

void
torcd_command_client_help(struct torcd_session *session)
{
    static const char *const help[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME", "    Return the name of this connection.",
        "GETREDIR", "    Return -1: there is no tracking.",
        "ID", "    Return the number of this connection.",
        "INFO", "    Describe this connection.",
        "KILL <ip:port>", "    Close the connection from there.",
        "KILL <option> <value> [<option> <value> ...]", "    Close connections. Options are:",
        "    ADDR <ip:port>, ID <id>, TYPE (normal|pubsub), USER <name>, SKIPME (yes|no)",
        "LIST [TYPE (normal|pubsub) | ID <id> ...]", "    Describe connections.",
        "SETNAME <name>", "    Name this connection.",
        "SETINFO <option> <value>, NO-EVICT (on|off), NO-TOUCH (on|off)", "    Accepted, without effect.",
        "HELP", "    Print this help.",
        NULL,
    };

    torcd_reply_lines(session, help);
}

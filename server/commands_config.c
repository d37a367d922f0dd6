/* SPDX-License-Identifier: MIT */
/* server/commands_config.c: CONFIG.
 *
 * Three kinds of settings: the numbers of options.c; `others`, each with its own way to be read and changed; and fixed
 * ones, which clients ask for though they cannot be other than they are. */
#include "commands.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "diagnostics.h"
#include "effects.h"
#include "glob.h"

static const char *
get_save(const struct torcd_server *server)
{
    (void)server;
    return "";
}

static const char *
get_policy(const struct torcd_server *server)
{
    (void)server;
    return "noeviction";
}

static const char *
get_appendonly(const struct torcd_server *server)
{
    return server->journaled ? "yes" : "no";
}

/* In the words of Redis: what "everysec" promises holds, and more. */
static const char *
get_appendfsync(const struct torcd_server *server)
{
    return server->holds_replies ? "always" : server->journaled ? "everysec" : "no";
}

static const char *
get_directory(const struct torcd_server *server)
{
    return server->directory[0] != '\0' ? server->directory : "/";
}

static const char *
get_durability(const struct torcd_server *server)
{
    return server->holds_replies ? "sync" : server->journaled ? "async" : "none";
}

static const struct { const char *name; const char *(*get)(const struct torcd_server *server); } fixed_settings[] = {
    {"save", get_save}, {"appendonly", get_appendonly}, {"appendfsync", get_appendfsync},
    {"maxmemory-policy", get_policy}, {"dir", get_directory}, {"durability", get_durability},
};

#define VALUE_MAX (TORCD_PASSWORD_MAX + 1u)

/* ---- Settings that are not in options.c ----------------------------------------------------------------------- */

/* `get` writes the value as text. `set` checks `text` and, if `apply`, obeys it; it returns what is wrong, or NULL. */
struct other {
    const char *name;
    void (*get)(struct torcd_server *server, char value[VALUE_MAX]);
    const char *(*set)(struct torcd_server *server, struct torc_slice text, bool apply);
};

static void
get_notifications(struct torcd_server *server, char value[VALUE_MAX])
{
    /* Relaxed: a setting. */
    torcd_events_print(atomic_load_explicit(&server->notifications, memory_order_relaxed), value);
}

static const char *
set_notifications(struct torcd_server *server, struct torc_slice text, bool apply)
{
    unsigned flags;

    if (!torcd_events_parse(text, &flags))
        return "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
    if (apply)
        /* Relaxed: a setting. */
        atomic_store_explicit(&server->notifications, flags, memory_order_relaxed);
    return NULL;
}

static void
get_password(struct torcd_server *server, char value[VALUE_MAX])
{
    torcd_server_get_password(server, value);
}

static const char *
set_password(struct torcd_server *server, struct torc_slice text, bool apply)
{
    if (text.size > TORCD_PASSWORD_MAX || (text.size > 0 && memchr(text.data, '\0', text.size) != NULL))
        return "a password has 512 bytes at most, and no zero among them";
    if (apply)
        (void)torcd_server_set_password(server, text);
    return NULL;
}

static void
get_number(struct torcd_server *server, enum torcd_diagnostics_setting setting, char value[VALUE_MAX])
{
    (void)snprintf(value, VALUE_MAX, "%" PRId64, torcd_diagnostics_get(server->diagnostics, setting));
}

static const char *
set_number(struct torcd_server *server, enum torcd_diagnostics_setting setting, struct torc_slice text, int64_t least,
           bool apply)
{
    int64_t number;

    if (!torcd_parse_integer(text, &number))
        return "argument couldn't be parsed into an integer";
    if (number < least)
        return least < 0 ? "argument must be between -1 and 9223372036854775807 inclusive"
                         : "argument must be between 0 and 9223372036854775807 inclusive";
    if (apply)
        torcd_diagnostics_set(server->diagnostics, setting, number);
    return NULL;
}

static void
get_slower_than(struct torcd_server *server, char value[VALUE_MAX])
{
    get_number(server, TORCD_SLOWER_THAN, value);
}

static const char *
set_slower_than(struct torcd_server *server, struct torc_slice text, bool apply)
{
    return set_number(server, TORCD_SLOWER_THAN, text, -1, apply);
}

static void
get_slow_length(struct torcd_server *server, char value[VALUE_MAX])
{
    get_number(server, TORCD_SLOW_LENGTH, value);
}

static const char *
set_slow_length(struct torcd_server *server, struct torc_slice text, bool apply)
{
    return set_number(server, TORCD_SLOW_LENGTH, text, 0, apply);
}

static void
get_latency_threshold(struct torcd_server *server, char value[VALUE_MAX])
{
    get_number(server, TORCD_LATENCY_THRESHOLD, value);
}

static const char *
set_latency_threshold(struct torcd_server *server, struct torc_slice text, bool apply)
{
    return set_number(server, TORCD_LATENCY_THRESHOLD, text, 0, apply);
}

static const struct other others[] = {
    {"latency-monitor-threshold", get_latency_threshold, set_latency_threshold},
    {"notify-keyspace-events", get_notifications, set_notifications},
    {"requirepass", get_password, set_password},
    {"slowlog-log-slower-than", get_slower_than, set_slower_than},
    {"slowlog-max-len", get_slow_length, set_slow_length},
};

#define OTHERS (sizeof others / sizeof others[0])

/* ---- GET ------------------------------------------------------------------------------------------------------ */

/* Whether a pattern of CONFIG GET matches `name`. */
static bool
is_asked(const struct torcd_session *session, const char *name)
{
    for (size_t i = 2; i < session->arguments_count; i++)
        if (torcd_glob_match_ignoring_case(torcd_argument(session, i), torc_slice_from_string(name)))
            return true;
    return false;
}

/* Reply with a setting if it is asked for; returns how many that were. */
static size_t
reply_if_asked(struct torcd_session *session, const char *name, const char *value)
{
    if (!is_asked(session, name))
        return 0;
    torcd_reply_string(session, name);
    torcd_reply_string(session, value);
    return 1;
}

void
torcd_command_config_get(struct torcd_session *session)
{
    struct torcd_server *server = session->worker->server;
    size_t mark = session->out.size, found = 0;
    char text[VALUE_MAX];

    for (unsigned i = 0; i < TORCD_SETTINGS; i++) {
        uint64_t value = torcd_setting(server, (enum torcd_setting)i);
        (void)snprintf(text, sizeof text, "%" PRIu64, value);
        found += reply_if_asked(session, torcd_setting_info((enum torcd_setting)i)->config,
                                value == TORCD_OFF ? "off" : text);
    }
    for (size_t i = 0; i < OTHERS; i++) {
        others[i].get(server, text);
        found += reply_if_asked(session, others[i].name, text);
    }
    for (size_t i = 0; i < sizeof fixed_settings / sizeof fixed_settings[0]; i++)
        found += reply_if_asked(session, fixed_settings[i].name, fixed_settings[i].get(server));
    found += reply_if_asked(session, "bind", server->binds);
    torcd_resp_insert_map(&session->out, session->protocol, mark, found);
}

/* ---- SET ------------------------------------------------------------------------------------------------------ */

/* Whether `name` is a fixed setting and `value` the one it has. */
static bool
is_fixed_value(const struct torcd_server *server, struct torc_slice name, struct torc_slice value)
{
    for (size_t i = 0; i < sizeof fixed_settings / sizeof fixed_settings[0]; i++)
        if (torcd_is_word(name, fixed_settings[i].name))
            return torcd_is_word(value, fixed_settings[i].get(server));
    return false;
}

/* Check a setting of options.c, or apply it; returns what is wrong, or NULL. */
static const char *
set_option(struct torcd_server *server, enum torcd_setting setting, struct torc_slice text, bool apply)
{
    uint64_t value;

    if (!torcd_setting_info(setting)->can_change)
        return "can't set immutable config";
    if (!torcd_setting_parse(setting, text, &value))
        return "argument is not a number within its bounds";
    if (apply)
        /* Relaxed: see torcd_setting(). */
        atomic_store_explicit(&server->settings[setting], value, memory_order_relaxed);
    return NULL;
}

/* Check one pair of CONFIG SET, or apply it. False if the client was told what is wrong. */
static bool
set_one(struct torcd_session *session, struct torc_slice name, struct torc_slice text, bool apply)
{
    struct torcd_server *server = session->worker->server;
    const char *failure = NULL, *known = NULL;

    for (unsigned i = 0; i < TORCD_SETTINGS && known == NULL; i++)
        if (torcd_is_word(name, torcd_setting_info((enum torcd_setting)i)->config)) {
            known = torcd_setting_info((enum torcd_setting)i)->config;
            failure = set_option(server, (enum torcd_setting)i, text, apply);
        }
    for (size_t i = 0; i < OTHERS && known == NULL; i++)
        if (torcd_is_word(name, others[i].name)) {
            known = others[i].name;
            failure = others[i].set(server, text, apply);
        }
    if (failure != NULL)
        torcd_resp_error(&session->out, "ERR CONFIG SET failed (possibly related to argument '%s') - %s", known,
                         failure);
    else if (known == NULL && !is_fixed_value(server, name, text)) {
        torcd_resp_error(&session->out, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                         (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
        return false;
    }
    return failure == NULL;
}

static bool
is_same_word(struct torc_slice one, struct torc_slice other)
{
    char word[64];

    if (one.size != other.size || other.size >= sizeof word)
        return false;
    for (size_t i = 0; i < other.size; i++) {
        char c = ((const char *)other.data)[i];
        word[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    word[other.size] = '\0';
    return torcd_is_word(one, word);
}

/* False: setting `at` was named before, and the client is told. */
static bool
is_named_once(struct torcd_session *session, size_t at)
{
    struct torc_slice name = torcd_argument(session, at);

    for (size_t i = 2; i < at; i += 2)
        if (is_same_word(torcd_argument(session, i), name)) {
            torcd_resp_error(&session->out, "ERR CONFIG SET failed (possibly related to argument '%.*s') - duplicate "
                                            "parameter", (int)name.size, (const char *)name.data);
            return false;
        }
    return true;
}

void
torcd_command_config_set(struct torcd_session *session)
{
    if (session->arguments_count % 2 != 0) {
        torcd_reply_wrong_arguments(session);
        return;
    }
    /* All or nothing: first look, then set. */
    for (int apply = 0; apply < 2; apply++)
        for (size_t i = 2; i < session->arguments_count; i += 2)
            if (!set_one(session, torcd_argument(session, i), torcd_argument(session, i + 1), apply == 1)
                || !is_named_once(session, i))
                return;
    torcd_reply_ok(session);
}

void
torcd_command_config_resetstat(struct torcd_session *session)
{
    torcd_server_reset_counters(session->worker->server);
    torcd_reply_ok(session);
}

void
torcd_command_config_rewrite(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR The server is running without a config file");
}

void
torcd_command_config_help(struct torcd_session *session)
{
    static const char *const help[] = {
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern> ...", "    Return the settings that match.",
        "SET <setting> <value> ...", "    Change settings until the server ends.",
        "RESETSTAT", "    Let the counters of INFO begin at 0.",
        "HELP", "    Print this help.",
        NULL,
    };

    torcd_reply_lines(session, help);
}

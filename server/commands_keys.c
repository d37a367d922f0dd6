/* SPDX-License-Identifier: MIT */
/* server/commands_keys.c: the commands about keys, whatever their values. */
#include "commands.h"
#include "effects.h"
#include "keyspace.h"

#include <assert.h>

/* ---- EXISTS, TYPE, DEL ---------------------------------------------------------------------------------------- */

static enum torc_status
exists_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torc_slice values[TORCD_KEYS_AT_ONCE];
    size_t count = session->arguments_count;
    int64_t found = 0;

    (void)context;
    for (size_t i = 1; i < count; i += TORCD_KEYS_AT_ONCE) {
        size_t part = count - i < TORCD_KEYS_AT_ONCE ? count - i : TORCD_KEYS_AT_ONCE;
        enum torc_status status = torcd_keyspace_get_many(session, txn, session->arguments + i, part, values);
        if (status != TORC_OK)
            return status;
        for (size_t j = 0; j < part; j++)
            found += values[j].data != NULL;
    }
    torcd_reply_integer(session, found);
    return TORC_OK;
}

void
torcd_command_exists(struct torcd_session *session)
{
    if (torcd_check_keys(session, 1, 1))
        (void)torcd_keyspace_run(session, TORCD_READ, exists_body, NULL);
}

void
torcd_command_type(struct torcd_session *session)
{
    size_t size = 0;

    if (!torcd_keyspace_check(session, torcd_argument(session, 1)))
        return;
    enum torc_status status = torcd_keyspace_size(session, torcd_argument(session, 1), &size);
    if (status == TORC_OK || status == TORC_NOT_FOUND)
        torcd_resp_simple(&session->out, status == TORC_OK ? "string" : "none");
    else
        torcd_reply_status(session, status);
}

static enum torc_status
del_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    int64_t deleted = 0;

    (void)context;
    for (size_t i = 1; i < session->arguments_count; i++) {
        bool existed;
        enum torc_status status = torcd_keyspace_delete(session, txn, torcd_argument(session, i), &existed);
        if (status != TORC_OK)
            return status;
        if (existed)
            torcd_effect_event(session, TORCD_EVENT_GENERIC, "del", torcd_argument(session, i));
        deleted += existed;
    }
    torcd_reply_integer(session, deleted);
    return TORC_OK;
}

void
torcd_command_del(struct torcd_session *session)
{
    bool existed = false;

    if (!torcd_check_keys(session, 1, 1))
        return;
    if (session->arguments_count > 2)
        (void)torcd_keyspace_run(session, TORCD_MANY_KEYS, del_body, NULL);
    else if (torcd_keyspace_unset(session, torcd_argument(session, 1), &existed)) {
        if (existed)
            torcd_effect_event(session, TORCD_EVENT_GENERIC, "del", torcd_argument(session, 1));
        torcd_reply_integer(session, existed);
    }
}

/* ---- OBJECT --------------------------------------------------------------------------------------------------- */

#define EMBEDDED_MAX 44u        /* Of a value that Redis would keep within its object. */

/* How Redis would keep a value that was set as a whole. */
static const char *
encoding_of(struct torc_slice value)
{
    int64_t number;

    if (value.size <= TORCD_INTEGER_DIGITS && torcd_parse_integer(value, &number))
        return "int";
    return value.size <= EMBEDDED_MAX ? "embstr" : "raw";
}

enum aspect { ENCODING, FREQUENCY, IDLE_TIME, REFERENCES };

static enum torc_status
object_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const enum aspect *aspect = context;
    struct torc_slice value;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, torcd_argument(session, 2), &value, &present);

    if (status != TORC_OK)
        return status;
    if (!present) {
        torcd_reply_null(session);
        return TORC_OK;
    }
    switch (*aspect) {
    case ENCODING: torcd_reply_string(session, encoding_of(value)); break;
    case IDLE_TIME: torcd_reply_integer(session, 0); break;
    case REFERENCES: torcd_reply_integer(session, 1); break;
    case FREQUENCY:
        torcd_resp_error(&session->out, "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                                        "Please note that when switching between policies at runtime LRU and LFU data "
                                        "will take some time to adjust.");
        break;
    }
    return TORC_OK;
}

static void
tell_aspect(struct torcd_session *session, enum aspect aspect)
{
    if (torcd_keyspace_check(session, torcd_argument(session, 2)))
        (void)torcd_keyspace_run(session, TORCD_READ, object_body, &aspect);
}

void
torcd_command_object_encoding(struct torcd_session *session)
{
    tell_aspect(session, ENCODING);
}

void
torcd_command_object_freq(struct torcd_session *session)
{
    tell_aspect(session, FREQUENCY);
}

void
torcd_command_object_idletime(struct torcd_session *session)
{
    tell_aspect(session, IDLE_TIME);
}

void
torcd_command_object_refcount(struct torcd_session *session)
{
    tell_aspect(session, REFERENCES);
}

void
torcd_command_object_help(struct torcd_session *session)
{
    static const char *const help[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>", "    Return how Redis would encode the value: int, embstr or raw.",
        "FREQ <key>", "    Refused: accesses are not counted.",
        "IDLETIME <key>", "    Return 0: accesses are not noted.",
        "REFCOUNT <key>", "    Return 1.",
        "HELP", "    Print this help.",
        NULL,
    };

    torcd_reply_lines(session, help);
}

/* ---- RENAME, COPY, MOVE --------------------------------------------------------------------------------------- */

/* One key on its way to another place. */
struct transfer {
    struct torc_slice from;
    struct torc_slice to;
    unsigned from_database;
    unsigned to_database;
    bool replace;               /* Whether another key may be in its place. */
    bool keep;                  /* The first one stays: COPY. */
    bool is_rename;             /* RENAME (with `replace`) or RENAMENX. */
    const char *from_event;     /* NULL: none. */
    const char *to_event;
};

static bool
is_same_place(const struct transfer *transfer)
{
    struct torc_slice from = transfer->from, to = transfer->to;

    return transfer->from_database == transfer->to_database && from.size == to.size
           && (from.size == 0 || memcmp(from.data, to.data, from.size) == 0);
}

static void
reply_transfer(struct torcd_session *session, const struct transfer *transfer, bool found, bool done)
{
    if (!found && transfer->is_rename)
        torcd_resp_error(&session->out, "ERR no such key");
    else if (transfer->is_rename && transfer->replace)
        torcd_reply_ok(session);
    else
        torcd_reply_integer(session, done);
}

/* Write `value` to the place where it goes. The session means that database. `*done`: there was room for it. */
static enum torc_status
arrive(struct torcd_session *session, struct torc_txn *txn, const struct transfer *transfer, struct torc_slice value,
       uint64_t expires_ms, bool *done)
{
    struct torc_slice there;
    bool taken;
    enum torc_status status = torcd_keyspace_get(session, txn, transfer->to, &there, &taken);

    *done = !taken || transfer->replace;
    if (status != TORC_OK || !*done)
        return status;
    return torcd_keyspace_put(session, txn, transfer->to, value, expires_ms, taken);
}

static void
note_transfer(struct torcd_session *session, const struct transfer *transfer)
{
    unsigned database = session->database;

    if (transfer->from_event != NULL)
        torcd_effect_event(session, TORCD_EVENT_GENERIC, transfer->from_event, transfer->from);
    session->database = transfer->to_database;
    torcd_effect_event(session, TORCD_EVENT_GENERIC, transfer->to_event, transfer->to);
    session->database = database;
}

static enum torc_status
transfer_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct transfer *transfer = context;
    struct torc_slice value;
    uint64_t expires_ms;
    bool found, existed, done = false;
    enum torc_status status = torcd_keyspace_get(session, txn, transfer->from, &value, &found);

    if (status == TORC_OK && found)
        status = torcd_keyspace_expiry(session, txn, transfer->from, &expires_ms);
    if (status == TORC_OK && found && !is_same_place(transfer)) {
        session->database = transfer->to_database;
        status = arrive(session, txn, transfer, value, expires_ms, &done);
        session->database = transfer->from_database;
    }
    if (status == TORC_OK && done && !transfer->keep)
        status = torcd_keyspace_delete(session, txn, transfer->from, &existed);
    if (status != TORC_OK)
        return status;
    if (done)
        note_transfer(session, transfer);
    reply_transfer(session, transfer, found, done);
    return TORC_OK;
}

static void
run_transfer(struct torcd_session *session, struct transfer *transfer)
{
    if (torcd_keyspace_check(session, transfer->from) && torcd_keyspace_check(session, transfer->to))
        (void)torcd_keyspace_run(session, TORCD_MANY_KEYS, transfer_body, transfer);
}

static void
rename_key(struct torcd_session *session, bool replace)
{
    struct transfer transfer = {
        .from = torcd_argument(session, 1), .to = torcd_argument(session, 2), .from_database = session->database,
        .to_database = session->database, .replace = replace, .is_rename = true, .from_event = "rename_from",
        .to_event = "rename_to",
    };

    run_transfer(session, &transfer);
}

void
torcd_command_rename(struct torcd_session *session)
{
    rename_key(session, true);
}

void
torcd_command_renamenx(struct torcd_session *session)
{
    rename_key(session, false);
}

/* The number of a database. False: the client is told. */
static bool
parse_database(struct torcd_session *session, struct torc_slice text, unsigned *database)
{
    int64_t number;

    if (!torcd_parse_integer(text, &number)) {
        torcd_reply_not_an_integer(session);
        return false;
    }
    if (number < INT32_MIN || number > INT32_MAX) {
        torcd_reply_out_of_range(session);
        return false;
    }
    if (number < 0 || number >= session->worker->databases) {
        torcd_resp_error(&session->out, "ERR DB index is out of range");
        return false;
    }
    *database = (unsigned)number;
    return true;
}

static void
reply_same_place(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR source and destination objects are the same");
}

void
torcd_command_copy(struct torcd_session *session)
{
    struct transfer transfer = {
        .from = torcd_argument(session, 1), .to = torcd_argument(session, 2), .from_database = session->database,
        .to_database = session->database, .keep = true, .to_event = "copy_to",
    };

    for (size_t i = 3; i < session->arguments_count; i++) {
        struct torc_slice word = torcd_argument(session, i);

        if (torcd_is_word(word, "replace"))
            transfer.replace = true;
        else if (torcd_is_word(word, "db") && i + 1 < session->arguments_count) {
            if (!parse_database(session, torcd_argument(session, ++i), &transfer.to_database))
                return;
        } else {
            torcd_reply_syntax_error(session);
            return;
        }
    }
    if (is_same_place(&transfer))
        reply_same_place(session);
    else
        run_transfer(session, &transfer);
}

void
torcd_command_move(struct torcd_session *session)
{
    struct transfer transfer = {
        .from = torcd_argument(session, 1), .to = torcd_argument(session, 1), .from_database = session->database,
        .from_event = "move_from", .to_event = "move_to",
    };

    if (!parse_database(session, torcd_argument(session, 2), &transfer.to_database))
        return;
    if (transfer.from_database == transfer.to_database)
        reply_same_place(session);
    else
        run_transfer(session, &transfer);
}

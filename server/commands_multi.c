/* SPDX-License-Identifier: MIT */
/* server/commands_multi.c: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
 *
 *   WATCH a        opens a snapshot and remembers a's version in it
 *   GET a          outside MULTI: the newest value, as always
 *   MULTI ... EXEC one serializable transaction: first it looks whether each watched key still has its version; if not,
 *                  the reply is nil. The look is a read of that transaction, so a change before its commit is a
 *                  conflict; then everything is done again, the look as well
 *
 * What EXEC reads and writes is thus as of EXEC, not of WATCH: only a change of a watched key makes it fail. An address
 * identifies a version because the snapshot keeps the watched one in memory. What is not seen is a key that was absent
 * at WATCH, came and went: it is absent as before. A WATCH after the first ones of a session (TORCD_WATCH_SNAPSHOTS)
 * shares the last snapshot, which is older than itself: EXEC may then fail for a change that came before that WATCH. */
#include "commands.h"
#include "databases.h"
#include "effects.h"
#include "keyspace.h"

#include <assert.h>

void
torcd_command_multi(struct torcd_session *session)
{
    if (session->multi) {
        torcd_resp_error(&session->out, "ERR MULTI calls can not be nested");
        return;
    }
    session->multi = true;
    torcd_reply_ok(session);
}

void
torcd_command_discard(struct torcd_session *session)
{
    if (!session->multi) {
        torcd_resp_error(&session->out, "ERR DISCARD without MULTI");
        return;
    }
    torcd_session_forget_queue(session);
    torcd_session_unwatch(session);
    torcd_reply_ok(session);
}

/* ---- WATCH ---------------------------------------------------------------------------------------------------- */

/* The snapshot in which the keys of a WATCH are looked up; it means the session's database. An older one that is
 * shared may know that database by a keyspace that has been replaced since: `*replaced` is true then, and that keyspace
 * must not be used. */
static enum torc_status
open_snapshot(struct torcd_session *session, struct torc_txn **snapshot, bool *replaced)
{
    struct torcd_server *server = session->worker->server;
    const struct torc_txn_options options = {.isolation = TORC_SNAPSHOT, .read_only = true};
    bool shared = session->snapshots_count == TORCD_WATCH_SNAPSHOTS;
    struct torc_keyspace *keyspace;

    *replaced = false;
    if (!shared) {
        enum torc_status status = torc_txn_begin(server->store, &options, snapshot);
        if (status != TORC_OK)
            return status;
        session->snapshots[session->snapshots_count++] = *snapshot;
    }
    *snapshot = session->snapshots[session->snapshots_count - 1];
    enum torc_status status = torcd_databases_find(server->databases, *snapshot, session->database, &keyspace);
    *replaced = shared && (status == TORC_NOT_FOUND
                           || (status == TORC_OK
                               && keyspace != torcd_databases_now(server->databases, session->database)));
    if (*replaced)
        return TORC_OK;
    return status == TORC_OK ? torc_txn_use(*snapshot, keyspace) : status;
}

/* A new place at the end of session->watched, not counted yet, or NULL. */
static struct torcd_watched *
reserve_watched(struct torcd_session *session)
{
    if (session->watched_count == session->watched_capacity) {
        size_t capacity = session->watched_capacity == 0 ? 4 : session->watched_capacity * 2;
        struct torcd_watched *watched = torcd_resize(session->watched, capacity * sizeof *watched);
        if (watched == NULL)
            return NULL;
        session->watched = watched;
        session->watched_capacity = capacity;
    }
    return &session->watched[session->watched_count];
}

static enum torc_status
watch_key(struct torcd_session *session, struct torc_txn *snapshot, struct torc_slice key)
{
    struct torcd_watched *watched = reserve_watched(session);
    char *copy = watched == NULL ? NULL : torcd_resize(NULL, key.size == 0 ? 1 : key.size);

    if (copy == NULL)
        return TORC_NO_MEMORY;
    if (key.size > 0)
        memcpy(copy, key.data, key.size);
    enum torc_status status = torc_txn_get(snapshot, torcd_keyspace_key(session, key), &watched->value);
    if (status != TORC_OK && status != TORC_NOT_FOUND) {
        torcd_release(copy);
        return status;
    }
    watched->present = status == TORC_OK;
    watched->database = session->database;
    watched->key = torc_slice(copy, key.size);
    session->watched_count++;
    session->watched_bytes += sizeof *watched + key.size;
    return TORC_OK;
}

void
torcd_command_watch(struct torcd_session *session)
{
    struct torc_txn *snapshot = NULL;
    bool replaced = false;

    if (session->multi) {
        torcd_resp_error(&session->out, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!torcd_check_keys(session, 1, 1))
        return;
    if (session->watched_count == 0)
        session->watch_began_ns = torcd_now_ns();
    enum torc_status status = open_snapshot(session, &snapshot, &replaced);
    if (status == TORC_OK && replaced)
        torcd_session_expire_watch(session);
    for (size_t i = 1; i < session->arguments_count && status == TORC_OK && !replaced; i++) {
        if (session->watched_bytes > torcd_setting(session->worker->server, TORCD_QUERY_BUFFER_MAX)) {
            torcd_resp_error(&session->out, "ERR the watched keys exceed client-query-buffer-limit");
            return;
        }
        status = watch_key(session, snapshot, session->arguments[i]);
    }
    if (status == TORC_OK) {
        torcd_reply_ok(session);
        return;
    }
    /* Without a watched key nothing would ever end the snapshot. */
    if (session->watched_count == 0)
        torcd_session_unwatch(session);
    torcd_reply_status(session, status);
}

void
torcd_command_unwatch(struct torcd_session *session)
{
    /* Within EXEC the watches have been looked at and end anyway. */
    if (session->txn == NULL)
        torcd_session_unwatch(session);
    torcd_reply_ok(session);
}

/* ---- EXEC ----------------------------------------------------------------------------------------------------- */

/* How the session stood when EXEC came: queued commands may change it, and may run again. */
struct exec {
    const struct torcd_command *command;
    const struct torc_slice *arguments;
    size_t arguments_count;
    unsigned database;
    unsigned protocol;
};

static void
restore(struct torcd_session *session, const struct exec *exec)
{
    session->database = exec->database;
    session->protocol = exec->protocol;
}

/* Whether every watched key still has the version that WATCH saw. */
static enum torc_status
check_watched(struct torcd_session *session, struct torc_txn *txn, bool *unchanged)
{
    unsigned database = session->database;
    enum torc_status status = TORC_OK;

    *unchanged = true;
    for (size_t i = 0; i < session->watched_count && *unchanged && status == TORC_OK; i++) {
        const struct torcd_watched *watched = &session->watched[i];
        struct torc_slice value;
        bool present;

        session->database = watched->database;
        status = torcd_keyspace_get(session, txn, watched->key, &value, &present);
        *unchanged = present == watched->present
                     && (!present || (value.data == watched->value.data && value.size == watched->value.size));
    }
    session->database = database;
    return status;
}

static enum torc_status
run_queue(struct torcd_session *session, struct torc_txn *txn)
{
    session->txn = txn;
    session->txn_status = TORC_OK;
    torcd_resp_array(&session->out, session->queue_count);
    for (struct torcd_queued *queued = session->queue; queued != NULL; queued = queued->next) {
        session->command = queued->command;
        session->arguments = queued->arguments;
        session->arguments_count = queued->arguments_count;
        torcd_commands_run(session);
        if (session->txn_status != TORC_OK || session->out.fault != TORCD_FAULT_NONE)
            break;
    }
    session->txn = NULL;
    return session->txn_status;
}

static enum torc_status
exec_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct exec *exec = context;
    bool unchanged;

    restore(session, exec);
    enum torc_status status = check_watched(session, txn, &unchanged);
    if (status != TORC_OK)
        return status;
    if (!unchanged) {
        torcd_resp_null_array(&session->out, session->protocol);
        return TORC_OK;
    }
    return run_queue(session, txn);
}

static bool
only_reads(const struct torcd_session *session)
{
    for (const struct torcd_queued *queued = session->queue; queued != NULL; queued = queued->next)
        if ((queued->command->flags & TORCD_WRITES) != 0)
            return false;
    return true;
}

void
torcd_command_exec(struct torcd_session *session)
{
    struct exec exec = {
        session->command, session->arguments, session->arguments_count, session->database, session->protocol,
    };

    assert(session->txn == NULL);
    if (!session->multi) {
        torcd_resp_error(&session->out, "ERR EXEC without MULTI");
        return;
    }
    if (session->multi_failed)
        torcd_resp_error(&session->out, "EXECABORT Transaction discarded because of previous errors.");
    else if (session->watch_expired)
        torcd_resp_null_array(&session->out, session->protocol);
    else {
        /* As if outside MULTI: what a queued command sees of its session. */
        session->multi = false;
        if (!torcd_keyspace_run(session, only_reads(session) ? TORCD_READ : TORCD_MANY_KEYS, exec_body, &exec))
            restore(session, &exec);
    }
    session->command = exec.command;
    session->arguments = exec.arguments;
    session->arguments_count = exec.arguments_count;
    if (session->hold) {
        session->multi = true;
        return;
    }
    torcd_session_forget_queue(session);
    torcd_session_unwatch(session);
}

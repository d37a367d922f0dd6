/* SPDX-License-Identifier: MIT */
/* server/commands_databases.c: the commands about whole databases. */
#include "commands.h"
#include "databases.h"
#include "keyspace.h"

#include <assert.h>

void
torcd_command_select(struct torcd_session *session)
{
    int64_t database;

    if (!torcd_parse_integer(torcd_argument(session, 1), &database))
        torcd_reply_not_an_integer(session);
    else if (database < INT32_MIN || database > INT32_MAX)
        torcd_reply_out_of_range(session);
    else if (database < 0 || database >= session->worker->databases)
        torcd_resp_error(&session->out, "ERR DB index is out of range");
    else {
        session->database = (unsigned)database;
        torcd_reply_ok(session);
    }
}

void
torcd_command_dbsize(struct torcd_session *session)
{
    struct torcd_worker *worker = session->worker;
    struct torc_keyspace *keyspace = NULL;

    if (session->txn != NULL) {
        session->txn_status = torcd_keyspace_use(session, session->txn);
        keyspace = worker->map[session->database];
    } else
        keyspace = torcd_databases_now(worker->server->databases, session->database);
    int64_t keys = (int64_t)torc_keyspace_keys(keyspace);
    if (session->txn != NULL)
        keys += worker->delta[session->database];
    torcd_reply_integer(session, keys < 0 ? 0 : keys);
}

/* ---- FLUSHDB, FLUSHALL ---------------------------------------------------------------------------------------- */

struct databases {
    unsigned first;
    unsigned end;
};

/* Whether the session's database has no key, so that it need not be replaced. One that is told to be empty is looked
 * at in the transaction: keys that come meanwhile are a conflict. Others are not looked at, so that FLUSHDB has no
 * conflict with those who write there. */
static enum torc_status
is_empty(struct torcd_session *session, struct torc_txn *txn, bool *empty)
{
    struct torcd_worker *worker = session->worker;
    struct torc_cursor *cursor = NULL;
    struct torc_slice key;
    enum torc_status status = torcd_keyspace_use(session, txn);

    *empty = false;
    if (status != TORC_OK || worker->delta[session->database] != 0 || torc_keyspace_keys(torc_txn_keyspace(txn)) > 0)
        return status;
    status = torc_txn_scan(txn, NULL, &cursor);
    if (status == TORC_OK)
        status = torc_cursor_next(cursor, &key, NULL);
    torc_cursor_close(cursor);
    *empty = status == TORC_END;
    return status == TORC_END ? TORC_OK : status;
}

/* Empty the session's database: by another keyspace, or, if a full store has no room for its row, key by key. */
static enum torc_status
empty_database(struct torcd_session *session, struct torc_txn *txn)
{
    struct torcd_worker *worker = session->worker;
    uint64_t deleted;
    bool empty;
    enum torc_status status = is_empty(session, txn, &empty);

    if (status != TORC_OK || empty)
        return status;
    status = torcd_databases_flush(worker, txn, session->database);
    if (status != TORC_BUSY)
        return status;
    status = torcd_keyspace_use(session, txn);
    if (status == TORC_OK)
        status = torc_txn_use(txn, worker->map[session->database]);
    if (status == TORC_OK)
        status = torc_txn_delete_range(txn, torc_slice(NULL, 0), torc_slice(NULL, 0), &deleted);
    if (status == TORC_OK)
        worker->delta[session->database] -= (int64_t)deleted;
    return status;
}

static enum torc_status
flush_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct databases *databases = context;
    unsigned database = session->database;
    enum torc_status status = TORC_OK;

    for (unsigned i = databases->first; i < databases->end && status == TORC_OK; i++) {
        session->database = i;
        status = empty_database(session, txn);
    }
    session->database = database;
    torcd_reply_ok(session);
    return status;
}

static void
flush(struct torcd_session *session, unsigned first, unsigned end)
{
    struct databases databases = {first, end};
    bool plain = session->arguments_count == 1
                 || (session->arguments_count == 2 && (torcd_is_word(torcd_argument(session, 1), "sync")
                                                       || torcd_is_word(torcd_argument(session, 1), "async")));

    if (plain && torcd_keyspace_run(session, TORCD_MANY_KEYS, flush_body, &databases))
        torcd_server_expect_room(session->worker->server);
    else if (!plain)
        torcd_reply_syntax_error(session);
}

void
torcd_command_flushall(struct torcd_session *session)
{
    flush(session, 0, session->worker->databases);
}

void
torcd_command_flushdb(struct torcd_session *session)
{
    flush(session, session->database, session->database + 1);
}

/* ---- SWAPDB --------------------------------------------------------------------------------------------------- */

static enum torc_status
swap_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct databases *databases = context;

    torcd_reply_ok(session);
    return torcd_databases_swap(session->worker, txn, databases->first, databases->end);
}

void
torcd_command_swapdb(struct torcd_session *session)
{
    int64_t first, second, count = session->worker->databases;

    if (!torcd_parse_integer(torcd_argument(session, 1), &first) || first < INT32_MIN || first > INT32_MAX)
        torcd_resp_error(&session->out, "ERR invalid first DB index");
    else if (!torcd_parse_integer(torcd_argument(session, 2), &second) || second < INT32_MIN || second > INT32_MAX)
        torcd_resp_error(&session->out, "ERR invalid second DB index");
    else if (first < 0 || first >= count || second < 0 || second >= count)
        torcd_resp_error(&session->out, "ERR DB index is out of range");
    else {
        struct databases databases = {(unsigned)first, (unsigned)second};
        (void)torcd_keyspace_run(session, TORCD_MANY_KEYS, swap_body, &databases);
    }
}

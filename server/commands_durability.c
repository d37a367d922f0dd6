/* SPDX-License-Identifier: MIT */
/* server/commands_durability.c: SAVE, BGSAVE, LASTSAVE, WAITDURABLE, and the sessions that they park.
 *
 * SAVE and WAITDURABLE wait for the disk, which the thread of a loop must not. Where somebody will call again
 * (session->can_hold) they park their session without a reply; who has parked it gives the reply later, by one of the
 * functions here, and then goes on with its requests. */
#include "commands.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define NS_PER_MS UINT64_C(1000000)
#define WHY_SIZE 256u

/* Whether there are files; else the client is told. */
static bool
has_directory(struct torcd_session *session)
{
    if (session->worker->server->directory[0] != '\0')
        return true;
    torcd_resp_error(&session->out, "ERR nothing is written to disk: torcd runs with --memory-only");
    return false;
}

enum torc_status
torcd_journal_failed(const struct torcd_server *server)
{
    struct torc_durability_stats stats;

    if (!server->journaled || torc_mvcc_durability(server->store, &stats) != TORC_OK)
        return TORC_OK;
    return stats.failed;
}

/* ---- Checkpoints ---------------------------------------------------------------------------------------------- */

enum torc_status
torcd_save(struct torcd_server *server, char *why, size_t size)
{
    enum torc_status status = torcd_journal_failed(server) != TORC_OK ? torc_mvcc_resume(server->store)
                                                                      : torc_mvcc_checkpoint(server->store, true);

    (void)snprintf(why, size, "%s", status == TORC_OK ? "" : torc_detail());
    return status;
}

void
torcd_parked_saved(struct torcd_session *session, enum torc_status status, const char *why)
{
    session->parked = TORCD_NOT_PARKED;
    if (status == TORC_OK)
        torcd_reply_ok(session);
    else
        torcd_resp_error(&session->out, "ERR the checkpoint could not be written: %s%s%s", torc_status_message(status),
                         why[0] != '\0' ? ": " : "", why);
}

static void
save_now(struct torcd_session *session)
{
    char why[WHY_SIZE];
    enum torc_status status = torcd_save(session->worker->server, why, sizeof why);

    torcd_parked_saved(session, status, why);
}

void
torcd_command_save(struct torcd_session *session)
{
    assert(session->txn == NULL);
    if (!has_directory(session))
        return;
    if (session->can_hold)
        session->parked = TORCD_UNTIL_SAVED;
    else
        save_now(session);
}

void
torcd_command_bgsave(struct torcd_session *session)
{
    struct torc_mvcc *store = session->worker->server->store;
    bool schedule = session->arguments_count == 2 && torcd_is_word(torcd_argument(session, 1), "schedule");
    struct torc_durability_stats stats;

    if (session->arguments_count > 1 && !schedule) {
        torcd_reply_syntax_error(session);
        return;
    }
    if (!has_directory(session))
        return;
    enum torc_status status = torc_mvcc_durability(store, &stats);
    bool running = status == TORC_OK && stats.checkpoint_running;
    if (running && !schedule) {
        torcd_resp_error(&session->out, "ERR Background save already in progress");
        return;
    }
    if (status == TORC_OK)
        status = stats.failed != TORC_OK ? TORC_READ_ONLY : torc_mvcc_checkpoint(store, false);
    if (status == TORC_OK)
        torcd_resp_simple(&session->out, running || session->txn != NULL ? "Background saving scheduled"
                                                                         : "Background saving started");
    else
        torcd_reply_status(session, status);
}

void
torcd_command_lastsave(struct torcd_session *session)
{
    const struct torcd_server *server = session->worker->server;
    struct torc_durability_stats stats;
    uint64_t ms = server->started_ms;

    if (server->directory[0] != '\0' && torc_mvcc_durability(server->store, &stats) == TORC_OK
        && stats.checkpoint_ms != 0)
        ms = stats.checkpoint_ms;
    torcd_reply_integer(session, (int64_t)(ms / 1000));
}

/* ---- Waiting -------------------------------------------------------------------------------------------------- */

void
torcd_reply_journal_failed(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "MISCONF Errors writing to the journal; what this connection has written last may "
                                    "be lost or not");
}

bool
torcd_parked_look(struct torcd_session *session, enum torc_status failed, uint64_t now_ns)
{
    bool durable = torc_mvcc_durable(session->worker->server->store) >= session->stamp;

    assert(session->parked == TORCD_UNTIL_DURABLE);
    if (durable)
        torcd_reply_integer(session, 1);
    else if (failed != TORC_OK)
        torcd_reply_journal_failed(session);
    else if (now_ns >= session->parked_until_ns)
        torcd_reply_integer(session, 0);
    else
        return false;
    session->parked = TORCD_NOT_PARKED;
    return true;
}

static void
wait_now(struct torcd_session *session)
{
    session->parked = TORCD_NOT_PARKED;
    if (torc_mvcc_wait_durable(session->worker->server->store, session->stamp) == TORC_OK)
        torcd_reply_integer(session, 1);
    else
        torcd_reply_journal_failed(session);
}

void
torcd_parked_settle(struct torcd_session *session)
{
    switch (session->parked) {
    case TORCD_NOT_PARKED: break;
    case TORCD_UNTIL_DURABLE: wait_now(session); break;
    case TORCD_UNTIL_SAVED: save_now(session); break;
    }
}

/* WAITDURABLE [milliseconds]: 1 when all is durable that this connection has written, 0 if that takes longer; 0
 * milliseconds: as long as it takes. Inside of EXEC it does not wait. Where replies are held back until what they tell
 * of is durable, the reply waits as all others do. */
void
torcd_command_waitdurable(struct torcd_session *session)
{
    const struct torcd_server *server = session->worker->server;
    int64_t timeout_ms = 0;

    if (session->arguments_count > 2)
        torcd_reply_wrong_arguments(session);
    else if (session->arguments_count == 2 && !torcd_parse_integer(torcd_argument(session, 1), &timeout_ms))
        torcd_resp_error(&session->out, "ERR timeout is not an integer or out of range");
    else if (timeout_ms < 0)
        torcd_resp_error(&session->out, "ERR timeout is negative");
    else if (!has_directory(session))
        return;
    else if (!server->journaled)
        torcd_resp_error(&session->out, "ERR there is no journal with --durability none: SAVE makes all durable");
    else if (server->holds_replies || torc_mvcc_durable(server->store) >= session->stamp)
        torcd_reply_integer(session, 1);
    else if (session->txn != NULL)
        torcd_reply_integer(session, 0);
    else if (!session->can_hold)
        wait_now(session);
    else {
        uint64_t now = torcd_now_ns(), room = UINT64_MAX - now;
        session->parked = TORCD_UNTIL_DURABLE;
        session->parked_until_ns =
            timeout_ms == 0 || (uint64_t)timeout_ms > room / NS_PER_MS ? UINT64_MAX
                                                                        : now + (uint64_t)timeout_ms * NS_PER_MS;
    }
}

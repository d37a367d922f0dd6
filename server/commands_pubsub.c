/* SPDX-License-Identifier: MIT */
/* server/commands_pubsub.c: SUBSCRIBE, PUBLISH, PUBSUB and MONITOR.
 *
 * A confirmation is written into the reply, one for each name. Messages come later, by torcd_session_push(), never in
 * the middle of a reply. */
#include "commands.h"
#include "effects.h"

#include <assert.h>

static const struct {
    const char *subscribe;
    const char *unsubscribe;
} words[] = {
    [TORCD_CHANNEL] = {"subscribe", "unsubscribe"},
    [TORCD_PATTERN] = {"psubscribe", "punsubscribe"},
    [TORCD_SHARD] = {"ssubscribe", "sunsubscribe"},
};

/* How many subscriptions a confirmation of that kind tells of. */
static int64_t
subscriptions_of(const struct torcd_session *session, enum torcd_subject_kind kind)
{
    const size_t *counts = session->subscriptions.counts;
    return (int64_t)(kind == TORCD_SHARD ? counts[TORCD_SHARD] : counts[TORCD_CHANNEL] + counts[TORCD_PATTERN]);
}

/* "push" in RESP3, an array in RESP2: kind of message, name (NULL: nil), how many subscriptions there are then. */
static void
confirm(struct torcd_session *session, const char *word, const struct torc_slice *name, int64_t count)
{
    torcd_buffer_append(&session->out, session->protocol == 3 ? ">3\r\n" : "*3\r\n", 4);
    torcd_reply_string(session, word);
    if (name != NULL)
        torcd_reply_bulk(session, *name);
    else
        torcd_reply_null(session);
    torcd_reply_integer(session, count);
}

static void
subscribe(struct torcd_session *session, enum torcd_subject_kind kind)
{
    uint64_t limit = torcd_setting(session->worker->server, TORCD_QUERY_BUFFER_MAX);

    for (size_t i = 1; i < session->arguments_count; i++) {
        struct torc_slice name = torcd_argument(session, i);

        if (session->subscriptions.bytes + name.size > limit) {
            torcd_resp_error(&session->out, "ERR the subscriptions exceed client-query-buffer-limit");
            return;
        }
        if (!torcd_pubsub_subscribe(session, kind, name)) {
            torcd_reply_no_memory(session);
            return;
        }
        confirm(session, words[kind].subscribe, &name, subscriptions_of(session, kind));
    }
}

/* From all of a kind: each is confirmed, or nil if there was none. */
static void
unsubscribe_all(struct torcd_session *session, enum torcd_subject_kind kind)
{
    struct torc_slice name;

    if (session->subscriptions.counts[kind] == 0) {
        confirm(session, words[kind].unsubscribe, NULL, subscriptions_of(session, kind));
        return;
    }
    while (torcd_pubsub_any(session, kind, &name)) {
        /* Before it is done: the name dies with the subscription. */
        confirm(session, words[kind].unsubscribe, &name, subscriptions_of(session, kind) - 1);
        (void)torcd_pubsub_unsubscribe(session, kind, name);
    }
}

static void
unsubscribe(struct torcd_session *session, enum torcd_subject_kind kind)
{
    if (session->arguments_count == 1) {
        unsubscribe_all(session, kind);
        return;
    }
    for (size_t i = 1; i < session->arguments_count; i++) {
        struct torc_slice name = torcd_argument(session, i);
        (void)torcd_pubsub_unsubscribe(session, kind, name);
        confirm(session, words[kind].unsubscribe, &name, subscriptions_of(session, kind));
    }
}

void
torcd_command_subscribe(struct torcd_session *session)
{
    subscribe(session, TORCD_CHANNEL);
}

void
torcd_command_psubscribe(struct torcd_session *session)
{
    subscribe(session, TORCD_PATTERN);
}

void
torcd_command_ssubscribe(struct torcd_session *session)
{
    if (session->txn != NULL)
        torcd_resp_error(&session->out, "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
    else
        subscribe(session, TORCD_SHARD);
}

void
torcd_command_unsubscribe(struct torcd_session *session)
{
    unsubscribe(session, TORCD_CHANNEL);
}

void
torcd_command_punsubscribe(struct torcd_session *session)
{
    unsubscribe(session, TORCD_PATTERN);
}

void
torcd_command_sunsubscribe(struct torcd_session *session)
{
    unsubscribe(session, TORCD_SHARD);
}

/* ---- PUBLISH -------------------------------------------------------------------------------------------------- */

/* Within EXEC nothing is sent before it has happened; how many it will reach is counted now. */
static void
publish(struct torcd_session *session, enum torcd_subject_kind kind)
{
    struct torc_slice channel = torcd_argument(session, 1), payload = torcd_argument(session, 2);
    bool in_exec = session->txn != NULL;
    uint64_t receivers = 0;

    if ((!in_exec || torcd_effect_publish(session, kind, channel, payload))
        && torcd_pubsub_publish(session->worker->server, kind, channel, payload, in_exec, &receivers))
        torcd_reply_integer(session, (int64_t)receivers);
    else
        torcd_reply_no_memory(session);
}

void
torcd_command_publish(struct torcd_session *session)
{
    publish(session, TORCD_CHANNEL);
}

void
torcd_command_spublish(struct torcd_session *session)
{
    publish(session, TORCD_SHARD);
}

/* ---- PUBSUB --------------------------------------------------------------------------------------------------- */

static void
list_channels(struct torcd_session *session, enum torcd_subject_kind kind)
{
    struct torcd_buffer *out = &session->out;
    size_t mark = out->size;

    if (session->arguments_count > 3) {
        torcd_reply_bad_subcommand(session);
        return;
    }
    size_t count = torcd_pubsub_list(session->worker->server->pubsub, kind,
                                     session->arguments_count == 3 ? &session->arguments[2] : NULL, out);
    torcd_resp_insert_array(out, mark, count);
}

static void
count_subscribers(struct torcd_session *session, enum torcd_subject_kind kind)
{
    torcd_resp_array(&session->out, (session->arguments_count - 2) * 2);
    for (size_t i = 2; i < session->arguments_count; i++) {
        struct torc_slice name = torcd_argument(session, i);
        torcd_reply_bulk(session, name);
        torcd_reply_integer(session,
                            (int64_t)torcd_pubsub_subscribers(session->worker->server->pubsub, kind, name));
    }
}

void
torcd_command_pubsub_channels(struct torcd_session *session)
{
    list_channels(session, TORCD_CHANNEL);
}

void
torcd_command_pubsub_shardchannels(struct torcd_session *session)
{
    list_channels(session, TORCD_SHARD);
}

void
torcd_command_pubsub_numsub(struct torcd_session *session)
{
    count_subscribers(session, TORCD_CHANNEL);
}

void
torcd_command_pubsub_shardnumsub(struct torcd_session *session)
{
    count_subscribers(session, TORCD_SHARD);
}

void
torcd_command_pubsub_numpat(struct torcd_session *session)
{
    torcd_reply_integer(session, (int64_t)torcd_pubsub_subjects(session->worker->server->pubsub, TORCD_PATTERN));
}

void
torcd_command_pubsub_help(struct torcd_session *session)
{
    static const char *const help[] = {
        "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CHANNELS [<pattern>]", "    Return the channels that have listeners and match.",
        "NUMPAT", "    Return how many patterns are listened to.",
        "NUMSUB [<channel> ...]", "    Return how many listen to each channel.",
        "SHARDCHANNELS [<pattern>]", "    Return the shard channels that have listeners and match.",
        "SHARDNUMSUB [<channel> ...]", "    Return how many listen to each shard channel.",
        "HELP", "    Print this help.",
        NULL,
    };

    torcd_reply_lines(session, help);
}

/* ---- MONITOR -------------------------------------------------------------------------------------------------- */

void
torcd_command_monitor(struct torcd_session *session)
{
    if (session->txn != NULL)
        torcd_resp_error(&session->out, "ERR MONITOR isn't allowed for DENY BLOCKING client");
    else if (torcd_pubsub_subscribe(session, TORCD_MONITOR, torc_slice(NULL, 0)))
        torcd_reply_ok(session);
    else
        torcd_reply_no_memory(session);
}

/* SPDX-License-Identifier: MIT */
/* server/session.c: one client.
 *
 * Invariants  I1  queue_count, queue_bytes describe the list from `queue`;  I2  not multi: the queue is empty
 *             I3  a session without watches holds no snapshot, hence pins no version */
#include "session.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct torcd_session *
torcd_session_create(struct torcd_worker *worker, const char *address)
{
    struct torcd_session *session = torcd_allocate(1, sizeof *session);

    if (session == NULL)
        return NULL;
    session->worker = worker;
    session->protocol = 2;
    session->authenticated = !torcd_server_has_password(worker->server);
    /* Relaxed: the number must only be unique. */
    session->id = atomic_fetch_add_explicit(&worker->server->next_client, 1, memory_order_relaxed) + 1;
    session->created_ns = torcd_now_ns();
    (void)snprintf(session->address, sizeof session->address, "%s", address);
    torcd_session_publish(session, session->created_ns);

    (void)pthread_mutex_lock(&worker->mutex);
    session->next = worker->sessions;
    if (session->next != NULL)
        session->next->previous = session;
    worker->sessions = session;
    (void)pthread_mutex_unlock(&worker->mutex);
    return session;
}

void
torcd_session_destroy(struct torcd_session *session)
{
    if (session == NULL)
        return;
    assert(session->txn == NULL);
    torcd_session_forget_queue(session);
    torcd_session_unwatch(session);
    torcd_pubsub_leave(session);

    (void)pthread_mutex_lock(&session->worker->mutex);
    *(session->previous != NULL ? &session->previous->next : &session->worker->sessions) = session->next;
    if (session->next != NULL)
        session->next->previous = session->previous;
    (void)pthread_mutex_unlock(&session->worker->mutex);

    torcd_release(session->watched);
    torcd_resp_fini(&session->parser);
    torcd_buffer_fini(&session->out);
    torcd_buffer_fini(&session->pushed);
    torcd_release(session->held);
    torcd_release(session);
}

void
torcd_session_rename(struct torcd_session *session, struct torc_slice name)
{
    assert(name.size <= TORCD_NAME_MAX);
    (void)pthread_mutex_lock(&session->worker->mutex);
    if (name.size > 0)
        memcpy(session->name, name.data, name.size);
    session->name[name.size] = '\0';
    (void)pthread_mutex_unlock(&session->worker->mutex);
}

void
torcd_session_forget_queue(struct torcd_session *session)
{
    while (session->queue != NULL) {
        struct torcd_queued *queued = session->queue;
        session->queue = queued->next;
        torcd_release(queued);
    }
    session->queue_last = NULL;
    session->queue_count = 0;
    session->queue_bytes = 0;
    session->multi = false;
    session->multi_failed = false;
}

static void
end_snapshots(struct torcd_session *session)
{
    while (session->snapshots_count > 0)
        torc_txn_abort(session->snapshots[--session->snapshots_count]);
}

static void
forget_watched(struct torcd_session *session)
{
    while (session->watched_count > 0)
        torcd_release((void *)(uintptr_t)session->watched[--session->watched_count].key.data);
    session->watched_bytes = 0;
    end_snapshots(session);
}

void
torcd_session_unwatch(struct torcd_session *session)
{
    forget_watched(session);
    session->watch_expired = false;
}

void
torcd_session_expire_watch(struct torcd_session *session)
{
    if (session->watched_count == 0)
        return;
    forget_watched(session);
    session->watch_expired = true;
}

/* The bytes that a queued request takes. The parser bounds requests, so the sum cannot wrap. */
static size_t
queued_size(const struct torcd_session *session)
{
    size_t size = sizeof(struct torcd_queued) + session->arguments_count * sizeof(struct torc_slice);

    for (size_t i = 0; i < session->arguments_count; i++)
        size += session->arguments[i].size;
    return size;
}

/* The request that runs, with its arguments; NULL: no room. */
static struct torcd_queued *
copy_request(const struct torcd_session *session)
{
    struct torcd_queued *copy = torcd_resize(NULL, queued_size(session));

    if (copy == NULL)
        return NULL;
    char *bytes = (char *)(copy->arguments + session->arguments_count);
    copy->next = NULL;
    copy->command = session->command;
    copy->arguments_count = session->arguments_count;
    for (size_t i = 0; i < session->arguments_count; i++) {
        struct torc_slice argument = session->arguments[i];
        if (argument.size > 0)
            memcpy(bytes, argument.data, argument.size);
        copy->arguments[i] = torc_slice(bytes, argument.size);
        bytes += argument.size;
    }
    return copy;
}

bool
torcd_session_enqueue(struct torcd_session *session)
{
    assert(session->multi);
    size_t size = queued_size(session);

    if (session->queue_bytes + size > torcd_setting(session->worker->server, TORCD_QUERY_BUFFER_MAX))
        return false;
    struct torcd_queued *queued = copy_request(session);
    if (queued == NULL)
        return false;
    *(session->queue_last != NULL ? &session->queue_last->next : &session->queue) = queued;
    session->queue_last = queued;
    session->queue_count++;
    session->queue_bytes += size;
    return true;
}

bool
torcd_session_hold(struct torcd_session *session)
{
    assert(session->held == NULL);
    session->held = copy_request(session);
    return session->held != NULL;
}

void
torcd_session_publish(struct torcd_session *session, uint64_t now_ns)
{
    /* Relaxed: figures for CLIENT LIST. */
    atomic_store_explicit(&session->seen.active_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&session->seen.database, session->database, memory_order_relaxed);
    atomic_store_explicit(&session->seen.protocol, session->protocol, memory_order_relaxed);
    atomic_store_explicit(&session->seen.watched, (unsigned)session->watched_count, memory_order_relaxed);
    for (unsigned i = 0; i < TORCD_SUBJECT_KINDS; i++)
        atomic_store_explicit(&session->seen.subscriptions[i], (unsigned)session->subscriptions.counts[i],
                              memory_order_relaxed);
    atomic_store_explicit(&session->seen.queued, session->multi ? (int)session->queue_count : -1, memory_order_relaxed);
    atomic_store_explicit(&session->seen.command, session->command, memory_order_relaxed);
}

void
torcd_reply_status(struct torcd_session *session, enum torc_status status)
{
    const char *detail = torc_detail();

    switch (status) {
    case TORC_BUSY:
        if (strstr(detail, "retired_limit_bytes") != NULL) {    /* torc/mvcc.h: the detail names the limit. */
            torcd_resp_error(&session->out, "TRYAGAIN memory that was freed is not back yet; nothing was written");
            return;
        }
        torcd_resp_error(&session->out, "OOM command not allowed when used memory > 'maxmemory'.");
        return;
    case TORC_CONFLICT:
    case TORC_EXPIRED:
        torcd_resp_error(&session->out, "TRYAGAIN other clients keep changing these keys; nothing was written");
        return;
    case TORC_NO_MEMORY:
        torcd_resp_error(&session->out, "ERR out of memory; nothing was written");
        return;
    case TORC_READ_ONLY:
        torcd_resp_error(&session->out, "MISCONF Errors writing to the journal%s%s; nothing was written. Reads go on; "
                                        "SAVE begins a new journal", detail[0] != '\0' ? ": " : "", detail);
        return;
    default:
        torcd_resp_error(&session->out, "ERR %s%s%s", torc_status_message(status), detail[0] != '\0' ? ": " : "",
                         detail);
        return;
    }
}

bool
torcd_is_word(struct torc_slice argument, const char *word)
{
    const char *bytes = argument.data;

    for (size_t i = 0; i < argument.size; i++) {
        char c = bytes[i] >= 'A' && bytes[i] <= 'Z' ? (char)(bytes[i] | 0x20) : bytes[i];
        if (word[i] == '\0' || c != word[i])
            return false;
    }
    return word[argument.size] == '\0';
}

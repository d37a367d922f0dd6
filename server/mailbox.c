/* SPDX-License-Identifier: MIT */
/* server/mailbox.c: messages between workers, and pushes to sessions.
 *
 *   newest --> third --> second --> first        posts put themselves in front; the worker takes all at once, turns
 *                                                them round, and runs them from the first
 *
 * Invariants  I1  who posts into an empty mailbox rings, so that whatever is there has a ring after it
 * Ordering    R1 torcd_worker_post(), CAS of newest -> A1 torcd_worker_run_messages(): the message, and all that its
 *             sender did before. Later posts go on the release sequence of the earlier ones: one A1 sees them all.
 * Progress    Posting is lock-free: a CAS that fails has lost to another post, or to the worker. Taking is wait-free. A
 *             message that is taken is never looked at by a poster again, so there is no ABA to guard against. */
#include "mailbox.h"

#include <assert.h>

#include "session.h"

void
torcd_worker_post(struct torcd_worker *to, struct torcd_message *message)
{
    struct torcd_mailbox *mailbox = &to->mailbox;

    assert(message->run != NULL);
    /* Relaxed: only its being the newest matters, and the CAS decides that. */
    struct torcd_message *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do
        message->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, message, memory_order_release,
                                                  memory_order_relaxed));                       /* R1 */
    if (newest == NULL && mailbox->ring != NULL)
        mailbox->ring(mailbox->context);                                                        /* I1 */
}

bool
torcd_worker_run_messages(struct torcd_worker *worker)
{
    struct torcd_message *taken =
        atomic_exchange_explicit(&worker->mailbox.newest, NULL, memory_order_acquire);          /* A1 */
    struct torcd_message *first = NULL;
    bool any = taken != NULL;

    while (taken != NULL) {
        struct torcd_message *next = taken->next;
        taken->next = first;
        first = taken;
        taken = next;
    }
    while (first != NULL) {
        struct torcd_message *next = first->next;
        first->run(worker, first);
        first = next;
    }
    return any;
}

/* ---- Pushes --------------------------------------------------------------------------------------------------- */

static void
notice(struct torcd_session *session)
{
    if (session->notice != NULL)
        session->notice(session);
}

/* Append to a buffer of the session, or doom the session; the buffer has no fault then. */
static void
append_or_doom(struct torcd_session *session, struct torcd_buffer *buffer, const void *bytes, size_t size)
{
    torcd_buffer_append(buffer, bytes, size);
    if (buffer->fault == TORCD_FAULT_NONE)
        return;
    torcd_buffer_truncate(buffer, buffer->size);
    session->doomed = true;
}

void
torcd_session_push(struct torcd_session *session, const void *bytes, size_t size)
{
    size_t waiting = session->unsent + session->out.size + session->pushed.size;

    if (session->doomed || (session->closing && !session->running))
        return;
    if (waiting + size > torcd_setting(session->worker->server, TORCD_PUSH_BUFFER_MAX))
        session->doomed = true;
    else
        append_or_doom(session, session->running ? &session->pushed : &session->out, bytes, size);
    notice(session);
}

void
torcd_session_merge_pushed(struct torcd_session *session)
{
    struct torcd_buffer *pushed = &session->pushed;

    assert(!session->running);
    if (pushed->size == 0)
        return;
    append_or_doom(session, &session->out, pushed->data, pushed->size);
    torcd_buffer_truncate(pushed, 0);
}

void
torcd_session_close(struct torcd_session *session)
{
    session->doomed = true;
    notice(session);
}

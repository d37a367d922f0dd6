/* SPDX-License-Identifier: MIT */
/* server/mailbox.h: what reaches a worker, or a session, otherwise than by the session's own requests: messages from
 * other threads, and replies that nobody asked for (pub/sub, MONITOR). Knows no event loop: the loop hangs its bell on
 * the mailbox and takes notice of the sessions that have something to send. */
#ifndef TORCD_MAILBOX_H
#define TORCD_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct torcd_session;
struct torcd_worker;

/* Something to be done by a worker's thread. Embedded in what it is about; in one mailbox at a time. */
struct torcd_message {
    struct torcd_message *next;                             /* The mailbox's. */
    /* Owns the message. It runs between two requests of the worker's sessions, never in the middle of one. It may
     * push to sessions, close them by torcd_session_close(), and post further messages, to its own worker as well. */
    void (*run)(struct torcd_worker *worker, struct torcd_message *message);
};

/* All zero is an empty mailbox without a bell. */
struct torcd_mailbox {
    _Atomic(struct torcd_message *) newest;
    void (*ring)(void *context);                            /* Any thread. Immutable once others may post. */
    void *context;
};

/* Have message->run() called on the thread of `to`, soon.
 *
 * Threads    Any, the worker's own included, until torcd_server_destroy(). At the end of the server, when all loops
 *            have been joined, what is left runs on the main thread: the worker has no sessions then.
 * Progress   Lock-free. Never waits for the worker; a step more is paid for by another post that succeeded.
 * Ordering   All that the caller did before is visible to run(). Messages of one thread run in the order of their
 *            posts, those of several threads in one order for each worker.
 * Ownership  The message belongs to run() from now on.
 * Cost       No allocation; a system call if the mailbox was empty. */
void torcd_worker_post(struct torcd_worker *to, struct torcd_message *message);

/* Run what was posted until now. Whether there was anything. The worker's thread only. */
bool torcd_worker_run_messages(struct torcd_worker *worker);

/* Send `size` bytes, a whole reply, to the client of `session`, soon: behind the reply of the request that the session
 * itself runs, if it does, and before those of its later ones. The worker's thread only.
 * A client for whom more than push-buffer-limit waits is closed, soon: the session stays valid until the caller has
 * returned to the loop. A session that is closing swallows what is pushed. */
void torcd_session_push(struct torcd_session *session, const void *bytes, size_t size);

/* Put what was pushed while a request ran behind its reply. */
void torcd_session_merge_pushed(struct torcd_session *session);

/* End the connection of `session` soon, without sending what waits. It stays valid until the caller has returned to
 * the loop. The worker's thread only. */
void torcd_session_close(struct torcd_session *session);

#endif

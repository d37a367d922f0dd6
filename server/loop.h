/* SPDX-License-Identifier: MIT */
/* server/loop.h: a thread with an event loop and the connections that live on it. */
#ifndef TORCD_LOOP_H
#define TORCD_LOOP_H

#include "mailbox.h"    /* torcd_worker_post(), torcd_session_push(): implemented on top of the loop's bell. */
#include "server.h"

struct torcd_loop;

/* A loop for the clients of `worker` (borrowed), its thread running; NULL if that could not be had. */
struct torcd_loop *torcd_loop_create(struct torcd_worker *worker);

/* How many connections live there, those on their way included. Threads: any. */
unsigned torcd_loop_connections(const struct torcd_loop *loop);

/* Serve the connected, non-blocking socket `fd`, which the loop closes at last. Threads: any, until
 * torcd_loop_stop(). */
void torcd_loop_give(struct torcd_loop *loop, int fd);

/* Have the loop look for sessions that CLIENT KILL has marked. Threads: any, until torcd_loop_destroy(). */
void torcd_loop_wake(struct torcd_loop *loop);

/* Have the loop look at what has become durable, if somebody waits there. Threads: any, until torcd_loop_destroy(). */
void torcd_loop_ring(struct torcd_loop *loop);

/* Answer what has been received, close all connections, and end. Does not wait. */
void torcd_loop_stop(struct torcd_loop *loop);

/* Wait for the end after torcd_loop_stop(). */
void torcd_loop_join(struct torcd_loop *loop);

/* Free a loop that was joined. All loops must have been: until then a client of one may wake another. NULL is
 * accepted. */
void torcd_loop_destroy(struct torcd_loop *loop);

#endif

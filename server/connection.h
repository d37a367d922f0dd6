/* SPDX-License-Identifier: MIT */
/* server/connection.h: a client's socket on an event loop, and what the connections of one loop share.
 *
 * For the files of the loop only: loop.c has the thread, connection.c the sockets, shared.c what connections share.
 * Everything here belongs to the loop's thread but for what struct torcd_loop says. */
#ifndef TORCD_CONNECTION_H
#define TORCD_CONNECTION_H

#include <uv.h>

#include "loop.h"
#include "session.h"

#define TORCD_INPUT_SIZE (64u * 1024u)      /* One read: the pipelines of many small requests. */
#define TORCD_SPARES_MAX 128u               /* Buffers that wait for their next use. */

enum torcd_connection_state { TORCD_OPEN, TORCD_DRAINING, TORCD_LINGERING, TORCD_CLOSED };

/* The lists of a loop, first come, first served. A connection may stand on each of them once. */
enum torcd_list {
    TORCD_TO_SEND,                          /* Has replies, or is doomed: looked at before the loop sleeps. */
    TORCD_READY,                            /* Has requests in `in` that were cut off: next turn. */
    TORCD_HELD,                             /* Has a request that waits for memory to be freed. */
    TORCD_UNDURABLE,                        /* Has replies, or a request that is parked, that wait for the journal. */
    TORCD_SAVING,                           /* Has a request that is parked until a checkpoint is written. */
    TORCD_LISTS
};

struct torcd_connection {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct torcd_loop *loop;
    struct torcd_session *session;
    enum torcd_connection_state state;
    bool writing;
    bool reading;
    bool waits;                             /* Has requests in `in` that wait for the peer to take replies. */
    bool linger;                            /* Whether DRAINING ends in LINGERING. */
    bool is_on[TORCD_LISTS];
    struct torcd_connection *next_on[TORCD_LISTS];
    struct torcd_buffer in;                 /* Received, not consumed: in.data[in_begin..in.size). */
    size_t in_begin;
    uint64_t active_ms;                     /* When something was read last. */
    uint64_t progress_ms;                   /* When the peer took something last, or nothing was unsent. */
    size_t unsent;                          /* At progress_ms. */
    size_t marked;                          /* So many bytes of session->out wait for `marked_stamp`; 0: no mark. */
    uint64_t marked_stamp;
    unsigned save_turn;                     /* Which checkpoint is the one of a connection on SAVING. */
    struct torcd_connection *previous;
    struct torcd_connection *next;
    struct torcd_buffer sending;
    uv_write_t write;
    uv_shutdown_t shutdown;
};

struct torcd_loop {
    uv_loop_t uv;
    uv_thread_t thread;
    uv_async_t wake;                        /* The bell. */
    uv_timer_t sweep;
    uv_idle_t idle;                         /* Active while the ready list is not empty. */
    uv_prepare_t prepare;                   /* Before each sleep: the list TO_SEND. */
    uv_work_t collect;                      /* Frees memory of the store, on a thread of libuv's. */
    bool collecting;
    atomic_uint collect_turns;              /* Both sides of the job count here: connection.c R1, R2. */
    uv_timer_t alarm;                       /* Somebody on UNDURABLE has waited long enough. */
    uint64_t durable;                       /* What was durable when that list was looked at last, */
    enum torc_status failed;                /* and why the journal accepts nothing, when that was looked at last. */
    bool wants_flush;                       /* Somebody has begun to wait for the journal since it was asked last. */
    uv_work_t save;                         /* Writes a checkpoint, on a thread of libuv's. */
    bool saving;
    unsigned save_turn;                     /* How many were begun. */
    atomic_uint save_hands;                 /* Both sides of that job count here: connection.c R3, R4. */
    enum torc_status saved;
    char saved_why[256];
    struct torcd_worker *worker;
    struct torcd_connection *connections;
    struct {
        struct torcd_connection *first;
        struct torcd_connection *last;
        unsigned count;
    } lists[TORCD_LISTS];
    struct torcd_buffer spares[TORCD_SPARES_MAX];
    unsigned spares_count;
    size_t spares_bytes;
    uint64_t stop_ms;
    bool draining;                          /* The end has begun. */
    bool may_stay_awake;                    /* There is a processor for each loop. */
    bool stays_awake;                       /* The last sleep was short: see loop.c. */

    atomic_uint connections_count;          /* Any thread. Relaxed: a figure to balance by. */
    atomic_bool look;                       /* Any thread: CLIENT KILL has marked sessions. Relaxed: see there. */
    struct torcd_message stop;              /* torcd_loop_stop()'s. */

    char input[TORCD_INPUT_SIZE];
};

/* Serve a connected, non-blocking socket, TCP or Unix, that was counted. It is closed if that cannot be. */
void torcd_connection_open(struct torcd_loop *loop, int fd);

/* Close a socket that was counted and cannot be served. Any thread. */
void torcd_connection_refuse(struct torcd_loop *loop, int fd);

/* Close the socket now; the connection itself goes when the event loop has let go of it. */
void torcd_connection_close(struct torcd_connection *connection);

/* Send the replies of all connections on the list TO_SEND, close those whose sessions are doomed. */
void torcd_connection_send_all(struct torcd_loop *loop);

/* Look whether what the connections on UNDURABLE wait for is durable, and go on with those that need wait no more. */
void torcd_connection_look_durable(struct torcd_loop *loop);

/* Ask the journal to flush soon, if somebody has begun to wait for it. */
void torcd_connection_flush(struct torcd_loop *loop);

/* At shutdown: write one checkpoint for all that wait for one. */
void torcd_connection_save_for_all(struct torcd_loop *loop);

/* At shutdown, when no connection makes replies any more: wait for the journal, and send what was held back. */
void torcd_connection_release_all(struct torcd_loop *loop);

/* Once a second: the limits of time. */
void torcd_connection_sweep(struct torcd_connection *connection, uint64_t now_ms);

/* At shutdown: answer what the peer sent until now, and say goodbye. */
void torcd_connection_answer_rest(struct torcd_connection *connection);

/* ---- What connections share (shared.c) ------------------------------------------------------------------------- */

/* Put a connection at the end of a list, unless it stands there. */
void torcd_list_add(struct torcd_connection *connection, enum torcd_list list);

/* Take a connection off a list, if it stands there. O(1) for the first one. */
void torcd_list_remove(struct torcd_connection *connection, enum torcd_list list);

/* Take the first connection off a list; NULL: there is none. */
struct torcd_connection *torcd_list_take(struct torcd_loop *loop, enum torcd_list list);

/* Give an empty buffer the memory of a spare one, the last that came back, if there is one. */
void torcd_spare_lend(struct torcd_loop *loop, struct torcd_buffer *buffer);

/* Keep the memory of a buffer for the next one, or free it. The buffer is empty then. */
void torcd_spare_take_back(struct torcd_loop *loop, struct torcd_buffer *buffer);

/* Free the spare buffers. */
void torcd_spare_free_all(struct torcd_loop *loop);

#endif

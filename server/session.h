/* SPDX-License-Identifier: MIT */
/* server/session.h: one client: what it selected, queued and watches, and the replies it has yet to take.
 *
 * A session belongs to one worker and is used by its thread only, but for the fields under `seen`, which CLIENT LIST
 * and CLIENT KILL of other threads read and write. */
#ifndef TORCD_SESSION_H
#define TORCD_SESSION_H

#include "pubsub.h"
#include "resp.h"
#include "server.h"

#define TORCD_NAME_MAX 255u             /* Of CLIENT SETNAME. */
#define TORCD_WATCH_SNAPSHOTS 16u       /* WATCH commands of one session with a snapshot of their own. */

/* A command waiting for EXEC. One allocation: the arguments' bytes follow the slices. */
struct torcd_queued {
    struct torcd_queued *next;
    const struct torcd_command *command;
    size_t arguments_count;
    struct torc_slice arguments[];
};

/* A watched key, and what it was when WATCH came. While the snapshot is open the version stays in memory, so that its
 * address says whether it is still the same: a value written again is another version, even if the bytes are equal. */
struct torcd_watched {
    unsigned database;
    struct torc_slice key;              /* Owned. */
    bool present;
    struct torc_slice value;            /* Borrowed from one of the snapshots. */
};

/* Why a session's requests wait, though its request has run: the reply is still to come. */
enum torcd_parked {
    TORCD_NOT_PARKED,
    TORCD_UNTIL_DURABLE,                /* WAITDURABLE */
    TORCD_UNTIL_SAVED                   /* SAVE */
};

struct torcd_session {
    struct torcd_worker *worker;
    struct torcd_resp_parser parser;
    struct torcd_buffer out;            /* Replies not handed to the socket. */
    unsigned database;
    unsigned protocol;                  /* 2 or 3. */
    bool closing;                       /* Nothing more is read; the connection ends when `out` is sent. */
    bool authenticated;
    struct torcd_subscriptions subscriptions;

    /* Replies that nobody asked for: mailbox.h. */
    bool running;                       /* A request runs: what is pushed meanwhile goes to `pushed`. */
    bool doomed;                        /* Past its limit, or killed: the connection ends without sending more. */
    struct torcd_buffer pushed;
    size_t unsent;                      /* Handed to the socket and perhaps not taken yet. The connection's. */
    void (*notice)(struct torcd_session *session);      /* Something was pushed, or `doomed` is set. The connection's;
                                                         * NULL: there is none. */
    void *connection;

    /* A request that met memory which waits to be freed is put aside, and run once more when that has been done on
     * another thread: torcd_session_ask_hold(). */
    bool can_hold;                      /* The connection's: it will call again. */
    bool may_hold;                      /* The request that runs was not held before. */
    bool hold;                          /* The request that runs is to be held: its reply is void. */
    struct torcd_queued *held;          /* No other request runs before it. */

    /* What becomes durable. */
    uint64_t stamp;                     /* Of the newest commit of which its replies may tell. */
    enum torcd_parked parked;           /* No other request runs before that reply. Needs can_hold. */
    uint64_t parked_until_ns;           /* UINT64_MAX: as long as it takes. */

    /* The request that runs. */
    const struct torcd_command *command;
    const struct torc_slice *arguments;
    size_t arguments_count;

    /* MULTI. */
    bool multi;
    bool multi_failed;                  /* A command was refused when queued: EXEC will discard. */
    struct torcd_queued *queue;
    struct torcd_queued *queue_last;
    size_t queue_count;
    size_t queue_bytes;
    struct torc_txn *txn;               /* Of the EXEC that runs; NULL: each command is a transaction of its own. */
    enum torc_status txn_status;        /* Why the EXEC that runs must stop. */

    /* WATCH. */
    struct torc_txn *snapshots[TORCD_WATCH_SNAPSHOTS];
    unsigned snapshots_count;
    struct torcd_watched *watched;
    size_t watched_count;
    size_t watched_capacity;
    size_t watched_bytes;
    bool watch_expired;                 /* The snapshots were given up: EXEC answers nil. */
    uint64_t watch_began_ns;

    uint64_t id;
    char address[64];                   /* Immutable after create. */
    uint64_t created_ns;
    char name[TORCD_NAME_MAX + 1];      /* Written by the owner under worker->mutex; others read it under that. */
    struct torcd_session *previous;     /* Under worker->mutex. */
    struct torcd_session *next;

    /* Relaxed: figures and flags for other threads; they publish nothing else. */
    struct {
        atomic_uint_fast64_t active_ns;
        atomic_uint database;
        atomic_uint protocol;
        atomic_uint watched;
        atomic_uint subscriptions[TORCD_SUBJECT_KINDS];
        atomic_int queued;              /* -1: not in MULTI. */
        atomic_bool killed;
        _Atomic(const struct torcd_command *) command;
    } seen;
};

/* A session at the start of its life, in the worker's list, or NULL. `address` is copied. */
struct torcd_session *torcd_session_create(struct torcd_worker *worker, const char *address);
void torcd_session_destroy(struct torcd_session *session);

/* Set the name, which CLIENT SETNAME has checked. */
void torcd_session_rename(struct torcd_session *session, struct torc_slice name);

/* Leave MULTI and forget its queue. Watches stay. */
void torcd_session_forget_queue(struct torcd_session *session);

/* Forget all watches and end their snapshots. */
void torcd_session_unwatch(struct torcd_session *session);

/* End the snapshots that pin versions, and let the next EXEC fail: for watches that are too old. */
void torcd_session_expire_watch(struct torcd_session *session);

/* Put the request that runs on the queue. False: no room; the session is as before. */
bool torcd_session_enqueue(struct torcd_session *session);

/* Have the request that runs held, if that is possible; it undoes what it did and returns. */
static inline bool
torcd_session_ask_hold(struct torcd_session *session)
{
    session->hold = session->may_hold;
    return session->hold;
}

/* Copy the request that runs into `held`. False: no room. */
bool torcd_session_hold(struct torcd_session *session);

/* Whether the session listens to a channel or a pattern. */
static inline bool
torcd_session_listens(const struct torcd_session *session)
{
    const size_t *counts = session->subscriptions.counts;
    return counts[TORCD_CHANNEL] + counts[TORCD_PATTERN] + counts[TORCD_SHARD] > 0;
}

/* Show other threads how the session stands. */
void torcd_session_publish(struct torcd_session *session, uint64_t now_ns);

/* ---- Replies in the session's protocol ------------------------------------------------------------------------ */

static inline void
torcd_reply_ok(struct torcd_session *session)
{
    torcd_buffer_append(&session->out, "+OK\r\n", 5);
}

static inline void
torcd_reply_integer(struct torcd_session *session, int64_t value)
{
    torcd_resp_integer(&session->out, value);
}

static inline void
torcd_reply_bulk(struct torcd_session *session, struct torc_slice value)
{
    torcd_resp_bulk(&session->out, value);
}

static inline void
torcd_reply_string(struct torcd_session *session, const char *text)
{
    torcd_resp_bulk(&session->out, torc_slice_from_string(text));
}

static inline void
torcd_reply_null(struct torcd_session *session)
{
    torcd_resp_null(&session->out, session->protocol);
}

/* The error reply for a status of the store. */
void torcd_reply_status(struct torcd_session *session, enum torc_status status);

/* Whether `argument`, in any case, is `word`, which is in lower case. */
bool torcd_is_word(struct torc_slice argument, const char *word);

#endif

/* SPDX-License-Identifier: MIT */
/* server/pubsub.h: who listens to what, over all threads.
 *
 * A *subject* is a channel, a pattern of channels, a shard channel, or the one stream of MONITOR. Sessions subscribe to
 * subjects; what is published goes to the workers that have subscribers, as a message of their mailboxes, and from
 * there to the sessions. */
#ifndef TORCD_PUBSUB_H
#define TORCD_PUBSUB_H

#include <stdint.h>

#include <torc/base.h>

#include "memory.h"

struct torcd_pubsub;
struct torcd_server;
struct torcd_session;
struct torcd_subscription;

enum torcd_subject_kind {
    TORCD_CHANNEL,
    TORCD_PATTERN,
    TORCD_SHARD,            /* SSUBSCRIBE: channels of another name space, without patterns. */
    TORCD_MONITOR,          /* One subject without a name. */
    TORCD_SUBJECT_KINDS
};

/* What one session listens to. All zero: nothing. The worker's thread only. */
struct torcd_subscriptions {
    struct torcd_subscription **slots;      /* A hash table of lists. */
    size_t slots_count;                     /* A power of two, or 0. */
    size_t counts[TORCD_SUBJECT_KINDS];
    size_t bytes;                           /* What the names and entries take, about. */
};

struct torcd_pubsub *torcd_pubsub_create(unsigned workers_count);

/* Nobody must be subscribed, and no message be left. NULL is accepted. */
void torcd_pubsub_destroy(struct torcd_pubsub *pubsub);

/* Let `session` listen; harmless if it does. False: no memory. From its return on, what is published arrives; nothing
 * that was published before. */
bool torcd_pubsub_subscribe(struct torcd_session *session, enum torcd_subject_kind kind, struct torc_slice name);

/* Whether `session` listened, and does not any more. */
bool torcd_pubsub_unsubscribe(struct torcd_session *session, enum torcd_subject_kind kind, struct torc_slice name);

/* The name of any subject of that kind to which `session` listens; false if there is none. Borrowed while it does. */
bool torcd_pubsub_any(const struct torcd_session *session, enum torcd_subject_kind kind, struct torc_slice *name);

/* Forget all that `session` listens to. */
void torcd_pubsub_leave(struct torcd_session *session);

/* Send `payload` to all that listen to channel `name`, by its name or (TORCD_CHANNEL) by a pattern. For TORCD_MONITOR
 * `payload` is the whole reply. With `count_only`, send nothing. `*receivers` is how many it goes to.
 *
 * Threads    Any of the workers'.
 * Progress   Blocking: short critical sections. Patterns are matched outside of them.
 * Ordering   Publications on one channel reach all its subscribers in one order.
 * Errors     False: no memory; some may have been reached, `*receivers` of them. */
bool torcd_pubsub_publish(struct torcd_server *server, enum torcd_subject_kind kind, struct torc_slice name,
                          struct torc_slice payload, bool count_only, uint64_t *receivers);

/* How many listen to this channel by its name. */
uint64_t torcd_pubsub_subscribers(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind, struct torc_slice name);

/* How many subjects of a kind anybody listens to. */
uint64_t torcd_pubsub_subjects(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind);

/* Append the names of the subjects of a kind that match `pattern` (all if it is NULL) to `out`, as bulk strings.
 * Returns how many; without memory, those for which there was room, and out->fault says so. */
size_t torcd_pubsub_list(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind, const struct torc_slice *pattern,
                         struct torcd_buffer *out);

#endif

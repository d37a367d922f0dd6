/* SPDX-License-Identifier: MIT */
/* server/effects.h: what a request makes known once it has happened: keyspace events, publications, lines of MONITOR.
 *
 * A body may run several times before it commits, and an EXEC may be undone. So effects are collected in the worker's
 * buffer; torcd_keyspace_run() forgets those of an attempt that failed, and those that are left at the end of the
 * request are fired. The worker's thread only. */
#ifndef TORCD_EFFECTS_H
#define TORCD_EFFECTS_H

#include "session.h"

/* The flags of notify-keyspace-events. */
enum torcd_event_class {
    TORCD_EVENT_KEYSPACE = 1,       /* K: as __keyspace@<db>__:<key> */
    TORCD_EVENT_KEYEVENT = 2,       /* E: as __keyevent@<db>__:<event> */
    TORCD_EVENT_GENERIC = 4,        /* g: del, expire, rename ... */
    TORCD_EVENT_STRING = 8,         /* $ */
    TORCD_EVENT_LIST = 16,          /* l */
    TORCD_EVENT_SET = 32,           /* s */
    TORCD_EVENT_HASH = 64,          /* h */
    TORCD_EVENT_SORTED = 128,       /* z */
    TORCD_EVENT_EXPIRED = 256,      /* x */
    TORCD_EVENT_EVICTED = 512,      /* e */
    TORCD_EVENT_STREAM = 1024,      /* t */
    TORCD_EVENT_MODULE = 2048,      /* d */
    TORCD_EVENT_NEW = 4096,         /* n: a key that was not there */
    TORCD_EVENT_MISS = 8192,        /* m: a read of a key that was not there */
    TORCD_EVENT_ALL = 0xffc         /* A: all but K, E, n, m */
};

#define TORCD_EVENTS_TEXT 24u       /* Room for the flags as text, terminated. */

/* Read and print notify-keyspace-events. False: an unknown letter. */
bool torcd_events_parse(struct torc_slice text, unsigned *flags);
void torcd_events_print(unsigned flags, char text[TORCD_EVENTS_TEXT]);

/* An event of `key` in the session's database. Costs a load while nobody wants it. */
void torcd_effect_event(struct torcd_session *session, enum torcd_event_class class, const char *event,
                        struct torc_slice key);

/* A publication (TORCD_CHANNEL, TORCD_SHARD). False: no memory. */
bool torcd_effect_publish(struct torcd_session *session, enum torcd_subject_kind kind, struct torc_slice channel,
                          struct torc_slice payload);

/* Show the request that ran to those in MONITOR. */
void torcd_effects_monitor(struct torcd_session *session);

/* For torc_mvcc_options.on_commit; the context is a struct torcd_server **, which may point to NULL. Keys that the
 * store has taken away because they expired become events. Any thread. */
void torcd_effects_on_commit(void *context, const struct torc_commit *commit);

/* Make all known, and forget them. */
void torcd_effects_fire(struct torcd_worker *worker);

#endif

/* SPDX-License-Identifier: MIT */
/* server/diagnostics.h: commands that took long: the slow log, and the latencies of events. */
#ifndef TORCD_DIAGNOSTICS_H
#define TORCD_DIAGNOSTICS_H

#include "session.h"

struct torcd_diagnostics;

#define TORCD_SLOW_ARGUMENTS 32u        /* Of one entry; further ones are counted. */
#define TORCD_SLOW_BYTES 128u           /* Of one argument. */
#define TORCD_SLOW_MAX 100000u          /* Greatest slowlog-max-len. */

struct torcd_diagnostics *torcd_diagnostics_create(void);

/* NULL is accepted. */
void torcd_diagnostics_destroy(struct torcd_diagnostics *diagnostics);

/* Settings that CONFIG knows: slowlog-log-slower-than (microseconds, -1: never), slowlog-max-len,
 * latency-monitor-threshold (milliseconds, 0: never). Any thread. */
enum torcd_diagnostics_setting { TORCD_SLOWER_THAN, TORCD_SLOW_LENGTH, TORCD_LATENCY_THRESHOLD };
int64_t torcd_diagnostics_get(const struct torcd_diagnostics *diagnostics, enum torcd_diagnostics_setting setting);
void torcd_diagnostics_set(struct torcd_diagnostics *diagnostics, enum torcd_diagnostics_setting setting,
                           int64_t value);

/* The request of `session` took `took_ns`. Costs two comparisons if that is little. */
void torcd_diagnostics_note(struct torcd_session *session, uint64_t took_ns);

/* Write the `count` newest entries of the slow log as a reply; how many there are; forget them. */
void torcd_slowlog_reply(struct torcd_session *session, uint64_t count);
uint64_t torcd_slowlog_length(struct torcd_diagnostics *diagnostics);
void torcd_slowlog_reset(struct torcd_diagnostics *diagnostics);

/* Write the replies of LATENCY LATEST and LATENCY HISTORY; forget one event (all: NULL), and return how many. */
void torcd_latency_reply_latest(struct torcd_session *session);
void torcd_latency_reply_history(struct torcd_session *session, struct torc_slice event);
unsigned torcd_latency_reset(struct torcd_diagnostics *diagnostics, const struct torc_slice *event);

#endif

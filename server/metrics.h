/* SPDX-License-Identifier: MIT */
/* server/metrics.h: the figures of the server and of its store, as text. */
#ifndef TORCD_METRICS_H
#define TORCD_METRICS_H

#include "server.h"

/* Append all figures as Prometheus text. With out->fault set afterwards they are not complete. Threads: any. */
void torcd_metrics_render(const struct torcd_server *server, struct torcd_buffer *out);

/* Append what INFO tells of `section` ("server", "clients", ..., in lower case), nothing if there is none such. */
void torcd_metrics_info(const struct torcd_server *server, const char *section, struct torcd_buffer *out);

/* The sections of INFO in their order, NULL at the end. */
extern const char *const torcd_metrics_sections[];

#endif

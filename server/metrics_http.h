/* SPDX-License-Identifier: MIT */
/* server/metrics_http.h: GET /metrics over HTTP, on the main thread's event loop. */
#ifndef TORCD_METRICS_HTTP_H
#define TORCD_METRICS_HTTP_H

#include <uv.h>

#include "server.h"

struct torcd_metrics_http;

/* Answer GET /metrics at `address` and `*port` (0: chosen by the system and written back). NULL with errno set. */
struct torcd_metrics_http *
torcd_metrics_http_create(uv_loop_t *uv, const struct torcd_server *server, const char *address, unsigned *port);

/* Stop listening and close all its connections; frees itself from within the event loop. NULL is accepted. */
void torcd_metrics_http_close(struct torcd_metrics_http *http);

#endif

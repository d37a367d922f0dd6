/* SPDX-License-Identifier: MIT */
/* base/metrics: builds Prometheus text (exposition format 0.0.4) in the caller's memory. Integers only, so that the
 * process's locale cannot spoil a number.
 *
 *   struct torci_metrics metrics;
 *   torci_metrics_begin(&metrics, buffer, capacity);
 *   torci_metrics_counter(&metrics, "torc_commits_total", "Commits.", NULL, NULL, 7);
 *   size = torci_metrics_finish(&metrics);                              as snprintf: the whole length, fitting or not
 *
 * Each sample may carry one label (both NULL: none). Samples of one name stand together: HELP and TYPE are written
 * where the name changes. Names and labels are the library's own and valid; label values may be anything and are
 * escaped. */
#ifndef TORCI_METRICS_H
#define TORCI_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/histogram.h"

/* Owner only. */
struct torci_metrics {
    char *buffer;
    size_t capacity;
    size_t size;            /* Of the whole text, without the terminator; may exceed the capacity. */
    const char *family;     /* Name of the last sample; borrowed. */
};

/* `buffer` may be NULL if `capacity` is 0. Terminated from here on, if capacity > 0. */
void torci_metrics_begin(struct torci_metrics *metrics, char *buffer, size_t capacity);

/* One sample. `name` and `help` are borrowed until finish. */
void torci_metrics_counter(struct torci_metrics *metrics, const char *name, const char *help, const char *label,
                           const char *label_value, uint64_t value);
void torci_metrics_gauge(struct torci_metrics *metrics, const char *name, const char *help, const char *label,
                         const char *label_value, uint64_t value);

/* A histogram: cumulative counts up to 0, 3, 15, ... 2^40 - 1, the sum and the count. The unit is the recorded one. */
void torci_metrics_histogram(struct torci_metrics *metrics, const char *name, const char *help, const char *label,
                             const char *label_value, const struct torci_histogram *histogram);

/* The length of the whole text. It is complete if this is below the capacity; else the buffer holds its beginning. */
size_t torci_metrics_finish(const struct torci_metrics *metrics);

#endif

/* SPDX-License-Identifier: MIT */
/* base/metrics: a writer that counts on past the end of its buffer.
 *
 * Invariant  I1  buffer[min(size, capacity - 1)] is the terminator */
#include "base/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

enum {
    BOUND_BITS_MAX = 40,    /* 2^40 ns are 18 minutes, 2^40 bytes a tebibyte: what is above goes to +Inf. */
    BOUND_BITS_STEP = 2,
};

static void
put_char(struct torci_metrics *metrics, char c)
{
    if (metrics->size + 1 < metrics->capacity) {
        metrics->buffer[metrics->size] = c;
        metrics->buffer[metrics->size + 1] = '\0';
    }
    metrics->size++;
}

static void
put_string(struct torci_metrics *metrics, const char *string)
{
    for (; *string != '\0'; string++)
        put_char(metrics, *string);
}

static void
put_number(struct torci_metrics *metrics, uint64_t value)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, value);

    torc_assert(length > 0 && (size_t)length < sizeof(digits));
    (void)length;
    put_string(metrics, digits);
}

/* The format escapes backslash and newline everywhere, the quote in label values only. */
static void
put_escaped(struct torci_metrics *metrics, const char *string, bool quoted)
{
    for (; *string != '\0'; string++) {
        if (*string == '\\' || (*string == '"' && quoted))
            put_char(metrics, '\\');
        if (*string == '\n')
            put_string(metrics, "\\n");
        else
            put_char(metrics, *string);
    }
}

static void
put_family(struct torci_metrics *metrics, const char *name, const char *help, const char *type)
{
    if (metrics->family != NULL && strcmp(metrics->family, name) == 0)
        return;

    metrics->family = name;
    put_string(metrics, "# HELP ");
    put_string(metrics, name);
    put_char(metrics, ' ');
    put_escaped(metrics, help, false);
    put_string(metrics, "\n# TYPE ");
    put_string(metrics, name);
    put_char(metrics, ' ');
    put_string(metrics, type);
    put_char(metrics, '\n');
}

static void
put_label(struct torci_metrics *metrics, const char *label, const char *value)
{
    put_string(metrics, label);
    put_string(metrics, "=\"");
    put_escaped(metrics, value, true);
    put_char(metrics, '"');
}

static void
put_sample(struct torci_metrics *metrics, const char *name, const char *suffix, const char *label,
           const char *label_value, uint64_t value)
{
    torc_assert((label == NULL) == (label_value == NULL));

    put_string(metrics, name);
    put_string(metrics, suffix);
    if (label != NULL) {
        put_char(metrics, '{');
        put_label(metrics, label, label_value);
        put_char(metrics, '}');
    }
    put_char(metrics, ' ');
    put_number(metrics, value);
    put_char(metrics, '\n');
}

static void
put_bucket(struct torci_metrics *metrics, const char *name, const char *label, const char *label_value,
           const char *bound, uint64_t count)
{
    put_string(metrics, name);
    put_string(metrics, "_bucket{");
    if (label != NULL) {
        put_label(metrics, label, label_value);
        put_char(metrics, ',');
    }
    put_label(metrics, "le", bound);
    put_string(metrics, "} ");
    put_number(metrics, count);
    put_char(metrics, '\n');
}

void
torci_metrics_begin(struct torci_metrics *metrics, char *buffer, size_t capacity)
{
    torc_assert(buffer != NULL || capacity == 0);

    *metrics = (struct torci_metrics){.buffer = buffer, .capacity = capacity};
    if (capacity > 0)
        buffer[0] = '\0';
}

void
torci_metrics_counter(struct torci_metrics *metrics, const char *name, const char *help, const char *label,
                      const char *label_value, uint64_t value)
{
    put_family(metrics, name, help, "counter");
    put_sample(metrics, name, "", label, label_value, value);
}

void
torci_metrics_gauge(struct torci_metrics *metrics, const char *name, const char *help, const char *label,
                    const char *label_value, uint64_t value)
{
    put_family(metrics, name, help, "gauge");
    put_sample(metrics, name, "", label, label_value, value);
}

void
torci_metrics_histogram(struct torci_metrics *metrics, const char *name, const char *help, const char *label,
                        const char *label_value, const struct torci_histogram *histogram)
{
    /* Relaxed: a counter. */
    uint64_t sum = torci_load(&histogram->sum, memory_order_relaxed);

    torc_assert((label == NULL) == (label_value == NULL));
    put_family(metrics, name, help, "histogram");

    /* Each count is taken after the one before, and counters only grow: cumulative also while the owner records. */
    for (unsigned bits = 0; bits <= BOUND_BITS_MAX; bits += BOUND_BITS_STEP) {
        uint64_t bound = (UINT64_C(1) << bits) - 1;
        char digits[24];

        snprintf(digits, sizeof(digits), "%" PRIu64, bound);
        put_bucket(metrics, name, label, label_value, digits, torci_histogram_count_to(histogram, bound));
    }
    uint64_t count = torci_histogram_count(histogram);
    put_bucket(metrics, name, label, label_value, "+Inf", count);
    put_sample(metrics, name, "_sum", label, label_value, sum);
    put_sample(metrics, name, "_count", label, label_value, count);
}

size_t
torci_metrics_finish(const struct torci_metrics *metrics)
{
    torc_assert(metrics->capacity == 0
                || metrics->buffer[metrics->size < metrics->capacity ? metrics->size : metrics->capacity - 1] == '\0');
    return metrics->size;
}

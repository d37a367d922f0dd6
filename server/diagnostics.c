/* SPDX-License-Identifier: MIT */
/* server/diagnostics.c: the slow log and the latencies.
 *
 * Guard       `mutex` guards the entries of the slow log and the samples; settings are relaxed atomics.
 * Invariants  I1  the list from `newest` has `length` entries, no more than slowlog-max-len at the time of the last one
 *             I2  an event's samples are a ring; within one second there is one sample, its worst */
#define _GNU_SOURCE
#include "diagnostics.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "commands.h"

#define SAMPLES 160u

struct slow {
    struct slow *older;
    struct slow *newer;
    uint64_t number;
    int64_t time_s;
    uint64_t took_us;
    char address[64];
    char name[TORCD_NAME_MAX + 1];
    unsigned arguments_count;
    struct torc_slice arguments[TORCD_SLOW_ARGUMENTS];
    char bytes[];
};

enum event { COMMAND, FAST_COMMAND, EVENTS };
static const char *const event_names[EVENTS] = {"command", "fast-command"};

struct series {
    struct { int64_t time_s; uint64_t ms; } samples[SAMPLES];
    unsigned count;
    unsigned next;                  /* Where the next sample goes. */
    uint64_t greatest_ms;
};

struct torcd_diagnostics {
    pthread_mutex_t mutex;
    struct slow *newest;
    struct slow *oldest;
    uint64_t length;
    uint64_t next_number;
    struct series series[EVENTS];
    atomic_int_fast64_t settings[3];
};

struct torcd_diagnostics *
torcd_diagnostics_create(void)
{
    struct torcd_diagnostics *diagnostics = torcd_allocate(1, sizeof *diagnostics);

    if (diagnostics == NULL)
        return NULL;
    if (pthread_mutex_init(&diagnostics->mutex, NULL) != 0) {
        torcd_release(diagnostics);
        return NULL;
    }
    torcd_diagnostics_set(diagnostics, TORCD_SLOWER_THAN, 10000);
    torcd_diagnostics_set(diagnostics, TORCD_SLOW_LENGTH, 128);
    return diagnostics;
}

void
torcd_diagnostics_destroy(struct torcd_diagnostics *diagnostics)
{
    if (diagnostics == NULL)
        return;
    torcd_slowlog_reset(diagnostics);
    (void)pthread_mutex_destroy(&diagnostics->mutex);
    torcd_release(diagnostics);
}

int64_t
torcd_diagnostics_get(const struct torcd_diagnostics *diagnostics, enum torcd_diagnostics_setting setting)
{
    /* Relaxed: a setting. */
    return atomic_load_explicit(&diagnostics->settings[setting], memory_order_relaxed);
}

void
torcd_diagnostics_set(struct torcd_diagnostics *diagnostics, enum torcd_diagnostics_setting setting, int64_t value)
{
    /* Relaxed: a setting. */
    atomic_store_explicit(&diagnostics->settings[setting], value, memory_order_relaxed);
}

/* ---- The slow log --------------------------------------------------------------------------------------------- */

static size_t
shown_size(struct torc_slice argument)
{
    return argument.size <= TORCD_SLOW_BYTES ? argument.size : TORCD_SLOW_BYTES + 32;
}

/* Write an argument as the log shows it; returns its size. */
static size_t
show(char *text, struct torc_slice argument)
{
    if (argument.size <= TORCD_SLOW_BYTES) {
        if (argument.size > 0)
            memcpy(text, argument.data, argument.size);
        return argument.size;
    }
    char rest[32];
    size_t rest_size = (size_t)snprintf(rest, sizeof rest, "... (%zu more bytes)", argument.size - TORCD_SLOW_BYTES);
    assert(rest_size < sizeof rest);
    memcpy(text, argument.data, TORCD_SLOW_BYTES);
    memcpy(text + TORCD_SLOW_BYTES, rest, rest_size);
    return TORCD_SLOW_BYTES + rest_size;
}

/* What the log shows instead of argument `index`, or the argument. */
static struct torc_slice
shown_argument(const struct torcd_session *session, size_t index, char *text, size_t text_size)
{
    size_t count = session->arguments_count;

    if (index == TORCD_SLOW_ARGUMENTS - 1 && count > TORCD_SLOW_ARGUMENTS) {
        (void)snprintf(text, text_size, "... (%zu more arguments)", count - TORCD_SLOW_ARGUMENTS + 1);
        return torc_slice_from_string(text);
    }
    if (index > 0 && (session->command->flags & TORCD_SECRET) != 0)
        return torc_slice_from_string("(redacted)");
    /* CONFIG SET requirepass. */
    if (index > 1 && torcd_is_word(session->arguments[0], "config")
        && torcd_is_word(session->arguments[index - 1], "requirepass"))
        return torc_slice_from_string("(redacted)");
    return session->arguments[index];
}

static struct slow *
make_slow(const struct torcd_session *session, uint64_t took_ns)
{
    unsigned count = (unsigned)(session->arguments_count < TORCD_SLOW_ARGUMENTS ? session->arguments_count
                                                                                : TORCD_SLOW_ARGUMENTS);
    size_t size = sizeof(struct slow);
    char text[64];

    for (unsigned i = 0; i < count; i++)
        size += shown_size(shown_argument(session, i, text, sizeof text));
    struct slow *slow = torcd_resize(NULL, size);
    if (slow == NULL)
        return NULL;
    char *bytes = slow->bytes;
    for (unsigned i = 0; i < count; i++) {
        size_t used = show(bytes, shown_argument(session, i, text, sizeof text));
        slow->arguments[i] = torc_slice(bytes, used);
        bytes += used;
    }
    assert(bytes <= (char *)slow + size);
    slow->arguments_count = count;
    slow->time_s = (int64_t)time(NULL);
    slow->took_us = took_ns / 1000;
    memcpy(slow->address, session->address, sizeof slow->address);
    memcpy(slow->name, session->name, sizeof slow->name);
    return slow;
}

/* Forget the oldest entries, down to `length`. Under the mutex. */
static void
shorten(struct torcd_diagnostics *diagnostics, uint64_t length)
{
    while (diagnostics->length > length) {
        struct slow *slow = diagnostics->oldest;
        diagnostics->oldest = slow->newer;
        *(slow->newer != NULL ? &slow->newer->older : &diagnostics->newest) = NULL;
        diagnostics->length--;
        torcd_release(slow);
    }
}

static void
note_slow(struct torcd_session *session, uint64_t took_ns)
{
    struct torcd_diagnostics *diagnostics = session->worker->server->diagnostics;
    struct slow *slow = make_slow(session, took_ns);

    if (slow == NULL)
        return;
    (void)pthread_mutex_lock(&diagnostics->mutex);
    slow->number = diagnostics->next_number++;
    slow->newer = NULL;
    slow->older = diagnostics->newest;
    *(slow->older != NULL ? &slow->older->newer : &diagnostics->oldest) = slow;
    diagnostics->newest = slow;
    diagnostics->length++;
    shorten(diagnostics, (uint64_t)torcd_diagnostics_get(diagnostics, TORCD_SLOW_LENGTH));
    (void)pthread_mutex_unlock(&diagnostics->mutex);
}

void
torcd_slowlog_reply(struct torcd_session *session, uint64_t count)
{
    struct torcd_diagnostics *diagnostics = session->worker->server->diagnostics;
    struct torcd_buffer *out = &session->out;

    (void)pthread_mutex_lock(&diagnostics->mutex);
    if (count > diagnostics->length)
        count = diagnostics->length;
    torcd_resp_array(out, (size_t)count);
    for (const struct slow *slow = diagnostics->newest; count > 0; slow = slow->older, count--) {
        torcd_resp_array(out, 6);
        torcd_reply_integer(session, (int64_t)slow->number);
        torcd_reply_integer(session, slow->time_s);
        torcd_reply_integer(session, (int64_t)slow->took_us);
        torcd_resp_array(out, slow->arguments_count);
        for (unsigned i = 0; i < slow->arguments_count; i++)
            torcd_reply_bulk(session, slow->arguments[i]);
        torcd_reply_string(session, slow->address);
        torcd_reply_string(session, slow->name);
    }
    (void)pthread_mutex_unlock(&diagnostics->mutex);
}

uint64_t
torcd_slowlog_length(struct torcd_diagnostics *diagnostics)
{
    (void)pthread_mutex_lock(&diagnostics->mutex);
    uint64_t length = diagnostics->length;
    (void)pthread_mutex_unlock(&diagnostics->mutex);
    return length;
}

void
torcd_slowlog_reset(struct torcd_diagnostics *diagnostics)
{
    (void)pthread_mutex_lock(&diagnostics->mutex);
    shorten(diagnostics, 0);
    (void)pthread_mutex_unlock(&diagnostics->mutex);
}

/* ---- Latencies ------------------------------------------------------------------------------------------------ */

static void
note_latency(struct torcd_diagnostics *diagnostics, enum event event, uint64_t ms)
{
    struct series *series = &diagnostics->series[event];
    int64_t now = (int64_t)time(NULL);

    (void)pthread_mutex_lock(&diagnostics->mutex);
    unsigned last = (series->next + SAMPLES - 1) % SAMPLES;
    if (ms > series->greatest_ms)
        series->greatest_ms = ms;
    if (series->count > 0 && series->samples[last].time_s == now) {                     /* I2 */
        if (ms > series->samples[last].ms)
            series->samples[last].ms = ms;
    } else {
        series->samples[series->next].time_s = now;
        series->samples[series->next].ms = ms;
        series->next = (series->next + 1) % SAMPLES;
        if (series->count < SAMPLES)
            series->count++;
    }
    (void)pthread_mutex_unlock(&diagnostics->mutex);
}

void
torcd_diagnostics_note(struct torcd_session *session, uint64_t took_ns)
{
    struct torcd_diagnostics *diagnostics = session->worker->server->diagnostics;
    int64_t slower_us = torcd_diagnostics_get(diagnostics, TORCD_SLOWER_THAN);
    int64_t threshold_ms = torcd_diagnostics_get(diagnostics, TORCD_LATENCY_THRESHOLD);
    unsigned flags = session->command->flags;

    if (slower_us >= 0 && took_ns / 1000 >= (uint64_t)slower_us && (flags & TORCD_UNTIMED) == 0)
        note_slow(session, took_ns);
    if (threshold_ms > 0 && took_ns / 1000000 >= (uint64_t)threshold_ms)
        note_latency(diagnostics, (flags & TORCD_FAST) != 0 ? FAST_COMMAND : COMMAND, took_ns / 1000000);
}

void
torcd_latency_reply_latest(struct torcd_session *session)
{
    struct torcd_diagnostics *diagnostics = session->worker->server->diagnostics;
    size_t mark = session->out.size, count = 0;

    (void)pthread_mutex_lock(&diagnostics->mutex);
    for (unsigned i = 0; i < EVENTS; i++) {
        const struct series *series = &diagnostics->series[i];
        unsigned last = (series->next + SAMPLES - 1) % SAMPLES;
        if (series->count == 0)
            continue;
        torcd_resp_array(&session->out, 4);
        torcd_reply_string(session, event_names[i]);
        torcd_reply_integer(session, series->samples[last].time_s);
        torcd_reply_integer(session, (int64_t)series->samples[last].ms);
        torcd_reply_integer(session, (int64_t)series->greatest_ms);
        count++;
    }
    (void)pthread_mutex_unlock(&diagnostics->mutex);
    torcd_resp_insert_array(&session->out, mark, count);
}

/* EVENTS if there is none of that name. */
static enum event
find_event(struct torc_slice name)
{
    unsigned i = 0;

    while (i < EVENTS && !torcd_is_word(name, event_names[i]))
        i++;
    return (enum event)i;
}

void
torcd_latency_reply_history(struct torcd_session *session, struct torc_slice name)
{
    struct torcd_diagnostics *diagnostics = session->worker->server->diagnostics;
    enum event event = find_event(name);

    if (event == EVENTS) {
        torcd_resp_array(&session->out, 0);
        return;
    }
    const struct series *series = &diagnostics->series[event];
    (void)pthread_mutex_lock(&diagnostics->mutex);
    torcd_resp_array(&session->out, series->count);
    for (unsigned i = 0; i < series->count; i++) {
        unsigned at = (series->next + SAMPLES - series->count + i) % SAMPLES;
        torcd_resp_array(&session->out, 2);
        torcd_reply_integer(session, series->samples[at].time_s);
        torcd_reply_integer(session, (int64_t)series->samples[at].ms);
    }
    (void)pthread_mutex_unlock(&diagnostics->mutex);
}

unsigned
torcd_latency_reset(struct torcd_diagnostics *diagnostics, const struct torc_slice *name)
{
    unsigned forgotten = 0;

    (void)pthread_mutex_lock(&diagnostics->mutex);
    for (unsigned i = 0; i < EVENTS; i++) {
        struct series *series = &diagnostics->series[i];
        if (series->count == 0 || (name != NULL && !torcd_is_word(*name, event_names[i])))
            continue;
        memset(series, 0, sizeof *series);
        forgotten++;
    }
    (void)pthread_mutex_unlock(&diagnostics->mutex);
    return forgotten;
}

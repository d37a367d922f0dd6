/* SPDX-License-Identifier: MIT */
/* server/effects.c: collecting and firing what a request makes known.
 *
 * worker->effects holds records, each a struct record followed by a name and a payload:
 *
 *   an event        event's word, key
 *   a publication   channel, payload
 *   a MONITOR line  nothing, the whole reply */
#include "effects.h"

#include <assert.h>
#include <stdio.h>
#include <sys/time.h>

#include "commands.h"
#include "databases.h"
#include "keyspace.h"

/* Of one argument, and of a whole line of MONITOR: what is longer is cut. */
#define SHOWN_MAX (64u * 1024u)

struct record {
    unsigned class;                 /* Of an event; 0: none. */
    enum torcd_subject_kind kind;
    unsigned database;
    size_t name_size;
    size_t payload_size;
};

static const struct { char letter; enum torcd_event_class class; } letters[] = {
    {'g', TORCD_EVENT_GENERIC}, {'$', TORCD_EVENT_STRING}, {'l', TORCD_EVENT_LIST}, {'s', TORCD_EVENT_SET},
    {'h', TORCD_EVENT_HASH}, {'z', TORCD_EVENT_SORTED}, {'x', TORCD_EVENT_EXPIRED}, {'e', TORCD_EVENT_EVICTED},
    {'t', TORCD_EVENT_STREAM}, {'d', TORCD_EVENT_MODULE}, {'K', TORCD_EVENT_KEYSPACE}, {'E', TORCD_EVENT_KEYEVENT},
    {'m', TORCD_EVENT_MISS}, {'n', TORCD_EVENT_NEW},
};

bool
torcd_events_parse(struct torc_slice text, unsigned *flags)
{
    const char *bytes = text.data;

    *flags = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned flag = bytes[i] == 'A' ? TORCD_EVENT_ALL : 0;
        for (size_t j = 0; j < sizeof letters / sizeof letters[0]; j++)
            if (letters[j].letter == bytes[i])
                flag = letters[j].class;
        if (flag == 0)
            return false;
        *flags |= flag;
    }
    return true;
}

void
torcd_events_print(unsigned flags, char text[TORCD_EVENTS_TEXT])
{
    size_t size = 0;
    bool all = (flags & TORCD_EVENT_ALL) == TORCD_EVENT_ALL;

    if (all)
        text[size++] = 'A';
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if ((flags & letters[i].class) != 0 && !(all && (letters[i].class & TORCD_EVENT_ALL) != 0))
            text[size++] = letters[i].letter;
    assert(size < TORCD_EVENTS_TEXT);
    text[size] = '\0';
}

/* ---- Collecting ----------------------------------------------------------------------------------------------- */

static bool
add(struct torcd_worker *worker, struct record record, struct torc_slice name, struct torc_slice payload)
{
    struct torcd_buffer *effects = &worker->effects;
    size_t mark = effects->size;

    record.name_size = name.size;
    record.payload_size = payload.size;
    torcd_buffer_append(effects, &record, sizeof record);
    torcd_buffer_append(effects, name.data, name.size);
    torcd_buffer_append(effects, payload.data, payload.size);
    if (effects->fault == TORCD_FAULT_NONE)
        return true;
    torcd_buffer_truncate(effects, mark);
    return false;
}

/* Whether events of that class are wanted at all. */
static bool
is_wanted(const struct torcd_server *server, unsigned class)
{
    /* Relaxed: a setting. */
    return (atomic_load_explicit(&server->notifications, memory_order_relaxed) & class) != 0;
}

void
torcd_effect_event(struct torcd_session *session, enum torcd_event_class class, const char *event,
                   struct torc_slice key)
{
    const struct record record = {.class = class, .database = session->database};

    /* Without memory for it an event is lost, as it is for a subscriber whose connection ended. */
    if (is_wanted(session->worker->server, class))
        (void)add(session->worker, record, torc_slice_from_string(event), key);
}

bool
torcd_effect_publish(struct torcd_session *session, enum torcd_subject_kind kind, struct torc_slice channel,
                     struct torc_slice payload)
{
    const struct record record = {.kind = kind};

    return add(session->worker, record, channel, payload);
}

/* ---- MONITOR -------------------------------------------------------------------------------------------------- */

/* Append `text` in quotes, what is not printable as an escape. */
static void
append_quoted(struct torcd_buffer *out, struct torc_slice text)
{
    const char *bytes = text.data;

    torcd_buffer_append(out, "\"", 1);
    for (size_t i = 0; i < text.size && i < SHOWN_MAX; i++) {
        static const char plain[] = "\\\"\n\r\t\a\b", escaped[] = "\\\"nrtab";
        const char *at = bytes[i] == '\0' ? NULL : strchr(plain, bytes[i]);
        if (at != NULL) {
            const char pair[2] = {'\\', escaped[at - plain]};
            torcd_buffer_append(out, pair, 2);
        } else if (bytes[i] >= ' ' && bytes[i] <= '~')
            torcd_buffer_append(out, &bytes[i], 1);
        else
            torcd_buffer_format(out, "\\x%02x", (unsigned)(unsigned char)bytes[i]);
    }
    torcd_buffer_append(out, "\"", 1);
}

static void
write_line(struct torcd_buffer *line, const struct torcd_session *session)
{
    struct timeval now;

    (void)gettimeofday(&now, NULL);
    torcd_buffer_format(line, "+%lld.%06ld [%u %s]", (long long)now.tv_sec, (long)now.tv_usec, session->database,
                        session->address);
    for (size_t i = 0; i < session->arguments_count && line->size < SHOWN_MAX; i++) {
        torcd_buffer_append(line, " ", 1);
        if (i > 0 && (session->command->flags & TORCD_SECRET) != 0)
            torcd_buffer_append(line, "\"(redacted)\"", 12);
        else
            append_quoted(line, session->arguments[i]);
    }
    torcd_buffer_append(line, "\r\n", 2);
}

void
torcd_effects_monitor(struct torcd_session *session)
{
    struct torcd_worker *worker = session->worker;
    const struct record record = {.kind = TORCD_MONITOR};
    struct torcd_buffer line = {0};

    /* Relaxed: a count; MONITOR shows what runs after it was answered. */
    if (atomic_load_explicit(&worker->server->monitors, memory_order_relaxed) == 0
        || (session->command->flags & TORCD_ADMIN) != 0)
        return;
    write_line(&line, session);
    if (line.fault == TORCD_FAULT_NONE)
        (void)add(worker, record, torc_slice(NULL, 0), torc_slice(line.data, line.size));
    torcd_buffer_fini(&line);
}

/* ---- Firing --------------------------------------------------------------------------------------------------- */

static void
publish(struct torcd_server *server, enum torcd_subject_kind kind, struct torc_slice channel, struct torc_slice payload)
{
    uint64_t receivers;

    /* Without memory some subscribers go without. */
    (void)torcd_pubsub_publish(server, kind, channel, payload, false, &receivers);
}

/* Publish on a channel whose name is `prefix`, database, "__:", `name`. */
static void
publish_event(struct torcd_server *server, const char *prefix, unsigned database, struct torc_slice name,
              struct torc_slice payload)
{
    struct torcd_buffer channel = {0};

    torcd_buffer_format(&channel, "__%s@%u__:", prefix, database);
    torcd_buffer_append(&channel, name.data, name.size);
    if (channel.fault == TORCD_FAULT_NONE)
        publish(server, TORCD_CHANNEL, torc_slice(channel.data, channel.size), payload);
    torcd_buffer_fini(&channel);
}

static void
event_now(struct torcd_server *server, enum torcd_event_class class, struct torc_slice event, unsigned database,
          struct torc_slice key)
{
    if (!is_wanted(server, class))
        return;
    if (is_wanted(server, TORCD_EVENT_KEYSPACE))
        publish_event(server, "keyspace", database, key, event);
    if (is_wanted(server, TORCD_EVENT_KEYEVENT))
        publish_event(server, "keyevent", database, event, key);
}

/* A key that expired, on its way to a worker, which may publish. */
struct expired {
    struct torcd_message message;
    const struct torc_keyspace *keyspace;       /* To be compared only. */
    size_t size;
    char key[];
};

static void
run_expired(struct torcd_worker *worker, struct torcd_message *message)
{
    struct expired *expired = (struct expired *)message;
    unsigned database;

    if (torcd_databases_number(worker->server->databases, expired->keyspace, &database))
        event_now(worker->server, TORCD_EVENT_EXPIRED, torc_slice_from_string("expired"), database,
                  torcd_keyspace_client_key(torc_slice(expired->key, expired->size)));
    torcd_release(expired);
}

void
torcd_effects_on_commit(void *context, const struct torc_commit *commit)
{
    struct torcd_server *server = *(struct torcd_server *const *)context;
    struct torc_change change;
    size_t position = 0;

    if (server == NULL || !is_wanted(server, TORCD_EVENT_EXPIRED))
        return;
    /* Only the store itself takes expired keys away, and nothing else in the same commit. */
    while (torc_commit_next(commit, &position, &change) && change.expired) {
        struct expired *expired = torcd_resize(NULL, sizeof *expired + change.key.size);
        if (expired == NULL)
            return;
        expired->message.run = run_expired;
        expired->keyspace = change.keyspace;
        expired->size = change.key.size;
        memcpy(expired->key, change.key.data, change.key.size);
        torcd_worker_post(server->workers[0], &expired->message);
    }
}

void
torcd_effects_fire(struct torcd_worker *worker)
{
    struct torcd_buffer *effects = &worker->effects;
    size_t at = 0;

    while (at < effects->size) {
        struct record record;
        memcpy(&record, effects->data + at, sizeof record);
        at += sizeof record;
        struct torc_slice name = torc_slice(effects->data + at, record.name_size);
        at += record.name_size;
        struct torc_slice payload = torc_slice(effects->data + at, record.payload_size);
        at += record.payload_size;
        if (record.class != 0)
            event_now(worker->server, record.class, name, record.database, payload);
        else
            publish(worker->server, record.kind, name, payload);
    }
    torcd_buffer_truncate(effects, 0);
}

/* SPDX-License-Identifier: MIT */
/* server/pubsub.c: the registry of subjects, and the way of a publication.
 *
 *   PUBLISH -> registry: which subjects match, which workers have subscribers of them
 *           -> one delivery for each such worker and subject, posted to its mailbox
 *           -> that worker's thread walks its own list of the subject and pushes to each session
 *
 * Guard       `mutex` guards the table, the lists of subjects, and of each subject: references, subscribers, here[],
 *             backlogs[].
 *             subject->lists[w], and the subscriptions in it, belong to the thread of worker w alone.
 * Invariants  I1  a subject lives while somebody is subscribed or somebody holds a reference
 *             I2  deliveries of one subject are posted under `mutex`, hence in one order to all workers
 *             I3  a subscription gets what has a number greater than its own: what was published after it
 * Patterns are matched against a channel outside of `mutex`: what a client makes expensive, it pays itself. */
#define _GNU_SOURCE
#include "pubsub.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "glob.h"
#include "session.h"

#define SLOTS_MIN 64u               /* Of the registry. */
#define SESSION_SLOTS_MIN 4u

/* What is on its way from the publishers of a subject to one worker. */
struct backlog {
    size_t bytes;
    bool overrun;                   /* It grew too long: a delivery without publication is under way, nothing else. */
};

struct subject {
    struct subject *next_in_slot;
    struct subject *previous;       /* Of its kind. */
    struct subject *next;
    uint64_t hash;
    enum torcd_subject_kind kind;
    size_t references;
    uint64_t subscribers;
    uint64_t *here;                 /* By worker: how many of the subscribers. */
    struct torcd_subscription **lists;
    struct backlog *backlogs;       /* By worker. */
    size_t name_size;
    char *name;
};

struct torcd_subscription {
    struct torcd_subscription *next_in_slot;    /* Of the session. */
    struct torcd_subscription *previous;        /* In the subject's list. */
    struct torcd_subscription *next;
    struct torcd_session *session;
    struct subject *subject;
    uint64_t number;                            /* I3 */
};

struct torcd_pubsub {
    pthread_mutex_t mutex;
    unsigned workers_count;
    uint64_t seed;
    uint64_t published;             /* Publications so far. */
    struct subject **slots;
    size_t slots_count;
    size_t subjects_count;
    uint64_t counts[TORCD_SUBJECT_KINDS];
    struct subject *first[TORCD_SUBJECT_KINDS];
};

/* What is published, once for all workers. */
struct publication {
    atomic_size_t references;
    uint64_t number;
    size_t name_size;
    size_t payload_size;
    char bytes[];                   /* Channel, payload. */
};

struct delivery {
    struct torcd_message message;
    struct publication *publication;    /* NULL: the backlog was overrun. */
    struct subject *subject;
};

static void
lock(struct torcd_pubsub *pubsub)
{
    (void)pthread_mutex_lock(&pubsub->mutex);
}

static void
unlock(struct torcd_pubsub *pubsub)
{
    (void)pthread_mutex_unlock(&pubsub->mutex);
}

/* ---- Subjects: all under the lock ----------------------------------------------------------------------------- */

static uint64_t
mix(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

static uint64_t
hash_name(const struct torcd_pubsub *pubsub, enum torcd_subject_kind kind, struct torc_slice name)
{
    const unsigned char *bytes = name.data;
    uint64_t hash = pubsub->seed ^ (uint64_t)kind;

    for (size_t i = 0; i < name.size; i++)
        hash = mix(hash ^ bytes[i]);
    return mix(hash ^ name.size);
}

static struct subject *
find(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind, struct torc_slice name, uint64_t hash)
{
    struct subject *subject = pubsub->slots[hash & (pubsub->slots_count - 1)];

    while (subject != NULL
           && (subject->hash != hash || subject->kind != kind || subject->name_size != name.size
               || (name.size > 0 && memcmp(subject->name, name.data, name.size) != 0)))
        subject = subject->next_in_slot;
    return subject;
}

/* Twice the slots, if there is memory for them. */
static void
widen(struct torcd_pubsub *pubsub)
{
    size_t count = pubsub->slots_count * 2;
    struct subject **slots = torcd_allocate(count, sizeof(struct subject *));

    if (slots == NULL)
        return;
    for (size_t i = 0; i < pubsub->slots_count; i++)
        while (pubsub->slots[i] != NULL) {
            struct subject *subject = pubsub->slots[i];
            pubsub->slots[i] = subject->next_in_slot;
            subject->next_in_slot = slots[subject->hash & (count - 1)];
            slots[subject->hash & (count - 1)] = subject;
        }
    torcd_release(pubsub->slots);
    pubsub->slots = slots;
    pubsub->slots_count = count;
}

static void
free_subject(struct subject *subject)
{
    torcd_release(subject->here);
    torcd_release(subject->lists);
    torcd_release(subject->backlogs);
    torcd_release(subject->name);
    torcd_release(subject);
}

static struct subject *
make(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind, struct torc_slice name, uint64_t hash)
{
    struct subject *subject = torcd_allocate(1, sizeof *subject);

    if (subject == NULL)
        return NULL;
    subject->here = torcd_allocate(pubsub->workers_count, sizeof *subject->here);
    subject->lists = torcd_allocate(pubsub->workers_count, sizeof(struct torcd_subscription *));
    subject->backlogs = torcd_allocate(pubsub->workers_count, sizeof *subject->backlogs);
    subject->name = torcd_resize(NULL, name.size == 0 ? 1 : name.size);
    if (subject->here == NULL || subject->lists == NULL || subject->backlogs == NULL || subject->name == NULL) {
        free_subject(subject);
        return NULL;
    }
    subject->kind = kind;
    subject->hash = hash;
    subject->name_size = name.size;
    if (name.size > 0)
        memcpy(subject->name, name.data, name.size);

    if (pubsub->subjects_count >= pubsub->slots_count)
        widen(pubsub);
    subject->next_in_slot = pubsub->slots[hash & (pubsub->slots_count - 1)];
    pubsub->slots[hash & (pubsub->slots_count - 1)] = subject;
    subject->next = pubsub->first[kind];
    if (subject->next != NULL)
        subject->next->previous = subject;
    pubsub->first[kind] = subject;
    pubsub->subjects_count++;
    return subject;
}

/* End a subject that nobody needs (I1). */
static void
end_if_unused(struct torcd_pubsub *pubsub, struct subject *subject)
{
    struct subject **link = &pubsub->slots[subject->hash & (pubsub->slots_count - 1)];

    if (subject->subscribers > 0 || subject->references > 0)
        return;
    while (*link != subject)
        link = &(*link)->next_in_slot;
    *link = subject->next_in_slot;
    *(subject->previous != NULL ? &subject->previous->next : &pubsub->first[subject->kind]) = subject->next;
    if (subject->next != NULL)
        subject->next->previous = subject->previous;
    pubsub->subjects_count--;
    free_subject(subject);
}

static void
unreference(struct torcd_pubsub *pubsub, struct subject *subject)
{
    assert(subject->references > 0);
    subject->references--;
    end_if_unused(pubsub, subject);
}

/* All subjects of a kind that have subscribers, each with a reference; NULL and a count of 0 if there are none. NULL
 * and the count: no memory. */
static struct subject **
collect(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind, size_t *count)
{
    struct subject **subjects = NULL;
    size_t i = 0;

    *count = (size_t)pubsub->counts[kind];
    if (*count > 0)
        subjects = torcd_allocate(*count, sizeof(struct subject *));
    if (subjects == NULL)
        return NULL;
    for (struct subject *subject = pubsub->first[kind]; subject != NULL; subject = subject->next)
        if (subject->subscribers > 0) {
            assert(i < *count);
            subject->references++;
            subjects[i++] = subject;
        }
    assert(i == *count);
    return subjects;
}

static struct torc_slice
name_of(const struct subject *subject)
{
    return torc_slice(subject->name, subject->name_size);
}

/* ---- Subscriptions -------------------------------------------------------------------------------------------- */

/* The place in the session's table where a subscription of `subject` is linked, or would be. */
static struct torcd_subscription **
place_of(const struct torcd_subscriptions *table, const struct subject *subject)
{
    struct torcd_subscription **link = &table->slots[mix((uintptr_t)subject) & (table->slots_count - 1)];

    while (*link != NULL && (*link)->subject != subject)
        link = &(*link)->next_in_slot;
    return link;
}

static size_t
total(const struct torcd_subscriptions *table)
{
    size_t sum = 0;

    for (unsigned i = 0; i < TORCD_SUBJECT_KINDS; i++)
        sum += table->counts[i];
    return sum;
}

/* Make room for one more subscription. */
static bool
reserve(struct torcd_subscriptions *table)
{
    size_t count = table->slots_count == 0 ? SESSION_SLOTS_MIN : table->slots_count * 2;

    if (total(table) < table->slots_count)
        return true;
    struct torcd_subscription **slots = torcd_allocate(count, sizeof(struct torcd_subscription *));
    if (slots == NULL)
        return table->slots_count > 0;
    for (size_t i = 0; i < table->slots_count; i++)
        while (table->slots[i] != NULL) {
            struct torcd_subscription *subscription = table->slots[i];
            size_t slot = mix((uintptr_t)subscription->subject) & (count - 1);
            table->slots[i] = subscription->next_in_slot;
            subscription->next_in_slot = slots[slot];
            slots[slot] = subscription;
        }
    torcd_release(table->slots);
    table->slots = slots;
    table->slots_count = count;
    return true;
}

static size_t
cost_of(const struct torcd_pubsub *pubsub, const struct subject *subject)
{
    size_t by_worker = pubsub->workers_count
                       * (sizeof *subject->here + sizeof *subject->backlogs + sizeof(struct torcd_subscription *));

    return sizeof(struct torcd_subscription) + sizeof(struct subject) + by_worker + subject->name_size;
}

/* Count and link a subscription that is complete but for that. */
static void
enter(struct torcd_subscription *subscription, struct torcd_subscription **place)
{
    struct torcd_session *session = subscription->session;
    struct torcd_pubsub *pubsub = session->worker->server->pubsub;
    struct subject *subject = subscription->subject;
    unsigned worker = session->worker->number;

    if (subject->subscribers++ == 0)
        pubsub->counts[subject->kind]++;
    subject->here[worker]++;
    subscription->number = pubsub->published;
    subscription->next = subject->lists[worker];
    if (subscription->next != NULL)
        subscription->next->previous = subscription;
    subject->lists[worker] = subscription;
    *place = subscription;
    session->subscriptions.counts[subject->kind]++;
    session->subscriptions.bytes += cost_of(pubsub, subject);
    if (subject->kind == TORCD_MONITOR)
        /* Relaxed: a count. */
        atomic_fetch_add_explicit(&session->worker->server->monitors, 1, memory_order_relaxed);
}

bool
torcd_pubsub_subscribe(struct torcd_session *session, enum torcd_subject_kind kind, struct torc_slice name)
{
    struct torcd_pubsub *pubsub = session->worker->server->pubsub;
    struct torcd_subscriptions *table = &session->subscriptions;
    struct torcd_subscription *subscription = torcd_allocate(1, sizeof *subscription);
    uint64_t hash = hash_name(pubsub, kind, name);

    if (subscription == NULL || !reserve(table)) {
        torcd_release(subscription);
        return false;
    }
    lock(pubsub);
    struct subject *subject = find(pubsub, kind, name, hash);
    if (subject == NULL)
        subject = make(pubsub, kind, name, hash);
    struct torcd_subscription **place = subject == NULL ? NULL : place_of(table, subject);
    if (place != NULL && *place == NULL) {
        subscription->session = session;
        subscription->subject = subject;
        enter(subscription, place);
        subscription = NULL;
    }
    unlock(pubsub);
    torcd_release(subscription);
    return place != NULL;
}

/* Unlink and free the subscription at `place`. */
static void
leave(struct torcd_subscription **place)
{
    struct torcd_subscription *subscription = *place;
    struct torcd_session *session = subscription->session;
    struct torcd_pubsub *pubsub = session->worker->server->pubsub;
    struct subject *subject = subscription->subject;
    unsigned worker = session->worker->number;

    *place = subscription->next_in_slot;
    *(subscription->previous != NULL ? &subscription->previous->next : &subject->lists[worker]) = subscription->next;
    if (subscription->next != NULL)
        subscription->next->previous = subscription->previous;
    session->subscriptions.counts[subject->kind]--;
    session->subscriptions.bytes -= cost_of(pubsub, subject);
    if (subject->kind == TORCD_MONITOR)
        /* Relaxed: a count. */
        atomic_fetch_sub_explicit(&session->worker->server->monitors, 1, memory_order_relaxed);
    lock(pubsub);
    subject->here[worker]--;
    if (--subject->subscribers == 0)
        pubsub->counts[subject->kind]--;
    end_if_unused(pubsub, subject);
    unlock(pubsub);
    torcd_release(subscription);
}

bool
torcd_pubsub_unsubscribe(struct torcd_session *session, enum torcd_subject_kind kind, struct torc_slice name)
{
    struct torcd_pubsub *pubsub = session->worker->server->pubsub;
    const struct torcd_subscriptions *table = &session->subscriptions;

    if (table->counts[kind] == 0)
        return false;
    lock(pubsub);
    /* If the session listens, the subject lives on until leave(). */
    struct subject *subject = find(pubsub, kind, name, hash_name(pubsub, kind, name));
    struct torcd_subscription **place = subject == NULL ? NULL : place_of(table, subject);
    bool found = place != NULL && *place != NULL;
    unlock(pubsub);
    if (found)
        leave(place);
    return found;
}

bool
torcd_pubsub_any(const struct torcd_session *session, enum torcd_subject_kind kind, struct torc_slice *name)
{
    const struct torcd_subscriptions *table = &session->subscriptions;

    if (table->counts[kind] == 0)
        return false;
    for (size_t i = 0; i < table->slots_count; i++)
        for (struct torcd_subscription *at = table->slots[i]; at != NULL; at = at->next_in_slot)
            if (at->subject->kind == kind) {
                *name = name_of(at->subject);
                return true;
            }
    return false;
}

void
torcd_pubsub_leave(struct torcd_session *session)
{
    struct torcd_subscriptions *table = &session->subscriptions;

    for (size_t i = 0; i < table->slots_count; i++)
        while (table->slots[i] != NULL)
            leave(&table->slots[i]);
    torcd_release(table->slots);
    memset(table, 0, sizeof *table);
}

/* ---- Publications --------------------------------------------------------------------------------------------- */

static struct publication *
make_publication(struct torc_slice name, struct torc_slice payload)
{
    struct publication *publication = torcd_resize(NULL, sizeof *publication + name.size + payload.size);

    if (publication == NULL)
        return NULL;
    /* Relaxed: no other thread knows it yet. */
    atomic_init(&publication->references, 1);
    publication->name_size = name.size;
    publication->payload_size = payload.size;
    if (name.size > 0)
        memcpy(publication->bytes, name.data, name.size);
    if (payload.size > 0)
        memcpy(publication->bytes + name.size, payload.data, payload.size);
    return publication;
}

static void
release_publication(struct publication *publication)
{
    /* R1, A1 on itself: whoever frees it comes after all that read it. */
    if (publication != NULL && atomic_fetch_sub_explicit(&publication->references, 1, memory_order_acq_rel) == 1)
        torcd_release(publication);
}

/* The reply that tells of `publication`, as RESP2 has it; RESP3 differs in the first byte only. */
static void
write_frame(struct torcd_buffer *frame, const struct publication *publication, const struct subject *subject)
{
    static const char *const words[] = {
        [TORCD_CHANNEL] = "message", [TORCD_PATTERN] = "pmessage", [TORCD_SHARD] = "smessage",
    };
    struct torc_slice payload = torc_slice(publication->bytes + publication->name_size, publication->payload_size);

    if (subject->kind == TORCD_MONITOR) {
        torcd_buffer_append(frame, payload.data, payload.size);
        return;
    }
    torcd_resp_array(frame, subject->kind == TORCD_PATTERN ? 4 : 3);
    torcd_resp_bulk(frame, torc_slice_from_string(words[subject->kind]));
    if (subject->kind == TORCD_PATTERN)
        torcd_resp_bulk(frame, name_of(subject));
    torcd_resp_bulk(frame, torc_slice(publication->bytes, publication->name_size));
    torcd_resp_bulk(frame, payload);
}

/* Push to all sessions of the worker that listen. A session for which there is no memory goes without, as it would if
 * its connection had ended. */
static void
push_all(struct torcd_subscription *at, const struct publication *publication, const struct subject *subject)
{
    struct torcd_buffer frame = {0};

    if (at != NULL)
        write_frame(&frame, publication, subject);
    for (; at != NULL && frame.fault == TORCD_FAULT_NONE; at = at->next) {
        if (at->number >= publication->number)                                                  /* I3 */
            continue;
        if (subject->kind != TORCD_MONITOR)
            frame.data[0] = at->session->protocol == 3 ? '>' : '*';
        torcd_session_push(at->session, frame.data, frame.size);
    }
    torcd_buffer_fini(&frame);
}

static size_t
weight_of(const struct publication *publication)
{
    return sizeof(struct delivery) + sizeof *publication + publication->name_size + publication->payload_size;
}

/* On the worker's thread. */
static void
run_delivery(struct torcd_worker *worker, struct torcd_message *message)
{
    struct delivery *delivery = (struct delivery *)message;
    struct torcd_pubsub *pubsub = worker->server->pubsub;
    struct subject *subject = delivery->subject;
    struct backlog *backlog = &subject->backlogs[worker->number];

    if (delivery->publication != NULL)
        push_all(subject->lists[worker->number], delivery->publication, subject);
    else
        for (struct torcd_subscription *at = subject->lists[worker->number]; at != NULL; at = at->next)
            torcd_session_close(at->session);
    lock(pubsub);
    if (delivery->publication != NULL)
        backlog->bytes -= weight_of(delivery->publication);
    else
        backlog->overrun = false;
    unreference(pubsub, subject);
    unlock(pubsub);
    release_publication(delivery->publication);
    torcd_release(delivery);
}

/* Post a publication to all workers where `subject` has subscribers. Under the lock (I2).
 * A worker that is busy for long would let its mailbox grow without end. So past twice the limit of what may wait for a
 * client, of which at least a half will come to it at once, its clients that listen to the subject are closed, as if
 * they did not read. */
static bool
post(struct torcd_server *server, struct subject *subject, struct publication *publication)
{
    uint64_t limit = torcd_setting(server, TORCD_PUSH_BUFFER_MAX);

    for (unsigned i = 0; i < server->workers_count; i++) {
        struct backlog *backlog = &subject->backlogs[i];
        if (subject->here[i] == 0 || backlog->overrun)
            continue;
        struct delivery *delivery = torcd_allocate(1, sizeof *delivery);
        if (delivery == NULL)
            return false;
        backlog->overrun = backlog->bytes / 2 > limit;
        if (!backlog->overrun) {
            /* Relaxed: this thread holds a reference; the mailbox publishes the rest. */
            atomic_fetch_add_explicit(&publication->references, 1, memory_order_relaxed);
            backlog->bytes += weight_of(publication);
        }
        subject->references++;
        delivery->message.run = run_delivery;
        delivery->publication = backlog->overrun ? NULL : publication;
        delivery->subject = subject;
        torcd_worker_post(server->workers[i], &delivery->message);
    }
    return true;
}

bool
torcd_pubsub_publish(struct torcd_server *server, enum torcd_subject_kind kind, struct torc_slice name,
                     struct torc_slice payload, bool count_only, uint64_t *receivers)
{
    struct torcd_pubsub *pubsub = server->pubsub;
    struct publication *publication = count_only ? NULL : make_publication(name, payload);
    bool complete = count_only || publication != NULL;
    struct subject **patterns = NULL;
    size_t patterns_count = 0, matching = 0;
    uint64_t hash = hash_name(pubsub, kind, name);

    *receivers = 0;
    lock(pubsub);
    if (kind == TORCD_CHANNEL && complete)
        patterns = collect(pubsub, TORCD_PATTERN, &patterns_count);
    if (patterns != NULL) {
        unlock(pubsub);
        for (size_t i = 0; i < patterns_count; i++)
            if (torcd_glob_match(name_of(patterns[i]), name)) {
                struct subject *match = patterns[i];
                patterns[i] = patterns[matching];
                patterns[matching++] = match;
            }
        lock(pubsub);
    } else
        complete = complete && patterns_count == 0;

    struct subject *subject = find(pubsub, kind, name, hash);
    if (publication != NULL)
        publication->number = ++pubsub->published;
    if (subject != NULL && complete) {
        *receivers += subject->subscribers;
        complete = count_only || post(server, subject, publication);
    }
    for (size_t i = 0; i < matching && complete; i++) {
        *receivers += patterns[i]->subscribers;
        complete = count_only || post(server, patterns[i], publication);
    }
    for (size_t i = 0; patterns != NULL && i < patterns_count; i++)
        unreference(pubsub, patterns[i]);
    unlock(pubsub);
    torcd_release(patterns);
    release_publication(publication);
    return complete;
}

/* ---- Figures -------------------------------------------------------------------------------------------------- */

uint64_t
torcd_pubsub_subscribers(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind, struct torc_slice name)
{
    lock(pubsub);
    const struct subject *subject = find(pubsub, kind, name, hash_name(pubsub, kind, name));
    uint64_t subscribers = subject == NULL ? 0 : subject->subscribers;
    unlock(pubsub);
    return subscribers;
}

uint64_t
torcd_pubsub_subjects(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind)
{
    lock(pubsub);
    uint64_t count = pubsub->counts[kind];
    unlock(pubsub);
    return count;
}

size_t
torcd_pubsub_list(struct torcd_pubsub *pubsub, enum torcd_subject_kind kind, const struct torc_slice *pattern,
                  struct torcd_buffer *out)
{
    size_t count, listed = 0;

    lock(pubsub);
    struct subject **subjects = collect(pubsub, kind, &count);
    unlock(pubsub);
    if (subjects == NULL) {
        if (count > 0)
            out->fault = TORCD_FAULT_MEMORY;
        return 0;
    }
    for (size_t i = 0; i < count && out->fault == TORCD_FAULT_NONE; i++)
        if (pattern == NULL || torcd_glob_match(*pattern, name_of(subjects[i]))) {
            torcd_resp_bulk(out, name_of(subjects[i]));
            listed++;
        }
    lock(pubsub);
    for (size_t i = 0; i < count; i++)
        unreference(pubsub, subjects[i]);
    unlock(pubsub);
    torcd_release(subjects);
    return listed;
}

/* ---- Life ----------------------------------------------------------------------------------------------------- */

struct torcd_pubsub *
torcd_pubsub_create(unsigned workers_count)
{
    struct torcd_pubsub *pubsub = torcd_allocate(1, sizeof *pubsub);

    if (pubsub == NULL)
        return NULL;
    pubsub->workers_count = workers_count;
    pubsub->slots_count = SLOTS_MIN;
    pubsub->slots = torcd_allocate(SLOTS_MIN, sizeof(struct subject *));
    if (pubsub->slots == NULL || pthread_mutex_init(&pubsub->mutex, NULL) != 0) {
        torcd_release(pubsub->slots);
        torcd_release(pubsub);
        return NULL;
    }
    /* Without a seed the table works as well; only who knows it may fill one slot. */
    if (getrandom(&pubsub->seed, sizeof pubsub->seed, 0) != (ssize_t)sizeof pubsub->seed)
        pubsub->seed = 0;
    return pubsub;
}

void
torcd_pubsub_destroy(struct torcd_pubsub *pubsub)
{
    if (pubsub == NULL)
        return;
    assert(pubsub->subjects_count == 0);
    (void)pthread_mutex_destroy(&pubsub->mutex);
    torcd_release(pubsub->slots);
    torcd_release(pubsub);
}

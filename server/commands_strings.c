/* SPDX-License-Identifier: MIT */
/* server/commands_strings.c: the commands that read and write values.
 *
 * A command over one key that need not look before it writes is one call of the store. Every other one is a body that
 * torcd_keyspace_run() runs in a transaction, again and again if others are faster; so a body begins its reply anew. */
#include "commands.h"
#include "effects.h"
#include "expiry.h"
#include "keyspace.h"

#include <assert.h>

static void
reply_too_long(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

void
torcd_command_get(struct torcd_session *session)
{
    if (torcd_keyspace_check(session, torcd_argument(session, 1)))
        torcd_keyspace_reply_value(session, torcd_argument(session, 1));
}

void
torcd_command_strlen(struct torcd_session *session)
{
    size_t size = 0;

    if (!torcd_keyspace_check(session, torcd_argument(session, 1)))
        return;
    enum torc_status status = torcd_keyspace_size(session, torcd_argument(session, 1), &size);
    if (status == TORC_OK || status == TORC_NOT_FOUND)
        torcd_reply_integer(session, status == TORC_OK ? (int64_t)size : 0);
    else
        torcd_reply_status(session, status);
}

static void
reply_values(struct torcd_session *session, const struct torc_slice *values, size_t count)
{
    struct torcd_counters *counters = &session->worker->counters;
    size_t found = 0;

    for (size_t i = 0; i < count; i++)
        if (values[i].data != NULL) {
            torcd_reply_bulk(session, values[i]);
            found++;
        } else
            torcd_reply_null(session);
    torcd_count(&counters->hits, found);
    torcd_count(&counters->misses, count - found);
}

static enum torc_status
mget_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torc_slice values[TORCD_KEYS_AT_ONCE];
    size_t count = session->arguments_count;

    (void)context;
    torcd_resp_array(&session->out, count - 1);
    for (size_t i = 1; i < count && session->out.fault == TORCD_FAULT_NONE; i += TORCD_KEYS_AT_ONCE) {
        size_t part = count - i < TORCD_KEYS_AT_ONCE ? count - i : TORCD_KEYS_AT_ONCE;
        enum torc_status status = torcd_keyspace_get_many(session, txn, session->arguments + i, part, values);
        if (status != TORC_OK)
            return status;
        reply_values(session, values, part);
    }
    return TORC_OK;
}

void
torcd_command_mget(struct torcd_session *session)
{
    if (torcd_check_keys(session, 1, 1))
        (void)torcd_keyspace_run(session, TORCD_READ, mget_body, NULL);
}

/* First and last byte, from the front, or negative from the end. */
struct part {
    int64_t first;
    int64_t last;
};

/* The part of `value` that is meant. */
static struct torc_slice
cut(struct torc_slice value, struct part part)
{
    int64_t size = (int64_t)value.size, first = part.first, last = part.last;

    if (first < 0 && last < 0 && first > last)
        return torc_slice(NULL, 0);
    first = first < 0 ? first + size : first;
    last = last < 0 ? last + size : last;
    first = first < 0 ? 0 : first;
    last = last < 0 ? 0 : last;
    last = last >= size ? size - 1 : last;
    if (size == 0 || first > last)
        return torc_slice(NULL, 0);
    return torc_slice((const char *)value.data + first, (size_t)(last - first + 1));
}

static enum torc_status
getrange_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct part *part = context;
    struct torc_slice value;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, torcd_argument(session, 1), &value, &present);

    if (status == TORC_OK)
        torcd_reply_bulk(session, cut(value, *part));
    return status;
}

void
torcd_command_getrange(struct torcd_session *session)
{
    struct part part;

    if (!torcd_parse_integer(torcd_argument(session, 2), &part.first)
        || !torcd_parse_integer(torcd_argument(session, 3), &part.last))
        torcd_reply_not_an_integer(session);
    else if (torcd_keyspace_check(session, torcd_argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_READ, getrange_body, &part);
}

/* ---- SET ------------------------------------------------------------------------------------------------------ */

/* What SET and its relatives were asked. */
struct set {
    struct torc_slice key;
    struct torc_slice value;
    struct torcd_set_options options;
    bool as_integer;        /* Reply with 1 or 0: SETNX. */
};

static void
note_set(struct torcd_session *session, const struct set *set)
{
    torcd_effect_event(session, TORCD_EVENT_STRING, "set", set->key);
    if (set->options.expires)
        torcd_effect_event(session, TORCD_EVENT_GENERIC, "expire", set->key);
}

static enum torc_status
set_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct set *set = context;
    const struct torcd_set_options *options = &set->options;
    struct torc_slice before;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, set->key, &before, &present);

    if (status != TORC_OK)
        return status;
    bool wanted = present ? !options->if_absent : !options->if_present;
    if (options->get && present)
        torcd_reply_bulk(session, before);
    else if (options->get || (!wanted && !set->as_integer))
        torcd_reply_null(session);
    else if (set->as_integer)
        torcd_reply_integer(session, wanted);
    else
        torcd_reply_ok(session);
    if (!wanted)
        return TORC_OK;
    note_set(session, set);
    if (options->keep)
        return torcd_keyspace_replace(session, txn, set->key, set->value, present);
    return torcd_keyspace_put(session, txn, set->key, set->value, options->expires ? options->expires_ms : TORC_NEVER,
                              present);
}

static void
run_set(struct torcd_session *session, struct set *set)
{
    const struct torcd_set_options *options = &set->options;
    bool replaced;

    if (!torcd_keyspace_check(session, set->key))
        return;
    if (options->if_absent || options->if_present || options->get || options->keep)
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, set_body, set);
    else if (torcd_keyspace_set(session, set->key, set->value, options->expires ? options->expires_ms : TORC_NEVER,
                                &replaced)) {
        note_set(session, set);
        torcd_reply_ok(session);
    }
}

void
torcd_command_set(struct torcd_session *session)
{
    struct set set = {.key = torcd_argument(session, 1), .value = torcd_argument(session, 2)};

    if (torcd_set_options_parse(session, 3, false, &set.options) && torcd_set_options_time(session, &set.options))
        run_set(session, &set);
}

static void
set_for_a_time(struct torcd_session *session, bool seconds)
{
    struct set set = {
        .key = torcd_argument(session, 1), .value = torcd_argument(session, 3), .options = {.expires = true},
    };

    if (torcd_expiry_parse(session, torcd_argument(session, 2), (struct torcd_time_form){.seconds = seconds}, true,
                           &set.options.expires_ms))
        run_set(session, &set);
}

void
torcd_command_setex(struct torcd_session *session)
{
    set_for_a_time(session, true);
}

void
torcd_command_psetex(struct torcd_session *session)
{
    set_for_a_time(session, false);
}

void
torcd_command_setnx(struct torcd_session *session)
{
    struct set set = {
        .key = torcd_argument(session, 1), .value = torcd_argument(session, 2), .options = {.if_absent = true},
        .as_integer = true,
    };

    run_set(session, &set);
}

void
torcd_command_getset(struct torcd_session *session)
{
    struct set set = {
        .key = torcd_argument(session, 1), .value = torcd_argument(session, 2), .options = {.get = true},
    };

    run_set(session, &set);
}

/* ---- MSET ----------------------------------------------------------------------------------------------------- */

static enum torc_status
set_pairs(struct torc_txn *txn, struct torcd_session *session)
{
    for (size_t i = 1; i < session->arguments_count; i += 2) {
        struct torc_slice key = torcd_argument(session, i);
        bool present;
        enum torc_status status =
            torcd_keyspace_overwrite(session, txn, key, torcd_argument(session, i + 1), &present);
        if (status != TORC_OK)
            return status;
        torcd_effect_event(session, TORCD_EVENT_STRING, "set", key);
    }
    return TORC_OK;
}

static enum torc_status
mset_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    (void)context;
    torcd_reply_ok(session);
    return set_pairs(txn, session);
}

static enum torc_status
msetnx_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    (void)context;
    for (size_t i = 1; i < session->arguments_count; i += 2) {
        struct torc_slice value;
        bool present;
        enum torc_status status = torcd_keyspace_get(session, txn, torcd_argument(session, i), &value, &present);
        if (status != TORC_OK)
            return status;
        if (present) {
            torcd_reply_integer(session, 0);
            return TORC_OK;
        }
    }
    torcd_reply_integer(session, 1);
    return set_pairs(txn, session);
}

static void
set_many(struct torcd_session *session, torcd_body *body)
{
    if (session->arguments_count % 2 == 0)
        torcd_reply_wrong_arguments(session);
    else if (torcd_check_keys(session, 1, 2))
        (void)torcd_keyspace_run(session, TORCD_MANY_KEYS, body, NULL);
}

void
torcd_command_mset(struct torcd_session *session)
{
    set_many(session, mset_body);
}

void
torcd_command_msetnx(struct torcd_session *session)
{
    set_many(session, msetnx_body);
}

/* ---- Reading and changing ------------------------------------------------------------------------------------- */

static enum torc_status
getdel_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torc_slice key = torcd_argument(session, 1), value;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &value, &present);

    (void)context;
    if (status != TORC_OK)
        return status;
    if (!present) {
        torcd_reply_null(session);
        return TORC_OK;
    }
    torcd_reply_bulk(session, value);
    torcd_effect_event(session, TORCD_EVENT_GENERIC, "del", key);
    return torcd_keyspace_delete(session, txn, key, &present);
}

void
torcd_command_getdel(struct torcd_session *session)
{
    if (torcd_keyspace_check(session, torcd_argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, getdel_body, NULL);
}

static enum torc_status
getex_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torcd_set_options *options = context;
    struct torc_slice key = torcd_argument(session, 1), value;
    uint64_t current_ms = TORC_NEVER;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &value, &present);

    if (status != TORC_OK)
        return status;
    if (!present) {
        torcd_reply_null(session);
        return TORC_OK;
    }
    if (!torcd_set_options_time(session, options))
        return TORC_OK;
    torcd_reply_bulk(session, value);
    if (options->persist)
        status = torcd_keyspace_expiry(session, txn, key, &current_ms);
    if (status != TORC_OK || (options->persist && current_ms == TORC_NEVER))
        return status;
    if (options->expires && torcd_expiry_is_past(session, options->expires_ms)) {
        torcd_effect_event(session, TORCD_EVENT_GENERIC, "del", key);
        return torcd_keyspace_delete(session, txn, key, &present);
    }
    torcd_effect_event(session, TORCD_EVENT_GENERIC, options->persist ? "persist" : "expire", key);
    return torc_txn_expire(txn, torcd_keyspace_key(session, key), options->persist ? TORC_NEVER : options->expires_ms);
}

void
torcd_command_getex(struct torcd_session *session)
{
    struct torcd_set_options options;

    if (!torcd_set_options_parse(session, 2, true, &options)
        || !torcd_keyspace_check(session, torcd_argument(session, 1)))
        return;
    if (options.persist || options.expires)
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, getex_body, &options);
    else
        torcd_keyspace_reply_value(session, torcd_argument(session, 1));
}

/* ---- Changing a part ------------------------------------------------------------------------------------------ */

/* `*joined` is `old` with `new` written at `offset`, zeros between them if need be; the caller releases its data. */
static enum torc_status
join(struct torc_slice old, size_t offset, struct torc_slice new, struct torc_slice *joined)
{
    size_t size = offset + new.size > old.size ? offset + new.size : old.size;
    char *bytes = torcd_resize(NULL, size == 0 ? 1 : size);

    *joined = torc_slice(bytes, bytes == NULL ? 0 : size);
    if (bytes == NULL)
        return TORC_NO_MEMORY;
    if (old.size > 0)
        memcpy(bytes, old.data, old.size);
    if (offset > old.size)
        memset(bytes + old.size, 0, offset - old.size);
    if (new.size > 0)
        memcpy(bytes + offset, new.data, new.size);
    return TORC_OK;
}

/* Where bytes are written into a value. */
struct patch {
    bool at_end;
    int64_t offset;
    struct torc_slice bytes;
    const char *event;
};

static enum torc_status
patch_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct patch *patch = context;
    struct torc_slice key = torcd_argument(session, 1), old, joined;
    uint64_t limit = torcd_setting(session->worker->server, TORCD_BULK_MAX);
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &old, &present);

    if (status != TORC_OK)
        return status;
    uint64_t offset = patch->at_end ? old.size : (uint64_t)patch->offset;
    if (!patch->at_end && patch->bytes.size == 0) {
        torcd_reply_integer(session, (int64_t)old.size);
        return TORC_OK;
    }
    if (offset > limit || offset + patch->bytes.size > limit) {
        reply_too_long(session);
        return TORC_OK;
    }
    status = join(old, (size_t)offset, patch->bytes, &joined);
    if (status == TORC_OK)
        status = torcd_keyspace_replace(session, txn, key, joined, present);
    torcd_reply_integer(session, (int64_t)joined.size);
    torcd_effect_event(session, TORCD_EVENT_STRING, patch->event, key);
    torcd_release((void *)(uintptr_t)joined.data);
    return status;
}

void
torcd_command_append(struct torcd_session *session)
{
    struct patch patch = {.at_end = true, .bytes = torcd_argument(session, 2), .event = "append"};

    if (torcd_keyspace_check(session, torcd_argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, patch_body, &patch);
}

void
torcd_command_setrange(struct torcd_session *session)
{
    struct patch patch = {.bytes = torcd_argument(session, 3), .event = "setrange"};

    if (!torcd_parse_integer(torcd_argument(session, 2), &patch.offset))
        torcd_reply_not_an_integer(session);
    else if (patch.offset < 0)
        torcd_resp_error(&session->out, "ERR offset is out of range");
    else if (torcd_keyspace_check(session, torcd_argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, patch_body, &patch);
}

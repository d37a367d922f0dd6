/* SPDX-License-Identifier: MIT */
/* server/commands_keys.c: the commands that read and write keys.
 *
 * A command over one key that need not look before it writes is one call of the store. Every other one is a body that
 * torcd_keyspace_run() runs in a transaction, again and again if others are faster; so a body begins its reply anew. */
#include "commands.h"
#include "keyspace.h"

#include <assert.h>

/* Argument `index` of the request that runs. */
static struct torc_slice
argument(const struct torcd_session *session, size_t index)
{
    assert(index < session->arguments_count);
    return session->arguments[index];
}

/* Whether arguments first, first + step, ... are keys that the store can hold; else the client is told. */
static bool
check_keys(struct torcd_session *session, size_t first, size_t step)
{
    for (size_t i = first; i < session->arguments_count; i += step)
        if (!torcd_keyspace_check(session, argument(session, i)))
            return false;
    return true;
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

void
torcd_command_get(struct torcd_session *session)
{
    if (torcd_keyspace_check(session, argument(session, 1)))
        torcd_keyspace_reply_value(session, argument(session, 1));
}

void
torcd_command_strlen(struct torcd_session *session)
{
    size_t size = 0;

    if (!torcd_keyspace_check(session, argument(session, 1)))
        return;
    enum torc_status status = torcd_keyspace_size(session, argument(session, 1), &size);
    if (status == TORC_OK || status == TORC_NOT_FOUND)
        torcd_reply_integer(session, status == TORC_OK ? (int64_t)size : 0);
    else
        torcd_reply_status(session, status);
}

void
torcd_command_type(struct torcd_session *session)
{
    size_t size = 0;

    if (!torcd_keyspace_check(session, argument(session, 1)))
        return;
    enum torc_status status = torcd_keyspace_size(session, argument(session, 1), &size);
    if (status == TORC_OK || status == TORC_NOT_FOUND)
        torcd_resp_simple(&session->out, status == TORC_OK ? "string" : "none");
    else
        torcd_reply_status(session, status);
}

static enum torc_status
exists_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    int64_t found = 0;

    (void)context;
    for (size_t i = 1; i < session->arguments_count; i++) {
        struct torc_slice value;
        bool present;
        enum torc_status status = torcd_keyspace_get(session, txn, argument(session, i), &value, &present);
        if (status != TORC_OK)
            return status;
        found += present;
    }
    torcd_reply_integer(session, found);
    return TORC_OK;
}

void
torcd_command_exists(struct torcd_session *session)
{
    if (check_keys(session, 1, 1))
        (void)torcd_keyspace_run(session, TORCD_READ, exists_body, NULL);
}

static enum torc_status
mget_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    (void)context;
    torcd_resp_array(&session->out, session->arguments_count - 1);
    for (size_t i = 1; i < session->arguments_count && session->out.fault == TORCD_FAULT_NONE; i++) {
        struct torc_slice value;
        bool present;
        enum torc_status status = torcd_keyspace_get(session, txn, argument(session, i), &value, &present);
        if (status != TORC_OK)
            return status;
        if (present)
            torcd_reply_bulk(session, value);
        else
            torcd_reply_null(session);
        torcd_count(present ? &session->worker->counters.hits : &session->worker->counters.misses, 1);
    }
    return TORC_OK;
}

void
torcd_command_mget(struct torcd_session *session)
{
    if (check_keys(session, 1, 1))
        (void)torcd_keyspace_run(session, TORCD_READ, mget_body, NULL);
}

/* ---- Setting -------------------------------------------------------------------------------------------------- */

/* What SET and its relatives were asked. */
struct set {
    struct torc_slice key;
    struct torc_slice value;
    bool if_absent;         /* NX */
    bool if_present;        /* XX */
    bool get;               /* Reply with the old value. */
    bool as_integer;        /* Reply with 1 or 0: SETNX. */
};

static enum torc_status
set_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct set *set = context;
    struct torc_slice before;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, set->key, &before, &present);

    if (status != TORC_OK)
        return status;
    if (set->get && present)
        torcd_reply_bulk(session, before);
    bool wanted = present ? !set->if_absent : !set->if_present;
    if (wanted)
        status = torcd_keyspace_put(session, txn, set->key, set->value, present);
    if (set->as_integer)
        torcd_reply_integer(session, wanted);
    else if (!set->get && wanted)
        torcd_reply_ok(session);
    else if (!(set->get && present))
        torcd_reply_null(session);
    return status;
}

/* Read the words after SET key value. False if the client was told what is wrong with them. */
static bool
parse_set(struct torcd_session *session, struct set *set)
{
    for (size_t i = 3; i < session->arguments_count; i++) {
        struct torc_slice word = argument(session, i);

        if (torcd_is_word(word, "nx"))
            set->if_absent = true;
        else if (torcd_is_word(word, "xx"))
            set->if_present = true;
        else if (torcd_is_word(word, "get"))
            set->get = true;
        else if (torcd_is_word(word, "keepttl") || torcd_is_word(word, "ex") || torcd_is_word(word, "px")
                 || torcd_is_word(word, "exat") || torcd_is_word(word, "pxat")) {
            torcd_resp_error(&session->out, "ERR SET with EX, PX, EXAT, PXAT or KEEPTTL is not supported yet: "
                                            "keys do not expire here");
            return false;
        } else {
            torcd_reply_syntax_error(session);
            return false;
        }
    }
    if (set->if_absent && set->if_present)
        torcd_reply_syntax_error(session);
    return !(set->if_absent && set->if_present);
}

void
torcd_command_set(struct torcd_session *session)
{
    struct set set = {.key = argument(session, 1), .value = argument(session, 2)};

    if (!parse_set(session, &set) || !torcd_keyspace_check(session, set.key))
        return;
    if (set.if_absent || set.if_present || set.get)
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, set_body, &set);
    else if (torcd_keyspace_set(session, set.key, set.value))
        torcd_reply_ok(session);
}

void
torcd_command_setnx(struct torcd_session *session)
{
    struct set set = {
        .key = argument(session, 1), .value = argument(session, 2), .if_absent = true, .as_integer = true,
    };

    if (torcd_keyspace_check(session, set.key))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, set_body, &set);
}

void
torcd_command_getset(struct torcd_session *session)
{
    struct set set = {.key = argument(session, 1), .value = argument(session, 2), .get = true};

    if (torcd_keyspace_check(session, set.key))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, set_body, &set);
}

static enum torc_status
mset_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    (void)context;
    for (size_t i = 1; i < session->arguments_count; i += 2) {
        enum torc_status status =
            torcd_keyspace_overwrite(session, txn, argument(session, i), argument(session, i + 1));
        if (status != TORC_OK)
            return status;
    }
    torcd_reply_ok(session);
    return TORC_OK;
}

static enum torc_status
msetnx_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    for (size_t i = 1; i < session->arguments_count; i += 2) {
        struct torc_slice value;
        bool present;
        enum torc_status status = torcd_keyspace_get(session, txn, argument(session, i), &value, &present);
        if (status != TORC_OK)
            return status;
        if (present) {
            torcd_reply_integer(session, 0);
            return TORC_OK;
        }
    }

    size_t mark = session->out.size;
    enum torc_status status = mset_body(txn, session, context);
    torcd_buffer_truncate(&session->out, mark);
    torcd_reply_integer(session, 1);
    return status;
}

static void
set_many(struct torcd_session *session, torcd_body *body)
{
    if (session->arguments_count % 2 == 0)
        torcd_reply_wrong_arguments(session);
    else if (check_keys(session, 1, 2))
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

/* `*joined` is old and new one after the other; the caller releases its data. */
static enum torc_status
join(struct torc_slice old, struct torc_slice new, struct torc_slice *joined)
{
    size_t size = old.size + new.size;
    char *bytes = torcd_resize(NULL, size == 0 ? 1 : size);

    *joined = torc_slice(bytes, bytes == NULL ? 0 : size);
    if (bytes == NULL)
        return TORC_NO_MEMORY;
    if (old.size > 0)
        memcpy(bytes, old.data, old.size);
    if (new.size > 0)
        memcpy(bytes + old.size, new.data, new.size);
    return TORC_OK;
}

static enum torc_status
append_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torc_slice key = argument(session, 1), old, joined;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &old, &present);

    (void)context;
    if (status != TORC_OK)
        return status;
    if (old.size + argument(session, 2).size > torcd_setting(session->worker->server, TORCD_BULK_MAX)) {
        torcd_resp_error(&session->out, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return TORC_OK;
    }
    status = join(old, argument(session, 2), &joined);
    if (status == TORC_OK)
        status = torcd_keyspace_put(session, txn, key, joined, present);
    torcd_reply_integer(session, (int64_t)joined.size);
    torcd_release((void *)(uintptr_t)joined.data);
    return status;
}

void
torcd_command_append(struct torcd_session *session)
{
    if (torcd_keyspace_check(session, argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, append_body, NULL);
}

/* ---- Counting ------------------------------------------------------------------------------------------------- */

static enum torc_status
add_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const int64_t *amount = context;
    struct torc_slice key = argument(session, 1), before;
    bool present;
    int64_t number = 0;
    char text[TORCD_INTEGER_DIGITS];
    enum torc_status status = torcd_keyspace_get(session, txn, key, &before, &present);

    if (status != TORC_OK)
        return status;
    if (present && !torcd_parse_integer(before, &number)) {
        torcd_reply_not_an_integer(session);
        return TORC_OK;
    }
    if (__builtin_add_overflow(number, *amount, &number)) {
        torcd_resp_error(&session->out, "ERR increment or decrement would overflow");
        return TORC_OK;
    }
    status = torcd_keyspace_put(session, txn, key, torc_slice(text, torcd_print_integer(text, number)), present);
    torcd_reply_integer(session, number);
    return status;
}

static void
add(struct torcd_session *session, int64_t amount)
{
    if (torcd_keyspace_check(session, argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, add_body, &amount);
}

void
torcd_command_incr(struct torcd_session *session)
{
    add(session, 1);
}

void
torcd_command_decr(struct torcd_session *session)
{
    add(session, -1);
}

void
torcd_command_incrby(struct torcd_session *session)
{
    int64_t amount;

    if (torcd_parse_integer(argument(session, 2), &amount))
        add(session, amount);
    else
        torcd_reply_not_an_integer(session);
}

void
torcd_command_decrby(struct torcd_session *session)
{
    int64_t amount;

    if (!torcd_parse_integer(argument(session, 2), &amount))
        torcd_reply_not_an_integer(session);
    else if (amount == INT64_MIN)
        torcd_resp_error(&session->out, "ERR decrement would overflow");
    else
        add(session, -amount);
}

/* ---- Deleting ------------------------------------------------------------------------------------------------- */

static enum torc_status
del_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    int64_t deleted = 0;

    (void)context;
    for (size_t i = 1; i < session->arguments_count; i++) {
        bool existed;
        enum torc_status status = torcd_keyspace_delete(session, txn, argument(session, i), &existed);
        if (status != TORC_OK)
            return status;
        deleted += existed;
    }
    torcd_reply_integer(session, deleted);
    return TORC_OK;
}

void
torcd_command_del(struct torcd_session *session)
{
    bool existed = false;

    if (!check_keys(session, 1, 1))
        return;
    if (session->arguments_count > 2)
        (void)torcd_keyspace_run(session, TORCD_MANY_KEYS, del_body, NULL);
    else if (torcd_keyspace_unset(session, argument(session, 1), &existed))
        torcd_reply_integer(session, existed);
}

static enum torc_status
getdel_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torc_slice key = argument(session, 1), value;
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
    return torcd_keyspace_delete(session, txn, key, &present);
}

void
torcd_command_getdel(struct torcd_session *session)
{
    if (torcd_keyspace_check(session, argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, getdel_body, NULL);
}

/* ---- Whole databases ------------------------------------------------------------------------------------------ */

void
torcd_command_dbsize(struct torcd_session *session)
{
    int64_t keys = (int64_t)torcd_server_keys(session->worker->server, session->database);

    if (session->txn != NULL)
        keys += session->worker->delta[session->database];
    torcd_reply_integer(session, keys < 0 ? 0 : keys);
}

struct databases {
    unsigned first;
    unsigned end;
};

static enum torc_status
flush_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct databases *databases = context;
    enum torc_status status = torcd_keyspace_flush(session, txn, databases->first, databases->end);

    torcd_reply_ok(session);
    return status;
}

static void
flush(struct torcd_session *session, unsigned first, unsigned end)
{
    struct databases databases = {first, end};
    bool plain = session->arguments_count == 1
                 || (session->arguments_count == 2 && (torcd_is_word(argument(session, 1), "sync")
                                                       || torcd_is_word(argument(session, 1), "async")));

    if (plain)
        (void)torcd_keyspace_run(session, TORCD_ALL_KEYS, flush_body, &databases);
    else
        torcd_reply_syntax_error(session);
}

void
torcd_command_flushall(struct torcd_session *session)
{
    flush(session, 0, session->worker->databases);
}

void
torcd_command_flushdb(struct torcd_session *session)
{
    flush(session, session->database, session->database + 1);
}

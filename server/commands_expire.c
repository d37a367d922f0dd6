/* SPDX-License-Identifier: MIT */
/* server/commands_expire.c: EXPIRE, TTL and their relatives; the words by which SET and GETEX tell times.
 *
 * A key that is told to expire at a time that is past is deleted at once. */
#include "commands.h"
#include "effects.h"
#include "expiry.h"
#include "keyspace.h"

#include <assert.h>

/* ---- Times ---------------------------------------------------------------------------------------------------- */

static void
reply_invalid_time(struct torcd_session *session)
{
    torcd_resp_error(&session->out, "ERR invalid expire time in '%s' command", session->command->name);
}

bool
torcd_expiry_parse(struct torcd_session *session, struct torc_slice text, struct torcd_time_form form, bool positive,
                   uint64_t *expires_ms)
{
    int64_t time, base = form.absolute ? 0 : (int64_t)torcd_now_ms(session->worker->server);

    if (!torcd_parse_integer(text, &time)) {
        torcd_reply_not_an_integer(session);
        return false;
    }
    if ((positive && time <= 0) || (form.seconds && __builtin_mul_overflow(time, INT64_C(1000), &time))
        || __builtin_add_overflow(time, base, &time)) {
        reply_invalid_time(session);
        return false;
    }
    *expires_ms = time < 1 ? 1 : (uint64_t)time;
    return true;
}

bool
torcd_expiry_is_past(const struct torcd_session *session, uint64_t expires_ms)
{
    return expires_ms <= torcd_now_ms(session->worker->server);
}

/* The form in which `word` gives a time; false if it is none of EX, PX, EXAT, PXAT. */
static bool
time_form(struct torc_slice word, struct torcd_time_form *form)
{
    form->seconds = torcd_is_word(word, "ex") || torcd_is_word(word, "exat");
    form->absolute = torcd_is_word(word, "exat") || torcd_is_word(word, "pxat");
    return form->seconds || form->absolute || torcd_is_word(word, "px");
}

static bool
is_same_form(struct torcd_time_form one, struct torcd_time_form other)
{
    return one.seconds == other.seconds && one.absolute == other.absolute;
}

bool
torcd_set_options_parse(struct torcd_session *session, size_t first, bool getex, struct torcd_set_options *options)
{
    struct torcd_time_form form = {false, false};

    memset(options, 0, sizeof *options);
    for (size_t i = first; i < session->arguments_count; i++) {
        struct torc_slice word = torcd_argument(session, i);
        bool may_expire = !options->keep && !options->persist;

        if (!getex && torcd_is_word(word, "nx") && !options->if_present)
            options->if_absent = true;
        else if (!getex && torcd_is_word(word, "xx") && !options->if_absent)
            options->if_present = true;
        else if (!getex && torcd_is_word(word, "get"))
            options->get = true;
        else if (!getex && torcd_is_word(word, "keepttl") && !options->expires)
            options->keep = true;
        else if (getex && torcd_is_word(word, "persist") && !options->expires)
            options->persist = true;
        else if (time_form(word, &form) && may_expire && i + 1 < session->arguments_count
                 && (!options->expires || is_same_form(form, options->form))) {
            options->expires = true;
            options->form = form;
            options->time = torcd_argument(session, ++i);
        } else {
            torcd_reply_syntax_error(session);
            return false;
        }
    }
    return true;
}

bool
torcd_set_options_time(struct torcd_session *session, struct torcd_set_options *options)
{
    return !options->expires
           || torcd_expiry_parse(session, options->time, options->form, true, &options->expires_ms);
}

/* ---- EXPIRE --------------------------------------------------------------------------------------------------- */

struct expire {
    uint64_t expires_ms;
    bool if_never;          /* NX */
    bool if_expires;        /* XX */
    bool if_later;          /* GT */
    bool if_sooner;         /* LT */
};

static bool
is_wanted(const struct expire *expire, uint64_t now_ms)
{
    bool never = now_ms == TORC_NEVER;

    if ((expire->if_never && !never) || (expire->if_expires && never))
        return false;
    if (expire->if_later && (never || expire->expires_ms <= now_ms))
        return false;
    return !(expire->if_sooner && !never && expire->expires_ms >= now_ms);
}

static enum torc_status
expire_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct expire *expire = context;
    struct torc_slice key = torcd_argument(session, 1), value;
    uint64_t current_ms;
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &value, &present);

    if (status == TORC_OK && present)
        status = torcd_keyspace_expiry(session, txn, key, &current_ms);
    if (status != TORC_OK)
        return status;
    if (!present || !is_wanted(expire, current_ms)) {
        torcd_reply_integer(session, 0);
        return TORC_OK;
    }
    torcd_reply_integer(session, 1);
    if (torcd_expiry_is_past(session, expire->expires_ms)) {
        torcd_effect_event(session, TORCD_EVENT_GENERIC, "del", key);
        return torcd_keyspace_delete(session, txn, key, &present);
    }
    torcd_effect_event(session, TORCD_EVENT_GENERIC, "expire", key);
    return torc_txn_expire(txn, torcd_keyspace_key(session, key), expire->expires_ms);
}

/* The words behind EXPIRE key time. False: the client is told what is wrong. */
static bool
parse_conditions(struct torcd_session *session, struct expire *expire)
{
    for (size_t i = 3; i < session->arguments_count; i++) {
        struct torc_slice word = torcd_argument(session, i);

        if (torcd_is_word(word, "nx"))
            expire->if_never = true;
        else if (torcd_is_word(word, "xx"))
            expire->if_expires = true;
        else if (torcd_is_word(word, "gt"))
            expire->if_later = true;
        else if (torcd_is_word(word, "lt"))
            expire->if_sooner = true;
        else {
            torcd_resp_error(&session->out, "ERR Unsupported option %.*s", (int)(word.size < 128 ? word.size : 128),
                             (const char *)word.data);
            return false;
        }
    }
    if (expire->if_never && (expire->if_expires || expire->if_later || expire->if_sooner)) {
        torcd_resp_error(&session->out, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (expire->if_later && expire->if_sooner)
        torcd_resp_error(&session->out, "ERR GT and LT options at the same time are not compatible");
    return !(expire->if_later && expire->if_sooner);
}

static void
set_expiry(struct torcd_session *session, struct torcd_time_form form)
{
    struct expire expire = {0};

    if (parse_conditions(session, &expire)
        && torcd_expiry_parse(session, torcd_argument(session, 2), form, false, &expire.expires_ms)
        && torcd_keyspace_check(session, torcd_argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, expire_body, &expire);
}

void
torcd_command_expire(struct torcd_session *session)
{
    set_expiry(session, (struct torcd_time_form){.seconds = true});
}

void
torcd_command_pexpire(struct torcd_session *session)
{
    set_expiry(session, (struct torcd_time_form){.seconds = false});
}

void
torcd_command_expireat(struct torcd_session *session)
{
    set_expiry(session, (struct torcd_time_form){.seconds = true, .absolute = true});
}

void
torcd_command_pexpireat(struct torcd_session *session)
{
    set_expiry(session, (struct torcd_time_form){.absolute = true});
}

static enum torc_status
persist_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torc_slice key = torcd_argument(session, 1);
    uint64_t expires_ms;
    enum torc_status status = torcd_keyspace_expiry(session, txn, key, &expires_ms);

    (void)context;
    if (status != TORC_OK)
        return status;
    torcd_reply_integer(session, expires_ms != TORC_NEVER);
    if (expires_ms == TORC_NEVER)
        return TORC_OK;
    torcd_effect_event(session, TORCD_EVENT_GENERIC, "persist", key);
    return torc_txn_expire(txn, torcd_keyspace_key(session, key), TORC_NEVER);
}

void
torcd_command_persist(struct torcd_session *session)
{
    if (torcd_keyspace_check(session, torcd_argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, persist_body, NULL);
}

/* ---- TTL ------------------------------------------------------------------------------------------------------ */

static enum torc_status
ttl_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct torcd_time_form *form = context;
    struct torc_slice key = torcd_argument(session, 1), value;
    uint64_t expires_ms = TORC_NEVER, now_ms = torcd_now_ms(session->worker->server);
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &value, &present);

    if (status == TORC_OK && present)
        status = torcd_keyspace_expiry(session, txn, key, &expires_ms);
    if (status != TORC_OK)
        return status;
    if (expires_ms == TORC_NEVER) {
        torcd_reply_integer(session, present ? -1 : -2);
        return TORC_OK;
    }
    uint64_t time_ms = form->absolute ? expires_ms : expires_ms < now_ms ? 0 : expires_ms - now_ms;
    torcd_reply_integer(session, (int64_t)(form->seconds ? (time_ms + 500) / 1000 : time_ms));
    return TORC_OK;
}

static void
tell_expiry(struct torcd_session *session, struct torcd_time_form form)
{
    if (torcd_keyspace_check(session, torcd_argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_READ, ttl_body, &form);
}

void
torcd_command_ttl(struct torcd_session *session)
{
    tell_expiry(session, (struct torcd_time_form){.seconds = true});
}

void
torcd_command_pttl(struct torcd_session *session)
{
    tell_expiry(session, (struct torcd_time_form){.seconds = false});
}

void
torcd_command_expiretime(struct torcd_session *session)
{
    tell_expiry(session, (struct torcd_time_form){.seconds = true, .absolute = true});
}

void
torcd_command_pexpiretime(struct torcd_session *session)
{
    tell_expiry(session, (struct torcd_time_form){.absolute = true});
}

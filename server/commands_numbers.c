/* SPDX-License-Identifier: MIT */
/* server/commands_numbers.c: INCR and its relatives.
 *
 * Outside of EXEC an integer is counted by a merge operator of the store, applied to the newest value: no transaction,
 * no conflict, however many clients count on one key. */
#include "commands.h"
#include "effects.h"
#include "keyspace.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Integers ------------------------------------------------------------------------------------------------- */

enum outcome { ADDED, NOT_A_NUMBER, OVERFLOW };

struct addition {
    int64_t amount;
    int64_t sum;
    enum outcome outcome;
    bool present;               /* Whether the key was there. */
};

/* Add to the number that `value` (NULL: 0) stands for. */
static enum outcome
add_to(struct addition *addition, const struct torc_slice *value)
{
    int64_t number = 0;

    addition->present = value != NULL;
    if (value != NULL && !torcd_parse_integer(*value, &number))
        addition->outcome = NOT_A_NUMBER;
    else if (__builtin_add_overflow(number, addition->amount, &addition->sum))
        addition->outcome = OVERFLOW;
    else
        addition->outcome = ADDED;
    return addition->outcome;
}

static void
reply_addition(struct torcd_session *session, const struct addition *addition)
{
    switch (addition->outcome) {
    case ADDED:
        torcd_reply_integer(session, addition->sum);
        torcd_effect_event(session, TORCD_EVENT_STRING, "incrby", torcd_argument(session, 1));
        return;
    case NOT_A_NUMBER: torcd_reply_not_an_integer(session); return;
    case OVERFLOW: torcd_resp_error(&session->out, "ERR increment or decrement would overflow"); return;
    }
}

/* A merge operator; what it finds out stays in its context, from its last run. */
static enum torc_status
merge_addition(void *context, const struct torc_slice *current, struct torc_slice operand,
               struct torc_merge_output *output)
{
    struct addition *addition = context;
    char text[TORCD_INTEGER_DIGITS];

    (void)operand;
    if (add_to(addition, current) != ADDED)
        return TORC_MISMATCH;
    size_t size = torcd_print_integer(text, addition->sum);
    void *bytes = torc_merge_output(output, size);
    if (bytes == NULL)
        return TORC_NO_MEMORY;
    memcpy(bytes, text, size);
    return TORC_OK;
}

static enum torc_status
add_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct addition *addition = context;
    struct torc_slice key = torcd_argument(session, 1), before;
    bool present;
    char text[TORCD_INTEGER_DIGITS];
    enum torc_status status = torcd_keyspace_get(session, txn, key, &before, &present);

    if (status != TORC_OK)
        return status;
    if (add_to(addition, present ? &before : NULL) == ADDED)
        status = torcd_keyspace_replace(session, txn, key,
                                        torc_slice(text, torcd_print_integer(text, addition->sum)), present);
    reply_addition(session, addition);
    return status;
}

static void
add(struct torcd_session *session, int64_t amount)
{
    struct torc_slice key = torcd_argument(session, 1);
    struct addition addition = {.amount = amount};
    const struct torc_merge_operator operation = {"add a decimal number", merge_addition, &addition};
    char text[TORCD_INTEGER_DIGITS];
    size_t size;

    if (!torcd_keyspace_check(session, key))
        return;
    if (session->txn != NULL) {
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, add_body, &addition);
        return;
    }
    enum torc_status status =
        torcd_keyspace_merge(session, key, &operation, torc_slice(NULL, 0), text, sizeof text, &size);
    if (status == TORC_OK && !addition.present)
        torcd_effect_event(session, TORCD_EVENT_NEW, "new", key);
    if (status == TORC_OK || status == TORC_MISMATCH)
        reply_addition(session, &addition);
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

    if (torcd_parse_integer(torcd_argument(session, 2), &amount))
        add(session, amount);
    else
        torcd_reply_not_an_integer(session);
}

void
torcd_command_decrby(struct torcd_session *session)
{
    int64_t amount;

    if (!torcd_parse_integer(torcd_argument(session, 2), &amount))
        torcd_reply_not_an_integer(session);
    else if (amount == INT64_MIN)
        torcd_resp_error(&session->out, "ERR decrement would overflow");
    else
        add(session, -amount);
}

/* ---- Floating point ------------------------------------------------------------------------------------------- */

#define FLOAT_DIGITS 5120u          /* Room for the greatest long double in full, and 17 digits behind the point. */

/* Parse a number as INCRBYFLOAT takes it: no blanks, no NaN, nothing that does not fit. */
static bool
parse_float(struct torc_slice text, long double *value)
{
    char copy[FLOAT_DIGITS], *end;

    if (text.size == 0 || text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (copy[0] == ' ' || (copy[0] >= '\t' && copy[0] <= '\r'))
        return false;
    errno = 0;
    *value = strtold(copy, &end);
    if ((size_t)(end - copy) != text.size || isnan(*value))
        return false;
    return errno != ERANGE || (*value != 0 && !isinf(*value));
}

/* Print it with at most 17 digits behind the point, without zeros at the end. Returns the size. */
static size_t
print_float(char text[FLOAT_DIGITS], long double value)
{
    int printed = snprintf(text, FLOAT_DIGITS, "%.17Lf", value);
    size_t size = (size_t)printed;

    assert(printed > 0 && size < FLOAT_DIGITS);
    while (text[size - 1] == '0')
        size--;
    if (text[size - 1] == '.')
        size--;
    if (size == 2 && text[0] == '-' && text[1] == '0') {
        text[0] = '0';
        size = 1;
    }
    return size;
}

static enum torc_status
add_float_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const long double *amount = context;
    struct torc_slice key = torcd_argument(session, 1), before;
    long double number = 0;
    char text[FLOAT_DIGITS];
    bool present;
    enum torc_status status = torcd_keyspace_get(session, txn, key, &before, &present);

    if (status != TORC_OK)
        return status;
    if (present && !parse_float(before, &number)) {
        torcd_resp_error(&session->out, "ERR value is not a valid float");
        return TORC_OK;
    }
    number += *amount;
    if (isnan(number) || isinf(number)) {
        torcd_resp_error(&session->out, "ERR increment would produce NaN or Infinity");
        return TORC_OK;
    }
    struct torc_slice sum = torc_slice(text, print_float(text, number));
    torcd_reply_bulk(session, sum);
    torcd_effect_event(session, TORCD_EVENT_STRING, "incrbyfloat", key);
    return torcd_keyspace_replace(session, txn, key, sum, present);
}

void
torcd_command_incrbyfloat(struct torcd_session *session)
{
    long double amount;

    if (!parse_float(torcd_argument(session, 2), &amount))
        torcd_resp_error(&session->out, "ERR value is not a valid float");
    else if (torcd_keyspace_check(session, torcd_argument(session, 1)))
        (void)torcd_keyspace_run(session, TORCD_ONE_KEY, add_float_body, &amount);
}

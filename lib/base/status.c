/* SPDX-License-Identifier: MIT */
/* base/status: names and sentences of the status codes, and two strings of the calling thread. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <torc/mvcc.h>
#include <torc/torc.h>

#include "base/annotate.h"
#include "base/assert.h"

_Static_assert(TORC_OK == 0, "callers may test a status as a truth value");

/* Owner thread only. Fixed size, so that reporting a lack of memory needs none. */
static _Thread_local char detail[TORCI_DETAIL_SIZE_MAX + 1];
static _Thread_local unsigned char conflict_key[TORCI_CONFLICT_KEY_SIZE_MAX];
static _Thread_local size_t conflict_key_size;

const char *
torc_status_name(enum torc_status status)
{
    switch (status) {
    case TORC_OK:
        return "OK";
#define STATUS_NAME(name, value, message) case TORC_##name: return #name;
    TORC_STATUS_OUTCOMES(STATUS_NAME)
    TORC_STATUS_FAULTS(STATUS_NAME)
#undef STATUS_NAME
    }
    return "UNKNOWN";
}

const char *
torc_status_message(enum torc_status status)
{
    switch (status) {
    case TORC_OK:
        return "success";
#define STATUS_MESSAGE(name, value, message) case TORC_##name: return message;
    TORC_STATUS_OUTCOMES(STATUS_MESSAGE)
    TORC_STATUS_FAULTS(STATUS_MESSAGE)
#undef STATUS_MESSAGE
    }
    return "not a status of this library";
}

bool
torc_status_retryable(enum torc_status status)
{
    return status == TORC_CONFLICT || status == TORC_BUSY || status == TORC_EXPIRED;
}

bool
torc_status_maybe_committed(enum torc_status status)
{
    return status == TORC_INDETERMINATE;
}

const char *
torc_detail(void)
{
    return detail;
}

struct torc_slice
torc_conflict_key(void)
{
    return conflict_key_size == 0 ? torc_slice(NULL, 0) : torc_slice(conflict_key, conflict_key_size);
}

const char *
torc_version(void)
{
    return TORC_VERSION;
}

TORCI_THREAD_LOCAL_ONLY enum torc_status
torci_fail(enum torc_status status, const char *format, ...)
{
    int saved_errno = errno;    /* With TORC_IO it belongs to the caller's caller. */
    va_list arguments;

    torc_assert(status != TORC_OK);
    torc_assert(format != NULL);

    va_start(arguments, format);
    if (vsnprintf(detail, sizeof(detail), format, arguments) < 0)
        detail[0] = '\0';
    va_end(arguments);

    /* A path or a key may be part of the line; it must stay one line. */
    for (char *at = detail; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';

    errno = saved_errno;
    return status;
}

TORCI_THREAD_LOCAL_ONLY void
torci_conflict_note(struct torc_slice key)
{
    torc_assert(key.data != NULL || key.size == 0);

    const unsigned char *bytes = key.data;
    volatile unsigned char *copy = conflict_key;

    conflict_key_size = key.size < sizeof(conflict_key) ? key.size : sizeof(conflict_key);
    /* Not memcpy(), nor a loop that a compiler takes for one: the explorer sees those wherever they are called. */
    for (size_t i = 0; i < conflict_key_size; i++)
        copy[i] = bytes[i];
}

/* SPDX-License-Identifier: MIT */
/* base/status: how a failing function says more than its code. All state is the calling thread's. */
#ifndef TORCI_STATUS_H
#define TORCI_STATUS_H

#include <torc/base.h>

enum {
    TORCI_DETAIL_SIZE_MAX = 200,        /* Bytes of torc_detail(), without the terminator. */
    TORCI_CONFLICT_KEY_SIZE_MAX = 256,  /* Bytes of torc_conflict_key(). */
};

#if defined(__GNUC__)
#define TORCI_PRINTF(line, arguments) __attribute__((format(printf, line, arguments)))
#else
#define TORCI_PRINTF(line, arguments)
#endif

/* Set torc_detail() to the formatted line and return `status`, as in `return torci_fail(TORC_INVALID, "...")`.
 * Cut off at TORCI_DETAIL_SIZE_MAX; control characters become spaces. Keeps errno. */
enum torc_status torci_fail(enum torc_status status, const char *format, ...) TORCI_PRINTF(2, 3);

/* Keep the first TORCI_CONFLICT_KEY_SIZE_MAX bytes of `key` for torc_conflict_key(). */
void torci_conflict_note(struct torc_slice key);

#endif

/* SPDX-License-Identifier: MIT */
/* include/torc/base.h: what every chapter of torc shares: status codes, slices, the allocator hook.
 *
 * No global state: what is kept between calls belongs to the calling thread (torc_detail(), and in torc/mvcc.h
 * torc_conflict_key() and torc_last_commit()). All functions may be called by any number of threads at once. */
#ifndef TORC_BASE_H
#define TORC_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TORC_API __attribute__((visibility("default")))
#define TORC_MUST_CHECK __attribute__((warn_unused_result))
#else
#define TORC_API
#define TORC_MUST_CHECK
#endif

/* Every status: name, value, message. Outcomes are part of normal use; faults say that something is wrong.
 * The values are part of the ABI: new ones are added at the end of their group's range. */
#define TORC_STATUS_OUTCOMES(X)                                                                     \
    X(NOT_FOUND, 1, "no such key")                                                                  \
    X(CONFLICT, 2, "another transaction committed first")                                           \
    X(EXISTS, 3, "the key is already there")                                                        \
    X(BUSY, 4, "a limit is reached for now; try again later")                                       \
    X(EXPIRED, 5, "the snapshot is too old")                                                        \
    X(END, 6, "nothing more to return")                                                             \
    X(MISMATCH, 7, "the value is not the expected one")

#define TORC_STATUS_FAULTS(X)                                                                       \
    X(INVALID, 64, "an argument is not valid")                                                      \
    X(TOO_LARGE, 65, "a key, a value or a buffer exceeds its stated limit")                         \
    X(FINISHED, 66, "the transaction has already been committed or aborted")                        \
    X(NO_MEMORY, 67, "memory could not be allocated")                                               \
    X(IO, 68, "the operating system refused an operation")                                          \
    X(CORRUPT, 69, "stored bytes are damaged")                                                      \
    X(READ_ONLY, 70, "the object accepts no writes")                                                \
    X(UNSUPPORTED, 71, "the operation is not supported here")                                       \
    X(INDETERMINATE, 72, "the operation may or may not have taken effect")                          \
    X(NO_SPACE, 73, "the disk is full")                                                             \
    X(LOCKED, 74, "another process, or another handle, has it open")                                \
    X(MISSING, 75, "a file that belongs to it is not there")                                        \
    X(FOREIGN, 76, "the files are of another kind, or of a later version")

/* What a function returns. TORC_OK is 0. */
enum torc_status {
    TORC_OK = 0,
#define TORC_STATUS_ENUM(name, value, message) TORC_##name = (value),
    TORC_STATUS_OUTCOMES(TORC_STATUS_ENUM) TORC_STATUS_FAULTS(TORC_STATUS_ENUM)
#undef TORC_STATUS_ENUM
};

/* The name of a status without prefix ("NOT_FOUND"), or "UNKNOWN". Never NULL. Wait-free. */
TORC_API const char *torc_status_name(enum torc_status status);

/* One English sentence about a status, without a full stop. Never NULL. Wait-free. */
TORC_API const char *torc_status_message(enum torc_status status);

/* Whether the same work may succeed when tried again from its start: TORC_CONFLICT, TORC_BUSY, TORC_EXPIRED. */
TORC_API bool torc_status_retryable(enum torc_status status);

/* Whether the work may have taken effect although an error came back: TORC_INDETERMINATE only. */
TORC_API bool torc_status_maybe_committed(enum torc_status status);

/* What the calling thread's last failed call had to say beyond its status: one line, "" if nothing has failed yet.
 * TORC_NOT_FOUND, TORC_EXISTS, TORC_MISMATCH and TORC_END are answers, not failures: they leave the line as it was (but
 * a TORC_NOT_FOUND because a keyspace was dropped may say so).
 *
 * Ownership  Borrowed; overwritten by the next call into torc that fails on this thread. */
TORC_API const char *torc_detail(void);

/* Bytes that belong to somebody else. `data` may be NULL only if `size` is 0. */
struct torc_slice {
    const void *data;
    size_t size;
};

static inline struct torc_slice
torc_slice(const void *data, size_t size)
{
    struct torc_slice slice;
    slice.data = data;
    slice.size = size;
    return slice;
}

/* The bytes of a C string, without its terminator. */
static inline struct torc_slice
torc_slice_from_string(const char *string)
{
    return torc_slice(string, strlen(string));
}

/* Where an object takes its memory from. One per object, copied at open; no globals.
 *
 * allocate  returns memory aligned to 16 bytes, or NULL when there is none (reported as TORC_NO_MEMORY).
 * release   gets the same size that was asked for; `memory` is never NULL.
 * Threads   Both are called by all threads that use the object, at once, inside of calls on it; `release` also by the
 *           library's own thread, until the object is closed. What one thread took may be released by another.
 *           Neither may call into torc, nor wait: all reclamation of the process would wait with it. */
struct torc_allocator {
    void *(*allocate)(void *context, size_t size);
    void (*release)(void *context, void *memory, size_t size);
    void *context;
};

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: MIT */
/* server/resp.h: the Redis serialization protocol: an incremental parser of requests, and the encoders of replies.
 *
 * The parser copies nothing. It is shown a window, the bytes received and not yet consumed, whose first byte is the
 * first byte of the current request. It remembers offsets into that window only, so the window may move between two
 * calls, and may have grown at its end. Requests are arrays of bulk strings, or inline lines as typed by hand. */
#ifndef TORCD_RESP_H
#define TORCD_RESP_H

#include <torc/base.h>

#include "memory.h"

/* What a request may be. Sizes in bytes. */
struct torcd_resp_limits {
    size_t arguments_max;
    size_t bulk_max;        /* One argument. */
    size_t inline_max;      /* One inline line. */
    bool stranger;          /* Who must give a password first: small requests only, as in Redis. */
};

enum torcd_resp_outcome {
    TORCD_RESP_REQUEST,     /* arguments[0..count) are there; `consumed` bytes belong to them. count 0: a blank line. */
    TORCD_RESP_MORE,        /* The window holds no whole request yet. */
    TORCD_RESP_BROKEN,      /* The peer broke the protocol or a limit: `error` tells. The stream is lost. */
    TORCD_RESP_NO_MEMORY    /* The arguments found no room. The stream is lost. */
};

enum torcd_resp_state {
    TORCD_RESP_AT_START,
    TORCD_RESP_AT_LENGTH,   /* Before `$length`. */
    TORCD_RESP_AT_BYTES,    /* Before the bytes of an argument, or in the middle of them. */
    TORCD_RESP_AT_INLINE
};

struct torcd_resp_span {
    size_t offset;
    size_t size;
};

/* All zero is a parser at the start of a stream. Everything but the out fields is the parser's own. */
struct torcd_resp_parser {
    enum torcd_resp_state state;
    size_t position;                    /* Everything in the window before it has been understood. */
    size_t expected;                    /* Arguments that the request announced. */
    size_t bulk_size;                   /* Of the argument being received. */
    size_t capacity;
    struct torcd_resp_span *spans;      /* Of arguments[0..count), while the request is incomplete. */

    struct torc_slice *arguments;       /* Out. Borrowed from the window. */
    size_t count;                       /* Out. */
    size_t consumed;                    /* Out. */
    char error[64];                     /* Out, TORCD_RESP_BROKEN. */
};

/* Read the next request from window[0..size).
 *
 * After TORCD_RESP_REQUEST the caller drops `consumed` bytes from the front of the window before the next call.
 * After TORCD_RESP_MORE it calls again with the same window, longer. Inline arguments are unquoted in place.
 * Cost: each byte is looked at a bounded number of times, however small the pieces in which it arrives. */
enum torcd_resp_outcome
torcd_resp_next(struct torcd_resp_parser *parser, const struct torcd_resp_limits *limits, char *window, size_t size);

/* How long the window must be before torcd_resp_next() can go on; a hint for the size of the next read. */
size_t torcd_resp_wanted(const struct torcd_resp_parser *parser);

/* Give back the memory of an exceptionally long request. Its arguments are invalid then. */
void torcd_resp_trim(struct torcd_resp_parser *parser);

void torcd_resp_fini(struct torcd_resp_parser *parser);

/* ---- Numbers -------------------------------------------------------------------------------------------------- */

/* Parse a decimal integer as Redis does: optional minus, no plus, no leading zero, no blank. */
bool torcd_parse_integer(struct torc_slice text, int64_t *value);

#define TORCD_INTEGER_DIGITS 20u    /* Of the longest 64-bit number, its minus included. */

/* Print `value` into `text`; returns how many of its TORCD_INTEGER_DIGITS characters were used. No terminator. */
size_t torcd_print_integer(char *text, int64_t value);

/* ---- Replies -------------------------------------------------------------------------------------------------- */

/* `protocol` is 2 or 3 where the two differ. */
void torcd_resp_simple(struct torcd_buffer *out, const char *text);
void torcd_resp_integer(struct torcd_buffer *out, int64_t value);
void torcd_resp_bulk(struct torcd_buffer *out, struct torc_slice value);
void torcd_resp_verbatim(struct torcd_buffer *out, unsigned protocol, struct torc_slice text);
void torcd_resp_null(struct torcd_buffer *out, unsigned protocol);
void torcd_resp_null_array(struct torcd_buffer *out, unsigned protocol);
void torcd_resp_array(struct torcd_buffer *out, size_t count);
void torcd_resp_set(struct torcd_buffer *out, unsigned protocol, size_t count);
void torcd_resp_map(struct torcd_buffer *out, unsigned protocol, size_t pairs);

/* An error line. `text` begins with its code ("ERR ..."); line ends within it become blanks. */
void torcd_resp_error(struct torcd_buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put the header of an array ('*') or map ('%') of `count` elements or pairs before what was written since `mark`:
 * for replies whose count is known only at their end. One move of the reply. */
void torcd_resp_insert_array(struct torcd_buffer *out, size_t mark, size_t count);
void torcd_resp_insert_map(struct torcd_buffer *out, unsigned protocol, size_t mark, size_t pairs);

#endif

/* SPDX-License-Identifier: MIT */
/* server/resp.c: the Redis serialization protocol.
 *
 *   window   * 2 \r\n $ 3 \r\n G E T \r\n $ 5 \r\n h e l        state AT_BYTES, count 1, bulk_size 5
 *                                                 ^ position
 *
 * Invariants  I1  position <= size of the window; nothing before it is looked at again, but for the few bytes of a
 *                 length line that is not complete, and an inline line when its end has come
 *             I2  spans[i].offset + spans[i].size <= position, for all i < count
 *             I3  count <= expected <= limits.arguments_max, bulk_size <= limits.bulk_max
 *             I4  memory is taken for arguments that arrived, never for those that were only announced */
#include "resp.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* "$" or "*", at most 18 digits with a minus, CR LF. A line longer than this is no number, whatever may follow. */
#define LENGTH_LINE_MAX 22u
#define LENGTH_DIGITS_MAX 18u

/* Arguments that the first allocation holds. */
#define ARGUMENTS_MIN 16u

/* Arguments whose room is kept from one request to the next. */
#define ARGUMENTS_KEPT 1024u

/* What a stranger may send: enough to give a password. */
#define STRANGER_ARGUMENTS_MAX 10
#define STRANGER_BULK_MAX 16384

enum line { LINE_NUMBER, LINE_MORE, LINE_BAD };

static enum torcd_resp_outcome
broken(struct torcd_resp_parser *parser, const char *what)
{
    (void)snprintf(parser->error, sizeof parser->error, "Protocol error: %s", what);
    return TORCD_RESP_BROKEN;
}

/* Read the number between line[1] and CR LF. `*length` is the length of the whole line. */
static enum line
read_length(const char *line, size_t size, int64_t *value, size_t *length)
{
    size_t at = 1;
    int64_t number = 0;
    bool negative = at < size && line[at] == '-';
    size_t digits = at = negative ? 2 : 1;

    while (at < size && line[at] >= '0' && line[at] <= '9') {
        if (at - digits == LENGTH_DIGITS_MAX)
            return LINE_BAD;
        number = number * 10 + (line[at] - '0');
        at++;
    }
    if (at == size)
        return LINE_MORE;
    if (line[at] != '\r' || at == digits || (line[digits] == '0' && at > digits + 1))
        return LINE_BAD;
    if (at + 1 == size)
        return LINE_MORE;
    if (line[at + 1] != '\n')
        return LINE_BAD;
    assert(at + 2 <= LENGTH_LINE_MAX);
    *value = negative ? -number : number;
    *length = at + 2;
    return LINE_NUMBER;
}

static bool
grow_arguments(struct torcd_resp_parser *parser)
{
    size_t capacity = parser->capacity == 0 ? ARGUMENTS_MIN : parser->capacity * 2;
    struct torcd_resp_span *spans = torcd_resize(parser->spans, capacity * sizeof *spans);

    if (spans == NULL)
        return false;
    parser->spans = spans;

    struct torc_slice *arguments = torcd_resize(parser->arguments, capacity * sizeof *arguments);
    if (arguments == NULL)
        return false;
    parser->arguments = arguments;
    parser->capacity = capacity;
    return true;
}

static bool
add_argument(struct torcd_resp_parser *parser, size_t offset, size_t size)
{
    if (parser->count == parser->capacity && !grow_arguments(parser))
        return false;
    parser->spans[parser->count].offset = offset;
    parser->spans[parser->count].size = size;
    parser->count++;
    return true;
}

/* The request ends at `end`: turn its spans into slices and make ready for the next one. */
static enum torcd_resp_outcome
complete(struct torcd_resp_parser *parser, const char *window, size_t end)
{
    for (size_t i = 0; i < parser->count; i++) {
        assert(parser->spans[i].offset + parser->spans[i].size <= end);                 /* I2 */
        parser->arguments[i] = torc_slice(window + parser->spans[i].offset, parser->spans[i].size);
    }
    parser->consumed = end;
    parser->position = 0;
    parser->state = TORCD_RESP_AT_START;
    return TORCD_RESP_REQUEST;
}

/* ---- Inline requests ------------------------------------------------------------------------------------------ */

static bool
is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte that a backslash sequence in double quotes stands for; `*used` is its length. */
static char
unescape(const char *text, size_t size, size_t *used)
{
    if (size >= 4 && text[1] == 'x' && hex_digit(text[2]) >= 0 && hex_digit(text[3]) >= 0) {
        *used = 4;
        return (char)(unsigned char)(hex_digit(text[2]) * 16 + hex_digit(text[3]));
    }
    *used = 2;
    switch (text[1]) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return text[1];
    }
}

/* Unquote the argument at line[*from], writing it to line[*to]: never past what was read. False: quotes do not
 * match. */
static bool
unquote(char *line, size_t size, size_t *from, size_t *to)
{
    size_t in = *from, out = *to;
    char quote = '\0';

    while (in < size) {
        size_t used = 1;
        char c = line[in];

        if (quote == '\0' && is_blank(c))
            break;
        if (quote == '\0' && (c == '"' || c == '\'')) {
            quote = c;
            in++;
            continue;
        }
        if (quote != '\0' && c == quote) {
            if (in + 1 < size && !is_blank(line[in + 1]))
                return false;
            quote = '\0';
            in++;
            break;
        }
        if (quote == '"' && c == '\\' && in + 1 < size)
            c = unescape(line + in, size - in, &used);
        else if (quote == '\'' && c == '\\' && in + 1 < size && line[in + 1] == '\'') {
            c = '\'';
            used = 2;
        }
        line[out++] = c;
        in += used;
        assert(out <= in);
    }
    *from = in;
    *to = out;
    return quote == '\0';
}

static enum torcd_resp_outcome
split_line(struct torcd_resp_parser *parser, const struct torcd_resp_limits *limits, char *window, size_t size,
           size_t end)
{
    size_t from = 0, to = 0;

    for (;;) {
        while (from < size && is_blank(window[from]))
            from++;
        if (from == size)
            return complete(parser, window, end);
        if (to < from)
            to = from;

        size_t begin = to;
        if (!unquote(window, size, &from, &to))
            return broken(parser, "unbalanced quotes in request");
        if (parser->count == limits->arguments_max)
            return broken(parser, "invalid multibulk length");
        if (!add_argument(parser, begin, to - begin))
            return TORCD_RESP_NO_MEMORY;
    }
}

static enum torcd_resp_outcome
next_inline(struct torcd_resp_parser *parser, const struct torcd_resp_limits *limits, char *window, size_t size)
{
    const char *newline = memchr(window + parser->position, '\n', size - parser->position);
    size_t length = newline == NULL ? size : (size_t)(newline - window);

    if (length > limits->inline_max)
        return broken(parser, "too big inline request");
    parser->position = length;
    if (newline == NULL)
        return TORCD_RESP_MORE;
    return split_line(parser, limits, window, length, length + 1);
}

/* ---- Arrays of bulk strings ----------------------------------------------------------------------------------- */

/* One step each: TORCD_RESP_REQUEST means that it was made, not yet that a request is complete. */
static enum torcd_resp_outcome
begin_array(struct torcd_resp_parser *parser, const struct torcd_resp_limits *limits, const char *window, size_t size)
{
    int64_t count = 0;
    size_t length = 0;

    switch (read_length(window, size, &count, &length)) {
    case LINE_MORE: return TORCD_RESP_MORE;
    case LINE_BAD: return broken(parser, "invalid multibulk length");
    case LINE_NUMBER: break;
    }
    if (count > STRANGER_ARGUMENTS_MAX && limits->stranger)
        return broken(parser, "unauthenticated multibulk length");
    if (count > 0 && (uint64_t)count > limits->arguments_max)
        return broken(parser, "invalid multibulk length");
    if (count <= 0)
        return complete(parser, window, length);
    parser->expected = (size_t)count;
    parser->position = length;
    parser->state = TORCD_RESP_AT_LENGTH;
    return TORCD_RESP_REQUEST;
}

static enum torcd_resp_outcome
begin_argument(struct torcd_resp_parser *parser, const struct torcd_resp_limits *limits, const char *window,
               size_t size)
{
    int64_t bytes = 0;
    size_t length = 0;
    const char *line = window + parser->position;

    if (parser->position == size)
        return TORCD_RESP_MORE;
    if (*line != '$') {
        char what[32];
        (void)snprintf(what, sizeof what, "expected '$', got '%c'", *line >= ' ' && *line <= '~' ? *line : '?');
        return broken(parser, what);
    }
    switch (read_length(line, size - parser->position, &bytes, &length)) {
    case LINE_MORE: return TORCD_RESP_MORE;
    case LINE_BAD: return broken(parser, "invalid bulk length");
    case LINE_NUMBER: break;
    }
    if (bytes > STRANGER_BULK_MAX && limits->stranger)
        return broken(parser, "unauthenticated bulk length");
    if (bytes < 0 || (uint64_t)bytes > limits->bulk_max)
        return broken(parser, "invalid bulk length");
    parser->bulk_size = (size_t)bytes;
    parser->position += length;
    parser->state = TORCD_RESP_AT_BYTES;
    return TORCD_RESP_REQUEST;
}

static enum torcd_resp_outcome
end_argument(struct torcd_resp_parser *parser, const char *window, size_t size)
{
    size_t begin = parser->position, bytes = parser->bulk_size;

    if (size - begin < bytes || size - begin - bytes < 2)
        return TORCD_RESP_MORE;
    if (window[begin + bytes] != '\r' || window[begin + bytes + 1] != '\n')
        return broken(parser, "expected CRLF after bulk string");
    if (!add_argument(parser, begin, bytes))
        return TORCD_RESP_NO_MEMORY;
    parser->position = begin + bytes + 2;
    parser->state = TORCD_RESP_AT_LENGTH;
    return TORCD_RESP_REQUEST;
}

static enum torcd_resp_outcome
next_array(struct torcd_resp_parser *parser, const struct torcd_resp_limits *limits, const char *window, size_t size)
{
    for (;;) {
        enum torcd_resp_outcome outcome = parser->state == TORCD_RESP_AT_LENGTH
            ? begin_argument(parser, limits, window, size)
            : end_argument(parser, window, size);

        if (outcome != TORCD_RESP_REQUEST)
            return outcome;
        if (parser->state == TORCD_RESP_AT_LENGTH && parser->count == parser->expected)
            return complete(parser, window, parser->position);
    }
}

enum torcd_resp_outcome
torcd_resp_next(struct torcd_resp_parser *parser, const struct torcd_resp_limits *limits, char *window, size_t size)
{
    assert(parser->position <= size);                                                   /* I1 */
    if (size == 0)
        return TORCD_RESP_MORE;
    if (parser->state == TORCD_RESP_AT_START) {
        parser->count = 0;
        if (window[0] == '*') {
            enum torcd_resp_outcome outcome = begin_array(parser, limits, window, size);
            if (outcome != TORCD_RESP_REQUEST || parser->state == TORCD_RESP_AT_START)
                return outcome;
        } else
            parser->state = TORCD_RESP_AT_INLINE;
    }
    if (parser->state == TORCD_RESP_AT_INLINE)
        return next_inline(parser, limits, window, size);
    return next_array(parser, limits, window, size);
}

size_t
torcd_resp_wanted(const struct torcd_resp_parser *parser)
{
    if (parser->state != TORCD_RESP_AT_BYTES)
        return parser->position + 1;
    return parser->position + parser->bulk_size + 2;
}

void
torcd_resp_trim(struct torcd_resp_parser *parser)
{
    assert(parser->state == TORCD_RESP_AT_START);
    if (parser->capacity > ARGUMENTS_KEPT)
        torcd_resp_fini(parser);
}

void
torcd_resp_fini(struct torcd_resp_parser *parser)
{
    torcd_release(parser->spans);
    torcd_release(parser->arguments);
    memset(parser, 0, sizeof *parser);
}

/* ---- Numbers -------------------------------------------------------------------------------------------------- */

bool
torcd_parse_integer(struct torc_slice text, int64_t *value)
{
    const char *bytes = text.data;
    bool negative = text.size > 0 && bytes[0] == '-';
    size_t at = negative ? 1 : 0;
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t number = 0;

    if (at == text.size || text.size > TORCD_INTEGER_DIGITS)
        return false;
    if (bytes[at] == '0' && text.size > 1)
        return false;
    for (; at < text.size; at++) {
        unsigned digit = (unsigned)(unsigned char)bytes[at] - '0';
        if (digit > 9 || number > (limit - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *value = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

size_t
torcd_print_integer(char *text, int64_t value)
{
    char digits[TORCD_INTEGER_DIGITS];
    uint64_t number = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t begin = sizeof digits;

    do {
        digits[--begin] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    if (value < 0)
        digits[--begin] = '-';
    memcpy(text, digits + begin, sizeof digits - begin);
    return sizeof digits - begin;
}

/* ---- Replies -------------------------------------------------------------------------------------------------- */

/* A type byte, a number, CR LF. */
#define HEADER_MAX (1 + TORCD_INTEGER_DIGITS + 2)

static size_t
print_header(char *header, char type, int64_t value)
{
    header[0] = type;
    size_t digits = torcd_print_integer(header + 1, value);
    header[1 + digits] = '\r';
    header[2 + digits] = '\n';
    return digits + 3;
}

static void
append_header(struct torcd_buffer *out, char type, int64_t value)
{
    if (torcd_buffer_reserve(out, HEADER_MAX))
        out->size += print_header(out->data + out->size, type, value);
}

static void
append_string(struct torcd_buffer *out, const char *text)
{
    torcd_buffer_append(out, text, strlen(text));
}

void
torcd_resp_simple(struct torcd_buffer *out, const char *text)
{
    size_t size = strlen(text);

    if (!torcd_buffer_reserve(out, size + 3))
        return;
    char *at = out->data + out->size;
    at[0] = '+';
    memcpy(at + 1, text, size);
    at[size + 1] = '\r';
    at[size + 2] = '\n';
    out->size += size + 3;
}

void
torcd_resp_integer(struct torcd_buffer *out, int64_t value)
{
    append_header(out, ':', value);
}

void
torcd_resp_bulk(struct torcd_buffer *out, struct torc_slice value)
{
    if (value.size > SIZE_MAX - HEADER_MAX - 2 || !torcd_buffer_reserve(out, HEADER_MAX + value.size + 2))
        return;
    out->size += print_header(out->data + out->size, '$', (int64_t)value.size);
    if (value.size > 0)
        memcpy(out->data + out->size, value.data, value.size);
    out->size += value.size;
    memcpy(out->data + out->size, "\r\n", 2);
    out->size += 2;
}

void
torcd_resp_verbatim(struct torcd_buffer *out, unsigned protocol, struct torc_slice text)
{
    if (protocol < 3) {
        torcd_resp_bulk(out, text);
        return;
    }
    append_header(out, '=', (int64_t)text.size + 4);
    append_string(out, "txt:");
    torcd_buffer_append(out, text.data, text.size);
    append_string(out, "\r\n");
}

void
torcd_resp_null(struct torcd_buffer *out, unsigned protocol)
{
    append_string(out, protocol < 3 ? "$-1\r\n" : "_\r\n");
}

void
torcd_resp_null_array(struct torcd_buffer *out, unsigned protocol)
{
    append_string(out, protocol < 3 ? "*-1\r\n" : "_\r\n");
}

void
torcd_resp_array(struct torcd_buffer *out, size_t count)
{
    append_header(out, '*', (int64_t)count);
}

void
torcd_resp_set(struct torcd_buffer *out, unsigned protocol, size_t count)
{
    append_header(out, protocol < 3 ? '*' : '~', (int64_t)count);
}

void
torcd_resp_map(struct torcd_buffer *out, unsigned protocol, size_t pairs)
{
    append_header(out, protocol < 3 ? '*' : '%', (int64_t)(protocol < 3 ? pairs * 2 : pairs));
}

void
torcd_resp_error(struct torcd_buffer *out, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0)
        length = 0;
    if ((size_t)length >= sizeof text)
        length = (int)sizeof text - 1;
    for (int i = 0; i < length; i++)
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    if (!torcd_buffer_reserve(out, (size_t)length + 3))
        return;
    append_string(out, "-");
    torcd_buffer_append(out, text, (size_t)length);
    append_string(out, "\r\n");
}

static void
insert_header(struct torcd_buffer *out, char type, size_t mark, size_t count)
{
    char header[HEADER_MAX];
    size_t size = print_header(header, type, (int64_t)count);

    assert(mark <= out->size);
    if (!torcd_buffer_reserve(out, size))
        return;
    memmove(out->data + mark + size, out->data + mark, out->size - mark);
    memcpy(out->data + mark, header, size);
    out->size += size;
}

void
torcd_resp_insert_array(struct torcd_buffer *out, size_t mark, size_t count)
{
    insert_header(out, '*', mark, count);
}

void
torcd_resp_insert_map(struct torcd_buffer *out, unsigned protocol, size_t mark, size_t pairs)
{
    insert_header(out, protocol < 3 ? '*' : '%', mark, protocol < 3 ? pairs * 2 : pairs);
}

/* SPDX-License-Identifier: MIT */
/* server/commands_scan.c: KEYS, SCAN, RANGE and RANDOMKEY: walks over a database in key order, each in one snapshot.
 *
 *   from, to    store keys: the literal beginning of a pattern, or the bounds of a RANGE
 *   SCAN        looks at COUNT keys and notes the next one, behind a byte for its database, in the table of cursors
 *
 * The elements of a reply are written first and counted; the header is put before them at the end. */
#include "commands.h"
#include "glob.h"
#include "keyspace.h"

#include <assert.h>

/* One SCAN looks at no more keys than this and writes no more than about this much, whatever its COUNT asks: COUNT is a
 * hint, and the other clients of the loop wait. */
#define SCAN_KEYS_MAX 10000
#define SCAN_BYTES_MAX (1024u * 1024u)

struct pattern {
    bool given;
    struct torc_slice bytes;
};

static bool
matches(const struct pattern *pattern, struct torc_slice key)
{
    return !pattern->given || torcd_glob_match(pattern->bytes, key);
}

static struct torc_slice
client_key(struct torc_slice store_key)
{
    return torcd_keyspace_client_key(store_key);
}

/* What every store key begins with whose client's key begins with the literal part of `pattern`. Lives in
 * worker->bound. */
static struct torc_slice
pattern_prefix(struct torcd_session *session, const struct pattern *pattern)
{
    char *bound = session->worker->bound;
    size_t size = pattern->given ? torcd_glob_prefix(pattern->bytes) : 0, zero;

    if (size > TORCD_KEY_MAX)
        size = TORCD_KEY_MAX;
    if (size == 0)
        return torc_slice(NULL, 0);
    zero = *(const char *)pattern->bytes.data == '\0';
    bound[0] = '\0';
    memcpy(bound + zero, pattern->bytes.data, size);
    return torc_slice(bound, size + zero);
}

static enum torc_status
open_cursor(struct torcd_session *session, struct torc_txn *txn, const struct torc_scan_options *options,
            struct torc_cursor **cursor)
{
    enum torc_status status = torcd_keyspace_use(session, txn);

    *cursor = NULL;
    return status != TORC_OK ? status : torc_txn_scan(txn, options, cursor);
}

/* ---- KEYS ----------------------------------------------------------------------------------------------------- */

static enum torc_status
keys_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct pattern *pattern = context;
    struct torc_scan_options options = {.prefix = pattern_prefix(session, pattern)};
    struct torc_cursor *cursor = NULL;
    size_t mark = session->out.size, count = 0;
    enum torc_status status = open_cursor(session, txn, &options, &cursor);

    while (status == TORC_OK && session->out.fault == TORCD_FAULT_NONE) {
        struct torc_slice key;
        status = torc_cursor_next(cursor, &key, NULL);
        if (status != TORC_OK || !matches(pattern, client_key(key)))
            continue;
        torcd_reply_bulk(session, client_key(key));
        count++;
    }
    torc_cursor_close(cursor);
    torcd_resp_insert_array(&session->out, mark, count);
    return status == TORC_END ? TORC_OK : status;
}

void
torcd_command_keys(struct torcd_session *session)
{
    struct pattern pattern = {true, session->arguments[1]};

    (void)torcd_keyspace_run(session, TORCD_READ, keys_body, &pattern);
}

/* ---- SCAN ----------------------------------------------------------------------------------------------------- */

struct scan {
    uint64_t cursor;
    struct pattern pattern;
    int64_t count;
    bool of_strings;        /* TYPE did not ask for something else: torcd has strings only. */
};

/* Where the scan goes on: `*from` is empty for its beginning. False: no such cursor. */
static bool
scan_from(struct torcd_session *session, const struct scan *scan, struct torc_slice *from)
{
    struct torcd_worker *worker = session->worker;
    size_t size = 0;

    *from = torc_slice(NULL, 0);
    if (scan->cursor == 0)
        return true;
    /* The byte of the database makes room for the one that the store key may need. */
    if (!torcd_cursors_get(worker->server->cursors, scan->cursor, worker->key, &size) || size == 0
        || (unsigned char)worker->key[0] != session->database)
        return false;
    bool whole = size == 1 || worker->key[1] == '\0';
    worker->key[0] = '\0';
    *from = whole ? torc_slice(worker->key, size) : torc_slice(worker->key + 1, size - 1);
    return true;
}

/* Note that the scan goes on at `next`, a store key. Returns its new cursor, or 0. */
static uint64_t
note_position(struct torcd_session *session, const struct scan *scan, struct torc_slice next)
{
    char *bytes = session->worker->bound;
    struct torc_slice key = client_key(next);

    bytes[0] = (char)(unsigned char)session->database;
    if (key.size > 0)
        memcpy(bytes + 1, key.data, key.size);
    return torcd_cursors_put(session->worker->server->cursors, scan->cursor, torc_slice(bytes, key.size + 1));
}

/* Put "array of two, the cursor, and" before the array that begins at `mark`. */
static void
insert_cursor(struct torcd_buffer *out, size_t mark, uint64_t cursor)
{
    char digits[TORCD_INTEGER_DIGITS], text[64];
    size_t digits_count = torcd_print_integer(digits, (int64_t)cursor), size = 0;

    memcpy(text, "*2\r\n$", 5);
    size = 5 + torcd_print_integer(text + 5, (int64_t)digits_count);
    memcpy(text + size, "\r\n", 2);
    memcpy(text + size + 2, digits, digits_count);
    memcpy(text + size + 2 + digits_count, "\r\n", 2);
    size += digits_count + 4;
    if (!torcd_buffer_reserve(out, size))
        return;
    memmove(out->data + mark + size, out->data + mark, out->size - mark);
    memcpy(out->data + mark, text, size);
    out->size += size;
}

/* Write the next keys. `*next` is the first that was not looked at, if the outcome is TORC_OK, not TORC_END. */
static enum torc_status
scan_keys(struct torcd_session *session, const struct scan *scan, struct torc_cursor *cursor, size_t *count,
          struct torc_slice *next)
{
    size_t mark = session->out.size;
    int64_t seen = 0;

    for (;;) {
        enum torc_status status = torc_cursor_next(cursor, next, NULL);
        if (status != TORC_OK)
            return status;
        if (seen == scan->count || session->out.size - mark > SCAN_BYTES_MAX)
            return TORC_OK;
        seen++;
        if (scan->of_strings && matches(&scan->pattern, client_key(*next))) {
            torcd_reply_bulk(session, client_key(*next));
            ++*count;
        }
    }
}

static enum torc_status
scan_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct scan *scan = context;
    struct torcd_cursors *cursors = session->worker->server->cursors;
    struct torc_scan_options options = {.prefix = pattern_prefix(session, &scan->pattern)};
    struct torc_cursor *cursor = NULL;
    struct torc_slice next = {NULL, 0};
    size_t mark = session->out.size, count = 0;
    uint64_t position = 0;

    if (!scan_from(session, scan, &options.from)) {
        torcd_resp_error(&session->out, "ERR invalid cursor");
        return TORC_OK;
    }
    enum torc_status status = open_cursor(session, txn, &options, &cursor);
    if (status == TORC_OK)
        status = scan_keys(session, scan, cursor, &count, &next);
    if (status == TORC_OK) {
        position = note_position(session, scan, next);
        if (position == 0)
            status = TORC_NO_MEMORY;
    } else if (status == TORC_END) {
        torcd_cursors_end(cursors, scan->cursor);
        status = TORC_OK;
    }
    torc_cursor_close(cursor);
    torcd_resp_insert_array(&session->out, mark, count);
    insert_cursor(&session->out, mark, position);
    return status;
}

static bool
parse_cursor(struct torc_slice text, uint64_t *cursor)
{
    const char *bytes = text.data;

    *cursor = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (bytes[i] < '0' || bytes[i] > '9' || *cursor > (UINT64_MAX - 9) / 10)
            return false;
        *cursor = *cursor * 10 + (uint64_t)(bytes[i] - '0');
    }
    return text.size > 0;
}

void
torcd_command_scan(struct torcd_session *session)
{
    const struct torc_slice *arguments = session->arguments;
    struct scan scan = {.count = 10, .of_strings = true};

    if (!parse_cursor(arguments[1], &scan.cursor)) {
        torcd_resp_error(&session->out, "ERR invalid cursor");
        return;
    }
    for (size_t i = 2; i < session->arguments_count; i += 2) {
        bool has_value = i + 1 < session->arguments_count;

        if (has_value && torcd_is_word(arguments[i], "count")) {
            if (!torcd_parse_integer(arguments[i + 1], &scan.count)) {
                torcd_reply_not_an_integer(session);
                return;
            }
        } else if (has_value && torcd_is_word(arguments[i], "match"))
            scan.pattern = (struct pattern){true, arguments[i + 1]};
        else if (has_value && torcd_is_word(arguments[i], "type"))
            scan.of_strings = torcd_is_word(arguments[i + 1], "string");
        else
            scan.count = 0;
        if (scan.count < 1) {
            torcd_reply_syntax_error(session);
            return;
        }
    }
    if (scan.count > SCAN_KEYS_MAX)
        scan.count = SCAN_KEYS_MAX;
    (void)torcd_keyspace_run(session, TORCD_READ, scan_body, &scan);
}

/* ---- RANGE ---------------------------------------------------------------------------------------------------- */

struct range {
    struct torc_slice start;    /* Least key; empty for "-", which is the same. */
    struct torc_slice end;      /* Greatest key, inclusive; `to_greatest` for "+". */
    bool to_greatest;
    bool reverse;
    int64_t limit;
};

/* Turn the greatest key wanted, bound[0..size), into the least key past it; its new size, 0 if there is none. A zero
 * byte more makes the next key; one of full length is followed by the next that is not longer. */
static size_t
key_after(char *bound, size_t size)
{
    if (size < TORC_KEY_SIZE_MAX) {
        bound[size] = '\0';
        return size + 1;
    }
    while (size > 0 && (unsigned char)bound[size - 1] == 0xff)
        size--;
    if (size > 0)
        bound[size - 1] = (char)(unsigned char)((unsigned char)bound[size - 1] + 1);
    return size;
}

/* The bound behind the last key: in worker->bound. */
static struct torc_slice
range_to(struct torcd_session *session, const struct range *range)
{
    char *bound = session->worker->bound;

    if (range->to_greatest)
        return torc_slice(NULL, 0);
    struct torc_slice end = torcd_keyspace_key(session, range->end);
    memcpy(bound, end.data, end.size);
    return torc_slice(bound, key_after(bound, end.size));
}

static enum torc_status
range_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    const struct range *range = context;
    struct torc_scan_options options = {
        .to = range_to(session, range),
        .reverse = range->reverse,
    };
    struct torc_cursor *cursor = NULL;
    size_t mark = session->out.size;
    int64_t count = 0;

    options.from = torcd_keyspace_key(session, range->start);
    enum torc_status status = open_cursor(session, txn, &options, &cursor);

    while (status == TORC_OK && count < range->limit && session->out.fault == TORCD_FAULT_NONE) {
        struct torc_slice key, value;
        status = torc_cursor_next(cursor, &key, &value);
        if (status != TORC_OK)
            break;
        torcd_reply_bulk(session, client_key(key));
        torcd_reply_bulk(session, value);
        count++;
    }
    torc_cursor_close(cursor);
    torcd_resp_insert_map(&session->out, session->protocol, mark, (size_t)count);
    return status == TORC_END ? TORC_OK : status;
}

static bool
is_bound(struct torc_slice text, char open)
{
    return text.size == 1 && *(const char *)text.data == open;
}

void
torcd_command_range(struct torcd_session *session)
{
    const struct torc_slice *arguments = session->arguments;
    struct range range = {.start = arguments[1], .end = arguments[2], .limit = INT64_MAX};

    if (is_bound(range.start, '-'))
        range.start = torc_slice(NULL, 0);
    range.to_greatest = is_bound(range.end, '+');
    for (size_t i = 3; i < session->arguments_count; i++) {
        if (torcd_is_word(arguments[i], "rev"))
            range.reverse = true;
        else if (torcd_is_word(arguments[i], "limit") && i + 1 < session->arguments_count) {
            if (!torcd_parse_integer(arguments[++i], &range.limit) || range.limit < 0) {
                torcd_reply_not_an_integer(session);
                return;
            }
        } else {
            torcd_reply_syntax_error(session);
            return;
        }
    }
    if (torcd_keyspace_check(session, range.start) && torcd_keyspace_check(session, range.end))
        (void)torcd_keyspace_run(session, TORCD_READ, range_body, &range);
}

/* ---- RANDOMKEY ------------------------------------------------------------------------------------------------ */

#define COUNTED_KEYS_MAX 256u       /* So many keys are counted through. */

static uint64_t
draw(struct torcd_worker *worker)
{
    uint64_t z = worker->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The first key in that direction. TORC_END: there is none. */
static enum torc_status
first_key(struct torcd_session *session, struct torc_txn *txn, bool reverse, struct torc_slice *key)
{
    struct torc_scan_options options = {.reverse = reverse};
    struct torc_cursor *cursor;
    enum torc_status status = open_cursor(session, txn, &options, &cursor);

    if (status == TORC_OK)
        status = torc_cursor_next(cursor, key, NULL);
    torc_cursor_close(cursor);
    return status;
}

/* Eight bytes of `key` from `at` on as a number, zeros behind its end. */
static uint64_t
number_at(struct torc_slice key, size_t at)
{
    uint64_t number = 0;

    for (size_t i = 0; i < 8; i++)
        number = number << 8 | (at + i < key.size ? ((const unsigned char *)key.data)[at + i] : 0);
    return number;
}

/* A place between the least and the greatest key, in worker->bound: what they have in common, and a number between
 * those that follow. */
static struct torc_slice
some_place(struct torcd_session *session, struct torc_slice least, struct torc_slice greatest)
{
    struct torcd_worker *worker = session->worker;
    const char *one = least.data, *other = greatest.data;
    size_t common = 0, most = least.size < greatest.size ? least.size : greatest.size;

    while (common < most && common < TORC_KEY_SIZE_MAX - 8 && one[common] == other[common])
        common++;
    uint64_t low = number_at(least, common), span = number_at(greatest, common) - low;
    uint64_t number = low + (span == UINT64_MAX ? draw(worker) : draw(worker) % (span + 1));
    memcpy(worker->bound, least.data, common);
    for (size_t i = 0; i < 8; i++)
        worker->bound[common + i] = (char)(unsigned char)(number >> (56 - 8 * i));
    return torc_slice(worker->bound, common + 8);
}

/* Few keys are counted through, and each is as likely. Among many the walk begins at a random place between the least
 * and the greatest and goes on for some steps; keys behind gaps are likelier then. */
static enum torc_status
randomkey_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct torcd_worker *worker = session->worker;
    struct torc_slice least, greatest, key;
    struct torc_scan_options options = {.reverse = false};
    struct torc_cursor *cursor = NULL;
    enum torc_status status = first_key(session, txn, false, &least);
    uint64_t keys = status == TORC_OK ? torc_keyspace_keys(torc_txn_keyspace(txn)) : 0, steps;

    (void)context;
    if (status == TORC_OK && keys > COUNTED_KEYS_MAX) {
        status = first_key(session, txn, true, &greatest);
        if (status == TORC_OK)
            options.from = some_place(session, least, greatest);
    }
    steps = draw(worker) % (keys > COUNTED_KEYS_MAX ? COUNTED_KEYS_MAX : keys + (keys == 0));
    if (status == TORC_OK)
        status = open_cursor(session, txn, &options, &cursor);
    key = least;
    for (uint64_t i = 0; status == TORC_OK && i <= steps; i++) {
        struct torc_slice next;
        status = torc_cursor_next(cursor, &next, NULL);
        if (status == TORC_OK)
            key = next;
    }
    torc_cursor_close(cursor);
    if (status == TORC_END && cursor == NULL)
        torcd_reply_null(session);
    else if (status == TORC_OK || status == TORC_END)
        torcd_reply_bulk(session, client_key(key));
    return status == TORC_END ? TORC_OK : status;
}

void
torcd_command_randomkey(struct torcd_session *session)
{
    (void)torcd_keyspace_run(session, TORCD_READ, randomkey_body, NULL);
}

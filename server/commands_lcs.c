/* SPDX-License-Identifier: MIT */
/* server/commands_lcs.c: LCS, the longest common subsequence of two values.
 *
 *   table[i][j]   length of the longest common subsequence of the first i bytes of one value and the first j bytes of
 *                 the other; from table[n][m] the way back to a corner gives the subsequence, last byte first
 *
 * The table takes 4 bytes for each pair of bytes, and no more than proto-max-bulk-len. */
#include "commands.h"
#include "keyspace.h"

#include <assert.h>

struct lcs {
    bool length_only;       /* LEN */
    bool matches;           /* IDX */
    bool lengths;           /* WITHMATCHLEN */
    int64_t least;          /* MINMATCHLEN */
};

/* The two values and their table. */
struct pair {
    struct torc_slice one;
    struct torc_slice other;
    uint32_t *table;
};

static uint32_t *
cell(const struct pair *pair, size_t i, size_t j)
{
    return &pair->table[i * (pair->other.size + 1) + j];
}

static char
byte_at(struct torc_slice text, size_t index)
{
    return ((const char *)text.data)[index];
}

static void
fill(const struct pair *pair)
{
    for (size_t i = 0; i <= pair->one.size; i++)
        for (size_t j = 0; j <= pair->other.size; j++) {
            uint32_t best = 0;
            if (i > 0 && j > 0) {
                uint32_t up = *cell(pair, i - 1, j), left = *cell(pair, i, j - 1);
                if (byte_at(pair->one, i - 1) == byte_at(pair->other, j - 1))
                    best = *cell(pair, i - 1, j - 1) + 1;
                else
                    best = up > left ? up : left;
            }
            *cell(pair, i, j) = best;
        }
}

/* Bytes one[one_begin ..], other[other_begin ..], `size` of them, are equal and part of the subsequence. */
struct run {
    size_t one_begin;
    size_t other_begin;
    size_t size;
};

static void
reply_run(struct torcd_session *session, const struct lcs *lcs, const struct run *run)
{
    torcd_resp_array(&session->out, lcs->lengths ? 3 : 2);
    torcd_resp_array(&session->out, 2);
    torcd_reply_integer(session, (int64_t)run->one_begin);
    torcd_reply_integer(session, (int64_t)(run->one_begin + run->size - 1));
    torcd_resp_array(&session->out, 2);
    torcd_reply_integer(session, (int64_t)run->other_begin);
    torcd_reply_integer(session, (int64_t)(run->other_begin + run->size - 1));
    if (lcs->lengths)
        torcd_reply_integer(session, (int64_t)run->size);
}

/* Go the way back. `text`, if not NULL, gets the subsequence; each run of at least the size that is asked for becomes a
 * reply if runs are. Returns how many of those. */
static size_t
walk(struct torcd_session *session, const struct lcs *lcs, const struct pair *pair, char *text)
{
    size_t i = pair->one.size, j = pair->other.size, at = *cell(pair, i, j), count = 0;
    struct run run = {0, 0, 0};

    while (i > 0 && j > 0) {
        bool equal = byte_at(pair->one, i - 1) == byte_at(pair->other, j - 1);

        if (equal) {
            i--;
            j--;
            if (text != NULL)
                text[--at] = byte_at(pair->one, i);
            if (run.size > 0 && run.one_begin == i + 1 && run.other_begin == j + 1)
                run = (struct run){i, j, run.size + 1};
            else
                run = (struct run){i, j, 1};
        } else if (*cell(pair, i - 1, j) > *cell(pair, i, j - 1))
            i--;
        else
            j--;
        bool ends = i == 0 || j == 0 || byte_at(pair->one, i - 1) != byte_at(pair->other, j - 1);
        if (equal && ends) {
            if (lcs->matches && (int64_t)run.size >= lcs->least) {
                reply_run(session, lcs, &run);
                count++;
            }
            run.size = 0;
        }
    }
    return count;
}

static enum torc_status
reply_lcs(struct torcd_session *session, const struct lcs *lcs, const struct pair *pair)
{
    size_t length = *cell(pair, pair->one.size, pair->other.size), mark;

    if (lcs->length_only) {
        torcd_reply_integer(session, (int64_t)length);
        return TORC_OK;
    }
    if (lcs->matches) {
        torcd_resp_map(&session->out, session->protocol, 2);
        torcd_reply_string(session, "matches");
        mark = session->out.size;
        torcd_resp_insert_array(&session->out, mark, walk(session, lcs, pair, NULL));
        torcd_reply_string(session, "len");
        torcd_reply_integer(session, (int64_t)length);
        return TORC_OK;
    }
    char *text = torcd_resize(NULL, length == 0 ? 1 : length);
    if (text == NULL)
        return TORC_NO_MEMORY;
    (void)walk(session, lcs, pair, text);
    torcd_reply_bulk(session, torc_slice(text, length));
    torcd_release(text);
    return TORC_OK;
}

static enum torc_status
lcs_body(struct torc_txn *txn, struct torcd_session *session, void *context)
{
    struct pair pair = {{NULL, 0}, {NULL, 0}, NULL};
    uint64_t limit = torcd_setting(session->worker->server, TORCD_BULK_MAX);
    bool present;
    size_t size;
    enum torc_status status = torcd_keyspace_get(session, txn, torcd_argument(session, 1), &pair.one, &present);

    if (status == TORC_OK)
        status = torcd_keyspace_get(session, txn, torcd_argument(session, 2), &pair.other, &present);
    if (status != TORC_OK)
        return status;
    if (__builtin_mul_overflow(pair.one.size + 1, pair.other.size + 1, &size)
        || __builtin_mul_overflow(size, sizeof *pair.table, &size) || size > limit) {
        torcd_resp_error(&session->out, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
        return TORC_OK;
    }
    pair.table = torcd_resize(NULL, size);
    if (pair.table == NULL) {
        torcd_resp_error(&session->out, "ERR Insufficient memory, failed allocating transient memory for LCS");
        return TORC_OK;
    }
    fill(&pair);
    status = reply_lcs(session, context, &pair);
    torcd_release(pair.table);
    return status;
}

void
torcd_command_lcs(struct torcd_session *session)
{
    struct lcs lcs = {0};

    for (size_t i = 3; i < session->arguments_count; i++) {
        struct torc_slice word = torcd_argument(session, i);

        if (torcd_is_word(word, "idx"))
            lcs.matches = true;
        else if (torcd_is_word(word, "len"))
            lcs.length_only = true;
        else if (torcd_is_word(word, "withmatchlen"))
            lcs.lengths = true;
        else if (torcd_is_word(word, "minmatchlen") && i + 1 < session->arguments_count) {
            if (!torcd_parse_integer(torcd_argument(session, ++i), &lcs.least)) {
                torcd_reply_not_an_integer(session);
                return;
            }
        } else {
            torcd_reply_syntax_error(session);
            return;
        }
    }
    if (lcs.matches && lcs.length_only)
        torcd_resp_error(&session->out, "ERR If you want both the length and indexes, please just use IDX.");
    else if (torcd_keyspace_check(session, torcd_argument(session, 1))
             && torcd_keyspace_check(session, torcd_argument(session, 2)))
        (void)torcd_keyspace_run(session, TORCD_READ, lcs_body, &lcs);
}

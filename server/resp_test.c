/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/testing.h"
#include "resp.h"

/* What a stream says: each argument as <size>:<bytes>, a line end after each request, "! error" at a broken end. Two
 * ways of cutting a stream into pieces are equal if they give the same transcript. */
struct transcript {
    struct torcd_buffer text;
    enum torcd_resp_outcome end;
};

static const struct torcd_resp_limits wide = {.arguments_max = 1024, .bulk_max = 1 << 20, .inline_max = 1 << 16};

static void
write_down(struct transcript *transcript, const struct torcd_resp_parser *parser)
{
    for (size_t i = 0; i < parser->count; i++) {
        torcd_buffer_format(&transcript->text, "%zu:", parser->arguments[i].size);
        torcd_buffer_append(&transcript->text, parser->arguments[i].data, parser->arguments[i].size);
        torcd_buffer_append(&transcript->text, " ", 1);
    }
    torcd_buffer_append(&transcript->text, "\n", 1);
}

/* Feed `stream` in pieces of the sizes that `piece` gives; the window is moved and given fresh memory of exactly its
 * size each time, so that the sanitizers see a read past its end and a pointer kept from before. */
static struct transcript
parse(struct torc_slice stream, const struct torcd_resp_limits *limits, size_t (*piece)(void *context), void *context)
{
    struct torcd_resp_parser parser = {0};
    struct transcript transcript = {.end = TORCD_RESP_MORE};
    char *window = NULL;
    size_t size = 0, fed = 0;

    while (fed < stream.size && transcript.end == TORCD_RESP_MORE) {
        size_t more = piece(context);
        if (more > stream.size - fed)
            more = stream.size - fed;
        char *moved = malloc(size + more);
        if (size > 0)
            memcpy(moved, window, size);
        memcpy(moved + size, (const char *)stream.data + fed, more);
        free(window);
        window = moved;
        size += more;
        fed += more;
        while ((transcript.end = torcd_resp_next(&parser, limits, window, size)) == TORCD_RESP_REQUEST) {
            cr_assert(parser.consumed > 0 && parser.consumed <= size);
            write_down(&transcript, &parser);
            size -= parser.consumed;
            memmove(window, window + parser.consumed, size);
        }
    }
    if (transcript.end == TORCD_RESP_BROKEN)
        torcd_buffer_format(&transcript.text, "! %s", parser.error);
    torcd_buffer_append(&transcript.text, "", 1);
    free(window);
    torcd_resp_fini(&parser);
    return transcript;
}

static size_t
whole(void *context)
{
    (void)context;
    return SIZE_MAX;
}

static size_t
one_byte(void *context)
{
    (void)context;
    return 1;
}

static size_t
random_piece(void *context)
{
    return 1 + torci_random_below(context, 9);
}

static void
expect(const char *stream, const char *expected)
{
    struct transcript at_once = parse(torc_slice_from_string(stream), &wide, whole, NULL);
    struct transcript bytewise = parse(torc_slice_from_string(stream), &wide, one_byte, NULL);

    cr_expect_str_eq(at_once.text.data, expected, "%s", stream);
    cr_expect_str_eq(bytewise.text.data, expected, "%s, byte by byte", stream);
    torcd_buffer_fini(&at_once.text);
    torcd_buffer_fini(&bytewise.text);
}

TestSuite(resp_parser, .timeout = 60);

Test(resp_parser, reads_arrays_of_bulk_strings)
{
    expect("*1\r\n$4\r\nPING\r\n", "4:PING \n");
    expect("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "3:GET 0: \n");
    expect("*2\r\n$3\r\nGET\r\n$4\r\n\r\n\r\n\r\n", "3:GET 4:\r\n\r\n \n");
    expect("*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\nPING\r\n", "1:a \n1:b \n4:PING \n");
}

Test(resp_parser, skips_empty_requests)
{
    expect("*0\r\n*-1\r\n\r\n\n  \r\nPING\n", "\n\n\n\n\n4:PING \n");
}

Test(resp_parser, reads_inline_requests)
{
    expect("SET key value\r\n", "3:SET 3:key 5:value \n");
    expect("  SET\tkey   value \n", "3:SET 3:key 5:value \n");
    expect("SET \"a b\" 'c d'\r\n", "3:SET 3:a b 3:c d \n");
    expect("ECHO \"\\x41\\n\\\"\\q\"\r\n", "4:ECHO 4:A\n\"q \n");
    expect("ECHO 'it\\'s' ''\r\n", "4:ECHO 4:it's 0: \n");
}

Test(resp_parser, refuses_unbalanced_quotes)
{
    expect("ECHO \"a\r\n", "! Protocol error: unbalanced quotes in request");
    expect("ECHO 'a\r\n", "! Protocol error: unbalanced quotes in request");
    expect("ECHO \"a\"b\r\n", "! Protocol error: unbalanced quotes in request");
}

Test(resp_parser, refuses_broken_lengths)
{
    static const char *const counts[] = {
        "*\r\n", "*x\r\n", "*1x\r\n", "*+1\r\n", "* 1\r\n", "*01\r\n", "*1025\r\n", "*99999999999999999999\r\n",
        "*1\rx", "*-\r\n", "*1\n",
    };
    static const char *const sizes[] = {
        "*1\r\n$\r\n", "*1\r\n$-1\r\n", "*1\r\n$1048577\r\n", "*1\r\n$9223372036854775808\r\n", "*1\r\n$00\r\n",
        "*1\r\n$4294967297\r\n",
    };

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        expect(counts[i], "! Protocol error: invalid multibulk length");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        expect(sizes[i], "! Protocol error: invalid bulk length");
    expect("*1\r\n:1\r\n", "! Protocol error: expected '$', got ':'");
    expect("*1\r\n\001", "! Protocol error: expected '$', got '?'");
    expect("*1\r\n$1\r\nab\r\n", "! Protocol error: expected CRLF after bulk string");
}

Test(resp_parser, refuses_an_endless_length_before_its_end)
{
    struct transcript transcript =
        parse(torc_slice_from_string("*1111111111111111111111111111"), &wide, whole, NULL);

    cr_expect_eq(transcript.end, TORCD_RESP_BROKEN);
    torcd_buffer_fini(&transcript.text);
}

Test(resp_parser, refuses_an_inline_request_past_its_limit_before_its_end)
{
    const struct torcd_resp_limits narrow = {.arguments_max = 16, .bulk_max = 100, .inline_max = 10};
    struct transcript transcript = parse(torc_slice_from_string("0123456789"), &narrow, one_byte, NULL);

    cr_expect_eq(transcript.end, TORCD_RESP_MORE);
    torcd_buffer_fini(&transcript.text);
    transcript = parse(torc_slice_from_string("0123456789a"), &narrow, one_byte, NULL);
    cr_expect_str_eq(transcript.text.data, "! Protocol error: too big inline request");
    torcd_buffer_fini(&transcript.text);
}

Test(resp_parser, accepts_exactly_its_limits)
{
    const struct torcd_resp_limits narrow = {.arguments_max = 2, .bulk_max = 3, .inline_max = 10};
    struct transcript transcript =
        parse(torc_slice_from_string("*2\r\n$3\r\nabc\r\n$0\r\n\r\na b\r\n"), &narrow, whole, NULL);

    cr_expect_str_eq(transcript.text.data, "3:abc 0: \n1:a 1:b \n");
    torcd_buffer_fini(&transcript.text);
    transcript = parse(torc_slice_from_string("a b c\r\n"), &narrow, whole, NULL);
    cr_expect_eq(transcript.end, TORCD_RESP_BROKEN);
    torcd_buffer_fini(&transcript.text);
}

/* An announced argument takes no memory: only what arrives does. */
Test(resp_parser, takes_no_memory_for_what_was_only_announced)
{
    const struct torcd_resp_limits limits = {.arguments_max = 1u << 20, .bulk_max = 1u << 29, .inline_max = 1 << 16};
    struct torcd_resp_parser parser = {0};
    char stream[] = "*1048576\r\n$536870912\r\nx";

    cr_expect_eq(torcd_resp_next(&parser, &limits, stream, sizeof stream - 1), TORCD_RESP_MORE);
    cr_expect_eq(parser.capacity, 0u);
    cr_expect_eq(torcd_resp_wanted(&parser), strlen("*1048576\r\n$536870912\r\n") + (1u << 29) + 2);
    torcd_resp_fini(&parser);
}

/* One byte at a time, a big argument after many small ones: the parser must not look at what it has seen again.
 * Quadratic work would be 10^12 steps here, and the timeout would come. The window does not move, so that only the
 * parser's own work is there to see. */
Test(resp_parser, is_linear_however_small_the_pieces, .timeout = 20)
{
    enum { COUNT = 1000, BIG = 1000000 };
    struct torcd_resp_parser parser = {0};
    struct torcd_buffer stream = {0};
    enum torcd_resp_outcome outcome = TORCD_RESP_MORE;
    char *big = calloc(1, BIG);

    torcd_resp_array(&stream, COUNT + 1);
    for (int i = 0; i < COUNT; i++)
        torcd_resp_bulk(&stream, torc_slice("x", 1));
    torcd_resp_bulk(&stream, torc_slice(big, BIG));
    for (size_t size = 1; size <= stream.size; size++) {
        outcome = torcd_resp_next(&parser, &(struct torcd_resp_limits){COUNT + 1, BIG, 100, false}, stream.data, size);
        cr_assert_eq(outcome, size < stream.size ? TORCD_RESP_MORE : TORCD_RESP_REQUEST);
    }
    cr_expect_eq(parser.count, (size_t)COUNT + 1);
    cr_expect_eq(parser.arguments[COUNT].size, (size_t)BIG);
    torcd_resp_trim(&parser);
    torcd_buffer_truncate(&stream, 0);

    for (int i = 0; i < BIG; i++)
        torcd_buffer_append(&stream, "y", 1);
    for (size_t size = 1; size <= stream.size; size++)
        cr_assert_eq(torcd_resp_next(&parser, &(struct torcd_resp_limits){16, 16, BIG, false}, stream.data, size),
                     TORCD_RESP_MORE);
    free(big);
    torcd_buffer_fini(&stream);
    torcd_resp_fini(&parser);
}

/* A stream of valid requests, then perhaps bytes changed at random. */
static void
random_stream(struct torci_random *random, struct torcd_buffer *stream)
{
    static const char alphabet[] = "*$0123456789\r\n\r\n \"'\\xab-";
    uint64_t requests = 1 + torci_random_below(random, 6);

    for (uint64_t i = 0; i < requests; i++) {
        uint64_t arguments = torci_random_below(random, 5);
        bool is_inline = torci_random_below(random, 4) == 0;

        if (!is_inline)
            torcd_resp_array(stream, arguments);
        for (uint64_t j = 0; j < arguments; j++) {
            char bytes[40];
            size_t size = torci_random_below(random, sizeof bytes);
            for (size_t k = 0; k < size; k++)
                bytes[k] = alphabet[torci_random_below(random, sizeof alphabet - 1)];
            if (is_inline)
                torcd_buffer_append(stream, bytes, size);
            else
                torcd_resp_bulk(stream, torc_slice(bytes, size));
        }
        if (is_inline)
            torcd_buffer_append(stream, "\r\n", 2);
    }
    for (uint64_t changes = torci_random_below(random, 3); changes > 0 && stream->size > 0; changes--)
        stream->data[torci_random_below(random, stream->size)] =
            alphabet[torci_random_below(random, sizeof alphabet - 1)];
}

/* Any way to cut a stream into pieces gives the same requests and the same end. */
Test(resp_parser, reads_the_same_from_any_pieces)
{
    struct torci_random random = torci_random_seed(torct_seed());

    for (int round = 0; round < 3000; round++) {
        struct torcd_buffer stream = {0};
        random_stream(&random, &stream);
        struct torc_slice bytes = torc_slice(stream.data, stream.size);
        struct transcript at_once = parse(bytes, &wide, whole, NULL);
        struct transcript bytewise = parse(bytes, &wide, one_byte, NULL);
        struct transcript pieces = parse(bytes, &wide, random_piece, &random);

        cr_assert_eq(at_once.end, bytewise.end);
        cr_assert_eq(at_once.text.size, bytewise.text.size);
        cr_assert_eq(memcmp(at_once.text.data, bytewise.text.data, bytewise.text.size), 0);
        cr_assert_eq(at_once.text.size, pieces.text.size);
        cr_assert_eq(memcmp(at_once.text.data, pieces.text.data, pieces.text.size), 0);
        torcd_buffer_fini(&at_once.text);
        torcd_buffer_fini(&bytewise.text);
        torcd_buffer_fini(&pieces.text);
        torcd_buffer_fini(&stream);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fuzzer's own check, over a corpus made here: each kind of request and of mistake, cut at every byte, in pieces of
 * every size, and with every byte changed. It aborts when two ways of cutting do not agree. */
Test(resp_parser, passes_the_fuzzers_check_on_its_corpus)
{
    static const char *const corpus[] = {
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nvalue\r\n", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
        "*0\r\n*-1\r\n\r\nPING\r\n", "SET \"a\\x41\\n\" 'b\\'c'\r\n", "*1\r\n$0\r\n\r\n", "*65\r\n", "*1\r\n$4097\r\n",
        "*1\r\n$-1\r\n", "*2\r\n$1\r\na\r\nb", "*x\r\n", "ECHO \"unbalanced\r\n", "*1\r\n$1\r\nabc",
        "*99999999999999999999999\r\n", "\r\n\r\n\r\n",
    };

    for (size_t i = 0; i < sizeof corpus / sizeof corpus[0]; i++) {
        uint8_t input[128];
        size_t size = strlen(corpus[i]);
        cr_assert_lt(size, sizeof input);
        for (unsigned piece = 0; piece < 16; piece++) {
            input[0] = (uint8_t)piece;
            memcpy(input + 1, corpus[i], size);
            for (size_t cut = 0; cut <= size; cut++)
                cr_assert_eq(LLVMFuzzerTestOneInput(input, cut + 1), 0);
        }
        for (size_t at = 1; at <= size; at++)
            for (unsigned byte = 0; byte < 256; byte += at % 2 == 0 ? 1 : 7) {
                memcpy(input + 1, corpus[i], size);
                input[0] = 0;
                input[at] = (uint8_t)byte;
                cr_assert_eq(LLVMFuzzerTestOneInput(input, size + 1), 0);
            }
    }
}

#ifdef TORC_FAULTS
Test(resp_parser, survives_the_failure_of_each_allocation)
{
    struct torcd_buffer stream = {0};

    torcd_resp_array(&stream, 100);
    for (int i = 0; i < 100; i++)
        torcd_resp_bulk(&stream, torc_slice("argument", 8));
    for (unsigned long nth = 1; nth < 100; nth++) {
        struct torcd_resp_parser parser = {0};
        torcd_memory_fail_at(nth);
        enum torcd_resp_outcome outcome = torcd_resp_next(&parser, &wide, stream.data, stream.size);
        torcd_memory_fail_at(0);
        torcd_resp_fini(&parser);
        if (outcome == TORCD_RESP_REQUEST) {
            cr_expect_gt(nth, 1u);
            break;
        }
        cr_assert_eq(outcome, TORCD_RESP_NO_MEMORY);
        cr_assert_lt(nth, 99u);
    }
    torcd_buffer_fini(&stream);
}
#endif

/* ---- Numbers and replies -------------------------------------------------------------------------------------- */

TestSuite(resp_numbers, .timeout = 20);

Test(resp_numbers, parse_exactly_what_redis_parses)
{
    static const char *const wrong[] = {
        "", "-", "+1", " 1", "1 ", "01", "-0", "-01", "0x1", "1.0", "9223372036854775808", "-9223372036854775809",
        "99999999999999999999", "100000000000000000000",
    };
    int64_t value;

    cr_expect(torcd_parse_integer(torc_slice_from_string("0"), &value) && value == 0);
    cr_expect(torcd_parse_integer(torc_slice_from_string("-1"), &value) && value == -1);
    cr_expect(torcd_parse_integer(torc_slice_from_string("9223372036854775807"), &value) && value == INT64_MAX);
    cr_expect(torcd_parse_integer(torc_slice_from_string("-9223372036854775808"), &value) && value == INT64_MIN);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_expect_not(torcd_parse_integer(torc_slice_from_string(wrong[i]), &value), "'%s'", wrong[i]);
}

Test(resp_numbers, print_and_parse_back)
{
    static const int64_t values[] = {0, 1, -1, 9, 10, INT64_MAX, INT64_MIN, 1234567890};

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[TORCD_INTEGER_DIGITS];
        int64_t back = 0;
        cr_expect(torcd_parse_integer(torc_slice(text, torcd_print_integer(text, values[i])), &back));
        cr_expect_eq(back, values[i]);
    }
}

TestSuite(resp_replies, .timeout = 20);

static struct torcd_buffer out;

static void
expect_out(const char *expected)
{
    cr_expect_eq(out.size, strlen(expected));
    cr_expect_eq(memcmp(out.data, expected, out.size), 0, "%.*s", (int)out.size, out.data);
    torcd_buffer_fini(&out);
}

Test(resp_replies, have_the_protocols_forms)
{
    torcd_resp_simple(&out, "OK");
    torcd_resp_integer(&out, -7);
    torcd_resp_bulk(&out, torc_slice("a\0b", 3));
    torcd_resp_null(&out, 2);
    torcd_resp_null(&out, 3);
    cr_expect_eq(out.size, strlen("+OK\r\n:-7\r\n$3\r\na-b\r\n$-1\r\n_\r\n"));
    torcd_buffer_fini(&out);

    torcd_resp_map(&out, 2, 2);
    torcd_resp_map(&out, 3, 2);
    torcd_resp_set(&out, 2, 1);
    torcd_resp_set(&out, 3, 1);
    torcd_resp_null_array(&out, 2);
    torcd_resp_verbatim(&out, 3, torc_slice("x", 1));
    expect_out("*4\r\n%2\r\n*1\r\n~1\r\n*-1\r\n=5\r\ntxt:x\r\n");
}

Test(resp_replies, keep_errors_on_one_line)
{
    torcd_resp_error(&out, "ERR bad '%s'", "a\r\n+OK");
    expect_out("-ERR bad 'a  +OK'\r\n");
}

Test(resp_replies, get_their_header_afterwards)
{
    torcd_resp_simple(&out, "before");
    size_t mark = out.size;
    torcd_resp_bulk(&out, torc_slice("a", 1));
    torcd_resp_bulk(&out, torc_slice("b", 1));
    torcd_resp_insert_array(&out, mark, 2);
    expect_out("+before\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
}

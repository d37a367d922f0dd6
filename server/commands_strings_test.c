/* SPDX-License-Identifier: MIT */
/* Parts of values, numbers that are no integers, common subsequences; keys that take another name or place. What is
 * asked here is asked of Redis too, by redis_test.c. */
#include "commands_testing.h"

#include "base/testing.h"

TestSuite(commands_strings, .init = create, .fini = destroy, .timeout = 30);

Test(commands_strings, give_a_part)
{
    CONVERSE({"SET s 'Hello World'", OK}, {"GETRANGE s 0 4", "$5\r\nHello\r\n"},
             {"GETRANGE s -5 -1", "$5\r\nWorld\r\n"},
             {"GETRANGE s 0 -1", "$11\r\nHello World\r\n"},
             {"GETRANGE s 8 100", "$3\r\nrld\r\n"},
             {"GETRANGE s 5 3", "$0\r\n\r\n"}, {"GETRANGE s -1 -5", "$0\r\n\r\n"}, {"GETRANGE s 20 30", "$0\r\n\r\n"},
             {"GETRANGE s -9223372036854775808 9223372036854775807", "$11\r\nHello World\r\n"},
             {"GETRANGE nothing 0 -1", "$0\r\n\r\n"}, {"GETRANGE s x 1", NO_INTEGER}, {"SUBSTR s 0 0", "$1\r\nH\r\n"});
}

/* More keys than are looked up together, some absent, some that the store does not know by their own name. */
Test(commands_strings, are_read_many_at_once)
{
    char line[2048] = "MGET ''", expected[4096] = "*201\r\n$5\r\nempty\r\n";
    size_t size = strlen(line), expected_size = strlen(expected);

    (void)ask(0, "SET '' empty");
    (void)ask(0, "SET \"\\x00\" ''");
    for (int i = 0; i < 200; i++) {
        char set[32], value[32] = "$-1\r\n";
        if (i == 100)
            (void)snprintf(value, sizeof value, "$0\r\n\r\n");
        else if (i % 3 != 0) {
            (void)snprintf(set, sizeof set, "SET k%d %03d", i, i);
            (void)ask(0, set);
            (void)snprintf(value, sizeof value, "$3\r\n%03d\r\n", i);
        }
        size += (size_t)snprintf(line + size, sizeof line - size, i == 100 ? " \"\\x00\"" : " k%d", i);
        expected_size += (size_t)snprintf(expected + expected_size, sizeof expected - expected_size, "%s", value);
    }
    cr_expect_str_eq(ask(0, line), expected);
}

Test(commands_strings, change_in_a_part)
{
    CONVERSE({"SETRANGE s 2 ab", ":4\r\n"}, {"STRLEN s", ":4\r\n"}, {"SETRANGE s 0 xy", ":4\r\n"},
             {"GET s", "$4\r\nxyab\r\n"}, {"SETRANGE s 1 ''", ":4\r\n"}, {"SETRANGE t 5 ''", ":0\r\n"},
             {"EXISTS t", ":0\r\n"}, {"SETRANGE s -1 x", "-ERR offset is out of range\r\n"},
             {"SETRANGE s 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"},
             {"SETRANGE s 9223372036854775807 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"},
             {"CONFIG SET proto-max-bulk-len 1kb", OK},
             {"SETRANGE s 1023 ab", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"},
             {"SETRANGE s 1023 a", ":1024\r\n"},
             {"APPEND s b", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"});
}

Test(commands_strings, count_in_floating_point)
{
    CONVERSE({"INCRBYFLOAT f 10.5", "$4\r\n10.5\r\n"}, {"INCRBYFLOAT f 0.1", "$4\r\n10.6\r\n"},
             {"INCRBYFLOAT f -5", "$3\r\n5.6\r\n"}, {"SET f 5.0e3", OK}, {"INCRBYFLOAT f 2.0e2", "$4\r\n5200\r\n"},
             {"INCRBYFLOAT f x", "-ERR value is not a valid float\r\n"},
             {"INCRBYFLOAT f nan", "-ERR value is not a valid float\r\n"},
             {"INCRBYFLOAT f ' 1'", "-ERR value is not a valid float\r\n"},
             {"INCRBYFLOAT f 1e5000", "-ERR value is not a valid float\r\n"},
             {"INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity\r\n"}, {"SET f text", OK},
             {"INCRBYFLOAT f 1", "-ERR value is not a valid float\r\n"}, {"SET f -0", OK},
             {"INCRBYFLOAT f 0", "$1\r\n0\r\n"}, {"INCRBYFLOAT f 1e-30", "$1\r\n0\r\n"});
    cr_expect(begins_with(ask(0, "INCRBYFLOAT f 1e4932"), "$4933\r\n"));
    cr_expect(begins_with(ask(0, "INCRBYFLOAT f 1"), "$4933\r\n"), "and it can be read again");
}

Test(commands_strings, are_compared_by_their_common_subsequence)
{
    CONVERSE({"MSET a ohmytext b mynewtext", OK}, {"LCS a b", "$6\r\nmytext\r\n"}, {"LCS a b LEN", ":6\r\n"},
             {"LCS a b IDX", "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n*2\r\n*2\r\n:2\r\n"
                             ":3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n"},
             {"LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
              "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:6\r\n"},
             {"LCS a nothing", "$0\r\n\r\n"}, {"LCS nothing nothing LEN", ":0\r\n"},
             {"LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX.\r\n"},
             {"LCS a b MINMATCHLEN x", NO_INTEGER}, {"LCS a b NONSENSE", SYNTAX});
}

/* The table of two values of 20,000 bytes would take 1.6 GB. */
Test(commands_strings, are_not_compared_past_the_limit)
{
    CONVERSE({"SETRANGE a 20000 x", ":20001\r\n"}, {"SETRANGE b 20000 x", ":20001\r\n"},
             {"LCS a b LEN", "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n"});
}

Test(commands_strings, take_another_name_or_place)
{
    CONVERSE({"SET a 1 EX 9", OK}, {"RENAME a b", OK}, {"EXISTS a", ":0\r\n"}, {"TTL b", ":9\r\n"},
             {"RENAME a b", "-ERR no such key\r\n"}, {"RENAME b b", OK}, {"SET c 2", OK}, {"RENAMENX b c", ":0\r\n"},
             {"RENAMENX b d", ":1\r\n"}, {"RENAMENX d d", ":0\r\n"}, {"RENAME d c", OK}, {"GET c", "$1\r\n1\r\n"},
             {"COPY c e", ":1\r\n"}, {"COPY c e", ":0\r\n"}, {"COPY c e REPLACE", ":1\r\n"},
             {"COPY c c", "-ERR source and destination objects are the same\r\n"}, {"COPY c c DB 1", ":1\r\n"},
             {"COPY nothing x", ":0\r\n"}, {"COPY c x DB 16", "-ERR DB index is out of range\r\n"},
             {"MOVE e 1", ":1\r\n"}, {"MOVE c 1", ":0\r\n"}, {"MOVE nothing 1", ":0\r\n"},
             {"MOVE c 0", "-ERR source and destination objects are the same\r\n"}, {"DBSIZE", ":1\r\n"},
             {"SELECT 1", OK}, {"KEYS *", "*2\r\n$1\r\nc\r\n$1\r\ne\r\n"});
}

Test(commands_strings, tell_how_redis_would_keep_them)
{
    CONVERSE({"SET a 123", OK}, {"OBJECT ENCODING a", "$3\r\nint\r\n"}, {"SET a 12x", OK},
             {"OBJECT ENCODING a", "$6\r\nembstr\r\n"}, {"SETRANGE a 44 x", ":45\r\n"},
             {"OBJECT ENCODING a", "$3\r\nraw\r\n"}, {"OBJECT ENCODING nothing", NIL}, {"OBJECT REFCOUNT a", ":1\r\n"},
             {"OBJECT IDLETIME a", ":0\r\n"}, {"MEMORY USAGE nothing", NIL});
    cr_expect(begins_with(ask(0, "OBJECT FREQ a"), "-ERR An LFU maxmemory policy"));
    cr_expect_eq(ask(0, "MEMORY USAGE a")[0], ':');
}

static void
count_often(void *context, unsigned number)
{
    (void)context;
    for (int i = 0; i < 300; i++) {
        static const char *const lines[] = {"INCRBYFLOAT f 0.5\r\n", "INCR n\r\n", "APPEND s x\r\n", "DECRBY n -1\r\n"};
        char line[64];
        unsigned budget = 1;
        size_t consumed, size = strlen(lines[i % 4]);
        memcpy(line, lines[i % 4], size);
        (void)torcd_commands_feed(sessions[number], line, size, 0, &budget, &consumed);
        cr_assert_neq(sessions[number]->out.data[0], '-');
        torcd_buffer_truncate(&sessions[number]->out, 0);
    }
}

Test(commands_strings, lose_nothing_that_two_threads_add)
{
    torct_race(WORKERS, count_often, NULL);
    CONVERSE({"GET f", "$2\r\n75\r\n"}, {"GET n", "$3\r\n300\r\n"}, {"STRLEN s", ":150\r\n"});
}

/* SPDX-License-Identifier: MIT */
/* Commands, without sockets: requests are typed as inline lines into a session, and the raw reply is compared. */
#include "commands_testing.h"

#include <pthread.h>

#include "base/testing.h"

/* ---- Keys ----------------------------------------------------------------------------------------------------- */

TestSuite(commands_keys, .init = create, .fini = destroy, .timeout = 30);

Test(commands_keys, get_what_was_set)
{
    CONVERSE({"GET a", NIL}, {"SET a 1", OK}, {"get a", "$1\r\n1\r\n"}, {"SET a ''", OK}, {"GET a", "$0\r\n\r\n"},
             {"SET '' empty", OK}, {"GET ''", "$5\r\nempty\r\n"}, {"DBSIZE", ":2\r\n"},
             {"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
             {"GET a b", "-ERR wrong number of arguments for 'get' command\r\n"},
             {"SET a", "-ERR wrong number of arguments for 'set' command\r\n"});
}

Test(commands_keys, hold_any_bytes)
{
    static const char request[] = "*3\r\n$3\r\nSET\r\n$3\r\n\0\r\n\r\n$4\r\n\xff\0\r\n\r\n"
                                  "*2\r\n$3\r\nGET\r\n$3\r\n\0\r\n\r\n";

    (void)send_bytes(0, torc_slice(request, sizeof request - 1));
    cr_expect_eq(memcmp(reply, "+OK\r\n$4\r\n\xff\0\r\n\r\n", 15), 0);
}

Test(commands_keys, set_under_conditions)
{
    CONVERSE({"SET a 1 XX", NIL}, {"SET a 1 NX", OK}, {"SET a 2 NX", NIL}, {"GET a", "$1\r\n1\r\n"},
             {"SET a 3 xx", OK}, {"SET a 4 GET", "$1\r\n3\r\n"}, {"SET b 1 GET", NIL}, {"GET b", "$1\r\n1\r\n"},
             {"SET a 5 NX GET", "$1\r\n4\r\n"}, {"GET a", "$1\r\n4\r\n"}, {"SET c 1 XX GET", NIL},
             {"EXISTS c", ":0\r\n"}, {"SET d 1 NX GET", NIL}, {"GET d", "$1\r\n1\r\n"}, {"SET a 1 NX XX", SYNTAX},
             {"SET a 1 NONSENSE", SYNTAX}, {"SETNX a 1", ":0\r\n"}, {"SETNX e 1", ":1\r\n"},
             {"GETSET e 2", "$1\r\n1\r\n"}, {"GETSET f 1", NIL}, {"GETDEL f", "$1\r\n1\r\n"}, {"GETDEL f", NIL},
             {"DBSIZE", ":4\r\n"});
}

Test(commands_keys, many_at_once)
{
    CONVERSE({"MSET a 1 b 2 a 3", OK}, {"MGET a b nothing", "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$-1\r\n"},
             {"DBSIZE", ":2\r\n"}, {"MSET a", "-ERR wrong number of arguments for 'mset' command\r\n"},
             {"MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"}, {"MSETNX c 1 a 1", ":0\r\n"},
             {"EXISTS c", ":0\r\n"}, {"MSETNX c 1 d 1", ":1\r\n"}, {"EXISTS a b c d e a", ":5\r\n"},
             {"TOUCH a e", ":1\r\n"}, {"DEL a b e a", ":2\r\n"}, {"UNLINK c", ":1\r\n"}, {"DEL c", ":0\r\n"},
             {"DBSIZE", ":1\r\n"});
}

Test(commands_keys, have_length_and_type)
{
    CONVERSE({"STRLEN a", ":0\r\n"}, {"TYPE a", "+none\r\n"}, {"SET a hello", OK}, {"STRLEN a", ":5\r\n"},
             {"TYPE a", "+string\r\n"}, {"APPEND a ' world'", ":11\r\n"}, {"GET a", "$11\r\nhello world\r\n"},
             {"APPEND b x", ":1\r\n"}, {"SET e ''", OK}, {"STRLEN e", ":0\r\n"}, {"TYPE e", "+string\r\n"},
             {"EXISTS e", ":1\r\n"}, {"DBSIZE", ":3\r\n"});
}

Test(commands_keys, count)
{
    CONVERSE({"INCR n", ":1\r\n"}, {"INCRBY n 41", ":42\r\n"}, {"DECR n", ":41\r\n"}, {"DECRBY n 50", ":-9\r\n"},
             {"GET n", "$2\r\n-9\r\n"}, {"DECR m", ":-1\r\n"}, {"INCRBY n x", NO_INTEGER}, {"SET s text", OK},
             {"INCR s", NO_INTEGER}, {"GET s", "$4\r\ntext\r\n"}, {"SET big 9223372036854775807", OK},
             {"INCR big", "-ERR increment or decrement would overflow\r\n"},
             {"INCRBY big -1", ":9223372036854775806\r\n"}, {"INCRBY big 9223372036854775808", NO_INTEGER},
             {"DECRBY big -9223372036854775808", "-ERR decrement would overflow\r\n"}, {"SET pad ' 1'", OK},
             {"INCR pad", NO_INTEGER}, {"DBSIZE", ":5\r\n"});
}

Test(commands_keys, live_in_databases)
{
    CONVERSE({"SET a zero", OK}, {"SELECT 1", OK}, {"GET a", NIL}, {"SET a one", OK}, {"SET b one", OK},
             {"DBSIZE", ":2\r\n"}, {"SELECT 15", OK}, {"DBSIZE", ":0\r\n"}, {"KEYS *", "*0\r\n"},
             {"SELECT 16", "-ERR DB index is out of range\r\n"}, {"SELECT -1", "-ERR DB index is out of range\r\n"},
             {"SELECT x", NO_INTEGER}, {"SELECT 1", OK}, {"FLUSHDB", OK}, {"DBSIZE", ":0\r\n"}, {"SELECT 0", OK},
             {"GET a", "$4\r\nzero\r\n"}, {"SELECT 2", OK}, {"SET x y", OK}, {"FLUSHALL ASYNC", OK},
             {"DBSIZE", ":0\r\n"}, {"SELECT 0", OK}, {"GET a", NIL}, {"DBSIZE", ":0\r\n"},
             {"FLUSHALL SOMETIMES", SYNTAX});
}

/* A request `name` with a key of `size` bytes, and after it one argument unless that is NULL. */
static const char *
ask_with_key(const char *name, size_t size, const char *argument)
{
    struct torcd_buffer request = {0};
    char *key = malloc(size + 1);

    memset(key, 'k', size);
    torcd_resp_array(&request, argument == NULL ? 2 : 3);
    torcd_resp_bulk(&request, torc_slice_from_string(name));
    torcd_resp_bulk(&request, torc_slice(key, size));
    if (argument != NULL)
        torcd_resp_bulk(&request, torc_slice_from_string(argument));
    (void)send_bytes(0, torc_slice(request.data, request.size));
    torcd_buffer_fini(&request);
    free(key);
    return reply;
}

Test(commands_keys, may_have_the_greatest_size_and_not_one_byte_more)
{
    cr_expect_str_eq(ask_with_key("SET", 65534, "v"), OK);
    cr_expect_str_eq(ask_with_key("GET", 65534, NULL), "$1\r\nv\r\n");
    cr_expect_str_eq(ask(0, "DBSIZE"), ":1\r\n");
    cr_expect_str_eq(ask_with_key("SET", 65535, "v"), "-ERR key is too long: 65535 bytes, the greatest is 65534\r\n");
    cr_expect_eq(ask_with_key("GET", 65535, NULL)[0], '-');
    cr_expect_eq(ask_with_key("DEL", 65535, NULL)[0], '-');
    cr_expect_eq(ask_with_key("INCR", 100000, NULL)[0], '-');
    cr_expect_eq(ask_with_key("WATCH", 100000, NULL)[0], '-');
    cr_expect_eq(ask_with_key("MSET", 100000, "v")[0], '-');
    cr_expect_eq(ask_with_key("RANGE", 65535, "+")[0], '-');
    cr_expect_neq(ask_with_key("RANGE", 65534, "+")[0], '-');
    cr_expect_str_eq(ask(0, "DBSIZE"), ":1\r\n");
}

/* Values around the size that is fetched at the first attempt, and around changes of the header's length. */
Test(commands_keys, return_values_of_every_size)
{
    static const size_t sizes[] = {0, 1, 9, 10, 11, 99, 100, 999, 1000, 16383, 16384, 16385, 99999, 500000};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct torcd_buffer request = {0}, expected = {0};
        char *value = malloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++)
            value[j] = (char)('a' + (j + i) % 26);
        torcd_resp_array(&request, 3);
        torcd_resp_bulk(&request, torc_slice("SET", 3));
        torcd_resp_bulk(&request, torc_slice("v", 1));
        torcd_resp_bulk(&request, torc_slice(value, sizes[i]));
        torcd_resp_bulk(&expected, torc_slice(value, sizes[i]));
        torcd_buffer_append(&expected, "", 1);
        cr_expect_str_eq(send_bytes(0, torc_slice(request.data, request.size)), OK);
        cr_expect_str_eq(ask(0, "GET v"), expected.data);
        torcd_buffer_fini(&request);
        torcd_buffer_fini(&expected);
        free(value);
    }
}

static void
increment_often(void *context, unsigned number)
{
    (void)context;
    for (int i = 0; i < 500; i++) {
        unsigned budget = 1;
        size_t consumed;
        char line[] = "INCR shared\r\n";
        (void)torcd_commands_feed(sessions[number], line, sizeof line - 1, 0, &budget, &consumed);
        cr_assert_eq(sessions[number]->out.data[0], ':');
        torcd_buffer_truncate(&sessions[number]->out, 0);
    }
}

/* Two workers on two threads; none of their increments may be lost. */
Test(commands_keys, count_from_two_threads_without_loss)
{
    torct_race(WORKERS, increment_often, NULL);
    cr_expect_str_eq(ask(0, "GET shared"), "$4\r\n1000\r\n");
    cr_expect_str_eq(ask(1, "DBSIZE"), ":1\r\n");
}

/* ---- Walks ---------------------------------------------------------------------------------------------------- */

TestSuite(commands_scan, .init = create, .fini = destroy, .timeout = 30);

Test(commands_scan, lists_the_keys_that_match)
{
    CONVERSE({"MSET user:1 a user:2 b users c x d", OK}, {"KEYS user:*", "*2\r\n$6\r\nuser:1\r\n$6\r\nuser:2\r\n"},
             {"KEYS nothing*", "*0\r\n"}, {"KEYS x", "*1\r\n$1\r\nx\r\n"}, {"KEYS ?", "*1\r\n$1\r\nx\r\n"},
             {"KEYS *s", "*1\r\n$5\r\nusers\r\n"});
}

Test(commands_scan, ranges_over_keys_in_order)
{
    CONVERSE({"MSET b 2 a 1 d 4 c 3", OK},
             {"RANGE - +",
              "*8\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n$1\r\nd\r\n$1\r\n4\r\n"},
             {"RANGE b c", "*4\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n"},
             {"RANGE b c REV", "*4\r\n$1\r\nc\r\n$1\r\n3\r\n$1\r\nb\r\n$1\r\n2\r\n"},
             {"RANGE aa bb", "*2\r\n$1\r\nb\r\n$1\r\n2\r\n"},
             {"RANGE - + REV LIMIT 1", "*2\r\n$1\r\nd\r\n$1\r\n4\r\n"}, {"RANGE - + limit 0", "*0\r\n"},
             {"RANGE c b", "*0\r\n"}, {"RANGE - + LIMIT", SYNTAX}, {"RANGE - + LIMIT -1", NO_INTEGER},
             {"RANGE - + NONSENSE", SYNTAX}, {"SELECT 1", OK}, {"RANGE - +", "*0\r\n"}, {"SELECT 0", OK},
             {"HELLO 3 NONSENSE", "-ERR Syntax error in HELLO option 'NONSENSE'\r\n"});
    (void)ask(0, "HELLO 3");
    cr_expect_str_eq(ask(0, "RANGE a a"), "%1\r\n$1\r\na\r\n$1\r\n1\r\n");
}

Test(commands_scan, finds_the_greatest_keys_of_the_last_database)
{
    char key[65534];
    struct torcd_buffer request = {0};

    cr_expect_str_eq(ask(0, "SELECT 15"), OK);
    memset(key, 0xff, sizeof key);
    torcd_resp_array(&request, 3);
    torcd_resp_bulk(&request, torc_slice("SET", 3));
    torcd_resp_bulk(&request, torc_slice(key, sizeof key));
    torcd_resp_bulk(&request, torc_slice("v", 1));
    cr_expect_str_eq(send_bytes(0, torc_slice(request.data, request.size)), OK);
    torcd_buffer_truncate(&request, 0);
    torcd_resp_array(&request, 3);
    torcd_resp_bulk(&request, torc_slice("RANGE", 5));
    torcd_resp_bulk(&request, torc_slice(key, sizeof key));
    torcd_resp_bulk(&request, torc_slice(key, sizeof key));
    cr_expect(begins_with(send_bytes(0, torc_slice(request.data, request.size)), "*2\r\n$65534\r\n"));
    torcd_buffer_fini(&request);
}

/* Collect a whole SCAN; every key must come, and each once, for nothing is written meanwhile. */
static unsigned
scan_all(const char *options, char *seen, size_t keys)
{
    unsigned long long cursor = 0;
    unsigned steps = 0;

    memset(seen, 0, keys);
    do {
        char line[128], *at;
        (void)snprintf(line, sizeof line, "SCAN %llu %s", cursor, options);
        (void)ask(steps % SESSIONS, line);
        cr_assert_eq(sscanf(reply, "*2\r\n$%*d\r\n%llu", &cursor), 1, "%s", reply);
        at = strchr(strchr(reply + 4, '\n') + 1, '\n') + 1;
        while ((at = strstr(at, "key:")) != NULL) {
            unsigned number = (unsigned)strtoul(at + 4, &at, 10);
            cr_assert_lt(number, keys);
            seen[number]++;
        }
        steps++;
    } while (cursor != 0);
    return steps;
}

Test(commands_scan, goes_through_all_keys_in_steps_from_any_connection)
{
    char seen[100];

    for (int i = 0; i < 100; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "SET key:%d v", i);
        cr_assert_str_eq(ask(0, line), OK);
    }
    cr_expect_eq(scan_all("COUNT 7", seen, sizeof seen), 15u);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(seen[i], 1);
    (void)scan_all("MATCH key:1* COUNT 3", seen, sizeof seen);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(seen[i], i == 1 || (i >= 10 && i < 20));
    cr_expect_eq(scan_all("COUNT 1000 TYPE string", seen, sizeof seen), 1u);
    cr_expect_str_eq(ask(0, "SCAN 0 COUNT 1000 TYPE list"), "*2\r\n$1\r\n0\r\n*0\r\n");
}

Test(commands_scan, refuses_what_is_no_scan)
{
    CONVERSE({"SCAN x", "-ERR invalid cursor\r\n"}, {"SCAN -1", "-ERR invalid cursor\r\n"},
             {"SCAN 12345", "-ERR invalid cursor\r\n"}, {"SCAN 0 COUNT 0", SYNTAX}, {"SCAN 0 COUNT x", NO_INTEGER},
             {"SCAN 0 COUNT", SYNTAX}, {"SCAN 0 NONSENSE 1", SYNTAX}, {"SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n"});
}

/* ---- Transactions --------------------------------------------------------------------------------------------- */

TestSuite(commands_multi, .init = create, .fini = destroy, .timeout = 30);

Test(commands_multi, queues_and_executes)
{
    CONVERSE({"MULTI", OK}, {"SET a 1", QUEUED}, {"INCR a", QUEUED}, {"GET a", QUEUED}, {"DBSIZE", QUEUED},
             {"STRLEN a", QUEUED}, {"EXEC", "*5\r\n+OK\r\n:2\r\n$1\r\n2\r\n:1\r\n:1\r\n"}, {"GET a", "$1\r\n2\r\n"},
             {"DBSIZE", ":1\r\n"}, {"MULTI", OK}, {"EXEC", "*0\r\n"}, {"EXEC", "-ERR EXEC without MULTI\r\n"},
             {"DISCARD", "-ERR DISCARD without MULTI\r\n"}, {"MULTI", OK},
             {"MULTI", "-ERR MULTI calls can not be nested\r\n"}, {"SET a 9", QUEUED}, {"DISCARD", OK},
             {"GET a", "$1\r\n2\r\n"});
}

Test(commands_multi, is_discarded_after_a_refused_command)
{
    CONVERSE({"MULTI", OK}, {"SET a 1", QUEUED}, {"SET a", "-ERR wrong number of arguments for 'set' command\r\n"},
             {"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"}, {"GET a", NIL},
             {"MULTI", OK}, {"NONSENSE", "-ERR unknown command 'NONSENSE', with args beginning with: \r\n"},
             {"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"}, {"MULTI", OK},
             {"SHUTDOWN", "-ERR Command not allowed inside a transaction\r\n"},
             {"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"}, {"MULTI", OK},
             {"PING", QUEUED}, {"EXEC", "*1\r\n+PONG\r\n"});
}

Test(commands_multi, is_discarded_at_once_when_exec_is_refused)
{
    CONVERSE({"WATCH a", OK}, {"SET a 1", OK}, {"MULTI", OK}, {"SET a 2", QUEUED},
             {"EXEC now",
              "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n"},
             {"PING", "+PONG\r\n"}, {"EXEC", "-ERR EXEC without MULTI\r\n"}, {"GET a", "$1\r\n1\r\n"},
             {"MULTI", OK}, {"PING", QUEUED}, {"EXEC", "*1\r\n+PONG\r\n"},
             {"SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"},
             {"EXEC", "-EXECABORT Transaction discarded because of: Can't execute 'exec': only (P|S)SUBSCRIBE / "
                      "(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n"});
}

Test(commands_multi, goes_on_after_an_error_of_one_command)
{
    CONVERSE({"SET s text", OK}, {"MULTI", OK}, {"SET a 1", QUEUED}, {"INCR s", QUEUED}, {"SET b 2", QUEUED},
             {"EXEC", "*3\r\n+OK\r\n" NO_INTEGER "+OK\r\n"}, {"MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n"});
}

Test(commands_multi, runs_every_kind_of_command)
{
    CONVERSE({"MSET a 1 b 2", OK}, {"MULTI", OK}, {"SELECT 1", QUEUED}, {"MSET x 1 y 2", QUEUED}, {"KEYS *", QUEUED},
             {"DEL x nothing", QUEUED}, {"SELECT 0", QUEUED}, {"EXISTS a b c", QUEUED}, {"SET a 5 NX GET", QUEUED},
             {"MGET a c", QUEUED}, {"RANGE a a", QUEUED}, {"UNWATCH", QUEUED},
             {"EXEC",
              "*10\r\n+OK\r\n+OK\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n:1\r\n+OK\r\n:2\r\n$1\r\n1\r\n*2\r\n$1\r\n1\r\n"
              "$-1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n+OK\r\n"}, {"MULTI", OK}, {"FLUSHALL", QUEUED}, {"DBSIZE", QUEUED},
             {"SET n 1", QUEUED}, {"DBSIZE", QUEUED}, {"EXEC", "*4\r\n+OK\r\n:0\r\n+OK\r\n:1\r\n"},
             {"DBSIZE", ":1\r\n"}, {"SELECT 1", OK}, {"DBSIZE", ":0\r\n"});
}

Test(commands_multi, is_refused_when_its_queue_grows_too_long)
{
    char line[4000];

    cr_expect_str_eq(ask(0, "CONFIG SET client-query-buffer-limit 64kb"), OK);
    memset(line, 'v', sizeof line);
    memcpy(line, "SET k ", 6);
    line[sizeof line - 1] = '\0';
    (void)ask(0, "MULTI");
    for (int i = 0; i < 16; i++)
        cr_expect_str_eq(ask(0, line), QUEUED);
    cr_expect(begins_with(ask(0, line), "-ERR the commands queued"));
    cr_expect(begins_with(ask(0, "EXEC"), "-EXECABORT"));
    cr_expect_str_eq(ask(0, "GET k"), NIL);
}

TestSuite(commands_watch, .init = create, .fini = destroy, .timeout = 30);

/* WATCH `watched`, let another client do `between`, EXEC `queued`: whether EXEC went through. */
static bool
goes_through(const char *watched, const char *between, const char *queued)
{
    char line[256];

    (void)snprintf(line, sizeof line, "WATCH %s", watched);
    cr_assert_str_eq(ask(0, line), OK);
    if (between != NULL)
        cr_assert_neq(ask(1, between)[0], '-');
    cr_assert_str_eq(ask(0, "MULTI"), OK);
    cr_assert_str_eq(ask(0, queued), QUEUED);
    return strcmp(ask(0, "EXEC"), "*-1\r\n") != 0;
}

Test(commands_watch, lets_exec_fail_when_a_watched_key_changed)
{
    (void)ask(1, "MSET a 1 b 1");
    cr_expect_not(goes_through("a", "SET a 2", "SET b 2"));
    cr_expect_not(goes_through("a", "SET a 2", "GET b"), "also when EXEC only reads");
    cr_expect_not(goes_through("a", "SET a 2", "PING"), "also when EXEC touches no key");
    cr_expect_not(goes_through("a", "DEL a", "SET b 2"));
    cr_expect_not(goes_through("a", "SET a 1", "SET b 2"), "it was absent and came");
    cr_expect_not(goes_through("b a", "SET a 1", "SET b 2"));
    cr_expect_not(goes_through("a", "FLUSHALL", "SET b 2"));
}

Test(commands_watch, sees_a_value_that_was_written_again)
{
    (void)ask(1, "SET a same");
    cr_expect_not(goes_through("a", "SET a same", "PING"));
    (void)ask(1, "SET a ''");
    cr_expect_not(goes_through("a", "SET a ''", "PING"));
}

Test(commands_watch, lets_exec_through_when_only_others_changed)
{
    (void)ask(1, "MSET a 1 b 1");
    cr_expect(goes_through("a", NULL, "INCR a"));
    cr_expect_str_eq(ask(0, "GET a"), "$1\r\n2\r\n");
    cr_expect(goes_through("a", "SET b 2", "INCR b"));
    cr_expect_str_eq(ask(0, "GET b"), "$1\r\n3\r\n", "EXEC sees the newest value of what is not watched");
    cr_expect(goes_through("absent", "SET b 2", "SET absent 1"));
    cr_expect(goes_through("a", "DEL absent", "SET c 1"));
    cr_expect(goes_through("a", "SELECT 1", "PING"));
}

Test(commands_watch, fails_after_the_clients_own_change)
{
    CONVERSE({"SET a 1", OK}, {"WATCH a", OK}, {"SET a 2", OK}, {"GET a", "$1\r\n2\r\n"}, {"MULTI", OK},
             {"SET a 3", QUEUED}, {"EXEC", "*-1\r\n"}, {"GET a", "$1\r\n2\r\n"}, {"MULTI", OK}, {"SET a 3", QUEUED},
             {"EXEC", "*1\r\n+OK\r\n"});
}

Test(commands_watch, reads_the_newest_value_before_exec)
{
    (void)ask(1, "SET a 1");
    cr_expect_str_eq(ask(0, "WATCH a"), OK);
    (void)ask(1, "SET a 2");
    cr_expect_str_eq(ask(0, "GET a"), "$1\r\n2\r\n");
    cr_expect_str_eq(ask(0, "UNWATCH"), OK);
}

Test(commands_watch, begins_with_each_watch_command)
{
    (void)ask(1, "MSET a 1 b 1");
    cr_expect_str_eq(ask(0, "WATCH a"), OK);
    (void)ask(1, "SET b 2");
    cr_expect(goes_through("b", NULL, "PING"), "the change came before WATCH b");
}

Test(commands_watch, ends_with_unwatch_discard_exec_and_reset)
{
    static const char *const ends[] = {"UNWATCH", "RESET"};
    struct torc_mvcc_stats stats;

    for (size_t i = 0; i < 2; i++) {
        (void)ask(0, "WATCH a b c");
        (void)ask(0, ends[i]);
        cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
        cr_expect_eq(stats.open_transactions, 0u, "%s", ends[i]);
    }
    CONVERSE({"WATCH a", OK}, {"MULTI", OK}, {"WATCH b", "-ERR WATCH inside MULTI is not allowed\r\n"},
             {"DISCARD", OK});
    CONVERSE({"WATCH a", OK}, {"SET a 1", OK}, {"UNWATCH", OK}, {"MULTI", OK}, {"PING", QUEUED},
             {"EXEC", "*1\r\n+PONG\r\n"});
    cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
    cr_expect_eq(stats.open_transactions, 0u);
}

Test(commands_watch, bounds_its_snapshots)
{
    struct torc_mvcc_stats stats;

    (void)ask(1, "SET a 1");
    for (int i = 0; i < 100; i++)
        cr_assert_str_eq(ask(0, "WATCH a"), OK);
    cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
    cr_expect_leq(stats.open_transactions, TORCD_WATCH_SNAPSHOTS);
    cr_expect(goes_through("a", NULL, "PING"));
}

Test(commands_watch, answers_nil_when_it_was_expired)
{
    struct torc_mvcc_stats stats;

    (void)ask(0, "WATCH a");
    torcd_session_expire_watch(sessions[0]);
    cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
    cr_expect_eq(stats.open_transactions, 0u);
    CONVERSE({"MULTI", OK}, {"PING", QUEUED}, {"EXEC", "*-1\r\n"}, {"MULTI", OK}, {"PING", QUEUED},
             {"EXEC", "*1\r\n+PONG\r\n"});
}

Test(commands_watch, leaves_nothing_behind_when_the_client_goes)
{
    (void)ask(0, "WATCH a");
    (void)ask(0, "MULTI");
    (void)ask(0, "SET a 1");
}

/* Two threads move money with MULTI; a third look, MGET, must never see half a move. */
static void
move_often(void *context, unsigned number)
{
    (void)context;
    for (int i = 0; i < 300; i++) {
        char lines[] = "MULTI\r\nDECRBY left 1\r\nINCRBY right 1\r\nMGET left right\r\nEXEC\r\n";
        unsigned budget = 10;
        size_t consumed;
        long left, right;
        (void)torcd_commands_feed(sessions[number], lines, sizeof lines - 1, 0, &budget, &consumed);
        torcd_buffer_append(&sessions[number]->out, "", 1);
        cr_assert_eq(sscanf(strstr(sessions[number]->out.data, "*2\r\n"), "*2\r\n$%*d\r\n%ld\r\n$%*d\r\n%ld", &left,
                            &right), 2);
        cr_assert_eq(left + right, 0);
        torcd_buffer_truncate(&sessions[number]->out, 0);
    }
}

Test(commands_multi, is_atomic_and_never_fails)
{
    torct_race(WORKERS, move_often, NULL);
    cr_expect_str_eq(ask(0, "MGET left right"), "*2\r\n$4\r\n-600\r\n$3\r\n600\r\n");
    cr_expect_str_eq(ask(0, "DBSIZE"), ":2\r\n");
}

/* ---- Connection and server ------------------------------------------------------------------------------------ */

TestSuite(commands_server, .init = create, .fini = destroy, .timeout = 30);

Test(commands_server, answer_pings_and_echoes)
{
    CONVERSE({"PING", "+PONG\r\n"}, {"ping hello", "$5\r\nhello\r\n"},
             {"PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"}, {"ECHO hi", "$2\r\nhi\r\n"},
             {"nonsense a b", "-ERR unknown command 'nonsense', with args beginning with: 'a' 'b' \r\n"},
             {"AUTH default x", OK},
             {"AUTH someone x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
             {"AUTH x",
              "-ERR AUTH <password> called without any password configured for the default user. Are you sure "
              "your configuration is correct?\r\n"});
}

Test(commands_server, speak_both_protocols)
{
    cr_expect(begins_with(ask(0, "HELLO"), "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n"));
    cr_expect(begins_with(ask(0, "HELLO 3 SETNAME me"), "%7\r\n"));
    cr_expect(begins_with(ask(0, "HELLO 3 AUTH default x SETNAME me"), "%7\r\n"));
    CONVERSE({"GET nothing", "_\r\n"}, {"CLIENT GETNAME", "$2\r\nme\r\n"},
             {"HELLO 4", "-NOPROTO unsupported protocol version\r\n"},
             {"HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"}, {"RESET", "+RESET\r\n"},
             {"GET nothing", NIL}, {"CLIENT GETNAME", NIL});
}

Test(commands_server, end_connections)
{
    cr_expect_str_eq(ask(0, "QUIT"), OK);
    cr_expect(sessions[0]->closing);
    cr_expect_str_eq(ask(1, "SHUTDOWN NOSAVE save"), SYNTAX);
    cr_expect_str_eq(ask(1, "SHUTDOWN ABORT"), "-ERR No shutdown in progress.\r\n");
    cr_expect_eq(shut_downs, 0u);
    cr_expect_str_eq(ask(1, "SHUTDOWN NOSAVE"), "");
    cr_expect(sessions[1]->closing);
    cr_expect_eq(shut_downs, 1u);
    cr_expect_str_eq(ask(2, "SHUTDOWN SOMETIMES"), SYNTAX);
    cr_expect_str_eq(ask(2, "*1\r\n$x"), "-ERR Protocol error: invalid bulk length\r\n");
    cr_expect(sessions[2]->closing);
    cr_expect_str_eq(ask(2, "PING"), "", "nothing is read after the end");
}

Test(commands_server, do_not_listen_to_web_pages)
{
    cr_expect_str_eq(ask(0, "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1"), "");
    cr_expect(sessions[0]->closing);
    cr_expect(begins_with(ask(1, "GET / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1"), "-ERR wrong number"));
    cr_expect(sessions[1]->closing);
    cr_expect_str_eq(ask(2, "EXISTS a"), ":0\r\n");
}

Test(commands_server, know_their_clients)
{
    char line[64];

    CONVERSE({"CLIENT SETNAME first", OK}, {"CLIENT GETNAME", "$5\r\nfirst\r\n"},
             {"CLIENT SETNAME 'a b'", "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"},
             {"CLIENT SETINFO lib-name x", OK}, {"CLIENT NO-EVICT on", OK},
             {"CLIENT NONSENSE", "-ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP.\r\n"},
             {"CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command\r\n"});
    (void)ask(0, "CLIENT LIST");
    cr_expect_not_null(strstr(reply, "name=first"));
    cr_expect_not_null(strstr(reply, "cmd=client"));
    cr_expect_not_null(strstr(reply, "thread=1"));
    (void)snprintf(line, sizeof line, "CLIENT LIST ID %d", (int)sessions[1]->id);
    cr_expect_null(strstr(ask(0, line), "name=first"));
    (void)snprintf(line, sizeof line, "CLIENT KILL ID %d", (int)sessions[1]->id);
    cr_expect_str_eq(ask(0, line), ":1\r\n");
    cr_expect_eq(wakes, 1u);
    cr_expect(atomic_load_explicit(&sessions[1]->seen.killed, memory_order_relaxed));
    cr_expect_str_eq(ask(0, "CLIENT KILL 1.2.3.4:5"), "-ERR No such client\r\n");
    cr_expect_str_eq(ask(0, "CLIENT KILL ID x"), "-ERR client-id should be greater than 0\r\n");
}

Test(commands_server, can_be_configured)
{
    CONVERSE({"CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"},
             {"CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"},
             {"CONFIG GET databases maxmemory",
              "*4\r\n$9\r\ndatabases\r\n$2\r\n16\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"},
             {"CONFIG GET nothing", "*0\r\n"}, {"CONFIG SET maxclients 17 timeout 5", OK},
             {"CONFIG GET timeout maxclients", "*4\r\n$10\r\nmaxclients\r\n$2\r\n17\r\n$7\r\ntimeout\r\n$1\r\n5\r\n"},
             {"CONFIG SET maxclients 18 port 5",
              "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config\r\n"},
             {"CONFIG GET maxclients", "*2\r\n$10\r\nmaxclients\r\n$2\r\n17\r\n"}, {"CONFIG SET save ''", OK},
             {"CONFIG SET appendonly yes",
              "-ERR Unknown option or number of arguments for CONFIG SET - 'appendonly'\r\n"},
             {"CONFIG SET maxclients x",
              "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument is not a number "
              "within its bounds\r\n"},
             {"CONFIG SET maxclients", "-ERR wrong number of arguments for 'config|set' command\r\n"},
             {"CONFIG SET timeout 6 TimeOut 6",
              "-ERR CONFIG SET failed (possibly related to argument 'TimeOut') - duplicate parameter\r\n"},
             {"CONFIG GET timeout", "*2\r\n$7\r\ntimeout\r\n$1\r\n5\r\n"}, {"CONFIG RESETSTAT", OK});
}

Test(commands_server, describe_their_commands)
{
    size_t entries, count = 0;
    char expected[64];
    const struct torcd_command *commands = torcd_commands(&entries);

    for (size_t i = 0; i < entries; i++)
        count += strchr(commands[i].name, '|') == NULL;
    (void)snprintf(expected, sizeof expected, ":%zu\r\n", count);
    cr_expect_str_eq(ask(0, "COMMAND COUNT"), expected);
    cr_expect(begins_with(ask(0, "COMMAND INFO get nothing"),
                          "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n"), "%s", reply);
    cr_expect(begins_with(ask(0, "COMMAND DOCS get"), "*2\r\n$3\r\nget\r\n*8\r\n"));
    cr_expect_neq(ask(0, "COMMAND")[0], '-');
    cr_expect_neq(ask(0, "COMMAND DOCS")[0], '-');
    cr_expect_neq(ask(0, "COMMAND LIST")[0], '-');
}

Test(commands_server, tell_how_they_stand)
{
    (void)ask(0, "SET a 1");
    (void)ask(0, "GET a");
    (void)ask(0, "GET b");
    (void)ask(0, "INFO");
    cr_expect_not_null(strstr(reply, "redis_version:"));
    cr_expect_not_null(strstr(reply, "db0:keys=1,"));
    cr_expect_not_null(strstr(reply, "keyspace_hits:1\r\nkeyspace_misses:1\r\n"));
    cr_expect_not_null(strstr(ask(0, "INFO commandstats"), "cmdstat_get:calls=2,"));
    cr_expect_str_eq(ask(0, "INFO nonsense"), "$0\r\n\r\n");
    (void)ask(0, "CONFIG RESETSTAT");
    cr_expect_not_null(strstr(ask(0, "INFO stats"), "keyspace_hits:0\r\n"));
}

Test(commands_server, find_every_command_by_its_name_in_any_case)
{
    size_t count;
    const struct torcd_command *commands = torcd_commands(&count);

    for (size_t i = 0; i < count; i++) {
        char name[32];
        size_t size = strlen(commands[i].name);
        if (strchr(commands[i].name, '|') != NULL)
            continue;
        for (size_t j = 0; j < size; j++)
            name[j] = (char)(j % 2 == 0 ? commands[i].name[j] & ~0x20 : commands[i].name[j]);
        cr_expect_eq(torcd_commands_find(server, torc_slice(name, size)), &commands[i]);
    }
    cr_expect_null(torcd_commands_find(server, torc_slice("", 0)));
    cr_expect_null(torcd_commands_find(server, torc_slice_from_string("averyveryverylongcommandname")));
}

/* ---- Limits --------------------------------------------------------------------------------------------------- */

TestSuite(commands_limits, .init = create, .fini = destroy, .timeout = 60);

Test(commands_limits, interrupt_a_pipeline_for_others)
{
    struct torcd_buffer lines = {0};
    unsigned budget = 5;
    size_t consumed;

    for (int i = 0; i < 8; i++)
        torcd_buffer_append(&lines, "PING\r\n", 6);
    cr_expect_eq(torcd_commands_feed(sessions[0], lines.data, lines.size, 0, &budget, &consumed), TORCD_FEED_CUT);
    cr_expect_eq(consumed, 30u);
    cr_expect_eq(sessions[0]->out.size, 5 * strlen("+PONG\r\n"));
    budget = 5;
    cr_expect_eq(torcd_commands_feed(sessions[0], lines.data + 30, 18, 0, &budget, &consumed), TORCD_FEED_MORE);
    cr_expect_eq(consumed, 18u);
    torcd_buffer_fini(&lines);
}

Test(commands_limits, hold_back_a_client_that_does_not_read)
{
    char line[] = "PING\r\n";
    unsigned budget = 5;
    size_t consumed, mark = torcd_commands_output_mark(sessions[0]);

    cr_expect_eq(torcd_commands_feed(sessions[0], line, 6, mark + 1, &budget, &consumed), TORCD_FEED_CUT);
    cr_expect_eq(consumed, 0u);
    cr_expect_eq(torcd_commands_feed(sessions[0], line, 6, mark - 100, &budget, &consumed), TORCD_FEED_MORE);
    cr_expect_eq(consumed, 6u);
}

Test(commands_limits, replace_a_reply_that_grows_too_long)
{
    char line[4000];

    memset(line, 'v', sizeof line);
    memcpy(line, "SET a ", 6);
    line[sizeof line - 1] = '\0';
    for (int i = 0; i < 30; i++) {
        line[4] = (char)('a' + i);
        cr_assert_str_eq(ask(0, line), OK);
    }
    cr_expect_str_eq(ask(0, "CONFIG SET output-buffer-limit 64kb"), OK);
    cr_expect_str_eq(ask(0, "RANGE - +"), "-ERR the reply would exceed output-buffer-limit\r\n");
    cr_expect_str_eq(ask(0, "PING"), "+PONG\r\n", "the connection goes on");
    (void)ask(0, "MULTI");
    (void)ask(0, "DEL a");
    (void)ask(0, "RANGE - +");
    cr_expect_str_eq(ask(0, "EXEC"), "-ERR the reply would exceed output-buffer-limit\r\n");
    cr_expect_str_eq(ask(0, "EXISTS a"), ":1\r\n", "a reply that cannot be told undoes its transaction");
}

Test(commands_limits, end_a_request_that_is_announced_too_long)
{
    cr_expect_str_eq(ask(0, "CONFIG SET client-query-buffer-limit 64kb"), OK);
    cr_expect_str_eq(ask(0, "*2\r\n$3\r\nGET\r\n$70000"), "-ERR the request exceeds client-query-buffer-limit\r\n");
    cr_expect(sessions[0]->closing);
    cr_expect_str_eq(ask(1, "CONFIG SET max-arguments 16 max-inline 64"), OK);
    cr_expect_str_eq(ask(1, "*17\r\n"), "-ERR Protocol error: invalid multibulk length\r\n");
    cr_expect_str_eq(ask(2, "GET xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
                     "-ERR Protocol error: too big inline request\r\n");
}

/* Any nth failing allocation of the server: an error or a closed connection, nothing half done, nothing lost. */
#ifdef TORC_FAULTS
Test(commands_limits, survive_the_failure_of_each_allocation)
{
    for (unsigned long nth = 1; nth < 60; nth++) {
        char lines[] = "SET a 1\r\nMSET b 2 c 3\r\nAPPEND a 2\r\nSCAN 0 COUNT 1\r\nWATCH a b\r\nMULTI\r\n"
                       "INCR n\r\nEXEC\r\nKEYS *\r\nINFO\r\nCLIENT LIST\r\nSET a 1\r\nDEL n\r\n";
        struct torcd_session *session = torcd_session_create(server->workers[0], "?");
        unsigned budget = 100;
        size_t consumed;

        cr_assert_not_null(session);
        torcd_memory_fail_at(nth);
        (void)torcd_commands_feed(session, lines, sizeof lines - 1, 0, &budget, &consumed);
        torcd_memory_fail_at(0);
        torcd_session_destroy(session);
        cr_expect_neq(ask(1, "DBSIZE")[0], '-');
    }
}
#endif

Test(commands_full, refuses_writes_and_still_deletes, .timeout = 120)
{
    char line[2100];
    int written = 0;

    open_server(4 << 20);
    memset(line, 'v', sizeof line);
    line[sizeof line - 1] = '\0';
    do {
        int size = snprintf(line, 20, "SET key:%06d", written);
        line[size] = ' ';
        (void)ask(0, line);
        written++;
        cr_assert_lt(written, 100000);
    } while (strcmp(reply, OK) == 0);
    cr_expect_str_eq(reply, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    cr_expect_gt(written, 100);
    cr_expect_str_eq(ask(0, "GET nothing"), NIL);
    cr_expect_str_eq(ask(0, "DEL key:000001"), ":1\r\n");
    destroy();
}

/* A thread beside the server's, which replaces a value when it is told to. */
static pthread_barrier_t turn;
static bool wanted;

static void *
replace_when_told(void *context)
{
    struct torc_slice key = torc_slice_from_string("elsewhere");

    (void)context;
    for (;;) {
        (void)pthread_barrier_wait(&turn);
        if (!wanted)
            return NULL;
        while (torc_mvcc_put(store, key, key, NULL) == TORC_BUSY)
            cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
        (void)pthread_barrier_wait(&turn);
    }
}

/* Let it replace until it holds back something that only it can free. */
static void
let_it_hold_back_memory(void)
{
    struct torc_mvcc_stats stats = {.retired_bytes = 0};

    wanted = true;
    for (unsigned i = 0; stats.retired_bytes <= 1; i++) {
        cr_assert_lt(i, 100u);
        (void)pthread_barrier_wait(&turn);
        (void)pthread_barrier_wait(&turn);
        cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
        cr_assert_eq(torc_mvcc_stats(store, &stats), TORC_OK);
    }
}

Test(commands_full, does_not_blame_maxmemory_for_what_waits_to_be_freed, .timeout = 120)
{
    pthread_t thread;
    unsigned written = 0;

    open_server_with(0, 1);
    cr_assert_eq(pthread_barrier_init(&turn, NULL, 2), 0);
    cr_assert_eq(pthread_create(&thread, NULL, replace_when_told, NULL), 0);
    let_it_hold_back_memory();
    while (strcmp(ask(0, "SET a 1"), OK) == 0)
        cr_assert_lt(++written, 10000u);
    cr_expect_str_eq(reply, "-TRYAGAIN memory that was freed is not back yet; nothing was written\r\n");
    cr_expect(begins_with(ask(0, "INCRBY b 1"), "-TRYAGAIN memory "));
    cr_expect_str_eq(ask(0, "EXISTS b"), ":0\r\n");
    wanted = false;
    (void)pthread_barrier_wait(&turn);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_str_eq(ask(0, "SET a 1"), OK);
    destroy();
}

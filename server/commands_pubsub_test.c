/* SPDX-License-Identifier: MIT */
/* What reaches a client that did not ask: messages, events, MONITOR; and who may ask: AUTH. */
#include "commands_testing.h"

#include <pthread.h>

#include "base/testing.h"

TestSuite(commands_pubsub, .init = create, .fini = destroy, .timeout = 30);

#define MESSAGE(channel, text) "*3\r\n$7\r\nmessage\r\n" channel text
#define A "$1\r\na\r\n"

Test(commands_pubsub, reach_subscribers_on_every_thread)
{
    cr_expect_str_eq(ask(0, "SUBSCRIBE a"), "*3\r\n$9\r\nsubscribe\r\n" A ":1\r\n");
    cr_expect_str_eq(ask(1, "SUBSCRIBE a a b"), "*3\r\n$9\r\nsubscribe\r\n" A ":1\r\n*3\r\n$9\r\nsubscribe\r\n" A
                                                ":1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
    cr_expect_str_eq(ask(2, "PUBLISH a hello"), ":2\r\n");
    cr_expect_str_eq(ask(2, "PUBLISH b ''"), ":1\r\n");
    cr_expect_str_eq(ask(2, "PUBLISH c x"), ":0\r\n");
    cr_expect_str_eq(hear(0), MESSAGE(A, "$5\r\nhello\r\n"));
    cr_expect_str_eq(hear(1), MESSAGE(A, "$5\r\nhello\r\n") MESSAGE("$1\r\nb\r\n", "$0\r\n\r\n"));
    cr_expect_str_eq(hear(2), "");
    cr_expect_str_eq(ask(2, "PUBSUB NUMSUB a b c"), "*6\r\n" A ":2\r\n$1\r\nb\r\n:1\r\n$1\r\nc\r\n:0\r\n");
    cr_expect_str_eq(ask(2, "PUBSUB CHANNELS b*"), "*1\r\n$1\r\nb\r\n");
    cr_expect_str_eq(ask(0, "UNSUBSCRIBE a"), "*3\r\n$11\r\nunsubscribe\r\n" A ":0\r\n");
    cr_expect_str_eq(ask(2, "PUBLISH a more"), ":1\r\n");
    cr_expect_str_eq(hear(0), "");
}

Test(commands_pubsub, reach_those_who_listen_to_patterns)
{
    (void)ask(0, "PSUBSCRIBE a* *b [");
    cr_expect_str_eq(ask(1, "PUBLISH ab 1"), ":2\r\n");
    cr_expect(begins_with(hear(0), "*4\r\n$8\r\npmessage\r\n"));
    cr_expect_not_null(strstr(reply + 1, "*4\r\n$8\r\npmessage\r\n"), "once for each pattern");
    cr_expect_str_eq(ask(1, "PUBSUB NUMPAT"), ":3\r\n");
    (void)ask(0, "PUNSUBSCRIBE");
    cr_expect_str_eq(ask(1, "PUBSUB NUMPAT"), ":0\r\n");
    cr_expect_str_eq(ask(1, "PUBLISH ab 1"), ":0\r\n");
}

Test(commands_pubsub, are_pushes_in_resp3_and_leave_the_client_free)
{
    (void)ask(0, "HELLO 3");
    cr_expect_str_eq(ask(0, "SUBSCRIBE a"), ">3\r\n$9\r\nsubscribe\r\n" A ":1\r\n");
    cr_expect_str_eq(ask(0, "SET k v"), OK);
    cr_expect_str_eq(ask(0, "PUBLISH a x"), ":1\r\n", "the message comes behind the reply");
    cr_expect_str_eq(hear(0), ">3\r\n$7\r\nmessage\r\n" A "$1\r\nx\r\n");
    cr_expect_str_eq(ask(0, "UNSUBSCRIBE"), ">3\r\n$11\r\nunsubscribe\r\n" A ":0\r\n");
    cr_expect_str_eq(ask(0, "UNSUBSCRIBE"), ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n");
}

Test(commands_pubsub, restrict_a_subscriber_in_resp2)
{
    (void)ask(0, "SUBSCRIBE a");
    CONVERSE({"GET a", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                       "allowed in this context\r\n"},
             {"PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n"}, {"PING hi", "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n"},
             {"RESET", "+RESET\r\n"}, {"PING", "+PONG\r\n"});
    cr_expect_str_eq(ask(1, "PUBLISH a x"), ":0\r\n", "RESET ends subscriptions");
}

Test(commands_pubsub, happen_when_exec_has_happened_and_not_before)
{
    (void)ask(1, "SUBSCRIBE a");
    CONVERSE({"MULTI", OK}, {"PUBLISH a one", QUEUED}, {"PUBLISH a two", QUEUED});
    cr_expect_str_eq(hear(1), "");
    cr_expect_str_eq(ask(0, "EXEC"), "*2\r\n:1\r\n:1\r\n");
    cr_expect_str_eq(hear(1), MESSAGE(A, "$3\r\none\r\n") MESSAGE(A, "$3\r\ntwo\r\n"));
    CONVERSE({"WATCH k", OK}, {"SET k 1", OK}, {"MULTI", OK}, {"PUBLISH a three", QUEUED}, {"EXEC", "*-1\r\n"});
    cr_expect_str_eq(hear(1), "");
}

Test(commands_pubsub, have_shard_channels_of_their_own)
{
    CONVERSE({"MULTI", OK}, {"SSUBSCRIBE a", QUEUED},
             {"EXEC", "*1\r\n-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n"}, {"GET a", NIL});
    cr_expect_str_eq(ask(0, "SSUBSCRIBE a"), "*3\r\n$10\r\nssubscribe\r\n" A ":1\r\n");
    cr_expect_str_eq(ask(1, "PUBLISH a x"), ":0\r\n");
    cr_expect_str_eq(ask(1, "SPUBLISH a x"), ":1\r\n");
    cr_expect_str_eq(hear(0), "*3\r\n$8\r\nsmessage\r\n" A "$1\r\nx\r\n");
    cr_expect_str_eq(ask(1, "PUBSUB SHARDCHANNELS"), "*1\r\n" A);
    cr_expect_str_eq(ask(1, "PUBSUB SHARDNUMSUB a"), "*2\r\n" A ":1\r\n");
}

Test(commands_pubsub, come_to_nobody_who_subscribed_after_them)
{
    (void)ask(0, "SUBSCRIBE a");
    (void)ask(1, "PUBLISH a early");
    (void)ask(2, "SUBSCRIBE a");            /* The message waits in the mailbox of its worker. */
    cr_expect_str_eq(hear(2), "");
    cr_expect_str_eq(hear(0), MESSAGE(A, "$5\r\nearly\r\n"));
}

Test(commands_pubsub, are_bounded_by_the_query_buffer_limit)
{
    char line[3000];

    cr_expect_str_eq(ask(1, "CONFIG SET client-query-buffer-limit 64kb"), OK);
    for (int i = 0; i < 100; i++) {
        int size = snprintf(line, sizeof line, "SUBSCRIBE %04d", i);
        memset(line + size, 'c', sizeof line - (size_t)size - 1);
        line[sizeof line - 1] = '\0';
        if (ask(0, line)[0] == '-')
            break;
        cr_assert_lt(i, 30);
    }
    cr_expect_str_eq(reply, "-ERR the subscriptions exceed client-query-buffer-limit\r\n");
}

Test(commands_pubsub, end_a_subscriber_that_does_not_read)
{
    char line[4000];

    (void)ask(0, "SUBSCRIBE a");
    cr_expect_str_eq(ask(1, "CONFIG SET push-buffer-limit 64kb"), OK);
    memcpy(line, "PUBLISH a ", 10);
    memset(line + 10, 'x', sizeof line - 11);
    line[sizeof line - 1] = '\0';
    for (int i = 0; i < 20; i++)
        cr_expect_str_eq(ask(1, line), ":1\r\n");
    for (unsigned i = 0; i < WORKERS; i++)
        (void)torcd_worker_run_messages(server->workers[i]);
    cr_expect(sessions[0]->doomed);
}

/* Relaxed: this thread has posted it all. */
static unsigned
count_mail(const struct torcd_worker *worker)
{
    const struct torcd_message *message = atomic_load_explicit(&worker->mailbox.newest, memory_order_relaxed);
    unsigned count = 0;

    for (; message != NULL; message = message->next)
        count++;
    return count;
}

Test(commands_pubsub, do_not_pile_up_for_a_thread_that_is_busy)
{
    char line[4000];

    (void)ask(0, "SUBSCRIBE a");
    cr_expect_str_eq(ask(1, "CONFIG SET push-buffer-limit 64kb"), OK);
    memcpy(line, "PUBLISH a ", 10);
    memset(line + 10, 'x', sizeof line - 11);
    line[sizeof line - 1] = '\0';
    for (int i = 0; i < 200; i++)
        cr_expect_str_eq(ask(1, line), ":1\r\n");
    cr_expect_geq(count_mail(server->workers[0]), 30u, "nobody is closed for what others may wait for");
    cr_expect_leq(count_mail(server->workers[0]), 36u);
    (void)torcd_worker_run_messages(server->workers[0]);
    cr_expect(sessions[0]->doomed);
    torcd_session_destroy(sessions[0]);
    sessions[0] = torcd_session_create(server->workers[0], "next");
    (void)ask(0, "SUBSCRIBE a");
    cr_expect_str_eq(ask(1, "PUBLISH a x"), ":1\r\n");
    cr_expect_str_eq(hear(0), MESSAGE(A, "$1\r\nx\r\n"), "who comes later hears all");
}

static void
publish_often(void *context, unsigned number)
{
    (void)context;
    for (int i = 0; i < 300; i++) {
        char line[64];
        unsigned budget = 1;
        size_t consumed, size = (size_t)snprintf(line, sizeof line, "PUBLISH a %04d\r\n", i);
        (void)torcd_commands_feed(sessions[number], line, size, 0, &budget, &consumed);
        torcd_buffer_truncate(&sessions[number]->out, 0);
        (void)torcd_worker_run_messages(server->workers[number]);
    }
}

/* Two threads publish on one channel, and a session of each worker listens to it: both hear the same in the same order,
 * and all of it. */
Test(commands_pubsub, come_in_one_order_to_all)
{
    struct torcd_session *listeners[WORKERS];

    for (unsigned i = 0; i < WORKERS; i++) {
        listeners[i] = torcd_session_create(server->workers[i], "listener");
        cr_assert(torcd_pubsub_subscribe(listeners[i], TORCD_CHANNEL, torc_slice("a", 1)));
    }
    torct_race(WORKERS, publish_often, NULL);
    (void)hear(0);
    cr_expect_eq(listeners[0]->out.size, 600 * strlen(MESSAGE(A, "$4\r\n0000\r\n")));
    cr_assert_eq(listeners[0]->out.size, listeners[1]->out.size);
    cr_expect_eq(memcmp(listeners[0]->out.data, listeners[1]->out.data, listeners[0]->out.size), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        torcd_session_destroy(listeners[i]);
}

static void
come_and_go(void *context, unsigned number)
{
    static const char *const lines[] = {
        "SUBSCRIBE a b\r\n", "PSUBSCRIBE a* b*\r\n", "PUBLISH a x\r\n", "UNSUBSCRIBE a\r\n", "PUBLISH b x\r\n",
        "PUNSUBSCRIBE\r\n", "PUBSUB CHANNELS\r\n", "UNSUBSCRIBE\r\n", "PUBLISH a x\r\n", "SUBSCRIBE c\r\n",
        "UNSUBSCRIBE c\r\n",
    };
    (void)context;
    (void)torcd_commands_feed(sessions[number], (char[]){"HELLO 3\r\n"}, 9, 0, &(unsigned){1}, &(size_t){0});
    for (int i = 0; i < 1000; i++) {
        char line[32];
        unsigned budget = 1;
        size_t consumed, size = strlen(lines[i % (int)(sizeof lines / sizeof lines[0])]);
        memcpy(line, lines[i % (int)(sizeof lines / sizeof lines[0])], size);
        (void)torcd_commands_feed(sessions[number], line, size, 0, &budget, &consumed);
        cr_assert_neq(sessions[number]->out.data[0], '-');
        torcd_buffer_truncate(&sessions[number]->out, 0);
        (void)torcd_worker_run_messages(server->workers[number]);
    }
}

/* Subjects come and go under publications of the other thread. Conservation: none is left when all have gone. */
Test(commands_pubsub, leave_no_subject_behind)
{
    torct_race(WORKERS, come_and_go, NULL);
    (void)ask(0, "UNSUBSCRIBE");
    (void)ask(0, "PUNSUBSCRIBE");
    (void)ask(1, "UNSUBSCRIBE");
    (void)ask(1, "PUNSUBSCRIBE");
    (void)hear(0);
    cr_expect_str_eq(ask(2, "PUBSUB CHANNELS"), "*0\r\n");
    cr_expect_str_eq(ask(2, "PUBSUB NUMPAT"), ":0\r\n");
}

/* ---- Events --------------------------------------------------------------------------------------------------- */

TestSuite(commands_events, .init = create, .fini = destroy, .timeout = 30);

#define EVENT(channel, payload) "*4\r\n$8\r\npmessage\r\n$3\r\n__*\r\n" channel payload

Test(commands_events, tell_of_keys_and_of_events)
{
    (void)ask(1, "PSUBSCRIBE __*");
    CONVERSE({"SET a 1", OK}, {"CONFIG SET notify-keyspace-events KEA", OK}, {"SET a 1", OK});
    cr_expect_str_eq(hear(1), EVENT("$16\r\n__keyspace@0__:a\r\n", "$3\r\nset\r\n")
                                  EVENT("$18\r\n__keyevent@0__:set\r\n", "$1\r\na\r\n"));
    CONVERSE({"CONFIG SET notify-keyspace-events Eg", OK}, {"SET a 1 EX 9", OK}, {"SELECT 3", OK}, {"SET b 1", OK},
             {"DEL b c", ":1\r\n"});
    cr_expect_str_eq(hear(1), EVENT("$21\r\n__keyevent@0__:expire\r\n", "$1\r\na\r\n")
                                  EVENT("$18\r\n__keyevent@3__:del\r\n", "$1\r\nb\r\n"));
    CONVERSE({"CONFIG SET notify-keyspace-events Kmn", OK}, {"GET nothing", NIL}, {"INCR n", ":1\r\n"},
             {"INCR n", ":2\r\n"});
    cr_expect_str_eq(hear(1), EVENT("$22\r\n__keyspace@3__:nothing\r\n", "$7\r\nkeymiss\r\n")
                                  EVENT("$16\r\n__keyspace@3__:n\r\n", "$3\r\nnew\r\n"));
    CONVERSE({"CONFIG SET notify-keyspace-events ''", OK}, {"SET a 1", OK});
    cr_expect_str_eq(hear(1), "");
}

Test(commands_events, of_an_exec_come_when_it_has_happened)
{
    (void)ask(1, "PSUBSCRIBE __*");
    CONVERSE({"CONFIG SET notify-keyspace-events E$", OK}, {"WATCH w", OK}, {"MULTI", OK}, {"SET a 1", QUEUED},
             {"APPEND a 2", QUEUED}, {"EXEC", "*2\r\n+OK\r\n:2\r\n"});
    cr_expect_str_eq(hear(1), EVENT("$18\r\n__keyevent@0__:set\r\n", "$1\r\na\r\n")
                                  EVENT("$21\r\n__keyevent@0__:append\r\n", "$1\r\na\r\n"));
    CONVERSE({"WATCH w", OK}, {"SET w 1", OK});
    (void)hear(1);
    CONVERSE({"MULTI", OK}, {"SET a 1", QUEUED}, {"EXEC", "*-1\r\n"});
    cr_expect_str_eq(hear(1), "");
}

Test(commands_events, tell_of_keys_that_have_expired)
{
    bool more = true;

    (void)ask(1, "PSUBSCRIBE __*");
    CONVERSE({"CONFIG SET notify-keyspace-events Ex", OK}, {"SELECT 2", OK}, {"SET a 1 PX 10", OK},
             {"SET b 1 PX 20", OK}, {"SET '' 1 PX 10", OK}, {"DEL ''", ":1\r\n"});
    atomic_fetch_add_explicit(&clock_ms, 10, memory_order_relaxed);
    while (more)
        cr_assert_eq(torc_mvcc_poll(store, &more), TORC_OK);
    cr_expect_str_eq(hear(1), EVENT("$22\r\n__keyevent@2__:expired\r\n", "$1\r\na\r\n"));
    CONVERSE({"DBSIZE", ":1\r\n"}, {"KEYS *", "*1\r\n$1\r\nb\r\n"});
}

/* ---- MONITOR -------------------------------------------------------------------------------------------------- */

TestSuite(commands_monitor, .init = create, .fini = destroy, .timeout = 30);

Test(commands_monitor, shows_what_runs_and_hides_what_is_secret)
{
    cr_expect_str_eq(ask(1, "MONITOR"), OK);
    (void)hear(1);
    (void)send_bytes(0, torc_slice_from_string("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\"\n\x01z\r\n"));
    hear(1);
    cr_expect_eq(reply[0], '+');
    cr_expect_not_null(strstr(reply, " [0 127.0.0.1:1] \"SET\" \"a\" \"\\\"\\n\\x01z\"\r\n"), "%s", reply);
    (void)ask(0, "AUTH default hunter2");
    cr_expect_not_null(strstr(hear(1), "\"AUTH\" \"(redacted)\" \"(redacted)\"\r\n"), "%s", reply);
    (void)ask(0, "CONFIG SET requirepass hunter2");
    cr_expect_str_eq(hear(1), "", "what administrates is not shown");
    (void)ask(0, "MULTI");
    (void)ask(0, "GET a");
    (void)hear(1);
    (void)ask(0, "EXEC");
    cr_expect_not_null(strstr(hear(1), "\"GET\" \"a\"\r\n"), "%s", reply);
    cr_expect_str_eq(ask(1, "RESET"), "+RESET\r\n");
    (void)hear(1);
    (void)ask(0, "PING");
    cr_expect_str_eq(hear(1), "");
}

/* ---- AUTH ----------------------------------------------------------------------------------------------------- */

TestSuite(commands_auth, .init = create, .fini = destroy, .timeout = 30);

Test(commands_auth, lets_nobody_in_without_the_password)
{
    struct torcd_session *stranger;

    cr_expect_str_eq(ask(0, "CONFIG SET requirepass secret"), OK);
    cr_expect_str_eq(ask(0, "PING"), "+PONG\r\n", "who is in stays in");
    stranger = torcd_session_create(server->workers[0], "stranger");
    torcd_session_destroy(sessions[0]);
    sessions[0] = stranger;
    CONVERSE({"GET a", "-NOAUTH Authentication required.\r\n"}, {"PING", "-NOAUTH Authentication required.\r\n"},
             {"MULTI", "-NOAUTH Authentication required.\r\n"},
             {"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
             {"AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
             {"AUTH secre", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
             {"AUTH secrett", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
             {"AUTH ''", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
             {"AUTH someone secret", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
             {"GET a", "-NOAUTH Authentication required.\r\n"}, {"AUTH secret", OK}, {"GET a", NIL},
             {"RESET", "+RESET\r\n"}, {"GET a", "-NOAUTH Authentication required.\r\n"},
             {"HELLO 3 AUTH default wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"});
    cr_expect(begins_with(ask(0, "HELLO 3"), "-NOAUTH HELLO must be called"));
    cr_expect(begins_with(ask(0, "HELLO 3 AUTH default secret"), "%7\r\n"));
    cr_expect_str_eq(ask(0, "GET a"), "_\r\n");
    cr_expect_str_eq(ask(0, "CONFIG GET requirepass"), "%1\r\n$11\r\nrequirepass\r\n$6\r\nsecret\r\n");
    cr_expect_str_eq(ask(0, "CONFIG SET requirepass ''"), OK);
    (void)ask(0, "RESET");
    cr_expect_str_eq(ask(0, "GET a"), NIL);
}

/* Nobody without the password makes the server keep much. */
Test(commands_auth, reads_only_small_requests_of_strangers)
{
    static const char *const hello = "HELLO 3 AUTH default secret";

    cr_expect_str_eq(ask(2, "CONFIG SET requirepass secret"), OK);
    for (unsigned i = 0; i < 2; i++) {
        torcd_session_destroy(sessions[i]);
        sessions[i] = torcd_session_create(server->workers[i], "stranger");
    }
    (void)send_bytes(0, torc_slice_from_string("*10\r\n$16384\r\n"));
    cr_expect_not(sessions[0]->closing);
    cr_expect_str_eq(ask(1, "*11"), "-ERR Protocol error: unauthenticated multibulk length\r\n");
    cr_expect(sessions[1]->closing);
    torcd_session_destroy(sessions[1]);
    sessions[1] = torcd_session_create(server->workers[1], "stranger");
    cr_expect_str_eq(ask(1, "*1\r\n$16385"), "-ERR Protocol error: unauthenticated bulk length\r\n");
    torcd_session_destroy(sessions[1]);
    sessions[1] = torcd_session_create(server->workers[1], "friend");
    cr_expect(begins_with(ask(1, hello), "%7\r\n"));
    cr_expect_str_eq(ask(1, "*11\r\n$16385"), "", "who gave the password may go on");
    cr_expect_not(sessions[1]->closing);
}

Test(commands_auth, refuses_a_password_that_is_too_long)
{
    char line[700];

    memset(line, 'p', sizeof line);
    memcpy(line, "CONFIG SET requirepass ", 23);
    line[sizeof line - 1] = '\0';
    cr_expect(begins_with(ask(0, line), "-ERR CONFIG SET failed"));
    line[23 + TORCD_PASSWORD_MAX] = '\0';
    cr_expect_str_eq(ask(0, line), OK);
    memcpy(line + 18, "AUTH ", 5);
    cr_expect_str_eq(ask(0, line + 18), OK);
    cr_expect_str_eq(ask(0, "CONFIG SET requirepass ''"), OK);
}

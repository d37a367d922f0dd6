/* SPDX-License-Identifier: MIT */
/* What the server tells of its clients and of what they do. */
#include "commands_testing.h"

TestSuite(commands_slowlog, .init = create, .fini = destroy, .timeout = 30);

Test(commands_slowlog, keeps_the_newest_and_hides_what_is_secret)
{
    char line[400];

    CONVERSE({"SLOWLOG LEN", ":0\r\n"}, {"CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 3", OK});
    memset(line, 'v', sizeof line);
    memcpy(line, "SET a ", 6);
    line[sizeof line - 1] = '\0';
    (void)ask(0, line);
    (void)ask(0, "CLIENT SETNAME me");
    (void)ask(0, "AUTH default hunter2");
    (void)ask(0, "SLOWLOG GET");
    cr_expect(begins_with(reply, "*3\r\n*6\r\n:3\r\n"), "%s", reply);
    cr_expect_not_null(strstr(reply, "*3\r\n$4\r\nAUTH\r\n$10\r\n(redacted)\r\n$10\r\n(redacted)\r\n"
                                     "$11\r\n127.0.0.1:1\r\n$2\r\nme\r\n"), "%s", reply);
    cr_expect_not_null(strstr(reply, "vvv... (265 more bytes)\r\n"), "%s", reply);
    cr_expect_null(strstr(reply, "hunter2"));
    (void)ask(0, "CONFIG SET requirepass hunter2");
    cr_expect_null(strstr(ask(0, "SLOWLOG GET -1"), "hunter2"));
    (void)ask(0, "CONFIG SET requirepass ''");
    (void)ask(0, "MGET 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33");
    cr_expect_not_null(strstr(ask(0, "SLOWLOG GET 1"), "... (3 more arguments)"), "%s", reply);
    CONVERSE({"SLOWLOG LEN", ":3\r\n"}, {"CONFIG SET slowlog-log-slower-than -1", OK}, {"SLOWLOG RESET", OK},
             {"SLOWLOG LEN", ":0\r\n"}, {"SLOWLOG GET", "*0\r\n"}, {"SLOWLOG GET 0", "*0\r\n"});
}

Test(commands_slowlog, has_the_commands_of_an_exec_one_by_one)
{
    (void)ask(0, "CONFIG SET slowlog-log-slower-than 0");
    (void)ask(0, "SLOWLOG RESET");
    (void)ask(0, "MULTI");
    (void)ask(0, "SET a 1");
    (void)ask(0, "GET a");
    (void)ask(0, "EXEC");
    (void)ask(0, "CONFIG SET slowlog-log-slower-than -1");
    (void)ask(0, "SLOWLOG GET");
    cr_expect_not_null(strstr(reply, "$3\r\nGET\r\n"));
    cr_expect_not_null(strstr(reply, "$3\r\nSET\r\n"));
    cr_expect_null(strstr(reply, "$4\r\nEXEC\r\n"));
}

TestSuite(commands_latency, .init = create, .fini = destroy, .timeout = 30);

Test(commands_latency, notes_what_took_longer_than_the_threshold)
{
    CONVERSE({"DEBUG SLEEP 0.003", OK}, {"LATENCY LATEST", "*0\r\n"}, {"CONFIG SET latency-monitor-threshold 1", OK},
             {"DEBUG SLEEP 0.003", OK}, {"LATENCY HISTORY nonsense", "*0\r\n"}, {"LATENCY RESET nonsense", ":0\r\n"});
    cr_expect(begins_with(ask(0, "LATENCY LATEST"), "*"));
    cr_expect_not_null(strstr(reply, "*4\r\n$7\r\ncommand\r\n:"), "%s", reply);
    cr_expect_not_null(strstr(ask(0, "LATENCY HISTORY command"), "*2\r\n:"), "%s", reply);
    (void)ask(0, "CONFIG SET latency-monitor-threshold 0");
    cr_expect_eq(ask(0, "LATENCY RESET")[0], ':');
    CONVERSE({"LATENCY LATEST", "*0\r\n"}, {"LATENCY HISTORY command", "*0\r\n"});
}

TestSuite(commands_clients, .init = create, .fini = destroy, .timeout = 30);

Test(commands_clients, are_listed_by_what_they_do)
{
    char line[64];

    (void)ask(1, "SUBSCRIBE a b");
    (void)ask(1, "PSUBSCRIBE c*");
    (void)ask(2, "MONITOR");
    (void)ask(0, "CLIENT LIST");
    cr_expect_not_null(strstr(reply, " flags=P db=0 sub=2 psub=1 ssub=0 "), "%s", reply);
    cr_expect_not_null(strstr(reply, " flags=O "), "%s", reply);
    cr_expect_not_null(strstr(reply, " cmd=client|list "), "%s", reply);
    (void)ask(0, "CLIENT LIST TYPE pubsub");
    cr_expect_null(strstr(reply, "flags=N"));
    cr_expect_not_null(strstr(reply, "flags=P"));
    (void)snprintf(line, sizeof line, "CLIENT KILL ID %d", (int)sessions[0]->id);
    cr_expect_str_eq(ask(0, line), ":0\r\n", "itself is spared");
    (void)snprintf(line, sizeof line, "CLIENT KILL ID %d SKIPME no", (int)sessions[0]->id);
    cr_expect_str_eq(ask(0, line), ":1\r\n", "and gets its reply if it is not");
    cr_expect(sessions[0]->closing);
}

Test(commands_clients, are_refused_wrong_subcommands_when_they_queue)
{
    CONVERSE({"MULTI", OK}, {"CLIENT NONSENSE", "-ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP.\r\n"},
             {"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"}, {"MULTI", OK},
             {"CONFIG GET", "-ERR wrong number of arguments for 'config|get' command\r\n"},
             {"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"},
             {"COMMAND INFO nosuch", "*1\r\n$-1\r\n"},
             {"CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n"}, {"WAIT 1 100", ":0\r\n"},
             {"COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"});
}

Test(commands_clients, get_help_for_every_container)
{
    static const char *const lines[] = {
        "CLIENT HELP", "COMMAND HELP", "CONFIG HELP", "DEBUG HELP", "LATENCY HELP", "MEMORY HELP", "OBJECT HELP",
        "PUBSUB HELP", "SLOWLOG HELP", "MEMORY STATS", "MEMORY DOCTOR", "LATENCY DOCTOR",
    };

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        cr_expect_neq(ask(0, lines[i])[0], '-', "%s: %s", lines[i], reply);
    CONVERSE({"MEMORY PURGE", OK}, {"MEMORY NONSENSE", "-ERR unknown subcommand 'NONSENSE'. Try MEMORY HELP.\r\n"});
}

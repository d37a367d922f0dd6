/* SPDX-License-Identifier: MIT */
/* FLUSHDB, SWAPDB and transactions over several databases, on one thread and on two. */
#include "commands_testing.h"

#include <pthread.h>

#include "base/testing.h"

TestSuite(commands_databases, .init = create, .fini = destroy, .timeout = 60);

Test(commands_databases, are_swapped_with_all_their_keys)
{
    CONVERSE({"SET a zero", OK}, {"SELECT 1", OK}, {"SET a one", OK}, {"SET b one", OK}, {"SWAPDB 0 1", OK},
             {"GET a", "$4\r\nzero\r\n"}, {"DBSIZE", ":1\r\n"}, {"SELECT 0", OK}, {"GET a", "$3\r\none\r\n"},
             {"DBSIZE", ":2\r\n"}, {"SWAPDB 0 0", OK}, {"DBSIZE", ":2\r\n"}, {"SWAPDB 1 0", OK}, {"DBSIZE", ":1\r\n"});
    cr_expect_str_eq(ask(1, "GET a"), "$4\r\nzero\r\n", "and other threads see it");
}

Test(commands_databases, change_within_exec_as_a_whole)
{
    CONVERSE({"SET a 1", OK}, {"SELECT 1", OK}, {"SET b 2", OK}, {"MULTI", OK}, {"FLUSHDB", QUEUED}, {"DBSIZE", QUEUED},
             {"SET c 3", QUEUED}, {"DBSIZE", QUEUED}, {"SWAPDB 0 1", QUEUED}, {"KEYS *", QUEUED}, {"SELECT 0", QUEUED},
             {"KEYS *", QUEUED}, {"FLUSHDB", QUEUED}, {"FLUSHDB", QUEUED}, {"KEYS *", QUEUED}, {"DBSIZE", QUEUED},
             {"EXEC", "*12\r\n+OK\r\n:0\r\n+OK\r\n:1\r\n+OK\r\n*1\r\n$1\r\na\r\n+OK\r\n*1\r\n$1\r\nc\r\n+OK\r\n+OK\r\n"
                      "*0\r\n:0\r\n"},
             {"DBSIZE", ":0\r\n"}, {"SELECT 1", OK}, {"KEYS *", "*1\r\n$1\r\na\r\n"});
}

Test(commands_databases, are_as_they_were_after_an_exec_that_was_undone)
{
    (void)ask(0, "SET a 1");
    (void)ask(0, "CONFIG SET output-buffer-limit 64kb");
    (void)ask(0, "MULTI");
    (void)ask(0, "FLUSHALL");
    (void)ask(0, "SWAPDB 0 1");
    for (int i = 0; i < 20; i++)
        cr_assert_str_eq(ask(0, "COMMAND"), QUEUED);
    cr_expect_str_eq(ask(0, "EXEC"), "-ERR the reply would exceed output-buffer-limit\r\n");
    cr_expect_str_eq(ask(0, "GET a"), "$1\r\n1\r\n");
    cr_expect_str_eq(ask(1, "GET a"), "$1\r\n1\r\n");
}

Test(commands_databases, change_under_a_watch)
{
    CONVERSE({"SET a 1", OK}, {"WATCH a", OK}, {"FLUSHDB", OK}, {"MULTI", OK}, {"PING", QUEUED}, {"EXEC", "*-1\r\n"},
             {"WATCH a", OK}, {"FLUSHDB", OK}, {"MULTI", OK}, {"PING", QUEUED}, {"EXEC", "*1\r\n+PONG\r\n"},
             {"SET a 1", OK}, {"WATCH a", OK}, {"SWAPDB 0 1", OK}, {"MULTI", OK}, {"PING", QUEUED}, {"EXEC", "*-1\r\n"},
             {"SWAPDB 0 1", OK}, {"WATCH a", OK}, {"SWAPDB 2 3", OK}, {"MULTI", OK}, {"PING", QUEUED},
             {"EXEC", "*1\r\n+PONG\r\n"});
}

/* A WATCH that shares an older snapshot must not read by a keyspace that may be gone. */
Test(commands_databases, that_were_flushed_fail_a_watch_that_shares_a_snapshot)
{
    (void)ask(0, "SET a 1");
    for (unsigned i = 0; i < TORCD_WATCH_SNAPSHOTS; i++)
        cr_assert_str_eq(ask(0, "WATCH a"), OK);
    cr_expect_str_eq(ask(1, "FLUSHDB"), OK);
    (void)hear(1);
    CONVERSE({"WATCH b", OK}, {"MULTI", OK}, {"PING", QUEUED}, {"EXEC", "*-1\r\n"}, {"MULTI", OK}, {"PING", QUEUED},
             {"EXEC", "*1\r\n+PONG\r\n"});
}

Test(commands_databases, hold_the_empty_key_and_those_that_begin_with_zero)
{
    static const char set[] = "*3\r\n$3\r\nSET\r\n$1\r\n\0\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$2\r\n\0a\r\n$1\r\n1\r\n";
    static const char keys[] = "*2\r\n$4\r\nKEYS\r\n$2\r\n\0*\r\n";
    static const char expected[] = "*2\r\n$1\r\n\0\r\n$2\r\n\0a\r\n";

    CONVERSE({"SET '' e", OK}, {"SET b 2", OK});
    (void)send_bytes(0, torc_slice(set, sizeof set - 1));
    CONVERSE({"DBSIZE", ":4\r\n"}, {"GET ''", "$1\r\ne\r\n"}, {"RANGE '' ''", "*2\r\n$0\r\n\r\n$1\r\ne\r\n"});
    (void)send_bytes(0, torc_slice(keys, sizeof keys - 1));
    cr_expect_eq(memcmp(reply, expected, sizeof expected), 0);
    (void)ask(0, "KEYS *");
    cr_expect(begins_with(reply, "*4\r\n$0\r\n\r\n$1\r\n"), "in their order");
    CONVERSE({"DEL ''", ":1\r\n"}, {"GET ''", NIL});
}

Test(commands_databases, give_some_key_and_each_of_a_few)
{
    unsigned seen[4] = {0};

    cr_expect_str_eq(ask(0, "RANDOMKEY"), NIL);
    (void)ask(0, "MSET a 1 b 1 c 1 d 1");
    for (int i = 0; i < 400; i++)
        seen[ask(0, "RANDOMKEY")[4] - 'a']++;
    for (int i = 0; i < 4; i++)
        cr_expect_gt(seen[i], 0u);
    for (int i = 0; i < 1000; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "SET key:%04d v", i);
        (void)ask(0, line);
    }
    for (int i = 0; i < 100; i++)
        cr_expect_neq(ask(0, "RANDOMKEY")[0], '_');
}

/* Keyspaces that were replaced are dropped, also those of an EXEC that was undone. */
Test(commands_databases, leave_no_keyspace_behind)
{
    size_t before, after;

    cr_assert_eq(torc_mvcc_keyspaces(store, NULL, 0, &before), TORC_OK);
    for (int i = 0; i < 100; i++) {
        (void)ask(0, "SET a 1");
        cr_assert_str_eq(ask(0, i % 2 == 0 ? "FLUSHDB" : "FLUSHALL"), OK);
        (void)ask(1, "MULTI");
        (void)ask(1, "SET a 1");
        (void)ask(1, "FLUSHDB");
        (void)ask(1, "FLUSHDB");
        (void)ask(1, "EXEC");
    }
    (void)hear(0);
    (void)hear(1);
    cr_assert_eq(torc_mvcc_keyspaces(store, NULL, 0, &after), TORC_OK);
    cr_expect_eq(after, before);
}

static void
run_line(unsigned number, const char *text)
{
    char line[256];
    unsigned budget = 16;
    size_t consumed, size = strlen(text);

    memcpy(line, text, size);
    (void)torcd_commands_feed(sessions[number], line, size, 0, &budget, &consumed);
    torcd_buffer_append(&sessions[number]->out, "", 1);
    (void)torcd_worker_run_messages(server->workers[number]);
}

/* One thread swaps databases 0 and 1 and flushes 2; the other one sees, in each EXEC, exactly one of the two with the
 * key, and what it writes into 2 as a whole or not at all. */
static void
swap_and_look(void *context, unsigned number)
{
    (void)context;
    for (int i = 0; i < 400; i++) {
        struct torcd_buffer *out = &sessions[number]->out;
        if (number == 0)
            run_line(0, "SWAPDB 0 1\r\nMULTI\r\nSELECT 2\r\nFLUSHDB\r\nSELECT 0\r\nEXEC\r\n");
        else {
            run_line(1, "MULTI\r\nSELECT 0\r\nEXISTS k\r\nSELECT 1\r\nEXISTS k\r\nSELECT 2\r\nEXISTS x y\r\n"
                        "INCR x\r\nINCR y\r\nMGET x y\r\nSELECT 0\r\nEXEC\r\n");
            int one, other, both, x, y;
            cr_assert_eq(sscanf(strstr(out->data, "*10\r\n"),
                                "*10\r\n+OK\r\n:%d\r\n+OK\r\n:%d\r\n+OK\r\n:%d\r\n:%d\r\n:%d\r\n", &one, &other, &both,
                                &x, &y), 5, "%s", out->data);
            cr_assert_eq(one + other, 1);
            cr_assert_eq(x, y);
            cr_assert(both == 0 || both == 2);
        }
        torcd_buffer_truncate(out, 0);
    }
}

Test(commands_databases, are_swapped_and_flushed_atomically_for_other_threads)
{
    (void)ask(0, "SET k 1");
    torct_race(WORKERS, swap_and_look, NULL);
    (void)hear(0);
    cr_expect_str_eq(ask(1, "EXISTS k"), ":1\r\n", "an even number of swaps");
}

/* One thread flushes; the other one sets a key and reads it at once by a plain command, and by one that runs in a
 * transaction. After its own FLUSHDB a thread sees none of what it wrote before. */
static void
flush_and_count(void *context, unsigned number)
{
    (void)context;
    for (int i = 0; i < 300; i++) {
        struct torcd_buffer *out = &sessions[number]->out;
        run_line(number, number == 0 ? "SET mine 1\r\nFLUSHDB\r\nGET mine\r\nEXISTS mine\r\n"
                                     : "INCR n\r\nSET n 5\r\nAPPEND n 0\r\nDEL n\r\n");
        if (number == 0)
            cr_assert_str_eq(out->data, OK OK NIL ":0\r\n");
        else
            cr_assert_null(strstr(out->data, "-ERR"), "%s", out->data);
        torcd_buffer_truncate(out, 0);
    }
}

Test(commands_databases, are_flushed_beside_writers)
{
    torct_race(WORKERS, flush_and_count, NULL);
    (void)hear(0);
    (void)ask(0, "FLUSHALL");
    cr_expect_str_eq(ask(0, "DBSIZE"), ":0\r\n");
    cr_expect_str_eq(ask(1, "DBSIZE"), ":0\r\n");
}

/* One thread writes the only key there is without pause; the other one flushes, and each FLUSHDB finds its moment. */
static void
write_or_flush(void *context, unsigned number)
{
    (void)context;
    for (int i = 0; i < 500; i++) {
        struct torcd_buffer *out = &sessions[number]->out;
        run_line(number, number == 0 ? "FLUSHDB\r\n" : "SET hot 1\r\nINCR hot\r\nMSET hot 1\r\nGETSET hot 2\r\n");
        if (number == 0)
            cr_assert_str_eq(out->data, OK);
        torcd_buffer_truncate(out, 0);
    }
}

Test(commands_databases, are_flushed_under_one_hot_key)
{
    torct_race(WORKERS, write_or_flush, NULL);
    (void)hear(0);
}

/* One thread sets a key to ever greater numbers, flushing in between; the other one looks by a transaction, which reads
 * the map in the store, then by a plain command, which uses the copy. Once the transaction has seen that a number is
 * gone, the plain command must not find it. */
static void
flush_or_compare(void *context, unsigned number)
{
    struct torcd_buffer *out = &sessions[number]->out;
    long greatest = 0;
    char line[64];

    (void)context;
    for (int i = 1; i <= 4000; i++) {
        if (number == 0) {
            (void)snprintf(line, sizeof line, "SET k %d\r\nFLUSHDB\r\n", i);
            run_line(0, line);
        } else {
            long seen, plain;
            run_line(1, "MULTI\r\nGET k\r\nEXEC\r\nGET k\r\n");
            const char *exec = strstr(out->data, "*1\r\n") + 4, *get = strchr(exec, '\n') + 1;
            if (sscanf(exec, "$%*d\r\n%ld", &seen) == 1 && exec[1] != '-') {
                greatest = seen > greatest ? seen : greatest;
                get = strchr(get, '\n') + 1;
            } else if (sscanf(get, "$%*d\r\n%ld", &plain) == 1 && get[1] != '-')
                cr_assert_gt(plain, greatest, "%ld came back", plain);
        }
        torcd_buffer_truncate(out, 0);
    }
}

Test(commands_databases, are_not_seen_again_after_they_were_flushed)
{
    torct_race(WORKERS, flush_or_compare, NULL);
    (void)hear(0);
}

/* A full store has no room for the row of a new keyspace. */
Test(commands_databases_full, are_flushed_all_the_same, .timeout = 120)
{
    char line[2100];

    open_server(4 << 20);
    memset(line, 'v', sizeof line);
    line[sizeof line - 1] = '\0';
    for (int written = 0; written == 0 || strcmp(reply, OK) == 0; written++) {
        int size = snprintf(line, 20, "SET key:%06d", written);
        line[size] = ' ';
        (void)ask(0, line);
        cr_assert_lt(written, 100000);
    }
    cr_expect_str_eq(ask(0, "FLUSHALL"), OK);
    cr_expect_str_eq(ask(0, "DBSIZE"), ":0\r\n");
    cr_expect_str_eq(ask(0, "KEYS *"), "*0\r\n");
    (void)hear(0);
    cr_expect_str_eq(ask(0, "SET a 1"), OK, "and there is room again");
    destroy();
}

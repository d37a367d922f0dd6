/* SPDX-License-Identifier: MIT */
/* SAVE, BGSAVE, LASTSAVE, WAITDURABLE, and databases that come back, over stores whose journal is flushed only when the
 * test says so. */
#include <criterion/criterion.h>

#include "base/testing.h"
#include "commands_testing.h"
#include "databases.h"

#define OK "+OK\r\n"
#define NIL "$-1\r\n"

static char directory[TORCT_PATH_SIZE];
static enum torc_durability durability;         /* As --durability gives it. */

static void
open_durable(void)
{
    struct torc_mvcc_options store_options;
    struct torcd_options options;

    torc_mvcc_options_init(&store_options);
    store_options.directory = directory;
    store_options.durability = durability == TORC_DURABILITY_NONE ? TORC_DURABILITY_NONE : TORC_DURABILITY_ASYNC;
    store_options.caller_driven = true;
    torcd_options_init(&options);
    options.directory = directory;
    options.durability = durability;
    open_server_of(&store_options, &options);
    for (unsigned i = 0; i < SESSIONS; i++)
        sessions[i]->can_hold = true;
}

static void
begin(enum torc_durability mode)
{
    torct_directory_create(directory);
    durability = mode;
    open_durable();
}

static void
end(void)
{
    destroy();
    torct_directory_destroy(directory);
}

static void
begin_async(void)
{
    begin(TORC_DURABILITY_ASYNC);
}

static void
reopen(void)
{
    destroy();
    open_durable();
}

/* Let the journal be flushed. */
static void
flush_journal(void)
{
    bool more;

    while (torc_mvcc_durable(store) < sessions[0]->stamp)
        cr_assert_eq(torc_mvcc_poll(store, &more), TORC_OK);
}

static const char *
take_reply(unsigned number)
{
    return send_bytes(number, torc_slice("", 0));
}

/* ---- Waiting -------------------------------------------------------------------------------------------------- */

TestSuite(waitdurable, .init = begin_async, .fini = end, .timeout = 60);

Test(waitdurable, answers_at_once_who_has_written_nothing)
{
    cr_expect_str_eq(ask(0, "WAITDURABLE"), ":1\r\n");
    cr_assert_str_eq(ask(1, "SET a 1"), OK);
    cr_expect_str_eq(ask(0, "WAITDURABLE 5"), ":1\r\n", "it was another connection");
}

Test(waitdurable, parks_until_the_journal_is_flushed)
{
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_assert_str_eq(ask(0, "WAITDURABLE"), "");
    cr_assert_eq(sessions[0]->parked, TORCD_UNTIL_DURABLE);
    cr_expect_not(torcd_parked_look(sessions[0], TORC_OK, UINT64_MAX - 1));
    flush_journal();
    cr_expect(torcd_parked_look(sessions[0], TORC_OK, 0));
    cr_expect_str_eq(take_reply(0), ":1\r\n");
    cr_expect_str_eq(ask(0, "WAITDURABLE"), ":1\r\n");
}

Test(waitdurable, lets_no_later_request_pass)
{
    char window[] = "SET a 1\r\nWAITDURABLE\r\nINCR a\r\n";
    size_t consumed = 0;
    unsigned budget = 10;

    cr_assert_eq(torcd_commands_feed(sessions[0], window, strlen(window), 0, &budget, &consumed), TORCD_FEED_PARKED);
    cr_expect_eq(consumed, strlen("SET a 1\r\nWAITDURABLE\r\n"));
    flush_journal();
    cr_assert(torcd_parked_look(sessions[0], TORC_OK, 0));
    cr_expect_str_eq(ask(0, "INCR a"), OK ":1\r\n:2\r\n");
}

Test(waitdurable, waits_only_so_long)
{
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    uint64_t before = torcd_now_ns();
    cr_assert_str_eq(ask(0, "WAITDURABLE 50"), "");
    cr_expect_geq(sessions[0]->parked_until_ns, before + 50000000);
    cr_expect_not(torcd_parked_look(sessions[0], TORC_OK, sessions[0]->parked_until_ns - 1));
    cr_expect(torcd_parked_look(sessions[0], TORC_OK, sessions[0]->parked_until_ns));
    cr_expect_str_eq(take_reply(0), ":0\r\n");
    cr_assert_str_eq(ask(0, "WAITDURABLE 9223372036854775807"), "");
    cr_expect_eq(sessions[0]->parked_until_ns, UINT64_MAX);
    torcd_parked_settle(sessions[0]);
    cr_expect_str_eq(take_reply(0), ":1\r\n");
}

Test(waitdurable, tells_that_the_journal_has_failed)
{
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_assert_str_eq(ask(0, "WAITDURABLE"), "");
    cr_expect(torcd_parked_look(sessions[0], TORC_IO, 0));
    cr_expect(begins_with(take_reply(0), "-MISCONF Errors writing to the journal"), "%s", reply);
}

Test(waitdurable, does_not_wait_inside_of_exec)
{
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_assert_str_eq(ask(0, "MULTI"), OK);
    cr_assert_str_eq(ask(0, "WAITDURABLE"), "+QUEUED\r\n");
    cr_expect_str_eq(ask(0, "EXEC"), "*1\r\n:0\r\n");
}

Test(waitdurable, waits_itself_where_nobody_calls_again)
{
    sessions[0]->can_hold = false;
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_expect_str_eq(ask(0, "WAITDURABLE"), ":1\r\n");
    cr_expect_geq(torc_mvcc_durable(store), sessions[0]->stamp);
}

Test(waitdurable, counts_the_changes_of_an_exec_and_of_the_map)
{
    uint64_t before;

    cr_assert_str_eq(ask(0, "MULTI"), OK);
    (void)ask(0, "INCR a");
    cr_assert_str_eq(ask(0, "EXEC"), "*1\r\n:1\r\n");
    before = sessions[0]->stamp;
    cr_expect_gt(before, 0u);
    cr_assert_str_eq(ask(0, "SWAPDB 0 1"), OK);
    cr_expect_gt(sessions[0]->stamp, before);
    before = sessions[0]->stamp;
    cr_assert_str_eq(ask(0, "GET a"), NIL);
    cr_expect_eq(sessions[0]->stamp, before, "a read");
}

/* Another client of the same thread has changed something that is not durable yet. */
Test(waitdurable, does_not_count_what_others_have_changed)
{
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_assert_str_eq(ask(1, "SETNX a 2"), ":0\r\n");
    cr_assert_str_eq(ask(1, "DEL b"), ":0\r\n");
    cr_assert_eq(ask(1, "INCRBY a x")[0], '-');
    cr_expect_eq(sessions[1]->stamp, 0u);
    cr_expect_str_eq(ask(1, "WAITDURABLE"), ":1\r\n");
}

Test(waitdurable, refuses_wrong_arguments)
{
    cr_expect_str_eq(ask(0, "WAITDURABLE x"), "-ERR timeout is not an integer or out of range\r\n");
    cr_expect_str_eq(ask(0, "WAITDURABLE -1"), "-ERR timeout is negative\r\n");
    cr_expect_str_eq(ask(0, "WAITDURABLE 1 2"), "-ERR wrong number of arguments for 'waitdurable' command\r\n");
}

Test(waitdurable_others, depend_on_the_mode, .timeout = 60)
{
    create();
    sessions[0]->can_hold = true;
    cr_expect_str_eq(ask(0, "WAITDURABLE"), "-ERR nothing is written to disk: torcd runs with --memory-only\r\n");
    destroy();
    begin(TORC_DURABILITY_NONE);
    cr_expect_str_eq(ask(0, "WAITDURABLE"),
                     "-ERR there is no journal with --durability none: SAVE makes all durable\r\n");
    end();
    begin(TORC_DURABILITY_SYNC);
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_expect_str_eq(ask(0, "WAITDURABLE"), ":1\r\n", "the reply is held back like that of SET");
    end();
}

/* ---- Checkpoints ---------------------------------------------------------------------------------------------- */

TestSuite(save, .init = begin_async, .fini = end, .timeout = 60);

Test(save, parks_until_the_checkpoint_is_written)
{
    char why[128];

    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_assert_str_eq(ask(0, "SAVE"), "");
    cr_assert_eq(sessions[0]->parked, TORCD_UNTIL_SAVED);
    cr_expect_eq(torcd_save(server, why, sizeof why), TORC_OK, "%s", why);
    torcd_parked_saved(sessions[0], TORC_OK, "");
    cr_expect_str_eq(take_reply(0), OK);
    cr_expect_not_null(strstr(ask(0, "INFO persistence"), "\r\nrdb_saves:1\r\n"), "%s", reply);
    cr_assert_str_eq(ask(0, "SAVE"), "");
    torcd_parked_saved(sessions[0], TORC_NO_SPACE, "there");
    cr_expect_str_eq(take_reply(0), "-ERR the checkpoint could not be written: the disk is full: there\r\n");
}

Test(save, is_written_at_once_where_nobody_calls_again)
{
    sessions[0]->can_hold = false;
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_expect_str_eq(ask(0, "SAVE"), OK);
    reopen();
    cr_expect_str_eq(ask(0, "GET a"), "$1\r\n1\r\n");
    cr_expect_str_eq(ask(0, "SAVE x"), "-ERR wrong number of arguments for 'save' command\r\n");
}

Test(save, in_the_background_is_begun_and_scheduled)
{
    cr_assert_str_eq(ask(0, "SET a 1"), OK);
    cr_expect_str_eq(ask(0, "BGSAVE x"), "-ERR syntax error\r\n");
    cr_expect_str_eq(ask(0, "BGSAVE"), "+Background saving started\r\n");
    cr_expect(begins_with(ask(0, "BGSAVE schedule"), "+Background saving "), "%s", reply);
    CONVERSE({"MULTI", OK}, {"BGSAVE SCHEDULE", "+QUEUED\r\n"}, {"EXEC", "*1\r\n+Background saving scheduled\r\n"});
    bool more = true;
    while (strstr(ask(0, "INFO persistence"), "\r\nrdb_saves:0\r\n") != NULL)
        cr_assert_eq(torc_mvcc_poll(store, &more), TORC_OK);
    cr_expect_not_null(strstr(reply, "\r\nrdb_last_bgsave_status:ok\r\n"));
}

Test(save, tells_when_it_was_done_last)
{
    long long before, after;

    cr_assert_eq(sscanf(ask(0, "LASTSAVE"), ":%lld\r\n", &before), 1);
    cr_expect_eq(before, (long long)(START_MS / 1000), "the start, before the first one");
    sessions[0]->can_hold = false;
    cr_assert_str_eq(ask(0, "SAVE"), OK);
    cr_assert_eq(sscanf(ask(0, "LASTSAVE"), ":%lld\r\n", &after), 1);
    cr_expect_geq(after, before);
}

Test(save_in_memory, is_refused, .timeout = 60)
{
    static const char refused[] = "-ERR nothing is written to disk: torcd runs with --memory-only\r\n";

    create();
    cr_expect_str_eq(ask(0, "SAVE"), refused);
    cr_expect_str_eq(ask(0, "BGSAVE"), refused);
    cr_expect_eq(ask(0, "LASTSAVE")[0], ':');
    cr_expect_not_null(strstr(ask(0, "INFO persistence"), "\r\naof_enabled:0\r\n"));
    destroy();
}

/* ---- What is told --------------------------------------------------------------------------------------------- */

Test(durability_settings, are_told_in_the_words_of_redis, .timeout = 60)
{
    char expected[64 + sizeof server->directory];

    begin(TORC_DURABILITY_ASYNC);
    (void)snprintf(expected, sizeof expected, "*2\r\n$3\r\ndir\r\n$%zu\r\n%s\r\n", strlen(server->directory),
                   server->directory);
    cr_expect_str_eq(ask(0, "CONFIG GET dir"), expected);
    cr_expect_str_eq(ask(0, "CONFIG GET append*"), "*4\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n$11\r\nappendfsync\r\n"
                                                   "$8\r\neverysec\r\n");
    cr_expect_str_eq(ask(0, "CONFIG SET appendonly yes"), OK);
    cr_expect_not_null(strstr(ask(0, "INFO persistence"), "\r\ntorc_durability:async\r\n"));
    end();
    begin(TORC_DURABILITY_SYNC);
    cr_expect_str_eq(ask(0, "CONFIG GET appendfsync"), "*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n");
    end();
    begin(TORC_DURABILITY_NONE);
    cr_expect_str_eq(ask(0, "CONFIG GET appendonly"), "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n");
    end();
}

/* ---- Databases that come back --------------------------------------------------------------------------------- */

TestSuite(databases_again, .init = begin_async, .fini = end, .timeout = 60);

static size_t
count_keyspaces(void)
{
    size_t count = 0;

    cr_assert_eq(torc_mvcc_keyspaces(store, NULL, 0, &count), TORC_OK);
    return count;
}

Test(databases_again, are_what_they_were)
{
    CONVERSE({"SET a 0", OK}, {"SELECT 1", OK}, {"SET a 1", OK}, {"SELECT 2", OK}, {"SET a 2", OK}, {"SWAPDB 0 1", OK},
             {"FLUSHDB", OK}, {"SET b 3", OK});
    reopen();
    CONVERSE({"GET a", "$1\r\n1\r\n"}, {"SELECT 1", OK}, {"GET a", "$1\r\n0\r\n"}, {"SELECT 2", OK}, {"GET a", NIL},
             {"GET b", "$1\r\n3\r\n"}, {"DBSIZE", ":1\r\n"}, {"FLUSHALL", OK}, {"SET c 1", OK});
    reopen();
    CONVERSE({"DBSIZE", ":0\r\n"}, {"SELECT 2", OK}, {"GET c", "$1\r\n1\r\n"}, {"DBSIZE", ":1\r\n"});
}

/* A keyspace that was made for a FLUSHDB which was not committed, and one that had been replaced and not dropped. */
Test(databases_again, leave_no_keyspace_over)
{
    struct torc_keyspace *keyspace;
    size_t before = count_keyspaces();

    cr_assert_eq(torc_keyspace_create(store, torc_slice_from_string("db0-77"), &keyspace), TORC_OK);
    cr_assert_eq(torc_keyspace_create(store, torc_slice_from_string("mine"), &keyspace), TORC_OK);
    cr_assert_eq(torc_keyspace_create(store, torc_slice_from_string("db0-7x"), &keyspace), TORC_OK);
    reopen();
    cr_expect_eq(count_keyspaces(), before + 2, "only torcd's own");
    CONVERSE({"SET a 1", OK}, {"FLUSHDB", OK}, {"SET b 1", OK});
    reopen();
    CONVERSE({"GET a", NIL}, {"GET b", "$1\r\n1\r\n"});
    cr_expect_eq(torc_keyspace_find(store, torc_slice_from_string("db0-78"), &keyspace), TORC_OK,
                 "new numbers come after all that were there");
}

Test(databases_again, beyond_the_greatest_that_is_served_now_stay)
{
    CONVERSE({"SELECT 15", OK}, {"SET a 1", OK});
    destroy();

    struct torc_mvcc_options store_options;
    struct torcd_options options;
    torc_mvcc_options_init(&store_options);
    store_options.directory = directory;
    torcd_options_init(&options);
    options.directory = directory;
    options.values[TORCD_DATABASES] = 2;
    open_server_of(&store_options, &options);
    CONVERSE({"SELECT 2", "-ERR DB index is out of range\r\n"}, {"FLUSHALL", OK});
    reopen();
    CONVERSE({"SELECT 15", OK}, {"GET a", "$1\r\n1\r\n"});
}

Test(databases_again, are_refused_in_a_store_of_another_kind)
{
    const struct torcd_callbacks callbacks = {.shut_down = note_shut_down, .wake = note_wake};
    struct torcd_options options;
    struct torc_keyspace *keyspace;

    torcd_options_init(&options);
    cr_expect_eq(torcd_databases_layout(store), TORCD_LAYOUT_KNOWN);
    cr_assert_eq(torc_keyspace_find(store, torc_slice_from_string("db3-3"), &keyspace), TORC_OK);
    cr_assert_eq(torc_keyspace_drop(keyspace), TORC_OK);
    cr_expect_eq(torcd_databases_layout(store), TORCD_LAYOUT_BROKEN);
    cr_expect_null(torcd_server_create(store, &options, 1, &callbacks));
    cr_assert_eq(torc_mvcc_put(store, torc_slice_from_string("torcd"), torc_slice_from_string("2"), NULL), TORC_OK);
    cr_expect_eq(torcd_databases_layout(store), TORCD_LAYOUT_FOREIGN, "a later one");

    struct torc_mvcc *other;
    cr_assert_eq(torc_mvcc_open(NULL, &other), TORC_OK);
    cr_expect_eq(torcd_databases_layout(other), TORCD_LAYOUT_EMPTY);
    cr_assert_eq(torc_mvcc_put(other, torc_slice_from_string("a"), torc_slice_from_string("b"), NULL), TORC_OK);
    cr_expect_eq(torcd_databases_layout(other), TORCD_LAYOUT_FOREIGN, "somebody's keys");
    cr_assert_eq(torc_mvcc_delete(other, torc_slice_from_string("a")), TORC_OK);
    cr_assert_eq(torc_keyspace_create(other, torc_slice_from_string("a"), &keyspace), TORC_OK);
    cr_expect_eq(torcd_databases_layout(other), TORCD_LAYOUT_FOREIGN, "somebody's keyspace");
    cr_expect_null(torcd_server_create(other, &options, 1, &callbacks));
    cr_expect_eq(torc_mvcc_close(other), TORC_OK);
}

Test(databases_again, expire_their_keys_when_they_are_due)
{
    CONVERSE({"SET a 1 PX 1000", OK}, {"SET b 1 EX 100", OK}, {"SET c 1 EX 100", OK}, {"PERSIST c", ":1\r\n"});
    reopen();
    atomic_store_explicit(&clock_ms, START_MS + 2000, memory_order_relaxed);
    CONVERSE({"GET a", NIL}, {"PTTL b", ":98000\r\n"}, {"PTTL c", ":-1\r\n"});
}

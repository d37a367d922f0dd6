/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "base/testing.h"
#include "commands.h"
#include "mailbox.h"

enum { WORKERS = 2, POSTERS = 4, POSTS = 5000 };

static struct torc_mvcc *store;
static struct torcd_server *server;
static struct torcd_session *session;
static unsigned notices;

static void
ignore(void *context)
{
    (void)context;
}

static void
ignore_wake(void *context, unsigned worker)
{
    (void)context;
    (void)worker;
}

static void
note_notice(struct torcd_session *noticed)
{
    cr_assert_eq(noticed, session);
    notices++;
}

static void
create(void)
{
    const struct torcd_callbacks callbacks = {.shut_down = ignore, .wake = ignore_wake};
    struct torc_mvcc_options store_options;
    struct torcd_options options;

    torc_mvcc_options_init(&store_options);
    cr_assert_eq(torc_mvcc_open(&store_options, &store), TORC_OK);
    torcd_options_init(&options);
    options.values[TORCD_PUSH_BUFFER_MAX] = 64;
    server = torcd_server_create(store, &options, WORKERS, &callbacks);
    cr_assert_not_null(server);
    session = torcd_session_create(server->workers[0], "127.0.0.1:1");
    cr_assert_not_null(session);
    session->notice = note_notice;
}

static void
destroy(void)
{
    torcd_session_destroy(session);
    torcd_server_destroy(server);
    cr_expect_eq(torc_mvcc_close(store), TORC_OK);
}

TestSuite(mailbox, .init = create, .fini = destroy, .timeout = 60);

/* ---- Messages ------------------------------------------------------------------------------------------------- */

struct letter {
    struct torcd_message message;
    unsigned poster;
    unsigned number;
};

static unsigned heard[POSTERS];         /* The worker's thread only. */
static unsigned heard_all;

/* Oracle: each poster's letters come in their order, and none is missing. */
static void
hear(struct torcd_worker *worker, struct torcd_message *message)
{
    struct letter *letter = (struct letter *)message;

    cr_assert_eq(worker, server->workers[1]);
    cr_assert_eq(letter->number, heard[letter->poster]);
    heard[letter->poster]++;
    heard_all++;
    free(letter);
}

static void
post(unsigned poster, unsigned number)
{
    struct letter *letter = malloc(sizeof *letter);

    cr_assert_not_null(letter);
    *letter = (struct letter){.message = {.run = hear}, .poster = poster, .number = number};
    torcd_worker_post(server->workers[1], &letter->message);
}

Test(mailbox, runs_messages_in_the_order_of_their_posts)
{
    cr_expect_not(torcd_worker_run_messages(server->workers[1]), "it is empty");
    for (unsigned i = 0; i < 10; i++)
        post(0, i);
    cr_expect(torcd_worker_run_messages(server->workers[1]));
    cr_expect_eq(heard_all, 10u);
    cr_expect_not(torcd_worker_run_messages(server->workers[1]));
    cr_expect_not(torcd_worker_run_messages(server->workers[0]), "the other worker got nothing");
}

static atomic_uint rings;

static void
count_ring(void *context)
{
    (void)context;
    /* Release: the consumer that sees the ring finds the message. */
    atomic_fetch_add_explicit(&rings, 1, memory_order_release);
}

Test(mailbox, rings_once_for_what_lies_there_together)
{
    server->workers[1]->mailbox.ring = count_ring;
    for (unsigned i = 0; i < 10; i++)
        post(0, i);
    cr_expect_eq(atomic_load_explicit(&rings, memory_order_acquire), 1u);
    cr_expect(torcd_worker_run_messages(server->workers[1]));
    post(0, 10);
    cr_expect_eq(atomic_load_explicit(&rings, memory_order_acquire), 2u);
    cr_expect(torcd_worker_run_messages(server->workers[1]));
}

/* Thread 0 is the worker and looks only when it hears a ring: a lost ring would let it wait for ever. */
static void
post_or_run(void *context, unsigned number)
{
    unsigned answered = 0;

    (void)context;
    for (unsigned i = 0; number > 0 && i < POSTS; i++)
        post(number - 1, i);
    while (number == 0 && heard_all < POSTERS * POSTS) {
        unsigned rung = atomic_load_explicit(&rings, memory_order_acquire);
        if (rung != answered)
            (void)torcd_worker_run_messages(server->workers[1]);
        answered = rung;
    }
}

Test(mailbox, loses_nothing_of_many_posters)
{
    server->workers[1]->mailbox.ring = count_ring;
    torct_race(POSTERS + 1, post_or_run, NULL);
    for (unsigned i = 0; i < POSTERS; i++)
        cr_expect_eq(heard[i], (unsigned)POSTS);
}

static void
post_again(struct torcd_worker *worker, struct torcd_message *message)
{
    static unsigned left = 3;

    if (--left > 0)
        torcd_worker_post(worker, message);
}

/* What a message posts runs at the next call: a chain of messages does not hold up the loop. */
Test(mailbox, lets_a_message_post_itself_again)
{
    struct torcd_message message = {.run = post_again};

    torcd_worker_post(server->workers[0], &message);
    for (unsigned i = 0; i < 3; i++)
        cr_expect(torcd_worker_run_messages(server->workers[0]));
    cr_expect_not(torcd_worker_run_messages(server->workers[0]));
}

/* ---- Pushes --------------------------------------------------------------------------------------------------- */

static void
expect_out(const char *expected)
{
    cr_expect_eq(session->out.size, strlen(expected));
    cr_expect(session->out.size == 0 || memcmp(session->out.data, expected, session->out.size) == 0);
}

Test(mailbox, pushes_behind_the_replies_that_are_there)
{
    torcd_resp_simple(&session->out, "OK");
    torcd_session_push(session, "+A\r\n", 4);
    torcd_resp_simple(&session->out, "OK");
    cr_expect_eq(notices, 1u);
    expect_out("+OK\r\n+A\r\n+OK\r\n");
}

Test(mailbox, pushes_behind_the_reply_of_the_request_that_runs)
{
    session->running = true;
    torcd_session_push(session, "+A\r\n", 4);
    torcd_resp_simple(&session->out, "OK");
    session->running = false;
    torcd_session_merge_pushed(session);
    torcd_resp_simple(&session->out, "OK");
    expect_out("+OK\r\n+A\r\n+OK\r\n");
    torcd_session_merge_pushed(session);
    expect_out("+OK\r\n+A\r\n+OK\r\n");
}

Test(mailbox, dooms_a_session_that_does_not_take_what_is_pushed)
{
    session->unsent = 50;
    torcd_session_push(session, "+12345678901\r\n", 14);
    cr_expect_not(session->doomed);
    torcd_session_push(session, "+", 1);
    cr_expect(session->doomed);
    cr_expect_eq(notices, 2u);
    cr_expect_eq(session->out.size, 14u);
    torcd_session_push(session, "+", 1);
    cr_expect_eq(notices, 2u, "it is over");
}

Test(mailbox, swallows_what_is_pushed_to_a_session_that_is_closing)
{
    session->closing = true;
    torcd_session_push(session, "+A\r\n", 4);
    expect_out("");
    torcd_session_close(session);
    cr_expect(session->doomed);
}

#ifdef TORC_FAULTS
Test(mailbox, dooms_a_session_without_memory_for_what_is_pushed)
{
    torcd_memory_fail_at(1);
    torcd_session_push(session, "+A\r\n", 4);
    torcd_memory_fail_at(0);
    cr_expect(session->doomed);
    cr_expect_eq(session->out.size, 0u);
}
#endif

/* SPDX-License-Identifier: MIT */
/* Requests that meet memory which waits to be freed: they are put aside, and run once more when it has been. */
#include <criterion/criterion.h>

#include "commands_testing.h"

TestSuite(hold, .timeout = 60);

#define OK "+OK\r\n"

/* The store refuses writes as long as one replaced byte is not freed yet; who calls the sessions can wait. */
static void
open_tight(void)
{
    open_server_with(0, 1);
    for (unsigned i = 0; i < SESSIONS; i++)
        sessions[i]->can_hold = true;
}

/* Let session 0 replace a key until its request is held. */
static void
hold_a_set(void)
{
    unsigned written = 0;

    while (strcmp(ask(0, "SET a 1"), OK) == 0)
        cr_assert_lt(++written, 10000u);
    cr_assert_str_eq(reply, "", "a request that is held has no reply");
    cr_assert_not_null(sessions[0]->held);
}

static enum torcd_feed
feed(const char *text, size_t *consumed)
{
    char window[256];
    unsigned budget = 10;

    (void)snprintf(window, sizeof window, "%s", text);
    return torcd_commands_feed(sessions[0], window, strlen(text), 0, &budget, consumed);
}

static void
free_memory(void)
{
    cr_assert_eq(torc_mvcc_collect(store), TORC_OK);
}

Test(hold, runs_the_request_once_more)
{
    open_tight();
    hold_a_set();
    free_memory();
    cr_expect_str_eq(send_bytes(0, torc_slice("", 0)), OK);
    cr_expect_null(sessions[0]->held);
    cr_expect_str_eq(ask(0, "GET a"), "$1\r\n1\r\n");
    destroy();
}

Test(hold, lets_no_later_request_pass)
{
    size_t consumed = 0;

    open_tight();
    for (unsigned i = 0; feed("SET a 2\r\nGET a\r\n", &consumed) != TORCD_FEED_HELD; i++) {
        cr_assert_lt(i, 10000u);
        torcd_buffer_truncate(&sessions[0]->out, 0);
    }
    cr_expect_eq(consumed, 9u);
    cr_expect_eq(sessions[0]->out.size, 0u);
    free_memory();
    cr_expect_str_eq(ask(0, "GET a"), "+OK\r\n$1\r\n2\r\n");
    destroy();
}

Test(hold, keeps_the_queue_of_an_exec)
{
    open_tight();
    for (unsigned i = 0; sessions[0]->held == NULL; i++) {
        cr_assert_lt(i, 10000u);
        cr_assert_str_eq(ask(0, "MULTI"), OK);
        cr_assert_str_eq(ask(0, "SET a 3"), "+QUEUED\r\n");
        (void)ask(0, "EXEC");
    }
    cr_expect_str_eq(reply, "");
    free_memory();
    cr_expect_str_eq(send_bytes(0, torc_slice("", 0)), "*1\r\n+OK\r\n");
    cr_expect_str_eq(ask(0, "GET a"), "$1\r\n3\r\n");
    destroy();
}

/* Whether the memory is back by then is not in our hands, but the request ends one way or the other. */
Test(hold, holds_a_request_once_only)
{
    open_tight();
    hold_a_set();
    const char *answer = send_bytes(0, torc_slice("", 0));
    cr_expect(begins_with(answer, OK) || begins_with(answer, "-TRYAGAIN memory "), "%s", answer);
    cr_expect_null(sessions[0]->held);
    destroy();
}

Test(hold, forgets_the_request_of_a_client_that_goes)
{
    open_tight();
    hold_a_set();
    destroy();
}

#ifdef TORC_FAULTS
Test(hold, ends_a_connection_without_memory_for_the_request)
{
    bool ended = false;

    open_tight();
    cr_assert_str_eq(ask(0, "PING"), "+PONG\r\n");      /* Now there is room for short replies. */
    for (unsigned i = 0; i < 10000 && !ended; i++) {
        cr_assert_null(sessions[0]->held);
        torcd_memory_fail_at(1);
        (void)ask(0, "SET a 1");
        torcd_memory_fail_at(0);
        ended = sessions[0]->closing;
    }
    cr_expect(ended);
    cr_expect(begins_with(reply, "-TRYAGAIN memory "), "%s", reply);
    cr_expect_null(sessions[0]->held);
    destroy();
}
#endif

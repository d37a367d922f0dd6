/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "metrics.h"

TestSuite(metrics, .timeout = 30);

static struct torc_mvcc *store;
static struct torcd_server *server;
static struct torcd_buffer text;

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
create(void)
{
    const struct torcd_callbacks callbacks = {.shut_down = ignore, .wake = ignore_wake};
    struct torc_mvcc_options store_options;
    struct torcd_options options;

    torc_mvcc_options_init(&store_options);
    cr_assert_eq(torc_mvcc_open(&store_options, &store), TORC_OK);
    torcd_options_init(&options);
    server = torcd_server_create(store, &options, 2, &callbacks);
    cr_assert_not_null(server);
}

static void
destroy(void)
{
    torcd_buffer_fini(&text);
    torcd_server_destroy(server);
    cr_expect_eq(torc_mvcc_close(store), TORC_OK);
}

static double
value_of(const char *name)
{
    char line[128];
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text.data, line);
    cr_assert_not_null(at, "%s", name);
    return strtod(at + strlen(line), NULL);
}

static void
render(void)
{
    torcd_buffer_truncate(&text, 0);
    torcd_metrics_render(server, &text);
    torcd_buffer_append(&text, "", 1);
    cr_assert_eq(text.fault, TORCD_FAULT_NONE);
}

/* Each line is a comment or "name{labels} number". */
Test(metrics, are_well_formed_prometheus_text, .init = create, .fini = destroy)
{
    render();
    for (char *line = text.data; *line != '\0'; line = strchr(line, '\n') + 1) {
        char *end = strchr(line, '\n'), *number;
        cr_assert_not_null(end, "the last line ends");
        if (strncmp(line, "# HELP torc", 11) == 0 || strncmp(line, "# TYPE torc", 11) == 0)
            continue;
        cr_expect(isalpha((unsigned char)*line), "%.40s", line);
        number = memchr(line, ' ', (size_t)(end - line));
        cr_assert_not_null(number);
        (void)strtod(number, &number);
        cr_expect_eq(number, end, "%.60s", line);
    }
}

Test(metrics, count_what_commands_do, .init = create, .fini = destroy)
{
    struct torcd_session *session = torcd_session_create(server->workers[1], "?");
    char lines[] = "SET a 1\r\nGET a\r\nGET b\r\nNONSENSE\r\n";
    unsigned budget = 10;
    size_t consumed;

    cr_assert_not_null(session);
    (void)torcd_commands_feed(session, lines, sizeof lines - 1, 0, &budget, &consumed);
    torcd_session_destroy(session);
    render();
    cr_expect_eq(value_of("torcd_commands_total"), 4);
    cr_expect_eq(value_of("torcd_errors_total"), 1);
    cr_expect_eq(value_of("torcd_keyspace_hits_total"), 1);
    cr_expect_eq(value_of("torcd_keyspace_misses_total"), 1);
    cr_expect_eq(value_of("torcd_command_calls_total{command=\"get\"}"), 2);
    cr_expect_eq(value_of("torcd_command_seconds_count"), 4);
    cr_expect_eq(value_of("torcd_command_seconds_bucket{le=\"+Inf\"}"), 4);
    cr_expect_eq(value_of("torcd_keys{db=\"0\"}"), 1);
    cr_expect_gt(value_of("torcd_command_seconds_sum"), 0);
}

Test(metrics, sort_latencies_into_buckets_of_powers_of_two, .init = create, .fini = destroy)
{
    torcd_worker_latency(server->workers[0], 0);
    torcd_worker_latency(server->workers[0], 512);
    torcd_worker_latency(server->workers[0], 513);
    torcd_worker_latency(server->workers[1], 1024);
    torcd_worker_latency(server->workers[1], UINT64_MAX);
    render();
    cr_expect_eq(value_of("torcd_command_seconds_bucket{le=\"5.12e-07\"}"), 2);
    cr_expect_eq(value_of("torcd_command_seconds_bucket{le=\"1.024e-06\"}"), 4);
    cr_expect_eq(value_of("torcd_command_seconds_bucket{le=\"+Inf\"}"), 5);
}

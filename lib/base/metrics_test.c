/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/metrics.h"

TestSuite(metrics, .timeout = 10);

static struct torci_histogram histogram;

static void
write_everything(struct torci_metrics *metrics)
{
    torci_metrics_counter(metrics, "torc_commits_total", "Commits.", NULL, NULL, 7);
    torci_metrics_counter(metrics, "torc_aborts_total", "Aborts by cause.", "cause", "conflict", 1);
    torci_metrics_counter(metrics, "torc_aborts_total", "Aborts by cause.", "cause", "user", UINT64_MAX);
    torci_metrics_gauge(metrics, "torc_memory_bytes", "Memory.", NULL, NULL, 0);
}

static const char everything[] = "# HELP torc_commits_total Commits.\n"
                                 "# TYPE torc_commits_total counter\n"
                                 "torc_commits_total 7\n"
                                 "# HELP torc_aborts_total Aborts by cause.\n"
                                 "# TYPE torc_aborts_total counter\n"
                                 "torc_aborts_total{cause=\"conflict\"} 1\n"
                                 "torc_aborts_total{cause=\"user\"} 18446744073709551615\n"
                                 "# HELP torc_memory_bytes Memory.\n"
                                 "# TYPE torc_memory_bytes gauge\n"
                                 "torc_memory_bytes 0\n";

Test(metrics, writes_help_and_type_once_per_name)
{
    struct torci_metrics metrics;
    char buffer[1024];

    torci_metrics_begin(&metrics, buffer, sizeof(buffer));
    cr_expect_str_empty(buffer);
    write_everything(&metrics);
    cr_expect_eq(torci_metrics_finish(&metrics), sizeof(everything) - 1);
    cr_expect_str_eq(buffer, everything);
}

Test(metrics, tells_the_whole_length_and_terminates_at_every_capacity)
{
    for (size_t capacity = 0; capacity <= sizeof(everything) + 1; capacity++) {
        struct torci_metrics metrics;
        char *buffer = malloc(capacity + (capacity == 0));      /* Exact, for a sanitizer to see. */

        torci_metrics_begin(&metrics, capacity > 0 ? buffer : NULL, capacity);
        write_everything(&metrics);
        cr_expect_eq(torci_metrics_finish(&metrics), sizeof(everything) - 1);
        if (capacity > 0) {
            size_t kept = capacity < sizeof(everything) ? capacity - 1 : sizeof(everything) - 1;

            cr_expect_eq(strlen(buffer), kept);
            cr_expect_eq(memcmp(buffer, everything, kept), 0);
        }
        free(buffer);
    }
}

Test(metrics, escapes_label_values_and_help)
{
    struct torci_metrics metrics;
    char buffer[256];

    torci_metrics_begin(&metrics, buffer, sizeof(buffer));
    torci_metrics_gauge(&metrics, "torc_open", "Say \"when\"\\\nor not.", "path", "a\\b\"c\nd", 3);
    cr_expect_lt(torci_metrics_finish(&metrics), sizeof(buffer));
    cr_expect_str_eq(buffer, "# HELP torc_open Say \"when\"\\\\\\nor not.\n"
                             "# TYPE torc_open gauge\n"
                             "torc_open{path=\"a\\\\b\\\"c\\nd\"} 3\n");
}

Test(metrics, writes_cumulative_histograms)
{
    static char buffer[16 * 1024];
    static const uint64_t values[] = {0, 1, 3, 4, 1000000, UINT64_C(1) << 50};
    struct torci_metrics metrics;

    torci_histogram_init(&histogram);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        torci_histogram_record(&histogram, values[i]);
    torci_metrics_begin(&metrics, buffer, sizeof(buffer));
    torci_metrics_histogram(&metrics, "torc_get_nanoseconds", "Time of a get.", NULL, NULL, &histogram);
    torci_metrics_histogram(&metrics, "torc_get_nanoseconds", "Time of a get.", "store", "a", &histogram);
    cr_assert_lt(torci_metrics_finish(&metrics), sizeof(buffer));

    cr_expect_eq(strncmp(buffer, "# HELP torc_get_nanoseconds Time of a get.\n"
                                 "# TYPE torc_get_nanoseconds histogram\n"
                                 "torc_get_nanoseconds_bucket{le=\"0\"} 1\n"
                                 "torc_get_nanoseconds_bucket{le=\"3\"} 3\n"
                                 "torc_get_nanoseconds_bucket{le=\"15\"} 4\n", 180), 0, "%s", buffer);
    cr_expect_not_null(strstr(buffer, "torc_get_nanoseconds_bucket{le=\"262143\"} 4\n"));
    cr_expect_not_null(strstr(buffer, "torc_get_nanoseconds_bucket{le=\"1048575\"} 5\n"));
    cr_expect_not_null(strstr(buffer, "torc_get_nanoseconds_bucket{le=\"1099511627775\"} 5\n"
                                      "torc_get_nanoseconds_bucket{le=\"+Inf\"} 6\n"
                                      "torc_get_nanoseconds_sum 1125899907842632\n"
                                      "torc_get_nanoseconds_count 6\n"
                                      "torc_get_nanoseconds_bucket{store=\"a\",le=\"0\"} 1\n"));
    cr_expect_not_null(strstr(buffer, "torc_get_nanoseconds_bucket{store=\"a\",le=\"+Inf\"} 6\n"));
    cr_expect_not_null(strstr(buffer, "torc_get_nanoseconds_count{store=\"a\"} 6\n"));
}

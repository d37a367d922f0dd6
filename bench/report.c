/* SPDX-License-Identifier: MIT */
/* bench/report.c: see report.h. Ratios are of medians over the rounds of one run. */
#include "report.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "plot.h"

struct bench_figure *
bench_report_figure(const struct bench_report *report, unsigned workload, unsigned thread_index, unsigned engine)
{
    return &report->figures[(workload * report->thread_counts + thread_index) * report->engine_count + engine];
}

void
bench_figure_add(struct bench_figure *figure, const struct bench_result *result)
{
    struct bench_result *total = &figure->total;

    if (figure->rounds < BENCH_ROUNDS_MAX)
        figure->rate[figure->rounds++] = result->wall_s > 0 ? (double)result->operations / result->wall_s : 0;
    total->operations += result->operations;
    total->attempts += result->attempts;
    total->commits += result->commits;
    total->busy += result->busy;
    total->wrong += result->wrong;
    total->faults += result->faults;
    total->syncs += result->syncs;
    total->checkpoints += result->checkpoints;
    total->checkpoint_s += result->checkpoint_s;
    total->drain_s += result->drain_s;
    total->wall_s += result->wall_s;
    total->cpu_s += result->cpu_s;
    torci_histogram_merge(&total->latency, &result->latency);
    total->records = result->records;
    total->resident_bytes = result->resident_bytes;
    total->accounted_bytes = result->accounted_bytes;
    total->points = result->points;
    total->reader_begins = result->reader_begins;
    total->reader_ends = result->reader_ends;
    memcpy(total->series, result->series, sizeof total->series);
}

static int
compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

/* The middle of `count` numbers, which are sorted by it. */
static double
median_of(double *numbers, unsigned count)
{
    if (count == 0)
        return 0;
    qsort(numbers, count, sizeof *numbers, compare_doubles);
    return (numbers[(count - 1) / 2] + numbers[count / 2]) / 2;
}

double
bench_figure_median(const struct bench_figure *figure)
{
    double sorted[BENCH_ROUNDS_MAX];

    memcpy(sorted, figure->rate, sizeof sorted);
    return median_of(sorted, figure->rounds);
}

unsigned
bench_find_workload(const char *name)
{
    for (unsigned i = 0; i < bench_workload_count; i++)
        if (strcmp(bench_workloads[i].name, name) == 0)
            return i;
    return UINT_MAX;
}

unsigned
bench_find_engine(const struct bench_report *report, const char *name)
{
    for (unsigned i = 0; i < report->engine_count; i++)
        if (strcmp(report->engines[i]->name, name) == 0)
            return i;
    return UINT_MAX;
}

unsigned
bench_best_peer(const struct bench_report *report, unsigned workload, unsigned thread_index, const char *except)
{
    unsigned best = UINT_MAX;
    double most = 0;

    for (unsigned i = 0; i < report->engine_count; i++) {
        const struct bench_engine *engine = report->engines[i];
        double rate = bench_figure_median(bench_report_figure(report, workload, thread_index, i));

        if (strcmp(engine->name, "torc") == 0 || (engine->abilities & BENCH_IS_BASELINE) != 0 ||
            (except != NULL && strcmp(engine->name, except) == 0))
            continue;
        if (rate > most) {
            most = rate;
            best = i;
        }
    }
    return best;
}

struct bench_reader_figures
bench_reader_figures(const struct bench_result *result)
{
    struct bench_reader_figures figures = { .before = 0 };
    unsigned begins = result->reader_begins;
    unsigned ends = result->reader_ends;
    double rates[3][BENCH_POINTS];
    unsigned counts[3] = { 0, 0, 0 };

    if (result->points < BENCH_POINTS)
        return figures;
    for (unsigned i = 1; i < result->points; i++) {     /* The first point still warms up. */
        unsigned phase = i < begins ? 0 : i < ends ? 1 : 2;

        rates[phase][counts[phase]++] = result->series[i].operations_per_s;
    }
    figures.before = median_of(rates[0], counts[0]);
    figures.with = median_of(rates[1], counts[1]);
    figures.after = median_of(rates[2], counts[2]);
    figures.resident_begin = result->series[begins - 1].resident_bytes;
    figures.resident_end = result->series[ends - 1].resident_bytes;
    figures.resident_after = result->series[result->points - 1].resident_bytes;
    return figures;
}

bool
bench_report_clean(const struct bench_report *report)
{
    unsigned count = bench_workload_count * report->thread_counts * report->engine_count;

    for (unsigned i = 0; i < count; i++) {
        const struct bench_figure *figure = &report->figures[i];

        if (figure->failed || figure->total.wrong != 0 || figure->total.faults != 0)
            return false;
    }
    return true;
}

/* ---- Words --------------------------------------------------------------------------------------------------- */

struct bench_text
bench_amount(double x)
{
    struct bench_text text;

    if (x >= 1e9)
        snprintf(text.bytes, sizeof text.bytes, "%.3g G", x / 1e9);
    else if (x >= 999.5e3)
        snprintf(text.bytes, sizeof text.bytes, x >= 999.5e6 ? "%.0f M" : "%.3g M", x / 1e6);
    else if (x >= 999.5)
        snprintf(text.bytes, sizeof text.bytes, "%.3g k", x / 1e3);
    else
        snprintf(text.bytes, sizeof text.bytes, "%.3g", x);
    return text;
}

struct bench_text
bench_duration(uint64_t ns)
{
    struct bench_text text;

    if (ns < 1000)
        snprintf(text.bytes, sizeof text.bytes, "%u ns", (unsigned)ns);
    else if (ns < 999500)
        snprintf(text.bytes, sizeof text.bytes, "%.3g µs", (double)ns / 1e3);
    else if (ns < 999500000)
        snprintf(text.bytes, sizeof text.bytes, "%.3g ms", (double)ns / 1e6);
    else
        snprintf(text.bytes, sizeof text.bytes, "%.3g s", (double)ns / 1e9);
    return text;
}

/* The value of the first line of a file that begins with `name`; the whole first line if `name` is "". */
static struct bench_text
line_of(const char *path, const char *name)
{
    struct bench_text text = { "" };
    char line[256];
    FILE *file = fopen(path, "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *value = name[0] == '\0' ? line : strchr(line, ':');

        if (strncmp(line, name, strlen(name)) != 0 || value == NULL)
            continue;
        value += strspn(value, ": \t");
        snprintf(text.bytes, sizeof text.bytes, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    if (file != NULL)
        fclose(file);
    return text;
}

static struct bench_text
today(void)
{
    struct bench_text text;
    time_t now = time(NULL);

    strftime(text.bytes, sizeof text.bytes, "%Y-%m-%d %H:%M UTC", gmtime(&now));
    return text;
}

static uint64_t
latency_max(const struct torci_histogram *latency)
{
    struct torci_histogram_summary summary;

    torci_histogram_summarize(latency, &summary);
    return summary.max;
}

bool
bench_measured(const struct bench_report *report, unsigned workload, unsigned thread_index)
{
    for (unsigned i = 0; i < report->engine_count; i++) {
        const struct bench_figure *figure = bench_report_figure(report, workload, thread_index, i);

        if (figure->rounds != 0 || figure->failed)
            return true;
    }
    return false;
}

static bool
is_throughput(const struct bench_workload *workload)
{
    return workload->kind != BENCH_MEMORY && workload->kind != BENCH_LONG_READER;
}

/* ---- Markdown ------------------------------------------------------------------------------------------------ */

void
bench_report_machine(const struct bench_report *report, FILE *file)
{
    struct utsname system;

    uname(&system);
    fprintf(file, "- %s: %s, %ld cores, %s of memory, %s %s\n", today().bytes,
            line_of("/proc/cpuinfo", "model name").bytes, sysconf(_SC_NPROCESSORS_ONLN),
            line_of("/proc/meminfo", "MemTotal").bytes, system.sysname, system.release);
    fprintf(file, "- compiler %s, %s\n", BENCH_COMPILER, BENCH_BUILD);
    fprintf(file, "- `%s`\n", report->command);
    fprintf(file,
            "- %llu keys of %d bytes in random order, incompressible values of %u bytes; %g s per cell, %u interleaved "
            "rounds, "
            "seed %llu; median (least–most)\n",
            (unsigned long long)report->spec.keys, BENCH_KEY_SIZE, report->spec.value_size, report->seconds,
            report->rounds, (unsigned long long)report->seed);
    fprintf(file, "- load averages when the report was written: %s\n", line_of("/proc/loadavg", "").bytes);
    for (unsigned i = 0; i < report->engine_count; i++)
        fprintf(file, "- **%s** %s: %s\n", report->engines[i]->name, report->engines[i]->version,
                report->engines[i]->settings);
}

static void
write_heads(const struct bench_report *report, FILE *file, const char *first, const char *const *last,
            unsigned last_count)
{
    fprintf(file, "%s", first);
    for (unsigned i = 0; i < report->engine_count; i++)
        fprintf(file, " %s |", report->engines[i]->name);
    for (unsigned i = 0; i < last_count; i++)
        fprintf(file, " %s |", last[i]);
    fprintf(file, "\n|---|--:|");
    for (unsigned i = 0; i < report->engine_count + last_count; i++)
        fprintf(file, "--:|");
    fprintf(file, "\n");
}

void
bench_report_rate(const struct bench_figure *figure, FILE *file)
{
    double least;
    double most;

    if (figure->failed || figure->total.wrong != 0) {
        fprintf(file, " **%s** |", figure->failed ? "died" : "wrong answers");
        return;
    }
    if (figure->rounds == 0) {
        fprintf(file, " – |");
        return;
    }
    least = most = figure->rate[0];
    for (unsigned i = 1; i < figure->rounds; i++) {
        least = figure->rate[i] < least ? figure->rate[i] : least;
        most = figure->rate[i] > most ? figure->rate[i] : most;
    }
    fprintf(file, " %s", bench_amount(bench_figure_median(figure)).bytes);
    if (figure->rounds > 1)
        fprintf(file, " (%s–%s)", bench_amount(least).bytes, bench_amount(most).bytes);
    if (figure->total.faults != 0)
        fprintf(file, " **%llu faults**", (unsigned long long)figure->total.faults);
    if (figure->total.busy != 0)
        fprintf(file, " [%s busy]", bench_amount((double)figure->total.busy).bytes);
    fprintf(file, " |");
}

static void
write_ratio(const struct bench_report *report, unsigned workload, unsigned thread_index, unsigned other, bool name,
            FILE *file)
{
    unsigned torc = bench_find_engine(report, "torc");
    double mine = torc == UINT_MAX ? 0 : bench_figure_median(bench_report_figure(report, workload, thread_index, torc));
    double theirs =
        other == UINT_MAX ? 0 : bench_figure_median(bench_report_figure(report, workload, thread_index, other));

    if (mine > 0 && theirs > 0)
        fprintf(file, " %.2f%s%s |", mine / theirs, name ? " " : "", name ? report->engines[other]->name : "");
    else
        fprintf(file, " – |");
}

static void
write_throughput(const struct bench_report *report, FILE *file)
{
    static const char *const last[] = { "torc / best peer", "torc / lfht" };

    fprintf(file, "\n## Throughput (operations per second)\n\n");
    write_heads(report, file, "| workload | threads |", last, 2);
    for (unsigned w = 0; w < bench_workload_count; w++) {
        for (unsigned t = 0; t < report->thread_counts; t++) {
            if (!is_throughput(&bench_workloads[w]) || !bench_measured(report, w, t))
                continue;
            fprintf(file, "| %s | %u |", bench_workloads[w].title, report->threads[t]);
            for (unsigned e = 0; e < report->engine_count; e++)
                bench_report_rate(bench_report_figure(report, w, t, e), file);
            write_ratio(report, w, t, bench_best_peer(report, w, t, NULL), true, file);
            write_ratio(report, w, t, bench_find_engine(report, "lfht"), false, file);
            fprintf(file, "\n");
        }
    }
    fprintf(file,
            "\nPoint reads in a snapshot run %d to a transaction and are counted singly; a full scan is counted in "
            "entries.\n",
            BENCH_READS_PER_TRANSACTION);
}

static bool
retries(const struct bench_workload *workload)
{
    return workload->kind == BENCH_READ_WRITE_TXN || workload->kind == BENCH_COUNTER || workload->mix.modify != 0;
}

static void
write_conflicts(const struct bench_report *report, FILE *file)
{
    fprintf(file, "\n## Conflicts (attempts that did not commit and were run again, per cent)\n\n");
    write_heads(report, file, "| workload | threads |", NULL, 0);
    for (unsigned w = 0; w < bench_workload_count; w++) {
        for (unsigned t = 0; t < report->thread_counts; t++) {
            if (!retries(&bench_workloads[w]) || !bench_measured(report, w, t))
                continue;
            fprintf(file, "| %s | %u |", bench_workloads[w].title, report->threads[t]);
            for (unsigned e = 0; e < report->engine_count; e++) {
                const struct bench_result *total = &bench_report_figure(report, w, t, e)->total;

                if (total->attempts == 0)
                    fprintf(file, " – |");
                else
                    fprintf(file, " %.2f |", 100.0 - 100.0 * (double)total->commits / (double)total->attempts);
            }
            fprintf(file, "\n");
        }
    }
}

static void
write_latencies(const struct bench_report *report, FILE *file)
{
    fprintf(file,
            "\n## Latency (p50 / p99 / p99.9 / max)\n\nOf one operation, retries included; of a whole transaction of "
            "%d reads, a "
            "whole scan. Sampled where an operation is short.\n\n",
            BENCH_READS_PER_TRANSACTION);
    write_heads(report, file, "| workload | threads |", NULL, 0);
    for (unsigned w = 0; w < bench_workload_count; w++) {
        for (unsigned t = 0; t < report->thread_counts; t++) {
            if (!bench_measured(report, w, t) || bench_workloads[w].kind == BENCH_MEMORY)
                continue;
            fprintf(file, "| %s | %u |", bench_workloads[w].title, report->threads[t]);
            for (unsigned e = 0; e < report->engine_count; e++) {
                const struct torci_histogram *latency = &bench_report_figure(report, w, t, e)->total.latency;

                if (torci_histogram_count(latency) == 0)
                    fprintf(file, " – |");
                else
                    fprintf(file, " %s / %s / %s / %s |", bench_duration(torci_histogram_quantile(latency, 1, 2)).bytes,
                            bench_duration(torci_histogram_quantile(latency, 99, 100)).bytes,
                            bench_duration(torci_histogram_quantile(latency, 999, 1000)).bytes,
                            bench_duration(latency_max(latency)).bytes);
            }
            fprintf(file, "\n");
        }
    }
}

static void
write_memory(const struct bench_report *report, FILE *file)
{
    unsigned w = bench_find_workload("memory");

    fprintf(file,
            "\n## Memory per record after a load (bytes)\n\nKey and value are %u bytes of it. Resident growth counts "
            "everything: "
            "the process's heap, tables, and files in tmpfs that it maps.\n\n",
            BENCH_KEY_SIZE + report->spec.value_size);
    fprintf(file, "| engine | resident | overhead | by its own accounting |\n|---|--:|--:|--:|\n");
    for (unsigned e = 0; e < report->engine_count; e++) {
        for (unsigned t = 0; t < report->thread_counts; t++) {
            const struct bench_figure *figure = bench_report_figure(report, w, t, e);
            double records = (double)figure->total.records;

            if (figure->rounds == 0)
                continue;
            fprintf(file, "| %s | %.1f | %.1f |", report->engines[e]->name,
                    (double)figure->total.resident_bytes / records,
                    (double)figure->total.resident_bytes / records - BENCH_KEY_SIZE - report->spec.value_size);
            if (figure->total.accounted_bytes != 0)
                fprintf(file, " %.1f |\n", (double)figure->total.accounted_bytes / records);
            else
                fprintf(file, " – |\n");
        }
    }
}

static void
write_long_reader(const struct bench_report *report, FILE *file)
{
    unsigned w = bench_find_workload("long-reader");

    fprintf(file,
            "\n## Updates of %d keys beside a long reader\n\n%g s: a quarter alone, half beside a reader that holds "
            "its snapshot "
            "and reads keys again and again (it must see what it saw first), a quarter alone.\n\n",
            BENCH_HOT_KEYS, report->long_reader_seconds);
    fprintf(file, "| engine | threads | before, updates/s | beside the reader | lost | after | resident before | at "
                  "its end | after |\n"
                  "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for (unsigned e = 0; e < report->engine_count; e++) {
        for (unsigned t = 0; t < report->thread_counts; t++) {
            const struct bench_figure *figure = bench_report_figure(report, w, t, e);
            struct bench_reader_figures figures = bench_reader_figures(&figure->total);

            if (figure->failed)
                fprintf(file, "| %s | %u | **died** | | | | | | |\n", report->engines[e]->name, report->threads[t]);
            if (figure->rounds == 0)
                continue;
            fprintf(file, "| %s | %u | %s | %s | %.1f %% | %s | %.0f MB | %.0f MB | %.0f MB%s |\n",
                    report->engines[e]->name, report->threads[t], bench_amount(figures.before).bytes,
                    bench_amount(figures.with).bytes,
                    figures.before > 0 ? 100 - 100 * figures.with / figures.before : 0,
                    bench_amount(figures.after).bytes, (double)figures.resident_begin / 1e6,
                    (double)figures.resident_end / 1e6, (double)figures.resident_after / 1e6,
                    figure->total.busy != 0 ? " (limit reached)" : "");
        }
    }
}

static bool
section_wanted(const struct bench_report *report, const char *workload)
{
    for (unsigned t = 0; t < report->thread_counts; t++)
        if (bench_measured(report, bench_find_workload(workload), t))
            return true;
    return false;
}

void
bench_report_markdown(const struct bench_report *report, FILE *file)
{
    bench_report_machine(report, file);
    if (report->durable) {
        bench_report_durable(report, file);
        return;
    }
    bench_report_targets(report, file);
    write_throughput(report, file);
    write_conflicts(report, file);
    if (section_wanted(report, "memory"))
        write_memory(report, file);
    if (section_wanted(report, "long-reader"))
        write_long_reader(report, file);
    write_latencies(report, file);
}

/* ---- JSON ---------------------------------------------------------------------------------------------------- */

static void
write_string(FILE *file, const char *name, const char *value)
{
    fprintf(file, "\"%s\": \"", name);
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\')
            fputc('\\', file);
        if ((unsigned char)*value >= ' ')
            fputc(*value, file);
    }
    fprintf(file, "\"");
}

static void
write_series(FILE *file, const struct bench_result *total)
{
    fprintf(file, ", \"reader_begins\": %u, \"reader_ends\": %u, \"series\": [", total->reader_begins,
            total->reader_ends);
    for (unsigned i = 0; i < total->points; i++)
        fprintf(file, "%s[%.3f, %.0f, %llu, %llu]", i == 0 ? "" : ", ", total->series[i].at_s,
                total->series[i].operations_per_s, (unsigned long long)total->series[i].resident_bytes,
                (unsigned long long)total->series[i].accounted_bytes);
    fprintf(file, "]");
}

static void
write_figure(const struct bench_report *report, FILE *file, unsigned w, unsigned t, unsigned e)
{
    const struct bench_figure *figure = bench_report_figure(report, w, t, e);
    const struct bench_result *total = &figure->total;

    fprintf(file, "    { \"workload\": \"%s\", \"threads\": %u, \"engine\": \"%s\", \"failed\": %s, \"rates\": [",
            bench_workloads[w].name, report->threads[t], report->engines[e]->name, figure->failed ? "true" : "false");
    for (unsigned i = 0; i < figure->rounds; i++)
        fprintf(file, "%s%.1f", i == 0 ? "" : ", ", figure->rate[i]);
    fprintf(file,
            "], \"median\": %.1f, \"operations\": %llu, \"attempts\": %llu, \"commits\": %llu, \"busy\": %llu, "
            "\"wrong\": %llu, "
            "\"faults\": %llu, \"wall_s\": %.3f, \"cpu_s\": %.3f",
            bench_figure_median(figure), (unsigned long long)total->operations, (unsigned long long)total->attempts,
            (unsigned long long)total->commits, (unsigned long long)total->busy, (unsigned long long)total->wrong,
            (unsigned long long)total->faults, total->wall_s, total->cpu_s);
    fprintf(file, ", \"latency_ns\": { \"p50\": %llu, \"p99\": %llu, \"p999\": %llu, \"max\": %llu }",
            (unsigned long long)torci_histogram_quantile(&total->latency, 1, 2),
            (unsigned long long)torci_histogram_quantile(&total->latency, 99, 100),
            (unsigned long long)torci_histogram_quantile(&total->latency, 999, 1000),
            (unsigned long long)latency_max(&total->latency));
    if (total->records != 0)
        fprintf(file, ", \"records\": %llu, \"resident_bytes\": %llu, \"accounted_bytes\": %llu",
                (unsigned long long)total->records, (unsigned long long)total->resident_bytes,
                (unsigned long long)total->accounted_bytes);
    if (total->syncs != 0)
        fprintf(file, ", \"syncs\": %llu", (unsigned long long)total->syncs);
    if (bench_workloads[w].durable)
        fprintf(file, ", \"drain_s\": %.6f", total->drain_s);
    if (total->checkpoints != 0)
        fprintf(file, ", \"checkpoints\": %u, \"checkpoint_s\": %.3f", total->checkpoints, total->checkpoint_s);
    if (total->points != 0)
        write_series(file, total);
    fprintf(file, " }");
}

void
bench_report_json(const struct bench_report *report, FILE *file)
{
    struct utsname system;
    bool first = true;

    uname(&system);
    fprintf(file, "{\n  \"machine\": { ");
    write_string(file, "date", today().bytes);
    fprintf(file, ", ");
    write_string(file, "cpu", line_of("/proc/cpuinfo", "model name").bytes);
    fprintf(file, ", \"cores\": %ld, ", sysconf(_SC_NPROCESSORS_ONLN));
    write_string(file, "memory", line_of("/proc/meminfo", "MemTotal").bytes);
    fprintf(file, ", ");
    write_string(file, "kernel", system.release);
    fprintf(file, ", ");
    write_string(file, "compiler", BENCH_COMPILER);
    fprintf(file, ", ");
    write_string(file, "build", BENCH_BUILD);
    fprintf(file, ", ");
    write_string(file, "load_averages", line_of("/proc/loadavg", "").bytes);
    fprintf(file, " },\n  \"options\": { ");
    write_string(file, "command", report->command);
    fprintf(file,
            ", \"keys\": %llu, \"key_size\": %d, \"value_size\": %u, \"seconds\": %g, \"long_reader_seconds\": %g, "
            "\"rounds\": %u, \"seed\": %llu },\n  \"engines\": [\n",
            (unsigned long long)report->spec.keys, BENCH_KEY_SIZE, report->spec.value_size, report->seconds,
            report->long_reader_seconds, report->rounds, (unsigned long long)report->seed);
    for (unsigned e = 0; e < report->engine_count; e++) {
        fprintf(file, "%s    { ", e == 0 ? "" : ",\n");
        write_string(file, "name", report->engines[e]->name);
        fprintf(file, ", ");
        write_string(file, "version", report->engines[e]->version);
        fprintf(file, ", ");
        write_string(file, "settings", report->engines[e]->settings);
        fprintf(file, " }");
    }
    fprintf(file, "\n  ],\n  \"figures\": [\n");
    for (unsigned w = 0; w < bench_workload_count; w++) {
        for (unsigned t = 0; t < report->thread_counts; t++) {
            for (unsigned e = 0; e < report->engine_count; e++) {
                const struct bench_figure *figure = bench_report_figure(report, w, t, e);

                if (figure->rounds == 0 && !figure->failed)
                    continue;
                fprintf(file, "%s", first ? "" : ",\n");
                first = false;
                write_figure(report, file, w, t, e);
            }
        }
    }
    fprintf(file, "\n  ]\n}\n");
}

/* ---- Plots --------------------------------------------------------------------------------------------------- */

static int
write_plot(const struct bench_plot *plot, const char *directory, const char *kind, const char *name)
{
    char path[512];

    if (plot->lines == 0)
        return 0;
    snprintf(path, sizeof path, "%s/%s%s.svg", directory, name, kind);
    return bench_plot_write(plot, path);
}

static int
plot_over_threads(const struct bench_report *report, unsigned w, const char *directory)
{
    struct bench_text names[BENCH_THREAD_COUNTS_MAX];
    const char *name_pointers[BENCH_THREAD_COUNTS_MAX];
    struct bench_plot plot = { .title = bench_workloads[w].title,
                               .x_label = "threads",
                               .y_label = "operations per second",
                               .x_by_index = true,
                               .x_names = name_pointers,
                               .x_count = report->thread_counts };

    for (unsigned t = 0; t < report->thread_counts; t++) {
        snprintf(names[t].bytes, sizeof names[t].bytes, "%u", report->threads[t]);
        name_pointers[t] = names[t].bytes;
    }
    for (unsigned e = 0; e < report->engine_count; e++) {
        struct bench_line *line = &plot.line[plot.lines];

        line->name = report->engines[e]->name;
        line->colour = e;
        line->points = 0;
        for (unsigned t = 0; t < report->thread_counts; t++) {
            double rate = bench_figure_median(bench_report_figure(report, w, t, e));

            if (rate > 0) {
                line->x[line->points] = (double)t;
                line->y[line->points++] = rate;
            }
        }
        plot.lines += line->points != 0;
    }
    return write_plot(&plot, directory, "", bench_workloads[w].name);
}

static int
plot_latencies(const struct bench_report *report, unsigned w, const char *directory)
{
    static const char *const names[] = { "p50", "p90", "p99", "p99.9", "p99.99", "max" };
    static const uint32_t parts[] = { 5000, 9000, 9900, 9990, 9999, 10000 };     /* In 10,000. */
    char title[160];
    struct bench_plot plot = { .title = title, .x_label = "percentile", .y_label = "latency, ns", .x_by_index = true,
                               .x_names = names, .x_count = sizeof names / sizeof *names, .y_log = true };
    unsigned t = report->thread_counts - 1;

    while (t > 0 && !bench_measured(report, w, t))
        t--;
    snprintf(title, sizeof title, "%s, %u threads", bench_workloads[w].title, report->threads[t]);
    for (unsigned e = 0; e < report->engine_count; e++) {
        const struct torci_histogram *latency = &bench_report_figure(report, w, t, e)->total.latency;
        struct bench_line *line = &plot.line[plot.lines];

        if (torci_histogram_count(latency) == 0)
            continue;
        line->name = report->engines[e]->name;
        line->colour = e;
        line->points = plot.x_count;
        for (unsigned i = 0; i < plot.x_count; i++) {
            line->x[i] = i;
            line->y[i] = (double)torci_histogram_quantile(latency, parts[i], 10000);
        }
        plot.lines++;
    }
    return write_plot(&plot, directory, "-latency", bench_workloads[w].name);
}

static int
plot_over_time(const struct bench_report *report, unsigned w, bool memory, const char *directory)
{
    bool checkpoints = bench_workloads[w].kind == BENCH_CHECKPOINT;
    struct bench_plot plot = { .title = memory ? "memory beside a long reader" : bench_workloads[w].title,
                               .x_label = "seconds",
                               .y_label = memory        ? "resident bytes"
                                          : checkpoints ? "operations per second"
                                                        : "updates per second",
                               .mark_name = checkpoints ? "checkpoints" : "reader open" };

    for (unsigned e = 0; e < report->engine_count; e++) {
        for (unsigned t = 0; t < report->thread_counts; t++) {
            const struct bench_result *total = &bench_report_figure(report, w, t, e)->total;
            struct bench_line *line = &plot.line[plot.lines];

            if (total->points != BENCH_POINTS)
                continue;
            line->name = report->engines[e]->name;
            line->colour = e;
            line->points = total->points;
            for (unsigned i = 0; i < total->points; i++) {
                line->x[i] = total->series[i].at_s;
                line->y[i] = memory ? (double)total->series[i].resident_bytes : total->series[i].operations_per_s;
            }
            if (plot.lines == 0) {      /* The first engine's: torc's. */
                plot.mark_from = total->series[total->reader_begins - 1].at_s;
                plot.mark_to = total->series[total->reader_ends - 1].at_s;
            }
            plot.lines++;
        }
    }
    return write_plot(&plot, directory, memory ? "-memory" : "-throughput", bench_workloads[w].name);
}

int
bench_report_plots(const struct bench_report *report, const char *directory)
{
    int result = 0;

    for (unsigned w = 0; w < bench_workload_count; w++) {
        switch (bench_workloads[w].kind) {
        case BENCH_MEMORY:
        case BENCH_RECOVERY:
            break;
        case BENCH_CHECKPOINT:
            result |= plot_over_time(report, w, false, directory);
            break;
        case BENCH_LONG_READER:
            result |= plot_over_time(report, w, false, directory);
            result |= plot_over_time(report, w, true, directory);
            break;
        default:
            result |= plot_over_threads(report, w, directory);
            result |= plot_latencies(report, w, directory);
        }
    }
    return result;
}

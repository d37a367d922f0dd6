/* SPDX-License-Identifier: MIT */
/* bench/report_durable.c: the tables of the durable engines. Each has the engines that can do its workload. */
#include <limits.h>

#include "report.h"

static bool
takes_part(const struct bench_report *report, unsigned w, unsigned e)
{
    return (report->engines[e]->abilities & bench_workloads[w].needs) == bench_workloads[w].needs;
}

static bool
section_wanted(const struct bench_report *report, unsigned w)
{
    for (unsigned t = 0; t < report->thread_counts; t++)
        if (bench_measured(report, w, t))
            return true;
    return false;
}

static void
write_heads(const struct bench_report *report, FILE *file, unsigned w, const char *first, const char *last)
{
    fprintf(file, "| %s |", first);
    for (unsigned e = 0; e < report->engine_count; e++)
        if (takes_part(report, w, e))
            fprintf(file, " %s |", report->engines[e]->name);
    fprintf(file, "%s\n|--:|", last);
    for (unsigned e = 0; e < report->engine_count; e++)
        if (takes_part(report, w, e))
            fprintf(file, "--:|");
    for (const char *c = last; *c != '\0'; c++)
        if (*c == '|')
            fprintf(file, "--:|");
    fprintf(file, "\n");
}

/* The fastest that is not torc. */
static unsigned
best_peer(const struct bench_report *report, unsigned w, unsigned t)
{
    unsigned best = UINT_MAX;
    double most = 0;

    for (unsigned e = 0; e < report->engine_count; e++) {
        double rate = bench_figure_median(bench_report_figure(report, w, t, e));

        if (strncmp(report->engines[e]->name, "torc", 4) != 0 && rate > most) {
            most = rate;
            best = e;
        }
    }
    return best;
}

static double
rate_of(const struct bench_report *report, unsigned w, unsigned t, unsigned e)
{
    return e == UINT_MAX ? 0 : bench_figure_median(bench_report_figure(report, w, t, e));
}

static void
write_ratio(double mine, double theirs, const char *name, FILE *file)
{
    if (mine > 0 && theirs > 0)
        fprintf(file, " %.2f%s%s |", mine / theirs, name[0] == '\0' ? "" : " ", name);
    else
        fprintf(file, " – |");
}

static void
write_rates(const struct bench_report *report, FILE *file, unsigned w)
{
    bool lazy = (bench_workloads[w].needs & BENCH_IS_LAZY) != 0;
    unsigned none = bench_find_engine(report, "torc-none");
    unsigned torc = bench_find_engine(report, lazy ? "torc-async" : "torc-sync");

    fprintf(file, "\n### %s (per second)\n\n", bench_workloads[w].title);
    write_heads(report, file, w, "threads", lazy ? " async / none | async / best peer |" : " torc / best peer |");
    for (unsigned t = 0; t < report->thread_counts; t++) {
        unsigned peer = best_peer(report, w, t);

        if (!bench_measured(report, w, t))
            continue;
        fprintf(file, "| %u |", report->threads[t]);
        for (unsigned e = 0; e < report->engine_count; e++)
            if (takes_part(report, w, e))
                bench_report_rate(bench_report_figure(report, w, t, e), file);
        if (lazy)
            write_ratio(rate_of(report, w, t, torc), rate_of(report, w, t, none), "", file);
        write_ratio(rate_of(report, w, t, torc), rate_of(report, w, t, peer),
                    peer == UINT_MAX ? "" : report->engines[peer]->name, file);
        fprintf(file, "\n");
    }
}

static void
write_latencies(const struct bench_report *report, FILE *file, unsigned w)
{
    fprintf(file, "\nLatency (p50 / p99 / p99.9 / max):\n\n");
    write_heads(report, file, w, "threads", "");
    for (unsigned t = 0; t < report->thread_counts; t++) {
        if (!bench_measured(report, w, t))
            continue;
        fprintf(file, "| %u |", report->threads[t]);
        for (unsigned e = 0; e < report->engine_count; e++) {
            const struct torci_histogram *latency = &bench_report_figure(report, w, t, e)->total.latency;
            struct torci_histogram_summary summary;

            if (!takes_part(report, w, e))
                continue;
            torci_histogram_summarize(latency, &summary);
            if (summary.count == 0)
                fprintf(file, " – |");
            else
                fprintf(file, " %s / %s / %s / %s |", bench_duration(summary.p50).bytes,
                        bench_duration(summary.p99).bytes, bench_duration(summary.p999).bytes,
                        bench_duration(summary.max).bytes);
        }
        fprintf(file, "\n");
    }
}

enum detail { COMMITS_PER_SYNC, PROCESSOR_TIME, DRAIN };

static void
write_detail(const struct bench_figure *figure, enum detail detail, FILE *file)
{
    const struct bench_result *total = &figure->total;
    double done = (double)total->operations;

    if (figure->rounds == 0 || total->operations == 0 || (detail == COMMITS_PER_SYNC && total->syncs == 0) ||
        (detail == DRAIN && total->drain_s <= 0))
        fprintf(file, " – |");
    else if (detail == COMMITS_PER_SYNC)
        fprintf(file, " %.3g |", done / (double)total->syncs);
    else if (detail == PROCESSOR_TIME)
        fprintf(file, " %s |", bench_duration((uint64_t)(total->cpu_s * 1e9 / done)).bytes);
    else
        fprintf(file, " %s |", bench_duration((uint64_t)(total->drain_s * 1e9 / figure->rounds)).bytes);
}

static void
write_details(const struct bench_report *report, FILE *file, unsigned w, enum detail detail, const char *title)
{
    fprintf(file, "\n%s:\n\n", title);
    write_heads(report, file, w, "threads", "");
    for (unsigned t = 0; t < report->thread_counts; t++) {
        if (!bench_measured(report, w, t))
            continue;
        fprintf(file, "| %u |", report->threads[t]);
        for (unsigned e = 0; e < report->engine_count; e++)
            if (takes_part(report, w, e))
                write_detail(bench_report_figure(report, w, t, e), detail, file);
        fprintf(file, "\n");
    }
}

static void
write_throughput(const struct bench_report *report, FILE *file, unsigned w)
{
    write_rates(report, file, w);
    write_latencies(report, file, w);
    write_details(report, file, w, PROCESSOR_TIME, "Processor time per operation, all threads of the process");
    if ((bench_workloads[w].needs & BENCH_IS_SYNC) != 0)
        write_details(report, file, w, COMMITS_PER_SYNC, "Commits per sync, where the engine tells");
    else
        write_details(report, file, w, DRAIN, "After the cell, until all of it was on the disk");
}

static void
write_checkpoints(const struct bench_report *report, FILE *file, unsigned w)
{
    fprintf(file,
            "\n### %s\n\n%g s: a quarter alone, half in which checkpoints are written one after the other, a quarter "
            "alone. RocksDB's is a flush of its memtable: the first one writes all keys, the others what was updated "
            "since.\n\n"
            "| engine | threads | before, operations/s | beside checkpoints | lost | after | checkpoints | each |\n"
            "|---|--:|--:|--:|--:|--:|--:|--:|\n",
            bench_workloads[w].title, report->long_reader_seconds);
    for (unsigned e = 0; e < report->engine_count; e++) {
        for (unsigned t = 0; t < report->thread_counts; t++) {
            const struct bench_figure *figure = bench_report_figure(report, w, t, e);
            const struct bench_result *total = &figure->total;
            struct bench_reader_figures figures = bench_reader_figures(total);

            if (figure->failed || total->wrong != 0 || total->faults != 0)
                fprintf(file, "| %s | %u | **%s** | | | | | |\n", report->engines[e]->name, report->threads[t],
                        figure->failed ? "died" : "wrong answers or faults");
            else if (figure->rounds != 0)
                fprintf(file, "| %s | %u | %s | %s | %.1f %% | %s | %u | %.2f s |\n", report->engines[e]->name,
                        report->threads[t], bench_amount(figures.before).bytes, bench_amount(figures.with).bytes,
                        figures.before > 0 ? 100 - 100 * figures.with / figures.before : 0,
                        figures.after > 0 ? bench_amount(figures.after).bytes : "–", total->checkpoints,
                        total->checkpoints == 0 ? 0 : total->checkpoint_s / total->checkpoints);
        }
    }
}

static void
write_opening(const struct bench_report *report, unsigned w, unsigned e, const char *unit, FILE *file)
{
    for (unsigned t = 0; t < report->thread_counts; t++) {
        const struct bench_figure *figure = bench_report_figure(report, w, t, e);
        double rate = bench_figure_median(figure);

        if (!takes_part(report, w, e) || (figure->rounds == 0 && !figure->failed))
            continue;
        if (figure->failed || figure->total.wrong != 0 || figure->total.faults != 0 || rate <= 0)
            fprintf(file, " **%s** | |", figure->failed ? "died" : "wrong answers or faults");
        else
            fprintf(file, " %.3g s | %s %s/s |", (double)report->spec.keys / rate, bench_amount(rate).bytes, unit);
        return;
    }
    fprintf(file, " – | – |");
}

static void
write_recovery(const struct bench_report *report, FILE *file, unsigned checkpoint, unsigned journal)
{
    fprintf(file,
            "\n### Opening a store of %llu records of %u bytes\n\nIn a process of its own; files in the page cache. "
            "From a checkpoint: closed in order. From the journal alone: a commit per record, synced, then the process "
            "ended without closing. torc loads every record; the others leave those of a checkpoint on the disk "
            "until they are read. Every record was there afterwards.\n\n"
            "| engine | from a checkpoint | | from the journal | |\n|---|--:|--:|--:|--:|\n",
            (unsigned long long)report->spec.keys, report->spec.value_size);
    for (unsigned e = 0; e < report->engine_count; e++) {
        if (!takes_part(report, checkpoint, e) && !takes_part(report, journal, e))
            continue;
        fprintf(file, "| %s |", report->engines[e]->name);
        write_opening(report, checkpoint, e, "keys", file);
        write_opening(report, journal, e, "commits", file);
        fprintf(file, "\n");
    }
}

void
bench_report_durable(const struct bench_report *report, FILE *file)
{
    unsigned from_checkpoint = bench_find_workload("recovery-checkpoint");
    unsigned from_journal = bench_find_workload("recovery-journal");

    fprintf(file, "- all files in directories of one file system; 4 KiB written there and synced (fdatasync) by one "
                  "thread take %.0f µs (p99 %.0f µs)\n",
            report->sync_us, report->sync_us_p99);
    bench_report_targets(report, file);
    for (unsigned w = 0; w < bench_workload_count; w++) {
        if (!bench_workloads[w].durable || !section_wanted(report, w))
            continue;
        if (bench_workloads[w].kind == BENCH_CHECKPOINT)
            write_checkpoints(report, file, w);
        else if (bench_workloads[w].kind != BENCH_RECOVERY)
            write_throughput(report, file, w);
    }
    if (section_wanted(report, from_checkpoint) || section_wanted(report, from_journal))
        write_recovery(report, file, from_checkpoint, from_journal);
}

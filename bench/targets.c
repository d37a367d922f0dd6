/* SPDX-License-Identifier: MIT */
/* bench/targets.c: what torc's store sets out to reach, and whether this run shows it.
 *
 * A row that needs an engine or a workload that was not measured is left out. Nothing here fails a run: figures of a
 * busy machine are not a verdict. */
#include <limits.h>

#include "report.h"

enum rule {
    RATIO_TO_LFHT,
    RATIO_TO_BEST,          /* Best peer. */
    RATIO_TO_LMDB,
    RATIO_TO_OTHERS,        /* Best peer but LMDB. */
    RATIO_TO_WORKLOAD,      /* torc's own rate at `other`. */
    RATIO_TO_TWO_THREADS,   /* torc's rate at the most threads over its rate at two. */
    NANOSECONDS,            /* Per operation, at one thread; at most. */
    RATE,                   /* Millions per second. */
    OVERHEAD_BYTES,         /* At most. */
    READER_LOSS             /* Per cent; less than. */
};

static const struct target {
    const char *workload;
    enum rule rule;
    double wanted;
    const char *other;
} targets[] = {
    { "read-snapshot", RATIO_TO_LFHT, 0.8, NULL },
    { "read-snapshot-copy", RATIO_TO_LFHT, 0.8, NULL },
    { "begin-end", NANOSECONDS, 60, NULL },
    { "get", RATIO_TO_LFHT, 0.9, NULL },
    { "ycsb-a", RATIO_TO_BEST, 3, NULL },
    { "ycsb-a-zipf", RATIO_TO_BEST, 3, NULL },
    { "ycsb-f", RATIO_TO_BEST, 3, NULL },
    { "ycsb-f-zipf", RATIO_TO_BEST, 3, NULL },
    { "ycsb-b", RATIO_TO_BEST, 1, NULL },
    { "ycsb-b-zipf", RATIO_TO_BEST, 1, NULL },
    { "ycsb-c", RATIO_TO_BEST, 1, NULL },
    { "ycsb-c-zipf", RATIO_TO_BEST, 1, NULL },
    { "txn-4r4w", RATIO_TO_BEST, 3, NULL },
    { "txn-4r4w-zipf", RATIO_TO_BEST, 2, NULL },
    { "ycsb-a", RATIO_TO_TWO_THREADS, 0.95, NULL },
    { "ycsb-f", RATIO_TO_TWO_THREADS, 0.95, NULL },
    { "txn-4r4w", RATIO_TO_TWO_THREADS, 0.95, NULL },
    { "txn-4r4w-zipf", RATIO_TO_TWO_THREADS, 0.95, NULL },
    { "counter-merge", RATE, 5, NULL },
    { "scan-100", RATIO_TO_LMDB, 0.5, NULL },
    { "scan-100", RATIO_TO_OTHERS, 3, NULL },
    { "ycsb-e", RATIO_TO_LMDB, 0.5, NULL },
    { "ycsb-e", RATIO_TO_OTHERS, 3, NULL },
    { "txn-4r4w-serializable", RATIO_TO_WORKLOAD, 0.75, "txn-4r4w" },
    { "memory", OVERHEAD_BYTES, 100, NULL },
    { "long-reader", READER_LOSS, 10, NULL }
};

static void
write_row(FILE *file, const struct target *target, const char *threads, const char *against, double figure,
          const char *unit, bool at_most)
{
    bool met = at_most ? figure <= target->wanted : figure >= target->wanted;

    fprintf(file, "| %s | %s | %s | %.3g%s | %s %g%s | %s |\n",
            bench_workloads[bench_find_workload(target->workload)].title, threads, against, figure, unit,
            at_most ? "≤" : "≥", target->wanted, unit, met ? "yes" : "**no**");
}

static void
write_ratio_row(const struct bench_report *report, FILE *file, const struct target *target, unsigned thread_index,
                double mine, double theirs, const char *against)
{
    char threads[16];

    snprintf(threads, sizeof threads, "%u", report->threads[thread_index]);
    if (mine > 0 && theirs > 0)
        write_row(file, target, threads, against, mine / theirs, " x", false);
}

static unsigned
opponent(const struct bench_report *report, const struct target *target, unsigned w, unsigned t)
{
    switch (target->rule) {
    case RATIO_TO_LFHT:
        return bench_find_engine(report, "lfht");
    case RATIO_TO_LMDB:
        return bench_find_engine(report, "lmdb");
    case RATIO_TO_OTHERS:
        return bench_best_peer(report, w, t, "lmdb");
    default:
        return bench_best_peer(report, w, t, NULL);
    }
}

static unsigned
two_threads(const struct bench_report *report)
{
    for (unsigned t = 0; t < report->thread_counts; t++)
        if (report->threads[t] == 2)
            return t;
    return UINT_MAX;
}

static void
write_target_at(const struct bench_report *report, FILE *file, const struct target *target, unsigned torc, unsigned t)
{
    unsigned w = bench_find_workload(target->workload);
    const struct bench_figure *figure = bench_report_figure(report, w, t, torc);
    double mine = bench_figure_median(figure);
    unsigned last = report->thread_counts - 1;
    unsigned two = two_threads(report);
    unsigned other;
    char threads[16];

    if (figure->rounds == 0 || figure->failed || figure->total.wrong != 0)
        return;
    snprintf(threads, sizeof threads, "%u", report->threads[t]);
    switch (target->rule) {
    case RATIO_TO_WORKLOAD:
        write_ratio_row(report, file, target, t, mine,
                        bench_figure_median(bench_report_figure(report, bench_find_workload(target->other), t, torc)),
                        bench_workloads[bench_find_workload(target->other)].title);
        break;
    case RATIO_TO_TWO_THREADS:
        if (t == last && two != UINT_MAX && two != last)
            write_ratio_row(report, file, target, t, mine,
                            bench_figure_median(bench_report_figure(report, w, two, torc)), "itself at 2 threads");
        break;
    case NANOSECONDS:
        if (report->threads[t] == 1 && mine > 0)
            write_row(file, target, threads, "", 1e9 / mine, " ns", true);
        break;
    case RATE:
        write_row(file, target, threads, "", mine / 1e6, " M/s", false);
        break;
    case OVERHEAD_BYTES:
        write_row(file, target, "", "key and value",
                  (double)figure->total.resident_bytes / (double)figure->total.records - BENCH_KEY_SIZE -
                      report->spec.value_size, " bytes", true);
        break;
    case READER_LOSS: {
        struct bench_reader_figures figures = bench_reader_figures(&figure->total);

        if (figures.before > 0)
            write_row(file, target, threads, "before the reader", 100 - 100 * figures.with / figures.before, " % lost",
                      true);
        break;
    }
    default:
        other = opponent(report, target, w, t);
        if (other != UINT_MAX)
            write_ratio_row(report, file, target, t, mine,
                            bench_figure_median(bench_report_figure(report, w, t, other)),
                            report->engines[other]->name);
    }
}

void
bench_report_targets(const struct bench_report *report, FILE *file)
{
    unsigned torc = bench_find_engine(report, "torc");

    fprintf(file,
            "\n## Targets\n\n| workload | threads | against | torc | wanted | met |\n|---|--:|---|--:|--:|---|\n");
    for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++)
        for (unsigned t = 0; t < report->thread_counts; t++)
            write_target_at(report, file, &targets[i], torc, t);
}

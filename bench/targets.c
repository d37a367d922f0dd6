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
    RATIO_TO_ENGINE,        /* The one named `other`. */
    SECONDS,                /* At most. */
    OVERHEAD_BYTES,         /* At most. */
    READER_LOSS             /* Per cent; less than. */
};

static const struct target {
    const char *workload;
    enum rule rule;
    double wanted;
    const char *other;
    const char *engine;     /* NULL: torc. */
    unsigned char threads[4];   /* Only at these; none: at all. */
} targets[] = {
    { .workload = "read-snapshot", .rule = RATIO_TO_LFHT, .wanted = 0.8 },
    { .workload = "read-snapshot-copy", .rule = RATIO_TO_LFHT, .wanted = 0.8 },
    { .workload = "begin-end", .rule = NANOSECONDS, .wanted = 60 },
    { .workload = "get", .rule = RATIO_TO_LFHT, .wanted = 0.9 },
    { .workload = "ycsb-a", .rule = RATIO_TO_BEST, .wanted = 3 },
    { .workload = "ycsb-a-zipf", .rule = RATIO_TO_BEST, .wanted = 3 },
    { .workload = "ycsb-f", .rule = RATIO_TO_BEST, .wanted = 3 },
    { .workload = "ycsb-f-zipf", .rule = RATIO_TO_BEST, .wanted = 3 },
    { .workload = "ycsb-b", .rule = RATIO_TO_BEST, .wanted = 1 },
    { .workload = "ycsb-b-zipf", .rule = RATIO_TO_BEST, .wanted = 1 },
    { .workload = "ycsb-c", .rule = RATIO_TO_BEST, .wanted = 1 },
    { .workload = "ycsb-c-zipf", .rule = RATIO_TO_BEST, .wanted = 1 },
    { .workload = "txn-4r4w", .rule = RATIO_TO_BEST, .wanted = 3 },
    { .workload = "txn-4r4w-zipf", .rule = RATIO_TO_BEST, .wanted = 2 },
    { .workload = "ycsb-a", .rule = RATIO_TO_TWO_THREADS, .wanted = 0.95 },
    { .workload = "ycsb-f", .rule = RATIO_TO_TWO_THREADS, .wanted = 0.95 },
    { .workload = "txn-4r4w", .rule = RATIO_TO_TWO_THREADS, .wanted = 0.95 },
    { .workload = "txn-4r4w-zipf", .rule = RATIO_TO_TWO_THREADS, .wanted = 0.95 },
    { .workload = "counter-merge", .rule = RATE, .wanted = 5 },
    { .workload = "scan-100", .rule = RATIO_TO_LMDB, .wanted = 0.5 },
    { .workload = "scan-100", .rule = RATIO_TO_OTHERS, .wanted = 3 },
    { .workload = "ycsb-e", .rule = RATIO_TO_LMDB, .wanted = 0.5 },
    { .workload = "ycsb-e", .rule = RATIO_TO_OTHERS, .wanted = 3 },
    { .workload = "txn-4r4w-serializable", .rule = RATIO_TO_WORKLOAD, .wanted = 0.75, .other = "txn-4r4w" },
    { .workload = "memory", .rule = OVERHEAD_BYTES, .wanted = 100 },
    { .workload = "long-reader", .rule = READER_LOSS, .wanted = 10 },
    { .workload = "ycsb-a-durable", .rule = RATIO_TO_ENGINE, .wanted = 0.8, .other = "torc-none",
      .engine = "torc-async", .threads = { 2, 8 } },
    { .workload = "put-sync", .rule = RATIO_TO_ENGINE, .wanted = 1, .other = "lmdb-sync",
      .engine = "torc-sync", .threads = { 8 } },
    { .workload = "put-sync", .rule = RATIO_TO_ENGINE, .wanted = 1, .other = "rocksdb-sync",
      .engine = "torc-sync", .threads = { 8 } },
    { .workload = "put-sync", .rule = RATIO_TO_ENGINE, .wanted = 2, .other = "lmdb-sync",
      .engine = "torc-sync", .threads = { 64 } },
    { .workload = "put-sync", .rule = RATIO_TO_ENGINE, .wanted = 2, .other = "rocksdb-sync",
      .engine = "torc-sync", .threads = { 64 } },
    { .workload = "txn-sync", .rule = RATIO_TO_ENGINE, .wanted = 1, .other = "lmdb-sync",
      .engine = "torc-sync", .threads = { 8 } },
    { .workload = "txn-sync", .rule = RATIO_TO_ENGINE, .wanted = 1, .other = "rocksdb-sync",
      .engine = "torc-sync", .threads = { 8 } },
    { .workload = "txn-sync", .rule = RATIO_TO_ENGINE, .wanted = 2, .other = "lmdb-sync",
      .engine = "torc-sync", .threads = { 64 } },
    { .workload = "txn-sync", .rule = RATIO_TO_ENGINE, .wanted = 2, .other = "rocksdb-sync",
      .engine = "torc-sync", .threads = { 64 } },
    { .workload = "recovery-checkpoint", .rule = SECONDS, .wanted = 1,
      .engine = "torc-async" },
    { .workload = "recovery-journal", .rule = RATE, .wanted = 1,
      .engine = "torc-async" }
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
    case RATIO_TO_ENGINE:
        return bench_find_engine(report, target->other);
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

static bool
holds_at(const struct target *target, unsigned threads)
{
    return target->threads[0] == 0 || memchr(target->threads, (int)threads, sizeof target->threads) != NULL;
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
    case SECONDS:
        write_row(file, target, "", "", (double)report->spec.keys / mine, " s", true);
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
    fprintf(file,
            "\n## Targets\n\n| workload | threads | against | torc | wanted | met |\n|---|--:|---|--:|--:|---|\n");
    for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
        unsigned torc = bench_find_engine(report, targets[i].engine == NULL ? "torc" : targets[i].engine);

        for (unsigned t = 0; torc != UINT_MAX && t < report->thread_counts; t++)
            if (holds_at(&targets[i], report->threads[t]))
                write_target_at(report, file, &targets[i], torc, t);
    }
}

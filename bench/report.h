/* SPDX-License-Identifier: MIT */
/* bench/report.h: what was measured, as Markdown, JSON and plots. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdio.h>

#include "workload.h"

enum { BENCH_ROUNDS_MAX = 64, BENCH_THREAD_COUNTS_MAX = 16 };

/* One engine at one workload and number of threads, over all rounds. */
struct bench_figure {
    unsigned rounds;                    /* 0: not measured. */
    bool failed;                        /* Its process died or hung. */
    double rate[BENCH_ROUNDS_MAX];      /* Operations per second. */
    struct bench_result total;          /* Sums and merged latencies; series and memory of the last round. */
};

struct bench_report {
    struct bench_spec spec;
    double seconds;
    double long_reader_seconds;
    unsigned rounds;
    uint64_t seed;
    bool durable;                       /* Which chapter: its workloads only, and its tables. */
    double sync_us;                     /* Of 4 KiB written and synced where the files are: the middle. */
    double sync_us_p99;
    const char *command;
    const struct bench_engine *engines[16];
    unsigned engine_count;
    unsigned threads[BENCH_THREAD_COUNTS_MAX];
    unsigned thread_counts;
    struct bench_figure *figures;       /* [workload][thread count][engine] */
};

struct bench_figure *bench_report_figure(const struct bench_report *report, unsigned workload, unsigned thread_index,
                                         unsigned engine);

void bench_figure_add(struct bench_figure *figure, const struct bench_result *result);

void bench_report_markdown(const struct bench_report *report, FILE *file);

/* What follows the machine in it, of the durable engines (report_durable.c). */
void bench_report_durable(const struct bench_report *report, FILE *file);

/* Parts of tables. */
struct bench_text {
    char bytes[64];
};
struct bench_text bench_amount(double x);               /* 1234567 -> "1.23 M". */
struct bench_text bench_duration(uint64_t ns);
void bench_report_machine(const struct bench_report *report, FILE *file);
void bench_report_rate(const struct bench_figure *figure, FILE *file);

/* Whether any engine ran this workload. */
bool bench_measured(const struct bench_report *report, unsigned workload, unsigned thread_index);

void bench_report_json(const struct bench_report *report, FILE *file);

/* Write every plot into `directory`, which exists. Returns 0, or -1 with errno. */
int bench_report_plots(const struct bench_report *report, const char *directory);

/* Whether no answer was wrong, no operation failed and no process died. */
bool bench_report_clean(const struct bench_report *report);

/* The targets of torc's store (targets.c), as a Markdown table. */
void bench_report_targets(const struct bench_report *report, FILE *file);

/* The middle of the rounds; the mean of the two middle ones if they are even. 0 if not measured. */
double bench_figure_median(const struct bench_figure *figure);

/* Index of a workload or engine by name; UINT_MAX if there is none. */
unsigned bench_find_workload(const char *name);
unsigned bench_find_engine(const struct bench_report *report, const char *name);

/* The fastest engine that is neither torc nor a baseline nor named `except` (may be NULL); UINT_MAX if there is none.
 * */
unsigned bench_best_peer(const struct bench_report *report, unsigned workload, unsigned thread_index,
                         const char *except);

/* Throughput before, with and after the long reader (medians), and its memory. */
struct bench_reader_figures {
    double before, with, after;
    uint64_t resident_begin, resident_end, resident_after;
};
struct bench_reader_figures bench_reader_figures(const struct bench_result *result);

#endif

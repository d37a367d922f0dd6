/* SPDX-License-Identifier: MIT */
/* bench/plot.h: line charts as SVG, written by hand: no library, no script, readable on light and dark pages. */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_PLOT_LINES_MAX = 12, BENCH_PLOT_POINTS_MAX = 64 };

struct bench_line {
    const char *name;
    unsigned colour;                /* The same engine has the same one in every plot. */
    size_t points;
    double x[BENCH_PLOT_POINTS_MAX];
    double y[BENCH_PLOT_POINTS_MAX];
};

struct bench_plot {
    const char *title;
    const char *x_label;
    const char *y_label;
    bool x_by_index;                /* Ticks are `x_names` at 0, 1, 2 ... */
    const char *const *x_names;
    size_t x_count;
    bool y_log;
    double mark_from, mark_to;      /* Shade this part of x; equal: none. */
    const char *mark_name;
    size_t lines;
    struct bench_line line[BENCH_PLOT_LINES_MAX];
};

/* Write the plot to `path`. Returns 0, or -1 with errno. */
int bench_plot_write(const struct bench_plot *plot, const char *path);

#endif

/* SPDX-License-Identifier: MIT */
/* bench/plot.c: see plot.h. */
#include "plot.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 760, HEIGHT = 420, LEFT = 76, RIGHT = 140, TOP = 46, BOTTOM = 54 };

static const char *const colours[] = { "#d1495b", "#8d99ae", "#2e86ab", "#3a7d44", "#edae49", "#7b5ea7" };

struct frame {
    double x_low, x_high, y_low, y_high;
    double y_step;                  /* Linear only. */
    bool y_log;
};

static double
place_x(const struct frame *frame, double x)
{
    return LEFT + (x - frame->x_low) / (frame->x_high - frame->x_low) * (WIDTH - LEFT - RIGHT);
}

static double
place_y(const struct frame *frame, double y)
{
    double low = frame->y_log ? log10(frame->y_low) : frame->y_low;
    double high = frame->y_log ? log10(frame->y_high) : frame->y_high;
    double at = frame->y_log ? log10(y) : y;

    return HEIGHT - BOTTOM - (at - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
}

/* The least of 1, 2, 5 x 10^n that is not below `x`. */
static double
round_up(double x)
{
    double power = pow(10, floor(log10(x)));

    if (x <= power)
        return power;
    if (x <= 2 * power)
        return 2 * power;
    return x <= 5 * power ? 5 * power : 10 * power;
}

static struct frame
frame_of(const struct bench_plot *plot)
{
    struct frame frame = {
        .x_low = INFINITY, .x_high = -INFINITY, .y_low = INFINITY, .y_high = 0, .y_log = plot->y_log
    };

    for (size_t i = 0; i < plot->lines; i++) {
        for (size_t j = 0; j < plot->line[i].points; j++) {
            double y = plot->line[i].y[j];

            frame.x_low = fmin(frame.x_low, plot->line[i].x[j]);
            frame.x_high = fmax(frame.x_high, plot->line[i].x[j]);
            if (y > 0)
                frame.y_low = fmin(frame.y_low, y);
            frame.y_high = fmax(frame.y_high, y);
        }
    }
    if (plot->x_by_index) {
        frame.x_low = -0.25;
        frame.x_high = (double)plot->x_count - 0.75;
    }
    if (!(frame.x_high > frame.x_low))
        frame.x_high = frame.x_low + 1;
    if (!(frame.y_high > 0)) {
        frame.y_high = 1;
        frame.y_low = 1;
    }
    if (frame.y_log) {
        frame.y_low = pow(10, floor(log10(frame.y_low)));
        frame.y_high = pow(10, ceil(log10(frame.y_high) + 1e-9));
    } else {
        frame.y_low = 0;
        frame.y_step = round_up(frame.y_high / 6);
        frame.y_high = ceil(frame.y_high / frame.y_step) * frame.y_step;
    }
    return frame;
}

static void
write_amount(FILE *file, double amount)
{
    static const struct {
        double unit;
        const char *name;
    } units[] = { { 1e9, " G" }, { 1e6, " M" }, { 1e3, " k" } };

    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (amount >= units[i].unit) {
            fprintf(file, "%g%s", amount / units[i].unit, units[i].name);
            return;
        }
    }
    fprintf(file, "%g", amount);
}

static void
write_y_tick(FILE *file, const struct frame *frame, double y)
{
    double at = place_y(frame, y);

    fprintf(file, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"grid\"/>\n", LEFT, at, WIDTH - RIGHT, at);
    fprintf(file, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, at + 4);
    write_amount(file, y);
    fprintf(file, "</text>\n");
}

static void
write_x_tick(FILE *file, const struct frame *frame, double x, const char *name)
{
    fprintf(file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", place_x(frame, x), HEIGHT - BOTTOM + 18);
    if (name != NULL)
        fprintf(file, "%s</text>\n", name);
    else
        fprintf(file, "%g</text>\n", x);
}

static void
write_axes(FILE *file, const struct bench_plot *plot, const struct frame *frame)
{
    if (frame->y_log) {
        for (double y = frame->y_low; y <= frame->y_high * 1.001; y *= 10)
            write_y_tick(file, frame, y);
    } else {
        for (double y = 0; y <= frame->y_high * 1.001; y += frame->y_step)
            write_y_tick(file, frame, y);
    }
    if (plot->x_by_index) {
        for (size_t i = 0; i < plot->x_count; i++)
            write_x_tick(file, frame, (double)i, plot->x_names[i]);
    } else {
        double step = round_up((frame->x_high - frame->x_low) / 8);

        for (double x = ceil(frame->x_low / step) * step; x <= frame->x_high * 1.0001; x += step)
            write_x_tick(file, frame, x, NULL);
    }
    fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12,
            plot->x_label);
    fprintf(file, "<text x=\"16\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 16 %d)\">%s</text>\n",
            (TOP + HEIGHT - BOTTOM) / 2, (TOP + HEIGHT - BOTTOM) / 2, plot->y_label);
}

static void
write_line(FILE *file, const struct frame *frame, const struct bench_line *line, size_t number)
{
    const char *colour = colours[line->colour % (sizeof colours / sizeof *colours)];
    const char *dash = line->colour >= sizeof colours / sizeof *colours ? " stroke-dasharray=\"5 4\"" : "";
    int legend_y = TOP + 12 + (int)number * 20;

    fprintf(file, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\"%s points=\"", colour,
            line->colour == 0 ? "3" : "2", dash);
    for (size_t i = 0; i < line->points; i++)
        if (!frame->y_log || line->y[i] > 0)
            fprintf(file, "%.1f,%.1f ", place_x(frame, line->x[i]), place_y(frame, line->y[i]));
    fprintf(file, "\"/>\n");
    for (size_t i = 0; i < line->points; i++)
        if (!frame->y_log || line->y[i] > 0)
            fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" fill=\"%s\"/>\n", place_x(frame, line->x[i]),
                    place_y(frame, line->y[i]), line->points > 12 ? "1.5" : "3.5", colour);
    fprintf(file, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"3\"%s/>\n",
            WIDTH - RIGHT + 14, legend_y - 4, WIDTH - RIGHT + 36, legend_y - 4, colour, dash);
    fprintf(file, "<text x=\"%d\" y=\"%d\">%s</text>\n", WIDTH - RIGHT + 42, legend_y, line->name);
}

int
bench_plot_write(const struct bench_plot *plot, const char *path)
{
    struct frame frame = frame_of(plot);
    FILE *file = fopen(path, "w");

    if (file == NULL)
        return -1;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<style>text{fill:#333}.grid{stroke:#ddd}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
            "<text x=\"%d\" y=\"24\" font-size=\"15\">%s</text>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, plot->title);
    if (plot->mark_to > plot->mark_from) {
        fprintf(file, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"#f0f0f0\"/>\n",
                place_x(&frame, plot->mark_from), TOP,
                place_x(&frame, plot->mark_to) - place_x(&frame, plot->mark_from), HEIGHT - TOP - BOTTOM);
        fprintf(file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" font-style=\"italic\">%s</text>\n",
                place_x(&frame, (plot->mark_from + plot->mark_to) / 2), TOP + 14, plot->mark_name);
    }
    write_axes(file, plot, &frame);
    for (size_t i = 0; i < plot->lines; i++)
        write_line(file, &frame, &plot->line[i], i);
    fprintf(file, "</svg>\n");
    if (ferror(file) != 0) {
        fclose(file);
        return -1;
    }
    return fclose(file) == 0 ? 0 : -1;
}

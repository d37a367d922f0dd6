/* SPDX-License-Identifier: MIT */
/* bench/torc_bench.c: the driver: which engines, which workloads, in which order.
 *
 * For each workload and number of threads the rounds are interleaved: every engine runs once, then every engine
 * again, so
 * that a change of the machine's mood meets them all. Engines that wrote are loaded afresh before the next workload. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "process.h"
#include "report.h"

#define ZIPF_THETA 0.99

/* What is measured together: engines that do the same work, the workloads that show it. */
static const struct chapter {
    const char *name;
    const struct bench_engine *const *engines;
    const unsigned *engine_count;
    const char *directory;          /* Where files are, if not said. */
    const char *threads;
    const char *update_begin;       /* The lines of a document between which the report belongs. */
    const char *update_end;
} chapters[] = {
    { "mvcc", bench_engines, &bench_engine_count, "/dev/shm", "1,2,8", "<!-- torc-bench begin -->\n",
      "<!-- torc-bench end -->\n" },
    { "durable", bench_durable_engines, &bench_durable_engine_count, BENCH_DIRECTORY, "1,2,8,64",
      "<!-- torc-bench durable begin -->\n", "<!-- torc-bench durable end -->\n" }
};

struct settings {
    struct bench_report report;
    const struct chapter *chapter;
    const char *engines;            /* Comma-separated patterns; NULL: all. */
    const char *workloads;
    const char *markdown;
    const char *update;             /* A file with the chapter's two lines. */
    const char *json;
    const char *plots;
    const char *directory;          /* NULL: the chapter's. */
    bool reopen;
    bool smoke;
    bool list;
};

static void
interrupt(int signal_number)
{
    (void)signal_number;
    bench_interrupted = 1;
}

static _Noreturn void
fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "torc-bench: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(2);
}

/* ---- Options ------------------------------------------------------------------------------------------------- */

static void
print_help(void)
{
    printf(
        "usage: torc-bench [mvcc] [options]\n"
        "       torc-bench durable [options]\n"
        "       torc-bench wire [options of bench/redis.sh]\n\n"
        "Measures torc's store beside other engines, in one run, and reports the ratios; durable: with their files\n"
        "on a disk. wire measures torcd beside redis-server.\n\n"
        "  --engines LIST       which engines, comma-separated patterns (all that were built in)\n"
        "  --workloads LIST     which workloads, comma-separated patterns, as 'ycsb-*,get' (all)\n"
        "  --threads LIST       numbers of threads (1,2,8; durable: 1,2,8,64)\n"
        "  --keys N             how many records (1000000)\n"
        "  --value-size N       bytes per value, 24..65536 (100)\n"
        "  --seconds S          per cell (2)\n"
        "  --long-reader-seconds S   of the run beside a long reader, or beside checkpoints (20)\n"
        "  --rounds N           interleaved rounds (3)\n"
        "  --seed N             of keys' order, values and draws (1)\n"
        "  --directory DIR      where engines keep files: should be RAM (/dev/shm); durable: a disk (the build)\n"
        "  --reopen             durable: after each cell of a sync workload, open the store anew and count its keys\n"
        "  --markdown FILE      write the report there (else to standard output)\n"
        "  --update FILE        put the report between the lines of FILE that are marked for it\n"
        "  --json FILE          write every figure\n"
        "  --plots DIR          write SVG plots there\n"
        "  --smoke              everything, tiny: whether it works, not how fast\n"
        "  --list               name the engines and workloads and end\n\n"
        "Exit status: 0, 1 if an engine gave wrong answers, failed or died, 2 for a bad option.\n");
}

static void
print_list(const struct chapter *chapter)
{
    printf("engines:\n");
    for (unsigned i = 0; i < *chapter->engine_count; i++)
        printf("  %-16s %s\n", chapter->engines[i]->name, chapter->engines[i]->version);
#ifdef BENCH_MISSING_ENGINES
    printf("not built, for want of their packages: %s\n", BENCH_MISSING_ENGINES);
#endif
    printf("workloads:\n");
    for (unsigned i = 0; i < bench_workload_count; i++)
        if (bench_workloads[i].durable == (chapter != &chapters[0]))
            printf("  %-28s %s\n", bench_workloads[i].name, bench_workloads[i].title);
}

static uint64_t
parse_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 0);
    if (errno != 0 || *end != '\0' || end == text || number < least || number > most)
        fail("--%s: '%s' is not a number from %llu to %llu", option, text, (unsigned long long)least,
             (unsigned long long)most);
    return number;
}

static double
parse_seconds(const char *option, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (*end != '\0' || end == text || !(seconds > 0 && seconds <= 3600))
        fail("--%s: '%s' is not a number of seconds up to 3600", option, text);
    return seconds;
}

static void
parse_threads(struct bench_report *report, const char *text)
{
    char copy[256];
    char *rest = copy;
    char *item;

    report->thread_counts = 0;
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy)
        fail("--threads: too long");
    while ((item = strsep(&rest, ",")) != NULL) {
        if (report->thread_counts == BENCH_THREAD_COUNTS_MAX)
            fail("--threads: more than %d", BENCH_THREAD_COUNTS_MAX);
        report->threads[report->thread_counts++] = (unsigned)parse_number("threads", item, 1, BENCH_THREADS_MAX);
    }
}

/* Whether `name` matches one of the comma-separated patterns. */
static bool
chosen(const char *patterns, const char *name)
{
    char copy[1024];
    char *rest = copy;
    char *item;

    if (patterns == NULL)
        return true;
    snprintf(copy, sizeof copy, "%s", patterns);
    while ((item = strsep(&rest, ",")) != NULL)
        if (fnmatch(item, name, 0) == 0)
            return true;
    return false;
}

static void
make_tiny(struct settings *settings)
{
    settings->report.spec.keys = 2000;
    settings->report.seconds = 0.02;
    settings->report.long_reader_seconds = 0.4;
    settings->report.rounds = 1;
    settings->reopen = true;
    settings->smoke = true;
    parse_threads(&settings->report, "1,2,8");
}

static void
parse_options(struct settings *settings, int count, char **arguments)
{
    enum {
        ENGINES = 256,
        WORKLOADS,
        THREADS,
        KEYS,
        VALUE_SIZE,
        SECONDS,
        LONG_READER_SECONDS,
        ROUNDS,
        SEED,
        DIRECTORY,
        REOPEN,
        MARKDOWN,
        UPDATE,
        JSON,
        PLOTS,
        SMOKE,
        LIST,
        HELP
    };
    static const struct option options[] = {
        { "engines", required_argument, NULL, ENGINES }, { "workloads", required_argument, NULL, WORKLOADS },
        { "threads", required_argument, NULL, THREADS }, { "keys", required_argument, NULL, KEYS },
        { "value-size", required_argument, NULL, VALUE_SIZE }, { "seconds", required_argument, NULL, SECONDS },
        { "long-reader-seconds", required_argument, NULL, LONG_READER_SECONDS },
        { "rounds", required_argument, NULL, ROUNDS }, { "seed", required_argument, NULL, SEED },
        { "directory", required_argument, NULL, DIRECTORY },
        { "reopen", no_argument, NULL, REOPEN }, { "markdown", required_argument, NULL, MARKDOWN },
        { "update", required_argument, NULL, UPDATE },
        { "json", required_argument, NULL, JSON }, { "plots", required_argument, NULL, PLOTS },
        { "smoke", no_argument, NULL, SMOKE }, { "list", no_argument, NULL, LIST },
        { "help", no_argument, NULL, HELP }, { NULL, 0, NULL, 0 }
    };
    struct bench_report *report = &settings->report;
    int option;

    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        switch (option) {
        case ENGINES: settings->engines = optarg; break;
        case WORKLOADS: settings->workloads = optarg; break;
        case THREADS: parse_threads(report, optarg); break;
        case KEYS: report->spec.keys = parse_number("keys", optarg, 100, UINT32_MAX); break;
        case VALUE_SIZE:
            report->spec.value_size =
                (uint32_t)parse_number("value-size", optarg, BENCH_VALUE_SIZE_MIN, BENCH_VALUE_SIZE_MAX);
            break;
        case SECONDS: report->seconds = parse_seconds("seconds", optarg); break;
        case LONG_READER_SECONDS: report->long_reader_seconds = parse_seconds("long-reader-seconds", optarg); break;
        case ROUNDS: report->rounds = (unsigned)parse_number("rounds", optarg, 1, BENCH_ROUNDS_MAX); break;
        case SEED: report->seed = parse_number("seed", optarg, 0, UINT64_MAX); break;
        case DIRECTORY: settings->directory = optarg; break;
        case REOPEN: settings->reopen = true; break;
        case MARKDOWN: settings->markdown = optarg; break;
        case UPDATE: settings->update = optarg; break;
        case JSON: settings->json = optarg; break;
        case PLOTS: settings->plots = optarg; break;
        case SMOKE: make_tiny(settings); break;
        case LIST: settings->list = true; break;
        case HELP: print_help(); exit(0);
        default: exit(2);
        }
    }
    for (unsigned i = 0; optind < count && i < sizeof chapters / sizeof *chapters; i++) {
        if (strcmp(arguments[optind], chapters[i].name) == 0) {
            settings->chapter = &chapters[i];
            optind++;
            break;
        }
    }
    if (optind != count)
        fail("what is '%s'? See --help", arguments[optind]);
    report->durable = settings->chapter != &chapters[0];
    if (report->thread_counts == 0)
        parse_threads(report, settings->chapter->threads);
    if (settings->directory == NULL)
        settings->directory = settings->chapter->directory;
}

static void
choose_engines(struct settings *settings)
{
    struct bench_report *report = &settings->report;

    for (unsigned i = 0; i < *settings->chapter->engine_count; i++)
        if (chosen(settings->engines, settings->chapter->engines[i]->name))
            report->engines[report->engine_count++] = settings->chapter->engines[i];
    if (report->engine_count == 0)
        fail("--engines: none of that name; see --list");
}

/* ---- The run ------------------------------------------------------------------------------------------------- */

/* A block of memory that engines' processes share with the driver, so that it is not copied into each. */
static void *
share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        fail("no memory");
    return memory;
}

static uint32_t *
make_order(uint64_t keys, uint64_t seed)
{
    uint32_t *order = share(keys * sizeof *order);
    struct torci_random random = torci_random_seed(seed);

    for (uint64_t i = 0; i < keys; i++)
        order[i] = (uint32_t)i;
    for (uint64_t i = keys - 1; i > 0; i--) {
        uint64_t other = torci_random_below(&random, i + 1);
        uint32_t id = order[i];

        order[i] = order[other];
        order[other] = id;
    }
    return order;
}

/* Begins in a process of its own, and is told by nothing that ran there before. */
static bool
runs_alone(const struct bench_workload *workload)
{
    return workload->kind == BENCH_MEMORY || workload->kind == BENCH_LONG_READER || workload->kind == BENCH_RECOVERY ||
           workload->kind == BENCH_CHECKPOINT;
}

static bool
is_series(const struct bench_workload *workload)
{
    return workload->kind == BENCH_LONG_READER || workload->kind == BENCH_CHECKPOINT;
}

/* Whether a workload runs at this number of threads: those that run alone do once, with as many threads as there are
 * cores (or the nearest number below). */
static bool
runs_at(const struct bench_report *report, const struct bench_workload *workload, unsigned thread_index)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned best = 0;

    if (!runs_alone(workload))
        return workload->threads[0] == 0 ||
               memchr(workload->threads, (int)report->threads[thread_index], sizeof workload->threads) != NULL;
    for (unsigned t = 0; t < report->thread_counts; t++)
        if ((long)report->threads[t] <= cores && report->threads[t] > report->threads[best])
            best = t;
    return thread_index == best;
}

static void
run_cell(struct bench_process *process, const struct bench_cell *cell, struct bench_figure *figure)
{
    const struct bench_workload *workload = &bench_workloads[cell->workload];
    bool alone = runs_alone(workload);
    const struct bench_result *result;

    if (alone)
        bench_process_stop(process);
    result = bench_process_run(process, cell);
    if (result == NULL) {
        figure->failed = bench_interrupted == 0;
        return;
    }
    bench_figure_add(figure, result);
    fprintf(stderr, "%-11s %10.4g /s%s%s\n", process->session.engine->name, figure->rate[figure->rounds - 1],
            result->wrong != 0 ? "  WRONG ANSWERS" : "", result->faults != 0 ? "  FAULTS" : "");
    if (alone)
        bench_process_stop(process);
}

/* All engines, once. `fresh`: from a freshly loaded store. */
static void
run_round(struct settings *settings, struct bench_process *processes, unsigned w, unsigned t, unsigned round,
          bool fresh)
{
    struct bench_report *report = &settings->report;
    const struct bench_workload *workload = &bench_workloads[w];
    struct bench_cell cell = { .workload = w, .threads = report->threads[t], .seconds = report->seconds,
                               .seed = report->seed + round * 1000u + t, .fresh = fresh,
                               .reopen = settings->reopen && (workload->needs & BENCH_IS_SYNC) != 0 };

    if (is_series(workload))
        cell.seconds = report->long_reader_seconds;
    for (unsigned e = 0; e < report->engine_count && bench_interrupted == 0; e++) {
        struct bench_figure *figure = bench_report_figure(report, w, t, e);

        if ((report->engines[e]->abilities & workload->needs) != workload->needs || figure->failed)
            continue;
        fprintf(stderr, "%-26s %2u threads, round %u  ", workload->name, report->threads[t], round + 1);
        run_cell(&processes[e], &cell, figure);
    }
}

static void
run_workload(struct settings *settings, struct bench_process *processes, unsigned w)
{
    struct bench_report *report = &settings->report;
    unsigned rounds = is_series(&bench_workloads[w]) ? 1 : report->rounds;
    bool fresh = true;

    for (unsigned t = 0; t < report->thread_counts; t++) {
        if (!runs_at(report, &bench_workloads[w], t))
            continue;
        for (unsigned round = 0; round < rounds && bench_interrupted == 0; round++) {
            run_round(settings, processes, w, t, round, fresh);
            fresh = false;
        }
    }
}

static void
run_all(struct settings *settings, const char *directory)
{
    struct bench_report *report = &settings->report;
    struct bench_process processes[16];
    struct bench_session session = { .spec = report->spec, .directory = directory };
    struct bench_zipf *zipf = share(sizeof *zipf);

    session.order = make_order(report->spec.keys, report->seed);
    bench_zipf_init(zipf, report->spec.keys, ZIPF_THETA);
    session.zipf = zipf;
    for (unsigned e = 0; e < report->engine_count; e++) {
        session.engine = report->engines[e];
        session.spec.durability = session.engine->durability;
        if (bench_process_init(&processes[e], &session) != 0)
            fail("no memory");
    }
    for (unsigned w = 0; w < bench_workload_count && bench_interrupted == 0; w++)
        if (bench_workloads[w].durable == report->durable && chosen(settings->workloads, bench_workloads[w].name))
            run_workload(settings, processes, w);
    for (unsigned e = 0; e < report->engine_count; e++)
        bench_process_stop(&processes[e]);
}

static FILE *
create(const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        fail("%s: %s", path, strerror(errno));
    return file;
}

static char *
read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    struct stat status;
    char *text;
    size_t size;

    if (file == NULL || fstat(fileno(file), &status) != 0)
        fail("%s: %s", path, strerror(errno));
    text = malloc((size_t)status.st_size + 1);
    if (text == NULL)
        fail("no memory");
    size = fread(text, 1, (size_t)status.st_size, file);
    text[size] = '\0';
    fclose(file);
    return text;
}

/* Where the marks of a document stand: the end of the first, the begin of the second. */
static void
find_marks(const struct settings *settings, const char *text, const char **begin, const char **end)
{
    const struct chapter *chapter = settings->chapter;

    *begin = strstr(text, chapter->update_begin);
    *end = *begin == NULL ? NULL : strstr(*begin, chapter->update_end);
    if (*end == NULL)
        fail("--update %s: it has no two lines\n%s%s", settings->update, chapter->update_begin, chapter->update_end);
    *begin += strlen(chapter->update_begin);
}

static int
compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

/* What one sync takes there, without any engine. */
static void
measure_disk(struct bench_report *report, const char *directory)
{
    enum { SYNCS = 500, BLOCK = 4096 };
    static char block[BLOCK];
    double us[SYNCS];
    char path[512];
    int file;

    snprintf(path, sizeof path, "%s/sync", directory);
    file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file < 0)
        fail("%s: %s", path, strerror(errno));
    for (int i = -1; i < SYNCS; i++) {          /* The first one allocates. */
        uint64_t before = bench_now_ns();

        if (pwrite(file, block, BLOCK, 0) != BLOCK || fdatasync(file) != 0)
            fail("%s: %s", path, strerror(errno));
        if (i >= 0)
            us[i] = (double)(bench_now_ns() - before) / 1e3;
    }
    close(file);
    (void)unlink(path);
    qsort(us, SYNCS, sizeof *us, compare_doubles);
    report->sync_us = us[SYNCS / 2];
    report->sync_us_p99 = us[SYNCS * 99 / 100];
}

/* In RAM nothing is durable, and nothing costs what it costs. */
static void
check_disk(const struct settings *settings)
{
    struct statfs status;

    if (statfs(settings->directory, &status) != 0)
        fail("%s: %s", settings->directory, strerror(errno));
    if ((status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC) && !settings->smoke)
        fail("%s is in RAM: give --directory one on a disk", settings->directory);
}

/* Find out before the run, not after it, that a report cannot be written. */
static void
check_outputs(const struct settings *settings)
{
    if (settings->update != NULL) {
        const char *begin;
        const char *end;
        char *text = read_whole(settings->update);

        find_marks(settings, text, &begin, &end);
        free(text);
    }
    if (settings->markdown != NULL)
        fclose(create(settings->markdown));
    if (settings->json != NULL)
        fclose(create(settings->json));
    if (settings->plots != NULL && mkdir(settings->plots, 0777) != 0 && errno != EEXIST)
        fail("%s: %s", settings->plots, strerror(errno));
}

/* Replace what stands between the marks of a document by the report. */
static void
update_document(const struct settings *settings)
{
    char *text = read_whole(settings->update);
    const char *begin;
    const char *end;
    FILE *file;

    find_marks(settings, text, &begin, &end);
    file = create(settings->update);
    fwrite(text, 1, (size_t)(begin - text), file);
    fprintf(file, "\n");
    bench_report_markdown(&settings->report, file);
    fprintf(file, "\n%s", end);
    fclose(file);
    free(text);
}

static void
write_reports(const struct settings *settings)
{
    FILE *markdown = settings->markdown != NULL ? create(settings->markdown) : stdout;

    bench_report_markdown(&settings->report, markdown);
    if (markdown != stdout)
        fclose(markdown);
    if (settings->update != NULL)
        update_document(settings);
    if (settings->json != NULL) {
        FILE *json = create(settings->json);

        bench_report_json(&settings->report, json);
        fclose(json);
    }
    if (settings->plots != NULL && bench_report_plots(&settings->report, settings->plots) != 0)
        fail("%s: %s", settings->plots, strerror(errno));
}

/* The command line, as one string for the report. */
static const char *
join(int count, char **arguments)
{
    static char command[2048] = "torc-bench";
    size_t length = strlen(command);

    for (int i = 1; i < count && length < sizeof command; i++)
        length += (size_t)snprintf(command + length, sizeof command - length, " %s", arguments[i]);
    return command;
}

/* Replace this program by the script that measures the servers. */
static _Noreturn void
run_wire(int count, char **arguments)
{
    char **words = calloc((size_t)count + 3, sizeof *words);
    int used = 0;

    if (words == NULL)
        fail("no memory");
    words[used++] = (char[]){ BENCH_WIRE_SCRIPT };
    words[used++] = (char[]){ "--torcd" };
    words[used++] = (char[]){ BENCH_TORCD };
    for (int i = 2; i < count; i++)
        words[used++] = arguments[i];
    execv(words[0], words);
    fail("%s: %s", words[0], strerror(errno));
}

int
main(int count, char **arguments)
{
    static struct settings settings = { .report = { .spec = { .keys = 1000000, .value_size = 100 },
                                                    .seconds = 2,
                                                    .long_reader_seconds = 20,
                                                    .rounds = 3,
                                                    .seed = 1 },
                                        .chapter = &chapters[0] };
    struct bench_report *report = &settings.report;
    char directory[200];
    bool clean;

    if (count > 1 && strcmp(arguments[1], "wire") == 0)
        run_wire(count, arguments);
    report->command = join(count, arguments);     /* Before getopt reorders them. */
    parse_options(&settings, count, arguments);
    if (settings.list) {
        print_list(settings.chapter);
        return 0;
    }
    choose_engines(&settings);
    for (unsigned t = 0; t < report->thread_counts; t++)
        if (report->threads[t] > report->spec.threads_max)
            report->spec.threads_max = report->threads[t];
    report->figures =
        calloc((size_t)bench_workload_count * report->thread_counts * report->engine_count, sizeof *report->figures);
    if (report->figures == NULL)
        fail("no memory");
    check_outputs(&settings);
    if (report->durable)
        check_disk(&settings);
    snprintf(directory, sizeof directory, "%s/torc-bench-XXXXXX", settings.directory);
    if (mkdtemp(directory) == NULL)
        fail("%s: %s", directory, strerror(errno));
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, interrupt);
    signal(SIGTERM, interrupt);
    if (report->durable)
        measure_disk(report, directory);
    run_all(&settings, directory);
    bench_remove_tree(directory);
    write_reports(&settings);
    clean = bench_report_clean(report);
    free(report->figures);
    if (bench_interrupted != 0)
        return 130;
    return clean ? 0 : 1;
}

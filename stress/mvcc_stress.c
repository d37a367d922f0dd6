/* SPDX-License-Identifier: MIT */
/* stress/mvcc_stress: a long run of the store with exact oracles. Rounds of a second or so: a workload on all threads,
 * then its check and the store's own accounts on one; so memory is bounded however long the run is. After some rounds
 * the store is closed, everything must have come back to the allocator, and a new one is opened.
 *
 * Exit code  0  all oracles held and enough was done
 *            1  a violation: the transactions, keys and the seed were printed
 *            2  wrong options, or no memory
 *            3  no progress: a thread stood at one step for --watchdog seconds */
#include "mvcc_stress.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/testing.h"
#include "base/time.h"

enum {
    EXIT_VIOLATION = 1,
    EXIT_USAGE = 2,
    EXIT_STUCK = 3,
    THREADS_MAX = 256,
    KEYS_MAX = 10000,
    ROUNDS_PER_STORE = 4,
    ROUND_MAX_MS = 1000,
    COMMITS_PER_THREAD_MIN = 20,    /* Of the whole run: an idle stress test must not pass. */
    COMPLAINTS_MAX = 20,            /* Printed by one thread; the others are counted. */
    HISTORY_NS = 50 * 1000 * 1000,
    SNAPSHOT_AGE_NS = 5 * 1000 * 1000,
    KEYSPACES_MAX = 64,
    TIME_FIRST_MS = 1000,           /* Of the stores. */
};

struct options {
    unsigned threads;
    uint64_t seconds;
    uint64_t seed;
    uint32_t keys;
    uint64_t watchdog_seconds;
    bool plant;
    const char *mode;
};

#define WORKLOAD(mode, isolation, traits, functions)                                                                 \
    {                                                                                                                \
        mode, isolation, traits, torct_##functions##_prepare, torct_##functions##_run, torct_##functions##_check     \
    }

static const struct torct_workload workloads[] = {
    WORKLOAD("mix", TORC_SNAPSHOT, 0, mix),
    WORKLOAD("append", TORC_SNAPSHOT, 0, lists),
    WORKLOAD("keyspaces", TORC_SNAPSHOT, 0, spaces),
    WORKLOAD("bank", TORC_SNAPSHOT, 0, bank),
    WORKLOAD("load", TORC_SNAPSHOT, 0, loads),
    WORKLOAD("mix", TORC_SNAPSHOT, TORCT_KEEPS_HISTORY, mix),
    WORKLOAD("history", TORC_SNAPSHOT, TORCT_KEEPS_HISTORY, past),
    WORKLOAD("merge", TORC_SNAPSHOT, TORCT_TELLS, merges),
    WORKLOAD("watch", TORC_SNAPSHOT, TORCT_TELLS, watches),
    WORKLOAD("mix", TORC_SNAPSHOT, TORCT_EXPIRES_SNAPSHOTS, mix),
    WORKLOAD("append", TORC_SERIALIZABLE, 0, lists),
    WORKLOAD("limit", TORC_SNAPSHOT, TORCT_LIMITS, limits),
    WORKLOAD("expiry", TORC_SNAPSHOT, 0, expiry),
    WORKLOAD("estimate", TORC_SNAPSHOT, 0, estimates),
    WORKLOAD("allequal", TORC_SNAPSHOT, 0, equal),
    WORKLOAD("driven", TORC_SNAPSHOT, TORCT_DRIVEN, mix),
};

enum { WORKLOADS = sizeof(workloads) / sizeof(workloads[0]) };

static struct torct_stress stress;
static struct torct_ledger ledger;
static struct torc_allocator allocator;

/* ---- Ends ---- */

void
torct_complain(struct torct_worker *worker, const char *format, ...)
{
    va_list arguments;

    if (worker->wrong++ >= COMPLAINTS_MAX)
        return;
    va_start(arguments, format);
    flockfile(stderr);
    fprintf(stderr, "VIOLATION seen by thread %u: ", worker->number);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(arguments);
}

bool
torct_may_come(struct torct_worker *worker, const char *step, enum torc_status status)
{
    worker->conflicts += status != TORC_OK;
    if (status == TORC_OK || torc_status_retryable(status))
        return true;
    torct_complain(worker, "%s returned %s (%s)", step, torc_status_name(status), torc_detail());
    return false;
}

void
torct_give_up(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (seed %" PRIu64 ")\n", stress.seed);
    exit(EXIT_USAGE);
}

/* ---- Watchdog ---- */

static uint64_t watchdog_ns;
static _Atomic(bool) watchdog_off;      /* Relaxed: the thread is joined afterwards. */

static _Noreturn void
report_stuck(unsigned stuck)
{
    fprintf(stderr, "STUCK: thread %u has not moved for %" PRIu64 " s; seed %" PRIu64 ", round %" PRIu64 "\n", stuck,
            watchdog_ns / TORCI_NS_PER_SECOND, stress.seed, stress.round);
    for (unsigned i = 0; i < stress.threads; i++) {
        const char *step = torci_load(&stress.workers[i].step, memory_order_relaxed);

        fprintf(stderr, "  thread %u: %" PRIu64 " steps, now: %s\n", i,
                torci_load(&stress.workers[i].steps, memory_order_relaxed), step != NULL ? step : "not running");
    }
    _exit(EXIT_STUCK);
}

static void *
watch(void *unused)
{
    uint64_t steps[THREADS_MAX] = {0}, since[THREADS_MAX] = {0};

    (void)unused;
    while (!torci_load(&watchdog_off, memory_order_relaxed)) {
        uint64_t now = torci_now_ns();

        for (unsigned i = 0; i < stress.threads; i++) {
            struct torct_worker *worker = &stress.workers[i];
            uint64_t current = torci_load(&worker->steps, memory_order_relaxed);

            if (torci_load(&worker->step, memory_order_relaxed) == NULL || current != steps[i] || since[i] == 0) {
                steps[i] = current;
                since[i] = now;
            } else if (now - since[i] > watchdog_ns) {
                report_stuck(i);
            }
        }
        torci_sleep_ns(TORCI_NS_PER_SECOND / 10);
    }
    return NULL;
}

/* ---- Conservation ---- */

static uint64_t
tell_time(void *context)
{
    return torct_now_ms(context);
}

static void
count_changes(void *context, const struct torc_commit *commit)
{
    struct torct_stress *told = context;
    struct torc_change change;

    for (size_t position = 0; torc_commit_next(commit, &position, &change);)
        torci_fetch_add(&told->told, 1u, memory_order_relaxed);     /* Relaxed: a counter. */
}

static void
open_store(unsigned traits)
{
    struct torc_mvcc_options options;

    stress.traits = traits;
    torct_ledger_init(&ledger);
    allocator = torct_ledger_allocator(&ledger);
    torc_mvcc_options_init(&options);
    options.allocator = &allocator;
    options.now_ms = tell_time;
    options.now_context = &stress;
    options.caller_driven = (traits & TORCT_DRIVEN) != 0;
    if ((traits & TORCT_KEEPS_HISTORY) != 0)
        options.history_ns = HISTORY_NS;
    if ((traits & TORCT_EXPIRES_SNAPSHOTS) != 0)
        options.max_snapshot_age_ns = SNAPSHOT_AGE_NS;
    if ((traits & TORCT_LIMITS) != 0)
        options.txn_limit_bytes = STRESS_TXN_LIMIT;
    if ((traits & TORCT_TELLS) != 0) {
        options.on_commit = count_changes;
        options.on_commit_context = &stress;
    }
    torct_must(torc_mvcc_open(&options, &stress.store));
    torct_mix_forget();
}

/* All that was allocated is given back. */
static void
close_store(void)
{
    torct_must(torc_mvcc_close(stress.store));
    stress.store = NULL;
    if (!torct_ledger_balanced(&ledger)) {
        stress.verdict.total++;
        fprintf(stderr, "VIOLATION: %" PRIu64 " bytes are left after close\n",
                torci_load(&ledger.bytes, memory_order_relaxed));
    }
}

static uint64_t
count_keys(struct torc_keyspace *keyspace)
{
    struct torc_txn_options options = {.read_only = true};
    struct torc_slice key;
    struct torc_cursor *cursor;
    struct torc_txn *txn;
    uint64_t count = 0;

    torct_must(torc_txn_begin(stress.store, &options, &txn));
    torct_must(torc_txn_use(txn, keyspace));
    torct_must(torc_txn_scan(txn, NULL, &cursor));
    while (torc_cursor_next(cursor, &key, NULL) == TORC_OK)
        count++;
    torc_cursor_close(cursor);
    torc_txn_abort(txn);
    return count;
}

/* What scans show, in all keyspaces; their own figures must agree. */
static uint64_t
count_all_keys(void)
{
    struct torc_keyspace *keyspaces[KEYSPACES_MAX];
    uint64_t keys = 0;
    size_t count;

    torct_must(torc_mvcc_keyspaces(stress.store, keyspaces, KEYSPACES_MAX, &count));
    for (size_t i = 0; i < count && i < KEYSPACES_MAX; i++) {
        struct torc_slice name = torc_keyspace_name(keyspaces[i]);
        uint64_t shown = count_keys(keyspaces[i]);

        keys += shown;
        if (torc_keyspace_keys(keyspaces[i]) == shown)
            continue;
        stress.verdict.total++;
        fprintf(stderr, "VIOLATION: keyspace \"%.*s\" counts %" PRIu64 " keys, a scan shows %" PRIu64 "\n",
                (int)name.size, name.size > 0 ? (const char *)name.data : "", torc_keyspace_keys(keyspaces[i]), shown);
    }
    return keys;
}

/* With nothing open, a collected store that keeps no history holds one version for each key that a scan shows. */
static void
check_accounts(void)
{
    bool keeps = (stress.traits & TORCT_KEEPS_HISTORY) != 0;
    struct torc_mvcc_stats stats;
    uint64_t keys, versions;

    torct_must(torc_mvcc_collect(stress.store));
    keys = count_all_keys();
    torct_must(torc_mvcc_stats(stress.store, &stats));
    versions = stats.versions_created - stats.versions_freed;
    if (stats.keys == keys && (keeps ? versions >= keys : versions == keys) && stats.open_transactions == 0
        && stats.retired_bytes == 0 && stats.watermark <= stats.clock)
        return;
    stress.verdict.total++;
    fprintf(stderr, "VIOLATION: the store's accounts: a scan shows %" PRIu64 " keys; stats say %" PRIu64 " keys, %"
            PRIu64 " versions created, %" PRIu64 " freed, %" PRIu64 " bytes retired, %" PRIu64
            " transactions open, clock %" PRIu64 ", watermark %" PRIu64 "\n", keys, stats.keys,
            stats.versions_created, stats.versions_freed, stats.retired_bytes, stats.open_transactions, stats.clock,
            stats.watermark);
}

/* ---- Rounds ---- */

static void
run_worker(void *context, unsigned number)
{
    const struct torct_workload *workload = context;
    struct torct_worker *worker = &stress.workers[number];

    torct_step(worker, "start");
    workload->run(&stress, workload, worker);
    torci_store(&worker->step, NULL, memory_order_relaxed);     /* For the watchdog. */
}

static void
run_round(const struct torct_workload *workload)
{
    uint64_t deadline;

    workload->prepare(&stress, workload);
    torci_store(&stress.stop, false, memory_order_relaxed);     /* The threads start after it. */
    deadline = torci_now_ns() + stress.round_ns;
    for (unsigned i = 0; i < stress.threads; i++) {
        stress.workers[i].random = torci_random_seed(stress.seed ^ (stress.round << 16) ^ i);
        stress.workers[i].deadline = deadline;
    }
    torct_race(stress.threads, run_worker, (void *)workload);
    workload->check(&stress, workload);
    torci_store(&stress.workers[0].step, NULL, memory_order_relaxed);   /* A check may have used it. */
    check_accounts();
}

static uint64_t
total_wrong(void)
{
    uint64_t wrong = stress.verdict.total;

    for (unsigned i = 0; i < stress.threads; i++)
        wrong += stress.workers[i].wrong;
    return wrong;
}

static bool
wanted(const struct options *options, const struct torct_workload *workload)
{
    return strcmp(options->mode, "all") == 0 || strcmp(options->mode, workload->name) == 0;
}

static unsigned
count_wanted(const struct options *options)
{
    unsigned count = 0;

    for (unsigned i = 0; i < WORKLOADS; i++)
        count += wanted(options, &workloads[i]);
    return count;
}

/* Until the time is up; but each workload that is wanted runs at least once. */
static void
run_rounds(const struct options *options)
{
    uint64_t end = torci_now_ns() + options->seconds * TORCI_NS_PER_SECOND, told = torci_now_ns();
    unsigned least = count_wanted(options);

    for (unsigned next = 0; (torci_now_ns() < end || stress.round < least) && total_wrong() == 0; next++) {
        const struct torct_workload *workload = &workloads[next % WORKLOADS];

        if (!wanted(options, workload))
            continue;
        if (stress.store != NULL && stress.traits != workload->traits)
            close_store();
        if (stress.store == NULL)
            open_store(workload->traits);
        run_round(workload);
        stress.round++;
        if (stress.round % ROUNDS_PER_STORE == 0)
            close_store();
        if (torci_now_ns() - told > 10 * TORCI_NS_PER_SECOND) {
            told = torci_now_ns();
            fprintf(stderr, "mvcc_stress: round %" PRIu64 ", %" PRIu64 " s to go\n", stress.round,
                    end > told ? (end - told) / TORCI_NS_PER_SECOND : 0);
        }
    }
    if (stress.store != NULL)
        close_store();
}

static int
summarize(const struct options *options)
{
    uint64_t commits = 0, conflicts = 0, reads = 0, wrong = total_wrong();
    uint64_t floor = (uint64_t)COMMITS_PER_THREAD_MIN * stress.threads;

    for (unsigned i = 0; i < stress.threads; i++) {
        commits += stress.workers[i].commits;
        conflicts += stress.workers[i].conflicts;
        reads += stress.workers[i].reads;
    }
    printf("mvcc_stress: mode %s, seed %" PRIu64 ", %u threads, %" PRIu64 " rounds: %" PRIu64 " committed, %" PRIu64
           " conflicts, %" PRIu64 " reads checked, %" PRIu64 " violations\n", options->mode, stress.seed,
           stress.threads, stress.round, commits, conflicts, reads, wrong);
    if (wrong > 0)
        return EXIT_VIOLATION;
    if (commits < floor) {
        fprintf(stderr, "too little was done: %" PRIu64 " commits, at least %" PRIu64 " were to be\n", commits, floor);
        return EXIT_VIOLATION;
    }
    return EXIT_SUCCESS;
}

/* ---- Options ---- */

static _Noreturn void
usage(FILE *out, int code)
{
    fputs("mvcc_stress [options]: stress the MVCC store and check everything it did\n"
          "  --threads N     threads that work at once (8)\n"
          "  --seconds N     how long (5)\n"
          "  --minutes N     how long, in minutes\n"
          "  --seed N        seed of all choices (drawn and printed; TORC_SEED in the environment is taken too)\n"
          "  --keys N        keys of the mixed workload (48)\n"
          "  --mode M        mix, append, keyspaces, bank, load, history, merge, watch, limit, expiry, estimate,\n"
          "                  allequal, driven, or all in turn (all)\n"
          "  --plant 1       do something wrong, to see that it is found (not mix, append, bank, allequal, driven)\n"
          "  --watchdog N    seconds without a step after which a thread counts as stuck (10)\n",
          out);
    exit(code);
}

static uint64_t
number_of(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end = NULL;
    uint64_t number = text != NULL ? strtoull(text, &end, 0) : 0;

    if (text == NULL || end == text || *end != '\0' || number < least || number > most) {
        fprintf(stderr, "%s needs a number from %" PRIu64 " to %" PRIu64 "\n", option, least, most);
        usage(stderr, EXIT_USAGE);
    }
    return number;
}

static bool
known_mode(const char *mode)
{
    for (unsigned i = 0; mode != NULL && i < WORKLOADS; i++)
        if (strcmp(mode, "all") == 0 || strcmp(mode, workloads[i].name) == 0)
            return true;
    return false;
}

static struct options
parse(int count, char **arguments)
{
    struct options options = {.threads = 8, .seconds = 5, .keys = 48, .watchdog_seconds = 10, .mode = "all"};
    bool seeded = false;

    for (int i = 1; i < count; i += 2) {
        const char *option = arguments[i], *value = arguments[i + 1];       /* NULL past the end. */

        if (strcmp(option, "--help") == 0)
            usage(stdout, EXIT_SUCCESS);
        else if (strcmp(option, "--threads") == 0)
            options.threads = (unsigned)number_of(option, value, 1, THREADS_MAX);
        else if (strcmp(option, "--seconds") == 0)
            options.seconds = number_of(option, value, 1, UINT32_MAX);
        else if (strcmp(option, "--minutes") == 0)
            options.seconds = 60 * number_of(option, value, 1, UINT32_MAX);
        else if (strcmp(option, "--keys") == 0)
            options.keys = (uint32_t)number_of(option, value, 1, KEYS_MAX);
        else if (strcmp(option, "--plant") == 0)
            options.plant = number_of(option, value, 0, 1) != 0;
        else if (strcmp(option, "--watchdog") == 0)
            options.watchdog_seconds = number_of(option, value, 1, UINT32_MAX);
        else if (strcmp(option, "--seed") == 0 && (seeded = true))
            options.seed = number_of(option, value, 0, UINT64_MAX);
        else if (strcmp(option, "--mode") == 0 && known_mode(value))
            options.mode = value;
        else
            usage(stderr, EXIT_USAGE);
    }
    if (!seeded)
        options.seed = torct_seed();
    return options;
}

int
main(int count, char **arguments)
{
    struct options options = parse(count, arguments);
    pthread_t watchdog;
    int code;
    uint64_t round_ms = options.seconds * 1000 / count_wanted(&options) / 2;

    stress.threads = options.threads;
    stress.keys = options.keys;
    stress.seed = options.seed;
    stress.plant = options.plant;
    torci_init(&stress.now_ms, (uint64_t)TIME_FIRST_MS);
    stress.round_ns = (round_ms < ROUND_MAX_MS ? round_ms : ROUND_MAX_MS) * (TORCI_NS_PER_SECOND / 1000);
    stress.verdict.words = stderr;
    stress.workers = aligned_alloc(TORCI_CACHE_LINE, stress.threads * sizeof(*stress.workers));
    if (stress.workers == NULL)
        torct_give_up("no memory for %u threads", stress.threads);
    memset(stress.workers, 0, stress.threads * sizeof(*stress.workers));
    for (unsigned i = 0; i < stress.threads; i++) {
        stress.workers[i].number = i;
        stress.workers[i].stress = &stress;
    }
    watchdog_ns = options.watchdog_seconds * TORCI_NS_PER_SECOND;
    if (pthread_create(&watchdog, NULL, watch, NULL) != 0)
        torct_give_up("no watchdog");
    run_rounds(&options);
    torci_store(&watchdog_off, true, memory_order_relaxed);
    pthread_join(watchdog, NULL);
    code = summarize(&options);
    torct_mix_fini();
    free(stress.workers);
    return code;
}

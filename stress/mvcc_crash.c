/* SPDX-License-Identifier: MIT */
/* stress/mvcc_crash: a process that writes to a durable store is killed (-9) again and again, at any moment; the next
 * one opens the store, checks what it finds, and goes on writing.
 *
 *   parent   exec --> wait --> kill --> exec ...              child   open, check, say so --> threads write --> killed
 *      \________________ ledger: memory that both map ________________/
 *
 * Each thread writes a state that checks itself: its n-th transaction puts n into four keys, whose values have a size
 * and bytes that follow from n; adds 1 to one of three sums that all threads share; puts a key and deletes the one of
 * 32 transactions before; and writes into a keyspace that is made after every 128th transaction and dropped after 64
 * more.
 *
 * Oracle     A store that was opened shows for each thread exactly the first n transactions, for one n: no less than
 *            were acknowledged, no more than were begun; and the sums add up. What is acknowledged stands in the
 *            ledger, which outlives the child: a commit that returned (sync), torc_mvcc_wait_durable() after it
 *            (async), or torc_mvcc_checkpoint() (none). After some lives the child is told to close: then all must be
 *            there.
 * The power stays on: what was written and not synced survives here. mvcc_crash_test has the other half.
 *
 * Exit code  0  all oracles held and enough was done
 *            1  a violation: it was printed, with the seed
 *            2  wrong options, or the system refuses
 *            3  a child did not come to its check, or to its end */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <torc/mvcc.h>

#include "base/atomic.h"
#include "base/random.h"
#include "base/testing.h"
#include "base/time.h"

enum {
    EXIT_VIOLATION = 1,
    EXIT_USAGE = 2,
    EXIT_STUCK = 3,
    THREADS_MAX = 64,
    COPIES = 4,                     /* Keys that hold a thread's number. */
    SUMS = 3,
    WINDOW = 32,                    /* Keys that a thread leaves behind. */
    TURN = 128,                     /* Transactions from one life of a keyspace to the next; half of them with it. */
    FILLER_MAX = 600,
    NAME_SIZE = 32,
    TEXT_SIZE = 32,
    WAIT_EVERY = 16,                /* async: a thread waits after so many commits. */
    KILLS_MIN = 2,                  /* Of a run: an idle one must not pass. */
    STUCK_SECONDS = 120,
    MS = 1000 * 1000,               /* Nanoseconds. */
};

/* What one thread has done, over all lives. Written by the child that lives. */
struct account {
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) begun;
    _Atomic(uint64_t) committed;
    _Atomic(uint64_t) acknowledged;     /* Relaxed, all three: read by the thread itself, and when the child is dead. */
};

/* Outlives each child. */
struct ledger {
    _Atomic(uint32_t) ready;            /* The child has opened and checked. */
    _Atomic(uint32_t) stop;             /* It is to close and end. */
    _Atomic(uint64_t) checkpoints;
    struct account accounts[THREADS_MAX];
};

struct options {
    unsigned threads;
    uint64_t seconds;
    uint64_t seed;
    bool plant;
    /* Of a child. */
    bool child;
    int ledger;                         /* A descriptor. */
    uint64_t durability;
    const char *directory;
};

static struct options options;
static struct ledger *ledger;
static struct torc_mvcc *store;
static char directory[TORCT_PATH_SIZE];     /* Of the parent, removed at exit. */

/* ---- Ends ---- */

__attribute__((format(printf, 1, 2), noreturn)) static void
give_up(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (seed %" PRIu64 ")\n", options.seed);
    exit(EXIT_USAGE);
}

/* Of a child: the parent tells the seed. */
__attribute__((format(printf, 1, 2), noreturn)) static void
violation(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    flockfile(stderr);
    fputs("VIOLATION: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(arguments);
    _exit(EXIT_VIOLATION);
}

#define must(call)                                                                                                    \
    do {                                                                                                              \
        enum torc_status must_status = (call);                                                                        \
        if (must_status != TORC_OK)                                                                                   \
            violation("%s: %s (%s)", #call, torc_status_name(must_status), torc_detail());                            \
    } while (0)

static uint64_t
get_counter(_Atomic(uint64_t) *counter)
{
    return torci_load(counter, memory_order_relaxed); /* See struct account. */
}

static void
set_counter(_Atomic(uint64_t) *counter, uint64_t value)
{
    torci_store(counter, value, memory_order_relaxed); /* See struct account. */
}

/* ---- The state ---- */

static struct torc_slice
name_of(char name[NAME_SIZE], const char *kind, unsigned thread, uint64_t number)
{
    return torc_slice(name, (size_t)snprintf(name, NAME_SIZE, "%s%02u.%012" PRIu64, kind, thread, number));
}

/* The value of a thread's number: itself, and a filler whose size and bytes follow from it. */
static struct torc_slice
value_of(unsigned char value[sizeof(uint64_t) + FILLER_MAX], unsigned thread, uint64_t number)
{
    uint64_t state = number * THREADS_MAX + thread, mixed = torci_splitmix64(&state);
    size_t size = (size_t)(mixed % 16 == 0 ? (mixed >> 8) % FILLER_MAX : (mixed >> 8) % 32);

    memcpy(value, &number, sizeof(number));
    memset(value + sizeof(number), (int)(mixed >> 32 & 0xff), size);
    return torc_slice(value, sizeof(number) + size);
}

/* Whether the keyspace is there when a thread's next transaction begins, and how many of its transactions are in it. */
static bool
has_keyspace(uint64_t number)
{
    return number % TURN < TURN / 2;
}

/* ---- Checking ---- */

static uint64_t
number_in(unsigned thread, struct torc_slice value)
{
    unsigned char expected[sizeof(uint64_t) + FILLER_MAX];
    struct torc_slice whole;
    uint64_t number;

    if (value.size < sizeof(number))
        violation("thread %u has a value of %zu bytes", thread, value.size);
    memcpy(&number, value.data, sizeof(number));
    whole = value_of(expected, thread, number);
    if (whole.size != value.size || memcmp(whole.data, value.data, whole.size) != 0)
        violation("thread %u has a damaged value of %" PRIu64, thread, number);
    return number;
}

/* The thread's number, in all of its copies. */
static uint64_t
check_copies(struct torc_txn *txn, unsigned thread)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < COPIES; i++) {
        char name[NAME_SIZE];
        struct torc_slice value;
        enum torc_status status = torc_txn_get(txn, name_of(name, "copy", thread, i), &value);
        uint64_t found = status == TORC_NOT_FOUND ? 0 : number_in(thread, value);

        if (i > 0 && found != number)
            violation("thread %u: copy %u has %" PRIu64 ", the first one %" PRIu64, thread, i, found, number);
        number = found;
    }
    return number;
}

/* A scan must show the keys of `kind` from `first` to `last`, each with its number. */
static void
check_run(struct torc_txn *txn, const char *kind, unsigned thread, uint64_t first, uint64_t last)
{
    struct torc_scan_options scan = {{NULL, 0}, {NULL, 0}, {NULL, 0}, false};
    char prefix[NAME_SIZE], name[NAME_SIZE];
    struct torc_slice key, value;
    struct torc_cursor *cursor;
    uint64_t next = first;

    scan.prefix = torc_slice(prefix, (size_t)snprintf(prefix, sizeof(prefix), "%s%02u.", kind, thread));
    must(torc_txn_scan(txn, &scan, &cursor));
    while (torc_cursor_next(cursor, &key, &value) == TORC_OK) {
        struct torc_slice expected = name_of(name, kind, thread, next);

        if (next > last || key.size != expected.size || memcmp(key.data, expected.data, key.size) != 0 ||
            number_in(thread, value) != next)
            violation("thread %u: a scan of %" PRIu64 " to %" PRIu64 " shows %.*s, not %" PRIu64, thread, first, last,
                      (int)key.size, (const char *)key.data, next);
        next++;
    }
    torc_cursor_close(cursor);
    if (next != last + 1)
        violation("thread %u: a scan of %" PRIu64 " to %" PRIu64 " ends before %" PRIu64, thread, first, last, next);
}

static struct torc_keyspace *
find_keyspace(unsigned thread)
{
    struct torc_keyspace *keyspace = NULL;
    char name[NAME_SIZE];
    enum torc_status status = torc_keyspace_find(store, name_of(name, "space", thread, 0), &keyspace);

    if (status != TORC_OK && status != TORC_NOT_FOUND)
        violation("find: %s (%s)", torc_status_name(status), torc_detail());
    return keyspace;
}

/* Between two transactions it is made, or dropped: either may be found. */
static void
check_keyspace(struct torc_txn *txn, unsigned thread, uint64_t number)
{
    struct torc_keyspace *keyspace = find_keyspace(thread);
    uint64_t at = number % TURN;
    bool may = at <= TURN / 2, needs = at > 0 && at < TURN / 2;

    if (keyspace == NULL && needs)
        violation("thread %u, %" PRIu64 ": its keyspace is gone", thread, number);
    if (keyspace != NULL && !may)
        violation("thread %u, %" PRIu64 ": its keyspace is there again", thread, number);
    if (keyspace == NULL)
        return;
    must(torc_txn_use(txn, keyspace));
    check_run(txn, "in", thread, number - at + 1, number);
    must(torc_txn_use(txn, NULL));
}

static uint64_t
check_sums(struct torc_txn *txn)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < SUMS; i++) {
        char name[NAME_SIZE];
        struct torc_slice value;
        uint64_t part = 0;

        if (torc_txn_get(txn, name_of(name, "sum", 0, i), &value) == TORC_OK && value.size == sizeof(part))
            memcpy(&part, value.data, sizeof(part));
        sum += part;
    }
    return sum;
}

/* Everything that was recovered; and where each thread goes on. */
static void
check(void)
{
    struct torc_txn_options read_only = {.read_only = true};
    uint64_t sum = 0;
    struct torc_txn *txn;

    must(torc_txn_begin(store, &read_only, &txn));
    for (unsigned i = 0; i < options.threads; i++) {
        struct account *account = &ledger->accounts[i];
        uint64_t number = check_copies(txn, i);

        if (number < get_counter(&account->acknowledged))
            violation("thread %u: %" PRIu64 " were acknowledged, %" PRIu64 " are there", i,
                      get_counter(&account->acknowledged), number);
        if (number > get_counter(&account->begun))
            violation("thread %u: %" PRIu64 " were begun, %" PRIu64 " are there", i, get_counter(&account->begun),
                      number);
        check_run(txn, "past", i, number < WINDOW ? 1 : number - WINDOW + 1, number);
        check_keyspace(txn, i, number);
        sum += number;
        set_counter(&account->begun, number);
        set_counter(&account->committed, number);
        set_counter(&account->acknowledged, number);
    }
    if (check_sums(txn) != sum)
        violation("the sums are %" PRIu64 ", the transactions %" PRIu64, check_sums(txn), sum);
    torc_txn_abort(txn);
}

/* ---- Writing ---- */

/* Make the keyspace, or drop it, as the next transaction wants it. */
static struct torc_keyspace *
turn_keyspace(unsigned thread, uint64_t number)
{
    struct torc_keyspace *keyspace = find_keyspace(thread);
    char name[NAME_SIZE];

    if (has_keyspace(number) && keyspace == NULL)
        must(torc_keyspace_create(store, name_of(name, "space", thread, 0), &keyspace));
    if (!has_keyspace(number) && keyspace != NULL) {
        must(torc_keyspace_drop(keyspace));
        keyspace = NULL;
    }
    return keyspace;
}

static void
write_number(struct torc_txn *txn, unsigned thread, uint64_t number, struct torc_keyspace *keyspace)
{
    unsigned char bytes[sizeof(uint64_t) + FILLER_MAX];
    struct torc_slice value = value_of(bytes, thread, number);
    int64_t one = 1;
    char name[NAME_SIZE];

    for (unsigned i = 0; i < COPIES; i++)
        must(torc_txn_put(txn, name_of(name, "copy", thread, i), value));
    must(torc_txn_merge(txn, name_of(name, "sum", 0, number % SUMS), &torc_merge_add, torc_slice(&one, sizeof(one))));
    must(torc_txn_put(txn, name_of(name, "past", thread, number), value));
    if (number > WINDOW)
        must(torc_txn_delete(txn, name_of(name, "past", thread, number - WINDOW)));
    if (keyspace == NULL)
        return;
    must(torc_txn_use(txn, keyspace));
    must(torc_txn_put(txn, name_of(name, "in", thread, number), value));
}

/* As the store's durability wants it; with `plant` too early. */
static void
acknowledge(struct account *account, uint64_t number)
{
    if (options.durability == TORC_DURABILITY_NONE)
        return;
    if (options.durability == TORC_DURABILITY_ASYNC && !options.plant) {
        if (number % WAIT_EVERY != 0)
            return;
        must(torc_mvcc_wait_durable(store, torc_last_commit()));
    }
    set_counter(&account->acknowledged, number);
}

static void *
write_on(void *argument)
{
    struct account *account = argument;
    unsigned thread = (unsigned)(account - ledger->accounts);
    uint64_t number = get_counter(&account->committed);

    while (torci_load(&ledger->stop, memory_order_relaxed) == 0) { /* Relaxed: a hint. */
        struct torc_keyspace *keyspace = turn_keyspace(thread, number);
        struct torc_txn *txn;

        set_counter(&account->begun, ++number);
        must(torc_txn_begin(store, NULL, &txn));
        write_number(txn, thread, number, keyspace);
        must(options.plant ? torc_txn_commit_async(txn) : torc_txn_commit(txn));
        set_counter(&account->committed, number);
        acknowledge(account, number);
    }
    return NULL;
}

/* Beside the threads: checkpoints, and with no journal what is acknowledged. */
static void
work_beside(struct torci_random *random)
{
    uint64_t committed[THREADS_MAX];

    while (torci_load(&ledger->stop, memory_order_relaxed) == 0) { /* Relaxed: a hint. */
        torci_sleep_ns((1 + torci_random_below(random, 60)) * MS);
        for (unsigned i = 0; i < options.threads; i++)
            committed[i] = get_counter(&ledger->accounts[i].committed);
        if (options.durability == TORC_DURABILITY_NONE || torci_random_below(random, 2) == 0)
            must(torc_mvcc_checkpoint(store, true));
        else
            must(torc_mvcc_sync(store));
        torci_fetch_add(&ledger->checkpoints, 1, memory_order_relaxed); /* A figure. */
        if (options.durability == TORC_DURABILITY_NONE)
            for (unsigned i = 0; i < options.threads; i++)
                set_counter(&ledger->accounts[i].acknowledged, committed[i]);
    }
}

static int
live(void)
{
    struct torci_random random = torci_random_seed(options.seed);
    pthread_t threads[THREADS_MAX];
    struct torc_mvcc_options opening;

    torc_mvcc_options_init(&opening);
    opening.directory = options.directory;
    opening.durability = (enum torc_durability)options.durability;
    opening.checkpoint_bytes = 256 * 1024;
    must(torc_mvcc_open(&opening, &store));
    check();
    torci_store(&ledger->ready, 1u, memory_order_release);
    for (unsigned i = 0; i < options.threads; i++)
        if (pthread_create(&threads[i], NULL, write_on, &ledger->accounts[i]) != 0)
            give_up("no thread can be started");
    work_beside(&random);
    for (unsigned i = 0; i < options.threads; i++)
        pthread_join(threads[i], NULL);
    must(torc_mvcc_close(store));
    for (unsigned i = 0; i < options.threads; i++)
        set_counter(&ledger->accounts[i].acknowledged, get_counter(&ledger->accounts[i].committed));
    return EXIT_SUCCESS;
}

/* ---- The parent ---- */

struct figures {
    uint64_t lives;
    uint64_t kills;
    uint64_t kills_early;               /* Before the check was over. */
    uint64_t closes;
    uint64_t commits;
    uint64_t violations;
};

static int
map_ledger(int descriptor)
{
    if (descriptor < 0) {
        char path[TORCT_PATH_SIZE + 16];

        snprintf(path, sizeof(path), "%s/ledger", directory);
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (descriptor < 0 || ftruncate(descriptor, sizeof(*ledger)) != 0)
            give_up("no ledger: %s", strerror(errno));
    }
    ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (ledger == MAP_FAILED)
        give_up("no memory for a ledger: %s", strerror(errno));
    return descriptor;
}

static pid_t
start(enum torc_durability durability, uint64_t seed)
{
    char store_path[TORCT_PATH_SIZE + 16], texts[4][TEXT_SIZE];
    pid_t parent = getpid();
    pid_t child;

    snprintf(store_path, sizeof(store_path), "%s/store", directory);
    snprintf(texts[0], TEXT_SIZE, "%u", options.threads);
    snprintf(texts[1], TEXT_SIZE, "%" PRIu64, seed);
    snprintf(texts[2], TEXT_SIZE, "%d", options.ledger);
    snprintf(texts[3], TEXT_SIZE, "%d", (int)durability);
    fflush(NULL);
    child = fork();
    if (child < 0)
        give_up("no process: %s", strerror(errno));
    if (child > 0)
        return child;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(EXIT_USAGE);
    execl("/proc/self/exe", "mvcc_crash", "--threads", texts[0], "--seed", texts[1], "--plant",
          options.plant ? "1" : "0", "--ledger", texts[2], "--durability", texts[3], "--directory", store_path,
          (char *)NULL);
    _exit(EXIT_USAGE);
}

/* The child's exit code, or -1 if it was killed. */
static int
reap(pid_t child, bool patient)
{
    uint64_t end = torci_now_ns() + STUCK_SECONDS * TORCI_NS_PER_SECOND;
    int status;
    pid_t ended;

    do {
        ended = waitpid(child, &status, patient ? WNOHANG : 0);
        if (ended == 0)
            torci_sleep_ns(MS);
    } while ((ended < 0 && errno == EINTR) || (ended == 0 && torci_now_ns() < end));
    if (ended == child)
        return WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status) == SIGKILL ? -1 : EXIT_VIOLATION;
    kill(child, SIGKILL);
    fprintf(stderr, "STUCK: a child does not end (seed %" PRIu64 ")\n", options.seed);
    exit(EXIT_STUCK);
}

static bool
is_ready(void)
{
    return torci_load(&ledger->ready, memory_order_acquire) != 0;
}

/* Until the child has checked, or has ended: that is seen by reap(). */
static void
await_ready(pid_t child)
{
    uint64_t end = torci_now_ns() + STUCK_SECONDS * TORCI_NS_PER_SECOND;
    siginfo_t info = {0};

    while (!is_ready() && torci_now_ns() < end && info.si_pid == 0) {
        torci_sleep_ns(MS / 4);
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
            return;
    }
    if (is_ready() || info.si_pid != 0)
        return;
    kill(child, SIGKILL);
    fprintf(stderr, "STUCK: a child does not come to its check (seed %" PRIu64 ")\n", options.seed);
    exit(EXIT_STUCK);
}

/* No life that was killed may have left what verify does not like. */
static void
verify(struct figures *figures)
{
    char path[TORCT_PATH_SIZE + 16];
    enum torc_status status;

    snprintf(path, sizeof(path), "%s/store", directory);
    status = torc_mvcc_verify(path, NULL);
    if (status == TORC_OK || (status == TORC_MISSING && figures->commits == 0))
        return;
    figures->violations++;
    fprintf(stderr, "VIOLATION: verify: %s (%s)\n", torc_status_name(status), torc_detail());
}

static uint64_t
all_committed(void)
{
    uint64_t all = 0;

    for (unsigned i = 0; i < options.threads; i++)
        all += get_counter(&ledger->accounts[i].committed);
    return all;
}

/* One child: killed at some moment of its opening, or of its work; or told to close. */
static void
run_life(struct torci_random *random, struct figures *figures, bool closes)
{
    uint64_t dice = torci_random_below(random, 8);
    enum torc_durability durability = options.plant || dice < 3 ? TORC_DURABILITY_ASYNC
                                      : dice < 7 ? TORC_DURABILITY_SYNC : TORC_DURABILITY_NONE;
    bool early = !closes && torci_random_below(random, 3) == 0;
    pid_t child;
    int code;

    torci_store(&ledger->ready, 0u, memory_order_relaxed); /* The child is not there yet. */
    torci_store(&ledger->stop, 0u, memory_order_relaxed);
    child = start(durability, torci_random_next(random));
    if (!early)
        await_ready(child);
    torci_sleep_ns(torci_random_below(random, early ? 40 * MS : 150 * MS));
    if (closes)
        torci_store(&ledger->stop, 1u, memory_order_relaxed); /* A hint. */
    else
        kill(child, SIGKILL);
    code = reap(child, closes);
    figures->lives++;
    figures->kills += code < 0;
    figures->kills_early += code < 0 && !is_ready();
    figures->closes += code == 0;
    figures->violations += code == EXIT_VIOLATION;
    figures->commits = all_committed();
    if (code > EXIT_VIOLATION)
        give_up("a child ended with code %d", code);
    if (torci_random_below(random, 4) == 0 && figures->violations == 0)
        verify(figures);
}

static int
run_lives(void)
{
    struct torci_random random = torci_random_seed(options.seed);
    uint64_t end = torci_now_ns() + options.seconds * TORCI_NS_PER_SECOND;
    struct figures figures = {0};

    torct_directory_create(directory);
    options.ledger = map_ledger(-1);
    while (figures.violations == 0 && (torci_now_ns() < end || figures.kills < KILLS_MIN))
        run_life(&random, &figures, torci_random_below(&random, 8) == 0);
    /* What the last kill left is checked, too. */
    if (figures.violations == 0)
        run_life(&random, &figures, true);
    if (figures.violations == 0)
        verify(&figures);
    printf("mvcc_crash: seed %" PRIu64 ", %u threads: %" PRIu64 " lives, %" PRIu64 " kills, %" PRIu64
           " of them before the check was over, %" PRIu64 " closes, %" PRIu64 " commits, %" PRIu64
           " checkpoints and syncs, %" PRIu64 " violations\n", options.seed, options.threads, figures.lives,
           figures.kills, figures.kills_early, figures.closes, figures.commits,
           torci_load(&ledger->checkpoints, memory_order_relaxed), figures.violations);
    if (figures.violations > 0 && !options.plant)
        fprintf(stderr, "mvcc_crash: what the last life found is in %s\n", directory);
    else
        torct_directory_destroy(directory);
    return figures.violations > 0 || figures.commits == 0 ? EXIT_VIOLATION : EXIT_SUCCESS;
}

/* ---- Options ---- */

static _Noreturn void
usage(FILE *out, int code)
{
    fputs("mvcc_crash [options]: kill a process that writes to a durable store, again and again; check what is left\n"
          "  --threads N     threads that write (8)\n"
          "  --seconds N     how long (5)\n"
          "  --minutes N     how long, in minutes\n"
          "  --seed N        seed of all choices (drawn and printed; TORC_SEED in the environment is taken too)\n"
          "  --plant 1       acknowledge before it is durable, to see that it is found\n"
          "The files are in a directory of their own under TMPDIR, or /tmp.\n",
          out);
    exit(code);
}

static uint64_t
number_from(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end = NULL;
    uint64_t number = text != NULL ? strtoull(text, &end, 0) : 0;

    if (text == NULL || end == text || *end != '\0' || number < least || number > most) {
        fprintf(stderr, "%s needs a number from %" PRIu64 " to %" PRIu64 "\n", option, least, most);
        usage(stderr, EXIT_USAGE);
    }
    return number;
}

static void
parse(int count, char **arguments)
{
    bool seeded = false;

    options = (struct options){.threads = 8, .seconds = 5, .ledger = -1};
    for (int i = 1; i < count; i += 2) {
        const char *option = arguments[i], *value = arguments[i + 1]; /* NULL past the end. */

        if (strcmp(option, "--help") == 0)
            usage(stdout, EXIT_SUCCESS);
        else if (strcmp(option, "--threads") == 0)
            options.threads = (unsigned)number_from(option, value, 1, THREADS_MAX);
        else if (strcmp(option, "--seconds") == 0)
            options.seconds = number_from(option, value, 1, UINT32_MAX);
        else if (strcmp(option, "--minutes") == 0)
            options.seconds = 60 * number_from(option, value, 1, UINT32_MAX);
        else if (strcmp(option, "--plant") == 0)
            options.plant = number_from(option, value, 0, 1) != 0;
        else if (strcmp(option, "--seed") == 0 && (seeded = true))
            options.seed = number_from(option, value, 0, UINT64_MAX);
        else if (strcmp(option, "--ledger") == 0 && (options.child = true))
            options.ledger = (int)number_from(option, value, 0, INT32_MAX);
        else if (strcmp(option, "--durability") == 0)
            options.durability = number_from(option, value, 0, TORC_DURABILITY_SYNC);
        else if (strcmp(option, "--directory") == 0 && value != NULL)
            options.directory = value;
        else
            usage(stderr, EXIT_USAGE);
    }
    if (!seeded)
        options.seed = torct_seed();
}

int
main(int count, char **arguments)
{
    parse(count, arguments);
    if (!options.child)
        return run_lives();
    (void)map_ledger(options.ledger);
    return live();
}

/* SPDX-License-Identifier: MIT */
/* base/testing: see the header. Standard output is left to the test runner; seeds go to standard error. Calls nothing
 * of the library, so that it serves every variant of it. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE     /* nftw(), mkdtemp() */
#endif
#include "base/testing.h"

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"

enum { LEDGER_HEADER = 16 };            /* Keeps the caller's part aligned to 16. */
#define LEDGER_RELEASED UINT64_MAX      /* In place of the size: this block has been given back. */

struct racer {
    pthread_t thread;
    unsigned number;
    void (*body)(void *context, unsigned number);
    void *context;
    pthread_barrier_t *start;
};

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;
static uint64_t seed;                   /* Immutable after seed_once. */

static _Noreturn void
give_up(const char *what)
{
    perror(what);
    abort();
}

static void
draw_seed(void)
{
    const char *given = getenv("TORC_SEED");
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);     /* Should it fail, the process number still differs. */
    uint64_t origin = (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 40;
    seed = given != NULL ? strtoull(given, NULL, 0) : torci_splitmix64(&origin);
    fprintf(stderr, "TORC_SEED=%llu\n", (unsigned long long)seed);
}

static void *
run_racer(void *argument)
{
    struct racer *racer = argument;

    (void)pthread_barrier_wait(racer->start);   /* Returns a serial number, no error, on an initialized barrier. */
    racer->body(racer->context, racer->number);
    return NULL;
}

static void *
ledger_allocate(void *context, size_t size)
{
    struct torct_ledger *ledger = context;
    uint64_t number = torci_fetch_add(&ledger->allocations, 1, memory_order_relaxed) + 1;
    uint64_t refuse_from = torci_load(&ledger->refuse_from, memory_order_relaxed);
    unsigned char *block = NULL;
    uint64_t recorded = size;

    if (refuse_from == 0 || number < refuse_from)
        block = malloc(size + LEDGER_HEADER);
    if (block == NULL) {
        torci_fetch_sub(&ledger->allocations, 1, memory_order_relaxed);
        return NULL;
    }
    memcpy(block, &recorded, sizeof(recorded));
    torci_fetch_add(&ledger->bytes, size, memory_order_relaxed);
    return block + LEDGER_HEADER;
}

static void
ledger_release(void *context, void *memory, size_t size)
{
    struct torct_ledger *ledger = context;
    unsigned char *block = (unsigned char *)memory - LEDGER_HEADER;
    uint64_t recorded;

    memcpy(&recorded, block, sizeof(recorded));
    if (recorded != size) {
        fprintf(stderr, "released with size %zu, allocated with %llu\n", size, (unsigned long long)recorded);
        abort();
    }
    recorded = LEDGER_RELEASED;
    memcpy(block, &recorded, sizeof(recorded));
    free(block);
    torci_fetch_add(&ledger->releases, 1, memory_order_relaxed);
    torci_fetch_sub(&ledger->bytes, size, memory_order_relaxed);
}

static int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

uint64_t
torct_seed(void)
{
    (void)pthread_once(&seed_once, draw_seed);  /* Cannot fail with a valid once object. */
    return seed;
}

void
torct_race(unsigned threads, void (*body)(void *context, unsigned number), void *context)
{
    struct racer *racers = calloc(threads, sizeof(*racers));
    pthread_barrier_t start;

    if (racers == NULL || pthread_barrier_init(&start, NULL, threads) != 0)
        give_up("torct_race");
    for (unsigned number = 0; number < threads; number++) {
        struct racer *racer = &racers[number];

        racer->number = number;
        racer->body = body;
        racer->context = context;
        racer->start = &start;
        if (pthread_create(&racer->thread, NULL, run_racer, racer) != 0)
            give_up("torct_race");
    }
    for (unsigned number = 0; number < threads; number++)
        if (pthread_join(racers[number].thread, NULL) != 0)
            give_up("torct_race");
    pthread_barrier_destroy(&start);
    free(racers);
}

void
torct_random_bytes(struct torci_random *random, void *bytes, size_t size)
{
    unsigned char *out = bytes;

    while (size > 0) {
        uint64_t word = torci_random_next(random);
        size_t part = size < sizeof(word) ? size : sizeof(word);

        memcpy(out, &word, part);
        out += part;
        size -= part;
    }
}

void
torct_ledger_init(struct torct_ledger *ledger)
{
    torci_init(&ledger->allocations, 0);
    torci_init(&ledger->releases, 0);
    torci_init(&ledger->bytes, 0);
    torci_init(&ledger->refuse_from, 0);
}

struct torc_allocator
torct_ledger_allocator(struct torct_ledger *ledger)
{
    return (struct torc_allocator){ledger_allocate, ledger_release, ledger};
}

bool
torct_ledger_balanced(const struct torct_ledger *ledger)
{
    return torci_load(&ledger->allocations, memory_order_relaxed) == torci_load(&ledger->releases, memory_order_relaxed)
        && torci_load(&ledger->bytes, memory_order_relaxed) == 0;
}

void
torct_directory_create(char path[TORCT_PATH_SIZE])
{
    const char *parent = getenv("TMPDIR");
    int length = snprintf(path, TORCT_PATH_SIZE, "%s/torc-XXXXXX", parent != NULL ? parent : "/tmp");

    if (length < 0 || length >= TORCT_PATH_SIZE || mkdtemp(path) == NULL)
        give_up("torct_directory_create");
}

void
torct_directory_destroy(const char *path)
{
    enum { DESCRIPTORS_MAX = 16 };

    if (nftw(path, remove_entry, DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS) != 0)
        give_up("torct_directory_destroy");
}

/* SPDX-License-Identifier: MIT */
/* torcd with a directory: each test starts it, has it end or kills it, and starts it again.
 *
 * Oracle of the crashes: clients note what was acknowledged. With --durability sync that is every reply; otherwise what
 * was sent before a WAITDURABLE that answered 1. All of it must be there again, and nothing that was never sent. */
#define _GNU_SOURCE
#include "e2e_testing.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "base/testing.h"

static char directory[TORCT_PATH_SIZE];
static const char *mode;                    /* --durability */

static void
start_there(void)
{
    start("--dir", directory, "--durability", mode, "--threads", "2", NULL);
}

static void
begin(const char *durability)
{
    torct_directory_create(directory);
    mode = durability;
    start_there();
}

/* Let the server end in order, and look after its files. */
static void
end(void)
{
    stop();
    torct_directory_destroy(directory);
}

static void
restart(void)
{
    stop();
    start_there();
}

static void
crash(void)
{
    murder();
    start_there();
}

/* The bulk string with which `fd` answers, NULL for nil. Borrowed until the next one. */
static const char *
fetch(int fd, const char *request)
{
    static char bytes[256];
    char line[64] = "";
    size_t size = 0;

    say(fd, request);
    do
        receive_all(fd, line + size, 1);
    while (line[size++] != '\n' && size < sizeof line - 1);
    cr_assert_eq(line[0], '$', "%s", line);
    long length = strtol(line + 1, NULL, 10);
    if (length < 0)
        return NULL;
    cr_assert_lt((size_t)length + 2, sizeof bytes);
    receive_all(fd, bytes, (size_t)length + 2);
    bytes[length] = '\0';
    return bytes;
}

/* INFO persistence. Borrowed until the next one. */
static const char *
info(int fd)
{
    static char bytes[4096];
    char line[64] = "";
    size_t size = 0;

    say(fd, "INFO persistence\r\n");
    do
        receive_all(fd, line + size, 1);
    while (line[size++] != '\n' && size < sizeof line - 1);
    size_t length = strtoul(line + 1, NULL, 10);
    cr_assert_lt(length + 2, sizeof bytes);
    receive_all(fd, bytes, length + 2);
    bytes[length] = '\0';
    return bytes;
}

TestSuite(torcd_durable, .timeout = 240);

/* ---- Ends in order -------------------------------------------------------------------------------------------- */

static void
write_everything(int fd)
{
    ask(fd, "SET a 1\r\nINCR a\r\nINCRBY n 40\r\nDECR n\r\nINCRBYFLOAT f 0.5\r\nAPPEND s hello\r\nSETRANGE s 5 !\r\n",
        "+OK\r\n:2\r\n:40\r\n:39\r\n$3\r\n0.5\r\n:5\r\n:6\r\n");
    ask(fd, "MSET m1 1 m2 2 m3 3\r\nMSETNX m1 9 m4 4\r\nSETNX m5 5\r\nDEL m2\r\nGETDEL m3\r\nRENAME m5 m6\r\n",
        "+OK\r\n:0\r\n:1\r\n:1\r\n$1\r\n3\r\n+OK\r\n");
    ask(fd, "COPY a c\r\nCOPY a a DB 3\r\nMOVE c 4\r\nGETSET a 7\r\nSET '' empty\r\n",
        ":1\r\n:1\r\n:1\r\n$1\r\n2\r\n+OK\r\n");
    ask(fd, "SET soon 1 PX 1\r\nSET later 1 EXAT 33000000000\r\nSET ever 1 EX 100\r\nPERSIST ever\r\n",
        "+OK\r\n+OK\r\n+OK\r\n:1\r\n");
    while (fetch(fd, "GET soon\r\n") != NULL)
        ;
    ask(fd, "MULTI\r\nSET x 1\r\nSELECT 5\r\nSET x 2\r\nSELECT 0\r\nEXEC\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
    ask(fd, "SELECT 6\r\nSET gone 1\r\nFLUSHDB\r\nSET new 1\r\nSWAPDB 6 7\r\nSELECT 0\r\n",
        "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
}

static void
read_everything(int fd)
{
    ask(fd, "SELECT 0\r\nMGET a n f s m1 m2 m3 m4 m5 m6 c ''\r\n",
        "+OK\r\n*12\r\n$1\r\n7\r\n$2\r\n39\r\n$3\r\n0.5\r\n$6\r\nhello!\r\n$1\r\n1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n"
        "$1\r\n5\r\n$-1\r\n$5\r\nempty\r\n");
    ask(fd, "EXISTS soon\r\nEXPIRETIME later\r\nTTL ever\r\nGET x\r\n", ":0\r\n:33000000000\r\n:-1\r\n$1\r\n1\r\n");
    ask(fd, "SELECT 3\r\nGET a\r\nSELECT 4\r\nGET c\r\nSELECT 5\r\nGET x\r\n",
        "+OK\r\n$1\r\n2\r\n+OK\r\n$1\r\n2\r\n+OK\r\n$1\r\n2\r\n");
    ask(fd, "SELECT 6\r\nDBSIZE\r\nSELECT 7\r\nDBSIZE\r\nGET new\r\n", "+OK\r\n:0\r\n+OK\r\n:1\r\n$1\r\n1\r\n");
}

static void
keep_everything(const char *durability)
{
    begin(durability);
    int fd = client();
    write_everything(fd);
    read_everything(fd);
    (void)close(fd);
    for (int i = 0; i < 3; i++) {
        restart();
        cr_expect_not_null(strstr(torcd.recovered, " keys, "), "%s", torcd.recovered);
        fd = client();
        read_everything(fd);
        if (i == 1)
            ask(fd, "SAVE\r\n", "+OK\r\n");
        (void)close(fd);
    }
    end();
}

Test(torcd_durable, keeps_everything)
{
    keep_everything("async");
}

Test(torcd_durable, keeps_everything_that_was_acknowledged_when_durable)
{
    keep_everything("sync");
}

Test(torcd_durable, keeps_everything_without_a_journal)
{
    keep_everything("none");
}

Test(torcd_durable, keeps_a_big_value)
{
    enum { SIZE = 5 << 20 };
    char *value = malloc(SIZE), *back = malloc(SIZE), header[64];

    begin("sync");
    int fd = client();
    for (size_t i = 0; i < SIZE; i++)
        value[i] = (char)(i * 2654435761u >> 13);
    (void)snprintf(header, sizeof header, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n", SIZE);
    say(fd, header);
    send_all(fd, value, SIZE);
    ask(fd, "\r\n", "+OK\r\n");
    (void)close(fd);
    crash();
    fd = client();
    (void)snprintf(header, sizeof header, "$%d\r\n", SIZE);
    ask(fd, "GET big\r\n", header);
    receive_all(fd, back, SIZE);
    cr_expect_eq(memcmp(value, back, SIZE), 0);
    hear(fd, "\r\n");
    (void)close(fd);
    free(value);
    free(back);
    end();
}

/* What was sent before SHUTDOWN is answered, and is there again. */
Test(torcd_durable, ends_in_order_with_replies_held_back)
{
    begin("sync");
    int fd = client();
    for (int i = 0; i < 1000; i++)
        say(fd, "INCR n\r\n");
    say(fd, "SHUTDOWN SAVE\r\n");
    char *replies = hear_all(fd);
    cr_expect_not_null(strstr(replies, ":1000\r\n"), "%s", replies);
    free(replies);
    (void)close(fd);
    cr_assert_eq(wait_for_end(), 0);
    start_there();
    fd = client();
    cr_expect_str_eq(fetch(fd, "GET n\r\n"), "1000");
    (void)close(fd);
    end();
}

/* Each has written, and waits for a checkpoint: one serves them all. */
Test(torcd_durable, ends_in_order_with_saves_under_way)
{
    enum { CLIENTS = 40 };
    int fds[CLIENTS];

    begin("async");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client();
        ask(fds[i], "PING\r\n", "+PONG\r\n");
    }
    for (int i = 0; i < CLIENTS; i++)
        say(fds[i], "INCR n\r\nSAVE\r\nWAITDURABLE\r\nINCR n\r\n");
    cr_assert_eq(kill(torcd.pid, SIGTERM), 0);
    for (int i = 0; i < CLIENTS; i++) {
        char *replies = hear_all(fds[i]);
        cr_expect_not_null(strstr(replies, "\r\n+OK\r\n:1\r\n:"), "%s", replies);
        free(replies);
        (void)close(fds[i]);
    }
    cr_assert_eq(wait_for_end(), 0);
    start_there();
    int fd = client();
    cr_expect_str_eq(fetch(fd, "GET n\r\n"), "80");
    (void)close(fd);
    end();
}

Test(torcd_durable, refuses_a_directory_that_another_one_serves)
{
    char path[] = TORCD_PATH, port_flag[] = "--port", port[] = "0", flag[] = "--dir", said[1024];

    begin("async");
    struct torcd first = torcd;
    char *arguments[] = {path, port_flag, port, flag, directory, NULL};
    launch(arguments);
    said[fread(said, 1, sizeof said - 1, torcd.output)] = '\0';
    cr_expect_eq(wait_for_end(), 1);
    cr_expect_not_null(strstr(said, ": LOCKED: "), "%s", said);
    cr_expect_not_null(strstr(said, "Another torcd serves it"), "%s", said);
    torcd = first;
    int fd = client();
    ask(fd, "SET a 1\r\n", "+OK\r\n");
    (void)close(fd);
    end();
}

/* ---- Checkpoints ---------------------------------------------------------------------------------------------- */

Test(torcd_durable, saves_in_the_background)
{
    begin("async");
    int fd = client();
    ask(fd, "SET a 1\r\nBGSAVE\r\n", "+OK\r\n+Background saving started\r\n");
    while (strstr(info(fd), "\r\nrdb_saves:0\r\n") != NULL)
        ;
    cr_expect_not_null(strstr(info(fd), "\r\nrdb_last_bgsave_status:ok\r\n"));
    ask(fd, "SET b 1\r\nWAITDURABLE\r\n", "+OK\r\n:1\r\n");
    (void)close(fd);
    crash();
    fd = client();
    ask(fd, "MGET a b\r\n", "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    (void)close(fd);
    end();
}

Test(torcd_durable, keeps_without_a_journal_what_was_saved)
{
    begin("none");
    int fd = client(), other = client();
    ask(fd, "SET a 1\r\nSAVE\r\nSET b 1\r\n", "+OK\r\n+OK\r\n+OK\r\n");
    ask(other, "SAVE\r\nPING\r\n", "+OK\r\n+PONG\r\n");
    ask(fd, "SET c 1\r\n", "+OK\r\n");
    (void)close(fd);
    (void)close(other);
    crash();
    fd = client();
    ask(fd, "MGET a b c\r\n", "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$-1\r\n");
    (void)close(fd);
    end();
}

/* ---- Crashes -------------------------------------------------------------------------------------------------- */

enum { WRITERS = 4, BATCH = 8, KEYS_MAX = 200000, LIVES = 4 };

struct writer {
    pthread_t thread;
    unsigned number;
    bool waits;                             /* Asks WAITDURABLE behind each batch. */
    int fd;
    long tried;                             /* Numbers of its keys, and of its increments, that were sent. */
    long counted;                           /* The greatest INCR that was acknowledged. */
    bool *kept;                             /* By number: the SET was acknowledged. */
};

static struct writer writers[WRITERS];
static sem_t progress;                      /* A batch was acknowledged, or a client has ended. */
static atomic_uint running;                 /* Clients. */

static void
begin_clients(unsigned count)
{
    cr_assert_eq(sem_init(&progress, 0, 0), 0);
    atomic_store_explicit(&running, count, memory_order_relaxed);
}

/* Before its semaphore: who sees that none is left need not wait for more. */
static void
end_client(void)
{
    atomic_fetch_sub_explicit(&running, 1, memory_order_relaxed);
    (void)sem_post(&progress);
}

/* Kill the server when so much has been done. */
static void
murder_after(int steps)
{
    while (steps-- > 0 && atomic_load_explicit(&running, memory_order_relaxed) > 0)
        while (sem_wait(&progress) != 0)
            ;
    murder();
}

static bool
send_quietly(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t count = send(fd, bytes, size, MSG_NOSIGNAL);
        if (count <= 0)
            return false;
        bytes += count;
        size -= (size_t)count;
    }
    return true;
}

/* Send a batch: an INCR and a SET of a new key, again and again. */
static bool
send_batch(struct writer *writer)
{
    char text[BATCH * 128];
    size_t size = 0;

    for (unsigned i = 0; i < BATCH; i++) {
        long number = ++writer->tried;
        size += (size_t)snprintf(text + size, sizeof text - size, "INCR n%u\r\nSET k%u:%ld v%ld\r\n", writer->number,
                                 writer->number, number, number);
    }
    if (writer->waits)
        size += (size_t)snprintf(text + size, sizeof text - size, "WAITDURABLE\r\n");
    return send_quietly(writer->fd, text, size);
}

/* Take the replies to a batch. False at the end of the stream. */
static bool
take_batch(struct writer *writer, FILE *replies)
{
    long first = writer->tried - BATCH + 1, counted = writer->counted, sets = 0;
    char line[128];

    for (unsigned i = 0; i < BATCH; i++) {
        if (fgets(line, sizeof line, replies) == NULL || line[0] != ':')
            break;
        counted = strtol(line + 1, NULL, 10);
        if (!writer->waits)
            writer->counted = counted;
        if (fgets(line, sizeof line, replies) == NULL || strcmp(line, "+OK\r\n") != 0)
            break;
        if (!writer->waits)
            writer->kept[first + sets] = true;
        sets++;
    }
    if (sets < BATCH || !writer->waits)
        return sets == BATCH;
    if (fgets(line, sizeof line, replies) == NULL || strcmp(line, ":1\r\n") != 0)
        return false;
    writer->counted = counted;
    for (long i = 0; i < BATCH; i++)
        writer->kept[first + i] = true;
    return true;
}

static void *
write_until_the_end(void *context)
{
    struct writer *writer = context;
    FILE *replies = fdopen(writer->fd, "r");

    while (replies != NULL && writer->tried + BATCH < KEYS_MAX && send_batch(writer) && take_batch(writer, replies))
        (void)sem_post(&progress);
    if (replies != NULL)
        (void)fclose(replies);
    end_client();
    return NULL;
}

/* Everything acknowledged is there, and nothing that was not sent. */
static void
check_writer(int fd, struct writer *writer)
{
    char request[64], value[64];

    (void)snprintf(request, sizeof request, "GET n%u\r\n", writer->number);
    const char *text = fetch(fd, request);
    long counted = text == NULL ? 0 : strtol(text, NULL, 10);
    cr_assert_geq(counted, writer->counted, "increments of writer %u are lost", writer->number);
    cr_assert_leq(counted, writer->tried);
    writer->counted = counted;
    for (long i = 1; i <= writer->tried; i++) {
        (void)snprintf(request, sizeof request, "GET k%u:%ld\r\n", writer->number, i);
        (void)snprintf(value, sizeof value, "v%ld", i);
        text = fetch(fd, request);
        cr_assert(text != NULL || !writer->kept[i], "key %ld of writer %u is lost", i, writer->number);
        if (text != NULL)
            cr_assert_str_eq(text, value);
        writer->kept[i] = text != NULL;     /* What came back once stays. */
    }
}

static void
write_and_crash(const char *durability, bool waits)
{
    unsigned seed = (unsigned)torct_seed();

    begin(durability);
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i] = (struct writer){.number = i, .waits = waits, .kept = calloc(KEYS_MAX, sizeof(bool))};
    for (unsigned life = 0; life < LIVES; life++) {
        begin_clients(WRITERS);
        for (unsigned i = 0; i < WRITERS; i++) {
            writers[i].fd = client();
            cr_assert_eq(pthread_create(&writers[i].thread, NULL, write_until_the_end, &writers[i]), 0);
        }
        murder_after(rand_r(&seed) % 200 + 1);
        for (unsigned i = 0; i < WRITERS; i++)
            cr_assert_eq(pthread_join(writers[i].thread, NULL), 0);
        start_there();
        int fd = client();
        for (unsigned i = 0; i < WRITERS; i++)
            check_writer(fd, &writers[i]);
        if (life == 1)
            ask(fd, "SAVE\r\n", "+OK\r\n");
        (void)close(fd);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        free(writers[i].kept);
    end();
}

Test(torcd_durable, loses_nothing_that_was_acknowledged)
{
    write_and_crash("sync", false);
}

Test(torcd_durable, loses_nothing_that_was_waited_for)
{
    write_and_crash("async", true);
}

/* ---- Databases ------------------------------------------------------------------------------------------------ */

static long flushes_acknowledged = 1;

/* One client swaps databases 2 and 3, one lets 0 and 1 be empty and then have one key each, at one instant. */
static void *
swap_often(void *context)
{
    int fd = *(const int *)context;
    char reply[5];

    while (send_quietly(fd, "SWAPDB 2 3\r\n", 12) && recv(fd, reply, sizeof reply, MSG_WAITALL) == sizeof reply) {
        cr_assert_eq(memcmp(reply, "+OK\r\n", sizeof reply), 0, "%.5s", reply);
        (void)sem_post(&progress);
    }
    end_client();
    return NULL;
}

static void *
flush_often(void *context)
{
    static const char expected[] = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
                                   "*6\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n";
    int fd = *(const int *)context;
    const ssize_t wanted = sizeof expected - 1;
    char text[256], replies[sizeof expected];

    for (long i = flushes_acknowledged + 1;; i++) {
        int size = snprintf(text, sizeof text, "MULTI\r\nFLUSHDB\r\nSET k%ld 1\r\nSELECT 1\r\nFLUSHDB\r\nSET k%ld "
                                               "1\r\nSELECT 0\r\nEXEC\r\n", i, i);
        if (!send_quietly(fd, text, (size_t)size) || recv(fd, replies, sizeof expected - 1, MSG_WAITALL) != wanted)
            break;
        replies[wanted] = '\0';
        cr_assert_str_eq(replies, expected);
        flushes_acknowledged = i;
        (void)sem_post(&progress);
    }
    end_client();
    return NULL;
}

static void
check_databases(int fd)
{
    char request[64];
    long found = 0;

    ask(fd, "SELECT 2\r\nDBSIZE\r\nSELECT 3\r\nDBSIZE\r\n", "+OK\r\n:1\r\n+OK\r\n:1\r\n");
    const char *three = fetch(fd, "GET name\r\n");
    bool swapped = three != NULL && strcmp(three, "two") == 0;
    ask(fd, "SELECT 2\r\nGET name\r\n", swapped ? "+OK\r\n$5\r\nthree\r\n" : "+OK\r\n$3\r\ntwo\r\n");
    ask(fd, "SELECT 1\r\nDBSIZE\r\nSELECT 0\r\nDBSIZE\r\n", "+OK\r\n:1\r\n+OK\r\n:1\r\n");
    for (long i = flushes_acknowledged; i <= flushes_acknowledged + 1 && found == 0; i++) {
        (void)snprintf(request, sizeof request, "GET k%ld\r\n", i);
        if (fetch(fd, request) != NULL)
            found = i;
    }
    cr_assert_gt(found, 0, "neither the old database nor the new one");
    (void)snprintf(request, sizeof request, "SELECT 1\r\nEXISTS k%ld\r\nSELECT 0\r\n", found);
    ask(fd, request, "+OK\r\n:1\r\n+OK\r\n");
    flushes_acknowledged = found;
}

Test(torcd_durable, loses_no_database)
{
    unsigned seed = (unsigned)torct_seed();
    pthread_t threads[2];
    int fds[2];

    begin("sync");
    int fd = client();
    ask(fd, "SELECT 2\r\nSET name two\r\nSELECT 3\r\nSET name three\r\nSELECT 0\r\nSET k1 1\r\n"
            "SELECT 1\r\nSET k1 1\r\n",
        "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
    (void)close(fd);
    for (unsigned life = 0; life < 6; life++) {
        begin_clients(2);
        fds[0] = client();
        fds[1] = client();
        cr_assert_eq(pthread_create(&threads[0], NULL, swap_often, &fds[0]), 0);
        cr_assert_eq(pthread_create(&threads[1], NULL, flush_often, &fds[1]), 0);
        murder_after(rand_r(&seed) % 40 + 1);
        for (unsigned i = 0; i < 2; i++) {
            cr_assert_eq(pthread_join(threads[i], NULL), 0);
            (void)close(fds[i]);
        }
        start_there();
        fd = client();
        check_databases(fd);
        (void)close(fd);
    }
    end();
}

/* ---- A disk that fails ---------------------------------------------------------------------------------------- */

/* How great a file the server may write: 0 lets every write fail. */
static void
limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};

    cr_assert_eq(prlimit(torcd.pid, RLIMIT_FSIZE, &limit, NULL), 0, "%s", strerror(errno));
}

static void
expect_misconf(int fd, const char *request)
{
    char line[512];
    size_t size = 0;

    say(fd, request);
    do
        receive_all(fd, line + size, 1);
    while (line[size++] != '\n' && size < sizeof line - 1);
    line[size] = '\0';
    cr_assert_eq(strncmp(line, "-MISCONF Errors writing to the journal", 38), 0, "%s", line);
}

Test(torcd_durable, refuses_writes_when_the_disk_fails_and_goes_on_when_it_is_well)
{
    begin("sync");
    int unlucky = client(), fd = client();
    ask(fd, "SET a 1\r\n", "+OK\r\n");
    limit_files(0);
    expect_misconf(unlucky, "SET b 1\r\n");
    hear_end(unlucky);
    expect_misconf(fd, "SET c 1\r\n");
    expect_misconf(fd, "INCR c\r\n");
    expect_misconf(fd, "FLUSHALL\r\n");
    expect_misconf(fd, "BGSAVE\r\n");
    ask(fd, "GET a\r\nEXISTS c\r\n", "$1\r\n1\r\n:0\r\n");
    cr_expect_not_null(strstr(info(fd), "\r\naof_last_write_status:err\r\n"));
    limit_files(RLIM_INFINITY);
    ask(fd, "SAVE\r\nSET d 1\r\n", "+OK\r\n+OK\r\n");
    cr_expect_not_null(strstr(info(fd), "\r\naof_last_write_status:ok\r\n"));
    (void)close(fd);
    (void)close(unlucky);
    crash();
    fd = client();
    ask(fd, "MGET a b c d\r\n", "*4\r\n$1\r\n1\r\n$1\r\n1\r\n$-1\r\n$1\r\n1\r\n");
    (void)close(fd);
    end();
}

/* On the thread of a client whose change may be lost. */
Test(torcd_durable, refuses_the_writes_of_others_and_keeps_their_connections)
{
    torct_directory_create(directory);
    mode = "sync";
    start("--dir", directory, "--durability", mode, "--threads", "1", NULL);
    int unlucky = client(), fd = client();
    ask(fd, "SET a 1\r\n", "+OK\r\n");
    limit_files(0);
    expect_misconf(unlucky, "SET b 1\r\n");
    hear_end(unlucky);
    expect_misconf(fd, "SET c 1\r\n");
    expect_misconf(fd, "APPEND c 1\r\n");
    ask(fd, "MULTI\r\nSET c 1\r\n", "+OK\r\n+QUEUED\r\n");
    expect_misconf(fd, "EXEC\r\n");
    ask(fd, "GET a\r\n", "$1\r\n1\r\n");
    limit_files(RLIM_INFINITY);
    say(fd, "SHUTDOWN SAVE\r\n");
    hear_end(fd);
    (void)close(fd);
    (void)close(unlucky);
    cr_assert_eq(wait_for_end(), 0, "SAVE begins a new journal, also at the end");
    start_there();
    fd = client();
    ask(fd, "MGET a b c\r\n", "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$-1\r\n");
    (void)close(fd);
    end();
}

Test(torcd_durable, tells_those_who_wait_when_the_disk_fails)
{
    begin("async");
    int fd = client();
    ask(fd, "SET a 1\r\nWAITDURABLE 60000\r\n", "+OK\r\n:1\r\n");
    limit_files(0);
    ask(fd, "SET b 1\r\n", "+OK\r\n");
    expect_misconf(fd, "WAITDURABLE\r\n");
    ask(fd, "GET b\r\n", "$1\r\n1\r\n");
    expect_misconf(fd, "SET c 1\r\n");
    (void)close(fd);
    cr_assert_eq(kill(torcd.pid, SIGTERM), 0);
    cr_expect_eq(wait_for_end(), 1, "what was written last may be lost");
    torct_directory_destroy(directory);
}

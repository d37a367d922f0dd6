/* SPDX-License-Identifier: MIT */
/* The whole server: each test starts torcd on a port that the system chooses, talks to it over sockets, and ends it.
 * Its exit code is part of each verdict: with the sanitizers, a leak or a race makes it fail. */
#define _GNU_SOURCE
#include "e2e_testing.h"

/* ---- Talking -------------------------------------------------------------------------------------------------- */

TestSuite(torcd, .timeout = 240);

Test(torcd, serves_requests)
{
    start(NULL);
    int fd = client();

    ask(fd, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n", "+OK\r\n");
    ask(fd, "GET a\r\n", "$1\r\n1\r\n");
    ask(fd, "GET a\r\nINCR a\r\nNONSENSE\r\nGET a\r\n",
        "$1\r\n1\r\n:2\r\n-ERR unknown command 'NONSENSE', with args beginning with: \r\n$1\r\n2\r\n");
    (void)close(fd);
    stop();
}

Test(torcd, serves_requests_that_arrive_in_single_bytes)
{
    static const char request[] = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\nGET key\r\n*1\r\n$4\r\nPING\r\n";

    start("--threads", "1", NULL);
    int fd = client(), on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    for (size_t i = 0; i + 1 < sizeof request; i++)
        send_all(fd, &request[i], 1);
    hear(fd, "+OK\r\n$5\r\nvalue\r\n+PONG\r\n");
    (void)close(fd);
    stop();
}

Test(torcd, answers_a_client_that_has_ended_its_own_stream)
{
    start(NULL);
    int fd = client();

    say(fd, "SET a 1\r\nGET a\r\n");
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    hear(fd, "+OK\r\n$1\r\n1\r\n");
    hear_end(fd);
    (void)close(fd);
    stop();
}

Test(torcd, carries_big_values_both_ways)
{
    enum { SIZE = 24 << 20 };

    start("--threads", "1", NULL);
    int fd = client();
    char *value = malloc(SIZE), *back = malloc(SIZE), header[64];

    for (size_t i = 0; i < SIZE; i++)
        value[i] = (char)(i * 2654435761u >> 13);
    (void)snprintf(header, sizeof header, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n", SIZE);
    say(fd, header);
    send_all(fd, value, SIZE);
    ask(fd, "\r\n", "+OK\r\n");
    (void)snprintf(header, sizeof header, "$%d\r\n", SIZE);
    ask(fd, "GET big\r\n", header);
    receive_all(fd, back, SIZE);
    cr_expect_eq(memcmp(value, back, SIZE), 0);
    hear(fd, "\r\n");
    ask(fd, "STRLEN big\r\n", ":25165824\r\n");
    free(value);
    free(back);
    (void)close(fd);
    stop();
}

/* What the first client's thread has replaced passes the store's limit for memory that is not freed yet, 256 MiB. */
Test(torcd, an_idle_client_that_replaced_big_values_does_not_make_others_busy)
{
    enum { SIZE = 40 << 20, SETS = 8, OTHER_SETS = 300 };

    start("--threads", "2", NULL);
    int idle = client(), other;
    char *value = calloc(1, SIZE), header[64];

    (void)snprintf(header, sizeof header, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n", SIZE);
    for (unsigned i = 0; i < SETS; i++) {
        say(idle, header);
        send_all(idle, value, SIZE);
        ask(idle, "\r\n", "+OK\r\n");
    }
    other = client();           /* It goes to the thread that has no client. */
    for (unsigned i = 0; i < OTHER_SETS; i++)
        ask(other, "SET small 1\r\n", "+OK\r\n");
    free(value);
    (void)close(idle);
    (void)close(other);
    stop();
}

static void *
replace_often(void *context)
{
    int fd = client();
    char reply[128];

    (void)context;
    for (int i = 0; i < 300; i++) {
        size_t size = 0;
        say(fd, i % 10 == 0 ? "MULTI\r\nSET other 1\r\nEXEC\r\n" : "SET same 1\r\n");
        if (i % 10 == 0)
            hear(fd, "+OK\r\n+QUEUED\r\n");
        do
            receive_all(fd, reply + size, 1);
        while (reply[size++] != '\n' && size < sizeof reply - 1);
        reply[size] = '\0';
        if (strcmp(reply, "*1\r\n") == 0)
            hear(fd, "+OK\r\n");
        else
            cr_assert(strcmp(reply, "+OK\r\n") == 0 || strncmp(reply, "-TRYAGAIN ", 10) == 0, "%s", reply);
    }
    (void)close(fd);
    return NULL;
}

/* Nearly every write meets old values that are not freed yet, waits while another thread frees them, and is answered.
 * Clients of the same threads that only read do not wait, and one that goes in the middle does no harm. */
Test(torcd, holds_writes_until_memory_is_freed)
{
    pthread_t threads[4];

    start("--threads", "2", "--retired-limit", "1kb", NULL);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, replace_often, NULL), 0);
    for (unsigned i = 0; i < 50; i++) {
        int rude = client();
        say(rude, "SET same 2\r\nSET same 3\r\nSET same 4\r\n");
        (void)close(rude);
        int reader = client();
        ask(reader, "PING\r\n", "+PONG\r\n");
        (void)close(reader);
    }
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    stop();
}

Test(torcd, ends_while_writes_are_held)
{
    start("--threads", "2", "--retired-limit", "1kb", NULL);
    int fds[4];

    for (unsigned i = 0; i < 4; i++) {
        fds[i] = client();
        for (unsigned j = 0; j < 500; j++)
            say(fds[i], "SET same 1\r\n");
    }
    stop();
    for (unsigned i = 0; i < 4; i++)
        (void)close(fds[i]);
}

Test(torcd, answers_a_long_pipeline_in_order)
{
    enum { COUNT = 20000 };

    start("--threads", "1", NULL);
    int fd = client();
    char *requests = malloc(COUNT * 16), *expected = malloc(COUNT * 16);
    size_t requests_size = 0, expected_size = 0;

    for (int i = 1; i <= COUNT; i++) {
        requests_size += (size_t)sprintf(requests + requests_size, "INCR n\r\n");
        expected_size += (size_t)sprintf(expected + expected_size, ":%d\r\n", i);
    }
    send_all(fd, requests, requests_size);
    char *replies = calloc(1, expected_size + 1);
    receive_all(fd, replies, expected_size);
    cr_expect_eq(memcmp(replies, expected, expected_size), 0);
    free(replies);
    free(requests);
    free(expected);
    (void)close(fd);
    stop();
}

Test(torcd, spreads_connections_evenly)
{
    start("--threads", "2", NULL);
    int fds[4];
    char buffer[4096] = "";
    size_t size = 0;
    unsigned threads[2] = {0, 0};

    for (unsigned i = 0; i < 4; i++) {
        fds[i] = client();
        ask(fds[i], "PING\r\n", "+PONG\r\n");
    }
    say(fds[0], "CLIENT LIST\r\nQUIT\r\n");
    for (ssize_t count = 1; size < sizeof buffer - 1 && count > 0; size += (size_t)count) {
        count = recv(fds[0], buffer + size, sizeof buffer - 1 - size, 0);
        cr_assert_geq(count, 0);
    }
    for (const char *at = buffer; (at = strstr(at, "thread=")) != NULL; at += 7)
        threads[at[7] == '1']++;
    cr_expect_eq(threads[0], 2u);
    cr_expect_eq(threads[1], 2u);
    for (unsigned i = 0; i < 4; i++)
        (void)close(fds[i]);
    stop();
}

static void *
increment_often(void *context)
{
    int fd = client();

    (void)context;
    for (int i = 0; i < 200; i++) {
        char reply[32];
        size_t size = 0;
        say(fd, i % 2 == 0 ? "INCR shared\r\n" : "INCRBY shared 1\r\n");
        do
            receive_all(fd, reply + size, 1);
        while (reply[size++] != '\n' && size < sizeof reply);
        cr_assert_eq(reply[0], ':');
    }
    (void)close(fd);
    return NULL;
}

Test(torcd, loses_no_increment_of_many_clients)
{
    pthread_t threads[8];

    start("--threads", "4", NULL);
    for (unsigned i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, increment_often, NULL), 0);
    for (unsigned i = 0; i < 8; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    int fd = client();
    ask(fd, "GET shared\r\nDBSIZE\r\n", "$4\r\n1600\r\n:1\r\n");
    (void)close(fd);
    stop();
}

Test(torcd, lets_one_client_watch_what_another_changes)
{
    start("--threads", "2", NULL);
    int first = client(), second = client();

    ask(first, "SET a 1\r\nWATCH a\r\n", "+OK\r\n+OK\r\n");
    ask(second, "SET a 2\r\n", "+OK\r\n");
    ask(first, "MULTI\r\nSET a 3\r\nEXEC\r\nGET a\r\n", "+OK\r\n+QUEUED\r\n*-1\r\n$1\r\n2\r\n");
    (void)close(first);
    (void)close(second);
    stop();
}

/* ---- The Unix socket ------------------------------------------------------------------------------------------ */

/* A path that no other test uses; a number tells one process's paths apart. */
static void
socket_path(char path[64], unsigned number)
{
    (void)snprintf(path, 64, "/tmp/torcd-%ld-%u.sock", (long)getpid(), number);
}

static int
try_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_lt(strlen(path), sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

Test(torcd, serves_a_unix_socket_beside_tcp)
{
    char path[64], said[512] = "";
    struct stat status;

    socket_path(path, 0);
    start("--unixsocket", path, "--unixsocketperm", "600", "--threads", "1", NULL);
    int near = try_unix(path), far = client();

    cr_assert_geq(near, 0);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0600u);
    ask(near, "SET a 1\r\n", "+OK\r\n");
    ask(far, "INCR a\r\n", ":2\r\n");
    ask(near, "GET a\r\n", "$1\r\n2\r\n");
    say(near, "CLIENT INFO\r\nQUIT\r\n");
    for (size_t size = 0, count = 1; count > 0 && size < sizeof said - 1; size += count)
        count = (size_t)recv(near, said + size, sizeof said - 1 - size, 0);
    cr_expect_not_null(strstr(said, path), "%s", said);
    (void)close(near);
    (void)close(far);
    stop();
    cr_expect_neq(stat(path, &status), 0, "the file is left behind");
}

Test(torcd, listens_on_a_unix_socket_alone)
{
    char path[64];

    socket_path(path, 1);
    start("--unixsocket", path, "--no-tcp", NULL);
    cr_expect_eq(torcd.port, 0u);
    int fd = try_unix(path);
    cr_assert_geq(fd, 0);
    ask(fd, "PING\r\n", "+PONG\r\n");
    (void)close(fd);
    stop();
}

static void
expect_refusal(char *path, const char *reason)
{
    char torcd_path[] = TORCD_PATH, port_flag[] = "--port", port[] = "0", flag[] = "--unixsocket", said[512];
    char memory[] = "--memory-only";
    char *arguments[] = {torcd_path, port_flag, port, memory, flag, path, NULL};
    struct torcd first = torcd;
    int status;

    launch(arguments);
    said[fread(said, 1, sizeof said - 1, torcd.output)] = '\0';
    (void)fclose(torcd.output);
    cr_assert_eq(waitpid(torcd.pid, &status, 0), torcd.pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    cr_expect_not_null(strstr(said, reason), "%s", said);
    torcd = first;
}

Test(torcd, takes_the_place_of_a_dead_unix_socket_only)
{
    char path[64], missing[] = "/no/such/directory/torcd.sock";
    struct stat status;

    /* A server that could not remove its socket. */
    socket_path(path, 2);
    start("--unixsocket", path, NULL);
    cr_assert_eq(kill(torcd.pid, SIGKILL), 0);
    (void)fclose(torcd.output);
    cr_assert_eq(waitpid(torcd.pid, NULL, 0), torcd.pid);
    cr_assert_eq(stat(path, &status), 0);

    start("--unixsocket", path, NULL);
    expect_refusal(path, "Address already in use");
    int fd = try_unix(path);
    cr_assert_geq(fd, 0, "the second server broke the first one's socket");
    ask(fd, "PING\r\n", "+PONG\r\n");
    (void)close(fd);

    /* Somebody else's file in the place of our socket outlives us. */
    cr_assert_eq(unlink(path), 0);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fclose(file);
    stop();
    cr_expect_eq(stat(path, &status), 0);
    expect_refusal(path, "File exists");
    cr_expect_eq(unlink(path), 0);
    expect_refusal(missing, "No such file or directory");
}

static void *
publish_often(void *context)
{
    int fd = client();

    (void)context;
    for (int i = 0; i < 300; i++)
        ask(fd, "PUBLISH news item\r\n", ":8\r\n");
    (void)close(fd);
    return NULL;
}

Test(torcd, carries_messages_between_its_threads)
{
    static const char message[] = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\nitem\r\n";
    int listeners[8];
    pthread_t threads[3];

    start("--threads", "4", NULL);
    for (unsigned i = 0; i < 8; i++) {
        listeners[i] = client();
        ask(listeners[i], "SUBSCRIBE news\r\n", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    }
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, publish_often, NULL), 0);
    for (unsigned i = 0; i < 8; i++)
        for (unsigned j = 0; j < 3 * 300; j++)
            hear(listeners[i], message);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < 8; i++) {
        ask(listeners[i], "UNSUBSCRIBE\r\n", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
        (void)close(listeners[i]);
    }
    stop();
}

Test(torcd, closes_a_subscriber_that_does_not_read_and_serves_the_others)
{
    enum { SIZE = 1 << 20 };

    start("--threads", "2", "--push-buffer-limit", "4mb", NULL);
    int slow = client(), publisher = client(), one = 1;
    char *payload = malloc(SIZE), header[64], reply[8];

    ask(slow, "SUBSCRIBE a\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    memset(payload, 'p', SIZE);
    (void)snprintf(header, sizeof header, "*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$%d\r\n", SIZE);
    /* Until nobody is left to hear it: what the sockets take is the system's matter, the rest is the limit's. */
    while (one == 1) {
        say(publisher, header);
        send_all(publisher, payload, SIZE);
        say(publisher, "\r\n");
        receive_all(publisher, reply, 4);
        one = reply[1] == '1';
    }
    ask(publisher, "PING\r\n", "+PONG\r\n");
    free(payload);
    (void)close(slow);
    (void)close(publisher);
    stop();
}

Test(torcd, asks_for_its_password)
{
    start("--requirepass", "secret", NULL);
    int fd = client();

    ask(fd, "GET a\r\n", "-NOAUTH Authentication required.\r\n");
    ask(fd, "AUTH guess\r\n", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    ask(fd, "AUTH secret\r\n", "+OK\r\n");
    ask(fd, "GET a\r\n", "$-1\r\n");
    (void)close(fd);
    stop();
}

Test(torcd, flushes_a_database_under_the_hands_of_its_clients)
{
    start("--threads", "4", NULL);
    int first = client(), second = client();

    for (int i = 0; i < 200; i++) {
        say(second, "INCR n\r\nSET k v\r\n");
        ask(first, "SET mine 1\r\nFLUSHDB\r\nEXISTS mine\r\n", "+OK\r\n+OK\r\n:0\r\n");
        char reply[16];
        receive_all(second, reply, 4 + 5);
        cr_assert_eq(reply[0], ':');
    }
    ask(first, "FLUSHALL\r\nDBSIZE\r\n", "+OK\r\n:0\r\n");
    (void)close(first);
    (void)close(second);
    stop();
}

/* ---- Hostile and slow clients --------------------------------------------------------------------------------- */

Test(torcd, tells_a_client_what_it_broke_and_goes_on)
{
    static const struct { const char *request; const char *reply; } broken[] = {
        {"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*99999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"},
        {"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
        {"*1\r\n$1000000000000\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
    };

    start("--threads", "1", NULL);
    int witness = client();
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int fd = client();
        ask(fd, broken[i].request, broken[i].reply);
        hear_end(fd);
        (void)close(fd);
        ask(witness, "PING\r\n", "+PONG\r\n");
    }
    (void)close(witness);
    stop();
}

/* The error must arrive although the client is in the middle of sending. */
Test(torcd, tells_a_client_that_does_not_stop_sending)
{
    start("--threads", "1", NULL);
    int fd = client();
    char *line = malloc(300000);

    memset(line, 'x', 300000);
    (void)!send(fd, line, 300000, MSG_NOSIGNAL);
    hear(fd, "-ERR Protocol error: too big inline request\r\n");
    free(line);
    (void)close(fd);
    stop();
}

Test(torcd, refuses_clients_past_the_greatest_number)
{
    start("--maxclients", "2", NULL);
    int first = client(), second = client();

    ask(first, "PING\r\n", "+PONG\r\n");
    ask(second, "PING\r\n", "+PONG\r\n");
    int third = client();
    hear(third, "-ERR max number of clients reached\r\n");
    hear_end(third);
    (void)close(third);
    ask(first, "CONFIG SET maxclients 3\r\n", "+OK\r\n");
    third = client();
    ask(third, "PING\r\n", "+PONG\r\n");
    (void)close(first);
    (void)close(second);
    (void)close(third);
    stop();
}

Test(torcd, outlives_clients_that_go_in_the_middle)
{
    static const char *const halves[] = {
        "*2\r\n$3\r\nGET\r\n$100\r\nabc", "*1000\r\n", "SET a", "MULTI\r\nSET a 1\r\n", "WATCH a\r\n", "",
    };

    start("--threads", "2", NULL);
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        int polite = client(), rude = client();
        say(polite, halves[i]);
        say(rude, halves[i]);
        (void)setsockopt(rude, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        (void)close(polite);
        (void)close(rude);
    }
    int fd = client();
    ask(fd, "DBSIZE\r\n", ":0\r\n");
    (void)close(fd);
    stop();
}

/* One client asks for 200 MB and reads nothing. On the same loop, others are served meanwhile; the server holds it back
 * instead of holding its replies; and when it reads at last, every reply is there. */
Test(torcd, is_not_stopped_by_a_client_that_does_not_read)
{
    enum { SIZE = 1 << 20, COUNT = 200 };

    start("--threads", "1", NULL);
    int slow = client(), other = client();
    char *value = malloc(SIZE + 2), header[64];

    memset(value, 'v', SIZE);
    (void)snprintf(header, sizeof header, "*3\r\n$3\r\nSET\r\n$1\r\nv\r\n$%d\r\n", SIZE);
    say(slow, header);
    send_all(slow, value, SIZE);
    ask(slow, "\r\n", "+OK\r\n");
    for (int i = 0; i < COUNT; i++)
        say(slow, "GET v\r\n");
    for (int i = 0; i < 50; i++)
        ask(other, "PING\r\n", "+PONG\r\n");

    /* Commands run only as far as their replies may pile up. */
    say(other, "INFO commandstats\r\nQUIT\r\n");
    char *info = hear_all(other);
    const char *calls = strstr(info, "cmdstat_get:calls=");
    cr_assert_not_null(calls);
    cr_expect_lt(strtoul(calls + 18, NULL, 10), 100u, "%.40s", calls);
    free(info);

    (void)snprintf(header, sizeof header, "$%d\r\n", SIZE);
    for (int i = 0; i < COUNT; i++) {
        hear(slow, header);
        receive_all(slow, value, SIZE + 2);
        cr_assert(value[0] == 'v' && value[SIZE - 1] == 'v' && value[SIZE] == '\r');
    }
    ask(slow, "PING\r\n", "+PONG\r\n");
    free(value);
    (void)close(slow);
    (void)close(other);
    stop();
}

Test(torcd, closes_a_client_that_takes_no_replies)
{
    enum { SIZE = 1 << 20 };

    start("--threads", "1", "--output-timeout", "1", NULL);
    int fd = client();
    char *value = malloc(SIZE), header[64];
    size_t received = 0;

    memset(value, 'v', SIZE);
    (void)snprintf(header, sizeof header, "*3\r\n$3\r\nSET\r\n$1\r\nv\r\n$%d\r\n", SIZE);
    say(fd, header);
    send_all(fd, value, SIZE);
    ask(fd, "\r\n", "+OK\r\n");
    for (int i = 0; i < 50; i++)
        say(fd, "GET v\r\n");

    /* Ask another connection until the server says that it has dropped one; then the stream ends before its time. */
    int witness = client();
    for (;;) {
        char line[8192];
        say(witness, "INFO stats\r\n");
        ssize_t count = recv(witness, line, sizeof line - 1, 0);
        cr_assert_gt(count, 0);
        line[count] = '\0';
        if (strstr(line, "dropped_connections:1\r\n") != NULL)
            break;
    }
    for (ssize_t count; (count = recv(fd, value, SIZE, 0)) > 0;)
        received += (size_t)count;
    cr_expect_lt(received, (size_t)50 * SIZE);
    free(value);
    (void)close(fd);
    (void)close(witness);
    stop();
}

Test(torcd, closes_an_idle_client)
{
    start("--timeout", "1", NULL);
    int fd = client();

    ask(fd, "PING\r\n", "+PONG\r\n");
    hear_end(fd);
    (void)close(fd);
    stop();
}

Test(torcd, gives_up_an_old_watch)
{
    start("--watch-timeout", "1", NULL);
    int fd = client();
    bool pinned = true;

    ask(fd, "WATCH a\r\n", "+OK\r\n");
    int witness = client();
    while (pinned) {
        char line[8192];
        say(witness, "INFO torc\r\n");
        ssize_t count = recv(witness, line, sizeof line - 1, 0);
        cr_assert_gt(count, 0);
        line[count] = '\0';
        pinned = strstr(line, "open_transactions:0\r\n") == NULL;
    }
    ask(fd, "MULTI\r\nPING\r\nEXEC\r\n", "+OK\r\n+QUEUED\r\n*-1\r\n");
    (void)close(fd);
    (void)close(witness);
    stop();
}

Test(torcd, kills_clients_on_any_thread)
{
    start("--threads", "2", NULL);
    int first = client();

    ask(first, "CLIENT ID\r\n", ":1\r\n");
    int second = client();
    ask(second, "CLIENT ID\r\n", ":2\r\n");
    ask(first, "CLIENT KILL ID 2\r\n", ":1\r\n");
    hear_end(second);
    ask(first, "PING\r\n", "+PONG\r\n");
    (void)close(first);
    (void)close(second);
    stop();
}

/* ---- The end -------------------------------------------------------------------------------------------------- */

/* What had reached the server before the signal is answered, each request once, and then the stream ends. */
Test(torcd, answers_what_it_received_before_it_ends)
{
    enum { COUNT = 3000 };

    start("--threads", "2", NULL);
    int fd = client(), other = client();
    char *expected = malloc(COUNT * 12);
    size_t size = 0;

    ask(other, "WATCH a\r\nMULTI\r\nSET a 1\r\n", "+OK\r\n+OK\r\n+QUEUED\r\n");
    for (int i = 1; i <= COUNT; i++) {
        say(fd, "INCR n\r\n");
        size += (size_t)sprintf(expected + size, ":%d\r\n", i);
    }
    cr_assert_eq(kill(torcd.pid, SIGTERM), 0);
    char *replies = hear_all(fd);
    cr_expect_str_eq(replies, expected);
    hear_end(other);
    cr_expect_eq(wait_for_end(), 0);
    free(replies);
    free(expected);
    (void)close(fd);
    (void)close(other);
}

Test(torcd, ends_on_interrupt_with_clients_in_every_state)
{
    start("--threads", "2", NULL);
    int fds[5];

    for (unsigned i = 0; i < 5; i++)
        fds[i] = client();
    say(fds[0], "*2\r\n$3\r\nGET\r\n$100\r\nabc");
    say(fds[1], "SET a 1\r\nSET half");
    say(fds[2], "WATCH a\r\n");
    ask(fds[3], "QUIT\r\n", "+OK\r\n");
    cr_assert_eq(kill(torcd.pid, SIGINT), 0);
    cr_expect_eq(wait_for_end(), 0);
    for (unsigned i = 0; i < 5; i++)
        (void)close(fds[i]);
}

Test(torcd, ends_on_shutdown)
{
    start(NULL);
    int fd = client(), other = client();

    ask(other, "SET a 1\r\n", "+OK\r\n");
    say(fd, "SHUTDOWN NOSAVE\r\n");
    hear_end(fd);
    hear_end(other);
    cr_expect_eq(wait_for_end(), 0);
    (void)close(fd);
    (void)close(other);
}

/* ---- The command line ----------------------------------------------------------------------------------------- */

static int
run(const char *flag, const char *value, char *said, size_t size)
{
    char path[] = TORCD_PATH, memory[] = "--memory-only", flag_copy[32], value_copy[32];
    char *arguments[] = {path, memory, flag_copy, value_copy, NULL};
    size_t got = 0;
    int status;

    (void)snprintf(flag_copy, sizeof flag_copy, "%s", flag);
    (void)snprintf(value_copy, sizeof value_copy, "%s", value == NULL ? "" : value);
    if (value == NULL)
        arguments[3] = NULL;
    launch(arguments);
    got = fread(said, 1, size - 1, torcd.output);
    said[got] = '\0';
    (void)fclose(torcd.output);
    cr_assert_eq(waitpid(torcd.pid, &status, 0), torcd.pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(torcd, explains_itself)
{
    char said[16384], port[16];

    cr_expect_eq(run("--help", NULL, said, sizeof said), 0);
    cr_expect_not_null(strstr(said, "Usage: torcd"));
    cr_expect_eq(run("--version", NULL, said, sizeof said), 0);
    cr_expect_eq(strncmp(said, "torcd ", 6), 0);
    cr_expect_eq(run("--nonsense", NULL, said, sizeof said), 2);
    cr_expect_not_null(strstr(said, "unknown option '--nonsense'"));
    cr_expect_eq(run("--bind", "no.such.address.invalid", said, sizeof said), 1);
    cr_expect_not_null(strstr(said, "cannot listen on"));

    start(NULL);
    struct torcd first = torcd;
    (void)snprintf(port, sizeof port, "%u", torcd.port);
    cr_expect_eq(run("--port", port, said, sizeof said), 1);
    cr_expect_not_null(strstr(said, "Address already in use"));
    torcd = first;
    stop();
}

/* ---- Metrics -------------------------------------------------------------------------------------------------- */

static void
fetch(const char *request, const char *expected)
{
    int fd = connect_to(torcd.metrics_port);

    say(fd, request);
    char *page = hear_all(fd);
    cr_expect_eq(strncmp(page, expected, strlen(expected)), 0, "%.60s", page);
    if (strstr(expected, "200") != NULL)
        cr_expect_not_null(strstr(page, "\ntorcd_clients 1\n"));
    free(page);
    (void)close(fd);
}

Test(torcd, shows_its_metrics)
{
    start("--metrics-port", "0", "--threads", "1", NULL);
    int fd = client();
    char *garbage = malloc(8193);

    memset(garbage, 'g', 8192);
    garbage[8192] = '\0';
    ask(fd, "PING\r\n", "+PONG\r\n");
    fetch("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 200 OK\r\n");
    fetch("GET /metrics?a=b HTTP/1.0\n\n", "HTTP/1.0 200 OK\r\n");
    fetch("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 404 ");
    fetch("GET /metricsx HTTP/1.0\r\n\r\n", "HTTP/1.0 404 ");
    fetch("POST /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 405 ");
    fetch("\r\n\r\n", "HTTP/1.0 405 ");
    fetch(garbage, "HTTP/1.0 431 ");
    int idle = connect_to(torcd.metrics_port);
    say(idle, "GET /met");
    ask(fd, "PING\r\n", "+PONG\r\n");
    free(garbage);
    (void)close(fd);
    stop();
    (void)close(idle);
}

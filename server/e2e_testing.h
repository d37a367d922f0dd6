/* SPDX-License-Identifier: MIT */
/* server/e2e_testing.h: for tests of the whole server: start torcd on a port that the system chooses, talk to it over
 * sockets, and end it. */
#ifndef TORCD_E2E_TESTING_H
#define TORCD_E2E_TESTING_H

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* A guard against hanging, not a measure: no verdict depends on how long something takes. */
enum { PATIENCE_S = 60 };

/* ---- The server ----------------------------------------------------------------------------------------------- */

struct torcd {
    pid_t pid;
    FILE *output;               /* Its standard output and error. */
    unsigned port;
    unsigned metrics_port;
    char recovered[512];        /* What it told of its directory. */
};

static struct torcd torcd;

static inline void
launch(char **arguments)
{
    int pipes[2];

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    torcd.pid = fork();
    cr_assert_geq(torcd.pid, 0);
    if (torcd.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(pipes[1], STDOUT_FILENO);
        (void)dup2(pipes[1], STDERR_FILENO);
        (void)execv(TORCD_PATH, arguments);
        _exit(127);
    }
    (void)close(pipes[1]);
    torcd.output = fdopen(pipes[0], "r");
    cr_assert_not_null(torcd.output);
}

/* Start torcd with further arguments, up to NULL, and wait until it listens. Without --dir it writes nothing. */
static inline void
start(const char *first, ...)
{
    char path[] = TORCD_PATH, port_flag[] = "--port", port[] = "0", memory[] = "--memory-only", line[512];
    char *arguments[24] = {path, port_flag, port};
    unsigned count = 3;
    bool has_directory = false;
    va_list list;

    va_start(list, first);
    for (const char *argument = first; argument != NULL && count < 22; argument = va_arg(list, const char *)) {
        has_directory = has_directory || strcmp(argument, "--dir") == 0;
        arguments[count++] = (char *)(uintptr_t)argument;
    }
    va_end(list);
    if (!has_directory)
        arguments[count] = memory;
    launch(arguments);
    while (fgets(line, sizeof line, torcd.output) != NULL) {
        const char *at = strstr(line, " port ");
        const char *metrics = strstr(line, "metrics on http://127.0.0.1:");
        if (metrics != NULL)
            torcd.metrics_port = (unsigned)strtoul(metrics + 28, NULL, 10);
        else if (strstr(line, ": listening on ") != NULL) {
            torcd.port = at == NULL ? 0 : (unsigned)strtoul(at + 6, NULL, 10);
            return;
        } else
            memcpy(torcd.recovered, line, sizeof line);
    }
    cr_assert_fail("torcd did not start: %s", torcd.recovered);
}

/* Wait for its end, and return its exit code. What it still says goes to our standard error. */
static inline int
wait_for_end(void)
{
    int status = 0;
    char line[512];

    while (fgets(line, sizeof line, torcd.output) != NULL)
        (void)fputs(line, stderr);
    (void)fclose(torcd.output);
    cr_assert_eq(waitpid(torcd.pid, &status, 0), torcd.pid);
    cr_assert(WIFEXITED(status), "torcd was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* End it at once, as the system would. It must not have ended before. */
static inline void
murder(void)
{
    int status = 0;
    char line[512];

    cr_assert_eq(kill(torcd.pid, SIGKILL), 0);
    while (fgets(line, sizeof line, torcd.output) != NULL)
        (void)fputs(line, stderr);
    (void)fclose(torcd.output);
    cr_assert_eq(waitpid(torcd.pid, &status, 0), torcd.pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "torcd had ended");
}

static inline void
stop(void)
{
    cr_assert_eq(kill(torcd.pid, SIGTERM), 0);
    cr_assert_eq(wait_for_end(), 0);
}

/* ---- Clients -------------------------------------------------------------------------------------------------- */

static inline int
connect_to(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0, "%s", strerror(errno));
    return fd;
}

static inline int
client(void)
{
    return connect_to(torcd.port);
}

static inline void
send_all(int fd, const void *bytes, size_t size)
{
    size_t sent = 0;

    while (sent < size) {
        ssize_t count = send(fd, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
        cr_assert_gt(count, 0, "send: %s", strerror(errno));
        sent += (size_t)count;
    }
}

static inline void
say(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

static inline void
receive_all(int fd, char *bytes, size_t size)
{
    size_t received = 0;

    while (received < size) {
        ssize_t count = recv(fd, bytes + received, size - received, 0);
        cr_assert_gt(count, 0, "recv after %zu of %zu bytes: %s", received, size, count == 0 ? "end" : strerror(errno));
        received += (size_t)count;
    }
}

/* Expect exactly these bytes next. */
static inline void
hear(int fd, const char *expected)
{
    size_t size = strlen(expected);
    char *bytes = calloc(1, size + 1);

    receive_all(fd, bytes, size);
    cr_assert_str_eq(bytes, expected);
    free(bytes);
}

static inline void
ask(int fd, const char *request, const char *expected)
{
    say(fd, request);
    hear(fd, expected);
}

/* Expect the end of the stream; a reset counts as one. */
static inline void
hear_end(int fd)
{
    char byte;
    ssize_t count = recv(fd, &byte, 1, 0);

    cr_assert(count == 0 || (count < 0 && errno == ECONNRESET), "%zd bytes instead of the end", count);
}

/* All that comes until the end of the stream. The caller frees it. */
static inline char *
hear_all(int fd)
{
    size_t size = 0, capacity = 1 << 20;
    char *bytes = malloc(capacity);

    for (;;) {
        ssize_t count = recv(fd, bytes + size, capacity - size - 1, 0);
        cr_assert_geq(count, 0, "%s", strerror(errno));
        if (count == 0)
            break;
        size += (size_t)count;
        cr_assert_lt(size, capacity - 1);
    }
    bytes[size] = '\0';
    return bytes;
}

#endif

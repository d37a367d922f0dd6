/* SPDX-License-Identifier: MIT */
/* The same conversation with torcd and with redis-server, if that is installed: each reply must be the same. Without it
 * the test says so and is skipped. redis_test.txt holds the conversation. */
#define _GNU_SOURCE
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/testing.h"

enum { CLIENTS = 10, PATIENCE_S = 20, REPLY_MAX = 1 << 16, LINE_MAX_SIZE = 1024 };

/* A server, and the connections to it. */
struct side {
    const char *name;
    pid_t pid;
    unsigned port;                      /* Of torcd. */
    char path[TORCT_PATH_SIZE + 16];    /* Of the socket of Redis. */
    FILE *clients[CLIENTS];
};

static void
run_program(struct side *side, char **arguments, int output)
{
    side->pid = fork();
    cr_assert_geq(side->pid, 0);
    if (side->pid > 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(output, STDOUT_FILENO);
    (void)execvp(arguments[0], arguments);
    _exit(127);
}

static void
start_torcd(struct side *side)
{
    char *arguments[] = {(char[]){TORCD_PATH}, (char[]){"--port"}, (char[]){"0"}, (char[]){"--memory-only"}, NULL};
    int pipes[2];
    char line[512] = "";
    const char *at = NULL;

    side->name = "torcd";
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    run_program(side, arguments, pipes[1]);
    (void)close(pipes[1]);
    FILE *output = fdopen(pipes[0], "r");
    while (at == NULL && fgets(line, sizeof line, output) != NULL)
        at = strstr(line, " port ");
    cr_assert_not_null(at, "torcd did not start");
    side->port = (unsigned)strtoul(at + 6, NULL, 10);
    (void)fclose(output);
}

/* False if there is no redis-server. */
static bool
start_redis(struct side *side, const char *directory)
{
    char path[TORCT_PATH_SIZE + 16], place[TORCT_PATH_SIZE];
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC), status;

    (void)snprintf(path, sizeof path, "%s/redis", directory);
    (void)snprintf(place, sizeof place, "%s", directory);
    char *arguments[] = {
        (char[]){"redis-server"}, (char[]){"--port"}, (char[]){"0"}, (char[]){"--unixsocket"}, path, (char[]){"--save"},
        (char[]){""}, (char[]){"--dir"}, place, (char[]){"--enable-debug-command"}, (char[]){"yes"}, NULL,
    };
    side->name = "Redis";
    memcpy(side->path, path, sizeof path);
    run_program(side, arguments, null);
    (void)close(null);
    for (;;) {
        if (access(path, F_OK) == 0)
            return true;
        if (waitpid(side->pid, &status, WNOHANG) == side->pid)
            return false;
    }
}

static FILE *
client(struct side *side, unsigned number)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)side->port)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool is_unix = side->port == 0;

    if (side->clients[number] != NULL)
        return side->clients[number];
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%.100s", side->path);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int connected;
    do
        connected = is_unix ? connect(fd, (const struct sockaddr *)&un, sizeof un)
                            : connect(fd, (const struct sockaddr *)&in, sizeof in);
    while (connected != 0 && is_unix && errno == ECONNREFUSED);
    cr_assert_eq(connected, 0, "%s: %s", side->name, strerror(errno));
    side->clients[number] = fdopen(fd, "r+");
    return side->clients[number];
}

struct reply {
    size_t size;
    char bytes[REPLY_MAX];
};

/* Append what is read up to the end of a line, or `count` bytes. False at the end of the stream. */
static bool
take_line(FILE *file, struct reply *reply, const char **line)
{
    char *at = reply->bytes + reply->size;

    cr_assert_lt(reply->size + 8192, (size_t)REPLY_MAX);
    if (fgets(at, 8192, file) == NULL)
        return false;
    reply->size += strlen(at);
    *line = at;
    return true;
}

static void
take_reply(FILE *file, struct reply *reply)
{
    const char *line;

    if (!take_line(file, reply, &line)) {
        reply->size += (size_t)snprintf(reply->bytes + reply->size, 16, "(end)");
        return;
    }
    long count = strtol(line + 1, NULL, 10);
    if ((line[0] == '$' || line[0] == '=') && count >= 0) {
        cr_assert_lt(reply->size + (size_t)count + 2, (size_t)REPLY_MAX);
        cr_assert_eq(fread(reply->bytes + reply->size, 1, (size_t)count + 2, file), (size_t)count + 2);
        reply->size += (size_t)count + 2;
        reply->bytes[reply->size] = '\0';
    } else if (line[0] == '*' || line[0] == '>' || line[0] == '~' || line[0] == '%')
        for (long i = 0; i < (line[0] == '%' ? 2 * count : count); i++)
            take_reply(file, reply);
}

static void
ask(struct side *side, unsigned number, const char *request, struct reply *reply)
{
    FILE *file = client(side, number);

    reply->size = 0;
    if (strcmp(request, "READ") != 0) {
        (void)fseek(file, 0, SEEK_CUR);
        (void)fprintf(file, "%s\r\n", request);
        (void)fflush(file);
    }
    take_reply(file, reply);
    reply->bytes[reply->size] = '\0';
    if (strcmp(request, "QUIT") == 0 || strcmp(reply->bytes, "(end)") == 0) {
        (void)fclose(file);
        side->clients[number] = NULL;
    }
}

static bool
is_nil(const struct reply *reply)
{
    return strcmp(reply->bytes, "$-1\r\n") == 0 || strcmp(reply->bytes, "_\r\n") == 0;
}

static void
end(struct side *side)
{
    int status;

    for (unsigned i = 0; i < CLIENTS; i++)
        if (side->clients[i] != NULL)
            (void)fclose(side->clients[i]);
    cr_assert_eq(kill(side->pid, SIGTERM), 0);
    cr_assert_eq(waitpid(side->pid, &status, 0), side->pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", side->name);
}

/* Whether it is the version that torcd shows. */
static bool
is_its_version(struct side *redis)
{
    static struct reply reply;

    ask(redis, 0, "INFO server", &reply);
    return strstr(reply.bytes, "redis_version:7.0.") != NULL;
}

static void
compare(struct side *redis, struct side *torcd, char *line)
{
    static struct reply wanted, given;
    unsigned number = 0;
    char kind = '>';

    if (line[0] >= '0' && line[0] <= '9' && line[1] != '\0' && strchr(">~?", line[1]) != NULL && line[2] == ' ') {
        number = (unsigned)(line[0] - '0');
        kind = line[1];
        line += 3;
    }
    do
        ask(redis, number, line, &wanted);
    while (kind == '?' && !is_nil(&wanted));
    do
        ask(torcd, number, line, &given);
    while (kind == '?' && !is_nil(&given));
    /* One difference shifts what is read later: the first one is what matters. */
    if (kind == '~')
        cr_assert_eq(given.bytes[0], wanted.bytes[0], "%s: %s instead of %s", line, given.bytes, wanted.bytes);
    else
        cr_assert_str_eq(given.bytes, wanted.bytes, "%s: %s instead of %s", line, given.bytes, wanted.bytes);
}

Test(redis, answers_as_torcd_does, .timeout = 240)
{
    static struct side redis, torcd;
    char directory[TORCT_PATH_SIZE], line[LINE_MAX_SIZE];
    FILE *conversation = fopen(CONVERSATION_PATH, "re");
    unsigned asked = 0;

    cr_assert_not_null(conversation);
    torct_directory_create(directory);
    (void)signal(SIGPIPE, SIG_IGN);
    if (!start_redis(&redis, directory)) {
        torct_directory_destroy(directory);
        (void)fclose(conversation);
        cr_skip("redis-server is not installed");
    }
    if (!is_its_version(&redis)) {
        end(&redis);
        torct_directory_destroy(directory);
        (void)fclose(conversation);
        cr_skip("redis-server is of another version");
    }
    start_torcd(&torcd);
    while (fgets(line, sizeof line, conversation) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#')
            continue;
        compare(&redis, &torcd, line);
        asked++;
    }
    cr_expect_gt(asked, 500u);
    (void)fclose(conversation);
    end(&torcd);
    end(&redis);
    torct_directory_destroy(directory);
}

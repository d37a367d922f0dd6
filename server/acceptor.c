/* SPDX-License-Identifier: MIT */
/* server/acceptor.c: accepting connections.
 *
 * When the process runs out of file descriptors, accepting pauses for PAUSE_MS: the waiting connections stay in the
 * kernel's queue, and a poll that reports them again and again does not burn a processor. */
#define _GNU_SOURCE
#include "acceptor.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 511
#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100u

struct listener {
    uv_poll_t poll;
    struct torcd_acceptor *acceptor;
    int fd;
};

struct torcd_acceptor {
    struct torcd_server *server;
    struct torcd_loop **loops;
    struct listener listeners[TORCD_BINDS_MAX + 1];     /* The last may be the Unix socket. */
    unsigned listeners_count;
    unsigned handles;           /* Not yet closed. */
    unsigned port;
    unsigned next_loop;         /* Where the search for the emptiest loop begins: ties go round. */
    uv_timer_t pause;
    const char *unix_path;      /* NULL: none of ours is there. Borrowed. */
    dev_t unix_device;          /* Which file is ours. */
    ino_t unix_inode;
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void
on_pause_over(uv_timer_t *timer)
{
    struct torcd_acceptor *acceptor = timer->data;

    for (unsigned i = 0; i < acceptor->listeners_count; i++)
        (void)uv_poll_start(&acceptor->listeners[i].poll, UV_READABLE, on_readable);
}

static void
pause_accepting(struct torcd_acceptor *acceptor)
{
    for (unsigned i = 0; i < acceptor->listeners_count; i++)
        (void)uv_poll_stop(&acceptor->listeners[i].poll);
    (void)uv_timer_start(&acceptor->pause, on_pause_over, PAUSE_MS, 0);
}

static struct torcd_loop *
emptiest_loop(struct torcd_acceptor *acceptor)
{
    unsigned count = acceptor->server->workers_count, best = acceptor->next_loop % count;

    for (unsigned i = 1; i < count; i++) {
        unsigned candidate = (acceptor->next_loop + i) % count;
        if (torcd_loop_connections(acceptor->loops[candidate]) < torcd_loop_connections(acceptor->loops[best]))
            best = candidate;
    }
    acceptor->next_loop = best + 1;
    return acceptor->loops[best];
}

static void
admit(struct torcd_acceptor *acceptor, int fd)
{
    static const char refusal[] = "-ERR max number of clients reached\r\n";
    struct torcd_server *server = acceptor->server;

    /* Relaxed: figures. Only this thread adds clients, so the limit is not passed. */
    if (atomic_load_explicit(&server->clients, memory_order_relaxed) >= torcd_setting(server, TORCD_CLIENTS_MAX)) {
        atomic_fetch_add_explicit(&server->clients_refused, 1, memory_order_relaxed);
        (void)!send(fd, refusal, sizeof refusal - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)close(fd);
        return;
    }
    atomic_fetch_add_explicit(&server->clients_accepted, 1, memory_order_relaxed);
    torcd_loop_give(emptiest_loop(acceptor), fd);
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && status == 0; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(listener->acceptor, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            pause_accepting(listener->acceptor);
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* ---- Sockets -------------------------------------------------------------------------------------------------- */

/* errno is kept. */
static int
close_failed(int fd)
{
    int error = errno;

    (void)close(fd);
    errno = error;
    return -1;
}

static int
listen_at(const struct addrinfo *info, unsigned *port)
{
    struct sockaddr_storage address;
    socklen_t length = info->ai_addrlen;
    int on = 1, fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    memcpy(&address, info->ai_addr, length);
    if (address.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address)->sin6_port = htons((uint16_t)*port);
    else
        ((struct sockaddr_in *)&address)->sin_port = htons((uint16_t)*port);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, length) != 0 || listen(fd, BACKLOG) != 0
        || getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return close_failed(fd);
    *port = ntohs(address.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&address)->sin6_port
                                                : ((const struct sockaddr_in *)&address)->sin_port);
    return fd;
}

int
torcd_listen(const char *address, unsigned *port)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int fd = -1;

    if (getaddrinfo(address, NULL, &hints, &found) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    for (const struct addrinfo *info = found; info != NULL && fd < 0; info = info->ai_next)
        fd = listen_at(info, port);
    freeaddrinfo(found);
    return fd;
}

/* ---- Unix sockets --------------------------------------------------------------------------------------------- */

static bool
unix_address(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(address->sun_path, path, strlen(path));
    return true;
}

/* Remove the socket that a server which is gone has left at `path`. False, with errno set: somebody listens there, or
 * it is no socket. */
static bool
make_way(const char *path, const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(path, &status) != 0)
        return errno == ENOENT;
    if (!S_ISSOCK(status.st_mode)) {
        errno = EEXIST;
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool is_dead = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    errno = EADDRINUSE;
    return is_dead && unlink(path) == 0;
}

/* Listen at `path`. Its permissions are set before anybody can connect. -1 with errno set. */
static int
listen_unix(struct torcd_acceptor *acceptor, const char *path, unsigned mode)
{
    struct sockaddr_un address;
    struct stat status;

    if (!unix_address(path, &address) || !make_way(path, &address))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        return close_failed(fd);
    if ((mode != 0 && chmod(path, mode) != 0) || stat(path, &status) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        (void)unlink(path);
        errno = error;
        return close_failed(fd);
    }
    acceptor->unix_path = path;
    acceptor->unix_device = status.st_dev;
    acceptor->unix_inode = status.st_ino;
    return fd;
}

/* Remove our socket from the file system, unless another one has taken its place. */
static void
unlink_unix(struct torcd_acceptor *acceptor)
{
    struct stat status;

    if (acceptor->unix_path != NULL && lstat(acceptor->unix_path, &status) == 0
        && status.st_dev == acceptor->unix_device && status.st_ino == acceptor->unix_inode)
        (void)unlink(acceptor->unix_path);
    acceptor->unix_path = NULL;
}

/* ---- Life ----------------------------------------------------------------------------------------------------- */

static void
on_handle_closed(uv_handle_t *handle)
{
    struct torcd_acceptor *acceptor =
        handle->type == UV_TIMER ? handle->data : ((struct listener *)handle->data)->acceptor;

    if (handle->type != UV_TIMER)
        (void)close(((struct listener *)handle->data)->fd);
    if (--acceptor->handles == 0)
        torcd_release(acceptor);
}

void
torcd_acceptor_close(struct torcd_acceptor *acceptor)
{
    unlink_unix(acceptor);
    uv_close((uv_handle_t *)&acceptor->pause, on_handle_closed);
    for (unsigned i = 0; i < acceptor->listeners_count; i++)
        uv_close((uv_handle_t *)&acceptor->listeners[i].poll, on_handle_closed);
}

/* Accept from `fd`, which belongs to the acceptor from now on, unless it is -1. */
static bool
add_listener(struct torcd_acceptor *acceptor, uv_loop_t *uv, int fd)
{
    struct listener *listener = &acceptor->listeners[acceptor->listeners_count];

    if (fd < 0)
        return false;
    listener->acceptor = acceptor;
    listener->fd = fd;
    int status = uv_poll_init(uv, &listener->poll, listener->fd);
    if (status != 0) {
        (void)close(listener->fd);
        errno = -status;
        return false;
    }
    listener->poll.data = listener;
    acceptor->listeners_count++;
    acceptor->handles++;
    return uv_poll_start(&listener->poll, UV_READABLE, on_readable) == 0;
}

static bool
add_all(struct torcd_acceptor *acceptor, uv_loop_t *uv, const struct torcd_options *options, char *error,
        size_t error_size)
{
    for (unsigned i = 0; !options->no_tcp && (i < options->binds_count || i == 0); i++) {
        const char *address = options->binds_count == 0 ? "127.0.0.1" : options->binds[i];
        if (!add_listener(acceptor, uv, torcd_listen(address, &acceptor->port))) {
            (void)snprintf(error, error_size, "cannot listen on %s port %u: %s", address, acceptor->port,
                           strerror(errno));
            return false;
        }
    }
    if (options->unix_socket != NULL
        && !add_listener(acceptor, uv, listen_unix(acceptor, options->unix_socket, options->unix_socket_mode))) {
        (void)snprintf(error, error_size, "cannot listen on %s: %s", options->unix_socket, strerror(errno));
        return false;
    }
    return true;
}

struct torcd_acceptor *
torcd_acceptor_create(uv_loop_t *uv, struct torcd_server *server, struct torcd_loop **loops,
                      const struct torcd_options *options, char *error, size_t error_size)
{
    struct torcd_acceptor *acceptor = torcd_allocate(1, sizeof *acceptor);

    if (acceptor == NULL) {
        (void)snprintf(error, error_size, "out of memory");
        return NULL;
    }
    acceptor->server = server;
    acceptor->loops = loops;
    acceptor->port = options->no_tcp ? 0 : (unsigned)options->values[TORCD_PORT];
    (void)uv_timer_init(uv, &acceptor->pause);
    acceptor->pause.data = acceptor;
    acceptor->handles = 1;
    if (add_all(acceptor, uv, options, error, error_size))
        return acceptor;
    torcd_acceptor_close(acceptor);
    return NULL;
}

unsigned
torcd_acceptor_port(const struct torcd_acceptor *acceptor)
{
    return acceptor->port;
}

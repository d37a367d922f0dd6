/* SPDX-License-Identifier: MIT */
/* server/loop.c: connections on an event loop.
 *
 *   socket -> loop->input (shared) -> requests -> session->out (lent: loop->spare) -> socket
 *               | rest of a request                  | rest of the replies
 *               v                                    v
 *             connection->in                     connection->sending (one write under way)
 *
 * A connection between two requests owns no buffer: bytes are read into the loop's own and replies are written into the
 * loop's spare one, both warm in the cache; only what is left over moves into buffers of the connection.
 *
 *   OPEN        reads requests and answers them
 *   DRAINING    reads no more (QUIT, a broken protocol, the peer's end of file, shutdown), sends what is there
 *   LINGERING   has sent all and its own end of file, and throws away what still comes: closing a socket with unread
 *               bytes would let the peer's system drop our last reply
 *   CLOSED      waits for the loop to let go of the handle
 *
 * Invariants  I1  at most one write is under way (`writing`), and `sending` is its memory
 *             I2  a connection on the ready list has whole requests in `in` and does not read
 *             I3  a connection reads only while its unsent replies are below the mark: a client that does not read
 *                 its replies is not served, and its memory is bounded
 * Fairness    A connection runs at most TURN_REQUESTS requests, then goes to the end of the ready list; between two
 *             rounds of that list the loop polls all sockets.
 * Guard       `mutex` guards inbox and stopping; all else belongs to the loop's thread. */
#define _GNU_SOURCE
#include "loop.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "commands.h"

#define INPUT_SIZE (64u * 1024u)        /* One read: the pipelines of many small requests. */
#define ROOM_MIN (16u * 1024u)          /* Room for a read behind an incomplete request. */
#define TURN_REQUESTS 128u
#define KEPT_MAX (1024u * 1024u)        /* Greatest buffer that is kept for the next use. */
#define SWEEP_MS 1000u
#define LINGER_MS 2000u
#define SHUTDOWN_MS 5000u               /* For clients that do not take their last replies. */
#define DRAIN_READS 1024u               /* Of INPUT_SIZE, at shutdown, from one client. */

enum state { OPEN, DRAINING, LINGERING, CLOSED };

struct connection {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct torcd_loop *loop;
    struct torcd_session *session;
    enum state state;
    bool writing;
    bool reading;
    bool is_ready;                      /* On the ready list. */
    bool waits;                         /* Has requests in `in` that wait for the peer to take replies. */
    bool linger;                        /* Whether DRAINING ends in LINGERING. */
    struct torcd_buffer in;             /* Received, not consumed: in.data[in_begin..in.size). */
    size_t in_begin;
    struct torcd_buffer sending;
    uint64_t active_ms;                 /* When something was read last. */
    uint64_t progress_ms;               /* When the peer took something last, or nothing was unsent. */
    size_t unsent;                      /* At progress_ms. */
    struct connection *next_ready;
    struct connection *previous;
    struct connection *next;
};

struct torcd_loop {
    uv_loop_t uv;
    uv_thread_t thread;
    uv_async_t wake;
    uv_timer_t sweep;
    uv_idle_t idle;                     /* Active while the ready list is not empty. */
    struct torcd_worker *worker;
    struct connection *connections;
    struct connection *ready;
    struct connection *ready_last;
    struct torcd_buffer spare;
    atomic_uint connections_count;      /* Relaxed: a figure to balance by. */
    uint64_t stop_ms;
    bool draining;                      /* The loop's own view of `stopping`. */
    bool ended;                         /* Its handles are closing. */

    pthread_mutex_t mutex;
    int *inbox;
    size_t inbox_count;
    size_t inbox_capacity;
    bool stopping;

    char input[INPUT_SIZE];
};

/* ---- Ends ----------------------------------------------------------------------------------------------------- */

/* The last connection of a loop that stops takes the loop's own handles with it. */
static void
end_if_last(struct torcd_loop *loop)
{
    if (!loop->draining || loop->ended || loop->connections != NULL)
        return;
    loop->ended = true;
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->sweep, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
}

static void
on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct torcd_loop *loop = connection->loop;

    *(connection->previous != NULL ? &connection->previous->next : &loop->connections) = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    torcd_buffer_fini(&connection->in);
    torcd_buffer_fini(&connection->sending);
    torcd_release(connection);
    /* Relaxed: figures. */
    atomic_fetch_sub_explicit(&loop->connections_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&loop->worker->server->clients, 1, memory_order_relaxed);
    end_if_last(loop);
}

static void
leave_ready_list(struct connection *connection)
{
    struct torcd_loop *loop = connection->loop;
    struct connection **link = &loop->ready, *last = NULL;

    if (!connection->is_ready)
        return;
    while (*link != connection) {
        last = *link;
        link = &last->next_ready;
    }
    *link = connection->next_ready;
    if (loop->ready_last == connection)
        loop->ready_last = last;
    connection->is_ready = false;
}

static void
close_connection(struct connection *connection)
{
    if (connection->state == CLOSED)
        return;
    leave_ready_list(connection);
    connection->state = CLOSED;
    torcd_session_destroy(connection->session);
    connection->session = NULL;
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

static void
drop(struct connection *connection)
{
    torcd_count(&connection->loop->worker->counters.clients_dropped, 1);
    close_connection(connection);
}

static size_t
unsent_bytes(const struct connection *connection)
{
    return connection->writing ? uv_stream_get_write_queue_size((const uv_stream_t *)&connection->tcp) : 0;
}

/* Requests wait until the peer has taken replies (I3). */
static bool
is_backed_up(const struct connection *connection)
{
    return unsent_bytes(connection) + connection->session->out.size > torcd_commands_output_mark(connection->session);
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

static void process(struct connection *connection, char *window, size_t size, unsigned budget);

/* As process(), with the window in connection->in. */
static void
process_kept(struct connection *connection, unsigned budget)
{
    const struct torcd_buffer *in = &connection->in;

    if (in->size == 0)
        process(connection, connection->loop->input, 0, budget);
    else
        process(connection, in->data + connection->in_begin, in->size - connection->in_begin, budget);
}

/* Make room behind connection->in for the request that is incomplete. The window moves to the front of its buffer
 * first: at most one move of an incomplete request per request, so that the cost stays linear. */
static bool
make_room(struct connection *connection)
{
    struct torcd_buffer *in = &connection->in;
    size_t have = in->size - connection->in_begin, wanted = torcd_resp_wanted(&connection->session->parser);
    size_t room = wanted > have ? wanted - have : 0, most = have > INPUT_SIZE ? have : INPUT_SIZE;

    if (connection->in_begin > 0) {
        memmove(in->data, in->data + connection->in_begin, have);
        in->size = have;
        connection->in_begin = 0;
    }
    if (room > most)
        room = most;        /* Announced is not received: memory follows the bytes. */
    return torcd_buffer_reserve(in, room < ROOM_MIN ? ROOM_MIN : room);
}

static void
on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connection *connection = handle->data;
    struct torcd_buffer *in = &connection->in;

    (void)suggested;
    *buffer = uv_buf_init(connection->loop->input, INPUT_SIZE);
    if (connection->state != OPEN || in->size == 0)
        return;
    if (make_room(connection))
        *buffer = uv_buf_init(in->data + in->size, (unsigned)(in->capacity - in->size > INT32_MAX
                                                                  ? INT32_MAX : in->capacity - in->size));
    else
        *buffer = uv_buf_init(NULL, 0);
}

static void
stop_reading(struct connection *connection)
{
    if (connection->reading)
        (void)uv_read_stop((uv_stream_t *)&connection->tcp);
    connection->reading = false;
}

static void drain(struct connection *connection, bool linger);

static void
on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;

    if (count == 0 || connection->state == CLOSED)
        return;
    if (connection->state == LINGERING) {
        if (count < 0)
            close_connection(connection);
        return;
    }
    if (count == UV_EOF) {
        drain(connection, false);
        return;
    }
    if (count < 0) {
        close_connection(connection);
        return;
    }

    connection->active_ms = uv_now(&connection->loop->uv);
    torcd_count(&connection->loop->worker->counters.bytes_in, (uint64_t)count);
    if (connection->in.size == 0) {
        process(connection, buffer->base, (size_t)count, TURN_REQUESTS);
        return;
    }
    connection->in.size += (size_t)count;
    process_kept(connection, TURN_REQUESTS);
}

static void
start_reading(struct connection *connection)
{
    if (connection->reading)
        return;
    connection->reading = uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read) == 0;
    if (!connection->reading)
        close_connection(connection);
}

/* ---- The ready list ------------------------------------------------------------------------------------------- */

static void
on_idle(uv_idle_t *idle)
{
    struct torcd_loop *loop = idle->data;
    struct connection *last = loop->ready_last;

    /* One round: those that are ready now, not those that become ready meanwhile. */
    while (loop->ready != NULL) {
        struct connection *connection = loop->ready;
        bool is_last = connection == last;

        leave_ready_list(connection);
        process_kept(connection, TURN_REQUESTS);
        if (is_last)
            break;
    }
    if (loop->ready == NULL)
        (void)uv_idle_stop(&loop->idle);
}

static void
make_ready(struct connection *connection)
{
    struct torcd_loop *loop = connection->loop;

    if (connection->is_ready || loop->ended)
        return;
    connection->is_ready = true;
    connection->next_ready = NULL;
    *(loop->ready == NULL ? &loop->ready : &loop->ready_last->next_ready) = connection;
    loop->ready_last = connection;
    (void)uv_idle_start(&loop->idle, on_idle);
}

/* ---- Writing -------------------------------------------------------------------------------------------------- */

static void
take_back(struct torcd_loop *loop, struct torcd_buffer *buffer)
{
    if (loop->spare.data == NULL && buffer->capacity <= KEPT_MAX) {
        loop->spare = *buffer;
        torcd_buffer_truncate(&loop->spare, 0);
        memset(buffer, 0, sizeof *buffer);
    } else
        torcd_buffer_fini(buffer);
}

static void
lend(struct torcd_loop *loop, struct torcd_buffer *buffer)
{
    if (buffer->data != NULL)
        return;
    *buffer = loop->spare;
    memset(&loop->spare, 0, sizeof loop->spare);
}

static void
on_lingering(uv_shutdown_t *request, int status)
{
    struct connection *connection = request->data;

    if (status != 0 && connection->state != CLOSED)
        close_connection(connection);
}

/* All replies are sent: go on to the end. */
static void
finish(struct connection *connection)
{
    connection->progress_ms = uv_now(&connection->loop->uv);
    if (!connection->linger) {
        close_connection(connection);
        return;
    }
    connection->state = LINGERING;
    connection->shutdown.data = connection;
    if (uv_shutdown(&connection->shutdown, (uv_stream_t *)&connection->tcp, on_lingering) != 0)
        close_connection(connection);
    else
        start_reading(connection);
}

static void flush(struct connection *connection);

static void
on_written(uv_write_t *request, int status)
{
    struct connection *connection = request->data;

    connection->writing = false;
    take_back(connection->loop, &connection->sending);
    if (connection->state == CLOSED)
        return;
    if (status != 0) {
        close_connection(connection);
        return;
    }
    flush(connection);
    if (connection->state == OPEN && connection->waits && !is_backed_up(connection)) {
        connection->waits = false;
        make_ready(connection);
    }
}

/* Send what is in session->out: what the socket takes at once, and the rest when it can. */
static void
flush(struct connection *connection)
{
    struct torcd_buffer *out = &connection->session->out;
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;

    if (connection->writing)
        return;
    if (out->size > 0) {
        uv_buf_t buffer = uv_buf_init(out->data, (unsigned)(out->size > INT32_MAX ? INT32_MAX : out->size));
        int sent = uv_try_write(stream, &buffer, 1);

        if (sent < 0 && sent != UV_EAGAIN) {
            close_connection(connection);
            return;
        }
        size_t taken = sent < 0 ? 0 : (size_t)sent;
        torcd_count(&connection->loop->worker->counters.bytes_out, out->size);
        connection->progress_ms = uv_now(&connection->loop->uv);
        if (taken < out->size) {
            connection->sending = *out;
            memset(out, 0, sizeof *out);
            connection->writing = true;
            connection->unsent = connection->sending.size - taken;
            connection->write.data = connection;

            uv_buf_t rest[4];
            unsigned count = 0;
            for (size_t at = taken; at < connection->sending.size && count < 4; count++) {
                size_t left = connection->sending.size - at, piece = left > INT32_MAX ? INT32_MAX : left;
                rest[count] = uv_buf_init(connection->sending.data + at, (unsigned)piece);
                at += piece;
            }
            if (uv_write(&connection->write, stream, rest, count, on_written) != 0) {
                connection->writing = false;
                close_connection(connection);
            }
            return;
        }
        out->size = 0;
    }
    take_back(connection->loop, out);
    if (connection->state == DRAINING)
        finish(connection);
}

static void
drain(struct connection *connection, bool linger)
{
    stop_reading(connection);
    leave_ready_list(connection);
    connection->state = DRAINING;
    connection->linger = linger;
    flush(connection);
}

/* ---- Requests ------------------------------------------------------------------------------------------------- */

/* Keep what was not consumed of the window, which lies in connection->in or in the loop's input. */
static bool
keep_rest(struct connection *connection, const char *window, size_t size, size_t consumed)
{
    struct torcd_buffer *in = &connection->in;

    if (in->size == 0) {
        torcd_buffer_append(in, window + consumed, size - consumed);
        return in->fault == TORCD_FAULT_NONE;
    }
    connection->in_begin += consumed;
    if (connection->in_begin == in->size) {
        connection->in_begin = 0;
        torcd_buffer_truncate(in, 0);
        if (in->capacity > KEPT_MAX)
            torcd_buffer_fini(in);
    }
    return true;
}

/* Run the requests in the window, send the replies, and see how it goes on. */
static void
process(struct connection *connection, char *window, size_t size, unsigned budget)
{
    struct torcd_session *session = connection->session;
    size_t consumed = 0;

    lend(connection->loop, &session->out);
    enum torcd_feed feed =
        torcd_commands_feed(session, window, size, unsent_bytes(connection), &budget, &consumed);
    if (!keep_rest(connection, window, size, consumed)) {
        close_connection(connection);
        return;
    }
    if (session->closing) {
        drain(connection, true);
        return;
    }
    flush(connection);
    if (connection->state != OPEN)
        return;
    if (feed == TORCD_FEED_MORE) {
        start_reading(connection);
        return;
    }

    /* I2, I3: no reading before the requests at hand have run. */
    stop_reading(connection);
    torcd_count(&connection->loop->worker->counters.turns_cut, 1);
    if (is_backed_up(connection))
        connection->waits = true;
    else
        make_ready(connection);
}

/* ---- Beginnings ----------------------------------------------------------------------------------------------- */

static void
describe_peer(uv_tcp_t *tcp, char *text, size_t size)
{
    struct sockaddr_storage address;
    int length = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";

    (void)snprintf(text, size, "?:0");
    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&address, &length) != 0)
        return;
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        (void)uv_ip6_name(in6, host, sizeof host);
        (void)snprintf(text, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)&address;
        (void)uv_ip4_name(in4, host, sizeof host);
        (void)snprintf(text, size, "%s:%u", host, ntohs(in4->sin_port));
    }
}

/* The loop does not take this socket: as if it had been a client that ended. */
static void
refuse_socket(struct torcd_loop *loop, int fd)
{
    (void)close(fd);
    /* Relaxed: figures. */
    atomic_fetch_sub_explicit(&loop->connections_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&loop->worker->server->clients, 1, memory_order_relaxed);
}

static void
open_connection(struct torcd_loop *loop, int fd)
{
    struct connection *connection = torcd_allocate(1, sizeof *connection);
    char peer[64];
    uint64_t keepalive = torcd_setting(loop->worker->server, TORCD_KEEPALIVE);

    if (connection == NULL || uv_tcp_init(&loop->uv, &connection->tcp) != 0) {
        torcd_release(connection);
        refuse_socket(loop, fd);
        return;
    }
    connection->loop = loop;
    connection->tcp.data = connection;
    connection->next = loop->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    loop->connections = connection;
    if (uv_tcp_open(&connection->tcp, fd) != 0)
        (void)close(fd);
    else {
        describe_peer(&connection->tcp, peer, sizeof peer);
        connection->session = torcd_session_create(loop->worker, peer);
    }
    if (connection->session == NULL) {
        connection->state = CLOSED;
        uv_close((uv_handle_t *)&connection->tcp, on_closed);
        return;
    }
    (void)uv_tcp_nodelay(&connection->tcp, 1);
    if (keepalive > 0)
        (void)uv_tcp_keepalive(&connection->tcp, 1, (unsigned)keepalive);
    connection->active_ms = uv_now(&loop->uv);
    connection->progress_ms = connection->active_ms;
    start_reading(connection);
}

/* ---- The loop ------------------------------------------------------------------------------------------------- */

static void
sweep_connection(struct connection *connection, uint64_t now)
{
    struct torcd_session *session = connection->session;
    const struct torcd_server *server = connection->loop->worker->server;
    uint64_t idle_s = torcd_setting(server, TORCD_IDLE_TIMEOUT), output_s = torcd_setting(server, TORCD_OUTPUT_TIMEOUT);
    uint64_t watch_s = torcd_setting(server, TORCD_WATCH_TIMEOUT);
    size_t unsent = unsent_bytes(connection);

    if (connection->state == LINGERING && now - connection->progress_ms > LINGER_MS) {
        close_connection(connection);
        return;
    }
    if (unsent == 0 || unsent != connection->unsent) {
        connection->unsent = unsent;
        connection->progress_ms = connection->state == LINGERING ? connection->progress_ms : now;
    }
    if (watch_s > 0 && session->watched_count > 0
        && torcd_now_ns() - session->watch_began_ns > watch_s * UINT64_C(1000000000))
        torcd_session_expire_watch(session);
    if (output_s > 0 && unsent > 0 && now - connection->progress_ms > output_s * 1000)
        drop(connection);
    else if (idle_s > 0 && connection->state == OPEN && unsent == 0 && now - connection->active_ms > idle_s * 1000)
        drop(connection);
    else if (connection->in.size == 0)
        torcd_buffer_fini(&connection->in);
}

static void
on_sweep(uv_timer_t *timer)
{
    struct torcd_loop *loop = timer->data;
    uint64_t now = uv_now(&loop->uv);

    for (struct connection *connection = loop->connections; connection != NULL; connection = connection->next)
        if (connection->state != CLOSED) {
            if (loop->draining && now - loop->stop_ms > SHUTDOWN_MS)
                close_connection(connection);
            else
                sweep_connection(connection, now);
        }
}

/* Read without waiting, behind what is kept; what there was is in connection->in or in the loop's input. */
static ssize_t
read_at_once(struct connection *connection, int fd)
{
    struct torcd_buffer *in = &connection->in;

    if (in->size == 0)
        return recv(fd, connection->loop->input, INPUT_SIZE, MSG_DONTWAIT);
    return make_room(connection) ? recv(fd, in->data + in->size, in->capacity - in->size, MSG_DONTWAIT) : -1;
}

/* At shutdown: answer what the peer sent until now, and say goodbye. */
static void
answer_the_rest(struct connection *connection)
{
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&connection->tcp, &fd) != 0) {
        close_connection(connection);
        return;
    }
    for (unsigned i = 0; i < DRAIN_READS && connection->state == OPEN && !connection->waits; i++) {
        if (connection->is_ready) {
            leave_ready_list(connection);
            process_kept(connection, UINT32_MAX);
            continue;
        }
        ssize_t count = read_at_once(connection, fd);
        if (count <= 0)
            break;
        if (connection->in.size == 0)
            process(connection, connection->loop->input, (size_t)count, UINT32_MAX);
        else {
            connection->in.size += (size_t)count;
            process_kept(connection, UINT32_MAX);
        }
    }
    if (connection->state == OPEN)
        drain(connection, false);
}

static void
close_killed(struct torcd_loop *loop)
{
    for (struct connection *connection = loop->connections; connection != NULL; connection = connection->next)
        /* Relaxed: a flag that publishes nothing. */
        if (connection->state != CLOSED
            && atomic_load_explicit(&connection->session->seen.killed, memory_order_relaxed))
            close_connection(connection);
}

static void
on_wake(uv_async_t *wake)
{
    struct torcd_loop *loop = wake->data;

    (void)pthread_mutex_lock(&loop->mutex);
    int *inbox = loop->inbox;
    size_t count = loop->inbox_count;
    bool stopping = loop->stopping;
    loop->inbox = NULL;
    loop->inbox_count = 0;
    loop->inbox_capacity = 0;
    (void)pthread_mutex_unlock(&loop->mutex);

    for (size_t i = 0; i < count; i++)
        open_connection(loop, inbox[i]);
    torcd_release(inbox);
    close_killed(loop);
    if (!stopping || loop->draining)
        return;
    loop->draining = true;
    loop->stop_ms = uv_now(&loop->uv);
    for (struct connection *connection = loop->connections; connection != NULL; connection = connection->next)
        if (connection->state == OPEN)
            answer_the_rest(connection);
        else if (connection->state == LINGERING)
            close_connection(connection);
    end_if_last(loop);
}

static void
run(void *context)
{
    struct torcd_loop *loop = context;

    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    torcd_buffer_fini(&loop->spare);
}

struct torcd_loop *
torcd_loop_create(struct torcd_worker *worker)
{
    struct torcd_loop *loop = torcd_allocate(1, sizeof *loop);

    if (loop == NULL)
        return NULL;
    loop->worker = worker;
    if (pthread_mutex_init(&loop->mutex, NULL) != 0)
        goto release;
    if (uv_loop_init(&loop->uv) != 0)
        goto destroy_mutex;
    if (uv_async_init(&loop->uv, &loop->wake, on_wake) != 0)
        goto close_loop;
    (void)uv_timer_init(&loop->uv, &loop->sweep);       /* These two cannot fail: they only fill the handle. */
    (void)uv_idle_init(&loop->uv, &loop->idle);
    loop->wake.data = loop;
    loop->sweep.data = loop;
    loop->idle.data = loop;
    (void)uv_timer_start(&loop->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    if (uv_thread_create(&loop->thread, run, loop) == 0)
        return loop;

    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->sweep, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
close_loop:
    (void)uv_loop_close(&loop->uv);
destroy_mutex:
    (void)pthread_mutex_destroy(&loop->mutex);
release:
    torcd_release(loop);
    return NULL;
}

unsigned
torcd_loop_connections(const struct torcd_loop *loop)
{
    /* Relaxed: a figure to balance by. */
    return atomic_load_explicit(&loop->connections_count, memory_order_relaxed);
}

void
torcd_loop_give(struct torcd_loop *loop, int fd)
{
    bool taken = true;

    /* Relaxed: figures. */
    atomic_fetch_add_explicit(&loop->connections_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&loop->worker->server->clients, 1, memory_order_relaxed);
    (void)pthread_mutex_lock(&loop->mutex);
    if (loop->inbox_count == loop->inbox_capacity) {
        size_t capacity = loop->inbox_capacity == 0 ? 16 : loop->inbox_capacity * 2;
        int *inbox = torcd_resize(loop->inbox, capacity * sizeof *inbox);
        if (inbox == NULL)
            taken = false;
        else {
            loop->inbox = inbox;
            loop->inbox_capacity = capacity;
        }
    }
    if (taken)
        loop->inbox[loop->inbox_count++] = fd;
    (void)pthread_mutex_unlock(&loop->mutex);
    if (taken)
        torcd_loop_wake(loop);
    else
        refuse_socket(loop, fd);
}

void
torcd_loop_wake(struct torcd_loop *loop)
{
    (void)uv_async_send(&loop->wake);
}

void
torcd_loop_stop(struct torcd_loop *loop)
{
    (void)pthread_mutex_lock(&loop->mutex);
    loop->stopping = true;
    (void)pthread_mutex_unlock(&loop->mutex);
    torcd_loop_wake(loop);
}

void
torcd_loop_join(struct torcd_loop *loop)
{
    (void)uv_thread_join(&loop->thread);
}

void
torcd_loop_destroy(struct torcd_loop *loop)
{
    if (loop == NULL)
        return;
    (void)uv_loop_close(&loop->uv);
    (void)pthread_mutex_destroy(&loop->mutex);
    torcd_release(loop->inbox);
    torcd_release(loop);
}

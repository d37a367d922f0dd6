/* SPDX-License-Identifier: MIT */
/* server/metrics_http.c: a responder for one page.
 *
 * It reads a request of at most REQUEST_MAX bytes up to the empty line, looks at the first line only, answers, and
 * closes: HTTP/1.0 without keep-alive. At most PEERS_MAX connections at once, each with PEER_MS to finish; so a
 * hostile peer can keep others from the figures for a while, and never touches the clients, who live on other
 * threads. */
#define _GNU_SOURCE
#include "metrics_http.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "acceptor.h"
#include "metrics.h"

#define REQUEST_MAX 8192u
#define PEERS_MAX 32u
#define PEER_MS 10000u
#define SWEEP_MS 1000u

struct peer {
    uv_tcp_t tcp;
    uv_write_t write;
    struct torcd_metrics_http *http;
    struct peer *previous;
    struct peer *next;
    uint64_t accepted_ms;
    size_t received;
    bool answered;
    struct torcd_buffer reply;
    char request[REQUEST_MAX];
};

struct torcd_metrics_http {
    uv_tcp_t listener;
    uv_timer_t sweep;
    const struct torcd_server *server;
    struct peer *peers;
    unsigned peers_count;
    unsigned handles;           /* Listener and timer, while open. */
};

static void
release_if_last(struct torcd_metrics_http *http)
{
    if (http->handles == 0 && http->peers == NULL)
        torcd_release(http);
}

static void
on_peer_closed(uv_handle_t *handle)
{
    struct peer *peer = handle->data;
    struct torcd_metrics_http *http = peer->http;

    *(peer->previous != NULL ? &peer->previous->next : &http->peers) = peer->next;
    if (peer->next != NULL)
        peer->next->previous = peer->previous;
    http->peers_count--;
    torcd_buffer_fini(&peer->reply);
    torcd_release(peer);
    release_if_last(http);
}

static void
close_peer(struct peer *peer)
{
    if (!uv_is_closing((const uv_handle_t *)&peer->tcp))
        uv_close((uv_handle_t *)&peer->tcp, on_peer_closed);
}

static void
on_written(uv_write_t *request, int status)
{
    (void)status;
    close_peer(request->data);
}

static void
respond(struct peer *peer, const char *status, const struct torcd_buffer *body)
{
    struct torcd_buffer *reply = &peer->reply;

    peer->answered = true;
    torcd_buffer_format(reply, "HTTP/1.0 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                               "Content-Length: %zu\r\nConnection: close\r\n\r\n", status, body->size);
    torcd_buffer_append(reply, body->data, body->size);
    if (reply->fault != TORCD_FAULT_NONE) {
        close_peer(peer);
        return;
    }
    uv_buf_t buffer = uv_buf_init(reply->data, (unsigned)reply->size);
    peer->write.data = peer;
    if (uv_write(&peer->write, (uv_stream_t *)&peer->tcp, &buffer, 1, on_written) != 0)
        close_peer(peer);
}

static void
respond_error(struct peer *peer, const char *status)
{
    struct torcd_buffer body = {0};

    torcd_buffer_format(&body, "%s\n", status);
    respond(peer, status, &body);
    torcd_buffer_fini(&body);
}

/* Whether the request begins with `method` and `path`, ended by a blank, a query, or the line's end. */
static bool
asks_for(const struct peer *peer, const char *method, const char *path)
{
    size_t method_size = strlen(method), path_size = strlen(path);

    if (peer->received <= method_size + path_size || memcmp(peer->request, method, method_size) != 0
        || memcmp(peer->request + method_size, path, path_size) != 0)
        return false;
    return strchr(" ?\r\n", peer->request[method_size + path_size]) != NULL;
}

static void
answer(struct peer *peer)
{
    struct torcd_buffer body = {0};

    if (memcmp(peer->request, "GET ", 4) != 0) {
        respond_error(peer, "405 Method Not Allowed");
        return;
    }
    if (!asks_for(peer, "GET ", "/metrics")) {
        respond_error(peer, "404 Not Found");
        return;
    }
    torcd_metrics_render(peer->http->server, &body);
    if (body.fault == TORCD_FAULT_NONE)
        respond(peer, "200 OK", &body);
    else
        respond_error(peer, "503 Service Unavailable");
    torcd_buffer_fini(&body);
}

static bool
is_complete(const struct peer *peer)
{
    return peer->received >= 4
           && (memmem(peer->request, peer->received, "\r\n\r\n", 4) != NULL
               || memmem(peer->request, peer->received, "\n\n", 2) != NULL);
}

static void
on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct peer *peer = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(peer->request + peer->received, (unsigned)(REQUEST_MAX - peer->received));
}

static void
on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct peer *peer = stream->data;

    (void)buffer;
    if (count == 0)
        return;
    if (count < 0) {
        if (!peer->answered)
            close_peer(peer);
        return;
    }
    peer->received += (size_t)count;
    assert(peer->received <= REQUEST_MAX);
    if (!is_complete(peer) && peer->received < REQUEST_MAX)
        return;
    (void)uv_read_stop(stream);
    if (is_complete(peer))
        answer(peer);
    else
        respond_error(peer, "431 Request Header Fields Too Large");
}

static void
on_connection(uv_stream_t *stream, int status)
{
    struct torcd_metrics_http *http = stream->data;
    struct peer *peer = status != 0 ? NULL : torcd_allocate(1, sizeof *peer);

    if (peer == NULL || uv_tcp_init(stream->loop, &peer->tcp) != 0) {
        torcd_release(peer);
        return;
    }
    peer->http = http;
    peer->tcp.data = peer;
    peer->accepted_ms = uv_now(stream->loop);
    peer->next = http->peers;
    if (peer->next != NULL)
        peer->next->previous = peer;
    http->peers = peer;
    http->peers_count++;
    if (uv_accept(stream, (uv_stream_t *)&peer->tcp) != 0 || http->peers_count > PEERS_MAX
        || uv_read_start((uv_stream_t *)&peer->tcp, on_allocate, on_read) != 0)
        close_peer(peer);
}

static void
on_sweep(uv_timer_t *timer)
{
    struct torcd_metrics_http *http = timer->data;
    uint64_t now = uv_now(timer->loop);

    for (struct peer *peer = http->peers; peer != NULL; peer = peer->next)
        if (now - peer->accepted_ms > PEER_MS)
            close_peer(peer);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    struct torcd_metrics_http *http = handle->data;

    http->handles--;
    release_if_last(http);
}

void
torcd_metrics_http_close(struct torcd_metrics_http *http)
{
    if (http == NULL)
        return;
    for (struct peer *peer = http->peers; peer != NULL; peer = peer->next)
        close_peer(peer);
    uv_close((uv_handle_t *)&http->listener, on_handle_closed);
    uv_close((uv_handle_t *)&http->sweep, on_handle_closed);
}

struct torcd_metrics_http *
torcd_metrics_http_create(uv_loop_t *uv, const struct torcd_server *server, const char *address, unsigned *port)
{
    int fd = torcd_listen(address, port);
    struct torcd_metrics_http *http = fd < 0 ? NULL : torcd_allocate(1, sizeof *http);

    if (http == NULL || uv_tcp_init(uv, &http->listener) != 0) {
        torcd_release(http);
        if (fd >= 0) {
            (void)close(fd);
            errno = ENOMEM;
        }
        return NULL;
    }
    http->server = server;
    http->listener.data = http;
    (void)uv_timer_init(uv, &http->sweep);      /* Cannot fail: it only fills the handle. */
    http->sweep.data = http;
    http->handles = 2;
    (void)uv_timer_start(&http->sweep, on_sweep, SWEEP_MS, SWEEP_MS);

    int status = uv_tcp_open(&http->listener, fd);
    if (status != 0)
        (void)close(fd);
    else
        status = uv_listen((uv_stream_t *)&http->listener, 16, on_connection);
    if (status != 0) {
        torcd_metrics_http_close(http);
        errno = -status;
        return NULL;
    }
    return http;
}

/* SPDX-License-Identifier: MIT */
/* server/loop.c: a thread, its event loop, and what reaches it from other threads. What its connections do stands in
 * connection.c.
 *
 *   other threads --> mailbox (sockets, what commands tell one another, the end), look --> wake, the one bell
 *
 * One turn of the loop: those that were cut off go on (idle), replies are sent (prepare), sleep, read from all sockets
 * that have something and hear the bell (poll).
 *
 * To fall asleep and be woken costs as much as half a request, and its sender pays a part. So a loop that was woken
 * sooner than AWAKE_NS after it fell asleep looks again and again, without sleeping, until nothing has come for that
 * long. A loop with little to do sleeps each time: it is woken later than that. */
#define _GNU_SOURCE
#include "loop.h"

#include <assert.h>
#include <uv.h>

#include "connection.h"

#define SWEEP_MS 1000u
#define AWAKE_NS UINT64_C(30000)        /* To wake a thread takes both sides a third of this; more is waste. */
#define SHUTDOWN_MS 5000u               /* For clients that do not take their last replies. */

/* A socket on its way to a loop. */
struct arrival {
    struct torcd_message message;
    struct torcd_loop *loop;
    int fd;
};

/* ---- Events --------------------------------------------------------------------------------------------------- */

static void
on_sweep(uv_timer_t *timer)
{
    struct torcd_loop *loop = timer->data;
    uint64_t now = uv_now(&loop->uv);

    for (struct torcd_connection *connection = loop->connections; connection != NULL; connection = connection->next)
        if (connection->state != TORCD_CLOSED) {
            if (loop->draining && now - loop->stop_ms > SHUTDOWN_MS)
                torcd_connection_close(connection);
            else
                torcd_connection_sweep(connection, now);
        }
}

static void
close_killed(struct torcd_loop *loop)
{
    for (struct torcd_connection *connection = loop->connections; connection != NULL; connection = connection->next)
        /* Relaxed: a flag that publishes nothing. */
        if (connection->state != TORCD_CLOSED
            && atomic_load_explicit(&connection->session->seen.killed, memory_order_relaxed))
            torcd_connection_close(connection);
}

static void
on_wake(uv_async_t *wake)
{
    struct torcd_loop *loop = wake->data;

    (void)torcd_worker_run_messages(loop->worker);
    /* Relaxed: the bell orders it. */
    if (atomic_exchange_explicit(&loop->look, false, memory_order_relaxed))
        close_killed(loop);
    torcd_connection_look_durable(loop);
}

static void
on_prepare(uv_prepare_t *prepare)
{
    struct torcd_loop *loop = prepare->data;

    torcd_connection_send_all(loop);
    torcd_connection_look_durable(loop);
    torcd_connection_send_all(loop);
    torcd_connection_flush(loop);
}

/* The mailbox's. */
static void
ring(void *context)
{
    struct torcd_loop *loop = context;

    (void)uv_async_send(&loop->wake);
}

/* ---- Messages ------------------------------------------------------------------------------------------------- */

static void
receive_socket(struct torcd_worker *worker, struct torcd_message *message)
{
    struct arrival *arrival = (struct arrival *)message;

    (void)worker;
    torcd_connection_open(arrival->loop, arrival->fd);
    torcd_release(arrival);
}

/* From now on the connections alone keep the event loop running. */
static void
receive_stop(struct torcd_worker *worker, struct torcd_message *message)
{
    struct torcd_loop *loop = (struct torcd_loop *)(void *)((char *)message - offsetof(struct torcd_loop, stop));

    assert(loop->worker == worker);
    (void)worker;
    loop->draining = true;
    loop->stop_ms = uv_now(&loop->uv);
    torcd_connection_save_for_all(loop);
    for (struct torcd_connection *connection = loop->connections; connection != NULL; connection = connection->next)
        if (connection->state == TORCD_OPEN)
            torcd_connection_answer_rest(connection);
        else if (connection->state == TORCD_LINGERING)
            torcd_connection_close(connection);
    torcd_connection_release_all(loop);
    uv_unref((uv_handle_t *)&loop->alarm);
    uv_unref((uv_handle_t *)&loop->wake);
    uv_unref((uv_handle_t *)&loop->sweep);
    uv_unref((uv_handle_t *)&loop->idle);
    uv_unref((uv_handle_t *)&loop->prepare);
}

/* ---- Life ----------------------------------------------------------------------------------------------------- */

static void
close_handles(struct torcd_loop *loop)
{
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->sweep, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
}

/* Nothing has come for a while: sleep until something does, and see whether it was worth it. False: the end. */
static bool
run_asleep(struct torcd_loop *loop)
{
    uint64_t idle_ns = uv_metrics_idle_time(&loop->uv);
    bool alive = uv_run(&loop->uv, UV_RUN_ONCE) != 0;

    loop->stays_awake = loop->may_stay_awake && uv_metrics_idle_time(&loop->uv) - idle_ns < AWAKE_NS;
    return alive;
}

/* Look for requests without sleeping, until none have come for AWAKE_NS. False: the end. */
static bool
run_awake(struct torcd_loop *loop)
{
    /* Relaxed: this thread writes it. */
    const atomic_uint_fast64_t *counter = &loop->worker->counters.bytes_in;
    uint64_t bytes = atomic_load_explicit(counter, memory_order_relaxed), now = torcd_now_ns(), quiet_since = now;

    while (now - quiet_since < AWAKE_NS) {
        if (uv_run(&loop->uv, UV_RUN_NOWAIT) == 0)
            return false;
        uint64_t bytes_now = atomic_load_explicit(counter, memory_order_relaxed);
        now = torcd_now_ns();
        if (bytes_now != bytes)
            quiet_since = now;
        bytes = bytes_now;
    }
    return true;
}

static void
run(void *context)
{
    struct torcd_loop *loop = context;

    while (run_asleep(loop) && (!loop->stays_awake || run_awake(loop)))
        ;
    assert(loop->connections == NULL);
    close_handles(loop);
    torcd_spare_free_all(loop);
}

struct torcd_loop *
torcd_loop_create(struct torcd_worker *worker)
{
    struct torcd_loop *loop = torcd_allocate(1, sizeof *loop);

    if (loop == NULL)
        return NULL;
    loop->worker = worker;
    loop->stop.run = receive_stop;
    loop->may_stay_awake = worker->server->workers_count <= uv_available_parallelism();
    if (uv_loop_init(&loop->uv) != 0)
        goto release;
    if (uv_loop_configure(&loop->uv, UV_METRICS_IDLE_TIME) != 0
        || uv_async_init(&loop->uv, &loop->wake, on_wake) != 0)
        goto close_loop;
    (void)uv_timer_init(&loop->uv, &loop->sweep);       /* These four cannot fail: they only fill the handle. */
    (void)uv_timer_init(&loop->uv, &loop->alarm);
    (void)uv_idle_init(&loop->uv, &loop->idle);
    (void)uv_prepare_init(&loop->uv, &loop->prepare);
    loop->wake.data = loop;
    loop->sweep.data = loop;
    loop->alarm.data = loop;
    loop->idle.data = loop;
    loop->prepare.data = loop;
    (void)uv_timer_start(&loop->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    (void)uv_prepare_start(&loop->prepare, on_prepare);
    if (uv_thread_create(&loop->thread, run, loop) == 0) {
        worker->mailbox.context = loop;
        worker->mailbox.ring = ring;
        return loop;
    }

    close_handles(loop);
close_loop:
    (void)uv_loop_close(&loop->uv);
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
    struct arrival *arrival = torcd_allocate(1, sizeof *arrival);

    /* Relaxed: figures. */
    atomic_fetch_add_explicit(&loop->connections_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&loop->worker->server->clients, 1, memory_order_relaxed);
    if (arrival == NULL) {
        torcd_connection_refuse(loop, fd);
        return;
    }
    arrival->message.run = receive_socket;
    arrival->loop = loop;
    arrival->fd = fd;
    torcd_worker_post(loop->worker, &arrival->message);
}

void
torcd_loop_wake(struct torcd_loop *loop)
{
    /* Relaxed: the bell orders it. */
    atomic_store_explicit(&loop->look, true, memory_order_relaxed);
    (void)uv_async_send(&loop->wake);
}

void
torcd_loop_ring(struct torcd_loop *loop)
{
    (void)uv_async_send(&loop->wake);
}

void
torcd_loop_stop(struct torcd_loop *loop)
{
    torcd_worker_post(loop->worker, &loop->stop);
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
    loop->worker->mailbox.ring = NULL;
    torcd_release(loop);
}

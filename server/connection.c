/* SPDX-License-Identifier: MIT */
/* server/connection.c: connections on an event loop.
 *
 *   socket -> loop->input (shared) -> requests -> session->out (lent: loop->spares) -> socket
 *               | rest of a request                  | rest of the replies
 *               v                                    v
 *             connection->in                     connection->sending (one write under way)
 *
 * A connection between two requests owns no buffer: bytes are read into the loop's own and replies are written into one
 * of the loop's spare ones, warm in the cache; only what is left over moves into buffers of the connection.
 * Replies are not sent where they are made: the loop first reads from all sockets that have something, and then writes
 * to all of them before it sleeps. A peer that waits for many of its connections is woken once, not once for each.
 *
 *   OPEN        reads requests and answers them
 *   DRAINING    reads no more (QUIT, a broken protocol, the peer's end of file, shutdown), sends what is there
 *   LINGERING   has sent all and its own end of file, and throws away what still comes: closing a socket with unread
 *               bytes would let the peer's system drop our last reply
 *   CLOSED      waits for the loop to let go of the handle
 *
 * With --durability sync a reply is held back until what it tells of is durable. The session knows the stamp of its
 * newest commit (session->stamp). When replies are to be sent and that is not durable yet, all of session->out waits
 * for it: a mark. What is appended later waits for the next mark, so that a client that goes on writing gets its
 * replies in portions, one for each flush of the journal:
 *
 *   session->out   | replies up to `marked`, wait for marked_stamp | later ones: marked when the first have gone |
 *
 * Who waits stands on the list UNDURABLE. So do clients whose WAITDURABLE is parked (commands_durability.c).
 *
 * Invariants  I1  at most one write is under way (`writing`), and `sending` is its memory
 *             I2  a connection on the ready list has whole requests in `in` and does not read
 *             I3  a connection reads only while its unsent replies are below the mark: a client that does not read
 *                 its replies is not served, and its memory is bounded
 *             I4  a connection on the held list has a request in its session that waits, and does not read
 *             I5  whatever lies in session->out has a write under way before it, or its connection is on TO_SEND or on
 *                 UNDURABLE; the loop does not sleep with a connection on TO_SEND
 *             I6  a connection whose session is parked is on UNDURABLE or SAVING, and does not read
 *             I7  a loop that sleeps with a connection on UNDURABLE has worker->awaits set since before it last looked
 *                 at what is durable, and will be woken
 * Ordering    Of the job that frees memory. libuv hands it over under a mutex; these edges are the same, told in a way
 *             that ThreadSanitizer sees.
 *             R1 hold() -> A1 collect(): the loop;  R2 collect() -> A2 on_collected(): it is idle again
 *             R3 begin_save() -> A3 save(): the loop;  R4 save() -> A4 on_saved(): the result
 *             R5 torcd.c on_durable(), exchange of awaits -> A5 torcd_connection_look_durable(), exchange of awaits:
 *             what was durable, or had failed, when the main thread heard of it. If the exchange there comes first,
 *             this one sees so much and needs not be woken; else that one sees that it must wake us
 * Fairness    A connection runs at most TURN_REQUESTS requests, then goes to the end of the ready list; between two
 *             rounds of that list the loop polls all sockets. */
#define _GNU_SOURCE
#include "connection.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "commands.h"

#define ROOM_MIN (16u * 1024u)          /* Room for a read behind an incomplete request. */
#define TURN_REQUESTS 128u
#define SEND_BATCH 64u                  /* Connections that may wait for others before their replies are sent. */
#define KEPT_MAX (1024u * 1024u)        /* Greatest buffer that is kept for the next use. */
#define LINGER_MS 2000u
#define DRAIN_READS 1024u               /* Of TORCD_INPUT_SIZE, at shutdown, from one client. */

/* ---- Ends ----------------------------------------------------------------------------------------------------- */

static void
uncount(struct torcd_loop *loop)
{
    /* Relaxed: figures. */
    atomic_fetch_sub_explicit(&loop->connections_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&loop->worker->server->clients, 1, memory_order_relaxed);
}

void
torcd_connection_refuse(struct torcd_loop *loop, int fd)
{
    (void)close(fd);
    uncount(loop);
}

static void
on_closed(uv_handle_t *handle)
{
    struct torcd_connection *connection = handle->data;
    struct torcd_loop *loop = connection->loop;

    *(connection->previous != NULL ? &connection->previous->next : &loop->connections) = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    torcd_buffer_fini(&connection->in);
    torcd_buffer_fini(&connection->sending);
    torcd_release(connection);
    uncount(loop);
}

void
torcd_connection_close(struct torcd_connection *connection)
{
    if (connection->state == TORCD_CLOSED)
        return;
    for (enum torcd_list list = 0; list < TORCD_LISTS; list++)
        torcd_list_remove(connection, list);
    connection->state = TORCD_CLOSED;
    torcd_session_destroy(connection->session);
    connection->session = NULL;
    uv_close(&connection->uv.handle, on_closed);
}

static void
drop(struct torcd_connection *connection)
{
    torcd_count(&connection->loop->worker->counters.clients_dropped, 1);
    torcd_connection_close(connection);
}

static size_t
unsent_bytes(const struct torcd_connection *connection)
{
    return connection->writing ? uv_stream_get_write_queue_size(&connection->uv.stream) : 0;
}

/* Requests wait until the peer has taken replies (I3). */
static bool
is_backed_up(const struct torcd_connection *connection)
{
    return unsent_bytes(connection) + connection->session->out.size > torcd_commands_output_mark(connection->session);
}

/* ---- Writing -------------------------------------------------------------------------------------------------- */

static void start_reading(struct torcd_connection *connection);
static void stop_reading(struct torcd_connection *connection);
static void drain(struct torcd_connection *connection, bool linger);
static void send_replies(struct torcd_connection *connection);
static void process_kept(struct torcd_connection *connection, unsigned budget);

static void
on_idle(uv_idle_t *idle)
{
    struct torcd_loop *loop = idle->data;

    /* One round: those that are ready now, not those that become ready meanwhile. */
    for (unsigned left = loop->lists[TORCD_READY].count; left > 0; left--) {
        struct torcd_connection *connection = torcd_list_take(loop, TORCD_READY);
        if (connection == NULL)
            break;
        process_kept(connection, TURN_REQUESTS);
    }
    if (loop->lists[TORCD_READY].count == 0)
        (void)uv_idle_stop(&loop->idle);
}

static void
make_ready(struct torcd_connection *connection)
{
    torcd_list_add(connection, TORCD_READY);
    (void)uv_idle_start(&connection->loop->idle, on_idle);
}

static void
on_lingering(uv_shutdown_t *request, int status)
{
    struct torcd_connection *connection = request->data;

    if (status != 0)
        torcd_connection_close(connection);
}

/* All replies are sent: go on to the end. */
static void
finish(struct torcd_connection *connection)
{
    connection->progress_ms = uv_now(&connection->loop->uv);
    if (!connection->linger) {
        torcd_connection_close(connection);
        return;
    }
    connection->state = TORCD_LINGERING;
    connection->shutdown.data = connection;
    if (uv_shutdown(&connection->shutdown, &connection->uv.stream, on_lingering) != 0)
        torcd_connection_close(connection);
    else
        start_reading(connection);
}

/* Replies have gone: perhaps there is room for those of the requests that wait. */
static void
go_on(struct torcd_connection *connection)
{
    if (connection->state != TORCD_OPEN || !connection->waits || is_backed_up(connection))
        return;
    connection->waits = false;
    make_ready(connection);
}

static void
on_written(uv_write_t *request, int status)
{
    struct torcd_connection *connection = request->data;

    connection->writing = false;
    torcd_spare_take_back(connection->loop, &connection->sending);
    if (connection->state == TORCD_CLOSED)
        return;
    connection->session->unsent = 0;
    if (status != 0) {
        torcd_connection_close(connection);
        return;
    }
    send_replies(connection);
    go_on(connection);
}

/* The socket took `taken` bytes of session->out and no more: hand the rest to the event loop. */
static void
send_rest(struct torcd_connection *connection, size_t taken)
{
    struct torcd_buffer *out = &connection->session->out, *sending = &connection->sending;
    uv_buf_t rest[4];
    unsigned count = 0;

    assert(taken < out->size && !connection->writing);
    *sending = *out;
    memset(out, 0, sizeof *out);
    connection->writing = true;
    connection->unsent = sending->size - taken;
    connection->session->unsent = connection->unsent;
    connection->write.data = connection;
    for (size_t at = taken; at < sending->size && count < 4; count++) {
        size_t left = sending->size - at, piece = left > INT32_MAX ? INT32_MAX : left;
        rest[count] = uv_buf_init(sending->data + at, (unsigned)piece);
        at += piece;
    }
    if (uv_write(&connection->write, &connection->uv.stream, rest, count, on_written) != 0) {
        connection->writing = false;
        torcd_connection_close(connection);
    }
}

/* Send all of session->out: what the socket takes at once, and the rest when it can. */
static void
send_out(struct torcd_connection *connection)
{
    struct torcd_buffer *out = &connection->session->out;

    if (out->size > 0) {
        uv_buf_t buffer = uv_buf_init(out->data, (unsigned)(out->size > INT32_MAX ? INT32_MAX : out->size));
        int sent = uv_try_write(&connection->uv.stream, &buffer, 1);

        if (sent < 0 && sent != UV_EAGAIN) {
            torcd_connection_close(connection);
            return;
        }
        torcd_count(&connection->loop->worker->counters.bytes_out, out->size);
        connection->progress_ms = uv_now(&connection->loop->uv);
        if (sent < 0 || (size_t)sent < out->size) {
            send_rest(connection, sent < 0 ? 0 : (size_t)sent);
            return;
        }
    }
    torcd_spare_take_back(connection->loop, out);
}

/* How many bytes of session->out may be sent; the others are marked, or will be. */
static size_t
count_durable(struct torcd_connection *connection)
{
    const struct torcd_session *session = connection->session;
    const struct torcd_server *server = connection->loop->worker->server;
    uint64_t durable = server->holds_replies ? torc_mvcc_durable(server->store) : UINT64_MAX;
    size_t size = session->out.size, ready = connection->marked;

    if (session->stamp <= durable) {
        connection->marked = 0;
        return size;
    }
    if (ready > 0 && connection->marked_stamp > durable)
        return 0;
    assert(ready <= size);
    connection->marked = size - ready;
    connection->marked_stamp = session->stamp;
    connection->loop->wants_flush = true;
    return ready;
}

/* Send what is in session->out and need not be held back. */
static void
send_replies(struct torcd_connection *connection)
{
    struct torcd_buffer *out = &connection->session->out, rest = {.limit = out->limit};

    torcd_list_remove(connection, TORCD_TO_SEND);
    if (connection->writing)
        return;
    size_t ready = count_durable(connection);
    if (ready < out->size) {
        torcd_list_add(connection, TORCD_UNDURABLE);
        if (ready == 0)
            return;
        torcd_buffer_append(&rest, out->data + ready, out->size - ready);
        if (rest.fault != TORCD_FAULT_NONE) {
            torcd_connection_close(connection);
            return;
        }
        torcd_buffer_truncate(out, ready);
    }
    send_out(connection);
    if (connection->state == TORCD_CLOSED)
        torcd_buffer_fini(&rest);
    else if (rest.size > 0)
        *out = rest;
    else if (connection->state == TORCD_DRAINING && !connection->writing)
        finish(connection);
}

void
torcd_connection_send_all(struct torcd_loop *loop)
{
    for (struct torcd_connection *connection; (connection = torcd_list_take(loop, TORCD_TO_SEND)) != NULL;) {
        if (connection->session->doomed)
            drop(connection);
        else if (connection->state != TORCD_LINGERING)
            send_replies(connection);
    }
}

/* The session was pushed to, or doomed. */
static void
on_notice(struct torcd_session *session)
{
    torcd_list_add(session->connection, TORCD_TO_SEND);
}

static void
stop_reading(struct torcd_connection *connection)
{
    if (connection->reading)
        (void)uv_read_stop(&connection->uv.stream);
    connection->reading = false;
}

static void
drain(struct torcd_connection *connection, bool linger)
{
    stop_reading(connection);
    torcd_list_remove(connection, TORCD_READY);
    torcd_list_remove(connection, TORCD_HELD);
    connection->state = TORCD_DRAINING;
    connection->linger = linger;
    send_replies(connection);
}

/* ---- Requests ------------------------------------------------------------------------------------------------- */

/* Keep what was not consumed of the window, which lies in connection->in or in the loop's input. */
static bool
keep_rest(struct torcd_connection *connection, const char *window, size_t size, size_t consumed)
{
    struct torcd_buffer *in = &connection->in;

    if (in->size == 0) {
        if (consumed == size)
            return true;
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

/* The turn is over, or replies pile up. I2, I3: no reading before the requests at hand have run. */
static void
pause_requests(struct torcd_connection *connection)
{
    send_replies(connection);
    if (connection->state != TORCD_OPEN)
        return;
    stop_reading(connection);
    torcd_count(&connection->loop->worker->counters.turns_cut, 1);
    if (is_backed_up(connection))
        connection->waits = true;
    else
        make_ready(connection);
}

/* ---- Requests that are held ----------------------------------------------------------------------------------- */

/* A thread of libuv's. */
static void
collect(uv_work_t *work)
{
    struct torcd_loop *loop = (struct torcd_loop *)(void *)((char *)work - offsetof(struct torcd_loop, collect));

    (void)atomic_load_explicit(&loop->collect_turns, memory_order_acquire);             /* A1 */
    /* A failure leaves something; the requests that are held will meet it. */
    (void)!torc_mvcc_collect(loop->worker->server->store);
    atomic_fetch_add_explicit(&loop->collect_turns, 1, memory_order_release);           /* R2 */
}

static void
on_collected(uv_work_t *work, int status)
{
    struct torcd_loop *loop = (struct torcd_loop *)(void *)((char *)work - offsetof(struct torcd_loop, collect));

    (void)status;
    (void)atomic_load_explicit(&loop->collect_turns, memory_order_acquire);             /* A2 */
    loop->collecting = false;
    for (struct torcd_connection *connection; (connection = torcd_list_take(loop, TORCD_HELD)) != NULL;)
        make_ready(connection);
}

/* One collection serves all who wait when it ends: what they met was there when it began, or is little. */
static void
hold(struct torcd_connection *connection)
{
    struct torcd_loop *loop = connection->loop;

    stop_reading(connection);
    torcd_list_add(connection, TORCD_HELD);
    if (loop->collecting)
        return;
    loop->collecting = true;
    atomic_fetch_add_explicit(&loop->collect_turns, 1, memory_order_release);           /* R1 */
    if (uv_queue_work(&loop->uv, &loop->collect, collect, on_collected) != 0)
        on_collected(&loop->collect, 0);
}

/* ---- What waits for the disk ---------------------------------------------------------------------------------- */

/* The journal has failed: nobody will ever know what was to be told. */
static void
give_up_replies(struct torcd_connection *connection)
{
    struct torcd_session *session = connection->session;

    torcd_list_remove(connection, TORCD_SAVING);
    session->parked = TORCD_NOT_PARKED;
    torcd_buffer_truncate(&session->out, 0);
    torcd_reply_journal_failed(session);
    connection->marked = 0;
    session->stamp = 0;
    session->closing = true;
    if (connection->state == TORCD_OPEN)
        drain(connection, true);
    else
        send_replies(connection);
}

/* The request that was parked has its reply: on with the next ones. */
static void
unpark(struct torcd_connection *connection)
{
    if (connection->session->out.fault != TORCD_FAULT_NONE) {
        torcd_connection_close(connection);     /* There was no memory for the reply; later ones would not fit. */
        return;
    }
    torcd_list_add(connection, TORCD_TO_SEND);
    make_ready(connection);
}

/* A connection that was on UNDURABLE. */
static void
look_again(struct torcd_connection *connection, uint64_t durable, enum torc_status failed)
{
    struct torcd_session *session = connection->session;
    bool holds = connection->loop->worker->server->holds_replies;

    if (session->parked == TORCD_UNTIL_DURABLE) {
        if (torcd_parked_look(session, failed, torcd_now_ns()))
            unpark(connection);
        else
            torcd_list_add(connection, TORCD_UNDURABLE);
    } else if (holds && failed != TORC_OK && session->stamp > durable)
        give_up_replies(connection);
    else {
        send_replies(connection);
        go_on(connection);
    }
}

static void set_alarm(struct torcd_loop *loop);

static void
look_at_all(struct torcd_loop *loop, uint64_t durable)
{
    loop->durable = durable;
    for (unsigned left = loop->lists[TORCD_UNDURABLE].count; left > 0; left--) {
        struct torcd_connection *connection = torcd_list_take(loop, TORCD_UNDURABLE);
        if (connection == NULL)
            break;
        look_again(connection, durable, loop->failed);
    }
    set_alarm(loop);
}

static void
on_alarm(uv_timer_t *alarm)
{
    struct torcd_loop *loop = alarm->data;

    look_at_all(loop, torc_mvcc_durable(loop->worker->server->store));
}

/* Ring when the first of those who do not wait for ever has waited long enough. */
static void
set_alarm(struct torcd_loop *loop)
{
    uint64_t now = torcd_now_ns(), first = UINT64_MAX;

    if (loop->worker->server->holds_replies)
        return;         /* Nobody is parked there. */
    for (const struct torcd_connection *at = loop->lists[TORCD_UNDURABLE].first; at != NULL;
         at = at->next_on[TORCD_UNDURABLE])
        if (at->session->parked_until_ns < first)
            first = at->session->parked_until_ns;
    if (first == UINT64_MAX)
        (void)uv_timer_stop(&loop->alarm);
    else
        (void)uv_timer_start(&loop->alarm, on_alarm, first <= now ? 0 : (first - now) / 1000000 + 1, 0);
}

void
torcd_connection_look_durable(struct torcd_loop *loop)
{
    struct torcd_server *server = loop->worker->server;

    if (loop->lists[TORCD_UNDURABLE].count == 0)
        return;
    bool heard = !atomic_exchange_explicit(&loop->worker->awaits, true, memory_order_acq_rel);  /* A5 */
    uint64_t durable = torc_mvcc_durable(server->store);
    if (heard && server->callbacks.watch != NULL)
        server->callbacks.watch(server->callbacks.context);
    /* After a failure connections may still come whose commits were made before it. */
    if (heard || loop->failed != TORC_OK)
        loop->failed = torcd_journal_failed(server);
    if (heard || durable != loop->durable || loop->failed != TORC_OK)
        look_at_all(loop, durable);
}

void
torcd_connection_flush(struct torcd_loop *loop)
{
    if (loop->wants_flush)
        torc_mvcc_flush(loop->worker->server->store);
    loop->wants_flush = false;
}

void
torcd_connection_release_all(struct torcd_loop *loop)
{
    struct torc_mvcc *store = loop->worker->server->store;
    uint64_t greatest = 0;

    if (!loop->worker->server->holds_replies)
        return;         /* Who was parked has been answered. */
    /* Also for those who have a write under way, and come to UNDURABLE only after it. */
    for (const struct torcd_connection *at = loop->connections; at != NULL; at = at->next)
        if (at->session != NULL && at->session->stamp > greatest)
            greatest = at->session->stamp;
    if (greatest == 0)
        return;
    do
        loop->failed = torc_mvcc_wait_durable(store, greatest);
    while (loop->failed == TORC_NO_MEMORY);
    look_at_all(loop, torc_mvcc_durable(store));
}

/* ---- Checkpoints ---------------------------------------------------------------------------------------------- */

/* A thread of libuv's. */
static void
save(uv_work_t *work)
{
    struct torcd_loop *loop = (struct torcd_loop *)(void *)((char *)work - offsetof(struct torcd_loop, save));

    (void)atomic_load_explicit(&loop->save_hands, memory_order_acquire);                /* A3 */
    loop->saved = torcd_save(loop->worker->server, loop->saved_why, sizeof loop->saved_why);
    atomic_fetch_add_explicit(&loop->save_hands, 1, memory_order_release);              /* R4 */
}

static void begin_save(struct torcd_loop *loop);

static void
on_saved(uv_work_t *work, int status)
{
    struct torcd_loop *loop = (struct torcd_loop *)(void *)((char *)work - offsetof(struct torcd_loop, save));

    (void)status;
    (void)atomic_load_explicit(&loop->save_hands, memory_order_acquire);                /* A4 */
    loop->saving = false;
    for (unsigned left = loop->lists[TORCD_SAVING].count; left > 0; left--) {
        struct torcd_connection *connection = torcd_list_take(loop, TORCD_SAVING);
        if (connection->save_turn != loop->save_turn) {
            torcd_list_add(connection, TORCD_SAVING);
            continue;
        }
        torcd_parked_saved(connection->session, loop->saved, loop->saved_why);
        unpark(connection);
    }
    if (loop->lists[TORCD_SAVING].count > 0)
        begin_save(loop);
}

static void
begin_save(struct torcd_loop *loop)
{
    loop->saving = true;
    loop->save_turn++;
    atomic_fetch_add_explicit(&loop->save_hands, 1, memory_order_release);              /* R3 */
    if (uv_queue_work(&loop->uv, &loop->save, save, on_saved) == 0)
        return;
    loop->saved = TORC_NO_MEMORY;
    loop->saved_why[0] = '\0';
    on_saved(&loop->save, 0);
}

void
torcd_connection_save_for_all(struct torcd_loop *loop)
{
    char why[sizeof loop->saved_why];

    if (loop->lists[TORCD_SAVING].count == 0)
        return;
    enum torc_status status = torcd_save(loop->worker->server, why, sizeof why);
    for (struct torcd_connection *connection; (connection = torcd_list_take(loop, TORCD_SAVING)) != NULL;) {
        torcd_parked_saved(connection->session, status, why);
        unpark(connection);
    }
}

/* The request has run, and its reply waits for the disk. One checkpoint serves all who came before it began. */
static void
park(struct torcd_connection *connection)
{
    struct torcd_loop *loop = connection->loop;

    stop_reading(connection);
    if (connection->session->parked == TORCD_UNTIL_DURABLE) {
        torcd_list_add(connection, TORCD_UNDURABLE);
        loop->wants_flush = true;
        if (connection->session->parked_until_ns != UINT64_MAX)
            set_alarm(loop);
        return;
    }
    connection->save_turn = loop->save_turn + 1;
    torcd_list_add(connection, TORCD_SAVING);
    if (!loop->saving)
        begin_save(loop);
}

/* ---- Running requests ----------------------------------------------------------------------------------------- */

/* Run the requests in the window, see to it that the replies are sent, and how it goes on. */
static void
process(struct torcd_connection *connection, char *window, size_t size, unsigned budget)
{
    struct torcd_loop *loop = connection->loop;
    struct torcd_session *session = connection->session;
    size_t consumed = 0;

    torcd_spare_lend(loop, &session->out);
    enum torcd_feed feed =
        torcd_commands_feed(session, window, size, unsent_bytes(connection), &budget, &consumed);
    if (!keep_rest(connection, window, size, consumed)) {
        torcd_connection_close(connection);
        return;
    }
    if (session->doomed || session->out.size > 0)
        torcd_list_add(connection, TORCD_TO_SEND);                                            /* I5 */
    else
        torcd_spare_take_back(loop, &session->out);
    if (session->doomed)
        stop_reading(connection);
    else if (session->closing)
        drain(connection, true);
    else if (feed == TORCD_FEED_CUT)
        pause_requests(connection);
    else if (feed == TORCD_FEED_HELD)
        hold(connection);
    else if (feed == TORCD_FEED_PARKED)
        park(connection);
    else
        start_reading(connection);
    if (loop->lists[TORCD_TO_SEND].count >= SEND_BATCH)
        torcd_connection_send_all(loop);
}

/* As process(), with the window in connection->in. */
static void
process_kept(struct torcd_connection *connection, unsigned budget)
{
    const struct torcd_buffer *in = &connection->in;

    if (in->size == 0)
        process(connection, connection->loop->input, 0, budget);
    else
        process(connection, in->data + connection->in_begin, in->size - connection->in_begin, budget);
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

/* Make room behind connection->in for the request that is incomplete. The window moves to the front of its buffer
 * first: at most one move of an incomplete request per request, so that the cost stays linear. */
static bool
make_room(struct torcd_connection *connection)
{
    struct torcd_buffer *in = &connection->in;
    size_t have = in->size - connection->in_begin, wanted = torcd_resp_wanted(&connection->session->parser);
    size_t room = wanted > have ? wanted - have : 0, most = have > TORCD_INPUT_SIZE ? have : TORCD_INPUT_SIZE;

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
    struct torcd_connection *connection = handle->data;
    struct torcd_buffer *in = &connection->in;

    (void)suggested;
    *buffer = uv_buf_init(connection->loop->input, TORCD_INPUT_SIZE);
    if (connection->state != TORCD_OPEN || in->size == 0)
        return;
    if (make_room(connection))
        *buffer = uv_buf_init(in->data + in->size, (unsigned)(in->capacity - in->size > INT32_MAX
                                                                  ? INT32_MAX : in->capacity - in->size));
    else
        *buffer = uv_buf_init(NULL, 0);
}

static void
on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct torcd_connection *connection = stream->data;

    if (count == 0 || connection->state == TORCD_CLOSED)
        return;
    if (connection->state == TORCD_LINGERING) {
        if (count < 0)
            torcd_connection_close(connection);
        return;
    }
    if (count == UV_EOF) {
        drain(connection, false);
        return;
    }
    if (count < 0) {
        torcd_connection_close(connection);
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
start_reading(struct torcd_connection *connection)
{
    if (connection->reading)
        return;
    connection->reading = uv_read_start(&connection->uv.stream, on_allocate, on_read) == 0;
    if (!connection->reading)
        torcd_connection_close(connection);
}

/* ---- Limits of time, the end ---------------------------------------------------------------------------------- */

void
torcd_connection_sweep(struct torcd_connection *connection, uint64_t now_ms)
{
    struct torcd_session *session = connection->session;
    const struct torcd_server *server = connection->loop->worker->server;
    uint64_t idle_s = torcd_setting(server, TORCD_IDLE_TIMEOUT), output_s = torcd_setting(server, TORCD_OUTPUT_TIMEOUT);
    uint64_t watch_s = torcd_setting(server, TORCD_WATCH_TIMEOUT);
    size_t unsent = unsent_bytes(connection);

    if (connection->state == TORCD_LINGERING && now_ms - connection->progress_ms > LINGER_MS) {
        torcd_connection_close(connection);
        return;
    }
    if (unsent == 0 || unsent != connection->unsent) {
        connection->unsent = unsent;
        connection->progress_ms = connection->state == TORCD_LINGERING ? connection->progress_ms : now_ms;
    }
    if (watch_s > 0 && session->watched_count > 0
        && torcd_now_ns() - session->watch_began_ns > watch_s * UINT64_C(1000000000))
        torcd_session_expire_watch(session);
    if (connection->is_on[TORCD_HELD] || connection->is_on[TORCD_UNDURABLE] || connection->is_on[TORCD_SAVING])
        connection->active_ms = now_ms;         /* It is not the client that keeps silent. */
    if (output_s > 0 && unsent > 0 && now_ms - connection->progress_ms > output_s * 1000)
        drop(connection);
    else if (idle_s > 0 && connection->state == TORCD_OPEN && unsent == 0 && !torcd_session_listens(session)
             && now_ms - connection->active_ms > idle_s * 1000)
        drop(connection);
    else if (connection->in.size == 0)
        torcd_buffer_fini(&connection->in);
}

/* Read without waiting, behind what is kept; what there was is in connection->in or in the loop's input. */
static ssize_t
read_at_once(struct torcd_connection *connection, int fd)
{
    struct torcd_buffer *in = &connection->in;

    if (in->size == 0)
        return recv(fd, connection->loop->input, TORCD_INPUT_SIZE, MSG_DONTWAIT);
    return make_room(connection) ? recv(fd, in->data + in->size, in->capacity - in->size, MSG_DONTWAIT) : -1;
}

void
torcd_connection_answer_rest(struct torcd_connection *connection)
{
    uv_os_fd_t fd;

    if (uv_fileno(&connection->uv.handle, &fd) != 0) {
        torcd_connection_close(connection);
        return;
    }
    connection->session->can_hold = false;      /* The loop does not wait any more. */
    if (connection->session->parked != TORCD_NOT_PARKED) {
        torcd_list_remove(connection, TORCD_UNDURABLE);
        torcd_parked_settle(connection->session);
        make_ready(connection);
    }
    for (unsigned i = 0; i < DRAIN_READS && connection->state == TORCD_OPEN && !connection->waits
                         && !connection->session->doomed; i++) {
        if (connection->is_on[TORCD_READY] || connection->is_on[TORCD_HELD]) {
            torcd_list_remove(connection, TORCD_READY);
            torcd_list_remove(connection, TORCD_HELD);
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
    if (connection->state == TORCD_OPEN)
        drain(connection, false);
}

/* ---- Beginnings ----------------------------------------------------------------------------------------------- */

/* Write the peer's address as CLIENT LIST tells it; for a Unix socket, which has none, that of the listener. Returns
 * whether it is a Unix socket. */
static bool
describe_peer(int fd, char *text, size_t size)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    } address;
    socklen_t length = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";

    memset(&address, 0, sizeof address);
    (void)snprintf(text, size, "?:0");
    if (getsockname(fd, &address.any, &length) == 0 && address.any.sa_family == AF_UNIX) {
        (void)snprintf(text, size, "%.*s:0", (int)sizeof address.un.sun_path, address.un.sun_path);
        return true;
    }
    length = sizeof address;
    if (getpeername(fd, &address.any, &length) != 0)
        return false;
    if (address.any.sa_family == AF_INET6) {
        (void)uv_ip6_name(&address.in6, host, sizeof host);
        (void)snprintf(text, size, "[%s]:%u", host, ntohs(address.in6.sin6_port));
    } else if (address.any.sa_family == AF_INET) {
        (void)uv_ip4_name(&address.in, host, sizeof host);
        (void)snprintf(text, size, "%s:%u", host, ntohs(address.in.sin_port));
    }
    return false;
}

static int
open_tcp(struct torcd_connection *connection, int fd)
{
    uint64_t keepalive = torcd_setting(connection->loop->worker->server, TORCD_KEEPALIVE);
    int status = uv_tcp_open(&connection->uv.tcp, fd);

    if (status != 0)
        return status;
    (void)uv_tcp_nodelay(&connection->uv.tcp, 1);
    if (keepalive > 0)
        (void)uv_tcp_keepalive(&connection->uv.tcp, 1, (unsigned)keepalive);
    return 0;
}

void
torcd_connection_open(struct torcd_loop *loop, int fd)
{
    struct torcd_connection *connection = torcd_allocate(1, sizeof *connection);
    char peer[160];

    if (connection == NULL) {
        torcd_connection_refuse(loop, fd);
        return;
    }
    bool is_unix = describe_peer(fd, peer, sizeof peer);
    /* These two cannot fail: they only fill the handle. */
    (void)(is_unix ? uv_pipe_init(&loop->uv, &connection->uv.pipe, 0) : uv_tcp_init(&loop->uv, &connection->uv.tcp));
    connection->loop = loop;
    connection->uv.handle.data = connection;
    connection->next = loop->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    loop->connections = connection;
    if ((is_unix ? uv_pipe_open(&connection->uv.pipe, fd) : open_tcp(connection, fd)) != 0)
        (void)close(fd);
    else
        connection->session = torcd_session_create(loop->worker, peer);
    if (connection->session == NULL) {
        connection->state = TORCD_CLOSED;
        uv_close(&connection->uv.handle, on_closed);
        return;
    }
    connection->session->connection = connection;
    connection->session->notice = on_notice;
    connection->session->can_hold = true;
    connection->active_ms = uv_now(&loop->uv);
    connection->progress_ms = connection->active_ms;
    start_reading(connection);
}

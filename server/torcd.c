/* SPDX-License-Identifier: MIT */
/* server/torcd.c: main(): options, the store, the loops, and their end.
 *
 *   main thread     signals, listening sockets, metrics page
 *   loop threads    clients; the commands run there, straight into the store
 *
 * The end (SIGTERM, SIGINT, SHUTDOWN): listeners close, each loop answers what it received and closes its clients, the
 * threads are joined, the store is closed; its refusal to close would mean that a transaction was lost, or that what
 * was written may be, and is an error.
 *
 * The store is opened for TORC_DURABILITY_ASYNC also with --durability sync: no thread of clients waits for the disk.
 * The main thread hears of what has become durable, and wakes those loops that wait for it.
 *
 * Ordering    R1 on_durable(), exchange of awaits -> connection.c A5: what was durable before it */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include <torc/torc.h>

#include "acceptor.h"
#include "commands.h"
#include "databases.h"
#include "effects.h"
#include "loop.h"
#include "metrics_http.h"

/* File descriptors for all else than clients: loops, listeners, the metrics page, standard streams. */
#define OTHER_DESCRIPTORS 512u

/* How often the main thread tends the store, and how many steps it does then. */
#define TEND_MS 100u
#define TEND_POLLS 100u

enum { EXIT_USAGE = 2 };

struct torcd {
    uv_loop_t uv;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uv_async_t stop;
    uv_timer_t tend;
    uv_async_t watch;               /* A loop waits for what becomes durable. */
    uv_poll_t durable;              /* The store's descriptor, if `hears`. */
    bool hears;
    bool stopping;
    struct torc_mvcc *store;
    struct torcd_server *server;
    struct torcd_loop **loops;
    unsigned loops_count;           /* Running. */
    struct torcd_acceptor *acceptor;
    struct torcd_metrics_http *http;
};

static void
complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "torcd: %s: %s\n", what, why);
}

/* ---- Stopping ------------------------------------------------------------------------------------------------- */

static void
begin_stop(struct torcd *torcd)
{
    if (torcd->stopping)
        return;
    torcd->stopping = true;
    if (torcd->acceptor != NULL)
        torcd_acceptor_close(torcd->acceptor);
    torcd_metrics_http_close(torcd->http);
    for (unsigned i = 0; i < torcd->loops_count; i++)
        torcd_loop_stop(torcd->loops[i]);
    uv_close((uv_handle_t *)&torcd->terminate, NULL);
    uv_close((uv_handle_t *)&torcd->interrupt, NULL);
    uv_close((uv_handle_t *)&torcd->tend, NULL);
    if (torcd->hears)
        uv_close((uv_handle_t *)&torcd->durable, NULL);
    torcd->hears = false;
    /* These stay open: a client may still ask for SHUTDOWN, or wait. */
    uv_unref((uv_handle_t *)&torcd->stop);
    uv_unref((uv_handle_t *)&torcd->watch);
}

static void
on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    begin_stop(handle->data);
}

static void
on_stop(uv_async_t *handle)
{
    begin_stop(handle->data);
}

/* Take away what has expired or waits to be freed, also while no client writes. */
static void
on_tend(uv_timer_t *timer)
{
    struct torcd *torcd = timer->data;
    bool more = true;

    for (unsigned i = 0; i < TEND_POLLS && more && torcd->store != NULL; i++)
        if (torc_mvcc_poll(torcd->store, &more) != TORC_OK)
            break;
    if (torcd->server != NULL)
        torcd_server_note_saves(torcd->server);
}

/* More is durable, or the journal has failed. When nobody waits, and nobody will unasked, do not listen any more. */
static void
on_durable(uv_poll_t *poll, int status, int events)
{
    struct torcd *torcd = poll->data;
    bool any = torcd->server->holds_replies;
    uint64_t count;
    uv_os_fd_t fd;

    (void)status;
    (void)events;
    if (uv_fileno((uv_handle_t *)poll, &fd) == 0)
        (void)!read(fd, &count, sizeof count);
    (void)torc_mvcc_durable(torcd->store);
    for (unsigned i = 0; i < torcd->loops_count; i++)
        if (atomic_exchange_explicit(&torcd->server->workers[i]->awaits, false, memory_order_acq_rel)) {   /* R1 */
            torcd_loop_ring(torcd->loops[i]);
            any = true;
        }
    if (!any)
        (void)uv_poll_stop(poll);
}

static void
on_watch(uv_async_t *handle)
{
    struct torcd *torcd = handle->data;

    if (torcd->hears)
        (void)uv_poll_start(&torcd->durable, UV_READABLE, on_durable);
}

static void
watch(void *context)
{
    (void)uv_async_send(&((struct torcd *)context)->watch);
}

static void
shut_down(void *context)
{
    (void)uv_async_send(&((struct torcd *)context)->stop);
}

static void
wake(void *context, unsigned worker)
{
    torcd_loop_wake(((struct torcd *)context)->loops[worker]);
}

/* ---- Starting ------------------------------------------------------------------------------------------------- */

/* Have descriptors for all clients, or fewer clients. */
static void
fit_descriptors(struct torcd_options *options)
{
    struct rlimit limit;
    uint64_t wanted = options->values[TORCD_CLIENTS_MAX] + OTHER_DESCRIPTORS;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    struct rlimit raised = {wanted, limit.rlim_max > wanted ? limit.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return;
    raised = (struct rlimit){limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        limit.rlim_cur = limit.rlim_max;
    uint64_t clients = limit.rlim_cur > 2 * OTHER_DESCRIPTORS ? limit.rlim_cur - OTHER_DESCRIPTORS : limit.rlim_cur / 2;
    if (clients >= options->values[TORCD_CLIENTS_MAX])
        return;
    options->values[TORCD_CLIENTS_MAX] = clients < 1 ? 1 : clients;
    (void)fprintf(stderr, "torcd: maxclients is %" PRIu64 ": the system allows this process no more open files\n",
                  options->values[TORCD_CLIENTS_MAX]);
}

static unsigned
threads_wanted(const struct torcd_options *options)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (options->values[TORCD_THREADS] != 0)
        return (unsigned)options->values[TORCD_THREADS];
    return processors < 1 ? 1 : processors > 256 ? 256 : (unsigned)processors;
}

/* What can be done about a store that does not open. */
static const char *
advice(enum torc_status status)
{
    switch (status) {
    case TORC_LOCKED: return "Another torcd serves it: use that one, end it, or give this one another --dir.";
    case TORC_FOREIGN: return "Give another --dir, or start the torcd that wrote it.";
    case TORC_MISSING:
    case TORC_CORRUPT: return "Nothing there was changed. Put a backup in its place, or give another --dir.";
    case TORC_NO_SPACE: return "Make room on that disk, and start again: nothing is lost.";
    case TORC_NO_MEMORY: return "Raise --memory-limit, or free memory, and start again: nothing is lost.";
    default: return "See that the disk works, and that torcd may read and write there.";
    }
}

static void
complain_of_store(const struct torcd_options *options, enum torc_status status)
{
    const char *detail = torc_detail();

    (void)fprintf(stderr, "torcd: cannot open the store%s%s: %s: %s%s%s\n", options->directory == NULL ? "" : " in ",
                  options->directory == NULL ? "" : options->directory, torc_status_name(status),
                  torc_status_message(status), detail[0] == '\0' ? "" : ": ", detail);
    if (options->directory != NULL)
        (void)fprintf(stderr, "torcd: %s\n", advice(status));
}

/* Whether the databases can be found in the store. */
static bool
check_layout(struct torcd *torcd, const struct torcd_options *options)
{
    switch (torcd_databases_layout(torcd->store)) {
    case TORCD_LAYOUT_EMPTY:
    case TORCD_LAYOUT_KNOWN: return true;
    case TORCD_LAYOUT_FOREIGN:
        complain(options->directory, "holds a store that another program, or a later torcd, has written; no key there "
                                     "was changed. Give another --dir.");
        break;
    case TORCD_LAYOUT_BROKEN:
        complain(options->directory, "holds a store in which a database's keyspace is missing; no key there was "
                                     "changed. Put a backup in its place, or give another --dir.");
        break;
    }
    return false;
}

/* Tell what was found in the directory. */
static void
report_recovery(const struct torcd *torcd, const struct torcd_options *options)
{
    static const char *const modes[] = {
        [TORC_DURABILITY_NONE] = "none", [TORC_DURABILITY_ASYNC] = "async", [TORC_DURABILITY_SYNC] = "sync",
    };
    struct torc_recovery found;
    uint64_t keys = 0;

    if (options->directory == NULL) {
        (void)printf("torcd: in memory only: what is stored is gone when torcd ends\n");
        return;
    }
    if (torc_mvcc_recovery(torcd->store, &found) != TORC_OK)
        return;
    for (unsigned i = 0; i < (unsigned)options->values[TORCD_DATABASES]; i++)
        keys += torcd_server_keys(torcd->server, i);
    (void)printf("torcd: %s: %" PRIu64 " keys, %" PRIu64 " entries of a checkpoint and %" PRIu64 " commits of %" PRIu64
                 " journal segments, up to stamp %" PRIu64 ", %" PRIu64 " torn bytes dropped, %" PRIu64 " ms; "
                 "durability %s\n", torcd->server->directory, keys, found.checkpoint_entries, found.commits,
                 found.segments, found.cut, found.torn_bytes, found.duration_ns / 1000000, modes[options->durability]);
}

/* Hear of what becomes durable, if there is a journal. */
static bool
start_hearing(struct torcd *torcd)
{
    if (!torcd->server->journaled)
        return true;
    int fd = torc_mvcc_durable_fd(torcd->store);
    if (fd < 0 || uv_poll_init(&torcd->uv, &torcd->durable, fd) != 0) {
        complain("cannot start", "no descriptor that tells what is durable");
        return false;
    }
    torcd->durable.data = torcd;
    torcd->hears = true;
    return uv_poll_start(&torcd->durable, UV_READABLE, on_durable) == 0;
}

static bool
open_store(struct torcd *torcd, struct torcd_options *options, unsigned threads)
{
    const struct torcd_callbacks callbacks = {
        .shut_down = shut_down, .wake = wake, .watch = watch, .context = torcd,
    };
    struct torc_mvcc_options store_options;

    torc_mvcc_options_init(&store_options);
    store_options.memory_limit_bytes = options->values[TORCD_MEMORY_MAX];
    store_options.retired_limit_bytes = options->values[TORCD_RETIRED_MAX];
    store_options.on_commit = torcd_effects_on_commit;
    store_options.on_commit_context = &torcd->server;
    store_options.directory = options->directory;
    store_options.durability =
        options->durability == TORC_DURABILITY_SYNC ? TORC_DURABILITY_ASYNC : options->durability;
    store_options.checkpoint_bytes = options->values[TORCD_CHECKPOINT_BYTES];
    enum torc_status status = torc_mvcc_open(&store_options, &torcd->store);
    if (status != TORC_OK) {
        complain_of_store(options, status);
        return false;
    }
    if (!check_layout(torcd, options))
        return false;
    options->values[TORCD_THREADS] = threads;
    torcd->server = torcd_server_create(torcd->store, options, threads, &callbacks);
    if (torcd->server == NULL) {
        complain("cannot start", "out of memory, or --memory-limit is too low");
        return false;
    }
    report_recovery(torcd, options);
    return true;
}

static bool
start_loops(struct torcd *torcd)
{
    torcd->loops = torcd_allocate(torcd->server->workers_count, sizeof(struct torcd_loop *));
    for (; torcd->loops != NULL && torcd->loops_count < torcd->server->workers_count; torcd->loops_count++) {
        struct torcd_loop *loop = torcd_loop_create(torcd->server->workers[torcd->loops_count]);
        if (loop == NULL)
            break;
        torcd->loops[torcd->loops_count] = loop;
    }
    if (torcd->loops_count == torcd->server->workers_count)
        return true;
    complain("cannot start", "no memory or no threads for the event loops");
    return false;
}

static void
list_binds(struct torcd_server *server, const struct torcd_options *options)
{
    size_t used = (size_t)snprintf(server->binds, sizeof server->binds, "%s",
                                   options->no_tcp ? "" : options->binds_count == 0 ? "127.0.0.1" : options->binds[0]);

    for (unsigned i = 1; !options->no_tcp && i < options->binds_count && used < sizeof server->binds; i++)
        used += (size_t)snprintf(server->binds + used, sizeof server->binds - used, " %s", options->binds[i]);
}

static bool
start_listening(struct torcd *torcd, const struct torcd_options *options)
{
    char error[256];
    const char *address = options->binds_count == 0 ? "127.0.0.1" : options->binds[0];
    unsigned metrics_port = (unsigned)options->values[TORCD_METRICS_PORT];

    if (options->values[TORCD_METRICS_PORT] != TORCD_OFF) {
        torcd->http = torcd_metrics_http_create(&torcd->uv, torcd->server, address, &metrics_port);
        if (torcd->http == NULL) {
            (void)fprintf(stderr, "torcd: cannot serve metrics on %s port %u: %s\n", address, metrics_port,
                          strerror(errno));
            return false;
        }
        (void)printf("torcd: metrics on http://%s:%u/metrics\n", address, metrics_port);
        /* Relaxed: the loops have no clients yet. */
        atomic_store_explicit(&torcd->server->settings[TORCD_METRICS_PORT], metrics_port, memory_order_relaxed);
    }
    list_binds(torcd->server, options);
    torcd->acceptor = torcd_acceptor_create(&torcd->uv, torcd->server, torcd->loops, options, error, sizeof error);
    if (torcd->acceptor == NULL) {
        complain("cannot start", error);
        return false;
    }
    unsigned port = torcd_acceptor_port(torcd->acceptor);
    /* Relaxed: as above. */
    atomic_store_explicit(&torcd->server->settings[TORCD_PORT], port, memory_order_relaxed);
    (void)printf("torcd %s: listening on ", TORC_VERSION);
    if (!options->no_tcp)
        (void)printf("%s port %u", torcd->server->binds, port);
    if (options->unix_socket != NULL)
        (void)printf("%s%s", options->no_tcp ? "" : " and ", options->unix_socket);
    (void)printf(", %u threads\n", torcd->loops_count);
    (void)fflush(stdout);
    return true;
}

static bool
start_events(struct torcd *torcd)
{
    if (uv_loop_init(&torcd->uv) != 0)
        return false;
    if (uv_async_init(&torcd->uv, &torcd->stop, on_stop) != 0
        || uv_async_init(&torcd->uv, &torcd->watch, on_watch) != 0
        || uv_signal_init(&torcd->uv, &torcd->terminate) != 0
        || uv_signal_init(&torcd->uv, &torcd->interrupt) != 0)
        return false;
    torcd->stop.data = torcd;
    torcd->watch.data = torcd;
    torcd->terminate.data = torcd;
    torcd->interrupt.data = torcd;
    (void)uv_timer_init(&torcd->uv, &torcd->tend);      /* These two cannot fail. */
    torcd->tend.data = torcd;
    (void)uv_timer_start(&torcd->tend, on_tend, TEND_MS, TEND_MS);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);     /* A file that may not grow is an error of the disk like others. */
    return uv_signal_start(&torcd->terminate, on_signal, SIGTERM) == 0
           && uv_signal_start(&torcd->interrupt, on_signal, SIGINT) == 0;
}

/* ---- The whole life ------------------------------------------------------------------------------------------- */

/* All loops have been joined: what they posted to one another at the end frees itself here. */
static void
run_last_messages(struct torcd_server *server)
{
    bool any = server != NULL;

    while (any) {
        any = false;
        for (unsigned i = 0; i < server->workers_count; i++)
            any |= torcd_worker_run_messages(server->workers[i]);
    }
}

/* SHUTDOWN SAVE: as SAVE, which begins a new journal where one has failed. */
static void
save_at_end(struct torcd_server *server)
{
    char why[256];

    /* Relaxed: the threads that wrote it have ended. */
    if (server != NULL && server->directory[0] != '\0'
        && atomic_load_explicit(&server->save_at_end, memory_order_relaxed)
        && torcd_save(server, why, sizeof why) != TORC_OK)
        complain("the checkpoint could not be written", why);
}

/* Close the store; everything in it is durable then, if it has a directory. */
static bool
close_store(struct torcd *torcd)
{
    switch (torc_mvcc_close(torcd->store)) {
    case TORC_OK: return true;
    case TORC_INDETERMINATE: complain("what was written last may be lost", torc_detail()); break;
    default: complain("the store cannot be closed", torc_detail()); break;
    }
    return false;
}

/* Free everything. The event loop of the main thread has ended. */
static bool
finish(struct torcd *torcd)
{
    for (unsigned i = 0; i < torcd->loops_count; i++)
        torcd_loop_join(torcd->loops[i]);
    run_last_messages(torcd->server);
    for (unsigned i = 0; i < torcd->loops_count; i++)
        torcd_loop_destroy(torcd->loops[i]);
    torcd_release(torcd->loops);
    uv_close((uv_handle_t *)&torcd->stop, NULL);
    uv_close((uv_handle_t *)&torcd->watch, NULL);
    (void)uv_run(&torcd->uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&torcd->uv);
    save_at_end(torcd->server);
    torcd_server_destroy(torcd->server);
    return close_store(torcd);
}

static int
serve(struct torcd_options *options)
{
    static struct torcd torcd;

    if (!start_events(&torcd)) {
        complain("cannot start", "no event loop");
        return EXIT_FAILURE;
    }
    fit_descriptors(options);
    bool started = open_store(&torcd, options, threads_wanted(options)) && start_loops(&torcd)
                   && start_hearing(&torcd) && start_listening(&torcd, options);
    if (!started)
        begin_stop(&torcd);
    (void)uv_run(&torcd.uv, UV_RUN_DEFAULT);
    bool finished = finish(&torcd);
    return started && finished ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
    struct torcd_options options;
    char error[256];

    torcd_options_init(&options);
    switch (torcd_options_parse(&options, argc, argv, error, sizeof error)) {
    case TORCD_OPTIONS_RUN:
        return serve(&options);
    case TORCD_OPTIONS_HELP:
        torcd_options_help(stdout);
        return EXIT_SUCCESS;
    case TORCD_OPTIONS_VERSION:
        (void)printf("torcd %s (torc %s)\n", TORC_VERSION, torc_version());
        return EXIT_SUCCESS;
    case TORCD_OPTIONS_WRONG:
        break;
    }
    (void)fprintf(stderr, "torcd: %s\nTry torcd --help.\n", error);
    return EXIT_USAGE;
}

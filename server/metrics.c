/* SPDX-License-Identifier: MIT */
/* server/metrics.c: figures as text: Prometheus and INFO. */
#define _GNU_SOURCE
#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <torc/torc.h>

#include "commands.h"
#include "diagnostics.h"

/* What the store's own text takes at first; it is asked again if that was too little. */
#define STORE_TEXT 8192u

const char *const torcd_metrics_sections[] = {
    "server", "clients", "memory", "persistence", "stats", "replication", "cpu", "commandstats", "torc", "keyspace",
    NULL,
};

struct figure {
    size_t offset;              /* In struct torcd_counters. */
    const char *name;
    const char *info_name;
    const char *help;
};

static const struct figure figures[] = {
    {offsetof(struct torcd_counters, commands), "commands", "total_commands_processed", "Commands that were run."},
    {offsetof(struct torcd_counters, bytes_in), "received_bytes", "total_net_input_bytes", "Bytes read from clients."},
    {offsetof(struct torcd_counters, bytes_out), "sent_bytes", "total_net_output_bytes", "Bytes written to clients."},
    {offsetof(struct torcd_counters, hits), "keyspace_hits", "keyspace_hits", "Reads that found their key."},
    {offsetof(struct torcd_counters, misses), "keyspace_misses", "keyspace_misses", "Reads that found no key."},
    {offsetof(struct torcd_counters, errors), "errors", "total_error_replies", "Error replies."},
    {offsetof(struct torcd_counters, protocol_errors), "protocol_errors", "total_protocol_errors",
     "Clients that broke the protocol or a limit of it."},
    {offsetof(struct torcd_counters, clients_dropped), "clients_dropped", "dropped_connections",
     "Clients closed because they were idle or did not read."},
    {offsetof(struct torcd_counters, turns_cut), "turns_cut", "total_turns_cut",
     "Pipelines interrupted so that other clients had their turn."},
};

static uint64_t
load(const atomic_uint_fast64_t *counter)
{
    /* Relaxed: a counter. */
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void
metric(struct torcd_buffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    torcd_buffer_format(out, "# HELP torcd_%s %s\n# TYPE torcd_%s %s\ntorcd_%s %" PRIu64 "\n", name, help, name, type,
                        name, value);
}

/* ---- Prometheus ----------------------------------------------------------------------------------------------- */

static void
render_latency(const struct torcd_server *server, struct torcd_buffer *out)
{
    uint64_t count = 0, sum = 0;

    torcd_buffer_format(out, "# HELP torcd_command_seconds Time from a command's parsing to its reply.\n"
                             "# TYPE torcd_command_seconds histogram\n");
    for (size_t i = 0; i < TORCD_LATENCY_BUCKETS; i++) {
        count += torcd_server_sum(server, offsetof(struct torcd_counters, latency[i]));
        if (i + 1 < TORCD_LATENCY_BUCKETS)
            torcd_buffer_format(out, "torcd_command_seconds_bucket{le=\"%.9g\"} %" PRIu64 "\n",
                                (double)(UINT64_C(1) << (i + 9)) / 1e9, count);
    }
    for (size_t i = 0; i < TORCD_COMMANDS_MAX; i++)
        sum += torcd_server_sum(server, offsetof(struct torcd_counters, nanoseconds[i]));
    torcd_buffer_format(out, "torcd_command_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n"
                             "torcd_command_seconds_sum %.9f\ntorcd_command_seconds_count %" PRIu64 "\n",
                        count, (double)sum / 1e9, count);
}

static void
render_calls(const struct torcd_server *server, struct torcd_buffer *out)
{
    size_t count;
    const struct torcd_command *commands = torcd_commands(&count);

    torcd_buffer_format(out, "# HELP torcd_command_calls_total Calls of each command.\n"
                             "# TYPE torcd_command_calls_total counter\n");
    for (size_t i = 0; i < count; i++) {
        uint64_t calls = torcd_server_sum(server, offsetof(struct torcd_counters, calls[i]));
        if (calls > 0)
            torcd_buffer_format(out, "torcd_command_calls_total{command=\"%s\"} %" PRIu64 "\n", commands[i].name,
                                calls);
    }
}

static void
render_keys(const struct torcd_server *server, struct torcd_buffer *out)
{
    torcd_buffer_format(out, "# HELP torcd_keys Keys of each database.\n# TYPE torcd_keys gauge\n");
    for (unsigned i = 0; i < server->workers[0]->databases; i++) {
        uint64_t keys = torcd_server_keys(server, i);
        if (i == 0 || keys > 0)
            torcd_buffer_format(out, "torcd_keys{db=\"%u\"} %" PRIu64 "\n", i, keys);
    }
}

static void
render_store(const struct torcd_server *server, struct torcd_buffer *out)
{
    size_t capacity = STORE_TEXT, size = 0;
    enum torc_status status;

    do {
        if (!torcd_buffer_reserve(out, capacity))
            return;
        status = torc_mvcc_metrics(server->store, out->data + out->size, capacity, &size);
        capacity = size + STORE_TEXT;
    } while (status == TORC_TOO_LARGE);
    if (status == TORC_OK)
        out->size += size;
}

void
torcd_metrics_render(const struct torcd_server *server, struct torcd_buffer *out)
{
    metric(out, "uptime_seconds", "gauge", "Since the start.",
           (torcd_now_ns() - server->started_ns) / UINT64_C(1000000000));
    metric(out, "threads", "gauge", "Threads that serve clients.", server->workers_count);
    metric(out, "clients", "gauge", "Connections open now.", load(&server->clients));
    metric(out, "clients_max", "gauge", "Connections that may be open.", torcd_setting(server, TORCD_CLIENTS_MAX));
    metric(out, "clients_accepted_total", "counter", "Connections accepted.", load(&server->clients_accepted));
    metric(out, "clients_refused_total", "counter", "Connections refused by maxclients.",
           load(&server->clients_refused));
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s_total", figures[i].name);
        metric(out, name, "counter", figures[i].help, torcd_server_sum(server, figures[i].offset));
    }
    metric(out, "channels", "gauge", "Channels that somebody listens to.",
           torcd_pubsub_subjects(server->pubsub, TORCD_CHANNEL));
    metric(out, "patterns", "gauge", "Patterns of channels that somebody listens to.",
           torcd_pubsub_subjects(server->pubsub, TORCD_PATTERN));
    metric(out, "slow_commands", "gauge", "Entries of the slow log.", torcd_slowlog_length(server->diagnostics));
    render_calls(server, out);
    render_latency(server, out);
    render_keys(server, out);
    render_store(server, out);
}

/* ---- INFO ----------------------------------------------------------------------------------------------------- */

static void
info_server(const struct torcd_server *server, struct torcd_buffer *out)
{
    uint64_t up = (torcd_now_ns() - server->started_ns) / UINT64_C(1000000000);

    torcd_buffer_format(out, "# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\ntorc_version:%s\r\n"
                             "arch_bits:%zu\r\nprocess_id:%ld\r\nrun_id:%s\r\ntcp_port:%" PRIu64 "\r\n",
                        TORCD_REDIS_VERSION, torc_version(), sizeof(void *) * 8, (long)getpid(), server->run_id,
                        torcd_setting(server, TORCD_PORT));
    torcd_buffer_format(out, "uptime_in_seconds:%" PRIu64 "\r\nuptime_in_days:%" PRIu64 "\r\nio_threads_active:%u\r\n",
                        up, up / 86400, server->workers_count);
}

static void
info_clients(const struct torcd_server *server, struct torcd_buffer *out)
{
    torcd_buffer_format(out, "# Clients\r\nconnected_clients:%" PRIu64 "\r\nmaxclients:%" PRIu64 "\r\n"
                             "blocked_clients:0\r\n",
                        (uint64_t)load(&server->clients), torcd_setting(server, TORCD_CLIENTS_MAX));
}

/* Resident bytes of this process, 0 if the system does not tell. */
static uint64_t
resident_bytes(void)
{
    uint64_t total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%" SCNu64 " %" SCNu64, &total, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
human(char *text, size_t size, uint64_t bytes)
{
    static const char units[] = "BKMGT";
    double value = (double)bytes;
    unsigned unit = 0;

    while (value >= 1024 && unit + 2 < sizeof units) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(text, size, unit == 0 ? "%.0f%c" : "%.2f%c", value, units[unit]);
}

static void
info_memory(const struct torcd_server *server, struct torcd_buffer *out)
{
    struct torc_mvcc_stats stats;
    char used[32], most[32];
    uint64_t limit = torcd_setting(server, TORCD_MEMORY_MAX);

    if (torc_mvcc_stats(server->store, &stats) != TORC_OK)
        return;
    human(used, sizeof used, stats.memory_bytes);
    human(most, sizeof most, limit);
    torcd_buffer_format(out, "# Memory\r\nused_memory:%" PRIu64 "\r\nused_memory_human:%s\r\n"
                             "used_memory_rss:%" PRIu64 "\r\nmaxmemory:%" PRIu64 "\r\nmaxmemory_human:%s\r\n"
                             "maxmemory_policy:noeviction\r\n",
                        stats.memory_bytes, used, resident_bytes(), limit, most);
}

static const char *
ok_or_err(enum torc_status status)
{
    return status == TORC_OK ? "ok" : "err";
}

/* What Redis tells of its snapshots are the checkpoints, and of its append-only file the journal. */
static void
info_persistence(const struct torcd_server *server, struct torcd_buffer *out)
{
    static const char *const modes[] = {
        [TORC_DURABILITY_NONE] = "none", [TORC_DURABILITY_ASYNC] = "async", [TORC_DURABILITY_SYNC] = "sync",
    };
    struct torc_durability_stats stats;
    struct torc_mvcc_stats store;

    memset(&stats, 0, sizeof stats);
    if (torc_mvcc_stats(server->store, &store) != TORC_OK
        || (server->directory[0] != '\0' && torc_mvcc_durability(server->store, &stats) != TORC_OK))
        return;
    uint64_t saved_ms = stats.checkpoint_ms != 0 ? stats.checkpoint_ms : server->started_ms;
    uint64_t saved = load(&server->saved_commits), changes = store.commits > saved ? store.commits - saved : 0;
    torcd_buffer_format(out, "# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_changes_since_last_save:%" PRIu64
                             "\r\nrdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%" PRIu64
                             "\r\nrdb_last_bgsave_status:%s\r\nrdb_saves:%" PRIu64 "\r\n",
                        changes, stats.checkpoint_running, saved_ms / 1000, ok_or_err(stats.checkpoint_status),
                        stats.checkpoints);
    torcd_buffer_format(out, "aof_enabled:%d\r\naof_rewrite_in_progress:%d\r\naof_last_write_status:%s\r\n",
                        server->journaled, stats.checkpoint_running, ok_or_err(stats.failed));
    if (server->directory[0] == '\0')
        return;
    torcd_buffer_format(out, "aof_current_size:%" PRIu64 "\r\naof_buffer_length:%" PRIu64 "\r\ntorc_durability:%s\r\n"
                             "torc_clock:%" PRIu64 "\r\ntorc_durable:%" PRIu64 "\r\ntorc_checkpoint:%" PRIu64 "\r\n",
                        stats.journal_bytes, stats.waiting_bytes, modes[server->durability], store.clock,
                        stats.durable, stats.checkpoint_stamp);
    torcd_buffer_format(out, "torc_flushes:%" PRIu64 "\r\ntorc_flushed_commits:%" PRIu64
                             "\r\ntorc_flushed_bytes:%" PRIu64 "\r\ntorc_flush_usec:%" PRIu64
                             "\r\ntorc_waits:%" PRIu64 "\r\n",
                        stats.flushes, stats.flushed_commits, stats.flushed_bytes, stats.flush_ns / 1000, stats.waits);
}

static void
info_messages(const struct torcd_server *server, struct torcd_buffer *out)
{
    torcd_buffer_format(out, "pubsub_channels:%" PRIu64 "\r\npubsub_patterns:%" PRIu64 "\r\n"
                             "pubsubshard_channels:%" PRIu64 "\r\nslowlog_entries:%" PRIu64 "\r\n",
                        torcd_pubsub_subjects(server->pubsub, TORCD_CHANNEL),
                        torcd_pubsub_subjects(server->pubsub, TORCD_PATTERN),
                        torcd_pubsub_subjects(server->pubsub, TORCD_SHARD), torcd_slowlog_length(server->diagnostics));
}

static void
info_stats(const struct torcd_server *server, struct torcd_buffer *out)
{
    torcd_buffer_format(out, "# Stats\r\ntotal_connections_received:%" PRIu64 "\r\n"
                             "rejected_connections:%" PRIu64 "\r\n",
                        (uint64_t)load(&server->clients_accepted), (uint64_t)load(&server->clients_refused));
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        torcd_buffer_format(out, "%s:%" PRIu64 "\r\n", figures[i].info_name,
                            torcd_server_sum_since_reset(server, figures[i].offset));
    info_messages(server, out);
}

static void
info_replication(const struct torcd_server *server, struct torcd_buffer *out)
{
    (void)server;
    torcd_buffer_format(out, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
}

static void
info_cpu(const struct torcd_server *server, struct torcd_buffer *out)
{
    struct rusage usage;

    (void)server;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    torcd_buffer_format(out, "# CPU\r\nused_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n",
                        (long)usage.ru_stime.tv_sec, (long)usage.ru_stime.tv_usec, (long)usage.ru_utime.tv_sec,
                        (long)usage.ru_utime.tv_usec);
}

static void
info_commandstats(const struct torcd_server *server, struct torcd_buffer *out)
{
    size_t count;
    const struct torcd_command *commands = torcd_commands(&count);

    torcd_buffer_format(out, "# Commandstats\r\n");
    for (size_t i = 0; i < count; i++) {
        uint64_t calls = torcd_server_sum_since_reset(server, offsetof(struct torcd_counters, calls[i]));
        uint64_t ns = torcd_server_sum_since_reset(server, offsetof(struct torcd_counters, nanoseconds[i]));
        if (calls > 0)
            torcd_buffer_format(out, "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f\r\n",
                                commands[i].name, calls, ns / 1000, (double)ns / 1000 / (double)calls);
    }
}

static void
info_torc(const struct torcd_server *server, struct torcd_buffer *out)
{
    struct torc_mvcc_stats stats;
    struct torc_snapshot_info oldest = {0};
    size_t open = 0;

    if (torc_mvcc_stats(server->store, &stats) != TORC_OK
        || torc_mvcc_snapshots(server->store, false, &oldest, 1, &open) != TORC_OK)
        return;
    torcd_buffer_format(out, "# Torc\r\ncommits:%" PRIu64 "\r\nconflicts:%" PRIu64 "\r\naborts:%" PRIu64
                             "\r\nwounds:%" PRIu64 "\r\nversions:%" PRIu64 "\r\nretired_bytes:%" PRIu64 "\r\n",
                        stats.commits, stats.conflicts, stats.aborts, stats.wounds,
                        stats.versions_created - stats.versions_freed, stats.retired_bytes);
    torcd_buffer_format(out, "open_transactions:%zu\r\noldest_snapshot_age_ms:%" PRIu64 "\r\n", open,
                        open == 0 ? 0 : oldest.age_ns / 1000000);
}

static void
info_keyspace(const struct torcd_server *server, struct torcd_buffer *out)
{
    torcd_buffer_format(out, "# Keyspace\r\n");
    for (unsigned i = 0; i < server->workers[0]->databases; i++) {
        uint64_t keys = torcd_server_keys(server, i);
        if (keys > 0)
            torcd_buffer_format(out, "db%u:keys=%" PRIu64 ",expires=0,avg_ttl=0\r\n", i, keys);
    }
}

void
torcd_metrics_info(const struct torcd_server *server, const char *section, struct torcd_buffer *out)
{
    static const struct {
        const char *name;
        void (*write)(const struct torcd_server *server, struct torcd_buffer *out);
    } writers[] = {
        {"server", info_server}, {"clients", info_clients}, {"memory", info_memory},
        {"persistence", info_persistence}, {"stats", info_stats}, {"replication", info_replication}, {"cpu", info_cpu},
        {"commandstats", info_commandstats}, {"torc", info_torc}, {"keyspace", info_keyspace},
    };

    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++)
        if (strcmp(writers[i].name, section) == 0)
            writers[i].write(server, out);
}

/* SPDX-License-Identifier: MIT */
/* server/commands.h: the table of commands, and how a session's bytes become replies. */
#ifndef TORCD_COMMANDS_H
#define TORCD_COMMANDS_H

#include "session.h"

enum torcd_command_flag {
    TORCD_WRITES = 1,           /* May change keys. */
    TORCD_READS = 2,            /* Reads keys and changes nothing. */
    TORCD_FAST = 4,
    TORCD_ADMIN = 8,            /* Not shown by MONITOR. */
    TORCD_IMMEDIATE = 16,       /* Runs at once within MULTI too. */
    TORCD_NO_MULTI = 32,        /* Refused within MULTI. */
    TORCD_CONNECTION = 64,      /* Is about the connection, not about keys. */
    TORCD_NO_AUTH = 128,        /* Allowed before AUTH. */
    TORCD_LISTENER = 256,       /* Allowed to a subscriber in RESP2. */
    TORCD_SECRET = 512,         /* Its arguments are shown to nobody. */
    TORCD_UNTIMED = 1024,       /* Not in the slow log: what it runs is. */
    TORCD_CONTAINER = 2048      /* Has subcommands. */
};

struct torcd_command {
    const char *name;           /* Lower case; of a subcommand "command|subcommand". */
    int arity;                  /* Arguments with the name; negative: at least so many. */
    unsigned flags;
    int first_key;              /* Which arguments are keys; 0: none. */
    int last_key;               /* Negative: counted from the end. */
    int key_step;
    void (*run)(struct torcd_session *session);     /* NULL: needs a subcommand. */
    const char *group;
    const char *summary;
};

/* All commands and subcommands. */
const struct torcd_command *torcd_commands(size_t *count);

/* The place of a command in that table, and of its counters. */
size_t torcd_command_number(const struct torcd_command *command);

/* Fill server->commands. */
void torcd_commands_index(struct torcd_server *server);

/* The command of that name in any case, or NULL. */
const struct torcd_command *torcd_commands_find(const struct torcd_server *server, struct torc_slice name);

/* The subcommand of that name in any case, or NULL. */
const struct torcd_command *torcd_commands_find_subcommand(const struct torcd_command *container,
                                                           struct torc_slice name);

/* The subcommand after `previous`, or the first one if that is NULL; NULL at the end. */
const struct torcd_command *torcd_commands_next_subcommand(const struct torcd_command *container,
                                                           const struct torcd_command *previous);

enum torcd_feed {
    TORCD_FEED_MORE,            /* All whole requests have run. */
    TORCD_FEED_CUT,             /* The turn is over, or replies pile up: call again later with what is left. */
    TORCD_FEED_HELD,            /* A request was held: the same, when the store has freed memory. */
    TORCD_FEED_PARKED           /* A request waits for its reply: the same, when it has been parked no more. */
};

/* Run the requests in window[0..size), until `*budget` of them have run or the replies that wait (those in session->out
 * and `unsent` bytes before them) pass a mark. `*consumed` bytes of the window are done with. Sets session->closing
 * when the stream ends here. */
enum torcd_feed
torcd_commands_feed(struct torcd_session *session, char *window, size_t size, size_t unsent, unsigned *budget,
                    size_t *consumed);

/* Replies past which a client's requests wait until it has taken some. */
size_t torcd_commands_output_mark(const struct torcd_session *session);

/* Run the command of session->command, which was admitted, and note its time. For torcd_commands_feed() and EXEC. */
void torcd_commands_run(struct torcd_session *session);

/* ---- Sessions that are parked (commands_durability.c) ----------------------------------------------------------- */

/* Write a checkpoint; if the journal has failed, begin a new one first. Blocking: not on a thread that serves clients.
 * `why` is what there is to say of a failure. */
enum torc_status torcd_save(struct torcd_server *server, char *why, size_t size);

/* Why the journal accepts nothing, or TORC_OK. */
enum torc_status torcd_journal_failed(const struct torcd_server *server);

/* A session until TORCD_UNTIL_DURABLE: reply if its commits are durable, if the journal has `failed`, or if it has
 * waited long enough. Whether it is parked no more. */
bool torcd_parked_look(struct torcd_session *session, enum torc_status failed, uint64_t now_ns);

/* A session until TORCD_UNTIL_SAVED: reply that torcd_save() has returned this. */
void torcd_parked_saved(struct torcd_session *session, enum torc_status status, const char *why);

/* A session that is parked for either: do what it waits for, here and now, and reply. Blocking, for the end. */
void torcd_parked_settle(struct torcd_session *session);

/* The error for a connection whose replies were held back when the journal failed. */
void torcd_reply_journal_failed(struct torcd_session *session);

/* ---- Replies that several files give -------------------------------------------------------------------------- */

void torcd_reply_syntax_error(struct torcd_session *session);
void torcd_reply_not_an_integer(struct torcd_session *session);
void torcd_reply_out_of_range(struct torcd_session *session);       /* Of 32 bits. */
void torcd_reply_wrong_arguments(struct torcd_session *session);

/* "unknown subcommand", for the second argument. */
void torcd_reply_unknown_subcommand(struct torcd_session *session);

/* "unknown subcommand or wrong number of arguments", for the second argument. */
void torcd_reply_bad_subcommand(struct torcd_session *session);

/* "out of memory". */
void torcd_reply_no_memory(struct torcd_session *session);

/* Whether a connection may be called so; else the client is told. */
bool torcd_check_name(struct torcd_session *session, struct torc_slice name);

/* Lines of help, up to NULL. */
void torcd_reply_lines(struct torcd_session *session, const char *const *lines);

/* Argument `index` of the request that runs. */
struct torc_slice torcd_argument(const struct torcd_session *session, size_t index);

/* Whether arguments first, first + step, ... are keys that the store can hold; else the client is told. */
bool torcd_check_keys(struct torcd_session *session, size_t first, size_t step);

/* ---- The commands --------------------------------------------------------------------------------------------- */

void torcd_command_append(struct torcd_session *session);
void torcd_command_auth(struct torcd_session *session);
void torcd_command_bgsave(struct torcd_session *session);
void torcd_command_client_getname(struct torcd_session *session);
void torcd_command_client_getredir(struct torcd_session *session);
void torcd_command_client_help(struct torcd_session *session);
void torcd_command_client_id(struct torcd_session *session);
void torcd_command_client_info(struct torcd_session *session);
void torcd_command_client_kill(struct torcd_session *session);
void torcd_command_client_list(struct torcd_session *session);
void torcd_command_client_no_evict(struct torcd_session *session);
void torcd_command_client_no_touch(struct torcd_session *session);
void torcd_command_client_setinfo(struct torcd_session *session);
void torcd_command_client_setname(struct torcd_session *session);
void torcd_command_command(struct torcd_session *session);
void torcd_command_command_count(struct torcd_session *session);
void torcd_command_command_docs(struct torcd_session *session);
void torcd_command_command_getkeys(struct torcd_session *session);
void torcd_command_command_help(struct torcd_session *session);
void torcd_command_command_info(struct torcd_session *session);
void torcd_command_command_list(struct torcd_session *session);
void torcd_command_config_get(struct torcd_session *session);
void torcd_command_config_help(struct torcd_session *session);
void torcd_command_config_resetstat(struct torcd_session *session);
void torcd_command_config_rewrite(struct torcd_session *session);
void torcd_command_config_set(struct torcd_session *session);
void torcd_command_copy(struct torcd_session *session);
void torcd_command_dbsize(struct torcd_session *session);
void torcd_command_debug(struct torcd_session *session);
void torcd_command_decr(struct torcd_session *session);
void torcd_command_decrby(struct torcd_session *session);
void torcd_command_del(struct torcd_session *session);
void torcd_command_discard(struct torcd_session *session);
void torcd_command_echo(struct torcd_session *session);
void torcd_command_exec(struct torcd_session *session);
void torcd_command_exists(struct torcd_session *session);
void torcd_command_expire(struct torcd_session *session);
void torcd_command_expireat(struct torcd_session *session);
void torcd_command_expiretime(struct torcd_session *session);
void torcd_command_flushall(struct torcd_session *session);
void torcd_command_flushdb(struct torcd_session *session);
void torcd_command_get(struct torcd_session *session);
void torcd_command_getdel(struct torcd_session *session);
void torcd_command_getex(struct torcd_session *session);
void torcd_command_getrange(struct torcd_session *session);
void torcd_command_getset(struct torcd_session *session);
void torcd_command_hello(struct torcd_session *session);
void torcd_command_incr(struct torcd_session *session);
void torcd_command_incrby(struct torcd_session *session);
void torcd_command_incrbyfloat(struct torcd_session *session);
void torcd_command_info(struct torcd_session *session);
void torcd_command_keys(struct torcd_session *session);
void torcd_command_lastsave(struct torcd_session *session);
void torcd_command_latency_doctor(struct torcd_session *session);
void torcd_command_latency_help(struct torcd_session *session);
void torcd_command_latency_history(struct torcd_session *session);
void torcd_command_latency_latest(struct torcd_session *session);
void torcd_command_latency_reset(struct torcd_session *session);
void torcd_command_lcs(struct torcd_session *session);
void torcd_command_memory_doctor(struct torcd_session *session);
void torcd_command_memory_help(struct torcd_session *session);
void torcd_command_memory_malloc_stats(struct torcd_session *session);
void torcd_command_memory_purge(struct torcd_session *session);
void torcd_command_memory_stats(struct torcd_session *session);
void torcd_command_memory_usage(struct torcd_session *session);
void torcd_command_mget(struct torcd_session *session);
void torcd_command_monitor(struct torcd_session *session);
void torcd_command_move(struct torcd_session *session);
void torcd_command_mset(struct torcd_session *session);
void torcd_command_msetnx(struct torcd_session *session);
void torcd_command_multi(struct torcd_session *session);
void torcd_command_object_encoding(struct torcd_session *session);
void torcd_command_object_freq(struct torcd_session *session);
void torcd_command_object_help(struct torcd_session *session);
void torcd_command_object_idletime(struct torcd_session *session);
void torcd_command_object_refcount(struct torcd_session *session);
void torcd_command_persist(struct torcd_session *session);
void torcd_command_pexpire(struct torcd_session *session);
void torcd_command_pexpireat(struct torcd_session *session);
void torcd_command_pexpiretime(struct torcd_session *session);
void torcd_command_ping(struct torcd_session *session);
void torcd_command_psetex(struct torcd_session *session);
void torcd_command_psubscribe(struct torcd_session *session);
void torcd_command_pttl(struct torcd_session *session);
void torcd_command_publish(struct torcd_session *session);
void torcd_command_pubsub_channels(struct torcd_session *session);
void torcd_command_pubsub_help(struct torcd_session *session);
void torcd_command_pubsub_numpat(struct torcd_session *session);
void torcd_command_pubsub_numsub(struct torcd_session *session);
void torcd_command_pubsub_shardchannels(struct torcd_session *session);
void torcd_command_pubsub_shardnumsub(struct torcd_session *session);
void torcd_command_punsubscribe(struct torcd_session *session);
void torcd_command_quit(struct torcd_session *session);
void torcd_command_randomkey(struct torcd_session *session);
void torcd_command_range(struct torcd_session *session);
void torcd_command_rename(struct torcd_session *session);
void torcd_command_renamenx(struct torcd_session *session);
void torcd_command_reset(struct torcd_session *session);
void torcd_command_save(struct torcd_session *session);
void torcd_command_scan(struct torcd_session *session);
void torcd_command_select(struct torcd_session *session);
void torcd_command_set(struct torcd_session *session);
void torcd_command_setex(struct torcd_session *session);
void torcd_command_setnx(struct torcd_session *session);
void torcd_command_setrange(struct torcd_session *session);
void torcd_command_shutdown(struct torcd_session *session);
void torcd_command_slowlog_get(struct torcd_session *session);
void torcd_command_slowlog_help(struct torcd_session *session);
void torcd_command_slowlog_len(struct torcd_session *session);
void torcd_command_slowlog_reset(struct torcd_session *session);
void torcd_command_spublish(struct torcd_session *session);
void torcd_command_ssubscribe(struct torcd_session *session);
void torcd_command_strlen(struct torcd_session *session);
void torcd_command_subscribe(struct torcd_session *session);
void torcd_command_sunsubscribe(struct torcd_session *session);
void torcd_command_swapdb(struct torcd_session *session);
void torcd_command_time(struct torcd_session *session);
void torcd_command_ttl(struct torcd_session *session);
void torcd_command_type(struct torcd_session *session);
void torcd_command_unsubscribe(struct torcd_session *session);
void torcd_command_unwatch(struct torcd_session *session);
void torcd_command_wait(struct torcd_session *session);
void torcd_command_waitdurable(struct torcd_session *session);
void torcd_command_watch(struct torcd_session *session);

#endif

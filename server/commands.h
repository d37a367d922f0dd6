/* SPDX-License-Identifier: MIT */
/* server/commands.h: the table of commands, and how a session's bytes become replies. */
#ifndef TORCD_COMMANDS_H
#define TORCD_COMMANDS_H

#include "session.h"

enum torcd_command_flag {
    TORCD_WRITES = 1,           /* May change keys. */
    TORCD_READS = 2,            /* Reads keys and changes nothing. */
    TORCD_FAST = 4,
    TORCD_ADMIN = 8,
    TORCD_IMMEDIATE = 16,       /* Runs at once within MULTI too. */
    TORCD_NO_MULTI = 32,        /* Refused within MULTI. */
    TORCD_CONNECTION = 64       /* Is about the connection, not about keys. */
};

struct torcd_command {
    const char *name;           /* Lower case. */
    int arity;                  /* Arguments with the name; negative: at least so many. */
    unsigned flags;
    int first_key;              /* Which arguments are keys; 0: none. */
    int last_key;               /* Negative: counted from the end. */
    int key_step;
    void (*run)(struct torcd_session *session);
    const char *group;
    const char *summary;
};

/* All commands, in the order of their counters. */
const struct torcd_command *torcd_commands(size_t *count);

/* Fill server->commands. */
void torcd_commands_index(struct torcd_server *server);

/* The command of that name in any case, or NULL. */
const struct torcd_command *torcd_commands_find(const struct torcd_server *server, struct torc_slice name);

enum torcd_feed {
    TORCD_FEED_MORE,            /* All whole requests have run. */
    TORCD_FEED_CUT              /* The turn is over, or replies pile up: call again later with what is left. */
};

/* Run the requests in window[0..size), until `*budget` of them have run or the replies that wait (those in session->out
 * and `unsent` bytes before them) pass a mark. `*consumed` bytes of the window are done with. Sets session->closing
 * when the stream ends here. */
enum torcd_feed
torcd_commands_feed(struct torcd_session *session, char *window, size_t size, size_t unsent, unsigned *budget,
                    size_t *consumed);

/* Replies past which a client's requests wait until it has taken some. */
size_t torcd_commands_output_mark(const struct torcd_session *session);

/* ---- The commands, by file ------------------------------------------------------------------------------------ */

/* commands_keys.c */
void torcd_command_append(struct torcd_session *session);
void torcd_command_dbsize(struct torcd_session *session);
void torcd_command_decr(struct torcd_session *session);
void torcd_command_decrby(struct torcd_session *session);
void torcd_command_del(struct torcd_session *session);
void torcd_command_exists(struct torcd_session *session);
void torcd_command_flushall(struct torcd_session *session);
void torcd_command_flushdb(struct torcd_session *session);
void torcd_command_get(struct torcd_session *session);
void torcd_command_getdel(struct torcd_session *session);
void torcd_command_getset(struct torcd_session *session);
void torcd_command_incr(struct torcd_session *session);
void torcd_command_incrby(struct torcd_session *session);
void torcd_command_mget(struct torcd_session *session);
void torcd_command_mset(struct torcd_session *session);
void torcd_command_msetnx(struct torcd_session *session);
void torcd_command_set(struct torcd_session *session);
void torcd_command_setnx(struct torcd_session *session);
void torcd_command_strlen(struct torcd_session *session);
void torcd_command_type(struct torcd_session *session);

/* commands_scan.c */
void torcd_command_keys(struct torcd_session *session);
void torcd_command_range(struct torcd_session *session);
void torcd_command_scan(struct torcd_session *session);

/* commands_multi.c */
void torcd_command_discard(struct torcd_session *session);
void torcd_command_exec(struct torcd_session *session);
void torcd_command_multi(struct torcd_session *session);
void torcd_command_unwatch(struct torcd_session *session);
void torcd_command_watch(struct torcd_session *session);

/* commands_server.c */
void torcd_command_auth(struct torcd_session *session);
void torcd_command_client(struct torcd_session *session);
void torcd_command_command(struct torcd_session *session);
void torcd_command_config(struct torcd_session *session);
void torcd_command_echo(struct torcd_session *session);
void torcd_command_hello(struct torcd_session *session);
void torcd_command_info(struct torcd_session *session);
void torcd_command_ping(struct torcd_session *session);
void torcd_command_quit(struct torcd_session *session);
void torcd_command_reset(struct torcd_session *session);
void torcd_command_select(struct torcd_session *session);
void torcd_command_shutdown(struct torcd_session *session);
void torcd_command_time(struct torcd_session *session);

/* Replies that several files give. */
void torcd_reply_syntax_error(struct torcd_session *session);
void torcd_reply_not_an_integer(struct torcd_session *session);
void torcd_reply_wrong_arguments(struct torcd_session *session);

#endif

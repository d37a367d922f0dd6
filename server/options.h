/* SPDX-License-Identifier: MIT */
/* server/options.h: what torcd can be told, on its command line and (some of it) by CONFIG SET.
 *
 * One table holds name, bounds, default and help of every number; --help, CONFIG GET and CONFIG SET read it. Options
 * that are no numbers have a table of their own, and cannot be changed while torcd runs. */
#ifndef TORCD_OPTIONS_H
#define TORCD_OPTIONS_H

#include <stdio.h>

#include <torc/mvcc.h>

enum torcd_setting {
    TORCD_PORT,
    TORCD_KEEPALIVE,
    TORCD_CLIENTS_MAX,
    TORCD_IDLE_TIMEOUT,
    TORCD_OUTPUT_TIMEOUT,
    TORCD_WATCH_TIMEOUT,
    TORCD_BULK_MAX,
    TORCD_ARGUMENTS_MAX,
    TORCD_INLINE_MAX,
    TORCD_QUERY_BUFFER_MAX,
    TORCD_OUTPUT_BUFFER_MAX,
    TORCD_PUSH_BUFFER_MAX,
    TORCD_THREADS,
    TORCD_DATABASES,
    TORCD_MEMORY_MAX,
    TORCD_RETIRED_MAX,
    TORCD_CHECKPOINT_BYTES,
    TORCD_METRICS_PORT,
    TORCD_SETTINGS              /* How many. */
};

#define TORCD_OFF UINT64_MAX    /* The value of a setting that is switched off by the word "off". */
#define TORCD_BINDS_MAX 16u
#define TORCD_SOCKET_PATH_MAX 107u      /* What the address of a Unix socket has room for. */
#define TORCD_PASSWORD_MAX 512u
#define TORCD_DIRECTORY_MAX 1023u
#define TORCD_DIRECTORY "./torc-data"   /* Where nothing else is said. */

struct torcd_setting_info {
    const char *flag;           /* Without its dashes. */
    const char *config;         /* Its name in CONFIG GET. */
    const char *group;          /* Heading in --help. */
    const char *argument;       /* "N", "BYTES", "SECONDS". */
    const char *help;
    uint64_t least;
    uint64_t greatest;
    uint64_t preset;
    bool can_change;            /* By CONFIG SET. */
    bool can_be_off;
};

struct torcd_options {
    uint64_t values[TORCD_SETTINGS];
    const char *binds[TORCD_BINDS_MAX];     /* Borrowed from argv. */
    unsigned binds_count;
    bool no_tcp;
    const char *unix_socket;                /* NULL: none. Borrowed from argv, as is the next. */
    const char *password;                   /* NULL: none is asked for. */
    unsigned unix_socket_mode;              /* 0: what the umask leaves. */
    const char *directory;                  /* NULL: in memory only. Borrowed from argv, or TORCD_DIRECTORY. */
    enum torc_durability durability;
    bool memory_only;
    bool has_durability;                    /* --durability was given. */
};

enum torcd_options_outcome {
    TORCD_OPTIONS_RUN,
    TORCD_OPTIONS_HELP,
    TORCD_OPTIONS_VERSION,
    TORCD_OPTIONS_WRONG         /* `error` says what. */
};

const struct torcd_setting_info *torcd_setting_info(enum torcd_setting setting);

/* Parse the value of a setting: a number, of bytes also with k, kb, m, mb, g, gb as Redis reads them, or "off".
 * False if it is none or out of bounds. */
bool torcd_setting_parse(enum torcd_setting setting, struct torc_slice text, uint64_t *value);

void torcd_options_init(struct torcd_options *options);

enum torcd_options_outcome
torcd_options_parse(struct torcd_options *options, int argc, char **argv, char *error, size_t error_size);

void torcd_options_help(FILE *file);

#endif

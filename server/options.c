/* SPDX-License-Identifier: MIT */
/* server/options.c: the table of settings, the command line, --help. */
#define _GNU_SOURCE
#include "options.h"

#include <assert.h>
#include <inttypes.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define YEAR_S UINT64_C(31536000)

static const struct torcd_setting_info settings[TORCD_SETTINGS] = {
    [TORCD_PORT] = {"port", "port", "Network", "N",
        "TCP port; 0 lets the system choose", 0, 65535, 7379, false, false},
    [TORCD_KEEPALIVE] = {"tcp-keepalive", "tcp-keepalive", "Network", "SECONDS",
        "probe silent peers after this long; 0 never", 0, 32767, 300, true, false},
    [TORCD_METRICS_PORT] = {"metrics-port", "metrics-port", "Network", "N",
        "Prometheus text at GET /metrics; 0 lets the system choose", 0, 65535, TORCD_OFF, false, true},

    [TORCD_CLIENTS_MAX] = {"maxclients", "maxclients", "Clients", "N",
        "connections at once", 1, 1000000, 10000, true, false},
    [TORCD_IDLE_TIMEOUT] = {"timeout", "timeout", "Clients", "SECONDS",
        "close a client that sends nothing for this long; 0 never", 0, YEAR_S, 0, true, false},
    [TORCD_OUTPUT_TIMEOUT] = {"output-timeout", "output-timeout", "Clients", "SECONDS",
        "close a client that takes none of its replies for this long; 0 never", 0, YEAR_S, 60, true, false},
    [TORCD_WATCH_TIMEOUT] = {"watch-timeout", "watch-timeout", "Clients", "SECONDS",
        "let a WATCH fail that is older than this; 0 never", 0, YEAR_S, 300, true, false},

    [TORCD_BULK_MAX] = {"proto-max-bulk-len", "proto-max-bulk-len", "Request and reply sizes", "BYTES",
        "one argument", KIB, 512 * MIB, 512 * MIB, true, false},
    [TORCD_ARGUMENTS_MAX] = {"max-arguments", "max-arguments", "Request and reply sizes", "N",
        "arguments of one command", 16, 16 * MIB, MIB, true, false},
    [TORCD_INLINE_MAX] = {"max-inline", "max-inline", "Request and reply sizes", "BYTES",
        "one inline command", 64, 16 * MIB, 64 * KIB, true, false},
    [TORCD_QUERY_BUFFER_MAX] = {"query-buffer-limit", "client-query-buffer-limit", "Request and reply sizes", "BYTES",
        "one command with all its arguments, or one MULTI queue", 64 * KIB, 16 * GIB, GIB, true, false},
    [TORCD_OUTPUT_BUFFER_MAX] = {"output-buffer-limit", "output-buffer-limit", "Request and reply sizes", "BYTES",
        "one reply", 64 * KIB, 16 * GIB, GIB, true, false},
    [TORCD_PUSH_BUFFER_MAX] = {"push-buffer-limit", "push-buffer-limit", "Request and reply sizes", "BYTES",
        "what may wait for a subscriber before it is closed", 64 * KIB, 16 * GIB, 32 * MIB, true, false},

    [TORCD_THREADS] = {"threads", "io-threads", "Store", "N",
        "threads that serve clients; 0 one per processor", 0, 256, 0, false, false},
    [TORCD_DATABASES] = {"databases", "databases", "Store", "N",
        "for SELECT", 1, 256, 16, false, false},
    [TORCD_MEMORY_MAX] = {"memory-limit", "maxmemory", "Store", "BYTES",
        "what the store may use; past it writes are refused; 0 no limit", 0, UINT64_C(1) << 60, 0, false, false},
    [TORCD_RETIRED_MAX] = {"retired-limit", "retired-limit", "Store", "BYTES",
        "old values that wait to be freed; past it writes wait", KIB, UINT64_C(1) << 60, 256 * MIB, false, false},

    [TORCD_CHECKPOINT_BYTES] = {"checkpoint-bytes", "checkpoint-bytes", "Durability", "BYTES",
        "write a checkpoint when the journal has grown by so much; 0 never", 0, UINT64_C(1) << 60, 256 * MIB, false,
        false},
};

const struct torcd_setting_info *
torcd_setting_info(enum torcd_setting setting)
{
    assert(setting < TORCD_SETTINGS);
    return &settings[setting];
}

static bool
same_ignoring_case(struct torc_slice text, const char *word)
{
    const char *bytes = text.data;

    if (text.size != strlen(word))
        return false;
    for (size_t i = 0; i < text.size; i++)
        if ((bytes[i] >= 'A' && bytes[i] <= 'Z' ? bytes[i] | 0x20 : bytes[i]) != word[i])
            return false;
    return true;
}

/* What a unit multiplies by, 0 if it is none. As in redis.conf: 1k is 1000, 1kb is 1024. */
static uint64_t
unit_factor(struct torc_slice unit)
{
    static const struct { const char *name; uint64_t factor; } units[] = {
        {"", 1}, {"b", 1}, {"k", 1000}, {"kb", KIB}, {"m", 1000000}, {"mb", MIB}, {"g", 1000000000}, {"gb", GIB},
    };

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (same_ignoring_case(unit, units[i].name))
            return units[i].factor;
    return 0;
}

bool
torcd_setting_parse(enum torcd_setting setting, struct torc_slice text, uint64_t *value)
{
    const struct torcd_setting_info *info = torcd_setting_info(setting);
    const char *bytes = text.data;
    uint64_t number = 0;
    size_t digits = 0;

    if (info->can_be_off && same_ignoring_case(text, "off")) {
        *value = TORCD_OFF;
        return true;
    }
    for (; digits < text.size && bytes[digits] >= '0' && bytes[digits] <= '9'; digits++) {
        if (number > UINT64_MAX / 16)
            return false;
        number = number * 10 + (uint64_t)(bytes[digits] - '0');
    }
    if (digits == 0)
        return false;

    struct torc_slice unit = torc_slice(bytes + digits, text.size - digits);
    uint64_t factor = unit_factor(unit);
    if (factor == 0 || (unit.size > 0 && strcmp(info->argument, "BYTES") != 0) || number > UINT64_MAX / factor)
        return false;
    number *= factor;
    if (number < info->least || number > info->greatest)
        return false;
    *value = number;
    return true;
}

void
torcd_options_init(struct torcd_options *options)
{
    memset(options, 0, sizeof *options);
    for (unsigned i = 0; i < TORCD_SETTINGS; i++)
        options->values[i] = settings[i].preset;
    options->durability = TORC_DURABILITY_ASYNC;
}

/* ---- Options that are no numbers ------------------------------------------------------------------------------ */

static bool
take_bind(struct torcd_options *options, const char *value)
{
    if (options->binds_count == TORCD_BINDS_MAX)
        return false;
    options->binds[options->binds_count++] = value;
    return true;
}

static bool
take_unix_socket(struct torcd_options *options, const char *value)
{
    options->unix_socket = value;
    return value[0] != '\0' && strlen(value) <= TORCD_SOCKET_PATH_MAX;
}

static bool
take_unix_socket_mode(struct torcd_options *options, const char *value)
{
    unsigned mode = 0;
    size_t digits = strspn(value, "01234567");

    if (digits == 0 || digits > 4 || value[digits] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        mode = mode * 8 + (unsigned)(value[i] - '0');
    options->unix_socket_mode = mode;
    return mode != 0 && mode <= 0777;
}

static bool
take_password(struct torcd_options *options, const char *value)
{
    options->password = value;
    return value[0] != '\0' && strlen(value) <= TORCD_PASSWORD_MAX;
}

static bool
take_no_tcp(struct torcd_options *options, const char *value)
{
    (void)value;
    options->no_tcp = true;
    return true;
}

static bool
take_directory(struct torcd_options *options, const char *value)
{
    options->directory = value;
    return value[0] != '\0' && strlen(value) <= TORCD_DIRECTORY_MAX;
}

static bool
take_durability(struct torcd_options *options, const char *value)
{
    static const char *const modes[] = {
        [TORC_DURABILITY_NONE] = "none", [TORC_DURABILITY_ASYNC] = "async", [TORC_DURABILITY_SYNC] = "sync",
    };

    options->has_durability = true;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(value, modes[i]) == 0) {
            options->durability = (enum torc_durability)i;
            return true;
        }
    return false;
}

static bool
take_memory_only(struct torcd_options *options, const char *value)
{
    (void)value;
    options->memory_only = true;
    return true;
}

static const struct word {
    const char *flag;
    const char *group;          /* Heading in --help. */
    const char *argument;       /* NULL: it takes none. */
    const char *help;
    const char *wanted;         /* What its value must be. */
    bool (*take)(struct torcd_options *options, const char *value);
} words[] = {
    {"bind", "Network", "ADDRESS", "address to listen on, may be repeated [127.0.0.1]", "given 16 times at most",
        take_bind},
    {"no-tcp", "Network", NULL, "listen on no TCP port, only on --unixsocket", "", take_no_tcp},
    {"unixsocket", "Network", "PATH", "listen on a Unix socket too", "a path of 1 to 107 bytes", take_unix_socket},
    {"unixsocketperm", "Network", "MODE", "its permissions, in octal [by the umask]", "an octal mode from 1 to 777",
        take_unix_socket_mode},
    {"requirepass", "Network", "PASSWORD", "what clients must give with AUTH or HELLO", "a password of 1 to 512 bytes",
        take_password},
    {"dir", "Durability", "DIR", "where everything is kept; made if it is not there [" TORCD_DIRECTORY "]",
        "a path of 1 to 1023 bytes", take_directory},
    {"durability", "Durability", "MODE", "none: by checkpoints only; async: soon; sync: before the reply [async]",
        "none, async or sync", take_durability},
    {"memory-only", "Durability", NULL, "write nothing: what was stored is gone when torcd ends", "",
        take_memory_only},
};
#define WORDS (sizeof words / sizeof words[0])

/* ---- The command line ----------------------------------------------------------------------------------------- */

/* Whether `argument` is --flag or --flag=value. */
static bool
is_flag(const char *argument, const char *flag)
{
    size_t size = strcspn(argument + 2, "=");

    return strlen(flag) == size && memcmp(flag, argument + 2, size) == 0;
}

/* The setting whose flag it is; TORCD_SETTINGS if there is none. */
static enum torcd_setting
find_setting(const char *argument)
{
    unsigned i = 0;

    while (i < TORCD_SETTINGS && !is_flag(argument, settings[i].flag))
        i++;
    return (enum torcd_setting)i;
}

static const struct word *
find_word(const char *argument)
{
    for (size_t i = 0; i < WORDS; i++)
        if (is_flag(argument, words[i].flag))
            return &words[i];
    return NULL;
}

static enum torcd_options_outcome
apply_word(struct torcd_options *options, const struct word *word, const char *value, char *error, size_t error_size)
{
    if (word->take(options, value))
        return TORCD_OPTIONS_RUN;
    (void)snprintf(error, error_size, "--%s must be %s", word->flag, word->wanted);
    return TORCD_OPTIONS_WRONG;
}

static enum torcd_options_outcome
apply_setting(struct torcd_options *options, enum torcd_setting setting, const char *value, char *error,
              size_t error_size)
{
    const struct torcd_setting_info *info = torcd_setting_info(setting);

    if (torcd_setting_parse(setting, torc_slice_from_string(value), &options->values[setting]))
        return TORCD_OPTIONS_RUN;
    (void)snprintf(error, error_size, "--%s: '%s' is not a value between %" PRIu64 " and %" PRIu64 "%s", info->flag,
                   value, info->least, info->greatest, info->can_be_off ? ", or off" : "");
    return TORCD_OPTIONS_WRONG;
}

/* What no single option tells. */
static enum torcd_options_outcome
fit_together(struct torcd_options *options, char *error, size_t error_size)
{
    const char *wrong = NULL;

    if (options->no_tcp && options->unix_socket == NULL)
        wrong = "--no-tcp leaves nothing to listen on without --unixsocket";
    else if (options->memory_only && options->directory != NULL)
        wrong = "--memory-only and --dir exclude each other";
    else if (options->memory_only && options->has_durability)
        wrong = "--memory-only and --durability exclude each other";
    else if (!options->memory_only && options->directory == NULL)
        options->directory = TORCD_DIRECTORY;
    if (wrong == NULL)
        return TORCD_OPTIONS_RUN;
    (void)snprintf(error, error_size, "%s", wrong);
    return TORCD_OPTIONS_WRONG;
}

enum torcd_options_outcome
torcd_options_parse(struct torcd_options *options, int argc, char **argv, char *error, size_t error_size)
{
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i], *value = strchr(flag, '=');

        if (strcmp(flag, "--help") == 0 || strcmp(flag, "-h") == 0)
            return TORCD_OPTIONS_HELP;
        if (strcmp(flag, "--version") == 0 || strcmp(flag, "-v") == 0)
            return TORCD_OPTIONS_VERSION;
        bool is_long = strncmp(flag, "--", 2) == 0;
        const struct word *word = is_long ? find_word(flag) : NULL;
        enum torcd_setting setting = is_long ? find_setting(flag) : TORCD_SETTINGS;
        bool takes_value = word == NULL || word->argument != NULL;
        if ((word == NULL && setting == TORCD_SETTINGS) || (value != NULL && !takes_value)) {
            (void)snprintf(error, error_size, "unknown option '%s'", flag);
            return TORCD_OPTIONS_WRONG;
        }
        if (value != NULL)
            value++;
        else if (takes_value && i + 1 < argc)
            value = argv[++i];
        else if (takes_value) {
            (void)snprintf(error, error_size, "%s needs a value", flag);
            return TORCD_OPTIONS_WRONG;
        }
        enum torcd_options_outcome outcome = word != NULL ? apply_word(options, word, value, error, error_size)
                                                          : apply_setting(options, setting, value, error, error_size);
        if (outcome != TORCD_OPTIONS_RUN)
            return outcome;
    }
    return fit_together(options, error, error_size);
}

static void
print_preset(FILE *file, const struct torcd_setting_info *info)
{
    if (info->preset == TORCD_OFF)
        (void)fprintf(file, " [off]");
    else if (strcmp(info->argument, "BYTES") == 0 && info->preset >= GIB && info->preset % GIB == 0)
        (void)fprintf(file, " [%" PRIu64 "gb]", info->preset / GIB);
    else if (strcmp(info->argument, "BYTES") == 0 && info->preset >= MIB && info->preset % MIB == 0)
        (void)fprintf(file, " [%" PRIu64 "mb]", info->preset / MIB);
    else if (strcmp(info->argument, "BYTES") == 0 && info->preset >= KIB && info->preset % KIB == 0)
        (void)fprintf(file, " [%" PRIu64 "kb]", info->preset / KIB);
    else
        (void)fprintf(file, " [%" PRIu64 "]", info->preset);
}

void
torcd_options_help(FILE *file)
{
    static const char *const groups[] = {"Network", "Clients", "Request and reply sizes", "Store", "Durability"};

    (void)fputs("torcd serves a torc store to any Redis client.\n"
                "\n"
                "Usage: torcd [OPTION VALUE]...\n"
                "\n"
                "Values in brackets are the defaults. BYTES may end in kb, mb or gb. Everything is kept in memory,\n"
                "and written to --dir, from where it comes back at the next start.\n", file);
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        (void)fprintf(file, "\n%s\n", groups[g]);
        for (size_t i = 0; i < WORDS; i++) {
            char flag[64];
            if (strcmp(words[i].group, groups[g]) != 0)
                continue;
            (void)snprintf(flag, sizeof flag, "--%s %s", words[i].flag,
                           words[i].argument == NULL ? "" : words[i].argument);
            (void)fprintf(file, "  %-32s %s\n", flag, words[i].help);
        }
        for (unsigned i = 0; i < TORCD_SETTINGS; i++) {
            char flag[64];
            if (strcmp(settings[i].group, groups[g]) != 0)
                continue;
            (void)snprintf(flag, sizeof flag, "--%s %s", settings[i].flag, settings[i].argument);
            (void)fprintf(file, "  %-32s %s", flag, settings[i].help);
            print_preset(file, &settings[i]);
            (void)fputc('\n', file);
        }
    }
    (void)fputs("\nOther\n"
                "  --help                           this text\n"
                "  --version                        the version of torcd and of the library\n"
                "\n"
                "SIGTERM and SIGINT end torcd cleanly: what was received is answered first.\n"
                "Try it: redis-cli -p 7379 set greeting hello\n", file);
}

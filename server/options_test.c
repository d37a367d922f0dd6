/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "options.h"

TestSuite(options, .timeout = 20);

static struct torcd_options options;
static char error[256];

/* Parse one flag and its value. */
static enum torcd_options_outcome
parse(const char *flag, const char *value)
{
    static char name[] = "torcd", copies[2][1100];      /* Options borrow them. */
    char *arguments[] = {name, copies[0], copies[1], NULL};

    (void)snprintf(copies[0], sizeof copies[0], "%s", flag);
    (void)snprintf(copies[1], sizeof copies[1], "%s", value == NULL ? "" : value);
    error[0] = '\0';
    torcd_options_init(&options);
    return torcd_options_parse(&options, value == NULL ? 2 : 3, arguments, error, sizeof error);
}

Test(options, have_presets_within_their_bounds)
{
    for (unsigned i = 0; i < TORCD_SETTINGS; i++) {
        const struct torcd_setting_info *info = torcd_setting_info((enum torcd_setting)i);
        cr_assert_not_null(info->flag);
        if (info->preset != TORCD_OFF)
            cr_expect(info->preset >= info->least && info->preset <= info->greatest, "%s", info->flag);
    }
}

Test(options, read_numbers_and_sizes)
{
    cr_expect_eq(parse("--port", "0"), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.values[TORCD_PORT], 0u);
    cr_expect_eq(parse("--port=6000", NULL), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.values[TORCD_PORT], 6000u);
    cr_expect_eq(parse("--memory-limit", "64mb"), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.values[TORCD_MEMORY_MAX], UINT64_C(64) << 20);
    cr_expect_eq(parse("--memory-limit", "1G"), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.values[TORCD_MEMORY_MAX], UINT64_C(1000000000));
    cr_expect_eq(parse("--metrics-port", "off"), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.values[TORCD_METRICS_PORT], TORCD_OFF);
}

Test(options, refuse_what_is_out_of_bounds_and_name_it)
{
    static const char *const wrong[][2] = {
        {"--port", "65536"}, {"--port", "-1"}, {"--port", "x"}, {"--port", ""}, {"--port", "12kb"}, {"--port", "off"},
        {"--databases", "0"}, {"--databases", "257"}, {"--memory-limit", "10tb"},
        {"--memory-limit", "99999999999999999999999"}, {"--memory-limit", "18446744073709551615gb"},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_expect_eq(parse(wrong[i][0], wrong[i][1]), TORCD_OPTIONS_WRONG, "%s %s", wrong[i][0], wrong[i][1]);
        cr_expect_not_null(strstr(error, wrong[i][0] + 2));
    }
}

Test(options, refuse_unknown_flags_and_missing_values)
{
    cr_expect_eq(parse("--prot", "1"), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "unknown option '--prot'");
    cr_expect_eq(parse("port", "1"), TORCD_OPTIONS_WRONG);
    cr_expect_eq(parse("--", "1"), TORCD_OPTIONS_WRONG);
    cr_expect_eq(parse("--port", NULL), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "--port needs a value");
    cr_expect_eq(parse("--binding", "1"), TORCD_OPTIONS_WRONG);
}

Test(options, take_several_addresses)
{
    char arguments[2 * TORCD_BINDS_MAX + 3][16];
    char *pointers[2 * TORCD_BINDS_MAX + 3];

    for (unsigned i = 0; i < 2 * TORCD_BINDS_MAX + 3; i++) {
        (void)snprintf(arguments[i], sizeof arguments[i], "%s", i % 2 == 1 ? "--bind" : "127.0.0.1");
        pointers[i] = arguments[i];
    }
    torcd_options_init(&options);
    cr_expect_eq(torcd_options_parse(&options, 2 * TORCD_BINDS_MAX + 1, pointers, error, sizeof error),
                 TORCD_OPTIONS_RUN);
    cr_expect_eq(options.binds_count, TORCD_BINDS_MAX);
    torcd_options_init(&options);
    cr_expect_eq(torcd_options_parse(&options, 2 * TORCD_BINDS_MAX + 3, pointers, error, sizeof error),
                 TORCD_OPTIONS_WRONG);
}

Test(options, take_a_unix_socket_and_its_mode)
{
    char path[TORCD_SOCKET_PATH_MAX + 2];

    cr_expect_eq(parse("--unixsocket", "/tmp/torc.sock"), TORCD_OPTIONS_RUN);
    cr_expect_str_eq(options.unix_socket, "/tmp/torc.sock");
    cr_expect_eq(options.unix_socket_mode, 0u);
    cr_expect_eq(parse("--unixsocketperm=0660", NULL), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.unix_socket_mode, 0660u);
    cr_expect_eq(parse("--unixsocketperm", "777"), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.unix_socket_mode, 0777u);

    cr_expect_eq(parse("--unixsocket", ""), TORCD_OPTIONS_WRONG);
    memset(path, 'p', sizeof path);
    path[TORCD_SOCKET_PATH_MAX + 1] = '\0';
    cr_expect_eq(parse("--unixsocket", path), TORCD_OPTIONS_WRONG);
    path[TORCD_SOCKET_PATH_MAX] = '\0';
    cr_expect_eq(parse("--unixsocket", path), TORCD_OPTIONS_RUN);
    static const char *const wrong[] = {"", "0", "8", "1000", "00700", "u+w", "7 7"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_expect_eq(parse("--unixsocketperm", wrong[i]), TORCD_OPTIONS_WRONG, "%s", wrong[i]);
    cr_expect_str_eq(error, "--unixsocketperm must be an octal mode from 1 to 777");
}

Test(options, do_without_tcp_if_there_is_a_unix_socket)
{
    cr_expect_eq(parse("--no-tcp", NULL), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "--no-tcp leaves nothing to listen on without --unixsocket");
    cr_expect_eq(parse("--no-tcp", "--unixsocket=/tmp/torc.sock"), TORCD_OPTIONS_RUN);
    cr_expect(options.no_tcp);
    cr_expect_eq(parse("--no-tcp=1", "--unixsocket=/tmp/torc.sock"), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "unknown option '--no-tcp=1'");
}

Test(options, take_a_password)
{
    char password[TORCD_PASSWORD_MAX + 2] = "";

    cr_expect_eq(parse("--requirepass", "secret"), TORCD_OPTIONS_RUN);
    cr_expect_str_eq(options.password, "secret");
    cr_expect_eq(parse("--requirepass", ""), TORCD_OPTIONS_WRONG);
    memset(password, 'p', TORCD_PASSWORD_MAX + 1);
    cr_expect_eq(parse("--requirepass", password), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "--requirepass must be a password of 1 to 512 bytes");
    password[TORCD_PASSWORD_MAX] = '\0';
    cr_expect_eq(parse("--requirepass", password), TORCD_OPTIONS_RUN);
    cr_expect_eq(parse("--port", "1"), TORCD_OPTIONS_RUN);
    cr_expect_null(options.password);
}

Test(options, keep_everything_in_a_directory_unless_told_otherwise)
{
    cr_expect_eq(parse("--port", "1"), TORCD_OPTIONS_RUN);
    cr_expect_str_eq(options.directory, TORCD_DIRECTORY);
    cr_expect_eq(options.durability, TORC_DURABILITY_ASYNC);
    cr_expect_eq(options.values[TORCD_CHECKPOINT_BYTES], UINT64_C(256) << 20);
    cr_expect_eq(parse("--memory-only", NULL), TORCD_OPTIONS_RUN);
    cr_expect_null(options.directory);
    cr_expect_eq(parse("--memory-only=1", NULL), TORCD_OPTIONS_WRONG);
    cr_expect_eq(parse("--dir", "/tmp/x"), TORCD_OPTIONS_RUN);
    cr_expect_str_eq(options.directory, "/tmp/x");
    cr_expect_eq(parse("--dir", ""), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "--dir must be a path of 1 to 1023 bytes");
    cr_expect_eq(parse("--checkpoint-bytes", "0"), TORCD_OPTIONS_RUN);
    cr_expect_eq(parse("--checkpoint-bytes", "1gb"), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.values[TORCD_CHECKPOINT_BYTES], UINT64_C(1) << 30);
}

Test(options, take_a_directory_as_long_as_it_may_be)
{
    char path[TORCD_DIRECTORY_MAX + 2];

    memset(path, 'p', sizeof path);
    path[TORCD_DIRECTORY_MAX] = '\0';
    cr_expect_eq(parse("--dir", path), TORCD_OPTIONS_RUN);
    path[TORCD_DIRECTORY_MAX] = 'p';
    path[TORCD_DIRECTORY_MAX + 1] = '\0';
    cr_expect_eq(parse("--dir", path), TORCD_OPTIONS_WRONG);
}

Test(options, take_a_durability)
{
    cr_expect_eq(parse("--durability", "none"), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.durability, TORC_DURABILITY_NONE);
    cr_expect_eq(parse("--durability=async", NULL), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.durability, TORC_DURABILITY_ASYNC);
    cr_expect_eq(parse("--durability", "sync"), TORCD_OPTIONS_RUN);
    cr_expect_eq(options.durability, TORC_DURABILITY_SYNC);
    cr_expect_eq(parse("--durability", "always"), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "--durability must be none, async or sync");
    cr_expect_eq(parse("--durability", ""), TORCD_OPTIONS_WRONG);
}

Test(options, refuse_a_directory_for_what_is_in_memory_only)
{
    cr_expect_eq(parse("--memory-only", "--dir=/tmp/x"), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "--memory-only and --dir exclude each other");
    cr_expect_eq(parse("--durability=sync", "--memory-only"), TORCD_OPTIONS_WRONG);
    cr_expect_str_eq(error, "--memory-only and --durability exclude each other");
}

Test(options, know_help_and_version)
{
    cr_expect_eq(parse("--help", NULL), TORCD_OPTIONS_HELP);
    cr_expect_eq(parse("--version", NULL), TORCD_OPTIONS_VERSION);
}

Test(options, are_all_in_the_help)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    torcd_options_help(file);
    cr_assert_eq(fclose(file), 0);
    static const char *const others[] = {"bind ADDRESS", "no-tcp", "unixsocket PATH", "unixsocketperm MODE",
                                         "requirepass PASSWORD", "dir DIR", "durability MODE", "memory-only"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_expect_not_null(strstr(text, others[i]), "%s", others[i]);
    for (unsigned i = 0; i < TORCD_SETTINGS; i++) {
        char flag[64];
        (void)snprintf(flag, sizeof flag, "  --%s ", torcd_setting_info((enum torcd_setting)i)->flag);
        cr_expect_not_null(strstr(text, flag), "%s", flag);
    }
    free(text);
}

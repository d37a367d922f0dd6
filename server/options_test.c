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
    char name[] = "torcd", copies[2][64];
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
    for (unsigned i = 0; i < TORCD_SETTINGS; i++) {
        char flag[64];
        (void)snprintf(flag, sizeof flag, "  --%s ", torcd_setting_info((enum torcd_setting)i)->flag);
        cr_expect_not_null(strstr(text, flag), "%s", flag);
    }
    free(text);
}

/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <wchar.h>

#include <torc/mvcc.h>
#include <torc/torc.h>

#include "base/status.h"
#include "base/testing.h"

TestSuite(status, .timeout = 10);

static const enum torc_status every_status[] = {
    TORC_OK,
#define STATUS_VALUE(name, value, message) TORC_##name,
    TORC_STATUS_OUTCOMES(STATUS_VALUE) TORC_STATUS_FAULTS(STATUS_VALUE)
#undef STATUS_VALUE
};
enum { STATUSES = sizeof(every_status) / sizeof(every_status[0]) };

Test(status, gives_each_code_its_own_name_and_message)
{
    for (size_t i = 0; i < STATUSES; i++) {
        cr_expect_str_neq(torc_status_name(every_status[i]), "UNKNOWN");
        cr_expect_str_not_empty(torc_status_message(every_status[i]));
        for (size_t j = 0; j < i; j++) {
            cr_expect_str_neq(torc_status_name(every_status[i]), torc_status_name(every_status[j]));
            cr_expect_str_neq(torc_status_message(every_status[i]), torc_status_message(every_status[j]));
        }
    }
}

Test(status, knows_a_value_that_is_none_of_them)
{
    cr_expect_str_eq(torc_status_name((enum torc_status)63), "UNKNOWN");
    cr_expect_str_eq(torc_status_message((enum torc_status)63), "not a status of this library");
}

Test(status, keeps_the_numbers_of_the_abi)
{
    cr_expect_eq(TORC_OK, 0);
    cr_expect_eq(TORC_NOT_FOUND, 1);
    cr_expect_eq(TORC_CONFLICT, 2);
    cr_expect_eq(TORC_END, 6);
    cr_expect_eq(TORC_INVALID, 64);
    cr_expect_eq(TORC_NO_MEMORY, 67);
    cr_expect_eq(TORC_INDETERMINATE, 72);
}

Test(status, calls_exactly_three_codes_retryable)
{
    for (size_t i = 0; i < STATUSES; i++) {
        enum torc_status status = every_status[i];
        bool expected = status == TORC_CONFLICT || status == TORC_BUSY || status == TORC_EXPIRED;

        cr_expect_eq(torc_status_retryable(status), expected, "%s", torc_status_name(status));
        cr_expect_eq(torc_status_maybe_committed(status), status == TORC_INDETERMINATE);
    }
}

Test(status, tells_the_version_of_the_header)
{
    char expected[32];

    snprintf(expected, sizeof(expected), "%d.%d.%d", TORC_VERSION_MAJOR, TORC_VERSION_MINOR, TORC_VERSION_PATCH);
    cr_expect_str_eq(torc_version(), expected);
    cr_expect_str_eq(torc_version(), TORC_VERSION);
}

Test(status_detail, is_empty_before_the_first_failure)
{
    cr_expect_str_empty(torc_detail());
}

Test(status_detail, holds_the_last_line_and_passes_the_status_through)
{
    cr_expect_eq(torci_fail(TORC_INVALID, "first %d", 1), TORC_INVALID);
    cr_expect_str_eq(torc_detail(), "first 1");
    cr_expect_eq(torci_fail(TORC_BUSY, "second"), TORC_BUSY);
    cr_expect_str_eq(torc_detail(), "second");
}

Test(status_detail, is_cut_off_at_its_limit)
{
    char line[TORCI_DETAIL_SIZE_MAX + 100];

    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    cr_expect_eq(torci_fail(TORC_IO, "%s", line), TORC_IO);
    cr_expect_eq(strlen(torc_detail()), (size_t)TORCI_DETAIL_SIZE_MAX);
    cr_expect_eq(memcmp(torc_detail(), line, TORCI_DETAIL_SIZE_MAX), 0);
}

Test(status_detail, stays_one_line)
{
    cr_expect_eq(torci_fail(TORC_IO, "%s", "a\nb\tc\x7f" "d\xc3\xa9"), TORC_IO);
    cr_expect_str_eq(torc_detail(), "a b c d\xc3\xa9");
}

Test(status_detail, keeps_errno)
{
    errno = ENOSPC;
    cr_expect_eq(torci_fail(TORC_IO, "write"), TORC_IO);
    cr_expect_eq(errno, ENOSPC);
}

Test(status_detail, is_empty_and_keeps_errno_when_it_cannot_be_formatted)
{
    static const wchar_t no_character[] = {0x7fffffff, 0};      /* Formatting it fails with EILSEQ. */

    errno = ENOSPC;
    cr_expect_eq(torci_fail(TORC_IO, "%ls", no_character), TORC_IO);
    cr_expect_str_empty(torc_detail());
    cr_expect_eq(errno, ENOSPC);
}

static bool kept_apart[4];

static void
write_own_lines(void *context, unsigned number)
{
    char expected[32];

    (void)context;
    snprintf(expected, sizeof(expected), "thread %u", number);
    kept_apart[number] = torc_detail()[0] == '\0' && torc_conflict_key().size == 0;
    for (unsigned round = 0; round < 1000; round++) {
        if (torci_fail(TORC_BUSY, "thread %u", number) != TORC_BUSY)
            kept_apart[number] = false;
        torci_conflict_note(torc_slice(&number, sizeof(number)));
        if (strcmp(torc_detail(), expected) != 0 || memcmp(torc_conflict_key().data, &number, sizeof(number)) != 0)
            kept_apart[number] = false;
    }
}

Test(status_detail, belongs_to_one_thread)
{
    torct_race(4, write_own_lines, NULL);
    for (unsigned number = 0; number < 4; number++)
        cr_expect(kept_apart[number], "thread %u saw another one's line", number);
    cr_expect_str_empty(torc_detail());
}

Test(status_conflict, is_empty_before_the_first_conflict)
{
    cr_expect_eq(torc_conflict_key().size, 0u);
    cr_expect_null(torc_conflict_key().data);
}

Test(status_conflict, copies_the_key)
{
    char key[] = "apple";

    torci_conflict_note(torc_slice_from_string(key));
    key[0] = 'x';
    cr_expect_eq(torc_conflict_key().size, 5u);
    cr_expect_eq(memcmp(torc_conflict_key().data, "apple", 5), 0);
    torci_conflict_note(torc_slice(NULL, 0));
    cr_expect_eq(torc_conflict_key().size, 0u);
}

Test(status_conflict, keeps_the_beginning_of_a_long_key)
{
    unsigned char key[TORCI_CONFLICT_KEY_SIZE_MAX + 1];

    for (size_t size = TORCI_CONFLICT_KEY_SIZE_MAX - 1; size <= sizeof(key); size++) {
        for (size_t i = 0; i < size; i++)
            key[i] = (unsigned char)(i * 7 + size);
        torci_conflict_note(torc_slice(key, size));
        size_t kept = size < TORCI_CONFLICT_KEY_SIZE_MAX ? size : TORCI_CONFLICT_KEY_SIZE_MAX;
        cr_expect_eq(torc_conflict_key().size, kept);
        cr_expect_eq(memcmp(torc_conflict_key().data, key, kept), 0);
    }
}

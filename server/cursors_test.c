/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <torc/mvcc.h>

#include "cursors.h"

TestSuite(cursors, .timeout = 20);

static struct torcd_cursors *cursors;
static char key[TORC_KEY_SIZE_MAX];
static size_t size;

static void
create(void)
{
    cursors = torcd_cursors_create(8, 1000);
    cr_assert_not_null(cursors);
}

static void
destroy(void)
{
    torcd_cursors_destroy(cursors);
}

static uint64_t
put(uint64_t from, const char *text)
{
    return torcd_cursors_put(cursors, from, torc_slice_from_string(text));
}

Test(cursors, lend_a_number_to_a_key, .init = create, .fini = destroy)
{
    uint64_t cursor = put(0, "apple");

    cr_assert_neq(cursor, 0u);
    cr_assert(torcd_cursors_get(cursors, cursor, key, &size));
    cr_expect_eq(size, 5u);
    cr_expect_eq(memcmp(key, "apple", 5), 0);
    cr_expect(torcd_cursors_get(cursors, cursor, key, &size), "it can be asked for again");
}

Test(cursors, know_nothing_of_other_numbers, .init = create, .fini = destroy)
{
    uint64_t cursor = put(0, "apple");

    cr_expect_not(torcd_cursors_get(cursors, 0, key, &size));
    cr_expect_not(torcd_cursors_get(cursors, cursor + 1, key, &size));
    cr_expect_not(torcd_cursors_get(cursors, cursor + 8, key, &size), "another generation");
    cr_expect_not(torcd_cursors_get(cursors, UINT64_MAX, key, &size));
}

Test(cursors, keep_the_last_two_positions_of_a_scan, .init = create, .fini = destroy)
{
    uint64_t a = put(0, "a"), b = put(a, "b"), c = put(b, "c");

    cr_expect_not(torcd_cursors_get(cursors, a, key, &size));
    cr_expect(torcd_cursors_get(cursors, b, key, &size));
    cr_expect(torcd_cursors_get(cursors, c, key, &size));
}

Test(cursors, do_not_let_a_long_scan_displace_another, .init = create, .fini = destroy)
{
    uint64_t other = put(0, "other"), cursor = 0;

    for (int i = 0; i < 1000; i++)
        cursor = put(cursor, "step");
    cr_expect(torcd_cursors_get(cursors, other, key, &size));
    cr_expect(torcd_cursors_get(cursors, cursor, key, &size));
}

Test(cursors, give_up_the_scan_continued_longest_ago, .init = create, .fini = destroy)
{
    uint64_t scans[9];

    for (int i = 0; i < 8; i++)
        scans[i] = put(0, "scan");
    cr_expect(torcd_cursors_get(cursors, scans[0], key, &size));
    scans[8] = put(0, "scan");
    cr_expect(torcd_cursors_get(cursors, scans[0], key, &size), "it has just been asked for");
    cr_expect_not(torcd_cursors_get(cursors, scans[1], key, &size));
    cr_expect(torcd_cursors_get(cursors, scans[8], key, &size));
}

Test(cursors, bound_the_bytes_of_their_keys, .init = create, .fini = destroy)
{
    char big[600];
    uint64_t first, second;

    memset(big, 'k', sizeof big);
    first = torcd_cursors_put(cursors, 0, torc_slice(big, sizeof big));
    second = torcd_cursors_put(cursors, 0, torc_slice(big, sizeof big));
    cr_expect_not(torcd_cursors_get(cursors, first, key, &size));
    cr_expect(torcd_cursors_get(cursors, second, key, &size));
}

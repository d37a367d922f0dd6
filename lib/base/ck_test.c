/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/ck.h"

TestSuite(ck_backoff, .timeout = 10);

Test(ck_backoff, doubles_up_to_a_bound)
{
    struct torci_backoff backoff = torci_backoff_begin();
    unsigned last = backoff.turns;
    unsigned bound = 0;

    cr_expect_gt(last, 0u);
    for (unsigned pause = 0; pause < 100; pause++) {
        torci_backoff_pause(&backoff);
        if (backoff.turns != 2 * last) {
            bound = backoff.turns;
            break;
        }
        last = backoff.turns;
    }
    cr_expect_eq(bound, last, "the last pause repeats");
    for (unsigned pause = 0; pause < 10; pause++)
        torci_backoff_pause(&backoff);
    cr_expect_eq(backoff.turns, bound);
}

Test(ck_backoff, begins_anew_each_time)
{
    struct torci_backoff first = torci_backoff_begin();

    torci_backoff_pause(&first);
    cr_expect_lt(torci_backoff_begin().turns, first.turns);
}

/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/time.h"

TestSuite(time, .timeout = 10);

Test(time, never_goes_back)
{
    uint64_t last = torci_now_ns();

    for (unsigned i = 0; i < 10000; i++) {
        uint64_t now = torci_now_ns();

        cr_assert_geq(now, last);
        last = now;
    }
}

Test(time, coarse_clock_is_never_ahead)
{
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t coarse = torci_now_coarse_ns();

        cr_assert_leq(coarse, torci_now_ns());
    }
}

Test(time, sleeps_at_least_as_long_as_asked)
{
    uint64_t begin = torci_now_ns();

    torci_sleep_ns(0);
    torci_sleep_ns(2000000);
    cr_expect_geq(torci_now_ns() - begin, UINT64_C(2000000));
}

/* SPDX-License-Identifier: MIT */
/* base/assert: the proof that assertions are armed in a build that has them. */
#include <criterion/criterion.h>
#include <signal.h>

#include "base/assert.h"

TestSuite(assert, .timeout = 10);

static unsigned evaluations;

static bool
holds(bool answer)
{
    evaluations++;
    return answer;
}

Test(assert, passes_what_holds)
{
    torc_assert(holds(true));
#if defined(TORC_ASSERTIONS)
    cr_expect_eq(evaluations, 1u, "an armed check is evaluated once");
#else
    cr_expect_eq(evaluations, 0u, "a release check is not evaluated");
#endif
}

Test(assert, is_one_expression)
{
    if (evaluations == 0)
        torc_assert(holds(true));
    else
        cr_expect(false, "the branch above was not taken");
}

Test(assert, failure_ends_the_process, .signal = SIGABRT)
{
    torci_assert_failed("false", __FILE__, __LINE__);
}

#if defined(TORC_ASSERTIONS)
Test(assert, stops_at_what_does_not_hold, .signal = SIGABRT)
{
    torc_assert(holds(false));
}
#else
Test(assert, lets_release_go_on)
{
    torc_assert(holds(false));
    cr_expect_eq(evaluations, 0u);
}
#endif

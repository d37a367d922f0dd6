/* SPDX-License-Identifier: MIT */
/* base/assert: the end of a process whose own code is wrong. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void
torci_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: torc_assert(%s) does not hold\n", file, line, expression);
    abort();
}

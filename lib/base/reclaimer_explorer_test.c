/* SPDX-License-Identifier: MIT */
/* The programs of reclaimer_fiber_test.c under weak memory: the same suites, compiled for the explorer. */
#include "base/reclaimer_fiber_test.c"

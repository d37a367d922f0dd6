/* SPDX-License-Identifier: MIT */
/* The programs of limbo_fiber_test.c under weak memory: the same suites, compiled for the explorer. */
#include "base/limbo_fiber_test.c"

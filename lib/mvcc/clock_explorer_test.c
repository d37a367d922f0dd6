/* SPDX-License-Identifier: MIT */
/* The schedules of clock_fiber_test.c, fewer of them, with loads that return any coherent older store. */
#include "mvcc/clock_fiber_test.c"

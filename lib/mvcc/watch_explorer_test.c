/* SPDX-License-Identifier: MIT */
/* The schedules of watch_fiber_test.c, fewer of them, with loads that return any coherent older store. */
#include "mvcc/watch_fiber_test.c"

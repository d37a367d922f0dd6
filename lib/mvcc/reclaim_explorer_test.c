/* SPDX-License-Identifier: MIT */
/* The schedules of reclaim_fiber_test.c, fewer of them, with loads that return any coherent older store. */
#include "mvcc/reclaim_fiber_test.c"

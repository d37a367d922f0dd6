/* SPDX-License-Identifier: MIT */
/* The schedules of snapshot_fiber_test.c, fewer of them, with loads that return any coherent older store. */
#include "mvcc/snapshot_fiber_test.c"

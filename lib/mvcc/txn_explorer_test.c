/* SPDX-License-Identifier: MIT */
/* The schedules of txn_fiber_test.c, fewer of them, with loads that return any coherent older store. */
#include "mvcc/txn_fiber_test.c"

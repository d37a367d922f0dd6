/* SPDX-License-Identifier: MIT */
/* The schedules of version_fiber_test.c, fewer of them, with loads that return any coherent older store. */
#include "mvcc/version_fiber_test.c"

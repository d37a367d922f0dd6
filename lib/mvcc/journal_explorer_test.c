/* SPDX-License-Identifier: MIT */
/* The schedules of journal_fiber_test.c, fewer of them, with loads that return any coherent older store. */
#include "mvcc/journal_fiber_test.c"

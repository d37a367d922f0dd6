/* SPDX-License-Identifier: MIT */
/* The programs of slab_fiber_test.c under weak memory: the same suites, compiled for the explorer. */
#include "base/slab_fiber_test.c"

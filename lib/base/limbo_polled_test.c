/* SPDX-License-Identifier: MIT */
/* The tests of limbo_test.c with a reclaimer that callers drive. */
#define TORCT_LIMBO_POLLED
#include "base/limbo_test.c"

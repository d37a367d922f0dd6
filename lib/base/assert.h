/* SPDX-License-Identifier: MIT */
/* base/assert: programmer errors stop the process in every build but release (there the check is not evaluated).
 * Bytes from disk or network are never asserted on. */
#ifndef TORCI_ASSERT_H
#define TORCI_ASSERT_H

/* Say on standard error what did not hold and where, then abort(). */
_Noreturn void torci_assert_failed(const char *expression, const char *file, int line);

#if defined(TORC_ASSERTIONS)
#define torc_assert(expression) ((expression) ? (void)0 : torci_assert_failed(#expression, __FILE__, __LINE__))
#else
#define torc_assert(expression) ((void)sizeof(!(expression)))
#endif

#endif

/* SPDX-License-Identifier: MIT */
/* base/annotate: tells a race checker of an edge that it cannot see, because a library that is not instrumented makes
 * it. Used by the border files only (epoch, queue, ck). Nothing in builds without a checker.
 *
 *   torci_annotate_release(address)   what this thread did so far is passed on at `address`
 *   torci_annotate_acquire(address)   what was passed on at `address` is seen from here on */
#ifndef TORCI_ANNOTATE_H
#define TORCI_ANNOTATE_H

#if defined(__SANITIZE_THREAD__)
#define TORCI_THREAD_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TORCI_THREAD_CHECKED 1
#endif
#endif

/* AddressSanitizer has to know of stacks that are not a thread's (base/fiber.c). */
#if defined(__SANITIZE_ADDRESS__)
#define TORCI_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TORCI_ASAN 1
#endif
#endif

#if defined(TORCI_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/* ThreadSanitizer proper; the explorer build is instrumented alike, but answered by base/explorer.c. */
#if defined(TORCI_THREAD_CHECKED) && !defined(TORC_ATOMIC_EXPLORER)
#define TORCI_TSAN 1
#endif

/* A function that works on thread-local data: fibers share their thread's, which is not what the explorer looks for. */
#if defined(TORC_ATOMIC_EXPLORER) && defined(TORCI_THREAD_CHECKED)
#define TORCI_THREAD_LOCAL_ONLY __attribute__((no_sanitize("thread")))
#else
#define TORCI_THREAD_LOCAL_ONLY
#endif

#if defined(TORCI_THREAD_CHECKED)
#include <sanitizer/tsan_interface.h>
#define torci_annotate_release(address) __tsan_release(address)
#define torci_annotate_acquire(address) __tsan_acquire(address)
#else
#define torci_annotate_release(address) ((void)(address))
#define torci_annotate_acquire(address) ((void)(address))
#endif

#endif

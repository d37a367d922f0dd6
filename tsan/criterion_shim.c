/* SPDX-License-Identifier: MIT */
/* tsan/criterion_shim: lets Criterion 2.4.1 start under ThreadSanitizer.
 *
 * Criterion runs each test in a process of its own and hands it its state in an arena, which it maps at a random
 * address in 0x2000_0000_0000 .. 0x6000_0000_0000. ThreadSanitizer reserves that range, so the mapping fails and the
 * program stops before its first test. These three functions stand before libc's and the sanitizer's: they let the
 * arena's search find its range free, and then move the mapping into the range that the sanitizer leaves to programs,
 * keeping the random bits. Parent and child compute the same address, so pointers into the arena stay valid.
 *
 * Linked into every Criterion program; empty in any other build. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

#ifdef UNDER_TSAN

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RESERVED_FROM 0x200000000000ul
#define RESERVED_TO 0x7e8000000000ul
#define ARENA_BASE 0x7e9000000000ul     /* Room for 2^12 arenas, 2^24 bytes apart. */
#define ARENA_SHIFT 24
#define ARENA_CHOICES 0xffful

void *__interceptor_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset);

static bool
is_reserved(const void *address)
{
    return (uintptr_t)address >= RESERVED_FROM && (uintptr_t)address < RESERVED_TO;
}

/* "Nothing is mapped there" is what the arena's search wants to hear. */
int
mincore(void *address, size_t size, unsigned char *pages)
{
    if (is_reserved(address)) {
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_mincore, address, size, pages);
}

int
msync(void *address, size_t size, int flags)
{
    if (is_reserved(address)) {
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_msync, address, size, flags);
}

void *
mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (is_reserved(address) && (flags & MAP_FIXED) != 0 && (flags & MAP_SHARED) != 0)
        address = (void *)(ARENA_BASE + ((((uintptr_t)address >> ARENA_SHIFT) & ARENA_CHOICES) << ARENA_SHIFT));
    return __interceptor_mmap(address, size, protection, flags, fd, offset);
}

#else

extern const int torct_no_shim_needed;
const int torct_no_shim_needed = 1;

#endif

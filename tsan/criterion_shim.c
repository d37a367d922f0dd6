/* SPDX-License-Identifier: MIT */
/* tsan/criterion_shim: lets Criterion 2.4.1 start under ThreadSanitizer.
 *
 * Criterion runs each test in a process of its own and hands it its state in an arena, which it maps at a random
 * address in 0x2000_0000_0000 .. 0x6000_0000_0000. ThreadSanitizer reserves that range, so the mapping fails and the
 * program stops before its first test. These three functions stand before libc's and the sanitizer's: they let the
 * arena's search find its range free, and then move the mapping into the range that the sanitizer leaves to programs,
 * to a place that is free: a run has several arenas, and two at one place would take each other away. The child maps
 * the address that the parent got, which is not moved again, so pointers into the arena stay valid.
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
#define ARENA_BASE 0x7e8000000000ul     /* Below what address randomization gives to libraries and stacks. */
#define ARENA_SHIFT 26                  /* Bytes from place to place, more than an arena grows to. */
#define ARENA_PLACES 0x1c00ul

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

/* Map an arena at the first free place from the one that its random address falls on. */
static void *
map_arena(uintptr_t wanted, size_t size, int protection, int flags, int fd, off_t offset)
{
    flags = (flags & ~MAP_FIXED) | MAP_FIXED_NOREPLACE;
    for (uintptr_t try = 0; try < ARENA_PLACES; try++) {
        uintptr_t place = ((wanted >> ARENA_SHIFT) + try) % ARENA_PLACES;
        void *address = (void *)(ARENA_BASE + (place << ARENA_SHIFT));
        void *mapped = __interceptor_mmap(address, size, protection, flags, fd, offset);

        if (mapped != MAP_FAILED || errno != EEXIST)
            return mapped;
    }
    return MAP_FAILED;
}

void *
mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (is_reserved(address) && (flags & MAP_FIXED) != 0 && (flags & MAP_SHARED) != 0)
        return map_arena((uintptr_t)address, size, protection, flags, fd, offset);
    return __interceptor_mmap(address, size, protection, flags, fd, offset);
}

#else

extern const int torct_no_shim_needed;
const int torct_no_shim_needed = 1;

#endif

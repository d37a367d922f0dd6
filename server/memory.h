/* SPDX-License-Identifier: MIT */
/* server/memory.h: checked allocation and a growable byte buffer.
 *
 * Every size that reaches this file may have been chosen by a client, so a refusal is an answer, never an abort:
 * torcd_resize() returns NULL, and a buffer that cannot grow remembers why in `fault` and swallows what follows.
 * The caller looks at `fault` once, where the reply is complete, and turns it into an error or a closed connection. */
#ifndef TORCD_MEMORY_H
#define TORCD_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* `old` (NULL for none) with `size` > 0 bytes, or NULL: then `old` is as it was. */
void *torcd_resize(void *old, size_t size);

/* Zeroed memory for `count` objects of `size` bytes, or NULL (also when the product does not fit). */
void *torcd_allocate(size_t count, size_t size);

/* NULL is accepted. */
void torcd_release(void *memory);

#ifdef TORC_FAULTS
/* Let the calling thread's n-th allocation from now on fail (1: the next one), and all after it. 0: none fails. */
void torcd_memory_fail_at(unsigned long nth);
#endif

enum torcd_fault {
    TORCD_FAULT_NONE = 0,
    TORCD_FAULT_LIMIT,      /* The next byte would be past `limit`. */
    TORCD_FAULT_MEMORY      /* There was no memory. */
};

/* Bytes that grow. All zero is an empty buffer without a limit. Invariant: size <= capacity, and data is NULL only
 * if capacity is 0. */
struct torcd_buffer {
    char *data;
    size_t size;
    size_t capacity;
    size_t limit;               /* 0: none. */
    enum torcd_fault fault;     /* Sticky until torcd_buffer_truncate(). */
};

/* Make room for `extra` bytes after `size`. False, with `fault` set, if that cannot be. Amortized O(1) per byte. */
bool torcd_buffer_reserve(struct torcd_buffer *buffer, size_t extra);

/* Append, or set `fault` and leave the buffer as it was. Does nothing once `fault` is set. */
void torcd_buffer_append(struct torcd_buffer *buffer, const void *bytes, size_t size);

/* Append formatted text. */
void torcd_buffer_format(struct torcd_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Forget all bytes after the first `size`, and the fault. */
void torcd_buffer_truncate(struct torcd_buffer *buffer, size_t size);

/* Give the memory back; the limit stays. */
void torcd_buffer_fini(struct torcd_buffer *buffer);

#endif

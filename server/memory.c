/* SPDX-License-Identifier: MIT */
/* server/memory.c: checked allocation and a growable byte buffer.
 *
 * Invariants  I1  size <= capacity;  I2  with a limit, size <= limit;  I3  a failed call changes nothing but `fault`.
 * Growth is by doubling, so that bytes arriving one at a time cost O(n) in all. */
#include "memory.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first allocation of a buffer: holds the replies of a small pipeline. */
#define BUFFER_SIZE_MIN 1024u

#ifdef TORC_FAULTS
static _Thread_local unsigned long fail_at;

void
torcd_memory_fail_at(unsigned long nth)
{
    fail_at = nth;
}

/* Counts down to 1 and stays there: from the n-th allocation on, all fail. */
static bool
must_fail(void)
{
    if (fail_at > 1)
        fail_at--;
    else if (fail_at == 1)
        return true;
    return false;
}
#else
static bool
must_fail(void)
{
    return false;
}
#endif

void *
torcd_resize(void *old, size_t size)
{
    assert(size > 0);
    if (must_fail())
        return NULL;
    return realloc(old, size);
}

void *
torcd_allocate(size_t count, size_t size)
{
    assert(size > 0);
    if (must_fail())
        return NULL;
    return calloc(count == 0 ? 1 : count, size);
}

void
torcd_release(void *memory)
{
    free(memory);
}

/* The capacity to grow to: at least `needed`, doubled where the limit lets it. */
static size_t
grown_capacity(const struct torcd_buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity < BUFFER_SIZE_MIN ? BUFFER_SIZE_MIN : buffer->capacity;

    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    if (buffer->limit != 0 && capacity > buffer->limit)
        capacity = buffer->limit;
    return capacity < needed ? needed : capacity;
}

static bool
refuse(struct torcd_buffer *buffer, enum torcd_fault fault)
{
    buffer->fault = fault;
    return false;
}

bool
torcd_buffer_reserve(struct torcd_buffer *buffer, size_t extra)
{
    assert(buffer->size <= buffer->capacity);
    if (buffer->fault != TORCD_FAULT_NONE)
        return false;
    if (extra > SIZE_MAX - buffer->size)
        return refuse(buffer, TORCD_FAULT_MEMORY);
    if (buffer->limit != 0 && buffer->size + extra > buffer->limit)
        return refuse(buffer, TORCD_FAULT_LIMIT);
    if (extra <= buffer->capacity - buffer->size)
        return true;

    size_t capacity = grown_capacity(buffer, buffer->size + extra);
    char *data = torcd_resize(buffer->data, capacity);
    if (data == NULL)
        return refuse(buffer, TORCD_FAULT_MEMORY);
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void
torcd_buffer_append(struct torcd_buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0 || !torcd_buffer_reserve(buffer, size))
        return;
    memcpy(buffer->data + buffer->size, bytes, size);
    buffer->size += size;
}

void
torcd_buffer_format(struct torcd_buffer *buffer, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if ((size_t)length < sizeof text) {
        torcd_buffer_append(buffer, text, (size_t)length);
        return;
    }
    if (!torcd_buffer_reserve(buffer, (size_t)length + 1))
        return;
    va_start(arguments, format);
    (void)vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)length;
}

void
torcd_buffer_truncate(struct torcd_buffer *buffer, size_t size)
{
    assert(size <= buffer->size);
    buffer->size = size;
    buffer->fault = TORCD_FAULT_NONE;
}

void
torcd_buffer_fini(struct torcd_buffer *buffer)
{
    torcd_release(buffer->data);
    buffer->data = NULL;
    buffer->size = 0;
    buffer->capacity = 0;
    buffer->fault = TORCD_FAULT_NONE;
}

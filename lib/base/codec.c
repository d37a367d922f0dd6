/* SPDX-License-Identifier: MIT */
/* base/codec: decoders that trust nothing. They set no detail line: the caller knows which field of what it read. */
#include "base/codec.h"

#include "base/assert.h"

enum {
    GROUP_BITS = 7,
    GROUP_MASK = 0x7f,
    MORE = 0x80,
};

enum torc_status
torci_bytes_take(struct torc_slice *input, uint64_t size, struct torc_slice *bytes)
{
    torc_assert(input->data != NULL || input->size == 0);

    *bytes = torc_slice(NULL, 0);
    if (size > input->size)
        return TORC_CORRUPT;
    if (size == 0)
        return TORC_OK;

    *bytes = torc_slice(input->data, (size_t)size);
    *input = torc_slice((const unsigned char *)input->data + size, input->size - (size_t)size);
    return TORC_OK;
}

enum torc_status
torci_fixed16_take(struct torc_slice *input, uint16_t *value)
{
    struct torc_slice bytes;
    enum torc_status status = torci_bytes_take(input, sizeof(*value), &bytes);

    *value = status == TORC_OK ? torci_fixed16_get(bytes.data) : 0;
    return status;
}

enum torc_status
torci_fixed32_take(struct torc_slice *input, uint32_t *value)
{
    struct torc_slice bytes;
    enum torc_status status = torci_bytes_take(input, sizeof(*value), &bytes);

    *value = status == TORC_OK ? torci_fixed32_get(bytes.data) : 0;
    return status;
}

enum torc_status
torci_fixed64_take(struct torc_slice *input, uint64_t *value)
{
    struct torc_slice bytes;
    enum torc_status status = torci_bytes_take(input, sizeof(*value), &bytes);

    *value = status == TORC_OK ? torci_fixed64_get(bytes.data) : 0;
    return status;
}

size_t
torci_varint_size(uint64_t value)
{
    size_t size = 1;

    for (value >>= GROUP_BITS; value != 0; value >>= GROUP_BITS)
        size++;
    torc_assert(size <= TORCI_VARINT64_SIZE_MAX);
    return size;
}

size_t
torci_varint32_put(unsigned char *out, uint32_t value)
{
    return torci_varint64_put(out, value);
}

size_t
torci_varint64_put(unsigned char *out, uint64_t value)
{
    size_t size = 0;

    for (; value > GROUP_MASK; value >>= GROUP_BITS)
        out[size++] = (unsigned char)(value & GROUP_MASK) | MORE;
    out[size++] = (unsigned char)value;
    torc_assert(size <= TORCI_VARINT64_SIZE_MAX);
    return size;
}

enum torc_status
torci_varint32_take(struct torc_slice *input, uint32_t *value)
{
    struct torc_slice rest = *input;
    uint64_t wide;
    enum torc_status status = torci_varint64_take(&rest, &wide);

    *value = 0;
    if (status != TORC_OK)
        return status;
    if (wide > UINT32_MAX)
        return TORC_CORRUPT;
    *value = (uint32_t)wide;
    *input = rest;
    return TORC_OK;
}

enum torc_status
torci_varint64_take(struct torc_slice *input, uint64_t *value)
{
    const unsigned char *in = input->data;
    uint64_t result = 0;

    torc_assert(in != NULL || input->size == 0);
    *value = 0;
    for (size_t at = 0; at < input->size && at < TORCI_VARINT64_SIZE_MAX; at++) {
        uint64_t group = in[at] & GROUP_MASK;
        unsigned shift = GROUP_BITS * (unsigned)at;

        if (at == TORCI_VARINT64_SIZE_MAX - 1 && group > 1)
            return TORC_CORRUPT;        /* Bits past the 64th. */
        result |= group << shift;
        if ((in[at] & MORE) != 0)
            continue;
        if (at > 0 && group == 0)
            return TORC_CORRUPT;        /* The group before could have been the last. */
        *value = result;
        *input = torc_slice(in + at + 1, input->size - at - 1);
        return TORC_OK;
    }
    return TORC_CORRUPT;                /* Cut off, or more than ten bytes. */
}

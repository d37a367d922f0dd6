/* SPDX-License-Identifier: MIT */
/* base/codec: integers as bytes, the same on every machine.
 *
 *   fixed    little-endian, 2, 4 or 8 bytes, at any address
 *   varint   groups of 7 bits, least first; a set high bit says that more follow. Only the shortest form is valid, so
 *            that equal numbers are equal bytes.
 *
 * put writes to memory that the caller has made large enough. take reads from the front of a slice and moves it on; it
 * never reads past the end, and on TORC_CORRUPT the slice is unchanged and the value 0. */
#ifndef TORCI_CODEC_H
#define TORCI_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

enum {
    TORCI_VARINT32_SIZE_MAX = 5,
    TORCI_VARINT64_SIZE_MAX = 10,
};

static inline void
torci_fixed16_put(unsigned char *out, uint16_t value)
{
    out[0] = (unsigned char)(value & 0xff);
    out[1] = (unsigned char)(value >> 8);
}

static inline void
torci_fixed32_put(unsigned char *out, uint32_t value)
{
    torci_fixed16_put(out, (uint16_t)(value & 0xffff));
    torci_fixed16_put(out + 2, (uint16_t)(value >> 16));
}

static inline void
torci_fixed64_put(unsigned char *out, uint64_t value)
{
    torci_fixed32_put(out, (uint32_t)(value & 0xffffffff));
    torci_fixed32_put(out + 4, (uint32_t)(value >> 32));
}

static inline uint16_t
torci_fixed16_get(const unsigned char *in)
{
    return (uint16_t)(in[0] | in[1] << 8);
}

static inline uint32_t
torci_fixed32_get(const unsigned char *in)
{
    return torci_fixed16_get(in) | (uint32_t)torci_fixed16_get(in + 2) << 16;
}

static inline uint64_t
torci_fixed64_get(const unsigned char *in)
{
    return torci_fixed32_get(in) | (uint64_t)torci_fixed32_get(in + 4) << 32;
}

TORC_MUST_CHECK enum torc_status torci_fixed16_take(struct torc_slice *input, uint16_t *value);
TORC_MUST_CHECK enum torc_status torci_fixed32_take(struct torc_slice *input, uint32_t *value);
TORC_MUST_CHECK enum torc_status torci_fixed64_take(struct torc_slice *input, uint64_t *value);

/* How many bytes torci_varint64_put() writes: 1 to TORCI_VARINT64_SIZE_MAX. */
size_t torci_varint_size(uint64_t value);

/* Write `value`; the bytes written. */
size_t torci_varint32_put(unsigned char *out, uint32_t value);
size_t torci_varint64_put(unsigned char *out, uint64_t value);

/* TORC_CORRUPT: cut off, longer than need be, or too large for the type. */
TORC_MUST_CHECK enum torc_status torci_varint32_take(struct torc_slice *input, uint32_t *value);
TORC_MUST_CHECK enum torc_status torci_varint64_take(struct torc_slice *input, uint64_t *value);

/* `size` raw bytes, borrowed from the input. */
TORC_MUST_CHECK enum torc_status torci_bytes_take(struct torc_slice *input, uint64_t size, struct torc_slice *bytes);

#endif

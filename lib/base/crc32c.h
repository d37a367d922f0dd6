/* SPDX-License-Identifier: MIT */
/* base/crc32c: the checksum of everything on disk: CRC-32 with Castagnoli's polynomial, reflected, inverted before and
 * after, as iSCSI has it ("123456789" gives 0xe3069283). Found by the processor's instruction where there is one, else
 * by tables; the same number either way.
 *
 * A checksum that is stored among bytes which have a checksum themselves is masked: the checksum of bytes that end in
 * their own checksum is the same for all bytes, and so would vouch for nothing.
 *
 * Threads    Any number at once.
 * Papers     Castagnoli, Braeuer, Herrmann: Optimization of cyclic redundancy-check codes (1993).
 *            Kounavis, Berry: A systematic approach to building high performance software-based CRC
 *            generators (2005). */
#ifndef TORCI_CRC32C_H
#define TORCI_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of bytes whose first part has the checksum `crc_so_far` (0: there is none) and whose rest is `data`. */
uint32_t torci_crc32c(uint32_t crc_so_far, const void *data, size_t size);

/* As torci_crc32c(), by tables on every machine: what tests hold the instruction against. */
uint32_t torci_crc32c_portable(uint32_t crc_so_far, const void *data, size_t size);

enum { TORCI_CRC32C_ROTATION = 15 };
#define TORCI_CRC32C_ADDEND UINT32_C(0xa282ead8)

/* What is stored for `crc`, and back. */
static inline uint32_t
torci_crc32c_mask(uint32_t crc)
{
    return (crc >> TORCI_CRC32C_ROTATION | crc << (32 - TORCI_CRC32C_ROTATION)) + TORCI_CRC32C_ADDEND;
}

static inline uint32_t
torci_crc32c_unmask(uint32_t masked)
{
    uint32_t rotated = masked - TORCI_CRC32C_ADDEND;

    return rotated << TORCI_CRC32C_ROTATION | rotated >> (32 - TORCI_CRC32C_ROTATION);
}

#endif

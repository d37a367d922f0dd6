/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/codec.h"
#include "base/testing.h"

TestSuite(codec, .timeout = 10);

/* Every power of two and its neighbours: all places where a size or a byte changes. */
enum { BOUNDARIES = 64 * 3 };

static void
boundaries(uint64_t values[BOUNDARIES])
{
    for (unsigned bit = 0; bit < 64; bit++)
        for (unsigned step = 0; step < 3; step++)
            values[bit * 3 + step] = (UINT64_C(1) << bit) + step - 1;
}

/* Decoding a copy of exactly `size` bytes lets a sanitizer see a read past the end. */
static enum torc_status
take_varint64(const unsigned char *bytes, size_t size, uint64_t *value, size_t *left)
{
    unsigned char *copy = malloc(size + (size == 0));
    struct torc_slice input = torc_slice(copy, size);

    memcpy(copy, bytes, size);
    enum torc_status status = torci_varint64_take(&input, value);
    *left = input.size;
    free(copy);
    return status;
}

Test(codec, writes_fixed_integers_little_endian)
{
    unsigned char out[8];

    torci_fixed16_put(out, 0x0102);
    cr_expect_eq(memcmp(out, "\x02\x01", 2), 0);
    torci_fixed32_put(out, 0x01020304);
    cr_expect_eq(memcmp(out, "\x04\x03\x02\x01", 4), 0);
    torci_fixed64_put(out, UINT64_C(0x0102030405060708));
    cr_expect_eq(memcmp(out, "\x08\x07\x06\x05\x04\x03\x02\x01", 8), 0);
}

Test(codec, returns_every_fixed_boundary)
{
    uint64_t values[BOUNDARIES];
    unsigned char out[9];

    boundaries(values);
    for (unsigned i = 0; i < BOUNDARIES; i++) {
        for (unsigned shift = 0; shift < 2; shift++) {      /* At an odd address, too. */
            torci_fixed16_put(out + shift, (uint16_t)values[i]);
            cr_expect_eq(torci_fixed16_get(out + shift), (uint16_t)values[i]);
            torci_fixed32_put(out + shift, (uint32_t)values[i]);
            cr_expect_eq(torci_fixed32_get(out + shift), (uint32_t)values[i]);
            torci_fixed64_put(out + shift, values[i]);
            cr_expect_eq(torci_fixed64_get(out + shift), values[i]);
        }
    }
}

Test(codec, takes_fixed_integers_in_turn)
{
    unsigned char bytes[14];
    struct torc_slice input = torc_slice(bytes, sizeof(bytes));
    uint16_t small = 0;
    uint32_t medium = 0;
    uint64_t large = 0;

    torci_fixed16_put(bytes, 0xa1b2);
    torci_fixed32_put(bytes + 2, 0xc3d4e5f6);
    torci_fixed64_put(bytes + 6, UINT64_C(0x123456789abcdef0));
    cr_expect_eq(torci_fixed16_take(&input, &small), TORC_OK);
    cr_expect_eq(torci_fixed32_take(&input, &medium), TORC_OK);
    cr_expect_eq(torci_fixed64_take(&input, &large), TORC_OK);
    cr_expect_eq(small, 0xa1b2);
    cr_expect_eq(medium, 0xc3d4e5f6);
    cr_expect_eq(large, UINT64_C(0x123456789abcdef0));
    cr_expect_eq(input.size, 0u);
}

Test(codec, refuses_every_truncated_fixed_integer)
{
    unsigned char bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    for (size_t size = 0; size < 8; size++) {
        struct torc_slice input = torc_slice(size > 0 ? bytes : NULL, size);
        uint16_t small = 9;
        uint32_t medium = 9;
        uint64_t large = 9;

        cr_expect_eq(torci_fixed64_take(&input, &large), TORC_CORRUPT);
        cr_expect_eq(large, 0u);
        if (size < 4) {
            cr_expect_eq(torci_fixed32_take(&input, &medium), TORC_CORRUPT);
            cr_expect_eq(medium, 0u);
        }
        if (size < 2) {
            cr_expect_eq(torci_fixed16_take(&input, &small), TORC_CORRUPT);
            cr_expect_eq(small, 0u);
        }
        cr_expect_eq(input.size, size, "a refused input is unchanged");
    }
}

Test(codec, takes_bytes_and_no_more_than_there_are)
{
    struct torc_slice input = torc_slice_from_string("abcdef");
    struct torc_slice bytes;

    cr_expect_eq(torci_bytes_take(&input, 7, &bytes), TORC_CORRUPT);
    cr_expect_eq(torci_bytes_take(&input, UINT64_MAX, &bytes), TORC_CORRUPT);
    cr_expect_null(bytes.data);
    cr_expect_eq(input.size, 6u);
    cr_expect_eq(torci_bytes_take(&input, 2, &bytes), TORC_OK);
    cr_expect_eq(memcmp(bytes.data, "ab", 2), 0);
    cr_expect_eq(torci_bytes_take(&input, 0, &bytes), TORC_OK);
    cr_expect_eq(bytes.size, 0u);
    cr_expect_eq(torci_bytes_take(&input, 4, &bytes), TORC_OK);
    cr_expect_eq(memcmp(bytes.data, "cdef", 4), 0);
    cr_expect_eq(torci_bytes_take(&input, 1, &bytes), TORC_CORRUPT);
    cr_expect_eq(torci_bytes_take(&input, 0, &bytes), TORC_OK);
}

Test(codec_varint, keeps_its_bytes_from_version_to_version)
{
    unsigned char out[TORCI_VARINT64_SIZE_MAX];

    cr_expect_eq(torci_varint64_put(out, 0), 1u);
    cr_expect_eq(out[0], 0);
    cr_expect_eq(torci_varint64_put(out, 300), 2u);
    cr_expect_eq(memcmp(out, "\xac\x02", 2), 0);
    cr_expect_eq(torci_varint32_put(out, UINT32_MAX), 5u);
    cr_expect_eq(memcmp(out, "\xff\xff\xff\xff\x0f", 5), 0);
    cr_expect_eq(torci_varint64_put(out, UINT64_MAX), 10u);
    cr_expect_eq(memcmp(out, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), 0);
}

Test(codec_varint, returns_every_boundary_and_refuses_its_truncations)
{
    uint64_t values[BOUNDARIES];

    boundaries(values);
    for (unsigned i = 0; i < BOUNDARIES; i++) {
        unsigned char out[TORCI_VARINT64_SIZE_MAX + 1];
        size_t size = torci_varint64_put(out, values[i]);
        uint64_t value = 0;
        size_t left;

        out[size] = 0xff;   /* What follows is not its business. */
        cr_expect_eq(torci_varint_size(values[i]), size);
        cr_expect_eq(take_varint64(out, size + 1, &value, &left), TORC_OK);
        cr_expect_eq(value, values[i]);
        cr_expect_eq(left, 1u);
        for (size_t cut = 0; cut < size; cut++) {
            value = 9;
            cr_expect_eq(take_varint64(out, cut, &value, &left), TORC_CORRUPT);
            cr_expect_eq(value, 0u);
            cr_expect_eq(left, cut);
        }
    }
}

Test(codec_varint, fits_thirty_two_bits_or_is_refused)
{
    uint64_t values[BOUNDARIES];

    boundaries(values);
    for (unsigned i = 0; i < BOUNDARIES; i++) {
        unsigned char out[TORCI_VARINT64_SIZE_MAX];
        struct torc_slice input = torc_slice(out, torci_varint64_put(out, values[i]));
        size_t size = input.size;
        uint32_t value = 9;
        enum torc_status status = torci_varint32_take(&input, &value);

        cr_expect_eq(status, values[i] <= UINT32_MAX ? TORC_OK : TORC_CORRUPT);
        cr_expect_eq(value, status == TORC_OK ? (uint32_t)values[i] : 0u);
        cr_expect_eq(input.size, status == TORC_OK ? 0u : size);
    }
}

Test(codec_varint, refuses_longer_forms_than_needed)
{
    static const char *const overlong[] = {"\x80\x00", "\xff\x00", "\x80\x80\x00", "\x81\x80\x80\x80\x00"};
    static const size_t sizes[] = {2, 2, 3, 5};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t value = 9;
        size_t left;

        cr_expect_eq(take_varint64((const unsigned char *)overlong[i], sizes[i], &value, &left), TORC_CORRUPT);
        cr_expect_eq(value, 0u);
        cr_expect_eq(left, sizes[i]);
    }
}

Test(codec_varint, refuses_what_exceeds_sixty_four_bits)
{
    unsigned char bytes[12];
    uint64_t value;
    size_t left;

    memset(bytes, 0xff, sizeof(bytes));
    for (unsigned last = 0; last < 256; last++) {
        bytes[9] = (unsigned char)last;
        cr_expect_eq(take_varint64(bytes, 10, &value, &left), last == 1 ? TORC_OK : TORC_CORRUPT, "%u", last);
    }
    memset(bytes, 0x80, sizeof(bytes));
    cr_expect_eq(take_varint64(bytes, sizeof(bytes), &value, &left), TORC_CORRUPT);
}

/* Whatever is accepted must be the one encoding of its value. */
Test(codec_varint, accepts_one_form_per_value)
{
    struct torci_random random = torci_random_seed(torct_seed());

    for (unsigned round = 0; round < 100000; round++) {
        unsigned char bytes[TORCI_VARINT64_SIZE_MAX + 2];
        unsigned char again[TORCI_VARINT64_SIZE_MAX];
        size_t size = torci_random_below(&random, sizeof(bytes) + 1);
        struct torc_slice input = torc_slice(bytes, size);
        uint64_t value;

        torct_random_bytes(&random, bytes, sizeof(bytes));
        for (size_t i = 0; i < size; i++)
            if (torci_random_one_in(&random, 2))
                bytes[i] |= 0x80;
        if (torci_varint64_take(&input, &value) != TORC_OK)
            continue;
        cr_assert_eq(torci_varint64_put(again, value), size - input.size);
        cr_assert_eq(memcmp(again, bytes, size - input.size), 0);
    }
}

/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/crc32c.h"
#include "base/testing.h"

TestSuite(crc32c, .timeout = 20);

/* The definition, bit by bit. */
static uint32_t
by_bits(uint32_t crc, const unsigned char *data, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

static void
expect(uint32_t crc, const void *data, size_t size)
{
    cr_expect_eq(torci_crc32c(0, data, size), crc);
    cr_expect_eq(torci_crc32c_portable(0, data, size), crc);
}

Test(crc32c, gives_the_numbers_of_the_standard)
{
    unsigned char bytes[32];

    expect(0, NULL, 0);
    expect(UINT32_C(0xe3069283), "123456789", 9);
    expect(UINT32_C(0xc1d04330), "a", 1);
    memset(bytes, 0, sizeof(bytes));
    expect(UINT32_C(0x8a9136aa), bytes, sizeof(bytes));
    memset(bytes, 0xff, sizeof(bytes));
    expect(UINT32_C(0x62a8ab43), bytes, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    expect(UINT32_C(0x46dd794e), bytes, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(31 - i);
    expect(UINT32_C(0x113fdb5c), bytes, sizeof(bytes));
}

Test(crc32c, is_the_same_by_every_way_for_every_size_and_place)
{
    enum { SIZE = 4 * 1536 + 64 };
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned char *bytes = malloc(SIZE);

    torct_random_bytes(&random, bytes, SIZE);
    for (size_t size = 0; size <= SIZE - 8; size += 1 + (size > 100) * torci_random_below(&random, 40)) {
        size_t place = torci_random_below(&random, 8);
        uint32_t so_far = (uint32_t)torci_random_next(&random);
        uint32_t crc = by_bits(so_far, bytes + place, size);

        cr_assert_eq(torci_crc32c(so_far, bytes + place, size), crc, "%zu bytes at %zu", size, place);
        cr_assert_eq(torci_crc32c_portable(so_far, bytes + place, size), crc, "%zu bytes at %zu", size, place);
    }
    free(bytes);
}

Test(crc32c, goes_on_where_it_stopped)
{
    enum { SIZE = 5000, ROUNDS = 200 };
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned char *bytes = malloc(SIZE);

    torct_random_bytes(&random, bytes, SIZE);
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t cut = torci_random_below(&random, SIZE + 1);

        cr_assert_eq(torci_crc32c(torci_crc32c(0, bytes, cut), bytes + cut, SIZE - cut), torci_crc32c(0, bytes, SIZE));
    }
    free(bytes);
}

Test(crc32c, sees_every_single_bit)
{
    unsigned char bytes[64] = {0};
    uint32_t crc = torci_crc32c(0, bytes, sizeof(bytes));

    for (unsigned bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        cr_assert_neq(torci_crc32c(0, bytes, sizeof(bytes)), crc);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}

Test(crc32c, is_another_when_masked_and_comes_back)
{
    struct torci_random random = torci_random_seed(torct_seed());

    cr_expect_eq(torci_crc32c_mask(0), UINT32_C(0xa282ead8));
    cr_expect_eq(torci_crc32c_mask(UINT32_C(0x00008000)), UINT32_C(0xa282ead9));
    for (unsigned round = 0; round < 1000; round++) {
        uint32_t crc = (uint32_t)torci_random_next(&random);

        cr_assert_eq(torci_crc32c_unmask(torci_crc32c_mask(crc)), crc);
        cr_assert_neq(torci_crc32c_mask(crc), crc);
        cr_assert_neq(torci_crc32c_mask(torci_crc32c_mask(crc)), crc);
    }
}

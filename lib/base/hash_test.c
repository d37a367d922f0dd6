/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/hash.h"

TestSuite(hash, .timeout = 10);

/* Golden vectors: placement by hash may never change in silence. One size for each path of XXH3, and its neighbours. */
static const struct {
    size_t size;
    uint64_t with_seed_zero;
    uint64_t with_seed_torc;
} golden[] = {
    {0, UINT64_C(0x2d06800538d394c2), UINT64_C(0x7893f54a30516bbb)},
    {1, UINT64_C(0x4c5cca45d0f4811f), UINT64_C(0x3c4126981f6a9815)},
    {3, UINT64_C(0x6e3e2670e61106ac), UINT64_C(0x494812aee719b53a)},
    {4, UINT64_C(0x5c4c63133443d03f), UINT64_C(0xefc157b8b7e6ebf2)},
    {8, UINT64_C(0xf9fd4dd0b04d78f5), UINT64_C(0x6f071b7365622a33)},
    {9, UINT64_C(0x7c20df9712c26edf), UINT64_C(0x74a234ba0565e319)},
    {16, UINT64_C(0x86abf6baccea0858), UINT64_C(0xda94b103bffab6e5)},
    {17, UINT64_C(0xb58bf5dc5022d071), UINT64_C(0xb8b03fa7097cda1e)},
    {64, UINT64_C(0x1291d2d4042330dd), UINT64_C(0x43c7a76bd0456006)},
    {128, UINT64_C(0x10d17f72c0ccba41), UINT64_C(0x6ea40f2952321fda)},
    {129, UINT64_C(0x1648bdc3db49d1a2), UINT64_C(0xa28cbacc389f683e)},
    {240, UINT64_C(0xb6cfaf343fab81e6), UINT64_C(0xffaea165876ca6a8)},
    {241, UINT64_C(0x956cae592c67279e), UINT64_C(0x0d6a687c2f4a4339)},
    {256, UINT64_C(0xb15e550733c5dfac), UINT64_C(0x6af75be748dcc674)},
    {512, UINT64_C(0xa0e9790eb93990d7), UINT64_C(0x1e90b5d94b2a4c0f)},
    {1000, UINT64_C(0x571d5cbfef44331b), UINT64_C(0xbd405fb8879aafc5)},
    {1024, UINT64_C(0x70bd377d9574f4bb), UINT64_C(0xeddefe2d9e407b26)},
};

#define SEED_TORC UINT64_C(0x746f7263)

static unsigned char bytes[1025];

static void
fill(void)
{
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 131 + 7);
}

Test(hash, never_changes, .init = fill)
{
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
        struct torc_slice slice = torc_slice(bytes, golden[i].size);

        cr_expect_eq(torci_hash(0, slice), golden[i].with_seed_zero, "size %zu", golden[i].size);
        cr_expect_eq(torci_hash(SEED_TORC, slice), golden[i].with_seed_torc, "size %zu", golden[i].size);
    }
}

Test(hash, accepts_an_empty_slice_without_data)
{
    cr_expect_eq(torci_hash(0, torc_slice(NULL, 0)), UINT64_C(0x2d06800538d394c2));
}

Test(hash, does_not_depend_on_the_address, .init = fill)
{
    for (size_t size = 0; size < 600; size += 13) {
        uint64_t aligned = torci_hash(SEED_TORC, torc_slice(bytes, size));

        memmove(bytes + 1, bytes, sizeof(bytes) - 1);
        cr_expect_eq(torci_hash(SEED_TORC, torc_slice(bytes + 1, size)), aligned);
        fill();
    }
}

Test(hash, depends_on_the_seed_and_on_every_bit, .init = fill)
{
    for (size_t size = 1; size <= 300; size += 23) {
        uint64_t hash = torci_hash(1, torc_slice(bytes, size));

        cr_expect_neq(torci_hash(2, torc_slice(bytes, size)), hash);
        for (size_t bit = 0; bit < size * 8; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
            cr_expect_neq(torci_hash(1, torc_slice(bytes, size)), hash);
            bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
    }
}

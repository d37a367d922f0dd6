/* SPDX-License-Identifier: MIT */
/* base/crc32c: three ways to one number.
 *
 *   by tables       eight bytes a step: behind[k][b] is what byte b leaves in the register k bytes later
 *   x86-64          the crc32 instruction of SSE4.2, eight bytes a step. It takes three cycles and a new one can begin
 *                   in each, so three streams run side by side; stream[][] moves a register on over a stream's zeros,
 *                   which joins them:
 *
 *                       | first: 512 | second: 512 | third: 512 |      moved(moved(first) ^ second) ^ third
 *
 *   ARMv8           its instruction, where the compiler may assume it
 *
 * The register is linear in its bits, so each table follows from the words of the eight single bits, and the compiler
 * makes it of them.
 *
 * I1  inside, the register is held inverted; it is inverted once at the beginning and once at the end. */
#include "base/crc32c.h"

#include <string.h>

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

#include "base/assert.h"
#include "base/codec.h"

/* The word of byte `b`, of the words of its bits. */
#define WORD_OF_BIT(b, bit, word) (((b) >> (bit) & 1) != 0 ? UINT32_C(word) : 0)
#define WORD_OF(b, w0, w1, w2, w3, w4, w5, w6, w7)                                                  \
    (WORD_OF_BIT(b, 0, w0) ^ WORD_OF_BIT(b, 1, w1) ^ WORD_OF_BIT(b, 2, w2) ^ WORD_OF_BIT(b, 3, w3) ^  \
     WORD_OF_BIT(b, 4, w4) ^ WORD_OF_BIT(b, 5, w5) ^ WORD_OF_BIT(b, 6, w6) ^ WORD_OF_BIT(b, 7, w7))

#define WORDS_4(row, b) row(b), row((b) + 1), row((b) + 2), row((b) + 3)
#define WORDS_16(row, b) WORDS_4(row, b), WORDS_4(row, (b) + 4), WORDS_4(row, (b) + 8), WORDS_4(row, (b) + 12)
#define WORDS_64(row, b) WORDS_16(row, b), WORDS_16(row, (b) + 16), WORDS_16(row, (b) + 32), WORDS_16(row, (b) + 48)
#define WORDS(row) {WORDS_64(row, 0u), WORDS_64(row, 64u), WORDS_64(row, 128u), WORDS_64(row, 192u)}

/* BEHIND_k: the register after a single bit and k zero bytes. */
#define BEHIND_0(b) WORD_OF(b, 0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, \
    0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78)
#define BEHIND_1(b) WORD_OF(b, 0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, \
    0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9)
#define BEHIND_2(b) WORD_OF(b, 0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, \
    0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743)
#define BEHIND_3(b) WORD_OF(b, 0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, \
    0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f)
#define BEHIND_4(b) WORD_OF(b, 0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, \
    0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c)
#define BEHIND_5(b) WORD_OF(b, 0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, \
    0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6)
#define BEHIND_6(b) WORD_OF(b, 0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, \
    0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4)
#define BEHIND_7(b) WORD_OF(b, 0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, \
    0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664)

static const uint32_t behind[8][256] = {
    WORDS(BEHIND_0), WORDS(BEHIND_1), WORDS(BEHIND_2), WORDS(BEHIND_3),
    WORDS(BEHIND_4), WORDS(BEHIND_5), WORDS(BEHIND_6), WORDS(BEHIND_7),
};

uint32_t
torci_crc32c_portable(uint32_t crc_so_far, const void *data, size_t size)
{
    const unsigned char *at = data;
    uint32_t crc = ~crc_so_far;

    torc_assert(data != NULL || size == 0);

    for (; size >= 8; at += 8, size -= 8) {
        uint32_t low = crc ^ torci_fixed32_get(at);
        uint32_t high = torci_fixed32_get(at + 4);

        crc = behind[7][low & 0xff] ^ behind[6][low >> 8 & 0xff] ^ behind[5][low >> 16 & 0xff] ^ behind[4][low >> 24];
        crc ^= behind[3][high & 0xff] ^ behind[2][high >> 8 & 0xff] ^ behind[1][high >> 16 & 0xff] ^
               behind[0][high >> 24];
    }
    for (; size > 0; at++, size--)
        crc = crc >> 8 ^ behind[0][(crc ^ *at) & 0xff];
    return ~crc;
}

#if defined(__x86_64__) && defined(__GNUC__)

/* Bytes of a stream. The joining costs about as much as 50 bytes of one, and 1.5 KiB are soon there. */
#define STREAM_BYTES 512

/* STREAM_n: a single bit of the register's byte n, moved on over STREAM_BYTES zeros. */
#define STREAM_0(b) WORD_OF(b, 0xbd6f81f8, 0x7f337501, 0xfe66ea02, 0xf921a2f5, \
    0xf7af331b, 0xeab210c7, 0xd088577f, 0xa4fcd80f)
#define STREAM_1(b) WORD_OF(b, 0x4c15c6ef, 0x982b8dde, 0x35bb6d4d, 0x6b76da9a, \
    0xd6edb534, 0xa8371c99, 0x55824fc3, 0xab049f86)
#define STREAM_2(b) WORD_OF(b, 0x53e549fd, 0xa7ca93fa, 0x4a795105, 0x94f2a20a, \
    0x2c0932e5, 0x581265ca, 0xb024cb94, 0x65a5e1d9)
#define STREAM_3(b) WORD_OF(b, 0xcb4bc3b2, 0x937bf195, 0x231b95db, 0x46372bb6, \
    0x8c6e576c, 0x1d30d829, 0x3a61b052, 0x74c360a4)

static const uint32_t stream[4][256] = {
    WORDS(STREAM_0), WORDS(STREAM_1), WORDS(STREAM_2), WORDS(STREAM_3),
};

/* The register after STREAM_BYTES zeros. */
static uint32_t
moved(uint64_t crc)
{
    torc_assert(crc <= UINT32_MAX);
    return stream[0][crc & 0xff] ^ stream[1][crc >> 8 & 0xff] ^ stream[2][crc >> 16 & 0xff] ^ stream[3][crc >> 24];
}

static uint64_t
load_word(const unsigned char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return word;
}

__attribute__((target("sse4.2"))) static uint32_t
crc32c_by_instruction(uint32_t crc_so_far, const unsigned char *at, size_t size)
{
    uint64_t crc = ~crc_so_far;

    for (; size >= (size_t)3 * STREAM_BYTES; at += (size_t)3 * STREAM_BYTES, size -= (size_t)3 * STREAM_BYTES) {
        uint64_t second = 0;
        uint64_t third = 0;

        for (size_t i = 0; i < STREAM_BYTES; i += 8) {
            crc = __builtin_ia32_crc32di(crc, load_word(at + i));
            second = __builtin_ia32_crc32di(second, load_word(at + STREAM_BYTES + i));
            third = __builtin_ia32_crc32di(third, load_word(at + (size_t)2 * STREAM_BYTES + i));
        }
        crc = moved(moved(crc) ^ second) ^ third;
    }
    for (; size >= 8; at += 8, size -= 8)
        crc = __builtin_ia32_crc32di(crc, load_word(at));

    uint32_t rest = (uint32_t)crc;
    for (; size > 0; at++, size--)
        rest = __builtin_ia32_crc32qi(rest, *at);
    return ~rest;
}

uint32_t
torci_crc32c(uint32_t crc_so_far, const void *data, size_t size)
{
    torc_assert(data != NULL || size == 0);
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_by_instruction(crc_so_far, data, size);
    return torci_crc32c_portable(crc_so_far, data, size);
}

#elif defined(__ARM_FEATURE_CRC32)

uint32_t
torci_crc32c(uint32_t crc_so_far, const void *data, size_t size)
{
    const unsigned char *at = data;
    uint32_t crc = ~crc_so_far;

    torc_assert(data != NULL || size == 0);

    for (; size >= 8; at += 8, size -= 8)
        crc = __crc32cd(crc, torci_fixed64_get(at));
    for (; size > 0; at++, size--)
        crc = __crc32cb(crc, *at);
    return ~crc;
}

#else

uint32_t
torci_crc32c(uint32_t crc_so_far, const void *data, size_t size)
{
    return torci_crc32c_portable(crc_so_far, data, size);
}

#endif

/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#include "memory.h"

TestSuite(memory_buffer, .timeout = 20);

Test(memory_buffer, holds_what_was_appended)
{
    struct torcd_buffer buffer = {0};
    char expected[3000];

    for (size_t i = 0; i < sizeof expected; i++) {
        expected[i] = (char)('a' + i % 26);
        torcd_buffer_append(&buffer, &expected[i], 1);
    }
    cr_expect_eq(buffer.size, sizeof expected);
    cr_expect_eq(buffer.fault, TORCD_FAULT_NONE);
    cr_expect_eq(memcmp(buffer.data, expected, sizeof expected), 0);
    torcd_buffer_fini(&buffer);
}

Test(memory_buffer, refuses_the_byte_past_its_limit_and_stays_as_it_was)
{
    struct torcd_buffer buffer = {.limit = 10};

    torcd_buffer_append(&buffer, "0123456789", 10);
    cr_expect_eq(buffer.fault, TORCD_FAULT_NONE);
    torcd_buffer_append(&buffer, "x", 1);
    cr_expect_eq(buffer.fault, TORCD_FAULT_LIMIT);
    torcd_buffer_append(&buffer, "", 0);
    cr_expect_eq(buffer.size, 10u);

    torcd_buffer_truncate(&buffer, 4);
    torcd_buffer_append(&buffer, "ab", 2);
    cr_expect_eq(buffer.fault, TORCD_FAULT_NONE, "truncation forgives");
    cr_expect_eq(memcmp(buffer.data, "0123ab", 6), 0);
    torcd_buffer_fini(&buffer);
}

Test(memory_buffer, keeps_to_a_limit_below_its_capacity)
{
    struct torcd_buffer buffer = {0};

    cr_assert(torcd_buffer_reserve(&buffer, 5000));
    buffer.limit = 100;
    cr_expect(torcd_buffer_reserve(&buffer, 100));
    cr_expect_not(torcd_buffer_reserve(&buffer, 101));
    cr_expect_eq(buffer.fault, TORCD_FAULT_LIMIT);
    torcd_buffer_fini(&buffer);
}

Test(memory_buffer, refuses_a_size_that_cannot_be)
{
    struct torcd_buffer buffer = {0};

    torcd_buffer_append(&buffer, "a", 1);
    cr_expect_not(torcd_buffer_reserve(&buffer, SIZE_MAX));
    cr_expect_eq(buffer.fault, TORCD_FAULT_MEMORY);
    cr_expect_eq(buffer.size, 1u);
    torcd_buffer_fini(&buffer);
}

Test(memory_buffer, formats_text_longer_than_its_scratch)
{
    struct torcd_buffer buffer = {0};
    char word[2000];

    memset(word, 'w', sizeof word);
    word[sizeof word - 1] = '\0';
    torcd_buffer_format(&buffer, "%d:%s", 7, word);
    cr_expect_eq(buffer.size, 2 + strlen(word));
    cr_expect_eq(memcmp(buffer.data, "7:w", 3), 0);
    torcd_buffer_fini(&buffer);
}

#ifdef TORC_FAULTS
Test(memory_buffer, remembers_that_there_was_no_memory)
{
    struct torcd_buffer buffer = {0};

    torcd_memory_fail_at(2);
    torcd_buffer_append(&buffer, "first", 5);
    cr_expect_eq(buffer.fault, TORCD_FAULT_NONE);
    cr_expect_not(torcd_buffer_reserve(&buffer, 100000));
    cr_expect_eq(buffer.fault, TORCD_FAULT_MEMORY);
    cr_expect_eq(memcmp(buffer.data, "first", 5), 0);
    torcd_memory_fail_at(0);
    torcd_buffer_fini(&buffer);
}
#endif

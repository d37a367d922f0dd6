/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "glob.h"

TestSuite(glob, .timeout = 20);

static bool
match(const char *pattern, const char *text)
{
    return torcd_glob_match(torc_slice_from_string(pattern), torc_slice_from_string(text));
}

Test(glob, matches_literally)
{
    cr_expect(match("abc", "abc"));
    cr_expect_not(match("abc", "ab"));
    cr_expect_not(match("ab", "abc"));
    cr_expect_not(match("abc", "ABC"));
    cr_expect(match("", ""));
    cr_expect_not(match("", "a"));
    cr_expect_not(match("a", ""));
}

Test(glob, lets_a_star_stand_for_anything)
{
    cr_expect(match("*", ""));
    cr_expect(match("**", "abc"));
    cr_expect(match("a*", "a"));
    cr_expect(match("*c", "abc"));
    cr_expect(match("a*c*e", "abcde"));
    cr_expect(match("*ab*", "aab"));
    cr_expect_not(match("a*c*f", "abcde"));
    cr_expect(match("user:*:name", "user:17:name"));
    cr_expect_not(match("user:*:name", "user:17:names"));
}

Test(glob, lets_a_question_mark_stand_for_one_byte)
{
    cr_expect(match("a?c", "abc"));
    cr_expect_not(match("a?c", "ac"));
    cr_expect_not(match("?", ""));
}

Test(glob, knows_classes)
{
    cr_expect(match("[abc]", "b"));
    cr_expect_not(match("[abc]", "d"));
    cr_expect(match("[^abc]", "d"));
    cr_expect(match("[a-c]x", "bx"));
    cr_expect(match("[c-a]x", "bx"));
    cr_expect(match("[\\]]", "]"));
    cr_expect(match("[a", "a"), "an unclosed class ends with the pattern");
    cr_expect_not(match("[", "["));
}

Test(glob, takes_a_backslash_literally)
{
    cr_expect(match("a\\*c", "a*c"));
    cr_expect_not(match("a\\*c", "abc"));
    cr_expect(match("a\\", "a\\"));
}

Test(glob, ignores_case_when_asked)
{
    cr_expect(torcd_glob_match_ignoring_case(torc_slice_from_string("Max[A-C]*"), torc_slice_from_string("maXbytes")));
}

Test(glob, matches_any_byte_values)
{
    cr_expect(torcd_glob_match(torc_slice("a\0*", 3), torc_slice("a\0\xff", 3)));
    cr_expect_not(torcd_glob_match(torc_slice("a\0", 2), torc_slice("a\1", 2)));
}

/* The recursion over stars that most matchers use needs 2^20 times as long as this. */
Test(glob, is_not_made_exponential_by_stars)
{
    char text[4096];

    memset(text, 'a', sizeof text);
    cr_expect_not(torcd_glob_match(torc_slice_from_string("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"),
                                   torc_slice(text, sizeof text)));
}

Test(glob, tells_the_literal_beginning)
{
    cr_expect_eq(torcd_glob_prefix(torc_slice_from_string("user:*")), 5u);
    cr_expect_eq(torcd_glob_prefix(torc_slice_from_string("*")), 0u);
    cr_expect_eq(torcd_glob_prefix(torc_slice_from_string("plain")), 5u);
    cr_expect_eq(torcd_glob_prefix(torc_slice_from_string("a\\*b")), 1u);
}

/* SPDX-License-Identifier: MIT */
/* server/glob.c: glob patterns.
 *
 * A star first matches nothing, and one byte more each time what follows it fails. Only the last star needs to be
 * remembered: if a later one was reached, the earlier has matched as little as it can, and a longer match of it could
 * only find what the later one finds too. That makes the worst case O(pattern x text), where the usual recursion over
 * stars is exponential and would let one client stop a loop thread with a short pattern. */
#include "glob.h"

struct text {
    const unsigned char *at;
    const unsigned char *end;
};

static unsigned char
fold(unsigned char c, bool ignoring_case)
{
    return ignoring_case && c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

/* Match `c` against the class after '['; leaves pattern->at behind it. An unclosed class ends with the pattern. */
static bool
match_class(struct text *pattern, unsigned char c, bool ignoring_case)
{
    bool inverted = pattern->at < pattern->end && *pattern->at == '^';
    bool found = false;

    if (inverted)
        pattern->at++;
    while (pattern->at < pattern->end && *pattern->at != ']') {
        if (*pattern->at == '\\' && pattern->end - pattern->at >= 2)
            pattern->at++;

        unsigned char low = fold(*pattern->at, ignoring_case), high = low;
        if (pattern->end - pattern->at >= 3 && pattern->at[1] == '-') {
            high = fold(pattern->at[2], ignoring_case);
            pattern->at += 2;
        }
        pattern->at++;
        if ((low <= c && c <= high) || (high <= c && c <= low))
            found = true;
    }
    if (pattern->at < pattern->end)
        pattern->at++;
    return found != inverted;
}

/* Match one byte against the next element, which is not a star; leaves pattern->at behind the element. */
static bool
match_one(struct text *pattern, unsigned char c, bool ignoring_case)
{
    unsigned char element = *pattern->at++;

    if (element == '?')
        return true;
    if (element == '[')
        return match_class(pattern, c, ignoring_case);
    if (element == '\\' && pattern->at < pattern->end)
        element = *pattern->at++;
    return fold(element, ignoring_case) == c;
}

static bool
match(struct torc_slice pattern_bytes, struct torc_slice text_bytes, bool ignoring_case)
{
    struct text pattern = {pattern_bytes.data, NULL}, text = {text_bytes.data, NULL};
    struct text star = {NULL, NULL};            /* Behind the last star, and where its match ends. */
    const unsigned char *star_text = NULL;

    if (pattern_bytes.size == 0 || text_bytes.size == 0) {
        const unsigned char *bytes = pattern_bytes.data;
        for (size_t i = 0; i < pattern_bytes.size; i++)
            if (bytes[i] != '*')
                return false;
        return text_bytes.size == 0;
    }
    pattern.end = pattern.at + pattern_bytes.size;
    text.end = text.at + text_bytes.size;

    for (;;) {
        if (pattern.at < pattern.end && *pattern.at == '*') {
            pattern.at++;
            star = pattern;
            star_text = text.at;
            continue;
        }
        if (text.at == text.end && pattern.at == pattern.end)
            return true;
        if (text.at < text.end && pattern.at < pattern.end
            && match_one(&pattern, fold(*text.at, ignoring_case), ignoring_case)) {
            text.at++;
            continue;
        }
        if (star.at == NULL || star_text == text.end)
            return false;
        pattern = star;
        text.at = ++star_text;
    }
}

bool
torcd_glob_match(struct torc_slice pattern, struct torc_slice text)
{
    return match(pattern, text, false);
}

bool
torcd_glob_match_ignoring_case(struct torc_slice pattern, struct torc_slice text)
{
    return match(pattern, text, true);
}

size_t
torcd_glob_prefix(struct torc_slice pattern)
{
    const char *bytes = pattern.data;
    size_t size = 0;

    while (size < pattern.size && strchr("*?[\\", bytes[size]) == NULL)
        size++;
    return size;
}

/* SPDX-License-Identifier: MIT */
/* server/glob.h: the patterns of KEYS, SCAN and CONFIG GET: * ? [abc] [^a] [a-z] and \ before a character. */
#ifndef TORCD_GLOB_H
#define TORCD_GLOB_H

#include <torc/base.h>

/* Whether all of `text` matches `pattern`. Cost: O(pattern x text) at worst, no recursion, no allocation. */
bool torcd_glob_match(struct torc_slice pattern, struct torc_slice text);

/* As torcd_glob_match(), upper and lower case of a-z being equal. */
bool torcd_glob_match_ignoring_case(struct torc_slice pattern, struct torc_slice text);

/* How many leading bytes of `pattern` stand for themselves: every match begins with them. */
size_t torcd_glob_prefix(struct torc_slice pattern);

#endif

/* SPDX-License-Identifier: MIT */
/* stress/verdict: what a checker found: how often each violation, and the first few in words. */
#ifndef TORCT_VERDICT_H
#define TORCT_VERDICT_H

#include <stdint.h>
#include <stdio.h>

#define TORCT_VIOLATIONS(X)                                                                         \
    X(READ, "a read did not return the newest version of its snapshot")                             \
    X(ABORTED_READ, "a value was read that was never committed")                                    \
    X(INTERMEDIATE_READ, "a value was read that its writer had overwritten")                        \
    X(DAMAGED, "a value is not what anybody wrote under its key")                                   \
    X(OWN_WRITE, "a transaction did not read its own write")                                        \
    X(PHANTOM, "a scan does not show exactly the keys of its snapshot")                             \
    X(LOST_UPDATE, "a committed write was overwritten by one that had not seen it")                 \
    X(STAMP, "a commit's stamp does not fit its snapshot and writes")                               \
    X(REAL_TIME, "what returned before another call comes after it")                                \
    X(CAUSELESS, "a conflict has no rival")                                                         \
    X(MERGE, "a merge was not made of the value before it")                                         \
    X(TIME, "a value was seen past its time, or missed before it")                                  \
    X(INCOMPATIBLE, "two reads of one list do not begin alike")                                     \
    X(CYCLE, "dependencies form a cycle that the isolation level forbids")

enum torct_violation {
#define TORCT_VIOLATION_ENUM(name, message) TORCT_VIOLATION_##name,
    TORCT_VIOLATIONS(TORCT_VIOLATION_ENUM)
#undef TORCT_VIOLATION_ENUM
    TORCT_VIOLATION_KINDS
};

enum { TORCT_VERDICT_WORDS_MAX = 12 };      /* Violations told in words; the others are only counted. */

struct torct_verdict {
    FILE *words;                            /* NULL: count only. */
    uint64_t found[TORCT_VIOLATION_KINDS];
    uint64_t total;
};

/* Count one violation and print its headline. Whether there is room for the caller to say more. */
static inline int
torct_verdict_add(struct torct_verdict *verdict, enum torct_violation violation)
{
    static const char *const messages[] = {
#define TORCT_VIOLATION_MESSAGE(name, message) message,
        TORCT_VIOLATIONS(TORCT_VIOLATION_MESSAGE)
#undef TORCT_VIOLATION_MESSAGE
    };

    verdict->found[violation]++;
    verdict->total++;
    if (verdict->words == NULL || verdict->total > TORCT_VERDICT_WORDS_MAX)
        return 0;
    fprintf(verdict->words, "VIOLATION: %s\n", messages[violation]);
    return 1;
}

#endif

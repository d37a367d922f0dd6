/* SPDX-License-Identifier: MIT */
/* mvcc/frame: the bytes of a segment's header and of a frame (docs/formats.md), and the names of a journal's files.
 * Whatever is read is checked here, and never asserted on. */
#ifndef TORCI_MVCC_FRAME_H
#define TORCI_MVCC_FRAME_H

#include <stdbool.h>

#include <torc/base.h>

#include "mvcc/segment.h"

enum {
    TORCI_SEGMENT_FORMAT = 1,
    TORCI_FRAME_ALIGNMENT = 8,
    TORCI_FRAME_PAYLOAD_LIMIT = 1024 * 1024,    /* Of the format; what this build writes may be smaller. */
    TORCI_SEGMENT_NAME_SIZE = 32,               /* "journal-<16 hex>.tmp", with its terminator. */
};

/* Two frame headers behind the segment's: less is no segment. */
#define TORCI_SEGMENT_SIZE_MIN ((uint64_t)TORCI_SEGMENT_HEADER + 2 * TORCI_FRAME_HEADER)
#define TORCI_SEGMENT_SIZE_MAX ((uint64_t)1 << 40)

#define TORCI_SEQ_MAX (UINT64_MAX / 2)
#define TORCI_LIFE_MAX (UINT32_MAX / 2)

struct torci_segment_head {
    unsigned char store_id[TORCI_STORE_ID_SIZE];
    uint64_t number;
    uint64_t salt;
    uint64_t size;
};

void torci_segment_head_put(unsigned char out[TORCI_SEGMENT_HEADER], const struct torci_segment_head *head);

/* Check the header of segment `number` of the store `store_id`. TORC_CORRUPT, TORC_FOREIGN. */
TORC_MUST_CHECK enum torc_status torci_segment_head_get(const unsigned char in[TORCI_SEGMENT_HEADER],
                                                        const unsigned char store_id[TORCI_STORE_ID_SIZE],
                                                        uint64_t number, struct torci_segment_head *head);

struct torci_frame {
    uint32_t payload;                    /* Bytes. */
    uint32_t life;
    uint32_t flags;
    uint64_t seq;
    uint64_t salt;
    uint64_t cut;
    uint64_t synced;
    uint64_t first;
};

/* The header of a frame whose payload already stands behind it. */
void torci_frame_put(unsigned char *out, const struct torci_frame *frame);

/* Whether these TORCI_FRAME_HEADER bytes look like a frame's header: only then torci_frame_intact() may be asked, with
 * the payload behind them. */
bool torci_frame_get(const unsigned char *in, struct torci_frame *frame);
bool torci_frame_intact(const unsigned char *in, const struct torci_frame *frame);

static inline uint64_t
torci_frame_size(uint32_t payload)
{
    uint64_t padding = -payload & (TORCI_FRAME_ALIGNMENT - 1);

    return (uint64_t)TORCI_FRAME_HEADER + payload + padding;
}

/* "<kind>-<number><suffix>", and with the directory before it: TORC_TOO_LARGE. */
void torci_segment_name(const char *kind, uint64_t number, const char *suffix, char name[TORCI_SEGMENT_NAME_SIZE]);
TORC_MUST_CHECK enum torc_status torci_segment_path(const char *directory, const char *kind, uint64_t number,
                                                    const char *suffix, char path[TORCI_PATH_MAX]);

/* Whether `name` is one of `kind`, without suffix; its number. */
bool torci_segment_named(const char *name, const char *kind, uint64_t *number);

#endif

/* SPDX-License-Identifier: MIT */
/* mvcc/frame: encoding, decoding, names.
 *
 * Invariants
 *   I1  A header's checksum covers all of its block, and is where it is in every format: a later format is told from
 *       damage. */
#include "mvcc/frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/status.h"

/* Where the fields stand. */
enum {
    HEAD_FORMAT = 8,
    HEAD_CHECKSUM = 12,
    HEAD_STORE = 16,
    HEAD_NUMBER = 32,
    HEAD_SALT = 40,
    HEAD_SIZE = 48,
    HEAD_END = 56,

    FRAME_CHECKSUM = 4,
    FRAME_PAYLOAD = 8,
    FRAME_LIFE = 12,
    FRAME_FLAGS = 16,
    FRAME_ZERO = 20,
    FRAME_SEQ = 24,
    FRAME_SALT = 32,
    FRAME_CUT = 40,
    FRAME_SYNCED = 48,
    FRAME_FIRST = 56,
};

_Static_assert(FRAME_FIRST + 8 == TORCI_FRAME_HEADER, "a frame's header has no gap");
_Static_assert((int)TORCI_FRAME_PAYLOAD_MAX <= (int)TORCI_FRAME_PAYLOAD_LIMIT, "what is written can be read");

static const unsigned char segment_magic[8] = {'t', 'o', 'r', 'c', 'j', 'r', 'n', 'l'};
static const unsigned char frame_magic[4] = {'t', 'f', 'r', 'm'};

/* All of the block but the checksum itself. */
static uint32_t
head_checksum(const unsigned char *head)
{
    uint32_t crc = torci_crc32c(0, head, HEAD_CHECKSUM);

    return torci_crc32c_mask(torci_crc32c(crc, head + HEAD_STORE, TORCI_SEGMENT_HEADER - HEAD_STORE));
}

/* From the payload's size on, payload included. */
static uint32_t
frame_checksum(const unsigned char *frame, uint32_t payload)
{
    return torci_crc32c_mask(torci_crc32c(0, frame + FRAME_PAYLOAD, TORCI_FRAME_HEADER - FRAME_PAYLOAD + payload));
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void
torci_segment_head_put(unsigned char out[TORCI_SEGMENT_HEADER], const struct torci_segment_head *head)
{
    torc_assert(head->size >= TORCI_SEGMENT_SIZE_MIN && head->size <= TORCI_SEGMENT_SIZE_MAX);
    torc_assert(head->number > 0);

    memset(out, 0, TORCI_SEGMENT_HEADER);
    memcpy(out, segment_magic, sizeof(segment_magic));
    torci_fixed32_put(out + HEAD_FORMAT, TORCI_SEGMENT_FORMAT);
    memcpy(out + HEAD_STORE, head->store_id, TORCI_STORE_ID_SIZE);
    torci_fixed64_put(out + HEAD_NUMBER, head->number);
    torci_fixed64_put(out + HEAD_SALT, head->salt);
    torci_fixed64_put(out + HEAD_SIZE, head->size);
    torci_fixed32_put(out + HEAD_CHECKSUM, head_checksum(out));
}

enum torc_status
torci_segment_head_get(const unsigned char in[TORCI_SEGMENT_HEADER], const unsigned char store_id[TORCI_STORE_ID_SIZE],
                       uint64_t number, struct torci_segment_head *head)
{
    char name[TORCI_SEGMENT_NAME_SIZE];

    torci_segment_name("journal", number, "", name);
    memset(head, 0, sizeof(*head));
    if (memcmp(in, segment_magic, sizeof(segment_magic)) != 0 ||
        torci_fixed32_get(in + HEAD_CHECKSUM) != head_checksum(in))
        return torci_fail(TORC_CORRUPT, "%s: the header at 0 is damaged", name);

    uint32_t format = torci_fixed32_get(in + HEAD_FORMAT);
    if (format != TORCI_SEGMENT_FORMAT)
        return torci_fail(TORC_FOREIGN, "%s: format %" PRIu32 ", not %d", name, format, TORCI_SEGMENT_FORMAT);
    if (memcmp(in + HEAD_STORE, store_id, TORCI_STORE_ID_SIZE) != 0)
        return torci_fail(TORC_FOREIGN, "%s: a segment of another store", name);

    memcpy(head->store_id, in + HEAD_STORE, TORCI_STORE_ID_SIZE);
    head->number = torci_fixed64_get(in + HEAD_NUMBER);
    head->salt = torci_fixed64_get(in + HEAD_SALT);
    head->size = torci_fixed64_get(in + HEAD_SIZE);
    if (head->number != number)
        return torci_fail(TORC_CORRUPT, "%s: is segment %" PRIu64 " by its header", name, head->number);
    if (head->size < TORCI_SEGMENT_SIZE_MIN || head->size > TORCI_SEGMENT_SIZE_MAX ||
        head->size % TORCI_FRAME_ALIGNMENT != 0)
        return torci_fail(TORC_CORRUPT, "%s: size %" PRIu64 " in the header", name, head->size);
    return TORC_OK;
}

void
torci_frame_put(unsigned char *out, const struct torci_frame *frame)
{
    torc_assert(frame->payload <= TORCI_FRAME_PAYLOAD_LIMIT);
    torc_assert(frame->synced < frame->seq && frame->first <= frame->seq && frame->seq <= TORCI_SEQ_MAX);

    memcpy(out, frame_magic, sizeof(frame_magic));
    torci_fixed32_put(out + FRAME_PAYLOAD, frame->payload);
    torci_fixed32_put(out + FRAME_LIFE, frame->life);
    torci_fixed32_put(out + FRAME_FLAGS, frame->flags);
    torci_fixed32_put(out + FRAME_ZERO, 0);
    torci_fixed64_put(out + FRAME_SEQ, frame->seq);
    torci_fixed64_put(out + FRAME_SALT, frame->salt);
    torci_fixed64_put(out + FRAME_CUT, frame->cut);
    torci_fixed64_put(out + FRAME_SYNCED, frame->synced);
    torci_fixed64_put(out + FRAME_FIRST, frame->first);
    torci_fixed32_put(out + FRAME_CHECKSUM, frame_checksum(out, frame->payload));
}

bool
torci_frame_get(const unsigned char *in, struct torci_frame *frame)
{
    if (memcmp(in, frame_magic, sizeof(frame_magic)) != 0)
        return false;
    frame->payload = torci_fixed32_get(in + FRAME_PAYLOAD);
    frame->life = torci_fixed32_get(in + FRAME_LIFE);
    frame->flags = torci_fixed32_get(in + FRAME_FLAGS);
    frame->seq = torci_fixed64_get(in + FRAME_SEQ);
    frame->salt = torci_fixed64_get(in + FRAME_SALT);
    frame->cut = torci_fixed64_get(in + FRAME_CUT);
    frame->synced = torci_fixed64_get(in + FRAME_SYNCED);
    frame->first = torci_fixed64_get(in + FRAME_FIRST);
    /* What is not, no writer writes; and there is always a next number, and a next life. */
    return frame->payload <= TORCI_FRAME_PAYLOAD_LIMIT && torci_fixed32_get(in + FRAME_ZERO) == 0 &&
           frame->life > 0 && frame->life <= TORCI_LIFE_MAX && frame->seq <= TORCI_SEQ_MAX &&
           frame->synced < frame->seq && frame->first > 0 && frame->first <= frame->seq;
}

bool
torci_frame_intact(const unsigned char *in, const struct torci_frame *frame)
{
    return torci_fixed32_get(in + FRAME_CHECKSUM) == frame_checksum(in, frame->payload);
}

void
torci_segment_name(const char *kind, uint64_t number, const char *suffix, char name[TORCI_SEGMENT_NAME_SIZE])
{
    int size = snprintf(name, TORCI_SEGMENT_NAME_SIZE, "%s-%016" PRIx64 "%s", kind, number, suffix);

    torc_assert(size > 0 && size < TORCI_SEGMENT_NAME_SIZE);
    (void)size;
}

enum torc_status
torci_segment_path(const char *directory, const char *kind, uint64_t number, const char *suffix,
                   char path[TORCI_PATH_MAX])
{
    int size = snprintf(path, TORCI_PATH_MAX, "%s/%s-%016" PRIx64 "%s", directory, kind, number, suffix);

    if (size < 0 || size >= TORCI_PATH_MAX)
        return torci_fail(TORC_TOO_LARGE, "a path of a %s file is longer than %d bytes", kind, TORCI_PATH_MAX - 1);
    return TORC_OK;
}

bool
torci_segment_named(const char *name, const char *kind, uint64_t *number)
{
    enum { DIGITS = 16 };
    size_t prefix = strlen(kind);

    if (strlen(name) != prefix + 1 + DIGITS || memcmp(name, kind, prefix) != 0 || name[prefix] != '-')
        return false;
    *number = 0;
    for (const char *c = name + prefix + 1; *c != '\0'; c++) {
        int digit = hex_digit(*c);

        if (digit < 0)
            return false;
        *number = *number << 4 | (uint64_t)digit;
    }
    return *number > 0;
}

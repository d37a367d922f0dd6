/* SPDX-License-Identifier: MIT */
/* mvcc/segment: the journal's writer.
 *
 *   append --> buffer --full--> frame --no room--> LAST | next segment         cut --> the last frame, durable
 *   next segment: spare-*, or a new file --> journal-*.tmp: zeroed, synced, header --> journal-*, directory synced
 *
 * Invariants
 *   I1  `offset` + a frame's header never exceeds the segment: a LAST frame always fits.
 *   I2  A failed writer writes nothing: what the system made of the failed write is unknown.
 *   I3  A spare's old frames never count in its next use: its new header, with a new salt, is durable before its new
 *       name is given. */
#include "mvcc/segment.h"

#include <string.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/hash.h"
#include "base/status.h"
#include "base/time.h"
#include "mvcc/frame.h"

enum {
    BUFFER_SIZE = TORCI_FRAME_HEADER + TORCI_FRAME_PAYLOAD_MAX + TORCI_FRAME_ALIGNMENT,
    SPARES_MAX = 2,                     /* One in use and one being prepared is what a busy journal needs. */
#if defined(TORC_TINY)
    ZEROS = 1024,
    ZEROED_AT_ONCE = 4096,
#else
    ZEROS = 64 * 1024,
    ZEROED_AT_ONCE = 1024 * 1024,       /* By torci_segment_prepare(): what a flush that waits for it hardly notices. */
#endif
};

_Static_assert(TORCI_SEGMENT_SIZE % ZEROS == 0, "zeros are written by whole pieces");

/* ---- Files ---- */

/* What is closed here was synced, or does not count. */
static void
close_file(struct torci_file **file)
{
    if (*file != NULL) {
        enum torc_status ignored = torci_file_close(*file);

        (void)ignored;
    }
    *file = NULL;
}

/* A file that does not count any more, or not yet: if it cannot be removed, it lies about. */
static void
remove_file(struct torci_segment_writer *writer, const char *kind, uint64_t number, const char *suffix)
{
    char path[TORCI_PATH_MAX];

    if (torci_segment_path(writer->directory, kind, number, suffix, path) == TORC_OK) {
        enum torc_status ignored = torci_vfs_remove(writer->vfs, path);

        (void)ignored;
    }
}

static enum torc_status
rename_file(struct torci_segment_writer *writer, const char *kind, uint64_t from, const char *to_kind, uint64_t to,
            const char *from_suffix, const char *to_suffix)
{
    char from_path[TORCI_PATH_MAX], to_path[TORCI_PATH_MAX];
    enum torc_status status = torci_segment_path(writer->directory, kind, from, from_suffix, from_path);

    if (status == TORC_OK)
        status = torci_segment_path(writer->directory, to_kind, to, to_suffix, to_path);
    return status == TORC_OK ? torci_vfs_rename(writer->vfs, from_path, to_path) : status;
}

static enum torc_status
open_file(struct torci_segment_writer *writer, const char *kind, uint64_t number, const char *suffix, unsigned flags,
          struct torci_file **file)
{
    char path[TORCI_PATH_MAX];
    enum torc_status status = torci_segment_path(writer->directory, kind, number, suffix, path);

    *file = NULL;
    return status == TORC_OK ? torci_vfs_open(writer->vfs, path, TORCI_OPEN_WRITE | flags, file) : status;
}

/* All of `size` bytes: what is shorter is TORC_CORRUPT. */
static enum torc_status
read_all(struct torci_file *file, uint64_t offset, void *buffer, size_t size)
{
    size_t done = 0;
    enum torc_status status = torci_file_read(file, offset, buffer, size, &done);

    if (status == TORC_OK && done < size)
        return torci_fail(TORC_CORRUPT, "a segment ends within its headers");
    return status;
}

/* Fill [from, to) with zeros. Not durable. */
static enum torc_status
write_zeros(struct torci_file *file, uint64_t from, uint64_t to)
{
    static const unsigned char zeros[ZEROS];
    enum torc_status status = TORC_OK;

    while (status == TORC_OK && from < to) {
        size_t size = to - from < sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);

        status = torci_file_write(file, from, zeros, size, false);
        from += size;
    }
    return status;
}

/* What a directory holds of a journal. */
struct listing {
    uint64_t above;                     /* Asked for: the greatest segment above this, */
    uint64_t below;                     /* and the least one below this. */
    uint64_t greatest;                  /* 0: none. */
    uint64_t least;
    uint64_t spare;                     /* Any. */
    unsigned spares;
};

static enum torc_status
list_name(void *context, const char *name)
{
    struct listing *listing = context;
    uint64_t number;

    if (torci_segment_named(name, "spare", &number)) {
        listing->spare = number;
        listing->spares++;
    } else if (torci_segment_named(name, "journal", &number)) {
        if (number > listing->above && number > listing->greatest)
            listing->greatest = number;
        if (number < listing->below && (listing->least == 0 || number < listing->least))
            listing->least = number;
    }
    return TORC_OK;
}

static enum torc_status
list(struct torci_segment_writer *writer, uint64_t above, uint64_t below, struct listing *listing)
{
    *listing = (struct listing){.above = above, .below = below};
    return torci_vfs_list(writer->vfs, writer->directory, list_name, listing);
}

/* Take segment `number` out of the journal. */
static enum torc_status
retire(struct torci_segment_writer *writer, uint64_t number, unsigned spares)
{
    char path[TORCI_PATH_MAX];

    torc_assert(number != writer->number || writer->file == NULL);
    if (spares < SPARES_MAX)
        return rename_file(writer, "journal", number, "spare", number, "", "");

    enum torc_status status = torci_segment_path(writer->directory, "journal", number, "", path);
    return status == TORC_OK ? torci_vfs_remove(writer->vfs, path) : status;
}

/* ---- The next segment ---- */

/* Never the same twice, so that no frame of another use of a file can pass: two headers with one salt would need the
 * same number, life, time and predecessor. */
static uint64_t
draw_salt(const struct torci_segment_writer *writer)
{
    uint64_t seed[] = {writer->number, writer->life, torci_now_ns(), torci_wall_ms(), writer->salt};
    uint64_t hash = torci_hash(writer->seq, torc_slice(seed, sizeof(seed)));

    return torci_hash(hash, torc_slice(writer->store_id, sizeof(writer->store_id)));
}

static void
drop_next(struct torci_segment_writer *writer)
{
    if (writer->next == NULL)
        return;
    close_file(&writer->next);
    if (!writer->next_ready)
        remove_file(writer, "journal", writer->number + 1, ".tmp");
    writer->next_ready = false;
    writer->next_zeroed = 0;
}

/* Take a spare file as the next one's beginning: written once, it needs no zeros. `next` stays NULL if there is none
 * that will do. */
static enum torc_status
take_spare(struct torci_segment_writer *writer)
{
    struct listing listing;
    uint64_t size = 0;
    enum torc_status status = list(writer, UINT64_MAX, 0, &listing);

    if (status != TORC_OK || listing.spare == 0)
        return status;
    status = rename_file(writer, "spare", listing.spare, "journal", writer->number + 1, "", ".tmp");
    if (status == TORC_OK)
        status = open_file(writer, "journal", writer->number + 1, ".tmp", 0, &writer->next);
    if (status == TORC_OK)
        status = torci_file_size(writer->next, &size);
    writer->next_zeroed = size;
    if (status != TORC_OK || size != TORCI_SEGMENT_SIZE)
        drop_next(writer);
    return status;
}

static enum torc_status
begin_next(struct torci_segment_writer *writer)
{
    enum torc_status status = take_spare(writer);

    if (status != TORC_OK || writer->next != NULL)
        return status;
    writer->next_zeroed = 0;
    status = open_file(writer, "journal", writer->number + 1, ".tmp", TORCI_OPEN_CREATE | TORCI_OPEN_TRUNCATE,
                       &writer->next);
    return status == TORC_OK ? torci_file_allocate(writer->next, TORCI_SEGMENT_SIZE) : status;
}

/* Its header, then its name. */
static enum torc_status
finish_next(struct torci_segment_writer *writer)
{
    struct torci_segment_head head = {.number = writer->number + 1, .size = TORCI_SEGMENT_SIZE};
    unsigned char block[TORCI_SEGMENT_HEADER];
    enum torc_status status = torci_file_sync(writer->next);

    if (status != TORC_OK)
        return status;
    memcpy(head.store_id, writer->store_id, sizeof(head.store_id));
    head.salt = writer->next_salt = draw_salt(writer);
    torci_segment_head_put(block, &head);
    status = torci_file_write(writer->next, 0, block, sizeof(block), true);
    if (status == TORC_OK)
        status = rename_file(writer, "journal", head.number, "journal", head.number, ".tmp", "");
    if (status == TORC_OK)
        status = torci_vfs_sync_directory(writer->vfs, writer->directory);
    if (status == TORC_OK)
        writer->next_ready = true;
    return status;
}

/* One step towards a next segment that is ready. After an error there is none. */
static enum torc_status
next_step(struct torci_segment_writer *writer, uint64_t zeros)
{
    enum torc_status status;

    torc_assert(!writer->next_ready);
    if (writer->next == NULL) {
        status = begin_next(writer);
    } else if (writer->next_zeroed < TORCI_SEGMENT_SIZE) {
        uint64_t left = TORCI_SEGMENT_SIZE - writer->next_zeroed;
        uint64_t to = writer->next_zeroed + (zeros < left ? zeros : left);

        status = write_zeros(writer->next, writer->next_zeroed, to);
        writer->next_zeroed = to;
        /* Piece by piece, so that no single sync takes long; or all of it, by finish_next(). */
        if (status == TORC_OK && to < TORCI_SEGMENT_SIZE)
            status = torci_file_sync(writer->next);
    } else {
        status = finish_next(writer);
    }
    if (status != TORC_OK)
        drop_next(writer);
    return status;
}

static enum torc_status
complete_next(struct torci_segment_writer *writer)
{
    enum torc_status status = TORC_OK;

    while (status == TORC_OK && !writer->next_ready)
        status = next_step(writer, TORCI_SEGMENT_SIZE);
    return status;
}

/* The next segment becomes the current one. */
static void
enter_next(struct torci_segment_writer *writer)
{
    torc_assert(writer->next_ready && writer->next != NULL);

    close_file(&writer->file);
    writer->file = writer->next;
    writer->number++;
    writer->salt = writer->next_salt;
    writer->size = TORCI_SEGMENT_SIZE;
    writer->first = writer->seq;
    writer->offset = TORCI_SEGMENT_HEADER;
    writer->next = NULL;
    writer->next_ready = false;
    writer->next_zeroed = 0;
}

/* ---- Frames ---- */

static enum torc_status
fail(struct torci_segment_writer *writer, enum torc_status status)
{
    torc_assert(status != TORC_OK);
    writer->failed = status;
    return status;
}

/* How many bytes a frame here may carry; 0: none but LAST fits. */
static size_t
payload_room(const struct torci_segment_writer *writer)
{
    uint64_t left = writer->size - writer->offset;

    torc_assert(left >= TORCI_FRAME_HEADER);
    if (left <= 2 * TORCI_FRAME_HEADER)
        return 0;
    left -= 2 * TORCI_FRAME_HEADER;
    return left < TORCI_FRAME_PAYLOAD_MAX ? (size_t)left : (size_t)TORCI_FRAME_PAYLOAD_MAX;
}

/* Write the buffer as a frame. What ends a batch or a segment is durable afterwards, with all before it. */
static enum torc_status
write_frame(struct torci_segment_writer *writer, uint32_t flags, uint64_t cut)
{
    bool between = (flags & TORCI_FRAME_LAST) != 0 && !writer->open && writer->filled == 0;
    bool end = flags != 0, durable = end && !writer->unsynced;
    uint64_t size = torci_frame_size((uint32_t)writer->filled);
    struct torci_frame frame = {
        .payload = (uint32_t)writer->filled,
        .life = writer->life,
        .flags = writer->open || between ? flags : flags | TORCI_FRAME_BEGIN,
        .seq = writer->seq,
        .salt = writer->salt,
        .cut = cut,
        .synced = writer->synced,
        .first = writer->first,
    };

    torc_assert(writer->failed == TORC_OK && writer->offset + size <= writer->size);
    memset(writer->buffer + TORCI_FRAME_HEADER + writer->filled, 0, size - TORCI_FRAME_HEADER - writer->filled);
    torci_frame_put(writer->buffer, &frame);

    enum torc_status status = torci_file_write(writer->file, writer->offset, writer->buffer, size, durable);
    if (status == TORC_OK && end && !durable)
        status = torci_file_sync(writer->file);
    if (status != TORC_OK)
        return fail(writer, status);
    writer->unsynced = !end;
    writer->open = (flags & TORCI_FRAME_CUT) == 0 && !between;
    writer->offset += size;
    writer->filled = 0;
    if (!writer->open)
        writer->synced = writer->seq;
    writer->seq++;
    torc_assert(writer->offset % TORCI_FRAME_ALIGNMENT == 0);
    return TORC_OK;
}

/* End this segment with what is in the buffer, and go over to the next one. */
static enum torc_status
rotate(struct torci_segment_writer *writer)
{
    enum torc_status status = complete_next(writer);

    if (status != TORC_OK)
        return fail(writer, status);
    status = write_frame(writer, TORCI_FRAME_LAST, 0);
    if (status == TORC_OK)
        enter_next(writer);
    return status;
}

/* Make room for payload, where there is none. */
static enum torc_status
spill(struct torci_segment_writer *writer)
{
    torc_assert(writer->filled == payload_room(writer));
    if (writer->filled < TORCI_FRAME_PAYLOAD_MAX)
        return rotate(writer);
    return write_frame(writer, 0, 0);
}

enum torc_status
torci_segment_append(struct torci_segment_writer *writer, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    while (size > 0 && writer->failed == TORC_OK) {
        size_t room = payload_room(writer) - writer->filled, part = size < room ? size : room;

        if (room == 0) {
            enum torc_status status = spill(writer);

            if (status != TORC_OK)
                return status;
            continue;
        }
        memcpy(writer->buffer + TORCI_FRAME_HEADER + writer->filled, bytes, part);
        writer->filled += part;
        bytes += part;
        size -= part;
    }
    return writer->failed;
}

enum torc_status
torci_segment_cut(struct torci_segment_writer *writer, uint64_t cut)
{
    enum torc_status status = writer->failed;

    if (status == TORC_OK && payload_room(writer) == 0)
        status = rotate(writer);
    return status == TORC_OK ? write_frame(writer, TORCI_FRAME_CUT, cut) : status;
}

enum torc_status
torci_segment_rotate(struct torci_segment_writer *writer)
{
    enum torc_status status;

    if (writer->failed != TORC_OK || writer->offset == TORCI_SEGMENT_HEADER)
        return writer->failed;
    torc_assert(!writer->open && writer->filled == 0);
    status = complete_next(writer);
    return status == TORC_OK ? rotate(writer) : status;
}

/* ---- Beginning, going on, ending ---- */

/* What the segment's headers say of it, and all of its bytes there: room that is missing is filled. */
static enum torc_status
enter_current(struct torci_segment_writer *writer, uint64_t salt)
{
    unsigned char block[TORCI_SEGMENT_HEADER];
    struct torci_segment_head head;
    uint64_t size = 0;
    enum torc_status status = read_all(writer->file, 0, block, sizeof(block));

    if (status == TORC_OK)
        status = torci_segment_head_get(block, writer->store_id, writer->number, &head);
    if (status == TORC_OK && (head.salt != salt || head.size < writer->offset + TORCI_FRAME_HEADER))
        status = torci_fail(TORC_CORRUPT, "a segment is not as it was read");
    if (status != TORC_OK)
        return status;
    writer->salt = salt;
    writer->size = head.size;
    writer->first = writer->seq;
    if (writer->offset > TORCI_SEGMENT_HEADER) {
        struct torci_frame frame;

        status = read_all(writer->file, TORCI_SEGMENT_HEADER, block, TORCI_FRAME_HEADER);
        if (status == TORC_OK && (!torci_frame_get(block, &frame) || frame.first >= writer->seq))
            status = torci_fail(TORC_CORRUPT, "a segment is not as it was read");
        if (status == TORC_OK)
            writer->first = frame.first;
    }
    if (status == TORC_OK)
        status = torci_file_size(writer->file, &size);
    return status == TORC_OK && size < writer->size ? write_zeros(writer->file, size, writer->size) : status;
}

/* Where a batch begins whose last frame a segment holds, and where that ends. */
struct tail {
    uint64_t begin;
    uint64_t end;
};

/* Go through the frames up to `limit`, or to where there are no more: all were checked when they were read. */
static enum torc_status
find_tail(struct torci_segment_writer *writer, struct torci_file *file, uint64_t limit, struct tail *tail)
{
    uint64_t window = 0;
    size_t size = 0;

    *tail = (struct tail){.begin = TORCI_SEGMENT_HEADER, .end = TORCI_SEGMENT_HEADER};
    while (tail->end < limit) {
        struct torci_frame frame;

        if (tail->end < window || tail->end - window + TORCI_FRAME_HEADER > size) {
            enum torc_status status = torci_file_read(file, tail->end, writer->buffer, BUFFER_SIZE, &size);

            window = tail->end;
            if (status != TORC_OK || size < TORCI_FRAME_HEADER)
                return status;
        }
        if (!torci_frame_get(writer->buffer + (tail->end - window), &frame) || frame.seq >= writer->seq)
            return TORC_OK;
        if ((frame.flags & TORCI_FRAME_BEGIN) != 0)
            tail->begin = tail->end;
        tail->end += torci_frame_size(frame.payload);
        if ((frame.flags & TORCI_FRAME_LAST) != 0)
            return TORC_OK;
    }
    return TORC_OK;
}

/* Write the last batch of a file again, as it is, and sync. */
static enum torc_status
write_tail_again(struct torci_segment_writer *writer, struct torci_file *file, uint64_t limit)
{
    struct tail tail;
    enum torc_status status = find_tail(writer, file, limit, &tail);

    while (status == TORC_OK && tail.begin < tail.end) {
        uint64_t left = tail.end - tail.begin;
        size_t size = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;

        status = read_all(file, tail.begin, writer->buffer, size);
        if (status == TORC_OK)
            status = torci_file_write(file, tail.begin, writer->buffer, size, false);
        tail.begin += size;
    }
    return status == TORC_OK ? torci_file_sync(file) : status;
}

/* What a scan has read need not be on the disk: the process, not the machine, may have ended before a sync, or because
 * one had failed; and then the system may show bytes that no sync writes any more. So the last batch is written again:
 * what was before it, its own frames tell to be durable. If it ends the segment before, it is there. */
static enum torc_status
make_durable(struct torci_segment_writer *writer)
{
    struct torci_file *before;
    enum torc_status status = write_tail_again(writer, writer->file, writer->offset);

    if (status == TORC_OK && writer->number > 1 && writer->offset == TORCI_SEGMENT_HEADER) {
        status = open_file(writer, "journal", writer->number - 1, "", 0, &before);
        if (status == TORC_NOT_FOUND)
            status = TORC_OK;
        else if (status == TORC_OK)
            status = write_tail_again(writer, before, UINT64_MAX);
        close_file(&before);
    }
    return status == TORC_OK ? torci_vfs_sync_directory(writer->vfs, writer->directory) : status;
}

/* Let a place hold no frame, durably. */
static enum torc_status
erase_frame(struct torci_file *file, uint64_t offset)
{
    static const unsigned char zeros[TORCI_FRAME_HEADER];

    return torci_file_write(file, offset, zeros, sizeof(zeros), true);
}

/* Let segment `number` have no frame. */
static enum torc_status
erase_segment(struct torci_segment_writer *writer, uint64_t number)
{
    struct torci_file *file;
    enum torc_status status = open_file(writer, "journal", number, "", 0, &file);

    if (status == TORC_OK)
        status = erase_frame(file, TORCI_SEGMENT_HEADER);
    close_file(&file);
    return status;
}

/* Take later segments away: what they hold does not count. They may hold anything: parts of batches, what had failed
 * and was superseded, LAST with nothing behind it. So, whenever this is interrupted, a scan must find the same:
 *   1. the place where the journal ends is made to hold no frame, so that nothing behind it counts without them;
 *   2. so are their first ones, in order: until one is erased it still supersedes what it has superseded;
 *   3. they go, from the last one on, so that there never is a gap. */
static enum torc_status
take_away_later(struct torci_segment_writer *writer)
{
    struct listing listing;
    enum torc_status status = list(writer, writer->number, 0, &listing);

    if (status == TORC_OK && listing.greatest > 0 && writer->file != NULL)
        status = erase_frame(writer->file, writer->offset);
    for (uint64_t number = writer->number + 1; status == TORC_OK && number <= listing.greatest; number++)
        status = erase_segment(writer, number);
    while (status == TORC_OK && listing.greatest > 0) {
        status = retire(writer, listing.greatest, listing.spares);
        if (status == TORC_OK)
            status = torci_vfs_sync_directory(writer->vfs, writer->directory);
        if (status == TORC_OK)
            status = list(writer, writer->number, 0, &listing);
    }
    return status;
}

static enum torc_status
go_on(struct torci_segment_writer *writer, uint64_t salt)
{
    enum torc_status status = open_file(writer, "journal", writer->number, "", 0, &writer->file);

    if (status == TORC_OK)
        status = enter_current(writer, salt);
    if (status == TORC_OK)
        status = make_durable(writer);
    return status == TORC_OK ? take_away_later(writer) : status;
}

static enum torc_status
begin_fresh(struct torci_segment_writer *writer)
{
    enum torc_status status = take_away_later(writer);

    writer->number--;
    if (status == TORC_OK)
        status = complete_next(writer);
    if (status == TORC_OK)
        enter_next(writer);
    return status;
}

enum torc_status
torci_segment_writer_init(struct torci_segment_writer *writer, uint64_t number, uint64_t salt, uint64_t offset)
{
    enum torc_status status;

    torc_assert(writer->seq > 0 && writer->life > 0);
    torc_assert(offset == 0 || (offset >= TORCI_SEGMENT_HEADER && offset % TORCI_FRAME_ALIGNMENT == 0));
    writer->synced = writer->seq - 1;
    writer->file = writer->next = NULL;
    writer->number = number > 0 ? number : 1;
    writer->salt = salt;
    writer->offset = offset;
    writer->next_zeroed = 0;
    writer->next_ready = false;
    writer->filled = 0;
    writer->open = writer->unsynced = false;
    writer->failed = TORC_OK;
    writer->buffer = torci_alloc(writer->heap, BUFFER_SIZE);
    if (writer->buffer == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory for the journal's buffer");

    status = offset > 0 ? go_on(writer, salt) : begin_fresh(writer);
    if (status != TORC_OK)
        torci_segment_writer_fini(writer);
    return status;
}

void
torci_segment_writer_fini(struct torci_segment_writer *writer)
{
    drop_next(writer);
    close_file(&writer->file);
    torci_free(writer->heap, writer->buffer, BUFFER_SIZE);
    writer->buffer = NULL;
}

void
torci_segment_prepare(struct torci_segment_writer *writer)
{
    if (writer->failed != TORC_OK || writer->next_ready || writer->offset <= writer->size / 4)
        return;

    enum torc_status ignored = next_step(writer, ZEROED_AT_ONCE);
    (void)ignored;
}

enum torc_status
torci_segment_writer_restart(struct torci_segment_writer *writer)
{
    torc_assert(writer->failed != TORC_OK);

    enum torc_status status = complete_next(writer);
    if (status != TORC_OK)
        return fail(writer, status);
    writer->seq = writer->synced + 1;
    writer->filled = 0;
    writer->open = writer->unsynced = false;
    writer->failed = TORC_OK;
    enter_next(writer);
    return TORC_OK;
}

enum torc_status
torci_segments_recycle(struct torci_segment_writer *writer, uint64_t number)
{
    struct listing listing;
    enum torc_status status = list(writer, UINT64_MAX, number, &listing);

    torc_assert(number <= writer->number);
    while (status == TORC_OK && listing.least > 0) {
        status = retire(writer, listing.least, listing.spares);
        if (status == TORC_OK)
            status = list(writer, UINT64_MAX, number, &listing);
    }
    return status;
}

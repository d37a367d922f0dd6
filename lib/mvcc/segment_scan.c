/* SPDX-License-Identifier: MIT */
/* mvcc/segment_scan: reads a journal back, and judges where it ends (the rules stand in mvcc/segment.h).
 *
 *   1. survey   each segment's header and first frame; of one whose first frame is not valid, all of it
 *   2. read     frame by frame from the first segment on, batches shown as they complete
 *               SUPERSEDED  a later segment begins with the number that is expected next
 *               LAST        the segment says that it is complete
 *               TORN        anything else: the journal ends in this segment
 *   3. judge    the place where it is torn, and all segments behind it
 *
 * Invariants
 *   I1  No byte is trusted before its checksum is right, and no size more than what is there; memory is a window of the
 *       file and one batch, whose bytes have been read.
 *   I2  scan.number, offset and seq are always the place behind the last complete batch: `synced` >= scan.seq in any
 *       frame at or behind it is a contradiction, and proves damage.
 *   I3  scan.life grows with every valid frame that is looked at, counting or not. */
#include "mvcc/segment.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/status.h"
#include "mvcc/frame.h"

enum {
    WINDOW_SIZE = 4 * 1024 * 1024,
    INFOS_ROOM = 8,                     /* At first. */
    BATCH_ROOM = 64 * 1024,
};

_Static_assert(WINDOW_SIZE >= TORCI_FRAME_HEADER + TORCI_FRAME_PAYLOAD_LIMIT, "the window holds any frame");

enum ending { ENDING_SUPERSEDED, ENDING_LAST, ENDING_TORN };

struct scanner {
    struct torci_heap *heap;
    struct torci_vfs *vfs;
    const char *directory;
    const unsigned char *store_id;
    uint64_t from;
    enum torc_status (*visit)(void *context, struct torc_slice batch, uint64_t cut);
    void *context;
    struct torci_journal_scan *scan;
    /* The segment that is read, and the part of it that is in memory. */
    struct torci_file *file;
    const struct torci_segment_info *info;
    unsigned char *window;
    size_t window_room;
    uint64_t window_offset;
    size_t window_size;
    /* The place in the chain of frames. */
    uint64_t expected;                  /* The number of the next frame; 0: no frame has been seen. */
    uint32_t life;                      /* Of the last frame that counted; 0: none. */
    uint32_t complete_life;             /* Of the last complete batch. */
    bool open;                          /* Frames of a batch have been read. */
    bool headless;                      /* Its first one is before `from`. */
    uint64_t begun;                     /* The index of the segment where it begins. */
    bool closed;                        /* The last batch is empty, as an orderly close leaves it. */
    uint64_t pending;                   /* Bytes of frames behind the last complete batch. */
    unsigned char *batch;
    size_t batch_size;
    size_t batch_room;
};

/* ---- Memory ---- */

/* Room for `size` bytes, what is there kept. */
static enum torc_status
grow(struct torci_heap *heap, void **memory, size_t used, size_t *room, size_t least, size_t size)
{
    size_t wanted = *room > 0 ? *room : least;

    if (size <= *room)
        return TORC_OK;
    while (wanted < size) {
        if (wanted > SIZE_MAX / 2)
            return torci_fail(TORC_NO_MEMORY, "a batch of the journal is larger than memory can be");
        wanted *= 2;
    }
    void *larger = torci_alloc(heap, wanted);
    if (larger == NULL)
        return torci_fail(TORC_NO_MEMORY, "no memory to read the journal");
    if (used > 0)
        memcpy(larger, *memory, used);
    torci_free(heap, *memory, *room);
    *memory = larger;
    *room = wanted;
    return TORC_OK;
}

/* ---- The window ---- */

static enum torc_status
corrupt(const struct scanner *scanner, uint64_t offset, const char *what)
{
    char name[TORCI_SEGMENT_NAME_SIZE];

    torci_segment_name("journal", scanner->info->number, "", name);
    return torci_fail(TORC_CORRUPT, "%s at %" PRIu64 ": %s", name, offset, what);
}

/* `size` bytes at `offset`, until the next call; `*bytes` is NULL if the segment does not go on so far. */
static enum torc_status
view(struct scanner *scanner, uint64_t offset, size_t size, const unsigned char **bytes)
{
    uint64_t end = scanner->info->end;

    *bytes = NULL;
    if (offset > end || size > end - offset)
        return TORC_OK;
    if (offset < scanner->window_offset || offset - scanner->window_offset > scanner->window_size ||
        size > scanner->window_size - (offset - scanner->window_offset)) {
        size_t wanted = end - offset < scanner->window_room ? (size_t)(end - offset) : scanner->window_room;

        torc_assert(size <= wanted);
        scanner->window_offset = offset;
        scanner->window_size = 0;
        enum torc_status status =
            torci_file_read(scanner->file, offset, scanner->window, wanted, &scanner->window_size);
        if (status != TORC_OK)
            return status;
        if (scanner->window_size < size)
            return corrupt(scanner, offset + scanner->window_size, "the file has become shorter");
    }
    *bytes = scanner->window + (offset - scanner->window_offset);
    return TORC_OK;
}

static void
leave_segment(struct scanner *scanner)
{
    if (scanner->file != NULL) {
        enum torc_status ignored = torci_file_close(scanner->file);

        (void)ignored;
    }
    scanner->file = NULL;
}

static enum torc_status
enter_segment(struct scanner *scanner, const struct torci_segment_info *info)
{
    char path[TORCI_PATH_MAX];
    enum torc_status status = torci_segment_path(scanner->directory, "journal", info->number, "", path);

    leave_segment(scanner);
    scanner->info = info;
    scanner->window_offset = 0;
    scanner->window_size = 0;
    return status == TORC_OK ? torci_vfs_open(scanner->vfs, path, TORCI_OPEN_READ, &scanner->file) : status;
}

/* The frame at `offset`, if there is a whole one of this segment; else `*bytes` is NULL. */
static enum torc_status
frame_at(struct scanner *scanner, uint64_t offset, struct torci_frame *frame, const unsigned char **bytes)
{
    enum torc_status status = view(scanner, offset, TORCI_FRAME_HEADER, bytes);

    if (status != TORC_OK || *bytes == NULL)
        return status;
    if (!torci_frame_get(*bytes, frame) || frame->salt != scanner->info->salt) {
        *bytes = NULL;
        return TORC_OK;
    }
    status = view(scanner, offset, TORCI_FRAME_HEADER + frame->payload, bytes);
    if (status != TORC_OK || *bytes == NULL)
        return status;
    if (!torci_frame_intact(*bytes, frame))
        *bytes = NULL;
    else if (frame->life > scanner->scan->life)
        scanner->scan->life = frame->life;
    return TORC_OK;
}

/* ---- What lies behind the end ---- */

/* What valid frames were found, of a life that is not less than `life`. */
struct remains {
    uint32_t life;
    uint64_t synced;                    /* The greatest. */
    uint64_t end;                       /* Of the last one; 0: there is none. */
    bool first_durable;                 /* One says that the segment's first frame was durable. */
};

/* Look at each place from `offset` on; but not into valid frames, which may hold anything. */
static enum torc_status
search(struct scanner *scanner, uint64_t offset, struct remains *remains)
{
    torc_assert(offset % TORCI_FRAME_ALIGNMENT == 0);

    for (;;) {
        struct torci_frame frame;
        const unsigned char *bytes;
        enum torc_status status = view(scanner, offset, TORCI_FRAME_HEADER, &bytes);

        if (status != TORC_OK || bytes == NULL)
            return status;
        /* Most of it is zeros. */
        if (torci_fixed32_get(bytes) == 0) {
            offset += TORCI_FRAME_ALIGNMENT;
            continue;
        }
        status = frame_at(scanner, offset, &frame, &bytes);
        if (status != TORC_OK)
            return status;
        if (bytes == NULL) {
            offset += TORCI_FRAME_ALIGNMENT;
            continue;
        }
        offset += torci_frame_size(frame.payload);
        if (frame.life < remains->life)
            continue;
        remains->end = offset;
        if (frame.synced > remains->synced)
            remains->synced = frame.synced;
        remains->first_durable = remains->first_durable || frame.synced >= frame.first;
    }
}

/* Where the frame ends that was to be written at `offset`, if its header has come so far; else `offset`. A guess, from
 * what need not be true: not made after an orderly close. */
static enum torc_status
torn_end(struct scanner *scanner, uint64_t offset, uint64_t *end)
{
    struct torci_frame frame;
    const unsigned char *bytes;
    enum torc_status status = view(scanner, offset, TORCI_FRAME_HEADER, &bytes);

    *end = offset;
    if (status == TORC_OK && bytes != NULL && !scanner->closed && torci_frame_get(bytes, &frame) &&
        frame.salt == scanner->info->salt && frame.seq == scanner->expected && frame.life >= scanner->life)
        *end = offset + torci_frame_size(frame.payload);
    if (*end > scanner->info->end)
        *end = scanner->info->end;
    return status;
}

/* ---- 1. Survey ---- */

static int
compare_numbers(const void *a, const void *b)
{
    const struct torci_segment_info *left = a, *right = b;

    return (left->number > right->number) - (left->number < right->number);
}

static enum torc_status
list_name(void *context, const char *name)
{
    struct scanner *scanner = context;
    struct torci_journal_scan *scan = scanner->scan;
    size_t bytes = scan->infos_room * sizeof(*scan->infos);
    void *infos = scan->infos;
    uint64_t number;

    if (!torci_segment_named(name, "journal", &number) || number < scanner->from)
        return TORC_OK;

    enum torc_status status = grow(scanner->heap, &infos, scan->segments * sizeof(*scan->infos), &bytes,
                                   INFOS_ROOM * sizeof(*scan->infos), (scan->segments + 1) * sizeof(*scan->infos));
    scan->infos = infos;
    scan->infos_room = bytes / sizeof(*scan->infos);
    if (status == TORC_OK)
        scan->infos[scan->segments++] = (struct torci_segment_info){.number = number};
    return status;
}

static enum torc_status
missing(uint64_t number)
{
    char name[TORCI_SEGMENT_NAME_SIZE];

    torci_segment_name("journal", number, "", name);
    return torci_fail(TORC_MISSING, "%s is not there", name);
}

/* Which segments there are: contiguous, from the one that was asked for. */
static enum torc_status
list_segments(struct scanner *scanner)
{
    struct torci_journal_scan *scan = scanner->scan;
    enum torc_status status = torci_vfs_list(scanner->vfs, scanner->directory, list_name, scanner);

    if (status != TORC_OK)
        return status;
    if (scan->segments == 0)
        return scanner->from > 0 ? missing(scanner->from) : TORC_OK;
    qsort(scan->infos, scan->segments, sizeof(*scan->infos), compare_numbers);
    scan->from = scan->infos[0].number;
    if (scanner->from > 0 && scan->from != scanner->from)
        return missing(scanner->from);
    for (uint64_t i = 1; i < scan->segments; i++) {
        if (scan->infos[i].number != scan->from + i)
            return missing(scan->from + i);
    }
    return TORC_OK;
}

/* The header of a segment, and how much of it there is. */
static enum torc_status
survey_head(struct scanner *scanner, struct torci_segment_info *info)
{
    unsigned char block[TORCI_SEGMENT_HEADER];
    struct torci_segment_head head;
    uint64_t size = 0;
    size_t done = 0, room;
    enum torc_status status = enter_segment(scanner, info);

    if (status == TORC_OK)
        status = torci_file_size(scanner->file, &size);
    if (status == TORC_OK)
        status = torci_file_read(scanner->file, 0, block, sizeof(block), &done);
    if (status == TORC_OK && done < sizeof(block))
        status = corrupt(scanner, done, "the file ends within its header");
    if (status == TORC_OK)
        status = torci_segment_head_get(block, scanner->store_id, info->number, &head);
    if (status != TORC_OK)
        return status;
    info->salt = head.salt;
    info->size = head.size;
    info->cut_short = size < head.size;
    info->end = info->cut_short ? size : head.size;

    void *window = scanner->window;
    room = info->end < WINDOW_SIZE ? (size_t)info->end : WINDOW_SIZE;
    status = grow(scanner->heap, &window, 0, &scanner->window_room, room, room);
    scanner->window = window;
    return status;
}

/* The first frame of a segment. Without one, the rest is searched: by segment.h's I5 it would tell. */
static enum torc_status
survey(struct scanner *scanner, struct torci_segment_info *info)
{
    struct remains remains = {0};
    struct torci_frame frame;
    const unsigned char *bytes;
    enum torc_status status = survey_head(scanner, info);

    if (status == TORC_OK)
        status = frame_at(scanner, TORCI_SEGMENT_HEADER, &frame, &bytes);
    if (status != TORC_OK)
        return status;
    if (bytes != NULL && frame.seq == frame.first) {
        info->first_seq = frame.seq;
        return TORC_OK;
    }
    status = search(scanner, TORCI_SEGMENT_HEADER, &remains);
    if (status != TORC_OK)
        return status;
    info->synced = remains.synced;
    if (remains.end > 0)
        scanner->scan->torn_bytes += remains.end - TORCI_SEGMENT_HEADER;
    if (remains.first_durable)
        return corrupt(scanner, TORCI_SEGMENT_HEADER, "the first frame is damaged");
    return info->cut_short ? corrupt(scanner, info->end, "the file is too short") : TORC_OK;
}

/* ---- 2. Read ---- */

/* The least number with which a segment behind `index` begins; UINT64_MAX if none has a frame. */
static uint64_t
taken_over_at(const struct torci_journal_scan *scan, uint64_t index)
{
    uint64_t least = UINT64_MAX;

    for (uint64_t i = index + 1; i < scan->segments; i++) {
        if (scan->infos[i].first_seq > 0 && scan->infos[i].first_seq < least)
            least = scan->infos[i].first_seq;
    }
    return least;
}

/* All up to here is complete. */
static void
complete(struct scanner *scanner, uint64_t index, uint64_t offset)
{
    struct torci_journal_scan *scan = scanner->scan;

    scan->number = scan->infos[index].number;
    scan->salt = scan->infos[index].salt;
    scan->offset = offset;
    scan->seq = scanner->expected;
    scan->frame_bytes += scanner->pending;
    scanner->pending = 0;
    scanner->complete_life = scanner->life;
    scanner->open = scanner->headless = false;
    scanner->batch_size = 0;
}

/* Whether a valid frame at `offset` can be the one that follows. But for the last one, each leaves room for LAST. */
static bool
follows(const struct scanner *scanner, const struct torci_frame *frame, uint64_t offset)
{
    uint64_t room = scanner->info->size - offset - torci_frame_size(frame->payload);
    bool begin = (frame->flags & TORCI_FRAME_BEGIN) != 0;

    if (frame->seq != scanner->expected || frame->first != scanner->info->first_seq || frame->life < scanner->life)
        return false;
    if ((frame->flags & TORCI_FRAME_LAST) == 0 && room < TORCI_FRAME_HEADER)
        return false;
    if (scanner->open)
        return !begin && frame->life == scanner->life;
    return begin || (frame->flags == TORCI_FRAME_LAST && frame->payload == 0) || scanner->life == 0;
}

/* The batch ends with this payload: show it. */
static enum torc_status
show_batch(struct scanner *scanner, const struct torci_frame *frame, const unsigned char *payload, uint64_t index)
{
    struct torci_journal_scan *scan = scanner->scan;
    struct torc_slice batch = torc_slice(payload, frame->payload);

    for (uint64_t i = scanner->begun; i <= index; i++)
        scan->infos[i].cut = frame->cut;
    scan->cut = frame->cut;
    scanner->closed = batch.size == 0 && scanner->batch_size == 0;
    if (scanner->headless)
        return TORC_OK;
    scan->batches++;
    if (scanner->batch_size > 0)
        batch = torc_slice(scanner->batch, scanner->batch_size);
    return scanner->visit != NULL ? scanner->visit(scanner->context, batch, frame->cut) : TORC_OK;
}

static enum torc_status
keep_payload(struct scanner *scanner, const unsigned char *payload, uint32_t size)
{
    void *batch = scanner->batch;

    if (scanner->headless || size == 0)
        return TORC_OK;

    enum torc_status status = grow(scanner->heap, &batch, scanner->batch_size, &scanner->batch_room, BATCH_ROOM,
                                   scanner->batch_size + size);
    scanner->batch = batch;
    if (status == TORC_OK) {
        memcpy(scanner->batch + scanner->batch_size, payload, size);
        scanner->batch_size += size;
    }
    return status;
}

/* Take the frame that follows. */
static enum torc_status
take_frame(struct scanner *scanner, const struct torci_frame *frame, const unsigned char *bytes, uint64_t index,
           uint64_t offset)
{
    bool cut = (frame->flags & TORCI_FRAME_CUT) != 0, begin = (frame->flags & TORCI_FRAME_BEGIN) != 0;
    bool between = !scanner->open && frame->flags == TORCI_FRAME_LAST && frame->payload == 0;
    const unsigned char *payload = bytes + TORCI_FRAME_HEADER;
    enum torc_status status = TORC_OK;

    if (frame->synced >= scanner->scan->seq)
        return corrupt(scanner, offset, "frames before this one are damaged");
    if (!scanner->open && !between) {
        scanner->open = true;
        scanner->headless = !begin;
        scanner->begun = index;
    }
    if (scanner->headless && scanner->scan->from == 1)
        return corrupt(scanner, offset, "the journal begins within a batch");
    scanner->life = frame->life;
    scanner->expected++;
    scanner->pending += torci_frame_size(frame->payload);
    if (!cut || scanner->batch_size > 0)
        status = keep_payload(scanner, payload, frame->payload);
    if (status == TORC_OK && cut) {
        status = show_batch(scanner, frame, payload, index);
        complete(scanner, index, offset + torci_frame_size(frame->payload));
    }
    return status;
}

/* Read frames until the segment ends; `*offset` is where. */
static enum torc_status
read_segment(struct scanner *scanner, uint64_t index, uint64_t *offset, enum ending *ending)
{
    uint64_t limit = taken_over_at(scanner->scan, index);

    *offset = TORCI_SEGMENT_HEADER;
    for (;;) {
        struct torci_frame frame;
        const unsigned char *bytes;

        if (scanner->expected >= limit) {
            *ending = ENDING_SUPERSEDED;
            return scanner->open ? corrupt(scanner, *offset, "a later segment begins within a batch") : TORC_OK;
        }
        enum torc_status status = frame_at(scanner, *offset, &frame, &bytes);
        if (status != TORC_OK)
            return status;
        if (bytes == NULL || !follows(scanner, &frame, *offset)) {
            *ending = ENDING_TORN;
            return TORC_OK;
        }
        status = take_frame(scanner, &frame, bytes, index, *offset);
        if (status != TORC_OK)
            return status;
        *offset += torci_frame_size(frame.payload);
        if ((frame.flags & TORCI_FRAME_LAST) != 0) {
            *ending = ENDING_LAST;
            return TORC_OK;
        }
    }
}

/* ---- 3. Judge ---- */

/* The journal ends in this segment at `offset`, unless something behind it proves otherwise. */
static enum torc_status
judge(struct scanner *scanner, uint64_t index, uint64_t offset)
{
    struct torci_journal_scan *scan = scanner->scan;
    uint64_t end;
    struct remains remains = {.life = scanner->complete_life};
    enum torc_status status = torn_end(scanner, offset, &end);

    if (status == TORC_OK)
        status = search(scanner, offset, &remains);
    if (status != TORC_OK)
        return status;
    if (remains.end > end)
        end = remains.end;
    scan->torn_bytes += end - offset;
    for (uint64_t i = index + 1; i < scan->segments && remains.synced < scan->seq; i++) {
        if (scan->infos[i].first_seq == 0) {
            remains.synced = scan->infos[i].synced;
            continue;
        }
        struct remains later = {.life = scanner->complete_life};

        status = enter_segment(scanner, &scan->infos[i]);
        if (status == TORC_OK)
            status = search(scanner, TORCI_SEGMENT_HEADER, &later);
        if (status != TORC_OK)
            return status;
        if (later.end > 0)
            scan->torn_bytes += later.end - TORCI_SEGMENT_HEADER;
        remains.synced = later.synced;
    }
    scanner->info = &scan->infos[index];
    if (remains.synced >= scan->seq)
        return corrupt(scanner, offset, "frames that were durable are damaged");
    return scan->infos[index].cut_short ? corrupt(scanner, scan->infos[index].end, "the file is too short") : TORC_OK;
}

/* Behind LAST comes another segment. Between two batches, the journal goes on there. */
static enum torc_status
leave_by_last(struct scanner *scanner, uint64_t index)
{
    struct torci_journal_scan *scan = scanner->scan;

    if (index + 1 == scan->segments)
        return missing(scan->infos[index].number + 1);
    if (!scanner->open)
        complete(scanner, index + 1, TORCI_SEGMENT_HEADER);
    return TORC_OK;
}

/* The first segment that has a frame tells the first number; a journal without frames begins with 1. */
static void
begin_chain(struct scanner *scanner)
{
    struct torci_journal_scan *scan = scanner->scan;
    uint64_t first = taken_over_at(scan, 0);

    if (scan->infos[0].first_seq > 0 && scan->infos[0].first_seq < first)
        first = scan->infos[0].first_seq;
    scanner->expected = first != UINT64_MAX ? first : 1;
    complete(scanner, 0, TORCI_SEGMENT_HEADER);
}

static enum torc_status
read_all(struct scanner *scanner)
{
    struct torci_journal_scan *scan = scanner->scan;
    enum torc_status status = TORC_OK;

    begin_chain(scanner);
    for (uint64_t i = 0; status == TORC_OK && i < scan->segments; i++) {
        struct torci_segment_info *info = &scan->infos[i];
        uint64_t offset = TORCI_SEGMENT_HEADER;
        enum ending ending;

        /* Not begun, or the writer failed before it had come here. */
        if (info->first_seq == 0)
            continue;
        status = enter_segment(scanner, info);
        if (status == TORC_OK)
            status = read_segment(scanner, i, &offset, &ending);
        if (status != TORC_OK)
            return status;
        if (ending == ENDING_TORN)
            return judge(scanner, i, offset);
        if (ending == ENDING_LAST)
            status = leave_by_last(scanner, i);
    }
    return status;
}

void
torci_journal_scan_fini(struct torci_heap *heap, struct torci_journal_scan *scan)
{
    torci_free(heap, scan->infos, scan->infos_room * sizeof(*scan->infos));
    memset(scan, 0, sizeof(*scan));
}

enum torc_status
torci_journal_scan(struct torci_heap *heap, struct torci_vfs *vfs, const char *directory,
                   const unsigned char store_id[TORCI_STORE_ID_SIZE], uint64_t from,
                   enum torc_status (*visit)(void *context, struct torc_slice batch, uint64_t cut), void *context,
                   struct torci_journal_scan *scan)
{
    struct scanner scanner = {
        .heap = heap,
        .vfs = vfs,
        .directory = directory,
        .store_id = store_id,
        .from = from,
        .visit = visit,
        .context = context,
        .scan = scan,
    };

    memset(scan, 0, sizeof(*scan));
    scan->seq = 1;
    enum torc_status status = list_segments(&scanner);
    for (uint64_t i = 0; status == TORC_OK && i < scan->segments; i++)
        status = survey(&scanner, &scan->infos[i]);
    if (status == TORC_OK && scan->segments > 0)
        status = read_all(&scanner);
    scan->torn_bytes += scanner.pending;

    leave_segment(&scanner);
    torci_free(heap, scanner.window, scanner.window_room);
    torci_free(heap, scanner.batch, scanner.batch_room);
    if (status != TORC_OK)
        torci_journal_scan_fini(heap, scan);
    return status;
}

/* SPDX-License-Identifier: MIT */
/* mvcc/segment_fuzz: libFuzzer target: a journal of any bytes, read and gone on with. segment_test.c runs it, too, over
 * journals made there.
 *
 * The first byte chooses how many segments the rest is spread over, and whether what looks like a frame gets its right
 * salt and checksum: most bytes would end at a wrong one. Checked: a scan ends, with a status that it may have; what it
 * shows can be read; and a journal of one segment can be gone on with: then all is there, and one batch more. */
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/vfs_memory.h"
#include "mvcc/frame.h"
#include "mvcc/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONTENT = 4096, SALT = 77, REPAIR = 4 };

static const unsigned char store_id[TORCI_STORE_ID_SIZE] = "fuzz";

static void
require(bool holds)
{
    if (!holds)
        abort();
}

/* What a scan has shown, folded into one number. */
struct shown {
    uint64_t hash;
    uint64_t batches;
};

static void
fold(struct shown *shown, struct torc_slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        shown->hash = (shown->hash ^ ((const unsigned char *)bytes.data)[i]) * UINT64_C(0x100000001b3);
}

static enum torc_status
visit(void *context, struct torc_slice batch, uint64_t cut)
{
    struct shown *shown = context;
    struct torc_slice ops;
    struct torci_op op;
    uint64_t stamp;

    fold(shown, torc_slice(&cut, sizeof(cut)));
    fold(shown, batch);
    shown->batches++;
    while (torci_batch_next(&batch, &stamp, &ops) == TORC_OK) {
        while (torci_op_next(&ops, &op) == TORC_OK) {
            fold(shown, op.key);
            fold(shown, op.value);
        }
    }
    return TORC_OK;
}

static void
repair(unsigned char *content)
{
    for (size_t at = 0; at + TORCI_FRAME_HEADER <= CONTENT; at += TORCI_FRAME_ALIGNMENT) {
        uint32_t payload = torci_fixed32_get(content + at + 8);

        if (memcmp(content + at, "tfrm", 4) != 0 || payload > CONTENT - at - TORCI_FRAME_HEADER)
            continue;
        torci_fixed64_put(content + at + 32, SALT);
        uint32_t crc = torci_crc32c(0, content + at + 8, TORCI_FRAME_HEADER - 8 + payload);
        torci_fixed32_put(content + at + 4, torci_crc32c_mask(crc));
    }
}

static void
put_segment(struct torci_vfs *vfs, uint64_t number, const uint8_t *data, size_t size, bool repaired)
{
    struct torci_segment_head head = {.number = number, .salt = SALT, .size = TORCI_SEGMENT_HEADER + CONTENT};
    unsigned char block[TORCI_SEGMENT_HEADER], content[CONTENT] = {0};
    char path[TORCI_PATH_MAX];
    struct torci_file *file;

    memcpy(head.store_id, store_id, sizeof(store_id));
    torci_segment_head_put(block, &head);
    if (size > 0)
        memcpy(content, data, size < CONTENT ? size : CONTENT);
    if (repaired)
        repair(content);
    require(torci_segment_path("d", "journal", number, "", path) == TORC_OK);
    require(torci_vfs_open(vfs, path, TORCI_OPEN_WRITE | TORCI_OPEN_CREATE, &file) == TORC_OK);
    require(torci_file_write(file, 0, block, sizeof(block), false) == TORC_OK);
    require(torci_file_write(file, sizeof(block), content, sizeof(content), false) == TORC_OK);
    require(torci_file_close(file) == TORC_OK);
}

/* All is still there, and one batch more, and an orderly close. */
static void
go_on(struct torci_heap *heap, struct torci_vfs *vfs, const struct torci_journal_scan *scan, struct shown before)
{
    struct torci_segment_writer *writer = torci_alloc(heap, sizeof(*writer));
    struct torci_journal_scan again;
    struct shown after = {0};

    require(writer != NULL);
    *writer = (struct torci_segment_writer){
        .heap = heap, .vfs = vfs, .directory = "d", .life = scan->life + 1, .seq = scan->seq};
    memcpy(writer->store_id, store_id, sizeof(store_id));
    require(torci_segment_writer_init(writer, scan->number, scan->salt, scan->offset) == TORC_OK);
    require(torci_segment_append(writer, "one more", 8) == TORC_OK);
    require(torci_segment_cut(writer, 4711) == TORC_OK);
    require(torci_segment_cut(writer, 4712) == TORC_OK);
    torci_segment_writer_fini(writer);
    torci_free(heap, writer, sizeof(*writer));

    require(torci_journal_scan(heap, vfs, "d", store_id, 0, visit, &after, &again) == TORC_OK);
    require(visit(&before, torc_slice("one more", 8), 4711) == TORC_OK);
    require(visit(&before, torc_slice(NULL, 0), 4712) == TORC_OK);
    require(after.batches == before.batches && after.hash == before.hash);
    require(again.cut == 4712 && again.torn_bytes == 0);
    torci_journal_scan_fini(heap, &again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct torci_heap heap;
    struct torci_journal_scan scan;
    struct shown shown = {0};

    if (size == 0)
        return 0;
    torci_heap_init(&heap, NULL, 0);
    struct torci_vfs *vfs = torci_vfs_memory_create(&heap, false);
    require(vfs != NULL && torci_vfs_make_directory(vfs, "d") == TORC_OK);

    size_t segments = 1 + data[0] % 3, part = (size - 1) / segments;
    /* Of number 1 it is known that nothing was before it. */
    uint64_t first = 1 + data[0] / 128;
    for (size_t i = 0; i < segments; i++)
        put_segment(vfs, first + i, data + 1 + i * part, part, (data[0] & REPAIR) != 0);

    enum torc_status status = torci_journal_scan(&heap, vfs, "d", store_id, 0, visit, &shown, &scan);
    require(status == TORC_OK || status == TORC_CORRUPT || status == TORC_MISSING);
    if (status == TORC_OK) {
        require(scan.segments == segments && scan.from == first && scan.batches == shown.batches);
        require(scan.number >= first && scan.number < first + segments && scan.salt == SALT && scan.seq > 0);
        require(scan.offset >= TORCI_SEGMENT_HEADER);
        require(scan.offset + TORCI_FRAME_HEADER <= TORCI_SEGMENT_HEADER + CONTENT);
        if (segments == 1)
            go_on(&heap, vfs, &scan, shown);
        torci_journal_scan_fini(&heap, &scan);
    }
    torci_vfs_memory_destroy(vfs);
    require(torci_heap_bytes(&heap) == 0);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* mvcc/checkpoint_fuzz_testing: libFuzzer target of the checkpoint's reader. See checkpoint_fuzz_testing.h.
 *
 *   input   how many of: where 2, what 1 (changes of the file, made before it is signed)
 *           then blocks: keyspace 1, entries 1, size 2, bytes
 *   file    header, these blocks, an index and a footer that fit them, changed as asked for, signed */
#include "mvcc/checkpoint_fuzz_testing.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/vfs_memory.h"
#include "mvcc/checkpoint.h"
#include "mvcc/record.h"

enum {
    STAMP = 1000,
    THREADS = 3,
    BLOCKS_MAX = 24,
    CHANGES_MAX = 4,
    KEYSPACES = 3,
    FILE_MAX = 1 << 18,
};

static const unsigned char own_id[TORCI_STORE_ID_SIZE] = "the fuzzer's own";

static void
demand(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* ---- Signing ---- */

static void
sign(unsigned char *stored, uint32_t crc)
{
    torci_fixed32_put(stored, torci_crc32c_mask(crc));
}

static void
sign_blocks(unsigned char *data, uint64_t index, uint64_t index_size, uint64_t blocks)
{
    for (uint64_t i = 0; i < blocks && (i + 1) * TORCI_CHECKPOINT_PLACE <= index_size; i++) {
        const unsigned char *place = data + index + i * TORCI_CHECKPOINT_PLACE;
        uint64_t offset = torci_fixed64_get(place);
        uint64_t size = torci_fixed32_get(place + 8) + (uint64_t)TORCI_CHECKPOINT_BLOCK;

        if (offset < index && size <= index - offset)
            sign(data + offset + 4, torci_crc32c(0, data + offset + 8, (size_t)size - 8));
    }
}

void
torct_checkpoint_sign(unsigned char *data, size_t size)
{
    unsigned char *footer = data + size - TORCI_CHECKPOINT_FOOTER;
    uint64_t index, index_size;

    if (size < TORCI_CHECKPOINT_HEADER + TORCI_CHECKPOINT_FOOTER)
        return;
    sign(data + TORCI_CHECKPOINT_CRC,
         torci_crc32c(torci_crc32c(0, data, TORCI_CHECKPOINT_CRC), data + TORCI_CHECKPOINT_CRC + 4,
                      TORCI_CHECKPOINT_HEADER - TORCI_CHECKPOINT_CRC - 4));
    index = torci_fixed64_get(footer + 16);
    index_size = torci_fixed64_get(footer + 24);
    if (index <= size - TORCI_CHECKPOINT_FOOTER && index_size <= size - TORCI_CHECKPOINT_FOOTER - index) {
        sign_blocks(data, index, index_size, torci_fixed64_get(footer + 32));
        sign(footer + 8, torci_crc32c(0, data + index, (size_t)index_size));
    }
    sign(footer + 4, torci_crc32c(0, footer + 8, TORCI_CHECKPOINT_FOOTER - 8));
}

/* ---- Judging ---- */

/* What was shown to a thread. */
struct shown {
    uint64_t entries;
    uint64_t keyspace;
    unsigned char key[TORC_KEY_SIZE_MAX];
    size_t key_size;
    bool descended;             /* Between two ranges: then the whole must be refused in the end. */
};

struct judge {
    uint64_t stamp;
    uint64_t keyspaces;
    uint64_t last_id;
    struct shown threads[THREADS];
};

static enum torc_status
judge_keyspace(void *context, uint64_t id, struct torc_slice name)
{
    struct judge *judge = context;

    demand(id > judge->last_id, "ids do not ascend");
    demand(name.size > 0 && name.size <= TORC_NAME_SIZE_MAX, "a name's size");
    judge->last_id = id;
    judge->keyspaces++;
    return TORC_OK;
}

static enum torc_status
judge_entries(void *context, unsigned thread, uint64_t keyspace, const struct torci_restored *entries, size_t count)
{
    struct judge *judge = context;
    struct shown *shown = &judge->threads[thread];

    demand(thread < THREADS && count > 0, "a thread's number, or no entries");
    demand(keyspace <= judge->last_id, "a keyspace that is not listed");
    shown->descended |= keyspace < shown->keyspace;
    if (keyspace != shown->keyspace)
        shown->key_size = 0;
    shown->keyspace = keyspace;
    for (size_t i = 0; i < count; i++) {
        const struct torci_restored *entry = &entries[i];

        demand(entry->key.size > 0 && entry->key.size <= TORC_KEY_SIZE_MAX, "a key's size");
        shown->descended |= torci_key_compare(torc_slice(shown->key, shown->key_size), entry->key) >= 0;
        demand(entry->stamp % 2 == 1 && entry->stamp < judge->stamp && !entry->deleted, "a stamp");
        memcpy(shown->key, entry->key.data, entry->key.size);
        shown->key_size = entry->key.size;
    }
    shown->entries += count;
    return TORC_OK;
}

static enum torc_status
judge_by(struct torci_heap *heap, struct torci_vfs *vfs, unsigned threads, uint64_t stamp,
         const unsigned char *store_id)
{
    struct judge *judge = calloc(1, sizeof *judge);
    struct torci_checkpoint_reader reader = {judge_keyspace, judge_entries, judge};
    struct torci_checkpoint_info info;
    enum torc_status status;
    uint64_t entries = 0;

    demand(judge != NULL, "no memory");
    judge->stamp = stamp;
    status = torci_checkpoint_read(heap, vfs, "d", stamp, store_id, threads, &reader, &info);
    for (unsigned i = 0; i < THREADS; i++) {
        entries += judge->threads[i].entries;
        demand(status != TORC_OK || !judge->threads[i].descended, "keys do not ascend");
    }
    if (status == TORC_OK)
        demand(info.entries == entries && info.keyspaces == judge->keyspaces + 1, "the figures");
    else
        demand(info.entries == 0, "figures of what is damaged");
    free(judge);
    return status;
}

enum torc_status
torct_checkpoint_judge(const unsigned char *data, size_t size, uint64_t stamp, const unsigned char *store_id)
{
    char name[TORCI_CHECKPOINT_NAME], path[64];
    struct torci_heap heap;
    struct torci_file *file = NULL;
    struct torci_vfs *vfs;
    enum torc_status status;

    torci_heap_init(&heap, NULL, 0);
    vfs = torci_vfs_memory_create(&heap, false);
    torci_checkpoint_name(stamp, name);
    snprintf(path, sizeof path, "d/%s", name);
    demand(vfs != NULL && torci_vfs_make_directory(vfs, "d") == TORC_OK, "no directory");
    demand(torci_vfs_open(vfs, path, TORCI_OPEN_WRITE | TORCI_OPEN_CREATE, &file) == TORC_OK, "no file");
    demand(size == 0 || torci_file_write(file, 0, data, size, false) == TORC_OK, "no write");
    demand(torci_file_close(file) == TORC_OK, "no close");
    status = judge_by(&heap, vfs, 1, stamp, store_id);
    demand(status == TORC_OK || status == TORC_CORRUPT || status == TORC_FOREIGN, torc_status_name(status));
    demand(judge_by(&heap, vfs, THREADS, stamp, store_id) == status, "threads do not agree");
    torci_vfs_memory_destroy(vfs);
    demand(torci_heap_bytes(&heap) == 0, "memory is kept");
    return status;
}

/* ---- Building ---- */

struct building {
    unsigned char *data;
    size_t size;
    unsigned blocks;
    uint64_t entries;
    unsigned char places[BLOCKS_MAX * TORCI_CHECKPOINT_PLACE];
};

static void
build_header(struct building *building)
{
    memcpy(building->data, TORCI_CHECKPOINT_MAGIC, 8);
    torci_fixed32_put(building->data + 8, TORCI_CHECKPOINT_FORMAT);
    memcpy(building->data + 16, own_id, sizeof own_id);
    torci_fixed64_put(building->data + 32, STAMP);
    building->size = TORCI_CHECKPOINT_HEADER;
}

/* Take a block from the front of `input`. */
static void
build_block(struct building *building, struct torc_slice *input)
{
    const unsigned char *bytes = input->data;
    unsigned char *out = building->data + building->size;
    unsigned char *place = building->places + building->blocks * TORCI_CHECKPOINT_PLACE;
    size_t size = torci_fixed16_get(bytes + 2);

    if (size > input->size - 4)
        size = input->size - 4;
    torci_fixed64_put(place, building->size);
    torci_fixed32_put(place + 8, (uint32_t)size);
    torci_fixed32_put(place + 12, bytes[1]);
    torci_fixed32_put(out, (uint32_t)size);
    torci_fixed64_put(out + 8, bytes[0]);
    torci_fixed32_put(out + 16, bytes[1]);
    torci_fixed32_put(out + 20, 0);
    memcpy(out + TORCI_CHECKPOINT_BLOCK, bytes + 4, size);
    building->size += TORCI_CHECKPOINT_BLOCK + size;
    building->blocks++;
    building->entries += bytes[1];
    *input = torc_slice(bytes + 4 + size, input->size - 4 - size);
}

static void
build_end(struct building *building)
{
    uint64_t index = building->size;
    unsigned char *footer;

    memcpy(building->data + building->size, building->places, building->blocks * (size_t)TORCI_CHECKPOINT_PLACE);
    building->size += building->blocks * (size_t)TORCI_CHECKPOINT_PLACE;
    for (unsigned i = 0; i < KEYSPACES; i++) {
        unsigned char *out = building->data + building->size;

        torci_fixed64_put(out, i);
        out[8] = i > 0;
        out[9] = (unsigned char)('a' + i);
        building->size += TORCI_CHECKPOINT_KEYSPACE + (i > 0);
    }
    footer = building->data + building->size;
    torci_fixed32_put(footer, TORCI_CHECKPOINT_FOOTER_MAGIC);
    torci_fixed32_put(footer + 12, KEYSPACES);
    torci_fixed64_put(footer + 16, index);
    torci_fixed64_put(footer + 24, building->size - index);
    torci_fixed64_put(footer + 32, building->blocks);
    torci_fixed64_put(footer + 40, building->entries);
    torci_fixed64_put(footer + 48, STAMP);
    torci_fixed64_put(footer + 56, 1);
    building->size += TORCI_CHECKPOINT_FOOTER;
}

/* Change a byte of what is not a block's entries: counted from the end, or in the header. */
static void
change(struct building *building, const unsigned char *how)
{
    size_t where = torci_fixed16_get(how);
    size_t at = where < 40 ? where : building->size - 1 - where % (building->size - TORCI_CHECKPOINT_HEADER);

    building->data[at] ^= how[2];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct building building = {.data = calloc(1, FILE_MAX)};
    struct torc_slice input = torc_slice(data, size);
    unsigned changes = size > 0 ? data[0] % (CHANGES_MAX + 1) : 0;
    size_t front = 1 + 3 * (size_t)changes;

    demand(building.data != NULL, "no memory");
    if (size < front || size > FILE_MAX / 4) {
        free(building.data);
        return 0;
    }
    input = torc_slice(data + front, size - front);
    build_header(&building);
    while (input.size >= 4 && building.blocks < BLOCKS_MAX)
        build_block(&building, &input);
    build_end(&building);
    for (unsigned i = 0; i < changes; i++)
        change(&building, data + 1 + 3 * (size_t)i);
    torct_checkpoint_sign(building.data, building.size);
    (void)torct_checkpoint_judge(building.data, building.size, STAMP, own_id);
    free(building.data);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* mvcc/checkpoint: writing all keys of a snapshot to a file. See checkpoint.h.
 *
 *   keyspaces, by id --> batches of records, one section each --> (record, version, stamp) --> block --> file
 *
 * What a batch has found stays until the snapshot ends, because it is live there (txn.h I2): so it is copied, and
 * written, outside of the section. */
#include "mvcc/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "mvcc/snapshot.h"
#include "mvcc/txn.h"

enum {
#if defined(TORC_TINY)
    BLOCK_BYTES = 256,
    SYNC_BYTES = 2048,
    PLACES_FIRST = 2,
#else
    BLOCK_BYTES = 64 * 1024,
    SYNC_BYTES = 8 * 1024 * 1024,       /* So that no sync, of this file or of another one, takes long. */
    PLACES_FIRST = 1024,
#endif
    ENTRY_OVERHEAD = 8 + 1 + 2 * TORCI_VARINT32_SIZE_MAX + 8,
    BUFFER_BYTES = BLOCK_BYTES + TORCI_CHECKPOINT_BLOCK + TORC_KEY_SIZE_MAX + ENTRY_OVERHEAD,
    EXAMINED_BYTES = 32,                /* What looking at a record counts in a step's budget. */
};

struct place {
    uint64_t offset;
    uint32_t size;
    uint32_t count;
};

/* A keyspace, and what stays of it while our snapshot is open. */
struct source {
    struct torc_keyspace *keyspace;
    struct torci_index *index;
    uint64_t id;
    uint8_t name_size;
    unsigned char name[TORC_NAME_SIZE_MAX];     /* Also when the snapshot has ended. */
};

/* A value to be written. */
struct found {
    struct torci_record *record;
    struct torci_version *version;
    uint64_t stamp;
};

struct torci_checkpoint {
    struct torc_mvcc *store;
    struct torci_vfs *vfs;
    struct torc_txn *txn;               /* Holds the snapshot. NULL: all keys are written. */
    uint64_t stamp;
    uint64_t settled;
    struct torci_moment moment;         /* Values that had expired then are left out. */
    enum torc_status failed;

    struct source *sources;             /* By id. */
    size_t sources_count;
    size_t sources_room;
    size_t source;                      /* The one that is being written. */
    unsigned char *position;            /* The last key of it that was looked at; TORC_KEY_SIZE_MAX bytes. */
    size_t position_size;               /* 0: none yet. */
    struct torci_bookmark mark;
    unsigned wanted;
    bool walked;                        /* Nothing follows `found`. */
    unsigned found_next;
    unsigned found_count;
    struct found found[TORCI_BATCH_MAX];

    unsigned char *buffer;              /* BUFFER_BYTES: a block, later the index. */
    size_t used;
    uint32_t block_count;               /* Entries of the block. */
    struct place *places;
    size_t places_count;
    size_t places_room;
    uint64_t entries;

    struct torci_file *file;
    uint64_t offset;                    /* Where the file ends. */
    uint64_t unsynced;
    char directory[TORCI_PATH_MAX];
    char path[TORCI_PATH_MAX];
    char temporary[TORCI_PATH_MAX];
};

/* ---- The file ---- */

void
torci_checkpoint_name(uint64_t stamp, char name[TORCI_CHECKPOINT_NAME])
{
    snprintf(name, TORCI_CHECKPOINT_NAME, "checkpoint-%016jx", (uintmax_t)stamp);
}

static enum torc_status
append(struct torci_checkpoint *checkpoint, const void *data, size_t size)
{
    enum torc_status status = torci_file_write(checkpoint->file, checkpoint->offset, data, size, false);

    if (status != TORC_OK)
        return status;
    checkpoint->offset += size;
    checkpoint->unsynced += size;
    if (checkpoint->unsynced < SYNC_BYTES)
        return TORC_OK;
    checkpoint->unsynced = 0;
    return torci_file_sync(checkpoint->file);
}

/* A path in the directory; TORC_TOO_LARGE. */
static enum torc_status
make_path(const struct torci_checkpoint *checkpoint, const char *suffix, char path[TORCI_PATH_MAX])
{
    char name[TORCI_CHECKPOINT_NAME];
    int size;

    torci_checkpoint_name(checkpoint->stamp, name);
    size = snprintf(path, TORCI_PATH_MAX, "%s/%s%s", checkpoint->directory, name, suffix);
    if (size < 0 || size >= TORCI_PATH_MAX)
        return torci_fail(TORC_TOO_LARGE, "the path of a checkpoint is too long");
    return TORC_OK;
}

static enum torc_status
open_file(struct torci_checkpoint *checkpoint, const char *directory)
{
    enum torc_status status;

    if (strlen(directory) >= TORCI_PATH_MAX)
        return torci_fail(TORC_TOO_LARGE, "the path of a checkpoint is too long");
    memcpy(checkpoint->directory, directory, strlen(directory) + 1);
    status = make_path(checkpoint, "", checkpoint->path);
    if (status == TORC_OK)
        status = make_path(checkpoint, ".tmp", checkpoint->temporary);
    if (status == TORC_OK)
        status = torci_vfs_open(checkpoint->vfs, checkpoint->temporary,
                                TORCI_OPEN_WRITE | TORCI_OPEN_CREATE | TORCI_OPEN_TRUNCATE, &checkpoint->file);
    if (status != TORC_OK)
        checkpoint->file = NULL;
    return status;
}

static enum torc_status
write_header(struct torci_checkpoint *checkpoint, const unsigned char store_id[TORCI_STORE_ID_SIZE])
{
    unsigned char *header = checkpoint->buffer;
    uint32_t crc;

    _Static_assert((int)BUFFER_BYTES >= (int)TORCI_CHECKPOINT_HEADER, "the header finds room");
    memset(header, 0, TORCI_CHECKPOINT_HEADER);
    memcpy(header, TORCI_CHECKPOINT_MAGIC, 8);
    torci_fixed32_put(header + 8, TORCI_CHECKPOINT_FORMAT);
    memcpy(header + 16, store_id, TORCI_STORE_ID_SIZE);
    torci_fixed64_put(header + 32, checkpoint->stamp);
    crc = torci_crc32c(0, header, TORCI_CHECKPOINT_CRC);
    crc = torci_crc32c(crc, header + TORCI_CHECKPOINT_CRC + 4, TORCI_CHECKPOINT_HEADER - TORCI_CHECKPOINT_CRC - 4);
    torci_fixed32_put(header + TORCI_CHECKPOINT_CRC, torci_crc32c_mask(crc));
    return append(checkpoint, header, TORCI_CHECKPOINT_HEADER);
}

/* ---- Blocks ---- */

static enum torc_status
no_memory(void)
{
    return torci_fail(TORC_NO_MEMORY, "no memory for a checkpoint");
}

/* Note the place of the block that is about to be written, with entries of `size` bytes. */
static enum torc_status
note_place(struct torci_checkpoint *checkpoint, size_t size)
{
    struct torci_heap *heap = &checkpoint->store->heap;

    if (checkpoint->places_count == checkpoint->places_room) {
        size_t room = checkpoint->places_room == 0 ? PLACES_FIRST : 2 * checkpoint->places_room;
        struct place *places = torci_alloc(heap, room * sizeof *places);

        if (places == NULL)
            return no_memory();
        if (checkpoint->places_count > 0)
            memcpy(places, checkpoint->places, checkpoint->places_count * sizeof *places);
        torci_free(heap, checkpoint->places, checkpoint->places_room * sizeof *places);
        checkpoint->places = places;
        checkpoint->places_room = room;
    }
    checkpoint->places[checkpoint->places_count++] =
        (struct place){checkpoint->offset, (uint32_t)size, checkpoint->block_count};
    checkpoint->entries += checkpoint->block_count;
    return TORC_OK;
}

/* Complete the block's header but for the checksum, whose part it returns: of what the header holds after it. `size` is
 * of the entries. */
static uint32_t
put_block_header(struct torci_checkpoint *checkpoint, size_t size)
{
    unsigned char *header = checkpoint->buffer;

    torci_fixed32_put(header, (uint32_t)size);
    torci_fixed64_put(header + 8, checkpoint->sources[checkpoint->source].id);
    torci_fixed32_put(header + 16, checkpoint->block_count);
    torci_fixed32_put(header + 20, 0);
    return torci_crc32c(0, header + 8, TORCI_CHECKPOINT_BLOCK - 8);
}

static void
begin_block(struct torci_checkpoint *checkpoint)
{
    checkpoint->used = TORCI_CHECKPOINT_BLOCK;
    checkpoint->block_count = 0;
}

/* Write what the buffer holds. */
static enum torc_status
flush_block(struct torci_checkpoint *checkpoint)
{
    size_t size = checkpoint->used - TORCI_CHECKPOINT_BLOCK;
    enum torc_status status;
    uint32_t crc;

    if (checkpoint->block_count == 0)
        return TORC_OK;
    crc = put_block_header(checkpoint, size);
    crc = torci_crc32c(crc, checkpoint->buffer + TORCI_CHECKPOINT_BLOCK, size);
    torci_fixed32_put(checkpoint->buffer + 4, torci_crc32c_mask(crc));
    status = note_place(checkpoint, size);
    if (status == TORC_OK)
        status = append(checkpoint, checkpoint->buffer, checkpoint->used);
    begin_block(checkpoint);
    return status;
}

/* Put an entry up to its value into the buffer. */
static void
put_front(struct torci_checkpoint *checkpoint, const struct found *found, struct torc_slice value)
{
    struct torc_slice key = torci_record_key(found->record);
    unsigned char *out = checkpoint->buffer + checkpoint->used;

    torci_fixed64_put(out, found->stamp);
    out += 8;
    *out++ = found->version->flags == TORCI_VERSION_EXPIRES ? TORCI_CHECKPOINT_EXPIRES : 0;
    out += torci_varint32_put(out, (uint32_t)key.size);
    memcpy(out, key.data, key.size);
    out += key.size;
    out += torci_varint32_put(out, (uint32_t)value.size);
    checkpoint->used = (size_t)(out - checkpoint->buffer);
    checkpoint->block_count++;
}

/* Write a block of one entry, whose value goes from where it is into the file. `size` is the entry's. */
static enum torc_status
write_large(struct torci_checkpoint *checkpoint, const struct found *found, struct torc_slice value, size_t size)
{
    unsigned char time[8];
    size_t time_size = found->version->flags == TORCI_VERSION_EXPIRES ? sizeof time : 0;
    enum torc_status status;
    uint32_t crc;

    torci_fixed64_put(time, torci_version_expires(found->version));
    put_front(checkpoint, found, value);
    torc_assert(checkpoint->used + value.size + time_size == TORCI_CHECKPOINT_BLOCK + size);
    torc_assert(checkpoint->used <= BUFFER_BYTES);
    crc = put_block_header(checkpoint, size);
    crc = torci_crc32c(crc, checkpoint->buffer + TORCI_CHECKPOINT_BLOCK, checkpoint->used - TORCI_CHECKPOINT_BLOCK);
    crc = torci_crc32c(crc, value.data, value.size);
    crc = torci_crc32c(crc, time, time_size);
    torci_fixed32_put(checkpoint->buffer + 4, torci_crc32c_mask(crc));
    status = note_place(checkpoint, size);
    if (status == TORC_OK)
        status = append(checkpoint, checkpoint->buffer, checkpoint->used);
    if (status == TORC_OK && value.size > 0)
        status = append(checkpoint, value.data, value.size);
    if (status == TORC_OK && time_size > 0)
        status = append(checkpoint, time, time_size);
    begin_block(checkpoint);
    return status;
}

/* Write one value, now or with the block. `*size` is the entry's. */
static enum torc_status
put_entry(struct torci_checkpoint *checkpoint, const struct found *found, size_t *size)
{
    struct torc_slice value = torci_version_value(found->version);
    bool expires = found->version->flags == TORCI_VERSION_EXPIRES;
    enum torc_status status = TORC_OK;

    *size = 8 + 1 + torci_varint_size(found->record->key_size) + found->record->key_size +
            torci_varint_size(value.size) + value.size + (expires ? 8 : 0);
    if (checkpoint->used + *size > BLOCK_BYTES)
        status = flush_block(checkpoint);
    if (status != TORC_OK)
        return status;
    if (checkpoint->used + *size > BLOCK_BYTES)
        return write_large(checkpoint, found, value, *size);
    put_front(checkpoint, found, value);
    if (value.size > 0)
        memcpy(checkpoint->buffer + checkpoint->used, value.data, value.size);
    checkpoint->used += value.size;
    if (expires) {
        torci_fixed64_put(checkpoint->buffer + checkpoint->used, torci_version_expires(found->version));
        checkpoint->used += 8;
    }
    return TORC_OK;
}

/* ---- What there is to write ---- */

static enum torc_status
make_room(struct torci_checkpoint *checkpoint, size_t room)
{
    struct torci_heap *heap = &checkpoint->store->heap;
    struct source *sources = torci_alloc(heap, room * sizeof *sources);

    if (sources == NULL)
        return no_memory();
    if (checkpoint->sources_count > 0)
        memcpy(sources, checkpoint->sources, checkpoint->sources_count * sizeof *sources);
    torci_free(heap, checkpoint->sources, checkpoint->sources_room * sizeof *sources);
    checkpoint->sources = sources;
    checkpoint->sources_room = room;
    return TORC_OK;
}

/* Inside a section. A keyspace that is in use after our snapshot was taken stays as it is until that ends, dropped or
 * not (keyspace.h I3: its `gone` is later). */
static void
add_source(struct torci_checkpoint *checkpoint, struct torc_keyspace *keyspace)
{
    struct source *source = &checkpoint->sources[checkpoint->sources_count];

    if (!torci_keyspace_usable(keyspace))
        return;
    *source = (struct source){keyspace, keyspace->index, keyspace->id, keyspace->name_size, {0}};
    memcpy(source->name, keyspace->name, keyspace->name_size);
    checkpoint->sources_count++;
}

/* Add all that are in use now; some may be there already. */
static enum torc_status
add_sources(struct torci_checkpoint *checkpoint)
{
    struct torc_mvcc *store = checkpoint->store;
    enum torc_status status = TORC_OK;
    bool added = false;

    while (status == TORC_OK && !added) {
        struct torci_epoch_guard guard = torci_epoch_enter();
        /* keyspace.h A1 */
        const struct torci_catalogue *catalogue = torci_load(&store->catalogue, memory_order_acquire);
        size_t count = catalogue == NULL ? 0 : catalogue->count;
        size_t room = checkpoint->sources_count + 1 + count;

        added = room <= checkpoint->sources_room;
        if (added)
            add_source(checkpoint, store->main);
        for (size_t i = 0; added && i < count; i++)
            add_source(checkpoint, catalogue->keyspaces[i]);
        torci_epoch_exit(guard);
        if (!added)
            status = make_room(checkpoint, room);
    }
    return status;
}

static int
compare_sources(const void *a, const void *b)
{
    const struct source *one = a;
    const struct source *other = b;

    return (one->id > other->id) - (one->id < other->id);
}

/* Whether the snapshot has the keyspace. Its stamps up to the snapshot's are known. */
static bool
belongs(const struct torci_checkpoint *checkpoint, const struct source *source)
{
    uint64_t dropped = torci_load(&source->keyspace->dropped, memory_order_seq_cst); /* store.h A2 */

    return source->keyspace->created <= checkpoint->stamp && (dropped == 0 || dropped > checkpoint->stamp);
}

/* Sort them, and leave what belongs to the snapshot, once. */
static void
sift_sources(struct torci_checkpoint *checkpoint)
{
    struct source *sources = checkpoint->sources;
    size_t count = 0;

    qsort(sources, checkpoint->sources_count, sizeof *sources, compare_sources);
    for (size_t i = 0; i < checkpoint->sources_count; i++) {
        if ((count == 0 || sources[count - 1].id != sources[i].id) && belongs(checkpoint, &sources[i]))
            sources[count++] = sources[i];
    }
    checkpoint->sources_count = count;
    torc_assert(count > 0 && sources[0].id == 0);
}

/* Find the keyspaces of the snapshot. Who decides to make or to drop one, does so and makes it known within one
 * section: after a grace period, all that was decided before the snapshot is known. The first look finds what is
 * dropped meanwhile, the second one what was being made. */
static enum torc_status
find_sources(struct torci_checkpoint *checkpoint)
{
    enum torc_status status = add_sources(checkpoint);

    if (status != TORC_OK)
        return status;
    torci_epoch_wait();
    status = add_sources(checkpoint);
    if (status != TORC_OK)
        return status;
    checkpoint->settled = torci_clock_read_stamp(&checkpoint->store->clock);
    sift_sources(checkpoint);
    return TORC_OK;
}

static void
begin_source(struct torci_checkpoint *checkpoint)
{
    checkpoint->position_size = 0;
    checkpoint->mark = (struct torci_bookmark){NULL, NULL, 0};
    checkpoint->wanted = TORCI_BATCH_FIRST;
    checkpoint->walked = false;
    checkpoint->found_next = 0;
    checkpoint->found_count = 0;
}

/* Keep what the snapshot shows of a record. Inside a section. */
static void
look_at(struct torci_checkpoint *checkpoint, struct torci_record *record)
{
    struct torci_clock *clock = &checkpoint->store->clock;
    struct torci_version *version = torci_record_visible(record, checkpoint->stamp, clock);

    if (!torci_version_shows(version, &checkpoint->moment))
        return;
    checkpoint->found[checkpoint->found_count++] =
        (struct found){record, version, torci_version_verdict(version, clock).stamp};
}

/* One section: look at the next records. Returns how many. */
static unsigned
find_more(struct torci_checkpoint *checkpoint)
{
    struct torci_epoch_guard guard = torci_epoch_enter();
    struct torci_batch batch;

    checkpoint->found_next = 0;
    checkpoint->found_count = 0;
    batch.wanted = checkpoint->wanted;
    batch.mark = checkpoint->mark;
    torci_index_seek_on(checkpoint->sources[checkpoint->source].index, guard,
                        torc_slice(checkpoint->position, checkpoint->position_size), false, false, &batch);
    torci_batch_prefetch_versions(&batch);
    for (unsigned i = 0; i < batch.count; i++)
        look_at(checkpoint, batch.records[i]);
    if (batch.count > 0) {
        const struct torci_record *last = batch.records[batch.count - 1];

        memcpy(checkpoint->position, last->key, last->key_size);
        checkpoint->position_size = last->key_size;
    }
    checkpoint->walked = batch.count == 0 || batch.end;
    checkpoint->mark = batch.mark;
    checkpoint->wanted = batch.wanted * 2 < TORCI_BATCH_MAX ? batch.wanted * 2 : TORCI_BATCH_MAX;
    torci_epoch_exit(guard);
    return batch.count;
}

/* ---- Beginning and ending ---- */

/* Free all; the file is not touched but closed. */
static void
destroy(struct torci_checkpoint *checkpoint)
{
    struct torci_heap *heap = &checkpoint->store->heap;

    if (checkpoint->txn != NULL)
        torci_txn_end_holder(checkpoint->txn);
    if (checkpoint->file != NULL) {
        enum torc_status ignored = torci_file_close(checkpoint->file);

        (void)ignored; /* What it holds is durable, or does not count. */
    }
    torci_free(heap, checkpoint->sources, checkpoint->sources_room * sizeof *checkpoint->sources);
    torci_free(heap, checkpoint->places, checkpoint->places_room * sizeof *checkpoint->places);
    torci_free(heap, checkpoint->buffer, BUFFER_BYTES);
    torci_free(heap, checkpoint->position, TORC_KEY_SIZE_MAX);
    torci_free(heap, checkpoint, sizeof *checkpoint);
}

static enum torc_status
allocate(struct torci_checkpoint *checkpoint)
{
    struct torci_heap *heap = &checkpoint->store->heap;

    checkpoint->buffer = torci_alloc(heap, BUFFER_BYTES);
    if (checkpoint->buffer != NULL)
        checkpoint->position = torci_alloc(heap, TORC_KEY_SIZE_MAX);
    return checkpoint->position != NULL ? TORC_OK : no_memory();
}

enum torc_status
torci_checkpoint_begin(struct torc_mvcc *store, struct torci_vfs *vfs, const char *directory,
                       const unsigned char store_id[TORCI_STORE_ID_SIZE], struct torci_checkpoint **checkpoint)
{
    struct torci_checkpoint *fresh = torci_alloc_zeroed(&store->heap, sizeof *fresh);
    enum torc_status status;

    *checkpoint = NULL;
    if (fresh == NULL)
        return no_memory();
    fresh->store = store;
    fresh->vfs = vfs;
    status = allocate(fresh);
    if (status == TORC_OK)
        status = torci_txn_begin_lasting(store, &fresh->txn);
    if (status != TORC_OK) {
        fresh->txn = NULL;
        destroy(fresh);
        return status;
    }
    fresh->stamp = fresh->txn->slot.snapshot;
    fresh->moment.store = store;
    status = find_sources(fresh);
    if (status == TORC_OK)
        status = open_file(fresh, directory);
    if (status == TORC_OK)
        status = write_header(fresh, store_id);
    if (status != TORC_OK) {
        torci_checkpoint_abandon(fresh);
        return status;
    }
    begin_source(fresh);
    begin_block(fresh);
    *checkpoint = fresh;
    return TORC_OK;
}

uint64_t
torci_checkpoint_stamp(const struct torci_checkpoint *checkpoint)
{
    return checkpoint->stamp;
}

uint64_t
torci_checkpoint_settled(const struct torci_checkpoint *checkpoint)
{
    return checkpoint->settled;
}

void
torci_checkpoint_abandon(struct torci_checkpoint *checkpoint)
{
    enum torc_status ignored;
    struct torci_vfs *vfs;

    if (checkpoint == NULL)
        return;
    vfs = checkpoint->vfs;
    if (checkpoint->file == NULL) {
        destroy(checkpoint);
        return;
    }
    ignored = torci_file_close(checkpoint->file);
    checkpoint->file = NULL;
    /* If it cannot be removed now, it will be when the directory is opened. */
    ignored = torci_vfs_remove(vfs, checkpoint->temporary);
    (void)ignored;
    destroy(checkpoint);
}

/* ---- Steps ---- */

/* The current keyspace is written. */
static enum torc_status
end_source(struct torci_checkpoint *checkpoint)
{
    enum torc_status status = flush_block(checkpoint);

    if (status != TORC_OK)
        return status;
    checkpoint->source++;
    begin_source(checkpoint);
    if (checkpoint->source < checkpoint->sources_count)
        return TORC_OK;
    torci_txn_end_holder(checkpoint->txn);
    checkpoint->txn = NULL;
    return TORC_OK;
}

/* The least that can be done. `*size` is what it counts. */
static enum torc_status
advance(struct torci_checkpoint *checkpoint, size_t *size)
{
    *size = EXAMINED_BYTES;
    if (checkpoint->found_next < checkpoint->found_count)
        return put_entry(checkpoint, &checkpoint->found[checkpoint->found_next++], size);
    if (checkpoint->walked)
        return end_source(checkpoint);
    *size += find_more(checkpoint) * (size_t)EXAMINED_BYTES;
    return TORC_OK;
}

enum torc_status
torci_checkpoint_step(struct torci_checkpoint *checkpoint, size_t budget, bool *done)
{
    enum torc_status status = checkpoint->failed;
    size_t size = 0;

    *done = false;
    torc_assert(status == TORC_OK);
    for (size_t spent = 0; status == TORC_OK && checkpoint->txn != NULL && spent <= budget;
         spent = size < SIZE_MAX - spent ? spent + size : SIZE_MAX)
        status = advance(checkpoint, &size);
    checkpoint->failed = status;
    *done = status == TORC_OK && checkpoint->txn == NULL;
    return status;
}

/* ---- The end of the file ---- */

/* Put `size` bytes into the index; `*crc` goes along. */
static enum torc_status
put_index(struct torci_checkpoint *checkpoint, const void *data, size_t size, uint32_t *crc)
{
    enum torc_status status = TORC_OK;

    if (checkpoint->used + size > BUFFER_BYTES) {
        status = append(checkpoint, checkpoint->buffer, checkpoint->used);
        checkpoint->used = 0;
    }
    memcpy(checkpoint->buffer + checkpoint->used, data, size);
    checkpoint->used += size;
    *crc = torci_crc32c(*crc, data, size);
    return status;
}

static enum torc_status
put_places(struct torci_checkpoint *checkpoint, uint32_t *crc)
{
    enum torc_status status = TORC_OK;

    for (size_t i = 0; i < checkpoint->places_count && status == TORC_OK; i++) {
        unsigned char bytes[TORCI_CHECKPOINT_PLACE];

        torci_fixed64_put(bytes, checkpoint->places[i].offset);
        torci_fixed32_put(bytes + 8, checkpoint->places[i].size);
        torci_fixed32_put(bytes + 12, checkpoint->places[i].count);
        status = put_index(checkpoint, bytes, sizeof bytes, crc);
    }
    return status;
}

static enum torc_status
put_keyspaces(struct torci_checkpoint *checkpoint, uint32_t *crc)
{
    enum torc_status status = TORC_OK;

    for (size_t i = 0; i < checkpoint->sources_count && status == TORC_OK; i++) {
        const struct source *source = &checkpoint->sources[i];
        unsigned char bytes[TORCI_CHECKPOINT_KEYSPACE + TORC_NAME_SIZE_MAX];

        torci_fixed64_put(bytes, source->id);
        bytes[8] = source->name_size;
        memcpy(bytes + TORCI_CHECKPOINT_KEYSPACE, source->name, source->name_size);
        status = put_index(checkpoint, bytes, (size_t)TORCI_CHECKPOINT_KEYSPACE + source->name_size, crc);
    }
    return status;
}

static void
make_footer(const struct torci_checkpoint *checkpoint, const struct torci_checkpoint_info *info, uint64_t index_offset,
            uint32_t index_crc, unsigned char footer[TORCI_CHECKPOINT_FOOTER])
{
    torci_fixed32_put(footer, TORCI_CHECKPOINT_FOOTER_MAGIC);
    torci_fixed32_put(footer + 8, torci_crc32c_mask(index_crc));
    torci_fixed32_put(footer + 12, (uint32_t)info->keyspaces);
    torci_fixed64_put(footer + 16, index_offset);
    torci_fixed64_put(footer + 24, checkpoint->offset - index_offset);
    torci_fixed64_put(footer + 32, info->blocks);
    torci_fixed64_put(footer + 40, info->entries);
    torci_fixed64_put(footer + 48, info->stamp);
    torci_fixed64_put(footer + 56, info->journal_from);
    torci_fixed32_put(footer + 4, torci_crc32c_mask(torci_crc32c(0, footer + 8, TORCI_CHECKPOINT_FOOTER - 8)));
}

/* Write what follows the blocks, and make all of it durable. */
static enum torc_status
complete(struct torci_checkpoint *checkpoint, struct torci_checkpoint_info *info)
{
    unsigned char footer[TORCI_CHECKPOINT_FOOTER];
    uint64_t index_offset = checkpoint->offset;
    enum torc_status status;
    uint32_t crc = 0;

    checkpoint->used = 0;
    status = put_places(checkpoint, &crc);
    if (status == TORC_OK)
        status = put_keyspaces(checkpoint, &crc);
    if (status == TORC_OK)
        status = append(checkpoint, checkpoint->buffer, checkpoint->used);
    if (status != TORC_OK)
        return status;
    make_footer(checkpoint, info, index_offset, crc, footer);
    status = append(checkpoint, footer, sizeof footer);
    if (status == TORC_OK)
        status = torci_file_sync(checkpoint->file);
    info->bytes = checkpoint->offset;
    return status;
}

/* Give the complete file its name. After that it may count, so it stays, whatever follows. */
static enum torc_status
publish(struct torci_checkpoint *checkpoint)
{
    enum torc_status status = torci_vfs_rename(checkpoint->vfs, checkpoint->temporary, checkpoint->path);

    if (status != TORC_OK) {
        torci_checkpoint_abandon(checkpoint);
        return status;
    }
    status = torci_vfs_sync_directory(checkpoint->vfs, checkpoint->directory);
    destroy(checkpoint);
    return status;
}

enum torc_status
torci_checkpoint_install(struct torci_checkpoint *checkpoint, uint64_t journal_from, struct torci_checkpoint_info *info)
{
    struct torci_checkpoint_info made = {.stamp = checkpoint->stamp,
                                         .journal_from = journal_from,
                                         .blocks = checkpoint->places_count,
                                         .entries = checkpoint->entries,
                                         .keyspaces = checkpoint->sources_count};
    enum torc_status status;

    torc_assert(checkpoint->failed == TORC_OK && checkpoint->txn == NULL);
    status = complete(checkpoint, &made);
    if (status == TORC_OK)
        status = publish(checkpoint);
    else
        torci_checkpoint_abandon(checkpoint);
    if (info != NULL)
        *info = status == TORC_OK ? made : (struct torci_checkpoint_info){0};
    return status;
}

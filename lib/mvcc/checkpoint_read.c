/* SPDX-License-Identifier: MIT */
/* mvcc/checkpoint_read: reading a checkpoint back, by several threads. See checkpoint.h.
 *
 *   footer, header, index --> keyspaces --> ranges of blocks, each taken whole by one thread --> their edges compared
 *
 * Invariants
 *   I1  Nothing of the file is believed before its checksum is right, and no size before it is within the file.
 *   I2  Blocks follow one another without a gap, from the header to the index: so their places need no more checks, and
 *       all of them together are no larger than the file.
 * Ordering   Threads share what is immutable after they are started, and two atomic words, of which nothing else
 *            depends: relaxed. What they return is read after they are joined. */
#include "mvcc/checkpoint.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "mvcc/record.h"

enum {
    RANGES_PER_THREAD = 8,              /* So that none waits for another for long at the end. */
    ENTRY_BYTES_MIN = 8 + 1 + 1 + 1 + 1,
#if defined(TORC_TINY)
    TOGETHER = 3,
#else
    TOGETHER = 256,                     /* Entries shown at once. */
#endif
};

/* Where a range begins or ends, kept until all have been read. */
struct edge {
    uint64_t keyspace;
    unsigned char *key;
    size_t key_size;
};

struct range {
    struct edge first;
    struct edge last;
};

struct footer {
    uint32_t index_crc;
    uint32_t keyspaces;
    uint64_t index_offset;
    uint64_t index_size;
    uint64_t blocks;
    uint64_t entries;
    uint64_t stamp;
    uint64_t journal_from;
};

/* One call of torci_checkpoint_read(). Immutable while threads run, but for the atomics, and a range for its reader. */
struct reading {
    struct torci_heap *heap;
    const struct torci_checkpoint_reader *reader;
    char name[TORCI_CHECKPOINT_NAME];
    uint64_t stamp;
    struct torci_file *file;
    uint64_t size;
    struct footer footer;
    unsigned char *index;               /* footer.index_size bytes. */
    uint64_t *keyspaces;                /* Ids, ascending. */
    struct range *ranges;
    uint64_t ranges_count;
    _Atomic(uint64_t) next;             /* The range that is taken next. */
    _Atomic(uint32_t) stop;             /* Somebody has failed. */
};

/* A thread that reads. */
struct worker {
    struct reading *reading;
    unsigned number;
    pthread_t thread;
    enum torc_status status;
    char detail[TORCI_DETAIL_SIZE_MAX + 1];
    unsigned char *buffer;              /* A block. */
    size_t buffer_room;
    /* Of the range: where it stands. */
    uint64_t keyspace;
    unsigned char *key;                 /* The last one; TORC_KEY_SIZE_MAX bytes. */
    size_t key_size;                    /* 0: there was none. */
    struct torci_restored entries[TOGETHER];
};

static enum torc_status
corrupt(const struct reading *reading, uint64_t offset, const char *what)
{
    return torci_fail(TORC_CORRUPT, "%s, byte %" PRIu64 ": %s", reading->name, offset, what);
}

static enum torc_status
no_memory(void)
{
    return torci_fail(TORC_NO_MEMORY, "no memory to read a checkpoint");
}

static enum torc_status
read_exactly(const struct reading *reading, uint64_t offset, void *buffer, size_t size)
{
    size_t done = 0;
    enum torc_status status = torci_file_read(reading->file, offset, buffer, size, &done);

    if (status != TORC_OK)
        return status;
    return done == size ? TORC_OK : corrupt(reading, offset + done, "the file ends");
}

static bool
checksum_is(const unsigned char *stored, uint32_t crc)
{
    return torci_fixed32_get(stored) == torci_crc32c_mask(crc);
}

/* ---- Header, footer, index ---- */

static enum torc_status
read_header(const struct reading *reading, const unsigned char store_id[TORCI_STORE_ID_SIZE])
{
    unsigned char header[TORCI_CHECKPOINT_HEADER];
    enum torc_status status;
    uint32_t crc;

    if (reading->size < TORCI_CHECKPOINT_HEADER + TORCI_CHECKPOINT_FOOTER)
        return corrupt(reading, reading->size, "the file ends");
    status = read_exactly(reading, 0, header, sizeof header);
    if (status != TORC_OK)
        return status;
    crc = torci_crc32c(0, header, TORCI_CHECKPOINT_CRC);
    crc = torci_crc32c(crc, header + TORCI_CHECKPOINT_CRC + 4, sizeof header - TORCI_CHECKPOINT_CRC - 4);
    if (memcmp(header, TORCI_CHECKPOINT_MAGIC, 8) != 0)
        return corrupt(reading, 0, "it does not begin as a checkpoint does");
    if (!checksum_is(header + TORCI_CHECKPOINT_CRC, crc))
        return corrupt(reading, 0, "the header's checksum is wrong");
    if (torci_fixed32_get(header + 8) != TORCI_CHECKPOINT_FORMAT)
        return torci_fail(TORC_FOREIGN, "%s has format %" PRIu32 ", which this version does not know", reading->name,
                          torci_fixed32_get(header + 8));
    if (memcmp(header + 16, store_id, TORCI_STORE_ID_SIZE) != 0)
        return torci_fail(TORC_FOREIGN, "%s is another store's", reading->name);
    if (torci_fixed64_get(header + 32) != reading->stamp)
        return corrupt(reading, 32, "its stamp is not what its name says");
    return TORC_OK;
}

static enum torc_status
read_footer(struct reading *reading)
{
    uint64_t offset = reading->size - TORCI_CHECKPOINT_FOOTER;
    unsigned char bytes[TORCI_CHECKPOINT_FOOTER];
    struct footer *footer = &reading->footer;
    enum torc_status status = read_exactly(reading, offset, bytes, sizeof bytes);

    if (status != TORC_OK)
        return status;
    if (torci_fixed32_get(bytes) != TORCI_CHECKPOINT_FOOTER_MAGIC ||
        !checksum_is(bytes + 4, torci_crc32c(0, bytes + 8, sizeof bytes - 8)))
        return corrupt(reading, offset, "it does not end as a checkpoint does");
    *footer = (struct footer){.index_crc = torci_fixed32_get(bytes + 8),
                              .keyspaces = torci_fixed32_get(bytes + 12),
                              .index_offset = torci_fixed64_get(bytes + 16),
                              .index_size = torci_fixed64_get(bytes + 24),
                              .blocks = torci_fixed64_get(bytes + 32),
                              .entries = torci_fixed64_get(bytes + 40),
                              .stamp = torci_fixed64_get(bytes + 48),
                              .journal_from = torci_fixed64_get(bytes + 56)};
    if (footer->stamp != reading->stamp)
        return corrupt(reading, offset, "the footer is of another checkpoint");
    if (footer->index_size > offset - TORCI_CHECKPOINT_HEADER || footer->index_offset != offset - footer->index_size ||
        footer->blocks > footer->index_size / TORCI_CHECKPOINT_PLACE || footer->keyspaces == 0 ||
        footer->keyspaces > (footer->index_size - footer->blocks * TORCI_CHECKPOINT_PLACE) / TORCI_CHECKPOINT_KEYSPACE)
        return corrupt(reading, offset, "the footer's sizes are not those of the file");
    return TORC_OK;
}

static const unsigned char *
place_of(const struct reading *reading, uint64_t block)
{
    return reading->index + block * TORCI_CHECKPOINT_PLACE;
}

/* I2, and the number of entries. */
static enum torc_status
check_places(const struct reading *reading)
{
    uint64_t offset = TORCI_CHECKPOINT_HEADER;
    uint64_t entries = 0;

    for (uint64_t i = 0; i < reading->footer.blocks; i++) {
        const unsigned char *place = place_of(reading, i);
        uint32_t size = torci_fixed32_get(place + 8);
        uint32_t count = torci_fixed32_get(place + 12);

        if (torci_fixed64_get(place) != offset || count == 0 || count > size / ENTRY_BYTES_MIN ||
            size + (uint64_t)TORCI_CHECKPOINT_BLOCK > reading->footer.index_offset - offset)
            return corrupt(reading, reading->footer.index_offset + i * TORCI_CHECKPOINT_PLACE,
                           "the place of a block is impossible");
        offset += size + (uint64_t)TORCI_CHECKPOINT_BLOCK;
        entries += count;
    }
    if (offset != reading->footer.index_offset || entries != reading->footer.entries)
        return corrupt(reading, reading->footer.index_offset, "the index does not cover the file");
    return TORC_OK;
}

/* The next keyspace of `list`: its id and name. The default one is the first, and has no name. */
static enum torc_status
take_keyspace(struct torc_slice *list, uint64_t number, uint64_t *id, struct torc_slice *name)
{
    struct torc_slice size = {NULL, 0};
    enum torc_status status = torci_fixed64_take(list, id);

    if (status == TORC_OK)
        status = torci_bytes_take(list, 1, &size);
    if (status == TORC_OK)
        status = torci_bytes_take(list, *(const unsigned char *)size.data, name);
    if (status != TORC_OK || name->size > TORC_NAME_SIZE_MAX)
        return TORC_CORRUPT;
    return (number == 0) == (*id == 0) && (number == 0) == (name->size == 0) ? TORC_OK : TORC_CORRUPT;
}

/* Check the list of keyspaces, and keep the ids. */
static enum torc_status
check_keyspaces(struct reading *reading, struct torc_slice list)
{
    for (uint64_t i = 0; i < reading->footer.keyspaces; i++) {
        uint64_t offset = reading->size - TORCI_CHECKPOINT_FOOTER - list.size;
        struct torc_slice name;

        if (take_keyspace(&list, i, &reading->keyspaces[i], &name) != TORC_OK ||
            (i > 0 && reading->keyspaces[i] <= reading->keyspaces[i - 1]))
            return corrupt(reading, offset, "a keyspace is impossible");
    }
    return list.size == 0 ? TORC_OK : corrupt(reading, reading->footer.index_offset, "the index is too long");
}

static struct torc_slice
keyspaces_list(const struct reading *reading)
{
    size_t places = (size_t)(reading->footer.blocks * TORCI_CHECKPOINT_PLACE);

    return torc_slice(reading->index + places, (size_t)reading->footer.index_size - places);
}

static enum torc_status
read_index(struct reading *reading)
{
    const struct footer *footer = &reading->footer;
    enum torc_status status;

    reading->index = torci_alloc(reading->heap, (size_t)footer->index_size);
    if (reading->index != NULL)
        reading->keyspaces = torci_alloc(reading->heap, footer->keyspaces * sizeof *reading->keyspaces);
    if (reading->keyspaces == NULL)
        return no_memory();
    status = read_exactly(reading, footer->index_offset, reading->index, (size_t)footer->index_size);
    if (status != TORC_OK)
        return status;
    if (footer->index_crc != torci_crc32c_mask(torci_crc32c(0, reading->index, (size_t)footer->index_size)))
        return corrupt(reading, footer->index_offset, "the index's checksum is wrong");
    status = check_places(reading);
    return status == TORC_OK ? check_keyspaces(reading, keyspaces_list(reading)) : status;
}

static enum torc_status
show_keyspaces(const struct reading *reading)
{
    struct torc_slice list = keyspaces_list(reading);
    enum torc_status status = TORC_OK;

    if (reading->reader == NULL || reading->reader->keyspace == NULL)
        return TORC_OK;
    for (uint64_t i = 0; i < reading->footer.keyspaces && status == TORC_OK; i++) {
        struct torc_slice name;
        uint64_t id;

        status = take_keyspace(&list, i, &id, &name);
        if (status == TORC_OK && i > 0)
            status = reading->reader->keyspace(reading->reader->context, id, name);
    }
    return status;
}

/* ---- Blocks ---- */

static bool
is_listed(const struct reading *reading, uint64_t keyspace)
{
    uint64_t low = 0;
    uint64_t high = reading->footer.keyspaces;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (reading->keyspaces[middle] < keyspace)
            low = middle + 1;
        else
            high = middle;
    }
    return low < reading->footer.keyspaces && reading->keyspaces[low] == keyspace;
}

/* Take one entry from the front of `rest`. */
static bool
take_entry(struct torc_slice *rest, uint64_t snapshot, struct torci_restored *entry)
{
    struct torc_slice flags;
    uint32_t size;

    *entry = (struct torci_restored){.expires = UINT64_MAX};
    if (torci_fixed64_take(rest, &entry->stamp) != TORC_OK || torci_bytes_take(rest, 1, &flags) != TORC_OK ||
        torci_varint32_take(rest, &size) != TORC_OK || torci_bytes_take(rest, size, &entry->key) != TORC_OK ||
        torci_varint32_take(rest, &size) != TORC_OK || torci_bytes_take(rest, size, &entry->value) != TORC_OK)
        return false;
    switch (*(const unsigned char *)flags.data) {
    case 0:
        break;
    case TORCI_CHECKPOINT_EXPIRES:
        if (torci_fixed64_take(rest, &entry->expires) != TORC_OK || entry->expires == UINT64_MAX)
            return false;
        break;
    default:
        return false;
    }
    return entry->stamp % 2 == 1 && entry->stamp < snapshot && entry->key.size > 0 &&
           entry->key.size <= TORC_KEY_SIZE_MAX && entry->value.size <= TORC_VALUE_SIZE_MAX;
}

static enum torc_status
show_entries(const struct worker *worker, size_t count)
{
    const struct torci_checkpoint_reader *reader = worker->reading->reader;

    if (reader == NULL || reader->entries == NULL)
        return TORC_OK;
    return reader->entries(reader->context, worker->number, worker->keyspace, worker->entries, count);
}

/* Show what a block holds, whose checksum was right. `before` is the key before the first one; empty: there is none. */
static enum torc_status
show_block(struct worker *worker, uint64_t offset, struct torc_slice rest, uint32_t count)
{
    const struct reading *reading = worker->reading;
    struct torc_slice before = torc_slice(worker->key, worker->key_size);
    enum torc_status status = TORC_OK;
    size_t filled = 0;

    for (uint32_t i = 0; i < count && status == TORC_OK; i++) {
        struct torci_restored *entry = &worker->entries[filled++];

        if (!take_entry(&rest, reading->stamp, entry))
            return corrupt(reading, offset, "an entry of the block is impossible");
        if (torci_key_compare(before, entry->key) >= 0)
            return corrupt(reading, offset, "the block's keys do not ascend");
        before = entry->key;
        if (filled == TOGETHER || i + 1 == count) {
            status = show_entries(worker, filled);
            filled = 0;
        }
    }
    if (status != TORC_OK)
        return status;
    if (rest.size > 0)
        return corrupt(reading, offset, "the block is too long");
    memcpy(worker->key, before.data, before.size);
    worker->key_size = before.size;
    return TORC_OK;
}

static enum torc_status
make_room(struct worker *worker, size_t size)
{
    struct torci_heap *heap = worker->reading->heap;

    if (size <= worker->buffer_room)
        return TORC_OK;
    torci_free(heap, worker->buffer, worker->buffer_room);
    worker->buffer = torci_alloc(heap, size);
    worker->buffer_room = worker->buffer == NULL ? 0 : size;
    return worker->buffer == NULL ? no_memory() : TORC_OK;
}

static enum torc_status
read_block(struct worker *worker, uint64_t block)
{
    const struct reading *reading = worker->reading;
    const unsigned char *place = place_of(reading, block);
    uint64_t offset = torci_fixed64_get(place);
    size_t size = torci_fixed32_get(place + 8);
    uint32_t count = torci_fixed32_get(place + 12);
    enum torc_status status = make_room(worker, TORCI_CHECKPOINT_BLOCK + size);
    const unsigned char *bytes = worker->buffer;
    uint64_t keyspace;

    if (status == TORC_OK)
        status = read_exactly(reading, offset, worker->buffer, TORCI_CHECKPOINT_BLOCK + size);
    if (status != TORC_OK)
        return status;
    if (torci_fixed32_get(bytes) != size ||
        !checksum_is(bytes + 4, torci_crc32c(0, bytes + 8, TORCI_CHECKPOINT_BLOCK - 8 + size)))
        return corrupt(reading, offset, "the block's size or checksum is wrong");
    keyspace = torci_fixed64_get(bytes + 8);
    if (torci_fixed32_get(bytes + 16) != count || torci_fixed32_get(bytes + 20) != 0 || !is_listed(reading, keyspace) ||
        keyspace < worker->keyspace)
        return corrupt(reading, offset, "the block's header is impossible");
    if (keyspace != worker->keyspace)
        worker->key_size = 0;
    worker->keyspace = keyspace;
    return show_block(worker, offset, torc_slice(bytes + TORCI_CHECKPOINT_BLOCK, size), count);
}

/* ---- Ranges ---- */

static enum torc_status
keep_edge(const struct worker *worker, const void *key, size_t key_size, struct edge *edge)
{
    edge->keyspace = worker->keyspace;
    edge->key = torci_alloc(worker->reading->heap, key_size);
    if (edge->key == NULL)
        return no_memory();
    edge->key_size = key_size;
    memcpy(edge->key, key, key_size);
    return TORC_OK;
}

/* The key with which the block in the buffer begins; it was parsed before. */
static struct torc_slice
first_key(const struct worker *worker)
{
    struct torc_slice rest = torc_slice(worker->buffer + TORCI_CHECKPOINT_BLOCK,
                                        worker->buffer_room - TORCI_CHECKPOINT_BLOCK);
    struct torci_restored entry;
    bool taken = take_entry(&rest, worker->reading->stamp, &entry);

    torc_assert(taken);
    (void)taken;
    return entry.key;
}

static uint64_t
range_begin(const struct reading *reading, uint64_t range)
{
    return reading->footer.blocks / reading->ranges_count * range +
           reading->footer.blocks % reading->ranges_count * range / reading->ranges_count;
}

static enum torc_status
read_range(struct worker *worker, uint64_t number)
{
    struct reading *reading = worker->reading;
    struct range *range = &reading->ranges[number];
    uint64_t end = range_begin(reading, number + 1);
    enum torc_status status = TORC_OK;

    worker->keyspace = 0;
    worker->key_size = 0;
    for (uint64_t block = range_begin(reading, number); block < end && status == TORC_OK; block++) {
        status = read_block(worker, block);
        if (status == TORC_OK && range->first.key == NULL) {
            struct torc_slice key = first_key(worker);

            status = keep_edge(worker, key.data, key.size, &range->first);
        }
        /* Relaxed: whoever sees it late has read more than was needed. */
        if (torci_load(&reading->stop, memory_order_relaxed) != 0)
            return status;
    }
    return status == TORC_OK ? keep_edge(worker, worker->key, worker->key_size, &range->last) : status;
}

/* Take ranges until there are none. */
static void
work(struct worker *worker)
{
    struct reading *reading = worker->reading;

    worker->key = torci_alloc(reading->heap, TORC_KEY_SIZE_MAX);
    worker->status = worker->key == NULL ? no_memory() : TORC_OK;
    /* Relaxed: as above. */
    while (worker->status == TORC_OK && torci_load(&reading->stop, memory_order_relaxed) == 0) {
        /* Relaxed: the number is all that is wanted. */
        uint64_t number = torci_fetch_add(&reading->next, (uint64_t)1, memory_order_relaxed);

        if (number >= reading->ranges_count)
            break;
        worker->status = read_range(worker, number);
    }
    torci_free(reading->heap, worker->key, TORC_KEY_SIZE_MAX);
    torci_free(reading->heap, worker->buffer, worker->buffer_room);
    if (worker->status == TORC_OK)
        return;
    torci_store(&reading->stop, 1u, memory_order_relaxed); /* Relaxed: as above. */
    snprintf(worker->detail, sizeof worker->detail, "%s", torc_detail());
}

static void *
work_in_thread(void *context)
{
    work(context);
    return NULL;
}

/* Have all ranges read by so many threads, as far as the system has them. */
static void
run(struct worker *workers, unsigned threads)
{
    sigset_t all, before;
    unsigned started = 1;

    /* Signals are for the program's own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < threads && pthread_create(&workers[started].thread, NULL, work_in_thread, &workers[started]) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    work(&workers[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
}

/* Between the ranges, keys have to ascend as they do within. */
static enum torc_status
check_edges(const struct reading *reading)
{
    for (uint64_t i = 1; i < reading->ranges_count; i++) {
        const struct edge *last = &reading->ranges[i - 1].last;
        const struct edge *first = &reading->ranges[i].first;

        if (last->keyspace > first->keyspace ||
            (last->keyspace == first->keyspace &&
             torci_key_compare(torc_slice(last->key, last->key_size), torc_slice(first->key, first->key_size)) >= 0))
            return corrupt(reading, torci_fixed64_get(place_of(reading, range_begin(reading, i))),
                           "the block's keys do not ascend");
    }
    return TORC_OK;
}

static void
free_ranges(struct reading *reading)
{
    for (uint64_t i = 0; reading->ranges != NULL && i < reading->ranges_count; i++) {
        torci_free(reading->heap, reading->ranges[i].first.key, reading->ranges[i].first.key_size);
        torci_free(reading->heap, reading->ranges[i].last.key, reading->ranges[i].last.key_size);
    }
    torci_free(reading->heap, reading->ranges, reading->ranges_count * sizeof *reading->ranges);
}

static enum torc_status
read_blocks(struct reading *reading, unsigned threads)
{
    uint64_t ranges = threads * (uint64_t)RANGES_PER_THREAD;
    enum torc_status status = TORC_OK;
    struct worker *workers;

    reading->ranges_count = ranges < reading->footer.blocks ? ranges : reading->footer.blocks;
    if (reading->ranges_count == 0)
        return TORC_OK;
    if (threads > reading->ranges_count)
        threads = (unsigned)reading->ranges_count;
    reading->ranges = torci_alloc_zeroed(reading->heap, reading->ranges_count * sizeof *reading->ranges);
    workers = reading->ranges == NULL ? NULL : torci_alloc_zeroed(reading->heap, threads * sizeof *workers);
    if (workers == NULL)
        return no_memory();
    for (unsigned i = 0; i < threads; i++) {
        workers[i].reading = reading;
        workers[i].number = i;
    }
    run(workers, threads);
    for (unsigned i = 0; i < threads && status == TORC_OK; i++) {
        if (workers[i].status != TORC_OK)
            status = torci_fail(workers[i].status, "%s", workers[i].detail);
    }
    torci_free(reading->heap, workers, threads * sizeof *workers);
    return status == TORC_OK ? check_edges(reading) : status;
}

static enum torc_status
read_all(struct reading *reading, const unsigned char store_id[TORCI_STORE_ID_SIZE], unsigned threads)
{
    enum torc_status status = torci_file_size(reading->file, &reading->size);

    if (status == TORC_OK)
        status = read_header(reading, store_id);
    if (status == TORC_OK)
        status = read_footer(reading);
    if (status == TORC_OK)
        status = read_index(reading);
    if (status == TORC_OK)
        status = show_keyspaces(reading);
    if (status == TORC_OK)
        status = read_blocks(reading, threads);
    torci_free(reading->heap, reading->index, reading->index == NULL ? 0 : (size_t)reading->footer.index_size);
    torci_free(reading->heap, reading->keyspaces, reading->footer.keyspaces * sizeof *reading->keyspaces);
    free_ranges(reading);
    return status;
}

enum torc_status
torci_checkpoint_read(struct torci_heap *heap, struct torci_vfs *vfs, const char *directory, uint64_t stamp,
                      const unsigned char store_id[TORCI_STORE_ID_SIZE], unsigned threads,
                      const struct torci_checkpoint_reader *reader, struct torci_checkpoint_info *info)
{
    struct reading reading = {.heap = heap, .reader = reader, .stamp = stamp};
    char path[TORCI_PATH_MAX];
    enum torc_status status;
    enum torc_status closed;
    int size;

    torc_assert(threads > 0);
    if (info != NULL)
        *info = (struct torci_checkpoint_info){0};
    torci_checkpoint_name(stamp, reading.name);
    size = snprintf(path, sizeof path, "%s/%s", directory, reading.name);
    if (size < 0 || size >= (int)sizeof path)
        return torci_fail(TORC_TOO_LARGE, "the path of a checkpoint is too long");
    status = torci_vfs_open(vfs, path, TORCI_OPEN_READ, &reading.file);
    if (status == TORC_NOT_FOUND)
        return torci_fail(TORC_MISSING, "%s is not there", reading.name);
    if (status != TORC_OK)
        return status;
    status = read_all(&reading, store_id, threads < TORCI_CHECKPOINT_THREADS_MAX ? threads
                                                                                 : TORCI_CHECKPOINT_THREADS_MAX);
    closed = torci_file_close(reading.file);
    (void)closed; /* It was only read. */
    if (status == TORC_OK && info != NULL)
        *info = (struct torci_checkpoint_info){.stamp = stamp,
                                               .journal_from = reading.footer.journal_from,
                                               .blocks = reading.footer.blocks,
                                               .entries = reading.footer.entries,
                                               .keyspaces = reading.footer.keyspaces,
                                               .bytes = reading.size};
    return status;
}

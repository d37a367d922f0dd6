/* SPDX-License-Identifier: MIT */
/* What tests of the journal's files share: batches that check themselves, and what must be found of them.
 *
 * A batch is known by its cut: 1, 2, 3 ... Its size and bytes follow from it. A world notes which ones were
 * acknowledged, and a scan is held against that: all of those are there, in order, and one more at most, at the end:
 * which was being written, or had failed. */
#ifndef TORCT_SEGMENT_TESTING_H
#define TORCT_SEGMENT_TESTING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/testing.h"
#include "base/vfs_fault.h"
#include "base/vfs_memory.h"
#include "mvcc/frame.h"
#include "mvcc/segment.h"

enum { TORCT_CUTS_MAX = 1 << 16 };

static const unsigned char torct_store_id[TORCI_STORE_ID_SIZE] = "a store's own id";

struct torct_world {
    struct torci_heap heap;
    struct torci_vfs *memory;
    struct torci_vfs *vfs;                      /* The faults above it; what the writer uses. */
    const char *directory;
    struct torci_segment_writer writer;
    uint64_t from;                              /* As a checkpoint would tell it. */
    uint64_t needed;                            /* The least cut that must be there, if acknowledged. */
    uint64_t next;                              /* The next cut. */
    size_t largest;                             /* Sizes are below this, */
    bool giants;                                /* but for some of several segments. */
    unsigned char acknowledged[TORCT_CUTS_MAX];
    /* Of the last scan. */
    uint64_t seen;                              /* Batches. */
    uint64_t last;                              /* The last one's cut. */
    const char *complaint;                      /* What was wrong; NULL: nothing. */
};

static inline size_t
torct_batch_size(const struct torct_world *world, uint64_t cut)
{
    uint64_t state = cut * 77 + 1, mixed = torci_splitmix64(&state);

    /* Mostly small ones, now and then a large one, now and then nothing. */
    if (mixed % 16 == 0)
        return 0;
    if (world->giants && mixed % 16 == 2)
        return (size_t)((mixed >> 8) % (4 * (uint64_t)TORCI_SEGMENT_SIZE));
    return (size_t)((mixed >> 8) % (mixed % 8 == 1 ? world->largest : world->largest / 16 + 1));
}

static inline unsigned char
torct_batch_byte(uint64_t cut, size_t at)
{
    uint64_t word = (cut * UINT64_C(0x9e3779b97f4a7c15)) ^ (at * UINT64_C(0xc2b2ae3d27d4eb4f));

    return (unsigned char)(word >> 29);
}

static inline enum torc_status
torct_world_visit(void *context, struct torc_slice batch, uint64_t cut)
{
    struct torct_world *world = context;
    const unsigned char *bytes = batch.data;

    if (cut == 0 || cut >= world->next || cut <= world->last)
        world->complaint = "a cut that was not written, or twice";
    else if (world->last > 0 && !world->acknowledged[world->last])
        world->complaint = "a batch that failed, before another one";
    else if (batch.size != torct_batch_size(world, cut))
        world->complaint = "another size";
    for (uint64_t i = world->last + 1; world->complaint == NULL && i < cut; i++) {
        if (world->acknowledged[i] && i >= world->needed)
            world->complaint = "an acknowledged batch is not there";
    }
    for (size_t i = 0; world->complaint == NULL && i < batch.size; i++) {
        if (bytes[i] != torct_batch_byte(cut, i))
            world->complaint = "other bytes";
    }
    world->last = cut;
    world->seen++;
    return world->complaint == NULL ? TORC_OK : TORC_MISMATCH;
}

/* Scan what is in `vfs`; the complaint is about what was shown, not about what is missing at the end. */
static inline enum torc_status
torct_world_scan(struct torct_world *world, struct torci_vfs *vfs, struct torci_journal_scan *scan)
{
    world->seen = world->last = 0;
    world->complaint = NULL;
    return torci_journal_scan(&world->heap, vfs, world->directory, torct_store_id, world->from, torct_world_visit,
                              world, scan);
}

/* Whether all that was acknowledged was in the last scan. */
static inline bool
torct_world_complete(const struct torct_world *world)
{
    for (uint64_t i = world->last + 1; i < world->next; i++) {
        if (world->acknowledged[i] && i >= world->needed)
            return false;
    }
    return true;
}

/* A writer where the scan of `vfs` tells to go on. */
static inline enum torc_status
torct_world_writer(struct torct_world *world, struct torci_vfs *vfs, const struct torci_journal_scan *scan,
                   struct torci_segment_writer *writer)
{
    memset(writer, 0x5a, sizeof(*writer));
    writer->heap = &world->heap;
    writer->vfs = vfs;
    snprintf(writer->directory, sizeof(writer->directory), "%s", world->directory);
    memcpy(writer->store_id, torct_store_id, sizeof(writer->store_id));
    writer->life = scan->life + 1;
    writer->seq = scan->seq;
    return torci_segment_writer_init(writer, scan->number > 0 ? scan->number : world->from, scan->salt, scan->offset);
}

/* Scan and go on; faults may come of either. */
static inline enum torc_status
torct_world_reopen(struct torct_world *world)
{
    struct torci_journal_scan scan;
    enum torc_status status = torct_world_scan(world, world->vfs, &scan);

    if (status != TORC_OK)
        return status;
    status = torct_world_writer(world, world->vfs, &scan, &world->writer);
    torci_journal_scan_fini(&world->heap, &scan);
    return status;
}

/* Append a batch's bytes, in pieces. */
static inline enum torc_status
torct_world_append(struct torct_world *world, struct torci_segment_writer *writer, uint64_t cut)
{
    size_t size = torct_batch_size(world, cut), done = 0;
    unsigned char piece[97];
    enum torc_status status = torci_segment_append(writer, NULL, 0);

    cr_assert_lt(cut, (uint64_t)TORCT_CUTS_MAX);
    while (status == TORC_OK && done < size) {
        size_t part = size - done < sizeof(piece) ? size - done : sizeof(piece);

        for (size_t i = 0; i < part; i++)
            piece[i] = torct_batch_byte(cut, done + i);
        status = torci_segment_append(writer, piece, part);
        done += part;
    }
    return status;
}

/* Write the next batch. */
static inline enum torc_status
torct_world_write(struct torct_world *world)
{
    uint64_t cut = world->next++;
    enum torc_status status = torct_world_append(world, &world->writer, cut);

    if (status == TORC_OK)
        status = torci_segment_cut(&world->writer, cut);
    if (status == TORC_OK)
        world->acknowledged[cut] = 1;
    return status;
}

/* The segments before the current one are needed no more. Between two batches. */
static inline enum torc_status
torct_world_recycle(struct torct_world *world)
{
    world->from = world->writer.number;
    world->needed = world->next;
    return torci_segments_recycle(&world->writer, world->from);
}

static inline void
torct_world_init(struct torct_world *world, size_t largest)
{
    memset(world, 0, sizeof(*world));
    torci_heap_init(&world->heap, NULL, 0);
    world->memory = torci_vfs_memory_create(&world->heap, true);
    cr_assert_not_null(world->memory);
    world->vfs = torci_vfs_fault_create(&world->heap, world->memory);
    cr_assert_not_null(world->vfs);
    world->directory = "d";
    cr_assert_eq(torci_vfs_make_directory(world->vfs, world->directory), TORC_OK);
    world->next = world->needed = 1;
    world->largest = largest;
}

static inline void
torct_world_fini(struct torct_world *world)
{
    cr_expect_eq(torci_vfs_fault_forbidden(world->vfs), 0u, "a file was written to after a failure");
    torci_vfs_fault_destroy(world->vfs);
    torci_vfs_memory_destroy(world->memory);
    cr_expect_eq(torci_heap_bytes(&world->heap), 0u);
}

#endif

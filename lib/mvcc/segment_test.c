/* SPDX-License-Identifier: MIT */
#include "mvcc/segment.h"

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "mvcc/segment_testing.h"

static struct torct_world world;

static void
create(void)
{
    torct_world_init(&world, 2000);
    cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
}

static void
destroy(void)
{
    torct_world_fini(&world);
}

/* Made for small segments, of builds with TORC_TINY. */
enum { LARGE = TORCI_SEGMENT_SIZE > 1024 * 1024 };

TestSuite(segment_writer, .init = create, .fini = destroy, .timeout = 120, .disabled = LARGE);
TestSuite(segment_scan, .init = create, .fini = destroy, .timeout = 120, .disabled = LARGE);
TestSuite(segment_crash, .init = create, .fini = destroy, .timeout = 240, .disabled = LARGE);
TestSuite(segment_faults, .init = create, .fini = destroy, .timeout = 240, .disabled = LARGE);
TestSuite(segment_any_size, .init = create, .fini = destroy, .timeout = 120);
TestSuite(segment_batch, .timeout = 10);
TestSuite(segment_fuzz, .timeout = 120);

static void
write_batches(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(torct_world_write(&world), TORC_OK, "%s", torc_detail());
}

/* What an orderly close does. */
static void
close_in_order(void)
{
    uint64_t cut = world.next++;

    /* An empty batch, whatever its cut says of the size: it is looked at as a failed one would be. */
    while (torct_batch_size(&world, cut) > 0)
        cut = world.next++;
    cr_assert_eq(torci_segment_cut(&world.writer, cut), TORC_OK);
    world.acknowledged[cut] = 1;
    torci_segment_writer_fini(&world.writer);
}

/* A scan that finds all; what it told. */
static struct torci_journal_scan
scan_all(struct torci_vfs *vfs)
{
    struct torci_journal_scan scan;
    enum torc_status status = torct_world_scan(&world, vfs, &scan);

    cr_assert_eq(status, TORC_OK, "%s: %s, %s", torc_status_name(status), torc_detail(), world.complaint);
    cr_assert(torct_world_complete(&world), "the last batch seen is %lu", (unsigned long)world.last);
    cr_assert_eq(scan.batches, world.seen);
    return scan;
}

static void
check_all(void)
{
    struct torci_journal_scan scan = scan_all(world.vfs);

    torci_journal_scan_fini(&world.heap, &scan);
}

static enum torc_status
scan_status(void)
{
    struct torci_journal_scan scan;
    enum torc_status status = torct_world_scan(&world, world.memory, &scan);

    if (status == TORC_OK)
        torci_journal_scan_fini(&world.heap, &scan);
    else
        cr_expect(scan.infos == NULL && scan.segments == 0);
    return status;
}

/* ---- Files, from outside ---- */

static const char *
path_of(const char *kind, uint64_t number)
{
    static char path[TORCI_PATH_MAX];

    cr_assert_eq(torci_segment_path("d", kind, number, "", path), TORC_OK);
    return path;
}

static struct torci_file *
open_segment(uint64_t number)
{
    struct torci_file *file;

    cr_assert_eq(torci_vfs_open(world.memory, path_of("journal", number), TORCI_OPEN_WRITE, &file), TORC_OK);
    return file;
}

static void
close_file(struct torci_file *file)
{
    cr_assert_eq(torci_file_close(file), TORC_OK);
}

static void
overwrite(uint64_t number, uint64_t offset, const void *data, size_t size)
{
    struct torci_file *file = open_segment(number);

    cr_assert_eq(torci_file_write(file, offset, data, size, false), TORC_OK);
    close_file(file);
}

static void
read_bytes(uint64_t number, uint64_t offset, void *data, size_t size)
{
    struct torci_file *file = open_segment(number);
    size_t done;

    cr_assert_eq(torci_file_read(file, offset, data, size, &done), TORC_OK);
    cr_assert_eq(done, size);
    close_file(file);
}

static void
flip(uint64_t number, uint64_t offset, unsigned char mask)
{
    unsigned char byte;

    read_bytes(number, offset, &byte, 1);
    byte ^= mask;
    overwrite(number, offset, &byte, 1);
}

struct names {
    unsigned journals, spares, others;
};

static enum torc_status
count_name(void *context, const char *name)
{
    struct names *names = context;
    uint64_t number;

    if (torci_segment_named(name, "journal", &number))
        names->journals++;
    else if (torci_segment_named(name, "spare", &number))
        names->spares++;
    else
        names->others++;
    return TORC_OK;
}

static struct names
count_names(void)
{
    struct names names = {0};

    cr_assert_eq(torci_vfs_list(world.memory, "d", count_name, &names), TORC_OK);
    return names;
}

/* ---- Writing and reading back ---- */

Test(segment_writer, begins_with_an_empty_segment)
{
    struct torci_journal_scan scan = scan_all(world.vfs);

    cr_expect_eq(scan.segments, 1u);
    cr_expect_eq(scan.number, 1u);
    cr_expect_eq(scan.offset, (uint64_t)TORCI_SEGMENT_HEADER);
    cr_expect_eq(scan.seq, 1u);
    cr_expect_eq(scan.cut, 0u);
    cr_expect_eq(scan.infos[0].first_seq, 0u);
    torci_journal_scan_fini(&world.heap, &scan);
    torci_segment_writer_fini(&world.writer);
}

Test(segment_writer, writes_what_is_read_back_over_many_segments)
{
    write_batches(1000);
    torci_segment_writer_fini(&world.writer);

    struct torci_journal_scan scan = scan_all(world.vfs);
    cr_expect_gt(scan.segments, 5u);
    cr_expect_eq(scan.cut, 1000u);
    cr_expect_eq(scan.batches, 1000u);
    cr_expect_eq(scan.torn_bytes, 0u);
    cr_expect_eq(scan.number, scan.from + scan.segments - 1);
    torci_journal_scan_fini(&world.heap, &scan);
}

Test(segment_writer, lays_a_batch_across_segments)
{
    world.largest = 3 * TORCI_SEGMENT_SIZE;
    write_batches(60);
    torci_segment_writer_fini(&world.writer);
    check_all();
}

Test(segment_writer, fills_a_segment_to_its_last_byte)
{
    /* Batches of every size in turn meet the end of a segment at each distance. */
    unsigned char bytes[200] = {0};
    uint64_t cut = 0;

    for (size_t size = 0; size < sizeof(bytes); size++) {
        uint64_t number = world.writer.number;

        while (world.writer.number == number) {
            cr_assert_eq(torci_segment_append(&world.writer, bytes, size), TORC_OK);
            cr_assert_eq(torci_segment_cut(&world.writer, ++cut), TORC_OK);
            cr_assert_leq(world.writer.offset + TORCI_FRAME_HEADER, world.writer.size);
        }
    }
    torci_segment_writer_fini(&world.writer);

    struct torci_journal_scan scan;
    cr_assert_eq(torci_journal_scan(&world.heap, world.vfs, "d", torct_store_id, 1, NULL, NULL, &scan), TORC_OK, "%s",
                 torc_detail());
    cr_expect_eq(scan.cut, cut);
    cr_expect_eq(scan.batches, cut);
    torci_journal_scan_fini(&world.heap, &scan);
}

Test(segment_writer, flushes_a_small_batch_by_one_durable_write)
{
    write_batches(3);
    for (unsigned i = 0; i < 5; i++) {
        uint64_t calls = torci_vfs_fault_calls(world.vfs, TORCI_VFS_CHANGES);
        uint64_t writes = torci_vfs_fault_calls(world.vfs, TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE));

        cr_assert_eq(torci_segment_append(&world.writer, "abc", 3), TORC_OK);
        cr_assert_eq(torci_segment_cut(&world.writer, 100 + i), TORC_OK);
        cr_expect_eq(torci_vfs_fault_calls(world.vfs, TORCI_VFS_CHANGES) - calls, 1u);
        cr_expect_eq(torci_vfs_fault_calls(world.vfs, TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE)) - writes, 1u);
        cr_expect_eq(world.writer.synced, world.writer.seq - 1);
    }
    torci_segment_writer_fini(&world.writer);
}

Test(segment_writer, syncs_a_batch_of_several_frames_once)
{
    unsigned char *bytes = calloc(3, TORCI_FRAME_PAYLOAD_MAX);
    uint64_t syncs = torci_vfs_fault_calls(world.vfs, TORCI_VFS_BIT(TORCI_VFS_SYNC));

    cr_assert_not_null(bytes);
    cr_assert_eq(torci_segment_append(&world.writer, bytes, 3 * (size_t)TORCI_FRAME_PAYLOAD_MAX), TORC_OK);
    cr_expect_eq(world.writer.synced, 0u);
    cr_assert_eq(torci_segment_cut(&world.writer, 1), TORC_OK);
    cr_expect_eq(torci_vfs_fault_calls(world.vfs, TORCI_VFS_BIT(TORCI_VFS_SYNC)) - syncs, 1u);
    cr_expect_eq(world.writer.synced, world.writer.seq - 1);
    free(bytes);
    torci_segment_writer_fini(&world.writer);
}

Test(segment_writer, prepares_the_next_segment_a_part_at_a_time)
{
    torci_segment_prepare(&world.writer);
    cr_expect_null(world.writer.next, "nothing of this one is used yet");
    while (world.writer.offset <= world.writer.size / 4)
        write_batches(1);
    for (unsigned i = 0; i < 100 && !world.writer.next_ready; i++)
        torci_segment_prepare(&world.writer);
    cr_expect(world.writer.next_ready);
    torci_segment_prepare(&world.writer);
    cr_expect_eq(count_names().journals, 2u);
    cr_expect_eq(count_names().others, 0u);

    /* A prepared segment without frames is no part of the journal yet. */
    check_all();
    torci_segment_writer_fini(&world.writer);
    check_all();
}

Test(segment_writer, leaves_nothing_half_made_behind)
{
    while (world.writer.next == NULL) {
        write_batches(1);
        torci_segment_prepare(&world.writer);
    }
    cr_expect_eq(count_names().others, 1u);
    torci_segment_writer_fini(&world.writer);
    cr_expect_eq(count_names().others, 0u);
}

Test(segment_writer, goes_on_where_a_scan_says)
{
    for (unsigned life = 1; life <= 50; life++) {
        cr_assert_eq(world.writer.life, life);
        write_batches(7);
        torci_segment_prepare(&world.writer);
        torci_segment_writer_fini(&world.writer);
        cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
        cr_assert(torct_world_complete(&world));
    }
    torci_segment_writer_fini(&world.writer);
}

Test(segment_writer, uses_retired_segments_again)
{
    uint64_t made = 0;

    for (unsigned i = 0; i < 2000; i++) {
        write_batches(1);
        torci_segment_prepare(&world.writer);
        if (i % 16 == 0)
            cr_assert_eq(torct_world_recycle(&world), TORC_OK);
        if (i == 1000)
            made = torci_vfs_fault_calls(world.vfs, TORCI_VFS_BIT(TORCI_VFS_ALLOCATE));
        if (i % 97 == 0) {
            torci_segment_writer_fini(&world.writer);
            cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
            cr_assert(torct_world_complete(&world));
        }
    }
    cr_expect_eq(torci_vfs_fault_calls(world.vfs, TORCI_VFS_BIT(TORCI_VFS_ALLOCATE)), made, "no new file was needed");
    cr_expect_leq(count_names().spares, 2u);
    torci_segment_writer_fini(&world.writer);
    check_all();
}

Test(segment_writer, goes_over_to_the_next_segment_when_asked_to)
{
    struct torci_vfs_plan plan = {
        .operations = TORCI_VFS_BIT(TORCI_VFS_ALLOCATE), .at = 1, .sticky = true, .status = TORC_NO_SPACE};

    cr_assert_eq(torci_segment_rotate(&world.writer), TORC_OK);
    cr_expect_eq(world.writer.number, 1u, "an empty one stays");
    write_batches(2);
    torci_vfs_fault_plan(world.vfs, &plan);
    cr_expect_eq(torci_segment_rotate(&world.writer), TORC_NO_SPACE);
    cr_expect_eq(world.writer.failed, TORC_OK);
    write_batches(2);
    torci_vfs_fault_plan(world.vfs, NULL);
    cr_assert_eq(torci_segment_rotate(&world.writer), TORC_OK);
    cr_expect_eq(world.writer.number, 2u);
    check_all();

    /* Without frames, and with nothing before it, it is gone on with all the same. */
    cr_assert_eq(torct_world_recycle(&world), TORC_OK);
    torci_segment_writer_fini(&world.writer);
    cr_assert_eq(torct_world_reopen(&world), TORC_OK);
    cr_expect_eq(world.writer.number, 2u);
    write_batches(2);
    torci_segment_writer_fini(&world.writer);
    check_all();
}

Test(segment_writer, removes_spares_of_another_size)
{
    struct torci_file *file;

    cr_assert_eq(torci_vfs_open(world.memory, path_of("spare", 9), TORCI_OPEN_WRITE | TORCI_OPEN_CREATE, &file),
                 TORC_OK);
    close_file(file);
    while (world.writer.number == 1 && world.next < 2000)
        write_batches(1), torci_segment_prepare(&world.writer);
    cr_expect_eq(count_names().spares, 0u);
    torci_segment_writer_fini(&world.writer);
    check_all();
}

Test(segment_writer, refuses_a_directory_whose_paths_are_too_long)
{
    struct torci_segment_writer writer = {.heap = &world.heap, .vfs = world.vfs, .life = 1, .seq = 1};

    memset(writer.directory, 'x', sizeof(writer.directory) - 1);
    cr_expect_neq(torci_segment_writer_init(&writer, 1, 0, 0), TORC_OK);
    cr_expect_eq(torci_segment_writer_init(&writer, 1, 0, TORCI_SEGMENT_HEADER), TORC_TOO_LARGE);
    torci_segment_writer_fini(&world.writer);
}

Test(segment_writer, does_all_of_it_with_the_systems_files)
{
    char path[TORCT_PATH_SIZE];
    struct torci_vfs *vfs = world.vfs;

    torci_segment_writer_fini(&world.writer);
    torct_directory_create(path);
    world.directory = path;
    world.vfs = torci_vfs_posix();
    cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
    for (unsigned i = 0; i < 300; i++) {
        write_batches(1);
        torci_segment_prepare(&world.writer);
        if (i % 64 == 63)
            cr_assert_eq(torct_world_recycle(&world), TORC_OK, "%s", torc_detail());
        if (i % 100 == 99) {
            torci_segment_writer_fini(&world.writer);
            cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
            cr_assert(torct_world_complete(&world));
        }
    }
    close_in_order();
    check_all();
    world.vfs = vfs;
    torct_directory_destroy(path);
}

/* ---- After a failure ---- */

/* The writer has failed: begin again, with faults over. */
static void
restart(void)
{
    torci_vfs_fault_plan(world.vfs, NULL);
    cr_assert_neq(world.writer.failed, TORC_OK);
    cr_assert_eq(torci_segment_writer_restart(&world.writer), TORC_OK, "%s", torc_detail());
    cr_assert_eq(world.writer.failed, TORC_OK);
}

Test(segment_writer, writes_nothing_after_a_failure)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_CHANGES, .at = 1, .status = TORC_IO};

    write_batches(5);
    torci_vfs_fault_plan(world.vfs, &plan);
    cr_expect_eq(torci_segment_append(&world.writer, "abc", 3), TORC_OK);
    cr_expect_eq(torci_segment_cut(&world.writer, world.next), TORC_IO);

    uint64_t calls = torci_vfs_fault_calls(world.vfs, TORCI_VFS_CHANGES);
    cr_expect_eq(torci_segment_append(&world.writer, "abc", 3), TORC_IO);
    cr_expect_eq(torci_segment_cut(&world.writer, world.next), TORC_IO);
    torci_segment_prepare(&world.writer);
    cr_expect_eq(torci_vfs_fault_calls(world.vfs, TORCI_VFS_CHANGES), calls);
    torci_segment_writer_fini(&world.writer);
    check_all();
}

Test(segment_writer, begins_again_after_each_failure_and_keeps_what_was_acknowledged)
{
    for (unsigned round = 0; round < 200; round++) {
        struct torci_vfs_plan plan = {
            .operations = TORCI_VFS_CHANGES,
            .one_in = 1 + round % 7,
            .seed = round,
            .status = round % 3 == 0 ? TORC_NO_SPACE : TORC_IO,
            .partly = round % 2 == 0,
            .forget = round % 5 < 2,
        };

        torci_vfs_fault_plan(world.vfs, &plan);
        for (unsigned i = 0; i < 50 && torct_world_write(&world) == TORC_OK; i++)
            torci_segment_prepare(&world.writer);
        /* Also restarts fail. */
        if (world.writer.failed != TORC_OK) {
            cr_assert_eq(world.writer.failed, plan.status);
            if (torci_segment_writer_restart(&world.writer) != TORC_OK)
                restart();
        }
        torci_vfs_fault_plan(world.vfs, NULL);
        check_all();
        write_batches(1);
        check_all();
        if (round % 10 == 9) {
            torci_segment_writer_fini(&world.writer);
            cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
        }
        if (round % 20 == 0)
            cr_assert_eq(torct_world_recycle(&world), TORC_OK);
    }
    torci_segment_writer_fini(&world.writer);
    check_all();
}

/* ---- Damage ---- */

/* Whatever is there now: a scan tells an error, or shows batches that were written, in order, from the first one. */
static enum torc_status
check_damaged(const char *what, uint64_t at)
{
    enum torc_status status = scan_status();

    cr_assert_null(world.complaint, "%s at %lu: %s", what, (unsigned long)at, world.complaint);
    cr_assert(status == TORC_OK || status == TORC_CORRUPT || status == TORC_MISSING || status == TORC_FOREIGN,
              "%s at %lu: %s", what, (unsigned long)at, torc_status_name(status));
    return status;
}

Test(segment_scan, tells_every_flipped_bit_after_an_orderly_close)
{
    struct torci_journal_scan scan;
    unsigned told = 0;

    world.largest = 400;
    write_batches(12);
    close_in_order();
    scan = scan_all(world.memory);
    for (uint64_t at = 0; at < scan.offset; at++) {
        for (unsigned bit = 0; bit < 8; bit += 1 + (unsigned)(at % 5)) {
            flip(1, at, (unsigned char)(1u << bit));
            enum torc_status status = check_damaged("a flipped bit", at);
            /* The closing frame itself has nothing behind it: it may be missed, and is then missing. */
            bool closing = at >= scan.offset - TORCI_FRAME_HEADER;
            if (status == TORC_OK && !closing)
                cr_assert(torct_world_complete(&world), "a flipped bit at %lu goes unnoticed", (unsigned long)at);
            told += status != TORC_OK;
            flip(1, at, (unsigned char)(1u << bit));
        }
    }
    cr_expect_gt(told, 4000u);
    torci_journal_scan_fini(&world.heap, &scan);
}

Test(segment_scan, tells_damage_in_every_segment_after_an_orderly_close)
{
    struct torci_random random = torci_random_seed(torct_seed());

    world.largest = 4000;
    write_batches(200);
    close_in_order();

    struct torci_journal_scan scan = scan_all(world.memory);
    uint64_t last = scan.number, end = scan.offset - TORCI_FRAME_HEADER;
    torci_journal_scan_fini(&world.heap, &scan);
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t number = 1 + torci_random_below(&random, last);
        uint64_t at = torci_random_below(&random, number < last ? (uint64_t)TORCI_SEGMENT_SIZE : end);
        unsigned char mask = (unsigned char)(1 + torci_random_below(&random, 255));

        flip(number, at, mask);
        if (check_damaged("a flipped byte", at) == TORC_OK)
            cr_assert(torct_world_complete(&world), "%lu, %lu", (unsigned long)number, (unsigned long)at);
        flip(number, at, mask);
    }
}

Test(segment_scan, takes_what_is_cut_off_for_damage)
{
    world.largest = 300;
    write_batches(10);
    torci_segment_writer_fini(&world.writer);

    struct torci_journal_scan scan = scan_all(world.memory);
    struct torci_file *file = open_segment(1);
    for (uint64_t size = scan.offset + 100; size-- > 0;) {
        cr_assert_eq(torci_file_truncate(file, size), TORC_OK);
        cr_assert_eq(check_damaged("cut off", size), TORC_CORRUPT);
        cr_assert_not_null(strstr(torc_detail(), "journal-0000000000000001"), "%s", torc_detail());
    }
    close_file(file);
    torci_journal_scan_fini(&world.heap, &scan);
}

Test(segment_scan, needs_nothing_behind_the_end_of_a_segment)
{
    write_batches(100);
    torci_segment_writer_fini(&world.writer);

    struct torci_journal_scan scan = scan_all(world.memory);
    cr_assert_gt(scan.segments, 2u);
    unsigned char tail[TORCI_FRAME_HEADER];
    uint64_t end = TORCI_SEGMENT_SIZE - TORCI_FRAME_HEADER;
    struct torci_frame frame;
    torci_journal_scan_fini(&world.heap, &scan);

    /* Where LAST stands. */
    for (;; end -= 8) {
        read_bytes(1, end, tail, sizeof(tail));
        if (torci_frame_get(tail, &frame))
            break;
    }
    cr_assert_eq(frame.flags & TORCI_FRAME_LAST, (uint32_t)TORCI_FRAME_LAST);
    struct torci_file *file = open_segment(1);
    cr_assert_eq(torci_file_truncate(file, end + torci_frame_size(frame.payload)), TORC_OK);
    check_all();
    cr_assert_eq(torci_file_truncate(file, end + TORCI_FRAME_HEADER - 1), TORC_OK);
    cr_expect_eq(scan_status(), TORC_CORRUPT);
    close_file(file);
}

/* What was written last may be missing from any byte on: then it was not there in time. */
Test(segment_scan, ends_with_the_last_whole_batch_wherever_a_write_was_torn)
{
    unsigned char bytes[1500], zeros[1500] = {0};

    world.largest = 1000;
    write_batches(8);
    for (unsigned round = 0; round < 4; round++) {
        uint64_t from, end, seen;

        do {
            from = world.writer.offset;
            write_batches(1);
            end = world.writer.offset;
        } while (end == from + TORCI_FRAME_HEADER);
        seen = world.next - 2;
        world.acknowledged[world.next - 1] = 0;
        cr_assert_lt(end - from, sizeof(bytes));
        read_bytes(1, from, bytes, end - from);
        for (uint64_t at = from; at < end; at++) {
            overwrite(1, at, zeros, end - at);
            struct torci_journal_scan scan = scan_all(world.memory);
            cr_assert(world.last == seen || world.last == seen + 1, "%lu", (unsigned long)at);
            cr_assert(scan.offset == from || world.last == seen + 1);
            torci_journal_scan_fini(&world.heap, &scan);
            overwrite(1, from, bytes, end - from);
            /* And its beginning. */
            overwrite(1, from, zeros, at - from + 1);
            check_all();
            cr_assert_eq(world.last, seen);
            overwrite(1, from, bytes, end - from);
        }
        check_all();
        world.acknowledged[world.next - 1] = 1;
    }
    torci_segment_writer_fini(&world.writer);
}

Test(segment_scan, misses_a_segment_that_is_not_there)
{
    write_batches(300);
    torci_segment_writer_fini(&world.writer);

    struct torci_journal_scan scan = scan_all(world.memory);
    uint64_t last = scan.number;
    cr_assert_gt(last, 3u);
    torci_journal_scan_fini(&world.heap, &scan);

    cr_assert_eq(torci_vfs_rename(world.memory, path_of("journal", last), "d/x"), TORC_OK);
    cr_expect_eq(scan_status(), TORC_MISSING, "the last one, which the one before it promises");
    cr_assert_eq(torci_vfs_rename(world.memory, "d/x", path_of("journal", last)), TORC_OK);
    cr_assert_eq(torci_vfs_rename(world.memory, path_of("journal", 2), "d/x"), TORC_OK);
    cr_expect_eq(scan_status(), TORC_MISSING, "one of the middle");
    cr_expect_str_eq(torc_detail(), "journal-0000000000000002 is not there");
    cr_assert_eq(torci_vfs_rename(world.memory, "d/x", path_of("journal", 2)), TORC_OK);
    world.from = 1;
    cr_assert_eq(torci_vfs_rename(world.memory, path_of("journal", 1), "d/x"), TORC_OK);
    cr_expect_eq(scan_status(), TORC_MISSING, "the one that was asked for");
    world.from = 99;
    cr_expect_eq(scan_status(), TORC_MISSING, "and all of them");
}

Test(segment_scan, finds_nothing_in_an_empty_directory)
{
    struct torci_journal_scan scan;

    torci_segment_writer_fini(&world.writer);
    cr_assert_eq(torci_vfs_remove(world.memory, path_of("journal", 1)), TORC_OK);
    scan = scan_all(world.memory);
    cr_expect_eq(scan.number, 0u);
    cr_expect_eq(scan.seq, 1u);
    torci_journal_scan_fini(&world.heap, &scan);
    cr_expect_eq(torci_journal_scan(&world.heap, world.memory, "nowhere", torct_store_id, 0, NULL, NULL, &scan),
                 TORC_NOT_FOUND);
}

static void
rewrite_head(uint64_t number, const struct torci_segment_head *head)
{
    unsigned char block[TORCI_SEGMENT_HEADER];

    torci_segment_head_put(block, head);
    overwrite(number, 0, block, sizeof(block));
}

Test(segment_scan, refuses_what_is_foreign)
{
    unsigned char block[TORCI_SEGMENT_HEADER];
    struct torci_segment_head head, other;

    write_batches(3);
    torci_segment_writer_fini(&world.writer);
    read_bytes(1, 0, block, sizeof(block));
    cr_assert_eq(torci_segment_head_get(block, torct_store_id, 1, &head), TORC_OK);

    other = head;
    other.store_id[3] ^= 1;
    rewrite_head(1, &other);
    cr_expect_eq(scan_status(), TORC_FOREIGN, "of another store");
    other = head;
    other.number = 2;
    rewrite_head(1, &other);
    cr_expect_eq(scan_status(), TORC_CORRUPT, "of another name");
    other = head;
    other.size += 8;
    rewrite_head(1, &other);
    cr_expect_eq(scan_status(), TORC_CORRUPT, "larger than its file");

    /* A later format, whose header is right. */
    torci_segment_head_put(block, &head);
    torci_fixed32_put(block + 8, TORCI_SEGMENT_FORMAT + 1);
    uint32_t crc = torci_crc32c(torci_crc32c(0, block, 12), block + 16, sizeof(block) - 16);
    torci_fixed32_put(block + 12, torci_crc32c_mask(crc));
    overwrite(1, 0, block, sizeof(block));
    cr_expect_eq(scan_status(), TORC_FOREIGN);
    cr_expect_not_null(strstr(torc_detail(), "format 2"), "%s", torc_detail());
    torci_fixed32_put(block + 12, 0);
    overwrite(1, 0, block, sizeof(block));
    cr_expect_eq(scan_status(), TORC_CORRUPT, "a format that may be damage");

    rewrite_head(1, &head);
    check_all();
}

/* A writer that is handed another place than a scan has found notices, as far as it looks. */
Test(segment_writer, refuses_a_segment_that_is_not_as_it_was_read)
{
    write_batches(3);
    torci_segment_writer_fini(&world.writer);

    struct torci_journal_scan scan = scan_all(world.memory), other = scan;
    other.salt++;
    cr_expect_eq(torct_world_writer(&world, world.vfs, &other, &world.writer), TORC_CORRUPT);
    other = scan;
    other.offset = TORCI_SEGMENT_SIZE;
    cr_expect_eq(torct_world_writer(&world, world.vfs, &other, &world.writer), TORC_CORRUPT);
    other = scan;
    other.seq = 1;
    cr_expect_eq(torct_world_writer(&world, world.vfs, &other, &world.writer), TORC_CORRUPT);
    flip(1, TORCI_SEGMENT_HEADER, 1);
    cr_expect_eq(torct_world_writer(&world, world.vfs, &scan, &world.writer), TORC_CORRUPT);
    flip(1, TORCI_SEGMENT_HEADER, 1);
    flip(1, 100, 1);
    cr_expect_eq(torct_world_writer(&world, world.vfs, &scan, &world.writer), TORC_CORRUPT);
    flip(1, 100, 1);

    /* What is missing behind the end is filled. */
    struct torci_file *file = open_segment(1);
    cr_assert_eq(torci_file_truncate(file, scan.offset + 8), TORC_OK);
    close_file(file);
    cr_assert_eq(torct_world_writer(&world, world.vfs, &scan, &world.writer), TORC_OK, "%s", torc_detail());
    write_batches(3);
    torci_segment_writer_fini(&world.writer);
    check_all();
    torci_journal_scan_fini(&world.heap, &scan);
}

Test(segment_scan, begins_within_a_batch_if_it_must)
{
    unsigned char *bytes = calloc(1, TORCI_SEGMENT_SIZE);
    struct torci_journal_scan scan;

    cr_assert_not_null(bytes);
    write_batches(2);
    cr_assert_eq(torci_segment_append(&world.writer, bytes, TORCI_SEGMENT_SIZE), TORC_OK);
    cr_assert_eq(torci_segment_cut(&world.writer, 3), TORC_OK);
    cr_assert_eq(world.writer.number, 2u);
    cr_assert_eq(torci_segment_cut(&world.writer, 4), TORC_OK);
    torci_segment_writer_fini(&world.writer);
    free(bytes);

    cr_assert_eq(torci_journal_scan(&world.heap, world.vfs, "d", torct_store_id, 1, NULL, NULL, &scan), TORC_OK);
    cr_expect_eq(scan.batches, 4u);
    cr_expect_eq(scan.infos[0].cut, 3u, "the batch lies in both");
    cr_expect_eq(scan.infos[1].cut, 4u);
    torci_journal_scan_fini(&world.heap, &scan);
    cr_assert_eq(torci_journal_scan(&world.heap, world.vfs, "d", torct_store_id, 2, NULL, NULL, &scan), TORC_OK);
    cr_expect_eq(scan.batches, 1u, "not the half one");
    cr_expect_eq(scan.cut, 4u);
    torci_journal_scan_fini(&world.heap, &scan);
}

static enum torc_status
refuse_third(void *context, struct torc_slice batch, uint64_t cut)
{
    unsigned *calls = context;

    (void)batch;
    ++*calls;
    return cut == 3 ? TORC_TOO_LARGE : TORC_OK;
}

Test(segment_scan, ends_with_the_visitors_status)
{
    struct torci_journal_scan scan;
    unsigned calls = 0;

    write_batches(6);
    torci_segment_writer_fini(&world.writer);
    cr_expect_eq(torci_journal_scan(&world.heap, world.vfs, "d", torct_store_id, 0, refuse_third, &calls, &scan),
                 TORC_TOO_LARGE);
    cr_expect_eq(calls, 3u);
    cr_expect_null(scan.infos);
}

/* Mutations of any kind, at any place: bytes, runs, pieces of other places, whole frames moved. */
Test(segment_scan, shows_only_what_was_written_whatever_is_done_to_the_bytes)
{
    struct torci_random random = torci_random_seed(20261122);
    unsigned outcomes[2] = {0};
    unsigned char before[2][1024], bytes[1024];

    world.largest = 6000;
    write_batches(60);
    close_in_order();
    uint64_t last = world.writer.number;
    cr_assert_gt(last, 2u);
    for (unsigned i = 0; i < 30000; i++) {
        uint64_t place[2], number[2];
        size_t size = (size_t)(8 + 8 * torci_random_below(&random, 100));

        for (unsigned k = 0; k < 2; k++) {
            number[k] = 1 + torci_random_below(&random, last);
            place[k] = 8 * torci_random_below(&random, (16 * 1024 - sizeof(bytes)) / 8);
            read_bytes(number[k], place[k], before[k], sizeof(bytes));
        }
        memcpy(bytes, before[0], sizeof(bytes));
        switch (torci_random_below(&random, 5)) {
        case 0:
            bytes[torci_random_below(&random, sizeof(bytes))] ^= (unsigned char)(1 + torci_random_below(&random, 255));
            break;
        case 1:
            memset(bytes, 0, size);
            break;
        case 2:
            torct_random_bytes(&random, bytes, size);
            break;
        case 3:
            memcpy(bytes, before[1], size);
            break;
        default:
            memmove(bytes + 8, bytes, sizeof(bytes) - 8);
        }
        overwrite(number[0], place[0], bytes, sizeof(bytes));
        outcomes[check_damaged("a mutation", i) == TORC_OK]++;
        overwrite(number[0], place[0], before[0], sizeof(bytes));
    }
    check_all();
    cr_expect_gt(outcomes[0], 1000u);
    cr_expect_gt(outcomes[1], 1000u);
}

/* ---- Power cuts ---- */

/* At calls, in each mode: what a machine would find that lost power there. */
struct cuts {
    uint64_t stops;
    unsigned every;                     /* Only one in so many stops is looked at. */
    unsigned depth;
    bool inside;
};
static struct cuts cuts;

/* The clone is a prefix with all that is acknowledged; a store goes on in it, and crashes again. */
static void
check_clone(struct torci_vfs *clone, enum torci_crash mode, uint64_t seed, unsigned depth)
{
    struct torci_journal_scan scan;
    struct torci_segment_writer writer;
    enum torc_status status = torct_world_scan(&world, clone, &scan);

    cr_assert_eq(status, TORC_OK, "stop %lu, mode %d, seed %lu, depth %u: %s: %s, %s", (unsigned long)cuts.stops,
                 (int)mode, (unsigned long)seed, depth, torc_status_name(status), torc_detail(), world.complaint);
    cr_assert(torct_world_complete(&world), "stop %lu, mode %d, seed %lu, depth %u: ends with %lu, not %lu",
              (unsigned long)cuts.stops, (int)mode, (unsigned long)seed, depth, (unsigned long)world.last,
              (unsigned long)world.next - 1);
    if (depth == 0) {
        torci_journal_scan_fini(&world.heap, &scan);
        return;
    }

    /* Some batches in another life. The last one is torn by the next power cut; then all is as it was. */
    uint64_t next = world.next, last = world.last;
    bool found = last > 0 && !world.acknowledged[last];
    status = torct_world_writer(&world, clone, &scan, &writer);
    cr_assert_eq(status, TORC_OK, "%s", torc_detail());
    torci_journal_scan_fini(&world.heap, &scan);
    if (found)
        world.acknowledged[last] = 1;
    for (unsigned i = 0; i < 2 + seed % 3; i++) {
        uint64_t cut = world.next++;

        cr_assert_eq(torct_world_append(&world, &writer, cut), TORC_OK);
        cr_assert_eq(torci_segment_cut(&writer, cut), TORC_OK);
        world.acknowledged[cut] = 1;
        torci_segment_prepare(&writer);
    }
    cr_assert_eq(torct_world_append(&world, &writer, world.next), TORC_OK);
    for (unsigned again = 0; again < 2; again++) {
        mode = (enum torci_crash)((seed + again) % TORCI_CRASH_MODES);
        struct torci_vfs *second = torci_vfs_memory_crash_clone(clone, mode, seed * 2 + again);

        cr_assert_not_null(second);
        check_clone(second, mode, seed * 2 + again, depth - 1);
        torci_vfs_memory_destroy(second);
    }
    torci_segment_writer_fini(&writer);
    for (uint64_t i = next; i < world.next; i++)
        world.acknowledged[i] = 0;
    if (found)
        world.acknowledged[last] = 0;
    world.next = next;
}

static void
cut_power(void *context, enum torci_vfs_operation operation)
{
    (void)context;
    /* Nothing changes by these. */
    if (cuts.inside || (TORCI_VFS_CHANGES & TORCI_VFS_BIT(operation)) == 0)
        return;
    cuts.inside = true;
    if (cuts.stops++ % cuts.every == 0) {
        uint64_t seen = world.seen, last = world.last;

        for (int mode = 0; mode < TORCI_CRASH_MODES; mode++) {
            struct torci_vfs *clone = torci_vfs_memory_crash_clone(world.memory, (enum torci_crash)mode, cuts.stops);

            cr_assert_not_null(clone);
            check_clone(clone, (enum torci_crash)mode, cuts.stops, cuts.depth);
            torci_vfs_memory_destroy(clone);
        }
        world.seen = seen;
        world.last = last;
    }
    cuts.inside = false;
}

static void
cut_power_at(unsigned every, unsigned depth)
{
    cuts = (struct cuts){.every = every, .depth = depth};
    torci_vfs_fault_stop(world.vfs, cut_power, NULL);
}

static void
power_stays(void)
{
    torci_vfs_fault_stop(world.vfs, NULL, NULL);
}

Test(segment_crash, keeps_what_was_acknowledged_at_every_call)
{
    world.largest = 1500;
    cut_power_at(1, 1);
    write_batches(60);
    power_stays();
    cr_expect_gt(world.writer.number, 1u);
    torci_segment_writer_fini(&world.writer);
}

Test(segment_crash, keeps_batches_across_segments)
{
    world.largest = TORCI_SEGMENT_SIZE * 2;
    cut_power_at(1, 2);
    write_batches(12);
    power_stays();
    torci_segment_writer_fini(&world.writer);
}

Test(segment_crash, keeps_what_was_acknowledged_in_spares_and_new_lives)
{
    cut_power_at(1, 1);
    for (unsigned i = 0; i < 160; i++) {
        write_batches(1);
        torci_segment_prepare(&world.writer);
        if (i % 24 == 23)
            cr_assert_eq(torct_world_recycle(&world), TORC_OK);
        if (i % 16 == 15) {
            torci_segment_writer_fini(&world.writer);
            cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
        }
    }
    power_stays();
    torci_segment_writer_fini(&world.writer);
}

Test(segment_crash, keeps_what_was_acknowledged_through_failures)
{
    for (unsigned round = 0; round < 25; round++) {
        struct torci_vfs_plan plan = {.operations = TORCI_VFS_CHANGES, .at = 1 + round % 9, .status = TORC_IO,
                                      .partly = round % 2 == 0, .forget = true};

        cut_power_at(2, 1);
        torci_vfs_fault_plan(world.vfs, &plan);
        for (unsigned i = 0; i < 40 && torct_world_write(&world) == TORC_OK; i++)
            torci_segment_prepare(&world.writer);
        if (world.writer.failed != TORC_OK)
            restart();
        write_batches(2);
        power_stays();
        if (round % 6 == 5)
            cr_assert_eq(torct_world_recycle(&world), TORC_OK);
    }
    torci_segment_writer_fini(&world.writer);
}

/* The machine loses power: what it finds afterwards is the world. */
static void
lose_power(enum torci_crash mode, uint64_t seed)
{
    struct torci_vfs *clone = torci_vfs_memory_crash_clone(world.memory, mode, seed);

    cr_assert_not_null(clone);
    torci_segment_writer_fini(&world.writer);
    cr_assert_eq(torci_vfs_fault_forbidden(world.vfs), 0u);
    torci_vfs_fault_destroy(world.vfs);
    torci_vfs_memory_destroy(world.memory);
    world.memory = clone;
    world.vfs = torci_vfs_fault_create(&world.heap, clone);
    cr_assert_not_null(world.vfs);
}

/* Some batches, among failures now and then. */
static void
live(struct torci_random *random)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_CHANGES, .one_in = 10, .status = TORC_IO, .partly = true,
                                  .forget = true};
    uint64_t batches = torci_random_below(random, 6);

    plan.seed = torci_random_next(random);
    if (torci_random_one_in(random, 4))
        torci_vfs_fault_plan(world.vfs, &plan);
    for (uint64_t i = 0; i < batches; i++) {
        if (torct_world_write(&world) != TORC_OK) {
            torci_vfs_fault_plan(world.vfs, NULL);
            if (torci_random_one_in(random, 3))
                return;
            restart();
        }
        if (torci_random_one_in(random, 2))
            torci_segment_prepare(&world.writer);
    }
    torci_vfs_fault_plan(world.vfs, NULL);
    if (torci_random_one_in(random, 12))
        cr_assert_eq(torci_segment_rotate(&world.writer), TORC_OK, "%s", torc_detail());
    if (torci_random_one_in(random, 10) && batches > 0 && world.acknowledged[world.next - 1])
        cr_assert_eq(torct_world_recycle(&world), TORC_OK);
}

static enum torc_status
same_byte_visit(void *context, struct torc_slice batch, uint64_t cut)
{
    const unsigned char *bytes = batch.data;
    unsigned *whole = context;

    for (size_t i = 0; i < batch.size; i++) {
        if (bytes[i] != (unsigned char)cut)
            return TORC_MISMATCH;
    }
    ++*whole;
    return TORC_OK;
}

/* A life after another, each ended by a power cut, which tears what was being written in another way. */
Test(segment_crash, survives_thousands_of_lives)
{
    struct torci_random random = torci_random_seed(torct_seed());
    bool found_unacknowledged = false;

    world.giants = true;
    for (unsigned life = 0; life < 2000; life++) {
        live(&random);
        /* One more batch is being written; now and then it is whole, and only the acknowledgement is lost. */
        uint64_t cut = world.next++;
        if (torct_world_append(&world, &world.writer, cut) == TORC_OK && torci_random_one_in(&random, 3))
            cr_assert_eq(torci_segment_cut(&world.writer, cut), TORC_OK);

        /* Now and then it is the process only that ends: then all that was written is seen, but need not be durable. */
        enum torci_crash mode = (enum torci_crash)torci_random_below(&random, TORCI_CRASH_MODES);
        if (torci_random_one_in(&random, 4))
            torci_segment_writer_fini(&world.writer);
        else
            lose_power(mode, torci_random_next(&random));
        /* Also while it comes back. */
        if (torci_random_one_in(&random, 8))
            cut_power_at(1, 1);
        enum torc_status status = torct_world_reopen(&world);
        power_stays();
        cr_assert_eq(status, TORC_OK, "life %u, mode %d: %s: %s, %s", life, (int)mode, torc_status_name(status),
                     torc_detail(), world.complaint);
        cr_assert(torct_world_complete(&world), "life %u, mode %d", life, (int)mode);
        /* What is found now stays. */
        found_unacknowledged = found_unacknowledged || !world.acknowledged[world.last];
        world.acknowledged[world.last] = 1;
    }
    cr_expect(found_unacknowledged);
    torci_segment_writer_fini(&world.writer);
}

/* The process ends because a sync has failed; the system shows the bytes, and forgets to write them. */
Test(segment_crash, keeps_what_it_has_found_after_a_sync_that_failed)
{
    struct torci_vfs_plan plan = {
        .operations = TORCI_VFS_BIT(TORCI_VFS_SYNC) | TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE), .at = 1,
        .sticky = true, .status = TORC_IO, .forget = true};

    for (unsigned batches = 0; batches < 300; batches++) {
        write_batches(1 + batches % 3);
        torci_vfs_fault_plan(world.vfs, &plan);
        (void)(torct_world_write(&world) == TORC_OK);
        torci_vfs_fault_plan(world.vfs, NULL);
        torci_segment_writer_fini(&world.writer);
        cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
        world.acknowledged[world.last] = 1;
        if (batches % 2 == 0)
            write_batches(1);
        lose_power(TORCI_CRASH_DROP, batches);
        cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%u: %s", batches, torc_detail());
        cr_assert(torct_world_complete(&world));
    }
    torci_segment_writer_fini(&world.writer);
}

/* The same of a frame that ends a segment. */
Test(segment_crash, keeps_the_end_of_a_segment_it_has_found)
{
    unsigned char last[TORCI_FRAME_HEADER], zeros[TORCI_FRAME_HEADER] = {0};

    while (!world.writer.next_ready) {
        write_batches(1);
        torci_segment_prepare(&world.writer);
    }
    /* It is written, and then not known to be durable. */
    uint64_t offset = world.writer.offset;
    cr_assert_eq(torci_segment_rotate(&world.writer), TORC_OK);
    read_bytes(1, offset, last, sizeof(last));
    lose_power(TORCI_CRASH_KEEP, 1);
    struct torci_file *file = open_segment(1);
    cr_assert_eq(torci_file_write(file, offset, zeros, sizeof(zeros), true), TORC_OK);
    cr_assert_eq(torci_file_write(file, offset, last, sizeof(last), false), TORC_OK);
    close_file(file);

    cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
    cr_assert_eq(world.writer.number, 2u);
    write_batches(2);
    lose_power(TORCI_CRASH_DROP, 1);
    cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
    cr_assert(torct_world_complete(&world));
    torci_segment_writer_fini(&world.writer);
}

/* Segments behind the end that no batch is whole in, over which another one was begun, and which end with LAST. */
Test(segment_crash, takes_later_segments_away_at_any_pace)
{
    unsigned char *bytes = calloc(3, TORCI_SEGMENT_SIZE);
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_BIT(TORCI_VFS_SYNC), .at = 4, .status = TORC_IO};

    cr_assert_not_null(bytes);
    write_batches(2);
    for (unsigned i = 0; i < 2; i++) {
        torci_vfs_fault_plan(world.vfs, i == 0 ? &plan : NULL);
        enum torc_status status = torci_segment_append(&world.writer, bytes, 3 * (size_t)TORCI_SEGMENT_SIZE);
        cr_assert_eq(status, i == 0 ? TORC_IO : TORC_OK);
        if (i == 0)
            restart();
    }
    free(bytes);
    cr_assert_gt(world.writer.number, 4u);
    lose_power(TORCI_CRASH_KEEP, 1);
    cut_power_at(1, 2);
    cr_assert_eq(torct_world_reopen(&world), TORC_OK, "%s", torc_detail());
    power_stays();
    cr_expect_eq(world.writer.number, 1u);
    cr_assert(torct_world_complete(&world));
    write_batches(100);
    torci_segment_writer_fini(&world.writer);
    check_all();
}

/* Lives that write frames of the same sizes to the same places: none is taken for another's. */
Test(segment_crash, never_mixes_frames_of_two_lives)
{
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned char bytes[3 * TORCI_FRAME_PAYLOAD_MAX];
    unsigned whole = 0;

    for (unsigned life = 1; life < 400; life++) {
        struct torci_journal_scan scan;

        memset(bytes, (int)life, sizeof(bytes));
        cr_assert_eq(torci_segment_append(&world.writer, bytes, sizeof(bytes)), TORC_OK);
        /* The last sync does not take place. */
        struct torci_vfs_plan plan = {.operations = TORCI_VFS_BIT(TORCI_VFS_SYNC), .at = 1, .status = TORC_IO};
        torci_vfs_fault_plan(world.vfs, &plan);
        cr_assert_neq(torci_segment_cut(&world.writer, life), TORC_OK);
        lose_power(TORCI_CRASH_REORDERED, torci_random_next(&random));

        cr_assert_eq(torci_journal_scan(&world.heap, world.vfs, "d", torct_store_id, 0, same_byte_visit, &whole, &scan),
                     TORC_OK, "life %u: %s", life, torc_detail());
        cr_assert_eq(torct_world_writer(&world, world.vfs, &scan, &world.writer), TORC_OK, "%s", torc_detail());
        torci_journal_scan_fini(&world.heap, &scan);
    }
    cr_expect_gt(whole, 0u);
    torci_segment_writer_fini(&world.writer);
}

/* ---- Failing calls, failing allocations ---- */

/* Everything a journal does, until something fails; whether nothing did. */
static bool
run_through(void)
{
    for (unsigned i = 0; i < 150; i++) {
        if (torct_world_write(&world) != TORC_OK)
            return false;
        torci_segment_prepare(&world.writer);
        if (i == 80 && torct_world_recycle(&world) != TORC_OK)
            return false;
    }
    torci_segment_writer_fini(&world.writer);
    return torct_world_reopen(&world) == TORC_OK && torct_world_write(&world) == TORC_OK;
}

static void
start_again(void)
{
    torct_world_fini(&world);
    torct_world_init(&world, 2000);
    cr_assert_eq(torct_world_reopen(&world), TORC_OK);
}

static void
each_call_fails(const struct torci_vfs_plan *base)
{
    bool through = false;

    for (uint64_t at = 1; !through; at++) {
        struct torci_vfs_plan plan = *base;

        start_again();
        plan.at = at;
        torci_vfs_fault_plan(world.vfs, &plan);
        through = run_through() && torci_vfs_fault_failed(world.vfs) == 0;
        torci_vfs_fault_plan(world.vfs, NULL);
        if (at % 2 == 0 && world.writer.failed != TORC_OK) {
            restart();
            write_batches(3);
        }
        torci_segment_writer_fini(&world.writer);
        check_all();
        enum torc_status status = torct_world_reopen(&world);
        cr_assert_eq(status, TORC_OK, "call %lu: %s", (unsigned long)at, torc_detail());
        cr_assert(torct_world_complete(&world), "call %lu", (unsigned long)at);
        world.acknowledged[world.last] = 1;
        write_batches(3);
        torci_segment_writer_fini(&world.writer);
        check_all();
        world.writer.buffer = NULL;
    }
}

Test(segment_faults, keeps_what_was_acknowledged_whichever_call_fails)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL & ~TORCI_VFS_BIT(TORCI_VFS_CLOSE), .status = TORC_IO};

    torci_segment_writer_fini(&world.writer);
    each_call_fails(&plan);
    plan.sticky = plan.partly = plan.forget = true;
    each_call_fails(&plan);
}

Test(segment_faults, survives_a_full_disk)
{
    torci_segment_writer_fini(&world.writer);
    for (uint64_t space = 0; space < 12 * (uint64_t)TORCI_SEGMENT_SIZE; space += 4096 + 512) {
        start_again();
        torci_vfs_fault_space(world.vfs, space);
        while (world.next < 200 && torct_world_write(&world) == TORC_OK)
            torci_segment_prepare(&world.writer);
        if (world.next < 200) {
            cr_assert_eq(world.writer.failed, TORC_NO_SPACE);
            cr_expect_eq(torci_segment_writer_restart(&world.writer), TORC_NO_SPACE);
            torci_vfs_fault_space(world.vfs, UINT64_MAX);
            cr_assert_eq(torci_segment_writer_restart(&world.writer), TORC_OK, "%s", torc_detail());
        }
        write_batches(2);
        torci_segment_writer_fini(&world.writer);
        check_all();
    }
}

Test(segment_faults, reports_every_failing_allocation)
{
    struct torci_journal_scan scan;
    enum torc_status status = TORC_NO_MEMORY;
    unsigned refused = 0;

    write_batches(300);
    torci_segment_writer_fini(&world.writer);
    for (uint64_t n = 1; status != TORC_OK; n++) {
        torci_alloc_fail_at(n, false);
        status = torct_world_scan(&world, world.vfs, &scan);
        torci_alloc_fail_at(0, false);
        refused += status == TORC_NO_MEMORY;
        cr_assert(status == TORC_OK || status == TORC_NO_MEMORY);
    }
    cr_expect_gt(refused, 3u, "the list, its growth, the window, a batch, its growth");
    for (uint64_t n = 1; n == 1 || status != TORC_OK; n++) {
        torci_alloc_fail_at(n, false);
        status = torct_world_writer(&world, world.vfs, &scan, &world.writer);
        torci_alloc_fail_at(0, false);
        cr_assert(status == TORC_OK || (status == TORC_NO_MEMORY && world.writer.buffer == NULL));
    }
    torci_segment_writer_fini(&world.writer);
    torci_journal_scan_fini(&world.heap, &scan);
    check_all();
}

/* ---- Segments of the size that this build has ---- */

Test(segment_any_size, holds_frames_and_batches_of_the_greatest_size)
{
    size_t size = (size_t)TORCI_SEGMENT_SIZE / 2 + 12345;
    unsigned char *bytes = malloc(size);
    struct torci_journal_scan scan;

    cr_assert_not_null(bytes);
    memset(bytes, 0x77, size);
    for (uint64_t cut = 1; cut <= 4; cut++) {
        cr_assert_eq(torci_segment_append(&world.writer, bytes, size), TORC_OK, "%s", torc_detail());
        cr_assert_eq(torci_segment_cut(&world.writer, cut), TORC_OK, "%s", torc_detail());
        torci_segment_prepare(&world.writer);
        if (cut == 2) {
            torci_segment_writer_fini(&world.writer);
            cr_assert_eq(torci_journal_scan(&world.heap, world.vfs, "d", torct_store_id, 0, NULL, NULL, &scan),
                         TORC_OK);
            cr_assert_eq(torct_world_writer(&world, world.vfs, &scan, &world.writer), TORC_OK);
            torci_journal_scan_fini(&world.heap, &scan);
        }
    }
    free(bytes);
    cr_expect_gt(world.writer.number, 2u);
    cr_assert_eq(torci_segment_cut(&world.writer, 5), TORC_OK);
    torci_segment_writer_fini(&world.writer);

    cr_assert_eq(torci_journal_scan(&world.heap, world.vfs, "d", torct_store_id, 0, NULL, NULL, &scan), TORC_OK);
    cr_expect_eq(scan.cut, 5u);
    cr_expect_eq(scan.batches, 5u);
    cr_expect_geq(scan.frame_bytes, 4 * size);
    torci_journal_scan_fini(&world.heap, &scan);
    flip(2, TORCI_SEGMENT_SIZE / 2, 1);
    cr_expect_eq(torci_journal_scan(&world.heap, world.vfs, "d", torct_store_id, 0, NULL, NULL, &scan), TORC_CORRUPT);
    cr_expect_not_null(strstr(torc_detail(), "journal-0000000000000002 at "), "%s", torc_detail());
}

/* ---- Any bytes ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_CONTENT = 4096, FUZZ_SALT = 77 };      /* Of segment_fuzz_testing.c. */

/* Some frames, as a careless writer might put them; their size. */
static size_t
make_content(struct torci_random *random, unsigned char *content, uint64_t seq)
{
    size_t at = 0;
    uint64_t first = seq, synced = seq - 1;
    uint32_t life = 1;
    bool open = false;

    while (at + 256 < FUZZ_CONTENT && !torci_random_one_in(random, 12)) {
        uint32_t payload = (uint32_t)torci_random_below(random, 150);
        uint32_t flags = torci_random_one_in(random, 2) ? TORCI_FRAME_CUT : 0;
        struct torci_frame frame = {.payload = payload, .life = life, .seq = seq, .salt = FUZZ_SALT,
                                    .cut = seq * 2, .synced = synced, .first = first};

        frame.flags = open ? flags : flags | TORCI_FRAME_BEGIN;
        if (torci_random_one_in(random, 20))
            frame.flags = (uint32_t)torci_random_below(random, 8);
        if (torci_random_one_in(random, 20))
            frame.synced = torci_random_below(random, seq);
        torct_random_bytes(random, content + at + TORCI_FRAME_HEADER, payload);
        torci_frame_put(content + at, &frame);
        at += torci_frame_size(payload);
        open = flags == 0;
        if (!open) {
            synced = seq;
            life += torci_random_one_in(random, 5);
        }
        seq++;
    }
    return at;
}

Test(segment_fuzz, passes_the_fuzzers_check_on_journals_and_their_mutations)
{
    enum { ROUNDS = 50000 };
    static uint8_t input[1 + 3 * FUZZ_CONTENT];
    struct torci_random random = torci_random_seed(4);

    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t segments = 1 + torci_random_below(&random, 3);

        memset(input, 0, sizeof(input));
        do
            input[0] = (uint8_t)torci_random_next(&random);
        while ((size_t)1 + input[0] % 3 != segments);
        for (size_t i = 0; i < segments; i++)
            make_content(&random, input + 1 + i * FUZZ_CONTENT, 1 + i * torci_random_below(&random, 20));
        for (uint64_t mutations = torci_random_below(&random, 4); mutations > 0; mutations--)
            input[1 + torci_random_below(&random, segments * FUZZ_CONTENT)] ^=
                (uint8_t)(1u << torci_random_below(&random, 8));
        cr_assert_eq(LLVMFuzzerTestOneInput(input, 1 + segments * FUZZ_CONTENT), 0);
    }
}

/* ---- Records ---- */

static const struct torci_op operations[] = {
    {.kind = TORCI_OP_PUT, .key = {"key", 3}, .value = {"value", 5}},
    {.kind = TORCI_OP_PUT, .keyspace = 300, .key = {"key", 3}},
    {.kind = TORCI_OP_PUT_EXPIRING, .keyspace = UINT64_MAX, .key = {"k", 1}, .value = {"v", 1}, .expires = 1 << 30},
    {.kind = TORCI_OP_DELETE, .keyspace = 1, .key = {"gone", 4}},
    {.kind = TORCI_OP_CREATE, .keyspace = 7, .key = {"name", 4}},
    {.kind = TORCI_OP_DROP, .keyspace = 7},
};
enum { OPERATIONS = sizeof(operations) / sizeof(*operations) };

/* Two records of all operations; its size. */
static size_t
put_batch(unsigned char *batch)
{
    unsigned char *out = batch;

    for (uint64_t stamp = 10; stamp <= 12; stamp += 2) {
        unsigned char *prefix = out;

        out += TORCI_RECORD_PREFIX;
        for (unsigned i = 0; i < OPERATIONS; i++) {
            unsigned char *end = torci_op_put(out, &operations[i]);

            cr_assert_eq((size_t)(end - out), torci_op_size(&operations[i]));
            out = end;
        }
        torci_record_prefix_put(prefix, (uint32_t)(out - prefix) - TORCI_RECORD_PREFIX, stamp);
    }
    return (size_t)(out - batch);
}

static bool
same_bytes(struct torc_slice a, struct torc_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

Test(segment_batch, gives_back_what_was_put)
{
    unsigned char bytes[512];
    struct torc_slice batch = torc_slice(bytes, put_batch(bytes)), ops;
    uint64_t stamp;

    for (uint64_t expected = 10; expected <= 12; expected += 2) {
        struct torci_op op;

        cr_assert_eq(torci_batch_next(&batch, &stamp, &ops), TORC_OK);
        cr_expect_eq(stamp, expected);
        for (unsigned i = 0; i < OPERATIONS; i++) {
            cr_assert_eq(torci_op_next(&ops, &op), TORC_OK);
            cr_expect_eq(op.kind, operations[i].kind);
            cr_expect_eq(op.keyspace, operations[i].keyspace);
            cr_expect(same_bytes(op.key, operations[i].key));
            cr_expect(same_bytes(op.value, operations[i].value));
            cr_expect_eq(op.expires, operations[i].expires);
        }
        cr_expect_eq(torci_op_next(&ops, &op), TORC_END);
    }
    cr_expect_eq(torci_batch_next(&batch, &stamp, &ops), TORC_END);
}

/* Read all of it; the status that ends it. */
static enum torc_status
read_batch(struct torc_slice batch)
{
    struct torc_slice ops;
    struct torci_op op;
    uint64_t stamp;
    enum torc_status status;

    while ((status = torci_batch_next(&batch, &stamp, &ops)) == TORC_OK) {
        while ((status = torci_op_next(&ops, &op)) == TORC_OK)
            continue;
        if (status != TORC_END)
            return status;
    }
    return status;
}

Test(segment_batch, tells_what_is_cut_off_or_of_no_kind)
{
    unsigned char bytes[512];
    size_t size = put_batch(bytes), record = size / 2;

    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *exact = malloc(cut + 1);

        cr_assert_not_null(exact);
        memcpy(exact, bytes, cut);
        enum torc_status status = read_batch(torc_slice(exact, cut));
        cr_expect_eq(status, cut == 0 || cut == record ? TORC_END : TORC_CORRUPT, "%zu", cut);
        free(exact);
    }
    /* A record that says less than its operations need, at each place. */
    for (uint32_t ops = 0; ops < record - TORCI_RECORD_PREFIX; ops++) {
        torci_record_prefix_put(bytes, ops, 10);
        enum torc_status status = read_batch(torc_slice(bytes, TORCI_RECORD_PREFIX + ops));
        cr_expect(status == TORC_CORRUPT || status == TORC_END);
    }
    for (uint32_t short_of_stamp = 0; short_of_stamp < 8; short_of_stamp++) {
        torci_fixed32_put(bytes, short_of_stamp);
        cr_expect_eq(read_batch(torc_slice(bytes, 64)), TORC_CORRUPT);
    }
    torci_record_prefix_put(bytes, 1, 10);
    for (unsigned kind = 0; kind < 256; kind++) {
        bytes[TORCI_RECORD_PREFIX] = (unsigned char)kind;
        cr_expect_eq(read_batch(torc_slice(bytes, TORCI_RECORD_PREFIX + 1)), TORC_CORRUPT, "%u", kind);
    }
}

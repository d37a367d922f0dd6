/* SPDX-License-Identifier: MIT */
/* base/vfs_memory: what a power cut leaves. What every driver does is asked in vfs_test.c. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "base/testing.h"
#include "base/vfs_memory.h"

enum { WRITE = TORCI_OPEN_WRITE, CREATE = TORCI_OPEN_WRITE | TORCI_OPEN_CREATE, SEEDS = 300, FILE_MAX = 64 * 1024 };

static struct torci_heap heap;
static struct torci_vfs *vfs;

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    vfs = torci_vfs_memory_create(&heap, true);
    cr_assert_not_null(vfs);
}

static void
destroy(void)
{
    torci_vfs_memory_destroy(vfs);
    cr_assert_eq(torci_heap_bytes(&heap), UINT64_C(0), "every byte must come back");
}

TestSuite(vfs_memory, .init = create, .fini = destroy, .timeout = 30);
TestSuite(vfs_crash, .init = create, .fini = destroy, .timeout = 30);

static struct torci_file *
open_file(struct torci_vfs *in, const char *path, unsigned flags)
{
    struct torci_file *file;

    cr_assert_eq(torci_vfs_open(in, path, flags, &file), TORC_OK, "%s", path);
    return file;
}

/* A file whose name is durable. */
static struct torci_file *
durable_file(const char *path)
{
    struct torci_file *file = open_file(vfs, path, CREATE);

    cr_assert_eq(torci_vfs_sync_directory(vfs, "/"), TORC_OK);
    return file;
}

static void
fill(struct torci_file *file, uint64_t offset, size_t size, int byte, bool durable)
{
    static unsigned char bytes[FILE_MAX];

    memset(bytes, byte, size);
    cr_assert_eq(torci_file_write(file, offset, bytes, size, durable), TORC_OK);
}

static void
sync_file(struct torci_file *file)
{
    cr_assert_eq(torci_file_sync(file), TORC_OK);
}

static void
close_file(struct torci_file *file)
{
    cr_assert_eq(torci_file_close(file), TORC_OK);
}

static struct torci_vfs *
crash(enum torci_crash mode, uint64_t seed)
{
    struct torci_vfs *clone = torci_vfs_memory_crash_clone(vfs, mode, seed);

    cr_assert_not_null(clone);
    return clone;
}

/* The bytes of a file, its size; -1: it is not there. */
static int64_t
contents(struct torci_vfs *in, const char *path, unsigned char bytes[FILE_MAX])
{
    struct torci_file *file;
    size_t done;
    uint64_t size;
    enum torc_status status = torci_vfs_open(in, path, TORCI_OPEN_READ, &file);

    if (status == TORC_NOT_FOUND)
        return -1;
    cr_assert_eq(status, TORC_OK);
    memset(bytes, 0, FILE_MAX);
    cr_assert_eq(torci_file_size(file, &size), TORC_OK);
    cr_assert_eq(torci_file_read(file, 0, bytes, FILE_MAX, &done), TORC_OK);
    cr_assert_eq(done, size);
    close_file(file);
    return (int64_t)size;
}

/* What a crash leaves of a file. */
static int64_t
left(enum torci_crash mode, uint64_t seed, const char *path, unsigned char bytes[FILE_MAX])
{
    struct torci_vfs *clone = crash(mode, seed);
    int64_t size = contents(clone, path, bytes);

    torci_vfs_memory_destroy(clone);
    return size;
}

static bool
all(const unsigned char *bytes, size_t size, int byte)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte)
            return false;
    return true;
}

static void
expect_left(enum torci_crash mode, const char *path, int64_t size, int byte)
{
    unsigned char bytes[FILE_MAX];

    for (uint64_t seed = 0; seed < 20; seed++) {
        cr_assert_eq(left(mode, seed, path, bytes), size, "mode %d, seed %d", (int)mode, (int)seed);
        cr_assert(size <= 0 || all(bytes, (size_t)size, byte), "mode %d, seed %d", (int)mode, (int)seed);
    }
}

#define EACH_MODE(mode) for (enum torci_crash mode = 0; mode < TORCI_CRASH_MODES; mode++)

Test(vfs_memory, knows_each_file_by_one_path)
{
    unsigned char bytes[FILE_MAX];

    cr_assert_eq(torci_vfs_make_directory(vfs, "/a/b"), TORC_OK);
    struct torci_file *file = open_file(vfs, "a//b/c", CREATE);
    fill(file, 0, 3, 'x', false);
    close_file(file);
    cr_expect_eq(contents(vfs, "/a/b/c", bytes), 3);
    cr_expect_eq(contents(vfs, "./a/./b/c/", bytes), 3);
    cr_expect_eq(contents(vfs, "/a/c", bytes), -1);
}

Test(vfs_memory, counts_calls_that_change_something)
{
    struct torci_file *file = open_file(vfs, "a", CREATE);
    uint64_t size;
    size_t done;
    char byte;

    fill(file, 0, 10, 1, false);
    fill(file, 0, 10, 1, true);
    sync_file(file);
    cr_expect_eq(torci_file_truncate(file, 5), TORC_OK);
    cr_expect_eq(torci_file_allocate(file, 50), TORC_OK);
    cr_expect_eq(torci_vfs_rename(vfs, "a", "b"), TORC_OK);
    cr_expect_eq(torci_vfs_sync_directory(vfs, ""), TORC_OK);
    cr_expect_eq(torci_vfs_remove(vfs, "b"), TORC_OK);
    cr_expect_eq(torci_vfs_make_directory(vfs, "d"), TORC_OK);
    cr_expect_eq(torci_vfs_memory_calls(vfs), UINT64_C(10));
    cr_expect_eq(torci_file_size(file, &size), TORC_OK);
    cr_expect_eq(torci_file_read(file, 0, &byte, 1, &done), TORC_OK);
    cr_expect_eq(torci_file_lock(file), TORC_OK);
    close_file(file);
    cr_expect_eq(torci_vfs_memory_calls(vfs), UINT64_C(10), "the others change nothing");
}

Test(vfs_memory, ignores_null)
{
    torci_vfs_memory_destroy(NULL);
}

Test(vfs_memory, holds_little_more_than_its_bytes_unless_it_crashes)
{
    struct torci_vfs *plain = torci_vfs_memory_create(&heap, false);
    struct torci_file *file = open_file(plain, "a", CREATE);
    uint64_t before = torci_heap_bytes(&heap);

    for (unsigned round = 0; round < 100; round++)
        fill(file, 0, FILE_MAX, (int)round, round % 2 == 0);
    cr_expect_leq(torci_heap_bytes(&heap), before + FILE_MAX + 4096);
    close_file(file);
    cr_expect_eq(torci_vfs_remove(plain, "a"), TORC_OK);
    cr_expect_leq(torci_heap_bytes(&heap), before, "what is removed is freed");
    torci_vfs_memory_destroy(plain);
}

Test(vfs_memory, holds_no_more_than_twice_for_durable_writes)
{
    struct torci_file *file = durable_file("a");
    uint64_t before = torci_heap_bytes(&heap);

    for (unsigned round = 0; round < 100; round++) {
        fill(file, 0, FILE_MAX / 2, (int)round, false);     /* As a layer that stops within a durable write does. */
        fill(file, 0, FILE_MAX / 2, (int)round, true);
    }
    cr_expect_leq(torci_heap_bytes(&heap), before + FILE_MAX + 10000);
    close_file(file);
}

Test(vfs_crash, leaves_what_was_synced)
{
    struct torci_file *file = durable_file("a");

    fill(file, 0, 5000, 'x', false);
    sync_file(file);
    EACH_MODE (mode)
        expect_left(mode, "a", 5000, 'x');
    close_file(file);
    EACH_MODE (mode)
        expect_left(mode, "a", 5000, 'x');
}

Test(vfs_crash, leaves_what_was_written_durably_and_makes_the_file_reach_there)
{
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];

    fill(file, 0, 5000, 'x', true);
    EACH_MODE (mode)
        expect_left(mode, "a", 5000, 'x');
    fill(file, 8000, 100, 'z', false);
    fill(file, 100, 700, 'y', true);
    EACH_MODE (mode)
        for (uint64_t seed = 0; seed < 20; seed++) {
            cr_assert_geq(left(mode, seed, "a", bytes), 5000);
            cr_assert(all(bytes, 100, 'x') && all(bytes + 100, 700, 'y') && all(bytes + 800, 4200, 'x'));
        }
    close_file(file);
}

/* A write that is not durable, beside, below and over one that is. */
Test(vfs_crash, says_nothing_of_what_was_written_before_a_durable_write)
{
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];

    fill(file, 0, 4096, 'a', true);
    fill(file, 0, 1024, 'b', false);
    fill(file, 512, 1024, 'c', true);
    EACH_MODE (mode) {
        bool old = false;
        bool new = false;

        for (uint64_t seed = 0; seed < 50; seed++) {
            cr_assert_eq(left(mode, seed, "a", bytes), 4096);
            cr_assert(all(bytes + 512, 1024, 'c'), "mode %d", (int)mode);
            cr_assert(all(bytes + 1536, 4096 - 1536, 'a'));
            cr_assert(all(bytes, 512, 'a') || all(bytes, 512, 'b'));
            old = old || bytes[0] == 'a';
            new = new || bytes[0] == 'b';
        }
        cr_expect_eq(old, mode != TORCI_CRASH_KEEP && mode != TORCI_CRASH_PREFIX, "mode %d", (int)mode);
        cr_expect_eq(new, mode != TORCI_CRASH_DROP, "mode %d", (int)mode);
    }
    close_file(file);
}

Test(vfs_crash, drops_or_keeps_what_was_not_synced)
{
    struct torci_file *file = durable_file("a");

    fill(file, 0, 1000, 'x', true);
    fill(file, 0, 3000, 'y', false);
    expect_left(TORCI_CRASH_DROP, "a", 1000, 'x');
    expect_left(TORCI_CRASH_KEEP, "a", 3000, 'y');
    close_file(file);
}

/* Sectors or pages are old or new, both happen, and no unit is a mixture. */
static void
expect_torn(enum torci_crash mode, size_t unit)
{
    enum { SIZE = 16 * 4096 };
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];
    unsigned mixed = 0;

    fill(file, 0, SIZE, 'o', true);
    fill(file, 0, SIZE, 'n', false);
    for (uint64_t seed = 0; seed < SEEDS / 10; seed++) {
        unsigned changes = 0;

        cr_assert_eq(left(mode, seed, "a", bytes), SIZE);
        for (size_t at = 0; at < SIZE; at += unit) {
            cr_assert(bytes[at] == 'o' || bytes[at] == 'n');
            cr_assert(all(bytes + at, unit, bytes[at]));
            changes += at > 0 && bytes[at] != bytes[at - 1];
        }
        mixed += changes > 2;
    }
    cr_expect_geq(mixed, SEEDS / 20);
    close_file(file);
}

Test(vfs_crash, tears_files_by_sectors)
{
    expect_torn(TORCI_CRASH_TORN_512, 512);
}

Test(vfs_crash, tears_files_by_pages)
{
    expect_torn(TORCI_CRASH_TORN_4096, 4096);
}

Test(vfs_crash, leaves_the_old_size_or_the_new_one)
{
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];

    fill(file, 0, 1000, 'x', true);
    EACH_MODE (mode) {
        bool small = false;
        bool large = false;

        cr_assert_eq(torci_file_truncate(file, 1000), TORC_OK);
        sync_file(file);
        fill(file, 1000, 1000, 'x', false);
        for (uint64_t seed = 0; seed < 40; seed++) {
            int64_t size = left(mode, seed, "a", bytes);

            small = small || size == 1000;
            large = large || size == 2000;
            cr_assert(size == 1000 || size == 2000);
            cr_assert(all(bytes, 1000, 'x'), "what was durable is");
        }
        cr_expect_eq(small, mode != TORCI_CRASH_KEEP);
        cr_expect_eq(large, mode != TORCI_CRASH_DROP);
    }
    close_file(file);
}

/* What was cut off may come back, as a whole or in part; but not what was synced to be gone. */
Test(vfs_crash, brings_back_what_was_cut_off_and_not_synced)
{
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];

    fill(file, 0, 2000, 'x', true);
    cr_assert_eq(torci_file_truncate(file, 500), TORC_OK);
    expect_left(TORCI_CRASH_DROP, "a", 2000, 'x');
    expect_left(TORCI_CRASH_KEEP, "a", 500, 'x');
    sync_file(file);
    cr_assert_eq(torci_file_truncate(file, 2000), TORC_OK);
    expect_left(TORCI_CRASH_DROP, "a", 500, 'x');
    EACH_MODE (mode)
        for (uint64_t seed = 0; seed < 20; seed++) {
            int64_t size = left(mode, seed, "a", bytes);

            cr_assert(size == 500 || size == 2000);
            cr_assert(all(bytes, 500, 'x') && all(bytes + 500, 1500, 0));
        }
    close_file(file);
}

Test(vfs_crash, does_not_take_allocated_room_for_durable)
{
    struct torci_file *file = durable_file("a");

    cr_assert_eq(torci_file_allocate(file, 10000), TORC_OK);
    expect_left(TORCI_CRASH_DROP, "a", 0, 0);
    expect_left(TORCI_CRASH_KEEP, "a", 10000, 0);
    sync_file(file);
    EACH_MODE (mode)
        expect_left(mode, "a", 10000, 0);
    close_file(file);
}

/* Each write has a sector of its own: what is there tells which writes happened. */
Test(vfs_crash, leaves_a_prefix_of_the_writes)
{
    enum { WRITES = 8 };
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];
    unsigned seen = 0;

    for (unsigned i = 0; i < WRITES; i++)
        fill(file, i * 512, 512, (int)i + 1, false);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int64_t size = left(TORCI_CRASH_PREFIX, seed, "a", bytes);

        cr_assert_eq(size % 512, 0);
        for (unsigned i = 0; i < (unsigned)size / 512; i++)
            cr_assert(all(bytes + i * 512, 512, (int)i + 1));
        seen |= 1u << size / 512;
    }
    cr_expect_eq(seen, (1u << (WRITES + 1)) - 1, "every prefix comes up");
    close_file(file);
}

Test(vfs_crash, leaves_some_of_the_writes_in_any_order)
{
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];
    unsigned seen = 0;

    fill(file, 0, 100, 0, true);
    for (int i = 1; i <= 3; i++)
        fill(file, 0, 100, i, false);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cr_assert_eq(left(TORCI_CRASH_REORDERED, seed, "a", bytes), 100);
        cr_assert(all(bytes, 100, bytes[0]), "a write happens as a whole");
        seen |= 1u << bytes[0];
    }
    cr_expect_eq(seen, 0xfu, "any may be the last");
    close_file(file);
}

Test(vfs_crash, leaves_files_whose_names_were_synced_only)
{
    struct torci_file *file = open_file(vfs, "a", CREATE);

    fill(file, 0, 100, 'x', true);
    expect_left(TORCI_CRASH_DROP, "a", -1, 0);
    expect_left(TORCI_CRASH_KEEP, "a", 100, 'x');
    EACH_MODE (mode) {
        unsigned char bytes[FILE_MAX];
        bool there = false;
        bool gone = false;

        for (uint64_t seed = 0; seed < 40; seed++) {
            int64_t size = left(mode, seed, "a", bytes);

            cr_assert(size == -1 || (size == 100 && all(bytes, 100, 'x')));
            there = there || size == 100;
            gone = gone || size == -1;
        }
        cr_expect_eq(there, mode != TORCI_CRASH_DROP);
        cr_expect_eq(gone, mode != TORCI_CRASH_KEEP);
    }
    cr_assert_eq(torci_vfs_sync_directory(vfs, "/"), TORC_OK);
    EACH_MODE (mode)
        expect_left(mode, "a", 100, 'x');
    cr_assert_eq(torci_vfs_remove(vfs, "a"), TORC_OK);
    expect_left(TORCI_CRASH_DROP, "a", 100, 'x');
    expect_left(TORCI_CRASH_KEEP, "a", -1, 0);
    cr_assert_eq(torci_vfs_sync_directory(vfs, "/"), TORC_OK);
    EACH_MODE (mode)
        expect_left(mode, "a", -1, 0);
    close_file(file);
}

Test(vfs_crash, syncs_the_names_of_one_directory_alone)
{
    cr_assert_eq(torci_vfs_make_directory(vfs, "d/e"), TORC_OK);
    close_file(open_file(vfs, "d/a", CREATE));
    close_file(open_file(vfs, "d/e/a", CREATE));
    cr_assert_eq(torci_vfs_sync_directory(vfs, "d"), TORC_OK);
    EACH_MODE (mode)
        expect_left(mode, "d/a", 0, 0);
    expect_left(TORCI_CRASH_DROP, "d/e/a", -1, 0);
    cr_assert_eq(torci_vfs_sync_directory(vfs, "d/e"), TORC_OK);
    expect_left(TORCI_CRASH_DROP, "d/e/a", 0, 0);
}

/* A rename over an old file: one of the two is there, whole, under the name. */
Test(vfs_crash, renames_as_a_whole_or_not_at_all)
{
    struct torci_file *old = durable_file("a");
    struct torci_file *new = open_file(vfs, "a.tmp", CREATE);

    fill(old, 0, 100, 'o', true);
    fill(new, 0, 200, 'n', true);
    cr_assert_eq(torci_vfs_sync_directory(vfs, ""), TORC_OK);
    cr_assert_eq(torci_vfs_rename(vfs, "a.tmp", "a"), TORC_OK);
    expect_left(TORCI_CRASH_DROP, "a", 100, 'o');
    expect_left(TORCI_CRASH_DROP, "a.tmp", 200, 'n');
    expect_left(TORCI_CRASH_KEEP, "a", 200, 'n');
    expect_left(TORCI_CRASH_KEEP, "a.tmp", -1, 0);
    EACH_MODE (mode)
        for (uint64_t seed = 0; seed < 40; seed++) {
            struct torci_vfs *clone = crash(mode, seed);
            unsigned char bytes[FILE_MAX];
            int64_t size = contents(clone, "a", bytes);
            bool renamed = size == 200;

            cr_assert(all(bytes, (size_t)size, renamed ? 'n' : 'o'));
            cr_assert(size == 100 || size == 200);
            cr_assert_eq(contents(clone, "a.tmp", bytes), renamed ? -1 : 200);
            torci_vfs_memory_destroy(clone);
        }
    cr_assert_eq(torci_vfs_sync_directory(vfs, ""), TORC_OK);
    EACH_MODE (mode)
        expect_left(mode, "a", 200, 'n');
    close_file(old);
    close_file(new);
}

/* Whatever of a chain of creations, renames and removals happened, no file has two names. */
Test(vfs_crash, gives_no_file_two_names)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    unsigned char bytes[FILE_MAX];

    for (int i = 0; i < 3; i++) {
        struct torci_file *file = open_file(vfs, names[i], CREATE);

        fill(file, 0, 10, 'p' + i, true);
        close_file(file);
        cr_assert_eq(torci_vfs_rename(vfs, names[i], names[i + 1]), TORC_OK);
        cr_assert_eq(torci_vfs_rename(vfs, names[i + 1], "d"), TORC_OK);
    }
    cr_assert_eq(torci_vfs_remove(vfs, "d"), TORC_OK);
    EACH_MODE (mode)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            struct torci_vfs *clone = crash(mode, seed);
            unsigned found[3] = {0};

            for (int i = 0; i < 4; i++)
                if (contents(clone, names[i], bytes) == 10)
                    cr_assert_eq(++found[bytes[0] - 'p'], 1u);
            torci_vfs_memory_destroy(clone);
        }
}

Test(vfs_crash, keeps_directories)
{
    cr_assert_eq(torci_vfs_make_directory(vfs, "d/e"), TORC_OK);
    EACH_MODE (mode) {
        struct torci_vfs *clone = crash(mode, 1);

        cr_expect_eq(torci_vfs_sync_directory(clone, "d/e"), TORC_OK);
        torci_vfs_memory_destroy(clone);
    }
}

Test(vfs_crash, loses_for_good_what_a_failed_sync_forgot)
{
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];

    fill(file, 0, 2048, 'o', true);
    fill(file, 0, 4096, 'n', false);
    torci_vfs_memory_forget(file);
    cr_expect_eq(contents(vfs, "a", bytes), 4096);
    cr_expect(all(bytes, 4096, 'n'), "it is read as before");
    sync_file(file);
    EACH_MODE (mode)
        expect_left(mode, "a", 2048, 'o');
    fill(file, 600, 10, 'z', false);    /* Written again, a sector counts again. */
    sync_file(file);
    EACH_MODE (mode) {
        cr_assert_eq(left(mode, 1, "a", bytes), 2048);
        cr_assert(all(bytes, 512, 'o') && all(bytes + 512, 88, 'n') && all(bytes + 600, 10, 'z'));
        cr_assert(all(bytes + 610, 414, 'n') && all(bytes + 1024, 1024, 'o'));
    }
    close_file(file);
}

Test(vfs_crash, passes_on_no_locks_and_no_calls)
{
    struct torci_file *file = durable_file("a");

    cr_assert_eq(torci_file_lock(file), TORC_OK);
    struct torci_vfs *clone = crash(TORCI_CRASH_KEEP, 1);
    struct torci_file *other = open_file(clone, "a", WRITE);
    cr_expect_eq(torci_vfs_memory_calls(clone), UINT64_C(0));
    cr_expect_eq(torci_file_lock(other), TORC_OK);
    close_file(other);
    torci_vfs_memory_destroy(clone);
    close_file(file);
}

Test(vfs_crash, makes_clones_that_live_and_crash_on_their_own)
{
    struct torci_file *file = durable_file("a");
    unsigned char bytes[FILE_MAX];

    fill(file, 0, 1000, 'x', true);
    struct torci_vfs *clone = crash(TORCI_CRASH_DROP, 1);
    fill(file, 0, 1000, 'y', true);
    struct torci_file *other = open_file(clone, "a", WRITE);
    fill(other, 0, 500, 'z', false);
    struct torci_vfs *second = torci_vfs_memory_crash_clone(clone, TORCI_CRASH_DROP, 1);
    cr_assert_not_null(second);
    close_file(other);
    cr_expect_eq(contents(clone, "a", bytes), 1000);
    cr_expect(all(bytes, 500, 'z') && all(bytes + 500, 500, 'x'));
    torci_vfs_memory_destroy(clone);
    cr_expect_eq(contents(second, "a", bytes), 1000);
    cr_expect(all(bytes, 1000, 'x'));
    torci_vfs_memory_destroy(second);
    cr_expect_eq(contents(vfs, "a", bytes), 1000);
    cr_expect(all(bytes, 1000, 'y'));
    close_file(file);
}

Test(vfs_crash, makes_the_same_clone_of_the_same_seed)
{
    struct torci_file *file = durable_file("a");
    unsigned char once[FILE_MAX];
    unsigned char again[FILE_MAX];

    for (int i = 0; i < 50; i++)
        fill(file, (uint64_t)i * 300, 1000, i + 1, false);
    EACH_MODE (mode)
        for (uint64_t seed = 0; seed < 10; seed++) {
            int64_t size = left(mode, seed, "a", once);

            cr_assert_eq(left(mode, seed, "a", again), size);
            cr_assert_eq(memcmp(once, again, FILE_MAX), 0);
        }
    close_file(file);
}

enum { MODEL_FILES = 3, MODEL_SIZE = 4000, MODEL_STEPS = 400 };

/* What a model knows of each byte: what it is now, and all that it may be found as. */
struct model {
    unsigned char now[MODEL_SIZE];
    bool may_be[MODEL_SIZE][256];
};

static void
model_settle(struct model *model, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        memset(model->may_be[i], 0, sizeof(model->may_be[i]));
        model->may_be[i][model->now[i]] = true;
    }
}

/* Random writes and syncs of files of one size. Oracle: each byte found after a cut is one that it may be. */
Test(vfs_crash, leaves_no_byte_that_was_not_written_since_the_last_sync)
{
    static struct model models[MODEL_FILES];
    struct torci_random random = torci_random_seed(torct_seed());
    struct torci_file *files[MODEL_FILES];
    unsigned char bytes[FILE_MAX];
    char names[MODEL_FILES][8];

    for (unsigned i = 0; i < MODEL_FILES; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "f%u", i);
        files[i] = durable_file(names[i]);
        fill(files[i], 0, MODEL_SIZE, 0, true);
        model_settle(&models[i], 0, MODEL_SIZE);
    }
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        unsigned chosen = (unsigned)torci_random_below(&random, MODEL_FILES);
        struct model *model = &models[chosen];
        size_t from = torci_random_below(&random, MODEL_SIZE);
        size_t to = from + torci_random_below(&random, MODEL_SIZE - from + 1);
        unsigned char byte = (unsigned char)torci_random_next(&random);
        unsigned kind = (unsigned)torci_random_below(&random, 8);

        if (kind == 0) {
            sync_file(files[chosen]);
            model_settle(model, 0, MODEL_SIZE);
        } else {
            fill(files[chosen], from, to - from, byte, kind < 3);
            memset(model->now + from, byte, to - from);
            for (size_t i = from; i < to; i++)
                model->may_be[i][byte] = true;
            if (kind < 3)
                model_settle(model, from, to);
        }
        struct torci_vfs *clone = crash((enum torci_crash)(step % TORCI_CRASH_MODES), step);
        for (unsigned i = 0; i < MODEL_FILES; i++) {
            cr_assert_eq(contents(clone, names[i], bytes), MODEL_SIZE);
            for (size_t at = 0; at < MODEL_SIZE; at++)
                cr_assert(models[i].may_be[at][bytes[at]], "step %u, byte %zu", step, at);
        }
        torci_vfs_memory_destroy(clone);
    }
    for (unsigned i = 0; i < MODEL_FILES; i++)
        close_file(files[i]);
}

enum { RACERS = 4, RACE_ROUNDS = 300 };

/* Each thread keeps a file in which every durable byte is the same; the last one cuts the power meanwhile. */
static void
write_or_crash(void *context, unsigned number)
{
    char name[8];

    (void)context;
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        (void)snprintf(name, sizeof(name), "f%u", number);
        if (number < RACERS - 1) {
            unsigned char bytes[700];
            struct torci_file *file = open_file(vfs, name, CREATE);

            memset(bytes, (int)(round % 256), sizeof(bytes));
            cr_assert_eq(torci_file_write(file, 0, bytes, sizeof(bytes), true), TORC_OK);
            cr_assert_eq(torci_vfs_sync_directory(vfs, "/"), TORC_OK);
            close_file(file);
            continue;
        }
        struct torci_vfs *clone = crash((enum torci_crash)(round % TORCI_CRASH_MODES), round);
        for (unsigned i = 0; i < RACERS - 1; i++) {
            unsigned char bytes[FILE_MAX];

            (void)snprintf(name, sizeof(name), "f%u", i);
            int64_t size = contents(clone, name, bytes);
            cr_assert(size == -1 || size == 0 || (size == 700 && all(bytes, 700, bytes[0])));
        }
        torci_vfs_memory_destroy(clone);
    }
}

Test(vfs_crash, clones_a_vfs_in_use)
{
    torct_race(RACERS, write_or_crash, NULL);
}

#if defined(TORC_FAULTS)
/* All that can fail for want of memory; the first that did. */
static enum torc_status
script(struct torci_vfs **clone)
{
    static const unsigned char bytes[9000];
    struct torci_file *file = NULL;
    enum torc_status status = torci_vfs_make_directory(vfs, "d/e");

    if (status == TORC_OK)
        status = torci_vfs_open(vfs, "d/e/a", CREATE, &file);
    if (status == TORC_OK)
        status = torci_file_write(file, 100, bytes, sizeof(bytes), false);
    if (status == TORC_OK)
        status = torci_file_write(file, 200, bytes, 10, true);
    if (status == TORC_OK)
        status = torci_file_truncate(file, 3000);
    if (status == TORC_OK)
        status = torci_vfs_rename(vfs, "d/e/a", "d/e/b");
    if (status == TORC_OK)
        status = torci_vfs_sync_directory(vfs, "d/e");
    if (status == TORC_OK) {
        *clone = torci_vfs_memory_crash_clone(vfs, TORCI_CRASH_KEEP, 1);
        status = *clone != NULL ? TORC_OK : TORC_NO_MEMORY;
    }
    if (status == TORC_OK)
        status = torci_vfs_remove(vfs, "d/e/b");
    torci_file_drop(file);
    return status;
}

Test(vfs_memory, says_so_when_memory_is_short)
{
    unsigned refused = 0;

    for (uint64_t n = 1;; n++) {
        struct torci_vfs *clone = NULL;

        torci_alloc_fail_at(n, n % 2 == 0);
        enum torc_status status = script(&clone);
        torci_alloc_fail_at(0, false);
        torci_vfs_memory_destroy(clone);
        torci_vfs_memory_destroy(vfs);
        cr_assert_eq(torci_heap_bytes(&heap), UINT64_C(0), "allocation %d", (int)n);
        vfs = torci_vfs_memory_create(&heap, true);
        if (status == TORC_OK)
            break;
        cr_assert_eq(status, TORC_NO_MEMORY);
        refused++;
    }
    cr_expect_geq(refused, 15u);
    torci_alloc_fail_at(1, false);
    cr_expect_null(torci_vfs_memory_create(&heap, true));
}

enum { CHANGES = 5 };

static enum torc_status
change(unsigned which, struct torci_file *file)
{
    static const unsigned char bytes[20000] = {1};
    struct torci_file *made;
    enum torc_status status;

    switch (which) {
    case 0:
        return torci_file_write(file, 0, bytes, sizeof(bytes), false);
    case 1:
        return torci_file_truncate(file, 5);
    case 2:
        return torci_vfs_rename(vfs, "a", "b");
    case 3:
        return torci_vfs_remove(vfs, "a");
    default:
        status = torci_vfs_open(vfs, "b", CREATE, &made);
        if (status == TORC_OK)
            close_file(made);
        return status;
    }
}

/* Each call with each of its allocations failing: the files are as they were. */
Test(vfs_memory, has_changed_nothing_when_memory_is_short)
{
    for (unsigned which = 0; which < CHANGES; which++) {
        struct torci_file *file = durable_file("a");
        unsigned char bytes[FILE_MAX];
        enum torc_status status = TORC_NO_MEMORY;
        uint64_t n = 0;

        fill(file, 0, 10, 'x', true);
        while (status != TORC_OK) {
            torci_alloc_fail_at(++n, true);
            status = change(which, file);
            torci_alloc_fail_at(0, false);
            if (status == TORC_OK)
                break;
            cr_assert_eq(status, TORC_NO_MEMORY);
            cr_assert_eq(contents(vfs, "b", bytes), -1);
            cr_assert_eq(contents(vfs, "a", bytes), 10);
            cr_assert(all(bytes, 10, 'x'));
            expect_left(TORCI_CRASH_KEEP, "a", 10, 'x');
            expect_left(TORCI_CRASH_KEEP, "b", -1, 0);
        }
        cr_expect_geq(n, UINT64_C(2), "change %u needs memory", which);
        close_file(file);
        torci_vfs_memory_destroy(vfs);
        vfs = torci_vfs_memory_create(&heap, true);
    }
}
#endif

/* SPDX-License-Identifier: MIT */
/* The directory of a store: what is one, what is not, and that a crash leaves nothing between the two. On files in
 * memory, where the power can be cut anywhere; the last suite on the system's. */
#include "mvcc/directory.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/testing.h"
#include "base/vfs_fault.h"
#include "base/vfs_memory.h"

enum { SEEDS = 20, AT_FORMAT = 12, AT_KIND = 32, IDENTITY_SIZE = 64 };

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
    cr_expect_eq(torci_heap_bytes(&heap), 0u);
}

TestSuite(directory_open, .init = create, .fini = destroy, .timeout = 60);
TestSuite(directory_verify, .init = create, .fini = destroy, .timeout = 60);
TestSuite(directory_fresh, .init = create, .fini = destroy, .timeout = 60);
TestSuite(directory_names, .init = create, .fini = destroy, .timeout = 60);
TestSuite(directory_faults, .init = create, .fini = destroy, .timeout = 120);
TestSuite(directory_system, .timeout = 60);

static enum torc_status
try_open(struct torci_vfs *where, enum torci_directory_mode mode)
{
    struct torci_directory directory;
    enum torc_status status = torci_directory_open(&directory, &heap, where, "store", mode);

    if (status == TORC_OK)
        torci_directory_close(&directory);
    else
        cr_expect_null(directory.lock);
    return status;
}

static void
make_file(const char *path, const void *bytes, size_t size)
{
    struct torci_file *file;

    cr_assert_eq(torci_vfs_open(vfs, path, TORCI_OPEN_WRITE | TORCI_OPEN_CREATE | TORCI_OPEN_TRUNCATE, &file), TORC_OK);
    cr_assert_eq(torci_file_write(file, 0, bytes, size, false), TORC_OK);
    cr_assert_eq(torci_file_close(file), TORC_OK);
}

static bool
is_there(const char *path)
{
    struct torci_file *file;
    enum torc_status status = torci_vfs_open(vfs, path, TORCI_OPEN_READ, &file);

    if (status == TORC_OK)
        torci_file_drop(file);
    return status == TORC_OK;
}

static size_t
read_identity(unsigned char bytes[IDENTITY_SIZE])
{
    struct torci_file *file;
    size_t done;

    cr_assert_eq(torci_vfs_open(vfs, "store/IDENTITY", TORCI_OPEN_READ, &file), TORC_OK);
    cr_assert_eq(torci_file_read(file, 0, bytes, IDENTITY_SIZE, &done), TORC_OK);
    torci_file_drop(file);
    return done;
}

/* A store with an identity, its bytes. */
static void
make_store(unsigned char bytes[IDENTITY_SIZE])
{
    cr_assert_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_assert_eq(read_identity(bytes), (size_t)IDENTITY_SIZE);
}

static void
write_identity(const unsigned char bytes[IDENTITY_SIZE], size_t size)
{
    make_file("store/IDENTITY", bytes, size);
}

static void
set_checksum(unsigned char bytes[IDENTITY_SIZE])
{
    torci_fixed32_put(bytes + 8, torci_crc32c_mask(torci_crc32c(0, bytes + AT_FORMAT, IDENTITY_SIZE - AT_FORMAT)));
}

/* ---- Opening ---- */

Test(directory_open, makes_a_store_of_nothing_and_knows_it_again)
{
    struct torci_directory directory;
    unsigned char id[TORCI_STORE_ID_SIZE];

    cr_assert_eq(torci_directory_open(&directory, &heap, vfs, "a/b/store", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_expect(directory.fresh);
    cr_expect_not(directory.needs_checkpoint);
    memcpy(id, directory.id, sizeof id);
    torci_directory_close(&directory);
    cr_assert_eq(torci_directory_open(&directory, &heap, vfs, "a/b/store", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_expect_not(directory.fresh);
    cr_expect_eq(memcmp(id, directory.id, sizeof id), 0);
    torci_directory_close(&directory);
}

Test(directory_open, gives_each_store_another_id)
{
    struct torci_directory a, b;

    cr_assert_eq(torci_directory_open(&a, &heap, vfs, "a", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_assert_eq(torci_directory_open(&b, &heap, vfs, "b", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_expect_neq(memcmp(a.id, b.id, sizeof a.id), 0);
    torci_directory_close(&a);
    torci_directory_close(&b);
}

Test(directory_open, lets_one_in_at_a_time)
{
    struct torci_directory directory;

    cr_assert_eq(torci_directory_open(&directory, &heap, vfs, "store", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_LOCKED);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_VERIFY), TORC_LOCKED);
    torci_directory_close(&directory);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_OK);
}

enum { RACERS = 4 };
static struct torci_directory raced[RACERS];
static enum torc_status outcomes[RACERS];

static void
race_to_open(void *context, unsigned number)
{
    outcomes[number] = torci_directory_open(&raced[number], &heap, context, "store", TORCI_DIRECTORY_OPEN);
}

/* Of those that race to make the store one gets it, and nobody finds it half made. */
Test(directory_open, lets_exactly_one_racer_in)
{
    unsigned won = 0;

    torct_race(RACERS, race_to_open, vfs);
    for (unsigned i = 0; i < RACERS; i++) {
        cr_expect(outcomes[i] == TORC_OK || outcomes[i] == TORC_LOCKED, "%s", torc_status_name(outcomes[i]));
        won += outcomes[i] == TORC_OK;
    }
    cr_expect_eq(won, 1u);
    for (unsigned i = 0; i < RACERS; i++) {
        if (outcomes[i] == TORC_OK)
            torci_directory_close(&raced[i]);
    }
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_VERIFY), TORC_OK);
}

Test(directory_open, does_not_mind_what_is_not_of_a_store)
{
    static const char *const names[] = {"store/README", "store/lost+found", "store/notes.tmp", "store/journal-1",
                                        "store/journal-000000000000000A", "store/checkpoint-00000000000000012",
                                        "store/journal-0000000000000000", "store/journal-0000000000000001.bak",
                                        "store/xjournal-0000000000000001"};
    enum { COUNT = sizeof names / sizeof names[0] };

    cr_assert_eq(torci_vfs_make_directory(vfs, "store"), TORC_OK);
    for (unsigned i = 0; i < COUNT; i++)
        make_file(names[i], "x", 1);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_OK);
    for (unsigned i = 0; i < COUNT; i++)
        cr_expect(is_there(names[i]), "%s has gone", names[i]);
}

Test(directory_open, removes_what_a_crash_left_unfinished)
{
    static const char *const names[] = {"store/IDENTITY.tmp", "store/checkpoint-00000000000000aa.tmp",
                                        "store/journal-0000000000000003.tmp", "store/spare-0000000000000004.tmp"};
    unsigned char bytes[IDENTITY_SIZE];

    make_store(bytes);
    for (unsigned i = 0; i < 4; i++)
        make_file(names[i], "x", 1);
    make_file("store/journal-0000000000000003", "x", 1);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_VERIFY), TORC_OK);
    for (unsigned i = 0; i < 4; i++)
        cr_expect(is_there(names[i]), "verify changes nothing: %s", names[i]);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_OK);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_not(is_there(names[i]), "%s is still there", names[i]);
    cr_expect(is_there("store/journal-0000000000000003"));
}

Test(directory_open, misses_an_identity_beside_files_of_a_store)
{
    static const char *const names[] = {"store/journal-0000000000000001", "store/checkpoint-0000000000000002",
                                        "store/spare-00000000000000ff"};

    cr_assert_eq(torci_vfs_make_directory(vfs, "store"), TORC_OK);
    for (unsigned i = 0; i < 3; i++) {
        make_file(names[i], "x", 1);
        cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_MISSING, "%s", names[i]);
        cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_VERIFY), TORC_MISSING, "%s", names[i]);
        cr_assert_eq(torci_vfs_remove(vfs, names[i]), TORC_OK);
    }
    cr_expect_not(is_there("store/IDENTITY"));
}

Test(directory_open, tells_any_damage_of_the_identity)
{
    unsigned char bytes[IDENTITY_SIZE];
    unsigned char longer[IDENTITY_SIZE + 1] = {0};

    make_store(bytes);
    for (unsigned i = 0; i < IDENTITY_SIZE; i++) {
        bytes[i] ^= 0x10;
        write_identity(bytes, IDENTITY_SIZE);
        cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_CORRUPT, "byte %u", i);
        bytes[i] ^= 0x10;
    }
    for (size_t size = 8; size < IDENTITY_SIZE; size++) {
        write_identity(bytes, size);
        cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_CORRUPT, "%zu bytes", size);
    }
    write_identity(bytes, 0);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_CORRUPT);
    memcpy(longer, bytes, IDENTITY_SIZE);
    make_file("store/IDENTITY", longer, sizeof longer);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_CORRUPT);
    write_identity(bytes, IDENTITY_SIZE);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_OK);
}

Test(directory_open, refuses_a_store_of_another_kind_and_says_which)
{
    unsigned char bytes[IDENTITY_SIZE];

    make_store(bytes);
    memcpy(bytes + AT_KIND, "lsm\0", 5);
    set_checksum(bytes);
    write_identity(bytes, IDENTITY_SIZE);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_FOREIGN);
    cr_expect_not_null(strstr(torc_detail(), "\"lsm\""), "%s", torc_detail());
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_VERIFY), TORC_FOREIGN);
}

Test(directory_open, refuses_a_later_format)
{
    unsigned char bytes[IDENTITY_SIZE];

    make_store(bytes);
    torci_fixed32_put(bytes + AT_FORMAT, 2);
    set_checksum(bytes);
    write_identity(bytes, IDENTITY_SIZE);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_FOREIGN);
    cr_expect_not_null(strstr(torc_detail(), "format 2"), "%s", torc_detail());
}

Test(directory_open, refuses_an_identity_of_another_program)
{
    static const char text[] = "I am somebody else, and this is my identity: more than sixty-four bytes of it.\n";

    cr_assert_eq(torci_vfs_make_directory(vfs, "store"), TORC_OK);
    make_file("store/IDENTITY", text, sizeof text - 1);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_FOREIGN);
    make_file("store/IDENTITY", text, 3);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_FOREIGN);
    make_file("store/IDENTITY", text, IDENTITY_SIZE);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_FOREIGN);
}

Test(directory_open, refuses_a_path_that_is_too_long)
{
    static char path[TORCI_PATH_MAX + 1];
    struct torci_directory directory;

    memset(path, 'x', TORCI_PATH_MAX);
    cr_expect_eq(torci_directory_open(&directory, &heap, vfs, path, TORCI_DIRECTORY_OPEN), TORC_TOO_LARGE);
    path[TORCI_PATH_MAX - 40] = '\0';
    cr_expect_eq(torci_directory_open(&directory, &heap, vfs, path, TORCI_DIRECTORY_OPEN), TORC_OK);
    torci_directory_close(&directory);
}

/* ---- Only looking ---- */

Test(directory_verify, makes_nothing)
{
    uint64_t calls;

    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_VERIFY), TORC_MISSING);
    cr_assert_eq(torci_vfs_make_directory(vfs, "store"), TORC_OK);
    calls = torci_vfs_memory_calls(vfs);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_VERIFY), TORC_MISSING);
    make_file("store/README", "x", 1);
    calls = torci_vfs_memory_calls(vfs);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_VERIFY), TORC_MISSING);
    cr_expect_eq(torci_vfs_memory_calls(vfs), calls);
}

/* ---- Backups ---- */

Test(directory_fresh, needs_an_empty_directory)
{
    unsigned char bytes[IDENTITY_SIZE];

    cr_assert_eq(torci_vfs_make_directory(vfs, "store"), TORC_OK);
    make_file("store/README", "x", 1);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_FRESH), TORC_EXISTS);
    cr_expect_not(is_there("store/LOCK"));
    cr_assert_eq(torci_vfs_remove(vfs, "store/README"), TORC_OK);
    make_store(bytes);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_FRESH), TORC_EXISTS);
}

Test(directory_fresh, is_known_to_begin_with_a_checkpoint)
{
    struct torci_directory directory;

    cr_assert_eq(torci_directory_open(&directory, &heap, vfs, "store", TORCI_DIRECTORY_FRESH), TORC_OK);
    cr_expect(directory.fresh && directory.needs_checkpoint);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_OPEN), TORC_LOCKED);
    torci_directory_close(&directory);
    cr_expect_eq(try_open(vfs, TORCI_DIRECTORY_FRESH), TORC_EXISTS);
    cr_assert_eq(torci_directory_open(&directory, &heap, vfs, "store", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_expect(!directory.fresh && directory.needs_checkpoint);
    torci_directory_close(&directory);
}

/* ---- Names ---- */

Test(directory_names, finds_the_newest_checkpoint_and_drops_the_others)
{
    struct torci_directory directory;
    char path[TORCI_PATH_MAX];
    uint64_t stamp;

    cr_assert_eq(torci_directory_open(&directory, &heap, vfs, "store", TORCI_DIRECTORY_OPEN), TORC_OK);
    cr_assert_eq(torci_directory_checkpoint(&directory, &stamp), TORC_OK);
    cr_expect_eq(stamp, 0u);
    for (unsigned i = 1; i <= 40; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "store/checkpoint-%016x", i * 16);
        make_file(name, "x", 1);
    }
    make_file("store/checkpoint-ffffffffffffffff.tmp", "x", 1);
    make_file("store/journal-00000000000000f0", "x", 1);
    cr_assert_eq(torci_directory_checkpoint(&directory, &stamp), TORC_OK);
    cr_expect_eq(stamp, 640u);
    cr_assert_eq(torci_directory_drop_checkpoints(&directory, 624), TORC_OK);
    cr_expect_not(is_there("store/checkpoint-0000000000000010"));
    cr_expect_not(is_there("store/checkpoint-0000000000000260"));
    cr_expect(is_there("store/checkpoint-0000000000000270"));
    cr_expect(is_there("store/checkpoint-0000000000000280"));
    cr_expect(is_there("store/checkpoint-ffffffffffffffff.tmp"));
    cr_expect(is_there("store/journal-00000000000000f0"));
    cr_assert_eq(torci_directory_path(&directory, "LOCK", path), TORC_OK);
    cr_expect_str_eq(path, "store/LOCK");
    torci_directory_close(&directory);
}

/* ---- Crashes and failures ---- */

/* Whatever a power cut leaves of each call of the making, it opens; and once open() has returned, with the same id. */
static struct torci_vfs *crashed_at[256];
static unsigned crashes;

static void
cut_the_power(void *context, enum torci_vfs_operation operation)
{
    unsigned *seed = context;

    (void)operation;
    for (unsigned mode = 0; mode < TORCI_CRASH_MODES && crashes < 256; mode++) {
        crashed_at[crashes] = torci_vfs_memory_crash_clone(vfs, (enum torci_crash)mode, ++*seed);
        cr_assert_not_null(crashed_at[crashes]);
        crashes++;
    }
}

Test(directory_faults, survives_a_power_cut_at_any_call_of_its_making)
{
    for (unsigned round = 0; round < SEEDS; round++) {
        struct torci_vfs *stopping = torci_vfs_fault_create(&heap, vfs);
        struct torci_directory directory;
        unsigned seed = round * 1000;
        char path[32];

        cr_assert_not_null(stopping);
        (void)snprintf(path, sizeof path, "store%u", round);
        crashes = 0;
        torci_vfs_fault_stop(stopping, cut_the_power, &seed);
        cr_assert_eq(torci_directory_open(&directory, &heap, stopping, path, TORCI_DIRECTORY_OPEN), TORC_OK);
        torci_vfs_fault_stop(stopping, NULL, NULL);
        cr_expect_gt(crashes, 0u);
        for (unsigned i = 0; i < crashes; i++) {
            struct torci_directory again;
            enum torc_status status = torci_directory_open(&again, &heap, crashed_at[i], path, TORCI_DIRECTORY_OPEN);

            cr_expect_eq(status, TORC_OK, "crash %u: %s", i, torc_detail());
            if (status == TORC_OK)
                torci_directory_close(&again);
            torci_vfs_memory_destroy(crashed_at[i]);
        }
        for (unsigned mode = 0; mode < TORCI_CRASH_MODES; mode++) {
            struct torci_vfs *crashed = torci_vfs_memory_crash_clone(vfs, (enum torci_crash)mode, round);
            struct torci_directory again;

            cr_assert_eq(torci_directory_open(&again, &heap, crashed, path, TORCI_DIRECTORY_VERIFY), TORC_OK, "%s",
                         torc_detail());
            cr_expect_eq(memcmp(again.id, directory.id, sizeof again.id), 0);
            torci_directory_close(&again);
            torci_vfs_memory_destroy(crashed);
        }
        torci_directory_close(&directory);
        torci_vfs_fault_destroy(stopping);
    }
}

/* Each call of each kind fails once: the error comes through, and nothing stands in the way afterwards. */
Test(directory_faults, tells_each_failing_call_and_opens_afterwards)
{
    static const enum torc_status statuses[] = {TORC_IO, TORC_NO_SPACE, TORC_NO_MEMORY};
    struct torci_vfs *failing = torci_vfs_fault_create(&heap, vfs);
    unsigned failed = 0;

    cr_assert_not_null(failing);
    for (unsigned kind = 0; kind < 3; kind++) {
        for (unsigned at = 1;; at++) {
            struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL, .at = at, .status = statuses[kind]};
            struct torci_directory directory;
            enum torc_status status;
            uint64_t before = torci_vfs_fault_failed(failing);
            char path[32];

            (void)snprintf(path, sizeof path, "store-%u-%u", kind, at);
            torci_vfs_fault_plan(failing, &plan);
            status = torci_directory_open(&directory, &heap, failing, path, TORCI_DIRECTORY_OPEN);
            if (status == TORC_OK)
                torci_directory_close(&directory);
            torci_vfs_fault_plan(failing, NULL);
            if (torci_vfs_fault_failed(failing) == before)
                break;
            failed++;
            cr_expect(status == statuses[kind] || status == TORC_OK, "call %u: %s", at, torc_status_name(status));
            status = torci_directory_open(&directory, &heap, failing, path, TORCI_DIRECTORY_OPEN);
            cr_expect_eq(status, TORC_OK, "after call %u: %s", at, torc_detail());
            if (status == TORC_OK)
                torci_directory_close(&directory);
        }
    }
    cr_expect_gt(failed, 20u);
    cr_expect_eq(torci_vfs_fault_forbidden(failing), 0u);
    torci_vfs_fault_destroy(failing);
}

#if defined(TORC_FAULTS)
/* Names are kept in memory; without it nothing is removed. */
Test(directory_faults, says_that_there_is_no_memory)
{
    unsigned char bytes[IDENTITY_SIZE];
    struct torci_directory directory;
    enum torc_status status = TORC_NO_MEMORY;
    unsigned failures = 0;

    make_store(bytes);
    make_file("store/checkpoint-00000000000000aa.tmp", "x", 1);
    for (unsigned at = 1; status != TORC_OK; at++) {
        torci_alloc_fail_at(at, false);
        status = torci_directory_open(&directory, &heap, vfs, "store", TORCI_DIRECTORY_OPEN);
        torci_alloc_fail_at(0, false);
        cr_assert(status == TORC_OK || status == TORC_NO_MEMORY, "%s", torc_status_name(status));
        failures += status != TORC_OK;
    }
    cr_expect_gt(failures, 0u);
    torci_directory_close(&directory);
}
#endif

/* ---- The system's files ---- */

Test(directory_system, opens_makes_and_refuses_as_in_memory)
{
    char root[TORCT_PATH_SIZE];
    char path[TORCT_PATH_SIZE + 32];
    struct torci_directory directory, other;
    FILE *file;

    torci_heap_init(&heap, NULL, 0);
    torct_directory_create(root);
    (void)snprintf(path, sizeof path, "%s/a/store", root);
    cr_expect_eq(torci_directory_open(&other, &heap, torci_vfs_posix(), path, TORCI_DIRECTORY_VERIFY), TORC_MISSING);
    cr_assert_eq(torci_directory_open(&directory, &heap, torci_vfs_posix(), path, TORCI_DIRECTORY_OPEN), TORC_OK, "%s",
                 torc_detail());
    cr_expect_eq(torci_directory_open(&other, &heap, torci_vfs_posix(), path, TORCI_DIRECTORY_OPEN), TORC_LOCKED);
    torci_directory_close(&directory);
    cr_expect_eq(torci_directory_open(&other, &heap, torci_vfs_posix(), path, TORCI_DIRECTORY_VERIFY), TORC_OK);
    cr_expect_eq(memcmp(other.id, directory.id, sizeof other.id), 0);
    torci_directory_close(&other);
    (void)snprintf(path, sizeof path, "%s/file", root);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fclose(file);
    cr_expect_eq(torci_directory_open(&other, &heap, torci_vfs_posix(), path, TORCI_DIRECTORY_OPEN), TORC_IO);
    cr_expect_not_null(strstr(torc_detail(), "file"), "%s", torc_detail());
    cr_expect_eq(torci_directory_open(&other, &heap, torci_vfs_posix(), path, TORCI_DIRECTORY_VERIFY), TORC_IO);
    torct_directory_destroy(root);
    cr_expect_eq(torci_heap_bytes(&heap), 0u);
}

Test(directory_system, says_what_is_not_allowed)
{
    char root[TORCT_PATH_SIZE];
    char path[TORCT_PATH_SIZE + 32];
    struct torci_directory directory;

    torci_heap_init(&heap, NULL, 0);
    torct_directory_create(root);
    (void)snprintf(path, sizeof path, "%s/store", root);
    cr_assert_eq(mkdir(path, 0500), 0);
    /* Who may do everything may also do this. */
    if (geteuid() != 0)
        cr_expect_eq(torci_directory_open(&directory, &heap, torci_vfs_posix(), path, TORCI_DIRECTORY_OPEN), TORC_IO);
    cr_assert_eq(chmod(path, 0700), 0);
    cr_assert_eq(torci_directory_open(&directory, &heap, torci_vfs_posix(), path, TORCI_DIRECTORY_OPEN), TORC_OK);
    torci_directory_close(&directory);
    torct_directory_destroy(root);
}

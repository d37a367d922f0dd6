/* SPDX-License-Identifier: MIT */
/* base/vfs: what every driver owes the layers above, asked of each; then what only the posix driver does. System calls
 * that a test wants refused are refused by a filter of the kernel, in the test's own process. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE     /* setrlimit(), syscall numbers */
#endif
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/testing.h"
#include "base/vfs.h"
#include "base/vfs_fault.h"
#include "base/vfs_memory.h"

enum { READ = TORCI_OPEN_READ, WRITE = TORCI_OPEN_WRITE, CREATE = TORCI_OPEN_WRITE | TORCI_OPEN_CREATE };

static struct torci_heap heap;
static char root[TORCT_PATH_SIZE];

/* A driver under test; `vfs` is the one that is asked. */
struct driver {
    const char *name;
    struct torci_vfs *vfs;
};

enum { DRIVERS = 4 };
static struct driver drivers[DRIVERS];

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    torct_directory_create(root);
    drivers[0] = (struct driver){"posix", torci_vfs_posix()};
    drivers[1] = (struct driver){"memory", torci_vfs_memory_create(&heap, false)};
    drivers[2] = (struct driver){"memory that crashes", torci_vfs_memory_create(&heap, true)};
    drivers[3] = (struct driver){"fault over posix", torci_vfs_fault_create(&heap, torci_vfs_posix())};
    for (unsigned i = 1; i < 3; i++)
        cr_assert_eq(torci_vfs_make_directory(drivers[i].vfs, root), TORC_OK);
}

static void
destroy(void)
{
    torci_vfs_fault_destroy(drivers[3].vfs);
    torci_vfs_memory_destroy(drivers[2].vfs);
    torci_vfs_memory_destroy(drivers[1].vfs);
    cr_assert_eq(torci_heap_bytes(&heap), UINT64_C(0), "every byte must come back");
    torct_directory_destroy(root);
}

TestSuite(vfs, .init = create, .fini = destroy, .timeout = 30);
TestSuite(vfs_posix, .init = create, .fini = destroy, .timeout = 30);

/* The path of `name` in a directory of the driver's own. */
static const char *
at(const struct driver *driver, const char *name)
{
    static char paths[4][TORCT_PATH_SIZE + 64];
    static unsigned next;
    char *path = paths[next++ % 4];
    int size = snprintf(path, sizeof(paths[0]), "%s/%u", root, (unsigned)(driver - drivers));

    cr_assert_eq(torci_vfs_make_directory(driver->vfs, path), TORC_OK);
    if (name[0] != '\0')
        (void)snprintf(path + size, sizeof(paths[0]) - (size_t)size, "/%s", name);
    return path;
}

static struct torci_file *
open_at(const struct driver *driver, const char *name, unsigned flags)
{
    struct torci_file *file;

    cr_assert_eq(torci_vfs_open(driver->vfs, at(driver, name), flags, &file), TORC_OK, "%s: %s: %s", driver->name, name,
                 torc_detail());
    cr_assert_not_null(file);
    return file;
}

static void
write_at(struct torci_file *file, uint64_t offset, const char *text)
{
    cr_assert_eq(torci_file_write(file, offset, text, strlen(text), false), TORC_OK);
}

/* The whole file is `size` bytes of `bytes`. */
static void
expect_bytes(const struct driver *driver, struct torci_file *file, const void *bytes, size_t size)
{
    unsigned char *buffer = malloc(size + 100);
    size_t done;
    uint64_t told;

    cr_expect_eq(torci_file_size(file, &told), TORC_OK);
    cr_expect_eq(told, size, "%s: %zu bytes", driver->name, (size_t)told);
    cr_expect_eq(torci_file_read(file, 0, buffer, size + 100, &done), TORC_OK);
    cr_assert_eq(done, size, "%s", driver->name);
    cr_expect(size == 0 || memcmp(buffer, bytes, size) == 0, "%s", driver->name);
    free(buffer);
}

static void
close_file(struct torci_file *file)
{
    cr_assert_eq(torci_file_close(file), TORC_OK);
}

struct listing {
    char names[256];
    unsigned count;
    unsigned stop_at;
};

static enum torc_status
note_name(void *context, const char *name)
{
    struct listing *listing = context;

    /* In the order of their first letters: systems list in any. */
    cr_assert_lt(strlen(listing->names) + strlen(name), sizeof(listing->names));
    listing->names[(unsigned char)name[0]] = name[0];
    listing->count++;
    return listing->count == listing->stop_at ? TORC_BUSY : TORC_OK;
}

/* The listed names, which are single letters, sorted. */
static const char *
listed(const struct driver *driver, const char *name)
{
    static char sorted[256];
    struct listing listing = {.names = ""};
    size_t size = 0;

    cr_assert_eq(torci_vfs_list(driver->vfs, at(driver, name), note_name, &listing), TORC_OK);
    for (unsigned letter = 1; letter < sizeof(listing.names); letter++)
        if (listing.names[letter] != '\0')
            sorted[size++] = listing.names[letter];
    sorted[size] = '\0';
    return sorted;
}

#define EACH_DRIVER(driver) for (const struct driver *driver = drivers; driver < drivers + DRIVERS; driver++)

Test(vfs, opens_what_is_there_and_makes_what_is_not)
{
    EACH_DRIVER (driver) {
        struct torci_file *file;

        cr_expect_eq(torci_vfs_open(driver->vfs, at(driver, "a"), READ, &file), TORC_NOT_FOUND);
        cr_expect_null(file);
        cr_expect_eq(torci_vfs_open(driver->vfs, at(driver, "a"), WRITE, &file), TORC_NOT_FOUND);
        cr_expect_eq(torci_vfs_open(driver->vfs, at(driver, "no/a"), CREATE, &file), TORC_NOT_FOUND);
        close_file(open_at(driver, "a", CREATE | TORCI_OPEN_EXCLUSIVE));
        cr_expect_eq(torci_vfs_open(driver->vfs, at(driver, "a"), CREATE | TORCI_OPEN_EXCLUSIVE, &file), TORC_EXISTS);
        cr_expect_null(file);
        close_file(open_at(driver, "a", CREATE));
        close_file(open_at(driver, "a", READ));
    }
}

Test(vfs, opens_files_and_nothing_else)
{
    EACH_DRIVER (driver) {
        struct torci_file *file;

        cr_expect_eq(torci_vfs_make_directory(driver->vfs, at(driver, "d")), TORC_OK);
        cr_expect_eq(torci_vfs_open(driver->vfs, at(driver, "d"), READ, &file), TORC_IO);
        cr_expect_not_null(strstr(torc_detail(), "open"), "%s", torc_detail());
        cr_expect_eq(torci_vfs_open(driver->vfs, at(driver, "d"), CREATE, &file), TORC_IO);
        cr_expect_eq(torci_vfs_open(driver->vfs, at(driver, "d"), CREATE | TORCI_OPEN_EXCLUSIVE, &file), TORC_EXISTS);
        cr_expect_null(file);
    }
}

Test(vfs, reads_what_was_written_and_not_past_the_end)
{
    EACH_DRIVER (driver) {
        struct torci_file *file = open_at(driver, "a", CREATE);
        char buffer[16];
        size_t done;

        expect_bytes(driver, file, NULL, 0);
        write_at(file, 0, "hello");
        write_at(file, 5, " world");
        write_at(file, 0, "J");
        expect_bytes(driver, file, "Jello world", 11);
        cr_expect_eq(torci_file_read(file, 6, buffer, 3, &done), TORC_OK);
        cr_expect(done == 3 && memcmp(buffer, "wor", 3) == 0);
        cr_expect_eq(torci_file_read(file, 9, buffer, 16, &done), TORC_OK);
        cr_expect_eq(done, 2u);
        cr_expect_eq(torci_file_read(file, 11, buffer, 16, &done), TORC_OK);
        cr_expect_eq(done, 0u);
        cr_expect_eq(torci_file_read(file, UINT64_MAX - 3, buffer, 16, &done), TORC_OK);
        cr_expect_eq(done, 0u);
        cr_expect_eq(torci_file_read(file, INT64_MAX - 3, buffer, 16, &done), TORC_OK);
        cr_expect_eq(done, 0u);
        cr_expect_eq(torci_file_read(file, 0, NULL, 0, &done), TORC_OK);
        cr_expect_eq(torci_file_write(file, 0, NULL, 0, false), TORC_OK);
        cr_expect_eq(torci_file_write(file, 0, NULL, 0, true), TORC_OK);
        close_file(file);
        file = open_at(driver, "a", READ);
        expect_bytes(driver, file, "Jello world", 11);
        close_file(file);
    }
}

Test(vfs, writes_durably_the_same_bytes)
{
    enum { SIZE = 200000 };
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned char *bytes = malloc(SIZE);

    torct_random_bytes(&random, bytes, SIZE);
    EACH_DRIVER (driver) {
        struct torci_file *file = open_at(driver, "a", CREATE);

        cr_expect_eq(torci_file_write(file, 0, bytes, SIZE / 2, true), TORC_OK);
        cr_expect_eq(torci_file_write(file, SIZE / 2, bytes + SIZE / 2, SIZE / 2, false), TORC_OK);
        cr_expect_eq(torci_file_sync(file), TORC_OK);
        expect_bytes(driver, file, bytes, SIZE);
        close_file(file);
    }
    free(bytes);
}

Test(vfs, refuses_to_write_where_no_file_reaches)
{
    EACH_DRIVER (driver) {
        struct torci_file *file = open_at(driver, "a", CREATE);

        cr_expect_eq(torci_file_truncate(file, UINT64_MAX), TORC_IO);
        cr_expect_eq(torci_file_allocate(file, UINT64_MAX), TORC_IO);
        cr_expect_eq(torci_file_write(file, INT64_MAX, "ab", 2, false), TORC_IO);
        cr_expect_neq(torc_detail()[0], '\0');
        close_file(file);
    }
}

Test(vfs, reads_zeros_where_nothing_was_written)
{
    static const unsigned char zeros[10000];

    EACH_DRIVER (driver) {
        struct torci_file *file = open_at(driver, "a", CREATE);

        write_at(file, 9999, "x");
        cr_expect_eq(torci_file_truncate(file, 9999), TORC_OK);
        expect_bytes(driver, file, zeros, 9999);
        write_at(file, 0, "abc");
        cr_expect_eq(torci_file_truncate(file, 1), TORC_OK);
        cr_expect_eq(torci_file_truncate(file, 3), TORC_OK);
        expect_bytes(driver, file, "a\0\0", 3);
        close_file(file);
    }
}

Test(vfs, allocates_zeros_and_shortens_nothing)
{
    enum { SIZE = 100000 };
    unsigned char *bytes = calloc(1, SIZE);

    memcpy(bytes, "abc", 3);
    EACH_DRIVER (driver) {
        struct torci_file *file = open_at(driver, "a", CREATE);

        write_at(file, 0, "abc");
        cr_expect_eq(torci_file_allocate(file, 0), TORC_OK);
        cr_expect_eq(torci_file_allocate(file, 2), TORC_OK);
        expect_bytes(driver, file, "abc", 3);
        cr_expect_eq(torci_file_allocate(file, SIZE), TORC_OK);
        expect_bytes(driver, file, bytes, SIZE);
        cr_expect_eq(torci_file_sync(file), TORC_OK);
        close_file(file);
    }
    free(bytes);
}

Test(vfs, empties_a_file_that_is_opened_to_be_emptied)
{
    EACH_DRIVER (driver) {
        struct torci_file *file = open_at(driver, "a", CREATE);

        write_at(file, 0, "abc");
        close_file(file);
        file = open_at(driver, "a", WRITE | TORCI_OPEN_TRUNCATE);
        expect_bytes(driver, file, NULL, 0);
        write_at(file, 1, "z");
        expect_bytes(driver, file, "\0z", 2);
        close_file(file);
    }
}

Test(vfs, renames_over_what_is_there)
{
    EACH_DRIVER (driver) {
        struct torci_file *file = open_at(driver, "a", CREATE);
        struct torci_file *old = open_at(driver, "b", CREATE);

        write_at(file, 0, "new");
        write_at(old, 0, "old!");
        cr_expect_eq(torci_vfs_rename(driver->vfs, at(driver, "a"), at(driver, "b")), TORC_OK);
        cr_expect_str_eq(listed(driver, ""), "b");
        expect_bytes(driver, old, "old!", 4);       /* Who has it open, has it still. */
        close_file(old);
        old = open_at(driver, "b", READ);
        expect_bytes(driver, old, "new", 3);
        write_at(file, 3, "er");                    /* The handle follows its file. */
        expect_bytes(driver, old, "newer", 5);
        close_file(old);
        close_file(file);
        cr_expect_eq(torci_vfs_rename(driver->vfs, at(driver, "a"), at(driver, "c")), TORC_NOT_FOUND);
        cr_expect_eq(torci_vfs_rename(driver->vfs, at(driver, "b"), at(driver, "b")), TORC_OK);
        cr_expect_str_eq(listed(driver, ""), "b");
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, at(driver, "d")), TORC_OK);
        cr_expect_eq(torci_vfs_rename(driver->vfs, at(driver, "b"), at(driver, "d")), TORC_IO);
        cr_expect_str_eq(listed(driver, ""), "bd");
    }
}

Test(vfs, removes_names_and_leaves_open_files)
{
    EACH_DRIVER (driver) {
        struct torci_file *file = open_at(driver, "a", CREATE);

        write_at(file, 0, "abc");
        cr_expect_eq(torci_vfs_remove(driver->vfs, at(driver, "a")), TORC_OK);
        cr_expect_str_eq(listed(driver, ""), "");
        cr_expect_eq(torci_vfs_remove(driver->vfs, at(driver, "a")), TORC_NOT_FOUND);
        cr_expect_eq(torci_vfs_remove(driver->vfs, at(driver, "")), TORC_IO, "a directory");
        write_at(file, 3, "d");
        expect_bytes(driver, file, "abcd", 4);
        close_file(open_at(driver, "a", CREATE | TORCI_OPEN_EXCLUSIVE));
        expect_bytes(driver, file, "abcd", 4);
        close_file(file);
    }
}

Test(vfs, lists_names_of_files_and_directories_until_told_to_stop)
{
    static const char *const names[] = {"c", "a", "b"};

    EACH_DRIVER (driver) {
        struct listing listing = {.stop_at = 2};

        for (unsigned i = 0; i < 3; i++)
            close_file(open_at(driver, names[i], CREATE));
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, at(driver, "x/y/z")), TORC_OK);
        close_file(open_at(driver, "x/f", CREATE));
        cr_expect_str_eq(listed(driver, ""), "abcx");
        cr_expect_str_eq(listed(driver, "x"), "fy");
        cr_expect_str_eq(listed(driver, "x/y/"), "z");
        cr_expect_eq(torci_vfs_list(driver->vfs, at(driver, ""), note_name, &listing), TORC_BUSY);
        cr_expect_eq(listing.count, 2u);
        cr_expect_eq(torci_vfs_list(driver->vfs, at(driver, "q"), note_name, &listing), TORC_NOT_FOUND);
        cr_expect_eq(torci_vfs_list(driver->vfs, at(driver, "a"), note_name, &listing), TORC_IO);
        cr_expect_eq(listing.count, 2u);
    }
}

Test(vfs, makes_directories_with_all_above_them)
{
    EACH_DRIVER (driver) {
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, at(driver, "p//q/r///")), TORC_OK);
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, at(driver, "p/q/r")), TORC_OK, "it may exist");
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, at(driver, "p/q/s")), TORC_OK);
        cr_expect_str_eq(listed(driver, "p/q"), "rs");
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, "/"), TORC_OK);
        close_file(open_at(driver, "f", CREATE));
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, at(driver, "f")), TORC_IO);
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, at(driver, "f/g")), TORC_IO);
    }
}

Test(vfs, syncs_directories)
{
    EACH_DRIVER (driver) {
        cr_expect_eq(torci_vfs_sync_directory(driver->vfs, at(driver, "")), TORC_OK);
        cr_expect_eq(torci_vfs_sync_directory(driver->vfs, at(driver, "q")), TORC_NOT_FOUND);
        close_file(open_at(driver, "f", CREATE));
        cr_expect_eq(torci_vfs_sync_directory(driver->vfs, at(driver, "f")), TORC_IO);
    }
}

Test(vfs, refuses_paths_that_are_too_long)
{
    char path[2 * TORCI_PATH_MAX];

    memset(path, 'x', sizeof(path));
    for (size_t i = 0; i < sizeof(path); i += 100)
        path[i] = '/';
    path[sizeof(path) - 1] = '\0';
    EACH_DRIVER (driver) {
        struct listing listing = {.count = 0};
        struct torci_file *file;

        cr_expect_eq(torci_vfs_open(driver->vfs, path, CREATE, &file), TORC_IO);
        cr_expect_eq(torci_vfs_remove(driver->vfs, path), TORC_IO);
        cr_expect_eq(torci_vfs_rename(driver->vfs, path, "/y"), TORC_IO);
        cr_expect_eq(torci_vfs_list(driver->vfs, path, note_name, &listing), TORC_IO);
        cr_expect_eq(torci_vfs_make_directory(driver->vfs, path), TORC_IO);
        cr_expect_eq(torci_vfs_sync_directory(driver->vfs, path), TORC_IO);
    }
}

Test(vfs, locks_against_a_second_handle_until_closed)
{
    EACH_DRIVER (driver) {
        struct torci_file *first = open_at(driver, "a", CREATE);
        struct torci_file *second = open_at(driver, "a", CREATE);

        cr_expect_eq(torci_file_lock(first), TORC_OK);
        cr_expect_eq(torci_file_lock(first), TORC_OK, "it has it already");
        cr_expect_eq(torci_file_lock(second), TORC_LOCKED, "%s", driver->name);
        cr_expect_not_null(strstr(torc_detail(), "lock"));
        close_file(first);
        cr_expect_eq(torci_file_lock(second), TORC_OK);
        close_file(second);
    }
}

Test(vfs, names_operation_and_reason)
{
    EACH_DRIVER (driver) {
        struct listing listing = {.count = 0};

        close_file(open_at(driver, "f", CREATE));
        cr_expect_eq(torci_vfs_list(driver->vfs, at(driver, "f"), note_name, &listing), TORC_IO);
        cr_expect_not_null(strstr(torc_detail(), "list"), "%s", torc_detail());
        cr_expect_not_null(strstr(torc_detail(), "/f: "), "%s", torc_detail());
    }
}

enum { RACERS = 4, PARTS = 200, PART_SIZE = 64 };

/* Each thread has a file of its own and reads the others'. Oracle: each part is one byte, over and over, or zeros. */
static void
write_and_read(void *context, unsigned number)
{
    const struct driver *driver = context;
    char names[RACERS][TORCT_PATH_SIZE + 64];
    unsigned char part[PART_SIZE];
    struct torci_file *file;

    for (unsigned i = 0; i < RACERS; i++)
        (void)snprintf(names[i], sizeof(names[0]), "%s/race-%u-%u", root, (unsigned)(driver - drivers), i);
    cr_assert_eq(torci_vfs_open(driver->vfs, names[number], CREATE, &file), TORC_OK);
    for (unsigned i = 0; i < PARTS; i++) {
        struct torci_file *other;
        size_t done = 0;

        memset(part, (int)(i % 255 + 1), sizeof(part));
        cr_assert_eq(torci_file_write(file, (uint64_t)i * PART_SIZE, part, PART_SIZE, false), TORC_OK);
        if (torci_vfs_open(driver->vfs, names[(number + 1) % RACERS], READ, &other) != TORC_OK)
            continue;
        cr_assert_eq(torci_file_read(other, (uint64_t)(i / 2) * PART_SIZE, part, PART_SIZE, &done), TORC_OK);
        for (size_t byte = 0; byte < done; byte++)
            cr_assert(part[byte] == 0 || part[byte] == i / 2 % 255 + 1);
        cr_assert_eq(torci_file_close(other), TORC_OK);
    }
    cr_assert_eq(torci_file_sync(file), TORC_OK);
    cr_assert_eq(torci_file_close(file), TORC_OK);
}

Test(vfs, serves_many_threads)
{
    EACH_DRIVER (driver)
        torct_race(RACERS, write_and_read, (void *)(uintptr_t)driver);
}

/* ---- The posix driver alone ---- */

/* From here on the kernel answers system call `number` of this process with `error`. Whether it can. */
static bool
refuse_system_call(unsigned number, unsigned error)
{
    struct sock_filter filter[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, number},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | error},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#define REFUSE(number, error)                                                                       \
    do {                                                                                            \
        if (!refuse_system_call((number), (error)))                                                 \
            cr_skip_test("this system lets no process filter its calls");                           \
    } while (false)

static void
expect_poisoned(struct torci_file *file)
{
    cr_expect_eq(torci_file_write(file, 0, "x", 1, false), TORC_IO);
    cr_expect_not_null(strstr(torc_detail(), "earlier"), "%s", torc_detail());
    cr_expect_eq(torci_file_write(file, 0, "x", 1, true), TORC_IO);
    cr_expect_not_null(strstr(torc_detail(), "earlier"), "%s", torc_detail());
    cr_expect_eq(torci_file_sync(file), TORC_IO);
    cr_expect_not_null(strstr(torc_detail(), "earlier"), "%s", torc_detail());
    cr_expect_eq(torci_file_truncate(file, 0), TORC_IO);
    cr_expect_eq(torci_file_allocate(file, 1), TORC_IO);
    cr_expect_eq(errno, EIO);
}

Test(vfs_posix, writes_durably_where_the_kernel_knows_no_such_write)
{
    static const int errors[] = {EOPNOTSUPP, ENOSYS, EINVAL};

    for (unsigned i = 0; i < 3; i++) {
        struct torci_file *file = open_at(drivers, "a", CREATE);

        REFUSE(SYS_pwritev2, (unsigned)errors[i]);
        cr_expect_eq(torci_file_write(file, 0, "abc", 3, true), TORC_OK);
        cr_expect_eq(torci_file_write(file, 3, "de", 2, true), TORC_OK);
        expect_bytes(drivers, file, "abcde", 5);
        close_file(file);
    }
}

Test(vfs_posix, fails_a_durable_write_whose_sync_fails)
{
    struct torci_file *file = open_at(drivers, "a", CREATE);

    REFUSE(SYS_pwritev2, EOPNOTSUPP);
    REFUSE(SYS_fdatasync, EIO);
    cr_expect_eq(torci_file_write(file, 0, "abc", 3, true), TORC_IO);
    cr_expect_eq(errno, EIO);
    expect_poisoned(file);
    close_file(file);
}

Test(vfs_posix, writes_zeros_where_no_room_can_be_reserved)
{
    enum { SIZE = 200000 };
    struct torci_file *file = open_at(drivers, "a", CREATE);
    unsigned char *bytes = calloc(1, SIZE);
    struct stat about;

    REFUSE(SYS_fallocate, EOPNOTSUPP);
    write_at(file, 0, "abc");
    memcpy(bytes, "abc", 3);
    cr_expect_eq(torci_file_allocate(file, SIZE), TORC_OK);
    expect_bytes(drivers, file, bytes, SIZE);
    cr_expect_eq(torci_file_sync(file), TORC_OK);
    cr_expect_eq(stat(at(drivers, "a"), &about), 0);
    cr_expect_geq(about.st_blocks * 512, SIZE, "there are no holes");
    close_file(file);
    free(bytes);
}

Test(vfs_posix, tells_a_full_disk_from_other_failures)
{
    struct torci_file *full = open_at(drivers, "a", CREATE);
    struct torci_file *quota = open_at(drivers, "b", CREATE);

    REFUSE(SYS_fallocate, ENOSPC);
    cr_expect_eq(torci_file_allocate(full, 100), TORC_NO_SPACE);
    cr_expect_not_null(strstr(torc_detail(), "allocate"), "%s", torc_detail());
    cr_expect_eq(torci_file_write(full, 0, "abc", 3, true), TORC_OK, "what was not reserved harmed nothing");
    REFUSE(SYS_pwrite64, EDQUOT);
    cr_expect_eq(torci_file_write(quota, 0, "abc", 3, false), TORC_NO_SPACE);
    expect_poisoned(quota);
    close_file(quota);
    close_file(full);
}

Test(vfs_posix, never_asks_again_after_a_failed_sync)
{
    struct torci_file *file = open_at(drivers, "a", CREATE);
    struct torci_file *other = open_at(drivers, "a", CREATE);

    write_at(file, 0, "abc");
    REFUSE(SYS_fdatasync, ENOSPC);
    cr_expect_eq(torci_file_sync(file), TORC_NO_SPACE);
    expect_poisoned(file);
    expect_bytes(drivers, file, "abc", 3);
    write_at(other, 0, "x");    /* The handle is poisoned, not the file: who opens anew, begins anew. */
    close_file(other);
    close_file(file);
}

/* A limit on the size of files cuts a write short, then refuses the rest. */
Test(vfs_posix, goes_on_after_a_short_write_until_it_fails)
{
    struct rlimit limit = {5000, 5000};
    struct torci_file *file = open_at(drivers, "a", CREATE);
    struct torci_file *durable = open_at(drivers, "b", CREATE);
    unsigned char bytes[8000];
    uint64_t size;

    memset(bytes, 7, sizeof(bytes));
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_expect_eq(torci_file_write(file, 0, bytes, sizeof(bytes), false), TORC_IO);
    cr_expect_eq(errno, EFBIG);
    cr_expect_eq(torci_file_size(file, &size), TORC_OK);
    cr_expect_eq(size, 5000u);
    expect_poisoned(file);
    cr_expect_eq(torci_file_write(durable, 0, bytes, sizeof(bytes), true), TORC_IO);
    cr_expect_eq(torci_file_size(durable, &size), TORC_OK);
    cr_expect_eq(size, 5000u);
    expect_poisoned(durable);
    close_file(durable);
    close_file(file);
}

Test(vfs_posix, reports_reads_and_sizes_that_fail)
{
    struct torci_file *file = open_at(drivers, "a", CREATE);
    char buffer[4];
    size_t done = 9;

    REFUSE(SYS_pread64, EIO);
    cr_expect_eq(torci_file_read(file, 0, buffer, sizeof(buffer), &done), TORC_IO);
    cr_expect_eq(done, 0u);
    cr_expect_eq(errno, EIO);
    cr_expect_not_null(strstr(torc_detail(), "read"), "%s", torc_detail());
    REFUSE(SYS_ftruncate, EIO);
    cr_expect_eq(torci_file_truncate(file, 4), TORC_IO);
    REFUSE(SYS_flock, ENOLCK);
    cr_expect_eq(torci_file_lock(file), TORC_IO);
    close_file(file);
}

Test(vfs_posix, needs_directories_synced_but_for_systems_that_sync_none)
{
    REFUSE(SYS_fsync, EINVAL);
    cr_expect_eq(torci_vfs_sync_directory(torci_vfs_posix(), root), TORC_OK);
    REFUSE(SYS_fsync, EIO);
    cr_expect_eq(torci_vfs_sync_directory(torci_vfs_posix(), root), TORC_IO);
    cr_expect_not_null(strstr(torc_detail(), "sync"), "%s", torc_detail());
}

Test(vfs_posix, fails_to_make_a_directory_whose_name_cannot_be_synced)
{
    char path[TORCT_PATH_SIZE + 8];

    (void)snprintf(path, sizeof(path), "%s/new/er", root);
    REFUSE(SYS_fsync, EIO);
    cr_expect_eq(torci_vfs_make_directory(torci_vfs_posix(), path), TORC_IO);
    cr_expect_eq(torci_vfs_make_directory(torci_vfs_posix(), root), TORC_IO, "also if it is there");
}

/* Whoever may not read a directory cannot sync it: no matter for what others made there, but for what is made now. */
Test(vfs_posix, needs_no_sync_of_an_old_directory_that_it_may_not_read)
{
    char path[TORCT_PATH_SIZE + 8];

    (void)snprintf(path, sizeof(path), "%s/new", root);
    REFUSE(SYS_fsync, EACCES);
    cr_expect_eq(torci_vfs_make_directory(torci_vfs_posix(), root), TORC_OK);
    cr_expect_eq(torci_vfs_make_directory(torci_vfs_posix(), path), TORC_IO);
}

Test(vfs_posix, makes_directories_below_the_current_one)
{
    struct stat about;

    cr_assert_eq(chdir(root), 0);
    cr_expect_eq(torci_vfs_make_directory(torci_vfs_posix(), "here/and/there"), TORC_OK);
    cr_expect_eq(stat("here/and/there", &about), 0);
    cr_expect_eq(about.st_mode & 0777, 0700u, "a store's files are its owner's");
    cr_expect_eq(torci_vfs_make_directory(torci_vfs_posix(), "."), TORC_OK);
    cr_expect_eq(torci_vfs_make_directory(torci_vfs_posix(), ""), TORC_NOT_FOUND);
    cr_assert_eq(chdir("/"), 0);
}

Test(vfs_posix, hands_no_descriptor_to_other_programs_and_no_file_to_other_users)
{
    struct torci_file *file = open_at(drivers, "a", CREATE);
    struct stat about;
    bool found = false;

    cr_expect_eq(stat(at(drivers, "a"), &about), 0);
    cr_expect_eq(about.st_mode & 0077, 0u);
    for (int fd = 3; fd < 100; fd++) {
        struct stat other;

        if (fstat(fd, &other) != 0 || other.st_ino != about.st_ino || other.st_dev != about.st_dev)
            continue;
        found = true;
        cr_expect_neq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    }
    cr_expect(found);
    close_file(file);
}

/* A child that was forked while the file was locked has it open, too. */
Test(vfs_posix, gives_up_its_lock_at_close_whatever_a_child_holds)
{
    struct torci_file *first = open_at(drivers, "a", CREATE);
    struct torci_file *second = open_at(drivers, "a", CREATE);
    int ends[2];
    char byte;

    cr_assert_eq(torci_file_lock(first), TORC_OK);
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);    /* Until the parent closes its end. */
    }
    cr_assert_gt(child, 0);
    cr_expect_eq(torci_file_lock(second), TORC_LOCKED);
    close_file(first);
    cr_expect_eq(torci_file_lock(second), TORC_OK);
    close_file(second);
    (void)close(ends[0]);
    (void)close(ends[1]);
    cr_expect_eq(waitpid(child, NULL, 0), child);
}

#if defined(TORC_FAULTS)
Test(vfs_posix, opens_nothing_without_memory)
{
    struct torci_file *file;
    const char *path = at(drivers, "a");
    struct stat about;

    torci_alloc_fail_at(1, false);
    cr_expect_eq(torci_vfs_open(torci_vfs_posix(), path, CREATE, &file), TORC_NO_MEMORY);
    cr_expect_null(file);
    cr_expect_neq(stat(path, &about), 0, "nothing was made");
    close_file(open_at(drivers, "a", CREATE));
}
#endif

/* Long paths are shown by their ends, with the reason behind them. */
Test(vfs_posix, shows_the_reason_also_of_long_paths)
{
    char path[400];
    struct torci_file *file;

    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    cr_expect_eq(torci_vfs_open(torci_vfs_posix(), path, READ, &file), TORC_IO);
    cr_expect_eq(errno, ENAMETOOLONG);
    cr_expect_not_null(strstr(torc_detail(), "open ...xx"), "%s", torc_detail());
    cr_expect_not_null(strstr(torc_detail(), "too long"), "%s", torc_detail());
}

Test(vfs, drops_handles_without_a_word)
{
    torci_file_drop(NULL);
    EACH_DRIVER (driver)
        torci_file_drop(open_at(driver, "a", CREATE));
}

/* SPDX-License-Identifier: MIT */
/* base/vfs_fault: that calls fail as they are told to. What works without a plan is asked in vfs_test.c. */
#include <criterion/criterion.h>

#include <errno.h>

#include "base/testing.h"
#include "base/vfs_fault.h"
#include "base/vfs_memory.h"

enum { CREATE = TORCI_OPEN_WRITE | TORCI_OPEN_CREATE };

static struct torci_heap heap;
static struct torci_vfs *memory;
static struct torci_vfs *vfs;
static struct torci_file *file;

static void
create(void)
{
    torci_heap_init(&heap, NULL, 0);
    memory = torci_vfs_memory_create(&heap, true);
    vfs = torci_vfs_fault_create(&heap, memory);
    cr_assert_eq(torci_vfs_open(vfs, "a", CREATE, &file), TORC_OK);
    cr_assert_eq(torci_vfs_sync_directory(vfs, "/"), TORC_OK);
}

static void
destroy(void)
{
    torci_vfs_fault_plan(vfs, NULL);
    torci_file_drop(file);
    torci_vfs_fault_destroy(vfs);
    torci_vfs_memory_destroy(memory);
    cr_assert_eq(torci_heap_bytes(&heap), UINT64_C(0), "every byte must come back");
}

TestSuite(vfs_fault, .init = create, .fini = destroy, .timeout = 20);

static enum torc_status
ignore_name(void *context, const char *name)
{
    (void)context;
    (void)name;
    return TORC_OK;
}

/* One call of each operation, in the enum's order. An open file is closed, a closed one stays. */
static enum torc_status
call(enum torci_vfs_operation operation)
{
    struct torci_file *opened = NULL;
    enum torc_status status;
    uint64_t size;
    size_t done = 9;
    char byte = 'x';

    switch (operation) {
    case TORCI_VFS_OPEN:
    case TORCI_VFS_CLOSE:
        status = torci_vfs_open(vfs, "b", CREATE, &opened);
        cr_assert_eq(opened == NULL, status != TORC_OK);
        return opened != NULL ? torci_file_close(opened) : status;
    case TORCI_VFS_READ:
        status = torci_file_read(file, 0, &byte, 1, &done);
        cr_assert(status == TORC_OK || done == 0);
        return status;
    case TORCI_VFS_WRITE:
    case TORCI_VFS_WRITE_DURABLE:
        return torci_file_write(file, 0, &byte, 1, operation == TORCI_VFS_WRITE_DURABLE);
    case TORCI_VFS_SYNC:
        return torci_file_sync(file);
    case TORCI_VFS_SIZE:
        return torci_file_size(file, &size);
    case TORCI_VFS_TRUNCATE:
        return torci_file_truncate(file, 10);
    case TORCI_VFS_ALLOCATE:
        return torci_file_allocate(file, 10);
    case TORCI_VFS_LOCK:
        return torci_file_lock(file);
    case TORCI_VFS_RENAME:
        return torci_vfs_rename(vfs, "a", "a");
    case TORCI_VFS_REMOVE:
        status = torci_vfs_open(memory, "b", CREATE, &opened);
        cr_assert_eq(status, TORC_OK);
        torci_file_drop(opened);
        return torci_vfs_remove(vfs, "b");
    case TORCI_VFS_LIST:
        return torci_vfs_list(vfs, "/", ignore_name, NULL);
    case TORCI_VFS_MAKE_DIRECTORY:
        return torci_vfs_make_directory(vfs, "d");
    case TORCI_VFS_SYNC_DIRECTORY:
        return torci_vfs_sync_directory(vfs, "/");
    }
    return TORC_INVALID;
}

static void
expect_left(enum torci_crash mode, const char *bytes)
{
    struct torci_vfs *clone = torci_vfs_memory_crash_clone(memory, mode, 1);
    struct torci_file *found;
    char buffer[64];
    size_t done;

    cr_assert_eq(torci_vfs_open(clone, "a", TORCI_OPEN_READ, &found), TORC_OK);
    cr_assert_eq(torci_file_read(found, 0, buffer, sizeof(buffer), &done), TORC_OK);
    cr_expect_eq(done, strlen(bytes), "%zu bytes", done);
    cr_expect(done != strlen(bytes) || memcmp(buffer, bytes, done) == 0);
    torci_file_drop(found);
    torci_vfs_memory_destroy(clone);
}

Test(vfs_fault, fails_each_operation_on_its_own)
{
    for (unsigned failing = 0; failing < TORCI_VFS_OPERATIONS; failing++) {
        struct torci_vfs_plan plan = {
            .operations = TORCI_VFS_BIT(failing), .at = 1, .sticky = true, .status = TORC_IO};

        for (unsigned operation = 0; operation < TORCI_VFS_OPERATIONS; operation++) {
            bool fails = operation == failing || (operation == TORCI_VFS_CLOSE && failing == TORCI_VFS_OPEN) ||
                         (operation == TORCI_VFS_OPEN && failing == TORCI_VFS_CLOSE);

            torci_vfs_fault_plan(vfs, &plan);
            cr_expect_eq(call((enum torci_vfs_operation)operation), fails ? TORC_IO : TORC_OK, "%u of %u", operation,
                         failing);
            torci_vfs_fault_plan(vfs, NULL);
            cr_expect_eq(call((enum torci_vfs_operation)operation), TORC_OK);
        }
    }
}

Test(vfs_fault, fails_the_call_it_is_told_to_and_no_other)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_BIT(TORCI_VFS_WRITE), .at = 3, .status = TORC_NO_SPACE};

    torci_vfs_fault_plan(vfs, &plan);
    for (unsigned n = 1; n <= 5; n++) {
        cr_expect_eq(call(TORCI_VFS_SYNC), TORC_OK, "not counted");
        cr_expect_eq(call(TORCI_VFS_WRITE), n == 3 ? TORC_NO_SPACE : TORC_OK, "%u", n);
    }
    cr_expect_eq(torci_vfs_fault_failed(vfs), UINT64_C(1));
    plan.sticky = true;
    torci_vfs_fault_plan(vfs, &plan);
    for (unsigned n = 1; n <= 5; n++)
        cr_expect_eq(call(TORCI_VFS_WRITE), n >= 3 ? TORC_NO_SPACE : TORC_OK, "%u", n);
    cr_expect_eq(errno, ENOSPC);
    cr_expect_not_null(strstr(torc_detail(), "write"), "%s", torc_detail());
    cr_expect_eq(torci_vfs_fault_failed(vfs), UINT64_C(4));
}

Test(vfs_fault, fails_as_often_as_told_and_alike_with_one_seed)
{
    enum { CALLS = 2000 };
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL, .one_in = 10, .seed = 7, .status = TORC_IO};
    static bool failed[CALLS];
    uint64_t failures = 0;

    torci_vfs_fault_plan(vfs, &plan);
    for (unsigned i = 0; i < CALLS; i++) {
        failed[i] = call(TORCI_VFS_READ) != TORC_OK;
        failures += failed[i];
    }
    cr_expect(failures > CALLS / 20 && failures < CALLS / 5);
    torci_vfs_fault_plan(vfs, &plan);
    for (unsigned i = 0; i < CALLS; i++)
        cr_assert_eq(call(TORCI_VFS_READ) != TORC_OK, failed[i]);
    plan.seed = 8;
    torci_vfs_fault_plan(vfs, &plan);
    unsigned different = 0;
    for (unsigned i = 0; i < CALLS; i++)
        different += (call(TORCI_VFS_READ) != TORC_OK) != failed[i];
    cr_expect_gt(different, 0u);
}

Test(vfs_fault, counts_calls_by_operation)
{
    uint64_t before = torci_vfs_fault_calls(vfs, TORCI_VFS_ALL);

    cr_expect_eq(before, UINT64_C(2));
    cr_expect_eq(call(TORCI_VFS_WRITE), TORC_OK);
    cr_expect_eq(call(TORCI_VFS_WRITE_DURABLE), TORC_OK);
    cr_expect_eq(call(TORCI_VFS_READ), TORC_OK);
    cr_expect_eq(torci_vfs_fault_calls(vfs, TORCI_VFS_ALL), before + 3);
    cr_expect_eq(torci_vfs_fault_calls(vfs, TORCI_VFS_BIT(TORCI_VFS_WRITE)), UINT64_C(1));
    cr_expect_eq(torci_vfs_fault_calls(vfs, TORCI_VFS_CHANGES), UINT64_C(3));
}

Test(vfs_fault, writes_nothing_or_a_part_when_a_write_fails)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_CHANGES, .at = 1, .status = TORC_IO};
    bool seen[7] = {false};
    uint64_t size;

    torci_vfs_fault_plan(vfs, &plan);
    cr_expect_eq(torci_file_write(file, 0, "abcdef", 6, false), TORC_IO);
    cr_expect_eq(torci_file_size(file, &size), TORC_OK);
    cr_expect_eq(size, UINT64_C(0));
    plan.partly = true;
    for (plan.seed = 0; plan.seed < 100; plan.seed++) {
        cr_assert_eq(torci_file_truncate(file, 0), TORC_OK);
        torci_vfs_fault_plan(vfs, &plan);
        cr_assert_eq(torci_file_write(file, 0, "abcdef", 6, plan.seed % 2 == 0), TORC_IO);
        cr_assert_eq(torci_file_size(file, &size), TORC_OK);
        cr_assert_leq(size, UINT64_C(6));
        seen[size] = true;
    }
    cr_expect(seen[0] && seen[3] && seen[6]);
    expect_left(TORCI_CRASH_DROP, "");
}

Test(vfs_fault, runs_out_of_space_within_a_write)
{
    cr_assert_eq(torci_file_write(file, 0, "abc", 3, true), TORC_OK);
    torci_vfs_fault_space(vfs, 5);
    cr_expect_eq(torci_file_write(file, 0, "xyz", 3, true), TORC_OK, "no growth, no need");
    cr_expect_eq(torci_file_write(file, 2, "zuv", 3, true), TORC_OK);
    cr_expect_eq(torci_file_allocate(file, 5), TORC_OK);
    cr_expect_eq(torci_file_write(file, 4, "vwxabc", 6, true), TORC_NO_SPACE);
    cr_expect_eq(errno, ENOSPC);
    expect_left(TORCI_CRASH_KEEP, "xyzuvwxa");
    expect_left(TORCI_CRASH_DROP, "xyzuv");
    cr_expect_eq(torci_file_allocate(file, 9), TORC_NO_SPACE);
    cr_expect_eq(torci_file_write(file, 20, "a", 1, false), TORC_NO_SPACE);
    cr_expect_eq(torci_file_write(file, 0, "XYZ", 3, false), TORC_OK);
    torci_vfs_fault_space(vfs, UINT64_MAX);
    cr_expect_eq(torci_file_allocate(file, 1000), TORC_OK);
}

/* The careless system: the sync fails once, the next one says that all is well, and the bytes are gone. */
Test(vfs_fault, forgets_what_a_failed_sync_should_have_saved)
{
    struct torci_vfs_plan plan = {
        .operations = TORCI_VFS_BIT(TORCI_VFS_SYNC), .at = 1, .status = TORC_IO, .forget = true};

    cr_assert_eq(torci_file_write(file, 0, "abc", 3, true), TORC_OK);
    cr_assert_eq(torci_file_write(file, 0, "xyz", 3, false), TORC_OK);
    torci_vfs_fault_plan(vfs, &plan);
    cr_expect_eq(torci_file_sync(file), TORC_IO);
    cr_expect_eq(torci_vfs_fault_forbidden(vfs), UINT64_C(0));
    cr_expect_eq(torci_file_sync(file), TORC_OK);
    cr_expect_eq(torci_vfs_fault_forbidden(vfs), UINT64_C(1), "and that was a mistake");
    for (enum torci_crash mode = 0; mode < TORCI_CRASH_MODES; mode++)
        expect_left(mode, "abc");
}

Test(vfs_fault, forgets_what_a_failed_durable_write_wrote)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE), .at = 1, .status = TORC_IO,
                                  .partly = true, .forget = true};

    cr_assert_eq(torci_file_write(file, 0, "abc", 3, true), TORC_OK);
    torci_vfs_fault_plan(vfs, &plan);
    cr_expect_eq(torci_file_write(file, 0, "xyz", 3, true), TORC_IO);
    cr_expect_eq(torci_file_sync(file), TORC_OK);
    for (enum torci_crash mode = 0; mode < TORCI_CRASH_MODES; mode++)
        expect_left(mode, "abc");
}

Test(vfs_fault, counts_what_is_written_after_a_failure)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_BIT(TORCI_VFS_WRITE), .at = 1, .status = TORC_IO};
    struct torci_file *other;

    cr_assert_eq(torci_vfs_open(vfs, "a", CREATE, &other), TORC_OK);
    torci_vfs_fault_plan(vfs, &plan);
    cr_expect_eq(call(TORCI_VFS_WRITE), TORC_IO);
    cr_expect_eq(torci_file_write(other, 0, "x", 1, true), TORC_OK, "another handle");
    cr_expect_eq(call(TORCI_VFS_READ), TORC_OK);
    cr_expect_eq(torci_vfs_fault_forbidden(vfs), UINT64_C(0));
    cr_expect_eq(call(TORCI_VFS_WRITE_DURABLE), TORC_OK);
    cr_expect_eq(call(TORCI_VFS_SYNC), TORC_OK);
    cr_expect_eq(torci_vfs_fault_forbidden(vfs), UINT64_C(2));
    torci_file_drop(other);
}

Test(vfs_fault, refuses_locks)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_BIT(TORCI_VFS_LOCK), .at = 1, .status = TORC_LOCKED};

    torci_vfs_fault_plan(vfs, &plan);
    cr_expect_eq(torci_file_lock(file), TORC_LOCKED);
    cr_expect_eq(torci_file_lock(file), TORC_OK);
}

struct stops {
    unsigned count;
    unsigned by_operation[TORCI_VFS_OPERATIONS];
    bool torn;                              /* Found as neither before nor after. */
};

static void
note_stop(void *context, enum torci_vfs_operation operation)
{
    struct stops *stops = context;
    struct torci_vfs *clone = torci_vfs_memory_crash_clone(memory, TORCI_CRASH_TORN_512, stops->count);
    struct torci_file *found;
    unsigned char bytes[2048];
    size_t done;

    stops->count++;
    stops->by_operation[operation]++;
    cr_assert_eq(torci_vfs_open(clone, "a", TORCI_OPEN_READ, &found), TORC_OK);
    cr_assert_eq(torci_file_read(found, 0, bytes, sizeof(bytes), &done), TORC_OK);
    for (size_t i = 512; i < done; i += 512)
        stops->torn = stops->torn || bytes[i] != bytes[0];
    torci_file_drop(found);
    torci_vfs_memory_destroy(clone);
}

Test(vfs_fault, stops_before_each_call_and_within_durable_writes)
{
    struct stops stops = {0};
    unsigned char bytes[2048];

    memset(bytes, 'a', sizeof(bytes));
    cr_assert_eq(torci_file_write(file, 0, bytes, sizeof(bytes), true), TORC_OK);
    torci_vfs_fault_stop(vfs, note_stop, &stops);
    for (unsigned operation = 0; operation < TORCI_VFS_OPERATIONS; operation++)
        if (operation != TORCI_VFS_TRUNCATE && operation != TORCI_VFS_WRITE)
            cr_expect_eq(call((enum torci_vfs_operation)operation), TORC_OK);
    for (unsigned operation = 0; operation < TORCI_VFS_OPERATIONS; operation++) {
        unsigned wanted = operation == TORCI_VFS_TRUNCATE || operation == TORCI_VFS_WRITE ? 0 : 1;

        if (operation == TORCI_VFS_OPEN || operation == TORCI_VFS_CLOSE || operation == TORCI_VFS_WRITE_DURABLE)
            wanted = 2;
        cr_expect_eq(stops.by_operation[operation], wanted, "%u", operation);
    }
    for (unsigned round = 0; round < 20; round++) {
        memset(bytes, 'b' + (int)round, sizeof(bytes));
        cr_assert_eq(torci_file_write(file, 0, bytes, sizeof(bytes), true), TORC_OK);
    }
    cr_expect(stops.torn, "a durable write is torn by a cut within it");
    torci_vfs_fault_stop(vfs, NULL, NULL);
    unsigned count = stops.count;
    cr_expect_eq(call(TORCI_VFS_WRITE_DURABLE), TORC_OK);
    cr_expect_eq(stops.count, count);
}

Test(vfs_fault, ignores_null)
{
    torci_vfs_fault_destroy(NULL);
}

enum { RACERS = 4, RACE_ROUNDS = 2000 };
static _Atomic(uint64_t) refused;

static void
count_refusals(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (unsigned i = 0; i < RACE_ROUNDS; i++)
        if (call(TORCI_VFS_SIZE) != TORC_OK)
            atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);   /* Counter: read after join. */
}

/* Each call has a number of its own: the n-th fails once, whoever makes it. */
Test(vfs_fault, counts_the_calls_of_all_threads)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL, .at = RACERS * RACE_ROUNDS / 2, .status = TORC_IO};
    uint64_t before = torci_vfs_fault_calls(vfs, TORCI_VFS_ALL);

    torci_vfs_fault_plan(vfs, &plan);
    torct_race(RACERS, count_refusals, NULL);
    cr_expect_eq(atomic_load_explicit(&refused, memory_order_relaxed), UINT64_C(1));
    cr_expect_eq(torci_vfs_fault_calls(vfs, TORCI_VFS_ALL), before + RACERS * RACE_ROUNDS);
}

static void
grow_own_file(void *context, unsigned number)
{
    char name[2] = {(char)('p' + (int)number), '\0'};
    struct torci_file *own;

    (void)context;
    cr_assert_eq(torci_vfs_open(vfs, name, CREATE, &own), TORC_OK);
    for (unsigned i = 0; i < RACE_ROUNDS; i++)
        if (torci_file_write(own, i, "x", 1, false) == TORC_OK)
            atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);   /* Counter: read after join. */
        else
            break;
    torci_file_drop(own);
}

/* Conservation: what all threads wrote is what there was room for. */
Test(vfs_fault, shares_out_each_byte_of_space_once)
{
    enum { SPACE = RACERS * RACE_ROUNDS / 2 };

    torci_vfs_fault_space(vfs, SPACE);
    torct_race(RACERS, grow_own_file, NULL);
    cr_expect_eq(atomic_load_explicit(&refused, memory_order_relaxed), (uint64_t)SPACE);
}

#if defined(TORC_FAULTS)
Test(vfs_fault, says_so_when_memory_is_short)
{
    struct torci_file *none;

    torci_alloc_fail_at(1, false);
    cr_expect_eq(torci_vfs_open(vfs, "b", CREATE, &none), TORC_NO_MEMORY);
    cr_expect_null(none);
    torci_alloc_fail_at(2, false);
    cr_expect_eq(torci_vfs_open(vfs, "b", CREATE, &none), TORC_NO_MEMORY);
    cr_expect_null(none);
    torci_alloc_fail_at(1, false);
    cr_expect_null(torci_vfs_fault_create(&heap, memory));
}
#endif

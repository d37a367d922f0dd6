/* SPDX-License-Identifier: MIT */
/* base/vfs_memory where threads are fibers: its lock lets one in at a time, and others run while it is held. */
#include <criterion/criterion.h>

#include "base/fiber.h"
#include "base/testing.h"
#include "base/vfs_memory.h"

TestSuite(vfs_memory, .timeout = 60);

enum { FIBERS = 3, WRITES = 3, PART = 100 };

struct fixture {
    struct torci_heap heap;
    struct torci_vfs *vfs;
};

static void
create(void *context)
{
    struct fixture *fixture = context;

    torci_heap_init(&fixture->heap, NULL, 0);
    fixture->vfs = torci_vfs_memory_create(&fixture->heap, true);
}

/* Every fiber writes parts of its own of one file, and makes them and the name durable. */
static void
write_parts(void *context, unsigned number)
{
    struct fixture *fixture = context;
    struct torci_file *file;
    unsigned char part[PART];

    memset(part, (int)number + 1, sizeof(part));
    for (unsigned i = 0; i < WRITES; i++) {
        uint64_t offset = ((uint64_t)i * FIBERS + number) * PART;

        if (torci_vfs_open(fixture->vfs, "a", TORCI_OPEN_WRITE | TORCI_OPEN_CREATE, &file) != TORC_OK)
            torci_fail_here("open");
        if (torci_file_write(file, offset, part, sizeof(part), i % 2 == 0) != TORC_OK)
            torci_fail_here("write");
        if (torci_file_sync(file) != TORC_OK || torci_vfs_sync_directory(fixture->vfs, "/") != TORC_OK)
            torci_fail_here("sync");
        torci_file_drop(file);
    }
}

/* All of it survives a cut that drops what can be dropped. */
static bool
all_is_durable(void *context)
{
    struct fixture *fixture = context;
    struct torci_vfs *clone = torci_vfs_memory_crash_clone(fixture->vfs, TORCI_CRASH_DROP, 1);
    unsigned char bytes[FIBERS * WRITES * PART + 1];
    struct torci_file *file;
    size_t done = 0;
    bool right = true;

    if (torci_vfs_open(clone, "a", TORCI_OPEN_READ, &file) == TORC_OK) {
        if (torci_file_read(file, 0, bytes, sizeof(bytes), &done) != TORC_OK)
            right = false;
        torci_file_drop(file);
    }
    for (size_t i = 0; i < done; i++)
        right = right && bytes[i] == i / PART % FIBERS + 1;
    torci_vfs_memory_destroy(clone);
    return right && done == sizeof(bytes) - 1;
}

static void
destroy(void *context)
{
    struct fixture *fixture = context;

    torci_vfs_memory_destroy(fixture->vfs);
}

Test(vfs_memory, serves_fibers_one_at_a_time)
{
    static struct fixture fixture;
    struct torci_run run = {.fibers = FIBERS,
                            .setup = create,
                            .body = write_parts,
                            .check = all_is_durable,
                            .teardown = destroy,
                            .context = &fixture,
                            .seed = torct_seed(),
                            .schedules = 1000};

    cr_assert(!torci_fiber_run(&run).failed);
}

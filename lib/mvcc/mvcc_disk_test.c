/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_disk: a durable store on a disk that fails, fills up, or comes back damaged.
 *
 * Faults     A script, run for n = 1, 2 ... with its n-th call of the disk failing, in every way, until it passes
 *            untouched. Writes then return TORC_INDETERMINATE or TORC_READ_ONLY and nothing else, reads go on, no file
 *            is written after it has failed. After that the power is cut, or the disk works again and
 *            torc_mvcc_resume() makes everything durable that is visible.
 * Damage     A small store that was closed: each file cut at every byte, and each of its bytes changed. Opening it says
 *            so, or shows exactly what was there. Oracle: the dump from before.
 * Oracle of the rest: history (mvcc_crash_testing.h). */
#include "mvcc/mvcc_crash_testing.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(mvcc_disk_faults, .timeout = 300);
TestSuite(mvcc_disk_full, .timeout = 300);
TestSuite(mvcc_disk_backup, .timeout = 300);
TestSuite(mvcc_disk_damage, .timeout = 600);
TestSuite(mvcc_disk_cycles, .timeout = 300);

/* ---- Faults ---- */

/* After whatever happened the disk works: open what could not be opened. */
static void
mend_disk(struct torct_crash *world)
{
    torci_vfs_fault_plan(world->disk.vfs, NULL);
    torci_vfs_fault_space(world->disk.vfs, UINT64_MAX);
    world->faulty = false;
    if (world->store == NULL)
        cr_assert_eq(torct_crash_open(world, world->durability), TORC_OK);
}

/* Everything that is visible becomes durable, and stays. */
static void
expect_resumed(struct torct_crash *world)
{
    mend_disk(world);
    cr_assert_eq(torc_mvcc_resume(world->store), TORC_OK, "%s", torc_detail());
    torct_crash_put(world);
    torct_crash_turn(world);
    torct_crash_sync(world);
    cr_assert_geq(torc_mvcc_durable(world->store), world->history[world->moments - 1].stamp);
    torct_crash_reboot(world, TORCI_CRASH_DROP);
}

static void
fault_script(struct torct_crash *world)
{
    for (unsigned life = 0; life < 2; life++) {
        enum torc_durability durability = life == 0 ? TORC_DURABILITY_SYNC : TORC_DURABILITY_ASYNC;

        if (torct_crash_open(world, durability) != TORC_OK) {
            world->failures++;
            return;
        }
        for (unsigned i = 0; i < 4; i++) {
            torct_crash_put(world);
            torct_crash_turn(world);
            torct_crash_transact(world);
            torct_crash_poll(world);
            torct_crash_merge(world);
        }
        torct_crash_checkpoint(world);
        torct_crash_delete(world);
        torct_crash_transact(world);
        torct_crash_sync(world);
        if (life == 0 && torct_crash_close(world) != TORC_OK)
            world->failures++;
    }
}

/* Whether the script came to its n-th call. */
static bool
run_with_fault(const struct torci_vfs_plan *plan, uint64_t n)
{
    struct torct_crash *world = torct_crash_create(plan->seed);
    bool reached;

    world->faulty = true;
    torci_vfs_fault_plan(world->disk.vfs, plan);
    fault_script(world);
    reached = torci_vfs_fault_failed(world->disk.vfs) > 0;
    cr_assert(reached || world->failures == 0, "a call failed without a fault");
    if (world->store != NULL && n % 2 == 0) {
        torct_crash_reboot(world, (enum torci_crash)(n / 2 % TORCI_CRASH_MODES));
        world->faulty = false;
    }
    expect_resumed(world);
    cr_assert_eq(torct_crash_close(world), TORC_OK);
    torct_crash_destroy(world);
    return reached;
}

static void
run_with_every_fault(struct torci_vfs_plan plan)
{
    uint64_t n = 1, runs = 0;

    for (;; n += TORCT_CRASH_EVERY, runs++) {
        plan.at = n;
        plan.seed = 3 + n % 4;
        if (!run_with_fault(&plan, n))
            break;
    }
    cr_assert_gt(n, 20u);
    fprintf(stderr, "mvcc_disk: %" PRIu64 " runs with a fault\n", runs);
}

Test(mvcc_disk_faults, any_call_may_fail_once)
{
    run_with_every_fault((struct torci_vfs_plan){.operations = TORCI_VFS_ALL, .status = TORC_IO});
}

Test(mvcc_disk_faults, any_change_may_fail_and_all_that_follow)
{
    run_with_every_fault((struct torci_vfs_plan){.operations = TORCI_VFS_CHANGES | TORCI_VFS_BIT(TORCI_VFS_OPEN),
                                                 .sticky = true, .status = TORC_IO});
}

Test(mvcc_disk_faults, any_write_may_find_no_room_and_stop_in_the_middle)
{
    run_with_every_fault((struct torci_vfs_plan){.operations = TORCI_VFS_CHANGES, .sticky = true,
                                                 .status = TORC_NO_SPACE, .partly = true});
}

/* What the system counts as clean then is lost by a power cut, though it can be read. */
Test(mvcc_disk_faults, any_sync_may_fail_and_forget)
{
    run_with_every_fault((struct torci_vfs_plan){
        .operations = TORCI_VFS_BIT(TORCI_VFS_SYNC) | TORCI_VFS_BIT(TORCI_VFS_WRITE_DURABLE), .status = TORC_IO,
        .forget = true, .partly = true});
}

Test(mvcc_disk_faults, many_calls_may_fail)
{
    for (uint64_t seed = 1; seed <= 60; seed += TORCT_CRASH_EVERY) {
        struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL, .one_in = 5 + seed % 40, .seed = seed,
                                      .status = TORC_IO, .partly = seed % 2 == 0, .forget = seed % 3 == 0};

        (void)run_with_fault(&plan, seed);
    }
}

/* ---- A full disk ---- */

Test(mvcc_disk_full, loses_nothing_and_goes_on_when_there_is_room)
{
    const uint64_t step = TORCT_CRASH_EVERY == 1 ? 1777 : 2 * TORCI_SEGMENT_SIZE + 1;

    for (uint64_t room = 0; room < 7 * (uint64_t)TORCI_SEGMENT_SIZE; room += step) {
        struct torct_crash *world = torct_crash_create(room + 1);

        world->faulty = true;
        torci_vfs_fault_space(world->disk.vfs, room);
        fault_script(world);
        if (room % 2 == 0 && world->store != NULL)
            torct_crash_reboot(world, TORCI_CRASH_DROP);
        expect_resumed(world);
        cr_assert_eq(torct_crash_close(world), TORC_OK);
        torct_crash_destroy(world);
    }
}

Test(mvcc_disk_full, a_checkpoint_without_room_leaves_the_journal_alone)
{
    struct torct_crash *world = torct_crash_create(5);

    cr_assert_eq(torct_crash_open(world, TORC_DURABILITY_SYNC), TORC_OK);
    for (unsigned i = 0; i < 20; i++)
        torct_crash_put(world);
    torci_vfs_fault_space(world->disk.vfs, 40 * 1024);      /* Two segments, and some, if they are small. */
    world->faulty = true;
    for (unsigned i = 0; torc_mvcc_checkpoint(world->store, true) == TORC_OK; i++) {
        cr_assert_lt(i, 100u);
        torct_crash_put(world);
    }
    cr_assert_str_not_empty(torc_detail());
    expect_resumed(world);
    torct_crash_checkpoint(world);
    cr_assert_eq(torct_crash_close(world), TORC_OK);
    torct_crash_destroy(world);
}

/* ---- Backup ---- */

/* Of a world whose backups' power is cut. */
struct backup {
    struct torct_crash *world;
    uint64_t seen_calls;
    uint64_t points;
    uint64_t whole;
};

static void
expect_whole(struct torct_crash *world, struct torci_vfs *vfs)
{
    struct torc_mvcc_options options = torct_crash_options(world);
    struct torc_mvcc *store;
    char *text;

    options.directory = "backup";
    cr_assert_eq(torci_mvcc_open_on(&options, vfs, &store), TORC_OK, "%s", torc_detail());
    text = torct_dump(store, false);
    cr_assert(torct_dump_same(text, world->history[world->moments - 1].text, world->now_ms), "the backup has:\n%s",
              text);
    free(text);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
}

static void
backup_stop(void *context, enum torci_vfs_operation operation)
{
    struct backup *backup = context;
    uint64_t calls = torci_vfs_memory_calls(backup->world->disk.memory);

    (void)operation;
    if (calls == backup->seen_calls)
        return;
    backup->seen_calls = calls;
    for (unsigned mode = 0; mode < TORCI_CRASH_MODES; mode++) {
        struct torct_disk after;
        enum torc_status status;

        torct_disk_crash(&backup->world->disk, (enum torci_crash)mode, calls, &after);
        status = torci_mvcc_verify_on("backup", after.vfs, NULL);
        cr_assert(status == TORC_OK || status == TORC_MISSING, "%s: %s", torc_status_name(status), torc_detail());
        if (status == TORC_OK)
            expect_whole(backup->world, after.vfs);
        backup->points++;
        backup->whole += status == TORC_OK;
        torct_disk_destroy(&after);
    }
}

static struct torct_crash *
world_with_some(uint64_t seed, enum torc_durability durability)
{
    struct torct_crash *world = torct_crash_create(seed);

    cr_assert_eq(torct_crash_open(world, durability), TORC_OK);
    for (unsigned i = 0; i < 10; i++) {
        torct_crash_put(world);
        torct_crash_transact(world);
        torct_crash_turn(world);
    }
    return world;
}

Test(mvcc_disk_backup, is_whole_or_not_there_when_the_power_is_cut)
{
    struct backup backup = {.world = world_with_some(7, TORC_DURABILITY_ASYNC)};
    struct torct_crash *world = backup.world;

    torci_vfs_fault_stop(world->disk.vfs, backup_stop, &backup);
    cr_assert_eq(torc_mvcc_backup(world->store, "backup"), TORC_OK, "%s", torc_detail());
    backup_stop(&backup, TORCI_VFS_OPERATIONS);
    torci_vfs_fault_stop(world->disk.vfs, NULL, NULL);
    cr_assert_geq(backup.whole, (uint64_t)TORCI_CRASH_MODES, "once it has returned it is there");
    cr_assert_gt(backup.points, backup.whole);
    expect_whole(world, world->disk.vfs);
    cr_assert_eq(torc_mvcc_backup(world->store, "backup"), TORC_EXISTS);
    cr_assert_eq(torct_crash_close(world), TORC_OK);
    torct_crash_destroy(world);
}

Test(mvcc_disk_backup, that_finds_no_room_does_not_open_and_hurts_nothing)
{
    for (uint64_t room = 0; room < 12 * 1024; room += 511) {
        struct torct_crash *world = world_with_some(8, TORC_DURABILITY_SYNC);
        enum torc_status status;

        torci_vfs_fault_space(world->disk.vfs, room);
        status = torc_mvcc_backup(world->store, "backup");
        torci_vfs_fault_space(world->disk.vfs, UINT64_MAX);
        cr_assert(status == TORC_OK || status == TORC_NO_SPACE, "%s: %s", torc_status_name(status), torc_detail());
        if (status == TORC_OK)
            expect_whole(world, world->disk.vfs);
        else
            cr_assert_eq(torci_mvcc_verify_on("backup", world->disk.vfs, NULL), TORC_MISSING);
        torct_crash_put(world);
        cr_assert_eq(torct_crash_close(world), TORC_OK);
        torct_crash_destroy(world);
    }
}

/* ---- Damage ---- */

enum { FILES_MAX = 16, PATH_SIZE = 64 };

struct damage {
    struct torct_crash *world;
    char paths[FILES_MAX][PATH_SIZE];
    struct torct_bytes bytes[FILES_MAX];
    size_t files;
    uint64_t opened;                    /* Times; and how often all was there. */
    uint64_t same;
};

static enum torc_status
note_file(void *context, const char *name)
{
    struct damage *damage = context;

    /* LOCK is empty, and spares are nobody's. */
    if (strcmp(name, "LOCK") == 0 || strncmp(name, "spare", 5) == 0)
        return TORC_OK;
    cr_assert_lt(damage->files, (size_t)FILES_MAX);
    snprintf(damage->paths[damage->files++], PATH_SIZE, TORCT_DIRECTORY "/%s", name);
    return TORC_OK;
}

/* A store with a checkpoint, and with commits behind it, closed. */
static void
damage_create(struct damage *damage)
{
    struct torct_crash *world = world_with_some(9, TORC_DURABILITY_SYNC);

    memset(damage, 0, sizeof(*damage));
    damage->world = world;
    torct_crash_checkpoint(world);
    for (unsigned i = 0; i < 3; i++) {
        torct_crash_put(world);
        torct_crash_turn(world);
        torct_crash_merge(world);
    }
    cr_assert_eq(torct_crash_close(world), TORC_OK);
    cr_assert_eq(torci_vfs_list(world->disk.memory, TORCT_DIRECTORY, note_file, damage), TORC_OK);
    for (size_t i = 0; i < damage->files; i++)
        damage->bytes[i] = torct_file_bytes(world->disk.memory, damage->paths[i]);
}

static void
damage_destroy(struct damage *damage)
{
    fprintf(stderr, "mvcc_disk: %" PRIu64 " damaged stores, %" PRIu64 " of which show the same\n", damage->opened,
            damage->same);
    for (size_t i = 0; i < damage->files; i++)
        free(damage->bytes[i].data);
    torct_crash_destroy(damage->world);
}

/* Open the store with one file of it set to these bytes; everything else is as it was. */
static void
expect_same_or_error(struct damage *damage, size_t file, const void *bytes, size_t size, size_t at)
{
    struct torct_crash *world = damage->world;
    struct torc_mvcc_options options = torct_crash_options(world);
    struct torc_mvcc *store = NULL;
    struct torct_disk after;
    enum torc_status verified, status;
    char *text;

    torct_disk_crash(&world->disk, TORCI_CRASH_KEEP, 0, &after);
    torct_file_set(after.memory, damage->paths[file], bytes, size);
    verified = torci_mvcc_verify_on(TORCT_DIRECTORY, after.memory, NULL);
    status = torci_mvcc_open_on(&options, after.memory, &store);
    damage->opened++;
    cr_assert_eq(status, verified, "%s at %zu: verify says %s, open %s", damage->paths[file], at,
                 torc_status_name(verified), torc_status_name(status));
    if (status == TORC_OK) {
        text = torct_dump(store, false);
        cr_assert(torct_dump_same(text, world->history[world->moments - 1].text, world->now_ms),
                  "%s at %zu: other data:\n%s", damage->paths[file], at, text);
        free(text);
        damage->same++;
    } else {
        cr_assert(status == TORC_CORRUPT || status == TORC_FOREIGN || status == TORC_MISSING, "%s at %zu: %s: %s",
                  damage->paths[file], at, torc_status_name(status), torc_detail());
        cr_assert_str_not_empty(torc_detail());
    }
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    torct_disk_destroy(&after);
}

/* Every byte, unless clones take too long. */
static size_t
stride(size_t size)
{
    return TORCT_CRASH_EVERY == 1 ? 1 : size / 16 + 1;
}

Test(mvcc_disk_damage, a_file_cut_at_any_byte_is_told_or_holds_the_same)
{
    struct damage damage;

    damage_create(&damage);
    for (size_t i = 0; i < damage.files; i++)
        for (size_t size = 0; size < damage.bytes[i].size; size += stride(damage.bytes[i].size))
            expect_same_or_error(&damage, i, damage.bytes[i].data, size, size);
    damage_destroy(&damage);
}

Test(mvcc_disk_damage, any_byte_that_is_changed_is_told_or_means_nothing)
{
    static const unsigned char changes[] = {0x01, 0xff, 0x80, 0x10};
    struct damage damage;

    damage_create(&damage);
    for (size_t i = 0; i < damage.files; i++) {
        for (size_t at = 0; at < damage.bytes[i].size; at += stride(damage.bytes[i].size)) {
            damage.bytes[i].data[at] ^= changes[at % sizeof(changes)];
            expect_same_or_error(&damage, i, damage.bytes[i].data, damage.bytes[i].size, at);
            damage.bytes[i].data[at] ^= changes[at % sizeof(changes)];
        }
    }
    damage_destroy(&damage);
}

Test(mvcc_disk_damage, a_file_that_is_gone_is_told)
{
    struct damage damage;

    damage_create(&damage);
    for (size_t i = 0; i < damage.files; i++) {
        struct torc_mvcc_options options = torct_crash_options(damage.world);
        struct torc_mvcc *store;
        struct torct_disk after;
        enum torc_status status;

        torct_disk_crash(&damage.world->disk, TORCI_CRASH_KEEP, 0, &after);
        cr_assert_eq(torci_vfs_remove(after.memory, damage.paths[i]), TORC_OK);
        status = torci_mvcc_open_on(&options, after.memory, &store);
        cr_assert(status == TORC_MISSING || status == TORC_CORRUPT || status == TORC_FOREIGN, "%s: %s",
                  damage.paths[i], torc_status_name(status));
        cr_assert_null(store);
        torct_disk_destroy(&after);
    }
    damage_destroy(&damage);
}

/* ---- Cycles ---- */

struct census {
    uint64_t files;
};

static enum torc_status
count_file(void *context, const char *name)
{
    struct census *census = context;

    (void)name;
    census->files++;
    return TORC_OK;
}

Test(mvcc_disk_cycles, a_thousand_reopenings_keep_all_and_leave_nothing_behind)
{
    struct torct_crash *world = torct_crash_create(11);

    for (unsigned i = 0; i < 1000 / TORCT_CRASH_EVERY; i++) {
        struct census census = {0};

        cr_assert_eq(torct_crash_open(world, i % 3 == 0 ? TORC_DURABILITY_ASYNC : TORC_DURABILITY_SYNC), TORC_OK);
        for (unsigned j = 0; j < 3; j++)
            torct_crash_put(world);
        torct_crash_turn(world);
        if (i % 10 == 0)
            torct_crash_checkpoint(world);
        cr_assert_eq(torct_crash_close(world), TORC_OK);
        cr_assert_eq(torci_vfs_list(world->disk.memory, TORCT_DIRECTORY, count_file, &census), TORC_OK);
        cr_assert_leq(census.files, 12u, "after %u", i);
        if (world->moments > TORCT_CRASH_HISTORY_MAX / 2)
            torct_crash_trim(world);
    }
    torct_crash_destroy(world);
}

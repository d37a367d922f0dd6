/* SPDX-License-Identifier: MIT */
/* Keyspaces of stores with a journal: that they come back, and those that were dropped do not; what an error leaves;
 * many threads at once. Oracles: the same store opened again, and what a power cut leaves of its disk. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "mvcc/durable_testing.h"

static struct torct_disk disk;
static struct torc_mvcc *store;

static void
create(void)
{
    torct_disk_create(&disk);
    store = torct_disk_open(&disk, TORC_DURABILITY_ASYNC, true);
}

static void
destroy(void)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    torct_disk_destroy(&disk);
}

TestSuite(keyspace_durable, .init = create, .fini = destroy, .timeout = 120);
TestSuite(keyspace_durable_race, .init = create, .fini = destroy, .timeout = 240);

static void
reopen(enum torc_durability durability)
{
    cr_assert_eq(torc_mvcc_close(store), TORC_OK, "%s", torc_detail());
    store = torct_disk_open(&disk, durability, true);
}

static struct torc_slice
text(const char *string)
{
    return torc_slice_from_string(string);
}

static struct torc_keyspace *
make(const char *name)
{
    struct torc_keyspace *keyspace;

    cr_assert_eq(torc_keyspace_create(store, text(name), &keyspace), TORC_OK, "%s", torc_detail());
    return keyspace;
}

static struct torc_keyspace *
find_in(struct torc_mvcc *where, const char *name)
{
    struct torc_keyspace *keyspace;
    enum torc_status status = torc_keyspace_find(where, text(name), &keyspace);

    cr_assert(status == TORC_OK || status == TORC_NOT_FOUND);
    return keyspace;
}

static void
put_in(struct torc_keyspace *keyspace, const char *key)
{
    cr_assert_eq(torc_keyspace_put(keyspace, text(key), text(key), TORC_NEVER, NULL), TORC_OK);
}

/* What a power cut leaves of the disk, opened. */
static struct torc_mvcc *
open_crashed(struct torct_disk *after)
{
    torct_disk_crash(&disk, TORCI_CRASH_DROP, 1, after);
    return torct_disk_open(after, TORC_DURABILITY_ASYNC, true);
}

static void
close_crashed(struct torc_mvcc *crashed, struct torct_disk *after)
{
    cr_assert_eq(torc_mvcc_close(crashed), TORC_OK);
    torct_disk_destroy(after);
}

Test(keyspace_durable, come_back_unless_they_were_dropped)
{
    struct torc_keyspace *stays = make("stays");
    struct torc_keyspace *goes = make("goes");
    uint64_t id = stays->id;

    cr_expect_eq(id, 1u);
    cr_expect_eq(goes->id, 2u);
    cr_expect_gt(stays->created, 0u);
    put_in(stays, "k");
    put_in(goes, "k");
    cr_assert_eq(torc_keyspace_drop(goes), TORC_OK);
    for (unsigned round = 0; round < 3; round++) {
        reopen(TORC_DURABILITY_ASYNC);
        cr_assert_not_null(find_in(store, "stays"));
        cr_expect_eq(find_in(store, "stays")->id, id);
        cr_expect_eq(torc_keyspace_keys(find_in(store, "stays")), 1u);
        cr_expect_null(find_in(store, "goes"));
    }
    goes = make("goes");
    cr_expect_geq(goes->id, 3u, "an id is not given twice");
    reopen(TORC_DURABILITY_ASYNC);
    cr_assert_not_null(find_in(store, "goes"));
    cr_expect_eq(torc_keyspace_keys(find_in(store, "goes")), 0u);
}

Test(keyspace_durable, come_back_from_checkpoints_alone)
{
    reopen(TORC_DURABILITY_NONE);
    put_in(make("stays"), "k");
    cr_assert_eq(torc_keyspace_drop(make("goes")), TORC_OK);
    reopen(TORC_DURABILITY_NONE);
    cr_assert_not_null(find_in(store, "stays"));
    cr_expect_eq(torc_keyspace_keys(find_in(store, "stays")), 1u);
    cr_expect_null(find_in(store, "goes"));
}

Test(keyspace_durable, are_made_and_dropped_between_checkpoints)
{
    put_in(make("a"), "k");
    put_in(make("b"), "k");
    cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK, "%s", torc_detail());
    cr_assert_eq(torc_keyspace_drop(find_in(store, "a")), TORC_OK);
    put_in(make("a"), "l");
    put_in(make("c"), "k");
    reopen(TORC_DURABILITY_ASYNC);
    cr_expect_eq(torc_keyspace_get(find_in(store, "a"), text("k"), NULL, 0, &(size_t){0}), TORC_NOT_FOUND);
    cr_expect_eq(torc_keyspace_keys(find_in(store, "a")), 1u);
    cr_expect_eq(torc_keyspace_keys(find_in(store, "b")), 1u);
    cr_expect_eq(torc_keyspace_keys(find_in(store, "c")), 1u);
}

Test(keyspace_durable, are_durable_when_the_call_returns_if_that_is_wanted)
{
    struct torct_disk after;
    struct torc_mvcc *crashed;

    reopen(TORC_DURABILITY_SYNC);
    (void)make("name");
    crashed = open_crashed(&after);
    cr_expect_not_null(find_in(crashed, "name"));
    close_crashed(crashed, &after);
    cr_assert_eq(torc_keyspace_drop(find_in(store, "name")), TORC_OK);
    crashed = open_crashed(&after);
    cr_expect_null(find_in(crashed, "name"));
    close_crashed(crashed, &after);
}

Test(keyspace_durable, are_lost_with_what_was_not_flushed)
{
    struct torct_disk after;
    struct torc_mvcc *crashed;

    (void)make("flushed");
    torct_flush(store);
    (void)make("not flushed");
    cr_assert_eq(torc_keyspace_drop(find_in(store, "flushed")), TORC_OK);
    crashed = open_crashed(&after);
    cr_expect_not_null(find_in(crashed, "flushed"));
    cr_expect_null(find_in(crashed, "not flushed"));
    close_crashed(crashed, &after);
}

Test(keyspace_durable, say_what_became_of_them_when_the_journal_fails)
{
    struct torc_keyspace *kept;
    struct torc_keyspace *keyspace;

    reopen(TORC_DURABILITY_SYNC);
    kept = make("kept");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_expect_eq(torc_keyspace_create(store, text("new"), &keyspace), TORC_INDETERMINATE);
    cr_assert_not_null(keyspace, "it can be used");
    cr_expect_eq(find_in(store, "new"), keyspace);
    cr_expect_eq(torc_keyspace_create(store, text("later"), &keyspace), TORC_READ_ONLY);
    cr_expect_null(keyspace);
    cr_expect_null(find_in(store, "later"));
    cr_expect_eq(torc_keyspace_drop(kept), TORC_READ_ONLY);
    cr_expect_eq(find_in(store, "kept"), kept);
    cr_assert_eq(torc_mvcc_resume(store), TORC_OK, "%s", torc_detail());
    cr_expect_eq(torc_keyspace_drop(kept), TORC_OK);
    reopen(TORC_DURABILITY_SYNC);
    cr_expect_not_null(find_in(store, "new"));
    cr_expect_null(find_in(store, "kept"));
}

Test(keyspace_durable, are_gone_although_it_is_not_known_whether_for_good)
{
    struct torc_keyspace *keyspace;

    reopen(TORC_DURABILITY_SYNC);
    keyspace = make("name");
    torct_fail_syncs(&disk, TORC_IO, false);
    cr_expect_eq(torc_keyspace_drop(keyspace), TORC_INDETERMINATE);
    cr_expect_null(find_in(store, "name"));
    cr_assert_eq(torc_mvcc_resume(store), TORC_OK, "%s", torc_detail());
    reopen(TORC_DURABILITY_SYNC);
    cr_expect_null(find_in(store, "name"));
}

#if defined(TORC_FAULTS)
/* Whichever allocation fails: a keyspace that was not made does not come back, and one that was not dropped does. */
Test(keyspace_durable, leave_nothing_behind_without_memory)
{
    enum torc_status status = TORC_NO_MEMORY;
    unsigned failures = 0;
    struct torc_keyspace *keyspace;

    for (unsigned at = 1; status != TORC_OK; at++) {
        torci_alloc_fail_at(at, true);
        status = torc_keyspace_create(store, text("name"), &keyspace);
        torci_alloc_fail_at(0, false);
        cr_assert(status == TORC_OK || status == TORC_NO_MEMORY, "%s", torc_status_name(status));
        failures += status != TORC_OK;
        if (status != TORC_OK) {
            reopen(TORC_DURABILITY_ASYNC);
            cr_assert_null(find_in(store, "name"), "after allocation %u", at);
        }
    }
    cr_expect_gt(failures, 3u);
    status = TORC_NO_MEMORY;
    for (unsigned at = 1; status != TORC_OK; at++) {
        torci_alloc_fail_at(at, true);
        status = torc_keyspace_drop(find_in(store, "name"));
        torci_alloc_fail_at(0, false);
        cr_assert(status == TORC_OK || status == TORC_NO_MEMORY, "%s", torc_status_name(status));
        if (status != TORC_OK) {
            reopen(TORC_DURABILITY_ASYNC);
            cr_assert_not_null(find_in(store, "name"), "after allocation %u", at);
        }
    }
    reopen(TORC_DURABILITY_ASYNC);
    cr_expect_null(find_in(store, "name"));
}
#endif

/* ---- Many at once ---- */

enum { RACERS = 4, ROUNDS = 150, NAMES = 3 };
static const char *const names[NAMES] = {"red", "green", "blue"};

/* All want the same few names. */
static void
make_and_drop(void *context, unsigned number)
{
    struct torci_random random = torci_random_seed(torct_seed() + number);

    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const char *name = names[torci_random_below(&random, NAMES)];
        struct torc_keyspace *keyspace;
        enum torc_status status = torc_keyspace_create(store, text(name), &keyspace);

        cr_assert(status == TORC_OK || status == TORC_EXISTS, "%s", torc_status_name(status));
        /* Only who made it uses and drops it: others cannot know whether the handle is still good. */
        if (status == TORC_OK) {
            put_in(keyspace, name);
            if (torci_random_one_in(&random, 2))
                put_in(keyspace, "more");
            if (!torci_random_one_in(&random, 8))
                cr_assert_eq(torc_keyspace_drop(keyspace), TORC_OK);
        }
        if (torci_random_one_in(&random, 16)) {
            bool led;

            cr_assert_eq(torci_journal_flush(store->journal, &led), TORC_OK);
        }
    }
}

static void
drop_all(void)
{
    for (unsigned i = 0; i < NAMES; i++) {
        struct torc_keyspace *keyspace = find_in(store, names[i]);

        if (keyspace != NULL)
            cr_assert_eq(torc_keyspace_drop(keyspace), TORC_OK);
    }
}

/* Conservation: what was there when the store was closed is there when it is opened, and nothing else; and so it is
 * with what the power left, at the moment of its cut. */
Test(keyspace_durable_race, come_back_as_they_were)
{
    for (unsigned round = 0; round < 6; round++) {
        uint64_t ids[NAMES];
        uint64_t keys[NAMES];
        struct torct_disk after;
        struct torc_mvcc *crashed;

        torct_race(RACERS, make_and_drop, NULL);
        if (round % 2 == 1)
            cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK, "%s", torc_detail());
        for (unsigned i = 0; i < NAMES; i++) {
            struct torc_keyspace *keyspace = find_in(store, names[i]);

            ids[i] = keyspace == NULL ? 0 : keyspace->id;
            keys[i] = torc_keyspace_keys(keyspace);
        }
        torct_flush(store);
        crashed = open_crashed(&after);
        for (unsigned i = 0; i < NAMES; i++) {
            struct torc_keyspace *keyspace = find_in(crashed, names[i]);

            cr_assert_eq(keyspace == NULL ? 0 : keyspace->id, ids[i], "%s", names[i]);
            cr_expect_eq(torc_keyspace_keys(keyspace), keys[i]);
        }
        close_crashed(crashed, &after);
        reopen(TORC_DURABILITY_ASYNC);
        for (unsigned i = 0; i < NAMES; i++) {
            struct torc_keyspace *keyspace = find_in(store, names[i]);

            cr_assert_eq(keyspace == NULL ? 0 : keyspace->id, ids[i], "%s", names[i]);
            cr_expect_eq(torc_keyspace_keys(keyspace), keys[i]);
        }
        drop_all();
    }
}

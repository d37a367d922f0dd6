/* SPDX-License-Identifier: MIT */
/* mvcc/checkpoint: tests of the writer and the reader. */
#include "mvcc/checkpoint_testing.h"

#include "base/codec.h"
#include "base/crc32c.h"
#include "mvcc/checkpoint_fuzz_testing.h"

static struct torct_store store;
static struct torct_store loaded;
static struct torct_disk disk;
static uint64_t wall_ms;

static uint64_t
now_ms(void *context)
{
    (void)context;
    return wall_ms;
}

static void
create(void)
{
    wall_ms = 1000;
    torct_disk_create(&disk);
    torct_store_open(&store);
    torct_store_open(&loaded);
    store.mvcc->options.now_ms = now_ms;
    loaded.mvcc->options.now_ms = now_ms;
}

static void
destroy(void)
{
    torct_store_close(&store);
    torct_store_close(&loaded);
    torct_disk_destroy(&disk);
}

static void
reopen_loaded(void)
{
    torct_store_close(&loaded);
    torct_store_open(&loaded);
    loaded.mvcc->options.now_ms = now_ms;
}

static uint64_t
write_checkpoint(struct torci_checkpoint_info *info)
{
    uint64_t stamp = 0;

    cr_assert_eq(torct_checkpoint_write(store.mvcc, disk.vfs, 1000, &stamp, info), TORC_OK, "%s", torc_detail());
    return stamp;
}

static void
load_checkpoint(uint64_t stamp, unsigned threads)
{
    cr_assert_eq(torct_checkpoint_load(loaded.mvcc, disk.vfs, stamp, threads, NULL), TORC_OK, "%s", torc_detail());
}

static void
put_sized(struct torc_keyspace *keyspace, size_t key_size, size_t value_size, uint64_t expires)
{
    static unsigned char bytes[256 * 1024];

    memset(bytes, (int)(key_size % 251 + 1), sizeof bytes);
    cr_assert_leq(value_size, sizeof bytes);
    cr_assert_eq(torc_keyspace_put(keyspace, torc_slice(bytes, key_size), torc_slice(bytes, value_size), expires, NULL),
                 TORC_OK);
}

/* Made, or found. */
static struct torc_keyspace *
make_keyspace(const char *name)
{
    struct torc_keyspace *keyspace;
    enum torc_status status = torc_keyspace_create(store.mvcc, torct_text(name), &keyspace);

    cr_assert(status == TORC_OK || status == TORC_EXISTS);
    return keyspace;
}

/* A little of everything. */
static void
fill(void)
{
    struct torc_keyspace *orders = make_keyspace("orders");

    make_keyspace("empty");
    for (unsigned i = 0; i < 60; i++) {
        char key[16];

        snprintf(key, sizeof key, "key%03u", i * 7 % 60);
        torct_put(store.mvcc, key, i % 3 == 0 ? "" : "some value");
        cr_assert_eq(torc_keyspace_put(orders, torct_text(key), torct_text("an order"),
                                       i % 2 == 0 ? 5000 : TORC_NEVER, NULL), TORC_OK);
    }
    torct_delete(store.mvcc, "key007");
    put_sized(store.mvcc->main, 1, 0, TORC_NEVER);
    put_sized(store.mvcc->main, 300, 400, TORC_NEVER);
}

static const char *const names[] = {"orders", "empty"};

TestSuite(checkpoint, .init = create, .fini = destroy, .timeout = 120);

Test(checkpoint, of_an_empty_store_has_no_entries)
{
    struct torci_checkpoint_info written, read;
    uint64_t stamp = write_checkpoint(&written);

    cr_expect_eq(written.entries, 0u);
    cr_expect_eq(written.blocks, 0u);
    cr_expect_eq(written.keyspaces, 1u);
    cr_assert_eq(torct_checkpoint_load(loaded.mvcc, disk.vfs, stamp, 2, &read), TORC_OK);
    cr_expect_arr_eq(&written, &read, sizeof read);
    cr_expect(torct_same_stores(store.mvcc, 0, loaded.mvcc, NULL, 0));
}

Test(checkpoint, brings_back_all_keyspaces)
{
    struct torci_checkpoint_info written, read;
    uint64_t stamp;

    fill();
    stamp = write_checkpoint(&written);
    cr_expect_eq(written.stamp, stamp);
    cr_expect_eq(written.journal_from, (uint64_t)TORCT_JOURNAL_FROM);
    cr_expect_eq(written.keyspaces, 3u);
    cr_expect_eq(written.entries, 60u - 1 + 2 + 60);
    cr_assert_eq(torct_checkpoint_load(loaded.mvcc, disk.vfs, stamp, 3, &read), TORC_OK, "%s", torc_detail());
    cr_expect_arr_eq(&written, &read, sizeof read);
    cr_expect(torct_same_stores(store.mvcc, 0, loaded.mvcc, names, 2));
    cr_expect(torct_reads(loaded.mvcc, "key007", NULL));
}

Test(checkpoint, brings_back_large_keys_and_values)
{
    static const size_t key_sizes[] = {1, 2, 200, 255, 256, 4096, TORC_KEY_SIZE_MAX};
    static const size_t value_sizes[] = {0, 1, 127, 128, 225, 226, 227, 228, 229, 5000, 100000, 256 * 1024};
    uint64_t stamp;

    for (unsigned i = 0; i < sizeof key_sizes / sizeof *key_sizes; i++)
        put_sized(store.mvcc->main, key_sizes[i], value_sizes[i], i % 2 == 0 ? TORC_NEVER : 9000);
    for (unsigned i = 0; i < sizeof value_sizes / sizeof *value_sizes; i++)
        put_sized(store.mvcc->main, 10 + i, value_sizes[i], i % 2 == 0 ? 9000 : TORC_NEVER);
    for (size_t size = 150; size < 260; size++) /* Around a block's end. */
        put_sized(store.mvcc->main, size, 13, TORC_NEVER);
    stamp = write_checkpoint(NULL);
    load_checkpoint(stamp, 2);
    cr_expect(torct_same_stores(store.mvcc, 0, loaded.mvcc, NULL, 0));
}

Test(checkpoint, brings_back_stamps_and_times)
{
    uint64_t stamp, first;

    torct_put(store.mvcc, "a", "1");
    first = torc_last_commit();
    torc_txn_abort(torct_begin(store.mvcc, TORC_SNAPSHOT)); /* Moves the clock on. */
    cr_assert_eq(torc_keyspace_put(store.mvcc->main, torct_text("b"), torct_text("2"), 5000, NULL), TORC_OK);
    cr_assert_gt(torc_last_commit(), first);
    stamp = write_checkpoint(NULL);
    load_checkpoint(stamp, 1);
    cr_expect_eq(torci_version_verdict(torct_head(loaded.mvcc, "a"), &loaded.mvcc->clock).stamp, first);
    cr_expect_eq(torci_version_verdict(torct_head(loaded.mvcc, "b"), &loaded.mvcc->clock).stamp, torc_last_commit());
    cr_expect_eq(torci_version_expires(torct_head(loaded.mvcc, "b")), 5000u);
    cr_expect(torct_reads(loaded.mvcc, "b", "2"));
    wall_ms = 5000;
    cr_expect(torct_reads(loaded.mvcc, "b", NULL));
}

Test(checkpoint, leaves_out_what_has_expired)
{
    struct torci_checkpoint_info info;

    cr_assert_eq(torc_keyspace_put(store.mvcc->main, torct_text("a"), torct_text("1"), 2000, NULL), TORC_OK);
    cr_assert_eq(torc_keyspace_put(store.mvcc->main, torct_text("b"), torct_text("1"), 2001, NULL), TORC_OK);
    wall_ms = 2000;
    load_checkpoint(write_checkpoint(&info), 1);
    cr_expect_eq(info.entries, 1u);
    cr_expect(torct_reads(loaded.mvcc, "b", "1"));
}

Test(checkpoint, shows_nothing_that_came_after_its_beginning)
{
    struct torci_checkpoint *checkpoint;
    uint64_t stamp;
    bool done = false;
    unsigned steps = 0;

    fill();
    store.mvcc->options.history_ns = UINT64_C(1) << 60;
    torci_history_init(store.mvcc, 0);
    cr_assert_eq(torci_checkpoint_begin(store.mvcc, disk.vfs, TORCT_DIRECTORY, torct_store_id, &checkpoint), TORC_OK);
    stamp = torci_checkpoint_stamp(checkpoint);
    cr_expect_eq(stamp % 2, 0u);
    cr_expect_geq(torci_checkpoint_settled(checkpoint), stamp);
    for (; !done; steps++) {
        char key[16];

        snprintf(key, sizeof key, "key%03u", steps % 60);
        torct_put(store.mvcc, key, "changed");
        snprintf(key, sizeof key, "new%03u", steps);
        torct_put(store.mvcc, key, "new");
        (void)(torc_mvcc_delete(store.mvcc, torct_text("key059")) == TORC_OK);
        torct_collect(store.mvcc);
        cr_assert_eq(torci_checkpoint_step(checkpoint, 100, &done), TORC_OK);
    }
    cr_expect_gt(steps, 10u, "a budget bounds a step");
    cr_assert_eq(torci_checkpoint_install(checkpoint, 1, NULL), TORC_OK);
    load_checkpoint(stamp, 2);
    cr_expect(torct_same_stores(store.mvcc, stamp, loaded.mvcc, names, 2));
    cr_expect_not(torct_same_stores(store.mvcc, 0, loaded.mvcc, names, 2));
}

Test(checkpoint, lets_go_of_its_snapshot_when_all_keys_are_written)
{
    struct torci_checkpoint *checkpoint;
    bool done;

    fill();
    cr_assert_eq(torci_checkpoint_begin(store.mvcc, disk.vfs, TORCT_DIRECTORY, torct_store_id, &checkpoint), TORC_OK);
    torct_put(store.mvcc, "key001", "changed");
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "key001"), 2u);
    cr_assert_eq(torci_checkpoint_step(checkpoint, SIZE_MAX, &done), TORC_OK);
    cr_assert(done);
    torct_collect(store.mvcc);
    cr_expect_eq(torct_chain_length(store.mvcc, "key001"), 1u);
    cr_assert_eq(torci_checkpoint_install(checkpoint, 1, NULL), TORC_OK);
}

Test(checkpoint, is_not_expired_as_a_transaction_is)
{
    struct torci_checkpoint *checkpoint;
    uint64_t stamp;
    bool done;

    fill();
    store.mvcc->options.max_snapshot_age_ns = 1;
    cr_assert_eq(torci_checkpoint_begin(store.mvcc, disk.vfs, TORCT_DIRECTORY, torct_store_id, &checkpoint), TORC_OK);
    stamp = torci_checkpoint_stamp(checkpoint);
    for (unsigned i = 0; i < 60; i++) {
        char key[16];

        snprintf(key, sizeof key, "key%03u", i);
        torct_put(store.mvcc, key, "changed");
    }
    torct_collect(store.mvcc);
    cr_assert_eq(torci_checkpoint_step(checkpoint, SIZE_MAX, &done), TORC_OK);
    cr_assert_eq(torci_checkpoint_install(checkpoint, 1, NULL), TORC_OK);
    load_checkpoint(stamp, 1);
    cr_expect(torct_reads(loaded.mvcc, "key000", ""));
    cr_expect(torct_reads(loaded.mvcc, "key001", "some value"));
}

Test(checkpoint, given_up_leaves_nothing)
{
    struct torci_checkpoint *checkpoint;
    struct torci_file *file;
    bool done;

    fill();
    cr_assert_eq(torci_checkpoint_begin(store.mvcc, disk.vfs, TORCT_DIRECTORY, torct_store_id, &checkpoint), TORC_OK);
    cr_assert_eq(torci_checkpoint_step(checkpoint, 500, &done), TORC_OK);
    cr_assert_not(done);
    torci_checkpoint_abandon(checkpoint);
    torci_checkpoint_abandon(NULL);
    cr_expect_eq(torci_vfs_open(disk.vfs, TORCT_DIRECTORY "/checkpoint-0000000000000002.tmp", TORCI_OPEN_READ, &file),
                 TORC_NOT_FOUND);
    cr_expect_eq(torct_stats(store.mvcc).open_transactions, 0u);
}

/* ---- Keyspaces that come and go ---- */

Test(checkpoint, has_all_of_a_keyspace_that_is_dropped_while_it_is_written)
{
    struct torc_keyspace *dropped = make_keyspace("dropped"), *again;
    struct torci_checkpoint *checkpoint;
    uint64_t stamp;
    bool done;

    for (unsigned i = 0; i < 50; i++)
        put_sized(dropped, 10 + i, 50, TORC_NEVER);
    cr_assert_eq(torci_checkpoint_begin(store.mvcc, disk.vfs, TORCT_DIRECTORY, torct_store_id, &checkpoint), TORC_OK);
    stamp = torci_checkpoint_stamp(checkpoint);
    cr_assert_eq(torci_checkpoint_step(checkpoint, 500, &done), TORC_OK);
    cr_assert_not(done);
    cr_assert_eq(torc_keyspace_drop(dropped), TORC_OK);
    torct_collect(store.mvcc);
    again = make_keyspace("dropped");
    put_sized(again, 5, 5, TORC_NEVER);
    cr_assert_eq(torci_checkpoint_step(checkpoint, SIZE_MAX, &done), TORC_OK);
    cr_assert_eq(torci_checkpoint_install(checkpoint, 1, NULL), TORC_OK);
    load_checkpoint(stamp, 2);
    cr_assert_eq(torc_keyspace_find(loaded.mvcc, torct_text("dropped"), &again), TORC_OK);
    cr_expect_eq(torc_keyspace_keys(again), 50u);
}

/* Drops a keyspace within an allocation. */
struct interruption {
    unsigned allocations;
    unsigned at;
    struct torc_keyspace *keyspace;
    uint64_t dropped;
};

static void
drop_within(void *context)
{
    struct interruption *interruption = context;

    if (++interruption->allocations != interruption->at)
        return;
    cr_assert_eq(torc_keyspace_drop(interruption->keyspace), TORC_OK);
    interruption->dropped = torci_load(&interruption->keyspace->dropped, memory_order_seq_cst);
}

/* At each allocation of the beginning. The file has all of the keyspace, or nothing. If the drop came after the
 * snapshot, nothing only if the drop is durable before the file counts. */
Test(checkpoint, has_all_or_nothing_of_a_keyspace_that_is_dropped_as_it_begins)
{
    unsigned present = 0, absent = 0;

    for (unsigned at = 1; at <= 12; at++) {
        struct interruption interruption = {.at = at, .keyspace = make_keyspace("dropped")};
        struct torci_checkpoint *checkpoint;
        struct torc_keyspace *found;
        uint64_t stamp, settled;
        bool done;

        put_sized(interruption.keyspace, 5, 5, TORC_NEVER);
        put_sized(interruption.keyspace, 7, 500, TORC_NEVER);
        store.context = &interruption;
        store.interrupt = drop_within;
        cr_assert_eq(torci_checkpoint_begin(store.mvcc, disk.vfs, TORCT_DIRECTORY, torct_store_id, &checkpoint),
                     TORC_OK);
        store.interrupt = NULL;
        if (interruption.dropped == 0)
            cr_assert_eq(torc_keyspace_drop(interruption.keyspace), TORC_OK);
        stamp = torci_checkpoint_stamp(checkpoint);
        settled = torci_checkpoint_settled(checkpoint);
        cr_assert_eq(torci_checkpoint_step(checkpoint, SIZE_MAX, &done), TORC_OK);
        cr_assert_eq(torci_checkpoint_install(checkpoint, 1, NULL), TORC_OK);
        load_checkpoint(stamp, 1);
        if (torc_keyspace_find(loaded.mvcc, torct_text("dropped"), &found) == TORC_OK) {
            cr_expect_eq(torc_keyspace_keys(found), 2u);
            cr_expect(interruption.dropped == 0 || interruption.dropped > stamp);
            present += interruption.dropped != 0;
        } else {
            cr_expect_lt(interruption.dropped, settled);
            absent++;
        }
        reopen_loaded();
    }
    cr_expect_gt(present, 0u);
    cr_expect_gt(absent, 0u);
}

/* As in a store with a journal. */
Test(checkpoint, does_not_have_keyspaces_made_after_it)
{
    struct torci_checkpoint_info info;
    struct torc_keyspace *before = make_keyspace("before"), *after = make_keyspace("after"), *found;

    torct_put(store.mvcc, "a", "1");
    before->created = torc_last_commit();
    after->created = torc_last_commit() + 2;
    load_checkpoint(write_checkpoint(&info), 1);
    cr_expect_eq(info.keyspaces, 2u);
    cr_expect_eq(torc_keyspace_find(loaded.mvcc, torct_text("before"), &found), TORC_OK);
    cr_expect_eq(torc_keyspace_find(loaded.mvcc, torct_text("after"), &found), TORC_NOT_FOUND);
}

Test(checkpoint, does_not_have_keyspaces_dropped_before_it)
{
    struct torc_keyspace *found;
    uint64_t stamp;

    cr_assert_eq(torc_keyspace_drop(make_keyspace("dropped")), TORC_OK);
    stamp = write_checkpoint(NULL);
    load_checkpoint(stamp, 1);
    cr_expect_eq(torc_keyspace_find(loaded.mvcc, torct_text("dropped"), &found), TORC_NOT_FOUND);
}

Test(checkpoint, of_many_keyspaces)
{
    const char *many[50];
    static char made[50][8];

    for (unsigned i = 0; i < 50; i++) {
        snprintf(made[i], sizeof made[i], "ks%u", i);
        many[i] = made[i];
        put_sized(make_keyspace(made[i]), i + 1, i * 10, TORC_NEVER);
    }
    load_checkpoint(write_checkpoint(NULL), 4);
    cr_expect(torct_same_stores(store.mvcc, 0, loaded.mvcc, many, 50));
}

/* ---- Beside running writers ---- */

enum { WRITERS = 3, ROUNDS = 300, ACCOUNTS = 30, CHECKPOINTS = 4 };

static uint64_t raced_stamps[CHECKPOINTS];

static void
race_writers(void *context, unsigned number)
{
    struct torci_random random = torci_random_seed(torct_seed() + number);

    (void)context;
    if (number == 0) {
        for (unsigned i = 0; i < CHECKPOINTS; i++) {
            if (torct_checkpoint_write(store.mvcc, disk.vfs, 300, &raced_stamps[i], NULL) != TORC_OK)
                abort();
        }
        return;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct torc_txn *txn;
        enum torc_status status;
        char key[16], value[16];

        if (torc_txn_begin(store.mvcc, NULL, &txn) != TORC_OK)
            abort();
        for (unsigned j = 0; j < 3; j++) {
            snprintf(key, sizeof key, "k%u", (unsigned)torci_random_below(&random, ACCOUNTS));
            snprintf(value, sizeof value, "%u.%u", number, i);
            status = i % 5 == 0 ? torc_txn_delete(txn, torct_text(key))
                                : torc_txn_put(txn, torct_text(key), torct_text(value));
            if (status != TORC_OK && status != TORC_NOT_FOUND && status != TORC_CONFLICT)
                abort();
        }
        status = torc_txn_commit(txn);
        if (status == TORC_CONFLICT)
            torc_txn_abort(txn);
        else if (status != TORC_OK)
            abort();
    }
}

/* Oracle: a store that keeps its history can be read at the checkpoint's stamp. */
Test(checkpoint, beside_running_writers_is_what_was_at_its_stamp)
{
    store.mvcc->options.history_ns = UINT64_C(1) << 60;
    torci_history_init(store.mvcc, 0);
    torct_race(1 + WRITERS, race_writers, NULL);
    for (unsigned i = 0; i < CHECKPOINTS; i++) {
        load_checkpoint(raced_stamps[i], 2);
        cr_expect(torct_same_stores(store.mvcc, raced_stamps[i], loaded.mvcc, NULL, 0), "checkpoint %u", i);
        reopen_loaded();
    }
}

/* ---- Damage ---- */

/* Write `size` bytes as the checkpoint `stamp`, and check them. */
static enum torc_status
check_bytes(uint64_t stamp, const void *data, size_t size)
{
    char path[64];

    torct_checkpoint_path(stamp, path);
    torct_file_set(disk.memory, path, data, size);
    return torct_checkpoint_check(&disk.heap, disk.memory, stamp);
}

static struct torct_bytes
small_file(uint64_t *stamp)
{
    char path[64];

    make_keyspace("orders");
    for (unsigned i = 0; i < 10; i++)
        put_sized(i % 2 == 0 ? store.mvcc->main : make_keyspace("other"), i + 1, i * 11, i == 4 ? 5000 : TORC_NEVER);
    *stamp = write_checkpoint(NULL);
    torct_checkpoint_path(*stamp, path);
    return torct_file_bytes(disk.memory, path);
}

Test(checkpoint, with_a_flipped_bit_is_corrupt_wherever_it_is)
{
    uint64_t stamp;
    struct torct_bytes bytes = small_file(&stamp);

    for (size_t i = 0; i < bytes.size; i++) {
        enum torc_status status;

        bytes.data[i] ^= (unsigned char)(1u << i % 8);
        status = check_bytes(stamp, bytes.data, bytes.size);
        bytes.data[i] ^= (unsigned char)(1u << i % 8);
        cr_assert_eq(status, TORC_CORRUPT, "byte %zu: %s", i, torc_status_name(status));
        cr_assert_neq(strstr(torc_detail(), "checkpoint-"), NULL);
        cr_assert_neq(strstr(torc_detail(), "byte "), NULL);
    }
    cr_expect_eq(check_bytes(stamp, bytes.data, bytes.size), TORC_OK);
    free(bytes.data);
}

Test(checkpoint, cut_off_is_corrupt_wherever_it_is)
{
    uint64_t stamp;
    struct torct_bytes bytes = small_file(&stamp);

    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(check_bytes(stamp, bytes.data, size), TORC_CORRUPT, "%zu bytes", size);
    bytes.data[bytes.size] = 0;
    cr_expect_eq(check_bytes(stamp, bytes.data, bytes.size + 1), TORC_CORRUPT);
    free(bytes.data);
}

Test(checkpoint, of_a_later_format_or_another_store_is_foreign)
{
    uint64_t stamp;
    struct torct_bytes bytes = small_file(&stamp);

    bytes.data[8]++;
    torct_checkpoint_sign(bytes.data, bytes.size);
    cr_expect_eq(check_bytes(stamp, bytes.data, bytes.size), TORC_FOREIGN);
    cr_expect_neq(strstr(torc_detail(), "format 2"), NULL);
    bytes.data[8]--;
    bytes.data[16]++;
    torct_checkpoint_sign(bytes.data, bytes.size);
    cr_expect_eq(check_bytes(stamp, bytes.data, bytes.size), TORC_FOREIGN);
    free(bytes.data);
}

Test(checkpoint, under_the_name_of_another_is_corrupt)
{
    uint64_t stamp;
    struct torct_bytes bytes = small_file(&stamp);

    cr_expect_eq(check_bytes(stamp + 2, bytes.data, bytes.size), TORC_CORRUPT);
    free(bytes.data);
}

Test(checkpoint, that_is_not_there_is_missing)
{
    cr_expect_eq(torct_checkpoint_check(&disk.heap, disk.vfs, 4), TORC_MISSING);
}

/* Where things are in a right file. */
static uint64_t
footer_field(const struct torct_bytes *bytes, size_t at)
{
    return torci_fixed64_get(bytes->data + bytes->size - TORCI_CHECKPOINT_FOOTER + at);
}

static unsigned char *
place_in(const struct torct_bytes *bytes, uint64_t block)
{
    return bytes->data + footer_field(bytes, 16) + block * TORCI_CHECKPOINT_PLACE;
}

static void
add64(unsigned char *at, uint64_t more)
{
    torci_fixed64_put(at, torci_fixed64_get(at) + more);
}

static void
add32(unsigned char *at, uint32_t more)
{
    torci_fixed32_put(at, torci_fixed32_get(at) + more);
}

/* What is wrong, and nothing else. */
enum wrong { NOTHING, ZERO, STAMP, COUNT, GAP, KEYSPACES, TRAILING, NAME, WRONGS };

static void
make_wrong(struct torct_bytes *bytes, enum wrong wrong)
{
    unsigned char *footer = bytes->data + bytes->size - TORCI_CHECKPOINT_FOOTER;
    unsigned char *place = place_in(bytes, 0), *block = bytes->data + torci_fixed64_get(place);
    uint64_t last = footer_field(bytes, 32) - 1;
    unsigned char *last_place = place_in(bytes, last);

    switch (wrong) {
    case NOTHING:
    case WRONGS:
        break;
    case ZERO:
        block[20] = 1;
        break;
    case STAMP:
        add64(footer + 48, 2);
        break;
    case COUNT: /* A block that has an entry more than it tells. */
        cr_assert_gt(torci_fixed32_get(place + 12), 1u);
        add32(place + 12, UINT32_MAX);
        add32(block + 16, UINT32_MAX);
        add64(footer + 40, UINT64_MAX);
        break;
    case GAP: /* A block that no place is of. */
        add64(footer + 40, -(uint64_t)torci_fixed32_get(last_place + 12));
        add64(footer + 32, UINT64_MAX);
        add64(footer + 24, -(uint64_t)TORCI_CHECKPOINT_PLACE);
        memmove(last_place, last_place + TORCI_CHECKPOINT_PLACE,
                bytes->size - (size_t)(last_place + TORCI_CHECKPOINT_PLACE - bytes->data));
        bytes->size -= TORCI_CHECKPOINT_PLACE;
        break;
    case KEYSPACES: /* One less than there are. */
        add32(footer + 12, UINT32_MAX);
        break;
    case TRAILING: /* More in the index than there is. */
        memmove(footer + 1, footer, TORCI_CHECKPOINT_FOOTER);
        footer[0] = 0;
        add64(footer + 1 + 24, 1);
        bytes->size++;
        break;
    case NAME:
        place_in(bytes, last + 1)[8] = 1; /* Of the default keyspace. */
        break;
    }
}

Test(checkpoint_mutation, of_one_thing_with_right_checksums_is_corrupt, .init = create, .fini = destroy, .timeout = 120)
{
    uint64_t stamp;
    struct torct_bytes bytes = small_file(&stamp);

    for (unsigned wrong = NOTHING; wrong < WRONGS; wrong++) {
        struct torct_bytes changed = {malloc(bytes.size + 1), bytes.size};
        enum torc_status status;

        cr_assert_not_null(changed.data);
        memcpy(changed.data, bytes.data, bytes.size);
        make_wrong(&changed, (enum wrong)wrong);
        torct_checkpoint_sign(changed.data, changed.size);
        status = torct_checkpoint_judge(changed.data, changed.size, stamp, torct_store_id);
        cr_expect_eq(status, wrong == NOTHING ? TORC_OK : TORC_CORRUPT, "%u: %s", wrong, torc_status_name(status));
        free(changed.data);
    }
    free(bytes.data);
}

/* Bytes are changed anywhere and all checksums made right again: what the reader then still has to find for itself. */
Test(checkpoint_mutation, is_refused_or_read_in_order, .init = create, .fini = destroy, .timeout = 120)
{
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned read = 0, refused = 0;
    uint64_t stamp;
    struct torct_bytes bytes = small_file(&stamp);
    unsigned char *changed = malloc(bytes.size);

    cr_assert_not_null(changed);
    memcpy(changed, bytes.data, bytes.size);
    torct_checkpoint_sign(changed, bytes.size);
    cr_assert_arr_eq(changed, bytes.data, bytes.size, "signing changes nothing that was right");
    for (unsigned i = 0; i < 4000; i++) {
        memcpy(changed, bytes.data, bytes.size);
        for (uint64_t n = 1 + torci_random_below(&random, 3); n > 0; n--) {
            size_t at = TORCI_CHECKPOINT_HEADER + torci_random_below(&random, bytes.size - TORCI_CHECKPOINT_HEADER);

            changed[at] = (unsigned char)(i % 2 == 0 ? changed[at] ^ 1u << torci_random_below(&random, 8)
                                                     : torci_random_next(&random));
        }
        torct_checkpoint_sign(changed, bytes.size);
        if (torct_checkpoint_judge(changed, bytes.size, stamp, torct_store_id) == TORC_OK)
            read++;
        else
            refused++;
    }
    cr_expect_gt(read, 100u, "values may be anything");
    cr_expect_gt(refused, 100u, "sizes may not");
    free(changed);
    free(bytes.data);
}

/* Put an entry as the fuzzer's input has it. */
static size_t
put_fuzz_entry(unsigned char *out, struct torci_random *random, unsigned key)
{
    size_t value_size = torci_random_below(random, 20);
    bool expires = torci_random_below(random, 3) == 0;
    size_t size = 0;

    torci_fixed64_put(out, 2 * torci_random_below(random, 400) + 1);
    out[8] = expires;
    out[9] = 2;
    out[10] = (unsigned char)(key >> 8);
    out[11] = (unsigned char)key;
    out[12] = (unsigned char)value_size;
    torct_random_bytes(random, out + 13, value_size);
    size = 13 + value_size;
    if (expires) {
        torci_fixed64_put(out + size, torci_random_next(random) >> 1);
        size += 8;
    }
    return size;
}

/* The fuzzer's own check, over a corpus made here: right files, and the same with changes. */
Test(checkpoint_mutation, passes_the_fuzzers_check_on_its_corpus, .timeout = 120)
{
    struct torci_random random = torci_random_seed(torct_seed());
    unsigned char input[8192];

    for (unsigned i = 0; i < 1500; i++) {
        unsigned changes = i % 5;
        size_t size = 1 + 3 * (size_t)changes;
        unsigned key = 0;

        torct_random_bytes(&random, input, size);
        input[0] = (unsigned char)changes;
        for (unsigned block = 0; block < i % 20 && size < sizeof input - 400; block++) {
            unsigned char *front = input + size;
            unsigned count = 1 + (unsigned)torci_random_below(&random, 8);

            size += 4;
            for (unsigned j = 0; j < count; j++) {
                key += 1 + (unsigned)torci_random_below(&random, 30);
                size += put_fuzz_entry(input + size, &random, key);
            }
            front[0] = (unsigned char)(i % 7 == 6 ? torci_random_below(&random, 3) : block / 4);
            front[1] = (unsigned char)count;
            torci_fixed16_put(front + 2, (uint16_t)(input + size - front - 4));
        }
        cr_assert_eq(LLVMFuzzerTestOneInput(input, size), 0);
        for (unsigned j = 0; j < 3; j++) {
            input[torci_random_below(&random, size)] ^= (unsigned char)(1u << torci_random_below(&random, 8));
            cr_assert_eq(LLVMFuzzerTestOneInput(input, size), 0);
        }
    }
}

/* ---- What readers say ---- */

struct count {
    _Atomic(uint64_t) entries;
    uint64_t refuse_at;
    bool refuse_keyspaces;
    struct torc_slice last[8];
    unsigned char keys[8][64];
    bool descended;
};

static enum torc_status
count_keyspace(void *context, uint64_t id, struct torc_slice name)
{
    const struct count *count = context;

    (void)id;
    (void)name;
    return count->refuse_keyspaces ? torci_fail(TORC_BUSY, "no such keyspace here") : TORC_OK;
}

static enum torc_status
count_entries(void *context, unsigned thread, uint64_t keyspace, const struct torci_restored *entries,
              size_t entries_count)
{
    struct count *count = context;

    (void)keyspace;
    for (size_t i = 0; i < entries_count; i++) {
        if (torci_key_compare(count->last[thread], entries[i].key) >= 0)
            count->descended = true;
        memcpy(count->keys[thread], entries[i].key.data, entries[i].key.size);
        count->last[thread] = torc_slice(count->keys[thread], entries[i].key.size);
    }
    if (torci_fetch_add(&count->entries, entries_count, memory_order_relaxed) + entries_count >= count->refuse_at)
        return torci_fail(TORC_BUSY, "no more, please");
    return TORC_OK;
}

static enum torc_status
count_all(uint64_t stamp, unsigned threads, struct count *count)
{
    struct torci_checkpoint_reader reader = {count_keyspace, count_entries, count};

    for (unsigned i = 0; i < 8; i++)
        count->last[i] = torc_slice(count->keys[i], 0);
    return torci_checkpoint_read(&disk.heap, disk.vfs, TORCT_DIRECTORY, stamp, torct_store_id, threads, &reader, NULL);
}

static uint64_t
many_keys(void)
{
    for (unsigned i = 0; i < 2000; i++) {
        char key[16];

        snprintf(key, sizeof key, "key%05u", i * 7 % 2000);
        torct_put(store.mvcc, key, key);
    }
    return write_checkpoint(NULL);
}

Test(checkpoint, shows_each_key_once_to_threads_in_order)
{
    uint64_t stamp = many_keys();

    for (unsigned threads = 1; threads <= 8; threads++) {
        struct count count = {.refuse_at = UINT64_MAX};

        cr_assert_eq(count_all(stamp, threads, &count), TORC_OK);
        cr_expect_eq(torci_load(&count.entries, memory_order_relaxed), 2000u);
        cr_expect_not(count.descended);
    }
    load_checkpoint(stamp, 8);
    cr_expect(torct_same_stores(store.mvcc, 0, loaded.mvcc, NULL, 0));
}

Test(checkpoint, passes_on_what_its_reader_refuses)
{
    uint64_t stamp;

    make_keyspace("orders");
    stamp = many_keys();
    for (uint64_t at = 1; at <= 2000; at += 111) {
        struct count count = {.refuse_at = at};

        cr_assert_eq(count_all(stamp, 1 + (unsigned)(at % 4), &count), TORC_BUSY);
        cr_expect_str_eq(torc_detail(), "no more, please");
    }
    struct count count = {.refuse_at = UINT64_MAX, .refuse_keyspaces = true};

    cr_expect_eq(count_all(stamp, 1, &count), TORC_BUSY);
    cr_expect_str_eq(torc_detail(), "no such keyspace here");
}

/* ---- Failing files, memory and power ---- */

static const enum torc_status failures[] = {TORC_IO, TORC_NO_SPACE, TORC_NO_MEMORY};

/* A checkpoint of an earlier state stands there. One call fails, or all from then on: no file counts that is not whole,
 * and the earlier one stays as it is; and if the call said TORC_OK, the new one is there. */
Test(checkpoint, survives_the_failure_of_each_call)
{
    uint64_t earlier;
    bool done = false;

    fill();
    earlier = write_checkpoint(NULL);
    torct_put(store.mvcc, "later", "1");
    for (uint64_t n = 1; !done; n++) {
        for (unsigned how = 0; how < 4; how++) {
            struct torci_vfs_plan plan = {.operations = TORCI_VFS_ALL & ~TORCI_VFS_BIT(TORCI_VFS_CLOSE),
                                          .at = n,
                                          .sticky = how % 2 == 1,
                                          .seed = n,
                                          .status = failures[n % 3],
                                          .partly = how >= 2};
            uint64_t stamp = 0;
            enum torc_status status;
            uint64_t failed = torci_vfs_fault_failed(disk.vfs);

            torci_vfs_fault_plan(disk.vfs, &plan);
            status = torct_checkpoint_write(store.mvcc, disk.vfs, 200, &stamp, NULL);
            torci_vfs_fault_plan(disk.vfs, NULL);
            done = torci_vfs_fault_failed(disk.vfs) == failed;
            cr_assert(done ? status == TORC_OK : status == plan.status, "call %ju: %s", (uintmax_t)n,
                      torc_status_name(status));
            cr_assert_eq(torct_checkpoint_check(&disk.heap, disk.memory, earlier), TORC_OK);
            if (stamp != 0) {
                enum torc_status found = torct_checkpoint_check(&disk.heap, disk.memory, stamp);
                char path[64];

                cr_assert(status == TORC_OK ? found == TORC_OK : found == TORC_OK || found == TORC_MISSING);
                torct_checkpoint_path(stamp, path);
                (void)(torci_vfs_remove(disk.memory, path) == TORC_OK);
            }
            cr_assert_eq(torct_stats(store.mvcc).open_transactions, 0u);
            cr_assert_eq(torci_vfs_fault_forbidden(disk.vfs), 0u);
        }
    }
}

struct crash {
    uint64_t earlier;
    uint64_t calls;
    bool installed;
};

/* The power goes: in each way, what is there is whole, and the earlier one is there. */
static void
cut_power(void *context, enum torci_vfs_operation operation)
{
    struct crash *crash = context;

    (void)operation;
    crash->calls++;
    for (unsigned mode = 0; mode < TORCI_CRASH_MODES; mode++) {
        struct torci_vfs *clone = torci_vfs_memory_crash_clone(disk.memory, (enum torci_crash)mode, crash->calls);
        enum torc_status later;

        cr_assert_not_null(clone);
        cr_assert_eq(torct_checkpoint_check(&disk.heap, clone, crash->earlier), TORC_OK);
        later = torct_checkpoint_check(&disk.heap, clone, crash->earlier + 2);
        cr_assert(later == TORC_OK || (later == TORC_MISSING && !crash->installed), "call %ju, mode %u: %s",
                  (uintmax_t)crash->calls, mode, torc_detail());
        torci_vfs_memory_destroy(clone);
    }
}

Test(checkpoint, is_whole_or_not_there_whenever_the_power_goes)
{
    struct crash crash = {0};
    uint64_t stamp = 0;

    fill();
    crash.earlier = write_checkpoint(NULL);
    torct_put(store.mvcc, "later", "1");
    torci_vfs_fault_stop(disk.vfs, cut_power, &crash);
    cr_assert_eq(torct_checkpoint_write(store.mvcc, disk.vfs, 200, &stamp, NULL), TORC_OK);
    torci_vfs_fault_stop(disk.vfs, NULL, NULL);
    cr_assert_eq(stamp, crash.earlier + 2, "it is looked for by that");
    crash.installed = true;
    cut_power(&crash, TORCI_VFS_CLOSE);
    /* With blocks of full size there is one write where there are many of tiny ones. */
    cr_expect_gt(crash.calls, TORCI_SEGMENT_SIZE > 1024 * 1024 ? 5u : 20u);
}

Test(checkpoint, replaces_one_of_the_same_stamp_in_one_step)
{
    struct torci_vfs_plan plan = {.operations = TORCI_VFS_BIT(TORCI_VFS_SYNC_DIRECTORY), .at = 1, .status = TORC_IO};
    uint64_t first, second = 0;

    fill();
    first = write_checkpoint(NULL);
    torci_vfs_fault_plan(disk.vfs, &plan);
    cr_expect_eq(torct_checkpoint_write(store.mvcc, disk.vfs, 200, &second, NULL), TORC_IO);
    cr_expect_eq(first, second);
    cr_expect_eq(torct_checkpoint_check(&disk.heap, disk.memory, first), TORC_OK);
}

Test(checkpoint, is_refused_for_each_want_of_memory)
{
    bool done = false;
    uint64_t stamp = 0;

    free(small_file(&stamp).data);
    torct_put(store.mvcc, "later", "1");
    for (uint64_t n = 1; !done; n++) {
        enum torc_status status;

        torci_alloc_fail_at(n, false);
        status = torct_checkpoint_write(store.mvcc, disk.vfs, 1000, &stamp, NULL);
        done = torci_alloc_fail_at(0, false) < n;
        cr_assert(done ? status == TORC_OK : status == TORC_OK || status == TORC_NO_MEMORY, "%s",
                  torc_status_name(status));
        cr_assert_eq(torct_stats(store.mvcc).open_transactions, 0u);
    }
    done = false;
    for (uint64_t n = 1; !done; n++) {
        enum torc_status status;

        torci_alloc_fail_at(n, false);
        status = torct_checkpoint_load(loaded.mvcc, disk.vfs, stamp, 1, NULL);
        done = torci_alloc_fail_at(0, false) < n;
        cr_assert(done ? status == TORC_OK : status == TORC_OK || status == TORC_NO_MEMORY, "%s",
                  torc_status_name(status));
        if (!done)
            reopen_loaded();
    }
    cr_expect(torct_same_stores(store.mvcc, 0, loaded.mvcc, &names[0], 1));
}

Test(checkpoint, passes_on_what_reading_fails_with)
{
    bool done = false;
    uint64_t stamp;

    fill();
    stamp = write_checkpoint(NULL);
    for (uint64_t n = 1; !done; n++) {
        struct torci_vfs_plan plan = {.operations = TORCI_VFS_BIT(TORCI_VFS_READ) | TORCI_VFS_BIT(TORCI_VFS_OPEN) |
                                                    TORCI_VFS_BIT(TORCI_VFS_SIZE),
                                      .at = n,
                                      .status = TORC_IO};
        uint64_t failed = torci_vfs_fault_failed(disk.vfs);
        enum torc_status status;

        torci_vfs_fault_plan(disk.vfs, &plan);
        status = torct_checkpoint_check(&disk.heap, disk.vfs, stamp);
        torci_vfs_fault_plan(disk.vfs, NULL);
        done = torci_vfs_fault_failed(disk.vfs) == failed;
        cr_assert_eq(status, done ? TORC_OK : TORC_IO);
    }
}

Test(checkpoint, in_a_directory_that_is_not_there_is_refused)
{
    struct torci_checkpoint *checkpoint;
    char path[TORCI_PATH_MAX + 10];

    cr_expect_neq(torci_checkpoint_begin(store.mvcc, disk.vfs, "nowhere", torct_store_id, &checkpoint), TORC_OK);
    cr_expect_null(checkpoint);
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    cr_expect_eq(torci_checkpoint_begin(store.mvcc, disk.vfs, path, torct_store_id, &checkpoint), TORC_TOO_LARGE);
    path[TORCI_PATH_MAX - 20] = '\0';
    cr_expect_eq(torci_checkpoint_begin(store.mvcc, disk.vfs, path, torct_store_id, &checkpoint), TORC_TOO_LARGE);
    cr_expect_eq(torci_checkpoint_read(&disk.heap, disk.vfs, path, 2, torct_store_id, 1, NULL, NULL), TORC_TOO_LARGE);
}

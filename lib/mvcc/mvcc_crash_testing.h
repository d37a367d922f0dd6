/* SPDX-License-Identifier: MIT */
/* mvcc/mvcc_crash_testing: a durable store on a disk in memory whose power can be cut at every call, and the oracle of
 * what must be there afterwards. Tests only.
 *
 *   step --> store --> faults --> memory          one step is one commit at most; one thread
 *               |         |
 *               |         stop: a clone of the disk in each crash mode --> verify, open, dump, write, close, open
 *               dump after the step --> history: stamp, what the store shows
 *
 * Oracle     History, by construction: each clone tells its cut, and must show what the store showed after the last
 *            commit up to that cut, no less than what was durable when the clone was made. Clones that are made within
 *            a step are judged after it, when its stamp is known.
 * Dump       A line per keyspace and one per key, in order: keyspace, key, hash of the value, its size, when it
 *            expires. Comparing leaves out what has expired. */
#ifndef TORCT_MVCC_CRASH_TESTING_H
#define TORCT_MVCC_CRASH_TESTING_H

#include "mvcc/durable_testing.h"

#include <inttypes.h>

enum {
    TORCT_CRASH_KEYS = 24,
    TORCT_CRASH_NAMES = 3,
    TORCT_CRASH_VALUE_MAX = 1800,           /* Several frames in tiny builds. */
    TORCT_CRASH_LINE_MAX = 160,
    TORCT_CRASH_HISTORY_MAX = 4096,
    TORCT_CRASH_CLONES_MAX = 8192,          /* Of one step. */
    TORCT_CRASH_NESTED_MAX = 512,           /* Of one clone. */
    TORCT_CRASH_NOW_MS = 1000000,
#if defined(TORC_TINY)
    TORCT_CRASH_EVERY = 1,
#else
    TORCT_CRASH_EVERY = 211,                /* Segments are large, so clones take long: one of so many is made. */
#endif
};

/* ---- Dumps ---- */

struct torct_dump {
    char *text;
    size_t size;
    size_t room;
};

static inline void
torct_dump_line(struct torct_dump *dump, struct torc_slice name, struct torc_slice key, struct torc_slice value,
                uint64_t expires)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < value.size; i++)
        hash = (hash ^ ((const unsigned char *)value.data)[i]) * UINT64_C(1099511628211);
    if (dump->room - dump->size < TORCT_CRASH_LINE_MAX) {
        dump->room = dump->room * 2 + 4096;
        dump->text = realloc(dump->text, dump->room);
        cr_assert_not_null(dump->text);
    }
    dump->size += (size_t)snprintf(dump->text + dump->size, TORCT_CRASH_LINE_MAX,
                                   "%.*s/%.*s %016" PRIx64 " %zu %" PRIu64 "\n", (int)name.size,
                                   name.size > 0 ? (const char *)name.data : "", (int)key.size,
                                   key.size > 0 ? (const char *)key.data : "", hash, value.size, expires);
}

static inline void
torct_dump_keyspace(struct torct_dump *dump, struct torc_txn *txn, struct torc_keyspace *keyspace)
{
    struct torc_slice none = {NULL, 0}, name = torc_keyspace_name(keyspace), key, value;
    struct torc_cursor *cursor;
    enum torc_status status;

    cr_assert_eq(torc_txn_use(txn, keyspace), TORC_OK);
    torct_dump_line(dump, name, none, none, 0);
    cr_assert_eq(torc_txn_scan(txn, NULL, &cursor), TORC_OK);
    while ((status = torc_cursor_next(cursor, &key, &value)) == TORC_OK) {
        uint64_t expires;

        cr_assert_eq(torc_txn_expiry(txn, key, &expires), TORC_OK);
        torct_dump_line(dump, name, key, value, expires);
    }
    cr_assert_eq(status, TORC_END, "scan: %s", torc_status_name(status));
    torc_cursor_close(cursor);
}

/* What a store shows; the caller frees it. `durable`: at its durable snapshot. */
static inline char *
torct_dump(struct torc_mvcc *store, bool durable)
{
    struct torc_txn_options options = {.read_only = true, .durable = durable};
    struct torc_keyspace *keyspaces[TORCT_CRASH_NAMES + 2];
    struct torct_dump dump = {NULL, 0, 0};
    struct torc_txn *txn;
    size_t count;

    cr_assert_eq(torc_mvcc_keyspaces(store, keyspaces, TORCT_CRASH_NAMES + 2, &count), TORC_OK);
    cr_assert_leq(count, (size_t)TORCT_CRASH_NAMES + 2);
    cr_assert_eq(torc_txn_begin(store, &options, &txn), TORC_OK, "%s", torc_detail());
    for (size_t i = 0; i < count; i++)
        torct_dump_keyspace(&dump, txn, keyspaces[i]);
    torc_txn_abort(txn);
    return dump.text;
}

/* The first line of `text` that has not expired at `now`, and its size. NULL: none. */
static inline const char *
torct_dump_next(const char *text, uint64_t now, size_t *size)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        size_t last = length;
        uint64_t expires;

        while (text[last - 1] != ' ')
            last--;
        expires = strtoull(text + last, NULL, 10);
        if (expires == TORC_NEVER || expires > now) {
            *size = length + 1;
            return text;
        }
        text += length + 1;
    }
    return NULL;
}

static inline bool
torct_dump_same(const char *one, const char *other, uint64_t now)
{
    for (;;) {
        size_t sizes[2] = {0, 0};

        one = torct_dump_next(one, now, &sizes[0]);
        other = torct_dump_next(other, now, &sizes[1]);
        if (one == NULL || other == NULL)
            return one == other;
        if (sizes[0] != sizes[1] || memcmp(one, other, sizes[0]) != 0)
            return false;
        one += sizes[0];
        other += sizes[1];
    }
}

/* ---- The world ---- */

struct torct_moment {
    uint64_t stamp;
    char *text;
};

/* A clone that was opened, to be judged. */
struct torct_clone {
    uint64_t cut;
    uint64_t acknowledged;
    uint64_t now;
    uint64_t seed;
    enum torci_crash mode;
    enum torci_vfs_operation operation;     /* The call that was about to begin. */
    char *text;
};

struct torct_crash {
    struct torct_disk disk;
    struct torc_mvcc *store;                /* NULL: not open. */
    enum torc_durability durability;
    struct torci_random random;
    uint64_t now_ms;
    uint64_t acknowledged;                  /* All up to it is durable, whatever happens. */
    bool faulty;                            /* Calls may fail. */
    unsigned failures;                      /* Steps that did. */
    struct torct_moment history[TORCT_CRASH_HISTORY_MAX];
    size_t moments;
    /* Crashing. */
    bool crashes;                           /* At every call. */
    unsigned modes;                         /* A mask. */
    uint64_t seen_calls;                    /* Where the last clones were made. */
    uint64_t seen_acknowledged;
    uint64_t deep_every;                    /* One clone in so many is crashed itself. 0: none. */
    uint64_t points;                        /* Clones that were opened, */
    uint64_t deep_points;                   /* and clones of clones. */
    uint64_t chances;                       /* Clones that there would be, but for TORCT_CRASH_EVERY. */
    uint64_t clones_made;
    struct torct_clone clones[TORCT_CRASH_CLONES_MAX];
    size_t clones_count;
};

static inline uint64_t
torct_crash_now(void *context)
{
    return ((const struct torct_crash *)context)->now_ms;
}

static inline struct torc_mvcc_options
torct_crash_options(struct torct_crash *world)
{
    struct torc_mvcc_options options = torct_durable_options(world->durability, true);

    options.now_ms = torct_crash_now;
    options.now_context = world;
    options.checkpoint_bytes = 0;
    return options;
}

/* What is durable for sure at this moment. */
static inline uint64_t
torct_crash_durable(struct torct_crash *world)
{
    uint64_t durable = world->store == NULL ? 0 : torc_mvcc_durable(world->store);

    return durable > world->acknowledged ? durable : world->acknowledged;
}

/* The last moment up to `cut`. */
static inline size_t
torct_crash_moment(const struct torct_crash *world, uint64_t cut)
{
    size_t at = world->moments;

    cr_assert_gt(at, (size_t)0);
    while (at > 1 && world->history[at - 1].stamp > cut)
        at--;
    return at - 1;
}

static inline const char *
torct_crash_words(const struct torct_clone *clone, char words[256])
{
    snprintf(words, 256, "mode %d, seed %" PRIu64 ", before operation %d, cut %" PRIu64 ", durable %" PRIu64
             ", now %" PRIu64, (int)clone->mode, clone->seed, (int)clone->operation, clone->cut, clone->acknowledged,
             clone->now);
    return words;
}

/* ---- A clone's own life ---- */

/* A clone that is crashed itself. */
struct torct_nested {
    struct torct_crash *world;
    struct torct_disk *disk;
    uint64_t seen_calls;
    uint64_t made;
    bool wrote;                             /* What it has put is acknowledged. */
    struct {
        char *text;
        bool wrote;
    } after[TORCT_CRASH_NESTED_MAX];
    size_t count;
};

static inline struct torc_mvcc *
torct_clone_open(struct torct_crash *world, struct torci_vfs *vfs, const char *what)
{
    struct torc_mvcc_options options = torct_crash_options(world);
    struct torc_recovery found;
    struct torc_mvcc *store;
    enum torc_status status = torci_mvcc_verify_on(TORCT_DIRECTORY, vfs, &found);

    /* Before its first name is durable there is no store. */
    cr_assert(status == TORC_OK || (status == TORC_MISSING && world->acknowledged == 0), "%s: verify: %s: %s", what,
              torc_status_name(status), torc_detail());
    if (options.durability == TORC_DURABILITY_NONE)
        options.durability = TORC_DURABILITY_ASYNC;
    options.recovery_threads = 1 + world->points % 64 / 63;
    status = torci_mvcc_open_on(&options, vfs, &store);
    cr_assert_eq(status, TORC_OK, "%s: open: %s: %s", what, torc_status_name(status), torc_detail());
    world->points++;
    return store;
}

static inline void
torct_nested_stop(void *context, enum torci_vfs_operation operation)
{
    struct torct_nested *nested = context;
    struct torct_disk after;
    struct torc_mvcc *store;
    uint64_t calls = torci_vfs_memory_calls(nested->disk->memory);

    (void)operation;
    if (calls == nested->seen_calls || nested->count == TORCT_CRASH_NESTED_MAX)
        return;
    nested->seen_calls = calls;
    if (nested->made++ % TORCT_CRASH_EVERY != 0)
        return;
    torct_disk_crash(nested->disk, (enum torci_crash)(nested->made % TORCI_CRASH_MODES),
                     nested->world->clones_made * 1000 + nested->made, &after);
    store = torct_clone_open(nested->world, after.vfs, "a clone of a clone");
    nested->world->deep_points++;
    nested->after[nested->count].text = torct_dump(store, false);
    nested->after[nested->count++].wrote = nested->wrote;
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    torct_disk_destroy(&after);
}

static inline struct torc_slice
torct_crash_extra(void)
{
    return torc_slice("~after", 6);
}

/* Open, write, close, open again a clone, of which `text` is known. */
static inline void
torct_clone_live(struct torct_crash *world, struct torct_disk *disk, const char *text, bool deep)
{
    struct torct_nested *nested = calloc(1, sizeof(*nested));
    struct torc_mvcc *store;
    char *now, *wrote, *again;

    cr_assert_not_null(nested);
    nested->world = world;
    nested->disk = disk;
    if (deep)
        torci_vfs_fault_stop(disk->vfs, torct_nested_stop, nested);
    store = torct_clone_open(world, disk->vfs, "a clone again");
    now = torct_dump(store, false);
    cr_assert(torct_dump_same(now, text, world->now_ms), "recovery twice:\n%s---\n%s", text, now);
    cr_assert_eq(torc_mvcc_put(store, torct_crash_extra(), torc_slice(&world->points, 8), NULL), TORC_OK);
    cr_assert_eq(torc_mvcc_sync(store), TORC_OK);
    wrote = torct_dump(store, false);
    nested->wrote = true;
    if (deep)
        cr_assert_eq(torc_mvcc_checkpoint(store, true), TORC_OK, "%s", torc_detail());
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    torci_vfs_fault_stop(disk->vfs, NULL, NULL);
    store = torct_clone_open(world, disk->vfs, "a clone after its close");
    again = torct_dump(store, false);
    cr_assert(torct_dump_same(again, wrote, world->now_ms), "after a close:\n%s---\n%s", wrote, again);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    for (size_t i = 0; i < nested->count; i++) {
        const char *found = nested->after[i].text;

        cr_assert(torct_dump_same(found, wrote, world->now_ms) ||
                      (!nested->after[i].wrote && torct_dump_same(found, text, world->now_ms)),
                  "a clone of a clone, %zu:\n%s---\n%s", i, nested->after[i].wrote ? wrote : text, found);
        free(nested->after[i].text);
    }
    free(now);
    free(wrote);
    free(again);
    free(nested);
}

/* ---- Cutting the power ---- */

static inline void
torct_crash_cut(struct torct_crash *world, enum torci_crash mode, uint64_t acknowledged,
                enum torci_vfs_operation operation)
{
    struct torct_clone *clone = &world->clones[world->clones_count];
    uint64_t made = world->clones_made++;
    struct torc_recovery found;
    struct torct_disk after;
    struct torc_mvcc *store;
    char words[256];

    cr_assert_lt(world->clones_count++, (size_t)TORCT_CRASH_CLONES_MAX);
    *clone = (struct torct_clone){0, acknowledged, world->now_ms, made, mode, operation, NULL};
    torct_disk_crash(&world->disk, mode, made, &after);
    store = torct_clone_open(world, after.vfs, torct_crash_words(clone, words));
    cr_assert_eq(torc_mvcc_recovery(store, &found), TORC_OK);
    clone->cut = found.cut;
    clone->text = torct_dump(store, false);
    cr_assert_eq(torc_mvcc_close(store), TORC_OK);
    if (world->deep_every > 0 && made % world->deep_every == 0) {
        /* From the same state again: opening has changed it. */
        torct_disk_destroy(&after);
        torct_disk_crash(&world->disk, mode, made, &after);
        torct_clone_live(world, &after, clone->text, made / world->deep_every % 2 == 0);
    }
    torct_disk_destroy(&after);
}

/* At each call that finds something new on the disk, or something newly acknowledged. The clones' own commits are none
 * of the call that stands here. */
static inline void
torct_crash_stop(void *context, enum torci_vfs_operation operation)
{
    struct torct_crash *world = context;
    uint64_t calls = torci_vfs_memory_calls(world->disk.memory), acknowledged = torct_crash_durable(world);
    uint64_t last_commit = torc_last_commit();

    if (!world->crashes || (calls == world->seen_calls && acknowledged == world->seen_acknowledged))
        return;
    world->seen_calls = calls;
    world->seen_acknowledged = acknowledged;
    for (unsigned mode = 0; mode < TORCI_CRASH_MODES; mode++)
        if ((world->modes >> mode & 1) != 0 && world->chances++ % TORCT_CRASH_EVERY == 0)
            torct_crash_cut(world, (enum torci_crash)mode, acknowledged, operation);
    torci_last_commit_note(last_commit);
}

/* All clones of the step that is over. */
static inline void
torct_crash_judge(struct torct_crash *world)
{
    for (size_t i = 0; i < world->clones_count; i++) {
        struct torct_clone *clone = &world->clones[i];
        size_t moment = torct_crash_moment(world, clone->cut);
        size_t least = torct_crash_moment(world, clone->acknowledged);
        char words[256];

        cr_assert_geq(moment, least, "lost: %s", torct_crash_words(clone, words));
        cr_assert(torct_dump_same(clone->text, world->history[moment].text, clone->now),
                  "not a prefix: %s: moment %zu of %zu, stamp %" PRIu64 ", last stamp %" PRIu64
                  ":\n%s--- but found\n%s",
                  torct_crash_words(clone, words), moment, world->moments, world->history[moment].stamp,
                  world->history[world->moments - 1].stamp, world->history[moment].text, clone->text);
        free(clone->text);
    }
    world->clones_count = 0;
}

/* ---- Steps ---- */

static inline void
torct_crash_remember(struct torct_crash *world, uint64_t stamp, char *text)
{
    cr_assert_lt(world->moments, (size_t)TORCT_CRASH_HISTORY_MAX);
    world->history[world->moments++] = (struct torct_moment){stamp, text};
}

/* Stamps of keyspaces, which no call tells: what the clock gives to who comes next. */
static inline uint64_t
torct_crash_next_stamp(const struct torct_crash *world)
{
    return torci_clock_now(&world->store->clock) | 1;
}

/* After a step: what it did has `stamp`, if it did anything. */
static inline void
torct_crash_stepped(struct torct_crash *world, uint64_t stamp)
{
    char *text = torct_dump(world->store, false);
    const struct torct_moment *last = &world->history[world->moments - 1];

    if (torct_dump_same(text, last->text, world->now_ms)) {
        free(text);
    } else {
        cr_assert_neq(stamp, (uint64_t)0, "a change without a commit:\n%s---\n%s", last->text, text);
        cr_assert_geq(stamp, last->stamp);
        torct_crash_remember(world, stamp, text);
    }
    if (world->crashes)
        torct_crash_stop(world, TORCI_VFS_OPERATIONS);
    torct_crash_judge(world);
}

static inline void
torct_crash_watch(struct torct_crash *world, bool crashes)
{
    world->crashes = crashes;
    torci_vfs_fault_stop(world->disk.vfs, crashes ? torct_crash_stop : NULL, world);
}

/* Forget what came after `cut`, which is lost. All that is there is durable. */
static inline void
torct_crash_forget(struct torct_crash *world, uint64_t cut)
{
    size_t keep = torct_crash_moment(world, cut) + 1;

    while (world->moments > keep)
        free(world->history[--world->moments].text);
    world->acknowledged = world->history[world->moments - 1].stamp;
}

/* Forget all but the last moment, which is durable. */
static inline void
torct_crash_trim(struct torct_crash *world)
{
    size_t last = world->moments - 1;

    cr_assert_geq(world->acknowledged, world->history[last].stamp);
    for (size_t i = 0; i < last; i++)
        free(world->history[i].text);
    world->history[0] = world->history[last];
    world->moments = 1;
}

/* Open the world's store, which shows what it showed before. TORC_OK, or an error if it is faulty. */
static inline enum torc_status
torct_crash_open(struct torct_crash *world, enum torc_durability durability)
{
    struct torc_mvcc_options options;
    struct torc_recovery found;
    enum torc_status status;
    char *text;

    world->durability = durability;
    options = torct_crash_options(world);
    status = torci_mvcc_open_on(&options, world->disk.vfs, &world->store);
    torct_crash_judge(world);
    if (status != TORC_OK) {
        cr_assert(world->faulty, "open: %s: %s", torc_status_name(status), torc_detail());
        cr_assert_null(world->store);
        return status;
    }
    cr_assert_eq(torc_mvcc_recovery(world->store, &found), TORC_OK);
    cr_assert_geq(torct_crash_moment(world, found.cut), torct_crash_moment(world, world->acknowledged), "lost");
    torct_crash_forget(world, found.cut);
    text = torct_dump(world->store, false);
    cr_assert(torct_dump_same(text, world->history[world->moments - 1].text, world->now_ms),
              "opened at %" PRIu64 ":\n%s--- but found\n%s", found.cut, world->history[world->moments - 1].text, text);
    free(text);
    return TORC_OK;
}

/* TORC_OK: all is durable. */
static inline enum torc_status
torct_crash_close(struct torct_crash *world)
{
    enum torc_status status = torc_mvcc_close(world->store);

    cr_assert(status == TORC_OK || (status == TORC_INDETERMINATE && world->faulty), "close: %s: %s",
              torc_status_name(status), torc_detail());
    world->store = NULL;
    if (status == TORC_OK)
        world->acknowledged = world->history[world->moments - 1].stamp;
    torct_crash_judge(world);
    return status;
}

/* Cut the power for good, while the store is open; the world goes on with what is left. */
static inline void
torct_crash_reboot(struct torct_crash *world, enum torci_crash mode)
{
    struct torct_disk *disk = &world->disk;
    bool crashes = world->crashes;
    struct torci_vfs *left;

    world->acknowledged = torct_crash_durable(world);
    torct_crash_watch(world, false);
    left = torci_vfs_memory_crash_clone(disk->memory, mode, torci_random_below(&world->random, 1000));
    cr_assert_not_null(left);
    /* The old machine's store goes on to its end, on its own disk. */
    torci_vfs_fault_plan(disk->vfs, NULL);
    (void)(torc_mvcc_close(world->store) == TORC_OK);
    world->store = NULL;
    torci_vfs_fault_destroy(disk->vfs);
    torci_vfs_memory_destroy(disk->memory);
    disk->memory = left;
    disk->vfs = torci_vfs_fault_create(&disk->heap, left);
    cr_assert_not_null(disk->vfs);
    world->seen_calls = UINT64_MAX;
    torct_crash_watch(world, crashes);
    cr_assert_eq(torct_crash_open(world, world->durability), TORC_OK);
}

static inline struct torct_crash *
torct_crash_create(uint64_t seed)
{
    struct torct_crash *world = aligned_alloc(_Alignof(struct torct_crash), sizeof(*world));
    char *empty = strdup("/ cbf29ce484222325 0 0\n");

    cr_assert_not_null(world);
    cr_assert_not_null(empty);
    memset(world, 0, sizeof(*world));
    torct_disk_create(&world->disk);
    world->random = torci_random_seed(seed);
    world->now_ms = TORCT_CRASH_NOW_MS;
    world->modes = (1u << TORCI_CRASH_MODES) - 1;
    world->seen_calls = UINT64_MAX;
    torct_crash_remember(world, 0, empty);
    return world;
}

static inline void
torct_crash_destroy(struct torct_crash *world)
{
    cr_assert_null(world->store);
    cr_expect_eq(torci_vfs_fault_forbidden(world->disk.vfs), 0u, "a file was written to after a failure");
    torct_crash_judge(world);
    while (world->moments > 0)
        free(world->history[--world->moments].text);
    torct_disk_destroy(&world->disk);
    free(world);
}

/* ---- What steps do ---- */

/* TORC_OK, an outcome, or what a failing journal allows. */
static inline enum torc_status
torct_crash_wrote(struct torct_crash *world, enum torc_status status, const char *what)
{
    if (status == TORC_INDETERMINATE || status == TORC_READ_ONLY) {
        cr_assert(world->faulty, "%s: %s: %s", what, torc_status_name(status), torc_detail());
        world->failures++;
        return status;
    }
    cr_assert(status == TORC_OK || status == TORC_NOT_FOUND || status == TORC_EXISTS || status == TORC_MISMATCH,
              "%s: %s: %s", what, torc_status_name(status), torc_detail());
    return status;
}

static inline struct torc_slice
torct_crash_key(char name[16], const char *prefix, uint64_t number)
{
    return torc_slice(name, (size_t)snprintf(name, 16, "%s%03" PRIu64, prefix, number % TORCT_CRASH_KEYS));
}

/* Mostly small values, now and then one of several frames. */
static inline struct torc_slice
torct_crash_value(struct torct_crash *world, unsigned char value[TORCT_CRASH_VALUE_MAX])
{
    size_t most = torci_random_below(&world->random, 16) == 0 ? TORCT_CRASH_VALUE_MAX : 40;
    size_t size = torci_random_below(&world->random, most);

    torct_random_bytes(&world->random, value, size);
    return torc_slice(value, size);
}

/* The default keyspace, or one of the named ones that are there. */
static inline struct torc_keyspace *
torct_crash_keyspace(struct torct_crash *world)
{
    struct torc_keyspace *keyspaces[TORCT_CRASH_NAMES + 1];
    size_t count;

    cr_assert_eq(torc_mvcc_keyspaces(world->store, keyspaces, TORCT_CRASH_NAMES + 1, &count), TORC_OK);
    return keyspaces[torci_random_below(&world->random, count)];
}

static inline void
torct_crash_put(struct torct_crash *world)
{
    unsigned char value[TORCT_CRASH_VALUE_MAX];
    char name[16];
    uint64_t expires = torci_random_below(&world->random, 4) == 0
                           ? world->now_ms + 1 + torci_random_below(&world->random, 50) : TORC_NEVER;
    struct torc_slice key = torct_crash_key(name, "k", torci_random_next(&world->random));

    torct_crash_wrote(world, torc_keyspace_put(torct_crash_keyspace(world), key, torct_crash_value(world, value),
                                               expires, NULL), "put");
    torct_crash_stepped(world, torc_last_commit());
}

static inline void
torct_crash_delete(struct torct_crash *world)
{
    char name[16];
    struct torc_slice key = torct_crash_key(name, "k", torci_random_next(&world->random));

    torct_crash_wrote(world, torc_keyspace_delete(torct_crash_keyspace(world), key), "delete");
    torct_crash_stepped(world, torc_last_commit());
}

static inline void
torct_crash_merge(struct torct_crash *world)
{
    int64_t by = (int64_t)torci_random_below(&world->random, 1000);
    char name[16];
    struct torc_slice key = torct_crash_key(name, "sum", torci_random_below(&world->random, 3));

    torct_crash_wrote(world, torc_keyspace_merge(torct_crash_keyspace(world), key, &torc_merge_add, torc_slice(&by, 8),
                                                 NULL, 0, NULL), "merge");
    torct_crash_stepped(world, torc_last_commit());
}

/* One write of a transaction, in one keyspace. */
static inline enum torc_status
torct_crash_write(struct torct_crash *world, struct torc_txn *txn)
{
    unsigned char value[TORCT_CRASH_VALUE_MAX];
    int64_t by = 1;
    char name[16];
    uint64_t number = torci_random_next(&world->random);
    struct torc_slice key = torct_crash_key(name, "k", number), bytes = torct_crash_value(world, value);

    switch (torci_random_below(&world->random, 6)) {
    case 0:
        return torc_txn_delete(txn, key);
    case 1:
        return torc_txn_merge(txn, torct_crash_key(name, "sum", number % 3), &torc_merge_add, torc_slice(&by, 8));
    case 2:
        return torc_txn_put_expiring(txn, key, bytes, world->now_ms + 1 + number % 50);
    case 3:
        return number % 4 == 0 ? torc_txn_delete_range(txn, key, torct_crash_extra(), NULL)
                               : torc_txn_get_for_update(txn, key, &bytes);
    default:
        return torc_txn_put(txn, key, bytes);
    }
}

static inline void
torct_crash_transact(struct torct_crash *world)
{
    struct torc_txn_options options = {
        .isolation = torci_random_below(&world->random, 3) == 0 ? TORC_SERIALIZABLE : TORC_SNAPSHOT};
    uint64_t writes = 1 + torci_random_below(&world->random, 7);
    enum torc_status status;
    struct torc_txn *txn;

    cr_assert_eq(torc_txn_begin(world->store, &options, &txn), TORC_OK);
    for (uint64_t i = 0; i < writes; i++) {
        cr_assert_eq(torc_txn_use(txn, torct_crash_keyspace(world)), TORC_OK);
        torct_crash_wrote(world, torct_crash_write(world, txn), "a write");
    }
    status = torci_random_below(&world->random, 4) == 0 ? torc_txn_commit_async(txn) : torc_txn_commit(txn);
    torct_crash_wrote(world, status, "commit");
    torct_crash_stepped(world, torc_last_commit());
}

/* Create a keyspace, or drop it if it is there. */
static inline void
torct_crash_turn(struct torct_crash *world)
{
    static const char *const names[TORCT_CRASH_NAMES] = {"alpha", "beta", "gamma"};
    const char *name = names[torci_random_below(&world->random, TORCT_CRASH_NAMES)];
    struct torc_keyspace *keyspace;
    uint64_t stamp;

    stamp = torct_crash_next_stamp(world);
    if (torc_keyspace_find(world->store, torct_text(name), &keyspace) == TORC_OK)
        torct_crash_wrote(world, torc_keyspace_drop(keyspace), "drop");
    else
        torct_crash_wrote(world, torc_keyspace_create(world->store, torct_text(name), &keyspace), "create");
    torct_crash_stepped(world, stamp);
}

/* Calls that write to the disk and are no commits. */
static inline enum torc_status
torct_crash_kept(struct torct_crash *world, enum torc_status status, const char *what)
{
    cr_assert(status == TORC_OK || (world->faulty && (status == TORC_IO || status == TORC_NO_SPACE ||
                                                      status == TORC_INDETERMINATE)),
              "%s: %s: %s", what, torc_status_name(status), torc_detail());
    world->failures += status != TORC_OK;
    torct_crash_stepped(world, 0);
    return status;
}

static inline void
torct_crash_sync(struct torct_crash *world)
{
    uint64_t all = world->history[world->moments - 1].stamp;

    if (torct_crash_kept(world, torc_mvcc_sync(world->store), "sync") == TORC_OK)
        cr_assert_geq(torc_mvcc_durable(world->store), all);
}

static inline void
torct_crash_checkpoint(struct torct_crash *world)
{
    struct torc_durability_stats stats;
    uint64_t all = world->history[world->moments - 1].stamp;

    if (torct_crash_kept(world, torc_mvcc_checkpoint(world->store, true), "checkpoint") != TORC_OK)
        return;
    cr_assert_eq(torc_mvcc_durability(world->store, &stats), TORC_OK);
    cr_assert_geq(stats.checkpoint_stamp, all);
    cr_assert_geq(stats.durable, all);
}

static inline void
torct_crash_poll(struct torct_crash *world)
{
    torct_crash_kept(world, torc_mvcc_poll(world->store, NULL), "poll");
}

static inline void
torct_crash_tick(struct torct_crash *world)
{
    world->now_ms += torci_random_below(&world->random, 30);
    torct_crash_stepped(world, 0);
}

/* Close and open, perhaps with another durability. */
static inline void
torct_crash_reopen(struct torct_crash *world)
{
    enum torc_status status = torct_crash_close(world);
    uint64_t dice = torci_random_below(&world->random, 8);

    if (status == TORC_OK || world->faulty)
        (void)torct_crash_open(world, dice == 0 ? TORC_DURABILITY_NONE
                                      : dice < 4 ? TORC_DURABILITY_ASYNC : TORC_DURABILITY_SYNC);
}

/* A sync fails, and forgets; nobody is told that anything is durable which is not; then all is well again. */
static inline void
torct_crash_resume(struct torct_crash *world)
{
    struct torci_vfs_plan plan = {
        .operations = TORCI_VFS_CHANGES,
        .at = 1 + torci_random_below(&world->random, 4),
        .sticky = true,
        .seed = torci_random_next(&world->random),
        .status = torci_random_below(&world->random, 2) == 0 ? TORC_IO : TORC_NO_SPACE,
        .partly = torci_random_below(&world->random, 2) == 0,
        .forget = torci_random_below(&world->random, 2) == 0,
    };

    if (world->durability == TORC_DURABILITY_NONE)
        return;
    world->faulty = true;
    torci_vfs_fault_plan(world->disk.vfs, &plan);
    for (unsigned i = 0; i < 5; i++) {
        torct_crash_put(world);
        torct_crash_poll(world);
        torct_crash_kept(world, torc_mvcc_resume(world->store), "resume");
    }
    torci_vfs_fault_plan(world->disk.vfs, NULL);
    world->faulty = false;
    torct_crash_kept(world, torc_mvcc_resume(world->store), "resume");
    torct_crash_sync(world);
}

/* One step of a random run. */
static inline void
torct_crash_step(struct torct_crash *world)
{
    static void (*const steps[])(struct torct_crash *world) = {
        torct_crash_put, torct_crash_put, torct_crash_put, torct_crash_put, torct_crash_delete, torct_crash_merge,
        torct_crash_merge, torct_crash_transact, torct_crash_transact, torct_crash_transact, torct_crash_turn,
        torct_crash_turn, torct_crash_tick, torct_crash_poll, torct_crash_poll, torct_crash_sync,
    };
    uint64_t dice = torci_random_below(&world->random, 100);

    if (dice == 0)
        torct_crash_reboot(world, (enum torci_crash)torci_random_below(&world->random, TORCI_CRASH_MODES));
    else if (dice < 3)
        torct_crash_reopen(world);
    else if (dice < 5)
        torct_crash_checkpoint(world);
    else if (dice < 6 && torc_mvcc_checkpoint(world->store, false) == TORC_OK)
        torct_crash_poll(world);
    else if (dice < 7)
        torct_crash_resume(world);
    else
        steps[torci_random_below(&world->random, sizeof(steps) / sizeof(steps[0]))](world);
}

#endif

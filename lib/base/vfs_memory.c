/* SPDX-License-Identifier: MIT */
/* base/vfs_memory: two states side by side, and the way from one to the other.
 *
 *   name --current--> node   current bytes, size                 what calls see
 *   name --durable--> node   durable bytes, durable size         what DROP leaves
 *                     dirty sectors, changes (writes in order)   what a sync of the file moves over
 *   moves (links, unlinks, renames in order)                     what a sync of the directory moves over
 *
 * Invariants
 *   I1  bytes past a size, and past the room of their buffer, are zero
 *   I2  current and durable bytes differ only in dirty sectors and in forgotten ones
 *   I3  a name is listed while it has a node, or a move tells of it
 *   I4  all is reserved before anything is changed: what fails for lack of memory has changed nothing
 * Without `crashes` durable bytes, dirty sectors, changes and moves stay empty.
 *
 * All fields are under `mutex`. Where threads are fibers, one that slept in a mutex would never be woken: there it is a
 * flag that the scheduler waits for. */
#include "base/vfs_memory.h"

#include <pthread.h>
#include <string.h>

#include "base/annotate.h"
#include "base/assert.h"
#include "base/explorer.h"
#include "base/fiber.h"
#include "base/random.h"
#include "base/status.h"

#if defined(TORC_ATOMIC_FIBER) || defined(TORC_ATOMIC_EXPLORER)
#define FIBERS 1
#else
#define FIBERS 0
#endif

enum {
    SECTOR = 512,
    PAGE = 4096,
    PAGE_SECTORS = PAGE / SECTOR,
};

/* A buffer that grows; what it has no room for is zero. */
struct bytes {
    unsigned char *data;
    size_t room;                            /* A multiple of PAGE. */
};

/* A write that was not synced when it was made, or a change of size. */
struct change {
    struct change *next;                    /* The one after it. */
    uint64_t offset;
    uint64_t size_after;                    /* The file's. */
    size_t size;
    bool durable;                           /* Happened for certain; parts what came before it from the rest. */
    unsigned char data[];
};

struct node {
    unsigned references;                    /* Names (current, durable), moves, open files. */
    struct bytes current;
    struct bytes durable;
    struct bytes dirty;                     /* A byte per sector: not 0 if a sync has to move it. */
    uint64_t size;
    uint64_t durable_size;
    bool size_dirty;
    struct change *changes;
    struct change **changes_end;
    const struct handle *locked_by;
};

struct name {
    struct name *next;
    struct node *current;                   /* NULL: not there. */
    struct node *durable;
    struct node *found;                     /* By the crash clone being made. */
    unsigned moves;                         /* That tell of it. */
    size_t path_size;                       /* With its terminator. */
    char path[];
};

struct directory {
    struct directory *next;
    size_t path_size;
    char path[];
};

/* `node` came to `to`, or left `from`, or both in one step. */
struct move {
    struct move *next;
    struct name *from;
    struct name *to;
    struct node *node;
};

struct memory {
    struct torci_vfs vfs;
    struct torci_heap *heap;                /* Immutable. */
    bool crashes;                           /* Immutable. */
#if FIBERS
    bool locked;
    struct torci_clock clock;               /* What the last owner had seen. */
#else
    pthread_mutex_t mutex;
#endif
    struct name *names;
    struct directory *directories;          /* All but the root. */
    struct move *moves;
    struct move **moves_end;
    uint64_t calls;
    uint64_t open_files;
};

struct handle {
    struct torci_file base;
    struct memory *memory;
    struct node *node;
    bool writable;
};

/* ---- The lock ---- */

#if FIBERS

/* One fiber runs at a time, and none leaves between here and the flag: no race, though the explorer would see one. */
TORCI_THREAD_LOCAL_ONLY static bool
is_free(void *argument)
{
    const struct memory *memory = argument;

    return !memory->locked;
}

TORCI_THREAD_LOCAL_ONLY static void
lock(struct memory *memory)
{
    torci_fiber_point();
    while (memory->locked)      /* Another one may have been first. */
        torci_fiber_wait(is_free, memory);
    memory->locked = true;
    torci_explorer_acquire(&memory->clock);
}

TORCI_THREAD_LOCAL_ONLY static void
unlock(struct memory *memory)
{
    torci_explorer_release(&memory->clock);
    memory->locked = false;
}

#else

static void
lock(struct memory *memory)
{
    int failed = pthread_mutex_lock(&memory->mutex);

    torc_assert(failed == 0);
    (void)failed;
}

static void
unlock(struct memory *memory)
{
    int failed = pthread_mutex_unlock(&memory->mutex);

    torc_assert(failed == 0);
    (void)failed;
}

#endif

/* ---- Bytes ---- */

/* Room for `size` bytes at least; what is new is zero. */
static bool
reserve(struct memory *memory, struct bytes *bytes, uint64_t size)
{
    if (size <= bytes->room)
        return true;
    if (size > SIZE_MAX / 4)
        return false;

    size_t room = (size_t)size;
    if (room < bytes->room * 2)
        room = bytes->room * 2;
    room = (room + PAGE - 1) / PAGE * PAGE;

    unsigned char *data = torci_alloc_zeroed(memory->heap, room);
    if (data == NULL)
        return false;
    if (bytes->data != NULL)
        memcpy(data, bytes->data, bytes->room);
    torci_free(memory->heap, bytes->data, bytes->room);
    bytes->data = data;
    bytes->room = room;
    return true;
}

static void
release(struct memory *memory, struct bytes *bytes)
{
    torci_free(memory->heap, bytes->data, bytes->room);
    *bytes = (struct bytes){0};
}

/* Zeros from `size` on (I1). */
static void
cut(struct bytes *bytes, uint64_t size)
{
    if (size < bytes->room)
        memset(bytes->data + size, 0, bytes->room - (size_t)size);
}

/* ---- Nodes ---- */

static struct node *
make_node(struct memory *memory)
{
    struct node *node = torci_alloc_zeroed(memory->heap, sizeof(*node));

    if (node != NULL)
        node->changes_end = &node->changes;
    return node;
}

static void
drop_changes(struct memory *memory, struct node *node)
{
    while (node->changes != NULL) {
        struct change *change = node->changes;

        node->changes = change->next;
        torci_free(memory->heap, change, sizeof(*change) + change->size);
    }
    node->changes_end = &node->changes;
}

static void
drop_node(struct memory *memory, struct node *node)
{
    if (node == NULL)
        return;
    torc_assert(node->references > 0);
    if (--node->references > 0)
        return;
    drop_changes(memory, node);
    release(memory, &node->current);
    release(memory, &node->durable);
    release(memory, &node->dirty);
    torci_free(memory->heap, node, sizeof(*node));
}

/* Let `*place` hold `node`, either of which may be NULL. */
static void
put_node(struct memory *memory, struct node **place, struct node *node)
{
    struct node *old = *place;

    if (node != NULL)
        node->references++;
    *place = node;
    drop_node(memory, old);
}

/* A change to be noted, of `size` bytes; NULL: no memory. */
static struct change *
make_change(struct memory *memory, uint64_t offset, const void *data, size_t size, bool durable)
{
    struct change *change;

    if (size > SIZE_MAX / 4)
        return NULL;
    change = torci_alloc(memory->heap, sizeof(*change) + size);
    if (change == NULL)
        return NULL;
    *change = (struct change){.offset = offset, .size = size, .durable = durable};
    if (data != NULL)
        memcpy(change->data, data, size);
    else
        memset(change->data, 0, size);
    return change;
}

static void
note_change(struct node *node, struct change *change)
{
    change->size_after = node->size;
    *node->changes_end = change;
    node->changes_end = &change->next;
}

/* Forget the changes that a durable write from `offset` to `end` makes good for, whichever of them happen. */
static void
drop_covered_changes(struct memory *memory, struct node *node, uint64_t offset, uint64_t end)
{
    struct change **at = &node->changes;

    while (*at != NULL) {
        struct change *change = *at;

        if (change->size == 0 || change->offset < offset || change->offset + change->size > end) {
            at = &change->next;
            continue;
        }
        *at = change->next;
        torci_free(memory->heap, change, sizeof(*change) + change->size);
    }
    node->changes_end = at;
}

static void
set_size(struct node *node, uint64_t size)
{
    if (node->size == size)
        return;
    node->size = size;
    node->size_dirty = true;
}

static void
mark_dirty(struct node *node, uint64_t offset, size_t size)
{
    if (size > 0)
        memset(node->dirty.data + offset / SECTOR, 1, (size_t)((offset + size - 1) / SECTOR - offset / SECTOR + 1));
}

/* Everything durable, but for what was forgotten. */
static void
settle(struct memory *memory, struct node *node)
{
    if (!memory->crashes)
        return;
    for (size_t sector = 0; sector < node->dirty.room; sector++) {
        if (node->dirty.data[sector] == 0)
            continue;
        torc_assert((sector + 1) * SECTOR <= node->durable.room);
        memcpy(node->durable.data + sector * SECTOR, node->current.data + sector * SECTOR, SECTOR);
        node->dirty.data[sector] = 0;
    }
    if (node->size_dirty) {
        node->durable_size = node->size;
        cut(&node->durable, node->size);
    }
    node->size_dirty = false;
    drop_changes(memory, node);
}

/* Room for `end` bytes in all that describes the node (I4). */
static bool
reserve_node(struct memory *memory, struct node *node, uint64_t end)
{
    if (!reserve(memory, &node->current, end))
        return false;
    return !memory->crashes || (reserve(memory, &node->durable, node->current.room) &&
                                reserve(memory, &node->dirty, node->current.room / SECTOR));
}

static bool
write_node(struct memory *memory, struct node *node, uint64_t offset, const void *data, size_t size, bool durable)
{
    uint64_t end = offset + size;
    struct change *change = NULL;

    if (!reserve_node(memory, node, end))
        return false;
    /* A durable write of a file with nothing unsynced needs no note: it is over. */
    if (durable)
        drop_covered_changes(memory, node, offset, end);
    if (memory->crashes && (!durable || node->changes != NULL)) {
        change = make_change(memory, offset, data, size, durable);
        if (change == NULL)
            return false;
    }

    memcpy(node->current.data + offset, data, size);
    if (end > node->size)
        set_size(node, end);
    if (change != NULL)
        note_change(node, change);
    if (!memory->crashes)
        return true;
    if (!durable) {
        mark_dirty(node, offset, size);
        return true;
    }
    memcpy(node->durable.data + offset, data, size);
    if (node->durable_size < end)
        node->durable_size = end;
    return true;
}

/* Shorter or longer. What is cut off is written over with zeros: it is not durably gone before a sync. */
static bool
resize_node(struct memory *memory, struct node *node, uint64_t size)
{
    uint64_t held = node->size < node->current.room ? node->size : node->current.room;
    size_t gone = size < held ? (size_t)(held - size) : 0;

    if (memory->crashes) {
        struct change *change = make_change(memory, size, NULL, gone, false);

        if (change == NULL)
            return false;
        set_size(node, size);
        note_change(node, change);
        mark_dirty(node, size, gone);
    }
    node->size = size;
    cut(&node->current, size);
    return true;
}

/* ---- Names ---- */

/* `path` without slashes at its ends and doubled ones, and without "." parts. */
static enum torc_status
normalize(const char *path, char *out)
{
    size_t size = 0;

    while (*path != '\0') {
        size_t part = strcspn(path, "/");

        if (part > 0 && !(part == 1 && path[0] == '.')) {
            if (size + part + 2 > TORCI_PATH_MAX)
                return torci_fail(TORC_IO, "a path of more than %d bytes", TORCI_PATH_MAX);
            if (size > 0)
                out[size++] = '/';
            memcpy(out + size, path, part);
            size += part;
        }
        path += part;
        path += strspn(path, "/");
    }
    out[size] = '\0';
    return TORC_OK;
}

/* The bytes of `path` before its last name, without the slash. */
static size_t
parent_size(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (size_t)(slash - path);
}

/* Whether the first `size` bytes of `path` are a directory. */
static bool
has_directory(const struct memory *memory, const char *path, size_t size)
{
    if (size == 0)
        return true;
    for (const struct directory *at = memory->directories; at != NULL; at = at->next)
        if (at->path_size == size + 1 && memcmp(at->path, path, size) == 0)
            return true;
    return false;
}

static bool
in_directory(const char *path, const char *directory)
{
    size_t size = strlen(directory);

    return parent_size(path) == size && memcmp(path, directory, size) == 0;
}

static struct name *
find_name(const struct memory *memory, const char *path)
{
    struct name *at = memory->names;

    while (at != NULL && strcmp(at->path, path) != 0)
        at = at->next;
    return at;
}

/* The file there now, or NULL. */
static struct name *
find_file(const struct memory *memory, const char *path)
{
    struct name *name = find_name(memory, path);

    return name != NULL && name->current != NULL ? name : NULL;
}

/* The name of `path`, made if need be. NULL: no memory. */
static struct name *
need_name(struct memory *memory, const char *path)
{
    struct name *name = find_name(memory, path);
    size_t size = strlen(path) + 1;

    if (name != NULL)
        return name;
    name = torci_alloc(memory->heap, sizeof(*name) + size);
    if (name == NULL)
        return NULL;
    *name = (struct name){.next = memory->names, .path_size = size};
    memcpy(name->path, path, size);
    memory->names = name;
    return name;
}

/* Forget names that nothing tells of any more (I3). */
static void
sweep_names(struct memory *memory)
{
    struct name **at = &memory->names;

    while (*at != NULL) {
        struct name *name = *at;

        if (name->current != NULL || name->durable != NULL || name->moves > 0) {
            at = &name->next;
            continue;
        }
        *at = name->next;
        torci_free(memory->heap, name, sizeof(*name) + name->path_size);
    }
}

static struct move *
make_move(struct memory *memory)
{
    return torci_alloc_zeroed(memory->heap, sizeof(struct move));
}

/* Let `node` leave `from`, if that is not NULL, and come to `to`, if that is not. `move` notes it, or is NULL. */
static void
move_node(struct memory *memory, struct move *move, struct name *from, struct name *to, struct node *node)
{
    node->references++;     /* It may be held by nothing else in between. */
    if (from != NULL)
        put_node(memory, &from->current, NULL);
    if (to != NULL)
        put_node(memory, &to->current, node);
    if (move != NULL) {
        *move = (struct move){.from = from, .to = to};
        put_node(memory, &move->node, node);
        if (from != NULL)
            from->moves++;
        if (to != NULL)
            to->moves++;
        *memory->moves_end = move;
        memory->moves_end = &move->next;
    }
    drop_node(memory, node);
}

static void
drop_move(struct memory *memory, struct move *move)
{
    if (move->from != NULL)
        move->from->moves--;
    if (move->to != NULL)
        move->to->moves--;
    drop_node(memory, move->node);
    torci_free(memory->heap, move, sizeof(*move));
}

/* Make the names in `directory` durable. */
static void
settle_names(struct memory *memory, const char *directory)
{
    struct move **at = &memory->moves;

    while (*at != NULL) {
        struct move *move = *at;

        if (!in_directory((move->to != NULL ? move->to : move->from)->path, directory)) {
            at = &move->next;
            continue;
        }
        *at = move->next;
        drop_move(memory, move);
    }
    memory->moves_end = at;
    if (memory->crashes)
        for (struct name *name = memory->names; name != NULL; name = name->next)
            if (in_directory(name->path, directory))
                put_node(memory, &name->durable, name->current);
    sweep_names(memory);
}

/* ---- Files ---- */

static struct memory *
memory_of(struct torci_vfs *vfs)
{
    return (struct memory *)vfs;
}

static struct handle *
handle_of(struct torci_file *file)
{
    torc_assert(file != NULL);
    return (struct handle *)file;
}

static enum torc_status
no_memory(const char *operation)
{
    return torci_fail(TORC_NO_MEMORY, "%s: no memory", operation);
}

/* A fresh file at `path`. */
static enum torc_status
create(struct memory *memory, const char *path, struct name **created)
{
    if (has_directory(memory, path, strlen(path)))
        return torci_fail(TORC_IO, "open %s: is a directory", path);
    if (!has_directory(memory, path, parent_size(path)))
        return TORC_NOT_FOUND;

    struct node *node = make_node(memory);
    struct name *name = need_name(memory, path);
    struct move *move = memory->crashes ? make_move(memory) : NULL;
    if (node == NULL || name == NULL || (memory->crashes && move == NULL)) {
        torci_free(memory->heap, node, sizeof(*node));
        torci_free(memory->heap, move, sizeof(*move));
        sweep_names(memory);
        return no_memory("open");
    }
    move_node(memory, move, NULL, name, node);
    *created = name;
    return TORC_OK;
}

static enum torc_status
open_name(struct memory *memory, const char *path, unsigned flags, struct node **node)
{
    struct name *name = find_file(memory, path);

    if ((flags & TORCI_OPEN_EXCLUSIVE) != 0 && (name != NULL || has_directory(memory, path, strlen(path))))
        return TORC_EXISTS;
    if (name == NULL && (flags & TORCI_OPEN_CREATE) == 0)
        return has_directory(memory, path, strlen(path)) ? torci_fail(TORC_IO, "open %s: is a directory", path)
                                                         : TORC_NOT_FOUND;
    if (name == NULL) {
        enum torc_status status = create(memory, path, &name);
        if (status != TORC_OK)
            return status;
    } else if ((flags & TORCI_OPEN_TRUNCATE) != 0 && !resize_node(memory, name->current, 0)) {
        return no_memory("open");
    }
    *node = name->current;
    return TORC_OK;
}

static enum torc_status
memory_open(struct torci_vfs *vfs, const char *path, unsigned flags, struct torci_file **file)
{
    struct memory *memory = memory_of(vfs);
    char normal[TORCI_PATH_MAX];
    struct node *node = NULL;

    torc_assert((flags & TORCI_OPEN_WRITE) != 0 || flags == TORCI_OPEN_READ);
    torc_assert((flags & TORCI_OPEN_EXCLUSIVE) == 0 || (flags & TORCI_OPEN_CREATE) != 0);

    *file = NULL;
    enum torc_status status = normalize(path, normal);
    if (status != TORC_OK)
        return status;

    struct handle *handle = torci_alloc(memory->heap, sizeof(*handle));
    if (handle == NULL)
        return no_memory("open");

    lock(memory);
    memory->calls += (flags & (TORCI_OPEN_CREATE | TORCI_OPEN_TRUNCATE)) != 0;
    status = open_name(memory, normal, flags, &node);
    if (status == TORC_OK) {
        *handle = (struct handle){{vfs}, memory, NULL, (flags & TORCI_OPEN_WRITE) != 0};
        put_node(memory, &handle->node, node);
        memory->open_files++;
        *file = &handle->base;
    }
    unlock(memory);
    if (status != TORC_OK)
        torci_free(memory->heap, handle, sizeof(*handle));
    return status;
}

static enum torc_status
memory_close(struct torci_file *file)
{
    struct handle *handle = handle_of(file);
    struct memory *memory = handle->memory;

    lock(memory);
    if (handle->node->locked_by == handle)
        handle->node->locked_by = NULL;
    put_node(memory, &handle->node, NULL);
    memory->open_files--;
    unlock(memory);
    torci_free(memory->heap, handle, sizeof(*handle));
    return TORC_OK;
}

static enum torc_status
memory_read(struct torci_file *file, uint64_t offset, void *buffer, size_t size, size_t *done)
{
    struct handle *handle = handle_of(file);
    const struct node *node = handle->node;
    size_t held = 0;

    torc_assert(buffer != NULL || size == 0);

    lock(handle->memory);
    uint64_t left = offset < node->size ? node->size - offset : 0;
    if (size > left)
        size = (size_t)left;
    if (offset < node->current.room)
        held = node->current.room - (size_t)offset;
    if (held > size)
        held = size;
    if (held > 0)
        memcpy(buffer, node->current.data + offset, held);
    unlock(handle->memory);

    if (size > held)
        memset((unsigned char *)buffer + held, 0, size - held);
    *done = size;
    return TORC_OK;
}

static enum torc_status
memory_write(struct torci_file *file, uint64_t offset, const void *data, size_t size, bool durable)
{
    struct handle *handle = handle_of(file);
    bool written = true;

    torc_assert(data != NULL || size == 0);
    torc_assert(handle->writable);

    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return torci_fail(TORC_IO, "write: larger than a file can be");
    lock(handle->memory);
    handle->memory->calls++;
    if (size > 0)
        written = write_node(handle->memory, handle->node, offset, data, size, durable);
    unlock(handle->memory);
    return written ? TORC_OK : no_memory("write");
}

static enum torc_status
memory_sync(struct torci_file *file)
{
    struct handle *handle = handle_of(file);

    lock(handle->memory);
    handle->memory->calls++;
    settle(handle->memory, handle->node);
    unlock(handle->memory);
    return TORC_OK;
}

static enum torc_status
memory_size(struct torci_file *file, uint64_t *size)
{
    struct handle *handle = handle_of(file);

    lock(handle->memory);
    *size = handle->node->size;
    unlock(handle->memory);
    return TORC_OK;
}

/* To `size`; with `grow_only`, not to less than it is. */
static enum torc_status
resize(struct torci_file *file, uint64_t size, bool grow_only, const char *operation)
{
    struct handle *handle = handle_of(file);
    bool resized = true;

    torc_assert(handle->writable);

    if (size > INT64_MAX)
        return torci_fail(TORC_IO, "%s: larger than a file can be", operation);
    lock(handle->memory);
    handle->memory->calls++;
    if (grow_only ? size > handle->node->size : size != handle->node->size)
        resized = resize_node(handle->memory, handle->node, size);
    unlock(handle->memory);
    return resized ? TORC_OK : no_memory(operation);
}

static enum torc_status
memory_truncate(struct torci_file *file, uint64_t size)
{
    return resize(file, size, false, "truncate");
}

static enum torc_status
memory_allocate(struct torci_file *file, uint64_t size)
{
    return resize(file, size, true, "allocate");
}

static enum torc_status
memory_lock(struct torci_file *file)
{
    struct handle *handle = handle_of(file);
    struct node *node = handle->node;

    lock(handle->memory);
    bool mine = node->locked_by == NULL || node->locked_by == handle;
    if (mine)
        node->locked_by = handle;
    unlock(handle->memory);
    return mine ? TORC_OK : torci_fail(TORC_LOCKED, "lock: another handle has it");
}

/* ---- Directories ---- */

static enum torc_status
rename_file(struct memory *memory, const char *from, const char *to)
{
    struct name *source = find_file(memory, from);

    torc_assert(parent_size(from) == parent_size(to) && memcmp(from, to, parent_size(from)) == 0);

    if (source == NULL)
        return TORC_NOT_FOUND;
    if (has_directory(memory, to, strlen(to)))
        return torci_fail(TORC_IO, "rename %s: is a directory", to);
    if (strcmp(from, to) == 0)
        return TORC_OK;

    struct name *target = need_name(memory, to);
    struct move *move = target != NULL && memory->crashes ? make_move(memory) : NULL;
    if (target == NULL || (memory->crashes && move == NULL)) {
        sweep_names(memory);
        return no_memory("rename");
    }
    move_node(memory, move, source, target, source->current);
    sweep_names(memory);
    return TORC_OK;
}

static enum torc_status
memory_rename(struct torci_vfs *vfs, const char *from, const char *to)
{
    struct memory *memory = memory_of(vfs);
    char normal_from[TORCI_PATH_MAX];
    char normal_to[TORCI_PATH_MAX];
    enum torc_status status = normalize(from, normal_from);

    if (status == TORC_OK)
        status = normalize(to, normal_to);
    if (status != TORC_OK)
        return status;
    lock(memory);
    memory->calls++;
    status = rename_file(memory, normal_from, normal_to);
    unlock(memory);
    return status;
}

static enum torc_status
remove_file(struct memory *memory, const char *path)
{
    struct name *name = find_file(memory, path);

    if (has_directory(memory, path, strlen(path)))
        return torci_fail(TORC_IO, "remove %s: is a directory", path);
    if (name == NULL)
        return TORC_NOT_FOUND;

    struct move *move = memory->crashes ? make_move(memory) : NULL;
    if (memory->crashes && move == NULL)
        return no_memory("remove");
    move_node(memory, move, name, NULL, name->current);
    sweep_names(memory);
    return TORC_OK;
}

static enum torc_status
memory_remove(struct torci_vfs *vfs, const char *path)
{
    struct memory *memory = memory_of(vfs);
    char normal[TORCI_PATH_MAX];
    enum torc_status status = normalize(path, normal);

    if (status != TORC_OK)
        return status;
    lock(memory);
    memory->calls++;
    status = remove_file(memory, normal);
    unlock(memory);
    return status;
}

static const char *
last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static enum torc_status
visit_names(const struct memory *memory, const char *path,
            enum torc_status (*visit)(void *context, const char *name), void *context)
{
    enum torc_status status = TORC_OK;

    if (find_file(memory, path) != NULL)
        return torci_fail(TORC_IO, "list %s: is no directory", path);
    if (!has_directory(memory, path, strlen(path)))
        return TORC_NOT_FOUND;
    for (const struct name *at = memory->names; at != NULL && status == TORC_OK; at = at->next)
        if (at->current != NULL && in_directory(at->path, path))
            status = visit(context, last_name(at->path));
    for (const struct directory *at = memory->directories; at != NULL && status == TORC_OK; at = at->next)
        if (in_directory(at->path, path))
            status = visit(context, last_name(at->path));
    return status;
}

static enum torc_status
memory_list(struct torci_vfs *vfs, const char *path, enum torc_status (*visit)(void *context, const char *name),
            void *context)
{
    struct memory *memory = memory_of(vfs);
    char normal[TORCI_PATH_MAX];
    enum torc_status status = normalize(path, normal);

    if (status != TORC_OK)
        return status;
    lock(memory);
    status = visit_names(memory, normal, visit, context);
    unlock(memory);
    return status;
}

/* The directory that the first `size` bytes of `path` name, above which all are there. */
static enum torc_status
make_level(struct memory *memory, const char *path, size_t size)
{
    char level[TORCI_PATH_MAX];

    if (has_directory(memory, path, size))
        return TORC_OK;
    memcpy(level, path, size);
    level[size] = '\0';
    if (find_file(memory, level) != NULL)
        return torci_fail(TORC_IO, "make %s: is a file", level);

    struct directory *directory = torci_alloc(memory->heap, sizeof(*directory) + size + 1);
    if (directory == NULL)
        return no_memory("make");
    *directory = (struct directory){memory->directories, size + 1};
    memcpy(directory->path, level, size + 1);
    memory->directories = directory;
    return TORC_OK;
}

static enum torc_status
memory_make_directory(struct torci_vfs *vfs, const char *path)
{
    struct memory *memory = memory_of(vfs);
    char normal[TORCI_PATH_MAX];
    enum torc_status status = normalize(path, normal);

    if (status != TORC_OK)
        return status;
    lock(memory);
    memory->calls++;
    for (size_t at = 0; status == TORC_OK && normal[at] != '\0';) {
        at += normal[at] == '/';
        at += strcspn(normal + at, "/");
        status = make_level(memory, normal, at);
    }
    unlock(memory);
    return status;
}

static enum torc_status
memory_sync_directory(struct torci_vfs *vfs, const char *path)
{
    struct memory *memory = memory_of(vfs);
    char normal[TORCI_PATH_MAX];
    enum torc_status status = normalize(path, normal);

    if (status != TORC_OK)
        return status;
    lock(memory);
    memory->calls++;
    if (has_directory(memory, normal, strlen(normal)))
        settle_names(memory, normal);
    else
        status = find_file(memory, normal) != NULL ? torci_fail(TORC_IO, "sync %s: is no directory", normal)
                                                   : TORC_NOT_FOUND;
    unlock(memory);
    return status;
}

/* ---- Power cuts ---- */

/* Sectors of the current bytes, in units of `sectors` that are taken or left as a whole. KEEP takes all. */
static void
tear(const struct node *node, unsigned char *bytes, size_t room, size_t sectors, bool all, struct torci_random *random)
{
    size_t count = room / SECTOR < node->dirty.room ? room / SECTOR : node->dirty.room;

    for (size_t first = 0; first < count; first += sectors) {
        if (!all && torci_random_one_in(random, 2))
            continue;
        for (size_t sector = first; sector < first + sectors && sector < count; sector++)
            if (node->dirty.data[sector] != 0)
                memcpy(bytes + sector * SECTOR, node->current.data + sector * SECTOR, SECTOR);
    }
}

static void
apply_change(const struct change *change, unsigned char *bytes)
{
    if (change->size > 0)
        memcpy(bytes + change->offset, change->data, change->size);
}

/* The changes up to a random one, but no less than the last durable one. The size then. */
static uint64_t
replay_prefix(const struct node *node, unsigned char *bytes, struct torci_random *random)
{
    uint64_t size = node->durable_size;
    uint64_t count = 0;
    uint64_t least = 0;

    for (const struct change *at = node->changes; at != NULL; at = at->next) {
        count++;
        if (at->durable)
            least = count;
    }
    uint64_t some = least + torci_random_below(random, count - least + 1);
    for (const struct change *at = node->changes; some > 0; at = at->next, some--) {
        apply_change(at, bytes);
        size = at->size_after;
    }
    return size;
}

/* Of the changes before `end`, which were made from `first` on: some, in any order. */
static void
replay_some(const struct change *first, const struct change *end, unsigned char *bytes, struct torci_random *random)
{
    uint64_t count = 0;

    for (const struct change *at = first; at != end; at = at->next)
        count++;
    /* As many draws as changes: one may come twice, which is as well. */
    for (uint64_t draw = 0; draw < count; draw++) {
        const struct change *at = first;

        if (torci_random_one_in(random, 2))
            continue;
        for (uint64_t skip = torci_random_below(random, count); skip > 0; skip--)
            at = at->next;
        apply_change(at, bytes);
    }
}

static void
replay_reordered(const struct node *node, unsigned char *bytes, struct torci_random *random)
{
    const struct change *first = node->changes;

    for (const struct change *at = node->changes; at != NULL; at = at->next) {
        if (!at->durable)
            continue;
        replay_some(first, at, bytes, random);
        apply_change(at, bytes);
        first = at->next;
    }
    replay_some(first, NULL, bytes, random);
}

/* The bytes that are left of `node`, in `bytes`, which hold what is durable; the size. */
static uint64_t
survive(const struct node *node, unsigned char *bytes, size_t room, enum torci_crash mode, struct torci_random *random)
{
    bool lucky = torci_random_one_in(random, 2);

    switch (mode) {
    case TORCI_CRASH_DROP:
        lucky = false;
        break;
    case TORCI_CRASH_KEEP:
        tear(node, bytes, room, 1, true, random);
        lucky = true;
        break;
    case TORCI_CRASH_TORN_512:
        tear(node, bytes, room, 1, false, random);
        break;
    case TORCI_CRASH_TORN_4096:
        tear(node, bytes, room, PAGE_SECTORS, false, random);
        break;
    case TORCI_CRASH_PREFIX:
        return replay_prefix(node, bytes, random);
    case TORCI_CRASH_REORDERED:
        replay_reordered(node, bytes, random);
        break;
    }
    return node->size_dirty && lucky ? node->size : node->durable_size;
}

/* A node of `clone` as `node` is found after the cut. */
static struct node *
clone_node(struct memory *clone, const struct node *node, enum torci_crash mode, struct torci_random *random)
{
    struct node *made = make_node(clone);

    if (made == NULL)
        return NULL;
    made->references = 1;
    if (!reserve_node(clone, made, node->durable.room)) {
        drop_node(clone, made);
        return NULL;
    }
    if (node->durable.room > 0) {
        memcpy(made->current.data, node->durable.data, node->durable.room);
        made->size = survive(node, made->current.data, made->current.room, mode, random);
        cut(&made->current, made->size);
        memcpy(made->durable.data, made->current.data, made->current.room);
    } else {
        made->size = survive(node, NULL, 0, mode, random);
    }
    made->durable_size = made->size;
    return made;
}

/* Let each name's `found` be what the cut leaves of it. */
static void
survive_names(struct memory *memory, enum torci_crash mode, struct torci_random *random)
{
    uint64_t count = 0;

    for (struct name *name = memory->names; name != NULL; name = name->next)
        name->found = name->durable;
    for (const struct move *move = memory->moves; move != NULL; move = move->next)
        count++;

    uint64_t prefix = mode == TORCI_CRASH_PREFIX ? torci_random_below(random, count + 1) : count;
    for (const struct move *move = memory->moves; move != NULL; move = move->next) {
        bool some = mode != TORCI_CRASH_KEEP && mode != TORCI_CRASH_PREFIX;

        if (mode == TORCI_CRASH_DROP || prefix == 0 || (some && torci_random_one_in(random, 2)))
            continue;
        prefix--;
        /* Wherever an earlier move, which may not have happened, has left it. */
        for (struct name *name = memory->names; name != NULL; name = name->next)
            if (name->found == move->node)
                name->found = NULL;
        if (move->to != NULL)
            move->to->found = move->node;
    }
}

static bool
clone_names(struct memory *clone, struct memory *memory, enum torci_crash mode, struct torci_random *random)
{
    survive_names(memory, mode, random);
    for (const struct name *name = memory->names; name != NULL; name = name->next) {
        if (name->found == NULL)
            continue;

        struct name *made = need_name(clone, name->path);
        struct node *node = made != NULL ? clone_node(clone, name->found, mode, random) : NULL;

        if (node == NULL)
            return false;
        put_node(clone, &made->current, node);
        put_node(clone, &made->durable, node);
        drop_node(clone, node);
    }
    for (const struct directory *at = memory->directories; at != NULL; at = at->next)
        if (make_level(clone, at->path, at->path_size - 1) != TORC_OK)
            return false;
    return true;
}

/* ---- The vfs ---- */

struct torci_vfs *
torci_vfs_memory_create(struct torci_heap *heap, bool crashes)
{
    static const struct torci_vfs calls = {
        .open = memory_open,
        .close = memory_close,
        .read = memory_read,
        .write = memory_write,
        .sync = memory_sync,
        .size = memory_size,
        .truncate = memory_truncate,
        .allocate = memory_allocate,
        .lock = memory_lock,
        .rename = memory_rename,
        .remove = memory_remove,
        .list = memory_list,
        .make_directory = memory_make_directory,
        .sync_directory = memory_sync_directory,
    };
    struct memory *memory = torci_alloc_zeroed(heap, sizeof(*memory));

    if (memory == NULL)
        return NULL;
    memory->vfs = calls;
    memory->heap = heap;
    memory->crashes = crashes;
    memory->moves_end = &memory->moves;
#if !FIBERS
    if (pthread_mutex_init(&memory->mutex, NULL) != 0) {
        torci_free(heap, memory, sizeof(*memory));
        return NULL;
    }
#endif
    return &memory->vfs;
}

void
torci_vfs_memory_destroy(struct torci_vfs *vfs)
{
    struct memory *memory = memory_of(vfs);

    if (vfs == NULL)
        return;
    torc_assert(memory->open_files == 0);

    while (memory->moves != NULL) {
        struct move *move = memory->moves;

        memory->moves = move->next;
        drop_move(memory, move);
    }
    for (struct name *name = memory->names; name != NULL; name = name->next) {
        put_node(memory, &name->current, NULL);
        put_node(memory, &name->durable, NULL);
    }
    sweep_names(memory);
    while (memory->directories != NULL) {
        struct directory *directory = memory->directories;

        memory->directories = directory->next;
        torci_free(memory->heap, directory, sizeof(*directory) + directory->path_size);
    }
#if !FIBERS
    (void)pthread_mutex_destroy(&memory->mutex);
#endif
    torci_free(memory->heap, memory, sizeof(*memory));
}

struct torci_vfs *
torci_vfs_memory_crash_clone(struct torci_vfs *vfs, enum torci_crash mode, uint64_t seed)
{
    struct memory *memory = memory_of(vfs);
    struct torci_random random = torci_random_seed(seed);
    struct torci_vfs *clone = torci_vfs_memory_create(memory->heap, true);

    torc_assert(memory->crashes);

    if (clone == NULL)
        return NULL;
    lock(memory);
    bool cloned = clone_names(memory_of(clone), memory, mode, &random);
    unlock(memory);
    if (cloned)
        return clone;
    torci_vfs_memory_destroy(clone);
    return NULL;
}

uint64_t
torci_vfs_memory_calls(struct torci_vfs *vfs)
{
    struct memory *memory = memory_of(vfs);

    lock(memory);
    uint64_t calls = memory->calls;
    unlock(memory);
    return calls;
}

void
torci_vfs_memory_forget(struct torci_file *file)
{
    struct handle *handle = handle_of(file);
    struct node *node = handle->node;

    torc_assert(handle->memory->crashes);

    lock(handle->memory);
    if (node->dirty.room > 0)
        memset(node->dirty.data, 0, node->dirty.room);
    node->size_dirty = false;
    drop_changes(handle->memory, node);
    unlock(handle->memory);
}

/* SPDX-License-Identifier: MIT */
/* base/vfs_fault: counts each call, asks the plan, and hands it on.
 *
 * Which calls fail by rate depends on the seed and on the call's number alone, so that a run with one thread repeats.
 *
 * Ordering    No edges. The counters are relaxed: who wants them exact has joined the threads that called. What is set
 *             (plan, stop) is set while nobody calls. A handle's `failed` belongs to whoever may write the file, one at
 *             a time (vfs.h).
 * Progress    take_space() is lock-free: its CAS fails when another call took space. */
#include "base/vfs_fault.h"

#include <errno.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/random.h"
#include "base/status.h"
#include "base/vfs_memory.h"

struct fault {
    struct torci_vfs vfs;
    struct torci_heap *heap;                /* Immutable, as `inner`. */
    struct torci_vfs *inner;
    struct torci_vfs_plan plan;             /* Set while nobody calls, as the next two. */
    void (*stop)(void *context, enum torci_vfs_operation operation);
    void *stop_context;
    _Atomic(uint64_t) calls[TORCI_VFS_OPERATIONS];
    _Atomic(uint64_t) counted;              /* Of the plan's operations, since it was set. */
    _Atomic(uint64_t) failed;
    _Atomic(uint64_t) forbidden;
    _Atomic(uint64_t) space;
};

struct fault_file {
    struct torci_file base;
    struct fault *fault;
    struct torci_file *inner;
    bool failed;                            /* A write or a sync through it. */
};

static const char *const operation_names[TORCI_VFS_OPERATIONS] = {
    "open", "close", "read", "write", "durable write", "sync", "size", "truncate", "allocate", "lock", "rename",
    "remove", "list", "make", "sync of a directory",
};

static struct fault *
fault_of(struct torci_vfs *vfs)
{
    return (struct fault *)vfs;
}

static struct fault_file *
file_of(struct torci_file *file)
{
    torc_assert(file != NULL);
    return (struct fault_file *)file;
}

/* The number that the plan's seed has for its `n`-th call. */
static uint64_t
draw(const struct fault *fault, uint64_t n)
{
    uint64_t state = fault->plan.seed + n * UINT64_C(0xd1342543de82ef95);

    return torci_splitmix64(&state);
}

static void
stop(struct fault *fault, enum torci_vfs_operation operation)
{
    if (fault->stop != NULL)
        fault->stop(fault->stop_context, operation);
}

static enum torc_status
fail(struct fault *fault, enum torci_vfs_operation operation, enum torc_status status)
{
    torci_fetch_add(&fault->failed, 1, memory_order_relaxed);      /* Relaxed: a counter. */
    errno = status == TORC_NO_SPACE ? ENOSPC : EIO;
    if (status == TORC_NOT_FOUND || status == TORC_EXISTS)
        return status;
    return torci_fail(status, "%s: told to fail", operation_names[operation]);
}

/* Count a call; `*n` is its number among those of the plan, 0 if it is none of them. Whether it fails. */
static bool
count(struct fault *fault, enum torci_vfs_operation operation, uint64_t *n)
{
    const struct torci_vfs_plan *plan = &fault->plan;

    *n = 0;
    torci_fetch_add(&fault->calls[operation], 1, memory_order_relaxed);     /* Relaxed: a counter. */
    if ((plan->operations & TORCI_VFS_BIT(operation)) == 0)
        return false;
    *n = torci_fetch_add(&fault->counted, 1, memory_order_relaxed) + 1;     /* Relaxed: each call gets its own. */
    if (plan->at != 0 && (*n == plan->at || (plan->sticky && *n > plan->at)))
        return true;
    return plan->one_in != 0 && draw(fault, *n) % plan->one_in == 0;
}

/* What every call begins with: TORC_OK, or that it fails. */
static enum torc_status
begin(struct fault *fault, enum torci_vfs_operation operation)
{
    uint64_t n;

    stop(fault, operation);
    return count(fault, operation, &n) ? fail(fault, operation, fault->plan.status) : TORC_OK;
}

/* ---- Space ---- */

/* Take `wanted` bytes, or what there is; the bytes taken. */
static uint64_t
take_space(struct fault *fault, uint64_t wanted)
{
    uint64_t have = torci_load(&fault->space, memory_order_relaxed);        /* Relaxed: the CAS below decides. */
    uint64_t taken;

    do {
        if (have == UINT64_MAX)
            return wanted;
        taken = wanted < have ? wanted : have;
        torci_race_window();
        /* Relaxed: a counter. */
    } while (!torci_cas(&fault->space, &have, have - taken, memory_order_relaxed, memory_order_relaxed));
    return taken;
}

/* How much of a file's growth to `end` there is room for; `*reach` is the end that can be had. */
static enum torc_status
take_growth(struct fault_file *file, uint64_t end, uint64_t *reach)
{
    uint64_t size;
    enum torc_status status = torci_file_size(file->inner, &size);

    *reach = end;
    if (status == TORC_OK && end > size)
        *reach = size + take_space(file->fault, end - size);
    return status;
}

/* ---- Files ---- */

static enum torc_status
fault_open(struct torci_vfs *vfs, const char *path, unsigned flags, struct torci_file **file)
{
    struct fault *fault = fault_of(vfs);

    *file = NULL;
    enum torc_status status = begin(fault, TORCI_VFS_OPEN);
    if (status != TORC_OK)
        return status;

    struct fault_file *made = torci_alloc(fault->heap, sizeof(*made));
    if (made == NULL)
        return torci_fail(TORC_NO_MEMORY, "open: no memory");
    *made = (struct fault_file){.base = {vfs}, .fault = fault};
    status = torci_vfs_open(fault->inner, path, flags, &made->inner);
    if (status == TORC_OK)
        *file = &made->base;
    else
        torci_free(fault->heap, made, sizeof(*made));
    return status;
}

static enum torc_status
fault_close(struct torci_file *base)
{
    struct fault_file *file = file_of(base);
    struct fault *fault = file->fault;
    enum torc_status told = begin(fault, TORCI_VFS_CLOSE);
    enum torc_status status = torci_file_close(file->inner);

    torci_free(fault->heap, file, sizeof(*file));
    return told != TORC_OK ? told : status;
}

static enum torc_status
fault_read(struct torci_file *base, uint64_t offset, void *buffer, size_t size, size_t *done)
{
    struct fault_file *file = file_of(base);
    enum torc_status status = begin(file->fault, TORCI_VFS_READ);

    *done = 0;
    return status == TORC_OK ? torci_file_read(file->inner, offset, buffer, size, done) : status;
}

/* Count what vfs.h forbids. */
static void
note_forbidden(struct fault_file *file)
{
    if (file->failed)
        torci_fetch_add(&file->fault->forbidden, 1, memory_order_relaxed);  /* Relaxed: a counter. */
}

/* What a failing write leaves. */
static void
write_partly(struct fault_file *file, uint64_t offset, const void *data, size_t size, uint64_t n)
{
    const struct torci_vfs_plan *plan = &file->fault->plan;
    size_t some = plan->partly && size > 0 ? (size_t)(draw(file->fault, ~n) % (size + 1)) : 0;

    /* It is a failure anyway. */
    if (some > 0 && torci_file_write(file->inner, offset, data, some, false) != TORC_OK)
        return;
    if (plan->forget)
        torci_vfs_memory_forget(file->inner);
}

/* A write that is not told to fail; the disk may be full. */
static enum torc_status
write_through(struct fault_file *file, uint64_t offset, const void *data, size_t size, bool durable)
{
    struct fault *fault = file->fault;
    uint64_t reach;
    enum torc_status status = take_growth(file, offset + size, &reach);

    if (status == TORC_OK && reach < offset + size) {
        if (reach > offset)
            status = torci_file_write(file->inner, offset, data, (size_t)(reach - offset), false);
        return status != TORC_OK ? status : fail(fault, TORCI_VFS_WRITE, TORC_NO_SPACE);
    }
    if (status == TORC_OK && durable && fault->stop != NULL) {
        status = torci_file_write(file->inner, offset, data, size, false);
        stop(fault, TORCI_VFS_WRITE_DURABLE);
    }
    return status == TORC_OK ? torci_file_write(file->inner, offset, data, size, durable) : status;
}

static enum torc_status
fault_write(struct torci_file *base, uint64_t offset, const void *data, size_t size, bool durable)
{
    struct fault_file *file = file_of(base);
    struct fault *fault = file->fault;
    enum torci_vfs_operation operation = durable ? TORCI_VFS_WRITE_DURABLE : TORCI_VFS_WRITE;
    enum torc_status status;
    uint64_t n;

    note_forbidden(file);
    stop(fault, operation);
    if (count(fault, operation, &n)) {
        write_partly(file, offset, data, size, n);
        status = fail(fault, operation, fault->plan.status);
    } else {
        status = write_through(file, offset, data, size, durable);
    }
    file->failed = file->failed || status != TORC_OK;
    return status;
}

static enum torc_status
fault_sync(struct torci_file *base)
{
    struct fault_file *file = file_of(base);

    note_forbidden(file);
    enum torc_status status = begin(file->fault, TORCI_VFS_SYNC);
    if (status != TORC_OK && file->fault->plan.forget)
        torci_vfs_memory_forget(file->inner);
    if (status == TORC_OK)
        status = torci_file_sync(file->inner);
    file->failed = file->failed || status != TORC_OK;
    return status;
}

static enum torc_status
fault_size(struct torci_file *base, uint64_t *size)
{
    struct fault_file *file = file_of(base);
    enum torc_status status = begin(file->fault, TORCI_VFS_SIZE);

    *size = 0;
    return status == TORC_OK ? torci_file_size(file->inner, size) : status;
}

static enum torc_status
fault_truncate(struct torci_file *base, uint64_t size)
{
    struct fault_file *file = file_of(base);
    enum torc_status status = begin(file->fault, TORCI_VFS_TRUNCATE);

    return status == TORC_OK ? torci_file_truncate(file->inner, size) : status;
}

static enum torc_status
fault_allocate(struct torci_file *base, uint64_t size)
{
    struct fault_file *file = file_of(base);
    enum torc_status status = begin(file->fault, TORCI_VFS_ALLOCATE);
    uint64_t reach = 0;

    if (status == TORC_OK)
        status = take_growth(file, size, &reach);
    if (status == TORC_OK && reach < size)
        return fail(file->fault, TORCI_VFS_ALLOCATE, TORC_NO_SPACE);
    return status == TORC_OK ? torci_file_allocate(file->inner, size) : status;
}

static enum torc_status
fault_lock(struct torci_file *base)
{
    struct fault_file *file = file_of(base);
    enum torc_status status = begin(file->fault, TORCI_VFS_LOCK);

    return status == TORC_OK ? torci_file_lock(file->inner) : status;
}

/* ---- Names ---- */

static enum torc_status
fault_rename(struct torci_vfs *vfs, const char *from, const char *to)
{
    enum torc_status status = begin(fault_of(vfs), TORCI_VFS_RENAME);

    return status == TORC_OK ? torci_vfs_rename(fault_of(vfs)->inner, from, to) : status;
}

static enum torc_status
fault_remove(struct torci_vfs *vfs, const char *path)
{
    enum torc_status status = begin(fault_of(vfs), TORCI_VFS_REMOVE);

    return status == TORC_OK ? torci_vfs_remove(fault_of(vfs)->inner, path) : status;
}

static enum torc_status
fault_list(struct torci_vfs *vfs, const char *path, enum torc_status (*visit)(void *context, const char *name),
           void *context)
{
    enum torc_status status = begin(fault_of(vfs), TORCI_VFS_LIST);

    return status == TORC_OK ? torci_vfs_list(fault_of(vfs)->inner, path, visit, context) : status;
}

static enum torc_status
fault_make_directory(struct torci_vfs *vfs, const char *path)
{
    enum torc_status status = begin(fault_of(vfs), TORCI_VFS_MAKE_DIRECTORY);

    return status == TORC_OK ? torci_vfs_make_directory(fault_of(vfs)->inner, path) : status;
}

static enum torc_status
fault_sync_directory(struct torci_vfs *vfs, const char *path)
{
    enum torc_status status = begin(fault_of(vfs), TORCI_VFS_SYNC_DIRECTORY);

    return status == TORC_OK ? torci_vfs_sync_directory(fault_of(vfs)->inner, path) : status;
}

/* ---- The vfs ---- */

struct torci_vfs *
torci_vfs_fault_create(struct torci_heap *heap, struct torci_vfs *inner)
{
    static const struct torci_vfs calls = {
        .open = fault_open,
        .close = fault_close,
        .read = fault_read,
        .write = fault_write,
        .sync = fault_sync,
        .size = fault_size,
        .truncate = fault_truncate,
        .allocate = fault_allocate,
        .lock = fault_lock,
        .rename = fault_rename,
        .remove = fault_remove,
        .list = fault_list,
        .make_directory = fault_make_directory,
        .sync_directory = fault_sync_directory,
    };
    struct fault *fault = torci_alloc_zeroed(heap, sizeof(*fault));

    torc_assert(inner != NULL);

    if (fault == NULL)
        return NULL;
    fault->vfs = calls;
    fault->heap = heap;
    fault->inner = inner;
    for (unsigned operation = 0; operation < TORCI_VFS_OPERATIONS; operation++)
        torci_init(&fault->calls[operation], 0);
    torci_init(&fault->counted, 0);
    torci_init(&fault->failed, 0);
    torci_init(&fault->forbidden, 0);
    torci_init(&fault->space, UINT64_MAX);
    return &fault->vfs;
}

void
torci_vfs_fault_destroy(struct torci_vfs *vfs)
{
    if (vfs != NULL)
        torci_free(fault_of(vfs)->heap, vfs, sizeof(struct fault));
}

void
torci_vfs_fault_plan(struct torci_vfs *vfs, const struct torci_vfs_plan *plan)
{
    struct fault *fault = fault_of(vfs);

    torc_assert(plan == NULL || plan->status != TORC_OK || (plan->at == 0 && plan->one_in == 0));

    fault->plan = plan != NULL ? *plan : (struct torci_vfs_plan){0};
    torci_store(&fault->counted, 0, memory_order_relaxed);      /* Relaxed: nobody calls. */
}

void
torci_vfs_fault_space(struct torci_vfs *vfs, uint64_t bytes)
{
    torci_store(&fault_of(vfs)->space, bytes, memory_order_relaxed);        /* Relaxed: nobody calls. */
}

void
torci_vfs_fault_stop(struct torci_vfs *vfs, void (*stop_here)(void *context, enum torci_vfs_operation operation),
                     void *context)
{
    struct fault *fault = fault_of(vfs);

    fault->stop = stop_here;
    fault->stop_context = context;
}

uint64_t
torci_vfs_fault_calls(struct torci_vfs *vfs, unsigned mask)
{
    uint64_t calls = 0;

    for (unsigned operation = 0; operation < TORCI_VFS_OPERATIONS; operation++)
        if ((mask & TORCI_VFS_BIT(operation)) != 0)
            calls += torci_load(&fault_of(vfs)->calls[operation], memory_order_relaxed);    /* Relaxed: a counter. */
    return calls;
}

uint64_t
torci_vfs_fault_failed(struct torci_vfs *vfs)
{
    return torci_load(&fault_of(vfs)->failed, memory_order_relaxed);       /* Relaxed: a counter. */
}

uint64_t
torci_vfs_fault_forbidden(struct torci_vfs *vfs)
{
    return torci_load(&fault_of(vfs)->forbidden, memory_order_relaxed);    /* Relaxed: a counter. */
}

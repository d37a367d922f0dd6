/* SPDX-License-Identifier: MIT */
/* base/vfs_posix: files of the operating system.
 *
 *   durable write   pwritev2() with RWF_DSYNC: one call, and no more of the file is waited for than these bytes; where
 *                   the kernel or the file system does not know it: pwrite(), then fdatasync()
 *   sync            fdatasync(): it leaves out the times, never the size
 *   lock            flock(): belongs to the open file, so that a second handle of this process is refused as well
 *
 * Invariants  I1  after a write or a sync failed, the system is not asked to write or sync this file again: it marks
 *                 pages clean that it could not write, and says nothing of them the next time
 *             I2  a level of directories is durable before anything is made in it, so that of a path that exists only
 *                 the last name can be unknown to the disk
 * Threads     `poisoned` and `no_dsync` belong to whoever may write the file, one at a time (vfs.h). */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE     /* pwritev2(), fallocate(), strerror_r() */
#endif
#include "base/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

enum {
    MODE_FILE = 0600,                       /* A store's bytes are its owner's. */
    MODE_DIRECTORY = 0700,
    TRANSFER_MAX = 1 << 30,                 /* Bytes of one call; Linux moves at most a page less than 2 GiB. */
    ZEROS_SIZE = 64 * 1024,                 /* Written at a time where room cannot be reserved. */
    PATH_SHOWN_MAX = 100,                   /* Of a path's end in torc_detail(), so that the reason has room. */
};

struct posix_file {
    struct torci_file base;
    int fd;
    bool poisoned;                          /* I1. */
    bool no_dsync;                          /* RWF_DSYNC was refused. */
    bool locked;
    size_t bytes;                           /* Of this struct with its path. */
    char path[];                            /* For torc_detail(). */
};

/* Handles are the process's, as descriptors are. */
static struct torci_heap heap;
static pthread_once_t heap_once = PTHREAD_ONCE_INIT;

static void
init_heap(void)
{
    torci_heap_init(&heap, NULL, 0);
}

static struct posix_file *
posix_of(struct torci_file *file)
{
    torc_assert(file != NULL && file->vfs == torci_vfs_posix());
    return (struct posix_file *)file;
}

static enum torc_status
status_of(int error)
{
    switch (error) {
    case ENOENT:
        return TORC_NOT_FOUND;
    case EEXIST:
        return TORC_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return TORC_NO_SPACE;
    case ENOMEM:
        return TORC_NO_MEMORY;
    default:
        return TORC_IO;
    }
}

/* torc_detail() of a failure, with the end of the path. Answers (torc/base.h) leave it as it was. Keeps errno. */
static enum torc_status
fail(enum torc_status status, const char *operation, const char *path, const char *reason)
{
    size_t size = strlen(path);
    bool cut = size > PATH_SHOWN_MAX;

    if (status == TORC_NOT_FOUND || status == TORC_EXISTS)
        return status;
    return torci_fail(status, "%s %s%s: %s", operation, cut ? "..." : "", cut ? path + size - PATH_SHOWN_MAX : path,
                      reason);
}

/* As fail(), for what errno says. */
static enum torc_status
fail_errno(const char *operation, const char *path)
{
    int error = errno;
    char buffer[128];
    const char *reason = strerror_r(error, buffer, sizeof(buffer));

    errno = error;
    return fail(status_of(error), operation, path, reason);
}

static enum torc_status
fail_with(int error, const char *operation, const char *path)
{
    errno = error;
    return fail_errno(operation, path);
}

static enum torc_status
fail_poisoned(const char *operation, const struct posix_file *file)
{
    errno = EIO;
    return fail(TORC_IO, operation, file->path, "an earlier write or sync of it failed");
}

static void
close_quietly(int fd)
{
    int error = errno;

    (void)close(fd);
    errno = error;
}

/* ---- Files ---- */

/* A descriptor of a regular file, or -1 with errno. */
static int
open_regular(const char *path, int flags)
{
    struct stat about;
    int fd;

    do {
        fd = open(path, flags, MODE_FILE);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -1;

    if (fstat(fd, &about) != 0) {
        close_quietly(fd);
        return -1;
    }
    if (!S_ISREG(about.st_mode)) {
        (void)close(fd);
        errno = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    return fd;
}

static int
system_flags(unsigned flags)
{
    int system = O_CLOEXEC;

    system |= (flags & TORCI_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY;
    if ((flags & TORCI_OPEN_CREATE) != 0)
        system |= O_CREAT;
    if ((flags & TORCI_OPEN_EXCLUSIVE) != 0)
        system |= O_EXCL;
    if ((flags & TORCI_OPEN_TRUNCATE) != 0)
        system |= O_TRUNC;
    return system;
}

static enum torc_status
posix_open(struct torci_vfs *vfs, const char *path, unsigned flags, struct torci_file **file)
{
    size_t path_size = strlen(path) + 1;
    size_t bytes = sizeof(struct posix_file) + path_size;

    torc_assert((flags & TORCI_OPEN_WRITE) != 0 || flags == TORCI_OPEN_READ);
    torc_assert((flags & TORCI_OPEN_EXCLUSIVE) == 0 || (flags & TORCI_OPEN_CREATE) != 0);

    *file = NULL;
    struct posix_file *made = torci_alloc(&heap, bytes);
    if (made == NULL)
        return fail(TORC_NO_MEMORY, "open", path, "no memory");

    int fd = open_regular(path, system_flags(flags));
    if (fd < 0) {
        torci_free(&heap, made, bytes);
        return fail_errno("open", path);
    }

    *made = (struct posix_file){.base = {.vfs = vfs}, .fd = fd, .bytes = bytes};
    memcpy(made->path, path, path_size);
    *file = &made->base;
    return TORC_OK;
}

static enum torc_status
posix_close(struct torci_file *base)
{
    struct posix_file *file = posix_of(base);
    enum torc_status status = TORC_OK;

    /* By hand: a child of fork() may hold the open file a little longer. */
    if (file->locked)
        (void)flock(file->fd, LOCK_UN);
    if (close(file->fd) != 0 && errno != EINTR)     /* Linux has closed it either way. */
        status = fail_errno("close", file->path);
    torci_free(&heap, file, file->bytes);
    return status;
}

static enum torc_status
posix_read(struct torci_file *base, uint64_t offset, void *buffer, size_t size, size_t *done)
{
    struct posix_file *file = posix_of(base);
    size_t have = 0;

    torc_assert(buffer != NULL || size == 0);

    *done = 0;
    if (offset > INT64_MAX)
        return TORC_OK;
    if (size > INT64_MAX - offset)
        size = (size_t)(INT64_MAX - offset);
    while (have < size) {
        size_t wanted = size - have < TRANSFER_MAX ? size - have : TRANSFER_MAX;
        ssize_t got = pread(file->fd, (unsigned char *)buffer + have, wanted, (off_t)(offset + have));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno("read", file->path);
        if (got == 0)
            break;
        have += (size_t)got;
    }
    *done = have;
    return TORC_OK;
}

/* One transfer; what write() returns. With `durable`, and unless file->no_dsync is set by then, it is on disk. */
static ssize_t
write_some(struct posix_file *file, uint64_t offset, const void *data, size_t size, bool durable)
{
    size_t wanted = size < TRANSFER_MAX ? size : TRANSFER_MAX;

#if defined(RWF_DSYNC)
    if (durable && !file->no_dsync) {
        struct iovec part = {(void *)(uintptr_t)data, wanted};
        ssize_t put = pwritev2(file->fd, &part, 1, (off_t)offset, RWF_DSYNC);

        if (put >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
            return put;
    }
#endif
    if (durable)
        file->no_dsync = true;
    return pwrite(file->fd, data, wanted, (off_t)offset);
}

/* All bytes, or errno. */
static bool
write_all(struct posix_file *file, uint64_t offset, const void *data, size_t size, bool durable)
{
    size_t done = 0;

    if (offset > INT64_MAX || size > INT64_MAX - offset) {
        errno = EFBIG;
        return false;
    }
    while (done < size) {
        ssize_t put = write_some(file, offset + done, (const unsigned char *)data + done, size - done, durable);

        if (put < 0 && errno == EINTR)
            continue;
        if (put == 0)
            errno = EIO;    /* A system that takes nothing and gives no reason. */
        if (put <= 0)
            return false;
        done += (size_t)put;
    }
    return true;
}

static int
sync_data(int fd)
{
    int failed;

    do {
        failed = fdatasync(fd);
    } while (failed != 0 && errno == EINTR);
    return failed;
}

static enum torc_status
posix_write(struct torci_file *base, uint64_t offset, const void *data, size_t size, bool durable)
{
    struct posix_file *file = posix_of(base);

    torc_assert(data != NULL || size == 0);

    if (file->poisoned)
        return fail_poisoned("write", file);
    if (size == 0)
        return TORC_OK;
    if (write_all(file, offset, data, size, durable) && !(durable && file->no_dsync && sync_data(file->fd) != 0))
        return TORC_OK;

    file->poisoned = true;
    return fail_errno("write", file->path);
}

static enum torc_status
posix_sync(struct torci_file *base)
{
    struct posix_file *file = posix_of(base);

    if (file->poisoned)
        return fail_poisoned("sync", file);
    if (sync_data(file->fd) == 0)
        return TORC_OK;

    file->poisoned = true;
    return fail_errno("sync", file->path);
}

static enum torc_status
posix_size(struct torci_file *base, uint64_t *size)
{
    struct posix_file *file = posix_of(base);
    struct stat about;

    *size = 0;
    if (fstat(file->fd, &about) != 0)
        return fail_errno("stat", file->path);
    *size = (uint64_t)about.st_size;
    return TORC_OK;
}

static enum torc_status
posix_truncate(struct torci_file *base, uint64_t size)
{
    struct posix_file *file = posix_of(base);
    int failed;

    if (file->poisoned)
        return fail_poisoned("truncate", file);
    if (size > INT64_MAX)
        return fail_with(EFBIG, "truncate", file->path);
    do {
        failed = ftruncate(file->fd, (off_t)size);
    } while (failed != 0 && errno == EINTR);
    return failed == 0 ? TORC_OK : fail_errno("truncate", file->path);
}

/* Zeros behind the file's end, up to `size`. */
static enum torc_status
fill(struct posix_file *file, uint64_t size)
{
    static const unsigned char zeros[ZEROS_SIZE];
    uint64_t at;
    enum torc_status status = posix_size(&file->base, &at);

    while (status == TORC_OK && at < size) {
        size_t part = size - at < ZEROS_SIZE ? (size_t)(size - at) : ZEROS_SIZE;

        if (!write_all(file, at, zeros, part, false))
            return fail_errno("allocate", file->path);
        at += part;
    }
    return status;
}

static enum torc_status
posix_allocate(struct torci_file *base, uint64_t size)
{
    struct posix_file *file = posix_of(base);
    int failed;

    if (file->poisoned)
        return fail_poisoned("allocate", file);
    if (size == 0)
        return TORC_OK;
    if (size > INT64_MAX)
        return fail_with(EFBIG, "allocate", file->path);
    do {
        failed = fallocate(file->fd, 0, 0, (off_t)size);
    } while (failed != 0 && errno == EINTR);
    if (failed == 0)
        return TORC_OK;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return fill(file, size);
    return fail_errno("allocate", file->path);
}

static enum torc_status
posix_lock(struct torci_file *base)
{
    struct posix_file *file = posix_of(base);
    int failed;

    do {
        failed = flock(file->fd, LOCK_EX | LOCK_NB);
    } while (failed != 0 && errno == EINTR);
    if (failed == 0) {
        file->locked = true;
        return TORC_OK;
    }
    if (errno == EWOULDBLOCK)
        return fail(TORC_LOCKED, "lock", file->path, "another process, or another handle, has it");
    return fail_errno("lock", file->path);
}

/* ---- Names ---- */

static enum torc_status
posix_rename(struct torci_vfs *vfs, const char *from, const char *to)
{
    (void)vfs;
    return rename(from, to) == 0 ? TORC_OK : fail_errno("rename", from);
}

static enum torc_status
posix_remove(struct torci_vfs *vfs, const char *path)
{
    (void)vfs;
    return unlink(path) == 0 ? TORC_OK : fail_errno("remove", path);
}

static enum torc_status
posix_list(struct torci_vfs *vfs, const char *path, enum torc_status (*visit)(void *context, const char *name),
           void *context)
{
    DIR *directory = opendir(path);
    enum torc_status status = TORC_OK;

    (void)vfs;
    if (directory == NULL)
        return fail_errno("list", path);

    while (status == TORC_OK) {
        errno = 0;      /* The one way to tell the end from a failure. */
        const struct dirent *entry = readdir(directory);

        if (entry == NULL) {
            status = errno == 0 ? TORC_OK : fail_errno("list", path);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = visit(context, entry->d_name);
    }

    int error = errno;
    (void)closedir(directory);
    errno = error;
    return status;
}

static enum torc_status
posix_sync_directory(struct torci_vfs *vfs, const char *path)
{
    int fd;
    int failed;

    (void)vfs;
    do {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return fail_errno("sync", path);
    do {
        failed = fsync(fd);
    } while (failed != 0 && errno == EINTR);
    close_quietly(fd);
    /* EINVAL: a file system that syncs no directories; it has no other way to be asked. */
    return failed == 0 || errno == EINVAL ? TORC_OK : fail_errno("sync", path);
}

/* Where the part of `path` ends that begins at `at` or behind the slashes there; `at` or more slashes on if there is
 * none. */
static size_t
part_end(const char *path, size_t at)
{
    at += strspn(path + at, "/");
    return at + strcspn(path + at, "/");
}

static bool
is_directory(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* Sync the directory that holds `path`'s last name; `path` is spoiled. */
static enum torc_status
sync_parent(struct torci_vfs *vfs, char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL)
        return posix_sync_directory(vfs, ".");
    slash[slash == path ? 1 : 0] = '\0';
    return posix_sync_directory(vfs, path);
}

/* Make the directory that the first `end` bytes of `path` name, and its name durable (I2). */
static enum torc_status
make_level(struct torci_vfs *vfs, const char *path, size_t end)
{
    char level[TORCI_PATH_MAX];

    memcpy(level, path, end);
    level[end] = '\0';
    if (mkdir(level, MODE_DIRECTORY) == 0)
        return sync_parent(vfs, level);
    if (errno != EEXIST)
        return fail_errno("make", level);
    if (!is_directory(level))
        return fail_with(ENOTDIR, "make", level);

    /* Who made it may not have come to the sync. But if it is in a directory that this user may not read, it was
     * somebody else. */
    enum torc_status status = sync_parent(vfs, level);
    return status == TORC_IO && errno == EACCES ? TORC_OK : status;
}

/* Where the longest part of `path` ends that is a directory; 0: none. */
static size_t
existing_end(const char *path)
{
    char level[TORCI_PATH_MAX];
    size_t there = 0;

    for (size_t end = part_end(path, 0); end > there; end = part_end(path, end)) {
        memcpy(level, path, end);
        level[end] = '\0';
        if (!is_directory(level))
            break;
        there = end;
    }
    return there;
}

static enum torc_status
posix_make_directory(struct torci_vfs *vfs, const char *path)
{
    size_t size = strlen(path);
    enum torc_status status = TORC_OK;

    if (size >= TORCI_PATH_MAX)
        return fail_with(ENAMETOOLONG, "make", path);
    while (size > 1 && path[size - 1] == '/')
        size--;

    size_t end = existing_end(path);
    if (end == 0)
        end = part_end(path, 0);
    while (status == TORC_OK && end < size) {
        status = make_level(vfs, path, end);
        end = part_end(path, end);
    }
    return status == TORC_OK ? make_level(vfs, path, size) : status;
}

struct torci_vfs *
torci_vfs_posix(void)
{
    static struct torci_vfs posix = {
        .open = posix_open,
        .close = posix_close,
        .read = posix_read,
        .write = posix_write,
        .sync = posix_sync,
        .size = posix_size,
        .truncate = posix_truncate,
        .allocate = posix_allocate,
        .lock = posix_lock,
        .rename = posix_rename,
        .remove = posix_remove,
        .list = posix_list,
        .make_directory = posix_make_directory,
        .sync_directory = posix_sync_directory,
    };
    int failed = pthread_once(&heap_once, init_heap);

    torc_assert(failed == 0);
    (void)failed;
    return &posix;
}

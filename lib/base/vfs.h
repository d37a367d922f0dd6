/* SPDX-License-Identifier: MIT */
/* base/vfs: the file layer. Journals, checkpoints and tables touch files through this table of functions alone, so that
 * tests can let each of them fail, and cut the power between any two.
 *
 *   torci_vfs_posix()          the operating system
 *   base/vfs_memory            files in memory; knows what was synced, and what a power cut would leave
 *   base/vfs_fault             over either: errors by n-th call or by rate, short writes, a full disk, a sync that
 *                              fails and forgets
 *
 * What the layers above may count on
 *   Bytes written to a file survive a power cut once torci_file_sync() of that file, or a durable write of them,
 *   has returned TORC_OK; a file's name (made, renamed, removed) once torci_vfs_sync_directory() of its directory has.
 *   Before that, any part of it may be there, old or new, by sectors of 512 bytes.
 *   After a sync, a durable write, or a write has failed, the state of what was not durable is unknown, and the file
 *   must not be written or synced again: the system may have thrown the bytes away and call them clean. The posix
 *   driver holds that: each later write or sync of that file fails (TORC_IO).
 * Errors     TORC_NOT_FOUND (open, remove, rename, list: no such file), TORC_EXISTS (create exclusively), TORC_LOCKED
 *            (by another), TORC_NO_SPACE (a full disk, a quota), TORC_NO_MEMORY, TORC_IO (everything else).
 *            torc_detail() names the operation, the file and the system's reason, but for TORC_NOT_FOUND and
 *            TORC_EXISTS, which are answers and leave it as it was. With TORC_IO of the posix driver, errno is the
 *            system's.
 * Threads    A vfs: any number at once. A file: any number of reads at once; one write, sync or truncate at a time.
 * Paths      NUL-terminated, as the system takes them; '/' parts names. */
#ifndef TORCI_VFS_H
#define TORCI_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

enum { TORCI_PATH_MAX = 4096 };             /* Bytes of a path, its terminator included. */

enum torci_open_flags {
    TORCI_OPEN_READ = 0,                    /* Must exist; only read. */
    TORCI_OPEN_WRITE = 1u << 0,             /* Read and write. */
    TORCI_OPEN_CREATE = 1u << 1,            /* Made if it is not there. With WRITE. */
    TORCI_OPEN_EXCLUSIVE = 1u << 2,         /* With CREATE: TORC_EXISTS if it is there. */
    TORCI_OPEN_TRUNCATE = 1u << 3,          /* With WRITE: emptied. */
};

struct torci_vfs;

/* An open file; a driver's own struct begins with it. */
struct torci_file {
    const struct torci_vfs *vfs;
};

struct torci_vfs {
    enum torc_status (*open)(struct torci_vfs *vfs, const char *path, unsigned flags, struct torci_file **file);
    enum torc_status (*close)(struct torci_file *file);
    /* At most `size` bytes from `offset`; `*done` less than asked for only at the end of the file. */
    enum torc_status (*read)(struct torci_file *file, uint64_t offset, void *buffer, size_t size, size_t *done);
    /* All of `size` bytes at `offset`, or an error and an unknown part of them. `durable`: these bytes, and the file's
     * size if it grew, survive a power cut when it returns; says nothing of what was written before. */
    enum torc_status (*write)(struct torci_file *file, uint64_t offset, const void *data, size_t size, bool durable);
    enum torc_status (*sync)(struct torci_file *file);
    enum torc_status (*size)(struct torci_file *file, uint64_t *size);
    enum torc_status (*truncate)(struct torci_file *file, uint64_t size);
    /* Reserve room for the first `size` bytes, so that writes there need none; what was not written reads as zero, and
     * the file's size becomes `size` at least. TORC_NO_SPACE. Where the system cannot do it, zeros are written. */
    enum torc_status (*allocate)(struct torci_file *file, uint64_t size);
    /* Whoever locks a file has it until it is closed; another handle, of this or another process: TORC_LOCKED. */
    enum torc_status (*lock)(struct torci_file *file);
    /* Over `to`, if that exists, in one step. Within one directory. */
    enum torc_status (*rename)(struct torci_vfs *vfs, const char *from, const char *to);
    enum torc_status (*remove)(struct torci_vfs *vfs, const char *path);
    /* `visit` for each name in a directory but "." and "..", in any order, until it returns other than TORC_OK. It must
     * not call the vfs. */
    enum torc_status (*list)(struct torci_vfs *vfs, const char *path,
                             enum torc_status (*visit)(void *context, const char *name), void *context);
    /* Make a directory, and those above it; it may exist. Its own name is durable when this returns. */
    enum torc_status (*make_directory)(struct torci_vfs *vfs, const char *path);
    enum torc_status (*sync_directory)(struct torci_vfs *vfs, const char *path);
};

/* The operating system's files. Immutable, of the process. */
struct torci_vfs *torci_vfs_posix(void);

/* ---- Calls ---- */

static inline TORC_MUST_CHECK enum torc_status
torci_vfs_open(struct torci_vfs *vfs, const char *path, unsigned flags, struct torci_file **file)
{
    return vfs->open(vfs, path, flags, file);
}

static inline TORC_MUST_CHECK enum torc_status
torci_vfs_rename(struct torci_vfs *vfs, const char *from, const char *to)
{
    return vfs->rename(vfs, from, to);
}

static inline TORC_MUST_CHECK enum torc_status
torci_vfs_remove(struct torci_vfs *vfs, const char *path)
{
    return vfs->remove(vfs, path);
}

static inline TORC_MUST_CHECK enum torc_status
torci_vfs_list(struct torci_vfs *vfs, const char *path, enum torc_status (*visit)(void *context, const char *name),
               void *context)
{
    return vfs->list(vfs, path, visit, context);
}

static inline TORC_MUST_CHECK enum torc_status
torci_vfs_make_directory(struct torci_vfs *vfs, const char *path)
{
    return vfs->make_directory(vfs, path);
}

static inline TORC_MUST_CHECK enum torc_status
torci_vfs_sync_directory(struct torci_vfs *vfs, const char *path)
{
    return vfs->sync_directory(vfs, path);
}

/* The handle is gone whatever is returned. What was written and not synced may still fail later, unseen: sync first. */
static inline TORC_MUST_CHECK enum torc_status
torci_file_close(struct torci_file *file)
{
    return file->vfs->close(file);
}

/* As above, where nothing hangs on it: the file was only read, was synced, or is given up. NULL is ignored. */
static inline void
torci_file_drop(struct torci_file *file)
{
    if (file == NULL)
        return;

    enum torc_status ignored = file->vfs->close(file);
    (void)ignored;
}

static inline TORC_MUST_CHECK enum torc_status
torci_file_read(struct torci_file *file, uint64_t offset, void *buffer, size_t size, size_t *done)
{
    return file->vfs->read(file, offset, buffer, size, done);
}

static inline TORC_MUST_CHECK enum torc_status
torci_file_write(struct torci_file *file, uint64_t offset, const void *data, size_t size, bool durable)
{
    return file->vfs->write(file, offset, data, size, durable);
}

static inline TORC_MUST_CHECK enum torc_status
torci_file_sync(struct torci_file *file)
{
    return file->vfs->sync(file);
}

static inline TORC_MUST_CHECK enum torc_status
torci_file_size(struct torci_file *file, uint64_t *size)
{
    return file->vfs->size(file, size);
}

static inline TORC_MUST_CHECK enum torc_status
torci_file_truncate(struct torci_file *file, uint64_t size)
{
    return file->vfs->truncate(file, size);
}

static inline TORC_MUST_CHECK enum torc_status
torci_file_allocate(struct torci_file *file, uint64_t size)
{
    return file->vfs->allocate(file, size);
}

static inline TORC_MUST_CHECK enum torc_status
torci_file_lock(struct torci_file *file)
{
    return file->vfs->lock(file);
}

#endif

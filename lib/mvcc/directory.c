/* SPDX-License-Identifier: MIT */
/* mvcc/directory: the directory of a store. See directory.h.
 *
 *   IDENTITY   magic 8 | crc32c u32, masked, of what follows | format u32 | store id 16 | kind 8 | flags u32 | zeros
 *              64 bytes. Magic, checksum, format and kind stay where they are in every later format. */
#include "mvcc/directory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "base/status.h"
#include "base/time.h"

#define IDENTITY "IDENTITY"
#define IDENTITY_TMP "IDENTITY.tmp"
#define LOCK "LOCK"

static const char magic[8] = "torcstor";
static const char kind[8] = "mvcc";

enum {
    FORMAT = 1,
    IDENTITY_SIZE = 64,
    AT_CRC = 8,
    AT_FORMAT = 12,
    AT_ID = 16,
    AT_KIND = 32,
    AT_FLAGS = 40,
    FLAG_NEEDS_CHECKPOINT = 1,
    HEX_DIGITS = 16,
    NAME_SIZE_MAX = 40,                 /* Of a name of ours, its terminator included. */
    FOUND_FIRST = 16,
};
_Static_assert(AT_ID + TORCI_STORE_ID_SIZE == AT_KIND && AT_FLAGS + 4 <= IDENTITY_SIZE, "the fields follow each other");

/* ---- Names ---- */

enum sort { OTHER, JOURNAL, CHECKPOINT, SPARE, TMP };

static const struct {
    const char *prefix;
    enum sort sort;
} prefixes[] = {{"journal-", JOURNAL}, {"checkpoint-", CHECKPOINT}, {"spare-", SPARE}};

/* Exactly HEX_DIGITS lower-case digits at the start of `text`. */
static bool
parse_number(const char *text, uint64_t *number)
{
    *number = 0;
    for (unsigned i = 0; i < HEX_DIGITS; i++) {
        char digit = text[i];

        if (digit >= '0' && digit <= '9')
            *number = *number << 4 | (uint64_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            *number = *number << 4 | (uint64_t)(digit - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* What a name says. Numbers begin with 1. */
static enum sort
sort_of(const char *name, uint64_t *number)
{
    *number = 0;
    if (strcmp(name, IDENTITY_TMP) == 0)
        return TMP;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t size = strlen(prefixes[i].prefix);

        if (strncmp(name, prefixes[i].prefix, size) != 0 || !parse_number(name + size, number) || *number == 0)
            continue;
        if (name[size + HEX_DIGITS] == '\0')
            return prefixes[i].sort;
        if (strcmp(name + size + HEX_DIGITS, ".tmp") == 0)
            return TMP;
    }
    return OTHER;
}

enum torc_status
torci_directory_path(const struct torci_directory *directory, const char *name, char *out)
{
    int size = snprintf(out, TORCI_PATH_MAX, "%s/%s", directory->path, name);

    if (size >= 0 && size < TORCI_PATH_MAX)
        return TORC_OK;
    out[0] = '\0';
    return torci_fail(TORC_TOO_LARGE, "the path of the directory has more than %d bytes", TORCI_PATH_MAX);
}

/* ---- What is there ---- */

struct found {
    enum sort sort;
    uint64_t number;
    char name[NAME_SIZE_MAX];
};

/* What a look at all names finds. */
struct survey {
    struct torci_heap *heap;
    enum sort wanted;                   /* Of these each is kept in `found`. OTHER: none. */
    bool identity;
    bool ours;                          /* Journals, checkpoints, spares. */
    bool others;                        /* Anything that is not nothing yet. */
    uint64_t checkpoint_greatest;
    struct found *found;
    size_t count;
    size_t room;
};

static enum torc_status
keep(struct survey *survey, const char *name, enum sort sort, uint64_t number)
{
    if (survey->count == survey->room) {
        size_t room = survey->room == 0 ? FOUND_FIRST : survey->room * 2;
        struct found *more = torci_alloc(survey->heap, room * sizeof *more);

        if (more == NULL)
            return torci_fail(TORC_NO_MEMORY, "no memory for the names in a directory");
        if (survey->count > 0)
            memcpy(more, survey->found, survey->count * sizeof *more);
        torci_free(survey->heap, survey->found, survey->room * sizeof *more);
        survey->found = more;
        survey->room = room;
    }
    survey->found[survey->count] = (struct found){.sort = sort, .number = number};
    (void)snprintf(survey->found[survey->count].name, NAME_SIZE_MAX, "%s", name);
    survey->count++;
    return TORC_OK;
}

static enum torc_status
look_at_name(void *context, const char *name)
{
    struct survey *survey = context;
    uint64_t number;
    enum sort sort = sort_of(name, &number);

    survey->identity |= strcmp(name, IDENTITY) == 0;
    survey->ours |= sort == JOURNAL || sort == CHECKPOINT || sort == SPARE;
    survey->others |= strcmp(name, LOCK) != 0 && strcmp(name, IDENTITY_TMP) != 0 && strcmp(name, "lost+found") != 0;
    if (sort == CHECKPOINT && number > survey->checkpoint_greatest)
        survey->checkpoint_greatest = number;
    return sort != OTHER && sort == survey->wanted ? keep(survey, name, sort, number) : TORC_OK;
}

/* End with end_survey(), also after an error. TORC_MISSING: the directory is not there. */
static enum torc_status
begin_survey(const struct torci_directory *directory, enum sort wanted, struct survey *survey)
{
    enum torc_status status;

    *survey = (struct survey){.heap = directory->heap, .wanted = wanted};
    status = torci_vfs_list(directory->vfs, directory->path, look_at_name, survey);
    if (status == TORC_NOT_FOUND)
        return torci_fail(TORC_MISSING, "no directory %s", directory->path);
    return status;
}

static void
end_survey(struct survey *survey)
{
    torci_free(survey->heap, survey->found, survey->room * sizeof *survey->found);
}

enum torc_status
torci_directory_checkpoint(const struct torci_directory *directory, uint64_t *stamp)
{
    struct survey survey;
    enum torc_status status = begin_survey(directory, OTHER, &survey);

    *stamp = status == TORC_OK ? survey.checkpoint_greatest : 0;
    end_survey(&survey);
    return status;
}

/* Remove what the survey has kept, below `number`. */
static enum torc_status
remove_found(const struct torci_directory *directory, const struct survey *survey, uint64_t number)
{
    enum torc_status status = TORC_OK;
    char path[TORCI_PATH_MAX];

    for (size_t i = 0; status == TORC_OK && i < survey->count; i++) {
        if (survey->found[i].number >= number)
            continue;
        status = torci_directory_path(directory, survey->found[i].name, path);
        if (status == TORC_OK)
            status = torci_vfs_remove(directory->vfs, path);
    }
    return status;
}

enum torc_status
torci_directory_drop_checkpoints(const struct torci_directory *directory, uint64_t stamp)
{
    struct survey survey;
    enum torc_status status = begin_survey(directory, CHECKPOINT, &survey);

    if (status == TORC_OK)
        status = remove_found(directory, &survey, stamp);
    end_survey(&survey);
    return status;
}

/* ---- IDENTITY ---- */

static uint32_t
checksum(const unsigned char *bytes)
{
    return torci_crc32c_mask(torci_crc32c(0, bytes + AT_FORMAT, IDENTITY_SIZE - AT_FORMAT));
}

/* No two stores have the same id. Where the system has no random numbers, time and address have to do. */
static void
draw_id(unsigned char id[TORCI_STORE_ID_SIZE])
{
    uint64_t state = torci_now_ns() ^ torci_wall_ms() << 20 ^ (uint64_t)(uintptr_t)id;

    if (getentropy(id, TORCI_STORE_ID_SIZE) == 0)
        return;
    torci_fixed64_put(id, torci_splitmix64(&state));
    torci_fixed64_put(id + 8, torci_splitmix64(&state));
}

/* I1: the bytes are durable before the name is there, and the name before this returns. */
static enum torc_status
make_identity(struct torci_directory *directory, uint32_t flags)
{
    unsigned char bytes[IDENTITY_SIZE] = {0};
    char path[TORCI_PATH_MAX];
    char tmp[TORCI_PATH_MAX];
    struct torci_file *file;
    enum torc_status status;

    draw_id(directory->id);
    memcpy(bytes, magic, sizeof magic);
    torci_fixed32_put(bytes + AT_FORMAT, FORMAT);
    memcpy(bytes + AT_ID, directory->id, TORCI_STORE_ID_SIZE);
    memcpy(bytes + AT_KIND, kind, sizeof kind);
    torci_fixed32_put(bytes + AT_FLAGS, flags);
    torci_fixed32_put(bytes + AT_CRC, checksum(bytes));

    status = torci_directory_path(directory, IDENTITY, path);
    if (status == TORC_OK)
        status = torci_directory_path(directory, IDENTITY_TMP, tmp);
    if (status == TORC_OK)
        status = torci_vfs_open(directory->vfs, tmp, TORCI_OPEN_WRITE | TORCI_OPEN_CREATE | TORCI_OPEN_TRUNCATE, &file);
    if (status != TORC_OK)
        return status;
    status = torci_file_write(file, 0, bytes, sizeof bytes, false);
    if (status == TORC_OK)
        status = torci_file_sync(file);
    if (status == TORC_OK)
        status = torci_file_close(file);
    else
        torci_file_drop(file);
    if (status == TORC_OK)
        status = torci_vfs_rename(directory->vfs, tmp, path);
    if (status == TORC_OK)
        status = torci_vfs_sync_directory(directory->vfs, directory->path);
    directory->fresh = status == TORC_OK;
    directory->needs_checkpoint = (flags & FLAG_NEEDS_CHECKPOINT) != 0;
    return status;
}

/* What is wrong with bytes whose magic is not ours. */
static enum torc_status
judge_strange(const struct torci_directory *directory, const unsigned char *bytes, size_t size)
{
    if (size == IDENTITY_SIZE && torci_fixed32_get(bytes + AT_CRC) == checksum(bytes))
        return torci_fail(TORC_CORRUPT, IDENTITY ": its first bytes are damaged, in %s", directory->path);
    return torci_fail(TORC_FOREIGN, IDENTITY " is not of a store, in %s", directory->path);
}

static enum torc_status
judge_identity(struct torci_directory *directory, const unsigned char *bytes, size_t size)
{
    uint32_t format;

    if (size < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0)
        return size == 0 ? torci_fail(TORC_CORRUPT, IDENTITY " is empty, in %s", directory->path)
                         : judge_strange(directory, bytes, size);
    if (size != IDENTITY_SIZE)
        return torci_fail(TORC_CORRUPT, IDENTITY " has not %d bytes, in %s", IDENTITY_SIZE, directory->path);
    if (torci_fixed32_get(bytes + AT_CRC) != checksum(bytes))
        return torci_fail(TORC_CORRUPT, IDENTITY ": wrong checksum, in %s", directory->path);
    if (memcmp(bytes + AT_KIND, kind, sizeof kind) != 0)
        return torci_fail(TORC_FOREIGN, "a store of kind \"%.*s\", not \"%s\", in %s", (int)sizeof kind,
                          (const char *)bytes + AT_KIND, kind, directory->path);
    format = torci_fixed32_get(bytes + AT_FORMAT);
    if (format != FORMAT)
        return torci_fail(TORC_FOREIGN, "a store of format %u, not %d, in %s", (unsigned)format, FORMAT,
                          directory->path);
    memcpy(directory->id, bytes + AT_ID, TORCI_STORE_ID_SIZE);
    directory->needs_checkpoint = (torci_fixed32_get(bytes + AT_FLAGS) & FLAG_NEEDS_CHECKPOINT) != 0;
    return TORC_OK;
}

static enum torc_status
read_identity(struct torci_directory *directory)
{
    unsigned char bytes[IDENTITY_SIZE + 1];      /* One more: to see that there is none. */
    char path[TORCI_PATH_MAX];
    struct torci_file *file;
    enum torc_status status = torci_directory_path(directory, IDENTITY, path);
    size_t size = 0;

    if (status == TORC_OK)
        status = torci_vfs_open(directory->vfs, path, TORCI_OPEN_READ, &file);
    if (status != TORC_OK)
        return status == TORC_NOT_FOUND ? torci_fail(TORC_MISSING, "gone: %s", path) : status;
    status = torci_file_read(file, 0, bytes, sizeof bytes, &size);
    torci_file_drop(file);
    return status == TORC_OK ? judge_identity(directory, bytes, size) : status;
}

/* ---- Opening ---- */

static enum torc_status
take_lock(struct torci_directory *directory, enum torci_directory_mode mode)
{
    char path[TORCI_PATH_MAX];
    enum torc_status status = torci_directory_path(directory, LOCK, path);
    bool make = mode != TORCI_DIRECTORY_VERIFY;

    /* Who only reads also may where nothing can be written. */
    if (status == TORC_OK && !make)
        status = torci_vfs_open(directory->vfs, path, TORCI_OPEN_READ, &directory->lock);
    if (status == TORC_NOT_FOUND || (status == TORC_OK && make))
        status = torci_vfs_open(directory->vfs, path, TORCI_OPEN_WRITE | TORCI_OPEN_CREATE, &directory->lock);
    if (status != TORC_OK) {
        directory->lock = NULL;
        return status;
    }
    status = torci_file_lock(directory->lock);
    return status == TORC_LOCKED ? torci_fail(TORC_LOCKED, "open already: %s", directory->path) : status;
}

/* Whether there is anything to open, and room to make something: before anything is made, and under the lock. */
static enum torc_status
judge_survey(const struct torci_directory *directory, const struct survey *survey, enum torci_directory_mode mode)
{
    if (mode == TORCI_DIRECTORY_FRESH)
        return survey->others ? torci_fail(TORC_EXISTS, "there is something in %s", directory->path) : TORC_OK;
    if (survey->identity)
        return TORC_OK;
    if (survey->ours)
        return torci_fail(TORC_MISSING, "no " IDENTITY " beside the files of a store, in %s", directory->path);
    if (mode == TORCI_DIRECTORY_VERIFY)
        return torci_fail(TORC_MISSING, "no store in %s", directory->path);
    return TORC_OK;
}

/* What there is before the lock file is: so that it is not put where nothing will come of it. */
static enum torc_status
approach(const struct torci_directory *directory, enum torci_directory_mode mode)
{
    struct survey survey;
    enum torc_status status = TORC_OK;

    if (mode != TORCI_DIRECTORY_VERIFY)
        status = torci_vfs_make_directory(directory->vfs, directory->path);
    if (status != TORC_OK)
        return status;
    status = begin_survey(directory, OTHER, &survey);
    if (status == TORC_OK)
        status = judge_survey(directory, &survey, mode);
    end_survey(&survey);
    return status;
}

/* With the lock. */
static enum torc_status
enter(struct torci_directory *directory, enum torci_directory_mode mode)
{
    struct survey survey;
    enum torc_status status = begin_survey(directory, TMP, &survey);

    if (status == TORC_OK)
        status = judge_survey(directory, &survey, mode);
    if (status == TORC_OK)
        status = survey.identity ? read_identity(directory)
                                 : make_identity(directory, mode == TORCI_DIRECTORY_FRESH ? FLAG_NEEDS_CHECKPOINT : 0);
    if (status == TORC_OK && mode == TORCI_DIRECTORY_OPEN && !directory->fresh)
        status = remove_found(directory, &survey, UINT64_MAX);
    end_survey(&survey);
    return status;
}

/* Keep the path; a relative one of the system's files as an absolute one: the process may go elsewhere. */
static enum torc_status
keep_path(struct torci_directory *directory, const char *path)
{
    bool relative = path[0] != '/' && directory->vfs == torci_vfs_posix();
    size_t size = strlen(path);
    size_t front;

    if (relative && getcwd(directory->path, sizeof directory->path) == NULL)
        return errno == ERANGE ? torci_fail(TORC_TOO_LARGE, "the path of the working directory is too long")
                               : torci_fail(TORC_IO, "the working directory cannot be told");
    front = relative ? strlen(directory->path) + 1 : 0;
    if (front + size + NAME_SIZE_MAX > TORCI_PATH_MAX)
        return torci_fail(TORC_TOO_LARGE, "the path of the directory has %zu bytes", front + size);
    if (relative)
        directory->path[front - 1] = '/';
    memcpy(directory->path + front, path, size + 1);
    return TORC_OK;
}

enum torc_status
torci_directory_open(struct torci_directory *directory, struct torci_heap *heap, struct torci_vfs *vfs,
                     const char *path, enum torci_directory_mode mode)
{
    enum torc_status status;

    torc_assert(path[0] != '\0');
    memset(directory, 0, sizeof *directory);
    directory->heap = heap;
    directory->vfs = vfs;
    status = keep_path(directory, path);
    if (status == TORC_OK)
        status = approach(directory, mode);
    if (status == TORC_OK)
        status = take_lock(directory, mode);
    if (status == TORC_OK)
        status = enter(directory, mode);
    if (status != TORC_OK)
        torci_directory_close(directory);
    return status;
}

void
torci_directory_close(struct torci_directory *directory)
{
    torci_file_drop(directory->lock);
    directory->lock = NULL;
}

/* SPDX-License-Identifier: MIT */
/* mvcc/merge: versions, and merging into them. See merge.h. */
#include "mvcc/merge.h"

#include "base/assert.h"
#include "base/codec.h"
#include "base/status.h"

/* ---- Versions ---- */

struct torci_version *
torci_version_reserve(struct torci_shard *shard, size_t size, uint64_t expires, uint32_t flags)
{
    size_t prefix = expires != UINT64_MAX ? sizeof expires : 0;
    struct torci_version *version = torci_object_alloc(&shard->slab, torci_version_bytes((uint32_t)(prefix + size)));

    torc_assert(size <= TORC_VALUE_SIZE_MAX);
    torc_assert(flags <= TORCI_VERSION_EXPIRED && (prefix == 0 || (flags & TORCI_VERSION_TOMBSTONE) == 0));
    if (version == NULL)
        return NULL;
    torci_init(&version->stamp, (uint64_t)TORCI_STAMP_PENDING);
    torci_init(&version->older, NULL);
    torci_version_describe(version, prefix + size, prefix > 0 ? TORCI_VERSION_EXPIRES : flags);
    if (prefix > 0)
        memcpy(version->bytes, &expires, sizeof expires);
    torci_count(&shard->counters.versions_created, 1);
    return version;
}

struct torci_version *
torci_version_create(struct torci_shard *shard, struct torc_slice value, uint64_t expires, uint32_t flags)
{
    struct torci_version *version = torci_version_reserve(shard, value.size, expires, flags);

    if (version != NULL && value.size > 0)
        memcpy(version->bytes + (version->size - value.size), value.data, value.size);
    return version;
}

struct torci_version *
torci_version_copy(struct torci_shard *shard, const struct torci_version *version)
{
    struct torci_version *copy =
        torci_version_create(shard, torci_version_value(version), torci_version_expires(version), version->flags);

    torc_assert(copy == NULL || (copy->size == version->size && copy->flags == version->flags));
    return copy;
}

void
torci_version_destroy(struct torci_shard *shard, struct torci_version *version)
{
    torci_object_free(&shard->store->objects, version, torci_version_bytes(version->size));
    torci_count_shared(&shard->counters.versions_freed, 1);
}

void
torci_version_drop(struct torc_mvcc *store, struct torci_shard *shard, struct torci_version *version)
{
    if (shard != NULL)
        torci_version_destroy(shard, version);
    else
        torci_object_free(&store->objects, version, torci_version_bytes(version->size));
}

/* ---- Merging ---- */

struct torc_merge_output {
    struct torci_shard *shard;
    uint64_t expires;
    struct torci_version *version;      /* NULL: nothing asked for yet, or refused. */
    bool told;                          /* torc_detail() tells why it was refused. */
};

static enum torc_status
refuse(struct torc_merge_output *output, enum torc_status status, const char *why)
{
    output->told = true;
    return torci_fail(status, "%s", why);
}

void *
torc_merge_output(struct torc_merge_output *output, size_t size)
{
    struct torci_version *version;

    if (output == NULL)
        return NULL;
    version = output->version;
    if (version != NULL && torci_version_value(version).size == size)
        return version->bytes + (version->size - size);
    if (version != NULL)
        torci_version_destroy(output->shard, version);
    output->version = NULL;
    if (size > TORC_VALUE_SIZE_MAX) {
        (void)refuse(output, TORC_TOO_LARGE, "a merged value is past its greatest size");
        return NULL;
    }
    version = torci_version_reserve(output->shard, size, output->expires, 0);
    if (version == NULL) {
        (void)refuse(output, TORC_NO_MEMORY, "no memory for a merged value");
        return NULL;
    }
    output->version = version;
    return version->bytes + (version->size - size);
}

/* What an operator returned may be anything; what a call of ours returns is one of these. */
static bool
is_status(enum torc_status status)
{
    switch (status) {
    case TORC_OK:
#define IS_STATUS(name, value, message) case TORC_##name:
    TORC_STATUS_OUTCOMES(IS_STATUS)
    TORC_STATUS_FAULTS(IS_STATUS)
#undef IS_STATUS
        return true;
    }
    return false;
}

/* These leave torc_detail() as it was. */
static bool
is_answer(enum torc_status status)
{
    return status == TORC_NOT_FOUND || status == TORC_EXISTS || status == TORC_MISMATCH || status == TORC_END;
}

/* One step; output->version is the result, private. */
static enum torc_status
merge_one(struct torc_merge_output *output, const struct torci_merge *merge, const struct torc_slice *current)
{
    const struct torc_merge_operator *operation = merge->operation;
    const char *name = operation->name != NULL ? operation->name : "without a name";
    enum torc_status status;

    output->version = NULL;
    output->told = false;
    status = operation->merge(operation->context, current, merge->operand, output);
    if (status == TORC_OK && output->version != NULL)
        return TORC_OK;
    if (output->version != NULL)
        torci_version_destroy(output->shard, output->version);
    if (status == TORC_OK)
        return torci_fail(TORC_INVALID, "the merge operator %s gave no result", name);
    if (!is_status(status))
        return torci_fail(TORC_INVALID, "the merge operator %s returned %d, which is no status", name, (int)status);
    return output->told || is_answer(status) ? status : torci_fail(status, "the merge operator %s refused", name);
}

enum torc_status
torci_merge_apply(struct torci_shard *shard, const struct torci_merge *merges, const struct torci_version *base,
                  struct torci_moment *moment, struct torci_version **version)
{
    bool shown = torci_version_shows(base, moment);
    struct torc_slice current = shown ? torci_version_value(base) : torc_slice(NULL, 0);
    struct torc_merge_output output = {shard, shown ? torci_version_expires(base) : UINT64_MAX, NULL, false};

    torc_assert(merges != NULL);
    *version = NULL;
    for (const struct torci_merge *merge = merges; merge != NULL; merge = merge->next) {
        enum torc_status status = merge_one(&output, merge, shown ? &current : NULL);

        if (*version != NULL)
            torci_version_destroy(shard, *version);
        *version = status == TORC_OK ? output.version : NULL;
        if (status != TORC_OK)
            return status;
        current = torci_version_value(*version);
        shown = true;
    }
    return TORC_OK;
}

/* ---- The operators that come with the library ---- */

enum choice { SUM, LEAST, GREATEST };

/* Two's complement, so that unsigned arithmetic wraps as wanted; comparisons are signed. */
static enum torc_status
merge_integers(const struct torc_slice *current, struct torc_slice operand, struct torc_merge_output *output,
               enum choice choice)
{
    uint64_t left;
    uint64_t right;
    bool less;
    void *place;

    if (operand.size != sizeof left || (current != NULL && current->size != sizeof left))
        return refuse(output, TORC_INVALID, "a value or an operand is no integer of 8 bytes");
    right = torci_fixed64_get(operand.data);
    left = current != NULL ? torci_fixed64_get(current->data) : choice == SUM ? 0 : right;
    less = (int64_t)left < (int64_t)right;
    place = torc_merge_output(output, sizeof left);
    if (place == NULL)
        return TORC_NO_MEMORY;
    torci_fixed64_put(place, choice == SUM ? left + right : (choice == LEAST) == less ? left : right);
    return TORC_OK;
}

static enum torc_status
add(void *context, const struct torc_slice *current, struct torc_slice operand, struct torc_merge_output *output)
{
    (void)context;
    return merge_integers(current, operand, output, SUM);
}

static enum torc_status
min(void *context, const struct torc_slice *current, struct torc_slice operand, struct torc_merge_output *output)
{
    (void)context;
    return merge_integers(current, operand, output, LEAST);
}

static enum torc_status
max(void *context, const struct torc_slice *current, struct torc_slice operand, struct torc_merge_output *output)
{
    (void)context;
    return merge_integers(current, operand, output, GREATEST);
}

static enum torc_status
append(void *context, const struct torc_slice *current, struct torc_slice operand, struct torc_merge_output *output)
{
    size_t before = current != NULL ? current->size : 0;
    unsigned char *place = torc_merge_output(output, before + operand.size);

    (void)context;
    if (place == NULL)
        return before + operand.size > TORC_VALUE_SIZE_MAX ? TORC_TOO_LARGE : TORC_NO_MEMORY;
    if (before > 0)
        memcpy(place, current->data, before);
    if (operand.size > 0)
        memcpy(place + before, operand.data, operand.size);
    return TORC_OK;
}

const struct torc_merge_operator torc_merge_add = {"add", add, NULL};
const struct torc_merge_operator torc_merge_min = {"min", min, NULL};
const struct torc_merge_operator torc_merge_max = {"max", max, NULL};
const struct torc_merge_operator torc_merge_append = {"append", append, NULL};

/* SPDX-License-Identifier: MIT */
/* mvcc/batch: the records of a batch and their operations, as bytes (mvcc/segment.h, docs/formats.md). What is read has
 * a right checksum, but is checked all the same: no size is trusted, and what is left over is damage. */
#include "mvcc/segment.h"

#include <string.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/status.h"

enum { STAMP_SIZE = 8, EXPIRES_SIZE = 8, KIND_SIZE = 1 };

static size_t
bytes_size(struct torc_slice bytes)
{
    return torci_varint_size(bytes.size) + bytes.size;
}

static unsigned char *
bytes_put(unsigned char *out, struct torc_slice bytes)
{
    out += torci_varint64_put(out, bytes.size);
    if (bytes.size > 0)
        memcpy(out, bytes.data, bytes.size);
    return out + bytes.size;
}

static enum torc_status
bytes_take(struct torc_slice *input, struct torc_slice *bytes)
{
    uint64_t size;
    enum torc_status status = torci_varint64_take(input, &size);

    return status == TORC_OK ? torci_bytes_take(input, size, bytes) : status;
}

size_t
torci_op_size(const struct torci_op *op)
{
    size_t size = KIND_SIZE + torci_varint_size(op->keyspace);

    torc_assert(op->kind >= TORCI_OP_PUT && op->kind <= TORCI_OP_DROP);
    switch (op->kind) {
    case TORCI_OP_PUT:
        return size + bytes_size(op->key) + bytes_size(op->value);
    case TORCI_OP_PUT_EXPIRING:
        return size + bytes_size(op->key) + bytes_size(op->value) + EXPIRES_SIZE;
    case TORCI_OP_DELETE:
    case TORCI_OP_CREATE:
        return size + bytes_size(op->key);
    case TORCI_OP_DROP:
        return size;
    }
    return size;
}

unsigned char *
torci_op_put(unsigned char *out, const struct torci_op *op)
{
    torc_assert(op->kind >= TORCI_OP_PUT && op->kind <= TORCI_OP_DROP);

    *out++ = (unsigned char)op->kind;
    out += torci_varint64_put(out, op->keyspace);
    if (op->kind != TORCI_OP_DROP)
        out = bytes_put(out, op->key);
    if (op->kind == TORCI_OP_PUT || op->kind == TORCI_OP_PUT_EXPIRING)
        out = bytes_put(out, op->value);
    if (op->kind == TORCI_OP_PUT_EXPIRING) {
        torci_fixed64_put(out, op->expires);
        out += EXPIRES_SIZE;
    }
    return out;
}

void
torci_record_prefix_put(unsigned char *out, uint32_t ops_size, uint64_t stamp)
{
    torc_assert(ops_size <= UINT32_MAX - STAMP_SIZE);

    torci_fixed32_put(out, ops_size + STAMP_SIZE);
    torci_fixed64_put(out + TORCI_RECORD_PREFIX - STAMP_SIZE, stamp);
}

enum torc_status
torci_batch_next(struct torc_slice *batch, uint64_t *stamp, struct torc_slice *ops)
{
    uint32_t size;
    struct torc_slice record;

    *stamp = 0;
    *ops = torc_slice(NULL, 0);
    if (batch->size == 0)
        return TORC_END;
    if (torci_fixed32_take(batch, &size) != TORC_OK || torci_bytes_take(batch, size, &record) != TORC_OK ||
        torci_fixed64_take(&record, stamp) != TORC_OK)
        return torci_fail(TORC_CORRUPT, "journal: a record is cut off");
    *ops = record;
    return TORC_OK;
}

/* The operation behind its kind. */
static enum torc_status
op_take(struct torc_slice *ops, struct torci_op *op)
{
    enum torc_status status = torci_varint64_take(ops, &op->keyspace);

    if (status == TORC_OK && op->kind != TORCI_OP_DROP)
        status = bytes_take(ops, &op->key);
    if (status == TORC_OK && (op->kind == TORCI_OP_PUT || op->kind == TORCI_OP_PUT_EXPIRING))
        status = bytes_take(ops, &op->value);
    if (status == TORC_OK && op->kind == TORCI_OP_PUT_EXPIRING)
        status = torci_fixed64_take(ops, &op->expires);
    return status;
}

enum torc_status
torci_op_next(struct torc_slice *ops, struct torci_op *op)
{
    struct torc_slice kind;

    memset(op, 0, sizeof(*op));
    if (ops->size == 0)
        return TORC_END;
    if (torci_bytes_take(ops, KIND_SIZE, &kind) != TORC_OK)
        return TORC_CORRUPT;

    unsigned char number = *(const unsigned char *)kind.data;
    if (number < TORCI_OP_PUT || number > TORCI_OP_DROP)
        return torci_fail(TORC_CORRUPT, "journal: an operation of kind %u", (unsigned)number);
    op->kind = (enum torci_op_kind)number;
    if (op_take(ops, op) == TORC_OK)
        return TORC_OK;
    memset(op, 0, sizeof(*op));
    return torci_fail(TORC_CORRUPT, "journal: an operation is cut off");
}

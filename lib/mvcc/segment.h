/* SPDX-License-Identifier: MIT */
/* mvcc/segment: the journal's files: their bytes (docs/formats.md), writing frames, reading them back.
 *
 *   segment   header | frame | frame | frame | zeros ...            frame   header | part of a batch
 *   batch     the payloads of frames up to one that is marked CUT: records, one per commit
 *
 * Files      segment.c writes, segment_scan.c reads, batch.c has the records, frame.c the bytes of headers and names.
 * Invariants
 *   I1  Frames are numbered without a gap over all segments and lives of a store; who reads them finds a gap, a missing
 *       segment, or a frame of another segment or of an earlier life. All frames of a batch are of one life.
 *   I2  A segment's file, zeroed, and its header are durable, name included, before it is referred to (LAST); and all
 *       of a segment is, LAST included, before the first frame of the next one is written.
 *   I3  A frame that has been acknowledged is never mistaken for a torn tail once anything was flushed after it, or the
 *       store was closed in order: later frames tell how far all was durable (`synced`).
 *   I4  `synced` is always the end of a batch (or of the empty LAST behind one). So a frame that says synced >= n, read
 *       where the batch of frame n is not complete, proves damage; no crash makes one.
 *   I5  Each frame tells the number of its segment's first frame (`first`): a segment whose first frame is damaged
 *       still tells where it belongs.
 *   I6  After a crash the store goes on behind the last complete batch, with a greater life than any frame there. What
 *       is left behind that place is of a smaller life, and later segments are taken away before anything is appended.
 * How the end of a journal is judged
 *   The first place that does not hold the expected frame, and all segments behind it, are searched for frames that
 *   prove (I4) that more was durable there: then TORC_CORRUPT. Otherwise it is a torn tail, and the journal ends with
 *   the last complete batch. Moreover
 *     a segment's header is bad             TORC_CORRUPT: by I2 no crash leaves one. A right one of another store, or
 *                                           of another format: TORC_FOREIGN
 *     a file is shorter than its header     TORC_CORRUPT by I2, unless its frames go on to LAST, or to where a later
 *     says                                  segment takes over, within what is there
 *     a number is missing between two; or   TORC_MISSING
 *     behind LAST; or `from` is not there
 *     a segment begins with a number that   the one before it had failed (torci_segment_writer_restart()): its frames
 *     has been already                      from that number on do not count
 * No atomics: one thread at a time. */
#ifndef TORCI_MVCC_SEGMENT_H
#define TORCI_MVCC_SEGMENT_H

#include <torc/base.h>

#include "base/alloc.h"
#include "base/vfs.h"

enum {
    TORCI_SEGMENT_HEADER = 4096,
    TORCI_FRAME_HEADER = 64,
#if defined(TORC_TINY)
    TORCI_FRAME_PAYLOAD_MAX = 512,
    TORCI_SEGMENT_SIZE = 16 * 1024,
#else
    TORCI_FRAME_PAYLOAD_MAX = 1024 * 1024,
    TORCI_SEGMENT_SIZE = 64 * 1024 * 1024,
#endif
    TORCI_STORE_ID_SIZE = 16,
};

enum torci_frame_flags {
    TORCI_FRAME_CUT = 1u << 0,           /* The batch ends here. */
    TORCI_FRAME_LAST = 1u << 1,          /* The segment ends here, and the next one exists. Never with CUT. */
    TORCI_FRAME_BEGIN = 1u << 2,         /* The batch begins here. An empty LAST between two batches has it not. */
};

/* ---- Writing ---- */

/* Where a journal is, and what it writes with. The caller sets what stands before `synced`. */
struct torci_segment_writer {
    struct torci_heap *heap;
    struct torci_vfs *vfs;
    char directory[TORCI_PATH_MAX];
    unsigned char store_id[TORCI_STORE_ID_SIZE];
    uint32_t life;                       /* Greater than of any frame there is. */
    uint64_t seq;                        /* Of the next frame. */
    uint64_t synced;                     /* The greatest number that is known to be durable, a batch's end. */
    struct torci_file *file;             /* The current segment. */
    uint64_t number;
    uint64_t salt;
    uint64_t size;
    uint64_t first;                      /* The number of its first frame. */
    uint64_t offset;                     /* Of the next frame. */
    struct torci_file *next;             /* Being prepared, or NULL. */
    uint64_t next_salt;                  /* Once it is ready. */
    uint64_t next_zeroed;                /* Bytes of it that are filled. */
    bool next_ready;                     /* Its header and name are durable. */
    unsigned char *buffer;               /* A frame: header and TORCI_FRAME_PAYLOAD_MAX. */
    size_t filled;                       /* Of its payload. */
    bool open;                           /* Frames of the batch were written. */
    bool unsynced;                       /* And some of them without being durable. */
    enum torc_status failed;             /* Not TORC_OK: nothing may be written any more. */
};

/* Go on in segment `number` at `offset` (0: a fresh segment is made; number 0 counts as 1), with frame `seq`, as a scan
 * has found them. All before it is made durable; later segments are taken away. Errors of the vfs, TORC_NO_MEMORY, and
 * TORC_CORRUPT and TORC_FOREIGN if the header is not what it was: then a scan finds what it has found before. */
TORC_MUST_CHECK enum torc_status torci_segment_writer_init(struct torci_segment_writer *writer, uint64_t number,
                                                           uint64_t salt, uint64_t offset);
/* Close the files, free the buffer. */
void torci_segment_writer_fini(struct torci_segment_writer *writer);

/* Append bytes to the batch; frames are written as they fill. After an error the writer has failed, and each later call
 * returns that error. */
TORC_MUST_CHECK enum torc_status torci_segment_append(struct torci_segment_writer *writer, const void *data,
                                                      size_t size);

/* End the batch with its cut and make it durable. An empty batch writes an empty frame, by which all earlier ones
 * become provable (I3): the last thing an orderly close does. On TORC_OK `synced` is the last frame's number. One
 * durable write if the batch is one frame. */
TORC_MUST_CHECK enum torc_status torci_segment_cut(struct torci_segment_writer *writer, uint64_t cut);

/* End the current segment, unless it is empty, and go on in the next one. Between batches. If that one cannot be made
 * the writer has not failed: the current one goes on. */
TORC_MUST_CHECK enum torc_status torci_segment_rotate(struct torci_segment_writer *writer);

/* A bounded part of making the next segment ready (zeroing, or taking a spare one), once a quarter of the current one
 * is used: for a thread that has a moment. An error is not one of the writer; the next segment is then made when it is
 * needed. */
void torci_segment_prepare(struct torci_segment_writer *writer);

/* After the writer has failed: leave the current segment as it is and begin another one, whose first frame follows the
 * last durable one; the batch that failed is forgotten. After an error the writer still has failed: try again. */
TORC_MUST_CHECK enum torc_status torci_segment_writer_restart(struct torci_segment_writer *writer);

/* Take segments with numbers less than `number` out of the journal: they become spares, or are removed. A batch may lie
 * across segments: none may be taken that has a part of a batch which is still needed (torci_segment_info.cut). */
TORC_MUST_CHECK enum torc_status torci_segments_recycle(struct torci_segment_writer *writer, uint64_t number);

/* ---- Reading ---- */

/* What is known of one segment that was read. */
struct torci_segment_info {
    uint64_t number;
    uint64_t salt;
    uint64_t first_seq;                  /* 0: it has no frame. */
    uint64_t cut;                        /* Of the last complete batch that has a part in it; 0: none. */
    uint64_t size;                       /* By its header. */
    uint64_t end;                        /* Bytes of it that may be read: its size, or its file's if that is shorter. */
    bool cut_short;                      /* The file is. */
    uint64_t synced;                     /* The greatest in it, if it has no first frame. */
};

/* The state of the journal as it was read, and where to go on. */
struct torci_journal_scan {
    uint64_t segments;
    uint64_t from;                       /* The least segment. */
    uint64_t number;                     /* Where to go on, behind the last complete batch. 0: there is no segment. */
    uint64_t salt;
    uint64_t offset;
    uint64_t seq;                        /* Of the next frame; 1 if there is none. */
    uint32_t life;                       /* The greatest, of whatever frames there are. */
    uint64_t cut;                        /* 0: no batch. */
    uint64_t batches;
    uint64_t frame_bytes;                /* Up to there. */
    uint64_t torn_bytes;                 /* Of what was written behind it, as far as it can be told. */
    struct torci_segment_info *infos;    /* One for each segment; torci_journal_scan_fini(). */
    size_t infos_room;
};

/* Read the segments from number `from` on (0: from the least there is, if any), in order, check everything, and find
 * the last cut. `visit`, if not NULL, gets each complete batch: its payload, borrowed until it returns. A batch whose
 * beginning lies in a segment before `from` is not shown. TORC_CORRUPT, TORC_MISSING, TORC_FOREIGN, TORC_IO,
 * TORC_NO_MEMORY, or what `visit` returned; torc_detail() names file and offset. `*scan` is empty then. Takes memory
 * for 4 MiB of a segment, and for one batch if that has several frames. */
TORC_MUST_CHECK enum torc_status
torci_journal_scan(struct torci_heap *heap, struct torci_vfs *vfs, const char *directory,
                   const unsigned char store_id[TORCI_STORE_ID_SIZE], uint64_t from,
                   enum torc_status (*visit)(void *context, struct torc_slice batch, uint64_t cut), void *context,
                   struct torci_journal_scan *scan);
void torci_journal_scan_fini(struct torci_heap *heap, struct torci_journal_scan *scan);

/* ---- Records of a batch ---- */

enum torci_op_kind {
    TORCI_OP_PUT = 1,
    TORCI_OP_PUT_EXPIRING = 2,
    TORCI_OP_DELETE = 3,
    TORCI_OP_CREATE = 4,                 /* A keyspace; `key` is its name. */
    TORCI_OP_DROP = 5,
};

struct torci_op {
    enum torci_op_kind kind;
    uint64_t keyspace;                   /* Its id; 0: the default one. */
    struct torc_slice key;
    struct torc_slice value;
    uint64_t expires;
};

/* How many bytes an operation takes, and put them; returns the end. */
size_t torci_op_size(const struct torci_op *op);
unsigned char *torci_op_put(unsigned char *out, const struct torci_op *op);

/* The next record of a batch: its stamp and its operations. TORC_END, TORC_CORRUPT. */
TORC_MUST_CHECK enum torc_status torci_batch_next(struct torc_slice *batch, uint64_t *stamp, struct torc_slice *ops);
/* The next operation of a record. Slices are borrowed. TORC_END, TORC_CORRUPT. */
TORC_MUST_CHECK enum torc_status torci_op_next(struct torc_slice *ops, struct torci_op *op);

enum { TORCI_RECORD_PREFIX = 12 };       /* Size and stamp, before the operations. */
void torci_record_prefix_put(unsigned char *out, uint32_t ops_size, uint64_t stamp);

#endif

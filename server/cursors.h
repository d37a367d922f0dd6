/* SPDX-License-Identifier: MIT */
/* server/cursors.h: where the SCANs of all clients stand.
 *
 * A Redis cursor is a number, but torc scans in key order and goes on from a key. This table lends numbers to keys. A
 * scan occupies two entries, its last two positions, so that a client that lost a reply can ask again; the table is
 * bounded, and the scan that was not continued for longest loses its place first. */
#ifndef TORCD_CURSORS_H
#define TORCD_CURSORS_H

#include <torc/base.h>

struct torcd_cursors;

/* A table of `capacity` entries (a power of two) holding `bytes_max` bytes of keys, or NULL. */
struct torcd_cursors *torcd_cursors_create(size_t capacity, size_t bytes_max);
void torcd_cursors_destroy(struct torcd_cursors *cursors);

/* Note that the scan which stood at cursor `from` (0: a new one) goes on at `key`. Returns its new cursor, never 0 but
 * when there is no memory. Threads: any. Progress: blocking, a short critical section. */
uint64_t torcd_cursors_put(struct torcd_cursors *cursors, uint64_t from, struct torc_slice key);

/* Copy the key of `cursor` into `key` of TORC_KEY_SIZE_MAX bytes; false if nobody scans there (any more). */
bool torcd_cursors_get(struct torcd_cursors *cursors, uint64_t cursor, void *key, size_t *size);

/* The scan that stood at `cursor` has come to its end. */
void torcd_cursors_end(struct torcd_cursors *cursors, uint64_t cursor);

#endif

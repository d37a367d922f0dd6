/* SPDX-License-Identifier: MIT */
/* mvcc/checkpoint_fuzz_testing: checkpoints made of arbitrary bytes, with checksums that are right all the same, and
 * what must hold of whatever the reader makes of them. For the fuzzer, and for tests. */
#ifndef TORCT_CHECKPOINT_FUZZ_TESTING_H
#define TORCT_CHECKPOINT_FUZZ_TESTING_H

#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

/* Make every checksum of a file right that has a place: of the header, of the index and of the blocks where footer and
 * index say that they are, and of the footer. */
void torct_checkpoint_sign(unsigned char *data, size_t size);

/* Read a file of these bytes by one thread and by several: whether it is one or not, they agree, and all that was shown
 * is in order and within the limits. Ends the process if not. Returns what the reader said. */
enum torc_status torct_checkpoint_judge(const unsigned char *data, size_t size, uint64_t stamp,
                                        const unsigned char *store_id);

/* The fuzzer's entry. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

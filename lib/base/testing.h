/* SPDX-License-Identifier: MIT */
/* base/testing: what tests share: threads behind one start barrier, printed seeds, random bytes, an allocator that
 * keeps a ledger, a directory that goes away. Never installed. A helper that cannot do its work ends the process. */
#ifndef TORCT_TESTING_H
#define TORCT_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <torc/base.h>

#include "base/random.h"

/* The seed of this run: TORC_SEED from the environment, else from the clock; printed once. */
uint64_t torct_seed(void);

/* Start `threads` threads that call body(context, number), number from 0, behind one barrier; join them all. */
void torct_race(unsigned threads, void (*body)(void *context, unsigned number), void *context);

/* Fill `bytes` from `random`. */
void torct_random_bytes(struct torci_random *random, void *bytes, size_t size);

/* An embedder's allocator that checks its contract: sizes must match, blocks are given back once, and at the end
 * allocated = released. Any number of threads at once. */
struct torct_ledger {
    _Atomic(uint64_t) allocations;      /* Relaxed counters. Read after the threads are joined. */
    _Atomic(uint64_t) releases;
    _Atomic(uint64_t) bytes;            /* In use. */
    _Atomic(uint64_t) refuse_from;      /* The n-th allocation and all later ones return NULL; 0: none. */
};

void torct_ledger_init(struct torct_ledger *ledger);

/* Borrows `ledger`, which must outlive every block. */
struct torc_allocator torct_ledger_allocator(struct torct_ledger *ledger);

/* Whether everything has been given back. */
bool torct_ledger_balanced(const struct torct_ledger *ledger);

/* Make an empty directory under TMPDIR (or /tmp), write its path to `path`, remove it with all in it later. */
enum { TORCT_PATH_SIZE = 256 };
void torct_directory_create(char path[TORCT_PATH_SIZE]);
void torct_directory_destroy(const char *path);

#endif

/* SPDX-License-Identifier: MIT */
/* bench/engines.c: the engines this program was built with. */
#include "bench.h"

extern const struct bench_engine bench_engine_torc;
#ifdef BENCH_WITH_LFHT
extern const struct bench_engine bench_engine_lfht;
#endif
#ifdef BENCH_WITH_ROCKSDB
extern const struct bench_engine bench_engine_rocksdb;
#endif
#ifdef BENCH_WITH_WIREDTIGER
extern const struct bench_engine bench_engine_wiredtiger;
#endif
#ifdef BENCH_WITH_LMDB
extern const struct bench_engine bench_engine_lmdb;
#endif

const struct bench_engine *const bench_engines[] = {
    &bench_engine_torc,
#ifdef BENCH_WITH_LFHT
    &bench_engine_lfht,
#endif
#ifdef BENCH_WITH_ROCKSDB
    &bench_engine_rocksdb,
#endif
#ifdef BENCH_WITH_WIREDTIGER
    &bench_engine_wiredtiger,
#endif
#ifdef BENCH_WITH_LMDB
    &bench_engine_lmdb,
#endif
    NULL
};

const unsigned bench_engine_count = sizeof bench_engines / sizeof *bench_engines - 1;

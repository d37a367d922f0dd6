/* SPDX-License-Identifier: MIT */
/* bench/engines.c: the engines this program was built with. */
#include "bench.h"

extern const struct bench_engine bench_engine_torc;
extern const struct bench_engine bench_engine_torc_none;
extern const struct bench_engine bench_engine_torc_async;
extern const struct bench_engine bench_engine_torc_sync;
#ifdef BENCH_WITH_LFHT
extern const struct bench_engine bench_engine_lfht;
#endif
#ifdef BENCH_WITH_ROCKSDB
extern const struct bench_engine bench_engine_rocksdb;
extern const struct bench_engine bench_engine_rocksdb_async;
extern const struct bench_engine bench_engine_rocksdb_sync;
#endif
#ifdef BENCH_WITH_WIREDTIGER
extern const struct bench_engine bench_engine_wiredtiger;
extern const struct bench_engine bench_engine_wiredtiger_async;
extern const struct bench_engine bench_engine_wiredtiger_sync;
#endif
#ifdef BENCH_WITH_LMDB
extern const struct bench_engine bench_engine_lmdb;
extern const struct bench_engine bench_engine_lmdb_sync;
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

const struct bench_engine *const bench_durable_engines[] = {
    &bench_engine_torc_none,
    &bench_engine_torc_async,
    &bench_engine_torc_sync,
#ifdef BENCH_WITH_ROCKSDB
    &bench_engine_rocksdb_async,
    &bench_engine_rocksdb_sync,
#endif
#ifdef BENCH_WITH_WIREDTIGER
    &bench_engine_wiredtiger_async,
    &bench_engine_wiredtiger_sync,
#endif
#ifdef BENCH_WITH_LMDB
    &bench_engine_lmdb_sync,
#endif
    NULL
};

const unsigned bench_durable_engine_count = sizeof bench_durable_engines / sizeof *bench_durable_engines - 1;

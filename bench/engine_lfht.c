/* SPDX-License-Identifier: MIT */
/* bench/engine_lfht.c: liburcu's bare hash table: what point access costs when there are no versions at all.
 *
 * Settings   cds_lfht, flavour memb, read section inlined; as many buckets as there will be keys, no resizing: its
 *            best case.
 * Reads      Look up and copy the value inside one read section (a bare table cannot lend it past that).
 * Updates    A new node replaces the old one, which goes to call_rcu. One allocation per node, key and value inline.
 * Isolation  None: no snapshots, no transactions, no order. A baseline, not a peer. */
#define _LGPL_SOURCE
#include <urcu.h>
#include <urcu/rculfhash.h>

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench.h"

struct node {
    struct cds_lfht_node link;
    struct rcu_head retired;
    uint32_t size;                          /* Immutable once linked, as what follows. */
    uint8_t key[BENCH_KEY_SIZE];
    uint8_t value[];
};

struct table {
    struct cds_lfht *buckets;
    size_t value_size;
};

struct table_thread {
    struct table *table;
    uint8_t copy[BENCH_VALUE_SIZE_MAX];
};

static void
free_retired(struct rcu_head *head)
{
    free(caa_container_of(head, struct node, retired));
}

static int
match(struct cds_lfht_node *link, const void *key)
{
    return memcmp(caa_container_of(link, struct node, link)->key, key, BENCH_KEY_SIZE) == 0;
}

static void *
table_open(const char *directory, const struct bench_spec *spec)
{
    struct table *table = calloc(1, sizeof *table);
    unsigned long buckets = 64;

    (void)directory;
    while (buckets < spec->keys)
        buckets *= 2;
    table->value_size = spec->value_size;
    table->buckets = cds_lfht_new(buckets, buckets, buckets, 0, NULL);
    return table;
}

/* Free all nodes: nobody else uses the table any more, but it wants them deleted in order. */
static void
table_close(void *context)
{
    struct table *table = context;
    struct cds_lfht_iter iter;
    struct node *node;

    rcu_register_thread();
    rcu_read_lock();
    cds_lfht_for_each_entry(table->buckets, &iter, node, link) {
        (void)cds_lfht_del(table->buckets, &node->link);
        call_rcu(&node->retired, free_retired);
    }
    rcu_read_unlock();
    rcu_barrier();
    rcu_unregister_thread();
    cds_lfht_destroy(table->buckets, NULL);
    free(table);
}

static void *
thread_begin(void *context)
{
    struct table_thread *thread = calloc(1, sizeof *thread);

    thread->table = context;
    rcu_register_thread();
    return thread;
}

static void
thread_end(void *context)
{
    rcu_unregister_thread();
    free(context);
}

static enum bench_outcome
get(void *context, const uint8_t *key, uint8_t *buffer, size_t capacity, size_t *size)
{
    struct table_thread *thread = context;
    enum bench_outcome outcome = BENCH_MISSING;
    struct cds_lfht_iter iter;
    struct cds_lfht_node *link;

    rcu_read_lock();
    cds_lfht_lookup(thread->table->buckets, XXH3_64bits(key, BENCH_KEY_SIZE), match, key, &iter);
    link = cds_lfht_iter_get_node(&iter);
    if (link != NULL) {
        struct node *node = caa_container_of(link, struct node, link);

        *size = node->size;
        memcpy(buffer, node->value, node->size < capacity ? node->size : capacity);
        outcome = BENCH_OK;
    }
    rcu_read_unlock();
    return outcome;
}

static enum bench_outcome
put(void *context, const uint8_t *key, struct bench_value value)
{
    struct table_thread *thread = context;
    struct node *node = malloc(sizeof *node + value.size);
    struct cds_lfht_node *replaced;

    if (node == NULL)
        return BENCH_BUSY;
    cds_lfht_node_init(&node->link);
    node->size = (uint32_t)value.size;
    memcpy(node->key, key, BENCH_KEY_SIZE);
    memcpy(node->value, value.data, value.size);
    rcu_read_lock();
    replaced = cds_lfht_add_replace(thread->table->buckets, XXH3_64bits(key, BENCH_KEY_SIZE), match, key, &node->link);
    if (replaced != NULL)
        call_rcu(&caa_container_of(replaced, struct node, link)->retired, free_retired);
    rcu_read_unlock();
    return BENCH_OK;
}

static enum bench_outcome
begin(void *thread, enum bench_mode mode)
{
    (void)thread;
    (void)mode;
    return BENCH_OK;
}

static enum bench_outcome
read_key(void *context, const uint8_t *key, struct bench_value *value)
{
    struct table_thread *thread = context;

    value->data = thread->copy;
    return get(context, key, thread->copy, sizeof thread->copy, &value->size);
}

static enum bench_outcome
commit(void *thread)
{
    (void)thread;
    return BENCH_OK;
}

static void
abort_txn(void *thread)
{
    (void)thread;
}

static void
settle(void *store)
{
    (void)store;
    rcu_barrier();
}

extern const struct bench_engine bench_engine_lfht;
const struct bench_engine bench_engine_lfht = {
    .name = "lfht",
    .version = BENCH_LFHT_VERSION,
    .settings = "bare liburcu cds_lfht, flavour memb inlined, as many buckets as keys; no isolation; every read "
                "copies; replace + call_rcu",
    .abilities = BENCH_IS_BASELINE,
    .open = table_open,
    .close = table_close,
    .thread_begin = thread_begin,
    .thread_end = thread_end,
    .get = get,
    .put = put,
    .begin = begin,
    .read = read_key,
    .write = put,
    .commit = commit,
    .abort = abort_txn,
    .settle = settle
};

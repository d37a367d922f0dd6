/* SPDX-License-Identifier: MIT */
/* mvcc/index_hash: a split-ordered list.
 *
 *   segments[0]   [ head 0 ]---------.                    [ head 1 ]-----.                            tail
 *   segments[1]       |          [ head 01 ]----.             |          |          [ head 11 ]        ^
 *                     v           ^             v             |          v           ^       |         |
 *                  record 0.. -> -'        record 01.. -> ----'       record 1.. -> -'       '-> ... --'
 *
 * One list holds all records in the order of their `order` word (a hash with low bit 1; ties by key). A bucket is a run
 * of it: all whose topmost bits are equal. Its head is a node of the list itself, with these bits and zeros as its
 * order (so that low bit 0 tells heads from records), and lies in an array: hash -> head -> record. With b bits, bucket
 * t (the b topmost bits of `order`) with z zeros at its end has the head it had already when there were b - z bits;
 * segment k holds the heads that came with the k-th doubling, the odd ones. So doubling moves nothing, neighbours
 * in the list are neighbours in a segment, and no bit is ever reversed.
 *
 * A chain word is the next node's address plus one bit. In a record, REMOVED: it is leaving, and the word
 * never changes again. In a head, UNLINKED: do not start here yet; who meets the head in the list ignores the bit, and
 * clears it if he changes the word. A head's word of 0: nobody has asked for this bucket yet.
 *
 * Invariants   I1  the list is sorted by (order, key); of one key at most one record is not REMOVED
 *              I2  a node's order never changes after it is linked; a head, once linked, is never unlinked
 *              I3  a REMOVED record's word never changes; it is unlinked by changing its predecessor's word, which
 *                  succeeds only while the predecessor is not REMOVED itself, hence in the list
 *              I4  segments[0..bits - first_bits] are there before `bits` says so
 *              I5  one thread only tries to link a head: who changed its word from 0. All others use the parent bucket
 *                  (the bucket without the lowest set bit) until it is linked; nobody waits
 * Ordering     R1 link of a record, CAS of `chain`       -> A1 all loads of `chain`: order, key, all of the record
 *              R2 link of a head, CAS of `chain`         -> A1: the head's order and word
 *              R3 head ready, CAS of the head's own word -> A2 bucket_start(): that it is linked
 *              R4 segment installed, CAS of `segments`   -> A4 grow_if_crowded(): its words, before R5
 *              R5 `bits` raised, CAS                     -> A5 bucket_start(): all segments below, with their words
 *              R6 removal, CAS of `chain`, R7 unlink, CAS of `chain` -> A1
 *              All accesses to chain words are seq_cst: a transaction links its records before it reads the clock, and
 *              a snapshot reads the clock before it looks here; the single order makes one see the other.
 * Progress     find: lock-free; it passes over REMOVED records and repeats nothing: what makes it longer is inserts.
 *              insert, remove, linking a head: lock-free; a failed CAS means that another changed the same place.
 * Reclamation  Records: the caller's, after remove() has returned true to him: then R7 has happened, and sections
 *              that begin later cannot come across the record. Segments live as long as the index.
 * Papers       Shalev, Shavit: Split-ordered lists (JACM 2006). Harris (DISC 2001), Michael (SPAA 2002): the list. */
#include "mvcc/index_hash.h"

#include "base/assert.h"

_Static_assert(offsetof(struct torci_record, chain) == offsetof(struct torci_hash_node, chain), "common first word");
_Static_assert(offsetof(struct torci_record, order) == offsetof(struct torci_hash_node, order), "common second word");

#if defined(TORC_TINY)
enum { FIRST_BITS_MIN = 1, GROWTH_CHECK_INTERVAL = 1 };
#else
/* A store without an expectation starts with 4 KiB of heads. The sum over the shards (32 lines) is taken at every 64th
 * insert of a shard, which makes it half a line per insert. */
enum { FIRST_BITS_MIN = 8, GROWTH_CHECK_INTERVAL = 64 };
#endif

enum {
    BITS_MAX = 40,           /* 16 TiB of heads; keeps shifts in range. */
    BUCKETS_PER_RECORD = 1,  /* Doubled when there are fewer: between 0.5 and 1 records per bucket. */
};

#define REMOVED ((uintptr_t)1)      /* In a record's word. */
#define UNLINKED ((uintptr_t)1)     /* In a head's word. */
#define CHAIN_BIT ((uintptr_t)1)    /* Either. */

/* ---- Nodes: reached through their first words only, never through the type they have not got ---- */

static struct torci_hash_node *
node_of(uintptr_t word)
{
    return (struct torci_hash_node *)(word & ~CHAIN_BIT);
}

static _Atomic(uintptr_t) *
chain_of(const struct torci_hash_node *node)
{
    return (_Atomic(uintptr_t) *)(uintptr_t)node;
}

static uint64_t
order_of(const struct torci_hash_node *node)
{
    return *(const uint64_t *)((const unsigned char *)node + offsetof(struct torci_hash_node, order));
}

static struct torci_record *
record_of(struct torci_hash_node *node)
{
    torc_assert((order_of(node) & 1) == 1);

    return (struct torci_record *)node;
}

/* ---- Places in the list ---- */

/* Where a node belongs: between `prev`, whose word was `word`, and the node that this word names. */
struct place {
    struct torci_hash_node *prev;
    uintptr_t word;
};

/* Find the place of (order, key) from `start`, a linked head, unlinking all REMOVED records on the way. A key without
 * bytes' address: the place of a head. True: the record of this very key is what `place->word` names. */
static bool
locate(struct torci_hash_index *hash, struct torci_hash_node *start, uint64_t order, const struct torc_slice *key,
       struct place *place)
{
again:
    place->prev = start;
    place->word = torci_load(chain_of(start), memory_order_seq_cst);                         /* A1 */

    for (;;) {
        struct torci_hash_node *next = node_of(place->word);

        if (next == &hash->tail || order_of(next) > order)
            return false;
        uintptr_t word = torci_load(chain_of(next), memory_order_seq_cst);                   /* A1 */

        if ((order_of(next) & 1) == 1 && (word & REMOVED) != 0) {
            uintptr_t expected = place->word;

            torci_race_window();
            /* R7. Fails if the predecessor is leaving or got another successor: somebody else progressed. */
            if (!torci_cas(chain_of(place->prev), &expected, word & ~REMOVED, memory_order_seq_cst,
                           memory_order_relaxed))
                goto again;
            place->word = word & ~REMOVED;
            continue;
        }
        if (key != NULL && order_of(next) == order) {
            int comparison = torci_key_compare(torci_record_key(record_of(next)), *key);

            if (comparison >= 0)
                return comparison == 0;
        }
        place->prev = next;
        place->word = word;
    }
}

/* ---- Buckets ---- */

/* The bucket of `order` when there are 2^bits: the topmost bits. */
static uint64_t
bucket_of(uint64_t order, uint32_t bits)
{
    return order >> (64 - bits);
}

static struct torci_hash_node *
bucket_head(const struct torci_hash_index *hash, uint64_t bucket, uint32_t bits)
{
    uint32_t doublings = bits - hash->first_bits;
    /* The guard bit stops the count: segment 0 holds even buckets too. */
    uint32_t zeros = (uint32_t)__builtin_ctzll(bucket | UINT64_C(1) << doublings);
    uint32_t segment = doublings - zeros;
    /* Relaxed: `bits` came through A5, and by I4 with the segment. */
    struct torci_hash_node *heads = torci_load(&hash->segments[segment], memory_order_relaxed);

    torc_assert(heads != NULL);
    return &heads[bucket >> (zeros + (segment != 0))];
}

/* Link `head`, which has just been claimed, into the list from `parent` on. */
static void
bucket_link(struct torci_hash_index *hash, struct torci_hash_node *parent, struct torci_hash_node *head,
            uint64_t order)
{
    struct place place;

    head->order = order;
    do {
        (void)locate(hash, parent, order, NULL, &place);
        /* Relaxed: nobody follows the word before R2, which publishes it. It still reads as UNLINKED. */
        torci_store(&head->chain, (uintptr_t)node_of(place.word) | UNLINKED, memory_order_relaxed);
        torci_race_window();
        /* R2. Retried when an insert or an unlink took this gap. */
    } while (!torci_cas(chain_of(place.prev), &place.word, (uintptr_t)head, memory_order_seq_cst,
                        memory_order_relaxed));

    uintptr_t expected = torci_load(&head->chain, memory_order_relaxed);    /* Relaxed: the CAS below decides. */

    /* R3. Whoever links or unlinks behind the head meanwhile clears the bit too. */
    while ((expected & UNLINKED) != 0 &&
           !torci_cas(&head->chain, &expected, expected & ~UNLINKED, memory_order_seq_cst, memory_order_relaxed))
        continue;
}

/* The head of `bucket` or, while that is being linked by another thread, of its nearest linked ancestor. */
static struct torci_hash_node *
bucket_open(struct torci_hash_index *hash, uint64_t bucket, uint32_t bits)
{
    struct torci_hash_node *head = bucket_head(hash, bucket, bits);
    uintptr_t word = torci_load(&head->chain, memory_order_seq_cst);        /* A2 */

    if (word != 0 && (word & UNLINKED) == 0)
        return head;

    /* Bucket 0 is linked from the beginning, so the recursion ends: after as many calls as `bucket` has bits set. */
    torc_assert(bucket != 0);
    struct torci_hash_node *parent = bucket_open(hash, bucket & (bucket - 1), bits);
    uintptr_t expected = 0;

    if (word != 0)
        return parent;
    /* The claim. Relaxed: it passes nothing on; R2 and R3 do. */
    if (!torci_cas(&head->chain, &expected, UNLINKED, memory_order_relaxed, memory_order_relaxed))
        return parent;
    bucket_link(hash, parent, head, bucket << (64 - bits));
    return head;
}

static struct torci_hash_node *
bucket_start(struct torci_hash_index *hash, uint64_t order)
{
    uint32_t bits = torci_load(&hash->bits, memory_order_acquire);                          /* A5 */
    struct torci_hash_node *head = bucket_head(hash, bucket_of(order, bits), bits);
    uintptr_t word = torci_load(&head->chain, memory_order_seq_cst);                        /* A2 */

    if (__builtin_expect(word != 0 && (word & UNLINKED) == 0, true))
        return head;
    return bucket_open(hash, bucket_of(order, bits), bits);
}

/* ---- Growth ---- */

/* Double the buckets if they are too few. Without memory nothing happens: the runs become longer. */
static void
grow_if_crowded(struct torci_hash_index *hash)
{
    uint32_t bits = torci_load(&hash->bits, memory_order_relaxed);      /* Relaxed: the CAS below decides. */
    size_t bytes = sizeof(struct torci_hash_node) << bits;
    _Atomic(struct torci_hash_node *) *segment = &hash->segments[bits - hash->first_bits + 1];

    if (torci_hash_index_records(hash) * BUCKETS_PER_RECORD <= UINT64_C(1) << bits || bits >= BITS_MAX)
        return;

    if (torci_load(segment, memory_order_acquire) == NULL) {                                /* A4 */
        if (torci_heap_full(hash->heap, bytes))
            return;
        struct torci_hash_node *heads = torci_alloc_zeroed(hash->heap, bytes);
        struct torci_hash_node *expected = NULL;

        if (heads == NULL)
            return;
        torci_race_window();
        /* R4; on failure A4: another thread's segment is there. */
        if (!torci_cas(segment, &expected, heads, memory_order_release, memory_order_acquire))
            torci_free(hash->heap, heads, bytes);
    }
    /* R5; it carries on the release sequence of the earlier ones. Relaxed on failure: another thread has raised it. */
    torci_cas(&hash->bits, &bits, bits + 1, memory_order_release, memory_order_relaxed);
}

static void
count(struct torci_hash_index *hash, struct torci_epoch_guard guard, int64_t change)
{
    _Atomic(int64_t) *records = &hash->shards[guard.thread->index % TORCI_HASH_SHARDS].records;
    /* Relaxed: a counter, approximate. */
    int64_t before = torci_fetch_add(records, change, memory_order_relaxed);

    if (change > 0 && (before + change) % GROWTH_CHECK_INTERVAL == 0)
        grow_if_crowded(hash);
}

/* ---- Interface ---- */

enum torc_status
torci_hash_index_init(struct torci_hash_index *hash, struct torci_heap *heap, uint64_t expected_keys)
{
    uint32_t bits = FIRST_BITS_MIN;

    while (bits < BITS_MAX && UINT64_C(1) << bits < expected_keys * BUCKETS_PER_RECORD)
        bits++;

    struct torci_hash_node *heads = torci_alloc_zeroed(heap, sizeof(struct torci_hash_node) << bits);

    if (heads == NULL)
        return TORC_NO_MEMORY;
    hash->heap = heap;
    hash->first_bits = bits;
    torci_init(&hash->bits, bits);
    hash->tail.order = UINT64_MAX;
    torci_init(&hash->tail.chain, 0);
    torci_init(&heads[0].chain, (uintptr_t)&hash->tail);
    torci_init(&hash->segments[0], heads);
    for (uint32_t i = 1; i < TORCI_HASH_SEGMENTS_MAX; i++)
        torci_init(&hash->segments[i], NULL);
    for (uint32_t i = 0; i < TORCI_HASH_SHARDS; i++)
        torci_init(&hash->shards[i].records, 0);
    return TORC_OK;
}

void
torci_hash_index_fini(struct torci_hash_index *hash)
{
    size_t bytes = sizeof(struct torci_hash_node) << hash->first_bits;

    /* Relaxed, here and in drain: exclusive. There may be one segment more than `bits` says. */
    for (uint32_t i = 0; i < TORCI_HASH_SEGMENTS_MAX; i++) {
        struct torci_hash_node *heads = torci_load(&hash->segments[i], memory_order_relaxed);

        if (heads == NULL)
            break;
        torci_free(hash->heap, heads, bytes);
        bytes <<= i > 0;
    }
}

void
torci_hash_index_drain_exclusive(struct torci_hash_index *hash,
                                 void (*take)(void *context, struct torci_record *record), void *context)
{
    struct torci_hash_node *head = torci_load(&hash->segments[0], memory_order_relaxed);
    struct torci_hash_node *node = node_of(torci_load(chain_of(head), memory_order_relaxed));

    while (node != &hash->tail) {
        struct torci_hash_node *next = node_of(torci_load(chain_of(node), memory_order_relaxed));

        if ((order_of(node) & 1) == 1) {
            take(context, record_of(node));
        } else {
            torci_store(chain_of(head), (uintptr_t)node, memory_order_relaxed);
            head = node;
        }
        node = next;
    }
    torci_store(chain_of(head), (uintptr_t)&hash->tail, memory_order_relaxed);
    for (uint32_t i = 0; i < TORCI_HASH_SHARDS; i++)
        torci_store(&hash->shards[i].records, 0, memory_order_relaxed);
}

bool
torci_hash_index_dismantle_exclusive(struct torci_hash_index *hash, size_t *budget,
                                     void (*take)(void *context, struct torci_record *record), void *context)
{
    /* Relaxed, here and below: exclusive. What has been passed is cut off, heads too. */
    struct torci_hash_node *first = torci_load(&hash->segments[0], memory_order_relaxed);
    struct torci_hash_node *node = node_of(torci_load(chain_of(first), memory_order_relaxed));

    for (; node != &hash->tail && *budget > 0; --*budget) {
        struct torci_hash_node *next = node_of(torci_load(chain_of(node), memory_order_relaxed));

        __builtin_prefetch(next);
        if ((order_of(node) & 1) == 1)
            take(context, record_of(node));
        node = next;
    }
    torci_store(chain_of(first), (uintptr_t)node, memory_order_relaxed);
    return node == &hash->tail;
}

struct torci_record *
torci_hash_index_find(struct torci_hash_index *hash, struct torci_epoch_guard guard, struct torc_slice key,
                      uint64_t order)
{
    (void)guard;
    struct torci_hash_node *node = bucket_start(hash, order);

    for (;;) {
        uintptr_t word = torci_load(chain_of(node), memory_order_seq_cst);                   /* A1 */

        node = node_of(word);
        uint64_t found = order_of(node);

        if (found < order)
            continue;
        if (found > order || node == &hash->tail)
            return NULL;

        struct torci_record *record = record_of(node);

        if (torci_key_compare(torci_record_key(record), key) != 0)
            continue;
        /* A REMOVED record is passed over: its successor of the same key may stand behind it. */
        if ((torci_load(chain_of(node), memory_order_seq_cst) & REMOVED) == 0)               /* A1 */
            return record;
    }
}

void
torci_hash_index_prefetch(const struct torci_hash_index *hash, uint64_t order)
{
    uint32_t bits = torci_load(&hash->bits, memory_order_acquire);                          /* A5 */

    __builtin_prefetch(bucket_head(hash, bucket_of(order, bits), bits));
}

void
torci_hash_index_prefetch_record(const struct torci_hash_index *hash, uint64_t order)
{
    uint32_t bits = torci_load(&hash->bits, memory_order_acquire);                          /* A5 */
    struct torci_hash_node *head = bucket_head(hash, bucket_of(order, bits), bits);

    /* Relaxed: fetched, not followed. A bucket that nobody has looked into yet points nowhere. */
    __builtin_prefetch(node_of(torci_load(chain_of(head), memory_order_relaxed)));
}

bool
torci_hash_index_insert(struct torci_hash_index *hash, struct torci_epoch_guard guard, struct torci_record *record,
                        struct torci_record **existing)
{
    torc_assert((record->order & 1) == 1);
    struct torci_hash_node *start = bucket_start(hash, record->order);
    struct torc_slice key = torci_record_key(record);
    struct place place;

    do {
        if (locate(hash, start, record->order, &key, &place)) {
            *existing = record_of(node_of(place.word));
            return false;
        }
        /* Relaxed: private until R1. */
        torci_store(&record->chain, (uintptr_t)node_of(place.word), memory_order_relaxed);
        torci_race_window();
        /* R1, the linearization point. Retried when another insert or unlink took this gap. */
    } while (!torci_cas(chain_of(place.prev), &place.word, (uintptr_t)record, memory_order_seq_cst,
                        memory_order_relaxed));
    count(hash, guard, 1);
    *existing = NULL;
    return true;
}

bool
torci_hash_index_remove(struct torci_hash_index *hash, struct torci_epoch_guard guard, struct torci_record *record)
{
    struct torc_slice key = torci_record_key(record);
    struct place place;
    uintptr_t word = torci_load(&record->chain, memory_order_seq_cst);                      /* A1 */

    do {
        if ((word & REMOVED) != 0)
            return false;
        torci_race_window();
        /* R6, the linearization point. Retried when somebody linked or unlinked right behind the record. */
    } while (!torci_cas(&record->chain, &word, word | REMOVED, memory_order_seq_cst, memory_order_seq_cst));

    /* A pass over the record's place leaves no REMOVED record there (by I1 and I3: at some moment of it, a node of the
     * list before the place named one behind it). */
    (void)locate(hash, bucket_start(hash, record->order), record->order, &key, &place);
    count(hash, guard, -1);
    return true;
}

uint64_t
torci_hash_index_records(const struct torci_hash_index *hash)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < TORCI_HASH_SHARDS; i++)
        sum += torci_load(&hash->shards[i].records, memory_order_relaxed);     /* Relaxed: approximate. */
    return sum > 0 ? (uint64_t)sum : 0;
}

uint64_t
torci_hash_index_buckets(const struct torci_hash_index *hash)
{
    return UINT64_C(1) << torci_load(&hash->bits, memory_order_relaxed);       /* Relaxed: a figure. */
}

/* SPDX-License-Identifier: MIT */
/* base/limbo: bags of retired objects.
 *
 *     spare --> bag --> bag            empty bags: room that was reserved
 *     open ---> bag [o o o . . .]      takes the adds
 *                 | full, settle of one with many bytes, or flush: torci_reclaimer_retire()
 *                 v
 *               reclaimer: `pending` bags
 *                 | grace period, on the reclaiming thread: bag_ready()
 *                 |                    many bytes: freed there and then
 *                 v
 *     ready --> bag --> bag            the owner takes the whole list and frees what is in it; so does, with the
 *                                      exception of the bags themselves, who wants to relieve an idle owner
 *
 * An owner that goes idle holds back one open bag (of less than BAG_BYTES_MAX if it settled), and what came home.
 *
 * Invariants   I1  room = free entries of `open` + entries of all spares; an add takes exactly one
 *              I2  a bag is in one of: spare, open, reclaimer, ready, owner's hands; its contents change in open only
 *              I3  pending - bags_relieved = bags in reclaimer, ready, or in the hands of who relieves
 *              I4  bytes - bytes_relieved = bytes of all objects added and not yet freed
 * Ordering     R1 bag_ready(), CAS of `ready` -> A1 take_ready(), exchange: the bag's `next`, and that every section
 *                 that could see its objects has ended
 *              R2 relieve(), fetch_add of `bags_relieved` -> A2 torci_limbo_destroy(): that who relieves is done
 *              The reclaimer passes the bag from the owner to the reclaiming thread.
 * Progress     Add, settle, flush, drain and relieve are wait-free in the number of objects; reserve allocates.
 *              bag_ready() is lock-free: its CAS is retried only when somebody emptied the list or another bag came
 *              in. Nobody takes single bags from the list, so a head seen again is no danger (no ABA).
 * Reclamation  Emptied bags become spares, a few at most; the rest goes back to the heap. The limbo itself must
 *              outlive its bags: hence the barrier before destroy. */
#include "base/limbo.h"

#include "base/assert.h"
#include "base/atomic.h"

#if defined(TORC_TINY)
enum { BAG_ENTRIES_MAX = 4, SPARES_KEPT_MAX = 2 };
/* The least object is "many bytes" now and then. */
enum { BAG_BYTES_MAX = 256 };
#else
/* What one idle owner may hold back, and what is not worth a way home. */
enum { BAG_BYTES_MAX = 64 * 1024 };
/* A bag of 1 KiB: large enough that the grace period's cost per object vanishes, small enough that an idle owner's
 * open bag pins little. */
enum { BAG_ENTRIES_MAX = 61, SPARES_KEPT_MAX = 4 };
#endif

/* Of an entry's second word: the kind above, the size below. */
enum { KIND_SHIFT = 56 };
#define ENTRY_SIZE_MAX ((UINT64_C(1) << KIND_SHIFT) - 1)
#define ENTRY_KIND_MAX 255u

struct entry {
    void *object;
    uint64_t kind_and_size;
};

struct bag {
    struct torci_retired retired;       /* First: the reclaimer hands this back. */
    struct torci_limbo *limbo;          /* Immutable. */
    struct bag *next;                   /* Of the list the bag is in; immutable after R1. */
    uint32_t count;
    uint32_t capacity;                  /* Immutable. */
    uint64_t bytes;                     /* Of the objects in it. */
    struct entry entries[];
};

struct torci_limbo {
    struct torci_heap *heap;            /* Immutable, as are the next four. */
    struct torci_reclaimer *reclaimer;
    torci_limbo_free_fn *free_fn;
    void *context;
    struct torci_slab *slab;            /* The owner's, or NULL; not used here. */
    struct bag *open;                   /* Owner only, down to `bags_created`. May be NULL. */
    struct bag *spare;
    size_t room;
    size_t spares;
    size_t pending;
    uint32_t bags_created;
    _Atomic(uint64_t) bytes;            /* Written by the owner. */
    _Alignas(TORCI_CACHE_LINE) _Atomic(struct bag *) ready;
    _Atomic(uint64_t) bytes_relieved;   /* Freed by others than the owner, who only add. */
    _Atomic(uint64_t) bags_relieved;
};

static size_t
bag_bytes(uint32_t capacity)
{
    return sizeof(struct bag) + capacity * sizeof(struct entry);
}

/* How many entries the next bag gets: in builds with tiny constants each size in turn. */
static uint32_t
next_capacity(struct torci_limbo *limbo)
{
#if defined(TORC_TINY)
    return 1 + limbo->bags_created++ % BAG_ENTRIES_MAX;
#else
    limbo->bags_created++;
    return BAG_ENTRIES_MAX;
#endif
}

static void
put_spare(struct torci_limbo *limbo, struct bag *bag)
{
    bag->count = 0;
    bag->bytes = 0;
    bag->next = limbo->spare;
    limbo->spare = bag;
    limbo->spares++;
    limbo->room += bag->capacity;
}

static bool
create_spare(struct torci_limbo *limbo)
{
    uint32_t capacity = next_capacity(limbo);
    struct bag *bag = torci_alloc(limbo->heap, bag_bytes(capacity));

    if (bag == NULL)
        return false;
    bag->limbo = limbo;
    bag->capacity = capacity;
    put_spare(limbo, bag);
    return true;
}

static void
destroy_bag(struct torci_limbo *limbo, struct bag *bag)
{
    torci_free(limbo->heap, bag, bag_bytes(bag->capacity));
}

/* The owner is the only writer, so no read-modify-write. Relaxed: a gauge. */
static void
change_bytes(struct torci_limbo *limbo, uint64_t difference)
{
    uint64_t bytes = torci_load(&limbo->bytes, memory_order_relaxed);

    torci_store(&limbo->bytes, bytes + difference, memory_order_relaxed);
}

/* Free the objects of a bag that no list holds. free_fn may add to its limbo: nothing here is in between. */
static void
free_objects(struct torci_limbo *limbo, const struct bag *bag)
{
    torc_assert(bag->count > 0 && bag->count <= bag->capacity);

    for (uint32_t i = 0; i < bag->count; i++) {
        const struct entry *entry = &bag->entries[i];

        limbo->free_fn(limbo->context, entry->object, (size_t)(entry->kind_and_size & ENTRY_SIZE_MAX),
                       (unsigned)(entry->kind_and_size >> KIND_SHIFT));
    }
}

/* Empty a bag in the owner's stead, and give it back too. */
static void
relieve(struct torci_limbo *limbo, struct bag *bag)
{
    uint64_t bytes = bag->bytes;

    free_objects(limbo, bag);
    destroy_bag(limbo, bag);
    torci_fetch_add(&limbo->bytes_relieved, bytes, memory_order_relaxed);   /* Relaxed: a gauge. */
    torci_fetch_add(&limbo->bags_relieved, 1, memory_order_release);        /* R2 */
}

/* The reclaimer's callback, on the reclaiming thread. Linearized at R1. */
static void
bag_ready(struct torci_retired *retired)
{
    struct bag *bag = (struct bag *)retired;
    struct torci_limbo *limbo = bag->limbo;
    struct bag *head;

    if (bag->bytes >= BAG_BYTES_MAX) {
        relieve(limbo, bag);
        return;
    }
    head = torci_load(&limbo->ready, memory_order_relaxed);     /* Never dereferenced; R1 decides. */
    do {
        bag->next = head;
        torci_race_window();
        /* R1. Release sequence: a bag below was put there by an R1 too, and this CAS continues it. Relaxed on
         * failure: the head is only stored, not followed. */
    } while (!torci_cas(&limbo->ready, &head, bag, memory_order_release, memory_order_relaxed));
}

static void
hand_over(struct torci_limbo *limbo)
{
    struct bag *bag = limbo->open;

    torc_assert(bag != NULL && bag->count > 0);
    torc_assert(limbo->room >= bag->capacity - bag->count);

    limbo->room -= bag->capacity - bag->count;
    limbo->open = NULL;
    limbo->pending++;
    torci_reclaimer_retire(limbo->reclaimer, &bag->retired, bag_bytes(bag->capacity) + bag->bytes, bag_ready);
}

/* All ready bags; they are the caller's. NULL: none. */
static struct bag *
take_ready(struct torci_limbo *limbo)
{
    /* Relaxed: the exchange decides; this spares the shared line's ownership when there is nothing. */
    if (torci_load(&limbo->ready, memory_order_relaxed) == NULL)
        return NULL;
    return torci_exchange(&limbo->ready, NULL, memory_order_acquire);       /* A1 */
}

struct torci_limbo *
torci_limbo_create(struct torci_heap *heap, struct torci_reclaimer *reclaimer, torci_limbo_free_fn *free_fn,
                   void *context)
{
    torc_assert(heap != NULL && free_fn != NULL);

    struct torci_limbo *limbo = torci_alloc_line_zeroed(heap, sizeof(*limbo));
    if (limbo == NULL)
        return NULL;

    limbo->heap = heap;
    limbo->reclaimer = reclaimer;
    limbo->free_fn = free_fn;
    limbo->context = context;
    torci_init(&limbo->bytes, 0);
    torci_init(&limbo->ready, NULL);
    torci_init(&limbo->bytes_relieved, 0);
    torci_init(&limbo->bags_relieved, 0);
    return limbo;
}

void
torci_limbo_set_slab(struct torci_limbo *limbo, struct torci_slab *slab)
{
    limbo->slab = slab;
}

struct torci_slab *
torci_limbo_slab(const struct torci_limbo *limbo)
{
    return limbo->slab;
}

void
torci_limbo_destroy(struct torci_limbo *limbo)
{
    if (limbo == NULL)
        return;

    torci_limbo_drain(limbo);
    /* A2. Else: no barrier since the last add, or a free_fn added. */
    torc_assert(limbo->pending == torci_load(&limbo->bags_relieved, memory_order_acquire));

    if (limbo->open != NULL) {
        free_objects(limbo, limbo->open);
        change_bytes(limbo, -limbo->open->bytes);
        destroy_bag(limbo, limbo->open);
    }
    while (limbo->spare != NULL) {
        struct bag *bag = limbo->spare;

        limbo->spare = bag->next;
        destroy_bag(limbo, bag);
    }
    torc_assert(torci_limbo_bytes(limbo) == 0);
    torci_free_line(limbo->heap, limbo, sizeof(*limbo));
}

enum torc_status
torci_limbo_reserve(struct torci_limbo *limbo, size_t count)
{
    torci_limbo_drain(limbo);
    while (limbo->room < count)
        if (!create_spare(limbo))
            return TORC_NO_MEMORY;
    return TORC_OK;
}

size_t
torci_limbo_room(const struct torci_limbo *limbo)
{
    return limbo->room;
}

void
torci_limbo_add(struct torci_limbo *limbo, void *object, size_t size, unsigned kind)
{
    torc_assert(limbo->room > 0);
    torc_assert(object != NULL && size <= ENTRY_SIZE_MAX && kind <= ENTRY_KIND_MAX);

    if (limbo->open == NULL) {
        limbo->open = limbo->spare;
        limbo->spare = limbo->spare->next;
        limbo->spares--;
    }

    struct bag *bag = limbo->open;

    bag->entries[bag->count++] = (struct entry){object, (uint64_t)kind << KIND_SHIFT | size};
    bag->bytes += size;
    limbo->room--;
    change_bytes(limbo, size);
    if (bag->count == bag->capacity)
        hand_over(limbo);
}

void
torci_limbo_flush(struct torci_limbo *limbo)
{
    if (limbo->open != NULL)
        hand_over(limbo);
}

void
torci_limbo_settle(struct torci_limbo *limbo)
{
    if (limbo->open != NULL && limbo->open->bytes >= BAG_BYTES_MAX)
        hand_over(limbo);
}

size_t
torci_limbo_drain(struct torci_limbo *limbo)
{
    struct bag *bag = take_ready(limbo);
    size_t freed = 0;

    while (bag != NULL) {
        struct bag *next = bag->next;

        torc_assert(bag->limbo == limbo && limbo->pending > 0);     /* I3 */
        limbo->pending--;
        freed += bag->count;
        free_objects(limbo, bag);
        change_bytes(limbo, -bag->bytes);
        if (limbo->spares < SPARES_KEPT_MAX)
            put_spare(limbo, bag);
        else
            destroy_bag(limbo, bag);
        bag = next;
    }
    return freed;
}

size_t
torci_limbo_relieve(struct torci_limbo *limbo)
{
    struct bag *bag = take_ready(limbo);
    size_t freed = 0;

    while (bag != NULL) {
        struct bag *next = bag->next;

        freed += bag->count;
        relieve(limbo, bag);
        bag = next;
    }
    return freed;
}

uint64_t
torci_limbo_bytes(const struct torci_limbo *limbo)
{
    /* Relaxed: gauges. What others freed first, so that the difference is never negative to the owner. */
    uint64_t relieved = torci_load(&limbo->bytes_relieved, memory_order_relaxed);
    uint64_t bytes = torci_load(&limbo->bytes, memory_order_relaxed);

    return bytes > relieved ? bytes - relieved : 0;
}

/* SPDX-License-Identifier: MIT */
/* base/slab: pages of objects of one size.
 *
 *     region   | page | page | page | never used ...                aligned to the page's size
 *     page     | word, size, region | o | o | o | o | ... |         the header is one cache line
 *                 |                       ^       ^
 *                 '-- free list of the page: --> o --> o, linked through the objects' first two bytes
 *
 *   unused --> held --(all taken)--> full --(an eighth is free)--> offered --> held
 *      ^                                                              '--(gathered, all are free)--> unused
 *
 *   held      a slab allocates from it: it has taken the page's free list along, or goes through it for the first time
 *   full      of nobody; less than an eighth of its objects are free
 *   offered   of nobody; stands in the stack of its size, for any slab to take
 *   unused    without an object; in the pool's stack, or never used
 *
 * The state, the number of free objects and the head of their list are one word, so each free knows whether it is
 * the one that has to offer the page. An eighth: less would have slabs change pages more often, each time for fewer
 * objects; more would leave more memory idle under random updates.
 *
 * Invariants   I1  a page's word counts the objects on its list; those a slab has taken along count as in use, as do
 *                  those never taken
 *              I2  a page is in one of: a bin, `unused`, `offered` of its size, the never used end of `current`, the
 *                  hands of a thread, or it is full
 *              I3  who makes a page offered by his change of its word, and nobody else, pushes it
 *              I4  while a page is held, full or offered, its header's plain fields do not change; when all its objects
 *                  are free and it has been taken from its stack, it is the taker's alone
 *              I5  a header is mapped until a grace period has passed since its page was in a stack: pop() reads it
 * Ordering     R1 change of a page's word, CAS -> A1 change of it, load in gather(): the list's links, and that all who
 *                 freed or held before are done with the page
 *              R2 push(), CAS of a stack -> A2 pop(), take_all(): the page's header
 *              R3 carve_or_grow(), CAS of `current` -> A3 load of it: the region
 *              R4 push_region(), CAS of `regions` -> A4 forget(): the region's link
 *              R5 torci_slab_trim(), regain(), store of `trimming` -> A5 exchange of it: what the last trim wrote into
 *                 regions
 * Progress     Free is lock-free: its CAS fails if somebody freed or took objects of the same page. Alloc likewise
 *              (stacks: somebody took or brought a page; `carved`, `current`: somebody got memory). A gathering takes
 *              all pages with room into its hands for a while: who finds none meanwhile takes a new one. Trims exclude
 *              one another by a try-lock; nobody waits for one.
 * Reclamation  Regions go to the reclaimer, because of I5; objects and pages are reused at once.
 * ABA          A stack's top carries a tag that each change moves on: 21 bits (16 in tiny builds) beside a page's
 *              address. Lists of a page need none: single objects are never taken from them. `current` needs none: it
 *              is compared within the section in which it was read. */
#include "base/slab.h"

#include "base/assert.h"
#include "base/epoch.h"

#if defined(TORC_TINY)
enum { REGION_PAGES_MIN = 2, REGION_PAGES_MAX = 8, TRIM_PAGES_MIN = 4, PAGE_SHIFT = 10 };
#else
/* 64 KiB: what a small store takes. 2 MiB: a huge page. */
enum { REGION_PAGES_MIN = 4, REGION_PAGES_MAX = 128, TRIM_PAGES_MIN = 256, PAGE_SHIFT = 14 };
#endif

enum {
    GROWTH = 4,              /* A region is at most a quarter of what the pool holds, */
    REGIONS_PER_LIMIT = 64,  /* and of a heap's limit no more than so, but never below its least size. */
    OFFER_SHARE = 8,
    GATHER_SHARE = 64,       /* Of a pool, without an object: worth a look at the header of each page, at most. */
    PAGES_ENOUGH = 16,       /* More than a put may take: version, record, nodes of the index, each of another size. */
    ADDRESS_BITS = 57,       /* Of user space, at most. */
    NUMBER_BITS = ADDRESS_BITS - PAGE_SHIFT,    /* Of a page's address; the rest of a stack's top is its tag. */
    PLACE_UNIT = 8,          /* Places in a page are counted in these. */
    FINE_MAX = 256,          /* Sizes go by 8 up to here, then by 16 up to twice as much, then by 32. */
    FINE_CLASSES = FINE_MAX / 8,
};

_Static_assert(TORCI_SLAB_PAGE_BYTES == 1 << PAGE_SHIFT, "a page");
_Static_assert(TORCI_SLAB_PAGE_BYTES / PLACE_UNIT <= UINT16_MAX, "a place fits into its half word");

enum page_state {
    HELD,
    FULL,
    OFFERED,
};

struct torci_slab_page {
    _Atomic(uint64_t) word;                     /* struct content, packed. */
    _Atomic(struct torci_slab_page *) next;     /* In a stack; the trim's own list. */
    struct torci_slab_region *region;           /* Immutable. */
    uint32_t object_bytes;                      /* Immutable while there are objects, as is the rest. */
    uint32_t class;
    uint32_t capacity;
    uint32_t offer_at;                          /* Free objects. */
};

enum { HEADER_BYTES = TORCI_CACHE_LINE };
_Static_assert(sizeof(struct torci_slab_page) <= HEADER_BYTES, "the header");

/* A page's word, taken apart. */
struct content {
    uint32_t free;          /* Place of the first free object; 0: none. */
    uint32_t count;         /* Of free objects. */
    enum page_state state;
};

/* What the trim knows of a region. */
enum fate {
    UNDECIDED,
    STAYS,
    LEAVES,
};

struct torci_slab_region {
    struct torci_retired retired;               /* First: the reclaimer hands this back. */
    struct torci_slab_pool *pool;               /* Immutable, as are the next three. */
    unsigned char *memory;
    size_t bytes;
    uint32_t pages;
    _Atomic(uint32_t) carved;                   /* Pages that have been used. */
    uint32_t gathered;                          /* Under `trimming`, as is `fate`: pages in the trim's hands. */
    enum fate fate;
    _Atomic(struct torci_slab_region *) next;   /* In `regions`. */
};

/* ---- Sizes ---- */

static uint32_t
class_of(size_t size)
{
    torc_assert(size > 0 && size <= TORCI_SLAB_BYTES_MAX);
    if (size <= FINE_MAX)
        return (uint32_t)(size - 1) / 8;
    if (size <= 2 * FINE_MAX)
        return (uint32_t)(FINE_CLASSES + (size - FINE_MAX - 1) / 16);
    return (uint32_t)(FINE_CLASSES + FINE_MAX / 16 + (size - 2 * FINE_MAX - 1) / 32);
}

static uint32_t
bytes_of(uint32_t class)
{
    torc_assert(class < TORCI_SLAB_CLASSES);
    if (class < FINE_CLASSES)
        return (class + 1) * 8;
    if (class < FINE_CLASSES + FINE_MAX / 16)
        return FINE_MAX + (class - FINE_CLASSES + 1) * 16;
    return 2 * FINE_MAX + (class - FINE_CLASSES - FINE_MAX / 16 + 1) * 32;
}

/* ---- Pages and places ---- */

static uint64_t
pack(struct content content)
{
    return (uint64_t)content.state << 32 | content.count << 16 | content.free;
}

static struct content
unpack(uint64_t word)
{
    return (struct content){word & UINT16_MAX, word >> 16 & UINT16_MAX, (enum page_state)(word >> 32)};
}

static struct torci_slab_page *
page_of(const void *object)
{
    return (struct torci_slab_page *)((uintptr_t)object & ~(uintptr_t)(TORCI_SLAB_PAGE_BYTES - 1));
}

static void *
object_at(struct torci_slab_page *page, uint32_t place)
{
    torc_assert(place * PLACE_UNIT >= HEADER_BYTES && place * PLACE_UNIT < TORCI_SLAB_PAGE_BYTES);
    return (unsigned char *)page + place * PLACE_UNIT;
}

static uint32_t
place_of(const void *object)
{
    return (uint32_t)((uintptr_t)object & (TORCI_SLAB_PAGE_BYTES - 1)) / PLACE_UNIT;
}

static uint16_t
link_of(const void *object)
{
    uint16_t link;

    memcpy(&link, object, sizeof(link));
    return link;
}

static void
set_link(void *object, uint32_t place)
{
    uint16_t link = (uint16_t)place;

    memcpy(object, &link, sizeof(link));
}

/* ---- Stacks of pages ---- */

static struct torci_slab_page *
top_page(uint64_t top)
{
    uint64_t number = top & ((UINT64_C(1) << NUMBER_BITS) - 1);

    return (struct torci_slab_page *)(uintptr_t)(number << PAGE_SHIFT);
}

/* The word that comes after `top`, with `page` on top. */
static uint64_t
next_top(uint64_t top, const struct torci_slab_page *page)
{
    uint64_t tag = (top >> NUMBER_BITS) + 1;

    return tag << NUMBER_BITS | (uint64_t)(uintptr_t)page >> PAGE_SHIFT;
}

static void
push(struct torci_slab_stack *stack, struct torci_slab_page *page)
{
    uint64_t top = torci_load(&stack->top, memory_order_relaxed);   /* Not followed; R2 decides. */

    do {
        torci_store(&page->next, top_page(top), memory_order_relaxed);  /* Relaxed: published by R2. */
        torci_race_window();
        /* R2. The pages below were pushed by an R2 as well, and every change since continues its release sequence. */
    } while (!torci_cas(&stack->top, &top, next_top(top, page), memory_order_release, memory_order_relaxed));
}

/* NULL: it is empty. In a section: the top may be gone from the stack, and its region released, when it is read. */
static struct torci_slab_page *
pop(struct torci_slab_stack *stack)
{
    uint64_t top = torci_load(&stack->top, memory_order_acquire);   /* A2 */

    torc_assert(torci_epoch_in_section());
    for (;;) {
        struct torci_slab_page *page = top_page(top);

        if (page == NULL)
            return NULL;
        /* Relaxed: right if the top, tag included, is what it was, and then written before it was pushed. */
        struct torci_slab_page *below = torci_load(&page->next, memory_order_relaxed);

        torci_race_window();
        if (torci_cas(&stack->top, &top, next_top(top, below), memory_order_acquire, memory_order_acquire)) /* A2 */
            return page;
    }
}

/* All of it, linked by `next`. */
static struct torci_slab_page *
take_all(struct torci_slab_stack *stack)
{
    uint64_t top = torci_load(&stack->top, memory_order_relaxed);   /* Not followed; the CAS decides. */

    while (top_page(top) != NULL)
        if (torci_cas(&stack->top, &top, next_top(top, NULL), memory_order_acquire, memory_order_relaxed)) /* A2 */
            return top_page(top);
    return NULL;
}

static bool
is_empty(const struct torci_slab_stack *stack)
{
    return top_page(torci_load(&stack->top, memory_order_relaxed)) == NULL;     /* Relaxed: a hint. */
}

/* ---- Regions ---- */

/* The pages of the next region: in proportion to what there is, so that small stores and tight limits do not suffer. */
static uint32_t
next_pages(const struct torci_slab_pool *pool)
{
    uint64_t most = torci_load(&pool->region_bytes, memory_order_relaxed) / GROWTH;     /* Relaxed: a figure. */
    uint32_t pages = REGION_PAGES_MIN;

    if (pool->heap->limit_bytes > 0 && most > pool->heap->limit_bytes / REGIONS_PER_LIMIT)
        most = pool->heap->limit_bytes / REGIONS_PER_LIMIT;
    while (pages < REGION_PAGES_MAX && (uint64_t)pages * 2 * TORCI_SLAB_PAGE_BYTES <= most)
        pages *= 2;
    return pages;
}

static struct torci_slab_region *
create_region(struct torci_slab_pool *pool)
{
    struct torci_slab_region *region = torci_alloc_zeroed(pool->heap, sizeof(*region));

    if (region == NULL)
        return NULL;
    region->pool = pool;
    region->pages = next_pages(pool);
    region->bytes = (size_t)region->pages * TORCI_SLAB_PAGE_BYTES;
    region->memory = torci_alloc_aligned(pool->heap, region->bytes, TORCI_SLAB_PAGE_BYTES);
    if (region->memory == NULL) {
        torci_free(pool->heap, region, sizeof(*region));
        return NULL;
    }
    torc_assert((uintptr_t)region->memory >> ADDRESS_BITS == 0);
    torci_fetch_add(&pool->region_bytes, region->bytes, memory_order_relaxed);      /* Relaxed: a figure. */
    return region;
}

static void
destroy_region(struct torci_slab_region *region)
{
    struct torci_slab_pool *pool = region->pool;

    torci_fetch_sub(&pool->region_bytes, region->bytes, memory_order_relaxed);      /* Relaxed: a figure. */
    torci_free_aligned(pool->heap, region->memory, region->bytes, TORCI_SLAB_PAGE_BYTES);
    torci_free(pool->heap, region, sizeof(*region));
}

/* The reclaimer's. */
static void
region_free(struct torci_retired *retired)
{
    destroy_region((struct torci_slab_region *)retired);
}

static struct torci_slab_page *
region_page(struct torci_slab_region *region, uint32_t number)
{
    struct torci_slab_page *page = (void *)(region->memory + (size_t)number * TORCI_SLAB_PAGE_BYTES);

    page->region = region;
    torci_init(&page->next, NULL);
    return page;
}

/* A page of `region` that has never been used; NULL: none is left. */
static struct torci_slab_page *
carve(struct torci_slab_region *region)
{
    uint32_t carved = torci_load(&region->carved, memory_order_relaxed);    /* The CAS decides. */

    while (carved < region->pages) {
        torci_race_window();
        /* Relaxed: what it gives away nobody else has seen but region's maker, by A3. */
        if (torci_cas(&region->carved, &carved, carved + 1, memory_order_relaxed, memory_order_relaxed))
            return region_page(region, carved);
    }
    return NULL;
}

static void
push_region(struct torci_slab_pool *pool, struct torci_slab_region *region)
{
    struct torci_slab_region *first = torci_load(&pool->regions, memory_order_relaxed);     /* The CAS decides. */

    do {
        torci_store(&region->next, first, memory_order_relaxed);        /* Relaxed: published by R4. */
        torci_race_window();
        /* R4. Whatever happened meanwhile, what `next` names is the first at this moment. */
    } while (!torci_cas(&pool->regions, &first, region, memory_order_release, memory_order_relaxed));
}

/* ---- Pages without an object ---- */

/* A page without an object is taken into use, or goes away. */
static void
count_in_use(struct torci_slab_pool *pool)
{
    torci_fetch_sub(&pool->idle_pages, 1, memory_order_relaxed);    /* Relaxed: a figure. */
}

/* Sort out what is offered: pages without an object become unused. */
static void
gather(struct torci_slab_pool *pool)
{
    for (uint32_t class = 0; class < TORCI_SLAB_CLASSES; class++) {
        struct torci_slab_page *page = take_all(&pool->offered[class]);

        while (page != NULL) {
            /* Relaxed: ours since take_all(). */
            struct torci_slab_page *next = torci_load(&page->next, memory_order_relaxed);
            struct content content = unpack(torci_load(&page->word, memory_order_acquire));     /* A1 */

            torc_assert(content.state == OFFERED);
            push(content.count == page->capacity ? &pool->unused : &pool->offered[class], page);
            page = next;
        }
    }
}

/* The next unused page, or NULL. In a section. */
static struct torci_slab_page *
pop_unused(struct torci_slab_pool *pool)
{
    struct torci_slab_page *page = pop(&pool->unused);

    if (page != NULL)
        count_in_use(pool);
    return page;
}

/* Before the pool grows: a page that is offered for another size, but has no object, if there are enough of them to be
 * worth a look at all that is offered. In a section. */
static struct torci_slab_page *
regain(struct torci_slab_pool *pool)
{
    uint64_t idle = torci_load(&pool->idle_pages, memory_order_relaxed);    /* Relaxed: figures. */

    if (idle * TORCI_SLAB_PAGE_BYTES * GATHER_SHARE < torci_load(&pool->region_bytes, memory_order_relaxed))
        return NULL;
    if (torci_exchange(&pool->trimming, true, memory_order_acquire))        /* A5 */
        return NULL;
    gather(pool);
    torci_store(&pool->trimming, false, memory_order_release);              /* R5 */
    return pop_unused(pool);
}

/* A page of `current`, or one that is regained, or of a region made for it. NULL: no memory. In a section. */
static struct torci_slab_page *
carve_or_grow(struct torci_slab_pool *pool)
{
    for (;;) {
        struct torci_slab_region *current = torci_load(&pool->current, memory_order_acquire);   /* A3 */
        struct torci_slab_page *page = current != NULL ? carve(current) : NULL;
        struct torci_slab_region *region;

        if (page == NULL)
            page = regain(pool);
        if (page != NULL)
            return page;
        region = create_region(pool);
        if (region == NULL)
            return NULL;
        page = carve(region);
        torci_race_window();
        /* R3. Relaxed on failure: another has made one, or a trim let `current` go; it is loaded again. */
        if (torci_cas(&pool->current, &current, region, memory_order_release, memory_order_relaxed)) {
            push_region(pool, region);
            return page;
        }
        destroy_region(region);
    }
}

/* ---- Trim ---- */

/* Whether all pages of `region` are in the trim's hands; if so, nobody will carve one any more. */
static bool
is_whole(struct torci_slab_region *region)
{
    uint32_t carved = torci_load(&region->carved, memory_order_relaxed);    /* The CAS decides. */

    if (region->gathered < carved)
        return false;
    /* Relaxed: as in carve(). */
    return carved == region->pages ||
           torci_cas(&region->carved, &carved, region->pages, memory_order_relaxed, memory_order_relaxed);
}

/* Take `region` out of the pool. Under `trimming`, so that no other link changes but the first. */
static void
forget(struct torci_slab_pool *pool, struct torci_slab_region *region)
{
    struct torci_slab_region *expected = region;
    struct torci_slab_region *next = torci_load(&region->next, memory_order_relaxed);   /* By A2 and A5 it is there. */
    struct torci_slab_region *before;

    /* Relaxed: a pointer less publishes nothing. Failure: it is another one, or none. */
    torci_cas(&pool->current, &expected, NULL, memory_order_relaxed, memory_order_relaxed);

    expected = region;
    /* R4, as a link of the release sequence. */
    if (torci_cas(&pool->regions, &expected, next, memory_order_acq_rel, memory_order_acquire))
        return;
    before = expected;      /* A4 */
    /* Relaxed: written before R4, or under `trimming`. */
    while (torci_load(&before->next, memory_order_relaxed) != region)
        before = torci_load(&before->next, memory_order_relaxed);
    torci_store(&before->next, next, memory_order_relaxed);
}

/* Let regions go of which all pages are unused. Under `trimming`. */
static size_t
release_regions(struct torci_slab_pool *pool)
{
    struct torci_slab_page *all = take_all(&pool->unused);
    struct torci_slab_page *next;
    size_t released = 0;

    /* Relaxed, here and below: links of pages that are ours. */
    for (struct torci_slab_page *page = all; page != NULL; page = torci_load(&page->next, memory_order_relaxed)) {
        page->region->gathered = 0;
        page->region->fate = UNDECIDED;
    }
    for (struct torci_slab_page *page = all; page != NULL; page = torci_load(&page->next, memory_order_relaxed))
        page->region->gathered++;
    for (struct torci_slab_page *page = all; page != NULL; page = next) {
        struct torci_slab_region *region = page->region;

        next = torci_load(&page->next, memory_order_relaxed);
        if (region->fate == UNDECIDED)
            region->fate = is_whole(region) ? LEAVES : STAYS;
        if (region->fate == STAYS) {
            push(&pool->unused, page);
            continue;
        }
        count_in_use(pool);
        if (--region->gathered == 0) {
            forget(pool, region);
            torci_reclaimer_retire(pool->reclaimer, &region->retired, region->bytes, region_free);
            released++;
        }
    }
    return released;
}

/* ---- Frees ---- */

/* A page has lost its last object. */
static void
count_idle(struct torci_slab_pool *pool)
{
    uint64_t idle = torci_fetch_add(&pool->idle_pages, 1, memory_order_relaxed) + 1;    /* Relaxed: a figure. */

    /* Relaxed: hints. A trim is due when most of the memory is idle, and twice as much of it as after the last one. */
    if (idle < torci_load(&pool->trim_at, memory_order_relaxed))
        return;
    if (idle * TORCI_SLAB_PAGE_BYTES > torci_load(&pool->region_bytes, memory_order_relaxed) / 2)
        torci_slab_trim(pool);
}

/* Put an object on its page's list. */
static void
give_back(struct torci_slab_pool *pool, struct torci_slab_page *page, void *object)
{
    /* Read while our object keeps the page what it is. */
    uint32_t class = page->class;
    uint32_t capacity = page->capacity;
    uint32_t offer_at = page->offer_at;
    uint64_t word = torci_load(&page->word, memory_order_relaxed);      /* R1 decides; the list is not followed. */
    struct content before;
    struct content after;

    do {
        before = unpack(word);
        torc_assert(before.count < capacity);       /* Else: freed twice. */
        set_link(object, before.free);
        after = (struct content){place_of(object), before.count + 1, before.state};
        if (before.state == FULL && after.count >= offer_at)
            after.state = OFFERED;
        torci_race_window();
        /* R1, A1. Failure: others freed objects, or the holder took them. */
    } while (!torci_cas(&page->word, &word, pack(after), memory_order_acq_rel, memory_order_relaxed));

    if (after.state != before.state)
        push(&pool->offered[class], page);          /* I3 */
    if (after.state == OFFERED && after.count == capacity)
        count_idle(pool);
}

#if defined(TORC_FAULTS)
enum { LINK_BYTES = sizeof(uint16_t) };

static void
bury(const struct torci_slab_page *page, void *object)
{
    memset((unsigned char *)object + LINK_BYTES, TORCI_FILL_FREED, page->object_bytes - LINK_BYTES);
}

/* An object comes into use again: nobody has written to it meanwhile. */
static void
exhume(const struct torci_slab_page *page, void *object)
{
    for (uint32_t i = LINK_BYTES; i < page->object_bytes; i++)
        torc_assert(((unsigned char *)object)[i] == TORCI_FILL_FREED);      /* Else: used after it was freed. */
    memset(object, TORCI_FILL_FRESH, page->object_bytes);
}
#else
#define bury(page, object) ((void)(page), (void)(object))
#define exhume(page, object) ((void)(page), (void)(object))
#endif

/* ---- Bins ---- */

/* A page without an object begins to hold those of `class`. */
static void
begin_page(struct torci_slab_bin *bin, struct torci_slab_page *page, uint32_t class)
{
    page->class = class;
    page->object_bytes = bytes_of(class);
    page->capacity = (TORCI_SLAB_PAGE_BYTES - HEADER_BYTES) / page->object_bytes;
    page->offer_at = page->capacity / OFFER_SHARE > 0 ? page->capacity / OFFER_SHARE : 1;
    torci_init(&page->word, pack((struct content){.state = HELD}));
    bin->free = 0;
    bin->fresh = HEADER_BYTES / PLACE_UNIT;
    bin->fresh_end = (uint16_t)(bin->fresh + page->capacity * bin->units);
    bin->page = page;
}

/* Take the list of a page that was offered, or of the bin's own if that is worth it; otherwise the bin loses it.
 * Returns what the page held before. */
static struct content
take_list(struct torci_slab_bin *bin, struct torci_slab_page *page)
{
    uint64_t word = torci_load(&page->word, memory_order_relaxed);      /* A1 decides. */
    struct content before;
    struct content after;

    do {
        before = unpack(word);
        after = (struct content){.state = HELD};
        if (before.count < page->offer_at)
            after = (struct content){before.free, before.count, FULL};
        torci_race_window();
        /* A1, R1. Failure: somebody freed an object. */
    } while (!torci_cas(&page->word, &word, pack(after), memory_order_acq_rel, memory_order_relaxed));

    bin->page = after.state == HELD ? page : NULL;
    bin->free = after.state == HELD ? (uint16_t)before.free : 0;
    bin->fresh_end = bin->fresh;
    return before;
}

/* A page for a bin that has nothing left. False: no memory. */
static bool
refill(struct torci_slab *slab, uint32_t class)
{
    struct torci_slab_pool *pool = slab->pool;
    struct torci_slab_bin *bin = &slab->bins[class];
    struct torci_epoch_guard guard;
    struct torci_slab_page *page;

    if (bin->page != NULL)
        (void)take_list(bin, bin->page);
    if (bin->page != NULL)
        return true;
    guard = torci_epoch_enter();
    page = pop(&pool->offered[class]);
    if (page != NULL) {
        if (take_list(bin, page).count == page->capacity)
            count_in_use(pool);
    } else {
        page = pop_unused(pool);
        if (page == NULL)
            page = carve_or_grow(pool);
        if (page != NULL)
            begin_page(bin, page, class);
    }
    torci_epoch_exit(guard);
    return page != NULL;
}

static bool
has_object(const struct torci_slab_bin *bin)
{
    return bin->free != 0 || bin->fresh != bin->fresh_end;
}

/* The next object of a bin that has one; freed ones first, they may be in the cache still. */
static void *
take_object(struct torci_slab_bin *bin)
{
    void *object;

    torc_assert(has_object(bin));
    if (bin->free != 0) {
        object = object_at(bin->page, bin->free);
        bin->free = link_of(object);
        if (bin->free != 0)
            __builtin_prefetch(object_at(bin->page, bin->free), 1);
        exhume(bin->page, object);
        return object;
    }
    object = object_at(bin->page, bin->fresh);
    bin->fresh = (uint16_t)(bin->fresh + bin->units);
    return object;
}

/* Let go of a page of which the bin has taken nothing. */
static void
let_go(struct torci_slab_pool *pool, struct torci_slab_page *page)
{
    uint64_t word = torci_load(&page->word, memory_order_acquire);      /* A1 */
    struct content content;

    do {
        content = unpack(word);
        torc_assert(content.state == HELD);
        if (content.count == page->capacity) {
            push(&pool->unused, page);
            count_idle(pool);
            return;
        }
        content.state = content.count >= page->offer_at ? OFFERED : FULL;
        /* R1. Failure, A1: somebody freed an object. */
    } while (!torci_cas(&page->word, &word, pack(content), memory_order_acq_rel, memory_order_acquire));

    if (content.state == OFFERED)
        push(&pool->offered[page->class], page);    /* I3 */
}

static bool
is_far_past_limit(const struct torci_heap *heap)
{
    uint64_t growth = heap->limit_bytes / REGIONS_PER_LIMIT;

    if (growth < (uint64_t)REGION_PAGES_MIN * TORCI_SLAB_PAGE_BYTES)
        growth = (uint64_t)REGION_PAGES_MIN * TORCI_SLAB_PAGE_BYTES;
    return heap->limit_bytes > 0 && torci_heap_settled(heap) > heap->limit_bytes + growth;
}

/* ---- Interface ---- */

void
torci_slab_pool_init(struct torci_slab_pool *pool, struct torci_heap *heap, struct torci_reclaimer *reclaimer)
{
    torc_assert(heap != NULL);

    pool->heap = heap;
    pool->reclaimer = reclaimer;
    torci_init(&pool->current, NULL);
    torci_init(&pool->regions, NULL);
    torci_init(&pool->region_bytes, 0);
    torci_init(&pool->idle_pages, 0);
    torci_init(&pool->trim_at, TRIM_PAGES_MIN);
    torci_init(&pool->trimming, false);
    torci_init(&pool->unused.top, 0);
    for (uint32_t class = 0; class < TORCI_SLAB_CLASSES; class++)
        torci_init(&pool->offered[class].top, 0);
}

void
torci_slab_pool_ending(struct torci_slab_pool *pool)
{
    torci_store(&pool->trimming, true, memory_order_relaxed);   /* Relaxed: exclusive. */
}

void
torci_slab_pool_fini(struct torci_slab_pool *pool)
{
    struct torci_slab_region *region = torci_load(&pool->regions, memory_order_acquire);    /* A4 */
    struct torci_slab_page *page;
    uint64_t used = 0;

    gather(pool);
    /* Relaxed, here and below: nobody else is left. */
    for (page = take_all(&pool->unused); page != NULL; page = torci_load(&page->next, memory_order_relaxed))
        used++;
    while (region != NULL) {
        struct torci_slab_region *next = torci_load(&region->next, memory_order_relaxed);

        used -= torci_load(&region->carved, memory_order_relaxed);
        destroy_region(region);
        region = next;
    }
    torc_assert(used == 0);     /* Else: objects have not been freed, or a slab holds a page. */
    torci_slab_pool_init(pool, pool->heap, pool->reclaimer);
}

void
torci_slab_init(struct torci_slab *slab, struct torci_slab_pool *pool)
{
    torc_assert(pool->heap != NULL);

    slab->pool = pool;
    memset(slab->bins, 0, sizeof(slab->bins));
    for (uint32_t class = 0; class < TORCI_SLAB_CLASSES; class++)
        slab->bins[class].units = (uint16_t)(bytes_of(class) / PLACE_UNIT);
}

void
torci_slab_fini(struct torci_slab *slab)
{
    for (uint32_t class = 0; class < TORCI_SLAB_CLASSES; class++) {
        struct torci_slab_bin *bin = &slab->bins[class];

        if (bin->page == NULL)
            continue;
        while (has_object(bin)) {
            void *object = take_object(bin);

            bury(bin->page, object);
            give_back(slab->pool, bin->page, object);
        }
        let_go(slab->pool, bin->page);
        bin->page = NULL;
    }
}

void *
torci_slab_alloc(struct torci_slab *slab, size_t size)
{
    torc_assert(size > 0);

    if (size > TORCI_SLAB_BYTES_MAX)
        return torci_alloc(slab->pool->heap, size);
#if defined(TORC_FAULTS)
    if (torci_alloc_fault_due())
        return NULL;
#endif
    uint32_t class = class_of(size);

    if (!has_object(&slab->bins[class]) && !refill(slab, class))
        return NULL;
    return take_object(&slab->bins[class]);
}

void
torci_slab_free(struct torci_slab_pool *pool, void *memory, size_t size)
{
    struct torci_slab_page *page;

    if (memory == NULL)
        return;
    if (size > TORCI_SLAB_BYTES_MAX) {
        torci_free(pool->heap, memory, size);
        return;
    }
    page = page_of(memory);
    torc_assert(page->region->pool == pool && page->class == class_of(size));   /* Else: not from here. */
    bury(page, memory);
    give_back(pool, page, memory);
}

bool
torci_slab_has_room(const struct torci_slab *slab, size_t size)
{
    struct torci_slab_pool *pool = slab->pool;
    struct torci_slab_region *current;
    struct torci_epoch_guard guard;
    bool uncarved;

    if (size > TORCI_SLAB_BYTES_MAX)
        return false;
    /* Relaxed: a figure. */
    if (is_far_past_limit(pool->heap))
        return !is_empty(&pool->unused) && torci_load(&pool->idle_pages, memory_order_relaxed) >= PAGES_ENOUGH;

    uint32_t class = class_of(size);

    if (has_object(&slab->bins[class]) || !is_empty(&pool->offered[class]) || !is_empty(&pool->unused))
        return true;
    guard = torci_epoch_enter();
    current = torci_load(&pool->current, memory_order_acquire);     /* A3 */
    /* Relaxed: a hint. */
    uncarved = current != NULL && torci_load(&current->carved, memory_order_relaxed) < current->pages;
    torci_epoch_exit(guard);
    return uncarved;
}

size_t
torci_slab_trim(struct torci_slab_pool *pool)
{
    uint64_t idle;
    size_t released;

    if (torci_exchange(&pool->trimming, true, memory_order_acquire))        /* A5 */
        return 0;
    gather(pool);
    released = release_regions(pool);
    /* Relaxed: figures. */
    idle = torci_load(&pool->idle_pages, memory_order_relaxed);
    torci_store(&pool->trim_at, idle * 2 > TRIM_PAGES_MIN ? idle * 2 : TRIM_PAGES_MIN, memory_order_relaxed);
    torci_store(&pool->trimming, false, memory_order_release);              /* R5 */
    return released;
}

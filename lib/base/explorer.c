/* SPDX-License-Identifier: MIT */
/* base/explorer: a random explorer of C11's weak memory, in place of the sanitizer's runtime.
 *
 *   granule (8 bytes of memory)   recent accesses: fiber, its clock, bytes, written or read, atomic or not
 *   location (an atomic object)   its last stores, oldest first; each with the clock that an acquire of it obtains
 *
 * Model        Each fiber has a vector clock, as in base/explorer.h. A store that releases carries the fiber's clock, a
 *              load that acquires takes it in. A load may return any store that is not older than
 *                - what this fiber has read or written there before (coherence),
 *                - the newest store there that happens before the load,
 *                - for seq_cst: the newest seq_cst store there. Nothing else orders seq_cst accesses of different
 *                  locations: so a proof that rests on their total order is tested for each access it names.
 *              Read-modify-write operations read the newest store and carry on its clock (release sequence); a CAS may
 *              also fail with an older one. The order of stores of a location is the order in which they run.
 *              Two accesses to a byte, not both reads and not both atomic, race unless the earlier one's clock has been
 *              seen by the later one's fiber.
 * Invariants   I1  real memory holds the newest store, so that code which is not instrumented goes on working
 *              I2  what a schedule learned has its `generation`; entries of others are free
 *              I3  a fiber's own stack is not looked at
 * First sight  A location seen for the first time in a schedule has one store, visible to all: what memory holds. If it
 *              holds something else than the newest store, code that is not instrumented wrote it: likewise.
 * Mixed sizes  An atomic object is always accessed with one size. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE     /* dladdr() */
#endif
#include "base/explorer.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GRANULE_SHIFT = 3,
    GRANULE_BYTES = 1 << GRANULE_SHIFT,
    GRANULES = 1 << 17,
    LOCATIONS = 1 << 14,
    ACCESSES = 8,               /* Remembered per granule. */
    STORES = 8,                 /* Remembered per location. */
    FREED_WHOLE_MAX = 1024,     /* Larger memory is marked only where it was accessed. */
    STALE_FAILURES = 4,         /* One failing CAS in so many looks for an older store. */
};

struct access {
    const void *where;          /* Return address into the code that did it. */
    uint32_t clock;
    uint8_t fiber;
    uint8_t bytes;              /* Mask. 0: none. */
    bool is_write;
    bool is_atomic;
};

struct granule {
    uintptr_t number;           /* Address >> GRANULE_SHIFT. */
    uint32_t generation;
    uint8_t locations;          /* Mask of bytes at which a location begins. */
    uint8_t next;               /* Next access to overwrite. */
    struct access accesses[ACCESSES];
};

struct store {
    uint64_t value;
    uint32_t clock;             /* Of the fiber that stored. */
    uint8_t fiber;
    bool is_seq_cst;
    struct torci_clock passes;  /* What an acquire obtains. */
};

struct location {
    uintptr_t address;
    uint32_t generation;
    uint32_t stores_ever;       /* 0: forgotten. */
    uint32_t floor[TORCI_FIBER_SLOTS];      /* Index of the oldest store that a fiber may still read. */
    struct store stores[STORES];            /* Index modulo STORES. */
};

static struct granule granules[GRANULES];
static struct location locations[LOCATIONS];
static uint32_t generation;

static struct torci_clock clocks[TORCI_FIBER_SLOTS];
static struct torci_clock fence_released[TORCI_FIBER_SLOTS];
static struct torci_clock fence_acquirable[TORCI_FIBER_SLOTS];
static struct torci_clock seq_cst_clock;
static uint64_t randomness;
static bool answering;          /* An access is being recorded: what that copies is our own. */

static _Noreturn void
give_up(const char *what)
{
    fprintf(stderr, "torci_explorer: %s\n", what);
    abort();
}

static uint32_t
draw_below(uint32_t bound)
{
    randomness ^= randomness << 13;
    randomness ^= randomness >> 7;
    randomness ^= randomness << 17;
    return (uint32_t)((randomness >> 32) * bound >> 32);
}

static bool
is_exploring(void)
{
    return torci_fiber_running.number != TORCI_FIBER_NONE;
}

static bool
is_own_stack(uintptr_t address)
{
    return address - torci_fiber_running.stack < TORCI_FIBER_STACK_BYTES;
}

static bool
acquires(int order)
{
    return order != memory_order_relaxed && order != memory_order_release;
}

static bool
releases(int order)
{
    return order >= memory_order_release;
}

/* ---- Clocks --------------------------------------------------------------------------------------------------- */

void
torci_explorer_join(struct torci_clock *to, const struct torci_clock *from)
{
    for (unsigned i = 0; i < TORCI_FIBER_SLOTS; i++)
        to->at[i] = to->at[i] > from->at[i] ? to->at[i] : from->at[i];
}

void
torci_explorer_release(struct torci_clock *clock)
{
    unsigned self = torci_fiber_running.number;

    if (!is_exploring())
        return;
    torci_explorer_join(clock, &clocks[self]);
    clocks[self].at[self]++;    /* What comes later is not passed on. */
}

void
torci_explorer_acquire(const struct torci_clock *clock)
{
    if (is_exploring())
        torci_explorer_join(&clocks[torci_fiber_running.number], clock);
}

/* ---- Races ---------------------------------------------------------------------------------------------------- */

/* The granule's entry, made if need be; NULL if `only_if_known` and it is not. */
static struct granule *
find_granule(uintptr_t number, bool only_if_known)
{
    uint32_t slot = (uint32_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 40) % GRANULES;

    for (unsigned probes = 0; probes < GRANULES / 2; probes++, slot = (slot + 1) % GRANULES) {
        struct granule *granule = &granules[slot];

        if (granule->generation != generation) {        /* I2 */
            if (only_if_known)
                return NULL;
            granule->number = number;
            granule->generation = generation;
            granule->locations = 0;
            granule->next = 0;
            for (unsigned i = 0; i < ACCESSES; i++)
                granule->accesses[i].bytes = 0;
            return granule;
        }
        if (granule->number == number)
            return granule;
    }
    give_up("one schedule touches too much memory");
}

static void
describe(char *text, size_t size, const void *where)
{
    Dl_info info;
    const char *name = "?";
    uintptr_t offset = (uintptr_t)where;

    if (dladdr(where, &info) != 0 && info.dli_fname != NULL) {
        name = strrchr(info.dli_fname, '/') != NULL ? strrchr(info.dli_fname, '/') + 1 : info.dli_fname;
        offset -= (uintptr_t)info.dli_fbase;
    }
    snprintf(text, size, "%s+0x%llx", name, (unsigned long long)offset - 1);
}

static void
report_race(const struct access *earlier, const struct access *later)
{
    char text[256], first[80], second[80];

    describe(first, sizeof(first), earlier->where);
    describe(second, sizeof(second), later->where);
    snprintf(text, sizeof(text), "data race: fiber %u's %s%s at %s, then fiber %u's %s%s at %s", earlier->fiber,
             earlier->is_atomic ? "atomic " : "", earlier->is_write ? "write" : "read", first, later->fiber,
             later->is_atomic ? "atomic " : "", later->is_write ? "write" : "read", second);
    answering = false;
    torci_fail_here(text);
}

static bool
conflict(const struct access *earlier, const struct access *later)
{
    if ((earlier->bytes & later->bytes) == 0 || earlier->fiber == later->fiber)
        return false;
    if ((!earlier->is_write && !later->is_write) || (earlier->is_atomic && later->is_atomic))
        return false;
    return earlier->clock > clocks[later->fiber].at[earlier->fiber];
}

/* Of one fiber, a write stands for an earlier access to the same bytes, and so does a read for an earlier read. */
static bool
stands_for(const struct access *later, const struct access *earlier)
{
    return earlier->fiber == later->fiber && earlier->bytes == later->bytes
        && earlier->is_atomic == later->is_atomic && (later->is_write || !earlier->is_write);
}

/* Check the access against the remembered ones, then remember it. */
static void
check_access(struct granule *granule, const struct access *access)
{
    unsigned place = ACCESSES;

    for (unsigned i = 0; i < ACCESSES; i++) {
        const struct access *earlier = &granule->accesses[i];

        if (earlier->bytes == 0 || stands_for(access, earlier))
            place = i;
        else if (conflict(earlier, access))
            report_race(earlier, access);
    }
    if (place == ACCESSES)
        place = granule->next++ % ACCESSES;
    granule->accesses[place] = *access;
}

static struct location *find_location(uintptr_t address, bool only_if_known);

/* A plain write, or a new owner of the memory: what the locations there held is no longer so. */
static void
forget_locations(struct granule *granule)
{
    for (unsigned byte = 0; byte < GRANULE_BYTES; byte++) {
        if ((granule->locations & 1u << byte) == 0)
            continue;

        struct location *location = find_location((granule->number << GRANULE_SHIFT) + byte, true);
        if (location != NULL)
            location->stores_ever = 0;
    }
    granule->locations = 0;
}

/* Record an access to any number of bytes. */
static void
record(const void *pointer, size_t size, bool is_write, bool is_atomic, const void *where)
{
    uintptr_t address = (uintptr_t)pointer;
    uintptr_t end = address + size;
    unsigned self = torci_fiber_running.number;
    struct access access = {.where = where, .clock = clocks[self].at[self], .fiber = (uint8_t)self,
                            .is_write = is_write, .is_atomic = is_atomic};

    while (address < end) {
        uintptr_t number = address >> GRANULE_SHIFT;
        uintptr_t next = (number + 1) << GRANULE_SHIFT;
        unsigned first = (unsigned)(address % GRANULE_BYTES);
        unsigned last = next <= end ? GRANULE_BYTES : (unsigned)(end % GRANULE_BYTES);
        struct granule *granule = find_granule(number, false);

        access.bytes = (uint8_t)((0xffu << first) & (0xffu >> (GRANULE_BYTES - last)));
        check_access(granule, &access);
        if (is_write && !is_atomic && granule->locations != 0)
            forget_locations(granule);
        address = next;
    }
}

static void
record_plain(const void *pointer, size_t size, bool is_write, const void *where)
{
    if (!is_exploring() || answering || is_own_stack((uintptr_t)pointer))      /* I3 */
        return;
    answering = true;
    record(pointer, size, is_write, false, where);
    answering = false;
}

void
torci_explorer_allocated(const void *memory, size_t size)
{
    uintptr_t first = (uintptr_t)memory >> GRANULE_SHIFT;
    uintptr_t last = ((uintptr_t)memory + size - 1) >> GRANULE_SHIFT;

    if (!is_exploring() || size == 0)
        return;
    for (uintptr_t number = first; number <= last; number++) {
        struct granule *granule = find_granule(number, true);

        if (granule == NULL)
            continue;
        forget_locations(granule);
        for (unsigned i = 0; i < ACCESSES; i++)
            granule->accesses[i].bytes = 0;
    }
}

void
torci_explorer_freed(const void *memory, size_t size)
{
    uintptr_t first = (uintptr_t)memory >> GRANULE_SHIFT;
    uintptr_t last = ((uintptr_t)memory + size - 1) >> GRANULE_SHIFT;
    const void *where = __builtin_return_address(0);

    if (!is_exploring() || size == 0)
        return;
    for (uintptr_t number = first; number <= last; number++)
        if (size <= FREED_WHOLE_MAX || find_granule(number, true) != NULL)
            record_plain((const void *)(number << GRANULE_SHIFT), GRANULE_BYTES, true, where);
}

/* ---- Locations ------------------------------------------------------------------------------------------------ */

static struct location *
find_location(uintptr_t address, bool only_if_known)
{
    uint32_t slot = (uint32_t)(address * UINT64_C(0x9e3779b97f4a7c15) >> 40) % LOCATIONS;

    for (unsigned probes = 0; probes < LOCATIONS / 2; probes++, slot = (slot + 1) % LOCATIONS) {
        struct location *location = &locations[slot];

        if (location->generation != generation) {       /* I2 */
            if (only_if_known)
                return NULL;
            location->address = address;
            location->generation = generation;
            location->stores_ever = 0;
            return location;
        }
        if (location->address == address)
            return location;
    }
    give_up("one schedule touches too many atomic objects");
}

static struct store *
store_at(struct location *location, uint32_t index)
{
    return &location->stores[index % STORES];
}

/* A store that nobody in this schedule made: visible to all. */
static void
append_foreign(struct location *location, uint64_t value)
{
    uint32_t index = location->stores_ever++;
    struct store *store = store_at(location, index);

    store->value = value;
    store->clock = 0;
    store->fiber = TORCI_FIBER_NONE;
    store->is_seq_cst = false;
    store->passes = (struct torci_clock){{0}};
    for (unsigned fiber = 0; fiber < TORCI_FIBER_SLOTS; fiber++)
        location->floor[fiber] = index;
}

static void
append_own(struct location *location, uint64_t value, int order, const struct torci_clock *carried)
{
    unsigned self = torci_fiber_running.number;
    struct torci_clock *clock = &clocks[self];
    uint32_t index = location->stores_ever++;
    struct store *store = store_at(location, index);
    struct torci_clock passes = fence_released[self];

    clock->at[self]++;
    if (releases(order))
        torci_explorer_join(&passes, clock);
    if (carried != NULL)
        torci_explorer_join(&passes, carried);
    store->value = value;
    store->clock = clock->at[self];
    store->fiber = (uint8_t)self;
    store->is_seq_cst = order == memory_order_seq_cst;
    store->passes = passes;
    location->floor[self] = index;
    clock->at[self]++;          /* What comes later is not passed on. */
}

/* The index of the oldest store that this fiber may read. */
static uint32_t
oldest_readable(struct location *location, int order)
{
    unsigned self = torci_fiber_running.number;
    uint32_t newest = location->stores_ever - 1;
    uint32_t oldest = location->floor[self];

    if (newest - oldest >= STORES)
        oldest = newest - (STORES - 1);
    for (uint32_t index = newest; index > oldest; index--) {
        const struct store *store = store_at(location, index);

        if (store->clock <= clocks[self].at[store->fiber] || (order == memory_order_seq_cst && store->is_seq_cst))
            return index;
    }
    return oldest;
}

static uint64_t
read_store(struct location *location, uint32_t index, int order)
{
    unsigned self = torci_fiber_running.number;
    const struct store *store = store_at(location, index);

    location->floor[self] = index;
    torci_explorer_join(acquires(order) ? &clocks[self] : &fence_acquirable[self], &store->passes);
    return store->value;
}

/* The location of an object that now holds `value`, ready for an access. */
static struct location *
prepare_location(const volatile void *pointer, uint64_t value)
{
    uintptr_t address = (uintptr_t)pointer;
    struct location *location = find_location(address, false);

    if (location->stores_ever == 0)
        find_granule(address >> GRANULE_SHIFT, false)->locations |= (uint8_t)(1u << address % GRANULE_BYTES);
    if (location->stores_ever == 0 || store_at(location, location->stores_ever - 1)->value != value)
        append_foreign(location, value);
    return location;
}

static void
begin_seq_cst(int order)
{
    if (order == memory_order_seq_cst)
        torci_explorer_join(&clocks[torci_fiber_running.number], &seq_cst_clock);
}

static void
end_seq_cst(int order)
{
    if (order == memory_order_seq_cst)
        torci_explorer_join(&seq_cst_clock, &clocks[torci_fiber_running.number]);
}

/* The four kinds of access. `current` is what real memory holds; the caller writes it (I1). */

static uint64_t
explore_load(const volatile void *pointer, size_t size, uint64_t current, int order, const void *where)
{
    answering = true;
    record((const void *)pointer, size, false, true, where);

    struct location *location = prepare_location(pointer, current);
    uint32_t oldest = oldest_readable(location, order);
    uint32_t index = oldest + draw_below(location->stores_ever - oldest);
    uint64_t value = read_store(location, index, order);

    answering = false;
    return value;
}

static void
explore_store(const volatile void *pointer, size_t size, uint64_t current, uint64_t value, int order,
              const void *where)
{
    answering = true;
    record((const void *)pointer, size, true, true, where);
    append_own(prepare_location(pointer, current), value, order, NULL);
    answering = false;
}

/* A read-modify-write operation that succeeds. */
static void
explore_update(const volatile void *pointer, size_t size, uint64_t current, uint64_t value, int order,
               const void *where)
{
    answering = true;
    record((const void *)pointer, size, true, true, where);

    struct location *location = prepare_location(pointer, current);
    uint32_t newest = location->stores_ever - 1;
    struct torci_clock carried = store_at(location, newest)->passes;

    (void)read_store(location, newest, order);
    append_own(location, value, order, &carried);
    answering = false;
}

/* Whether a CAS that expects `expected` fails, and with which value. It fails if the newest store is another one; now
 * and then it fails because it reads an older one. */
static bool
explore_failing_cas(const volatile void *pointer, size_t size, uint64_t current, uint64_t expected, int order,
                    uint64_t *seen, const void *where)
{
    answering = true;
    record((const void *)pointer, size, false, true, where);

    struct location *location = prepare_location(pointer, current);
    uint32_t index = location->stores_ever - 1;

    if (draw_below(STALE_FAILURES) == 0) {
        uint32_t oldest = oldest_readable(location, order);
        uint32_t older = oldest + draw_below(location->stores_ever - oldest);

        if (store_at(location, older)->value != expected)
            index = older;
    }

    bool fails = store_at(location, index)->value != expected;
    if (fails)
        *seen = read_store(location, index, order);
    answering = false;
    return fails;
}

void
torci_explorer_begin(uint64_t seed)
{
    generation++;
    if (generation == 0)
        give_up("too many schedules");
    randomness = seed | 1;
    answering = false;
    seq_cst_clock = (struct torci_clock){{0}};
    for (unsigned fiber = 0; fiber < TORCI_FIBER_SLOTS; fiber++) {
        clocks[fiber] = (struct torci_clock){{0}};
        clocks[fiber].at[fiber] = 1;
        fence_released[fiber] = (struct torci_clock){{0}};
        fence_acquirable[fiber] = (struct torci_clock){{0}};
    }
}

/* ---- What the compiler calls ------------------------------------------------------------------------------------
 *
 * The names and types are the compiler's. */

#define CALLER __builtin_return_address(0)

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_read_range(void *pointer, size_t size);
void __tsan_write_range(void *pointer, size_t size);
void __tsan_vptr_update(void *pointer, void *value);
void __tsan_vptr_read(void *pointer);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);
void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int byte, size_t size);

void
__tsan_init(void)
{
}

void
__tsan_func_entry(void *caller)
{
    (void)caller;
}

void
__tsan_func_exit(void)
{
}

#define DEFINE_PLAIN(name, size, is_write)                                                          \
    void name(void *pointer);                                                                       \
    void name(void *pointer)                                                                        \
    {                                                                                               \
        record_plain(pointer, size, is_write, CALLER);                                              \
    }

#define DEFINE_PLAIN_SIZE(size)                                                                     \
    DEFINE_PLAIN(__tsan_read##size, size, false)                                                    \
    DEFINE_PLAIN(__tsan_write##size, size, true)                                                    \
    DEFINE_PLAIN(__tsan_unaligned_read##size, size, false)                                          \
    DEFINE_PLAIN(__tsan_unaligned_write##size, size, true)                                          \
    DEFINE_PLAIN(__tsan_read_write##size, size, true)                                               \
    DEFINE_PLAIN(__tsan_unaligned_read_write##size, size, true)                                     \
    DEFINE_PLAIN(__tsan_volatile_read##size, size, false)                                           \
    DEFINE_PLAIN(__tsan_volatile_write##size, size, true)                                           \
    DEFINE_PLAIN(__tsan_unaligned_volatile_read##size, size, false)                                 \
    DEFINE_PLAIN(__tsan_unaligned_volatile_write##size, size, true)

DEFINE_PLAIN_SIZE(1)
DEFINE_PLAIN_SIZE(2)
DEFINE_PLAIN_SIZE(4)
DEFINE_PLAIN_SIZE(8)
DEFINE_PLAIN_SIZE(16)

void
__tsan_read_range(void *pointer, size_t size)
{
    record_plain(pointer, size, false, CALLER);
}

void
__tsan_write_range(void *pointer, size_t size)
{
    record_plain(pointer, size, true, CALLER);
}

void
__tsan_vptr_update(void *pointer, void *value)
{
    (void)value;
    record_plain(pointer, sizeof(void *), true, CALLER);
}

void
__tsan_vptr_read(void *pointer)
{
    record_plain(pointer, sizeof(void *), false, CALLER);
}

/* Edges that a library makes (base/annotate.h): a release store and an acquire load of what is kept here per address.
 * Kept as a location of its own, one byte past the address, where no object of this library begins. */
static struct location *
annotation(void *address)
{
    struct location *location = find_location((uintptr_t)address + 1, false);

    if (location->stores_ever == 0)
        append_foreign(location, 0);
    return location;
}

void
__tsan_release(void *address)
{
    if (!is_exploring())
        return;
    answering = true;

    struct location *location = annotation(address);
    struct torci_clock carried = store_at(location, location->stores_ever - 1)->passes;

    append_own(location, 0, memory_order_release, &carried);
    answering = false;
}

void
__tsan_acquire(void *address)
{
    if (!is_exploring())
        return;
    answering = true;

    struct location *location = annotation(address);

    (void)read_store(location, location->stores_ever - 1, memory_order_acquire);
    answering = false;
}

void
__tsan_atomic_thread_fence(int order)
{
    unsigned self = torci_fiber_running.number;

    atomic_thread_fence(memory_order_seq_cst);
    if (!is_exploring())
        return;
    if (acquires(order))
        torci_explorer_join(&clocks[self], &fence_acquirable[self]);
    begin_seq_cst(order);
    end_seq_cst(order);
    if (releases(order)) {
        fence_released[self] = clocks[self];
        clocks[self].at[self]++;
    }
}

void
__tsan_atomic_signal_fence(int order)
{
    (void)order;
}

/* One fiber runs at a time: what real memory holds does not change between the parts of an operation. Out of fibers the
 * operations are the real ones, as strong as any. */
#define SEQ_CST memory_order_seq_cst

#define DEFINE_UPDATE(bits, type, name, real, result)                                               \
    type __tsan_atomic##bits##_##name(volatile type *pointer, type operand, int order);             \
    type __tsan_atomic##bits##_##name(volatile type *pointer, type operand, int order)              \
    {                                                                                               \
        type current = __atomic_##real(pointer, operand, __ATOMIC_SEQ_CST);                         \
                                                                                                    \
        if (is_exploring())                                                                         \
            explore_update(pointer, sizeof(type), current, (type)(result), order, CALLER);          \
        return current;                                                                             \
    }

#define DEFINE_CAS(bits, type, name)                                                                \
    int __tsan_atomic##bits##_##name(volatile type *pointer, type *expected, type desired, int success, int failure); \
    int __tsan_atomic##bits##_##name(volatile type *pointer, type *expected, type desired, int success, int failure)  \
    {                                                                                               \
        return compare_exchange_##bits(pointer, expected, desired, success, failure, CALLER);       \
    }

#define DEFINE_ATOMIC(bits, type)                                                                   \
    type __tsan_atomic##bits##_load(const volatile type *pointer, int order);                       \
    void __tsan_atomic##bits##_store(volatile type *pointer, type value, int order);                \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *pointer, type expected, type desired, int success, \
                                                    int failure);                                   \
                                                                                                    \
    type __tsan_atomic##bits##_load(const volatile type *pointer, int order)                        \
    {                                                                                               \
        type current = __atomic_load_n(pointer, __ATOMIC_SEQ_CST);                                  \
                                                                                                    \
        if (!is_exploring())                                                                        \
            return current;                                                                         \
        return (type)explore_load(pointer, sizeof(type), current, order, CALLER);                   \
    }                                                                                               \
                                                                                                    \
    void __tsan_atomic##bits##_store(volatile type *pointer, type value, int order)                 \
    {                                                                                               \
        type current = __atomic_exchange_n(pointer, value, __ATOMIC_SEQ_CST);                       \
                                                                                                    \
        if (is_exploring())                                                                         \
            explore_store(pointer, sizeof(type), current, value, order, CALLER);                    \
    }                                                                                               \
                                                                                                    \
    static int compare_exchange_##bits(volatile type *pointer, type *expected, type desired, int success, int failure, \
                                       const void *where)                                           \
    {                                                                                               \
        type before = *expected;                                                                    \
        uint64_t seen;                                                                              \
                                                                                                    \
        if (is_exploring() && explore_failing_cas(pointer, sizeof(type), __atomic_load_n(pointer, __ATOMIC_SEQ_CST), \
                                                  before, failure, &seen, where)) {                 \
            *expected = (type)seen;                                                                 \
            return 0;                                                                               \
        }                                                                                           \
        if (!__atomic_compare_exchange_n(pointer, expected, desired, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) \
            return 0;                                                                               \
        if (is_exploring())                                                                         \
            explore_update(pointer, sizeof(type), before, desired, success, where);                 \
        return 1;                                                                                   \
    }                                                                                               \
                                                                                                    \
    DEFINE_CAS(bits, type, compare_exchange_strong)                                                 \
    DEFINE_CAS(bits, type, compare_exchange_weak)                                                   \
                                                                                                    \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *pointer, type expected, type desired, int success, \
                                                    int failure)                                    \
    {                                                                                               \
        (void)compare_exchange_##bits(pointer, &expected, desired, success, failure, CALLER);       \
        return expected;                                                                            \
    }                                                                                               \
                                                                                                    \
    DEFINE_UPDATE(bits, type, exchange, exchange_n, operand)                                        \
    DEFINE_UPDATE(bits, type, fetch_add, fetch_add, current + operand)                              \
    DEFINE_UPDATE(bits, type, fetch_sub, fetch_sub, current - operand)                              \
    DEFINE_UPDATE(bits, type, fetch_and, fetch_and, current & operand)                              \
    DEFINE_UPDATE(bits, type, fetch_or, fetch_or, current | operand)                                \
    DEFINE_UPDATE(bits, type, fetch_xor, fetch_xor, current ^ operand)                              \
    DEFINE_UPDATE(bits, type, fetch_nand, fetch_nand, ~(current & operand))

DEFINE_ATOMIC(8, uint8_t)
DEFINE_ATOMIC(16, uint16_t)
DEFINE_ATOMIC(32, uint32_t)
DEFINE_ATOMIC(64, uint64_t)

/* ---- Copies (with --wrap) --------------------------------------------------------------------------------------- */

void *__real_memcpy(void *to, const void *from, size_t size) __attribute__((weak));
void *__real_memmove(void *to, const void *from, size_t size) __attribute__((weak));
void *__real_memset(void *to, int byte, size_t size) __attribute__((weak));
int __real_memcmp(const void *a, const void *b, size_t size) __attribute__((weak));
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__wrap_memmove(void *to, const void *from, size_t size);
void *__wrap_memset(void *to, int byte, size_t size);
int __wrap_memcmp(const void *a, const void *b, size_t size);

void *
__wrap_memcpy(void *to, const void *from, size_t size)
{
    record_plain(from, size, false, CALLER);
    record_plain(to, size, true, CALLER);
    return __real_memcpy(to, from, size);
}

void *
__wrap_memmove(void *to, const void *from, size_t size)
{
    record_plain(from, size, false, CALLER);
    record_plain(to, size, true, CALLER);
    return __real_memmove(to, from, size);
}

void *
__wrap_memset(void *to, int byte, size_t size)
{
    record_plain(to, size, true, CALLER);
    return __real_memset(to, byte, size);
}

int
__wrap_memcmp(const void *a, const void *b, size_t size)
{
    record_plain(a, size, false, CALLER);
    record_plain(b, size, false, CALLER);
    return __real_memcmp(a, b, size);
}

/* Newer compilers call these themselves. */

void *
__tsan_memcpy(void *to, const void *from, size_t size)
{
    record_plain(from, size, false, CALLER);
    record_plain(to, size, true, CALLER);
    return memcpy(to, from, size);
}

void *
__tsan_memmove(void *to, const void *from, size_t size)
{
    record_plain(from, size, false, CALLER);
    record_plain(to, size, true, CALLER);
    return memmove(to, from, size);
}

void *
__tsan_memset(void *to, int byte, size_t size)
{
    record_plain(to, size, true, CALLER);
    return memset(to, byte, size);
}

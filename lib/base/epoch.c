/* SPDX-License-Identifier: MIT */
/* base/epoch: threads and their indexes, grace periods, and what ThreadSanitizer must be told about them.
 *
 *   indexes    | 1 1 1 0 1 0 ... |   one bit per index; a set bit is owned by a living thread or an adopter
 *
 * Registration   A thread takes the lowest free index, registers with liburcu, and leaves a destructor for its exit.
 *                The reclaiming thread is registered by liburcu itself: it takes an index only, and one of its own,
 *                0: it never goes away, so what another thread left behind at its index would never be looked after.
 * Invariants     I1  a set bit has one owner
 *                I2  index_bound > every index whose bit is or was set, from before the index's first use
 * Ordering       R1 leave_index(), fetch_and of the bit's word -> A1 take_index() and torci_thread_adopt(), fetch_or:
 *                   all that the index's last owner wrote
 *                R3 unregister(), store of `reclaimer_present` -> A3 take_own_index(), exchange: as R1
 *                R2 raise_bound(), CAS, seq_cst -> A2 torci_thread_index_bound(): in one order with whatever the new
 *                   owner and the caller do next by seq_cst, so a caller that misses the index is missed by its owner
 * Progress       Registration is lock-free but for liburcu's (short) registry lock; sections, retire, stamps and
 *                adoption are wait-free; the barrier and the wait block.
 * Reclamation    What this file keeps is static. The library must stay loaded: destructors and workers point into it.
 *
 * Under ThreadSanitizer. liburcu is not instrumented, so the edges that a grace period makes have to be told. Telling
 * too much hides the very bug this is for, a use after exit: an address that each exit releases and each free_fn
 * acquires also covers exits that came long after the retire. Therefore sections are keyed by a clock that each retire
 * advances:
 *   T1  after entering:  began = clock
 *   T2  before leaving:  release the address of this index's log entry for `began`
 *   T3  at retire:       stamp = ++clock, after the unlinking; release the stamp's address
 *   T4  before free_fn:  acquire that address, and in each log the last entry with began < stamp
 *   T5  after free_fn:   release `freed`; acquired by the barrier
 * A section that can hold the object read the clock before it found the object, hence before the stamp was drawn: T4
 * joins these sections and none that began later. Accesses to clock and log are relaxed, so that they make no edges of
 * their own. A log that has wrapped is read at its oldest entry, and threads past LOGS_MAX share one address: both are
 * less precise, neither ever gives a false report. */
#include "base/epoch.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <urcu/urcu-memb.h>

#include "base/atomic.h"

enum { INDEXES_PER_WORD = 64, INDEX_WORDS = TORCI_THREADS_MAX / INDEXES_PER_WORD };

static _Atomic(uint64_t) index_words[INDEX_WORDS] = {1};    /* Index 0 is nobody's to take: */
static _Atomic(uint32_t) index_bound = 1;
static _Atomic(uint32_t) reclaimer_present;                 /* it is the reclaiming thread's. */

_Thread_local struct torci_thread torci_this_thread;

/* Owner only. Whether liburcu knows this thread through us, and whether a free_fn is running on it. */
static _Thread_local bool registered_as_reader;
static _Thread_local bool reclaiming;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_once_t once_reclaimer = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;          /* Immutable after `once`. */

/* The private words of struct torci_retired, seen as what they hold: hence may_alias. */
struct __attribute__((may_alias)) retirement {
    struct rcu_head head;
    void (*free_fn)(struct torci_retired *retired);
    struct torci_stamp stamp;
    void *spare;
};
_Static_assert(sizeof(struct retirement) <= sizeof(struct torci_retired), "the private words must hold it");
_Static_assert(_Alignof(struct retirement) <= _Alignof(struct torci_retired), "the private words must hold it");

static _Noreturn void
give_up(const char *what)
{
    fprintf(stderr, "torc: %s\n", what);
    abort();
}

/* ---- What ThreadSanitizer is told --------------------------------------------------------------------------- */

#if defined(TORCI_TSAN)

enum { LOGS_MAX = 4096, LOG_ENTRIES = 1024 };

/* The sections of one index, newest at `newest`. Written by the index's owner, read by the worker. */
struct log {
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) newest;
    struct {
        _Atomic(uint64_t) began;
        uint64_t address;               /* Never accessed: its address is what T2 and T4 meet at. */
    } entries[LOG_ENTRIES];
};

static struct log logs[LOGS_MAX];
static _Atomic(uint64_t) section_clock = 1;
static uint64_t crowd;                  /* Address for threads past LOGS_MAX. */
static uint64_t freed;                  /* Address of T5. */
static _Thread_local uint64_t began;

/* T1. Relaxed here and below: see the header comment. */
static void
note_enter(void)
{
    began = atomic_load_explicit(&section_clock, memory_order_relaxed);
#if defined(__aarch64__)
    __asm__ volatile("dmb ishld" ::: "memory");     /* The clock is read before the section's loads. */
#endif
}

/* T2. */
static void
note_exit(uint32_t index)
{
    if (index >= LOGS_MAX) {
        __tsan_release(&crowd);
        return;
    }

    struct log *log = &logs[index];
    uint64_t newest = atomic_load_explicit(&log->newest, memory_order_relaxed);

    if (atomic_load_explicit(&log->entries[newest % LOG_ENTRIES].began, memory_order_relaxed) != began) {
        newest++;
        atomic_store_explicit(&log->entries[newest % LOG_ENTRIES].began, began, memory_order_relaxed);
        atomic_store_explicit(&log->newest, newest, memory_order_relaxed);
    }
    __tsan_release(&log->entries[newest % LOG_ENTRIES].address);
}

/* T3. */
static void
note_stamp(struct torci_stamp *stamp)
{
    stamp->private_word = atomic_fetch_add_explicit(&section_clock, 1, memory_order_relaxed) + 1;
    __tsan_release(stamp);
}

/* The part of T4 for one log: binary search, for `began` only grows from entry to entry. */
static void
join_log(struct log *log, uint64_t stamp)
{
    uint64_t high = atomic_load_explicit(&log->newest, memory_order_relaxed);
    uint64_t low = high > LOG_ENTRIES - 2 ? high - (LOG_ENTRIES - 2) : 0;

    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;
        uint64_t entry = atomic_load_explicit(&log->entries[middle % LOG_ENTRIES].began, memory_order_relaxed);

        if (entry < stamp)
            low = middle;
        else
            high = middle - 1;
    }
    __tsan_acquire(&log->entries[low % LOG_ENTRIES].address);
}

/* T4. */
static void
note_grace_period(const struct torci_stamp *stamp)
{
    uint32_t bound = atomic_load_explicit(&index_bound, memory_order_relaxed);

    __tsan_acquire((void *)(uintptr_t)stamp);
    for (uint32_t index = 0; index < bound && index < LOGS_MAX; index++)
        join_log(&logs[index], stamp->private_word);
    if (bound > LOGS_MAX)
        __tsan_acquire(&crowd);
}

#define note_freed() __tsan_release(&freed)
#define note_barrier() __tsan_acquire(&freed)

#else
#define note_stamp(stamp) ((void)(stamp))
#define note_grace_period(stamp) ((void)(stamp))
#define note_freed() ((void)0)
#define note_barrier() ((void)0)
#endif

/* ---- Indexes ------------------------------------------------------------------------------------------------ */

static uint64_t
index_bit(uint32_t index)
{
    return UINT64_C(1) << index % INDEXES_PER_WORD;
}

/* Whether the bit was free and is now the caller's. */
static bool
take_bit(uint32_t index)
{
    uint64_t bit = index_bit(index);

    /* A1. Release too: the word's other bits carry R1 edges, which a relaxed change would cut in older rules of C. */
    return (torci_fetch_or(&index_words[index / INDEXES_PER_WORD], bit, memory_order_acq_rel) & bit) == 0;
}

static void
leave_index(uint32_t index)
{
    uint64_t bit = index_bit(index);
    uint64_t before = torci_fetch_and(&index_words[index / INDEXES_PER_WORD], ~bit, memory_order_acq_rel); /* R1 */

    torc_assert((before & bit) != 0);   /* I1 */
    (void)before;
}

static void
raise_bound(uint32_t bound)
{
    uint32_t seen = torci_load(&index_bound, memory_order_relaxed);     /* The CAS below decides. */

    /* Retried only when another thread raised the bound. */
    while (seen < bound && !torci_cas(&index_bound, &seen, bound, memory_order_seq_cst, memory_order_seq_cst)) /* R2 */
        ;
}

/* The lowest free index. Linearized at take_bit(); retried only when another thread took that index. */
static uint32_t
take_index(void)
{
    for (uint32_t word = 0; word < INDEX_WORDS; word++) {
        for (;;) {
            /* Relaxed: a hint; take_bit() decides. */
            uint64_t taken = torci_load(&index_words[word], memory_order_relaxed);
            if (taken == UINT64_MAX)
                break;

            uint32_t index = word * INDEXES_PER_WORD + (uint32_t)__builtin_ctzll(~taken);
            torci_race_window();
            if (take_bit(index)) {
                raise_bound(index + 1);
                return index;
            }
        }
    }
    give_up("too many threads");
}

/* An embedder may have told liburcu to use several reclaiming threads: the others are as any thread. */
static uint32_t
take_own_index(void)
{
    if (reclaiming && torci_exchange(&reclaimer_present, 1, memory_order_acq_rel) == 0)     /* A3 */
        return 0;
    return take_index();
}

uint32_t
torci_thread_index_bound(void)
{
    return torci_load(&index_bound, memory_order_seq_cst);  /* A2 */
}

bool
torci_thread_adopt(uint32_t index)
{
    torc_assert(index < TORCI_THREADS_MAX);
    torc_assert(index < torci_thread_index_bound());

    /* Relaxed: a hint that spares the line of an owned index. */
    if ((torci_load(&index_words[index / INDEXES_PER_WORD], memory_order_relaxed) & index_bit(index)) != 0)
        return false;
    return take_bit(index);
}

void
torci_thread_release_adopted(uint32_t index)
{
    torc_assert(index < TORCI_THREADS_MAX);
    leave_index(index);
}

/* ---- Threads ------------------------------------------------------------------------------------------------ */

static void
unregister(void *argument)
{
    struct torci_thread *self = argument;

    torc_assert(self == &torci_this_thread && self->registered);
    torc_assert(self->nesting == 0);    /* A thread must not exit inside a section. */

    self->registered = false;
    if (registered_as_reader)
        urcu_memb_unregister_thread();
    registered_as_reader = false;
    if (self->index == 0)
        torci_store(&reclaimer_present, 0, memory_order_release);                           /* R3 */
    else
        leave_index(self->index);
}

static void
prepare_process(void)
{
    if (pthread_key_create(&exit_key, unregister) != 0)
        give_up("no thread-specific key is left");
#if !defined(TORCI_TSAN)
    if (pthread_atfork(urcu_memb_call_rcu_before_fork, urcu_memb_call_rcu_after_fork_parent,
                       urcu_memb_call_rcu_after_fork_child) != 0)
        give_up("no memory for fork handlers");
#endif
}

struct torci_thread *
torci_thread_register(void)
{
    struct torci_thread *self = &torci_this_thread;

    torc_assert(!self->registered && self->nesting == 0);

    if (pthread_once(&once, prepare_process) != 0)
        give_up("pthread_once failed");

    /* Before the rest: if there is no memory for it, the thread is not half registered. */
    if (pthread_setspecific(exit_key, self) != 0)
        give_up("no memory to register a thread");

    self->index = take_own_index();
    if (self->random == 0)
        self->random = (self->index + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    if (!reclaiming) {
        urcu_memb_register_thread();
        registered_as_reader = true;
    }
    self->registered = true;
    return self;
}

/* ---- Sections and grace periods ----------------------------------------------------------------------------- */

#if defined(TORCI_TSAN)
struct torci_epoch_guard
torci_epoch_enter(void)
{
    struct torci_thread *self = torci_self();

    if (self->nesting++ == 0) {
        urcu_memb_read_lock();
        note_enter();
    }
    torci_race_window();
    return (struct torci_epoch_guard){self};
}

void
torci_epoch_exit(struct torci_epoch_guard guard)
{
    torc_assert(guard.thread == &torci_this_thread && guard.thread->nesting > 0);

    torci_race_window();
    if (--guard.thread->nesting == 0) {
        note_exit(guard.thread->index);
        urcu_memb_read_unlock();
    }
    torci_race_window();
}
#endif

/* On the reclaiming thread. `reclaiming` stays set there: liburcu has registered this thread before. */
static void
grace_period_ended(struct rcu_head *head)
{
    struct retirement *retirement = (struct retirement *)head;

    reclaiming = true;
    note_grace_period(&retirement->stamp);
    retirement->free_fn((struct torci_retired *)retirement);
    torc_assert(torci_this_thread.nesting == 0);
    note_freed();
}

/* Start liburcu's reclaiming thread, which inherits this thread's signal mask: signals are the embedder's. */
static void
prepare_reclaimer(void)
{
    sigset_t all, before;

    sigfillset(&all);
    if (pthread_sigmask(SIG_BLOCK, &all, &before) != 0)
        give_up("signals cannot be blocked");
    (void)urcu_memb_get_default_call_rcu_data();
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void
torci_epoch_retire(struct torci_retired *retired, void (*free_fn)(struct torci_retired *retired))
{
    struct retirement *retirement = (struct retirement *)(void *)retired;

    torc_assert(retired != NULL && free_fn != NULL);

    (void)torci_self();     /* liburcu asks that callers of call_rcu be registered. */
    if (pthread_once(&once_reclaimer, prepare_reclaimer) != 0)
        give_up("pthread_once failed");
    retirement->free_fn = free_fn;
    note_stamp(&retirement->stamp);
    urcu_memb_call_rcu(&retirement->head, grace_period_ended);
    torci_race_window();
}

void
torci_epoch_barrier(void)
{
    torc_assert(!reclaiming);
    torc_assert(!torci_epoch_in_section());

    (void)torci_self();
    urcu_memb_barrier();
    note_barrier();
}

void
torci_epoch_stamp(struct torci_stamp *stamp)
{
    torc_assert(stamp != NULL);

    note_stamp(stamp);
    torci_race_window();
}

void
torci_epoch_wait(void)
{
    torc_assert(!reclaiming);
    torc_assert(!torci_epoch_in_section());

    urcu_memb_synchronize_rcu();
}

void
torci_epoch_passed(const struct torci_stamp *stamp)
{
    torc_assert(stamp != NULL);

    note_grace_period(stamp);
}

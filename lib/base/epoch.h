/* SPDX-License-Identifier: MIT */
/* base/epoch: when memory that readers may still hold can be freed (liburcu, flavour memb, hidden).
 *
 * A section lasts one call, never a transaction, an iterator or an I/O. Sections nest. Threads register themselves
 * on first use and unregister at exit. A function that needs a section takes the guard as a witness.
 *
 * Three implementations, one interface:
 *   epoch.c       with enter and exit inlined here from liburcu's headers (two thread-local accesses, no call)
 *   epoch.c       under ThreadSanitizer: calls, with the annotations that make grace periods visible to it
 *   epoch_sim.c   in the fiber and explorer builds: simulated, see there
 *
 * fork()   The child has the forking thread only. It may exec or _exit, and torci_epoch_barrier() returns there if no
 *          other thread was inside a section; it may not go on using what the parent shared. fork() waits until the
 *          reclaiming thread has finished the free_fn it is in. Under ThreadSanitizer the child may only exec. */
#ifndef TORCI_EPOCH_H
#define TORCI_EPOCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/annotate.h"
#include "base/assert.h"

#if defined(TORC_ATOMIC_FIBER) || defined(TORC_ATOMIC_EXPLORER)
#define TORCI_EPOCH_SIMULATED 1
#elif !defined(TORCI_TSAN)
#define TORCI_EPOCH_INLINE 1
#if !defined(_LGPL_SOURCE)
#define _LGPL_SOURCE    /* liburcu's licence lets LGPL-compatible source code, as this is, inline these headers. */
#endif
#include <urcu/urcu-memb.h>
#endif

/* Thread-local data is reached without a call: in position-independent code that takes being said, of liburcu's too.
 * In programs local-exec is right anyway; with gcc's default there, null checks (UndefinedBehaviorSanitizer) use the
 * flags of an instruction that the linker replaces by one without. */
#if defined(__PIC__) && !defined(__PIE__)
#define TORCI_TLS_MODEL "initial-exec"
#if defined(TORCI_EPOCH_INLINE)
extern __thread struct urcu_reader urcu_memb_reader __attribute__((tls_model("initial-exec")));
#endif
#else
#define TORCI_TLS_MODEL "local-exec"
#endif

/* What the library knows of a thread (in the fiber and explorer builds: of a fiber). */
struct torci_thread {
    uint32_t index;      /* Dense, from 1 (0 is the reclaiming thread's); reused after the thread's exit. Handing it
                            on is a release/acquire edge: what the last owner wrote is visible to the next. */
    uint32_t nesting;    /* Sections entered. Owner only. */
    uint64_t random;     /* State for torci_thread_random(): back-off, tower heights. Owner only; never 0. */
    uint64_t last_commit; /* The stamp of its last commit to any store. Owner only. */
    bool registered;
};

enum { TORCI_THREADS_MAX = 1 << 20 };     /* Living threads that use the library; one more stops the process. */

#if defined(TORCI_EPOCH_SIMULATED)
struct torci_thread *torci_self(void);
#else
extern _Thread_local struct torci_thread torci_this_thread
    __attribute__((tls_model(TORCI_TLS_MODEL), visibility("hidden")));
struct torci_thread *torci_thread_register(void);

/* The calling thread's, registered if need be. Never NULL.
 *
 * May be called from destructors of thread-local data: the thread is registered again if it had left already, in all
 * rounds of destructors but the last. */
static inline struct torci_thread *
torci_self(void)
{
    struct torci_thread *self = &torci_this_thread;

    return __builtin_expect(self->registered, true) ? self : torci_thread_register();
}
#endif

/* The greatest index in use so far, plus 1. Sequentially consistent, as is the growth before a new index is used. */
uint32_t torci_thread_index_bound(void);

/* Take over `index` for a moment if no living thread owns it (to look after what it left behind); give it back.
 * Wait-free. Both are edges like a hand-over between threads. */
bool torci_thread_adopt(uint32_t index);
void torci_thread_release_adopted(uint32_t index);

/* A pseudo-random number of the calling thread. Not for secrets. */
static inline uint64_t
torci_thread_random(struct torci_thread *self)
{
    uint64_t state = self->random;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    self->random = state;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

/* The witness of a section. */
struct torci_epoch_guard {
    struct torci_thread *thread;
};

#if defined(TORCI_EPOCH_INLINE)
/* Wait-free. */
static inline struct torci_epoch_guard
torci_epoch_enter(void)
{
    struct torci_thread *self = torci_self();

    if (self->nesting++ == 0)
        urcu_memb_read_lock();
    return (struct torci_epoch_guard){self};
}

/* Wait-free; wakes the reclaiming thread if it waits for this section. */
static inline void
torci_epoch_exit(struct torci_epoch_guard guard)
{
    torc_assert(guard.thread == &torci_this_thread && guard.thread->nesting > 0);

    if (--guard.thread->nesting == 0)
        urcu_memb_read_unlock();
}
#else
struct torci_epoch_guard torci_epoch_enter(void);
void torci_epoch_exit(struct torci_epoch_guard guard);
#endif

/* Whether the calling thread is inside a section. For assertions. */
static inline bool
torci_epoch_in_section(void)
{
    return torci_self()->nesting > 0;
}

/* Embedded in what is retired. */
struct torci_retired {
    void *private_words[5];
};

/* Call free_fn(retired) after every section that is open now has ended. The object must be unreachable for new
 * sections. May be called inside or outside a section, also from a free_fn. Never fails, never blocks.
 * free_fn runs on the library's reclaiming thread: it must not block. It may enter sections, and reuse or free what
 * `retired` lies in. The order in which objects are freed is not promised.
 *
 * The reclaiming thread is the default worker of liburcu's memb flavour: one per process, shared with an embedding
 * program that uses the same flavour, started by the first retire. */
void torci_epoch_retire(struct torci_retired *retired, void (*free_fn)(struct torci_retired *retired));

/* Wait until all that was retired before this call has been freed. Blocking; not inside a section, nor in a free_fn.
 * What a free_fn retires in its turn is not waited for: call again. */
void torci_epoch_barrier(void);

/* Grace periods without the reclaiming thread, for base/reclaimer: nothing below starts a thread.
 *
 *   an object is made unreachable; torci_epoch_stamp(); later torci_epoch_wait(); then torci_epoch_passed(): free it
 *
 * A stamp is what race checkers are told by: that the sections which could hold the object have ended, and of none
 * that began later. */
struct torci_stamp {
    uint64_t private_word;
};

/* Call it when the object has become unreachable for new sections. Wait-free. */
void torci_epoch_stamp(struct torci_stamp *stamp);

/* Wait until every section that is open now has ended. Blocking; not inside a section, nor in a free_fn of the
 * reclaiming thread. Any number of threads at once: they share their grace periods. */
void torci_epoch_wait(void);

/* Call it before the object is touched: a wait, whoever's, that began after the stamp was drawn is over. Wait-free. */
void torci_epoch_passed(const struct torci_stamp *stamp);

#endif

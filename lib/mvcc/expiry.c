/* SPDX-License-Identifier: MIT */
/* mvcc/expiry: the timing wheel. Shape, invariants and ordering: expiry.h. */
#include "mvcc/expiry.h"

#include "base/assert.h"
#include "mvcc/install.h"
#include "mvcc/merge.h"
#include "mvcc/notify.h"

enum {
    DIGIT_BITS = 6,
    SLOTS = 1 << DIGIT_BITS,
    LEVELS = (64 + DIGIT_BITS - 1) / DIGIT_BITS,
#if defined(TORC_TINY)
    OWED_MAX = 3,
#else
    OWED_MAX = 1024,        /* Entries of credit and of debt, each, that one step works on. */
#endif
    TURNS_MAX = 64,         /* Slots that a step looks into, at most, for entries that are not due. */
    RETRY_MS = 100,         /* An expired value over which a commit is not decided is looked at again after this. */
};

struct entry {
    struct entry *next;             /* In its chain. */
    struct entry *next_chain;       /* In `pending`, of the first of a chain. */
    uint64_t due;
    struct torci_record *record;
};

struct torci_expiry {
    _Alignas(TORCI_CACHE_LINE) _Atomic(uint64_t) reached;   /* The time; in ms since 1970. */
    _Atomic(uint64_t) swept;
    _Atomic(uint64_t) setbacks;     /* So often the time was set back, */
    _Atomic(uint64_t) setbacks_swept;       /* and so often all was put anew for that. */
    _Atomic(uint32_t) turn;         /* The slot that was looked into last, of all levels. Relaxed: a hint. */
    _Alignas(TORCI_CACHE_LINE) _Atomic(struct entry *) pending;
    _Alignas(TORCI_CACHE_LINE) _Atomic(struct entry *) slots[LEVELS][SLOTS];
};

static uint64_t
now_ms(struct torc_mvcc *store)
{
    struct torci_moment moment = {store, 0};

    return torci_moment_ms(&moment);
}

/* ---- The wheel ---- */

/* The wheel, made if need be; NULL: no memory. */
static struct torci_expiry *
obtain_wheel(struct torc_mvcc *store)
{
    struct torci_expiry *wheel = torci_load(&store->expiry, memory_order_acquire); /* A1 */
    struct torci_expiry *fresh;
    uint64_t now;

    if (wheel != NULL)
        return wheel;
    fresh = torci_alloc_line_zeroed(&store->heap, sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    now = now_ms(store);
    torci_init(&fresh->reached, now);
    torci_init(&fresh->swept, now);
    /* R1. Acquire on failure (A1): another thread's wheel stands there. */
    if (torci_cas(&store->expiry, &wheel, fresh, memory_order_release, memory_order_acquire))
        return fresh;
    torci_free_line(&store->heap, fresh, sizeof *fresh);
    return wheel;
}

/* Where an entry for `due` belongs when the time is `reached`; NULL: into `pending`. */
static _Atomic(struct entry *) *
slot_of(struct torci_expiry *wheel, uint64_t due, uint64_t reached)
{
    unsigned level;

    if (due <= reached)
        return NULL;
    level = (unsigned)(63 - __builtin_clzll(due ^ reached)) / DIGIT_BITS;
    return &wheel->slots[level][(due >> (level * DIGIT_BITS)) % SLOTS];
}

/* Put chains, linked by next_chain, into `pending`. */
static void
push_pending(struct torci_expiry *wheel, struct entry *first, struct entry *last)
{
    struct entry *top = torci_load(&wheel->pending, memory_order_relaxed); /* Relaxed: the CAS decides. */

    do {
        last->next_chain = top;
        torci_race_window();
        /* R2. No ABA: taking takes all. Failure: another thread put or took. */
    } while (!torci_cas(&wheel->pending, &top, first, memory_order_release, memory_order_relaxed));
}

/* Take all of a slot to `pending`. Whether there was anything. */
static bool
take_slot(struct torci_expiry *wheel, _Atomic(struct entry *) *slot)
{
    struct entry *chain = torci_load(slot, memory_order_seq_cst); /* I3 */

    if (chain != NULL)
        chain = torci_exchange(slot, NULL, memory_order_seq_cst); /* A2 */
    if (chain != NULL)
        push_pending(wheel, chain, chain);
    return chain != NULL;
}

/* Put an entry, which is the caller's, where it belongs. */
static void
put(struct torci_expiry *wheel, struct entry *entry)
{
    uint64_t due = entry->due;
    _Atomic(struct entry *) *slot = slot_of(wheel, due, torci_load(&wheel->reached, memory_order_seq_cst)); /* A3 */
    struct entry *top;

    if (slot == NULL) {
        entry->next = NULL;
        push_pending(wheel, entry, entry);
        return;
    }
    top = torci_load(slot, memory_order_relaxed); /* Relaxed: the CAS decides. */
    do {
        entry->next = top;
        torci_race_window();
        /* R2. Failure: another thread put, or the slot was passed. */
    } while (!torci_cas(slot, &top, entry, memory_order_seq_cst, memory_order_relaxed));
    torci_race_window();
    if (slot_of(wheel, due, torci_load(&wheel->reached, memory_order_seq_cst)) != slot) /* A3, I3 */
        (void)take_slot(wheel, slot);
}

/* Take every slot that lies between two times, the first exclusive; all of them if time went back. */
static void
sweep(struct torci_expiry *wheel, uint64_t from, uint64_t to)
{
    for (unsigned level = 0; level < LEVELS; level++) {
        uint64_t first = from >> (level * DIGIT_BITS);
        uint64_t last = to >> (level * DIGIT_BITS);
        uint64_t count = from > to || last - first > SLOTS ? SLOTS : last - first;

        if (count == 0)
            break; /* Nor on any higher level. */
        for (uint64_t i = 1; i <= count; i++)
            (void)take_slot(wheel, &wheel->slots[level][(first + i) % SLOTS]);
    }
}

/* Move the time on. Returns what it is. */
static uint64_t
advance(struct torci_expiry *wheel, struct torc_mvcc *store)
{
    /* Read before the time is: so that another thread, which is further, does not look like time set back. */
    uint64_t reached = torci_load(&wheel->reached, memory_order_seq_cst); /* A3 */
    uint64_t now = now_ms(store);
    uint64_t setbacks;
    uint64_t setbacks_swept;
    uint64_t swept;

    torci_race_window();
    /* R3. Failure: another thread moved it. Set back: R4, I4; also if it moves on before anybody has swept. */
    if (now != reached &&
        torci_cas(&wheel->reached, &reached, now, memory_order_seq_cst, memory_order_relaxed) && now < reached)
        torci_fetch_add(&wheel->setbacks, 1, memory_order_seq_cst);
    setbacks_swept = torci_load(&wheel->setbacks_swept, memory_order_seq_cst); /* A4, as the next two */
    setbacks = torci_load(&wheel->setbacks, memory_order_seq_cst);
    swept = torci_load(&wheel->swept, memory_order_seq_cst);
    reached = torci_load(&wheel->reached, memory_order_seq_cst);     /* A3 */
    if (swept == reached && setbacks == setbacks_swept)
        return now;
    sweep(wheel, setbacks != setbacks_swept ? UINT64_MAX : swept, reached);
    /* R4. Failure: another thread has swept as well. */
    if (torci_cas(&wheel->swept, &swept, reached, memory_order_seq_cst, memory_order_relaxed))
        torci_cas(&wheel->setbacks_swept, &setbacks_swept, setbacks, memory_order_seq_cst, memory_order_relaxed);
    return now;
}

/* ---- Firing ---- */

/* What was found of a record. */
enum finding {
    NOTHING,    /* Nothing of it expires. */
    DROPPED,    /* Its keyspace was dropped: it must not be looked at any more. */
    LATER,      /* To be looked at again, then. */
    EXPIRED,    /* Its head is a value whose time has come. */
};

struct look {
    struct torci_version *head;
    uint64_t stamp;                 /* EXPIRED: of the head. */
    uint64_t due;                   /* LATER. */
};

static enum finding
look_at(struct torc_mvcc *store, struct torci_record *record, uint64_t now, struct look *look)
{
    struct torci_version *version;
    struct torci_verdict verdict;

    if (!torci_keyspace_usable(torci_keyspace_of(store, record)))
        return DROPPED;
    look->head = torci_load(&record->head, memory_order_seq_cst); /* version.h A1 */
    if (look->head == NULL || look->head == torci_frozen())
        return NOTHING;
    verdict = torci_version_verdict(look->head, &store->clock);
    look->stamp = verdict.stamp;
    look->due = now + RETRY_MS;
    version = verdict.fate == TORCI_FATE_COMMITTED ? look->head
                                                   : torci_load(&look->head->older, memory_order_acquire); /* A4 */
    if (version == NULL || version->flags != TORCI_VERSION_EXPIRES)
        return NOTHING;
    if (torci_version_expires(version) > now) {
        look->due = torci_version_expires(version);
        return LATER;
    }
    return verdict.fate == TORCI_FATE_COMMITTED ? EXPIRED : LATER;
}

/* It is done: what others learn of it, and what is left to do. */
static void
settle(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record,
       struct torci_version *tombstone)
{
    struct torc_mvcc *store = shard->store;
    struct torci_write write = {.keyspace = torci_keyspace_of(store, record),
                                .key = torci_record_key(record),
                                .order = record->order,
                                .record = record,
                                .version = tombstone};
    uint64_t stamp = torci_version_verdict(tombstone, &store->clock).stamp;

    torci_keyspace_count(write.keyspace, -1);
    torci_notify(shard, &(struct torc_commit){stamp, &write, true});
    torci_reclaim_touch(shard, guard, record, stamp);
}

/* Put a tombstone over the expired head. False: no memory. True: it stands there, or the head has changed. */
static bool
expire(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record, const struct look *look)
{
    struct torci_version *head = look->head;
    struct torci_version *tombstone =
        torci_version_create(shard, torc_slice(&look->stamp, sizeof look->stamp), UINT64_MAX,
                             TORCI_VERSION_EXPIRED);

    if (tombstone == NULL)
        return false;
    torci_init(&tombstone->older, head);
    torci_init(&tombstone->stamp, (uint64_t)TORCI_STAMP_PENDING);
    torci_race_window();
    /* version.h R1. Failure: somebody wrote the key; relaxed, because it is looked at again. */
    if (torci_cas(&record->head, &head, tombstone, memory_order_seq_cst, memory_order_relaxed))
        settle(shard, guard, record, tombstone);
    else
        torci_version_destroy(shard, tombstone);
    return true;
}

/* Look at a record, and put tombstones over it, until it is something else than EXPIRED; EXPIRED: no memory. */
static enum finding
expire_all(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record, uint64_t now,
           struct look *look)
{
    enum finding finding;

    do {
        finding = look_at(shard->store, record, now, look);
    } while (finding == EXPIRED && expire(shard, guard, record, look));
    return finding;
}

/* Nothing of the record expires: end the entry's hold. */
static void
end_entry(struct torci_shard *shard, struct torci_epoch_guard guard, struct entry *entry, enum finding finding)
{
    struct torci_record *record = entry->record;
    struct torci_write write = {.record = record, .was_due = UINT64_MAX};

    torci_free(&shard->store->heap, entry, sizeof *entry);
    if (torci_reclaim_release(shard, record, TORCI_RECORD_TIMED) || finding == DROPPED)
        return;
    torci_race_window();
    /* A commit that found our entry left its value to it; its install is before its look at the flags, in S. */
    write.version = torci_record_newest(record, &shard->store->clock);
    if (write.version != NULL)
        torci_expiry_note(shard, guard, &write);
}

/* False: no memory, the entry is still the caller's. */
static bool
fire(struct torci_shard *shard, struct torci_expiry *wheel, struct entry *entry, uint64_t now)
{
    struct torci_epoch_guard guard;
    enum finding finding;
    struct look look;

    if (entry->due > now && (torci_load(&entry->record->flags, memory_order_acquire) & TORCI_RECORD_REMOVED) == 0) {
        put(wheel, entry);
        return true;
    }
    if (torci_limbo_reserve(shard->limbo, TORCI_INSTALL_RETIRES_MAX) != TORC_OK)
        return false;
    guard = torci_epoch_enter();
    finding = expire_all(shard, guard, entry->record, now, &look);
    if (finding == LATER) {
        entry->due = look.due;
        put(wheel, entry);
    } else if (finding != EXPIRED) {
        end_entry(shard, guard, entry, finding);
    }
    torci_epoch_exit(guard);
    torci_watch_wake(shard);
    return finding != EXPIRED;
}

/* The next entry of what was taken from `pending`. */
static struct entry *
next_entry(struct entry **chains)
{
    struct entry *entry = *chains;

    if (entry == NULL)
        return NULL;
    if (entry->next != NULL) {
        entry->next->next_chain = entry->next_chain;
        *chains = entry->next;
    } else {
        *chains = entry->next_chain;
    }
    entry->next = NULL;
    return entry;
}

/* Work on at most `budget` entries. Returns how many it were. */
static size_t
work(struct torci_shard *shard, struct torci_expiry *wheel, size_t budget, uint64_t now)
{
    struct entry *chains = NULL;
    struct entry *last;
    size_t done = 0;

    /* Relaxed: the exchange decides. */
    if (torci_load(&wheel->pending, memory_order_relaxed) != NULL)
        chains = torci_exchange(&wheel->pending, NULL, memory_order_acquire); /* A2 */
    for (; done < budget; done++) {
        struct entry *entry = next_entry(&chains);

        if (entry == NULL)
            break;
        if (!fire(shard, wheel, entry, now)) {
            push_pending(wheel, entry, entry);
            break;
        }
    }
    for (last = chains; last != NULL && last->next_chain != NULL;)
        last = last->next_chain;
    if (last != NULL)
        push_pending(wheel, chains, last);
    return done;
}

/* Have entries that are not due looked at, because some may be of records that have left. */
static void
take_turns(struct torci_shard *shard, struct torci_expiry *wheel)
{
    for (unsigned i = 0; i < TURNS_MAX; i++) {
        /* Relaxed: a hint. */
        uint32_t turn = torci_fetch_add(&wheel->turn, 1u, memory_order_relaxed) % (LEVELS * SLOTS);

        if (take_slot(wheel, &wheel->slots[turn / SLOTS][turn % SLOTS]))
            return;
    }
    shard->expiry_debt -= shard->expiry_debt < TURNS_MAX ? shard->expiry_debt : TURNS_MAX;
}

/* ---- Interface ---- */

/* The record may get another entry, and needs one. */
static bool
needs_entry(uint32_t flags, const struct torci_write *write)
{
    uint32_t entries = flags / TORCI_RECORD_TIMED;

    if ((flags & TORCI_RECORD_REMOVED) != 0 || entries >= TORCI_RECORD_TIMED_MAX)
        return false;
    /* I1: what is due when the former value was, or before, looks at the new one too. */
    return entries == 0 || write->was_due > torci_version_expires(write->version);
}

void
torci_expiry_note_slow(struct torci_shard *shard, struct torci_epoch_guard guard, const struct torci_write *write)
{
    struct torci_record *record = write->record;
    struct torci_expiry *wheel = obtain_wheel(shard->store);
    uint32_t flags = torci_load(&record->flags, memory_order_seq_cst); /* reclaim.h A3 */
    struct entry *entry = NULL;

    (void)guard;
    if (wheel != NULL && needs_entry(flags, write))
        entry = torci_alloc(&shard->store->heap, sizeof *entry);
    if (entry == NULL)
        return;
    entry->due = torci_version_expires(write->version);
    entry->record = record;
    do {
        if (!needs_entry(flags, write)) {
            torci_free(&shard->store->heap, entry, sizeof *entry);
            return;
        }
        torci_race_window();
        /* reclaim.h R3 A3. Failure: somebody else changed the flags, each of a few times. */
    } while (!torci_cas(&record->flags, &flags, flags + TORCI_RECORD_TIMED, memory_order_seq_cst,
                        memory_order_seq_cst));
    shard->expiry_credit++;
    put(wheel, entry);
}

bool
torci_expiry_step(struct torci_shard *shard, size_t budget)
{
    struct torci_expiry *wheel = torci_load(&shard->store->expiry, memory_order_acquire); /* A1 */
    size_t credit = shard->expiry_credit < OWED_MAX ? shard->expiry_credit : OWED_MAX;
    size_t debt = shard->expiry_debt < OWED_MAX ? shard->expiry_debt : OWED_MAX;
    uint64_t now;
    size_t done;

    if (wheel == NULL)
        return false;
    now = advance(wheel, shard->store);
    /* Relaxed: a hint. */
    if (debt > 0 && torci_load(&wheel->pending, memory_order_relaxed) == NULL)
        take_turns(shard, wheel);
    done = work(shard, wheel, budget + credit + debt, now);
    shard->expiry_credit -= credit;
    shard->expiry_debt -= shard->expiry_debt < done ? shard->expiry_debt : done;
    return torci_load(&wheel->pending, memory_order_relaxed) != NULL; /* Relaxed: a hint. */
}

bool
torci_expiry_visit(struct torci_shard *shard, struct torci_epoch_guard guard, struct torci_record *record)
{
    uint64_t now = now_ms(shard->store);
    struct look look;

    if (look_at(shard->store, record, now, &look) != EXPIRED)
        return false;
    /* No memory: it stays, as it was. */
    return torci_limbo_reserve(shard->limbo, TORCI_INSTALL_RETIRES_MAX) == TORC_OK &&
           expire_all(shard, guard, record, now, &look) != EXPIRED;
}

static void
free_chain(struct torc_mvcc *store, struct entry *entry)
{
    while (entry != NULL) {
        struct entry *next = entry->next;
        /* Relaxed: exclusive. */
        uint32_t before = torci_fetch_sub(&entry->record->flags, (uint32_t)TORCI_RECORD_TIMED, memory_order_relaxed);

        if ((before & TORCI_RECORD_REMOVED) && (before & TORCI_RECORD_HELD) == TORCI_RECORD_TIMED)
            torci_record_destroy(store, entry->record);
        torci_free(&store->heap, entry, sizeof *entry);
        entry = next;
    }
}

void
torci_expiry_fini(struct torc_mvcc *store)
{
    /* Relaxed, here and below: exclusive. */
    struct torci_expiry *wheel = torci_load(&store->expiry, memory_order_relaxed);
    struct entry *chain;

    if (wheel == NULL)
        return;
    chain = torci_load(&wheel->pending, memory_order_relaxed);
    while (chain != NULL) {
        struct entry *next = chain->next_chain;

        free_chain(store, chain);
        chain = next;
    }
    for (unsigned i = 0; i < LEVELS * SLOTS; i++)
        free_chain(store, torci_load(&wheel->slots[i / SLOTS][i % SLOTS], memory_order_relaxed));
    torci_free_line(&store->heap, wheel, sizeof *wheel);
}

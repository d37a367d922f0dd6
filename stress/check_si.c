/* SPDX-License-Identifier: MIT */
/* stress/check_si: see the header.
 *
 *   versions, by key      key 0: [ base | v v v ]   key 1: [ base | v ]   ...     sorted by stamp
 *                                        ^^^ a group: several with one stamp; the last one is what snapshots see
 *
 * Entries of all threads have one number, thread by thread. A walk goes through the operations of one entry in order,
 * takes its own writes aside and hands every other read to a visitor: a scan is a read of each key in its range, found
 * or absent, so that phantoms are wrong reads and missing keys are dependencies like others. */
#include "check_si.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define NONE UINT32_MAX
#define NEVER UINT64_MAX

enum { PRINTED_OPS_MAX = 60 };

struct version {
    uint64_t stamp;
    uint64_t id;
    uint32_t entry;             /* NONE: the baseline. */
    uint64_t expires;           /* NEVER, or when. */
    uint64_t before;            /* What a merge made it of, or what it was to replace; TORCT_ID_PLAIN: not known. */
    bool automatic;
    bool free;                  /* Autocommit, or a merge: it conflicts with nothing. */
    bool node;                  /* Its writer takes part in S8. */
    uint32_t witness;           /* Last of a group: the entry that is evidence of it, */
    int settled;                /* enum strength */
};

struct checker {
    const struct torct_run *run;
    struct torct_verdict *verdict;
    uint32_t *entry_base;       /* Per thread: the number of its first entry; one more at the end. */
    struct version *versions;
    uint32_t *first;            /* Per key: its first version; one more at the end. */
    uint32_t **version_of;      /* Per thread and id: its version, or NONE. */
    uint32_t **entry_of;        /* Per thread and id: the entry that wrote it, committed or not. */
    uint32_t *own_entry;        /* Per key: the entry of the walk that last wrote it: nothing need be cleared. */
    uint32_t *own_op;           /* Per key: its operation. */
    uint64_t time_least;        /* What the entry of the walk has shown of its moment. */
    uint64_t time_greatest;
    uint32_t time_keys[2];      /* That have shown it. */
    bool ties;
};

/* An event in time, with the least and greatest place in the order of stamps that it can have. A commit at stamp t has
 * 2t, a snapshot at s has 2s + 1. */
struct event {
    uint64_t called, returned;
    uint64_t least, greatest;
    uint32_t entry;
};

/* A read that is not of an own write. */
struct seen {
    uint32_t entry;
    const struct torct_entry *record;
    uint32_t key;
    uint64_t id;
    bool found_only;            /* `id` is unknown, but not absent. */
    bool other;                 /* It is neither absent nor `id`. */
    bool in_scan;
    uint32_t expires;           /* As told; 0: not asked. */
};

typedef void visit_fn(struct checker *checker, const struct seen *seen, void *context);

static void *
must_allocate(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);

    if (memory == NULL) {
        fprintf(stderr, "the checker has no memory for %zu x %zu bytes\n", count, size);
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* ---- Entries ---- */

static unsigned
thread_of(const struct checker *checker, uint32_t entry)
{
    unsigned thread = 0;

    while (entry >= checker->entry_base[thread + 1])
        thread++;
    return thread;
}

static const struct torct_entry *
record_of(const struct checker *checker, uint32_t entry)
{
    unsigned thread = thread_of(checker, entry);

    return &checker->run->histories[thread].entries[entry - checker->entry_base[thread]];
}

static const struct torct_op *
ops_of(const struct checker *checker, uint32_t entry)
{
    return checker->run->histories[thread_of(checker, entry)].ops + record_of(checker, entry)->first_op;
}

static bool
is_node(const struct torct_entry *record)
{
    return record->outcome == TORCT_COMMITTED && (record->serializable || record->automatic);
}

static void
print_id(FILE *out, uint64_t id)
{
    if (id == TORCT_ID_ABSENT)
        fputs("absent", out);
    else if (id == TORCT_ID_DAMAGED)
        fputs("damaged", out);
    else
        fprintf(out, "%u.%" PRIu64, torct_id_thread(id), torct_id_number(id));
}

static void
print_op(FILE *out, const struct torct_op *op)
{
    static const char *const names[] = {"read",    "found", "write", "lock",      "scan",    "scan-reverse", "",
                                        "refused", "other", "merge", "savepoint", "rollback"};

    if (op->kind == TORCT_OP_SCAN || op->kind == TORCT_OP_SCAN_REVERSE) {
        fprintf(out, " %s[%" PRIu32 ",%" PRIu64 ")", names[op->kind], op->key, op->id);
        return;
    }
    if (op->kind == TORCT_OP_SAVEPOINT || op->kind == TORCT_OP_ROLLBACK) {
        fprintf(out, " %s", names[op->kind]);
        return;
    }
    fprintf(out, " %s(%" PRIu32, names[op->kind], op->key);
    if (op->kind != TORCT_OP_FOUND && op->kind != TORCT_OP_REFUSED) {
        fputc(' ', out);
        print_id(out, op->id);
    }
    if (op->expires != 0 && op->expires != TORCT_TIME_NEVER)
        fprintf(out, " until %" PRIu32, op->expires);
    fputs(op->undone_by != 0 ? ", undone)" : ")", out);
}

static void
print_entry(const struct checker *checker, uint32_t entry)
{
    static const char *const outcomes[] = {"committed", "aborted", "conflicted", "refused"};
    FILE *out = checker->verdict->words;
    const struct torct_entry *record = record_of(checker, entry);
    const struct torct_op *op = ops_of(checker, entry);
    unsigned thread = thread_of(checker, entry);

    fprintf(out, "  #%u.%" PRIu32 " %s%s, snapshot %" PRIu64 ", stamp %" PRIu64 ", begun [%" PRIu64 " %" PRIu64
            "], ended [%" PRIu64 " %" PRIu64 "], time %" PRIu64 "..%" PRIu64 ":", thread,
            entry - checker->entry_base[thread],
            record->automatic      ? "autocommit "
            : record->serializable ? "serializable "
            : record->past         ? "past "
                                   : "snapshot ",
            outcomes[record->outcome], record->snapshot, record->stamp, record->begin_called, record->begin_returned,
            record->commit_called, record->commit_returned, record->time_first, record->time_last);
    for (uint32_t i = 0; i < record->ops && i < PRINTED_OPS_MAX; i++)
        print_op(out, &op[i]);
    fputs(record->ops > PRINTED_OPS_MAX ? " ...\n" : "\n", out);
}

/* Report a violation over `key` by `entry`, and by `other` if there is one. */
static void
report(struct checker *checker, enum torct_violation violation, uint32_t key, uint32_t entry, uint32_t other)
{
    if (!torct_verdict_add(checker->verdict, violation))
        return;
    if (key != TORCT_KEY_NONE)
        fprintf(checker->verdict->words, "  key %" PRIu32 "\n", key);
    if (entry != NONE)
        print_entry(checker, entry);
    if (other != NONE && other != entry)
        print_entry(checker, other);
}

/* After report(): who wrote what was read. */
static void
tell_writer(struct checker *checker, uint32_t writer)
{
    if (writer == NONE || checker->verdict->words == NULL || checker->verdict->total > TORCT_VERDICT_WORDS_MAX)
        return;
    fputs("  the value read is from\n", checker->verdict->words);
    print_entry(checker, writer);
}

/* ---- Versions ---- */

static int
compare_versions(const void *a, const void *b)
{
    const struct version *left = a, *right = b;

    if (left->stamp != right->stamp)
        return left->stamp < right->stamp ? -1 : 1;
    return left->free - right->free;
}

/* Mark the writes of an entry: own_op[key] is the one that counts, the last write, else the lock. */
static void
mark_writes(struct checker *checker, uint32_t entry)
{
    const struct torct_entry *record = record_of(checker, entry);
    const struct torct_op *op = ops_of(checker, entry);

    for (uint32_t i = 0; i < record->ops; i++) {
        if (!torct_op_writes(&op[i]) || (op[i].kind == TORCT_OP_LOCK && checker->own_entry[op[i].key] == entry))
            continue;
        checker->own_entry[op[i].key] = entry;
        checker->own_op[op[i].key] = i;
    }
}

static void
forget_own(struct checker *checker)
{
    for (uint32_t key = 0; key < checker->run->keys; key++)
        checker->own_entry[key] = NONE;
}

/* Call with each committed write that counts. */
static void
each_write(struct checker *checker, void (*take)(struct checker *checker, uint32_t entry, const struct torct_op *op,
                                                 void *context), void *context)
{
    uint32_t entries = checker->entry_base[checker->run->threads];

    forget_own(checker);
    for (uint32_t entry = 0; entry < entries; entry++) {
        const struct torct_entry *record = record_of(checker, entry);
        const struct torct_op *op = ops_of(checker, entry);

        if (record->outcome != TORCT_COMMITTED)
            continue;
        mark_writes(checker, entry);
        for (uint32_t i = 0; i < record->ops; i++)
            if (torct_op_writes(&op[i]) && checker->own_op[op[i].key] == i)
                take(checker, entry, &op[i], context);
    }
}

static void
count_write(struct checker *checker, uint32_t entry, const struct torct_op *op, void *context)
{
    (void)entry;
    (void)context;
    checker->first[op->key + 1]++;
}

/* Whether one of the operations is a read of `key`. */
static bool
reads_key(const struct torct_op *op, uint32_t count, uint32_t key)
{
    for (uint32_t i = 0; i < count; i++) {
        bool scan = op[i].kind == TORCT_OP_SCAN || op[i].kind == TORCT_OP_SCAN_REVERSE;

        if (scan ? op[i].key <= key && key < op[i].id
                 : op[i].key == key && op[i].kind != TORCT_OP_WRITE && op[i].kind != TORCT_OP_MERGE
                       && op[i].kind != TORCT_OP_REFUSED)
            return true;
    }
    return false;
}

/* A merge is free, but not if the transaction may not commit over what it has read. */
static void
place_write(struct checker *checker, uint32_t entry, const struct torct_op *op, void *context)
{
    uint32_t *next = context;
    const struct torct_entry *record = record_of(checker, entry);
    const struct torct_op *first = ops_of(checker, entry);
    struct version *version = &checker->versions[next[op->key]++];

    version->stamp = record->stamp;
    version->id = op->id;
    version->entry = entry;
    version->expires = op->expires == 0 || op->expires == TORCT_TIME_NEVER ? NEVER : op->expires;
    version->before = TORCT_ID_PLAIN;
    if (record->automatic && op > first && first->kind == TORCT_OP_READ && first->id != TORCT_ID_ABSENT)
        version->before = first->id;
    version->automatic = record->automatic;
    version->free = record->automatic
        || (op->kind == TORCT_OP_MERGE && !(record->serializable && reads_key(first, record->ops, op->key)));
    version->node = is_node(record) && op->kind != TORCT_OP_LOCK;   /* A lock changes nothing. */
}

/* Where the ids of this run went: who wrote each, and which committed version it is. */
static void
build_ids(struct checker *checker)
{
    const struct torct_run *run = checker->run;

    for (unsigned thread = 0; thread < run->threads; thread++) {
        const struct torct_history *history = &run->histories[thread];
        uint64_t ids = history->id_next - history->id_first;

        checker->version_of[thread] = must_allocate(ids, sizeof(uint32_t));
        checker->entry_of[thread] = must_allocate(ids, sizeof(uint32_t));
        memset(checker->version_of[thread], 0xff, ids * sizeof(uint32_t));
        memset(checker->entry_of[thread], 0xff, ids * sizeof(uint32_t));
        for (uint32_t i = 0; i < history->entry_count; i++) {
            const struct torct_entry *record = &history->entries[i];

            for (uint32_t j = record->first_op; j < record->first_op + record->ops; j++)
                if ((history->ops[j].kind == TORCT_OP_WRITE || history->ops[j].kind == TORCT_OP_MERGE)
                    && history->ops[j].id != TORCT_ID_ABSENT)
                    checker->entry_of[thread][torct_id_number(history->ops[j].id) - history->id_first]
                        = checker->entry_base[thread] + i;
        }
    }
}

static uint32_t
look_up(const struct checker *checker, uint32_t *const *table, uint64_t id)
{
    unsigned thread = torct_id_thread(id);
    uint64_t number = torct_id_number(id);

    if (id == TORCT_ID_ABSENT || id == TORCT_ID_DAMAGED || thread >= checker->run->threads)
        return NONE;
    if (number < checker->run->histories[thread].id_first || number >= checker->run->histories[thread].id_next)
        return NONE;
    return table[thread][number - checker->run->histories[thread].id_first];
}

/* After versions have moved. A lock repeats the id of the version before it: the write is what the id stands for. */
static void
index_versions(struct checker *checker, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct version *version = &checker->versions[i];
        unsigned thread = torct_id_thread(version->id);

        if (version->entry != NONE && look_up(checker, checker->entry_of, version->id) == version->entry)
            checker->version_of[thread][torct_id_number(version->id) - checker->run->histories[thread].id_first] = i;
    }
}

static void
build_versions(struct checker *checker)
{
    const struct torct_run *run = checker->run;
    uint32_t *next = must_allocate(run->keys + 1, sizeof(*next));

    for (uint32_t key = 0; key < run->keys; key++)
        checker->first[key + 1] = 1;
    each_write(checker, count_write, NULL);
    for (uint32_t key = 0; key < run->keys; key++)
        checker->first[key + 1] += checker->first[key];
    checker->versions = must_allocate(checker->first[run->keys], sizeof(*checker->versions));
    for (uint32_t key = 0; key < run->keys; key++) {
        checker->versions[checker->first[key]] = (struct version){
            .id = run->baseline[key], .expires = run->times == NULL ? NEVER : run->times[key], .before = TORCT_ID_PLAIN,
            .entry = NONE};
        next[key] = checker->first[key] + 1;
    }
    each_write(checker, place_write, next);
    for (uint32_t key = 0; key < run->keys; key++)
        qsort(&checker->versions[checker->first[key] + 1], checker->first[key + 1] - checker->first[key] - 1,
              sizeof(*checker->versions), compare_versions);
    index_versions(checker, 0, checker->first[run->keys]);
    free(next);
}

/* The first version of the group that `index` is in. */
static uint32_t
group_first(const struct checker *checker, uint32_t key, uint32_t index)
{
    while (index > checker->first[key] && checker->versions[index - 1].stamp == checker->versions[index].stamp)
        index--;
    return index;
}

static uint32_t
group_last(const struct checker *checker, uint32_t key, uint32_t index)
{
    while (index + 1 < checker->first[key + 1] && checker->versions[index + 1].stamp == checker->versions[index].stamp)
        index++;
    return index;
}

/* The version of `key` that a snapshot sees: the last one whose stamp is not greater. */
static uint32_t
visible(const struct checker *checker, uint32_t key, uint64_t snapshot)
{
    uint32_t low = checker->first[key], high = checker->first[key + 1];

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (checker->versions[middle].stamp <= snapshot)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- Times ---- */

/* Whether a value that expires then can have been there, or not, for a look between two times. */
static bool
may_be_there(uint64_t id, uint64_t expires, uint64_t first)
{
    return id != TORCT_ID_ABSENT && expires > first;
}

static bool
may_be_gone(uint64_t id, uint64_t expires, uint64_t last)
{
    return id == TORCT_ID_ABSENT || expires <= last;
}

/* Whether a read is right if it finds this value. Narrows the moment of the entry of the walk. */
static bool
agrees(struct checker *checker, const struct seen *seen, uint64_t id, uint64_t expires)
{
    bool present = seen->found_only || seen->other || seen->id != TORCT_ID_ABSENT;

    if (id == TORCT_ID_ABSENT)
        return !present;
    if (!present && expires != NEVER && checker->time_least < expires) {
        checker->time_least = expires;
        checker->time_keys[0] = seen->key;
    }
    if (present && expires != NEVER && checker->time_greatest >= expires) {
        checker->time_greatest = expires - 1;
        checker->time_keys[1] = seen->key;
    }
    if (!present)
        return expires != NEVER;
    if (seen->expires != 0 && seen->expires != (expires == NEVER ? TORCT_TIME_NEVER : expires))
        return false;
    return seen->found_only || (seen->other ? id != seen->id : id == seen->id);
}

/* ---- Walks ---- */

/* One read: the own write if there is one, else the visitor's. */
static void
walk_read(struct checker *checker, struct seen *seen, visit_fn *visit, void *context)
{
    const struct torct_op *own;
    bool right;

    if (checker->own_entry[seen->key] != seen->entry) {
        visit(checker, seen, context);
        return;
    }
    own = ops_of(checker, seen->entry) + checker->own_op[seen->key];
    right = agrees(checker, seen, own->id,
                   own->expires == 0 || own->expires == TORCT_TIME_NEVER ? NEVER : own->expires);
    if (!right && context == NULL)
        report(checker, TORCT_VIOLATION_OWN_WRITE, seen->key, seen->entry, NONE);
}

/* A scan and its items: a read of every key in the range. Returns the number of operations taken. */
static uint32_t
walk_scan(struct checker *checker, struct seen *seen, const struct torct_op *scan, uint32_t left, visit_fn *visit,
          void *context)
{
    bool reverse = scan->kind == TORCT_OP_SCAN_REVERSE;
    uint32_t range = scan->id > scan->key ? (uint32_t)scan->id - scan->key : 0;
    uint32_t taken = 1;

    seen->in_scan = true;
    for (uint32_t i = 0; i < range; i++) {
        seen->key = reverse ? (uint32_t)scan->id - 1 - i : scan->key + i;
        seen->id = TORCT_ID_ABSENT;
        if (taken < left && scan[taken].kind == TORCT_OP_ITEM && scan[taken].key == seen->key)
            seen->id = scan[taken++].id;
        walk_read(checker, seen, visit, context);
    }
    seen->in_scan = false;
    /* What is left over was out of the range, out of order or there twice. */
    for (; taken < left && scan[taken].kind == TORCT_OP_ITEM; taken++)
        if (context == NULL)
            report(checker, TORCT_VIOLATION_PHANTOM, scan[taken].key, seen->entry, NONE);
    return taken;
}

/* Forget the own writes that operation `rollback` undoes: for each key, the last one that stands counts again. */
static void
walk_rollback(struct checker *checker, uint32_t entry, const struct torct_op *op, uint32_t rollback)
{
    for (uint32_t i = (uint32_t)op[rollback].id; i < rollback; i++) {
        if (op[i].undone_by != rollback || checker->own_entry[op[i].key] != entry)
            continue;
        checker->own_entry[op[i].key] = NONE;
        for (uint32_t j = 0; j < op[rollback].id; j++) {
            bool writes = op[j].kind == TORCT_OP_WRITE || op[j].kind == TORCT_OP_MERGE;

            if (!writes || op[j].key != op[i].key || (op[j].undone_by != 0 && op[j].undone_by <= rollback))
                continue;
            checker->own_entry[op[i].key] = entry;
            checker->own_op[op[i].key] = j;
        }
    }
}

/* Visit every read of `entry` that is not of its own writes. A NULL context marks the walk that reports. */
static void
walk(struct checker *checker, uint32_t entry, visit_fn *visit, void *context)
{
    const struct torct_op *op = ops_of(checker, entry);
    struct seen seen = {.entry = entry, .record = record_of(checker, entry)};

    for (uint32_t i = 0; i < seen.record->ops;) {
        seen.key = op[i].key;
        seen.id = op[i].id;
        seen.found_only = op[i].kind == TORCT_OP_FOUND;
        seen.other = op[i].kind == TORCT_OP_OTHER;
        seen.expires = op[i].kind == TORCT_OP_READ || op[i].kind == TORCT_OP_LOCK ? op[i].expires : 0;
        switch (op[i].kind) {
        case TORCT_OP_SCAN:
        case TORCT_OP_SCAN_REVERSE:
            i += walk_scan(checker, &seen, &op[i], seen.record->ops - i, visit, context);
            continue;
        case TORCT_OP_READ:
        case TORCT_OP_FOUND:
        case TORCT_OP_OTHER:
        case TORCT_OP_LOCK:
            walk_read(checker, &seen, visit, context);
            break;
        case TORCT_OP_WRITE:
        case TORCT_OP_MERGE:
            checker->own_entry[op[i].key] = entry;
            checker->own_op[op[i].key] = i;
            break;
        case TORCT_OP_ROLLBACK:
            walk_rollback(checker, entry, op, i);
            break;
        default:
            break;
        }
        i++;
    }
}

/* No moment of its own is right for all that the entry saw. */
static void
report_time(struct checker *checker, uint32_t entry)
{
    const struct torct_entry *record = record_of(checker, entry);
    bool missed = checker->time_least > record->time_last;
    uint32_t key = checker->time_keys[missed || checker->time_greatest == record->time_last ? 0 : 1];

    report(checker, TORCT_VIOLATION_TIME, key, entry,
           checker->versions[visible(checker, key, record->snapshot)].entry);
    if (checker->verdict->words != NULL && checker->verdict->total <= TORCT_VERDICT_WORDS_MAX)
        fprintf(checker->verdict->words, "  its moment is not before %" PRIu64 ", and not after %" PRIu64 "\n",
                checker->time_least, checker->time_greatest);
}

static void
walk_all(struct checker *checker, bool nodes_only, visit_fn *visit, void *context)
{
    uint32_t entries = checker->entry_base[checker->run->threads];

    forget_own(checker);
    for (uint32_t entry = 0; entry < entries; entry++) {
        const struct torct_entry *record = record_of(checker, entry);

        if (record->automatic || (nodes_only && !is_node(record)))
            continue;
        checker->time_least = record->time_first;
        checker->time_greatest = record->time_last;
        walk(checker, entry, visit, context);
        if (context == NULL && checker->time_least > checker->time_greatest)
            report_time(checker, entry);
    }
}

/* ---- S4: groups, and writers that overlap ---- */

/* Whether one of the versions has the value `id`. */
static bool
is_among(const struct checker *checker, uint32_t first, uint32_t last, uint64_t id)
{
    for (uint32_t i = first; i <= last; i++)
        if (checker->versions[i].id == id)
            return true;
    return false;
}

/* Whether a version may be the last of its group: a free write, if there is any, came last; and nothing was made of it
 * in the group. */
static bool
may_be_last(const struct checker *checker, uint32_t first, uint32_t last, uint32_t index)
{
    const struct version *version = &checker->versions[index];

    for (uint32_t i = first; i <= last; i++)
        if (i != index && version->id != TORCT_ID_ABSENT && checker->versions[i].before == version->id
            && checker->versions[i].id != version->id)
            return false;
    /* What was made of a version before the group is its first one. */
    if (version->before != TORCT_ID_PLAIN && first < last && !is_among(checker, first, last, version->before))
        return false;
    return version->free || !checker->versions[last].free;
}

/* Whether absence, if it is seen, tells which version of a group came last: not if one may have expired. */
static bool
may_expire(const struct checker *checker, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i <= last; i++)
        if (checker->versions[i].expires != NEVER)
            return true;
    return false;
}

static void
swap_versions(struct checker *checker, uint32_t a, uint32_t b)
{
    struct version swapped = checker->versions[a];

    checker->versions[a] = checker->versions[b];
    checker->versions[b] = swapped;
}

/* What is known of the version that came last in a group. */
enum evidence {
    EVIDENCE_NONE,
    EVIDENCE_ID,                /* A snapshot read its value. */
    EVIDENCE_PRESENT,           /* Somebody found that there was a value. */
    EVIDENCE_ABSENT,            /* Somebody found none. */
};

enum strength { STRENGTH_NONE, STRENGTH_WEAK, STRENGTH_FULL };

/* Several versions of a group may be present: that one is, does not tell which. */
static enum strength
strength_of(enum evidence evidence)
{
    if (evidence == EVIDENCE_NONE)
        return STRENGTH_NONE;
    return evidence == EVIDENCE_PRESENT ? STRENGTH_WEAK : STRENGTH_FULL;
}

static bool
fits(const struct version *version, enum evidence evidence, uint64_t id)
{
    switch (evidence) {
    case EVIDENCE_ID:
        return version->id == id;
    case EVIDENCE_PRESENT:
        return version->id != TORCT_ID_ABSENT;
    case EVIDENCE_ABSENT:
        return version->id == TORCT_ID_ABSENT;
    default:
        return true;
    }
}

/* Move to the end of a group, of the versions that may stand there and fit, the one that returned last: if any of them
 * can have come after all others, that one can. */
static void
settle(struct checker *checker, uint32_t first, uint32_t last, enum evidence evidence, uint64_t id, uint32_t witness)
{
    uint32_t best = NONE;
    uint64_t best_returned = 0;

    if (checker->versions[last].settled > STRENGTH_NONE &&
        checker->versions[last].settled >= (int)strength_of(evidence))
        return;
    for (uint32_t i = first; i <= last; i++) {
        uint64_t returned = record_of(checker, checker->versions[i].entry)->commit_returned;

        if (may_be_last(checker, first, last, i) && fits(&checker->versions[i], evidence, id)
            && (best == NONE || returned > best_returned)) {
            best = i;
            best_returned = returned;
        }
    }
    if (best == NONE)
        return;
    swap_versions(checker, best, last);
    checker->versions[best].settled = STRENGTH_NONE;
    checker->versions[last].settled = strength_of(evidence);
    checker->versions[last].witness = witness;
}

/* What a snapshot saw of a group. The context is the evidence to look for. */
static void
settle_seen(struct checker *checker, const struct seen *seen, void *context)
{
    enum evidence evidence = *(const enum evidence *)context;
    uint32_t last = visible(checker, seen->key, seen->record->snapshot);
    uint32_t first = group_first(checker, seen->key, last);

    if (first == last || seen->found_only != (evidence == EVIDENCE_PRESENT) || seen->other)
        return;
    if (seen->found_only || seen->id != TORCT_ID_ABSENT || !may_expire(checker, first, last))
        settle(checker, first, last, evidence, seen->id, seen->entry);
}

/* What the next write of the key found, if it was an autocommit write and alone. */
static void
settle_by_next(struct checker *checker, uint32_t key, uint32_t first, uint32_t last)
{
    uint32_t next = last + 1;

    if (next < checker->first[key + 1] && checker->versions[next].automatic && group_last(checker, key, next) == next) {
        uint32_t witness = checker->versions[next].entry;
        const struct torct_op *op = ops_of(checker, witness);

        if (op->kind == TORCT_OP_FOUND)
            settle(checker, first, last, EVIDENCE_PRESENT, 0, witness);
        else if (op->kind == TORCT_OP_READ && op->id != TORCT_ID_ABSENT)
            settle(checker, first, last, EVIDENCE_ID, op->id, witness);
        else if (op->kind == TORCT_OP_READ && !may_expire(checker, first, last))
            settle(checker, first, last, EVIDENCE_ABSENT, 0, witness);
    }
    settle(checker, first, last, EVIDENCE_NONE, 0, NONE);
}

static void
check_group(struct checker *checker, uint32_t key, uint32_t first, uint32_t last)
{
    uint32_t transactions = 0;

    settle_by_next(checker, key, first, last);
    for (uint32_t i = first; i <= last; i++) {
        uint32_t entry = checker->versions[i].entry, final = checker->versions[last].entry;

        if (!checker->versions[i].free && transactions++ > 0)
            report(checker, TORCT_VIOLATION_LOST_UPDATE, key, entry, final);
        if (record_of(checker, final)->commit_returned < record_of(checker, entry)->commit_called)
            report(checker, TORCT_VIOLATION_REAL_TIME, key, final, entry);
    }
    index_versions(checker, first, last + 1);
}

static void
check_groups(struct checker *checker)
{
    static const enum evidence order[] = {EVIDENCE_ID, EVIDENCE_PRESENT};
    const struct torct_run *run = checker->run;

    for (uint32_t key = 0; key < run->keys; key++)
        for (uint32_t i = checker->first[key] + 1; i < checker->first[key + 1]; i++)
            checker->ties |= checker->versions[i].stamp == checker->versions[i - 1].stamp;
    if (!checker->ties)
        return;
    for (unsigned i = 0; i < 2; i++)
        walk_all(checker, false, settle_seen, (void *)&order[i]);
    for (uint32_t key = 0; key < run->keys; key++)
        for (uint32_t first = checker->first[key] + 1, last; first < checker->first[key + 1]; first = last + 1) {
            last = group_last(checker, key, first);
            if (last > first)
                check_group(checker, key, first, last);
        }
}

static void
check_overlaps(struct checker *checker)
{
    for (uint32_t key = 0; key < checker->run->keys; key++)
        for (uint32_t i = checker->first[key] + 1; i < checker->first[key + 1]; i++) {
            const struct version *version = &checker->versions[i];
            const struct version *before = &checker->versions[group_first(checker, key, i) - 1];

            if (!version->free && before->stamp > record_of(checker, version->entry)->snapshot)
                report(checker, TORCT_VIOLATION_LOST_UPDATE, key, version->entry, before->entry);
        }
}

/* ---- S9: merges ---- */

/* Versions learn what they were made of. Facts of other values than committed versions are of no use. */
static void
learn_facts(struct checker *checker)
{
    for (unsigned thread = 0; thread < checker->run->threads; thread++) {
        const struct torct_history *history = &checker->run->histories[thread];

        for (uint32_t i = 0; i < history->fact_count; i++) {
            const struct torct_fact *fact = &history->facts[i];
            uint32_t index = look_up(checker, checker->version_of, fact->id);

            if (index != NONE && checker->versions[index].id == fact->id)
                checker->versions[index].before = fact->before;
        }
    }
}

/* A merge was made of the version before its group, or of another one of its group, of which no other was made. */
static void
check_made_of(struct checker *checker, uint32_t key, uint32_t index)
{
    const struct version *version = &checker->versions[index];
    uint32_t first = group_first(checker, key, index), last = group_last(checker, key, index);
    uint32_t former = group_first(checker, key, first - 1);

    if (!is_among(checker, former, first - 1, version->before)
        && (first == last || !is_among(checker, first, last, version->before)))
        report(checker, TORCT_VIOLATION_MERGE, key, version->entry, checker->versions[first - 1].entry);
    for (uint32_t i = first; i < index; i++)
        if (version->before != TORCT_ID_ABSENT && checker->versions[i].before == version->before)
            report(checker, TORCT_VIOLATION_MERGE, key, version->entry, checker->versions[i].entry);
}

static void
check_merges(struct checker *checker)
{
    for (uint32_t key = 0; key < checker->run->keys; key++)
        for (uint32_t i = checker->first[key] + 1; i < checker->first[key + 1]; i++)
            if (checker->versions[i].before != TORCT_ID_PLAIN)
                check_made_of(checker, key, i);
}

/* ---- S1, S2, S3, S5, S7, S10 ---- */

static bool
was_undone(const struct checker *checker, uint32_t entry, uint64_t id)
{
    const struct torct_op *op = ops_of(checker, entry);

    for (uint32_t i = 0; i < record_of(checker, entry)->ops; i++)
        if (op[i].id == id && op[i].undone_by != 0 && op[i].kind != TORCT_OP_LOCK)
            return true;
    return false;
}

/* Whether absence may have been the last version of a group of which some may expire. */
static bool
may_be_absent(const struct checker *checker, const struct seen *seen, uint32_t last)
{
    uint32_t first = group_first(checker, seen->key, last);

    if (first == last || !may_expire(checker, first, last))
        return false;
    for (uint32_t i = first; i <= last; i++)
        if (may_be_last(checker, first, last, i)
            && may_be_gone(checker->versions[i].id, checker->versions[i].expires, seen->record->time_last))
            return true;
    return false;
}

/* After report(): the versions of one stamp. */
static void
tell_group(const struct checker *checker, uint32_t first, uint32_t last)
{
    FILE *out = checker->verdict->words;

    if (out == NULL || checker->verdict->total > TORCT_VERDICT_WORDS_MAX)
        return;
    for (uint32_t i = first; i <= last; i++) {
        fprintf(out, "  at %" PRIu64 ": ", checker->versions[i].stamp);
        print_id(out, checker->versions[i].id);
        fputs(checker->versions[i].before == TORCT_ID_PLAIN ? "" : ", made of ", out);
        if (checker->versions[i].before != TORCT_ID_PLAIN)
            print_id(out, checker->versions[i].before);
        fputs(checker->versions[i].settled ? ", was seen last, by\n" : "\n", out);
        if (checker->versions[i].settled)
            print_entry(checker, checker->versions[i].witness);
    }
}

static void
check_seen(struct checker *checker, const struct seen *seen, void *context)
{
    uint32_t last = visible(checker, seen->key, seen->record->snapshot);
    const struct version *version = &checker->versions[last];
    enum torct_violation violation = seen->in_scan ? TORCT_VIOLATION_PHANTOM : TORCT_VIOLATION_READ;
    uint32_t writer;

    (void)context;
    if (!seen->found_only && seen->id == TORCT_ID_ABSENT && may_be_absent(checker, seen, last))
        return;
    if (agrees(checker, seen, version->id, version->expires))
        return;
    writer = look_up(checker, checker->entry_of, seen->id);
    if (!seen->found_only && seen->id == TORCT_ID_DAMAGED)
        violation = TORCT_VIOLATION_DAMAGED;
    else if (!seen->found_only && writer != NONE
             && (record_of(checker, writer)->outcome != TORCT_COMMITTED || was_undone(checker, writer, seen->id)))
        violation = TORCT_VIOLATION_ABORTED_READ;
    else if (!seen->found_only && writer != NONE && look_up(checker, checker->version_of, seen->id) == NONE)
        violation = TORCT_VIOLATION_INTERMEDIATE_READ;
    report(checker, violation, seen->key, seen->entry, version->entry);
    tell_writer(checker, writer);
    tell_group(checker, group_first(checker, seen->key, last), last);
}

/* A refused write has a rival: a version past the snapshot. */
static void
check_refusals(struct checker *checker, uint32_t entry)
{
    const struct torct_entry *record = record_of(checker, entry);
    const struct torct_op *op = ops_of(checker, entry);

    for (uint32_t i = 0; i < record->ops; i++)
        if (op[i].kind == TORCT_OP_REFUSED
            && checker->versions[checker->first[op[i].key + 1] - 1].stamp <= record->snapshot)
            report(checker, TORCT_VIOLATION_CAUSELESS, op[i].key, entry, NONE);
    /* Who was wounded by one that did not commit either may not know over which key. */
    if (record->outcome == TORCT_CONFLICTED && record->conflict_key != TORCT_KEY_NONE
        && !torct_history_touched(&checker->run->histories[thread_of(checker, entry)], record, record->conflict_key,
                                  !record->serializable))
        report(checker, TORCT_VIOLATION_CAUSELESS, record->conflict_key, entry, NONE);
}

static void
check_stamp(struct checker *checker, uint32_t entry)
{
    const struct torct_entry *record = record_of(checker, entry);
    const struct torct_op *op = ops_of(checker, entry);
    bool wrote = false;

    if (record->outcome != TORCT_COMMITTED)
        return;
    for (uint32_t i = 0; i < record->ops; i++)
        wrote |= torct_op_writes(&op[i]);
    if (wrote ? record->stamp <= record->snapshot : record->stamp != 0)
        report(checker, TORCT_VIOLATION_STAMP, TORCT_KEY_NONE, entry, NONE);
}

/* What an autocommit write said of its predecessor, if the order of its group leaves no doubt. */
static void
check_predecessor(struct checker *checker, uint32_t key, uint32_t index)
{
    const struct version *version = &checker->versions[index], *before = version - 1;
    uint32_t former = group_first(checker, key, index - 1);
    const struct torct_entry *record;
    const struct torct_op *op;
    bool right;

    if (!version->automatic || group_first(checker, key, index) != group_last(checker, key, index))
        return;
    if (former < index - 1 && may_expire(checker, former, index - 1))
        return;
    record = record_of(checker, version->entry);
    op = ops_of(checker, version->entry);
    if (op->kind == TORCT_OP_FOUND)
        right = may_be_there(before->id, before->expires, record->time_first);
    else if (op->kind == TORCT_OP_READ && op->id == TORCT_ID_ABSENT)
        right = may_be_gone(before->id, before->expires, record->time_last);
    else if (op->kind == TORCT_OP_READ)
        right = before->id == op->id && may_be_there(before->id, before->expires, record->time_first);
    else
        return;
    if (right)
        return;
    report(checker, TORCT_VIOLATION_READ, key, version->entry, before->entry);
    tell_writer(checker, look_up(checker, checker->entry_of, op->id));
    tell_group(checker, former, index);
}

static void
check_entries(struct checker *checker)
{
    uint32_t entries = checker->entry_base[checker->run->threads];

    for (uint32_t entry = 0; entry < entries; entry++) {
        check_refusals(checker, entry);
        check_stamp(checker, entry);
    }
    for (uint32_t key = 0; key < checker->run->keys; key++)
        for (uint32_t i = checker->first[key] + 1; i < checker->first[key + 1]; i++)
            check_predecessor(checker, key, i);
    walk_all(checker, false, check_seen, NULL);
}

/* ---- S6: moments ---- */

static bool
is_bare_read(const struct checker *checker, uint32_t entry)
{
    const struct torct_entry *record = record_of(checker, entry);

    if (!record->automatic || record->ops != 1)
        return false;
    return ops_of(checker, entry)->kind == TORCT_OP_READ || ops_of(checker, entry)->kind == TORCT_OP_FOUND
        || ops_of(checker, entry)->kind == TORCT_OP_OTHER;
}

/* Whether an autocommit read names the value that it found. */
static bool
names_value(const struct torct_op *op)
{
    return op->kind == TORCT_OP_READ && op->id != TORCT_ID_ABSENT;
}

/* Whether an autocommit read may have found version `index`. */
static bool
may_have_found(const struct checker *checker, uint32_t entry, uint32_t index)
{
    const struct version *version = &checker->versions[index];
    const struct torct_entry *record = record_of(checker, entry);
    const struct torct_op *op = ops_of(checker, entry);

    if (op->kind == TORCT_OP_READ && op->id == TORCT_ID_ABSENT)
        return may_be_gone(version->id, version->expires, record->time_last);
    if (!may_be_there(version->id, version->expires, record->time_first))
        return false;
    return op->kind == TORCT_OP_FOUND || (op->kind == TORCT_OP_READ) == (op->id == version->id);
}

/* The first and the last version that show the value of version `index`: locks repeat a value, and a put that is
 * deleted in the same transaction repeats absence. */
static uint32_t
first_alike(const struct checker *checker, uint32_t key, uint32_t index)
{
    while (index > checker->first[key] && checker->versions[index - 1].id == checker->versions[index].id)
        index--;
    return index;
}

static uint32_t
last_alike(const struct checker *checker, uint32_t key, uint32_t index)
{
    while (index + 1 < checker->first[key + 1] && checker->versions[index + 1].id == checker->versions[index].id)
        index++;
    return index;
}

/* The greatest place of the read `entry` at version `index`: before one that it cannot have found, or at it if they
 * share a stamp. */
static uint64_t
greatest_place(const struct checker *checker, uint32_t entry, uint32_t key, uint32_t index)
{
    uint32_t end = checker->first[key + 1];

    while (index + 1 < end && may_have_found(checker, entry, index + 1))
        index++;
    if (index + 1 == end)
        return NEVER;
    return 2 * checker->versions[index + 1].stamp -
           (checker->versions[index + 1].stamp > checker->versions[index].stamp);
}

/* Where an autocommit read stands: at its version; if it names none, at the first one that it may have found and
 * that is not over yet at `passed`, which leaves most room to all that follow. NONE: nowhere. */
static uint32_t
version_read(const struct checker *checker, uint32_t entry, uint64_t passed)
{
    const struct torct_op *op = ops_of(checker, entry);
    uint32_t index = look_up(checker, checker->version_of, op->id);
    uint64_t returned = record_of(checker, entry)->commit_returned;

    if (names_value(op)) {
        if (op->id == checker->versions[checker->first[op->key]].id)
            index = checker->first[op->key];
        if (index == NONE || index < checker->first[op->key] || index >= checker->first[op->key + 1])
            return NONE;
        return may_have_found(checker, entry, index) ? index : NONE;
    }
    for (index = visible(checker, op->key, passed / 2); index > checker->first[op->key]
         && greatest_place(checker, entry, op->key, index - 1) >= passed;)
        index--;
    for (; index < checker->first[op->key + 1]; index++) {
        uint32_t writer = checker->versions[index].entry;

        if (may_have_found(checker, entry, index)
            && (writer == NONE || record_of(checker, writer)->commit_called < returned))
            return index;
    }
    return NONE;
}

/* Give an autocommit read its place; report one that has none. */
static void
place_read(struct checker *checker, struct event *event, uint64_t passed)
{
    const struct torct_op *op = ops_of(checker, event->entry);
    uint32_t index = version_read(checker, event->entry, passed);
    uint32_t writer = index == NONE ? NONE : checker->versions[index].entry;

    event->greatest = NEVER;
    if (index == NONE) {
        writer = look_up(checker, checker->entry_of, op->id);
        report(checker, op->id == TORCT_ID_DAMAGED ? TORCT_VIOLATION_DAMAGED
                        : writer != NONE && record_of(checker, writer)->outcome != TORCT_COMMITTED
                            ? TORCT_VIOLATION_ABORTED_READ : TORCT_VIOLATION_READ, op->key, event->entry, writer);
        return;
    }
    if (writer != NONE && record_of(checker, writer)->commit_called > event->returned)
        report(checker, TORCT_VIOLATION_REAL_TIME, op->key, event->entry, writer);
    event->least = 2 * checker->versions[index].stamp;
    event->greatest = greatest_place(checker, event->entry, op->key, index);
}

/* The events of one thread, in time order: its entries follow one another. */
static uint32_t
list_events(const struct checker *checker, unsigned thread, struct event *events)
{
    uint32_t count = 0;

    for (uint32_t entry = checker->entry_base[thread]; entry < checker->entry_base[thread + 1]; entry++) {
        const struct torct_entry *record = record_of(checker, entry);
        bool commits = record->outcome == TORCT_COMMITTED && record->stamp != 0;

        if (!record->automatic && !record->past)
            events[count++] = (struct event){record->begin_called, record->begin_returned, 2 * record->snapshot + 1,
                                             2 * record->snapshot + 1, entry};
        if (commits || is_bare_read(checker, entry))
            events[count++] = (struct event){record->commit_called, record->commit_returned, 2 * record->stamp,
                                             2 * record->stamp, entry};
    }
    return count;
}

/* What has passed at a moment of the sweep. */
struct passed {
    uint64_t place;             /* The greatest least place of an event that has returned. */
    uint32_t entry;             /* Whose it is. */
    uint64_t *of_key;           /* Per key: the same, of its writes and autocommit reads. */
};

static void
pass_event(const struct checker *checker, struct passed *passed, const struct event *event)
{
    const struct torct_entry *record = record_of(checker, event->entry);
    const struct torct_op *op = ops_of(checker, event->entry);
    bool bare_read = is_bare_read(checker, event->entry);

    if (event->least > passed->place) {
        passed->place = event->least;
        passed->entry = event->entry;
    }
    for (uint32_t i = 0; i < record->ops; i++)
        if ((bare_read || (torct_op_writes(&op[i]) && event->least == 2 * record->stamp))
            && event->least > passed->of_key[op[i].key])
            passed->of_key[op[i].key] = event->least;
}

/* An autocommit read promises its own key only: a commit whose stamp is older than a snapshot, but which is not decided
 * yet, may still be before it. Everything else stands in one order. */
static void
check_event(struct checker *checker, const struct passed *passed, struct event *event)
{
    uint32_t key = ops_of(checker, event->entry)->key;

    if (!is_bare_read(checker, event->entry)) {
        if (passed->place > event->greatest)
            report(checker, TORCT_VIOLATION_REAL_TIME, TORCT_KEY_NONE, passed->entry, event->entry);
        return;
    }
    place_read(checker, event, passed->of_key[key]);
    if (passed->of_key[key] > event->greatest)
        report(checker, TORCT_VIOLATION_REAL_TIME, key, event->entry,
               checker->versions[visible(checker, key, passed->of_key[key] / 2)].entry);
}

/* Merge the threads' events by the moment of their call; what has returned before then has passed. */
static void
check_moments(struct checker *checker)
{
    unsigned threads = checker->run->threads;
    struct event **events = must_allocate(threads, sizeof(*events));
    uint32_t *counts = must_allocate(threads, sizeof(*counts));
    uint32_t *called = must_allocate(threads, sizeof(*called));
    uint32_t *returned = must_allocate(threads, sizeof(*returned));
    struct passed passed = {0, NONE, must_allocate(checker->run->keys, sizeof(uint64_t))};

    for (unsigned t = 0; t < threads; t++) {
        events[t] = must_allocate(2 * (size_t)(checker->entry_base[t + 1] - checker->entry_base[t]), sizeof(**events));
        counts[t] = list_events(checker, t, events[t]);
    }
    for (;;) {
        struct event *next = NULL;
        unsigned thread = 0;

        for (unsigned t = 0; t < threads; t++)
            if (called[t] < counts[t] && (next == NULL || events[t][called[t]].called < next->called)) {
                next = &events[t][called[t]];
                thread = t;
            }
        if (next == NULL)
            break;
        for (unsigned t = 0; t < threads; t++)
            for (; returned[t] < called[t] && events[t][returned[t]].returned < next->called; returned[t]++)
                pass_event(checker, &passed, &events[t][returned[t]]);
        check_event(checker, &passed, next);
        called[thread]++;
    }
    for (unsigned t = 0; t < threads; t++)
        free(events[t]);
    free(passed.of_key);
    free(returned);
    free(called);
    free(counts);
    free(events);
}

/* ---- S8: dependencies ---- */

enum edge_kind { EDGE_WW, EDGE_WR, EDGE_RW };

struct edge {
    uint32_t to;
    uint32_t next;              /* The next edge of the same origin, or NONE. */
    uint32_t key;
    uint32_t kind;
};

struct graph {
    struct edge *edges;
    uint32_t count, capacity;
    uint32_t *head;             /* Per entry: its first edge, or NONE. */
    uint32_t *incoming;         /* Per entry: edges not yet taken away. */
    uint32_t *node_before;      /* Per version: the newest node's version not after it, or NONE. */
    uint32_t *node_after;       /* Per version: the oldest node's version after it, or NONE. */
};

static void
add_edge(struct graph *graph, uint32_t from, uint32_t to, uint32_t key, enum edge_kind kind)
{
    if (from == to)
        return;
    if (graph->count == graph->capacity) {
        graph->capacity = graph->capacity * 2 + 1024;
        graph->edges = realloc(graph->edges, graph->capacity * sizeof(*graph->edges));
        if (graph->edges == NULL) {
            fprintf(stderr, "the checker has no memory for %" PRIu32 " edges\n", graph->capacity);
            exit(EXIT_FAILURE);
        }
    }
    graph->edges[graph->count] = (struct edge){to, graph->head[from], key, kind};
    graph->head[from] = graph->count++;
    graph->incoming[to]++;
}

/* Whether it is known which version of a group came last. */
static bool
last_is_known(const struct checker *checker, uint32_t first, uint32_t last)
{
    if (checker->versions[last].settled == STRENGTH_FULL)
        return true;
    for (uint32_t i = first; i < last; i++)
        if (may_be_last(checker, first, last, i))
            return false;
    return true;
}

/* Only the last version of a group has a known place in it, if any has. */
static void
link_versions(struct checker *checker, struct graph *graph, uint32_t key)
{
    uint32_t before = NONE;

    for (uint32_t first = checker->first[key], last; first < checker->first[key + 1]; first = last + 1) {
        uint32_t newest = before;
        bool known;

        last = group_last(checker, key, first);
        known = last_is_known(checker, first, last);
        for (uint32_t i = first; i <= last; i++) {
            graph->node_before[i] = checker->versions[i].node ? i : before;
            if (!checker->versions[i].node)
                continue;
            if (before != NONE)
                add_edge(graph, checker->versions[before].entry, checker->versions[i].entry, key, EDGE_WW);
            if (i < last && known && checker->versions[last].node)
                add_edge(graph, checker->versions[i].entry, checker->versions[last].entry, key, EDGE_WW);
            newest = i;
        }
        before = newest;
    }
    before = NONE;
    for (uint32_t i = checker->first[key + 1]; i-- > checker->first[key];) {
        uint32_t last = group_last(checker, key, i);

        if (i < last && last_is_known(checker, group_first(checker, key, i), last))
            graph->node_after[i] = checker->versions[last].node ? last : graph->node_after[last];
        else
            graph->node_after[i] = i < last ? graph->node_after[last] : before;
        if (checker->versions[i].node)
            before = i;
    }
}

/* A read of the value of version `index`: after who gave it first, before who gave another. */
static void
link_read(struct checker *checker, struct graph *graph, uint32_t reader, uint32_t key, uint32_t index)
{
    uint32_t before = graph->node_before[first_alike(checker, key, index)];
    uint32_t after = graph->node_after[last_alike(checker, key, index)];

    if (before != NONE)
        add_edge(graph, checker->versions[before].entry, reader, key, EDGE_WR);
    if (after != NONE)
        add_edge(graph, reader, checker->versions[after].entry, key, EDGE_RW);
}

/* The version that a read stands at. A value has one. Absence holds again after a put and a delete: a writer's serial
 * place is its commit stamp, so there, before or after others of that stamp, if the key is absent there. */
static uint32_t
place_seen(const struct checker *checker, const struct seen *seen)
{
    uint64_t places[] = {seen->record->stamp - 1, seen->record->stamp};

    if (seen->record->stamp == 0 || seen->other || (seen->id != TORCT_ID_ABSENT && !seen->found_only))
        return visible(checker, seen->key, seen->record->snapshot);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t index = visible(checker, seen->key, places[i]);
        bool present = checker->versions[index].id != TORCT_ID_ABSENT;

        if (checker->versions[index].expires != NEVER)
            return index;               /* Absent or not, that depends on the time. */
        if (present == seen->found_only && checker->versions[index].entry != seen->entry)
            return index;
    }
    return visible(checker, seen->key, seen->record->snapshot);
}

static void
link_seen(struct checker *checker, const struct seen *seen, void *context)
{
    struct graph *graph = context;
    uint32_t index = place_seen(checker, seen);

    /* That it was not the expected one, or absent by the time, says little about the order of commits. */
    if (seen->other || (checker->versions[index].expires != NEVER && (seen->found_only || seen->id == TORCT_ID_ABSENT)))
        return;
    if (!seen->found_only) {
        link_read(checker, graph, seen->entry, seen->key, index);
        return;
    }
    /* It saw that there was a value: so it stands before the one who took it away. */
    while (index < checker->first[seen->key + 1] && checker->versions[index].id != TORCT_ID_ABSENT)
        index++;
    if (index < checker->first[seen->key + 1] && checker->versions[index].node)
        add_edge(graph, seen->entry, checker->versions[index].entry, seen->key, EDGE_RW);
}

/* Autocommit reads that found a value; one that found nothing may stand in several gaps. */
static void
link_bare_reads(struct checker *checker, struct graph *graph)
{
    uint32_t entries = checker->entry_base[checker->run->threads];

    for (uint32_t entry = 0; entry < entries; entry++) {
        const struct torct_op *op = ops_of(checker, entry);

        if (is_bare_read(checker, entry) && names_value(op)) {
            uint32_t index = version_read(checker, entry, 0);

            if (index != NONE)
                link_read(checker, graph, entry, op->key, index);
        }
    }
}

/* Take away, again and again, what nothing depends on: what cannot be taken away lies on or behind a cycle. */
static uint32_t
peel(struct graph *graph, uint32_t entries)
{
    uint32_t *ready = must_allocate(entries, sizeof(*ready));
    uint32_t count = 0;

    for (uint32_t i = 0; i < entries; i++)
        if (graph->incoming[i] == 0)
            ready[count++] = i;
    for (uint32_t taken = 0; taken < count; taken++)
        for (uint32_t e = graph->head[ready[taken]]; e != NONE; e = graph->edges[e].next)
            if (--graph->incoming[graph->edges[e].to] == 0)
                ready[count++] = graph->edges[e].to;
    free(ready);
    return entries - count;
}

/* An edge from a node that is left to another one that is left. By peel() each of those has a predecessor, not always a
 * successor, so walk back: find any edge into `node`. */
static uint32_t
edge_into(const struct graph *graph, uint32_t entries, uint32_t node, uint32_t *edge)
{
    for (uint32_t from = 0; from < entries; from++) {
        if (graph->incoming[from] == 0)
            continue;
        for (uint32_t e = graph->head[from]; e != NONE; e = graph->edges[e].next)
            if (graph->edges[e].to == node) {
                *edge = e;
                return from;
            }
    }
    return NONE;
}

/* Tell one cycle: walk back until a node comes twice, then print from there. */
static void
report_cycle(struct checker *checker, struct graph *graph, uint32_t entries)
{
    static const char *const names[] = {"ww", "wr", "rw"};
    enum { STEPS_MAX = 1000, TOLD_MAX = 16 };
    uint32_t path[STEPS_MAX + 1], edges[STEPS_MAX + 1], edge = NONE, length = 0, back = NONE;

    if (!torct_verdict_add(checker->verdict, TORCT_VIOLATION_CYCLE))
        return;
    path[0] = 0;
    while (graph->incoming[path[0]] == 0)
        path[0]++;
    while (length < STEPS_MAX && back == NONE) {
        path[length + 1] = edge_into(graph, entries, path[length], &edge);
        edges[length] = edge;
        length++;
        for (uint32_t i = 0; i < length && back == NONE; i++)
            if (path[i] == path[length])
                back = i;
    }
    if (back == NONE) {
        fputs("  of more than 1000 transactions\n", checker->verdict->words);
        return;
    }
    for (uint32_t i = length; i > back && length - i < TOLD_MAX; i--) {
        print_entry(checker, path[i]);
        fprintf(checker->verdict->words, "    -- %s over key %" PRIu32 " -->\n", names[graph->edges[edges[i - 1]].kind],
                graph->edges[edges[i - 1]].key);
    }
    if (length - back > TOLD_MAX)
        fprintf(checker->verdict->words, "  ... %" PRIu32 " more ...\n", length - back - TOLD_MAX);
    print_entry(checker, path[back]);
}

static void
check_cycles(struct checker *checker)
{
    uint32_t entries = checker->entry_base[checker->run->threads];
    uint32_t versions = checker->first[checker->run->keys];
    struct graph graph = {0};

    graph.head = must_allocate(entries, sizeof(*graph.head));
    graph.incoming = must_allocate(entries, sizeof(*graph.incoming));
    graph.node_before = must_allocate(versions, sizeof(*graph.node_before));
    graph.node_after = must_allocate(versions, sizeof(*graph.node_after));
    memset(graph.head, 0xff, entries * sizeof(*graph.head));
    for (uint32_t key = 0; key < checker->run->keys; key++)
        link_versions(checker, &graph, key);
    walk_all(checker, true, link_seen, &graph);
    link_bare_reads(checker, &graph);
    if (peel(&graph, entries) > 0)
        report_cycle(checker, &graph, entries);
    free(graph.node_after);
    free(graph.node_before);
    free(graph.incoming);
    free(graph.head);
    free(graph.edges);
}

/* ---- All of it ---- */

static void
checker_init(struct checker *checker, const struct torct_run *run, struct torct_verdict *verdict)
{
    *checker = (struct checker){.run = run, .verdict = verdict};
    checker->entry_base = must_allocate(run->threads + 1, sizeof(uint32_t));
    checker->first = must_allocate(run->keys + 1, sizeof(uint32_t));
    checker->version_of = must_allocate(run->threads, sizeof(uint32_t *));
    checker->entry_of = must_allocate(run->threads, sizeof(uint32_t *));
    checker->own_entry = must_allocate(run->keys, sizeof(uint32_t));
    checker->own_op = must_allocate(run->keys, sizeof(uint32_t));
    for (unsigned thread = 0; thread < run->threads; thread++)
        checker->entry_base[thread + 1] = checker->entry_base[thread] + run->histories[thread].entry_count;
}

static void
checker_fini(struct checker *checker)
{
    for (unsigned thread = 0; thread < checker->run->threads; thread++) {
        free(checker->version_of[thread]);
        free(checker->entry_of[thread]);
    }
    free(checker->versions);
    free(checker->own_op);
    free(checker->own_entry);
    free(checker->entry_of);
    free(checker->version_of);
    free(checker->first);
    free(checker->entry_base);
}

void
torct_check_si(const struct torct_run *run, struct torct_verdict *verdict)
{
    uint64_t before = verdict->total;
    struct checker checker;

    checker_init(&checker, run, verdict);
    build_ids(&checker);
    build_versions(&checker);
    learn_facts(&checker);
    check_groups(&checker);
    check_overlaps(&checker);
    check_merges(&checker);
    check_entries(&checker);
    check_moments(&checker);
    if (verdict->total == before)       /* Dependencies mean something only among right reads. */
        check_cycles(&checker);
    for (uint32_t key = 0; key < run->keys; key++) {
        run->baseline[key] = checker.versions[checker.first[key + 1] - 1].id;
        if (run->times != NULL)
            run->times[key] = checker.versions[checker.first[key + 1] - 1].expires;
    }
    checker_fini(&checker);
}

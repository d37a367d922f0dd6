/* SPDX-License-Identifier: MIT */
/* stress/check_elle: see the header.
 *
 * The graph has a node per committed transaction and a node per commit on a line of time: a transaction has an edge to
 * its own moment, each moment one to the next, and the last moment before a transaction began one to it. That is all of
 * real time in 3 edges each.
 *
 * Snapshot isolation needs two layers: a node stands in layer 1 if one came to it over an rw edge, and from there no rw
 * edge leads on. A cycle through the layers is one without two rw edges in a row. */
#include "check_elle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define NONE UINT32_MAX

enum edge_kind { EDGE_WW, EDGE_WR, EDGE_RW, EDGE_TIME };

struct edge {
    uint32_t to;
    uint32_t next;              /* The next edge of the same origin, or NONE. */
    uint32_t key;
    uint32_t kind;
};

struct checker {
    const struct torct_list_run *run;
    struct torct_verdict *verdict;
    uint32_t *entry_base;       /* Per thread: the number of its first entry; one more at the end. */
    uint32_t entries;
    uint32_t **writer_of;       /* Per thread and element: the entry that appended it. */
    uint32_t **place_of;        /* Per thread and element: its place in the final list plus 1; 0: nowhere. */
    uint64_t **digests;         /* Per key: the digest of each beginning of its list, from the empty one. */
    struct edge *edges;
    uint32_t edge_count, edge_capacity;
    uint32_t *head;             /* Per node: entries, then moments. */
};

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

/* ---- Recording ---- */

bool
torct_list_history_init(struct torct_list_history *history, unsigned thread, uint32_t entry_capacity,
                        uint32_t op_capacity)
{
    memset(history, 0, sizeof(*history));
    history->entries = malloc(entry_capacity * sizeof(*history->entries));
    history->ops = malloc(op_capacity * sizeof(*history->ops));
    if (history->entries == NULL || history->ops == NULL) {
        torct_list_history_fini(history);
        return false;
    }
    history->entry_capacity = entry_capacity;
    history->op_capacity = op_capacity;
    history->id_prefix = (uint64_t)(thread + 1) << TORCT_ID_THREAD_SHIFT;
    history->id_next = 1;
    return true;
}

void
torct_list_history_fini(struct torct_list_history *history)
{
    free(history->entries);
    free(history->ops);
    memset(history, 0, sizeof(*history));
}

bool
torct_list_history_fits(const struct torct_list_history *history, uint32_t entries, uint32_t ops)
{
    return history->entry_capacity - history->entry_count >= entries && history->op_capacity - history->op_count >= ops;
}

struct torct_list_entry *
torct_list_history_begin(struct torct_list_history *history)
{
    struct torct_list_entry *entry = &history->entries[history->entry_count];

    torc_assert(history->entry_count < history->entry_capacity);
    memset(entry, 0, sizeof(*entry));
    entry->first_op = history->op_count;
    history->entry_count++;
    return entry;
}

static struct torct_list_op *
add_op(struct torct_list_history *history, uint32_t key)
{
    struct torct_list_op *op = &history->ops[history->op_count];

    torc_assert(history->entry_count > 0 && history->op_count < history->op_capacity);
    memset(op, 0, sizeof(*op));
    op->key = key;
    history->op_count++;
    history->entries[history->entry_count - 1].ops++;
    return op;
}

void
torct_list_history_read(struct torct_list_history *history, uint32_t key, uint32_t length, uint64_t digest)
{
    struct torct_list_op *op = add_op(history, key);

    op->length = length;
    op->digest = digest;
}

uint64_t
torct_list_history_append(struct torct_list_history *history, uint32_t key)
{
    struct torct_list_op *op = add_op(history, key);

    op->append = true;
    op->element = history->id_prefix | history->id_next++;
    return op->element;
}

uint64_t
torct_list_history_discard(struct torct_list_history *history)
{
    return history->id_prefix | history->id_next++;
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

static const struct torct_list_entry *
record_of(const struct checker *checker, uint32_t entry)
{
    unsigned thread = thread_of(checker, entry);

    return &checker->run->histories[thread].entries[entry - checker->entry_base[thread]];
}

static const struct torct_list_op *
ops_of(const struct checker *checker, uint32_t entry)
{
    return checker->run->histories[thread_of(checker, entry)].ops + record_of(checker, entry)->first_op;
}

static void
print_entry(const struct checker *checker, uint32_t entry)
{
    FILE *out = checker->verdict->words;
    const struct torct_list_entry *record = record_of(checker, entry);
    const struct torct_list_op *op = ops_of(checker, entry);
    unsigned thread = thread_of(checker, entry);

    fprintf(out, "  #%u.%" PRIu32 " %s, [%" PRIu64 " %" PRIu64 "]:", thread, entry - checker->entry_base[thread],
            record->committed ? "committed" : "not committed", record->begin_called, record->commit_returned);
    for (uint32_t i = 0; i < record->ops; i++)
        if (op[i].append)
            fprintf(out, " append(%" PRIu32 " %u.%" PRIu64 ")", op[i].key, torct_id_thread(op[i].element),
                    torct_id_number(op[i].element));
        else
            fprintf(out, " read(%" PRIu32 " of %" PRIu32 ")", op[i].key, op[i].length);
    fputc('\n', out);
}

static void
report(struct checker *checker, enum torct_violation violation, uint32_t key, uint32_t entry, uint32_t other)
{
    if (!torct_verdict_add(checker->verdict, violation))
        return;
    fprintf(checker->verdict->words, "  list %" PRIu32 "\n", key);
    if (entry != NONE)
        print_entry(checker, entry);
    if (other != NONE && other != entry)
        print_entry(checker, other);
}

/* The slot of an element in a table, or NULL if nobody appended it. */
static uint32_t *
slot_of(const struct checker *checker, uint32_t *const *table, uint64_t element)
{
    unsigned thread = torct_id_thread(element);
    uint64_t number = torct_id_number(element);

    if (thread >= checker->run->threads || number == 0 || number >= checker->run->histories[thread].id_next)
        return NULL;
    return &table[thread][number];
}

/* ---- What is wrong at once ---- */

/* Note every append, committed or not. */
static void
index_elements(struct checker *checker)
{
    for (unsigned thread = 0; thread < checker->run->threads; thread++) {
        uint64_t ids = checker->run->histories[thread].id_next;

        checker->writer_of[thread] = must_allocate(ids, sizeof(uint32_t));
        checker->place_of[thread] = must_allocate(ids, sizeof(uint32_t));
        memset(checker->writer_of[thread], 0xff, ids * sizeof(uint32_t));
    }
    for (uint32_t entry = 0; entry < checker->entries; entry++)
        for (uint32_t i = 0; i < record_of(checker, entry)->ops; i++)
            if (ops_of(checker, entry)[i].append)
                *slot_of(checker, checker->writer_of, ops_of(checker, entry)[i].element) = entry;
}

/* A final list: elements that were appended to it, by transactions that committed, each once. */
static void
check_list(struct checker *checker, uint32_t key)
{
    const struct torct_list *list = &checker->run->lists[key];

    checker->digests[key] = must_allocate(list->length + 1, sizeof(uint64_t));
    checker->digests[key][0] = TORCT_DIGEST_EMPTY;
    for (uint32_t i = 0; i < list->length; i++) {
        const uint32_t *writer = slot_of(checker, checker->writer_of, list->elements[i]);
        uint32_t *place = slot_of(checker, checker->place_of, list->elements[i]);

        checker->digests[key][i + 1] = torct_digest_append(checker->digests[key][i], list->elements[i]);
        if (writer == NULL || *writer == NONE) {
            report(checker, TORCT_VIOLATION_DAMAGED, key, NONE, NONE);
            continue;
        }
        if (!record_of(checker, *writer)->committed)
            report(checker, TORCT_VIOLATION_ABORTED_READ, key, *writer, NONE);
        if (*place != 0)
            report(checker, TORCT_VIOLATION_INCOMPATIBLE, key, *writer, NONE);
        *place = i + 1;
    }
}

/* The writer of the element at `place` of a list, or NONE. */
static uint32_t
writer_at(const struct checker *checker, uint32_t key, uint32_t place)
{
    const uint32_t *writer = slot_of(checker, checker->writer_of, checker->run->lists[key].elements[place]);

    return writer != NULL ? *writer : NONE;
}

/* A read from outside: a beginning of the final list that ends where some transaction ended. */
static bool
check_outer_read(struct checker *checker, uint32_t entry, const struct torct_list_op *op)
{
    const struct torct_list *list = &checker->run->lists[op->key];

    if (op->length > list->length || checker->digests[op->key][op->length] != op->digest) {
        report(checker, TORCT_VIOLATION_INCOMPATIBLE, op->key, entry, NONE);
        return false;
    }
    if (op->length > 0 && op->length < list->length
        && writer_at(checker, op->key, op->length - 1) == writer_at(checker, op->key, op->length)) {
        report(checker, TORCT_VIOLATION_INTERMEDIATE_READ, op->key, entry,
               writer_at(checker, op->key, op->length - 1));
        return false;
    }
    return true;
}

/* The last operation before `index` that fixed what this transaction must see of its key, or NONE. */
static uint32_t
earlier_op(const struct torct_list_op *op, uint32_t index)
{
    for (uint32_t i = index; i-- > 0;)
        if (op[i].key == op[index].key)
            return i;
    return NONE;
}

/* Every read of a transaction: the first of a key comes from outside, the others follow from it and the own appends. */
static void
check_reads(struct checker *checker, uint32_t entry)
{
    const struct torct_list_op *op = ops_of(checker, entry);

    for (uint32_t i = 0; i < record_of(checker, entry)->ops; i++) {
        uint32_t first = i, length, earlier;
        uint64_t digest;

        if (op[i].append)
            continue;
        for (; (earlier = earlier_op(op, first)) != NONE;)
            first = earlier;
        if (first == i) {
            (void)check_outer_read(checker, entry, &op[i]);     /* Reported there. */
            continue;
        }
        length = op[first].length;
        digest = op[first].digest;
        for (uint32_t j = first; j < i; j++)
            if (op[j].key == op[i].key && op[j].append) {
                length++;
                digest = torct_digest_append(digest, op[j].element);
            }
        if (!op[first].append && (op[i].length != length || op[i].digest != digest))
            report(checker, TORCT_VIOLATION_OWN_WRITE, op[i].key, entry, NONE);
    }
}

/* Every committed append is in its list. */
static void
check_appends(struct checker *checker, uint32_t entry)
{
    const struct torct_list_op *op = ops_of(checker, entry);

    for (uint32_t i = 0; i < record_of(checker, entry)->ops; i++)
        if (op[i].append && *slot_of(checker, checker->place_of, op[i].element) == 0)
            report(checker, TORCT_VIOLATION_LOST_UPDATE, op[i].key, entry, NONE);
}

/* ---- The graph ---- */

static void
add_edge(struct checker *checker, uint32_t from, uint32_t to, uint32_t key, enum edge_kind kind)
{
    if (from == to || from == NONE || to == NONE)
        return;
    if (checker->edge_count == checker->edge_capacity) {
        checker->edge_capacity = checker->edge_capacity * 2 + 1024;
        checker->edges = realloc(checker->edges, checker->edge_capacity * sizeof(*checker->edges));
        if (checker->edges == NULL) {
            fprintf(stderr, "the checker has no memory for %" PRIu32 " edges\n", checker->edge_capacity);
            exit(EXIT_FAILURE);
        }
    }
    checker->edges[checker->edge_count] = (struct edge){to, checker->head[from], key, kind};
    checker->head[from] = checker->edge_count++;
}

static void
link_lists(struct checker *checker)
{
    for (uint32_t key = 0; key < checker->run->keys; key++)
        for (uint32_t i = 1; i < checker->run->lists[key].length; i++)
            add_edge(checker, writer_at(checker, key, i - 1), writer_at(checker, key, i), key, EDGE_WW);
}

static void
link_reads(struct checker *checker, uint32_t entry)
{
    const struct torct_list_op *op = ops_of(checker, entry);

    for (uint32_t i = 0; i < record_of(checker, entry)->ops; i++) {
        uint32_t key = op[i].key, length = op[i].length;

        /* A read past the final list has been reported; it has no place in the order. */
        if (op[i].append || earlier_op(op, i) != NONE || length > checker->run->lists[key].length)
            continue;
        if (length > 0)
            add_edge(checker, writer_at(checker, key, length - 1), entry, key, EDGE_WR);
        if (length < checker->run->lists[key].length)
            add_edge(checker, entry, writer_at(checker, key, length), key, EDGE_RW);
    }
}

struct moment {
    uint64_t at;
    uint32_t entry;
};

static int
compare_moments(const void *a, const void *b)
{
    const struct moment *left = a, *right = b;

    return (left->at > right->at) - (left->at < right->at);
}

/* The line of time: moment m is the m-th commit to return. */
static void
link_time(struct checker *checker)
{
    struct moment *moments = must_allocate(checker->entries, sizeof(*moments));
    uint32_t count = 0;

    for (uint32_t entry = 0; entry < checker->entries; entry++)
        if (record_of(checker, entry)->committed)
            moments[count++] = (struct moment){record_of(checker, entry)->commit_returned, entry};
    qsort(moments, count, sizeof(*moments), compare_moments);
    for (uint32_t m = 0; m < count; m++) {
        add_edge(checker, moments[m].entry, checker->entries + m, 0, EDGE_TIME);
        if (m > 0)
            add_edge(checker, checker->entries + m - 1, checker->entries + m, 0, EDGE_TIME);
    }
    for (uint32_t entry = 0; entry < checker->entries; entry++) {
        uint64_t begun = record_of(checker, entry)->begin_called;
        uint32_t low = 0, high = count;

        if (!record_of(checker, entry)->committed)
            continue;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;

            if (moments[middle].at < begun)
                low = middle + 1;
            else
                high = middle;
        }
        if (low > 0)
            add_edge(checker, checker->entries + low - 1, entry, 0, EDGE_TIME);
    }
    free(moments);
}

/* Where an edge leads from `place` (node * 2 + layer), or NONE if it cannot be taken there. */
static uint32_t
place_after(const struct checker *checker, uint32_t place, const struct edge *edge)
{
    if (checker->run->serializable)
        return edge->to * 2;
    if (edge->kind != EDGE_RW)
        return edge->to * 2;
    return place % 2 == 0 ? edge->to * 2 + 1 : NONE;
}

/* Take away, again and again, the places that nothing leads to. incoming[] of the places left is > 0; returns how
 * many there are. */
static uint32_t
peel(const struct checker *checker, uint32_t *incoming, uint32_t places)
{
    uint32_t *ready = must_allocate(places, sizeof(*ready));
    uint32_t count = 0, next;

    for (uint32_t place = 0; place < places; place++)
        for (uint32_t e = checker->head[place / 2]; e != NONE; e = checker->edges[e].next)
            if ((next = place_after(checker, place, &checker->edges[e])) != NONE)
                incoming[next]++;
    for (uint32_t place = 0; place < places; place++)
        if (incoming[place] == 0)
            ready[count++] = place;
    for (uint32_t taken = 0; taken < count; taken++)
        for (uint32_t e = checker->head[ready[taken] / 2]; e != NONE; e = checker->edges[e].next) {
            next = place_after(checker, ready[taken], &checker->edges[e]);
            if (next != NONE && --incoming[next] == 0)
                ready[count++] = next;
        }
    free(ready);
    return places - count;
}

/* An edge into `place` from another place that is left. */
static uint32_t
edge_into(const struct checker *checker, const uint32_t *incoming, uint32_t places, uint32_t place, uint32_t *edge)
{
    for (uint32_t from = 0; from < places; from++) {
        if (incoming[from] == 0)
            continue;
        for (uint32_t e = checker->head[from / 2]; e != NONE; e = checker->edges[e].next)
            if (place_after(checker, from, &checker->edges[e]) == place) {
                *edge = e;
                return from;
            }
    }
    return NONE;
}

/* Tell one cycle: walk back until a place comes twice. Moments are only passed through. */
static void
report_cycle(struct checker *checker, const uint32_t *incoming, uint32_t places)
{
    static const char *const names[] = {"ww", "wr", "rw", "time"};
    enum { STEPS_MAX = 1000 };
    uint32_t path[STEPS_MAX + 1], edges[STEPS_MAX + 1], length = 0, back = NONE;

    if (!torct_verdict_add(checker->verdict, TORCT_VIOLATION_CYCLE))
        return;
    path[0] = 0;
    while (incoming[path[0]] == 0)
        path[0]++;
    for (; length < STEPS_MAX && back == NONE; length++) {
        path[length + 1] = edge_into(checker, incoming, places, path[length], &edges[length]);
        for (uint32_t i = 0; i <= length && back == NONE; i++)
            if (path[i] == path[length + 1])
                back = i;
    }
    for (uint32_t i = length; back != NONE && i > back; i--) {
        const struct edge *edge = &checker->edges[edges[i - 1]];

        if (path[i] / 2 < checker->entries)
            print_entry(checker, path[i] / 2);
        if (edge->kind == EDGE_TIME)
            fputs("    -- time -->\n", checker->verdict->words);
        else
            fprintf(checker->verdict->words, "    -- %s over list %" PRIu32 " -->\n", names[edge->kind], edge->key);
    }
}

static void
check_cycles(struct checker *checker)
{
    uint32_t places = 4 * checker->entries;     /* Transactions and moments, in two layers. */
    uint32_t *incoming = must_allocate(places, sizeof(*incoming));

    link_lists(checker);
    for (uint32_t entry = 0; entry < checker->entries; entry++)
        if (record_of(checker, entry)->committed)
            link_reads(checker, entry);
    link_time(checker);
    if (peel(checker, incoming, places) > 0)
        report_cycle(checker, incoming, places);
    free(incoming);
}

void
torct_check_elle(const struct torct_list_run *run, struct torct_verdict *verdict)
{
    struct checker checker = {.run = run, .verdict = verdict};
    uint64_t before = verdict->total;
    bool ordered;

    checker.entry_base = must_allocate(run->threads + 1, sizeof(uint32_t));
    for (unsigned thread = 0; thread < run->threads; thread++)
        checker.entry_base[thread + 1] = checker.entry_base[thread] + run->histories[thread].entry_count;
    checker.entries = checker.entry_base[run->threads];
    checker.writer_of = must_allocate(run->threads, sizeof(uint32_t *));
    checker.place_of = must_allocate(run->threads, sizeof(uint32_t *));
    checker.digests = must_allocate(run->keys, sizeof(uint64_t *));
    checker.head = must_allocate(2 * (size_t)checker.entries, sizeof(uint32_t));
    memset(checker.head, 0xff, 2 * (size_t)checker.entries * sizeof(uint32_t));
    index_elements(&checker);
    for (uint32_t key = 0; key < run->keys; key++)
        check_list(&checker, key);
    ordered = verdict->total == before;
    for (uint32_t entry = 0; entry < checker.entries; entry++) {
        check_reads(&checker, entry);
        if (record_of(&checker, entry)->committed)
            check_appends(&checker, entry);
    }
    if (ordered)                        /* Dependencies mean something only among right lists. */
        check_cycles(&checker);
    for (unsigned thread = 0; thread < run->threads; thread++) {
        free(checker.writer_of[thread]);
        free(checker.place_of[thread]);
    }
    for (uint32_t key = 0; key < run->keys; key++)
        free(checker.digests[key]);
    free(checker.edges);
    free(checker.head);
    free(checker.digests);
    free(checker.place_of);
    free(checker.writer_of);
    free(checker.entry_base);
}

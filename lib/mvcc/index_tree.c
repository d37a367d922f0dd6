/* SPDX-License-Identifier: MIT */
/* mvcc/index_tree: a copy-on-write B-link tree.
 *
 *   root ---> anchor ""  ------------------------------> anchor "m"            level 1
 *               | content: ["", "d"]                       | content: ["m", "t"]
 *               v         |     \                          v
 *             anchor "" ----> anchor "d" ------> anchor "m" ---> anchor "t"    level 0, the leaves
 *               | content       | content          | content       | content
 *               a b c           d f k              m n             t u z       records
 *
 * An anchor is a place: its low key never changes, one word names its content. A content never changes at all: to
 * change a node is to copy its content and to swing the word by one CAS. A content's `next` is the right neighbour,
 * whose low key is this node's bound: [low, next->low) is its range. The truth of a level is its chain of neighbours;
 * the entries of the level above are hints: one may be missing (reached by walking right), one may name a dead anchor
 * (reached from the left of it).
 *
 *   split    right half in a new anchor, then ONE CAS: the left half, with next = the new anchor. Then a hint above.
 *   remove   the last entry of an anchor that is not its level's leftmost: CAS to a dead content (next kept).
 *            Then the left neighbour gets a content whose next passes over the dead one: that range is his now.
 *            Anybody who wants to insert there does this first. Then the hint above is removed, then all is retired.
 *   A dead anchor that was reached over `next` from a living one may be passed through: it was linked a moment ago, and
 *   its range was empty when it died. One that was reached by a hint may not (its next may be freed): go left.
 *
 *   walk     a leaf is handed out as it is, and `next` leads on: no search. The level above names the leaves to come:
 *            they are fetched together before the chain gets there. Between two sections a walk keeps a bookmark: two
 *            anchors that were alive when `burials` had a value. While it has that value still, none of them is freed.
 *
 * Words: the entries' keys are compared by eight bytes, big-endian, from `skip` on: all keys of a range begin with
 * the bytes that its two bounds have in common, so these are left out. Only equal words lead to whole keys.
 *
 * Invariants   I1  in a level, low keys ascend strictly along the chain; the leftmost ("") is never dead
 *              I2  the keys of a content lie in its range and ascend strictly
 *              I3  a dead content is final and has no entries
 *              I4  a living anchor is linked in its level's chain (a new one is linked by the split's CAS)
 *              I5  an entry above names an anchor of the level below with this very low key
 *              I6  an anchor is retired by one thread: state LINKING -> LINKED by the one that split, -> DEAD by
 *                  the one whose CAS killed it; who comes second removes the hint and retires
 *              I7  a frozen record is put into a leaf only if it froze after that leaf's content was loaded; its
 *                  remover then finds it there, or changes the leaf once more so that this insert's CAS fails
 * Ordering     R1 CAS of an anchor's content -> A1 content_of(): the content, its entries, a new anchor, its record
 *              R2 CAS of `root`              -> A2 find(): the new top anchor and its content
 *              R3 exchange of `state`        -> A3 the other exchange: the hint is in (to its remover), or the anchor
 *                                               is unlinked (to its splitter)
 *              R4 ORDERED set in `flags`     -> A4 torci_tree_index_remove(): that the record was in, so who took it
 *                                               out did so after it froze
 *              R5 `burials` raised           -> A5 torci_tree_index_seek(): that what it counts is dead, so no bookmark
 *                                               of that value names it
 *              Of bookmarks: an anchor is retired only after it was counted. If it was freed before a section began,
 *              the grace period makes the section see the count raised; if not, the section keeps it in memory.
 *              R1 and A1 are seq_cst: a transaction inserts before it reads the clock, a snapshot reads the clock
 *              before it looks here; the single order makes one see the other.
 *              Of I7: insert loads the content (A1), then the record's head; remove (its caller has frozen the head)
 *              changes the content (R1). Either A1 reads R1 or later, and the head is seen frozen, or the CAS fails.
 * Progress     Lock-free, all of it. A failed CAS means that another operation changed this anchor. A search goes left
 *              at most once per dead anchor it meets, right at most once per split.
 * Reclamation  Contents and anchors through the limbo, once unlinked and (anchors) once their hint is gone. What a
 *              removal will need (three contents, room in the limbo) is allocated before the anchor is killed: from
 *              then on it cannot fail.
 * Papers       Lehman, Yao (TODS 1981): right links. Levandoski, Lomet, Sengupta: the Bw-tree (ICDE 2013): one word per
 *              node; without its delta chains, since a whole leaf is copied in less time than a chain is read. */
#include "mvcc/index_tree.h"

#include "base/assert.h"

#if defined(TORC_TINY)
enum { FANOUT = 4 };
#else
/* Entries of a content. Measured: with 16, walks take nearly twice as long; with 64, they gain up to a quarter, while
 * an insert copies twice the bytes. */
enum { FANOUT = 32 };
#endif

enum {
    /* Room in the limbo before any step that retires. After the step itself (1), what may still have to be done
     * without fail: unlink (1), hint (1), anchor and content (2), of one anchor, plus (2) of the one before it. */
    RETIRES_RESERVED = 8,
    WORD_SIZE = 8,
    /* Of walks: what is usual after random inserts; how much of a content is fetched before its size is known. */
    LEAF_USUAL = FANOUT * 2 / 3,
    CONTENT_USUAL_BYTES = 32 + LEAF_USUAL * 16,
    /* Of estimates. */
    PATH_LEVELS_MAX = 24,
    WAYS_DOWN = 16,             /* Per level and bound. */
    RECORDS_SAMPLED = 2,        /* Per leaf. */
};

_Static_assert((int)FANOUT <= (int)TORCI_BATCH_MAX, "a leaf is handed out as one batch");
_Static_assert((int)RETIRES_RESERVED <= (int)TORCI_INDEX_RETIRES_MAX, "callers reserve enough for the first step");
_Static_assert(sizeof(void *) == sizeof(uint64_t), "entries are pairs of 8-byte words");

enum anchor_state {
    ANCHOR_LINKING,     /* Its splitter has still to set the hint. */
    ANCHOR_LINKED,      /* Its splitter is done with it. */
    ANCHOR_DEAD,        /* Its remover has unlinked it. */
};

/* Immutable after R1. */
struct content {
    struct torci_tree_anchor *next;     /* Right neighbour; NULL: none, no bound. */
    uint64_t bound;                     /* Word of next->low. Undefined if there is none. */
    uint32_t skip;                      /* Bytes that all keys of the range have in common and words leave out. */
    uint8_t count;
    uint8_t room;                       /* Entries allocated for. */
    bool dead;
    uint64_t words[];                   /* count words, then count pointers: records (level 0) or anchors. */
};

struct torci_tree_anchor {
    _Atomic(struct content *) content;
    _Atomic(uint32_t) state;            /* enum anchor_state */
    uint16_t level;                     /* Immutable, as is the rest. */
    uint32_t low_size;                  /* 0: the leftmost of its level. */
    unsigned char low[];
};

/* What is searched for: a key, and whether what is equal to it counts as before it. */
struct probe {
    struct torc_slice key;
    bool strict;        /* Only what is less. */
    bool endless;       /* Everything; key and strict do not matter. */
};

/* Where a search ended: a living anchor and its content. */
struct place {
    struct torci_tree_anchor *anchor;
    struct content *content;
    struct torci_tree_anchor *above;    /* Whose hint led here. NULL: not known. */
    bool inside;        /* The probe lies in the content's range; else in that of dead anchors right behind it. */
};

/* ---- Keys ---- */

static struct torc_slice
low_of(const struct torci_tree_anchor *anchor)
{
    return torc_slice(anchor->low, anchor->low_size);
}

static struct torc_slice
key_of(unsigned level, const void *pointer)
{
    return level == 0 ? torci_record_key(pointer) : low_of(pointer);
}

/* Eight bytes of `key` from `skip` on, zeros behind its end; compares as the bytes do. */
static uint64_t
word_of(struct torc_slice key, size_t skip)
{
    const unsigned char *bytes = key.data;
    uint64_t word = 0;

    if (key.size >= skip + WORD_SIZE) {
        memcpy(&word, bytes + skip, WORD_SIZE);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        return word;
    }
    for (size_t i = skip; i < skip + WORD_SIZE; i++)
        word = word << 8 | (i < key.size ? bytes[i] : 0);
    return word;
}

static uint32_t
common_size(struct torc_slice a, struct torc_slice b)
{
    const unsigned char *a_bytes = a.data, *b_bytes = b.data;
    size_t shorter = a.size < b.size ? a.size : b.size, i = 0;

    while (i < shorter && a_bytes[i] == b_bytes[i])
        i++;
    return (uint32_t)i;
}

/* Whether `key` lies at or before the probe. */
static bool
reaches(const struct probe *probe, struct torc_slice key)
{
    int comparison = probe->endless ? -1 : torci_key_compare(key, probe->key);

    return comparison < 0 || (comparison == 0 && !probe->strict);
}

static struct probe
probe_upto(struct torc_slice key)
{
    return (struct probe){.key = key};
}

static struct probe
probe_before(struct torc_slice key)
{
    return (struct probe){.key = key, .strict = true};
}

/* ---- Nodes: anchors and contents ---- */

static void *
node_alloc(const struct torci_tree_index *tree, struct torci_limbo *limbo, size_t size)
{
    struct torci_slab *slab = torci_limbo_slab(limbo);

    torc_assert(tree->pool == (slab == NULL ? NULL : slab->pool));
    return slab != NULL ? torci_object_alloc(slab, size) : torci_alloc(tree->heap, size);
}

static void
node_free(const struct torci_tree_index *tree, void *node, size_t size)
{
    if (tree->pool != NULL)
        torci_object_free(tree->pool, node, size);
    else
        torci_free(tree->heap, node, size);
}

/* ---- Contents ---- */

static size_t
content_size(unsigned room)
{
    return sizeof(struct content) + room * (sizeof(uint64_t) + sizeof(void *));
}

static struct content *
content_alloc(struct torci_tree_index *tree, struct torci_limbo *limbo, unsigned room)
{
    struct content *content = node_alloc(tree, limbo, content_size(room));

    if (content != NULL)
        content->room = (uint8_t)room;
    return content;
}

static void
content_free(struct torci_tree_index *tree, struct content *content)
{
    if (content != NULL)
        node_free(tree, content, content_size(content->room));
}

static void **
pointers_of(const struct content *content)
{
    return (void **)(uintptr_t)(content->words + content->count);
}

/* How a content differs from the one it is copied from: at `at`, `drop` entries go and `put` (unless NULL) comes. */
struct edit {
    unsigned at;
    unsigned drop;
    void *put;
};

static unsigned
edited_count(const struct content *old, const struct edit *edit)
{
    return old->count - edit->drop + (edit->put != NULL);
}

/* The pointer at `i` after the edit. */
static void *
edited_pointer(const struct content *old, const struct edit *edit, unsigned i)
{
    unsigned put = edit->put != NULL;

    if (i < edit->at)
        return pointers_of(old)[i];
    return put && i == edit->at ? edit->put : pointers_of(old)[i - put + edit->drop];
}

/* Copy the elements from..to-1 of the edited array `old`; `put` is the element that comes. All are of 8 bytes. */
static void
edited_copy(void *copy, const void *old, const struct edit *edit, const void *put, unsigned from, unsigned to)
{
    unsigned char *end = copy;
    const unsigned char *source = old;
    unsigned at = edit->at, comes = edit->put != NULL;

    if (from < at) {
        unsigned stop = to < at ? to : at;

        memcpy(end, source + from * WORD_SIZE, (stop - from) * WORD_SIZE);
        end += (stop - from) * WORD_SIZE;
        from = stop;
    }
    if (comes && from == at && from < to) {
        memcpy(end, put, WORD_SIZE);
        end += WORD_SIZE;
        from++;
    }
    if (from < to)
        memcpy(end, source + (from - comes + edit->drop) * WORD_SIZE, (to - from) * WORD_SIZE);
}

/* Fill `content` with the entries from..to-1 of the edited `old`, for the range from `anchor`'s low key to `next`. */
static void
content_fill(struct content *content, const struct torci_tree_anchor *anchor, struct torci_tree_anchor *next,
             const struct content *old, const struct edit *edit, unsigned from, unsigned to)
{
    uint32_t skip = next == NULL ? 0 : common_size(low_of(anchor), low_of(next));

    torc_assert(from <= to && to <= edited_count(old, edit));
    torc_assert(to - from <= content->room);
    content->next = next;
    content->bound = next == NULL ? 0 : word_of(low_of(next), skip);
    content->skip = skip;
    content->count = (uint8_t)(to - from);
    content->dead = false;
    edited_copy(pointers_of(content), pointers_of(old), edit, &edit->put, from, to);
    if (skip == old->skip) {
        uint64_t word = edit->put == NULL ? 0 : word_of(key_of(anchor->level, edit->put), skip);

        edited_copy(content->words, old->words, edit, &word, from, to);
    } else {
        for (unsigned i = 0; i < content->count; i++)
            content->words[i] = word_of(key_of(anchor->level, pointers_of(content)[i]), skip);
    }
}

/* The first entry whose word is >= word. Without branches that depend on the words. */
static unsigned
words_before(const struct content *content, uint64_t word)
{
    const uint64_t *base = content->words;
    unsigned left = content->count;

    if (left == 0)
        return 0;
    while (left > 1) {
        unsigned half = left / 2;

        base += (base[half - 1] < word) * half;
        left -= half;
    }
    return (unsigned)(base - content->words) + (*base < word);
}

/* How many entries the probe reaches. */
static unsigned
rank_of(const struct place *place, const struct probe *probe)
{
    const struct content *content = place->content;

    if (probe->endless || !place->inside)
        return content->count;

    uint64_t word = word_of(probe->key, content->skip);
    unsigned low = words_before(content, word), high = low;

    while (high < content->count && content->words[high] == word)
        high++;
    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (reaches(probe, key_of(place->anchor->level, pointers_of(content)[middle])))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- Anchors ---- */

static size_t
anchor_size(uint32_t low_size)
{
    return offsetof(struct torci_tree_anchor, low) + low_size;
}

static struct torci_tree_anchor *
anchor_alloc(struct torci_tree_index *tree, struct torci_limbo *limbo, unsigned level, struct torc_slice low)
{
    struct torci_tree_anchor *anchor = node_alloc(tree, limbo, anchor_size((uint32_t)low.size));

    if (anchor == NULL)
        return NULL;
    torci_init(&anchor->content, NULL);
    torci_init(&anchor->state, ANCHOR_LINKING);
    anchor->level = (uint16_t)level;
    anchor->low_size = (uint32_t)low.size;
    if (low.size > 0)
        memcpy(anchor->low, low.data, low.size);
    return anchor;
}

static void
anchor_free(struct torci_tree_index *tree, struct torci_tree_anchor *anchor)
{
    node_free(tree, anchor, anchor_size(anchor->low_size));
}

static struct content *
content_of(const struct torci_tree_anchor *anchor)
{
    return torci_load(&((struct torci_tree_anchor *)(uintptr_t)anchor)->content, memory_order_seq_cst);     /* A1 */
}

/* Swing the anchor's word; on success the old content is retired. */
static bool
content_swing(const struct place *place, struct content *content, struct torci_limbo *limbo)
{
    struct content *expected = place->content;

    torci_race_window();
    /* R1. Each operation's linearization point. Relaxed on failure: the caller searches again through A1. */
    if (!torci_cas(&place->anchor->content, &expected, content, memory_order_seq_cst, memory_order_relaxed))
        return false;
    torci_limbo_add(limbo, place->content, content_size(place->content->room), TORCI_RETIRED_NODE);
    return true;
}

/* ---- Searching ---- */

/* Whether the probe lies behind the range of `content`, which is `anchor`'s. The probe reaches the anchor's low key. */
static bool
passes(const struct torci_tree_anchor *anchor, const struct content *content, const struct probe *probe)
{
    if (content->next == NULL)
        return false;
    if (probe->endless)
        return true;
    if (!content->dead) {
        /* At or behind low, but without the bytes that low and bound have in common: behind the bound. */
        if (content->skip > 0 &&
            (probe->key.size < content->skip || memcmp(probe->key.data, anchor->low, content->skip) != 0))
            return true;
        uint64_t word = word_of(probe->key, content->skip);

        if (word != content->bound)
            return word > content->bound;
    }
    return reaches(probe, low_of(content->next));
}

/* From `anchor`, whose low key the probe reaches, to the last living one of which that is true. False: `anchor` itself
 * is dead, so that nothing can be said. */
static bool
walk_right(struct torci_tree_anchor *anchor, const struct probe *probe, struct place *place)
{
    place->anchor = NULL;
    for (;;) {
        struct content *content = content_of(anchor);
        bool ends = !passes(anchor, content, probe);

        if (!content->dead)
            *place = (struct place){anchor, content, NULL, ends};
        else if (place->anchor == NULL)
            return false;
        if (ends)
            return true;
        anchor = content->next;
    }
}

/* The last living anchor of `level` whose low key the probe reaches. False: the tree has no such level. */
static bool
find(struct torci_tree_index *tree, unsigned level, const struct probe *probe, struct place *place)
{
    struct probe bound = *probe;    /* Gets smaller with each dead end. */

again:;
    struct torci_tree_anchor *anchor = torci_load(&tree->root, memory_order_acquire);       /* A2 */
    struct torci_tree_anchor *above = NULL;

    if (anchor->level < level)
        return false;
    for (;;) {
        if (!walk_right(anchor, anchor->level > level ? &bound : probe, place)) {
            bound = probe_before(low_of(anchor));
            goto again;
        }
        if (anchor->level == level) {
            place->above = above;
            return true;
        }

        unsigned rank = rank_of(place, &bound);

        if (rank == 0) {
            /* Its first hints are gone. The leftmost anchor's first entry is the leftmost below and never goes. */
            bound = probe_before(low_of(place->anchor));
            goto again;
        }
        above = place->anchor;
        anchor = pointers_of(place->content)[rank - 1];
    }
}

/* Whether `anchor` (or NULL), of `level`, is alive and its range holds the probe: then that is the place. */
static bool
covers(struct torci_tree_anchor *anchor, unsigned level, const struct probe *probe, struct place *place)
{
    torc_assert(anchor == NULL || anchor->level == level);
    if (anchor == NULL || !reaches(probe, low_of(anchor)))
        return false;

    struct content *content = content_of(anchor);

    *place = (struct place){anchor, content, NULL, true};
    return !content->dead && !passes(anchor, content, probe);
}

/* find() on level 0, by way of `above`, if that covers the probe. */
static void
find_leaf(struct torci_tree_index *tree, struct torci_tree_anchor *above, const struct probe *probe,
          struct place *place)
{
    struct place parent;

    if (covers(above, 1, probe, &parent)) {
        unsigned rank = rank_of(&parent, probe);

        if (rank > 0 && walk_right(pointers_of(parent.content)[rank - 1], probe, place)) {
            place->above = above;
            return;
        }
    }
    (void)find(tree, 0, probe, place);
}

/* The first living anchor at or behind `anchor`, the neighbour of a living one; NULL: none. */
static struct torci_tree_anchor *
living_from(struct torci_tree_anchor *anchor)
{
    while (anchor != NULL) {
        struct content *content = content_of(anchor);

        if (!content->dead)
            break;
        anchor = content->next;
    }
    return anchor;
}

/* Whether this entry's pointer must make way: a frozen record, a dead anchor. */
static bool
is_gone(unsigned level, const void *pointer)
{
    if (level > 0)
        return content_of(pointer)->dead;
    struct torci_record *record = (struct torci_record *)(uintptr_t)pointer;

    /* I7: after A1, which is what makes a freeze seen that must be seen. Relaxed: nothing is followed. */
    return torci_load(&record->head, memory_order_relaxed) == torci_frozen();
}

/* ---- Removing ---- */

/* What burying an anchor needs, so that it cannot fail. */
struct spares {
    struct content *dead;       /* The anchor's own last content. */
    struct content *left;       /* The left neighbour's next one. */
    struct content *above;      /* The next one of the anchor that holds the hint. */
};

static enum torc_status
room_ensure(struct torci_limbo *limbo)
{
    return torci_limbo_room(limbo) >= RETIRES_RESERVED ? TORC_OK : torci_limbo_reserve(limbo, RETIRES_RESERVED);
}

static void
spares_free(struct torci_tree_index *tree, struct spares *spares)
{
    content_free(tree, spares->dead);
    content_free(tree, spares->left);
    content_free(tree, spares->above);
    *spares = (struct spares){NULL, NULL, NULL};
}

static bool
spares_alloc(struct torci_tree_index *tree, struct torci_limbo *limbo, struct spares *spares)
{
    spares->dead = content_alloc(tree, limbo, 0);
    spares->left = content_alloc(tree, limbo, FANOUT);
    spares->above = content_alloc(tree, limbo, FANOUT);
    if (spares->dead != NULL && spares->left != NULL && spares->above != NULL)
        return true;
    spares_free(tree, spares);
    return false;
}

/* Kill an anchor whose last entry goes. On success its burial is the caller's duty. */
static bool
kill(const struct place *place, struct content *dead, struct torci_limbo *limbo)
{
    torc_assert(place->anchor->low_size > 0);

    dead->next = place->content->next;
    dead->bound = 0;
    dead->skip = 0;
    dead->count = 0;
    dead->dead = true;
    return content_swing(place, dead, limbo);
}

/* What take_out() killed, if anything, and what its burial needs. */
struct corpse {
    struct torci_tree_anchor *anchor;
    struct spares spares;
};

static const struct edit no_edit = {0, 0, NULL};

/* If dead anchors follow `place`, make the chain pass over them: their range is then `place`'s. Whether or not it
 * succeeded, the caller searches again. */
static enum torc_status
help_unlink(struct torci_tree_index *tree, struct torci_limbo *limbo, const struct place *place)
{
    struct torci_tree_anchor *end = living_from(place->content->next);

    if (end == place->content->next)
        return TORC_OK;
    if (room_ensure(limbo) != TORC_OK)
        return TORC_NO_MEMORY;
    struct content *content = content_alloc(tree, limbo, place->content->count);

    if (content == NULL)
        return TORC_NO_MEMORY;
    content_fill(content, place->anchor, end, place->content, &no_edit, 0, place->content->count);
    if (!content_swing(place, content, limbo))
        content_free(tree, content);
    return TORC_OK;
}

/* Take the only entry of place's anchor out by killing it. False: not killed, for whatever reason. */
static bool
take_out_last(struct torci_tree_index *tree, struct torci_limbo *limbo, const struct place *place,
              struct corpse *corpse)
{
    struct spares spares = {NULL, NULL, NULL};

    if (room_ensure(limbo) != TORC_OK || !spares_alloc(tree, limbo, &spares))
        return false;
    if (!kill(place, spares.dead, limbo)) {
        spares_free(tree, &spares);
        return false;
    }
    spares.dead = NULL;     /* In the tree now. */
    *corpse = (struct corpse){place->anchor, spares};
    return true;
}

/* Take the entry `pointer` out of `level`. With `spare`, and room for one retire in the limbo, this cannot fail; the
 * spare is used up or freed. `touch`: if the entry is not there, swing the content where it would be all the same. */
static enum torc_status
take_out(struct torci_tree_index *tree, struct torci_limbo *limbo, unsigned level, const void *pointer,
         struct content *spare, bool touch, struct corpse *corpse)
{
    struct probe probe = probe_upto(key_of(level, pointer));
    struct place place;

    corpse->anchor = NULL;
    for (;;) {
        bool exists = find(tree, level, &probe, &place);
        unsigned rank = exists ? rank_of(&place, &probe) : 0;
        bool present = rank > 0 && pointers_of(place.content)[rank - 1] == pointer;

        torc_assert(spare == NULL || !touch);
        if (!present && !touch)
            break;
        if (touch && !place.inside) {
            if (help_unlink(tree, limbo, &place) != TORC_OK)
                return TORC_NO_MEMORY;
            continue;
        }
        if (present && place.content->count == 1 && place.anchor->low_size > 0 &&
            take_out_last(tree, limbo, &place, corpse))
            break;

        const struct edit edit = {present ? rank - 1 : 0, present ? 1 : 0, NULL};
        unsigned count = edited_count(place.content, &edit);
        struct content *content = spare;

        if (content == NULL) {
            if (room_ensure(limbo) != TORC_OK)
                return TORC_NO_MEMORY;
            content = content_alloc(tree, limbo, count);
            if (content == NULL)
                return TORC_NO_MEMORY;
        }
        content_fill(content, place.anchor, place.content->next, place.content, &edit, 0, count);
        if (content_swing(&place, content, limbo))
            return TORC_OK;
        if (content != spare)
            content_free(tree, content);
    }
    content_free(tree, spare);
    return TORC_OK;
}

/* Make the chain pass over `dead`, unless somebody has done so. Uses up or frees `spare`; cannot fail. */
static void
unlink_dead(struct torci_tree_index *tree, struct torci_limbo *limbo, const struct torci_tree_anchor *dead,
            struct content *spare)
{
    struct probe probe = probe_before(low_of(dead));
    struct place place;

    for (;;) {
        (void)find(tree, dead->level, &probe, &place);

        struct torci_tree_anchor *end = place.content->next;
        bool linked = false;

        /* Between a living anchor and the next living one: who is not there is not in the chain. */
        for (struct content *content; end != NULL && (content = content_of(end))->dead; end = content->next)
            linked |= end == dead;
        if (!linked)
            break;
        content_fill(spare, place.anchor, end, place.content, &no_edit, 0, place.content->count);
        if (content_swing(&place, spare, limbo))
            return;
    }
    content_free(tree, spare);
}

static void
retire_anchor(struct torci_limbo *limbo, struct torci_tree_anchor *dead)
{
    struct content *content = content_of(dead);

    torc_assert(content->dead);
    torci_limbo_add(limbo, content, content_size(content->room), TORCI_RETIRED_NODE);
    torci_limbo_add(limbo, dead, anchor_size(dead->low_size), TORCI_RETIRED_NODE);
}

/* Unlink and retire what was killed; then what this killed in the level above, and so on. Cannot fail. */
static void
bury(struct torci_tree_index *tree, struct torci_limbo *limbo, struct corpse corpse)
{
    while (corpse.anchor != NULL) {
        struct torci_tree_anchor *dead = corpse.anchor;
        struct corpse above = {NULL, {NULL, NULL, NULL}};

        torci_fetch_add(&tree->burials, 1, memory_order_release);           /* R5 */
        if (dead->level == 0)
            torci_fetch_sub(&tree->leaves, 1, memory_order_relaxed);    /* Relaxed: a figure. */
        unlink_dead(tree, limbo, dead, corpse.spares.left);
        /* R3, A3. If who made this anchor may still be setting its hint, the rest is his duty. */
        if (torci_exchange(&dead->state, ANCHOR_DEAD, memory_order_acq_rel) == ANCHOR_LINKED) {
            (void)take_out(tree, limbo, dead->level + 1u, dead, corpse.spares.above, false, &above);
            retire_anchor(limbo, dead);
        } else {
            content_free(tree, corpse.spares.above);
        }
        corpse = above;
    }
}

/* ---- Inserting ---- */

/* How an attempt went. */
enum step {
    STEP_PLACED,        /* The entry is in (or was). */
    STEP_REFUSED,       /* It must not be in: it is frozen or dead. */
    STEP_AGAIN,         /* Something else changed: search again. */
    STEP_NO_MEMORY,     /* Nothing was done. */
};

/* Put a level on top of the tree, whose first two entries are the old top and `child`. */
static enum step
grow(struct torci_tree_index *tree, struct torci_limbo *limbo, unsigned level, struct torci_tree_anchor *child)
{
    struct torci_tree_anchor *root = torci_load(&tree->root, memory_order_acquire);         /* A2 */

    if (root->level >= level)
        return STEP_AGAIN;
    torc_assert(root->level + 1u == level);

    struct torci_tree_anchor *top = anchor_alloc(tree, limbo, level, low_of(root));
    struct content *content = content_alloc(tree, limbo, 2);

    if (top == NULL || content == NULL)
        goto free;
    *content = (struct content){.count = 2, .room = 2};
    content->words[0] = 0;
    content->words[1] = word_of(low_of(child), 0);
    pointers_of(content)[0] = root;
    pointers_of(content)[1] = child;
    torci_init(&top->content, content);
    torci_init(&top->state, ANCHOR_LINKED);
    torci_race_window();
    /* R2. Relaxed on failure: another thread has put a level on top, and the search starts there. */
    if (torci_cas(&tree->root, &root, top, memory_order_acq_rel, memory_order_relaxed))
        return STEP_PLACED;
    content_free(tree, content);
    anchor_free(tree, top);
    return STEP_AGAIN;

free:
    content_free(tree, content);
    if (top != NULL)
        anchor_free(tree, top);
    return STEP_NO_MEMORY;
}

/* The low key of the right half that starts with `first`: in a leaf the shortest that tells it from `last`. */
static struct torc_slice
separator(unsigned level, const void *last, const void *first)
{
    struct torc_slice key = key_of(level, first);

    if (level == 0)
        key.size = common_size(key_of(level, last), key) + 1;
    return key;
}

/* Replace place's content by two halves of the edited one. */
static enum step
split(struct torci_tree_index *tree, struct torci_limbo *limbo, const struct place *place, const struct edit *edit,
      struct torci_tree_anchor **right)
{
    const struct content *old = place->content;
    unsigned level = place->anchor->level, total = edited_count(old, edit);
    /* Keys that come in ascending order fill their leaves. */
    bool appending = old->next == NULL && edit->at == old->count;
    unsigned middle = appending ? total - 1 : total / 2;
    struct torci_tree_anchor *anchor =
        anchor_alloc(tree, limbo, level, separator(level, edited_pointer(old, edit, middle - 1),
                                                  edited_pointer(old, edit, middle)));
    struct content *left_content = content_alloc(tree, limbo, middle);
    struct content *right_content = content_alloc(tree, limbo, total - middle);
    enum step step = STEP_NO_MEMORY;

    if (anchor == NULL || left_content == NULL || right_content == NULL)
        goto free;
    content_fill(right_content, anchor, old->next, old, edit, middle, total);
    torci_init(&anchor->content, right_content);
    content_fill(left_content, place->anchor, anchor, old, edit, 0, middle);
    step = STEP_AGAIN;
    if (!content_swing(place, left_content, limbo))
        goto free;
    if (level == 0)
        torci_fetch_add(&tree->leaves, 1, memory_order_relaxed);        /* Relaxed: a figure. */
    *right = anchor;
    return STEP_PLACED;

free:
    content_free(tree, right_content);
    content_free(tree, left_content);
    if (anchor != NULL)
        anchor_free(tree, anchor);
    return step;
}

/* One attempt to put `pointer` into `place`, which covers its key. */
static enum step
put_in_place(struct torci_tree_index *tree, struct torci_limbo *limbo, const struct place *place,
             const struct probe *probe, void *pointer, struct torci_tree_anchor **right)
{
    const struct content *old = place->content;
    unsigned level = place->anchor->level, rank = rank_of(place, probe);
    struct edit edit = {rank, 0, pointer};

    if (rank > 0 && old->words[rank - 1] == word_of(probe->key, old->skip) &&
        torci_key_compare(key_of(level, pointers_of(old)[rank - 1]), probe->key) == 0) {
        const void *other = pointers_of(old)[rank - 1];

        if (other == pointer)
            return STEP_PLACED;
        /* It makes way: of two with the same key, one at least is gone. If that is ours, the next line says so. */
        edit.at = rank - 1;
        edit.drop = 1;
    }
    if (is_gone(level, pointer))        /* I7 */
        return STEP_REFUSED;
    torc_assert(edit.drop == 0 || is_gone(level, pointers_of(old)[edit.at]));

    unsigned count = edited_count(old, &edit);

    if (count > FANOUT)
        return split(tree, limbo, place, &edit, right);

    struct content *content = content_alloc(tree, limbo, count);

    if (content == NULL)
        return STEP_NO_MEMORY;
    content_fill(content, place->anchor, old->next, old, &edit, 0, count);
    if (content_swing(place, content, limbo))
        return STEP_PLACED;
    content_free(tree, content);
    return STEP_AGAIN;
}

/* Put the entry `pointer` into `level`. `*right`: the anchor that a split made, whose hint is to be set; or NULL. */
static enum step
put_in(struct torci_tree_index *tree, struct torci_limbo *limbo, unsigned level, void *pointer,
       struct torci_tree_anchor **right)
{
    struct probe probe = probe_upto(key_of(level, pointer));
    enum step step = STEP_AGAIN;

    *right = NULL;
    while (step == STEP_AGAIN) {
        struct place place;

        if (room_ensure(limbo) != TORC_OK)
            return STEP_NO_MEMORY;
        if (!find(tree, level, &probe, &place))
            step = grow(tree, limbo, level, pointer);
        else if (place.inside)
            step = put_in_place(tree, limbo, &place, &probe, pointer, right);
        else if (help_unlink(tree, limbo, &place) != TORC_OK)
            return STEP_NO_MEMORY;
    }
    return step;
}

/* A leaf's next entries, in the making. */
struct merged {
    void *pointers[FANOUT];
    uint64_t words[FANOUT];
    unsigned count;
    uint64_t placed;        /* Bit i: records[i] is among them. */
};

static void
merge_entries(struct merged *merged, const struct content *old, unsigned from, unsigned to)
{
    torc_assert(from <= to && merged->count + (to - from) <= FANOUT);
    memcpy(merged->pointers + merged->count, pointers_of(old) + from, (to - from) * sizeof(void *));
    memcpy(merged->words + merged->count, old->words + from, (to - from) * sizeof(uint64_t));
    merged->count += to - from;
}

/* Merge as many of `records` into place's entries as belong there and find room. Returns how many were looked at: they
 * are in then, or refused because they are frozen. */
static unsigned
merge(const struct place *place, struct torci_record *const *records, unsigned count, struct merged *merged)
{
    const struct content *old = place->content;
    unsigned copied = 0, comes = 0, looked_at = 0;

    merged->count = 0;
    merged->placed = 0;
    for (; looked_at < count; looked_at++) {
        struct torci_record *record = records[looked_at];
        struct probe probe = probe_upto(torci_record_key(record));

        if (passes(place->anchor, old, &probe))
            break;

        unsigned rank = rank_of(place, &probe);
        bool same = rank > 0 && old->words[rank - 1] == word_of(probe.key, old->skip) &&
                    torci_key_compare(key_of(0, pointers_of(old)[rank - 1]), probe.key) == 0;

        torc_assert(rank >= copied);
        if (!same && old->count + comes == FANOUT)
            break;
        if (!same || pointers_of(old)[rank - 1] != record) {
            if (is_gone(0, record))     /* I7 */
                continue;
            /* As in put_in_place(): what has the same key makes way. */
            torc_assert(!same || is_gone(0, pointers_of(old)[rank - 1]));
            merge_entries(merged, old, copied, rank - same);
            merged->pointers[merged->count] = record;
            merged->words[merged->count++] = word_of(probe.key, old->skip);
            copied = rank;
            comes += !same;
        }
        merged->placed |= UINT64_C(1) << looked_at;
    }
    merge_entries(merged, old, copied, old->count);
    return looked_at;
}

/* Put the first of `records` into the leaf of the first one. `*done`: how many are dealt with; 0: there is no room. */
static enum step
put_many(struct torci_tree_index *tree, struct torci_limbo *limbo, struct torci_record *const *records, unsigned count,
         unsigned *done)
{
    struct probe probe = probe_upto(torci_record_key(records[0]));
    struct merged merged;
    struct place place;

    *done = 0;
    if (room_ensure(limbo) != TORC_OK)
        return STEP_NO_MEMORY;
    (void)find(tree, 0, &probe, &place);

    /* 0 also if the first one belongs to dead anchors behind the place: the single insert knows what to do. */
    unsigned looked_at = merge(&place, records, count, &merged);

    if (merged.placed != 0) {
        struct content *old = place.content, *content = content_alloc(tree, limbo, merged.count);

        if (content == NULL)
            return STEP_NO_MEMORY;
        content->next = old->next;
        content->bound = old->bound;
        content->skip = old->skip;
        content->count = (uint8_t)merged.count;
        content->dead = false;
        memcpy(content->words, merged.words, merged.count * sizeof(uint64_t));
        memcpy(pointers_of(content), merged.pointers, merged.count * sizeof(void *));
        if (!content_swing(&place, content, limbo)) {
            content_free(tree, content);
            return STEP_AGAIN;
        }
    }
    for (unsigned i = 0; i < looked_at; i++)
        if ((merged.placed >> i & 1) != 0)
            torci_fetch_or(&records[i]->flags, TORCI_RECORD_ORDERED, memory_order_release);         /* R4 */
    *done = looked_at;
    return STEP_PLACED;
}

/* Set the hint of `anchor`, which we made. Without memory there is none: searches walk one step more. Returns the
 * anchor made in the level above, if any. */
static struct torci_tree_anchor *
link_above(struct torci_tree_index *tree, struct torci_limbo *limbo, struct torci_tree_anchor *anchor)
{
    struct content *spare = content_alloc(tree, limbo, FANOUT);
    struct torci_tree_anchor *above = NULL;

    if (spare != NULL)
        (void)put_in(tree, limbo, anchor->level + 1u, anchor, &above);
    torci_race_window();
    /* R3, A3. If the anchor was emptied and unlinked in the meantime, its remover left the rest to us. */
    if (torci_exchange(&anchor->state, ANCHOR_LINKED, memory_order_acq_rel) == ANCHOR_DEAD) {
        struct corpse corpse = {NULL, {NULL, NULL, NULL}};

        if (spare != NULL)
            (void)take_out(tree, limbo, anchor->level + 1u, anchor, spare, false, &corpse);
        retire_anchor(limbo, anchor);
        bury(tree, limbo, corpse);
    } else {
        content_free(tree, spare);
    }
    return above;
}

/* ---- Interface ---- */

enum torc_status
torci_tree_index_init(struct torci_tree_index *tree, struct torci_heap *heap, struct torci_limbo *limbo)
{
    struct torci_slab *slab = torci_limbo_slab(limbo);

    tree->heap = heap;
    tree->pool = slab == NULL ? NULL : slab->pool;

    struct torci_tree_anchor *anchor = anchor_alloc(tree, limbo, 0, torc_slice(NULL, 0));
    struct content *content = content_alloc(tree, limbo, 0);

    if (anchor == NULL || content == NULL)
        goto free;
    *content = (struct content){.count = 0, .room = 0};
    torci_init(&anchor->content, content);
    torci_init(&anchor->state, ANCHOR_LINKED);
    torci_init(&tree->root, anchor);
    tree->below = NULL;
    torci_init(&tree->leaves, 1);
    torci_init(&tree->burials, 0);
    return TORC_OK;

free:
    content_free(tree, content);
    if (anchor != NULL)
        anchor_free(tree, anchor);
    return TORC_NO_MEMORY;
}

/* Free a level from `anchor` on. */
static void
free_chain_exclusive(struct torci_tree_index *tree, struct torci_tree_anchor *anchor)
{
    while (anchor != NULL) {
        struct content *content = content_of(anchor);
        struct torci_tree_anchor *next = content->next;

        content_free(tree, content);
        anchor_free(tree, anchor);
        anchor = next;
    }
}

void
torci_tree_index_clear_exclusive(struct torci_tree_index *tree)
{
    struct torci_tree_anchor *anchor = torci_load(&tree->root, memory_order_relaxed);    /* Relaxed: exclusive. */

    while (anchor->level > 0) {
        struct torci_tree_anchor *below = pointers_of(content_of(anchor))[0];

        free_chain_exclusive(tree, anchor);
        anchor = below;
    }

    struct content *content = content_of(anchor);

    free_chain_exclusive(tree, content->next);
    content->next = NULL;
    content->skip = 0;
    content->count = 0;
    torci_store(&tree->root, anchor, memory_order_relaxed);
    torci_store(&tree->leaves, 1, memory_order_relaxed);
    torci_fetch_add(&tree->burials, 1, memory_order_relaxed);    /* Relaxed: exclusive. */
}

void
torci_tree_index_fini(struct torci_tree_index *tree)
{
    torci_tree_index_clear_exclusive(tree);
    free_chain_exclusive(tree, torci_load(&tree->root, memory_order_relaxed));           /* Relaxed: exclusive. */
}

bool
torci_tree_index_dismantle_exclusive(struct torci_tree_index *tree, size_t *budget)
{
    struct torci_tree_anchor *anchor = torci_load(&tree->root, memory_order_relaxed);    /* Relaxed: exclusive. */

    for (; anchor != NULL && *budget > 0; --*budget) {
        struct content *content = content_of(anchor);
        struct torci_tree_anchor *next = content->next;

        if (anchor->low_size == 0)
            tree->below = anchor->level > 0 ? pointers_of(content)[0] : NULL;
        if (next == NULL) {
            next = tree->below;
            tree->below = NULL;
        }
        content_free(tree, content);
        anchor_free(tree, anchor);
        anchor = next;
    }
    torci_store(&tree->root, anchor, memory_order_relaxed);                              /* Relaxed: exclusive. */
    return anchor == NULL;
}

enum torc_status
torci_tree_index_insert(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                        struct torci_record *record)
{
    (void)guard;
    struct torci_tree_anchor *right;
    enum step step = put_in(tree, limbo, 0, record, &right);

    if (step == STEP_NO_MEMORY)
        return TORC_NO_MEMORY;
    while (right != NULL)
        right = link_above(tree, limbo, right);
    /* R4. Only if it really was in: a remover who finds it gone then knows that it was taken out after it froze. */
    if (step == STEP_PLACED)
        torci_fetch_or(&record->flags, TORCI_RECORD_ORDERED, memory_order_release);
    return TORC_OK;
}

enum torc_status
torci_tree_index_insert_many(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                             struct torci_record *const *records, size_t count)
{
    while (count > 0) {
        unsigned done;

        switch (put_many(tree, limbo, records, count < FANOUT ? (unsigned)count : FANOUT, &done)) {
        case STEP_NO_MEMORY:
            return TORC_NO_MEMORY;
        case STEP_AGAIN:
            continue;
        default:
            break;
        }
        /* A full leaf: one record splits it, the next ones fill it. */
        if (done == 0) {
            if (torci_tree_index_insert(tree, guard, limbo, records[0]) != TORC_OK)
                return TORC_NO_MEMORY;
            done = 1;
        }
        records += done;
        count -= done;
    }
    return TORC_OK;
}

enum torc_status
torci_tree_index_remove(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torci_limbo *limbo,
                        struct torci_record *record)
{
    (void)guard;
    torc_assert(is_gone(0, record));
    /* A4. Not yet set: it may never have been in, or an insert of it is under way (I7). */
    bool touch = (torci_load(&record->flags, memory_order_acquire) & TORCI_RECORD_ORDERED) == 0;
    struct corpse corpse;

    if (take_out(tree, limbo, 0, record, NULL, touch, &corpse) != TORC_OK)
        return TORC_NO_MEMORY;
    bury(tree, limbo, corpse);
    return TORC_OK;
}

/* ---- Walking ---- */

/* Have what a walk needs of a content fetched. Its size is not known yet. */
static void
content_prefetch(const struct content *content)
{
    for (size_t offset = 0; offset < CONTENT_USUAL_BYTES; offset += TORCI_CACHE_LINE)
        __builtin_prefetch((const unsigned char *)content + offset);
}

/* Hand out one record. It is fetched, with the beginning of its key. */
static void
batch_add(struct torci_batch *batch, struct torci_record *record)
{
    torc_assert(batch->count < TORCI_BATCH_MAX);
    __builtin_prefetch(record);
    __builtin_prefetch(record->key + WORD_SIZE);
    batch->records[batch->count++] = record;
}

/* Have the next `leaves` leaves behind the probe's fetched, all at once. `above` is where their hints are thought to
 * be; returns where they are. */
static struct torci_tree_anchor *
leaves_prefetch(struct torci_tree_index *tree, struct torci_tree_anchor *above, const struct probe *probe,
                bool descending, unsigned leaves)
{
    struct place place;

    if (!covers(above, 1, probe, &place) && !find(tree, 1, probe, &place))
        return NULL;

    unsigned rank = rank_of(&place, probe), count = place.content->count;
    unsigned to = descending ? rank - (rank > 0) : rank + leaves < count ? rank + leaves : count;
    unsigned from = descending ? to - (leaves < to ? leaves : to) : rank;
    void **hints = pointers_of(place.content);

    for (unsigned i = from; i < to; i++)
        __builtin_prefetch(hints[i]);
    /* Relaxed: fetched, not followed. */
    for (unsigned i = from; i < to; i++)
        content_prefetch(torci_load(&((struct torci_tree_anchor *)hints[i])->content, memory_order_relaxed));
    return place.anchor;
}

/* Hand out entries from batch->slot on, and those of the next leaves, until there are as many as wanted. */
static void
ascend(struct torci_batch *batch)
{
    const struct content *content = batch->content;
    unsigned slot = batch->slot;

    batch->count = 0;
    for (;;) {
        while (slot < content->count && batch->count < batch->wanted)
            batch_add(batch, pointers_of(content)[slot++]);
        batch->end = slot == content->count && content->next == NULL;
        if (batch->count == batch->wanted || batch->end)
            break;

        struct torci_tree_anchor *anchor = content->next;

        content = content_of(anchor);
        slot = 0;
        if (!content->dead)
            batch->mark.leaf = anchor;
    }
    batch->content = content;
    batch->slot = slot;
}

/* The same downwards: entries before batch->slot, and those of the leaves to the left. */
static void
descend(struct torci_tree_index *tree, struct torci_batch *batch)
{
    const struct content *content = batch->content;
    unsigned slot = batch->slot;

    batch->count = 0;
    for (;;) {
        const struct torci_tree_anchor *leaf = batch->mark.leaf;

        while (slot > 0 && batch->count < batch->wanted)
            batch_add(batch, pointers_of(content)[--slot]);
        batch->end = slot == 0 && leaf->low_size == 0;
        if (batch->count == batch->wanted || batch->end)
            break;

        /* What lies in this leaf from its low key on is handed out: from here on, only what is less. */
        struct probe probe = probe_before(low_of(leaf));
        struct place place;

        find_leaf(tree, batch->mark.above, &probe, &place);
        batch->mark.leaf = place.anchor;
        batch->mark.above = place.above;
        content = place.content;
        slot = rank_of(&place, &probe);
    }
    batch->content = content;
    batch->slot = slot;
}

static void
batch_fill(struct torci_tree_index *tree, struct torci_batch *batch, bool descending)
{
    torc_assert(batch->wanted > 0 && batch->wanted <= TORCI_BATCH_MAX);
    if (descending)
        descend(tree, batch);
    else
        ascend(batch);
}

void
torci_tree_index_seek(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torc_slice key,
                      bool inclusive, bool descending, struct torci_batch *batch)
{
    (void)guard;
    struct probe probe = probe_upto(key), passed = {.key = key, .strict = inclusive};
    /* A5. Before any anchor is seen alive. */
    uint64_t burials = torci_load(&tree->burials, memory_order_acquire);
    struct torci_bookmark *mark = &batch->mark;
    struct place place;

    if (descending)
        probe = passed = (struct probe){.key = key, .strict = !inclusive, .endless = key.size == 0};
    if (mark->burials != burials)
        *mark = (struct torci_bookmark){NULL, NULL, burials};
    if (covers(mark->leaf, 0, &probe, &place))
        place.above = mark->above;
    else
        find_leaf(tree, mark->above, &probe, &place);
    mark->leaf = place.anchor;
    mark->above = place.above;
    batch->content = place.content;
    batch->slot = rank_of(&place, &passed);

    unsigned left = descending ? batch->slot : place.content->count - batch->slot;

    if (left < batch->wanted)
        mark->above = leaves_prefetch(tree, mark->above, &probe, descending, (batch->wanted - left) / LEAF_USUAL + 1);
    batch_fill(tree, batch, descending);
}

void
torci_tree_index_next(struct torci_tree_index *tree, struct torci_epoch_guard guard, bool descending,
                      struct torci_batch *batch)
{
    (void)guard;
    if (batch->end) {
        batch->count = 0;
        return;
    }
    batch->wanted = batch->wanted * 2 < TORCI_BATCH_MAX ? batch->wanted * 2 : TORCI_BATCH_MAX;
    batch_fill(tree, batch, descending);
}

/* ---- Estimating ---- */

/* What has been learnt of the sizes of records. */
struct sample {
    uint64_t records;
    uint64_t bytes;
};

/* A bound's way down. */
struct path {
    struct place places[PATH_LEVELS_MAX];
    unsigned ranks[PATH_LEVELS_MAX];        /* Entries before the bound, or on the way to it. */
};

static void
path_trace(struct torci_tree_index *tree, const struct probe *probe, unsigned levels, struct path *path)
{
    for (unsigned level = 0; level < levels; level++) {
        (void)find(tree, level, probe, &path->places[level]);
        path->ranks[level] = rank_of(&path->places[level], probe);
    }
}

static void
sample_records(struct sample *sample, const struct content *leaf, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i += (to - from) / RECORDS_SAMPLED + 1) {
        struct torci_record *record = pointers_of(leaf)[i];
        const struct torci_version *head = torci_load(&record->head, memory_order_seq_cst);     /* version.h A1 */

        sample->records++;
        sample->bytes += record->key_size + (head == NULL || head == torci_frozen() ? 0 : head->size);
    }
}

/* A guess at how many records lie below `anchor`, from one way down: the product of the numbers of entries on it. The
 * mean of such guesses is the truth if the ways are drawn evenly (Knuth, 1975). `fraction`, of 2^32: how far right. */
static uint64_t
guess_below(struct sample *sample, const struct torci_tree_anchor *anchor, uint32_t fraction)
{
    uint64_t guess = 1;

    for (;;) {
        const struct content *content = content_of(anchor);
        uint64_t at = (uint64_t)fraction * content->count;

        guess *= content->count;
        if (content->count == 0)
            return 0;
        if (anchor->level == 0) {
            sample_records(sample, content, 0, content->count);
            return guess;
        }
        anchor = pointers_of(content)[at >> 32];
        fraction = (uint32_t)at;
    }
}

/* The records below the entries from..to-1 of a node. Exact if these are few leaves. */
static uint64_t
guess_between(struct sample *sample, const struct content *content, unsigned from, unsigned to)
{
    if (from >= to)
        return 0;

    uint64_t count = to - from, guesses = WAYS_DOWN, sum = 0;

    /* As many for each entry, if all get one. */
    if (count < WAYS_DOWN)
        guesses = (WAYS_DOWN + count - 1) / count * count;
    for (uint64_t i = 0; i < guesses; i++) {
        uint64_t at = ((2 * i + 1) << 31) * count / guesses;

        sum += guess_below(sample, pointers_of(content)[from + (at >> 32)], (uint32_t)at);
    }
    return sum * count / guesses;
}

/* The records between two ways down: whole subtrees between them, level by level, and two parts of leaves. */
static uint64_t
records_between(const struct path *left, const struct path *right, unsigned levels, struct sample *sample)
{
    unsigned level = levels - 1;
    uint64_t records = 0;

    while (level > 0 && left->places[level].anchor == right->places[level].anchor &&
           left->ranks[level] == right->ranks[level])
        level--;
    for (; level > 0; level--) {
        const struct content *a = left->places[level].content, *b = right->places[level].content;
        unsigned from = left->ranks[level], to = right->ranks[level] - (right->ranks[level] > 0);

        if (left->places[level].anchor == right->places[level].anchor)
            records += guess_between(sample, a, from, to);
        else
            records += guess_between(sample, a, from, a->count) + guess_between(sample, b, 0, to);
    }

    const struct content *a = left->places[0].content, *b = right->places[0].content;
    unsigned from = left->ranks[0], to = right->ranks[0];

    if (left->places[0].anchor == right->places[0].anchor) {
        to = to > from ? to : from;
        sample_records(sample, a, from, to);
        return to - from;
    }
    sample_records(sample, a, from, a->count);
    sample_records(sample, b, 0, to);
    return records + (a->count - from) + to;
}

void
torci_tree_index_estimate(struct torci_tree_index *tree, struct torci_epoch_guard guard, struct torc_slice from,
                          struct torc_slice to, struct torci_index_estimate *estimate)
{
    (void)guard;
    struct probe left_probe = from.size == 0 ? probe_upto(from) : probe_before(from), right_probe = probe_before(to);
    struct sample sample = {0, 0};
    struct path left, right;
    /* Seen once, so that both ways have the same levels; the highest ones only matter beyond any real size. */
    uint64_t levels = torci_tree_index_levels(tree);

    *estimate = (struct torci_index_estimate){0, 0};
    if (to.size > 0 && torci_key_compare(from, to) >= 0)
        return;
    right_probe.endless = to.size == 0;
    if (levels > PATH_LEVELS_MAX)
        levels = PATH_LEVELS_MAX;
    path_trace(tree, &left_probe, (unsigned)levels, &left);
    path_trace(tree, &right_probe, (unsigned)levels, &right);
    estimate->records = records_between(&left, &right, (unsigned)levels, &sample);
    if (sample.records > 0)
        estimate->bytes = estimate->records * sample.bytes / sample.records;
}

/* ---- Figures ---- */

uint64_t
torci_tree_index_leaves(const struct torci_tree_index *tree)
{
    return torci_load(&tree->leaves, memory_order_relaxed);     /* Relaxed: a figure. */
}

uint64_t
torci_tree_index_levels(const struct torci_tree_index *tree)
{
    return torci_load(&tree->root, memory_order_acquire)->level + 1u;       /* A2 */
}

#if defined(TORC_ASSERTIONS)
/* What is wrong with one anchor, whose left neighbour is given. */
static const char *
anchor_fault(const struct torci_tree_anchor *anchor)
{
    const struct content *content = content_of(anchor);
    struct torc_slice low = low_of(anchor);

    if (content->dead)
        return "a dead anchor is still linked";
    if (content->next != NULL && torci_key_compare(low, low_of(content->next)) >= 0)
        return "low keys do not ascend";
    if (content->next != NULL && content->bound != word_of(low_of(content->next), content->skip))
        return "the bound's word is not the bound's";
    for (unsigned i = 0; i < content->count; i++) {
        struct torc_slice key = key_of(anchor->level, pointers_of(content)[i]);

        if (content->words[i] != word_of(key, content->skip))
            return "a word is not its key's";
        if (torci_key_compare(key, low) < 0)
            return "a key lies before its range";
        if (content->next != NULL && torci_key_compare(key, low_of(content->next)) >= 0)
            return "a key lies behind its range";
        if (i > 0 && torci_key_compare(key_of(anchor->level, pointers_of(content)[i - 1]), key) >= 0)
            return "keys do not ascend";
    }
    return NULL;
}

/* Whether every hint of this level names an anchor in the chain below. */
static const char *
hints_fault(const struct torci_tree_anchor *anchor)
{
    const struct torci_tree_anchor *below = pointers_of(content_of(anchor))[0];

    for (; anchor != NULL; anchor = content_of(anchor)->next)
        for (unsigned i = 0; i < content_of(anchor)->count; i++) {
            while (below != NULL && below != pointers_of(content_of(anchor))[i])
                below = content_of(below)->next;
            if (below == NULL)
                return "a hint names no anchor of the level below";
        }
    return NULL;
}

const char *
torci_tree_index_fault_exclusive(const struct torci_tree_index *tree)
{
    /* Relaxed: exclusive. */
    const struct torci_tree_anchor *leftmost = torci_load(&tree->root, memory_order_relaxed);
    const char *fault = NULL;

    for (;;) {
        if (leftmost->low_size != 0)
            return "the leftmost anchor has a low key";
        for (const struct torci_tree_anchor *anchor = leftmost; anchor != NULL && fault == NULL;
             anchor = content_of(anchor)->next)
            fault = anchor_fault(anchor);
        if (fault == NULL && leftmost->level > 0)
            fault = hints_fault(leftmost);
        if (fault != NULL || leftmost->level == 0)
            return fault;
        leftmost = pointers_of(content_of(leftmost))[0];
    }
}
#endif

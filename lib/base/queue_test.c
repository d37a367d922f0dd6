/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>

#include "base/queue.h"
#include "base/testing.h"

struct item {
    struct torci_queue_node node;       /* First. */
    unsigned producer;
    unsigned number;
};

static struct torci_queue queue;

static void
create(void)
{
    torci_queue_init(&queue);
}

TestSuite(queue, .init = create, .timeout = 60);

static struct item *
pop_item(void)
{
    struct torci_queue_node *node;
    enum torci_queue_state state = torci_queue_pop(&queue, &node);

    cr_assert_eq(state == TORCI_QUEUE_TAKEN, node != NULL);
    return (struct item *)node;
}

Test(queue, is_empty_at_first)
{
    struct torci_queue_node *node = &(struct torci_queue_node){NULL};

    cr_expect(torci_queue_empty_racy(&queue));
    cr_expect_eq(torci_queue_pop(&queue, &node), TORCI_QUEUE_EMPTY);
    cr_expect_null(node);
}

Test(queue, gives_nodes_back_in_their_order)
{
    struct item items[10];

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 10; i++)
            cr_expect_eq(torci_queue_push(&queue, &items[i].node), i == 0, "only the first finds it empty");
        cr_expect_not(torci_queue_empty_racy(&queue));
        for (unsigned i = 0; i < 10; i++)
            cr_expect_eq(pop_item(), &items[i]);
        cr_expect_null(pop_item());
        cr_expect(torci_queue_empty_racy(&queue));
    }
}

Test(queue, takes_a_node_again_once_it_was_popped)
{
    struct item item;

    for (unsigned i = 0; i < 1000; i++) {
        cr_expect(torci_queue_push(&queue, &item.node));
        cr_expect_eq(pop_item(), &item);
    }
}

/* A producer that has taken the tail and stops before it links its node, step by step by hand. */
Test(queue, does_not_wait_for_a_stopped_producer)
{
    struct item before, stopped, after;
    struct torci_queue_node *node;

    torci_queue_push(&queue, &before.node);

    stopped.node.private_word = NULL;
    struct torci_queue_node *old_tail = queue.tail;
    queue.tail = &stopped.node;
    torci_queue_push(&queue, &after.node);

    cr_expect_eq(torci_queue_pop(&queue, &node), TORCI_QUEUE_PENDING);
    cr_expect_eq(torci_queue_pop(&queue, &node), TORCI_QUEUE_PENDING);
    cr_expect_null(node);
    cr_expect_not(torci_queue_empty_racy(&queue));

    old_tail->private_word = &stopped.node;     /* It goes on. */
    cr_expect_eq(pop_item(), &before);
    cr_expect_eq(pop_item(), &stopped);
    cr_expect_eq(pop_item(), &after);
    cr_expect_null(pop_item());
}

/* ---- Many producers ------------------------------------------------------------------------------------------- */

enum { PRODUCERS = 4, ITEMS = 5000 };

static void
produce_or_consume(void *context, unsigned number)
{
    unsigned *next = context;           /* Per producer: the number that must come next. Consumer only. */

    if (number < PRODUCERS) {
        for (unsigned i = 0; i < ITEMS; i++) {
            struct item *item = malloc(sizeof(*item));

            cr_assert_not_null(item);
            item->producer = number;
            item->number = i;
            torci_queue_push(&queue, &item->node);
        }
        return;
    }
    for (unsigned popped = 0; popped < PRODUCERS * ITEMS;) {
        struct item *item = pop_item();

        if (item == NULL)
            continue;
        cr_assert_eq(item->number, next[item->producer]);
        next[item->producer]++;
        popped++;
        free(item);
    }
}

/* Oracle: the items of each producer come whole, once, and in order. */
Test(queue, keeps_the_order_of_each_producer)
{
    unsigned next[PRODUCERS] = {0};

    torct_race(PRODUCERS + 1, produce_or_consume, next);
    for (unsigned producer = 0; producer < PRODUCERS; producer++)
        cr_expect_eq(next[producer], (unsigned)ITEMS);
    cr_expect(torci_queue_empty_racy(&queue));
}

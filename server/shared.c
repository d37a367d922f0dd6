/* SPDX-License-Identifier: MIT */
/* server/shared.c: what the connections of one loop share: the lists on which they wait, and spare buffers. */
#include "connection.h"

#include <string.h>

#define SPARE_BYTES_MAX (1024u * 1024u)     /* Of all spare buffers of a loop. */

/* ---- Lists ---------------------------------------------------------------------------------------------------- */

void
torcd_list_add(struct torcd_connection *connection, enum torcd_list list)
{
    struct torcd_loop *loop = connection->loop;

    if (connection->is_on[list])
        return;
    connection->is_on[list] = true;
    connection->next_on[list] = NULL;
    *(loop->lists[list].first == NULL ? &loop->lists[list].first : &loop->lists[list].last->next_on[list]) =
        connection;
    loop->lists[list].last = connection;
    loop->lists[list].count++;
}

void
torcd_list_remove(struct torcd_connection *connection, enum torcd_list list)
{
    struct torcd_loop *loop = connection->loop;
    struct torcd_connection **link = &loop->lists[list].first, *before = NULL;

    if (!connection->is_on[list])
        return;
    while (*link != connection) {
        before = *link;
        link = &before->next_on[list];
    }
    *link = connection->next_on[list];
    if (loop->lists[list].last == connection)
        loop->lists[list].last = before;
    connection->is_on[list] = false;
    loop->lists[list].count--;
}

struct torcd_connection *
torcd_list_take(struct torcd_loop *loop, enum torcd_list list)
{
    struct torcd_connection *first = loop->lists[list].first;

    if (first != NULL)
        torcd_list_remove(first, list);
    return first;
}

/* ---- Buffers -------------------------------------------------------------------------------------------------- */

void
torcd_spare_take_back(struct torcd_loop *loop, struct torcd_buffer *buffer)
{
    if (buffer->data == NULL)
        return;
    if (loop->spares_count == TORCD_SPARES_MAX || buffer->capacity > SPARE_BYTES_MAX - loop->spares_bytes) {
        torcd_buffer_fini(buffer);
        return;
    }
    torcd_buffer_truncate(buffer, 0);
    loop->spares_bytes += buffer->capacity;
    loop->spares[loop->spares_count++] = *buffer;
    memset(buffer, 0, sizeof *buffer);
}

void
torcd_spare_lend(struct torcd_loop *loop, struct torcd_buffer *buffer)
{
    if (buffer->data != NULL || loop->spares_count == 0)
        return;
    *buffer = loop->spares[--loop->spares_count];
    loop->spares_bytes -= buffer->capacity;
}

void
torcd_spare_free_all(struct torcd_loop *loop)
{
    while (loop->spares_count > 0)
        torcd_buffer_fini(&loop->spares[--loop->spares_count]);
    loop->spares_bytes = 0;
}

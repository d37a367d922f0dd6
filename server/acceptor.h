/* SPDX-License-Identifier: MIT */
/* server/acceptor.h: the listening sockets, on the main thread's event loop.
 *
 * One acceptor hands each connection to the loop that has the fewest. Listeners of the loops' own (SO_REUSEPORT) would
 * need no hand-over, but the kernel deals connections out by a hash of their addresses: fifty clients on two loops are
 * then seldom twenty-five and twenty-five, and the fuller loop sets the pace. */
#ifndef TORCD_ACCEPTOR_H
#define TORCD_ACCEPTOR_H

#include <uv.h>

#include "loop.h"

struct torcd_acceptor;

/* Listen on `options`' addresses and port, and on its Unix socket. A socket file that nobody listens on is replaced;
 * any other file is left alone, and a failure. NULL on failure, `error` says why. `options` is borrowed until
 * torcd_acceptor_close(). */
struct torcd_acceptor *
torcd_acceptor_create(uv_loop_t *uv, struct torcd_server *server, struct torcd_loop **loops,
                      const struct torcd_options *options, char *error, size_t error_size);

/* The port that was bound, 0 without TCP. */
unsigned torcd_acceptor_port(const struct torcd_acceptor *acceptor);

/* Stop listening, and remove the Unix socket's file; free it from within the event loop. */
void torcd_acceptor_close(struct torcd_acceptor *acceptor);

/* A listening TCP socket, or -1 with errno set. `port` 0 is chosen by the system and written back. */
int torcd_listen(const char *address, unsigned *port);

#endif

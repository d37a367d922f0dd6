/* SPDX-License-Identifier: MIT */
/* server/fuzz_resp.c: libFuzzer target of the request parser.
 *
 * The first byte chooses the size of the pieces in which the rest arrives. Each window is fresh memory of exactly its
 * size. Checked: whatever the pieces, the requests and the end are those of the stream in one piece. */
#include <stdio.h>
#include <stdlib.h>

#include "resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The requests of a stream, folded into one number, and how it ended. */
struct summary {
    uint64_t hash;
    size_t requests;
    enum torcd_resp_outcome end;
};

static void
fold(struct summary *summary, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        summary->hash = (summary->hash ^ bytes[i]) * UINT64_C(0x100000001b3);
}

static struct summary
parse(const uint8_t *stream, size_t stream_size, size_t piece)
{
    const struct torcd_resp_limits limits = {.arguments_max = 64, .bulk_max = 4096, .inline_max = 1024};
    struct torcd_resp_parser parser = {0};
    struct summary summary = {.hash = UINT64_C(0xcbf29ce484222325), .end = TORCD_RESP_MORE};
    char *window = NULL;
    size_t size = 0, fed = 0;

    while (fed < stream_size && summary.end == TORCD_RESP_MORE) {
        size_t more = piece < stream_size - fed ? piece : stream_size - fed, consumed = 0;
        char *moved = malloc(size + more);
        if (moved == NULL)
            abort();
        if (size > 0)
            memcpy(moved, window, size);
        memcpy(moved + size, stream + fed, more);
        free(window);
        window = moved;
        size += more;
        fed += more;
        while ((summary.end = torcd_resp_next(&parser, &limits, window + consumed, size - consumed))
               == TORCD_RESP_REQUEST) {
            summary.requests++;
            fold(&summary, &parser.count, sizeof parser.count);
            for (size_t i = 0; i < parser.count; i++) {
                fold(&summary, &parser.arguments[i].size, sizeof parser.arguments[i].size);
                fold(&summary, parser.arguments[i].data, parser.arguments[i].size);
            }
            consumed += parser.consumed;
        }
        size -= consumed;
        memmove(window, window + consumed, size);
    }
    if (summary.end == TORCD_RESP_BROKEN)
        fold(&summary, parser.error, strlen(parser.error));
    free(window);
    torcd_resp_fini(&parser);
    return summary;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct summary whole = parse(data + 1, size - 1, size), pieces = parse(data + 1, size - 1, 1 + data[0] % 16);
    if (whole.end != pieces.end || whole.requests != pieces.requests || whole.hash != pieces.hash)
        abort();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Opens a store, puts, gets, closes. Exits 0 if all of it worked. */
#include <stdio.h>
#include <string.h>

#include <torc/torc.h>

int
main(void)
{
    struct torc_mvcc *store;
    struct torc_slice key = torc_slice_from_string("ring");
    char value[16];
    size_t size = 0;

    if (torc_mvcc_open(NULL, &store) != TORC_OK)
        return 1;
    if (torc_mvcc_put(store, key, torc_slice_from_string("twisted"), NULL) != TORC_OK)
        return 2;
    if (torc_mvcc_get(store, key, value, sizeof value, &size) != TORC_OK)
        return 3;
    if (size != strlen("twisted") || memcmp(value, "twisted", size) != 0)
        return 4;
    if (torc_mvcc_close(store) != TORC_OK)
        return 5;
    printf("  torc %s from C\n", torc_version());
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Every public header, from C++, and one transaction. */
#include "all_headers.hpp"

#include <cstdio>
#include <cstring>

int
main()
{
    torc_mvcc *store = nullptr;
    torc_txn *txn = nullptr;
    struct torc_slice value;      /* There is a function of this name too. */

    if (torc_mvcc_open(nullptr, &store) != TORC_OK)
        return 1;
    if (torc_txn_begin(store, nullptr, &txn) != TORC_OK)
        return 2;
    if (torc_txn_put(txn, torc_slice_from_string("ring"), torc_slice_from_string("twisted")) != TORC_OK)
        return 3;
    if (torc_txn_get(txn, torc_slice_from_string("ring"), &value) != TORC_OK || value.size != 7)
        return 4;
    if (torc_txn_commit(txn) != TORC_OK)
        return 5;
    if (torc_mvcc_close(store) != TORC_OK)
        return 6;
    std::printf("  torc %s from C++\n", torc_version());
    return 0;
}

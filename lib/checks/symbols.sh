#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/symbols: the shared library exports torc_ only and all that the headers promise; the archive defines nothing
# else but torci_.
# Usage: symbols.sh <source directory> <libtorc.so> <libtorc.a>
source=$1 shared=$2 archive=$3
failed=0

exported=$(nm -D --defined-only "$shared" | awk '{ print $NF }' | sed 's/@.*//' | sort -u)
strangers=$(printf '%s\n' "$exported" | grep -v '^torc_')
if [ -n "$strangers" ]; then
    printf 'the shared library exports:\n%s\n' "$strangers"
    failed=1
fi

strangers=$(nm -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' | sort -u | grep -Ev '^torci?_')
if [ -n "$strangers" ]; then
    printf 'the archive defines:\n%s\n' "$strangers"
    failed=1
fi

# A declaration is TORC_API ... name( ... ); its name stands before the first parenthesis.
promised=$(awk -f "$source/lib/checks/strip.awk" "$source"/include/torc/*.h | sed 's/^[^:]*:[0-9]*://' |
    grep -v '^[[:space:]]*#' | tr '\n' ' ' | tr ';' '\n' |
    sed -nE 's/^.*TORC_API[^(]*[^a-z0-9_(](torc_[a-z0-9_]+)[[:space:]]*\(.*$/\1/p' | sort -u)
if [ -z "$promised" ]; then
    printf 'no declaration found in the public headers\n'
    failed=1
fi
for name in $promised; do
    if ! printf '%s\n' "$exported" | grep -qx "$name"; then
        printf 'declared TORC_API and not exported: %s\n' "$name"
        failed=1
    fi
done
exit $failed

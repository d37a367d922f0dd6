#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/mutants: every line of tsan/mutants.list still changes the file that it names: who rewrites code that a mutant
# was planted in, rewrites the mutant.
# Usage: mutants.sh <source directory>
set -u
cd "${1:?usage: mutants.sh <source directory>}" || exit 2
copy=$(mktemp) || exit 2
trap 'rm -f "$copy"' EXIT
failed=0

while IFS='|' read -r file edit kind tests; do
    case $file in '#'* | '') continue ;; esac
    file=$(printf '%s' "$file" | tr -d ' ')
    edit=$(printf '%s' "$edit" | sed 's/^ *//; s/ *$//')
    if ! sed "$edit" "$file" >"$copy" || cmp -s "$copy" "$file"; then
        printf 'tsan/mutants.list: cannot be planted in %s: %s\n' "$file" "$edit"
        failed=1
    fi
done <tsan/mutants.list
exit "$failed"

#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/allocation: the library's memory comes from base/alloc.c and from nowhere else.
# Usage: allocation.sh <source directory>
cd "$1" || exit 2

# Test helpers (fiber stacks, the explorer's history) are not part of the library.
files=$(find lib/* -name '*.[ch]' |
    grep -Ev '^lib/checks/|_test\.c$|_testing\.[ch]$|^lib/base/(alloc|testing|fiber|explorer)[a-z_]*\.[ch]$' | sort)
names='malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|aligned_alloc|posix_memalign|alloca'
# shellcheck disable=SC2086 # one word per file, no blanks in names
found=$(awk -f lib/checks/strip.awk $files | grep -E "(^|[^a-zA-Z0-9_>.])($names)[[:space:]]*\\(")
[ -z "$found" ] && exit 0
printf 'memory that does not come from base/alloc:\n%s\n' "$found"
exit 1

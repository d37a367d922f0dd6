#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/planted: the checks of the tree see what they are for. Each offence is planted in a copy of the tree; the check
# must name the file it was planted in. A check that has gone blind fails here.
# Usage: planted.sh <source directory>
set -u
source=$1
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failed=0

cd "$source" || exit 2
cp -r CMakeLists.txt CMakePresets.json dev include lib server stress tsan bench "$work" || exit 2

# plant <check> <file> <text>: a new file with that text must make the check name the file. The file is a unit of its
# own in the order, at the end of its chapter.
plant() {
    check=$1 file=$2 text=$3
    printf '%s\n' "$text" >"$work/$file"
    cp lib/layers.txt "$work/lib/layers.txt"
    case $file in
    lib/*) printf '%s\n' "$file" | sed 's/^lib.//; s/\.[ch]$//' >>"$work/lib/layers.txt" ;;
    esac
    if ! sh "$work/lib/checks/$check.sh" "$work" 2>&1 | grep -q "$file"; then
        printf '%s is blind to: %s\n' "$check" "$text"
        failed=1
    fi
    rm -f "$work/$file"
}

plant layers lib/base/planted.c '#include "mvcc/record.h"'
plant layers lib/base/planted.c '#include <torc/mvcc.h>'
plant layers lib/mvcc/planted.c '#include <urcu.h>'
plant layers lib/mvcc/planted.c '#include <ck_ring.h>'
plant layers lib/mvcc/planted.c '#include "base/testing.h"'
plant layers lib/mvcc/planted.c '#include "lsm/lsm.h"'
plant layers server/planted.c '#include "base/alloc.h"'
plant layers stress/planted.c '#include "mvcc/index.h"'
plant layers include/torc/planted.h '#include <torc/mvcc.h>'
plant layers include/torc/planted.h '#include "base/alloc.h"'

# A file that is in no layer, and one that includes what stands after it.
cp lib/layers.txt "$work/lib/layers.txt"
printf '\n' >"$work/lib/mvcc/nowhere.c"
sh "$work/lib/checks/layers.sh" "$work" | grep -q 'nowhere.c: not in' || { printf 'layers: unlisted\n'; failed=1; }
rm "$work/lib/mvcc/nowhere.c"
printf 'base/planted\n' | cat - lib/layers.txt >"$work/lib/layers.txt"
printf '#include "base/alloc.h"\n' >"$work/lib/base/planted.c"
sh "$work/lib/checks/layers.sh" "$work" | grep -q 'planted.c.*after' || { printf 'layers: upwards\n'; failed=1; }
rm "$work/lib/base/planted.c"

plant atomics lib/mvcc/planted.c 'int f(void) { return atomic_load(&x); }'
plant atomics lib/mvcc/planted.c 'int f(void) { return atomic_load_explicit(&x, memory_order_acquire); }'
plant atomics lib/base/planted.c 'void f(void) { atomic_thread_fence(memory_order_seq_cst); }'
plant atomics stress/planted.c 'void f(void) { __sync_synchronize(); }'

plant allocation lib/mvcc/planted.c 'void *f(void) { return malloc(7); }'
plant allocation lib/base/planted.h 'static inline void f(void *p) { free(p); }'

plant labels lib/mvcc/planted.c '/* SPDX */
/* Ordering  R1 f() -> A1 g(): all */

int f(void) { return 1; /* R1 */ }'
plant labels lib/mvcc/planted.c '/* SPDX */
/* Ordering  R1 f(): an edge that ends nowhere */

int f(void) { return 1; /* R1 */ }'
plant labels lib/mvcc/planted.c '/* SPDX */
/* Ordering  R1 f() -> A1 g(): all */

int f(void) { return 1; /* R1 */ }
int g(void) { return 1; /* A1 */ }
int h(void) { return 1; /* A2 */ }'
plant labels lib/mvcc/planted.c '/* SPDX */
/* A unit without a table. */

int f(void) { return 1; /* R1 */ }
int g(void) { return 1; /* A1 */ }'
plant labels lib/mvcc/planted.c '/* SPDX */
/* A label of another unit, which does not have it. */

int f(void) { return 1; /* version.h R99 */ }'

plant tidy lib/mvcc/planted.c 'int no_licence;'
plant tidy server/planted.c "$(printf '/* SPDX-License-Identifier: MIT */\n/* TO%s: later */' DO)"
plant tidy stress/planted.c "$(printf '/* SPDX-License-Identifier: MIT */\n\tint tab;')"
plant tidy lib/base/planted.c "$(printf '/* SPDX-License-Identifier: MIT */\n/* %0130d */' 0)"

exit $failed

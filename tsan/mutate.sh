#!/bin/sh
# SPDX-License-Identifier: MIT
# tsan/mutate: plants one fault at a time in a copy of the tree and expects the named tests to fail.
#
# Usage: mutate.sh <scratch directory> [<pattern>]
# The faults stand in tsan/mutants.list; with a pattern, only lines that match it (grep -E) are run. The scratch
# directory is kept, so that the next run compiles little. Ends with 1 if a mutant survives, cannot be planted or does
# not compile.
set -u
source=$(cd "$(dirname "$0")/.." && pwd)
scratch=${1:?usage: mutate.sh <scratch directory> [<pattern>]}
pattern=${2:-.}
tree=$scratch/tree
log=$scratch/log
jobs=${TORC_MUTATE_JOBS:-2}

mkdir -p "$tree" || exit 2
for part in CMakeLists.txt LICENSE README.md include lib tsan stress; do
    [ -e "$source/$part" ] && cp -Ru "$source/$part" "$tree/"
done

# configure <kind>: debug has the fiber and explorer variants, tsan is ThreadSanitizer.
configure() {
    case $1 in
    debug) set -- "$1" -DTORC_VARIANTS=ON ;;
    tsan) set -- "$1" -DTORC_SHARED=OFF "-DCMAKE_C_FLAGS=-fsanitize=thread -fno-omit-frame-pointer" ;;
    esac
    kind=$1
    shift
    cmake -S "$tree" -B "$scratch/$kind" -G Ninja -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-O1 -g" \
        -DTORC_CHECKED=ON -DTORC_SERVER=OFF "$@" >"$log" 2>&1 || { cat "$log"; exit 2; }
}

# target_of <test>: the program of a test of ctest.
target_of() {
    unit=$(printf '%s' "${1#*:}" | tr / _)
    case $1 in
    canary:*) printf '%s' "${unit%%:*}" ;;
    fiber:base/fiber | explorer:base/explorer | unit:*) printf '%s_test' "$unit" ;;
    *) printf '%s_%s_test' "$unit" "${1%%:*}" ;;
    esac
}

# killed <kind> <tests>: whether one of them fails. 2: they could not be built.
killed() {
    build=$scratch/$1
    targets=
    for test in $2; do
        targets="$targets $(target_of "$test")"
    done
    # shellcheck disable=SC2086 # targets are words
    cmake --build "$build" -j "$jobs" --target $targets >"$log" 2>&1 || return 2
    for test in $2; do
        ctest --test-dir "$build" -R "^$test\$" --timeout 60 --no-tests=error >"$log" 2>&1 || return 0
    done
    return 1
}

failures=0
mutants=0
grep -v '^#' "$source/tsan/mutants.list" | grep -E -- "$pattern" >"$scratch/list"
while IFS='|' read -r file edit kind tests; do
    file=$(printf '%s' "$file" | tr -d ' ')
    kind=$(printf '%s' "$kind" | tr -d ' ')
    edit=$(printf '%s' "$edit" | sed 's/^ *//; s/ *$//')
    [ -z "$file" ] && continue
    mutants=$((mutants + 1))
    [ -d "$scratch/$kind" ] || configure "$kind"

    sed "$edit" "$source/$file" >"$scratch/mutant"
    if cmp -s "$scratch/mutant" "$source/$file"; then
        verdict="CANNOT BE PLANTED"
    else
        cp "$scratch/mutant" "$tree/$file"
        killed "$kind" "$tests" </dev/null
        case $? in
        0) verdict=killed ;;
        1) verdict=SURVIVES ;;
        *) verdict="DOES NOT COMPILE" ;;
        esac
        cp "$source/$file" "$tree/$file"
    fi
    [ "$verdict" = killed ] || failures=$((failures + 1))
    printf '%-18s %s | %s\n' "$verdict" "$file" "$edit"
done <"$scratch/list"
printf '%d mutants, %d not killed\n' "$mutants" "$failures"
[ "$failures" -eq 0 ]

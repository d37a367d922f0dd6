#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/atomics: every atomic access names its order; the lock-free core goes through base/atomic; no fences.
# Usage: atomics.sh <source directory>
cd "$1" || exit 2
checks=lib/checks
scratch=$(mktemp) || exit 2
trap 'rm -f "$scratch"' EXIT

files=$(find include lib server stress tsan bench -name '*.[ch]' | grep -v "^$checks/" | sort)
# shellcheck disable=SC2086 # one word per file, no blanks in names
code=$(awk -f $checks/strip.awk $files)
failed=0

# calls <names>: the lines that call one of them. `names` is an extended regular expression.
calls() {
    printf '%s\n' "$code" | grep -E "(^|[^a-zA-Z0-9_])($1)[[:space:]]*\\("
}

# report <message>: prints the lines of standard input under a heading, if there are any.
report() {
    lines=$(cat)
    [ -z "$lines" ] && return
    printf '%s:\n%s\n' "$1" "$lines"
    failed=1
}

accesses='load|store|exchange|compare_exchange_(strong|weak)|fetch_[a-z]+|flag_test_and_set|flag_clear'
calls "atomic_($accesses)" >"$scratch"
report "an order is not written out" <"$scratch"

calls 'atomic_(thread|signal)_fence' | grep -v '^lib/base/explorer' >"$scratch"
report "a fence: ThreadSanitizer cannot see it" <"$scratch"

foreign='__sync_[a-z_]+|cmm_[a-z_]+|(uatomic|CMM)_[a-zA-Z_]+|rcu_(assign|dereference|xchg|cmpxchg|set)[a-z_]*'
calls "$foreign" | grep -v '^bench/' >"$scratch"
report "an access that ThreadSanitizer cannot see" <"$scratch"

calls 'atomic_[a-z_]+_explicit|__atomic_[a-z_]+' | grep -E '^lib/' |
    grep -Ev '^lib/[a-z]+/([a-z_]*_test\.[ch]|([a-z_]*_)?testing\.[ch])' |
    grep -Ev '^lib/base/(atomic|noise|epoch|fiber|explorer)[a-z_]*\.[ch]:' >"$scratch"
report "not through base/atomic" <"$scratch"
exit $failed

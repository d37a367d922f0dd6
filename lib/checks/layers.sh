#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/layers: calls go down. Every #include of the tree points to something that stands before it in layers.txt;
# chapters are apart; each third-party header is seen by its border file only.
# Usage: layers.sh <source directory>
cd "$1" || exit 2

files=$(find include lib server stress tsan bench -name '*.[ch]' -o -name '*.cpp' | grep -v '^lib/checks/' | sort)

# shellcheck disable=SC2086 # one word per file, no blanks in names
awk '
function fail(message) {
    printf "%s:%d: %s\n", FILENAME, FNR, message
    failures++
}

# What the tree says about a file: where it stands, and whether it is a test.
function classify(path,    name) {
    name = path
    sub(/^lib\//, "", name)
    sub(/\.[a-z]+$/, "", name)
    is_test = name ~ /_test(ing)?$/ && name != "base/testing"
    in_lib = path ~ /^lib\//
    chapter = in_lib ? substr(name, 1, index(name, "/") - 1) : ""
    layer = name in layer_of ? layer_of[name] : 0
    self_for_tests = name in for_tests
    unit = name
    if (in_lib && !is_test && !layer)
        { printf "%s: not in lib/layers.txt\n", path; failures++ }
}

FILENAME == "lib/layers.txt" {
    if (/^#/ || NF == 0)
        next
    line++
    for (i = 1; i <= NF; i++)
        if ($i == "test")
            for (j = 1; j < i; j++)
                for_tests[$j] = 1
        else
            layer_of[$i] = line
    next
}

FNR == 1 { classify(FILENAME) }

/^[ \t]*#[ \t]*include/ {
    match($0, /[<"][^>"]*[>"]/)
    quoted = substr($0, RSTART, 1) == "\""
    what = substr($0, RSTART + 1, RLENGTH - 2)

    # Borders.
    if (what ~ /^urcu/ && unit !~ /^base\/(epoch|queue)$/ && FILENAME !~ /^bench\//)
        fail("liburcu is touched in base/epoch and base/queue only")
    if (what ~ /^ck_/ && unit != "base/ck")
        fail("concurrencykit is touched in base/ck only")
    if (what ~ /^xxh/ && unit != "base/hash" && FILENAME !~ /^bench\//)
        fail("xxhash is touched in base/hash only")
    if (what ~ /^uv/ && FILENAME !~ /^(server|bench)\//)
        fail("libuv is the server'"'"'s")
    if (what ~ /^criterion/ && !is_test)
        fail("Criterion is for tests")
    if (what ~ /^sanitizer\// && FILENAME !~ /^tsan\// && unit !~ /^base\/(annotate|fiber)$/)
        fail("sanitizer interfaces are for base/annotate, base/fiber and tsan/")

    # Public headers.
    if (what ~ /^torc\//) {
        if (FILENAME ~ /^include\// && FILENAME != "include/torc/torc.h" && what != "torc/base.h")
            fail("public headers include only torc/base.h")
        # base/status defines the version and the last failure of a thread, which torc.h and mvcc.h declare.
        if (in_lib && !is_test && chapter == "base" && what != "torc/base.h" && unit != "base/status")
            fail("base knows torc/base.h only")
        if (in_lib && !is_test && chapter != "base" && what != "torc/base.h" && what != "torc/" chapter ".h")
            fail("a chapter knows torc/base.h and its own header only")
        if (quoted)
            fail("public headers are included with <>")
        next
    }
    if (!quoted)
        next

    # Internal headers.
    target = what
    sub(/\.h$/, "", target)
    target_chapter = index(target, "/") ? substr(target, 1, index(target, "/") - 1) : ""
    if (FILENAME ~ /^include\//)
        fail("a public header includes nothing internal")
    else if (FILENAME ~ /^server\/[a-z_]*(test|fuzz)\.c$/ && target == "base/testing")
        next
    else if (!in_lib && target_chapter == "")
        next
    else if (FILENAME ~ /^server\//)
        fail("the server knows include/ only")
    else if (!in_lib && target_chapter != "base")
        fail("stress, tsan and bench know include/ and lib/base only")
    else if (is_test && target ~ /_test(ing|\.c)$/ && target_chapter == chapter)
        next
    else if (!(target in layer_of))
        fail(what " is not in lib/layers.txt")
    else if (in_lib && target_chapter != "base" && target_chapter != chapter)
        fail("chapters never include one another")
    else if (in_lib && !is_test && layer_of[target] > layer)
        fail(what " stands after this file in lib/layers.txt")
    else if (in_lib && !is_test && target in for_tests && !self_for_tests)
        fail(what " is for tests")
}

END {
    if (failures)
        printf "%d includes against the order of lib/layers.txt\n", failures
    exit failures ? 1 : 0
}' lib/layers.txt $files

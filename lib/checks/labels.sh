#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/labels: every release label Rn has its acquire An and the reverse.
#
# A unit (x.h and x.c) holds an Ordering table in the header comment of one of its files. An entry of the table names
# both ends of an edge: "R1 publish() -> A1 find(): key and value"; the next entry ends it, and so does a line that
# begins with R; what has no arrow is prose. Below the header a label in a comment marks an access. A label of another
# unit is written behind that unit's file: "version.h R1".
#   1  every label that marks an access stands in the table of its unit
#   2  every entry has an R and an A
#   3  every label of a table marks an access, in its own unit or in another
# Usage: labels.sh <source directory>
cd "$1" || exit 2

files=$(find lib/* -name '*.[ch]' | grep -Ev '^lib/checks/|_test\.c$|/[a-z_]+_testing\.[ch]$' | sort)
# shellcheck disable=SC2086 # one word per file, no blanks in names
awk -v keep=comments -f lib/checks/strip.awk $files | awk '
function complain(place, message) {
    printf "%s: %s\n", place, message
    failures++
}

# The unit of the label at the end of `before`, which may name another unit`s file.
function unit_of(before,    other) {
    if (!match(before, /[a-z_\/]+\.[ch] $/))
        return unit
    other = substr(before, RSTART)
    sub(/\.[ch] $/, "", other)
    if (other ~ /\//)
        return "lib/" other
    return directory other
}

# Takes what was read as an entry into the table, if it is one.
function end_entry(    key, releases, acquires) {
    if (has_arrow) {
        for (key in pending) {
            split(key, part, SUBSEP)
            if (part[2] ~ /^R/) releases++
            else acquires++
        }
        if (!releases || !acquires)
            complain(entry, "an entry of the Ordering table without " (releases ? "an A" : "an R"))
        for (key in pending) {
            split(key, part, SUBSEP)
            if (part[1] == unit) table[key] = pending[key]
            else used[key] = pending[key]
        }
    }
    for (key in pending)
        delete pending[key]
    entry = ""
    has_arrow = 0
}

# An input line is "<file>:<line>:<comment text>".
{
    file = $0; sub(/:.*/, "", file)
    text = substr($0, length(file) + 2)
    line = text + 0
    sub(/^[0-9]+:/, "", text)
    if (file != last) {
        end_entry()
        last = file
        begun = ended = in_table = 0
        unit = file; sub(/\.[ch]$/, "", unit)
        directory = unit; sub(/[^\/]*$/, "", directory)
    }

    # The header comment: from line 2 on, to the first line without a trace of a comment.
    header = 0
    if (line >= 2 && !ended) {
        if (text ~ /[^ \t]/) header = begun = 1
        else if (begun) { ended = 1; end_entry() }
    }
    if (header && text ~ /^[ *]*Ordering/) in_table = 1
    if (header && in_table && (text ~ /^[ *]*(Ordering +)?R[0-9]/ || text ~ /R[0-9].*->/)) {
        end_entry()
        entry = file ":" line
    }
    if (entry != "" && text ~ /->/) has_arrow = 1

    rest = text
    before = ""
    while (match(rest, /(^|[^A-Za-z0-9_])[RA][0-9]+/)) {
        at = RSTART + (substr(rest, RSTART, 1) !~ /[RA]/)
        before = before substr(rest, 1, at - 1)
        label = substr(rest, at, RSTART + RLENGTH - at)
        rest = substr(rest, RSTART + RLENGTH)
        if (rest ~ /^[A-Za-z_]/) { before = before label; continue }
        owner = unit_of(before)
        before = before label
        if (entry != "")
            pending[owner, label] = file ":" line
        else if (!header) {
            marks[owner, label] = 1
            used[owner, label] = file ":" line
        }
    }
}

END {
    end_entry()
    for (key in used)
        if (!(key in table)) {
            split(key, part, SUBSEP)
            complain(used[key], part[2] " is not in the Ordering table of " part[1])
        }
    for (key in table)
        if (!(key in marks)) {
            split(key, part, SUBSEP)
            complain(table[key], part[2] " stands in the table and marks no access")
        }
    exit failures ? 1 : 0
}'

#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/ordering: docs/ordering.md is what the Ordering tables of the files' header comments say.
# Usage: ordering.sh <source directory>            compares
#        ordering.sh <source directory> --write    writes the page anew
cd "$1" || exit 2

collect() {
    cat <<'TEXT'
# Who publishes what to whom

Every release of the library, R, with its acquires, A, as the files state them. `version.h R1` is the R1 of that file.
The accesses themselves carry the same labels. Made by `sh lib/checks/ordering.sh . --write`; a test compares.
TEXT
    # The order of the layers is the order to read them in.
    grep -v '^#' lib/layers.txt | tr ' ' '\n' | while read -r unit; do
        for file in "lib/$unit.h" "lib/$unit.c"; do
            [ -f "$file" ] && awk -v file="${file#lib/}" '
                NR > 1 && /\*\// && !inside { exit }
                inside && (/^ \* [A-Z][A-Za-z]+( |$)/ || /^ \*$/ || /^ \*\//) { exit }
                /^ \* Ordering/ { inside = 1; printf "\n## %s\n\n```\n", file }
                inside {
                    line = $0
                    last = sub(/ *\*\/$/, "", line)
                    sub(/^ \* ?/, "", line)
                    print line
                    if (last) exit
                }
                END { if (inside) print "```" }' "$file"
        done
    done
}

if [ "$2" = --write ]; then
    collect > docs/ordering.md
    exit
fi
collect | diff docs/ordering.md - > /dev/null && exit
echo "docs/ordering.md is not what the files say; run: sh lib/checks/ordering.sh . --write"
exit 1

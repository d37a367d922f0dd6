#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/tidy: licence lines, no tabs, no line over 120 columns, nothing left lying about.
# Usage: tidy.sh <source directory>
cd "$1" || exit 2
failed=0

files=$(find CMakeLists.txt CMakePresets.json dev include lib server stress tsan bench -type f \
    \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.sh' -o -name '*.awk' -o -name '*.cmake' -o -name '*.txt' \
    -o -name '*.in' -o -name '*.json' -o -name dev \) | sort)

complain() {
    printf '%s: %s\n' "$1" "$2"
    failed=1
}

for file in $files; do
    case $file in
    *.json) ;;
    *.c | *.h | *.cpp)
        [ "$(head -n 1 "$file")" = '/* SPDX-License-Identifier: MIT */' ] || complain "$file" 'no licence line'
        ;;
    *.pc.in) ;;
    *) head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT' || complain "$file" 'no licence line' ;;
    esac
    [ -z "$(tail -c 1 "$file")" ] || complain "$file" 'no newline at its end'
done

# The words are put together here, so that this file does not find itself.
words="TO""DO|FIX""ME|XX""X"
# shellcheck disable=SC2086 # one word per file, no blanks in names
awk -v words="(^|[^A-Za-z])($words)([^A-Za-z]|\$)" '
function fail(message) { printf "%s:%d: %s\n", FILENAME, FNR, message; failures++ }
/\t/ { fail("a tab") }
/[ \r]$/ { fail("a blank at the end of the line") }
length($0) > 120 { fail(length($0) " columns") }
$0 ~ words { fail("an unfinished thought") }
/^[ ]*#[ ]*if 0/ { fail("dead code") }
END { exit failures ? 1 : 0 }' $files || failed=1
exit $failed

#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/links: every relative link of README.md and docs/ leads to a file of the tree.
# Usage: links.sh <source directory>
cd "$1" || exit 2
failed=0

for page in README.md $(find docs -name '*.md' | sort); do
    # shellcheck disable=SC2013 # links hold no blanks
    for link in $(grep -oE '\]\([^)# ]+' "$page" | sed 's/^](//' | grep -v '^[a-z]*:'); do
        if [ ! -e "$(dirname "$page")/$link" ]; then
            printf '%s: %s leads nowhere\n' "$page" "$link"
            failed=1
        fi
    done
done
exit $failed

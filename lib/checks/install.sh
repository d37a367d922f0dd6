#!/bin/sh
# SPDX-License-Identifier: MIT
# checks/install: what is installed can be used by programs outside the tree: with find_package(torc), shared and
# static; with pkg-config, shared and static; and from C++, each public header alone and all together.
# Usage: install.sh <source directory> <build directory> <cmake> <generator> <C compiler>
set -eu
source=$1 build=$2 cmake=$3 generator=$4 cc=$5
case $cc in
*clang*) cxx=clang++ ;;
*) cxx=g++ ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

"$cmake" --install "$build" --prefix "$prefix" >/dev/null
cp -r "$source/lib/checks/consumer" "$work/consumer"
libdir=$(dirname "$(find "$prefix" -name 'libtorc.so' | head -n 1)")

printf 'CMake:\n'
"$cmake" -S "$work/consumer" -B "$work/cmake" -G "$generator" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" >/dev/null
"$cmake" --build "$work/cmake" >"$work/log" || { cat "$work/log"; exit 1; }
for program in consumer_shared consumer_static consumer_cpp; do
    "$work/cmake/$program"
done

printf 'pkg-config:\n'
# Wherever the prefix is now: --define-prefix derives it from the place of torc.pc.
export PKG_CONFIG_PATH="$libdir/pkgconfig"
flags() {
    pkg-config --define-prefix "$@" torc
}
# shellcheck disable=SC2046 # flags are words
"$cc" -std=c11 -Wall -Werror "$work/consumer/consumer.c" -o "$work/pc_shared" $(flags --cflags --libs)
LD_LIBRARY_PATH=$libdir "$work/pc_shared"
# shellcheck disable=SC2046 # flags are words
"$cc" -std=c11 -Wall -Werror "$work/consumer/consumer.c" -o "$work/pc_static" $(flags --cflags) \
    $(flags --static --libs | sed 's/-ltorc/-l:libtorc.a/')
"$work/pc_static"
if ldd "$work/pc_static" | grep -q libtorc; then
    printf 'the static program needs libtorc.so\n'
    exit 1
fi

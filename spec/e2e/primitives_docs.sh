#!/bin/bash
# The examples of docs/primitives.md, as they stand there: the C program as C11 and as C++, the Lua ones run, the policy
# is checked.
# usage: primitives_docs.sh BUILD_DIR
set -euo pipefail
build=$(cd "${1:?usage: primitives_docs.sh BUILD_DIR}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -v dir="$work" '/^```(c|lua)$/ { n++; file = dir "/" n "." substr($0, 4); next } /^```$/ { file = "" } file { print > file }' "$root/docs/primitives.md"
export LD_LIBRARY_PATH="$build" LUA_CPATH="$build/?.so"
programs=0 policies=0 scripts=0
for source in "$work"/*.c; do
  gcc -std=c11 -Wall -Wextra -Wno-missing-field-initializers -pedantic -Werror -I"$root/engine" "$source" -o "$work/program" -L"$build" -lnines
  "$work/program"
  g++ -std=c++20 -Wall -Werror -I"$root/engine" -x c++ "$source" -o "$work/program" -L"$build" -lnines
  "$work/program"
  programs=$((programs + 1))
done
"$build/nines" init "$work/project" >/dev/null
for source in "$work"/*.lua; do
  if grep -q 'require "nines"' "$source"; then
    lua5.4 "$source"
    scripts=$((scripts + 1))
  else
    cp "$source" "$work/project/policies/"
    "$build/nines" check "$work/project"
    policies=$((policies + 1))
  fi
done
[ "$programs" -ge 1 ] && [ "$scripts" -ge 1 ] && [ "$policies" -ge 1 ] || { echo "no examples found" >&2; exit 1; }
# The header by itself, as both languages.
gcc -std=c11 -Wall -Wextra -pedantic -Werror -fsyntax-only -x c "$root/engine/nines.h"
g++ -std=c++11 -Wall -Wextra -Werror -fsyntax-only -x c++ "$root/engine/nines.h"
echo "$programs programs in C and C++, $scripts scripts, $policies policies"

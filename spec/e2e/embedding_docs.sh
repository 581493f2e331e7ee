#!/bin/bash
# The programs of docs/embedding.md that hold a whole engine, as they stand there, in C11 and C++; what the last one
# prints is what the page shows.
# usage: embedding_docs.sh BUILD_DIR
set -euo pipefail
build=$(cd "${1:?usage: embedding_docs.sh BUILD_DIR}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -v dir="$work" '
  /^## / { mine = $0 == "## The whole engine in your program" }
  mine && /^```(c|lua|text)$/ { n++; file = dir "/" n "." substr($0, 4); next }
  /^```$/ { file = "" }
  file { print > file }' "$root/docs/embedding.md"
cd "$work"
mv ./*.lua checkout.lua
mv ./*.text expected
export LD_LIBRARY_PATH="$build"
programs=0
for source in *.c; do
  gcc -std=c11 -Wall -Wextra -pedantic -Werror -I"$root/engine" "$source" -o program -L"$build" -lnines
  timeout 60 ./program >printed
  g++ -std=c++20 -Wall -Wextra -Werror -I"$root/engine" -x c++ "$source" -o program -L"$build" -lnines
  timeout 60 ./program >printed
  programs=$((programs + 1))
done
diff expected printed
[ "$programs" -eq 3 ] || { echo "$programs programs found, not 3" >&2; exit 1; }
echo "$programs programs in C and C++"

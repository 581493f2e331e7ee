#!/bin/sh
# The shop with three times too many customers: with protections checkouts go through, without they do not, and nothing
# is left behind.
# usage: overload.sh BUILD_DIR
set -eu
build=${1:?usage: overload.sh BUILD_DIR}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR="$work"

"$build/shop" --overload --seconds 3 >"$work/out" || echo "exit status $?" # it wants 99.9 %; here a busy machine may take more
cat "$work/out"
awk '/checkout \(CRITICAL\)/ { without = $5; with = $7 } END { exit !(with >= 99 && without < 90) }' "$work/out" || {
  echo "overload.sh: checkouts: 99 % or more with protections, under 90 % without" >&2
  exit 1
}
[ "$(ls "$work")" = out ] || { echo "overload.sh: left behind: $(ls "$work")" >&2; exit 1; }

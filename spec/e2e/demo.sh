#!/bin/sh
# `nines demo`, for real: the shop opens, v2 fails, the policy rolls it back, the shop recovers, nothing is left behind.
# usage: demo.sh BUILD_DIR
set -eu
build=${1:?usage: demo.sh BUILD_DIR}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR="$work"

fail() {
  echo "demo.sh: $*" >&2
  exit 1
}

# number KEY: its value in the result, -1 for null.
number() {
  sed -n "s/.*\"$1\":\([-0-9.e]*\).*/\1/p; s/.*\"$1\":null.*/-1/p" "$work/result"
}

# holds CONDITION, for awk, over the numbers of the result.
holds() {
  awk -v onset="$(number onset_s)" -v detected="$(number detected_s)" -v rolled_back="$(number rolled_back_s)" \
    -v recovered="$(number recovered_s)" -v total="$(number total_s)" -v failed="$(number failed)" \
    -v checkouts="$(number checkouts)" -v pages="$(number pages)" "BEGIN { exit !($1) }" ||
    fail "not so: $1, in $(cat "$work/result")"
}

"$build/nines" demo --json --seconds 5 >"$work/result" || fail "exit status $?: $(cat "$work/result")"
cat "$work/result"
grep -q '"ok":true' "$work/result" || fail "it was not ok"
holds "onset >= 0 && onset < 5"
holds "detected > onset && detected < 15"
holds "rolled_back >= detected && rolled_back < 20"
holds "recovered > rolled_back && recovered < 40"
holds "total < 90"
holds "checkouts > 500 && failed > 5 && failed < checkouts / 2"
holds "pages == 0"

# Interrupted in the middle, it leaves no process and no directory either.
"$build/nines" demo --seconds 30 >"$work/interrupted" 2>&1 &
demo=$!
tries=0
until grep -q 'requests/s' "$work/interrupted"; do
  tries=$((tries + 1))
  [ "$tries" -lt 300 ] || fail "the shop did not open: $(cat "$work/interrupted")"
  sleep 0.1
done
children=$(cat "/proc/$demo/task/$demo/children")
[ "$(echo "$children" | wc -w)" -ge 4 ] || fail "inventory, gateway, load and payments should be children: $children"
kill -TERM "$demo"
status=0
wait "$demo" || status=$?
[ "$status" -eq 1 ] || fail "an interrupted demo ends with status 1, not $status"
for child in $children; do
  if kill -0 "$child" 2>/dev/null; then fail "process $child is left over"; fi
done
for left in "$work"/nines-demo-*; do
  if [ -e "$left" ]; then fail "$left is left over"; fi
done
echo "demo.sh: ok"

#!/usr/bin/env bash
# The seed's weeks as examples/ has them, each run as a reader would, with the build that is tested.
set -euo pipefail
build=$(cd "${1:?usage: examples.sh BUILD_DIR}" && pwd)
examples=$(cd "$(dirname "$0")/../../examples" && pwd)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
bad=0

example() { # NAME PATTERN...
  local name=$1 pattern
  shift
  if ! timeout 60 "$examples/$name/run" "$build" >"$out" 2>&1; then
    echo "FAIL  $name"
    cat "$out"
    bad=1
    return
  fi
  for pattern in "$@"; do
    if grep -qE "$pattern" "$out"; then echo "ok    $name: $pattern"; else echo "FAIL  $name: no $pattern in:"; cat "$out"; bad=1; fi
  done
}

example week_01_detection 'critical_path.breached' 'user_signup +(ok|meets|no data|.*)100' 'paged: "title":"payment_processing'
example week_03_mitigation 'critical_path.breached' 'deploy.rolled_back' 'the last 300 by v2.3.0 again' 'payment-service +v2.3.0'
example week_09_prevention 'breaker.opened' 'worker 3: the gateway was called [0-9]+ times, refused [1-9]' 'payment_gateway +open' 'inventory from the cache'
example full 'deploy.rolled_back' 'breaker.opened' 'the last 300 by v2.3.0 again' 'payment_gateway +open'
exit $bad

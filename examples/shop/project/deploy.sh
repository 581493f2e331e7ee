#!/bin/sh
# Replaces the running payments service by version $NINES_TO: starts the new one, then asks the old one to finish and go.
# Both share the port for a moment, so no checkout is lost. SHOP_PROGRAM and SHOP_PAYMENTS come from the gateway.
set -eu
cd "$(dirname "$0")"
old=$(cat payments.pid 2>/dev/null || true)

# One program plays all versions; this is the mistake that v2 ships with.
case $NINES_TO in
v2*) failing=0.5 ;;
*) failing=0 ;;
esac

# Returns once the new one listens and has put its number into payments.pid.
"$SHOP_PROGRAM" payments --version "$NINES_TO" --failing "$failing" --port "${SHOP_PAYMENTS##*:}" \
  --pid-file payments.pid --background
echo "$NINES_TO" >payments.version.new
mv payments.version.new payments.version

if [ -n "$old" ]; then kill "$old" 2>/dev/null || true; fi

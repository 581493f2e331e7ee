#!/bin/bash
# The command line from end to end: a project is made, checked, tested, run, worked with, and stopped.
# usage: cli.sh BUILD_DIR
set -u
nines=$(cd "$1" && pwd)/nines
dir=$(mktemp -d)
engine=
failures=0
unset NINES_ENGINE http_proxy
export USER=ann NO_COLOR=1

finish() {
  [ -n "$engine" ] && kill -KILL "$engine" 2>/dev/null
  rm -rf "$dir"
}
trap finish EXIT

fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}

# expect STATUS PATTERN COMMAND...: its exit status, and an extended regular expression for what it prints.
expect() {
  local status=$1 pattern=$2 output got
  shift 2
  output=$("$@" 2>&1)
  got=$?
  [ "$got" = "$status" ] || fail "$* exits with $got, not $status: $output"
  grep -Eq -- "$pattern" <<<"$output" || fail "$* does not print /$pattern/: $output"
}

# until_seen PATTERN COMMAND...: asks again for up to 10 s.
until_seen() {
  local pattern=$1
  shift
  for _ in $(seq 200); do
    "$@" 2>/dev/null | grep -Eq -- "$pattern" && return 0
    sleep 0.05
  done
  fail "$* never prints /$pattern/: $("$@" 2>&1)"
}

now_ms() { date +%s%3N; }

# --- without an engine

expect 0 'Commands:' "$nines"
expect 0 'nines deploy payment-service' "$nines" deploy --help
expect 0 '^nines [0-9]' "$nines" version
expect 0 '"version"' "$nines" version --json
expect 2 'did you mean "status"' "$nines" statsu
expect 2 'did you mean --record' "$nines" deploy --recrod a b
expect 2 'usage: nines deploy' "$nines" deploy only-one
expect 2 'say --ok or --failed' "$nines" track checkout
cd "$dir" || exit 1
# Whatever listens at the default address of this machine is not ours.
NINES_ENGINE=http://127.0.0.1:1 expect 3 'nines run' "$nines" status
expect 3 'nines run' "$nines" status --engine "$dir/none.sock"
expect 1 'nines init' "$nines" run "$dir"
expect 7 'cannot be reached' "$nines" track checkout -- sh -c 'exit 7'
expect 127 'No such file' "$nines" track checkout -- "$dir/no-such-program"

expect 0 'nines check' "$nines" init shop
expect 1 'there already; nothing was written' "$nines" init shop
cd shop || exit 1
expect 0 'ok: nines.yaml and 1 policy' "$nines" check
echo 'local x = critical_pth "y" { success_rate = 99 }' > policies/typo.lua
expect 1 'policies/typo.lua:1: .*critical_path' "$nines" check
expect 1 '"ok":false.*"line":1' "$nines" check --json
echo 'flag "recommendations" { default = true }' > policies/typo.lua
mv policies/typo.lua policies/flags.lua
expect 0 '2 policies' "$nines" check .
sed -i.bak 's/^mode: act /mood: act /' nines.yaml
expect 1 'nines.yaml:[0-9]+: .*mood' "$nines" check
mv nines.yaml.bak nines.yaml
if command -v lua5.4 busted >/dev/null && [ -e "$1/nines.so" ] && [ -z "${NINES_NO_SPECS:-}" ]; then
  expect 0 '2 successes / 0 failures' "$nines" test
  expect 0 '2 successes / 0 failures' "$nines" test policies/example_spec.lua
fi

# --- with one

sed -i 's/^listen: 127.0.0.1:9999/listen: 127.0.0.1:0/; s/^statsd: 127.0.0.1:8125/statsd: 127.0.0.1:0/' nines.yaml
"$nines" run > run.out 2> run.err &
engine=$!
until_seen 'is running: http://127.0.0.1:[0-9]+, statsd 127.0.0.1:[0-9]+, 2 policies, 1 path' cat run.out
url=$(grep -Eo 'http://[0-9.:]+' run.out)

expect 0 'checkout +no data' "$nines" status
expect 0 'checkout +no data' "$nines" status --engine "$url"
NINES_ENGINE=$url expect 0 '"mode":"act"' "$nines" status --json
expect 1 '.' "$nines" run # the data directory is taken
expect 0 '' "$nines" track checkout --duration 120ms --ok
expect 0 'hello' "$nines" track checkout -- echo hello
expect 3 '' "$nines" track checkout -- sh -c 'exit 3'
until_seen '"requests":3,"bad":1' "$nines" status --json

expect 0 'v1: finished' "$nines" deploy example-service v1
expect 0 '"version":"v2".*"state":"finished"' "$nines" deploy example-service v2 --json
expect 0 'v1: finished' "$nines" rollback example-service --reason 'because'
[ "$(./current-version.sh)" = v1 ] || fail "the rollback did not run deploy.sh"
sed -i 's/^echo "$NINES_TO"/exit 5; &/' deploy.sh
expect 1 'failed' "$nines" deploy example-service v3
expect 0 'v4: finished' "$nines" deploy example-service v4 --record
expect 1 'exampel-service' "$nines" deploy exampel-service v1

expect 0 'recommendations +on +on' "$nines" flag list
expect 0 'is off' "$nines" flag off recommendations --reason 'slow'
expect 0 'recommendations +off +on +person:ann' "$nines" flag
expect 0 'left to the policies' "$nines" flag lift recommendations
expect 1 'did you mean "recommendations"' "$nines" flag on recomendations

for _ in $(seq 30); do "$nines" track checkout --failed || fail "track"; done
until_seen 'P0 .*checkout' "$nines" alert list
alert=$("$nines" alert list --json | grep -Eo '"id":"[^"]+"' | head -1 | cut -d'"' -f4)
expect 0 'acknowledged by person:ann' "$nines" alert ack "$alert"
expect 1 'no alert a999' "$nines" alert ack a999
expect 0 'acknowledged' "$nines" alert list --all
expect 0 'breached' "$nines" explain checkout
expect 0 'rule' "$nines" explain checkout --json
expect 1 'did you mean "checkout"' "$nines" explain chekout
expect 0 'critical_path.breached' "$nines" events
expect 0 '^\{"sequence":[0-9]+,.*deploy' "$nines" events --topic 'deploy.*' --last 1 --json
timeout 10 "$nines" events -f --json > followed 2>&1 &
follower=$!
until_seen 'critical_path.breached' cat followed
expect 0 'finished' "$nines" deploy example-service v5 --record
until_seen '"version":"v5"' cat followed
kill "$follower"

expect 0 'ok: [0-9]+ entries' "$nines" audit verify
expect 0 'person:ann +flag.set +recommendations' "$nines" audit list
expect 0 'everything as of now' "$nines" backup copy.db
[ -s copy.db ] || fail "there is no backup"
expect 1 'copy.db' "$nines" backup copy.db
expect 0 'changed' "$nines" reload
echo 'critical_path "x" {' > policies/broken.lua
expect 1 'broken.lua' "$nines" reload
rm policies/broken.lua

# --- the way down, and up again

start=$(now_ms)
kill -TERM "$engine"
wait "$engine"
status=$?
took=$(($(now_ms) - start))
engine=
[ "$status" = 0 ] || fail "SIGTERM: run exits with $status"
[ "$took" -lt 1000 ] || fail "SIGTERM: $took ms"
expect 3 'nines run' "$nines" status
expect 0 'ok: [0-9]+ entries' "$nines" audit verify nines-data

"$nines" run --observe > run.out 2>> run.err &
engine=$!
until_seen 'only observing' cat run.out
until_seen 'resumed: 1 open alert' cat run.out
expect 0 'mode observe' "$nines" status
expect 0 'stopped' "$nines" stop
wait "$engine" || fail "stop: run exits with $?"
engine=

if [ "$failures" != 0 ]; then
  cat run.err >&2
  echo "$failures failures" >&2
  exit 1
fi
echo "cli: ok (SIGTERM took $took ms)"

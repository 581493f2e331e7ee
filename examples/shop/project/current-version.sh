#!/bin/sh
# Prints the version of payments that runs; fails when none does.
set -eu
cd "$(dirname "$0")"
kill -0 "$(cat payments.pid)"
cat payments.version

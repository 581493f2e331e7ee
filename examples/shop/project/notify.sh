#!/bin/sh
# Where pages and notifications go: a line of JSON each.
set -eu
cd "$(dirname "$0")"
{ cat; echo; } >>letters.jsonl

#!/usr/bin/env bash
# Counts the instructions that an event costs, with metrics and without, under callgrind. The daemon
# with metrics may cost at most 3 % more; otherwise the exit code is 1.
#
#   scripts/metrics-cost.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/need.sh c python valgrind

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
target=${CARGO_TARGET_DIR:-target}/test-release/socketio-humble-broker
# The same sources twice, and only the recorder is missing from one: its handles then do nothing.
HUMBLE_BROKER_UNRECORDED=1 cargo build --locked --quiet --profile test-release --bin socketio-humble-broker
cp "$target" "$folder/unrecorded"
env -u HUMBLE_BROKER_UNRECORDED cargo build --locked --quiet --profile test-release --bin socketio-humble-broker
cp "$target" "$folder/recorded"
python3 scripts/instructions.py "$folder/unrecorded" "$folder/recorded"

#!/usr/bin/env bash
# Starts the broker from its sources; arguments go to it: `scripts/run.sh --port 5001`.
#
# The profile `test-release` is optimised, but without the minutes that the link of `release` takes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Rust links with the C compiler, and a few of the libraries are built with it.
scripts/need.sh c
exec cargo run --locked --profile test-release --bin socketio-humble-broker -- "$@"

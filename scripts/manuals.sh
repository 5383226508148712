#!/usr/bin/env bash
# Writes the manual pages and the completions of shells into a folder, by default target/manuals:
#
#   scripts/manuals.sh [FOLDER]
#
# They are made from the command line of the program and from config/broker.toml, so none is kept here. The
# folder of the program that makes them is the one that the tests use, so that nothing is built twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec cargo run --quiet --locked --example manuals -- "${1:-${CARGO_TARGET_DIR:-target}/manuals}"

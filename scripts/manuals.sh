#!/usr/bin/env bash
# Writes the manual pages and the completions of shells into a folder, by default target/manuals:
#
#   scripts/manuals.sh [FOLDER]
#
# They are made from the command line of the program and from config/broker.toml, so none is kept here. The
# folder of the program that makes them is the one that the tests use, so that nothing is built twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
# The day of the pages is nothing to cargo, which would compile C again whenever it changes.
env -u SOURCE_DATE_EPOCH cargo build --quiet --locked --example manuals
exec "$target/debug/examples/manuals" "${1:-$target/manuals}"

#!/usr/bin/env bash
# Measures the broker beside other servers, in turns, and writes what comes out into docs/performance.md:
# Node's server, Bun with its engine, python-socketio, the bare library, and a floor below which nobody
# comes. It installs what it needs under target/, and takes about three quarters of an hour.
#
#   scripts/bench.sh                                   everything, three rounds
#   scripts/bench.sh --quick                           whether it works, in minutes; writes no figures
#   scripts/bench.sh --rows one,rooms --servers ours,floor,node --rounds 6
#   scripts/bench.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/need.sh c python node
exec python3 tools/bench/compare.py "$@"

#!/usr/bin/env bash
# Measures messages from one node to another, over Redis, a Redis Cluster and NATS, in turns with Node's server and its
# adapter for Redis; with --write the figures go into docs/performance.md. It takes about ten minutes.
#
#   scripts/bench-relay.sh [--rounds 3] [--seconds 3] [--profile release] [--write]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/need.sh c python node redis-server nats-server
exec python3 tools/bench/relay.py "$@"

#!/usr/bin/env bash
# Fills a broker with CLIENTS over WebSocket, drains it, and fails unless it ends in the configured time
# and all of them come back to a second one. Each takes a file descriptor of the broker's.
#
#   scripts/avalanche.sh 18000
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
clients=${1:?how many clients?}
exec cargo test --locked --quiet --profile "${2:-test-release}" --test soak -- avalanche "$clients"

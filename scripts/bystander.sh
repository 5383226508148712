#!/usr/bin/env bash
# Compares how long messages between well-behaved clients take while others abuse the daemon and
# while they do not, in ROUNDS of about 15 seconds.
#
#   scripts/bystander.sh 5
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo test --locked --quiet --profile test-release --test soak -- bystander "${1:?how many rounds?}"

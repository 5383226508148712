#!/usr/bin/env bash
# Abuses a real daemon for MINUTES (1 to 600) and fails when it grows, leaks, or lets a bystander suffer.
#
#   scripts/soak.sh 10
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo test --locked --quiet --profile test-release --test soak -- soak "${1:?how many minutes?}"

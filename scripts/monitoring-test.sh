#!/usr/bin/env bash
# Has a real Prometheus scrape a real daemon under a bit of traffic, and puts the alerts and the dashboard
# of packaging/ to the test. The daemon is $BROKER_BIN.
#
#   scripts/monitoring-test.sh
#   scripts/monitoring-test.sh --picture docs/dashboard.png --seconds 240   draws the dashboard as well
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/need.sh python prometheus redis-server

readonly VENV=${CARGO_TARGET_DIR:-target}/monitoring
wanted=("python-socketio[client]==5.18.1" "PyYAML==6.0.4")
# Only a picture needs a library that draws.
[[ " $* " == *" --picture"* ]] && wanted+=("matplotlib==3.11.2")
if ! grep -qxF "${wanted[*]}" "$VENV/installed" 2>/dev/null; then
    python3 -m venv --clear "$VENV"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
    echo "${wanted[*]}" >"$VENV/installed"
fi
exec "$VENV/bin/python" scripts/monitoring/test.py "$@"

#!/bin/sh
# Installs the JavaScript clients that the lock file pins, again only when it has changed.
set -eu
cd "$(dirname "$0")"

if ! cmp -s package-lock.json node_modules/.installed; then
    npm ci --no-audit --no-fund
    cp package-lock.json node_modules/.installed
fi

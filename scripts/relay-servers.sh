#!/usr/bin/env bash
# Runs the relay's tests with servers that Debian 12 does not have: Valkey 8, and Redis 6.0, which knows neither
# sharded pub/sub nor rights to channels. Their packages are unpacked under target/, and not installed. CI does not
# run it.
#
#   scripts/relay-servers.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/need.sh c redis-server nats-server systemd-container
readonly SERVERS=${CARGO_TARGET_DIR:-$PWD/target}/servers

# Runs the tests with `redis-server` being that program of a package; further arguments are for them.
with() {
    local suite=$1 package=$2 program=$3
    local tree=$SERVERS/$suite wrapper=$SERVERS/$suite.bin/redis-server
    if [[ ! -x $tree/usr/bin/$program ]]; then
        rm -rf "$tree"
        mmdebstrap --quiet --mode=root --variant=extract "--include=$package" "$suite" "$tree"
    fi
    mkdir -p "${wrapper%/*}"
    # With its own libraries, which Debian 11 has in two places.
    local loader libraries
    loader=$(find "$tree" -name 'ld-linux-x86-64.so.2' | head -n 1)
    libraries=$tree/usr/lib/x86_64-linux-gnu:$tree/lib/x86_64-linux-gnu
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' \
        "$loader" "$libraries" "$tree/usr/bin/$program" >"$wrapper"
    chmod +x "$wrapper"
    echo "== $("$wrapper" --version)"
    PATH=${wrapper%/*}:$PATH cargo test --locked --test it -- relay:: "${@:4}"
}

with trixie valkey-server valkey-server
with bullseye redis-server redis-server --skip cluster --skip few_rights

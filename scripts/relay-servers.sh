#!/usr/bin/env bash
# Runs the relay's tests with servers that Debian 12 does not have: Valkey 8, and Redis 6.0, which knows neither
# sharded pub/sub nor rights to channels, and whose sentinels know no users. Their packages are unpacked under
# target/, and not installed. CI does not run it.
#
#   scripts/relay-servers.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/need.sh c redis-server nats-server systemd-container
readonly WRAPPERS=$PWD/target/relay-servers

# Runs the tests with `redis-server` being the program of the package; further arguments are for them.
with() {
    local suite=$1 package=$2 tree libraries wrapper=$WRAPPERS/$1/redis-server
    tree=$(scripts/debian-tree.sh "$suite" "$package")
    mkdir -p "${wrapper%/*}"
    # With its own libraries.
    libraries=$tree/lib/x86_64-linux-gnu
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$libraries/ld-linux-x86-64.so.2" \
        "$libraries:$tree/usr/lib/x86_64-linux-gnu" "$tree/usr/bin/$package" >"$wrapper"
    chmod +x "$wrapper"
    echo "== $("$wrapper" --version)"
    PATH=${wrapper%/*}:$PATH cargo test --locked --test it -- relay:: "${@:3}"
}

with trixie valkey-server
with bullseye redis-server --skip cluster --skip few_rights --skip sentinels

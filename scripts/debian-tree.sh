#!/usr/bin/env bash
# Makes the tree of a Debian that can be booted, once, and prints where it is: `scripts/debian-tree.sh bookworm`.
# Needs root, or sudo. Who uses it lays something over it that is written to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SUITE=$1
# `rpm` installs the other kind of package there.
readonly PACKAGES=systemd,systemd-sysv,dbus,iproute2,rpm
TREE=$(realpath -m "${CARGO_TARGET_DIR:-target}")/systemd/$SUITE
readonly TREE

as_root=()
((EUID == 0)) || as_root=(sudo)
if [[ "$(cat "$TREE.packages" 2>/dev/null)" != "$PACKAGES" ]]; then
    "${as_root[@]}" rm -rf "$TREE"
    mkdir -p "${TREE%/*}"
    "${as_root[@]}" mmdebstrap --quiet --variant=minbase "--include=$PACKAGES" "$SUITE" "$TREE" >&2
    echo "$PACKAGES" >"$TREE.packages"
fi
echo "$TREE"

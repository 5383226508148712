#!/usr/bin/env bash
# Makes the tree of a Debian that can be booted, once, and prints where it is:
#
#   scripts/debian-tree.sh SUITE [PACKAGE]...     like `scripts/debian-tree.sh bookworm rpm`
#
# Needs root, or sudo. Who uses it lays something over it that is written to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SUITE=$1
PACKAGES=$(IFS=, && echo "systemd,systemd-sysv,dbus,iproute2,${*:2}")
TREE=$(realpath -m "${CARGO_TARGET_DIR:-target}")/systemd/$SUITE${2:+-$2}
readonly PACKAGES TREE

as_root=()
((EUID == 0)) || as_root=(sudo)
if [[ "$(cat "$TREE.packages" 2>/dev/null)" != "$PACKAGES" ]]; then
    "${as_root[@]}" rm -rf "$TREE"
    mkdir -p "${TREE%/*}"
    "${as_root[@]}" mmdebstrap --quiet --variant=minbase "--include=$PACKAGES" "$SUITE" "$TREE" >&2
    echo "$PACKAGES" >"$TREE.packages"
fi
echo "$TREE"

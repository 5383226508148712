#!/usr/bin/env bash
# Boots a real systemd with the units of systemd/ and a real daemon, and drives them. The daemon is
# $BROKER_BIN, of the development profile: only that can be had to hang, for the watchdog to find it.
#
#   scripts/systemd-test.sh
#
# Needs root. It runs in namespaces and a cgroup of its own, over a Debian tree that stays under target/, and
# leaves nothing else behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET=$(realpath "${CARGO_TARGET_DIR:-target}")
PROGRAM=$(realpath "${BROKER_BIN:-$TARGET/debug/socketio-humble-broker}")
# The daemon is linked against what is on this machine, so the tree is of the same Debian.
# shellcheck source=/dev/null
SUITE=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
readonly TARGET PROGRAM SUITE TREE=$TARGET/systemd/$SUITE
readonly PACKAGES=systemd,systemd-sysv,dbus,iproute2

as_root=()
((EUID == 0)) || as_root=(sudo)

make_tree() {
    [[ "$(cat "$TREE.packages" 2>/dev/null)" == "$PACKAGES" ]] && return
    "${as_root[@]}" rm -rf "$TREE"
    mkdir -p "${TREE%/*}"
    local leave=() folder
    for folder in man locale doc; do leave+=("--dpkgopt=path-exclude=/usr/share/$folder/*"); done
    "${as_root[@]}" mmdebstrap --quiet --variant=minbase "--include=$PACKAGES" "${leave[@]}" "$SUITE" "$TREE"
    echo "$PACKAGES" >"$TREE.packages"
}

# As root, in namespaces of its own: boots the tree, and runs the tests beside it.
inside() {
    mount --make-rprivate /
    ip link set lo up
    # systemd wants the cgroups of this namespace, and only those.
    umount -R /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    mount -t tmpfs none /run
    mkdir -p /run/systemd /run/test
    mount -t tmpfs none /run/test
    mkdir /run/test/{upper,work,machine}
    # Nothing is written to the tree itself.
    local layers=lowerdir=$TREE,upperdir=/run/test/upper,workdir=/run/test/work machine=/run/test/machine
    mount -t overlay overlay -o "$layers" "$machine"
    install "$PROGRAM" "$machine/usr/bin/socketio-humble-broker"
    install -m 644 systemd/* "$machine/etc/systemd/system/"
    PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/systemd/test.py "$machine"
}

outside() {
    if ((EUID != 0)) && ! command -v sudo >/dev/null; then
        echo "systemd-test.sh: a system can be booted by root only" >&2
        exit 69
    fi
    scripts/need.sh python openssl systemd-container
    make_tree
    local unified group code=0
    unified=$(findmnt -n -t cgroup2 -o TARGET | head -1)
    if [[ -z $unified ]]; then
        echo "systemd-test.sh: there is no cgroup2 here, which systemd needs" >&2
        exit 69
    fi
    group=$unified/systemd-test.$$
    "${as_root[@]}" mkdir "$group"
    # shellcheck disable=SC2016 # The variables are those of the shell that it starts.
    "${as_root[@]}" env "BROKER_BIN=$PROGRAM" "CARGO_TARGET_DIR=$TARGET" bash -c '
        echo $$ >"$1/cgroup.procs"
        exec unshare -m -p -n -u -i -C -f --mount-proc --kill-child timeout -s KILL 300 "$2" --inside' \
        bash "$group" "$(realpath "${BASH_SOURCE[0]}")" || code=$?
    # What systemd has made there is empty once the last process is gone, which takes a moment.
    local attempt
    for attempt in {1..50}; do
        "${as_root[@]}" find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [[ -d $group ]] || break
        ((attempt < 50)) || echo "systemd-test.sh: $group is left behind" >&2
        sleep 0.1
    done
    return "$code"
}

if [[ ${1:-} == --inside ]]; then inside; else outside; fi

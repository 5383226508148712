#!/usr/bin/env bash
# Boots a real systemd, installs the packages of target/packages there as a person would, and drives what they
# have brought: on Debian 12 with systemd 252, and on Debian 13 with 257.
#
#   scripts/systemd-test.sh [SUITE]...
#
# Needs root, and scripts/packages.sh to have been run. It runs in namespaces and a cgroup of its own, over a
# Debian tree that stays under target/, and leaves nothing else behind. $BROKER_BIN is a daemon of the development
# profile: only that can be had to hang, for the watchdog to find it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET=$(realpath "${CARGO_TARGET_DIR:-target}")
PROGRAM=$(realpath "${BROKER_BIN:-$TARGET/debug/socketio-humble-broker}")
VERSION=$(cargo pkgid --offline | sed 's/.*[#@]//')
readonly TARGET PROGRAM NAME=socketio-humble-broker PACKAGES=target/packages
# Those to upgrade from are of the same sources, under a version that is lower than any of ours.
readonly OLDER=0.0.1 VERSION=${VERSION/-/\~}

as_root=()
((EUID == 0)) || as_root=(sudo)

# As root, in namespaces of its own: boots the tree, and runs the tests beside it.
inside() {
    local tree=$1
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
    local layers=lowerdir=$tree,upperdir=/run/test/upper,workdir=/run/test/work machine=/run/test/machine
    mount -t overlay overlay -o "$layers" "$machine"
    install "$PROGRAM" "$machine/usr/local/bin/hangs"
    local version
    for version in "$OLDER" "$VERSION"; do
        install -m 644 -D "$PACKAGES/${NAME}_$version-1"_*.deb "$machine/packages/$version.deb"
        install -m 644 "$PACKAGES/$NAME-$version-1".*.rpm "$machine/packages/$version.rpm"
    done
    PYTHONPATH=scripts/support PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/systemd/test.py "$machine" "$OLDER" "$VERSION"
}

outside() {
    local tree unified group code=0
    # `rpm` installs the other kind of package there.
    tree=$(scripts/debian-tree.sh "$1" rpm)
    unified=$(findmnt -n -t cgroup2 -o TARGET | head -1)
    if [[ -z $unified ]]; then
        echo "systemd-test.sh: there is no cgroup2 here, which systemd needs" >&2
        exit 69
    fi
    group=$unified/systemd-test.$$
    "${as_root[@]}" mkdir "$group"
    # shellcheck disable=SC2016 # The variables are those of the shell that it starts.
    "${as_root[@]}" env "PATH=$PATH" "BROKER_BIN=$PROGRAM" "CARGO_TARGET_DIR=$TARGET" bash -c '
        echo $$ >"$1/cgroup.procs"
        exec unshare -m -p -n -u -i -C -f --mount-proc --kill-child timeout -s KILL 600 "$2" --inside "$3"' \
        bash "$group" "$(realpath "${BASH_SOURCE[0]}")" "$tree" || code=$?
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

if [[ ${1:-} == --inside ]]; then
    inside "$2"
    exit
fi
if ((EUID != 0)) && ! command -v sudo >/dev/null; then
    echo "systemd-test.sh: a system can be booted by root only" >&2
    exit 69
fi
scripts/need.sh python openssl systemd-container
(($#)) || set -- bookworm trixie
for suite in "$@"; do
    outside "$suite"
done

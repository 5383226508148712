#!/usr/bin/env bash
# Makes what a release consists of, from the last commit, with checksums:
#
#   scripts/release.sh [FOLDER]            everything; the default is target/dist
#   scripts/release.sh --sources FOLDER    the archive of the sources alone
#   scripts/release.sh --check             everything twice, in different places, and compares
#   PROFILE=test-release scripts/release.sh     sooner, to try this script
#
# Nothing goes into the files but the commit, and what the compilers and packagers of this machine make of it, so
# that whoever has the same can make the same. The program is built anew, three times with the one in the image. The
# image needs root, as scripts/image-test.sh does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NAME=socketio-humble-broker PROFILE=${PROFILE:-release} CYCLONEDX=0.5.9
VERSION=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
# As in scripts/packages.sh.
readonly VERSION TARGET TOOLS=$TARGET/packagers
# For the image, which is made by another script.
export PROFILE

make_sources() {
    mkdir -p "$1"
    git archive --prefix="$NAME-$VERSION/" HEAD | gzip -9 --no-name >"$1/$NAME-$VERSION.tar.gz"
}

# The program for packages, linked against the system, and the one for any Linux, static and without symbols.
build() {
    # No place of this machine gets into what is built.
    local places=("$BUILD=/build" "${CARGO_HOME:-$HOME/.cargo}=/cargo") flags
    flags=$(IFS=$'\x1f' && echo "${places[*]/#/--remap-path-prefix=}")
    local cargo=(cargo build --locked --target-dir "$BUILD/target" --profile "$PROFILE" --bin "$NAME")
    CARGO_ENCODED_RUSTFLAGS=$flags "${cargo[@]}"
    # For one target by name, so that the flag is not for build scripts and macros, which cannot be static.
    CARGO_ENCODED_RUSTFLAGS=$flags$'\x1f-Ctarget-feature=+crt-static' "${cargo[@]}" --target "$HOST"
    strip --remove-section=.comment -o "$BUILD/$NAME" "$BUILD/target/$HOST/$PROFILE/$NAME"
}

make_packages() {
    BINARY=$BUILD/target/$PROFILE/$NAME scripts/packages.sh "$PROFILE"
    mv target/packages/*.deb target/packages/*.rpm "$OUT/"
}

# What is below the prefix, to be unpacked there; the program needs no configuration.
make_archive() {
    local name=$NAME-$VERSION-${HOST%%-*}-linux staged=$BUILD/staged
    # The manuals are those of the packages.
    make --silent install "DESTDIR=$staged" PREFIX=/usr/local "BINARY=$BUILD/$NAME" MANUALS=target/packages/manuals
    # Without folders, as tar would give those that are there our owner and mode.
    (cd "$staged/usr/local" && find . ! -type d -print0) | sort -z |
        tar --create --directory "$staged/usr/local" --null --files-from - --transform "s,^\.,$name,S" --format gnu \
            --mtime "@$SOURCE_DATE_EPOCH" --owner 0 --group 0 --numeric-owner --mode u+rwX,go+rX,go-w |
        gzip -9 --no-name >"$OUT/$name.tar.gz"
}

# What the program is made of, for who has to know whether it is concerned by a flaw in something.
make_sbom() {
    # It takes minutes to build, so it stays.
    if [[ "$("$TOOLS/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null)" != *" $CYCLONEDX" ]]; then
        CARGO_TARGET_DIR=$TOOLS/build cargo install --quiet --locked --root "$TOOLS" "cargo-cyclonedx@$CYCLONEDX"
        rm -rf "$TOOLS/build"
    fi
    "$TOOLS/bin/cargo-cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 --target "$HOST" \
        --override-filename sbom
    cargo tree --locked --edges normal,build --target "$HOST" --prefix none --format '{p}' |
        python3 scripts/release/sbom.py sbom.json
    mv sbom.json "$OUT/$NAME-$VERSION.cdx.json"
}

# The image as it is tested, built by itself in its own place.
make_image() {
    # The rest is worth having without it.
    if ! command -v buildah >/dev/null; then
        echo "release.sh: there is no buildah here, so no image is made" >&2
        return
    fi
    CARGO_TARGET_DIR=$BUILD/target ARCHIVE=$BUILD/image.tar REVISION=$HUMBLE_BROKER_REVISION \
        scripts/image-test.sh
    python3 scripts/release/image.py "$BUILD/image.tar"
    gzip -9 --no-name <"$BUILD/image.tar" >"$OUT/$NAME-$VERSION-${HOST%%-*}-image.tar.gz"
    # Root's, as the image is made by root.
    ((EUID == 0)) || sudo rm -rf "$BUILD/target/image"
}

make_all() {
    OUT=$(realpath -m "$1")
    BUILD=$OUT.build
    if ! git diff --quiet HEAD; then
        echo "release.sh: a release is made of the last commit, and something has been changed since" >&2
        return 65
    fi
    # What is made is not to depend on whose shell this is.
    umask 022
    export LC_ALL=C TZ=UTC
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
    HUMBLE_BROKER_REVISION=$(git rev-parse HEAD)
    HOST=$(rustc --print host-tuple)
    export SOURCE_DATE_EPOCH HUMBLE_BROKER_REVISION

    scripts/need.sh c python binutils make rpm
    rm -rf "$OUT" "$BUILD"
    make_sources "$OUT"
    mkdir -p "$BUILD"
    # With the time of now, as cargo would take sources that are older than what it has compiled for those.
    tar -xmzf "$OUT/$NAME-$VERSION.tar.gz" -C "$BUILD"
    # From here on in a copy of what is released. Only the program is built anew: what makes manuals and packages
    # is where it always is.
    cd "$BUILD/$NAME-$VERSION"
    export CARGO_TARGET_DIR=$TARGET
    build
    make_packages
    make_archive
    make_sbom
    make_image
    cd "$OUT"
    sha256sum -- * >"$BUILD/SHA256SUMS"
    mv "$BUILD/SHA256SUMS" .
    rm -rf "$BUILD"
    cat SHA256SUMS
}

# Two times, as different shells in different places would do it.
check() {
    local first=$TARGET/check/first second=$TARGET/check/elsewhere/second
    (umask 022 && TZ=UTC scripts/release.sh "$first")
    (umask 077 && TZ=Pacific/Kiritimati LC_ALL=C.UTF-8 scripts/release.sh "$second")
    if ! diff "$first/SHA256SUMS" "$second/SHA256SUMS"; then
        echo "release.sh: what differs is in $first and $second" >&2
        return 1
    fi
    echo "the same, both times"
}

case ${1:-} in
    --check) check ;;
    --sources) make_sources "${2:?"name the folder: release.sh --sources FOLDER"}" ;;
    -*)
        echo "release.sh: \`$1\` is not known; write --check, --sources or a folder" >&2
        exit 64
        ;;
    *) make_all "${1:-$TARGET/dist}" ;;
esac

#!/usr/bin/env bash
# Builds the packages for Debian and of RPM, of one binary and the same files, into target/packages:
#
#   scripts/packages.sh [PROFILE [VERSION]]
#
# PROFILE is one of Cargo.toml, by default `release`; CI takes `ci`. VERSION stands in for that of Cargo.toml, for
# tests of an upgrade. $BINARY is one that is built already. $MAINTAINER is who hands the packages on. The same sources make the same packages:
# $SOURCE_DATE_EPOCH, by default the time of the last commit, is the time of everything in them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What is installed is for everyone to read.
umask 022

readonly NAME=socketio-humble-broker
# Here, wherever cargo builds, as Cargo.toml names it too.
readonly OUT=target/packages
PROFILE=${1:-release}
VERSION=${2:-$(cargo pkgid --offline | sed 's/.*[#@]//')}
TARGET=${CARGO_TARGET_DIR:-target}
MAINTAINER=${MAINTAINER:-$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
readonly PROFILE TARGET MAINTAINER
# What comes before a release sorts before it.
readonly VERSION=${VERSION/-/\~}
# What Debian 12 has, the oldest of the systems that the packages are for with systemd 252.
readonly GLIBC=2.36
readonly CARGO_DEB=3.8.0

# Packages are linked against the libraries of their system, and get what is mended there without us.
build() {
    local needed
    [[ -n ${BINARY:-} ]] || cargo build --locked --profile "$PROFILE" --bin "$NAME"
    # Not before, as what is compiled of C is compiled again when it changes, for nothing.
    export SOURCE_DATE_EPOCH
    # A panic says its line without symbols too, and they are a third of the file.
    strip --remove-section=.comment -o "$OUT/$NAME" "${BINARY:-$TARGET/$PROFILE/$NAME}"
    needed=$(objdump -T "$OUT/$NAME" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
    echo "needs glibc ${needed#GLIBC_}"
    if [[ "$(printf '%s\n' "GLIBC_$GLIBC" "$needed" | sort -V | tail -1)" != "GLIBC_$GLIBC" ]]; then
        echo "packages.sh: the binary needs ${needed/_/ }, and Debian 12 has $GLIBC: build it on that" >&2
        return 69
    fi
    scripts/manuals.sh "$OUT/manuals"
}

# Installs into an empty folder what packages of one kind have.
stage() {
    rm -rf "${OUT:?}/$1"
    make --no-print-directory --silent install "DESTDIR=$OUT/$1" PREFIX=/usr "BINARY=$OUT/$NAME" \
        "MANUALS=$OUT/manuals" "${@:2}"
    # Neither tool does this with links, and the script of RPM needs a /bin/sh that is bash.
    local pages=$OUT/$1/usr/share/man
    gzip -9n "$pages/man1/$NAME.1" "$pages/man5/broker.toml.5"
    rm "$pages/man1/socket.io-humble-broker.1"
    ln -s "$NAME.1.gz" "$pages/man1/socket.io-humble-broker.1.gz"
}

# cargo-deb takes minutes to build, so it stays.
cargo_deb() {
    local root=$TARGET/packagers
    if [[ "$("$root/bin/cargo-deb" --version 2>/dev/null)" != "cargo-deb $CARGO_DEB" ]]; then
        CARGO_TARGET_DIR=$root/build cargo install --quiet --locked --root "$root" "cargo-deb@$CARGO_DEB"
        rm -rf "$root/build"
    fi
    "$root/bin/cargo-deb" "$@"
}

deb() {
    stage deb ZSHDIR=/usr/share/zsh/vendor-completions
    # Debian has the licence in the file `copyright`.
    rm -r "$OUT/deb/usr/share/licenses"
    mkdir -p "$OUT/deb/usr/share/lintian/overrides"
    install -m 644 packaging/deb/lintian-overrides "$OUT/deb/usr/share/lintian/overrides/$NAME"
    cat >"$OUT/changelog" <<CHANGELOG
$NAME ($VERSION-1) stable; urgency=medium

  * What has changed is in CHANGELOG.md.

 -- $MAINTAINER  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
    # It finds the units among the assets, and warns that it finds none elsewhere.
    cargo_deb --locked --no-build --no-strip --no-dbgsym --deb-version "$VERSION-1" \
        --maintainer "$MAINTAINER" --output "$OUT/" 2> >(grep -v 'No usable systemd units found' >&2)
}

rpm() {
    stage rpm
    local top=$PWD/$OUT/rpmbuild
    rm -rf "$top"
    rpmbuild -bb --quiet --define "_topdir $top" --define "_rpmdir $PWD/$OUT" \
        --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
        --define "staged $PWD/$OUT/rpm" --define "package_version $VERSION" --define "packager $MAINTAINER" \
        --define "date $(LC_ALL=C date -u '+%a %b %d %Y' -d "@$SOURCE_DATE_EPOCH")" \
        "packaging/rpm/$NAME.spec"
    rm -rf "$top"
}

scripts/need.sh c binutils make dpkg-dev rpm
mkdir -p "$OUT"
build
deb
rpm
ls -l "$OUT/${NAME}_$VERSION-1"_*.deb "$OUT/$NAME-$VERSION-1".*.rpm

#!/usr/bin/env bash
# Looks into the packages of target/packages without installing them: what lintian and rpmlint find, whether manual
# pages render, whether completions load in their shells. scripts/systemd-test.sh installs them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NAME=socketio-humble-broker PACKAGES=target/packages
VERSION=$(cargo pkgid --offline | sed 's/.*[#@]//')
readonly VERSION=${VERSION/-/\~}
ROOT=$(mktemp -d)
readonly ROOT SHARE=$ROOT/usr/share
trap 'rm -rf "$ROOT"' EXIT

# What is found and left has its reason in packaging/deb/lintian-overrides and packaging/rpm/rpmlint.toml.
lint() {
    lintian --no-cfg --allow-root --display-info --fail-on error,warning,info "$1"
    # Everything that it finds is an error then.
    rpmlint --strict --config packaging/rpm/rpmlint.toml "$2"
}

# Fails if the command says anything on standard error.
quietly() {
    local said
    said=$({ "$@" >/dev/null; } 2>&1)
    [[ -z $said ]] || {
        echo "packages-test.sh: $*: $said" >&2
        return 1
    }
}

manuals() {
    local page pages=("$SHARE"/man/man1/{socketio,socket.io}-humble-broker.1.gz "$SHARE/man/man5/broker.toml.5.gz")
    for page in "${pages[@]}"; do
        LC_ALL=C.UTF-8 MANWIDTH=80 quietly man --warnings --local-file "$page"
        # Lines are sentences in them, and may be long, which is a matter of style.
        mandoc -T lint -W warning "$page"
        # As it will be listed by whatis(1).
        lexgrog "$page" >/dev/null
        echo "${page##*/}: renders"
    done
}

# Each shell completes the beginning of an option by what the package has brought.
completions() {
    local complete=scripts/packages/complete asked=(timeout 60)
    completed bash "$("${asked[@]}" bash --norc "$complete.bash" "$SHARE/bash-completion/completions/$NAME" "$NAME" --check)"
    completed zsh "$("${asked[@]}" zsh -f "$complete.zsh" "$SHARE/zsh/vendor-completions" "$NAME" --check --check-config)"
    PATH=$ROOT/usr/bin:$PATH
    completed fish "$("${asked[@]}" fish --no-config "$complete.fish" "$SHARE/fish/vendor_completions.d" "$NAME" --check)"
}

completed() {
    if [[ $2 != *--check-config* ]]; then
        echo "packages-test.sh: $1 completes --check by \`$2\`" >&2
        return 1
    fi
    echo "completions of $1: load"
}

scripts/need.sh lintian rpmlint man mandoc zsh fish
deb=$(echo "$PACKAGES/${NAME}_$VERSION-1"_*.deb)
lint "$deb" "$(echo "$PACKAGES/$NAME-$VERSION-1".*.rpm)"
dpkg-deb -x "$deb" "$ROOT"
manuals
completions

#!/usr/bin/env bash
# Installs what is missing on a Debian machine, and only that: `scripts/need.sh c python node`.
set -euo pipefail

# Servers are there, and not everyone looks there.
PATH=$PATH:/usr/sbin
packages=()
for need in "$@"; do
    case $need in
        c) command -v cc >/dev/null || packages+=(gcc libc6-dev) ;;
        c++) command -v c++ >/dev/null || packages+=(g++) ;;
        python)
            command -v python3 >/dev/null || packages+=(python3)
            # Debian splits the module `venv` off, and without `ensurepip` it makes no `pip`.
            python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
            ;;
        node)
            command -v node >/dev/null || packages+=(nodejs)
            command -v npm >/dev/null || packages+=(npm)
            ;;
        prometheus)
            # The package brings both; it may also start a server of its own on port 9090.
            if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
                packages+=(prometheus)
            fi
            ;;
        # What it takes to boot a Debian in namespaces.
        systemd-container)
            command -v systemd-nspawn >/dev/null || packages+=(systemd-container)
            for program in mmdebstrap:mmdebstrap ip:iproute2 unshare:util-linux; do
                command -v "${program%:*}" >/dev/null || packages+=("${program#*:}")
            done
            ;;
        binutils) command -v objdump >/dev/null || packages+=(binutils) ;;
        # It tells which packages a program needs.
        dpkg-dev) command -v dpkg-shlibdeps >/dev/null || packages+=(dpkg-dev) ;;
        # rpmbuild comes with it.
        rpm) command -v rpmbuild >/dev/null || packages+=(rpm) ;;
        man) command -v man >/dev/null || packages+=(man-db) ;;
        lintian | rpmlint | make | mandoc | zsh | fish) command -v "$need" >/dev/null || packages+=("$need") ;;
        # What it takes to build images and run them without a daemon.
        containers)
            for program in podman buildah crun slirp4netns mmdebstrap ip:iproute2 unshare:util-linux; do
                command -v "${program%:*}" >/dev/null || packages+=("${program#*:}")
            done
            ;;
        compose) command -v docker-compose >/dev/null || packages+=(docker-compose) ;;
        qemu) command -v qemu-system-x86_64 >/dev/null || packages+=(qemu-system-x86) ;;
        valgrind) command -v valgrind >/dev/null || packages+=(valgrind) ;;
        # The packages of servers may also start them, the proxies on port 80.
        redis-server | nats-server | nginx | haproxy | caddy | openssl) command -v "$need" >/dev/null || packages+=("$need") ;;
        *)
            echo "need.sh: \`$need\` is not known" >&2
            exit 64
            ;;
    esac
done
((${#packages[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "need.sh: please install ${packages[*]}: this is not root, and there is no sudo" >&2
        exit 69
    fi
    as_root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
    echo "need.sh: please install ${packages[*]}: there is no apt-get" >&2
    exit 69
fi
echo "installing ${packages[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# Standard output belongs to the command that needs the packages.
"${as_root[@]}" apt-get update -q >&2
"${as_root[@]}" apt-get install -q -y --no-install-recommends "${packages[@]}" >&2

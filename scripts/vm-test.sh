#!/usr/bin/env bash
# Boots a machine with a kernel of its own, installs the package of target/packages there, and sees that the limits
# hold which only a kernel can hold: LimitNOFILE= and MemoryMax=. By hand, as it fetches kernels:
#
#   scripts/vm-test.sh [SUITE]...     Debian 12 and 13, if none is named
#
# Needs root, and scripts/packages.sh to have been run. The processor is emulated, which takes minutes, as what is in
# containers often has a /dev/kvm that does not work: ACCEL=kvm where it does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VERSION=$(cargo pkgid --offline | sed 's/.*[#@]//')
readonly VERSION=${VERSION/-/\~} ACCEL=${ACCEL:-tcg}
FOLDER=$(mktemp -d)
readonly FOLDER
trap 'rm -rf "$FOLDER"' EXIT

# What the machine boots from is made once and never written to; the package comes on a disk of its own, a mere archive.
boot() {
    local tree disk kernel
    tree=$(scripts/debian-tree.sh "$1" linux-image-cloud-amd64 python3)
    disk=$tree.disk
    if [[ ! $disk -nt $tree.packages || ! $disk -nt scripts/systemd/vm.service ]]; then
        install -m 644 scripts/systemd/vm.service "$tree/etc/systemd/system/vm.service"
        chroot "$tree" systemctl --quiet enable vm.service
        truncate -s 2G "$disk.draft"
        mkfs.ext4 -q -F -d "$tree" "$disk.draft"
        mv "$disk.draft" "$disk"
    fi
    kernel=$(echo "$tree"/boot/vmlinuz-*)
    tar -cf "$FOLDER/test.tar" -C scripts/systemd vm.py client.py -C ../support asking.py \
        -C ../../target/packages --transform 's,.*\.deb$,broker.deb,' "socketio-humble-broker_$VERSION-1_amd64.deb"
    timeout -s KILL 900 qemu-system-x86_64 -M q35 -accel "$ACCEL" -cpu max -smp 2 -m 2048 -nodefaults \
        -display none -no-reboot -kernel "$kernel" -initrd "${kernel/vmlinuz/initrd.img}" \
        -append "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 systemd.show_status=0" \
        -drive "file=$disk,if=virtio,format=raw,snapshot=on" \
        -drive "file=$FOLDER/test.tar,if=virtio,format=raw,readonly=on" \
        -serial "file:$FOLDER/console" -serial "file:$FOLDER/result"
    cat "$FOLDER/result"
    grep --quiet '^passed' "$FOLDER/result" || {
        tail -n 20 "$FOLDER/console" >&2
        echo "vm-test.sh: failed on $1" >&2
        return 1
    }
}

if ((EUID != 0)); then
    echo "vm-test.sh: the tree of a machine can be made by root only" >&2
    exit 69
fi
scripts/need.sh python systemd-container qemu
(($#)) || set -- bookworm trixie
for suite in "$@"; do
    boot "$suite"
done

#!/bin/bash
# Boot a guest that measures its disks and print what it says.
#
#   guest.sh INIT BLOCKDEV,QUEUES...
#
# BLOCKDEV is what QEMU opens, without "node-name".
set -euo pipefail

init=$1
shift
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

# A second archive adds to what the first one has.
install -m 755 "$init" "$work/bench"
(cd "$work" && echo bench | busybox cpio -o -H newc 2>/dev/null | gzip) >"$work/more"
cat /srv/lab-guest/initrd.img "$work/more" >"$work/initrd"

words=()
for disk in "$@"; do
    number=$((${#words[@]} / 4))
    words+=(-blockdev "${disk%,*},node-name=disk$number")
    words+=(-device "virtio-blk-pci,drive=disk$number,num-queues=${disk##*,}")
done
timeout 300 qemu-system-x86_64 -nodefaults -no-reboot -display none -serial stdio \
    -machine q35,accel=tcg -smp 2 -m 128 \
    -kernel /srv/lab-guest/vmlinuz -initrd "$work/initrd" \
    -append 'console=ttyS0 quiet rdinit=/bench' "${words[@]}" </dev/null | tr -d '\r'

#!/bin/bash
# Give an image a block device on this node, on any kernel: QEMU's storage daemon
# shows it as a file (FUSE), and a loop device is put on that.
#
#   mapped.sh map POOL IMAGE      prints the device
#   mapped.sh unmap POOL IMAGE
set -euo pipefail

verb=$1 pool=$2 image=$3
home=/run/bench/$pool.$image

case $verb in
map)
    mkdir -p "$home"
    touch "$home/image"
    # Without a cache, as the kernel's own rbd is.
    qemu-storage-daemon --daemonize --pidfile "$home/pid" \
        --blockdev "driver=rbd,node-name=image,pool=$pool,image=$image,cache.direct=on" \
        --blockdev driver=raw,node-name=disk,file=image,cache.direct=on \
        --export "type=fuse,id=export,node-name=disk,mountpoint=$home/image,writable=on" \
        >"$home/log"
    # Nothing makes device nodes here by itself; another lab may take the number first.
    for _ in {1..10}; do
        device=$(losetup --find | cut -d ' ' -f 1)
        [[ -b $device ]] || mknod "$device" b 7 "${device#/dev/loop}"
        if losetup --direct-io=on "$device" "$home/image" 2>>"$home/log"; then
            echo "$device" | tee "$home/device"
            exit
        fi
    done
    cat "$home/log" >&2
    exit 1
    ;;
unmap)
    [[ ! -e $home/device ]] || losetup --detach "$(<"$home/device")"
    if [[ -e $home/pid ]]; then
        pid=$(<"$home/pid")
        kill "$pid"
        while [[ -d /proc/$pid ]]; do sleep 0.1; done
    fi
    rm -rf "$home"
    ;;
esac

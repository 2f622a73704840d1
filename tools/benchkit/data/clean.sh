#!/bin/bash
# Take a Ceph cluster off this node again, with all that its disk holds.
#
#   clean.sh DISK
set -uo pipefail

disk=$1

units=()
for data in /var/lib/ceph/{mon,mgr,osd}/ceph-*; do
    if [[ -d $data ]]; then
        kind=${data%/*}
        units+=("ceph-${kind##*/}@${data##*/ceph-}.service")
    fi
done
if ((${#units[@]})); then
    # What they hold is thrown away, they need not close it in an orderly way.
    systemctl kill --signal=KILL "${units[@]}" 2>/dev/null
    systemctl --quiet disable --now "${units[@]}"
    systemctl reset-failed "${units[@]}" 2>/dev/null
fi
rm -rf /etc/ceph/ceph.conf /etc/ceph/*.keyring /var/lib/ceph/{mon,mgr,osd,crash}/*ceph* \
    /var/log/ceph/*.log /etc/systemd/system/ceph-osd@.service.d
systemctl daemon-reload

device=$(readlink -f "$disk")
chown root:disk "$device"
blkdiscard --force "$device" 2>/dev/null
for end in 0 $(($(blockdev --getsize64 "$device") / 1048576 - 100)); do
    dd if=/dev/zero of="$device" bs=1M count=100 seek="$end" conv=fsync status=none || exit
done
blkdiscard --force "$device" 2>/dev/null

# Nothing of the run may still be on its way to the disk during the next one.
sync
for left in /var/lib/ceph/{mon,mgr,osd}/*; do
    if [[ -e $left ]]; then
        echo "clean.sh: $left is still there" >&2
        exit 1
    fi
done

#!/bin/bash
# Give a storage cluster one more host with an OSD by hand: what tools/bench measures
# "gnt-node add" against.  It runs on a host with the administrator's key.
#
#   grow.sh DISK HOST
set -euo pipefail

disk=$1 host=$2
uuid=$(cat /proc/sys/kernel/random/uuid)
key=$(ceph-authtool --gen-print-key)
id=$(echo "{\"cephx_secret\": \"$key\"}" | ceph osd new "$uuid" -i -)
conf=$(cat /etc/ceph/ceph.conf)
client_keyring=$(cat /etc/ceph/ceph.client.ganeti.keyring)

make_osd() {
    local data=/var/lib/ceph/osd/ceph-$id
    mkdir -p /etc/ceph /etc/systemd/system/ceph-osd@.service.d
    echo "$conf" >/etc/ceph/ceph.conf
    (umask 077 && echo "$client_keyring" >/etc/ceph/ceph.client.ganeti.keyring)
    # Device nodes are made anew at each boot and belong to root.
    cat >/etc/systemd/system/ceph-osd@.service.d/10-block.conf <<'END'
[Service]
ExecStartPre=+/bin/sh -c 'chown ceph:ceph "$$(readlink -f /var/lib/ceph/osd/${CLUSTER}-%i/block)"'
END
    systemctl daemon-reload
    install --directory --owner=ceph --group=ceph --mode=750 "$data"
    ln -s "$disk" "$data/block"
    chown ceph:ceph "$(readlink -f "$disk")"
    (umask 077 && printf '[osd.%s]\n\tkey = %s\n' "$id" "$key" >"$data/keyring")
    chown ceph:ceph "$data/keyring"
    ceph-osd --mkfs --id "$id" --osd-uuid "$uuid" --osd-objectstore bluestore \
        --no-mon-config --setuser ceph --setgroup ceph 2>/dev/null
    systemctl --quiet --no-reload enable --now "ceph-osd@$id"
    systemctl daemon-reload
}

{
    echo 'set -euo pipefail'
    declare -p disk uuid key id conf client_keyring
    declare -f make_osd
    echo make_osd
} | ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR \
    "$host" bash -s

#!/bin/bash
# Make a Ceph cluster by hand, as fast as a script can: what tools/bench measures
# "gnt-storage init-distributed-storage" against.
#
#   deploy.sh DISK POOL PG_NUM HOST=ADDRESS...
#
# It runs on the first host and reaches the others with ssh.  The result is that of
# our command: mons on the first three hosts, mgrs on the first two, a BlueStore OSD
# straight on DISK of every host, all of them units that systemd starts at boot, and
# a pool for RBD images; it ends when the cluster is healthy and every placement
# group is active+clean.  Where it is quick, it is for these reasons:
#
# * one ssh session per host does all that is to be done there;
# * hosts work in parallel, and on a host mgr and OSD do;
# * the pool is made while the OSDs are (they need not be up for that);
# * nothing sleeps for what can be asked for, and a client that finds no quorum yet
#   asks again after a fraction of a second, not after Ceph's three.
#
# It refuses nothing, checks nothing and cannot be run again: it is for bare hosts.
set -euo pipefail

disk=$1 pool=$2 pg_num=$3
shift 3
hosts=("$@")
mons=("${hosts[@]:0:3}")
mgrs=("${hosts[@]:0:2}")

size=$((${#hosts[@]} < 3 ? ${#hosts[@]} : 3))
fsid=$(cat /proc/sys/kernel/random/uuid)
export CEPH_ARGS="--mon_client_hunt_interval=0.3"

umask 077
work=$(mktemp --directory /run/deploy.XXXXXX)
trap 'rm -rf "$work"' EXIT

address() { echo "${1#*=}"; }
host() { echo "${1%%=*}"; }
vector() { echo "[v2:$(address "$1"):3300,v1:$(address "$1"):6789]"; }

# --- What all hosts get, made once ------------------------------------------------

mon_host=$(for mon in "${mons[@]}"; do vector "$mon"; done | paste -sd,)
conf="[global]
fsid = $fsid
mon_initial_members = $(for mon in "${mons[@]}"; do host "$mon"; done | paste -sd,)
mon_host = $mon_host
public_network = $(address "${hosts[0]}" | cut -d. -f1-3).0/24
mon_data_avail_warn = 5"

mon_key=$(ceph-authtool --gen-print-key)
admin_key=$(ceph-authtool --gen-print-key)
admin_keyring="[client.admin]
	key = $admin_key
	caps mds = \"allow *\"
	caps mgr = \"allow *\"
	caps mon = \"allow *\"
	caps osd = \"allow *\""
mon_keyring="[mon.]
	key = $mon_key
	caps mon = \"allow *\"
$admin_keyring"

members=()
for mon in "${mons[@]}"; do members+=(--addv "$(host "$mon")" "$(vector "$mon")"); done
monmaptool --create --fsid "$fsid" "${members[@]}" "$work/monmap" >"$work/log"
monmap=$(base64 --wrap=0 "$work/monmap")

# --- What runs on a host ----------------------------------------------------------

configure() {
    umask 022
    mkdir -p /etc/ceph /etc/systemd/system/ceph-osd@.service.d
    echo "$conf" >/etc/ceph/ceph.conf
    (umask 077 && echo "$admin_keyring" >/etc/ceph/ceph.client.admin.keyring)
    # Device nodes are made anew at each boot and belong to root.
    cat >/etc/systemd/system/ceph-osd@.service.d/10-block.conf <<'END'
[Service]
ExecStartPre=+/bin/sh -c 'chown ceph:ceph "$$(readlink -f /var/lib/ceph/osd/${CLUSTER}-%i/block)"'
END
}

make_mon() {
    local data=/var/lib/ceph/mon/ceph-$1 scratch
    scratch=$(mktemp --directory /run/mon.XXXXXX)
    base64 --decode <<<"$monmap" >"$scratch/monmap"
    echo "$mon_keyring" >"$scratch/keyring"
    chown -R ceph:ceph "$scratch"
    install --directory --owner=ceph --group=ceph --mode=750 "$data"
    ceph-mon --mkfs --id "$1" --monmap "$scratch/monmap" --keyring "$scratch/keyring" \
        --setuser ceph --setgroup ceph
    rm -rf "$scratch"
    systemctl --quiet --no-reload enable --now "ceph-mon@$1"
}

make_mgr() {
    local data=/var/lib/ceph/mgr/ceph-$1
    install --directory --owner=ceph --group=ceph --mode=750 "$data"
    (umask 077 && ceph auth get-or-create "mgr.$1" \
        mon 'allow profile mgr' osd 'allow *' mds 'allow *' >"$data/keyring")
    chown ceph:ceph "$data/keyring"
    systemctl --quiet --no-reload enable --now "ceph-mgr@$1"
}

make_osd() {
    local id uuid key data
    uuid=$(cat /proc/sys/kernel/random/uuid)
    key=$(ceph-authtool --gen-print-key)
    id=$(echo "{\"cephx_secret\": \"$key\"}" | ceph osd new "$uuid" -i -)
    data=/var/lib/ceph/osd/ceph-$id
    install --directory --owner=ceph --group=ceph --mode=750 "$data"
    ln -s "$disk" "$data/block"
    chown ceph:ceph "$(readlink -f "$disk")"
    (umask 077 && printf '[osd.%s]\n\tkey = %s\n' "$id" "$key" >"$data/keyring")
    chown ceph:ceph "$data/keyring"
    ceph-osd --mkfs --id "$id" --osd-uuid "$uuid" --osd-objectstore bluestore \
        --no-mon-config --setuser ceph --setgroup ceph 2>/dev/null
    systemctl --quiet --no-reload enable --now "ceph-osd@$id"
}

on_host() {
    configure
    if [[ $is_mon ]]; then make_mon "$name"; fi
    # With the drop-in of the OSDs, which start later, and while a quorum forms.
    systemctl daemon-reload
    local mgr=
    if [[ $is_mgr ]]; then
        make_mgr "$name" &
        mgr=$!
    fi
    make_osd
    # Not waited for by anything: so that the targets know the units, too.
    systemctl daemon-reload
    if [[ $mgr ]]; then wait "$mgr"; fi
}

# Prints the program for a host: these functions, and what they are to work with.
program() {
    local name is_mon="" is_mgr=""
    name=$(host "$1")
    if [[ " ${mons[*]} " == *" $1 "* ]]; then is_mon=yes; fi
    if [[ " ${mgrs[*]} " == *" $1 "* ]]; then is_mgr=yes; fi
    echo 'set -euo pipefail'
    declare -p name is_mon is_mgr disk conf admin_keyring mon_keyring monmap
    declare -f configure make_mon make_mgr make_osd on_host
    declare -p CEPH_ARGS
    echo on_host
}

# --- All hosts, and meanwhile what holds for the whole cluster --------------------

make_hosts=()
program "${hosts[0]}" | bash -s &
make_hosts+=($!)
for other in "${hosts[@]:1}"; do
    program "$other" | ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new \
        -o LogLevel=ERROR "$(host "$other")" bash -s &
    make_hosts+=($!)
done

until [[ -e /etc/ceph/ceph.client.admin.keyring && -e /etc/ceph/ceph.conf ]]; do
    sleep 0.05
done
# Each of these waits for the quorum.
{
    # Ceph 18's module restful loads nowhere on Debian 13.
    ceph mgr module disable restful 2>/dev/null
    ceph config set global auth_allow_insecure_global_id_reclaim false
} &
settings=$!
{
    ceph osd pool create "$pool" "$pg_num" "$pg_num" replicated replicated_rule \
        --autoscale-mode=off --size="$size"
    ceph osd pool application enable "$pool" rbd
} 2>"$work/pool" || { cat "$work/pool" >&2; exit 1; }

wait "$settings"
for process in "${make_hosts[@]}"; do wait "$process"; done

# --- Healthy, and every placement group of the pool known and clean ---------------

clean() {
    python3 -c '
import json, sys
status, wanted = json.load(sys.stdin), int(sys.argv[1])
states = {s["state_name"]: s["count"] for s in status["pgmap"]["pgs_by_state"]}
clean = states == {"active+clean": status["pgmap"]["num_pgs"]} and sum(states.values())
sys.exit(not (status["health"]["status"] == "HEALTH_OK" and clean >= wanted))
' "$1"
}
until ceph status --format json | clean "$pg_num"; do
    if ((SECONDS > 180)); then
        ceph status >&2
        exit 1
    fi
    sleep 0.2
done

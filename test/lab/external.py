"""A storage cluster that somebody else runs: one daemon of each kind, made by hand.

It is beside the lab's own on node1, with ports, directories and keys of its own, and
has one copy of all data.  Its pools may have the same names.
"""

import contextlib
from collections.abc import Iterator

from conftest import TestLab

NODES = ("node1", "node2", "node3")
#: Ceph names a cluster, and with it keyrings, after the configuration file.
CONF = "/etc/ceph/far.conf"
USER = "far"
#: What tests that look at a pool put before its name, see inside.py.
PREFIX = "far:"
FSID = "0f1a75c6-9a4d-4a57-9a0e-3f5a0e6f1b11"

_FILES = "/srv/far"
_MONS = "[v2:10.77.0.1:4300,v1:10.77.0.1:4789]"
_CONF = f"""[global]
fsid = {FSID}
mon_host = {_MONS}
osd_pool_default_size = 1
mon_allow_pool_size_one = true
bluestore_block_size = {4 * 2**30}
mon_data = {_FILES}/mon
mgr_data = {_FILES}/mgr
osd_data = {_FILES}/osd
"""
_MAKE = f"""
set -e
umask 77
ceph() {{ command timeout 60 ceph --cluster far "$@"; }}
mkdir {_FILES}
cd {_FILES}
mkdir mon mgr osd
admin=/etc/ceph/far.client.admin.keyring
ceph-authtool -C keyring --gen-key -n mon. --cap mon 'allow *'
ceph-authtool -C $admin --gen-key -n client.admin \
  --cap mon 'allow *' --cap mgr 'allow *' --cap osd 'allow *'
ceph-authtool keyring --import-keyring $admin
monmaptool --create --fsid {FSID} --enable-all-features --addv a '{_MONS}' monmap
ceph-mon --cluster far -i a --mkfs --monmap monmap --keyring keyring
systemd-run -q --unit far-mon ceph-mon -f --cluster far -i a
ceph auth get-or-create mgr.a mon 'profile mgr' osd 'allow *' -o mgr/keyring
systemd-run -q --unit far-mgr ceph-mgr -f --cluster far -i a
uuid=$(cat /proc/sys/kernel/random/uuid)
id=$(ceph osd new $uuid)
ceph auth get-or-create osd.$id mon 'profile osd' mgr 'profile osd' osd 'allow *' \
  -o osd/keyring
ceph-osd --cluster far -i $id --mkfs --osd-uuid $uuid
systemd-run -q --unit far-osd ceph-osd -f --cluster far -i $id
ceph osd pool create {{pool}} 4
timeout 60 rbd --cluster far pool init {{pool}}
ceph auth get-or-create client.{USER} \
  mon 'profile rbd' osd 'profile rbd pool={{pool}}' -o client
"""
_END = (
    "systemctl stop far-osd far-mgr far-mon 2>/dev/null;"
    f" rm -rf {_FILES} /etc/ceph/far.* /run/ceph/far-* /var/log/ceph/far[.-]*"
)


@contextlib.contextmanager
def made(lab: TestLab, pool: str) -> Iterator[None]:
    """Have such a storage cluster with a pool, and a user's key on all nodes."""
    try:
        for node in NODES:
            lab.run(node, f"cat > {CONF}", stdin=_CONF)
        lab.run("node1", "bash", stdin=_MAKE.replace("{pool}", pool))
        key = lab.run("node1", f"cat {_FILES}/client").stdout
        keyring = f"umask 77; cat > /etc/ceph/far.client.{USER}.keyring"
        for node in NODES:
            lab.run(node, keyring, stdin=key)
        yield
    finally:
        for node in NODES:
            lab.run(node, _END)

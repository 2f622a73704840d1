"""A storage cluster that speaks IPv6 alone, with a single mon."""

from conftest import NewLab
from guests import Guest
from test_init import DISK, INIT, modify, wait_healthy


def test_a_storage_cluster_on_ipv6(new_lab: NewLab) -> None:
    lab = new_lab()
    network = lab.run(
        "node1",
        "ip -6 -o address show scope global | awk '{print $4}' | head -n 1 | python3"
        " -c 'import ipaddress; print(ipaddress.ip_interface(input()).network)'",
    ).stdout.strip()
    modify(lab, f"ceph:disk={DISK},public-network={network},mon-count=1")
    lab.run("node1", INIT, timeout=400)
    wait_healthy(lab)
    assert "v2:[" in lab.run("node1", "ceph mon dump").stdout

    # The administrator's key is with the mon, and disks need it nowhere else.
    for node, kept in ("node1", 0), ("node2", 1), ("node3", 1):
        admin = "test -e /etc/ceph/ceph.client.admin.keyring"
        assert lab.run(node, admin, check=False).returncode == kept
    lab.run("node1", "ceph osd pool create more 4; rbd pool init more")
    guest = Guest(lab, "guest4.lab.example", "more")
    guest.gnt(
        "add -t rbd -o lab-guest -B memory=128M -n node2 --no-install"
        " --disk 0:size=1G,pool=more"
    )
    assert guest.written(1).verdict == "FIRST"
    guest.gnt("grow-disk", "0", "128M")
    guest.gnt("migrate -f -n node3")
    guest.gnt("remove -f --shutdown-timeout=0")

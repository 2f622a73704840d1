"""A storage cluster that speaks IPv6 alone."""

from conftest import NewLab
from test_init import DISK, INIT, modify, wait_healthy


def test_a_storage_cluster_on_ipv6(new_lab: NewLab) -> None:
    lab = new_lab()
    network = lab.run(
        "node1",
        "ip -6 -o address show scope global | awk '{print $4}' | head -n 1 | python3"
        " -c 'import ipaddress; print(ipaddress.ip_interface(input()).network)'",
    ).stdout.strip()
    modify(lab, f"ceph:disk={DISK},public-network={network}")
    lab.run("node1", INIT, timeout=400)
    wait_healthy(lab)
    assert "v2:[" in lab.run("node1", "ceph mon dump").stdout

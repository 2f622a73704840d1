"""A storage cluster of a rarer kind: IPv6 alone, one mon, racks in datacenters."""

import json

import pytest
from conftest import NewLab, TestLab
from guests import Guest
from test_collector import await_metrics, report
from test_init import DISK, INIT, modify, wait_healthy

pytestmark = pytest.mark.slow


def test_a_storage_cluster_on_ipv6(new_lab: NewLab) -> None:
    lab = new_lab()
    network = lab.run(
        "node1",
        "ip -6 -o address show scope global | awk '{print $4}' | head -n 1 | python3"
        " -c 'import ipaddress; print(ipaddress.ip_interface(input()).network)'",
    ).stdout.strip()
    modify(lab, f"ceph:disk={DISK},public-network={network},mon-count=1")
    modify(lab, "ceph:failure-domain=datacenter")
    for node in "node1", "node2", "node3":
        lab.run("node1", f"gnt-node add-tags {node} ceph:rack:of-{node}")
    for node in "node1", "node2":
        lab.run("node1", f"gnt-node add-tags {node} ceph:datacenter:dc-{node}")
    done = lab.run("node1", INIT, check=False)
    assert "gnt-node add-tags node3.lab.example ceph:datacenter:NAME" in done.stderr
    lab.run("node1", "gnt-node add-tags node3 ceph:datacenter:dc-node3")
    lab.run("node1", INIT, timeout=400)
    wait_healthy(lab)
    nodes = ("node1", "node2", "node3")
    assert children_by(lab, "rack") == {f"of-{node}": [node] for node in nodes}
    places = {f"dc-{node}": [f"of-{node}"] for node in nodes}
    assert children_by(lab, "datacenter") == places
    rules = json.loads(lab.run("node1", "ceph osd crush rule dump -f json").stdout)
    (rule,) = (one for one in rules if one["rule_name"] == "ganeti-datacenter")
    assert any(step.get("type") == "datacenter" for step in rule["steps"])
    assert "v2:[" in lab.run("node1", "ceph mon dump").stdout

    # The one collector that tells of the storage cluster is the mon's.
    seen = await_metrics(lab, lambda seen: seen.values("health_status") == [0])
    assert seen.value("up", node="node3.lab.example") == 1
    mons = report(lab, "node1", "ceph-cluster")["mons"]
    assert [":" in mon["address"] for mon in mons] == [True]

    # The administrator's key is with the mon, and disks need it nowhere else.
    for node, kept in ("node1", 0), ("node2", 1), ("node3", 1):
        admin = "test -e /etc/ceph/ceph.client.admin.keyring"
        assert lab.run(node, admin, check=False).returncode == kept
    lab.run("node1", "ceph osd pool create more 4; rbd pool init more")
    guest = Guest(lab, "guest4.lab.example", "more")
    guest.gnt(
        "add -t rbd -o lab-guest -B memory=128M -n node2 --disk 0:size=1G,pool=more"
    )
    assert guest.written(1).verdict == "FIRST"
    guest.gnt("grow-disk", "0", "128M")
    guest.gnt("migrate -f -n node3")
    guest.gnt("remove -f --shutdown-timeout=0")

    # It was carried elsewhere.
    lab.run("node1", "gnt-node remove-tags node3 ceph:rack:of-node3")
    lab.run("node1", "gnt-node add-tags node3 ceph:rack:r4")
    shown = lab.run("node1", "gnt-storage status").stdout
    assert "to do: move host node3 to datacenter dc-node3, rack r4 in the" in shown
    lab.run("node1", "gnt-storage repair", timeout=300)
    assert children_by(lab, "rack")["r4"] == ["node3"]
    assert "r4" in children_by(lab, "datacenter")["dc-node3"]
    said = lab.run("node1", "gnt-storage repair", timeout=300).stdout
    assert "there is nothing to do" in said


def children_by(lab: TestLab, kind: str) -> dict[str, list[str]]:
    """Return what is in each bucket of a CRUSH type that has anything in it."""
    tree = json.loads(lab.run("node1", "ceph osd tree -f json").stdout)["nodes"]
    names = {node["id"]: node["name"] for node in tree}
    return {
        node["name"]: [names[child] for child in node["children"]]
        for node in tree
        if node["type"] == kind and node["children"]
    }

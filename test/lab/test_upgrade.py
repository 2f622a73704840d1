"""Ceph is upgraded node by node, while a guest writes, and what is told meanwhile.

There is but one version of Ceph in the archive.  The other one is the same programs,
which say that they are one patch level further, in packages that say so, too.
"""

import dataclasses
import re
import time
from collections.abc import Iterator

import pytest
from conftest import NewLab, TestLab
from guests import Guest
from test_collector import await_metrics
from test_init import DISK, INIT, modify
from test_nodes import ADD, ceph, nothing_to_do, osds, status, wait_clean

pytestmark = pytest.mark.slow

NODES = ("node1", "node2", "node3")
#: What Debian has, and what stands for its update.
VERSIONS = {"bookworm": ("16.2.15", "16.2.16"), "trixie": ("18.2.7", "18.2.8")}
PROGRAMS = (
    "/usr/bin/ceph-mon /usr/bin/ceph-mgr /usr/bin/ceph-osd"
    " /usr/lib/*/ceph/libceph-common.so.2"
)
DAEMONS = "'ceph-mon@*' 'ceph-mgr@*' 'ceph-osd@*'"


@pytest.fixture(scope="module")
def lab(new_lab: NewLab) -> Iterator[TestLab]:
    lab = new_lab()
    modify(lab, f"ceph:disk={DISK}")
    lab.run("node1", INIT, timeout=400)
    nothing_to_do(lab)
    yield lab
    old, new = VERSIONS[lab.release]
    for node in NODES:
        install(lab, node, new, old)
        lab.run(node, f"systemctl restart {DAEMONS}")
        wait_clean(lab)
    nothing_to_do(lab)


@pytest.fixture(scope="module")
def guest(lab: TestLab) -> Iterator[Guest]:
    guest = Guest(lab, "guest1.lab.example")
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node2 --disk 0:size=1G")
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0")


def install(lab: TestLab, node: str, before: str, after: str) -> None:
    """Put other programs in the place of a node's; what runs, runs on as it was."""
    dots = before.replace(".", r"\.")
    lab.run(
        node,
        f"export LC_ALL=C; for f in {PROGRAMS}; do"
        f" ! grep -qF {before} $f || sed -i 's/{dots}/{after}/' $f; done;"
        f" sed -i 's/^Version: {dots}/Version: {after}/' /var/lib/dpkg/status;"
        f" ceph-osd --version | grep -F {after}",
    )


def running(lab: TestLab, master: str = "node1") -> dict[str, int]:
    """Return the versions of Ceph that run, and how many daemons are of each."""
    found: dict[str, int] = {}
    for text, count in ceph(lab, "versions", master)["overall"].items():
        found[text.split()[2]] = count
    return found


def all_run(lab: TestLab, daemons: int) -> None:
    """Wait until so many daemons run."""
    end = time.monotonic() + 90
    while sum(running(lab).values()) != daemons:
        assert time.monotonic() < end
        time.sleep(1)


def verified(lab: TestLab, master: str = "node1") -> str:
    """Return what gnt-cluster verify says of the storage cluster."""
    done = lab.run(master, "gnt-cluster verify", check=False, timeout=300)
    assert "* Verifying the storage cluster" in done.stdout, done.stderr
    return done.stdout


def writes(guest: Guest, boot: int) -> None:
    """See that the guest goes on writing, and that all it wrote is whole."""
    now = guest.written(boot)
    later = guest.written(boot, now.beat + 1)
    assert later.whole == later.blocks == 16


def test_daemons_that_are_older_than_their_packages_are_told(lab: TestLab) -> None:
    old, new = VERSIONS[lab.release]
    stale = (
        f"daemons of Ceph {old} run there, and {new} is installed: 'gnt-node modify"
        " --offline=yes node3.lab.example', then 'gnt-node add --readd"
        " node3.lab.example' has them start anew"
    )
    install(lab, "node3", old, new)
    try:
        before = running(lab)
        assert set(before) == {old}
        (osd,) = osds(lab)["node3"]
        lab.run("node3", f"systemctl restart ceph-osd@{osd}")
        all_run(lab, sum(before.values()))
        assert running(lab) == {old: before[old] - 1, new: 1}
        told = {"daemon": f"osd.{osd}", "version": new}
        await_metrics(lab, lambda seen: seen.values("daemon_info", **told) == [1], 120)
        for said in (verified(lab), status(lab)):
            assert f"node3.lab.example: {stale}" in said
            assert said.count("run there, and") == 1
            (line,) = re.findall("Ceph's packages are of different versions: .*", said)
            assert re.search(
                rf"{re.escape(new)}\S* on node3.lab.example; upgrade", line
            )
            assert "'gnt-node modify --offline=yes'" in line
    finally:
        install(lab, "node3", new, old)
    # Now it is the other way round.
    said = status(lab)
    assert f"daemons of Ceph {new} run there, and {old} is installed" in said
    lab.run("node3", f"systemctl restart ceph-osd@{osd}")
    all_run(lab, sum(before.values()))
    assert running(lab) == before
    nothing_to_do(lab)


def test_nodes_are_upgraded_one_by_one_while_a_guest_writes(guest: Guest) -> None:
    """The chapter "Upgrading" of the guide."""
    lab = guest.lab
    old, new = VERSIONS[lab.release]
    boot = 1
    writes(guest, boot)
    for node, other in (("node2", "node3"), ("node3", "node2"), ("node1", "node2")):
        if node == "node1":
            lab.run("node2", "gnt-cluster master-failover", timeout=300)
            guest = dataclasses.replace(guest, master="node2")
        master = guest.master
        if guest.node() == node:
            if guest.survives_migration:
                lab.run(master, f"gnt-node migrate -f -n {other} {node}", timeout=300)
            else:
                guest.gnt(f"failover -f -n {other}")
                boot += 1
        lab.run(master, f"gnt-node modify --offline=yes {node}", timeout=300)
        install(lab, node, old, new)
        writes(guest, boot)
        lab.run(master, [*ADD, "--readd", f"{node}.lab.example"], timeout=400)
        wait_clean(lab, node=master)
        writes(guest, boot)
        # Old and new ones side by side, and all of each node is of one kind.
        last = node == "node1"
        assert set(running(lab, master)) == ({new} if last else {old, new})
        # Ceph tells a daemon's version when it heard of the new one.
        end = time.monotonic() + 60
        while "run there, and" in (said := verified(lab, master)):
            assert time.monotonic() < end, said
        assert ("packages are of different versions" in said) != last
    lab.run("node1", "gnt-cluster master-failover", timeout=300)
    nothing_to_do(lab)
    writes(dataclasses.replace(guest, master="node1"), boot)

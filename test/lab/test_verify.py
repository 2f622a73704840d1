"""gnt-cluster verify, verify-disks and repair-disk-sizes on disks in the cluster.

One verification sees all that can be wrong with images at the same time.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import TestLab
from guests import Guest, hold, images

NODES = ("node1", "node2", "node3")
ORPHAN = "5b6a3ad2-2d6e-4b0c-9a5e-0d3f6a1c7e11.rbd.disk0"
FAR = "5b6a3ad2-2d6e-4b0c-9a5e-0d3f6a1c7e12.rbd.disk0"
OTHER = "somebodys-backup"
#: The address of a host on the nodes' network that is no node.
BESIDE = "10.77.0.200"
#: Seconds by which a storage cluster that is down may delay a verification.
DELAY = 90

#: Maps an image, says so, and unmaps it when standard input ends.
MAP = """
from ganeti_ceph.disk import image, mappers
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
import sys
volume = Volume("rbd", sys.argv[2], user="ganeti")
if sys.argv[1] == "map":
    print(mappers.map(volume, Mapper.AUTO, image.features(volume)))
else:
    mappers.unmap(volume)
"""


@pytest.fixture(scope="module")
def stopped(lab: TestLab) -> Iterator[Guest]:
    """A guest on node2 that does not run, with three disks; there is no other one."""
    found = lab.run("node1", "gnt-instance list --no-headers -o name").stdout
    for instance in found.split():
        lab.run("node1", f"gnt-instance remove -f --shutdown-timeout=0 {instance}")
    guest = Guest(lab, "guest5.lab.example")
    disks = " ".join(f"--disk {index}:size=1G" for index in range(3))
    guest.gnt(
        "add -t rbd -o lab-guest --no-install --no-start --no-wait-for-sync"
        f" -B memory=128M -n node2 {disks}"
    )
    yield guest
    guest.gnt("remove -f")


@pytest.fixture(scope="module")
def running(stopped: Guest) -> Iterator[Guest]:
    """A guest that runs on node1."""
    guest = Guest(stopped.lab, "guest6.lab.example")
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node1 --disk 0:size=1G")
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0")


def verify(lab: TestLab, *options: str) -> list[str]:
    """Return what is said of images, and all faults but those of a container."""
    words = ["gnt-cluster", "verify", "--error-codes", *options]
    said = lab.run("node1", words, check=False, timeout=300).stdout
    # All of it was done.
    for part in ("Verifying images in", "Verifying N+1 Memory", "Hooks Results"):
        assert f"* {part}" in said, said
    lines = re.findall(r"- ((?:ERROR|WARNING):.*)", said)
    return sorted(line for line in lines if ":ENODESETUP:" not in line)


@contextlib.contextmanager
def image(lab: TestLab, name: str, cluster: str = "") -> Iterator[None]:
    """Have another image in the pool."""
    lab.run("node1", f"rbd create --size 1M rbd/{name}")
    if cluster:
        lab.run("node1", f"rbd image-meta set rbd/{name} ganeti.cluster {cluster}")
    yield
    lab.run("node1", f"rbd rm --no-progress rbd/{name}")


@contextlib.contextmanager
def mapped(lab: TestLab, node: str, name: str) -> Iterator[str]:
    """Have an image mapped on a node, and not by Ganeti."""
    python = ["python3", "-c", MAP]
    yield lab.run(node, [*python, "map", name]).stdout.strip()
    lab.run(node, [*python, "unmap", name])


@pytest.fixture(scope="module")
def usual(running: Guest) -> tuple[list[str], float]:
    """What is said where all is well, and how many seconds that takes."""
    running.written(boot=1)
    begun = time.monotonic()
    faults = verify(running.lab)
    return faults, time.monotonic() - begun


def test_what_is_as_it_should_be_is_not_mentioned(
    running: Guest, usual: tuple[list[str], float]
) -> None:
    faults, _ = usual
    assert faults == []
    said = running.lab.run("node1", "gnt-cluster verify-disks").stdout
    assert "No disks need to be activated" in said


def test_images_that_are_missing_left_over_or_misplaced_are_told(
    stopped: Guest, running: Guest
) -> None:
    lab = stopped.lab
    lost, held, moved = stopped.images()
    lab.run("node1", f"rbd mv rbd/{lost} rbd/lost")
    try:
        with (
            image(lab, ORPHAN),
            image(lab, FAR, cluster="far.example.org"),
            image(lab, OTHER),
            hold(lab, "node3", held),
            mapped(lab, "node1", moved) as device,
        ):
            faults = verify(lab)
    finally:
        lab.run("node1", f"rbd mv rbd/lost rbd/{lost}")

    of_guest = f"instance:{stopped.name}:disk"
    node = "node1.lab.example"
    primary = (
        "but its primary node is node2.lab.example; if a migration left it behind,"
        " start the instance, then 'gnt-instance migrate --cleanup -n {}"
        f" {stopped.name}' takes it away"
    )
    assert faults == [
        f"ERROR:EINSTANCEMISSINGDISK:{of_guest}/0: the image rbd/{lost} is missing;"
        " was it removed or renamed?",
        f"ERROR:EINSTANCEWRONGNODE:{of_guest}/1: the image rbd/{held} is open on"
        f" node3.lab.example, {primary.format('node3.lab.example')}",
        f"ERROR:EINSTANCEWRONGNODE:{of_guest}/2: the image rbd/{moved} is mapped to"
        f" {device} on {node}, {primary.format(node)}",
        f"WARNING:ENODEORPHANLV:node:{node}:the image rbd/{ORPHAN} is of no instance;"
        f" if nobody needs it, remove it with 'rbd rm rbd/{ORPHAN}'",
    ]


def test_who_has_an_image_open_is_found_also_where_an_osd_does_not_tell(
    stopped: Guest,
) -> None:
    lab, node = stopped.lab, "node1"
    at_home, held, _ = stopped.images()
    sockets = "/run/ceph/ceph-osd.*.asok"
    lab.run(node, f"for one in {sockets}; do mv $one $one.away; done")
    try:
        with hold(lab, "node3", held), hold(lab, "node2", at_home):
            fault, warning = verify(lab)
    finally:
        lab.run(node, f"for one in {sockets}.away; do mv $one ${{one%.away}}; done")
    assert "EINSTANCEWRONGNODE" in fault
    assert f"/1: the image rbd/{held} is open on node3.lab.example" in fault
    assert warning == (
        f"WARNING:EINSTANCEWRONGNODE:instance:{stopped.name}:disk/0: the image"
        f" rbd/{at_home} is open on node2.lab.example, but the instance's disks are not"
        " active"
    )


@contextlib.contextmanager
def beside(lab: TestLab, node: str) -> Iterator[list[str]]:
    """Have a host on the nodes' network that is no node, and how commands run there."""
    lab.run(
        node,
        "ip netns add beside; ip link add beside type veth peer name eth0 netns beside;"
        " ip link set beside master br0 up; ip -n beside link set eth0 up;"
        f" ip -n beside address add {BESIDE}/24 dev eth0",
    )
    yield ["ip", "netns", "exec", "beside"]
    lab.run(node, "ip netns delete beside")


def test_an_image_that_is_open_at_no_nodes_address_is_told(stopped: Guest) -> None:
    lab = stopped.lab
    image, *_ = stopped.images()
    with beside(lab, "node3") as there, hold(lab, "node3", image, there=there):
        (warning,) = verify(lab)
    assert warning == (
        f"WARNING:EINSTANCEWRONGNODE:instance:{stopped.name}:disk/0: the image"
        f" rbd/{image} is open at {BESIDE}, which is no node's address"
    )


def test_a_missing_image_of_active_disks_is_told(running: Guest) -> None:
    lab = running.lab
    (name,) = running.images()
    lab.run("node1", f"rbd mv rbd/{name} rbd/lost")
    try:
        faults = verify(lab, "--ignore-errors=EINSTANCEMISSINGDISK")
        disks = lab.run("node1", "gnt-cluster verify-disks", check=False)
    finally:
        lab.run("node1", f"rbd mv rbd/lost rbd/{name}")
    # Ganeti's line, and ours with the code that was to be ignored.
    first, second = faults
    assert first.startswith(f"ERROR:EINSTANCEFAULTYDISK:instance:{running.name}:")
    assert first.endswith(f": the storage cluster has no image rbd/{name}")
    assert second.startswith(f"WARNING:EINSTANCEMISSINGDISK:instance:{running.name}:")
    assert disks.returncode == 1
    assert f"Instance {running.name} has missing" in disks.stdout
    assert f"rbd/{name}" in disks.stdout


def test_sizes_are_repaired(stopped: Guest) -> None:
    lab = stopped.lab
    _, second, _ = stopped.images()
    lab.run("node1", f"rbd resize --no-progress --size 2G rbd/{second}")
    said = lab.run("node1", f"gnt-cluster repair-disk-sizes {stopped.name}").stdout
    assert "Disk 1 of instance guest5.lab.example has mismatched size" in said
    assert said.count("mismatched") == 1
    sizes = "gnt-instance list --no-headers -o disk.sizes " + stopped.name
    assert lab.run("node1", sizes).stdout.strip() == "1024,2048,1024"
    assert images(lab)[second] == 2048


def test_a_cluster_that_is_down_delays_and_hides_little(
    running: Guest, usual: tuple[list[str], float]
) -> None:
    lab = running.lab
    with ThreadPoolExecutor() as pool:
        stop = "systemctl stop 'ceph-mon@*'"
        list(pool.map(lambda node: lab.run(node, stop), NODES))
        try:
            begun = time.monotonic()
            faults = verify(lab)
            took = time.monotonic() - begun
        finally:
            start = "systemctl start ceph-mon@$(hostname -s)"
            list(pool.map(lambda node: lab.run(node, start), NODES))
    lab.run("node1", "ceph --connect-timeout=60 mon stat")
    assert took < usual[1] + DELAY
    # Ours of the cluster, Ganeti's of the running guest's disk, and ours of the pool.
    (cluster, disk, pool_line) = faults
    silent = "ERROR:ECLUSTERCFG:cluster:None:the storage cluster does not answer"
    assert cluster.startswith(silent)
    assert disk.startswith(f"ERROR:EINSTANCEFAULTYDISK:instance:{running.name}:")
    assert pool_line.startswith("ERROR:ENODERPC:node:node1.lab.example:the images in")
    for line in faults:
        assert line.count("cannot connect to the storage cluster") == 1

"""Disks in kernelspace access, through the mapper that any kernel can do.

The tests of this file build on each other, in their order: one guest lives through
them, counts how often it has booted and checks at each boot what it wrote before.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import TestLab
from guests import Guest, images

NODES = ("node1", "node2", "node3")
SIZE = "size=1G,mapper=fuse"


@pytest.fixture(scope="module")
def guest(lab: TestLab) -> Iterator[Guest]:
    """A running guest whose only disk is mapped."""
    guest = Guest(lab, "guest7.lab.example")
    add = "add -t rbd -o lab-guest -B memory=128M -n node1"
    guest.gnt(f"{add} --disk 0:size=1G,access=kernelspace,mapper=fuse")
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0", check=False)


def mapped(lab: TestLab) -> dict[str, list[str]]:
    """Return the images that are mapped on each node."""
    code = "from ganeti_ceph.disk import mappers; print(*mappers.mapped())"
    found = {}
    for node in NODES:
        found[node] = lab.run(node, ["/usr/bin/python3", "-c", code]).stdout.split()
    return {node: images for node, images in found.items() if images}


def only_on(guest: Guest, node: str) -> None:
    """Check that all of a guest's disks are mapped there, and nothing elsewhere."""
    assert guest.node() == node
    images = sorted(f"rbd/{image}" for image in guest.images())
    assert {at: sorted(seen) for at, seen in mapped(guest.lab).items()} == {
        node: images
    }


def hotplug(lab: TestLab) -> str:
    """Return the command that changes the devices of a running instance."""
    return "modify" if lab.release != "bookworm" else "modify --hotplug"


def test_a_guest_writes_through_a_block_device(guest: Guest) -> None:
    wrote = guest.written(boot=1)
    assert (wrote.verdict, wrote.whole) == ("FIRST", wrote.blocks)
    only_on(guest, "node1")
    (image,) = guest.images()
    assert not any("driver=rbd" in word or image in word for word in guest.arguments())


def test_info_shows_device_and_image(guest: Guest) -> None:
    shown = guest.gnt("info").stdout
    (image,) = guest.images()
    assert re.search(r"^      access: kernelspace$", shown, re.MULTILINE)
    assert re.search(r"^      on primary: /dev/loop\d+ \(7:\d+\)$", shown, re.MULTILINE)
    assert f"      image: rbd/{image}\n" in shown
    assert re.search(r"image watchers: node1\.lab\.example \(\S+\)\n", shown)


def test_the_mapping_is_found_again_after_a_restart_of_the_node_daemon(
    guest: Guest,
) -> None:
    before = guest.gnt("info").stdout
    restart = "/etc/init.d/ganeti restart; until gnt-node list; do sleep 0.5; done"
    guest.lab.run("node1", f"({restart}) > /dev/null 2>&1", timeout=120)
    only_on(guest, "node1")
    line = re.compile(r"on primary: .*")
    assert line.findall(guest.gnt("info").stdout) == line.findall(before)


def test_verify_maps_and_unmaps_nothing(guest: Guest) -> None:
    """Neither for the guest that runs nor for one that is stopped."""
    lab = guest.lab
    idle = Guest(lab, "guest8.lab.example")
    idle.gnt(
        "add -t rbd -o lab-guest -B memory=128M -n node2 --no-install --no-start"
        f" --disk 0:{SIZE},access=kernelspace"
    )
    # Ganeti leaves the disks of a new instance active, started or not.
    idle.gnt("deactivate-disks")
    try:
        only_on(guest, "node1")
        said = lab.run("node1", "gnt-cluster verify", check=False, timeout=300).stdout
        assert "* Verifying images in" in said
        assert [line for line in said.splitlines() if "guest" in line] == []
        said = lab.run("node1", "gnt-cluster verify-disks").stdout
        assert "No disks need to be activated" in said
        only_on(guest, "node1")
    finally:
        idle.gnt("remove -f")


def test_a_disk_is_added_grown_and_removed_while_it_runs(guest: Guest) -> None:
    command = hotplug(guest.lab)
    done = guest.gnt(f"{command} --disk add:size=1G,access=kernelspace,mapper=fuse")
    assert "hotplug:done" in done.stdout
    only_on(guest, guest.node())
    assert len(guest.images()) == 2
    line = "lab-console guest7 'disks: vda=1024MiB vdb=2048MiB' 60"
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(guest.lab.run, "node1", line)
        guest.gnt("grow-disk", "1", "1G")
        heard.result()
    sizes = [one["virtual-size"] for one in guest.block_devices()]
    assert sizes == [2**30, 2**31]
    done = guest.gnt(f"{command} --disk 1:remove")
    assert "hotplug:done" in done.stdout
    only_on(guest, guest.node())
    assert list(images(guest.lab)) == guest.images()


def test_what_is_configured_is_told_from_what_runs(guest: Guest) -> None:
    # The disk has an access mode of its own; the default is another one.
    shown = guest.gnt("info").stdout
    assert "access now" not in shown


@pytest.fixture
def other(lab: TestLab) -> Iterator[Guest]:
    """A running guest whose disk has no access mode of its own: userspace."""
    other = Guest(lab, "guest8.lab.example")
    other.gnt(f"add -t rbd -o lab-guest -B memory=128M -n node1 --disk 0:{SIZE}")
    yield other
    other.gnt("remove -f --shutdown-timeout=0", check=False)
    lab.run("node1", "gnt-cluster modify -D rbd:access=userspace")
    lab.run("node1", "gnt-cluster modify --prealloc-wipe-disks no")


def test_what_it_runs_with_decides_until_it_is_restarted(other: Guest) -> None:
    lab, (image,) = other.lab, other.images()
    name = f"rbd/{image}"
    lab.run("node1", "gnt-cluster modify --prealloc-wipe-disks yes")
    lab.run("node1", "gnt-cluster modify -D rbd:access=kernelspace")
    shown = other.gnt("info").stdout
    assert "access: kernelspace\n" in shown
    assert "access now: userspace, until the instance is started anew\n" in shown
    refused = other.gnt("activate-disks", check=False)
    assert "QEMU has its disks open" in refused.stdout + refused.stderr
    other.gnt("grow-disk", "0", "128M")
    assert [one["virtual-size"] for one in other.block_devices()] == [9 * 2**27]
    assert name not in mapped(lab).get("node1", [])

    other.gnt("reboot --shutdown-timeout=0")
    assert name in mapped(lab)["node1"]
    lab.run("node1", "gnt-cluster modify -D rbd:access=userspace")
    assert "access now: kernelspace, until" in other.gnt("info").stdout
    (path,) = re.findall(r":disk/0:(\S+)", other.gnt("activate-disks").stdout)
    other.gnt("grow-disk", "0", "128M")
    assert [one["virtual-size"] for one in other.block_devices()] == [10 * 2**27]
    size = lab.run("node1", f"blockdev --getsize64 {path}").stdout
    assert int(size) == 10 * 2**27

    other.gnt("reboot --shutdown-timeout=0")
    assert name not in mapped(lab).get("node1", [])
    assert "access now" not in other.gnt("info").stdout


def test_a_device_that_was_asked_for_grows_with_its_disk(other: Guest) -> None:
    lab = other.lab
    other.gnt("shutdown --timeout=0")
    first = other.gnt("activate-disks").stdout
    (path,) = re.findall(r":disk/0:(\S+)", first)
    lab.run(
        "node1",
        f"mkdir -p /run/probe && mkfs.ext4 -qF {path} && mount {path} /run/probe",
    )
    try:
        assert other.gnt("activate-disks").stdout == first
        other.gnt("grow-disk", "0", "128M")
        size = lab.run("node1", f"blockdev --getsize64 {path}").stdout
        assert int(size) == 9 * 2**27
        refused = other.gnt("startup", check=False)
        assert "mounted on /run/probe" in refused.stdout + refused.stderr
    finally:
        lab.run("node1", "umount /run/probe")
    assert other.gnt("activate-disks").stdout == first
    other.gnt("startup")
    assert f"rbd/{other.images()[0]}" not in mapped(lab).get("node1", [])


def test_a_live_migration_takes_the_mapping_along(guest: Guest) -> None:
    beat = guest.written(boot=1).beat
    guest.gnt("migrate -f")
    node = guest.node()
    assert node != "node1"
    only_on(guest, node)
    if guest.survives_migration:
        moved = guest.written(boot=1, beat=beat)
        assert moved.whole == moved.blocks


def test_after_a_failover_it_boots_from_what_it_wrote(guest: Guest) -> None:
    guest.gnt("failover -f --shutdown-timeout=20")
    again = guest.written(boot=2)
    assert (again.verdict, again.whole) == ("OK", again.blocks)
    only_on(guest, guest.node())


def test_nothing_is_mapped_once_it_is_stopped(guest: Guest) -> None:
    guest.gnt("shutdown --timeout=0")
    assert mapped(guest.lab) == {}


def test_a_device_shows_what_the_image_begins_with(guest: Guest) -> None:
    (path,) = re.findall(r":disk/0:(\S+)", guest.gnt("activate-disks").stdout)
    node = guest.node()
    (image,) = guest.images()
    through = guest.lab.run(node, f"head -c 1M {path} | md5sum").stdout
    direct = guest.lab.run(
        node, f"rbd --no-progress export rbd/{image} - | head -c 1M | md5sum"
    ).stdout
    assert through == direct


def test_sizes_of_disks_are_repaired_while_they_are_mapped(guest: Guest) -> None:
    (image,) = guest.images()
    before = mapped(guest.lab)
    assert list(before.values()) == [[f"rbd/{image}"]]
    guest.lab.run("node1", f"rbd resize --no-progress --size 2G rbd/{image}")
    said = guest.lab.run("node1", f"gnt-cluster repair-disk-sizes {guest.name}").stdout
    assert f"Disk 0 of instance {guest.name} has mismatched size" in said
    assert guest.gnt("list --no-headers -o disk.sizes").stdout == "2048\n"
    assert mapped(guest.lab) == before
    guest.gnt("deactivate-disks")
    assert mapped(guest.lab) == {}


def test_a_mapper_that_does_not_work_here_says_why(guest: Guest) -> None:
    done = guest.gnt(
        "modify --disk add:size=1G,access=kernelspace,mapper=krbd", check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "krbd" in said
    assert "Traceback" not in said
    assert list(images(guest.lab)) == guest.images()
    assert len(guest.images()) == 1

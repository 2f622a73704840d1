"""Disks in a storage cluster that somebody else runs, beside our own.

Its pool has the name of ours.  The tests build on each other, in their order.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import external
import pytest
from conftest import TestLab
from guests import Guest, images
from places import table
from test_verify import verify

NODES = ("node1", "node2", "node3")
POOL = "rbd"
PLACE = f"pool={POOL},user-id={external.USER},ceph-conf={external.CONF}"


def ours(lab: TestLab) -> list[str]:
    """Return what is in our own storage cluster's pool, and who may do what there."""
    lines = (f"rados -p {POOL} ls --all | sort", "ceph auth ls", "ceph osd pool ls")
    return [lab.run("node1", line).stdout for line in lines]


def theirs(lab: TestLab) -> str:
    """Return who may do what in the other storage cluster."""
    return lab.run("node1", "ceph --cluster far auth ls").stdout


@pytest.fixture(scope="module")
def place(lab: TestLab) -> Iterator[TestLab]:
    """A lab with both, and no instance but the guest."""
    found = lab.run("node1", "gnt-instance list --no-headers -o name").stdout
    for instance in found.split():
        lab.run("node1", f"gnt-instance remove -f --shutdown-timeout=0 {instance}")
    lab.run("node1", "gnt-storage trash --force --all purge")
    with external.made(lab, POOL):
        yield lab


@pytest.fixture(scope="module")
def before(place: TestLab) -> tuple[list[str], str]:
    return ours(place), theirs(place)


@pytest.fixture(scope="module")
def guest(place: TestLab, before: tuple[list[str], str]) -> Iterator[Guest]:
    """A guest with a disk there in each access mode."""
    guest = Guest(place, "guest7.lab.example", f"{external.PREFIX}{POOL}")
    guest.gnt(
        f"add -t rbd -o lab-guest -B memory=128M -n node2 --disk 0:size=1G,{PLACE}"
        f" --disk 1:size=1G,{PLACE},access=kernelspace,mapper=fuse,trash-grace=3600"
    )
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0", check=False)


def test_a_guest_writes_to_disks_there(guest: Guest) -> None:
    wrote = guest.written(boot=1)
    assert wrote.verdict == "FIRST"
    assert wrote.whole == wrote.blocks > 0
    guest.written(boot=1, disk=1)
    assert sorted(images(guest.lab, guest.pool)) == sorted(guest.images())
    shown = guest.gnt("info").stdout
    for image in guest.images():
        assert f"      image: {POOL}/{image}\n" in shown
    assert shown.count("image watchers: node2.lab.example (10.77.0.2)\n") == 2


def test_its_room_is_shown_beside_that_of_our_own(guest: Guest) -> None:
    command = "gnt-node list-storage -t rados --no-headers --units=m --separator=,"
    shown = guest.lab.run("node1", f"{command} -o name,size node2").stdout
    sizes = dict(line.split(",") for line in shown.split())
    # One OSD of 4 GiB, and three of 10 GiB with three copies.
    assert sizes.keys() == {POOL, f"{POOL}:conf={external.CONF}"}
    assert 3000 < int(sizes[f"{POOL}:conf={external.CONF}"]) < 4096
    assert 6000 < int(sizes[POOL]) < 10240


def test_disks_there_grow_and_move_with_their_guest(guest: Guest) -> None:
    for disk in ("0", "1"):
        guest.gnt("grow-disk", disk, "256M")
    wrote = guest.written(boot=1)
    guest.gnt("migrate -f -n node3")

    assert guest.node() == "node3"
    assert set(images(guest.lab, guest.pool).values()) == {1280}
    if guest.survives_migration:
        after = guest.written(boot=1, beat=wrote.beat + 2)
        assert after.whole == after.blocks > 0
        assert guest.watchers() == guest.watchers(1) == ["10.77.0.3"]


def test_verify_finds_nothing_wrong_with_them(guest: Guest) -> None:
    assert verify(guest.lab) == []


@pytest.mark.slow
def test_they_live_on_without_our_own_storage_cluster(guest: Guest) -> None:
    lab = guest.lab
    end = (
        "systemctl list-units --plain --no-legend 'ceph-osd@*' | cut -d' ' -f1"
        " > /run/osds; systemctl stop 'ceph-osd@*' 'ceph-mon@*'"
    )
    begin = (
        "systemctl reset-failed 'ceph-*';"
        " systemctl start ceph-mon@$(hostname -s) $(cat /run/osds); rm /run/osds"
    )
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: lab.run(node, end), NODES))
        try:
            guest.gnt("failover -f --shutdown-timeout=0 -n node2")
            assert guest.written(boot=2).verdict == "OK"
            assert guest.watchers() == guest.watchers(1) == ["10.77.0.2"]
        finally:
            list(pool.map(lambda node: lab.run(node, begin), NODES))
    # What was told before tells nothing once each placement group has answered.
    answers = f"rados -p {POOL} ls --all"
    clean = "until timeout 20 ceph pg stat | grep -q ' active+clean;'; do sleep 1; done"
    lab.run("node1", f'timeout 120 bash -c "{answers} && {clean}"', timeout=150)


def test_removed_they_are_in_the_trash_there(
    guest: Guest, before: tuple[list[str], str]
) -> None:
    lab = guest.lab
    kept, removed = guest.images()
    guest.gnt("shutdown --timeout=0")
    guest.gnt("modify --disk 1:remove")

    assert list(images(lab, guest.pool)) == guest.images() == [kept]
    assert [name for _, _, name, *_ in table(lab)] == [removed]
    purge = "gnt-storage trash --force --all purge"
    assert lab.run("node1", purge).stdout.endswith("1 images are deleted\n")
    assert lab.run("node1", f"rbd --cluster far trash ls {POOL}").stdout == ""
    guest.gnt("remove -f")
    assert images(lab, guest.pool) == {}
    assert (ours(lab), theirs(lab)) == before

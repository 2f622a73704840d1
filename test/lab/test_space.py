"""The room in the pool, as Ganeti's commands, htools and instance allocators see it."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import TestLab
from guests import Guest, images

NODES = ("node1", "node2", "node3")
#: Seconds that a command may take where the storage cluster does not answer.
BOUND = 60
ADD = "add -t rbd -o lab-guest -B memory=128M --no-install --no-start"

#: Where hbal keeps what it was told, and what it makes of it.
SAVED = "/run/balance"

#: An instance allocator that keeps what it was asked.
ALLOCATOR = "/usr/lib/ganeti/iallocators/keeper"
ASKED = "/run/asked.json"
KEEPER = f"""#!/bin/sh
for last; do :; done
[ -f "$last" ] || last=$1
cp "$last" {ASKED}
exec "${{0%/*}}/hail" "$@"
"""


def ceph(lab: TestLab, command: str) -> Any:
    """Run a command of Ceph's and return its answer."""
    done = lab.run("node1", f"ceph --format json {command}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def stats(lab: TestLab, pool: str) -> tuple[int, int]:
    """Return what a pool holds and what it has room for, as Ceph tells it, in MiB."""
    pools = {one["name"]: one["stats"] for one in ceph(lab, "df")["pools"]}
    return pools[pool]["stored"] >> 20, pools[pool]["max_avail"] >> 20


def room(lab: TestLab, pool: str) -> tuple[int, int]:
    """Return the size and the free space of a pool without a quota, in MiB."""
    stored, free = stats(lab, pool)
    return stored + free, free


def nodes(lab: TestLab, fields: str = "dtotal,dfree") -> dict[str, list[str]]:
    """Return fields of the nodes by name, sizes in MiB."""
    command = "gnt-node list --no-headers --units=m --separator=: -o name,"
    lines = lab.run("node1", command + fields).stdout.split()
    found = (line.split(":") for line in lines)
    return {name.partition(".")[0]: values for name, *values in found}


def listed(lab: TestLab, options: str = "") -> dict[str, list[list[str]]]:
    """Return by node what gnt-node list-storage lists."""
    command = "gnt-node list-storage --no-headers --units=m --separator=: "
    fields = " -o node,type,name,size,used,free,allocatable"
    rows: dict[str, list[list[str]]] = {}
    for line in lab.run("node1", command + options + fields).stdout.split():
        name, *values = line.split(":")
        rows.setdefault(name.partition(".")[0], []).append(values)
    return rows


@pytest.fixture(scope="module")
def ready(lab: TestLab) -> TestLab:
    """A lab whose pool does not change by itself."""
    size, free = room(lab, "rbd")
    # Three OSDs of 10 GiB that hold three copies.
    assert 6000 < free <= size < 10240
    return lab


@pytest.fixture
def guest(ready: TestLab) -> Iterator[Guest]:
    guest = Guest(ready, "guest5.lab.example")
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0", check=False)


@pytest.fixture
def neighbour(ready: TestLab) -> Iterator[Guest]:
    """Another instance, which does not run."""
    guest = Guest(ready, "guest6.lab.example")
    yield guest
    guest.gnt("remove -f", check=False)


@pytest.fixture
def second_pool(ready: TestLab) -> Iterator[str]:
    """A pool with a quota, and data in it."""
    before = room(ready, "rbd")
    ceph(ready, "osd pool create second 8")
    # Replicas count once: 300 MiB are 900 MiB on the OSDs.
    ready.run(
        "node1",
        "rbd pool init second; head -c 60M /dev/urandom > /run/data;"
        " for i in 1 2 3 4 5; do rados -p second put $i /run/data; done",
    )
    ceph(ready, "osd pool set-quota second max_bytes 1073741824")
    end = time.monotonic() + 60
    while stats(ready, "second")[0] < 300:
        assert time.monotonic() < end, "Ceph does not count what was stored"
    yield "second"
    ready.run("node1", "rm /run/data")
    remove_pool(ready, "second", before)


@pytest.fixture
def coded_pool(ready: TestLab) -> Iterator[str]:
    """An erasure coded pool, in which more has room than in a replicated one."""
    before = room(ready, "rbd")
    ready.run(
        "node1",
        "ceph osd erasure-code-profile set two-and-one k=2 m=1"
        " crush-failure-domain=host; ceph osd pool create coded 8 8 erasure two-and-one"
        " && ceph osd pool set coded allow_ec_overwrites true"
        " && ceph osd pool application enable coded rbd",
    )
    end = time.monotonic() + 60
    while room(ready, "coded")[1] < before[1] * 1.5:
        assert time.monotonic() < end, "Ceph does not tell the room"
    yield "coded"
    remove_pool(ready, "coded", before)
    ready.run(
        "node1",
        "ceph osd crush rule rm coded; ceph osd erasure-code-profile rm two-and-one",
    )


def remove_pool(lab: TestLab, name: str, before: tuple[int, int]) -> None:
    """Remove a pool, and wait until there is as much room as before it was made."""
    lab.run(
        "node1",
        "ceph config set mon mon_allow_pool_delete true;"
        f" ceph osd pool rm {name} {name} --yes-i-really-really-mean-it;"
        " ceph config rm mon mon_allow_pool_delete",
    )
    # OSDs delete a pool's data after the pool is gone.
    end = time.monotonic() + 60
    while not agrees([str(size) for size in before], *room(lab, "rbd")):
        assert time.monotonic() < end, "Ceph does not give the room back"


def agrees(found: list[str], *expected: int, within: int = 64) -> bool:
    """Tell whether sizes are about those that Ceph has; it counts now and then."""
    pairs = zip(found, expected, strict=True)
    return all(abs(int(text) - mebibytes) <= within for text, mebibytes in pairs)


def test_gnt_node_list_shows_the_pools_room(ready: TestLab) -> None:
    expected, shown = room(ready, "rbd"), nodes(ready)
    assert set(shown) == set(NODES)
    assert all(agrees(sizes, *expected) for sizes in shown.values())


def test_list_storage_shows_the_pool(ready: TestLab) -> None:
    expected, shown = room(ready, "rbd"), listed(ready, "-t rados")
    assert set(shown) == set(NODES)
    for ((kind, name, size, used, free, allocatable),) in shown.values():
        assert (kind, name, allocatable) == ("rados", "rbd", "Y")
        assert agrees([size, free], *expected)
        assert int(used) == int(size) - int(free)


def test_the_pool_is_shown_where_luxid_asks_for_nothing(ready: TestLab) -> None:
    templates = "gnt-cluster modify --enabled-disk-templates={0}"
    templates += " --ipolicy-disk-templates={0}"
    ready.run("node1", templates.format("rbd"))
    try:
        expected, shown = room(ready, "rbd"), nodes(ready, "dtotal,dfree,mtotal")
    finally:
        ready.run("node1", templates.format("rbd,file,diskless"))
    for *sizes, memory in shown.values():
        assert agrees(sizes, *expected)
        assert int(memory) > 0


def test_a_quota_and_other_pools_count(ready: TestLab, second_pool: str) -> None:
    ready.run("node1", f"gnt-cluster modify -D rbd:pool={second_pool}")
    try:
        shown, rows = nodes(ready), listed(ready)
    finally:
        ready.run("node1", "gnt-cluster modify -D rbd:pool=rbd")
    for node in NODES:
        assert agrees(shown[node], 1024, 1024 - 300, within=1)
        ((_, _, size, used, free, _),) = (
            row for row in rows[node] if row[1] == second_pool
        )
        assert agrees([size, used, free], 1024, 300, 1024 - 300, within=1)


def test_the_data_pool_is_the_one_whose_room_is_shown(
    ready: TestLab, coded_pool: str
) -> None:
    replicated, coded = room(ready, "rbd"), room(ready, coded_pool)
    ready.run("node1", f"gnt-cluster modify -D rbd:data-pool={coded_pool}")
    try:
        shown, rows = nodes(ready), listed(ready, "-t rados")
    finally:
        ready.run("node1", "gnt-cluster modify -D rbd:data-pool=none")
    for node in NODES:
        assert agrees(shown[node], *coded)
        assert not agrees(shown[node], *replicated)
        sizes = {name: [size, free] for _, name, size, _, free, _ in rows[node]}
        assert agrees(sizes[coded_pool], *coded)
    again = nodes(ready)
    assert all(agrees(sizes, *replicated) for sizes in again.values())


def test_hail_allocates_and_learns_the_room(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node1", f"cat > {ALLOCATOR}; chmod +x {ALLOCATOR}", stdin=KEEPER)
    try:
        said = guest.gnt(f"{ADD} -I keeper --disk 0:size=1G").stdout
    finally:
        lab.run("node1", f"rm {ALLOCATOR}")
    assert f"node for instance {guest.name}" in said.replace("nodes for", "node for")
    asked = json.loads(lab.run("node1", f"cat {ASKED}; rm {ASKED}").stdout)
    expected = room(lab, "rbd")
    assert len(asked["nodes"]) == len(NODES)
    for node in asked["nodes"].values():
        sizes = [str(node["total_disk"]), str(node["free_disk"])]
        assert agrees(sizes, *expected)


def test_a_disk_may_be_larger_than_the_pool(guest: Guest) -> None:
    lab = guest.lab
    size, free = room(lab, "rbd")
    guest.gnt(f"{ADD} --disk 0:size=100G")
    (image,) = guest.images()
    assert images(lab)[image] == 102400 > size
    # It takes space only as data is written.
    assert agrees(nodes(lab)["node1"], size, free)

    said = lab.run("node1", "hbal -L; hspace -L --machine-readable").stdout

    assert "0 bad nodes, 0 bad instances" in said
    values = dict(re.findall(r"^HTS_(\w+)=(.*)$", said, re.MULTILINE))
    # htools know no shared storage: they add up what the nodes show.
    assert abs(float(values["CLUSTER_DSK"]) - 3 * size) < 3 * 64
    assert values["OK"] == "1"


def balance(guest: Guest) -> None:
    """Have hbal move a guest, if it has one to move, from what nodes tell it."""
    expected = room(guest.lab, "rbd")
    command = f"hbal -L -X -S {SAVED} --select-instances={guest.name}"
    said = guest.lab.run("node1", command, timeout=300).stdout
    assert "0 bad nodes, 0 bad instances" in said
    assert "Solution length=1\n" in said
    # The lines of nodes: name, memory (all, used, free), disk (all, free), and more.
    saved = guest.lab.run("node1", f"cat {SAVED}.original; rm {SAVED}.*").stdout
    told = [line.split("|")[4:6] for line in saved.split("\n\n")[1].splitlines()]
    assert len(told) == len(NODES)
    assert all(agrees(sizes, *expected) for sizes in told)


def test_hbal_moves_guests_to_where_they_go_on(guest: Guest, neighbour: Guest) -> None:
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node1 --disk 0:size=1G")
    guest.written(boot=1)
    guest.gnt("shutdown --timeout=0")
    neighbour.gnt(f"{ADD} -n node1 --disk 0:size=1G")
    (image,) = guest.images()

    balance(guest)

    moved_to = guest.node()
    assert moved_to != neighbour.node() == "node1"
    guest.gnt("startup")
    before = guest.written(boot=2)
    assert before.verdict == "OK"

    # Now while it runs.
    neighbour.gnt(f"failover -f -n {moved_to}")
    balance(guest)

    assert guest.node() != neighbour.node() == moved_to
    assert guest.images() == [image]
    if guest.survives_migration:
        after = guest.written(boot=2, beat=before.beat + 2)
        assert after.whole == after.blocks > 0


def test_a_node_without_storage_lacks_only_the_room(ready: TestLab) -> None:
    ready.run("node3", "mv /etc/ceph /etc/ceph.aside")
    try:
        shown, rows = nodes(ready, "dtotal,mtotal"), listed(ready)
        files = ready.run("node3", "df -BM --output=size /srv").stdout.split()[-1]
    finally:
        ready.run("node3", "mv /etc/ceph.aside /etc/ceph")
    # What Ganeti shows without us: the directory of file storage.
    assert agrees([shown["node3"][0]], int(files.rstrip("M")), within=1)
    assert int(shown["node3"][1]) > 0
    assert set(rows) == {"node1", "node2"}


def test_a_dead_storage_cluster_leaves_the_room_unknown_in_bounded_time(
    ready: TestLab,
) -> None:
    with ThreadPoolExecutor() as pool:
        stop = "systemctl stop 'ceph-mon@*'"
        list(pool.map(lambda node: ready.run(node, stop), NODES))
        try:
            begun = time.monotonic()
            table = pool.submit(nodes, ready, "dtotal,dfree,mtotal")
            listing = pool.submit(ready.run, "node1", "gnt-node list-storage")
            space = pool.submit(ready.run, "node1", "hspace -L")
            shown, rows, htools = (one.result() for one in (table, listing, space))
            took = time.monotonic() - begun
        finally:
            start = "systemctl start ceph-mon@$(hostname -s)"
            list(pool.map(lambda node: ready.run(node, start), NODES))
    for total, free, memory in shown.values():
        assert (total, free) == ("?", "?")
        assert int(memory) > 0
    said = rows.stdout + rows.stderr
    assert said.count("cannot connect to the storage cluster") == len(NODES)
    assert "DSK 0," in htools.stdout
    assert took < BOUND
    ready.run("node1", "ceph --connect-timeout=60 mon stat")

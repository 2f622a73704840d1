"""Nodes in racks, and two administrators who give their commands at the same time.

The tests of this file build on each other, in their order.
"""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import NewLab, Result, TestLab
from guests import Guest
from test_faults import DEATH, REVIVE, SERVE, dies_in, told
from test_init import DISK, INIT, modify
from test_init_ipv6 import children_by
from test_life import (
    COLLECTOR,
    COLLECTOR_KEY,
    SPARE,
    complaints,
    go_offline,
    in_ganeti,
    readd,
    settled,
    wait_down,
)
from test_nodes import (
    ADD,
    RAPI_ROLE,
    ceph,
    guest,
    lives_on,
    mons,
    nothing_to_do,
    osds,
    refused,
    status,
    wait_clean,
)

__all__ = ["guest"]

pytestmark = pytest.mark.slow

RACKS = {"node1": "R1", "node2": "R2", "node3": "R2", "node4": "R3"}
#: A disk that each node has, which at first is elsewhere.
MORE = "/dev/disk/by-id/lab-disk-2"
NODE5 = "node5.lab.example"
NOTHING = "there is nothing to do"


@pytest.fixture(scope="module")
def lab(new_lab: NewLab) -> TestLab:
    """Five nodes, one of which is in another group, and no storage yet."""
    lab = new_lab("--nodes=5", "--disks=2")
    for node in (*RACKS, "node5"):
        lab.run(node, f"mkdir -p {SPARE}; [ ! -e {MORE} ] || mv {MORE} {SPARE}")
    for node, rack in RACKS.items():
        lab.run("node1", f"gnt-node add-tags {node} ceph:rack:{rack}")
    lab.run("node1", "gnt-group add other; gnt-group assign-nodes other node5")
    return lab


def at_once(lab: TestLab, *commands: str) -> list[Result]:
    """Run commands on the master at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(
            pool.map(
                lambda command: lab.run("node1", command, check=False, timeout=500),
                commands,
            )
        )


def test_parameters_of_two_administrators_are_both_kept(lab: TestLab) -> None:
    parameters = (
        f"ceph:disk={DISK}",
        "ceph:failure-domain=rack",
        "ceph:conf.osd_scrub_begin_hour=22",
        "ceph:conf.osd_scrub_end_hour=4",
    )
    done = at_once(lab, *(f"gnt-cluster modify -S {one}" for one in parameters))
    assert [one.returncode for one in done] == [0] * len(parameters), done
    shown = lab.run("node1", "gnt-cluster info").stdout
    for one in parameters:
        name, _, value = one.removeprefix("ceph:").partition("=")
        assert re.search(rf"^ +{re.escape(name)}: {value}$", shown, re.M), shown


def test_what_needs_a_storage_cluster_says_how_to_make_one(lab: TestLab) -> None:
    before = lab.run("node1", "gnt-cluster list-tags; gnt-group list-tags default")
    for command, why in (
        ("gnt-storage repair", "'gnt-storage init-distributed-storage -s ceph GROUP'"),
        ("gnt-storage repair node2", "there is no storage cluster"),
        ("gnt-storage status", "there is no finished storage cluster"),
        ("gnt-storage trash list", "no trash can be seen: rbd: cannot use /etc/ceph"),
    ):
        assert why in refused(lab.run("node1", command, check=False))
    after = lab.run("node1", "gnt-cluster list-tags; gnt-group list-tags default")
    assert after.stdout == before.stdout
    # What they see to otherwise is Ganeti's alone.
    lab.run("node1", "gnt-node modify --drained=yes node2")
    lab.run("node1", "gnt-node modify --drained=no node2")


def test_a_node_does_not_leave_while_the_storage_is_half_made(lab: TestLab) -> None:
    lab.run("node4", "mv /usr/bin/ceph-mon /usr/bin/ceph-mon.aside")
    try:
        told(lab.run("node1", INIT, check=False, timeout=400), INIT)
    finally:
        lab.run("node4", "mv /usr/bin/ceph-mon.aside /usr/bin/ceph-mon")
    half_made = "the storage cluster of group default is half made"
    for command in (
        "gnt-node modify --offline=yes node3",
        "gnt-node remove node3",
        "gnt-group assign-nodes other node3",
    ):
        said = refused(lab.run("node1", command, check=False))
        assert f"{half_made}: '{INIT}' goes on with it" in said
    assert in_ganeti(lab, "offline,group", "node3").split() == ["N", "default"]
    verified = lab.run("node1", "gnt-cluster verify", check=False, timeout=300).stdout
    assert f"{half_made}: '{INIT}' goes on with it" in verified


def test_two_that_make_the_storage_make_one(lab: TestLab) -> None:
    done = at_once(lab, INIT, INIT)
    assert [one.returncode for one in done] == [0, 0], done
    assert sorted(NOTHING in one.stdout for one in done) == [False, True]
    assert {host: len(found) for host, found in osds(lab).items()} == {
        "node1": 1,
        "node2": 1,
        "node3": 1,
        "node4": 1,
    }
    tags = lab.run("node1", "gnt-group list-tags default").stdout.split()
    fsid = lab.run("node1", "ceph fsid").stdout.strip()
    assert tags == [f"ceph:storage:ready:{fsid}"]
    nothing_to_do(lab)


def test_map_rule_and_mons_follow_the_racks(lab: TestLab) -> None:
    racks = {"R1": ["node1"], "R2": ["node2", "node3"], "R3": ["node4"]}
    found = {rack: sorted(hosts) for rack, hosts in children_by(lab, "rack").items()}
    assert found == racks
    rules = {one["rule_id"]: one for one in ceph(lab, "osd crush rule dump")}
    pools = {one["pool_name"]: one for one in ceph(lab, "osd pool ls detail")}
    steps = rules[pools["rbd"]["crush_rule"]]["steps"]
    assert [one["type"] for one in steps if "type" in one] == ["rack"]
    # Not two of them in one rack, though node3 comes before node4.
    assert mons(lab) == {"node1", "node2", "node4"}


def test_a_mon_moves_within_its_rack_and_the_rack_keeps_its_node(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node1", "gnt-node modify --offline=yes node2", timeout=300)
    assert mons(lab) == {"node1", "node3", "node4"}
    lives_on(guest)
    for node, why in (
        ("node2", "is offline: 'gnt-node add --readd node2.lab.example' brings"),
        ("node5", f"{NODE5} is not in node group default"),
    ):
        said = refused(lab.run("node1", f"gnt-storage repair {node}", check=False))
        assert why in said
    readd(lab, "node2")
    assert mons(lab) == {"node1", "node3", "node4"}
    drained = "gnt-node modify --drained=yes node4"
    said = refused(lab.run("node1", drained, check=False))
    assert "there are only 2 failure domains (rack) for them" in said
    nothing_to_do(lab)
    lives_on(guest)


def test_of_two_nodes_that_leave_at_once_one_stays(guest: Guest) -> None:
    lab = guest.lab
    wait_clean(lab)
    nodes = ("node3", "node4")
    done = at_once(lab, *(f"gnt-node modify --offline=yes {one}" for one in nodes))
    (gone,) = (
        node for node, one in zip(nodes, done, strict=True) if not one.returncode
    )
    (stays,) = {*nodes} - {gone}
    said = refused(done[nodes.index(stays)])
    assert f"{stays}.lab.example cannot be taken offline" in said
    assert [in_ganeti(lab, "offline", one) for one in (gone, stays)] == ["Y", "N"]
    assert [one["up"] for one in osds(lab)[gone].values()] == [0]
    assert [one["up"] for one in osds(lab)[stays].values()] == [1]
    lives_on(guest)
    readd(lab, gone)
    # One in each rack.
    assert mons(lab) in ({"node1", "node2", "node4"}, {"node1", "node3", "node4"})
    nothing_to_do(lab)
    lives_on(guest)


def test_a_repair_and_a_drain_at_once_both_happen(guest: Guest) -> None:
    lab = guest.lab
    (osd,) = osds(lab)["node4"]
    (drained,) = osds(lab)["node2"]
    lab.run("node4", f"systemctl stop ceph-osd@{osd}")
    end = time.monotonic() + 60
    while osds(lab)["node4"][osd]["up"]:
        assert time.monotonic() < end
        time.sleep(1)
    done = at_once(
        lab,
        "gnt-storage repair",
        "gnt-storage repair",
        "gnt-node modify --drained=yes node2",
    )
    assert [one.returncode for one in done[:2]] == [0, 0], done
    if done[2].returncode:
        # It came first: what is down is no place to move data to.
        assert "cannot move away" in refused(done[2])
        lab.run("node1", "gnt-node modify --drained=yes node2")
    assert osds(lab)["node4"][osd]["up"]
    assert [one["in"] for one in osds(lab)["node2"].values()] == [0]
    # A repair of all leaves what is drained as it is.
    assert NOTHING in lab.run("node1", "gnt-storage repair", timeout=300).stdout
    assert not osds(lab)["node2"][drained]["in"]
    lab.run("node1", "gnt-node modify --drained=no node2")
    nothing_to_do(lab)
    lives_on(guest)


def await_up(lab: TestLab, host: str, osd: int) -> None:
    end = time.monotonic() + 60
    while not osds(lab)[host][osd]["up"]:
        assert time.monotonic() < end
        time.sleep(1)


def test_a_rack_that_comes_back_has_a_mon_again(guest: Guest) -> None:
    lab = guest.lab
    wait_clean(lab)
    (osd,) = osds(lab)["node4"]
    go_offline(lab, "node4")
    assert mons(lab) == {"node1", "node2", "node3"}

    # Its daemons come back, and Ganeti does not know.
    lab.run("node4", f"systemctl start ceph-osd@{osd}")
    await_up(lab, "node4", osd)
    again = "gnt-node modify --offline=yes node4"
    differs = f"it is offline, and osd.{osd} of it runs: 'gnt-node add --readd node4"
    assert f"node4.lab.example: {differs}.lab.example' brings it back" in status(lab)
    assert any(differs in line for line in complaints(lab))
    said = refused(lab.run("node1", "gnt-node remove node4", check=False))
    assert f"osd.{osd} still run: '{again}' once more stops them" in said
    go_offline(lab, "node4")
    assert [(one["up"], one["in"]) for one in osds(lab)["node4"].values()] == [(0, 0)]
    state = f"systemctl is-active ceph-osd@{osd}; true"
    assert lab.run("node4", state).stdout == "inactive\n"
    lives_on(guest)

    lab.run("node1", "gnt-node modify --force --offline=no node4", timeout=300)
    verified = "\n".join(complaints(lab))
    assert re.search(r"node4.lab.example: to do: make and start mon.node4", verified)
    assert "to do: remove mon.node3 from the quorum" in verified
    assert "node3.lab.example: to do: stop mon.node3" in verified
    lab.run("node1", "gnt-storage repair node4", timeout=300)
    assert mons(lab) == {"node1", "node2", "node4"}
    state = "systemctl is-active ceph-mon@node3; ls /etc/ceph"
    left = lab.run("node3", state).stdout
    assert not left.startswith("active")
    assert "client.admin" not in left
    assert [(one["up"], one["in"]) for one in osds(lab)["node4"].values()] == [(1, 1)]
    nothing_to_do(lab)
    assert NOTHING in lab.run("node1", "gnt-storage repair", timeout=300).stdout
    lives_on(guest)


def test_no_host_leaves_a_rack_that_copies_need(lab: TestLab) -> None:
    wrong, right = "ceph:rack:R2", "ceph:rack:R3"
    retag = "gnt-node remove-tags node4 {}; gnt-node add-tags node4 {}"
    lab.run("node1", retag.format(right, wrong))
    said = refused(lab.run("node1", "gnt-storage repair", check=False, timeout=300))
    why = "with node4 in rack R2 there would be only 2 failure domains (rack) for them"
    assert why in said
    assert why in status(lab)
    assert children_by(lab, "rack")["R3"] == ["node4"]
    lab.run("node1", retag.format(wrong, right))
    nothing_to_do(lab)


def role(lab: TestLab, node: str, name: str) -> tuple[str, str]:
    """Give a node a role through the remote API; return what came of the job."""
    words = ["/usr/bin/python3", "-c", RAPI_ROLE, node, name]
    state, result = json.loads(lab.run("node1", words).stdout)
    return state, str(result)


def test_a_drain_is_the_same_by_each_way(guest: Guest) -> None:
    lab = guest.lab
    (osd,) = osds(lab)["node2"]

    def state() -> tuple[int, str]:
        return osds(lab)["node2"][osd]["in"], in_ganeti(lab, "drained", "node2")

    done = lab.run("node1", "gnt-node modify --drained=yes --dry-run node2")
    step = f"node1.lab.example: mark osd.{osd} out, so that data moves away"
    assert step in done.stdout + done.stderr
    assert state() == (1, "N")

    lab.run("node1", "echo 'tester secret write' > /var/lib/ganeti/rapi/users")
    done = role(lab, "node4", "drained")
    assert done[0] == "error"
    assert "there are only 2 failure domains (rack) for them" in done[1]
    assert role(lab, "node2", "drained")[0] == "success"
    assert state() == (0, "Y")
    assert role(lab, "node2", "regular")[0] == "success"
    assert state() == (1, "N")

    # One that was out before comes back only where it is asked for.
    lab.run("node1", f"ceph osd out {osd}; gnt-node modify --drained=yes node2")
    lab.run("node1", "gnt-node modify --drained=no node2")
    assert state() == (0, "N")
    assert f"osd.{osd} is marked out and takes no data" in status(lab)
    lab.run("node1", "gnt-storage repair node2", timeout=300)
    assert state() == (1, "N")
    nothing_to_do(lab)
    lives_on(guest)


def test_an_offline_node_changes_its_group_and_joins_the_storage(guest: Guest) -> None:
    lab = guest.lab
    assign = "gnt-group assign-nodes default node5"
    said = refused(lab.run("node1", assign, check=False))
    assert f"{NODE5} is online, and group default is part of a storage cluster" in said
    assert f"'gnt-node modify --offline=yes {NODE5}'" in said
    assert f"'gnt-node add --readd {NODE5}'" in said
    assert in_ganeti(lab, "group", "node5") == "other"
    lab.run("node1", "gnt-node modify --offline=yes node5")
    lab.run("node1", assign)
    assert "node5" not in osds(lab)
    # Where it stands has to be known.
    again = [*ADD, "--readd", NODE5]
    said = refused(lab.run("node1", again, check=False, timeout=300))
    assert f"gnt-node add-tags {NODE5} ceph:rack:NAME" in said
    assert in_ganeti(lab, "offline", "node5") == "Y"
    lab.run("node1", "gnt-node add-tags node5 ceph:rack:R3")
    lab.run("node1", again, timeout=300)
    assert [one["up"] for one in osds(lab)["node5"].values()] == [1]
    assert sorted(children_by(lab, "rack")["R3"]) == ["node4", "node5"]
    nothing_to_do(lab)
    lives_on(guest)


@pytest.fixture
def slowly(lab: TestLab) -> Iterator[None]:
    """Some data, of which copies take a while."""
    # Newer OSDs do not sleep between two objects, whatever they are told.
    total = "600M" if lab.release == "trixie" else "150M"
    lab.run(
        "node1",
        # Ceph counts whole objects in a second: many small ones.
        "rbd create --size 1G --object-size 64K lab-data; rbd bench --io-type write"
        f" --io-size 64K --io-threads 16 --io-pattern seq --io-total {total} lab-data;"
        " ceph config set osd osd_recovery_sleep 0.05",
        timeout=400,
    )
    yield
    lab.run(
        "node1",
        "ceph config rm osd osd_recovery_sleep; rbd rm --no-progress lab-data",
    )


# Steps in which the node daemon dies; test_faults.py has the others


@pytest.fixture(scope="module")
def mortal(lab: TestLab) -> Iterator[None]:
    """Node daemons that die where they are told to."""
    for node in (*RACKS, "node5"):
        again = f"/usr/lib/ganeti/daemon-util stop ganeti-noded; {REVIVE}"
        lab.run(node, f"cp {SERVE} /root; cat >> {SERVE}; {again}", stdin=DEATH)
    yield
    for node in (*RACKS, "node5"):
        lab.run(node, f"cp /root/serve.py {SERVE}")


def test_the_node_daemon_dies_while_it_makes_a_collector(
    guest: Guest, mortal: None
) -> None:
    lab = guest.lab
    lab.run("node3", f"rm {COLLECTOR_KEY}")
    repair = "gnt-storage repair"
    told(dies_in(lab, "collector", "node3", repair), repair)
    lab.run("node1", repair, timeout=300)
    lab.run("node3", f"test -e {COLLECTOR_KEY}; systemctl is-active {COLLECTOR}")
    nothing_to_do(lab)
    lives_on(guest)


def test_the_node_daemon_dies_while_a_host_moves(guest: Guest, mortal: None) -> None:
    lab = guest.lab
    repair = "gnt-storage repair"
    for before, after in (("R2", "R4"), ("R4", "R2")):
        lab.run("node1", f"gnt-node remove-tags node3 ceph:rack:{before}")
        lab.run("node1", f"gnt-node add-tags node3 ceph:rack:{after}")
        if after == "R4":
            told(dies_in(lab, "place", "node1", repair), repair)
            assert children_by(lab, "rack").get("R4") is None
        lab.run("node1", repair, timeout=300)
        assert "node3" in children_by(lab, "rack")[after]
    nothing_to_do(lab)
    lives_on(guest)


@pytest.mark.parametrize("step", ["ok-to-stop", "hand-over"])
def test_the_node_daemon_dies_before_anything_of_a_node_stops(
    guest: Guest, mortal: None, step: str
) -> None:
    lab = guest.lab
    wait_clean(lab)
    end = time.monotonic() + 60
    while (active := ceph(lab, "mgr dump")["active_name"]) in ("", "node1"):
        assert time.monotonic() < end
        lab.run("node1", "ceph mgr fail", check=False)
        time.sleep(5)
    offline = f"gnt-node modify --offline=yes {active}"
    told(dies_in(lab, step, "node1", offline), "gnt-node modify")
    assert in_ganeti(lab, "offline", active) == "N"
    assert [one["up"] for one in osds(lab)[active].values()] == [1]
    lives_on(guest)
    lab.run("node1", offline, timeout=300)
    assert ceph(lab, "mgr dump")["active_name"] not in ("", active)
    readd(lab, active)
    assert len(mons(lab)) == 3
    nothing_to_do(lab)
    lives_on(guest)


def test_what_force_puts_out_of_reach_is_said_and_comes_back(guest: Guest) -> None:
    lab = guest.lab
    lab.run(
        "node1",
        "ceph osd pool create rigid 8 8; ceph osd pool application enable rigid rbd;"
        " ceph osd pool set rigid size 3; ceph osd pool set rigid min_size 3",
    )
    settled(lab)
    offline = "gnt-node modify {}--offline=yes node3"
    said = refused(lab.run("node1", offline.format(""), check=False, timeout=300))
    assert "data would be out of reach" in said
    assert "; --force does it anyway" in said
    assert in_ganeti(lab, "offline", "node3") == "N"
    assert [one["up"] for one in osds(lab)["node3"].values()] == [1]

    done = lab.run("node1", offline.format("--force "), timeout=300)
    assert "data would be out of reach" in done.stdout + done.stderr
    assert in_ganeti(lab, "offline", "node3") == "Y"
    assert [one["up"] for one in osds(lab)["node3"].values()] == [0]
    lost = r"Reduced data availability: \d+ pgs? inactive"
    end = time.monotonic() + 60
    while not re.search(lost, shown := status(lab)):
        assert time.monotonic() < end, shown
        time.sleep(1)
    verify = "gnt-cluster verify"
    shown = lab.run("node1", verify, check=False, timeout=300).stdout
    assert re.search(rf"- ERROR: cluster.*: {lost}", shown), shown
    assert re.search(r"- WARNING: cluster.*: Degraded data redundancy", shown), shown
    lives_on(guest)

    # Ganeti's other way back, which knows nothing of daemons.
    done = lab.run("node1", "gnt-node modify --force --offline=no node3", timeout=300)
    again = "gnt-storage repair node3.lab.example"
    assert f"'{again}' brings them back" in done.stdout + done.stderr
    assert [one["up"] for one in osds(lab)["node3"].values()] == [0]
    lab.run("node1", again, timeout=300)
    assert [one["up"] for one in osds(lab)["node3"].values()] == [1]
    lab.run(
        "node1",
        "ceph config set mon mon_allow_pool_delete true;"
        " ceph osd pool delete rigid rigid --yes-i-really-really-mean-it;"
        " ceph config rm mon mon_allow_pool_delete",
    )
    nothing_to_do(lab)
    lives_on(guest)


def test_a_node_without_whose_mon_there_is_no_quorum_stays(lab: TestLab) -> None:
    first, second = sorted(mons(lab) - {"node1"})
    lab.run(first, f"systemctl stop ceph-mon@{first}")
    try:
        end = time.monotonic() + 60
        while first in ceph(lab, "quorum_status")["quorum_names"]:
            assert time.monotonic() < end
            time.sleep(1)
        for force in ("", " --force"):
            offline = f"gnt-node modify --offline=yes{force} {second}"
            said = refused(lab.run("node1", offline, check=False, timeout=300))
            assert f"without its mon there is no quorum: mons {first} do not" in said
        assert in_ganeti(lab, "offline", second) == "N"
        assert second in ceph(lab, "quorum_status")["quorum_names"]
    finally:
        lab.run(first, f"systemctl start ceph-mon@{first}")
    nothing_to_do(lab)


def test_a_node_gets_one_more_disk(guest: Guest) -> None:
    """The chapter "More nodes and disks" of the guide, as far as disks go."""
    lab = guest.lab
    (old,) = osds(lab)["node3"]
    lab.run("node3", f"mv {SPARE}/lab-disk-2 {MORE}")
    modify(lab, f"ceph:disk={DISK},disk={MORE}*")
    planned = f"node3.lab.example: {MORE} (10.0 GiB): make and start an OSD"
    said = lab.run("node1", "gnt-storage repair --dry-run").stdout
    assert said.count("make and start an OSD") == 1
    assert planned in said
    assert list(osds(lab)["node3"]) == [old]
    lab.run("node1", "gnt-storage repair", timeout=300)
    (new,) = set(osds(lab)["node3"]) - {old}
    assert osds(lab)["node3"][new]["up"]
    nothing_to_do(lab)
    lives_on(guest)
    # As it was.
    lab.run("node1", f"ceph osd out {new}")
    settled(lab)
    lab.run("node3", f"systemctl disable --now ceph-osd@{new}")
    modify(lab, f"ceph:disk={DISK}")
    lab.run(
        "node1",
        f"for i in $(seq 60); do ceph osd safe-to-destroy {new} && break; sleep 1;"
        f" done; ceph osd purge {new} --yes-i-really-mean-it",
    )
    lab.run(
        "node3",
        f"rm -r /var/lib/ceph/osd/ceph-{new}; wipefs -qa {MORE};"
        f" head -c 20M /dev/zero > {MORE}; mv {MORE} {SPARE}",
    )
    nothing_to_do(lab)


def blank_disks(lab: TestLab) -> dict[str, str]:
    """Return the disks that node3 and node5 have each aside, as device nodes."""
    command = f"basename $(readlink {SPARE}/lab-disk-2)"
    return {node: lab.run(node, command).stdout.strip() for node in ("node3", "node5")}


def plug(lab: TestLab, node: str, disk: str) -> None:
    """Put a disk, which may be another node's, where parameters look for one more."""
    lab.run(
        node,
        f"[ -e /dev/{disk} ] || mknod /dev/{disk} b 7 {disk.removeprefix('loop')};"
        f" ln -sfn ../../{disk} {MORE}",
    )


def test_an_osd_whose_disk_moved_to_another_node_is_not_made_anew(guest: Guest) -> None:
    lab = guest.lab
    disks = blank_disks(lab)
    (old,), (other,) = osds(lab)["node3"], osds(lab)["node5"]
    plug(lab, "node3", disks["node3"])
    modify(lab, f"ceph:disk={DISK},disk={MORE}*")
    lab.run("node1", "gnt-storage repair node3", timeout=300)
    (moved,) = set(osds(lab)["node3"]) - {old}
    uuid = osds(lab)["node3"][moved]["uuid"]
    settled(lab)

    lab.run("node3", f"systemctl stop ceph-osd@{moved}")
    plug(lab, "node5", disks["node3"])
    plug(lab, "node3", disks["node5"])
    wait_down(lab, "node3", moved)
    lab.run("node1", "gnt-storage repair", timeout=400)
    found = osds(lab)
    assert found["node5"][moved]["uuid"] == uuid
    assert found["node5"][moved]["up"]
    (new,) = set(found["node3"]) - {old}
    assert new != moved
    assert found["node3"][new]["up"]
    # At the next boot it is not tried there.
    enabled = f"systemctl is-enabled ceph-osd@{moved}; true"
    assert lab.run("node3", enabled).stdout == "disabled\n"
    nothing_to_do(lab)
    lives_on(guest)
    # As it was.
    lab.run("node1", f"ceph osd out {moved} {new}")
    settled(lab)
    modify(lab, f"ceph:disk={DISK}")
    for node, osd in (("node3", new), ("node5", moved)):
        lab.run(node, f"systemctl disable --now ceph-osd@{osd}")
        lab.run(
            "node1",
            f"for i in $(seq 60); do ceph osd safe-to-destroy {osd} && break; sleep 1;"
            f" done; ceph osd purge {osd} --yes-i-really-mean-it",
        )
        lab.run(
            node,
            f"rm -r /var/lib/ceph/osd/ceph-{osd}; wipefs -qa {MORE};"
            f" head -c 20M /dev/zero > {MORE}; rm {MORE}",
        )
    lab.run("node3", f"rm -rf /var/lib/ceph/osd/ceph-{moved}")
    assert list(osds(lab)["node5"]) == [other]
    nothing_to_do(lab)


def test_a_drain_shows_how_long_it_takes_and_may_be_taken_back(
    guest: Guest, slowly: None
) -> None:
    lab = guest.lab
    wait_clean(lab)
    lab.run("node1", "gnt-node modify --drained=yes node5")
    moving = r"^Recovery +.*\d+ of \d+ copies to move, .*/s, about .* left$"
    end = time.monotonic() + 60
    while not re.search(moving, shown := status(lab), re.M):
        assert time.monotonic() < end, shown
        time.sleep(0.5)
    assert re.search(rf"^{NODE5} +drained +osd\.\d+ up out", shown, re.M)
    # Half of the way it comes back.
    assert ceph(lab, "status")["pgmap"].get("misplaced_objects", 0) > 0
    lab.run("node1", "gnt-node modify --drained=no node5")
    assert [one["in"] for one in osds(lab)["node5"].values()] == [1]
    assert in_ganeti(lab, "drained", "node5") == "N"
    wait_clean(lab)
    nothing_to_do(lab)
    lives_on(guest)


def test_status_is_shown_again_and_again(lab: TestLab) -> None:
    done = lab.run("node1", "timeout 15 gnt-storage status --watch", check=False)
    first, *screens = done.stdout.split("\033[H\033[J")
    assert first == ""
    assert len(screens) > 1
    for screen in screens[:2]:
        assert re.search(r"^Capacity +\[[#-]+\] ", screen, re.M)
        assert re.search(r"^OSDs +5, 5 up, 5 in$", screen, re.M)


def test_osds_that_are_nearly_full_are_told(lab: TestLab) -> None:
    use = [one["utilization"] for one in ceph(lab, "osd df")["nodes"]]
    words = (
        rf"{len(use)} nearfull osd\(s\): osd\.\d+ is near full;.* \(OSD_NEARFULL\);"
        " add disks or nodes, or remove data"
    )
    lab.run("node1", f"ceph osd set-nearfull-ratio {min(use) / 200}")
    try:
        end = time.monotonic() + 60
        while not re.search(words, shown := status(lab)):
            assert time.monotonic() < end, shown
            time.sleep(1)
        found = lab.run("node1", "gnt-cluster verify", check=False, timeout=300).stdout
        assert re.search(rf"- WARNING: cluster.*: {words}", found), found
    finally:
        lab.run("node1", "ceph osd set-nearfull-ratio 0.85")
    nothing_to_do(lab)


def test_what_verify_tells_of_it_mends(lab: TestLab) -> None:
    new = lab.run("node1", "ceph osd new $(cat /proc/sys/kernel/random/uuid)").stdout
    stray = int(new)
    (osd,) = osds(lab)["node3"]
    ours = "/etc/ceph/ceph.client.ganeti.keyring"
    theirs = f"/var/lib/ceph/osd/ceph-{osd}/keyring"
    # A daemon of Ceph's could not read it at its next start.
    lab.run("node3", f"chown ceph:ceph {ours}; chown root:root {theirs}")
    found = "\n".join(complaints(lab))
    told = "is registered and never ran, and no node that answers has begun it"
    (forget,) = re.findall(rf"osd\.{stray} {told}: '(.*?)' forgets it", found)
    wrong = "has another owner or mode than a key should"
    for path in (ours, theirs):
        (mend,) = re.findall(rf"node3\S*: {path} {wrong}: '(.*?)' mends", found)
    lab.run("node1", forget)
    lab.run("node1", mend, timeout=300)
    nothing_to_do(lab)
    owners = lab.run("node3", f"stat -c '%a %U' {ours} {theirs}").stdout
    assert owners == "600 root\n600 ceph\n"


def test_a_node_that_is_taken_out_keeps_no_key(guest: Guest) -> None:
    """The chapter "Taking nodes out for good" of the guide."""
    lab = guest.lab
    (osd,) = osds(lab)["node5"]
    lab.run("node1", "gnt-node modify --drained=yes node5")
    settled(lab)
    lab.run("node1", "gnt-node modify --offline=yes node5", timeout=300)
    end = time.monotonic() + 60
    while (done := lab.run("node1", "gnt-node remove node5", check=False)).returncode:
        # Until the mgr has heard of it.
        assert "may hold what is nowhere else" in refused(done)
        assert time.monotonic() < end
    assert "still has keys" not in done.stdout + done.stderr
    left = lab.run(
        "node5",
        "ls /etc/ceph /var/lib/ceph/mon /var/lib/ceph/mgr;"
        " find /var/lib/ceph -name '*keyring*'; systemctl list-units"
        " --plain --no-legend --state=active 'ceph-*@*' ganeti-ceph-collector",
    ).stdout
    assert not re.search("keyring|ceph-node5|@|collector", left), left
    assert "node5" not in children_by(lab, "rack").get("R3", [])
    users = {one["entity"] for one in ceph(lab, "auth ls")["auth_dump"]}
    assert not users & {f"osd.{osd}", "mgr.node5"}
    nothing_to_do(lab)
    lives_on(guest)


def aim(lab: TestLab, node: str) -> int:
    """Return how much memory the OSD of a node aims at, in mebibytes."""
    (osd,) = osds(lab)[node]
    said = lab.run(node, f"ceph daemon osd.{osd} config get osd_memory_target").stdout
    return int(json.loads(said)["osd_memory_target"]) >> 20


def test_osds_make_room_for_instances(lab: TestLab) -> None:
    lab.run("node3", "ganeti-watcher", check=False)
    alone = aim(lab, "node3")
    assert alone >= 2048
    big = Guest(lab, "guest2.lab.example")
    big.gnt("add -t rbd -o lab-guest -B memory=4096M -n node3 --disk 0:size=1G")
    lab.run("node3", "ganeti-watcher", check=False)
    # Half of what is left, and the OSD is alone there.
    assert aim(lab, "node3") == pytest.approx(max(2048, alone - 2048), abs=64)
    big.gnt("remove -f --shutdown-timeout=0")
    lab.run("node3", "ganeti-watcher", check=False)
    assert aim(lab, "node3") == alone

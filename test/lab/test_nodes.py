"""The storage cluster's life: nodes come, leave, fail and are replaced.

The tests of this file build on each other, in their order.  A guest writes blocks to
its disk through all of them, and checks them.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import NewLab, Result, TestLab
from guests import Guest
from test_init import DISK, INIT, modify

ADD = ["gnt-node", "add", "--no-ssh-key-check"]
NODE3, NODE4 = "node3.lab.example", "node4.lab.example"

#: Gives a node a role through the remote API, and prints what came of the job.
RAPI_ROLE = """
import base64, json, ssl, sys, time, urllib.request

def ask(path, method="GET", body=None):
    user = base64.b64encode(b"tester:secret").decode()
    request = urllib.request.Request(
        "https://127.0.0.1:5080/2/" + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Basic " + user, "Content-Type": "application/json"},
    )
    context = ssl._create_unverified_context()
    return json.load(urllib.request.urlopen(request, context=context))

job = ask(f"nodes/{sys.argv[1]}.lab.example/role", "PUT", sys.argv[2])
while (found := ask(f"jobs/{job}"))["status"] not in ("success", "error"):
    time.sleep(0.5)
print(json.dumps([found["status"], found["opresult"]]))
"""


@pytest.fixture(scope="module")
def lab(new_lab: NewLab) -> TestLab:
    """Four nodes, of which the last one is not Ganeti's yet, and storage on three."""
    lab = new_lab("--nodes=4")
    lab.run("node1", ["gnt-node", "remove", "node4"])
    modify(lab, f"ceph:disk={DISK}")
    lab.run("node1", INIT, timeout=400)
    return lab


@pytest.fixture(scope="module")
def guest(lab: TestLab) -> Iterator[Guest]:
    """A guest that runs on node1 all the time."""
    guest = Guest(lab, "guest1.lab.example")
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node1 --disk 0:size=1G")
    yield guest
    guest.gnt("remove -f --shutdown-timeout=0", check=False)


def ceph(lab: TestLab, command: str, node: str = "node1") -> Any:
    done = lab.run(node, f"timeout 20 ceph --format json {command} 2>/dev/null")
    return json.loads(done.stdout)


#: What Ceph told of its placement groups, and, of the same map of the OSDs or a later
#: one, where each belongs: figures alone still tell of the time before a change.
PLACES = """
timeout 20 ceph --format json pg dump pgs_brief 2>/dev/null; echo
timeout 20 ceph osd getmap -o /run/osdmap 2>/dev/null
osdmaptool /run/osdmap --test-map-pgs-dump-all 2>/dev/null
"""

#: A line of osdmaptool: ``2.1f raw ([0,2], p0) up ([0,2], p0) acting ([0,2], p0)``.
PLACE = re.compile(r"^(\d+\.[0-9a-f]+)\s.* up \(\[([\d,]*)\]", re.M)


def wait_clean(lab: TestLab, seconds: float = 120, node: str = "node1") -> None:
    """Wait until all copies of all data are where they belong."""
    end = time.monotonic() + seconds
    while True:
        told, _, places = lab.run(node, PLACES).stdout.strip().partition("\n")
        groups = json.loads(told)["pg_stats"]
        wanted = {
            pg: [int(osd) for osd in up.split(",") if osd]
            for pg, up in PLACE.findall(places)
        }
        left = [
            (one["pgid"], one["state"])
            for one in groups
            if not one["state"].startswith("active+clean")
            or one["acting"] != wanted.get(one["pgid"])
        ]
        if len(groups) == len(wanted) and not left:
            return
        assert time.monotonic() < end, left
        time.sleep(1)


def nothing_to_do(lab: TestLab, seconds: float = 60) -> None:
    """Wait until nothing is left to do; Ceph's health checks lag behind."""
    wait_clean(lab)
    end = time.monotonic() + seconds
    while "To do" in (shown := status(lab)):
        assert time.monotonic() < end, shown
        time.sleep(1)


def osds(lab: TestLab) -> dict[str, dict[int, Any]]:
    """Return what Ceph knows of the OSDs, by host and id."""
    known = {one["osd"]: one for one in ceph(lab, "osd dump")["osds"]}
    tree = ceph(lab, "osd tree")["nodes"]
    return {
        node["name"]: {osd: known[osd] for osd in node["children"]}
        for node in tree
        if node["type"] == "host"
    }


def mons(lab: TestLab) -> set[str]:
    return {one["name"] for one in ceph(lab, "mon dump")["mons"]}


def status(lab: TestLab, node: str = "node1") -> str:
    return lab.run(node, "gnt-storage status").stdout


def refused(done: Result) -> str:
    """Return what a command said that had to be refused."""
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    return " ".join(said.split())


def lives_on(guest: Guest) -> None:
    """See that the guest goes on writing, and that all it wrote is whole."""
    now = guest.written(1)
    later = guest.written(1, now.beat + 1)
    assert later.whole == later.blocks == 16


def test_a_healthy_cluster_is_one_quiet_screen(guest: Guest) -> None:
    lab = guest.lab
    wait_clean(lab)
    shown = status(lab)
    assert re.search(r"of node group default: HEALTH_OK$", shown, re.M)
    assert re.search(r"^Mons +node1, node2, node3$", shown, re.M)
    assert re.search(r"^OSDs +3, 3 up, 3 in$", shown, re.M)
    assert re.search(r"^node1.lab.example +online +osd\.\d+ up", shown, re.M)
    assert "To do" not in shown
    said = lab.run("node1", "gnt-storage repair").stdout
    assert "there is nothing to do" in said
    assert lab.run("node1", "gnt-storage repair --dry-run").stdout.endswith(
        "there is nothing to do\n"
    )


def test_what_cannot_be_repaired_is_refused(lab: TestLab) -> None:
    said = refused(lab.run("node1", "gnt-storage repair nowhere", check=False))
    assert "there is no node nowhere" in said
    said = refused(lab.run("node2", "gnt-storage status", check=False))
    assert "node1.lab.example" in said


def test_a_node_that_cannot_join_is_not_even_added(lab: TestLab) -> None:
    lab.run("node4", f"mkfs.ext4 -q -F {DISK}")
    said = refused(lab.run("node1", [*ADD, NODE4], check=False))
    assert f"node4.lab.example: {DISK} carries" in said
    assert "node4" not in lab.run("node1", "gnt-node list --no-headers -o name").stdout
    lab.run("node4", f"wipefs -qa {DISK}")


def test_a_failure_leaves_a_node_that_is_not_part_yet(lab: TestLab) -> None:
    lab.run("node4", "mv /usr/bin/ceph-osd /usr/bin/ceph-osd.aside")
    try:
        done = lab.run("node1", [*ADD, NODE4], check=False, timeout=300)
    finally:
        lab.run("node4", "mv /usr/bin/ceph-osd.aside /usr/bin/ceph-osd")
    said = refused(done)
    assert f"go on from here with 'gnt-storage repair {NODE4}'" in said
    assert "node4" in lab.run("node1", "gnt-node list --no-headers -o name").stdout
    told = f"{NODE4}: it is not part of the storage cluster yet: 'gnt-storage repair"
    assert told in status(lab)
    found = lab.run("node1", "gnt-cluster verify", check=False, timeout=300).stdout
    assert f"node {NODE4}: it is not part of the storage cluster yet" in found


def test_it_goes_on_from_there(guest: Guest) -> None:
    lab = guest.lab
    said = lab.run("node1", "gnt-storage repair node4", timeout=300).stdout
    assert "all daemons are up" in said
    assert [one["up"] for one in osds(lab)["node4"].values()] == [1]
    # There are mons enough, and the administrator's key is with them.
    assert mons(lab) == {"node1", "node2", "node3"}
    keyrings = lab.run("node4", "ls /etc/ceph/*.keyring").stdout.split()
    users = ("ganeti-collector", "ganeti")
    assert keyrings == [f"/etc/ceph/ceph.client.{user}.keyring" for user in users]
    nothing_to_do(lab)
    lives_on(guest)


def test_only_an_offline_node_changes_its_group(lab: TestLab) -> None:
    lab.run("node1", "gnt-group add other")
    said = refused(lab.run("node1", "gnt-group assign-nodes other node4", check=False))
    assert f"{NODE4} is part of the storage cluster of group default" in said


def offline(lab: TestLab, *options: str) -> list[str]:
    """Take node3 offline; return the titles of the stages and all that is said."""
    # Ceph's balancer may have some placement groups peer just then.
    end = time.monotonic() + 60
    while True:
        words = ["gnt-node", "modify", *options, "--offline=yes", "node3"]
        done = lab.run("node1", words, check=False, timeout=300)
        if done.returncode == 0 or time.monotonic() > end:
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()
        assert "data would be out of reach" in refused(done)
        time.sleep(2)


def stages(lines: list[str]) -> list[str]:
    return [line.partition(" * ")[2] for line in lines if " * " in line]


#: How many objects an image gets before a node leaves and comes back.
FILLED = 32


def test_an_offline_node_hands_its_work_over(guest: Guest) -> None:
    lab = guest.lab
    lab.run(
        "node1",
        f"rbd create filler --size {FILLED * 4}M; rbd bench filler --io-type write"
        f" --io-size 4M --io-total {FILLED * 4}M",
    )
    wait_clean(lab)
    before = osds(lab)["node3"]
    planned = offline(lab, "--dry-run")
    assert osds(lab)["node3"] == before
    done = offline(lab)
    assert stages(planned)
    assert stages(planned) == stages(done), "it did other than it said"
    assert any("mon.node4 runs" in line for line in done), done
    assert mons(lab) == {"node1", "node2", "node4"}
    ((_, osd),) = osds(lab)["node3"].items()
    assert not osd["up"]
    assert [one["uuid"] for one in before.values()] == [osd["uuid"]]
    left = lab.run(
        "node3",
        "systemctl list-units --plain --no-legend --state=active 'ceph-*@*.service';"
        " ls /etc/ceph; systemctl is-enabled ceph-mon@node3 || true",
    ).stdout
    assert "ceph-mon@" not in left
    assert "ceph-osd@" not in left
    assert "client.admin" not in left
    # The collector's key went with its service.
    assert "ganeti-collector" not in left
    assert "disabled" in left
    lives_on(guest)


def recovered(lab: TestLab) -> int:
    """Return how many objects were copied to another OSD so far."""
    groups = ceph(lab, "pg dump pgs")["pg_stats"]
    return sum(group["stat_sum"]["num_objects_recovered"] for group in groups)


def test_a_node_comes_back_with_its_data(guest: Guest) -> None:
    lab = guest.lab
    before = osds(lab)["node3"]
    copied = recovered(lab)
    lab.run("node1", [*ADD, "--readd", NODE3], timeout=300)
    after = osds(lab)["node3"]
    assert {one: osd["uuid"] for one, osd in after.items()} == {
        one: osd["uuid"] for one, osd in before.items()
    }
    assert all(osd["up"] and osd["in"] for osd in after.values())
    wait_clean(lab)
    # Nothing but what the guest wrote meanwhile is copied.
    assert recovered(lab) - copied < FILLED // 4
    lab.run("node1", "rbd rm --no-progress filler")
    lives_on(guest)


def test_a_node_that_only_does_not_answer_is_not_taken_for_dead(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node3", "/usr/lib/ganeti/daemon-util stop ganeti-noded")
    command = "gnt-node modify --offline=yes node3"
    said = refused(lab.run("node1", command, check=False, timeout=300))
    assert "its daemons run, and would be taken for dead" in said
    lab.run("node3", "/usr/lib/ganeti/daemon-util start ganeti-noded")
    assert all(osd["up"] and osd["in"] for osd in osds(lab)["node3"].values())
    nothing_to_do(lab)
    lives_on(guest)


def test_a_drained_node_s_data_moves_away_and_may_come_back(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node1", "gnt-node modify --drained=yes node2")
    assert [osd["in"] for osd in osds(lab)["node2"].values()] == [0]
    wait_clean(lab)
    use = {one["name"]: one["pgs"] for one in ceph(lab, "osd df")["nodes"]}
    (drained,) = osds(lab)["node2"]
    assert use[f"osd.{drained}"] == 0
    assert re.search(r"^node2.lab.example +drained +osd\.\d+ up out", status(lab), re.M)
    lives_on(guest)
    lab.run("node1", "gnt-node modify --drained=no node2")
    assert [osd["in"] for osd in osds(lab)["node2"].values()] == [1]
    wait_clean(lab)


def test_a_node_that_died_is_told_of_and_taken_out(guest: Guest) -> None:
    lab = guest.lab
    lab.kill("node4")
    lives_on(guest)
    end = time.monotonic() + 90
    while "is down; if the node stays away" not in (shown := status(lab)):
        assert time.monotonic() < end, shown
    assert f"'gnt-node modify --offline=yes {NODE4}'" in shown
    said = refused(lab.run("node1", "gnt-node remove node4", check=False))
    assert "mark it offline first" in said

    lab.run("node1", "gnt-node modify --offline=yes node4", timeout=300)
    assert mons(lab) == {"node1", "node2", "node3"}
    assert [osd["in"] for osd in osds(lab)["node4"].values()] == [0]
    lives_on(guest)


def test_nothing_that_is_nowhere_else_is_removed_with_a_node(guest: Guest) -> None:
    lab = guest.lab
    # Its data has moved to the others; until then Ceph objects.
    end = time.monotonic() + 120
    while True:
        done = lab.run("node1", "gnt-node remove node4", check=False, timeout=300)
        if done.returncode == 0:
            break
        assert "may hold what is nowhere else" in refused(done)
        assert time.monotonic() < end, done.stderr
        time.sleep(2)
    assert set(osds(lab)) == {"node1", "node2", "node3"}
    keys = [one["entity"] for one in ceph(lab, "auth ls")["auth_dump"]]
    assert sum(one.startswith("osd.") for one in keys) == 3
    assert "mgr.node4" not in keys
    wait_clean(lab)
    lives_on(guest)


def test_copies_without_a_place_keep_their_node(guest: Guest) -> None:
    lab = guest.lab
    said = refused(lab.run("node1", "gnt-node modify --drained=yes node3", check=False))
    assert "there are only 2 failure domains (host) for them; add a node first" in said
    lab.run("node1", "gnt-node modify --offline=yes node3", timeout=300)
    # No other node could have its mon, which may be needed to bring a quorum back.
    assert mons(lab) == {"node1", "node2", "node3"}
    (gone,) = osds(lab)["node3"].values()
    assert not gone["up"], "Ceph was told at once"
    said = refused(lab.run("node1", "gnt-node modify --offline=yes node2", check=False))
    assert "data would be out of reach" in said
    assert "--force does it anyway" in said
    said = refused(lab.run("node1", "gnt-node remove node3", check=False))
    assert "may hold what is nowhere else" in said
    lives_on(guest)


def test_other_ways_into_ganeti_are_refused_alike(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node1", "echo 'tester secret write' > /var/lib/ganeti/rapi/users")
    done = lab.run("node1", ["/usr/bin/python3", "-c", RAPI_ROLE, "node2", "offline"])
    status, result = json.loads(done.stdout)
    assert status == "error"
    assert "data would be out of reach" in str(result)
    assert osds(lab)["node2"]
    lives_on(guest)


def test_a_replaced_disk_gets_an_osd_of_the_old_id(guest: Guest) -> None:
    lab = guest.lab
    (before,) = osds(lab)["node3"]
    lab.run("node3", f"wipefs -qa {DISK}; head -c 20M /dev/zero > {DISK}")
    lab.run("node1", [*ADD, "--readd", NODE3], timeout=300)
    after = osds(lab)["node3"]
    assert list(after) == [before]
    assert after[before]["up"]
    assert mons(lab) == {"node1", "node2", "node3"}
    wait_clean(lab)
    lives_on(guest)


def test_the_next_master_goes_on(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node2", "gnt-cluster master-failover", timeout=300)
    assert "HEALTH_OK" in status(lab, "node2")
    said = lab.run("node2", "gnt-storage repair", timeout=300).stdout
    assert "there is nothing to do" in said
    lives_on(guest)
    lab.run("node1", "gnt-cluster master-failover", timeout=300)


def test_new_names_and_certificates_change_nothing(guest: Guest) -> None:
    lab = guest.lab
    lab.run("node1", "gnt-group rename default storage")
    lab.run(
        "node1",
        "gnt-cluster renew-crypto --force --new-cluster-certificate"
        " --new-node-certificates --new-confd-hmac-key",
        timeout=300,
    )
    assert "of node group storage: HEALTH_" in status(lab)
    said = lab.run("node1", "gnt-storage repair", timeout=300).stdout
    assert "there is nothing to do" in said
    lab.run("node1", "gnt-group rename storage default")
    # Another name at the same address; a copy, as the file may not be replaced.
    names = lab.run("node1", "cat /etc/hosts").stdout
    renamed = names.replace(
        "cluster.lab.example", "neu.lab.example cluster.lab.example"
    )
    lab.run("node1", "cat > /etc/hosts", stdin=renamed)
    lab.run("node1", "gnt-cluster rename -f neu.lab.example")
    (image,) = guest.images()
    told = f"rbd image-meta get rbd/{image} ganeti.cluster"
    assert lab.run("node1", told).stdout == "neu.lab.example\n"
    lab.run("node1", "cat > /etc/hosts", stdin=names)
    lab.run("node1", "gnt-cluster rename -f cluster.lab.example")
    assert lab.run("node1", told).stdout == "cluster.lab.example\n"
    lives_on(guest)


def test_the_watcher_starts_what_died_and_sets_the_osds_memory(lab: TestLab) -> None:
    (osd,) = osds(lab)["node2"]
    unit = f"ceph-osd@{osd}"
    lab.run("node1", "gnt-cluster modify -S ceph:osd-memory=1G")
    # So often that systemd gives up.
    lab.run(
        "node2",
        f"for i in 1 2 3 4 5 6; do systemctl kill -s KILL {unit}; sleep 0.5;"
        f" systemctl start {unit}; done; true",
    )
    end = time.monotonic() + 60
    while "failed" not in lab.run("node2", f"systemctl is-failed {unit}; true").stdout:
        lab.run("node2", f"systemctl kill -s KILL {unit}; true")
        assert time.monotonic() < end
        time.sleep(1)
    lab.run("node2", "ganeti-watcher --no-verify-disks || ganeti-watcher", check=False)
    end = time.monotonic() + 60
    while not osds(lab)["node2"][osd]["up"]:
        assert time.monotonic() < end
        time.sleep(1)
    lab.run("node2", "ganeti-watcher", check=False)
    aim = lab.run("node2", f"ceph daemon osd.{osd} config get osd_memory_target")
    assert json.loads(aim.stdout) == {"osd_memory_target": str(2**30)}
    # One that somebody stopped is let be.
    lab.run("node2", f"systemctl stop {unit}; ganeti-watcher; true")
    assert lab.run("node2", f"systemctl is-active {unit}; true").stdout == "inactive\n"
    lab.run("node1", "gnt-storage repair", timeout=300)
    nothing_to_do(lab)


def test_instances_do_not_get_the_memory_of_osds(lab: TestLab) -> None:
    command = "gnt-node list --no-headers --units=m -o mfree node2"
    end = time.monotonic() + 60
    while True:
        lab.run("node1", "gnt-cluster modify -S ceph:osd-memory=1G")
        few = int(lab.run("node1", command).stdout)
        lab.run("node1", "gnt-cluster modify -S ceph:osd-memory=3G")
        many = int(lab.run("node1", command).stdout)
        # The host has other work.
        if few - many == pytest.approx(2048, abs=400):
            break
        assert time.monotonic() < end, (few, many)
    lab.run("node1", "gnt-cluster modify -S ceph:osd-memory=")


def test_what_differs_is_verified_and_mended(lab: TestLab) -> None:
    lab.run(
        "node3",
        "systemctl kill -s KILL ceph-osd@*; systemctl stop 'ceph-osd@*';"
        " echo '# mine' >> /etc/ceph/ceph.conf;"
        " chmod 644 /etc/ceph/ceph.client.ganeti.keyring",
    )
    found = lab.run("node1", "gnt-cluster verify", check=False, timeout=300).stdout
    assert "to do: write /etc/ceph/ceph.conf" in found
    assert f"to do: {DISK}: start osd." in found
    path = "/etc/ceph/ceph.client.ganeti.keyring"
    assert f"node {NODE3}: {path} has another owner or mode" in found
    lab.run("node1", "gnt-storage repair", timeout=300)
    assert lab.run("node3", f"stat -c '%a %U' {path}").stdout == "600 root\n"
    nothing_to_do(lab)


#: Another content for an object in one OSD's store, without that OSD's knowledge.
HARM = """
set -e
systemctl stop ceph-osd@{osd}
head -c 65536 /dev/urandom > /run/harm
ceph-objectstore-tool --data-path /var/lib/ceph/osd/ceph-{osd} --pgid {group} \
    harmed set-bytes /run/harm
systemctl start ceph-osd@{osd}
"""


def harm(lab: TestLab) -> str:
    """Damage the copy of an object that clients read; return its placement group."""
    lab.run("node1", "head -c 65536 /dev/urandom > /run/good")
    lab.run("node1", "rados -p rbd put harmed /run/good")
    found = ceph(lab, "osd map rbd harmed")
    osd, group = found["acting_primary"], str(found["pgid"])
    (node,) = (name for name, there in osds(lab).items() if osd in there)
    lab.run(node, HARM.format(osd=osd, group=group))
    nothing_to_do(lab)
    end = time.monotonic() + 120
    while "(PG_DAMAGED)" not in (shown := status(lab)):
        assert time.monotonic() < end, shown
        lab.run("node1", f"ceph pg deep-scrub {group}")
        time.sleep(5)
    return group


def is_whole(lab: TestLab) -> None:
    """See that the object which was harmed is as it was, and drop it."""
    lab.run("node1", "rados -p rbd get harmed /run/now; cmp /run/good /run/now")
    lab.run("node1", "rados -p rbd rm harmed")


def crash(lab: TestLab) -> str:
    """Let a mgr crash, and Ceph know; return its node."""
    (standby, *_) = ceph(lab, "mgr dump")["standbys"]
    node = str(standby["name"])
    # Some may be there from the ends of tests.
    lab.run(node, "rm -rf /var/lib/ceph/crash/2*")
    lab.run(node, f"systemctl kill -s SEGV ceph-mgr@{node}")
    written = "until ls /var/lib/ceph/crash/2*/done; do sleep 0.2; done 2>/dev/null"
    lab.run(node, f"timeout 60 bash -c '{written}'")
    meta = lab.run(node, "cat $(ls -d /var/lib/ceph/crash/2*/meta | head -1)").stdout
    # What ceph-crash does every ten minutes.
    lab.run("node1", "timeout 20 ceph crash post -i -", stdin=meta)
    end = time.monotonic() + 60
    while "(RECENT_CRASH)" not in (shown := status(lab)):
        assert time.monotonic() < end, shown
        time.sleep(2)
    return node


def test_damaged_copies_are_told_and_made_anew(lab: TestLab) -> None:
    group = harm(lab)
    shown = status(lab)
    assert f": pg {group} is active+clean+inconsistent" in shown
    assert "'gnt-storage repair' has damaged copies made anew" in shown
    step = f"make damaged copies anew from good ones in the placement groups {group}"
    assert step in lab.run("node1", "gnt-storage repair --dry-run").stdout
    assert "inconsistent" in status(lab)
    said = lab.run("node1", "gnt-storage repair", timeout=300).stdout
    assert f"placement groups {group} are whole" in said
    is_whole(lab)
    nothing_to_do(lab)
    assert "there is nothing to do" in lab.run("node1", "gnt-storage repair").stdout


def test_what_crashed_is_told_until_it_is_marked_as_seen(lab: TestLab) -> None:
    node = crash(lab)
    shown = status(lab)
    assert f"mgr.{node} crashed on host {node}" in shown
    assert "'gnt-storage repair --archive-crashes' marks all as seen" in shown
    assert "there is nothing to do" in lab.run("node1", "gnt-storage repair").stdout
    assert "RECENT_CRASH" in status(lab)
    said = lab.run("node1", "gnt-storage repair --archive-crashes").stdout
    assert "what crashed is marked as seen" in said
    nothing_to_do(lab)
    said = lab.run("node1", "gnt-storage repair --archive-crashes").stdout
    assert "there is nothing to do" in said

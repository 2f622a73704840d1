"""What administrators do by hand, and what the storage cluster's life then meets.

Buckets and rules of their own in the CRUSH map, disks marked out and replaced, pools
that are erasure coded, daemons that die again and again.  Each test leaves the storage
cluster healthy.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import NewLab, TestLab
from test_collector import get
from test_init import INIT, modify
from test_nodes import ADD, ceph, mons, nothing_to_do, osds, refused, status, wait_clean

pytestmark = pytest.mark.slow

BY_ID = "/dev/disk/by-id"
#: Where the disks are that no parameter names.
SPARE = "/dev/disk/spare"
DISKS = f"ceph:disk={BY_ID}/lab-disk-*,db-device={BY_ID}/lab-db-*"
LOG = "/var/log/ganeti/watcher.log"
COLLECTOR = "ganeti-ceph-collector"
COLLECTOR_KEY = "/etc/ceph/ceph.client.ganeti-collector.keyring"
NOTHING = "there is nothing to do"
#: What the drain and other tests move, in mebibytes.
DATA = 250


@pytest.fixture(scope="module")
def lab(new_lab: NewLab) -> TestLab:
    """Four nodes with some data; the last has two OSDs and a database for each."""
    lab = new_lab("--nodes=4", "--disks=4")
    for node in ("node1", "node2", "node3"):
        lab.run(
            node,
            f"mkdir -p {SPARE}; cd {BY_ID};"
            f" find . -name 'lab-disk-[234]' -exec mv -t {SPARE} {{}} +",
        )
    lab.run(
        "node4",
        f"mkdir -p {SPARE}; cd {BY_ID}; [ -e lab-db-1 ] ||"
        " { mv lab-disk-3 lab-db-1 && mv lab-disk-4 lab-db-2; }",
    )
    modify(lab, DISKS)
    lab.run("node1", INIT, timeout=400)
    weigh(lab)
    # The loop devices pass for slow disks, which recovery is to spare.
    lab.run(
        "node1",
        "ceph config set osd osd_mclock_profile high_recovery_ops;"
        " ceph config set osd osd_recovery_sleep_hdd 0",
    )
    lab.run(
        "node1",
        "rbd info lab-data >/dev/null 2>&1 || rbd create --size 1G lab-data;"
        " rbd bench --io-type write --io-size 4M --io-threads 4 --io-pattern seq"
        f" --io-total {DATA}M lab-data",
        timeout=400,
    )
    settled(lab)
    return lab


def weigh(lab: TestLab) -> None:
    """Give the OSDs of node4 together the weight that the others have.

    Where hosts are as many as copies, CRUSH may give up before it finds the lightest.
    """
    for osd in osds(lab)["node4"]:
        lab.run("node1", f"ceph osd crush reweight osd.{osd} 0.0049")


def settled(lab: TestLab) -> None:
    """Wait until all data is where a change of Ceph's maps wants it."""
    # The mgr has to hear of that first, from OSDs that report every five seconds.
    time.sleep(10)
    wait_clean(lab, 240)


def place(lab: TestLab) -> dict[str, dict[str, str]]:
    """Return where the CRUSH map has each host bucket and each OSD."""
    tree = ceph(lab, "osd tree")["nodes"]
    return {
        child["name"]: {node["type"]: node["name"]}
        for node in tree
        for child in tree
        if child["id"] in node.get("children", ())
    }


def complaints(lab: TestLab) -> list[str]:
    """Return what gnt-cluster verify says of the storage cluster."""
    done = lab.run("node1", "gnt-cluster verify", check=False, timeout=300)
    said = done.stdout
    assert "* Verifying the storage cluster" in said, done.stderr
    lines = re.findall(r"- (?:ERROR|WARNING): .*", said)
    # A container cannot mount everything.
    return [line for line in lines if "procfs" not in line]


def ceph_of(lab: TestLab, host: str) -> dict[int, Any]:
    """Return the OSDs of a host as far as they must not change by themselves."""
    kept = ("uuid", "up", "in", "up_from", "public_addr")
    found = osds(lab)[host].items()
    return {osd: {name: one[name] for name in kept} for osd, one in found}


def in_ganeti(lab: TestLab, field: str, node: str) -> str:
    command = f"gnt-node list --no-headers -o {field} {node}"
    return lab.run("node1", command).stdout.strip()


def readd(lab: TestLab, node: str) -> None:
    lab.run("node1", [*ADD, "--readd", f"{node}.lab.example"], timeout=300)


def go_offline(lab: TestLab, node: str) -> None:
    # Ceph's balancer may have some placement groups peer just then.
    end = time.monotonic() + 60
    command = f"gnt-node modify --offline=yes {node}"
    while (done := lab.run("node1", command, check=False, timeout=300)).returncode:
        assert "data would be out of reach" in refused(done)
        assert time.monotonic() < end, done.stderr
        time.sleep(2)


@contextmanager
def pool_of(lab: TestLab, name: str, create: str) -> Iterator[None]:
    """Make a pool and take it away again."""
    lab.run(
        "node1",
        f"{create}; ceph osd pool set {name} pg_autoscale_mode off;"
        f" ceph osd pool application enable {name} rbd",
    )
    try:
        settled(lab)
        yield
    finally:
        lab.run(
            "node1",
            "ceph config set mon mon_allow_pool_delete true;"
            f" ceph osd pool delete {name} {name} --yes-i-really-really-mean-it;"
            " ceph config rm mon mon_allow_pool_delete",
        )


# Buckets of the administrator's


@pytest.fixture
def buckets(lab: TestLab) -> Iterator[dict[str, dict[str, str]]]:
    """node4 below a rack, and its second OSD in a host bucket for fast disks."""
    before = place(lab)
    _, osd = sorted(osds(lab)["node4"])
    weight = next(
        one["crush_weight"]
        for one in ceph(lab, "osd tree")["nodes"]
        if one["id"] == osd
    )
    spot = "root=lab-fast host=node4-fast"
    lab.run(
        "node1",
        "set -e; ceph osd crush add-bucket lab-rack rack;"
        " ceph osd crush move lab-rack root=default;"
        " ceph osd crush move node4 rack=lab-rack;"
        " ceph osd crush add-bucket lab-fast root;"
        " ceph osd crush add-bucket node4-fast host;"
        " ceph osd crush move node4-fast root=lab-fast;"
        # Ceph itself would move it back when it starts.
        f" ceph config set osd.{osd} crush_location '{spot}';"
        f" ceph osd crush set osd.{osd} {weight} {spot}",
    )
    settled(lab)
    yield place(lab)
    lab.run(
        "node1",
        f"ceph config rm osd.{osd} crush_location;"
        f" ceph osd crush set osd.{osd} {weight} root=default host=node4;"
        " ceph osd crush move node4 root=default;"
        " for b in node4-fast lab-fast lab-rack; do ceph osd crush rm $b; done",
    )
    assert place(lab) == before
    settled(lab)
    nothing_to_do(lab)


def test_buckets_of_the_administrator_s_are_let_be(
    lab: TestLab, buckets: dict[str, dict[str, str]]
) -> None:
    assert buckets["node4"] == {"rack": "lab-rack"}
    nothing_to_do(lab)
    assert NOTHING in lab.run("node1", "gnt-storage repair").stdout
    assert complaints(lab) == []
    assert place(lab) == buckets

    before = {osd: one["uuid"] for osd, one in osds(lab)["node4"].items()}
    go_offline(lab, "node4")
    down = [one["up"] for host in ("node4", "node4-fast") for one in up_of(lab, host)]
    assert down == [0, 0]
    assert place(lab) == buckets
    readd(lab, "node4")
    assert place(lab) == buckets
    assert {osd: one["uuid"] for osd, one in osds(lab)["node4"].items()} == before
    assert [one["up"] for one in up_of(lab, "node4-fast")] == [1]
    nothing_to_do(lab)
    assert complaints(lab) == []


def up_of(lab: TestLab, host: str) -> list[Any]:
    return list(osds(lab)[host].values())


# The collector


def test_the_collector_goes_and_comes_with_its_node(lab: TestLab) -> None:
    state = f"systemctl is-active {COLLECTOR}; systemctl is-enabled {COLLECTOR}; true"
    assert lab.run("node3", state).stdout.split() == ["active", "enabled"]
    key = lab.run("node3", f"cat {COLLECTOR_KEY}").stdout
    go_offline(lab, "node3")
    assert lab.run("node3", state).stdout.split() == ["inactive", "disabled"]
    assert lab.run("node3", f"ls {COLLECTOR_KEY}", check=False).returncode == 2
    # The others' go on, with the same key.
    assert lab.run("node2", state).stdout.split() == ["active", "enabled"]
    readd(lab, "node3")
    assert lab.run("node3", state).stdout.split() == ["active", "enabled"]
    assert lab.run("node3", f"cat {COLLECTOR_KEY}").stdout == key
    assert lab.run("node3", f"stat -c '%a %U' {COLLECTOR_KEY}").stdout == "600 root\n"
    assert "ganeti_ceph_" in get(lab, "node3", "/metrics")
    nothing_to_do(lab)


# The watcher's attempts


@pytest.fixture
def dying(lab: TestLab) -> Iterator[int]:
    """An OSD of node2 that dies whenever it is started, and did so too often."""
    (osd,) = osds(lab)["node2"]
    unit, key = f"ceph-osd@{osd}", f"/var/lib/ceph/osd/ceph-{osd}/keyring"
    quick = f"/run/systemd/system/{unit}.service.d"
    lab.run(
        "node2",
        # systemd waits for ten seconds each time.
        f"mkdir -p {quick};"
        f" printf '[Service]\\nRestartSec=200ms\\n' > {quick}/lab.conf;"
        f" systemctl daemon-reload; mv {key} {key}.aside; install -m 600 -o root"
        f" /dev/null {key}; systemctl kill -s KILL {unit}",
    )
    wait_failed(lab, unit)
    yield osd
    lab.run(
        "node2",
        f"mv {key}.aside {key}; rm -r {quick}; systemctl daemon-reload;"
        f" systemctl enable {unit}",
    )
    lab.run("node1", "gnt-storage repair", timeout=300)
    assert osds(lab)["node2"][osd]["up"]
    nothing_to_do(lab)


def wait_failed(lab: TestLab, unit: str) -> None:
    """Wait until systemd gives a unit up."""
    lab.run(
        "node2",
        f"for i in $(seq 300); do sleep 0.2; systemctl is-failed -q {unit} && exit;"
        f" done; systemctl status {unit}; exit 1",
    )


def watched(lab: TestLab, node: str = "node2") -> list[str]:
    """Run a node's watcher; return what it logged of starting daemons."""
    words = f"truncate -s 0 {LOG} 2>/dev/null; ganeti-watcher; cat {LOG}"
    said = lab.run(node, words).stdout
    assert "ganeti-watcher" in said
    return re.findall(r"ganeti-ceph (?:started|leaves) .*", said)


def test_the_watcher_starts_a_daemon_three_times_a_day(
    lab: TestLab, dying: int
) -> None:
    unit = f"ceph-osd@{dying}.service"
    begun = f"systemctl show -P InvocationID {unit}"
    runs = [lab.run("node2", begun).stdout]
    for _ in range(3):
        assert watched(lab) == [f"ganeti-ceph started {unit}, which had died"]
        wait_failed(lab, unit)
        runs.append(lab.run("node2", begun).stdout)
    assert len(set(runs)) == 4
    left = (
        f"ganeti-ceph leaves {unit} down: it died again and again ('journalctl -u"
        f" {unit}' says of what); 'gnt-storage repair' starts it"
    )
    for _ in range(2):
        assert watched(lab) == [left]
    assert lab.run("node2", begun).stdout == runs[-1]
    shown = status(lab)
    assert f"node2.lab.example: to do: {BY_ID}/lab-disk-1: start osd.{dying}" in shown
    # A day later the first of them counts no more.
    tries = f"/run/ganeti-ceph/tries/{unit}"
    count = lab.run("node2", f"wc -w < {tries}").stdout
    assert count == "3\n"
    lab.run("node2", f"awk '{{$1 -= 86400; print}}' CONVFMT=%.6f {tries} > /run/aged")
    lab.run("node2", f"cat /run/aged > {tries}; rm /run/aged")
    assert watched(lab) == [f"ganeti-ceph started {unit}, which had died"]
    wait_failed(lab, unit)
    assert watched(lab) == [left]


def test_the_watcher_lets_be_what_an_administrator_took_out(
    lab: TestLab, dying: int
) -> None:
    unit = f"ceph-osd@{dying}.service"
    lab.run("node2", f"systemctl disable {unit}")
    assert watched(lab) == []
    assert lab.run("node2", f"systemctl is-active {unit}; true").stdout == "failed\n"
    lab.run("node2", f"systemctl enable {unit}")
    assert watched(lab) == [f"ganeti-ceph started {unit}, which had died"]


def test_the_watcher_lets_be_what_an_administrator_stopped(lab: TestLab) -> None:
    standby = ceph(lab, "mgr dump")["standbys"][0]["name"]
    mon = sorted(mons(lab))[-1]
    for kind, node in (("mgr", standby), ("mon", mon)):
        unit = f"ceph-{kind}@{node}"
        lab.run(node, f"systemctl stop {unit}")
        # Ceph has to miss it before it is said.
        end = time.monotonic() + 90
        while f"to do: make and start {kind}.{node}" not in (shown := status(lab)):
            assert time.monotonic() < end, shown
            time.sleep(1)
        assert watched(lab, node) == []
        state = lab.run(node, f"systemctl is-active {unit}; true").stdout
        assert state == "inactive\n"
        lab.run("node1", "gnt-storage repair", timeout=300)
        assert lab.run(node, f"systemctl is-active {unit}").stdout == "active\n"
    nothing_to_do(lab)


# Mons


def test_a_lost_quorum_comes_back_with_one_command(lab: TestLab) -> None:
    """The chapter "The mons have lost their quorum" of the guide."""
    digest = "rbd export --no-progress lab-data - | sha256sum"
    before = lab.run("node1", digest, timeout=120).stdout
    runs, *stopped = sorted(mons(lab))
    # The one node without a mon.
    (mute,) = {f"node{number}" for number in range(1, 5)} - {runs, *stopped}
    names = [f"mon.{node}" for node in stopped]
    told = "; ".join([f"mon.{runs} runs", *(f"{one} does not run" for one in names)])
    mends = f"'gnt-storage repair' starts {', '.join(names)}"

    def stop() -> None:
        for node in stopped:
            lab.run(node, f"systemctl disable --now ceph-mon@{node}")
        # The one that is left takes some seconds to notice.
        silent = "while timeout 5 ceph mon stat; do sleep 1; done > /dev/null 2>&1"
        lab.run("node1", silent)

    def states(verb: str) -> list[str]:
        words = f"systemctl {verb} ceph-mon@$(hostname -s); true"
        return [lab.run(node, words).stdout.strip() for node in stopped]

    stop()
    # A node that does not answer either keeps no mon from being started.
    daemon = "/usr/lib/ganeti/daemon-util {} ganeti-noded"
    lab.run(mute, daemon.format("stop"))
    try:
        shown = " ".join(status(lab).split())
        assert "of node group default: does not answer" in shown
        away = f"{mute}.lab.example does not answer"
        assert f"the storage cluster does not answer: {told}; {away}" in shown
        assert mends in shown
        said = refused(lab.run("node1", "gnt-storage repair", check=False, timeout=300))
        assert f"{mute}.lab.example: is its node daemon running?" in said
    finally:
        lab.run(mute, daemon.format("start"))
    assert states("is-active") == ["active", "active"]
    assert set(ceph(lab, "quorum_status")["quorum_names"]) == {runs, *stopped}

    stop()
    (cluster,) = [one for one in complaints(lab) if "does not answer" in one]
    assert f"{told}: {mends}" in cluster
    planned = lab.run("node1", "gnt-storage repair --dry-run", timeout=120).stdout
    for node in stopped:
        assert f"start mon.{node} and wait for a quorum" in planned
    assert states("is-active") == ["inactive", "inactive"]
    lab.run("node1", "gnt-storage repair", timeout=300)
    assert states("is-active") == ["active", "active"]
    assert states("is-enabled") == ["enabled", "enabled"]
    assert set(ceph(lab, "quorum_status")["quorum_names"]) == {runs, *stopped}
    assert lab.run("node1", digest, timeout=120).stdout == before
    nothing_to_do(lab)


# Disks


def test_an_osd_marked_out_by_hand_comes_back_on_a_new_disk(lab: TestLab) -> None:
    ((osd, before),) = osds(lab)["node2"].items()
    lab.run("node1", f"ceph osd out {osd}")
    settled(lab)
    # Out it stays, unless the node is named.
    told = f"osd.{osd} is marked out and takes no data: 'gnt-storage repair node2"
    assert any(told in line for line in complaints(lab))
    assert NOTHING in lab.run("node1", "gnt-storage repair").stdout
    assert not osds(lab)["node2"][osd]["in"]
    lab.run(
        "node2",
        f"systemctl stop ceph-osd@{osd}; cd {BY_ID}; mv lab-disk-1 {SPARE}/old;"
        f" mv {SPARE}/lab-disk-2 lab-disk-1; mv {SPARE}/old {SPARE}/lab-disk-2",
    )
    wait_down(lab, "node2", osd)
    said = lab.run("node1", "gnt-storage repair", timeout=300).stdout
    assert f"osd.{osd} runs on {BY_ID}/lab-disk-1" in said
    ((new, after),) = osds(lab)["node2"].items()
    assert new == osd
    assert (after["up"], after["in"], after["weight"]) == (1, 1, 1)
    # The registration is a new one.
    assert after["up_from"] > before["up_from"]
    settled(lab)
    use = {one["id"]: one["pgs"] for one in ceph(lab, "osd df")["nodes"]}
    assert use[osd] > 0
    nothing_to_do(lab)
    # What it was before is blank for the next one.
    lab.run("node2", f"wipefs -qa {SPARE}/lab-disk-2")
    lab.run("node2", f"head -c 20M /dev/zero > {SPARE}/lab-disk-2")


def test_a_lost_disk_s_database_is_not_given_away(lab: TestLab) -> None:
    lost = osd_on(lab, f"{BY_ID}/lab-disk-2")
    link = f"/var/lib/ceph/osd/ceph-{lost}/block.db"
    database = lab.run("node4", f"readlink {link}").stdout.strip()
    lab.run(
        "node4",
        f"systemctl stop ceph-osd@{lost}; mv {BY_ID}/lab-disk-2 {SPARE}/gone",
    )
    wait_down(lab, "node4", lost)
    # Without a new disk nothing is made with it, and others are mended.
    before = ceph_of(lab, "node4")
    (other,) = osds(lab)["node1"]
    lab.run("node1", f"systemctl stop ceph-osd@{other}")
    said = lab.run("node1", "gnt-storage repair", timeout=300).stdout
    assert f"osd.{other} runs on" in said
    gone = f"osd.{lost} is down, and no device that ceph:disk names carries it"
    assert gone in said
    assert gone in status(lab)

    # A blank one with another name.
    new = f"{BY_ID}/lab-disk-2b"
    lab.run(
        "node4",
        f"mv {SPARE}/gone {new}; wipefs -qa {new}; head -c 20M /dev/zero > {new}",
    )
    digest = f"head -c 8M {database} | sha256sum; head -c 8M {new} | sha256sum"
    content = lab.run("node4", digest).stdout
    users = sorted(one["entity"] for one in ceph(lab, "auth ls")["auth_dump"])
    for wipe, reason in (
        ("", "carries the metadata of an OSD; it is taken only with wipe=yes"),
        (
            "yes",
            f"carries the database of osd.{lost}, whose disk is not here; if its data"
            f" is lost for good, remove it first with 'ceph osd purge {lost}'",
        ),
    ):
        modify(lab, f"ceph:wipe={wipe}")
        for command in ("repair", "repair node4"):
            said = refused(lab.run("node1", f"gnt-storage {command}", check=False))
            assert f"node4.lab.example: {database} {reason}" in said
        assert f"{database} {reason}" in status(lab)
        assert ceph_of(lab, "node4") == before
        assert lab.run("node4", digest).stdout == content
        found = sorted(one["entity"] for one in ceph(lab, "auth ls")["auth_dump"])
        assert found == users
    # What it says to do, once all its data is elsewhere.
    lab.run("node1", f"ceph osd out {lost}")
    settled(lab)
    lab.run("node1", f"ceph osd purge {lost} --yes-i-really-mean-it")
    lab.run("node1", "gnt-storage repair", timeout=300)
    modify(lab, "ceph:wipe=")
    made = osd_on(lab, new)
    weigh(lab)
    link = f"/var/lib/ceph/osd/ceph-{made}/block.db"
    assert lab.run("node4", f"readlink {link}").stdout.strip() == database
    now = ceph_of(lab, "node4")
    (stayed,) = set(before) - {lost}
    assert now[stayed] == before[stayed]
    assert now[made]["up"]
    settled(lab)
    nothing_to_do(lab)
    # The old place, and both are blank: all is as it was.
    old = f"{BY_ID}/lab-disk-2"
    lab.run("node4", f"systemctl stop ceph-osd@{made}; mv {new} {old}")
    for device in (old, database):
        lab.run("node4", f"wipefs -qa {device}; head -c 20M /dev/zero > {device}")
    wait_down(lab, "node4", made)
    lab.run("node1", "gnt-storage repair", timeout=300)
    assert osd_on(lab, old) == made
    assert lab.run("node4", f"readlink {link}").stdout.strip() == database
    assert ceph_of(lab, "node4")[made]["in"]
    settled(lab)
    nothing_to_do(lab)


def wait_down(lab: TestLab, host: str, osd: int) -> None:
    """Wait until an OSD is down, and its placement groups are served without it."""
    end = time.monotonic() + 90
    while osds(lab)[host][osd]["up"]:
        assert time.monotonic() < end
        time.sleep(1)
    # While they peer, nothing is made anew; the mgr has to hear of it first.
    time.sleep(10)
    while not all(
        "active" in one["state_name"].split("+")
        for one in ceph(lab, "status")["pgmap"]["pgs_by_state"]
    ):
        assert time.monotonic() < end
        time.sleep(1)


def osd_on(lab: TestLab, device: str) -> int:
    """Return the OSD of node4 on a device."""
    words = "for d in /var/lib/ceph/osd/*; do echo ${d##*-} $(readlink $d/block); done"
    found = dict(
        line.split()[::-1] for line in lab.run("node4", words).stdout.splitlines()
    )
    return int(found[device])


# Drained


def drain(lab: TestLab, node: str, drained: str = "yes") -> Any:
    command = f"gnt-node modify --drained={drained} {node}"
    return lab.run("node1", command, check=False, timeout=120)


def not_drained(lab: TestLab, node: str) -> str:
    """Have a drain refused that changes nothing; return the reason."""
    before = ceph_of(lab, node)
    said = refused(drain(lab, node))
    assert f"the data on {node}.lab.example cannot move away" in said
    assert "; --force drains it for new instances" in said
    assert ceph_of(lab, node) == before
    assert in_ganeti(lab, "drained", node) == "N"
    return said


def drains(lab: TestLab, node: str) -> None:
    """Drain a node, wait until all its data has moved, and let it come back."""
    done = drain(lab, node)
    assert done.returncode == 0, done.stdout + done.stderr
    assert in_ganeti(lab, "drained", node) == "Y"
    settled(lab)
    use = {one["id"]: one["pgs"] for one in ceph(lab, "osd df")["nodes"]}
    assert [use[osd] for osd in osds(lab)[node]] == [0] * len(osds(lab)[node])
    done = drain(lab, node, "no")
    assert done.returncode == 0, done.stdout + done.stderr
    settled(lab)
    nothing_to_do(lab)


def test_a_node_is_not_drained_without_room_for_its_data(lab: TestLab) -> None:
    (mine,) = osds(lab)["node3"]
    use = {one["id"]: one for one in ceph(lab, "osd df")["nodes"]}
    moving = use.pop(mine)["kb_used"]
    assert moving > DATA * 1024 / 4

    def room(percent: int) -> float:
        return sum(
            max(0, percent / 100 * one["kb"] - one["kb_used"]) for one in use.values()
        )

    def set_ratio(kind: str, percent: int) -> None:
        lab.run("node1", f"ceph osd set-{kind}-ratio {percent / 100}")

    most = max(percent for percent in range(100) if room(percent) < moving)
    try:
        # None may be above the next.
        set_ratio("nearfull", most)
        set_ratio("backfillfull", most)
        said = not_drained(lab, "node3")
        assert f"{moving / 2**20:.1f} GiB are to move, and the other OSDs" in said
        left = f"have room for {room(most) / 2**20:.1f} GiB (up to {most} % of each)"
        assert f" below default {left}; add disks or a node first" in said
        # A little more is enough; it is taken back before an OSD is too full.
        set_ratio("backfillfull", most + 2)
        done = drain(lab, "node3")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not osds(lab)["node3"][mine]["in"]
        assert drain(lab, "node3", "no").returncode == 0
    finally:
        set_ratio("backfillfull", 90)
        set_ratio("nearfull", 85)
    settled(lab)
    nothing_to_do(lab)


@pytest.fixture
def racks(lab: TestLab) -> Iterator[None]:
    """node3 alone in a rack, the others in another."""
    before = place(lab)
    lab.run(
        "node1",
        "set -e; for r in lab-a lab-b; do ceph osd crush add-bucket $r rack;"
        " ceph osd crush move $r root=default; done;"
        " ceph osd crush move node3 rack=lab-a;"
        " for n in node1 node2 node4; do ceph osd crush move $n rack=lab-b; done;"
        " ceph osd crush rule create-replicated lab-racks default rack",
    )
    yield
    lab.run(
        "node1",
        "for n in 1 2 3 4; do ceph osd crush move node$n root=default; done;"
        " for r in lab-a lab-b; do ceph osd crush rm $r; done;"
        " ceph osd crush rule rm lab-racks",
    )
    assert place(lab) == before
    settled(lab)
    nothing_to_do(lab)


def test_a_node_is_not_drained_that_a_pool_s_copies_need(
    lab: TestLab, racks: None
) -> None:
    create = (
        "ceph osd pool create lab-racked 8 8 replicated lab-racks;"
        " ceph osd pool set lab-racked size 2"
    )
    with pool_of(lab, "lab-racked", create):
        said = not_drained(lab, "node3")
        assert (
            "pool lab-racked keeps 2 copies, and without it there are only 1 failure"
            " domains (rack) for them; add a node first"
        ) in said
        assert "pool rbd" not in said
        # The other rack has other nodes.
        drains(lab, "node2")


# Erasure-coded pools


@contextmanager
def coded(lab: TestLab, parts: int, more: int) -> Iterator[None]:
    """Make an erasure-coded pool, each part on its own host."""
    profile = f"k={parts} m={more} crush-failure-domain=host"
    create = (
        f"ceph osd erasure-code-profile set lab-code {profile};"
        " ceph osd pool create lab-coded 8 8 erasure lab-code;"
        " ceph osd pool set lab-coded allow_ec_overwrites true"
    )
    try:
        with pool_of(lab, "lab-coded", create):
            lab.run(
                "node1",
                "rbd create --size 64M --data-pool lab-coded lab-in-parts;"
                " rbd bench --io-type write --io-total 32M --io-size 4M lab-in-parts;"
                " rbd rm lab-in-parts",
            )
            yield
    finally:
        lab.run(
            "node1",
            "ceph osd crush rule rm lab-coded;"
            " ceph osd erasure-code-profile rm lab-code",
        )
    settled(lab)
    nothing_to_do(lab)


def test_an_erasure_coded_pool_needs_as_many_domains_as_parts(lab: TestLab) -> None:
    with coded(lab, 2, 2):
        said = not_drained(lab, "node3")
        assert (
            "pool lab-coded keeps its data in 4 parts, and without it there are only 3"
            " failure domains (host) for them; add a node first"
        ) in said
        # For a while it can do without one part, not for less than that.
        go_offline(lab, "node3")
        done = lab.run("node1", "gnt-node modify --offline=yes node4", check=False)
        assert "data would be out of reach" in refused(done)
        readd(lab, "node3")
        settled(lab)
        nothing_to_do(lab)
    with coded(lab, 2, 1):
        drains(lab, "node3")


# A node less


def test_the_mon_of_a_removed_node_goes_to_another(lab: TestLab) -> None:
    """The last of this file, as it takes a node away."""
    before = mons(lab)
    hosts = set(osds(lab))
    (free,) = hosts - before
    gone = max(before - {"node1"})
    ids = " ".join(map(str, osds(lab)[gone]))
    lab.run("node1", f"ceph osd out {ids}")
    settled(lab)
    # The one node that could take the mon over cannot be asked just then.
    daemon = "/usr/lib/ganeti/daemon-util {} ganeti-noded"
    lab.run(free, daemon.format("stop"))
    try:
        offline = f"gnt-node modify --offline=yes --force {gone}"
        lab.run("node1", offline, timeout=300)
    finally:
        lab.run(free, daemon.format("start"))
    assert mons(lab) == before

    planned = lab.run("node1", f"gnt-node remove --dry-run {gone}")
    assert f"make and start mon.{free} at" in planned.stdout + planned.stderr
    end = time.monotonic() + 60
    remove = f"gnt-node remove {gone}"
    while (done := lab.run("node1", remove, check=False, timeout=300)).returncode:
        # Until the mgr has heard of it.
        assert "may hold what is nowhere else" in refused(done)
        assert time.monotonic() < end
    assert mons(lab) == {free} | before - {gone}
    assert set(ceph(lab, "quorum_status")["quorum_names"]) == mons(lab)
    named = f"mon_initial_members = {','.join(sorted(mons(lab)))}"
    for node in sorted(hosts - {gone}):
        lab.run(node, f"grep -qx '{named}' /etc/ceph/ceph.conf")
    nothing_to_do(lab)
    assert NOTHING in lab.run("node1", "gnt-storage repair", timeout=300).stdout

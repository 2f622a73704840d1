"""Each metric and each field of the reports changes for a real cause, and is right."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from conftest import TestLab
from guests import Guest
from proofs import CHANGES, SAME, Facts, Row, filled
from test_alerts import (
    PULSES,
    Flash,
    first_osd,
    keep_one_copy,
    meanwhile,
    pool,
    small_osd,
    unfound_object,
)
from test_collector import NODES, PID, UNIT, Metrics, await_metrics, ready

__all__ = ["ready"]

pytestmark = pytest.mark.slow

#: Seconds that Ceph and collectors have for it.
PATIENCE = 120
#: Seconds in which raw use has to be the same, while OSDs tell it every five.
REST = 15

REPORTS = ("ceph-cluster", "ceph-node", "ceph-disks")

#: Prints the reports of all nodes, null where there is none.
_REPORTS = """
import json, sys, urllib.request
def get(node, name):
    url = f"http://{node}.lab.example:1816/1/report/storage/{name}"
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)
    except OSError:
        return None
nodes, names = (words.split() for words in sys.argv[1:])
print(json.dumps({node: {name: get(node, name) for name in names} for node in nodes}))
"""

#: Writes twenty objects, or reads them thrice in pieces, in no haste.
_OBJECTS = """
import rados, sys, time
with rados.Rados(conffile="/etc/ceph/ceph.conf") as cluster:
    with cluster.open_ioctx("told") as pool:
        for turn in range({"write": 1, "read": 3}[sys.argv[1]]):
            for number in range(20):
                if sys.argv[1] == "write":
                    pool.write_full(str(number), bytes(2**22))
                else:
                    for start in range(0, 2**22, 2**17):
                        assert len(pool.read(str(number), 2**17, start)) == 2**17
                time.sleep(0.3)
"""

#: Writes many small objects.
_MANY = """
import rados
with rados.Rados(conffile="/etc/ceph/ceph.conf") as cluster:
    with cluster.open_ioctx("told") as pool:
        for start in range(0, 3000, 60):
            for one in [
                pool.aio_write_full(str(start + number), bytes(2**14))
                for number in range(60)
            ]:
                one.wait_for_complete()
"""

#: Prints the name for an image that is on another OSD than the list of images, and
#: that OSD.
_APART = """
import itertools, json, rados
with rados.Rados(conffile="/etc/ceph/ceph.conf") as cluster:
    def osd(name):
        asked = {"prefix": "osd map", "pool": "frail", "object": name, "format": "json"}
        return json.loads(cluster.mon_command(json.dumps(asked), b"")[1])["acting"][0]
    needed = {osd("rbd_directory"), osd("rbd_namespace")}
    for number in itertools.count():
        if osd(f"rbd_id.lost{number}") not in needed:
            print(f"lost{number}", osd(f"rbd_id.lost{number}"))
            break
"""

#: Has daemons answer for a second in five, as if they had too much to do.
_SLOW = """
pids=$(pgrep -x -f '/usr/bin/({kinds}) .*')
trap 'kill -CONT $pids; exit' TERM
while kill -STOP $pids; do sleep 4; kill -CONT $pids; sleep 1; done
"""

#: Asks for the metrics for some seconds; prints the longest time that it took, the
#: largest ages that came with them, and the most threads of the service.
_SCRAPE = """
import json, os, sys, time, urllib.request
pid, seconds = sys.argv[1], float(sys.argv[2])
took, ages, threads = [], [], []
end = time.monotonic() + seconds
while time.monotonic() < end:
    began = time.monotonic()
    with urllib.request.urlopen("http://localhost:1816/metrics", timeout=20) as answer:
        answer.read()
        ages.append(int(answer.headers["Age"]))
    took.append(time.monotonic() - began)
    threads.append(len(os.listdir(f"/proc/{pid}/task")))
    time.sleep(0.1)
print(json.dumps([max(took), max(ages), max(threads)]))
"""


class Seen:
    """What all collectors say."""

    def __init__(self, lab: TestLab) -> None:
        words = ["python3", "-c", _REPORTS, " ".join(NODES), " ".join(REPORTS)]
        self._reports = json.loads(lab.run("node1", words).stdout)
        self._metrics = Metrics(lab)

    def value(self, row: Row, facts: Facts) -> Any:
        """Return what a row is about, None if it is not there."""
        if row.labels is not None:
            labels = {name: filled(text, facts) for name, text in row.labels.items()}
            return self._metrics.value(row.name, **labels)
        return self.field(filled(row.name, facts), filled(row.node, facts))

    def field(self, name: str, node: str) -> Any:
        report, path = name.split(" ", 1)
        found = self._reports[node]["ceph-cluster" if report == "head" else report]
        if report == "head" or found is None:
            return found and found[path]
        value = found["data"]
        for step in re.finditer(r"(\w+)|\[(\w+)=([^]]+)\]|\[(\d+)\]", path):
            key, name, sought, index = step.groups()
            if value is None:
                return None
            if key:
                value = value.get(key)
            elif index:
                value = value[int(index)] if int(index) < len(value) else None
            else:
                value = next((one for one in value if one[name] == sought), None)
        return value


#: What a cause knows when it is about to happen, and when it happened; it is undone
#: when it is closed.
Cause = Generator[dict[str, Any], None, None]


def start(lab: TestLab, node: str, daemon: str) -> None:
    """Start a daemon, how often it may have been already."""
    lab.run(node, f"systemctl reset-failed; systemctl start ceph-{daemon}")


def python(lab: TestLab, script: str, *words: str) -> str:
    return lab.run("node1", ["python3", "-c", script, *words]).stdout


def until(lab: TestLab, reached: Callable[[Metrics], bool]) -> None:
    await_metrics(lab, reached, PATIENCE)


def all_well(lab: TestLab) -> None:
    """Wait until all collectors tell of a healthy storage cluster."""
    until(
        lab,
        lambda seen: (
            seen.values("up") == [1, 1, 1]
            and seen.values("health_status") == [0]
            and set(seen.values("part_known")) == {1}
        ),
    )


def settle(lab: TestLab, pool: str) -> None:
    """Wait until a pool is known and all is well."""
    until(
        lab,
        lambda seen: (
            bool(seen.value("pool_free_bytes", pool=pool))
            and seen.value("health_status") == 0
            and seen.value("placement_groups_inactive") == 0
        ),
    )


def at_rest(lab: TestLab) -> None:
    """Wait until OSDs have removed what they still had to, of a pool that is gone."""
    since, used = time.monotonic(), 0.0

    def rests(seen: Metrics) -> bool:
        nonlocal since, used
        now = seen.value("raw_used_bytes") or 0.0
        if abs(now - used) > 2**20:
            since, used = time.monotonic(), now
        return time.monotonic() - since >= REST

    until(lab, rests)


def all_active(lab: TestLab) -> None:
    """Wait until all placement groups serve, also those of a pool that is new."""
    since = time.monotonic()

    def active(seen: Metrics) -> bool:
        nonlocal since
        if seen.value("placement_groups_inactive") != 0:
            since = time.monotonic()
        return time.monotonic() - since >= REST

    until(lab, active)


@contextlib.contextmanager
def told_pool(lab: TestLab) -> Iterator[None]:
    """Have a pool of two copies."""
    # A manager that were to change it would begin to do so at once.
    with pool(lab, "told", "8 8 --autoscale-mode=off", "rbd"):
        lab.run(
            "node1",
            "ceph osd pool set told size 2 && ceph osd pool set told min_size 1 &&"
            " ceph osd pool set-quota told max_bytes 400000000 &&"
            " ceph osd pool set-quota told max_objects 5000",
        )
        yield


@contextlib.contextmanager
def guest(lab: TestLab) -> Iterator[dict[str, Any]]:
    """Have an instance on node2 that writes; give what is known of it."""
    guest = Guest(lab, "guest9.lab.example")
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node2 --disk 0:size=1G")
    cluster = lab.run("node1", "gnt-cluster info | awk '/^Cluster name/ {print $3}'")
    try:
        yield {
            "guest": guest.name,
            "disk": guest.images()[0],
            "cluster": cluster.stdout.strip(),
        }
    finally:
        guest.gnt("remove -f", check=False)


# The causes


def osd_stops(lab: TestLab) -> Cause:
    osd = first_osd(lab, "node3")
    with pool(lab, "told"):
        lab.run("node1", "echo data | rados -p told put data -")
        settle(lab, "told")
        yield {}
        lab.run("node3", f"systemctl stop ceph-osd@{osd}")
        try:
            yield {"osd": osd}
        finally:
            start(lab, "node3", f"osd@{osd}")


def check_is_muted(lab: TestLab) -> Cause:
    lab.run("node1", "ceph osd set noout")
    try:
        until(lab, lambda seen: seen.value("health_check", check="OSDMAP_FLAGS") == 1)
        yield {}
        lab.run("node1", "ceph health mute OSDMAP_FLAGS")
        yield {}
    finally:
        lab.run("node1", "ceph osd unset noout; ceph health unmute OSDMAP_FLAGS")


def osd_is_killed(lab: TestLab) -> Cause:
    osd = first_osd(lab, "node3")
    unit = f"ceph-osd@{osd}"
    had = lab.run("node3", f"systemctl show -p NRestarts --value {unit}").stdout
    yield {}
    lab.run("node3", f"systemctl kill --signal=KILL {unit}")
    yield {"osd": osd, "restarts": int(had) + 1}


@contextlib.contextmanager
def recovery_told(lab: TestLab) -> Iterator[None]:
    """Have managers tell what recovers; newer ones do so only if they are told to."""
    if lab.release == "bookworm":
        yield
        return
    option = "mgr mgr/progress/allow_pg_recovery_event"
    lab.run("node1", f"ceph config set {option} true")
    try:
        yield
    finally:
        lab.run("node1", f"ceph config rm {option}")


def osd_is_out(lab: TestLab) -> Cause:
    osd = first_osd(lab, "node3")
    with recovery_told(lab), told_pool(lab):
        python(lab, _MANY)
        settle(lab, "told")
        until(lab, lambda seen: seen.value("pool_objects", pool="told") == 3000)
        yield {}
        lab.run("node1", f"ceph osd out {osd}")
        try:
            yield {"osd": osd}
        finally:
            lab.run("node1", f"ceph osd in {osd}")


def osd_comes_back(lab: TestLab) -> Cause:
    """What was written without it is to be copied to it, and nothing else is wrong."""
    osd = first_osd(lab, "node3")
    with told_pool(lab):
        settle(lab, "told")
        with mending_held_up(lab):
            lab.run("node3", f"systemctl stop ceph-osd@{osd}")
            try:
                until(lab, lambda seen: seen.value("osds_up") == 2)
                python(lab, _OBJECTS, "write")
                yield {}
            finally:
                start(lab, "node3", f"osd@{osd}")
            yield {}


@contextlib.contextmanager
def mending_held_up(lab: TestLab) -> Iterator[None]:
    """Have OSDs begin to copy and not end; that this is so is no trouble."""
    lab.run("node1", "ceph osd set norecover")
    try:
        until(lab, lambda seen: seen.value("health_check", check="OSDMAP_FLAGS") == 1)
        lab.run("node1", "ceph health mute OSDMAP_FLAGS")
        yield
    finally:
        lab.run("node1", "ceph osd unset norecover; ceph health unmute OSDMAP_FLAGS")


def osd_is_added(lab: TestLab) -> Cause:
    yield {}
    with small_osd(lab) as new:
        shown = lab.run("node2", "ceph-osd --version").stdout
        yield {"new": new, "version": shown.split()[2]}


def osd_is_grown(lab: TestLab) -> Cause:
    with small_osd(lab) as new:
        until(lab, lambda seen: bool(seen.value("osd_size_bytes", daemon=f"osd.{new}")))
        yield {}
        folder = f"/var/lib/ceph/osd/ceph-{new}"
        lab.run(
            "node2",
            f"systemctl stop ceph-osd@{new}; truncate -s 6G {folder}/block;"
            f" ceph-bluestore-tool bluefs-bdev-expand --path {folder} &&"
            f" chown -R ceph:ceph {folder} && systemctl start ceph-osd@{new}",
        )
        yield {"new": new}


def osd_gets_another_class(lab: TestLab) -> Cause:
    osd = first_osd(lab, "node3")
    change = "ceph osd crush rm-device-class osd.{0} && ceph osd crush"
    change += " set-device-class {1} osd.{0}"
    had = lab.run("node1", f"ceph osd crush get-device-class osd.{osd}").stdout
    yield {}
    lab.run("node1", change.format(osd, "told"))
    try:
        yield {"osd": osd}
    finally:
        lab.run("node1", change.format(osd, had.strip()))


def first_mon_stops(lab: TestLab) -> Cause:
    yield {}
    lab.run("node1", "systemctl stop ceph-mon@node1")
    try:
        yield {}
    finally:
        start(lab, "node1", "mon@node1")


def mons_stop(lab: TestLab) -> Cause:
    yield {}
    for node in NODES:
        lab.run(node, f"systemctl stop ceph-mon@{node}")
    try:
        yield {}
    finally:
        for node in NODES:
            start(lab, node, f"mon@{node}")


def active_mgr_stops(lab: TestLab) -> Cause:
    found = lab.run("node1", "ceph mgr stat --format json").stdout
    active = json.loads(found)["active_name"]
    (standby,) = {"node1", "node2"} - {active}
    yield {}
    lab.run(active, f"systemctl stop ceph-mgr@{active}")
    try:
        yield {"active": active, "standby": standby}
    finally:
        start(lab, active, f"mgr@{active}")


def pool_is_made(lab: TestLab) -> Cause:
    yield {}
    with told_pool(lab):
        yield {"osd": first_osd(lab, "node3")}


def pool_is_written(lab: TestLab) -> Cause:
    with told_pool(lab):
        settle(lab, "told")
        at_rest(lab)
        yield {}
        python(lab, _OBJECTS, "write")
        yield {"osd": first_osd(lab, "node3")}


def pool_is_read(lab: TestLab) -> Cause:
    with told_pool(lab):
        settle(lab, "told")
        python(lab, _OBJECTS, "write")
        until(lab, lambda seen: seen.value("pool_objects", pool="told") == 20)
        yield {}
        python(lab, _OBJECTS, "read")
        yield {}


def instance_writes(lab: TestLab) -> Cause:
    yield {}
    with guest(lab) as known:
        yield known


def disk_is_grown_and_read(lab: TestLab) -> Cause:
    with guest(lab) as known:
        name = {"instance_name": known["guest"]}
        until(lab, lambda seen: bool(seen.value("image_used_bytes", **name)))
        until(lab, lambda seen: bool(seen.value("image_write_ops_total", **name)))
        yield {}
        lab.run("node1", f"gnt-instance grow-disk {known['guest']} 0 256m")
        export = f"rbd export --no-progress rbd/{known['disk']} -"
        with meanwhile(lab, "node1", f"while {export} > /dev/null; do :; done"):
            yield known


def instance_stops(lab: TestLab) -> Cause:
    with guest(lab) as known:
        name = {"instance_name": known["guest"]}
        until(lab, lambda seen: seen.value("image_open", **name) == 1)
        # It takes the lock with its first write.
        until(lab, lambda seen: bool(seen.value("image_used_bytes", **name)))
        yield {}
        lab.run("node1", f"gnt-instance shutdown --timeout=5 {known['guest']}")
        yield known


def image_in_a_namespace_is_made(lab: TestLab) -> Cause:
    yield {}
    lab.run(
        "node1", "rbd namespace create rbd/apart && rbd create rbd/apart/lone --size 16"
    )
    try:
        yield {}
    finally:
        lab.run("node1", "rbd rm rbd/apart/lone && rbd namespace rm rbd/apart")


def image_is_out_of_reach(lab: TestLab) -> Cause:
    nodes = {first_osd(lab, node): node for node in NODES}
    with pool(lab, "frail", "8 8", "rbd"):
        keep_one_copy(lab, "frail")
        image, osd = python(lab, _APART).split()
        lab.run("node1", f"rbd create frail/{image} --size 16")
        named = {"image": image}
        until(lab, lambda seen: bool(seen.value("image_provisioned_bytes", **named)))
        all_active(lab)
        yield {}
        lab.run(nodes[osd], f"systemctl stop ceph-osd@{osd}")
        try:
            yield {"image": image}
        finally:
            start(lab, nodes[osd], f"osd@{osd}")


def object_is_out_of_reach(lab: TestLab) -> Cause:
    yield {}
    with unfound_object(lab):
        yield {}


def osd_is_slow(lab: TestLab) -> Cause:
    osd = first_osd(lab, "node2")
    with pool(lab, "busy"):
        settle(lab, "busy")
        yield {}
        with (
            meanwhile(lab, "node1", "rados -p busy bench 300 write -b 4096"),
            meanwhile(lab, "node2", PULSES.format(number=osd)),
        ):
            yield {"osd": osd}


def disk_wears_out(lab: TestLab) -> Cause:
    flash = Flash(lab)
    block = f"readlink -f /var/lib/ceph/osd/ceph-{flash.osd}/block"
    date = "date -d $(date -d '{} day' +%F) +%s"
    shown = lab.run(
        "node2", f"basename $({block}); {date.format(1)}; {date.format(29)}"
    )
    device, earliest, latest = shown.stdout.split()
    with flash.there():
        yield {}
        flash.be("1")
        flash.wear(97)
        flash.fail_soon()
        yield {
            "osd": flash.osd,
            "device": device,
            "earliest": float(earliest),
            "latest": float(latest),
        }
        # Another in its place, so that nobody looks at this one again.
        flash.be("2")
        flash.wear(3)


def other_version_is_installed(lab: TestLab) -> Cause:
    file = "/usr/lib/python3/dist-packages/ganeti_ceph/__init__.py"
    yield {}
    lab.run(
        "node3",
        f"cp {file} /run/kept; sed -i 's/^__version__.*/__version__ = \"9.9\"/' {file};"
        f" systemctl restart {UNIT}",
    )
    try:
        yield {}
    finally:
        lab.run("node3", f"cp /run/kept {file}; systemctl restart {UNIT}")


@pytest.mark.parametrize("cause", CHANGES)
def test_what_a_cause_changes(ready: TestLab, cause: str) -> None:
    with contextlib.closing(globals()[cause](ready)) as made:
        facts = next(made)
        before = Seen(ready)
        facts |= next(made)
        pending = [(row, before.value(row, facts)) for row in CHANGES[cause]]
        for row, had in pending:
            assert not row.rule.holds(had, had, facts), f"{row.name}: {had}"
        end = time.monotonic() + PATIENCE
        while True:
            seen = Seen(ready)
            pending = [
                (row, had)
                for row, had in pending
                if not row.rule.holds(had, seen.value(row, facts), facts)
            ]
            if not pending:
                break
            assert time.monotonic() < end, [
                f"{row.name} {row.labels or row.node}: {had!r}, then"
                f" {seen.value(row, facts)!r}, but it {row.rule.words}"
                for row, had in pending
            ]
            time.sleep(0.5)
        # To its end, and not only until it is closed.
        next(made, None)
    all_well(ready)


def test_what_stays_the_same_is_right(ready: TestLab) -> None:
    def ask(line: str, node: str = "node1") -> Any:
        return json.loads(ready.run(node, line).stdout)

    all_well(ready)
    seen = Seen(ready)
    hosts = {
        name.partition(".")[0]: name
        for name in ready.run(
            "node1", "gnt-node list --no-headers -o name"
        ).stdout.split()
    }
    compared: set[str] = set()

    def same(path: str, truth: Any, node: str = "node1") -> None:
        assert seen.field(path, node) == truth, path
        compared.add(re.sub(r"\[[^]]*\]", "[]", path))

    # Of the first report; test_collector has them checked against a schema.
    same("head name", "ceph-cluster")
    same("head category", "storage")
    same("head kind", 1)
    same("head format_version", 1)
    same("ceph-cluster fsid", ready.run("node1", "ceph fsid").stdout.strip())
    for node in NODES:
        for report in REPORTS:
            same(f"{report} node", hosts[node], node)
        name = ready.run(node, "hostname --short").stdout.strip()
        same("ceph-node host", name, node)
    for mon in ask("ceph quorum_status --format json")["monmap"]["mons"]:
        name = mon["name"]
        path = f"ceph-cluster mons[name={name}]"
        same(f"{path}.name", name)
        same(f"{path}.node", hosts[name])
        same(f"{path}.address", mon["public_addr"].partition(":")[0])
        shown = ready.run(name, "ceph-mon --version").stdout
        same(f"{path}.version", shown.split()[2])
    for name in ("node1", "node2"):
        path = f"ceph-cluster mgrs[name={name}]"
        same(f"{path}.name", name)
        same(f"{path}.node", hosts[name])
        shown = ready.run(name, "ceph-mgr --version").stdout
        same(f"{path}.version", shown.split()[2])
    for node in NODES:
        osd = first_osd(ready, node)
        block = f"basename $(readlink -f /var/lib/ceph/osd/ceph-{osd}/block)"
        device = ready.run(node, block).stdout.strip()
        same("ceph-node daemons[type=osd].devices", [device], node)
        size = ready.run(node, ["blockdev", "--getsize64", f"/dev/{device}"]).stdout
        same("ceph-node daemons[type=osd].size", int(size), node)
    assert compared == SAME


def test_processes_are_as_the_kernel_has_them(ready: TestLab) -> None:
    for node in NODES:
        osd = first_osd(ready, node)
        shown = ready.run(
            node,
            f"pid=$(systemctl show -p MainPID --value ceph-osd@{osd});"
            " awk '/VmRSS/ {print $2 * 1024}' /proc/$pid/status;"
            ' date -d "$(ps -o lstart= $pid)" +%s; ps -o cputimes= $pid',
        )
        memory, started, cpu = map(float, shown.stdout.split())
        seen, name = Metrics(ready), {"daemon": f"osd.{osd}"}
        assert seen.value("daemon_memory_bytes", **name) == pytest.approx(
            memory, rel=0.1
        )
        assert seen.value("daemon_start_time_seconds", **name) == pytest.approx(
            started, abs=2
        )
        assert seen.value("daemon_cpu_seconds_total", **name) == pytest.approx(
            cpu, abs=5
        )


@pytest.mark.parametrize("kinds", ["ceph-mon", "ceph-mon|ceph-mgr|ceph-osd"])
def test_slow_answers_delay_nobody_who_asks(ready: TestLab, kinds: str) -> None:
    before = [ready.run(node, PID).stdout.strip() for node in NODES]
    threads = f"ls /proc/$({PID})/task | wc -l"
    had = int(ready.run("node1", threads).stdout)
    with contextlib.ExitStack() as stack:
        for node in NODES:
            stack.enter_context(meanwhile(ready, node, _SLOW.format(kinds=kinds)))
        took, age, most = json.loads(python(ready, _SCRAPE, before[0], "60"))
        seen = Seen(ready)
        # In the same reading some parts may have come and others not.
        unknown = seen.field("ceph-cluster unknown", "node1")
        assert all(gap["reason"] and gap["last_known"] for gap in unknown)
    assert took < 1
    # That is how late the answers were; and a reading waits for a few of them only.
    assert 2 <= age <= 60
    # Librados has some for each connection, and not always the same number.
    assert most <= had + 3
    all_well(ready)
    assert [ready.run(node, PID).stdout.strip() for node in NODES] == before
    assert int(ready.run("node1", threads).stdout) <= had + 3

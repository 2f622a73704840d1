"""The collector: what it tells of real causes, what its key may, and what it bears."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TestLab
from guests import Guest

NODES = ("node1", "node2", "node3")
UNIT = "ganeti-ceph-collector"
PID = f"systemctl show -p MainPID --value {UNIT}"
ARGUMENTS = f"/etc/default/{UNIT}"
SCHEMA = Path(__file__).parents[1] / "data/report-schema.json"

#: Prints what is at addresses one after the other, null where there is nothing.
_GET = """
import sys, urllib.error, urllib.request
for address in sys.argv[1:]:
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as err:
        print("null") if err.code == 503 else sys.exit(str(err))
    except OSError:
        print("null")
"""

#: Checks the list of reports on standard input against the schema in its argument.
_CHECK = """
import json, jsonschema, sys
check = jsonschema.Draft7Validator(json.loads(sys.argv[1]))
for report in json.load(sys.stdin):
    check.validate(report)
"""

#: Tries what the collector's user must not be able to do, and one thing that it may;
#: prints what succeeded, and what failed for other reasons.
_TRY = """
import errno, json, rados, rbd
bounds = {"rados_mon_op_timeout": "10", "rados_osd_op_timeout": "10"}
def connect(user):
    cluster = rados.Rados(conffile="/etc/ceph/ceph.conf", name=user, conf=bounds)
    cluster.connect()
    return cluster
ours, admin = connect("client.ganeti-collector"), connect("client.admin")
done, failed = set(), []
def attempt(what, act):
    try:
        act()
        done.add(what)
    except (rados.Error, rbd.Error) as err:
        if abs(err.errno) not in (errno.EACCES, errno.EPERM):
            failed.append(f"{what}: {err}")
def run(ask, prefix, **arguments):
    code, answer, words = ask(
        json.dumps({"prefix": prefix, "format": "json", **arguments}), b""
    )
    if code:
        raise rados.OSError(words or "it fails", errno=-code)
    return answer
def command(ask, prefix, **arguments):
    attempt(prefix, lambda: run(ask, prefix, **arguments))
run(admin.mon_command, "config-key set", key="x", val="x")
mgr = "mgr." + json.loads(run(admin.mon_command, "mgr stat"))["active_name"]
group = json.loads(run(admin.mgr_command, "pg ls"))["pg_stats"][0]["pgid"]
pool = ours.open_ioctx("rbd")
image = rbd.RBD().list(pool)[0]
command(ours.mon_command, "status")
command(ours.mgr_command, "osd perf")
for prefix, arguments in {
    "osd blocklist": {"blocklistop": "add", "addr": "192.0.2.1:0/1"},
    "osd out": {"ids": ["0"]}, "osd set": {"key": "noout"}, "mgr fail": {},
    "osd pool create": {"pool": "mine", "pg_num": 1},
    "mgr module enable": {"module": "stats"},
    "config set": {"who": "mon", "name": "debug_ms", "value": "1"},
    "config-key set": {"key": "x", "val": "x"}, "config-key ls": {},
    "config-key get": {"key": "x"}, "auth ls": {}, "log": {"logtext": ["x"]},
    "auth get": {"entity": "client.admin"}, "mon remove": {"name": "node3"},
}.items():
    command(ours.mon_command, prefix, **arguments)
for prefix, arguments in {
    "pg repair": {"pgid": group}, "device rm-life-expectancy": {"devid": "x"},
    "rbd task add flatten": {"image_spec": "rbd/" + image}, "config show": {"who": mgr},
}.items():
    command(ours.mgr_command, prefix, **arguments)
for one in admin.open_ioctx("rbd").list_objects():
    kind = one.key.split(".")[0]
    attempt("write " + kind, lambda: pool.write(one.key, b"x"))
    attempt("remove " + kind, lambda: pool.remove_object(one.key))
    attempt("omap of " + kind, lambda: pool.set_xattr(one.key, "x", b"x"))
    if kind == "rbd_data":
        attempt("read " + kind, lambda: pool.read(one.key))
attempt("class", lambda: pool.execute("rbd_directory", "rbd", "dir_remove_image", b""))
attempt("create", lambda: rbd.RBD().create(pool, "mine", 2**20))
attempt("open to write", lambda: rbd.Image(pool, image).metadata_set("x", "y"))
run(admin.mon_command, "config-key rm", key="x")
print(json.dumps({"done": sorted(done), "failed": failed}))
"""


def get(lab: TestLab, node: str, path: str, port: int = 1816) -> str:
    """Return what a node's collector, or what listens at the port, has at a path."""
    url = f"http://localhost:{port}{path}"
    return lab.run(node, ["python3", "-c", _GET, url]).stdout


def report(lab: TestLab, node: str, name: str) -> Any:
    """Return the data of a report; {} while there is none."""
    found = json.loads(get(lab, node, f"/1/report/storage/{name}"))
    return found["data"] if found else {}


class Metrics:
    """The metrics of all nodes together, as Prometheus would have them."""

    def __init__(self, lab: TestLab) -> None:
        urls = [f"http://{node}.lab.example:1816/metrics" for node in NODES]
        shown = lab.run("node1", ["python3", "-c", _GET, *urls]).stdout
        self.lines = [
            line for line in shown.splitlines() if line.startswith("ganeti_ceph_")
        ]

    def values(self, name: str, **labels: str) -> list[float]:
        """Return the numbers of a metric with such labels."""
        return [
            float(line.rpartition(" ")[2])
            for line in self.lines
            if line.startswith((f"ganeti_ceph_{name}{{", f"ganeti_ceph_{name} "))
            and all(f'{key}="{text}"' in line for key, text in labels.items())
        ]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the one number of a metric, None if there is none."""
        found = self.values(name, **labels)
        assert len(found) < 2, f"{name} {labels} is told of {len(found)} times"
        return found[0] if found else None


def await_metrics(
    lab: TestLab, reached: Callable[[Metrics], bool], seconds: float = 40
) -> Metrics:
    """Wait until the metrics are as they should be, and return them."""
    end = time.monotonic() + seconds
    while not reached(found := Metrics(lab)):
        assert time.monotonic() < end, "\n".join(found.lines)
        time.sleep(0.5)
    return found


def await_report(
    lab: TestLab,
    node: str,
    name: str,
    reached: Callable[[Any], bool],
    seconds: float = 40,
) -> Any:
    """Wait until a report is as it should be, and return its data."""
    end = time.monotonic() + seconds
    while not ((found := report(lab, node, name)) and reached(found)):
        assert time.monotonic() < end, found
        time.sleep(0.5)
    return found


def on_all(lab: TestLab, command: str) -> None:
    for node in NODES:
        lab.run(node, command)


def well(lab: TestLab) -> Metrics:
    """Wait until the storage cluster is healthy and one collector says so."""
    return await_metrics(lab, lambda found: found.values("health_status") == [0], 120)


@pytest.fixture(scope="module")
def ready(lab: TestLab) -> Iterator[TestLab]:
    """A healthy lab whose collectors take a sample every second."""
    on_all(
        lab,
        f"echo 'COLLECTOR_ARGS=\"--interval 1\"' > {ARGUMENTS};"
        f" systemctl restart {UNIT}",
    )
    well(lab)
    yield lab
    on_all(lab, f"rm {ARGUMENTS}; systemctl restart {UNIT}")


@pytest.fixture(scope="module")
def guest(ready: TestLab) -> Iterator[Guest]:
    """An instance that writes, on node2."""
    guest = Guest(ready, "guest7.lab.example")
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node2 --disk 0:size=1G")
    yield guest
    guest.gnt("remove -f", check=False)


# What is well


def test_the_service_has_a_user_and_rights_of_its_own(ready):
    shown = ready.run(
        "node1",
        "for pid in $(systemctl show -p MainPID --value ganeti-ceph-collector); do"
        " ps -o user:30= -p $pid; grep -E 'CapEff|NoNewPrivs' /proc/$pid/status; done",
    ).stdout.split()
    assert shown == [UNIT, "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    key = "stat -c '%a %U' /etc/ceph/ceph.client.ganeti-collector.keyring"
    assert ready.run("node1", key).stdout.split() == ["600", "root"]


@pytest.mark.parametrize("node", NODES)
def test_reports_have_the_format_of_ganetis_own(ready, node):
    theirs = json.loads(get(ready, node, "/1/list/collectors", port=1815))
    # What mond takes too long for is left out for a minute.
    end = time.monotonic() + 90
    while True:
        everything = get(ready, node, "/1/report/all")
        names = [one["name"] for one in json.loads(everything)]
        ours = json.loads(get(ready, node, "/1/list/collectors"))
        if "cpu-avg-load" in names[:-3] and ours[: len(theirs)] == theirs:
            break
        assert time.monotonic() < end, (names, ours)
        time.sleep(5)
    schema = SCHEMA.read_text(encoding="utf-8")
    ready.run(node, ["python3", "-c", _CHECK, schema], stdin=everything)
    assert names[-3:] == ["ceph-cluster", "ceph-node", "ceph-disks"]


#: What DRBD tells of a disk of which the other half is there, and is not.
_DRBD = """version: 8.4.11 (api:1/proto:86-101)
srcversion: FC3433D849E3B88C1E7B55C
 0: cs:{} C r-----
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:{}
"""


@pytest.mark.parametrize(
    ("connection", "behind", "code"),
    [
        ("Connected ro:Primary/Secondary ds:UpToDate/UpToDate", 0, 0),
        ("WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown", 4096, 1),
    ],
)
def test_ganetis_reports_of_a_status_fit_the_same_schema(
    ready, connection, behind, code
):
    """Of Ganeti's collectors with a status KVM nodes have DRBD's, run by itself."""
    told = ready.run(
        "node1",
        "cat > /tmp/drbd && echo '[]' > /tmp/pairs && /usr/lib/ganeti/mon-collector"
        " drbd --drbd-status=/tmp/drbd --drbd-pairing=/tmp/pairs",
        stdin=_DRBD.format(connection, behind),
    ).stdout
    assert json.loads(told)["kind"] == 1
    assert json.loads(told)["data"]["status"]["code"] == code
    schema = SCHEMA.read_text(encoding="utf-8")
    ready.run("node1", ["python3", "-c", _CHECK, schema], stdin=f"[{told}]")


def test_without_mond_there_is_ours(ready):
    ready.run("node3", "pkill -x ganeti-mond")
    names = [one["name"] for one in json.loads(get(ready, "node3", "/1/report/all"))]
    assert names == ["ceph-cluster", "ceph-node", "ceph-disks"]
    ready.run("node3", "/usr/lib/ganeti/daemon-util start ganeti-mond")


@pytest.mark.slow
def test_ganetis_switches_reach_ganetis_collectors_and_not_ours(ready):
    """Ganeti takes no names but those that it was built with."""
    switch = "gnt-cluster modify --enabled-data-collectors={}"
    refused = ready.run("node1", switch.format("ceph-cluster=false"), check=False)
    assert refused.returncode != 0 and "not recognized" in refused.stderr

    def await_names(there: bool) -> None:
        end = time.monotonic() + 90
        while True:
            found = json.loads(get(ready, "node1", "/1/report/all"))
            names = [one["name"] for one in found]
            assert names[-3:] == ["ceph-cluster", "ceph-node", "ceph-disks"]
            if ("cpu-avg-load" in names) == there:
                return
            assert time.monotonic() < end, names
            time.sleep(2)

    await_names(True)
    ready.run("node1", switch.format("cpu-avg-load=false"))
    try:
        await_names(False)
    finally:
        ready.run("node1", switch.format("cpu-avg-load=true"))
    await_names(True)


#: Sends nonsense to the collector of this node, and prints the statuses of its answers.
_NONSENSE = """
import socket
idle = []
def say(text, more=b""):
    with socket.create_connection(("127.0.0.1", 1816), timeout=20) as connection:
        connection.sendall(text)
        try:
            connection.sendall(more)
        except OSError:
            pass
        return connection.recv(4096).split()[1].decode()
head = b"GET / HTTP/1.1\\r\\nHost: a\\r\\n"
print(
    say(b"\\x00\\xff no request\\r\\n\\r\\n"),
    say(head + b"X: " + b"a" * 20000, b"a" * 10**6),
    say(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 9\\r\\n\\r\\n"),
    say(b"GET /../../etc/passwd HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"),
)
for _ in range(40):
    idle.append(socket.create_connection(("127.0.0.1", 1816), timeout=20))
    idle[-1].sendall(b"GET / HT")
print(say(head + b"\\r\\n"))
"""


def test_nonsense_gets_an_error_and_harms_nobody(ready):
    before = ready.run("node1", PID).stdout
    told = ready.run("node1", ["python3", "-c", _NONSENSE]).stdout
    assert told.split() == ["400", "431", "405", "404", "200"]
    assert ready.run("node1", PID).stdout == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "option"),
    [
        ("/etc/default/ganeti", 'MOND_ARGS="-b 127.0.0.1"'),
        (ARGUMENTS, 'COLLECTOR_ARGS="-b 127.0.0.1"'),
    ],
)
def test_it_listens_where_it_or_mond_is_told_to(ready, file, option):
    """Elsewhere nobody is let in."""
    address = "http://10.77.0.3:1816/"
    asked = ["python3", "-c", _GET, address]
    assert ready.run("node1", asked).stdout == "[1]\n"
    ready.run(
        "node3",
        f"cp {file} {file}.had; echo '{option}' >> {file}; systemctl restart {UNIT}",
    )
    try:
        end = time.monotonic() + 30
        while get(ready, "node3", "/") != "[1]\n":
            assert time.monotonic() < end
            time.sleep(0.5)
        assert ready.run("node1", asked).stdout == "null\n"
    finally:
        ready.run("node3", f"mv {file}.had {file}; systemctl restart {UNIT}")
    await_metrics(ready, lambda seen: len(seen.values("leader")) == len(NODES))


def test_each_number_comes_from_one_node(ready):
    found = Metrics(ready)
    assert sorted(found.values("leader")) == [0, 0, 1]
    assert found.value("osds_up") == 3
    for daemon in ("osd.0", "osd.1", "osd.2"):
        assert found.value("osd_up", daemon=daemon) == 1
        assert found.value("daemon_running", daemon=daemon) == 1
    assert set(found.values("part_known")) == {1}


def test_one_report_can_be_had_without_the_service(ready):
    ready.run("node2", f"systemctl stop {UNIT}")
    shown = ready.run("node2", "ganeti-ceph-collector report ceph-cluster").stdout
    assert json.loads(shown)["data"]["status"] == {"code": 0, "message": ""}
    every = json.loads(ready.run("node2", "ganeti-ceph-collector report").stdout)
    assert [one["name"] for one in every][-1] == "ceph-disks"
    assert every[-1]["data"]["told_by"] == "node2.lab.example"
    ready.run("node2", f"systemctl start {UNIT}")


def test_the_key_may_only_look(ready, guest):
    """The guest sees to it that there are data to read."""
    shown = ready.run("node1", ["python3", "-c", _TRY], timeout=180).stdout
    assert json.loads(shown) == {"done": ["osd perf", "status"], "failed": []}


def test_odd_images_hide_no_other(ready):
    """Nor does one whose object map is lost need more than the key allows."""
    ready.run(
        "node1",
        "for one in odd unsure usual; do rbd create rbd/$one --size 16M; done;"
        " rbd image-meta set rbd/odd x \"$(printf '\\377')\";"
        " id=$(rbd info rbd/unsure | awk '$1 == \"id:\" {print $2}');"
        " rados -p rbd rm rbd_object_map.$id;"
        # Who writes sees that it is gone, and leaves a flag.
        " rbd bench --io-type write --io-size 4M --io-total 4M rbd/unsure",
    )

    def seen(data: Any) -> bool:
        images = {one["image"]: one for one in data["others"] or ()}
        if len(images) < 3 or not all(images[one]["timestamp"] for one in known):
            return False
        return (
            "not UTF-8" in (images["odd"]["error"] or "")
            and [images[one]["error"] for one in known] == [None, None]
            and [images[one]["used"] for one in known] == [None, 0]
        )

    known = ("unsure", "usual")
    await_report(ready, "node1", "ceph-disks", seen)
    ready.run("node1", "for one in odd unsure usual; do rbd rm rbd/$one; done")


# What changes


def test_an_instance_that_writes_is_seen_to(ready, guest):
    labels = {"instance_name": guest.name, "disk": "0"}

    def written(found: Metrics) -> float:
        return found.value("image_write_bytes_total", **labels) or 0

    first = written(await_metrics(ready, lambda found: written(found) > 0, 60))
    found = await_metrics(ready, lambda found: written(found) > first)
    assert found.value("image_provisioned_bytes", **labels) == 2**30
    assert 0 < (found.value("image_used_bytes", **labels) or 0) < 2**30
    assert found.value("image_open", node="node2.lab.example", **labels) == 1

    def disk(data: Any) -> Any:
        (one,) = (one for one in data["instances"] if one["name"] == guest.name)
        return one["disks"][0]

    def active(data: Any) -> bool:
        return (disk(data)["rates"] or {}).get("write_bytes_per_second", 0) > 0

    seen = disk(await_report(ready, "node1", "ceph-disks", active))
    assert seen["watchers"] == ["node2.lab.example"]
    assert seen["lock_owner"] == "node2.lab.example"
    page = get(ready, "node1", "/status")
    assert f"Written by {guest.name}" in page
    # Managers count every few seconds: of some samples nobody is known to write.
    end = time.monotonic() + 60
    while f"Of all I/O, {guest.name}" not in (page := get(ready, "node1", "/status")):
        assert time.monotonic() < end, page


def test_a_pool_that_fills_is_told_with_what_to_do(ready):
    before = Metrics(ready)
    ready.run(
        "node1",
        "ceph osd pool create filled 8 && ceph osd pool application enable filled rbd"
        " && ceph osd pool set-quota filled max_bytes 20000000 &&"
        " head -c 32M /dev/urandom | rados -p filled put data -",
    )

    def full(data: Any) -> bool:
        return "POOL_FULL" in [one["name"] for one in data["health"]["checks"]]

    data = await_report(ready, "node1", "ceph-cluster", full)
    assert data["status"]["code"] == 4
    assert "raise its quota" in data["status"]["message"]
    found = await_metrics(
        ready, lambda found: found.value("pool_stored_bytes", pool="filled") == 2**25
    )
    assert found.value("pool_usable_bytes", pool="filled") == 20_000_000
    assert found.value("health_check", check="POOL_FULL") == 1
    assert (found.value("raw_used_bytes") or 0) > (before.value("raw_used_bytes") or 0)
    ready.run(
        "node1",
        "ceph config set mon mon_allow_pool_delete true && ceph osd pool delete filled"
        " filled --yes-i-really-really-mean-it;"
        " ceph config rm mon mon_allow_pool_delete",
    )
    well(ready)


def test_an_osd_that_is_killed_and_one_that_stays_away(ready, guest):
    osds = report(ready, "node3", "ceph-node")["daemons"]
    (osd,) = (one["id"] for one in osds if one["type"] == "osd")
    name, unit = f"osd.{osd}", f"ceph-osd@{osd}"
    before = Metrics(ready)
    ready.run("node3", f"systemctl kill --signal=KILL {unit}")
    restarts = before.value("daemon_restarts_total", daemon=name)
    assert restarts is not None
    found = await_metrics(
        ready,
        lambda found: found.value("daemon_restarts_total", daemon=name) == restarts + 1,
    )
    started = "daemon_start_time_seconds"
    found = await_metrics(
        ready, lambda found: found.value("daemon_running", daemon=name) == 1
    )
    then, now = before.value(started, daemon=name), found.value(started, daemon=name)
    assert then and now and now > then
    well(ready)
    ready.run("node3", f"systemctl stop {unit}")
    found = await_metrics(
        ready,
        lambda found: (
            found.value("osd_up", daemon=name) == 0
            and found.value("health_check", check="OSD_DOWN") == 1
            and (found.value("copies_degraded") or 0) > 0
        ),
    )
    assert found.value("osds_up") == 2
    assert found.value("daemon_running", daemon=name) == 0
    assert found.value("daemon_memory_bytes", daemon=name) is None
    status = report(ready, "node3", "ceph-node")["status"]
    assert status["code"] == 4 and f"{name} is inactive" in status["message"]
    cluster = report(ready, "node1", "ceph-cluster")
    assert cluster["status"]["code"] == 4 and cluster["osds"]["up"] == 2
    ready.run("node3", f"systemctl start {unit}")
    assert well(ready).value("copies_degraded") == 0


def test_who_tells_follows_a_mon_that_stops(ready):
    ready.run("node1", "systemctl stop ceph-mon@node1")
    found = await_metrics(
        ready,
        lambda found: (
            found.value("leader", node="node2.lab.example") == 1
            and found.value("mon_in_quorum", mon="node1") == 0
        ),
        60,
    )
    assert found.value("leader", node="node1.lab.example") == 0
    status = report(ready, "node1", "ceph-node")["status"]
    assert status["code"] == 4 and "mon.node1 is inactive" in status["message"]
    ready.run("node1", "systemctl start ceph-mon@node1")
    await_metrics(
        ready, lambda found: found.value("leader", node="node1.lab.example") == 1, 60
    )
    well(ready)


# What it bears


@pytest.mark.slow
def test_without_managers_it_says_what_it_does_not_know(ready):
    on_all(ready, "systemctl stop 'ceph-mgr@*'")
    ready.run("node1", "ceph mgr fail; sleep 1; ceph mgr fail; true")
    found = await_metrics(
        ready, lambda found: set(found.values("part_known", part="groups")) == {0}, 60
    )
    assert found.value("mon_in_quorum", mon="node1") == 1
    assert found.values("placement_groups") == []
    assert [found.value("osd_up", daemon=f"osd.{one}") for one in range(3)] == [1, 1, 1]
    data = report(ready, "node1", "ceph-cluster")
    groups = [one for one in data["unknown"] if one["part"] == "groups"]
    assert groups[0]["last_known"] and data["placement_groups"] is None
    ready.run("node1", "systemctl start ceph-mgr@node1")
    ready.run("node2", "systemctl start ceph-mgr@node2")
    await_metrics(ready, lambda found: set(found.values("part_known")) == {1}, 60)
    well(ready)


def test_it_outlives_a_late_answer_of_the_manager(ready):
    """Librados writes one that comes too late over memory that is another's."""
    before = [ready.run(node, PID).stdout for node in NODES]
    mgr = json.loads(ready.run("node1", "ceph mgr stat -f json").stdout)["active_name"]
    kill = f"systemctl kill --signal={{}} ceph-mgr@{mgr}"
    ready.run(mgr, kill.format("STOP"))
    try:
        # All of them have waited in vain by then.
        await_metrics(
            ready,
            lambda found: found.values("part_known", part="latencies") == [0, 0, 0],
        )
    finally:
        ready.run(mgr, kill.format("CONT"))
    await_metrics(ready, lambda found: set(found.values("part_known")) == {1})
    well(ready)
    assert [ready.run(node, PID).stdout for node in NODES] == before


def test_it_outlives_all_mons(ready):
    before = ready.run("node1", PID).stdout
    threads = f"ls /proc/$({PID})/task | wc -l"
    had = int(ready.run("node1", threads).stdout)
    on_all(ready, "systemctl stop 'ceph-mon@*'")
    try:
        # Some parts of the first one may have been read before they were gone.
        data = await_report(
            *(ready, "node1", "ceph-cluster"), lambda data: data["health"] is None
        )
        assert data["status"]["code"] == 2
        assert all(one["last_known"] and one["reason"] for one in data["unknown"])
        assert report(ready, "node1", "ceph-node")["daemons"]
        found = Metrics(ready)
        assert found.value("up", node="node1.lab.example") == 0
        assert found.values("health_status") == []
    finally:
        for node in NODES:
            ready.run(node, f"systemctl reset-failed; systemctl start ceph-mon@{node}")
    well(ready)
    assert ready.run("node1", PID).stdout == before
    # librados has some for each connection, not always the same number, and ends those
    # of former connections after a while.
    end = time.monotonic() + 60
    while (now := int(ready.run("node1", threads).stdout)) > had + 3:
        assert time.monotonic() < end, (had, now)
        time.sleep(1)


def test_one_that_is_missing_is_told_and_brought_back(ready):
    keyring = "/etc/ceph/ceph.client.ganeti-collector.keyring"
    ready.run("node2", f"systemctl disable --now {UNIT}; rm {keyring}")
    shown = ready.run("node1", "gnt-storage status").stdout
    assert "node2.lab.example: to do: get the collector's key and start" in shown
    told = ready.run("node1", "gnt-cluster verify --error-codes", check=False)
    assert "collector's key" in told.stdout
    ready.run("node1", "gnt-storage repair")
    ready.run("node2", f"systemctl is-active {UNIT} && systemctl is-enabled {UNIT}")
    assert "nothing to do" in ready.run("node1", "gnt-storage repair").stdout
    await_metrics(ready, lambda found: found.value("up", node="node2.lab.example") == 1)

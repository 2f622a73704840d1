"""A real Prometheus: real faults fire their alerts, and mending ends them."""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import TestLab
from guests import Guest, hold

pytestmark = pytest.mark.slow

NODES = ("node1", "node2", "node3")
UNIT = "ganeti-ceph-collector"
ARGUMENTS = f"/etc/default/{UNIT}"
RULES = Path(__file__).resolve().parents[2] / "doc/monitoring/ganeti-ceph-alerts.yml"
#: An address in the lab that no node has.
ADDRESS = "10.77.0.250/24"

CONFIGURATION = """
global:
  scrape_interval: 2s
  evaluation_interval: 2s
rule_files: [rules.yml]
scrape_configs:
  - job_name: storage
    scrape_timeout: 2s
    static_configs:
      - targets: [10.77.0.1:1816, 10.77.0.2:1816, 10.77.0.3:1816]
"""

#: Seconds that collectors, Prometheus and Ceph itself have for it.
PATIENCE = 120

#: What the rules wait for, and look back at and ahead to, and the same for a test.
SHORTER = {
    "for: 30m": "for: 10s",
    "[10m]": "[10s]",
    "[15m]": "[15s]",
    "[1h]": "[30s]",
    "[1d:10m]": "[30s:2s]",
    "7 * 86400": "7 * 30",
    "> 120": "> 30",
}

#: Makes an OSD of 4 GiB and a CRUSH rule for it alone; prints its number.
SMALL_OSD = """
set -e
uuid=$(uuidgen)
id=$(ceph osd new $uuid)
folder=/var/lib/ceph/osd/ceph-$id
mkdir $folder
truncate -s 4G $folder/block
ceph auth get-or-create osd.$id mon 'allow profile osd' mgr 'allow profile osd' \
    osd 'allow *' -o $folder/keyring
chown -R ceph:ceph $folder
ceph-osd --mkfs --id $id --osd-uuid $uuid --setuser ceph --setgroup ceph 2>&1 |
    tail -1 >&2
ceph config set osd.$id crush_location "root=small host=smaller"
systemctl start ceph-osd@$id
until ceph osd crush rule create-replicated small small osd 2>/dev/null; do
    sleep 0.5
done
echo $id
"""

#: Has an OSD stand still most of the time, as one does whose disk takes long to write.
PULSES = """
trap 'kill -CONT $pid; exit' TERM
pid=$(systemctl show --property=MainPID --value ceph-osd@{number})
while kill -STOP $pid; do sleep 1; kill -CONT $pid; sleep 0.01; done
"""

#: As the manual page of the collector has it.
FILLS = "topk(10, sum by (instance_name) (ganeti_ceph_image_used_bytes))"

#: What udev would write down of a disk that is no loop device, and smartctl say.
UDEV = "E:ID_MODEL=Flash\nE:ID_SERIAL_SHORT={serial}\n"
SMARTCTL = """#!/bin/sh
echo '{{"device": {{"type": "nvme"}},
 "nvme_smart_health_information_log": {{"percentage_used": {used}}}}}'
"""

#: Panels that show instances.
OF_INSTANCES = {
    "By space",
    "By growth in a day",
    "Given out",
    "Bytes read and written",
    "Operations",
    "How long a write takes",
}
#: Other panels without anything to show if nothing is wrong and disks are loop devices.
MAY_BE_EMPTY = {
    "Health checks",
    "Full in",
    "Disks that wear out",
    "Daemons that ended in an hour",
}


class Prometheus:
    """Debian's Prometheus, beside the nodes of a lab."""

    def __init__(self, lab: TestLab, folder: Path) -> None:
        self._net = f"--net=/run/ganeti-ceph-lab/{lab.name}/switch"
        self._folder = folder

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        # What must last for minutes, or longer, lasts for seconds.
        rules = RULES.read_text()
        for long, short in SHORTER.items():
            assert long in rules
            rules = rules.replace(long, short)
        rules = re.sub(r"for: (\d+)[mhd]\b", r"for: \1s", rules)
        (self._folder / "rules.yml").write_text(rules)
        (self._folder / "prometheus.yml").write_text(CONFIGURATION)
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "address", "add", ADDRESS, "dev", "switch")
        with (self._folder / "log").open("wb") as log:
            child = subprocess.Popen(
                [
                    *("nsenter", self._net, "/usr/bin/prometheus"),
                    f"--config.file={self._folder}/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    "--web.listen-address=127.0.0.1:9090",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                yield
            finally:
                child.terminate()
                child.wait(30)
                self._inside("ip", "address", "del", ADDRESS, "dev", "switch")

    def _inside(self, *words: str) -> None:
        subprocess.run(["nsenter", self._net, *words], check=True, timeout=30)

    def ask(self, path: str) -> Any:
        """Return the data of an answer of its API; {} while it does not listen."""
        url = f"http://127.0.0.1:9090/api/v1/{path}"
        script = "import sys, urllib.request as request;"
        script += "print(request.urlopen(sys.argv[1], timeout=9).read().decode())"
        done = subprocess.run(
            ["nsenter", self._net, "/usr/bin/python3", "-c", script, url],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return json.loads(done.stdout)["data"] if done.returncode == 0 else {}

    def query(self, expr: str) -> Any:
        """Return what a question gives now."""
        return self.ask(f"query?query={quote(expr, safe='')}").get("result", [])

    def names(self, expr: str) -> list[str]:
        """Return the instances that a question gives now."""
        return [one["metric"].get("instance_name", "") for one in self.query(expr)]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire."""
        found = self.ask("alerts").get("alerts", [])
        return [one for one in found if one["state"] == "firing"]

    def fires(self, alert: str, **labels: str) -> bool:
        return any(
            one["labels"]["alertname"] == alert
            and labels.items() <= one["labels"].items()
            for one in self.alerts()
        )

    def until_fires(self, alert: str, **labels: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.fires(alert, **labels):
            assert time.monotonic() < end, f"no {alert}, but {self.alerts()}"
            time.sleep(0.5)
        for one in self.alerts():
            for text in one["annotations"].values():
                assert "error" not in text
                assert "no value" not in text

    def until_ends(self, alert: str) -> None:
        end = time.monotonic() + PATIENCE
        while self.fires(alert):
            assert time.monotonic() < end, self.alerts()
            time.sleep(0.5)

    def until_quiet(self) -> None:
        """Wait until nothing fires; that Ceph has seen a crash is no matter."""
        end = time.monotonic() + PATIENCE
        while found := self.alerts():
            assert time.monotonic() < end, found
            time.sleep(0.5)


@pytest.fixture(scope="module", name="prometheus")
def _prometheus(
    lab: TestLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    on_all(lab, f"echo 'COLLECTOR_ARGS=\"--interval 1\"' > {ARGUMENTS}; restart {UNIT}")
    prometheus = Prometheus(lab, tmp_path_factory.mktemp("prometheus"))
    with prometheus.running():
        end = time.monotonic() + PATIENCE
        while len(up := prometheus.query("up == 1")) < 3:
            assert time.monotonic() < end, up
            time.sleep(0.5)
        yield prometheus
    on_all(lab, f"rm {ARGUMENTS}; restart {UNIT}")


def on_all(lab: TestLab, line: str) -> None:
    for node in NODES:
        lab.run(node, line.replace("restart", "systemctl restart"))


def first_osd(lab: TestLab, node: str) -> str:
    """Return the number of an OSD on a node."""
    found = lab.run(node, "ls -d /var/lib/ceph/osd/ceph-*").stdout
    return found.split()[0].rpartition("-")[2]


@contextlib.contextmanager
def pool(
    lab: TestLab, name: str, layout: str = "8", application: str = "lab"
) -> Iterator[None]:
    """Have a pool."""
    lab.run(
        "node1",
        f"ceph osd pool create {name} {layout} &&"
        f" ceph osd pool application enable {name} {application}",
    )
    try:
        yield
    finally:
        lab.run(
            "node1",
            "ceph config set mon mon_allow_pool_delete true &&"
            f" ceph osd pool delete {name} {name} --yes-i-really-really-mean-it;"
            " ceph config rm mon mon_allow_pool_delete",
        )


@contextlib.contextmanager
def small_osd(lab: TestLab) -> Iterator[str]:
    """Have a small OSD on node2, which no pool uses; give its number."""
    number = lab.run("node2", SMALL_OSD).stdout.strip()
    try:
        yield number
    finally:
        lab.run(
            "node2",
            f"systemctl stop ceph-osd@{number}; systemctl reset-failed;"
            f" ceph osd purge {number} --yes-i-really-mean-it &&"
            f" ceph config rm osd.{number} crush_location;"
            " ceph osd crush rule rm small; ceph osd crush rm smaller;"
            f" ceph osd crush rm small; rm -r /var/lib/ceph/osd/ceph-{number}",
        )


@contextlib.contextmanager
def meanwhile(lab: TestLab, node: str, script: str) -> Iterator[None]:
    """Have a script run in a node."""
    lab.run(
        node, ["systemd-run", "--collect", "--unit=meanwhile", "bash", "-c", script]
    )
    try:
        yield
    finally:
        lab.run(node, "systemctl stop meanwhile")


def keep_one_copy(lab: TestLab, pool: str) -> None:
    lab.run(
        "node1",
        "ceph config set global mon_allow_pool_size_one true &&"
        f" ceph osd pool set {pool} size 1 --yes-i-really-mean-it;"
        " ceph config rm global mon_allow_pool_size_one",
    )


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.5)


@contextlib.contextmanager
def unfound_object(lab: TestLab) -> Iterator[None]:
    """Have an object whose only copy is on an OSD that is down."""

    def state() -> Any:
        found = lab.run("node1", "ceph pg ls-by-pool thin --format json").stdout
        return json.loads(found)["pg_stats"][0]["state"]

    with pool(lab, "thin", "1 --size 2"):
        lab.run("node1", "ceph osd pool set thin min_size 1")
        wait_until(lambda: state() == "active+clean")
        found = lab.run("node1", "ceph osd map thin data --format json").stdout
        nodes = {first_osd(lab, node): node for node in NODES}
        first, second = (str(osd) for osd in json.loads(found)["acting"])
        # What is written while the first is away has one copy, and no other is made.
        lab.run("node1", "ceph osd set norecover")
        lab.run(nodes[first], f"systemctl stop ceph-osd@{first}")
        lab.run("node1", "echo data | rados -p thin put data -")
        wait_until(lambda: "undersized" in state())
        lab.run(nodes[first], f"systemctl start ceph-osd@{first}")
        wait_until(lambda: "active" in state() and "undersized" not in state())
        lab.run(nodes[second], f"systemctl stop ceph-osd@{second}")
        try:
            yield
        finally:
            lab.run(nodes[second], f"systemctl start ceph-osd@{second}")
            lab.run("node1", "ceph osd unset norecover")
            wait_until(lambda: state() == "active+clean")


class Flash:
    """What OSD, udev and smartctl of node2 make Ceph take for a flash disk."""

    program = "/usr/sbin/smartctl"

    def __init__(self, lab: TestLab) -> None:
        self._lab = lab
        self.osd = first_osd(lab, "node2")
        self._restart = f"systemctl reset-failed; systemctl restart ceph-osd@{self.osd}"
        block = f"$(readlink -f /var/lib/ceph/osd/ceph-{self.osd}/block)"
        self._known = f"/run/udev/data/b7:$(printf %d 0x$(stat -c %T {block}))"

    @contextlib.contextmanager
    def there(self) -> Iterator[None]:
        program = self.program
        self._lab.run(
            "node2", f"mkdir -p /run/udev/data; cp -p {program} {program}.kept"
        )
        try:
            yield
        finally:
            self._lab.run(
                "node2",
                f"mv {program}.kept {program}; rm -f {self._known}; {self._restart};"
                " ceph device rm-life-expectancy Flash_1; ceph device check-health",
            )

    def be(self, serial: str) -> None:
        """Be a disk with such a serial number."""
        told = UDEV.format(serial=serial)
        self._lab.run("node2", f"cat > {self._known}; {self._restart}", stdin=told)
        found = "ceph device ls-by-daemon osd." + self.osd
        wait_until(lambda: f"Flash_{serial}" in self._lab.run("node2", found).stdout)

    def wear(self, used: int) -> None:
        """Have so many percent used, and Ceph read that."""
        said = SMARTCTL.format(used=used)
        self._lab.run("node2", f"cat > {self.program}", stdin=said)
        self._lab.run(
            "node2", f"ceph device scrape-daemon-health-metrics osd.{self.osd}"
        )

    def fail_soon(self) -> None:
        """Be expected to fail, tomorrow at the earliest."""
        self._lab.run(
            "node1",
            "ceph device set-life-expectancy Flash_1"
            " $(date -d '1 day' +%F) $(date -d '29 days' +%F)",
        )


@pytest.fixture(autouse=True)
def _quiet(prometheus: Prometheus) -> Iterator[None]:
    prometheus.until_quiet()
    yield
    prometheus.until_quiet()


def test_osd_that_is_killed(lab: TestLab, prometheus: Prometheus) -> None:
    number = first_osd(lab, "node2")
    unit = f"ceph-osd@{number}"
    # So that systemd leaves it dead.
    lab.run("node2", f"systemctl mask --runtime {unit}; systemctl kill -s KILL {unit}")
    node = {"node": "node2.lab.example", "daemon": f"osd.{number}"}
    prometheus.until_fires("GanetiCephOsdDown", severity="warning", **node)
    prometheus.until_fires("GanetiCephDaemonNotRunning", **node)
    prometheus.until_fires("GanetiCephHealthWarning")
    lab.run(
        "node2", f"systemctl unmask --runtime {unit}; systemctl reset-failed {unit}"
    )
    lab.run("node2", f"systemctl start {unit}")


def test_mon_that_stops_takes_the_lead_away_and_no_alert(
    lab: TestLab, prometheus: Prometheus
) -> None:
    # The first one's, whose node's collector leads.
    lab.run("node1", "systemctl stop ceph-mon@node1")
    prometheus.until_fires(
        "GanetiCephMonOutOfQuorum", mon="node1", node="node1.lab.example"
    )
    time.sleep(6)
    assert prometheus.fires("GanetiCephMonOutOfQuorum", mon="node1")
    assert not prometheus.fires("GanetiCephNobodyLeads")
    assert not prometheus.fires("GanetiCephSilent")
    lab.run("node1", "systemctl reset-failed ceph-mon@node1")
    lab.run("node1", "systemctl start ceph-mon@node1")


def test_collector_that_is_silent(lab: TestLab, prometheus: Prometheus) -> None:
    lab.run("node1", f"systemctl stop {UNIT}")
    prometheus.until_fires("GanetiCephCollectorDown", instance="10.77.0.1:1816")
    # Its node's mon is still the first in quorum, and nobody tells what it would.
    prometheus.until_fires("GanetiCephNobodyLeads")
    lab.run("node1", f"systemctl start {UNIT}")


def test_storage_that_is_silent(lab: TestLab, prometheus: Prometheus) -> None:
    for node in ("node2", "node3"):
        lab.run(node, f"systemctl stop ceph-mon@{node}")
    prometheus.until_fires("GanetiCephSilent", severity="critical")
    assert not prometheus.fires("GanetiCephCollectorDown")
    for node in ("node2", "node3"):
        lab.run(
            node,
            f"systemctl reset-failed ceph-mon@{node}; systemctl start ceph-mon@{node}",
        )


def test_node_that_alone_does_not_reach_the_storage(
    lab: TestLab, prometheus: Prometheus
) -> None:
    key = "/etc/ceph/ceph.client.ganeti-collector.keyring"
    lab.run(
        "node3",
        f"mv {key} {key}.kept; ceph-authtool -C -n client.ganeti-collector --gen-key"
        f" {key}; systemctl restart {UNIT}",
    )
    prometheus.until_fires("GanetiCephNodeCutOff", node="node3.lab.example")
    assert not prometheus.fires("GanetiCephSilent")
    lab.run("node3", f"mv {key}.kept {key}; systemctl restart {UNIT}")


def test_without_managers_and_with_parts_unknown(
    lab: TestLab, prometheus: Prometheus
) -> None:
    on_all(lab, "systemctl stop 'ceph-mgr@*'")
    lab.run("node1", "ceph mgr fail; sleep 1; ceph mgr fail; true")
    prometheus.until_fires("GanetiCephNoActiveMgr")
    prometheus.until_fires("GanetiCephPartUnknown", part="groups")
    lab.run("node1", "systemctl start ceph-mgr@node1")
    lab.run("node2", "systemctl start ceph-mgr@node2")


def test_pool_that_is_full(lab: TestLab, prometheus: Prometheus) -> None:
    with pool(lab, "filled"):
        lab.run(
            "node1",
            "ceph osd pool set-quota filled max_bytes 20000000 &&"
            " head -c 32M /dev/urandom | rados -p filled put data -",
        )
        prometheus.until_fires("GanetiCephFull", check="POOL_FULL", severity="critical")
        prometheus.until_fires("GanetiCephPoolNearlyFull", pool="filled")


def test_osd_that_is_out(lab: TestLab, prometheus: Prometheus) -> None:
    number = first_osd(lab, "node2")
    lab.run("node1", f"ceph osd out {number}")
    prometheus.until_fires("GanetiCephOsdOut", daemon=f"osd.{number}")
    lab.run("node1", f"ceph osd in {number}")


def test_collector_that_hangs(lab: TestLab, prometheus: Prometheus) -> None:
    # A file that it reads each time, and of which nothing comes, as of a disk that is
    # about to die.  Only the collector sees it so.
    file, pipe = "/var/lib/ganeti/ssconf_node_list", "/run/stuck"
    lab.run(
        "node2",
        f"mkfifo -m 644 {pipe} && nsenter --mount --target"
        f" $(systemctl show --property=MainPID --value {UNIT})"
        f" mount --bind {pipe} {file}",
    )
    prometheus.until_fires("GanetiCephSampleOld", node="node2.lab.example")
    assert not prometheus.fires("GanetiCephCollectorDown")
    lab.run("node2", f"systemctl restart {UNIT}; rm {pipe}")


def test_daemon_that_ends_again_and_again(lab: TestLab, prometheus: Prometheus) -> None:
    number = first_osd(lab, "node3")
    unit = f"ceph-osd@{number}"
    folder = f"/run/systemd/system/{unit}.service.d"
    # An hour is half a minute here, for systemd as well.
    lab.run(
        "node3",
        f"mkdir -p {folder}; printf '[Unit]\\nStartLimitIntervalSec=0\\n"
        f"[Service]\\nRestartSec=1\\n' > {folder}/soon.conf; systemctl daemon-reload;"
        f" for i in 1 2 3 4; do systemctl kill -s KILL {unit}; sleep 3; done",
    )
    daemon = {"node": "node3.lab.example", "daemon": f"osd.{number}"}
    prometheus.until_fires("GanetiCephDaemonRestarts", **daemon)
    lab.run("node3", f"rm -r {folder}; systemctl daemon-reload")


def test_data_with_too_few_copies(lab: TestLab, prometheus: Prometheus) -> None:
    for node in ("node2", "node3"):
        lab.run(node, "systemctl stop 'ceph-osd@*'")
    prometheus.until_fires("GanetiCephDataUnavailable", severity="critical")
    for node in ("node2", "node3"):
        lab.run(node, f"systemctl start ceph-osd@{first_osd(lab, node)}")


def test_copies_without_a_place(lab: TestLab, prometheus: Prometheus) -> None:
    with pool(lab, "copies"):
        lab.run("node1", "echo data | rados -p copies put data -")
        # No third node is left for the third copy.
        lab.run("node3", "systemctl stop 'ceph-osd@*'")
        prometheus.until_fires("GanetiCephRecoveryStuck", severity="warning")
        lab.run("node3", f"systemctl start ceph-osd@{first_osd(lab, 'node3')}")
        prometheus.until_ends("GanetiCephRecoveryStuck")


def test_object_whose_only_copy_is_out_of_reach(
    lab: TestLab, prometheus: Prometheus
) -> None:
    with unfound_object(lab):
        prometheus.until_fires("GanetiCephObjectsUnfound", severity="critical")
    prometheus.until_ends("GanetiCephObjectsUnfound")


def test_image_that_two_nodes_have_open(lab: TestLab, prometheus: Prometheus) -> None:
    guest = Guest(lab, "guest8.lab.example")
    guest.gnt("add -t rbd -o lab-guest --no-install --no-start --disk 0:size=1G")
    (image,) = guest.images()
    with hold(lab, "node1", image), hold(lab, "node3", image):
        disk = {"instance_name": guest.name, "disk": "0", "image": image}
        prometheus.until_fires("GanetiCephImageOpenTwice", **disk)
        # Which instance fills the pool is one question; this one comes last.
        wait_until(lambda: prometheus.names(FILLS)[-1:] == [guest.name])
        assert len(prometheus.names(FILLS)) > 1, "nobody to be compared with"
    prometheus.until_ends("GanetiCephImageOpenTwice")
    guest.gnt("remove -f")


def test_pool_that_fills_up(lab: TestLab, prometheus: Prometheus) -> None:
    with pool(lab, "growing"):
        lab.run("node1", "ceph osd pool set-quota growing max_bytes 400000000")
        for number in range(36):
            lab.run("node1", f"head -c 10M /dev/zero | rados -p growing put {number} -")
            if prometheus.fires("GanetiCephPoolFillsUp", pool="growing"):
                break
        prometheus.until_fires("GanetiCephPoolFillsUp", pool="growing")
        # It stays as full as it is.
        prometheus.until_ends("GanetiCephPoolFillsUp")


def test_osd_that_fills_up(lab: TestLab, prometheus: Prometheus) -> None:
    def use() -> tuple[int, int]:
        found = json.loads(lab.run("node1", "ceph osd df --format json").stdout)
        (osd,) = (one for one in found["nodes"] if one["id"] == int(number))
        return osd["kb_used"], osd["kb"]

    def fill(share: float) -> None:
        used, size = use()
        while (count := int(share * size - used) // 4096) > 8:
            lab.run(
                "node2",
                f"rados -p small bench 60 write --max-objects {count} --no-cleanup",
            )
            # Ceph counts every five seconds; no more is to be written before.
            time.sleep(10)
            used, size = use()

    with small_osd(lab) as number:
        with pool(lab, "small", "8 8 replicated small"):
            keep_one_copy(lab, "small")
            wait_until(lambda: min(use()) > 0)
            fill(0.88)
            prometheus.until_fires("GanetiCephOsdNearlyFull", daemon=f"osd.{number}")
            assert not prometheus.fires("GanetiCephHealthError")
            fill(0.96)
            prometheus.until_fires("GanetiCephHealthError", severity="critical")
            prometheus.until_fires("GanetiCephFull", check="OSD_FULL")
        prometheus.until_ends("GanetiCephHealthError")
        prometheus.until_ends("GanetiCephOsdNearlyFull")


def test_osd_that_is_slow(lab: TestLab, prometheus: Prometheus) -> None:
    number = first_osd(lab, "node2")
    with (
        pool(lab, "busy"),
        meanwhile(lab, "node1", "rados -p busy bench 300 write -b 4096"),
        meanwhile(lab, "node2", PULSES.format(number=number)),
    ):
        prometheus.until_fires(
            "GanetiCephOsdSlow", node="node2.lab.example", daemon=f"osd.{number}"
        )


def test_disk_that_wears_out_and_fails(lab: TestLab, prometheus: Prometheus) -> None:
    """Ceph reads how worn it is; when it will fail, a program or somebody tells it."""
    disk = {"node": "node2.lab.example", "device_id": "Flash_1"}
    flash = Flash(lab)
    with flash.there():
        flash.be("1")
        flash.wear(3)
        # If the lab has seen this test before, Ceph knows the disk.
        prometheus.until_ends("GanetiCephDeviceWorn")
        flash.wear(97)
        prometheus.until_fires("GanetiCephDeviceWorn", **disk)
        assert not prometheus.fires("GanetiCephDeviceFailing")
        flash.fail_soon()
        prometheus.until_fires("GanetiCephDeviceFailing", **disk)
        # Another disk in its place.
        flash.be("2")
        flash.wear(3)
        prometheus.until_ends("GanetiCephDeviceWorn")
        prometheus.until_ends("GanetiCephDeviceFailing")


def test_dashboard_has_answers(prometheus: Prometheus) -> None:
    """What it asks of a healthy cluster has numbers, where there can be any."""
    asked = [
        (title, expr)
        for title, expr in _asked()
        if title not in MAY_BE_EMPTY | OF_INSTANCES
    ]
    assert len(asked) > 20
    # After a fault, the storage cluster itself knows some only after a while.
    end = time.monotonic() + PATIENCE
    while empty := {title for title, expr in asked if not prometheus.query(expr)}:
        assert time.monotonic() < end, empty


def test_dashboard_shows_an_instance_that_writes(
    lab: TestLab, prometheus: Prometheus
) -> None:
    asked = {title: expr for title, expr in _asked() if title in OF_INSTANCES}
    assert set(asked) == OF_INSTANCES
    guest = Guest(lab, "guest6.lab.example")
    guest.gnt("add -t rbd -o lab-guest -B memory=128M -n node1 --disk 0:size=1G")
    try:
        end = time.monotonic() + PATIENCE
        while asked:
            asked = {
                title: expr
                for title, expr in asked.items()
                if guest.name not in prometheus.names(expr)
            }
            assert time.monotonic() < end, asked
            time.sleep(1)
    finally:
        guest.gnt("remove -f --shutdown-timeout=0")


def _asked() -> list[tuple[str, str]]:
    """Return the dashboard's panels, and what they ask."""
    path = RULES.with_name("ganeti-ceph-dashboard.json")
    return [
        (panel["title"], _filled_in(target["expr"]))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", [])
    ]


def _filled_in(expr: str) -> str:
    """What Grafana makes of its variables, and a minute of what is a day."""
    expr = expr.replace("$__rate_interval", "1m").replace("1d:10m", "1m:2s")
    return re.sub(r"\$\w+", ".*", expr)

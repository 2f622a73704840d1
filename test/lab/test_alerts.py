"""A real Prometheus: real faults fire their alerts, and mending ends them."""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import TestLab

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

#: Panels without anything to show if nothing is wrong, no instance does anything, and
#: disks are loop devices.
MAY_BE_EMPTY = {
    "Health checks",
    "Full in",
    "By space",
    "By growth in a day",
    "Given out",
    "Bytes read and written",
    "Operations",
    "How long a write takes",
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
        rules = re.sub(r"for: (\d+)[mhd]\b", r"for: \1s", RULES.read_text())
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
    lab.run(
        "node1",
        "ceph osd pool create filled 8 && ceph osd pool application enable filled rbd"
        " && ceph osd pool set-quota filled max_bytes 20000000 &&"
        " head -c 32M /dev/urandom | rados -p filled put data -",
    )
    prometheus.until_fires("GanetiCephFull", check="POOL_FULL", severity="critical")
    prometheus.until_fires("GanetiCephPoolNearlyFull", pool="filled")
    lab.run(
        "node1",
        "ceph config set mon mon_allow_pool_delete true && ceph osd pool delete filled"
        " filled --yes-i-really-really-mean-it;"
        " ceph config rm mon mon_allow_pool_delete",
    )


def test_osd_that_is_out(lab: TestLab, prometheus: Prometheus) -> None:
    number = first_osd(lab, "node2")
    lab.run("node1", f"ceph osd out {number}")
    prometheus.until_fires("GanetiCephOsdOut", daemon=f"osd.{number}")
    lab.run("node1", f"ceph osd in {number}")


def test_dashboard_has_answers(prometheus: Prometheus) -> None:
    """What it asks of a healthy cluster has numbers, where there can be any."""
    path = RULES.with_name("ganeti-ceph-dashboard.json")
    asked = [
        (panel["title"], _filled_in(target["expr"]))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", [])
        if panel["title"] not in MAY_BE_EMPTY
    ]
    assert len(asked) > 20
    # After a fault, the storage cluster itself knows some only after a while.
    end = time.monotonic() + PATIENCE
    while empty := {title for title, expr in asked if not prometheus.query(expr)}:
        assert time.monotonic() < end, empty


def _filled_in(expr: str) -> str:
    """What Grafana makes of its variables, and a minute of what is a day."""
    expr = expr.replace("$__rate_interval", "1m").replace("1d:10m", "1m:2s")
    return re.sub(r"\$\w+", ".*", expr)

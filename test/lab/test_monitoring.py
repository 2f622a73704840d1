"""The alert rules and the dashboard, by Prometheus' own tool; needs no lab.

A rule is given what collectors would say of a cluster with a fault, minute by minute.
"""

import dataclasses
import json
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.collector.samples import (
    GIB,
    GROUPS,
    MOVING,
    check,
    daemon,
    image,
    osd,
    sample,
    silent,
    warns,
)

from ganeti_ceph.collector import metrics
from ganeti_ceph.collector.facts import Device, Gap, Health, Mon, Sample

MONITORING = Path(__file__).resolve().parents[2] / "doc/monitoring"
RULES = MONITORING / "ganeti-ceph-alerts.yml"
DASHBOARD = MONITORING / "ganeti-ceph-dashboard.json"

ALERTS = [
    rule["alert"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
]

DAY = 24 * 60


@dataclasses.dataclass(frozen=True)
class Case:
    """What is alerted of a cluster that is so, or grew to be so."""

    alerts: dict[str, int]
    after: Callable[[], Sample]
    #: In minutes.
    time: int = 40
    before: Callable[[], Sample] | None = None
    #: What the second node's collector says meanwhile.
    other: Callable[[Sample], Sample] = lambda first: follower(first)
    #: Whether Prometheus reaches the second node's collector in the end.
    reached: bool = True

    @property
    def interval(self) -> int:
        """Minutes from one reading to the next; a day has many."""
        return 1 if self.time < 600 else 5


def fresh(**changes: Any) -> Sample:
    """A healthy cluster; read now, whenever that is."""
    return sample(**{"taken": 1e9, **changes})


def follower(first: Sample) -> Sample:
    """What the second node says at the same time."""
    return dataclasses.replace(
        first,
        host="node2",
        images=None,
        daemons=(daemon("osd", "1"),),
        devices=(),
        gaps=() if first.health else first.gaps,
    )


def slow() -> Sample:
    return fresh(osds=(osd(0, commit_latency=0.4), osd(1), osd(2)))


def filled(part: float, **changes: Any) -> Sample:
    (pool,) = sample().pools or ()
    used = int(10 * GIB * part)
    return fresh(
        pools=(dataclasses.replace(pool, stored=used, free=10 * GIB - used),), **changes
    )


def opened(*addresses: str) -> Sample:
    made = image(0)
    assert made.use
    use = dataclasses.replace(made.use, watchers=addresses)
    return fresh(images=(dataclasses.replace(made, use=use),))


def disk(**changes: Any) -> Sample:
    device = Device("ACME_1", "node1", "sdb", ("osd.0",))
    return fresh(devices=(dataclasses.replace(device, **changes),))


def stuck() -> Sample:
    recovery = dataclasses.replace(MOVING.recovery, unfound=0, objects_rate=0.0)
    return fresh(groups=dataclasses.replace(MOVING, recovery=recovery))


WARN = {"GanetiCephHealthWarning": 1}
CASES = {
    "healthy": Case({}, fresh),
    "healthy for long": Case({}, fresh, DAY),
    "recovering": Case(
        {},
        lambda: fresh(
            groups=dataclasses.replace(
                MOVING, recovery=dataclasses.replace(MOVING.recovery, unfound=0)
            )
        ),
        120,
    ),
    "collector": Case({"GanetiCephCollectorDown": 1}, fresh, reached=False),
    "collector for long": Case(
        {"GanetiCephCollectorDown": 1}, fresh, 2 * DAY + 60, reached=False
    ),
    "cut off": Case(
        {"GanetiCephNodeCutOff": 1}, fresh, other=lambda _: follower(silent())
    ),
    "old": Case({"GanetiCephSampleOld": 2}, lambda: fresh(taken=0.0)),
    "nobody": Case(
        {"GanetiCephNobodyLeads": 1}, lambda: fresh(leader="node3", images=None)
    ),
    "part": Case(
        {"GanetiCephPartUnknown": 1},
        lambda: fresh(gaps=(Gap("images", "no mgr", None),), images=None),
    ),
    "silent": Case({"GanetiCephSilent": 1}, lambda: silent()),
    "error": Case(
        {"GanetiCephHealthError": 1}, lambda: fresh(health=Health("HEALTH_ERR", ()))
    ),
    "warning": Case(WARN, lambda: fresh(health=warns(check("RECENT_CRASH")))),
    "mgr": Case(
        {"GanetiCephNoActiveMgr": 1, **WARN},
        lambda: fresh(health=warns(check("MGR_DOWN"))),
    ),
    "mon": Case(
        {"GanetiCephMonOutOfQuorum": 1},
        lambda: fresh(
            mons=(
                *(sample().mons or ())[:2],
                Mon("node3", "10.77.0.3", False, "node3", "18.2.7"),
            )
        ),
    ),
    "daemon": Case(
        {"GanetiCephDaemonNotRunning": 1},
        lambda: fresh(daemons=(daemon("mon", "node1", state="failed", pid=None),)),
    ),
    "restarts": Case(
        {"GanetiCephDaemonRestarts": 1},
        lambda: fresh(daemons=(daemon("mon", "node1", restarts=40),)),
        before=lambda: fresh(daemons=(daemon("mon", "node1"),)),
    ),
    "osd down": Case(
        {"GanetiCephOsdDown": 1}, lambda: fresh(osds=(osd(0, up=False), osd(1), osd(2)))
    ),
    "osd out": Case(
        {"GanetiCephOsdOut": 1},
        lambda: fresh(osds=(osd(0, inside=False), osd(1), osd(2))),
        DAY + 10,
    ),
    "unavailable": Case(
        {"GanetiCephDataUnavailable": 1},
        lambda: fresh(groups=dataclasses.replace(GROUPS, inactive=3)),
    ),
    "unfound": Case(
        {"GanetiCephObjectsUnfound": 1},
        lambda: fresh(
            groups=dataclasses.replace(
                GROUPS, recovery=dataclasses.replace(GROUPS.recovery, unfound=2)
            )
        ),
    ),
    "stuck": Case({"GanetiCephRecoveryStuck": 1}, stuck, 60),
    "open twice": Case(
        {"GanetiCephImageOpenTwice": 1}, lambda: opened("10.77.0.1", "10.77.0.2")
    ),
    "open once": Case({}, lambda: opened("10.77.0.2")),
    "full": Case(
        {"GanetiCephFull": 1, **WARN}, lambda: fresh(health=warns(check("OSD_FULL")))
    ),
    "nearly full": Case({"GanetiCephPoolNearlyFull": 1}, lambda: filled(0.9)),
    "fills up": Case(
        {"GanetiCephPoolFillsUp": 1},
        lambda: filled(0.7),
        DAY + 120,
        before=lambda: filled(0.5),
    ),
    "grows slowly": Case(
        {}, lambda: filled(0.6), DAY + 120, before=lambda: filled(0.59)
    ),
    "osd full": Case(
        {"GanetiCephOsdNearlyFull": 1},
        lambda: fresh(osds=(osd(0, used=9 * GIB), osd(1), osd(2))),
    ),
    "slow": Case({"GanetiCephOsdSlow": 1}, slow),
    "all slow": Case(
        {},
        lambda: fresh(osds=tuple(osd(one, commit_latency=0.4) for one in range(3))),
    ),
    "failing": Case(
        {"GanetiCephDeviceFailing": 1}, lambda: disk(fails_before=10 * 86400.0)
    ),
    "worn": Case({"GanetiCephDeviceWorn": 1}, lambda: disk(wear=0.95), 90),
}


def series(case: Case) -> Iterable[dict[str, str]]:
    """Yield what two collectors say in the time of a case, as promtool takes it."""
    ends = ((case.before or case.after)(), case.after())
    for number, speaks in ((1, lambda one: one), (2, case.other)):
        target = f'instance="node{number}:1816",job="ceph"'
        first, last = (_lines(speaks(one)) for one in ends)
        reached = case.reached or number == 1
        steps = case.time // case.interval
        yield _series(f"up{{{target}}}", float(reached), float(reached), steps)
        for name, after in last.items():
            before = first.get(name, after)
            labels = f"{name[:-1]},{target}}}" if "{" in name else f"{name}{{{target}}}"
            # One that is not reached has said something a while ago.
            yield _series(labels, before, after, steps if reached else 5)


def _lines(made: Sample) -> dict[str, float]:
    text = metrics.text(made).decode()
    pairs = (
        line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
    )
    return {name: float(value) for name, value in pairs}


def _series(name: str, before: float, after: float, steps: int) -> dict[str, str]:
    step = (after - before) / steps
    return {"series": name, "values": f"{before!r}{step:+.12f}x{steps} stale"}


def promtool(*words: str) -> None:
    done = subprocess.run(
        ["/usr/bin/promtool", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_rules_are_such() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))


@pytest.mark.parametrize("name", CASES)
def test_fault_fires_its_alert_and_no_other(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    expected = [
        {"labels": f'{{alertname="{alert}"}}', "value": count}
        for alert, count in case.alerts.items()
    ]
    test = {
        "interval": f"{case.interval}m",
        "input_series": list(series(case)),
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{case.time}m",
                "exp_samples": expected,
            }
        ],
    }
    content = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(content))
    promtool("test", "rules", str(path))


def test_every_alert_has_a_fault() -> None:
    assert {alert for case in CASES.values() for alert in case.alerts} == set(ALERTS)


def test_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [
        target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(asked) > 20
    rules = [
        {"record": f"asked:{number}", "expr": _filled_in(expr)}
        for number, expr in enumerate(asked)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    promtool("check", "rules", str(path))


def _filled_in(expr: str) -> str:
    """What Grafana makes of its variables."""
    for name, value in (("__rate_interval", "5m"), ("__range", "1h")):
        expr = expr.replace(f"${name}", value)
    return re.sub(r"\$\w+", ".*", expr)

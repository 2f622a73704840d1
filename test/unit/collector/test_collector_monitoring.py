"""The alert rules and the dashboard name what the collector tells, and nothing else."""

import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from collector.samples import IO, check, daemon, image, sample, warns

from ganeti_ceph.collector import metrics
from ganeti_ceph.collector.facts import Device, Rates

MONITORING = Path(__file__).resolve().parents[3] / "doc/monitoring"
RULES = yaml.safe_load((MONITORING / "ganeti-ceph-alerts.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "ganeti-ceph-dashboard.json").read_text())
PANELS = DASHBOARD["panels"]

#: What Prometheus itself gives to what it scraped.
TARGET = {"job", "instance"}


def told() -> dict[str, set[str]]:
    """All metrics that a collector can tell, with their labels."""
    made = sample(
        health=warns(check("OSD_DOWN")),
        daemons=(daemon("osd", "0"),),
        devices=(Device("A", "node1", "sdb", ("osd.0",), 1.0, 2.0, 0.5),),
        images=(image(0, io=IO, rates=Rates(1.0, 2.0, 3.0, 4.0)),),
    )
    return {
        line.name: {*line.labels, *TARGET}
        for family in metrics.families(made)
        for line in family.samples
    } | {"up": TARGET}


TOLD = told()


def targets() -> Iterable[tuple[str, str]]:
    """The questions of the dashboard, each with how its answer is called."""
    for panel in PANELS:
        for target in panel.get("targets", ()):
            yield target["expr"], target["legendFormat"]


ASKED = [
    *((rule["expr"], " ".join(rule["annotations"].values())) for rule in ALERTS),
    *targets(),
]


@pytest.mark.parametrize(("expr", "words"), ASKED)
def test_metrics_and_labels_are_those_of_the_collector(expr: str, words: str) -> None:
    names = set(re.findall(r"\bganeti_ceph_\w+|\bup\b", expr))
    assert names
    assert names <= set(TOLD)
    labels = set().union(*(TOLD[name] for name in names))
    grouped = re.findall(r"\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)", expr)
    used = {one.strip() for group in grouped for one in group.split(",")} - {""}
    used |= set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expr))
    for pair in re.findall(r"\$labels\.(\w+)|{{(\w+)}}", words):
        used |= {*pair} - {""}
    assert used <= labels


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_says_what_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("GanetiCeph")
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    commands = re.findall(r"'(gnt-[a-z]+) [a-z-]+", rule["annotations"]["description"])
    assert commands
    assert set(commands) <= {"gnt-storage", "gnt-node", "gnt-instance", "gnt-cluster"}
    for text in rule["annotations"].values():
        assert text.isascii()
        assert len(text) < 500


def test_alerts_differ() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)


def test_a_real_fault_fires_each_alert() -> None:
    """In a lab, with a real Prometheus."""
    text = (Path(__file__).resolve().parents[2] / "lab/test_alerts.py").read_text()
    provoked = set(re.findall(r'until_fires\(\s*"(\w+)"', text))
    assert provoked == {rule["alert"] for rule in ALERTS}


def test_dashboard_can_be_imported() -> None:
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"] == "ganeti-ceph"
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for name, one in variables.items():
        if one["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", one["definition"])
            assert asked
            assert asked[2] == name
            assert name in TOLD[asked[1]]
    used = set(re.findall(r"\$(\w+)", json.dumps([expr for expr, _ in targets()])))
    assert used <= {*variables, "__rate_interval"}


def test_panels_have_what_grafana_needs() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("stat", "gauge", "bargauge", "timeseries", "table")
        assert panel["description"]
        assert panel["datasource"] == source
        assert {"defaults", "overrides"} == set(panel["fieldConfig"])
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        assert all(target["datasource"] == source for target in panel["targets"])


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        columns = range(at["x"], at["x"] + at["w"])
        lines = range(at["y"], at["y"] + at["h"])
        cells = set(itertools.product(columns, lines))
        assert not cells & taken
        taken |= cells
    # Nor is there a gap.
    assert len(taken) == 24 * (max(line for _, line in taken) + 1)

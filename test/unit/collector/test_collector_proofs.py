"""Whatever a collector tells changes in a lab for a real cause."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collector.samples import IO, MOVING, check, daemon, image, sample, warns
from lab.proofs import CHANGES, SAME, Row

from ganeti_ceph.collector import metrics, report
from ganeti_ceph.collector.facts import Device, Gap, Rates, Sample

LAB = Path(__file__).resolve().parents[2] / "lab/test_metrics.py"

#: Not of one form: by state.
BY_NAME = {"ceph-cluster placement_groups.states"}


def full() -> Sample:
    """A sample that has everything."""
    rates = Rates(1.0, 2.0, 3.0, 4.0)
    (pool,) = sample().pools or ()
    return sample(
        health=warns(check("OSD_DOWN")),
        groups=MOVING,
        pools=(dataclasses.replace(pool, quota_bytes=2**30),),
        daemons=(daemon("osd", "0"), daemon("mon", "node1"), daemon("mgr", "node1")),
        devices=(Device("A", "node1", "sdb", ("osd.0",), 1.0, 2.0, 0.5),),
        images=(
            image(0, io=IO, rates=rates),
            dataclasses.replace(image(1, io=IO, rates=rates), use=None),
        ),
        gaps=tuple(Gap(part, "gone", 1.0) for part in ("health", "use", "io")),
    )


def fields(value: Any, path: str) -> Iterator[str]:
    """Tell what is in a report, each field of the things in a list once."""
    if isinstance(value, dict) and path not in BY_NAME:
        for name, one in value.items():
            yield from fields(one, path + (name if path[-1] == " " else f".{name}"))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for one in value:
            yield from fields(one, f"{path}[]")
    else:
        # Images are described alike, be they of an instance or not.
        yield path.replace("others[]", "instances[].disks[]")


def told_in_reports() -> set[str]:
    found = set()
    for one in report.all_reports(full()):
        data = one.pop("data")
        found |= {f"head {name}" for name in one}
        found |= set(fields(data, f"{one['name']} "))
    return found


def rows() -> Iterator[Row]:
    for changes in CHANGES.values():
        yield from changes


def test_each_metric_changes_for_a_real_cause() -> None:
    told = {
        line.name.removeprefix("ganeti_ceph_")
        for family in metrics.families(full())
        for line in family.samples
    }
    assert {row.name for row in rows() if row.labels is not None} == told


def test_labels_are_those_of_the_metrics() -> None:
    known = {
        line.name: set(line.labels)
        for family in metrics.families(full())
        for line in family.samples
    }
    for row in rows():
        if row.labels is not None:
            assert set(row.labels) <= known["ganeti_ceph_" + row.name]


def test_each_field_of_the_reports_changes_for_a_real_cause_or_is_compared() -> None:
    changed = {
        re.sub(r"\[[^]]*\]", "[]", row.name).replace("others[]", "instances[].disks[]")
        for row in rows()
        if row.labels is None
    }
    assert not changed & SAME
    assert changed | SAME == told_in_reports()


def test_each_cause_is_made() -> None:
    made = {
        one.name
        for one in ast.parse(LAB.read_text(encoding="utf-8")).body
        if isinstance(one, ast.FunctionDef)
    }
    assert set(CHANGES) <= made

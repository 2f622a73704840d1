"""Ganeti's own reports and ours are of one form."""

import json
from pathlib import Path

import fakes
import jsonschema
import pytest
from collector.samples import MOVING, check, daemon, image, sample, silent, warns
from fakes import RELEASES, recorded

from ganeti_ceph.collector import report

SCHEMA = Path(fakes.__file__).parent / "data/report-schema.json"


@pytest.fixture(scope="module")
def form():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


@pytest.mark.parametrize("release", RELEASES)
def test_the_form_is_that_of_monds_reports(form, release):
    reports = json.loads(recorded(release, "mond-reports.json"))
    assert {one["name"] for one in reports} >= {"cpu-avg-load", "xen-cpu-avg-load"}
    for one in reports:
        form.validate(one)


@pytest.mark.parametrize("release", RELEASES)
def test_the_list_of_collectors_is_of_monds_form(release):
    for name, category, kind in json.loads(
        recorded(release, "mond-list-collectors.json")
    ):
        assert isinstance(name, str) and isinstance(category, str) and kind in (0, 1)


@pytest.mark.parametrize(
    "one",
    [
        sample(),
        silent(),
        sample(leader="node2", images=None),
        sample(groups=MOVING, health=warns(check("PG_DEGRADED"))),
        sample(daemons=(daemon("osd", "0", state="failed"),)),
        sample(images=(image(0, error="timed out"),)),
    ],
    ids=["well", "silent", "another", "recovering", "failed", "broken image"],
)
def test_ours_are_of_that_form(form, one):
    for found in report.all_reports(one):
        form.validate(json.loads(json.dumps(found)))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 2},
        {"category": "default"},
        {"timestamp": 1.5},
        {"more": 1},
        {"data": {"status": {"code": 3, "message": "x"}}},
        {"data": {"status": {"code": 4, "message": ""}}},
        {"data": {}},
    ],
)
def test_what_is_not_of_that_form_is_found(form, change):
    with pytest.raises(jsonschema.ValidationError):
        form.validate({**report.report(sample(), "ceph-node"), **change})

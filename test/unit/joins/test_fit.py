"""Misfits: asked of a fresh process, and nothing that is well is reported."""

import json
import sys

import pytest

import ganeti_ceph
from ganeti_ceph.joins import apply, fit
from ganeti_ceph.joins.table import Join, Kind
from ganeti_ceph.rpc import Misfits


@pytest.fixture
def joins(monkeypatch):
    monkeypatch.setattr(apply, "refused", [])

    def use(*joins):
        monkeypatch.setattr(fit, "JOINS", joins)

    return use


def row(module, kind=Kind.WRAP):
    return Join(module, "x", kind, (), "a:b", "")


def told(capsys):
    return json.loads(capsys.readouterr().out)


def test_all_is_well(joins, capsys):
    joins(row("json"), row("json"), row("string"))
    fit.main()
    answer = told(capsys)
    assert answer["places"] == []
    assert answer["version"] == ganeti_ceph.__version__


def test_what_was_refused_is_told(joins, capsys):
    joins(row("json"))
    apply.refused.append(apply.Refusal("json.x", "no x"))
    fit.main()
    assert told(capsys)["places"] == [["json.x", "no x"]]


def test_a_module_that_cannot_be_loaded_is_told(joins, capsys):
    joins(row("no_such_module"))
    fit.main()
    ((place, reason),) = told(capsys)["places"]
    assert place == "no_such_module"
    assert "cannot be loaded" in reason


def test_a_module_that_only_ceph_needs_may_be_absent(joins, capsys):
    joins(row("no_such_module", Kind.STAND_IN))
    fit.main()
    assert told(capsys)["places"] == []


def test_the_answer_of_the_process_is_its_last_line(monkeypatch):
    line = json.dumps({"version": "1", "ganeti": "3.1.0", "places": [["a.b", "c"]]})
    monkeypatch.setattr(fit, "run", lambda argv, timeout: f"noise\n{line}\n")
    assert fit.ask() == Misfits("1", "3.1.0", (("a.b", "c"),))


def test_an_embedded_python_asks_debians(monkeypatch):
    seen = []

    def run(argv, timeout):
        seen.append(argv[0])
        return '{"version": "1", "ganeti": "3.1.0", "places": []}'

    monkeypatch.setattr(fit, "run", run)
    monkeypatch.setattr(sys, "executable", "")
    fit.ask()
    assert seen == ["/usr/bin/python3"]

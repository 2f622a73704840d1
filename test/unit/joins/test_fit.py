"""Misfits: all joined modules are loaded, and nothing that is well is reported."""

import pytest
from ganeti import constants

import ganeti_ceph
from ganeti_ceph.joins import apply, fit
from ganeti_ceph.joins.apply import Refusal
from ganeti_ceph.joins.table import Join, Kind
from ganeti_ceph.rpc import Misfits


@pytest.fixture
def joins(monkeypatch):
    monkeypatch.setattr(apply, "refused", [])
    monkeypatch.setattr(apply, "_around", [])

    def use(*joins):
        monkeypatch.setattr(fit, "JOINS", joins)

    return use


def row(module, kind=Kind.WRAP, releases=()):
    return Join(module, "x", kind, (), "a:b", "", releases)


def told(*places):
    return Misfits(ganeti_ceph.__version__, constants.RELEASE_VERSION, places)


def test_all_is_well(joins):
    joins(row("json"), row("json"), row("string"))
    assert fit.ask() == told()


def test_what_was_refused_is_told(joins):
    joins(row("json"))
    apply.refused.append(Refusal("json.x", "no x"))
    assert fit.ask() == told(("json.x", "no x"))


def test_a_module_that_cannot_be_loaded_is_told(joins):
    joins(row("no_such_module"))
    ((place, reason),) = fit.ask().places
    assert place == "no_such_module"
    assert "cannot be loaded" in reason


def test_a_function_that_cannot_be_loaded_is_told(joins):
    joins()
    apply._around.append(
        apply._Around(Join("json", "dumps", Kind.WRAP, (), "no_such_module:x", ""))
    )
    ((place, reason),) = fit.ask().places
    assert place == "json.dumps"
    assert "no_such_module" in reason


def test_a_module_that_only_ceph_needs_may_be_absent(joins):
    joins(row("no_such_module", Kind.STAND_IN))
    assert fit.ask() == told()


def test_a_module_of_another_release_may_be_absent(joins):
    joins(row("no_such_module", releases=("2.16",)))
    assert fit.ask() == told()


def test_a_daemon_older_than_what_is_installed_is_told(joins, monkeypatch, tmp_path):
    joins(row("no_such_module"))
    newer = tmp_path / "__init__.py"
    newer.write_text('__version__ = "99.9"\n')
    monkeypatch.setattr(ganeti_ceph, "__file__", str(newer))
    # The rest is not looked at: it is not what the daemon would have loaded.
    ((place, reason),) = fit.ask().places
    assert place == "ganeti.server.noded"
    assert reason == "ganeti-ceph 99.9 was installed since; restart ganeti-noded"

"""The import hook: cheap, for Ganeti alone, and never in the way."""

import importlib
import subprocess
import sys

import pytest

from ganeti_ceph.joins import apply


@pytest.fixture
def hook(monkeypatch):
    """The module, whose finder is not left behind for other tests."""
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    return importlib.import_module("ganeti_ceph.joins.hook")


@pytest.fixture
def finder(hook):
    return hook.JoinFinder()


@pytest.fixture
def asked(monkeypatch):
    names = []
    monkeypatch.setattr(
        apply, "joined_spec", lambda name, path: names.append(name) or name
    )
    return names


@pytest.mark.parametrize(
    "name", ["json", "ganeti", "ganetix.a", "ganeti_ceph.plan", "bcrypt"]
)
def test_other_modules_are_none_of_ours(finder, asked, name):
    assert finder.find_spec(name) is None
    assert asked == []


def test_ganetis_modules_are_asked_for(finder, asked):
    assert finder.find_spec("ganeti.backend") == "ganeti.backend"


def test_bcrypt_is_ours_in_an_embedded_python_only(finder, asked, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    assert finder.find_spec("bcrypt") == "bcrypt"


def test_our_own_trouble_is_logged_and_ganeti_goes_on(finder, monkeypatch):
    def trouble(name, path):
        raise RuntimeError("no luck")

    lines = []
    monkeypatch.setattr(apply, "joined_spec", trouble)
    monkeypatch.setattr("syslog.syslog", lambda _, line: lines.append(line))
    assert finder.find_spec("ganeti.backend") is None
    assert "ganeti.backend" in lines[0]
    assert "no luck" in lines[0]


def test_it_is_installed_once(hook):
    hook.install()
    hook.install()
    ours = [one for one in sys.meta_path if isinstance(one, hook.JoinFinder)]
    assert len(ours) == 1


def test_a_program_without_ganeti_loads_nothing_more():
    code = (
        "import sys; before = set(sys.modules); import ganeti_ceph.joins.hook, json;"
        " import json.tool;"
        " print(sorted(n for n in set(sys.modules) - before if 'ganeti' in n))"
    )
    path = ":".join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": path},
    )
    assert done.stdout.strip() == str(
        ["ganeti_ceph", "ganeti_ceph.joins", "ganeti_ceph.joins.hook"]
    )

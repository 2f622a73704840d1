"""The collector's user, key and service on a node."""

import pytest
from fakes import ADMIN

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import collector, files, members
from ganeti_ceph.steps import MakeCollector, StopDaemons

STEP = MakeCollector(ADMIN)
ENTITY = "client.ganeti-collector"


@pytest.fixture
def run(run, systemd):
    """A runner that knows what makes systemd's users, and what runs."""
    run.knows("systemd-sysusers", "ganeti-ceph-collector.conf")

    def runner(argv, **options):
        if argv[:2] == ["systemctl", "is-active"]:
            return "active\n" if argv[2] in systemd.running else "inactive\n"
        return run(argv, **options)

    return runner


@pytest.fixture
def keyring(tree, monkeypatch):
    """The file with the collector's key."""
    path = tree.root / "etc/ceph/ceph.client.ganeti-collector.keyring"
    monkeypatch.setattr(files, "keyring", {collector.USER: path}.__getitem__)
    return path


def test_it_gets_a_key_of_its_own_and_runs_from_now_on(keyring, storage, run, systemd):
    collector.make(STEP, run)
    key, caps = storage.keys[ENTITY]
    assert caps == collector.CAPS
    assert keyring.read_text() == f"[{ENTITY}]\n\tkey = {key}\n"
    assert keyring.stat().st_mode & 0o777 == 0o600
    assert collector.UNIT in systemd.running & systemd.enabled
    assert collector.present(run)


@pytest.mark.parametrize(
    ("state", "present"),
    [
        ("active", True),
        # At boot, or between two tries.
        ("activating", True),
        ("reloading", True),
        ("deactivating", False),
        ("inactive", False),
        ("failed", False),
        ("", False),
    ],
)
def test_it_is_present_if_it_runs_or_is_about_to(keyring, state, present):
    def run(argv, **_):
        return f"{state}\n"

    assert not collector.present(run)
    keyring.parent.mkdir(parents=True, exist_ok=True)
    keyring.touch()
    assert collector.present(run) is present


def test_the_key_is_the_same_for_all_nodes(keyring, storage, run):
    collector.make(STEP, run)
    first = keyring.read_text()
    collector.make(STEP, run)
    assert keyring.read_text() == first


def test_what_an_older_version_granted_is_put_right(keyring, storage, run):
    storage.keys[ENTITY] = ("the-key==", ("mon", "allow *"))
    collector.make(STEP, run)
    assert storage.keys[ENTITY] == ("the-key==", collector.CAPS)


def test_one_that_systemd_gave_up_on_is_started(keyring, storage, run, systemd):
    systemd.given_up.add(collector.UNIT)
    collector.make(STEP, run)
    assert collector.UNIT in systemd.running


def test_one_that_does_not_start_is_told(keyring, storage, run, systemd):
    systemd.broken.add(collector.UNIT)
    with pytest.raises(ExecError, match="restart failed"):
        collector.make(STEP, run)


def test_it_is_not_there_without_its_key_or_when_it_stands_still(
    keyring, storage, run, systemd
):
    assert not collector.present(run)
    collector.make(STEP, run)
    systemd.running.clear()
    assert not collector.present(run)
    collector.make(STEP, run)
    keyring.unlink()
    assert not collector.present(run)


def test_it_stops_for_every_boot_and_its_key_goes(keyring, storage, run, systemd):
    collector.make(STEP, run)
    said = members.stop(StopDaemons((), (), (), True), run)
    assert said == "the collector stopped"
    assert not (systemd.running | systemd.enabled)
    assert not keyring.exists()


def test_it_stays_where_only_daemons_stop(keyring, storage, run, systemd):
    collector.make(STEP, run)
    members.stop(StopDaemons(("node1",), (), ()), run)
    assert collector.present(run)


def test_it_may_change_nothing():
    for caps in collector.CAPS[1::2]:
        for grant in caps.split(", "):
            words = grant.split()
            assert words[0] == "allow" and words != ["allow", "r"]
            assert {"r", "command"} & set(words)
            assert not {"w", "x", "rx", "rw", "rwx", "*", "profile"} & set(words)

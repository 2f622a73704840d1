"""A manager: its key is Ceph's and readable by nobody else, and it runs."""

import stat

import pytest
from fakes import ADMIN

from ganeti_ceph.errors import CephError
from ganeti_ceph.node import files, mgr
from ganeti_ceph.steps import MakeMgr

STEP = MakeMgr("node1", ADMIN)
UNIT = "ceph-mgr@node1.service"


def keyring():
    return files.daemon_dir("mgr", "node1") / "keyring"


def test_it_gets_a_key_and_runs(tree, run, storage, systemd):
    assert mgr.make(STEP, run) == "mgr.node1 runs"
    assert UNIT in systemd.running
    key, caps = storage.keys["mgr.node1"]
    assert f"[mgr.node1]\n\tkey = {key}\n" in keyring().read_text()
    assert caps == ("mon", "allow profile mgr", "osd", "allow *", "mds", "allow *")


def test_its_key_is_its_own_alone(tree, run, storage):
    mgr.make(STEP, run)
    assert stat.S_IMODE(keyring().stat().st_mode) == 0o600
    assert tree.owner(keyring()) == tree.CEPH
    assert tree.owner(keyring().parent) == tree.CEPH


def test_its_key_is_on_no_command_line_and_in_no_answer(tree, run, storage):
    answer = mgr.make(STEP, run)
    key, _ = storage.keys["mgr.node1"]
    assert key not in answer + repr(run.calls)


def test_a_finished_one_keeps_its_key(tree, run, storage, systemd):
    mgr.make(STEP, run)
    before = keyring().read_text(), dict(storage.keys)
    mgr.make(STEP, run)
    assert (keyring().read_text(), storage.keys) == before
    assert UNIT in systemd.running


def test_one_that_has_no_key_yet_is_finished(tree, run, storage, systemd):
    keyring().parent.mkdir(parents=True)
    mgr.make(STEP, run)
    assert keyring().exists()
    assert UNIT in systemd.running


def test_without_the_cluster_nothing_is_begun(tree, run, storage):
    storage.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        mgr.make(STEP, run)
    assert not keyring().parent.exists()
    assert run.calls == []

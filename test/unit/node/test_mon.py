"""A monitor: a store is a whole one or none, and one that is there is left alone."""

import itertools
import os
import shutil
import stat
from pathlib import Path

import pytest
from fakes import FSID

from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.node import files, mon
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import Keys, MakeMon

MEMBERS = (Mon("node1", "192.0.2.1"), Mon("node2", "2001:db8::2"))
KEYS = Keys(Secret("m0n-s3cret=="), Secret("adm1n-s3cret=="))
FIRST = MakeMon(FSID, "node1", "192.0.2.1", MEMBERS, KEYS)
LATER = MakeMon(FSID, "node1", "192.0.2.1", (), KEYS)
UNIT = "ceph-mon@node1.service"


class Made:
    """What ceph-mon was given when it made a store."""

    def __init__(self, tree):
        self.tree = tree
        self.times = 0

    def __call__(self, argv):
        given = dict(itertools.pairwise(argv))
        self.times += 1
        self.directory = Path(given["--mon-data"])
        self.empty = not list(self.directory.iterdir())
        self.monmap = Path(given["--monmap"]).read_bytes()
        self.monmap_mode = stat.S_IMODE(Path(given["--monmap"]).stat().st_mode)
        keyring = Path(given["--keyring"])
        self.keyring = keyring.read_text()
        self.keyring_mode = stat.S_IMODE(keyring.stat().st_mode)
        self.keyring_owner = self.tree.owner(keyring)
        (self.directory / "store.db").mkdir()


@pytest.fixture
def made(tree, run):
    made = Made(tree)
    run.knows("ceph-mon", "--mkfs", "--id", "node1", effect=made)
    run.knows(
        *("monmaptool", "--create", "--fsid", FSID),
        effect=lambda argv: Path(argv[-1]).write_text(repr(argv)),
    )
    return made


def store():
    return files.daemon_dir("mon", "node1")


def test_it_is_made_and_runs(made, run, systemd):
    assert mon.make(FIRST, run) == "mon.node1 runs at 192.0.2.1"
    assert (store() / "store.db").exists()
    assert UNIT in systemd.running


def test_the_first_mons_are_told_of_each_other(made, run):
    mon.make(FIRST, run)
    for member in MEMBERS:
        assert repr(member.id).encode() in made.monmap
        assert repr(member.vector).encode() in made.monmap


def test_the_first_mons_need_no_cluster(made, run, storage):
    storage.reachable = False
    mon.make(FIRST, run)
    assert made.times == 1


def test_a_later_one_asks_the_cluster_for_its_monmap(made, run, storage):
    mon.make(LATER, run)
    assert made.monmap == b"\x09monmap"
    assert "monmaptool" not in run.programs()


def test_a_later_one_is_not_made_without_the_cluster(made, run, storage):
    storage.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        mon.make(LATER, run)
    assert not store().exists()
    assert run.calls == []


def test_the_keys_are_there_for_ceph_mon_alone_and_gone_afterwards(made, tree, run):
    mon.make(FIRST, run)
    for key in (KEYS.mon, KEYS.admin):
        assert key.reveal() in made.keyring
    assert made.keyring_mode == 0o600
    assert made.keyring_owner == tree.CEPH
    assert list(files.SCRATCH.iterdir()) == []


def test_ceph_mon_may_read_its_monmap_under_any_umask(made, run, storage):
    old = os.umask(0o077)
    try:
        mon.make(LATER, run)
    finally:
        os.umask(old)
    assert made.monmap_mode == 0o644


def test_the_keys_are_on_no_command_line(made, run):
    mon.make(FIRST, run)
    assert "s3cret" not in repr(run.calls)


def test_the_store_is_cephs(made, tree, run):
    mon.make(FIRST, run)
    assert tree.owner(store()) == tree.CEPH


@pytest.mark.parametrize("step", [FIRST, LATER])
def test_a_store_that_is_there_is_left_alone(made, run, storage, systemd, step):
    (store() / "store.db").mkdir(parents=True)
    (store() / "store.db" / "data").write_text("precious")
    mon.make(step, run)
    assert (store() / "store.db" / "data").read_text() == "precious"
    assert made.times == 0
    assert UNIT in systemd.running


def test_what_a_power_cut_left_half_made_is_made_anew(made, run):
    def die(argv):
        made(argv)
        raise KeyboardInterrupt

    run.knows("ceph-mon", effect=die)
    with pytest.raises(KeyboardInterrupt):
        mon.make(FIRST, run)
    assert not store().exists()
    run.knows("ceph-mon", effect=made)
    mon.make(FIRST, run)
    assert made.empty
    assert (store() / "store.db").exists()


def test_nothing_half_made_stays_beside_the_store(made, run):
    mon.make(FIRST, run)
    assert list(store().parent.iterdir()) == [store()]


def test_the_empty_directory_of_a_package_is_no_store(made, run, systemd):
    store().mkdir(parents=True)
    mon.make(FIRST, run)
    assert (store() / "store.db").exists()
    assert UNIT in systemd.running


def test_a_directory_with_something_else_in_it_is_not_thrown_away(made, run, systemd):
    store().mkdir(parents=True)
    (store() / "precious").touch()
    with pytest.raises(OSError, match="not empty"):
        mon.make(FIRST, run)
    assert (store() / "precious").exists()
    assert UNIT not in systemd.running


def test_a_store_that_could_not_be_made_is_not_started(made, run, systemd):
    run.knows("ceph-mon", code=1)
    with pytest.raises(ExecError, match="ceph-mon"):
        mon.make(FIRST, run)
    assert not store().exists()
    assert UNIT not in systemd.running
    assert list(files.SCRATCH.iterdir()) == []


def test_a_store_that_was_removed_is_made_again(made, run):
    mon.make(FIRST, run)
    shutil.rmtree(store())
    mon.make(FIRST, run)
    assert made.times == 2

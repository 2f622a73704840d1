"""A monitor: a store is a whole one or none, and one that is there is left alone."""

import itertools
import os
import shutil
import stat
from pathlib import Path

import pytest
from fakes import FSID

from ganeti_ceph import ceph
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.node import files, mon, services
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import Keys, MakeMon, StartMon

MEMBERS = (Mon("node1", "192.0.2.1"), Mon("node2", "2001:db8::2"))
KEYS = Keys(Secret("m0n-s3cret=="), Secret("adm1n-s3cret=="))
FIRST = MakeMon(FSID, "node1", "192.0.2.1", MEMBERS, KEYS)
LATER = MakeMon(FSID, "node1", "192.0.2.1", (), KEYS)
PEERS = (Mon("node2", "192.0.2.2"), Mon("node3", "2001:db8::3"))
BACK = MakeMon(FSID, "node1", "192.0.2.1", (), KEYS, PEERS)
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


# A node that comes back


@pytest.fixture
def had(made, storage, run, systemd):
    """A node with a mon's store, whose mon runs though it was removed."""
    (store() / "store.db").mkdir(parents=True)
    (store() / "store.db" / "data").write_text("precious")
    services.start("mon", "node1", run)
    run.calls.clear()
    del storage.mons["node1"]
    return made


def precious():
    return (store() / "store.db" / "data").exists()


def test_a_mon_that_was_removed_meanwhile_is_made_anew(had, run, storage, systemd):
    mon.make(BACK, run)
    assert had.times == 1
    assert had.monmap == b"\x09monmap"
    assert not precious()
    assert UNIT in systemd.running & systemd.enabled


def test_a_mon_that_was_removed_is_stopped_before_its_store_goes(had, run, systemd):
    def stop(argv):
        assert precious()
        systemd(argv)

    def make(argv):
        assert UNIT not in systemd.running
        had(argv)

    run.knows("systemctl", "disable", effect=stop)
    run.knows("ceph-mon", effect=make)
    mon.make(BACK, run)
    assert had.times == 1


def test_a_mon_that_does_not_stop_keeps_its_store(had, run):
    run.knows("systemctl", "disable", code=1)
    with pytest.raises(ExecError, match="systemctl"):
        mon.make(BACK, run)
    assert precious()
    assert had.times == 0


def test_a_mon_that_is_a_member_keeps_its_store(had, run, storage, systemd):
    storage.mons["node1"] = "192.0.2.1"
    mon.make(BACK, run)
    assert precious()
    assert had.times == 0
    assert UNIT in systemd.running
    assert not any("disable" in argv for argv in run.calls)


def test_a_member_that_is_not_in_quorum_keeps_its_store(had, run, storage):
    storage.mons["node1"] = "192.0.2.1"
    storage.quorum = ["node2", "node3"]
    mon.make(BACK, run)
    assert precious()
    assert had.times == 0


def test_a_mon_that_nobody_can_tell_about_keeps_its_store(had, run, storage, systemd):
    storage.reachable = False
    with pytest.raises(CephError, match="cannot connect"):
        mon.make(BACK, run)
    assert precious()
    assert run.calls == []
    assert UNIT in systemd.running


@pytest.mark.parametrize("step", [FIRST, LATER])
def test_without_others_to_ask_a_store_is_never_thrown_away(had, run, storage, step):
    mon.make(step, run)
    assert precious()
    assert storage.commands == []


def test_the_others_are_asked_with_the_key_that_the_step_brings(had, run, storage):
    # Nothing on the node can be relied on: its mon asks itself, its key may be gone.
    mon.make(BACK, run)
    asked = [one["mon_host"] for one in storage.bounds]
    assert asked == [",".join(mon.vector for mon in PEERS)] * len(asked)
    assert storage.bounds[0]["key"] == KEYS.admin.reveal()


def test_a_new_mon_asks_the_others_for_their_monmap(made, run, storage):
    mon.make(BACK, run)
    (bounds,) = storage.bounds
    assert bounds["mon_host"] == ",".join(mon.vector for mon in PEERS)
    assert [prefix for prefix, _ in storage.commands] == ["mon getmap"]


def test_one_former_store_is_kept_for_those_who_look_into_it(had, run, storage):
    mon.make(BACK, run)
    (kept,) = set(store().parent.iterdir()) - {store()}
    assert (kept / "store.db" / "data").read_text() == "precious"
    (store() / "second").touch()
    mon.make(BACK, run)
    (kept,) = set(store().parent.iterdir()) - {store()}
    assert (kept / "second").exists()


def test_a_former_store_is_no_mon_of_the_node(had, run, storage):
    mon.make(BACK, run)
    names = [one.name for one in store().parent.glob("ceph-*")]
    assert names == ["ceph-node1"]


def test_a_power_cut_after_the_former_store_went_is_made_good(had, run, storage):
    run.knows("ceph-mon", code=1)
    with pytest.raises(ExecError, match="ceph-mon"):
        mon.make(BACK, run)
    run.knows("ceph-mon", effect=had)
    mon.make(BACK, run)
    assert (store() / "store.db").exists()


# A storage cluster that does not answer


def test_a_mon_with_a_store_is_started_and_the_quorum_told(run, tree, storage, systemd):
    (store() / "store.db").mkdir(parents=True)
    told = mon.start(StartMon("node1"), run)
    assert UNIT in systemd.running & systemd.enabled
    assert told == "mon.node1 was started, mons node1, node2, node3 are in quorum"
    assert storage.bounds[0]["client_mount_timeout"] == str(mon._QUORUM_PATIENCE)


def test_without_a_store_nothing_is_made_or_started(run, tree, storage, systemd):
    store().mkdir(parents=True)
    with pytest.raises(ExecError, match="no store"):
        mon.start(StartMon("node1"), run)
    assert run.calls == []
    assert list(store().iterdir()) == []


def test_that_no_quorum_came_is_no_failure_of_the_mon(run, tree, storage, systemd):
    (store() / "store.db").mkdir(parents=True)
    storage.reachable = False
    told = mon.start(StartMon("node1"), run)
    assert "mon.node1 was started, and there is no quorum: cannot connect" in told
    assert UNIT in systemd.running


def test_the_job_waits_for_a_quorum_longer_than_the_node_does():
    starting = 4 * services._PATIENCE
    # To connect, and to ask.
    assert StartMon.limit > starting + 2 * mon._QUORUM_PATIENCE


def test_the_job_waits_for_a_mon_longer_than_the_node_does():
    asking = 2 * ceph.TIMEOUT
    starting = 4 * services._PATIENCE
    making = 60
    assert MakeMon.limit > services._STOP_PATIENCE + 2 * asking + making + starting

"""A node for tests: its files below a temporary directory, its Ceph a fake one."""

import os
import types
from pathlib import Path

import fakes
import pytest

from ganeti_ceph import ceph
from ganeti_ceph.node import cluster, files, services

#: The user and group of Ceph's daemons.
CEPH = (64045, 64045)


class Tree:
    """Where the node's files are, and to whom they were given."""

    def __init__(self, root):
        self.root = root
        self.owners = {}

    def owner(self, path):
        return self.owners.get(os.fspath(path))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """The node's directories; giving files away needs no root there."""
    tree = Tree(tmp_path)
    monkeypatch.setattr(files, "CONF", tmp_path / "etc/ceph/ceph.conf")
    keyring = tmp_path / "etc/ceph/ceph.client.admin.keyring"
    monkeypatch.setattr(files, "ADMIN_KEYRING", keyring)
    monkeypatch.setattr(files, "DATA", tmp_path / "var/lib/ceph")
    monkeypatch.setattr(files, "SCRATCH", tmp_path / "run")
    monkeypatch.setattr(services, "_OSD_DROPIN", tmp_path / "etc/dropin.conf")

    def chown(path, uid, gid, follow_symlinks=True):
        tree.owners[os.fspath(path)] = (uid, gid)

    def fchown(handle, uid, gid):
        tree.owners[os.fspath(Path(f"/proc/self/fd/{handle}").readlink())] = (uid, gid)

    def rename(source, target):
        if os.fspath(source) in tree.owners:
            tree.owners[os.fspath(target)] = tree.owners.pop(os.fspath(source))
        real_rename(source, target)

    real_rename = os.rename
    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(os, "fchown", fchown)
    monkeypatch.setattr(os, "rename", rename)
    user = types.SimpleNamespace(pw_uid=CEPH[0], pw_gid=CEPH[1])
    monkeypatch.setattr(files.pwd, "getpwnam", {"ceph": user}.__getitem__)
    return tree


@pytest.fixture
def run():
    """A runner that knows systemd, which all daemons need."""
    runner = fakes.FakeRunner()
    runner.knows("systemctl", "reset-failed", code=1)
    runner.knows("systemctl", "enable", "--now")
    runner.knows("systemctl", "daemon-reload")
    return runner


@pytest.fixture
def storage(monkeypatch):
    """The storage cluster that the node reaches."""
    storage = fakes.FakeCeph()
    monkeypatch.setattr(ceph.rados, "Rados", storage.rados)
    return storage


@pytest.fixture
def clock(monkeypatch):
    """The time, which only waiting passes."""
    clock = fakes.FakeClock()
    monkeypatch.setattr(cluster, "time", clock)
    return clock

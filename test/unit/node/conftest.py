"""A node for tests: its files below a temporary directory, its Ceph a fake one."""

import json
import os
import socket
import threading
import types
from pathlib import Path

import fakes
import pytest

from ganeti_ceph import ceph
from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import (
    cluster,
    files,
    images,
    members,
    mend,
    osd_socket,
    services,
)


class Tree:
    """Where the node's files are, and to whom they were given."""

    #: The user and group of Ceph's daemons.
    CEPH = (64045, 64045)

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
    monkeypatch.setattr(services, "_WANTED", tmp_path / "etc/wants")

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
    user = types.SimpleNamespace(pw_uid=tree.CEPH[0], pw_gid=tree.CEPH[1])
    monkeypatch.setattr(files.pwd, "getpwnam", {"ceph": user}.__getitem__)
    return tree


class Systemd:
    """systemd: which units run now and start at boot."""

    def __init__(self):
        self.running = set()
        self.enabled = set()
        #: It gave up on these until they are reset, and these never start.
        self.given_up = set()
        self.broken = set()
        #: How often it read its units again, and what it has not read yet.
        self.reloads = 0
        self.unread = set()

    def __call__(self, argv):
        verb, *units = [word for word in argv[1:] if not word.startswith("-")]
        if verb == "reset-failed":
            self.given_up -= set(units)
        elif verb == "daemon-reload":
            self.reloads += 1
            self.unread.clear()
        elif verb in ("enable", "start", "restart"):
            if verb == "enable":
                self.enabled |= set(units)
                self.unread |= set(units) if "--no-reload" in argv else set()
            if verb != "enable" or "--now" in argv:
                failed = set(units) & (self.given_up | self.broken)
                if failed:
                    raise ExecError(f"{verb} failed: {', '.join(sorted(failed))}")
                self.running |= set(units)
        elif verb == "disable":
            self.enabled -= set(units)
            if "--now" in argv:
                self.running -= set(units)
        else:
            raise fakes.UnknownCallError(f"no test said what systemctl {verb} does")


@pytest.fixture
def systemd():
    return Systemd()


@pytest.fixture
def run(systemd):
    """A runner that knows systemd, which all daemons need."""
    runner = fakes.FakeRunner()
    runner.knows("systemctl", effect=systemd)
    runner.knows("systemctl", "list-units")
    return runner


class OsdSockets:
    """OSDs behind their admin sockets; ``answer`` is given a name and a request."""

    def __init__(self, folder, names, answer):
        self.silent = None
        self.nonsense = b""
        self._answer = answer
        for name in names:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(folder / f"ceph-{name.replace('_', '.')}.asok"))
            listener.listen()
            threading.Thread(
                target=self._serve, args=(name, listener), daemon=True
            ).start()

    def _serve(self, name, listener):
        while True:
            connection, _ = listener.accept()
            request = b""
            while not request.endswith(b"\0") and (part := connection.recv(4096)):
                request += part
            if not request:
                # Somebody looked whether an OSD is there.
                connection.close()
            elif name != self.silent:
                asked = json.loads(request[:-1])
                assert asked["format"] == "json"
                answer = self.nonsense or json.dumps(self._answer(name, asked)).encode()
                connection.sendall(len(answer).to_bytes(4, "big") + answer)
                connection.close()


@pytest.fixture
def osd_sockets(tmp_path, monkeypatch):
    """Make OSDs that answer on the node, by their names (``osd_0``)."""
    monkeypatch.setattr(osd_socket, "_SOCKETS", tmp_path)
    monkeypatch.setattr(osd_socket, "_PATIENCE", 0.3)
    return lambda names, answer: OsdSockets(tmp_path, names, answer)


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
    for module in (cluster, images, members, mend):
        monkeypatch.setattr(module, "time", clock)
    return clock

"""QEMU's monitor: commands on both releases, and secrets that nobody logs."""

import os
import socket

import pytest
from ganeti import errors
from monitors import New, Old, Qemu

from ganeti_ceph.disk import monitor
from ganeti_ceph.disk.monitor import Monitor
from ganeti_ceph.secret import Secret

KEY = "QVFCc2VjcmV0"


@pytest.fixture
def qemu():
    return Qemu()


@pytest.fixture(params=[Old, New])
def connection(request, qemu):
    return request.param(qemu)


def test_a_command_is_answered_and_the_connection_closed(connection, qemu):
    qemu.blocks = ["a disk"]
    assert Monitor(connection).run("query-block") == ["a disk"]
    assert qemu.asked == [("query-block", None)]
    assert not qemu.is_open


def test_a_command_has_arguments(connection, qemu):
    Monitor(connection).run("device_del", id="disk-0")
    assert qemu.asked == [("device_del", {"id": "disk-0"})]


def test_the_connection_is_closed_after_a_failure(connection, qemu):
    with pytest.raises(errors.HypervisorError, match="QEMU refuses"):
        Monitor(connection).run("no")
    assert not qemu.is_open


@pytest.mark.parametrize(("kind", "name"), [(Old, "_SOCKET_TIMEOUT"), (New, "timeout")])
def test_ganeti_waits_as_long_as_it_is_told(qemu, kind, name):
    one, other = kind(qemu), kind(qemu)
    Monitor(one, 25)
    Monitor(other)
    assert vars(one)[name] == 25
    assert name not in vars(other)


def test_a_secret_is_known_for_a_while_and_never_logged(connection, qemu):
    with Monitor(connection).secret(Secret(KEY)) as name:
        assert not qemu.is_open, "Ganeti's own commands find no place"
        (known,) = qemu.secrets.values()
        assert known == {
            "qom-type": "secret",
            "id": name,
            "data": KEY,
            "format": "base64",
        }
    assert qemu.secrets == {}
    assert qemu.commands() == ["object-add", "object-del"]
    assert not any(KEY in line for line in qemu.logged)


def test_a_secret_is_forgotten_after_a_failure(connection, qemu):
    with pytest.raises(RuntimeError), Monitor(connection).secret(Secret(KEY)):
        raise RuntimeError
    assert qemu.secrets == {}


def test_secrets_have_names_of_their_own(connection, qemu):
    qemus = Monitor(connection)
    with qemus.secret(Secret(KEY)) as one, qemus.secret(Secret(KEY)) as other:
        assert one != other
        assert one[0].isalpha(), "QEMU takes no name that begins otherwise"


class TestWhatQemuCanRead:
    """This process takes QEMU's place."""

    @pytest.fixture
    def qemus(self, tmp_path, qemu):
        path = str(tmp_path / "qmp")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()

            class Connected(New):
                def connect(self):
                    self.sock = socket.socket(socket.AF_UNIX)
                    self.sock.connect(path)

            yield Monitor(Connected(qemu))

    @pytest.fixture
    def conf(self, tmp_path):
        conf = tmp_path / "ceph.conf"
        conf.touch()
        return conf

    @pytest.fixture
    def process(self, tmp_path, monkeypatch):
        """What /proc tells of the process."""

        proc = tmp_path / "proc"
        proc.mkdir()
        path = monitor.Path
        monkeypatch.setattr(
            monitor,
            "Path",
            lambda name: proc if name == f"/proc/{os.getpid()}" else path(name),
        )
        (proc / "root").symlink_to("/")
        return proc

    def test_root_can_read_all(self, qemus, process, conf):
        conf.chmod(0o600)
        assert qemus.can_read(str(conf))

    @pytest.mark.parametrize(("mode", "can"), [(0o644, True), (0o640, False)])
    def test_another_user_can_read_what_all_can(self, qemus, process, conf, mode, can):
        os.chown(process, 880, 880)
        conf.chmod(mode)
        assert qemus.can_read(str(conf)) is can

    def test_nobody_can_read_what_is_not_there(self, qemus, process, conf):
        os.chown(process, 880, 880)
        assert not qemus.can_read(f"{conf}.not")

    def test_who_is_in_a_chroot_can_read_nothing(self, qemus, process, conf):
        (process / "root").unlink()
        (process / "root").symlink_to("/run/ganeti/chroot/web")
        assert not qemus.can_read(str(conf))


def test_the_hypervisors_own_connection_is_used(connection, qemu):
    class Hypervisor:
        qmp = connection

    monitor.of(Hypervisor(), "web").run("cont")
    assert qemu.commands() == ["cont"]


def test_a_hypervisor_without_a_connection_gets_one(monkeypatch, qemu):
    from ganeti.hypervisor import hv_kvm

    paths = []

    class Hypervisor:
        def _InstanceQmpMonitor(self, name):
            return f"/run/{name}.qmp"

    def connect(path):
        paths.append(path)
        return Old(qemu)

    monkeypatch.setattr(hv_kvm, "QmpConnection", connect)
    monitor.of(Hypervisor(), "web").run("cont")
    assert paths == ["/run/web.qmp"]

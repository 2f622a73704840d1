"""How the KVM hypervisor names a disk to QEMU: ours for ours, Ganeti's for others."""

import json
import types

import fakes
import pytest
from ganeti import constants, errors
from monitors import New, Old, Qemu

from ganeti_ceph.disk import guest, iothread
from ganeti_ceph.disk.login import Login
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import CephError
from ganeti_ceph.secret import Secret

KEY = "QVFCc2VjcmV0"


def stock(uri):
    """Take Ganeti's place, which knows pools of few letters only."""
    if uri.startswith("gluster:"):
        return {"driver": "gluster"}
    raise LookupError(uri)


def parse(uri):
    return guest.parse_uri(stock, None, (uri,), {})


@pytest.mark.parametrize("pool", ["rbd", "my-pool", "a.b_c", "2"])
def test_images_in_pools_of_any_name_are_opened(pool):
    assert parse(f"rbd:{pool}/web.rbd.disk0") == {
        "driver": "rbd",
        "pool": pool,
        "image": "web.rbd.disk0",
    }


def test_other_storage_is_ganetis():
    assert parse("gluster://host:1/volume/path") == {"driver": "gluster"}


@pytest.mark.parametrize("uri", ["rbd:pool/image:key=x", "rbd:pool", "sheepdog:x"])
def test_what_nobody_can_open_is_ganetis_to_refuse(uri):
    with pytest.raises(LookupError):
        parse(uri)


# Disks that it starts with


def drives(disks, *words):
    """Return what QEMU is told of drives, where Ganeti 3.0 says ``words`` of them."""
    options = ["-boot", "c"]
    for word in words:
        options += ["-device", "virtio-blk-pci", "-drive", word]
    kvm_disks = [(disk, "link", "uri") for disk in disks]
    arguments = ({}, kvm_disks, "help", "devices")
    told = guest.start(lambda *_: options, None, arguments, {})
    return [one for one in told if one.startswith("file=")]


def named(disk, name):
    disk.hvinfo = {"id": name}
    return disk


@pytest.fixture
def two(disk_of):
    return [named(disk_of(), "disk-0"), named(disk_of(discard="ignore"), "disk-1")]


def test_drives_without_a_name_get_one(two):
    assert drives(two, "file=rbd:a/b,if=ide", "file=rbd:a/c,if=ide,x=y") == [
        "file=rbd:a/b,if=ide,id=disk-0,discard=unmap",
        "file=rbd:a/c,if=ide,x=y,id=disk-1,discard=ignore",
    ]


def test_drives_with_a_name_keep_it(two):
    assert drives(two, "file=rbd:a/b,id=x", "file=rbd:a/c,id=y,auto-read-only=off") == [
        "file=rbd:a/b,id=x,discard=unmap",
        "file=rbd:a/c,id=y,auto-read-only=off,discard=ignore",
    ]


def test_the_drives_of_other_disks_are_ganetis(disk_of):
    disk = named(disk_of(None, constants.DT_PLAIN), "disk-0")
    assert drives([disk], "file=/dev/x,if=ide") == ["file=/dev/x,if=ide"]


@pytest.mark.parametrize(
    ("own", "told"), [({}, "unmap"), ({"discard": "ignore"}, "ignore")]
)
@pytest.mark.parametrize("of_kvm", ["unmap", "ignore"])
def test_a_disk_discards_as_it_is_told_itself(disk_of, own, told, of_kvm):
    stock = {"driver": "raw", "discard": of_kvm}
    arguments = ("rbd:vms/x", disk_of(**own), {}, "disk-0")
    options = guest.block_device(lambda *_: stock, None, arguments, {})
    assert options == {"driver": "raw", "discard": told}


def test_other_disks_discard_as_kvm_is_told(disk_of):
    stock = {"driver": "raw", "discard": "ignore"}
    arguments = ("/dev/x", disk_of(None, constants.DT_PLAIN), {}, "disk-0")
    assert guest.block_device(lambda *_: stock, None, arguments, {}) is stock


# Threads of their own


def virtio(disk, name="disk-0", driver="virtio-blk-pci"):
    disk.hvinfo = {"driver": driver, "id": name, "bus": "pci.0", "addr": "0xc"}
    return disk


def started(disks, *devices):
    """Return QEMU's options for disks, where Ganeti says this of its devices."""
    options = ["-boot", "order=c"]
    for one in devices:
        options += ["-device", one, "-blockdev", "driver=raw"]
    arguments = ({}, [(disk, "link", "uri") for disk in disks], "help", "devices")
    return guest.start(lambda *_: options, None, arguments, {})


DEVICE = "virtio-blk-pci,id=disk-{0},bus=pci.0,addr=0xc,drive=disk-{0}"


def test_a_disk_has_a_thread_if_it_is_to_have_one(disk_of):
    disks = [
        virtio(disk_of(**{"io-thread": value}), f"disk-{number}")
        for number, value in enumerate(("no", "yes"))
    ]
    assert started(disks, DEVICE.format(0), DEVICE.format(1)) == [
        *("-object", "iothread,id=io-disk-1"),
        *("-boot", "order=c"),
        *("-device", DEVICE.format(0), "-blockdev", "driver=raw"),
        *("-device", DEVICE.format(1) + ",iothread=io-disk-1"),
        *("-blockdev", "driver=raw"),
    ]


def test_one_that_was_plugged_in_is_told_its_thread_once(disk_of):
    """Ganeti has it in the device's options then."""
    plugged = DEVICE.format(0) + ",iothread=io-disk-0"
    told = started([virtio(disk_of(**{"io-thread": "yes"}))], plugged)
    assert told[:2] == ["-object", "iothread,id=io-disk-0"]
    assert told[5] == plugged


def test_ganeti_hands_the_thread_over_when_it_plugs_in(monkeypatch):
    from ganeti.hypervisor.hv_kvm.monitor import QmpConnection

    known = list(QmpConnection._DEVICE_ATTRIBUTES)
    monkeypatch.setattr(QmpConnection, "_DEVICE_ATTRIBUTES", known)
    iothread.extend_attributes(known)
    told = QmpConnection("/nowhere")._filter_hvinfo({"id": "a", "iothread": "io-a"})
    assert told == {"id": "a", "iothread": "io-a"}


@pytest.mark.parametrize("driver", ["scsi-hd", "ide-hd"])
def test_disks_that_can_have_no_thread_get_none(disk_of, driver):
    disk = virtio(disk_of(**{"io-thread": "yes"}), driver=driver)
    assert "-object" not in started([disk], f"{driver},drive=disk-0")


def test_disks_of_others_get_none(disk_of):
    disk = virtio(disk_of(None, constants.DT_PLAIN))
    disk.params["io-thread"] = "yes"
    assert "-object" not in started([disk], DEVICE.format(0))


# Disks that are plugged in


class Plugging:
    """Ganeti's ``HotAddDisk`` of both releases, and what it is called with."""

    def __init__(self, qemu):
        self.qemu = qemu
        self.called = []

    def __call__(self, *arguments):
        assert not self.qemu.is_open, "Ganeti finds no place"
        self.secrets = dict(self.qemu.secrets)
        self.called.append(arguments)
        self.qemu.blocks = [{"device": "disk-0", "inserted": {}, "qdev": "/disk-0"}]


@pytest.fixture
def qemu():
    return Qemu()


@pytest.fixture
def stock_plug(qemu):
    return Plugging(qemu)


@pytest.fixture
def known(monkeypatch):
    """What the node daemon knows of the storage cluster."""
    asked = []

    def read(user, conf):
        asked.append((user, conf))
        return Login((("10.0.0.1", 3300), ("fd00::1", 6789)), ("cephx",), Secret(KEY))

    monkeypatch.setattr(guest.login, "read", read)
    monkeypatch.setattr(guest.Monitor, "can_read", lambda self, path: True)
    return asked


@pytest.fixture(autouse=True)
def mapped(monkeypatch):
    """What is mapped on the node."""
    mapped = fakes.FakeMappers()
    mapped.replace(guest.mappers, monkeypatch.setattr)
    return mapped


def opened(secret, **options):
    """Return the options with which QEMU opens the image."""
    return {
        "driver": "rbd",
        "pool": "vms",
        "image": "web.rbd.disk0",
        "user": "admin",
        "server": [
            {"host": "10.0.0.1", "port": "3300"},
            {"host": "fd00::1", "port": "6789"},
        ],
        "auth-client-required": ["cephx"],
        "key-secret": secret,
        **options,
    }


NODE = {"node-name": "disk-0", "driver": "raw", "file": {"driver": "rbd"}}


class TestPluggedIntoGaneti31:
    @pytest.fixture
    def plug(self, qemu, stock_plug, known):
        def plug(disk, node=NODE):
            arguments = (disk, disk.params.get("access"), True, False, node)
            return guest.plug_node(stock_plug, New(qemu), arguments, {})

        return plug

    @pytest.mark.parametrize("access", ["userspace", "kernelspace"])
    def test_a_device_that_qemu_does_not_open_is_gone_before(
        self, plug, mapped, disk_of, access
    ):
        devices = {Volume("vms", "web.rbd.disk0"): "/dev/null"}
        mapped.devices = dict(devices)
        plug(disk_of(access))
        assert mapped.devices == ({} if access == "userspace" else devices)

    def test_a_device_that_is_in_use_keeps_the_disk_out(
        self, plug, stock_plug, mapped, disk
    ):
        mapped.failing = "/dev/rbd0 is mounted"
        with pytest.raises(errors.HypervisorError, match="/dev/rbd0 is mounted"):
            plug(disk)
        assert stock_plug.called == []

    def test_qemu_is_told_all_that_it_needs(self, plug, stock_plug, qemu, disk):
        plug(disk)
        (secret,) = stock_plug.secrets
        (called,) = stock_plug.called
        assert called == (
            disk,
            "userspace",
            True,
            False,
            {**NODE, "file": opened(secret)},
        )
        assert stock_plug.secrets[secret]["data"] == KEY
        assert qemu.secrets == {}, "it is not needed any more"
        assert not any(KEY in line for line in qemu.logged)

    def test_a_disk_in_kernelspace_access_is_ganetis(self, plug, stock_plug, disk_of):
        disk = disk_of("kernelspace")
        plug(disk)
        assert stock_plug.called == [(disk, "kernelspace", True, False, NODE)]
        assert stock_plug.secrets == {}

    @pytest.mark.parametrize("access", ["userspace", "kernelspace"])
    def test_limits_are_set_at_once(self, plug, qemu, disk_of, access):
        plug(disk_of(access, iops="500"))
        command, arguments = qemu.asked[-1]
        assert command == "block_set_io_throttle"
        assert (arguments["id"], arguments["iops"]) == ("/disk-0", 500)

    def test_it_gets_its_thread_before(self, plug, stock_plug, qemu, disk_of):
        disk = virtio(disk_of(**{"io-thread": "yes"}))
        plug(disk)
        thread = ("object-add", {"qom-type": "iothread", "id": "io-disk-0"})
        assert qemu.asked.count(thread) == 1
        ((plugged, *_),) = stock_plug.called
        assert plugged.hvinfo["iothread"] == "io-disk-0"
        # Its thread is still there when it is unplugged and comes back.
        plug(disk)
        assert qemu.asked.count(thread) == 1

    def test_a_disk_without_limits_is_left_alone(self, plug, qemu, disk):
        plug(disk)
        assert qemu.commands() == ["object-add", "object-del"]

    def test_other_disks_are_ganetis(self, plug, stock_plug, qemu, disk_of):
        disk = disk_of(None, constants.DT_PLAIN)
        plug(disk)
        assert stock_plug.called == [(disk, None, True, False, NODE)]
        assert qemu.asked == []

    def test_the_secret_is_forgotten_when_qemu_refuses(self, qemu, known, disk):
        def refuse(*_):
            raise errors.HypervisorError("no")

        with pytest.raises(errors.HypervisorError, match=r"^no$"):
            guest.plug_node(refuse, New(qemu), (disk, "userspace", 1, 0, NODE), {})
        assert qemu.secrets == {}

    def test_a_driver_that_cannot_be_loaded_is_explained(self, qemu, known, disk):
        def refuse(*_):
            raise errors.HypervisorError("kvm: error: Unknown driver 'rbd' (x)")

        with pytest.raises(errors.HypervisorError, match="stop and start the instance"):
            guest.plug_node(refuse, New(qemu), (disk, "userspace", 1, 0, NODE), {})
        assert qemu.secrets == {}

    def test_the_user_and_the_configuration_are_the_disks(self, plug, disk_of, known):
        plug(disk_of(**{"user-id": "vm", "ceph-conf": "/etc/ceph/far.conf"}))
        assert known == [("vm", "/etc/ceph/far.conf")]

    def test_a_cluster_that_does_not_answer_is_told(
        self, plug, stock_plug, disk, monkeypatch
    ):
        def fail(user, conf):
            raise CephError("the mons are gone", 110)

        monkeypatch.setattr(guest.login, "read", fail)
        with pytest.raises(errors.HypervisorError, match="the mons are gone"):
            plug(disk)
        assert stock_plug.called == []


class TestPluggedIntoGaneti30:
    @pytest.fixture
    def plug(self, qemu, stock_plug, known):
        added = []

        def plug(disk, path="rbd:vms/web.rbd.disk0"):
            arguments = (disk, "disk-0", path, added.append)
            guest.plug_drive(stock_plug, Old(qemu), arguments, {})
            return added

        return plug

    def test_qemu_is_told_all_that_it_needs(self, plug, stock_plug, qemu, disk):
        plug(disk)
        (secret,) = stock_plug.secrets
        ((_, name, text, _),) = stock_plug.called
        assert name == "disk-0"
        assert not set(text) & set(" '\\"), "the monitor splits there"
        assert text.startswith("json:{")
        told = json.loads(text.removeprefix("json:").replace(",,", ","))
        assert "," not in text.replace(",,", "")
        assert told == {"driver": "raw", "discard": "unmap", "file": opened(secret)}
        assert qemu.secrets == {}
        assert not any(KEY in line for line in qemu.logged)

    def test_an_open_block_device_is_named_as_one(self, plug, stock_plug, disk_of):
        added = plug(disk_of("kernelspace"), "/dev/rbd0")
        ((_, _, path, add_drive),) = stock_plug.called
        assert path == "/dev/rbd0"
        add_drive("/dev/fdset/3")
        (text,) = added
        assert json.loads(text.removeprefix("json:").replace(",,", ",")) == {
            "driver": "raw",
            "discard": "unmap",
            "file": {"driver": "host_device", "filename": "/dev/fdset/3"},
        }

    def test_limits_are_set_at_once(self, plug, qemu, disk_of):
        plug(disk_of(bandwidth="1M"))
        command, arguments = qemu.asked[-1]
        assert command == "block_set_io_throttle"
        assert (arguments["id"], arguments["bps"]) == ("/disk-0", 2**20)

    def test_other_disks_are_ganetis(self, plug, stock_plug, qemu, disk_of):
        added = plug(disk_of(None, constants.DT_PLAIN), "/dev/x")
        ((_, _, path, add_drive),) = stock_plug.called
        add_drive(path)
        assert added == ["/dev/x"]
        assert qemu.asked == []


VOLUME = Volume("vms", "web", "ns", "vm", "/etc/ceph/far.conf")


def test_a_configuration_that_qemu_can_read_is_read():
    options = guest.driver(VOLUME, Login((), ("cephx",), None), "key-1", True)
    assert options["conf"] == "/etc/ceph/far.conf"
    assert (options["user"], options["namespace"]) == ("vm", "ns")


def test_a_configuration_that_qemu_cannot_read_is_left_out():
    options = guest.driver(VOLUME, Login((), ("cephx",), None), "key-1", False)
    assert "conf" not in options


def test_no_key_is_named_where_there_is_none():
    options = guest.driver(VOLUME, Login((), ("none",), None), None, True)
    assert "key-secret" not in options
    assert options["auth-client-required"] == ["none"]


def test_methods_that_qemu_does_not_know_are_left_to_ceph():
    options = guest.driver(VOLUME, Login((), (), None), None, True)
    assert "auth-client-required" not in options


DRIVE_ADD = (
    'drive_add dummy file=json:{"driver":"raw",,"file":{"driver":"rbd"}},if=none'
)


def answer(words, command=DRIVE_ADD):
    """Take QEMU's monitor for humans, as socat prints it."""
    echo = "(qemu) d\x1b[K\x1b[Ddr\x1b[K\x1b[D\x1b[D" + command + "\x1b[K"
    shown = f"QEMU 7.2.17 monitor - type 'help'\r\n{echo}\r\n{words}(qemu) "
    result = types.SimpleNamespace(stdout=shown)
    arguments = ("web", command)
    assert guest.check_answer(lambda *_: result, None, arguments, {}) is result


def test_what_qemu_says_of_a_disk_that_it_cannot_open_is_told():
    with pytest.raises(
        errors.HypervisorError, match=r"cannot open the disk: error connecting: No such"
    ):
        answer("error connecting: No such file or directory\r\n")


def test_who_opens_a_disk_for_long_says_nothing_yet():
    result = types.SimpleNamespace(
        stdout=f"QEMU 7.2.17\r\n(qemu) {DRIVE_ADD}\x1b[K\r\n"
    )
    assert guest.check_answer(lambda *_: result, None, ("web", DRIVE_ADD), {}) is result


def test_a_disk_that_qemu_opened_is_no_failure():
    answer("OK\r\n")


@pytest.mark.parametrize("command", ["drive_del disk-0", "drive_add dummy file=/dev/x"])
def test_other_commands_are_ganetis(command):
    answer("whatever it says\r\n", command)

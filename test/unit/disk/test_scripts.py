"""OS scripts have block devices while they run, and nothing stays mapped after them."""

import inspect
import types

import pytest
from fakes import FakeImage
from ganeti import backend, constants, pathutils

from ganeti_ceph.disk import mappers, scripts
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError

NAMES = ["web0", "web1", "web2"]
VOLUMES = [Volume("vms", name) for name in NAMES]
ONE, TWO, THREE = VOLUMES


@pytest.fixture
def disks(ganeti, images, disk_of):
    """Three disks in userspace access, the last one in another pool of another user."""

    def disk(name, *access, **params):
        images[name] = FakeImage(8)
        made = disk_of(*access, **params)
        made.logical_id = ("rbd", name)
        return made

    return [disk(name) for name in NAMES]


class Script:
    """A script; keeps which devices were there while it ran."""

    def __init__(self, mapped):
        self.mapped = mapped
        self.seen = []
        self.given = []
        #: What it fails with.
        self.failing = None

    def __call__(self, *args, **kwargs):
        self.given.append((args, kwargs))
        self.seen.append(dict(self.mapped.devices))
        if self.failing:
            raise self.failing
        return "as Ganeti says"


@pytest.fixture
def script(ganeti):
    return Script(ganeti.mappers)


def run(script, disks):
    guest = types.SimpleNamespace(disks_info=disks)
    return scripts.run_script(script, None, (guest, False, 0), {})


@pytest.fixture
def unmapping(monkeypatch):
    """Let unmapping of some volumes fail; tell which it was tried with."""
    real, tried, held = mappers.unmap, [], set()

    def unmap(volume):
        tried.append(volume)
        if volume in held:
            raise ExecError(f"cannot unmap the image {volume}: /dev/x is in use")
        real(volume)

    monkeypatch.setattr(mappers, "unmap", unmap)
    return types.SimpleNamespace(tried=tried, held=held)


# Scripts that end before the call does


def test_all_disks_have_devices_while_the_script_runs_and_none_after_it(
    script, disks, ganeti
):
    assert run(script, disks) == "as Ganeti says"
    (seen,) = script.seen
    assert list(seen) == VOLUMES
    assert ganeti.mappers.devices == {}


def test_the_script_is_given_what_ganeti_gives_it(script, disks):
    guest = types.SimpleNamespace(disks_info=disks)
    scripts.run_script(script, None, (guest, True), {"debug": 3})
    assert script.given == [((guest, True), {"debug": 3})]


def test_a_device_is_made_as_the_disk_says(script, disks, images, disk_of, ganeti):
    ganeti.storage.images["vms/blue"] = images
    images["web0"].features = 1
    far = disk_of(mapper="fuse", namespace="blue", **{"user-id": "joe"})
    far.logical_id = ("rbd", "web0")
    run(script, [far])
    volume = Volume("vms", "web0", "blue", "joe")
    assert ganeti.mappers.asked == [(volume, Mapper.FUSE, ("layering",))]
    assert ganeti.mappers.devices == {}


def test_all_images_are_asked_over_one_connection(script, disks, ganeti):
    run(script, disks)
    assert ganeti.storage.connections == 1


@pytest.mark.parametrize(
    ("access", "dev_type"),
    [
        ("kernelspace", constants.DT_RBD),
        (None, constants.DT_RBD),
        (None, constants.DT_PLAIN),
        ("userspace", constants.DT_GLUSTER),
    ],
)
def test_other_disks_are_ganeti_s_affair(script, disk_of, ganeti, access, dev_type):
    run(script, [disk_of(access, dev_type)])
    assert (ganeti.mappers.asked, script.seen) == ([], [{}])


def test_an_instance_without_disks_runs_its_script(script):
    assert run(script, []) == "as Ganeti says"


@pytest.mark.parametrize("fails", [True, False])
def test_what_was_mapped_before_stays_mapped(script, disks, ganeti, fails):
    ganeti.mappers.devices[TWO] = "/dev/ram0"
    script.failing = backend.RPCFail("OS create script failed") if fails else None
    if fails:
        with pytest.raises(backend.RPCFail):
            run(script, disks)
    else:
        run(script, disks)
    assert ganeti.mappers.devices == {TWO: "/dev/ram0"}
    assert [volume for volume, _, _ in ganeti.mappers.asked] == [ONE, THREE]
    assert set(script.seen[0]) == {ONE, TWO, THREE}


@pytest.mark.parametrize(
    "error", [backend.RPCFail("OS create script failed"), SystemExit(1), OSError("no")]
)
def test_a_script_that_fails_leaves_nothing_mapped(script, disks, ganeti, error):
    script.failing = error
    with pytest.raises(type(error)) as caught:
        run(script, disks)
    assert caught.value is error
    assert ganeti.mappers.devices == {}


def test_a_script_is_not_run_without_all_devices_and_none_stays(
    script, disks, images, ganeti
):
    del images["web1"]
    with pytest.raises(backend.RPCFail) as caught:
        run(script, disks)
    said = str(caught.value)
    assert said.startswith("cannot make a block device for the OS scripts: cannot open")
    assert "vms/web1" in said
    assert script.seen == []
    assert ganeti.mappers.devices == {}
    assert [volume for volume, _, _ in ganeti.mappers.asked] == [ONE]


def test_a_mapper_that_fails_says_why(script, disks, ganeti):
    ganeti.mappers.failing = "no mapper works on this node"
    with pytest.raises(backend.RPCFail, match="scripts: no mapper works on this node"):
        run(script, disks)
    assert script.seen == []


def test_a_cluster_that_does_not_answer_is_said(script, disks, ganeti):
    ganeti.storage.reachable = False
    with pytest.raises(backend.RPCFail, match="OS scripts: cannot connect"):
        run(script, disks)
    assert ganeti.mappers.devices == {}


def test_a_disk_with_a_wrong_parameter_leaves_no_other_mapped(
    script, disks, ganeti, disk_of
):
    with pytest.raises(backend.RPCFail, match="disk parameter user-id"):
        run(script, [disks[0], disk_of(**{"user-id": "a b"})])
    assert script.seen == []
    assert ganeti.mappers.devices == {}


def test_a_disk_that_stays_in_use_after_the_script_is_told_and_others_are_unmapped(
    script, disks, ganeti, unmapping
):
    unmapping.held.update({ONE})
    with pytest.raises(backend.RPCFail) as caught:
        run(script, disks)
    assert str(caught.value) == (
        "the OS script has ended, but its disk stays in use on the node: cannot unmap"
        " the image vms/web0: /dev/x is in use"
    )
    assert list(ganeti.mappers.devices) == [ONE]


def test_every_disk_that_stays_in_use_is_told(script, disks, unmapping):
    unmapping.held.update({ONE, THREE})
    with pytest.raises(backend.RPCFail, match=r"vms/web0: .*; .*vms/web2: "):
        run(script, disks)


def test_a_script_that_fails_is_what_is_told_although_a_disk_stays_in_use(
    script, disks, ganeti, unmapping, caplog
):
    unmapping.held.update({ONE})
    script.failing = backend.RPCFail("OS create script failed")
    with pytest.raises(backend.RPCFail, match=r"^OS create script failed$"):
        run(script, disks)
    assert list(ganeti.mappers.devices) == [ONE]
    assert "vms/web0 stays mapped: cannot unmap" in caplog.text


# What scripts learn


@pytest.mark.parametrize("access", ["userspace", "kernelspace", None])
def test_scripts_get_the_uri_of_each_disk_of_ours(disk_of, access):
    far = disk_of(access, namespace="blue", **{"user-id": "joe"})
    plain = disk_of(None, constants.DT_PLAIN)
    guest = types.SimpleNamespace(disks_info=[plain, disk_of(access), far])

    def stock(*given):
        assert given == (guest, "an OS", 0)
        return {"DISK_COUNT": "3"}

    assert scripts.add_uris(stock, None, (guest, "an OS", 0), {}) == {
        "DISK_COUNT": "3",
        "DISK_1_URI": "rbd:vms/web.rbd.disk0",
        "DISK_2_URI": Volume("vms", "web.rbd.disk0", "blue", "joe").uri(),
    }


def io_command(mode, kind, disk):
    """Return the environment that Ganeti gives the script of a transfer."""
    arguments = ("the instance", mode, kind, (disk, 3))

    def stock(*given):
        assert given == arguments
        return {"EXPORT_INDEX": "3"}, "script |", "", None

    environment, *rest = scripts.add_export_uri(stock, None, arguments, {})
    assert rest == ["script |", "", None]
    return environment


@pytest.mark.parametrize("access", ["userspace", "kernelspace", None])
def test_an_export_script_gets_the_uri_of_its_disk(disk_of, access):
    told = io_command(constants.IEM_EXPORT, constants.IEIO_SCRIPT, disk_of(access))
    assert told == {"EXPORT_INDEX": "3", "EXPORT_DISK_URI": "rbd:vms/web.rbd.disk0"}


@pytest.mark.parametrize(
    ("mode", "kind", "dev_type"),
    [
        (constants.IEM_IMPORT, constants.IEIO_SCRIPT, constants.DT_RBD),
        (constants.IEM_EXPORT, constants.IEIO_RAW_DISK, constants.DT_RBD),
        (constants.IEM_EXPORT, constants.IEIO_SCRIPT, constants.DT_PLAIN),
    ],
)
def test_other_transfers_are_as_ganeti_says(disk_of, mode, kind, dev_type):
    assert io_command(mode, kind, disk_of(None, dev_type)) == {"EXPORT_INDEX": "3"}


# Imports and exports, which go on after the call


class Transfer:
    """Ganeti's import and export daemons: a directory each."""

    def __init__(self, root, script):
        self.root = root
        self.script = script
        self.name = "export-disk_0-xyz"

    def start(self, disk, ieio=constants.IEIO_SCRIPT, *ieioargs):
        def stock(mode, opts, host, port, instance, component, ieio, ieioargs):
            self.script()
            (self.root / self.name).mkdir()
            return self.name

        arguments = {"ieio": ieio, "ieioargs": ieioargs or (disk, 0)}
        names = list(inspect.signature(stock).parameters)
        given = [arguments.get(name) for name in names]
        return scripts.start_transfer(stock, None, tuple(given[:6]), arguments)

    def end(self, name=None):
        def stock(name):
            self.script()
            for path in (self.root / name).iterdir():
                path.unlink()
            (self.root / name).rmdir()
            return "as Ganeti says"

        return scripts.end_transfer(stock, None, (name or self.name,), {})


@pytest.fixture
def transfer(tmp_path, monkeypatch, script):
    monkeypatch.setattr(pathutils, "IMPORT_EXPORT_DIR", str(tmp_path))
    return Transfer(tmp_path, script)


def test_the_disk_of_a_transfer_is_mapped_until_its_end(transfer, disks, ganeti):
    assert transfer.start(disks[0]) == transfer.name
    assert ganeti.mappers.devices == {ONE: "/dev/null"}
    assert transfer.end() == "as Ganeti says"
    assert ganeti.mappers.devices == {}


def test_the_device_is_there_before_the_script_and_until_it_is_dead(
    transfer, disks, script
):
    transfer.start(disks[0])
    transfer.end()
    assert script.seen == [{ONE: "/dev/null"}, {ONE: "/dev/null"}]


def test_the_disk_of_another_user_elsewhere_is_unmapped_as_well(
    transfer, images, ganeti, disk_of
):
    ganeti.storage.images["vms/blue"] = {"web.rbd.disk0": FakeImage(8)}
    params = {"namespace": "blue", "user-id": "joe", "ceph-conf": "/etc/far"}
    transfer.start(disk_of(**params))
    (volume,) = ganeti.mappers.devices
    assert volume == Volume("vms", "web.rbd.disk0", "blue", "joe", "/etc/far")
    transfer.end()
    assert ganeti.mappers.devices == {}


def test_a_disk_that_was_mapped_before_stays_mapped_after_a_transfer(
    transfer, disks, ganeti
):
    ganeti.mappers.devices[ONE] = "/dev/ram0"
    transfer.start(disks[0])
    transfer.end()
    assert ganeti.mappers.devices == {ONE: "/dev/ram0"}


def test_two_transfers_do_not_touch_each_other_s_disks(transfer, disks, ganeti):
    transfer.start(disks[0])
    transfer.name = "export-disk_1-abc"
    transfer.start(disks[1])
    transfer.end("export-disk_0-xyz")
    assert list(ganeti.mappers.devices) == [TWO]


@pytest.mark.parametrize("access", ["kernelspace", None])
def test_a_disk_in_kernelspace_access_is_ganeti_s_affair(
    transfer, images, ganeti, disk_of, access
):
    transfer.start(disk_of(access))
    transfer.end()
    assert ganeti.mappers.asked == []


@pytest.mark.parametrize("ieio", [constants.IEIO_FILE, constants.IEIO_RAW_DISK])
def test_a_transfer_without_a_script_needs_no_device(transfer, disks, ganeti, ieio):
    subject = "/srv/dump" if ieio == constants.IEIO_FILE else disks[0]
    transfer.start(disks[0], ieio, subject)
    transfer.end()
    assert ganeti.mappers.asked == []


def test_a_transfer_that_does_not_start_leaves_nothing_mapped(
    transfer, disks, ganeti, script
):
    script.failing = backend.RPCFail("no certificate")
    with pytest.raises(backend.RPCFail, match="no certificate"):
        transfer.start(disks[0])
    assert ganeti.mappers.devices == {}


def test_a_transfer_that_cannot_be_noted_leaves_nothing_mapped(
    transfer, disks, ganeti, monkeypatch
):
    monkeypatch.setattr(pathutils, "IMPORT_EXPORT_DIR", "/nowhere")
    with pytest.raises(FileNotFoundError):
        transfer.start(disks[0])
    assert ganeti.mappers.devices == {}


def test_a_transfer_is_not_started_without_its_device(transfer, disks, ganeti, script):
    ganeti.storage.reachable = False
    with pytest.raises(backend.RPCFail, match="OS scripts: cannot connect"):
        transfer.start(disks[0])
    assert script.seen == []


def test_a_disk_that_stays_in_use_after_a_transfer_is_logged(
    transfer, disks, unmapping, caplog
):
    transfer.start(disks[0])
    unmapping.held.update({ONE})
    assert transfer.end() == "as Ganeti says"
    assert "vms/web0 stays mapped: cannot unmap the image" in caplog.text


def test_a_transfer_that_was_ended_already_is_ganeti_s_affair(transfer, unmapping):
    def stock(name):
        return name

    assert scripts.end_transfer(stock, None, ("gone",), {}) == "gone"
    assert unmapping.tried == []

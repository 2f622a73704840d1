"""The node daemon and disks without a path: wiped and written, never as a file."""

import email.message
import io
import types
import urllib.error

import pytest
from fakes import FakeImage
from ganeti import backend as stock
from ganeti import constants, errors
from ganeti.storage import bdev

from ganeti_ceph.disk import backend, running
from ganeti_ceph.disk.uri import Volume

MIB = 2**20
NAME = "web.rbd.disk0"
URL = "http://images.example.org/debian.raw"

both_modes = pytest.mark.parametrize("access", ["userspace", "kernelspace"])


@pytest.fixture
def image(ganeti, images):
    """The image of the disk, full of data."""
    images[NAME] = FakeImage(content=b"x" * (8 * MIB))
    return images[NAME]


def call(function, *arguments):
    """Call with Ganeti's function around; tell whether that one was called."""
    called = []

    def wrapped(*given):
        called.append(given)

    function(wrapped, None, arguments, {})
    assert called in ([], [arguments])
    return bool(called)


def failure(function, *arguments):
    with pytest.raises(stock.RPCFail) as caught:
        call(function, *arguments)
    return str(caught.value)


# Removing


def test_a_disk_is_removed_as_ganeti_does(image, disk):
    assert call(backend.remove, disk)


def test_a_disk_that_is_gone_is_removed_as_ganeti_does(ganeti, disk):
    assert call(backend.remove, disk)


def test_a_disk_is_not_taken_for_gone_while_the_cluster_is(image, disk, ganeti):
    ganeti.storage.reachable = False
    text = failure(backend.remove, disk)
    assert text.startswith("cannot remove disk/0: cannot connect")


def test_a_disk_whose_pool_is_missing_is_not_taken_for_gone(ganeti, disk):
    ganeti.storage.images.clear()
    assert "no pool vms" in failure(backend.remove, disk)


def test_the_removal_of_other_disks_asks_no_cluster(ganeti, disk_of):
    ganeti.storage.reachable = False
    assert call(backend.remove, disk_of(None, constants.DT_PLAIN))


@both_modes
def test_no_disk_of_ours_is_taken_for_gone_while_the_cluster_is(
    image, disk_of, ganeti, access
):
    ganeti.storage.reachable = False
    assert "cannot connect" in failure(backend.remove, disk_of(access))


def test_ganeti_removes_an_image(image, images, disk):
    stock.BlockdevRemove(disk)
    assert images == {}


def test_the_look_and_the_removal_share_a_connection(image, images, disk, ganeti):
    backend.remove(stock.BlockdevRemove, None, (disk,), {})
    assert images == {}
    assert ganeti.storage.connections == 1


def test_ganeti_says_who_has_an_image_open(image, images, disk, monkeypatch):
    # It tries for half a minute, in which a crashed client is forgotten.
    monkeypatch.setattr(stock.constants, "DISK_REMOVE_RETRY_TIMEOUT", 0)
    image.watchers = ["192.0.2.7:0/1"]
    with pytest.raises(stock.RPCFail, match=r"in use at 192\.0\.2\.7"):
        stock.BlockdevRemove(disk)
    assert NAME in images


# Stopping


@both_modes
def test_a_disk_of_ours_is_unmapped_without_a_look(ganeti, disk_of, access):
    disk = disk_of(access)
    ganeti.mappers.devices = {
        Volume("vms", NAME): "/dev/null",
        Volume("vms", "other"): "/dev/zero",
    }
    ganeti.storage.reachable = False
    assert not call(backend.shutdown, disk)
    assert ganeti.mappers.devices == {Volume("vms", "other"): "/dev/zero"}


def test_a_device_that_is_in_use_is_named_with_its_disk(ganeti, disk):
    ganeti.mappers.failing = "/dev/rbd0 is mounted"
    text = failure(backend.shutdown, disk)
    assert text == "cannot deactivate disk/0: /dev/rbd0 is mounted"


def test_a_disk_with_a_wrong_parameter_is_a_failure_of_the_call(ganeti, disk_of):
    text = failure(backend.shutdown, disk_of(**{"user-id": "a b"}))
    assert text.startswith("cannot deactivate disk/0: the disk parameter user-id")


def test_other_disks_are_let_go_by_ganeti(ganeti, disk_of):
    ganeti.mappers.failing = "asked for another template's disk"
    assert call(backend.shutdown, disk_of(None, constants.DT_PLAIN))


def test_ganeti_unmaps_an_image(image, disk_of, ganeti):
    disk = disk_of("kernelspace")
    bdev.Assemble(disk, [])
    assert ganeti.mappers.devices == {Volume("vms", NAME): "/dev/null"}
    stock.BlockdevShutdown(disk)
    assert ganeti.mappers.devices == {}


# What an instance runs with


@pytest.fixture
def runs(monkeypatch):
    """Say that the instance runs, with its disk opened by QEMU itself or not."""

    def runs(opened):
        monkeypatch.setattr(
            running,
            "plugged",
            lambda name: {"a uuid": running.Plugged("disk-0", opened)}
            if name == "web"
            else {},
        )

    monkeypatch.setattr(running, "plugged", lambda name: {})
    return runs


WEB = types.SimpleNamespace(name="web")
ASSEMBLE = pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (backend.assemble, lambda disk: (disk, WEB, True, 0)),
        (backend.open_all, lambda disk: ("web", [disk], True)),
    ],
)


def done(function, arguments, disk):
    """Do as Ganeti does; return the device."""
    disk.uuid = "a uuid"
    made = []

    def wrapped(*_):
        made.append(bdev.Assemble(disk, []))
        made[0].Open()

    function(wrapped, None, arguments(disk), {})
    return made[0]


@ASSEMBLE
def test_no_device_is_made_beside_a_qemu_that_has_the_image_open(
    image, disk_of, ganeti, runs, function, arguments
):
    runs(True)
    device = done(function, arguments, disk_of("kernelspace"))
    assert ganeti.mappers.asked == []
    assert device.dev_path is None


@ASSEMBLE
def test_a_device_that_qemu_has_open_stays(
    image, disk, ganeti, runs, function, arguments
):
    runs(False)
    ganeti.mappers.devices = {Volume("vms", NAME): "/dev/null"}
    assert done(function, arguments, disk).dev_path == "/dev/null"


@ASSEMBLE
@pytest.mark.parametrize(
    ("access", "maps"), [("kernelspace", True), ("userspace", False)]
)
def test_what_is_configured_counts_for_what_does_not_run(
    image, disk_of, ganeti, runs, function, arguments, access, maps
):
    done(function, arguments, disk_of(access))
    assert bool(ganeti.mappers.devices) is maps


@ASSEMBLE
def test_other_disks_are_activated_by_ganeti(disk_of, monkeypatch, function, arguments):
    monkeypatch.setattr(running, "plugged", None)
    disk = disk_of(None, constants.DT_PLAIN)
    assert call(function, *arguments(disk))


# Starting


@pytest.fixture
def start(ganeti):
    """Gather the devices for QEMU, as Ganeti does; tell what was mapped then."""

    def start(disk):
        seen = []
        guest = types.SimpleNamespace(disks_info=[disk])
        backend.gather(
            lambda _: seen.append(dict(ganeti.mappers.devices)), None, (guest,), {}
        )
        return seen[0]

    return start


def test_a_device_that_somebody_asked_for_is_gone_before_qemu_starts(
    disk, ganeti, start
):
    ganeti.mappers.devices = {Volume("vms", NAME): "/dev/null"}
    assert start(disk) == {}


@pytest.mark.parametrize(
    ("access", "dev_type"), [("kernelspace", constants.DT_RBD), (None, "plain")]
)
def test_a_device_that_qemu_opens_stays(disk_of, ganeti, start, access, dev_type):
    devices = {Volume("vms", NAME): "/dev/null"}
    ganeti.mappers.devices = dict(devices)
    assert start(disk_of(access, dev_type)) == devices


def test_qemu_does_not_start_beside_a_device_that_is_in_use(disk, ganeti, start):
    ganeti.mappers.failing = "/dev/rbd0 is mounted"
    with pytest.raises(errors.BlockDeviceError, match="disk/0: /dev/rbd0 is mounted"):
        start(disk)


# Wiping


def test_a_part_is_wiped_and_not_by_ganeti(image, disk):
    assert not call(backend.wipe, disk, 2, 3)
    assert image.data.count(0) == 3 * MIB
    assert (image.data[2 * MIB - 1], image.data[2 * MIB]) == (120, 0)


@pytest.mark.parametrize(
    ("offset", "size", "good"),
    [
        (0, 8, True),
        (8, 0, True),
        (0, 9, False),
        (8, 1, False),
        (-1, 2, False),
        (2, -1, False),
    ],
)
def test_only_what_is_within_the_disk_is_wiped(image, disk, offset, size, good):
    if good:
        call(backend.wipe, disk, offset, size)
    else:
        assert "not within the disk" in failure(backend.wipe, disk, offset, size)
        assert image.data == b"x" * (8 * MIB)


def test_a_missing_image_is_not_wiped(ganeti, disk):
    assert failure(backend.wipe, disk, 0, 1) == (
        "cannot wipe disk/0: its image is missing"
    )


@both_modes
def test_a_disk_that_has_a_block_device_is_wiped_by_ganeti(
    image, ganeti, disk_of, access
):
    ganeti.mappers.devices = {Volume("vms", NAME): "/dev/null"}
    assert call(backend.wipe, disk_of(access), 0, 1)


def test_a_disk_that_runs_in_userspace_access_has_none_and_is_wiped(image, disk_of):
    assert not call(backend.wipe, disk_of("kernelspace"), 0, 1)
    assert image.data.count(0) == MIB


def test_other_disks_are_wiped_by_ganeti(ganeti, disk_of):
    assert call(backend.wipe, disk_of(None, constants.DT_PLAIN), 0, 1)


# Writing


def test_a_file_is_written_to_the_disk(image, disk, tmp_path):
    (tmp_path / "image").write_bytes(b"abc")
    assert not call(backend.dump, disk, str(tmp_path / "image"), 8)
    assert image.data[:4] == b"abcx"


def test_a_file_that_is_missing_is_named(image, disk):
    text = failure(backend.dump, disk, "/nowhere/image", 8)
    assert text.startswith("cannot write /nowhere/image to disk/0: ")


@pytest.mark.parametrize(
    ("size", "good"), [(0, True), (8, True), (9, False), (-1, False)]
)
def test_no_more_than_the_disk_holds_is_promised(image, disk, tmp_path, size, good):
    (tmp_path / "image").write_bytes(b"abc")
    arguments = (disk, str(tmp_path / "image"), size)
    if good:
        call(backend.dump, *arguments)
    else:
        assert "not within the disk" in failure(backend.dump, *arguments)
        assert image.written == []


def test_a_file_that_does_not_fit_is_refused(image, disk, tmp_path):
    (tmp_path / "image").write_bytes(b"y" * (8 * MIB + 1))
    assert "take a larger disk" in failure(
        backend.dump, disk, str(tmp_path / "image"), 8
    )


def test_a_missing_image_is_not_written(ganeti, disk, tmp_path):
    assert "its image is missing" in failure(backend.dump, disk, str(tmp_path), 8)


def test_other_disks_are_written_by_ganeti(ganeti, disk_of):
    assert call(backend.dump, disk_of("kernelspace"), "/image", 8)


class Answer(io.BytesIO):
    """What a server answers."""

    def __init__(self, content, **headers):
        super().__init__(content)
        self.headers = email.message.Message()
        for name, value in headers.items():
            self.headers[name.replace("_", "-")] = value


@pytest.fixture
def server(monkeypatch):
    """Say what the server of a disk's image answers."""

    def answers(answer):
        def urlopen(url, timeout):
            assert (url, timeout > 0) == (URL, True)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(backend.urllib.request, "urlopen", urlopen)

    return answers


@pytest.mark.parametrize("headers", [{}, {"Content_Length": "3"}])
def test_what_a_url_names_is_written_to_the_disk(image, disk, server, headers):
    server(Answer(b"abc", **headers))
    assert not call(backend.dump, disk, URL, 8)
    assert image.data[:4] == b"abcx"


@pytest.mark.parametrize("promised", ["2", "4"])
def test_a_download_that_is_not_whole_is_a_failure(image, disk, server, promised):
    server(Answer(b"abc", Content_Length=promised))
    assert f"ended after 3 of {promised} bytes" in failure(backend.dump, disk, URL, 8)


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route"), TimeoutError("timed out")]
)
def test_a_server_that_does_not_answer_is_a_failure(image, disk, server, error):
    server(error)
    assert failure(backend.dump, disk, URL, 8).startswith(f"cannot write {URL}")


# No path


@pytest.mark.parametrize("target", [None, ""])
def test_no_file_called_none_is_written(target):
    text = failure(backend.refuse_no_path, "/dev/zero", target, 0, 1, False)
    assert "access=kernelspace" in text


def test_a_disk_with_a_path_is_written_by_ganeti():
    assert call(backend.refuse_no_path, "/dev/zero", "/dev/sdb", 0, 1, False)


# A conversion


@pytest.fixture
def convert(monkeypatch, disk_of):
    """Convert a disk of a template to one of another, with these commands."""

    def convert(source, target, reader, writer):
        devices = {
            source: types.SimpleNamespace(Export=lambda: ["sh", "-c", reader]),
            target: types.SimpleNamespace(Import=lambda: ["sh", "-c", writer]),
        }
        monkeypatch.setattr(
            stock, "_RecursiveFindBD", lambda disk: devices.get(disk.dev_type)
        )
        disks = [disk_of(None, template) for template in (source, target)]
        return backend.convert(lambda *_: "as Ganeti does", None, disks, {})

    return convert


RBD, PLAIN, DRBD = constants.DT_RBD, constants.DT_PLAIN, constants.DT_DRBD8
#: Of a disk with DRBD Ganeti reads the plain one below it.
WAYS = [(RBD, PLAIN), (PLAIN, RBD), (RBD, DRBD)]


@pytest.mark.parametrize("way", WAYS)
def test_a_disk_is_copied_through_a_pipe(convert, tmp_path, way):
    assert convert(*way, "echo all of it", f"cat > {tmp_path}/new") is None
    assert (tmp_path / "new").read_text() == "all of it\n"


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_that_is_cut_short_is_a_failure(convert, way):
    with pytest.raises(stock.RPCFail) as caught:
        convert(*way, "echo half; echo no answer >&2; exit 1", "cat > /dev/null")
    source, target = way
    assert str(caught.value) == (
        f"cannot convert disk/0 from {source} to {target}: exited with exit code 1:"
        " no answer"
    )


def test_one_that_cannot_be_written_is_a_failure(convert):
    with pytest.raises(stock.RPCFail, match="exit code 3: full"):
        convert(RBD, PLAIN, "echo x", "cat > /dev/null; echo full >&2; exit 3")


def test_a_disk_without_a_device_is_named(monkeypatch, disk_of):
    monkeypatch.setattr(stock, "_RecursiveFindBD", lambda disk: None)
    with pytest.raises(stock.RPCFail, match="no device of the rbd disk"):
        backend.convert(None, None, [disk_of(), disk_of(None, PLAIN)], {})


def test_other_conversions_are_ganetis(convert):
    assert convert(PLAIN, constants.DT_FILE, "", "") == "as Ganeti does"

"""Images: what exists is not lost, what is in use stays, failures say what to do."""

import errno

import pytest
import rbd
from fakes import FakeImage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganeti_ceph.disk import image
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import CephError

WEB = Volume("vms", "web")
LOST = Volume("lost", "web")


@pytest.fixture
def web(images):
    """An image of 12 bytes."""
    images["web"] = FakeImage(content=b"x" * 12)
    return images["web"]


def failure(function, *arguments):
    with pytest.raises(CephError) as caught:
        function(*arguments)
    return caught.value


every_function = pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (image.create, (1,)),
        (image.size, ()),
        (image.grow, (1,)),
        (image.remove, ()),
        (image.wipe, (0, 1)),
        (lambda volume: list(image.read(volume)), ()),
        (image.write, ([b"x"],)),
    ],
)


@every_function
def test_a_pool_that_is_missing_is_named_with_the_command_that_names_another(
    storage, function, arguments
):
    err = failure(function, LOST, *arguments)
    assert "no pool lost" in str(err)
    assert "gnt-cluster modify -D rbd:pool=" in str(err)
    assert err.errno == errno.ENOENT


@every_function
def test_a_cluster_that_does_not_answer_is_an_error(storage, web, function, arguments):
    storage.reachable = False
    assert "cannot connect" in str(failure(function, WEB, *arguments))


# Making


def test_a_new_image_has_its_size_and_nothing_else(images):
    image.create(WEB, 5)
    assert images["web"].data == bytes(5)


def test_an_image_that_exists_is_left_as_it_is(web):
    err = failure(image.create, WEB, 5)
    assert err.errno == errno.EEXIST
    assert "rbd rm vms/web" in str(err)
    assert web.data == b"x" * 12


# Size


def test_the_size_is_in_bytes(web):
    assert image.size(WEB) == 12


def test_an_image_that_is_missing_has_no_size(images):
    assert image.size(WEB) is None


def test_an_image_that_cannot_be_opened_is_not_a_missing_one(web):
    web.broken = rbd.PermissionError("no", errno.EPERM)
    err = failure(image.size, WEB)
    assert err.errno == errno.EPERM
    assert "cannot open the image vms/web" in str(err)


@pytest.mark.parametrize(("wanted", "size"), [(11, 12), (12, 12), (13, 13)])
def test_an_image_only_ever_grows(web, wanted, size):
    assert image.grow(WEB, wanted) == size
    assert web.data == (b"x" * 12).ljust(size, b"\0")


def test_an_image_that_is_missing_does_not_grow(images):
    assert failure(image.grow, WEB, 5).errno == errno.ENOENT
    assert images == {}


# Removing


def test_an_image_nobody_has_open_is_removed(web, images):
    image.remove(WEB)
    assert images == {}


def test_an_image_that_is_gone_is_no_failure(images):
    image.remove(WEB)


def test_other_images_stay(web, images):
    images["other"] = FakeImage(5)
    image.remove(WEB)
    assert set(images) == {"other"}


def test_an_image_in_use_stays_and_the_hosts_are_named_once(web, images):
    web.watchers = [
        "192.0.2.2:0/1",
        "192.0.2.1:0/7",
        "192.0.2.2:0/9",
        "[2001:db8::1]:0/3",
    ]
    err = failure(image.remove, WEB)
    assert err.errno == errno.EBUSY
    assert "in use at 192.0.2.1, 192.0.2.2, [2001:db8::1];" in str(err)
    assert "web" in images


def test_an_image_in_use_stays_also_if_nobody_knows_by_whom(web, images):
    web.watchers = ["192.0.2.2:0/1"]
    web.broken = rbd.OSError("no", errno.EIO)
    err = failure(image.remove, WEB)
    assert err.errno == errno.EBUSY
    assert "is in use;" in str(err)
    assert "web" in images


def test_an_image_with_snapshots_stays(web, images):
    web.snapshots = 1
    err = failure(image.remove, WEB)
    assert err.errno == errno.ENOTEMPTY
    assert "rbd snap ls vms/web" in str(err)
    assert "web" in images


# Content


@pytest.fixture
def chunk(monkeypatch):
    monkeypatch.setattr(image, "CHUNK", 4)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 12), (0, 0), (3, 1), (3, 7), (11, 1), (4, 4)]
)
def test_only_the_part_that_is_asked_for_is_wiped(web, chunk, offset, length):
    image.wipe(WEB, offset, length)
    assert [index for index in range(12) if not web.data[index]] == list(
        range(offset, offset + length)
    )
    assert web.written == []


def test_nothing_is_wiped_at_more_than_a_chunk_at_a_time(web, chunk):
    image.wipe(WEB, 1, 10)
    assert web.zeroed == [(1, 4), (5, 4), (9, 2)]


def test_the_whole_content_is_read(web, chunk):
    web.data[:] = b"abcdefghijkl"
    assert list(image.read(WEB)) == [b"abcd", b"efgh", b"ijkl"]


def test_reading_is_no_use_of_the_image(web, monkeypatch):
    # One that may write is a watcher, and stands in the way of a guest.
    opened = []
    real = image.rbd.Image

    def watching(*arguments, **options):
        opened.append(options.get("read_only", False))
        return real(*arguments, **options)

    monkeypatch.setattr(image.rbd, "Image", watching)
    list(image.read(WEB))
    image.size(WEB)
    assert opened == [True, True]


@given(st.lists(st.binary(min_size=1, max_size=6), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(images, pieces):
    content = b"".join(pieces)
    images["web"] = FakeImage(len(content))
    image.write(WEB, pieces)
    assert b"".join(image.read(WEB)) == content


def test_what_follows_after_the_last_piece_stays(web):
    image.write(WEB, [b"abc"])
    assert web.data == b"abc" + b"x" * 9


def test_what_was_written_is_safe(web):
    image.write(WEB, [b"abcd", bytes(4)])
    assert web.flushed


def test_zeroes_are_written_as_such_and_take_no_space(web):
    image.write(WEB, [b"abcd", bytes(4), b"\0\0\0x"])
    assert web.data == b"abcd\0\0\0\0\0\0\0x"
    assert (web.written, web.zeroed) == ([(0, 4), (8, 4)], [(4, 4)])


@pytest.mark.parametrize(("length", "good"), [(12, True), (13, False)])
def test_what_does_not_fit_is_refused(web, length, good):
    pieces = [b"y" * (length - 1), b"y"]
    if good:
        image.write(WEB, pieces)
        return
    err = failure(image.write, WEB, pieces)
    assert err.errno == errno.EFBIG
    assert "take a larger disk" in str(err)


def test_any_other_failure_names_image_and_reason(web):
    web.broken = rbd.OSError("no", errno.EIO)
    for verb, function, arguments in (
        ("grow", image.grow, (20,)),
        ("wipe", image.wipe, (0, 1)),
        ("write", image.write, ([b"x"],)),
    ):
        err = failure(function, WEB, *arguments)
        assert f"cannot {verb} the image vms/web: Input/output error" in str(err)


def test_every_connection_ends(storage, web, monkeypatch):
    ended = []
    monkeypatch.setattr(
        type(storage.rados()), "shutdown", lambda self: ended.append(self)
    )
    image.size(WEB)
    failure(image.create, WEB, 1)
    list(image.read(WEB))
    assert len(ended) == storage.connections == 3

"""All disks of a node at once: one question for each pool, and no disk for another."""

import pytest
from fakes import FakeImage, FakeOpenImage, FakeRbd
from ganeti import backend as stock
from ganeti import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganeti_ceph.disk import status
from ganeti_ceph.disk.uri import Volume

MIB = 2**20
DEVICE = "/dev/null"


@pytest.fixture
def disks_of(disk_of):
    """Make disks with these images, ``POOL/IMAGE`` each; None for one of Ganeti's."""

    def disks_of(*names, **params):
        disks = []
        for name in names:
            disk = disk_of(**params)
            if name is None:
                disk.dev_type = constants.DT_PLAIN
            else:
                disk.params["pool"], image = name.split("/")
                disk.logical_id = ("rbd", image)
            disks.append(disk)
        return disks

    return disks_of


def find(disks, theirs=()):
    """Return what is answered where Ganeti answers so for its disks."""
    asked = []

    def wrapped(some):
        asked.extend(some)
        return list(theirs)

    found = status.find_all(wrapped, None, (disks,), {})
    assert asked == [disk for disk in disks if disk.dev_type != constants.DT_RBD]
    assert len(found) == len(disks)
    return found


def measure(disks, theirs=()):
    return status.measure_all(lambda some: list(theirs), None, (disks,), {})


@pytest.fixture
def listings(monkeypatch):
    """The pools that were listed."""
    listed = []

    class CountingRbd(FakeRbd):
        def list2(self, ioctx):
            listed.append(ioctx._name)
            return super().list2(ioctx)

    monkeypatch.setattr(status.image.rbd, "RBD", CountingRbd)
    return listed


@pytest.fixture
def many(ganeti, images):
    """200 images in one pool, one in another, one in a namespace."""
    images.update({f"image{index}": FakeImage(MIB) for index in range(200)})
    ganeti.storage.images["hdd"] = {"image0": FakeImage(2 * MIB)}
    ganeti.storage.images["vms/blue"] = {"image0": FakeImage(3 * MIB)}
    return ganeti


def test_a_pool_is_asked_once_over_one_connection(many, disks_of, listings):
    names = [f"vms/image{index}" for index in range(200)]
    found = find(disks_of(*names, "hdd/image0"))
    assert all(there for there, _ in found)
    assert sorted(listings) == ["hdd", "vms"]
    assert many.storage.connections == 1


def test_no_image_is_opened_to_tell_whether_it_is_there(many, disks_of):
    many.storage.images["vms"]["image0"].broken = AssertionError("it was opened")
    assert find(disks_of("vms/image0"))[0][0]


def test_a_status_is_that_of_the_device(many, disks_of):
    disk = disks_of("vms/image0")
    ((_, found),) = find(disk)
    ((_, expected),) = stock.BlockdevGetmirrorstatusMulti(disk)
    assert found.ToDict() == expected.ToDict()
    assert not found.is_degraded
    assert found.dev_path is None


def test_the_device_of_a_mapped_image_is_told(many, disks_of):
    many.mappers.devices[Volume("vms", "image1")] = DEVICE
    (_, first), (_, second) = find(disks_of("vms/image0", "vms/image1"))
    assert first.dev_path is None
    assert (second.dev_path, second.major, second.minor) == (DEVICE, 1, 3)


def test_a_device_that_is_gone_is_a_failure_of_its_disk(many, disks_of):
    many.mappers.devices[Volume("vms", "image1")] = "/dev/nothing"
    (first, _), (second, why) = find(disks_of("vms/image0", "vms/image1"))
    assert (first, second) == (True, False)
    assert "vms/image1 is mapped to /dev/nothing" in why


def test_a_missing_image_is_named(many, disks_of):
    found = find(disks_of("vms/image0", "vms/lost"))
    assert found[1] == (False, "the storage cluster has no image vms/lost")
    assert found[0][0]


def test_a_missing_pool_fails_its_own_disks_only(many, disks_of):
    found = find(disks_of("lost/image0", "vms/image0", "lost/image1"))
    assert [there for there, _ in found] == [False, True, False]
    assert "no pool lost" in found[0][1]


def test_a_namespace_is_no_pool(many, disks_of):
    (blue,) = disks_of("vms/image7", namespace="blue")
    ((there, why),) = find([blue])
    assert (there, why) == (False, "the storage cluster has no image vms/blue/image7")


def test_a_cluster_that_does_not_answer_is_waited_for_once(many, disks_of, listings):
    many.storage.reachable = False
    found = find(disks_of("vms/image0", "hdd/image0", "vms/image1", None), ["theirs"])
    assert [one[0] for one in found[:3]] == [False] * 3
    assert "cannot connect" in found[0][1]
    assert found[3] == "theirs"
    assert len(many.storage.clients) == 1


def test_clients_have_connections_of_their_own(many, disks_of):
    found = find(disks_of("vms/image0") + disks_of("vms/image0", **{"user-id": "joe"}))
    assert [there for there, _ in found] == [True, True]
    users = sorted(user for _, user in many.storage.clients)
    assert len(users) == 2
    assert "client.joe" in users


def test_a_disk_with_wrong_parameters_fails_alone(many, disks_of):
    found = find(disks_of("vms/image0") + disks_of("vms/image1", mapper="none"))
    assert [there for there, _ in found] == [True, False]
    assert "mapper" in found[1][1]


def test_what_is_mapped_may_be_unknown(many, disks_of):
    many.mappers.failing = "losetup failed"
    assert find(disks_of("vms/image0", None), ["theirs"]) == [
        (False, "cannot tell which images are mapped: losetup failed"),
        "theirs",
    ]


@given(st.lists(st.integers(0, 3)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_the_disks_is_kept(many, disks_of, kinds):
    names = [None, "vms/image0", "vms/lost", "hdd/image0"]
    disks = disks_of(*(names[kind] for kind in kinds))
    theirs = [f"plain{index}" for index in range(kinds.count(0))]
    found = find(disks, theirs)
    assert [one for one in found if isinstance(one, str)] == theirs
    for kind, one in zip(kinds, found, strict=True):
        assert isinstance(one, str) if kind == 0 else one[0] is (kind != 2)


def test_without_disks_nobody_is_asked(ganeti):
    assert find([]) == measure([]) == []
    assert ganeti.storage.clients == []


# Sizes


def test_sizes_are_those_of_the_images(many, disks_of):
    disks = disks_of("vms/image3", None, "hdd/image0")
    disks += disks_of("vms/image0", namespace="blue")
    assert measure(disks, [(5, None)]) == [
        (MIB, None),
        (5, None),
        (2 * MIB, None),
        (3 * MIB, None),
    ]
    assert many.storage.connections == 1


def test_sizes_are_those_that_ganeti_would_tell(many, disks_of):
    disks = disks_of("vms/image3", "hdd/image0", "vms/lost", "lost/image0")
    assert measure(disks) == [
        one and tuple(one) for one in stock.BlockdevGetdimensions(disks)
    ]
    assert measure(disks)[2:] == [None, None]


def test_an_image_that_cannot_be_opened_has_no_size(many, disks_of):
    many.storage.images["vms"]["image1"].broken = status.image.rbd.OSError("x", 5)
    sizes = measure(disks_of("vms/image0", "vms/image1", "vms/image2"))
    assert sizes == [(MIB, None), None, (MIB, None)]


def test_a_silent_cluster_has_no_sizes(many, disks_of):
    many.storage.reachable = False
    assert measure(disks_of("vms/image0", "hdd/image0")) == [None, None]
    assert len(many.storage.clients) == 1


def test_an_osd_that_does_not_answer_is_not_waited_for_by_each_image(
    many, disks_of, monkeypatch
):
    opened = []

    class Silent(FakeOpenImage):
        def __init__(self, ioctx, name=None, read_only=False):
            opened.append(name)
            raise status.image.rbd.OSError("timed out", 110)

    monkeypatch.setattr(status.image.rbd, "Image", Silent)
    names = [f"vms/image{index}" for index in range(200)]
    assert measure(disks_of(*names)) == [None] * 200
    assert len(opened) < 200


def test_wrong_parameters_have_no_size(many, disks_of):
    assert measure(disks_of("vms/image1", mapper="none")) == [None]

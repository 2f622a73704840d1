"""The block device of a disk that QEMU opens: there is none, and nothing is run."""

import sys

import pytest
from fakes import FakeImage
from ganeti import constants
from ganeti.errors import BlockDeviceError
from ganeti.storage import bdev

from ganeti_ceph.disk import device
from ganeti_ceph.disk.device import UserspaceDevice

MIB = 2**20
NAME = "web.rbd.disk0"


@pytest.fixture
def found(ganeti, images, disk):
    """The device of a disk whose image is there."""
    images[NAME] = FakeImage(8 * MIB)
    return bdev.FindDevice(disk, [])


@pytest.fixture
def missing(ganeti):
    """A device whose image is not there."""
    return UserspaceDevice(("rbd", NAME), [], 8, {"pool": "vms"}, {})


# Whose device it is


class Stock:
    """Takes the place of Ganeti's device."""

    def __init__(self, *arguments, **options):
        self.made = arguments, options

    @classmethod
    def Create(cls, *arguments, **options):
        return cls("created", *arguments, **options)


@pytest.mark.parametrize("access", ["kernelspace", None])
def test_a_disk_in_kernelspace_access_is_ganetis(access):
    devices = {"rbd": Stock}
    device.extend_dev_map(devices)
    params = {"pool": "vms", **({"access": access} if access else {})}
    arguments = (("rbd", NAME), [], 8, params, {})
    made = devices["rbd"](*arguments, name="n", uuid="u")
    assert type(made) is Stock
    assert made.made == (arguments, {"name": "n", "uuid": "u"})


def test_a_new_disk_in_kernelspace_access_is_ganetis():
    devices = {"rbd": Stock}
    device.extend_dev_map(devices)
    arguments = (("rbd", NAME), [], 8, None, {"pool": "vms"}, False, {})
    made = devices["rbd"].Create(*arguments, name="n")
    assert made.made == (("created", *arguments), {"name": "n"})


def test_a_disk_in_userspace_access_is_ours(found):
    assert type(found) is UserspaceDevice


def test_the_devices_of_other_templates_are_left_alone():
    devices = dict(bdev.DEV_MAP)
    device.extend_dev_map(devices)
    assert devices.pop("rbd") is not bdev.DEV_MAP["rbd"]
    assert devices.items() <= bdev.DEV_MAP.items()


@pytest.mark.parametrize(
    ("access", "dev_type", "ours"),
    [
        ("userspace", "rbd", True),
        ("kernelspace", "rbd", False),
        (None, "rbd", False),
        ("userspace", "gluster", False),
    ],
)
def test_which_disks_are_ours(disk_of, access, dev_type, ours):
    assert device.is_userspace(disk_of(access, dev_type)) is ours


# Looking


def test_a_device_that_is_there_has_no_path_and_no_number(found):
    assert found.attached
    assert (found.dev_path, found.major, found.minor) == (None, None, None)


def test_ganeti_finds_no_device_without_an_image(ganeti, disk):
    assert bdev.FindDevice(disk, []) is None


def test_a_cluster_that_does_not_answer_is_no_missing_image(ganeti, disk):
    ganeti.storage.reachable = False
    with pytest.raises(BlockDeviceError, match="cannot connect"):
        bdev.FindDevice(disk, [])


def test_assembling_a_missing_image_says_what_may_be_wrong(missing):
    with pytest.raises(BlockDeviceError, match=r"no image vms/web\.rbd\.disk0.*pool"):
        missing.Assemble()


def test_assembling_one_that_is_there_is_nothing(found):
    assert found.Assemble() is None


@pytest.mark.parametrize("unique_id", [None, "rbd", ("rbd",), ("rbd", "a", "b")])
def test_what_is_no_disks_id_is_refused(ganeti, unique_id):
    with pytest.raises(ValueError):
        UserspaceDevice(unique_id, [], 8, {"pool": "vms"}, {})


def test_a_name_that_qemu_would_misread_is_refused(ganeti):
    with pytest.raises(BlockDeviceError, match="cannot be handed to QEMU"):
        UserspaceDevice(("rbd", "web:id=x"), [], 8, {"pool": "vms"}, {})


# Making, growing, removing


def test_a_new_disk_is_an_image_of_its_size(ganeti, images, disk):
    made = bdev.Create(disk, [], False)
    assert len(images[NAME].data) == 8 * MIB
    assert made.attached
    assert made.GetActualSize() == 8 * MIB


def test_an_image_that_exists_is_not_taken_for_a_new_disk(ganeti, images, disk):
    images[NAME] = FakeImage(content=b"precious")
    with pytest.raises(BlockDeviceError, match="exists already"):
        bdev.Create(disk, [], False)
    assert images[NAME].data == b"precious"


def test_exclusive_storage_is_refused(ganeti, images, disk):
    with pytest.raises(BlockDeviceError, match="exclusive storage"):
        bdev.Create(disk, [], True)
    assert images == {}


@pytest.mark.parametrize(
    ("dry_run", "backing", "size"),
    [(False, True, 12), (True, True, 8), (False, False, 8), (True, False, 8)],
)
def test_a_disk_grows_where_it_is_stored_and_not_in_a_dry_run(
    found, images, dry_run, backing, size
):
    found.Grow(4, dry_run, backing, False)
    assert len(images[NAME].data) == size * MIB
    assert found.GetActualSize() == size * MIB


def test_a_disk_that_has_grown_already_is_not_made_smaller(found, images):
    images[NAME] = FakeImage(20 * MIB)
    found.Grow(4, False, True, False)
    assert found.GetActualSize() == 20 * MIB


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_missing_image_does_not_grow(missing, dry_run):
    with pytest.raises(BlockDeviceError, match="no image"):
        missing.Grow(4, dry_run, True, False)


def test_a_disk_is_removed_with_its_image(found, images):
    found.Remove()
    assert images == {}


def test_a_disk_that_a_guest_has_open_is_not_removed(found, images):
    images[NAME].watchers = ["192.0.2.7:0/1"]
    with pytest.raises(BlockDeviceError, match=r"in use at 192\.0\.2\.7"):
        found.Remove()
    assert NAME in images


def test_wiping_counts_in_mebibytes(found, images):
    images[NAME].data[:] = b"x" * (8 * MIB)
    found.Wipe(2, 3)
    data = images[NAME].data
    assert data.count(0) == 3 * MIB
    assert (data[2 * MIB - 1], data[2 * MIB], data[5 * MIB]) == (120, 0, 120)


# What there is not


@pytest.mark.parametrize("name", ["Open", "Close", "Shutdown"])
def test_nothing_is_asked_for_what_is_qemus(found, ganeti, name):
    before = ganeti.storage.connections
    ganeti.storage.reachable = False
    assert getattr(found, name)() is None
    assert ganeti.storage.connections == before


def test_a_new_name_of_the_instance_changes_nothing(found, images):
    found.Rename(("rbd", "other"))
    assert set(images) == {NAME}


def test_no_disk_is_ever_mapped_and_no_program_run(ganeti, images, disk):
    # The fixture dies on every program.
    made = bdev.Create(disk, [], False)
    assembled = bdev.Assemble(disk, [])
    assembled.Open(force=True)
    assembled.Grow(1, False, True, False)
    assembled.Wipe(0, 1)
    assembled.Close()
    assembled.Shutdown()
    made.Remove()
    assert images == {}
    assert assembled.dev_path is None


# What QEMU and the pipes get


def test_qemu_gets_the_images_name(found):
    uri = found.GetUserspaceAccessUri(constants.HT_KVM)
    assert uri == "rbd:vms/web.rbd.disk0"


@pytest.mark.parametrize("hypervisor", [constants.HT_XEN_PVM, constants.HT_FAKE])
def test_other_hypervisors_are_told_to_use_kernelspace(found, hypervisor):
    with pytest.raises(BlockDeviceError, match=f"{hypervisor}.*access=kernelspace"):
        found.GetUserspaceAccessUri(hypervisor)


@pytest.mark.parametrize(
    ("method", "word"), [("Import", "import"), ("Export", "export")]
)
def test_the_pipes_run_our_program_with_pool_and_image(found, method, word):
    command = getattr(found, method)()
    assert command[0] == sys.executable
    assert command[1:] == ["-m", "ganeti_ceph.disk.copy", word, "vms", NAME]


@pytest.mark.parametrize("method", ["Import", "Export"])
def test_a_missing_image_is_not_copied(missing, method):
    with pytest.raises(BlockDeviceError, match="no image"):
        getattr(missing, method)()

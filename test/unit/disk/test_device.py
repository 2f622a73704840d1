"""The block device of an rbd disk: an image, mapped only where its access needs it."""

import sys

import pytest
import rbd
from fakes import FakeImage, FakeSnapshot
from ganeti import constants
from ganeti.errors import BlockDeviceError
from ganeti.storage import bdev

from ganeti_ceph.disk import device
from ganeti_ceph.disk.device import ImageDevice
from ganeti_ceph.disk.uri import Volume

MIB = 2**20
NAME = "web.rbd.disk0"
VOLUME = Volume("vms", NAME)

both_modes = pytest.mark.parametrize("access", ["userspace", "kernelspace", None])


@pytest.fixture
def there(ganeti, images):
    """The image of the disk."""
    images[NAME] = FakeImage(8 * MIB)
    return images[NAME]


@pytest.fixture
def found(there, disk):
    """The device of a disk in userspace access."""
    return bdev.FindDevice(disk, [])


@pytest.fixture
def mapped(there, disk_of):
    """The device of a disk in kernelspace access, which is active."""
    return bdev.Assemble(disk_of("kernelspace"), [])


@pytest.fixture
def missing(ganeti):
    """A device whose image is not there."""
    return ImageDevice(("rbd", NAME), [], 8, {"pool": "vms"}, {})


# Whose device it is


@both_modes
def test_a_disk_is_ours_in_every_access(there, disk_of, access):
    assert type(bdev.FindDevice(disk_of(access), [])) is ImageDevice


def test_the_devices_of_other_templates_are_left_alone(monkeypatch):
    devices = dict(bdev.DEV_MAP)
    device.extend_dev_map(devices)
    assert devices.pop("rbd") is ImageDevice
    assert devices.items() <= bdev.DEV_MAP.items()


@pytest.mark.parametrize(
    ("access", "dev_type", "ours", "by_qemu"),
    [
        ("userspace", "rbd", True, True),
        ("kernelspace", "rbd", True, False),
        (None, "rbd", True, False),
        ("userspace", "gluster", False, False),
    ],
)
def test_which_disks_are_ours(disk_of, access, dev_type, ours, by_qemu):
    assert device.is_rbd(disk_of(access, dev_type)) is ours
    assert device.is_userspace(disk_of(access, dev_type)) is by_qemu


def test_a_disk_s_image_is_where_its_parameters_say(ganeti, disk_of):
    params = {"namespace": "blue", "user-id": "joe", "ceph-conf": "/etc/far"}
    far = Volume("vms", NAME, "blue", "joe", "/etc/far")
    disk = disk_of(**params)
    assert device.volume_of(disk) == far
    ganeti.storage.images["vms/blue"] = {NAME: FakeImage(8 * MIB)}
    made = bdev.FindDevice(disk, [])
    assert made.volume == far
    assert ganeti.storage.clients == [("/etc/far", "client.joe")]
    assert made.GetUserspaceAccessUri(constants.HT_KVM) == far.uri()


# Looking


def test_a_device_that_is_there_has_no_path_and_no_number(found):
    assert found.attached
    assert (found.dev_path, found.major, found.minor) == (None, None, None)


@both_modes
def test_making_a_device_maps_nothing(there, disk_of, ganeti, access):
    bdev.FindDevice(disk_of(access), [])
    assert ganeti.mappers.devices == {}


@both_modes
def test_a_device_that_is_mapped_is_found_again(there, disk_of, ganeti, access):
    ganeti.mappers.devices[VOLUME] = "/dev/zero"
    found = bdev.FindDevice(disk_of(access), [])
    assert (found.dev_path, found.major, found.minor) == ("/dev/zero", 1, 5)


def test_a_failure_to_look_for_the_mapping_is_the_device_s(there, disk, ganeti):
    ganeti.mappers.failing = "no such program"
    with pytest.raises(BlockDeviceError, match="no such program"):
        bdev.FindDevice(disk, [])


def test_ganeti_finds_no_device_without_an_image(ganeti, disk):
    assert bdev.FindDevice(disk, []) is None


def test_a_cluster_that_does_not_answer_is_no_missing_image(ganeti, disk):
    ganeti.storage.reachable = False
    with pytest.raises(BlockDeviceError, match="cannot connect"):
        bdev.FindDevice(disk, [])


def test_assembling_a_missing_image_says_what_may_be_wrong(missing):
    with pytest.raises(BlockDeviceError, match=r"no image vms/web\.rbd\.disk0.*pool"):
        missing.Assemble()


def test_a_disk_in_kernelspace_access_is_mapped_while_it_is_active(mapped, ganeti):
    assert ganeti.mappers.devices == {VOLUME: "/dev/null"}
    assert (mapped.dev_path, mapped.major, mapped.minor) == ("/dev/null", 1, 3)
    mapped.Shutdown()
    assert ganeti.mappers.devices == {}
    assert (mapped.dev_path, mapped.major, mapped.minor) == (None, None, None)


def test_assembling_twice_is_the_same_device(mapped, disk_of):
    assert bdev.Assemble(disk_of("kernelspace"), []) == mapped


@pytest.mark.parametrize("mapper", ["auto", "krbd", "nbd", "fuse"])
def test_the_mapper_is_the_disk_s_and_learns_the_image_s_features(
    there, disk_of, ganeti, mapper
):
    there.features = rbd.RBD_FEATURE_LAYERING | rbd.RBD_FEATURE_STRIPINGV2
    bdev.Assemble(disk_of("kernelspace", mapper=mapper), [])
    assert ganeti.mappers.asked == [(VOLUME, mapper, ("layering", "striping"))]


def test_a_disk_in_userspace_access_is_not_mapped(there, disk, ganeti):
    assert bdev.Assemble(disk, []).dev_path is None
    assert ganeti.mappers.asked == []


def test_a_device_that_somebody_asked_for_stays_and_grows(found, ganeti, disk):
    assert found.Map() == found.dev_path == "/dev/null"
    assembled = bdev.Assemble(disk, [])
    assert ganeti.mappers.devices == {VOLUME: "/dev/null"}
    assert assembled.dev_path == "/dev/null"
    assembled.Grow(4, False, True, False)
    assert ganeti.mappers.sizes == [(VOLUME, 12 * MIB)]


@pytest.mark.parametrize("method", ["Map", "Shutdown", "Remove"])
def test_what_a_mapper_says_is_handed_on(found, images, ganeti, method):
    ganeti.mappers.failing = "100% no mapper works on this node"
    with pytest.raises(BlockDeviceError, match="100% no mapper works on this node"):
        getattr(found, method)()
    assert NAME in images


def test_a_missing_image_is_not_mapped(missing, ganeti):
    with pytest.raises(BlockDeviceError):
        missing.Assemble()
    assert ganeti.mappers.asked == []


@pytest.mark.parametrize("unique_id", [None, "rbd", ("rbd",), ("rbd", "a", "b")])
def test_what_is_no_disks_id_is_refused(ganeti, unique_id):
    with pytest.raises(ValueError):
        ImageDevice(unique_id, [], 8, {"pool": "vms"}, {})


@pytest.mark.parametrize(
    ("name", "text"), [("user-id", "a b"), ("features", "none"), ("iops", "many")]
)
def test_a_parameter_that_is_wrong_is_named(ganeti, disk_of, name, text):
    with pytest.raises(BlockDeviceError, match=f"disk parameter {name} .*{text}"):
        bdev.FindDevice(disk_of(**{name: text}), [])


def test_a_name_that_qemu_would_misread_is_refused(ganeti):
    with pytest.raises(BlockDeviceError, match="cannot be handed to QEMU"):
        ImageDevice(("rbd", "web:id=x"), [], 8, {"pool": "vms"}, {})


# Making, growing, removing


def test_a_new_disk_is_an_image_of_its_size(ganeti, images, disk):
    made = bdev.Create(disk, [], False)
    assert len(images[NAME].data) == 8 * MIB
    assert made.attached
    assert made.GetActualSize() == 8 * MIB


@pytest.mark.parametrize("access", ["userspace", "kernelspace"])
def test_a_new_disk_is_not_mapped_before_it_is_assembled(ganeti, disk_of, access):
    bdev.Create(disk_of(access), [], False)
    assert ganeti.mappers.devices == {}


def test_a_new_image_is_as_the_disk_s_parameters_say(ganeti, images, disk_of):
    params = {
        "features": "layering",
        "object-size": "8M",
        "stripe-unit": "64K",
        "stripe-count": "2",
        "data-pool": "ec",
    }
    ganeti.storage.images["ec"] = {}
    bdev.Create(disk_of(**params), [], False)
    made = images[NAME]
    assert made.features == (
        rbd.RBD_FEATURE_LAYERING
        | rbd.RBD_FEATURE_STRIPINGV2
        | rbd.RBD_FEATURE_DATA_POOL
    )
    assert (made.order, made.stripes, made.data_pool) == (23, (2**16, 2), "ec")


@pytest.mark.parametrize(
    "params",
    [
        {"stripe-unit": "64K"},
        {"stripe-count": "4"},
        {"object-size": "4K", "stripe-unit": "64K", "stripe-count": "2"},
    ],
)
def test_stripes_that_do_not_fit_make_no_image_and_stop_none(
    ganeti, images, disk_of, params
):
    disk = disk_of(**params)
    with pytest.raises(BlockDeviceError, match="cannot create the image"):
        bdev.Create(disk, [], False)
    images[NAME] = FakeImage(8)
    device = bdev.FindDevice(disk, [])
    device.Assemble()
    device.Shutdown()
    device.Remove()
    assert images == {}


def test_an_image_that_exists_is_not_taken_for_a_new_disk(ganeti, images, disk):
    images[NAME] = FakeImage(content=b"precious")
    with pytest.raises(BlockDeviceError, match="exists already"):
        bdev.Create(disk, [], False)
    assert images[NAME].data == b"precious"


def test_exclusive_storage_is_refused(ganeti, images, disk):
    with pytest.raises(BlockDeviceError, match="exclusive storage"):
        bdev.Create(disk, [], True)
    assert images == {}


def test_a_new_image_that_cannot_be_mapped_is_not_left_behind(ganeti, images, disk_of):
    made = bdev.Create(disk_of("kernelspace"), [], False)
    ganeti.mappers.failing = "this node's kernel has no rbd driver"
    with pytest.raises(BlockDeviceError, match="no rbd driver"):
        made.Assemble()
    assert images == {}


def test_an_image_that_was_there_stays_when_it_cannot_be_mapped(
    there, ganeti, images, disk_of
):
    found = bdev.FindDevice(disk_of("kernelspace"), [])
    ganeti.mappers.failing = "this node's kernel has no rbd driver"
    with pytest.raises(BlockDeviceError, match="no rbd driver"):
        found.Assemble()
    assert images == {NAME: there}


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


@pytest.mark.parametrize(
    ("dry_run", "backing", "told"),
    [(False, True, [(VOLUME, 12 * MIB)]), (True, True, []), (False, False, [])],
)
def test_the_block_device_learns_its_new_size(mapped, ganeti, dry_run, backing, told):
    mapped.Grow(4, dry_run, backing, False)
    assert ganeti.mappers.sizes == told


def test_there_is_no_block_device_to_learn_it_in_userspace_access(found, ganeti):
    found.Grow(4, False, True, False)
    assert ganeti.mappers.sizes == []


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


def test_a_mapped_disk_is_unmapped_before_it_is_removed(mapped, images, ganeti):
    mapped.Remove()
    assert ganeti.mappers.devices == images == {}


@pytest.mark.parametrize(("grace", "trash"), [("0", {}), ("60", {"vms": {NAME: 60}})])
def test_the_trash_keeps_the_image_for_the_grace(there, disk_of, ganeti, grace, trash):
    bdev.FindDevice(disk_of(**{"trash-grace": grace}), []).Remove()
    kept = {
        pool: {one.name: one.until - one.removed for one in trashed.values()}
        for pool, trashed in ganeti.storage.trash.items()
    }
    assert kept == trash


def test_a_disk_with_a_snapshot_is_not_removed(found, images):
    images[NAME].snapshots = [FakeSnapshot("monday")]
    with pytest.raises(BlockDeviceError, match="has the snapshots monday"):
        found.Remove()
    assert NAME in images


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


def test_a_disk_is_shut_down_while_the_cluster_does_not_answer(mapped, ganeti):
    ganeti.storage.reachable = False
    mapped.Shutdown()
    assert ganeti.mappers.devices == {}


@pytest.mark.parametrize("name", ["Open", "Close", "Shutdown"])
def test_nothing_is_asked_for_what_is_qemus(found, ganeti, name):
    before = ganeti.storage.connections
    ganeti.storage.reachable = False
    assert getattr(found, name)() is None
    assert ganeti.storage.connections == before


def test_what_a_broken_migration_left_mapped_is_unmapped(mapped, ganeti):
    mapped.Close()
    assert ganeti.mappers.devices == {}
    assert mapped.dev_path is None


def test_what_is_in_use_stays_mapped(mapped, ganeti):
    ganeti.mappers.failing = "/dev/null is in use: mounted at /mnt"
    mapped.Close()
    assert mapped.dev_path == "/dev/null"
    assert ganeti.mappers.devices == {VOLUME: "/dev/null"}


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
    assert ganeti.mappers.asked == []


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
def test_the_pipes_run_our_program_with_the_image_s_uri(ganeti, disk_of, method, word):
    ganeti.storage.images["vms/blue"] = {NAME: FakeImage(8 * MIB)}
    found = bdev.FindDevice(disk_of(namespace="blue", **{"user-id": "joe"}), [])
    command = getattr(found, method)()
    assert command[0] == sys.executable
    uri = f"rbd:vms/blue/{NAME}:id=joe"
    assert command[1:] == ["-m", "ganeti_ceph.disk.copy", word, uri]


@pytest.mark.parametrize("method", ["Import", "Export"])
def test_a_missing_image_is_not_copied(missing, method):
    with pytest.raises(BlockDeviceError, match="no image"):
        getattr(missing, method)()

"""A running guest learns of its grown disk, and one that does not hear is told of."""

import types

import fakes
import pytest
from ganeti import constants
from ganeti.cmdlib import common
from ganeti.hypervisor import hv_kvm
from monitors import Old, Qemu

from ganeti_ceph.disk import resize

MIB = 2**20


class Growing:
    """Ganeti's job that grows a disk; it keeps what it asks nodes and warns of."""

    def __init__(self, disk, hypervisor=constants.HT_KVM, error=None):
        self.instance = types.SimpleNamespace(
            primary_node="node1", hypervisor=hypervisor, name="web"
        )
        self.disk = disk
        self.op = types.SimpleNamespace(disk=3)
        self.rpc = self
        self.asked = []
        self.warnings = []
        self._error = error

    def call_hotplug_device(self, *arguments):
        self.asked.append(arguments)
        return types.SimpleNamespace(fail_msg=self._error)

    def LogWarning(self, text, *arguments):
        self.warnings.append(text % arguments)

    def run(self):
        def stock(feedback_fn):
            assert self.asked == [], "the guest was told before its disk had grown"
            return "as Ganeti says"

        return resize.grow_disk(stock, self, (print,), {})


@pytest.fixture
def running(monkeypatch):
    """Say whether the guest runs."""

    def running(runs):
        monkeypatch.setattr(
            common, "IsInstanceRunning", lambda unit, guest, prereq: runs
        )

    running(True)
    return running


def test_a_running_guest_is_told_after_its_disk_has_grown(running, disk):
    unit = Growing(disk)
    assert unit.run() == "as Ganeti says"
    (asked,) = unit.asked
    assert asked == (
        "node1",
        unit.instance,
        constants.HOTPLUG_ACTION_MODIFY,
        constants.HOTPLUG_TARGET_DISK,
        (disk, unit.instance),
        None,
        3,
    )
    assert unit.warnings == []


@pytest.mark.parametrize("access", ["userspace", "kernelspace"])
def test_the_access_mode_does_not_matter(running, disk_of, access):
    unit = Growing(disk_of(access))
    unit.run()
    assert len(unit.asked) == 1


def test_a_guest_that_is_stopped_is_not_told(running, disk):
    running(False)
    unit = Growing(disk)
    assert unit.run() == "as Ganeti says"
    assert unit.asked == []


def test_guests_of_other_hypervisors_are_not_told(running, disk):
    unit = Growing(disk, constants.HT_XEN_HVM)
    unit.run()
    assert unit.asked == []


def test_guests_are_not_told_of_other_disks(running, disk_of):
    unit = Growing(disk_of(None, constants.DT_PLAIN))
    unit.run()
    assert unit.asked == []


def test_a_guest_that_does_not_hear_is_a_warning_with_a_remedy(running, disk):
    unit = Growing(disk, error="no monitor")
    assert unit.run() == "as Ganeti says"
    (warning,) = unit.warnings
    assert "no monitor" in warning
    assert "stopped and started" in warning


# On the node


class Hypervisor:
    """Ganeti's KVM hypervisor, and what it started the guest with."""

    def __init__(self, qemu, disks=()):
        self.qmp = Old(qemu)
        self.disks = disks

    def _LoadKVMRuntime(self, guest):
        return [[], [], {}, [(disk, "link", "uri") for disk in self.disks]]


GUEST = types.SimpleNamespace(name="web")


@pytest.fixture
def qemu(monkeypatch):
    monkeypatch.setattr(
        hv_kvm, "_GenerateDeviceKVMId", lambda kind, disk: f"{kind}-0", raising=False
    )
    return Qemu()


@pytest.fixture
def modify(qemu):
    def modify(disk, kind=constants.HOTPLUG_TARGET_DISK, plugged=()):
        hypervisor = Hypervisor(qemu, plugged)
        arguments = (GUEST, kind, disk, None, 3)
        return resize.modify_device(lambda *_: "Ganeti's", hypervisor, arguments, {})

    return modify


@pytest.fixture
def resized():
    """Resize a disk in Ganeti 3.1's way; return what Ganeti is called with."""

    def resized(disk, size, plugged):
        called = []
        arguments = (GUEST, disk, size)
        hypervisor = Hypervisor(None, plugged)
        resize.resize_disk(lambda *one: called.append(one), hypervisor, arguments, {})
        return called

    return resized


@pytest.mark.parametrize(("image_size", "told"), [(4, 8), (8, 8), (9, 9)])
def test_qemu_is_told_the_new_size_in_bytes_and_cuts_nothing(
    modify, qemu, disk, images, image_size, told
):
    images["web.rbd.disk0"] = fakes.FakeImage(image_size * MIB)
    disk.uuid = "a uuid"
    assert modify(disk, plugged=[disk]) is None
    assert qemu.asked == [("block_resize", {"device": "disk-0", "size": told * MIB})]


def test_an_image_that_is_mapped_is_not_asked(modify, qemu, disk_of, storage):
    disk = disk_of("kernelspace")
    disk.uuid = "a uuid"
    modify(disk, plugged=[disk])
    assert qemu.asked == [("block_resize", {"device": "disk-0", "size": 8 * MIB})]
    assert storage.connections == 0


@pytest.mark.parametrize(("image_size", "told"), [(8, 10), (11, 11)])
def test_ganeti_is_told_what_cuts_nothing(
    resized, disk, disk_of, images, image_size, told
):
    images["web.rbd.disk0"] = fakes.FakeImage(image_size * MIB)
    disk.uuid = "a uuid"
    # The job sends a disk without what is the group's.
    sent = disk_of()
    sent.params = {}
    sent.uuid = "a uuid"
    assert resized(sent, 10 * MIB, [disk]) == [(GUEST, sent, told * MIB)]


def test_the_size_of_other_disks_is_ganetis(resized, disk_of):
    disk = disk_of(None, constants.DT_PLAIN)
    assert resized(disk, 10, [disk]) == [(GUEST, disk, 10)]


def test_other_disks_are_ganetis(modify, qemu, disk_of):
    assert modify(disk_of(None, constants.DT_PLAIN)) == "Ganeti's"
    assert qemu.asked == []


def test_other_devices_are_ganetis(modify, qemu):
    assert modify(types.SimpleNamespace(), constants.HOTPLUG_TARGET_NIC) == "Ganeti's"
    assert qemu.asked == []

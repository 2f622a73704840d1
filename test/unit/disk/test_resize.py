"""A running guest learns of its grown disk, and one that does not hear is told of."""

import types

import pytest
from ganeti import constants
from ganeti.cmdlib import common
from ganeti.hypervisor import hv_kvm

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


class Monitor:
    """QEMU's monitor; it keeps what it is asked."""

    asked = []

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def Execute(self, *command):
        self.asked.append((self.path, *command))


class Hypervisor:
    """Ganeti's KVM hypervisor, of which only the monitor's path is asked."""

    def _InstanceQmpMonitor(self, name):
        return f"/run/{name}.qmp"


@pytest.fixture
def modify(monkeypatch):
    monkeypatch.setattr(hv_kvm, "QmpConnection", Monitor)
    monkeypatch.setattr(Monitor, "asked", [])
    monkeypatch.setattr(
        hv_kvm, "_GenerateDeviceKVMId", lambda kind, disk: f"{kind}-0", raising=False
    )
    guest = types.SimpleNamespace(name="web")

    def modify(disk, kind=constants.HOTPLUG_TARGET_DISK):
        return resize.modify_device(
            lambda *_: "Ganeti's", Hypervisor(), (guest, kind, disk, None, 3), {}
        )

    return modify


def test_qemu_is_told_the_new_size_in_bytes(modify, disk):
    assert modify(disk) is None
    (asked,) = Monitor.asked
    assert asked == (
        "/run/web.qmp",
        "block_resize",
        {"device": "disk-0", "size": 8 * MIB},
    )


def test_other_disks_are_ganetis(modify, disk_of):
    assert modify(disk_of(None, constants.DT_PLAIN)) == "Ganeti's"
    assert Monitor.asked == []


def test_other_devices_are_ganetis(modify):
    assert modify(types.SimpleNamespace(), constants.HOTPLUG_TARGET_NIC) == "Ganeti's"
    assert Monitor.asked == []

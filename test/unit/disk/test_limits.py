"""I/O limits: set before the guest runs, changed while it does, and written down."""

import types

import fakes
import pytest
from ganeti import constants, errors, hypervisor, objects
from monitors import New, Old, Qemu

from ganeti_ceph import rpc
from ganeti_ceph.disk import device, limits, mappers
from ganeti_ceph.disk.limits import Limits
from ganeti_ceph.disk.monitor import Monitor
from ganeti_ceph.errors import ExecError
from ganeti_ceph.rpc import LimitDisk, Reply

MIB = 2**20


@pytest.fixture
def qemu():
    """A QEMU with two disks: one of Ganeti 3.0's kind, one of 3.1's."""
    qemu = Qemu()
    qemu.blocks = [
        {"device": "floppy0"},
        {"device": "disk-0", "qdev": "/machine/disk-0", "inserted": {}},
        {"device": "", "qdev": "/machine/1", "inserted": {"node-name": "disk-1"}},
    ]
    return qemu


@pytest.fixture(params=[Old, New])
def connection(request, qemu):
    return request.param(qemu)


def throttles(qemu):
    """Return what QEMU was told: device, requests and bytes per second."""
    told = [given for command, given in qemu.asked if command == THROTTLE]
    for one in told:
        rest = (one["bps_rd"], one["bps_wr"], one["iops_rd"], one["iops_wr"])
        assert rest == (0, 0, 0, 0), "QEMU takes either sort, and all have to be given"
    return [(one["id"], one["iops"], one["bps"]) for one in told]


THROTTLE = "block_set_io_throttle"


def test_limits_are_read_from_a_disks_parameters(disk_of):
    assert limits.of(disk_of()) == Limits(0, 0)
    assert limits.of(disk_of(iops="500", bandwidth="2M")) == Limits(500, 2 * MIB)


@pytest.mark.parametrize(
    ("name", "device"), [("disk-0", "/machine/disk-0"), ("disk-1", "/machine/1")]
)
def test_the_guests_device_is_found(connection, qemu, name, device):
    limits.apply(Monitor(connection), name, Limits(500, MIB))
    assert throttles(qemu) == [(device, 500, MIB)]


def test_no_limit_takes_former_ones_away(connection, qemu):
    limits.apply(Monitor(connection), "disk-0", Limits())
    assert throttles(qemu) == [("/machine/disk-0", 0, 0)]


def test_more_than_qemu_takes_is_no_failure(connection, qemu):
    limits.apply(Monitor(connection), "disk-0", Limits(10**16, 10**17))
    assert throttles(qemu) == [("/machine/disk-0", 10**15, 10**15)]


def test_a_disk_that_qemu_does_not_have_is_an_error(connection):
    with pytest.raises(errors.HypervisorError, match="no disk disk-2"):
        limits.apply(Monitor(connection), "disk-2", Limits(1))


# At the start


class Kvm:
    """Ganeti's KVM hypervisor, with what an instance was started with."""

    def __init__(self, connection, disks):
        self.qmp = connection
        self.disks = disks
        self.uri = "rbd:vms/web"
        self.alive = True
        self.saved = []
        self.stopped = []

    def _InstancePidAlive(self, name):
        return ("/run/pid", 4711, self.alive)

    def _LoadKVMRuntime(self, guest):
        return [["qemu"], [], {}, [(disk, "link", self.uri) for disk in self.disks]]

    def _SaveKVMRuntime(self, guest, runtime):
        self.saved.append(
            (guest.name, [dict(disk.params) for disk, _, _ in runtime[3]])
        )

    def StopInstance(self, guest, force=False):
        self.stopped.append((guest.name, force))


def plugged(disk, name):
    disk.hvinfo = {"id": name}
    disk.uuid = f"uuid of {name}"
    return disk


@pytest.fixture
def two(disk_of):
    """A disk with limits and one without."""
    return [plugged(disk_of(iops="500"), "disk-0"), plugged(disk_of(), "disk-1")]


@pytest.fixture(autouse=True, name="mapped")
def _mapped(monkeypatch):
    """What is mapped on the node."""
    fake = fakes.FakeMappers()
    fake.replace(mappers, monkeypatch.setattr)
    return fake


GUEST = types.SimpleNamespace(name="web")


def start(kvm, command=(), **rest):
    """Start a guest; return the command line that Ganeti has when it does."""
    began = []

    def stock(guest, runtime, kvmhelp, **_):
        began.append(list(runtime[0]))
        return "as Ganeti says"

    runtime = [["qemu", *command], [], {}, kvm._LoadKVMRuntime(GUEST)[3]]
    assert limits.start(stock, kvm, (GUEST, runtime, "help"), rest) == "as Ganeti says"
    return began[0]


def test_limits_are_set_before_the_guest_runs(connection, qemu, two):
    assert start(Kvm(connection, two)) == ["qemu", "-S"]
    assert throttles(qemu) == [("/machine/disk-0", 500, 0)]
    assert qemu.commands()[-2:] == [THROTTLE, "cont"]


def test_a_guest_that_shall_wait_is_not_let_go(connection, qemu, two):
    assert start(Kvm(connection, two), ["-S"]) == ["qemu", "-S"]
    assert throttles(qemu) == [("/machine/disk-0", 500, 0)]
    assert "cont" not in qemu.commands()


def test_a_guest_from_another_node_is_not_let_go(connection, qemu, two):
    command = start(Kvm(connection, two), incoming=("192.0.2.1", 8102))
    assert command == ["qemu"]
    assert throttles(qemu) == [("/machine/disk-0", 500, 0)]
    assert "cont" not in qemu.commands()


def test_a_guest_without_limits_is_ganetis(connection, qemu, two):
    assert start(Kvm(connection, two[1:])) == ["qemu"]
    assert qemu.asked == []


def test_other_disks_are_ganetis(connection, qemu, disk_of):
    disk = plugged(disk_of(None, constants.DT_PLAIN, iops="500"), "disk-0")
    assert start(Kvm(connection, [disk])) == ["qemu"]
    assert qemu.asked == []


def test_a_guest_is_not_left_behind_without_its_limits(connection, qemu, two):
    kvm = Kvm(connection, two)
    qemu.blocks = []
    with pytest.raises(errors.HypervisorError, match="no disk disk-0"):
        start(kvm)
    assert kvm.stopped == [("web", True)]


def test_an_image_that_qemu_opens_is_not_mapped_any_more(connection, qemu, two, mapped):
    volume = device.volume_of(two[0])
    mapped.devices[volume] = "/dev/null"
    start(Kvm(connection, two))
    assert mapped.devices == {}


def test_a_guest_does_not_start_beside_a_block_device_in_use(
    connection, qemu, two, mapped
):
    mapped.failing = "/dev/null is mounted on /mnt"
    with pytest.raises(errors.HypervisorError) as caught:
        start(Kvm(connection, two))
    assert str(caught.value) == (
        "web cannot start while disk/0 has a block device: /dev/null is mounted on /mnt"
    )


def test_one_that_qemu_gets_as_a_block_device_stays_mapped(
    connection, qemu, two, mapped
):
    mapped.devices[device.volume_of(two[0])] = "/dev/null"
    kvm = Kvm(connection, two)
    kvm.uri = None
    start(kvm)
    assert list(mapped.devices.values()) == ["/dev/null"]


# While it runs


@pytest.fixture
def kvm(connection, two, monkeypatch):
    kvm = Kvm(connection, two)
    monkeypatch.setattr(hypervisor, "GetHypervisor", lambda kind: kvm)
    return kvm


ASKED = LimitDisk("web", "uuid of disk-1", 70, MIB)


def test_a_running_guest_gets_new_limits_which_are_written_down(kvm, qemu):
    limits.change(ASKED)
    assert throttles(qemu) == [("/machine/1", 70, MIB)]
    ((name, params),) = kvm.saved
    assert name == "web"
    assert params[0]["iops"] == "500"
    assert (params[1]["iops"], params[1]["bandwidth"]) == ("70", str(MIB))


def test_a_stopped_guest_is_left_alone(kvm, qemu):
    kvm.alive = False
    limits.change(ASKED)
    assert (qemu.asked, kvm.saved) == ([], [])


def test_a_disk_that_was_not_plugged_in_is_left_alone(kvm, qemu):
    limits.change(LimitDisk("web", "another", 70, 0))
    assert (qemu.asked, kvm.saved) == ([], [])


def test_what_qemu_refuses_is_told_and_not_written_down(kvm, qemu):
    qemu.blocks = []
    with pytest.raises(ExecError, match="no disk disk-1"):
        limits.change(ASKED)
    assert kvm.saved == []


# In the job


class Job:
    """Ganeti's job that changes an instance."""

    def __init__(self):
        self.rpc = "Ganeti's RPC runner"
        self.cfg = self
        self.warnings = []

    def GetInstanceDiskParams(self, guest):
        return {constants.DT_RBD: {"iops": "100", "bandwidth": "3M", "pool": "rbd"}}

    def LogWarning(self, text, *arguments):
        self.warnings.append(text % arguments)


@pytest.fixture
def calls(monkeypatch):
    calls = types.SimpleNamespace(made=[], error=None)

    def call(runner, call, arguments):
        calls.made.append((runner, call, arguments))
        return {node: Reply(None, calls.error) for node in arguments}

    monkeypatch.setattr(rpc, "call", call)
    return calls


def web(kind=constants.HT_KVM):
    return objects.Instance(name="web", primary_node="node1", hypervisor=kind)


def test_the_node_is_told_the_limits_with_the_groups_defaults(calls, disk_of):
    disk = plugged(disk_of(iops="500"), "disk-0")
    job = Job()
    limits.change_limits(job, web(), disk, 0)
    (made,) = calls.made
    assert made == (
        job.rpc,
        rpc.LIMIT,
        {
            "node1": {
                "instance": "web",
                "disk": "uuid of disk-0",
                "iops": 500,
                "bandwidth": 3 * MIB,
            }
        },
    )
    assert job.warnings == []


def test_a_guest_that_does_not_feel_them_is_a_warning(calls, disk_of):
    calls.error = "no monitor"
    job = Job()
    limits.change_limits(job, web(), plugged(disk_of(), "disk-0"), 3)
    (warning,) = job.warnings
    assert "disk/3" in warning
    assert "stopped and started: no monitor" in warning


def test_other_hypervisors_know_no_limits(calls, disk_of):
    limits.change_limits(Job(), web(constants.HT_XEN_PVM), disk_of(), 0)
    assert calls.made == []

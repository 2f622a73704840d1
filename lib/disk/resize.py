"""A running guest learns of its grown disk.

Ganeti 3.0 leaves that out: there the job's half asks the node daemon, with the call
that changes a plugged device, and the node daemon's half asks QEMU.  QEMU does what it
is told, so an image that is larger than Ganeti knows would lose what is beyond.
"""

from collections.abc import Callable
from typing import Any

from ganeti import constants

from ganeti_ceph.disk import device, image, monitor


def grow_disk(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Grow the disk, then tell the guest; a guest that does not hear is a warning."""
    from ganeti.cmdlib.common import IsInstanceRunning

    unit = instance
    result = wrapped(*args, **kwargs)
    guest, disk = unit.instance, unit.disk
    if (
        disk.dev_type == constants.DT_RBD
        and guest.hypervisor == constants.HT_KVM
        and IsInstanceRunning(unit, guest, prereq=False)
    ):
        told = unit.rpc.call_hotplug_device(
            guest.primary_node,
            guest,
            constants.HOTPLUG_ACTION_MODIFY,
            constants.HOTPLUG_TARGET_DISK,
            (disk, guest),
            None,
            unit.op.disk,
        )
        if told.fail_msg:
            unit.LogWarning(
                "the disk has grown, but the running guest was not told (it sees the"
                " new size once it is stopped and started): %s",
                told.fail_msg,
            )
    return result


def modify_device(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Tell QEMU the size of a disk, which Ganeti 3.0 cannot modify at all otherwise."""
    hypervisor = instance
    guest, device_type, disk, _, _ = args
    if device_type != constants.HOTPLUG_TARGET_DISK or not device.is_rbd(disk):
        return wrapped(*args, **kwargs)
    from ganeti.hypervisor import hv_kvm

    name = hv_kvm._GenerateDeviceKVMId(device_type, disk)
    size = _never_less(hypervisor, guest, disk, disk.size * device.MEBIBYTE)
    monitor.of(hypervisor, guest.name).run("block_resize", device=name, size=size)
    return None


def resize_disk(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Tell QEMU the size of a disk in Ganeti 3.1's way."""
    guest, disk, size = args
    if device.is_rbd(disk):
        size = _never_less(instance, guest, disk, size)
    return wrapped(guest, disk, size)


def _never_less(hypervisor: Any, guest: Any, disk: Any, size: int) -> int:
    """Return the size that QEMU shall give a disk's image: not less than it has."""
    # What the job sends may lack the disk's parameters; the runtime has them.
    for plugged, _, _ in hypervisor._LoadKVMRuntime(guest)[3]:
        if plugged.uuid == disk.uuid and device.is_userspace(plugged):
            return max(size, image.size(device.volume_of(plugged)) or 0)
    return size

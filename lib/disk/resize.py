"""A running guest learns of its grown disk: what Ganeti 3.0 leaves out.

The job's half asks the node daemon, with the call that changes a plugged device, and
the node daemon's half asks QEMU.
"""

from collections.abc import Callable
from typing import Any

from ganeti import constants


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
    """Tell QEMU the size of a disk, which Ganeti cannot modify at all otherwise."""
    hypervisor = instance
    guest, device_type, disk, _, _ = args
    if (
        device_type != constants.HOTPLUG_TARGET_DISK
        or disk.dev_type != constants.DT_RBD
    ):
        return wrapped(*args, **kwargs)
    from ganeti.hypervisor import hv_kvm

    name = hv_kvm._GenerateDeviceKVMId(device_type, disk)
    with hv_kvm.QmpConnection(hypervisor._InstanceQmpMonitor(guest.name)) as monitor:
        monitor.Execute("block_resize", {"device": name, "size": disk.size * 1024**2})
    return None

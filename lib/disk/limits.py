"""How much a guest may ask of a disk: set in QEMU, and changed while it runs.

QEMU gets the limits over its monitor, always: the options of its command line differ
between its releases, and none of them would be of use for a disk plugged in later.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from ganeti import constants, errors

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import device, mappers, monitor, options
from ganeti_ceph.disk.options import DiskOptions
from ganeti_ceph.errors import Error, ExecError
from ganeti_ceph.rpc import LimitDisk

#: The most that QEMU takes.
_MOST = 10**15


@dataclasses.dataclass(frozen=True)
class Limits:
    """Requests and bytes per second, reads and writes together; 0 is no limit."""

    iops: int = 0
    bandwidth: int = 0


def of(disk: Any) -> Limits:
    """Return the limits that a disk of Ganeti's has on a node."""
    return _limits(options.read(disk.params))


def apply(qemu: monitor.Monitor, name: str, limits: Limits) -> None:
    """Set a disk's limits, whatever they were; ``name`` is Ganeti's for QEMU.

    Raises Ganeti's ``HypervisorError``.
    """
    qemu.run(
        "block_set_io_throttle",
        id=_device(qemu, name),
        bps=min(limits.bandwidth, _MOST),
        bps_rd=0,
        bps_wr=0,
        iops=min(limits.iops, _MOST),
        iops_rd=0,
        iops_wr=0,
    )


def start(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Start QEMU, and set its disks' limits before the guest runs.

    The guest boots, or comes from another node, in which case it waits anyway.  It does
    not start while one of the images that QEMU opens is mapped here, too, and in use.
    """
    from ganeti.hypervisor import hv_kvm

    from ganeti_ceph.node import watch

    hypervisor = instance
    guest, runtime, _ = args
    watch.make_room(guest)
    command, disks = runtime[0], runtime[3]
    # Ganeti deactivates no disk before a reboot or after an export.
    for disk, _, opened_by_qemu in disks:
        if opened_by_qemu and device.is_rbd(disk):
            _unmap(guest, disk)
    limited = {
        disk.hvinfo["id"]: of(disk)
        for disk, _, _ in disks
        if device.is_rbd(disk) and of(disk) != Limits()
    }
    if not limited:
        return wrapped(*args, **kwargs)
    pause = hv_kvm._KVM_START_PAUSED_FLAG
    shall_run = pause not in command and not kwargs.get("incoming")
    if shall_run:
        # Ganeti lets go only what it has paused itself.
        command.append(pause)
    result = wrapped(*args, **kwargs)
    try:
        qemu = monitor.of(hypervisor, guest.name)
        for name, limits in limited.items():
            apply(qemu, name, limits)
        if shall_run:
            qemu.run("cont")
    except errors.HypervisorError:
        hypervisor.StopInstance(guest, force=True)
        raise
    return result


def _unmap(guest: Any, disk: Any) -> None:
    try:
        mappers.unmap(device.volume_of(disk))
    except Error as err:
        raise errors.HypervisorError(
            f"{guest.name} cannot start while {disk.iv_name} has a block device: {err}"
        ) from err


def change_limits(unit: Any, instance: Any, disk: Any, index: int) -> None:
    """Let a running guest feel a disk's new limits, which are in the configuration.

    A guest that does not is a warning of the job's.
    """
    if instance.hypervisor != constants.HT_KVM:
        return
    defaults = unit.cfg.GetInstanceDiskParams(instance)[constants.DT_RBD]
    limits = _limits(options.read({**defaults, **disk.params}))
    node = instance.primary_node
    sent = LimitDisk(instance.name, disk.uuid, limits.iops, limits.bandwidth)
    reply = rpc.call(unit.rpc, rpc.LIMIT, {node: wire.encode(sent)})[node]
    if reply.error is not None:
        unit.LogWarning(
            "the limits of disk/%d were written down, but a running guest does not feel"
            " them before it is stopped and started: %s",
            index,
            reply.error,
        )


def change(asked: LimitDisk) -> None:
    """Set a disk's limits where the instance runs and has the disk.

    They are written down with what the instance was started with, from where a
    migration and a reboot take them.  Raises :class:`ExecError`.
    """
    from ganeti import hypervisor, objects

    kvm = hypervisor.GetHypervisor(constants.HT_KVM)
    guest = objects.Instance(name=asked.instance)
    *_, is_alive = kvm._InstancePidAlive(asked.instance)
    if not is_alive:
        return
    try:
        runtime = kvm._LoadKVMRuntime(guest)
        for disk, _, _ in runtime[3]:
            if disk.uuid == asked.disk:
                qemu = monitor.of(kvm, asked.instance)
                apply(qemu, disk.hvinfo["id"], Limits(asked.iops, asked.bandwidth))
                _write_down(disk, asked)
                kvm._SaveKVMRuntime(guest, runtime)
    except errors.HypervisorError as err:
        raise ExecError(str(err)) from err


def _limits(read: DiskOptions) -> Limits:
    return Limits(read.iops, read.bandwidth)


def _write_down(disk: Any, asked: LimitDisk) -> None:
    disk.params.update(iops=str(asked.iops), bandwidth=str(asked.bandwidth))


def _device(qemu: monitor.Monitor, name: str) -> str:
    """Return what QEMU calls the guest's device that a disk is behind."""
    for block in qemu.run("query-block"):
        inserted = block.get("inserted") or {}
        if name in (block["device"], inserted.get("node-name")) and "qdev" in block:
            return str(block["qdev"])
    raise errors.HypervisorError(f"QEMU has no disk {name} to set limits for")

"""Block devices of a stopped instance's disks, to mount and repair what is on them.

In userspace access nothing but ``gnt-instance activate-disks`` makes them.
"""

from collections.abc import Callable
from typing import Any

from ganeti import constants, errors

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import options, running
from ganeti_ceph.rpc import MapImages


def check(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Refuse it while the instance runs: QEMU has the images open."""
    from ganeti.cmdlib.common import IsInstanceRunning

    unit = instance
    result = wrapped(*args, **kwargs)
    unit.ceph_disks = _in_userspace(unit)
    if (
        _has_images(unit)
        and IsInstanceRunning(unit, unit.instance)
        and _are_open_in_qemu(unit)
    ):
        raise errors.OpPrereqError(
            f"{unit.instance.name} runs, and QEMU has its disks open; a block device"
            " would be a second way to the same images: stop the instance first",
            errors.ECODE_STATE,
        )
    return result


def execute(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> list[tuple[str, str, str]]:
    """Map the images, after Ganeti has activated the other disks."""
    unit = instance
    activated: list[tuple[str, str, str]] = wrapped(*args, **kwargs)
    asked = unit.ceph_disks
    if not asked:
        return activated
    node = unit.cfg.GetNodeInfo(unit.instance.primary_node)
    sent = wire.encode(MapImages(tuple(asked.values())))
    reply = rpc.call(unit.rpc, rpc.MAP, {node.uuid: sent})[node.uuid]
    if reply.answer is None:
        raise errors.OpExecError(f"{node.name}: {reply.error}")
    paths = dict(zip(asked, reply.answer.paths, strict=True))
    return [(name, disk, paths.get(disk, path)) for name, disk, path in activated]


def _has_images(unit: Any) -> bool:
    disks = unit.cfg.GetInstanceDisks(unit.instance.uuid)
    return any(disk.dev_type == constants.DT_RBD for disk in disks)


def _are_open_in_qemu(unit: Any) -> bool:
    """Tell whether a running instance has an image open itself."""
    found = running.ask(unit, unit.instance, unit.instance.primary_node)
    if not found:
        return bool(unit.ceph_disks)
    return any(
        running.access_now(access, facts) == constants.DISK_USERSPACE
        for _, access, facts in found
    )


def _in_userspace(unit: Any) -> dict[str, Any]:
    """Return volume and mapper of each disk in userspace access, by its name."""
    defaults = unit.cfg.GetInstanceDiskParams(unit.instance)
    found = {}
    for disk in unit.cfg.GetInstanceDisks(unit.instance.uuid):
        params = {**defaults.get(disk.dev_type, {}), **disk.params}
        userspace = params.get(constants.LDP_ACCESS) == constants.DISK_USERSPACE
        if disk.dev_type == constants.DT_RBD and userspace:
            read = options.read(params)
            volume = options.volume(disk.logical_id[1], read)
            found[disk.iv_name] = (volume, read.mapper)
    return found

"""An instance goes to another node: only if none of its disks stays behind in use."""

import inspect
from collections.abc import Callable
from typing import Any

from ganeti import constants, errors

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import options
from ganeti_ceph.errors import UsageError
from ganeti_ceph.facts import DiskFacts
from ganeti_ceph.rpc import LookAtDisks

_ACCESS = constants.LDP_ACCESS


def shut_down_disks(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Fail a failover while a node that answers still has a disk mapped.

    Ganeti ignores what the former node says, as it may be dead.  But if it lives, and
    a file system of the disk is mounted there, the instance would be a second writer.
    """
    asked = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    unit, guest = asked["lu"], asked["instance"]
    result = wrapped(*args, **kwargs)
    if not asked.get("ignore_primary"):
        return result
    found = _look(unit, guest, guest.primary_node)
    mapped = [name for name, _, facts in found if facts.device is not None]
    if mapped:
        unit.LogWarning(
            "%s stays in use on node %s: end what uses it there, or, if the node is to"
            " be left behind, power it off and mark it as offline",
            ", ".join(mapped),
            unit.cfg.GetNodeInfo(guest.primary_node).name,
        )
        return False
    return result


def check_access(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse to migrate an instance that runs with another access than configured.

    The target would make a block device that QEMU does not open, or lack one that it
    needs.
    """
    work = instance
    found = _look(work.lu, work.instance, work.source_node_uuid)
    for name, access, facts in found:
        if facts.userspace is None:
            continue
        runs = (
            constants.DISK_USERSPACE if facts.userspace else constants.DISK_KERNELSPACE
        )
        if runs != access:
            raise errors.OpExecError(
                f"{name} runs with access={runs}, while access={access} is configured,"
                " which counts from the next start on: restart the instance"
                f" ('gnt-instance reboot {work.instance.name}'), then it can migrate"
            )
    return wrapped(*args, **kwargs)


def _look(unit: Any, guest: Any, node: str) -> list[tuple[str, str, DiskFacts]]:
    """Return name, access and what its node knows of each rbd disk of an instance.

    Nothing of a node that is offline or does not answer.
    """
    if unit.cfg.GetNodeInfo(node).offline:
        return []
    defaults = unit.cfg.GetInstanceDiskParams(guest).get(constants.DT_RBD, {})
    disks = []
    for disk in unit.cfg.GetInstanceDisks(guest.uuid):
        if disk.dev_type != constants.DT_RBD:
            continue
        try:
            volume = options.image_of(disk, defaults)
        except UsageError:
            # It can neither be mapped nor opened.
            continue
        access = {**defaults, **disk.params}.get(_ACCESS, constants.DISK_KERNELSPACE)
        disks.append((disk.iv_name, access, disk.uuid, volume))
    if not disks:
        return []
    asked = LookAtDisks(guest.name, tuple((uuid, volume) for *_, uuid, volume in disks))
    reply = rpc.call(unit.rpc, rpc.DISKS, {node: wire.encode(asked)})[node]
    if reply.answer is None:
        return []
    return [
        (name, access, facts)
        for (name, access, *_), facts in zip(disks, reply.answer.disks, strict=True)
    ]

"""A reboot ends no guest that could not start again."""

from collections.abc import Callable, Iterable
from typing import Any

from ganeti import constants, errors

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import options
from ganeti_ceph.errors import UsageError
from ganeti_ceph.facts import DiskFacts
from ganeti_ceph.rpc import LookAtDisks


def check(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Refuse to reboot an instance while one of its images cannot be opened.

    Ganeti ends QEMU first, and starts it anew without a look at the disks, where it
    would wait for a silent storage cluster for five minutes.
    """
    result = wrapped(*args, **kwargs)
    unit = instance
    if why := _what_is_missing(unit, unit.instance):
        raise errors.OpPrereqError(
            f"{unit.instance.name} is left running, as it could not start again: {why}",
            errors.ECODE_ENVIRON,
        )
    return result


def _what_is_missing(unit: Any, guest: Any) -> str:
    """Say why images of an instance cannot be opened on its node; empty if they can."""
    defaults = unit.cfg.GetInstanceDiskParams(guest).get(constants.DT_RBD, {})
    disks = {
        disk.iv_name: disk
        for disk in unit.cfg.GetInstanceDisks(guest.uuid)
        if disk.dev_type == constants.DT_RBD
    }
    if not disks:
        return ""
    try:
        asked = tuple(
            (disk.uuid, options.image_of(disk, defaults)) for disk in disks.values()
        )
    except UsageError as err:
        return str(err)
    node = guest.primary_node
    sent = wire.encode(LookAtDisks(guest.name, asked))
    reply = rpc.call(unit.rpc, rpc.DISKS, {node: sent})[node]
    if reply.answer is None:
        return str(reply.error)
    volumes = [str(volume) for _, volume in asked]
    return missing(zip(disks, volumes, reply.answer.disks, strict=True))


def missing(found: Iterable[tuple[str, str, DiskFacts]]) -> str:
    """Say what is wrong with the images of disks: (disk, image, what is known of it).

    What is wrong with many, as a storage cluster that is silent, is said once.
    """
    wrong: dict[str, list[str]] = {}
    for disk, image, facts in found:
        if facts.image is None:
            why = facts.error or f"the storage cluster has no image {image}"
            wrong.setdefault(why, []).append(disk)
    return "; ".join(f"{', '.join(disks)}: {why}" for why, disks in wrong.items())

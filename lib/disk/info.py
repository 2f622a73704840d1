"""What ``gnt-instance info`` tells of rbd disks beyond what Ganeti knows."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from ganeti import constants, utils

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import options, running
from ganeti_ceph.errors import UsageError
from ganeti_ceph.facts import DiskFacts, ImageFacts
from ganeti_ceph.rpc import LookAtDisks

_ACCESS = constants.LDP_ACCESS

#: Where a disk's status carries what is shown, as (name, value) pairs.
_SHOWN = "ceph"


def add_image(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Add the access mode, and what the node knows of the image, to a disk's status."""
    unit = instance
    guest, _, _, disk = args
    status = wrapped(*args, **kwargs)
    if disk.dev_type not in constants.DTS_HAVE_ACCESS:
        return status
    access = disk.params.get(_ACCESS, constants.DISK_KERNELSPACE)
    shown: list[tuple[str, Any]] = [(_ACCESS, access)]
    if disk.dev_type == constants.DT_RBD:
        shown += _rbd_lines(unit, guest, disk, access)
    status[_SHOWN] = shown
    return status


def _rbd_lines(unit: Any, guest: Any, disk: Any, access: str) -> list[tuple[str, Any]]:
    try:
        volume = options.volume(disk.logical_id[1], options.read(disk.params))
    except UsageError as err:
        return [("image", f"unknown: {err}")]
    static: list[tuple[str, Any]] = [("image", str(volume))]
    if unit.op.static:
        return static
    facts = _ask(unit, guest).get(disk.uuid)
    if facts is None:
        return static
    if isinstance(facts, str):
        return [*static, ("image state", f"unknown: {facts}")]
    return [*running_lines(access, facts), *static, *image_lines(facts, _names(unit))]


def running_lines(access: str, facts: DiskFacts) -> list[tuple[str, Any]]:
    """Say which access a running instance has, where another one is configured."""
    now = running.access_now(access, facts)
    if now == access:
        return []
    return [("access now", f"{now}, until the instance is started anew")]


def image_lines(facts: DiskFacts, names: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Return what is shown of an image; ``names`` are those of nodes by address."""
    if facts.error is not None:
        return [("image state", f"unknown: {facts.error}")]
    if facts.image is None:
        return [("image state", "missing")]
    image: ImageFacts = facts.image
    if image.used is not None:
        used = _size(image.used)
    elif "fast-diff" in image.features:
        used = "unknown (invalid object map, see 'rbd object-map rebuild')"
    else:
        used = "unknown (no fast-diff)"
    watchers = [
        f"{names[one]} ({one})" if one in names else one for one in image.watchers
    ]
    lines: list[tuple[str, Any]] = [
        ("image state", f"{used} used of {_size(image.size)}"),
        ("image features", utils.CommaJoin(image.features)),
        ("image watchers", utils.CommaJoin(watchers) or "none"),
    ]
    if image.snapshots:
        lines.append(("image snapshots", utils.CommaJoin(image.snapshots)))
    return lines


def _names(unit: Any) -> dict[str, str]:
    return {
        address: node.name
        for node in unit.cfg.GetAllNodesInfo().values()
        for address in (node.primary_ip, node.secondary_ip)
    }


def _size(number: int) -> str:
    return str(utils.FormatUnit(number // 2**20, "h"))


def _ask(unit: Any, guest: Any) -> dict[str, DiskFacts | str]:
    """Ask the primary node of all disks of an instance, once for all of them."""
    known: dict[str, dict[str, DiskFacts | str]] = unit.__dict__.setdefault(
        "_ceph_disks", {}
    )
    if guest.uuid in known:
        return known[guest.uuid]
    node = unit.cfg.GetNodeInfo(guest.primary_node)
    if node.offline:
        known[guest.uuid] = {}
        return {}
    defaults = unit.cfg.GetInstanceDiskParams(guest)[constants.DT_RBD]
    asked = []
    for disk in unit.cfg.GetInstanceDisks(guest.uuid):
        if disk.dev_type != constants.DT_RBD:
            continue
        # Wrong parameters are told with the disk that has them.
        with contextlib.suppress(UsageError):
            asked.append((disk.uuid, options.image_of(disk, defaults)))
    sent = wire.encode(LookAtDisks(guest.name, tuple(asked)))
    reply = rpc.call(unit.rpc, rpc.DISKS, {node.uuid: sent})[node.uuid]
    if reply.answer is None:
        known[guest.uuid] = {uuid: str(reply.error) for uuid, _ in asked}
    else:
        known[guest.uuid] = {
            uuid: facts
            for (uuid, _), facts in zip(asked, reply.answer.disks, strict=True)
        }
    return known[guest.uuid]


def show_image(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Add to what the command prints of a disk."""
    _, _, disk, _ = args
    lines = wrapped(*args, **kwargs)
    shown = disk.get(_SHOWN)
    if shown is None:
        return lines
    device = disk["pstatus"] and disk["pstatus"][0]
    if not device:
        # Ganeti would print a path and a device number that do not exist.
        lines = [
            (name, "no block device") if name == "on primary" else (name, value)
            for name, value in lines
        ]
    # After the heading and the spindles, beside the mode.
    names = [name for name, _ in lines]
    place = names.index("access mode") + 1 if "access mode" in names else 1
    return [*lines[:place], *map(tuple, shown), *lines[place:]]

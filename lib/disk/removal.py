"""No image of an instance is removed while another is held; none loses its owner.

An instance goes with all of its images or stays with all, and a disk leaves Ganeti's
configuration together with its image only.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from ganeti import constants, errors, objects

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import options
from ganeti_ceph.errors import UsageError
from ganeti_ceph.rpc import ReleaseImages


def remove_instance(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Fail before the first image goes, while something holds another one.

    Ganeti removes one disk after the other, and an instance of which some failed stays
    without the others.  Where failures are to be ignored there is nothing to ask.
    """
    asked = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    unit, guest = asked["lu"], asked["instance"]
    if not asked["ignore_failures"]:
        why = held(unit, guest, unit.cfg.GetInstanceDisks(guest.uuid))
        if why:
            raise errors.OpExecError(
                f"Can't remove instance's disks, and none was removed: {'; '.join(why)}"
            )
    return wrapped(*args, **kwargs)


def check_disks(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse to modify an instance while something holds the image of a disk that goes.

    That is one that is removed or converted to another template.  Ganeti has made sure
    that the instance is stopped or takes disks out of the running QEMU (hotplug),
    which has the images open itself until then.
    """
    result = wrapped(*args, **kwargs)
    unit = instance
    if why := held(unit, unit.instance, _leaving(unit), bool(unit.op.hotplug)):
        raise errors.OpPrereqError(
            f"Can't remove instance's disks, and nothing was changed: {'; '.join(why)}",
            errors.ECODE_STATE,
        )
    return result


def remove_disks(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Fail before a disk leaves the configuration, if its image cannot be removed.

    Ganeti goes on with a warning, also where QEMU has not let the disk go.
    """
    asked = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    unit, guest = asked["lu"], asked["instance"]
    disks = [one for one in asked.get("disks") or () if _has_image(one)]
    if unit.op.disk_template or not disks:
        # A converted disk has left the configuration already.
        return wrapped(*args, **kwargs)
    why = held(unit, guest, disks)
    if not why and wrapped(*args, **kwargs):
        return True
    names = ", ".join(disk.iv_name for disk in disks)
    raise errors.OpExecError(
        f"{names} of {guest.name} stays in Ganeti's configuration, for its image is"
        f" left: {'; '.join(why) or 'see the warning'}; mend that, then remove the disk"
        " again"
    )


def _leaving(unit: Any) -> list[Any]:
    """Return the disks that a modification of an instance removes."""
    from ganeti.cmdlib.instance_utils import ApplyContainerMods

    disks = list(unit.cfg.GetInstanceDisks(unit.instance.uuid))
    if unit.op.disk_template:
        return disks
    gone: list[Any] = []

    def remove(_: int, disk: Any, __: Any) -> None:
        gone.append(disk)

    # As Ganeti will do it: each removal changes what the next number means.
    ApplyContainerMods(
        "disk", disks, None, unit.diskmod, None, None, None, remove, None
    )
    return gone


def _has_image(disk: Any) -> bool:
    # One that is only about to be made has none.
    return isinstance(disk, objects.Disk) and disk.dev_type == constants.DT_RBD


def held(
    unit: Any, guest: Any, disks: Iterable[Any], running: bool = False
) -> tuple[str, ...]:
    """Say what holds images of an instance's disks; nothing does if empty.

    While the instance is ``running`` its own QEMU does not count.  Those that are
    mapped on its node, and not in use there, are unmapped otherwise.
    """
    node = guest.primary_node
    if unit.cfg.GetNodeInfo(node).offline:
        # Ganeti cannot remove them there, and says so.
        return ()
    defaults = unit.cfg.GetInstanceDiskParams(guest).get(constants.DT_RBD, {})
    try:
        images = tuple(
            options.image_of(disk, defaults) for disk in disks if _has_image(disk)
        )
    except UsageError as err:
        return (str(err),)
    if not images:
        return ()
    sent = wire.encode(ReleaseImages(images, running))
    reply = rpc.call(unit.rpc, rpc.RELEASE, {node: sent})[node]
    return reply.answer.errors if reply.answer else (str(reply.error),)

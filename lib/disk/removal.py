"""No image of an instance is removed while something holds another one."""

import inspect
from collections.abc import Callable
from typing import Any

from ganeti import constants, errors

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
    if not asked["ignore_failures"] and (held := _held(asked["lu"], asked["instance"])):
        raise errors.OpExecError(
            f"Can't remove instance's disks, and none was removed: {'; '.join(held)}"
        )
    return wrapped(*args, **kwargs)


def _held(unit: Any, guest: Any) -> tuple[str, ...]:
    """Say what holds images of an instance's disks."""
    node = guest.primary_node
    if unit.cfg.GetNodeInfo(node).offline:
        # Ganeti cannot remove them there, and says so.
        return ()
    defaults = unit.cfg.GetInstanceDiskParams(guest).get(constants.DT_RBD, {})
    try:
        images = tuple(
            options.image_of(disk, defaults)
            for disk in unit.cfg.GetInstanceDisks(guest.uuid)
            if disk.dev_type == constants.DT_RBD
        )
    except UsageError as err:
        return (str(err),)
    if not images:
        return ()
    sent = wire.encode(ReleaseImages(images))
    reply = rpc.call(unit.rpc, rpc.RELEASE, {node: sent})[node]
    return reply.answer.errors if reply.answer else (str(reply.error),)

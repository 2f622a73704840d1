"""A stopped instance's disk moves to another pool, namespace or storage cluster.

First it is proved that the image could be removed, then it is copied, then Ganeti's
configuration is changed, then the former image is removed; so at each moment the
configuration names a whole image.
"""

from collections.abc import Mapping
from typing import Any

from ganeti import constants, errors

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import config, options, removal
from ganeti_ceph.errors import UsageError
from ganeti_ceph.rpc import CopyImage


def copy(unit: Any, disk: Any, changed: Mapping[str, str]) -> bool:
    """Copy a disk's image to where its new parameters say; tell if that is elsewhere.

    Raises Ganeti's ``OpExecError``; then nothing has changed.
    """
    guest = unit.instance
    defaults = unit.cfg.GetInstanceDiskParams(guest)[constants.DT_RBD]
    name = disk.logical_id[1]
    new = {**defaults, **disk.params, **changed}
    try:
        source = options.read({**defaults, **disk.params})
        target = options.read(new)
    except UsageError as err:
        raise errors.OpExecError(str(err)) from None
    stays = str(options.place(source)) == str(options.place(target)) and (
        source.conf == target.conf
    )
    if stays and source.data_pool != target.data_pool:
        raise errors.OpExecError(
            f"{disk.iv_name} can change its data pool only together with its pool or"
            " namespace, for two images of one name cannot be in one place"
        )
    if not stays and (why := removal.held(unit, guest, [disk])):
        # Two images of one disk would be left.
        raise errors.OpExecError(f"{disk.iv_name} stays where it is: {'; '.join(why)}")
    config.grant(unit, [options.kept(new, defaults)])
    if stays:
        # At the most, another user opens it from now on.
        return False
    unit.LogInfo(
        "Copying %s from %s to %s",
        disk.iv_name,
        options.volume(name, source),
        options.volume(name, target),
    )
    sent = CopyImage(
        options.volume(name, source), options.volume(name, target), target.data_pool
    )
    node = guest.primary_node
    reply = rpc.call(unit.rpc, rpc.COPY, {node: wire.encode(sent)})[node]
    if reply.error is not None:
        raise errors.OpExecError(f"{disk.iv_name} stays where it is: {reply.error}")
    return True


def remove(unit: Any, former: Any) -> None:
    """Remove the image that was copied; one that stays is a warning."""
    guest = unit.instance
    told = unit.rpc.call_blockdev_remove(guest.primary_node, (former, guest))
    if told.fail_msg:
        defaults = unit.cfg.GetInstanceDiskParams(guest)[constants.DT_RBD]
        unit.LogWarning(
            "%s has moved, but its former image is still there (%s); 'rbd rm %s'"
            " removes it",
            former.iv_name,
            told.fail_msg,
            options.image_of(former, defaults),
        )

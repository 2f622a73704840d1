"""An instance made of images that are there already (``--disk N:adopt=IMAGE``)."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from ganeti import constants, errors

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import config, options
from ganeti_ceph.disk.describe import CLUSTER, INSTANCE
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import UsageError
from ganeti_ceph.facts import DiskFacts
from ganeti_ceph.rpc import LookAtDisks, RenameImages

_MEBIBYTE = 2**20

_DATA_POOL = "data-pool"


def check(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Prove that an instance may be made of the images that its disks name."""
    unit = instance
    if unit.adopt_disks and unit.op.disk_template == constants.DT_RBD:
        prove(unit)
    return wrapped(*args, **kwargs)


def prove(unit: Any) -> None:
    """Prove that nobody uses the images, and find out how large they are."""
    if unit.op.pnode_uuid is None:
        # Ganeti refuses an allocator that is named, not one that is the default.
        raise errors.OpPrereqError(
            "name the primary node (-n) of an instance that adopts images: no instance"
            " allocator chooses it",
            errors.ECODE_INVAL,
        )
    node = unit.cfg.GetNodeInfo(unit.op.pnode_uuid)
    group = unit.cfg.GetNodeGroup(node.group)
    defaults = unit.cfg.GetGroupDiskParams(group)[constants.DT_RBD]
    volumes = [_volume(disk, defaults) for disk in unit.op.disks]
    _check_owners(unit, volumes)
    config.grant(unit, [options.kept(disk, defaults) for disk in unit.op.disks])
    asked = tuple((str(index), volume) for index, volume in enumerate(volumes))
    sent = wire.encode(LookAtDisks(unit.op.instance_name, asked))
    reply = rpc.call(unit.rpc, rpc.DISKS, {node.uuid: sent})[node.uuid]
    if reply.answer is None:
        raise _refusal(f"{node.name}: {reply.error}")
    ours = unit.cfg.GetClusterName()
    for disk, volume, facts in zip(
        unit.op.disks, volumes, reply.answer.disks, strict=True
    ):
        if why := unfit(facts, ours):
            raise _refusal(f"the image {volume} cannot be adopted: {why}")
        if facts.image is not None:
            disk[constants.IDISK_SIZE] = facts.image.size // _MEBIBYTE
            _take_data_pool(disk, defaults, volume, facts.image.data_pool)


def unfit(facts: DiskFacts, cluster: str) -> str:
    """Say why an image cannot become a disk of an instance of a cluster, or ''."""
    image = facts.image
    if facts.error is not None:
        return facts.error
    if image is None:
        return "there is no such image"
    # What maps it may be one of its watchers.
    if facts.device:
        return f"it is mapped to {facts.device}"
    if image.watchers:
        return f"it is in use at {', '.join(image.watchers)}"
    owner = dict(image.metadata)
    if owner.get(CLUSTER, cluster) != cluster:
        return (
            f"it is of the instance {owner.get(INSTANCE)} of the cluster"
            f" {owner[CLUSTER]}; if that is no more, 'rbd image-meta remove IMAGE"
            f" {CLUSTER}' says so"
        )
    if image.size == 0 or image.size % _MEBIBYTE:
        return (
            f"its size of {image.size} bytes is not in whole MiB, as Ganeti counts;"
            " resize it first ('rbd resize')"
        )
    return ""


def finish(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Name images as all instances' are, and write down with them whose they are."""
    unit = instance
    if not unit.adopt_disks or unit.op.disk_template != constants.DT_RBD:
        return wrapped(*args, **kwargs)
    renamed = _take_over(unit)
    try:
        result = wrapped(*args, **kwargs)
    except Exception:
        if unit.cfg.GetInstanceInfoByName(unit.op.instance_name) is None:
            _give_back(unit, renamed)
        raise
    guest = unit.cfg.GetInstanceInfoByName(unit.op.instance_name)
    describe_disks(unit, guest, unit.cfg.GetInstanceDisks(guest.uuid))
    return result


def _take_over(unit: Any) -> list[tuple[Volume, str]]:
    """Give the images names of Ganeti's form, as adopted logical volumes get them.

    By that form verify knows an image that lost its instance.
    """
    defaults = unit.cfg.GetGroupDiskParams(
        unit.cfg.GetNodeGroup(unit.cfg.GetNodeInfo(unit.op.pnode_uuid).group)
    )[constants.DT_RBD]
    wanted = []
    for index, disk in enumerate(unit.op.disks):
        unique = unit.cfg.GenerateUniqueID(unit.proc.GetECId())
        wanted.append((_volume(disk, defaults), f"{unique}.rbd.disk{index}"))
    # Before it is done: so the job's log tells it, whatever happens meanwhile.
    for volume, name in wanted:
        unit.LogInfo("The image %s becomes %s", volume, volume.place.volume(name))
    if error := _rename(unit, wanted):
        raise errors.OpExecError(f"no image was adopted: {error}")
    # What Ganeti has made of the opcode's disks by now, and makes its own of.
    for disk, (_, name) in zip(unit.disks, wanted, strict=True):
        disk[constants.IDISK_ADOPT] = name
    return wanted


def _give_back(unit: Any, renamed: list[tuple[Volume, str]]) -> None:
    back = [(volume.place.volume(name), volume.image) for volume, name in renamed]
    if error := _rename(unit, back):
        unit.LogWarning("The images keep their new names: %s", error)


def _rename(unit: Any, images: list[tuple[Volume, str]]) -> str | None:
    node = unit.op.pnode_uuid
    sent = wire.encode(RenameImages(tuple(images)))
    return rpc.call(unit.rpc, rpc.RENAME, {node: sent})[node].error


def describe_disks(unit: Any, guest: Any, disks: list[Any]) -> None:
    """Write down with the images of disks whose they are; a failure is a warning."""
    from ganeti.cmdlib.instance_utils import GetInstanceInfoText

    for disk in disks:
        told = unit.rpc.call_blockdev_setinfo(
            guest.primary_node, (disk, guest), GetInstanceInfoText(guest)
        )
        if told.fail_msg:
            unit.LogWarning(
                "the image of %s does not tell whose it is: %s",
                disk.iv_name,
                told.fail_msg,
            )


def renumber(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Write down with images the new numbers of disks, after one was removed."""
    unit = instance
    names = {
        disk.uuid: disk.iv_name
        for disk in unit.cfg.GetInstanceDisks(unit.instance.uuid)
    }
    result = wrapped(*args, **kwargs)
    guest = unit.cfg.GetInstanceInfo(unit.instance.uuid)
    moved = [
        disk
        for disk in unit.cfg.GetInstanceDisks(guest.uuid)
        if disk.dev_type == constants.DT_RBD
        and disk.uuid in names
        and names[disk.uuid] != disk.iv_name
    ]
    describe_disks(unit, guest, moved)
    return result


def _volume(disk: Mapping[str, Any], defaults: Mapping[str, Any]) -> Volume:
    try:
        read = options.read({**defaults, **options.given(disk)})
        return options.volume(disk[constants.IDISK_ADOPT], read)
    except UsageError as err:
        raise errors.OpPrereqError(str(err), errors.ECODE_INVAL) from None


def _take_data_pool(
    disk: dict[str, Any], defaults: Mapping[str, Any], volume: Volume, pool: str
) -> None:
    """Let a disk have the data pool of its image, whatever the default is.

    Our Ceph user may use that pool, too, before the disk is in the configuration: as
    with every new disk.
    """
    wanted = options.read({**defaults, **options.given(disk)}).data_pool
    if pool == wanted:
        return
    if _DATA_POOL in disk:
        raise _refusal(
            f"the image {volume} cannot be adopted: its data is in the pool"
            f" {pool or volume.pool}, not in {wanted or volume.pool}"
        )
    disk[_DATA_POOL] = pool or "none"
    try:
        options.check(options.given(disk))
    except UsageError as err:
        raise _refusal(f"the image {volume} cannot be adopted: {err}") from None


def _check_owners(unit: Any, volumes: list[Volume]) -> None:
    """Refuse images that are a disk's already, or named twice, also by another job.

    A disk that was detached is still an image's, and may be attached again.
    """
    guests = {
        uuid: guest
        for guest in unit.cfg.GetAllInstancesInfo().values()
        for uuid in guest.disks
    }
    cluster = unit.cfg.GetClusterInfo().diskparams.get(constants.DT_RBD, {})
    taken = {}
    for uuid, disk in unit.cfg.GetAllDisksInfo().items():
        if disk.dev_type != constants.DT_RBD:
            continue
        guest = guests.get(uuid)
        defaults = (
            unit.cfg.GetInstanceDiskParams(guest)[constants.DT_RBD]
            if guest is not None
            else cluster
        )
        try:
            volume = options.image_of(disk, defaults)
        except UsageError:
            # It has no image that could be opened; verify complains.
            continue
        taken[(volume.conf, str(volume))] = (
            f"{disk.iv_name} of {guest.name}"
            if guest is not None
            else f"the disk {uuid}, which is detached and may be attached again"
        )
    for index, volume in enumerate(volumes):
        key = (volume.conf, str(volume))
        if key in taken:
            raise _refusal(f"the image {volume} cannot be adopted: it is {taken[key]}")
        taken[key] = f"named for disk {index}, too"
    for volume in volumes:
        try:
            unit.cfg.ReserveLV(reservation(volume), unit.proc.GetECId())
        except errors.ReservationError:
            raise _refusal(
                f"the image {volume} cannot be adopted: another job is about to"
            ) from None


def reservation(volume: Volume) -> str:
    """Return what stands for an image where Ganeti keeps volumes for running jobs.

    It takes names such as those of logical volumes only.
    """
    name = f"{volume.conf}:{volume}".encode()
    return f"ceph/{hashlib.sha256(name).hexdigest()}"


def _refusal(message: str) -> Exception:
    refusal: Exception = errors.OpPrereqError(message, errors.ECODE_STATE)
    return refusal

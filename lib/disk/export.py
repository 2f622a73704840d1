"""Exports are made of snapshots, keep where a disk was, and arrive.

They arrive also where Ganeti 3.1 refuses its own key.
"""

import configparser
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganeti import constants, errors

from ganeti_ceph import rpc, wire
from ganeti_ceph.disk import adopt, options
from ganeti_ceph.rpc import CloneImages

_GRACE = "trash-grace"

#: What is kept of a disk beside our own parameters; its image where it has no data.
_FURTHER = (constants.IDISK_ACCESS, constants.IDISK_ADOPT)


def create_snapshots(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Export clones of an instance's rbd disks, so that the instance runs meanwhile.

    Ganeti takes what it makes of other disks' snapshots for logical volumes, so all of
    it is done here.  Disks of other templates beside them cannot be snapshotted.
    """
    helper = instance
    unit, guest = helper._lu, helper._instance
    disks = unit.cfg.GetInstanceDisks(guest.uuid)
    if not disks or any(disk.dev_type != constants.DT_RBD for disk in disks):
        return wrapped(*args, **kwargs)
    node = guest.primary_node
    helper._feedback_fn(
        f"Creating snapshots of all disks on node {unit.cfg.GetNodeName(node)}"
    )
    defaults = unit.cfg.GetInstanceDiskParams(guest)[constants.DT_RBD]
    context = unit.proc.GetECId()
    names = [
        f"{unit.cfg.GenerateUniqueID(context)}.rbd.disk{index}"
        for index in range(len(disks))
    ]
    sent = CloneImages(
        guest.name,
        tuple(
            (disk.uuid, options.image_of(disk, defaults), name)
            for disk, name in zip(disks, names, strict=True)
        ),
    )
    reply = rpc.call(unit.rpc, rpc.CLONE, {node: wire.encode(sent)})[node]
    if reply.answer is None:
        unit.LogWarning("Could not snapshot the disks: %s", reply.error)
        return False
    for told in reply.answer.errors:
        unit.LogWarning("%s", told)
    helper._snapshots = [_clone(unit, *one) for one in zip(disks, names, strict=True)]
    return True


def _clone(unit: Any, disk: Any, name: str) -> Any:
    """Return what Ganeti knows of a disk for the clone of its image."""
    from ganeti import objects

    made = objects.Disk(
        dev_type=constants.DT_RBD,
        size=disk.size,
        logical_id=(disk.logical_id[0], name),
        iv_name=disk.iv_name,
        params=dict(disk.params),
    )
    made.uuid = unit.cfg.GenerateUniqueID(unit.proc.GetECId())
    return made


def remove_snapshot(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Remove an exported clone at once, whatever grace its disk has in the trash."""
    helper = instance
    (index,) = args
    snapshot = helper._snapshots[index]
    if snapshot is None or snapshot.dev_type != constants.DT_RBD:
        return wrapped(*args, **kwargs)
    # The export keeps the disk's own.
    params = snapshot.params
    snapshot.params = {**params, _GRACE: "0"}
    try:
        return wrapped(*args, **kwargs)
    finally:
        snapshot.params = params


def _name(index: int, option: str) -> str:
    """Return the name under which an export's ``config.ini`` has a disk's parameter."""
    return f"disk{index}_rbd_{option}"


def finalize(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Write the parameters of rbd disks into an export's ``config.ini``.

    Of an export without data (:mod:`ganeti_ceph.jobs.export`) also the images to adopt.
    """
    from ganeti import pathutils, utils

    guest, disks = args
    if any(disk and constants.IDISK_ADOPT in disk.params for disk in disks):
        _refuse_data(guest.name)
        # Otherwise the first disk's data would have made it.
        unfinished = utils.PathJoin(pathutils.EXPORT_DIR, f"{guest.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        Path(unfinished).mkdir(0o750, parents=True)
    result = wrapped(*args, **kwargs)
    path = utils.PathJoin(pathutils.EXPORT_DIR, guest.name, constants.EXPORT_CONF_FILE)
    # Snapshots and disks that could not be exported stand here as False.
    found = [
        (index, disk)
        for index, disk in enumerate(disks)
        if disk and disk.dev_type == constants.DT_RBD
    ]
    if not found:
        return result
    config = configparser.ConfigParser(interpolation=None)
    # Ganeti's own reader tells upper from lower case no more than this one.
    config.read_string(utils.ReadFile(path))
    for index, disk in found:
        kept = options.given(disk.params)
        kept |= {name: disk.params[name] for name in _FURTHER if name in disk.params}
        for option, value in kept.items():
            config.set(constants.INISECT_INS, _name(index, option), value)
        if constants.IDISK_ADOPT in kept:
            config.remove_option(constants.INISECT_INS, f"disk{index}_dump")
    with open(path, "w", encoding="utf-8") as file:
        config.write(file)
    return result


def _refuse_data(name: str) -> None:
    """Fail where an export with its data would be replaced by one without."""
    from ganeti import backend, pathutils, utils

    path = Path(utils.PathJoin(pathutils.EXPORT_DIR, name, constants.EXPORT_CONF_FILE))
    config = configparser.ConfigParser(interpolation=None)
    config.read(path)
    if config.has_section(constants.INISECT_INS) and any(
        option.endswith("_dump") for option in config[constants.INISECT_INS]
    ):
        raise backend.RPCFail(
            f"there is an export of {name} with its data, which this one would replace:"
            f" name another node, or remove that one first ('gnt-backup remove {name}')"
        )


def read_params(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Give the disks of an import the parameters that they had.

    If their data was not exported, their images become those of the new instance.
    """
    unit = instance
    (config,) = args
    given = bool(unit.op.disks)
    # The reader's get() takes the text "none" for no value at all.
    texts = dict(config.items(constants.INISECT_INS, raw=True))
    without_data = any(
        _name(index, constants.IDISK_ADOPT) in texts
        for index in range(constants.MAX_DISKS)
    )
    if without_data and (given or unit.op.disk_template != constants.DT_RBD):
        raise errors.OpPrereqError(
            "the export is without data (--config-only), and its images are adopted as"
            " they are: give '-t rbd' and no --disk",
            errors.ECODE_INVAL,
        )
    result = wrapped(*args, **kwargs)
    if given or unit.op.disk_template != constants.DT_RBD:
        return result
    for index, disk in enumerate(unit.op.disks):
        for option in (*(option.name for option in options.OPTIONS), *_FURTHER):
            name = _name(index, option)
            if name in texts:
                disk[option] = texts[name]
    if without_data:
        unit.adopt_disks = True
        adopt.prove(unit)
    return result


def name_certificate(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Expect the name that Ganeti's own certificate has.

    3.1.0~rc2 expects the host's name, which only the certificates of moves between
    clusters have (https://github.com/ganeti/ganeti/issues/1839).
    """
    from ganeti import pathutils

    command: list[str] = wrapped(*args, **kwargs)
    if instance._opts.cert != pathutils.NODED_CERT_FILE:
        return command
    option = "openssl-commonname="
    return [
        ",".join(
            f"{option}{constants.X509_CERT_CN}" if part.startswith(option) else part
            for part in word.split(",")
        )
        for word in command
    ]

"""What the scripts of an OS definition learn of disks: a block device and a URI.

Most of them know nothing but ``DISK_n_PATH``.  In userspace access there is no such
path, so the image is mapped before the script and unmapped after it.  Others take
``DISK_n_URI``, which Ganeti leaves out in kernelspace access.
"""

import inspect
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ganeti import backend, constants, errors, pathutils

from ganeti_ceph.disk import image, mappers, options, uri
from ganeti_ceph.disk.device import is_rbd, is_userspace, volume_of
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import Error

#: In the directory of an import or export: the URIs of what was mapped for it.
_MAPPED = "ganeti-ceph.mapped"


def run_script(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Run a script that creates or renames with block devices of all disks."""
    guest = args[0]
    made = _map(filter(is_userspace, guest.disks_info))
    try:
        result = wrapped(*args, **kwargs)
    except BaseException:
        _unmap_all(made)
        raise
    failed = [why for why in map(_unmap, made) if why]
    if failed:
        raise backend.RPCFail(
            "the OS script has ended, but its disk stays in use on the node: "
            + "; ".join(failed)
        )
    return result


def start_transfer(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Start a script that imports or exports one disk, with its block device.

    It goes on after the call; :func:`end_transfer` unmaps the image.
    """
    asked = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    if asked["ieio"] != constants.IEIO_SCRIPT:
        return wrapped(*args, **kwargs)
    disk = asked["ieioargs"][0]
    if not is_userspace(disk):
        return wrapped(*args, **kwargs)
    made = _map([disk])
    try:
        name = wrapped(*args, **kwargs)
        note = Path(pathutils.IMPORT_EXPORT_DIR, name, _MAPPED)
        note.write_text(json.dumps([volume.uri() for volume in made]))
    except BaseException:
        _unmap_all(made)
        raise
    return name


def end_transfer(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Unmap what was mapped for a transfer, once its script has ended."""
    (name,) = args
    try:
        noted = json.loads(Path(pathutils.IMPORT_EXPORT_DIR, name, _MAPPED).read_text())
    except FileNotFoundError:
        noted = []
    result = wrapped(*args, **kwargs)
    for volume in map(uri.parse, noted):
        if volume is not None:
            _unmap(volume)
    return result


def add_uris(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Name the images in a script's environment, whatever their access."""
    environment = wrapped(*args, **kwargs)
    for index, disk in enumerate(args[0].disks_info):
        if is_rbd(disk):
            environment[f"DISK_{index}_URI"] = volume_of(disk).uri()
    return environment


def add_export_uri(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Name the image of the disk that a script exports, whatever its access."""
    _, mode, kind, subjects = args
    made = wrapped(*args, **kwargs)
    if (mode, kind) == (constants.IEM_EXPORT, constants.IEIO_SCRIPT):
        disk, environment = subjects[0], made[0]
        if is_rbd(disk):
            environment["EXPORT_DISK_URI"] = volume_of(disk).uri()
    return made


def _map(disks: Iterable[Any]) -> list[Volume]:
    """Map disks' images; return those that were not mapped before."""
    made: list[Volume] = []
    try:
        with image.together():
            for disk in disks:
                volume = volume_of(disk)
                if mappers.find(volume) is None:
                    mapper = options.read(disk.params).mapper
                    mappers.map(volume, mapper, image.features(volume))
                    made.append(volume)
    except (Error, errors.BlockDeviceError) as err:
        _unmap_all(made)
        raise backend.RPCFail(
            f"cannot make a block device for the OS scripts: {err}"
        ) from err
    return made


def _unmap_all(volumes: Iterable[Volume]) -> None:
    for volume in volumes:
        _unmap(volume)


def _unmap(volume: Volume) -> str:
    """Unmap an image; return why that failed, logged too, or ''."""
    try:
        mappers.unmap(volume)
    except Error as err:
        logging.error("ganeti-ceph: %s stays mapped: %s", volume, err)
        return str(err)
    return ""

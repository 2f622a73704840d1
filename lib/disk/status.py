"""What Ganeti asks of all disks of a node at once: are they there, how large are they.

Ganeti makes a device of each disk for that.  For rbd disks it would connect to Ceph and
open an image as often as there are disks.
"""

import os
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

from ganeti import constants, objects
from ganeti import errors as ganeti_errors

from ganeti_ceph.disk import image, inventory, mappers
from ganeti_ceph.disk.device import is_rbd, volume_of
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.errors import CephError, Error


def find_all(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Return (whether it is there, status or reason) for each disk."""
    (disks,) = args
    return _sorted_out(disks, wrapped, _statuses)


def measure_all(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Return (size in bytes, spindles) of each disk, None where it is not known."""
    (disks,) = args
    return _sorted_out(disks, wrapped, _dimensions)


def _sorted_out(
    disks: Sequence[Any],
    theirs: Callable[[list[Any]], Sequence[Any]],
    ours: Callable[[list[Any]], Sequence[Any]],
) -> list[Any]:
    """Have Ganeti answer for its disks and us for ours, in the disks' order."""
    rest = [disk for disk in disks if not is_rbd(disk)]
    of_theirs = iter(theirs(rest) if rest else ())
    of_ours = iter(ours([disk for disk in disks if is_rbd(disk)]))
    return [next(of_ours if is_rbd(disk) else of_theirs) for disk in disks]


def _statuses(disks: list[Any]) -> list[tuple[bool, Any]]:
    volumes = [_volume(disk) for disk in disks]
    names = inventory.ask(_places(volumes), image.ids)
    try:
        mapped = mappers.mapped()
    except (Error, OSError) as err:
        return [(False, f"cannot tell which images are mapped: {err}") for _ in disks]
    return [
        (False, volume)
        if isinstance(volume, str)
        else _status(volume, names[volume.place], mapped)
        for volume in volumes
    ]


def _status(
    volume: Volume, names: Container[str] | CephError, mapped: dict[str, str]
) -> tuple[bool, Any]:
    if isinstance(names, CephError):
        return False, str(names)
    if volume.image not in names:
        return False, f"the storage cluster has no image {volume}"
    path = mapped.get(str(volume))
    major = minor = None
    if path:
        try:
            number = Path(path).stat().st_rdev
        except OSError as err:
            return False, f"the image {volume} is mapped to {path}: {err.strerror}"
        major, minor = os.major(number), os.minor(number)
    return True, objects.BlockDevStatus(
        dev_path=path,
        major=major,
        minor=minor,
        sync_percent=None,
        estimated_time=None,
        is_degraded=False,
        ldisk_status=constants.LDS_OKAY,
    )


def _dimensions(disks: list[Any]) -> list[tuple[int, None] | None]:
    volumes = [_volume(disk) for disk in disks]
    images: dict[Place, list[str]] = {place: [] for place in _places(volumes)}
    for volume in volumes:
        if isinstance(volume, Volume):
            images[volume.place].append(volume.image)
    sizes = inventory.ask(images, lambda place: image.sizes(place, images[place]))
    found: list[tuple[int, None] | None] = []
    for volume in volumes:
        size = None
        if isinstance(volume, Volume):
            seen = sizes[volume.place]
            size = None if isinstance(seen, CephError) else seen.get(volume.image)
        # rbd disks know no spindles.
        found.append((size, None) if isinstance(size, int) else None)
    return found


def _places(volumes: Sequence[Volume | str]) -> list[Place]:
    return [volume.place for volume in volumes if isinstance(volume, Volume)]


def _volume(disk: Any) -> Volume | str:
    """Return the volume of a disk, or why it has none."""
    try:
        return volume_of(disk)
    except (ganeti_errors.BlockDeviceError, ValueError) as err:
        return str(err)

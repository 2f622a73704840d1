"""Who uses a block device."""

import os
import time
from pathlib import Path

from ganeti_ceph.disk.mappers import base
from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import devices

#: Seconds to wait for those that only have a look, as udev does at each change.
_GLANCE = 2.0


def check(device: str) -> None:
    """Raise :class:`ExecError` with who it is while something uses a device."""
    end = time.monotonic() + _GLANCE
    while user := by_whom(device):
        if devices.user(device) or time.monotonic() > end:
            raise ExecError(f"{device} is in use: {user}")
        time.sleep(0.1)


def by_whom(device: str) -> str:
    """Return who uses a device or a partition of it, "" for nobody."""
    if known := devices.user(device):
        return known
    if openers := _openers(device):
        return f"opened by {', '.join(openers)}"
    # A file system that is mounted in another namespace, such as a container's, is
    # to be seen by this alone.
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as err:
        return f"the kernel says so ({err.strerror})"
    return ""


def _openers(device: str) -> list[str]:
    name = Path(device).name
    files = (Path(device), *_partitions(name))
    numbers = {file.stat().st_rdev for file in files}
    found = set()
    for process in base.PROC.glob("[0-9]*"):
        if any(_leads_to(link, name, numbers) for link in _files(process)):
            comm = base.read(process / "comm")
            found.add(f"{comm} (process {process.name})")
    return sorted(found)


def _files(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:  # it has ended
        return []


def _leads_to(link: Path, name: str, numbers: set[int]) -> bool:
    try:
        # Only then followed: a file on a server that is gone would block.
        return link.readlink().name.startswith(name) and link.stat().st_rdev in numbers
    except OSError:  # it was closed
        return False


def _partitions(name: str) -> list[Path]:
    partitions = (base.SYS / "block" / name).glob("*/partition")
    paths = [base.DEV / partition.parent.name for partition in partitions]
    return [path for path in paths if path.exists()]

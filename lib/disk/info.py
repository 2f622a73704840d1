"""How ``gnt-instance info`` shows a disk's access mode."""

from collections.abc import Callable
from typing import Any

from ganeti import constants

_ACCESS = constants.LDP_ACCESS


def add_access(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Add the access mode to what the job tells of a disk."""
    guest, _, _, disk = args
    status = wrapped(*args, **kwargs)
    if (
        guest.hypervisor == constants.HT_KVM
        and disk.dev_type in constants.DTS_HAVE_ACCESS
    ):
        status[_ACCESS] = disk.params.get(_ACCESS, constants.DISK_KERNELSPACE)
    return status


def show_access(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Add the access mode to what the command prints of a disk."""
    _, _, disk, _ = args
    lines = wrapped(*args, **kwargs)
    access = disk.get(_ACCESS)
    if access is None:
        return lines
    if access == constants.DISK_USERSPACE:
        # Ganeti would print a path and a device number that do not exist.
        lines = [
            (name, "no block device") if name == "on primary" else (name, value)
            for name, value in lines
        ]
    # After the heading and the spindles, beside the mode.
    names = [name for name, _ in lines]
    place = names.index("access mode") + 1 if "access mode" in names else 1
    return [*lines[:place], (_ACCESS, access), *lines[place:]]

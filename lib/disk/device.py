"""Ganeti's block device for a disk in userspace access: an image nobody maps.

QEMU opens the image by itself, so there is no path, no device number and nothing to
do for opening, closing and shutting down.
"""

# Ganeti gives the methods their names.
# ruff: noqa: N802

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from ganeti import constants
from ganeti.storage import base

from ganeti_ceph.disk import image
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import Error

MEBIBYTE = 1024**2


def is_userspace(disk: Any) -> bool:
    """Tell whether a disk of Ganeti's is one of :class:`UserspaceDevice`'s."""
    return disk.dev_type == constants.DT_RBD and _opened_by_qemu(disk.params)


def extend_dev_map(dev_map: dict[str, Any]) -> None:
    """Let Ganeti take :class:`UserspaceDevice` for the disks in userspace access."""
    dev_map[constants.DT_RBD] = _by_access(dev_map[constants.DT_RBD])


class UserspaceDevice(base.BlockDev):  # type: ignore[misc]
    """An image that QEMU opens by itself."""

    def __init__(
        self,
        unique_id: Any,
        children: Any,
        size: int,
        params: dict[str, Any],
        dyn_params: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(unique_id, children, size, params, dyn_params, **kwargs)
        self.volume = _volume(unique_id, params)
        self._bytes: int | None = None
        # Ganeti reads "attached" right after making a device.
        self.Attach()

    @classmethod
    def Create(
        cls,
        unique_id: Any,
        children: Any,
        size: int,
        spindles: Any,
        params: dict[str, Any],
        excl_stor: bool,
        dyn_params: Any,
        **kwargs: Any,
    ) -> "UserspaceDevice":
        """Make a new image; one that exists is an error."""
        if excl_stor:
            base.ThrowError("rbd disks know no exclusive storage")
        with _failing_as_ganeti():
            image.create(_volume(unique_id, params), size * MEBIBYTE)
        return cls(unique_id, children, size, params, dyn_params, **kwargs)

    def Attach(self, **kwargs: Any) -> bool:
        """Look for the image; ``attached`` tells whether there is one."""
        with _failing_as_ganeti():
            self._bytes = image.size(self.volume)
        self.attached = self._bytes is not None
        return self.attached

    def Assemble(self) -> None:
        """Fail if the image is missing."""
        if not self.attached:
            base.ThrowError(
                "the storage cluster has no image %s; was it removed, or is another"
                " pool meant ('gnt-cluster info' shows rbd's pool)?",
                self.volume,
            )

    def Open(self, force: bool = False, exclusive: bool = True) -> None:
        """Do nothing: QEMU opens the image."""

    def Close(self) -> None:
        """Do nothing: QEMU closes the image."""

    def Shutdown(self) -> None:
        """Do nothing: nothing of the image is on this node."""

    def Rename(self, new_id: Any) -> None:
        """Do nothing: the image's name does not follow the instance's."""

    def Remove(self) -> None:
        """Remove the image unless something has it open."""
        with _failing_as_ganeti():
            image.remove(self.volume)

    def Grow(
        self, amount: int, dryrun: bool, backingstore: bool, excl_stor: bool
    ) -> None:
        """Grow the image by ``amount`` mebibytes; it is never made smaller."""
        if not backingstore:
            return
        self.Assemble()
        if not dryrun:
            with _failing_as_ganeti():
                self._bytes = image.grow(self.volume, (self.size + amount) * MEBIBYTE)

    def GetActualSize(self) -> int | None:
        """Return the image's size in bytes."""
        return self._bytes

    def Wipe(self, offset: int, size: int) -> None:
        """Make ``size`` mebibytes read as zeroes."""
        with _failing_as_ganeti():
            image.wipe(self.volume, offset * MEBIBYTE, size * MEBIBYTE)

    def Import(self) -> list[str]:
        """Return the command that fills the image from its standard input."""
        return self._copy_command("import")

    def Export(self) -> list[str]:
        """Return the command that writes the image to its standard output."""
        return self._copy_command("export")

    def GetUserspaceAccessUri(self, hypervisor: str) -> str:
        """Return what QEMU opens."""
        if hypervisor != constants.HT_KVM:
            base.ThrowError(
                "the hypervisor %s cannot open rbd images by itself; use"
                " access=kernelspace",
                hypervisor,
            )
        return self.volume.uri()

    def _copy_command(self, direction: str) -> list[str]:
        self.Assemble()
        return [
            sys.executable,
            "-m",
            "ganeti_ceph.disk.copy",
            direction,
            self.volume.pool,
            self.volume.image,
        ]


def _by_access(stock: type[Any]) -> type[Any]:
    """Return what makes the device class that a disk's access mode needs."""

    def choose(params: dict[str, Any]) -> type[Any]:
        return UserspaceDevice if _opened_by_qemu(params) else stock

    class RbdDevice(base.BlockDev):  # type: ignore[misc]
        """Makes a device of the class that fits; has no objects of its own."""

        def __new__(
            cls,
            unique_id: Any,
            children: Any,
            size: int,
            params: dict[str, Any],
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            return choose(params)(unique_id, children, size, params, *args, **kwargs)

        @classmethod
        def Create(
            cls,
            unique_id: Any,
            children: Any,
            size: int,
            spindles: Any,
            params: dict[str, Any],
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            return choose(params).Create(
                unique_id, children, size, spindles, params, *args, **kwargs
            )

    return RbdDevice


def _opened_by_qemu(params: dict[str, Any]) -> bool:
    mode = params.get(constants.LDP_ACCESS, constants.DISK_KERNELSPACE)
    return bool(mode == constants.DISK_USERSPACE)


def _volume(unique_id: Any, params: dict[str, Any]) -> Volume:
    if not isinstance(unique_id, tuple | list) or len(unique_id) != 2:
        raise ValueError(f"{unique_id!r} is no rbd disk's logical id")
    with _failing_as_ganeti():
        return Volume(params[constants.LDP_POOL], unique_id[1])


@contextlib.contextmanager
def _failing_as_ganeti() -> Iterator[None]:
    try:
        yield
    except Error as err:
        base.ThrowError("%s", err)

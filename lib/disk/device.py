"""Ganeti's block device for an rbd disk: an image, mapped where its access needs it.

In userspace access QEMU opens the image by itself: there is no path, no device number
and nothing to do for opening it.  In kernelspace access the image is mapped
while the disk is active.  Making one of these objects never maps anything.
"""

# Ganeti gives the methods their names.
# ruff: noqa: N802

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganeti import constants, errors
from ganeti.storage import base

from ganeti_ceph.disk import image, mappers, options
from ganeti_ceph.disk.options import DiskOptions
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import Error

MEBIBYTE = 1024**2


def is_rbd(disk: Any) -> bool:
    """Tell whether a disk of Ganeti's is one of :class:`ImageDevice`'s."""
    return bool(disk.dev_type == constants.DT_RBD)


def is_userspace(disk: Any) -> bool:
    """Tell whether QEMU opens the image of a disk of Ganeti's by itself."""
    return is_rbd(disk) and _opened_by_qemu(disk.params)


def extend_dev_map(dev_map: dict[str, Any]) -> None:
    """Let Ganeti take :class:`ImageDevice` for rbd disks."""
    dev_map[constants.DT_RBD] = ImageDevice


def volume_of(disk: Any) -> Volume:
    """Return the volume of a disk of Ganeti's."""
    return _volume(disk.logical_id, disk.params)


class ImageDevice(base.BlockDev):  # type: ignore[misc]
    """An image, and the block device that it is mapped to, if it is."""

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
        self.userspace = _opened_by_qemu(params)
        self._bytes: int | None = None
        self._new = False
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
    ) -> "ImageDevice":
        """Make a new image; one that exists is an error."""
        if excl_stor:
            base.ThrowError("rbd disks know no exclusive storage")
        with _failing_as_ganeti():
            image.create(_volume(unique_id, params), size * MEBIBYTE, _options(params))
        made = cls(unique_id, children, size, params, dyn_params, **kwargs)
        made._new = True
        return made

    def Attach(self, **kwargs: Any) -> bool:
        """Look for the image; ``attached`` tells whether there is one."""
        with _failing_as_ganeti():
            self._bytes = image.size(self.volume)
            self._show(mappers.find(self.volume))
        self.attached = self._bytes is not None
        return self.attached

    def Assemble(self) -> None:
        """Fail if the image is missing; map it in kernelspace access."""
        if not self.attached:
            base.ThrowError(
                "the storage cluster has no image %s; was it removed, or is another"
                " pool meant ('gnt-cluster info' shows rbd's pool)?",
                self.volume,
            )
        # In userspace access a block device that somebody asked for stays, until an
        # instance starts (see ganeti_ceph.disk.backend).
        if not self.userspace:
            with self._gone_if_failing():
                self.Map()

    def Map(self) -> str:
        """Make the block device, whatever the access; return its path."""
        with _failing_as_ganeti():
            self._show(
                mappers.map(
                    self.volume,
                    _options(self.params).mapper,
                    image.features(self.volume),
                )
            )
        return str(self.dev_path)

    def Open(self, force: bool = False, exclusive: bool = True) -> None:
        """Map the image in kernelspace access, as the target of a migration needs it.

        Ganeti only opens disks there, as stock devices map when they are made.
        """
        if not self.userspace and not self.dev_path:
            self.Map()

    def Close(self) -> None:
        """Unmap the image, which a migration that broke may have left mapped.

        Ganeti closes disks on a node that the instance is not on.  A device that is in
        use stays: what must not happen beside it asks for itself.
        """
        with contextlib.suppress(Error):
            self._unmap()

    def Shutdown(self) -> None:
        """Unmap the image if it is mapped on this node."""
        with _failing_as_ganeti():
            self._unmap()

    def _unmap(self) -> None:
        mappers.unmap(self.volume)
        self._show(None)

    def Rename(self, new_id: Any) -> None:
        """Do nothing: the image's name does not follow the instance's."""

    def Remove(self) -> None:
        """Remove the image unless something has it open."""
        self.Shutdown()
        with _failing_as_ganeti():
            image.remove(self.volume, _options(self.params).trash_grace)

    def Grow(
        self, amount: int, dryrun: bool, backingstore: bool, excl_stor: bool
    ) -> None:
        """Grow the image by ``amount`` mebibytes; it is never made smaller."""
        if not backingstore:
            return
        if not self.attached:
            base.ThrowError("the storage cluster has no image %s", self.volume)
        if dryrun:
            return
        with _failing_as_ganeti():
            self._bytes = image.grow(self.volume, (self.size + amount) * MEBIBYTE)
            if self.dev_path:
                mappers.resized(self.volume, self._bytes)

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

    @contextlib.contextmanager
    def _gone_if_failing(self) -> Iterator[None]:
        """Remove an image that was just made: Ganeti forgets it if this fails."""
        try:
            yield
        except errors.BlockDeviceError:
            if self._new:
                with contextlib.suppress(Error):
                    image.remove(self.volume, 0)
            raise

    def _show(self, path: str | None) -> None:
        self.dev_path = path
        self.major = self.minor = None
        if path:
            number = Path(path).stat().st_rdev
            self.major, self.minor = os.major(number), os.minor(number)

    def _copy_command(self, direction: str) -> list[str]:
        if not self.attached:
            base.ThrowError("the storage cluster has no image %s", self.volume)
        return [
            sys.executable,
            "-m",
            "ganeti_ceph.disk.copy",
            direction,
            self.volume.uri(),
        ]


def _opened_by_qemu(params: dict[str, Any]) -> bool:
    mode = params.get(constants.LDP_ACCESS, constants.DISK_KERNELSPACE)
    return bool(mode == constants.DISK_USERSPACE)


def _options(params: dict[str, Any]) -> DiskOptions:
    with _failing_as_ganeti():
        return options.read(params)


def _volume(unique_id: Any, params: dict[str, Any]) -> Volume:
    if not isinstance(unique_id, tuple | list) or len(unique_id) != 2:
        raise ValueError(f"{unique_id!r} is no rbd disk's logical id")
    with _failing_as_ganeti():
        return options.volume(unique_id[1], options.read(params))


@contextlib.contextmanager
def _failing_as_ganeti() -> Iterator[None]:
    try:
        yield
    except Error as err:
        base.ThrowError("%s", err)

"""Images of the storage cluster through librbd: made, looked at, changed, removed.

Every function connects for itself and is bounded as :func:`ganeti_ceph.ceph.connect`
is.  What fails raises :class:`ganeti_ceph.errors.CephError`.
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from typing import Any

import rados
import rbd

from ganeti_ceph import ceph
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import CephError

#: How much is read or written at a time, the size of an image's objects.
CHUNK = 4 * 1024**2


def create(volume: Volume, size: int) -> None:
    """Make an image of ``size`` bytes, all zero; never touches one that exists."""
    with _pool(volume, "create") as pool:
        try:
            rbd.RBD().create(pool, volume.image, size, old_format=False)
        except rbd.ImageExists:
            raise CephError(
                f"the image {volume} exists already and was left as it is; remove it"
                f" with 'rbd rm {volume}' if no instance needs it",
                errno.EEXIST,
            ) from None


def size(volume: Volume) -> int | None:
    """Return an image's size in bytes, None if there is no such image."""
    with _pool(volume, "open") as pool:
        try:
            with rbd.Image(pool, volume.image, read_only=True) as image:
                return int(image.size())
        except rbd.ImageNotFound:
            return None


def grow(volume: Volume, size: int) -> int:
    """Grow an image to ``size`` bytes; return its size, larger if it was before."""
    with _image(volume, "grow") as image:
        present = int(image.size())
        if present < size:
            image.resize(size)
        return max(present, size)


def remove(volume: Volume) -> None:
    """Remove an image that nobody has open; one that is not there is no failure."""
    with _pool(volume, "remove") as pool:
        try:
            rbd.RBD().remove(pool, volume.image)
        except rbd.ImageNotFound:
            return
        except rbd.ImageBusy:
            raise CephError(
                f"the image {volume} is in use{_by_whom(pool, volume)}; stop what has"
                " it open there (a crashed client is forgotten after 30 s)",
                errno.EBUSY,
            ) from None
        except rbd.ImageHasSnapshots:
            raise CephError(
                f"the image {volume} has snapshots; look at them with 'rbd snap ls"
                f" {volume}' and remove them first",
                errno.ENOTEMPTY,
            ) from None


def wipe(volume: Volume, offset: int, length: int) -> None:
    """Make a part of an image read as zeroes, and give its space back."""
    with _image(volume, "wipe") as image:
        for start in range(offset, offset + length, CHUNK):
            image.write_zeroes(start, min(CHUNK, offset + length - start))


def read(volume: Volume) -> Iterator[bytes]:
    """Give the whole content of an image in pieces."""
    with _image(volume, "read", read_only=True) as image:
        total = int(image.size())
        for start in range(0, total, CHUNK):
            yield image.read(start, min(CHUNK, total - start))


def write(volume: Volume, pieces: Iterable[bytes]) -> None:
    """Write pieces one after the other into an image, from its start.

    Zeroes take no space.  What follows after the last piece stays.
    """
    with _image(volume, "write") as image:
        room = int(image.size())
        offset = 0
        for piece in pieces:
            if offset + len(piece) > room:
                raise CephError(
                    f"the data does not fit into the image {volume} of {room} bytes;"
                    " take a larger disk",
                    errno.EFBIG,
                )
            if piece.strip(b"\0"):
                image.write(piece, offset)
            else:
                image.write_zeroes(offset, len(piece))
            offset += len(piece)
        image.flush()


@contextlib.contextmanager
def _pool(volume: Volume, verb: str) -> Iterator[Any]:
    with ceph.connect() as cluster:
        try:
            with cluster.open_ioctx(volume.pool) as pool:
                yield pool
        except rados.ObjectNotFound as err:
            raise CephError(
                f"the storage cluster has no pool {volume.pool}; create it or name"
                " another one ('gnt-cluster modify -D rbd:pool=NAME')",
                errno.ENOENT,
            ) from err
        except (rbd.Error, rados.Error) as err:
            number = getattr(err, "errno", None) or errno.EIO
            raise CephError(
                f"cannot {verb} the image {volume}: {os.strerror(number)}", number
            ) from err


@contextlib.contextmanager
def _image(volume: Volume, verb: str, read_only: bool = False) -> Iterator[Any]:
    with _pool(volume, verb) as pool:
        with rbd.Image(pool, volume.image, read_only=read_only) as image:
            yield image


def _by_whom(pool: Any, volume: Volume) -> str:
    # Read-only, so that this look is no watcher itself.
    try:
        with rbd.Image(pool, volume.image, read_only=True) as image:
            addresses = {watcher["addr"] for watcher in image.watchers_list()}
    except rbd.Error:
        return ""
    hosts = {address.rpartition(":")[0] for address in addresses}
    return f" at {', '.join(sorted(hosts))}" if hosts else ""

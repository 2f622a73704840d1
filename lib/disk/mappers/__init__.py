"""Mappers make a block device of an image on this node: krbd, nbd, fuse.

Each is a row of :data:`TABLE`.  What is mapped is always read from the node itself, so
that nothing is forgotten when the node daemon is restarted.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ganeti_ceph.disk.mappers import base, fuse
from ganeti_ceph.disk.mappers.krbd import Krbd
from ganeti_ceph.disk.mappers.nbd import Nbd
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.run import Runner, run

#: In the order in which auto tries them.
TABLE: tuple[base.MapperRow, ...] = (Krbd(), Nbd(), fuse.Fuse())

#: Seconds that mapping may take, all mappers together.
_PATIENCE = 25
#: Seconds to wait for another process that works at the same image.
_TURN = 30


def find(volume: Volume, run: Runner = run) -> str | None:
    """Return the path of the device that an image is mapped to on this node.

    ``None`` if it is not mapped.  Ceph is not asked.
    """
    for row in TABLE:
        for mapped in row.mapped(run):
            if mapped.is_of(volume):
                return mapped.device
    return None


def mapped(run: Runner = run) -> dict[str, str]:
    """Return the devices of all images that are mapped on this node, by their names.

    By whomever they were mapped; of whatever storage cluster they are.
    """
    return {one.image: one.device for row in TABLE for one in row.mapped(run)}


def map(
    volume: Volume, mapper: Mapper, features: Sequence[str], run: Runner = run
) -> str:
    """Map an image with such features, if it is not mapped; return the device's path.

    With :attr:`Mapper.AUTO` the first mapper of :data:`TABLE` that works does it.
    Raises :class:`ExecError` that says why none does.
    """
    with _failing(f"cannot map the image {volume}"), _alone(volume):
        if device := find(volume, run):
            return device
        end = time.monotonic() + _PATIENCE
        why = []
        for row in TABLE:
            if mapper not in (Mapper.AUTO, row.name):
                continue
            left = int(end - time.monotonic())
            if left <= 0:
                why.append(f"{row.name}: no time was left")
                continue
            try:
                row.check(volume, features, run)
                return row.map(volume, left, run)
            except ExecError as err:
                why.append(f"{row.name}: {err}")
        raise ExecError("; ".join(why))


def unmap(volume: Volume, run: Runner = run) -> None:
    """Unmap an image, by whatever it is mapped; one that is not mapped is no failure.

    Raises :class:`ExecError` while its device is in use, with who it is.
    """
    with _failing(f"cannot unmap the image {volume}"), _alone(volume):
        for row in TABLE:
            row.unmap(volume, run)


def resized(volume: Volume, size: int, run: Runner = run) -> None:
    """Have the device of an image, if it is mapped, show the image's new size.

    ``size`` is in bytes.
    """
    with _failing(f"cannot resize the device of the image {volume}"), _alone(volume):
        device = find(volume, run)
        if device:
            for row in TABLE:
                row.resized(volume, size, run)
            sectors = base.SYS / "block" / Path(device).name / "size"
            base.wait(
                10, lambda: int(base.read(sectors) or 0) * 512 == size, f"{device}"
            )


@contextlib.contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except (ExecError, OSError) as err:
        raise ExecError(f"{what}: {err}") from err


@contextlib.contextmanager
def _alone(volume: Volume) -> Iterator[None]:
    """Let no other process of this node work at the image."""
    fuse.ROOT.parent.mkdir(exist_ok=True)
    fuse.ROOT.mkdir(mode=0o700, exist_ok=True)
    path = fuse.ROOT / f"{fuse.key(volume)}.lock"
    end = time.monotonic() + _TURN
    while (handle := _lock(path)) is None:
        if time.monotonic() > end:
            raise ExecError(f"another process is at it for more than {_TURN} s")
        time.sleep(0.02)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _lock(path: Path) -> int | None:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The one who had it before has removed the file.
        if path.stat().st_ino == os.fstat(handle).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None
